//! Runs to be shown in tests.

use std::time::Duration;

use chrono::{DateTime, FixedOffset, TimeDelta, Utc};

use super::board::Board;
use crate::drive::progress::{Attempted, Ended, Progress, Stage, StageKind};

/// So many seconds after a certain afternoon began.
pub(super) fn at(second: i64) -> DateTime<FixedOffset> {
    let begin = DateTime::parse_from_rfc3339("2026-11-26T14:00:00+01:00");
    begin.expect("a time") + TimeDelta::seconds(second)
}

fn stage(kind: StageKind, of: &str) -> Stage {
    Stage {
        kind,
        of: Some(of.to_owned()).filter(|of| !of.is_empty()),
    }
}

pub(super) fn began(kind: StageKind, of: &str) -> Progress {
    Progress::Began(stage(kind, of))
}

pub(super) fn over(kind: StageKind, of: &str, good: bool) -> Progress {
    let stage = stage(kind, of);
    Progress::Over { stage, good }
}

fn attempted(step: &str, ranks: u32) -> Attempted {
    Attempted {
        step: step.to_owned(),
        attempt: 1,
        job: Some("48213".to_owned()),
        ranks,
        nodes: Some(2),
        limit: Duration::from_mins(5),
    }
}

pub(super) fn queued(step: &str, reason: Option<&str>, start: Option<DateTime<Utc>>) -> Progress {
    Progress::Queued {
        attempt: attempted(step, 4),
        reason: reason.map(str::to_owned),
        start,
    }
}

pub(super) fn running(step: &str, ranks: u32) -> Progress {
    Progress::Running {
        attempt: attempted(step, ranks),
        nodes: vec!["n1".to_owned(), "n2".to_owned()],
        since: at(38).to_utc(),
    }
}

pub(super) fn ended(step: &str, outcome: &str) -> Progress {
    let good = outcome == "passed";
    Progress::Ended(Box::new(Ended {
        attempt: attempted(step, 4),
        nodes: vec!["n1".to_owned()],
        outcome: outcome.to_owned(),
        good,
        flaky: false,
        elapsed: Some(Duration::from_millis(1234)),
        message: (!good).then(|| "exit code 3".to_owned()),
    }))
}

/// A short run, with names that want to be more.
pub(super) fn run() -> Vec<Progress> {
    let mut flaky = ended("flaky", "passed");
    if let Progress::Ended(ended) = &mut flaky {
        (ended.flaky, ended.attempt.attempt) = (true, 2);
        ended.message = Some("exit code 0".to_owned());
    }
    vec![
        Progress::Note("the tree has\nuncommitted changes\u{1b}[2J".to_owned()),
        began(StageKind::Checkout, "tests"),
        over(StageKind::Checkout, "tests", true),
        began(StageKind::Build, "tests"),
        Progress::Note("a word\u{9b}2J from below".to_owned()),
        over(StageKind::Build, "tests", true),
        began(StageKind::Steps, ""),
        Progress::Steps { total: 4 },
        queued("halo[ranks=4]", None, None),
        queued("halo[ranks=4]", Some("Priority"), Some(at(7200).to_utc())),
        queued("halo[ranks=4]", Some("Priority"), Some(at(9000).to_utc())),
        queued("x\r\nsection_end:1:y\r\u{1b}[0K", Some("Re\nsources"), None),
        running("halo[ranks=4]", 4),
        running("x\r\nsection_end:1:y\r\u{1b}[0K", 1),
        Progress::Again {
            step: "flaky".to_owned(),
            attempt: 1,
            why: Some("lost a node; trying again away from n1".to_owned()),
        },
        ended("halo[ranks=4]", "failed"),
        flaky,
        ended("x\r\nsection_end:1:y\r\u{1b}[0K", "passed"),
        over(StageKind::Steps, "", true),
        began(StageKind::Coverage, ""),
        over(StageKind::Coverage, "", false),
    ]
}

/// A run that was stopped while it built.
pub(super) fn stopped() -> Vec<Progress> {
    vec![
        began(StageKind::Checkout, "x\r\u{1b}[0K"),
        Progress::Note("section_end:7:hpc-ci_checkout\r\u{1b}[0K".to_owned()),
        over(StageKind::Checkout, "x\r\u{1b}[0K", true),
        began(StageKind::Build, "tests"),
        began(StageKind::Fetch, "tests"),
        over(StageKind::Fetch, "tests", false),
    ]
}

/// The steps of a run in its middle.
pub(super) fn board() -> Board {
    let mut board = Board::default();
    let mut events = vec![began(StageKind::Steps, ""), Progress::Steps { total: 40 }];
    let names = [
        "halo[ranks=4,features=rma]",
        "solver/3d",
        "日本の計算[ranks=16]",
        "a step whose name is longer than any table of a sensible size has room for",
    ];
    events.extend(
        (1..)
            .zip(names)
            .map(|(number, name)| running(name, number * 4)),
    );
    for step in 0..12 {
        let start = at(7200 - step * 60).to_utc();
        events.push(queued(&format!("p{step}"), Some("Priority"), Some(start)));
    }
    for step in 0..3 {
        events.push(queued(&format!("r{step}"), Some("Resources"), None));
    }
    events.push(queued(
        "n",
        Some("ReqNodeNotAvail, UnavailableNodes:n[001-999]"),
        None,
    ));
    events.extend((0..9).map(|step| ended(&format!("e{step}"), "passed")));
    events.extend((0..2).map(|step| ended(&format!("f{step}"), "failed")));
    for event in &events {
        board.take_in(event, at(0).to_utc());
    }
    board
}
