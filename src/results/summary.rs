//! From how the steps ended to what the run says: statuses, counts, totals.

use std::collections::BTreeMap;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};

use super::clean::one_line;
use super::record::{
    BenchmarksPart, BenchmarksSummary, BuildRecord, CoveragePart, Disagreement, Failing, KeptFiles,
    Mark, NoteKind, Part, RanksSaying, RunEntry, RunParts, RunStatus, RunStep, SCHEMA_VERSION,
    Status, StepRecord, SuiteCounts, TestsPart, TestsSummary, path_from,
};
use super::reports::{Merged, MergedCase};
use super::{CoverageFigures, FinishedRun, StepResult, benchmark, units};

/// The tracefile, relative to `hpc-results.json`.
const TRACEFILE: &str = "artifacts/coverage/lcov.info";
/// The coverage by file, relative to `hpc-results.json`.
const COVERAGE_SUMMARY: &str = "artifacts/coverage/summary.json";

/// Returns `covered` of a hundred with two decimals, rounded down, so that 100 means all; none of nothing.
#[must_use]
pub fn percent(covered: u64, total: u64) -> Option<f64> {
    let hundredths = (u128::from(covered.min(total)) * 10_000).checked_div(u128::from(total))?;
    u32::try_from(hundredths)
        .ok()
        .map(|hundredths| f64::from(hundredths) / 100.0)
}

/// Returns `tests/summary.json` of a run.
#[must_use]
pub fn tests(run: &FinishedRun) -> TestsSummary {
    let steps = || steps_of(run, Part::Tests);
    let mut suites = BTreeMap::<String, SuiteCounts>::new();
    for step in steps() {
        let suite = suites.entry(step.suite.clone()).or_default();
        *suite = add(suite, &units::counts(step));
    }
    TestsSummary {
        schema_version: SCHEMA_VERSION,
        commit: run.commit.clone(),
        status: part_status(run, Part::Tests),
        suites,
        failing: steps().flat_map(failing).collect(),
        steps: steps()
            .map(|step| step_record(step, Utf8Path::new("artifacts/tests")))
            .collect(),
        run: Some(run.run.clone()),
        missing: missing(run, Part::Tests),
    }
}

/// Returns `benchmarks/summary.json` of a run.
#[must_use]
pub fn benchmarks(run: &FinishedRun) -> BenchmarksSummary {
    let (benchmarks, worst_regression_pct) = benchmark::records(&run.benchmarks);
    BenchmarksSummary {
        schema_version: SCHEMA_VERSION,
        commit: run.commit.clone(),
        worst_regression_pct,
        benchmarks,
        status: Some(part_status(run, Part::Benchmarks)),
        run: Some(run.run.clone()),
        steps: steps_of(run, Part::Benchmarks)
            .map(|step| step_record(step, Utf8Path::new("artifacts/benchmarks")))
            .collect(),
        conditions: run.conditions.clone(),
        missing: missing(run, Part::Benchmarks),
    }
}

/// Returns `runs/RUN-ID.json`: the run as a whole, with its status and its exit code.
#[must_use]
pub fn entry(run: &FinishedRun) -> RunEntry {
    let folder = Utf8Path::new("artifacts/runs");
    let from_here =
        |path: &Option<Utf8PathBuf>| path.as_deref().map(|path| path_from(folder, path));
    let in_scope = |part| run.scope.contains(&part);
    let parts = RunParts {
        tests: in_scope(Part::Tests).then(|| TestsPart {
            status: part_status(run, Part::Tests),
            duration_seconds: run.logs.tests_took.map(seconds),
            log_file: from_here(&run.logs.tests),
        }),
        coverage: run
            .coverage
            .as_ref()
            .filter(|_| in_scope(Part::Coverage))
            .and_then(|figures| coverage_part(figures, folder)),
        benchmarks: in_scope(Part::Benchmarks).then(|| BenchmarksPart {
            status: part_status(run, Part::Benchmarks),
            duration_seconds: run.logs.benchmarks_took.map(seconds),
            tutorials_log: from_here(&run.logs.tutorials),
            benchmarks_log: from_here(&run.logs.benchmarks),
        }),
    };
    let scope = run.scope.iter().copied().collect::<Vec<_>>();
    let status =
        overall(&scope, &parts).max(status_of_notes(run, None).unwrap_or(RunStatus::Skipped));
    RunEntry {
        schema_version: SCHEMA_VERSION,
        run: run.run.clone(),
        project: run.project.clone(),
        commit: run.commit.clone(),
        branch: run.branch.clone(),
        dirty: run.dirty,
        driver_version: run.driver_version.clone(),
        started_at: run.started_at,
        finished_at: run.finished_at,
        status,
        exit_code: status.exit_code(),
        marks: marks(run),
        scope,
        hpc: run.hpc.clone(),
        parts,
        steps: run
            .steps
            .iter()
            .map(|step| RunStep {
                part: step.kind.part(),
                step: step_record(step, folder),
            })
            .collect(),
        builds: run
            .builds
            .iter()
            .map(|build| BuildRecord {
                log: from_here(&build.log),
                ..build.clone()
            })
            .collect(),
        jobs: run.jobs.clone(),
        notes: run.notes.clone(),
    }
}

