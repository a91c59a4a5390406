//! What the end of a job means, from all that is known of it. Decides; asks nobody.
//!
//! Success needs two witnesses: the record that the job's script left when its program had ended, and the scheduler's
//! final word. Everything short of that is an outcome that says whose turn it is.

use serde::{Deserialize, Serialize};

pub use super::exit_record::{ExitRecord, RankExit};
use super::job::{JobRecord, JobState, JobStatus};
use super::outcome::Outcome;
use super::pending;

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
    /// Somebody suspended it, and nobody let it go on.
    Suspended,
    /// It ran on for long after its time limit.
    Overran,
}

/// All that is known of a job that has ended, or that we have given up on.
#[derive(Debug, Clone, Copy, Default)]
pub struct Evidence<'a> {
    /// The scheduler's final word on the last run; `None` if it has none.
    pub record: Option<&'a JobRecord>,
    /// What the queue said of it when it was seen last.
    pub last: Option<&'a JobStatus>,
    /// Whether the queue does not know it any more, and had not seen it end.
    pub forgotten: bool,
    /// Whether there are books, and they give no answer.
    pub books_silent: bool,
    /// How often the scheduler started the job again; an exit record of an earlier run proves nothing.
    pub restarts: u32,
    /// The record that the script left.
    pub exit: Option<&'a ExitRecord>,
    /// The end of the job's log.
    pub log: &'a str,
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
    /// Returns a verdict of which neither an exit code nor a signal is known.
    pub fn new(outcome: Outcome, message: impl Into<String>) -> Self {
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
    match (exit, evidence.cancelled, evidence.record) {
        (Some(exit), None, record) | (Some(exit), _, record @ Some(_)) => {
            with_exit(exit, record, evidence)
        }
        (_, Some(cause), record) => cancelled_by_us(cause, record),
        (None, None, record) => without_exit(record, evidence),
    }
}

/// Returns whether the place of a job was at fault, so that its step may fare better elsewhere: a node died, the job had to make
/// way, or could not be launched. What the script itself refused would be refused anywhere.
#[must_use]
pub fn is_fault_of_place(verdict: &Verdict, exit: Option<&ExitRecord>) -> bool {
    match verdict.outcome {
        Outcome::NodeFailure | Outcome::Preempted => true,
        Outcome::LaunchFailed => exit.is_none_or(|exit| {
            let error = exit.launch_error.as_deref();
            error.is_some_and(|error| error.contains(UNSEEN) || error.contains(OUT_OF_REACH))
        }),
        _ => false,
    }
}

/// What the script says where the storage is not mounted.
const UNSEEN: &str = "is not to be seen from this node";
/// What the script says where srun could not start anything because the controller was away.
const OUT_OF_REACH: &str = "could not reach Slurm's controller";

/// Whether a log holds what Slurm or srun write when the kernel has killed a process for want of memory. On a cluster
/// without accounting, nothing else tells of a rank that was.
#[must_use]
pub fn tells_of_oom_kill(log: &str) -> bool {
    log.lines().any(|line| {
        line.contains("oom-kill event")
            || line.starts_with("srun: error: ") && line.ends_with(": Out Of Memory")
    })
}

fn out_of_memory(record: Option<&JobRecord>, log: &str) -> Option<Verdict> {
    let killed = record.is_some_and(JobRecord::out_of_memory) || tells_of_oom_kill(log);
    killed.then(|| Verdict::new(Outcome::OutOfMemory, "was killed for want of memory"))
}

fn cancelled_by_us(cause: &CancelCause, record: Option<&JobRecord>) -> Verdict {
    let started = record.is_some_and(|record| !record.nodes.is_empty());
    match cause {
        CancelCause::Starved(reason) if !started => {
            let message = format!(
                "waited in the queue for longer than `max_pending`{}",
                why(reason)
            );
            Verdict::new(Outcome::Starved, message)
        }
        CancelCause::NeverStarts(reason) if !started => never_starts(reason),
        CancelCause::Suspended => Verdict::new(
            Outcome::Starved,
            "was suspended by somebody for longer than `max_pending`, and was cancelled by us",
        ),
        CancelCause::Overran => Verdict::new(
            Outcome::Lost,
            "ran on long after its time limit without Slurm ending it, and was cancelled by us",
        ),
        _ => {
            let unheard = if record.is_none() {
                ", and Slurm has not said that it has ended"
            } else {
                ""
            };
            Verdict::new(Outcome::Cancelled, format!("was cancelled by us{unheard}"))
        }
    }
}

