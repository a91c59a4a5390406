//! Slurm's daemons go away or hang, at any moment of a run: it waits, says what for, and loses nothing.
//!
//! They are those of small clusters of the tests' own; with `HPC_CI_FULL` an outage lasts a minute.

use nix::sys::signal::Signal;

use crate::support::driver::{Driver, jobs_started, let_it_last, tells, with_steps};
use crate::support::own_cluster::OwnCluster;
use crate::support::tools::full;
use crate::support::{Project, signal, until, with_bin};

/// Two steps of each strategy, which end when a file is there; the last needs one of them.
const OF_EACH: &str = r#"
[scheduler]
time = "5m"
[[test]]
name = "job"
command = "until [ -e ../../../go ]; do sleep 0.1; done"
matrix = { n = [1, 2] }
[[test]]
name = "task"
command = "until [ -e ../../../go ]; do sleep 0.1; done"
strategy = "array"
matrix = { n = [1, 2] }
[[test]]
name = "packed"
command = "until [ -e ../../../go ]; do sleep 0.1; done"
strategy = "packed"
matrix = { n = [1, 2] }
[[test]]
name = "behind"
command = "true"
needs = ["job"]
"#;

/// slurmctld is down when the run begins, and again while its jobs end.
#[test]
fn a_controller_that_is_away_is_waited_for() {
    let cluster = OwnCluster::start(1, "");
    let project = with_steps(Project::on(&cluster), OF_EACH);
    cluster.service("kill", "slurmctld");
    let mut driver = Driver::start(&project, &[]);
    driver.says(
        "waiting for the scheduler, to know what its partitions can hold",
        1,
    );
    let_it_last();
    cluster.service("start", "slurmctld");
    for step in ["job[n=2]", "task[n=2]", "packed[n=2]"] {
        driver.runs(step);
    }
    cluster.saves_its_state();
    cluster.service("kill", "slurmctld");
    project.file("hpc-ci/go", "");
    driver.says("waiting for the scheduler to come back", 1);
    let status = project.run(&["status"]).exits_with(75);
    assert!(
        status.out.contains("how far jobs are is not known now"),
        "{}",
        status.out
    );
    let_it_last();
    cluster.service("start", "slurmctld");
    let run = driver.ends().exits_with(0);
    tells(&run, &["the scheduler answers again after"]);
    assert_eq!(
        run.err.matches("to come back").count(),
        1,
        "said once:\n{}",
        run.err
    );
    // Two jobs, two tasks, a pack, and the one that needs the jobs.
    jobs_started(&project, 6);
    // And while jobs are submitted: the second step's turn comes when the controller is away.
    let project = with_steps(
        Project::on(&cluster),
        "[[test]]\nname = \"first\"\ncommand = \"true\"\n[[test]]\nname = \"second\"\ncommand = \"true\"\nneeds = [\"first\"]\n",
    );
    let mut driver = Driver::start(&project, &[]);
    driver.says("queued    first", 1);
    cluster.service("hang", "slurmctld");
    driver.says("waiting for the scheduler to come back", 1);
    let_it_last();
    cluster.service("resume", "slurmctld");
    driver.ends().exits_with(0);
    jobs_started(&project, 2);
}

#[test]
fn accounting_and_munge_that_hang_are_waited_for() {
    let cluster = OwnCluster::start(4, "");
    books_hang(&cluster);
    credentials_hang(&cluster);
    if full() {
        stopped_while_silent(&cluster);
    }
}

