//! Whether a profile fits the objects of the report: which of the functions that it counted they have.
//!
//! Where a program was built again after it had run, a function whose source changed has another structural hash, and its counts
//! find no function any more. LLVM's programs drop them with a warning at most, so it is looked for here. A profile whose build id is
//! one of the objects' fits by itself and need not be asked.

use std::collections::HashSet;

use super::hash::NumberHash;
use super::mapping::{self, MappingError, Names, Units};
use super::object::Sections;
use super::profile::Profile;

/// Names of functions that a person is shown.
const NAMED: usize = 5;

/// The functions of some objects.
#[derive(Debug, Default)]
pub struct Functions {
    names: HashSet<u64, NumberHash>,
    versions: HashSet<(u64, u64)>,
    units: Units,
}

/// How a profile fits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fit {
    /// Functions that it counted and that an object has as they were.
    pub same: usize,
    /// Those that the objects have otherwise: their counts are left out.
    pub otherwise: usize,
    /// Those of names that no object knows. Compilers count functions of system headers as well, without saying where they stand.
    pub unknown: usize,
    /// The hashes of the names of some that did not match, those that the objects have otherwise and those that none knows.
    some: [Vec<u64>; 2],
    /// The names of those that are told, once they were looked up.
    names: Vec<String>,
}

impl Functions {
    /// Adds those of an object.
    pub fn add(&mut self, sections: &Sections<'_>) -> Result<(), MappingError> {
        let mut found = mapping::functions(&mut self.units, sections.covmap, &sections.covfun)?;
        // A function that its unit did not use is declared with no structure at all.
        found.retain(|it| it.hash != 0);
        self.names.extend(found.iter().map(|it| it.name));
        self.versions
            .extend(found.iter().map(|it| (it.name, it.hash)));
        Ok(())
    }

    /// Returns how a profile fits.
    #[must_use]
    pub fn fit(&self, profile: &Profile) -> Fit {
        let mut fit = Fit::default();
        for function in profile.shape.functions() {
            let counts = profile.counters.get(function.counters.clone());
            if counts.is_none_or(|counts| counts.iter().all(|&count| count == 0)) {
                continue;
            }
            if self.versions.contains(&(function.name, function.hash)) {
                fit.same += 1;
            } else if self.names.contains(&function.name) {
                fit.otherwise += 1;
                note(&mut fit.some[0], function.name);
            } else {
                fit.unknown += 1;
                note(&mut fit.some[1], function.name);
            }
        }
        fit
    }
}

fn note(some: &mut Vec<u64>, name: u64) {
    if some.len() < NAMED {
        some.push(name);
    }
}

impl Fit {
    /// Looks up the names of functions that did not match, which `profile` itself has. Packed names take longer to read than all else,
    /// so this is not done before something is lost.
    #[must_use]
    pub fn named(mut self, profile: &Profile) -> Self {
        let mut names = Names::default();
        let told = if self.same == 0 { 2 } else { 1 };
        let mut some = self.some.iter().take(told).flatten().peekable();
        if some.peek().is_none() || names.read(profile.shape.names_bytes()).is_err() {
            return self;
        }
        let texts = some.take(NAMED).filter_map(|&hash| names.find(hash));
        let known = texts.map(|name| names.text(name));
        self.names = known
            .map(|text| {
                let readable = rustc_demangle::try_demangle(text);
                readable.map_or_else(|_| text.to_owned(), |name| format!("{name:#}"))
            })
            .collect();
        self
    }

    /// Returns what is lost of the profile, if anything is.
    #[must_use]
    pub fn loss(&self) -> Option<String> {
        let (what, lost, counted) = match self {
            Self {
                same: 0,
                otherwise,
                unknown,
                ..
            } => {
                let all = otherwise + unknown;
                ("its program is none of the objects", all, all)
            }
            Self {
                same, otherwise, ..
            } => (
                "it is of another build of its program",
                *otherwise,
                same + otherwise,
            ),
        };
        if lost == 0 {
            return None;
        }
        let mut names: Vec<String> = self.names.iter().map(|name| format!("`{name}`")).collect();
        let more = lost.saturating_sub(names.len());
        names.extend((more > 0 && !names.is_empty()).then(|| format!("{more} more")));
        let colon = if names.is_empty() { "" } else { ": " };
        Some(format!(
            "{what}: {lost} of {counted} functions that it counted did not match, and their counts are left out{colon}{}",
            names.join(", ")
        ))
    }
}
