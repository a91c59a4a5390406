//! From typed text to values: one trait for what a key may hold, and a table that notices the keys nobody asked for.

use std::cell::RefCell;
use std::str::FromStr;

use globset::Glob;
use regex::Regex;

use super::paths::expand_path;
use super::problem::{Problem, Report};
use super::raw::{At, Item, Table, Value, join};
use super::suggest;
use super::units::{Memory, Walltime};

/// Something a key may hold. On a mistake the report has it, and there is no value.
pub(super) trait Field: Sized {
    fn read(item: &Item, path: &str, report: &Report) -> Option<Self>;
}

/// A table that is being read.
pub(super) struct Section<'t, 'r> {
    pub(super) table: &'t Table,
    pub(super) at: At,
    pub(super) path: &'t str,
    pub(super) report: &'r Report<'r>,
    known: RefCell<Vec<&'static str>>,
}

/// Reads a table with `body`, then reports every key that `body` did not ask for.
pub(super) fn section<T>(
    item: &Item,
    path: &str,
    report: &Report,
    body: impl FnOnce(&Section) -> T,
) -> Option<T> {
    let Value::Table(table) = &item.value else {
        wrong_type(item, "a table", report);
        return None;
    };
    let section = Section {
        table,
        at: item.at.clone(),
        path,
        report,
        known: RefCell::default(),
    };
    let value = body(&section);
    section.reject_unknown();
    Some(value)
}

impl Section<'_, '_> {
    /// Returns the item of a key, which is known from now on.
    pub(super) fn item(&self, key: &'static str) -> Option<&Item> {
        self.known.borrow_mut().push(key);
        self.report.know(join(self.path, key));
        self.table.get(key)
    }

    /// Returns the value of a key, if it is there and right.
    pub(super) fn get<T: Field>(&self, key: &'static str) -> Option<T> {
        let item = self.item(key)?;
        T::read(item, &join(self.path, key), self.report)
    }

    /// Returns the value of a key that must be there, or a stand-in after the mistake was reported.
    pub(super) fn need<T: Field + Stand>(&self, key: &'static str) -> T {
        if self.item(key).is_none() {
            let message = format!("`{}` has no `{key}`", self.path);
            let problem = Problem::new("missing-key", &self.at, message);
            let label = format!("`{key}` must stand here");
            self.report.push(problem.label(label));
        }
        self.get(key).unwrap_or_else(T::stand)
    }

    fn reject_unknown(&self) {
        let known = self.known.borrow();
        for entry in &self.table.entries {
            if !known.contains(&entry.key.as_str()) {
                unknown_key(&entry.key, &entry.key_at, self.path, &known, self.report);
            }
        }
    }
}

/// Reports a key that is not known in the table `path`.
pub(super) fn unknown_key(key: &str, at: &At, path: &str, known: &[&str], report: &Report) {
    if report.is_hushed() {
        return;
    }
    let place = if path.is_empty() {
        "at the top of a file".to_owned()
    } else {
        format!("in `{path}`")
    };
    let message = format!("unknown key `{key}` {place}");
    let problem = Problem::new("unknown-key", at, message).label("not known here");
    report.push(problem.help(suggest::for_key(key, path, known)));
}

/// A value that stands in for one that was wrong; it is never used, because the mistake ends the reading.
pub(super) trait Stand {
    fn stand() -> Self;
}

impl<T: Default> Stand for T {
    fn stand() -> Self {
        T::default()
    }
}

pub(super) fn wrong_type(item: &Item, expected: &str, report: &Report) {
    let message = format!("expected {expected}, found {}", item.value.kind());
    let problem = Problem::new("wrong-type", &item.at, message);
    report.push(problem.label(format!("expected {expected}")));
}

pub(super) fn impossible(at: &At, message: impl Into<String>, label: &str, report: &Report) {
    report.push(Problem::new("impossible-value", at, message).label(label));
}

/// Returns what the item's word stands for among `all`.
pub(super) fn one_of<T: Copy>(item: &Item, all: &[(&str, T)], report: &Report) -> Option<T> {
    let words: Vec<&str> = all.iter().map(|(word, _)| *word).collect();
    let listed: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    let expected = format!("one of {}", listed.join(", "));
    let Some(text) = item.text() else {
        wrong_type(item, &expected, report);
        return None;
    };
    let found = all.iter().find(|(word, _)| *word == text);
    if found.is_none() {
        let message = format!("`{text}` is not {expected}");
        let problem = Problem::new("impossible-value", &item.at, message);
        let help = suggest::near(text, &words).map(|word| format!("did you mean `{word}`?"));
        report.push(
            problem
                .label(format!("expected {expected}"))
                .maybe_help(help),
        );
    }
    found.map(|(_, value)| *value)
}

impl Field for String {
    fn read(item: &Item, _path: &str, report: &Report) -> Option<Self> {
        let Some(text) = item.text() else {
            wrong_type(item, "a string", report);
            return None;
        };
        if text.contains('\0') {
            impossible(
                &item.at,
                "a string cannot hold a NUL character",
                "has a NUL",
                report,
            );
            return None;
        }
        Some(text.to_owned())
    }
}

impl Field for bool {
    fn read(item: &Item, _path: &str, report: &Report) -> Option<Self> {
        let Value::Boolean(yes) = item.value else {
            wrong_type(item, "`true` or `false`", report);
            return None;
        };
        Some(yes)
    }
}

/// Reads an integer between two bounds.
pub(super) fn integer(item: &Item, least: u32, most: u32, report: &Report) -> Option<u32> {
    let Value::Integer(number) = item.value else {
        wrong_type(item, "a whole number", report);
        return None;
    };
    let fits = u32::try_from(number).ok();
    let fits = fits.filter(|number| (least..=most).contains(number));
    if fits.is_none() {
        let message = format!("`{number}` is not between {least} and {most}");
        impossible(&item.at, message, "out of range", report);
    }
    fits
}

