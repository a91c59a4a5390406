//! Coverage that is made in a job, so that a login node need not do it: the driver's part, and what the job does.
//!
//! The job does what the driver would have done, from the same run folder, and leaves there what came of it. A job that comes
//! to nothing costs no coverage: the driver makes it then.

use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::cover::{Covered, cover, warning};
use super::driven::Driven;
use super::journal::Line;
use super::known::Known;
use super::live::Attempt;
use super::progress::{Observer, Progress, StageKind, Under};
use super::side_job::{self, Again, Side, SideEnd, SideJob};
use super::stored::put;
use super::trees::Trees;
use super::{DriveError, Run, RunFolder, Stay, collect, late, stored};
use crate::cancel::Cancel;
use crate::config::{CommandLine, Scheduler};
use crate::coverage::lcov::Tracefile;
use crate::coverage::merge;
use crate::foreign;
use crate::launch;
use crate::plan::{JobPlace, Place, Plan};
use crate::results::record::NoteKind;
use crate::scheduler::{JobId, Outcome};

/// The version of what the job leaves.
const VERSION: u32 = 1;
/// How long a network file system may take to show what the job left.
const LAG: Duration = Duration::from_secs(15);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(200);

/// What the job leaves beside the tracefile, which is written first.
#[derive(Debug, Serialize, Deserialize)]
struct Left {
    version: u32,
    /// Whether there is a tracefile.
    tracefile: bool,
    #[serde(flatten)]
    covered: Covered,
}

/// Returns the job of the coverage that the scheduler has, by the journal of a run.
pub(super) fn live(plan: &Plan, lines: &[Line]) -> Option<JobId> {
    let Place::Job(place) = &plan.coverage else {
        return None;
    };
    let own = plan.coverage_job(place, &Scheduler::default(), side_job::nothing());
    side_job::live(&own, lines)
}

impl Driven {
    /// Makes the coverage of the run, where it is to be made; nothing if that is left to a job.
    pub(super) async fn cover(
        &mut self,
        stay: &Stay,
        observer: &Observer,
        cancel: &Cancel,
    ) -> Result<Option<Covered>, DriveError> {
        let run = &self.run;
        if !run.request.scope.coverage || !run.gives_coverage() {
            return Ok(Some(Covered::default()));
        }
        let mut why = None;
        if let Place::Job(place) = run.request.plan.coverage.clone() {
            if run.request.place == launch::Place::Job {
                match self.cover_in_job(&place, stay, observer, cancel).await? {
                    Covering::Done(covered) => return Ok(Some(*covered)),
                    Covering::Left => return Ok(None),
                    Covering::NotInJob(said) => why = said,
                }
            } else {
                observer(Progress::Note(
                    "`where = \"job\"` of [coverage]: there are no jobs here, so coverage is made here"
                        .to_owned(),
                ));
            }
        }
        let run = &self.run;
        let builder = run.builder(observer);
        // What was asked to stop before still adds up what its steps left.
        let _leaving = (!cancel.asked()).then(|| {
            cancel.leave_at_once(
                "stopped by a signal while coverage was added up; `hpc-ci resume` goes on from there",
            )
        });
        let mut covered = cover(run, &builder, &self.state, observer).await?;
        if let Some(why) = why {
            let kind = NoteKind::Warning;
            covered.notes.push(warning(kind, why));
        }
        Ok(Some(covered))
    }

    async fn cover_in_job(
        &mut self,
        place: &JobPlace,
        stay: &Stay,
        observer: &Observer,
        cancel: &Cancel,
    ) -> Result<Covering, DriveError> {
        let run = &self.run;
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let command = CommandLine::Argv(vec![
            text(&run.folder.program()),
            "node-cover".to_owned(),
            text(run.folder.root()),
        ]);
        let scheduler = &run.request.site.scheduler;
        let plan = run.request.plan.coverage_job(place, scheduler, command);
        let job = SideJob::read(run, plan)?;
        if job.is_new() && (cancel.asked() || self.state.stopping()) {
            // Who stops a run wants no more jobs of it.
            return Ok(Covering::NotInJob(None));
        }
        let under = Under::begin(observer, StageKind::Coverage, None);
        let root = run.folder.root().to_owned();
        let (again, journal) = (Again::AtOnce, &mut self.journal);
        let watching = job.watch(&self.run, root, again, journal, stay, observer, cancel);
        let end = match watching.await? {
            Side::Ended(end) => end,
            Side::Again | Side::Left => return Ok(Covering::Left),
        };
        let folder = &self.run.folder;
        let said = match end.verdict.outcome {
            Outcome::Passed => match read(folder).await {
                Ok(covered) => {
                    under.end(covered.tracefile.is_some());
                    return Ok(Covering::Done(Box::new(covered)));
                }
                Err(error) => format!("what its job left cannot be read: {error}"),
            },
            _ => told(&end),
        };
        under.end(false);
        let why = format!("coverage was made on the driver's host, since {said}");
        observer(Progress::Note(why.clone()));
        Ok(Covering::NotInJob(Some(why)))
    }
}

