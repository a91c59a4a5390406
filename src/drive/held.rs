//! Which source files the commit holds: what lies in a tree besides was generated, or fetched, and is not its code.

use super::Run;
use super::stored::put;
use super::trees::{Origin, repository};
use crate::foreign;
use crate::git::{Access, GitError, Source, Wanted};

/// Why it is not known.
#[derive(Debug, thiserror::Error)]
pub(super) enum HeldError {
    /// git did not tell.
    #[error(transparent)]
    Git(#[from] GitError),
    /// The list could not be kept.
    #[error(transparent)]
    Write(#[from] std::io::Error),
}

/// Writes down the files of the commit, before builds add theirs; a driver before may have done so.
pub(super) fn note(run: &Run) -> Result<(), HeldError> {
    let path = run.folder.held();
    if path.exists() {
        return Ok(());
    }
    let text = serde_json::to_vec(&files(run)?).map_err(std::io::Error::from)?;
    Ok(put(&path, &text, 0o666)?)
}

/// Returns what [`note`] wrote.
pub(super) fn read(run: &Run) -> std::io::Result<Vec<String>> {
    Ok(serde_json::from_slice(&foreign::read(
        run.folder.held(),
        foreign::DOCUMENT,
    )?)?)
}

/// The files of the commit. A submodule is one entry, which stands for all below it.
///
/// Of a tree in place with uncommitted changes, files that git neither knows nor ignores are as much its code as the changes are.
fn files(run: &Run) -> Result<Vec<String>, GitError> {
    let access = Access::new(run.request.workspace.join("mirrors"));
    let files = match &run.request.origin {
        Origin::Commit {
            repository: address,
            base,
            commit,
            submodules,
            bounds,
        } => {
            let repository = repository(address, base, *commit, &access)?;
            let mut files = repository.list_files(*commit, bounds, &access)?;
            if *submodules {
                let modules = repository.submodules(*commit, bounds, &access)?.into_iter();
                files.extend(modules.map(|(path, _)| path));
            }
            files
        }
        Origin::InPlace { root } => {
            let found = Source::holding(root)?.resolve(&Wanted::Head, &access)?;
            found
                .repository
                .work_files(run.request.plan.revision.dirty)?
        }
    };
    // Names that are not UTF-8 stand in no tracefile either.
    let names = files
        .into_iter()
        .map(|path| path.into_os_string().into_string());
    Ok(names.filter_map(Result::ok).collect())
}
