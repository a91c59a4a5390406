//! Submodules: which ones a commit has, down to the last, and which repository holds each one's commit.
//!
//! Finding them may need the network; writing them into a tree (the business of `checkout`) does not any more.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use git2::ObjectType;

use super::access::{Access, Progress};
use super::error::GitError;
use super::gitmodules::{self, Entry};
use super::location::Location;
use super::mirror;
use super::repository::{CommitId, Repository};

/// How deep submodules may lie in one another.
const MAX_DEPTH: usize = 32;

/// A submodule of a commit, with those that it has itself.
pub(super) struct Part {
    /// Its name in `.gitmodules`.
    pub(super) name: String,
    /// Its path in the repository that has it.
    pub(super) path: PathBuf,
    /// Where it comes from.
    pub(super) place: Location,
    /// Its commit.
    pub(super) commit: CommitId,
    /// What holds that commit.
    pub(super) repository: Repository,
    /// Its own submodules.
    pub(super) parts: Vec<Part>,
}

/// Finds all submodules of a commit, and brings in what is not present.
pub(super) fn locate(
    repository: &Repository,
    commit: CommitId,
    access: &Access<'_>,
) -> Result<Vec<Part>, GitError> {
    locate_below(repository, commit, access, 0)
}

fn locate_below(
    repository: &Repository,
    commit: CommitId,
    access: &Access<'_>,
    depth: usize,
) -> Result<Vec<Part>, GitError> {
    if depth == MAX_DEPTH {
        return Err(GitError::SubmoduleDepth { limit: MAX_DEPTH });
    }
    let mut links = Vec::new();
    repository.walk(commit, |path, entry| {
        if entry.kind() == Some(ObjectType::Commit) {
            links.push((path, CommitId(entry.id())));
        }
    })?;
    if links.is_empty() {
        return Ok(Vec::new());
    }
    links.sort();
    let entries = read_entries(repository, commit)?;
    let mut parts = Vec::new();
    for (path, id) in links {
        let entry = entries
            .iter()
            .find(|entry| entry.path.as_deref().map(str::as_bytes) == Some(bytes(&path)));
        if entry.is_some_and(|entry| entry.left_out) {
            continue;
        }
        (access.progress)(Progress::Submodule { path: &path });
        let part = locate_one(repository, &path, id, entry, access, depth).map_err(|error| {
            GitError::Submodule {
                path: path.display().to_string(),
                source: Box::new(error),
            }
        })?;
        parts.push(part);
    }
    Ok(parts)
}

fn locate_one(
    parent: &Repository,
    path: &Path,
    commit: CommitId,
    entry: Option<&Entry>,
    access: &Access<'_>,
    depth: usize,
) -> Result<Part, GitError> {
    let listed = entry.is_some();
    let unlisted = || GitError::SubmoduleUnlisted { listed };
    let entry = entry.ok_or_else(unlisted)?;
    let url = entry.url.as_deref().ok_or_else(unlisted)?;
    let place = place_of(parent, &entry.name, url)?;
    let repository = match kept_by_clone(parent, path, &entry.name, commit, &place) {
        Some(repository) => repository,
        None => bring_in(&place, commit, access)?,
    };
    let parts = locate_below(&repository, commit, access, depth + 1)?;
    Ok(Part {
        name: entry.name.clone(),
        path: path.to_path_buf(),
        place,
        commit,
        repository,
        parts,
    })
}

fn read_entries(repository: &Repository, commit: CommitId) -> Result<Vec<Entry>, GitError> {
    let bytes = repository.file_at(commit, Path::new(".gitmodules"))?;
    let text = String::from_utf8_lossy(bytes.as_deref().unwrap_or_default()).into_owned();
    gitmodules::parse(&text).map_err(|source| GitError::Gitmodules { commit, source })
}

/// Returns where a submodule comes from: as the user's clone has it configured, else as `.gitmodules` says.
fn place_of(parent: &Repository, name: &str, url: &str) -> Result<Location, GitError> {
    let address = |text: &str| {
        let text = text.to_owned();
        move |source| GitError::Address { text, source }
    };
    if !parent.is_mirror() {
        let key = format!("submodule.{name}.url");
        let configured = parent
            .git
            .config()
            .and_then(|config| config.get_string(&key));
        if let Ok(configured) = configured {
            return Location::parse(&configured, parent.path()).map_err(address(&configured));
        }
    }
    // As git does: relative to the remote, and without one to the repository itself.
    let own = Location::Path(parent.path().to_path_buf());
    let base = parent.origin.as_ref().unwrap_or(&own);
    let place = base.join(url).map_err(address(url))?;
    if base.remote().is_some() && place.remote().is_none() {
        return Err(GitError::SubmoduleLocal {
            url: url.to_owned(),
        });
    }
    Ok(place)
}

/// Looks for a submodule's commit where the user's clone keeps its submodules.
fn kept_by_clone(
    parent: &Repository,
    path: &Path,
    name: &str,
    commit: CommitId,
    place: &Location,
) -> Option<Repository> {
    if parent.is_mirror() {
        return None;
    }
    let absorbed = parent.git.commondir().join("modules").join(name);
    let beside = parent.git.workdir().map(|root| root.join(path));
    let absorbed = git2::Repository::open_bare(absorbed).ok();
    let beside = beside.and_then(|dir| git2::Repository::open(dir).ok());
    absorbed
        .into_iter()
        .chain(beside)
        .map(|git| Repository {
            git,
            origin: Some(place.clone()),
            mirror_of: None,
        })
        .find(|repository| repository.has(commit))
}

fn bring_in(
    place: &Location,
    commit: CommitId,
    access: &Access<'_>,
) -> Result<Repository, GitError> {
    let mut tried = Vec::new();
    match place {
        Location::Path(path) => {
            let repository = Repository::open_local(path, false)?;
            if repository.has(commit) {
                return Ok(repository);
            }
            tried.push(format!("`{}`", path.display()));
        }
        Location::Remote(remote) => {
            let found = mirror::commit(remote, &commit.to_string(), &mut tried, access)?;
            if let Some((mirror, _)) = found {
                return Ok(mirror);
            }
        }
    }
    Err(GitError::CommitMissing {
        commit: commit.to_string(),
        tried,
        shallow: None,
    })
}

fn bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}
