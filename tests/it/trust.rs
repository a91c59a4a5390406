//! What a commit may ask for and does not get: only the file that hpc-ci was started with says where and for whom.

mod owners;
pub(crate) mod secrets;

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::local::{here, project, run, verb};
use crate::support::{Ended, Home, Project};

/// A commit that asks for everything that is not its own to ask.
const GREEDY: &str = r#"
[project]
name = "greedy"
repository = "https://example.org/other.git"
[workspace]
root = "GREED"
artifacts = "GREED"
[scheduler]
account = "rich"
partition = "gold"
qos = "urgent"
options = ["--reservation=maintenance"]
time = "20h"
[scheduler.limits]
max_nodes = 1000
max_time = "100h"
[trust]
step_options = true
[publish]
auto = true
[publish.codecov]
token_env = "NOT_FOR_IT"
[publish.results_branch]
remote = "https://example.org/other.git"
[cluster.alps.scheduler]
account = "richer"
[[test]]
name = "modest"
command = "true"
[[test]]
name = "too wide"
command = "true"
ranks = 64
nodes = 64
[[test]]
name = "too long"
command = "true"
time = "3h"
[[test]]
name = "in gold"
command = "true"
partition = "gold"
[[test]]
name = "with options"
command = "true"
options = ["--account=rich"]
"#;

/// The file that the person at the machine wrote.
const TRUSTED: &str = r#"
[project]
name = "trusted"
repository = "CHECKOUT"
[scheduler]
account = "phys"
time = "5m"
[scheduler.limits]
max_nodes = 16
max_time = "2h"
partitions = ["debug", "batch"]
"#;

/// The greedy project, and a trusted file outside of it.
fn greedy() -> (Project, PathBuf) {
    let project = Project::new(Home::Here);
    let greed = project.dir.with_file_name("greed");
    project.file(
        "hpc.toml",
        &GREEDY.replace("GREED", greed.to_str().unwrap()),
    );
    project.commit();
    let elsewhere = project.dir.with_file_name("elsewhere");
    std::fs::create_dir_all(&elsewhere).unwrap();
    let trusted = elsewhere.join("hpc.toml");
    let text = TRUSTED.replace("CHECKOUT", project.dir.to_str().unwrap());
    std::fs::write(&trusted, text).unwrap();
    (project, trusted)
}

#[test]
fn a_commit_gets_nothing_that_is_not_its_own_to_ask_and_is_told() {
    let (project, trusted) = greedy();
    let trusted_text = trusted.to_str().unwrap();
    let mut command = here(
        &project,
        &["plan", "--format", "json", "--config", trusted_text],
    );
    let output = command.args(["--scheduler", "slurm"]).output().unwrap();
    let ended = Ended::of(&project.dir, &output).exits_with(0);
    let plan: Value = serde_json::from_str(&ended.out).unwrap();
    for step in plan["steps"].as_array().unwrap() {
        let asked = &step["step"]["resources"];
        assert_eq!(asked["account"], "phys", "{asked:#}");
        assert_eq!(asked["qos"], Value::Null);
        assert_eq!(asked["options"], json!([]));
        let submit = step["submit"].as_str().unwrap();
        for greed in ["rich", "urgent", "maintenance", "/greed/"] {
            assert!(!submit.contains(greed), "{submit}");
        }
        assert!(submit.contains("hpc-ci/trusted/"), "{submit}");
    }
    let notes = plan["notes"].as_array().unwrap();
    for key in [
        "project.repository",
        "workspace.root",
        "scheduler.account",
        "scheduler.options",
        "scheduler.limits.max_nodes",
        "trust.step_options",
        "publish.codecov",
        "publish.results_branch",
    ] {
        let told = |note: &Value| note.as_str().is_some_and(|it| it.contains(key));
        assert!(notes.iter().any(told), "{key}: {notes:#?}");
    }
}

