//! What goes wrong with real jobs, done to the dev cluster: each fault is survived, and told in words that help.
//!
//! Faults of nodes and partitions happen to small clusters of the tests' own.

use std::time::{Duration, Instant};

use crate::support::driver::{Driver, jobs_started, tells, with_steps};
use crate::support::own_cluster::OwnCluster;
use crate::support::tools::full;
use crate::support::{Ended, Home, Project, until, with_bin};

const STEP: &str = "#include <stdlib.h>\nint main(int argc, char **argv) {\n  int n = atoi(argv[1]);\n  for (int i = 0; i < n; i++) n += 0;\n  return argc > 2 ? 3 : 0;\n}\n";

/// What its first start wrote is neither added to what the second one wrote, nor taken for it.
#[test]
fn a_job_that_slurm_starts_again_is_one_result() {
    let project = Project::new(Home::Cluster);
    project.file("step.c", STEP);
    project.file(
        "hpc.toml",
        r#"
[workspace]
state = "hpc-ci/state"
[trust]
step_options = true
[environment]
variables = { OMPI_CC = "clang-22" }
[build.tests]
command = "mkdir -p build && mpicc.openmpi -g -o build/step step.c"
coverage = "llvm"
[[test]]
name = "again"
command = "build/step 5 && echo counted once && { test -e ../../../go || sleep 300; }"
launcher = "none"
options = ["--requeue"]
"#,
    );
    project.file("hpc-ci/go", "");
    project.commit();
    let undisturbed = project.run(&[]).exits_with(0);
    std::fs::remove_file(project.dir.join("hpc-ci/go")).unwrap();
    let mut driver = Driver::start(&project, &[]);
    let job = driver.runs("again");
    let log = || {
        let found = project
            .command("find")
            .args(["hpc-ci/runs", "-name", "log.txt"])
            .output();
        let found = String::from_utf8(found.unwrap().stdout).unwrap();
        let mut logs: Vec<&str> = found.lines().collect();
        logs.sort_unstable();
        std::fs::read_to_string(project.dir.join(logs.pop().unwrap())).unwrap_or_default()
    };
    while !log().contains("counted once") {
        std::thread::sleep(Duration::from_millis(50));
    }
    project.file("hpc-ci/go", "");
    let scontrol = |arguments: &[&str]| {
        let done = project
            .command("scontrol")
            .args(arguments)
            .output()
            .unwrap();
        assert!(done.status.success(), "{done:?}");
    };
    scontrol(&["requeue", &job]);
    driver.says("was put back into the queue by Slurm", 1);
    // It would wait for two minutes.
    scontrol(&["update", &format!("JobId={job}"), "StartTime=now"]);
    let run = driver.ends().exits_with(0);
    let step = run.step("again");
    assert_eq!(
        (&step["outcome"], &step["attempts"]),
        (&"passed".into(), &1.into())
    );
    assert_eq!(step["job_id"], *job);
    assert_eq!(run.log("again").matches("counted once").count(), 1);
    assert_eq!(run.line_hits("step.c"), undisturbed.line_hits("step.c"));
    let meta = run.json("artifacts/meta.json");
    let last = meta["runs"].as_array().unwrap().last().unwrap();
    assert_eq!(last["jobs"][0]["requeues"], 1, "{last:#}");
}

const TOUCHED: &str = r#"
[[test]]
name = "cancelled"
command = "sleep 300"
[[test]]
name = "held"
command = "true"
options = ["--hold"]
max_pending = "5s"
[[test]]
name = "released"
command = "true"
options = ["--hold"]
[[test]]
name = "suspended"
command = "until [ -e ../../../go ]; do sleep 0.1; done"
[[test]]
name = "hopeless"
command = "true"
options = ["--dependency=afterok:FAILED"]
[[test]]
name = "too long"
command = "true"
time = "3h"
[[test]]
name = "behind"
command = "true"
needs = ["hopeless"]
"#;

