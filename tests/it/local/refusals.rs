//! What the machine refuses: each refusal is told as what it is, with the advice that follows from it.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use super::{here, project, verb};
use crate::support::{Ended, Project, until};

const STEP: &str =
    "[[test]]\nname = \"waits\"\ncommand = \"until [ -e ../../../go ]; do sleep 0.05; done\"\n";

/// hpc-ci as a user who may not do everything: whoever runs the tests, or nobody in place of root.
fn as_nobody(project: &Project, arguments: &[&str]) -> Ended {
    let hpc_ci = here(project, arguments);
    let mut command = if nix::unistd::geteuid().is_root() {
        let own = project.dir.with_file_name("hpc-ci-copy");
        if !own.exists() {
            std::fs::copy(env!("CARGO_BIN_EXE_hpc-ci"), &own).unwrap();
            let place = project.dir.parent().unwrap();
            let done = Command::new("chown")
                .args(["-R", "65534:65534"])
                .arg(place)
                .status();
            assert!(done.unwrap().success());
        }
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(own);
        command
    } else {
        Command::new(hpc_ci.get_program())
    };
    command.args(hpc_ci.get_args()).current_dir(&project.dir);
    for (name, value) in hpc_ci.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    Ended::of(&project.dir, &command.output().unwrap())
}

fn shut(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_broken_configuration_of_git_is_told_with_file_and_line() {
    let project = project(STEP);
    let home = project.dir.with_file_name("home");
    std::fs::create_dir_all(&home).unwrap();
    let config = home.join(".gitconfig");
    std::fs::write(&config, "[user]\n\tname = Ada\n[core\n").unwrap();
    let ended = verb(&project, &["plan"]).exits_with(3);
    let said = format!(
        "the git configuration `{}` cannot be read: line 3: ",
        config.display()
    );
    assert!(ended.err.contains(&said), "{}", ended.err);
    assert!(ended.err.contains("mend line 3"), "{}", ended.err);
    assert!(!ended.err.contains("SHA"), "{}", ended.err);
}

#[test]
fn what_may_not_be_read_is_no_missing_repository() {
    for (path, said) in [
        ("project/.git", " `DIR/.git`"),
        ("project/.git/HEAD", " `DIR/.git/HEAD`"),
        ("project/.git/objects", " `DIR/.git/objects`"),
    ] {
        let project = project(STEP);
        as_nobody(&project, &["plan"]).exits_with(0);
        shut(&project.dir.with_file_name("").join(path), 0);
        let ended = as_nobody(&project, &["plan"]).exits_with(3);
        let said = said.replace("DIR", &project.dir.display().to_string());
        assert!(ended.err.contains(&said), "{said}: {}", ended.err);
        assert!(
            ended.err.contains("you may not: `namei -l"),
            "{}",
            ended.err
        );
        shut(&project.dir.with_file_name("").join(path), 0o700);
    }
}

#[test]
fn a_configuration_that_may_not_be_read_declares_nothing_safe() {
    if !nix::unistd::geteuid().is_root() {
        // Nobody else's repository can be made here.
        return;
    }
    let project = project(STEP);
    as_nobody(&project, &["plan"]).exits_with(0);
    let home = project.dir.with_file_name("home");
    std::fs::create_dir_all(&home).unwrap();
    std::fs::write(home.join(".gitconfig"), "[safe]\n\tdirectory = *\n").unwrap();
    let git = project.dir.join(".git");
    for dir in [&project.dir, &git] {
        std::os::unix::fs::chown(dir, Some(0), Some(0)).unwrap();
        shut(dir, 0o755);
    }
    as_nobody(&project, &["plan"]).exits_with(0);
    shut(&home.join(".gitconfig"), 0);
    let ended = as_nobody(&project, &["plan"]).exits_with(3);
    assert!(ended.err.contains("home/.gitconfig`"), "{}", ended.err);
    assert!(
        ended.err.contains("you may not: `namei -l"),
        "{}",
        ended.err
    );
}

#[test]
fn a_run_folder_that_was_removed_was_not_taken_over() {
    let project = project(STEP);
    let driver = here(&project, &["--scheduler", "local"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let runs = project.dir.join("hpc-ci/runs");
    let folder = until(|| {
        let entries = std::fs::read_dir(&runs).into_iter().flatten();
        let mut folders = entries.map(|entry| entry.unwrap().path());
        folders.find(|folder| {
            let journal = std::fs::read_to_string(folder.join("journal.jsonl"));
            journal.is_ok_and(|text| text.contains("\"submitted\""))
        })
    });
    let aside = project.dir.join("hpc-ci/aside");
    std::fs::rename(&folder, &aside).unwrap();
    project.file("hpc-ci/go", "");
    let ended = Ended::of(&project.dir, &driver.wait_with_output().unwrap()).exits_with(3);
    let said = format!("the run folder `{}` is gone", folder.display());
    assert!(ended.err.contains(&said), "{}", ended.err);
    assert!(!ended.err.contains("taken this run over"), "{}", ended.err);
}

#[test]
fn a_workspace_that_cannot_be_written_is_told_why() {
    let project = project(STEP);
    project.file("hpc-ci/README", "");
    as_nobody(&project, &["plan"]).exits_with(0);
    shut(&project.dir.join("hpc-ci"), 0o500);
    let ended = as_nobody(&project, &["--scheduler", "local"]).exits_with(3);
    shut(&project.dir.join("hpc-ci"), 0o700);
    assert!(
        ended.err.contains("you may not: `namei -l"),
        "{}",
        ended.err
    );
    project.file("hpc-ci/runs", "a file");
    let ended = as_nobody(&project, &["--scheduler", "local"]).exits_with(3);
    assert!(ended.err.contains("hpc-ci/runs"), "{}", ended.err);
    assert!(!ended.err.contains("you may not"), "{}", ended.err);
}
