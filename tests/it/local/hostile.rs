//! Names and texts that a project may bring along, and that must stay text.

use std::path::{Path, PathBuf};

use super::{project, run, verb};
use crate::support::Ended;

/// Names of steps that a shell, a path, XML or Markdown would take for more than a name.
const NAMES: &[&str] = &[
    "$(touch pwned)",
    "`touch pwned`'; touch pwned #",
    "\"; touch pwned; \"",
    "../../../escape",
    "/escape",
    "..",
    "-rf",
    "--help",
    "%p %h %m \\n",
    "日本 ✓ ß",
    "</testcase><!-- & ]]>",
    "{braces} {{twice}}",
    "con | prn > aux ~ *?[a]",
];

fn toml(names: &[String]) -> String {
    let quoted = |name: &str| serde_json::to_string(name).unwrap();
    let steps: Vec<String> = names
        .iter()
        .map(|name| {
            // Words in braces stand for something in a group's name.
            let group = quoted(&name.replace('{', "{{").replace('}', "}}"));
            let name = quoted(name);
            format!(
                "[[test]]\nname = {name}\nsuite = {name}\ntags = [{name}]\nserial = {group}\n\
                 command = 'printf \"%s\" \"$HPC_CI_STEP\"'\n"
            )
        })
        .collect();
    steps.concat()
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            found.extend(files(&path));
        }
        found.push(path);
    }
    found
}

#[track_caller]
fn nothing_escaped(dir: &Path) {
    for path in files(dir) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        assert!(name != "pwned", "a name was executed: {}", path.display());
        let runs = dir.join("project/hpc-ci/runs");
        let kept = path.starts_with(&runs) || !name.contains("escape");
        assert!(kept, "a name escaped: {}", path.display());
    }
}

#[test]
fn hostile_names_stay_names() {
    let mut names: Vec<String> = NAMES.iter().map(|&name| name.to_owned()).collect();
    // Two that only differ behind what a file name can hold.
    names.extend(["a", "b"].map(|end| "ü".repeat(99) + end));
    let project = project(&toml(&names));
    let run = run(&project, &[]).exits_with(0);
    for name in &names {
        assert_eq!(&run.log(name), name);
    }
    nothing_escaped(project.dir.parent().unwrap());
    let junit = run.text("artifacts/tests/junit.xml");
    assert_eq!(junit.matches("<testcase ").count(), names.len(), "{junit}");
}

#[test]
fn control_characters_and_endless_names_are_refused() {
    for name in ["a\nb", "a\u{1b}[31mb", "", &"x".repeat(5000)] {
        let project = project(&toml(&[name.to_owned()]));
        let ended = run(&project, &[]).exits_with(2);
        assert!(ended.err.contains("hpc.toml:2:8"), "{}", ended.err);
        assert!(!ended.err.contains("\u{1b}[31mb"), "{}", ended.err);
    }
}

#[test]
fn a_project_may_stand_in_a_folder_of_any_name() {
    let mut project = project(
        r#"
[environment]
variables = { OMPI_CC = "clang-22" }
[build.tests]
command = "mkdir -p build && mpicc.openmpi -g -o build/ranks ranks.c"
coverage = "llvm"
[[test]]
name = "ranks"
command = "build/ranks"
ranks = 2
[[test]]
name = "private"
command = ["build/ranks"]
cwd = "private"
"#,
    );
    project.file(
        "ranks.c",
        "#include <mpi.h>\nint main(int argc, char **argv) {\n  MPI_Init(&argc, &argv);\n  return MPI_Finalize();\n}\n",
    );
    project.commit();
    let moved = project
        .dir
        .with_file_name("it's a \"project\" $(touch pwned) ü; &");
    std::fs::rename(&project.dir, &moved).unwrap();
    project.dir = moved;
    let run = run(&project, &[]).exits_with(0);
    assert_eq!(
        run.line_hits("ranks.c"),
        [(2, 3), (3, 3), (4, 3), (5, 3)],
        "{}",
        run.err
    );
    nothing_escaped(project.dir.parent().unwrap());
}

#[test]
fn what_a_step_prints_reaches_no_terminal_raw() {
    let project = project(
        r#"
[[test]]
name = "prints"
command = "printf '\\033]0;title\\007\\033[2J\\377\\000]]>\\n'; exit 1"
"#,
    );
    let run = run(&project, &[]).exits_with(1);
    let raw = |text: &str| {
        text.chars()
            .any(|c| c.is_control() && !matches!(c, '\n' | '\t'))
    };
    assert!(!raw(&run.err), "{:?}", run.err);
    assert!(!raw(&run.text("artifacts/tests/junit.xml")));
    let log = std::fs::read(newest_log(&run, &project.dir)).unwrap();
    assert!(log.contains(&0xff), "the log itself is kept as it was");
}

fn newest_log(run: &Ended, dir: &Path) -> PathBuf {
    let step = run.step("prints");
    dir.join("hpc-ci/artifacts/tests")
        .join(step["log"].as_str().unwrap())
}

/// What a step puts in the place of files that we write or read. None of it stops a run, and none of it makes a failing step pass.
#[test]
fn files_that_are_no_files_stop_nobody() {
    let names = [
        "exit.json",
        "log.txt",
        "failed-part",
        "srun-step",
        "results/1.report",
        "results/1.name",
        "storage/x/use",
        "nodes",
    ];
    let kinds = [
        ("fifo", "mkfifo \"$1\""),
        ("zero", "ln -s /dev/zero \"$1\""),
        ("folder", "mkdir \"$1\""),
        ("sparse", "truncate -s 3G \"$1\""),
        ("secret", "install -m 000 /dev/null \"$1\""),
    ];
    let mut text = String::new();
    for (kind, make) in kinds {
        for (name, code) in [("passes", 0), ("fails", 3)] {
            let each = names
                .map(|name| format!("put \"$HPC_CI_STEP_DIR/{name}\""))
                .join("\n");
            text += &[
                format!("[[test]]\nname = \"{kind}-{name}\"\ncommand = '''\nput() {{ rm -rf \"$1\"; {make}; }}\nmkdir -p \"$HPC_CI_STEP_DIR/results\" \"$HPC_CI_STEP_DIR/storage/x\"\n"),
                format!("{each}\nexit {code}\n'''\n"),
            ]
            .concat();
        }
    }
    let project = project(&text);
    let begin = std::time::Instant::now();
    let ended = run(&project, &[]);
    assert!(
        begin.elapsed() < std::time::Duration::from_mins(1),
        "{}",
        ended.err
    );
    for (kind, _) in kinds {
        assert_ne!(
            ended.outcome(&format!("{kind}-fails")).0,
            "passed",
            "{}",
            ended.err
        );
        assert_eq!(
            ended.outcome(&format!("{kind}-passes")).0,
            "passed",
            "{}",
            ended.err
        );
    }
    let listed = verb(&project, &["list"]);
    assert_eq!(listed.code, Some(0), "{}", listed.err);
    run(&project, &["fifo-passes"]);
}
