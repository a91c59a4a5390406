//! The documents on disk, `schema_version` 1. These types are made for the files and used for nothing else.
//!
//! Documents may gain keys and never lose one: a reader ignores keys that it does not know, and keys that came after
//! the first release have a default. A value that is not known is `null`, never an invented one. Paths in a document are
//! relative to the document.

mod coverage;
mod meta;
mod run;

use std::collections::BTreeMap;
use std::fmt;

use camino::{Utf8Path, Utf8PathBuf};
use chrono::{DateTime, SubsecRound, Utc};
use serde::{Deserialize, Serialize};

pub use coverage::{
    CoverageSummary, FileCoverage, LineGroup, ObjectEntry, ObjectList, ProfileTotals, RankedStep,
    Ratio, StrayProfile, UncountedObject, WhichRanks,
};
pub use meta::{
    Binary, Compiler, Container, Driver, Energy, Health, Launch, Meta, Mpi, NodeInfo,
    ProfileProblem, ProfileState, RankGroup, RankLedger, RunMeta, Slurm, Source, StepLedger,
    Toolchain,
};
pub use run::{BuildRecord, JobRecord, Note, NoteKind, RunEntry, RunParts, RunStep};

/// The version that every document states.
pub const SCHEMA_VERSION: u32 = 1;

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It did what was expected of it.
    Passed,
    /// It ended with an exit code other than 0.
    Failed,
    /// A signal ended it.
    Signal,
    /// It did not end within its time.
    Timeout,
    /// It was killed for its use of memory.
    OutOfMemory,
    /// The scheduler refused the job.
    Rejected,
    /// The launcher could not start the program.
    LaunchFailed,
    /// A node died below it.
    NodeFailure,
    /// The scheduler took its nodes away.
    Preempted,
    /// Somebody cancelled it.
    Cancelled,
    /// It never started within its time of waiting.
    Starved,
    /// Nobody knows how it ended.
    Lost,
    /// It was planned and did not run, because of something else.
    NotRun,
    /// Its own conditions (`only`, `skip`) left it out.
    Skipped,
}

impl Outcome {
    /// Every outcome, in the order of the contract's table.
    pub const ALL: [Self; 14] = [
        Self::Passed,
        Self::Failed,
        Self::Signal,
        Self::Timeout,
        Self::OutOfMemory,
        Self::Rejected,
        Self::LaunchFailed,
        Self::NodeFailure,
        Self::Preempted,
        Self::Cancelled,
        Self::Starved,
        Self::Lost,
        Self::NotRun,
        Self::Skipped,
    ];

    /// Returns what the outcome means: whose turn it is.
    #[must_use]
    pub fn status(self) -> Status {
        match self {
            Self::Passed => Status::Passed,
            Self::Failed | Self::Signal | Self::Timeout | Self::OutOfMemory => Status::Failed,
            Self::Rejected
            | Self::LaunchFailed
            | Self::NodeFailure
            | Self::Preempted
            | Self::Cancelled
            | Self::Starved
            | Self::Lost => Status::Error,
            Self::NotRun => Status::NotRun,
            Self::Skipped => Status::Skipped,
        }
    }

    /// Returns the word that stands in the documents.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Signal => "signal",
            Self::Timeout => "timeout",
            Self::OutOfMemory => "out_of_memory",
            Self::Rejected => "rejected",
            Self::LaunchFailed => "launch_failed",
            Self::NodeFailure => "node_failure",
            Self::Preempted => "preempted",
            Self::Cancelled => "cancelled",
            Self::Starved => "starved",
            Self::Lost => "lost",
            Self::NotRun => "not_run",
            Self::Skipped => "skipped",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What the outcome of one step means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// All is well.
    Passed,
    /// The code under test is at fault.
    Failed,
    /// The infrastructure is; nothing is proved about the code.
    Error,
    /// It should have run and did not.
    NotRun,
    /// It was not meant to run here.
    Skipped,
}

impl Status {
    /// Returns the exit code that this status alone would give a run.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Passed | Self::Skipped => 0,
            Self::Failed => 1,
            Self::Error | Self::NotRun => 3,
        }
    }

    /// Returns the word that stands in the documents.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Error => "error",
            Self::NotRun => "not_run",
            Self::Skipped => "skipped",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The status of a run, or of one part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// Nothing of it ran.
    Skipped,
    /// Everything that ran passed.
    Passed,
    /// Something could not be proved.
    Error,
    /// The code under test is at fault.
    Failed,
}

