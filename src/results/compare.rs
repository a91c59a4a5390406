//! Two commits (or runs) side by side, from the history alone.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::benchmark::{
    Baseline, TOLERANCE_PCT, in_unit, measured_median, percent_change, stands_out, worse_by,
};
use super::clean::one_line;
use super::record::{
    BaselineSource, BenchmarkRecord, Better, CoverageFigure, HistoryEntry, RunStatus,
    SCHEMA_VERSION, SuiteCounts,
};
use super::summary::total;
use super::table::{Cell, Ink, Tone, table};
use super::text::{figure, short};

/// The comparison, as `compare --format json` prints it.
#[derive(Debug, Serialize)]
pub struct Comparison {
    schema_version: u32,
    a: Side,
    b: Side,
    worst_regression_pct: Option<f64>,
    benchmarks: BTreeMap<String, Vec<Pair>>,
}

/// What is known of one commit.
#[derive(Debug, Serialize)]
struct Side {
    commit: String,
    branch: Option<String>,
    runs: Vec<String>,
    status: Option<RunStatus>,
    tests: Option<SuiteCounts>,
    coverage: Option<CoverageFigure>,
    #[serde(skip)]
    metrics: BTreeMap<String, Vec<BenchmarkRecord>>,
}

/// One metric under one key, of both.
#[derive(Debug, Serialize)]
struct Pair {
    key: BTreeMap<String, String>,
    unit: String,
    better: Better,
    a: Option<Value>,
    b: Option<Value>,
    delta_pct: Option<f64>,
    verdict: Verdict,
}

#[derive(Debug, Serialize)]
struct Value {
    median: Option<f64>,
    unit: String,
    samples: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    /// Worse beyond tolerance and scatter.
    Regressed,
    /// Better beyond tolerance and scatter.
    Improved,
    /// Neither.
    Unchanged,
    /// One side has no value under this key.
    NotComparable,
}

/// Compares what the history knows of two commits or runs: `a` and `b` are their lines, the oldest first.
#[must_use]
pub fn compare(a: &[&HistoryEntry], b: &[&HistoryEntry]) -> Comparison {
    let (a, b) = (side(a), side(b));
    let names = a.metrics.keys().chain(b.metrics.keys());
    let benchmarks = names
        .cloned()
        .collect::<BTreeSet<_>>()
        .into_iter()
        .map(|name| {
            let of = |side: &Side| side.metrics.get(&name).cloned().unwrap_or_default();
            let pairs = pairs(&of(&a), &of(&b));
            (name, pairs)
        })
        .collect::<BTreeMap<_, _>>();
    let worst = benchmarks
        .values()
        .flatten()
        .filter_map(|pair| Some(worse_by(pair.delta_pct?, pair.better)))
        .max_by(f64::total_cmp);
    Comparison {
        schema_version: SCHEMA_VERSION,
        a,
        b,
        worst_regression_pct: worst,
        benchmarks,
    }
}

fn side(runs: &[&HistoryEntry]) -> Side {
    let newest =
        |wanted: &dyn Fn(&HistoryEntry) -> bool| runs.iter().rev().find(|run| wanted(run)).copied();
    let tests = newest(&|run| run.tests.is_some()).and_then(|run| run.tests.as_ref());
    let mut metrics = BTreeMap::<String, Vec<BenchmarkRecord>>::new();
    for run in runs.iter().rev() {
        for (name, record) in &run.benchmarks {
            let known = metrics.entry(name.clone()).or_default();
            if !known.iter().any(|it| it.key == record.key) {
                known.push(record.clone());
            }
        }
    }
    Side {
        commit: runs
            .last()
            .map(|run| run.commit.clone())
            .unwrap_or_default(),
        branch: runs.last().and_then(|run| run.branch.clone()),
        runs: runs.iter().map(|run| run.run.clone()).collect(),
        status: runs.last().map(|run| run.status),
        tests: tests.map(total),
        coverage: newest(&|run| run.coverage.is_some()).and_then(|run| run.coverage.clone()),
        metrics,
    }
}

fn pairs(a: &[BenchmarkRecord], b: &[BenchmarkRecord]) -> Vec<Pair> {
    let under = |all: &[BenchmarkRecord], key: &BTreeMap<String, String>| {
        all.iter().find(|it| it.key == *key).cloned()
    };
    let keys = a.iter().chain(b).map(|record| record.key.clone());
    keys.collect::<BTreeSet<_>>()
        .into_iter()
        .filter_map(|key| pair(under(a, &key), under(b, &key)))
        .collect()
}

fn pair(a: Option<BenchmarkRecord>, b: Option<BenchmarkRecord>) -> Option<Pair> {
    let shown = b.as_ref().or(a.as_ref())?.clone();
    let (delta, verdict) = match (&a, &b) {
        (Some(a), Some(b)) => judge(a, b),
        _ => (None, Verdict::NotComparable),
    };
    let value = |record: BenchmarkRecord| Value {
        median: measured_median(&record),
        unit: record.unit,
        samples: record.samples.len(),
    };
    Some(Pair {
        key: shown.key,
        unit: shown.unit,
        better: shown.better,
        a: a.map(value),
        b: b.map(value),
        delta_pct: delta,
        verdict,
    })
}

