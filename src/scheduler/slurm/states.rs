//! Every state of a job that squeue(1) and sacct(1) know, and what each leads to: how far the job is, and what becomes of its step
//! when the books end with it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use super::parse::{accounting, queue};
use crate::scheduler::Outcome::{
    Cancelled, Failed, LaunchFailed, Lost, NodeFailure, OutOfMemory, Passed, Preempted, Starved,
    Timeout,
};
use crate::scheduler::Phase::{self, Ended, Running, Unknown, Waiting};
use crate::scheduler::{Evidence, ExitRecord, JobId, JobRecord, JobState, Outcome, judge};

/// What a final record in a state means without an exit record, with one of a program that ended with 0, and with 1.
type Meaning = (Outcome, Outcome, Outcome);

/// A record in a state that is no end proves nothing, whatever the script says of success.
const NO_END: Meaning = (Lost, Lost, Failed);

/// Long form, short form, how far, and what it means as a final record. From squeue(1) of 22.05 to 25.05.
const STATES: &[(&str, &str, Phase, Meaning)] = &[
    (
        "BOOT_FAIL",
        "BF",
        Ended,
        (NodeFailure, NodeFailure, NodeFailure),
    ),
    ("CANCELLED", "CA", Ended, (Cancelled, Cancelled, Cancelled)),
    ("COMPLETED", "CD", Ended, (Lost, Passed, Failed)),
    ("COMPLETING", "CG", Running, NO_END),
    ("CONFIGURING", "CF", Running, NO_END),
    ("DEADLINE", "DL", Ended, (Starved, Starved, Starved)),
    ("EXPEDITING", "EX", Waiting, NO_END),
    ("FAILED", "F", Ended, (Lost, Lost, Failed)),
    (
        "LAUNCH_FAILED",
        "LF",
        Ended,
        (LaunchFailed, LaunchFailed, LaunchFailed),
    ),
    (
        "NODE_FAIL",
        "NF",
        Ended,
        (NodeFailure, NodeFailure, NodeFailure),
    ),
    (
        "OUT_OF_MEMORY",
        "OOM",
        Ended,
        (OutOfMemory, OutOfMemory, OutOfMemory),
    ),
    ("PENDING", "PD", Waiting, NO_END),
    ("POWER_UP_NODE", "PO", Running, NO_END),
    ("PREEMPTED", "PR", Ended, (Preempted, Preempted, Preempted)),
    (
        "RECONFIG_FAIL",
        "RC",
        Ended,
        (LaunchFailed, LaunchFailed, LaunchFailed),
    ),
    ("REQUEUED", "RQ", Waiting, NO_END),
    ("REQUEUE_FED", "RF", Waiting, NO_END),
    ("REQUEUE_HOLD", "RH", Waiting, NO_END),
    ("RESIZING", "RS", Running, NO_END),
    ("RESV_DEL_HOLD", "RD", Waiting, NO_END),
    ("REVOKED", "RV", Ended, (Lost, Lost, Lost)),
    ("RUNNING", "R", Running, NO_END),
    ("SIGNALING", "SI", Running, NO_END),
    ("SPECIAL_EXIT", "SE", Waiting, NO_END),
    ("STAGE_OUT", "SO", Running, NO_END),
    ("STOPPED", "ST", Running, NO_END),
    ("SUSPENDED", "S", Running, NO_END),
    ("TIMEOUT", "TO", Ended, (Timeout, Timeout, Timeout)),
    ("UPDATE_DB", "UD", Running, NO_END),
    // Those of the future.
    ("HIBERNATING", "HI", Unknown, NO_END),
    ("COMPLETELY_NEW", "CN", Unknown, NO_END),
];

fn exit(code: i32) -> ExitRecord {
    let text = format!(
        r#"{{"schema_version":1,"exit_code":{code},"started":1,"ended":2,"ranks_expected":1,"launches":0}}"#
    );
    ExitRecord::parse(text.as_bytes()).unwrap()
}

fn in_queue(state: &str) -> Phase {
    let observation = queue(&format!("71|{state}|0|n1|1795173068|0:01|None"));
    assert!(observation.unread.is_empty(), "{state}");
    observation.jobs[&"71".parse::<JobId>().unwrap()]
        .state
        .phase()
}

fn in_books(state: &str) -> JobRecord {
    let line = format!("71|{state}|0:0|0:0|debug|ci|n1|1|1|2|1||a");
    let books = accounting(&line);
    assert!(books.unread.is_empty(), "{state}");
    books.last(&"71".parse().unwrap()).unwrap().clone()
}

fn outcome(record: &JobRecord, exit: Option<&ExitRecord>) -> Outcome {
    judge(&Evidence {
        record: Some(record),
        exit,
        ..Evidence::default()
    })
    .outcome
}

#[test]
fn every_state_leads_to_a_decision() {
    for &(long, short, phase, meaning) in STATES {
        for text in [long, short, &long.to_lowercase()] {
            assert_eq!(in_queue(text), phase, "{text}");
        }
        let record = in_books(long);
        assert_eq!(record.settled(), phase == Ended, "{long}");
        let found = (
            outcome(&record, None),
            outcome(&record, Some(&exit(0))),
            outcome(&record, Some(&exit(1))),
        );
        assert_eq!(found, meaning, "{long}");
        if phase != Unknown {
            assert_eq!(record.state.to_string(), long);
        }
    }
}

