//! `status`, `list` and `report`: what anybody can read of the runs of a workspace. Nothing is touched.

use std::fmt::Write as _;
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clap::Args;
use serde::Serialize;

use super::args::{Format, Global, RunChoice, WorkspaceChoice};
use super::choice;
use super::console::Console;
use crate::clean;
use crate::config::Memory;
use crate::drive::known::{self, Known};
use crate::drive::state::{BuildState, Progress};
use crate::drive::{folder, keep};
use crate::error::{Error, Exit};
use crate::foreign;
use crate::lease::{Claim, Life};
use crate::scheduler::{JobState, Observation, Phase, QueryError, pending};

/// The version of these documents.
const SCHEMA_VERSION: u32 = 1;
/// Digits of a commit that people read.
const SHORT: usize = 10;

/// Arguments of `status`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hpc-ci status                of the latest run; exit code 75 while it has not ended, then that of the run\n  hpc-ci status --format json | jq '.steps[] | select(.state == \"queued\")'"
)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    choice: RunChoice,
}

/// Arguments of `list`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hpc-ci list\n  hpc-ci list --format json | jq -r '.runs[].run'"
)]
pub(super) struct ListArgs {
    #[command(flatten)]
    place: WorkspaceChoice,
}

/// Arguments of `report`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hpc-ci report                of the latest run\n  hpc-ci report --format json | jq -r '.steps[].name'"
)]
pub(super) struct ReportArgs {
    #[command(flatten)]
    choice: RunChoice,
}

pub(super) async fn status(args: StatusArgs, global: &Global) -> Result<Exit, Error> {
    let known = Known::read(choice::run(&args.choice).await?)?;
    let seen = known.observe().await;
    let status = Status::of(&known, seen);
    match global.format {
        Format::Json => super::print_json(&json(&status)?)?,
        Format::Human => super::print_text(&status.text())?,
    };
    Ok(known
        .state
        .exit_code()
        .map_or(Exit::Unfinished, Exit::of_run))
}

pub(super) async fn list(
    args: ListArgs,
    global: &Global,
    console: &Console,
) -> Result<Exit, Error> {
    let workspace = choice::workspace(&args.place).await?;
    let mut rows = Vec::new();
    for folder in folder::all(&workspace)? {
        let id = folder.id().to_owned();
        match Known::read(folder) {
            Ok(known) => rows.push(Row::of(&known)?),
            Err(error) => console.tell(&format!("run {id}: {error}")),
        }
    }
    match global.format {
        Format::Json => {
            let document = serde_json::json!({
                "schema_version": SCHEMA_VERSION,
                "workspace": workspace,
                "runs": json(&rows)?,
            });
            super::print_json(&document)
        }
        Format::Human => super::print_text(&table(&rows)),
    }
}

pub(super) async fn report(args: ReportArgs, global: &Global) -> Result<Exit, Error> {
    let folder = choice::run(&args.choice).await?;
    let path = match global.format {
        Format::Json => folder.record(),
        Format::Human => folder.summary(),
    };
    if !folder.has_ended() {
        let known = Known::read(folder)?;
        let text = Status::of(&known, Ok(Observation::default())).text();
        super::print_text(&text)?;
        return Ok(Exit::Unfinished);
    }
    let text = foreign::read(path, foreign::DOCUMENT).map_err(Error::File)?;
    let text = String::from_utf8_lossy(&text);
    let mut text = match global.format {
        Format::Json => clean::json(&text),
        Format::Human => clean::painted(&text),
    };
    if !text.ends_with('\n') {
        text.push('\n');
    }
    super::print(text.as_bytes())
}

fn json<T: Serialize>(document: &T) -> Result<serde_json::Value, Error> {
    serde_json::to_value(document).map_err(|error| Error::Drive(error.into()))
}

/// What `status` tells.
#[derive(Debug, Serialize)]
struct Status {
    schema_version: u32,
    run: String,
    project: String,
    commit: String,
    branch: Option<String>,
    started_at: DateTime<Utc>,
    exit_code: Option<u8>,
    stopping: bool,
    driver: Option<Driver>,
    /// Why the scheduler gives no answer, if it gives none.
    scheduler: Option<String>,
    builds: Vec<Build>,
    steps: Vec<Step>,
    /// The job in which the coverage is being made.
    coverage_job: Option<String>,
}

#[derive(Debug, Serialize)]
struct Driver {
    host: String,
    pid: u32,
    purpose: String,
    since: DateTime<Utc>,
    life: Life,
    #[serde(skip)]
    shown: String,
}

#[derive(Debug, Serialize)]
struct Build {
    name: String,
    state: &'static str,
    seconds: Option<f64>,
    message: Option<String>,
}

