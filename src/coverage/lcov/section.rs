//! One section of a tracefile as it gathers, until it is added to the model.

use std::collections::BTreeMap;
use std::ops::Range;

use super::add::{Sighting, settle, unite};
use super::fields::leading_digits;
use super::{Branch, Condition, Count, Function, Line, SourceFile, Stated, Tracefile};

/// One section as it gathers; its buffers serve all sections of a tracefile.
///
/// While a section is open its file is not in the model but here, so that the names that come can be compared with those
/// that are expected. Names are most of a tracefile, and comparing them is much faster than reading them.
#[derive(Default)]
pub(super) struct Section {
    path: Box<str>,
    /// What the model knew of the file, if it did.
    known: Option<SourceFile>,
    followed: Option<Followed>,
    pub(super) names: String,
    declared: Vec<Declared>,
    counted: Vec<Counted>,
    /// Names of functions that were declared on no line: they are left out, and so are their counts.
    refused: Vec<Range<usize>>,
    pub(super) leaders: BTreeMap<u64, (u32, Option<u32>)>,
    pub(super) lines: Vec<Line>,
    pub(super) branches: Vec<Branch>,
    pub(super) conditions: Vec<Condition>,
    pub(super) totals: [Option<u64>; 6],
}

/// How far the functions of a section are those of the model in the same order.
#[derive(Default)]
struct Followed {
    /// How many were declared.
    declared: usize,
    /// The hits of those that were counted, and the lines that said so.
    hits: Vec<(u64, u64)>,
}

/// `FN`: where a function stands.
pub(super) struct Declared {
    pub(super) name: Range<usize>,
    pub(super) start: u32,
    pub(super) end: Option<u32>,
}

/// `FNDA`: how often a function was entered.
pub(super) struct Counted {
    pub(super) name: Range<usize>,
    pub(super) hits: u64,
    /// Where it says so.
    pub(super) line: u64,
}

impl Section {
    /// Returns the source file.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Begins the section of a file.
    pub(super) fn begin(&mut self, model: &mut Tracefile, path: &str) {
        (self.path, self.known) = match model.files.remove_entry(path) {
            Some((path, file)) => (path, Some(file)),
            None => (path.into(), None),
        };
        let known = self
            .known
            .as_ref()
            .is_some_and(|file| !file.functions.is_empty());
        self.followed = known.then(Followed::default);
    }

    /// Takes `FN` or `FNDA` of the function that the model leads to expect, and returns the length of the line.
    pub(super) fn follow(&mut self, text: &[u8], line: u64) -> Option<usize> {
        let functions = &self.known.as_ref()?.functions;
        let followed = self.followed.as_mut()?;
        if let Some(rest) = text.strip_prefix(b"FN:") {
            let function = functions.get(followed.declared)?;
            let rest = after_number(rest, function.start)?;
            let rest = match function.end {
                Some(end) => after_number(rest, end)?,
                None => rest,
            };
            let rest = after_name(rest, &function.name)?;
            followed.declared += 1;
            return Some(text.len() - rest.len());
        }
        let rest = text.strip_prefix(b"FNDA:")?;
        let function = functions.get(followed.hits.len())?;
        let (hits, length) = leading_digits(rest);
        let rest = rest[length..]
            .strip_prefix(b",")
            .filter(|_| (1..=19).contains(&length))?;
        let rest = after_name(rest, &function.name)?;
        followed.hits.push((hits, line));
        Some(text.len() - rest.len())
    }

    /// Takes a declaration that was not expected.
    pub(super) fn declare(&mut self, declared: Declared) {
        self.stop_following();
        self.declared.push(declared);
    }

    /// Takes the name of a function that cannot be declared.
    pub(super) fn refuse(&mut self, name: Range<usize>) {
        self.refused.push(name);
    }

    /// Takes a count that was not expected.
    pub(super) fn count(&mut self, counted: Counted) {
        self.stop_following();
        self.counted.push(counted);
    }

    fn stop_following(&mut self) {
        if let Some(followed) = self.followed.take()
            && let Some(file) = self.known.take()
        {
            self.take_over(&followed, &file.functions);
            self.known = Some(file);
        }
    }

    /// Notes functions that were followed as if they had been read like any others.
    fn take_over(&mut self, followed: &Followed, functions: &[Function]) {
        let reached = followed.declared.max(followed.hits.len());
        for (at, function) in functions.iter().enumerate().take(reached) {
            let from = self.names.len();
            self.names.push_str(&function.name);
            let name = from..self.names.len();
            if at < followed.declared {
                self.declared.push(Declared {
                    name: name.clone(),
                    start: function.start,
                    end: function.end,
                });
            }
            if let Some(&(hits, line)) = followed.hits.get(at) {
                self.counted.push(Counted { name, hits, line });
            }
        }
    }

