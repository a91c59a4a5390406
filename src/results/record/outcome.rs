//! The status of a run, and the exit code that it gives.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The status of a run, or of one part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// Nothing of it ran.
    Skipped,
    /// Everything that ran passed.
    Passed,
    /// Something could not be proved.
    Error,
    /// The code under test is at fault.
    Failed,
}

impl RunStatus {
    /// Returns the exit code of a run with this status. A run of which nothing ran is no proof either way.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Passed => 0,
            Self::Failed => 1,
            Self::Error | Self::Skipped => 3,
        }
    }

    /// Returns the word that stands in the documents.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Skipped => "skipped",
            Self::Passed => "passed",
            Self::Error => "error",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for RunStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