impl RunStatus {
    /// Returns the exit code of a run with this status. A run of which nothing ran is no proof either way.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Passed => 0,
            Self::Failed => 1,
            Self::Error | Self::Skipped => 3,
        }
    }

    /// Returns the word that stands in the documents.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Skipped => "skipped",
            Self::Passed => "passed",
            Self::Error => "error",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for RunStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A part of the results that a run can replace on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// `tests/`.
    Tests,
    /// `coverage/`.
    Coverage,
    /// `benchmarks/`.
    Benchmarks,
}

impl Part {
    /// Every part.
    pub const ALL: [Self; 3] = [Self::Tests, Self::Coverage, Self::Benchmarks];

    /// Returns the name of the folder below `artifacts/`.
    #[must_use]
    pub fn folder(self) -> &'static str {
        match self {
            Self::Tests => "tests",
            Self::Coverage => "coverage",
            Self::Benchmarks => "benchmarks",
        }
    }
}

/// Why a run must not move `latest`, badges or Codecov.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// Only some of the steps were asked for.
    Filtered,
    /// The work tree had uncommitted changes.
    Dirty,
    /// The infrastructure kept a step from being proved.
    InfrastructureDamaged,
}

impl Mark {
    /// Returns the mark as people read it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Filtered => "filtered",
            Self::Dirty => "dirty",
            Self::InfrastructureDamaged => "infrastructure-damaged",
        }
    }
}

/// Which direction of a metric is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    /// Less is better, as of times.
    Lower,
    /// More is better, as of rates.
    Higher,
}

/// `hpc-results.json`: the latest complete picture in one document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HpcResults {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The commit under test, in full.
    pub commit: String,
    /// Its branch, where there is one.
    pub branch: Option<String>,
    /// When this document was made.
    #[serde(with = "utc_seconds")]
    pub generated_at: DateTime<Utc>,
    /// The worst of the parts.
    pub status: RunStatus,
    /// Where it ran.
    pub hpc: Hpc,
    /// The coverage, if any was measured.
    pub coverage: Option<CoveragePart>,
    /// The tests.
    pub tests: TestsPart,
    /// The benchmarks.
    pub benchmarks: BenchmarksPart,
    /// The verdict of the gates; null as long as there are none.
    #[serde(default)]
    pub gate: Option<serde_json::Value>,
    /// What keeps these results from being taken for the state of the branch.
    #[serde(default)]
    pub marks: Vec<Mark>,
    /// The runs that these results come from, the newest last.
    #[serde(default)]
    pub runs: Vec<String>,
}

/// Where a run took place.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hpc {
    /// Slurm's name of the cluster.
    pub cluster: Option<String>,
    /// The allocation's id, or the first job's.
    pub job_id: Option<String>,
    /// The host that hpc-ci itself ran on.
    pub node: Option<String>,
    /// The version of Julia, if it is there.
    pub julia_version: Option<String>,
    /// Compiler and MPI in a few words.
    pub toolchain: Option<String>,
}

/// The coverage as `hpc-results.json` states it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CoveragePart {
    /// The flag that Codecov gets.
    pub flag: Option<String>,
    /// Covered lines of a hundred, two decimals, rounded down: 100 means all of them.
    pub coverage_percent: f64,
    /// Lines that could be covered.
    pub total_lines: u64,
    /// Lines that were.
    pub covered_lines: u64,
    /// The tracefile.
    pub report_file: Utf8PathBuf,
    /// Totals and figures per file.
    pub summary_file: Utf8PathBuf,
    /// Ranks that should have written a profile.
    #[serde(default)]
    pub ranks_expected: Option<u64>,
    /// Ranks whose profiles were usable.
    #[serde(default)]
    pub ranks_used: Option<u64>,
}

/// The tests as `hpc-results.json` states them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TestsPart {
    /// The worst of them.
    pub status: RunStatus,
    /// From the first step's start to the last one's end.
    pub duration_seconds: Option<f64>,
    /// A log of all of them.
    pub log_file: Option<Utf8PathBuf>,
}

