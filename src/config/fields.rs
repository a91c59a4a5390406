//! Values with a form of their own: counts, durations, names, paths, patterns.

use std::path::{Component, Path};
use std::str::FromStr;

use globset::Glob;
use regex::Regex;

use super::paths::{expand_path, node_path_parts};
use super::problem::{Problem, Report};
use super::raw::{Item, Value};
use super::read::{Field, refuse, wrong_type};
use super::units::{Memory, Walltime};

/// Reads an integer between two bounds.
pub(super) fn integer(
    item: &Item,
    path: &str,
    least: u32,
    most: u32,
    report: &Report,
) -> Option<u32> {
    let Value::Integer(number) = item.value else {
        wrong_type(item, path, "a whole number", report);
        return None;
    };
    let fits = u32::try_from(number).ok();
    let fits = fits.filter(|number| (least..=most).contains(number));
    if fits.is_none() {
        let reason = match (number < i64::from(least), most) {
            (true, MOST) => format!("must be at least {least}"),
            (false, MOST) => "is too large to be meant".to_owned(),
            _ => format!("must be between {least} and {most}"),
        };
        refuse(item, path, &reason, report);
    }
    fits
}

/// Ranks, nodes and everything else that is counted; a larger number is a slip of the finger.
const MOST: u32 = 100_000_000;

/// A whole number between two bounds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Bounded<const LEAST: u32, const UP_TO: u32>(pub(super) u32);

/// A count that may be zero.
pub(super) type Count = Bounded<0, MOST>;

/// A count of at least one.
pub(super) type Positive = Bounded<1, MOST>;

impl<const LEAST: u32, const UP_TO: u32> Field for Bounded<LEAST, UP_TO> {
    fn read(item: &Item, path: &str, report: &Report) -> Option<Self> {
        integer(item, path, LEAST, UP_TO, report).map(Self)
    }
}

impl Field for f64 {
    fn read(item: &Item, path: &str, report: &Report) -> Option<Self> {
        let Number(number) = Number::read(item, path, report)?;
        if number <= 0.0 {
            refuse(item, path, "must be above 0", report);
            return None;
        }
        Some(number)
    }
}

/// A number of either sign.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Number(pub(super) f64);

impl Field for Number {
    fn read(item: &Item, path: &str, report: &Report) -> Option<Self> {
        let number = match item.value {
            Value::Float(number) => number,
            Value::Integer(number) => number as f64,
            _ => {
                wrong_type(item, path, "a number", report);
                return None;
            }
        };
        if !number.is_finite() {
            refuse(item, path, "must be finite", report);
            return None;
        }
        Some(Self(number))
    }
}

/// Reads a string that has a form of its own.
fn formed<T: FromStr>(item: &Item, path: &str, expected: &str, report: &Report) -> Option<T>
where
    T::Err: std::fmt::Display,
{
    let Some(text) = item.text() else {
        wrong_type(item, path, expected, report);
        return None;
    };
    let parsed = text.parse::<T>();
    if let Err(reason) = &parsed {
        refuse(item, path, &reason.to_string(), report);
    }
    parsed.ok()
}

/// A duration that may be zero.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Grace(pub(super) Walltime);

impl Field for Grace {
    fn read(item: &Item, path: &str, report: &Report) -> Option<Self> {
        formed(item, path, "a duration such as \"10m\"", report).map(Self)
    }
}

impl Field for Walltime {
    fn read(item: &Item, path: &str, report: &Report) -> Option<Self> {
        let Grace(time) = Grace::read(item, path, report)?;
        if time.as_secs() == 0 {
            refuse(item, path, "must be above 0", report);
            return None;
        }
        Some(time)
    }
}

impl Field for Memory {
    fn read(item: &Item, path: &str, report: &Report) -> Option<Self> {
        let size: Self = formed(item, path, "a size such as \"4GiB\"", report)?;
        if size.bytes() == 0 {
            refuse(item, path, "must be above 0", report);
            return None;
        }
        Some(size)
    }
}

/// Reads a string in which `fault` finds nothing wrong.
fn faultless(
    item: &Item,
    path: &str,
    report: &Report,
    fault: impl FnOnce(&str) -> Option<&'static str>,
) -> Option<String> {
    let text = String::read(item, path, report)?;
    if let Some(fault) = fault(&text) {
        refuse(item, path, fault, report);
        return None;
    }
    Some(text)
}

