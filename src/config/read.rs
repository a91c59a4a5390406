//! From typed text to values: one trait for what a key may hold, and a table that notices the keys nobody asked for.

use std::cell::RefCell;

use super::problem::{Problem, Report};
use super::raw::{At, Item, Table, Value, join};
use super::suggest;

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
        wrong_type(item, path, "a table", report);
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
    pub(super) fn need<T: Field + Default>(&self, key: &'static str) -> T {
        if self.item(key).is_none() && !self.has_misspelt(key) {
            let message = format!("{} has no `{key}`", self.title());
            let problem = Problem::new("missing-key", &self.at, message);
            self.report.push(problem.label(format!("needs `{key}`")));
        }
        self.get(key).unwrap_or_default()
    }

    /// Returns what to call the table, by its own name where it has one.
    pub(super) fn title(&self) -> String {
        let name = self
            .table
            .get("name")
            .and_then(Item::text)
            .map(str::escape_debug);
        match name {
            Some(name) => format!("{} `{name}`", self.path),
            None => format!("`{}`", self.path),
        }
    }

    /// Returns whether the table has the key under a name that will be reported as a slip of the pen.
    fn has_misspelt(&self, key: &str) -> bool {
        let mut names = self.table.entries.iter().map(|entry| entry.key.as_str());
        names.any(|name| suggest::meant(name, &[key]).is_some())
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

/// Reports a value of the wrong type.
pub(super) fn wrong_type(item: &Item, path: &str, expected: &str, report: &Report) {
    let kind = item.value.kind();
    let message = format!("`{path}` must be {expected}, not {kind}");
    let problem = Problem::new("wrong-type", &item.at, message).label(format!("this is {kind}"));
    report.push(problem.maybe_help(quotes(item, expected)));
}

/// Returns the remedy where only quotes are wrong.
fn quotes(item: &Item, expected: &str) -> Option<String> {
    let bare = |text: &str| text.parse::<f64>().is_ok() || text.parse::<bool>().is_ok();
    match &item.value {
        Value::Text(text) if bare(text) && UNQUOTED.contains(&expected) => {
            Some(format!("write it without quotes: {text}"))
        }
        Value::Integer(_) | Value::Float(_) if expected == "a string" => {
            Some(format!("write it in quotes: \"{}\"", item.at.typed()))
        }
        _ => None,
    }
}

/// What is written without quotes.
const UNQUOTED: [&str; 3] = ["a number", "a whole number", "`true` or `false`"];

/// Reports a value of the right type that cannot be.
pub(super) fn refuse(item: &Item, path: &str, reason: &str, report: &Report) {
    let message = format!("`{path}` cannot be {}", shown(&item.at));
    impossible(&item.at, message, reason, report);
}

/// Returns the first line of what was typed, not too much of it.
fn shown(at: &At) -> String {
    let typed = at.shown();
    let line = typed.lines().next().unwrap_or_default();
    let start: String = line.chars().take(40).collect();
    if start.len() == typed.len() {
        start
    } else {
        format!("{start}...")
    }
}

pub(super) fn impossible(at: &At, message: impl Into<String>, label: &str, report: &Report) {
    report.push(Problem::new("impossible-value", at, message).label(label));
}

/// Returns what the item's word stands for among `all`.
pub(super) fn one_of<T: Copy>(
    item: &Item,
    path: &str,
    all: &[(&str, T)],
    report: &Report,
) -> Option<T> {
    let words: Vec<&str> = all.iter().map(|(word, _)| *word).collect();
    let listed: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    let expected = match listed.as_slice() {
        [only] => only.clone(),
        _ => format!("one of {}", listed.join(", ")),
    };
    let Some(text) = item.text() else {
        wrong_type(item, path, &expected, report);
        return None;
    };
    let found = all.iter().find(|(word, _)| *word == text);
    if found.is_none() {
        let message = format!("`{path}` cannot be {}", shown(&item.at));
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
    fn read(item: &Item, path: &str, report: &Report) -> Option<Self> {
        let Some(text) = item.text() else {
            wrong_type(item, path, "a string", report);
            return None;
        };
        if text.contains('\0') {
            refuse(item, path, "must not hold a NUL character", report);
            return None;
        }
        Some(text.to_owned())
    }
}

impl Field for bool {
    fn read(item: &Item, path: &str, report: &Report) -> Option<Self> {
        let Value::Boolean(yes) = item.value else {
            wrong_type(item, path, "`true` or `false`", report);
            return None;
        };
        Some(yes)
    }
}

impl<T: Field> Field for Vec<T> {
    fn read(item: &Item, path: &str, report: &Report) -> Option<Self> {
        let Value::List(items) = &item.value else {
            wrong_type(item, path, "a list", report);
            return None;
        };
        let one = |(index, item)| T::read(item, &format!("{path}[{index}]"), report);
        // All are read before one that is wrong ends it, so that every mistake is reported.
        let values: Vec<Option<T>> = items.iter().enumerate().map(one).collect();
        values.into_iter().collect()
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
                wrong_type(item, path, "a string or a list of strings", report);
                None
            }
        }
    }
}
