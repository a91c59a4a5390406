//! Mirrors of remote repositories: bare, kept between runs, one for each address.
//!
//! A mirror is reached through a symbolic link, so that one made anew takes the place of the old in a single step, and
//! trees that borrow objects from it still find them. Branches and tags stand in a mirror as they do on the server; other commits that were asked for are kept under
//! `refs/hpc-ci/`. A commit that is there already costs no network. Only one process at a time changes a mirror; reading
//! needs no lock, since git makes objects and references appear whole.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use git2::{ErrorCode, ObjectType, Oid};

use super::access::{Access, Progress};
use super::cause;
use super::error::GitError;
use super::location::{Location, Remote};
use super::remote::{Advertised, Fetch, History, converse};
use super::repository::{CommitId, Mirrored, Repository, full_id};
use crate::foreign;

/// The configuration key by which a mirror says what it is a mirror of.
const URL_KEY: &str = "hpc-ci.url";
/// The most bytes of a file of a mirror that holds no objects: a million references in `packed-refs`.
const LARGEST: u64 = 128 << 20;
/// How often a held lock is tried again.
const LOCK_PAUSE: Duration = Duration::from_millis(100);

/// The tip of a branch.
pub(super) struct Tip {
    /// The mirror.
    pub(super) mirror: Repository,
    /// The commit.
    pub(super) commit: CommitId,
    /// The branch.
    pub(super) branch: String,
    /// True if the repository that was asked first has the commit; the mirror may lack it then.
    pub(super) beside: bool,
}

/// Brings a commit into the mirror: a full id that is there already costs no network.
pub(super) fn commit(
    place: &Remote,
    spec: &str,
    tried: &mut Vec<String>,
    access: &Access<'_>,
) -> Result<Option<(Repository, CommitId)>, GitError> {
    let present = |mirror: &Repository| {
        let id = full_id(spec).map(CommitId);
        id.filter(|id| mirror.has(*id))
    };
    let mirror = open(place, access)?;
    if let Some(id) = present(&mirror) {
        return Ok(Some((mirror, id)));
    }
    let _lock = Lock::take(place, access)?;
    if let Some(id) = present(&mirror) {
        return Ok(Some((mirror, id)));
    }
    let found = converse(
        &mirror.git,
        place,
        access,
        History::Whole,
        |advertised, fetch| {
            fetch_branches(&mirror, advertised, fetch)?;
            if let Some(id) = mirror.find(spec)? {
                return Ok(Some(id));
            }
            let Some(id) = full_id(spec) else {
                tried.push(format!("branches and tags of `{place}`"));
                return Ok(None);
            };
            fetch_by_id(&mirror, id, advertised, fetch, tried, place)?;
            Ok(present(&mirror))
        },
    )?;
    Ok(found.map(|id| (mirror, id)))
}

/// Brings the tip of a branch, by default of the remote's main one, as it stands there now. If `beside` has that commit
/// already, nothing is fetched.
pub(super) fn branch(
    place: &Remote,
    name: Option<&str>,
    beside: Option<&Repository>,
    access: &Access<'_>,
) -> Result<Tip, GitError> {
    let mirror = open(place, access)?;
    let _lock = Lock::take(place, access)?;
    let (commit, branch, beside) = converse(
        &mirror.git,
        place,
        access,
        History::Whole,
        |advertised, fetch| {
            let (reference, id) = advertised_branch(place, name, advertised)?;
            let name = reference.trim_start_matches("refs/heads/").to_owned();
            let beside = beside.is_some_and(|repository| repository.has(id));
            if !beside {
                fetch_branches(&mirror, advertised, fetch)?;
            }
            Ok((id, name, beside))
        },
    )?;
    Ok(Tip {
        mirror,
        commit,
        branch,
        beside,
    })
}

/// Makes a mirror anew whose objects turned out to be unreadable, and brings a commit into it.
pub(super) fn remake(
    place: &Remote,
    commit_id: CommitId,
    reason: &str,
    access: &Access<'_>,
) -> Result<Option<Repository>, GitError> {
    {
        let _lock = Lock::take(place, access)?;
        replace(place, reason, access)?;
    }
    let mut tried = Vec::new();
    let found = commit(place, &commit_id.to_string(), &mut tried, access)?;
    Ok(found.map(|(mirror, _)| mirror))
}

