//! `run`: the whole pipeline.

use std::sync::Arc;

use super::args::{Format, Global, RunArgs};
use super::console::Console;
use super::setting::Setting;
use super::source::{self, Planned};
use crate::build::environment::scrub;
use crate::drive::progress::{Observer, Progress};
use crate::drive::{self, Scope, place};
use crate::error::{Error, Exit};
use crate::launch::Place;

pub(super) async fn run(
    args: RunArgs,
    global: &Global,
    console: &Arc<Console>,
) -> Result<Exit, Error> {
    if args.dry_run {
        return super::plan::print_plan(&args, global, console).await;
    }
    let cancel = crate::cancel::watch().map_err(Error::Runtime)?;
    let setting = Setting::read(&args).await?;
    let planned = source::plan(&setting, &args, &cancel, console)?;
    let folder = source::new_folder(&planned.workspace);
    let place = place::choose(setting.site.scheduler.kind).await;
    be_nice(place, setting.site.workspace.nice);
    folder.create().map_err(Error::File)?;
    super::trace::to_file(&folder.log(), global.verbose).map_err(Error::File)?;
    let inherited = scrub(std::env::vars_os(), &setting.token_variables());
    let observer = observer(console);
    console.tell(&format!(
        "run {} of {}",
        folder.id(),
        planned.plan.revision.commit
    ));
    let finished = drive::run(
        request(&setting, &args, planned, place),
        folder,
        inherited,
        &observer,
        &cancel,
        console.color(),
    )
    .await?;
    console.say(&finished.summary);
    if global.format == Format::Json {
        let document =
            fs_err::read(finished.artifacts.join("hpc-results.json")).map_err(Error::File)?;
        super::print(&document)?;
    }
    if let Some(signal) = cancel.signal() {
        return Ok(Exit::Signal(signal));
    }
    let in_allocation = place == Place::Allocation;
    let published = super::publish::after_run(
        &setting,
        &args,
        in_allocation,
        &finished.artifacts,
        &cancel,
        console,
    )
    .await
    .unwrap_or_else(|error| {
        console.say(&error.report(console.color()));
        false
    });
    Ok(match finished.exit_code {
        0 if !published => Exit::Publish,
        0 => Exit::Passed,
        1 => Exit::Fault,
        _ => Exit::Infrastructure,
    })
}

pub(super) fn observer(console: &Arc<Console>) -> Observer {
    let console = Arc::clone(console);
    Arc::new(move |event: Progress| console.show(event))
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
        baselines: planned.baselines,
        past: planned.history,
        source: planned.source,
        credentials: planned.credentials,
        again,
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
