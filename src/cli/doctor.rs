//! `doctor`: checks this machine against the plan.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::args::{Format, Global, RunArgs, SchedulerChoice};
use super::console::Console;
use super::counted;
use super::setting::{OF_STATE, OF_WORKSPACE, Setting};
use crate::build::environment::Setup;
use crate::config::{Suite, TokenSource, Walltime};
use crate::doctor::facts::{Folder, TokenWanted};
use crate::doctor::{self, Finding, Level, Report, Subject};
use crate::drive::folder::RunFolder;
use crate::drive::place;
use crate::drive::request::{self, Made};
use crate::drive::trees::Credentials;
use crate::error::{Error, Exit};
use crate::git::Source;
use crate::launch::Place;
use crate::plan::{self, Disposition, Plan, Revision, Selection, Step};
use crate::scheduler::JobRequest;

/// Arguments of `doctor`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hpc-ci doctor\n  hpc-ci doctor --wait 10m                  where nodes are seldom free at once\n  hpc-ci doctor --format json | jq '.findings[] | select(.level == \"error\")'\n\nExit codes:\n  0 no error was found · 2 hpc.toml has mistakes · 3 something else stands in the way of a run"
)]
pub(super) struct DoctorArgs {
    /// The configuration; without it, hpc.toml here or in a parent directory, or what holds without any.
    #[arg(long, env = "HPC_CI_CONFIG", value_name = "PATH")]
    config: Option<PathBuf>,
    /// Where steps would run.
    #[arg(long, value_enum, value_name = "WHERE")]
    scheduler: Option<SchedulerChoice>,
    /// How long to wait for a node to look from; 0s asks none.
    #[arg(long, value_name = "TIME", default_value = "5s")]
    wait: Walltime,
}

pub(super) async fn doctor(
    args: DoctorArgs,
    global: &Global,
    console: &Arc<Console>,
) -> Result<Exit, Error> {
    let run = RunArgs {
        config: args.config.clone(),
        scheduler: args.scheduler,
        ..RunArgs::default()
    };
    let (mut findings, setting) = settings(&run).await?;
    let planned = planned(&setting, &mut findings);
    let place = place::choose(setting.site.scheduler.kind).await;
    let is_usage = findings.iter().any(|finding| finding.level == Level::Error);
    let subject = Subject {
        settings: findings,
        wait: args.wait.duration(),
        ..subject(&setting, planned, place)
    };
    console.show_activity("looking around");
    let report = doctor::examine(&subject, place).await;
    console.show_activity("");
    print(&report, global, console)?;
    Ok(match report.worst() {
        Level::Error if is_usage => Exit::Usage,
        Level::Error => Exit::Infrastructure,
        Level::Ok | Level::Note | Level::Warning => Exit::Passed,
    })
}

fn print(report: &Report, global: &Global, console: &Console) -> Result<Exit, Error> {
    if global.format == Format::Json {
        return super::print_json(&report.document());
    }
    let color = console.color() && std::io::stdout().is_terminal();
    super::print_text(&report.text(color))
}

/// Reads the settings. Mistakes become findings, and what holds without a file is looked at instead.
async fn settings(run: &RunArgs) -> Result<(Vec<Finding>, Setting), Error> {
    const CHECK: &str = "settings.file";
    let finding = match Setting::read(run).await {
        Ok(setting) => {
            let path = setting.local.path.display();
            return Ok((vec![Finding::ok(CHECK, format!("`{path}`"))], setting));
        }
        Err(error @ Error::NoConfig { .. }) if run.config.is_none() => {
            Finding::note(CHECK, error.to_string()).remedy("`hpc-ci init` writes one")
        }
        Err(error) => mistakes(CHECK, &error),
    };
    // A broken site file would be in the way again: then there is nothing to go on with.
    let setting = Setting::without_file(run).await?;
    Ok((vec![finding], setting))
}

fn mistakes(check: &'static str, error: &Error) -> Finding {
    Finding {
        remedy: error.help(),
        ..Finding::error(check, error.account(), "")
    }
}

/// Plans a run of what the local file says, as far as that is possible.
fn planned(setting: &Setting, findings: &mut Vec<Finding>) -> Option<(Suite, Plan)> {
    const CHECK: &str = "settings.plan";
    let made = setting.local_suite().and_then(|suite| {
        let selection = Selection {
            environment: setting.visible(),
            ..Selection::default()
        };
        let plan = plan::plan(&setting.site, &suite, &Revision::default(), &selection)?;
        Ok((suite, plan))
    });
    match made {
        Ok((suite, plan)) => {
            let runs = plan.steps.iter().filter(|step| step.runs()).count();
            findings.push(Finding::ok(
                CHECK,
                format!(
                    "{}, {}",
                    counted(runs, "step"),
                    counted(plan.builds.len(), "build")
                ),
            ));
            findings.extend(plan.steps.iter().filter_map(refusal));
            findings.extend(plan.notes.iter().map(|note| Finding::note(CHECK, note)));
            Some((suite, plan))
        }
        Err(error) => {
            // Without a file there is nothing to plan, which was said already.
            if findings.iter().all(|finding| finding.level == Level::Ok) {
                findings.push(mistakes(CHECK, &error));
            }
            None
        }
    }
}

