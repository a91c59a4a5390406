//! The text that Slurm's commands print → values.
//!
//! Text with named columns is read, not `--json`: its schema moved with almost every version, while the text of `squeue -O`
//! and `sacct -P` stands still. Times come as seconds since the epoch, because we set `SLURM_TIME_FORMAT`.
//! The fields are those of squeue(1) and sacct(1). Nothing here fails: a line that makes no sense is handed back.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::nodes;
use crate::scheduler::job::{
    Accounting, Estimate, ExitStatus, JobId, JobRecord, JobState, JobStatus, Observation,
    StepRecord,
};

/// The columns that [`queue`] reads. Width 0 prints a field whole. The reason is last, since it may hold anything.
pub(super) const QUEUE_FORMAT: &str =
    "JobArrayID:0|,State:0|,RestartCnt:0|,NodeList:0|,StartTime:0|,TimeUsed:0|,Reason:0";

/// The columns that [`accounting`] reads. The name is last, since it may hold anything.
pub(super) const ACCOUNTING_FORMAT: &str = "JobID,State,ExitCode,DerivedExitCode,Partition,Account,NodeList,Submit,Start,End,ElapsedRaw,MaxRSS,JobName";

/// More tasks than this in one line are no array but nonsense.
const MAX_TASKS: usize = 1_000_000;

/// Returns what `squeue -h -r -O QUEUE_FORMAT` says of each job.
#[must_use]
pub fn queue(text: &str) -> Observation {
    let mut observation = Observation::default();
    for line in content(text) {
        match queue_line(line) {
            Some(statuses) => observation.jobs.extend(
                statuses
                    .into_iter()
                    .map(|status| (status.id.clone(), status)),
            ),
            None => observation.unread.push(line.to_owned()),
        }
    }
    observation
}

fn queue_line(line: &str) -> Option<Vec<JobStatus>> {
    let fields: Vec<&str> = line.splitn(7, '|').collect();
    let [id, state, restarts, node_list, start, elapsed, reason] = fields[..] else {
        return None;
    };
    let status = |id| JobStatus {
        id,
        state: JobState::parse(state),
        reason: said(reason),
        nodes: node_names(node_list),
        start: time(start),
        elapsed: duration(elapsed),
        restarts: restarts.trim().parse().ok(),
    };
    Some(ids(id)?.into_iter().map(status).collect())
}

/// Returns what `sacct -n -P -D -o ACCOUNTING_FORMAT` says of each job and its steps.
///
/// A step belongs to the run whose line stands above it, since a requeued job's runs all have the same id.
#[must_use]
pub fn accounting(text: &str) -> Accounting {
    let mut accounting = Accounting::default();
    for line in content(text) {
        if accounting_line(line, &mut accounting.runs).is_none() {
            accounting.unread.push(line.to_owned());
        }
    }
    accounting
}

fn accounting_line(line: &str, runs: &mut BTreeMap<JobId, Vec<JobRecord>>) -> Option<()> {
    let fields: Vec<&str> = line.splitn(13, '|').collect();
    let [
        id,
        state,
        exit,
        derived,
        partition,
        account,
        node_list,
        submit,
        start,
        end,
        elapsed,
        rss,
        name,
    ] = fields[..]
    else {
        return None;
    };
    if let Some((job, step)) = id.split_once('.') {
        let run = runs.get_mut(&job.parse::<JobId>().ok()?)?.last_mut()?;
        run.steps.push(StepRecord {
            step: step.to_owned(),
            name: name.to_owned(),
            state: JobState::parse(state),
            exit: exit_status(exit),
            elapsed: seconds(elapsed),
            max_rss: size(rss),
        });
        return Some(());
    }
    for id in ids(id)? {
        runs.entry(id.clone()).or_default().push(JobRecord {
            id,
            name: name.to_owned(),
            state: JobState::parse(state),
            cancelled_by: cancelled_by(state),
            exit: exit_status(exit),
            derived_exit: exit_status(derived),
            partition: said(partition),
            account: said(account),
            nodes: node_names(node_list),
            submit: time(submit),
            start: time(start),
            end: time(end),
            elapsed: seconds(elapsed),
            steps: Vec::new(),
        });
    }
    Some(())
}

/// What is left to tell whose request a job came of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// The job.
    pub id: JobId,
    /// When it was submitted.
    pub submit: Option<DateTime<Utc>>,
    /// Its comment, the separator and its name. Both may hold the separator, so they are compared as one.
    pub label: String,
}

/// Returns what `squeue -o '%i|%V|%k|%j'` and `sacct -P -o JobID,Submit,Comment,JobName` say of each job.
#[must_use]
pub fn traces(text: &str) -> Vec<Trace> {
    let lines = content(text).filter_map(|line| {
        let (id, rest) = line.split_once('|')?;
        let (submit, label) = rest.split_once('|')?;
        Some((ids(id)?, time(submit), label))
    });
    let traces = lines.flat_map(|(ids, submit, label)| {
        let trace = move |id| Trace {
            id,
            submit,
            label: label.to_owned(),
        };
        ids.into_iter().map(trace)
    });
    traces.collect()
}