/// A narrow column cuts a name and puts a `+` behind it; squeue's own default is ten wide.
#[test]
fn every_state_that_a_narrow_column_cut_is_known_or_kept() {
    let long: BTreeSet<&str> = STATES.iter().map(|row| row.0).collect();
    for &(name, _, phase, _) in STATES.iter().filter(|row| row.2 != Unknown) {
        assert_eq!(in_queue(&format!("{name}+")), phase, "{name}+");
        for width in 1..name.len() {
            let cut = format!("{}+", &name[..width]);
            let like = |other: &&&str| other.starts_with(&name[..width]);
            let alike: Vec<JobState> = long
                .iter()
                .filter(like)
                .map(|name| JobState::parse(name))
                .filter(|state| !matches!(state, JobState::Unknown(_)))
                .collect();
            let parsed = JobState::parse(&cut);
            let is_short = STATES.iter().any(|row| row.1 == &name[..width]);
            match alike.as_slice() {
                _ if is_short => assert_ne!(parsed.phase(), Unknown, "{cut}"),
                [only] => assert_eq!(parsed, *only, "{cut}"),
                _ => assert_eq!(parsed, JobState::Unknown(cut), "{name}"),
            }
        }
    }
}

#[test]
fn states_with_words_behind_them() {
    let by = |state: &str| {
        let record = in_books(state);
        (record.state, record.cancelled_by)
    };
    let cancelled = |by: Option<&str>| (JobState::Cancelled, by.map(str::to_owned));
    assert_eq!(by("CANCELLED by 1000"), cancelled(Some("1000")));
    assert_eq!(by("CANCELLED by 0"), cancelled(Some("0")));
    assert_eq!(by("CANCELLED by 4294967294"), cancelled(Some("4294967294")));
    assert_eq!(by("CANCELLED"), cancelled(None));
    assert_eq!(by("CANCELLED+"), cancelled(None));
    assert_eq!(by("FAILED for a reason").0, JobState::Failed);
}

/// Ids as they stand in the columns that we read: plain, array ranges with steps and throttles, heterogeneous, federated (whose
/// numbers begin with that of their cluster).
#[test]
fn every_form_of_an_id_in_queue_and_books() {
    let check = |id: &str, expected: &[&str]| {
        let seen = queue(&format!("{id}|PENDING|0||N/A|0:00|Priority"));
        let seen: Vec<&str> = seen.jobs.keys().map(JobId::as_str).collect();
        assert_eq!(seen, expected, "{id}");
        let line = format!("{id}|PENDING|0:0|0:0|debug|ci||1|Unknown|Unknown|0||a");
        let books = accounting(&line);
        let kept: Vec<&str> = books.runs.keys().map(JobId::as_str).collect();
        assert_eq!(kept, expected, "{id}");
    };
    check("71", &["71"]);
    check("58_3", &["58_3"]);
    check("58_[3]", &["58_3"]);
    check("58_[0-2]", &["58_0", "58_1", "58_2"]);
    check("58_[0-2%1]", &["58_0", "58_1", "58_2"]);
    check("58_[1-9:4]", &["58_1", "58_5", "58_9"]);
    check("58_[1,3-7:2%2]", &["58_1", "58_3", "58_5", "58_7"]);
    check("67+0", &["67+0"]);
    check("67+1", &["67+1"]);
    check("134217801", &["134217801"]);
    // What nobody can read is handed back, and harms nothing else.
    for odd in ["58_[1,3,...]", "s1A2B3C4", "67+", "", "71;alps"] {
        check(odd, &[]);
        let both = format!("{odd}|PENDING|0||N/A|0:00|x\n72|RUNNING|0|n1|1|0:01|None\n");
        let seen = queue(&both);
        assert_eq!((seen.jobs.len(), seen.unread.len()), (1, 1), "{odd}");
    }
}

#[test]
fn steps_of_every_kind_belong_to_their_job() {
    let job = |id: &str| format!("{id}|COMPLETED|0:0|0:0|debug|ci|n1|1|1|2|1||a\n");
    let step = |id: &str| format!("{id}|COMPLETED|0:0||||n1|1|1|2|1|12K|b\n");
    for (id, steps) in [
        (
            "71",
            vec!["71.batch", "71.extern", "71.interactive", "71.0", "71.0+1"],
        ),
        ("58_3", vec!["58_3.batch", "58_3.0"]),
        ("67+1", vec!["67+1.batch", "67+1.0"]),
    ] {
        let text: String = std::iter::once(job(id))
            .chain(steps.iter().map(|it| step(it)))
            .collect();
        let books = accounting(&text);
        assert!(books.unread.is_empty(), "{:?}", books.unread);
        let record = books.last(&id.parse().unwrap()).unwrap();
        assert_eq!(record.steps.len(), steps.len(), "{id}");
    }
}
