//! What is known of one job of the run while it lives, and of an attempt when it has ended. No clock but for how long ago.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use super::collect;
use super::event::AttemptEnd;
use super::progress::Progress as Tell;
use crate::scheduler::pending;
use crate::scheduler::verdict::CancelCause;
use crate::scheduler::{
    ExitRecord, JobId, JobRecord, JobState, JobStatus, Phase, is_fault_of_place,
};

/// How long the books may lag behind the queue before the queue's word is taken.
pub(super) const BOOKS_LAG: Duration = Duration::from_secs(20);

/// What is known of one attempt that has ended.
#[derive(Debug, Clone)]
pub(super) struct Attempt {
    pub(super) end: AttemptEnd,
    pub(super) exit: Option<ExitRecord>,
    pub(super) host: Option<collect::Host>,
    /// Whether other steps shared its job.
    pub(super) packed: bool,
}

/// A job that the scheduler has.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) pending_since: Instant,
    pub(super) running_since: Option<Instant>,
    pub(super) gone_since: Option<Instant>,
    pub(super) last: Option<JobStatus>,
    pub(super) nodes: BTreeSet<String>,
    /// The time of its job, where that is not its own.
    pub(super) limit: Option<Duration>,
}

impl Attempt {
    /// Returns what is known of an attempt, by the journal and by what it left in its folder.
    pub(super) fn read(end: AttemptEnd, folder: &Path, packed: bool) -> Self {
        Self {
            end,
            exit: collect::exit_record(folder),
            host: collect::host(folder),
            packed,
        }
    }

    /// Returns how long the attempt ran.
    pub(super) fn elapsed(&self) -> Option<Duration> {
        let record = self.exit.as_ref().map(|exit| exit.ended - exit.started);
        let own = record.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        own.or_else(|| self.end.record.as_ref()?.elapsed)
    }
}

impl Attempt {
    /// Returns whether not the step but its place was at fault. A step that still has time when its allocation ends was packed
    /// too tightly.
    pub(super) fn fault_of_place(&self) -> bool {
        let own = self.exit.as_ref().is_some_and(|exit| exit.timed_out);
        let ran_out = self
            .end
            .record
            .as_ref()
            .is_some_and(|record| record.state == JobState::Timeout && !own);
        is_fault_of_place(&self.end.verdict, self.exit.as_ref()) || self.packed && ran_out
    }

    /// Returns the nodes to keep away from: of several nobody knows which one it was, and Slurm leaves out those that are down.
    pub(super) fn bad_nodes(&self) -> Vec<String> {
        match self.end.nodes.len() {
            1 => self.end.nodes.iter().cloned().collect(),
            _ => Vec::new(),
        }
    }
}

impl Live {
    /// Returns a job that was submitted then, maybe by another process.
    pub(super) fn since(submitted: DateTime<Utc>) -> Self {
        let ago = (Utc::now() - submitted).to_std().unwrap_or_default();
        Self {
            pending_since: Instant::now().checked_sub(ago).unwrap_or_else(Instant::now),
            running_since: None,
            gone_since: None,
            last: None,
            nodes: BTreeSet::new(),
            limit: None,
        }
    }

    pub(super) fn restarts(&self) -> u32 {
        self.last
            .as_ref()
            .and_then(|status| status.restarts)
            .unwrap_or(0)
    }

    /// Takes in what the queue says; returns what there is to tell.
    pub(super) fn take_in(
        &mut self,
        status: Option<JobStatus>,
        step: &str,
        job: &JobId,
    ) -> Option<Tell> {
        let Some(status) = status else {
            self.gone_since.get_or_insert_with(Instant::now);
            return None;
        };
        let before = self
            .last
            .as_ref()
            .map(|last| (last.state.phase(), last.reason.clone()));
        let now = (status.state.phase(), status.reason.clone());
        self.gone_since = match now.0 {
            Phase::Ended => self.gone_since.or_else(|| Some(Instant::now())),
            Phase::Waiting | Phase::Running | Phase::Unknown => None,
        };
        let tell = match now.0 {
            _ if before.as_ref() == Some(&now) => None,
            Phase::Waiting => {
                self.running_since = None;
                Some(Tell::Queued {
                    step: step.to_owned(),
                    job: job.to_string(),
                    reason: status.reason.clone(),
                })
            }
            Phase::Running if self.running_since.is_none() => {
                self.running_since = Some(Instant::now());
                Some(Tell::Running {
                    step: step.to_owned(),
                    job: job.to_string(),
                    nodes: status.nodes.clone(),
                })
            }
            Phase::Unknown => {
                self.running_since.get_or_insert_with(Instant::now);
                Some(Tell::Note(format!(
                    "job {job} of step `{step}` is in a state that is not known here: `{}`",
                    status.state
                )))
            }
            Phase::Running | Phase::Ended => None,
        };
        if status.reason.as_deref() == Some("JobArrayTaskLimit") {
            // It waits for us, not in the queue.
            self.pending_since = Instant::now();
        }
        if status.state == JobState::Suspended {
            // The clock of a suspended job stands still.
            self.running_since = Some(Instant::now());
        }
        self.nodes.extend(status.nodes.iter().cloned());
        self.last = Some(status);
        tell
    }

    pub(super) fn hopeless(&self, max_pending: Duration, limit: Duration) -> Option<CancelCause> {
        let last = self.last.as_ref()?;
        match last.state.phase() {
            Phase::Waiting => {
                let reason = last.reason.clone().unwrap_or_default();
                if !pending::meaning(&reason).clears {
                    return Some(CancelCause::NeverStarts(reason));
                }
                (self.pending_since.elapsed() > max_pending).then_some(CancelCause::Starved(reason))
            }
            Phase::Running | Phase::Unknown => {
                let since = self.running_since?;
                (since.elapsed() > limit).then_some(CancelCause::Asked)
            }
            Phase::Ended => None,
        }
    }

    /// The queue's last word as a record, once the books have had time to catch up, or where there are none.
    pub(super) fn queue_record(&self, waited: Duration, lag: Duration) -> Option<JobRecord> {
        let last = self.last.as_ref()?;
        if !last.state.ended() || waited < lag {
            return None;
        }
        Some(JobRecord::from(last))
    }
}
