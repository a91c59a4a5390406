//! `coverage = "llvm"`: instrumentation from outside, the sum of all ranks, and where no coverage can be had.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::{c_project, hits};
use crate::local::{project, run};
use crate::support::{Ended, Home, Project};

/// Runs a program to its end and returns what it printed.
#[track_caller]
fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The files below a folder with this ending.
fn below(dir: &Path, ending: &str) -> Vec<PathBuf> {
    let text = output(
        Command::new("find")
            .arg(dir)
            .args(["-name", &format!("*{ending}")]),
    );
    let mut found: Vec<PathBuf> = text.lines().map(PathBuf::from).collect();
    found.sort_unstable();
    found
}

/// What LLVM's programs say of all profiles that the run kept and all objects that it lists, and how many of each there
/// are. Paths lose the tree's own; files outside it and those of which `left_out` holds are dropped.
#[track_caller]
fn truth(project: &Project, run: &Ended, left_out: fn(&str) -> bool) -> (String, usize, usize) {
    let id = run.json("artifacts/meta.json")["runs"][0]["run"].clone();
    let id = id.as_str().unwrap();
    let home = project.dir.join("hpc-ci");
    let profiles = below(&home.join("runs").join(id).join("steps"), ".profraw");
    let sum = project.dir.join("truth.profdata");
    output(
        Command::new("llvm-profdata-22")
            .args(["merge", "-sparse", "-o"])
            .arg(&sum)
            .args(&profiles),
    );
    let trees = home.join("trees").join(id);
    let listed = run.json("artifacts/coverage/objects.json");
    let objects = listed["objects"].as_array().unwrap();
    let mut export = Command::new("llvm-cov-22");
    export
        .args(["export", "-format=lcov", "-instr-profile"])
        .arg(&sum);
    for object in objects {
        let tree = trees.join(object["build"].as_str().unwrap());
        export
            .arg("-object")
            .arg(tree.join(object["path"].as_str().unwrap()));
    }
    let said = output(&mut export);
    let mut text = String::new();
    for section in said.split_inclusive("end_of_record\n") {
        let (first, rest) = section.split_once('\n').unwrap();
        let path = Path::new(first.strip_prefix("SF:").unwrap());
        let Ok(inside) = path.strip_prefix(&trees) else {
            continue;
        };
        let name: PathBuf = inside.components().skip(1).collect();
        let name = name.to_str().unwrap();
        if !left_out(name) {
            text.extend(["SF:", name, "\n", rest]);
        }
    }
    (text, profiles.len(), objects.len())
}

/// The lines of a tracefile, so that a difference is shown by its line.
fn lines(tracefile: &str) -> Vec<&str> {
    tracefile.lines().collect()
}

#[test]
fn the_sum_of_all_ranks_of_a_c_program_is_what_llvm_says() {
    let project = c_project(
        r#"
[environment]
variables = { OMPI_CC = "clang-22", MPICH_CC = "clang-22" }
[build.tests]
command = "mkdir -p build && mpicc.openmpi -g -o build/ranks src/ranks.c && mpicc.mpich -O1 -o build/ranks-mpich src/ranks.c src/generated/more.c && clang-22 -shared -fPIC -o build/libidle.so src/idle.c"
coverage = "llvm"
[coverage]
exclude = ["**/generated/**"]
keep_profiles = "always"
[[test]]
name = "openmpi"
command = "build/ranks"
ranks = 3
[[test]]
name = "mpich"
command = ["build/ranks-mpich"]
ranks = 4
[[test]]
name = "fails too"
command = "build/ranks fail"
ranks = 2
expect = "fail"
[[test]]
name = "at last"
command = 'build/ranks && test $HPC_CI_ATTEMPT = 2'
ranks = 2
retries = 1
"#,
    );
    project.file(
        "src/generated/more.c",
        "int more(void) {\n    return 1;\n}\n",
    );
    project.file("src/idle.c", "int idle(void) {\n    return 1;\n}\n");
    project.commit();
    let run = run(&project, &["openmpi", "mpich", "fails too"]).exits_with(0);
    let (truth, profiles, objects) = truth(&project, &run, |name| name.contains("generated/"));
    assert_eq!((profiles, objects), (3 + 4 + 2, 3));
    let ours = run.text("artifacts/coverage/lcov.info");
    assert_eq!(lines(&ours), lines(&truth));

    // Two of three ranks, three of four, one of two are above 0.
    let lines = run.line_hits("src/ranks.c");
    assert_eq!(hits(&lines, 7), 2 + 3 + 1);
    assert_eq!(hits(&lines, 10), 0);
    // A library that no process loaded is unhit code all the same.
    assert_eq!(run.line_hits("src/idle.c"), [(1, 0), (2, 0), (3, 0)]);
    let coverage = &run.json("hpc-results.json")["coverage"];
    let summary = run.json("artifacts/coverage/summary.json");
    assert_eq!(coverage["covered_lines"], summary["lines"]["covered"]);
    let counted = truth.lines().filter(|line| line.starts_with("DA:"));
    assert_eq!(coverage["total_lines"], counted.count());
    assert_eq!(
        run.json("artifacts/meta.json")["runs"][0]["ranks"]["used"],
        3 + 4 + 2
    );

    // Only the attempt that counts is counted.
    let run = super::super::local::run(&project, &["at last"]).exits_with(0);
    assert_eq!(run.step("at last")["flaky"], true);
    assert_eq!(hits(&run.line_hits("src/ranks.c"), 7), 1);
}

