//! What the driver knows when a run has ended; every document is made from it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use camino::Utf8PathBuf;
use chrono::{DateTime, Utc};

use super::benchmark::{Baseline, BenchmarkError, Reference};
use super::clean::{one_line, shortened};
use super::record::{
    Better, BuildRecord, Conditions, HarnessRecord, Hpc, JobRecord, KeptFiles, Note, Outcome, Part,
    ProfileState, Status,
};
use super::reports::Merged;

/// How long a reason may be.
pub(super) const REASON: usize = 300;

/// A run that has ended, whichever way.
///
/// Paths are relative to the folder of `hpc-results.json` (or absolute); every document gets them relative to itself.
#[derive(Debug, Clone)]
pub struct FinishedRun {
    /// Its id.
    pub run: String,
    /// The project.
    pub project: String,
    /// The commit under test, in full.
    pub commit: String,
    /// Its branch.
    pub branch: Option<String>,
    /// Whether the work tree had uncommitted changes.
    pub dirty: bool,
    /// Whether only some of the steps of its scope were asked for.
    pub filtered: bool,
    /// The version of hpc-ci.
    pub driver_version: String,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    pub finished_at: DateTime<Utc>,
    /// What it set out to do. Coverage belongs here only if a step should have given some.
    pub scope: BTreeSet<Part>,
    /// Where it ran.
    pub hpc: Hpc,
    /// Every step of the scope, in the order of the plan.
    pub steps: Vec<StepResult>,
    /// Every build.
    pub builds: Vec<BuildRecord>,
    /// Every job.
    pub jobs: Vec<JobRecord>,
    /// What went wrong outside builds and steps, and what else should be known.
    pub notes: Vec<Note>,
    /// The coverage; none if no profile was usable.
    pub coverage: Option<CoverageFigures>,
    /// The metrics of the benchmarks.
    pub benchmarks: Vec<BenchmarkInput>,
    /// Under which conditions benchmarks were measured, by step.
    pub conditions: BTreeMap<String, Conditions>,
    /// Logs and times of the parts.
    pub logs: PartLogs,
}

/// Logs and times of the parts of a run.
#[derive(Debug, Clone, Default)]
pub struct PartLogs {
    /// From the first test's start to the last one's end.
    pub tests_took: Option<Duration>,
    /// A log of all tests.
    pub tests: Option<Utf8PathBuf>,
    /// From the first benchmark's start to the last one's end.
    pub benchmarks_took: Option<Duration>,
    /// A log of all benchmarks.
    pub benchmarks: Option<Utf8PathBuf>,
    /// A log of the suite `tutorials`.
    pub tutorials: Option<Utf8PathBuf>,
}

/// What kind of step it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepKind {
    /// `[[test]]`.
    Test,
    /// `[[benchmark]]`.
    Benchmark,
}

impl StepKind {
    /// Returns the part that such a step belongs to.
    #[must_use]
    pub fn part(self) -> Part {
        match self {
            Self::Test => Part::Tests,
            Self::Benchmark => Part::Benchmarks,
        }
    }
}

/// How a step ended. Whether that was expected of it is already decided: the outcome says so.
#[derive(Debug, Clone)]
pub struct StepResult {
    /// Its name, with its point of the matrix.
    pub name: String,
    /// Its name as files have it.
    pub slug: String,
    /// Its suite.
    pub suite: String,
    /// What kind it is.
    pub kind: StepKind,
    /// Its tags.
    pub tags: Vec<String>,
    /// How it ended.
    pub outcome: Outcome,
    /// The program's exit code, if it ended by itself.
    pub exit_code: Option<i32>,
    /// The number of the signal that ended it.
    pub signal: Option<i32>,
    /// Why it ended so, where the outcome alone does not say it.
    pub message: Option<String>,
    /// The job.
    pub job_id: Option<String>,
    /// The nodes it ran on.
    pub nodes: Vec<String>,
    /// Its ranks.
    pub ranks: u32,
    /// The size of the world that MPI told its ranks; `None` where none of them said so.
    pub mpi_world: Option<u32>,
    /// What was seen of its launches, if its command starts MPI by itself.
    pub harness: Option<HarnessRecord>,
    /// How long the last attempt took.
    pub elapsed: Option<Duration>,
    /// The largest resident set of a process.
    pub max_rss_bytes: Option<u64>,
    /// What its report says; none if the step is one test.
    pub report: Option<Merged>,
    /// What else is to be said of it, a line each.
    pub notes: Vec<String>,
    /// The attempts before the last one.
    pub earlier: Vec<EarlierAttempt>,
    /// Slurm's last word on it.
    pub slurm_state: Option<String>,
    /// Its log.
    pub log: Option<Utf8PathBuf>,
    /// The last lines of the log, as they stand there.
    pub log_tail: String,
    /// A shell line that runs it again.
    pub reproduce: Option<String>,
    /// The files that were kept of its attempts.
    pub kept: Vec<KeptFiles>,
}