    /// Puts the file with what was gathered back into the model; returns the functions that are counted but not declared,
    /// with the lines that do so.
    pub(super) fn finish(&mut self, model: &mut Tracefile) -> Vec<(u64, String)> {
        let first = self.known.is_none();
        let mut file = self.known.take().unwrap_or_default();
        let undeclared = self.add_functions(&mut file);
        settle(&mut self.lines);
        unite(&mut file.lines, &mut self.lines);
        unite(&mut file.branches, &mut self.branches);
        unite(&mut file.conditions, &mut self.conditions);
        file.state(if first {
            self.stated()
        } else {
            Stated::default()
        });
        model.files.insert(std::mem::take(&mut self.path), file);
        self.clear();
        undeclared
    }

    fn add_functions(&mut self, file: &mut SourceFile) -> Vec<(u64, String)> {
        if let Some(followed) = self.followed.take() {
            let all = file.functions.len();
            if followed.declared == all && followed.hits.len() == all {
                for (function, (hits, _)) in file.functions.iter_mut().zip(followed.hits) {
                    function.hits = function.hits.saturating_add(hits);
                }
                return Vec::new();
            }
            self.take_over(&followed, &file.functions);
        }
        let (mut functions, mut undeclared) =
            sightings(&self.names, &self.declared, &mut self.counted);
        unite(&mut file.functions, &mut functions);
        let refused = |name: &str| {
            self.refused
                .iter()
                .any(|it| &self.names[it.clone()] == name)
        };
        undeclared.retain(|(_, name)| !refused(name));
        undeclared
            .into_iter()
            .map(|(line, name)| (line, name.to_owned()))
            .collect()
    }

    fn stated(&self) -> Stated {
        let count = |at: usize| {
            Some(Count {
                found: self.totals[at]?,
                hit: self.totals[at + 1]?,
            })
        };
        Stated {
            functions: count(0),
            lines: count(2),
            branches: count(4),
        }
    }

    fn clear(&mut self) {
        self.followed = None;
        self.names.clear();
        self.declared.clear();
        self.counted.clear();
        self.refused.clear();
        self.leaders.clear();
        self.lines.clear();
        self.branches.clear();
        self.conditions.clear();
        self.totals = [None; 6];
    }
}

fn after_number(text: &[u8], expected: u32) -> Option<&[u8]> {
    let (number, length) = leading_digits(text);
    let same = number == u64::from(expected) && (1..=19).contains(&length);
    text[length..].strip_prefix(b",").filter(|_| same)
}

fn after_name<'t>(text: &'t [u8], expected: &str) -> Option<&'t [u8]> {
    text.strip_prefix(expected.as_bytes())?.strip_prefix(b"\n")
}

/// Joins where functions stand with how often they were entered, in the order in which they were declared; returns also
/// the counted ones that no declaration names.
///
/// The same name may be declared on several lines: its n-th count belongs to its n-th declaration.
fn sightings<'n>(
    names: &'n str,
    declared: &[Declared],
    counted: &mut [Counted],
) -> (Vec<Sighting<'n>>, Vec<(u64, &'n str)>) {
    let sighting = |declared: &Declared| Sighting {
        name: &names[declared.name.clone()],
        start: declared.start,
        end: declared.end,
        hits: 0,
    };
    let mut functions: Vec<Sighting<'n>> = declared.iter().map(sighting).collect();
    let mut undeclared = Vec::new();
    let paired = |(function, counted): (&Sighting<'_>, &Counted)| {
        function.name == &names[counted.name.clone()]
    };
    if declared.len() == counted.len() && functions.iter().zip(counted.iter()).all(paired) {
        for (function, counted) in functions.iter_mut().zip(counted) {
            function.hits = counted.hits;
        }
        return (functions, undeclared);
    }
    let mut order: Vec<usize> = (0..functions.len()).collect();
    order.sort_by_key(|&at| functions[at].name);
    counted.sort_by_key(|counted| &names[counted.name.clone()]);
    let mut order = order.into_iter().peekable();
    let mut last = None;
    for counted in counted {
        let name = &names[counted.name.clone()];
        while order.next_if(|&at| functions[at].name < name).is_some() {}
        let next = order.next_if(|&at| functions[at].name == name);
        // More counts than declarations: the last declaration of the name takes the rest.
        match next.or(last.filter(|&at: &usize| functions[at].name == name)) {
            Some(at) => {
                functions[at].hits = functions[at].hits.saturating_add(counted.hits);
                last = Some(at);
            }
            None => undeclared.push((counted.line, name)),
        }
    }
    undeclared.sort_unstable();
    (functions, undeclared)
}
