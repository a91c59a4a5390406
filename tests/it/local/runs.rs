//! What a run leaves, and what an interrupted, partial, failing or local one leaves.

use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::{here, project, run};
use crate::support::{Ended, Project, signal};

const TESTS_AND_BENCHMARKS: &str = r#"
[build.tests]
command = "echo tests >built"
[build.benchmarks]
command = "echo benchmarks >built"
[[test]]
name = "test"
command = "grep -x tests built"
[[benchmark]]
name = "solver/3d"
command = '''
grep -x benchmarks built && echo x >>count
case $(wc -l <count) in 1) t=900 r=1 ;; 2) t=40 r=10 ;; 3) t=10 r=30 ;; 4) t=20 r=20 ;; 5) t=30 r=40 ;; esac
echo "converged, time: $t.5 us, rate $r GB/s"
'''
repetitions = 4
warmup = 1
valid = 'converged'
[[benchmark.metric]]
name = "time"
pattern = 'time: ([0-9.]+) us'
unit = "us"
[[benchmark.metric]]
name = "rate"
pattern = 'rate (\d+) GB/s'
unit = "GB/s"
better = "higher"
"#;

/// Checks `checksums.txt` as anybody would.
#[track_caller]
fn checksums_hold(project: &Project) {
    let done = project
        .command("sha256sum")
        .args(["-c", "--strict", "--quiet", "checksums.txt"])
        .current_dir(project.dir.join("hpc-ci/artifacts"))
        .output()
        .unwrap();
    assert!(done.status.success(), "{done:?}");
    let listed = std::fs::read_to_string(project.dir.join("hpc-ci/artifacts/checksums.txt"));
    let listed = listed.unwrap().lines().count();
    let files = project
        .command("find")
        .args(["hpc-ci/artifacts", "-type", "f"])
        .output()
        .unwrap();
    let files = String::from_utf8(files.stdout).unwrap().lines().count();
    assert_eq!(listed + 1, files, "some artifact is not listed");
}

#[test]
fn a_run_leaves_its_documents_and_figures() {
    let project = project(TESTS_AND_BENCHMARKS);
    let run = run(&project, &[]).exits_with(0);
    let results = run.json("hpc-results.json");
    assert_eq!(results["status"], "passed");
    assert_eq!(results["branch"], "main");
    assert_eq!(results["coverage"], Value::Null);
    assert_eq!(results["tests"]["status"], "passed");
    assert_eq!(results["benchmarks"]["status"], "passed");
    assert_eq!(results["hpc"]["job_id"], Value::Null);
    checksums_hold(&project);

    let figures = run.json("artifacts/benchmarks/summary.json");
    let time = &figures["benchmarks"]["solver/3d:time"];
    assert_eq!(time["samples"], json!([40.5, 10.5, 20.5, 30.5]));
    assert_eq!(
        (&time["median"], &time["median_ms"]),
        (&json!(25.5), &json!(0.0255))
    );
    assert_eq!(time["better"], "lower");
    let rate = &figures["benchmarks"]["solver/3d:rate"];
    assert_eq!(
        (&rate["median"], &rate["median_ms"]),
        (&json!(25.0), &Value::Null)
    );
    assert_eq!(rate["better"], "higher");
    assert_eq!(figures["worst_regression_pct"], Value::Null);
    assert!(!run.err.contains('\u{1b}'), "colour without a terminal");
    let meta = run.json("artifacts/meta.json");
    assert_eq!(meta["dirty"], false);
    assert_eq!(meta["runs"].as_array().unwrap().len(), 1);
}

#[test]
fn colour_and_quiet_are_as_asked() {
    let project = project("[[test]]\nname = \"test\"\ncommand = \"true\"\n");
    let quiet = run(&project, &["-q"]).exits_with(0);
    assert!(!quiet.err.contains("queued"), "{}", quiet.err);
    assert!(quiet.err.contains("PASSED"), "{}", quiet.err);
    assert_eq!(quiet.out, "");
    let colour = run(&project, &["-q", "--color", "always"]).exits_with(0);
    assert!(colour.err.contains('\u{1b}'), "a flag beats NO_COLOR");
}

