//! Files of the workspace and the state that something replaced after a run: every verb and the next run go on, or say what is wrong.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::{here, project};
use crate::support::Project;
use crate::support::bounds::{bounded, killed_after};
use crate::support::spoil::{KINDS, replace};
use crate::support::tools::full;

/// What people and cron jobs do afterwards.
const VERBS: &[&[&str]] = &[
    &["list"],
    &["status"],
    &["report"],
    &["trend"],
    &["gc", "--dry-run"],
    &["publish", "--dry-run"],
    &["resume"],
    &["--scheduler", "local"],
];

fn toml() -> &'static str {
    "[project]\nname = \"replaced\"\n[workspace]\nstate = \"state\"\n\
     [build.tests]\ncommand = \"true\"\nreuse = true\ncoverage = \"lcov\"\n\
     [[test]]\nname = \"test\"\nresults = { format = \"tap\", path = \"t.tap\" }\nkeep = [\"kept.txt\"]\ncommand = '''\n\
     printf '1..1\\nok 1\\n' >t.tap; echo x >\"$HPC_CI_STEP_DIR/kept.txt\"\n\
     printf 'SF:a.c\\nDA:1,1\\nend_of_record\\n' >\"$HPC_CI_TRACEFILE_DIR/0.info\"\n'''\n\
     [[benchmark]]\nname = \"speed\"\nrepetitions = 2\nwarmup = 0\ncommand = \"echo time: 1\"\n\
     metric = { pattern = 'time: ([0-9.]+)', unit = \"s\" }\n\
     [publish.results_branch]\nremote = \"../results.git\"\n"
}

fn ran() -> Project {
    let project = project(toml());
    project.file(".gitignore", "/hpc-ci\n/state\n");
    project.file("a.c", "x;\n");
    project.commit();
    let ran = bounded(
        &mut here(&project, &["--scheduler", "local"]),
        Duration::from_mins(1),
    );
    // What cannot be published waits in the outbox.
    assert_eq!(ran.code, Some(4), "{}", ran.err);
    project
}

/// Every file below the workspace and the state, but for the work tree's own and git's.
fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name();
        if entry.file_type().unwrap().is_dir() {
            if name != "trees" && name != "mirrors" {
                files(&entry.path(), found);
            }
        } else {
            found.push(entry.path());
        }
    }
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").args([from, to]).status();
    assert!(copied.unwrap().success());
}

/// Files are replaced in turn, by another kind each time; in full mode every file, by three kinds.
#[test]
fn what_replaces_a_file_of_a_run_stops_no_verb_and_no_later_run() {
    let project = ran();
    let backup = project.dir.with_file_name("backup");
    copy(&project.dir, &backup);
    let mut paths = Vec::new();
    for folder in ["hpc-ci", "state"] {
        files(&project.dir.join(folder), &mut paths);
    }
    paths.sort();
    assert!(paths.len() > 40, "{paths:#?}");
    let mut wrong = Vec::new();
    for (number, path) in paths.iter().enumerate() {
        let relative = path.strip_prefix(&project.dir).unwrap();
        if !full() && number % 4 != 0 {
            continue;
        }
        // Steps that share no divisor with the number of kinds: in time every file meets every kind.
        let tries = if full() { 3 } else { 1 };
        let kinds = (0..tries).map(|turn| &KINDS[(number / 4 + 3 * turn) % KINDS.len()]);
        for (what, spoil) in kinds {
            std::fs::remove_dir_all(&project.dir).unwrap();
            copy(&backup, &project.dir);
            replace(&project.dir.join(relative), *spoil);
            for (at, verb) in VERBS.iter().enumerate() {
                // The next run, and some of the others in turn.
                if verb[0] != "--scheduler" && (at + number) % 3 != 0 {
                    continue;
                }
                // Who gives no sign of life is waited for a minute.
                let mut command = here(&project, verb);
                let ended = killed_after(&mut command, Duration::from_secs(100));
                let place = format!("{verb:?} with {what} for {}", relative.display());
                if ended.peak >> 20 >= 256 {
                    wrong.push(format!("{place}: {} MiB", ended.peak >> 20));
                }
                let panicked = ended.err.contains("panicked");
                if panicked || ended.code.is_none() || ended.code == Some(101) {
                    wrong.push(format!("{place}: {:?} {}", ended.code, ended.err));
                }
                if verb[0] == "--scheduler" && ended.code != Some(4) {
                    wrong.push(format!(
                        "{place}: the next run: {:?} {}",
                        ended.code, ended.err
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
