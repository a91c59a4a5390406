//! Bencher's metric format (`{benchmark: {measure: {value, lower_value, upper_value}}}`) and the custom JSON of
//! github-action-benchmark (`[{name, unit, value, range, extra}]`), read and written.
//!
//! Neither says which direction is good. Bencher's own measures do by their names; github-action-benchmark wants the two
//! directions in files of their own.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json as value};

use super::super::super::record::{BenchmarkRecord, Better};
use super::super::Unit;
use super::{Told, json, left_out};

pub(super) fn read_bmf(text: &str, better: Better) -> Result<Vec<Told>, String> {
    let document = json(text, '{', '}')?;
    let benchmarks = document.as_object().ok_or("it is no object")?;
    let mut told = Vec::new();
    for (benchmark, measures) in benchmarks {
        let measures = measures
            .as_object()
            .ok_or_else(|| format!("`{benchmark}` is no object"))?;
        for (measure, figure) in measures {
            let value = figure["value"].as_f64();
            let values = match (left_out(figure), value) {
                (Some(why), _) => Err(why),
                (None, value) => {
                    Ok(vec![value.ok_or_else(|| {
                        format!("`{measure}` of `{benchmark}` has no value")
                    })?])
                }
            };
            let (unit, better) = match measure.as_str() {
                "latency" => ("ns", Better::Lower),
                "throughput" => ("op/s", Better::Higher),
                _ => ("", better),
            };
            told.push(Told {
                name: format!("{benchmark}:{measure}"),
                unit: unit.to_owned(),
                better,
                values,
            });
        }
    }
    Ok(told)
}

pub(super) fn read_action(text: &str, better: Better) -> Result<Vec<Told>, String> {
    let document = json(text, '[', ']')?;
    let entries = document.as_array().ok_or("it is no list")?;
    let told = entries.iter().map(|entry| {
        let name = entry["name"].as_str().ok_or("an entry has no name")?;
        let value = entry["value"].as_f64();
        let values = match (left_out(entry), value) {
            (Some(why), _) => Err(why),
            (None, value) => Ok(vec![value.ok_or_else(|| format!("`{name}` has no value"))?]),
        };
        Ok(Told {
            name: name.to_owned(),
            unit: entry["unit"].as_str().unwrap_or_default().to_owned(),
            better,
            values,
        })
    });
    told.collect()
}

/// Returns the metrics in Bencher's format. Times are its `latency`, in nanoseconds; other measures are in their base units.
#[must_use]
pub fn bmf(records: &BTreeMap<String, BenchmarkRecord>) -> Value {
    let mut document = Map::new();
    for (name, record) in records {
        let Some(median) = record.median else {
            continue;
        };
        let unit = Unit::of(&record.unit);
        let (measure, convert): (_, Box<dyn Fn(f64) -> f64>) = match unit {
            Some(unit) => {
                let nanoseconds = Unit::of("ns").filter(|_| unit.base == "s");
                let convert = move |value| match nanoseconds {
                    Some(nanoseconds) => nanoseconds.of_base(unit.to_base(value)),
                    None => unit.to_base(value),
                };
                (measure(unit.base).to_owned(), Box::new(convert))
            }
            None => (slug(&record.unit), Box::new(|value| value)),
        };
        let mut figure = Map::new();
        figure.insert("value".to_owned(), value!(convert(median)));
        if let Some(interval) = record.interval {
            figure.insert("lower_value".to_owned(), value!(convert(interval.low)));
            figure.insert("upper_value".to_owned(), value!(convert(interval.high)));
        }
        document.insert(name.clone(), value!({ measure: figure }));
    }
    Value::Object(document)
}

fn measure(base: &str) -> &'static str {
    match base {
        "s" => "latency",
        "1/s" => "throughput",
        "B/s" => "bandwidth",
        "flop/s" => "flops",
        "B" => "size",
        "J" => "energy",
        _ => "power",
    }
}

fn slug(unit: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_lowercase()
        } else {
            '-'
        }
    };
    let slug = unit.chars().map(plain).collect::<String>();
    let slug = slug.trim_matches('-');
    if slug.is_empty() { "value" } else { slug }.to_owned()
}

/// Returns the metrics of which less is better, for `customSmallerIsBetter`.
#[must_use]
pub fn smaller_is_better(records: &BTreeMap<String, BenchmarkRecord>) -> Value {
    entries(records, Better::Lower)
}

/// Returns the metrics of which more is better, for `customBiggerIsBetter`.
#[must_use]
pub fn bigger_is_better(records: &BTreeMap<String, BenchmarkRecord>) -> Value {
    entries(records, Better::Higher)
}

fn entries(records: &BTreeMap<String, BenchmarkRecord>, better: Better) -> Value {
    let entries = records.iter().filter(|(_, it)| it.better == better);
    let entries = entries.filter_map(|(name, record)| {
        let key = record
            .key
            .iter()
            .map(|(key, value)| format!("{key}={value}"));
        Some(value!({
            "name": name,
            "unit": record.unit,
            "value": record.median?,
            "range": record.spread.map(|spread| format!("± {}", spread.mad)).unwrap_or_default(),
            "extra": key.collect::<Vec<_>>().join("\n"),
        }))
    });
    Value::Array(entries.collect())
}
