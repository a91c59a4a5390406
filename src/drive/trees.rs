//! A work tree for each build of the run.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::build::environment::scrub;
use crate::build::secrets::Secrets;
use crate::git::{
    self, Access, Bounds, CheckoutOptions, CommitId, GitError, Location, Repository, Secret,
    Source, Token, Wanted,
};
use crate::plan::Build;
use crate::process::{Command, ProcessError};
use crate::remedy;

/// Where the trees of a run come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// A commit, checked out.
    Commit {
        /// Address or path of its repository, as the settings have it.
        repository: String,
        /// The directory that a relative path starts from.
        base: PathBuf,
        /// The commit.
        commit: CommitId,
        /// Whether its submodules belong to it.
        submodules: bool,
        /// What a tree of it may hold.
        #[serde(default)]
        bounds: Bounds,
    },
    /// A tree as it stands.
    InPlace {
        /// Its root.
        root: PathBuf,
    },
}

impl Origin {
    /// Returns the same without what must not be written down.
    #[must_use]
    pub fn without_credentials(mut self) -> Self {
        if let Self::Commit {
            repository, base, ..
        } = &mut self
        {
            *repository = without_credentials(repository, base);
        }
        self
    }
}

/// Returns an address without user name and password; a path stays as it was written.
pub(super) fn without_credentials(address: &str, base: &Path) -> String {
    match Location::parse(address, base) {
        Ok(remote @ Location::Remote(_)) => remote.without_credentials(),
        _ => address.to_owned(),
    }
}

/// Opens the repository that holds a commit, or its mirror; it was found there when the run was planned.
pub(super) fn repository(
    address: &str,
    base: &Path,
    commit: CommitId,
    access: &Access<'_>,
) -> Result<Repository, GitError> {
    let source = Source::open(address, base)?;
    let found = source.resolve(&Wanted::Commit(commit.to_string()), access)?;
    Ok(found.repository)
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
    /// Returns how a source is reached by the key and token that the environment names, besides what git finds by itself.
    #[must_use]
    pub fn from_environment(remote: Option<&Location>) -> Self {
        Self {
            ssh_key: std::env::var_os("HPC_CI_SSH_KEY").map(PathBuf::from),
            token: remote.and_then(token),
        }
    }

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

/// The token for a remote: our own variable, or that of a GitLab job for its own server.
fn token(remote: &Location) -> Option<Token> {
    if let Ok(token) = std::env::var("HPC_CI_GIT_TOKEN") {
        return Token::new(Secret::new(token), remote);
    }
    let server = std::env::var("CI_SERVER_URL")
        .ok()
        .filter(|url| !url.is_empty())?;
    let job = std::env::var("CI_JOB_TOKEN").ok()?;
    remote
        .to_string()
        .starts_with(&server)
        .then(|| Token::new(Secret::new(job), remote))?
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

impl TreeError {
    /// Returns what to do about it.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Git(error) => error.help(),
            Self::Directory(error) => remedy::of_named(error),
            Self::Copy(_) => None,
        }
    }
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
        if dir.starts_with(self.workspace.join("trees").join(&self.run)) {
            // A driver that died may have left half a tree.
            remove(&dir)?;
        }
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
                repository: address,
                base,
                commit,
                submodules,
                bounds,
            } => {
                if !build.reuse && self.is_fetched(origin, build) {
                    copy(&self.fetched(*commit, build), &dir)?;
                    return Ok(Vec::new());
                }
                let options = CheckoutOptions {
                    submodules: *submodules,
                    reuse: build.reuse && !clean,
                    bounds: *bounds,
                };
                let repository = repository(address, base, *commit, access)?;
                let made = match git::checkout(&repository, *commit, &dir, options, access) {
                    // Whatever stands there is ours by its place, and what a build made of it.
                    Err(error) if error.is_occupied() => {
                        git::remove_tree(&dir)?;
                        git::checkout(&repository, *commit, &dir, options, access)?
                    }
                    made => made?,
                };
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

fn remove(dir: &Path) -> Result<(), TreeError> {
    match fs_err::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(TreeError::Directory(error))
        }
        _ => Ok(()),
    }
}

/// Copies a tree; files that the file system can share are shared. Called where blocking is allowed.
fn copy(from: &Path, to: &Path) -> Result<(), TreeError> {
    if let Some(parent) = to.parent() {
        fs_err::create_dir_all(parent).map_err(TreeError::Directory)?;
    }
    let copying = Command::new("cp")
        .args(["-a", "--reflink=auto", "--"])
        .args([from, to])
        .environment(scrub(std::env::vars_os(), &Secrets::default()));
    tokio::runtime::Handle::current()
        .block_on(copying.success())
        .map(drop)
        .map_err(TreeError::from)
}