#[test]
fn jobs_that_others_touch_tell_who_and_what_to_do() {
    let project = Project::new(Home::Cluster);
    project.commit();
    let failed = project
        .command("sbatch")
        .args([
            "--parsable",
            "--wait",
            "--output=/dev/null",
            "--wrap",
            "false",
        ])
        .output()
        .unwrap();
    let failed = String::from_utf8(failed.stdout).unwrap();
    let project = with_steps(project, &TOUCHED.replace("FAILED", failed.trim()));
    let mut driver = Driver::start(&project, &[]);
    let root = |program: &str, arguments: &[&str]| {
        let done = std::process::Command::new(program)
            .args(arguments)
            .output()
            .unwrap();
        assert!(done.status.success(), "{program}: {done:?}");
    };
    let cancelled = driver.runs("cancelled");
    root("scancel", &[&cancelled]);
    let suspended = driver.runs("suspended");
    root("scontrol", &["suspend", &suspended]);
    driver.says(
        "of `suspended` is SUSPENDED: somebody has to let it go on",
        1,
    );
    project.file("hpc-ci/go", "");
    root("scontrol", &["resume", &suspended]);
    driver.says("of `released` waits for somebody to release it", 1);
    let released = driver.job_behind("queued    released  job ");
    tells_of_held(&project, &released);
    root("scontrol", &["release", &released]);
    let run = driver.ends().exits_with(3);
    let ends = [
        (
            "cancelled",
            "cancelled",
            "was cancelled by user `root`, not by this run",
        ),
        (
            "held",
            "starved",
            "for somebody to release it: its owner held it (JobHeldUser)",
        ),
        ("released", "passed", ""),
        ("suspended", "passed", ""),
        (
            "hopeless",
            "rejected",
            "(DependencyNeverSatisfied); look at the job it depends on",
        ),
        ("too long", "rejected", "or choose another `partition`"),
        (
            "behind",
            "not_run",
            "it needs `hopeless`, which ended `rejected`",
        ),
    ];
    for (step, outcome, message) in ends {
        assert_eq!(run.outcome(step).0, outcome, "{step}: {}", run.err);
        tells(&run, &[message]);
    }
    let held = format!("`scontrol release {released}` lets it go");
    tells(&run, &[&held]);
}

/// What `status` says of a job that somebody holds.
#[track_caller]
fn tells_of_held(project: &Project, job: &str) {
    let status = project.run(&["status"]).exits_with(75);
    let line = format!("job {job}  JobHeldUser: waits for somebody to release it");
    assert!(status.out.contains(&line), "{}", status.out);
}

/// Jobs of `low` have to make way for those of `high`; those of `gone` are cancelled then.
const PREEMPTING: &str = "\
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=low Nodes=ALL MaxTime=30 PriorityTier=2 PreemptMode=REQUEUE
PartitionName=gone Nodes=ALL MaxTime=30 PriorityTier=2 PreemptMode=CANCEL
PartitionName=high Nodes=ALL MaxTime=30 PriorityTier=9 PreemptMode=OFF
";

#[test]
fn jobs_whose_place_fails_are_tried_elsewhere() {
    let cluster = OwnCluster::start(2, PREEMPTING);
    preempted(&cluster);
    build_preempted(&cluster);
    if full() {
        preempted_together(&cluster, "array", 8);
        preempted_together(&cluster, "packed", 4);
    }
    node_dies(&cluster);
    state_lost(&cluster);
}

/// Waits until the programs of so many steps have begun: a job that runs may still be on its way to them.
fn have_begun(project: &Project, steps: usize) {
    let begun = |number: usize| project.dir.join(format!("hpc-ci/begun-{number}")).exists();
    until(|| (1..=steps).all(begun).then_some(()));
}

fn preempted(cluster: &OwnCluster) {
    let project = with_steps(
        Project::on(cluster),
        r#"
[[test]]
name = "comes back"
command = "touch ../../../begun-1; test -e ../../../go || sleep 300"
partition = "low"
options = ["--requeue"]
[[test]]
name = "is gone"
command = "touch ../../../begun-2; test -e ../../../go || sleep 300"
partition = "gone"
"#,
    );
    let mut driver = Driver::start(&project, &[]);
    let comes_back = driver.runs("comes back");
    driver.runs("is gone");
    have_begun(&project, 2);
    project.file("hpc-ci/go", "");
    let wanted = ["-p", "high", "-N2", "--exclusive", "true"];
    let done = project.command("srun").args(wanted).output().unwrap();
    assert!(done.status.success(), "{done:?}");
    driver.says("of `comes back` was put back into the queue", 1);
    cluster.slurm(
        "scontrol",
        &["update", &format!("JobId={comes_back}"), "StartTime=now"],
    );
    let run = driver.ends().exits_with(0);
    tells(
        &run,
        &["is gone  attempt 1 had to make way for another job; trying again"],
    );
    assert_eq!(run.step("comes back")["attempts"], 1);
    assert_eq!(run.step("is gone")["attempts"], 2);
    // Each twice, of which one under the same number.
    jobs_started(&project, 4);
}

