//! What is known of one job of the run while it lives, and of an attempt when it has ended. No clock but for how long ago.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};

use super::collect;
use super::event::AttemptEnd;
use super::progress::{Attempted, Ended, IN_PACK, Progress as Tell};
use super::state::StepState;
use crate::plan::Step;
use crate::scheduler::pending;
use crate::scheduler::verdict::CancelCause;
use crate::scheduler::{
    ExitRecord, JobId, JobRecord, JobState, JobStatus, Outcome, Phase, is_fault_of_place,
};

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
    pub(super) tells: Vec<Tell>,
}

/// A job that the scheduler has.
#[derive(Debug)]
pub(super) struct Live {
    /// Since when it waits for nodes; again, if it was started and put back into the queue.
    pending_since: Instant,
    running_since: Option<Instant>,
    suspended_since: Option<Instant>,
    /// Since when it was to have ended, by our word.
    cancelled_since: Option<Instant>,
    /// Since when the queue says that it has ended, or does not know it.
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
    /// too tightly; which of the steps of a pack took all memory nobody knows when the pack itself was killed for it.
    pub(super) fn fault_of_place(&self) -> bool {
        let state = self.end.record.as_ref().map(|record| &record.state);
        let by_others = match state {
            Some(JobState::Timeout) => self.exit.as_ref().is_none_or(|exit| !exit.timed_out),
            Some(JobState::OutOfMemory) => self.exit.is_none(),
            _ => false,
        };
        is_fault_of_place(&self.end.verdict, self.exit.as_ref()) || self.packed && by_others
    }

    /// Returns the nodes to keep away from: of several nobody knows which one it was, and Slurm leaves out those that are down.
    pub(super) fn bad_nodes(&self) -> Vec<String> {
        match self.end.nodes.len() {
            1 => self.end.nodes.iter().cloned().collect(),
            _ => Vec::new(),
        }
    }
}

/// Returns what there is to tell of a step that has ended, with what is known of its last attempt.
pub(super) fn told_end(step: &Step, state: &StepState, attempt: Option<&Attempt>) -> Option<Tell> {
    let verdict = state.verdict()?;
    let good = matches!(verdict.outcome, Outcome::Passed | Outcome::Skipped);
    let job = attempt.and_then(|attempt| attempt.end.job.as_ref());
    let nodes = attempt.map(|attempt| attempt.end.nodes.iter().cloned().collect());
    Some(Tell::Ended(Box::new(Ended {
        attempt: Attempted::of(step, state.attempt, job.map(ToString::to_string)),
        nodes: nodes.unwrap_or_default(),
        outcome: verdict.outcome.to_string(),
        good,
        flaky: state.flaky(),
        elapsed: attempt.and_then(Attempt::elapsed),
        message: (!good || state.flaky()).then(|| verdict.message.clone()),
    })))
}

impl Live {
    /// Returns a job that was submitted then, maybe by another process.
    pub(super) fn since(submitted: DateTime<Utc>) -> Self {
        Self {
            pending_since: instant(submitted),
            running_since: None,
            suspended_since: None,
            cancelled_since: None,
            gone_since: None,
            last: None,
            nodes: BTreeSet::new(),
            expected: None,
            limit: None,
        }
    }

    /// Takes in that others of its array started then: until they did, it waited for its turn among them, not in the queue.
    pub(super) fn waits_since(&mut self, moved: DateTime<Utc>) {
        let since = instant(moved);
        self.pending_since = self.pending_since.max(since);
    }

    pub(super) fn restarts(&self) -> u32 {
        self.last
            .as_ref()
            .and_then(|status| status.restarts)
            .unwrap_or(0)
    }

    /// Returns how far it is, as the queue had it last.
    pub(super) fn phase(&self) -> Option<Phase> {
        let known = self.last.as_ref().filter(|_| self.gone_since.is_none());
        known.map(|status| status.state.phase())
    }

