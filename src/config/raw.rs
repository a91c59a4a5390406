//! What was typed: a file of settings as a tree in which every value knows its file and place.
//!
//! serde stops at the first wrong type and forgets who wrote an overridden value. A tree of our own keeps both, so that
//! all mistakes come at once and layers can be laid over one another before anybody asks what they mean. Syntax is the
//! `toml` crate's; meaning is given in `site.rs`, `suite.rs` and `step.rs`.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, LazyLock};

use regex::Regex;
use toml::de::{DeTable, DeValue};

use super::problem::{Problem, Report};
use crate::clean::in_place;

/// A file, flag or variable that settings were read from.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) name: String,
    pub(super) text: Arc<str>,
    /// The text as messages may show it.
    pub(super) shown: Arc<str>,
    pub(super) kind: SourceKind,
    /// Where its lines end.
    ends: Vec<usize>,
}

/// What a source is, which decides how a value's origin is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SourceKind {
    Default,
    File,
    Environment,
    Flag,
}

impl Source {
    pub(super) fn new(name: &str, text: &str, kind: SourceKind) -> Arc<Self> {
        Arc::new(Self {
            name: name.to_owned(),
            text: Arc::from(text),
            shown: Arc::from(in_place(&mask(text))),
            kind,
            ends: text.match_indices('\n').map(|(at, _)| at).collect(),
        })
    }
}

/// Returns the text with the passwords of addresses (`https://user:password@host`) as asterisks, byte for byte; so a user alone
/// (`https://token@host`), as people write tokens in either place.
pub(super) fn mask(text: &str) -> String {
    static PASSWORD: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new("://[^/@\\s\"':]*:([^/@\\s\"']+)@|https?://([^/@\\s\"':]+)@").ok()
    });
    let Some(pattern) = PASSWORD.as_ref() else {
        return text.to_owned();
    };
    let mut masked = text.to_owned();
    for found in pattern.captures_iter(text) {
        if let Some(password) = found.get(1).or(found.get(2)) {
            masked.replace_range(password.range(), &"*".repeat(password.len()));
        }
    }
    masked
}

/// A place in a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct At {
    pub(super) source: Arc<Source>,
    pub(super) span: Range<usize>,
}

impl At {
    /// Returns the line of the place, counted from one.
    pub(super) fn line(&self) -> usize {
        let start = self.span.start;
        1 + self.source.ends.partition_point(|end| *end < start)
    }

    /// Returns the text at the place, as messages may show it.
    pub(super) fn shown(&self) -> &str {
        self.source.shown.get(self.span.clone()).unwrap_or("")
    }

    /// Returns the text at the place, as it was typed.
    pub(super) fn typed(&self) -> &str {
        self.source.text.get(self.span.clone()).unwrap_or("")
    }

    /// Returns the place of `part` within this one where it was typed literally, else the whole place.
    pub(super) fn of(&self, part: &str) -> At {
        match self.typed().find(part) {
            Some(offset) if !part.is_empty() => {
                let start = self.span.start + offset;
                self.with(start..start + part.len())
            }
            _ => self.clone(),
        }
    }

    fn with(&self, span: Range<usize>) -> At {
        At {
            source: Arc::clone(&self.source),
            span,
        }
    }

    pub(super) fn is_default(&self) -> bool {
        self.source.kind == SourceKind::Default
    }
}

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Item {
    pub(super) value: Value,
    pub(super) at: At,
}

/// A TOML value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Text(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    Datetime(String),
    List(Vec<Item>),
    Table(Table),
}

impl Value {
    /// Returns the value's type as a person would say it.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a float",
            Self::Boolean(_) => "a boolean",
            Self::Datetime(_) => "a date",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }

    /// Returns the value as settings show it.
    pub(super) fn to_toml(&self) -> toml::Value {
        match self {
            Self::Text(text) | Self::Datetime(text) => toml::Value::String(mask(text)),
            Self::Integer(number) => toml::Value::Integer(*number),
            Self::Float(number) => toml::Value::Float(*number),
            Self::Boolean(yes) => toml::Value::Boolean(*yes),
            Self::List(items) => {
                toml::Value::Array(items.iter().map(|item| item.value.to_toml()).collect())
            }
            Self::Table(table) => toml::Value::Table(table.to_toml()),
        }
    }
}

