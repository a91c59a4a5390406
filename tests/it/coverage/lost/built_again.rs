//! Programs that are built again while profiles of before are there.

use super::{is_partial, ledger, states};
use crate::coverage::hits;
use crate::local::{project, run, verb};
use crate::support::{Ended, Home, Project};
use serde_json::Value;

const CHANGES: &str = "int kept(int n) {\n    return n + 1;\n}\nint changed(int n) {\n#ifdef NEW\n    if (n > 1)\n        return 2;\n#endif\n    return n;\n}\n\
                       int main(int argc, char **argv) {\n    (void)argv;\n    return kept(changed(argc)) - 2;\n}\n";

/// A step builds the program of the step before it again.
fn built_again(flags: &str, coverage: &str) -> (Ended, Project) {
    let project = project(&format!(
        r#"
[build.tests]
command = "clang-22 {flags} -o p p.c"
coverage = "llvm"
[coverage]
{coverage}
[[test]]
name = "before"
command = "./p"
ranks = 2
[[test]]
name = "after"
command = "clang-22 {flags} -DNEW -o p p.c && ./p"
needs = ["before"]
"#
    ));
    project.file("p.c", CHANGES);
    project.commit();
    let run = run(&project, &[]).exits_with(0).documents_are_valid();
    (run, project)
}

#[test]
fn a_program_that_was_built_again_is_foreign_in_the_ledger() {
    for (flags, coverage) in [
        ("-Wl,--build-id=sha1", ""),
        ("-Wl,--build-id=sha1", "keep_profiles = \"always\""),
        ("-Wl,--build-id=sha1", "engine = \"llvm-tools\""),
        ("-Wl,--build-id=none", ""),
        ("-Wl,--build-id=none", "keep_profiles = \"always\""),
        ("-Wl,--build-id=none", "engine = \"llvm-tools\""),
    ] {
        let (run, _project) = built_again(flags, coverage);
        let case = format!("{flags} {coverage}");
        let before = ledger(&run, "before");
        assert_eq!(
            states(&before),
            [("foreign".to_owned(), "0-1".to_owned())],
            "{case}"
        );
        assert_eq!(before["used"], 0);
        let problems = before["problems"].as_array().unwrap();
        assert_eq!(problems.len(), 2, "{case}");
        for problem in problems {
            let message = problem["message"].as_str().unwrap();
            let told = "1 of 3 functions that it counted did not match";
            assert!(
                message.contains(told) && message.ends_with(": `changed`"),
                "{message}"
            );
        }
        let after = ledger(&run, "after");
        assert_eq!(
            states(&after),
            [("whole".to_owned(), "0".to_owned())],
            "{case}"
        );
        is_partial(&run, true);
        assert!(
            run.err.contains("`before`: it is of another build"),
            "{}",
            run.err
        );
        assert!(
            run.err
                .contains("coverage is from 1 of 3 ranks (2 foreign)"),
            "{}",
            run.err
        );
        // What did not change is what it was.
        let lines = run.line_hits("p.c");
        assert_eq!((hits(&lines, 2), hits(&lines, 4)), (3, 1), "{case}");
    }
}

#[test]
fn programs_whose_functions_only_share_names_are_all_whole() {
    for id in ["sha1", "none"] {
        let project = project(&format!(
            r#"
[build.tests]
command = "for n in 1 2 3; do clang-22 -Wl,--build-id={id} -DN=$n -o p$n p.c; done"
coverage = "llvm"
[[test]]
name = "one"
command = "./p1"
[[test]]
name = "two"
command = "./p2"
"#
        ));
        project.file(
            "p.c",
            "int main(int argc, char **argv) {\n    (void)argv;\n#if N > 1\n    if (argc > N)\n        return 1;\n#endif\n#if N > 2\n    while (argc > N)\n        argc--;\n#endif\n    return 0;\n}\n",
        );
        project.commit();
        let run = run(&project, &[]).exits_with(0);
        for step in ["one", "two"] {
            assert_eq!(
                states(&ledger(&run, step)),
                [("whole".to_owned(), "0".to_owned())]
            );
        }
        is_partial(&run, false);
    }
}

#[test]
fn a_program_that_is_nowhere_is_foreign_and_no_proof_alone() {
    let project = project(
        r#"
[build.tests]
command = "clang-22 -o p p.c"
coverage = "llvm"
[[test]]
name = "own"
command = "./p"
[[test]]
name = "gone"
command = "clang-22 -o other other.c && ./other; rm other"
"#,
    );
    project.file("p.c", "int main(void) {\n    return 0;\n}\n");
    project.file(
        "other.c",
        "int other(int n) {\n    return n ? n : 1;\n}\nint main(int argc, char **argv) {\n    (void)argv;\n    if (argc > 3)\n        return 4;\n    return other(argc) - 1;\n}\n",
    );
    project.commit();
    let both = run(&project, &[]).exits_with(0);
    assert_eq!(
        states(&ledger(&both, "own")),
        [("whole".to_owned(), "0".to_owned())]
    );
    assert_eq!(
        states(&ledger(&both, "gone")),
        [("foreign".to_owned(), "0".to_owned())]
    );
    is_partial(&both, true);

    let alone = run(&project, &["gone"]).exits_with(3);
    let said = "none of 1 profiles could be used";
    let why = "its program is none of the objects: 2 of 2 functions that it counted did not match, and their counts are left out: `main`, `other`";
    assert!(
        alone.err.contains(said) && alone.err.contains(why),
        "{}",
        alone.err
    );
    assert_eq!(alone.json("hpc-results.json")["coverage"], Value::Null);
}

#[test]
fn export_and_reduce_tell_of_functions_that_did_not_match() {
    let folder = Project::new(Home::Here);
    folder.file("p.c", CHANGES);
    let sh = |line: &str| {
        let done = folder.command("bash").args(["-ec", line]).output().unwrap();
        assert!(done.status.success(), "{done:?}");
    };
    sh(
        "flags='-Wl,--build-id=sha1 -fprofile-instr-generate -fcoverage-mapping'
        clang-22 $flags -o old p.c && LLVM_PROFILE_FILE=old.profraw ./old
        clang-22 $flags -DNEW -o new p.c && LLVM_PROFILE_FILE=new.profraw ./new",
    );
    let export = ["export", "--object", "new", "-o", "x.info"];
    let of_both = [&export[..], &["old.profraw", "new.profraw"]].concat();
    let done = verb(&folder, &of_both).exits_with(0);
    let said = "old.profraw: it is of another build of its program: 1 of 3 functions that it counted did not match";
    assert!(
        done.err.contains(said) && done.err.contains("`changed`"),
        "{}",
        done.err
    );
    assert!(!done.err.contains("new.profraw:"), "{}", done.err);
    let strict = [&export[..], &["--strict", "old.profraw", "new.profraw"]].concat();
    verb(&folder, &strict).exits_with(3);
    let own = [&export[..], &["--strict", "new.profraw"]].concat();
    let done = verb(&folder, &own).exits_with(0);
    assert!(!done.err.contains("another build"), "{}", done.err);
    let reduced = verb(
        &folder,
        &["reduce", "-o", "sum", "old.profraw", "new.profraw"],
    )
    .exits_with(0);
    assert!(
        reduced
            .err
            .contains("1 functions are in the profiles in several versions (`changed`)"),
        "{}",
        reduced.err
    );
}
