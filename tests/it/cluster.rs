//! The whole run on the dev cluster, as an ordinary user.

use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::support::{Ended, Home, Project, signal};

/// A program that ends in the way that its argument names; it knows its rank.
const ENDS: &str = r#"
#include <mpi.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
int above_zero(int rank) { return rank * 2; }
int main(int argc, char **argv) {
    int rank, size;
    const char *way = argc > 1 ? argv[1] : "pass";
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    char name[MPI_MAX_PROCESSOR_NAME];
    int length;
    MPI_Get_processor_name(name, &length);
    printf("rank %d of %d on %s\n", rank, size, name);
    fflush(stdout);
    if (rank > 0) above_zero(rank);
    MPI_Barrier(MPI_COMM_WORLD);
    if (!strcmp(way, "exit")) { MPI_Finalize(); return rank == 1 ? 3 : 0; }
    if (!strcmp(way, "segv") && rank == 1) { raise(SIGSEGV); }
    if (!strcmp(way, "abort") && rank == 1) { MPI_Abort(MPI_COMM_WORLD, 7); }
    if (!strcmp(way, "sleep")) { sleep(600); }
    if (!strcmp(way, "memory") && rank == 1) {
        for (;;) { char *p = malloc(16 << 20); if (p) memset(p, 1, 16 << 20); }
    }
    MPI_Barrier(MPI_COMM_WORLD);
    MPI_Finalize();
    return 0;
}
"#;

fn project(steps: &str) -> Project {
    let project = Project::new(Home::Cluster);
    project.file("ends.c", ENDS);
    project.file(
        "hpc.toml",
        &format!(
            r#"
[project]
name = "ends"
[environment]
variables = {{ OMPI_CC = "clang-22", MPICH_CC = "clang-22" }}
[build.tests]
command = "mkdir -p build && mpicc.openmpi -g -o build/ends ends.c && mpicc.mpich -g -o build/ends-mpich ends.c"
coverage = "llvm"
{steps}
"#
        ),
    );
    project.commit();
    project
}

#[test]
fn every_outcome_is_told_rightly_and_harms_nobody_else() {
    let project = project(
        r#"
[scheduler]
time = "2m"
[[test]]
name = "passes"
command = "build/ends"
ranks = 4
nodes = 2
[[test]]
name = "exits"
command = "build/ends exit"
ranks = 2
[[test]]
name = "segfaults"
command = "build/ends segv"
ranks = 3
[[test]]
name = "aborts"
command = "build/ends abort"
ranks = 2
[[test]]
name = "too slow"
command = "build/ends sleep"
ranks = 2
time = "5s"
[[test]]
name = "hungry"
command = "build/ends memory"
ranks = 2
memory = "256MiB"
[[test]]
name = "nowhere"
command = "build/ends"
partition = "nosuch"
[[test]]
name = "too wide"
command = "build/ends"
ranks = 99
nodes = 99
[[test]]
name = "passes too"
command = "build/ends"
ranks = 2
"#,
    );
    let run = project.run(&["--tests-only"]).exits_with(1);
    for (step, outcome, status) in [
        ("passes", "passed", "passed"),
        ("passes too", "passed", "passed"),
        ("exits", "failed", "failed"),
        ("segfaults", "signal", "failed"),
        ("aborts", "failed", "failed"),
        ("too slow", "timeout", "failed"),
        ("hungry", "out_of_memory", "failed"),
        ("nowhere", "rejected", "error"),
        ("too wide", "rejected", "error"),
    ] {
        let found = run.outcome(step);
        assert_eq!(
            found,
            (outcome.to_owned(), status.to_owned()),
            "{step}: {}",
            run.err
        );
    }
    assert_eq!(run.step("exits")["exit_code"], 3);
    assert_eq!(run.step("segfaults")["signal"], 11);
    assert_eq!(run.step("aborts")["exit_code"], 7);
    assert_eq!(run.step("passes")["nodes"].as_array().unwrap().len(), 2);
    assert!(
        run.err.contains("nosuch") || run.err.contains("artition"),
        "{}",
        run.err
    );
    let junit = run.text("artifacts/tests/junit.xml");
    assert_eq!(junit.matches("<failure").count(), 5, "{junit}");
    assert_eq!(junit.matches("<error").count(), 2, "{junit}");
    let hits = run.line_hits("ends.c");
    let above_zero = hits.iter().find(|(line, _)| *line == 8).unwrap().1;
    assert!(above_zero >= 4, "{hits:?}");
    let results = run.json("hpc-results.json");
    assert_eq!(results["status"], "failed");
    assert!(results["hpc"]["job_id"].is_string());
}

