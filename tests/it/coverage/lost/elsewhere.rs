//! Profiles of processes that lost the name that they were told, or chose another.

use super::{is_partial, ledger, states};
use crate::coverage::hits;
use crate::local::{project, run};
use crate::support::Ended;
use serde_json::{Value, json};

const CHILD: &str = "#include <stdlib.h>\n#include <unistd.h>\nstatic int work(int n) {\n    return n;\n}\nint main(int argc, char **argv) {\n    (void)argv;\n    return work(argc) - argc;\n}\n";

/// The profiles that the ledger has beside those of ranks: file, step, used.
fn elsewhere(run: &Ended) -> Vec<(String, Option<String>, bool)> {
    let meta = run.json("artifacts/meta.json");
    let listed = meta["runs"][0]["ranks"]["elsewhere"]
        .as_array()
        .unwrap()
        .clone();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    listed
        .iter()
        .map(|it| {
            let used = it["used"].as_bool().unwrap();
            (text(&it["file"]).unwrap(), text(&it["step"]), used)
        })
        .collect()
}

#[test]
fn profiles_of_processes_that_lost_their_environment_are_gathered() {
    let toml = |engine: &str| {
        format!(
            r#"
[build.tests]
command = "clang-22 -o p p.c && env -i ./p && cp default.profraw of-the-build.profraw"
coverage = "llvm"
[coverage]
engine = "{engine}"
[[test]]
name = "empty"
command = '''
env -i ./p
mkdir -p sub/.hidden && cd sub/.hidden && env -i ../../p
cd ../.. && env -i LLVM_PROFILE_FILE=own-%p.profraw ./p
env -u LLVM_PROFILE_FILE sh -c 'cd sub && ../p'
./p
'''
"#
        )
    };
    for engine in ["native", "llvm-tools"] {
        let project = project(&toml(engine));
        project.file("p.c", CHILD);
        // Profiles that were committed are nobody's.
        project.file("data/committed.profraw", "not even one");
        project.commit();
        let run = run(&project, &[]).exits_with(0).documents_are_valid();
        let found = elsewhere(&run);
        let own = found
            .iter()
            .find(|it| it.0.starts_with("own-"))
            .unwrap()
            .0
            .clone();
        let step = Some("empty".to_owned());
        let mut expected: Vec<_> = [
            "default.profraw",
            &own,
            "sub/.hidden/default.profraw",
            "sub/default.profraw",
        ]
        .map(|name| (name.to_owned(), step.clone(), true))
        .to_vec();
        expected.sort();
        let mut sorted = found.clone();
        sorted.sort();
        assert_eq!(sorted, expected, "{engine}");
        assert_eq!(hits(&run.line_hits("p.c"), 4), 5, "{engine}");
        let profiles = &run.json("artifacts/coverage/summary.json")["profiles"];
        assert_eq!(
            (&profiles["elsewhere"], &profiles["found"]),
            (&json!(4), &json!(5))
        );
        assert!(
            run.err
                .contains("4 profiles were written past the `LLVM_PROFILE_FILE`"),
            "{}",
            run.err
        );
        assert_eq!(
            states(&ledger(&run, "empty")),
            [("whole".to_owned(), "0".to_owned())]
        );
        is_partial(&run, false);
    }
}

#[test]
fn steps_that_share_a_tree_share_what_is_nobodys() {
    let project = project(
        r#"
[build.tests]
command = "clang-22 -o p p.c"
coverage = "llvm"
[[test]]
name = "a"
command = "env -i LLVM_PROFILE_FILE=a.profraw ./p"
ranks = 2
[[test]]
name = "b"
command = "env -i LLVM_PROFILE_FILE=r0.b.profraw ./p"
[[test]]
name = "private"
command = 'env -i LLVM_PROFILE_FILE=c.profraw ./p; cd "$HPC_CI_STEP_DIR" && env -i "$OLDPWD/p"'
cwd = "private"
needs = ["a", "b"]
"#,
    );
    project.file("p.c", CHILD);
    project.commit();
    let run = run(&project, &[]).exits_with(0).documents_are_valid();
    let mut found = elsewhere(&run);
    found.sort();
    let private = Some("private".to_owned());
    assert_eq!(
        found,
        [
            ("a.profraw".to_owned(), None, true),
            ("default.profraw".to_owned(), private.clone(), true),
            ("r0.b.profraw".to_owned(), None, true),
            ("tree/c.profraw".to_owned(), private, true),
        ]
    );
    // Two ranks wrote one file; the name of another looks like one of ours.
    assert_eq!(hits(&run.line_hits("p.c"), 4), 4);
    assert_eq!(
        states(&ledger(&run, "b")),
        [("absent".to_owned(), "0".to_owned())]
    );
}

#[test]
fn profiles_that_may_be_of_an_attempt_that_does_not_count_are_named_and_not_counted() {
    for (more, case) in [
        ("retries = 1", "tried again"),
        (
            "[[test]]\nname = \"uncounted\"\ncommand = \"env -i LLVM_PROFILE_FILE=u.profraw ./p\"\ncoverage = \"none\"",
            "uncounted",
        ),
    ] {
        let fails = if case == "tried again" {
            "test $HPC_CI_ATTEMPT = 2"
        } else {
            "true"
        };
        let project = project(&format!(
            r#"
[build.tests]
command = "clang-22 -o p p.c"
coverage = "llvm"
[[test]]
name = "it"
command = "env -i ./p && ./p && {fails}"
{more}
"#
        ));
        project.file("p.c", CHILD);
        project.commit();
        let run = run(&project, &[]).exits_with(0).documents_are_valid();
        let found = elsewhere(&run);
        assert!(
            !found.is_empty() && found.iter().all(|(_, _, used)| !used),
            "{case}: {found:?}"
        );
        assert_eq!(hits(&run.line_hits("p.c"), 4), 1, "{case}");
        is_partial(&run, true);
        assert!(
            run.err.contains("nobody can tell whether it counts"),
            "{}",
            run.err
        );
    }
}

#[test]
fn what_earlier_runs_left_in_a_kept_tree_is_not_counted_again() {
    let project = project(
        r#"
[build.tests]
command = "clang-22 -o p p.c"
coverage = "llvm"
reuse = true
[[test]]
name = "it"
command = "env -i LLVM_PROFILE_FILE=own-%p.profraw ./p"
"#,
    );
    project.file("p.c", CHILD);
    project.commit();
    for _ in 0..2 {
        let run = run(&project, &[]).exits_with(0);
        assert_eq!(elsewhere(&run).len(), 1);
        assert_eq!(hits(&run.line_hits("p.c"), 4), 1);
    }
}
