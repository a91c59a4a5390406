//! What stands in a work tree that no commit holds.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use git2::Status;
use sha2::{Digest, Sha256};

use super::access::Access;
use super::bounds::{Bounds, SETTINGS};
use super::error::GitError;
use super::kept::STEERS;
use super::location::hex;
use super::repository::Repository;
use super::survey::Survey;
use crate::foreign;

/// How a file differs from the commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// New to git, and already in its index.
    Added,
    /// Another content, mode or kind.
    Modified,
    /// Gone.
    Deleted,
    /// Two sides of an unfinished merge.
    Conflicted,
}

/// A file of the work tree that differs from the commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its path in the repository.
    pub path: PathBuf,
    /// How it differs.
    pub kind: ChangeKind,
}

/// Uncommitted changes of a work tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dirty {
    /// Files known to git that differ from the commit, by path.
    pub changes: Vec<Change>,
    /// Files and whole directories (with `/` at the end) that git neither knows nor ignores, by path. They alone do
    /// not make a tree dirty: results of earlier runs are often among them.
    pub untracked: Vec<PathBuf>,
    /// SHA-256 over kind, path and content of the changes, in hexadecimal digits: equal for equal changes.
    pub diff_sha256: String,
}

impl Dirty {
    /// Returns true if the tree holds another code than the commit.
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        !self.changes.is_empty()
    }
}

/// Looks for uncommitted changes; `None` for a bare repository.
pub(super) fn dirty(repository: &Repository) -> Result<Option<Dirty>, GitError> {
    let git = &repository.git;
    let Some(root) = git.workdir() else {
        return Ok(None);
    };
    check_head(repository)?;
    check_steering(git)?;
    let mut options = git2::StatusOptions::new();
    options
        .include_untracked(true)
        .recurse_untracked_dirs(false)
        .include_ignored(false)
        .update_index(false);
    let statuses = git
        .statuses(Some(&mut options))
        .map_err(|error| repository.failed("compare the work tree", &error))?;
    let mut changes = Vec::new();
    let mut untracked = Vec::new();
    for entry in statuses.iter() {
        let path = bytes_to_path(entry.path_bytes());
        match kind_of(entry.status()) {
            Some(kind) => changes.push(Change { path, kind }),
            None if entry.status().is_wt_new() => untracked.push(path),
            None => {}
        }
    }
    changes.sort_by(|a, b| a.path.cmp(&b.path));
    untracked.sort();
    let diff_sha256 = fingerprint(root, &changes)?;
    Ok(Some(Dirty {
        changes,
        untracked,
        diff_sha256,
    }))
}

/// Sees to it that a comparison has an end: what is checked out may have been fetched, and never written as files.
fn check_head(repository: &Repository) -> Result<(), GitError> {
    let failed = |error| repository.failed("compare the work tree", &error);
    let head = repository.git.head().ok().and_then(|head| head.target());
    let Some(commit) = head.and_then(|id| repository.peeled(id)) else {
        return Ok(());
    };
    let written = repository.git.index().map_err(failed)?.len() as u64;
    let usual = Bounds::default();
    let bounds = Bounds {
        files: usual.files.max(4 * written),
        ..usual
    };
    let access = Access::new(PathBuf::new());
    Survey::take(repository, commit, &bounds, false, &access)?;
    Ok(())
}

/// Sees to it that libgit2 reads nothing without end in the place of `.gitignore` and `.gitattributes`: it follows links there, which
/// come with a commit and lead anywhere.
fn check_steering(git: &git2::Repository) -> Result<(), GitError> {
    let root = git.workdir().unwrap_or_else(|| git.path());
    let failed = |error| super::tree::failed(root, "read the index", &error);
    for entry in git.index().map_err(failed)?.iter() {
        let path = bytes_to_path(&entry.path);
        let steers = STEERS.iter().any(|it| path.ends_with(it));
        let path = root.join(path);
        if !steers || path.symlink_metadata().is_ok_and(|it| it.is_file()) {
            continue;
        }
        let unfit = path
            .metadata()
            .is_ok_and(|it| !it.is_dir() && (!it.is_file() || it.len() > SETTINGS));
        if unfit {
            let source =
                std::io::Error::other("it is no regular file of at most 1 MiB, and leads to none");
            return Err(GitError::Io {
                doing: "read",
                path,
                source,
            });
        }
    }
    Ok(())
}

impl Repository {
    /// Returns the files of the work tree that are in git's index, submodules as one entry each; with `new` also those that git
    /// neither knows nor ignores, save what lies in repositories of its own.
    pub fn work_files(&self, new: bool) -> Result<Vec<PathBuf>, GitError> {
        let failed = |error| self.failed("list the work tree", &error);
        let index = self.git.index().map_err(failed)?;
        let mut files: Vec<PathBuf> = index.iter().map(|it| bytes_to_path(&it.path)).collect();
        if new {
            check_steering(&self.git)?;
            let mut options = git2::StatusOptions::new();
            options
                .include_untracked(true)
                .recurse_untracked_dirs(true)
                .include_ignored(false)
                .update_index(false);
            let statuses = self.git.statuses(Some(&mut options)).map_err(failed)?;
            let untracked = statuses.iter().filter(|it| it.status().is_wt_new());
            let untracked = untracked.map(|it| it.path_bytes().to_vec());
            let files_only = untracked.filter(|path| !path.ends_with(b"/"));
            files.extend(files_only.map(|path| bytes_to_path(&path)));
        }
        Ok(files)
    }
}