fn advertised_branch<'a>(
    place: &Remote,
    name: Option<&str>,
    advertised: &'a Advertised,
) -> Result<(&'a str, CommitId), GitError> {
    let wanted = match (name, &advertised.head) {
        (Some(name), _) => format!("refs/heads/{name}"),
        (None, Some(head)) => head.clone(),
        (None, None) => {
            let place = place.to_string();
            return Err(GitError::NoCommits { place });
        }
    };
    advertised
        .references
        .iter()
        .find(|(reference, _)| *reference == wanted)
        .map(|(reference, id)| (reference.as_str(), CommitId(*id)))
        .ok_or_else(|| GitError::NoBranch {
            branch: wanted.trim_start_matches("refs/heads/").to_owned(),
            place: place.to_string(),
        })
}

fn fetch_branches(
    mirror: &Repository,
    advertised: &Advertised,
    fetch: &mut Fetch<'_>,
) -> Result<(), GitError> {
    forget_deleted(mirror, advertised)?;
    let refspecs = ["heads", "tags"].map(|kind| format!("+refs/{kind}/*:refs/{kind}/*"));
    fetch(&refspecs)?;
    if let Some(head) = advertised
        .head
        .as_deref()
        .filter(|name| name.starts_with("refs/heads/"))
    {
        mirror
            .git
            .set_head(head)
            .map_err(|error| mirror.failed("note the default branch", &error))?;
    }
    Ok(())
}

/// Forgets references that the server no longer has, before new ones come: `topic` must go before `topic/one` fits.
fn forget_deleted(mirror: &Repository, advertised: &Advertised) -> Result<(), GitError> {
    let failed = |error: git2::Error| mirror.failed("update references", &error);
    let kept: HashSet<&str> = advertised
        .references
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    for kind in ["refs/heads/*", "refs/tags/*"] {
        for reference in mirror.git.references_glob(kind).map_err(failed)? {
            let mut reference = reference.map_err(failed)?;
            let gone = reference.name().map_or(true, |name| !kept.contains(name));
            if gone {
                reference.delete().map_err(failed)?;
            }
        }
    }
    Ok(())
}

/// Fetches a commit that no branch holds: by the reference that stands at it, by its id alone (which a server may
/// refuse), or with all pull and merge requests.
fn fetch_by_id(
    mirror: &Repository,
    id: Oid,
    advertised: &Advertised,
    fetch: &mut Fetch<'_>,
    tried: &mut Vec<String>,
    place: &Remote,
) -> Result<(), GitError> {
    let kept = format!("refs/hpc-ci/commits/{id}");
    tried.push(format!("branches and tags of `{place}`"));
    let exact = advertised.references.iter().find(|(_, tip)| *tip == id);
    if let Some((name, _)) = exact {
        return fetch(&[format!("+{name}:{kept}")]);
    }
    match fetch(&[format!("+{id}:{kept}")]) {
        Ok(()) if mirror.has(CommitId(id)) => return Ok(()),
        Ok(()) => tried.push("its id alone".to_owned()),
        Err(GitError::Server { detail, .. }) => {
            let refused = detail.contains("cannot fetch a specific object");
            let why = if refused {
                "the server gives none out"
            } else {
                &detail
            };
            tried.push(format!("its id alone ({why})"));
        }
        Err(error) => return Err(error),
    }
    let requests: Vec<String> = ["pull", "merge-requests"]
        .iter()
        .filter(|kind| {
            let prefix = format!("refs/{kind}/");
            let mut names = advertised.references.iter();
            names.any(|(name, _)| name.starts_with(&prefix))
        })
        .map(|kind| format!("+refs/{kind}/*/head:refs/hpc-ci/{kind}/*"))
        .collect();
    if requests.is_empty() {
        return Ok(());
    }
    tried.push("its pull and merge requests".to_owned());
    fetch(&requests)
}

/// Opens the mirror of an address, which is made (empty) if there is none, and made anew if it is damaged.
fn open(place: &Remote, access: &Access<'_>) -> Result<Repository, GitError> {
    if let Ok(mirror) = open_sound(place, access)? {
        return Ok(mirror);
    }
    let _lock = Lock::take(place, access)?;
    // Another process may have been faster.
    match open_sound(place, access)? {
        Ok(mirror) => Ok(mirror),
        Err(reason) => replace(place, &reason, access),
    }
}

