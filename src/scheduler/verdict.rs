//! What the end of a job means, from all that is known of it. Decides; asks nobody.
//!
//! Success needs two witnesses: the record that the job's script left when its program had ended, and the scheduler's
//! final word. Everything short of that is an outcome that says whose turn it is.

use serde::{Deserialize, Serialize};

use super::job::{JobRecord, JobState};

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It did what it should.
    Passed,
    /// Its program ended with an exit code other than 0.
    Failed,
    /// A signal ended its program.
    Signal,
    /// It did not end in time.
    Timeout,
    /// It was killed for want of memory.
    OutOfMemory,
    /// The scheduler refused it.
    Rejected,
    /// Its program was never started, or not as it was asked for.
    LaunchFailed,
    /// A node failed under it.
    NodeFailure,
    /// Another job took its nodes.
    Preempted,
    /// Somebody cancelled it.
    Cancelled,
    /// It waited for nodes until we gave up.
    Starved,
    /// Nobody can say how it ended.
    Lost,
    /// It was never submitted.
    NotRun,
    /// It was left out on purpose.
    Skipped,
}

/// Whose turn it is after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Nobody's.
    Passed,
    /// The code's: it is at fault.
    Failed,
    /// The machine's: nothing is proved either way.
    Error,
    /// It never ran.
    NotRun,
    /// It was not meant to run.
    Skipped,
}

impl Outcome {
    /// Returns whose turn it is.
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
}

/// What a job's script writes, as JSON under a temporary name that is then renamed, when its program has ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExitRecord {
    /// The version of this format: 1.
    pub schema_version: u32,
    /// The exit code of the launcher, or of the program where there is none.
    pub exit_code: i32,
    /// The script stopped the program because its time was up.
    #[serde(default)]
    pub timed_out: bool,
    /// Why the program could not be started.
    #[serde(default)]
    pub launch_error: Option<String>,
    /// The kernel killed one of the program's processes for want of memory.
    #[serde(default)]
    pub out_of_memory: bool,
    /// When the program started, in seconds since the epoch.
    pub started: f64,
    /// When it ended, in seconds since the epoch.
    pub ended: f64,
    /// The job, by the name that the script knows.
    #[serde(default)]
    pub job_id: Option<String>,
    /// How often the scheduler had started this job before.
    #[serde(default)]
    pub restart_count: u32,
    /// The nodes of the job, in the scheduler's short form.
    #[serde(default)]
    pub nodes: Option<String>,
    /// How many ranks were asked for.
    #[serde(default)]
    pub ranks_expected: Option<u32>,
    /// How each rank ended that lived to tell.
    #[serde(default)]
    pub ranks: Vec<RankExit>,
}

/// How one rank ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RankExit {
    /// Its number.
    pub rank: u32,
    /// Its exit code, 128 + n for signal n.
    pub exit_code: i32,
    /// Its node.
    #[serde(default)]
    pub host: Option<String>,
    /// How many ranks it believed there to be.
    #[serde(default)]
    pub size: Option<u32>,
}

/// Why we cancelled a job ourselves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CancelCause {
    /// We were asked to.
    Asked,
    /// It had waited as long as it may, for this reason.
    Starved(String),
    /// It would never have started, for this reason.
    NeverStarts(String),
}

/// All that is known of a job that has ended, or that we have given up on.
#[derive(Debug, Clone, Copy, Default)]
pub struct Evidence<'a> {
    /// The scheduler's final word on the last run; `None` if it has none.
    pub record: Option<&'a JobRecord>,
    /// How often the scheduler started the job again; an exit record of an earlier run proves nothing.
    pub restarts: u32,
    /// The record that the script left.
    pub exit: Option<&'a ExitRecord>,
    /// Why we cancelled it, if we did.
    pub cancelled: Option<&'a CancelCause>,
}

/// What the evidence comes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// How it ended.
    pub outcome: Outcome,
    /// The exit code of the program, where it ended by itself.
    pub exit_code: Option<i32>,
    /// The signal that ended the program.
    pub signal: Option<i32>,
    /// What happened, for a person; a fragment.
    pub message: String,
}

impl Verdict {
    fn new(outcome: Outcome, message: impl Into<String>) -> Self {
        Self {
            outcome,
            exit_code: None,
            signal: None,
            message: message.into(),
        }
    }
}

/// Returns what the evidence comes to.
#[must_use]
pub fn judge(evidence: &Evidence<'_>) -> Verdict {
    let exit = evidence
        .exit
        .filter(|exit| exit.restart_count >= evidence.restarts);
    match (never_started(evidence), exit) {
        (Some(verdict), None) => verdict,
        (_, Some(exit)) => with_exit(exit, evidence.record),
        (None, None) => without_exit(evidence.record),
    }
}

/// The ends of a job that we took out of the queue.
fn never_started(evidence: &Evidence<'_>) -> Option<Verdict> {
    let started = evidence
        .record
        .is_some_and(|record| !record.nodes.is_empty());
    match evidence.cancelled? {
        CancelCause::Starved(reason) if !started => Some(Verdict::new(
            Outcome::Starved,
            format!("waited in the queue for too long: {reason}"),
        )),
        CancelCause::NeverStarts(reason) if !started => Some(Verdict::new(
            Outcome::Rejected,
            format!("would never have started: {reason}"),
        )),
        _ => Some(Verdict::new(Outcome::Cancelled, "was cancelled by us")),
    }
}