/// The benchmarks as `hpc-results.json` states them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BenchmarksPart {
    /// The worst of them.
    pub status: RunStatus,
    /// From the first step's start to the last one's end.
    pub duration_seconds: Option<f64>,
    /// The log of the suite `tutorials`.
    pub tutorials_log: Option<Utf8PathBuf>,
    /// The log of the benchmarks.
    pub benchmarks_log: Option<Utf8PathBuf>,
}

/// `tests/summary.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TestsSummary {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The commit under test.
    pub commit: String,
    /// The worst of the steps.
    pub status: RunStatus,
    /// Counts by suite.
    pub suites: BTreeMap<String, SuiteCounts>,
    /// Whatever failed or ended as an error.
    pub failing: Vec<Failing>,
    /// Every step, in the order of the plan.
    pub steps: Vec<StepRecord>,
    /// The run that this part comes from.
    #[serde(default)]
    pub run: Option<String>,
    /// What is missing here, and why.
    #[serde(default)]
    pub missing: Vec<String>,
}

/// The steps of one suite, counted. Every step is counted once; `flaky` ones are among the passed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SuiteCounts {
    /// Passed, at the first attempt or a later one.
    pub passed: u64,
    /// Failed.
    pub failed: u64,
    /// Ended by the infrastructure.
    pub errors: u64,
    /// Not meant to run here.
    pub skipped: u64,
    /// Should have run and did not.
    pub not_run: u64,
    /// Those of the passed that needed another attempt.
    pub flaky: u64,
}

/// Something that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failing {
    /// The step.
    pub step: String,
    /// The test inside the step; null for the step itself.
    pub test: Option<String>,
    /// How it ended.
    pub outcome: Outcome,
    /// Why, in one line.
    pub message: String,
}

/// One step in `tests/summary.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// Its name, with its point of the matrix.
    pub name: String,
    /// Its suite.
    pub suite: String,
    /// What the outcome means.
    pub status: Status,
    /// How it ended.
    pub outcome: Outcome,
    /// The program's exit code, if it ended by itself.
    pub exit_code: Option<i32>,
    /// The number of the signal that ended it.
    pub signal: Option<i32>,
    /// The job, if there was one.
    pub job_id: Option<String>,
    /// The nodes it ran on.
    pub nodes: Vec<String>,
    /// The ranks it had.
    pub ranks: u32,
    /// How long the last attempt took.
    pub elapsed_seconds: Option<f64>,
    /// The largest resident set of a process.
    pub max_rss_bytes: Option<u64>,
    /// How often it was started.
    pub attempts: u32,
    /// Whether it passed only at a later attempt.
    pub flaky: bool,
    /// What Slurm said at last, in its own word.
    pub slurm_state: Option<String>,
    /// Its log.
    pub log: Option<Utf8PathBuf>,
    /// Why it ended so, in one line.
    #[serde(default)]
    pub message: Option<String>,
    /// Its name as files have it.
    #[serde(default)]
    pub slug: Option<String>,
    /// Its tags.
    #[serde(default)]
    pub tags: Vec<String>,
    /// A shell line that runs it again.
    #[serde(default)]
    pub reproduce: Option<String>,
}

/// `benchmarks/summary.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BenchmarksSummary {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The commit under test.
    pub commit: String,
    /// The largest change in the bad direction; negative if all became better, null without a baseline.
    pub worst_regression_pct: Option<f64>,
    /// The metrics by name: the step's, and `:METRIC` behind it where it has several.
    pub benchmarks: BTreeMap<String, BenchmarkRecord>,
    /// The worst of the steps.
    #[serde(default)]
    pub status: Option<RunStatus>,
    /// The run that this part comes from.
    #[serde(default)]
    pub run: Option<String>,
    /// Every benchmark step.
    #[serde(default)]
    pub steps: Vec<StepRecord>,
    /// What is missing here, and why.
    #[serde(default)]
    pub missing: Vec<String>,
}