macro_rules! texts {
    ($($(#[$doc:meta])* $name:ident by $fault:expr;)+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        pub(super) struct $name(pub(super) String);

        impl Field for $name {
            fn read(item: &Item, path: &str, report: &Report) -> Option<Self> {
                faultless(item, path, report, $fault).map(Self)
            }
        }
    )+};
}

texts! {
    /// A word that reaches Slurm's command line or a batch script.
    Word by word_fault;

    /// Text that must not be empty, nor hold control characters: a name.
    Name by name_fault;

    /// An option of `sbatch`; each stands on a line of its own in a batch script.
    SchedulerOption by option_fault;

    /// The name of an environment variable.
    VariableName by |text| (!is_variable_name(text)).then_some("must be letters, digits and `_`");

    /// A pattern of names of environment variables.
    VariablePattern by |text| {
        let known = |c: char| c.is_ascii_alphanumeric() || "_*".contains(c);
        (text.is_empty() || !text.chars().all(known)).then_some("must be letters, digits, `_` and `*`")
    };

    /// The name of a module.
    Module by module_fault;

    /// A path on the node, of which only the form can be checked here.
    NodePath by node_path_fault;
}

/// Returns what is wrong with a word for Slurm.
pub(super) fn word_fault(text: &str) -> Option<&'static str> {
    let odd = |c: char| !c.is_ascii_graphic() || "'\"\\`$#;<>".contains(c);
    if text.is_empty() {
        Some("must not be empty")
    } else if text.starts_with('-') {
        Some("must not begin with `-`")
    } else if text.contains(odd) {
        Some("must be one word without blanks or quotes")
    } else {
        None
    }
}

/// Returns what is wrong with a name.
pub(super) fn name_fault(text: &str) -> Option<&'static str> {
    if text.trim().is_empty() {
        Some("must not be empty")
    } else if text.chars().any(char::is_control) {
        Some("must not hold control characters")
    } else if text.len() > 200 {
        Some("must not be longer than 200 bytes")
    } else {
        None
    }
}

fn option_fault(text: &str) -> Option<&'static str> {
    if !text.starts_with('-') {
        Some("an option begins with `-`")
    } else if text.chars().any(char::is_control) {
        Some("must stay on one line")
    } else {
        None
    }
}

fn module_fault(text: &str) -> Option<&'static str> {
    let odd = text.contains(char::is_whitespace) || text.starts_with('-');
    name_fault(text).or(odd.then_some("must be one name such as `gcc/13`"))
}

fn node_path_fault(text: &str) -> Option<&'static str> {
    if !text.is_empty() && !text.starts_with(['/', '$']) {
        Some("must be absolute or begin with a variable")
    } else if text.contains(['\n', '"', '`', '\\']) || text.contains("$(") {
        Some("may hold only variables and plain text")
    } else if node_path_parts(text).is_none() {
        Some("holds a `$` that begins no reference to a variable")
    } else {
        None
    }
}

/// Returns whether a shell would take the text for a variable's name.
pub(super) fn is_variable_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !text.is_empty() && text.chars().all(plain) && !text.starts_with(|c: char| c.is_ascii_digit())
}

/// A path in which `$VAR`, `${VAR:-default}` and a leading `~` were replaced.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct PathText(pub(super) String);

impl Field for PathText {
    fn read(item: &Item, path: &str, report: &Report) -> Option<Self> {
        let text = faultless(item, path, report, |text| {
            text.is_empty().then_some("must not be empty")
        })?;
        match expand_path(&text, report.context) {
            Ok(expanded) => Some(Self(expanded)),
            Err(fault) => {
                let at = item.at.of(&fault.part);
                let message = format!("`{path}`: {}", fault.message);
                let problem = Problem::new(fault.code, &at, message);
                report.push(problem.label(fault.label).maybe_help(fault.help));
                None
            }
        }
    }
}

/// A pattern of paths or names that compiles.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct GlobText(pub(super) String);

