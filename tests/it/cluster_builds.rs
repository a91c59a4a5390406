//! Builds that are jobs, on the dev cluster.

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use crate::support::{Home, Project};

/// A build that waits for a file, and tells in its tree where and how often it ran.
fn project(command: &str) -> Project {
    let project = Project::new(Home::Cluster);
    project.file(
        "hpc.toml",
        &format!(
            "[scheduler]\ntime = \"2m\"\n[build.tests]\ncommand = '''{command}'''\nwhere = \"job\"\ncpus = 2\n[[test]]\nname = \"a\"\ncommand = \"cat built\"\n"
        ),
    );
    project.commit();
    project
}

const WAITS: &str = "until [ -e ../../../go ]; do sleep 0.1; done; echo $SLURM_JOB_ID $SLURM_CPUS_PER_TASK $(uname -n) >>built";

/// A file of the only run.
fn log(project: &Project, of: &str) -> String {
    let runs = std::fs::read_dir(project.dir.join("hpc-ci/runs"));
    let folders = runs.into_iter().flatten().map(|run| run.unwrap().path());
    let files = folders.map(|run| run.join(of));
    files
        .filter_map(|file| std::fs::read_to_string(file).ok())
        .collect()
}

/// Where the build ran, by the log of the step: once, with two processors, on a node.
fn assert_built_once(project: &Project) {
    let built = log(project, "steps/a/1/log.txt");
    let words: Vec<&str> = built.split_whitespace().collect();
    let [job, cpus, node] = words[..] else {
        panic!("{built}")
    };
    assert!(job.parse::<u32>().is_ok(), "{built}");
    assert_eq!(cpus, "2");
    assert!(node.starts_with('n'), "{built}");
}

#[test]
fn a_build_is_made_in_a_job_with_its_own_processors() {
    let project =
        project("echo compiling; echo $SLURM_JOB_ID $SLURM_CPUS_PER_TASK $(uname -n) >>built");
    project.run(&["--tests-only"]).exits_with(0);
    assert_built_once(&project);
    assert!(log(&project, "builds/tests/build/build.log").contains("compiling"));
    let record: Value = serde_json::from_str(&log(&project, "run.json")).unwrap();
    let build = &record["builds"][0];
    assert_eq!(build["status"], "passed", "{record:#}");
    assert!(build["duration_seconds"].as_f64().unwrap() > 0.0);
}

#[test]
fn a_build_that_fails_in_its_job_is_the_codes_fault_and_says_what_it_said() {
    let project = project("echo no such symbol; exit 4");
    let run = project.run(&["--tests-only"]).exits_with(1);
    assert!(run.err.contains("no such symbol"), "{}", run.err);
    assert_eq!(run.outcome("a").0, "not_run");
}

#[test]
fn a_build_that_no_node_takes_is_not_the_codes_fault() {
    let project = Project::new(Home::Cluster);
    project.file(
        "hpc.toml",
        "[build.tests]\ncommand = \"true\"\nwhere = \"job\"\npartition = \"nowhere\"\n[[test]]\nname = \"a\"\ncommand = \"true\"\n",
    );
    project.commit();
    let run = project.run(&["--tests-only"]).exits_with(3);
    assert!(
        run.err.contains("nowhere") || run.err.contains("partition"),
        "{}",
        run.err
    );
    assert_eq!(run.outcome("a").0, "not_run");
}

#[test]
fn a_build_job_outlives_its_driver_and_is_made_once() {
    let project = project(WAITS);
    let mut driver = project
        .hpc_ci(&["--tests-only"])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let begin = std::time::Instant::now();
    while !log(&project, "journal.jsonl").contains("\"submitted\"") {
        assert!(begin.elapsed() < Duration::from_mins(1));
        std::thread::sleep(Duration::from_millis(50));
    }
    driver.kill().unwrap();
    driver.wait().unwrap();
    // The build is not over, and nobody waits for it.
    let left = project.run(&["resume", "--no-wait"]).exits_with(75);
    assert!(left.err.contains("not finished yet"), "{}", left.err);
    project.file("hpc-ci/go", "");
    project.run(&["resume"]).exits_with(0);
    assert_built_once(&project);
}

#[test]
fn what_is_left_to_slurm_may_be_a_build() {
    let project = project(WAITS);
    project.run(&["--tests-only", "--detach"]).exits_with(75);
    let status = project.run(&["status", "--format", "json"]).exits_with(75);
    let status: Value = serde_json::from_str(&status.out).unwrap();
    let build = &status["builds"][0];
    assert_eq!(build["state"], "submitted", "{status:#}");
    assert!(build["message"].as_str().unwrap().starts_with("job "));
    project.file("hpc-ci/go", "");
    project.run(&["resume"]).exits_with(0);
    assert_built_once(&project);
}
