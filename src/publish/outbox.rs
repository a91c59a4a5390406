//! The outbox: items on disk until every destination has them, and a note of what was sent, so that nothing is sent twice.
//!
//! ```text
//! STATE/outbox/PROJECT/items/ID/{item.json, hpc-results.json, artifacts/}
//! STATE/outbox/PROJECT/sent/DIGEST        what it was, and when
//! ```
//!
//! One process at a time uses the outbox of a project: [`Outbox::lock`] is held from choosing what to send to noting that
//! it was sent.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::{File, TryLockError};
use std::io;
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use chrono::{DateTime, Utc};
use fs_err as fs;
use sha2::{Digest, Sha256};

use super::circumstances::{Circumstances, Server};
use super::error::PublishError;
use super::item::{Delivery, Destination, Item};
use super::material::{self, Material};

use crate::foreign;

const ITEM: &str = "item.json";
const RETRY: Duration = Duration::from_millis(100);
/// Notes of what was sent; older ones are of commits that nobody publishes again.
const KEPT_NOTES: usize = 5000;

/// The outbox of a project.
#[derive(Debug, Clone)]
pub struct Outbox {
    folder: Utf8PathBuf,
}

/// Sets of artifacts, joined with what waits of the same commit.
struct Joined {
    item: Item,
    material: Material,
    waiting: Vec<Item>,
}

/// Proof that no other process uses the outbox.
#[derive(Debug)]
pub struct Lock {
    _file: Option<File>,
}

impl Outbox {
    /// Returns the outbox of the project that files know by `key`, below the state directory.
    #[must_use]
    pub fn new(state: &Utf8Path, key: &str) -> Self {
        let folder = state.join("outbox").join(key);
        Self { folder }
    }

    /// Takes over the outbox of an earlier hpc-ci, which told ways to write an address apart, if there is none yet.
    pub fn take_over(
        &self,
        state: &Utf8Path,
        project: &str,
        address: &str,
    ) -> Result<(), PublishError> {
        if self.folder.exists() {
            return Ok(());
        }
        match fs::rename(earlier(state, project, address), &self.folder) {
            // There is none, or another process was faster.
            Err(error) if error.kind() == io::ErrorKind::NotFound || self.folder.exists() => Ok(()),
            moved => Ok(moved?),
        }
    }