#[test]
fn a_benchmark_without_its_proof_is_an_error() {
    let project = project(
        r#"
[[benchmark]]
name = "diverges"
command = "echo time: 1 ms"
repetitions = 2
valid = "converged"
metric = { pattern = 'time: (\d+) ms', unit = "ms" }
[[benchmark]]
name = "says nothing"
command = "true"
repetitions = 1
warmup = 0
metric = { pattern = 'time: (\d+) ms', unit = "ms" }
[[benchmark]]
name = "crashes"
command = "echo time: 1 ms; exit 1"
repetitions = 1
warmup = 0
metric = { pattern = 'time: (\d+) ms', unit = "ms" }
"#,
    );
    let run = run(&project, &[]).exits_with(1);
    let figures = run.json("artifacts/benchmarks/summary.json");
    for name in ["diverges", "says nothing", "crashes"] {
        let figure = &figures["benchmarks"][name];
        assert_eq!(figure["median"], Value::Null, "{figure:#}");
        assert_eq!(figure["status"], "error", "{figure:#}");
        assert!(figure["message"].is_string(), "{figure:#}");
    }
    let only = super::run(&project, &["says nothing"]).exits_with(3);
    assert_eq!(
        only.json("hpc-results.json")["benchmarks"]["status"],
        "error"
    );
}

#[test]
fn uncommitted_changes_are_tested_in_place_only() {
    let project = project("[[test]]\nname = \"test\"\ncommand = \"cat value\"\n");
    project.file("value", "committed\n");
    project.commit();
    project.file("value", "changed\n");
    let clean = run(&project, &[]).exits_with(0);
    assert_eq!(clean.log("test"), "committed\n");
    assert!(clean.err.contains("uncommitted changes"), "{}", clean.err);
    assert_eq!(clean.json("artifacts/meta.json")["dirty"], false);

    let dirty = run(&project, &["--in-place"]).exits_with(0);
    assert_eq!(dirty.log("test"), "changed\n");
    let meta = dirty.json("artifacts/meta.json");
    assert_eq!(meta["dirty"], true, "{meta:#}");
    let newest = meta["runs"].as_array().unwrap().last().unwrap();
    assert_eq!(newest["marks"], json!(["dirty"]));
    assert_eq!(newest["source"]["dirty"], true);
    assert!(newest["source"]["diff_sha256"].is_string());
    assert!(dirty.err.contains("marked     dirty"), "{}", dirty.err);
    assert_eq!(dirty.json("hpc-results.json")["status"], "passed");
    let value = std::fs::read_to_string(project.dir.join("value")).unwrap();
    assert_eq!(value, "changed\n", "the work tree is the person's own");
}

#[test]
fn a_tree_in_place_that_holds_the_workspace_is_copied_for_benchmarks() {
    let project = project(
        "[[test]]\nname = \"test\"\ncommand = \"cat value\"\n\
         [[benchmark]]\nname = \"bench\"\ncommand = \"cat value\"\nmetric = { pattern = '(\\d+)', unit = \"s\" }\n",
    );
    project.file("value", "17\n");
    let done = run(&project, &["--in-place"]).exits_with(0);
    let median = &done.json("artifacts/benchmarks/summary.json")["benchmarks"]["bench"]["median"];
    assert_eq!(median, &json!(17.0));
}

