//! Holds the documents against `docs/schema/`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use jsonschema::Registry;
use serde::Serialize;
use serde_json::{Value, json};

use super::artifact::{Content, RunFiles};
use super::finished::example;
use super::record::{
    CoverageSummary, FileCoverage, Fix, LeftOut, Loss, Network, Note, NoteKind, ObjectEntry,
    ObjectList, Part, ProfileTotals, Ratio, SCHEMA_VERSION, Sources, StrayProfile, UncountedObject,
    meta_example,
};
use super::{FinishedRun, artifact, benchmark, picture};

const COMMON: &str = include_str!("../../docs/schema/common.json");

/// Every schema, by the name of its file.
const SCHEMAS: [(&str, &str); 9] = [
    (
        "hpc-results",
        include_str!("../../docs/schema/hpc-results.json"),
    ),
    (
        "tests-summary",
        include_str!("../../docs/schema/tests-summary.json"),
    ),
    (
        "benchmarks-summary",
        include_str!("../../docs/schema/benchmarks-summary.json"),
    ),
    ("meta", include_str!("../../docs/schema/meta.json")),
    ("run", include_str!("../../docs/schema/run.json")),
    (
        "coverage-summary",
        include_str!("../../docs/schema/coverage-summary.json"),
    ),
    (
        "coverage-objects",
        include_str!("../../docs/schema/coverage-objects.json"),
    ),
    (
        "coverage-network",
        include_str!("../../docs/schema/coverage-network.json"),
    ),
    (
        "coverage-ranks",
        include_str!("../../docs/schema/coverage-ranks.json"),
    ),
];

/// Returns what a schema has against a document.
fn problems(name: &str, document: &Value) -> Vec<String> {
    let common = serde_json::from_str::<Value>(COMMON).unwrap();
    let registry = Registry::new()
        .add("json-schema:///common.json", common)
        .unwrap()
        .prepare()
        .unwrap();
    let (_, text) = SCHEMAS.iter().find(|(known, _)| *known == name).unwrap();
    let schema = serde_json::from_str::<Value>(text).unwrap();
    let validator = jsonschema::options()
        .with_base_uri("json-schema:///document.json")
        .with_registry(&registry)
        .build(&schema)
        .unwrap();
    validator
        .iter_errors(document)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect()
}

fn check(name: &str, document: &impl Serialize) {
    let document = serde_json::to_value(document).unwrap();
    assert_eq!(
        problems(name, &document),
        Vec::<String>::new(),
        "{name}: {document:#}"
    );
}

fn check_run(run: &FinishedRun) {
    let files = RunFiles::new(run, meta_example::run_meta(), Vec::new()).unwrap();
    let skipped = Part::ALL
        .iter()
        .filter_map(|part| artifact::skipped(*part, &run.commit).unwrap());
    for file in files.files.iter().cloned().chain(skipped) {
        let Content::Bytes(bytes) = file.content else {
            continue;
        };
        match file.path.as_str() {
            "tests/summary.json" => check(
                "tests-summary",
                &serde_json::from_slice::<Value>(&bytes).unwrap(),
            ),
            "benchmarks/summary.json" => {
                check(
                    "benchmarks-summary",
                    &serde_json::from_slice::<Value>(&bytes).unwrap(),
                );
            }
            _ => {}
        }
    }
    let picture = picture::compose(None, &files.entry, &files.meta, run.finished_at);
    check("run", &files.entry);
    check("meta", &picture.meta);
    check("hpc-results", &picture.results);
}

#[test]
fn documents_of_runs_are_as_their_schemas_say() {
    check_run(&example::run());
    let mut broken = example::run();
    broken.dirty = true;
    broken.branch = None;
    broken.coverage = None;
    broken.benchmarks[0].samples = Err(benchmark::BenchmarkError::NoOutput);
    broken.notes.push(Note {
        kind: NoteKind::Error,
        part: None,
        message: "no node answered".to_owned(),
    });
    check_run(&broken);
    let mut nothing = example::run();
    nothing.steps.clear();
    nothing.benchmarks.clear();
    nothing.scope = [Part::Benchmarks].into();
    check_run(&nothing);
}

