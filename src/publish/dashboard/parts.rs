//! The tables of what ran: from records to rows, in words.

use std::collections::BTreeMap;

use super::super::branch::history::{History, Run, Standing};
use super::glance::{regressed, when};
use super::words::{Sign, When, counted, day, duration, link, short, signed};
use crate::results::record::{Part, Status, StepRecord, TestsSummary};

/// Rows that one table shows at most.
pub(super) const ROWS: usize = 100;
/// What one row names at most of what went wrong.
pub(super) const NAMED: usize = 8;

/// A step that did not pass.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) step: String,
    pub(super) test: Option<String>,
    pub(super) sign: Sign,
    pub(super) outcome: String,
    pub(super) message: String,
    pub(super) place: String,
    pub(super) since: String,
    pub(super) reproduce: Option<String>,
}

/// A row of the table of runs.
#[derive(Debug)]
pub(super) struct RunRow {
    pub(super) sign: Sign,
    pub(super) when: When,
    pub(super) commit: String,
    pub(super) href: String,
    pub(super) branch: Option<String>,
    pub(super) tests: String,
    pub(super) failing: Vec<(String, String)>,
    pub(super) more: usize,
    pub(super) coverage: String,
    pub(super) benchmarks: String,
    pub(super) ranks: String,
    pub(super) took: String,
    pub(super) cluster: String,
    pub(super) marks: String,
}

/// A branch.
#[derive(Debug)]
pub(super) struct BranchRow {
    pub(super) name: String,
    pub(super) is_default: bool,
    pub(super) tests: Option<Sign>,
    pub(super) coverage: String,
    pub(super) benchmarks: Option<Sign>,
    pub(super) commit: String,
    pub(super) when: When,
}

/// Returns the steps that did not pass when tests ran last, and how many more there are.
pub(super) fn failures(
    standing: Option<&Standing<'_>>,
    runs: &[&Run],
    tests: Option<&TestsSummary>,
) -> (Vec<Failure>, usize) {
    let Some(run) = standing.and_then(|it| it.tests) else {
        return (Vec::new(), 0);
    };
    let inner = tests.filter(|tests| tests.run.as_ref() == Some(&run.entry.run));
    let mut all = Vec::new();
    for step in run.steps(Part::Tests).filter(|step| is_failing(step)) {
        let since = since(step, run, runs);
        let within = inner
            .map(|tests| tests.failing.iter())
            .into_iter()
            .flatten();
        let within: Vec<_> = within
            .filter(|it| it.step == step.name && it.test.is_some())
            .collect();
        let failure = |test: Option<String>, message: String| Failure {
            step: step.name.clone(),
            test,
            sign: step.status.into(),
            outcome: step.outcome.as_str().replace('_', " "),
            message,
            place: place(step),
            since: since.clone(),
            reproduce: step.reproduce.clone(),
        };
        if within.is_empty() {
            all.push(failure(None, step.message.clone().unwrap_or_default()));
        }
        all.extend(
            within
                .into_iter()
                .map(|it| failure(it.test.clone(), it.message.clone())),
        );
    }
    // What the code is at fault for comes first.
    all.sort_by_key(|it| it.sign != Sign::FAILED);
    let more = all.len().saturating_sub(ROWS);
    all.truncate(ROWS);
    (all, more)
}

fn is_failing(step: &StepRecord) -> bool {
    matches!(step.status, Status::Failed | Status::Error | Status::NotRun)
}

fn place(step: &StepRecord) -> String {
    let job = step.job_id.as_ref().map(|job| format!(", job {job}"));
    format!(
        "{}{}",
        counted(u64::from(step.ranks), "rank"),
        job.unwrap_or_default()
    )
}

/// How long a step has not passed: back to the last run in which it did.
fn since(step: &StepRecord, run: &Run, runs: &[&Run]) -> String {
    let earlier = runs
        .iter()
        .rev()
        .filter(|it| it.entry.started_at <= run.entry.started_at);
    let same = earlier.filter_map(|run| {
        let found = run.steps(Part::Tests).find(|it| it.name == step.name)?;
        (found.status != Status::Skipped).then_some((run, found))
    });
    let failing: Vec<&Run> = same
        .take_while(|(_, found)| is_failing(found))
        .map(|(run, _)| *run)
        .collect();
    match failing.as_slice() {
        [] | [_] => "new".to_owned(),
        [.., first] => format!(
            "{} runs, since {} ({})",
            failing.len(),
            short(&first.entry.commit),
            day(first.entry.finished_at)
        ),
    }
}