    /// Returns whether the queue does not know it any more, and had not seen it end.
    pub(super) fn is_forgotten(&self) -> bool {
        let ended = self.last.as_ref().is_some_and(|last| last.state.ended());
        self.gone_since.is_some() && !ended
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
        let same = self.is_as_before(&status);
        let tells = self.news(&status, same, packed, attempt);
        let phase = status.state.phase();
        self.gone_since = match phase {
            Phase::Ended => self.gone_since.or_else(|| Some(Instant::now())),
            Phase::Waiting | Phase::Running | Phase::Unknown => None,
        };
        match phase {
            Phase::Waiting if self.running_since.take().is_some() => {
                // It was put back into the queue, and its nodes are others' now.
                self.pending_since = Instant::now();
                self.nodes.clear();
            }
            Phase::Waiting | Phase::Ended => {}
            Phase::Running | Phase::Unknown => {
                self.running_since.get_or_insert_with(Instant::now);
            }
        }
        if status.reason.as_deref() == Some("JobArrayTaskLimit") {
            // It waits for us, not in the queue.
            self.pending_since = Instant::now();
        }
        if matches!(status.state, JobState::Suspended | JobState::Stopped) {
            self.suspended_since.get_or_insert_with(Instant::now);
            // The clock of a suspended job stands still.
            self.running_since = Some(Instant::now());
        } else {
            self.suspended_since = None;
        }
        if let Some(Tell::Queued { start, .. }) = tells.last() {
            self.expected = *start;
        }
        self.nodes.extend(status.nodes.iter().cloned());
        self.last = Some(status);
        Seen {
            changed: !tells.is_empty() && !same,
            tells,
        }
    }

    /// Whether a job that waits is now expected to start at another time.
    fn is_news(&self, start: Option<DateTime<Utc>>) -> bool {
        match (self.expected, start) {
            (Some(before), Some(start)) => (start - before).abs() >= SHIFT,
            (before, start) => before != start,
        }
    }

    /// Whether the queue says what it said before.
    fn is_as_before(&self, status: &JobStatus) -> bool {
        self.last.as_ref().is_some_and(|last| {
            last.state == status.state
                && last.reason == status.reason
                && last.restarts == status.restarts
        })
    }

    /// What there is to tell of what the queue says now.
    fn news(
        &self,
        status: &JobStatus,
        same: bool,
        packed: bool,
        attempt: impl FnOnce() -> Attempted,
    ) -> Vec<Tell> {
        let phase = status.state.phase();
        // Slurm expects something else every half minute; that is news for who looks, and changes nothing.
        if same && !(phase == Phase::Waiting && self.is_news(status.start)) {
            return Vec::new();
        }
        let attempt = attempt();
        let note = |what: String| {
            let step = &attempt.step;
            Tell::Note(format!("job {} of `{step}` {what}", status.id))
        };
        let queued = |reason: Option<&str>, start| Tell::Queued {
            attempt: attempt.clone(),
            reason: reason.map(str::to_owned),
            start,
        };
        match (phase, &status.state) {
            (Phase::Waiting, _) => {
                let back = self.running_since.is_some().then(|| {
                    note("was put back into the queue by Slurm; what its earlier start left is kept apart".to_owned())
                });
                let waits = queued(status.reason.as_deref(), status.start);
                back.into_iter().chain([waits]).collect()
            }
            (Phase::Running, JobState::Suspended | JobState::Stopped) => {
                vec![note(format!(
                    "is {}: somebody has to let it go on",
                    status.state
                ))]
            }
            (Phase::Running, _) if self.suspended_since.is_some() => {
                vec![note("goes on".to_owned())]
            }
            (Phase::Running, _) if self.running_since.is_none() && packed => {
                vec![queued(Some(IN_PACK), None)]
            }
            (Phase::Running, _) if self.running_since.is_none() => vec![Tell::Running {
                nodes: status.nodes.clone(),
                since: status.start.unwrap_or_else(Utc::now),
                attempt,
            }],
            (Phase::Unknown, state) => {
                vec![note(format!(
                    "is in a state that is not known here: `{state}`"
                ))]
            }
            (Phase::Running | Phase::Ended, _) => Vec::new(),
        }
    }

