//! What an error of libgit2 says about this machine. Its class and code decide, and then the files themselves; a message is
//! read only for what stands nowhere else: the place of a mistake in a configuration, and the error of the operating system.

use std::io;
use std::path::{Path, PathBuf};

use git2::{ErrorClass, ErrorCode};
use nix::errno::Errno;

use super::error::GitError;
use crate::foreign;

/// No number of an error is higher (`include/uapi/asm-generic/errno.h` of Linux).
const LAST_NUMBER: i32 = 133;

/// Errors that only files have; others may be those of a connection too, unless the message names a file.
const OF_FILES: [Errno; 9] = [
    Errno::ENOSPC,
    Errno::EDQUOT,
    Errno::EROFS,
    Errno::ESTALE,
    Errno::EIO,
    Errno::EMFILE,
    Errno::ENFILE,
    Errno::ENAMETOOLONG,
    Errno::EFBIG,
];

/// Returns what happened to a file of this machine, if the error is about one.
pub(super) fn here(error: &git2::Error, doing: &'static str, path: &Path) -> Option<GitError> {
    match error.class() {
        ErrorClass::Config if error.code() != ErrorCode::NotFound => {
            Some(broken_config(error.message()))
        }
        ErrorClass::Os | ErrorClass::Filesystem => {
            let number = number_in(error.message())?;
            let named = path_in(error.message());
            if named.is_none() && !OF_FILES.contains(&number) {
                return None;
            }
            Some(GitError::Io {
                doing,
                path: named.unwrap_or_else(|| path.to_path_buf()),
                source: io::Error::from_raw_os_error(number as i32),
            })
        }
        _ => None,
    }
}

/// Says what went wrong at a place of this machine.
pub(super) fn of_place(error: &git2::Error, doing: &'static str, place: &Path) -> GitError {
    here(error, doing, place).unwrap_or_else(|| GitError::Git {
        doing,
        place: place.display().to_string(),
        detail: error.message().to_owned(),
    })
}

/// Says why there is no repository to be had at `path`, or with `search` above it.
pub(super) fn not_opened(error: &git2::Error, path: &Path, search: bool) -> GitError {
    if error.code() == ErrorCode::Owner {
        // libgit2 passes over a configuration that it may not read, and with it what that declares safe.
        return unread_config().unwrap_or_else(|| GitError::Owner {
            path: owned_by_another(error.message()).unwrap_or_else(|| path.to_path_buf()),
        });
    }
    if let Err(source) = std::fs::metadata(path) {
        return match source.kind() {
            io::ErrorKind::NotFound => GitError::NoFolder {
                path: path.to_path_buf(),
            },
            _ => unreadable(path, source),
        };
    }
    if let Some(found @ (GitError::Config { .. } | GitError::ConfigFile { .. })) =
        here(error, "open", path)
    {
        return found;
    }
    let reach = if search { usize::MAX } else { 1 };
    for dir in path.ancestors().take(reach) {
        let git = dir.join(".git");
        match std::fs::symlink_metadata(&git) {
            Ok(_) => return unsound(dir, &git, error),
            Err(source) if source.kind() == io::ErrorKind::PermissionDenied => {
                return unreadable(dir, source);
            }
            Err(_) => {}
        }
    }
    // A bare one has what else stands in `.git`.
    let is_bare = ["HEAD", "objects", "refs", "config"]
        .iter()
        .filter(|name| path.join(name).exists())
        .count()
        > 1;
    if is_bare {
        return unsound(path, path, error);
    }
    here(error, "open", path).unwrap_or_else(|| GitError::NotARepository {
        path: path.to_path_buf(),
    })
}

/// Says why objects of a repository cannot be had, where its files tell.
pub(super) fn no_objects(git: &git2::Repository) -> Option<GitError> {
    let objects = git.commondir().join("objects");
    for dir in [objects.clone(), objects.join("pack")] {
        if let Err(source) = std::fs::read_dir(&dir)
            && source.kind() != io::ErrorKind::NotFound
        {
            return Some(unreadable(&dir, source));
        }
    }
    let borrowed = foreign::read_to_string(objects.join("info/alternates"), foreign::NOTE).ok()?;
    let missing = borrowed
        .lines()
        .map(|line| objects.join(line))
        .find(|dir| !dir.is_dir())?;
    Some(GitError::Borrowed {
        path: git
            .workdir()
            .unwrap_or_else(|| git.path())
            .components()
            .collect(),
        from: missing,
    })
}

