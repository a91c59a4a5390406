//! Watches the jobs of the steps and judges their ends; they are submitted in [`submit`](super::submit).
//!
//! One question a tick for all jobs of the run. The tick grows while nothing happens and shrinks when an exit record arrives;
//! a question without an answer is a missing observation, never a failed job.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use super::adopt::Doubt;
use super::folder::{RunFolder, ended_name};
use super::journal::{Journal, JournalError};
use super::live::{Attempt, BOOKS_LAG, Live};
use super::packs::Packs;
use super::prepare::Prepare;
use super::progress::{Attempted, Ended, Observer, Progress as Tell};
use super::state::{AttemptEnd, Event, Part, RunState};
use super::submit::{Ground, Submission};
use super::{Stay, collect, late, reports};
use crate::cancel::Cancel;
use crate::config::Walltime;
use crate::plan::Plan;
use crate::scheduler::verdict::judge;
use crate::scheduler::{
    Accounting, Evidence, ExitRecord, JobId, JobRecord, JobState, JobStatus, Outcome, QueryError,
    Scheduler,
};

/// Between two looks into the folder of arrivals.
const GLANCE: Duration = Duration::from_millis(100);
/// The least time between two questions to Slurm.
pub(super) const SHORTEST_TICK: Duration = Duration::from_millis(500);
/// The most time between two questions while nothing happens.
pub(super) const LONGEST_TICK: Duration = Duration::from_mins(1);
/// How long after the end of a job its books are written, as a rule: to ask earlier is to ask twice.
const BOOKS_DELAY: Duration = Duration::from_millis(250);
/// How long an exit record may take over a network file system.
const RECORD_LAG: Duration = Duration::from_secs(15);
/// How long a job may outlive its own time limit before it counts as lost.
const OVERSTAY: Duration = Duration::from_mins(30);
/// How long cancelled jobs may take to end when the run is stopped.
pub(super) const CANCEL_PATIENCE: Duration = Duration::from_secs(30);

/// Between two notices of an outage that lasts.
const OUTAGE_NOTICE: Duration = Duration::from_mins(10);
/// How often a step is tried elsewhere, as a rule.
pub(super) const MISPLACED: u32 = 2;
/// A look into the folder of arrivals may take this share of the time: one in so many.
const GLANCE_SHARE: u32 = 20;

/// What the steps of a run are watched with.
pub(super) struct Setting<'a> {
    pub(super) plan: &'a Plan,
    pub(super) folder: &'a RunFolder,
    pub(super) scheduler: &'a Scheduler,
    pub(super) ground: Ground<'a>,
    pub(super) started: DateTime<Utc>,
    pub(super) observer: &'a Observer,
    pub(super) cancel: &'a Cancel,
    pub(super) stay: &'a Stay,
    /// Whether whoever drove the run before did so on this machine, and the machine was not booted since.
    pub(super) same_machine: bool,
    /// How often a step is tried elsewhere because its place was at fault.
    pub(super) elsewhere: u32,
    pub(super) prepare: &'a Prepare<'a>,
}

/// Runs the steps, and returns what is known of each attempt, by step and number, and whether some have not ended: then it
/// left them, as it was told to.
///
/// When the run is asked to stop, live jobs are cancelled and what is known is returned all the same.
pub(super) async fn run(
    setting: Setting<'_>,
    state: &mut RunState,
    journal: &mut Journal,
) -> Result<(BTreeMap<(usize, u32), Attempt>, bool), JournalError> {
    let mut watch = Watch {
        setting,
        state,
        journal,
        attempts: BTreeMap::new(),
        live: BTreeMap::new(),
        arrived: BTreeSet::new(),
        submission: Submission::default(),
        doubts: BTreeMap::new(),
        packs: Packs::default(),
        tick: SHORTEST_TICK,
        asked: None,
        outage: None,
        books_kept: true,
        books_asked: 0,
        arrival: None,
        stopping: None,
    };
    watch.adopt().await?;
    let left = loop {
        watch.tell_ends();
        watch.stop_if_asked().await?;
        watch.settle().await?;
        watch.submit().await?;
        watch.tell_ends();
        if watch.state.finished() {
            break false;
        }
        if watch.may_leave() {
            break true;
        }
        let ask = watch.pause().await;
        let stop = watch.setting.cancel.clone();
        let stopping = watch.stopping.is_some();
        tokio::select! {
            looked = watch.look(ask) => looked?,
            // A silent controller must not hold up the end.
            () = stop.token().cancelled(), if !stopping => {}
        }
    };
    Ok((watch.attempts, left))
}

