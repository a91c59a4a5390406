//! `reduce` and `export` on the committed fixtures, with no LLVM program in sight.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/llvm")
}

/// hpc-ci where nothing else can be found.
fn alone(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hpc-ci"));
    command
        .args(arguments)
        .env("PATH", "/nonexistent")
        .current_dir(fixtures());
    command
}

fn run(arguments: &[&str]) -> Output {
    alone(arguments).stdin(Stdio::null()).output().unwrap()
}

#[test]
fn export_says_what_llvm_cov_said_of_every_compiler() {
    let mut tried = 0;
    for entry in std::fs::read_dir(fixtures()).unwrap() {
        let dir = entry.unwrap().path();
        let Ok(expected) = std::fs::read(dir.join("expected.info")) else {
            continue;
        };
        let mut objects: Vec<PathBuf> = std::fs::read_dir(&dir)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_none_or(|ending| ending == "so"))
            .collect();
        objects.sort();
        let mut arguments = vec!["export", "-q"];
        for object in &objects {
            arguments.extend(["--object", object.to_str().unwrap()]);
        }
        arguments.push(dir.to_str().unwrap());
        let output = run(&arguments);
        assert_eq!(output.status.code(), Some(0), "{dir:?}: {output:?}");
        assert_eq!(output.stdout, expected, "{dir:?}");
        tried += 1;
    }
    assert!(tried >= 10, "only {tried} fixtures");
}

#[test]
fn a_sum_of_profiles_exports_as_the_profiles_do() {
    let dir = tempfile::tempdir().unwrap();
    let sum = dir.path().join("all.profraw");
    let mut reducing = alone(&[
        "reduce",
        "-q",
        "--verify",
        "full",
        "-o",
        sum.to_str().unwrap(),
    ])
    .stdin(Stdio::piped())
    .spawn()
    .unwrap();
    let names =
        ["00", "01", "02", "03", "04"].map(|number| format!("clang-22-c/{number}.profraw\n"));
    reducing
        .stdin
        .take()
        .unwrap()
        .write_all(names.concat().as_bytes())
        .unwrap();
    assert!(reducing.wait().unwrap().success());
    let output = run(&[
        "export",
        "--object",
        "clang-22-c/0-basic",
        sum.to_str().unwrap(),
    ]);
    let expected = std::fs::read(fixtures().join("clang-22-c/expected.info")).unwrap();
    assert_eq!(output.stdout, expected);
}

#[test]
fn what_cannot_be_used_is_named_and_the_rest_counts() {
    let dir = tempfile::tempdir().unwrap();
    let good = std::fs::read(fixtures().join("clang-22-c/00.profraw")).unwrap();
    for (name, bytes) in [
        ("good.profraw", &good[..]),
        ("empty.profraw", &[]),
        ("cut.profraw", &good[..good.len() / 2]),
        (
            "foreign.profraw",
            b"no profile at all, but long enough to hold a header of one",
        ),
    ] {
        std::fs::write(dir.path().join(name), bytes).unwrap();
    }
    let out = dir.path().join("sum");
    let paths = [out.to_str().unwrap(), dir.path().to_str().unwrap()];
    let output = run(&["reduce", "-o", paths[0], paths[1]]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    for part in [
        "empty.profraw: empty",
        "cut.profraw: cut short",
        "foreign.profraw: not an LLVM profile",
        "1 of 4 profiles used",
    ] {
        assert!(said.contains(part), "`{part}` is not in {said}");
    }
    let sum = std::fs::read(&out).unwrap();
    let alone = dir.path().join("good.profraw");
    run(&["reduce", "-o", paths[0], alone.to_str().unwrap()]);
    assert_eq!(std::fs::read(&out).unwrap(), sum);
    let strict = run(&["reduce", "--strict", "-o", paths[0], paths[1]]);
    assert_eq!(strict.status.code(), Some(3));
    let nothing = dir.path().join("empty.profraw");
    let nothing = run(&["reduce", "-o", paths[0], nothing.to_str().unwrap()]);
    assert_eq!(nothing.status.code(), Some(3));
}

#[test]
fn paths_can_be_made_relative_and_chosen() {
    let exported = |more: &[&str]| {
        let mut arguments = vec!["export", "--object", "clang-22-c/0-basic", "clang-22-c"];
        arguments.extend(more);
        let output = run(&arguments);
        String::from_utf8(output.stdout).unwrap()
    };
    let source = exported(&[]);
    let path = source
        .lines()
        .find_map(|line| line.strip_prefix("SF:"))
        .unwrap();
    let (folder, file) = path.rsplit_once('/').unwrap();
    let relative = exported(&["--map", &format!("{folder}=/project"), "--root", "/project"]);
    assert_eq!(relative, source.replace(&format!("SF:{folder}/"), "SF:"));
    let others = exported(&["--exclude", &format!("**/{file}")]);
    assert!(
        !others.contains(&format!("SF:{path}\n")) && others.contains("SF:"),
        "{others}"
    );
    assert_eq!(exported(&["--exclude", "**"]), "");
}
