//! Submodules: which ones a commit has, down to the last, and which repository holds each one's commit.
//!
//! Finding them may need the network; writing them into a tree (the business of `checkout`) does not any more.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::access::{Access, Progress};
use super::bounds::{Measure, SETTINGS, SUBMODULE_DEPTH, SUBMODULES};
use super::error::GitError;
use super::gitmodules::{self, Entry};
use super::location::Location;
use super::mirror;
use super::repository::{CommitId, Repository};
use super::survey::{Budget, Survey};

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
    /// What holds that commit; open once, however many parts come from it.
    pub(super) repository: Rc<Repository>,
    /// What it unfolds to.
    pub(super) survey: Survey,
    /// Its own submodules.
    pub(super) parts: Vec<Part>,
}

/// Finds all submodules of a commit, which the budget was charged with, and brings in what is not present.
pub(super) fn locate(
    repository: &Repository,
    commit: CommitId,
    survey: &Survey,
    budget: &mut Budget<'_>,
    access: &Access<'_>,
) -> Result<Vec<Part>, GitError> {
    let mut search = Search {
        budget,
        access,
        found: 0,
        opened: HashMap::new(),
    };
    search.below(repository, commit, survey, 0)
}

/// The search for the submodules of one tree.
struct Search<'a, 'b> {
    budget: &'a mut Budget<'b>,
    access: &'a Access<'a>,
    found: u64,
    /// Repositories of submodules, by where they are.
    opened: HashMap<String, Rc<Repository>>,
}

impl Search<'_, '_> {
    fn below(
        &mut self,
        repository: &Repository,
        commit: CommitId,
        survey: &Survey,
        depth: u64,
    ) -> Result<Vec<Part>, GitError> {
        let links = repository.links(commit, survey)?;
        let Some((first, _)) = links.first() else {
            return Ok(Vec::new());
        };
        if depth == SUBMODULE_DEPTH {
            return Err(GitError::TooMuch {
                commit,
                path: first.clone(),
                measure: Measure::SubmoduleDepth,
                limit: SUBMODULE_DEPTH,
            });
        }
        let entries = read_entries(repository, commit)?;
        // Of a path that stands twice the first counts.
        let mut by_path: HashMap<&str, &Entry> = HashMap::new();
        for entry in &entries {
            if let Some(path) = &entry.path {
                by_path.entry(path).or_insert(entry);
            }
        }
        let mut parts = Vec::new();
        for (path, id) in links {
            let entry = path.to_str().and_then(|path| by_path.get(path).copied());
            if entry.is_some_and(|entry| entry.left_out) {
                continue;
            }
            self.found += 1;
            if self.found > SUBMODULES {
                return Err(GitError::TooMuch {
                    commit,
                    path,
                    measure: Measure::Submodules,
                    limit: SUBMODULES,
                });
            }
            if (self.access.cancelled)() {
                let place = repository.shown();
                return Err(GitError::Cancelled { place });
            }
            (self.access.progress)(Progress::Submodule { path: &path });
            let part = self
                .one(repository, &path, id, entry, depth)
                .map_err(|error| error.of_submodule(&path))?;
            parts.push(part);
        }
        Ok(parts)
    }

    fn one(
        &mut self,
        parent: &Repository,
        path: &Path,
        commit: CommitId,
        entry: Option<&Entry>,
        depth: u64,
    ) -> Result<Part, GitError> {
        let listed = entry.is_some();
        let unlisted = || GitError::SubmoduleUnlisted { listed };
        let entry = entry.ok_or_else(unlisted)?;
        let url = entry.url.as_deref().ok_or_else(unlisted)?;
        let (place, by_user) = place_of(parent, &entry.name, url)?;
        let repository = self.holder(parent, path, &entry.name, commit, &place, by_user)?;
        let survey = self.budget.spend(&repository, commit)?;
        let parts = self.below(&repository, commit, &survey, depth + 1)?;
        Ok(Part {
            name: entry.name.clone(),
            path: path.to_path_buf(),
            place,
            commit,
            repository,
            survey,
            parts,
        })
    }

    /// Returns what holds a submodule's commit.
    fn holder(
        &mut self,
        parent: &Repository,
        path: &Path,
        name: &str,
        commit: CommitId,
        place: &Location,
        by_user: bool,
    ) -> Result<Rc<Repository>, GitError> {
        let here = format!(
            "{}\0{name}\0{}",
            parent.git.path().display(),
            path.display()
        );
        let there = place.without_credentials();
        for key in [&here, &there] {
            if let Some(known) = self.opened.get(key).filter(|it| it.has(commit)) {
                return Ok(Rc::clone(known));
            }
        }
        let kept = kept_by_clone(parent, path, name, commit, place);
        let (key, found) = if let Some(repository) = kept {
            (here, repository)
        } else {
            // As git does since 2.38.1 (`protocol.file.allow`): whoever writes a commit must not choose what of this machine is read.
            if let Location::Path(path) = place
                && !by_user
                && !self.budget.bounds.local_submodules
            {
                let place = path.clone();
                return Err(GitError::SubmoduleElsewhere { place });
            }
            (there, bring_in(place, commit, self.access)?)
        };
        let found = Rc::new(found);
        self.opened.insert(key, Rc::clone(&found));
        Ok(found)
    }
}

fn read_entries(repository: &Repository, commit: CommitId) -> Result<Vec<Entry>, GitError> {
    let limit = (Measure::Settings, SETTINGS);
    let bytes = repository.file_at(commit, Path::new(".gitmodules"), limit)?;
    let text = String::from_utf8_lossy(bytes.as_deref().unwrap_or_default()).into_owned();
    gitmodules::parse(&text).map_err(|source| GitError::Gitmodules { commit, source })
}

/// Returns where a submodule comes from: as the user's clone has it configured, else as `.gitmodules` says; and whether it was the
/// user who said so.
fn place_of(parent: &Repository, name: &str, url: &str) -> Result<(Location, bool), GitError> {
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
            let place = Location::parse(&configured, parent.path());
            return Ok((place.map_err(address(&configured))?, true));
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
    Ok((place, false))
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
    // A link that stands in the work tree may lead to any repository.
    let real = |path: &Path| path.canonicalize().ok();
    let beside = parent.git.workdir().and_then(real);
    let beside = beside.map(|root| root.join(path));
    let beside = beside.filter(|dir| real(dir).as_ref() == Some(dir));
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
