//! A commit becomes a tree to build in.
//!
//! The tree has a `.git` of its own, so that `git describe` and its like work in a build. Objects are not copied: git's
//! "alternates" lead to the repository that holds them. Nothing but the commit's files comes along: no hooks, no
//! templates, no configuration of the source. A tree that is used again gets a new `.git` all the same, since the build
//! that ran in it could have written there.

use std::fmt::Write as _;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use git2::build::CheckoutBuilder;
use git2::{CheckoutNotificationType, Delta, FileMode, ObjectType, Oid};

use super::access::{Access, Progress};
use super::error::GitError;
use super::lfs;
use super::location::Location;
use super::mirror;
use super::repository::{CommitId, Repository, full_id};
use super::submodules::{self, Part};

/// A file inside `.git` by which we know the trees that we made, and may delete.
const MARK: &str = "hpc-ci-tree";
/// How many paths an error shows.
const SHOWN_PATHS: usize = 5;
/// What an index may say of a file to keep git from looking at it (`gitformat-index(5)`).
const ASSUME_VALID: u16 = 1 << 15;
const SKIP_WORKTREE: u16 = 1 << 14;

/// How a tree is made.
#[derive(Debug, Clone, Copy)]
pub struct CheckoutOptions {
    /// Bring in submodules, and theirs.
    pub submodules: bool,
    /// Keep what earlier builds left and git ignores, if a tree is there already.
    pub reuse: bool,
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
    let parts = if options.submodules {
        submodules::locate(repository, commit, access)?
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
    made.reused = place(repository, commit, dir, options.reuse, access)?;
    finish(
        &parts,
        commit,
        dir,
        Path::new(""),
        &mut made,
        options.reuse,
        access,
    )?;
    Ok(made)
}

/// Brings in all submodules of a commit without making a tree, so that a later [`checkout`] needs no network.
pub fn fetch_submodules(
    repository: &Repository,
    commit: CommitId,
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
    let parts = submodules::locate(repository, commit, access)?;
    list(&parts, Path::new(""), &mut found);
    Ok(found)
}

/// Places the submodules of a tree that stands, looks it through, and notes what is worth knowing.
fn finish(
    parts: &[Part],
    commit: CommitId,
    root: &Path,
    prefix: &Path,
    made: &mut Checkout,
    reuse: bool,
    access: &Access<'_>,
) -> Result<(), GitError> {
    let dir = root.join(prefix);
    let git = open_tree(&dir)?;
    for part in parts {
        let path = prefix.join(&part.path);
        (access.progress)(Progress::Submodule { path: &path });
        register(&git, part).map_err(|error| tree_failed(&dir, "note a submodule", &error))?;
        made.submodules.push(SubmoduleTree {
            path: path.clone(),
            commit: part.commit,
        });
        place(
            &part.repository,
            part.commit,
            &root.join(&path),
            reuse,
            access,
        )
        .and_then(|_| finish(&part.parts, part.commit, root, &path, made, reuse, access))
        .map_err(|error| GitError::Submodule {
            path: path.display().to_string(),
            source: Box::new(error),
        })?;
    }
    verify(&git, commit, &dir)?;
    let pointers =
        lfs::pointers(&git).map_err(|error| tree_failed(&dir, "look for LFS pointers", &error))?;
    made.lfs_pointers
        .extend(pointers.into_iter().map(|path| prefix.join(path)));
    Ok(())
}

/// Writes a commit's files to `dir`; returns true if an earlier tree was used again. A mirror whose objects turn out to
/// be damaged is made anew, once.
fn place(
    repository: &Repository,
    commit: CommitId,
    dir: &Path,
    reuse: bool,
    access: &Access<'_>,
) -> Result<bool, GitError> {
    match (
        place_once(repository, commit, dir, reuse, access),
        &repository.mirror_of,
    ) {
        (Err(GitError::Damaged { path, detail }), Some(remote)) => {
            match mirror::remake(remote, commit, &detail, access)? {
                Some(mirror) => place_once(&mirror, commit, dir, reuse, access),
                None => Err(GitError::Damaged { path, detail }),
            }
        }
        (result, _) => result,
    }
}

fn place_once(
    repository: &Repository,
    commit: CommitId,
    dir: &Path,
    reuse: bool,
    access: &Access<'_>,
) -> Result<bool, GitError> {
    let kept = if reuse {
        Kept::read(dir, repository)
    } else {
        None
    };
    let io = |source| GitError::Io {
        doing: "clear",
        path: dir.to_path_buf(),
        source,
    };
    if kept.is_none() {
        clear(dir)?;
    }
    remove(&dir.join(".git")).map_err(io)?;
    make_git_dir(repository, dir)?;
    if let Some(kept) = &kept {
        restore(repository, kept, commit, dir)?;
    }
    let git = open_tree(dir)?;
    write_files(repository, &git, commit, access)?;
    git.set_head_detached(commit.0)
        .map_err(|error| tree_failed(dir, "set HEAD", &error))?;
    if kept.is_some() {
        clean(&git, dir)?;
    }
    Ok(kept.is_some())
}

/// What is taken over from a tree that is used again.
struct Kept {
    /// Git's index, by which unchanged files are known without reading them, so that they keep their times.
    index: Option<Vec<u8>>,
    /// The commit that the tree held, from which follows what has to go.
    commit: Oid,
}

impl Kept {
    /// Reads what there is; `None` if the tree has to be made from nothing.
    fn read(dir: &Path, repository: &Repository) -> Option<Self> {
        if !is_ours(dir) {
            return None;
        }
        let head = std::fs::read_to_string(dir.join(".git/HEAD")).ok()?;
        let commit = full_id(head.trim()).filter(|id| repository.has(CommitId(*id)))?;
        let index = std::fs::read(dir.join(".git/index")).ok();
        Some(Self { index, commit })
    }
}

fn is_ours(dir: &Path) -> bool {
    let is_real = |path: &Path| path.symlink_metadata().is_ok_and(|found| found.is_dir());
    is_real(dir) && is_real(&dir.join(".git")) && dir.join(".git").join(MARK).is_file()
}

/// Empties a directory that is ours; `.git`, by which that is known, goes last.
fn clear(dir: &Path) -> Result<(), GitError> {
    let io = |source| GitError::Io {
        doing: "clear",
        path: dir.to_path_buf(),
        source,
    };
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries.collect::<Result<Vec<_>, _>>().map_err(io)?,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() == ErrorKind::NotADirectory => {
            let path = dir.to_path_buf();
            return Err(GitError::Occupied { path });
        }
        Err(error) => return Err(io(error)),
    };
    if !entries.is_empty() && !is_ours(dir) {
        let path = dir.to_path_buf();
        return Err(GitError::Occupied { path });
    }
    for entry in entries.iter().filter(|entry| entry.file_name() != ".git") {
        remove(&entry.path()).map_err(io)?;
    }
    Ok(())
}

