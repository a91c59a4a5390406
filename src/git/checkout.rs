//! A commit becomes a tree to build in, with its submodules.
//!
//! How one tree is written is the business of `tree`; what may stand at its place already, that of `kept`.

use std::path::{Path, PathBuf};

use super::access::{Access, Progress};
use super::bounds::Bounds;
use super::error::GitError;
use super::lfs;
use super::mirror;
use super::repository::{CommitId, Repository};
use super::submodules::{self, Part};
use super::survey::{Budget, Survey};
use super::tree;

/// How a tree is made.
#[derive(Debug, Clone, Copy)]
pub struct CheckoutOptions {
    /// Bring in submodules, and theirs.
    pub submodules: bool,
    /// Keep what earlier builds left and git ignores, if a tree is there already.
    pub reuse: bool,
    /// What it may hold.
    pub bounds: Bounds,
}

/// A tree, ready to build in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkout {
    /// Where it is.
    pub dir: PathBuf,
    /// The commit that it holds.
    pub commit: CommitId,
    /// True if an earlier tree was brought to this commit, false if it is fresh.
    pub reused: bool,
    /// The submodules in it, outer ones first.
    pub submodules: Vec<SubmoduleTree>,
    /// Files that are pointers of Git LFS in place of the content, relative to the tree.
    pub lfs_pointers: Vec<PathBuf>,
}

/// A submodule of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubmoduleTree {
    /// Its path in the outermost repository.
    pub path: PathBuf,
    /// Its commit.
    pub commit: CommitId,
}

impl Checkout {
    /// Returns what to do about LFS pointers, if there are some.
    #[must_use]
    pub fn lfs_advice(&self) -> Option<String> {
        let first = self.lfs_pointers.first()?;
        Some(format!(
            "{} files, `{}` among them, are Git LFS pointers, not the content; where the build needs it, begin `fetch` of [build.*] with: git lfs pull",
            self.lfs_pointers.len(),
            first.display()
        ))
    }
}

/// Makes a tree of a commit at `dir`, which must be new, empty, or a tree made here before.
pub fn checkout(
    repository: &Repository,
    commit: CommitId,
    dir: &Path,
    options: CheckoutOptions,
    access: &Access<'_>,
) -> Result<Checkout, GitError> {
    let mut budget = Budget::new(options.bounds, access);
    let survey = budget.spend(repository, commit)?;
    let parts = if options.submodules {
        submodules::locate(repository, commit, &survey, &mut budget, access)?
    } else {
        Vec::new()
    };
    let mut made = Checkout {
        dir: dir.to_path_buf(),
        commit,
        reused: false,
        submodules: Vec::new(),
        lfs_pointers: Vec::new(),
    };
    made.reused = place(repository, commit, &survey, dir, options, access)?;
    finish(&parts, dir, Path::new(""), &mut made, options, access)?;
    Ok(made)
}

/// Brings in all submodules of a commit without making a tree, so that a later [`checkout`] needs no network.
pub fn fetch_submodules(
    repository: &Repository,
    commit: CommitId,
    bounds: Bounds,
    access: &Access<'_>,
) -> Result<Vec<SubmoduleTree>, GitError> {
    fn list(parts: &[Part], prefix: &Path, out: &mut Vec<SubmoduleTree>) {
        for part in parts {
            let path = prefix.join(&part.path);
            out.push(SubmoduleTree {
                path: path.clone(),
                commit: part.commit,
            });
            list(&part.parts, &path, out);
        }
    }
    let mut found = Vec::new();
    let mut budget = Budget::new(bounds, access);
    let survey = budget.spend(repository, commit)?;
    let parts = submodules::locate(repository, commit, &survey, &mut budget, access)?;
    list(&parts, Path::new(""), &mut found);
    Ok(found)
}

/// Places the submodules of a tree that stands, and notes what is worth knowing.
fn finish(
    parts: &[Part],
    root: &Path,
    prefix: &Path,
    made: &mut Checkout,
    options: CheckoutOptions,
    access: &Access<'_>,
) -> Result<(), GitError> {
    let dir = root.join(prefix);
    let git = tree::open(&dir)?;
    for part in parts {
        let path = prefix.join(&part.path);
        (access.progress)(Progress::Submodule { path: &path });
        register(&git, part).map_err(|error| tree::failed(&dir, "note a submodule", &error))?;
        made.submodules.push(SubmoduleTree {
            path: path.clone(),
            commit: part.commit,
        });
        place(
            &part.repository,
            part.commit,
            &part.survey,
            &root.join(&path),
            options,
            access,
        )
        .and_then(|_| finish(&part.parts, root, &path, made, options, access))
        .map_err(|error| error.of_submodule(&path))?;
    }
    let pointers =
        lfs::pointers(&git).map_err(|error| tree::failed(&dir, "look for LFS pointers", &error))?;
    made.lfs_pointers
        .extend(pointers.into_iter().map(|path| prefix.join(path)));
    Ok(())
}

