//! What a run tells while it goes on; who shows it, and how, is not its business.

use std::sync::Arc;
use std::time::Duration;

/// Something happened that a person may want to see.
#[derive(Debug, Clone)]
pub enum Progress {
    /// A stage of the run begins: checkout, a build, coverage.
    Stage(String),
    /// Something worth knowing that changes nothing.
    Note(String),
    /// The steps begin.
    Steps {
        /// How many there are.
        total: usize,
    },
    /// A step waits in the queue.
    Queued {
        /// The step.
        step: String,
        /// Its job.
        job: String,
        /// Why it waits, in the scheduler's words.
        reason: Option<String>,
    },
    /// A step runs.
    Running {
        /// The step.
        step: String,
        /// Its job.
        job: String,
        /// Its nodes.
        nodes: Vec<String>,
    },
    /// A step ended.
    Ended {
        /// The step.
        step: String,
        /// How, in the contract's words.
        outcome: String,
        /// Whether that is good.
        good: bool,
        /// How long it ran.
        elapsed: Option<Duration>,
        /// One line that says what happened.
        message: Option<String>,
    },
    /// All steps have ended.
    StepsEnded,
}

/// Who is told.
pub type Observer = Arc<dyn Fn(Progress) + Send + Sync>;
