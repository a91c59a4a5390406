//! `plan`, `config` and the other verbs that only print, and what selects steps.

use insta::assert_snapshot;
use serde_json::Value;

use super::{here, project, run, verb};
use crate::support::{Ended, Home, Project};

const STEPS: &str = r#"
[project]
name = "heat"
[build.tests]
command = "echo built with '{features}' >built"
[[test]]
name = "halo"
tags = ["nightly"]
command = "./halo {ranks}"
matrix = { ranks = [1, 2, 4], features = ["", "rma"], exclude = [{ ranks = 1, features = "rma" }] }
[[test]]
name = "mesh"
suite = "unit"
command = "./mesh"
[[benchmark]]
name = "solver/3d"
command = "./solver --ranks {ranks}"
metric = { pattern = 'time: ([0-9.]+) ms', unit = "ms" }
"#;

fn names(project: &Project, arguments: &[&str]) -> Vec<String> {
    let arguments: Vec<&str> = ["plan", "--list"]
        .iter()
        .chain(arguments)
        .copied()
        .collect();
    let ended = run(project, &arguments).exits_with(0);
    ended.out.lines().map(str::to_owned).collect()
}

fn document(ended: &Ended) -> Value {
    serde_json::from_str(&ended.out).unwrap()
}

#[test]
fn names_and_expressions_select() {
    let project = project(STEPS);
    for (asked, expected) in [
        (&["mesh"][..], &["mesh"][..]),
        (&["solv", "mesh"], &["mesh", "solver/3d"]),
        (&["--tests-only", "-E", "suite(unit)"], &["mesh"]),
        (&["--benchmarks-only"], &["solver/3d"]),
        (
            &["-E", "tag(nightly) & !ranks(1) & name(*rma*)"],
            &["halo[ranks=2,features=rma]", "halo[ranks=4,features=rma]"],
        ),
        (
            &["halo", "-E", "ranks(4)"],
            &["halo[ranks=4,features=]", "halo[ranks=4,features=rma]"],
        ),
    ] {
        assert_eq!(names(&project, asked), expected, "{asked:?}");
    }
}

#[test]
fn ranks_and_features_select_where_an_axis_has_them_and_replace_elsewhere() {
    let project = project(STEPS);
    let on_two = &[
        "halo[ranks=2,features=]",
        "halo[ranks=2,features=rma]",
        "mesh",
        "solver/3d",
    ];
    assert_eq!(names(&project, &["--ranks", "2"]), on_two);
    assert_eq!(
        names(&project, &["halo", "--features", "rma"]),
        ["halo[ranks=2,features=rma]", "halo[ranks=4,features=rma]"]
    );

    let arguments = ["plan", "--format", "json", "--scheduler", "local"];
    let output = here(&project, &arguments)
        .env("MPI_NP", "2")
        .output()
        .unwrap();
    let plan = document(&Ended::of(&project.dir, &output).exits_with(0));
    for step in plan["steps"].as_array().unwrap() {
        assert_eq!(step["step"]["resources"]["ranks"], 2, "{step:#}");
    }

    let arguments = ["plan", "--format", "json", "mesh", "--features", "fast,rma"];
    let plan = document(&run(&project, &arguments).exits_with(0));
    assert_eq!(
        plan["builds"][0]["command"]["shell"],
        "echo built with 'fast,rma' >built"
    );
}

