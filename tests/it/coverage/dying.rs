//! Ranks that die, and what of their coverage is kept in each way.

use super::hits;
use crate::local::{project, run};
use crate::support::{DIES, Ended, KEPT_BY_ALL, KEPT_BY_RANK_1, Project};

fn c_project(keeping: &str, steps: &str) -> Project {
    let project = project(&format!(
        r#"
[environment]
variables = {{ OMPI_CC = "clang-22" }}
[build.tests]
command = "mkdir -p build && mpicc.openmpi -g -O1 -o build/dies src/dies.c"
coverage = "llvm"
[coverage]
dying_ranks = "{keeping}"
{steps}
"#
    ));
    project.file("src/dies.c", DIES);
    project.commit();
    project
}

#[track_caller]
fn ledger(run: &Ended, step: &str) -> Vec<(String, String)> {
    let meta = run.json("artifacts/meta.json");
    let steps = meta["runs"][0]["ranks"]["steps"].as_array().unwrap();
    let own = steps.iter().find(|it| it["step"] == step).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    own["ranks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|group| (text(&group["state"]), text(&group["ranks"])))
        .collect()
}

/// Each way to die takes one step of two ranks; rank 1 goes first.
const WAYS: &str = r#"
[[test]]
name = "{way}"
command = "build/dies {way}"
matrix = { way = ["segv", "abort", "kill", "quit", "sleep"] }
ranks = 2
time = "5s"
"#;

fn every_death_keeps_the_counters(keeping: &str, way: &str) {
    let project = c_project(keeping, &WAYS.replace("\"{way}\"", "\"dies\""));
    let done = run(&project, &[]).exits_with(1);
    let lines = done.line_hits("src/dies.c");
    assert_eq!(hits(&lines, KEPT_BY_ALL), 10, "{}", done.err);
    assert_eq!(hits(&lines, KEPT_BY_RANK_1), 5, "{}", done.err);
    let meta = done.json("artifacts/meta.json");
    assert_eq!(meta["runs"][0]["dying_ranks"][0]["way"], way, "{meta:#}");
    assert_eq!(meta["runs"][0]["ranks"]["used"], 10, "{meta:#}");
    let partial = |ranks: &str| vec![("partial".to_owned(), ranks.to_owned())];
    assert_eq!(ledger(&done, "dies[way=kill]"), partial("0-1"));
    assert_eq!(ledger(&done, "dies[way=sleep]"), partial("0-1"));
}

#[test]
fn by_itself_every_death_keeps_the_counters() {
    every_death_keeps_the_counters("auto", "preload");
}

#[test]
fn in_continuous_mode_every_death_keeps_the_counters() {
    every_death_keeps_the_counters("continuous", "continuous");
}

#[test]
fn switched_off_a_death_takes_the_counters_along() {
    let steps = "[[test]]\nname = \"dies\"\ncommand = \"build/dies kill\"\nranks = 2\n";
    let project = c_project("off", steps);
    let done = run(&project, &[]).exits_with(1);
    let meta = done.json("artifacts/meta.json");
    assert_eq!(meta["runs"][0]["dying_ranks"][0]["way"], "off");
    assert_eq!(ledger(&done, "dies"), [("empty".into(), "0-1".into())]);
}

fn tracefile(keeping: &str, way: &str) -> String {
    let step = format!("[[test]]\nname = \"lives\"\ncommand = \"build/dies {way}\"\nranks = 2\n");
    let project = c_project(keeping, &step);
    let done = run(&project, &[]).exits_with(0);
    done.text("artifacts/coverage/lcov.info")
}

#[test]
fn the_tracefile_of_those_that_live_is_the_same_in_every_way() {
    let off = tracefile("off", "live");
    assert!(off.contains("SF:src/dies.c"), "{off}");
    assert_eq!(tracefile("preload", "live"), off);
    assert_eq!(tracefile("continuous", "live"), off);
}

/// In continuous mode parent and child count in one file, so there the sum is another.
#[test]
fn the_library_gives_a_forked_child_memory_of_its_own() {
    assert_eq!(tracefile("preload", "fork"), tracefile("off", "fork"));
}

/// One file that was not built for continuous mode would count nothing in it, and nobody would say so.
#[test]
fn continuous_mode_is_for_programs_that_are_built_for_it_whole() {
    let project = project(
        r#"
[build.tests]
command = "env -u CCC_OVERRIDE_OPTIONS clang-22 -g -fprofile-instr-generate -fcoverage-mapping -c src/part.c -o part.o && clang-22 -g -o whole src/whole.c part.o"
coverage = "llvm"
[coverage]
dying_ranks = "continuous"
[[test]]
name = "dies"
command = "./whole"
"#,
    );
    project.file("src/part.c", "int part(int n) {\n    return n + 1;\n}\n");
    project.file(
        "src/whole.c",
        "#include <signal.h>\nint part(int);\nint main(void) {\n    part(1);\n    return raise(SIGKILL);\n}\n",
    );
    project.commit();
    let done = run(&project, &[]).exits_with(1);
    assert_eq!(hits(&done.line_hits("src/part.c"), 2), 1);
    assert_eq!(hits(&done.line_hits("src/whole.c"), 4), 1);
    let meta = done.json("artifacts/meta.json");
    let record = &meta["runs"][0]["dying_ranks"][0];
    assert_eq!(record["way"], "preload", "{record:#}");
    assert!(
        done.err
            .contains("`part.o` was not built for continuous mode"),
        "{}",
        done.err
    );
    assert!(record["continuous_cost_percent"].is_number(), "{record:#}");
}

fn rust_project(keeping: &str) -> Project {
    let project = project(&format!(
        r#"
[build.tests]
command = "cargo build --offline"
coverage = "llvm"
[coverage]
dying_ranks = "{keeping}"
[[test]]
name = "dies"
command = "target/debug/dies"
ranks = 2
"#
    ));
    project.file(
        "Cargo.toml",
        "[package]\nname = \"dies\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[workspace]\n",
    );
    project.file(
        "src/main.rs",
        "fn doubled(n: u32) -> u32 {\n    n * 2\n}\nfn main() {\n    doubled(3);\n    std::process::abort();\n}\n",
    );
    project.commit();
    project
}

#[test]
fn programs_of_cargo_keep_their_counters_too() {
    for keeping in ["preload", "continuous"] {
        let project = rust_project(keeping);
        let done = run(&project, &[]).exits_with(1);
        let lines = done.line_hits("src/main.rs");
        assert_eq!(hits(&lines, 2), 2, "{keeping}: {}", done.err);
        let meta = done.json("artifacts/meta.json");
        assert_eq!(meta["runs"][0]["dying_ranks"][0]["way"], keeping);
    }
}

/// Its exit handlers run after the runtime wrote: what it wrote must not be counted again.
#[test]
fn a_death_on_the_way_out_and_a_replaced_program_count_once() {
    let project = project(
        r#"
[build.tests]
command = "clang-22 -g -o leaves src/leaves.c"
coverage = "llvm"
[[test]]
name = "dies on the way out"
command = ["./leaves", "crash"]
expect = "fail"
[[test]]
name = "is replaced"
command = ["./leaves", "replace"]
"#,
    );
    project.file(
        "src/leaves.c",
        r#"#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static void crash(void) {
    abort();
}
__attribute__((constructor(101))) static void first(int argc, char **argv) {
    if (argc > 1 && !strcmp(argv[1], "crash"))
        atexit(crash);
}
int main(int argc, char **argv) {
    if (argc > 1 && !strcmp(argv[1], "replace"))
        execl(argv[0], argv[0], "again", NULL);
    return 0;
}
"#,
    );
    project.commit();
    let done = run(&project, &[]).exits_with(0);
    let lines = done.line_hits("src/leaves.c");
    // Once each: dies on the way out, is replaced, takes its place.
    assert_eq!(hits(&lines, 11), 3, "{lines:?} {}", done.err);
    assert_eq!(hits(&lines, 13), 1, "{lines:?}");
}

