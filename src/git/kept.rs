//! What stands where a tree is to be: an earlier tree to use again, one to clear away, or something that is not ours.
//!
//! A tree that is used again gets a new `.git` all the same, since the build that ran in it could have written there;
//! only git's index is taken over.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::Metadata;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use git2::{FileMode, ObjectType, Oid};

use super::access::Access;
use super::bounds::{Bounds, SETTINGS};
use super::error::GitError;
use super::repository::{CommitId, Repository, full_id};
use super::survey::Survey;
use super::tree;
use crate::foreign;

/// A file inside `.git` by which we know the trees that we made, and may delete.
pub(super) const MARK: &str = "hpc-ci-tree";
/// What an index may say of a file to keep git from looking at it (`gitformat-index(5)`).
const ASSUME_VALID: u16 = 1 << 15;
const SKIP_WORKTREE: u16 = 1 << 14;
/// Files that say what git does with others.
pub(super) const STEERS: [&str; 2] = [".gitignore", ".gitattributes"];
/// Folders deeper than this are moved up before they are removed.
const MOVED_FROM: usize = 64;

/// What is taken over from a tree that is used again.
pub(super) struct Kept {
    /// Git's index, by which unchanged files are known without reading them, so that they keep their times.
    index: Option<Vec<u8>>,
    /// The commit that the tree held, from which follows what has to go.
    commit: Oid,
    /// What that unfolds to.
    survey: Survey,
}

impl Kept {
    /// Reads what there is; `None` if the tree has to be made from nothing. The build that ran in the tree may have put anything
    /// there: FIFOs, devices, files without end, the name of another commit.
    pub(super) fn read(
        dir: &Path,
        repository: &Repository,
        bounds: &Bounds,
        access: &Access<'_>,
    ) -> Option<Self> {
        if !is_ours(dir) {
            return None;
        }
        let head = foreign::read_to_string(dir.join(".git/HEAD"), foreign::NOTE).ok()?;
        let commit = full_id(head.trim()).filter(|id| repository.has(CommitId(*id)))?;
        let survey = Survey::take(repository, CommitId(commit), bounds, true, access).ok()?;
        let index = foreign::read(dir.join(".git/index"), index_limit(&survey)).ok();
        // From version 4 on, paths are written in short, and a few bytes unfold to many.
        let is_plain = |index: &Vec<u8>| matches!(index.get(4..8), Some([0, 0, 0, 2 | 3]));
        Some(Self {
            index: index.filter(is_plain),
            commit,
            survey,
        })
    }

    /// Gives a new `.git` what it needs to know about the files that stand there, and removes what libgit2 would stumble
    /// over: submodules that are none any more, and links in place of files and directories.
    pub(super) fn restore(
        &self,
        repository: &Repository,
        commit: CommitId,
        survey: &Survey,
        dir: &Path,
        access: &Access<'_>,
    ) -> Result<(), GitError> {
        let io = |source| GitError::Io {
            doing: "write",
            path: dir.join(".git/index"),
            source,
        };
        let index_path = dir.join(".git/index");
        if let Some(bytes) = &self.index {
            foreign::put(&index_path, bytes).map_err(io)?;
            let sound = git2::Index::open(&index_path).is_ok_and(|mut index| {
                let sound = index.iter().all(|entry| {
                    entry.flags & ASSUME_VALID == 0 && entry.flags_extended & SKIP_WORKTREE == 0
                });
                sound && without_steering_links(&mut index).is_ok()
            });
            if !sound {
                std::fs::remove_file(&index_path).map_err(io)?;
            }
        }
        let git = tree::open(dir)?;
        git.set_head_detached(self.commit)
            .map_err(|error| tree::failed(dir, "set HEAD", &error))?;
        let (before, now) = (
            entries(repository, CommitId(self.commit))?,
            entries(repository, commit)?,
        );
        for (path, kind) in &before {
            let link = kind.0 == Some(ObjectType::Commit);
            if link && now.get(path).map(|it| it.0) != Some(kind.0) {
                remove(&dir.join(path)).map_err(io)?;
            }
        }
        let paths = before.keys().chain(now.keys());
        let above = paths.flat_map(|path| path.ancestors().skip(1));
        let links = now
            .iter()
            .filter(|(_, kind)| kind.0 == Some(ObjectType::Commit));
        let directories: BTreeSet<&Path> =
            above.chain(links.map(|(path, _)| path.as_path())).collect();
        for path in directories {
            remove_unless(&dir.join(path), Metadata::is_dir).map_err(io)?;
        }
        for (path, (kind, id)) in before.iter().chain(&now) {
            let known = self.survey.sizes.get(id).or(survey.sizes.get(id));
            // Line ends may double it. What is larger was not written by us, and libgit2 would read it to its end.
            let most = known.map_or(0, |size| size.saturating_mul(2));
            let fits = |found: &Metadata| match kind {
                Some(ObjectType::Blob) => found.is_dir() || found.is_file() && found.len() <= most,
                _ => !found.is_symlink(),
            };
            remove_unless(&dir.join(path), fits).map_err(io)?;
        }
        tame(dir, access)
    }
}

