//! `init`: what it writes for real projects is read, planned and run. The cluster's part is in `cluster_init.rs`.

use std::path::Path;
use std::process::Command;

use crate::doctor::{MPI, SLURM, path_without};
use crate::local::here;
use crate::support::{Ended, Home, Project};

/// The sample project as a repository of its own, without its settings.
pub(crate) fn heat(home: Home) -> Project {
    let project = Project::new(home);
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/heat/.");
    let done = Command::new("cp")
        .arg("-r")
        .arg(from)
        .arg(&project.dir)
        .status();
    assert!(done.unwrap().success());
    std::fs::remove_file(project.dir.join("hpc.toml")).unwrap();
    project.commit();
    project
}

/// A committed project of these files.
fn made_of(files: &[(&str, &str)]) -> Project {
    let project = Project::new(Home::Here);
    for (path, text) in files {
        project.file(path, text);
    }
    project.commit();
    project
}

/// Runs hpc-ci on a machine without Slurm.
fn without_slurm(project: &Project, arguments: &[&str]) -> Ended {
    let path = path_without(project, SLURM);
    let mut command = here(project, arguments);
    command.env("PATH", path);
    Ended::of(&project.dir, &command.output().unwrap())
}

fn settings(project: &Project) -> String {
    std::fs::read_to_string(project.dir.join("hpc.toml")).unwrap()
}

fn there(program: &str, arguments: &[&str]) -> bool {
    let asked = Command::new(program).args(arguments).output();
    asked.is_ok_and(|output| output.status.success())
}

#[test]
fn the_sample_project_runs_with_what_is_written_for_it() {
    let project = heat(Home::Here);
    let init = without_slurm(&project, &["init"]).exits_with(0);
    for said in [
        "found    a make project with MPI (Makefile): 3 tests",
        "guessed  2 ranks for `halo`, `conservation`",
        "next     hpc-ci doctor",
        "wrote    hpc.toml",
    ] {
        assert!(init.err.contains(said), "{said}\n{}", init.err);
    }
    assert!(init.out.is_empty(), "{}", init.out);
    let plan = without_slurm(&project, &["plan", "--list"]).exits_with(0);
    assert_eq!(plan.out, "unit\nhalo\nconservation\n");
    without_slurm(&project, &["doctor"]).exits_with(0);
    let run = without_slurm(&project, &[]).exits_with(0);
    assert_eq!(run.outcome("halo").0, "passed");
    let hits = run.line_hits("src/strip.c");
    assert!(hits.iter().any(|(_, hits)| *hits > 0), "{hits:?}");
}

#[test]
fn a_file_that_is_there_is_replaced_only_by_force() {
    let project = made_of(&[("Makefile", "check:\n\ttrue\n")]);
    let below = project.dir.join("src/deep");
    std::fs::create_dir_all(&below).unwrap();
    let path = path_without(&project, SLURM);
    let mut command = here(&project, &["init"]);
    let output = command
        .env("PATH", path)
        .current_dir(below)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let written = settings(&project);
    let again = without_slurm(&project, &["init"]).exits_with(0);
    assert!(
        again
            .err
            .contains("kept     hpc.toml: it says the same already"),
        "{}",
        again.err
    );

    project.file("hpc.toml", "mine = 1\n");
    let refused = without_slurm(&project, &["init"]).exits_with(2);
    assert!(
        refused.err.contains("is there already, and differs"),
        "{}",
        refused.err
    );
    assert!(
        refused.err.contains("`--force` replaces the file"),
        "{}",
        refused.err
    );
    let shown = without_slurm(&project, &["init", "--stdout"]).exits_with(0);
    assert_eq!(shown.out, written);
    assert_eq!(settings(&project), "mine = 1\n");
    without_slurm(&project, &["init", "--force"]).exits_with(0);
    assert_eq!(settings(&project), written);
}

#[test]
fn files_for_ci_come_with_settings_and_leave_those_that_are_there() {
    let project = made_of(&[("Makefile", "check:\n\ttrue\n")]);
    let both = without_slurm(&project, &["init", "--ci", "cron"]).exits_with(0);
    assert!(
        both.err.contains("wrote    hpc.toml") && both.err.contains("wrote    ci/nightly"),
        "{}",
        both.err
    );
    project.file("hpc.toml", "mine = 1\n");
    without_slurm(&project, &["init", "--ci", "gitlab"]).exits_with(0);
    assert_eq!(settings(&project), "mine = 1\n");
}

#[test]
fn modules_that_are_loaded_are_written_if_they_load_anew() {
    let project = made_of(&[("Makefile", "check:\n\ttrue\n")]);
    let modules = project.dir.with_file_name("modulefiles");
    std::fs::create_dir_all(&modules).unwrap();
    std::fs::write(
        modules.join("good"),
        "#%Module1.0\nprepend-path PATH /opt/good/bin\n",
    )
    .unwrap();
    let path = path_without(&project, SLURM);
    let mut command = here(&project, &["init"]);
    command
        .env("PATH", path)
        .env("MODULEPATH", &modules)
        .env("LOADEDMODULES", "good:absent");
    let ended = Ended::of(&project.dir, &command.output().unwrap()).exits_with(0);
    let text = settings(&project);
    // What counts as loaded needs no file of its own any more.
    assert!(
        text.contains("modules = [\"good\""),
        "{text}\n{}",
        ended.err
    );
}