/// Returns the worst of the parts in scope. Coverage that was asked for and came to nothing proves nothing, unless there
/// were no tests to cover anything.
#[must_use]
pub fn overall(scope: &[Part], parts: &RunParts) -> RunStatus {
    let tests = parts
        .tests
        .as_ref()
        .map_or(RunStatus::Skipped, |part| part.status);
    let benchmarks = parts
        .benchmarks
        .as_ref()
        .map_or(RunStatus::Skipped, |part| part.status);
    let uncovered =
        scope.contains(&Part::Coverage) && parts.coverage.is_none() && tests != RunStatus::Skipped;
    let coverage = if uncovered {
        RunStatus::Error
    } else {
        RunStatus::Skipped
    };
    tests.max(benchmarks).max(coverage)
}

/// Returns what keeps a run from standing for its branch.
#[must_use]
pub fn marks(run: &FinishedRun) -> Vec<Mark> {
    let damaged = run.steps.iter().any(|step| step.status() == Status::Error)
        || run
            .builds
            .iter()
            .any(|build| build.status == RunStatus::Error)
        || run.notes.iter().any(|note| note.kind == NoteKind::Error)
        || run.coverage.as_ref().is_some_and(|it| it.partial);
    [
        (run.filtered, Mark::Filtered),
        (run.dirty, Mark::Dirty),
        (damaged, Mark::InfrastructureDamaged),
    ]
    .into_iter()
    .filter_map(|(holds, mark)| holds.then_some(mark))
    .collect()
}

/// Returns the status of the tests or of the benchmarks of a run: what its steps, its builds and the notes on it say.
#[must_use]
pub fn part_status(run: &FinishedRun, part: Part) -> RunStatus {
    if !run.scope.contains(&part) {
        return RunStatus::Skipped;
    }
    let steps = steps_of(run, part).map(|step| match run_status(step.status()) {
        RunStatus::Passed if measured_nothing(run, step) => RunStatus::Skipped,
        status => status,
    });
    let builds = run
        .builds
        .iter()
        .filter(|build| concerns(build.part, part))
        .filter_map(|build| {
            // A build that passed has proved nothing yet.
            (build.status > RunStatus::Passed).then_some(build.status)
        });
    let values = run.benchmarks.iter().filter(|input| {
        // Where the step itself did not pass, its status already says whose turn it is.
        part == Part::Benchmarks
            && input.samples.is_err()
            && !benchmark::is_skipped(input)
            && !matches!(input.samples, Err(benchmark::BenchmarkError::Step { .. }))
    });
    let out_of_bounds = run.benchmarks.iter().filter(|input| {
        part == Part::Benchmarks
            && benchmark::record(input)
                .reference
                .is_some_and(|it| !it.within)
    });
    steps
        .chain(builds)
        .chain(values.map(|_| RunStatus::Error))
        .chain(out_of_bounds.map(|_| RunStatus::Failed))
        .chain(status_of_notes(run, Some(part)))
        .max()
        .unwrap_or(RunStatus::Skipped)
}

/// Whether the program of a benchmark skipped all that it was to measure.
fn measured_nothing(run: &FinishedRun, step: &StepResult) -> bool {
    let mut inputs = run.benchmarks.iter().filter(|it| it.step == step.name);
    let first = inputs.next();
    first.is_some_and(benchmark::is_skipped) && inputs.all(benchmark::is_skipped)
}

/// The counts of all suites together.
#[must_use]
pub fn total(suites: &BTreeMap<String, SuiteCounts>) -> SuiteCounts {
    suites
        .values()
        .fold(SuiteCounts::default(), |sum, it| add(&sum, it))
}

