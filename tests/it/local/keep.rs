//! What `keep` saves of a step, however that ends, and what it must not touch.

use serde_json::{Value, json};

use super::{project, run, verb};
use crate::support::tools::full;
use crate::support::{Ended, Project};

/// What was kept of the attempts of a step, each with its files and what they hold.
#[track_caller]
fn kept(run: &Ended, project: &Project, step: &str) -> Vec<(Value, Vec<(String, String)>)> {
    let record = run.step(step);
    let all = record["kept"].as_array().unwrap().iter();
    all.map(|kept| {
        let folder = project
            .dir
            .join("hpc-ci/artifacts/tests")
            .join(kept["folder"].as_str().unwrap());
        let names = kept["names"].as_array().unwrap().iter();
        let files = names.map(|name| {
            let name = name.as_str().unwrap().to_owned();
            let text = std::fs::read_to_string(folder.join(&name)).unwrap();
            (name, text)
        });
        (kept.clone(), files.collect())
    })
    .collect()
}

fn files(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = expected.iter();
    owned
        .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
        .collect()
}

#[test]
fn every_attempt_keeps_what_it_wrote_whatever_its_end() {
    let project = Project::new(crate::support::Home::Here);
    project.file("old.dat", "of the commit\n").file(
        "hpc.toml",
        r#"
[[test]]
name = "plots"
command = '''
mkdir -p out/deep; echo "plot $HPC_CI_ATTEMPT" >out/deep/a.png; echo no >out/deep/a.txt
echo core >core.1; echo own >"$HPC_CI_STEP_DIR/own.dat"; mkdir folder; echo in >folder/x
exit $((HPC_CI_ATTEMPT == 2 ? 0 : 3))
'''
cwd = "private"
retries = 1
keep = ["out/**/*.png", "core*", "*.dat", "folder/", "*.vtk"]
"#,
    );
    project.commit();
    let run = run(&project, &[]).exits_with(0);
    let kept = kept(&run, &project, "plots");
    assert_eq!(kept.len(), 2, "{kept:?}");
    for (number, (record, found)) in (1..).zip(&kept) {
        let plot = format!("plot {number}\n");
        let expected = [
            ("out/deep/a.png", plot.as_str()),
            ("core.1", "core\n"),
            ("own.dat", "own\n"),
            ("folder/x", "in\n"),
        ];
        assert_eq!(*found, files(&expected));
        assert_eq!(
            (&record["attempt"], &record["files"], &record["bytes"]),
            (&json!(number), &json!(4), &json!(7 + 5 + 4 + 3))
        );
        assert_eq!(record["unmatched"], json!(["*.vtk"]));
        assert_eq!(record["problems"], json!([]));
    }
    let said = "`*.vtk` of `keep` matches no file that a step wrote";
    assert!(run.err.contains(said), "{}", run.err);
    assert!(run.err.contains("8 files of 1 step"), "{}", run.err);

    let status = verb(&project, &["status", "--format", "json"]).exits_with(0);
    let status: Value = serde_json::from_str(&status.out).unwrap();
    let shown = &status["steps"][0]["kept"];
    assert_eq!((&shown["files"], &shown["bytes"]), (&json!(4), &json!(19)));
    let told = verb(&project, &["status"]).exits_with(0).out;
    assert!(told.contains("4 files (19 B) kept in "), "{told}");
}

#[test]
fn a_failing_step_says_where_its_files_are_and_a_benchmark_keeps_its_own() {
    let project = project(
        r#"
[[test]]
name = "fails"
command = "echo x >why.log; exit 3"
keep = ["why.log"]
[[benchmark]]
name = "solver"
command = "echo time: $RANDOM ms; echo field >field.raw"
repetitions = 2
warmup = 0
metric = { pattern = 'time: ([0-9]+) ms', unit = "ms" }
keep = ["*.raw"]
"#,
    );
    let run = run(&project, &[]).exits_with(1);
    let shown = run.err.lines().find(|line| line.contains("  kept       "));
    let shown = shown.unwrap_or_else(|| panic!("{}", run.err));
    assert!(shown.ends_with("/steps/fails/1/keep (1 file)"), "{shown}");
    let report = verb(&project, &["report"]).exits_with(0).out;
    assert!(report.contains("/steps/fails/1/keep (1 file)"), "{report}");
    let report = verb(&project, &["report", "--format", "json"]).exits_with(0);
    let record: Value = serde_json::from_str(&report.out).unwrap();
    let steps = record["steps"].as_array().unwrap();
    let solver = steps.iter().find(|step| step["name"] == "solver").unwrap();
    assert_eq!(solver["kept"][0]["names"], json!(["field.raw"]));
}