/// What was built by half is not built upon: the build is tried again in a tree of its own.
fn build_preempted(cluster: &OwnCluster) {
    let project = with_steps(
        Project::on(cluster),
        r#"
[build.slow]
command = "echo half >>built; if [ ! -e ../../../go ]; then touch ../../../begun; sleep 300; fi"
where = "job"
partition = "gone"
[[test]]
name = "a"
build = "slow"
command = "cat built"
"#,
    );
    let driver = Driver::start(&project, &[]);
    until(|| project.dir.join("hpc-ci/begun").exists().then_some(()));
    project.file("hpc-ci/go", "");
    let wanted = ["-p", "high", "-N2", "--exclusive", "true"];
    let done = project.command("srun").args(wanted).output().unwrap();
    assert!(done.status.success(), "{done:?}");
    let run = driver.ends().exits_with(0);
    tells(
        &run,
        &["build slow  attempt 1 had to make way for another job; trying again"],
    );
    assert_eq!(run.log("a"), "half\n");
}

/// Steps that share a job: those of `low` come back under its number, those of `gone` are tried again in another.
fn preempted_together(cluster: &OwnCluster, strategy: &str, starts: usize) {
    let project = with_steps(
        Project::on(cluster),
        &format!(
            r#"
[scheduler]
strategy = "{strategy}"
time = "5m"
[[test]]
name = "comes back"
command = "echo of this start; touch ../../../begun-{{n}}; test -e ../../../go || sleep 300"
partition = "low"
options = ["--requeue"]
matrix = {{ n = [1, 2] }}
[[test]]
name = "is gone"
command = "touch ../../../begun-{{n}}; test -e ../../../go || sleep 300"
partition = "gone"
matrix = {{ n = [3, 4] }}
"#
        ),
    );
    let mut driver = Driver::start(&project, &[]);
    let comes_back = driver.runs("comes back[n=1]");
    for step in ["comes back[n=2]", "is gone[n=3]", "is gone[n=4]"] {
        driver.runs(step);
    }
    have_begun(&project, 4);
    project.file("hpc-ci/go", "");
    let wanted = ["-p", "high", "-N2", "--exclusive", "true"];
    let done = project.command("srun").args(wanted).output().unwrap();
    assert!(done.status.success(), "{done:?}");
    driver.says("was put back into the queue", 1);
    cluster.slurm(
        "scontrol",
        &["update", &format!("JobId={comes_back}"), "StartTime=now"],
    );
    let run = driver.ends().exits_with(0);
    for step in ["comes back[n=1]", "comes back[n=2]"] {
        let it = run.step(step);
        assert_eq!(
            (&it["attempts"], &it["outcome"]),
            (&1.into(), &"passed".into())
        );
        assert_eq!(run.log(step).matches("of this start").count(), 1);
    }
    for step in ["is gone[n=3]", "is gone[n=4]"] {
        let it = run.step(step);
        assert_eq!((&it["attempts"], &it["flaky"]), (&2.into(), &false.into()));
    }
    jobs_started(&project, starts);
}

fn node_dies(cluster: &OwnCluster) {
    let project = with_steps(
        Project::on(cluster),
        "[[test]]\nname = \"a\"\ncommand = \"hostname; test $HPC_CI_ATTEMPT = 2 || sleep 300\"\nranks = 1\n",
    );
    let mut driver = Driver::start(&project, &[]);
    driver.runs("a");
    let said = driver.said();
    let node = if said.contains(" on n1") { "1" } else { "2" };
    cluster.node("kill", node);
    driver.says(
        &format!("a  attempt 1 lost a node; trying again away from n{node}"),
        1,
    );
    let run = driver.ends().exits_with(0);
    let step = run.step("a");
    assert_eq!(
        (&step["attempts"], &step["flaky"]),
        (&2.into(), &false.into())
    );
    assert!(
        !run.log("a").contains(&format!("n{node}\n")),
        "{}",
        run.log("a")
    );
    jobs_started(&project, 2);
    cluster.node("start", node);
}