impl Item {
    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn table(&self) -> Option<&Table> {
        match &self.value {
            Value::Table(table) => Some(table),
            _ => None,
        }
    }

    /// Lays `upper` over this item: tables key by key, everything else is replaced.
    pub(super) fn overlay(&mut self, upper: &Item) {
        match (&mut self.value, &upper.value) {
            (Value::Table(lower), Value::Table(table)) => {
                lower.overlay(table);
                self.at = upper.at.clone();
            }
            _ => *self = upper.clone(),
        }
    }
}

/// A key, where it stands, and its value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_at: At,
    pub(super) item: Item,
}

/// A table in the order it was written.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Table {
    pub(super) entries: Vec<Entry>,
}

impl Table {
    pub(super) fn get(&self, key: &str) -> Option<&Item> {
        self.entry(key).map(|entry| &entry.item)
    }

    pub(super) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    pub(super) fn get_mut(&mut self, key: &str) -> Option<&mut Item> {
        let entry = self.entries.iter_mut().find(|entry| entry.key == key);
        entry.map(|entry| &mut entry.item)
    }

    /// Lays `upper` over this table.
    pub(super) fn overlay(&mut self, upper: &Table) {
        let own = self.entries.iter().zip(0..);
        let places: HashMap<&str, usize> = own.map(|(own, at)| (own.key.as_str(), at)).collect();
        let keys = upper.entries.iter().map(|entry| entry.key.as_str());
        let found: Vec<Option<usize>> = keys.map(|key| places.get(key).copied()).collect();
        for (entry, at) in upper.entries.iter().zip(found) {
            match at.and_then(|at| self.entries.get_mut(at)) {
                Some(own) => {
                    own.item.overlay(&entry.item);
                    own.key_at = entry.key_at.clone();
                }
                None => self.entries.push(entry.clone()),
            }
        }
    }

    /// Returns this table with `upper` laid over it.
    pub(super) fn under(&self, upper: &Table) -> Table {
        let mut both = self.clone();
        both.overlay(upper);
        both
    }

    /// Returns the entries whose keys are (or are not) among `keys`.
    pub(super) fn only(&self, keep: impl Fn(&str) -> bool) -> Table {
        let entries = self.entries.iter().filter(|entry| keep(&entry.key));
        Table {
            entries: entries.cloned().collect(),
        }
    }

    pub(super) fn to_toml(&self) -> toml::Table {
        let pairs = self.entries.iter();
        pairs
            .map(|entry| (entry.key.clone(), entry.item.value.to_toml()))
            .collect()
    }

    /// Returns every value that is not a filled table, with its dotted key; steps go by their names.
    pub(super) fn leaves(&self) -> Vec<(String, &Item)> {
        let mut leaves = Vec::new();
        collect_leaves(self, "", &mut leaves);
        leaves
    }
}

fn collect_leaves<'t>(table: &'t Table, prefix: &str, leaves: &mut Vec<(String, &'t Item)>) {
    for entry in &table.entries {
        let key = join(prefix, &entry.key);
        match &entry.item.value {
            Value::Table(inner) if !inner.entries.is_empty() => collect_leaves(inner, &key, leaves),
            Value::List(items) if items.iter().any(|item| item.table().is_some()) => {
                for (index, item) in items.iter().enumerate() {
                    let Some(inner) = item.table() else { continue };
                    let name = inner.get("name").and_then(Item::text);
                    let name = name.map_or_else(|| index.to_string(), str::to_owned);
                    collect_leaves(inner, &join(&key, &name), leaves);
                }
            }
            _ => leaves.push((key, &entry.item)),
        }
    }
}

/// Returns `prefix.key`, with the key quoted where TOML would quote it.
pub(super) fn join(prefix: &str, key: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let key = if !key.is_empty() && key.chars().all(bare) {
        key.to_owned()
    } else {
        format!("{key:?}")
    };
    if prefix.is_empty() {
        key
    } else {
        format!("{prefix}.{key}")
    }
}

