//! `doctor`: what it finds on machines that lack something. The cluster's part is in `cluster_doctor.rs`.

use std::path::PathBuf;
use std::process::Command;

use insta::assert_snapshot;
use serde_json::Value;

use crate::local::{here, project, verb};
use crate::support::{Ended, Home, Project};

/// A finding of a report.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) level: String,
    pub(crate) saw: String,
    pub(crate) remedy: String,
}

/// Runs the doctor and returns what it found under one name.
pub(crate) fn findings(ended: &Ended, check: &str) -> Vec<Found> {
    let report: Value = serde_json::from_str(&ended.out).unwrap_or_else(|_| panic!("{ended:?}"));
    let all = report["findings"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    all.iter()
        .filter(|finding| finding["check"] == check)
        .map(|finding| Found {
            level: text(&finding["level"]),
            saw: text(&finding["saw"]),
            remedy: text(&finding["remedy"]),
        })
        .collect()
}

/// The one finding under a name.
#[track_caller]
pub(crate) fn finding(ended: &Ended, check: &str) -> Found {
    let mut found = findings(ended, check);
    assert_eq!(found.len(), 1, "{check}: {found:?}\n{ended:?}");
    found.remove(0)
}

/// A PATH with all programs of the tester's, but those whose name begins so.
pub(crate) fn path_without(project: &Project, beginnings: &[&str]) -> PathBuf {
    let dir = project.dir.with_file_name("programs");
    std::fs::create_dir_all(&dir).unwrap();
    for from in std::env::split_paths(&std::env::var_os("PATH").unwrap()) {
        let Ok(entries) = std::fs::read_dir(from) else {
            continue;
        };
        for entry in entries.map(Result::unwrap) {
            let name = entry.file_name().into_string().unwrap_or_default();
            if !beginnings
                .iter()
                .any(|beginning| name.starts_with(beginning))
            {
                // Of two programs of one name, the first in PATH counts.
                std::os::unix::fs::symlink(entry.path(), dir.join(name)).ok();
            }
        }
    }
    dir
}

/// The commands of Slurm.
pub(crate) const SLURM: &[&str] = &[
    "sbatch", "srun", "squeue", "sacct", "sinfo", "scontrol", "scancel", "salloc", "sdiag",
    "scrontab", "slurm",
];
/// Compilers and launchers of MPI.
pub(crate) const MPI: &[&str] = &["mpi", "orte", "hydra", "ompi"];

fn doctor(project: &Project, arguments: &[&str]) -> Command {
    let mut command = here(project, &["doctor", "--format", "json"]);
    command.args(arguments);
    command
}

fn examined(project: &Project, command: &mut Command) -> Ended {
    Ended::of(&project.dir, &command.output().unwrap())
}

const PLAIN: &str = r#"
[project]
name = "plain"
[build.tests]
command = "true"
[[test]]
name = "pair"
command = "true"
ranks = 2
"#;

#[test]
fn a_machine_without_slurm_runs_steps_itself() {
    let project = project(PLAIN);
    let path = path_without(&project, SLURM);
    let ended = examined(&project, doctor(&project, &[]).env("PATH", &path)).exits_with(0);
    let place = finding(&ended, "scheduler.place");
    assert_eq!(place.level, "note");
    assert!(place.saw.contains("no Slurm here"), "{place:?}");
    assert!(place.remedy.contains("load the module"), "{place:?}");
    assert!(findings(&ended, "scheduler.answers").is_empty());
    assert!(
        finding(&ended, "node.answers")
            .saw
            .contains("no node was asked")
    );
    assert_eq!(finding(&ended, "git.repository").level, "ok");
    assert_eq!(finding(&ended, "mpi.library").level, "ok");

    let asked = &["--scheduler", "slurm"];
    let ended = examined(&project, doctor(&project, asked).env("PATH", &path)).exits_with(3);
    let place = finding(&ended, "scheduler.place");
    assert_eq!(place.level, "error");
    assert!(place.remedy.contains("kind = \"local\""), "{place:?}");
}

#[test]
fn without_mpi_ranks_have_no_launcher() {
    let project = project(PLAIN);
    let path = path_without(&project, &[SLURM, MPI].concat());
    let ended = examined(&project, doctor(&project, &[]).env("PATH", &path)).exits_with(3);
    let mpi = finding(&ended, "mpi.library");
    assert_eq!(mpi.level, "error");
    assert!(mpi.saw.contains("neither mpicc nor mpiexec"), "{mpi:?}");
    assert!(mpi.remedy.contains("`modules` of [environment]"), "{mpi:?}");
}

#[test]
fn a_workspace_that_cannot_be_written_is_told_with_its_key() {
    let project = project(&format!("{PLAIN}[workspace]\nroot = \"/proc/1/nowhere\"\n"));
    let ended = examined(&project, &mut doctor(&project, &["--scheduler", "local"])).exits_with(3);
    let folders = findings(&ended, "storage.writable");
    assert_eq!(folders[0].level, "error");
    assert!(folders[0].saw.contains("`/proc/1/nowhere`"), "{folders:?}");
    assert!(
        folders[0].remedy.contains("set `root` of [workspace]"),
        "{folders:?}"
    );
    assert_eq!(
        (&*folders[1].level, &*folders[2].level),
        ("ok", "ok"),
        "{folders:?}"
    );
}

#[test]
fn a_login_with_tight_limits_is_told_what_raises_them() {
    let project = project(PLAIN);
    let mut command = project.command("bash");
    command.args([
        "-c",
        "ulimit -n 256; exec \"$0\" doctor --format json --scheduler local",
        env!("CARGO_BIN_EXE_hpc-ci"),
    ]);
    let ended = examined(&project, &mut command).exits_with(0);
    let found = finding(&ended, "host.limits");
    assert_eq!(found.level, "warning");
    assert!(found.saw.contains("256 open files"), "{found:?}");
    assert!(found.remedy.contains("`ulimit -n 4096`"), "{found:?}");
}

#[test]
fn where_there_is_only_scrontab_its_lines_are_offered() {
    let project = project(PLAIN);
    let path = path_without(&project, &["crontab", "scrontab"]);
    let table = path.join("scrontab");
    std::fs::write(&table, "#!/bin/sh\nexit 0\n").unwrap();
    std::fs::set_permissions(&table, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let asked = &["--scheduler", "local"];
    let ended = examined(&project, doctor(&project, asked).env("PATH", &path)).exits_with(0);
    let found = finding(&ended, "host.cron");
    assert_eq!(found.level, "note");
    assert!(found.saw.contains("scrontab can be used"), "{found:?}");
    assert!(found.remedy.contains("hpc-ci init --ci cron"), "{found:?}");
}

#[test]
fn a_client_of_slurm_without_its_settings_is_told() {
    let project = project(PLAIN);
    let mut command = doctor(&project, &[]);
    project.file("slurm.conf", "Nonsense=1\n");
    command.env("SLURM_CONF", project.dir.join("slurm.conf"));
    let ended = examined(&project, &mut command);
    let place = finding(&ended, "scheduler.place");
    // Where there are no commands of Slurm at all, that is what is said.
    let there = Command::new("sbatch").arg("--usage").output().is_ok();
    let (level, saw) = if there {
        ("warning", "`sbatch` is installed and does not work")
    } else {
        ("note", "no Slurm here")
    };
    assert_eq!(place.level, level, "{place:?}");
    assert!(place.saw.contains(saw), "{place:?}");
    assert!(!there || place.remedy.contains("SLURM_CONF"), "{place:?}");
}

#[test]
fn each_module_is_loaded_and_looked_at() {
    let project = Project::new(Home::Here);
    let modules = project.dir.with_file_name("modulefiles");
    for (name, text) in [
        ("good", "prepend-path PATH /opt/good/bin\n"),
        ("idle", ""),
        ("broken", "error {no such licence}\n"),
    ] {
        std::fs::create_dir_all(&modules).unwrap();
        std::fs::write(modules.join(name), format!("#%Module1.0\n{text}")).unwrap();
    }
    project.file(
        "hpc.toml",
        &format!(
            "{PLAIN}[environment]\nuse = [\"{}\"]\nmodules = [\"good\", \"idle\", \"absent\", \"broken\"]\nsetup = [\"false\"]\n",
            modules.display()
        ),
    );
    project.commit();
    let ended = examined(&project, &mut doctor(&project, &["--scheduler", "local"])).exits_with(3);
    let found = findings(&ended, "environment.modules");
    let levels: Vec<&str> = found.iter().map(|found| found.level.as_str()).collect();
    assert_eq!(levels, ["ok", "warning", "error", "error"], "{found:?}");
    assert!(found[1].saw.contains("changes no variable"), "{found:?}");
    assert!(
        found[2].saw.contains("module `absent` does not load"),
        "{found:?}"
    );
    assert!(found[2].remedy.contains("module avail absent"), "{found:?}");
}

#[test]
fn what_cannot_be_instrumented_is_told_with_the_variable_to_set() {
    let toml = |variables: &str| {
        format!(
            "{PLAIN}[environment]\nvariables = {{ {variables} }}\n[build.benchmarks]\ncommand = \"true\"\n"
        )
        .replace("command = \"true\"\n[[test]]", "command = \"true\"\ncoverage = \"llvm\"\n[[test]]")
    };
    let gcc = project(&toml("OMPI_CC = \"gcc\", MPICH_CC = \"gcc\""));
    let path = path_without(&gcc, &["rustc", "sbatch"]);
    let ended = examined(&gcc, doctor(&gcc, &[]).env("PATH", path)).exits_with(3);
    let found = finding(&ended, "tools.instrumentation");
    assert_eq!(found.level, "error");
    assert!(
        found.saw.contains("no coverage mapping") && found.saw.contains("gcc"),
        "{found:?}"
    );
    assert!(found.remedy.contains("_CC = \"clang\""), "{found:?}");

    // CMake takes CC, and finds the MPI library by itself.
    let cmake = project(&toml(
        "OMPI_CC = \"gcc\", MPICH_CC = \"gcc\", CC = \"clang-22\"",
    ));
    let path = path_without(&cmake, &["rustc", "sbatch"]);
    let ended = examined(&cmake, doctor(&cmake, &[]).env("PATH", path)).exits_with(0);
    let found = finding(&ended, "tools.instrumentation");
    assert_eq!(found.level, "note");
    assert!(found.remedy.contains("_CC"), "{found:?}");

    let clang = project(&toml("OMPI_CC = \"clang-22\", MPICH_CC = \"clang-22\""));
    let ended = examined(&clang, &mut doctor(&clang, &["--scheduler", "local"])).exits_with(0);
    let found = findings(&ended, "tools.instrumentation");
    assert!(found.iter().all(|found| found.level == "ok"), "{found:?}");
}

#[test]
fn tokens_are_told_of_and_never_shown() {
    let project = project(&format!(
        "{PLAIN}[publish.codecov]\ntoken_file = \"token\"\n[publish.github]\n"
    ));
    project.file("token", "hush-hush");
    let mut command = doctor(&project, &["--scheduler", "local"]);
    command
        .env("GITHUB_TOKEN", "hush-hush")
        .env_remove("CODECOV_TOKEN");
    let ended = examined(&project, &mut command).exits_with(3);
    let found = findings(&ended, "publish.token");
    assert_eq!(found[0].level, "error");
    assert!(found[0].saw.contains("can be read by others"), "{found:?}");
    assert!(found[0].remedy.starts_with("chmod 600 "), "{found:?}");
    assert_eq!(found[1].level, "ok");
    assert!(found[1].saw.contains("GITHUB_TOKEN"), "{found:?}");
    assert!(
        !ended.out.contains("hush") && !ended.err.contains("hush"),
        "{ended:?}"
    );
}

#[test]
fn mistakes_in_the_settings_do_not_end_the_examination() {
    let project = project("[scheduler]\nkind = \"local\"\npartitoin = \"x\"\n");
    let ended = examined(&project, &mut doctor(&project, &["--wait", "0s"])).exits_with(2);
    let settings = finding(&ended, "settings.file");
    assert_eq!(settings.level, "error");
    assert!(settings.saw.contains("partitoin"), "{settings:?}");
    assert_eq!(findings(&ended, "storage.writable").len(), 3);
}

#[test]
fn without_a_file_the_defaults_are_looked_at() {
    let project = Project::new(Home::Here);
    let path = path_without(&project, SLURM);
    let ended = examined(&project, doctor(&project, &[]).env("PATH", path)).exits_with(0);
    let settings = finding(&ended, "settings.file");
    assert_eq!(
        (settings.level.as_str(), settings.remedy.as_str()),
        ("note", "`hpc-ci init` writes one")
    );
    assert!(
        !project.dir.join("hpc-ci").exists(),
        "nothing may be left behind"
    );
}

#[test]
fn the_report_for_people_has_a_remedy_below_each_finding() {
    let project = project(
        "[[test]]\nname = \"big\"\ncommand = \"true\"\nranks = 9\n[scheduler]\nkind = \"local\"\n[scheduler.limits]\nmax_ranks = 2\n",
    );
    let ended = verb(&project, &["doctor"]).exits_with(0);
    let lines: Vec<&str> = ended.out.lines().collect();
    let at = lines
        .iter()
        .position(|line| line.starts_with("warning"))
        .unwrap();
    assert_snapshot!(lines[at..at + 2].join("\n").trim_end(), @"
    warning  settings.plan     step `big` is refused: it asks for 9 ranks, where at most 2 are granted
                               help: ask for less, or raise `max_ranks` of `[scheduler.limits]` in a trusted file
    ");
}
