//! Runs that outlive their driver, on the dev cluster: no job is lost, and none is submitted twice.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

use crate::support::tools::full;
use crate::support::{Ended, Home, Project, until, user, with_bin};

fn start(project: &Project, arguments: &[&str]) -> Child {
    project
        .hpc_ci(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// The folders of the runs of a project, the oldest first.
fn runs(project: &Project) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(project.dir.join("hpc-ci/runs"));
    let folders = entries
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path());
    let mut runs: Vec<PathBuf> = folders
        .filter(|folder| folder.join("request.json").exists())
        .collect();
    runs.sort();
    runs
}

/// The names of all jobs that came of a project's runs, each as often as it was submitted.
fn job_names(project: &Project) -> Vec<String> {
    let ids: Vec<String> = runs(project)
        .iter()
        .map(|run| run.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    let output = project
        .command("sacct")
        .args(["-D", "-n", "-P", "-X", "-o", "JobName", "-S", "now-1hours"])
        .args(["-u", &user()])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .filter(|name| ids.iter().any(|id| name.contains(id.as_str())))
        .map(str::to_owned)
        .collect()
}

#[track_caller]
fn no_job_twice(project: &Project, jobs: usize) {
    // The books learn of a job some seconds after the controller.
    let mut names = Vec::new();
    for _ in 0..100 {
        names = job_names(project);
        if names.len() >= jobs {
            break;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    for name in &names {
        *counts.entry(name.as_str()).or_default() += 1;
    }
    let twice: Vec<_> = counts.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "submitted twice: {twice:?}");
    assert_eq!(names.len(), jobs, "{names:#?}");
}

/// What must be the same however often the driver died: outcomes, attempts and line hits.
fn results(ended: &Ended) -> (Vec<String>, Vec<(u32, u64)>) {
    let summary = ended.json("artifacts/tests/summary.json");
    let steps = summary["steps"].as_array().unwrap();
    let step = |step: &Value| format!("{} {} {}", step["name"], step["outcome"], step["exit_code"]);
    (steps.iter().map(step).collect(), ended.line_hits("step.c"))
}

const STEP: &str = "#include <stdlib.h>\nint main(int argc, char **argv) {\n  int n = atoi(argv[1]);\n  for (int i = 0; i < n; i++) n += 0;\n  return argc > 2 ? 3 : 0;\n}\n";

fn many_steps(count: usize) -> Project {
    let project = Project::new(Home::Cluster);
    project.file("step.c", STEP);
    let mut toml = String::from(
        "[environment]\nvariables = { OMPI_CC = \"clang-22\" }\n[build.tests]\ncommand = \"sleep 1; mkdir -p build && mpicc.openmpi -g -o build/step step.c\"\ncoverage = \"llvm\"\n[scheduler]\ntime = \"2m\"\n",
    );
    for number in 0..count {
        let more = match number {
            1 => "needs = [\"step-0\"]\n",
            2 => "retries = 1\n",
            _ => "",
        };
        let fails = if number == 2 { " fails" } else { "" };
        write!(
            toml,
            "[[test]]\nname = \"step-{number}\"\ncommand = \"build/step {number}{fails}\"\n{more}"
        )
        .unwrap();
    }
    project.file("hpc.toml", &toml);
    project.commit();
    project
}

/// Numbers that look random.
struct Random(u64);

impl Random {
    fn new() -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Self(u64::from(now.unwrap().subsec_nanos()))
    }

    fn below(&mut self, most: Duration) -> Duration {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        most.mul_f64((self.0 >> 33) as f64 / f64::from(1_u32 << 31))
    }
}

#[test]
fn a_driver_killed_at_any_moment_loses_and_doubles_nothing() {
    let (steps, kills) = if full() { (40, 20) } else { (8, 3) };
    let project = many_steps(steps);
    let begin = Instant::now();
    let undisturbed = results(&project.run(&["--tests-only"]).exits_with(1));
    let took = begin.elapsed();
    let mut random = Random::new();
    for kill in 0..kills {
        let before = runs(&project).len();
        // One moment in each part of the run, so that a few kills reach all of its stages.
        let part = took / kills;
        let moment = part * kill + random.below(part);
        let mut driver = start(&project, &["--tests-only"]);
        std::thread::sleep(moment);
        driver.kill().unwrap();
        driver.wait().unwrap();
        if runs(&project).len() == before {
            // The run had not begun: there is nothing to go on with.
            continue;
        }
        if kill % 2 == 1 {
            let mut second = start(&project, &["resume"]);
            std::thread::sleep(random.below(took));
            second.kill().unwrap();
            second.wait().unwrap();
        }
        let ended = project.run(&["resume"]).exits_with(1);
        assert_eq!(
            results(&ended),
            undisturbed,
            "killed after {moment:?}\n{}",
            ended.err
        );
    }
    // Each step once, and the failing one once more.
    no_job_twice(&project, runs(&project).len() * (steps + 1));
}

#[test]
fn a_job_whose_answer_was_lost_is_found_again() {
    let project = Project::new(Home::Cluster);
    // Submits, and keeps the answer to itself for longer than the driver lives.
    project.file(
        "bin/sbatch",
        "#!/bin/sh\nanswer=$(PATH=/usr/bin:/bin sbatch \"$@\") || exit\nsleep 3\necho \"$answer\"\n",
    );
    project.file(
        "hpc.toml",
        "[build.tests]\ncommand = \"true\"\n[[test]]\nname = \"a\"\ncommand = \"true\"\n",
    );
    project.commit();
    let path = with_bin(&project);
    let mut driver = project
        .hpc_ci(&["--scheduler", "slurm"])
        .env("PATH", path)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until(|| {
        let journal = runs(&project).pop()?.join("journal.jsonl");
        let text = std::fs::read_to_string(journal).ok()?;
        text.contains("\"submitting\"").then_some(())
    });
    driver.kill().unwrap();
    driver.wait().unwrap();
    let ended = project.run(&["resume"]).exits_with(0);
    assert_eq!(ended.outcome("a").0, "passed", "{}", ended.err);
    no_job_twice(&project, 1);
}

/// Slurm has all the jobs, and its answers never came: one question finds them all.
#[test]
fn jobs_whose_answers_were_lost_are_looked_for_together() {
    let project = Project::new(Home::Cluster);
    let asked = project.dir.with_file_name("asked.txt");
    project.file(
        "bin/sbatch",
        "#!/bin/sh\n/usr/bin/sbatch \"$@\" >/dev/null\n\
         echo 'sbatch: error: Batch job submission failed: Socket timed out on send/recv operation' >&2\nexit 1\n",
    );
    project.file(
        "bin/squeue",
        &format!(
            "#!/bin/sh\necho \"$@\" >>'{}'\nexec /usr/bin/squeue \"$@\"\n",
            asked.display()
        ),
    );
    project.file(
        "hpc.toml",
        "[build.tests]\ncommand = \"true\"\n[[test]]\nname = \"a\"\ncommand = \"true\"\nmatrix = { n = [1, 2, 3, 4, 5, 6] }\n",
    );
    project.commit();
    let path = with_bin(&project);
    let output = project
        .hpc_ci(&["--scheduler", "slurm"])
        .env("PATH", path)
        .output()
        .unwrap();
    let ended = Ended::of(&project.dir, &output).exits_with(0);
    assert!(
        ended.err.contains("may or may not have been submitted"),
        "{}",
        ended.err
    );
    let asked = std::fs::read_to_string(asked).unwrap();
    let by_name = asked.lines().filter(|line| line.contains("%j")).count();
    assert_eq!(by_name, 1, "{asked}");
    no_job_twice(&project, 6);
}

#[test]
fn what_is_left_to_slurm_is_collected_later() {
    let project = Project::new(Home::Cluster);
    project.file(
        "hpc.toml",
        "[build.tests]\ncommand = \"true\"\n[[test]]\nname = \"a\"\ncommand = \"until [ -e ../../../go ]; do sleep 0.1; done\"\n[[test]]\nname = \"b\"\ncommand = \"true\"\nneeds = [\"a\"]\n",
    );
    project.commit();
    let all = project.run(&["--detach", "a"]).exits_with(0);
    assert!(all.err.contains("left to Slurm"), "{}", all.err);
    let waits = project.run(&["resume", "--no-wait"]).exits_with(75);
    assert!(waits.err.contains("not finished yet"), "{}", waits.err);
    project.run(&["wait", "--timeout", "1s"]).exits_with(75);
    let status = project.run(&["status", "--format", "json"]).exits_with(75);
    let status: Value = serde_json::from_str(&status.out).unwrap();
    assert_eq!(status["driver"]["life"], "released");
    let state = status["steps"][0]["state"].as_str().unwrap();
    assert!(["queued", "running"].contains(&state), "{status:#}");
    project.run(&["--if-idle"]).exits_with(0);
    assert_eq!(runs(&project).len(), 1);
    // A step that needs another cannot be submitted yet.
    project.run(&["--detach"]).exits_with(75);
    project.file("hpc-ci/go", "");
    let collected = until(|| {
        let ended = project.run(&["resume", "--no-wait"]);
        (ended.code != Some(75)).then_some(ended)
    });
    let collected = collected.exits_with(0);
    assert_eq!(collected.outcome("b").0, "passed", "{}", collected.err);
    let list = project.run(&["list", "--format", "json"]).exits_with(0);
    let list: Value = serde_json::from_str(&list.out).unwrap();
    let statuses: Vec<&str> = list["runs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|run| run["status"].as_str().unwrap())
        .collect();
    assert_eq!(statuses, ["passed", "passed"]);
    no_job_twice(&project, 3);
}

/// Cron starts both commands as often as time goes by, and some at once.
#[test]
fn a_night_of_cron_tests_each_new_commit_once() {
    let project = Project::new(Home::Cluster);
    project.file(
        "hpc.toml",
        "[build.tests]\ncommand = \"true\"\n[[test]]\nname = \"a\"\ncommand = \"sleep 1\"\n[[test]]\nname = \"b\"\ncommand = \"true\"\nneeds = [\"a\"]\n",
    );
    let nightly = ["--branch", "main", "--detach", "--if-new"];
    let mut commits = Vec::new();
    for night in 0..3 {
        project.file("night", &night.to_string());
        commits.push(project.commit());
        let at_once = [start(&project, &nightly), start(&project, &nightly)];
        for mut child in at_once {
            child.wait().unwrap();
        }
        for _ in 0..2 {
            let code = project.run(&nightly).code;
            assert!([Some(0), Some(75)].contains(&code), "{code:?}");
            project.run(&["resume", "--no-wait"]);
        }
    }
    until(|| (project.run(&["resume", "--no-wait"]).code == Some(0)).then_some(()));
    let list = project.run(&["list", "--format", "json"]).exits_with(0);
    let list: Value = serde_json::from_str(&list.out).unwrap();
    let tested: Vec<(&str, &str)> = list["runs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|run| {
            (
                run["commit"].as_str().unwrap(),
                run["status"].as_str().unwrap(),
            )
        })
        .collect();
    let expected: Vec<(&str, &str)> = commits.iter().map(|it| (it.as_str(), "passed")).collect();
    assert_eq!(tested, expected);
    no_job_twice(&project, commits.len() * 2);
}

/// An account of its own, so that the limit is nobody else's.
#[test]
fn a_limit_on_submitted_jobs_is_kept_to() {
    let (most, count) = if full() { (5, 30) } else { (2, 6) };
    let project = Project::new(Home::Cluster);
    let account = format!("limited{}", std::process::id());
    let sacctmgr = |arguments: &[&str]| {
        let done = std::process::Command::new("sacctmgr")
            .arg("-i")
            .args(arguments)
            .output()
            .unwrap();
        assert!(done.status.success(), "{done:?}");
    };
    sacctmgr(&["add", "account", &account]);
    sacctmgr(&[
        "add",
        "user",
        &user(),
        &format!("account={account}"),
        &format!("MaxSubmitJobs={most}"),
    ]);
    let step = |number| format!("[[test]]\nname = \"step-{number}\"\ncommand = \"sleep 1\"\n");
    let steps: String = (0..count).map(step).collect();
    project.file(
        "hpc.toml",
        &format!(
            "[scheduler]\naccount = \"{account}\"\n[build.tests]\ncommand = \"true\"\n{steps}"
        ),
    );
    project.commit();
    let run = project.run(&[]).exits_with(0);
    let told = format!("going on with {most} jobs at a time");
    assert!(run.err.contains(&told), "{}", run.err);
    assert_eq!(
        run.err.matches("limit on submitted jobs").count(),
        1,
        "said once: {}",
        run.err
    );
    no_job_twice(&project, count);
    // Where none is to be had at all, a step waits outside of the queue no longer than it may in it.
    sacctmgr(&[
        "modify",
        "user",
        &user(),
        "set",
        "MaxSubmitJobs=0",
        "where",
        &format!("account={account}"),
    ]);
    project.file(
        "hpc.toml",
        &format!(
            "[scheduler]\naccount = \"{account}\"\nmax_pending = \"1s\"\n[build.tests]\ncommand = \"true\"\n{steps}"
        ),
    );
    project.commit();
    let run = project.run(&[]).exits_with(3);
    assert_eq!(run.outcome("step-0").0, "starved", "{}", run.err);
    let help = "`sacctmgr show assoc user=$USER` lists the limits";
    assert!(run.err.contains(help), "{}", run.err);
    sacctmgr(&["delete", "account", &account]);
}
