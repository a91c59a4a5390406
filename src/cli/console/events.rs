//! Progress for programs: a line of JSON an event, as `docs/progress.md` and `docs/schema/event.json` have it. No clock.

use std::collections::HashMap;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value, json};

use crate::clean;
use crate::drive::progress::{Attempted, Progress, Stage};

/// The version of the events.
const SCHEMA_VERSION: u32 = 1;

/// What must be remembered from one event to the next.
#[derive(Debug, Default)]
pub(super) struct Events {
    began: HashMap<String, DateTime<Utc>>,
}

impl Events {
    /// Returns the line of an event.
    pub(super) fn line(&mut self, event: &Progress, now: DateTime<Utc>) -> String {
        let (name, fields) = self.fields(event, now);
        written(name, fields, now)
    }

    fn fields(&mut self, event: &Progress, now: DateTime<Utc>) -> (&'static str, Value) {
        match event {
            Progress::Began(stage) => {
                self.began.insert(stage.to_string(), now);
                ("stage_started", of_stage(stage))
            }
            Progress::Over { stage, good } => {
                let began = self.began.remove(&stage.to_string());
                let took = began.map(|began| (now - began).as_seconds_f64());
                let fields = json!({ "good": good, "elapsed_seconds": took });
                ("stage_ended", joined(of_stage(stage), fields))
            }
            Progress::Note(message) => ("note", json!({ "message": message })),
            Progress::Steps { total } => ("steps", json!({ "total": total })),
            Progress::Queued {
                attempt,
                reason,
                start,
            } => {
                let fields = json!({ "reason": reason, "expected_start": start.map(time) });
                ("step_queued", joined(of_step(attempt), fields))
            }
            Progress::Running {
                attempt,
                nodes,
                since,
            } => {
                let fields = json!({ "nodes": nodes, "started_at": time(*since) });
                ("step_started", joined(of_step(attempt), fields))
            }
            Progress::Again { step, attempt, why } => (
                "step_again",
                json!({ "step": step, "attempt": attempt, "message": why }),
            ),
            Progress::Ended(ended) => {
                let fields = json!({
                    "nodes": ended.nodes,
                    "outcome": ended.outcome,
                    "good": ended.good,
                    "flaky": ended.flaky,
                    "elapsed_seconds": ended.elapsed.map(|elapsed| elapsed.as_secs_f64()),
                    "message": ended.message,
                });
                ("step_ended", joined(of_step(&ended.attempt), fields))
            }
        }
    }
}

/// Returns the line of an event with these fields, which may bring a version of their own along.
pub(super) fn written(event: &str, fields: Value, now: DateTime<Utc>) -> String {
    let head = json!({ "schema_version": SCHEMA_VERSION, "event": event, "time": time(now) });
    // JSON leaves some characters as they are that a terminal may obey.
    let mut line = clean::json(&joined(head, fields).to_string());
    line.push('\n');
    line
}

fn of_stage(stage: &Stage) -> Value {
    json!({ "stage": stage.kind.as_str(), "build": stage.of })
}

fn of_step(attempt: &Attempted) -> Value {
    json!({
        "step": attempt.step,
        "attempt": attempt.attempt,
        "job_id": attempt.job,
        "ranks": attempt.ranks,
        "nodes_asked": attempt.nodes,
        "limit_seconds": attempt.limit.as_secs(),
    })
}

fn joined(one: Value, other: Value) -> Value {
    let fields = [one, other].into_iter().flat_map(|value| match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    });
    Value::Object(fields.collect())
}

fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::super::sample::{self, at};
    use super::*;

    #[test]
    fn every_event_is_a_line_and_as_its_schema_says() {
        let read = |text| serde_json::from_str::<Value>(text).unwrap();
        let mut registry = jsonschema::Registry::new();
        for (name, text) in [
            ("common", include_str!("../../../docs/schema/common.json")),
            (
                "hpc-results",
                include_str!("../../../docs/schema/hpc-results.json"),
            ),
        ] {
            let place = format!("json-schema:///{name}.json");
            registry = registry.add(place, read(text)).unwrap();
        }
        let registry = registry.prepare().unwrap();
        let validator = jsonschema::options()
            .with_base_uri("json-schema:///document.json")
            .with_registry(&registry)
            .build(&read(include_str!("../../../docs/schema/event.json")))
            .unwrap();
        let mut events = Events::default();
        let mut text = String::new();
        for (second, event) in (0..).zip(sample::run().iter().chain(&sample::stopped())) {
            let line = events.line(event, at(second).to_utc());
            assert_eq!(line.chars().filter(|c| c.is_control()).count(), 1, "{line}");
            let value = serde_json::from_str::<Value>(&line).unwrap();
            let problems: Vec<String> = validator
                .iter_errors(&value)
                .map(|error| format!("{}: {error}", error.instance_path()))
                .collect();
            assert!(problems.is_empty(), "{problems:#?}\n{value:#}");
            text.push_str(&line);
        }
        let picked: Vec<&str> = text.lines().skip(5).step_by(4).take(5).collect();
        insta::assert_snapshot!(picked.join("\n"), @r#"
        {"schema_version":1,"event":"stage_ended","time":"2026-11-26T13:00:05.000Z","stage":"build","build":"tests","good":true,"elapsed_seconds":2.0}
        {"schema_version":1,"event":"step_queued","time":"2026-11-26T13:00:09.000Z","step":"halo[ranks=4]","attempt":1,"job_id":"48213","ranks":4,"nodes_asked":2,"limit_seconds":300,"reason":"Priority","expected_start":"2026-11-26T15:00:00.000Z"}
        {"schema_version":1,"event":"step_started","time":"2026-11-26T13:00:13.000Z","step":"x\r\nsection_end:1:y\r\u001b[0K","attempt":1,"job_id":"48213","ranks":1,"nodes_asked":2,"limit_seconds":300,"nodes":["n1","n2"],"started_at":"2026-11-26T13:00:38.000Z"}
        {"schema_version":1,"event":"step_ended","time":"2026-11-26T13:00:17.000Z","step":"x\r\nsection_end:1:y\r\u001b[0K","attempt":1,"job_id":"48213","ranks":4,"nodes_asked":2,"limit_seconds":300,"nodes":["n1"],"outcome":"passed","good":true,"flaky":false,"elapsed_seconds":1.234,"message":null}
        {"schema_version":1,"event":"stage_started","time":"2026-11-26T13:00:21.000Z","stage":"checkout","build":"x\r\u001b[0K"}
        "#);
    }
}
