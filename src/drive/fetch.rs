//! Brings in all that a run needs, while there is a network.

use std::ffi::OsString;
use std::path::Path;

use super::builds::{self, Builder};
use super::folder::RunFolder;
use super::progress::{Observer, Progress, StageKind, Under};
use super::trees::{Credentials, Origin, TreeError, Trees, repository};
use crate::cancel::Cancel;
use crate::config::DyingRanks;
use crate::foreign;
use crate::git::{self, CheckoutOptions};
use crate::plan::Plan;

/// What is to be brought in.
#[derive(Debug, Clone, Copy)]
pub struct Fetch<'a> {
    /// What a run will do.
    pub plan: &'a Plan,
    /// Where its trees come from.
    pub origin: &'a Origin,
    /// How the source is reached.
    pub credentials: &'a Credentials,
    /// The workspace.
    pub workspace: &'a Path,
    /// A folder for logs.
    pub folder: &'a RunFolder,
    /// The scrubbed environment.
    pub inherited: &'a [(OsString, OsString)],
}

/// Brings everything in that a run of this plan needs: the commit is here; trees, submodules and `fetch` commands follow.
pub async fn fetch(
    fetch: Fetch<'_>,
    observer: &Observer,
    cancel: &Cancel,
) -> Result<(), FetchError> {
    let Fetch {
        plan,
        origin,
        credentials,
        workspace,
        folder,
        inherited,
    } = fetch;
    let trees = Trees::new(workspace, folder.id());
    let Origin::Commit {
        repository: address,
        base,
        commit,
        submodules,
        bounds,
    } = origin
    else {
        return Ok(());
    };
    let builder = Builder {
        plan,
        folder,
        origin,
        trees: &trees,
        workspace,
        inherited,
        observer,
        dying_ranks: DyingRanks::Off,
    };
    for build in &plan.builds {
        let mark = trees.fetch_mark(*commit, build);
        if mark.exists() {
            continue;
        }
        let tree = trees.fetched(*commit, build);
        let under = Under::begin(observer, StageKind::Checkout, Some(&build.id));
        let options = CheckoutOptions {
            submodules: *submodules,
            reuse: false,
            bounds: *bounds,
        };
        let (cancel, credentials) = (cancel.clone(), credentials.clone());
        let (workspace, dir) = (workspace.to_owned(), tree.clone());
        let (address, base, commit) = (address.clone(), base.clone(), *commit);
        let making = tokio::task::spawn_blocking(move || {
            let stopped = || cancel.asked();
            let access = credentials.access(&workspace, &stopped);
            let repository = repository(&address, &base, commit, &access)?;
            git::checkout(&repository, commit, &dir, options, &access).map_err(TreeError::from)
        });
        let made = making.await??;
        made.lfs_advice()
            .map(Progress::Note)
            .into_iter()
            .for_each(|note| observer(note));
        under.end(true);
        builder.fetch(build, &tree).await?;
        foreign::put(&mark, "").map_err(TreeError::Directory)?;
    }
    Ok(())
}

/// What could not be brought in.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// A tree.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// A task of ours panicked.
    #[error("a task of hpc-ci ended badly")]
    Task(#[from] tokio::task::JoinError),
    /// What a `fetch` command was to bring.
    #[error(transparent)]
    Command(#[from] builds::Failure),
}
