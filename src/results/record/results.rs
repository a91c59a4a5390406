//! `hpc-results.json`.

use camino::Utf8PathBuf;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Mark, RunStatus, utc_seconds};

/// `hpc-results.json`: the latest complete picture in one document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HpcResults {
    /// [`super::SCHEMA_VERSION`].
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
