//! What was measured and lost, or counted and is not of the commit: it is told, with its place, and the run does not stand for its
//! branch.

use serde_json::{Value, json};

use super::hits;
use crate::local::{project, run, verb};
use crate::support::{Ended, Home, Project};

/// The ledger of a step.
#[track_caller]
fn ledger(run: &Ended, step: &str) -> Value {
    let meta = run.json("artifacts/meta.json");
    let steps = meta["runs"][0]["ranks"]["steps"].clone();
    let all = steps.as_array().unwrap().clone();
    let own = all.into_iter().find(|it| it["step"] == step);
    own.unwrap_or_else(|| panic!("no `{step}` in {steps:#}"))
}

/// The states of a step's ranks: `[["whole", "0-1"]]`.
fn states(ledger: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let groups = ledger["ranks"].as_array().unwrap();
    let groups = groups
        .iter()
        .map(|it| (text(&it["state"]), text(&it["ranks"])));
    groups.collect()
}

#[track_caller]
fn is_partial(run: &Ended, partial: bool) {
    let summary = run.json("artifacts/coverage/summary.json");
    assert_eq!(summary["partial"], partial, "{:#}", summary["losses"]);
    assert_eq!(summary["losses"] != json!([]), partial);
    let expected = if partial {
        json!(["infrastructure_damaged"])
    } else {
        json!([])
    };
    for document in ["hpc-results.json", "artifacts/meta.json"] {
        let document = run.json(document);
        let marks = document
            .get("marks")
            .unwrap_or(&document["runs"][0]["marks"]);
        assert_eq!(*marks, expected);
    }
    assert_eq!(run.err.contains("lines), partial"), partial, "{}", run.err);
}

/// A run whose steps copy files of the commit to where tracefiles are looked for.
fn of_tracefiles(files: &[(&str, &[u8])], code: i32) -> (Ended, Project) {
    let project = project(
        "[build.tests]\ncoverage = \"lcov\"\n[[test]]\nname = \"copies\"\ncommand = 'cp info/* \"$HPC_CI_TRACEFILE_DIR\"'\n",
    );
    for name in ["src/a.c", "src/b.c"] {
        project.file(name, "int x;\nint y;\nint z;\n");
    }
    for (name, bytes) in files {
        project.file(&format!("info/{name}"), "");
        std::fs::write(project.dir.join("info").join(name), bytes).unwrap();
    }
    project.commit();
    let run = run(&project, &[]).exits_with(code);
    (run, project)
}

const TWO_FILES: &str =
    "SF:src/a.c\nDA:1,5\nDA:2,0\nend_of_record\nSF:src/b.c\nDA:1,1\nend_of_record\n";

#[test]
fn tracefiles_of_editors_and_shells_are_read_whole() {
    let units = |unit: fn(u16) -> [u8; 2]| -> Vec<u8> {
        let text = format!("\u{feff}{TWO_FILES}");
        text.encode_utf16().flat_map(unit).collect()
    };
    let marked = format!("\u{feff}{TWO_FILES}").into_bytes();
    let ends = TWO_FILES.replace('\n', "\r\n").into_bytes();
    let no_end = TWO_FILES.trim_end().as_bytes();
    let files: [(&str, &[u8]); 5] = [
        ("bom.info", &marked),
        ("le.info", &units(u16::to_le_bytes)),
        ("be.info", &units(u16::to_be_bytes)),
        ("crlf.info", &ends),
        ("no-end.info", no_end),
    ];
    let (run, _project) = of_tracefiles(&files, 0);
    let run = run.documents_are_valid();
    assert_eq!(run.line_hits("src/a.c"), [(1, 25), (2, 0)]);
    assert_eq!(run.line_hits("src/b.c"), [(1, 5)]);
    let results = run.json("hpc-results.json");
    assert_eq!(results["coverage"]["coverage_percent"], 66.66);
    is_partial(&run, false);
}

