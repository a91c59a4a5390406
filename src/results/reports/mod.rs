//! What test programs say of their tests: reports in many dialects, read into one list of cases.
//!
//! A format (`junit`, `libtest`, `tap`, `julia`) turns text into a [`Report`]; [`merge`] adds the reports of several
//! ranks up, the worst rank winning; [`verdict`] says what that means for the step. Reports are written by programs under
//! test, which crash, so everything here takes any text: what cannot be understood is a [`ReportError`] or a problem of the
//! report, never a panic and never nothing. `docs/reports.md` lists what is known of each dialect.
//!
//! This room opens no files: the driver brings them. They are read line by line, and within [`Limits`], since their writers may write
//! without end.

mod julia;
mod junit;
mod libtest;
mod libtest_json;
mod merge;
mod source;
mod tap;
#[cfg(test)]
mod tests;
mod totals;
mod verdict;
mod words;
mod xml;

use std::fmt;
use std::io::BufRead;

use serde::{Deserialize, Serialize};

use super::clean::{one_line, printable, shortened};

pub use merge::{Merged, MergedCase, RankReport, merge};
pub use verdict::{contradiction, verdict};

/// How long a message may be.
const MESSAGE: usize = 300;

/// How many bytes of evidence are kept of a case.
const DETAIL: usize = 4 * 1024;

/// How one test ended, from the best to the worst: of several ranks the worst counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CaseStatus {
    /// Its program left it out.
    Skipped,
    /// It passed.
    Passed,
    /// It failed, as its program expected.
    Xfailed,
    /// It passed, though its program expected it to fail.
    Xpassed,
    /// It passed after another attempt.
    Flaky,
    /// It should have run and did not.
    NotRun,
    /// It found a fault.
    Failed,
    /// It could not be carried out.
    Errored,
    /// It did not end within its time.
    TimedOut,
    /// It died.
    Crashed,
    /// Nobody knows how it ended.
    Lost,
}

impl CaseStatus {
    /// Returns the word that stands in the documents.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Skipped => "skipped",
            Self::Passed => "passed",
            Self::Xfailed => "xfailed",
            Self::Xpassed => "xpassed",
            Self::Flaky => "flaky",
            Self::NotRun => "not_run",
            Self::Failed => "failed",
            Self::Errored => "errored",
            Self::TimedOut => "timed_out",
            Self::Crashed => "crashed",
            Self::Lost => "lost",
        }
    }

    /// Returns whether the test found a fault or came to grief.
    #[must_use]
    pub fn is_failure(self) -> bool {
        matches!(
            self,
            Self::Failed | Self::Errored | Self::TimedOut | Self::Crashed
        )
    }

    /// Returns whether nothing is known of the test though there should be.
    #[must_use]
    pub fn is_unproved(self) -> bool {
        matches!(self, Self::NotRun | Self::Lost)
    }

    /// Returns whether the test ran to its end and nothing is wrong.
    #[must_use]
    pub fn is_good(self) -> bool {
        !self.is_failure() && !self.is_unproved() && self != Self::Skipped
    }
}

impl fmt::Display for CaseStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One test of a report.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// Its name, unique in the report.
    pub name: String,
    /// How it ended.
    pub status: CaseStatus,
    /// Why, in one line.
    pub message: Option<String>,
    /// What its program wrote of it.
    pub detail: String,
    /// How long it took.
    pub seconds: Option<f64>,
}

impl Case {
    fn new(name: impl Into<String>, status: CaseStatus) -> Self {
        Self {
            name: name.into(),
            status,
            message: None,
            detail: String::new(),
            seconds: None,
        }
    }

    /// Sets why it ended so; blank text says nothing.
    fn because(mut self, message: &str) -> Self {
        let message = shortened(&one_line(message), MESSAGE);
        self.message = (!message.is_empty()).then_some(message);
        self
    }

    /// Sets what its program wrote; without a message, the first line of it is the message.
    fn with_detail(mut self, detail: &str) -> Self {
        let text = printable(detail);
        let mut end = text.len().min(DETAIL);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text[..end].trim_end().clone_into(&mut self.detail);
        if self.message.is_none() && self.status != CaseStatus::Passed {
            let line = telling_line(&self.detail).to_owned();
            self = self.because(&line);
        }
        self
    }
}

/// Adds a line to what is kept of a program's words.
fn add_line(text: &mut String, line: &str) {
    if text.len() <= DETAIL {
        text.push_str(line);
        text.push('\n');
    }
}

/// Returns the line of a program's words that says most: what a Rust program panicked with, else the first one.
fn telling_line(detail: &str) -> &str {
    let mut lines = detail
        .lines()
        .filter(|line| !matches!(line.trim(), "" | "FAILED:"));
    let panicked = |line: &&str| line.starts_with("thread '") && line.contains("panicked at ");
    let first = lines.clone().next().unwrap_or_default();
    match lines.find(panicked) {
        Some(_) => lines.next().unwrap_or(first),
        None => first,
    }
}

/// The formats that can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `JUnit` XML.
    Junit,
    /// What Rust's test programs print.
    Libtest,
    /// The same as JSON, a line each.
    LibtestJson,
    /// The Test Anything Protocol.
    Tap,
    /// The summary that Julia's `Test` prints.
    Julia,
}