/// Returns a row for each run, the newest first.
pub(super) fn run_rows(history: &History) -> Vec<RunRow> {
    history.runs().iter().rev().map(run_row).collect()
}

fn run_row(run: &Run) -> RunRow {
    let entry = &run.entry;
    let counts = run.counts();
    let (total, _) = run.totals();
    let steps = entry.steps.iter().map(|step| &step.step);
    let failing: Vec<(String, String)> = steps
        .filter(|step| is_failing(step))
        .map(|step| {
            let outcome = step.outcome.as_str().replace('_', " ");
            let why = step.message.as_ref().filter(|it| !it.is_empty());
            let why = why.map(|why| format!(": {why}")).unwrap_or_default();
            (step.name.clone(), outcome + &why)
        })
        .collect();
    let more = failing.len().saturating_sub(NAMED);
    let coverage = entry.parts.coverage.as_ref();
    let ranks = coverage.and_then(|part| part.ranks_used.zip(part.ranks_expected));
    let nothing = || "–".to_owned();
    let took = entry.finished_at - entry.started_at;
    RunRow {
        sign: entry.status.into(),
        when: when(run),
        commit: short(&entry.commit),
        href: link(&format!("{}/run.json", run.folder())),
        branch: entry.branch.clone(),
        tests: if run.has(Part::Tests) {
            format!("{} / {total}", counts.passed)
        } else {
            nothing()
        },
        failing: failing.into_iter().take(NAMED).collect(),
        more,
        coverage: coverage.map_or_else(nothing, |part| format!("{:.2} %", part.coverage_percent)),
        benchmarks: match &run.benchmarks {
            Some(summary) => match summary.worst_regression_pct {
                Some(worst) => change_for_the_worse(worst, regressed(Some(run))),
                None => counted(summary.benchmarks.len() as u64, "value"),
            },
            None => nothing(),
        },
        ranks: ranks.map_or_else(nothing, |(used, expected)| format!("{used} / {expected}")),
        took: duration(took.num_seconds() as f64),
        cluster: entry
            .hpc
            .cluster
            .clone()
            .unwrap_or_else(|| "local".to_owned()),
        marks: entry
            .marks
            .iter()
            .map(|mark| mark.as_str())
            .collect::<Vec<_>>()
            .join(", "),
    }
}

/// The worst change in words: its sign would be that of the bad direction, and not of what was measured.
fn change_for_the_worse(percent: f64, regressed: u64) -> String {
    let figure = signed(percent);
    match (regressed, figure.strip_prefix('+')) {
        (0, None) => "none worse".to_owned(),
        (0, Some(figure)) => format!("up to {figure} worse"),
        (count, figure) => format!("{count} worse, {}", figure.unwrap_or_default()),
    }
}

/// Returns a row for each branch, the default one first, then the newest.
pub(super) fn branch_rows(
    standings: &BTreeMap<&str, Standing<'_>>,
    default: Option<&str>,
) -> Vec<BranchRow> {
    let mut standings: Vec<_> = standings.iter().collect();
    standings.sort_by_key(|(name, standing)| {
        let newest = standing.newest.entry.finished_at;
        (Some(**name) != default, std::cmp::Reverse(newest))
    });
    standings
        .into_iter()
        .map(|(name, standing)| {
            let parts = |run: Option<&Run>| run.map(|run| run.entry.parts.clone());
            let coverage = parts(standing.coverage).and_then(|it| it.coverage);
            BranchRow {
                name: (*name).to_owned(),
                is_default: Some(*name) == default,
                tests: parts(standing.tests)
                    .and_then(|it| it.tests)
                    .map(|part| part.status.into()),
                coverage: coverage.map_or_else(
                    || "–".to_owned(),
                    |part| format!("{:.2} %", part.coverage_percent),
                ),
                benchmarks: parts(standing.benchmarks)
                    .and_then(|it| it.benchmarks)
                    .map(|part| part.status.into()),
                commit: short(standing.commit),
                when: when(standing.newest),
            }
        })
        .collect()
}
