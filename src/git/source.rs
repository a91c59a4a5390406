//! Where commits come from, and which one is meant.

use std::path::{Path, PathBuf};

use git2::ErrorCode;

use super::access::Access;
use super::dirty::{self, Dirty};
use super::error::GitError;
use super::location::Location;
use super::mirror;
use super::remote;
use super::repository::{CommitId, Repository};

/// The repository that a run is about.
#[derive(Debug, Clone)]
pub enum Source {
    /// A clone or bare repository of this machine.
    Local(LocalSource),
    /// A repository on the network.
    Remote(Location),
}

/// A repository of this machine.
#[derive(Debug, Clone)]
pub struct LocalSource {
    path: PathBuf,
    bare: bool,
    origin: Option<Location>,
    /// The repository itself, which work trees share.
    home: PathBuf,
}

/// Which commit is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// A commit by its id, or by any name that git understands.
    Commit(String),
    /// The tip of a branch as the remote has it now.
    Branch(String),
    /// What is checked out; for a remote repository, the tip of its main branch.
    Head,
}

/// A commit, and the repository that holds it.
#[derive(Debug)]
pub struct Found {
    /// The repository.
    pub repository: Repository,
    /// The commit.
    pub commit: CommitId,
    /// The branch by which it was found.
    pub branch: Option<String>,
    /// What stands in the work tree beyond the commit; only for [`Wanted::Head`] of a local clone.
    pub dirty: Option<Dirty>,
}

impl Source {
    /// Finds the repository that is written as `text`: a path (`.` stands for the repository that holds `base`), or an
    /// address.
    pub fn open(text: &str, base: &Path) -> Result<Self, GitError> {
        if text == "." {
            return Self::holding(base);
        }
        let place = Location::parse(text, base).map_err(|source| GitError::Address {
            text: shown(text),
            source,
        })?;
        match place {
            Location::Path(path) => Ok(Self::local(&Repository::open_local(&path, false)?)),
            Location::Remote(_) => Ok(Self::Remote(place)),
        }
    }

    /// Finds the repository that holds a directory.
    pub fn holding(dir: &Path) -> Result<Self, GitError> {
        Ok(Self::local(&Repository::open_local(dir, true)?))
    }

    fn local(repository: &Repository) -> Self {
        Self::Local(LocalSource {
            path: repository.path().to_path_buf(),
            bare: repository.git.is_bare(),
            origin: repository.origin.clone(),
            home: repository.git.commondir().to_path_buf(),
        })
    }

    /// Returns the repository's name: that of its remote, else of its directory.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Local(local) => match &local.origin {
                Some(origin) => origin.name(),
                None => Location::Path(local.path.clone()).name(),
            },
            Self::Remote(place) => place.name(),
        }
    }

    /// Returns what every clone and every address of the repository have in common: host and path of where it is fetched from,
    /// else where it stands on this machine.
    #[must_use]
    pub fn identity(&self) -> String {
        match (self.remote(), self) {
            (Some(Location::Remote(remote)), _) => remote.identity(),
            (Some(Location::Path(path)), _) => standing(path),
            (None, Self::Local(local)) => standing(&local.home),
            (None, Self::Remote(place)) => place.without_credentials(),
        }
    }

    /// Returns a way to ask whether a local repository holds a commit; none for one on the network.
    #[must_use]
    pub fn holds(&self) -> Option<impl Fn(&str) -> bool + use<>> {
        let Self::Local(local) = self else {
            return None;
        };
        let repository = local.open().ok()?;
        Some(move |commit: &str| commit.parse().is_ok_and(|id| repository.has(id)))
    }

    /// Returns where it is fetched from, if from anywhere.
    #[must_use]
    pub fn remote(&self) -> Option<&Location> {
        match self {
            Self::Local(local) => local.origin.as_ref(),
            Self::Remote(place) => Some(place),
        }
    }

    /// Returns where a remote of this name is; `origin` of a remote repository is itself.
    #[must_use]
    pub fn remote_named(&self, name: &str) -> Option<Location> {
        let Self::Local(local) = self else {
            return self.remote().filter(|_| name == "origin").cloned();
        };
        let repository = local.open().ok()?;
        let remote = repository.git.find_remote(name).ok()?;
        Location::parse(remote.url().ok()?, repository.path()).ok()
    }

    /// Returns the path of a local repository: its work tree, or for a bare one itself.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Local(local) => Some(&local.path),
            Self::Remote(_) => None,
        }
    }

    /// Names the commit that is wanted, and brings it in unless it is present.
    pub fn resolve(&self, wanted: &Wanted, access: &Access<'_>) -> Result<Found, GitError> {
        match self {
            Self::Local(local) => resolve_local(local, wanted, access),
            Self::Remote(place) => resolve_remote(place, wanted, access),
        }
    }

    /// Contacts the remote and fetches nothing: an error says why a fetch would fail. Without a remote there is nothing to say.
    pub fn contact(&self, access: &Access<'_>) -> Result<(), GitError> {
        let Some(place) = self.remote().and_then(Location::remote) else {
            return Ok(());
        };
        match self {
            Self::Local(local) => remote::reach(&local.open()?.git, place, access),
            Self::Remote(_) => remote::reach_alone(place, access),
        }
    }

    /// Looks for uncommitted changes in the work tree of a local clone.
    pub fn dirty(&self) -> Result<Option<Dirty>, GitError> {
        match self {
            Self::Local(local) => dirty::dirty(&local.open()?),
            Self::Remote(_) => Ok(None),
        }
    }
}