#[test]
fn a_tracefile_that_is_not_used_whole_makes_the_coverage_partial() {
    let sample = |name: &str| {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        std::fs::read(root.join("tests/data/lcov").join(name)).unwrap()
    };
    let cases: &[(&str, Vec<u8>, &[u64], &str)] = &[
        ("utf16.info", sample("c-utf16.info"), &[3], "end_of_record"),
        (
            "fn.info",
            sample("d-negative-fn.info"),
            &[3],
            "lines count from 1",
        ),
        (
            "zero.info",
            sample("e-line-zero.info"),
            &[3, 5],
            "lines count from 1",
        ),
        (
            "da.info",
            sample("o-bad-da.info"),
            &[2, 3, 4, 5],
            "not DA:LINE,HITS",
        ),
        (
            "cut.info",
            b"SF:src/b.c\nDA:1,1\nDA:2".to_vec(),
            &[3, 3],
            "in the middle of",
        ),
        (
            "new.info",
            format!("{TWO_FILES}SF:src/b.c\nNEW:1\nend_of_record\n").into(),
            &[9],
            "unknown kind",
        ),
        (
            "gzip.info",
            b"\x1f\x8b\x08\x00rest".to_vec(),
            &[1],
            "compressed by gzip",
        ),
    ];
    for (name, bytes, lines, reason) in cases {
        let files = [
            ("good.info", TWO_FILES.as_bytes()),
            (*name, bytes.as_slice()),
        ];
        let (run, _project) = of_tracefiles(&files, 0);
        let run = run.documents_are_valid();
        is_partial(&run, true);
        let losses = run.json("artifacts/coverage/summary.json")["losses"].clone();
        let losses = losses.as_array().unwrap();
        let told: Vec<u64> = losses
            .iter()
            .map(|it| it["line"].as_u64().unwrap())
            .collect();
        assert_eq!(told, *lines, "{name}");
        for loss in losses {
            assert_eq!(
                (&loss["file"], &loss["step"]),
                (&json!(name), &json!("copies"))
            );
        }
        assert!(
            losses[0]["reason"].as_str().unwrap().contains(reason),
            "{losses:#?}"
        );
        let said = format!(
            "tracefile `{name}` of `copies` was not used whole: line {}: ",
            lines[0]
        );
        assert!(
            run.err.contains(&said) && run.err.contains(reason),
            "{}",
            run.err
        );
        // What is good in it, and in others, counts.
        assert!(hits(&run.line_hits("src/a.c"), 1) >= 5, "{name}");
    }
}

#[test]
fn tracefiles_without_a_source_file_are_told_too() {
    let good = TWO_FILES.as_bytes();
    let (run, _project) = of_tracefiles(&[("good.info", good), ("empty.info", b"")], 0);
    is_partial(&run, true);
    let losses = run.json("artifacts/coverage/summary.json")["losses"].clone();
    assert_eq!(
        losses,
        json!([{"file": "empty.info", "step": "copies", "line": null, "reason": "it holds no source file"}])
    );
    let (none, _project) = of_tracefiles(&[("a.info", b"\0\0\0"), ("b.info", b"")], 3);
    assert!(
        none.err.contains("none of 2 tracefiles could be used"),
        "{}",
        none.err
    );
}

#[test]
fn counts_that_are_bent_are_said_and_nothing_is_lost_with_them() {
    let bent = b"SF:src/a.c\nDA:1,-5\nDA:2,1.84467440737096e+19\nend_of_record\n";
    let (run, _project) = of_tracefiles(&[("bent.info", bent)], 0);
    is_partial(&run, false);
    assert!(
        run.err.contains("1 negative counts are taken for 0"),
        "{}",
        run.err
    );
    assert!(run.err.contains("beyond 64 bits"), "{}", run.err);
}

#[test]
fn tracefiles_count_for_files_of_the_commit_only() {
    let text = format!("{TWO_FILES}SF:src/made.c\nDA:1,1\nend_of_record\n");
    let (run, _project) = of_tracefiles(&[("a.info", text.as_bytes())], 0);
    let summary = run.json("artifacts/coverage/summary.json");
    assert_eq!(
        summary["left_out"]["not_in_commit"]["examples"],
        json!(["src/made.c"])
    );
    assert_eq!(summary["lines"]["total"], 3);
    is_partial(&run, false);
}

#[test]
fn the_marks_of_lcov_2_5_survive_adding_up() {
    let folder = Project::new(Home::Here);
    let text = "SF:a.c\nDA:1,1\nBRDA:1,eU0,0,1\nBRDA:1,f1,x > 0,-\nBRDA:1,U2,1,2\n\
                MCDC:1,U2,t,1,0,a\nMCDC:1,U2,f,0,0,a\nMCDC:1,2,t,3,1,b\nMCDC:1,2,f,0,1,b\nend_of_record\n";
    folder.file("a.info", text);
    folder.file(
        "b.info",
        &format!("{text}SF:a.c\nMCDC:1,2,fU,7,1,b\nend_of_record\n"),
    );
    let done = verb(&folder, &["merge", "-o", "-", "a.info", "b.info"]).exits_with(0);
    for line in [
        "BRDA:1,eU0,0,2\n",
        "BRDA:1,f1,x > 0,-\n",
        "BRDA:1,U2,1,4\n",
        "MCDC:1,U2,t,2,0,a\n",
        "MCDC:1,U2,f,0,0,a\n",
        "MCDC:1,2,t,6,1,b\n",
        "MCDC:1,2,f,0,1,b\n",
        "MCF:2\nMCH:1\n",
        "BRF:1\nBRH:0\n",
    ] {
        assert!(done.out.contains(line), "no {line} in {}", done.out);
    }
    assert!(
        done.err
            .contains("b.info: line 12: `MCDC:1,2,fU,7,1,b` is not MCDC"),
        "{}",
        done.err
    );
}

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
