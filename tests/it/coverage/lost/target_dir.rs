//! Objects where cargo's target directory is elsewhere.

use super::is_partial;
use crate::coverage::hits;
use crate::local::{project, run};
use crate::support::Project;
use serde_json::json;

const CRATE: &[(&str, &str)] = &[
    (
        "Cargo.toml",
        "[package]\nname = \"heat\"\nversion = \"1.0.0\"\nedition = \"2021\"\n[features]\nmore = []\n",
    ),
    (
        "Cargo.lock",
        "version = 3\n[[package]]\nname = \"heat\"\nversion = \"1.0.0\"\n",
    ),
    (
        "src/lib.rs",
        "pub fn step(n: u32) -> u32 {\n    if cfg!(feature = \"more\") { n + 2 } else { n + 1 }\n}\n#[test]\nfn steps() {\n    assert!(step(1) > 1);\n}\n",
    ),
    (
        "src/main.rs",
        "fn main() {\n    println!(\"{}\", heat::step(1));\n}\n",
    ),
];

fn crate_with(toml: &str, files: &[(&str, &str)]) -> Project {
    let project = project(toml);
    for (path, text) in CRATE.iter().chain(files) {
        project.file(path, text);
    }
    project.commit();
    project
}

#[test]
fn cargos_target_directory_may_be_anywhere() {
    let scratch = tempfile::tempdir().unwrap();
    let target = scratch.path().join("target");
    let target = target.to_str().unwrap();
    let config = format!("[build]\ntarget-dir = \"{target}\"\n");
    let hidden = "[build]\ntarget-dir = \".cache/target\"\n";
    for (case, environment, command, file) in [
        (
            "config",
            String::new(),
            "cargo build --offline".to_owned(),
            Some(config.as_str()),
        ),
        (
            "hidden",
            String::new(),
            "cargo build --offline".to_owned(),
            Some(hidden),
        ),
        (
            "variable",
            format!("variables = {{ CARGO_BUILD_TARGET_DIR = \"{target}\" }}"),
            "cargo build --offline".to_owned(),
            None,
        ),
        (
            "setup",
            format!("setup = \"export CARGO_TARGET_DIR={target}\""),
            "cargo build --offline".to_owned(),
            None,
        ),
        (
            "option",
            String::new(),
            format!("cargo build --offline --target-dir {target}"),
            None,
        ),
    ] {
        std::fs::remove_dir_all(target).ok();
        let program = if case == "hidden" {
            ".cache/target"
        } else {
            target
        };
        let files: Vec<(&str, &str)> = file
            .iter()
            .map(|text| (".cargo/config.toml", *text))
            .collect();
        let project = crate_with(
            &format!(
                r#"
[environment]
{environment}
[build.tests]
command = "{command}"
coverage = "llvm"
[[test]]
name = "main"
command = "{program}/debug/heat"
"#
            ),
            &files,
        );
        let run = run(&project, &[]).exits_with(0);
        assert_eq!(
            run.line_hits("src/main.rs"),
            [(1, 1), (2, 1), (3, 1)],
            "{case}"
        );
        assert_eq!(hits(&run.line_hits("src/lib.rs"), 1), 1, "{case}");
        let objects = run.json("artifacts/coverage/objects.json")["objects"].clone();
        assert_eq!(
            (&objects[0]["build"], &objects[0]["profiles"]),
            (&json!("tests"), &json!(1)),
            "{case}"
        );
    }
}

#[test]
fn a_target_directory_outside_serves_kept_trees_steps_and_several_builds() {
    let scratch = tempfile::tempdir().unwrap();
    let target = scratch.path().join("target");
    let target = target.to_str().unwrap();
    let config = format!("[build]\ntarget-dir = \"{target}\"\n");
    // Programs of others stand there, too.
    std::fs::create_dir_all(scratch.path().join("target/debug/deps")).unwrap();
    let other = scratch.path().join("other.c");
    std::fs::write(&other, "int main(void) { return 0; }\n").unwrap();
    let done = std::process::Command::new("clang-22")
        .args(["-fprofile-instr-generate", "-fcoverage-mapping", "-o"])
        .arg(scratch.path().join("target/debug/deps/other"))
        .arg(&other)
        .status();
    assert!(done.unwrap().success());
    let project = crate_with(
        r#"
[build.tests]
command = "cargo build --offline --features='{features}'"
coverage = "llvm"
reuse = true
[[test]]
name = "unit"
command = "cargo test --offline --lib --features='{features}'"
launcher = "none"
matrix = { features = ["", "more"] }
serial = "one"
"#,
        &[(".cargo/config.toml", &config)],
    );
    // In the second run nothing is compiled.
    for _ in 0..2 {
        let run = run(&project, &[]).exits_with(0);
        assert_eq!(hits(&run.line_hits("src/lib.rs"), 1), 2);
        let listed = run.json("artifacts/coverage/objects.json");
        let listed = listed["objects"].as_array().unwrap();
        assert!(
            listed
                .iter()
                .all(|it| it["path"].as_str().unwrap().contains("/heat-")),
            "{listed:#?}"
        );
        for build in ["tests", "tests-more"] {
            let of_build = listed
                .iter()
                .filter(|it| it["build"].as_str().unwrap().contains(build));
            assert!(of_build.count() >= 2, "{listed:#?}");
        }
        is_partial(&run, false);
    }
}

#[test]
fn where_no_object_is_it_is_told_where_was_looked() {
    let scratch = tempfile::tempdir().unwrap();
    let place = scratch.path().join("p");
    let place = place.to_str().unwrap();
    let project = project(&format!(
        r#"
[build.tests]
command = "clang-22 -o {place} p.c"
coverage = "llvm"
[[test]]
name = "p"
command = "{place}"
"#
    ));
    project.file("p.c", "int main(void) {\n    return 0;\n}\n");
    project.commit();
    let none = run(&project, &[]).exits_with(3);
    for part in [
        "no program or library with coverage mapping",
        "/trees/",
        "`objects` of [coverage]",
    ] {
        assert!(none.err.contains(part), "no {part} in {}", none.err);
    }
    let text = std::fs::read_to_string(project.dir.join("hpc.toml")).unwrap();
    project.file(
        "hpc.toml",
        &format!("[coverage]\nobjects = [\"{place}\"]\n{text}"),
    );
    project.commit();
    let found = run(&project, &[]).exits_with(0);
    assert_eq!(hits(&found.line_hits("p.c"), 1), 1);

    // Where cargo builds, clang is not to blame.
    let cargo = crate_with(
        &format!(
            r#"
[build.tests]
command = "cargo build --offline && mkdir -p {place}-dir && mv target {place}-dir"
coverage = "llvm"
[[test]]
name = "p"
command = "{place}-dir/target/debug/heat"
"#
        ),
        &[],
    );
    let none = run(&cargo, &[]).exits_with(3);
    assert!(none.err.contains("`objects` of [coverage]"), "{}", none.err);
    assert!(!none.err.contains("clang"), "{}", none.err);
}
