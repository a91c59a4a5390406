//! Test results from inside the steps: by captured reports, and by the real tools where they are there.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::local::{project, run};
use crate::support::{Ended, Home, Project};

/// A committed project with the captured reports and the programs that wrote them.
fn with_reports(toml: &str) -> Project {
    let project = Project::new(Home::Here);
    project.file("hpc.toml", toml).copy("tests/data/reports");
    project.commit();
    project
}

/// The counts of a suite: passed, failed, errors, skipped, not run, flaky, xfailed, xpassed.
#[track_caller]
fn counts(run: &Ended, suite: &str, expected: [u64; 8]) {
    let summary = run.json("artifacts/tests/summary.json");
    let found = &summary["suites"][suite];
    let names = [
        "passed", "failed", "errors", "skipped", "not_run", "flaky", "xfailed", "xpassed",
    ];
    let found = names.map(|name| found[name].as_u64().unwrap_or(u64::MAX));
    assert_eq!(found, expected, "{suite}: {summary:#}\n{}", run.err);
}

/// The counts of the `JUnit` file as its own attributes and its elements tell them.
#[track_caller]
fn junit_agrees(run: &Ended) {
    let summary = run.json("artifacts/tests/summary.json");
    let text = run.text("artifacts/tests/junit.xml");
    let total = |key: &str| {
        let suites = summary["suites"].as_object().unwrap().values();
        suites
            .map(|suite| suite[key].as_u64().unwrap())
            .sum::<u64>()
    };
    let elements = |name: &str| text.matches(&format!("<{name} ")).count() as u64;
    let all = ["passed", "failed", "errors", "skipped", "not_run"].map(total);
    assert_eq!(elements("testcase"), all.iter().sum::<u64>(), "{text}");
    assert_eq!(elements("failure"), total("failed"), "{text}");
    assert_eq!(
        elements("error"),
        total("errors") + total("not_run"),
        "{text}"
    );
    assert_eq!(elements("skipped"), total("skipped"), "{text}");
}

#[test]
fn reports_of_ranks_are_merged_and_a_dead_rank_is_lost() {
    let project = with_reports(
        r#"
[[test]]
name = "all"
suite = "all"
ranks = 4
command = "cp tests/data/reports/pytest-rank$HPC_CI_RANK.xml all-$HPC_CI_RANK.xml"
results = { format = "junit", path = "all-{rank}.xml" }
[[test]]
name = "dead"
suite = "dead"
ranks = 4
command = "[ $HPC_CI_RANK = 3 ] || cp tests/data/reports/pytest-rank0.xml dead-$HPC_CI_RANK.xml"
results = { format = "junit", path = "dead-*.xml" }
"#,
    );
    let run = run(&project, &[]).exits_with(1);
    counts(&run, "all", [6, 1, 1, 2, 0, 0, 1, 0]);
    counts(&run, "dead", [7, 0, 2, 2, 0, 0, 1, 0]);
    junit_agrees(&run);
    let step = run.step("all");
    assert_eq!(step["outcome"], "failed");
    assert_eq!(step["report"], "pytest");
    assert_eq!(
        step["disagreements"],
        json!([{"test": "test_mpi::test_rank_2_differs", "ranks": [
            {"status": "failed", "ranks": "2"}, {"status": "passed", "ranks": "0-1,3"}]}])
    );
    let summary = run.json("artifacts/tests/summary.json");
    let failing = summary["failing"].as_array().unwrap();
    let lost = failing.iter().find(|it| it["test"] == "(rank 3)").unwrap();
    assert_eq!(lost["test_status"], "lost");
    assert!(
        run.err.contains("failed on 2, passed on 0-1,3"),
        "{}",
        run.err
    );
}

#[test]
fn a_report_is_a_witness_of_its_own() {
    let project = with_reports(
        r#"
[[test]]
name = "claims success"
command = "cp tests/data/reports/googletest.xml a.xml"
results = { format = "junit", path = "a.xml" }
[[test]]
name = "claims failure"
command = "echo '<testsuite><testcase name=\"a\"/></testsuite>' >b.xml; exit 1"
results = { format = "junit", path = "b.xml" }
[[test]]
name = "writes nothing"
command = "true"
results = { format = "junit", path = "c.xml" }
[[test]]
name = "lists nothing"
command = "echo '<testsuites></testsuites><testsuite/>' >$HPC_CI_STEP_DIR/d.xml"
results = { format = "junit", path = "d.xml" }
[[test]]
name = "skips everything"
command = "echo '<testsuite><testcase name=\"a\"><skipped/></testcase></testsuite>' >e.xml"
results = { format = "junit", path = "e.xml" }
[[test]]
name = "is old"
command = "touch -d 2020-01-01 f.xml"
results = { format = "junit", path = "f.xml" }
[[test]]
name = "is cut short"
command = "head -c 700 tests/data/reports/nextest.xml >g.xml"
results = { format = "junit", path = "g.xml" }
[[test]]
name = "dies first"
command = "kill -KILL $$"
results = { format = "junit", path = "h.xml" }
[[test]]
name = "fails as it should"
command = "cp tests/data/reports/googletest.xml i.xml; exit 1"
expect = "fail"
results = { format = "junit", path = "i.xml" }
[[test]]
name = "speaks of others"
command = "echo 1..1; echo not ok 1 - theirs"
results = { format = "none" }
"#,
    );
    let run = run(&project, &[]).exits_with(1);
    for (step, outcome) in [
        ("claims success", "failed"),
        ("claims failure", "failed"),
        ("writes nothing", "lost"),
        ("lists nothing", "not_run"),
        ("skips everything", "skipped"),
        ("is old", "lost"),
        ("is cut short", "lost"),
        ("dies first", "signal"),
        ("fails as it should", "passed"),
        ("speaks of others", "passed"),
    ] {
        assert_eq!(run.outcome(step).0, outcome, "{:#}", run.step(step));
    }
    let said = |step: &str| run.step(step)["message"].as_str().unwrap().to_owned();
    assert!(said("is old").contains("older than the step"));
    assert!(said("claims failure").contains("no test of its report did"));
    assert!(said("writes nothing").contains("`c.xml`"));
    junit_agrees(&run);
}

