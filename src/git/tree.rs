//! One tree of files, written from a commit.
//!
//! The tree has a `.git` of its own, so that `git describe` and its like work in a build. Objects are not copied: git's
//! "alternates" lead to the repository that holds them. Nothing but the commit's files comes along: no hooks, no
//! templates, no configuration of the source.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use git2::build::{CheckoutBuilder, TreeUpdateBuilder};
use git2::{CheckoutNotificationType, Delta, FileMode, ObjectType, Oid};

use super::access::{Access, Progress};
use super::bounds::Bounds;
use super::cause;
use super::error::GitError;
use super::kept::{self, Kept, MARK, STEERS};
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
    let aside = SteeringLinks::of(repository, commit, survey)?;
    let tree = aside
        .rest(&git, commit)
        .map_err(|error| unwritten(repository, commit, &error))?;
    write_files(repository, &git, &tree, commit, survey, access)?;
    git.set_head_detached(commit.0)
        .map_err(|error| failed(dir, "set HEAD", &error))?;
    if kept.is_some() {
        kept::clean(&git, dir)?;
    }
    verify(&git, commit, &tree, dir)?;
    aside.write(&git, commit, survey, dir)?;
    Ok(kept.is_some())
}

/// The symbolic links of a commit that stand for `.gitattributes` and `.gitignore`. Git does not follow them (since 2.32), but libgit2
/// does, wherever they lead: so they are written last, after all that it reads.
struct SteeringLinks(BTreeMap<PathBuf, Oid>);

impl SteeringLinks {
    fn of(repository: &Repository, commit: CommitId, survey: &Survey) -> Result<Self, GitError> {
        let mut links = BTreeMap::new();
        if survey.weight.has_steering_links {
            repository.walk_where(
                commit,
                |tree| survey.leads_to_steering_links(tree),
                |path, entry| {
                    let steers = STEERS.iter().any(|it| entry.name_bytes() == it.as_bytes());
                    if steers && entry.filemode() == i32::from(FileMode::Link) {
                        links.insert(path, entry.id());
                    }
                },
            )?;
        }
        Ok(Self(links))
    }

    /// Returns the tree of the commit without them.
    fn rest<'a>(
        &self,
        git: &'a git2::Repository,
        commit: CommitId,
    ) -> Result<git2::Tree<'a>, git2::Error> {
        let tree = git.find_commit(commit.0)?.tree()?;
        if self.0.is_empty() {
            return Ok(tree);
        }
        let mut update = TreeUpdateBuilder::new();
        for path in self.0.keys() {
            update.remove(path);
        }
        git.find_tree(update.create_updated(git, &tree)?)
    }

    /// Writes them to the tree and its index.
    fn write(
        &self,
        git: &git2::Repository,
        commit: CommitId,
        survey: &Survey,
        dir: &Path,
    ) -> Result<(), GitError> {
        if self.0.is_empty() {
            return Ok(());
        }
        let noted = |error: git2::Error| failed(dir, "note a symbolic link", &error);
        let mut index = git.index().map_err(noted)?;
        for (path, id) in &self.0 {
            index.add(&link_entry(path, *id)).map_err(noted)?;
        }
        // Before they stand there: as it writes the index, libgit2 compares files.
        index.write().map_err(noted)?;
        // A folder that names a file twice was read as if it named it once.
        let is_file = |entry: &git2::IndexEntry| entry.mode != u32::from(FileMode::Commit);
        if index.iter().filter(is_file).count() as u64 != survey.weight.files {
            let paths = self.0.keys().take(SHOWN_PATHS);
            return Err(GitError::Differs {
                dir: dir.to_path_buf(),
                commit,
                paths: paths.map(|path| path.display().to_string()).collect(),
            });
        }
        for (path, id) in &self.0 {
            let to = dir.join(path);
            let io = |source| GitError::Io {
                doing: "write",
                path: to.clone(),
                source,
            };
            make_folders(dir, path).map_err(io)?;
            let target = git.find_blob(*id).map_err(noted)?;
            std::os::unix::fs::symlink(OsStr::from_bytes(target.content()), &to).map_err(io)?;
        }
        Ok(())
    }
}

/// An entry of the index by which git looks at the link itself.
fn link_entry(path: &Path, id: Oid) -> git2::IndexEntry {
    git2::IndexEntry {
        ctime: git2::IndexTime::new(0, 0),
        mtime: git2::IndexTime::new(0, 0),
        dev: 0,
        ino: 0,
        mode: u32::from(FileMode::Link),
        uid: 0,
        gid: 0,
        file_size: 0,
        id,
        flags: 0,
        flags_extended: 0,
        path: path.as_os_str().as_bytes().to_vec(),
    }
}

