//! Submits the steps, watches their jobs and judges their ends.
//!
//! One question a tick for all jobs of the run. The tick grows while nothing happens and shrinks when an exit record arrives;
//! a question without an answer is a missing observation, never a failed job.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use super::collect;
use super::folder::{RunFolder, ended_name};
use super::journal::{Journal, JournalError};
use super::live::{Attempt, BOOKS_LAG, Live};
use super::progress::{Observer, Progress as Tell};
use super::reports;
use super::state::{Event, RunState};
use crate::cancel::Cancel;
use crate::plan::{Plan, StepKind};
use crate::scheduler::admission::{Demand, admit};
use crate::scheduler::verdict::{CancelCause, judge};
use crate::scheduler::{
    Accounting, Evidence, JobId, JobRecord, JobRequest, JobState, JobStatus, Outcome, QueryError,
    Scheduler, SubmitError, Verdict,
};

/// Between two looks into the folder of arrivals.
const GLANCE: Duration = Duration::from_millis(100);
/// The least time between two questions to Slurm.
const SHORTEST_TICK: Duration = Duration::from_millis(500);
/// The most time between two questions while nothing happens.
const LONGEST_TICK: Duration = Duration::from_mins(1);
/// How long an exit record may take over a network file system.
const RECORD_LAG: Duration = Duration::from_secs(15);
/// How long a job may outlive its own time limit before it counts as lost.
const OVERSTAY: Duration = Duration::from_mins(30);
/// How long cancelled jobs may take to end when the run is stopped.
const CANCEL_PATIENCE: Duration = Duration::from_secs(30);

/// How many steps may be under way.
#[derive(Debug, Clone, Copy)]
pub(super) enum Room {
    /// As many jobs as this.
    Jobs(usize),
    /// As many as fit on these cores.
    Cores(u32),
}

/// What the steps of a run are watched with.
pub(super) struct Setting<'a> {
    pub(super) plan: &'a Plan,
    pub(super) folder: &'a RunFolder,
    pub(super) scheduler: &'a Scheduler,
    pub(super) room: Room,
    pub(super) started: DateTime<Utc>,
    pub(super) observer: &'a Observer,
    pub(super) cancel: &'a Cancel,
    /// Writes the files of an attempt and says what to ask the scheduler for.
    pub(super) prepare: &'a dyn Fn(usize, u32) -> std::io::Result<JobRequest>,
}

/// Runs all steps to their end and returns what is known of each attempt, by step and number.
///
/// When the run is asked to stop, live jobs are cancelled and what is known is returned all the same.
pub(super) async fn run(
    setting: Setting<'_>,
    state: &mut RunState,
    journal: &mut Journal,
) -> Result<BTreeMap<(usize, u32), Attempt>, JournalError> {
    (setting.observer)(Tell::Steps {
        total: state.steps().len(),
    });
    let mut watch = Watch {
        setting,
        state,
        journal,
        attempts: BTreeMap::new(),
        live: BTreeMap::new(),
        arrived: BTreeSet::new(),
        doubtful: BTreeSet::new(),
        told: BTreeSet::new(),
        tick: SHORTEST_TICK,
        asked: None,
        hold: None,
        backoff: SHORTEST_TICK,
        outage: false,
        stopping: None,
    };
    loop {
        watch.tell_ends();
        watch.stop_if_asked().await?;
        watch.submit().await?;
        watch.tell_ends();
        if watch.state.finished() {
            break;
        }
        watch.pause().await;
        let stop = watch.setting.cancel.clone();
        let stopping = watch.stopping.is_some();
        tokio::select! {
            looked = watch.look() => looked?,
            // A silent controller must not hold up the end.
            () = stop.token().cancelled(), if !stopping => {}
        }
    }
    (watch.setting.observer)(Tell::StepsEnded);
    Ok(watch.attempts)
}

struct Watch<'a, 'b> {
    setting: Setting<'a>,
    state: &'b mut RunState,
    journal: &'b mut Journal,
    attempts: BTreeMap<(usize, u32), Attempt>,
    live: BTreeMap<usize, Live>,
    /// Names in the folder of arrivals that were seen already.
    arrived: BTreeSet<String>,
    /// Steps whose job may have been submitted without our hearing of it.
    doubtful: BTreeSet<usize>,
    /// Steps whose end was told.
    told: BTreeSet<usize>,
    tick: Duration,
    asked: Option<Instant>,
    /// No submission before this.
    hold: Option<Instant>,
    backoff: Duration,
    outage: bool,
    stopping: Option<Instant>,
}

impl Watch<'_, '_> {
    fn tell(&self, event: Tell) {
        (self.setting.observer)(event);
    }

