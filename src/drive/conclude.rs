//! From what is known of a run to its artifacts, its summary and its exit code.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::time::Duration;

use camino::Utf8PathBuf;
use chrono::{DateTime, Utc};
use serde::Serialize;

use super::builds::Builder;
use super::cover::Covered;
use super::live::Attempt;
use super::meta::Surroundings;
use super::progress::{Observer, Progress};
use super::reports::Heard;
use super::state::{BuildFailure, BuildState, RunState};
use super::stored::put;
use super::{DriveError, Finished, Run, collect, facts, keep, measure, meta, reports, toolchain};
use crate::coverage::rank_report::RankReport;
use crate::coverage::summary::{Share, Totals, summarize};
use crate::foreign;
use crate::launch::Place;
use crate::plan::{CommandLine, LauncherKind, Step, StepKind};
use crate::results::artifact::{Artifact, Content, RunFiles};
use crate::results::benchmark;
use crate::results::record::{
    BuildRecord, Conditions, CoverageSummary, FileCoverage, HarnessRecord, Hpc, JobRecord,
    KeptFiles, Note, NoteKind, ObjectList, Part, Ratio, RunEntry, RunStatus, SCHEMA_VERSION,
};
use crate::results::reports::Limits;
use crate::results::text::Style;
use crate::results::{
    BenchmarkInput, CoverageFigures, EarlierAttempt, FinishedRun, PartLogs, StepResult, history,
    store, text,
};
use crate::scheduler::{ExitRecord, Harness, Outcome};

/// How long another run may hold the artifacts: longer than it takes to see that nobody lives to let go.
const STORE_PATIENCE: Duration = Duration::from_mins(2);

/// Attempts by step and number.
type Attempts = BTreeMap<(usize, u32), Attempt>;

/// Writes every artifact and returns the summary.
pub(super) async fn conclude(
    run: &Run,
    builder: &Builder<'_>,
    state: &RunState,
    attempts: &Attempts,
    covered: &Covered,
    observer: &Observer,
    color: bool,
) -> Result<Finished, DriveError> {
    let around = Surroundings::of(run, builder, attempts).await;
    let finished = Conclusion {
        run,
        state,
        attempts,
        around: &around,
        limits: run.common().limits,
    }
    .finished(covered);
    let details = meta::meta(run, attempts, &around, state, covered, &finished);
    let files = RunFiles::new(&finished, details, coverage_files(run, covered)?)?;
    let folder = utf8(&run.request.artifacts)?;
    fs_err::create_dir_all(&folder).map_err(|source| DriveError::Folder {
        path: run.request.artifacts.clone(),
        source,
    })?;
    let saved = store::save(&folder, &files, Utc::now(), STORE_PATIENCE)?;
    if let Some(ignored) = saved.ignored {
        tracing::warn!(%ignored, "the earlier artifacts could not be read");
    }
    remember(run, &finished, &files.entry, observer);
    let summary = |colour| {
        let style = Style {
            colour,
            folder: &folder,
        };
        text::summary(&finished, style)
    };
    // The record comes last: it says that the run has ended.
    let results = serde_json::to_vec_pretty(&saved.picture.results)?;
    let record = serde_json::to_vec_pretty(&files.entry)?;
    for (path, text) in [
        (run.folder.results(), results),
        (run.folder.summary(), summary(false).into_bytes()),
        (run.folder.record(), record),
    ] {
        put(&path, &text, 0o666).map_err(|source| DriveError::Folder {
            path: run.folder.root().to_owned(),
            source,
        })?;
    }
    Ok(Finished {
        exit_code: files.entry.exit_code,
        summary: summary(color),
    })
}

/// Adds the run to the history of its project, once: a driver before may have come this far.
fn remember(run: &Run, finished: &FinishedRun, entry: &RunEntry, observer: &Observer) {
    let past = &run.request.past;
    let known = past.runs().is_ok_and(|past| {
        let id = run.folder.id();
        past.lines.iter().any(|line| line.run == id)
    });
    if known {
        return;
    }
    if let Err(error) = past.add(&history::entry(finished, entry)) {
        observer(Progress::Note(format!(
            "the run could not be added to `{}`: {error}",
            past.file()
        )));
    }
}