#[test]
fn nothing_outside_of_the_tree_is_kept_by_whatever_link() {
    let project = project(
        r#"
[[test]]
name = "links"
command = '''
mkdir ../victim; echo secret >../victim/token
ln -s "$PWD/../victim" way; ln -s "$PWD/../victim/token" file; ln -s .. up; mkfifo pipe
echo good >good; ln -s good link
ln -s "$PWD/../victim" "$HPC_CI_STEP_DIR/keep"
'''
keep = ["way/token", "way/**", "up/victim/token", "file", "link", "pipe", "good", "**/token"]
"#,
    );
    let run = run(&project, &["links"]).exits_with(0);
    let kept = kept(&run, &project, "links");
    let (record, found) = &kept[0];
    assert_eq!(*found, files(&[("good", "good\n")]));
    let problems = record["problems"].as_array().unwrap();
    let said = |path: &str, why: &str| {
        let wanted = format!("`{path}` was not kept: {why}");
        let any = problems
            .iter()
            .any(|it| it.as_str().unwrap().starts_with(&wanted));
        assert!(any, "{wanted}: {problems:#?}");
    };
    said("way", "it leads out of ");
    said("up/victim", "it leads out of ");
    said("file", "it is a symbolic link");
    said("link", "it is a symbolic link");
    said("pipe", "it is neither a file nor a folder");
    let folder = project.dir.join("hpc-ci/artifacts/tests");
    let folder = folder.join(record["folder"].as_str().unwrap());
    assert!(!folder.is_symlink());
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
    let told = "`keep` of `links`: `way` was not kept: it leads out of ";
    assert!(run.err.contains(told), "{}", run.err);
}

#[test]
fn what_is_beyond_the_limits_is_left_out_and_told() {
    let project = project(
        r#"
[scheduler.limits]
max_kept = "1KiB"
max_kept_files = 2
[[test]]
name = "large"
command = "head -c 2000 /dev/zero >a.raw; head -c 1000 /dev/zero >b.raw; head -c 100 /dev/zero >c.raw; echo d >d.raw; echo e >e.raw"
keep = ["*.raw"]
"#,
    );
    let run = run(&project, &[]).exits_with(0);
    let record = &run.step("large")["kept"][0];
    assert_eq!(record["names"], json!(["b.raw", "d.raw"]));
    assert_eq!(
        record["problems"],
        json!([
            "`a.raw` was not kept: it has 2.0 KiB, and `max_kept` of [scheduler.limits] is 1KiB",
            "`c.raw` was not kept: with its 100 B it would be more than 1KiB, `max_kept` of [scheduler.limits]",
            "`e.raw` was not kept: `max_kept_files` of [scheduler.limits] is 2",
        ])
    );
    let told = "`keep` of `large`: `a.raw` was not kept: it has 2.0 KiB";
    assert!(run.err.contains(told), "{}", run.err);
    assert!(run.err.contains(", and 2 more"), "{}", run.err);
}

/// A command that ends the script that runs it, without a word.
pub(crate) const KILLS_ITS_SCRIPT: &str = "echo x >left.txt; kill -9 $(ps -o ppid= -p $PPID)";

#[test]
fn what_the_script_could_not_keep_its_driver_does() {
    let check = |command: &str, passes: bool| {
        let project = project(&format!(
            "[[test]]\nname = \"a\"\ncommand = '{command}'\nlauncher = \"none\"\nkeep = [\"*.txt\"]\n"
        ));
        let run = run(&project, &[]);
        assert_eq!(run.code == Some(0), passes, "{}", run.err);
        let kept = kept(&run, &project, "a");
        assert_eq!(kept[0].1, files(&[("left.txt", "x\n")]), "{}", run.err);
    };
    let without_helper = r#"echo x >left.txt; rm "$HPC_CI_STEP_DIR/../../../hpc-ci""#;
    check(without_helper, true);
    // A record that does not come is waited for.
    if full() {
        check(KILLS_ITS_SCRIPT, false);
    }
}

#[test]
fn what_is_kept_goes_with_its_run() {
    let project = project(
        "[workspace]\nkeep_runs = 1\n[[test]]\nname = \"a\"\ncommand = \"echo x >a.txt\"\nkeep = [\"a.txt\"]\n",
    );
    let first = run(&project, &[]).exits_with(0);
    let folder = first.step("a")["kept"][0]["folder"].clone();
    let folder = project
        .dir
        .join("hpc-ci/artifacts/tests")
        .join(folder.as_str().unwrap());
    assert!(folder.join("a.txt").is_file());
    run(&project, &[]).exits_with(0);
    verb(&project, &["gc"]).exits_with(0);
    assert!(!folder.exists());
}
