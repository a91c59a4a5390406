//! What is said about a job: what we ask for, how it is called, what state it is in, what the books say of it.
//!
//! The states are Slurm's, since every other scheduler here has fewer. How Slurm's text becomes these values is the
//! business of [`slurm::parse`](super::slurm::parse).

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use camino::Utf8PathBuf;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// What one job asks of the scheduler. Fields that are `None` or empty leave the choice to the scheduler.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JobRequest {
    /// The name by which the job can be found again; control characters are dropped.
    pub name: String,
    /// A remark that is kept with the job.
    pub comment: Option<String>,
    /// The batch script, a file that the scheduler reads at once.
    pub script: Utf8PathBuf,
    /// Where both streams of the script go. Written literally: `%` has no meaning. Of an array it is a folder, in which
    /// task K writes `K/log.txt`.
    pub output: Utf8PathBuf,
    /// The directory in which the script starts.
    pub cwd: Utf8PathBuf,
    /// The partition.
    pub partition: Option<String>,
    /// The account that pays.
    pub account: Option<String>,
    /// The quality of service.
    pub qos: Option<String>,
    /// The reservation.
    pub reservation: Option<String>,
    /// Features that the nodes must have.
    pub constraint: Option<String>,
    /// The walltime limit, rounded up to whole minutes. Zero: the partition's default.
    pub time: Duration,
    /// How many nodes.
    pub nodes: Option<u32>,
    /// How many MPI processes.
    pub ranks: u32,
    /// How many of them on a node.
    pub ranks_per_node: Option<u32>,
    /// Cores for each rank.
    pub cpus_per_rank: Option<u32>,
    /// GPUs for each rank.
    pub gpus_per_rank: Option<u32>,
    /// GPUs on each node, whatever runs there.
    pub gpus_per_node: Option<u32>,
    /// Generic resources, as Slurm writes them.
    pub gres: Option<String>,
    /// Bytes of memory on each node.
    pub memory: Option<u64>,
    /// Bytes of memory for each core.
    pub memory_per_cpu: Option<u64>,
    /// No other job shares the nodes.
    pub exclusive: bool,
    /// Whether the scheduler may start the job again by itself after a node failure or a preemption.
    pub requeue: bool,
    /// What must have happened to other jobs first.
    pub dependency: Option<Dependency>,
    /// Nodes that must not be used.
    pub exclude: Vec<String>,
    /// The script runs as often as this says, each time with a task number of its own.
    pub array: Option<Array>,
    /// Further options, passed on as they stand; they win over all of the above.
    pub options: Vec<String>,
}

/// The tasks of an array, numbered from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Array {
    /// How many there are.
    pub tasks: u32,
    /// How many may run at a time.
    pub at_once: u32,
}

/// What must have happened to other jobs before a job may start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dependency {
    /// All of them ended with success; if one does not, the job is cancelled.
    AfterOk(Vec<JobId>),
    /// All of them ended, however that was.
    AfterAny(Vec<JobId>),
}

/// The name that a scheduler gave to a job: `71`, a task of an array `58_3`, a part of a heterogeneous job `67+0`, or
/// a process of this host `local-4711-183422`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JobId(String);

/// A text that is no job id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a job id")]
pub struct InvalidJobId(pub String);

impl JobId {
    /// Returns the id as the scheduler writes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the id of the array or heterogeneous job that this is a part of, or the id itself.
    #[must_use]
    pub fn root(&self) -> &str {
        self.0.split(['_', '+']).next().unwrap_or(&self.0)
    }

    /// Returns the id of one task of the array that this is.
    #[must_use]
    pub fn task(&self, number: u32) -> Self {
        Self(format!("{}_{number}", self.root()))
    }

    /// Returns the id of the array or heterogeneous job that this is a part of.
    #[must_use]
    pub fn array(&self) -> Self {
        Self(self.root().to_owned())
    }

    /// Returns which task of its array this is, if it is one.
    #[must_use]
    pub fn task_number(&self) -> Option<u32> {
        number(self.0.split_once('_')?.1)
    }

    /// Returns the name of a process of this host. The start time tells it from a later process with the same number.
    #[must_use]
    pub fn local(pid: u32, start_ticks: u64) -> Self {
        Self(format!("local-{pid}-{start_ticks}"))
    }

    /// Returns process number and start time if this names a process of this host.
    #[must_use]
    pub fn as_local(&self) -> Option<(u32, u64)> {
        let (pid, start) = self.0.strip_prefix("local-")?.split_once('-')?;
        Some((number(pid)?, number(start)?))
    }
}

/// Returns the value of a text of digits alone: no sign, no white space.
fn number<T: FromStr>(text: &str) -> Option<T> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

impl FromStr for JobId {
    type Err = InvalidJobId;

    fn from_str(text: &str) -> Result<Self, InvalidJobId> {
        let id = Self(text.to_owned());
        let parts = text.split_once(['_', '+']).unwrap_or((text, "0"));
        let numbered = number::<u32>(parts.0).is_some() && number::<u32>(parts.1).is_some();
        if numbered || id.as_local().is_some() {
            return Ok(id);
        }
        Err(InvalidJobId(text.to_owned()))
    }
}

