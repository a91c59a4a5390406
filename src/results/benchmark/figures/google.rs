//! The JSON of Google Benchmark. Each row of `run_type` `iteration` is a sample; aggregates are made of those. Rows with `skipped`
//! (since 1.8) or `error_occurred` have times of 0.

use serde_json::Value;

use super::super::super::record::Better;
use super::{NoValue, Told, json, left_out};

const ONLY_AGGREGATES: &str = "it lists only aggregates";

pub(super) fn read(text: &str, warnings: &mut Vec<String>) -> Result<Vec<Told>, String> {
    let document = json(text, '{', '}')?;
    let context = &document["context"];
    if context["library_build_type"] == "debug" {
        warnings.push("its library was built for debugging".to_owned());
    }
    if context["cpu_scaling_enabled"] == true {
        warnings.push("the processor scaled its frequency".to_owned());
    }
    let rows = document["benchmarks"]
        .as_array()
        .ok_or("it has no `benchmarks`")?;
    let mut told = Vec::<Told>::new();
    for row in rows.iter().filter(|row| is_sample(row)) {
        let name = row["run_name"].as_str().or_else(|| row["name"].as_str());
        let name = name.ok_or("a benchmark has no name")?;
        if let Some(why) = left_out(row) {
            let unit = row["time_unit"].as_str().unwrap_or_default();
            push(&mut told, name, unit, Better::Lower, Err(why));
            continue;
        }
        let unit = row["time_unit"].as_str().unwrap_or("ns");
        let time =
            number(row, "real_time").ok_or_else(|| format!("`{name}` has no `real_time`"))?;
        push(&mut told, name, unit, Better::Lower, Ok(time));
        for (key, unit) in [("bytes_per_second", "B/s"), ("items_per_second", "items/s")] {
            if let Some(rate) = number(row, key) {
                let name = format!("{name}:{key}");
                push(&mut told, &name, unit, Better::Higher, Ok(rate));
            }
        }
    }
    if told.is_empty() && !rows.is_empty() {
        return Err(ONLY_AGGREGATES.to_owned());
    }
    // With `--benchmark_report_aggregates_only`, rows that were skipped are all that is left of the others.
    for row in rows.iter().filter(|row| row["run_type"] == "aggregate") {
        let is_fit = matches!(row["aggregate_name"].as_str(), Some("BigO" | "RMS"));
        let name = row["run_name"].as_str().filter(|_| !is_fit);
        if let Some(name) = name.filter(|name| !told.iter().any(|one| one.name == *name)) {
            let unit = row["time_unit"].as_str().unwrap_or_default();
            let why = NoValue::Fault(ONLY_AGGREGATES.to_owned());
            push(&mut told, name, unit, Better::Lower, Err(why));
        }
    }
    Ok(told)
}

/// Old versions have no `run_type`, and mark aggregates by their name alone.
fn is_sample(row: &Value) -> bool {
    let name = row["name"].as_str().unwrap_or_default();
    match row["run_type"].as_str() {
        Some(kind) => kind == "iteration",
        None => !["_mean", "_median", "_stddev", "_cv", "_BigO", "_RMS"]
            .iter()
            .any(|ending| name.ends_with(ending)),
    }
}

fn number(row: &Value, key: &str) -> Option<f64> {
    row.get(key)?.as_f64()
}

fn push(told: &mut Vec<Told>, name: &str, unit: &str, better: Better, value: Result<f64, NoValue>) {
    let Some(known) = told.iter_mut().find(|one| one.name == name) else {
        told.push(Told {
            name: name.to_owned(),
            unit: unit.to_owned(),
            better,
            values: value.map(|value| vec![value]),
        });
        return;
    };
    known.values = match (std::mem::replace(&mut known.values, Ok(Vec::new())), value) {
        (Ok(mut values), Ok(value)) => {
            values.push(value);
            Ok(values)
        }
        (Err(why), other) => Err(why.and(other.map(|_| ()))),
        (Ok(_), Err(why)) => Err(why.and(Ok(()))),
    };
}