#[derive(Debug, Serialize)]
struct Step {
    name: String,
    /// `waiting`, `submitting`, `submitted`, `queued`, `running`, or how it ended.
    state: String,
    attempt: u32,
    job_id: Option<String>,
    /// Why it is queued, in the scheduler's words, or what happened.
    message: Option<String>,
    nodes: Vec<String>,
    /// What was kept of its last attempt.
    kept: Option<Kept>,
}

#[derive(Debug, Serialize)]
struct Kept {
    folder: PathBuf,
    files: usize,
    bytes: u64,
}

impl Kept {
    fn of(known: &Known, slug: &str, attempt: u32) -> Option<Self> {
        let (folder, kept) = keep::kept(&known.folder.attempt(slug, attempt))?;
        Some(Self {
            folder,
            files: kept.count(),
            bytes: kept.bytes(),
        })
    }

    /// Where it is, for a person.
    fn told(&self) -> String {
        let plural = if self.files == 1 { "" } else { "s" };
        let size = Memory::from_bytes(self.bytes).rounded();
        format!(
            "{} file{plural} ({size}) kept in {}",
            self.files,
            self.folder.display()
        )
    }
}

impl Status {
    fn of(known: &Known, seen: Result<Observation, QueryError>) -> Self {
        let (seen, silence) = match seen {
            Ok(seen) => (seen, None),
            Err(error) => (Observation::default(), Some(error.to_string())),
        };
        let state = &known.state;
        let revision = &known.plan.revision;
        let builds = known.plan.builds.iter().map(|build| {
            let (state, seconds, message) = match state.build(&build.id) {
                Some(BuildState::Built { seconds }) => ("built", Some(*seconds), None),
                Some(BuildState::Failed(failure)) => {
                    ("failed", None, Some(failure.message.clone()))
                }
                Some(BuildState::Pending) | None => match known.build_jobs.get(&build.id) {
                    Some(job) => ("submitted", None, Some(format!("job {job}"))),
                    None => ("pending", None, None),
                },
            };
            Build {
                name: build.id.clone(),
                state,
                seconds,
                message,
            }
        });
        let steps = known
            .plan
            .steps
            .iter()
            .zip(state.steps())
            .map(|(step, state)| {
                let mut shown = Step {
                    name: step.name.clone(),
                    state: String::new(),
                    attempt: state.attempt,
                    job_id: None,
                    message: None,
                    nodes: Vec::new(),
                    kept: None,
                };
                match &state.progress {
                    Progress::Waiting => "waiting".clone_into(&mut shown.state),
                    Progress::Submitting(_) => "submitting".clone_into(&mut shown.state),
                    Progress::Live(job) => {
                        shown.job_id = Some(job.id.to_string());
                        let status = seen.jobs.get(&job.id);
                        status
                            .map_or("submitted", |status| phase(&status.state))
                            .clone_into(&mut shown.state);
                        if let Some(status) = status {
                            shown.message.clone_from(&status.reason);
                            shown.nodes.clone_from(&status.nodes);
                        }
                    }
                    Progress::Done(verdict) => {
                        shown.state = verdict.outcome.to_string();
                        shown.message = Some(verdict.message.clone());
                        shown.kept = Kept::of(known, &step.slug, state.attempt);
                    }
                }
                shown
            });
        Self {
            schema_version: SCHEMA_VERSION,
            run: known.folder.id().to_owned(),
            project: known.stored.project.clone(),
            commit: revision.commit.clone(),
            branch: revision.branch.clone(),
            started_at: known.stored.started_at,
            exit_code: state.exit_code(),
            stopping: state.stopping(),
            driver: driver(known.claim.as_ref()),
            scheduler: silence,
            builds: builds.collect(),
            steps: steps.collect(),
            coverage_job: known.coverage_job.as_ref().map(ToString::to_string),
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |line: String| writeln!(text, "{line}").expect("a String takes any text");
        let branch = self
            .branch
            .as_ref()
            .map_or(String::new(), |branch| format!(" ({branch})"));
        line(format!(
            "run {} of {} at {}{branch}, since {}",
            self.run,
            self.project,
            short(&self.commit),
            self.started_at.format("%Y-%m-%d %H:%M:%S UTC"),
        ));
        line(match (self.exit_code, &self.driver) {
            (Some(code), _) => format!("ended with exit code {code}"),
            (None, Some(driver)) if driver.life == Life::Alive => driver.shown.clone(),
            (None, Some(driver)) if driver.life == Life::Elsewhere => {
                format!("{}, as far as one can see from here", driver.shown)
            }
            (None, Some(driver)) if driver.life == Life::Released => {
                "nobody drives it; `hpc-ci resume` goes on with it".to_owned()
            }
            (None, _) => "its driver is gone; `hpc-ci resume` goes on with it".to_owned(),
        });
        if let Some(silence) = &self.scheduler {
            line(format!("{silence}: how far jobs are is not known now"));
        }
        for build in &self.builds {
            let took = build
                .seconds
                .map_or(String::new(), |seconds| format!(" in {seconds:.1} s"));
            line(format!("build  {}  {}{took}", build.name, build.state));
        }
        let width = |of: &dyn Fn(&Step) -> usize| self.steps.iter().map(of).max().unwrap_or(0);
        let name = width(&|step| step.name.chars().count());
        let state = width(&|step| step.state.chars().count());
        for step in &self.steps {
            let mut rest = Vec::new();
            rest.extend(step.job_id.as_ref().map(|job| format!("job {job}")));
            if !step.nodes.is_empty() {
                rest.push(format!("on {}", step.nodes.join(",")));
            }
            rest.extend(step.explained());
            let kept = step.kept.iter().filter(|kept| kept.files > 0);
            rest.extend(kept.map(Kept::told));
            let shown = format!(
                "step   {:name$}  {:state$}  {}",
                step.name,
                step.state,
                rest.join("  ")
            );
            line(shown.trim_end().to_owned());
        }
        if let Some(job) = &self.coverage_job {
            line(format!("coverage  submitted  job {job}"));
        }
        text
    }
}

impl Step {
    /// What happened to it, or why it waits, for a person.
    fn explained(&self) -> Option<String> {
        let message = self.message.as_ref().filter(|_| self.state != "passed")?;
        if self.state != "queued" {
            return Some(message.clone());
        }
        let meaning = pending::meaning(message);
        let job = self.job_id.as_deref().unwrap_or_default();
        let help = meaning.help.map(|help| help.replace("JOB", job));
        let help = help.map_or(String::new(), |help| format!("; {help}"));
        let why = if meaning.clears {
            "waits for"
        } else {
            "never starts:"
        };
        Some(format!("{message}: {why} {}{help}", meaning.text))
    }
}

fn driver(claim: Option<&Claim>) -> Option<Driver> {
    let claim = claim?;
    let holder = claim.holder.as_ref()?;
    Some(Driver {
        host: holder.host.clone(),
        pid: holder.pid,
        purpose: holder.purpose.clone(),
        since: holder.since,
        life: claim.life,
        shown: claim.to_string(),
    })
}

fn phase(state: &JobState) -> &'static str {
    match state.phase() {
        Phase::Waiting => "queued",
        Phase::Running => "running",
        Phase::Ended => "ending",
        Phase::Unknown => "unknown",
    }
}