impl TryFrom<String> for JobId {
    type Error = InvalidJobId;

    fn try_from(text: String) -> Result<Self, InvalidJobId> {
        text.parse()
    }
}

impl From<JobId> for String {
    fn from(id: JobId) -> Self {
        id.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The state of a job or of a step of it, by Slurm's names. One that we do not know is kept as it was said.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
#[expect(
    missing_docs,
    reason = "these are Slurm's own words, explained in squeue(1)"
)]
pub enum JobState {
    Pending,
    Requeued,
    RequeueFed,
    RequeueHold,
    ReservationDeletedHold,
    SpecialExit,
    Expediting,
    Configuring,
    PowerUpNode,
    Running,
    Completing,
    Resizing,
    Signaling,
    StageOut,
    Stopped,
    Suspended,
    UpdateDb,
    Completed,
    Cancelled,
    Failed,
    Timeout,
    Deadline,
    OutOfMemory,
    NodeFail,
    BootFail,
    LaunchFailed,
    ReconfigFail,
    Preempted,
    Revoked,
    Unknown(String),
}

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It holds no nodes yet, or no more.
    Waiting,
    /// It holds nodes.
    Running,
    /// It will do nothing more.
    Ended,
    /// We cannot tell.
    Unknown,
}

/// Long name, short name, state: as Slurm prints them.
const STATES: &[(&str, &str, JobState)] = &[
    ("PENDING", "PD", JobState::Pending),
    ("REQUEUED", "RQ", JobState::Requeued),
    ("REQUEUE_FED", "RF", JobState::RequeueFed),
    ("REQUEUE_HOLD", "RH", JobState::RequeueHold),
    ("RESV_DEL_HOLD", "RD", JobState::ReservationDeletedHold),
    ("SPECIAL_EXIT", "SE", JobState::SpecialExit),
    ("EXPEDITING", "EX", JobState::Expediting),
    ("CONFIGURING", "CF", JobState::Configuring),
    ("POWER_UP_NODE", "PO", JobState::PowerUpNode),
    ("RUNNING", "R", JobState::Running),
    ("COMPLETING", "CG", JobState::Completing),
    ("RESIZING", "RS", JobState::Resizing),
    ("SIGNALING", "SI", JobState::Signaling),
    ("STAGE_OUT", "SO", JobState::StageOut),
    ("STOPPED", "ST", JobState::Stopped),
    ("SUSPENDED", "S", JobState::Suspended),
    ("UPDATE_DB", "UD", JobState::UpdateDb),
    ("COMPLETED", "CD", JobState::Completed),
    ("CANCELLED", "CA", JobState::Cancelled),
    ("FAILED", "F", JobState::Failed),
    ("TIMEOUT", "TO", JobState::Timeout),
    ("DEADLINE", "DL", JobState::Deadline),
    ("OUT_OF_MEMORY", "OOM", JobState::OutOfMemory),
    ("NODE_FAIL", "NF", JobState::NodeFail),
    ("BOOT_FAIL", "BF", JobState::BootFail),
    ("LAUNCH_FAILED", "LF", JobState::LaunchFailed),
    ("RECONFIG_FAIL", "RC", JobState::ReconfigFail),
    ("PREEMPTED", "PR", JobState::Preempted),
    ("REVOKED", "RV", JobState::Revoked),
];

impl JobState {
    /// Returns the state that Slurm means: the name, its short form, one that a narrow column cut (`CANCELLED+`,
    /// `OUT_OF_ME+`), or one with an explanation behind it (`CANCELLED by 1000`).
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let text = text.trim();
        let word = text.split_whitespace().next().unwrap_or_default();
        let upper = word.to_ascii_uppercase();
        let (stem, cut) = match upper.strip_suffix('+') {
            Some(stem) => (stem, true),
            None => (upper.as_str(), false),
        };
        let exact = STATES.iter().find(|row| row.0 == stem || row.1 == stem);
        if let Some(row) = exact {
            return row.2.clone();
        }
        let mut begins = STATES.iter().filter(|row| row.0.starts_with(stem));
        match (cut && !stem.is_empty(), begins.next(), begins.next()) {
            (true, Some(only), None) => only.2.clone(),
            _ => Self::Unknown(text.to_owned()),
        }
    }

    /// Returns how far a job in this state is.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match self {
            Self::Pending
            | Self::Requeued
            | Self::RequeueFed
            | Self::RequeueHold
            | Self::ReservationDeletedHold
            | Self::SpecialExit
            | Self::Expediting => Phase::Waiting,
            Self::Configuring
            | Self::PowerUpNode
            | Self::Running
            | Self::Completing
            | Self::Resizing
            | Self::Signaling
            | Self::StageOut
            | Self::Stopped
            | Self::Suspended
            | Self::UpdateDb => Phase::Running,
            Self::Completed
            | Self::Cancelled
            | Self::Failed
            | Self::Timeout
            | Self::Deadline
            | Self::OutOfMemory
            | Self::NodeFail
            | Self::BootFail
            | Self::LaunchFailed
            | Self::ReconfigFail
            | Self::Preempted
            | Self::Revoked => Phase::Ended,
            Self::Unknown(_) => Phase::Unknown,
        }
    }

    /// Returns whether a job in this state will do nothing more.
    #[must_use]
    pub fn ended(&self) -> bool {
        self.phase() == Phase::Ended
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::Unknown(text) = self {
            return f.write_str(text);
        }
        let name = STATES.iter().find(|row| row.2 == *self).map(|row| row.0);
        f.write_str(name.unwrap_or("UNKNOWN"))
    }
}

