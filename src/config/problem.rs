//! Mistakes in settings: what, where, what was expected, and how all of them are shown together.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode,
    SourceSpan,
};

use super::Context;
use super::raw::At;
use crate::clean::printable;

/// The most mistakes that are told of: each is held against those before it.
const MOST: usize = 200;

/// One mistake, with the place it stands at.
#[derive(Debug, Clone)]
pub struct Problem {
    code: &'static str,
    message: String,
    label: String,
    help: Option<String>,
    source: NamedSource<Arc<str>>,
    at: At,
}

/// Returns a text that stays on its line.
fn in_line(text: &str) -> String {
    printable(text).replace('\n', " ")
}

impl Problem {
    pub(super) fn new(code: &'static str, at: &At, message: impl Into<String>) -> Self {
        Self {
            code,
            message: in_line(&message.into()),
            label: "here".to_owned(),
            help: None,
            source: NamedSource::new(&at.source.name, Arc::clone(&at.source.shown)),
            at: at.clone(),
        }
    }

    pub(super) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = in_line(&label.into());
        self
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(printable(&help.into()));
        self
    }

    pub(super) fn maybe_help(mut self, help: Option<String>) -> Self {
        self.help = help.map(|it| printable(&it)).or(self.help);
        self
    }

    /// Returns the kind of mistake as a stable word, such as `unknown-key`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// Returns the name of the file (or flag) with the mistake.
    #[must_use]
    pub fn file(&self) -> &str {
        self.source.name()
    }

    /// Returns line and column of the mistake, both counted from one.
    #[must_use]
    pub fn position(&self) -> (usize, usize) {
        let text = &self.at.source.text;
        let before = text.get(..self.at.span.start).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (self.at.line(), before[line_start..].chars().count() + 1)
    }

    fn same_as(&self, other: &Problem) -> bool {
        self.at.span == other.at.span
            && self.at.source == other.at.source
            && self.message == other.message
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Problem {}

impl Diagnostic for Problem {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.code))
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        let help = self.help.as_ref()?;
        Some(Box::new(help))
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let span = SourceSpan::from(self.at.span.clone());
        let label = LabeledSpan::new_primary_with_span(Some(self.label.clone()), span);
        Some(Box::new(std::iter::once(label)))
    }
}

/// Every mistake that was found in the files of settings, in the order of the files and their lines.
#[derive(Debug, Clone)]
pub struct ConfigError {
    problems: Vec<Problem>,
}

impl ConfigError {
    /// Returns the mistakes; there is at least one.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Returns the error as people read it: each mistake with file, line, column, the place underlined, and a remedy.
    ///
    /// `fancy` is for terminals; without it the text has no colours and only ASCII frames.
    #[must_use]
    pub fn render(&self, fancy: bool) -> String {
        let theme = if fancy {
            GraphicalTheme::unicode()
        } else {
            GraphicalTheme::none()
        };
        let handler = GraphicalReportHandler::new_themed(theme)
            .with_links(false)
            .with_width(120);
        let mut text = String::new();
        for problem in &self.problems {
            if !text.is_empty() {
                text.push('\n');
            }
            // Writing to a String succeeds; should miette itself fail, the bare message still says what is wrong.
            if handler.render_report(&mut text, problem).is_err() {
                text.push_str(&problem.message);
                text.push('\n');
            }
        }
        // Empty lines of a file are shown with a blank at their end, which only litters logs.
        let lines = text.lines().map(str::trim_end);
        lines.fold(String::new(), |all, line| all + line + "\n")
    }

    fn only(&self) -> Option<&Problem> {
        match self.problems.as_slice() {
            [problem] => Some(problem),
            _ => None,
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(problem) = self.only() {
            return problem.fmt(f);
        }
        let files: BTreeSet<&str> = self.problems.iter().map(Problem::file).collect();
        let files: Vec<String> = files.iter().map(|file| format!("`{file}`")).collect();
        write!(
            f,
            "{} mistakes in {}",
            self.problems.len(),
            files.join(" and ")
        )
    }
}

impl Error for ConfigError {}

/// A single mistake is shown as itself; several are shown below a line that counts them.
impl Diagnostic for ConfigError {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Diagnostic::code(self.only()?)
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Diagnostic::help(self.only()?)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.only()?.source_code()
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        self.only()?.labels()
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        if self.problems.len() < 2 {
            return None;
        }
        let all = self.problems.iter();
        Some(Box::new(all.map(|problem| problem as &dyn Diagnostic)))
    }
}

/// Where readers put what they find wrong, and what they may know of the outside.
pub(super) struct Report<'c> {
    pub(super) context: &'c Context<'c>,
    problems: RefCell<Vec<Problem>>,
    keys: RefCell<BTreeSet<String>>,
    quiet: Cell<bool>,
}

impl<'c> Report<'c> {
    pub(super) fn new(context: &'c Context<'c>) -> Self {
        Self {
            context,
            problems: RefCell::default(),
            keys: RefCell::default(),
            quiet: Cell::new(false),
        }
    }

    pub(super) fn push(&self, problem: Problem) {
        let mut problems = self.problems.borrow_mut();
        // A value is read once for its layer and once for the settings in force.
        if !self.quiet.get()
            && problems.len() < MOST
            && !problems.iter().any(|known| known.same_as(&problem))
        {
            problems.push(problem);
        }
    }

    pub(super) fn know(&self, key: String) {
        self.keys.borrow_mut().insert(key);
    }

    /// From now on mistakes are not kept: only keys are of interest.
    pub(super) fn hush(&self) {
        self.quiet.set(true);
    }

    pub(super) fn is_hushed(&self) -> bool {
        self.quiet.get() || self.problems.borrow().len() >= MOST
    }

    /// Returns every key that was asked for so far.
    pub(super) fn keys(&self) -> Vec<String> {
        self.keys.borrow().iter().cloned().collect()
    }

    /// Returns `value` if nothing is wrong.
    pub(super) fn settle<T>(self, value: T) -> Result<T, ConfigError> {
        let mut problems = self.problems.into_inner();
        if problems.is_empty() {
            return Ok(value);
        }
        problems.sort_by_key(|problem| problem.at.span.start);
        problems.sort_by_key(|problem| problem.source.name().to_owned());
        Err(ConfigError { problems })
    }
}
