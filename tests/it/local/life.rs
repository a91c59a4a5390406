//! A run outlives its driver: what a killed one leaves, who may go on, and what others can see of it.

use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use super::{here, project, run, verb};
use crate::support::{Ended, Project, signal, until};

/// Three steps that wait for each other's file, so that the test decides when they end.
const STEPS: &str = r#"
[build.tests]
command = "echo built >>built; until [ -e ../../../go-build ]; do sleep 0.05; done"
[[test]]
name = "first"
command = "echo first; until [ -e ../../../go ]; do sleep 0.05; done"
[[test]]
name = "fails"
command = "exit 3"
[[test]]
name = "last"
command = "echo last"
needs = ["first"]
"#;

fn start(project: &Project, arguments: &[&str]) -> Child {
    here(project, arguments)
        .args(["--scheduler", "local"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// The folder of the only run, once there is one.
fn folder(project: &Project) -> PathBuf {
    let runs = project.dir.join("hpc-ci/runs");
    until(|| {
        let entries = std::fs::read_dir(&runs).into_iter().flatten();
        let folders = entries.map(|entry| entry.unwrap().path());
        folders
            .filter(|folder| folder.join("request.json").exists())
            .max()
    })
}

fn until_journal_has(folder: &Path, word: &str) {
    until(|| journal(folder).contains(word).then_some(()));
}

fn journal(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("journal.jsonl")).unwrap_or_default()
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

fn go(project: &Project) {
    project.file("hpc-ci/go-build", "").file("hpc-ci/go", "");
}

fn json(ended: &Ended) -> Value {
    serde_json::from_str(&ended.out).unwrap()
}

#[test]
fn a_driver_killed_in_mid_step_is_followed_by_another() {
    let project = project(STEPS);
    project.file("hpc-ci/go-build", "");
    let driver = start(&project, &[]);
    let folder = folder(&project);
    until_journal_has(&folder, "\"submitted\"");
    kill(driver);
    let status = verb(&project, &["status"]).exits_with(75);
    assert!(status.out.contains("its driver is gone"), "{}", status.out);
    let list = verb(&project, &["list"]).exits_with(0);
    assert!(list.out.contains("interrupted"), "{}", list.out);
    go(&project);
    let ended = verb(&project, &["resume"]).exits_with(1);
    assert_eq!(ended.outcome("first").0, "passed", "{}", ended.err);
    assert_eq!(ended.outcome("fails").0, "failed");
    assert_eq!(ended.outcome("last").0, "passed");
    // The step outlived the driver: it was not run twice.
    assert_eq!(ended.log("first").matches("first\n").count(), 1);
    assert_eq!(ended.step("first")["attempts"], 1);
    let again = verb(&project, &["resume"]).exits_with(1);
    assert!(again.err.contains("fails"), "{}", again.err);
    let code = verb(&project, &["status", "--format", "json"]).exits_with(1);
    assert_eq!(json(&code)["exit_code"], 1);
    let report = verb(&project, &["report"]).exits_with(0);
    assert!(report.out.contains("fails"), "{}", report.out);
}

#[test]
fn a_lost_connection_ends_the_driver_and_not_the_run() {
    let project = project(STEPS);
    project.file("hpc-ci/go-build", "");
    let mut driver = start(&project, &[]);
    let folder = folder(&project);
    until_journal_has(&folder, "\"submitted\"");
    signal(&driver, Signal::SIGHUP);
    assert_eq!(driver.wait().unwrap().signal(), Some(1));
    verb(&project, &["status"]).exits_with(75);
    go(&project);
    let ended = verb(&project, &["resume"]).exits_with(1);
    assert_eq!(ended.outcome("last").0, "passed");
    assert_eq!(ended.step("first")["attempts"], 1);
}

#[test]
fn under_nohup_a_lost_connection_does_not_even_end_the_driver() {
    let project = project(STEPS);
    project.file("hpc-ci/go-build", "");
    let hpc_ci = here(&project, &["--scheduler", "local", "last"]);
    let mut driver = Command::new("nohup");
    driver.arg(hpc_ci.get_program()).args(hpc_ci.get_args());
    for (name, value) in hpc_ci.get_envs() {
        match value {
            Some(value) => driver.env(name, value),
            None => driver.env_remove(name),
        };
    }
    let mut driver = driver
        .current_dir(&project.dir)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let folder = folder(&project);
    until_journal_has(&folder, "\"submitted\"");
    signal(&driver, Signal::SIGHUP);
    go(&project);
    assert_eq!(driver.wait().unwrap().code(), Some(0));
}

/// `timeout` signals hpc-ci, and then the group that both are in.
#[test]
fn a_signal_that_comes_twice_at_once_is_one() {
    let project = project(STEPS);
    project.file("hpc-ci/go-build", "");
    let mut driver = start(&project, &["first"]);
    let folder = folder(&project);
    until_journal_has(&folder, "\"submitted\"");
    // Both are there when it goes on.
    for both in [
        Signal::SIGSTOP,
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGCONT,
    ] {
        signal(&driver, both);
    }
    let code = driver.wait().unwrap().code();
    assert!(matches!(code, Some(143 | 130)), "{code:?}");
    assert!(folder.join("run.json").exists(), "what is known is kept");
}

#[test]
fn steps_that_died_with_their_driver_are_attempted_again() {
    let project = project(STEPS);
    project.file("hpc-ci/go-build", "");
    let driver = start(&project, &["first"]);
    let folder = folder(&project);
    until_journal_has(&folder, "\"submitted\"");
    kill(driver);
    let marked = |pid: &str| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        String::from_utf8_lossy(&environment).contains(folder.to_str().unwrap())
            || std::fs::read(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|line| String::from_utf8_lossy(&line).contains(folder.to_str().unwrap()))
    };
    for entry in std::fs::read_dir("/proc").unwrap() {
        let pid = entry.unwrap().file_name().into_string().unwrap();
        if pid.parse::<u32>().is_ok() && marked(&pid) {
            let killed = Command::new("kill").args(["-KILL", &pid]).status();
            assert!(killed.is_ok());
        }
    }
    go(&project);
    let ended = verb(&project, &["resume"]).exits_with(0);
    assert!(
        ended.err.contains("again     first  attempt 1 lost"),
        "{}",
        ended.err
    );
    assert_eq!(ended.outcome("first").0, "passed");
    assert_eq!(
        ended.step("first")["flaky"],
        false,
        "the code is not at fault"
    );
}

#[test]
fn a_build_dies_with_its_driver_and_is_made_again() {
    let project = project(STEPS);
    let driver = start(&project, &["last"]);
    let folder = folder(&project);
    let tree = project
        .dir
        .join("hpc-ci/trees")
        .join(folder.file_name().unwrap());
    let built = until(|| {
        let found = std::fs::read_dir(&tree).ok()?.next()?.unwrap().path();
        found.join("built").exists().then_some(found.join("built"))
    });
    let leader = until(|| {
        let output = Command::new("pgrep")
            .args(["-f", "builds/.*/build.sh"])
            .output();
        let text = String::from_utf8(output.unwrap().stdout).unwrap();
        let own = |pid: &&str| {
            std::fs::read_to_string(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|line| line.contains(folder.to_str().unwrap()))
        };
        text.lines().find(own).map(str::to_owned)
    });
    kill(driver);
    until(|| {
        let stat = std::fs::read_to_string(format!("/proc/{leader}/stat"));
        stat.map_or(true, |stat| stat.contains(") Z "))
            .then_some(())
    });
    assert!(!journal(&folder).contains("\"built\""));
    go(&project);
    verb(&project, &["resume"]).exits_with(0);
    let text = std::fs::read_to_string(built).unwrap();
    assert_eq!(text, "built\n", "the tree was made anew");
}

#[test]
fn of_two_drivers_one_works_and_one_tells() {
    let project = project(STEPS);
    let driver = start(&project, &[]);
    let folder = folder(&project);
    let id = folder.file_name().unwrap().to_str().unwrap();
    let second = run(&project, &[]).exits_with(3);
    assert!(second.err.contains(id), "{}", second.err);
    assert!(
        second.err.contains(&format!("process {} on", driver.id())),
        "{}",
        second.err
    );
    let idle = run(&project, &["--if-idle"]).exits_with(0);
    assert!(idle.err.contains(id), "{}", idle.err);
    let late = verb(&project, &["wait", "--timeout", "1s"]).exits_with(75);
    assert!(late.err.contains("waiting for run"), "{}", late.err);
    verb(&project, &["resume", "--no-wait"]).exits_with(75);
    go(&project);
    let waited = verb(&project, &["wait"]).exits_with(1);
    assert_eq!(waited.outcome("last").0, "passed", "{}", waited.err);
    assert_eq!(driver.wait_with_output().unwrap().status.code(), Some(1));
}

#[test]
fn cancel_reaches_a_driver_and_works_without_one() {
    for killed in [false, true] {
        let project = project(STEPS);
        project.file("hpc-ci/go-build", "");
        let driver = start(&project, &["first", "last"]);
        let folder = folder(&project);
        until_journal_has(&folder, "\"submitted\"");
        if killed {
            kill(driver);
            verb(&project, &["cancel"]).exits_with(0);
        } else {
            verb(&project, &["cancel"]).exits_with(0);
            assert_eq!(driver.wait_with_output().unwrap().status.code(), Some(3));
        }
        let ended = verb(&project, &["resume"]).exits_with(3);
        assert_eq!(ended.outcome("first").0, "cancelled", "{}", ended.err);
        assert_eq!(ended.outcome("last").0, "not_run");
        let again = verb(&project, &["cancel"]).exits_with(0);
        assert!(again.err.contains("had ended already"), "{}", again.err);
    }
}

#[test]
fn a_run_is_resumed_from_anywhere_with_nothing_in_the_environment() {
    let project = project(
        "[build.tests]\ncommand = \"true\"\n[[test]]\nname = \"sees\"\ncommand = \"until [ -e ../../../go ]; do sleep 0.05; done; echo IT=$OF_MY_LOGIN\"\n",
    );
    let driver = here(&project, &["--scheduler", "local"])
        .env("OF_MY_LOGIN", "kept")
        .env("A_TOKEN", "s3cret-value")
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let folder = folder(&project);
    kill(driver);
    go(&project);
    let output = Command::new(env!("CARGO_BIN_EXE_hpc-ci"))
        .env_clear()
        .arg("resume")
        .arg(&folder)
        .current_dir("/")
        .output()
        .unwrap();
    let ended = Ended::of(&project.dir, &output).exits_with(0);
    assert!(
        ended.log("sees").contains("IT=kept\n"),
        "{}",
        ended.log("sees")
    );
    let secrets = Command::new("grep")
        .args(["-rl", "s3cret-value"])
        .arg(&folder)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&secrets.stdout), "");
}

