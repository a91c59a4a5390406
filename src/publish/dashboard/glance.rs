//! What is seen first: the state in one line, four figures, the last runs as signs.

use super::super::branch::history::{Run, Standing};
use super::words::{Sign, When, counted, moment, short, signed};
use crate::results::record::{BenchmarksSummary, Better, Part};

/// Runs in the strip.
const STRIP: usize = 80;

/// One of the four figures on top.
#[derive(Debug)]
pub(super) struct Card {
    pub(super) anchor: &'static str,
    pub(super) label: &'static str,
    pub(super) sign: Sign,
    pub(super) value: String,
    pub(super) detail: String,
    pub(super) when: Option<When>,
}

/// The last runs as a row of signs.
#[derive(Debug)]
pub(super) struct Strip {
    pub(super) width: usize,
    pub(super) description: String,
    pub(super) marks: Vec<(usize, Sign, String)>,
}

/// Says in one line how things are.
pub(super) fn headline(standing: Option<&Standing<'_>>) -> (Sign, String, String) {
    let Some(standing) = standing else {
        let detail = "no complete run of this branch has been published".to_owned();
        return (Sign::SKIPPED, "Nothing to show yet".to_owned(), detail);
    };
    let detail = format!(
        "commit {} · {}",
        short(standing.commit),
        moment(standing.newest.entry.finished_at)
    );
    let tests = standing.tests.map(|run| (run, run.counts()));
    let tests_sign =
        tests.and_then(|(run, _)| Some(Sign::from(run.entry.parts.tests.as_ref()?.status)));
    let benchmarks_sign = standing
        .benchmarks
        .and_then(|run| Some(Sign::from(run.entry.parts.benchmarks.as_ref()?.status)));
    let counts = tests.map(|(_, counts)| counts).unwrap_or_default();
    let (total, unproved) = standing.tests.map(Run::totals).unwrap_or_default();
    let slower = regressed(standing.benchmarks);
    let (sign, text) = match (tests_sign, benchmarks_sign) {
        (Some(Sign::FAILED), _) if counts.failed > 0 => (
            Sign::FAILED,
            format!("{} of {} failed", counts.failed, counted(total, "test")),
        ),
        (Some(Sign::FAILED), _) => (Sign::FAILED, "The tests failed before they ran".to_owned()),
        (Some(Sign::ERROR), _) => (
            Sign::ERROR,
            format!("{unproved} of {} proved nothing", counted(total, "test")),
        ),
        (_, Some(Sign::FAILED)) => (Sign::FAILED, "A benchmark failed".to_owned()),
        (_, Some(Sign::ERROR)) => (Sign::ERROR, "A benchmark has no result".to_owned()),
        _ if slower > 0 => (
            Sign::FAILED.worded("regressed"),
            format!("Tests pass, {} got worse", counted(slower, "benchmark")),
        ),
        (Some(Sign::PASSED), _) => (Sign::PASSED, format!("All {} pass", counted(total, "test"))),
        _ => (Sign::SKIPPED, "No tests ran".to_owned()),
    };
    (sign, text, detail)
}

pub(super) fn regressed(run: Option<&Run>) -> u64 {
    let summary = run.and_then(|run| run.benchmarks.as_ref());
    summary.map_or(0, |summary| {
        summary
            .benchmarks
            .values()
            .filter(|it| it.regressed)
            .count() as u64
    })
}

/// Returns the four figures on top.
pub(super) fn cards(standing: Option<&Standing<'_>>, runs: &[&Run]) -> Vec<Card> {
    vec![
        tests_card(standing.and_then(|it| it.tests)),
        coverage_card(standing.and_then(|it| it.coverage), runs),
        benchmarks_card(standing.and_then(|it| it.benchmarks)),
        ranks_card(standing.and_then(|it| it.coverage)),
    ]
}

fn card(anchor: &'static str, label: &'static str, run: Option<&Run>) -> Card {
    Card {
        anchor,
        label,
        sign: Sign::SKIPPED.worded("not run"),
        value: "–".to_owned(),
        detail: "not run yet".to_owned(),
        when: run.map(when),
    }
}

pub(super) fn when(run: &Run) -> When {
    When(run.entry.finished_at)
}

fn tests_card(run: Option<&Run>) -> Card {
    let empty = card("failures", "Tests", run);
    let Some((run, part)) = run.and_then(|run| Some((run, run.entry.parts.tests.as_ref()?))) else {
        return empty;
    };
    let counts = run.counts();
    let (total, _) = run.totals();
    let others = [
        (counts.failed, "failed"),
        (counts.errors, "in error"),
        (counts.not_run, "not run"),
        (counts.flaky, "flaky"),
        (counts.skipped, "skipped"),
    ];
    let others = others.into_iter().filter(|(count, _)| *count > 0);
    let others: Vec<String> = others
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    Card {
        sign: part.status.into(),
        value: format!("{} / {total}", counts.passed),
        detail: if others.is_empty() {
            "all passed".to_owned()
        } else {
            others.join(" · ")
        },
        ..empty
    }
}

