//! Holds what a run wrote against `docs/schema/`.

use std::path::Path;

use serde_json::Value;

use super::Ended;

/// Fails the test unless a document is as the schema of this name says.
#[track_caller]
pub(crate) fn check(name: &str, document: &Value) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/schema");
    let read = |name: &str| -> Value {
        let text = std::fs::read(folder.join(format!("{name}.json"))).unwrap();
        serde_json::from_slice(&text).unwrap()
    };
    let mut registry = jsonschema::Registry::new();
    for shared in ["common", "history-baseline", "history-run", "hpc-results"] {
        let place = format!("json-schema:///{shared}.json");
        registry = registry.add(place, read(shared)).unwrap();
    }
    let registry = registry.prepare().unwrap();
    let validator = jsonschema::options()
        .with_base_uri("json-schema:///document.json")
        .with_registry(&registry)
        .build(&read(name))
        .unwrap();
    let problems = validator
        .iter_errors(document)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect::<Vec<_>>();
    assert!(problems.is_empty(), "{name}: {problems:#?}\n{document:#}");
}

impl Ended {
    /// Fails the test unless every document of the run is as its schema says.
    #[track_caller]
    pub(crate) fn documents_are_valid(self) -> Self {
        let results = self.json("hpc-results.json");
        check("hpc-results", &results);
        for run in results["runs"].as_array().unwrap() {
            let path = format!("artifacts/runs/{}.json", run.as_str().unwrap());
            check("run", &self.json(&path));
        }
        for (name, path) in [
            ("tests-summary", "tests/summary.json"),
            ("benchmarks-summary", "benchmarks/summary.json"),
            ("coverage-summary", "coverage/summary.json"),
            ("coverage-objects", "coverage/objects.json"),
            ("coverage-ranks", "coverage/ranks.json"),
            ("coverage-network", "coverage/network.json"),
            ("meta", "meta.json"),
        ] {
            let path = format!("artifacts/{path}");
            if self.dir.join("hpc-ci").join(&path).exists() {
                check(name, &self.json(&path));
            }
        }
        self
    }
}