#[test]
fn failed_steps_can_be_run_again_alone() {
    let project = project(
        r#"
[[test]]
name = "good"
command = "true"
[[test]]
name = "bad"
command = 'test -e "$REPAIRED"'
[[test]]
name = "behind it"
command = "true"
needs = ["bad"]
"#,
    );
    run(&project, &[]).exits_with(1);
    let mut command = here(&project, &["--failed", "--scheduler", "local"]);
    let output = command.env("REPAIRED", "/").output().unwrap();
    let again = Ended::of(&project.dir, &output).exits_with(0);
    let summary = again.json("artifacts/tests/summary.json");
    let names: Vec<&Value> = summary["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| &step["name"])
        .collect();
    assert_eq!(names, ["bad", "behind it"]);
    let meta = again.json("artifacts/meta.json");
    let newest = meta["runs"].as_array().unwrap().last().unwrap();
    assert_eq!(newest["marks"], json!(["filtered"]));
    // Everything passed in the latest run: nothing is left to do again.
    run(&project, &["--failed"]).exits_with(2);
}

/// The keys that the contract promises, whatever ran.
#[track_caller]
fn has_every_key(results: &Value) {
    assert_eq!(results["schema_version"], 1);
    let check = |object: &Value, keys: &str| {
        for key in keys.split(' ') {
            assert!(object.get(key).is_some(), "no `{key}` in {object:#}");
        }
    };
    check(
        results,
        "schema_version commit branch generated_at status hpc coverage tests benchmarks gate",
    );
    check(
        &results["hpc"],
        "cluster job_id node julia_version toolchain",
    );
    check(&results["tests"], "status duration_seconds log_file");
    check(
        &results["benchmarks"],
        "status duration_seconds tutorials_log benchmarks_log",
    );
    if results["coverage"].is_object() {
        check(
            &results["coverage"],
            "flag coverage_percent total_lines covered_lines report_file summary_file",
        );
    }
}

#[test]
fn partial_runs_keep_coverage_of_the_same_commit_only() {
    let toml = r#"
[build.tests]
command = "clang p.c -o p"
coverage = "llvm"
[[test]]
name = "test"
command = "./p"
[[benchmark]]
name = "b"
command = "echo t=1"
repetitions = 1
metric = { pattern = 't=(\d+)', unit = "s" }
"#;
    let project = project(toml);
    project.file("p.c", "int main(void) { return 0; }\n");
    project.commit();
    let all = run(&project, &[]).exits_with(0).documents_are_valid();
    let whole = all.json("hpc-results.json");
    has_every_key(&whole);
    assert_eq!(whole["coverage"]["coverage_percent"], 100.0);
    let part = run(&project, &["--benchmarks-only"])
        .exits_with(0)
        .documents_are_valid();
    let results = part.json("hpc-results.json");
    has_every_key(&results);
    assert_eq!(results["coverage"], whole["coverage"]);
    assert_eq!(results["tests"], whole["tests"]);
    project.file("p.c", "int main(void) { return 0 * 1; }\n");
    project.commit();
    let other = run(&project, &["--benchmarks-only"])
        .exits_with(0)
        .documents_are_valid();
    let results = other.json("hpc-results.json");
    has_every_key(&results);
    assert_eq!(results["coverage"], Value::Null);
    assert_eq!(results["tests"]["status"], "skipped");
    assert!(!project.dir.join("hpc-ci/artifacts/coverage").exists());
    checksums_hold(&project);
}

#[test]
fn partial_runs_of_one_commit_complete_each_other() {
    let project = project(TESTS_AND_BENCHMARKS);
    let first = run(&project, &["--tests-only"])
        .exits_with(0)
        .documents_are_valid();
    has_every_key(&first.json("hpc-results.json"));
    assert_eq!(
        first.json("hpc-results.json")["benchmarks"]["status"],
        "skipped"
    );
    let both = run(&project, &["--benchmarks-only"]).exits_with(0);
    let results = both.json("hpc-results.json");
    has_every_key(&results);
    assert_eq!(results["tests"]["status"], "passed");
    assert_eq!(results["benchmarks"]["status"], "passed");
    assert_eq!(both.step("test")["status"], "passed");
    assert!(both.log("test").contains("tests"));
    checksums_hold(&project);
    let meta = both.json("artifacts/meta.json");
    assert_eq!(meta["runs"].as_array().unwrap().len(), 2);

    project.file("other", "");
    let commit = project.commit();
    let other = run(&project, &["--benchmarks-only"]).exits_with(0);
    let results = other.json("hpc-results.json");
    assert_eq!(results["commit"], commit);
    assert_eq!(results["tests"]["status"], "skipped");
    assert_eq!(results["benchmarks"]["status"], "passed");
    checksums_hold(&project);
}

#[test]
fn a_failing_build_is_the_fault_of_the_code() {
    let project = project(
        r#"
[build.tests]
command = "echo heat.c:3: no semicolon >&2; exit 9"
[build.other]
command = "true"
[[test]]
name = "first"
command = "true"
[[test]]
name = "second"
command = "true"
build = "other"
"#,
    );
    let run = run(&project, &[]).exits_with(1);
    assert_eq!(run.outcome("first"), ("not_run".into(), "not_run".into()));
    assert_eq!(run.outcome("second"), ("passed".into(), "passed".into()));
    assert!(run.err.contains("heat.c:3: no semicolon"), "{}", run.err);
    assert!(run.err.contains("build.log"), "{}", run.err);
    assert_eq!(run.json("hpc-results.json")["status"], "failed");
}

#[test]
fn a_module_that_is_not_there_is_no_fault_of_the_code() {
    let project = project(
        r#"
[environment]
modules = ["no-such-module/1"]
[build.tests]
command = "true"
[[test]]
name = "test"
command = "true"
"#,
    );
    let run = run(&project, &[]).exits_with(3);
    assert_eq!(run.outcome("test"), ("not_run".into(), "not_run".into()));
    assert!(
        run.err.contains("no-such-module/1") || run.err.contains("no `module` command"),
        "{}",
        run.err
    );
}

/// Lines of other processes' command lines that hold this.
fn processes(part: &str) -> Vec<String> {
    let entries = std::fs::read_dir("/proc").unwrap();
    entries
        .filter_map(|entry| std::fs::read(entry.ok()?.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(part))
        .collect()
}

#[track_caller]
fn until(what: &str, mut done: impl FnMut() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < Duration::from_mins(1), "never: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Starts hpc-ci, signals it once this many such processes are there, and returns how it ended.
#[track_caller]
fn interrupted(project: &Project, sleep: &str, count: usize, with: Signal) -> Ended {
    let child = here(project, &["--scheduler", "local"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    until("the program runs", || {
        let sleeping = processes(sleep);
        let asleep = sleeping.iter().filter(|it| it.starts_with("sleep "));
        asleep.count() == count
    });
    signal(&child, with);
    let ended = Ended::of(&project.dir, &child.wait_with_output().unwrap());
    assert_eq!(processes(sleep), Vec::<String>::new(), "a process was left");
    ended
}

/// A time to sleep that no other test uses, so that its processes can be told.
fn own_sleep(number: u32) -> String {
    format!("{}.{number}", 100_000 + std::process::id())
}

#[test]
fn signals_end_the_steps_and_keep_what_is_known() {
    for (number, with, code) in [(1, Signal::SIGINT, 130), (2, Signal::SIGTERM, 143)] {
        let sleep = own_sleep(number);
        let project = project(&format!(
            r#"
[[test]]
name = "quick"
command = "true"
[[test]]
name = "endless"
command = "sleep {sleep}"
ranks = 2
needs = ["quick"]
[[test]]
name = "behind"
command = "true"
needs = ["endless"]
"#
        ));
        let run = interrupted(&project, &sleep, 2, with).exits_with(code);
        assert_eq!(run.outcome("quick"), ("passed".into(), "passed".into()));
        assert_eq!(run.outcome("endless"), ("cancelled".into(), "error".into()));
        assert_eq!(run.outcome("behind"), ("not_run".into(), "not_run".into()));
        assert_eq!(run.json("hpc-results.json")["status"], "error");
        checksums_hold(&project);
    }
}

#[test]
fn a_signal_ends_a_build_too() {
    let sleep = own_sleep(3);
    let project = project(&format!(
        "[build.tests]\ncommand = \"sleep {sleep}\"\n[[test]]\nname = \"test\"\ncommand = \"true\"\n"
    ));
    let run = interrupted(&project, &sleep, 1, Signal::SIGINT).exits_with(130);
    assert_eq!(run.outcome("test"), ("not_run".into(), "not_run".into()));
}

#[test]
fn without_coverage_nothing_is_instrumented() {
    let project = project(
        r#"
[build.tests]
command = "env >built"
coverage = "llvm"
[[test]]
name = "test"
command = 'cat built; echo "${CCC_OVERRIDE_OPTIONS-plain}"'
"#,
    );
    let run = run(&project, &["--no-coverage"]).exits_with(0);
    let log = run.log("test");
    assert!(!log.contains("RUSTC_WORKSPACE_WRAPPER"), "{log}");
    assert!(log.ends_with("plain\n"), "{log}");
    assert_eq!(run.json("hpc-results.json")["coverage"], Value::Null);
    assert!(!project.dir.join("hpc-ci/artifacts/coverage").exists());
}

#[test]
fn a_job_for_the_coverage_needs_a_scheduler_and_is_not_missed_without() {
    let project = project(
        r#"
[build.tests]
coverage = "lcov"
[[test]]
name = "covers"
command = 'printf "SF:%s/a.c\nDA:1,2\nend_of_record\n" "$PWD" >"$HPC_CI_TRACEFILE_DIR/a.info"'
[coverage]
where = "job"
"#,
    );
    project.file("a.c", "int a;\n").commit();
    let run = run(&project, &["--tests-only"]).exits_with(0);
    assert_eq!(run.line_hits("a.c"), [(1, 2)]);
    let said = "there are no jobs here, so coverage is made here";
    assert!(run.err.contains(said), "{}", run.err);
}