/// One metric of one benchmark.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BenchmarkRecord {
    /// The median of the samples; null if there is none.
    pub median: Option<f64>,
    /// The unit, as declared.
    pub unit: String,
    /// Which direction is good.
    pub better: Better,
    /// The median in milliseconds, of times only.
    pub median_ms: Option<f64>,
    /// One value a repetition, in the order they ran.
    pub samples: Vec<f64>,
    /// The change of the median against the baseline, raw.
    pub delta_vs_baseline_pct: Option<f64>,
    /// What it was compared with.
    pub baseline: Option<BaselineRecord>,
    /// Whether it is worse than the baseline, beyond tolerance and spread.
    pub regressed: bool,
    /// Whether there is a value: an error is a missing or impossible one.
    #[serde(default)]
    pub status: Option<Status>,
    /// Why there is no value.
    #[serde(default)]
    pub message: Option<String>,
    /// The step that measured it.
    #[serde(default)]
    pub step: Option<String>,
    /// How far the samples scatter.
    #[serde(default)]
    pub spread: Option<Spread>,
    /// Where the true median is.
    #[serde(default)]
    pub interval: Option<Interval>,
    /// The same in the base unit (`s`, `B/s`, `flop/s`…), if the unit is known.
    #[serde(default)]
    pub normalised: Option<Normalised>,
    /// What must agree for two results to be comparable: system, partition, processor, ranks, nodes, compiler, MPI.
    #[serde(default)]
    pub key: BTreeMap<String, String>,
}

/// The median that a benchmark was compared with, in the unit of the benchmark.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BaselineRecord {
    /// The commit that it was measured at.
    pub commit: String,
    /// Its median.
    pub median: f64,
    /// The run that measured it.
    #[serde(default)]
    pub run: Option<String>,
}

/// How far samples scatter.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// The median of the absolute deviations from the median, unscaled.
    pub mad: f64,
    /// The distance between the quartiles.
    pub iqr: f64,
}

/// An interval that holds the true median whatever the distribution is, if the samples are independent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The probability that it does; at least 0.95.
    pub level: f64,
    /// Its lower end, one of the samples.
    pub low: f64,
    /// Its upper end, one of the samples.
    pub high: f64,
}

/// A median in the base unit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Normalised {
    /// The base unit.
    pub unit: String,
    /// The median in it.
    pub median: f64,
}

/// Returns a path that leads from `folder` to `target`; both are relative to the same place, or both absolute.
///
/// An absolute target seen from a relative folder stays as it is.
#[must_use]
pub fn path_from(folder: &Utf8Path, target: &Utf8Path) -> Utf8PathBuf {
    if folder.is_absolute() != target.is_absolute() {
        return target.to_owned();
    }
    let common = folder
        .components()
        .zip(target.components())
        .take_while(|(a, b)| a == b)
        .count();
    let up = folder.components().skip(common).map(|_| "..");
    let down = target
        .components()
        .skip(common)
        .map(|component| component.as_str());
    up.chain(down).collect()
}