impl LocalSource {
    fn open(&self) -> Result<Repository, GitError> {
        Repository::open_local(&self.path, false)
    }
}

fn resolve_local(
    local: &LocalSource,
    wanted: &Wanted,
    access: &Access<'_>,
) -> Result<Found, GitError> {
    let repository = local.open()?;
    match wanted {
        Wanted::Head => head_of(repository),
        Wanted::Commit(spec) => match repository.find(spec)? {
            Some(commit) => Ok(Found::plain(repository, commit, None)),
            None => commit_elsewhere(local, &repository, spec, access),
        },
        Wanted::Branch(branch) => match &local.origin {
            Some(Location::Remote(remote)) if !local.bare => {
                let beside = Some(&repository);
                let tip = mirror::branch(remote, Some(branch), beside, access)?;
                let holder = if tip.beside { repository } else { tip.mirror };
                Ok(Found::plain(holder, tip.commit, Some(tip.branch)))
            }
            Some(Location::Path(path)) if !local.bare => {
                own_branch(Repository::open_local(path, false)?, branch)
            }
            _ => own_branch(repository, branch),
        },
    }
}

fn resolve_remote(
    place: &Location,
    wanted: &Wanted,
    access: &Access<'_>,
) -> Result<Found, GitError> {
    let Some(remote) = place.remote() else {
        return Source::open(&place.without_credentials(), Path::new("/"))?.resolve(wanted, access);
    };
    let branch = match wanted {
        Wanted::Commit(spec) => {
            let mut tried = Vec::new();
            return match mirror::commit(remote, spec, &mut tried, access)? {
                Some((mirror, commit)) => Ok(Found::plain(mirror, commit, None)),
                None => Err(GitError::CommitMissing {
                    commit: spec.clone(),
                    tried,
                    shallow: None,
                }),
            };
        }
        Wanted::Branch(branch) => Some(branch.as_str()),
        Wanted::Head => None,
    };
    let tip = mirror::branch(remote, branch, None, access)?;
    Ok(Found::plain(tip.mirror, tip.commit, Some(tip.branch)))
}

impl Found {
    fn plain(repository: Repository, commit: CommitId, branch: Option<String>) -> Self {
        Self {
            repository,
            commit,
            branch,
            dirty: None,
        }
    }
}

fn head_of(repository: Repository) -> Result<Found, GitError> {
    let failed = |error: git2::Error| match error.code() {
        ErrorCode::UnbornBranch => GitError::NoCommits {
            place: repository.shown(),
        },
        _ => repository.without_head(&error),
    };
    let (commit, branch) = {
        let head = repository.git.head().map_err(failed)?;
        let commit = match head.target().and_then(|id| repository.peeled(id)) {
            Some(commit) => commit,
            None => CommitId(head.peel_to_commit().map_err(failed)?.id()),
        };
        let branch = head.is_branch().then(|| head.shorthand().ok()).flatten();
        (commit, branch.map(str::to_owned))
    };
    let dirty = dirty::dirty(&repository)?;
    Ok(Found {
        repository,
        commit,
        branch,
        dirty,
    })
}

fn own_branch(repository: Repository, branch: &str) -> Result<Found, GitError> {
    match repository.reference_tip(&format!("refs/heads/{branch}")) {
        Some(commit) => Ok(Found::plain(repository, commit, Some(branch.to_owned()))),
        None => Err(GitError::NoBranch {
            branch: branch.to_owned(),
            place: repository.shown(),
        }),
    }
}

/// Looks for a commit that a clone lacks where the clone came from.
fn commit_elsewhere(
    local: &LocalSource,
    repository: &Repository,
    spec: &str,
    access: &Access<'_>,
) -> Result<Found, GitError> {
    let shallow = repository.is_shallow();
    let cut = if shallow { " (a shallow clone)" } else { "" };
    let mut tried = vec![format!("`{}`{cut}", local.path.display())];
    match &local.origin {
        Some(Location::Remote(remote)) => {
            match mirror::commit(remote, spec, &mut tried, access) {
                Ok(Some((mirror, commit))) => return Ok(Found::plain(mirror, commit, None)),
                Ok(None) => {}
                // Without a network the news is that the clone lacks the commit.
                Err(
                    error @ (GitError::Unreachable { .. }
                    | GitError::Timeout { .. }
                    | GitError::Credentials { .. }),
                ) => tried.push(error.to_string()),
                Err(error) => return Err(error),
            }
        }
        Some(Location::Path(path)) => {
            if let Ok(origin) = Repository::open_local(path, false)
                && let Some(commit) = origin.find(spec)?
            {
                return Ok(Found::plain(origin, commit, None));
            }
            tried.push(format!("`{}`", path.display()));
        }
        None => {}
    }
    Err(GitError::CommitMissing {
        commit: spec.to_owned(),
        tried,
        shallow: shallow.then(|| local.path.clone()),
    })
}

/// Returns where a repository stands, by whatever link or work tree it was found.
fn standing(path: &Path) -> String {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let top = path.parent().filter(|_| path.ends_with(".git"));
    top.unwrap_or(&path).display().to_string()
}

/// Returns a text that was no address in a form that can be shown: what stands before an `@` could be a password.
fn shown(text: &str) -> String {
    match text.rsplit_once('@') {
        Some((_, rest)) => format!("***@{rest}"),
        None => text.to_owned(),
    }
}