/// A job that no waiting helps.
fn never_starts(reason: &str) -> Verdict {
    let meaning = pending::meaning(reason);
    let help = meaning
        .help
        .map_or(String::new(), |help| format!("; {help}"));
    let message = format!(
        "would never have started: {} ({reason}){help}",
        meaning.text
    );
    Verdict::new(Outcome::Rejected, message)
}

/// What a job waited for, behind a sentence that says how long.
fn why(reason: &str) -> String {
    if reason.is_empty() {
        return String::new();
    }
    let meaning = pending::meaning(reason);
    // How a job is let go that is gone is of no use any more.
    let help = meaning.help.filter(|help| !help.contains("JOB"));
    let help = help.map_or(String::new(), |help| format!("; {help}"));
    format!(", for {} ({reason}){help}", meaning.text)
}

/// The script lived to say how its program ended.
fn with_exit(exit: &ExitRecord, record: Option<&JobRecord>, evidence: &Evidence<'_>) -> Verdict {
    let unwell =
        exit.exit_code != 0 || record.is_some_and(|record| record.state != JobState::Completed);
    if let Some(verdict) = out_of_memory(record, evidence.log).filter(|_| unwell) {
        return verdict;
    }
    if let Some(verdict) = record.and_then(node_lost) {
        return verdict;
    }
    if let Some(error) = &exit.launch_error {
        // A script that was ended from outside may say no more than that its command had not started.
        let ended = record
            .filter(|record| evidence.cancelled.is_some() || record.state == JobState::Cancelled);
        let ended = ended.and_then(|record| taken_away(record, evidence));
        return ended.unwrap_or_else(|| Verdict::new(Outcome::LaunchFailed, error));
    }
    if exit.timed_out {
        return Verdict::new(Outcome::Timeout, "did not end in time");
    }
    if let Some(verdict) = record.and_then(|record| taken_away(record, evidence)) {
        return verdict;
    }
    if exit.exit_code != 0 {
        let verdict = fault(exit, exit.exit_code, record);
        // Without the scheduler's final word, a kill may well have been its own.
        let killed = matches!(verdict.signal, Some(9 | 15));
        if killed && !record.is_some_and(JobRecord::settled) {
            let message = "its program was killed, and the scheduler does not say by whom";
            return Verdict::new(Outcome::Lost, message);
        }
        return verdict;
    }
    if let Some(verdict) = contradicted(exit, record) {
        return verdict;
    }
    match record.map(|record| &record.state) {
        Some(JobState::Completed) => Verdict {
            exit_code: Some(0),
            ..Verdict::new(Outcome::Passed, "passed")
        },
        Some(state) => Verdict::new(
            Outcome::Lost,
            format!("its program ended with 0, but the job is {state}"),
        ),
        None => {
            let unknown = unknown(evidence);
            Verdict::new(
                Outcome::Lost,
                format!("its program ended with 0, but {unknown}"),
            )
        }
    }
}

/// Why a controller may have forgotten a job.
const LOST_STATE: &str = "; did the controller lose its state?";

/// Why nobody says how a job ended.
fn unknown(evidence: &Evidence<'_>) -> String {
    let seen = evidence.last.map_or(String::new(), |last| {
        format!(" (it was {} when last seen)", last.state)
    });
    if evidence.books_silent {
        return format!(
            "the controller has forgotten the job{seen}, and accounting gives no answer"
        );
    }
    format!("neither the controller nor accounting know how the job ended{seen}{LOST_STATE}")
}

/// A node went away under the job, whatever else was said.
fn node_lost(record: &JobRecord) -> Option<Verdict> {
    match record.state {
        JobState::NodeFail | JobState::BootFail => {
            Some(Verdict::new(Outcome::NodeFailure, "lost a node"))
        }
        JobState::Preempted => Some(Verdict::new(
            Outcome::Preempted,
            "had to make way for another job",
        )),
        _ => None,
    }
}