fn refusal(step: &Step) -> Option<Finding> {
    let Disposition::Refuse { reason, help } = &step.disposition else {
        return None;
    };
    let saw = format!("step `{}` is refused: {reason}", step.name);
    Some(Finding::warning("settings.plan", saw, help))
}

fn subject(setting: &Setting, planned: Option<(Suite, Plan)>, place: Place) -> Subject {
    let site = &setting.site;
    let workspace = &site.workspace;
    let folder = |key, path: &str, shared, inner| Folder {
        key,
        path: setting.path(path),
        shared,
        inner,
    };
    let setup = planned.as_ref().map_or_else(Setup::default, |(suite, _)| {
        request::setup(&suite.environment)
    });
    let (steps, builds) = planned.map_or_else(Default::default, |(_, plan)| {
        let steps = plan.steps.into_iter().filter(Step::runs);
        (steps.collect::<Vec<_>>(), plan.builds)
    });
    let source = Source::open(&site.project.repository, &setting.base);
    let credentials = Credentials::from_environment(source.as_ref().ok().and_then(Source::remote));
    // Without a file nobody asks for a repository.
    let source = Some(source).filter(|source| source.is_ok() || setting.local.path.is_file());
    Subject {
        base: setting.base.clone(),
        source,
        ssh_key: credentials.ssh_key,
        token: credentials.token,
        folders: vec![
            folder("root", &workspace.root, true, Some(OF_WORKSPACE)),
            folder("state", &workspace.state, false, Some(OF_STATE)),
            folder("artifacts", &workspace.artifacts, false, None),
        ],
        node_scratch: workspace.node_scratch.clone(),
        kind: site.scheduler.kind,
        max_in_flight: site.scheduler.max_in_flight,
        requests: requests(setting, &steps, place),
        steps,
        builds,
        setup,
        inherited: setting.inherited(),
        tokens: tokens(setting),
        ..Subject::default()
    }
}

/// What Slurm would be asked for: steps that ask for the same are one kind.
fn requests(setting: &Setting, steps: &[Step], place: Place) -> Vec<(Vec<String>, JobRequest)> {
    let common = request::Common {
        project: setting.site.project.name.clone().unwrap_or_default(),
        commit: String::new(),
        place,
        allocation: Vec::new(),
        hosts: Vec::new(),
        limits: request::limits(&setting.site.scheduler.limits),
    };
    let workspace = setting.path(&setting.site.workspace.root);
    let folder = RunFolder::existing(&workspace, "doctor");
    let mut kinds: Vec<(Vec<String>, JobRequest)> = Vec::new();
    for step in steps {
        let made = request::attempt(&common, &folder, step, 1, &Made::default(), &[]);
        let request = JobRequest {
            name: "hpc-ci/doctor".to_owned(),
            comment: None,
            script: String::new().into(),
            output: "/dev/null".into(),
            cwd: "/".into(),
            ..made.request
        };
        match kinds.iter_mut().find(|(_, kind)| *kind == request) {
            Some((names, _)) => names.push(step.name.clone()),
            None => kinds.push((vec![step.name.clone()], request)),
        }
    }
    kinds
}

fn tokens(setting: &Setting) -> Vec<TokenWanted> {
    let publish = &setting.site.publish;
    let wanted = |table, token: &TokenSource, optional| TokenWanted {
        table,
        variable: token.env.clone(),
        file: token.file.as_ref().map(|path| setting.path(path)),
        optional,
    };
    let codecov = publish.codecov.as_ref();
    let branch = publish.results_branch.as_ref();
    let github = publish.github.as_ref();
    let gitlab = publish.gitlab.as_ref();
    [
        codecov.map(|it| wanted("publish.codecov", &it.token, false)),
        // Over ssh, and to a path, a branch is pushed without.
        branch.map(|it| wanted("publish.results_branch", &it.token, true)),
        github.map(|it| wanted("publish.github", &it.token, false)),
        gitlab.map(|it| wanted("publish.gitlab", &it.token, false)),
    ]
    .into_iter()
    .flatten()
    .collect()
}