fn coverage_card(run: Option<&Run>, runs: &[&Run]) -> Card {
    let empty = card("coverage", "Coverage", run);
    let Some((run, part)) = run.and_then(|run| Some((run, run.entry.parts.coverage.as_ref()?)))
    else {
        return empty;
    };
    let before = runs.iter().rev().find(|it| {
        it.has(Part::Coverage)
            && it.entry.commit != run.entry.commit
            && it.entry.started_at < run.entry.started_at
    });
    let before = before.and_then(|run| run.entry.parts.coverage.as_ref());
    let change = before.map(|before| {
        let points = part.coverage_percent - before.coverage_percent;
        let text = signed(points);
        format!("{} points · ", text.trim_end_matches(" %"))
    });
    Card {
        sign: Sign::PASSED.worded("measured"),
        value: format!("{:.2} %", part.coverage_percent),
        detail: format!(
            "{}{} of {} lines",
            change.unwrap_or_default(),
            part.covered_lines,
            part.total_lines
        ),
        ..empty
    }
}

fn benchmarks_card(run: Option<&Run>) -> Card {
    let empty = card("benchmarks", "Benchmarks", run);
    let Some((run, summary)) = run.and_then(|run| Some((run, run.benchmarks.as_ref()?))) else {
        return empty;
    };
    let slower = regressed(Some(run));
    let status = run.entry.parts.benchmarks.as_ref();
    let sign = status.map_or(Sign::SKIPPED, |part| part.status.into());
    let (sign, value) = match slower {
        0 if sign == Sign::PASSED => (sign, "none worse".to_owned()),
        0 => (sign, sign.word.to_owned()),
        count => (Sign::FAILED.worded("regressed"), format!("{count} worse")),
    };
    Card {
        sign,
        value,
        detail: match worst(summary) {
            Some((name, change)) => format!(
                "worst of {}: {name} {}",
                summary.benchmarks.len(),
                signed(change)
            ),
            None => format!(
                "{} measured, nothing to compare with",
                summary.benchmarks.len()
            ),
        },
        ..empty
    }
}

/// The metric that changed most for the worse, or least for the better, and its change.
fn worst(summary: &BenchmarksSummary) -> Option<(&str, f64)> {
    let changes = summary.benchmarks.iter().filter_map(|(name, record)| {
        let change = record.delta_vs_baseline_pct?;
        Some((name.as_str(), record.better, change))
    });
    let for_the_worse = |better: Better, change: f64| match better {
        Better::Lower => change,
        Better::Higher => -change,
    };
    let (name, _, change) =
        changes.max_by(|a, b| for_the_worse(a.1, a.2).total_cmp(&for_the_worse(b.1, b.2)))?;
    Some((name, change))
}

fn ranks_card(run: Option<&Run>) -> Card {
    let empty = card("ranks", "Ranks", run);
    let part = run.and_then(|run| run.entry.parts.coverage.as_ref());
    let Some((used, expected)) = part.and_then(|it| it.ranks_used.zip(it.ranks_expected)) else {
        return empty;
    };
    Card {
        sign: if used >= expected {
            Sign::PASSED.worded("complete")
        } else {
            Sign::ERROR.worded("incomplete")
        },
        value: format!("{used} / {expected}"),
        detail: "ranks whose profile is in the coverage".to_owned(),
        ..empty
    }
}

/// Returns the last runs of a branch as signs; none if there are not several.
pub(super) fn strip(runs: &[&Run]) -> Option<Strip> {
    let runs = &runs[runs.len().saturating_sub(STRIP)..];
    if runs.len() < 2 {
        return None;
    }
    let marks: Vec<(usize, Sign, String)> = runs
        .iter()
        .enumerate()
        .map(|(index, run)| {
            let sign = Sign::from(run.entry.status);
            let title = format!(
                "{}: {}, {}",
                short(&run.entry.commit),
                sign.word,
                moment(run.entry.finished_at)
            );
            (index * 12, sign, title)
        })
        .collect();
    let passed = marks.iter().filter(|(_, sign, _)| *sign == Sign::PASSED);
    Some(Strip {
        width: runs.len() * 12,
        description: format!(
            "{} of the last {} passed",
            passed.count(),
            counted(runs.len() as u64, "run")
        ),
        marks,
    })
}
