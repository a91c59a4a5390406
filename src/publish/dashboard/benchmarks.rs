//! The benchmarks of the page: what each metric is now, what it may be, and how it came there.

use super::super::branch::history::{Run, Standing};
use super::chart::{Chart, Point, Series};
use super::words::{Sign, day, figure, short, signed};
use crate::results::benchmark::{TOLERANCE_PCT, measured_median};
use crate::results::record::{BenchmarkRecord, Better, Status};

/// Charts on the page; beyond them, metrics are in the table alone.
const CHARTS: usize = 60;
/// Runs in one of the small charts.
const POINTS: usize = 60;
/// Rows of the table behind a chart.
const ROWS: usize = 10;

/// A metric.
#[derive(Debug)]
pub(super) struct Bench {
    pub(super) name: String,
    pub(super) anchor: String,
    pub(super) sign: Sign,
    pub(super) value: String,
    pub(super) between: String,
    pub(super) change: String,
    pub(super) baseline: String,
    pub(super) limit: String,
    pub(super) unit: String,
    pub(super) better: &'static str,
    pub(super) message: Option<String>,
    pub(super) chart: Option<Chart>,
    /// When, value, spread.
    pub(super) rows: Vec<(String, String, String)>,
}

/// Returns the metrics of the last benchmarks: what is missing or worse comes first.
pub(super) fn benches(runs: &[&Run], standing: Option<&Standing<'_>>) -> Vec<Bench> {
    let Some(summary) = standing
        .and_then(|it| it.benchmarks)
        .and_then(|run| run.benchmarks.as_ref())
    else {
        return Vec::new();
    };
    let mut records: Vec<(&String, &BenchmarkRecord)> = summary.benchmarks.iter().collect();
    records.sort_by_key(|(_, record)| (record.median.is_some(), !record.regressed));
    let benches = records.into_iter().enumerate();
    benches
        .map(|(number, (name, record))| bench(number, name, record, runs))
        .collect()
}

fn bench(number: usize, name: &str, record: &BenchmarkRecord, runs: &[&Run]) -> Bench {
    let with_unit = |value: f64| format!("{} {}", figure(value), record.unit);
    let limit = limit(record);
    let history: Vec<(&Run, &BenchmarkRecord)> = runs
        .iter()
        .filter_map(|run| Some((*run, run.benchmarks.as_ref()?.benchmarks.get(name)?)))
        // In another unit it would be another line.
        .filter(|(_, it)| it.unit == record.unit)
        .collect();
    let history = &history[history.len().saturating_sub(POINTS)..];
    let chart = (number < CHARTS)
        .then(|| chart(number, name, record, history, limit))
        .flatten();
    Bench {
        name: name.to_owned(),
        anchor: format!("benchmark-{number}"),
        sign: sign(record),
        value: record.median.map_or_else(|| "–".to_owned(), with_unit),
        between: between(record).unwrap_or_else(|| "–".to_owned()),
        change: record
            .delta_vs_baseline_pct
            .map_or_else(|| "–".to_owned(), signed),
        baseline: record.baseline.as_ref().map_or_else(
            || "none".to_owned(),
            |it| format!("{} at {}", with_unit(it.median), short(&it.commit)),
        ),
        limit: limit.map_or_else(|| "–".to_owned(), with_unit),
        unit: record.unit.clone(),
        better: match record.better {
            Better::Lower => "lower is better",
            Better::Higher => "higher is better",
        },
        message: record.message.clone(),
        chart,
        rows: history
            .iter()
            .rev()
            .take(ROWS)
            .map(|(run, record)| {
                (
                    format!(
                        "{} · {}",
                        day(run.entry.finished_at),
                        short(&run.entry.commit)
                    ),
                    measured_median(record).map_or_else(|| "no value".to_owned(), with_unit),
                    between(record).unwrap_or_else(|| "–".to_owned()),
                )
            })
            .collect(),
    }
}

fn sign(record: &BenchmarkRecord) -> Sign {
    let status = record.status.unwrap_or(match record.median {
        Some(_) => Status::Passed,
        None => Status::Error,
    });
    match status {
        Status::Passed if record.regressed => Sign::FAILED.worded("worse"),
        Status::Passed => Sign::PASSED.worded("fine"),
        other => other.into(),
    }
}

/// Where the samples lie: the interval of the median, else their range.
fn between(record: &BenchmarkRecord) -> Option<String> {
    let (low, high) = match (record.interval, record.spread) {
        (Some(interval), _) => (interval.low, interval.high),
        (None, Some(spread)) => (spread.min, spread.max),
        (None, None) => return None,
    };
    Some(format!("{} … {}", figure(low), figure(high)))
}

/// The value beyond which it counts as worse, if it also leaves the scatter.
fn limit(record: &BenchmarkRecord) -> Option<f64> {
    let median = record.baseline.as_ref()?.median;
    Some(match record.better {
        Better::Lower => median * (1.0 + TOLERANCE_PCT / 100.0),
        Better::Higher => median * (1.0 - TOLERANCE_PCT / 100.0),
    })
}

fn chart(
    number: usize,
    name: &str,
    record: &BenchmarkRecord,
    history: &[(&Run, &BenchmarkRecord)],
    limit: Option<f64>,
) -> Option<Chart> {
    let points = history.iter().map(|(run, it)| {
        let value = measured_median(it);
        let day = day(run.entry.finished_at);
        let shown = value.map_or_else(
            || "no value".to_owned(),
            |value| format!("{} {}", figure(value), record.unit),
        );
        Point {
            value,
            spread: it.spread.map(|spread| (spread.min, spread.max)),
            bad: it.regressed,
            title: format!("{shown} at {}, {day}", short(&run.entry.commit)),
            day,
        }
    });
    let points: Vec<Point> = points.collect();
    let last = record.median.map_or_else(
        || "no value in the last run".to_owned(),
        |value| format!("{} {} in the last run", figure(value), record.unit),
    );
    let series = Series {
        id: format!("benchmark-chart-{number}"),
        title: name.to_owned(),
        description: format!(
            "{} over {} runs: {last}. The area is the spread of the samples, the dashed line the limit.",
            name,
            points.len()
        ),
        unit: "",
        points,
        limit,
        bounds: (f64::NEG_INFINITY, f64::INFINITY),
    };
    Chart::new(series, 380.0, 165.0)
}