#[test]
fn what_a_newer_version_wrote_is_refused_clearly() {
    let project = project(STEPS);
    project.file("hpc-ci/go-build", "");
    let driver = start(&project, &["first"]);
    let folder = folder(&project);
    until_journal_has(&folder, "\"submitted\"");
    kill(driver);
    let whole = journal(&folder);
    let later = format!("{whole}{{\"version\":9,\"event\":\"paused\"}}\n");
    std::fs::write(folder.join("journal.jsonl"), later).unwrap();
    let refused = verb(&project, &["resume"]).exits_with(3);
    assert!(
        refused.err.contains("was written by a newer hpc-ci"),
        "{}",
        refused.err
    );
    let torn = format!("{whole}{{\"version\":1,\"ev");
    std::fs::write(folder.join("journal.jsonl"), torn).unwrap();
    go(&project);
    verb(&project, &["resume"]).exits_with(0);
}

#[test]
fn a_commit_is_tested_once_if_so_asked() {
    let project = project(
        "[[test]]\nname = \"a\"\ncommand = \"true\"\n[[test]]\nname = \"b\"\ncommand = \"true\"\n",
    );
    run(&project, &["--if-new", "a"]).exits_with(0);
    let other = run(&project, &["--if-new"]).exits_with(0);
    assert!(
        other.err.contains("2 "),
        "a part is not the whole: {}",
        other.err
    );
    let same = run(&project, &["--if-new"]).exits_with(0);
    assert!(same.err.contains("already"), "{}", same.err);
    assert_eq!(
        std::fs::read_dir(project.dir.join("hpc-ci/runs"))
            .unwrap()
            .filter(|entry| { entry.as_ref().unwrap().path().is_dir() })
            .count(),
        2
    );
    project.file("new", "").commit();
    let new = run(&project, &["--if-new"]).exits_with(0);
    assert!(!new.err.contains("already"), "{}", new.err);
}

