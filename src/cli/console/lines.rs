//! What happened, in a line for people, and how much it matters.
//!
//! All that came from outside loses its control characters here: a name must not move a cursor, nor open a section of a log.

use chrono::{DateTime, FixedOffset};

use super::words::clock;
use crate::clean::{one_line, printable};
use crate::drive::progress::{Attempted, Ended, IN_PACK, Progress};
use crate::results::table::{Ink, Tone};
use crate::results::text::span;

/// How many steps a run may have before their better half is counted only.
pub(super) const MANY: usize = 200;

/// Nodes that a line names.
const NODES: usize = 4;

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Weight {
    /// A step moved on.
    Move,
    /// A step passed.
    Pass,
    /// A person will want to know.
    Matter,
}

/// A line that tells what happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) weight: Weight,
    word: String,
    tone: Tone,
    rest: String,
}

impl Line {
    fn of_step(weight: Weight, word: &str, tone: Tone, step: &str, rest: &str) -> Self {
        Self {
            weight,
            word: format!("{word:<9}"),
            tone,
            rest: format!(" {}{rest}", one_line(step)),
        }
    }

    fn text(text: String) -> Self {
        Self {
            weight: Weight::Matter,
            word: String::new(),
            tone: Tone::Plain,
            rest: text,
        }
    }

    /// Returns the line as it is shown.
    pub(super) fn shown(&self, ink: Ink) -> String {
        format!("{}{}", ink.paint(self.tone, &self.word), self.rest)
    }
}

/// Returns what there is to say of an event, if it is not for a view of its own to say.
pub(super) fn line(event: &Progress, now: DateTime<FixedOffset>) -> Option<Line> {
    Some(match event {
        Progress::Note(text) => Line::text(format!("note: {}", printable(text).trim_end())),
        Progress::Queued { reason, .. } if reason.as_deref() == Some(IN_PACK) => return None,
        Progress::Queued {
            attempt,
            reason,
            start,
        } => {
            let expected = start.map(|start| format!("starts {}", clock(start, now)));
            let why: Vec<String> = reason
                .iter()
                .map(|reason| one_line(reason))
                .chain(expected)
                .collect();
            let why = match why.as_slice() {
                [] => String::new(),
                why => format!(" ({})", why.join("; ")),
            };
            let rest = format!("{}{why}", job(attempt));
            Line::of_step(Weight::Move, "queued", Tone::Plain, &attempt.step, &rest)
        }
        Progress::Running { attempt, nodes, .. } => {
            let on = match nodes.as_slice() {
                [] => String::new(),
                nodes => format!(" on {}", names(nodes)),
            };
            let ranks = match attempt.ranks {
                1 => "1 rank".to_owned(),
                ranks => format!("{ranks} ranks"),
            };
            let rest = format!("{}  {ranks}{on}", job(attempt));
            Line::of_step(Weight::Move, "running", Tone::Plain, &attempt.step, &rest)
        }
        Progress::Again {
            step,
            attempt,
            why: Some(why),
        } => {
            let rest = format!("  attempt {attempt} {}", one_line(why));
            Line::of_step(Weight::Matter, "again", Tone::Odd, step, &rest)
        }
        Progress::Ended(ended) => end(ended),
        Progress::Began(_)
        | Progress::Over { .. }
        | Progress::Steps { .. }
        | Progress::Again { why: None, .. } => return None,
    })
}

fn end(ended: &Ended) -> Line {
    let (weight, tone) = match (ended.good, ended.flaky) {
        (true, false) => (Weight::Pass, Tone::Good),
        (true, true) => (Weight::Matter, Tone::Odd),
        (false, _) => (Weight::Matter, Tone::Bad),
    };
    let mut rest = String::new();
    if let Some(elapsed) = ended.elapsed {
        rest = format!("  {}", span(elapsed));
    }
    if ended.flaky {
        rest = format!("{rest}  flaky: attempt {}", ended.attempt.attempt);
    }
    if let Some(message) = &ended.message {
        rest = format!("{rest}  {}", one_line(message));
    }
    Line::of_step(
        weight,
        &one_line(&ended.outcome),
        tone,
        &ended.attempt.step,
        &rest,
    )
}

fn job(attempt: &Attempted) -> String {
    let job = attempt.job.as_ref();
    job.map_or(String::new(), |job| format!("  job {}", one_line(job)))
}

/// Names of nodes, the first few of many.
pub(super) fn names(nodes: &[String]) -> String {
    let some: Vec<String> = nodes
        .iter()
        .take(NODES)
        .map(|name| one_line(name))
        .collect();
    let more = match nodes.len().checked_sub(NODES) {
        None | Some(0) => String::new(),
        Some(more) => format!(" and {more} more"),
    };
    format!("{}{more}", some.join(","))
}
