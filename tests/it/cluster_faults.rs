//! What goes wrong with real clusters, done to the dev cluster: each fault is survived, and told in words that help.
//!
//! Faults of daemons and nodes happen to small clusters of the tests' own; with `HPC_CI_FULL` they last a minute.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::support::own_cluster::OwnCluster;
use crate::support::tools::full;
use crate::support::{Ended, Home, Project, signal, until, with_bin};

/// Lets a fault last for a minute, where there is time for that.
fn let_it_last() {
    if full() {
        std::thread::sleep(Duration::from_mins(1));
    }
}

/// A run under way, and the file that it talks to.
struct Driver<'a> {
    project: &'a Project,
    child: Child,
    talk: PathBuf,
}

impl<'a> Driver<'a> {
    fn start(project: &'a Project, arguments: &[&str]) -> Self {
        Self::start_with(project, arguments, &[])
    }

    fn start_with(project: &'a Project, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let talk = project.dir.with_file_name("talk.txt");
        let child = project
            .hpc_ci(arguments)
            .envs(variables.iter().copied())
            .stdout(Stdio::null())
            .stderr(File::create(&talk).unwrap())
            .spawn()
            .unwrap();
        Self {
            project,
            child,
            talk,
        }
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.talk).unwrap()
    }

    /// Waits until it has said this so many times.
    #[track_caller]
    fn says(&mut self, text: &str, times: usize) {
        let begin = Instant::now();
        while self.said().matches(text).count() < times {
            let ended = self.child.try_wait().unwrap();
            let waited = begin.elapsed() > Duration::from_mins(3);
            assert!(
                ended.is_none() && !waited,
                "no `{text}` in:\n{}",
                self.said()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until a step has a job that runs, and returns the job.
    #[track_caller]
    fn runs(&mut self, step: &str) -> String {
        let text = format!("running   {step}  job ");
        self.says(&text, 1);
        self.job_behind(&text)
    }

    /// The number that stands behind this.
    #[track_caller]
    fn job_behind(&self, text: &str) -> String {
        let said = self.said();
        let (_, rest) = said.split_once(text).unwrap();
        let digits = rest.chars().take_while(char::is_ascii_digit);
        digits.collect()
    }

    fn ends(mut self) -> Ended {
        let status = self.child.wait().unwrap();
        let output = Output {
            status,
            stdout: Vec::new(),
            stderr: std::fs::read(&self.talk).unwrap(),
        };
        Ended::of(&self.project.dir, &output)
    }
}

/// A project without coverage whose steps are these.
fn with_steps(project: Project, toml: &str) -> Project {
    project.file(
        "hpc.toml",
        &format!(
            "[workspace]\nstate = \"hpc-ci/state\"\n[trust]\nstep_options = true\n[build.tests]\ncommand = \"true\"\ncoverage = \"none\"\n{toml}"
        ),
    );
    project.commit();
    project
}

#[track_caller]
fn tells(run: &Ended, texts: &[&str]) {
    for text in texts {
        assert!(run.err.contains(text), "no `{text}` in:\n{}", run.err);
    }
}

/// The names of the jobs of a project's runs that accounting knows, each as often as it was started.
fn job_names(project: &Project) -> Vec<String> {
    let output = project
        .command("sacct")
        .args(["-D", "-n", "-P", "-X", "-o", "JobName,WorkDir"])
        .args(["-S", "now-1hours", "-a"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let own = project.dir.to_str().unwrap();
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| line.split_once('|'))
        .filter(|(name, folder)| name.starts_with("hpc-ci/") && folder.starts_with(own))
        .map(|(name, _)| name.to_owned())
        .collect()
}

/// Waits until accounting has so many starts of jobs; more would be too many.
#[track_caller]
fn jobs_started(project: &Project, expected: usize) {
    let mut names = Vec::new();
    for _ in 0..100 {
        names = job_names(project);
        if names.len() >= expected {
            break;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(names.len(), expected, "{names:#?}");
}

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
