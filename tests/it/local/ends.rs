//! How steps end on this machine, and what stands around them.

use super::{project, run};
use crate::support::Ended;

#[track_caller]
fn outcomes(run: &Ended, expected: &[(&str, &str, &str)]) {
    for (step, outcome, status) in expected {
        let found = run.outcome(step);
        let wanted = ((*outcome).to_owned(), (*status).to_owned());
        assert_eq!(found, wanted, "{step}: {:#}\n{}", run.step(step), run.err);
    }
}

#[test]
fn every_end_has_its_outcome() {
    let project = project(
        r#"
[[test]]
name = "passes"
command = "true"
[[test]]
name = "fails"
command = "echo the reason; exit 7"
[[test]]
name = "crashes"
command = "kill -SEGV $$"
[[test]]
name = "sleeps"
command = "sleep 600"
time = "1s"
[[test]]
name = "is not there"
command = ["./no-such-program"]
[[test]]
name = "fails as expected"
launcher = "none"
command = "exit 3"
expect = "fail"
[[test]]
name = "crashes as expected"
launcher = "none"
command = "kill -ABRT $$"
expect = "fail"
[[test]]
name = "passes against expectation"
command = "true"
expect = "fail"
[[test]]
name = "sleeps as expected"
command = "sleep 600"
time = "1s"
expect = "timeout"
[[test]]
name = "awakes against expectation"
command = "true"
expect = "timeout"
[[test]]
name = "needs what passes"
command = "true"
needs = ["passes"]
[[test]]
name = "needs what fails"
command = "true"
needs = ["fails"]
[[test]]
name = "needs what was not run"
command = "true"
needs = ["needs what fails"]
[[test]]
name = "passes at last"
launcher = "none"
command = 'test "$HPC_CI_ATTEMPT" = 3'
retries = 5
[[test]]
name = "never passes"
launcher = "none"
command = 'echo attempt $HPC_CI_ATTEMPT; exit 1'
retries = 1
[[test]]
name = "elsewhere"
command = "false"
only = { cluster = "no-such-cluster" }
"#,
    );
    let run = run(&project, &[]).exits_with(1);
    outcomes(
        &run,
        &[
            ("passes", "passed", "passed"),
            ("fails", "failed", "failed"),
            ("crashes", "signal", "failed"),
            ("sleeps", "timeout", "failed"),
            ("is not there", "failed", "failed"),
            ("fails as expected", "passed", "passed"),
            ("crashes as expected", "passed", "passed"),
            ("passes against expectation", "failed", "failed"),
            ("sleeps as expected", "passed", "passed"),
            ("awakes against expectation", "failed", "failed"),
            ("needs what passes", "passed", "passed"),
            ("needs what fails", "not_run", "not_run"),
            ("needs what was not run", "not_run", "not_run"),
            ("passes at last", "passed", "passed"),
            ("never passes", "failed", "failed"),
            ("elsewhere", "skipped", "skipped"),
        ],
    );
    assert_eq!(run.step("fails")["exit_code"], 7);
    assert_eq!(run.step("crashes")["signal"], 11);
    assert_eq!(run.step("passes at last")["attempts"], 3);
    assert_eq!(run.step("passes at last")["flaky"], true);
    assert_eq!(run.step("never passes")["attempts"], 2);
    assert_eq!(run.step("never passes")["flaky"], false);
    assert!(run.log("never passes").contains("attempt 2"));
    for (step, why) in [
        ("needs what fails", "it needs `fails`, which ended `failed`"),
        (
            "needs what was not run",
            "it needs `needs what fails`, which ended `not_run`",
        ),
    ] {
        assert_eq!(run.step(step)["message"], why);
    }

    let summary = run.json("artifacts/tests/summary.json");
    let counts = &summary["suites"]["tests"];
    assert_eq!(
        *counts,
        serde_json::json!({"passed": 6, "failed": 7, "errors": 0, "skipped": 1, "not_run": 2, "flaky": 1, "xfailed": 0, "xpassed": 0}),
    );
    assert_eq!(summary["status"], "failed");
    let failing: Vec<&str> = summary["failing"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|it| it["step"].as_str())
        .collect();
    assert!(failing.contains(&"sleeps"), "{failing:?}");
    let junit = run.text("artifacts/tests/junit.xml");
    assert_eq!(junit.matches("<failure").count(), 7, "{junit}");
    // What broke, where to look and how to run it again.
    for part in ["the reason", "reproduce  hpc-ci", "FLAKY", "16 tests"] {
        assert!(run.err.contains(part), "no {part} in {}", run.err);
    }
}

