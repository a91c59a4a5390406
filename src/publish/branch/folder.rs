//! What one run puts onto the branch: a folder of small documents that never changes again.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::names::{is_commit, is_run};
use super::{BranchError, document};
use crate::config::Disclosure;
use crate::publish::disclosure::{Document, withhold};
use crate::results::picture::{self, Earlier};
use crate::results::record::{Meta, Part, RunEntry, RunMeta};

/// A document larger than this is shortened, or left out: the branch is for figures, not for data.
pub const LARGEST: usize = 1 << 20;
/// Entries of a list that a shortened document keeps.
const KEPT: usize = 100;

/// The folder of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    /// The commit.
    pub commit: String,
    /// The run.
    pub run: String,
    /// Its documents by name.
    pub files: BTreeMap<String, Vec<u8>>,
    /// What had to be shortened or left out.
    pub notes: Vec<String>,
}

/// Returns the folder of each run that contributes to a set of artifacts; `read` gives the files below `artifacts/`.
pub fn folders(
    meta: &Meta,
    entries: &[RunEntry],
    read: &dyn Fn(&str) -> Option<Vec<u8>>,
    disclosure: Disclosure,
) -> Result<Vec<Folder>, BranchError> {
    let pairs = meta.runs.iter().filter_map(|run| {
        let entry = entries.iter().find(|entry| entry.run == run.run)?;
        Some((run, entry))
    });
    pairs
        .map(|(run, entry)| folder(meta, run, entry, read, disclosure))
        .collect()
}

fn folder(
    meta: &Meta,
    run: &RunMeta,
    entry: &RunEntry,
    read: &dyn Fn(&str) -> Option<Vec<u8>>,
    disclosure: Disclosure,
) -> Result<Folder, BranchError> {
    if !is_commit(&entry.commit) || entry.commit != meta.commit || !is_run(&run.run) {
        return Err(BranchError::Name {
            commit: entry.commit.clone(),
            run: run.run.clone(),
        });
    }
    let own = alone(meta, run, entry);
    let set = Earlier {
        meta: own.clone(),
        entries: vec![entry.clone()],
    };
    let mut documents = vec![
        (Document::Run, document("run.json", entry)?),
        (Document::Meta, document("meta.json", &own)?),
    ];
    if let Some(joined) = picture::join(&[set], own.generated_at) {
        documents.push((
            Document::Results,
            document("hpc-results.json", &joined.results)?,
        ));
    }
    for part in &run.parts {
        let kind = match part {
            Part::Tests => Document::Tests,
            Part::Coverage => Document::Coverage,
            Part::Benchmarks => Document::Benchmarks,
        };
        documents.extend(read(&format!("{}/summary.json", part.folder())).map(|it| (kind, it)));
    }
    let mut folder = Folder {
        commit: entry.commit.clone(),
        run: run.run.clone(),
        files: BTreeMap::new(),
        notes: Vec::new(),
    };
    for (kind, bytes) in documents {
        let name = file_of(kind);
        let (bytes, note) = fit(kind, bytes, disclosure, LARGEST)?;
        folder.notes.extend(note);
        folder
            .files
            .extend(bytes.map(|bytes| (name.to_owned(), bytes)));
    }
    Ok(folder)
}

/// The name of a part's document.
pub(super) fn name_of(part: Part) -> &'static str {
    match part {
        Part::Tests => "tests.json",
        Part::Coverage => "coverage.json",
        Part::Benchmarks => "benchmarks.json",
    }
}

fn file_of(kind: Document) -> &'static str {
    match kind {
        Document::Run => "run.json",
        Document::Meta => "meta.json",
        Document::Results => "hpc-results.json",
        Document::Tests => name_of(Part::Tests),
        Document::Coverage => name_of(Part::Coverage),
        Document::Benchmarks => name_of(Part::Benchmarks),
    }
}

/// `meta.json` as if this run were the only one. Its time is the run's, so that the same run makes the same folder.
fn alone(meta: &Meta, run: &RunMeta, entry: &RunEntry) -> Meta {
    let generated_at: DateTime<Utc> = entry.finished_at;
    Meta {
        branch: entry.branch.clone(),
        dirty: entry.dirty,
        tag: run.source.tag.clone(),
        generated_at,
        runs: vec![run.clone()],
        ..meta.clone()
    }
}

/// How a document is made smaller, step by step.
enum Shorter {
    WithoutPassed,
    TotalsAlone,
}

/// Makes a document fit for the branch, and says what that took; none if nothing of it fits. As it is, it stays byte for byte.
fn fit(
    kind: Document,
    bytes: Vec<u8>,
    disclosure: Disclosure,
    largest: usize,
) -> Result<(Option<Vec<u8>>, Option<String>), BranchError> {
    if disclosure == Disclosure::Full && bytes.len() <= largest {
        return Ok((Some(bytes), None));
    }
    let name = file_of(kind);
    let unreadable = |source| BranchError::Unreadable {
        name: name.to_owned(),
        source,
    };
    let mut value: Value = serde_json::from_slice(&bytes).map_err(unreadable)?;
    withhold(&mut value, kind, disclosure);
    let fitting = |value: &Value| {
        let bytes = document(name, value)?;
        Ok::<_, BranchError>((bytes.len() <= largest).then_some(bytes))
    };
    if let Some(bytes) = fitting(&value)? {
        return Ok((Some(bytes), None));
    }
    for stage in [Shorter::WithoutPassed, Shorter::TotalsAlone] {
        let how = match stage {
            Shorter::WithoutPassed => {
                drop_passed(&mut value);
                "without the steps that passed"
            }
            Shorter::TotalsAlone => {
                drop_lists(&mut value);
                "with totals alone"
            }
        };
        let note = format!("{name} is larger than {largest} bytes and was shortened: {how}");
        say(&mut value, &note);
        if let Some(bytes) = fitting(&value)? {
            return Ok((Some(bytes), Some(note)));
        }
    }
    let note = format!("{name} is larger than {largest} bytes, even shortened, and was left out");
    Ok((None, Some(note)))
}

/// Notes in the document itself, where it has a place for that, that it is not whole.
fn say(document: &mut Value, note: &str) {
    if let Some(missing) = document.get_mut("missing").and_then(Value::as_array_mut) {
        missing.push(Value::from(note));
    } else if let Some(notes) = document.get_mut("notes").and_then(Value::as_array_mut) {
        notes.push(json!({"kind": "warning", "part": null, "message": note}));
    }
}

fn drop_passed(document: &mut Value) {
    if let Some(steps) = document.get_mut("steps").and_then(Value::as_array_mut) {
        let is_fine = |step: &Value| step["status"] == "passed" || step["status"] == "skipped";
        steps.retain(|step| !is_fine(step));
    }
}

fn drop_lists(document: &mut Value) {
    match document {
        Value::Object(object) => {
            for (key, value) in object.iter_mut() {
                match (key.as_str(), value) {
                    ("files", Value::Object(files)) => files.clear(),
                    ("failing" | "missing" | "notes", Value::Array(list)) => list.truncate(KEPT),
                    (
                        "steps" | "jobs" | "nodes" | "samples" | "binaries" | "builds" | "problems",
                        Value::Array(list),
                    ) => list.clear(),
                    (_, value) => drop_lists(value),
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(drop_lists),
        _ => {}
    }
}
