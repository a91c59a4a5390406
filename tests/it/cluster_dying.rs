//! Ranks that die on the dev cluster keep the coverage of all.

use crate::support::{DIES, Ended, Home, KEPT_BY_ALL, KEPT_BY_RANK_1, Project};

fn project(keeping: &str) -> Project {
    let project = Project::new(Home::Cluster);
    project.file("src/dies.c", DIES);
    project.file(
        "hpc.toml",
        &format!(
            r#"
[environment]
variables = {{ OMPI_CC = "clang-22" }}
[build.tests]
command = "mkdir -p build && mpicc.openmpi -g -o build/dies src/dies.c"
coverage = "llvm"
[coverage]
dying_ranks = "{keeping}"
[[test]]
name = "srun"
command = "build/dies {{way}}"
matrix = {{ way = ["segv", "abort", "kill"] }}
ranks = 4
nodes = 2
time = "1m"
[[test]]
name = "too slow"
command = "build/dies sleep"
ranks = 4
nodes = 2
time = "5s"
[[test]]
name = "memory"
command = "build/dies memory"
ranks = 2
memory = "256MiB"
time = "1m"
[[test]]
name = "mpiexec"
command = "build/dies {{way}}"
matrix = {{ way = ["segv", "sleep"] }}
ranks = 4
nodes = 2
time = "10s"
launcher = "mpiexec"
"#
        ),
    );
    project.commit();
    project
}

#[track_caller]
fn hits(run: &Ended, line: u32) -> u64 {
    let lines = run.line_hits("src/dies.c");
    let found = lines.iter().find(|(number, _)| *number == line);
    found
        .unwrap_or_else(|| panic!("no line {line} in {lines:?}"))
        .1
}

fn all_ranks_keep_their_counters(keeping: &str, way: &str) {
    let project = project(keeping);
    let run = project.run(&["--tests-only"]).exits_with(1);
    for (step, outcome) in [
        ("srun[way=segv]", "signal"),
        ("srun[way=abort]", "failed"),
        ("srun[way=kill]", "signal"),
        ("too slow", "timeout"),
        ("memory", "out_of_memory"),
        ("mpiexec[way=sleep]", "timeout"),
    ] {
        assert_eq!(run.outcome(step).0, outcome, "{step}: {}", run.err);
    }
    let meta = run.json("artifacts/meta.json");
    let ranks = &meta["runs"][0]["ranks"];
    assert_eq!(ranks["used"], 26, "{ranks:#}");
    assert_eq!(hits(&run, KEPT_BY_ALL), 26, "{ranks:#}");
    assert_eq!(hits(&run, KEPT_BY_RANK_1), 7, "{ranks:#}");
    assert_eq!(meta["runs"][0]["dying_ranks"][0]["way"], way, "{meta:#}");
}

#[test]
fn by_itself_all_ranks_keep_their_counters() {
    all_ranks_keep_their_counters("auto", "preload");
}

#[test]
fn in_continuous_mode_all_ranks_keep_their_counters() {
    all_ranks_keep_their_counters("continuous", "continuous");
}
