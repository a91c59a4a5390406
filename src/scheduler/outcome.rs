//! The ways in which a step ends, by the words that stand in documents, and whose turn it is after each: the one table.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It did what was expected of it.
    Passed,
    /// It ended with an exit code other than 0.
    Failed,
    /// A signal ended it.
    Signal,
    /// It did not end within its time.
    Timeout,
    /// It was killed for its use of memory.
    OutOfMemory,
    /// The scheduler refused the job.
    Rejected,
    /// The launcher could not start the program.
    LaunchFailed,
    /// A node died below it.
    NodeFailure,
    /// The scheduler took its nodes away.
    Preempted,
    /// Somebody cancelled it.
    Cancelled,
    /// It never started within its time of waiting.
    Starved,
    /// Nobody knows how it ended.
    Lost,
    /// It was planned and did not run, because of something else.
    NotRun,
    /// Its own conditions (`only`, `skip`) left it out.
    Skipped,
}

impl Outcome {
    /// Every outcome, in the order of the contract's table.
    pub const ALL: [Self; 14] = [
        Self::Passed,
        Self::Failed,
        Self::Signal,
        Self::Timeout,
        Self::OutOfMemory,
        Self::Rejected,
        Self::LaunchFailed,
        Self::NodeFailure,
        Self::Preempted,
        Self::Cancelled,
        Self::Starved,
        Self::Lost,
        Self::NotRun,
        Self::Skipped,
    ];

    /// Returns what the outcome means: whose turn it is.
    #[must_use]
    pub fn status(self) -> Status {
        match self {
            Self::Passed => Status::Passed,
            Self::Failed | Self::Signal | Self::Timeout | Self::OutOfMemory => Status::Failed,
            Self::Rejected
            | Self::LaunchFailed
            | Self::NodeFailure
            | Self::Preempted
            | Self::Cancelled
            | Self::Starved
            | Self::Lost => Status::Error,
            Self::NotRun => Status::NotRun,
            Self::Skipped => Status::Skipped,
        }
    }

    /// Returns the word that stands in the documents.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Signal => "signal",
            Self::Timeout => "timeout",
            Self::OutOfMemory => "out_of_memory",
            Self::Rejected => "rejected",
            Self::LaunchFailed => "launch_failed",
            Self::NodeFailure => "node_failure",
            Self::Preempted => "preempted",
            Self::Cancelled => "cancelled",
            Self::Starved => "starved",
            Self::Lost => "lost",
            Self::NotRun => "not_run",
            Self::Skipped => "skipped",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What the outcome of one step means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// All is well.
    Passed,
    /// The code under test is at fault.
    Failed,
    /// The infrastructure is; nothing is proved about the code.
    Error,
    /// It should have run and did not.
    NotRun,
    /// It was not meant to run here.
    Skipped,
}

impl Status {
    /// Returns the exit code that this status alone would give a run.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Passed | Self::Skipped => 0,
            Self::Failed => 1,
            Self::Error | Self::NotRun => 3,
        }
    }

    /// Returns the word that stands in the documents.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Error => "error",
            Self::NotRun => "not_run",
            Self::Skipped => "skipped",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_outcomes_is_the_contracts() {
        // Outcome, status, exit code: contract, section 2.
        let table = [
            ("passed", "passed", 0),
            ("failed", "failed", 1),
            ("signal", "failed", 1),
            ("timeout", "failed", 1),
            ("out_of_memory", "failed", 1),
            ("rejected", "error", 3),
            ("launch_failed", "error", 3),
            ("node_failure", "error", 3),
            ("preempted", "error", 3),
            ("cancelled", "error", 3),
            ("starved", "error", 3),
            ("lost", "error", 3),
            ("not_run", "not_run", 3),
            ("skipped", "skipped", 0),
        ];
        let ours =
            Outcome::ALL.map(|it| (it.as_str(), it.status().as_str(), it.status().exit_code()));
        assert_eq!(ours, table);
        for outcome in Outcome::ALL {
            assert_eq!(serde_json::json!(outcome), outcome.as_str());
            assert_eq!(
                serde_json::json!(outcome.status()),
                outcome.status().as_str()
            );
        }
    }
}