/// Empties a directory that is ours; `.git`, by which that is known, goes last.
pub(super) fn clear(dir: &Path) -> Result<(), GitError> {
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

/// Removes what the commit does not hold and git does not ignore.
pub(super) fn clean(git: &git2::Repository, dir: &Path) -> Result<(), GitError> {
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
        .map_err(|error| tree::failed(dir, "look for untracked files", &error))?;
    for entry in statuses.iter().filter(|entry| entry.status().is_wt_new()) {
        let path = dir.join(OsStr::from_bytes(entry.path_bytes()));
        remove(&path).map_err(io)?;
        // Directories that are empty now go as well; the first that is not ends it.
        path.ancestors()
            .skip(1)
            .take_while(|above| *above != dir)
            .find(|above| std::fs::remove_dir(above).is_err());
    }
    Ok(())
}

/// Removes whatever a build made of a tree of ours.
pub fn remove_tree(dir: &Path) -> Result<(), GitError> {
    remove(dir).map_err(|source| GitError::Io {
        doing: "clear",
        path: dir.to_path_buf(),
        source,
    })
}

/// Removes whatever stands at a path, without following links; directories without write permission included, as
/// package caches leave them.
pub(super) fn remove(path: &Path) -> std::io::Result<()> {
    match path.symlink_metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(found) if !found.is_dir() => return std::fs::remove_file(path),
        Ok(_) => {}
    }
    // Not by recursion: a build can nest folders deeper than the stack, and paths longer than the system takes.
    let mut pending = vec![(path.to_path_buf(), 0, false)];
    let mut aside = 0_u64;
    while let Some((dir, depth, emptied)) = pending.pop() {
        if emptied {
            std::fs::remove_dir(&dir)?;
            continue;
        }
        std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o700))?;
        let entries = std::fs::read_dir(&dir)?;
        pending.push((dir, depth, true));
        for entry in entries {
            let entry = entry?;
            let at = entry.path();
            if !entry.file_type()?.is_dir() {
                std::fs::remove_file(at)?;
            } else if depth < MOVED_FROM {
                pending.push((at, depth + 1, false));
            } else {
                std::fs::set_permissions(&at, std::fs::Permissions::from_mode(0o700))?;
                let free = |number: u64| !path.join(format!(".deep{number}")).exists();
                while !free(aside) {
                    aside += 1;
                }
                let up = path.join(format!(".deep{aside}"));
                std::fs::rename(&at, &up)?;
                pending.push((up, 1, false));
            }
        }
    }
    Ok(())
}

/// Forgets the symbolic links that stand for settings: the tree is brought to the commit without them.
fn without_steering_links(index: &mut git2::Index) -> Result<(), git2::Error> {
    let is_link = |entry: &git2::IndexEntry| entry.mode == u32::from(FileMode::Link);
    let path = |entry: git2::IndexEntry| PathBuf::from(OsStr::from_bytes(&entry.path));
    let links = index.iter().filter(is_link).map(path);
    let steering: Vec<PathBuf> = links
        .filter(|path| STEERS.iter().any(|it| path.ends_with(it)))
        .collect();
    if steering.is_empty() {
        return Ok(());
    }
    for path in steering {
        index.remove_path(&path)?;
    }
    index.write()
}

/// Removes what steers git, where it is no file that git would write: libgit2 reads it in every folder that it looks into.
fn tame(dir: &Path, access: &Access<'_>) -> Result<(), GitError> {
    let io = |path: &Path, source| GitError::Io {
        doing: "look through",
        path: path.to_path_buf(),
        source,
    };
    let mut pending = vec![dir.to_path_buf()];
    while let Some(dir) = pending.pop() {
        if (access.cancelled)() {
            let place = dir.display().to_string();
            return Err(GitError::Cancelled { place });
        }
        for entry in std::fs::read_dir(&dir).map_err(|error| io(&dir, error))? {
            let entry = entry.map_err(|error| io(&dir, error))?;
            let (name, path) = (entry.file_name(), entry.path());
            let kind = entry.file_type().map_err(|error| io(&path, error))?;
            if STEERS.iter().any(|steers| name == *steers) {
                let fits = |found: &Metadata| found.is_file() && found.len() <= SETTINGS;
                remove_unless(&path, fits).map_err(|error| io(&path, error))?;
            } else if kind.is_dir() && name != ".git" {
                pending.push(path);
            }
        }
    }
    Ok(())
}

/// Returns the most bytes that an index of this many files takes (`gitformat-index(5)`), with as much again for its extensions.
fn index_limit(survey: &Survey) -> u64 {
    let weight = &survey.weight;
    foreign::NOTE + 2 * (72 * weight.entries + weight.paths)
}

fn is_ours(dir: &Path) -> bool {
    let is_real = |path: &Path| path.symlink_metadata().is_ok_and(|found| found.is_dir());
    is_real(dir) && is_real(&dir.join(".git")) && dir.join(".git").join(MARK).is_file()
}

