//! What is sent where, on real sockets: servers that behave like Codecov's, GitHub's and GitLab's, healthy and otherwise; and
//! the reference clients of each, in `ci/test --full`.

mod at_once;
mod codecov;
mod forges;
mod outbox;
mod reference;
mod secrets;
pub(crate) mod server;

use std::process::Command;

use serde_json::Value;

use crate::local::here;
use crate::support::{Ended, Home, Project};
use server::Server;

/// A token that must be found nowhere.
pub(crate) const TOKEN: &str = "tok-5f4dcc3b5aa765d61d8327deb882cf99";

/// A project in C and Rust with one test that leaves a tracefile, one that fails on demand, and a benchmark.
pub(crate) fn project(publish: &str) -> Project {
    let project = Project::new(Home::Here);
    project
        .file("src/heat.c", "int heat(int x)\n{\n\n  return x;\n}\n")
        .file("src/lib.rs", "fn main() {\n}\n")
        .file(
            "lcov.info",
            "TN:\nSF:src/heat.c\nDA:1,3\nDA:4,3\nDA:5,0\nend_of_record\nSF:src/lib.rs\nDA:1,1\nend_of_record\n",
        )
        .file(
            "hpc.toml",
            &format!(
                r#"
[project]
name = "heat"
[workspace]
state = "../state"
[publish]
{publish}
[build.tests]
coverage = "lcov"
[[test]]
name = "halo"
command = 'cp lcov.info "$HPC_CI_TRACEFILE_DIR/a.info"'
launcher = "none"
[[test]]
name = "may fail"
command = 'test ! -e {fail}'
launcher = "none"
coverage = false
[[benchmark]]
name = "solver"
command = 'echo time: 1.5 ms'
launcher = "none"
repetitions = 3
warmup = 0
metric = {{ pattern = 'time: ([0-9.]+) ms', unit = "ms" }}
"#,
                fail = project.dir.with_file_name("fail").display(),
            ),
        );
    project.commit();
    git(
        &project,
        &["remote", "add", "origin", "https://github.com/o/r.git"],
    );
    project
}

pub(crate) fn git(project: &Project, words: &[&str]) -> String {
    let output = project.command("git").args(words).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// hpc-ci with none of the tester's tokens and of his CI, and a proxy for nobody.
pub(crate) fn hpc_ci(project: &Project, arguments: &[&str]) -> Command {
    let mut command = here(project, arguments);
    for name in [
        "CODECOV_TOKEN",
        "CODECOV_SLUG",
        "GITHUB_TOKEN",
        "GITLAB_TOKEN",
        "GITHUB_ACTIONS",
        "http_proxy",
        "HTTP_PROXY",
    ] {
        command.env_remove(name);
    }
    command.env("no_proxy", "*");
    command
}

pub(crate) fn ended(project: &Project, command: &mut Command) -> Ended {
    Ended::of(&project.dir, &command.output().unwrap())
}

/// Runs the steps and publishes nothing.
pub(crate) fn run(project: &Project, arguments: &[&str]) -> Ended {
    let mut command = hpc_ci(project, &["--scheduler", "local", "--no-publish"]);
    ended(project, command.args(arguments))
}

/// Publishes with the token for everything.
pub(crate) fn publish(project: &Project, arguments: &[&str]) -> Ended {
    let mut command = hpc_ci(project, &["publish"]);
    with_tokens(&mut command);
    ended(project, command.args(arguments))
}

pub(crate) fn with_tokens(command: &mut Command) {
    for name in ["CODECOV_TOKEN", "GITHUB_TOKEN", "GITLAB_TOKEN"] {
        command.env(name, TOKEN);
    }
}

/// The commit of the project.
pub(crate) fn head(project: &Project) -> String {
    git(project, &["rev-parse", "HEAD"])
}

/// The settings that send coverage and tests to a server.
pub(crate) fn to_codecov(server: &Server) -> String {
    format!(
        "[publish.codecov]\nurl = \"{}\"\nservice = \"github\"\n",
        server.url()
    )
}

/// Every document that waits in the outbox.
pub(crate) fn waiting(project: &Project) -> Vec<Value> {
    let state = project.dir.parent().unwrap().join("state/outbox");
    let mut found = Vec::new();
    for outbox in std::fs::read_dir(state).into_iter().flatten() {
        let items = outbox.unwrap().path().join("items");
        for item in std::fs::read_dir(items).into_iter().flatten() {
            let text = std::fs::read(item.unwrap().path().join("item.json")).unwrap();
            found.push(serde_json::from_slice(&text).unwrap());
        }
    }
    found
}