/// Makes the folders of a path that are not there yet, and takes no link for one.
fn make_folders(dir: &Path, path: &Path) -> std::io::Result<()> {
    let mut at = dir.to_path_buf();
    for part in path.parent().into_iter().flat_map(Path::components) {
        at.push(part);
        match std::fs::create_dir(&at) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                if !at.symlink_metadata()?.is_dir() {
                    return Err(error);
                }
            }
            made => made?,
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
    tree: &git2::Tree<'_>,
    commit: CommitId,
    survey: &Survey,
    access: &Access<'_>,
) -> Result<(), GitError> {
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
    let written = git.checkout_tree(tree.as_object(), Some(&mut builder));
    if (access.cancelled)() {
        let place = repository.shown();
        return Err(GitError::Cancelled { place });
    }
    written.map_err(|error| unwritten(repository, commit, &error))
}

/// Says why a commit could not be written.
fn unwritten(repository: &Repository, commit: CommitId, error: &git2::Error) -> GitError {
    let message = error.message();
    if ["invalid path", "invalid name"]
        .iter()
        .any(|it| message.contains(it))
    {
        let detail = message.to_owned();
        return GitError::HostilePath { commit, detail };
    }
    repository.failed("check out", error)
}

/// Compares the files on disk with the tree of a commit.
fn verify(
    git: &git2::Repository,
    commit: CommitId,
    tree: &git2::Tree<'_>,
    dir: &Path,
) -> Result<(), GitError> {
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
    let mut options = git2::DiffOptions::new();
    options.ignore_submodules(true).include_typechange(true);
    let diff = git
        .diff_tree_to_workdir_with_index(Some(tree), Some(&mut options))
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

    use super::super::sample::Content::{File, Gone, Link, Program};
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

    /// They stand in the tree as git writes them, and nobody looks where they lead: here to a FIFO, which would stop whoever opens it.
    #[test]
    fn links_in_the_place_of_attributes_are_written_and_not_followed() {
        let sample = Sample::new();
        let fifo = sample.home.path().join("fifo");
        let fifo = fifo.to_str().unwrap();
        let rules = "* text eol=crlf\n*.o ignored\n";
        let with = sample.commit(&[
            ("a.c", File("int a;\n")),
            ("rules", File(rules)),
            (".gitignore", Link(fifo)),
            ("in/.gitattributes", Link("../rules")),
            ("in/a.c", File("int a;\n")),
            ("alone/deep/.gitignore", Link("/dev/zero")),
            ("alone/deep/.gitattributes", Link("no/where")),
            ("dir/.gitignore", File("*.o\n")),
        ]);
        let without = sample.commit(&[
            (".gitignore", Gone),
            ("in/.gitattributes", Gone),
            ("alone/deep/.gitignore", Gone),
            ("alone/deep/.gitattributes", Gone),
        ]);
        // Only now, since libgit2 would wait for it in the sample.
        nix::unistd::mkfifo(fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let tree = sample.tree();
        let leads = |path: &str| tree.join(path).read_link().unwrap();
        let is_clean = || {
            let mut git = std::process::Command::new("git");
            let said = git
                .args(["status", "--porcelain"])
                .current_dir(&tree)
                .output();
            String::from_utf8(said.unwrap().stdout).unwrap()
        };
        for (commit, reuse) in [
            (with, false),
            (with, true),
            (without, true),
            (with, true),
            (without, false),
        ] {
            let made = sample.checkout(commit, reuse).unwrap();
            assert_eq!(made.reused, reuse);
            assert_eq!(is_clean(), "");
            if commit == without {
                let gone = [".gitignore", "in/.gitattributes", "alone"];
                assert!(
                    gone.iter()
                        .all(|it| tree.join(it).symlink_metadata().is_err())
                );
                continue;
            }
            assert_eq!(leads(".gitignore"), Path::new(fifo));
            assert_eq!(leads("in/.gitattributes"), Path::new("../rules"));
            assert_eq!(leads("alone/deep/.gitignore"), Path::new("/dev/zero"));
            assert_eq!(leads("alone/deep/.gitattributes"), Path::new("no/where"));
            assert_eq!(read(&tree, "in/a.c"), "int a;\n");
        }
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
        let files = git.find_commit(commit.0).unwrap().tree().unwrap();
        verify(&git, commit, &files, &tree).unwrap();
        std::fs::write(tree.join("dos"), "a").unwrap();
        let error = verify(&git, commit, &files, &tree).unwrap_err();
        assert!(matches!(error, GitError::Differs { .. }), "{error:?}");
    }
}