/// Says what is wrong with the repository `git` of `dir`, which is there and cannot be opened.
fn unsound(dir: &Path, git: &Path, error: &git2::Error) -> GitError {
    let damaged = |detail: String| GitError::Damaged {
        path: dir.to_path_buf(),
        detail,
    };
    let mut home = git.to_path_buf();
    if git.is_file() {
        let text = match foreign::read_to_string(git, foreign::NOTE) {
            Ok(text) => text,
            Err(source) => return unreadable(git, source),
        };
        let Some(target) = text.trim_end().strip_prefix("gitdir:") else {
            return damaged("its `.git` is a file that leads nowhere".to_owned());
        };
        home = dir.join(target.trim_start());
    }
    match std::fs::read_dir(&home) {
        Ok(_) => {}
        Err(source) if source.kind() == io::ErrorKind::NotFound => {
            return GitError::Astray {
                link: git.to_path_buf(),
                target: home,
            };
        }
        Err(source) => return unreadable(&home, source),
    }
    for name in ["HEAD", "config"] {
        if let Err(source) = foreign::open(home.join(name))
            && source.kind() != io::ErrorKind::NotFound
        {
            return unreadable(&home.join(name), source);
        }
    }
    if let Some(found) = here(error, "open", dir) {
        return found;
    }
    let path = dir.to_path_buf();
    let detail = error.message().to_owned();
    match format(&home) {
        Format::Sha256 => GitError::Sha256 { path },
        Format::Other => GitError::Unsupported { path, detail },
        Format::Usual => damaged(detail),
    }
}

enum Format {
    Usual,
    Sha256,
    Other,
}

/// Returns in which format a repository says that it is kept.
fn format(home: &Path) -> Format {
    let shared = foreign::read_to_string(home.join("commondir"), foreign::NOTE);
    let home = shared.map_or_else(|_| home.to_path_buf(), |path| home.join(path.trim_end()));
    let Ok(config) = git2::Config::open(&home.join("config")) else {
        return Format::Usual;
    };
    let version = config.get_i32("core.repositoryformatversion").unwrap_or(0);
    let objects = config.get_string("extensions.objectformat");
    if objects.is_ok_and(|it| it.eq_ignore_ascii_case("sha256")) {
        Format::Sha256
    } else if version > 0 {
        Format::Other
    } else {
        Format::Usual
    }
}

fn unreadable(path: &Path, source: io::Error) -> GitError {
    GitError::Io {
        doing: "read",
        path: path.to_path_buf(),
        source,
    }
}

/// Returns the first configuration of the user or the machine that is there and may not be read.
fn unread_config() -> Option<GitError> {
    let home = std::env::home_dir();
    let ours = home.iter().map(|home| home.join(".gitconfig"));
    let settings = std::env::var_os("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| home.as_ref().map(|home| home.join(".config")));
    let others = settings.map(|dir| dir.join("git/config"));
    let mut files = ours.chain(others).chain([PathBuf::from("/etc/gitconfig")]);
    files.find_map(|file| match foreign::open_linked(&file) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Some(unreadable(&file, error))
        }
        _ => None,
    })
}

/// Reads `failed to parse config file: WHAT (in FILE:LINE, column N)`; other mistakes name a key and no file.
fn broken_config(message: &str) -> GitError {
    let place = || {
        let (what, place) = message.strip_suffix(')')?.rsplit_once(" (in ")?;
        let place = place.split_once(", column ").map_or(place, |(it, _)| it);
        let (file, line) = place.rsplit_once(':')?;
        let what = what.trim_start_matches("failed to parse config file: ");
        Some((PathBuf::from(file), line.parse().ok()?, what))
    };
    match place() {
        Some((file, line, what)) => GitError::ConfigFile {
            file,
            line,
            detail: what.to_owned(),
        },
        None => GitError::Config {
            detail: message.to_owned(),
        },
    }
}

/// Returns the repository that belongs to somebody else: it may lie above the path that was asked for.
fn owned_by_another(message: &str) -> Option<PathBuf> {
    let text = message.split('\'').nth(1)?.trim_end_matches('/');
    Some(PathBuf::from(text.strip_suffix("/.git").unwrap_or(text)))
}

/// Returns the number of the error of the operating system whose text ends a message.
fn number_in(message: &str) -> Option<Errno> {
    (1..=LAST_NUMBER).find_map(|number| {
        let text = io::Error::from_raw_os_error(number).to_string();
        let text = text.split(" (os error").next()?;
        let before = message.strip_suffix(text)?;
        before.ends_with(": ").then(|| Errno::from_raw(number))
    })
}