#[test]
fn a_test_that_fails_first_is_flaky_by_name() {
    let project = project(
        r#"
[[test]]
name = "again"
retries = 1
command = '''
echo 1..2; echo ok 1 - good
if [ $HPC_CI_ATTEMPT = 1 ]; then echo not ok 2 - shaky; else echo ok 2 - shaky; fi
'''
"#,
    );
    let run = run(&project, &[]).exits_with(0);
    counts(&run, "tests", [2, 0, 0, 0, 0, 1, 0, 0]);
    let junit = run.text("artifacts/tests/junit.xml");
    let shaky = junit
        .split("<testcase ")
        .find(|case| case.contains("shaky"));
    assert!(shaky.unwrap().contains("<flakyFailure"), "{junit}");
}

#[test]
fn output_of_several_ranks_is_no_report() {
    let project = project(
        r#"
[[test]]
name = "torn"
ranks = 2
command = "echo 1..2; [ $HPC_CI_RANK = 1 ] || echo ok 1 - a"
[[test]]
name = "each"
ranks = 2
command = "printf '1..2\\nok 1 - a\\nok 2 - b\\n'"
[[test]]
name = "first"
ranks = 2
command = "[ $HPC_CI_RANK = 1 ] || printf '1..2\\nok 1 - a\\nok 2 - b\\n'"
"#,
    );
    let run = run(&project, &[]).exits_with(0);
    for step in ["torn", "each"] {
        assert_eq!(run.step(step)["report"], Value::Null, "{step}");
    }
    assert_eq!(run.step("first")["report"], "tap");
    counts(&run, "tests", [4, 0, 0, 0, 0, 0, 0, 0]);
}

/// Whether a tool answers. Without it there is nothing to try; `ci/test` installs them all.
fn there(tool: &str, arguments: &[&str]) -> bool {
    let output = Command::new(tool).args(arguments).output();
    let answers = output.is_ok_and(|output| output.status.success());
    let by_ci = std::env::var_os("HPC_CI_TEST_MARK").is_some();
    assert!(answers || !by_ci, "`{tool}` does not answer");
    answers
}

#[test]
fn cargo_and_nextest_for_real() {
    let nextest = there("cargo", &["nextest", "--version"]);
    let mut toml = r#"
[environment]
variables = { RUST_BACKTRACE = "0" }
[[test]]
name = "cargo"
suite = "cargo"
command = "cd tests/data/reports/programs/sample && cargo test --offline --no-fail-fast"
[[test]]
name = "quiet"
suite = "quiet"
command = "cd tests/data/reports/programs/sample && cargo test --offline --no-fail-fast --quiet"
serial = "cargo"
[[test]]
name = "json"
suite = "json"
command = "cd tests/data/reports/programs/sample && RUSTC_BOOTSTRAP=1 cargo test --offline --no-fail-fast -- -Z unstable-options --format json"
needs = []
serial = "cargo"
"#
    .to_owned();
    if nextest {
        toml.push_str(
            r#"
[[test]]
name = "nextest"
suite = "nextest"
command = "cd tests/data/reports/programs/sample && FLAKY=$HPC_CI_STEP_DIR cargo nextest run --offline --profile ci --features abort"
results = { format = "junit", path = "tests/data/reports/programs/sample/target/nextest/ci/junit.xml" }
"#,
        );
    }
    let project = with_reports(&toml);
    let run = run(&project, &[]).exits_with(1);
    counts(&run, "cargo", [4, 1, 0, 1, 0, 0, 0, 0]);
    counts(&run, "quiet", [4, 1, 0, 1, 0, 0, 0, 0]);
    counts(&run, "json", [4, 1, 0, 1, 0, 0, 0, 0]);
    if nextest {
        counts(&run, "nextest", [3, 2, 0, 0, 0, 1, 0, 0]);
        assert_eq!(run.step("nextest")["report"], "nextest");
    }
    junit_agrees(&run);
}