/// How far the job of the coverage is.
enum Covering {
    Done(Box<Covered>),
    Left,
    /// There is none, or it came to nothing, for this reason.
    NotInJob(Option<String>),
}

/// How the job ended, and what to do about it.
fn told(end: &SideEnd) -> String {
    let help = match end.verdict.outcome {
        Outcome::Timeout => "; raise `time` of [coverage]",
        Outcome::OutOfMemory => "; raise `memory` of [coverage]",
        _ => "",
    };
    let log = collect::log_tail(&end.log);
    let last = log.lines().last().map(|line| format!(" ({line})"));
    format!(
        "its job ended otherwise: {}{}{help}",
        end.verdict.message,
        last.unwrap_or_default()
    )
}

/// Reads what the job left, once the file system shows it.
async fn read(folder: &RunFolder) -> std::io::Result<Covered> {
    let begin = Instant::now();
    let text = loop {
        match foreign::read(folder.covered(), foreign::DOCUMENT) {
            Err(error) if begin.elapsed() >= LAG => return Err(error),
            Err(_) => {
                late::refresh(&folder.coverage());
                tokio::time::sleep(LOOK).await;
            }
            Ok(text) => break text,
        }
    };
    let left: Left = serde_json::from_slice(&text)?;
    if left.version != VERSION {
        let what = format!(
            "`{}` is of version {}",
            folder.covered().display(),
            left.version
        );
        return Err(std::io::Error::other(what));
    }
    let mut covered = left.covered;
    if left.tracefile {
        let text = foreign::read(folder.covered_lines(), merge::MAX_TRACEFILE)?;
        let (tracefile, reading) = Tracefile::parse(&text);
        if let Some(problem) = reading.problems.first() {
            return Err(std::io::Error::other(format!("{problem}")));
        }
        covered.tracefile = Some(tracefile);
    }
    Ok(covered)
}

/// Makes the coverage of the run in this folder: what its job does.
pub async fn cover_run(root: &Path, observer: &Observer) -> Result<(), DriveError> {
    let folder = RunFolder::at(root);
    let known = Known::read(folder.clone())?;
    let state = known.state;
    let started = known.stored.started_at;
    let inherited = stored::environment(&folder)?;
    let mut request = known.stored.into_request(known.plan);
    if let Place::Job(JobPlace {
        cpus: Some(cpus), ..
    }) = &request.plan.coverage
    {
        // The processors are those that the job has asked for.
        request.site.workspace.threads = *cpus;
    }
    let run = Run {
        trees: Trees::new(&request.workspace, folder.id()),
        request,
        folder,
        inherited,
        started,
    };
    // This node may not have seen yet what others wrote.
    let ends = state.ends().iter().map(|(&(index, number), end)| {
        let slug = &run.request.plan.steps[index].slug;
        let folder = run.folder.attempt(slug, number);
        ((index, number), Attempt::read(end.clone(), &folder, false))
    });
    late::await_profiles(&run, &ends.collect(), observer, &Cancel::default()).await;
    let builder = run.builder(observer);
    let mut covered = cover(&run, &builder, &state, observer).await?;
    let failed = |source| DriveError::Folder {
        path: run.folder.root().to_owned(),
        source,
    };
    fs_err::create_dir_all(run.folder.coverage()).map_err(failed)?;
    let tracefile = covered.tracefile.take();
    if let Some(tracefile) = &tracefile {
        let mut text = Vec::new();
        tracefile.write(&mut text).map_err(failed)?;
        put(&run.folder.covered_lines(), &text, 0o666).map_err(failed)?;
    }
    let left = Left {
        version: VERSION,
        tracefile: tracefile.is_some(),
        covered,
    };
    put(&run.folder.covered(), &serde_json::to_vec(&left)?, 0o666).map_err(failed)
}
