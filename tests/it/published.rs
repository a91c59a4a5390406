//! A published MPI code that nobody here wrote: rsmpi (the crate `mpi`), driven by a short `hpc.toml` over its own examples.
//!
//! Its source and dependencies come from the registry, so the test needs a network the first time; bindgen takes a minute
//! to build, so it runs with `HPC_CI_FULL=1` only.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::local::{project, run};
use crate::support::tools::full;
use crate::support::{Home, Project};

const SETTINGS: &str = r#"
[project]
name = "rsmpi"
[environment]
variables = { MPICC = "mpicc.openmpi" }
[build.tests]
command = "cargo build --locked --example broadcast --example reduce --example send_receive"
fetch = "cargo fetch --locked"
coverage = "llvm"
[coverage]
include = ["src/**"]
[[test]]
name = "broadcast"
command = "target/debug/examples/broadcast"
matrix = { ranks = [2, 4] }
[[test]]
name = "reduce"
command = "target/debug/examples/reduce"
matrix = { ranks = [2, 4] }
[[test]]
name = "send and receive"
command = ["target/debug/examples/send_receive"]
ranks = 4
"#;

/// The folder into which cargo unpacked the source.
fn source() -> PathBuf {
    let fetcher = Project::new(Home::Here);
    fetcher.file(
        "Cargo.toml",
        "[package]\nname = \"fetcher\"\nversion = \"0.0.0\"\nedition = \"2021\"\n[lib]\npath = \"lib.rs\"\n\
         [dependencies]\nmpi = \"=0.8.2\"\n",
    );
    fetcher.file("lib.rs", "");
    let told = fetcher
        .command("cargo")
        .args(["metadata", "--format-version", "1"])
        .output()
        .unwrap();
    assert!(told.status.success(), "{told:?}");
    let metadata: Value = serde_json::from_slice(&told.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let rsmpi = packages.iter().find(|it| it["name"] == "mpi").unwrap();
    let manifest = Path::new(rsmpi["manifest_path"].as_str().unwrap());
    manifest.parent().unwrap().to_owned()
}

#[test]
fn rsmpi_runs_its_examples_and_is_covered() {
    if !full() {
        return;
    }
    let project = project(SETTINGS);
    let copied = project
        .command("cp")
        .arg("-r")
        .arg(source().join("."))
        .arg(&project.dir)
        .status();
    assert!(copied.unwrap().success());
    project.file(".gitignore", "/target\n/hpc-ci\n");
    project.commit();
    let run = run(&project, &[]).exits_with(0);
    for step in [
        "broadcast[ranks=2]",
        "broadcast[ranks=4]",
        "reduce[ranks=2]",
        "reduce[ranks=4]",
        "send and receive",
    ] {
        assert_eq!(run.outcome(step), ("passed".into(), "passed".into()));
    }
    for file in [
        "src/collective.rs",
        "src/point_to_point.rs",
        "src/environment.rs",
    ] {
        let hits = run.line_hits(file);
        let covered = hits.iter().filter(|(_, count)| *count > 0).count();
        assert!(covered >= 10, "{covered} of {} lines of {file}", hits.len());
    }
    // `MPI_Init` of rsmpi is called once by each of the 2 + 4 + 2 + 4 + 4 ranks.
    let ranks = &run.json("artifacts/meta.json")["runs"][0]["ranks"];
    assert_eq!(
        (&ranks["expected"], &ranks["used"]),
        (&Value::from(16), &Value::from(16))
    );
    let most = run.line_hits("src/environment.rs");
    assert!(most.iter().any(|(_, count)| *count == 16), "{most:?}");
}