/// Opens a mirror; the inner error says what is wrong with it, and is empty if there is none.
fn open_sound(place: &Remote, access: &Access<'_>) -> Result<Result<Repository, String>, GitError> {
    let dir = access.mirrors.join(place.key());
    if !dir.exists() {
        return Ok(Err(String::new()));
    }
    if let Some(reason) = find_strange(&dir) {
        return Ok(Err(reason));
    }
    let git = match git2::Repository::open_bare(&dir) {
        Ok(git) => git,
        Err(error) if error.code() == ErrorCode::Owner => {
            return Err(GitError::Owner { path: dir });
        }
        // What stands in the way is no damage of the mirror, and would be in the way of a new one.
        Err(error) => match cause::here(&error, "open", &dir) {
            Some(found) => return Err(found),
            None => return Ok(Err(error.message().to_owned())),
        },
    };
    Ok(match find_damage(&git, place) {
        Some(reason) => Err(reason),
        None => Ok(Repository {
            git,
            origin: Some(Location::Remote(place.clone())),
            mirror_of: Some(Mirrored {
                place: place.clone(),
                dir,
            }),
        }),
    })
}

/// Looks for what is no file of git's: libgit2 opens whatever stands there, waits for a FIFO without end, and reads all of a file.
fn find_strange(top: &Path) -> Option<String> {
    let names = top.join("refs");
    let shallow = top.join("shallow");
    let is_id = |line: &str| full_id(line).is_some();
    match foreign::read_to_string(&shallow, foreign::RECORD) {
        Ok(text) if text.lines().all(is_id) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        _ => return Some(format!("`{}` is none of git's", shallow.display())),
    }
    let strange = |path: &Path, what: &str| Some(format!("`{}` is {what}", path.display()));
    let config = top.join("config");
    let is_sound = foreign::open(&config).is_err() || git2::Config::open(&config).is_ok();
    if !is_sound {
        return strange(&config, "no configuration of git's");
    }
    let mut pending = vec![(top.to_path_buf(), false)];
    while let Some((dir, objects)) = pending.pop() {
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            let path = entry.path();
            let Ok(kind) = entry.file_type() else {
                return strange(&path, "unreadable");
            };
            if kind.is_dir() {
                let objects = objects || entry.file_name() == "objects";
                pending.push((path, objects));
            } else if !kind.is_file() {
                return strange(&path, "no regular file");
            } else if !objects && entry.metadata().is_ok_and(|it| it.len() > LARGEST) {
                return strange(&path, "larger than any of git's");
            } else if path.starts_with(&names)
                && path.extension().is_none_or(|end| end != "lock")
                && !is_reference(&path)
            {
                return strange(&path, "no reference");
            }
        }
    }
    None
}

/// libgit2 passes over a damaged reference when it lists them, and stumbles when it writes.
fn is_reference(path: &Path) -> bool {
    match foreign::read_to_string(path, foreign::NOTE) {
        Ok(text) => full_id(text.trim()).is_some() || text.starts_with("ref: "),
        // Another process may have moved it to the packed ones.
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    }
}

/// Looks whether every reference leads to something that can be read. Damage further in shows at checkout.
fn find_damage(git: &git2::Repository, place: &Remote) -> Option<String> {
    let url = git.config().and_then(|config| config.get_string(URL_KEY));
    if url.ok().as_deref() != Some(&place.without_credentials()) {
        return Some("it does not say what it is a mirror of".to_owned());
    }
    if let Err(error) = git.find_reference("HEAD") {
        return Some(error.message().to_owned());
    }
    let references = match git.references() {
        Ok(references) => references,
        Err(error) => return Some(error.message().to_owned()),
    };
    references
        .map(|reference| reference?.peel(ObjectType::Any))
        .find_map(Result::err)
        .map(|error| error.message().to_owned())
}

