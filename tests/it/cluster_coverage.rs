//! Coverage of many ranks on the dev cluster: added up on the nodes, whatever happens to them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::own_cluster::OwnCluster;
use crate::support::{Ended, Home, Project};

/// What it does depends on the rank and the number of ranks; it loads a library and starts a second program.
const RANKS: &str = r#"
#include <mpi.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
int halve(int number);
static int tells(int rank) {
    if (rank != 1) {
        return halve(rank);
    } else {
        return 7; /* only rank 1 */
    }
}
int main(int argc, char **argv) {
    int rank, size, sum = 0;
    const char *way = argc > 1 ? argv[1] : "pass";
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    for (int i = 0; i <= rank; i++) sum += tells(rank);
    if (rank == 0) {
        sum += 1; /* only rank 0 */
    }
    MPI_Barrier(MPI_COMM_WORLD);
    if (!strcmp(way, "abort") && rank == 1) MPI_Abort(MPI_COMM_WORLD, 7);
    if (!strcmp(way, "die") && rank == 1) raise(SIGKILL);
    if (!strcmp(way, "sleep")) sleep(600);
    MPI_Finalize();
    if (size >= 8) {
        sum += 8; /* eight ranks */
    }
    return sum < 0;
}
"#;

const HALVE: &str =
    "int halve(int number) {\n    if (number % 2) return number - 1;\n    return number / 2;\n}\n";
const SECOND: &str = "int main(int argc, char **argv) { (void)argv; return argc > 9; }\n";

/// With more ranks than cores, Open MPI sometimes crashes while it starts, hpc-ci or not; hence the retries of wide steps.
pub(crate) fn project(settings: &str) -> Project {
    ranks(Project::new(Home::Cluster), settings)
}

fn ranks(project: Project, settings: &str) -> Project {
    project
        .file("ranks.c", RANKS)
        .file("halve.c", HALVE)
        .file("second.c", SECOND);
    project.file(
        "hpc.toml",
        &format!(
            r#"
[project]
name = "ranks"
[environment]
variables = {{ OMPI_CC = "clang-22" }}
[build.tests]
command = """mkdir -p build && mpicc.openmpi -g -fPIC -shared -o build/libhalve.so halve.c &&
mpicc.openmpi -g -o build/ranks ranks.c -Lbuild -lhalve -Wl,-rpath,$PWD/build && mpicc.openmpi -g -o build/second second.c"""
coverage = "llvm"
{settings}
"#
        ),
    );
    project.commit();
    project
}

/// The names of all profiles and records that were ever seen in the run folders.
struct Seen {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<BTreeSet<String>>,
}

impl Seen {
    fn watch(project: &Project) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, runs) = (Arc::clone(&stop), project.dir.join("hpc-ci/runs"));
        let thread = std::thread::spawn(move || {
            let mut seen = BTreeSet::new();
            while !stopped.load(Ordering::Relaxed) {
                let steps = below(&runs)
                    .into_iter()
                    .flat_map(|run| below(&run.join("steps")));
                let starts = steps.flat_map(|step| below(&step));
                let files = starts.flat_map(|start| below(&start.join("profiles")));
                seen.extend(files.filter_map(|file| Some(file.file_name()?.to_str()?.to_owned())));
                std::thread::sleep(Duration::from_millis(20));
            }
            seen
        });
        Self { stop, thread }
    }

    fn end(self) -> BTreeSet<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn below(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten();
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect()
}

/// State and ranks of each group of a step's ledger.
fn ledger(run: &Ended, step: &str) -> Vec<(String, String)> {
    let ledger = ledger_of(run, step);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let groups = ledger["ranks"].as_array().unwrap();
    groups
        .iter()
        .map(|group| (text(&group["state"]), text(&group["ranks"])))
        .collect()
}

fn ledger_of(run: &Ended, step: &str) -> Value {
    let meta = run.json("artifacts/meta.json");
    let runs = meta["runs"].as_array().unwrap();
    let steps = runs.last().unwrap()["ranks"]["steps"].as_array().unwrap();
    steps
        .iter()
        .find(|ledger| ledger["step"] == step)
        .unwrap()
        .clone()
}

fn groups<const N: usize>(of: [(&str, &str); N]) -> Vec<(String, String)> {
    of.map(|(state, ranks)| (state.to_owned(), ranks.to_owned()))
        .to_vec()
}

