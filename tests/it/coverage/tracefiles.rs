//! `coverage = "lcov"` and `hpc-ci merge`: counts of tracefiles that others wrote.

use insta::assert_snapshot;

use super::hits;
use crate::local::{project, run, verb};
use crate::support::Project;

#[test]
fn tracefiles_of_four_ranks_add_up() {
    let project = project(
        r#"
[build.tests]
coverage = "lcov"
[coverage]
include = ["src/**"]
exclude = ["src/generated.jl"]
[[test]]
name = "writes"
command = '''
cd "$HPC_CI_TRACEFILE_DIR" || exit
above=$((HPC_CI_RANK > 0))
printf 'SF:%s/src/halo.jl\nDA:1,2\nDA:2,%d\nDA:3,0\nend_of_record\n' "$TREE" $above >"halo-$HPC_CI_RANK.info"
printf 'SF:src/generated.jl\nDA:1,1\nend_of_record\nSF:/usr/share/julia/base.jl\nDA:1,1\nend_of_record\n' >"other-$HPC_CI_RANK.info"
[ $HPC_CI_RANK != 3 ] || printf '\000\001 no tracefile' >broken.info
'''
ranks = 4
environment = { setup = 'export TREE=$PWD' }
"#,
    );
    let run = run(&project, &[]).exits_with(0);
    assert_eq!(run.line_hits("src/halo.jl"), [(1, 8), (2, 3), (3, 0)]);
    let text = run.text("artifacts/coverage/lcov.info");
    assert_eq!(text.matches("SF:").count(), 1, "{text}");
    assert!(run.err.contains("broken.info"), "{}", run.err);
    let coverage = &run.json("hpc-results.json")["coverage"];
    assert_eq!(coverage["covered_lines"], 2);
    assert_eq!(coverage["total_lines"], 3);
}

#[test]
fn a_step_that_writes_no_tracefile_is_no_proof() {
    let project = project(
        "[build.tests]\ncoverage = \"lcov\"\n[[test]]\nname = \"test\"\ncommand = \"true\"\n",
    );
    let run = run(&project, &[]).exits_with(3);
    assert!(run.err.contains("HPC_CI_TRACEFILE_DIR"), "{}", run.err);
    assert_eq!(run.outcome("test").0, "passed");
}

/// A folder with tracefiles, no project at all.
fn folder() -> Project {
    let folder = Project::new(crate::support::Home::Here);
    folder.file(
        "one.info",
        "TN:\nSF:a.c\nFN:1,f\nFNDA:2,f\nDA:1,2\nDA:2,0\nLF:2\nLH:1\nend_of_record\n",
    );
    folder.file(
        "two.info",
        "SF:a.c\nDA:1,3\nDA:7,1\nend_of_record\nSF:b.c\nDA:1,1\nend_of_record\n",
    );
    folder.file(
        "cut.info",
        "SF:a.c\nDA:1,1\nDA:2,\nDA:zwei,1\nend_of_record\nSF:c.c\nDA:1,9",
    );
    folder.file("empty.info", "");
    folder
}

#[test]
fn merge_adds_tracefiles_up() {
    let folder = folder();
    let done = verb(
        &folder,
        &["merge", "-o", "sum.info", "one.info", "two.info"],
    )
    .exits_with(0);
    assert_eq!(done.out, "");
    let sum = std::fs::read_to_string(folder.dir.join("sum.info")).unwrap();
    assert_snapshot!(sum, @"
    SF:a.c
    FN:1,f
    FNDA:2,f
    FNF:1
    FNH:1
    DA:1,5
    DA:2,0
    DA:7,1
    BRF:0
    BRH:0
    LF:3
    LH:2
    end_of_record
    SF:b.c
    FNF:0
    FNH:0
    DA:1,1
    BRF:0
    BRH:0
    LF:1
    LH:1
    end_of_record
    ");
    let printed = verb(&folder, &["merge", "-o", "-", "two.info", "one.info"]).exits_with(0);
    assert_eq!(printed.out, sum, "the order does not matter");
}

#[test]
fn merge_names_what_it_could_not_use() {
    let folder = folder();
    let files = ["one.info", "cut.info", "empty.info", "missing.info"];
    let done = verb(&folder, &[&["merge", "-o", "-"], &files[..]].concat()).exits_with(0);
    assert!(done.out.contains("SF:a.c"), "{}", done.out);
    for file in &files[1..] {
        assert!(done.err.contains(file), "no {file} in {}", done.err);
    }
    let lines: Vec<(u32, u64)> = done
        .out
        .lines()
        .filter_map(|line| line.strip_prefix("DA:")?.split_once(','))
        .map(|(line, count)| (line.parse().unwrap(), count.parse().unwrap()))
        .collect();
    assert_eq!(hits(&lines, 1), 3);

    let none = verb(&folder, &["merge", "-o", "sum.info", "empty.info"]).exits_with(3);
    assert!(none.err.contains("none of the tracefiles"), "{}", none.err);
    assert!(!folder.dir.join("sum.info").exists());
}