/// Removes whatever stands at a path, without following links; directories without write permission included, as
/// package caches leave them.
fn remove(path: &Path) -> std::io::Result<()> {
    match path.symlink_metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(found) if !found.is_dir() => return std::fs::remove_file(path),
        Ok(_) => {}
    }
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            open_up(path)?;
            std::fs::remove_dir_all(path)
        }
        result => result,
    }
}

fn open_up(dir: &Path) -> std::io::Result<()> {
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700))?;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_up(&entry.path())?;
        }
    }
    Ok(())
}

/// Makes the `.git` of a tree: no templates, no hooks, objects by reference, tags and the remote's branches.
fn make_git_dir(repository: &Repository, dir: &Path) -> Result<(), GitError> {
    let dot_git = dir.join(".git");
    let io = |source| GitError::Io {
        doing: "write",
        path: dot_git.clone(),
        source,
    };
    std::fs::create_dir_all(&dot_git).map_err(io)?;
    std::fs::write(
        dot_git.join(MARK),
        "A tree of hpc-ci, which may delete it.\n",
    )
    .map_err(io)?;
    let failed = |error: git2::Error| tree_failed(dir, "make a repository", &error);
    let mut options = git2::RepositoryInitOptions::new();
    options.external_template(false).no_reinit(false);
    let git = git2::Repository::init_opts(dir, &options).map_err(failed)?;
    configure(&git, repository).map_err(failed)?;

    let common = repository.git.commondir();
    let mut objects = common
        .join("objects")
        .canonicalize()
        .map_err(io)?
        .into_os_string();
    objects.push("\n");
    std::fs::write(dot_git.join("objects/info/alternates"), objects.as_bytes()).map_err(io)?;
    let shallow = common.join("shallow");
    if shallow.exists() {
        std::fs::copy(&shallow, dot_git.join("shallow")).map_err(io)?;
    }
    let references = references(repository)?;
    std::fs::write(dot_git.join("packed-refs"), references).map_err(io)
}

