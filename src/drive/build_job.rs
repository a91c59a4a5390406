//! A build that is a job of its own. Its tree is left alone while it is at work there, and made anew before it is tried elsewhere.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::builds::Failure;
use super::journal::{Journal, JournalError, Line};
use super::progress::{Observer, StageKind, Under};
use super::side_job::{self, Again, Side, SideJob};
use super::{Run, Stay, collect};
use crate::build::LOG_LINES;
use crate::cancel::Cancel;
use crate::config::{CommandLine, Scheduler};
use crate::plan::{Build, JobPlace, Place, Plan};
use crate::process::tail;
use crate::scheduler::{JobId, Outcome};

/// A build's job.
pub(super) struct BuildJob<'a> {
    build: &'a Build,
    job: SideJob,
}

/// How far a build's job is when its driver is done with it.
pub(super) enum Building {
    /// It left programs, after this time.
    Ended(Duration),
    /// It left none.
    Failed(Failure),
    /// Its place was at fault: it is tried again, in a tree that was made anew.
    Again,
    /// It waits or runs, and its driver does not stay.
    Left,
}

/// Returns the jobs of builds that the scheduler has, by the journal of a run.
pub(super) fn live(plan: &Plan, lines: &[Line]) -> BTreeMap<String, JobId> {
    let job = |build: &Build| {
        let Place::Job(place) = &build.place else {
            return None;
        };
        let own = build.job_plan(plan, place, &Scheduler::default(), side_job::nothing());
        Some((build.id.clone(), side_job::live(&own, lines)?))
    };
    plan.builds.iter().filter_map(job).collect()
}

impl<'a> BuildJob<'a> {
    /// Returns the job that runs the script at this place, as far as the journal knows it.
    pub(super) fn read(
        run: &Run,
        build: &'a Build,
        place: &JobPlace,
        script: &Path,
    ) -> Result<Self, JournalError> {
        let command = CommandLine::Argv(vec![
            "bash".to_owned(),
            "-p".to_owned(),
            script.to_string_lossy().into_owned(),
        ]);
        let scheduler = &run.request.site.scheduler;
        let plan = build.job_plan(&run.request.plan, place, scheduler, command);
        let job = SideJob::read(run, plan)?;
        Ok(Self { build, job })
    }

    /// Returns whether it is still to be submitted.
    pub(super) fn is_new(&self) -> bool {
        self.job.is_new()
    }

    /// Submits the job, unless it was, and watches it for as long as the driver stays.
    pub(super) async fn watch(
        self,
        run: &Run,
        tree: PathBuf,
        journal: &mut Journal,
        stay: &Stay,
        observer: &Observer,
        cancel: &Cancel,
    ) -> Result<Building, JournalError> {
        let build = self.build.id.clone();
        let under = Under::begin(observer, StageKind::Build, Some(&build));
        let again = Again::Prepared;
        let watching = self
            .job
            .watch(run, tree, again, journal, stay, observer, cancel);
        let end = match watching.await? {
            Side::Left => return Ok(Building::Left),
            Side::Again => return Ok(Building::Again),
            Side::Ended(end) => end,
        };
        let log = run.folder.build_log(&build);
        if let Err(error) = fs_err::copy(&end.log, &log) {
            tracing::debug!(%error, "no log of the build");
        }
        if end.verdict.outcome == Outcome::Passed {
            under.end(true);
            return Ok(Building::Ended(end.took.unwrap_or_default()));
        }
        Ok(Building::Failed(Failure::Job {
            build,
            verdict: end.verdict,
            tail: tail(&collect::log_tail(&log), LOG_LINES),
            log,
        }))
    }
}