#[test]
fn documents_of_the_coverage_are_as_their_schemas_say() {
    let commit = example::run().commit;
    let lines = Ratio::new(2, 3);
    let file = FileCoverage {
        lines,
        functions: Some(Ratio::new(0, 0)),
        branches: None,
    };
    check(
        "coverage-summary",
        &CoverageSummary {
            schema_version: SCHEMA_VERSION,
            commit: commit.clone(),
            lines,
            functions: None,
            branches: None,
            profiles: ProfileTotals {
                ranks_expected: 4,
                ranks_used: 3,
                found: 4,
                used: 3,
                elsewhere: 1,
            },
            files: [("src/halo.rs".into(), file)].into(),
            run: None,
            missing: vec!["rank 2 of `halo` left no profile".to_owned()],
            partial: true,
            losses: vec![Loss {
                file: "a.info".to_owned(),
                step: Some("halo".to_owned()),
                line: Some(3),
                reason: "`DA:1` is not DA:LINE,HITS".to_owned(),
            }],
            left_out: LeftOut {
                not_in_commit: Sources {
                    count: 1,
                    examples: vec!["build/made.c".to_owned()],
                },
                ..LeftOut::default()
            },
        },
    );
    check(
        "coverage-objects",
        &ObjectList {
            schema_version: SCHEMA_VERSION,
            commit: commit.clone(),
            objects: vec![ObjectEntry {
                path: "target/debug/examples/halo".into(),
                build: Some("tests".to_owned()),
                build_id: Some("ab01".to_owned()),
                functions: Some(12),
                profiles: Some(4),
                copies: Vec::new(),
            }],
            uncounted: vec![UncountedObject {
                path: "lib.so".into(),
                message: "cut short".to_owned(),
            }],
            strays: vec![StrayProfile {
                file: "x.profraw".to_owned(),
                step: None,
                build_id: None,
            }],
        },
    );
    check(
        "coverage-network",
        &Network {
            schema_version: SCHEMA_VERSION,
            commit: commit.clone(),
            parent: None,
            files: vec!["src/a.c".to_owned()],
            fixes: [(
                "src/a.c".to_owned(),
                Fix {
                    lines: vec![2],
                    end_of_file: None,
                },
            )]
            .into(),
        },
    );
    check(
        "coverage-ranks",
        &json!({
            "commit": commit,
            "schema_version": SCHEMA_VERSION,
            "samples": [{"step": "halo[ranks=4]", "size": 4, "profiles": 4}],
            "patterns": [{
                "kinds": ["some_ranks", "never_rank_0"],
                "reached": [{"sample": 0, "ranks": 3, "first": 1, "last": 3}]
            }],
            "files": {"src/halo.rs": [[12, 18, 0], [20, 20, 0]]},
            "totals": {"some_ranks": 8, "never_rank_0": 8}
        }),
    );
}

/// What the contract prints as an example must be a document too.
#[test]
fn the_examples_of_the_contract_are_documents() {
    let commit = example::run().commit;
    check(
        "tests-summary",
        &json!({
            "schema_version": 1, "commit": commit, "status": "failed",
            "suites": {"unit": {"passed": 123, "failed": 0, "errors": 0, "skipped": 0, "not_run": 0, "flaky": 0}},
            "failing": [{"step": "halo[ranks=4]", "test": null, "outcome": "timeout", "message": "..."}],
            "steps": [{"name": "halo[ranks=4]", "suite": "unit", "status": "failed", "outcome": "timeout",
                "exit_code": null, "signal": null, "job_id": "71", "nodes": ["n1", "n2"], "ranks": 4,
                "elapsed_seconds": 300.2, "max_rss_bytes": 41_943_040, "attempts": 1, "flaky": false,
                "slurm_state": "COMPLETED", "log": "..."}],
        }),
    );
    check(
        "benchmarks-summary",
        &json!({
            "schema_version": 1, "commit": commit, "worst_regression_pct": 0.5,
            "benchmarks": {"solver/3d": {"median": 123.4, "unit": "ms", "better": "lower", "median_ms": 123.4,
                "samples": [123.4], "delta_vs_baseline_pct": -2.1, "baseline": {"commit": commit, "median": 126.0},
                "regressed": false}},
        }),
    );
}

#[test]
fn schemas_are_strict_where_they_should_be() {
    let run = example::run();
    let summary = serde_json::to_value(super::summary::tests(&run)).unwrap();
    for (key, _) in summary.as_object().unwrap() {
        let mut without = summary.clone();
        without.as_object_mut().unwrap().shift_remove(key);
        let required = !matches!(key.as_str(), "run" | "missing");
        assert_eq!(
            !problems("tests-summary", &without).is_empty(),
            required,
            "without {key}"
        );
    }
    let mut more = summary.clone();
    more["weather"] = json!("fine");
    assert_eq!(problems("tests-summary", &more), Vec::<String>::new());
    let mut contradiction = summary;
    contradiction["steps"][0]["outcome"] = json!("timeout");
    assert_ne!(
        problems("tests-summary", &contradiction),
        Vec::<String>::new()
    );
}