/// Removes what stands at a path if it is of the wrong kind. libgit2 would write and delete through a symbolic link that
/// a build left in place of a file or directory, wherever it leads.
fn remove_unless(path: &Path, fits: impl Fn(&Metadata) -> bool) -> std::io::Result<()> {
    match path.symlink_metadata() {
        Ok(found) if !fits(&found) => remove(path),
        _ => Ok(()),
    }
}

type Entries = BTreeMap<PathBuf, (Option<ObjectType>, Oid)>;

fn entries(repository: &Repository, commit: CommitId) -> Result<Entries, GitError> {
    let mut entries = BTreeMap::new();
    repository.walk(commit, |path, entry| {
        entries.insert(path, (entry.kind(), entry.id()));
    })?;
    Ok(entries)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::super::sample::Content::{File, Gone};
    use super::super::sample::{Sample, read};
    use super::*;

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
    fn only_own_trees_are_cleared() {
        let sample = Sample::new();
        let commit = sample.commit(&[("a", File("1"))]);
        let tree = sample.tree();
        std::fs::create_dir_all(tree.join("precious")).unwrap();
        for reuse in [false, true] {
            let error = sample.checkout(commit, reuse).unwrap_err();
            assert!(matches!(error, GitError::Occupied { .. }), "{error:?}");
        }
        std::fs::remove_dir(tree.join("precious")).unwrap();
        sample.checkout(commit, false).unwrap();
        // A package cache without write permission, and a link that leads out.
        std::fs::create_dir_all(tree.join("cache/deep")).unwrap();
        std::fs::write(tree.join("cache/deep/x"), "x").unwrap();
        for dir in ["cache/deep", "cache"] {
            let mode = std::fs::Permissions::from_mode(0o555);
            std::fs::set_permissions(tree.join(dir), mode).unwrap();
        }
        std::os::unix::fs::symlink(sample.root(), tree.join("out")).unwrap();
        let made = sample.checkout(commit, false).unwrap();
        assert!(!made.reused);
        assert!(!tree.join("cache").exists() && !tree.join("out").exists());
        assert!(sample.root().join("a").exists());
    }

    #[test]
    fn what_a_build_did_to_git_does_not_last() {
        let sample = Sample::new();
        let first = sample.commit(&[("a", File("1")), ("dir/b", File("1"))]);
        let second = sample.commit(&[("a", File("2")), ("dir/b", File("2"))]);
        sample.checkout(first, true).unwrap();
        let (tree, elsewhere) = (sample.tree(), sample.home.path().join("elsewhere"));
        std::fs::create_dir_all(&elsewhere).unwrap();
        let config = format!(
            "[core]\n\tworktree = {}\n\tbare = false\n",
            elsewhere.display()
        );
        std::fs::write(tree.join(".git/config"), config).unwrap();
        std::fs::write(tree.join(".git/index.lock"), "").unwrap();
        std::fs::write(tree.join(".git/info/attributes"), "* eol=crlf\n").unwrap();
        // A directory of the commit that now leads elsewhere.
        std::fs::remove_dir_all(tree.join("dir")).unwrap();
        std::os::unix::fs::symlink(&elsewhere, tree.join("dir")).unwrap();
        std::fs::remove_file(tree.join("a")).unwrap();
        std::os::unix::fs::symlink(elsewhere.join("a"), tree.join("a")).unwrap();
        assert!(sample.checkout(second, true).unwrap().reused);
        assert_eq!([read(&tree, "a"), read(&tree, "dir/b")], ["2", "2"]);
        assert_eq!(elsewhere.read_dir().unwrap().count(), 0);

        // Files that git was told not to look at, and an index that is none.
        let git = git2::Repository::open(&tree).unwrap();
        let mut index = git.index().unwrap();
        let mut entry = index.get_path(Path::new("a"), 0).unwrap();
        entry.flags |= ASSUME_VALID;
        index.add(&entry).unwrap();
        index.write().unwrap();
        std::fs::write(tree.join("a"), "9").unwrap();
        sample.checkout(second, true).unwrap();
        assert_eq!(read(&tree, "a"), "2");
        std::fs::write(tree.join(".git/index"), "garbage").unwrap();
        std::fs::write(tree.join("a"), "9").unwrap();
        assert!(sample.checkout(second, true).unwrap().reused);
        assert_eq!(read(&tree, "a"), "2");
    }

    #[test]
    fn unchanged_files_keep_their_time() {
        let sample = Sample::new();
        let first = sample.commit(&[("same", File("1")), ("edited", File("1"))]);
        let second = sample.commit(&[("edited", File("2"))]);
        sample.checkout(first, true).unwrap();
        let time = |path: &str| {
            sample
                .tree()
                .join(path)
                .metadata()
                .unwrap()
                .modified()
                .unwrap()
        };
        let before = (time("same"), time("edited"));
        sample.checkout(second, true).unwrap();
        assert_eq!(time("same"), before.0);
        assert_ne!(time("edited"), before.1);
    }
}
