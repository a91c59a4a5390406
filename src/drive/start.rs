//! How a process comes to drive a run: it begins a new one, or goes on with one that is there.
//!
//! One process at a time drives a run, by a lease on its folder. A new run is not begun while another run of the workspace
//! is driven; runs that were left to Slurm (`--detach`) do not stand in its way, unless both need the same tree.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use chrono::Utc;

use super::folder::{self, RunFolder};
use super::journal::Journal;
use super::known::{self, Known};
use super::state::{Event, RunState};
use super::stored::{self, Stored};
use super::trees::{Origin, Trees};
use super::{DriveError, Driven, LEASE, Request, Run};
use crate::foreign;
use crate::launch::{FACTS_SCRIPT, LAUNCHER, Place, WORLD};
use crate::lease::{self, Claim, Life};
use crate::owner;
use crate::plan::Plan;

/// What the lease of a process is for that goes on with a run and does not wait for its end.
pub const PASSING: &str = "passes by";
/// The name of the lock under which runs begin.
const BEGIN: &str = ".begin";
/// How long another run may take to begin.
const BEGIN_PATIENCE: Duration = Duration::from_mins(1);

/// What came of the wish to begin a run.
#[derive(Debug)]
pub enum Begun {
    /// This process drives it.
    Driven(Box<Driven>),
    /// Another run stands in the way.
    Busy(Busy),
    /// This commit was asked for once only, and there is a run of it.
    Tested {
        /// The run.
        run: String,
        /// Its exit code, if it has ended.
        exit_code: Option<u8>,
    },
}

/// A run that stands in the way of another.
#[derive(Debug)]
pub struct Busy {
    /// Its id.
    pub run: String,
    /// Why both cannot be.
    pub why: String,
}

/// What came of the wish to go on with a run.
#[derive(Debug)]
pub enum Reopened {
    /// This process drives it.
    Driven(Box<Driven>),
    /// Another process does.
    Held(Claim),
    /// It has ended with this exit code.
    Ended(u8),
}

/// Begins a run: its folder, its lease and its journal come first. With `if_new`, a commit is tested once.
pub fn begin(
    request: Request,
    inherited: Vec<(OsString, OsString)>,
    if_new: bool,
) -> Result<Begun, DriveError> {
    let runs = request.workspace.join("runs");
    check_path(&runs)?;
    let failed = |source| DriveError::Folder {
        path: runs.clone(),
        source,
    };
    fs_err::create_dir_all(&runs).map_err(failed)?;
    let lock = lease::take_within(&runs, BEGIN, "begins a run", BEGIN_PATIENCE).map_err(failed)?;
    if let Err(claim) = lock {
        return Ok(Begun::Busy(Busy {
            run: "another run".to_owned(),
            why: format!("{claim} is about to begin it"),
        }));
    }
    // Named while nobody else names one: the order of ids is that of runs.
    let folder = RunFolder::new(&request.workspace, Utc::now());
    for other in folder::all(&request.workspace)?.into_iter().rev() {
        if if_new && let Some(tested) = tests_the_same(&request, &other)? {
            return Ok(tested);
        }
        if let Some(busy) = in_the_way(&request, &other)? {
            return Ok(Begun::Busy(busy));
        }
    }
    let failed = |source| DriveError::Folder {
        path: folder.root().to_owned(),
        source,
    };
    folder.create().map_err(failed)?;
    let lease = lease::take(folder.root(), LEASE, "drives the run").map_err(failed)?;
    let lease = lease.map_err(|claim| DriveError::Held {
        run: folder.id().to_owned(),
        claim: Box::new(claim),
    })?;
    place_program(&folder).map_err(failed)?;
    foreign::put(folder.facts(), FACTS_SCRIPT).map_err(failed)?;
    foreign::put(folder.world(), WORLD).map_err(failed)?;
    place_launcher(&folder.launchers()).map_err(failed)?;
    let started = Utc::now();
    let stored = Stored::of(&request, &folder, started);
    stored::write(&folder, &stored, &request.plan, &inherited)?;
    let (journal, _) = Journal::open(&folder.journal(), Some(lease))?;
    let mut driven = Driven {
        state: RunState::new(&request.plan),
        run: Run {
            trees: Trees::new(&request.workspace, folder.id()),
            request,
            folder,
            inherited,
            started,
        },
        journal,
        resumed: false,
    };
    driven.note(&Event::Started {
        run: driven.run.folder.id().to_owned(),
        commit: driven.run.request.plan.revision.commit.clone(),
    })?;
    Ok(Begun::Driven(Box::new(driven)))
}

