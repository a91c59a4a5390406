//! The history of a project: one line of JSON for each run that has finished, and one for each baseline that was accepted.
//!
//! Lines are added and never changed. A reader takes the newest line that it is looking for.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{BenchmarkRecord, CoveragePart, Mark, Part, RunStatus, SuiteCounts, utc_seconds};

/// A run that has finished.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// [`super::SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The run's id.
    pub run: String,
    /// The commit under test.
    pub commit: String,
    /// Its branch.
    pub branch: Option<String>,
    /// Whether the work tree had uncommitted changes.
    pub dirty: bool,
    /// What keeps it from standing for the branch.
    pub marks: Vec<Mark>,
    /// When it began.
    #[serde(with = "utc_seconds")]
    pub started_at: DateTime<Utc>,
    /// When it ended.
    #[serde(with = "utc_seconds")]
    pub finished_at: DateTime<Utc>,
    /// The worst of its parts.
    pub status: RunStatus,
    /// What it set out to do.
    pub scope: Vec<Part>,
    /// Its tests by suite; null if it left them alone.
    pub tests: Option<BTreeMap<String, SuiteCounts>>,
    /// Its coverage; null if none was measured.
    pub coverage: Option<CoverageFigure>,
    /// Its metrics by name.
    pub benchmarks: BTreeMap<String, BenchmarkRecord>,
    /// The largest change in the bad direction against the baselines of its day.
    pub worst_regression_pct: Option<f64>,
}

/// The coverage of a run in three numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CoverageFigure {
    /// Covered lines of a hundred, rounded down.
    pub coverage_percent: f64,
    /// Lines that could be covered.
    pub total_lines: u64,
    /// Lines that were.
    pub covered_lines: u64,
}

impl From<&CoveragePart> for CoverageFigure {
    fn from(part: &CoveragePart) -> Self {
        Self {
            coverage_percent: part.coverage_percent,
            total_lines: part.total_lines,
            covered_lines: part.covered_lines,
        }
    }
}

/// A baseline that somebody accepted. The newest of a metric and a key is in force.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Accepted {
    /// [`super::SCHEMA_VERSION`].
    pub schema_version: u32,
    /// When.
    #[serde(with = "utc_seconds")]
    pub accepted_at: DateTime<Utc>,
    /// Why.
    pub reason: String,
    /// The metric.
    pub benchmark: String,
    /// Where it was measured.
    pub key: BTreeMap<String, String>,
    /// The commit that it was measured at.
    pub commit: String,
    /// The run that measured it.
    pub run: String,
    /// Its unit.
    pub unit: String,
    /// Its median.
    pub median: f64,
    /// Its samples.
    pub samples: Vec<f64>,
    /// What was in force before.
    pub before: Option<Before>,
}

/// The baseline that another one took the place of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Before {
    /// Its commit.
    pub commit: String,
    /// Its median, in its own unit.
    pub median: f64,
    /// Its unit.
    pub unit: String,
}
