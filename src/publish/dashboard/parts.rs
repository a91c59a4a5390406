//! The parts of the page: from records to rows, in words.

use std::collections::{BTreeMap, BTreeSet};

use super::super::branch::history::{History, Run, Standing};
use super::words::{Sign, When, counted, day, duration, link, moment, short, signed};
use crate::results::record::{
    BenchmarksSummary, Better, Meta, Part, ProfileState, RunMeta, Status, StepRecord, TestsSummary,
};

/// Rows that one table shows at most.
const ROWS: usize = 100;
/// Failing steps that one row of the table of runs names.
const NAMED: usize = 8;
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

/// The last runs as a row of signs.
#[derive(Debug)]
pub(super) struct Strip {
    pub(super) width: usize,
    pub(super) description: String,
    pub(super) marks: Vec<(usize, Sign, String)>,
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

/// The rank ledger of a run.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) used: u64,
    pub(super) expected: u64,
    pub(super) rows: Vec<LedgerRow>,
    pub(super) more: usize,
}

/// The ranks of one step.
#[derive(Debug)]
pub(super) struct LedgerRow {
    pub(super) step: String,
    pub(super) attempt: u32,
    pub(super) sign: Sign,
    pub(super) used: u64,
    pub(super) expected: u64,
    /// Start, length and class of each piece of a bar of 200.
    pub(super) bar: Vec<(f64, f64, &'static str)>,
    pub(super) states: String,
    pub(super) problems: Vec<String>,
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

/// Something worth knowing about where it ran.
#[derive(Debug)]
pub(super) struct Fact {
    pub(super) name: &'static str,
    pub(super) value: String,
}

/// Says in one line how things are.
pub(super) fn headline(standing: Option<&Standing<'_>>) -> (Sign, String, String) {
    let Some(standing) = standing else {
        let detail = "No complete run of this branch has been published.".to_owned();
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

fn regressed(run: Option<&Run>) -> u64 {
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

fn when(run: &Run) -> When {
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

/// Returns the last runs of a branch as signs.
pub(super) fn strip(runs: &[&Run]) -> Option<Strip> {
    let runs = &runs[runs.len().saturating_sub(STRIP)..];
    if runs.is_empty() {
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
                Some(worst) => match regressed(Some(run)) {
                    0 => signed(worst),
                    count => format!("{}, {count} worse", signed(worst)),
                },
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

/// Returns the rank ledger, incomplete steps first; none if no coverage was asked for.
pub(super) fn ledger(meta: &Meta) -> Option<Ledger> {
    let owner = |run: &&RunMeta| run.ranks.is_some() && run.parts.contains(&Part::Coverage);
    let ledger = meta.runs.iter().rev().find(owner)?.ranks.as_ref()?;
    let mut rows: Vec<LedgerRow> = ledger
        .steps
        .iter()
        .map(|step| {
            let mut start = 0.0;
            let bar = step.ranks.iter().map(|group| {
                let length = group.count as f64 / step.expected.max(1) as f64 * 200.0;
                let piece = (start, length, class(group.state));
                start += length;
                piece
            });
            let states = step.ranks.iter().map(|group| {
                let word = word(group.state);
                match group.state {
                    ProfileState::Whole => format!("{} {word}", group.count),
                    _ => format!("{} {word} ({})", group.count, group.ranks),
                }
            });
            LedgerRow {
                bar: bar.collect(),
                states: states.collect::<Vec<_>>().join(", "),
                step: step.step.clone(),
                attempt: step.attempt,
                sign: if step.used >= step.expected {
                    Sign::PASSED.worded("complete")
                } else {
                    Sign::ERROR.worded("incomplete")
                },
                used: step.used,
                expected: step.expected,
                problems: step
                    .problems
                    .iter()
                    .take(NAMED)
                    .map(|it| it.message.clone())
                    .collect(),
            }
        })
        .collect();
    rows.sort_by_key(|row| row.used >= row.expected);
    let more = rows.len().saturating_sub(ROWS);
    rows.truncate(ROWS);
    Some(Ledger {
        used: ledger.used,
        expected: ledger.expected,
        rows,
        more,
    })
}

fn class(state: ProfileState) -> &'static str {
    match state {
        ProfileState::Whole => "whole",
        ProfileState::Partial => "partial",
        _ => "lost",
    }
}

fn word(state: ProfileState) -> &'static str {
    match state {
        ProfileState::Whole => "whole",
        ProfileState::Partial => "partial",
        ProfileState::Empty => "empty",
        ProfileState::Truncated => "truncated",
        ProfileState::Absent => "absent",
        ProfileState::Foreign => "foreign",
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

/// Returns where the newest run took place and what it was built with.
pub(super) fn facts(meta: &Meta) -> Vec<Fact> {
    let Some(run) = meta.runs.last() else {
        return Vec::new();
    };
    let versioned = |name: &str, version: Option<&String>| match version {
        Some(version) => format!("{name} {version}"),
        None => name.to_owned(),
    };
    // Several commands may be the same compiler.
    let compilers: BTreeSet<String> = run
        .toolchain
        .compilers
        .iter()
        .map(|it| versioned(it.id.as_ref().unwrap_or(&it.command), it.version.as_ref()))
        .collect();
    let mpi = run.toolchain.mpi.as_ref();
    let slurm = run.slurm.as_ref();
    let mut processors: BTreeMap<&str, u64> = BTreeMap::new();
    for node in &run.nodes {
        *processors
            .entry(node.processor.as_deref().unwrap_or("processor not known"))
            .or_default() += 1;
    }
    let processors = processors
        .into_iter()
        .map(|(processor, count)| format!("{} with {processor}", counted(count, "node")));
    let join = |parts: &mut dyn Iterator<Item = String>| parts.collect::<Vec<_>>().join(", ");
    let facts = [
        ("Compilers", join(&mut compilers.into_iter())),
        (
            "MPI",
            mpi.map(|it| versioned(&it.implementation, it.version.as_ref()))
                .unwrap_or_default(),
        ),
        (
            "Cluster",
            slurm.and_then(|it| it.cluster.clone()).unwrap_or_default(),
        ),
        (
            "Partition",
            slurm
                .and_then(|it| it.partition.clone())
                .unwrap_or_default(),
        ),
        ("Nodes", join(&mut processors.into_iter())),
        ("Modules", run.modules.join(", ")),
        ("Launcher", run.launch.launcher.clone().unwrap_or_default()),
        ("Jobs", counted(run.jobs.len() as u64, "job")),
        ("hpc-ci", run.driver.version.clone()),
    ];
    facts
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| Fact { name, value })
        .collect()
}