impl Field for GlobText {
    fn read(item: &Item, path: &str, report: &Report) -> Option<Self> {
        let text = String::read(item, path, report)?;
        if let Err(error) = Glob::new(&text) {
            let message = format!("`{path}` is not a pattern that can be matched");
            let problem = Problem::new("invalid-glob", &item.at, message);
            report.push(problem.label(error.kind().to_string()));
            return None;
        }
        Some(Self(text))
    }
}

/// A path, or a pattern that begins in a folder which is named.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct PlacedGlob(pub(super) String);

impl Field for PlacedGlob {
    fn read(item: &Item, path: &str, report: &Report) -> Option<Self> {
        let PathText(text) = PathText::read(item, path, report)?;
        if !walks_the_machine(&text) {
            return Some(Self(text));
        }
        let message = format!("`{path}` would look through more than a project");
        let problem = Problem::new("invalid-glob", &item.at, message);
        report.push(
            problem
                .label("a pattern outside of the work tree begins with the folder that it looks in")
                .help("name the folder, such as `/opt/code/lib/**/*.so` or `../code/lib/*.so`"),
        );
        None
    }
}

/// Whether a pattern looks through all that lies below `/`, below a folder of the system, or beside the work tree.
fn walks_the_machine(pattern: &str) -> bool {
    let special = |part: &str| part.contains(['*', '?', '[', '{', '\\']);
    let parts: Vec<&str> = pattern
        .split('/')
        .filter(|it| !matches!(*it, "" | "."))
        .collect();
    let plain = parts.iter().take_while(|part| !special(part)).count();
    let (plain, rest) = parts.split_at(plain);
    if rest.is_empty() {
        return false;
    }
    // The folder that is searched: how often it leads up, and how deep it then is.
    let (up, depth) = plain
        .iter()
        .fold((0, 0), |(up, depth), part| match (*part, depth) {
            ("..", 0) => (up + 1, 0),
            ("..", depth) => (up, depth - 1),
            _ => (up, depth + 1),
        });
    let deep = rest
        .iter()
        .any(|part| part.contains("**") || part.contains('{'));
    if pattern.starts_with('/') {
        depth < if deep { 2 } else { 1 }
    } else {
        deep && up > 0 && depth == 0
    }
}

/// A pattern of files below a folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct InnerGlob(pub(super) String);

impl Field for InnerGlob {
    fn read(item: &Item, path: &str, report: &Report) -> Option<Self> {
        let GlobText(text) = GlobText::read(item, path, report)?;
        let inner = |part| matches!(part, Component::Normal(_) | Component::CurDir);
        if !text.is_empty() && Path::new(&text).components().all(inner) {
            return Some(Self(text));
        }
        let message = format!("`{path}` names no files below the folder in which the step runs");
        let problem = Problem::new("invalid-glob", &item.at, message);
        report.push(
            problem
                .label("a relative path without `..`, such as `out/**/*.png`")
                .help("a step that writes elsewhere can write to `$HPC_CI_STEP_DIR`, where files are looked for as well"),
        );
        None
    }
}

/// A regular expression that compiles.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct RegexText {
    pub(super) text: String,
    pub(super) groups: usize,
}

impl Field for RegexText {
    fn read(item: &Item, path: &str, report: &Report) -> Option<Self> {
        let text = String::read(item, path, report)?;
        match Regex::new(&text) {
            Ok(regex) => Some(Self {
                groups: regex.captures_len() - 1,
                text,
            }),
            Err(error) => {
                // The crate's message draws the pattern over several lines; its last one is the reason.
                let whole = error.to_string();
                let reason = whole.lines().last().unwrap_or("does not compile").trim();
                let reason = reason.strip_prefix("error: ").unwrap_or(reason);
                let message = format!("`{path}` is not a regular expression");
                report.push(Problem::new("invalid-regex", &item.at, message).label(reason));
                None
            }
        }
    }
}

/// Returns the plain strings of a list.
pub(super) trait Plain {
    fn plain(self) -> Vec<String>;
}

macro_rules! plain {
    ($($type:ty),*) => {$(
        impl Plain for Vec<$type> {
            fn plain(self) -> Vec<String> {
                self.into_iter().map(|one| one.0).collect()
            }
        }
    )*};
}

plain!(
    Word,
    Name,
    SchedulerOption,
    Module,
    PathText,
    PlacedGlob,
    GlobText,
    InnerGlob,
    VariablePattern
);