/// An attempt that was not the last one.
#[derive(Debug, Clone)]
pub struct EarlierAttempt {
    /// How it ended.
    pub outcome: Outcome,
    /// Why, in one line.
    pub message: String,
    /// Its job.
    pub job_id: Option<String>,
    /// The tests of its report that failed.
    pub failed_tests: BTreeSet<String>,
}

impl StepResult {
    /// Returns what the outcome means.
    #[must_use]
    pub fn status(&self) -> Status {
        self.outcome.status()
    }

    /// Returns whether it passed only after an attempt that failed; one whose node died says nothing of the step.
    #[must_use]
    pub fn is_flaky(&self) -> bool {
        let failed = |attempt: &EarlierAttempt| attempt.outcome.status() == Status::Failed;
        self.outcome == Outcome::Passed && self.earlier.iter().any(failed)
    }

    /// Returns how often it was started.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        let last = u32::from(!matches!(self.outcome, Outcome::NotRun | Outcome::Skipped));
        u32::try_from(self.earlier.len())
            .unwrap_or(u32::MAX)
            .saturating_add(last)
    }

    /// Returns in one line why it ended so.
    #[must_use]
    pub fn reason(&self) -> String {
        if let Some(message) = &self.message {
            return shortened(&one_line(message), REASON);
        }
        match (self.outcome, self.exit_code, self.signal) {
            (Outcome::Failed, Some(code), _) => format!("exit code {code}"),
            (Outcome::Signal, _, Some(signal)) => format!("ended by {}", signal_name(signal)),
            (outcome, ..) => meaning(outcome).to_owned(),
        }
    }
}

/// The figures of a coverage.
#[derive(Debug, Clone)]
pub struct CoverageFigures {
    /// The flag that Codecov gets.
    pub flag: Option<String>,
    /// Lines that could be covered.
    pub total_lines: u64,
    /// Lines that were.
    pub covered_lines: u64,
    /// Ranks that should have written a profile.
    pub ranks_expected: Option<u64>,
    /// Ranks whose profiles were usable.
    pub ranks_used: Option<u64>,
    /// How many ranks' profiles are in each state.
    pub rank_states: BTreeMap<ProfileState, u64>,
    /// What the ranks tell that a sum over them cannot, a line each.
    pub findings: Vec<String>,
    /// Whether something that was measured is not in it: then the run does not stand for its branch.
    pub partial: bool,
}

/// One metric of one benchmark step.
#[derive(Debug, Clone)]
pub struct BenchmarkInput {
    /// The step's name.
    pub step: String,
    /// The metric's name, where the benchmark has several.
    pub metric: Option<String>,
    /// Its unit, as declared.
    pub unit: String,
    /// Which direction is good.
    pub better: Better,
    /// A value for each repetition, or why there is none.
    pub samples: Result<Vec<f64>, BenchmarkError>,
    /// What it is compared with.
    pub baseline: Option<Baseline>,
    /// What must agree for two results to be comparable.
    pub key: BTreeMap<String, String>,
    /// What it has to be here.
    pub reference: Option<Reference>,
    /// What its program says, or its nodes, that spoils it.
    pub warnings: Vec<String>,
}

fn meaning(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Passed => "passed",
        Outcome::Failed => "ended without success",
        Outcome::Signal => "ended by a signal",
        Outcome::Timeout => "did not end within its time",
        Outcome::OutOfMemory => "killed for its use of memory",
        Outcome::Rejected => "the scheduler refused the job",
        Outcome::LaunchFailed => "the launcher could not start it",
        Outcome::NodeFailure => "a node failed",
        Outcome::Preempted => "preempted by another job",
        Outcome::Cancelled => "cancelled",
        Outcome::Starved => "never started",
        Outcome::Lost => "nobody knows how it ended",
        Outcome::NotRun => "did not run",
        Outcome::Skipped => "skipped here",
    }
}