fn utf8(path: &Path) -> Result<Utf8PathBuf, DriveError> {
    Utf8PathBuf::from_path_buf(path.to_owned()).map_err(|path| DriveError::Path { path })
}

impl Run {
    /// Whether any step was to give coverage.
    pub(super) fn gives_coverage(&self) -> bool {
        let producing = |step: &Step| step.runs() && step.coverage != crate::plan::Producer::None;
        self.request.plan.steps.iter().any(producing)
    }
}

/// All that a conclusion is drawn from.
struct Conclusion<'a> {
    run: &'a Run,
    state: &'a RunState,
    attempts: &'a Attempts,
    around: &'a Surroundings,
    limits: Limits,
}

impl Conclusion<'_> {
    fn finished(&self, covered: &Covered) -> FinishedRun {
        let request = &self.run.request;
        let revision = &request.plan.revision;
        let mut notes = self.build_notes();
        notes.extend(covered.notes.iter().cloned());
        let steps = self.steps();
        notes.extend(keep::notes(&request.plan.steps, &steps));
        FinishedRun {
            run: self.run.folder.id().to_owned(),
            project: request.project.clone(),
            commit: revision.commit.clone(),
            branch: revision.branch.clone(),
            dirty: revision.dirty,
            filtered: request.filtered,
            driver_version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: self.run.started,
            finished_at: Utc::now(),
            scope: self.scope(),
            hpc: self.hpc(),
            steps,
            builds: self.builds(),
            jobs: self.jobs(),
            notes,
            coverage: figures(request, covered),
            benchmarks: self.benchmarks(),
            conditions: self.conditions(),
            logs: self.logs(),
        }
    }

    fn scope(&self) -> BTreeSet<Part> {
        let scope = self.run.request.scope;
        [
            (scope.tests, Part::Tests),
            (scope.benchmarks, Part::Benchmarks),
            (scope.coverage && self.run.gives_coverage(), Part::Coverage),
        ]
        .into_iter()
        .filter_map(|(wanted, part)| wanted.then_some(part))
        .collect()
    }

    fn hpc(&self) -> Hpc {
        let allocation = std::env::var("SLURM_JOB_ID")
            .ok()
            .filter(|_| self.run.request.place == Place::Allocation);
        let first = self
            .attempts
            .values()
            .filter(|_| self.run.request.place == Place::Job)
            .find_map(|attempt| attempt.end.job.as_ref().map(ToString::to_string));
        Hpc {
            cluster: self
                .run
                .request
                .site
                .cluster
                .clone()
                .filter(|_| self.run.request.place != Place::Here),
            job_id: allocation.or(first),
            node: hostname::get()
                .ok()
                .and_then(|name| name.into_string().ok()),
            julia_version: self.around.toolchain.julia.clone(),
            toolchain: toolchain::few_words(&self.around.toolchain),
        }
    }

    /// Builds that failed, and what else no step tells.
    fn build_notes(&self) -> Vec<Note> {
        let builds = self.run.request.plan.builds.iter();
        builds
            .filter_map(|build| self.failure(&build.id))
            .map(|failure| {
                let help = failure.help.as_ref();
                let help = help.map_or(String::new(), |help| format!("\nhelp: {help}"));
                Note {
                    kind: if failure.fault_of_code {
                        NoteKind::Failure
                    } else {
                        NoteKind::Error
                    },
                    part: None,
                    message: format!("{}{help}", failure.message),
                }
            })
            .collect()
    }

    fn failure(&self, build: &str) -> Option<&BuildFailure> {
        match self.state.build(build)? {
            BuildState::Failed(failure) => Some(failure),
            BuildState::Pending | BuildState::Built { .. } => None,
        }
    }

    fn steps(&self) -> Vec<StepResult> {
        let plan = &self.run.request.plan;
        (0..plan.steps.len())
            .map(|index| self.step(index))
            .collect()
    }

    fn step(&self, index: usize) -> StepResult {
        let step = &self.run.request.plan.steps[index];
        let state = &self.state.steps()[index];
        let attempt = self.attempts.get(&(index, state.attempt));
        let verdict = state.verdict();
        let log = self
            .run
            .folder
            .attempt(&step.slug, state.attempt)
            .join("log.txt");
        let record = attempt.and_then(|attempt| attempt.end.record.as_ref());
        let outcome = verdict.map_or(Outcome::Lost, |verdict| verdict.outcome);
        let ended_well = outcome == Outcome::Passed;
        let heard = self.heard(index, state.attempt);
        StepResult {
            name: step.name.clone(),
            slug: step.slug.clone(),
            suite: step.suite.clone(),
            kind: kind(step),
            tags: step.tags.clone(),
            outcome,
            exit_code: verdict.and_then(|verdict| verdict.exit_code),
            signal: verdict.and_then(|verdict| verdict.signal),
            message: verdict
                .filter(|_| !ended_well)
                .map(|verdict| verdict.message.clone()),
            job_id: attempt
                .and_then(|attempt| attempt.end.job.as_ref())
                .filter(|_| self.run.request.place == Place::Job)
                .map(ToString::to_string),
            nodes: attempt
                .map(|attempt| attempt.end.nodes.iter().cloned().collect())
                .unwrap_or_default(),
            ranks: step.resources.ranks,
            mpi_world: attempt
                .and_then(|attempt| attempt.exit.as_ref())
                .and_then(ExitRecord::world),
            harness: attempt
                .filter(|_| step.launcher.kind == LauncherKind::None)
                .and_then(|attempt| Some(seen(&attempt.exit.as_ref()?.harness))),
            elapsed: attempt.and_then(Attempt::elapsed),
            max_rss_bytes: record.and_then(crate::scheduler::JobRecord::max_rss),
            report: heard.report,
            notes: heard.notes,
            earlier: (1..state.attempt)
                .filter_map(|number| self.earlier(index, number))
                .collect(),
            slurm_state: record
                .filter(|_| self.run.request.place == Place::Job)
                .map(|record| record.state.to_string()),
            log: log.exists().then(|| self.relative(&log)),
            log_tail: if ended_well {
                String::new()
            } else {
                collect::log_tail(&log)
            },
            reproduce: (!ended_well).then(|| self.again(step)),
            kept: (1..=state.attempt)
                .filter_map(|number| self.kept(step, number))
                .collect(),
        }
    }

    fn kept(&self, step: &Step, number: u32) -> Option<KeptFiles> {
        let (folder, kept) = keep::kept(&self.run.folder.attempt(&step.slug, number))?;
        Some(kept.listed(number, self.relative(&folder)))
    }

    fn heard(&self, index: usize, number: u32) -> Heard {
        let step = &self.run.request.plan.steps[index];
        let Some(attempt) = self.attempts.get(&(index, number)) else {
            return Heard::default();
        };
        let ended = attempt.end.verdict.outcome;
        let folder = self.run.folder.attempt(&step.slug, number);
        reports::read(step, &folder, ended, self.limits)
    }

    fn earlier(&self, index: usize, number: u32) -> Option<EarlierAttempt> {
        let attempt = self.attempts.get(&(index, number))?;
        Some(EarlierAttempt {
            outcome: attempt.end.verdict.outcome,
            message: attempt.end.verdict.message.clone(),
            job_id: attempt.end.job.as_ref().map(ToString::to_string),
            failed_tests: self
                .heard(index, number)
                .report
                .into_iter()
                .flat_map(|report| report.cases)
                .filter(|it| it.case.status.is_failure())
                .map(|it| it.case.name)
                .collect(),
        })
    }

    fn again(&self, step: &Step) -> String {
        let words = self
            .run
            .request
            .again
            .iter()
            .chain(std::iter::once(&step.name));
        shell_words::join(words)
    }

    fn builds(&self) -> Vec<BuildRecord> {
        let plan = &self.run.request.plan;
        plan.builds
            .iter()
            .map(|build| {
                let state = self.state.build(&build.id);
                let failure = self.failure(&build.id);
                let took = match state {
                    Some(BuildState::Built { seconds }) => Some(*seconds),
                    _ => None,
                };
                let log = self.run.folder.build_log(&build.id);
                BuildRecord {
                    name: build.name.clone(),
                    part: plan
                        .steps
                        .iter()
                        .find(|step| step.build == build.id)
                        .map(|step| kind(step).part()),
                    features: build.features.clone().unwrap_or_default(),
                    status: match (took, failure) {
                        (None, None) => RunStatus::Skipped,
                        (Some(_), _) => RunStatus::Passed,
                        (_, Some(failure)) if failure.fault_of_code => RunStatus::Failed,
                        (_, Some(_)) => RunStatus::Error,
                    },
                    command: build.command.as_ref().map(shown).unwrap_or_default(),
                    exit_code: match failure {
                        Some(failure) => failure.exit_code,
                        None => took.map(|_| 0),
                    },
                    duration_seconds: took,
                    log: log.exists().then(|| self.relative(&log)),
                    job_id: None,
                    message: failure.map(|failure| failure.message.clone()),
                }
            })
            .collect()
    }

    fn jobs(&self) -> Vec<JobRecord> {
        if self.run.request.place != Place::Job {
            return Vec::new();
        }
        self.attempts
            .iter()
            .filter_map(|((index, _), attempt)| {
                let job = attempt.end.job.as_ref()?;
                let step = &self.run.request.plan.steps[*index];
                let record = attempt.end.record.as_ref();
                Some(JobRecord {
                    job_id: job.to_string(),
                    steps: vec![step.name.clone()],
                    submitted_at: attempt.end.submitted,
                    started_at: record.and_then(|record| record.start),
                    ended_at: record.and_then(|record| record.end),
                    queue_wait_seconds: waited(
                        attempt.end.submitted,
                        record.and_then(|record| record.start),
                    ),
                    state: record.map(|record| record.state.to_string()),
                    partition: step.resources.partition.clone(),
                    nodes: attempt.end.nodes.iter().cloned().collect(),
                    exit_code: record
                        .and_then(|record| record.exit)
                        .map(|exit| format!("{}:{}", exit.code, exit.signal)),
                    requeues: attempt.exit.as_ref().map(|exit| exit.restart_count),
                    max_rss_bytes: record.and_then(crate::scheduler::JobRecord::max_rss),
                    energy: self.around.energies.of_job(job, step),
                    exclusive: Some(step.resources.exclusive),
                })
            })
            .collect()
    }

    fn benchmarks(&self) -> Vec<BenchmarkInput> {
        let steps = self.run.request.plan.steps.iter().enumerate();
        steps
            .flat_map(|(index, step)| self.metrics(index, step))
            .collect()
    }

    fn metrics(&self, index: usize, step: &Step) -> Vec<BenchmarkInput> {
        let state = &self.state.steps()[index];
        let outcome = state
            .verdict()
            .map_or(Outcome::Lost, |verdict| verdict.outcome);
        let attempt = self.run.folder.attempt(&step.slug, state.attempt);
        let cluster = self.run.request.site.cluster.as_deref();
        let mut inputs = measure::metrics(
            step,
            &attempt,
            outcome,
            &self.key(index, step),
            cluster,
            self.limits,
        );
        let conditions = self.conditions_of(index, step);
        let warnings = conditions.as_ref().map(facts::warnings).unwrap_or_default();
        for input in &mut inputs {
            let name = benchmark::name(input);
            input.baseline = self.run.request.baselines.find(&name, &input.key);
            input.warnings.extend(warnings.iter().cloned());
        }
        inputs
    }

    /// What must agree for two results of a benchmark to be comparable.
    fn key(&self, index: usize, step: &Step) -> BTreeMap<String, String> {
        let attempt = self
            .attempts
            .get(&(index, self.state.steps()[index].attempt));
        measure::key(
            step,
            self.run.request.site.cluster.as_ref(),
            attempt,
            self.around,
        )
    }

    /// Under which conditions the benchmarks were measured, by step.
    fn conditions(&self) -> BTreeMap<String, Conditions> {
        let steps = self.run.request.plan.steps.iter().enumerate();
        let conditions = steps.filter_map(|(index, step)| {
            Some((step.name.clone(), self.conditions_of(index, step)?))
        });
        conditions.collect()
    }

    fn conditions_of(&self, index: usize, step: &Step) -> Option<Conditions> {
        let number = self.state.steps()[index].attempt;
        let attempt = self.attempts.get(&(index, number))?;
        let folder = self.run.folder.attempt(&step.slug, number);
        let sha256 = self.around.programs.sha256(step).map(str::to_owned);
        facts::conditions(step, &folder, attempt, sha256)
    }

    fn logs(&self) -> PartLogs {
        let is_test = |step: &Step| matches!(step.kind, StepKind::Test);
        PartLogs {
            tests_took: self.took(&is_test),
            tests: self.joined_log("tests.log", &is_test),
            benchmarks_took: self.took(&|step| !is_test(step)),
            benchmarks: self.joined_log("benchmarks.log", &|step| !is_test(step)),
            tutorials: self.joined_log("tutorials.log", &|step| step.suite == "tutorials"),
        }
    }

    /// From the first start of such steps to their last end.
    fn took(&self, wanted: &dyn Fn(&Step) -> bool) -> Option<Duration> {
        let spans = self
            .attempts
            .iter()
            .filter(|((index, _), _)| wanted(&self.run.request.plan.steps[*index]))
            .filter_map(|(_, attempt)| attempt.exit.as_ref())
            .map(|exit| (exit.started, exit.ended));
        let (start, end) = spans.fold((f64::INFINITY, f64::NEG_INFINITY), |(start, end), span| {
            (start.min(span.0), end.max(span.1))
        });
        Duration::try_from_secs_f64(end - start).ok()
    }

    /// Writes the logs of such steps one after the other into one file of the run folder.
    fn joined_log(&self, name: &str, wanted: &dyn Fn(&Step) -> bool) -> Option<Utf8PathBuf> {
        let path = self.run.folder.root().join(name);
        let mut joined = None;
        for (index, step) in self.run.request.plan.steps.iter().enumerate() {
            let attempt = self.state.steps()[index].attempt;
            let log = self.run.folder.attempt(&step.slug, attempt).join("log.txt");
            let Some(log) = wanted(step).then(|| foreign::open(log).ok()).flatten() else {
                continue;
            };
            let file = match &mut joined {
                Some(file) => file,
                none => none.insert(foreign::create(&path, 0o666).ok()?),
            };
            writeln!(file, "===== {}", step.name.replace('\n', " ")).ok()?;
            self.copy_log(log, file).ok()?;
        }
        joined.map(|_| self.relative(&path))
    }

    /// Copies as much of a log as is read of one, and says what is left out.
    fn copy_log(&self, log: fs_err::File, to: &mut fs_err::File) -> std::io::Result<()> {
        let most = self.limits.bytes;
        let length = log.metadata()?.len();
        let copied = std::io::copy(&mut log.take(most), to)?;
        if let left @ 1.. = length.saturating_sub(copied) {
            writeln!(
                to,
                "\n[hpc-ci: {left} bytes more; `max_log` of [scheduler.limits] cuts them here, the step's own log is whole]"
            )?;
        }
        Ok(())
    }

    /// A path seen from the folder of `hpc-results.json`.
    fn relative(&self, path: &Path) -> Utf8PathBuf {
        let path = path
            .strip_prefix(&self.run.request.artifacts)
            .unwrap_or(path);
        Utf8PathBuf::from(path.to_string_lossy().into_owned())
    }
}