/// The line of a source file that holds this text.
fn line(of: &str, text: &str) -> u64 {
    1 + of.lines().position(|line| line.contains(text)).unwrap() as u64
}

/// No run of this project may have left a folder on a node.
fn nothing_is_left_on(nodes: &[&str], project: &Project, cluster: &[(String, String)]) {
    for run in below(&project.dir.join("hpc-ci/runs")) {
        let name = format!("hpc-ci.{}.*", run.file_name().unwrap().to_str().unwrap());
        for node in nodes {
            let command = Path::new(env!("CARGO_MANIFEST_DIR")).join("slurm/dev-cluster/node");
            let found = std::process::Command::new(command)
                .args(["exec", node, "find", "/tmp", "-name", &name])
                .envs(cluster.iter().cloned())
                .output()
                .unwrap();
            assert!(
                found.status.success() && found.stdout.is_empty(),
                "left on node {node}: {found:?}"
            );
        }
    }
}

#[test]
fn three_nodes_leave_three_profiles_and_the_same_coverage() {
    let project = project(
        r#"
[scheduler]
options = ["--overcommit"]
[launcher]
options = ["--overcommit"]
[[test]]
name = "wide"
command = "build/ranks && build/second"
ranks = 24
nodes = 3
memory = "1500MiB"
retries = 3
"#,
    );
    let seen = Seen::watch(&project);
    let run = project.run(&["--tests-only"]).exits_with(0);
    let expected: BTreeSet<String> = ["n1", "n2", "n3"]
        .iter()
        .flat_map(|node| {
            [
                format!("node.{node}.0.json"),
                format!("node.{node}.0.profraw"),
            ]
        })
        .collect();
    let seen: BTreeSet<String> = seen
        .end()
        .into_iter()
        .filter(|name| !name.contains(".part"))
        .collect();
    assert_eq!(seen, expected);
    nothing_is_left_on(&["1", "2", "3"], &project, &[]);
    let mut ledger_here = ledger_of(&run, "wide");
    let nodes = ledger_here
        .as_object_mut()
        .unwrap()
        .remove("nodes")
        .unwrap();
    for (node, at) in nodes.as_array().unwrap().iter().zip(["n1", "n2", "n3"]) {
        assert_eq!(
            *node,
            json!({"node": at, "storage": "scratch", "reason": null})
        );
    }
    let documents = |run: &Ended| {
        let profiles: Vec<Value> = run.json("artifacts/coverage/objects.json")["objects"]
            .as_array()
            .unwrap()
            .iter()
            .map(|object| object["profiles"].clone())
            .collect();
        (
            run.text("artifacts/coverage/lcov.info"),
            run.text("artifacts/coverage/ranks.json"),
            ["expected", "used", "ranks", "problems"]
                .map(|key| ledger_of(run, "wide")[key].clone()),
            run.json("artifacts/coverage/summary.json")["profiles"].clone(),
            profiles,
        )
    };
    let here = documents(&run);
    let site = project.dir.join("site.toml");
    std::fs::write(
        &site,
        std::fs::read_to_string(project.dir.join("hpc.toml")).unwrap()
            + "\n[workspace]\nnode_scratch = \"\"\n",
    )
    .unwrap();
    let seen = Seen::watch(&project);
    let without = project
        .run(&["--tests-only", "--config", "site.toml"])
        .exits_with(0);
    let seen = seen.end();
    assert!(
        seen.iter().filter(|name| name.starts_with('r')).count() >= 24,
        "{seen:?}"
    );
    let there = documents(&without);
    assert_eq!(here, there);
    assert_eq!(ledger(&run, "wide"), groups([("whole", "0-23")]));
    assert!(
        run.err.contains("coverage is from 24 of 24 ranks"),
        "{}",
        run.err
    );
}

/// `ranks.json` of a run: what is said of the line of `ranks.c` that holds this text.
fn pattern(run: &Ended, text: &str) -> Value {
    let report = run.json("artifacts/coverage/ranks.json");
    let wanted = line(RANKS, text);
    let runs = report["files"]["ranks.c"].as_array().unwrap();
    let of_line = runs
        .iter()
        .find(|run| (run[0].as_u64().unwrap()..=run[1].as_u64().unwrap()).contains(&wanted));
    let number = of_line.unwrap_or_else(|| panic!("nobody reached {text}: {report:#}"))[2]
        .as_u64()
        .unwrap();
    report["patterns"][usize::try_from(number).unwrap()].clone()
}