/// Times as RFC 3339 in UTC to the second, with `Z`.
pub(crate) mod utc_seconds {
    use super::{DateTime, Deserialize, SubsecRound, Utc};
    use serde::{Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(time: &DateTime<Utc>, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&text(time))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<DateTime<Utc>, D::Error> {
        DateTime::<Utc>::deserialize(from)
    }

    pub(super) fn text(time: &DateTime<Utc>) -> String {
        time.trunc_subsecs(0)
            .to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
    }

    /// The same where there may be none.
    pub(crate) mod option {
        use super::{DateTime, Deserialize, Utc, text};
        use serde::{Deserializer, Serializer};

        #[expect(clippy::ref_option, reason = "serde hands the field as it stands")]
        pub(crate) fn serialize<S: Serializer>(
            time: &Option<DateTime<Utc>>,
            to: S,
        ) -> Result<S::Ok, S::Error> {
            match time {
                Some(time) => to.serialize_some(&text(time)),
                None => to.serialize_none(),
            }
        }

        pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
            from: D,
        ) -> Result<Option<DateTime<Utc>>, D::Error> {
            Option::<DateTime<Utc>>::deserialize(from)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_outcomes_is_the_contracts() {
        // Outcome, status, exit code: contract, section 2.
        let table = [
            ("passed", "passed", 0),
            ("failed", "failed", 1),
            ("signal", "failed", 1),
            ("timeout", "failed", 1),
            ("out_of_memory", "failed", 1),
            ("rejected", "error", 3),
            ("launch_failed", "error", 3),
            ("node_failure", "error", 3),
            ("preempted", "error", 3),
            ("cancelled", "error", 3),
            ("starved", "error", 3),
            ("lost", "error", 3),
            ("not_run", "not_run", 3),
            ("skipped", "skipped", 0),
        ];
        let ours =
            Outcome::ALL.map(|it| (it.as_str(), it.status().as_str(), it.status().exit_code()));
        assert_eq!(ours, table);
        for outcome in Outcome::ALL {
            assert_eq!(serde_json::json!(outcome), outcome.as_str());
            assert_eq!(
                serde_json::json!(outcome.status()),
                outcome.status().as_str()
            );
        }
    }

    #[test]
    fn paths_lead_from_a_document_to_a_file() {
        let check = |folder: &str, target: &str, expected: &str| {
            assert_eq!(
                path_from(folder.into(), target.into()),
                expected,
                "{folder} -> {target}"
            );
        };
        check(
            "",
            "artifacts/coverage/lcov.info",
            "artifacts/coverage/lcov.info",
        );
        check(
            "artifacts/runs",
            "artifacts/coverage/lcov.info",
            "../coverage/lcov.info",
        );
        check(
            "artifacts/tests",
            "runs/7/halo.log",
            "../../runs/7/halo.log",
        );
        check(
            "artifacts/tests",
            "../big/7/halo.log",
            "../../../big/7/halo.log",
        );
        check("artifacts/tests", "/scratch/halo.log", "/scratch/halo.log");
        check(
            "/home/ada/hpc-ci",
            "/scratch/runs/7/a.log",
            "../../../scratch/runs/7/a.log",
        );
    }

    #[test]
    fn a_document_with_unknown_keys_is_read() {
        let text = r#"{"schema_version":1,"commit":"c","worst_regression_pct":null,"benchmarks":{},"weather":"fine"}"#;
        let read = serde_json::from_str::<BenchmarksSummary>(text)
            .expect("it is a summary with a key more");
        assert_eq!(read.status, None);
    }
}

/// A provenance to try the documents on.
#[cfg(test)]
pub(super) mod meta_example {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    pub(crate) fn run_meta() -> RunMeta {
        let states = [
            ProfileState::Whole,
            ProfileState::Whole,
            ProfileState::Absent,
            ProfileState::Partial,
        ];
        let mut ledger = StepLedger::of_ranks("halo[ranks=4]", 1, &states);
        ledger.problems.push(ProfileProblem {
            rank: Some(2),
            state: ProfileState::Absent,
            file: None,
            message: "rank 2 left no profile".to_owned(),
        });
        RunMeta {
            run: String::new(),
            parts: Vec::new(),
            marks: Vec::new(),
            started_at: "2026-11-20T10:15:00Z".parse().unwrap(),
            finished_at: "2026-11-20T10:27:34Z".parse().unwrap(),
            driver: Driver {
                version: "0.1.0".to_owned(),
                command_line: vec!["hpc-ci".to_owned(), "run".to_owned()],
                host: Some("login1".to_owned()),
                ..Driver::default()
            },
            source: Source {
                repository: Some("https://example.org/heat.git".to_owned()),
                head: "1a2b3c4d5e6f708192a3b4c5d6e7f80910213243".to_owned(),
                branch: Some("main".to_owned()),
                ..Source::default()
            },
            toolchain: Toolchain {
                compilers: vec![Compiler {
                    command: "rustc".to_owned(),
                    id: Some("rustc".to_owned()),
                    version: Some("1.95.0".to_owned()),
                    target: None,
                }],
                mpi: Some(Mpi {
                    implementation: "Open MPI".to_owned(),
                    version: Some("5.0.7".to_owned()),
                    ..Mpi::default()
                }),
                ..Toolchain::default()
            },
            features: vec![String::new(), "rma".to_owned()],
            modules: vec!["gcc/13".to_owned()],
            launch: Launch {
                launcher: Some("srun".to_owned()),
                pmi: Some("pmix".to_owned()),
                ..Launch::default()
            },
            slurm: Some(Slurm {
                cluster: Some("alps".to_owned()),
                partition: Some("batch".to_owned()),
                ..Slurm::default()
            }),
            nodes: vec![NodeInfo {
                name: "n1".to_owned(),
                cores: Some(64),
                ..NodeInfo::default()
            }],
            jobs: vec![JobRecord {
                job_id: "71".to_owned(),
                ..JobRecord::default()
            }],
            binaries: Vec::new(),
            ranks: Some(RankLedger::of_steps(vec![ledger])),
        }
    }
}