/// Goes on with a run, unless it has ended or another process has it.
pub fn reopen(folder: &RunFolder, purpose: &str) -> Result<Reopened, DriveError> {
    owner::check_folder(folder.root(), &[])?;
    let known = Known::read(folder.clone())?;
    if let Some(code) = known.state.exit_code() {
        return Ok(Reopened::Ended(code));
    }
    if known.stored.place == Place::Allocation {
        let own = stored::own_allocation();
        if own != known.stored.allocation {
            return Err(DriveError::Allocation {
                run: folder.id().to_owned(),
                allocation: known.stored.allocation.unwrap_or_default(),
            });
        }
    }
    let failed = |source| DriveError::Folder {
        path: folder.root().to_owned(),
        source,
    };
    let lease = match lease::take(folder.root(), LEASE, purpose).map_err(failed)? {
        Ok(lease) => lease,
        Err(claim) => return Ok(Reopened::Held(claim)),
    };
    // What was read before the lease was ours may be old.
    let (journal, lines) = Journal::open(&folder.journal(), Some(lease))?;
    let mut state = RunState::new(&known.plan);
    for line in &lines {
        state.apply(&line.event);
    }
    if let Some(code) = state.exit_code() {
        return Ok(Reopened::Ended(code));
    }
    let started = known.stored.started_at;
    let inherited = stored::environment(folder)?;
    let request = known.stored.into_request(known.plan);
    let mut driven = Driven {
        state,
        run: Run {
            trees: Trees::new(&request.workspace, folder.id()),
            request,
            folder: folder.clone(),
            inherited,
            started,
        },
        journal,
        resumed: true,
    };
    driven.note(&Event::Resumed {
        host: hostname::get()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default(),
    })?;
    Ok(Reopened::Driven(Box::new(driven)))
}

/// Returns a run of a workspace that has not ended and is at work: a process drives it, or was done with it for now.
pub fn unfinished(workspace: &Path) -> Result<Option<String>, DriveError> {
    for folder in folder::all(workspace)?.into_iter().rev() {
        if folder.has_ended() {
            continue;
        }
        let left = |claim: &Claim| known::is_alive(claim) || claim.life == Life::Released;
        if known::claim(&folder)?.is_some_and(|claim| left(&claim)) {
            return Ok(Some(folder.id().to_owned()));
        }
    }
    Ok(None)
}

/// Scripts and JSON hold the path, and LLVM's runtime expands it.
fn check_path(path: &Path) -> Result<(), DriveError> {
    let path = path.to_owned();
    match path.to_str() {
        None => Err(DriveError::Path { path }),
        Some(text) if text.contains('%') => Err(DriveError::Percent { path }),
        Some(_) => Ok(()),
    }
}

/// Puts the program that runs now into the run folder, where it stays the same while others are installed.
fn place_program(folder: &RunFolder) -> std::io::Result<()> {
    let program = std::env::current_exe()?;
    fs_err::hard_link(&program, folder.program())
        .or_else(|_| fs_err::copy(&program, folder.program()).map(drop))
}

/// Puts the script that goes before launchers where it stays; one run begins at a time.
fn place_launcher(dir: &Path) -> std::io::Result<()> {
    let file = dir.join("launcher.sh");
    if foreign::read_to_string(&file, foreign::RECORD).is_ok_and(|text| text == LAUNCHER) {
        return Ok(());
    }
    fs_err::create_dir_all(dir)?;
    stored::put(&file, LAUNCHER.as_bytes(), 0o644)
}

/// A run that has ended, or may still, and tests all that is asked for.
fn tests_the_same(request: &Request, other: &RunFolder) -> Result<Option<Begun>, DriveError> {
    let Some((stored, plan)) = readable(other) else {
        return Ok(None);
    };
    let (wanted, had) = (&request.plan.revision, &plan.revision);
    let same = wanted.commit == had.commit && !wanted.dirty && !had.dirty;
    let covered = !request.scope.coverage || stored.scope.coverage;
    if !(same && covered && steps_of(&request.plan, &plan)) {
        return Ok(None);
    }
    let exit_code = known::entry(other)?.map(|entry| entry.exit_code);
    // Where nothing was proved, there is something left to prove.
    let proved = exit_code.is_none_or(|code| code < 3);
    Ok(proved.then(|| Begun::Tested {
        run: other.id().to_owned(),
        exit_code,
    }))
}

/// What a run was to do; a run that this version cannot read must not keep others from beginning.
fn readable(folder: &RunFolder) -> Option<(Stored, Plan)> {
    stored::read(folder)
        .and_then(|stored| Ok((stored, stored::plan(folder)?)))
        .inspect_err(|error| tracing::warn!(run = folder.id(), %error, "a run cannot be read"))
        .ok()
}

fn steps_of(wanted: &Plan, had: &Plan) -> bool {
    wanted
        .steps
        .iter()
        .all(|step| had.step(&step.name).is_some())
}

/// Why a run cannot be beside another that has not ended.
fn in_the_way(request: &Request, other: &RunFolder) -> Result<Option<Busy>, DriveError> {
    if other.has_ended() {
        return Ok(None);
    }
    let busy = |why| {
        Ok(Some(Busy {
            run: other.id().to_owned(),
            why,
        }))
    };
    let claim = known::claim(other)?;
    let driving = claim
        .as_ref()
        .filter(|claim| known::is_alive(claim))
        .filter(|claim| {
            claim
                .holder
                .as_ref()
                .is_none_or(|holder| holder.purpose != PASSING)
        });
    if let Some(claim) = driving {
        return busy(format!("{claim} has it"));
    }
    let Some((stored, theirs)) = readable(other) else {
        return Ok(None);
    };
    let in_place = |origin: &Origin| matches!(origin, Origin::InPlace { .. });
    if in_place(&stored.origin) && stored.origin == request.origin {
        return busy("it has not ended, and uses the same tree in place".to_owned());
    }
    let shared = request
        .plan
        .builds
        .iter()
        .filter(|build| build.reuse && !in_place(&request.origin))
        .find(|build| theirs.build(&build.id).is_some_and(|it| it.reuse));
    if let Some(build) = shared {
        let id = &build.id;
        return busy(format!(
            "it has not ended, and uses the same kept tree of build `{id}`"
        ));
    }
    Ok(None)
}