/// Writes a commit's files to `dir`; returns true if an earlier tree was used again. A tree that resists is made from
/// nothing. A mirror whose objects turn out to be damaged is made anew, once.
fn place(
    repository: &Repository,
    commit: CommitId,
    survey: &Survey,
    dir: &Path,
    options: CheckoutOptions,
    access: &Access<'_>,
) -> Result<bool, GitError> {
    if options.reuse {
        match tree::write(
            repository,
            commit,
            survey,
            dir,
            Some(&options.bounds),
            access,
        ) {
            Ok(reused) => return Ok(reused),
            Err(error @ (GitError::Cancelled { .. } | GitError::Occupied { .. })) => {
                return Err(error);
            }
            Err(error) => {
                tracing::warn!(%error, dir = %dir.display(), "tree cannot be used again");
            }
        }
    }
    match (
        tree::write(repository, commit, survey, dir, None, access),
        &repository.mirror_of,
    ) {
        (Err(GitError::Damaged { path, detail }), Some(mirrored)) => {
            match mirror::remake(&mirrored.place, commit, &detail, access)? {
                Some(mirror) => tree::write(&mirror, commit, survey, dir, None, access),
                None => Err(GitError::Damaged { path, detail }),
            }
        }
        (result, _) => result,
    }
}

/// Tells git that a submodule is in use, as `git submodule init` does.
fn register(git: &git2::Repository, part: &Part) -> Result<(), git2::Error> {
    let mut config = git.config()?.open_level(git2::ConfigLevel::Local)?;
    config.set_bool(&format!("submodule.{}.active", part.name), true)?;
    let url = part.place.without_credentials();
    config.set_str(&format!("submodule.{}.url", part.name), &url)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::super::sample::Content::{File, Gone, Submodule};
    use super::super::sample::{Sample, read};
    use super::*;

    #[test]
    fn submodules_come_from_where_the_clone_keeps_them() {
        let inner = Sample::new();
        let commit = inner.commit(&[("lib.c", File("lib"))]);
        let outer = Sample::new();
        let modules = format!(
            "[submodule \"lib\"]\npath = deps/lib\nurl = {}\n",
            inner.root().display()
        );
        let with = outer.commit(&[
            (".gitmodules", File(&modules)),
            ("deps/lib", Submodule(commit)),
        ]);
        let made = outer.checkout(with, false).unwrap();
        assert_eq!(read(&outer.tree(), "deps/lib/lib.c"), "lib");
        assert_eq!(
            made.submodules,
            [SubmoduleTree {
                path: "deps/lib".into(),
                commit
            }]
        );
    }

    #[test]
    fn a_submodule_that_is_none_any_more_goes() {
        let inner = Sample::new();
        let one = inner.commit(&[("lib.c", File("1"))]);
        let two = inner.commit(&[("lib.c", File("2"))]);
        let outer = Sample::new();
        let modules = |path: &str| {
            format!(
                "[submodule \"lib\"]\npath = {path}\nurl = {}\n",
                inner.root().display()
            )
        };
        let first = outer.commit(&[
            (".gitmodules", File(&modules("lib"))),
            ("lib", Submodule(one)),
        ]);
        let second = outer.commit(&[("lib", Submodule(two))]);
        let third = outer.commit(&[
            (".gitmodules", File(&modules("deps/lib"))),
            ("deps/lib", Submodule(two)),
            ("lib", Gone),
            ("lib/plain.c", File("plain")),
        ]);
        let tree = outer.tree();
        for (commit, expected) in [(first, "1"), (second, "2")] {
            outer.checkout(commit, true).unwrap();
            assert_eq!(read(&tree, "lib/lib.c"), expected);
        }
        outer.checkout(third, true).unwrap();
        assert_eq!(read(&tree, "deps/lib/lib.c"), "2");
        assert_eq!(read(&tree, "lib/plain.c"), "plain");
        assert!(!tree.join("lib/lib.c").exists() && !tree.join("lib/.git").exists());
        outer.checkout(first, true).unwrap();
        assert_eq!(read(&tree, "lib/lib.c"), "1");
        assert!(!tree.join("deps").exists() && !tree.join("lib/plain.c").exists());
    }
}