pub(super) struct Watch<'a, 'b> {
    pub(super) setting: Setting<'a>,
    pub(super) state: &'b mut RunState,
    pub(super) journal: &'b mut Journal,
    pub(super) attempts: BTreeMap<(usize, u32), Attempt>,
    pub(super) live: BTreeMap<usize, Live>,
    /// Names in the folder of arrivals that were seen already.
    arrived: BTreeSet<String>,
    pub(super) submission: Submission,
    /// Jobs that may have been submitted without our hearing of it, by name.
    pub(super) doubts: BTreeMap<String, Doubt>,
    pub(super) packs: Packs,
    pub(super) tick: Duration,
    asked: Option<Instant>,
    /// Since when the scheduler has given no answer.
    pub(super) outage: Option<Outage>,
    /// Whether this cluster keeps books, as far as we know.
    books_kept: bool,
    /// How many of the last questions in a row went to them.
    books_asked: u32,
    /// When the last exit record arrived.
    arrival: Option<Instant>,
    pub(super) stopping: Option<Instant>,
}

/// A scheduler that gives no answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outage {
    since: Instant,
    /// When it was last told.
    told: Option<Instant>,
}

impl Watch<'_, '_> {
    pub(super) fn tell(&self, event: Tell) {
        (self.setting.observer)(event);
    }

    pub(super) fn note(&mut self, event: &Event) -> Result<(), JournalError> {
        self.note_all(std::slice::from_ref(event))
    }

    /// Writes events down, then lets them happen.
    pub(super) fn note_all(&mut self, events: &[Event]) -> Result<(), JournalError> {
        self.journal.append_all(events)?;
        for event in events {
            self.state.apply(event);
        }
        Ok(())
    }

    /// Tells of steps that have ended since the last call, also of those that never began.
    fn tell_ends(&mut self) {
        for index in self.state.take_ended() {
            let step = &self.state.steps()[index];
            let Some(verdict) = step.verdict() else {
                continue;
            };
            let good = matches!(verdict.outcome, Outcome::Passed | Outcome::Skipped);
            let record = self.attempts.get(&(index, step.attempt));
            let job = record.and_then(|record| record.end.job.as_ref());
            let nodes = record.map(|record| record.end.nodes.iter().cloned().collect());
            self.tell(Tell::Ended(Box::new(Ended {
                attempt: Attempted::of(
                    &self.setting.plan.steps[index],
                    step.attempt,
                    job.map(ToString::to_string),
                ),
                nodes: nodes.unwrap_or_default(),
                outcome: verdict.outcome.to_string(),
                good,
                flaky: step.flaky(),
                elapsed: record.and_then(Attempt::elapsed),
                message: (!good || step.flaky()).then(|| verdict.message.clone()),
            })));
        }
    }

    // ---- stopping

    async fn stop_if_asked(&mut self) -> Result<(), JournalError> {
        if !self.setting.cancel.asked() || self.stopping.is_some() {
            return Ok(());
        }
        self.tell(Tell::Note(
            "stopping: cancelling the jobs of this run".to_owned(),
        ));
        let signal = self.setting.cancel.signal().unwrap_or(0);
        self.note(&Event::Stopping { signal })?;
        self.cancel_live().await;
        Ok(())
    }

