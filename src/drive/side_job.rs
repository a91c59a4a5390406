//! A job beside those of the steps: the only step of a plan of its own, submitted and watched as any step is.
//!
//! Its events stand in the journal of the run, whose own state does not know the step and passes over them. So such a job
//! outlives its driver as well, and another one takes it up.

use std::path::PathBuf;
use std::time::Duration;

use super::history::History;
use super::journal::{self, Journal, JournalError, Line};
use super::live::Attempt;
use super::prepare::Prepare;
use super::progress::Observer;
use super::state::{Event, Progress, RunState};
use super::submit::Ground;
use super::{Run, Stay, request, watch};
use crate::cancel::Cancel;
use crate::config::CommandLine;
use crate::lease::{Claim, Lease};
use crate::plan::Plan;
use crate::scheduler::slurm::Cluster;
use crate::scheduler::{JobId, Verdict};

/// Such a job.
pub(super) struct SideJob {
    plan: Plan,
    state: RunState,
}

/// How it is done when it went wrong for its place's sake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    /// It is submitted once more, as it stands.
    AtOnce,
    /// Something has to be put right before.
    Prepared,
}

/// How far it is when its driver is done with it.
pub(super) enum Side {
    /// It has ended.
    Ended(Box<SideEnd>),
    /// Its place was at fault, and it is to be prepared again.
    Again,
    /// It waits or runs, and its driver does not stay.
    Left,
}

/// How such a job ended.
pub(super) struct SideEnd {
    pub(super) verdict: Verdict,
    /// How long it took.
    pub(super) took: Option<Duration>,
    /// What it printed.
    pub(super) log: PathBuf,
}

/// Returns the command of a job that is known already.
pub(super) fn nothing() -> CommandLine {
    CommandLine::Argv(Vec::new())
}

/// Returns the job with this plan that the scheduler has, by the journal of a run.
pub(super) fn live(plan: &Plan, lines: &[Line]) -> Option<JobId> {
    let mut state = RunState::new(plan);
    for line in lines {
        state.apply(&line.event);
    }
    Some(state.live_job(0)?.id.clone())
}

impl SideJob {
    /// Returns the job with this plan, as far as the journal knows it.
    pub(super) fn read(run: &Run, plan: Plan) -> Result<Self, JournalError> {
        let mut state = RunState::new(&plan);
        state.apply(&Event::Built {
            build: plan.builds[0].id.clone(),
            seconds: 0.0,
        });
        for line in journal::read(&run.folder.journal())? {
            state.apply(&line.event);
        }
        Ok(Self { plan, state })
    }

    /// Returns whether it is still to be submitted.
    pub(super) fn is_new(&self) -> bool {
        self.state.steps()[0].progress == Progress::Waiting
    }

    /// Submits the job, unless it was, and watches it for as long as the driver stays. It begins in this folder.
    #[expect(
        clippy::too_many_arguments,
        reason = "what surrounds a job is at hand one by one"
    )]
    pub(super) async fn watch(
        mut self,
        run: &Run,
        cwd: PathBuf,
        again: Again,
        journal: &mut Journal,
        stay: &Stay,
        observer: &Observer,
        cancel: &Cancel,
    ) -> Result<Side, JournalError> {
        let made = request::Made {
            tree: cwd,
            ..request::Made::default()
        };
        let prepare = Prepare {
            plan: &self.plan,
            folder: &run.folder,
            common: run.common(),
            made: [(self.plan.builds[0].id.clone(), made)].into(),
            at_once: 1,
        };
        let before = journal.lease().and_then(Lease::before);
        let (attempts, left) = watch::run(
            watch::Setting {
                plan: &self.plan,
                folder: &run.folder,
                scheduler: &run.scheduler(),
                ground: Ground::Slurm {
                    most: 1,
                    cluster: &Cluster::default(),
                    history: &History::default(),
                },
                started: run.started,
                observer,
                cancel,
                stay,
                same_machine: before.is_none_or(Claim::was_here),
                elsewhere: watch::MISPLACED,
                pause_before_again: again == Again::Prepared,
                prepare: &prepare,
            },
            &mut self.state,
            journal,
        )
        .await?;
        let step = &self.state.steps()[0];
        let Some(verdict) = step.verdict().filter(|_| !left) else {
            let waits = self.is_new() && step.misplaced > 0 && !stay.is_over();
            return Ok(if waits && again == Again::Prepared {
                Side::Again
            } else {
                Side::Left
            });
        };
        let attempt = attempts.get(&(0, step.attempt));
        Ok(Side::Ended(Box::new(SideEnd {
            verdict: verdict.clone(),
            took: attempt.and_then(Attempt::elapsed),
            log: run
                .folder
                .attempt(&self.plan.steps[0].slug, step.attempt)
                .join("log.txt"),
        })))
    }
}