fn worlds(log: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = log
        .lines()
        .filter(|line| line.starts_with("rank "))
        .collect();
    lines.sort_unstable();
    lines
}

const LAUNCHERS: &str = r#"
[[test]]
name = "srun"
command = "build/ends"
ranks = 6
nodes = 3
time = "1m"
[[test]]
name = "mpiexec"
command = "build/ends"
ranks = 6
nodes = 3
time = "1m"
launcher = "mpiexec"
# Debian's MPICH 4.0 over UCX may hang in MPI_Finalize with several hosts, hpc-ci or not.
[[test]]
name = "mpich srun"
command = "build/ends-mpich"
ranks = 2
nodes = 2
time = "20s"
retries = 3
[[test]]
name = "mpich mpiexec"
command = "build/ends-mpich"
ranks = 2
nodes = 2
time = "20s"
retries = 3
launcher = "mpiexec"
"#;

/// Every rank must have seen one world that spans the nodes.
#[track_caller]
fn every_step_is_one_world(run: &Ended) {
    for (step, ranks, nodes) in [
        ("srun", 6, 3),
        ("mpiexec", 6, 3),
        ("mpich srun", 2, 2),
        ("mpich mpiexec", 2, 2),
    ] {
        let log = run.log(step);
        let worlds = worlds(&log);
        assert_eq!(worlds.len(), ranks, "{step}: {log}");
        for (rank, line) in worlds.iter().enumerate() {
            let start = format!("rank {rank} of {ranks} on n");
            assert!(line.starts_with(&start), "{step}: {log}");
        }
        let mut hosts: Vec<&str> = worlds
            .iter()
            .filter_map(|line| line.split(' ').next_back())
            .collect();
        hosts.sort_unstable();
        hosts.dedup();
        assert_eq!(hosts.len(), nodes, "{step}: {log}");
    }
}

#[test]
fn both_mpis_run_over_three_nodes_under_both_launchers() {
    let project = project(LAUNCHERS);
    let run = project.run(&["--tests-only"]).exits_with(0);
    every_step_is_one_world(&run);
    // The ranks above 0 of all steps, from all nodes.
    let hits = run.line_hits("ends.c");
    assert_eq!(
        hits.iter().find(|(line, _)| *line == 8).unwrap().1,
        12,
        "{hits:?}"
    );
    let meta = run.json("artifacts/meta.json");
    assert_eq!(meta["runs"][0]["ranks"]["used"], 16, "{meta:#}");
}

#[test]
fn the_same_steps_run_as_job_steps_inside_salloc() {
    let project = project(LAUNCHERS);
    let output = project
        .command("salloc")
        .args([
            "--quiet",
            "-N3",
            "-n6",
            "--ntasks-per-node=2",
            "-t5",
            env!("CARGO_BIN_EXE_hpc-ci"),
            "--tests-only",
        ])
        .output()
        .unwrap();
    let run = Ended::of(&project.dir, &output).exits_with(0);
    every_step_is_one_world(&run);
    assert!(run.json("hpc-results.json")["hpc"]["job_id"].is_string());
}

/// MPICH under pmix runs each rank as a world of its own and calls that success.
#[test]
fn the_wrong_pmi_is_an_error_and_never_passes() {
    let project = project(
        r#"
[[test]]
name = "mpich under pmix"
command = "build/ends-mpich"
ranks = 4
pmi = "pmix"
[[test]]
name = "openmpi under pmi2"
command = "build/ends"
ranks = 4
pmi = "pmi2"
[[test]]
name = "mpich under cray's"
command = "build/ends-mpich"
ranks = 4
pmi = "cray_shasta"
[[test]]
name = "mpich under none"
command = "build/ends-mpich"
ranks = 4
pmi = "none"
"#,
    );
    let run = project.run(&["--tests-only"]).exits_with(3);
    for step in [
        "mpich under pmix",
        "openmpi under pmi2",
        "mpich under cray's",
        "mpich under none",
    ] {
        assert_eq!(
            run.outcome(step),
            ("launch_failed".into(), "error".into()),
            "{}",
            run.err
        );
    }
    assert!(run.err.contains("set `pmi = \"pmi2\"`"), "{}", run.err);
}