impl From<String> for JobState {
    fn from(text: String) -> Self {
        Self::parse(&text)
    }
}

impl From<JobState> for String {
    fn from(state: JobState) -> Self {
        state.to_string()
    }
}

/// What a scheduler says of a job while it still knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobStatus {
    /// The job.
    pub id: JobId,
    /// Its state.
    pub state: JobState,
    /// Why it waits or ended, in the scheduler's words.
    pub reason: Option<String>,
    /// Its nodes.
    pub nodes: Vec<String>,
    /// When it started, or is expected to start.
    pub start: Option<DateTime<Utc>>,
    /// How long it has been running.
    pub elapsed: Option<Duration>,
    /// How often the scheduler has started it again.
    pub restarts: Option<u32>,
}

/// The answer to one question about many jobs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Observation {
    /// What is known of each job. A job that is not here is not in the queue any more, or not yet.
    pub jobs: BTreeMap<JobId, JobStatus>,
    /// Lines of the answer that could not be read.
    pub unread: Vec<String>,
}

/// When and where a scheduler expects a job to start, would it be submitted now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Estimate {
    /// When.
    pub start: DateTime<Utc>,
    /// Where.
    pub nodes: Vec<String>,
}

/// How a process ended: an exit code, or the number of the signal that ended it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ExitStatus {
    /// The exit code.
    pub code: i32,
    /// The signal, 0 for none.
    pub signal: i32,
}

/// What the books say of one run of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRecord {
    /// The job.
    pub id: JobId,
    /// Its name.
    pub name: String,
    /// Its state.
    pub state: JobState,
    /// Who cancelled it: a user's number.
    pub cancelled_by: Option<String>,
    /// How its batch script ended.
    pub exit: Option<ExitStatus>,
    /// The worst end of its steps.
    pub derived_exit: Option<ExitStatus>,
    /// The partition it ran in.
    pub partition: Option<String>,
    /// The account that paid.
    pub account: Option<String>,
    /// Its nodes.
    pub nodes: Vec<String>,
    /// When it was submitted.
    pub submit: Option<DateTime<Utc>>,
    /// When it started.
    pub start: Option<DateTime<Utc>>,
    /// When it ended.
    pub end: Option<DateTime<Utc>>,
    /// How long it ran.
    pub elapsed: Option<Duration>,
    /// What it ran: the batch script, then each launch.
    pub steps: Vec<StepRecord>,
}

/// What the books say of one step of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepRecord {
    /// What follows the dot in the step's id: `batch`, `extern`, `0`, `1`...
    pub step: String,
    /// Its name, often the program's.
    pub name: String,
    /// Its state.
    pub state: JobState,
    /// How it ended.
    pub exit: Option<ExitStatus>,
    /// How long it ran.
    pub elapsed: Option<Duration>,
    /// The largest resident set that was seen of one of its tasks, in bytes.
    pub max_rss: Option<u64>,
}

impl From<&JobStatus> for JobRecord {
    /// Takes the scheduler's last word for a record, on a cluster that keeps no books.
    fn from(status: &JobStatus) -> Self {
        Self {
            id: status.id.clone(),
            name: String::new(),
            state: status.state.clone(),
            cancelled_by: None,
            exit: None,
            derived_exit: None,
            partition: None,
            account: None,
            nodes: status.nodes.clone(),
            submit: None,
            start: status.start,
            end: None,
            elapsed: status.elapsed,
            steps: Vec::new(),
        }
    }
}

impl JobRecord {
    /// Returns whether this is a record of the end, not one that accounting has yet to bring up to date.
    #[must_use]
    pub fn settled(&self) -> bool {
        self.state.ended()
    }

    /// Returns the largest resident set of one task that was seen in any step, in bytes.
    #[must_use]
    pub fn max_rss(&self) -> Option<u64> {
        self.steps.iter().filter_map(|step| step.max_rss).max()
    }

    /// Returns whether the job or one of its steps was killed for want of memory.
    #[must_use]
    pub fn out_of_memory(&self) -> bool {
        let states = self.steps.iter().map(|step| &step.state);
        states
            .chain([&self.state])
            .any(|state| *state == JobState::OutOfMemory)
    }
}

/// What the books say of many jobs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Accounting {
    /// The runs of each job, the first one first: a job that was requeued has several.
    pub runs: BTreeMap<JobId, Vec<JobRecord>>,
    /// Lines of the answer that could not be read.
    pub unread: Vec<String>,
}

impl Accounting {
    /// Returns the last run of a job.
    #[must_use]
    pub fn last(&self, id: &JobId) -> Option<&JobRecord> {
        self.runs.get(id)?.last()
    }
}
