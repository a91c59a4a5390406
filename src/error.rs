//! Every room's error in one, and the one table of exit codes.

use std::error::Error as _;
use std::fmt::Write as _;
use std::io::ErrorKind;

use crate::clean::printable;
use crate::drive::DriveError;
use crate::git::GitError;
use crate::remedy;

/// How hpc-ci ends; the numbers are those of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// All passed.
    Passed,
    /// The code under test is at fault.
    Fault,
    /// Bad usage or configuration.
    Usage,
    /// Infrastructure, or no proof either way.
    Infrastructure,
    /// Results complete and kept, publishing failed.
    Publish,
    /// Our own bug.
    Bug,
    /// Not finished yet.
    Unfinished,
    /// Ended by a signal.
    Signal(i32),
}

impl Exit {
    /// Returns how to end after a run with this exit code.
    #[must_use]
    pub fn of_run(code: u8) -> Self {
        match code {
            0 => Self::Passed,
            1 => Self::Fault,
            4 => Self::Publish,
            _ => Self::Infrastructure,
        }
    }

    /// Returns the exit code.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Passed => 0,
            Self::Fault => 1,
            Self::Usage => 2,
            Self::Infrastructure => 3,
            Self::Publish => 4,
            Self::Bug => 70,
            Self::Unfinished => 75,
            Self::Signal(number) => u8::try_from(128 + number).unwrap_or(255),
        }
    }
}