fn kind_of(status: Status) -> Option<ChangeKind> {
    let any = |flags: Status| status.intersects(flags);
    if any(Status::CONFLICTED) {
        Some(ChangeKind::Conflicted)
    } else if any(Status::WT_DELETED) || (any(Status::INDEX_DELETED) && !any(Status::WT_NEW)) {
        Some(ChangeKind::Deleted)
    } else if any(Status::INDEX_NEW) {
        Some(ChangeKind::Added)
    } else if any(Status::INDEX_MODIFIED
        | Status::INDEX_DELETED
        | Status::INDEX_RENAMED
        | Status::INDEX_TYPECHANGE
        | Status::WT_MODIFIED
        | Status::WT_RENAMED
        | Status::WT_TYPECHANGE)
    {
        Some(ChangeKind::Modified)
    } else {
        None
    }
}

fn fingerprint(root: &Path, changes: &[Change]) -> Result<String, GitError> {
    let mut all = Sha256::new();
    for change in changes {
        all.update(format!("{:?} ", change.kind));
        all.update(path_bytes(&change.path));
        all.update([0]);
        all.update(content_hash(&root.join(&change.path))?);
    }
    Ok(hex(&all.finalize()))
}

/// Returns a hash of what stands at a path: a file's bytes and whether it can be run, a link's target, a submodule's
/// commit; nothing for a gap.
fn content_hash(path: &Path) -> Result<Vec<u8>, GitError> {
    let failed = |source| GitError::Io {
        doing: "read",
        path: path.to_path_buf(),
        source,
    };
    let Ok(metadata) = path.symlink_metadata() else {
        return Ok(Vec::new());
    };
    let mut hash = Sha256::new();
    if metadata.is_symlink() {
        let target = std::fs::read_link(path).map_err(failed)?;
        hash.update(path_bytes(&target));
    } else if metadata.is_dir() {
        let head = git2::Repository::open(path).and_then(|inner| inner.refname_to_id("HEAD"));
        hash.update(head.map(|id| id.to_string()).unwrap_or_default());
    } else if metadata.is_file() {
        hash.update([u8::from(metadata.permissions().mode() & 0o111 != 0)]);
        let mut file = foreign::open(path).map_err(failed)?;
        std::io::copy(&mut file, &mut HashWriter(&mut hash)).map_err(failed)?;
    }
    Ok(hash.finalize().to_vec())
}

struct HashWriter<'a>(&'a mut Sha256);

impl std::io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn bytes_to_path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(bytes))
}

fn path_bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::super::sample::Content::{File, Gone, Link};
    use super::super::sample::Sample;
    use super::*;

    #[test]
    fn links_for_settings_are_looked_at_before_they_are_followed() {
        let sample = Sample::new();
        let fifo = sample.home.path().join("fifo");
        let fifo = fifo.to_str().unwrap();
        for (target, fits) in [
            ("rules", true),
            ("no/where", true),
            (fifo, false),
            ("/dev/zero", false),
        ] {
            sample.commit(&[
                ("rules", File("*.o\n")),
                (".gitignore", Link(target)),
                ("in/.gitignore", Link(target)),
            ]);
            // Only now, since libgit2 would wait for it as it writes the commit.
            if target == fifo {
                nix::unistd::mkfifo(fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
            }
            let repository = sample.repository();
            assert_eq!(dirty(&repository).is_ok(), fits, "{target}");
            assert_eq!(repository.work_files(true).is_ok(), fits, "{target}");
            sample.commit(&[(".gitignore", Gone), ("in/.gitignore", Gone)]);
        }
    }

    #[test]
    fn tells_what_no_commit_holds() {
        let sample = Sample::new();
        sample.commit(&[
            (".gitignore", File("*.o\n")),
            ("same", File("1")),
            ("edited", File("1")),
            ("gone", File("1")),
            ("run", File("1")),
        ]);
        let look = || dirty(&sample.repository()).unwrap().unwrap();
        let clean = look();
        assert!(!clean.is_dirty() && clean.untracked.is_empty());

        let root = sample.root();
        std::fs::create_dir_all(root.join("results/deep")).unwrap();
        for path in ["results/deep/x", "new", "a.o"] {
            std::fs::write(root.join(path), "x").unwrap();
        }
        let files = |new| {
            let mut files = sample.repository().work_files(new).unwrap();
            files.sort();
            files
        };
        let known = [".gitignore", "edited", "gone", "run", "same"].map(PathBuf::from);
        assert_eq!(files(false), known);
        let mut all = [&known[..], &["new", "results/deep/x"].map(PathBuf::from)].concat();
        all.sort();
        assert_eq!(files(true), all, "`a.o` is ignored");
        let found = look();
        assert!(!found.is_dirty());
        assert_eq!(found.diff_sha256, clean.diff_sha256);
        assert_eq!(found.untracked, ["new", "results/"].map(PathBuf::from));

        std::fs::write(root.join("edited"), "2").unwrap();
        std::fs::remove_file(root.join("gone")).unwrap();
        std::fs::set_permissions(root.join("run"), std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut index = sample.git.index().unwrap();
        index.add_path(Path::new("new")).unwrap();
        index.write().unwrap();
        let found = look();
        let kinds: Vec<_> = found
            .changes
            .iter()
            .map(|change| (change.path.to_str().unwrap(), change.kind))
            .collect();
        let expected = [
            ("edited", ChangeKind::Modified),
            ("gone", ChangeKind::Deleted),
            ("new", ChangeKind::Added),
            ("run", ChangeKind::Modified),
        ];
        assert_eq!(kinds, expected);
        assert_eq!(look().diff_sha256, found.diff_sha256);
        std::fs::write(root.join("edited"), "3").unwrap();
        assert_ne!(look().diff_sha256, found.diff_sha256);
    }
}
