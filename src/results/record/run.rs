//! `runs/RUN-ID.json`: everything about one run, never changed once written.

use camino::Utf8PathBuf;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{
    BenchmarksPart, CoveragePart, Energy, Hpc, Mark, Part, RunStatus, StepRecord, TestsPart,
    utc_seconds,
};

/// `runs/RUN-ID.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunEntry {
    /// [`super::SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The run's id.
    pub run: String,
    /// The project.
    pub project: String,
    /// The commit under test.
    pub commit: String,
    /// Its branch.
    pub branch: Option<String>,
    /// Whether the work tree had uncommitted changes.
    pub dirty: bool,
    /// The version of hpc-ci.
    pub driver_version: String,
    /// When it began.
    #[serde(with = "utc_seconds")]
    pub started_at: DateTime<Utc>,
    /// When it ended.
    #[serde(with = "utc_seconds")]
    pub finished_at: DateTime<Utc>,
    /// The worst of the parts.
    pub status: RunStatus,
    /// The exit code that this status gives.
    pub exit_code: u8,
    /// What keeps it from standing for the branch.
    pub marks: Vec<Mark>,
    /// What it set out to do; the rest is another run's.
    pub scope: Vec<Part>,
    /// Where it ran.
    pub hpc: Hpc,
    /// What came of each part.
    pub parts: RunParts,
    /// Every step.
    pub steps: Vec<RunStep>,
    /// Every build.
    pub builds: Vec<BuildRecord>,
    /// Every job.
    pub jobs: Vec<JobRecord>,
    /// What else is to be said.
    pub notes: Vec<Note>,
}

/// What came of each part of a run; null for a part that it left alone, or that came to nothing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RunParts {
    /// The tests.
    pub tests: Option<TestsPart>,
    /// The coverage.
    pub coverage: Option<CoveragePart>,
    /// The benchmarks.
    pub benchmarks: Option<BenchmarksPart>,
}

/// A step of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunStep {
    /// What kind it is.
    pub part: Part,
    /// The step, as in the summaries.
    #[serde(flatten)]
    pub step: StepRecord,
}

/// A build of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BuildRecord {
    /// `[build.NAME]`.
    pub name: String,
    /// The part that cannot do without it; null for all of them.
    pub part: Option<Part>,
    /// Its feature set.
    pub features: String,
    /// How it ended.
    pub status: RunStatus,
    /// Its command.
    pub command: String,
    /// Its exit code.
    pub exit_code: Option<i32>,
    /// How long it took.
    pub duration_seconds: Option<f64>,
    /// Its log.
    pub log: Option<Utf8PathBuf>,
    /// Its job, if it was built in one.
    #[serde(default)]
    pub job_id: Option<String>,
    /// Why it ended so.
    #[serde(default)]
    pub message: Option<String>,
}

/// A job of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct JobRecord {
    /// Slurm's id of it.
    pub job_id: String,
    /// The steps that it ran.
    pub steps: Vec<String>,
    /// When it was submitted.
    #[serde(with = "utc_seconds::option")]
    pub submitted_at: Option<DateTime<Utc>>,
    /// When it started.
    #[serde(with = "utc_seconds::option")]
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    #[serde(with = "utc_seconds::option")]
    pub ended_at: Option<DateTime<Utc>>,
    /// How long it waited in the queue.
    #[serde(default)]
    pub queue_wait_seconds: Option<f64>,
    /// Slurm's last word on it.
    pub state: Option<String>,
    /// The partition that it ran in.
    pub partition: Option<String>,
    /// Its nodes.
    pub nodes: Vec<String>,
    /// Its exit code, as Slurm writes it: `0:9`.
    #[serde(default)]
    pub exit_code: Option<String>,
    /// How often Slurm put it back into the queue.
    #[serde(default)]
    pub requeues: Option<u32>,
    /// The largest resident set of a task.
    #[serde(default)]
    pub max_rss_bytes: Option<u64>,
    /// Whether it asked to be alone on its nodes.
    #[serde(default)]
    pub exclusive: Option<bool>,
    /// The energy it used.
    #[serde(default)]
    pub energy: Option<Energy>,
}

/// Something worth saying about a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// What it means.
    pub kind: NoteKind,
    /// The part that it is about; null for all of them.
    pub part: Option<Part>,
    /// What is to be said, in one line.
    pub message: String,
}

/// What a note means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoteKind {
    /// The code under test is at fault, outside any step: its build failed.
    Failure,
    /// The infrastructure is, outside any step.
    Error,
    /// Nobody is; but it should be known.
    Warning,
}
