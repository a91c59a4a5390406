//! A work tree for each build of the run.

use std::path::{Path, PathBuf};

use crate::git::{self, Access, CheckoutOptions, CommitId, GitError, Repository, Token};
use crate::plan::Build;
use crate::process::{Command, ProcessError};

/// Where the trees of a run come from.
#[derive(Debug)]
pub enum Origin {
    /// A commit, checked out.
    Commit {
        /// The repository that holds it.
        repository: Box<Repository>,
        /// The commit.
        commit: CommitId,
        /// Whether its submodules belong to it.
        submodules: bool,
    },
    /// A tree as it stands.
    InPlace {
        /// Its root.
        root: PathBuf,
    },
}

/// How the source is reached, besides what git finds by itself.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    /// An ssh key.
    pub ssh_key: Option<PathBuf>,
    /// A token for one host.
    pub token: Option<Token>,
}

impl Credentials {
    /// Returns the access to the source with mirrors in this workspace.
    #[must_use]
    pub fn access<'a>(&self, workspace: &Path, cancelled: &'a dyn Fn() -> bool) -> Access<'a> {
        Access {
            ssh_key: self.ssh_key.clone(),
            token: self.token.clone(),
            cancelled,
            ..Access::new(workspace.join("mirrors"))
        }
    }
}

/// A tree that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// git could not make it.
    #[error(transparent)]
    Git(#[from] GitError),
    /// A copy of a tree failed.
    #[error(transparent)]
    Copy(#[from] ProcessError),
    /// A directory could not be made or removed.
    #[error("cannot make room for a work tree")]
    Directory(#[source] std::io::Error),
}

/// Where trees stand below the workspace.
#[derive(Debug, Clone)]
pub struct Trees {
    workspace: PathBuf,
    run: String,
}

impl Trees {
    /// Returns the trees of a run.
    #[must_use]
    pub fn new(workspace: &Path, run: &str) -> Self {
        Self {
            workspace: workspace.to_owned(),
            run: run.to_owned(),
        }
    }

    /// Returns where the tree of a build stands; `number` counts the builds, since a tree in place serves the first only.
    #[must_use]
    pub fn place(&self, origin: &Origin, build: &Build, number: usize) -> PathBuf {
        match origin {
            Origin::InPlace { root } if number == 0 => root.clone(),
            _ if build.reuse => self.workspace.join("trees/kept").join(&build.id),
            _ => self.workspace.join("trees").join(&self.run).join(&build.id),
        }
    }

    /// Returns where `fetch` leaves the tree of a build, with all that its command brought in.
    #[must_use]
    pub fn fetched(&self, commit: CommitId, build: &Build) -> PathBuf {
        self.fetch_folder(commit, build).join("tree")
    }

    /// Returns the file that says that a fetched tree is complete.
    #[must_use]
    pub fn fetch_mark(&self, commit: CommitId, build: &Build) -> PathBuf {
        self.fetch_folder(commit, build).join("complete")
    }

    /// Returns whether `fetch` has brought everything in for this build.
    #[must_use]
    pub fn is_fetched(&self, origin: &Origin, build: &Build) -> bool {
        match origin {
            Origin::Commit { commit, .. } => self.fetch_mark(*commit, build).exists(),
            Origin::InPlace { .. } => false,
        }
    }

    fn fetch_folder(&self, commit: CommitId, build: &Build) -> PathBuf {
        self.workspace
            .join("trees/fetched")
            .join(commit.to_string())
            .join(&build.id)
    }

    /// Makes the tree of a build and returns what is worth saying about it. Blocks.
    pub fn make(
        &self,
        origin: &Origin,
        build: &Build,
        number: usize,
        clean: bool,
        access: &Access<'_>,
    ) -> Result<Vec<String>, TreeError> {
        let dir = self.place(origin, build, number);
        match origin {
            Origin::InPlace { .. } if number == 0 => Ok(Vec::new()),
            Origin::InPlace { root } => {
                copy_without(root, &self.workspace, &dir)?;
                Ok(vec![format!(
                    "build `{}` uses a copy of the tree in place",
                    build.id
                )])
            }
            Origin::Commit {
                repository,
                commit,
                submodules,
            } => {
                if !build.reuse && self.is_fetched(origin, build) {
                    copy(&self.fetched(*commit, build), &dir)?;
                    return Ok(Vec::new());
                }
                let options = CheckoutOptions {
                    submodules: *submodules,
                    reuse: build.reuse && !clean,
                };
                let made = git::checkout(repository, *commit, &dir, options, access)?;
                Ok(made.lfs_advice().into_iter().collect())
            }
        }
    }
}

/// Copies a tree without the workspace, which may stand in it: the copy is a part of the workspace.
fn copy_without(from: &Path, workspace: &Path, to: &Path) -> Result<(), TreeError> {
    let (from, workspace) = (real(from)?, real(workspace)?);
    let Ok(inside) = workspace.strip_prefix(&from) else {
        return copy(&from, to);
    };
    let (mut from, mut to) = (from.clone(), to.to_owned());
    for part in inside {
        fs_err::create_dir_all(&to).map_err(TreeError::Directory)?;
        for entry in fs_err::read_dir(&from).map_err(TreeError::Directory)? {
            let name = entry.map_err(TreeError::Directory)?.file_name();
            if name != part {
                copy(&from.join(&name), &to.join(&name))?;
            }
        }
        from.push(part);
        to.push(part);
    }
    Ok(())
}

fn real(path: &Path) -> Result<PathBuf, TreeError> {
    fs_err::canonicalize(path).map_err(TreeError::Directory)
}

/// Copies a tree; files that the file system can share are shared. Called where blocking is allowed.
fn copy(from: &Path, to: &Path) -> Result<(), TreeError> {
    if let Some(parent) = to.parent() {
        fs_err::create_dir_all(parent).map_err(TreeError::Directory)?;
    }
    let copying = Command::new("cp")
        .args(["-a", "--reflink=auto", "--"])
        .args([from, to]);
    tokio::runtime::Handle::current()
        .block_on(copying.success())
        .map(drop)
        .map_err(TreeError::from)
}