/// How long a job waited in the queue, in seconds.
fn waited(submitted: Option<DateTime<Utc>>, started: Option<DateTime<Utc>>) -> Option<f64> {
    let wait = started?.signed_duration_since(submitted?);
    // Slurm counts whole seconds, and by its own clock.
    let wait = wait.to_std().unwrap_or_default();
    Some((wait.as_secs_f64() * 1e3).round() / 1e3)
}

/// A command as one would type it.
fn shown(command: &CommandLine) -> String {
    match command {
        CommandLine::Shell(line) => line.clone(),
        CommandLine::Argv(words) => shell_words::join(words),
    }
}

fn seen(harness: &Harness) -> HarnessRecord {
    HarnessRecord {
        launches: u32::try_from(harness.launches.len()).unwrap_or(u32::MAX),
        unknown: harness.unknown,
        beside: harness.beside,
    }
}

fn kind(step: &Step) -> crate::results::StepKind {
    match step.kind {
        StepKind::Test => crate::results::StepKind::Test,
        StepKind::Benchmark(_) => crate::results::StepKind::Benchmark,
    }
}

fn figures(request: &super::Request, covered: &Covered) -> Option<CoverageFigures> {
    let tracefile = covered.tracefile.as_ref()?;
    let totals = summarize(tracefile).totals;
    Some(CoverageFigures {
        flag: Some(codecov_flag(request)),
        total_lines: totals.lines.total,
        covered_lines: totals.lines.covered,
        ranks_expected: Some(covered.ranks.expected),
        ranks_used: Some(covered.ranks.used),
        rank_states: covered.ranks.states(),
        findings: covered
            .findings()
            .into_iter()
            .chain(covered.ranked.iter().flat_map(|report| {
                report
                    .to_text()
                    .lines()
                    .map(str::to_owned)
                    .collect::<Vec<_>>()
            }))
            .collect(),
        partial: !covered.losses.is_empty(),
    })
}