    /// Returns why it is to be cancelled, if it is.
    pub(super) fn hopeless(&self, max_pending: Duration, limit: Duration) -> Option<CancelCause> {
        let last = self.last.as_ref()?;
        if self
            .suspended_since
            .is_some_and(|since| since.elapsed() > max_pending)
        {
            return Some(CancelCause::Suspended);
        }
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
                (since.elapsed() > limit).then_some(CancelCause::Overran)
            }
            Phase::Ended => None,
        }
    }

    /// Returns for how long it should have been over, having been cancelled by us.
    pub(super) fn overdue(&mut self) -> Duration {
        self.cancelled_since
            .get_or_insert_with(Instant::now)
            .elapsed()
    }

    /// The record of its last run, once that has ended, from what the books have of all its runs.
    pub(super) fn books_record(&self, runs: &[JobRecord]) -> Option<JobRecord> {
        let last = runs.last().filter(|record| record.settled())?;
        // The books may not know yet that Slurm has started it again, or is about to.
        let behind = u32::try_from(runs.len()).is_ok_and(|runs| runs <= self.restarts());
        let may_come_back = matches!(
            last.state,
            JobState::NodeFail
                | JobState::BootFail
                | JobState::Preempted
                | JobState::LaunchFailed
                | JobState::ReconfigFail
        );
        let doubtful = behind || may_come_back && self.gone_since.is_none();
        (!doubtful).then(|| last.clone())
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

/// A point in time that is over, by the clock that never jumps.
fn instant(at: DateTime<Utc>) -> Instant {
    let ago = (Utc::now() - at).to_std().unwrap_or_default();
    Instant::now().checked_sub(ago).unwrap_or_else(Instant::now)
}

/// Returns when the latest task of each array started, by the array's id.
pub(super) fn latest_starts(jobs: &BTreeMap<JobId, JobStatus>) -> BTreeMap<String, DateTime<Utc>> {
    let mut latest: BTreeMap<String, DateTime<Utc>> = BTreeMap::new();
    for status in jobs.values() {
        let task = status.id.task_number().is_some();
        let begun = task && status.state.phase() != Phase::Waiting;
        if let Some(start) = status.start.filter(|_| begun) {
            let known = latest.entry(status.id.root().to_owned()).or_insert(start);
            *known = start.max(*known);
        }
    }
    latest
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::scheduler::slurm::parse;

    const HOUR: Duration = Duration::from_hours(1);

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
            step: "a".to_owned(),
            attempt: 1,
            job: None,
            ranks: 1,
            nodes: None,
            limit: Duration::ZERO,
        }
    }

    /// A job of which squeue says these things, one after the other: state, restarts, reason.
    struct Job {
        live: Live,
        told: Vec<String>,
    }

    impl Job {
        fn new() -> Self {
            Self {
                live: Live::since(Utc::now()),
                told: Vec::new(),
            }
        }

        fn says(mut self, state: &str, restarts: u32, reason: &str) -> Self {
            let id = "71".parse().unwrap();
            let line = format!("71|{state}|{restarts}|n1|N/A|0:00|{reason}");
            let seen = parse::queue(&line).jobs.remove(&id);
            let seen = self.live.take_in(seen, false, attempted);
            self.told
                .extend(seen.tells.into_iter().map(|tell| match tell {
                    Tell::Note(text) => text,
                    Tell::Queued { reason, .. } => format!("queued {reason:?}"),
                    Tell::Running { .. } => "running".to_owned(),
                    other => format!("{other:?}"),
                }));
            self
        }

        fn later(mut self, by: Duration) -> Self {
            let live = &mut self.live;
            live.pending_since = live.pending_since.checked_sub(by).unwrap();
            for since in [
                &mut live.running_since,
                &mut live.suspended_since,
                &mut live.gone_since,
            ] {
                *since = since.map(|since| since.checked_sub(by).unwrap());
            }
            self
        }

        fn cause(&self) -> Option<CancelCause> {
            self.live.hopeless(2 * HOUR, HOUR)
        }
    }

    #[test]
    fn what_the_queue_says_is_told_when_it_is_news() {
        let check = |packed: bool, rows: &[(JobStatus, bool, &str)]| {
            let mut live = Live::since(Utc::now());
            for (status, changed, told) in rows {
                let seen = live.take_in(Some(status.clone()), packed, attempted);
                let tells = seen.tells.into_iter().map(|tell| match tell {
                    Tell::Queued { reason, start, .. } => {
                        let start = start.map_or(0, |start| start.timestamp());
                        format!("queued {} {start}", reason.unwrap())
                    }
                    Tell::Running { since, .. } => format!("running {}", since.timestamp()),
                    Tell::Note(_) => "note".to_owned(),
                    other => format!("{other:?}"),
                });
                let tells: Vec<String> = tells.collect();
                assert_eq!(
                    (seen.changed, tells.join(", ").as_str()),
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
                    "note, queued BeginTime 950",
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

    #[test]
    fn who_is_put_back_into_the_queue_waits_anew() {
        let job = Job::new().says("PENDING", 0, "Priority").later(HOUR);
        let job = job.says("RUNNING", 0, "None").later(HOUR / 2);
        let job = job.says("PENDING", 1, "BeginTime").later(HOUR);
        assert_eq!(job.cause(), None);
        assert_eq!(
            job.told,
            [
                "queued Some(\"Priority\")",
                "running",
                "job 71 of `a` was put back into the queue by Slurm; what its earlier start left is kept apart",
                "queued Some(\"BeginTime\")",
            ]
        );
        let job = job.later(2 * HOUR);
        assert_eq!(job.cause(), Some(CancelCause::Starved("BeginTime".into())));
    }

    #[test]
    fn tasks_of_an_array_that_gets_on_are_not_starved() {
        // A driver that passes by once an hour, and never meets the array while only its own limit holds it up.
        let hours_ago = |hours: i64| (Utc::now() - TimeDelta::hours(hours)).timestamp();
        let text = format!(
            "58_0|COMPLETED|0|n1|{}|9:00|None\n58_1|RUNNING|0|n1|{}|1:00|None\n58_2|PENDING|0||N/A|0:00|Priority\n\
             71|RUNNING|0|n1|{}|1:00|None\n",
            hours_ago(9),
            hours_ago(1),
            hours_ago(1),
        );
        let seen = parse::queue(&text);
        let latest = latest_starts(&seen.jobs);
        let second = |hours| DateTime::from_timestamp(hours_ago(hours), 0).unwrap();
        assert_eq!(latest, [("58".to_owned(), second(1))].into());
        let mut live = Live::since(second(10));
        let task = "58_2".parse().unwrap();
        live.take_in(seen.jobs.get(&task).cloned(), false, attempted);
        let starved = Some(CancelCause::Starved("Priority".into()));
        assert_eq!(live.hopeless(2 * HOUR, HOUR), starved);
        live.waits_since(latest["58"]);
        assert_eq!(live.hopeless(2 * HOUR, HOUR), None);
        assert_eq!(live.hopeless(HOUR / 2, HOUR), starved);
    }

    #[test]
    fn a_suspended_job_keeps_its_time_but_not_for_ever() {
        let job = Job::new().says("RUNNING", 0, "None").later(HOUR / 2);
        let job = job.says("SUSPENDED", 0, "None").later(HOUR);
        let job = job.says("SUSPENDED", 0, "None");
        assert_eq!(job.cause(), None);
        assert_eq!(
            job.told[1],
            "job 71 of `a` is SUSPENDED: somebody has to let it go on"
        );
        let on = job.says("RUNNING", 0, "None");
        assert_eq!(on.told[2], "job 71 of `a` goes on");
        let job = on.says("SUSPENDED", 0, "None").later(3 * HOUR);
        assert_eq!(job.cause(), Some(CancelCause::Suspended));
    }

    #[test]
    fn a_state_that_is_not_known_is_told_and_bounded() {
        let job = Job::new().says("HIBERNATING", 0, "None");
        assert_eq!(
            job.told,
            ["job 71 of `a` is in a state that is not known here: `HIBERNATING`"]
        );
        assert_eq!(job.later(2 * HOUR).cause(), Some(CancelCause::Overran));
    }

    #[test]
    fn books_that_lag_behind_a_restart_are_not_believed() {
        let run = |state: &str| {
            let line = format!("71|{state}|0:0|0:0|debug|ci|n1|0|0|0|1||a");
            parse::accounting(&line)
                .runs
                .remove(&"71".parse().unwrap())
                .unwrap()
        };
        let check = |job: &Job, states: &[&str], expected: Option<JobState>| {
            let runs: Vec<JobRecord> = states.iter().flat_map(|state| run(state)).collect();
            let state = job.live.books_record(&runs).map(|record| record.state);
            assert_eq!(state, expected, "{states:?}");
        };
        let running = Job::new().says("RUNNING", 0, "None");
        check(&running, &["COMPLETED"], Some(JobState::Completed));
        check(&running, &["FAILED"], Some(JobState::Failed));
        check(&running, &["RUNNING"], None);
        // It may be about to be put back.
        check(&running, &["PREEMPTED"], None);
        check(&running, &["NODE_FAIL"], None);
        let ended = running.says("PREEMPTED", 0, "None");
        check(&ended, &["PREEMPTED"], Some(JobState::Preempted));
        let again = Job::new().says("RUNNING", 1, "None");
        check(&again, &["PREEMPTED"], None);
        check(&again, &["PREEMPTED", "RUNNING"], None);
        let ended = again.says("COMPLETED", 1, "None");
        check(&ended, &["PREEMPTED"], None);
        check(
            &ended,
            &["REQUEUED", "COMPLETED"],
            Some(JobState::Completed),
        );
    }
}