/// The script lived to say how its program ended.
fn with_exit(exit: &ExitRecord, record: Option<&JobRecord>) -> Verdict {
    if exit.out_of_memory || record.is_some_and(JobRecord::out_of_memory) {
        return Verdict::new(Outcome::OutOfMemory, "was killed for want of memory");
    }
    if let Some(error) = &exit.launch_error {
        return Verdict::new(Outcome::LaunchFailed, error);
    }
    if exit.timed_out {
        return Verdict::new(Outcome::Timeout, "did not end in time");
    }
    let Some(record) = record else {
        return Verdict::new(
            Outcome::Lost,
            "left an exit record, but the scheduler does not know it",
        );
    };
    if let Some(verdict) = taken_away(record) {
        return verdict;
    }
    if exit.exit_code != 0 {
        return fault(exit, record);
    }
    if let Some(verdict) = incomplete(exit) {
        return verdict;
    }
    match record.state {
        JobState::Completed => Verdict {
            exit_code: Some(0),
            ..Verdict::new(Outcome::Passed, "passed")
        },
        _ => Verdict::new(
            Outcome::Lost,
            format!("its program ended with 0, but the job {}", record.state),
        ),
    }
}

/// The scheduler took the nodes away, so the program's own end says nothing of the program.
fn taken_away(record: &JobRecord) -> Option<Verdict> {
    let (outcome, message) = match record.state {
        JobState::NodeFail | JobState::BootFail => (Outcome::NodeFailure, "lost a node".to_owned()),
        JobState::Preempted => (
            Outcome::Preempted,
            "had to make way for another job".to_owned(),
        ),
        JobState::Timeout | JobState::Deadline => {
            (Outcome::Timeout, "reached the job's time limit".to_owned())
        }
        JobState::LaunchFailed | JobState::ReconfigFail => (
            Outcome::LaunchFailed,
            "could not be launched on its nodes".to_owned(),
        ),
        JobState::Cancelled => {
            let by = record.cancelled_by.as_deref();
            let by = by.map_or(String::new(), |by| format!(" by user {by}"));
            (Outcome::Cancelled, format!("was cancelled{by}"))
        }
        _ => return None,
    };
    Some(Verdict::new(outcome, message))
}

/// Each rank must have taken part: an MPI library under the wrong PMI runs every rank alone, and ends with 0.
fn incomplete(exit: &ExitRecord) -> Option<Verdict> {
    let expected = exit.ranks_expected?;
    let alone = exit.ranks.iter().filter_map(|rank| rank.size);
    if let Some(size) = alone.into_iter().find(|size| *size != expected) {
        let message = format!("{expected} ranks were asked for, but a rank saw {size}");
        return Some(Verdict::new(Outcome::LaunchFailed, message));
    }
    None
}

/// The code that an exit status above this stands for a signal.
const SIGNAL_BASE: i32 = 128;

/// The program ended badly by itself. A launcher kills the other ranks when one has failed, and then may tell of that
/// kill alone, so the ranks' own words come first, then the step's, then the launcher's.
fn fault(exit: &ExitRecord, record: &JobRecord) -> Verdict {
    let ranks = exit
        .ranks
        .iter()
        .map(|rank| (Some(rank.rank), rank.exit_code));
    let steps = record
        .steps
        .iter()
        .filter(|step| step.step.parse::<u32>().is_ok())
        .filter_map(|step| step.exit)
        .map(|exit| match exit.signal {
            0 => (None, exit.code),
            signal => (None, SIGNAL_BASE + signal),
        });
    let collateral = |code: i32| [0, SIGNAL_BASE + 9, SIGNAL_BASE + 15].contains(&code);
    let (rank, code) = ranks
        .chain(steps)
        .find(|(_, code)| !collateral(*code))
        .unwrap_or((None, exit.exit_code));
    let who = rank.map_or("its program".to_owned(), |rank| format!("rank {rank}"));
    if code > SIGNAL_BASE && code <= SIGNAL_BASE + 64 {
        let signal = code - SIGNAL_BASE;
        return Verdict {
            signal: Some(signal),
            ..Verdict::new(
                Outcome::Signal,
                format!("{who} was ended by signal {signal}"),
            )
        };
    }
    Verdict {
        exit_code: Some(code),
        ..Verdict::new(
            Outcome::Failed,
            format!("{who} ended with exit code {code}"),
        )
    }
}

/// Slurm's exit code for an output file that could not be opened.
const NO_OUTPUT: i32 = 53;

/// The script never got to write its record, or we cannot see it.
fn without_exit(record: Option<&JobRecord>) -> Verdict {
    let Some(record) = record else {
        return Verdict::new(
            Outcome::Lost,
            "the scheduler does not know it, and it left no exit record",
        );
    };
    if record.out_of_memory() {
        return Verdict::new(Outcome::OutOfMemory, "was killed for want of memory");
    }
    if let Some(verdict) = taken_away(record) {
        return verdict;
    }
    if record.exit.is_some_and(|exit| exit.signal == NO_OUTPUT) {
        return Verdict::new(
            Outcome::LaunchFailed,
            "its log could not be written on the node",
        );
    }
    Verdict::new(
        Outcome::Lost,
        format!("ended {}, but left no exit record", record.state),
    )
}
