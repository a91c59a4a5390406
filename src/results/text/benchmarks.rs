//! The metrics of a run as rows.

use std::collections::BTreeMap;

use super::{figure, short};
use crate::results::benchmark::TOLERANCE_PCT;
use crate::results::clean::one_line;
use crate::results::record::{BenchmarkRecord, Better, Status};
use crate::results::table::{Cell, Tone};

/// Returns the row of a metric.
pub(super) fn row(name: &str, record: &BenchmarkRecord) -> Vec<Cell> {
    let name = Cell::text(one_line(name), Tone::Plain);
    let Some((median, spread)) = record.median.zip(record.spread) else {
        return match record.status {
            Some(Status::Skipped) => vec![name, Cell::figure("skipped", Tone::Odd)],
            _ => vec![name, Cell::figure("no value", Tone::Bad)],
        };
    };
    let (change, tone) = change(record);
    vec![
        name,
        Cell::figure(
            format!("{} {}", figure(median), one_line(&record.unit)),
            Tone::Strong,
        ),
        Cell::figure(format!("+- {}", figure(spread.mad)), Tone::Plain),
        Cell::figure(record.samples.len().to_string(), Tone::Plain),
        Cell::text(change, tone),
    ]
}

/// Returns what spoils figures, each once, with those that it spoils.
pub(super) fn warnings(records: &BTreeMap<String, BenchmarkRecord>) -> Vec<String> {
    let mut spoilt = BTreeMap::<&str, Vec<&str>>::new();
    for (name, record) in records {
        for warning in &record.warnings {
            spoilt.entry(warning).or_default().push(name);
        }
    }
    let lines = spoilt.into_iter().map(|(warning, names)| {
        let more = match names.len() {
            1 => String::new(),
            all => format!(" and {} more", all - 1),
        };
        format!("{}{more}: {}", one_line(names[0]), one_line(warning))
    });
    lines.collect()
}

fn change(record: &BenchmarkRecord) -> (String, Tone) {
    let Some((delta, baseline)) = record.delta_vs_baseline_pct.zip(record.baseline.as_ref()) else {
        return (String::new(), Tone::Plain);
    };
    let worse = (delta > 0.0) == (record.better == Better::Lower);
    let (verdict, tone) = match (record.regressed, worse) {
        (true, _) => ("REGRESSED", Tone::Bad),
        // Allocations of one machine differ by as much: that is no news.
        (false, _) if delta.abs() <= TOLERANCE_PCT => ("unchanged", Tone::Plain),
        (false, true) => ("worse, within its scatter", Tone::Plain),
        (false, false) => ("better", Tone::Plain),
    };
    (
        format!(
            "{delta:+.1}% against {}: {verdict}",
            short(&baseline.commit)
        ),
        tone,
    )
}
