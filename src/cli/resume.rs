//! `resume`, `wait` and `cancel`: to come back to a run.

use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;

use super::args::{Global, RunChoice};
use super::choice;
use super::console::Console;
use super::run::{drive, print_results, send_events};
use crate::cancel::{self, Cancel};
use crate::config::Walltime;
use crate::drive::folder::{self, RunFolder};
use crate::drive::follow::Following;
use crate::drive::known;
use crate::drive::start::{PASSING, Reopened, reopen};
use crate::drive::{Driven, Stay};
use crate::error::{Error, Exit};
use crate::foreign;
use crate::lease::{Claim, Life};

/// Between two looks at a run that another process drives.
const LOOK: Duration = Duration::from_millis(500);
/// Between two looks for a sign of life of one that is on another host.
const REOPEN: Duration = Duration::from_secs(5);

/// Arguments of `resume`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hpc-ci resume                what the latest run has left undone; prints its result\n  hpc-ci resume --no-wait      for cron: what can be done now, of every run that has not ended"
)]
pub(super) struct ResumeArgs {
    #[command(flatten)]
    choice: RunChoice,
    /// Do what can be done now and leave; without RUN, of every run that has not ended.
    #[arg(long)]
    no_wait: bool,
}

/// Arguments of `wait`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hpc-ci wait                  until the latest run has ended; the exit code is that of the run\n  hpc-ci wait --timeout 2h     exit code 75 if it has not ended by then"
)]
pub(super) struct WaitArgs {
    #[command(flatten)]
    choice: RunChoice,
    /// Wait no longer than this, as in 90s, 10m or 2h.
    #[arg(long, value_name = "TIME")]
    timeout: Option<Walltime>,
}

/// Arguments of `cancel`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hpc-ci cancel                the latest run\n  hpc-ci cancel 20260703       the run whose id begins so (`hpc-ci list`)"
)]
pub(super) struct CancelArgs {
    #[command(flatten)]
    choice: RunChoice,
}

pub(super) async fn resume(
    args: ResumeArgs,
    global: &Global,
    console: &Arc<Console>,
) -> Result<Exit, Error> {
    send_events(global, console);
    let cancel = cancel::watch().map_err(Error::Runtime)?;
    if !args.no_wait {
        let folder = choice::run(&args.choice).await?;
        let driven =
            match come_back(&folder, "goes on with the run", None, &cancel, console).await? {
                Back::Driven(driven) => *driven,
                Back::Ended(code) => return again(&folder, code, global, console),
                Back::Late | Back::Interrupted => return Ok(interrupted(&cancel)),
            };
        return drive(driven, &Stay::ToTheEnd, &cancel, global, console).await;
    }
    let latest = choice::run(&args.choice).await?;
    let mut runs = vec![latest.clone()];
    if args.choice.run.is_none() {
        let workspace = choice::workspace(&args.choice.place).await?;
        runs = folder::all(&workspace)?;
        runs.retain(|run| run.id() == latest.id() || !run.has_ended());
    }
    let mut exits = Vec::new();
    for run in runs {
        exits.push(pass_by(&run, &cancel, global, console).await?);
        if let Some(signal) = cancel.signal() {
            return Ok(Exit::Signal(signal));
        }
    }
    let unfinished = exits.contains(&Exit::Unfinished);
    let last = exits.pop().unwrap_or(Exit::Passed);
    Ok(if unfinished { Exit::Unfinished } else { last })
}

pub(super) async fn wait(
    args: WaitArgs,
    global: &Global,
    console: &Arc<Console>,
) -> Result<Exit, Error> {
    send_events(global, console);
    let signals = cancel::watch().map_err(Error::Runtime)?;
    let folder = choice::run(&args.choice).await?;
    let deadline = args
        .timeout
        .map(|time| Instant::now() + Duration::from_secs(time.as_secs()));
    let driven = match come_back(&folder, "waits for the run", deadline, &signals, console).await? {
        Back::Driven(driven) => *driven,
        Back::Ended(code) => return again(&folder, code, global, console),
        Back::Late => {
            console.tell("not finished yet");
            return Ok(Exit::Unfinished);
        }
        Back::Interrupted => return Ok(interrupted(&signals)),
    };
    // Who only waits cancels nothing when interrupted.
    let stay = Stay::Until {
        leave: signals.token().clone(),
        deadline,
    };
    let exit = drive(driven, &stay, &Cancel::default(), global, console).await?;
    Ok(signals.signal().map_or(exit, Exit::Signal))
}

