//! Mistakes of whoever types the command: each is told with what to do, and ends with 2.

use super::{here, project, run, verb};
use crate::support::{Ended, Home, Project};

const STEP: &str = "[[test]]\nname = \"halo\"\ncommand = \"true\"\n";

/// Each line: arguments, and what is said of them, help included.
#[track_caller]
fn refused(project: &Project, cases: &[(&[&str], &[&str])]) {
    for (arguments, said) in cases {
        let ended = verb(project, arguments).exits_with(2);
        for said in *said {
            assert!(ended.err.contains(said), "{arguments:?}: {}", ended.err);
        }
    }
}

#[test]
fn what_is_not_there_is_told_with_what_to_do() {
    let project = project(STEP);
    refused(
        &project,
        &[
            (&["--ranks", "0"], &["0 is not in 1.."]),
            (&["status", "1999"], &["no run `1999`", "`hpc-ci list`"]),
            (
                &["--config", "elsewhere.toml"],
                &["elsewhere.toml", "help: `--config PATH`"],
            ),
            (
                &["accept", "--reason", "faster"],
                &["nothing to accept: no run has benchmarks", "hpc-ci trend"],
            ),
            (
                &["--scheduler", "allocation"],
                &["SLURM_JOB_ID is not set", "salloc"],
            ),
            (&["plan", "--scheduler", "allocation"], &["salloc"]),
            // The mark stands below the character.
            (
                &["-E", "tag(a) & b"],
                &["help: tag(a) & b\n                 ^ here\n        known are"],
            ),
        ],
    );
    assert!(!project.dir.join("hpc-ci/runs").exists());
    let ended = run(&project, &["--branch", "nosuch"]).exits_with(3);
    assert!(ended.err.contains("git ls-remote"), "{}", ended.err);
    let swept = verb(&project, &["gc"]).exits_with(0);
    assert!(
        swept.err.contains("nothing is beyond `keep_runs`"),
        "{}",
        swept.err
    );
    run(&project, &[]).exits_with(0);
    let failed = run(&project, &["--failed"]).exits_with(2);
    assert!(failed.err.contains("no step failed"), "{}", failed.err);
}

#[test]
fn a_folder_without_git_or_commit_is_no_trouble_of_the_infrastructure() {
    let project = Project::new(Home::Here);
    project.file("hpc.toml", STEP);
    let without = verb(&project, &[]).exits_with(2);
    assert!(
        without.err.contains("help: start in a clone"),
        "{}",
        without.err
    );
    crate::support::git_servers::git(&project.dir, "init --quiet");
    let empty = verb(&project, &["--in-place"]).exits_with(2);
    assert!(empty.err.contains("help: commit first"), "{}", empty.err);
}

#[test]
fn commands_may_stand_behind_the_configuration_and_are_not_taken_for_names_of_steps() {
    let project = project(STEP);
    let list = verb(&project, &["--config", "hpc.toml", "plan", "--list"]).exits_with(0);
    assert_eq!(list.out, "halo\n");
    verb(&project, &["--config=hpc.toml", "-q", "list"]).exits_with(0);
    refused(
        &project,
        &[
            (
                &["--tests-only", "status"],
                &["`status` is a command", "`hpc-ci status`"],
            ),
            (&["staus"], &["no command `staus`", "`hpc-ci status`"]),
            (&["hallo"], &["no step matches `hallo`", "there is `halo`"]),
            (&["resistance"], &["`hpc-ci plan --list`"]),
        ],
    );
}

/// A slip of the fingers must not submit jobs for hours.
#[test]
fn a_mistyped_command_never_runs_the_pipeline() {
    let project = project(
        "[[test]]\nname = \"gate/1\"\ncommand = \"true\"\n[[test]]\nname = \"stauts-page\"\ncommand = \"true\"\n\
         [[test]]\nname = \"planet\"\ncommand = \"true\"\n",
    );
    refused(
        &project,
        &[
            (
                &["gate"],
                &[
                    "does not have yet",
                    "`hpc-ci run gate`",
                    "`hpc-ci -- gate`",
                    "-E 'name(*gate*)'",
                ],
            ),
            (&["gate", "--scheduler", "local"], &["does not have yet"]),
            (
                &["-v", "--scheduler", "local", "gate", "planet"],
                &["does not have yet"],
            ),
            (
                &["Gate"],
                &["no command `Gate`", "`gate` is not in this version"],
            ),
            (
                &["stauts"],
                &["no command `stauts`", "did you mean `hpc-ci status`?"],
            ),
            (&["dcotor"], &["did you mean `hpc-ci doctor`?"]),
            (
                &["resmue", "--scheduler", "local"],
                &["did you mean `hpc-ci resume`?"],
            ),
            (&["initt"], &["did you mean `hpc-ci init`?"]),
            (&["Run"], &["did you mean `hpc-ci run`?"]),
            (
                &["bench", "--against", "main"],
                &["`bench` is a command", "does not have yet"],
            ),
            (
                &["-q", "resmue", "--no-wait"],
                &["did you mean `hpc-ci resume`?"],
            ),
            (&["tests-only"], &["did you mean `hpc-ci --tests-only`?"]),
            (&["--benchmarks-only", "report"], &["`report` is a command"]),
            (&["stauts", "--", "planet"], &["no command `stauts`"]),
        ],
    );
    assert!(!project.dir.join("hpc-ci/runs").exists());
    for arguments in [
        &["plan", "--list", "gate"][..],
        &["run", "--dry-run", "--scheduler", "local", "gate"],
        &["--dry-run", "--scheduler", "local", "--", "gate"],
        &["--dry-run", "--scheduler", "local", "-E", "name(*gate*)"],
        &["--dry-run", "--scheduler", "local", "planet", "status"],
        &["run", "--dry-run", "--scheduler", "local", "stauts"],
        &["planet", "--dry-run", "--scheduler", "local"],
    ] {
        verb(&project, arguments).exits_with(0);
    }
    verb(&project, &["--scheduler", "local", "--", "gate"]).exits_with(0);
}

#[test]
fn an_empty_variable_is_an_unset_one() {
    let project = project(STEP);
    let mut command = here(&project, &["plan", "--list"]);
    for name in ["MPI_NP", "HPC_CI_COMMIT", "HPC_CI_BRANCH", "HPC_CI_CONFIG"] {
        command.env(name, "");
    }
    let list = Ended::of(&project.dir, &command.output().unwrap()).exits_with(0);
    assert_eq!(list.out, "halo\n");
}

/// "No run" would be a wrong answer where nobody could look.
#[test]
fn runs_that_cannot_be_read_are_not_taken_for_none() {
    // Root reads everything; a file in the folder's place is no folder to anybody.
    let project = project(STEP);
    project.file("hpc-ci/runs", "");
    let runs = project.dir.join("hpc-ci/runs");
    for arguments in [&["list"][..], &["status"], &["gc"], &["resume"]] {
        let ended = verb(&project, arguments).exits_with(3);
        assert!(ended.err.contains("hpc-ci/runs"), "{}", ended.err);
        assert!(ended.err.contains("help:"), "{}", ended.err);
    }
    std::fs::remove_file(&runs).unwrap();
    std::fs::create_dir(&runs).unwrap();
    let list = verb(&project, &["list"]).exits_with(0);
    assert_eq!(list.out, "");
}