fn configure(git: &git2::Repository, repository: &Repository) -> Result<(), git2::Error> {
    let own = Location::Path(repository.path().to_path_buf());
    let origin = repository.origin.as_ref().unwrap_or(&own);
    git.remote("origin", &origin.without_credentials())?;
    let mut config = git.config()?.open_level(git2::ConfigLevel::Local)?;
    // The files of a commit are the same for everybody, whatever a user has set for their own clones.
    config.set_bool("core.autocrlf", false)?;
    // A `git` that a build calls must not start daemons on a compute node, nor repack.
    config.set_bool("core.fsmonitor", false)?;
    config.set_i32("gc.auto", 0)
}

/// Returns tags and remote branches as a packed-refs file (git-pack-refs(1)): thousands of tags in one write.
fn references(repository: &Repository) -> Result<String, GitError> {
    let failed = |error: git2::Error| repository.failed("read references", &error);
    let branches = if repository.is_mirror() {
        "refs/heads/"
    } else {
        "refs/remotes/origin/"
    };
    let mut lines = std::collections::BTreeMap::new();
    for (from, to) in [
        ("refs/tags/", "refs/tags/"),
        (branches, "refs/remotes/origin/"),
    ] {
        let found = repository.git.references_glob(&format!("{from}*"));
        for reference in found.map_err(failed)? {
            let reference = reference.map_err(failed)?;
            let name = reference
                .name()
                .ok()
                .and_then(|name| name.strip_prefix(from));
            if let (Some(name), Some(id)) = (name, reference.target()) {
                lines.insert(format!("{to}{name}"), id);
            }
        }
    }
    let mut text = String::new();
    for (name, id) in lines {
        // Writing to a String cannot fail.
        writeln!(text, "{id} {name}").ok();
    }
    Ok(text)
}

/// Gives a new `.git` what it needs to know about the files that stand there, and removes submodules that are none any
/// more, which git would leave alone.
fn restore(
    repository: &Repository,
    kept: &Kept,
    commit: CommitId,
    dir: &Path,
) -> Result<(), GitError> {
    let io = |source| GitError::Io {
        doing: "write",
        path: dir.join(".git/index"),
        source,
    };
    let index_path = dir.join(".git/index");
    if let Some(bytes) = &kept.index {
        std::fs::write(&index_path, bytes).map_err(io)?;
        let sound = git2::Index::open(&index_path).is_ok_and(|index| {
            index.iter().all(|entry| {
                entry.flags & ASSUME_VALID == 0 && entry.flags_extended & SKIP_WORKTREE == 0
            })
        });
        if !sound {
            std::fs::remove_file(&index_path).map_err(io)?;
        }
    }
    let git = open_tree(dir)?;
    git.set_head_detached(kept.commit)
        .map_err(|error| tree_failed(dir, "set HEAD", &error))?;
    let now = links(repository, commit)?;
    for path in links(repository, CommitId(kept.commit))? {
        if !now.contains(&path) {
            remove(&dir.join(&path)).map_err(io)?;
        }
    }
    Ok(())
}

fn links(repository: &Repository, commit: CommitId) -> Result<Vec<PathBuf>, GitError> {
    let mut links = Vec::new();
    repository.walk(commit, |path, entry| {
        if entry.kind() == Some(ObjectType::Commit) {
            links.push(path);
        }
    })?;
    Ok(links)
}

