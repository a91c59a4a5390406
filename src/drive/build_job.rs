//! A build that is a job of its own: the only step of a plan, submitted and watched as any step is.
//!
//! Its events stand in the journal of the run, whose own state does not know the step and passes over them. So the job of a
//! build outlives its driver as well, and its tree is left alone while it is at work there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::builds::Failure;
use super::history::History;
use super::journal::{self, Journal, JournalError, Line};
use super::live::Attempt;
use super::prepare::Prepare;
use super::progress::{Observer, StageKind, Under};
use super::state::{Event, Progress, RunState};
use super::submit::Ground;
use super::{Run, Stay, collect, request, watch};
use crate::build::LOG_LINES;
use crate::cancel::Cancel;
use crate::config::{CommandLine, Scheduler};
use crate::lease::{Claim, Lease};
use crate::plan::{Build, JobPlace, Place, Plan};
use crate::process::tail;
use crate::scheduler::slurm::Cluster;
use crate::scheduler::{JobId, Outcome};

/// A build's job.
pub(super) struct BuildJob {
    plan: Plan,
    state: RunState,
}

/// How far a build's job is when its driver is done with it.
pub(super) enum Building {
    /// It left programs, after this time.
    Ended(Duration),
    /// It left none.
    Failed(Failure),
    /// It waits or runs, and its driver does not stay.
    Left,
}

/// Returns the jobs of builds that the scheduler has, by the journal of a run.
pub(super) fn live(plan: &Plan, lines: &[Line]) -> BTreeMap<String, JobId> {
    let job = |build: &Build| {
        let Place::Job(place) = &build.place else {
            return None;
        };
        let plan = build.job_plan(plan, place, &Scheduler::default(), nothing());
        let mut state = RunState::new(&plan);
        for line in lines {
            state.apply(&line.event);
        }
        Some((build.id.clone(), state.live_job(0)?.id.clone()))
    };
    plan.builds.iter().filter_map(job).collect()
}

fn nothing() -> CommandLine {
    CommandLine::Argv(Vec::new())
}

impl BuildJob {
    /// Returns the job that runs the script at this place, as far as the journal knows it.
    pub(super) fn read(
        run: &Run,
        build: &Build,
        place: &JobPlace,
        script: &Path,
    ) -> Result<Self, JournalError> {
        let command = CommandLine::Argv(vec![
            "bash".to_owned(),
            script.to_string_lossy().into_owned(),
        ]);
        let scheduler = &run.request.site.scheduler;
        let plan = build.job_plan(&run.request.plan, place, scheduler, command);
        let mut state = RunState::new(&plan);
        state.apply(&Event::Built {
            build: build.id.clone(),
            seconds: 0.0,
        });
        for line in journal::read(&run.folder.journal())? {
            state.apply(&line.event);
        }
        Ok(Self { plan, state })
    }

    /// Returns whether nobody has ever submitted it.
    pub(super) fn is_new(&self) -> bool {
        self.state.steps()[0].progress == Progress::Waiting
    }

    /// Submits the job, unless it was, and watches it for as long as the driver stays.
    pub(super) async fn watch(
        mut self,
        run: &Run,
        tree: PathBuf,
        journal: &mut Journal,
        stay: &Stay,
        observer: &Observer,
        cancel: &Cancel,
    ) -> Result<Building, JournalError> {
        let build = self.plan.builds[0].id.clone();
        let made = request::Made {
            tree,
            ..request::Made::default()
        };
        let prepare = Prepare {
            plan: &self.plan,
            folder: &run.folder,
            common: run.common(),
            made: [(build.clone(), made)].into(),
            at_once: 1,
        };
        let under = Under::begin(observer, StageKind::Build, Some(&build));
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
                // What a half-done build left in the tree is not to be built upon.
                elsewhere: 0,
                prepare: &prepare,
            },
            &mut self.state,
            journal,
        )
        .await?;
        let step = &self.state.steps()[0];
        let Some(verdict) = step.verdict().filter(|_| !left) else {
            return Ok(Building::Left);
        };
        let folder = run.folder.attempt(&self.plan.steps[0].slug, step.attempt);
        let log = run.folder.build_log(&build);
        if let Err(error) = fs_err::copy(folder.join("log.txt"), &log) {
            tracing::debug!(%error, "no log of the build");
        }
        if verdict.outcome == Outcome::Passed {
            let took = attempts.get(&(0, step.attempt)).and_then(Attempt::elapsed);
            under.end(true);
            return Ok(Building::Ended(took.unwrap_or_default()));
        }
        Ok(Building::Failed(Failure::Job {
            build,
            verdict: verdict.clone(),
            tail: tail(&collect::log_tail(&log), LOG_LINES),
            log,
        }))
    }
}