/// Returns the absolute path that a message quotes.
fn path_in(message: &str) -> Option<PathBuf> {
    let begin = message.find("'/")? + 1;
    let length = message[begin..].find('\'')?;
    Some(PathBuf::from(&message[begin..begin + length]))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::super::sample::Content::File as Text;
    use super::super::sample::Sample;
    use super::super::source::{Source, Wanted};
    use super::*;

    /// What goes wrong with a sample that `spoil` laid hands on, and what is to be done.
    fn told(spoil: impl FnOnce(&Path)) -> (String, String) {
        let sample = Sample::new();
        sample.commit(&[("a", Text("1"))]);
        let root = sample.root();
        spoil(&root);
        let access = sample.access();
        let error = Source::open(&root.display().to_string(), &root)
            .and_then(|source| source.resolve(&Wanted::Head, &access))
            .unwrap_err();
        let hide = |text: String| text.replace(&root.display().to_string(), "ROOT");
        (
            hide(error.to_string()),
            hide(error.help().unwrap_or_default()),
        )
    }

    #[test]
    fn each_broken_repository_is_told_by_its_facts() {
        let check = |spoil: &dyn Fn(&Path), what: &str, remedy: &str| {
            let (said, help) = told(spoil);
            assert!(said.contains(what), "{said}");
            assert!(help.contains(remedy), "{said}: {help}");
        };
        let config = |text: &'static str| {
            move |root: &Path| std::fs::write(root.join(".git/config"), text).unwrap()
        };
        check(
            &config("[core]\n\tbare = false\n[user\n"),
            "the git configuration `ROOT/.git/config` cannot be read: line 3: ",
            "mend line 3",
        );
        check(
            &config("[core]\nrepositoryformatversion = one\n"),
            "failed to parse 'one' as a",
            "git config --show-origin --list",
        );
        check(
            &config("[core]\nrepositoryformatversion = 1\n[extensions]\nobjectFormat = sha256\n"),
            "`ROOT` is a repository of SHA-256 objects",
            "fast-import",
        );
        check(
            &config("[core]\nrepositoryformatversion = 1\n[extensions]\nrefStorage = reftable\n"),
            "unsupported extension name extensions.refstorage",
            "clone it anew",
        );
        check(
            &config("[core]\nrepositoryformatversion = 7\n"),
            "unsupported repository version 7",
            "clone it anew",
        );
        check(
            &|root| std::fs::remove_dir_all(root).unwrap(),
            "there is no folder `ROOT`",
            "namei -l ROOT",
        );
        check(
            &|root| std::fs::remove_dir_all(root.join(".git")).unwrap(),
            "`ROOT` is not inside a git repository",
            "start in a clone",
        );
        check(
            &|root| std::fs::remove_file(root.join(".git/HEAD")).unwrap(),
            "the repository `ROOT` is damaged",
            "git -C ROOT fsck",
        );
        check(
            &|root| std::fs::write(root.join(".git/HEAD"), "nonsense\n").unwrap(),
            "the repository `ROOT` is damaged",
            "git -C ROOT fsck",
        );
        check(
            &|root| {
                let gone = "0123456789abcdef0123456789abcdef01234567\n";
                std::fs::write(root.join(".git/refs/heads/main"), gone).unwrap();
            },
            "the repository `ROOT` is damaged",
            "git -C ROOT fsck",
        );
        check(
            &|root| {
                std::fs::remove_dir_all(root.join(".git")).unwrap();
                std::fs::write(root.join(".git"), "gitdir: ../main/.git/worktrees/x\n").unwrap();
            },
            "`ROOT/.git` leads to `ROOT/../main/.git/worktrees/x`, which is not there",
            "git worktree repair",
        );
        check(
            &|root| {
                let info = root.join(".git/objects/info");
                std::fs::create_dir_all(&info).unwrap();
                std::fs::write(info.join("alternates"), "/nonexistent/objects\n").unwrap();
                std::fs::remove_dir_all(root.join(".git/objects")).ok();
                std::fs::create_dir_all(&info).unwrap();
                std::fs::write(info.join("alternates"), "/nonexistent/objects\n").unwrap();
            },
            "`ROOT` borrows objects of `/nonexistent/objects`, which is not there",
            "objects/info/alternates",
        );
    }

    #[test]
    fn an_unborn_branch_alone_is_a_repository_without_commits() {
        let sample = Sample::new();
        let source = Source::open(&sample.root().display().to_string(), Path::new("/")).unwrap();
        let error = source.resolve(&Wanted::Head, &sample.access()).unwrap_err();
        assert!(matches!(error, GitError::NoCommits { .. }), "{error}");
    }

    #[test]
    fn errors_of_the_operating_system_are_told_from_those_of_a_connection() {
        let check = |class: ErrorClass, message: &str, number: Option<(Errno, &str)>| {
            let error = git2::Error::new(ErrorCode::GenericError, class, message);
            match (here(&error, "fetch into", Path::new("/mirror")), number) {
                (Some(GitError::Io { path, source, .. }), Some((number, named))) => {
                    assert_eq!(source.raw_os_error(), Some(number as i32), "{message}");
                    assert_eq!(path, Path::new(named), "{message}");
                }
                (None, None) => {}
                (found, _) => panic!("{message}: {found:?}"),
            }
        };
        let text = |number: Errno| {
            let text = io::Error::from_raw_os_error(number as i32).to_string();
            text.split(" (os error").next().unwrap().to_owned()
        };
        for number in [
            Errno::ENOSPC,
            Errno::EDQUOT,
            Errno::EROFS,
            Errno::ESTALE,
            Errno::EIO,
        ] {
            let said = format!("failed to write to file: {}", text(number));
            check(ErrorClass::Os, &said, Some((number, "/mirror")));
        }
        let denied = format!("could not open '/a/b' for writing: {}", text(Errno::EACCES));
        check(ErrorClass::Os, &denied, Some((Errno::EACCES, "/a/b")));
        let refused = format!(
            "failed to connect to git.example.org: {}",
            text(Errno::ECONNREFUSED)
        );
        check(ErrorClass::Os, &refused, None);
        let blocked = format!(
            "failed to connect to git.example.org: {}",
            text(Errno::EACCES)
        );
        check(ErrorClass::Os, &blocked, None);
        check(ErrorClass::Net, "unexpected HTTP status code: 404", None);
    }
}