    /// Cancels all jobs of the run. The journal says already that it is to stop.
    pub(super) async fn cancel_live(&mut self) {
        self.stopping.get_or_insert_with(Instant::now);
        let jobs: BTreeSet<JobId> = self.state.live().map(|(_, job)| job.id.clone()).collect();
        let jobs: Vec<JobId> = jobs.into_iter().collect();
        self.cancel_jobs(&jobs).await;
        self.tick = SHORTEST_TICK;
    }

    /// Whether there is nothing more to do for a driver that does not stay to the end.
    fn may_leave(&self) -> bool {
        match self.setting.stay {
            Stay::ToTheEnd => false,
            Stay::Until { .. } => self.setting.stay.is_over(),
            Stay::UntilSubmitted => self.doubts.is_empty() && !self.has_startable(),
            Stay::Briefly => {
                let silent = self.outage.is_some();
                let looked = self.asked.is_some() || self.live.is_empty();
                let ending = self.live.values().any(|live| live.gone_since.is_some());
                let submitted = self.submission.is_held() || !self.has_startable();
                let settled = self.doubts.is_empty() || silent;
                looked && settled && submitted && (!ending || silent)
            }
        }
    }

    pub(super) async fn cancel_jobs(&self, jobs: &[JobId]) {
        if jobs.is_empty() {
            return;
        }
        let cancelled =
            tokio::time::timeout(CANCEL_PATIENCE, self.setting.scheduler.cancel(jobs)).await;
        let said = match cancelled {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer".to_owned(),
        };
        let names: Vec<&str> = jobs.iter().map(JobId::as_str).collect();
        self.tell(Tell::Note(format!(
            "could not cancel ({said}); `scancel {}` would",
            names.join(" ")
        )));
    }

    // ---- watching

    /// Waits until something may have happened: the tick is over, an exit record arrived, a local step ended, a signal came.
    /// Returns whether the scheduler is to be asked.
    async fn pause(&mut self) -> bool {
        let after = |wait: Duration| self.asked.map_or_else(Instant::now, |asked| asked + wait);
        let (earliest, mut next) = (after(SHORTEST_TICK), after(self.tick));
        let mut glance = GLANCE;
        loop {
            let local = async {
                match self.setting.scheduler {
                    Scheduler::Local(local) => local.any_ended().await,
                    Scheduler::Slurm(_) => std::future::pending().await,
                }
            };
            let signal = async {
                if self.stopping.is_some() {
                    std::future::pending::<()>().await;
                }
                self.setting.cancel.token().cancelled().await;
            };
            tokio::select! {
                () = local => return true,
                () = signal => return false,
                () = tokio::time::sleep(glance) => {}
            }
            let looked = Instant::now();
            let arrival = self.arrivals();
            let now = Instant::now();
            glance = GLANCE.max((now - looked) * GLANCE_SHARE);
            let (of_jobs, of_packs) = self.expecting();
            if of_jobs {
                let last = self.arrival.filter(|_| self.all_have_arrived());
                next = last.map_or(earliest, |arrival| earliest.max(arrival + BOOKS_DELAY));
                self.tick = SHORTEST_TICK;
            }
            let ask = now >= next && !self.live.is_empty();
            // What a pack has to tell needs no question.
            let told = self.packs.any() && (arrival || of_packs);
            let doubt = self.doubts.values().any(Doubt::is_due);
            let due = self.submission.due(now) || doubt || self.setting.stay.is_over();
            if ask || told || due {
                return ask;
            }
        }
    }

    /// Whether an exit record has come whose step has not been judged yet: of one with a job of its own, of a packed one.
    fn expecting(&self) -> (bool, bool) {
        let mut expecting = (false, false);
        for &index in self.live.keys().filter(|index| self.has_arrived(**index)) {
            match self.state.steps()[index].part {
                Some(Part::Packed { .. }) => expecting.1 = true,
                Some(Part::Task { .. }) | None => expecting.0 = true,
            }
        }
        expecting
    }

