//! `run`: the whole pipeline.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::args::{Format, Global, RunArgs};
use super::console::{self, Console};
use super::setting::Setting;
use super::source::{self, Planned};
use crate::cancel::Cancel;
use crate::drive::folder::RunFolder;
use crate::drive::gc::sweep;
use crate::drive::start::{self, Begun};
use crate::drive::{self, Driven, Driving, Left, Scope, Stay, Withheld};
use crate::error::{Error, Exit};
use crate::foreign;
use crate::launch::Place;

pub(super) async fn run(
    args: RunArgs,
    global: &Global,
    console: &Arc<Console>,
) -> Result<Exit, Error> {
    if args.dry_run {
        return super::plan::print_plan(&args, global, console).await;
    }
    send_events(global, console);
    let cancel = crate::cancel::watch().map_err(Error::Runtime)?;
    let setting = Setting::read(&args).await?;
    let place = super::place(&setting).await?;
    if args.detach && place != Place::Job {
        return Err(Error::NothingToDetach);
    }
    let planned = source::plan(&setting, &args, &cancel, console)?;
    let inherited = setting.inherited();
    let withheld = setting.withheld();
    if global.verbose > 0 && !withheld.is_empty() {
        console.tell(&format!(
            "withheld from builds and steps: {}",
            withheld.join(" ")
        ));
    }
    let commit = planned.plan.revision.commit.clone();
    let request = request(&setting, &args, planned, place);
    if args.if_idle
        && let Some(other) = start::unfinished(&request.workspace)?
    {
        console.tell(&format!("run {other} has not ended; nothing to do"));
        return Ok(Exit::Passed);
    }
    let begun = tokio::task::block_in_place(|| start::begin(request, inherited, args.if_new))?;
    let driven = match begun {
        Begun::Driven(driven) => *driven,
        Begun::Tested { run, exit_code } => {
            let how = exit_code.map_or_else(
                || "and has not ended".to_owned(),
                |code| format!("and ended with exit code {code}"),
            );
            console.tell(&format!("run {run} tests {commit} already {how}"));
            return Ok(Exit::Passed);
        }
        Begun::Busy(busy) if args.if_idle => {
            console.tell(&format!("run {}: {}; nothing to do", busy.run, busy.why));
            return Ok(Exit::Passed);
        }
        Begun::Busy(busy) => {
            return Err(Error::Busy {
                run: busy.run,
                why: busy.why,
            });
        }
    };
    let stay = if args.detach {
        Stay::UntilSubmitted
    } else {
        Stay::ToTheEnd
    };
    drive(driven, &stay, &cancel, global, console).await
}

/// Drives a run, with its log, at the priority that its place asks for.
pub(super) async fn drive(
    mut driven: Driven,
    stay: &Stay,
    cancel: &Cancel,
    global: &Global,
    console: &Arc<Console>,
) -> Result<Exit, Error> {
    let request = driven.request();
    let (run, revision) = (driven.folder().id(), &request.plan.revision);
    let begins = format!("run {run} of {}", revision.commit);
    console.announce(
        &begins,
        "run",
        || json!({ "run": run, "commit": revision.commit, "branch": revision.branch }),
    );
    be_nice(request.place, request.site.workspace.nice);
    super::trace::to_file(&driven.folder().log(), global.verbose).map_err(Error::File)?;
    let observer = console.observer();
    let driving = Box::pin(driven.drive(stay, &observer, cancel, console.color())).await?;
    let finished = match driving {
        Driving::Ended(finished) => finished,
        Driving::Left(left) => {
            let detached = matches!(stay, Stay::UntilSubmitted);
            return Ok(leave(left, detached, cancel, console));
        }
    };
    console.say_styled(&finished.summary);
    // The run has not ended before its results are on their way: whoever goes on with it sends them.
    let publishing = super::publish::after_run(driven.request(), cancel, console);
    let published = publishing.await.unwrap_or_else(|error| {
        console.say_styled(&error.report(console.color()));
        false
    });
    driven.finish(&finished)?;
    tidy(driven.request(), console);
    let exit = match (cancel.signal(), finished.exit_code) {
        (Some(signal), _) => Exit::Signal(signal),
        (None, 0) if !published => Exit::Publish,
        (None, code) => Exit::of_run(code),
    };
    print_results(driven.folder(), exit, global)?;
    Ok(exit)
}

