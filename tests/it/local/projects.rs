//! A project is its address and its name: what one remembers is not another's, whatever both are called.

use std::path::PathBuf;

use serde_json::Value;

use super::here;
use crate::support::{Ended, Home, Project};

/// A repository of a project called `heat`, with a benchmark that measures this.
fn heat(time: &str) -> Project {
    let project = Project::new(Home::Here);
    measures(&project, time);
    project
}

fn measures(project: &Project, time: &str) {
    let toml = format!(
        "[project]\nname = \"heat\"\n[[benchmark]]\nname = \"solver\"\nrepetitions = 1\nwarmup = 0\n\
         command = \"echo 'time: {time} ms'\"\nmetric = {{ pattern = 'time: ([0-9.]+) ms', unit = \"ms\" }}\n"
    );
    project.file("hpc.toml", &toml);
    project.commit();
}

fn home(project: &Project) -> PathBuf {
    project.dir.with_file_name("home")
}

/// Runs a project with the home of another.
fn at_home(project: &Project, of: &Project, arguments: &[&str]) -> Ended {
    let mut command = here(project, arguments);
    command.env("HOME", home(of)).args(["--scheduler", "local"]);
    Ended::of(&project.dir, &command.output().unwrap()).exits_with(0)
}

/// Makes what the latest run measured the baseline.
fn accept(project: &Project, of: &Project) {
    let mut command = here(project, &["accept", "--reason", "the first"]);
    let output = command.env("HOME", home(of)).output().unwrap();
    Ended::of(&project.dir, &output).exits_with(0);
}

fn baseline(run: &Ended) -> Value {
    run.json("artifacts/benchmarks/summary.json")["benchmarks"]["solver"]["baseline"]["median"]
        .clone()
}

/// The names of the files below a folder of the state.
fn state(project: &Project, folder: &str) -> Vec<String> {
    let folder = home(project).join(".local/state/hpc-ci").join(folder);
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort_unstable();
    names
}

fn origin(project: &Project, address: &str) {
    crate::support::git_servers::git(&project.dir, &format!("remote add origin {address}"));
}

#[test]
fn two_repositories_of_one_name_share_nothing() {
    let one = heat("10");
    let other = heat("99");
    assert_eq!(baseline(&at_home(&one, &one, &[])), Value::Null);
    accept(&one, &one);
    let run = at_home(&other, &one, &[]);
    assert_eq!(baseline(&run), Value::Null, "{}", run.err);
    assert!(!run.err.contains("against"), "{}", run.err);
    accept(&other, &one);
    measures(&one, "11");
    assert_eq!(baseline(&at_home(&one, &one, &[])), 10.0);
    measures(&other, "100");
    assert_eq!(baseline(&at_home(&other, &one, &[])), 99.0);
    for (folder, files) in [("history", 4), ("elapsed", 2)] {
        let names = state(&one, folder);
        assert_eq!(names.len(), files, "{names:?}");
        assert!(
            names.iter().all(|name| name.starts_with("heat-")),
            "{names:?}"
        );
    }
    let mut trend = here(&other, &["trend"]);
    let shown =
        Ended::of(&other.dir, &trend.env("HOME", home(&one)).output().unwrap()).exits_with(0);
    assert!(
        shown.out.contains("99") && !shown.out.contains("11 ms"),
        "{}",
        shown.out
    );
}

#[test]
fn every_clone_of_a_repository_is_the_same_project() {
    let one = heat("10");
    origin(&one, "git@git.example.org:me/heat.git");
    at_home(&one, &one, &[]);
    accept(&one, &one);
    let clone = Project::new(Home::Here);
    let from = one.dir.display().to_string();
    crate::support::git_servers::git(&clone.dir, "init -q");
    std::fs::remove_file(clone.dir.join(".gitignore")).unwrap();
    crate::support::git_servers::git(&clone.dir, &format!("pull -q {from} main"));
    origin(&clone, "https://ada:secret@GIT.example.org:443/me/heat/");
    measures(&clone, "12");
    assert_eq!(baseline(&at_home(&clone, &one, &[])), 10.0);
    // A work tree beside, without a remote: its repository is what counts.
    let alone = heat("20");
    at_home(&alone, &alone, &[]);
    let beside = alone.dir.with_file_name("beside");
    let git = |words: &str| crate::support::git_servers::git(&alone.dir, words);
    git(&format!("worktree add -q -b topic {}", beside.display()));
    let mut trend = here(&alone, &["trend"]);
    let shown = Ended::of(&alone.dir, &trend.current_dir(&beside).output().unwrap()).exits_with(0);
    assert!(shown.out.contains("20"), "{}", shown.out);
}

#[test]
fn what_an_earlier_version_kept_is_taken_over_once_if_it_is_this_projects() {
    let one = heat("10");
    let other = heat("99");
    at_home(&one, &one, &[]);
    accept(&one, &one);
    let state_dir = home(&one).join(".local/state/hpc-ci");
    for folder in ["history", "elapsed"] {
        for name in state(&one, folder) {
            let ending = name.split_once('.').unwrap().1;
            let old = state_dir.join(folder).join(format!("heat.{ending}"));
            std::fs::rename(state_dir.join(folder).join(&name), old).unwrap();
        }
    }
    let run = at_home(&other, &one, &[]);
    assert_eq!(baseline(&run), Value::Null);
    assert!(
        run.err.contains("is left alone: 1 of its 1 commit"),
        "{}",
        run.err
    );
    assert!(state(&one, "history").contains(&"heat.jsonl".to_owned()));
    let again = at_home(&other, &one, &[]);
    assert!(!again.err.contains("is left alone"), "{}", again.err);

    measures(&one, "11");
    let run = at_home(&one, &one, &[]);
    assert_eq!(baseline(&run), 10.0, "{}", run.err);
    assert!(
        run.err.contains("is this project's history now"),
        "{}",
        run.err
    );
    for (folder, files) in [("history", 3), ("elapsed", 2)] {
        let names = state(&one, folder);
        assert_eq!(names.len(), files, "{names:?}");
        assert!(
            names.iter().all(|name| name.starts_with("heat-")),
            "{names:?}"
        );
    }
}