    fn all_have_arrived(&self) -> bool {
        self.live.keys().all(|index| self.has_arrived(*index))
    }

    fn has_arrived(&self, index: usize) -> bool {
        let attempt = self.state.steps()[index].attempt;
        let slug = &self.setting.plan.steps[index].slug;
        self.arrived.contains(&ended_name(slug, attempt))
    }

    fn arrivals(&mut self) -> bool {
        let before = self.arrived.len();
        self.arrived
            .extend(collect::names(&self.setting.folder.ended()));
        let arrival = self.arrived.len() > before;
        if arrival {
            self.arrival = Some(Instant::now());
        }
        arrival
    }

    /// Takes in what is new. Slurm gets one question at most: after the ends that we know of it is the books', else the queue's.
    async fn look(&mut self, ask: bool) -> Result<(), JournalError> {
        self.read_packs()?;
        if !ask {
            return Ok(());
        }
        self.asked = Some(Instant::now());
        if matches!(self.setting.scheduler, Scheduler::Local(_)) {
            self.ask_queue().await?;
            return self.ask_books().await;
        }
        if self.books_kept && self.books_have_news() {
            self.books_asked += 1;
            self.ask_books().await
        } else {
            self.books_asked = 0;
            self.ask_queue().await
        }
    }

    /// Whether the next question is the books': they are asked by turns with the queue while some jobs have ended, and mostly
    /// once nothing runs any more.
    fn books_have_news(&self) -> bool {
        let ended = self.ended_jobs().len();
        let in_a_row = if ended == self.live.len() { 2 } else { 1 };
        ended > 0 && self.books_asked < in_a_row
    }

    async fn ask_queue(&mut self) -> Result<(), JournalError> {
        let jobs: BTreeSet<JobId> = self.state.live().map(|(_, job)| job.id.clone()).collect();
        let jobs: Vec<JobId> = jobs.into_iter().collect();
        if jobs.is_empty() {
            return Ok(());
        }
        let observation = match self.setting.scheduler.poll(&jobs).await {
            Ok(observation) => observation,
            Err(error) => {
                self.missed(&error);
                return Ok(());
            }
        };
        if let Some(outage) = self.outage.take() {
            let silent = outage.since.elapsed().as_secs();
            self.tell(Tell::Note(format!(
                "the scheduler answers again after {}",
                Walltime::from_secs(silent)
            )));
        }
        let changed = self.take_in(&observation.jobs);
        self.tick = if changed {
            SHORTEST_TICK
        } else {
            jittered((self.tick * 3 / 2).min(LONGEST_TICK))
        };
        self.drop_hopeless().await?;
        if self.books_kept {
            return Ok(());
        }
        self.judge_ended(&Accounting::default())
    }

    pub(super) fn missed(&mut self, error: &QueryError) {
        let now = Instant::now();
        let outage = self.outage.get_or_insert(Outage {
            since: now,
            told: None,
        });
        let quiet = |told: Instant| now.duration_since(told) >= OUTAGE_NOTICE;
        if outage.told.is_none_or(quiet) {
            outage.told = Some(now);
            let since = now.duration_since(outage.since).as_secs();
            let long = match since {
                0 => String::new(),
                seconds => format!(" for {}", Walltime::from_secs(seconds)),
            };
            self.tell(Tell::Note(format!(
                "{error}; waiting{long} for the scheduler to come back"
            )));
        }
        self.tick = (self.tick * 2).min(LONGEST_TICK);
    }