/// The scheduler ended the job, so the program's own end says nothing of the program.
fn taken_away(record: &JobRecord, evidence: &Evidence<'_>) -> Option<Verdict> {
    let (outcome, message) = match record.state {
        JobState::Timeout => (Outcome::Timeout, "reached the job's time limit".to_owned()),
        JobState::Deadline => (Outcome::Starved, "reached the job's deadline".to_owned()),
        JobState::LaunchFailed | JobState::ReconfigFail => (
            Outcome::LaunchFailed,
            "could not be launched on its nodes".to_owned(),
        ),
        JobState::Revoked => (
            Outcome::Lost,
            "was handed to another cluster of the federation, which is not asked; \
             `--clusters` in `options`, or `SLURM_CLUSTERS`, keeps to one"
                .to_owned(),
        ),
        JobState::Cancelled => {
            // Some clusters are set up to cancel what can never start.
            let reason = evidence.last.and_then(|last| last.reason.as_deref());
            let hopeless = reason.filter(|reason| !pending::meaning(reason).clears);
            if let Some(reason) = hopeless.filter(|_| record.nodes.is_empty()) {
                return Some(never_starts(reason));
            }
            let by = record.cancelled_by.as_deref();
            let by = by.map_or(String::new(), |by| {
                format!(" by user `{by}`, not by this run")
            });
            let when = if record.nodes.is_empty() {
                " before it started"
            } else {
                ""
            };
            // A controller that starts anew has accounting close what it does not know, in root's name.
            let forgotten = if evidence.forgotten { LOST_STATE } else { "" };
            let message = format!("was cancelled{by}{when}{forgotten}");
            (Outcome::Cancelled, message)
        }
        _ => return node_lost(record),
    };
    Some(Verdict::new(outcome, message))
}

/// What the notes of the ranks say against a launcher that ended with 0.
fn contradicted(exit: &ExitRecord, record: Option<&JobRecord>) -> Option<Verdict> {
    if exit.launches == 0 {
        return alone_in_harness(exit);
    }
    let failed = |rank: &&RankExit| rank.exit_code.is_some_and(|code| code != 0);
    let code = exit
        .ranks
        .iter()
        .find(failed)
        .and_then(|rank| rank.exit_code);
    if let Some(code) = code {
        let verdict = fault(exit, code, record);
        return Some(Verdict {
            message: format!("{}, although the launcher ended with 0", verdict.message),
            ..verdict
        });
    }
    if let Some(verdict) = alone(exit) {
        return Some(verdict);
    }
    let unheard = exit.unheard();
    let expected = exit.ranks_expected;
    let first = unheard.first()?;
    let who = match unheard.len() {
        1 => format!("rank {first}"),
        several => format!("{several} of {expected} ranks, the first of them {first},"),
    };
    Some(Verdict::new(
        Outcome::Lost,
        format!("the launcher ended with 0, but {who} left no note of its end"),
    ))
}

/// Each rank must have taken part: an MPI library under a launcher that it does not understand runs every rank alone, and ends
/// with 0.
fn alone(exit: &ExitRecord) -> Option<Verdict> {
    let expected = exit.ranks_expected;
    if expected < 2 {
        return None;
    }
    let sizes = || exit.ranks.iter().filter_map(|rank| rank.size);
    let help = "set `launcher`, `pmi` or `MPIEXEC` to what the program's MPI understands";
    if let Some(size) = sizes().find(|size| *size != expected) {
        let message = if sizes().all(|size| size == 1) {
            format!(
                "{expected} ranks were asked for, but MPI ran each of them alone, in a world of one; {help}"
            )
        } else {
            format!("{expected} ranks were asked for, but a rank saw {size}")
        };
        return Some(Verdict::new(Outcome::LaunchFailed, message));
    }
    let mut families = exit.ranks.iter().filter_map(|rank| rank.family.as_deref());
    let family = families.find(|family| !understands(family, &exit.process_manager))?;
    let message = format!(
        "its ranks started {} under `{}`, which runs each of them alone; {help}",
        family_name(family),
        exit.process_manager
    );
    Some(Verdict::new(Outcome::LaunchFailed, message))
}

/// The same of a launch by a command that starts MPI by itself.
fn alone_in_harness(exit: &ExitRecord) -> Option<Verdict> {
    let mut several = exit.harness.launches.iter().filter_map(|launch| {
        let ranks = launch.ranks.filter(|ranks| *ranks > 1)?;
        Some((ranks, &launch.sizes))
    });
    let alone = |sizes: &[u32]| !sizes.is_empty() && sizes.iter().all(|size| *size == 1);
    let (ranks, _) = several.find(|(_, sizes)| alone(sizes))?;
    Some(Verdict::new(
        Outcome::LaunchFailed,
        format!(
            "its command started {ranks} ranks, but MPI ran each of them alone, in a world of one: the launcher belongs to another MPI \
             than the program"
        ),
    ))
}