#[test]
fn there_is_nothing_to_leave_steps_of_this_machine_to() {
    let project = project(STEPS);
    let ended = run(&project, &["--detach"]).exits_with(2);
    assert!(ended.err.contains("help:"), "{}", ended.err);
    for arguments in [&["status"][..], &["resume"], &["wait"], &["report"]] {
        let ended = verb(&project, arguments).exits_with(2);
        assert!(ended.err.contains("no run in"), "{}", ended.err);
    }
    let list = verb(&project, &["list"]).exits_with(0);
    assert_eq!(list.out, "");
}

#[test]
fn an_interrupted_wait_leaves_the_run_alone() {
    let project = project(STEPS);
    project.file("hpc-ci/go-build", "");
    let driver = start(&project, &["first"]);
    let folder = folder(&project);
    until_journal_has(&folder, "\"submitted\"");
    kill(driver);
    let waiting = here(&project, &["wait"])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until_journal_has(&folder, "\"resumed\"");
    std::thread::sleep(Duration::from_millis(500));
    signal(&waiting, Signal::SIGINT);
    assert_eq!(waiting.wait_with_output().unwrap().status.code(), Some(130));
    assert!(!journal(&folder).contains("\"stopping\""));
    go(&project);
    verb(&project, &["resume"]).exits_with(0);
}

