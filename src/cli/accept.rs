//! `accept`: moves the baselines of metrics, with a reason.

use chrono::Utc;
use clap::Args;

use super::args::{Format, Global};
use super::console::Console;
use super::past::{Past, PastArgs};
use crate::error::{Error, Exit};
use crate::results::benchmark::{in_force, measured_median};
use crate::results::record::{Accepted, Before, BenchmarkRecord, HistoryEntry, SCHEMA_VERSION};

/// Arguments of `accept`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hpc-ci accept --reason 'the new solver trades time for memory'\n  hpc-ci accept solver/3d --of 1a2b3c4 --reason 'first run on the new partition'"
)]
pub(super) struct AcceptArgs {
    /// Only these metrics; without any, all of the run.
    #[arg(value_name = "METRIC")]
    metrics: Vec<String>,
    /// The run or commit whose figures are accepted; without it, the newest run with benchmarks.
    #[arg(long, value_name = "RUN")]
    of: Option<String>,
    /// Why, for those who will wonder.
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    reason: String,
    #[command(flatten)]
    past: PastArgs,
}

fn reason(text: &str) -> Result<String, &'static str> {
    match text.trim() {
        "" => Err("say why"),
        text => Ok(text.to_owned()),
    }
}

pub(super) async fn accept(
    args: &AcceptArgs,
    global: &Global,
    console: &Console,
) -> Result<Exit, Error> {
    let past = Past::read(&args.past, console).await?;
    let run = run(&past, args)?;
    if run.dirty {
        return Err(Error::NotAcceptable {
            what: format!("run `{}` had uncommitted changes", run.run),
        });
    }
    let mut chosen = Vec::new();
    for (name, record) in chosen_metrics(run, &args.metrics)? {
        chosen.push((name, record, median(name, record)?));
    }
    if chosen.is_empty() {
        return Err(Error::NotAcceptable {
            what: format!("no metric of run `{}` has a value", run.run),
        });
    }
    let accepted = past.history.accepted()?.lines;
    let now = Utc::now();
    let mut lines = Vec::new();
    for (name, record, median) in chosen {
        let before = in_force(accepted.iter(), name, &record.key).map(|it| Before {
            commit: it.commit.clone(),
            median: it.median,
            unit: it.unit.clone(),
        });
        let line = Accepted {
            schema_version: SCHEMA_VERSION,
            accepted_at: now,
            reason: args.reason.clone(),
            benchmark: name.to_owned(),
            key: record.key.clone(),
            commit: run.commit.clone(),
            run: run.run.clone(),
            unit: record.unit.clone(),
            median,
            samples: record.samples.clone(),
            before,
        };
        past.history.accept(&line)?;
        console.tell(&told(&line));
        lines.push(line);
    }
    match global.format {
        Format::Human => Ok(Exit::Passed),
        Format::Json => super::print_json(&lines),
    }
}

fn run<'p>(past: &'p Past, args: &AcceptArgs) -> Result<&'p HistoryEntry, Error> {
    let measured = |run: &&HistoryEntry| !run.benchmarks.is_empty();
    let found = match &args.of {
        Some(word) => past.find(word)?.into_iter().rev().find(measured),
        None => past.runs.iter().rev().find(measured),
    };
    found.ok_or_else(|| Error::NotAcceptable {
        what: match &args.of {
            Some(word) => format!("run `{word}` has no benchmarks"),
            None => "no run has benchmarks".to_owned(),
        },
    })
}

fn chosen_metrics<'r>(
    run: &'r HistoryEntry,
    names: &[String],
) -> Result<Vec<(&'r str, &'r BenchmarkRecord)>, Error> {
    if names.is_empty() {
        // A metric without a value has nothing to accept.
        let measured = run.benchmarks.iter();
        let measured = measured.filter(|(_, it)| measured_median(it).is_some());
        return Ok(measured.map(|(name, it)| (name.as_str(), it)).collect());
    }
    let find = |name: &String| {
        let found = run.benchmarks.get_key_value(name);
        found
            .map(|(name, record)| (name.as_str(), record))
            .ok_or_else(|| Error::NotAcceptable {
                what: format!("run `{}` has no metric `{name}`", run.run),
            })
    };
    names.iter().map(find).collect()
}

fn median(name: &str, record: &BenchmarkRecord) -> Result<f64, Error> {
    measured_median(record).ok_or_else(|| Error::NotAcceptable {
        what: format!("metric `{name}` has no value"),
    })
}

fn told(line: &Accepted) -> String {
    let Accepted {
        benchmark,
        median,
        unit,
        ..
    } = line;
    let commit: String = line.commit.chars().take(10).collect();
    let before = match &line.before {
        Some(before) => format!("{} {}", before.median, before.unit),
        None => "nothing".to_owned(),
    };
    format!("baseline of {benchmark}: {median} {unit} at {commit}, instead of {before}")
}