/// The names of the signals that end programs; the numbers are those of Linux on all its usual processors.
fn signal_name(signal: i32) -> String {
    let name = match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        5 => "SIGTRAP",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        10 => "SIGUSR1",
        11 => "SIGSEGV",
        12 => "SIGUSR2",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        31 => "SIGSYS",
        other => return format!("signal {other}"),
    };
    name.to_owned()
}

/// A run to try the documents on.
#[cfg(test)]
pub(crate) mod example {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::super::record::{BaselineSource, NodeConditions};
    use super::*;

    pub(crate) fn time(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    pub(crate) fn step(name: &str, suite: &str, outcome: Outcome) -> StepResult {
        StepResult {
            name: name.to_owned(),
            slug: name.replace(['[', ']', '='], "-"),
            suite: suite.to_owned(),
            kind: StepKind::Test,
            tags: Vec::new(),
            outcome,
            exit_code: (outcome == Outcome::Passed).then_some(0),
            signal: None,
            message: None,
            job_id: Some("71".to_owned()),
            nodes: vec!["n1".to_owned(), "n2".to_owned()],
            ranks: 4,
            mpi_world: Some(4),
            harness: None,
            elapsed: Some(Duration::from_millis(2_250)),
            max_rss_bytes: Some(41_943_040),
            report: None,
            notes: Vec::new(),
            earlier: Vec::new(),
            slurm_state: Some("COMPLETED".to_owned()),
            log: Some(format!("runs/r7/logs/{name}.log").into()),
            log_tail: String::new(),
            reproduce: Some(format!("hpc-ci run --filter 'name({name})'")),
            kept: Vec::new(),
        }
    }

    pub(crate) fn run() -> FinishedRun {
        let mut segfault = step("halo[ranks=4]", "integration", Outcome::Signal);
        segfault.signal = Some(11);
        segfault.slurm_state = Some("FAILED".to_owned());
        segfault.log_tail =
            "\u{1b}[31mrank 3\u{1b}[0m: step 10\nrank 3: Segmentation fault (a < b && c > d)\n"
                .to_owned();
        segfault.kept.push(KeptFiles {
            attempt: 1,
            folder: "runs/r7/steps/halo-4/1/keep".into(),
            files: 2,
            bytes: 4096,
            names: vec!["core.77".to_owned(), "plots/residual.png".to_owned()],
            unmatched: vec!["*.vtk".to_owned()],
            problems: vec!["`core.78` was not kept: it is a symbolic link".to_owned()],
        });
        let mut timeout = step("long", "integration", Outcome::Timeout);
        timeout.elapsed = Some(Duration::from_mins(5));
        let mut flaky = step("exchange", "integration", Outcome::Passed);
        flaky.earlier.push(EarlierAttempt {
            outcome: Outcome::Failed,
            message: "exit code 1".to_owned(),
            job_id: Some("70".to_owned()),
            failed_tests: BTreeSet::new(),
        });
        let mut rejected = step("wide", "scale", Outcome::Rejected);
        rejected.message =
            Some("sbatch: error: More processors requested than permitted".to_owned());
        rejected.job_id = None;
        rejected.nodes.clear();
        rejected.elapsed = None;
        rejected.max_rss_bytes = None;
        rejected.slurm_state = None;
        rejected.log = None;
        let mut benchmark = step("solver/3d", "benchmarks", Outcome::Passed);
        benchmark.kind = StepKind::Benchmark;
        FinishedRun {
            run: "20261120-101500-1a2b3c4".to_owned(),
            project: "heat".to_owned(),
            commit: "1a2b3c4d5e6f708192a3b4c5d6e7f80910213243".to_owned(),
            branch: Some("main".to_owned()),
            dirty: false,
            filtered: false,
            driver_version: "0.1.0".to_owned(),
            started_at: time("2026-11-20T10:15:00Z"),
            finished_at: time("2026-11-20T10:27:34Z"),
            scope: Part::ALL.into(),
            hpc: Hpc {
                cluster: Some("alps".to_owned()),
                job_id: Some("71".to_owned()),
                node: Some("login1".to_owned()),
                julia_version: None,
                toolchain: Some("rustc 1.95.0, Open MPI 5.0.7".to_owned()),
            },
            steps: vec![
                step("unit", "unit", Outcome::Passed),
                flaky,
                segfault,
                timeout,
                rejected,
                StepResult {
                    earlier: Vec::new(),
                    ..step("after", "scale", Outcome::NotRun)
                },
                step("gpu", "scale", Outcome::Skipped),
                benchmark,
            ],
            builds: vec![BuildRecord {
                name: "tests".to_owned(),
                part: Some(Part::Tests),
                features: String::new(),
                status: super::super::record::RunStatus::Passed,
                command: "cargo build --examples".to_owned(),
                exit_code: Some(0),
                duration_seconds: Some(20.5),
                log: Some("runs/r7/logs/build-tests.log".into()),
                job_id: None,
                message: None,
            }],
            jobs: vec![JobRecord {
                job_id: "71".to_owned(),
                steps: vec!["halo[ranks=4]".to_owned()],
                submitted_at: Some(time("2026-11-20T10:16:00Z")),
                started_at: Some(time("2026-11-20T10:17:00Z")),
                ended_at: Some(time("2026-11-20T10:18:00Z")),
                state: Some("FAILED".to_owned()),
                partition: Some("batch".to_owned()),
                nodes: vec!["n1".to_owned(), "n2".to_owned()],
                exit_code: Some("139:0".to_owned()),
                ..JobRecord::default()
            }],
            notes: Vec::new(),
            coverage: Some(CoverageFigures {
                flag: Some("hpc-extended".to_owned()),
                total_lines: 4000,
                covered_lines: 3501,
                ranks_expected: Some(512),
                ranks_used: Some(511),
                rank_states: BTreeMap::from([
                    (ProfileState::Whole, 509),
                    (ProfileState::Partial, 2),
                    (ProfileState::Absent, 1),
                ]),
                findings: vec![
                    "5 lines that only rank 0 reached".to_owned(),
                    "  src/io.c:20-24".to_owned(),
                ],
                partial: false,
            }),
            benchmarks: vec![BenchmarkInput {
                step: "solver/3d".to_owned(),
                metric: None,
                unit: "ms".to_owned(),
                better: Better::Lower,
                samples: Ok(vec![123.4, 122.9, 124.1, 123.0, 123.9, 130.2, 123.4]),
                baseline: Some(Baseline {
                    commit: "0f0e0d0c0b0a09080706050403020100ffeeddcc".to_owned(),
                    run: None,
                    unit: "ms".to_owned(),
                    median: 126.0,
                    samples: vec![126.0],
                    source: BaselineSource::Accepted,
                }),
                key: BTreeMap::from([("partition".to_owned(), "batch".to_owned())]),
                reference: None,
                warnings: Vec::new(),
            }],
            conditions: BTreeMap::from([(
                "solver/3d".to_owned(),
                Conditions {
                    exclusive: true,
                    nodes: vec![NodeConditions {
                        node: "n1".to_owned(),
                        other_jobs: Some(0),
                        ..NodeConditions::default()
                    }],
                    ..Conditions::default()
                },
            )]),
            logs: PartLogs {
                tests_took: Some(Duration::from_secs(700)),
                tests: Some("runs/r7/logs/tests.log".into()),
                benchmarks_took: Some(Duration::from_secs(54)),
                benchmarks: Some("runs/r7/logs/benchmarks.log".into()),
                tutorials: None,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_line() {
        let check = |outcome, exit_code, signal, message: Option<&str>, expected: &str| {
            let step = StepResult {
                exit_code,
                signal,
                message: message.map(str::to_owned),
                ..example::step("a", "s", outcome)
            };
            assert_eq!(step.reason(), expected);
        };
        check(Outcome::Failed, Some(3), None, None, "exit code 3");
        check(Outcome::Failed, None, None, None, "ended without success");
        check(Outcome::Signal, None, Some(11), None, "ended by SIGSEGV");
        check(Outcome::Signal, None, Some(64), None, "ended by signal 64");
        check(
            Outcome::Timeout,
            None,
            None,
            Some("one\n  two\u{7}"),
            "one two",
        );
    }

    #[test]
    fn attempts_count_starts() {
        let mut step = example::step("a", "s", Outcome::NotRun);
        assert_eq!((step.attempts(), step.is_flaky()), (0, false));
        step.outcome = Outcome::Passed;
        assert_eq!((step.attempts(), step.is_flaky()), (1, false));
        let again = EarlierAttempt {
            outcome: Outcome::Failed,
            message: String::new(),
            job_id: None,
            failed_tests: BTreeSet::new(),
        };
        step.earlier.push(again);
        assert_eq!((step.attempts(), step.is_flaky()), (2, true));
    }
}
