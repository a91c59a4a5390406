//! Coverage that is made in a job, on the dev cluster.

use serde_json::{Value, json};

use crate::cluster_coverage::project;
use crate::support::tools::full;
use crate::support::{Ended, Home, Project, until};

const STEP: &str = "[[test]]\nname = \"pass\"\ncommand = \"build/ranks\"\nranks = 4\n";
const IN_JOB: &str = "[coverage]\nwhere = \"job\"\ncpus = 2\n";

/// A file of each run.
fn of_runs(project: &Project, file: &str) -> String {
    let runs = std::fs::read_dir(project.dir.join("hpc-ci/runs"));
    let runs = runs.into_iter().flatten();
    let files = runs.map(|run| run.unwrap().path().join(file));
    files
        .filter_map(|file| std::fs::read_to_string(file).ok())
        .collect()
}

/// How often something happened to the job of the coverage, by the journal.
fn count(project: &Project, event: &str) -> usize {
    let journal = of_runs(project, "journal.jsonl");
    let event = format!("\"event\":\"{event}\"");
    let is_ours = |line: &&str| line.contains(&event) && line.contains("++coverage");
    journal.lines().filter(is_ours).count()
}

fn submitted(project: &Project) -> usize {
    count(project, "submitted")
}

#[test]
fn coverage_that_a_job_makes_is_the_same_to_the_byte() {
    let (here, other) = (project(STEP), project(&format!("{STEP}{IN_JOB}")));
    let made_here = here.run(&["--tests-only"]).exits_with(0);
    let by_job = other.run(&["--tests-only"]).exits_with(0);
    let lines = |run: &Ended| run.text("artifacts/coverage/lcov.info");
    assert!(lines(&made_here).contains("SF:ranks.c\n"));
    assert_eq!(lines(&made_here), lines(&by_job));
    let ranks = |run: &Ended| {
        let mut document = run.json("artifacts/coverage/ranks.json");
        assert!(document["commit"].take().is_string());
        document
    };
    assert_eq!(ranks(&made_here), ranks(&by_job));
    let objects = |run: &Ended| {
        let list = run.json("artifacts/coverage/objects.json");
        let objects = list["objects"].as_array().unwrap().iter();
        let figures = |it: &Value| {
            (
                it["path"].clone(),
                it["functions"].clone(),
                it["profiles"].clone(),
            )
        };
        objects.map(figures).collect::<Vec<_>>()
    };
    assert_eq!(objects(&made_here), objects(&by_job));
    let ledger = |run: &Ended| {
        let meta = run.json("artifacts/meta.json");
        let mut ranks = meta["runs"][0]["ranks"].clone();
        for step in ranks["steps"].as_array_mut().unwrap() {
            step["nodes"].take();
        }
        ranks
    };
    assert_eq!(ledger(&made_here), ledger(&by_job));
    assert_eq!((submitted(&here), submitted(&other)), (0, 1));
    let record: Value =
        serde_json::from_str(&of_runs(&other, "steps/++coverage/1/exit.json")).unwrap();
    assert!(
        record["host"].as_str().unwrap().starts_with('n'),
        "{record}"
    );
    let plan = other
        .run(&["plan", "--no-scripts", "--tests-only"])
        .exits_with(0);
    let shown = "coverage · in a job · 2 cpus · time 10m";
    assert!(plan.out.contains(shown), "{}", plan.out);
}

#[test]
fn a_job_of_the_coverage_outlives_its_driver_and_is_submitted_once() {
    let project = project(&format!("{STEP}{IN_JOB}"));
    let mut driver = project.start(&["--tests-only"]);
    until(|| (submitted(&project) > 0).then_some(()));
    driver.kill().unwrap();
    driver.wait().unwrap();
    let status = project.run(&["status", "--format", "json"]);
    let status: Value = serde_json::from_str(&status.out).unwrap();
    // Nobody looks after it now, so nobody knows of its end, unless the driver was that quick.
    let known = count(&project, "ended") > 0;
    assert_eq!(status["coverage_job"].is_string(), !known, "{status:#}");
    // Whoever does not wait for it finds it at work, or done.
    until(|| {
        let look = project.run(&["resume", "--no-wait"]);
        let unfinished = look.code == Some(75);
        if unfinished {
            project.run(&["status"]).exits_with(75);
        }
        (!unfinished).then(|| look.exits_with(0))
    });
    assert_eq!(submitted(&project), 1);
    let run = project.run(&["resume"]).exits_with(0);
    assert!(run.line_hits("ranks.c").len() > 10);
}