    /// Takes the queue's word on each live job; returns whether anything changed.
    fn take_in(&mut self, seen: &BTreeMap<JobId, JobStatus>) -> bool {
        let mut changed = false;
        let live: Vec<(usize, JobId)> = self
            .state
            .live()
            .map(|(index, job)| (index, job.id.clone()))
            .collect();
        for (index, job) in live {
            let status = seen.get(&job).cloned();
            let Some(live) = self.live.get_mut(&index) else {
                continue;
            };
            let state = &self.state.steps()[index];
            let step = &self.setting.plan.steps[index];
            let attempt = || Attempted::of(step, state.attempt, Some(job.to_string()));
            let packed = state.part.is_some_and(Part::is_packed);
            let seen = live.take_in(status, packed, attempt);
            changed |= seen.changed;
            // What a pack has started it tells itself, and maybe before the queue does.
            let told = state
                .part
                .is_some_and(|part| self.packs.has_started(part, &step.slug));
            if let Some(event) = seen.tell.filter(|_| !told) {
                (self.setting.observer)(event);
            }
        }
        changed
    }

    /// Cancels jobs that wait for what never comes, wait for too long, or do not end.
    async fn drop_hopeless(&mut self) -> Result<(), JournalError> {
        let mut jobs = BTreeSet::new();
        let mut events = Vec::new();
        for (index, job) in self.state.live().filter(|(_, job)| job.cause.is_none()) {
            let Some(live) = self.live.get(&index) else {
                continue;
            };
            let step = &self.setting.plan.steps[index];
            let own = step.resources.time + step.resources.margin;
            let limit = live.limit.unwrap_or(own) + OVERSTAY;
            if let Some(cause) = live.hopeless(step.resources.max_pending, limit) {
                jobs.insert(job.id.clone());
                events.push(Event::Cancelling {
                    step: step.slug.clone(),
                    attempt: self.state.steps()[index].attempt,
                    cause,
                });
            }
        }
        self.note_all(&events)?;
        let jobs: Vec<JobId> = jobs.into_iter().collect();
        self.cancel_jobs(&jobs).await;
        Ok(())
    }

    /// The steps whose job has left the queue or ended in it, or whose exit record is there.
    fn ended_jobs(&self) -> Vec<(usize, JobId)> {
        let ended = |index: &usize| {
            let gone = |live: &Live| live.gone_since.is_some();
            let packed = matches!(self.state.steps()[*index].part, Some(Part::Packed { .. }));
            self.live.get(index).is_some_and(gone) || !packed && self.has_arrived(*index)
        };
        let live = self.state.live().filter(|(index, _)| ended(index));
        live.map(|(index, job)| (index, job.id.clone())).collect()
    }

    async fn ask_books(&mut self) -> Result<(), JournalError> {
        let ended = self.ended_jobs();
        let jobs: BTreeSet<JobId> = ended.into_iter().map(|(_, job)| job).collect();
        let jobs: Vec<JobId> = jobs.into_iter().collect();
        if jobs.is_empty() {
            return Ok(());
        }
        let since = self.setting.started;
        let books = match self.setting.scheduler.record(&jobs, since).await {
            Ok(books) => books,
            Err(error) => {
                self.books_kept &= error != QueryError::NoAccounting;
                tracing::debug!(%error, "no answer from accounting");
                Accounting::default()
            }
        };
        self.judge_ended(&books)
    }

    fn judge_ended(&mut self, books: &Accounting) -> Result<(), JournalError> {
        for (index, job) in self.ended_jobs() {
            self.judge_one(index, &job, books)?;
        }
        Ok(())
    }

    fn judge_one(
        &mut self,
        index: usize,
        job: &JobId,
        books: &Accounting,
    ) -> Result<(), JournalError> {
        let Some(live) = self.live.get(&index) else {
            return Ok(());
        };
        let waited = live
            .gone_since
            .map_or(Duration::ZERO, |since| since.elapsed());
        let lag = if self.books_kept {
            BOOKS_LAG
        } else {
            Duration::ZERO
        };
        let settled = books.last(job).filter(|record| record.settled()).cloned();
        let record = settled.or_else(|| live.queue_record(waited, lag));
        if record.is_none() && waited < BOOKS_LAG {
            return Ok(());
        }
        if let Some(Part::Packed { batch }) = self.state.steps()[index].part {
            return self.judge_packed(index, batch, job, record);
        }
        let owes_record = record
            .as_ref()
            .is_some_and(|record| matches!(record.state, JobState::Completed | JobState::Failed));
        if owes_record && waited < RECORD_LAG && self.exit_record(index).is_none() {
            if let Some(live) = self.live.get_mut(&index) {
                live.gone_since.get_or_insert_with(Instant::now);
            }
            late::refresh(&self.attempt_folder(index));
            return Ok(());
        }
        self.conclude(index, job, record)
    }

