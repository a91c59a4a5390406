//! What a run tells while it goes on; who shows it, and how, is not its business.
//!
//! Names, reasons and messages stand here as they came, maybe from outside.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::plan::Step;

/// The reason of a step that waits although its job runs: its pack has not come to it.
pub const IN_PACK: &str = "Packed";

/// Something happened that a person may want to see.
#[derive(Debug, Clone)]
pub enum Progress {
    /// A part of the run begins.
    Began(Stage),
    /// It is over.
    Over {
        /// The part.
        stage: Stage,
        /// Whether it came to its end, and that is good.
        good: bool,
    },
    /// Something worth knowing that changes nothing.
    Note(String),
    /// How many steps there are to end.
    Steps {
        /// How many.
        total: usize,
    },
    /// A step has a job that waits.
    Queued {
        /// The step.
        attempt: Attempted,
        /// Why it waits, in the scheduler's words.
        reason: Option<String>,
        /// When the scheduler expects it to start.
        start: Option<DateTime<Utc>>,
    },
    /// A step runs.
    Running {
        /// The step.
        attempt: Attempted,
        /// Its nodes, as far as they are known.
        nodes: Vec<String>,
        /// Since when.
        since: DateTime<Utc>,
    },
    /// A step goes back to those that wait for a job.
    Again {
        /// The step.
        step: String,
        /// Which of its attempts is over, or came to nothing.
        attempt: u32,
        /// Why, if there is something to say.
        why: Option<String>,
    },
    /// A step ended.
    Ended(Box<Ended>),
}

/// How a step ended.
#[derive(Debug, Clone)]
pub struct Ended {
    /// The step.
    pub attempt: Attempted,
    /// Its nodes, as far as they are known.
    pub nodes: Vec<String>,
    /// How, in the contract's words.
    pub outcome: String,
    /// Whether that is good.
    pub good: bool,
    /// Whether it passed only after a failing attempt.
    pub flaky: bool,
    /// How long it ran.
    pub elapsed: Option<Duration>,
    /// One line that says what happened, where that is of interest.
    pub message: Option<String>,
}

/// One attempt of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempted {
    /// The step's name.
    pub step: String,
    /// Which attempt it is, from 1.
    pub attempt: u32,
    /// Its job, if it has one.
    pub job: Option<String>,
    /// How many ranks it has.
    pub ranks: u32,
    /// How many nodes it asks for, if it says so.
    pub nodes: Option<u32>,
    /// How long it may run.
    pub limit: Duration,
}

impl Attempted {
    /// Returns an attempt of a step.
    #[must_use]
    pub fn of(step: &Step, attempt: u32, job: Option<String>) -> Self {
        Self {
            step: step.name.clone(),
            attempt,
            job,
            ranks: step.resources.ranks,
            nodes: step.resources.nodes,
            limit: step.resources.time,
        }
    }
}

/// A part of the run that takes its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// What is done.
    pub kind: StageKind,
    /// What it is done for: a build.
    pub of: Option<String>,
}

/// What is done in a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StageKind {
    /// A tree is made.
    Checkout,
    /// What a build needs is brought in.
    Fetch,
    /// Programs are built.
    Build,
    /// The steps run.
    Steps,
    /// Coverage is added up.
    Coverage,
    /// Results are sent.
    Publish,
}

impl StageKind {
    /// Returns its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Checkout => "checkout",
            Self::Fetch => "fetch",
            Self::Build => "build",
            Self::Steps => "steps",
            Self::Coverage => "coverage",
            Self::Publish => "publish",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.as_str())?;
        self.of.iter().try_for_each(|of| write!(f, " {of}"))
    }
}

/// Who is told.
pub type Observer = Arc<dyn Fn(Progress) + Send + Sync>;

/// A stage under way. Whatever becomes of it, an error and a stop included, its end is told.
pub struct Under<'a> {
    observer: &'a Observer,
    stage: Stage,
    good: bool,
}

impl<'a> Under<'a> {
    /// Begins a stage.
    #[must_use]
    pub fn begin(observer: &'a Observer, kind: StageKind, of: Option<&str>) -> Self {
        let stage = Stage {
            kind,
            of: of.map(str::to_owned),
        };
        observer(Progress::Began(stage.clone()));
        Self {
            observer,
            stage,
            good: false,
        }
    }

    /// Ends it.
    pub fn end(mut self, good: bool) {
        self.good = good;
    }
}

impl Drop for Under<'_> {
    fn drop(&mut self) {
        (self.observer)(Progress::Over {
            stage: self.stage.clone(),
            good: self.good,
        });
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn a_stage_is_over_even_if_nobody_ends_it() {
        let told: Arc<Mutex<Vec<String>>> = Arc::default();
        let observer: Observer = {
            let told = Arc::clone(&told);
            Arc::new(move |event| {
                told.lock().unwrap().push(match event {
                    Progress::Began(stage) => format!("{stage} began"),
                    Progress::Over { stage, good } => format!("{stage} over: {good}"),
                    other => format!("{other:?}"),
                });
            })
        };
        Under::begin(&observer, StageKind::Build, Some("tests")).end(true);
        let failing = || -> Option<()> {
            let under = Under::begin(&observer, StageKind::Coverage, None);
            None?;
            under.end(true);
            Some(())
        };
        assert_eq!(failing(), None);
        assert_eq!(
            *told.lock().unwrap(),
            [
                "build tests began",
                "build tests over: true",
                "coverage began",
                "coverage over: false"
            ]
        );
    }
}
