//! Arrays, packs and allocations on the dev cluster, and what becomes of steps whose place fails.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::tools::full;
use crate::support::{Ended, Home, Project};

fn project(toml: &str) -> Project {
    let project = Project::new(Home::Cluster);
    project.file(
        "hpc.toml",
        &format!("[workspace]\nstate = \"hpc-ci/state\"\n{toml}"),
    );
    project.commit();
    project
}

/// Thirty alike steps, one of which fails once and passes when it is tried again.
fn thirty(strategy: &str) -> Project {
    let numbers: Vec<String> = (0..30).map(|number| number.to_string()).collect();
    project(&format!(
        r#"
[scheduler]
strategy = "{strategy}"
time = "1m"
[[test]]
name = "alike"
command = 'echo "step {{n}} as $HPC_CI_STEP"; test {{n}} != 7 || test $HPC_CI_ATTEMPT = 2'
launcher = "none"
retries = 1
matrix = {{ n = [{}] }}
[[test]]
name = "after"
command = "true"
needs = "alike"
"#,
        numbers.join(", ")
    ))
}

fn jobs(run: &Ended) -> Vec<String> {
    let meta = run.json("artifacts/meta.json");
    let jobs = meta["runs"][0]["jobs"].as_array().unwrap().iter();
    let mut ids: Vec<String> = jobs
        .map(|job| job["job_id"].as_str().unwrap().to_owned())
        .collect();
    ids.sort();
    ids.dedup();
    ids
}

