//! A pack, seen from within: hpc-ci in an allocation that it asked for itself, with steps to start side by side.
//!
//! It works as in any other allocation. The run that packed the steps reads the journal that is left here.

use std::ffi::OsString;
use std::path::Path;

use chrono::Utc;

use super::folder::RunFolder;
use super::journal::Journal;
use super::prepare::{PackFile, Prepare};
use super::progress::{Observer, StageKind, Under};
use super::request::Common;
use super::state::{AttemptEnd, Event, RunState};
use super::submit::Ground;
use super::{DriveError, LOCAL_GRACE, SLURM_DEADLINE, Stay, place, watch};
use crate::cancel::Cancel;
use crate::foreign;
use crate::launch::Place;
use crate::scheduler::local::{Ask, Local};
use crate::scheduler::{Outcome, Scheduler, Slurm};

/// How often Slurm has started the job again.
const RESTARTS: &str = "SLURM_RESTART_COUNT";

/// Runs the steps of the pack in this folder, `RUN/batches/NUMBER`.
pub async fn run_pack(
    dir: &Path,
    inherited: Vec<(OsString, OsString)>,
    observer: &Observer,
    cancel: &Cancel,
) -> Result<(), DriveError> {
    let failed = |source| DriveError::Folder {
        path: dir.to_owned(),
        source,
    };
    let started = Utc::now();
    let file = PackFile::read(&dir.join("pack.json")).map_err(failed)?;
    let run = dir.parent().and_then(Path::parent).unwrap_or(dir);
    let folder = RunFolder::at(run);
    let (mut journal, before) = Journal::open(&RunFolder::at(dir).journal(), None)?;
    let mut state = RunState::from_attempts(&file.plan, &file.attempts);
    for build in &file.plan.builds {
        state.apply(&Event::Built {
            build: build.id.clone(),
            seconds: 0.0,
        });
    }
    // Slurm may start a pack again: what had come to its end then is not run once more.
    for line in before {
        let by_itself = |end: &AttemptEnd| end.verdict.outcome != Outcome::Cancelled;
        if matches!(&line.event, Event::Ended { end, .. } if by_itself(end)) {
            state.apply(&line.event);
        }
    }
    let mut inherited = inherited;
    if let Some(count) = std::env::var_os(RESTARTS) {
        // By which the scripts keep the files of each start apart.
        inherited.push((RESTARTS.into(), count));
    }
    let prepare = Prepare {
        plan: &file.plan,
        folder: &folder,
        common: Common {
            project: file.project,
            commit: file.plan.revision.commit.clone(),
            place: Place::Allocation,
            allocation: place::allocation_identity(),
            hosts: place::hosts_of_allocation(),
            limits: file.limits,
        },
        made: file.made,
        at_once: 1,
    };
    let slurm = Slurm::new(inherited.clone(), SLURM_DEADLINE);
    let ground = Ground::Hosts {
        place: Place::Allocation,
        hosts: prepare.common.hosts.clone(),
        end: place::end_of_allocation(&slurm, observer).await,
        // The steps stand in their order.
        history: None,
    };
    let under = Under::begin(observer, StageKind::Steps, None);
    watch::run(
        watch::Setting {
            plan: &file.plan,
            folder: &folder,
            scheduler: &Scheduler::Local(Local::new(inherited, Ask::Leader, LOCAL_GRACE)),
            ground,
            started,
            observer,
            cancel,
            stay: &Stay::ToTheEnd,
            same_machine: true,
            // The run that packed the steps does that.
            elsewhere: 0,
            pause_before_again: false,
            prepare: &prepare,
        },
        &mut state,
        &mut journal,
    )
    .await?;
    under.end(!cancel.asked());
    if cancel.asked() {
        // What that means for the steps depends on why Slurm stopped us, which it tells the run that packed them.
        return Ok(());
    }
    journal.append(&Event::Finished { exit_code: 0 })?;
    // Whoever waits for the run looks into the journal when something new is here. A slug has no space.
    let name = format!(
        "pack {}",
        dir.file_name().unwrap_or_default().to_string_lossy()
    );
    foreign::put(folder.ended().join(name), "").map_err(failed)
}
