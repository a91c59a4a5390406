//! Source files that the commit does not hold.

use super::is_partial;
use crate::coverage::hits;
use crate::local::{project, run};
use crate::support::{Ended, Home, Project};
use serde_json::json;

#[test]
fn sources_that_the_commit_does_not_hold_are_left_out_and_told() {
    let toml = |coverage: &str| {
        format!(
            r#"
[build.tests]
command = '''
mkdir -p build/_deps
printf 'int made(void) {{\n    return 1;\n}}\n' >build/made.c
printf 'int fetched(void) {{\n    return 1;\n}}\n' >build/_deps/fetched.c
printf 'int beside(void) {{\n    return 1;\n}}\n' >src/beside.c
clang-22 -o p src/p.c link/l.c build/made.c build/_deps/fetched.c src/beside.c
'''
coverage = "llvm"
[coverage]
{coverage}
[[test]]
name = "p"
command = "./p"
"#
        )
    };
    let project = project(&toml(""));
    project.file("src/p.c", "int main(void) {\n    return 0;\n}\n");
    project.file("real/l.c", "int linked(void) {\n    return 1;\n}\n");
    std::os::unix::fs::symlink("real", project.dir.join("link")).unwrap();
    project.commit();
    let files = |run: &Ended| -> Vec<String> {
        let summary = run.json("artifacts/coverage/summary.json");
        summary["files"]
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect()
    };
    let plain = run(&project, &[]).exits_with(0).documents_are_valid();
    assert_eq!(files(&plain), ["link/l.c", "src/p.c"]);
    let summary = plain.json("artifacts/coverage/summary.json");
    assert_eq!(
        summary["left_out"]["not_in_commit"],
        json!({"count": 3, "examples": ["build/_deps/fetched.c", "build/made.c", "src/beside.c"]})
    );
    let said = "left out: 3 source files that the commit does not hold, unless `include` names them (build/_deps/fetched.c, build/made.c, src/beside.c)";
    assert!(plain.err.contains(said), "{}", plain.err);
    let text = plain.text("artifacts/coverage/lcov.info");
    assert!(
        !text.contains("made.c") && !text.contains("beside.c"),
        "{text}"
    );
    assert!(
        !plain
            .text("artifacts/coverage/ranks.json")
            .contains("made.c")
    );
    assert_eq!(plain.json("hpc-results.json")["coverage"]["total_lines"], 6);
    is_partial(&plain, false);

    project.file(
        "hpc.toml",
        &toml("include = [\"src/**\", \"build/made.c\"]"),
    );
    project.commit();
    let named = run(&project, &[]).exits_with(0);
    assert_eq!(files(&named), ["build/made.c", "src/beside.c", "src/p.c"]);
    let left_out = &named.json("artifacts/coverage/summary.json")["left_out"];
    assert_eq!(
        left_out["included"]["examples"],
        json!(["build/made.c", "src/beside.c"])
    );
    assert!(
        named.err.contains(
            "counted: 2 source files that the commit does not hold, because `include` names them"
        ),
        "{}",
        named.err
    );

    project.file("hpc.toml", &toml("exclude = [\"src/**\", \"link/**\"]"));
    project.commit();
    let none = run(&project, &[]).exits_with(3);
    assert!(
        none.err
            .contains("not in the commit (build/_deps/fetched.c"),
        "{}",
        none.err
    );
}

#[test]
fn a_tree_in_place_counts_what_would_be_committed() {
    let project = project(
        r#"
[build.tests]
command = "printf 'int made(void) {\n    return 1;\n}\n' >made.c && clang-22 -o p p.c made.c $(ls new.c)"
coverage = "llvm"
[[test]]
name = "p"
command = "./p"
"#,
    );
    project.file(".gitignore", "/hpc-ci\n/p\n");
    project.file("p.c", "int main(void) {\n    return 0;\n}\n");
    project.commit();
    project.file("new.c", "int fresh(void) {\n    return 1;\n}\n");
    let files = |run: &Ended| -> Vec<String> {
        let summary = run.json("artifacts/coverage/summary.json");
        summary["files"]
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect()
    };
    // git calls it clean, so it stands for the commit.
    let clean = run(&project, &["--in-place"]).exits_with(0);
    assert_eq!(files(&clean), ["p.c"]);
    std::fs::remove_file(project.dir.join("made.c")).unwrap();
    project.file("p.c", "int main(void) {\n    return 0 * 1;\n}\n");
    let dirty = run(&project, &["--in-place"]).exits_with(0);
    assert_eq!(files(&dirty), ["new.c", "p.c"]);
}

#[test]
fn sources_of_submodules_are_the_commits() {
    let module = Project::new(Home::Here);
    module.file("lib.c", "int lib(void) {\n    return 1;\n}\n");
    module.commit();
    let project = project(
        r#"
[build.tests]
command = "clang-22 -o p p.c dep/lib.c"
coverage = "llvm"
[[test]]
name = "p"
command = "./p"
"#,
    );
    project.file(
        "p.c",
        "int lib(void);\nint main(void) {\n    return lib() - 1;\n}\n",
    );
    let add = ["-c", "protocol.file.allow=always", "submodule", "add", "-q"];
    project.commit();
    let added = project
        .command("git")
        .args(add)
        .arg(&module.dir)
        .arg("dep")
        .output()
        .unwrap();
    assert!(added.status.success(), "{added:?}");
    project.commit();
    let run = run(&project, &[]).exits_with(0);
    assert_eq!(hits(&run.line_hits("dep/lib.c"), 2), 1);
}