#[test]
fn errors_alone_are_no_fault_of_the_code() {
    let project = project(
        r#"
[[test]]
name = "passes"
command = "true"
[[test]]
name = "cannot start"
command = "true"
cwd = "no/such/folder"
"#,
    );
    let run = run(&project, &[]).exits_with(3);
    outcomes(
        &run,
        &[
            ("passes", "passed", "passed"),
            ("cannot start", "launch_failed", "error"),
        ],
    );
    assert_eq!(run.json("hpc-results.json")["status"], "error");
}

#[test]
fn before_and_after_run_once_around_all_ranks() {
    let project = project(
        r#"
[[test]]
name = "around"
command = 'cat before; echo x >>ran'
ranks = 2
before = "echo prepared; echo x >>before"
after = ["echo ranks: $(wc -l <ran)", ["echo", "$HOME stays"]]
[[test]]
name = "before fails"
command = "touch never"
before = "exit 4"
after = "echo cleaned up"
[[test]]
name = "after fails"
command = "true"
after = "exit 5"
[[test]]
name = "nothing came of it"
command = "test ! -e never"
needs = ["around"]
"#,
    );
    let run = run(&project, &[]).exits_with(1);
    outcomes(
        &run,
        &[
            ("around", "passed", "passed"),
            ("before fails", "failed", "failed"),
            ("after fails", "failed", "failed"),
            ("nothing came of it", "passed", "passed"),
        ],
    );
    let log = run.log("around");
    assert_eq!(log.matches("prepared").count(), 1, "{log}");
    assert_eq!(log.lines().filter(|line| *line == "x").count(), 2, "{log}");
    assert!(log.contains("ranks: 2"), "{log}");
    // A list is executed as it stands.
    assert!(log.contains("$HOME stays"), "{log}");
    assert_eq!(run.step("before fails")["exit_code"], 4);
    assert!(run.log("before fails").contains("cleaned up"));
    assert_eq!(run.step("after fails")["exit_code"], 5);
}

#[test]
fn steps_have_the_folder_and_the_variables_they_ask_for() {
    let project = project(
        r#"
[environment]
variables = { FROM_FILE = "it's $HOME" }
setup = "export FROM_SETUP=yes"
[build.tests]
command = "mkdir -p sub && echo built >sub/built"
[[test]]
name = "private"
command = "cat sub/built && touch mark"
cwd = "private"
[[test]]
name = "tree"
command = "test ! -e mark && cat sub/built"
needs = ["private"]
[[test]]
name = "sub"
command = "cat built"
cwd = "sub"
[[test]]
name = "axes"
command = 'echo "{solver}/{ranks}/{{x}} $HPC_CI_SOLVER/$HPC_CI_RANKS/$HPC_CI_ATTEMPT/$HPC_CI_STEP/$OMP_NUM_THREADS/$FROM_FILE/$FROM_SETUP"'
matrix = { solver = ["cg", "multi grid"], ranks = [1, 2] }
cpus_per_rank = 1
[[test]]
name = "own folder"
command = 'test -d "$HPC_CI_STEP_DIR" && test -d "$HPC_CI_TRACEFILE_DIR" && test ${#HPC_CI_COMMIT} = 40'
"#,
    );
    let run = run(&project, &[]).exits_with(0);
    let lines: Vec<String> = ["cg", "multi grid"]
        .iter()
        .map(|solver| {
            let name = format!("axes[solver={solver},ranks=2]");
            let log = run.log(&name);
            assert_eq!(log.lines().count(), 2, "{log}");
            log.lines().next().unwrap().to_owned()
        })
        .collect();
    assert_eq!(
        lines,
        [
            "cg/2/{x} cg/2/1/axes[solver=cg,ranks=2]/1/it's $HOME/yes",
            "multi grid/2/{x} multi grid/2/1/axes[solver=multi grid,ranks=2]/1/it's $HOME/yes"
        ]
    );
}

#[test]
fn a_harness_starts_mpi_by_the_prefix_that_it_gets() {
    let project = project(
        r#"
[[test]]
name = "harness"
command = "echo once; $HPC_CI_LAUNCH sh -c 'echo rank $HPC_CI_RANK'; $HPC_CI_LAUNCH sh -c 'echo rank $HPC_CI_RANK'"
ranks = 3
launcher = "none"
"#,
    );
    let run = run(&project, &[]).exits_with(0);
    let log = run.log("harness");
    let mut lines: Vec<&str> = log.lines().collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "once", "rank 0", "rank 0", "rank 1", "rank 1", "rank 2", "rank 2"
        ]
    );
}

#[test]
fn steps_of_one_group_never_overlap() {
    let steps = ["one", "two", "three", "four"].map(|name| {
        format!(
            "[[test]]\nname = \"{name}\"\nserial = \"device\"\n\
             command = 'mkdir held && sleep 0.4 && rmdir held'\n"
        )
    });
    let project = project(&steps.concat());
    run(&project, &[]).exits_with(0);
}
