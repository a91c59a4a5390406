//! One tree of files, written from a commit.
//!
//! The tree has a `.git` of its own, so that `git describe` and its like work in a build. Objects are not copied: git's
//! "alternates" lead to the repository that holds them. Nothing but the commit's files comes along: no hooks, no
//! templates, no configuration of the source.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use git2::build::CheckoutBuilder;
use git2::{CheckoutNotificationType, Delta, FileMode, ObjectType, Oid};

use super::access::{Access, Progress};
use super::bounds::Bounds;
use super::cause;
use super::error::GitError;
use super::kept::{self, Kept, MARK};
use super::location::Location;
use super::repository::{CommitId, Repository};
use super::survey::Survey;

/// How many paths an error shows.
const SHOWN_PATHS: usize = 5;

/// Writes a commit's files to `dir`; returns true if an earlier tree was brought to the commit, which is tried if `reuse` says what
/// that may hold.
pub(super) fn write(
    repository: &Repository,
    commit: CommitId,
    survey: &Survey,
    dir: &Path,
    reuse: Option<&Bounds>,
    access: &Access<'_>,
) -> Result<bool, GitError> {
    let kept = reuse.and_then(|bounds| Kept::read(dir, repository, bounds, access));
    let io = |source| GitError::Io {
        doing: "clear",
        path: dir.to_path_buf(),
        source,
    };
    if kept.is_none() {
        kept::clear(dir)?;
    }
    kept::remove(&dir.join(".git")).map_err(io)?;
    make_git_dir(repository, dir)?;
    if let Some(kept) = &kept {
        kept.restore(repository, commit, survey, dir, access)?;
    }
    let git = open(dir)?;
    write_files(repository, &git, commit, survey, access)?;
    git.set_head_detached(commit.0)
        .map_err(|error| failed(dir, "set HEAD", &error))?;
    if kept.is_some() {
        kept::clean(&git, dir)?;
    }
    verify(&git, commit, dir)?;
    Ok(kept.is_some())
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
    let failed = |error: git2::Error| failed(dir, "make a repository", &error);
    let mut options = git2::RepositoryInitOptions::new();
    options.external_template(false).no_reinit(false);
    let git = git2::Repository::init_opts(dir, &options).map_err(failed)?;
    configure(&git, repository).map_err(failed)?;

    let mut objects = repository.objects_dir().map_err(io)?.into_os_string();
    objects.push("\n");
    std::fs::write(dot_git.join("objects/info/alternates"), objects.as_bytes()).map_err(io)?;
    let shallow = repository.git.commondir().join("shallow");
    if shallow.is_file() {
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
    let mut lines = BTreeMap::new();
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

fn write_files(
    repository: &Repository,
    git: &git2::Repository,
    commit: CommitId,
    survey: &Survey,
    access: &Access<'_>,
) -> Result<(), GitError> {
    let found = git
        .find_object(commit.0, Some(ObjectType::Commit))
        .map_err(|error| repository.failed("read a commit", &error))?;
    // With nothing to say how line ends are written, libgit2 would still look for it at every file: twelve system calls
    // each, measured on 60,000 files.
    let has_attributes = survey.weight.has_attributes;
    let mut builder = CheckoutBuilder::new();
    builder
        .force()
        .disable_filters(!has_attributes)
        .notify_on(CheckoutNotificationType::UPDATED)
        .notify(|_, _, _, _, _| !(access.cancelled)())
        .progress(|_, done, total| (access.progress)(Progress::Writing { done, total }));
    let written = git.checkout_tree(&found, Some(&mut builder));
    if (access.cancelled)() {
        let place = repository.shown();
        return Err(GitError::Cancelled { place });
    }
    written.map_err(|error| {
        if error.message().contains("invalid path") {
            let detail = error.message().to_owned();
            return GitError::HostilePath { commit, detail };
        }
        repository.failed("check out", &error)
    })
}

/// Compares the files on disk with the commit.
fn verify(git: &git2::Repository, commit: CommitId, dir: &Path) -> Result<(), GitError> {
    let failed = |error: git2::Error| failed(dir, "verify the tree", &error);
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

/// Opens a tree.
pub(super) fn open(dir: &Path) -> Result<git2::Repository, GitError> {
    git2::Repository::open(dir).map_err(|error| failed(dir, "open the tree", &error))
}

/// Says that something went wrong in a tree.
pub(super) fn failed(dir: &Path, doing: &'static str, error: &git2::Error) -> GitError {
    cause::of_place(error, doing, dir)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::sample::Content::{File, Link, Program};
    use super::super::sample::{Sample, read};
    use super::*;

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
    fn paths_that_escape_are_refused() {
        let sample = Sample::new();
        sample.commit(&[("a", File("1"))]);
        let blob = sample.git.blob(b"evil").unwrap();
        let object = |name: &str, mode: &str, id: Oid| {
            let mut bytes = format!("{mode} {name}\0").into_bytes();
            bytes.extend_from_slice(id.as_bytes());
            // Written raw, since libgit2 would not build such a tree.
            let odb = sample.git.odb().unwrap();
            odb.write(ObjectType::Tree, &bytes).unwrap()
        };
        for name in [".git", "..", ".", ".GIT", "git~1", "a/../../b"] {
            let inner = object("config", "100644", blob);
            for tree in [object(name, "40000", inner), object(name, "100644", blob)] {
                let commit = sample.commit_tree(tree);
                let result = sample.checkout(commit, false);
                assert!(result.is_err(), "{name}: {result:?}");
                assert!(!sample.home.path().join("b").exists());
            }
        }
    }

    #[test]
    fn line_ends_that_break_their_rules_are_not_damage() {
        let sample = Sample::new();
        sample.commit(&[("mixed", File("a\r\nb\n")), ("dos", File("a\nb\n"))]);
        let commit = sample.commit(&[(".gitattributes", File("mixed text\ndos eol=crlf\n"))]);
        sample.checkout(commit, false).unwrap();
        let tree = sample.tree();
        assert_eq!(
            [read(&tree, "mixed"), read(&tree, "dos")],
            ["a\r\nb\n", "a\r\nb\r\n"]
        );
        let git = open(&tree).unwrap();
        verify(&git, commit, &tree).unwrap();
        std::fs::write(tree.join("dos"), "a").unwrap();
        let error = verify(&git, commit, &tree).unwrap_err();
        assert!(matches!(error, GitError::Differs { .. }), "{error:?}");
    }
}