#[test]
fn steps_beyond_the_limits_are_rejected_and_the_others_run() {
    let (project, trusted) = greedy();
    let mut command = here(&project, &["--scheduler", "local", "--config"]);
    let output = command.arg(&trusted).output().unwrap();
    // Results stand where the trusted file stands.
    let done = Ended::of(trusted.parent().unwrap(), &output).exits_with(3);
    assert!(!project.dir.join("hpc-ci").exists());
    assert!(!project.dir.with_file_name("greed").exists());
    assert_eq!(done.outcome("modest"), ("passed".into(), "passed".into()));
    for (step, reason, help) in [
        ("too wide", "64", "max_nodes"),
        ("too long", "3h", "max_time"),
        ("in gold", "gold", "partitions"),
        ("with options", "--account=rich", "step_options"),
    ] {
        assert_eq!(
            done.outcome(step),
            ("rejected".into(), "error".into()),
            "{step}"
        );
        let message = done.step(step)["message"].as_str().unwrap().to_owned();
        assert!(message.contains(reason), "{step}: {message}");
        assert!(message.contains(help), "{step}: {message}");
    }
    for said in ["scheduler.account", "publish.codecov", "is ignored"] {
        assert!(done.err.contains(said), "no {said} in {}", done.err);
    }
    let results = done.json("hpc-results.json");
    assert_eq!(results["status"], "error");
}

#[test]
fn trusted_step_options_reach_sbatch() {
    let (project, trusted) = greedy();
    let text = std::fs::read_to_string(&trusted).unwrap() + "[trust]\nstep_options = true\n";
    std::fs::write(&trusted, text).unwrap();
    let arguments = [
        "plan",
        "with options",
        "--config",
        trusted.to_str().unwrap(),
    ];
    let json = ["--format", "json", "--scheduler", "slurm"];
    let ended = verb(&project, &[&arguments[..], &json[..]].concat()).exits_with(0);
    let plan: Value = serde_json::from_str(&ended.out).unwrap();
    let submit = plan["steps"][0]["submit"].as_str().unwrap();
    assert!(submit.contains("--account=rich"), "{submit}");
}

/// In a pipeline of GitLab the checkout is the merge request's, its `hpc.toml` included.
#[test]
fn in_a_pipeline_the_checkout_is_not_trusted() {
    let (project, trusted) = greedy();
    let in_pipeline = |arguments: &[&str]| {
        let mut command = here(&project, arguments);
        command
            .args(["plan", "--format", "json", "modest", "--scheduler", "slurm"])
            .env("GITLAB_CI", "true")
            .env("CI_PROJECT_DIR", &project.dir);
        command
    };
    let plan = |command: &mut std::process::Command| {
        let ended = Ended::of(&project.dir, &command.output().unwrap()).exits_with(0);
        let plan: Value = serde_json::from_str(&ended.out).unwrap();
        (plan["steps"][0]["step"]["resources"].clone(), ended.err)
    };
    let (asked, said) = plan(&mut in_pipeline(&[]));
    assert_eq!(asked["account"], Value::Null, "{asked:#}");
    assert_eq!(asked["partition"], Value::Null);
    assert_eq!(asked["options"], json!([]));
    assert!(said.contains("comes with the commit"), "{said}");

    // Naming the same file changes nothing: it is still in the checkout.
    let own = project.dir.join("hpc.toml");
    let (asked, _) = plan(in_pipeline(&[]).arg("--config").arg(&own));
    assert_eq!(asked["account"], Value::Null);
    // Nor does a way around: a link to it, or a path that leads out and in again.
    let link = project.dir.join("../project/link.toml");
    std::os::unix::fs::symlink(&own, &link).unwrap();
    let (asked, said) = plan(in_pipeline(&[]).arg("--config").arg(&link));
    assert_eq!(asked["account"], Value::Null);
    assert!(said.contains("comes with the commit"), "{said}");

    let (asked, said) = plan(in_pipeline(&[]).arg("--config").arg(&trusted));
    assert_eq!(asked["account"], "phys");
    assert!(!said.contains("comes with the commit"), "{said}");

    // The site's own file holds everywhere.
    let site = project.dir.with_file_name("config").join("hpc-ci");
    std::fs::create_dir_all(&site).unwrap();
    std::fs::write(
        site.join("config.toml"),
        "[scheduler]\naccount = \"site\"\n",
    )
    .unwrap();
    let (asked, _) = plan(&mut in_pipeline(&[]));
    assert_eq!(asked["account"], "site");
}