/// A count that may be zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Count(pub(super) u32);

/// A count of at least one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Positive(pub(super) u32);

/// Ranks, nodes and everything else that is counted; a larger number is a slip of the finger.
const MOST: u32 = 100_000_000;

impl Field for Count {
    fn read(item: &Item, _path: &str, report: &Report) -> Option<Self> {
        integer(item, 0, MOST, report).map(Self)
    }
}

impl Field for Positive {
    fn read(item: &Item, _path: &str, report: &Report) -> Option<Self> {
        integer(item, 1, MOST, report).map(Self)
    }
}

impl Field for f64 {
    fn read(item: &Item, _path: &str, report: &Report) -> Option<Self> {
        let number = match item.value {
            Value::Float(number) => number,
            Value::Integer(number) => number as f64,
            _ => {
                wrong_type(item, "a number", report);
                return None;
            }
        };
        if !number.is_finite() || number <= 0.0 {
            impossible(
                &item.at,
                format!("`{number}` is not above 0"),
                "must be above 0",
                report,
            );
            return None;
        }
        Some(number)
    }
}

impl<T: Field> Field for Vec<T> {
    fn read(item: &Item, path: &str, report: &Report) -> Option<Self> {
        let Value::List(items) = &item.value else {
            wrong_type(item, "a list", report);
            return None;
        };
        let values: Vec<Option<T>> = items.iter().map(|it| T::read(it, path, report)).collect();
        values.into_iter().collect()
    }
}

/// Reads a string that has a form of its own.
fn formed<T: FromStr>(item: &Item, expected: &str, report: &Report) -> Option<T>
where
    T::Err: std::fmt::Display,
{
    let Some(text) = item.text() else {
        wrong_type(item, expected, report);
        return None;
    };
    let parsed = text.parse::<T>();
    if let Err(reason) = &parsed {
        let message = format!("`{text}` is not {expected}");
        impossible(&item.at, message, &reason.to_string(), report);
    }
    parsed.ok()
}

impl Field for Walltime {
    fn read(item: &Item, _path: &str, report: &Report) -> Option<Self> {
        let time: Self = formed(item, "a duration such as \"10m\"", report)?;
        if time.as_secs() == 0 {
            impossible(&item.at, "a duration of nothing", "must be above 0", report);
            return None;
        }
        Some(time)
    }
}

/// A duration that may be zero.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Grace(pub(super) Walltime);

impl Field for Grace {
    fn read(item: &Item, _path: &str, report: &Report) -> Option<Self> {
        formed(item, "a duration such as \"10m\"", report).map(Self)
    }
}

impl Field for Memory {
    fn read(item: &Item, _path: &str, report: &Report) -> Option<Self> {
        let size: Self = formed(item, "a size such as \"4GiB\"", report)?;
        if size.bytes() == 0 {
            impossible(&item.at, "a size of nothing", "must be above 0", report);
            return None;
        }
        Some(size)
    }
}

/// A word that reaches Slurm's command line or a batch script: no blanks, quotes or control characters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Word(pub(super) String);

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

impl Field for Word {
    fn read(item: &Item, path: &str, report: &Report) -> Option<Self> {
        let text = String::read(item, path, report)?;
        if let Some(fault) = word_fault(&text) {
            impossible(
                &item.at,
                format!("`{}` cannot be a name in Slurm", text.escape_debug()),
                fault,
                report,
            );
            return None;
        }
        Some(Self(text))
    }
}

/// Text that must not be empty, nor hold control characters: a name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Name(pub(super) String);

impl Field for Name {
    fn read(item: &Item, path: &str, report: &Report) -> Option<Self> {
        let text = String::read(item, path, report)?;
        let fault = if text.trim().is_empty() {
            "must not be empty"
        } else if text.chars().any(char::is_control) {
            "must not hold control characters"
        } else if text.len() > 200 {
            "must not be longer than 200 bytes"
        } else {
            return Some(Self(text));
        };
        impossible(
            &item.at,
            format!("`{}` cannot be a name", text.escape_debug()),
            fault,
            report,
        );
        None
    }
}

/// A path in which `$VAR`, `${VAR:-default}` and a leading `~` were replaced.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct PathText(pub(super) String);

impl Field for PathText {
    fn read(item: &Item, path: &str, report: &Report) -> Option<Self> {
        let text = String::read(item, path, report)?;
        if text.is_empty() {
            impossible(&item.at, "a path must not be empty", "empty", report);
            return None;
        }
        match expand_path(&text, report.context) {
            Ok(expanded) => Some(Self(expanded)),
            Err(fault) => {
                let at = item.at.of(&fault.part);
                let problem = Problem::new("undefined-variable", &at, fault.message);
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
            let message = format!("`{text}` is not a pattern of paths");
            let problem = Problem::new("invalid-glob", &item.at, message);
            report.push(problem.label(error.kind().to_string()));
            return None;
        }
        Some(Self(text))
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
                let message = format!("`{text}` is not a regular expression");
                report.push(Problem::new("invalid-regex", &item.at, message).label(reason));
                None
            }
        }
    }
}

/// One string, or a list of strings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct OneOrMore<T>(pub(super) Vec<T>);

impl<T: Field> Field for OneOrMore<T> {
    fn read(item: &Item, path: &str, report: &Report) -> Option<Self> {
        match &item.value {
            Value::List(_) => Vec::read(item, path, report).map(Self),
            Value::Text(_) => T::read(item, path, report).map(|one| Self(vec![one])),
            _ => {
                wrong_type(item, "a string or a list of strings", report);
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

plain!(Word, Name, PathText, GlobText);
