//! What is known of one job of the run while it lives, and of an attempt when it has ended. No clock but for how long ago.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};

use super::collect;
use super::event::AttemptEnd;
use super::progress::{Attempted, IN_PACK, Progress as Tell};
use crate::scheduler::pending;
use crate::scheduler::verdict::CancelCause;
use crate::scheduler::{ExitRecord, JobRecord, JobState, JobStatus, Phase, is_fault_of_place};

/// How long the books may lag behind the queue before the queue's word is taken.
pub(super) const BOOKS_LAG: Duration = Duration::from_secs(20);

/// By how much an expected start must move to be news.
const SHIFT: TimeDelta = TimeDelta::minutes(1);

/// What is known of one attempt that has ended.
#[derive(Debug, Clone)]
pub(super) struct Attempt {
    pub(super) end: AttemptEnd,
    pub(super) exit: Option<ExitRecord>,
    pub(super) host: Option<collect::Host>,
    /// Whether other steps shared its job.
    pub(super) packed: bool,
}

/// What the queue's word on a job comes to.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Whether the job is in another state than before.
    pub(super) changed: bool,
    /// What there is to tell.
    pub(super) tell: Option<Tell>,
}

/// A job that the scheduler has.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) pending_since: Instant,
    pub(super) running_since: Option<Instant>,
    pub(super) gone_since: Option<Instant>,
    pub(super) last: Option<JobStatus>,
    pub(super) nodes: BTreeSet<String>,
    /// When it was last told to be expected to start.
    expected: Option<DateTime<Utc>>,
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
            expected: None,
            limit: None,
        }
    }

    pub(super) fn restarts(&self) -> u32 {
        self.last
            .as_ref()
            .and_then(|status| status.restarts)
            .unwrap_or(0)
    }

    /// Takes in what the queue says of a step's job; a packed step may wait while its job runs.
    pub(super) fn take_in(
        &mut self,
        status: Option<JobStatus>,
        packed: bool,
        attempt: impl FnOnce() -> Attempted,
    ) -> Seen {
        let Some(status) = status else {
            self.gone_since.get_or_insert_with(Instant::now);
            return Seen::default();
        };
        let before = self
            .last
            .as_ref()
            .map(|last| (last.state.phase(), last.reason.clone()));
        let now = (status.state.phase(), status.reason.clone());
        let same = before.as_ref() == Some(&now);
        self.gone_since = match now.0 {
            Phase::Ended => self.gone_since.or_else(|| Some(Instant::now())),
            Phase::Waiting | Phase::Running | Phase::Unknown => None,
        };
        let queued = |attempt, reason, start| Tell::Queued {
            attempt,
            reason,
            start,
        };
        let tell = match now.0 {
            Phase::Waiting if !same => {
                self.running_since = None;
                Some(queued(attempt(), status.reason.clone(), status.start))
            }
            // Slurm expects something else every half minute; that is news for who looks, and changes nothing.
            Phase::Waiting if self.is_news(status.start) => {
                Some(queued(attempt(), status.reason.clone(), status.start))
            }
            Phase::Running if !same && self.running_since.is_none() => {
                self.running_since = Some(Instant::now());
                Some(if packed {
                    queued(attempt(), Some(IN_PACK.to_owned()), None)
                } else {
                    Tell::Running {
                        attempt: attempt(),
                        nodes: status.nodes.clone(),
                        since: status.start.unwrap_or_else(Utc::now),
                    }
                })
            }
            Phase::Unknown if !same => {
                self.running_since.get_or_insert_with(Instant::now);
                Some(Tell::Note(format!(
                    "job {} of step `{}` is in a state that is not known here: `{}`",
                    status.id,
                    attempt().step,
                    status.state
                )))
            }
            Phase::Waiting | Phase::Running | Phase::Unknown | Phase::Ended => None,
        };
        if status.reason.as_deref() == Some("JobArrayTaskLimit") {
            // It waits for us, not in the queue.
            self.pending_since = Instant::now();
        }
        if status.state == JobState::Suspended {
            // The clock of a suspended job stands still.
            self.running_since = Some(Instant::now());
        }
        if let Some(Tell::Queued { start, .. }) = &tell {
            self.expected = *start;
        }
        self.nodes.extend(status.nodes.iter().cloned());
        self.last = Some(status);
        Seen {
            changed: tell.is_some() && !same,
            tell,
        }
    }

    /// Whether a job that waits is now expected to start at another time.
    fn is_news(&self, start: Option<DateTime<Utc>>) -> bool {
        match (self.expected, start) {
            (Some(before), Some(start)) => (start - before).abs() >= SHIFT,
            (before, start) => before != start,
        }
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

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn status(state: JobState, reason: &str, start: Option<i64>) -> JobStatus {
        JobStatus {
            id: "7".parse().unwrap(),
            state,
            reason: Some(reason.to_owned()),
            nodes: Vec::new(),
            start: start.map(|second| DateTime::from_timestamp(second, 0).unwrap()),
            elapsed: None,
            restarts: None,
        }
    }

    fn attempted() -> Attempted {
        Attempted {
            step: "step".to_owned(),
            attempt: 1,
            job: None,
            ranks: 1,
            nodes: None,
            limit: Duration::ZERO,
        }
    }

    #[test]
    fn what_the_queue_says_is_told_when_it_is_news() {
        let check = |packed: bool, rows: &[(JobStatus, bool, &str)]| {
            let mut live = Live::since(Utc::now());
            for (status, changed, told) in rows {
                let seen = live.take_in(Some(status.clone()), packed, attempted);
                let tell = match seen.tell {
                    None => String::new(),
                    Some(Tell::Queued { reason, start, .. }) => {
                        let start = start.map_or(0, |start| start.timestamp());
                        format!("queued {} {start}", reason.unwrap())
                    }
                    Some(Tell::Running { since, .. }) => format!("running {}", since.timestamp()),
                    Some(other) => format!("{other:?}"),
                };
                assert_eq!(
                    (seen.changed, tell.as_str()),
                    (*changed, *told),
                    "{status:?}"
                );
            }
        };
        let pending = |reason: &str, start| status(JobState::Pending, reason, start);
        let running = || status(JobState::Running, "None", Some(900));
        check(
            false,
            &[
                (pending("Priority", None), true, "queued Priority 0"),
                (pending("Priority", None), false, ""),
                // Only another reason, or another state, makes the next question come sooner.
                (pending("Priority", Some(800)), false, "queued Priority 800"),
                (pending("Priority", Some(859)), false, ""),
                (pending("Priority", Some(870)), false, "queued Priority 870"),
                (
                    pending("Resources", Some(871)),
                    true,
                    "queued Resources 871",
                ),
                (running(), true, "running 900"),
                (running(), false, ""),
                (
                    pending("BeginTime", Some(950)),
                    true,
                    "queued BeginTime 950",
                ),
                (running(), true, "running 900"),
            ],
        );
        check(
            true,
            &[
                (pending("Priority", None), true, "queued Priority 0"),
                (running(), true, "queued Packed 0"),
                (running(), false, ""),
            ],
        );
    }
}
