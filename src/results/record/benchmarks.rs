//! `benchmarks/summary.json`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Conditions, RunStatus, Status, StepRecord};

/// Which direction of a metric is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    /// Less is better, as of times.
    Lower,
    /// More is better, as of rates.
    Higher,
}

/// `benchmarks/summary.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BenchmarksSummary {
    /// [`super::SCHEMA_VERSION`].
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
    /// Under which conditions the steps were measured, by step.
    #[serde(default)]
    pub conditions: BTreeMap<String, Conditions>,
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
    /// What it has to be here, and whether it is.
    #[serde(default)]
    pub reference: Option<ReferenceRecord>,
    /// What its program says, or its nodes, that spoils it.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// What a median has to be, in the unit of the benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ReferenceRecord {
    /// The value that it should have.
    pub value: f64,
    /// The least that it may be.
    pub low: Option<f64>,
    /// The most that it may be.
    pub high: Option<f64>,
    /// Whether it lies within.
    pub within: bool,
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
    /// Why this one.
    #[serde(default)]
    pub source: Option<BaselineSource>,
}

/// Why a result is compared with another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BaselineSource {
    /// `--baseline` asked for it.
    Asked,
    /// Somebody accepted it.
    Accepted,
    /// It is that of the merge base with the default branch.
    MergeBase,
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