    /// Waits until no other process uses the outbox.
    pub fn lock(&self, patience: Duration) -> Result<Lock, PublishError> {
        make_private(&self.folder)?;
        let lock = self.folder.join("lock");
        foreign::clear(&lock)?;
        let file = foreign::append(&lock)?.into_file();
        let begin = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Lock { _file: Some(file) }),
                Err(TryLockError::WouldBlock) if begin.elapsed() < patience => {
                    std::thread::sleep(RETRY);
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(PublishError::Busy {
                        outbox: self.folder.clone(),
                        patience,
                    });
                }
                // Some shared file systems know no locks; two at once may then send a thing twice.
                Err(TryLockError::Error(_)) => return Ok(Lock { _file: None }),
            }
        }
    }

    /// Puts sets of artifacts of one commit into the outbox, joined with what waits there of the same commit.
    ///
    /// What was sent before is not pending again. Returns `None` if nothing is left to send.
    pub fn put(
        &self,
        _lock: &Lock,
        sets: &[Utf8PathBuf],
        destinations: &BTreeSet<Destination>,
        circumstances: &Circumstances,
        now: DateTime<Utc>,
    ) -> Result<Option<Item>, PublishError> {
        let stage = self.folder.join(format!(".new-{}", std::process::id()));
        remove(&stage)?;
        let made = self.join(sets, &stage, destinations, circumstances, now);
        let settled = made.and_then(|joined| self.settle(joined, &stage));
        remove(&stage)?;
        settled
    }

    /// Returns what would wait if these sets were put into the outbox; `stage` is a folder for the time of looking.
    pub fn preview(
        &self,
        sets: &[Utf8PathBuf],
        stage: &Utf8Path,
        destinations: &BTreeSet<Destination>,
        circumstances: &Circumstances,
        now: DateTime<Utc>,
    ) -> Result<Vec<(Item, Material)>, PublishError> {
        let joined = match sets {
            [] => None,
            sets => Some(self.join(sets, stage, destinations, circumstances, now)?),
        };
        let mut found = Vec::new();
        for item in self.items()? {
            let is_part = |joined: &Joined| joined.waiting.iter().any(|it| it.id == item.id);
            if !joined.as_ref().is_some_and(is_part) && !item.is_stale(now) {
                let material = self.material(&item)?;
                found.push((item, material));
            }
        }
        found.extend(joined.map(|joined| (joined.item, joined.material)));
        Ok(found)
    }

    fn settle(&self, joined: Joined, stage: &Utf8Path) -> Result<Option<Item>, PublishError> {
        let Joined { item, waiting, .. } = joined;
        if !item.pending.is_empty() {
            write(&stage.join(ITEM), &item)?;
            make_private(&self.folder.join("items"))?;
            fs::rename(stage, self.folder_of(&item))?;
        }
        // Only now: until the new one is there, the old ones hold what is to be sent.
        waiting.iter().try_for_each(|item| self.remove(item))?;
        Ok((!item.pending.is_empty()).then_some(item))
    }

    /// Joins sets with what waits of the same commit.
    fn join(
        &self,
        sets: &[Utf8PathBuf],
        stage: &Utf8Path,
        destinations: &BTreeSet<Destination>,
        circumstances: &Circumstances,
        now: DateTime<Utc>,
    ) -> Result<Joined, PublishError> {
        let mut material = material::join(sets, stage, now)?;
        let waiting: Vec<Item> = self
            .items()?
            .into_iter()
            .filter(|item| item.commit == material.meta.commit)
            .collect();
        let mut pending: BTreeMap<Destination, Delivery> = BTreeMap::new();
        if !waiting.is_empty() {
            let mut sets = sets.to_vec();
            sets.extend(
                waiting
                    .iter()
                    .map(|item| self.folder_of(item).join("artifacts")),
            );
            remove(stage)?;
            material = material::join(&sets, stage, now)?;
            pending.extend(waiting.iter().flat_map(|item| item.pending.clone()));
        }
        for destination in destinations {
            pending.entry(*destination).or_default();
        }
        pending.retain(|destination, _| {
            let thing = destination.thing(&material);
            thing.is_some_and(|thing| !self.was_sent(&thing))
        });
        let item = Item {
            schema_version: Item::SCHEMA_VERSION,
            id: self.free_id(&material.meta.commit, now),
            commit: material.meta.commit.clone(),
            created_at: now,
            circumstances: told_best(circumstances, &waiting).clone(),
            pending,
        };
        Ok(Joined {
            item,
            material,
            waiting,
        })
    }

    fn free_id(&self, commit: &str, now: DateTime<Utc>) -> String {
        let id = format!("{}-{commit:.10}", now.format("%Y%m%d-%H%M%S"));
        let taken = |id: &String| self.folder.join("items").join(id).exists();
        let numbered = (2..).map(|number: u32| format!("{id}-{number}"));
        std::iter::once(id.clone())
            .chain(numbered)
            .find(|id| !taken(id))
            .unwrap_or(id)
    }

    /// Returns the items that wait, the oldest first.
    pub fn items(&self) -> Result<Vec<Item>, PublishError> {
        let mut items = Vec::new();
        for folder in entries(&self.folder.join("items"))? {
            let path = folder.join(ITEM);
            let bytes = match foreign::read(&path, foreign::DOCUMENT) {
                Ok(bytes) => bytes,
                // Being removed, or a stranger's.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error.into()),
            };
            let item: Item = serde_json::from_slice(&bytes)
                .map_err(|source| PublishError::Unreadable { path, source })?;
            // The folder's own name is the one by which it is found and removed.
            let id = folder.file_name().unwrap_or_default().to_owned();
            items.push(Item { id, ..item });
        }
        items.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        Ok(items)
    }

    /// Reads the artifacts of an item.
    pub fn material(&self, item: &Item) -> Result<Material, PublishError> {
        Material::open(&self.folder_of(item))
    }

    /// Notes that a destination is about to get the item, so that whoever finds it again after a crash looks there first.
    pub fn begin(
        &self,
        _lock: &Lock,
        item: &mut Item,
        destination: Destination,
        now: DateTime<Utc>,
    ) -> Result<(), PublishError> {
        item.pending.entry(destination).or_default().begun(now);
        write(&self.folder_of(item).join(ITEM), item)
    }

    /// Notes that a destination has got the item, or why it has not; an item that everybody has is removed.
    pub fn note(
        &self,
        _lock: &Lock,
        item: &mut Item,
        destination: Destination,
        result: Result<(), String>,
        now: DateTime<Utc>,
    ) -> Result<(), PublishError> {
        match result {
            Ok(()) => {
                if let Some(thing) = destination.thing(&self.material(item)?) {
                    self.note_sent(&thing, now)?;
                }
                item.pending.remove(&destination);
            }
            Err(error) => item.pending.entry(destination).or_default().failed(error),
        }
        if item.pending.is_empty() {
            self.remove(item)
        } else {
            write(&self.folder_of(item).join(ITEM), item)
        }
    }

    /// Returns whether this was sent before.
    #[must_use]
    pub fn was_sent(&self, thing: &str) -> bool {
        self.sent(thing).exists()
    }

    fn note_sent(&self, thing: &str, now: DateTime<Utc>) -> Result<(), PublishError> {
        let folder = self.folder.join("sent");
        make_private(&folder)?;
        foreign::put(
            self.sent(thing),
            format!("{} {thing}\n", now.format("%Y-%m-%dT%H:%M:%SZ")),
        )?;
        let mut notes = entries(&folder)?;
        if notes.len() > KEPT_NOTES {
            notes.sort_by_cached_key(|path| {
                fs::metadata(path).and_then(|data| data.modified()).ok()
            });
            for old in &notes[..notes.len() - KEPT_NOTES] {
                fs::remove_file(old)?;
            }
        }
        Ok(())
    }

    fn sent(&self, thing: &str) -> Utf8PathBuf {
        self.folder.join("sent").join(digest(thing))
    }

    fn folder_of(&self, item: &Item) -> Utf8PathBuf {
        self.folder.join("items").join(&item.id)
    }

    /// Gives an item up.
    pub fn drop(&self, _lock: &Lock, item: &Item) -> Result<(), PublishError> {
        self.remove(item)
    }

    fn remove(&self, item: &Item) -> Result<(), PublishError> {
        remove(&self.folder_of(item))
    }
}