fn write_files(
    repository: &Repository,
    git: &git2::Repository,
    commit: CommitId,
    access: &Access<'_>,
) -> Result<(), GitError> {
    let found = git
        .find_object(commit.0, Some(ObjectType::Commit))
        .map_err(|error| repository.failed("read a commit", &error))?;
    let mut builder = CheckoutBuilder::new();
    builder
        .force()
        .notify_on(CheckoutNotificationType::UPDATED)
        .notify(|_, _, _, _, _| !(access.cancelled)())
        .progress(|_, done, total| (access.progress)(Progress::Writing { done, total }));
    git.checkout_tree(&found, Some(&mut builder))
        .map_err(|error| {
            if (access.cancelled)() {
                let place = repository.shown();
                return GitError::Cancelled { place };
            }
            if error.message().contains("invalid path") {
                let detail = error.message().to_owned();
                return GitError::HostilePath { commit, detail };
            }
            repository.failed("check out", &error)
        })
}

/// Removes what the commit does not hold and git does not ignore.
fn clean(git: &git2::Repository, dir: &Path) -> Result<(), GitError> {
    let io = |source| GitError::Io {
        doing: "clean",
        path: dir.to_path_buf(),
        source,
    };
    let mut options = git2::StatusOptions::new();
    options
        .include_untracked(true)
        .recurse_untracked_dirs(true)
        .include_ignored(false)
        .exclude_submodules(true);
    let statuses = git
        .statuses(Some(&mut options))
        .map_err(|error| tree_failed(dir, "look for untracked files", &error))?;
    for entry in statuses.iter().filter(|entry| entry.status().is_wt_new()) {
        let path = dir.join(std::ffi::OsStr::from_bytes(entry.path_bytes()));
        remove(&path).map_err(io)?;
        // Directories that are empty now go as well; the first that is not ends it.
        path.ancestors()
            .skip(1)
            .take_while(|above| *above != dir)
            .find(|above| std::fs::remove_dir(above).is_err());
    }
    Ok(())
}

/// Tells git that a submodule is in use, as `git submodule init` does.
fn register(git: &git2::Repository, part: &Part) -> Result<(), git2::Error> {
    let mut config = git.config()?.open_level(git2::ConfigLevel::Local)?;
    config.set_bool(&format!("submodule.{}.active", part.name), true)?;
    let url = part.place.without_credentials();
    config.set_str(&format!("submodule.{}.url", part.name), &url)
}

/// Compares the files on disk with the commit.
fn verify(git: &git2::Repository, commit: CommitId, dir: &Path) -> Result<(), GitError> {
    let failed = |error: git2::Error| tree_failed(dir, "verify the tree", &error);
    let head = git
        .head()
        .and_then(|head| head.peel_to_commit())
        .map_err(failed)?;
    if head.id() != commit.0 {
        return Err(GitError::Differs {
            dir: dir.to_path_buf(),
            commit,
            paths: vec!["HEAD".to_owned()],
        });
    }
    let tree = head.tree().map_err(failed)?;
    let mut options = git2::DiffOptions::new();
    options.ignore_submodules(true).include_typechange(true);
    let diff = git
        .diff_tree_to_workdir_with_index(Some(&tree), Some(&mut options))
        .map_err(failed)?;
    let paths: Vec<String> = diff
        .deltas()
        .filter(|delta| !is_byte_equal(delta, dir))
        .filter_map(|delta| {
            delta
                .old_file()
                .path()
                .map(|path| path.display().to_string())
        })
        .take(SHOWN_PATHS)
        .collect();
    if paths.is_empty() {
        return Ok(());
    }
    Err(GitError::Differs {
        dir: dir.to_path_buf(),
        commit,
        paths,
    })
}