fn add(a: &SuiteCounts, b: &SuiteCounts) -> SuiteCounts {
    SuiteCounts {
        passed: a.passed.saturating_add(b.passed),
        failed: a.failed.saturating_add(b.failed),
        errors: a.errors.saturating_add(b.errors),
        skipped: a.skipped.saturating_add(b.skipped),
        not_run: a.not_run.saturating_add(b.not_run),
        flaky: a.flaky.saturating_add(b.flaky),
        xfailed: a.xfailed.saturating_add(b.xfailed),
        xpassed: a.xpassed.saturating_add(b.xpassed),
    }
}

pub(super) fn steps_of(run: &FinishedRun, part: Part) -> impl Iterator<Item = &StepResult> {
    run.steps
        .iter()
        .filter(move |step| step.kind.part() == part)
}

pub(super) fn is_failing(step: &StepResult) -> bool {
    matches!(step.status(), Status::Failed | Status::Error)
}

/// To the millisecond; nothing here is measured finer.
pub(super) fn seconds(duration: Duration) -> f64 {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    millis as f64 / 1e3
}

pub(super) fn coverage_part(figures: &CoverageFigures, folder: &Utf8Path) -> Option<CoveragePart> {
    Some(CoveragePart {
        flag: figures.flag.clone(),
        coverage_percent: percent(figures.covered_lines, figures.total_lines)?,
        total_lines: figures.total_lines,
        covered_lines: figures.covered_lines,
        report_file: path_from(folder, Utf8Path::new(TRACEFILE)),
        summary_file: path_from(folder, Utf8Path::new(COVERAGE_SUMMARY)),
        ranks_expected: figures.ranks_expected,
        ranks_used: figures.ranks_used,
    })
}

/// What of a step did not end well. A step that did not run is told of by what kept it from running.
fn failing(step: &StepResult) -> impl Iterator<Item = Failing> {
    let units = units::units(step).into_iter();
    units
        .filter(|unit| unit.is_failing() && (unit.test.is_some() || is_failing(step)))
        .map(|unit| Failing {
            step: step.name.clone(),
            test: unit.test.map(|test| test.case.name.clone()),
            outcome: unit.outcome(step),
            message: unit.reason(step),
            test_status: unit.test.map(|_| unit.status),
        })
}

fn step_record(step: &StepResult, folder: &Utf8Path) -> StepRecord {
    let said = step.message.is_some() || step.status() != Status::Passed;
    StepRecord {
        name: step.name.clone(),
        suite: step.suite.clone(),
        status: step.status(),
        outcome: step.outcome,
        exit_code: step.exit_code,
        signal: step.signal,
        job_id: step.job_id.clone(),
        nodes: step.nodes.clone(),
        ranks: step.ranks,
        mpi_world: step.mpi_world,
        harness: step.harness,
        elapsed_seconds: step.elapsed.map(seconds),
        max_rss_bytes: step.max_rss_bytes,
        attempts: step.attempts(),
        flaky: step.is_flaky(),
        slurm_state: step.slurm_state.clone(),
        log: step.log.as_deref().map(|log| path_from(folder, log)),
        message: said.then(|| step.reason()),
        slug: Some(step.slug.clone()),
        tags: step.tags.clone(),
        reproduce: step.reproduce.clone(),
        report: step.report.as_ref().and_then(|report| report.dialect),
        tests: step.report.as_ref().map(|_| units::counts(step)),
        disagreements: step
            .report
            .iter()
            .flat_map(Merged::disagreements)
            .map(disagreement)
            .collect(),
        notes: step.notes.iter().map(|note| one_line(note)).collect(),
        kept: step
            .kept
            .iter()
            .map(|kept| KeptFiles {
                folder: path_from(folder, &kept.folder),
                ..kept.clone()
            })
            .collect(),
    }
}

fn disagreement(test: &MergedCase) -> Disagreement {
    let ranks = test.by_rank.iter();
    Disagreement {
        test: test.case.name.clone(),
        ranks: ranks
            .map(|(status, ranks)| RanksSaying {
                status: *status,
                ranks: ranks.clone(),
            })
            .collect(),
    }
}

fn run_status(status: Status) -> RunStatus {
    match status {
        Status::Passed => RunStatus::Passed,
        Status::Failed => RunStatus::Failed,
        Status::Error | Status::NotRun => RunStatus::Error,
        Status::Skipped => RunStatus::Skipped,
    }
}

