//! Tracefiles that are damaged, or written in another way than most.

use super::is_partial;
use crate::coverage::hits;
use crate::local::{project, run, verb};
use crate::support::{Ended, Home, Project};
use serde_json::json;

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