fn interrupted(with: Signal) -> (Project, Ended, Duration, String) {
    let project = project(
        r#"
[[test]]
name = "quick"
command = "build/ends"
[[test]]
name = "endless"
command = "build/ends sleep"
ranks = 2
[[test]]
name = "waits"
command = "true"
needs = ["endless"]
"#,
    );
    let child = project.start(&["--tests-only"]);
    let started = Instant::now();
    loop {
        assert!(
            started.elapsed() < Duration::from_mins(1),
            "the step never ran"
        );
        let queue = project
            .command("squeue")
            .args(["-h", "-o", "%j %T"])
            .output()
            .unwrap();
        let queue = String::from_utf8_lossy(&queue.stdout).into_owned();
        let runs = |line: &str| line.contains("/endless ") && line.contains(" RUNNING");
        if queue.lines().any(runs) && !queue.contains("/quick ") {
            break;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    std::thread::sleep(Duration::from_secs(2));
    let asked = Instant::now();
    signal(&child, with);
    let output = child.wait_with_output().unwrap();
    let took = asked.elapsed();
    let queue = project
        .command("squeue")
        .args(["-h", "-t", "PD,R", "-o", "%j %Z"])
        .stderr(Stdio::null())
        .output()
        .unwrap();
    let own: String = String::from_utf8_lossy(&queue.stdout)
        .lines()
        .filter(|line| line.contains(project.dir.to_str().unwrap()))
        .collect();
    let run = Ended::of(&project.dir, &output);
    (project, run, took, own)
}

fn a_signal_cancels_and_keeps_what_is_known(with: Signal, code: i32) {
    let (_project, run, took, queue) = interrupted(with);
    let run = run.exits_with(code);
    assert!(took < Duration::from_secs(30), "{took:?}");
    assert_eq!(queue, "", "jobs were left behind");
    assert_eq!(run.outcome("quick"), ("passed".into(), "passed".into()));
    assert_eq!(run.outcome("endless"), ("cancelled".into(), "error".into()));
    assert_eq!(run.outcome("waits"), ("not_run".into(), "not_run".into()));
}

#[test]
fn ctrl_c_cancels_and_keeps_what_is_known() {
    a_signal_cancels_and_keeps_what_is_known(Signal::SIGINT, 130);
}

#[test]
fn sigterm_cancels_and_keeps_what_is_known() {
    a_signal_cancels_and_keeps_what_is_known(Signal::SIGTERM, 143);
}

/// Tokens that the driver has, by every kind of name.
const SECRETS: &[&str] = &[
    "CODECOV_TOKEN",
    "GITHUB_TOKEN",
    "MY_OWN_TOKEN",
    "CI_JOB_TOKEN",
    "CI_JOB_JWT",
    "SSH_AUTH_SOCK",
    "NAMED_IN_THE_FILE",
];

#[test]
fn no_build_job_or_local_step_sees_a_secret() {
    let project = Project::new(Home::Cluster);
    project.file(
        "hpc.toml",
        r#"
[publish.codecov]
token_env = "NAMED_IN_THE_FILE"
[build.tests]
command = "env"
[[test]]
name = "shows"
command = "env"
"#,
    );
    project.commit();
    for place in ["slurm", "local"] {
        let arguments = [
            "--tests-only",
            "--no-coverage",
            "--no-publish",
            "--scheduler",
            place,
        ];
        let mut command = project.hpc_ci(&arguments);
        for name in SECRETS {
            command.env(name, "s3cret-value");
        }
        command
            .env("SLURM_CPU_BIND", "s3cret-value")
            .env("HARMLESS", "kept");
        let run = Ended::of(&project.dir, &command.output().unwrap()).exits_with(0);
        assert!(run.log("shows").contains("HARMLESS=kept"));
        assert!(run.log("shows").contains("HPC_CI_STEP=shows"));
        let found = std::process::Command::new("grep")
            .args(["-rl", "s3cret-value"])
            .arg(project.dir.join("hpc-ci"))
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&found.stdout), "", "{place}");
        let builds = std::process::Command::new("grep")
            .args(["-rl", "HARMLESS=kept", "--include=build.log"])
            .arg(project.dir.join("hpc-ci"))
            .output()
            .unwrap();
        assert!(
            !builds.stdout.is_empty(),
            "the build printed no environment"
        );
    }
}

/// The sample project as it stands in this repository, with its own `hpc.toml`.
fn sample() -> Project {
    let project = Project::new(Home::Cluster);
    project.copy("examples/heat");
    std::fs::remove_dir_all(project.dir.join("examples/heat/build")).ok();
    project.file("hpc.toml", include_str!("../../hpc.toml"));
    project.commit();
    project
}