/// Whether something about `about` (none: everything) is about `part`.
fn concerns(about: Option<Part>, part: Part) -> bool {
    about.is_none_or(|about| about == part)
}

/// The worst that the notes on a part say; without a part, of all notes.
fn status_of_notes(run: &FinishedRun, part: Option<Part>) -> Option<RunStatus> {
    run.notes
        .iter()
        .filter(|note| part.is_none_or(|part| concerns(note.part, part)))
        .filter_map(|note| match note.kind {
            NoteKind::Failure => Some(RunStatus::Failed),
            NoteKind::Error => Some(RunStatus::Error),
            NoteKind::Warning => None,
        })
        .max()
}

fn missing(run: &FinishedRun, part: Part) -> Vec<String> {
    let builds = run
        .builds
        .iter()
        .filter(|build| build.status > RunStatus::Passed && concerns(build.part, part));
    let builds = builds.map(|build| match &build.message {
        Some(message) => format!("build `{}`: {message}", build.name),
        None => format!("build `{}` {}", build.name, build.status),
    });
    let notes = run
        .notes
        .iter()
        .filter(|note| note.kind != NoteKind::Warning && concerns(note.part, part));
    let not_run = steps_of(run, part)
        .filter(|step| step.status() == Status::NotRun)
        .count();
    builds
        .chain(notes.map(|note| note.message.clone()))
        .chain((not_run > 0).then(|| format!("{not_run} {} did not run", plural(not_run, "step"))))
        .collect()
}

pub(super) fn plural(count: usize, word: &str) -> String {
    if count == 1 {
        word.to_owned()
    } else {
        format!("{word}s")
    }
}

#[cfg(test)]
mod tests {
    use super::super::finished::example;
    use super::super::record::{Note, Outcome};
    use super::*;

    #[test]
    fn a_percentage_is_rounded_down() {
        for (covered, total, expected) in [
            (0, 0, None),
            (0, 7, Some(0.0)),
            (1, 3, Some(33.33)),
            (2, 3, Some(66.66)),
            (99_999, 100_000, Some(99.99)),
            (7, 7, Some(100.0)),
            (u64::MAX - 1, u64::MAX, Some(99.99)),
            (u64::MAX, u64::MAX, Some(100.0)),
        ] {
            assert_eq!(percent(covered, total), expected, "{covered} of {total}");
        }
    }

    /// Outcomes of tests, then the status and the exit code of the run.
    fn check(
        outcomes: &[Outcome],
        change: impl Fn(&mut FinishedRun),
        status: RunStatus,
        exit_code: u8,
    ) {
        let mut run = example::run();
        run.steps = outcomes
            .iter()
            .map(|&outcome| example::step("s", "suite", outcome))
            .collect();
        run.benchmarks.clear();
        change(&mut run);
        let entry = entry(&run);
        assert_eq!(
            (entry.status, entry.exit_code),
            (status, exit_code),
            "{outcomes:?}"
        );
    }

    #[test]
    fn a_fault_of_the_code_outranks_what_could_not_be_proved() {
        use Outcome::{Failed, Lost, NotRun, Passed, Skipped, Timeout};
        let as_is = |_: &mut FinishedRun| {};
        check(&[Passed, Skipped], as_is, RunStatus::Passed, 0);
        check(&[Passed, Failed, Lost], as_is, RunStatus::Failed, 1);
        check(&[Passed, Lost], as_is, RunStatus::Error, 3);
        check(&[Passed, NotRun], as_is, RunStatus::Error, 3);
        check(&[Timeout], |run| run.coverage = None, RunStatus::Failed, 1);
    }

    #[test]
    fn nothing_that_ran_is_never_green() {
        use Outcome::{Passed, Skipped};
        let as_is = |_: &mut FinishedRun| {};
        check(&[], as_is, RunStatus::Skipped, 3);
        check(&[Skipped, Skipped], as_is, RunStatus::Skipped, 3);
        check(&[Passed], |run| run.coverage = None, RunStatus::Error, 3);
        let uncoverable = |run: &mut FinishedRun| {
            run.coverage
                .iter_mut()
                .for_each(|it| (it.total_lines, it.covered_lines) = (0, 0));
        };
        check(&[Passed], uncoverable, RunStatus::Error, 3);
        let unasked = |run: &mut FinishedRun| {
            run.coverage = None;
            run.scope.remove(&Part::Coverage);
        };
        check(&[Passed], unasked, RunStatus::Passed, 0);
    }