/// Returns the id that `sbatch --parsable` printed: `71`, or `71;cluster`.
#[must_use]
pub fn submitted(text: &str) -> Option<JobId> {
    let line = text.lines().rev().find(|line| !line.trim().is_empty())?;
    let id = line.split(';').next()?.trim();
    id.parse().ok()
}

/// Returns when and where `sbatch --test-only` expects a job to start: `Job 22 to start at 1795173278 using 12
/// processors on nodes n[1-3] in partition debug`.
#[must_use]
pub fn estimate(text: &str) -> Option<Estimate> {
    let line = text.lines().find(|line| line.contains(" to start at "))?;
    let (_, rest) = line.split_once(" to start at ")?;
    let start = time(rest.split_whitespace().next()?)?;
    let nodes = rest.split_once(" on nodes ").map(|(_, rest)| rest);
    let nodes = nodes.and_then(|rest| rest.split_whitespace().next());
    Some(Estimate {
        start,
        nodes: nodes.map(node_names).unwrap_or_default(),
    })
}

/// The lines that say something: a query over several clusters puts a title above each one's answer.
fn content(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .map(|line| line.trim_end_matches('\r'))
        .filter(|line| !line.trim().is_empty() && !line.starts_with("CLUSTER:"))
}

/// Returns the jobs that an id stands for: one, or every waiting task of an array (`58_[0-4,7%3]`).
fn ids(text: &str) -> Option<Vec<JobId>> {
    let text = text.trim();
    let Some((array, tasks)) = text.split_once("_[") else {
        return Some(vec![text.parse().ok()?]);
    };
    let tasks = tasks.strip_suffix(']')?;
    let tasks = tasks.split('%').next().unwrap_or(tasks);
    let mut ids = Vec::new();
    for range in tasks.split(',') {
        let (range, step) = range.split_once(':').unwrap_or((range, "1"));
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        let step = step.parse::<usize>().ok().filter(|step| *step > 0)?;
        for task in (first..=last).step_by(step) {
            if ids.len() == MAX_TASKS {
                return None;
            }
            ids.push(format!("{array}_{task}").parse().ok()?);
        }
    }
    (!ids.is_empty()).then_some(ids)
}

/// Returns the names in a node list; nothing for a job that has no nodes.
fn node_names(text: &str) -> Vec<String> {
    match said(text) {
        Some(list) if list != "None assigned" => nodes::expand(&list),
        _ => Vec::new(),
    }
}

/// Returns a field's text, unless it is one of Slurm's ways to say nothing.
pub(super) fn said(text: &str) -> Option<String> {
    let text = text.trim();
    let nothing = ["", "None", "(null)", "N/A", "n/a", "Unknown"].contains(&text);
    (!nothing).then(|| text.to_owned())
}

fn cancelled_by(state: &str) -> Option<String> {
    let by = state.trim().strip_prefix("CANCELLED by ")?;
    said(by)
}

/// Returns the point in time that a field says: seconds since the epoch.
pub(super) fn time(text: &str) -> Option<DateTime<Utc>> {
    let seconds: i64 = text.trim().parse().ok()?;
    DateTime::from_timestamp(seconds, 0).filter(|_| seconds > 0)
}

fn seconds(text: &str) -> Option<Duration> {
    text.trim().parse().ok().map(Duration::from_secs)
}

/// Returns the duration that Slurm writes as `1-02:03:04`, `02:03:04` or `03:04`. `None` for `UNLIMITED`, `INVALID`...
#[must_use]
pub fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let (days, clock) = match text.split_once('-') {
        Some((days, clock)) => (days.parse::<u64>().ok()?, clock),
        None => (0, text),
    };
    let mut total: u64 = 0;
    let parts: Vec<&str> = clock.split(':').collect();
    if !(2..=3).contains(&parts.len()) {
        return None;
    }
    for part in parts {
        let digits = part.split('.').next().unwrap_or(part);
        total = total.checked_mul(60)?.checked_add(digits.parse().ok()?)?;
    }
    let days = days.checked_mul(86_400)?;
    Some(Duration::from_secs(days.checked_add(total)?))
}

/// Returns the exit status that a field says: `code:signal`.
fn exit_status(text: &str) -> Option<ExitStatus> {
    let (code, signal) = text.trim().split_once(':')?;
    Some(ExitStatus {
        code: code.parse().ok()?,
        signal: signal.parse().ok()?,
    })
}

