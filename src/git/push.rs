//! A branch of documents that many write to at once: read as it stands, changed as a whole, pushed without force.
//!
//! Who comes second makes the change again on top of the first, so that nothing is lost: the caller hands in a function
//! from what stands there to what shall change, and it is called as often as needed. On a server the branch is fetched
//! without its history into a bare repository of its own that goes away afterwards; no work tree is made. On a path of
//! this machine there is no server, so the reference itself is compared and exchanged in one step (libgit2's local
//! transport would overwrite what came in between).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use git2::build::TreeUpdateBuilder;
use git2::{ErrorCode, FileMode, ObjectType, Oid, Signature, TreeWalkMode, TreeWalkResult};
use tempfile::TempDir;

use super::access::Access;
use super::cause;
use super::error::GitError;
use super::location::{Location, Remote};
use super::remote::{self, History, converse};

/// Who commits.
const NAME: &str = "hpc-ci";
const EMAIL: &str = "hpc-ci@localhost";
/// How often to try while others are faster. One of all who try succeeds each time, so that this is many more than there
/// are at once.
const ATTEMPTS: u32 = 60;
/// How often to try while the server cannot be reached; whoever wants more comes back another day.
const FAILURES: u32 = 5;
/// The first pause, and the longest.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);

/// What a branch shall become.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// The new content of each path; none for a file that goes.
    pub files: BTreeMap<String, Option<Vec<u8>>>,
    /// The message of the commit.
    pub message: String,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pushed {
    /// The branch has a new commit.
    Commit {
        /// Its id.
        id: String,
        /// How often it was tried.
        attempts: u32,
    },
    /// Everything was there already.
    Nothing,
}

/// Which branch, and where.
#[derive(Clone, Copy)]
pub struct Update<'a> {
    /// The repository.
    pub place: &'a Location,
    /// The branch, without `refs/heads/`.
    pub branch: &'a str,
    /// How it is reached; a repository for the time being is made beside its mirrors.
    pub access: &'a Access<'a>,
}

/// A branch as it stands.
pub struct Snapshot<'a> {
    git: &'a git2::Repository,
    files: BTreeMap<String, Oid>,
    default_branch: Option<String>,
}

impl Snapshot<'_> {
    /// Returns the paths of all files, in order. Names that are not UTF-8 are left out; they stay as they are.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// Returns the content of a file; `None` if there is none of this path.
    pub fn read(&self, path: &str) -> Result<Option<Vec<u8>>, GitError> {
        let Some(id) = self.files.get(path) else {
            return Ok(None);
        };
        let blob = self.git.find_blob(*id);
        let blob = blob.map_err(|error| failed(self.git, "read a file", &error))?;
        Ok(Some(blob.content().to_vec()))
    }

    /// Returns the branch that the repository's HEAD stands for, if it has one.
    #[must_use]
    pub fn default_branch(&self) -> Option<&str> {
        self.default_branch.as_deref()
    }
}

