//! Why a run could not be driven.

use std::path::PathBuf;

use super::journal;
use super::trees::TreeError;
use crate::lease::Claim;
use crate::remedy;

/// A run that could not be driven to its end.
#[derive(Debug, thiserror::Error)]
pub enum DriveError {
    /// Its folder could not be made or written.
    #[error("cannot use the run folder `{}`", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// There is no such run.
    #[error("there is no run `{run}` here")]
    NoRun {
        /// Its id.
        run: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Its request is there, and cannot be read.
    #[error("cannot read `{}`", path.display())]
    Request {
        /// The request.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A document of its folder cannot be understood.
    #[error("cannot read `{}`", path.display())]
    Unreadable {
        /// The document.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A document of its folder is of a newer hpc-ci.
    #[error("`{}` has schema_version {version}, which a newer hpc-ci wrote", path.display())]
    Newer {
        /// The document.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
    /// Another process drives it.
    #[error("{claim} has run `{run}`")]
    Held {
        /// The run's id.
        run: String,
        /// Who.
        claim: Box<Claim>,
    },
    /// Its steps ran in an allocation, which this is not.
    #[error("run `{run}` belongs to allocation {allocation}, and this is not that")]
    Allocation {
        /// The run's id.
        run: String,
        /// The allocation's job id.
        allocation: String,
    },
    /// Others can change its folder.
    #[error(transparent)]
    Owner(#[from] crate::owner::OwnerError),
    /// Its journal could not be written or read.
    #[error(transparent)]
    Journal(#[from] journal::JournalError),
    /// A tree could not be made.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// Its results could not be written.
    #[error(transparent)]
    Store(#[from] crate::results::store::StoreError),
    /// A document could not be written as JSON.
    #[error("a document cannot be written as JSON")]
    Encode(#[from] serde_json::Error),
    /// A path that must stand in documents and scripts is not UTF-8.
    #[error("`{}` is not UTF-8", path.display())]
    Path {
        /// The path.
        path: PathBuf,
    },
    /// The profile runtime would expand a part of the path.
    #[error("`{}` holds a `%`", path.display())]
    Percent {
        /// The path.
        path: PathBuf,
    },
    /// A task of ours panicked.
    #[error("a task of hpc-ci ended badly")]
    Task(#[from] tokio::task::JoinError),
}

impl DriveError {
    /// Returns what to do about it.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Folder { path, source } => remedy::of_file(source, path).or_else(|| {
                Some("`root` of [workspace] says where runs stand".to_owned())
            }),
            Self::Owner(error) => Some(error.help()),
            Self::Tree(error) => error.help(),
            Self::Store(error) => error.help(),
            Self::Path { .. } => {
                Some("scripts and JSON need UTF-8: choose another `root` in [workspace]".to_owned())
            }
            Self::Percent { .. } => Some(
                "`LLVM_PROFILE_FILE` expands `%`, so profiles would get lost: choose another `root` in [workspace]".to_owned(),
            ),
            Self::NoRun { .. } => Some("`hpc-ci list` shows the runs of this workspace".to_owned()),
            Self::Request { path, source } => remedy::of_file(source, path),
            Self::Newer { .. } => Some("use the hpc-ci that began the run".to_owned()),
            Self::Held { .. } => Some(
                "`hpc-ci status` shows how far it is, `hpc-ci wait` waits for its end, `hpc-ci cancel` ends it".to_owned(),
            ),
            Self::Allocation { allocation, .. } => Some(format!(
                "go on inside it (`srun --jobid={allocation} --overlap --pty bash`), or start a new run"
            )),
            Self::Journal(error) => error.help(),
            Self::Unreadable { .. } | Self::Encode(_) | Self::Task(_) => None,
        }
    }
}