/// The library keeps out of what has no counters, minds its own signals, or brings a library of its own.
#[test]
fn other_programs_are_left_as_they_are() {
    let project = project(
        r#"
[build.tests]
command = "clang-22 -g -o minds src/minds.c && clang-22 -g -static -o static src/minds.c && env -u CCC_OVERRIDE_OPTIONS cc -shared -fPIC -o own.so src/own.c"
coverage = "llvm"
[[test]]
name = "minds its signal"
command = "./minds"
[[test]]
name = "static"
command = "./static"
[[test]]
name = "python"
command = ["python3", "-c", "import os, signal; os.kill(os.getpid(), signal.SIGTERM)"]
expect = "fail"
[[test]]
name = "own library"
command = "./minds && test \"$LD_PRELOAD\" != \"$PWD/own.so\" && case $LD_PRELOAD in *:$PWD/own.so) ;; *) exit 1 ;; esac"
environment = { setup = "export LD_PRELOAD=$PWD/own.so" }
[[test]]
name = "under a harness"
launcher = "none"
command = "$HPC_CI_LAUNCH ./minds"
ranks = 2
"#,
    );
    project.file("src/own.c", "int own_library = 1;\n");
    project.file(
        "src/minds.c",
        r"#include <signal.h>
static volatile sig_atomic_t asked;
static void note(int number) {
    asked = number;
}
int main(void) {
    signal(SIGTERM, note);
    raise(SIGTERM);
    return asked == SIGTERM ? 0 : 1;
}
",
    );
    project.commit();
    let done = run(&project, &[]).exits_with(0);
    assert_eq!(
        done.outcome("python").0,
        "passed",
        "{:#}",
        done.step("python")
    );
    // Two programs, run five times in all.
    assert_eq!(hits(&done.line_hits("src/minds.c"), 4), 5, "{}", done.err);
    assert!(
        done.err.contains("`static` is linked statically"),
        "{}",
        done.err
    );
}

/// Nobody knows of the ranks that a harness starts past the wrapper, so that none of them is said to be lost.
#[test]
fn ranks_that_nobody_knows_are_not_said_to_be_absent() {
    let project = project(
        r#"
[build.tests]
command = "clang-22 -g -o alone src/alone.c"
coverage = "llvm"
[[test]]
name = "harness"
launcher = "none"
command = "./alone && ./alone"
ranks = 4
"#,
    );
    project.file("src/alone.c", "int main(void) {\n    return 0;\n}\n");
    project.commit();
    let done = run(&project, &[]).exits_with(0);
    assert_eq!(hits(&done.line_hits("src/alone.c"), 2), 2, "{}", done.err);
    assert!(!done.err.contains("ranks ("), "{}", done.err);
    let meta = done.json("artifacts/meta.json");
    assert!(meta["runs"][0]["ranks"].is_null(), "{meta:#}");
}
