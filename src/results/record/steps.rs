//! `tests/summary.json`, and a step as every document has it.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

use super::{Outcome, RunStatus, Status};
use crate::results::reports::{CaseStatus, Dialect};

/// `tests/summary.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TestsSummary {
    /// [`super::SCHEMA_VERSION`].
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

/// The tests of one suite, counted: those that the reports of its steps list, and each step without a report as one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SuiteCounts {
    /// Passed, at the first attempt or a later one.
    pub passed: u64,
    /// Failed, ran out of time or died.
    pub failed: u64,
    /// Could not be carried out, or nobody knows how it ended.
    pub errors: u64,
    /// Not meant to run here, or failed as its program expected.
    pub skipped: u64,
    /// Should have run and did not.
    pub not_run: u64,
    /// Those of the passed that needed another attempt.
    pub flaky: u64,
    /// Those of the skipped that ran and failed as expected.
    #[serde(default)]
    pub xfailed: u64,
    /// Those of the passed that were expected to fail.
    #[serde(default)]
    pub xpassed: u64,
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
    /// How the test ended, in the words of test programs.
    #[serde(default)]
    pub test_status: Option<CaseStatus>,
}

/// What was seen of the launches of a command that starts MPI by itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HarnessRecord {
    /// Launches with the per-rank wrapper, whose ranks left notes.
    pub launches: u32,
    /// Launches with options that were not understood, so that their ranks are unknown.
    pub unknown: u32,
    /// Processes that started MPI past the wrapper.
    pub beside: u32,
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
    /// The size of the world that MPI told its ranks: null where none of them said so, because it has no MPI, or one that cannot be asked.
    #[serde(default)]
    pub mpi_world: Option<u32>,
    /// What was seen of its launches, if its command starts MPI by itself; null otherwise.
    #[serde(default)]
    pub harness: Option<HarnessRecord>,
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
    /// Who wrote its report; null if it is one test.
    #[serde(default)]
    pub report: Option<Dialect>,
    /// The tests of its report, counted.
    #[serde(default)]
    pub tests: Option<SuiteCounts>,
    /// Tests that its ranks do not agree on.
    #[serde(default)]
    pub disagreements: Vec<Disagreement>,
    /// What else is to be said of it: what of its output was not believed, or of its report not known.
    #[serde(default)]
    pub notes: Vec<String>,
    /// The files that were kept of its attempts, by `keep`.
    #[serde(default)]
    pub kept: Vec<KeptFiles>,
}

/// The files that were kept of an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptFiles {
    /// Which attempt.
    pub attempt: u32,
    /// The folder that holds them.
    pub folder: Utf8PathBuf,
    /// How many there are.
    pub files: u64,
    /// How many bytes they have, all together.
    pub bytes: u64,
    /// Their paths in the folder; of many the first hundred.
    pub names: Vec<String>,
    /// Patterns that match nothing that the attempt wrote.
    pub unmatched: Vec<String>,
    /// What matches and was not kept, or not as it was, and why.
    pub problems: Vec<String>,
}

/// A test that the ranks of a step do not agree on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disagreement {
    /// The test.
    pub test: String,
    /// Who says what, the worst first. A rank that is in none of them does not list the test.
    pub ranks: Vec<RanksSaying>,
}

/// Ranks that say the same of a test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RanksSaying {
    /// What they say.
    pub status: CaseStatus,
    /// Which: `0-2,5`.
    pub ranks: String,
}
