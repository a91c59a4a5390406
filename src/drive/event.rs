//! What can happen in a run: the events of its journal. Each is on disk before anybody acts on it.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::dying::Choice;
use crate::scheduler::{CancelCause, JobId, JobRecord, Verdict};

/// What happened, in the order in which it was written to the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The run began.
    Started {
        /// Its id.
        run: String,
        /// The commit.
        commit: String,
    },
    /// Another process goes on with it.
    Resumed {
        /// The host of that process.
        host: String,
    },
    /// How the counters of ranks that die are kept in a build's programs.
    Chosen {
        /// The build's id.
        build: String,
        /// How.
        choice: Choice,
    },
    /// A build left its programs.
    Built {
        /// The build's id.
        build: String,
        /// How long it took.
        seconds: f64,
    },
    /// A build failed.
    BuildFailed {
        /// The build's id.
        build: String,
        /// How.
        #[serde(flatten)]
        failure: BuildFailure,
    },
    /// A job is about to be submitted under this name.
    Submitting {
        /// The step's slug.
        step: String,
        /// Which attempt, from 1.
        attempt: u32,
        /// The job's unique name.
        name: String,
        /// Which part of the job it is, if others share it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        part: Option<Part>,
    },
    /// The scheduler took the job.
    Submitted {
        /// The step's slug.
        step: String,
        /// Which attempt.
        attempt: u32,
        /// The job.
        job: JobId,
        /// When.
        at: DateTime<Utc>,
    },
    /// The scheduler took no job; it may later.
    NotSubmitted {
        /// The step's slug.
        step: String,
        /// Which attempt.
        attempt: u32,
    },
    /// A job is about to be cancelled.
    Cancelling {
        /// The step's slug.
        step: String,
        /// Which attempt.
        attempt: u32,
        /// Why.
        cause: CancelCause,
    },
    /// An attempt got lost with the machine that its driver ran on; the step is attempted again.
    Abandoned {
        /// The step's slug.
        step: String,
        /// Which attempt.
        attempt: u32,
        /// What became of it.
        why: String,
    },
    /// An attempt ended, or never began.
    Ended {
        /// The step's slug.
        step: String,
        /// Which attempt.
        attempt: u32,
        /// How, and what is known of it.
        #[serde(flatten)]
        end: Box<AttemptEnd>,
        /// It is tried once more, away from these nodes: not the step but its place was at fault.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        elsewhere: Option<Vec<String>>,
    },
    /// Somebody asked the run to stop.
    Stopping {
        /// The signal's number; 0 for `cancel`.
        signal: i32,
    },
    /// The run ended.
    Finished {
        /// Its exit code.
        exit_code: u8,
    },
}

/// Which part of a job a step is, where several share it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// A task of an array.
    Task {
        /// The number of the array in the run folder.
        batch: u32,
        /// The number of the task.
        task: u32,
    },
    /// One of many in an allocation.
    Packed {
        /// The number of the pack in the run folder.
        batch: u32,
    },
}

impl Part {
    /// Returns whether the step shares an allocation with others.
    #[must_use]
    pub fn is_packed(self) -> bool {
        matches!(self, Self::Packed { .. })
    }

    /// Returns the id of a step that is this part of a job.
    #[must_use]
    pub fn of(part: Option<Self>, job: &JobId) -> JobId {
        match part {
            Some(Self::Task { task, .. }) => job.task(task),
            Some(Self::Packed { .. }) | None => job.clone(),
        }
    }
}

/// How a build failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildFailure {
    /// Whether the code under test is at fault.
    pub fault_of_code: bool,
    /// What happened.
    pub message: String,
    /// What to do about it.
    #[serde(default)]
    pub help: Option<String>,
    /// The exit code of the build command, if that is what failed.
    #[serde(default)]
    pub exit_code: Option<i32>,
}

/// The end of an attempt with all of it that is not to be found in its folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttemptEnd {
    /// How it ended.
    pub verdict: Verdict,
    /// Its job, if it came that far.
    #[serde(default)]
    pub job: Option<JobId>,
    /// When that was submitted.
    #[serde(default)]
    pub submitted: Option<DateTime<Utc>>,
    /// The scheduler's last word on the job.
    #[serde(default)]
    pub record: Option<JobRecord>,
    /// Every node that the queue, the books or a rank told of: a job that completes loses its nodes one by one.
    #[serde(default)]
    pub nodes: BTreeSet<String>,
}

impl AttemptEnd {
    /// Returns the end of an attempt that never had a job.
    #[must_use]
    pub fn without_job(verdict: Verdict) -> Self {
        Self {
            verdict,
            job: None,
            submitted: None,
            record: None,
            nodes: BTreeSet::new(),
        }
    }
}
