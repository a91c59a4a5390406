//! The program on one machine, without Slurm: its verbs, how steps end, what a run leaves, and what a project may bring along.

mod bounds;
mod ends;
mod hostile;
pub(crate) mod keep;
mod life;
mod projects;
mod refusals;
mod replaced;
mod runs;
mod usage;
mod verbs;

use std::process::Command;

use crate::support::{Ended, Home, Project};

/// A committed project with this `hpc.toml`.
pub(crate) fn project(toml: &str) -> Project {
    let project = Project::new(Home::Here);
    project.file("hpc.toml", toml);
    project.commit();
    project
}

/// hpc-ci on this machine: nothing of the tester's own settings, Slurm or colour.
pub(crate) fn here(project: &Project, arguments: &[&str]) -> Command {
    let mut command = project.hpc_ci(arguments);
    command
        .env("XDG_CONFIG_HOME", project.dir.with_file_name("config"))
        .env("NO_COLOR", "1");
    for name in ["SLURM_CONF", "SLURM_JOB_ID", "HPC_CI_CLUSTER"] {
        command.env_remove(name);
    }
    command
}

/// Runs the steps of a project on this machine.
pub(crate) fn run(project: &Project, arguments: &[&str]) -> Ended {
    let mut command = here(project, arguments);
    command.args(["--scheduler", "local"]);
    Ended::of(&project.dir, &command.output().unwrap())
}

/// Runs a verb that needs no scheduler.
pub(crate) fn verb(project: &Project, arguments: &[&str]) -> Ended {
    let output = here(project, arguments).output().unwrap();
    Ended::of(&project.dir, &output)
}