#[test]
fn old_runs_go_and_those_that_the_artifacts_are_made_of_stay() {
    let project = project(
        "[workspace]\nkeep_runs = 2\n[build.tests]\ncommand = \"true\"\n[[test]]\nname = \"a\"\ncommand = \"true\"\n[[benchmark]]\nname = \"b\"\ncommand = \"echo 1 ms\"\nrepetitions = 1\nwarmup = 0\nmetric = { pattern = '(1) ms', unit = \"ms\" }\n",
    );
    let ids = |folder: &str| -> Vec<String> {
        let entries = std::fs::read_dir(project.dir.join("hpc-ci").join(folder)).unwrap();
        let folders = entries.map(|entry| entry.unwrap());
        let mut ids: Vec<String> = folders
            .filter(|entry| entry.path().is_dir())
            .map(|entry| entry.file_name().into_string().unwrap())
            .collect();
        ids.sort();
        ids
    };
    run(&project, &["--benchmarks-only"]).exits_with(0);
    let first = ids("runs");
    for _ in 0..3 {
        run(&project, &["--tests-only"]).exits_with(0);
    }
    let kept = ids("runs");
    // The benchmarks of the artifacts are the first run's, so that it stays beside the latest.
    assert_eq!(kept.len(), 2, "{kept:?}");
    assert!(kept.contains(&first[0]), "{kept:?}");
    assert_eq!(ids("trees"), kept);
    let none = verb(&project, &["gc", "--dry-run", "--format", "json"]).exits_with(0);
    assert_eq!(json(&none)["removed"]["runs"], Value::Array(Vec::new()));
    project.file(
        "hpc.toml",
        &std::fs::read_to_string(project.dir.join("hpc.toml"))
            .unwrap()
            .replace("keep_runs = 2", "keep_runs = 0"),
    );
    verb(&project, &["gc"]).exits_with(0);
    assert_eq!(ids("runs"), kept, "nothing is left that may go");
}

/// To add up what thousands of ranks left may take minutes, and nobody waits for that who pressed Ctrl-C.
#[test]
fn a_signal_while_coverage_is_added_up_is_obeyed_at_once() {
    let project = project(
        "[build.tests]\ncoverage = \"lcov\"\n[coverage]\ninclude = [\"a.c\"]\n[[test]]\nname = \"test\"\ncommand = '''\n\
         (echo SF:a.c; seq -f 'DA:%.0f,1' 2000000; echo end_of_record) >\"$HPC_CI_TRACEFILE_DIR/0.info\"\n\
         for i in 1 2 3 4 5 6 7; do cp \"$HPC_CI_TRACEFILE_DIR/0.info\" \"$HPC_CI_TRACEFILE_DIR/$i.info\"; done\n'''\n",
    );
    project.file("a.c", &"x;\n".repeat(100));
    project.commit();
    let driver = here(&project, &["--scheduler", "local"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let folder = folder(&project);
    until_journal_has(&folder, "\"ended\"");
    std::thread::sleep(std::time::Duration::from_secs(1));
    let begin = std::time::Instant::now();
    signal(&driver, Signal::SIGTERM);
    let ended = driver.wait_with_output().unwrap();
    let took = begin.elapsed();
    assert_eq!(ended.status.code(), Some(143));
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(
        said.contains("`hpc-ci resume` goes on from there"),
        "{said}"
    );
    assert!(took < std::time::Duration::from_secs(2), "{took:?}");
    assert!(!folder.join("run.json").exists(), "it had not ended");
    let resumed = verb(&project, &["resume"]);
    assert_eq!(resumed.code, Some(0), "{}", resumed.err);
    assert!(folder.join("run.json").exists());
}