/// Returns the bytes that a field says: `40960K`, `1.5G`, or a plain number of bytes.
#[must_use]
pub fn size(text: &str) -> Option<u64> {
    let text = text.trim();
    let unit = text.find(|c: char| !c.is_ascii_digit() && c != '.');
    let (number, unit) = text.split_at(unit.unwrap_or(text.len()));
    let shift = match unit {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        "P" => 50,
        _ => return None,
    };
    let scale = 1_u64 << shift;
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(scale);
    }
    let bytes = number.parse::<f64>().ok()? * scale as f64;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "in range by the test before"
    )]
    (0.0..9e18).contains(&bytes).then_some(bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::hint::black_box;

    #[test]
    fn every_way_to_write_a_state() {
        let check =
            |text: &str, expected: JobState| assert_eq!(JobState::parse(text), expected, "{text}");
        check("COMPLETED", JobState::Completed);
        check(" cd ", JobState::Completed);
        check("CANCELLED by 1000", JobState::Cancelled);
        check("CANCELLED+", JobState::Cancelled);
        check("OUT_OF_ME+", JobState::OutOfMemory);
        check("OOM", JobState::OutOfMemory);
        check("COMPLET+", JobState::Unknown("COMPLET+".into()));
        check("HIBERNATING", JobState::Unknown("HIBERNATING".into()));
        check("", JobState::Unknown(String::new()));
        check("+", JobState::Unknown("+".into()));
    }

    #[test]
    fn every_way_to_write_an_id() {
        let check = |text: &str, expected: &[&str]| {
            let ids = ids(text).unwrap_or_default();
            let ids: Vec<&str> = ids.iter().map(JobId::as_str).collect();
            assert_eq!(ids, expected, "{text}");
        };
        check("58", &["58"]);
        check("58_3", &["58_3"]);
        check("67+0", &["67+0"]);
        check("58_[0-2%3]", &["58_0", "58_1", "58_2"]);
        check("58_[1,3-7:2%2]", &["58_1", "58_3", "58_5", "58_7"]);
        for nonsense in [
            "",
            "58_",
            "_3",
            "58_[",
            "58_[]",
            "58_[2-1]",
            "58_[0-4294967295]",
            "58_[1-9:0]",
            "-58",
            "58.0",
            "allocation",
        ] {
            check(nonsense, &[]);
        }
    }

    #[test]
    fn ids_that_sbatch_prints() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(
                submitted(text).as_ref().map(JobId::as_str),
                expected,
                "{text}"
            );
        };
        check("71\n", Some("71"));
        check("71;alps\n", Some("71"));
        // Site plugins like to talk on standard output.
        check("Welcome to alps!\n71\n", Some("71"));
        check("", None);
        check("Submitted batch job 71\n", None);
    }

    #[test]
    fn durations_sizes_and_codes() {
        let time = |text: &str, expected: Option<u64>| {
            assert_eq!(
                duration(text).map(|time| time.as_secs()),
                expected,
                "{text}"
            );
        };
        time("0:00", Some(0));
        time("1:11", Some(71));
        time("02:03:04", Some(7384));
        time("1-02:03:04", Some(93_784));
        time("04:05.123", Some(245));
        for nothing in [
            "UNLIMITED",
            "INVALID",
            "Unknown",
            "",
            "5",
            "1-",
            "99999999999999999999:00",
            "213503982334602-00:00:00",
        ] {
            time(nothing, None);
        }
        let bytes = |text: &str, expected: Option<u64>| assert_eq!(size(text), expected, "{text}");
        bytes("0", Some(0));
        bytes("4648K", Some(4_759_552));
        bytes("1.50G", Some(1_610_612_736));
        for nothing in ["", "K", "12Q", "99999999999P", "1.2.3K", "-1K"] {
            bytes(nothing, None);
        }
        assert_eq!(
            exit_status("0:125"),
            Some(ExitStatus {
                code: 0,
                signal: 125
            })
        );
        assert_eq!(exit_status(""), None);
    }

    #[test]
    fn traces_keep_comment_and_name_together() {
        let text = "CLUSTER: alps\n19|1795173068|run|7|a|b,c[d=1]\n58_[0-1]|Unknown||x\nnonsense\n";
        let found: Vec<String> = traces(text)
            .iter()
            .map(|trace| format!("{} {} {}", trace.id, trace.submit.is_some(), trace.label))
            .collect();
        assert_eq!(
            found,
            ["19 true run|7|a|b,c[d=1]", "58_0 false |x", "58_1 false |x"]
        );
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_handed_back(text in "([0-9_\\[\\]%:|,.+A-Z -]{0,30}\n?){0,8}") {
            let lines = content(&text).count();
            let seen = queue(&text);
            prop_assert!(seen.unread.len() <= lines);
            let books = accounting(&text);
            prop_assert!(books.unread.len() <= lines);
            black_box((submitted(&text), traces(&text), estimate(&text)));
        }

        #[test]
        fn any_bytes_are_taken(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let text = String::from_utf8_lossy(&bytes);
            black_box((queue(&text), accounting(&text), duration(&text), size(&text), JobState::parse(&text)));
        }
    }
}