/// Whether ranks with this MPI find each other under this process manager; true where that is not known.
fn understands(family: &str, manager: &str) -> bool {
    !matches!(
        (family, manager),
        ("mpich", "openmpi" | "none") | ("openmpi", "mpich" | "pmi2" | "none")
    )
}

fn family_name(family: &str) -> &str {
    match family {
        "openmpi" => "Open MPI",
        "mpich" => "MPICH",
        other => other,
    }
}

/// The code that an exit status above this stands for a signal.
const SIGNAL_BASE: i32 = 128;

/// The program ended badly by itself. A launcher kills the other ranks when one has failed and then may tell of that
/// kill alone, so a rank's own word comes first, then the launcher's, then the step's.
fn fault(exit: &ExitRecord, loudest: i32, record: Option<&JobRecord>) -> Verdict {
    let culprit = culprit(&exit.ranks);
    let steps = record.map_or(&[][..], |record| &record.steps);
    let steps = steps
        .iter()
        .filter(|step| step.step.parse::<u32>().is_ok())
        .filter_map(|step| step.exit)
        .map(|exit| match exit.signal {
            0 => exit.code,
            signal => SIGNAL_BASE.saturating_add(signal),
        });
    let code = culprit.and_then(|rank| rank.exit_code).into_iter();
    let code = code
        .chain([loudest])
        .chain(steps)
        .find(|code| !collateral(*code))
        .unwrap_or(loudest);
    let who = match (exit.failed_part.as_deref(), culprit) {
        (Some(part), _) if !part.is_empty() => format!("`{part}`"),
        (_, Some(rank)) => rank
            .rank
            .map_or_else(|| "a rank".to_owned(), |rank| format!("rank {rank}")),
        _ => "its program".to_owned(),
    };
    if code > SIGNAL_BASE && code <= SIGNAL_BASE + 64 {
        let signal = code - SIGNAL_BASE;
        let message = format!("{who} was ended by signal {signal}");
        return Verdict {
            signal: Some(signal),
            ..Verdict::new(Outcome::Signal, message)
        };
    }
    let message = format!("{who} ended with exit code {code}");
    Verdict {
        exit_code: Some(code),
        ..Verdict::new(Outcome::Failed, message)
    }
}

/// The rank that failed first, as far as one can tell: one that crashed, else one that was not just killed with the
/// others.
fn culprit(ranks: &[RankExit]) -> Option<&RankExit> {
    let code = |rank: &RankExit| rank.exit_code.unwrap_or_default();
    let crashed = |rank: &&RankExit| CRASHES.contains(&code(rank).saturating_sub(SIGNAL_BASE));
    let failed = |rank: &&RankExit| !collateral(code(rank));
    ranks
        .iter()
        .find(crashed)
        .or_else(|| ranks.iter().find(failed))
}

/// SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGSYS.
const CRASHES: &[i32] = &[4, 5, 6, 7, 8, 11, 31];

/// Whether a rank that ended so may have been ended because of another: by nothing, SIGKILL or SIGTERM.
fn collateral(code: i32) -> bool {
    [0, SIGNAL_BASE + 9, SIGNAL_BASE + 15].contains(&code)
}

/// Slurm's exit code for an output file that could not be opened.
const NO_OUTPUT: i32 = 53;

/// The script never got to write its record, or we cannot see it.
fn without_exit(record: Option<&JobRecord>, evidence: &Evidence<'_>) -> Verdict {
    let Some(record) = record else {
        let unknown = unknown(evidence);
        return Verdict::new(Outcome::Lost, format!("left no exit record, and {unknown}"));
    };
    let killed = out_of_memory(Some(record), evidence.log);
    if let Some(verdict) = killed.or_else(|| taken_away(record, evidence)) {
        return verdict;
    }
    if record.exit.is_some_and(|exit| exit.signal == NO_OUTPUT) {
        return Verdict::new(
            Outcome::LaunchFailed,
            "its log could not be written on the node",
        );
    }
    if record.state == JobState::Failed && record.nodes.is_empty() {
        return Verdict::new(Outcome::Rejected, "was refused after it had been submitted");
    }
    Verdict::new(
        Outcome::Lost,
        format!("ended {}, but left no exit record", record.state),
    )
}

#[cfg(test)]
mod tests;