/// Who wrote a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dialect {
    /// `JUnit` XML of somebody who is not known.
    Junit,
    /// nextest.
    Nextest,
    /// pytest.
    Pytest,
    /// `CTest`.
    Ctest,
    /// `GoogleTest`.
    GoogleTest,
    /// Catch2.
    Catch2,
    /// `TestReports` of Julia.
    TestReports,
    /// Rust's test programs.
    Libtest,
    /// Rust's test programs, as JSON.
    LibtestJson,
    /// The Test Anything Protocol.
    Tap,
    /// Julia's `Test`.
    Julia,
}

impl Dialect {
    /// Returns the word that stands in the documents.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Junit => "junit",
            Self::Nextest => "nextest",
            Self::Pytest => "pytest",
            Self::Ctest => "ctest",
            Self::GoogleTest => "google-test",
            Self::Catch2 => "catch2",
            Self::TestReports => "test-reports",
            Self::Libtest => "libtest",
            Self::LibtestJson => "libtest-json",
            Self::Tap => "tap",
            Self::Julia => "julia",
        }
    }
}

/// What one report says.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Who wrote it.
    pub dialect: Dialect,
    /// Its tests, in its order, each once.
    pub cases: Vec<Case>,
    /// What keeps it from being the whole truth: it was cut short, or contradicts itself.
    pub problems: Vec<String>,
    /// What of it is not known and does no harm.
    pub notes: Vec<String>,
    /// Whether a name stood there more than once.
    pub repeats: bool,
}

impl Report {
    fn new(dialect: Dialect) -> Self {
        Self {
            dialect,
            cases: Vec::new(),
            problems: Vec::new(),
            notes: Vec::new(),
            repeats: false,
        }
    }

    /// Numbers tests of the same name, so that each is counted.
    fn number_namesakes(&mut self) {
        let mut seen = std::collections::HashMap::<String, u32>::new();
        for case in &mut self.cases {
            let count = seen.entry(case.name.clone()).or_default();
            *count += 1;
            if *count > 1 {
                self.repeats = true;
                case.name = format!("{} #{count}", case.name);
            }
        }
    }
}

/// Why a report cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    /// Its XML is broken.
    #[error("its XML cannot be read at byte {at}: {what}")]
    Xml {
        /// Where.
        at: u64,
        /// What is wrong.
        what: String,
    },
    /// The file system refused.
    #[error("{what}")]
    Unreadable {
        /// What it said.
        what: String,
    },
    /// Nothing was found in what is read of it.
    #[error(
        "its first {limit} bytes hold no report, and what is behind them was not read (`max_log` of [scheduler.limits])"
    )]
    TooLarge {
        /// How much is read.
        limit: u64,
    },
    /// It is something else.
    #[error("it is no {what}")]
    Not {
        /// What it was to be.
        what: &'static str,
    },
}

/// How much of a report is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// The bytes of an output or of a file: `max_log` of `[scheduler.limits]`.
    pub bytes: u64,
    /// The tests of a step: `max_report_tests`.
    pub tests: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: 64 << 20,
            tests: 100_000,
        }
    }
}

impl Limits {
    fn cut(self) -> String {
        format!(
            "it is longer than {} bytes, and what is behind them was not read (`max_log` of [scheduler.limits])",
            self.bytes
        )
    }

    fn beyond(self) -> String {
        format!(
            "it has more than {} tests, and what is behind them was not read (`max_report_tests` of [scheduler.limits])",
            self.tests
        )
    }
}

/// Reads a report.
pub fn read(format: Format, source: impl BufRead, limits: Limits) -> Result<Report, ReportError> {
    read_as(format, source, limits, false)
}

/// Returns what the output of a program says of its tests, if it is in a format that is known and speaks for itself; `open` begins the
/// output anew, which is read twice.
///
/// Ranks that write over one another leave lines that nobody can read: an output that does not add up is not recognised.
#[must_use]
pub fn recognise<S: BufRead>(open: impl Fn() -> Option<S>, limits: Limits) -> Option<Report> {
    let mut signs = (
        false,
        libtest_json::Signs::default(),
        libtest::Signs::default(),
        tap::Signs::default(),
        julia::Signs::default(),
    );
    let mut lines = source::Lines::new(open()?, limits.bytes, true);
    while let Some(line) = lines.next().ok()? {
        signs.0 |= line.contains("<testsuite");
        signs.1.line(&line);
        signs.2.line(&line);
        signs.3.line(&line);
        signs.4.line(&line);
    }
    let formats = [
        (Format::Junit, signs.0),
        (Format::LibtestJson, signs.1.are_likely()),
        (Format::Libtest, signs.2.are_likely()),
        (Format::Tap, signs.3.are_likely()),
        (Format::Julia, signs.4.are_likely()),
    ];
    let (format, _) = formats.into_iter().find(|(_, likely)| *likely)?;
    read_as(format, open()?, limits, true).ok()
}

/// Reads a report, maybe without what a terminal would not show.
fn read_as(
    format: Format,
    source: impl BufRead,
    limits: Limits,
    clean: bool,
) -> Result<Report, ReportError> {
    match format {
        Format::Junit => junit::read(source, limits),
        Format::Libtest => source::by_line::<libtest::Reader>(source, limits, clean),
        Format::LibtestJson => source::by_line::<libtest_json::Reader>(source, limits, clean),
        Format::Tap => source::by_line::<tap::Reader>(source, limits, clean),
        Format::Julia => source::by_line::<julia::Reader>(source, limits, clean),
    }
}

/// Reads a text within the usual limits.
#[cfg(test)]
fn read_text(format: Format, text: &str) -> Result<Report, ReportError> {
    read(format, text.as_bytes(), Limits::default())
}