/// A person who publishes later knows less than the CI server did.
/// Returns where an earlier hpc-ci kept what waited.
fn earlier(state: &Utf8Path, project: &str, address: &str) -> Utf8PathBuf {
    let plain: String = project
        .chars()
        .map(|c| match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '_' => c,
            _ => '_',
        })
        .take(64)
        .collect();
    let digest = digest(address);
    state
        .join("outbox")
        .join(format!("{plain}-{}", &digest[..8]))
}

fn told_best<'a>(now: &'a Circumstances, waiting: &'a [Item]) -> &'a Circumstances {
    let by_server = waiting
        .iter()
        .rev()
        .map(|item| &item.circumstances)
        .find(|it| it.server != Server::Local);
    match (now.server, by_server) {
        (Server::Local, Some(earlier)) => earlier,
        _ => now,
    }
}

fn entries(folder: &Utf8Path) -> Result<Vec<Utf8PathBuf>, PublishError> {
    let entries = match folder.read_dir_utf8() {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let paths = entries.map(|entry| entry.map(|entry| entry.path().to_owned()));
    Ok(paths.collect::<io::Result<_>>()?)
}

/// Makes a folder that only its owner may enter: results may be confidential before they are published.
fn make_private(folder: &Utf8Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|error| io::Error::new(error.kind(), format!("cannot make `{folder}`: {error}")))
}

