//! Names and texts that a project may bring along, and that must stay text.

use std::path::{Path, PathBuf};

use super::{here, project, run, verb};
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

/// Characters that turn lines around, end them, or are not seen: of every category that there is.
const UNSEEN: &str = "\u{200e}\u{200f}\u{61c}\u{202e}\u{2066}\u{2069}\u{2028}\u{2029}\u{200b}\u{2060}\u{ad}\u{feff}\u{fff9}\
                      \u{e0001}\u{e0041}\u{e007f}\u{180e}\u{3164}\u{e0100}\u{13430}";

#[track_caller]
fn is_seen(what: &str, text: &str) {
    use unicode_general_category::{GeneralCategory as G, get_general_category};
    for c in text.chars() {
        let unseen = matches!(
            get_general_category(c),
            G::Control | G::Format | G::LineSeparator | G::ParagraphSeparator | G::Unassigned
        );
        let own = matches!(c, '\n' | '\t');
        assert!(
            own || !unseen && !UNSEEN.contains(c),
            "{what}: {c:?} in {text:?}"
        );
    }
}

#[test]
fn what_is_not_seen_reaches_no_terminal_and_no_document_for_people() {
    let name = format!("ha{UNSEEN}lo");
    let quoted = serde_json::to_string(&name).unwrap();
    let other = serde_json::to_string(&format!("solver {name}")).unwrap();
    let project = project(&format!(
        "[project]\nname = {quoted}\n[[test]]\nname = {quoted}\nsuite = {quoted}\ntags = [{quoted}]\nlauncher = \"none\"\n\
         command = [\"sh\", \"-c\", \"cat tap.txt; exit 1\"]\nresults = {{ format = \"tap\" }}\n\
         [[benchmark]]\nname = {other}\nlauncher = \"none\"\nrepetitions = 1\nwarmup = 0\ncommand = \"echo time: 1\"\n\
         metric = {{ pattern = 'time: ([0-9.]+)', unit = {quoted} }}\n"
    ));
    project.file(
        "tap.txt",
        &format!("1..1\nnot ok 1 - te{UNSEEN}st\n# wh{UNSEEN}y\n"),
    );
    project.commit();
    let ended = run(&project, &[]).exits_with(1);
    assert!(
        ended.err.contains("ha") && ended.err.contains("lo"),
        "{}",
        ended.err
    );
    is_seen("run", &ended.err);
    is_seen("junit.xml", &ended.text("artifacts/tests/junit.xml"));
    let json = run(&project, &["--format", "json"]).exits_with(1);
    is_seen("run --format json", &json.out);
    is_seen("run --format json", &json.err);
    for arguments in [
        &["plan"][..],
        &["plan", "--list"],
        &["plan", "--format", "json"],
        &["list"],
        &["list", "--format", "json"],
        &["status"],
        &["status", "--format", "json"],
        &["report"],
        &["report", "--format", "json"],
        &["config"],
        &["config", "--format", "json"],
        &["trend"],
        &["trend", "--format", "json"],
        &["compare", "HEAD", "HEAD"],
        &["resume"],
        &["run", "-vv", "--scheduler", "local", "--tests-only"],
        &["run", "nothing\u{202e}"],
    ] {
        let mut command = here(&project, arguments);
        let shown = Ended::of(&project.dir, &command.output().unwrap());
        assert!(
            !(shown.out.clone() + &shown.err).is_empty(),
            "{arguments:?}"
        );
        is_seen(&format!("{arguments:?}"), &shown.out);
        is_seen(&format!("{arguments:?}"), &shown.err);
    }
    // JSON says the same in other words.
    let plan = here(&project, &["plan", "--format", "json"])
        .output()
        .unwrap();
    let plan: serde_json::Value = serde_json::from_slice(&plan.stdout).unwrap();
    assert!(plan.to_string().contains(&name), "{plan}");
}

#[test]
fn a_mistake_in_a_file_is_shown_without_what_it_hides() {
    let colours = regex::Regex::new("\u{1b}\\[[0-9;]*m").unwrap();
    for text in [
        format!("[project]\nname = 1 # {UNSEEN}\n"),
        format!("[project]\n\"na{UNSEEN}me\" = \"x\"\n"),
        format!("[project]\nname = \"{UNSEEN}\" {UNSEEN}\n"),
        "[project]\n\"\\u001b[31mred\" = 1\n".to_owned(),
        "[project]\nname = \u{1b}[2J\n".to_owned(),
    ] {
        let project = project("");
        project.file("hpc.toml", &text);
        let ended = run(&project, &["--in-place"]).exits_with(2);
        is_seen(&text, &ended.err);
        let mut command = here(&project, &["config", "--color", "always"]);
        command.env_remove("NO_COLOR");
        let coloured = Ended::of(&project.dir, &command.output().unwrap()).exits_with(2);
        is_seen(&text, &colours.replace_all(&coloured.err, ""));
        assert!(
            !coloured.err.contains("\u{1b}[31mred"),
            "{:?}",
            coloured.err
        );
    }
}