/// Tells programs what happens, if that is asked for.
pub(super) fn send_events(global: &Global, console: &Console) {
    if global.format == Format::Json {
        console.send_events();
    }
}

/// Removes what is beyond `keep_runs` and `keep_limit`.
fn tidy(request: &drive::Request, console: &Console) {
    let keep = super::gc::keep(&request.site.workspace);
    let sweeping = || sweep(&request.workspace, &request.artifacts, keep, false);
    match tokio::task::block_in_place(sweeping) {
        Ok(swept) if swept.runs.is_empty() => {}
        Ok(swept) => console.tell(&format!("removed {}", super::gc::told(&swept))),
        Err(error) => tracing::warn!(%error, "old runs could not be removed"),
    }
}

/// Prints the results of a run that has ended, where a program reads: its last event.
pub(super) fn print_results(folder: &RunFolder, exit: Exit, global: &Global) -> Result<(), Error> {
    if global.format == Format::Json {
        let document = foreign::read(folder.results(), foreign::DOCUMENT).map_err(Error::File)?;
        let document = serde_json::from_slice::<Map<String, Value>>(&document);
        let mut fields = document.map_err(|error| Error::Drive(error.into()))?;
        fields.insert("exit_code".to_owned(), exit.code().into());
        super::print(console::event_line("results", Value::Object(fields)).as_bytes())?;
    }
    Ok(())
}

/// The exit code of a driver that leaves a run before its end.
fn leave(left: Left, detached: bool, cancel: &Cancel, console: &Console) -> Exit {
    let Left {
        live,
        waiting,
        coverage,
    } = left;
    let (exit, text) = match (cancel.signal(), detached, waiting) {
        (Some(signal), _, _) => (
            Exit::Signal(signal),
            format!("interrupted: {live} steps have a job, {waiting} wait"),
        ),
        (None, _, _) if coverage => (
            Exit::Unfinished,
            "not finished yet: all steps have ended, and coverage is being made in a job"
                .to_owned(),
        ),
        (None, false, _) => (
            Exit::Unfinished,
            format!("not finished yet: {live} steps have a job, {waiting} wait"),
        ),
        (None, true, 0) => (
            Exit::Passed,
            format!(
                "{live} steps are left to Slurm; `hpc-ci resume` or `hpc-ci wait` collects them"
            ),
        ),
        (None, true, _) => (
            Exit::Unfinished,
            format!(
                "{live} steps are left to Slurm, {waiting} cannot be submitted yet; `hpc-ci resume` goes on with them"
            ),
        ),
    };
    console.announce(
        &text,
        "left",
        || json!({ "live": live, "waiting": waiting, "coverage": coverage }),
    );
    exit
}

fn request(setting: &Setting, args: &RunArgs, planned: Planned, place: Place) -> drive::Request {
    let site = setting.site.clone();
    let mut again = vec!["hpc-ci".to_owned()];
    if args.in_place {
        again.push("--in-place".to_owned());
    } else {
        again.extend(["--commit".to_owned(), planned.plan.revision.commit.clone()]);
    }
    if let Some(config) = &args.config {
        again.extend(["--config".to_owned(), config.display().to_string()]);
    }
    if args.scheduler.is_some() {
        again.extend(["--scheduler".to_owned(), site.scheduler.kind.to_string()]);
    }
    drive::Request {
        artifacts: setting.path(&site.workspace.artifacts),
        state: setting.path(&site.workspace.state),
        coverage: planned.suite.coverage,
        plan: planned.plan,
        origin: planned.origin,
        workspace: planned.workspace,
        place,
        clean: args.clean,
        filtered: source::is_filtered(args),
        scope: Scope {
            tests: !args.benchmarks_only,
            benchmarks: !args.tests_only,
            coverage: !args.no_coverage && !args.benchmarks_only,
        },
        project: planned.project,
        key: planned.key,
        baselines: planned.baselines,
        past: planned.history,
        source: planned.source,
        credentials: planned.credentials,
        again,
        command_line: std::env::args().collect(),
        base: setting.base.clone(),
        withheld: Withheld {
            all: args.no_publish,
            codecov: args.no_codecov,
        },
        site,
    }
}

/// On a login node others want to work too. Steps that run here measure times, and keep their priority.
fn be_nice(place: Place, by: u32) {
    if place != Place::Job {
        return;
    }
    let by = i32::try_from(by).unwrap_or(0);
    if let Err(error) = rustix::process::nice(by) {
        tracing::debug!(%error, "the priority could not be lowered");
    }
}