/// Changes a branch as `edit` says, as often as it takes until nobody else was faster. A branch that is not there
/// begins without a parent. Nothing is ever forced. Blocks.
pub fn update_branch<E: From<GitError>>(
    update: Update<'_>,
    mut edit: impl FnMut(&Snapshot<'_>) -> Result<Changes, E>,
) -> Result<Pushed, E> {
    check_name(update)?;
    let store = Store::open(update)?;
    let mut failures = 0;
    for attempts in 1..=ATTEMPTS {
        match attempt(&store, update, &mut edit) {
            Ok(Tried::Unchanged) => return Ok(Pushed::Nothing),
            Ok(Tried::Taken(id)) => {
                let id = id.to_string();
                return Ok(Pushed::Commit { id, attempts });
            }
            Ok(Tried::Beaten) => failures = 0,
            Err(Failure::Edit(error)) => return Err(error),
            Err(Failure::Git(error)) => {
                failures += 1;
                if !is_passing(&error) || failures == FAILURES {
                    return Err(error.into());
                }
            }
        }
        pause(update, attempts)?;
    }
    Err(E::from(GitError::PushContended {
        place: update.place.to_string(),
        branch: update.branch.to_owned(),
        attempts: ATTEMPTS,
    }))
}

enum Tried {
    Unchanged,
    Taken(Oid),
    Beaten,
}

enum Failure<E> {
    Git(GitError),
    Edit(E),
}

impl<E> From<GitError> for Failure<E> {
    fn from(error: GitError) -> Self {
        Self::Git(error)
    }
}

fn attempt<E>(
    store: &Store<'_>,
    update: Update<'_>,
    edit: &mut impl FnMut(&Snapshot<'_>) -> Result<Changes, E>,
) -> Result<Tried, Failure<E>> {
    let (tip, default_branch) = store.tip(update)?;
    let git = store.git();
    let snapshot = Snapshot {
        git,
        files: files_of(git, tip)?,
        default_branch,
    };
    let changes = edit(&snapshot).map_err(Failure::Edit)?;
    let Some(commit) = commit(git, tip, &snapshot.files, &changes)? else {
        return Ok(Tried::Unchanged);
    };
    let taken = store.offer(update, tip, commit)?;
    Ok(if taken {
        Tried::Taken(commit)
    } else {
        Tried::Beaten
    })
}

/// Where commits are made.
enum Store<'a> {
    /// In the repository itself.
    Here(git2::Repository),
    /// In one of our own, from which they are pushed.
    There {
        git: git2::Repository,
        remote: &'a Remote,
        _dir: TempDir,
    },
}

impl<'a> Store<'a> {
    fn open(update: Update<'a>) -> Result<Self, GitError> {
        match update.place {
            Location::Path(path) => open_here(path).map(Self::Here),
            Location::Remote(remote) => {
                let dir = make_room(&update.access.mirrors)?;
                let git = make_bare(dir.path())?;
                Ok(Self::There {
                    git,
                    remote,
                    _dir: dir,
                })
            }
        }
    }

    fn git(&self) -> &git2::Repository {
        match self {
            Self::Here(git) | Self::There { git, .. } => git,
        }
    }

    /// Returns the tip of the branch as it is now, and the name of the default branch.
    fn tip(&self, update: Update<'_>) -> Result<(Option<Oid>, Option<String>), GitError> {
        let reference = full_name(update.branch);
        let short = |name: &str| name.strip_prefix("refs/heads/").map(str::to_owned);
        match self {
            Self::Here(git) => {
                let tip = match git.refname_to_id(&reference) {
                    Ok(tip) => Some(tip),
                    Err(error) if error.code() == ErrorCode::NotFound => None,
                    Err(error) => return Err(failed(git, "look up the branch", &error)),
                };
                // One that leads to no commit yet says nothing; servers do not tell of it either.
                let head = git.head().ok();
                let head = head.and_then(|head| head.name().ok().and_then(short));
                Ok((tip, head))
            }
            Self::There { git, remote, .. } => {
                converse(
                    git,
                    remote,
                    update.access,
                    History::Tips,
                    |advertised, fetch| {
                        let mut references = advertised.references.iter();
                        let tip = references.find(|(name, _)| *name == reference);
                        if tip.is_some() {
                            fetch(&[format!("+{reference}:{reference}")])?;
                        }
                        // It may have moved on between the question and the answer.
                        let tip = tip.and_then(|_| git.refname_to_id(&reference).ok());
                        Ok((tip, advertised.head.as_deref().and_then(short)))
                    },
                )
            }
        }
    }

    /// Moves the branch from `old` to `new`; false if it is not at `old` any more.
    fn offer(&self, update: Update<'_>, old: Option<Oid>, new: Oid) -> Result<bool, GitError> {
        let reference = full_name(update.branch);
        let log = "hpc-ci: results";
        match self {
            Self::Here(git) => {
                let moved = match old {
                    Some(old) => git.reference_matching(&reference, new, true, old, log),
                    None => git.reference(&reference, new, false, log),
                };
                match moved.map_err(|error| (error.code(), error)) {
                    Ok(_) => Ok(true),
                    Err((ErrorCode::Modified | ErrorCode::Exists | ErrorCode::Locked, _)) => {
                        Ok(false)
                    }
                    Err((_, error)) => Err(failed(git, "move the branch", &error)),
                }
            }
            Self::There { git, remote, .. } => {
                git.reference(&reference, new, true, log)
                    .map_err(|error| failed(git, "move the branch", &error))?;
                match remote::push(git, remote, update.access, &reference)? {
                    None => Ok(true),
                    Some(reason) if is_race(&reason) => Ok(false),
                    Some(reason) => Err(GitError::PushRefused {
                        place: remote.to_string(),
                        branch: update.branch.to_owned(),
                        reason,
                    }),
                }
            }
        }
    }
}

/// Whether a server refuses because somebody else was faster. What hooks and rules say is theirs, and final.
fn is_race(reason: &str) -> bool {
    const RACES: [&str; 9] = [
        "non-fast-forward",
        "fetch first",
        "failed to update ref",
        "failed to lock",
        "cannot lock ref",
        "unable to lock",
        "reference already exists",
        "incorrect old value provided",
        "stale info",
    ];
    RACES.iter().any(|race| reason.contains(race))
}

/// Whether it may be over in a few seconds. A busy sshd drops connections before it asks for a key.
fn is_passing(error: &GitError) -> bool {
    matches!(
        error,
        GitError::Unreachable { .. } | GitError::Timeout { .. } | GitError::Server { .. }
    )
}

/// Waits a while: longer each time, and never as long as the others.
fn pause(update: Update<'_>, attempts: u32) -> Result<(), GitError> {
    let longest = PAUSE.saturating_mul(1 << attempts.min(10)).min(LONGEST);
    let mut left = longest.mul_f64(fastrand::f64());
    while left > Duration::ZERO {
        if (update.access.cancelled)() {
            let place = update.place.to_string();
            return Err(GitError::Cancelled { place });
        }
        let step = left.min(PAUSE);
        std::thread::sleep(step);
        left -= step;
    }
    Ok(())
}

fn full_name(branch: &str) -> String {
    format!("refs/heads/{branch}")
}

fn check_name(update: Update<'_>) -> Result<(), GitError> {
    if git2::Reference::is_valid_name(&full_name(update.branch)) && !update.branch.starts_with('-')
    {
        return Ok(());
    }
    Err(GitError::Git {
        doing: "push",
        place: update.place.to_string(),
        detail: format!("`{}` cannot be the name of a branch", update.branch),
    })
}

fn open_here(path: &Path) -> Result<git2::Repository, GitError> {
    git2::Repository::open(path).map_err(|error| cause::not_opened(&error, path, false))
}

fn make_room(mirrors: &Path) -> Result<TempDir, GitError> {
    let io = |source| GitError::Io {
        doing: "make a repository in",
        path: PathBuf::from(mirrors),
        source,
    };
    std::fs::create_dir_all(mirrors).map_err(io)?;
    tempfile::Builder::new()
        .prefix(".push.")
        .tempdir_in(mirrors)
        .map_err(io)
}

fn make_bare(dir: &Path) -> Result<git2::Repository, GitError> {
    let mut options = git2::RepositoryInitOptions::new();
    options.bare(true).external_template(false);
    let made = git2::Repository::init_opts(dir, &options).and_then(|git| {
        let mut config = git.config()?.open_level(git2::ConfigLevel::Local)?;
        // Credentials that one host was given must not follow to another.
        config.set_bool("http.followRedirects", false)?;
        Ok(git)
    });
    made.map_err(|error| cause::of_place(&error, "make a repository", dir))
}

fn files_of(git: &git2::Repository, tip: Option<Oid>) -> Result<BTreeMap<String, Oid>, GitError> {
    let mut files = BTreeMap::new();
    let Some(tip) = tip else {
        return Ok(files);
    };
    let tree = git.find_commit(tip).and_then(|commit| commit.tree());
    let walked = tree.and_then(|tree| {
        tree.walk(TreeWalkMode::PreOrder, |folder, entry| {
            if let (Ok(name), Some(ObjectType::Blob)) = (entry.name(), entry.kind()) {
                files.insert(format!("{folder}{name}"), entry.id());
            }
            TreeWalkResult::Ok
        })
    });
    walked.map_err(|error| failed(git, "read the branch", &error))?;
    Ok(files)
}

/// Makes a commit of the changes on top of `tip`; none if nothing would change.
fn commit(
    git: &git2::Repository,
    tip: Option<Oid>,
    files: &BTreeMap<String, Oid>,
    changes: &Changes,
) -> Result<Option<Oid>, GitError> {
    let make = || -> Result<Option<Oid>, git2::Error> {
        let parent = tip.map(|tip| git.find_commit(tip)).transpose()?;
        let base = match &parent {
            Some(parent) => parent.tree()?,
            None => git.find_tree(git.treebuilder(None)?.write()?)?,
        };
        let mut update = TreeUpdateBuilder::new();
        let mut is_new = false;
        for (path, content) in &changes.files {
            match content {
                Some(content) => {
                    let id = git.blob(content)?;
                    if files.get(path) != Some(&id) {
                        update.upsert(path.as_str(), id, FileMode::Blob);
                        is_new = true;
                    }
                }
                None if files.contains_key(path) => {
                    update.remove(path.as_str());
                    is_new = true;
                }
                None => {}
            }
        }
        if !is_new {
            return Ok(None);
        }
        let tree = git.find_tree(update.create_updated(git, &base)?)?;
        let who = Signature::now(NAME, EMAIL)?;
        let parents: Vec<_> = parent.iter().collect();
        git.commit(None, &who, &who, &changes.message, &tree, &parents)
            .map(Some)
    };
    make().map_err(|error| failed(git, "make a commit", &error))
}

fn failed(git: &git2::Repository, doing: &'static str, error: &git2::Error) -> GitError {
    cause::of_place(error, doing, git.path())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn repository() -> (TempDir, Location) {
        let dir = TempDir::new().unwrap();
        make_bare(dir.path()).unwrap();
        let place = Location::Path(dir.path().to_path_buf());
        (dir, place)
    }

    fn write(place: &Location, files: &[(&str, Option<&str>)]) -> Result<Pushed, GitError> {
        let access = Access::new("/nonexistent");
        let update = Update {
            place,
            branch: "hpc-results",
            access: &access,
        };
        let files = files.iter().map(|(path, text)| {
            let content = text.map(|text| text.as_bytes().to_vec());
            ((*path).to_owned(), content)
        });
        let changes = Changes {
            files: files.collect(),
            message: "change".to_owned(),
        };
        update_branch(update, |_| Ok(changes.clone()))
    }

    fn listing(dir: &TempDir) -> Vec<String> {
        let git = git2::Repository::open(dir.path()).unwrap();
        let tip = git.refname_to_id("refs/heads/hpc-results").unwrap();
        files_of(&git, Some(tip)).unwrap().into_keys().collect()
    }

    #[test]
    fn a_branch_begins_without_a_parent_and_grows() {
        let (dir, place) = repository();
        write(&place, &[("a/b/c", Some("1")), ("d", Some("1"))]).unwrap();
        assert_eq!(
            write(&place, &[("d", Some("1")), ("x/y", None)]).unwrap(),
            Pushed::Nothing
        );
        write(&place, &[("a/b/c", None), ("e", Some("2"))]).unwrap();
        assert_eq!(listing(&dir), ["d", "e"]);
        let git = git2::Repository::open(dir.path()).unwrap();
        let mut walk = git.revwalk().unwrap();
        walk.push_glob("refs/heads/*").unwrap();
        assert_eq!(walk.count(), 2);
        let tip = git.find_reference("refs/heads/hpc-results").unwrap();
        assert!(
            tip.peel_to_tree().unwrap().get_name("a").is_none(),
            "no empty folder stays"
        );
    }

    #[test]
    fn what_came_in_between_stays() {
        let (dir, place) = repository();
        write(&place, &[("first", Some("1"))]).unwrap();
        let access = Access::new("/nonexistent");
        let update = Update {
            place: &place,
            branch: "hpc-results",
            access: &access,
        };
        let mut seen = Vec::new();
        let pushed = update_branch::<GitError>(update, |snapshot| {
            seen.push(snapshot.paths().map(str::to_owned).collect::<Vec<_>>());
            if seen.len() == 1 {
                write(&place, &[("other", Some("1"))])?;
            }
            let mut changes = Changes::default();
            changes.files.insert("mine".to_owned(), Some(b"1".to_vec()));
            Ok(changes)
        });
        assert!(matches!(
            pushed.unwrap(),
            Pushed::Commit { attempts: 2, .. }
        ));
        assert_eq!(seen, [vec!["first"], vec!["first", "other"]]);
        assert_eq!(listing(&dir), ["first", "mine", "other"]);
    }

    #[test]
    fn a_head_that_leads_nowhere_names_no_default_branch() {
        let (dir, place) = repository();
        let access = Access::new("/nonexistent");
        let update = Update {
            place: &place,
            branch: "hpc-results",
            access: &access,
        };
        let told = || {
            let mut told = None;
            update_branch::<GitError>(update, |snapshot| {
                told = snapshot.default_branch().map(str::to_owned);
                Ok(Changes::default())
            })
            .unwrap();
            told
        };
        write(&place, &[("a", Some("1"))]).unwrap();
        assert_eq!(told(), None);
        let git = git2::Repository::open(dir.path()).unwrap();
        git.set_head("refs/heads/hpc-results").unwrap();
        assert_eq!(told().as_deref(), Some("hpc-results"));
    }

    #[test]
    fn names_that_are_none_are_refused() {
        let (_dir, place) = repository();
        for branch in ["", "-f", "a..b", "a b", "x.lock", "a\n"] {
            let access = Access::new("/nonexistent");
            let update = Update {
                place: &place,
                branch,
                access: &access,
            };
            let result = update_branch::<GitError>(update, |_| Ok(Changes::default()));
            assert!(result.is_err(), "{branch:?}");
        }
    }

    #[test]
    fn races_are_told_from_rules() {
        for (reason, race) in [
            ("failed to update ref", true),
            (
                "cannot lock ref 'refs/heads/x': is at 1 but expected 2",
                true,
            ),
            ("fetch first", true),
            ("pre-receive hook declined", false),
            ("protected branch hook declined", false),
            ("shallow update not allowed", false),
        ] {
            assert_eq!(is_race(reason), race, "{reason}");
        }
    }
}