    fn note(&mut self, event: &Event) -> Result<(), JournalError> {
        self.journal.append(event)?;
        self.state.apply(event);
        Ok(())
    }

    /// Tells of steps that have ended since the last call, also of those that never began.
    fn tell_ends(&mut self) {
        for (index, step) in self.state.steps().iter().enumerate() {
            let Some(verdict) = step.verdict() else {
                continue;
            };
            if !self.told.insert(index) {
                continue;
            }
            let good = matches!(verdict.outcome, Outcome::Passed | Outcome::Skipped);
            let record = self.attempts.get(&(index, step.attempt));
            (self.setting.observer)(Tell::Ended {
                step: self.setting.plan.steps[index].name.clone(),
                outcome: verdict.outcome.to_string(),
                good,
                elapsed: record.and_then(Attempt::elapsed),
                message: (!good || step.flaky()).then(|| verdict.message.clone()),
            });
        }
    }

    // ---- stopping

    async fn stop_if_asked(&mut self) -> Result<(), JournalError> {
        if !self.setting.cancel.asked() || self.stopping.is_some() {
            return Ok(());
        }
        self.stopping = Some(Instant::now());
        self.tell(Tell::Note(
            "stopping: cancelling the jobs of this run".to_owned(),
        ));
        let signal = self.setting.cancel.signal().unwrap_or(0);
        self.note(&Event::Stopping { signal })?;
        let jobs: Vec<JobId> = self.state.live().map(|(_, job)| job.clone()).collect();
        for live in self.live.values_mut() {
            live.cause = Some(CancelCause::Asked);
        }
        self.cancel_jobs(&jobs).await;
        self.tick = SHORTEST_TICK;
        Ok(())
    }