/// The flags of a project's own stay in force beside the instrumentation.
const CARGO: &[(&str, &str)] = &[
    (
        "Cargo.toml",
        "[package]\nname = \"ranks\"\nversion = \"1.0.0\"\nedition = \"2021\"\nbuild = \"build.rs\"\n\
         [lints.rust]\nunexpected_cfgs = \"allow\"\n[features]\nrma = []\n",
    ),
    (
        "Cargo.lock",
        "version = 3\n[[package]]\nname = \"ranks\"\nversion = \"1.0.0\"\n",
    ),
    (
        ".cargo/config.toml",
        "[build]\nrustflags = [\"--cfg\", \"marker\"]\n",
    ),
    (
        "build.rs",
        "fn main() {\n    println!(\"cargo::rerun-if-changed=build.rs\");\n}\n",
    ),
    (
        "src/lib.rs",
        r#"#[cfg(not(marker))]
compile_error!("the project's own flags are gone");

pub fn above_zero<T: Into<u64>>(rank: T) -> u64 {
    rank.into() * 2
}

pub fn only_tested(n: u32) -> u32 {
    if n > 3 { n } else { 3 }
}

#[cfg(feature = "rma")]
pub fn rma() -> bool {
    true
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_is_tested() {
        assert_eq!(super::only_tested(7), 7);
        assert!(cfg!(marker));
    }
}
"#,
    ),
    (
        "src/main.rs",
        r#"fn main() {
    let rank: u32 = std::env::var("HPC_CI_RANK").unwrap().parse().unwrap();
    if rank > 0 {
        println!("{}", ranks::above_zero(rank));
    }
    #[cfg(feature = "rma")]
    assert!(ranks::rma());
}
"#,
    ),
];

#[test]
fn a_cargo_project_is_covered_with_its_own_flags_in_force() {
    let project = project(
        r#"
[build.tests]
command = "cargo build --offline --locked --features='{features}'"
coverage = "llvm"
[coverage]
include = ["src/**"]
keep_profiles = "always"
[[test]]
name = "ranks"
command = "target/debug/ranks"
matrix = { ranks = [2, 3] }
[[test]]
name = "rma"
command = "target/debug/ranks"
ranks = 2
matrix = { features = ["rma"] }
[[test]]
name = "unit"
command = "cargo test --offline --lib"
launcher = "none"
"#,
    );
    for (path, text) in CARGO {
        project.file(path, text);
    }
    project.commit();
    let one_tree = run(&project, &["ranks", "unit"]).exits_with(0);
    let (truth, profiles, objects) = truth(&project, &one_tree, |name| !name.starts_with("src/"));
    // Two runs of the program, and the unit tests.
    assert_eq!((profiles, objects), (2 + 3 + 1, 2));
    let ours = one_tree.text("artifacts/coverage/lcov.info");
    assert_eq!(lines(&ours), lines(&truth));
    let lib = one_tree.line_hits("src/lib.rs");
    assert_eq!(hits(&lib, 5), 1 + 2);
    assert_eq!(hits(&lib, 9), 1, "`cargo test` as a step is covered too");

    // The other feature set has a tree of its own, and the same sources.
    let both = run(&project, &[]).exits_with(0);
    let lib = both.line_hits("src/lib.rs");
    assert_eq!((hits(&lib, 5), hits(&lib, 14)), (1 + 2 + 1, 2));
    assert_eq!(hits(&both.line_hits("src/main.rs"), 2), 2 + 3 + 2);
}

