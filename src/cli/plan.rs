//! `plan`: what a run would submit.

use std::fmt::Write as _;
use std::sync::Arc;

use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};

use super::args::{Format, Global, RunArgs};
use super::console::Console;
use super::counted;
use super::setting::Setting;
use super::source::{self, Planned};
use super::strategies::{self, Compared};
use crate::build::instrument::{self, Mode};
use crate::build::{self, preload};
use crate::cancel::Cancel;
use crate::config::{DyingRanks, Walltime};
use crate::drive::folder::RunFolder;
use crate::drive::place;
use crate::drive::request::{self, Made};
use crate::error::{Error, Exit};
use crate::launch::{Keeping, Place};
use crate::plan::{Build, Disposition, JobPlace, Place as BuildPlace, Producer, Revision, Step};
use crate::scheduler::slurm;

/// Arguments of `plan`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hpc-ci plan\n  hpc-ci plan --list --tests-only\n  hpc-ci plan --format json | jq '.steps[].script'"
)]
pub(super) struct PlanArgs {
    /// Print the names of the steps alone.
    #[arg(short, long)]
    list: bool,
    /// Leave the job scripts out.
    #[arg(long)]
    no_scripts: bool,
    #[command(flatten)]
    run: RunArgs,
}

pub(super) async fn plan(
    args: PlanArgs,
    global: &Global,
    console: &Arc<Console>,
) -> Result<Exit, Error> {
    let (planned, common, compared) = planned(&args.run, console, !args.list).await?;
    if args.list {
        let mut names: Vec<&str> = planned
            .plan
            .steps
            .iter()
            .map(|step| step.name.as_str())
            .collect();
        names.push("");
        return super::print_text(&names.join("\n"));
    }
    print(&planned, &common, &compared, global, !args.no_scripts)
}

/// `run --dry-run`.
pub(super) async fn print_plan(
    args: &RunArgs,
    global: &Global,
    console: &Arc<Console>,
) -> Result<Exit, Error> {
    let (planned, common, compared) = planned(args, console, true).await?;
    print(&planned, &common, &compared, global, true)
}

async fn planned(
    args: &RunArgs,
    console: &Arc<Console>,
    compare: bool,
) -> Result<(Planned, request::Common, Vec<Compared>), Error> {
    let setting = Setting::read(args).await?;
    let planned = source::plan(&setting, args, &Cancel::default(), console)?;
    let place = super::place(&setting).await?;
    let common = request::Common {
        project: planned.project.clone(),
        commit: planned.plan.revision.commit.clone(),
        place,
        allocation: match place {
            Place::Allocation => place::allocation_identity(),
            Place::Job | Place::Here => Vec::new(),
        },
        hosts: match place {
            Place::Allocation => place::hosts_of_allocation(),
            Place::Job | Place::Here => Vec::new(),
        },
        limits: request::limits(&setting.site.scheduler.limits),
    };
    let compared = if compare && place == Place::Job {
        let state = setting.path(&setting.site.workspace.state);
        let most = setting.site.scheduler.max_in_flight;
        strategies::compare(&planned, &common, &state, most).await
    } else {
        Vec::new()
    };
    Ok((planned, common, compared))
}

/// One step as it would be submitted.
struct Shown {
    script: String,
    submit: String,
}

fn shown(planned: &Planned, common: &request::Common, step: &Step) -> Shown {
    let folder = RunFolder::existing(&planned.workspace, "RUN-ID");
    let tree = planned.workspace.join("trees/RUN-ID").join(&step.build);
    let instrumented = planned
        .plan
        .build(&step.build)
        .is_some_and(|build| build.coverage == Producer::Llvm);
    let library = preload::library(&folder.preload(&step.build));
    let (mode, keeping) = match planned.suite.coverage.dying_ranks {
        DyingRanks::Continuous => (Mode::Continuous, Keeping::Continuous),
        DyingRanks::Auto | DyingRanks::Preload => (
            Mode::AtExit,
            Keeping::Preload(library.to_string_lossy().into_owned()),
        ),
        DyingRanks::Off => (Mode::AtExit, Keeping::Nothing),
    };
    let variables = if instrumented {
        let next = std::env::var("RUSTC_WORKSPACE_WRAPPER").ok();
        instrument::llvm(
            mode,
            &build::rustc_wrapper(&planned.workspace, mode),
            &build::out_dirs(&planned.workspace, &step.build),
            &tree,
            next.as_deref(),
        )
    } else {
        Vec::new()
    };
    let build = Made {
        tree,
        variables,
        keeping,
        disk: planned.disk.clone(),
    };
    let attempt = request::attempt(common, &folder, step, 1, &build, &[]);
    let submit = match common.place {
        Place::Job => {
            let words = std::iter::once("sbatch".to_owned()).chain(slurm::argv(&attempt.request));
            shell_words::join(words)
        }
        Place::Allocation | Place::Here => format!("bash {}", attempt.request.script),
    };
    Shown {
        script: attempt.script,
        submit,
    }
}

fn print(
    planned: &Planned,
    common: &request::Common,
    compared: &[Compared],
    global: &Global,
    scripts: bool,
) -> Result<Exit, Error> {
    if global.format == Format::Json {
        return super::print_json(&document(planned, common, compared));
    }
    let steps = planned.plan.steps.iter();
    let with_scripts = steps.filter(|step| scripts && step.runs()).map(|step| {
        let shown = shown(planned, common, step);
        format!(
            "\n##### {}\n##### {}\n{}\n",
            step.name.replace('\n', " "),
            shown.submit,
            shown.script
        )
    });
    let head = text(planned, common, compared);
    super::print_texts(std::iter::once(head).chain(with_scripts))
}