#[test]
fn a_job_of_the_coverage_that_comes_to_nothing_costs_none() {
    if !full() {
        return;
    }
    let project = project(&format!("{STEP}{IN_JOB}partition = \"nowhere\"\n"));
    let run = project.run(&["--tests-only"]).exits_with(0);
    assert!(run.line_hits("ranks.c").len() > 10);
    let said = "coverage was made on the driver's host, since its job ended otherwise: ";
    assert!(run.err.contains(said), "{}", run.err);
    assert_eq!(submitted(&project), 0);
}

/// Two nodes run a program that the next step builds again, and start children without an environment.
#[test]
fn what_is_lost_is_told_alike_from_nodes_and_by_a_job() {
    const PROGRAM: &str = "int kept(int n) {\n    return n + 1;\n}\nint changed(int n) {\n#ifdef NEW\n    if (n > 1)\n        return 2;\n#endif\n    return n;\n}\nint main(int argc, char **argv) {\n    (void)argv;\n    return kept(changed(argc)) - 2;\n}\n";
    let settings = |more: &str| {
        format!(
            r#"
[[test]]
name = "before"
command = './p && env -i LLVM_PROFILE_FILE=own-$HPC_CI_RANK.profraw ./p'
ranks = 4
nodes = 2
launcher = "srun"
[[test]]
name = "after"
command = "clang-22 -DNEW -o p p.c && ./p"
needs = ["before"]
{more}"#
        )
    };
    let mut made = Vec::new();
    let on_shared_storage = "[coverage]\nkeep_profiles = \"always\"\n";
    for more in ["", IN_JOB, on_shared_storage] {
        let project = Project::new(Home::Cluster);
        project.file("p.c", PROGRAM);
        project.file(
            "hpc.toml",
            &format!(
                "[build.tests]\ncommand = \"clang-22 -o p p.c\"\ncoverage = \"llvm\"\n{}",
                settings(more)
            ),
        );
        project.commit();
        let run = project
            .run(&["--tests-only"])
            .exits_with(0)
            .documents_are_valid();
        let mut ranks = run.json("artifacts/meta.json")["runs"][0]["ranks"].clone();
        assert_eq!(
            ranks["steps"][0]["ranks"],
            json!([{"state": "foreign", "count": 4, "ranks": "0-3"}]),
            "{ranks:#}"
        );
        assert_eq!(ranks["steps"][1]["used"], 1);
        let elsewhere = ranks["elsewhere"].as_array().unwrap();
        let files: Vec<&str> = elsewhere
            .iter()
            .map(|it| it["file"].as_str().unwrap())
            .collect();
        assert_eq!(
            files,
            [0, 1, 2, 3].map(|rank| format!("own-{rank}.profraw"))
        );
        assert!(
            elsewhere
                .iter()
                .all(|it| it["state"] == "foreign" && it["used"] == false)
        );
        let summary = run.json("artifacts/coverage/summary.json");
        assert_eq!(summary["partial"], true);
        assert_eq!(
            run.json("hpc-results.json")["marks"],
            json!(["infrastructure_damaged"])
        );
        // Four ranks, four children, and the step behind them.
        assert!(
            run.line_hits("p.c").contains(&(2, 9)),
            "{:?}",
            run.line_hits("p.c")
        );
        for step in ranks["steps"].as_array_mut().unwrap() {
            step["nodes"].take();
            for problem in step["problems"].as_array_mut().unwrap() {
                // It has the number of a process.
                problem["file"].take();
            }
        }
        made.push((ranks, run.text("artifacts/coverage/lcov.info")));
    }
    assert!(made.iter().all(|it| *it == made[0]), "{made:#?}");
}