/// Puts an empty mirror where a damaged one or none was. The caller holds the lock.
fn replace(place: &Remote, reason: &str, access: &Access<'_>) -> Result<Repository, GitError> {
    let dir = access.mirrors.join(place.key());
    let io = |source| GitError::Io {
        doing: "make a mirror at",
        path: dir.clone(),
        source,
    };
    if dir.exists() {
        tracing::warn!(mirror = %dir.display(), reason, "mirror is damaged and made anew");
        (access.progress)(Progress::Remaking {
            mirror: &dir,
            reason,
        });
    }
    // libgit2 keeps packs open by their path, and a pack with the same content gets the same name: only in another
    // directory is the new one seen by a process that has read the damaged one.
    let prefix = format!(".{}.", place.key());
    let fresh = tempfile::Builder::new()
        .prefix(&prefix)
        .tempdir_in(&access.mirrors)
        .map_err(io)?;
    make_empty(fresh.path(), place)
        .map_err(|error| cause::of_place(&error, "make a mirror", &dir))?;
    let target = fresh.path().file_name().unwrap_or_default().to_owned();
    let link = fresh.path().join("link");
    std::os::unix::fs::symlink(&target, &link).map_err(io)?;
    std::fs::rename(&link, &dir).map_err(io)?;
    let _kept = fresh.keep();
    remove_others(&access.mirrors, &prefix, &target);
    match open_sound(place, access)? {
        Ok(mirror) => Ok(mirror),
        Err(detail) => Err(GitError::Damaged { path: dir, detail }),
    }
}

/// Removes what damaged mirrors and killed processes left.
fn remove_others(mirrors: &Path, prefix: &str, target: &OsStr) {
    let Ok(entries) = std::fs::read_dir(mirrors) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let is_other = name.to_string_lossy().starts_with(prefix) && name != target;
        if is_other && let Err(error) = std::fs::remove_dir_all(entry.path()) {
            tracing::debug!(%error, path = %entry.path().display(), "cannot remove");
        }
    }
}

fn make_empty(dir: &Path, place: &Remote) -> Result<(), git2::Error> {
    let mut options = git2::RepositoryInitOptions::new();
    options.bare(true).external_template(false);
    let git = git2::Repository::init_opts(dir, &options)?;
    let mut config = git.config()?.open_level(git2::ConfigLevel::Local)?;
    config.set_str(URL_KEY, &place.without_credentials())?;
    // Credentials that one host was given must not follow to another.
    config.set_bool("http.followRedirects", false)
}

/// The right to change a mirror, given up when dropped or when the process ends.
struct Lock {
    _file: File,
}

impl Lock {
    fn take(place: &Remote, access: &Access<'_>) -> Result<Self, GitError> {
        let path = access.mirrors.join(format!("{}.lock", place.key()));
        let io = |source| GitError::Io {
            doing: "lock",
            path: path.clone(),
            source,
        };
        std::fs::create_dir_all(&access.mirrors).map_err(io)?;
        foreign::clear(&path).map_err(io)?;
        let file = foreign::append(&path).map_err(io)?.into_file();
        let start = Instant::now();
        let mut told = false;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) => {}
                // Some parallel file systems are mounted without locks. Git's own lock files and renames remain.
                Err(TryLockError::Error(error)) => {
                    tracing::warn!(%error, lock = %path.display(), "no lock to be had");
                    break;
                }
            }
            if (access.cancelled)() {
                let place = place.to_string();
                return Err(GitError::Cancelled { place });
            }
            if start.elapsed() >= access.lock_wait {
                let waited = access.lock_wait;
                return Err(GitError::Locked { path, waited });
            }
            if !told {
                (access.progress)(Progress::Waiting { lock: &path });
                told = true;
            }
            std::thread::sleep(LOCK_PAUSE);
        }
        sweep(&access.mirrors.join(place.key()));
        Ok(Self { _file: file })
    }
}

/// Removes what a killed process left of packs that it was receiving.
fn sweep(mirror: &Path) {
    let Ok(entries) = std::fs::read_dir(mirror.join("objects/pack")) else {
        return;
    };
    let unfinished = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        !name.starts_with("pack-") && !name.starts_with("multi-pack-index")
    };
    for path in entries
        .flatten()
        .map(|entry| entry.path())
        .filter(unfinished)
    {
        if let Err(error) = std::fs::remove_file(&path) {
            tracing::debug!(%error, path = %path.display(), "cannot remove");
        }
    }
}
