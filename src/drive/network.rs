//! `coverage/network.json`: the files of the commit, written while the commit is at hand, so that publishing needs the
//! artifacts alone.

use std::collections::BTreeMap;
use std::path::Path;

use super::trees::{Origin, repository};
use crate::git::{Access, Bounds, CommitId, GitError, Measure, Repository, SOURCE, Source, Wanted};
use crate::publish::codecov::fixes;
use crate::results::record::{Network, SCHEMA_VERSION};

/// Returns what a service needs to know of the commit.
pub(super) fn network(origin: &Origin, workspace: &Path) -> Result<Network, GitError> {
    let access = Access::new(workspace.join("mirrors"));
    match origin {
        Origin::Commit {
            repository: address,
            base,
            commit,
            bounds,
            ..
        } => {
            let repository = repository(address, base, *commit, &access)?;
            describe(&repository, *commit, bounds, &access)
        }
        Origin::InPlace { root } => {
            let found = Source::holding(root)?.resolve(&Wanted::Head, &access)?;
            describe(&found.repository, found.commit, &Bounds::default(), &access)
        }
    }
}

fn describe(
    repository: &Repository,
    commit: CommitId,
    bounds: &Bounds,
    access: &Access<'_>,
) -> Result<Network, GitError> {
    // Git's order, which is that of bytes; names that are not UTF-8 stand in no tracefile either.
    let mut files: Vec<String> = repository
        .list_files(commit, bounds, access)?
        .into_iter()
        .filter_map(|path| path.into_os_string().into_string().ok())
        .collect();
    // As in `git ls-files`, a submodule is one entry.
    let submodules = repository.submodules(commit, bounds, access)?.into_iter();
    files.extend(submodules.filter_map(|(path, _)| path.into_os_string().into_string().ok()));
    files.sort_unstable();
    let mut told = BTreeMap::new();
    for path in files.iter().filter(|path| fixes::concern(path)) {
        let limit = (Measure::Source, SOURCE);
        let content = match repository.file_at(commit, Path::new(path), limit) {
            Err(GitError::TooMuch { .. }) => continue,
            content => content?,
        };
        if let Some(fix) = content.and_then(|content| fixes::fix(path, &content)) {
            told.insert(path.clone(), fix);
        }
    }
    Ok(Network {
        schema_version: SCHEMA_VERSION,
        commit: commit.to_string(),
        parent: repository
            .first_parent(commit)?
            .map(|parent| parent.to_string()),
        files,
        fixes: told,
    })
}