fn document<'p>(
    planned: &'p Planned,
    common: &'p request::Common,
    compared: &[Compared],
) -> Document<'p> {
    Document {
        schema_version: 1,
        revision: &planned.plan.revision,
        place: place_name(common.place),
        builds: &planned.plan.builds,
        steps: Steps { planned, common },
        coverage: &planned.plan.coverage,
        node_hours: planned.plan.node_hours(),
        strategies: strategies::document(compared),
        notes: &planned.plan.notes,
    }
}

#[derive(Serialize)]
struct Document<'p> {
    schema_version: u32,
    revision: &'p Revision,
    place: &'static str,
    builds: &'p [Build],
    steps: Steps<'p>,
    coverage: &'p BuildPlace,
    node_hours: f64,
    strategies: Value,
    notes: &'p [String],
}

/// The steps with their scripts, each made as it is written: thousands of them would fill the memory.
struct Steps<'p> {
    planned: &'p Planned,
    common: &'p request::Common,
}

impl Serialize for Steps<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.planned.plan.steps.iter().map(|step| {
            let shown = shown(self.planned, self.common, step);
            json!({
                "step": step,
                "node_hours": step.node_hours(),
                "submit": shown.submit,
                "script": shown.script,
            })
        }))
    }
}

fn place_name(place: Place) -> &'static str {
    match place {
        Place::Job => "slurm",
        Place::Allocation => "allocation",
        Place::Here => "local",
    }
}

fn text(planned: &Planned, common: &request::Common, compared: &[Compared]) -> String {
    let plan = &planned.plan;
    let mut text = String::new();
    let line = |text: &mut String, line: String| {
        writeln!(text, "{line}").expect("a String takes any text");
    };
    let runs = plan.steps.iter().filter(|step| step.runs()).count();
    line(
        &mut text,
        format!(
            "{} of {} at {}: {}, {}, {:.2} node-hours at most, {}",
            if plan.revision.dirty {
                "work tree"
            } else {
                "commit"
            },
            planned.project,
            plan.revision.commit,
            counted(runs, "step"),
            counted(plan.builds.len(), "build"),
            plan.node_hours(),
            match common.place {
                Place::Job => "as Slurm jobs",
                Place::Allocation => "as job steps of this allocation",
                Place::Here => "on this machine",
            },
        ),
    );
    for build in &plan.builds {
        line(
            &mut text,
            format!(
                "build  {}  coverage {}{}",
                build.id,
                build.coverage,
                build_place(build, common.place)
            ),
        );
    }
    if let BuildPlace::Job(job) = &plan.coverage {
        line(
            &mut text,
            format!("coverage{}", job_place(job, common.place)),
        );
    }
    let width = plan
        .steps
        .iter()
        .map(|step| step.name.chars().count())
        .max()
        .unwrap_or(0);
    for step in &plan.steps {
        line(
            &mut text,
            format!("step   {:width$}  {}", step.name, resources(step)),
        );
    }
    for compared in strategies::lines(compared) {
        line(&mut text, compared);
    }
    for note in &plan.notes {
        line(&mut text, format!("note   {note}"));
    }
    text
}

/// What the job of a build asks for, where it has one.
fn build_place(build: &Build, place: Place) -> String {
    match &build.place {
        BuildPlace::Job(job) => job_place(job, place),
        BuildPlace::Here => String::new(),
    }
}

fn job_place(job: &JobPlace, place: Place) -> String {
    if place != Place::Job {
        return " · here: there are no jobs".to_owned();
    }
    let mut parts = vec![" · in a job".to_owned()];
    parts.extend(job.cpus.map(|cpus| counted(cpus as usize, "cpu")));
    parts.extend(job.memory.map(|memory| memory.to_string()));
    parts.extend(
        job.partition
            .as_ref()
            .map(|name| format!("partition {name}")),
    );
    parts.push(format!("time {}", Walltime::from_secs(job.time.as_secs())));
    parts.join(" · ")
}

fn resources(step: &Step) -> String {
    match &step.disposition {
        Disposition::Run => {}
        Disposition::Skip { reason } => return format!("skipped: {reason}"),
        Disposition::Refuse { reason, help } => return format!("refused: {reason}; {help}"),
    }
    let resources = &step.resources;
    let mut parts = vec![counted(resources.ranks as usize, "rank")];
    parts.extend(resources.nodes.map(|nodes| counted(nodes as usize, "node")));
    parts.extend(
        resources
            .cpus_per_rank
            .map(|cpus| format!("{cpus} cpus a rank")),
    );
    parts.extend(
        resources
            .gpus_per_rank
            .map(|gpus| format!("{gpus} gpus a rank")),
    );
    parts.extend(
        resources
            .partition
            .as_ref()
            .map(|partition| format!("partition {partition}")),
    );
    parts.push(format!(
        "time {}",
        Walltime::from_secs(resources.time.as_secs())
    ));
    parts.push(format!("{:.2} node-hours", step.node_hours()));
    parts.push(format!("build {}", step.build));
    if !step.needs.is_empty() {
        parts.push(format!("needs {}", step.needs.join(", ")));
    }
    parts.join(" · ")
}