#[test]
fn perl_for_real() {
    if !there("perl", &["-MTest::More", "-e", "1"]) {
        return;
    }
    let project = with_reports(
        r#"
[[test]]
name = "more"
suite = "more"
command = "perl tests/data/reports/programs/perl.t"
[[test]]
name = "prove"
suite = "prove"
command = "prove -v tests/data/reports/programs/prove"
[[test]]
name = "killed"
suite = "killed"
command = "exec perl tests/data/reports/programs/perl-killed.t"
results = { format = "tap" }
"#,
    );
    let run = run(&project, &[]).exits_with(1);
    counts(&run, "more", [3, 2, 0, 2, 0, 0, 1, 1]);
    counts(&run, "prove", [4, 1, 0, 3, 0, 0, 1, 0]);
    counts(&run, "killed", [1, 0, 1, 0, 0, 0, 0, 0]);
    assert_eq!(run.outcome("killed").0, "signal");
    junit_agrees(&run);
}

#[test]
fn ctest_for_real() {
    if !there("ctest", &["--version"]) {
        return;
    }
    let project = with_reports(
        r#"
[[test]]
name = "ctest"
command = "cmake -S tests/data/reports/programs -B built && cd built && ctest --output-junit ../ctest.xml"
results = { format = "junit", path = "ctest.xml" }
"#,
    );
    let run = run(&project, &[]).exits_with(1);
    counts(&run, "tests", [2, 4, 1, 2, 1, 0, 0, 0]);
    assert_eq!(run.step("ctest")["report"], "ctest");
    junit_agrees(&run);
}

#[test]
fn googletest_and_catch2_for_real() {
    let header = |path: &str| Path::new("/usr/include").join(path).exists();
    if !header("gtest/gtest.h") || !header("catch2/catch.hpp") || !there("g++", &["--version"]) {
        return;
    }
    let project = with_reports(
        r#"
[build.tests]
command = '''
g++ -std=c++14 tests/data/reports/programs/googletest.cpp -o gtest -lgtest -lgtest_main -pthread
g++ -std=c++14 tests/data/reports/programs/catch2.cpp -o catch2
'''
[[test]]
name = "gtest"
suite = "gtest"
command = "./gtest --gtest_output=xml:gtest.xml"
results = { format = "junit", path = "gtest.xml" }
[[test]]
name = "suite set-up fails"
suite = "bad"
command = "BADSUITE=1 ./gtest --gtest_filter=Env.* --gtest_output=xml:bad.xml"
results = { format = "junit", path = "bad.xml" }
[[test]]
name = "filtered away"
suite = "none"
command = "./gtest --gtest_filter=Nothing --gtest_output=xml:none.xml"
results = { format = "junit", path = "none.xml" }
[[test]]
name = "catch2"
suite = "catch2"
command = "./catch2 -r junit -o catch2.xml"
results = { format = "junit", path = "catch2.xml" }
"#,
    );
    let run = run(&project, &[]).exits_with(1);
    counts(&run, "gtest", [4, 1, 0, 2, 0, 0, 0, 0]);
    counts(&run, "bad", [0, 1, 0, 1, 0, 0, 0, 0]);
    counts(&run, "none", [0, 0, 0, 0, 1, 0, 0, 0]);
    counts(&run, "catch2", [2, 1, 1, 2, 0, 0, 2, 0]);
    junit_agrees(&run);
}

#[test]
fn pytest_with_mpi4py_on_four_ranks_for_real() {
    if !there("/usr/bin/python3", &["-c", "import pytest, mpi4py"]) {
        return;
    }
    let project = with_reports(
        r#"
[[test]]
name = "lives"
suite = "lives"
ranks = 4
command = "/usr/bin/python3 -m pytest -p no:cacheprovider --junitxml=lives-$HPC_CI_RANK.xml tests/data/reports/programs/test_mpi.py"
results = { format = "junit", path = "lives-{rank}.xml" }
[[test]]
name = "dies"
suite = "dies"
ranks = 4
command = "exec env DIE=1 /usr/bin/python3 -m pytest -p no:cacheprovider --junitxml=dies-$HPC_CI_RANK.xml tests/data/reports/programs/test_mpi.py"
results = { format = "junit", path = "dies-{rank}.xml" }
"#,
    );
    let run = run(&project, &[]).exits_with(1);
    counts(&run, "lives", [6, 1, 1, 2, 0, 0, 1, 0]);
    let dies = run.step("dies");
    assert_eq!(dies["status"], "failed", "{dies:#}");
    let summary = run.json("artifacts/tests/summary.json");
    // The launcher kills the others at a time of its own: they may have written, rank 3 never has.
    let dies = summary["failing"].as_array().unwrap().iter();
    let mut dies = dies.filter(|it| it["step"] == "dies");
    let tells = |it: &Value| {
        let test = it["test"].as_str();
        test.is_none_or(|test| test.starts_with("(rank") && test.ends_with("3)"))
    };
    assert!(dies.any(tells), "{summary:#}");
    junit_agrees(&run);
}