#[test]
fn a_build_that_ignores_cflags_is_instrumented() {
    let project = c_project(
        r#"
[environment]
variables = { OMPI_CC = "clang-22" }
[build.tests]
command = "make"
coverage = "llvm"
[[test]]
name = "ranks"
command = "build/ranks"
ranks = 2
"#,
    );
    project.file(
        "Makefile",
        "CC := mpicc.openmpi\nCFLAGS := -O2 -Wall -Werror\nbuild/ranks: build/ranks.o\n\t$(CC) -o $@ $<\n\
         build/ranks.o: src/ranks.c\n\tmkdir -p build\n\t$(CC) $(CFLAGS) -c -o $@ $<\n",
    );
    project.commit();
    let run = run(&project, &[]).exits_with(0);
    assert_eq!(hits(&run.line_hits("src/ranks.c"), 7), 1);
    assert_eq!(hits(&run.line_hits("src/twice.h"), 2), 1);
    // Profiles are by far the largest part of a run: by default they go.
    assert_eq!(
        below(&project.dir.join("hpc-ci"), ".profraw"),
        Vec::<PathBuf>::new()
    );
}

#[test]
fn a_program_of_gcc_is_told_what_to_set() {
    let project = c_project(
        r#"
[build.tests]
command = "mkdir -p build && mpicc.openmpi -o build/ranks src/ranks.c"
coverage = "llvm"
[[test]]
name = "ranks"
command = "build/ranks"
ranks = 2
"#,
    );
    let mut command = crate::local::here(&project, &["--scheduler", "local"]);
    let output = command.env_remove("OMPI_CC").output().unwrap();
    let run = Ended::of(&project.dir, &output).exits_with(3);
    assert_eq!(run.outcome("ranks"), ("not_run".into(), "not_run".into()));
    for part in ["coverage = \"llvm\"", "build/ranks", "GCC", "OMPI_CC"] {
        assert!(run.err.contains(part), "no {part} in {}", run.err);
    }
    assert_eq!(run.json("hpc-results.json")["coverage"], Value::Null);
    super::super::local::run(&project, &["--no-coverage"]).exits_with(0);
}

#[test]
fn benchmarks_are_never_instrumented() {
    let benchmark = r#"
[build.tests]
command = "mkdir -p build && clang-22 COVERAGE -o build/solver src/solver.c"
coverage = "llvm"
[[benchmark]]
name = "solver"
command = "build/solver"
repetitions = 1
warmup = 0
metric = { pattern = 'time: (\d+) ms', unit = "ms" }
"#;
    let solver = "#include <stdio.h>\nint main(void) {\n  return puts(\"time: 3 ms\") < 0;\n}\n";
    let plain = project(&benchmark.replace("COVERAGE", ""));
    plain.file("src/solver.c", solver);
    plain.commit();
    let done = run(&plain, &[]).exits_with(0);
    let figures = done.json("artifacts/benchmarks/summary.json");
    assert_eq!(figures["benchmarks"]["solver"]["median"], 3.0);
    assert_eq!(done.json("hpc-results.json")["coverage"], Value::Null);

    let own_flags = "-fprofile-instr-generate -fcoverage-mapping";
    let slowed = project(&benchmark.replace("COVERAGE", own_flags));
    slowed.file("src/solver.c", solver);
    slowed.commit();
    let done = run(&slowed, &[]).exits_with(3);
    assert!(done.err.contains("is instrumented"), "{}", done.err);
    assert_eq!(
        done.json("artifacts/benchmarks/summary.json")["benchmarks"]["solver"]["median"],
        Value::Null
    );
}