const STEP: &str = "[[test]]\nname = \"test\"\ncommand = \"echo committed\"\n";

#[test]
fn a_local_file_that_differs_from_the_commits_is_said() {
    let project = project(STEP);
    project.file("hpc.toml", &STEP.replace("committed", "local"));
    let done = run(&project, &[]).exits_with(0);
    assert_eq!(done.log("test"), "committed\n");
    assert!(done.err.contains("the local one differs"), "{}", done.err);
    let done = run(&project, &["--local-config"]).exits_with(0);
    assert_eq!(done.log("test"), "local\n");
}

#[test]
fn a_commit_without_settings_is_tested_by_the_local_file() {
    let project = project(STEP);
    std::fs::remove_file(project.dir.join("hpc.toml")).unwrap();
    project.commit();
    project.file("hpc.toml", &STEP.replace("committed", "local"));
    let done = run(&project, &[]).exits_with(0);
    assert_eq!(done.log("test"), "local\n");
    assert!(done.err.contains("has no `hpc.toml`"), "{}", done.err);
}

#[test]
fn settings_of_the_commit_see_no_secret() {
    let project = project(
        "[[test]]\nname = \"test\"\ncommand = \"true\"\ncwd = \"${CODECOV_TOKEN}\"\n[coverage]\nobjects = [\"${CODECOV_TOKEN}/x\"]\n",
    );
    let mut command = here(&project, &["plan", "--scheduler", "local"]);
    let output = command.env("CODECOV_TOKEN", "s3cret").output().unwrap();
    let ended = Ended::of(&project.dir, &output).exits_with(2);
    assert!(ended.err.contains("CODECOV_TOKEN"), "{}", ended.err);
    assert!(!ended.err.contains("s3cret"), "{}", ended.err);
}

#[test]
fn branches_tags_and_forks_run_only_where_trust_names_them() {
    let toml = "[trust]\nbranches = [\"release/*\"]\n[[test]]\nname = \"a\"\ncommand = \"true\"\n";
    let project = project(toml);
    let refused = run(&project, &[]).exits_with(2);
    assert!(
        refused.err.contains("branch `main` may not run here"),
        "{}",
        refused.err
    );
    assert!(refused.err.contains("release/*"), "{}", refused.err);
    assert!(!project.dir.join("hpc-ci/artifacts").exists());
    run(&project, &["--branch", "release/1", "--commit", "HEAD"]).exits_with(0);
    let of_fork = |variable: (&str, &str)| {
        let mut command = here(&project, &["--scheduler", "local", "--branch", "release/1"]);
        command
            .args(["--commit", "HEAD"])
            .env("GITLAB_CI", "true")
            .env("CI_PROJECT_ID", "7")
            .env("CI_PROJECT_DIR", "/elsewhere")
            .env(variable.0, variable.1);
        Ended::of(&project.dir, &command.output().unwrap())
    };
    let fork = of_fork(("CI_MERGE_REQUEST_SOURCE_PROJECT_ID", "8")).exits_with(2);
    assert!(
        fork.err.contains("fork `8` may not run here"),
        "{}",
        fork.err
    );
    let tag = of_fork(("CI_COMMIT_TAG", "v1")).exits_with(2);
    assert!(tag.err.contains("tag `v1` may not run here"), "{}", tag.err);
    of_fork(("CI_MERGE_REQUEST_SOURCE_PROJECT_ID", "7")).exits_with(0);
}
