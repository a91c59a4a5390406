//! Criterion: the files of `target/criterion/GROUP/FUNCTION/new`, the JSON lines of cargo-criterion, or what it prints.
//!
//! `sample.json` has the samples; without it, the median of `estimates.json` is the only one. Of what it prints, the middle
//! one of three values is its estimate.

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::super::record::Better;
use super::{NoValue, Told};

pub(super) fn read(texts: &[(&str, &str)]) -> Result<Vec<Told>, String> {
    let mut of_files = BTreeMap::<String, (bool, Vec<f64>)>::new();
    let mut told = Vec::new();
    for (path, text) in texts {
        let failed = |error: String| format!("`{path}`: {error}");
        if let Some((name, file)) = place(path) {
            let samples = match file {
                "sample.json" => Some((true, samples(text).map_err(failed)?)),
                "estimates.json" => Some((false, vec![estimate(text).map_err(failed)?])),
                _ => None,
            };
            let Some(samples) = samples else { continue };
            let slot = of_files.entry(name).or_default();
            if samples.0 || slot.1.is_empty() {
                *slot = samples;
            }
        } else if text.contains("\"benchmark-complete\"") {
            told.extend(messages(text).map_err(failed)?);
        } else {
            told.extend(printed(text));
        }
    }
    let of_files = of_files.into_iter().map(|(name, (_, values))| Told {
        name,
        unit: "ns".to_owned(),
        better: Better::Lower,
        values: Ok(values),
    });
    told.extend(of_files);
    if told.is_empty() {
        return Err("nothing of Criterion's is in it".to_owned());
    }
    Ok(told)
}

/// Returns the name of a benchmark and the file, of a path below `target/criterion`.
fn place(path: &str) -> Option<(String, &str)> {
    let (folder, file) = path.rsplit_once('/')?;
    let folder = folder.strip_suffix("/new")?;
    let name = folder
        .rsplit_once("criterion/")
        .map_or(folder, |(_, name)| name);
    Some((name.to_owned(), file))
}

/// Newer versions write an object, older ones two lists.
fn samples(text: &str) -> Result<Vec<f64>, String> {
    let document = parse(text)?;
    let (iterations, times) = match &document {
        Value::Array(both) => (both.first(), both.get(1)),
        object => (object.get("iters"), object.get("times")),
    };
    per_iteration(iterations, times)
}

fn per_iteration(iterations: Option<&Value>, totals: Option<&Value>) -> Result<Vec<f64>, String> {
    let list = |value: Option<&Value>| {
        let list = value.and_then(Value::as_array)?;
        list.iter().map(Value::as_f64).collect::<Option<Vec<_>>>()
    };
    match (list(iterations), list(totals)) {
        (Some(iterations), Some(totals)) if iterations.len() == totals.len() => {
            if iterations.iter().any(|&count| count <= 0.0) {
                return Err("a sample of it made no iteration".to_owned());
            }
            let pairs = totals.iter().zip(&iterations);
            Ok(pairs.map(|(total, count)| total / count).collect())
        }
        _ => Err("iterations and times do not belong together".to_owned()),
    }
}

fn estimate(text: &str) -> Result<f64, String> {
    let document = parse(text)?;
    let median = document.get("median").or_else(|| document.get("Median"));
    let median = median.and_then(|median| median.get("point_estimate"));
    let median = median.and_then(Value::as_f64);
    median.ok_or_else(|| "it has no median".to_owned())
}

fn parse(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("it is no JSON: {error}"))
}

/// What cargo-criterion writes with `--message-format=json`, between lines of others.
fn messages(text: &str) -> Result<Vec<Told>, String> {
    let mut told = Vec::new();
    for line in text
        .lines()
        .filter(|line| line.contains("\"benchmark-complete\""))
    {
        let message = parse(line)?;
        let name = message["id"].as_str().ok_or("a benchmark has no id")?;
        told.push(Told {
            name: name.to_owned(),
            unit: message["unit"].as_str().unwrap_or("ns").to_owned(),
            better: Better::Lower,
            values: Ok(per_iteration(
                message.get("iteration_count"),
                message.get("measured_values"),
            )?),
        });
    }
    Ok(told)
}

/// Reads `NAME  time:   [26.029 us 26.251 us 26.505 us]`; a long name stands in a line of its own.
fn printed(text: &str) -> Vec<Told> {
    let mut before = "";
    let mut told = Vec::new();
    for line in text.lines() {
        let found = line.split_once("time:").and_then(|(name, rest)| {
            let inner = rest.trim().strip_prefix('[')?.split(']').next()?;
            let words = inner.split_whitespace().collect::<Vec<_>>();
            let [_, _, value, unit, _, _] = words[..] else {
                return None;
            };
            let name = Some(name.trim()).filter(|name| !name.is_empty());
            Some(Told {
                name: name.unwrap_or(before).to_owned(),
                unit: unit.to_owned(),
                better: Better::Lower,
                values: value
                    .parse()
                    .map(|value| vec![value])
                    .map_err(|_| NoValue::Fault(format!("`{value}` is not a number"))),
            })
        });
        told.extend(found);
        if !line.trim().is_empty() {
            before = line.trim();
        }
    }
    told
}