/// Why a command could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `hpc.toml` has mistakes.
    #[error(transparent)]
    Config(#[from] crate::config::ConfigError),
    /// There is no `hpc.toml`.
    #[error("no `hpc.toml` in `{}` or a parent directory", dir.display())]
    NoConfig {
        /// Where the search began.
        dir: std::path::PathBuf,
    },
    /// A file of settings cannot be read.
    #[error("the settings cannot be read")]
    Settings(#[source] std::io::Error),
    /// Settings or folders that others can change.
    #[error(transparent)]
    Owner(#[from] crate::owner::OwnerError),
    /// Nothing can be planned.
    #[error(transparent)]
    Plan(#[from] crate::plan::PlanError),
    /// The source cannot be had.
    #[error(transparent)]
    Git(#[from] crate::git::GitError),
    /// A build could not be run.
    #[error(transparent)]
    Build(#[from] crate::build::BuildError),
    /// A command could not be run.
    #[error(transparent)]
    Process(#[from] crate::process::ProcessError),
    /// The run could not be driven.
    #[error(transparent)]
    Drive(#[from] crate::drive::DriveError),
    /// The artifacts cannot be published.
    #[error(transparent)]
    Publish(#[from] crate::publish::PublishError),
    /// Not everything could be fetched.
    #[error(transparent)]
    Fetch(#[from] crate::drive::FetchError),
    /// A program or library cannot be used for coverage.
    #[error("cannot use the object `{}`", path.display())]
    Object {
        /// The object.
        path: std::path::PathBuf,
        /// What is wrong with it.
        source: std::io::Error,
    },
    /// A pattern of source paths is not one.
    #[error(transparent)]
    Paths(#[from] crate::coverage::paths::PathsError),
    /// A file that is to be written is there, and says something else.
    #[error("`{}` is there already, and differs", path.display())]
    Occupied {
        /// The file.
        path: std::path::PathBuf,
    },
    /// The profiles of a node could not be added up.
    #[error(transparent)]
    Node(#[from] crate::coverage::node::NodeError),
    /// Another run stands in the way of a new one.
    #[error("run {run} stands in the way: {why}")]
    Busy {
        /// The other run.
        run: String,
        /// Why both cannot be.
        why: String,
    },
    /// There is no run to be found.
    #[error("no run in `{}`", dir.display())]
    NoRun {
        /// Where runs stand.
        dir: std::path::PathBuf,
    },
    /// The beginning of an id that several runs have.
    #[error("`{given}` may be {}", runs.join(" or "))]
    AmbiguousRun {
        /// What was given.
        given: String,
        /// What it may be.
        runs: Vec<String>,
    },
    /// A first word that is a command, or nearly one, and no part of a step's name.
    #[error(transparent)]
    Misread(#[from] crate::plan::misread::Misread),
    /// Steps are to run in an allocation, and there is none.
    #[error("steps are to run inside an allocation, and here is none: SLURM_JOB_ID is not set")]
    NoAllocation,
    /// Steps of this machine have nobody to be left to.
    #[error("`--detach` leaves steps to Slurm, and they would run here")]
    NothingToDetach,
    /// A file could not be read or written.
    #[error("a file cannot be used")]
    File(#[source] std::io::Error),
    /// Standard output took no more.
    #[error("cannot write to standard output")]
    Output(#[source] std::io::Error),
    /// The history cannot be used.
    #[error(transparent)]
    History(#[from] crate::results::history::HistoryError),
    /// Nobody knows where the history stands.
    #[error("the project's history cannot be found")]
    NoHistory,
    /// The history knows no such run.
    #[error("no run of `{word}` is in `{file}`")]
    UnknownRun {
        /// What was asked for.
        word: String,
        /// The history.
        file: camino::Utf8PathBuf,
    },
    /// What was to become a baseline cannot.
    #[error("there is nothing to accept: {what}")]
    NotAcceptable {
        /// Why not.
        what: String,
    },
    /// Signals or threads could not be set up.
    #[error("cannot start")]
    Runtime(#[source] std::io::Error),
}

impl Error {
    /// Returns the exit code.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Config(_)
            | Self::NoConfig { .. }
            | Self::Settings(_)
            | Self::Owner(_)
            | Self::Plan(_)
            | Self::Occupied { .. }
            | Self::NoRun { .. }
            | Self::AmbiguousRun { .. }
            | Self::NothingToDetach
            | Self::NoAllocation
            | Self::Misread(_)
            | Self::Git(
                GitError::NotARepository { .. }
                | GitError::NoFolder { .. }
                | GitError::NoCommits { .. },
            )
            | Self::Drive(DriveError::NoRun { .. })
            | Self::Paths(_)
            | Self::UnknownRun { .. }
            | Self::NotAcceptable { .. } => Exit::Usage,
            Self::Publish(_) => Exit::Publish,
            Self::Git(_)
            | Self::Build(_)
            | Self::Process(_)
            | Self::Drive(_)
            | Self::Fetch(_)
            | Self::Busy { .. }
            | Self::Object { .. }
            | Self::Node(_)
            | Self::File(_)
            | Self::History(_)
            | Self::NoHistory
            | Self::Output(_)
            | Self::Runtime(_) => Exit::Infrastructure,
        }
    }

    /// Returns what to do about it.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        match self {
            Self::NoConfig { .. } => Some(
                "`hpc-ci init` writes one from what it finds; `--config PATH` names one elsewhere"
                    .to_owned(),
            ),
            Self::Occupied { path } if path.ends_with("hpc.toml") => Some(
                "`hpc-ci init --stdout` shows what would be written; `--force` replaces the file"
                    .to_owned(),
            ),
            Self::Occupied { .. } => {
                Some("move it away and compare, or replace it by `--force`".to_owned())
            }
            Self::Owner(error) => Some(error.help()),
            Self::Plan(error) => error.help(),
            Self::Git(error) => error.help(),
            Self::Build(error) => error.help(),
            Self::Drive(error) => error.help(),
            Self::Publish(error) => error.help(),
            Self::UnknownRun { .. } => {
                Some("`hpc-ci trend` lists the runs that it knows".to_owned())
            }
            Self::NotAcceptable { .. } => {
                Some("`hpc-ci trend` shows what each run measured; `--of` names one".to_owned())
            }
            Self::Busy { run, .. } => Some(format!(
                "`hpc-ci status {run}` shows how far it is, `hpc-ci wait {run}` waits for its end, `hpc-ci cancel {run}` ends it; \
                 `--if-idle` takes this for success"
            )),
            Self::NoRun { .. } => Some("`hpc-ci` begins one".to_owned()),
            Self::AmbiguousRun { .. } => Some("give more of the id".to_owned()),
            Self::NothingToDetach => Some(
                "`--scheduler slurm` submits jobs; to go on after a logout, `nohup hpc-ci &`"
                    .to_owned(),
            ),
            Self::Misread(misread) => Some(misread.help()),
            Self::NoAllocation => Some(
                "start hpc-ci inside `salloc` or a job, or let it submit jobs with `--scheduler slurm`"
                    .to_owned(),
            ),
            Self::Settings(error) if error.kind() != ErrorKind::NotFound => {
                remedy::of_named(error)
            }
            Self::Settings(_) => {
                Some("`--config PATH` (or HPC_CI_CONFIG) names the file to read".to_owned())
            }
            Self::File(error) | Self::Output(error) | Self::Object { source: error, .. } => {
                remedy::of_named(error)
            }
            Self::Config(_)
            | Self::History(_)
            | Self::NoHistory
            | Self::Process(_)
            | Self::Fetch(_)
            | Self::Paths(_)
            | Self::Node(_)
            | Self::Runtime(_) => None,
        }
    }

    /// Returns the text for a person: what happened, what caused it, what to do.
    #[must_use]
    pub fn report(&self, color: bool) -> String {
        if let Self::Config(error) = self {
            return error.render(color);
        }
        let word = |word: &str, code: &str| {
            if color {
                format!("\u{1b}[{code}m{word}\u{1b}[0m")
            } else {
                word.to_owned()
            }
        };
        let mut text = format!("{} {}", word("error:", "1;31"), self.account());
        if let Some(help) = self.help() {
            let help = printable(&help).replace('\n', "\n        ");
            write!(text, "\n  {} {help}", word("help:", "1;36")).expect("a String takes any text");
        }
        text
    }

    /// Returns what happened and what caused it, without what to do.
    #[must_use]
    pub fn account(&self) -> String {
        if let Self::Config(error) = self {
            return error.render(false);
        }
        // What comes from outside may be meant for a terminal.
        let mut text = printable(&self.to_string());
        let mut cause = self.source();
        let mut last = self.to_string();
        while let Some(error) = cause {
            let said = error.to_string();
            // A transparent wrapper says what it wraps.
            if said != last {
                write!(text, "\n  cause: {}", printable(&said)).expect("a String takes any text");
            }
            last = said;
            cause = error.source();
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_those_of_the_contract() {
        for (exit, code) in [
            (Exit::Passed, 0),
            (Exit::Fault, 1),
            (Exit::Usage, 2),
            (Exit::Infrastructure, 3),
            (Exit::Publish, 4),
            (Exit::Bug, 70),
            (Exit::Unfinished, 75),
            (Exit::Signal(2), 130),
            (Exit::Signal(15), 143),
        ] {
            assert_eq!(exit.code(), code, "{exit:?}");
        }
    }
}
