//! Small repositories for the tests of this room.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use git2::{Oid, Signature};
use tempfile::TempDir;

use super::access::Access;
use super::bounds::Bounds;
use super::checkout::{Checkout, CheckoutOptions, checkout};
use super::error::GitError;
use super::repository::{CommitId, Repository};

/// What a path of a sample commit holds.
pub(super) enum Content<'a> {
    File(&'a str),
    Program(&'a str),
    Link(&'a str),
    Submodule(CommitId),
    Gone,
}

/// A clone with a work tree, deleted when dropped.
pub(super) struct Sample {
    pub(super) home: TempDir,
    pub(super) git: git2::Repository,
}

impl Sample {
    pub(super) fn new() -> Self {
        let home = TempDir::new().unwrap();
        let mut options = git2::RepositoryInitOptions::new();
        options.external_template(false).initial_head("main");
        let git = git2::Repository::init_opts(home.path().join("heat"), &options).unwrap();
        Self { home, git }
    }

    pub(super) fn root(&self) -> PathBuf {
        self.home.path().canonicalize().unwrap().join("heat")
    }

    pub(super) fn repository(&self) -> Repository {
        Repository::open_local(&self.root(), false).unwrap()
    }

    pub(super) fn access(&self) -> Access<'static> {
        Access::new(self.home.path().join("mirrors"))
    }

    /// Changes files of the work tree and commits them on the current branch.
    pub(super) fn commit(&self, changes: &[(&str, Content<'_>)]) -> CommitId {
        let mut index = self.git.index().unwrap();
        for (path, content) in changes {
            let file = self.root().join(path);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            match content {
                Content::File(text) => std::fs::write(&file, text).unwrap(),
                Content::Program(text) => {
                    std::fs::write(&file, text).unwrap();
                    let mode = std::fs::Permissions::from_mode(0o755);
                    std::fs::set_permissions(&file, mode).unwrap();
                }
                Content::Link(target) => std::os::unix::fs::symlink(target, &file).unwrap(),
                Content::Submodule(commit) => {
                    index.add(&entry(path, commit.0, 0o160_000)).unwrap();
                    continue;
                }
                Content::Gone => {
                    std::fs::remove_file(&file).ok();
                    index.remove_path(Path::new(path)).unwrap();
                    continue;
                }
            }
            index.add_path(Path::new(path)).unwrap();
        }
        index.write().unwrap();
        let tree = index.write_tree().unwrap();
        self.commit_tree(tree)
    }

    pub(super) fn commit_tree(&self, tree: Oid) -> CommitId {
        let tree = self.git.find_tree(tree).unwrap();
        let who = Signature::now("Test", "test@example.org").unwrap();
        let parent = self
            .git
            .head()
            .ok()
            .and_then(|head| head.peel_to_commit().ok());
        let parents: Vec<_> = parent.iter().collect();
        let id = self
            .git
            .commit(Some("HEAD"), &who, &who, "change", &tree, &parents);
        CommitId(id.unwrap())
    }

    pub(super) fn checkout(&self, commit: CommitId, reuse: bool) -> Result<Checkout, GitError> {
        let options = CheckoutOptions {
            submodules: true,
            reuse,
            bounds: Bounds {
                local_submodules: true,
                ..Bounds::default()
            },
        };
        checkout(
            &self.repository(),
            commit,
            &self.tree(),
            options,
            &self.access(),
        )
    }

    /// Where `checkout` puts its tree.
    pub(super) fn tree(&self) -> PathBuf {
        self.home.path().join("tree")
    }
}

/// Returns the text of a file, or why there is none.
pub(super) fn read(dir: &Path, path: &str) -> String {
    std::fs::read_to_string(dir.join(path)).unwrap_or_else(|error| format!("({})", error.kind()))
}

fn entry(path: &str, id: Oid, mode: u32) -> git2::IndexEntry {
    git2::IndexEntry {
        ctime: git2::IndexTime::new(0, 0),
        mtime: git2::IndexTime::new(0, 0),
        dev: 0,
        ino: 0,
        mode,
        uid: 0,
        gid: 0,
        file_size: 0,
        id,
        flags: 0,
        flags_extended: 0,
        path: path.as_bytes().to_vec(),
    }
}