    #[test]
    fn builds_and_notes_count() {
        use Outcome::{NotRun, Passed};
        let build = |run: &mut FinishedRun| run.builds[0].status = RunStatus::Failed;
        check(&[NotRun, NotRun], build, RunStatus::Failed, 1);
        let note = |kind, part| {
            move |run: &mut FinishedRun| {
                run.notes.push(Note {
                    kind,
                    part,
                    message: "oh".to_owned(),
                });
            }
        };
        check(&[Passed], note(NoteKind::Error, None), RunStatus::Error, 3);
        check(
            &[Passed],
            note(NoteKind::Failure, Some(Part::Coverage)),
            RunStatus::Failed,
            1,
        );
        check(
            &[Passed],
            note(NoteKind::Warning, None),
            RunStatus::Passed,
            0,
        );
    }

    #[test]
    fn a_benchmark_without_a_value_is_an_error() {
        let mut run = example::run();
        assert_eq!(part_status(&run, Part::Benchmarks), RunStatus::Passed);
        run.benchmarks[0].samples = Err(benchmark::BenchmarkError::NoOutput);
        assert_eq!(part_status(&run, Part::Benchmarks), RunStatus::Error);
        let skipped = || benchmark::BenchmarkError::Skipped {
            text: "no GPU".to_owned(),
        };
        run.benchmarks[0].samples = Err(skipped());
        assert_eq!(part_status(&run, Part::Benchmarks), RunStatus::Skipped);
        let mut measured = example::run().benchmarks[0].clone();
        measured.metric = Some("other".to_owned());
        run.benchmarks.push(measured);
        assert_eq!(part_status(&run, Part::Benchmarks), RunStatus::Passed);
        run.benchmarks.pop();
        run.benchmarks[0].samples = Err(benchmark::BenchmarkError::NoOutput);
        assert!(marks(&example::run()).contains(&Mark::InfrastructureDamaged));
        let mut partial = example::run();
        partial.steps.retain(|step| step.status() != Status::Error);
        assert_eq!(marks(&partial), []);
        if let Some(coverage) = &mut partial.coverage {
            coverage.partial = true;
        }
        assert_eq!(marks(&partial), [Mark::InfrastructureDamaged]);
        run.steps.clear();
        assert_eq!(
            marks(&run),
            [],
            "a program that prints nonsense is no damage to the infrastructure"
        );
    }

    #[test]
    fn every_step_is_counted_once() {
        let summary = tests(&example::run());
        let suites = &summary.suites;
        let expected = SuiteCounts {
            passed: 1,
            failed: 2,
            flaky: 1,
            ..SuiteCounts::default()
        };
        assert_eq!(suites["integration"], expected);
        let expected = SuiteCounts {
            errors: 1,
            not_run: 1,
            skipped: 1,
            ..SuiteCounts::default()
        };
        assert_eq!(suites["scale"], expected);
        let sum = total(suites);
        let counted = sum.passed + sum.failed + sum.errors + sum.not_run + sum.skipped;
        assert_eq!(counted, summary.steps.len() as u64);
        let failing = summary
            .failing
            .iter()
            .map(|it| (it.step.as_str(), it.message.as_str()));
        assert_eq!(
            failing.collect::<Vec<_>>(),
            [
                ("halo[ranks=4]", "ended by SIGSEGV"),
                ("long", "did not end within its time"),
                (
                    "wide",
                    "sbatch: error: More processors requested than permitted"
                ),
            ]
        );
        assert_eq!(summary.missing, ["1 step did not run"]);
    }

    #[test]
    fn paths_are_relative_to_their_document() {
        let run = example::run();
        let log = |record: &StepRecord| record.log.as_ref().map(ToString::to_string);
        assert_eq!(
            log(&tests(&run).steps[0]),
            Some("../../runs/r7/logs/unit.log".to_owned())
        );
        let entry = entry(&run);
        assert_eq!(
            entry.builds[0].log.as_ref().map(|it| it.as_str()),
            Some("../../runs/r7/logs/build-tests.log")
        );
        let coverage = entry.parts.coverage.expect("the run has coverage");
        assert_eq!(coverage.report_file, "../coverage/lcov.info");
    }
}