    async fn cancel_jobs(&self, jobs: &[JobId]) {
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

    // ---- submitting

    fn ready(&self) -> Vec<usize> {
        match self.setting.room {
            Room::Jobs(jobs) => self.state.startable(jobs),
            Room::Cores(cores) => {
                let demand = |&index: &usize| self.demand(index, cores);
                let running: Vec<Demand> = self.live.keys().map(demand).collect();
                let waiting = self.state.startable(usize::MAX);
                let demands: Vec<Demand> = waiting.iter().map(demand).collect();
                let admitted = admit(cores, &running, &demands);
                admitted.into_iter().map(|at| waiting[at]).collect()
            }
        }
    }

    /// A benchmark that shares the cores measures its neighbours, so it takes them all.
    fn demand(&self, index: usize, all: u32) -> Demand {
        let step = &self.setting.plan.steps[index];
        let resources = &step.resources;
        let cores = match step.kind {
            StepKind::Benchmark(_) => all,
            StepKind::Test => resources
                .ranks
                .saturating_mul(resources.cpus_per_rank.unwrap_or(1)),
        };
        Demand {
            cores,
            serial: step.serial.clone(),
        }
    }

    async fn submit(&mut self) -> Result<(), JournalError> {
        if self.hold.is_some_and(|until| Instant::now() < until) {
            return Ok(());
        }
        self.hold = None;
        for index in self.ready() {
            if self.setting.cancel.asked() || self.hold.is_some() {
                break;
            }
            self.submit_one(index).await?;
        }
        Ok(())
    }

    async fn submit_one(&mut self, index: usize) -> Result<(), JournalError> {
        let slug = self.setting.plan.steps[index].slug.clone();
        let attempt = self.state.steps()[index].attempt;
        let request = match (self.setting.prepare)(index, attempt) {
            Ok(request) => request,
            Err(error) => {
                let verdict = Verdict::new(
                    Outcome::LaunchFailed,
                    format!("the files of the step could not be written: {error}"),
                );
                return self.end(index, attempt, None, verdict);
            }
        };
        self.note(&Event::Submitting {
            step: slug.clone(),
            attempt,
            name: request.name.clone(),
        })?;
        let submitted = self.submit_or_find(index, &request).await;
        if matches!(submitted, Err(SubmitError::Uncertain { .. })) {
            self.doubtful.insert(index);
        } else {
            self.doubtful.remove(&index);
        }
        match submitted {
            Ok(job) => {
                self.backoff = SHORTEST_TICK;
                self.note(&Event::Submitted {
                    step: slug,
                    attempt,
                    job: job.clone(),
                })?;
                self.tell(Tell::Queued {
                    step: self.setting.plan.steps[index].name.clone(),
                    job: job.to_string(),
                    reason: None,
                });
                self.live.insert(index, Live::new());
                self.tick = SHORTEST_TICK;
                Ok(())
            }
            Err(error) if error.may_pass_later() => {
                self.tell(Tell::Note(format!(
                    "{error}; trying again in {:.0} s",
                    self.backoff.as_secs_f64()
                )));
                self.hold = Some(Instant::now() + self.backoff);
                self.backoff = (self.backoff * 2).min(LONGEST_TICK);
                self.note(&Event::NotSubmitted {
                    step: slug,
                    attempt,
                })
            }
            Err(error) => {
                let help = error
                    .help()
                    .map_or(String::new(), |help| format!("; {help}"));
                let verdict = Verdict::new(Outcome::Rejected, format!("{error}{help}"));
                self.end(index, attempt, None, verdict)
            }
        }
    }

    /// Submits a job; one that may have been submitted without our hearing of it is looked for first, however often that
    /// takes: a controller that hung creates the job when it comes back.
    async fn submit_or_find(
        &self,
        index: usize,
        request: &JobRequest,
    ) -> Result<JobId, SubmitError> {
        if self.doubtful.contains(&index) {
            let scheduler = self.setting.scheduler;
            let found = scheduler.find(request, self.setting.started).await;
            let found = found.map_err(|error| SubmitError::Uncertain {
                said: error.to_string(),
            })?;
            if let Some(job) = found.into_iter().find(|job| !self.is_known(job)) {
                return Ok(job);
            }
        }
        self.setting.scheduler.submit(request).await
    }

    fn is_known(&self, job: &JobId) -> bool {
        let ended = self
            .attempts
            .values()
            .filter_map(|attempt| attempt.job.as_ref());
        self.state
            .live()
            .map(|(_, live)| live)
            .chain(ended)
            .any(|known| known == job)
    }

    // ---- watching

    /// Waits until something may have happened: the tick is over, an exit record arrived, a local step ended, a signal came.
    async fn pause(&mut self) {
        let due = self
            .asked
            .map_or_else(Instant::now, |asked| asked + self.tick);
        let earliest = self
            .asked
            .map_or_else(Instant::now, |asked| asked + SHORTEST_TICK);
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
                () = local => return,
                () = signal => return,
                () = tokio::time::sleep(GLANCE) => {}
            }
            let arrival = self.arrivals();
            let now = Instant::now();
            if arrival {
                self.tick = SHORTEST_TICK;
            }
            let wanted = if arrival || self.expecting() {
                earliest
            } else {
                due
            };
            let resubmit = self.hold.is_some_and(|until| now >= until);
            if resubmit || (now >= wanted && !self.live.is_empty()) {
                return;
            }
        }
    }

    /// Whether an exit record has come whose job the scheduler has not yet been asked about to the end.
    fn expecting(&self) -> bool {
        self.live.keys().any(|&index| {
            let attempt = self.state.steps()[index].attempt;
            self.arrived
                .contains(&ended_name(&self.setting.plan.steps[index].slug, attempt))
        })
    }

    fn arrivals(&mut self) -> bool {
        let before = self.arrived.len();
        self.arrived
            .extend(collect::names(&self.setting.folder.ended()));
        self.arrived.len() > before
    }

    async fn look(&mut self) -> Result<(), JournalError> {
        let jobs: Vec<JobId> = self.state.live().map(|(_, job)| job.clone()).collect();
        if jobs.is_empty() {
            return Ok(());
        }
        self.asked = Some(Instant::now());
        let observation = match self.setting.scheduler.poll(&jobs).await {
            Ok(observation) => observation,
            Err(error) => {
                self.missed(&error);
                return Ok(());
            }
        };
        if std::mem::take(&mut self.outage) {
            self.tell(Tell::Note("the scheduler answers again".to_owned()));
        }
        let changed = self.take_in(observation.jobs);
        self.tick = if changed {
            SHORTEST_TICK
        } else {
            (self.tick * 3 / 2).min(LONGEST_TICK)
        };
        self.drop_hopeless().await;
        self.judge_gone().await
    }

    fn missed(&mut self, error: &QueryError) {
        if !std::mem::replace(&mut self.outage, true) {
            self.tell(Tell::Note(format!(
                "{error}; waiting for the scheduler to come back"
            )));
        }
        self.tick = (self.tick * 2).min(LONGEST_TICK);
    }

    /// Takes the queue's word on each live job; returns whether anything changed.
    fn take_in(&mut self, mut seen: BTreeMap<JobId, JobStatus>) -> bool {
        let mut changed = false;
        let live: Vec<(usize, JobId)> = self
            .state
            .live()
            .map(|(index, job)| (index, job.clone()))
            .collect();
        for (index, job) in live {
            let status = seen.remove(&job);
            let Some(live) = self.live.get_mut(&index) else {
                continue;
            };
            let tell = live.take_in(status, &self.setting.plan.steps[index].name, &job);
            if let Some(event) = tell {
                changed = true;
                (self.setting.observer)(event);
            }
        }
        changed
    }

    /// Cancels jobs that wait for what never comes, wait for too long, or do not end.
    async fn drop_hopeless(&mut self) {
        let mut hopeless = Vec::new();
        for (index, job) in self.state.live() {
            let resources = &self.setting.plan.steps[index].resources;
            let Some(live) = self.live.get_mut(&index) else {
                continue;
            };
            if live.cause.is_some() {
                continue;
            }
            let limit = resources.time + resources.margin + OVERSTAY;
            if let Some(cause) = live.hopeless(resources.max_pending, limit) {
                live.cause = Some(cause);
                hopeless.push(job.clone());
            }
        }
        self.cancel_jobs(&hopeless).await;
    }

    /// Judges the jobs that have left the queue or ended in it.
    async fn judge_gone(&mut self) -> Result<(), JournalError> {
        let gone: Vec<(usize, JobId)> = self
            .state
            .live()
            .filter(|(index, _)| {
                self.live
                    .get(index)
                    .is_some_and(|live| live.gone_since.is_some())
            })
            .map(|(index, job)| (index, job.clone()))
            .collect();
        if gone.is_empty() {
            return Ok(());
        }
        let jobs: Vec<JobId> = gone.iter().map(|(_, job)| job.clone()).collect();
        let books = self
            .setting
            .scheduler
            .record(&jobs, self.setting.started)
            .await;
        if let Err(error) = &books {
            tracing::debug!(%error, "no answer from accounting");
        }
        for (index, job) in gone {
            self.judge_one(index, &job, books.as_ref().ok())?;
        }
        Ok(())
    }

    fn judge_one(
        &mut self,
        index: usize,
        job: &JobId,
        books: Option<&Accounting>,
    ) -> Result<(), JournalError> {
        let Some(live) = self.live.get(&index) else {
            return Ok(());
        };
        let waited = live
            .gone_since
            .map_or(Duration::ZERO, |since| since.elapsed());
        let settled = books
            .and_then(|books| books.last(job))
            .filter(|record| record.settled())
            .cloned();
        let Some(record) = settled.or_else(|| live.queue_record(waited)) else {
            if waited < BOOKS_LAG {
                return Ok(());
            }
            return self.conclude(index, job, None);
        };
        let attempt = self.state.steps()[index].attempt;
        let folder = self
            .setting
            .folder
            .attempt(&self.setting.plan.steps[index].slug, attempt);
        let owes_record = matches!(record.state, JobState::Completed | JobState::Failed);
        if owes_record && waited < RECORD_LAG && collect::exit_record(&folder).is_none() {
            return Ok(());
        }
        self.conclude(index, job, Some(record))
    }

    fn conclude(
        &mut self,
        index: usize,
        job: &JobId,
        record: Option<JobRecord>,
    ) -> Result<(), JournalError> {
        let Some(live) = self.live.remove(&index) else {
            return Ok(());
        };
        let attempt = self.state.steps()[index].attempt;
        let slug = &self.setting.plan.steps[index].slug;
        let folder = self.setting.folder.attempt(slug, attempt);
        let exit = collect::exit_record(&folder);
        let log = collect::log_tail(&folder.join("log.txt"));
        let verdict = judge(&Evidence {
            record: record.as_ref(),
            restarts: live.restarts(),
            exit: exit.as_ref(),
            log: &log,
            cancelled: live.cause.as_ref(),
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
        self.attempts.insert(
            (index, attempt),
            Attempt {
                nodes,
                job: Some(job.clone()),
                submitted: live.submitted,
                record,
                exit,
                host: collect::host(&folder),
                verdict: verdict.clone(),
            },
        );
        let slug = slug.clone();
        self.note(&Event::Ended {
            step: slug,
            attempt,
            verdict,
        })
    }

    /// Ends an attempt that never had a job.
    fn end(
        &mut self,
        index: usize,
        attempt: u32,
        job: Option<JobId>,
        verdict: Verdict,
    ) -> Result<(), JournalError> {
        self.attempts.insert(
            (index, attempt),
            Attempt {
                job,
                submitted: Utc::now(),
                record: None,
                exit: None,
                host: None,
                nodes: BTreeSet::new(),
                verdict: verdict.clone(),
            },
        );
        let step = self.setting.plan.steps[index].slug.clone();
        self.note(&Event::Ended {
            step,
            attempt,
            verdict,
        })
    }
}
