//! Watches the jobs of the steps; they are submitted in [`submit`](super::submit) and judged in [`ends`](super::ends).
//!
//! One question a tick for all jobs of the run. The tick grows while nothing happens and shrinks when an exit record arrives;
//! a question without an answer is a missing observation, never a failed job.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use super::Stay;
use super::adopt::Doubt;
use super::ends::{Answer, Books};
use super::folder::{RunFolder, ended_name};
use super::journal::{Journal, JournalError};
use super::live::{Attempt, Live, latest_starts, told_end};
use super::pace::{Pace, Silence};
use super::packs::Packs;
use super::prepare::Prepare;
use super::progress::{Attempted, Observer, Progress as Tell};
use super::state::{Event, Part, RunState};
use super::submit::{Ground, Submission};
use crate::cancel::Cancel;
use crate::config::Walltime;
use crate::foreign;
use crate::plan::Plan;
use crate::scheduler::{JobId, JobStatus, Phase, QueryError, Scheduler, pending};

/// Between two looks into the folder of arrivals.
const GLANCE: Duration = Duration::from_millis(100);
/// A look into the folder of arrivals may take this share of the time: one in so many.
const GLANCE_SHARE: u32 = 20;
/// How long after the end of a job its books are written, as a rule: to ask earlier is to ask twice.
const BOOKS_DELAY: Duration = Duration::from_millis(250);
/// How often a step is tried elsewhere, as a rule.
pub(super) const MISPLACED: u32 = 2;
/// How long a command may take before that is told.
pub(super) const SLOW: Duration = Duration::from_secs(15);
/// How long a job may outlive its own time limit, or our word to end, before it is given up.
const OVERSTAY: Duration = Duration::from_mins(30);
/// How long a scheduler may be silent when the run is stopped.
pub(super) const CANCEL_PATIENCE: Duration = Duration::from_secs(30);

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
    /// Whether to leave before that, so that something can be put right.
    pub(super) pause_before_again: bool,
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
        arrival: None,
        submission: Submission::default(),
        doubts: BTreeMap::new(),
        packs: Packs::default(),
        told_once: BTreeSet::new(),
        pace: Pace::default(),
        silence: Silence::default(),
        books: Books::default(),
        uncancelled: BTreeSet::new(),
        stopping: None,
        misplaced: false,
    };
    watch.adopt().await?;
    let left = loop {
        watch.tell_ends();
        watch.stop_if_asked().await?;
        let stop = watch.setting.cancel.clone();
        let stopping = watch.stopping.is_some();
        tokio::select! {
            settled = watch.settle() => settled?,
            // A silent scheduler must not hold up the end.
            () = stop.token().cancelled(), if !stopping => continue,
        }
        if watch.misplaced && watch.setting.pause_before_again && watch.stopping.is_none() {
            break true;
        }
        watch.submit().await?;
        watch.stop_waiting()?;
        watch.tell_ends();
        if watch.state.finished() {
            break false;
        }
        if watch.may_leave() {
            break true;
        }
        let woken = watch.pause().await;
        tokio::select! {
            looked = watch.look(woken) => looked?,
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
    /// When the last exit record arrived.
    arrival: Option<Instant>,
    pub(super) submission: Submission,
    /// Jobs that may have been submitted without our hearing of it, by name.
    pub(super) doubts: BTreeMap<String, Doubt>,
    pub(super) packs: Packs,
    /// What was told of a job and is not told again: that somebody has to release it, and why.
    told_once: BTreeSet<(String, String)>,
    pub(super) pace: Pace,
    /// The controller's, if it gives no answer.
    pub(super) silence: Silence,
    pub(super) books: Books<'a>,
    /// Jobs that the controller was not told to cancel, since it did not answer.
    pub(super) uncancelled: BTreeSet<JobId>,
    pub(super) stopping: Option<Instant>,
    /// Whether a step is to be tried elsewhere since its place was at fault.
    pub(super) misplaced: bool,
}

/// What a pause was ended by.
enum Woken {
    /// It is time to ask.
    Ask,
    /// The books have answered.
    Books(Answer),
    /// Something else.
    Otherwise,
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
            let state = &self.state.steps()[index];
            let attempt = self.attempts.get(&(index, state.attempt));
            if let Some(end) = told_end(&self.setting.plan.steps[index], state, attempt) {
                self.tell(end);
            }
        }
    }

    /// Whether there is nothing more to do for a driver that does not stay to the end.
    fn may_leave(&self) -> bool {
        match self.setting.stay {
            Stay::ToTheEnd => false,
            Stay::Until { .. } => self.setting.stay.is_over(),
            Stay::UntilSubmitted => self.doubts.is_empty() && !self.has_startable(),
            Stay::Briefly => {
                let silent = self.is_silent() || self.books.are_silent();
                let looked = self.pace.has_asked() || self.live.is_empty();
                let ending = self.live.values().any(|live| live.gone_since.is_some())
                    || self.books.are_asked();
                let submitted = self.is_put_off() || !self.has_startable();
                let settled = self.doubts.is_empty() || silent;
                looked && settled && submitted && (!ending || silent)
            }
        }
    }

    // ---- watching

    /// Waits until something may have happened: the tick is over, an exit record arrived, a local step ended, the books answered,
    /// a signal came.
    async fn pause(&mut self) -> Woken {
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
                () = local => return Woken::Ask,
                () = signal => return Woken::Otherwise,
                answer = self.books.answer() => return Woken::Books(answer),
                () = tokio::time::sleep(glance) => {}
            }
            self.watch_books();
            let looked = Instant::now();
            let arrival = self.arrivals();
            let now = Instant::now();
            glance = GLANCE.max((now - looked) * GLANCE_SHARE);
            let (of_jobs, of_packs) = self.expecting();
            let expected = of_jobs && !self.is_silent();
            if expected && arrival {
                self.pace.news();
            }
            let last = self.arrival.filter(|_| expected && self.all_have_arrived());
            let early = last.is_some_and(|arrival| now < arrival + BOOKS_DELAY);
            if self.pace.is_due(now, expected) && !early && !self.live.is_empty() {
                return Woken::Ask;
            }
            // What a pack has to tell needs no question.
            let told = self.packs.any() && (arrival || of_packs);
            let doubt = self.doubts.values().any(Doubt::is_due);
            let late = self.has_waited_to_stop() || self.setting.stay.is_over();
            if told || doubt || late || self.submission.due(now) {
                return Woken::Otherwise;
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

    pub(super) fn has_arrived(&self, index: usize) -> bool {
        let attempt = self.state.steps()[index].attempt;
        let slug = &self.setting.plan.steps[index].slug;
        self.arrived.contains(&ended_name(slug, attempt))
    }

    fn arrivals(&mut self) -> bool {
        let before = self.arrived.len();
        self.arrived
            .extend(foreign::names(&self.setting.folder.ended()));
        let arrival = self.arrived.len() > before;
        if arrival {
            self.arrival = Some(Instant::now());
        }
        arrival
    }

    /// Forgets the exit record of a start that Slurm has put back into the queue: there will be another.
    fn forget_arrival(&mut self, index: usize) {
        let attempt = self.state.steps()[index].attempt;
        let name = ended_name(&self.setting.plan.steps[index].slug, attempt);
        if self.arrived.remove(&name) {
            // If it stays, it is seen again, and then there are more questions than there need be.
            fs_err::remove_file(self.setting.folder.ended().join(name)).ok();
        }
    }

    /// Takes in what is new. Slurm gets one question at most: after the ends that we know of it is the books', else the queue's.
    async fn look(&mut self, woken: Woken) -> Result<(), JournalError> {
        self.read_packs()?;
        match woken {
            Woken::Otherwise => return Ok(()),
            Woken::Books(answer) => return self.read_books(answer),
            Woken::Ask => self.pace.ask(Instant::now()),
        }
        if matches!(self.setting.scheduler, Scheduler::Local(_)) {
            self.ask_queue().await?;
            return self.ask_at_once().await;
        }
        if self.is_turn_of_books() {
            self.open_books();
            return Ok(());
        }
        self.ask_queue().await
    }

    async fn ask_queue(&mut self) -> Result<(), JournalError> {
        let jobs: BTreeSet<JobId> = self.state.live().map(|(_, job)| job.id.clone()).collect();
        let jobs: Vec<JobId> = jobs.into_iter().collect();
        if jobs.is_empty() {
            return Ok(());
        }
        let scheduler = self.setting.scheduler;
        let observation = match self.ask("squeue", scheduler.poll(&jobs)).await {
            Ok(observation) => observation,
            Err(error) => {
                self.missed(&error);
                return Ok(());
            }
        };
        self.answered();
        if self.take_in(&observation.jobs) {
            self.pace.news();
        } else {
            self.pace.quiet(mix());
        }
        self.drop_hopeless().await?;
        self.cancel_again().await;
        self.judge_by_queue()
    }

    // ---- silence

    /// Whether the controller gives no answer.
    pub(super) fn is_silent(&self) -> bool {
        self.silence.lasts(Instant::now()).is_some()
    }

    /// Waits for an answer, and tells if it is long in coming. A run that is to stop does not wait for long.
    pub(super) async fn ask<T>(
        &mut self,
        command: &str,
        answer: impl Future<Output = Result<T, QueryError>>,
    ) -> Result<T, QueryError> {
        let bounded = tokio::time::timeout(CANCEL_PATIENCE, answer);
        if self.stopping.is_none() {
            return self.patiently(command, bounded.into_inner()).await;
        }
        bounded.await.unwrap_or_else(|_| {
            Err(QueryError::Unreachable {
                command: command.to_owned(),
                said: format!("no answer within {} s", CANCEL_PATIENCE.as_secs()),
            })
        })
    }

    /// Waits, and tells if that takes long.
    pub(super) async fn patiently<T>(
        &mut self,
        command: &str,
        answer: impl Future<Output = T>,
    ) -> T {
        let begin = Instant::now();
        tokio::pin!(answer);
        if let Ok(answer) = tokio::time::timeout(SLOW, &mut answer).await {
            return answer;
        }
        if let Some(silent) = self.silence.missed(begin, Instant::now()) {
            self.tell(Tell::Note(format!(
                "no answer from `{command}` for {} s; waiting for the scheduler to come back",
                silent.as_secs()
            )));
        }
        answer.await
    }

    /// Takes in that the controller, or whoever else was needed, gave no answer.
    pub(super) fn missed(&mut self, error: &QueryError) {
        if matches!(error, QueryError::Unreachable { command, .. } if command == "sacct") {
            return self.without_books(error);
        }
        let now = Instant::now();
        if let Some(silent) = self.silence.missed(now, now) {
            let long = match silent.as_secs() {
                0 => String::new(),
                seconds => format!(" for {}", Walltime::from_secs(seconds)),
            };
            self.tell(Tell::Note(format!(
                "{error}; waiting{long} for the scheduler to come back"
            )));
        }
        self.pace.silent(now);
    }

    /// Takes in that the controller answers.
    pub(super) fn answered(&mut self) {
        if let Some(silent) = self.silence.over(Instant::now()) {
            self.tell(Tell::Note(format!(
                "the scheduler answers again after {}",
                Walltime::from_secs(silent.as_secs())
            )));
        }
    }

    // ---- the queue

    /// Takes the queue's word on each live job; returns whether anything changed.
    fn take_in(&mut self, seen: &BTreeMap<JobId, JobStatus>) -> bool {
        let mut changed = false;
        let starts = latest_starts(seen);
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
            let before = live.phase();
            let seen = live.take_in(status, packed, attempt);
            let now = live.phase();
            changed |= seen.changed || now != before;
            let waits = now == Some(Phase::Waiting);
            if waits && let Some(start) = starts.get(job.root()).filter(|_| !packed) {
                live.waits_since(*start);
            }
            let (part, restarts) = (state.part.filter(|_| packed), live.restarts());
            if waits && let Some(part) = part {
                // What an earlier start of a pack had begun waits with it.
                self.packs.forget_started(part);
            }
            // What a pack has started it tells itself, and maybe before the queue does.
            let told = part.is_some_and(|part| self.packs.has_started(part, &step.slug));
            for event in seen.tells {
                let once = match &event {
                    // Of a job that many steps share.
                    Tell::Note(_) if packed => {
                        let what = format!("{now:?} {restarts}");
                        self.told_once.insert((job.root().to_owned(), what))
                    }
                    _ => !told,
                };
                if once {
                    (self.setting.observer)(event);
                }
            }
            if waits {
                self.forget_arrival(index);
                self.tell_held(index, &job);
            }
        }
        changed
    }

    /// Tells of a job that waits for a person, once.
    fn tell_held(&mut self, index: usize, job: &JobId) {
        let last = self.live.get(&index).and_then(|live| live.last.as_ref());
        let reason = last
            .and_then(|last| last.reason.clone())
            .unwrap_or_default();
        let meaning = pending::meaning(&reason);
        let Some(help) = meaning.help.filter(|_| meaning.clears) else {
            return;
        };
        if self.told_once.insert((job.root().to_owned(), reason)) {
            let help = help.replace("JOB", job.root());
            let step = &self.setting.plan.steps[index];
            self.tell(Tell::Note(format!(
                "job {job} of `{}` waits for {}; {help}, within {}",
                step.name,
                meaning.text,
                Walltime::from_secs(step.resources.max_pending.as_secs())
            )));
        }
    }

    /// Cancels jobs that wait for what never comes, wait for too long, or do not end.
    async fn drop_hopeless(&mut self) -> Result<(), JournalError> {
        let mut jobs = BTreeSet::new();
        let mut events = Vec::new();
        let mut given_up = Vec::new();
        for (index, job) in self.state.live() {
            let Some(live) = self.live.get_mut(&index) else {
                continue;
            };
            if job.cause.is_some() {
                if live.overdue() > OVERSTAY {
                    given_up.push(index);
                }
                continue;
            }
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
        self.conclude_unheard(&given_up)
    }

    pub(super) fn attempt_folder(&self, index: usize) -> PathBuf {
        let attempt = self.state.steps()[index].attempt;
        let slug = &self.setting.plan.steps[index].slug;
        self.setting.folder.attempt(slug, attempt)
    }
}

/// A number from 0 to 1 that is another one in each process.
pub(super) fn mix() -> f64 {
    let mix = Utc::now().timestamp_subsec_nanos() ^ std::process::id();
    f64::from(mix % 1000) / 1000.0
}
