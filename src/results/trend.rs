//! How figures moved from run to run, from the history alone.

use std::collections::BTreeMap;

use serde::Serialize;

use super::benchmark::{in_force, measured_median, percent_change};
use super::clean::one_line;
use super::record::{Accepted, BenchmarkRecord, HistoryEntry, SCHEMA_VERSION};
use super::summary::total;
use super::table::{Cell, Ink, Tone, table};
use super::text::{figure, short};

/// Names of the key's parts that stand behind a metric's name, where there are several keys.
type Key = BTreeMap<String, String>;

/// What `trend` shows.
#[derive(Debug, Serialize)]
pub struct Trend<'a> {
    schema_version: u32,
    runs: Vec<&'a HistoryEntry>,
    /// Every baseline that was accepted of these metrics, the oldest first.
    accepted: Vec<&'a Accepted>,
    #[serde(skip)]
    metrics: BTreeMap<(&'a str, &'a Key), Vec<(&'a HistoryEntry, &'a BenchmarkRecord)>>,
}

/// Returns the trend of the `last` runs, the oldest first; of metrics, those whose name contains one of `names`.
#[must_use]
pub fn trend<'a>(
    runs: &'a [HistoryEntry],
    accepted: &'a [Accepted],
    names: &[String],
    branch: Option<&str>,
    last: usize,
) -> Trend<'a> {
    let wanted = |name: &str| names.is_empty() || names.iter().any(|part| name.contains(part));
    let of_branch = |run: &&HistoryEntry| branch.is_none() || run.branch.as_deref() == branch;
    let mut runs = runs.iter().filter(of_branch).collect::<Vec<_>>();
    runs.drain(..runs.len().saturating_sub(last));
    let mut metrics = BTreeMap::<_, Vec<_>>::new();
    for run in &runs {
        for (name, record) in run.benchmarks.iter().filter(|(name, _)| wanted(name)) {
            let series = metrics.entry((name.as_str(), &record.key)).or_default();
            series.push((*run, record));
        }
    }
    Trend {
        schema_version: SCHEMA_VERSION,
        runs,
        accepted: accepted
            .iter()
            .filter(|line| wanted(&line.benchmark))
            .collect(),
        metrics,
    }
}

impl Trend<'_> {
    /// Returns the trend for people.
    #[must_use]
    pub fn to_text(&self, colour: bool) -> String {
        let ink = Ink { colour };
        let mut tables = vec![table(&self.runs(), ink)];
        for ((name, key), series) in &self.metrics {
            let place = key.iter().map(|(word, value)| format!("{word}={value}"));
            let place = one_line(&place.collect::<Vec<_>>().join(" "));
            let title = ink.paint(Tone::Strong, &one_line(name));
            let rows = table(&rows(series), ink);
            let baseline = in_force(self.accepted.iter().copied(), name, key);
            let baseline = baseline.map_or_else(String::new, |line| {
                let told = told(line);
                format!("{}\n", ink.paint(Tone::Faint, &told))
            });
            tables.push(format!("{title}  {place}\n{rows}{baseline}"));
        }
        tables.join("\n")
    }

    fn runs(&self) -> Vec<Vec<Cell>> {
        let titles = ["finished", "commit", "branch", "status"];
        let figures = ["passed", "failed", "errors", "coverage", "worst change"];
        let titles = titles.iter().map(|&it| Cell::text(it, Tone::Faint));
        let figures = figures.iter().map(|&it| Cell::figure(it, Tone::Faint));
        let mut rows = vec![titles.chain(figures).collect::<Vec<_>>()];
        for run in &self.runs {
            let counts = run.tests.as_ref().map(total);
            let count = |count: Option<u64>| {
                Cell::figure(
                    count.map_or("-".to_owned(), |count| count.to_string()),
                    Tone::Plain,
                )
            };
            let coverage = run.coverage.as_ref();
            let coverage = coverage.map(|it| format!("{:.2}%", it.coverage_percent));
            let worst = run.worst_regression_pct.map(|it| format!("{it:+.1}%"));
            rows.push(vec![
                time(run),
                Cell::text(commit(run), Tone::Plain),
                Cell::text(one_line(run.branch.as_deref().unwrap_or("-")), Tone::Plain),
                Cell::text(run.status.as_str(), Tone::Plain),
                count(counts.map(|it| it.passed)),
                count(counts.map(|it| it.failed)),
                count(counts.map(|it| it.errors + it.not_run)),
                Cell::figure(coverage.unwrap_or_else(|| "-".to_owned()), Tone::Plain),
                Cell::figure(worst.unwrap_or_else(|| "-".to_owned()), Tone::Plain),
            ]);
        }
        rows
    }
}

fn rows(series: &[(&HistoryEntry, &BenchmarkRecord)]) -> Vec<Vec<Cell>> {
    let mut before = None;
    series
        .iter()
        .map(|(run, record)| {
            let median = measured_median(record);
            let value = median.zip(record.spread);
            let shown = value.map(|(median, _)| format!("{} {}", figure(median), record.unit));
            let spread = value.map(|(_, spread)| format!("+- {}", figure(spread.mad)));
            let change = median.zip(before).and_then(|(now, (unit, before))| {
                // A change of the unit is no change of the figure.
                (unit == record.unit.as_str()).then(|| percent_change(now, before))?
            });
            before = median
                .map(|median| (record.unit.as_str(), median))
                .or(before);
            // The change before it is that from the row above.
            let word = match (record.regressed, &record.baseline) {
                (false, _) => String::new(),
                (true, None) => "REGRESSED".to_owned(),
                (true, Some(baseline)) => format!("REGRESSED against {}", short(&baseline.commit)),
            };
            vec![
                time(run),
                Cell::text(commit(run), Tone::Plain),
                Cell::figure(
                    one_line(&shown.unwrap_or_else(|| "no value".to_owned())),
                    Tone::Strong,
                ),
                Cell::figure(spread.unwrap_or_default(), Tone::Plain),
                Cell::figure(
                    change.map_or(String::new(), |it| format!("{it:+.1}%")),
                    Tone::Plain,
                ),
                Cell::text(word, Tone::Bad),
            ]
        })
        .collect()
}

/// Returns which baseline is in force, and why.
fn told(line: &Accepted) -> String {
    format!(
        "baseline {} {} at {}, accepted {}: {}",
        figure(line.median),
        one_line(&line.unit),
        short(&line.commit),
        line.accepted_at.format("%Y-%m-%d"),
        one_line(&line.reason)
    )
}

fn time(run: &HistoryEntry) -> Cell {
    let time = run.finished_at.format("%Y-%m-%d %H:%M");
    Cell::text(time.to_string(), Tone::Faint)
}

fn commit(run: &HistoryEntry) -> String {
    let dirty = if run.dirty { "+" } else { "" };
    format!("{}{dirty}", short(&run.commit))
}