#[test]
fn which_ranks_reached_a_line_is_told_over_nodes_and_steps() {
    let project = project(
        r#"
[[test]]
name = "grows"
command = "build/ranks"
matrix = { ranks = [3, 9] }
nodes = 3
retries = 3
"#,
    );
    let run = project.run(&["--tests-only"]).exits_with(0);
    let odd = pattern(&run, "only rank 1");
    assert_eq!(
        odd["kinds"],
        json!(["some_ranks", "never_rank_0"]),
        "{odd:#}"
    );
    let reached =
        |sample: u32, rank: u32| json!({"sample": sample, "ranks": 1, "first": rank, "last": rank});
    assert_eq!(odd["reached"], json!([reached(0, 1), reached(1, 1)]));
    let first = pattern(&run, "only rank 0");
    assert_eq!(first["kinds"], json!(["some_ranks", "only_rank_0"]));
    assert_eq!(first["reached"], json!([reached(0, 0), reached(1, 0)]));
    let wide = pattern(&run, "eight ranks");
    assert_eq!(wide["kinds"], json!(["all_ranks", "only_above"]));
    assert_eq!(wide["only_above"], 3);
    assert_eq!(
        wide["reached"],
        json!([{"sample": 1, "ranks": 9, "first": 0, "last": 8}])
    );
    for (said, text) in [
        ("lines that only rank 0 reached", "only rank 0"),
        ("lines that rank 0 never reached", "only rank 1"),
        ("lines that need more ranks", "eight ranks"),
    ] {
        let (_, below) = run
            .err
            .split_once(said)
            .unwrap_or_else(|| panic!("{}", run.err));
        let place = below.lines().nth(1).unwrap();
        let (first, last) = lines_of(place.trim());
        assert!((first..=last).contains(&line(RANKS, text)), "{place}");
    }
}

/// First and last line of `FILE:FIRST[-LAST]`, whatever follows.
fn lines_of(place: &str) -> (u64, u64) {
    let lines = place.split(' ').next().unwrap().rsplit(':').next().unwrap();
    let (first, last) = lines.split_once('-').unwrap_or((lines, lines));
    (first.parse().unwrap(), last.parse().unwrap())
}

/// Waits until all ranks of the only step have said that they started.
fn all_started(project: &Project, ranks: usize) {
    for _ in 0..600 {
        let runs = below(&project.dir.join("hpc-ci/runs")).into_iter();
        let steps = runs.flat_map(|run| below(&run.join("steps")));
        let starts = steps.flat_map(|step| below(&step));
        if starts.flat_map(|start| below(&start.join("ranks"))).count() == ranks {
            // What they do first shall be counted.
            std::thread::sleep(Duration::from_secs(2));
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("the ranks did not start");
}

#[test]
fn a_node_that_dies_takes_its_own_ranks_along_and_no_others() {
    let cluster = OwnCluster::start(6, "");
    let project = ranks(
        Project::on(&cluster),
        r#"
[[test]]
name = "loses a node"
command = "build/ranks sleep"
ranks = 4
nodes = 2
ranks_per_node = 2
max_pending = "5s"
"#,
    );
    let child = project.start(&["--tests-only"]);
    all_started(&project, 4);
    cluster.node("kill", "2");
    let output = child.wait_with_output().unwrap();
    let run = Ended::of(&project.dir, &output).exits_with(3);
    let step = "loses a node";
    // It was tried again, for which one node does not suffice.
    assert_eq!(run.outcome(step).0, "starved", "{}", run.err);
    assert_eq!(ledger_of(&run, step)["attempt"], 1);
    assert_eq!(
        ledger(&run, step),
        groups([("partial", "0-1"), ("absent", "2-3")])
    );
    let problems = &ledger_of(&run, step)["problems"];
    let why = "ranks 2-3: it was on the disk of n2, which left no result";
    assert_eq!(problems[0]["message"], why, "{problems:#}");
    assert!(
        run.err
            .contains("coverage is from 2 of 4 ranks (2 partial, 2 absent)"),
        "{}",
        run.err
    );
    let hits = run.line_hits("ranks.c");
    let barrier = u32::try_from(line(RANKS, "MPI_Barrier")).unwrap();
    assert!(hits.contains(&(barrier, 2)), "{hits:?}");
    nothing_is_left_on(&["1"], &project, &cluster.environment());
}