/// Accounting hangs from before the run to after its end.
fn books_hang(cluster: &OwnCluster) {
    let project = with_steps(
        Project::on(cluster),
        "[[test]]\nname = \"good\"\ncommand = \"true\"\n[[test]]\nname = \"bad\"\ncommand = \"exit 3\"\n[[test]]\nname = \"behind\"\ncommand = \"true\"\nneeds = [\"good\"]\n",
    );
    cluster.service("hang", "slurmdbd");
    let run = Driver::start(&project, &[]).ends();
    cluster.service("resume", "slurmdbd");
    let run = run.exits_with(1);
    assert_eq!(run.outcome("good").0, "passed");
    assert_eq!(run.outcome("behind").0, "passed");
    let bad = run.step("bad");
    assert_eq!(
        (&bad["outcome"], &bad["exit_code"]),
        (&"failed".into(), &3.into())
    );
    tells(
        &run,
        &["no answer from `sacct` for 15 s; going by what the queue says"],
    );
    jobs_started(&project, 3);
    // One that is down says so at once.
    cluster.service("kill", "slurmdbd");
    let run = Driver::start(&project, &[]).ends();
    cluster.service("start", "slurmdbd");
    let run = run.exits_with(1);
    tells(
        &run,
        &["going by what the queue says until accounting is back"],
    );
    jobs_started(&project, 6);
}

/// munge hangs: every command does.
fn credentials_hang(cluster: &OwnCluster) {
    let project = with_steps(
        Project::on(cluster),
        "[[test]]\nname = \"a\"\ncommand = \"until [ -e ../../../go ]; do sleep 0.1; done\"\n[[test]]\nname = \"b\"\ncommand = \"true\"\nneeds = [\"a\"]\n",
    );
    let mut driver = Driver::start(&project, &[]);
    driver.runs("a");
    cluster.service("hang", "munged");
    project.file("hpc-ci/go", "");
    driver.says(
        "no answer from `squeue` for 15 s; waiting for the scheduler to come back",
        1,
    );
    let_it_last();
    cluster.service("resume", "munged");
    let run = driver.ends().exits_with(0);
    tells(&run, &["the scheduler answers again after"]);
    jobs_started(&project, 2);
}

/// munge hangs before sbatch has asked for its credentials.
#[test]
fn credentials_that_hang_while_jobs_are_submitted_are_waited_for() {
    if !full() {
        return;
    }
    let cluster = OwnCluster::start(7, "");
    let project = Project::on(&cluster);
    let (called, hung) = (
        project.dir.with_file_name("called"),
        project.dir.with_file_name("hung"),
    );
    project.file(
        "bin/sbatch",
        &format!(
            "#!/bin/sh\ntouch '{}'\nuntil [ -e '{}' ]; do sleep 0.1; done\nexec /usr/bin/sbatch \"$@\"\n",
            called.display(),
            hung.display()
        ),
    );
    let project = with_steps(
        project,
        "[[test]]\nname = \"a\"\ncommand = \"true\"\nmatrix = { n = [1, 2, 3] }\n",
    );
    let path = with_bin(&project);
    let mut driver = Driver::start_with(&project, &[], &[("PATH", &path)]);
    until(|| called.exists().then_some(()));
    cluster.service("hang", "munged");
    std::fs::write(&hung, "").unwrap();
    driver.says("no answer from `sbatch` for 15 s", 1);
    let_it_last();
    cluster.service("resume", "munged");
    let run = driver.ends().exits_with(0);
    tells(&run, &["the scheduler answers again after"]);
    jobs_started(&project, 3);
}

/// Who stops a run does not wait for a controller that hangs, and is told what is left.
fn stopped_while_silent(cluster: &OwnCluster) {
    let project = with_steps(
        Project::on(cluster),
        "[[test]]\nname = \"a\"\ncommand = \"sleep 300\"\n",
    );
    let mut driver = Driver::start(&project, &[]);
    let job = driver.runs("a");
    cluster.service("hang", "slurmctld");
    signal(&driver.child, Signal::SIGINT);
    let run = driver.ends();
    cluster.service("resume", "slurmctld");
    let run = run.exits_with(130);
    assert_eq!(run.outcome("a").0, "cancelled");
    tells(&run, &[&format!("`scancel {job}` ends them")]);
    cluster.slurm("scancel", &[&job]);
}