#[test]
fn a_selection_of_nothing_names_what_comes_near() {
    let project = project(STEPS);
    let ended = run(&project, &["hallo"]).exits_with(2);
    assert_snapshot!(ended.err, @"
    error: no step matches `hallo`
      help: there is `halo`
    ");
    assert!(!project.dir.join("hpc-ci").exists());
    let ended = run(&project, &["-E", "rank(2)"]).exits_with(2);
    assert!(ended.err.contains("ranks"), "{}", ended.err);
}

#[test]
fn plan_shows_scripts_and_leaves_nothing_behind() {
    let project = project(STEPS);
    let plan = document(&run(&project, &["plan", "--format", "json"]).exits_with(0));
    let steps = plan["steps"].as_array().unwrap();
    assert_eq!(steps.len(), 7);
    for step in steps {
        let script = step["script"].as_str().unwrap();
        assert!(script.starts_with("#!/bin/bash -p\n"), "{script}");
        let name = step["step"]["name"].as_str().unwrap();
        assert!(script.contains(name), "{name}: {script}");
        assert!(step["submit"].as_str().unwrap().starts_with("bash "));
    }
    assert_eq!(plan["place"], "local");
    // Six tests and a benchmark, each 10 minutes and 2 of margin on one node.
    let hours = plan["node_hours"].as_f64().unwrap();
    assert!((hours - 7.0 * 0.2).abs() < 1e-9, "{hours}");

    let slurm = ["plan", "mesh", "--format", "json", "--scheduler", "slurm"];
    let plan = document(&verb(&project, &slurm).exits_with(0));
    let submit = plan["steps"][0]["submit"].as_str().unwrap();
    assert!(submit.starts_with("sbatch "), "{submit}");
    assert!(submit.contains("hpc-ci/heat/mesh"), "{submit}");

    let text = run(&project, &["plan"]).exits_with(0).out;
    let dry = run(&project, &["run", "--dry-run"]).exits_with(0).out;
    assert_eq!(text, dry);
    assert!(text.contains("solver/3d") && text.contains("#!/bin/bash"));
    assert!(
        !project.dir.join("hpc-ci").exists(),
        "a plan left something"
    );
}

#[test]
fn config_tells_where_each_setting_came_from() {
    let project = project(STEPS);
    let site = project.dir.with_file_name("config").join("hpc-ci");
    std::fs::create_dir_all(&site).unwrap();
    std::fs::write(
        site.join("config.toml"),
        "[scheduler]\naccount = \"phys\"\n",
    )
    .unwrap();
    let keys = ["project.name", "scheduler.account", "scheduler.time"];
    let text = verb(&project, &[&["config"], &keys[..]].concat()).exits_with(0);
    let text = text
        .out
        .replace(project.dir.parent().unwrap().to_str().unwrap(), "DIR");
    assert_snapshot!(text, @r#"
    project.name       "heat"  # hpc.toml:3
    scheduler.time     "10m"  # default
    scheduler.account  "phys"  # DIR/config/hpc-ci/config.toml:2
    "#);
    let json = document(&verb(&project, &["config", "--format", "json"]).exits_with(0));
    let settings = json["settings"].as_array().unwrap();
    let build = settings
        .iter()
        .find(|it| it["key"] == "build.tests.command")
        .unwrap();
    assert_eq!(build["origin"], "hpc.toml:5");
}

#[test]
fn there_is_help_for_every_shell_and_reader() {
    let project = project(STEPS);
    let help = verb(&project, &["--help"]).exits_with(0).out;
    for part in [
        "Examples:",
        "Exit codes:",
        "128+n",
        "--tests-only",
        "MPI_NP",
    ] {
        assert!(help.contains(part), "no {part} in {help}");
    }
    for verb_name in ["run", "plan", "config", "merge", "fetch"] {
        assert!(
            help.contains(&format!("\n  {verb_name} ")),
            "no {verb_name}"
        );
    }
    let script = verb(&project, &["completions", "bash"]).exits_with(0).out;
    project.file("completions", &script);
    let told = project
        .command("bash")
        .args(["-c", "source ./completions && complete -p hpc-ci"])
        .output()
        .unwrap();
    assert!(told.status.success(), "{told:?}");
    let page = verb(&project, &["man"]).exits_with(0).out;
    assert!(page.contains(".TH hpc-ci 1"), "{page}");
    assert!(page.contains("tests\\-only"), "{page}");
    verb(&project, &["--version"]).exits_with(0);
}

#[test]
fn bad_usage_exits_with_2() {
    let project = project(STEPS);
    for arguments in [
        &["--no-such-flag"][..],
        &["--tests-only", "--benchmarks-only"],
        &["--ranks", "zero"],
        &["--scheduler", "pbs"],
        &["completions", "cmd.exe"],
        &["merge"],
        &["--config", "no/such.toml"],
    ] {
        let ended = verb(&project, arguments);
        assert_eq!(ended.code, Some(2), "{arguments:?}: {}", ended.err);
        assert!(!ended.err.is_empty(), "{arguments:?}");
        assert_eq!(ended.out, "", "{arguments:?}");
    }
}

#[test]
fn a_folder_without_settings_is_told_what_is_missing() {
    let project = Project::new(Home::Here);
    let ended = verb(&project, &[]).exits_with(2);
    assert!(ended.err.contains("no `hpc.toml` in"), "{}", ended.err);
    assert!(ended.err.contains("help:"), "{}", ended.err);
}

#[test]
fn the_settings_of_a_parent_folder_are_found() {
    let project = project(STEPS);
    project.file("src/deep/file", "");
    let mut command = here(&project, &["plan", "--list", "mesh"]);
    let output = command.current_dir(project.dir.join("src/deep")).output();
    let ended = Ended::of(&project.dir, &output.unwrap()).exits_with(0);
    assert_eq!(ended.out, "mesh\n");
}