#[test]
fn a_machine_without_mpi_or_clang_is_told_what_it_lacks() {
    let project = heat(Home::Here);
    let path = path_without(&project, &[SLURM, MPI, &["clang"]].concat());
    let mut command = here(&project, &["init"]);
    let ended = Ended::of(&project.dir, &command.env("PATH", path).output().unwrap()).exits_with(0);
    assert!(
        ended.err.contains("missing  an MPI: no mpicc"),
        "{}",
        ended.err
    );
    assert!(
        ended
            .err
            .contains("missing  coverage: Coverage needs clang"),
        "{}",
        ended.err
    );
    let text = settings(&project);
    assert!(text.contains("coverage = \"none\""), "{text}");
    without_slurm(&project, &["plan", "--list"]).exits_with(0);
}

#[test]
fn a_folder_with_nothing_to_test_gets_a_file_that_says_so() {
    let project = made_of(&[("notes.txt", "")]);
    let ended = without_slurm(&project, &["init"]).exits_with(0);
    assert!(
        ended.err.contains("found    no build that is known"),
        "{}",
        ended.err
    );
    let plan = without_slurm(&project, &["plan"]).exits_with(2);
    assert!(plan.err.contains("there are no steps"), "{}", plan.err);
}

#[test]
fn a_cargo_project_runs_with_what_is_written_for_it() {
    let project = made_of(&[
        (
            "Cargo.toml",
            "[package]\nname = \"sum\"\nversion = \"0.1.0\"\nedition = \"2021\"\n",
        ),
        (
            "src/lib.rs",
            "pub fn sum(a: u32, b: u32) -> u32 {\n    a + b\n}\n\n#[test]\nfn adds() {\n    assert_eq!(sum(1, 2), 3);\n}\n",
        ),
    ]);
    without_slurm(&project, &["init"]).exits_with(0);
    let run = without_slurm(&project, &[]).exits_with(0);
    assert_eq!(run.step("cargo")["report"], "libtest");
    assert!(
        run.line_hits("src/lib.rs").contains(&(2, 1)),
        "{:?}",
        run.line_hits("src/lib.rs")
    );
}

#[test]
fn a_cmake_project_runs_with_what_is_written_for_it() {
    if !there("ctest", &["--version"]) {
        return;
    }
    let project = made_of(&[
        (
            "CMakeLists.txt",
            "cmake_minimum_required(VERSION 3.16)\nproject(sum C)\noption(SUM_TESTS \"tests\" OFF)\nif(SUM_TESTS)\nenable_testing()\n\
             add_executable(adds tests/adds.c src/sum.c)\nadd_test(NAME adds COMMAND adds)\nendif()\n",
        ),
        (
            "src/sum.c",
            "int sum(int a, int b) {\n    return a + b;\n}\n",
        ),
        (
            "tests/adds.c",
            "int sum(int, int);\nint main(void) { return sum(1, 2) != 3; }\n",
        ),
    ]);
    without_slurm(&project, &["init"]).exits_with(0);
    let run = without_slurm(&project, &[]).exits_with(0);
    assert_eq!(run.step("ctest")["report"], "ctest");
    assert!(
        run.line_hits("src/sum.c").contains(&(2, 1)),
        "{:?}",
        run.line_hits("src/sum.c")
    );
}

#[test]
fn a_make_project_without_mpi_runs_with_what_is_written_for_it() {
    let project = made_of(&[
        (
            "Makefile",
            "CC = gcc\nsum: sum.o\n\t$(CC) -o $@ $^\ncheck: sum\n\t./sum\n.PHONY: check\n",
        ),
        ("sum.c", "int main(void) {\n    return 0;\n}\n"),
    ]);
    without_slurm(&project, &["init"]).exits_with(0);
    let run = without_slurm(&project, &[]).exits_with(0);
    assert_eq!(run.outcome("check").0, "passed");
    assert!(
        run.line_hits("sum.c").contains(&(1, 1)),
        "{:?}",
        run.line_hits("sum.c")
    );
}

#[test]
fn a_python_project_runs_with_what_is_written_for_it() {
    let python = "/usr/bin/python3";
    if !there(python, &["-c", "import pytest"]) {
        return;
    }
    let project = made_of(&[
        (
            "pyproject.toml",
            "[project]\nname = \"sums\"\nversion = \"1\"\n",
        ),
        ("src/sums/__init__.py", "def add(a, b):\n    return a + b\n"),
        (
            "tests/test_sums.py",
            "from sums import add\n\ndef test_adds():\n    assert add(1, 2) == 3\n",
        ),
    ]);
    let path = path_without(&project, &[SLURM, &["python3"]].concat());
    std::os::unix::fs::symlink(python, path.join("python3")).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = here(&project, arguments);
        Ended::of(&project.dir, &command.env("PATH", &path).output().unwrap())
    };
    run(&["init"]).exits_with(0);
    let ended = run(&[]);
    assert_eq!(ended.outcome("pytest").0, "passed", "{}", ended.err);
    assert_eq!(ended.step("pytest")["report"], "pytest");
    // With pytest-cov there is a tracefile; without, the file says how to come by one.
    if there(python, &["-c", "import pytest_cov"]) {
        assert!(ended.line_hits("src/sums/__init__.py").contains(&(2, 1)));
    } else {
        assert!(settings(&project).contains("With pytest-cov installed"));
    }
}
