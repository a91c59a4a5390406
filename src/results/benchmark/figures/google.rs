//! The JSON of Google Benchmark. Each row of `run_type` `iteration` is a sample; aggregates are made of those.

use serde_json::Value;

use super::super::super::record::Better;
use super::{Told, json};

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
        if row["error_occurred"] == true {
            let message = row["error_message"].as_str().unwrap_or("an error occurred");
            push(&mut told, name, "", Better::Lower, Err(message.to_owned()));
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
        return Err("it lists only aggregates".to_owned());
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

fn push(told: &mut Vec<Told>, name: &str, unit: &str, better: Better, value: Result<f64, String>) {
    let known = told.iter_mut().find(|one| one.name == name);
    match (known, value) {
        (Some(one), Ok(value)) => {
            if let Ok(values) = &mut one.values {
                values.push(value);
            }
        }
        (Some(one), Err(message)) => one.values = Err(message),
        (None, value) => told.push(Told {
            name: name.to_owned(),
            unit: unit.to_owned(),
            better,
            values: value.map(|value| vec![value]),
        }),
    }
}