/// The controller comes back without the memory of its jobs: nobody can say how they ended.
fn state_lost(cluster: &OwnCluster) {
    let project = with_steps(
        Project::on(cluster),
        "[[test]]\nname = \"a\"\ncommand = \"touch ../../../begun; until [ -e ../../../go ]; do sleep 0.1; done\"\n",
    );
    let mut driver = Driver::start(&project, &[]);
    driver.runs("a");
    // Its script is on its node, and its program may still need the controller to get there.
    until(|| project.dir.join("hpc-ci/begun").exists().then_some(()));
    cluster.service("kill", "slurmctld");
    cluster.forget_jobs();
    cluster.service("start", "slurmctld");
    project.file("hpc-ci/go", "");
    let run = driver.ends().exits_with(3);
    // Its record may be closed by then, in root's name.
    let outcome = run.outcome("a").0;
    assert!(
        ["lost", "cancelled"].contains(&outcome.as_str()),
        "{outcome}"
    );
    tells(&run, &["did the controller lose its state?"]);
}

/// Between two questions lies half a second at least, and squeue asks the controller at most two things.
#[test]
fn questions_to_slurm_are_few_whatever_the_strategy() {
    let cluster = OwnCluster::start(3, "");
    // Eight at a time.
    let (steps, seconds) = if full() { (40, 12) } else { (16, 1) };
    for strategy in ["jobs", "array", "packed"] {
        let numbers: Vec<String> = (0..steps).map(|number| number.to_string()).collect();
        let toml = format!(
            "[scheduler]\nstrategy = \"{strategy}\"\ntime = \"1m\"\n[[test]]\nname = \"a\"\ncommand = \"sleep {seconds}\"\nlauncher = \"none\"\nmatrix = {{ n = [{}] }}\n",
            numbers.join(", ")
        );
        let project = Project::on(&cluster);
        // Notes each question, and asks it.
        for program in ["squeue", "sacct"] {
            let script = format!(
                "#!/bin/sh\necho {program} >>'{}'\nexec /usr/bin/{program} \"$@\"\n",
                project.dir.with_file_name("asked.txt").display()
            );
            project.file(&format!("bin/{program}"), &script);
        }
        let project = with_steps(project, &toml);
        let path = with_bin(&project);
        cluster.slurm("sdiag", &["-r"]);
        let begin = Instant::now();
        let output = project.hpc_ci(&[]).env("PATH", path).output().unwrap();
        let took = begin.elapsed();
        Ended::of(&project.dir, &output).exits_with(0);
        let asked = std::fs::read_to_string(project.dir.with_file_name("asked.txt")).unwrap();
        let most = 2 * usize::try_from(took.as_secs() + 1).unwrap();
        let commands = asked.lines().count();
        assert!(
            commands <= most,
            "{strategy}: {commands} questions in {took:?}"
        );
        // squeue asks for jobs and for partitions; what there is on the whole is asked for once, when the run begins.
        let queue = asked.lines().filter(|line| *line == "squeue").count();
        let kinds = ["JOB", "FED", "PARTITION", "NODE", "BUILD", "RESERVATION"];
        let kinds = kinds.map(|kind| format!("REQUEST_{kind}_"));
        let requests = rpcs(&cluster, &kinds);
        assert!(
            requests <= 2 * queue + 8,
            "{strategy}: {requests} requests for {queue} questions"
        );
    }
}

/// How many requests of these kinds the controller has had since its figures were reset.
fn rpcs(cluster: &OwnCluster, kinds: &[String]) -> usize {
    let text = cluster.slurm("sdiag", &[]);
    let (_, by_type) = text.split_once("by message type").unwrap();
    let (by_type, _) = by_type.split_once("by user").unwrap();
    let count = |line: &str| {
        let kind = line.split_whitespace().next()?;
        if !kinds.iter().any(|wanted| kind.starts_with(wanted)) {
            return None;
        }
        let (_, rest) = line.split_once("count:")?;
        rest.split_whitespace().next()?.parse::<usize>().ok()
    };
    by_type.lines().filter_map(count).sum()
}