/// The flag under which Codecov keeps this coverage apart from that of other runners.
fn codecov_flag(request: &super::Request) -> String {
    let set = request
        .site
        .publish
        .codecov
        .as_ref()
        .and_then(|codecov| codecov.flag.clone());
    let gitlab = std::env::var("GITLAB_CI").is_ok_and(|value| value == "true");
    set.unwrap_or_else(|| crate::publish::codecov::usual_flag(gitlab).to_owned())
}

/// The files below `coverage/`; what could not be made is missing there and said in the notes.
fn coverage_files(run: &Run, covered: &Covered) -> Result<Vec<Artifact>, DriveError> {
    let commit = run.request.plan.revision.commit.clone();
    let mut files = vec![Artifact::json(
        "coverage/objects.json",
        &ObjectList {
            schema_version: SCHEMA_VERSION,
            commit: commit.clone(),
            objects: covered.objects.clone(),
            uncounted: covered.uncounted.clone(),
            strays: covered.strays.clone(),
        },
    )?];
    let Some(tracefile) = &covered.tracefile else {
        return Ok(files);
    };
    let mut lcov = Vec::new();
    tracefile
        .write(&mut lcov)
        .map_err(|source| DriveError::Folder {
            path: run.folder.root().to_owned(),
            source,
        })?;
    files.push(Artifact {
        path: "coverage/lcov.info".into(),
        content: Content::Bytes(lcov),
    });
    let summary = summarize(tracefile);
    let document = CoverageSummary {
        schema_version: SCHEMA_VERSION,
        commit,
        lines: ratio(summary.totals.lines),
        functions: some_ratio(summary.totals.functions),
        branches: some_ratio(summary.totals.branches),
        profiles: covered.totals,
        files: summary
            .files
            .iter()
            .map(|file| (file.path.clone().into(), file_coverage(&file.totals)))
            .collect(),
        run: Some(run.folder.id().to_owned()),
        missing: covered
            .notes
            .iter()
            .map(|note| note.message.clone())
            .collect(),
        partial: !covered.losses.is_empty(),
        losses: covered.losses.clone(),
        left_out: covered.left_out.clone(),
    };
    files.push(Artifact::json("coverage/summary.json", &document)?);
    // Without it results are whole; only who takes coverage has no paths to place it by.
    match super::network::network(&run.request.origin, &run.request.workspace) {
        Ok(network) => files.push(Artifact::json("coverage/network.json", &network)?),
        Err(error) => tracing::warn!(%error, "the files of the commit cannot be listed"),
    }
    if let Some(ranks) = &covered.ranked {
        let document = WhichRanks {
            commit: document.commit,
            report: ranks,
        };
        files.push(Artifact::json("coverage/ranks.json", &document)?);
    }
    Ok(files)
}

/// `coverage/ranks.json`.
#[derive(Serialize)]
struct WhichRanks<'a> {
    commit: String,
    #[serde(flatten)]
    report: &'a RankReport,
}

fn file_coverage(totals: &Totals) -> FileCoverage {
    FileCoverage {
        lines: ratio(totals.lines),
        functions: some_ratio(totals.functions),
        branches: some_ratio(totals.branches),
    }
}

fn ratio(share: Share) -> Ratio {
    Ratio::new(share.covered, share.total)
}

/// Producers without functions or branches say nothing of them, which is not the same as none.
fn some_ratio(share: Share) -> Option<Ratio> {
    (share.total > 0).then(|| ratio(share))
}
