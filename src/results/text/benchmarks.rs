//! The metrics of a run as rows.

use super::{figure, short};
use crate::results::clean::one_line;
use crate::results::record::{BenchmarkRecord, Better};
use crate::results::table::{Cell, Tone};

/// Returns the row of a metric.
pub(super) fn row(name: &str, record: &BenchmarkRecord) -> Vec<Cell> {
    let name = Cell::text(one_line(name), Tone::Plain);
    let Some((median, spread)) = record.median.zip(record.spread) else {
        return vec![name, Cell::figure("no value", Tone::Bad)];
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

fn change(record: &BenchmarkRecord) -> (String, Tone) {
    let Some((delta, baseline)) = record.delta_vs_baseline_pct.zip(record.baseline.as_ref()) else {
        return (String::new(), Tone::Plain);
    };
    let worse = (delta > 0.0) == (record.better == Better::Lower);
    let (verdict, tone) = match (record.regressed, worse) {
        (true, _) => ("REGRESSED", Tone::Bad),
        (false, true) if delta != 0.0 => ("worse", Tone::Plain),
        (false, false) if delta != 0.0 => ("better", Tone::Plain),
        _ => ("same", Tone::Plain),
    };
    (
        format!(
            "{delta:+.1}% against {}: {verdict}",
            short(&baseline.commit)
        ),
        tone,
    )
}