    fn exit_record(&self, index: usize) -> Option<ExitRecord> {
        collect::exit_record(&self.attempt_folder(index))
    }

    pub(super) fn attempt_folder(&self, index: usize) -> PathBuf {
        let attempt = self.state.steps()[index].attempt;
        let slug = &self.setting.plan.steps[index].slug;
        self.setting.folder.attempt(slug, attempt)
    }

    pub(super) fn conclude(
        &mut self,
        index: usize,
        job: &JobId,
        record: Option<JobRecord>,
    ) -> Result<(), JournalError> {
        let Some(live) = self.live.remove(&index) else {
            return Ok(());
        };
        let packed = self.state.steps()[index].part.is_some_and(Part::is_packed);
        let folder = self.attempt_folder(index);
        let exit = self.exit_record(index);
        let own = self.state.live_job(index);
        let submitted = own.map(|job| job.submitted);
        let verdict = judge(&Evidence {
            record: record.as_ref(),
            restarts: live.restarts(),
            exit: exit.as_ref(),
            log: &collect::log_tail(&folder.join("log.txt")),
            cancelled: own.and_then(|job| job.cause.as_ref()),
        });
        let verdict = reports::judged(verdict, &self.setting.plan.steps[index], &folder);
        let mut nodes = live.nodes;
        nodes.extend(
            record
                .iter()
                .flat_map(|record| record.nodes.iter().cloned()),
        );
        let ranks = exit.iter().flat_map(|exit| &exit.ranks);
        nodes.extend(ranks.filter_map(|rank| rank.host.clone()));
        let end = AttemptEnd {
            verdict,
            job: Some(job.clone()),
            submitted,
            record,
            nodes,
        };
        let attempt = Attempt::read(end, &folder, packed);
        self.close(index, attempt)
    }

    /// Writes down how an attempt ended, and whether it is tried elsewhere.
    pub(super) fn close(&mut self, index: usize, attempt: Attempt) -> Result<(), JournalError> {
        self.submission.placed.remove(&index);
        let step = &self.state.steps()[index];
        let number = step.attempt;
        let elsewhere = (step.misplaced < self.setting.elsewhere
            && self.stopping.is_none()
            && matches!(self.setting.scheduler, Scheduler::Slurm(_))
            && attempt.fault_of_place())
        .then(|| attempt.bad_nodes());
        let step = &self.setting.plan.steps[index];
        let away = match elsewhere.as_deref() {
            None | Some([]) => String::new(),
            Some(nodes) => format!(" away from {}", nodes.join(", ")),
        };
        let why = format!("{}; trying again{away}", attempt.end.verdict.message);
        let event = Event::Ended {
            step: step.slug.clone(),
            attempt: number,
            end: Box::new(attempt.end.clone()),
            elsewhere,
        };
        self.attempts.insert((index, number), attempt);
        self.note(&event)?;
        if self.state.steps()[index].verdict().is_none() {
            self.tell_again(index, number, Some(why));
        }
        Ok(())
    }

    /// Tells that a step waits for a job again.
    pub(super) fn tell_again(&self, index: usize, attempt: u32, why: Option<String>) {
        self.tell(Tell::Again {
            step: self.setting.plan.steps[index].name.clone(),
            attempt,
            why,
        });
    }
}

/// Many drivers that were started at once shall not ask at once.
pub(super) fn jittered(tick: Duration) -> Duration {
    let mix = Utc::now().timestamp_subsec_nanos() ^ std::process::id();
    tick.mul_f64(0.9 + f64::from(mix % 1000) / 5000.0)
}
