//! The ways in which a step ends, by the words that stand in documents, and whose turn it is after each.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It did what it should.
    Passed,
    /// Its program ended with an exit code other than 0.
    Failed,
    /// A signal ended its program.
    Signal,
    /// It did not end in time.
    Timeout,
    /// It was killed for want of memory.
    OutOfMemory,
    /// The scheduler refused it.
    Rejected,
    /// Its program was never started, or not as it was asked for.
    LaunchFailed,
    /// A node failed under it.
    NodeFailure,
    /// Another job took its nodes.
    Preempted,
    /// Somebody cancelled it.
    Cancelled,
    /// It waited for nodes until we gave up.
    Starved,
    /// Nobody can say how it ended.
    Lost,
    /// It was never submitted.
    NotRun,
    /// It was left out on purpose.
    Skipped,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The word that stands in documents, so that a person can look for it there.
        self.serialize(f)
    }
}

/// Whose turn it is after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Nobody's.
    Passed,
    /// The code's: it is at fault.
    Failed,
    /// The machine's: nothing is proved either way.
    Error,
    /// It never ran.
    NotRun,
    /// It was not meant to run.
    Skipped,
}

impl Outcome {
    /// Returns whose turn it is.
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
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn only_passed_and_skipped_are_nobodys_turn() {
        let status = |text: &str| serde_json::from_str::<Outcome>(text).unwrap().status();
        assert_eq!(status("\"passed\""), Status::Passed);
        assert_eq!(status("\"out_of_memory\""), Status::Failed);
        assert_eq!(status("\"starved\""), Status::Error);
        assert_eq!(status("\"lost\""), Status::Error);
        assert_eq!(status("\"not_run\""), Status::NotRun);
        assert_eq!(
            serde_json::to_string(&Status::NotRun).unwrap(),
            "\"not_run\""
        );
    }
}
