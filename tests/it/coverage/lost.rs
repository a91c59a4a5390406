//! What was measured and lost, or counted and is not of the commit: it is told, with its place, and the run does not stand for its
//! branch.

mod built_again;
mod elsewhere;
mod sources;
mod target_dir;
mod tracefiles;

use serde_json::{Value, json};

use crate::support::Ended;

/// The ledger of a step.
#[track_caller]
fn ledger(run: &Ended, step: &str) -> Value {
    let meta = run.json("artifacts/meta.json");
    let steps = meta["runs"][0]["ranks"]["steps"].clone();
    let all = steps.as_array().unwrap().clone();
    let own = all.into_iter().find(|it| it["step"] == step);
    own.unwrap_or_else(|| panic!("no `{step}` in {steps:#}"))
}

/// The states of a step's ranks: `[["whole", "0-1"]]`.
fn states(ledger: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let groups = ledger["ranks"].as_array().unwrap();
    let groups = groups
        .iter()
        .map(|it| (text(&it["state"]), text(&it["ranks"])));
    groups.collect()
}

#[track_caller]
pub(super) fn is_partial(run: &Ended, partial: bool) {
    let summary = run.json("artifacts/coverage/summary.json");
    assert_eq!(summary["partial"], partial, "{:#}", summary["losses"]);
    assert_eq!(summary["losses"] != json!([]), partial);
    let expected = if partial {
        json!(["infrastructure_damaged"])
    } else {
        json!([])
    };
    for document in ["hpc-results.json", "artifacts/meta.json"] {
        let document = run.json(document);
        let marks = document
            .get("marks")
            .unwrap_or(&document["runs"][0]["marks"]);
        assert_eq!(*marks, expected);
    }
    assert_eq!(run.err.contains("lines), partial"), partial, "{}", run.err);
}