#[test]
fn the_sample_runs_as_jobs() {
    let project = sample();
    let run = project.run(&[]).exits_with(0);
    let only_above_zero = run
        .text("artifacts/coverage/lcov.info")
        .lines()
        .filter_map(|line| line.strip_prefix("FNDA:")?.split_once(','))
        .find(|(_, name)| name.ends_with("send_strip_to_rank_0"))
        .map(|(hits, _)| hits.parse::<u64>().unwrap());
    assert!(only_above_zero > Some(0), "{only_above_zero:?}");
    let benchmarks = run.json("artifacts/benchmarks/summary.json");
    assert!(
        benchmarks["benchmarks"]["solver/small"]["median"].as_f64() > Some(0.0),
        "{benchmarks:#}"
    );
    let checked = std::process::Command::new("sha256sum")
        .args(["--quiet", "-c", "checksums.txt"])
        .current_dir(project.dir.join("hpc-ci/artifacts"))
        .status()
        .unwrap();
    assert!(checked.success());
}

/// As under cron: no login, no variables, modules only where their files are.
#[test]
fn a_bare_environment_with_modules_is_enough() {
    let project = Project::new(Home::Cluster);
    project.file(
        "modulefiles/tools/1.0",
        "#%Module\nsetenv TOOLS_ARE loaded\nprepend-path PATH /nonexistent/tools\n",
    );
    project.file(
        "hpc.toml",
        &format!(
            r#"
[environment]
use = ["{}/modulefiles"]
modules = ["tools"]
[build.tests]
command = "test $TOOLS_ARE = loaded"
[[test]]
name = "sees them"
command = "test $TOOLS_ARE = loaded"
ranks = 2
[[test]]
name = "lacks one"
command = "true"
environment = {{ modules = ["tools", "no-such-module"] }}
"#,
            project.dir.display()
        ),
    );
    project.commit();
    let conf = std::env::var("SLURM_CONF").unwrap();
    let output = project
        .command("env")
        .arg("-i")
        .arg(format!("SLURM_CONF={conf}"))
        .arg(format!("HOME={}", project.dir.display()))
        .arg("PATH=/usr/bin:/bin")
        .args([env!("CARGO_BIN_EXE_hpc-ci"), "--no-coverage"])
        .output()
        .unwrap();
    let run = Ended::of(&project.dir, &output).exits_with(3);
    assert_eq!(run.outcome("sees them").0, "passed", "{}", run.err);
    assert_eq!(run.outcome("lacks one").0, "launch_failed", "{}", run.err);
    assert!(
        run.err.contains("`no-such-module` did not load"),
        "{}",
        run.err
    );
    let modules = &run.json("artifacts/meta.json")["runs"][0]["modules"];
    assert!(modules.to_string().contains("tools/1.0"), "{modules}");
}

#[test]
fn a_clone_of_depth_one_is_enough() {
    let origin = project("[[test]]\nname = \"passes\"\ncommand = \"build/ends\"\nranks = 2\n");
    let clone = origin.dir.parent().unwrap().join("clone");
    let cloned = origin
        .command("git")
        .args(["clone", "-q", "--depth", "1"])
        .arg(format!("file://{}", origin.dir.display()))
        .arg(&clone)
        .output()
        .unwrap();
    assert!(cloned.status.success(), "{cloned:?}");
    let output = origin
        .hpc_ci(&["--tests-only"])
        .current_dir(&clone)
        .output()
        .unwrap();
    let run = Ended::of(&clone, &output).exits_with(0);
    assert_eq!(run.outcome("passes").0, "passed");
}

/// Nothing but the loopback device, without which Open MPI does not start.
#[test]
fn a_run_of_what_was_fetched_needs_no_network() {
    let project = Project::new(Home::Here);
    let count = project.dir.parent().unwrap().join("fetched");
    project.file("ends.c", ENDS);
    project.file(
        "hpc.toml",
        &format!(
            r#"
[environment]
variables = {{ OMPI_CC = "clang-22" }}
[build.tests]
fetch = "echo once >>{} && touch brought"
command = "test -e brought && mpicc.openmpi -g -o ends ends.c"
coverage = "llvm"
[[test]]
name = "passes"
command = "./ends"
ranks = 2
"#,
            count.display()
        ),
    );
    project.commit();
    project.run(&["fetch"]).exits_with(0);
    let output = project
        .command("unshare")
        .args([
            "--net",
            "sh",
            "-c",
            "ip link set lo up && exec \"$@\"",
            "sh",
        ])
        .args([env!("CARGO_BIN_EXE_hpc-ci"), "--scheduler", "local"])
        .output()
        .unwrap();
    let run = Ended::of(&project.dir, &output).exits_with(0);
    assert_eq!(run.outcome("passes").0, "passed");
    assert!(run.line_hits("ends.c").iter().any(|(_, hits)| *hits > 0));
    assert_eq!(std::fs::read_to_string(count).unwrap(), "once\n");
}