#[test]
fn alike_steps_are_tasks_of_one_array() {
    let project = thirty("array");
    let run = project.run(&["--no-coverage"]).exits_with(0);
    let step = run.step("alike[n=7]");
    assert_eq!(
        (&step["flaky"], &step["attempts"]),
        (&true.into(), &2.into())
    );
    let task = run.step("alike[n=3]")["job_id"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(task.ends_with("_3"), "{task}");
    assert!(run.log("alike[n=3]").contains("step 3 as alike[n=3]"));
    // The array, the retry and the one that needs them all.
    let ids = jobs(&run);
    let mut roots: Vec<&str> = ids.iter().map(|id| id.split('_').next().unwrap()).collect();
    roots.dedup();
    assert_eq!((ids.len(), roots.len()), (32, 3), "{ids:?}");
}

#[test]
fn a_pack_runs_steps_and_those_that_need_them_in_one_job() {
    let project = thirty("packed");
    let run = project.run(&["--no-coverage"]).exits_with(0);
    let step = run.step("alike[n=7]");
    assert_eq!(
        (&step["flaky"], &step["attempts"]),
        (&true.into(), &2.into())
    );
    let first = run.step("alike[n=3]")["job_id"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(run.step("alike[n=29]")["job_id"], *first);
    // The pack, the retry and the one that then had all it needs.
    assert_eq!(jobs(&run).len(), 3, "{:?}", jobs(&run));
    let again = project.run(&["--no-coverage", "alike[n=1"]).exits_with(0);
    let told = "11 steps are packed into job";
    assert!(again.err.contains(told), "{}", again.err);
}

const SPREAD: &str = r#"
[scheduler]
strategy = "packed"
time = "1m"
[[test]]
name = "wide"
command = "sleep 2; hostname"
ranks = 6
nodes = 3
[[test]]
name = "narrow"
command = "sleep 2; hostname"
ranks = 2
matrix = { n = [1, 2, 3, 4, 5, 6] }
[[test]]
name = "fails"
command = "exit 3"
[[test]]
name = "behind it"
command = "true"
needs = ["fails"]
[[benchmark]]
name = "alone"
command = "echo took 5 s"
ranks = 4
repetitions = 2
metric = { pattern = 'took (\d+)', unit = "s", better = "lower" }
"#;

/// Six steps of two cores beside one of six on three nodes are two rounds of two seconds.
#[test]
fn packed_steps_share_nodes_and_never_cores() {
    let project = project(SPREAD);
    let run = project.run(&["--no-coverage"]).exits_with(1);
    for step in ["wide", "narrow[n=1]", "narrow[n=6]"] {
        assert_eq!(run.outcome(step).0, "passed", "{}", run.err);
    }
    assert_eq!(run.outcome("fails").0, "failed");
    assert_eq!(run.outcome("behind it").0, "not_run");
    let log = run.log("wide");
    let hosts: std::collections::BTreeSet<&str> =
        log.lines().filter(|line| line.starts_with('n')).collect();
    assert_eq!(hosts.len(), 3, "{log}");
    let alone = &run.json("artifacts/benchmarks/summary.json")["benchmarks"]["alone"];
    assert_eq!(alone["median"], 5.0, "{alone:#}");
}

/// Waits until a job of this project runs, and returns its id and first node.
fn running(project: &Project) -> (String, String) {
    let own = project.dir.to_str().unwrap();
    loop {
        let queue = project
            .command("squeue")
            .args(["-h", "-t", "R", "-o", "%i %N %Z"])
            .output()
            .unwrap();
        let queue = String::from_utf8_lossy(&queue.stdout).into_owned();
        if let Some(line) = queue.lines().find(|line| line.contains(own)) {
            let mut words = line.split(' ').map(str::to_owned);
            return (words.next().unwrap(), words.next().unwrap());
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

const SLOW: &str = r#"
[scheduler]
time = "2m"
[[test]]
name = "quick"
command = "true"
strategy = "packed"
matrix = { n = [1, 2, 3] }
[[test]]
name = "slow"
command = "test $HPC_CI_ATTEMPT = 2 || sleep 60"
strategy = "packed"
ranks = 4
matrix = { n = [1, 2, 3] }
"#;

#[test]
fn a_pack_that_somebody_cancels_keeps_what_has_ended() {
    let project = project(SLOW);
    let child = project.start(&["--no-coverage"]);
    let (job, _) = running(&project);
    std::thread::sleep(Duration::from_secs(4));
    let ended = Command::new("scancel").arg(&job).status().unwrap();
    assert!(ended.success());
    let output = child.wait_with_output().unwrap();
    let run = Ended::of(&project.dir, &output).exits_with(3);
    for n in 1..=3 {
        // Whether it had its turn or not.
        assert_eq!(run.outcome(&format!("slow[n={n}]")).0, "cancelled");
    }
    let passed = (1..=3).filter(|n| run.outcome(&format!("quick[n={n}]")).0 == "passed");
    assert!(passed.count() > 0, "{}", run.err);
}

/// It fails the jobs of all on its node, so nothing else may run at the time: see `.config/nextest.toml`.
#[test]
fn a_node_that_goes_down_costs_no_step_its_result() {
    // Of single steps `cluster_faults` tries it always; this takes all of the cluster for a minute.
    if !full() {
        return;
    }
    let project = project(&format!(
        "{SLOW}[[test]]\nname = \"single\"\ncommand = \"test $HPC_CI_ATTEMPT = 2 || sleep 60\"\n"
    ));
    let child = project.start(&["--no-coverage"]);
    running(&project);
    std::thread::sleep(Duration::from_secs(4));
    let scontrol = |state: &str| {
        let nodes = ["nodename=n[1-3]", state, "reason=test"];
        let done = Command::new("scontrol").arg("update").args(nodes).status();
        done.unwrap().success()
    };
    assert!(scontrol("state=down"));
    // Refused where the nodes have come back by themselves meanwhile.
    scontrol("state=resume");
    let output = child.wait_with_output().unwrap();
    let run = Ended::of(&project.dir, &output).exits_with(0);
    for step in ["slow[n=1]", "slow[n=2]", "slow[n=3]", "single"] {
        let step = run.step(step);
        assert_eq!(step["outcome"], "passed", "{}", run.err);
        assert_eq!(step["flaky"], false, "{step:#}");
    }
    assert_eq!(run.step("single")["attempts"], 2);
    assert!(run.err.contains("lost a node; trying again"), "{}", run.err);
}

#[test]
fn steps_that_an_allocation_cannot_hold_are_not_started_and_say_so() {
    let project = project(
        r#"
[[test]]
name = "fits"
command = "sleep 1"
ranks = 2
time = "20s"
matrix = { n = [1, 2, 3, 4] }
[[test]]
name = "too long"
command = "true"
time = "10m"
[[test]]
name = "too wide"
command = "true"
ranks = 64
time = "20s"
"#,
    );
    let started = Instant::now();
    let output = project
        .command("salloc")
        .args(["--quiet", "-N2", "--ntasks-per-node=4", "-t3"])
        .args([env!("CARGO_BIN_EXE_hpc-ci"), "--no-coverage"])
        .output()
        .unwrap();
    let run = Ended::of(&project.dir, &output).exits_with(3);
    assert!(started.elapsed() < Duration::from_mins(2));
    for n in 1..=4 {
        assert_eq!(run.outcome(&format!("fits[n={n}]")).0, "passed");
    }
    assert_eq!(run.outcome("too long").0, "not_run");
    assert_eq!(run.outcome("too wide").0, "rejected");
    for text in ["does not fit into the", "the allocation has 2"] {
        assert!(run.err.contains(text), "{}", run.err);
    }
}
