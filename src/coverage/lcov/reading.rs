//! What reading a tracefile says beside the model.

/// The longest line that is read; mangled C++ names reach a hundred thousand bytes.
pub(super) const LONGEST_LINE: usize = 4 << 20;
/// A line of which so much is passed over has no end, and nothing behind it is read.
pub(super) const ENDLESS_LINE: u64 = 64 << 20;
/// The most source files that a tracefile is about.
pub(super) const MOST_FILES: usize = 500_000;
/// Problems that are kept in full for one tracefile; more are only counted.
pub(super) const PROBLEMS_KEPT: usize = 100;

/// What was read and what was wrong with it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reading {
    /// Sections, each the account of one source file.
    pub sections: u64,
    /// The first problems.
    pub problems: Vec<Problem>,
    /// How many problems there were.
    pub problem_count: u64,
    /// Counts beyond 64 bits, which became the largest number.
    pub saturated: u64,
    /// Negative counts, which became 0.
    pub negative: u64,
    /// Names and paths that are not UTF-8, in which the offending bytes are replaced.
    pub not_utf8: u64,
}

/// A line that could not be used: it costs what it says, and nothing else of its file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {fault}")]
pub struct Problem {
    /// The line, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What can be wrong with a line of a tracefile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The whole file is in a form that is not read.
    #[error("the file is {what}, which is not read")]
    Unreadable {
        /// What it is.
        what: &'static str,
    },
    /// It does not have the form of its record.
    #[error("`{text}` is not {expected}")]
    Malformed {
        /// The line, or how it begins.
        text: String,
        /// The form it should have.
        expected: &'static str,
    },
    /// It is about line 0 or one before that.
    #[error("`{text}` is about a line that no file has: lines count from 1")]
    NoLine {
        /// The line, or how it begins.
        text: String,
    },
    /// Its record has a name that is not known, so nobody can tell what is lost with it.
    #[error("`{text}` is a record of an unknown kind")]
    Unknown {
        /// The line, or how it begins.
        text: String,
    },
    /// It stands before `SF` or after `end_of_record`.
    #[error("`{text}` belongs to no source file")]
    Homeless {
        /// The line, or how it begins.
        text: String,
    },
    /// The section before it has no `end_of_record`; what it said is kept.
    #[error("the section of `{path}` does not end with `end_of_record`")]
    Unclosed {
        /// The source file.
        path: String,
    },
    /// The tracefile ends within this line, which is left out because its last number may lack digits.
    #[error("the tracefile ends in the middle of `{text}`")]
    CutOff {
        /// What is there of the line.
        text: String,
    },
    /// No `FN` record of its section says where this function stands.
    #[error("function `{name}` is counted but not declared")]
    Undeclared {
        /// The function.
        name: String,
    },
    /// It is one source file too many.
    #[error("`{path}` is left out: a tracefile is about no more than {MOST_FILES} source files")]
    TooManyFiles {
        /// The source file.
        path: String,
    },
    /// It does not end.
    #[error("longer than {ENDLESS_LINE} bytes, and what comes behind is not read")]
    Endless,
    /// It is longer than any record.
    #[error("longer than {LONGEST_LINE} bytes")]
    TooLong,
}

impl Reading {
    /// Returns whether every record of the tracefile was used.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.sections > 0 && self.problem_count == 0
    }

    pub(super) fn problem(&mut self, line: u64, fault: Fault) {
        self.problem_count += 1;
        if self.problems.len() < PROBLEMS_KEPT {
            self.problems.push(Problem { line, fault });
        }
    }
}