fn write(path: &Utf8Path, item: &Item) -> Result<(), PublishError> {
    let text = serde_json::to_vec_pretty(item).map_err(PublishError::Encode)?;
    let temporary = path.with_extension("json.new");
    foreign::put(&temporary, text)?;
    Ok(fs::rename(temporary, path)?)
}

fn remove(folder: &Utf8Path) -> Result<(), PublishError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

fn digest(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes any text");
        text
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::results::FinishedRun;
    use crate::results::artifact::RunFiles;
    use crate::results::record::{Part, meta_example};
    use crate::results::{finished_example as example, store};

    struct Place {
        dir: tempfile::TempDir,
        outbox: Outbox,
    }

    const NOW: &str = "2026-11-20T12:00:00Z";

    impl Place {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let state = Utf8Path::from_path(dir.path()).unwrap().join("state");
            let outbox = Outbox::new(&state, "heat-1");
            Self { dir, outbox }
        }

        /// The artifacts of a run with this scope, as it leaves them.
        fn run(&self, id: &str, scope: &[Part], change: impl Fn(&mut FinishedRun)) -> Utf8PathBuf {
            let mut run = example::run();
            run.run = id.to_owned();
            run.scope = scope.iter().copied().collect();
            run.steps.retain(|step| step.status().exit_code() == 0);
            change(&mut run);
            let coverage = crate::results::artifact::Artifact::json("coverage/x.json", &1).unwrap();
            let files = RunFiles::new(&run, meta_example::run_meta(), vec![coverage]).unwrap();
            let folder = Utf8Path::from_path(self.dir.path()).unwrap().join(id);
            store::save(&folder, &files, NOW.parse().unwrap(), Duration::ZERO).unwrap();
            material::set_in(&folder).unwrap()
        }

        fn put(
            &self,
            sets: &[Utf8PathBuf],
            to: &[Destination],
        ) -> Result<Option<Item>, PublishError> {
            let lock = self.outbox.lock(Duration::ZERO)?;
            let to = to.iter().copied().collect();
            let circumstances = Circumstances::default();
            self.outbox
                .put(&lock, sets, &to, &circumstances, NOW.parse().unwrap())
        }

        fn send(&self, item: &mut Item, destination: Destination) {
            let lock = self.outbox.lock(Duration::ZERO).unwrap();
            self.outbox
                .note(&lock, item, destination, Ok(()), NOW.parse().unwrap())
                .unwrap();
        }
    }

    const TESTS: &[Part] = &[Part::Tests, Part::Coverage];
    const BENCHMARKS: &[Part] = &[Part::Benchmarks];
    use Destination::{
        CodecovCoverage, CodecovTests, GithubComment, GithubStatuses, ResultsBranch,
    };

    #[test]
    fn what_was_sent_is_not_sent_again_and_leaves_nothing_behind() {
        let place = Place::new();
        let set = [place.run("r1", &Part::ALL, |_| {})];
        let to = [CodecovCoverage, GithubStatuses];
        let mut item = place.put(&set, &to).unwrap().unwrap();
        assert_eq!(place.outbox.items().unwrap(), [item.clone()]);
        place.send(&mut item, CodecovCoverage);
        let mut left = place.outbox.items().unwrap().remove(0);
        assert_eq!(left.pending.keys().collect::<Vec<_>>(), [&GithubStatuses]);
        place.send(&mut left, GithubStatuses);
        assert_eq!(place.outbox.items().unwrap(), []);
        assert_eq!(place.put(&set, &to).unwrap(), None);
        assert!(place.put(&set, &[ResultsBranch]).unwrap().is_some());
    }

    #[test]
    fn parts_of_one_commit_that_wait_become_one_and_sent_coverage_stays_sent() {
        let place = Place::new();
        let tests = [place.run("tests", TESTS, |_| {})];
        let to = [CodecovCoverage, GithubComment];
        let mut item = place.put(&tests, &to).unwrap().unwrap();
        place.send(&mut item, CodecovCoverage);
        let benchmarks = [place.run("bench", BENCHMARKS, |_| {})];
        let joined = place.put(&benchmarks, &to).unwrap().unwrap();
        assert_eq!(place.outbox.items().unwrap(), std::slice::from_ref(&joined));
        assert_eq!(joined.pending.keys().collect::<Vec<_>>(), [&GithubComment]);
        let material = place.outbox.material(&joined).unwrap();
        let owner = |part| material.owner(part).unwrap().run.clone();
        assert_eq!(
            (owner(Part::Tests), owner(Part::Benchmarks)),
            ("tests".to_owned(), "bench".to_owned())
        );
        assert!(material.file("coverage/x.json").is_some());
    }

    #[test]
    fn what_the_ci_server_said_stays_with_what_waits() {
        let place = Place::new();
        let set = [place.run("r1", &Part::ALL, |_| {})];
        let pipeline = Circumstances {
            server: Server::Gitlab,
            pull_request: Some(5),
            ..Circumstances::default()
        };
        let to = [ResultsBranch].into();
        let now = NOW.parse().unwrap();
        let lock = place.outbox.lock(Duration::ZERO).unwrap();
        place.outbox.put(&lock, &set, &to, &pipeline, now).unwrap();
        drop(lock);
        let again = place.put(&set, &[ResultsBranch]).unwrap().unwrap();
        assert_eq!(again.circumstances, pipeline);
        assert!(!again.is_stale(now + chrono::TimeDelta::days(29)));
        assert!(again.is_stale(now + chrono::TimeDelta::days(31)));
    }

    #[test]
    fn marked_runs_go_only_where_they_do_no_harm() {
        let check = |change: fn(&mut FinishedRun), expected: &[Destination]| {
            let place = Place::new();
            let set = [place.run("r", &Part::ALL, change)];
            let all = [
                CodecovCoverage,
                CodecovTests,
                ResultsBranch,
                GithubStatuses,
                GithubComment,
            ];
            let item = place.put(&set, &all).unwrap().unwrap();
            assert_eq!(item.pending.into_keys().collect::<Vec<_>>(), expected);
        };
        check(|run| run.filtered = true, &[ResultsBranch]);
        check(|run| run.dirty = true, &[ResultsBranch]);
        let damaged = |run: &mut FinishedRun| {
            run.steps[0].outcome = crate::scheduler::Outcome::NodeFailure;
        };
        check(damaged, &[ResultsBranch, GithubStatuses, GithubComment]);
    }

    #[test]
    fn altered_mixed_and_missing_artifacts_are_refused() {
        let place = Place::new();
        let whole = place.run("whole", &Part::ALL, |_| {});
        let refused = |sets: &[Utf8PathBuf]| {
            let error = place.put(sets, &[ResultsBranch]).unwrap_err();
            error
                .to_string()
                .replace(place.dir.path().to_str().unwrap(), "")
        };
        let other = place.run("other", &Part::ALL, |run| run.commit = "d".repeat(40));
        let both = refused(&[whole.clone(), other]);
        assert!(both.contains("of different commits"), "{both}");
        let short = place.run("short", &Part::ALL, |run| run.commit = "../etc".to_owned());
        assert_eq!(
            refused(&[short]),
            "`../etc` is not the full name of a commit"
        );
        fs::write(whole.join("tests/junit.xml"), "<testsuites/>").unwrap();
        assert_eq!(
            refused(std::slice::from_ref(&whole)),
            "`/whole/artifacts/tests/junit.xml` is not what `checksums.txt` beside it says"
        );
        fs::remove_file(whole.join("tests/junit.xml")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", whole.join("tests/junit.xml")).unwrap();
        assert!(refused(&[whole]).contains("is not what"));
        assert_eq!(place.outbox.items().unwrap(), []);
    }
}