#[test]
fn the_ledger_tells_whose_profile_is_missing() {
    let project = c_project(
        r#"
[environment]
variables = { OMPI_CC = "clang-22" }
[build.tests]
command = "mkdir -p build && clang-22 -o build/ends ends.c"
coverage = "llvm"
[coverage]
dying_ranks = "off"
[[test]]
name = "one is killed"
command = '''
if [ $HPC_CI_RANK = 1 ]; then
  until [ -e "$HPC_CI_STEP_DIR/done0" ] && [ -e "$HPC_CI_STEP_DIR/done2" ]; do sleep 0.1; done
  exec build/ends kill
fi
build/ends && touch "$HPC_CI_STEP_DIR/done$HPC_CI_RANK"
'''
ranks = 3
"#,
    );
    project.file(
        "ends.c",
        "#include <signal.h>\nint main(int argc, char **argv) {\n  if (argc > 1)\n    raise(SIGKILL);\n  return 0;\n}\n",
    );
    project.commit();
    let run = run(&project, &[]).exits_with(1);
    assert_eq!(run.outcome("one is killed").0, "signal");
    let ranks = &run.json("artifacts/meta.json")["runs"][0]["ranks"];
    assert_eq!(
        (&ranks["expected"], &ranks["used"]),
        (&json!(3), &json!(2)),
        "{ranks:#}"
    );
    let groups = &ranks["steps"][0]["ranks"];
    assert_eq!(
        *groups,
        json!([
            {"state": "whole", "count": 2, "ranks": "0,2"},
            {"state": "empty", "count": 1, "ranks": "1"}
        ]),
    );
    assert!(run.err.contains("2 of 3 ranks"), "{}", run.err);
    // What the others wrote is there.
    assert_eq!(hits(&run.line_hits("ends.c"), 5), 2);
}

#[test]
fn a_run_without_a_profile_is_no_proof() {
    let project = c_project(
        r#"
[environment]
variables = { OMPI_CC = "clang-22" }
[build.tests]
command = "mkdir -p build && mpicc.openmpi -o build/ranks src/ranks.c"
coverage = "llvm"
[coverage]
exclude = ["src/**"]
[[test]]
name = "ranks"
command = "build/ranks"
[[test]]
name = "says nothing"
command = "env LLVM_PROFILE_FILE=/dev/null build/ranks"
"#,
    );
    let none = run(&project, &["says nothing"]).exits_with(3);
    assert!(none.err.contains("profile"), "{}", none.err);
    assert_eq!(none.json("hpc-results.json")["coverage"], Value::Null);
    assert_eq!(none.outcome("says nothing").0, "passed");
    let excluded = run(&project, &["ranks"]).exits_with(3);
    assert!(excluded.err.contains("excluded"), "{}", excluded.err);
}

/// Two feature sets are two trees with the same functions in them; the counts of one must not stand in both.
#[test]
fn the_trees_of_two_feature_sets_do_not_count_each_other() {
    let project = Project::new(Home::Here);
    project.file(
        "p.c",
        "int called(int x) {\n    return x + 1;\n}\nint main(void) {\n    return called(0) - 1;\n}\n",
    );
    project.file(
        "hpc.toml",
        r#"
[build.tests]
command = "clang-22 -g -o p p.c"
coverage = "llvm"
[[test]]
name = "p"
command = "./p"
matrix = { features = ["", "more"] }
"#,
    );
    project.commit();
    for engine in ["native", "llvm-tools"] {
        let text = std::fs::read_to_string(project.dir.join("hpc.toml")).unwrap();
        let text = text.split("[coverage]").next().unwrap().to_owned();
        project.file(
            "hpc.toml",
            &format!("{text}[coverage]\nengine = \"{engine}\"\n"),
        );
        project.commit();
        let run = project.run(&["--scheduler", "local"]).exits_with(0);
        assert_eq!(run.line_hits("p.c")[0], (1, 2), "{engine}");
        let objects = run.json("artifacts/coverage/objects.json")["objects"].clone();
        let counted = objects.as_array().unwrap().iter().map(|it| &it["profiles"]);
        let known = if engine == "native" {
            json!(1)
        } else {
            Value::Null
        };
        assert_eq!(counted.collect::<Vec<_>>(), [&known, &known], "{objects:#}");
    }
}