fn short(commit: &str) -> String {
    commit.chars().take(SHORT).collect()
}

/// A run in the list.
#[derive(Debug, Serialize)]
struct Row {
    run: String,
    started_at: DateTime<Utc>,
    commit: String,
    branch: Option<String>,
    /// The status of a run that has ended; else `driven`, `left` to be resumed, or `interrupted`.
    status: String,
    exit_code: Option<u8>,
    steps: usize,
    ended: usize,
    passed: usize,
}

impl Row {
    fn of(known: &Known) -> Result<Self, Error> {
        let steps = known.state.steps();
        let ended = steps.iter().filter_map(|step| step.verdict());
        let status = match known::entry(&known.folder)? {
            Some(entry) => entry.status.to_string(),
            None if known.is_driven() => "driven".to_owned(),
            None => match known.claim.as_ref().map(|claim| claim.life) {
                Some(Life::Released) => "left".to_owned(),
                _ => "interrupted".to_owned(),
            },
        };
        Ok(Self {
            run: known.folder.id().to_owned(),
            started_at: known.stored.started_at,
            commit: known.plan.revision.commit.clone(),
            branch: known.plan.revision.branch.clone(),
            status,
            exit_code: known.state.exit_code(),
            steps: steps.len(),
            ended: ended.clone().count(),
            passed: ended
                .filter(|verdict| verdict.outcome == crate::scheduler::Outcome::Passed)
                .count(),
        })
    }
}

fn table(rows: &[Row]) -> String {
    let mut text = String::new();
    let width = |of: &dyn Fn(&Row) -> usize| rows.iter().map(of).max().unwrap_or(0);
    let status = width(&|row| row.status.len());
    for row in rows {
        writeln!(
            text,
            "{}  {}  {:status$}  {}/{} ended, {} passed  {}",
            row.run,
            short(&row.commit),
            row.status,
            row.ended,
            row.steps,
            row.passed,
            row.branch.as_deref().unwrap_or("-"),
        )
        .expect("a String takes any text");
    }
    text
}