/// Returns true for a file that is written as it was committed, and yet "modified": its line ends break the rules that
/// `.gitattributes` have for it. Git sees such files as changed right after a clone.
fn is_byte_equal(delta: &git2::DiffDelta<'_>, dir: &Path) -> bool {
    let (old, new) = (delta.old_file(), delta.new_file());
    let is_file = matches!(old.mode(), FileMode::Blob | FileMode::BlobExecutable);
    let hashed = new
        .path()
        .map(|path| Oid::hash_file(ObjectType::Blob, dir.join(path)));
    delta.status() == Delta::Modified
        && is_file
        && old.mode() == new.mode()
        && matches!(hashed, Some(Ok(id)) if id == old.id())
}

fn open_tree(dir: &Path) -> Result<git2::Repository, GitError> {
    git2::Repository::open(dir).map_err(|error| tree_failed(dir, "open the tree", &error))
}

fn tree_failed(dir: &Path, doing: &'static str, error: &git2::Error) -> GitError {
    GitError::Git {
        doing,
        place: dir.display().to_string(),
        detail: error.message().to_owned(),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::super::sample::Content::{File, Gone, Link, Program, Submodule};
    use super::super::sample::Sample;
    use super::*;

    fn read(dir: &Path, path: &str) -> String {
        std::fs::read_to_string(dir.join(path))
            .unwrap_or_else(|error| format!("({})", error.kind()))
    }

    #[test]
    fn a_fresh_tree_holds_the_commit_and_nothing_else() {
        let sample = Sample::new();
        let first = sample.commit(&[
            ("src/main.c", File("int main;")),
            ("run.sh", Program("#!/bin/sh\n")),
            ("link", Link("src/main.c")),
            ("outside", Link("/etc")),
        ]);
        sample.commit(&[("src/main.c", File("later"))]);
        std::fs::write(sample.root().join("untracked"), "x").unwrap();

        let made = sample.checkout(first, false).unwrap();
        let tree = sample.tree();
        assert_eq!(made.commit, first);
        assert!(!made.reused);
        assert_eq!(read(&tree, "src/main.c"), "int main;");
        assert_eq!(read(&tree, "link"), "int main;");
        assert_eq!(tree.join("outside").read_link().unwrap(), Path::new("/etc"));
        let executable =
            |path: &str| tree.join(path).metadata().unwrap().permissions().mode() & 0o111;
        assert_ne!(executable("run.sh"), 0);
        assert_eq!(executable("src/main.c"), 0);
        assert!(!tree.join("untracked").exists());
        let git = git2::Repository::open(&tree).unwrap();
        assert!(git.head_detached().unwrap());
        assert!(git.statuses(None).unwrap().is_empty());
    }

    #[test]
    fn a_tree_used_again_keeps_what_git_ignores_and_loses_the_rest() {
        let sample = Sample::new();
        let first = sample.commit(&[
            (".gitignore", File("target/\n*.o\n")),
            ("same.c", File("same")),
            ("edited.c", File("one")),
            ("gone.c", File("gone")),
            ("becomes/dir.c", File("file below")),
        ]);
        let second = sample.commit(&[
            (".gitignore", File("target/\n")),
            ("edited.c", File("two")),
            ("gone.c", Gone),
            ("becomes/dir.c", Gone),
            ("new.c", File("new")),
        ]);
        sample.checkout(first, true).unwrap();
        let tree = sample.tree();
        let write = |path: &str| {
            std::fs::create_dir_all(tree.join(path).parent().unwrap()).unwrap();
            std::fs::write(tree.join(path), "by the build").unwrap();
        };
        for path in [
            "target/x.o",
            "a.o",
            "extra/deep/x",
            "same.c",
            ".git/hooks/post-checkout",
            "new.c/x",
        ] {
            write(path);
        }
        let made = sample.checkout(second, true).unwrap();
        assert!(made.reused);
        let texts = ["same.c", "edited.c", "gone.c", "new.c", "target/x.o", "a.o"]
            .map(|path| read(&tree, path));
        let gone = "(entity not found)";
        assert_eq!(texts, ["same", "two", gone, "new", "by the build", gone]);
        assert!(!tree.join("extra").exists());
        assert!(!tree.join("becomes").exists());
        assert!(!tree.join(".git/hooks/post-checkout").exists());
    }

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
}