pub(super) async fn cancel(
    args: CancelArgs,
    global: &Global,
    console: &Arc<Console>,
) -> Result<Exit, Error> {
    send_events(global, console);
    let signals = cancel::watch().map_err(Error::Runtime)?;
    let folder = choice::run(&args.choice).await?;
    let reopened = tokio::task::block_in_place(|| reopen(&folder, "cancels the run"))?;
    let had_ended = matches!(reopened, Reopened::Ended(_));
    if !had_ended {
        // Whoever drives it looks for this file; so do we, if nobody does.
        foreign::put(folder.cancel(), "").map_err(Error::File)?;
    }
    let back = match reopened {
        Reopened::Driven(driven) => Back::Driven(driven),
        Reopened::Ended(code) => Back::Ended(code),
        Reopened::Held(_) => come_back(&folder, "cancels the run", None, &signals, console).await?,
    };
    match back {
        Back::Driven(driven) => {
            let asked = Cancel::default();
            asked.ask(0);
            drive(*driven, &Stay::ToTheEnd, &asked, global, console).await?;
        }
        Back::Ended(_) => {}
        Back::Late | Back::Interrupted => return Ok(interrupted(&signals)),
    }
    let id = folder.id();
    console.tell(&if had_ended {
        format!("run {id} had ended already")
    } else {
        format!("run {id} has ended")
    });
    Ok(Exit::Passed)
}

/// What came of coming back to a run.
enum Back {
    Driven(Box<Driven>),
    Ended(u8),
    Late,
    Interrupted,
}

/// Waits until the run has ended or nobody else drives it, and shows meanwhile what its driver does.
async fn come_back(
    folder: &RunFolder,
    purpose: &str,
    deadline: Option<Instant>,
    signals: &Cancel,
    console: &Arc<Console>,
) -> Result<Back, Error> {
    let mut following: Option<Following> = None;
    loop {
        let reopened = tokio::task::block_in_place(|| reopen(folder, purpose))?;
        if let Some(following) = &mut following {
            // The driver before may have had a last word.
            tokio::task::block_in_place(|| following.look());
        }
        let claim = match reopened {
            Reopened::Driven(driven) => return Ok(Back::Driven(driven)),
            Reopened::Ended(code) => return Ok(Back::Ended(code)),
            Reopened::Held(claim) => claim,
        };
        let following = match &mut following {
            Some(following) => following,
            none => {
                let text = format!("waiting for run {}: {}", folder.id(), held(&claim));
                console.tell(&text);
                none.insert(Following::begin(folder, &console.observer())?)
            }
        };
        let begin = Instant::now();
        while is_driven(folder, following, begin)? {
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return Ok(Back::Late);
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = signals.token().cancelled() => return Ok(Back::Interrupted),
            }
            tokio::task::block_in_place(|| following.look());
        }
    }
}

/// Whether there is no use yet in taking a run over that somebody else had then.
fn is_driven(folder: &RunFolder, following: &Following, then: Instant) -> Result<bool, Error> {
    let life = known::claim(folder)?.map(|claim| claim.life);
    Ok(!following.has_ended()
        && match life {
            Some(Life::Alive) => true,
            Some(Life::Elsewhere) => then.elapsed() < REOPEN,
            Some(Life::Released | Life::Dead) | None => false,
        })
}

/// Who has a run, and when that will be over if it does not live.
fn held(claim: &Claim) -> String {
    if claim.life == Life::Elsewhere {
        return format!("{claim} has it; without a sign of life for a minute, it is taken over");
    }
    format!("{claim} has it")
}

/// Does what can be done for a run now.
async fn pass_by(
    folder: &RunFolder,
    cancel: &Cancel,
    global: &Global,
    console: &Arc<Console>,
) -> Result<Exit, Error> {
    match tokio::task::block_in_place(|| reopen(folder, PASSING))? {
        Reopened::Driven(driven) => drive(*driven, &Stay::Briefly, cancel, global, console).await,
        Reopened::Ended(code) => again(folder, code, global, console),
        Reopened::Held(claim) => {
            console.tell(&format!("run {}: {}", folder.id(), held(&claim)));
            Ok(Exit::Unfinished)
        }
    }
}

/// Prints the result of a run that has ended.
fn again(folder: &RunFolder, code: u8, global: &Global, console: &Console) -> Result<Exit, Error> {
    let summary =
        foreign::read_to_string(folder.summary(), foreign::DOCUMENT).map_err(Error::File)?;
    console.say(&summary);
    let exit = Exit::of_run(code);
    print_results(folder, exit, global)?;
    Ok(exit)
}

fn interrupted(cancel: &Cancel) -> Exit {
    cancel.signal().map_or(Exit::Unfinished, Exit::Signal)
}