/// Reads TOML text; syntax errors go to `report`, and then there is no table.
pub(super) fn parse(source: &Arc<Source>, report: &Report) -> Option<Table> {
    let (table, errors) = DeTable::parse_recoverable(&source.text);
    if errors.is_empty() {
        return Some(convert_table(table.get_ref(), source, report));
    }
    let mut last_line = 0;
    for error in errors {
        let at = At {
            source: Arc::clone(source),
            span: visible(error.span().unwrap_or(0..0), &source.text),
        };
        // One slip makes the parser stumble over the rest of its line.
        if at.line() != last_line {
            last_line = at.line();
            report.push(syntax_problem(error.message(), &at));
        }
        // Inside an open list or string the parser takes each following line for a mistake.
        if ["array", "inline table", "multi-line"]
            .iter()
            .any(|open| error.message().contains(open))
        {
            break;
        }
    }
    None
}

/// Returns the problem in words for people who know TOML only by sight.
fn syntax_problem(message: &str, at: &At) -> Problem {
    let problem = |message: &str| Problem::new("syntax", at, message);
    let starts_table = at.typed().starts_with('[');
    if message.starts_with("duplicate key") {
        let twice = format!("`{}` stands here for the second time", at.typed());
        problem(&twice).label("the second").help("merge the two")
    } else if message.starts_with("string values must be quoted") && at.typed().trim().is_empty() {
        problem("a value is missing").label("expected a value")
    } else if message.starts_with("string values must be quoted") {
        problem("a string must stand in quotes").label("not in quotes")
    } else if message.contains("basic string") || message.contains("literal string") {
        let help = "end the string with the quote that it begins with; write `\\\\` for a backslash, or use single quotes";
        problem(&format!("this is not a string: {message}")).help(help)
    } else if message.contains("array") && starts_table {
        problem("a list above is not closed").label("expected `]` before this")
    } else {
        problem(&format!("this is not TOML: {message}"))
    }
}

/// Returns the span with at least one character, and none across the end of the text.
fn visible(span: Range<usize>, text: &str) -> Range<usize> {
    let mut start = span.start.min(text.len());
    while !text.is_char_boundary(start) {
        start -= 1;
    }
    let mut end = span.end.clamp(start, text.len());
    if end == start {
        end = (start + 1).min(text.len());
    }
    while !text.is_char_boundary(end) {
        end += 1;
    }
    start..end
}

/// Reads one TOML value that came from a flag or variable; what is no boolean or integer is a string.
pub(super) fn parse_value(source: &Arc<Source>) -> Item {
    let at = At {
        source: Arc::clone(source),
        span: 0..source.text.len(),
    };
    let text: &str = &source.text;
    let value = match (text.parse(), text.parse()) {
        (Ok(yes), _) => Value::Boolean(yes),
        (_, Ok(number)) => Value::Integer(number),
        _ => Value::Text(text.to_owned()),
    };
    Item { value, at }
}

fn convert_table(table: &DeTable<'_>, source: &Arc<Source>, report: &Report) -> Table {
    let mut entries: Vec<Entry> = table
        .iter()
        .map(|(key, value)| Entry {
            key: key.get_ref().to_string(),
            key_at: At {
                source: Arc::clone(source),
                span: key.span(),
            },
            item: convert(value.get_ref(), value.span(), source, report),
        })
        .collect();
    // The crate keeps tables sorted by key; the order of axes and variables is the order as written.
    entries.sort_by_key(|entry| entry.key_at.span.start);
    Table { entries }
}

fn convert(value: &DeValue<'_>, span: Range<usize>, source: &Arc<Source>, report: &Report) -> Item {
    let at = At {
        source: Arc::clone(source),
        span,
    };
    let value = match value {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(number) => {
            if let Ok(number) = i64::from_str_radix(number.as_str(), number.radix()) {
                Value::Integer(number)
            } else {
                let problem = Problem::new("impossible-value", &at, "this number is too large");
                report.push(problem.label("does not fit 64 bits"));
                Value::Integer(1)
            }
        }
        DeValue::Float(number) => Value::Float(number.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(yes) => Value::Boolean(*yes),
        DeValue::Datetime(date) => Value::Datetime(date.to_string()),
        DeValue::Array(items) => Value::List(
            items
                .iter()
                .map(|item| convert(item.get_ref(), item.span(), source, report))
                .collect(),
        ),
        DeValue::Table(table) => Value::Table(convert_table(table, source, report)),
    };
    Item { value, at }
}