fn judge(a: &BenchmarkRecord, b: &BenchmarkRecord) -> (Option<f64>, Verdict) {
    let before = measured_median(a).and_then(|median| {
        let before = Baseline {
            commit: String::new(),
            run: None,
            unit: a.unit.clone(),
            median,
            samples: a.samples.clone(),
            source: BaselineSource::Asked,
        };
        in_unit(&before, &b.unit)
    });
    let delta = before
        .as_ref()
        .zip(measured_median(b))
        .and_then(|(before, median)| percent_change(median, before.median));
    let (Some(before), Some(delta)) = (before, delta) else {
        return (None, Verdict::NotComparable);
    };
    let opposite = match b.better {
        Better::Lower => Better::Higher,
        Better::Higher => Better::Lower,
    };
    let beyond = |better| {
        worse_by(delta, better) > TOLERANCE_PCT && stands_out(&b.samples, &before.samples, better)
    };
    let verdict = if beyond(b.better) {
        Verdict::Regressed
    } else if beyond(opposite) {
        Verdict::Improved
    } else {
        Verdict::Unchanged
    };
    (Some(delta), verdict)
}

impl Comparison {
    /// Returns the comparison for people.
    #[must_use]
    pub fn to_text(&self, colour: bool) -> String {
        let ink = Ink { colour };
        let mut text = table(&self.head(), ink);
        let mut rows = vec![vec![
            Cell::text("benchmark", Tone::Faint),
            Cell::figure(short(&self.a.commit), Tone::Faint),
            Cell::figure(short(&self.b.commit), Tone::Faint),
            Cell::figure("change", Tone::Faint),
            Cell::text("", Tone::Faint),
        ]];
        for (name, pairs) in &self.benchmarks {
            rows.extend(pairs.iter().map(|pair| self.row(name, pair)));
        }
        if rows.len() > 1 {
            text.push('\n');
            text.push_str(&table(&rows, ink));
        }
        text
    }

    fn head(&self) -> Vec<Vec<Cell>> {
        let row = |side: &Side| {
            let any = |counts: &SuiteCounts| *counts != SuiteCounts::default();
            let tests = side.tests.filter(any).map(|counts| {
                let bad = counts.failed + counts.errors + counts.not_run;
                format!("{} passed, {bad} did not", counts.passed)
            });
            let coverage = side.coverage.as_ref();
            vec![
                Cell::text(short(&side.commit), Tone::Strong),
                Cell::text(one_line(side.branch.as_deref().unwrap_or("-")), Tone::Plain),
                Cell::text(
                    side.status.map_or("-", RunStatus::as_str).to_owned(),
                    Tone::Plain,
                ),
                Cell::text(tests.unwrap_or_else(|| "-".to_owned()), Tone::Plain),
                Cell::figure(
                    coverage.map_or("-".to_owned(), |it| format!("{:.2}%", it.coverage_percent)),
                    Tone::Plain,
                ),
            ]
        };
        let titles = ["commit", "branch", "status", "tests"];
        let titles = titles.iter().map(|&it| Cell::text(it, Tone::Faint));
        let titles = titles.chain([Cell::figure("coverage", Tone::Faint)]);
        vec![titles.collect(), row(&self.a), row(&self.b)]
    }

    fn row(&self, name: &str, pair: &Pair) -> Vec<Cell> {
        let value = |value: &Option<Value>| match value {
            Some(Value {
                median: Some(median),
                unit,
                ..
            }) => format!("{} {}", figure(*median), one_line(unit)),
            Some(_) => "no value".to_owned(),
            None => "-".to_owned(),
        };
        let (word, tone) = match pair.verdict {
            Verdict::Regressed => ("REGRESSED", Tone::Bad),
            Verdict::Improved => ("improved", Tone::Good),
            Verdict::Unchanged => ("unchanged", Tone::Plain),
            Verdict::NotComparable => ("not comparable", Tone::Odd),
        };
        let why = match pair.verdict {
            Verdict::NotComparable => {
                format!("{word}{}", self.differing(name, pair))
            }
            _ => word.to_owned(),
        };
        vec![
            Cell::text(one_line(name), Tone::Plain),
            Cell::figure(value(&pair.a), Tone::Plain),
            Cell::figure(value(&pair.b), Tone::Plain),
            Cell::figure(
                pair.delta_pct
                    .map_or(String::new(), |delta| format!("{delta:+.1}%")),
                tone,
            ),
            Cell::text(why, tone),
        ]
    }

    /// In which words of the key the two sides of a metric differ.
    fn differing(&self, name: &str, pair: &Pair) -> String {
        let others = self.benchmarks.get(name).into_iter().flatten();
        let other = others
            .filter(|it| it.key != pair.key)
            .find(|it| it.a.is_some() != pair.a.is_some());
        let Some(other) = other else {
            return String::new();
        };
        let words = pair.key.keys().chain(other.key.keys());
        let words = words.collect::<BTreeSet<_>>().into_iter();
        let differing = words
            .filter(|word| pair.key.get(*word) != other.key.get(*word))
            .map(|word| one_line(word))
            .collect::<Vec<_>>();
        format!(": another {}", differing.join(", "))
    }
}
