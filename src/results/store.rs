//! The artifacts on disk: a set appears whole or not at all, and the set before it stays until then.
//!
//! The new set is written and synced in a folder of its own beside `artifacts/`, then the two change places in one
//! operation of the file system. Where that is not offered (NFS, for one), the old set is moved aside first; a crash in
//! between leaves `.artifacts.old`, which the next call puts back. `hpc-results.json` is replaced last; it holds nothing
//! that cannot be made again from `artifacts/`. `artifacts/` belongs to hpc-ci: a folder of that name that it did not
//! make is refused.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{File, TryLockError};
use std::io::{self, Read, Write as _};
use std::time::{Duration, Instant};

use camino::{Utf8Component, Utf8Path, Utf8PathBuf};
use chrono::{DateTime, Utc};
use fs_err as fs;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::artifact::{self, Artifact, Content, RunFiles};
use super::picture::{self, Earlier, Picture};
use super::record::{Meta, RunEntry, SCHEMA_VERSION};

const ARTIFACTS: &str = "artifacts";
const META: &str = "meta.json";
const CHECKSUMS: &str = "checksums.txt";
const RESULTS: &str = "hpc-results.json";
const OLD: &str = ".artifacts.old";
const NEW: &str = ".artifacts.new-";
const LOCK: &str = ".artifacts.lock";
const RETRY: Duration = Duration::from_millis(50);

/// Why artifacts could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system refused. The message names the file.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A document could not be written as JSON.
    #[error("cannot write a document as JSON")]
    Json(#[from] serde_json::Error),
    /// The folder is somebody else's.
    #[error("`{path}` was not made by hpc-ci, so it is not replaced")]
    Foreign {
        /// The folder.
        path: Utf8PathBuf,
    },
    /// Another run kept the lock.
    #[error("another run is still writing its artifacts to `{folder}` after {} s", patience.as_secs())]
    Busy {
        /// The folder that holds `artifacts/`.
        folder: Utf8PathBuf,
        /// How long we waited.
        patience: Duration,
    },
    /// A path leads out of `artifacts/`.
    #[error("`{path}` is no path below `artifacts/`")]
    BadPath {
        /// The path.
        path: Utf8PathBuf,
    },
    /// A document there cannot be understood.
    #[error("cannot read `{path}`")]
    Unreadable {
        /// The document.
        path: Utf8PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// `meta.json` names a run whose entry is not there.
    #[error("`{path}` is not there, though `meta.json` names it")]
    Incomplete {
        /// The entry.
        path: Utf8PathBuf,
    },
    /// A document there is of a later version of hpc-ci.
    #[error("`{path}` has schema_version {found}; this hpc-ci knows {SCHEMA_VERSION}")]
    Version {
        /// The document.
        path: Utf8PathBuf,
        /// Its version.
        found: u32,
    },
}

impl StoreError {
    /// Returns what to do about it, where that can be said.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Foreign { path } => Some(format!(
                "move `{path}` away, or name another folder in `workspace.artifacts`"
            )),
            Self::Busy { folder, .. } => Some(format!(
                "if no other hpc-ci is alive, its host still holds `{folder}/{LOCK}`"
            )),
            Self::Version { .. } => Some("use the newer hpc-ci that wrote it".to_owned()),
            _ => None,
        }
    }
}

impl StoreError {
    /// Whether an earlier set is there and cannot be understood.
    fn is_about_content(&self) -> bool {
        matches!(
            self,
            Self::Unreadable { .. } | Self::Incomplete { .. } | Self::Version { .. }
        )
    }
}

/// What was written.
#[derive(Debug)]
pub struct Saved {
    /// What stands there now.
    pub picture: Picture,
    /// Why an earlier set could not be understood; it contributes nothing then.
    pub ignored: Option<StoreError>,
    /// Whether the file system let us lock. Without it, two runs that end in the same second may lose a part of one.
    pub locked: bool,
}

/// Writes the artifacts of a run into `folder`, together with what earlier runs still contribute.
pub fn save(
    folder: &Utf8Path,
    run: &RunFiles,
    now: DateTime<Utc>,
    patience: Duration,
) -> Result<Saved, StoreError> {
    fs::create_dir_all(folder)?;
    let lock = lock(folder, patience)?;
    recover(folder, lock.is_some())?;
    check_ours(&folder.join(ARTIFACTS))?;
    let (earlier, ignored) = match read(folder) {
        Ok(earlier) => (earlier, None),
        Err(error) if error.is_about_content() => (None, Some(error)),
        Err(error) => return Err(error),
    };
    let picture = picture::compose(earlier.as_ref(), &run.entry, &run.meta, now);
    // Before its name goes into a path.
    entry_path(&run.entry.run)?;
    let stage = folder.join(format!("{NEW}{}-{}", run.entry.run, std::process::id()));
    let staged = stage_set(&folder.join(ARTIFACTS), &stage, run, &picture);
    if let Err(error) = staged.and_then(|()| exchange(folder, &stage)) {
        remove(&stage)?;
        return Err(error);
    }
    let results = Artifact::json(RESULTS, &picture.results)?;
    replace(folder, &results)?;
    Ok(Saved {
        picture,
        ignored,
        locked: lock.is_some(),
    })
}

/// Reads what stands in `folder`: none if there is nothing.
pub fn load(folder: &Utf8Path, patience: Duration) -> Result<Option<Earlier>, StoreError> {
    if fs::symlink_metadata(folder.join(OLD)).is_ok() {
        let lock = lock(folder, patience)?;
        recover(folder, lock.is_some())?;
    }
    read(folder)
}

/// The lock is let go when the file is closed, also by a process that dies.
fn lock(folder: &Utf8Path, patience: Duration) -> Result<Option<File>, StoreError> {
    let file = fs::File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(folder.join(LOCK))?;
    let (file, _) = file.into_parts();
    let begin = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(TryLockError::WouldBlock) if begin.elapsed() < patience => {
                std::thread::sleep(RETRY);
            }
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::Busy {
                    folder: folder.to_owned(),
                    patience,
                });
            }
            // Lustre without `-o flock`, some NFS servers: no locks at all.
            Err(TryLockError::Error(error)) if is_unsupported(&error) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
    }
}

fn is_unsupported(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let unsupported = [Errno::NOLCK, Errno::NOSYS, Errno::OPNOTSUPP];
    unsupported
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// Puts right what a crash left behind. Only who holds the lock knows that nobody is still writing a new set.
fn recover(folder: &Utf8Path, is_locked: bool) -> Result<(), StoreError> {
    let (artifacts, old) = (folder.join(ARTIFACTS), folder.join(OLD));
    if old.exists() {
        if artifacts.exists() {
            remove(&old)?;
        } else {
            fs::rename(&old, &artifacts)?;
        }
    }
    for entry in is_locked
        .then(|| fs::read_dir(folder))
        .transpose()?
        .into_iter()
        .flatten()
    {
        let entry = entry?;
        if entry
            .file_name()
            .to_str()
            .is_some_and(|name| name.starts_with(NEW))
        {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// Refuses a folder that hpc-ci cannot have made: something is in it, but not what we write last.
fn check_ours(artifacts: &Utf8Path) -> Result<(), StoreError> {
    let foreign = || StoreError::Foreign {
        path: artifacts.to_owned(),
    };
    match fs::symlink_metadata(artifacts) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.into()),
        Ok(data) if !data.is_dir() => return Err(foreign()),
        Ok(_) => {}
    }
    let is_empty = fs::read_dir(artifacts)?.next().is_none();
    let has = |name: &str| artifacts.join(name).is_file();
    if is_empty || (has(META) && has(CHECKSUMS)) {
        Ok(())
    } else {
        Err(foreign())
    }
}

fn read(folder: &Utf8Path) -> Result<Option<Earlier>, StoreError> {
    open(&folder.join(ARTIFACTS))
}

/// Reads which runs a set of artifacts comes from: none if there is no set.
pub fn open(artifacts: &Utf8Path) -> Result<Option<Earlier>, StoreError> {
    let Some(meta) = document::<Meta>(&artifacts.join(META))? else {
        return Ok(None);
    };
    let entries = meta.runs.iter().map(|run| {
        let path = artifacts.join(entry_path(&run.run)?);
        document::<RunEntry>(&path)?.ok_or(StoreError::Incomplete { path })
    });
    let entries = entries.collect::<Result<_, _>>()?;
    Ok(Some(Earlier { meta, entries }))
}

/// Reads a document: none if it is not there. Its version is looked at before anything else.
pub fn document<T: DeserializeOwned>(path: &Utf8Path) -> Result<Option<T>, StoreError> {
    #[derive(Deserialize)]
    struct Versioned {
        schema_version: u32,
    }
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let unreadable = |source| StoreError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let Versioned {
        schema_version: found,
    } = serde_json::from_slice(&bytes).map_err(unreadable)?;
    if found != SCHEMA_VERSION {
        return Err(StoreError::Version {
            path: path.to_owned(),
            found,
        });
    }
    serde_json::from_slice(&bytes).map(Some).map_err(unreadable)
}

/// Writes the whole new set into `stage`, its checksums last.
fn stage_set(
    current: &Utf8Path,
    stage: &Utf8Path,
    run: &RunFiles,
    picture: &Picture,
) -> Result<(), StoreError> {
    fs::create_dir(stage)?;
    let mut folders = BTreeSet::from([stage.to_owned()]);
    let mut digests = Vec::new();
    let mut put = |artifact: &Artifact| -> Result<(), StoreError> {
        let path = below(stage, &artifact.path)?;
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
            folders.extend(
                parent
                    .ancestors()
                    .take_while(|it| it.starts_with(stage))
                    .map(Utf8Path::to_owned),
            );
        }
        digests.push((artifact.path.clone(), write(&path, &artifact.content)?));
        Ok(())
    };
    for artifact in run
        .files
        .iter()
        .filter(|it| it.part().is_none_or(|part| run.entry.scope.contains(&part)))
    {
        put(artifact)?;
    }
    for part in &picture.kept {
        taken_over(current, Utf8Path::new(part.folder()))?
            .iter()
            .try_for_each(&mut put)?;
    }
    for run in &picture.kept_runs {
        let path = entry_path(run)?;
        let source = current.join(&path);
        put(&Artifact::file(path, source))?;
    }
    for part in &picture.skipped {
        artifact::skipped(*part, &run.entry.commit)?
            .iter()
            .try_for_each(&mut put)?;
    }
    put(&Artifact::json(entry_path(&run.entry.run)?, &run.entry)?)?;
    put(&Artifact::json(META, &picture.meta)?)?;
    let checksums = Content::Bytes(artifact::checksums(&digests).into_bytes());
    write(&stage.join(CHECKSUMS), &checksums)?;
    // A name is safe only once its folder is synced.
    folders.iter().try_for_each(|folder| sync_folder(folder))
}

/// Every file below `folder` of the current set. Links are not followed: hpc-ci writes none.
fn taken_over(current: &Utf8Path, folder: &Utf8Path) -> Result<Vec<Artifact>, StoreError> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = match current.join(&folder).read_dir_utf8() {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error.into()),
        };
        for entry in entries {
            let entry = entry?;
            let path = folder.join(entry.file_name());
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() {
                found.push(Artifact::file(path, entry.path()));
            }
        }
    }
    Ok(found)
}

/// Lets the new set take the place of the old one.
fn exchange(folder: &Utf8Path, stage: &Utf8Path) -> Result<(), StoreError> {
    let artifacts = folder.join(ARTIFACTS);
    let swapped = renameat_with(
        CWD,
        stage.as_std_path(),
        CWD,
        artifacts.as_std_path(),
        RenameFlags::EXCHANGE,
    );
    if swapped.is_err() {
        return move_aside(folder, stage);
    }
    sync_folder(folder)?;
    // The new set stands. What NFS still holds of the old one goes with the next run.
    remove(stage).or(Ok(()))
}

/// Does the same in two steps, where the file system knows no exchange or there is no old set.
fn move_aside(folder: &Utf8Path, stage: &Utf8Path) -> Result<(), StoreError> {
    let (artifacts, old) = (folder.join(ARTIFACTS), folder.join(OLD));
    if artifacts.exists() {
        fs::rename(&artifacts, &old)?;
    }
    if let Err(error) = fs::rename(stage, &artifacts) {
        if old.exists() {
            fs::rename(&old, &artifacts)?;
        }
        return Err(error.into());
    }
    sync_folder(folder)?;
    remove(&old).or(Ok(()))
}

/// Replaces one file by a temporary one beside it.
fn replace(folder: &Utf8Path, artifact: &Artifact) -> Result<(), StoreError> {
    let temporary = folder.join(format!(".{}.{}", artifact.path, std::process::id()));
    write(&temporary, &artifact.content)?;
    fs::rename(&temporary, folder.join(&artifact.path))?;
    sync_folder(folder)
}

/// Writes and syncs a file; returns the sha256 of what was written.
fn write(path: &Utf8Path, content: &Content) -> Result<String, StoreError> {
    let mut file = fs::File::create(path)?;
    let mut hash = Sha256::new();
    match content {
        Content::Bytes(bytes) => {
            hash.update(bytes);
            file.write_all(bytes)?;
        }
        Content::File(source) => {
            let mut source = fs::File::open(source)?;
            let mut buffer = vec![0; 1 << 16];
            loop {
                let count = source.read(&mut buffer)?;
                let Some(bytes @ [_, ..]) = buffer.get(..count) else {
                    break;
                };
                hash.update(bytes);
                file.write_all(bytes)?;
            }
        }
    }
    file.sync_all()?;
    Ok(hash
        .finalize()
        .iter()
        .fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").ok();
            text
        }))
}

/// Returns the path of a run's entry, provided that its id is a plain name.
pub fn entry_path(run: &str) -> Result<Utf8PathBuf, StoreError> {
    let path = Utf8PathBuf::from(format!("runs/{run}.json"));
    if run.contains(['/', '\0']) {
        Err(StoreError::BadPath { path })
    } else {
        Ok(path)
    }
}

/// Returns `path` below `folder`, provided that it stays there.
fn below(folder: &Utf8Path, path: &Utf8Path) -> Result<Utf8PathBuf, StoreError> {
    let is_plain = path
        .components()
        .all(|it| matches!(it, Utf8Component::Normal(_)));
    if is_plain && !path.as_str().is_empty() && !path.as_str().contains('\0') {
        Ok(folder.join(path))
    } else {
        Err(StoreError::BadPath {
            path: path.to_owned(),
        })
    }
}

fn remove(folder: &Utf8Path) -> Result<(), StoreError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

fn sync_folder(folder: &Utf8Path) -> Result<(), StoreError> {
    match fs::File::open(folder)?.sync_all() {
        // Some file systems cannot sync a folder; they order names by themselves.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        other => Ok(other?),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::super::FinishedRun;
    use super::super::finished::example;
    use super::super::record::{Part, meta_example};
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    struct Place {
        _dir: tempfile::TempDir,
        folder: Utf8PathBuf,
    }

    impl Place {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let folder = Utf8PathBuf::from_path_buf(dir.path().join("hpc-ci")).unwrap();
            Self { _dir: dir, folder }
        }

        fn save(&self, files: &RunFiles) -> Result<Saved, StoreError> {
            save(
                &self.folder,
                files,
                example::time("2026-11-20T12:00:00Z"),
                PATIENCE,
            )
        }

        fn read(&self, path: &str) -> String {
            fs::read_to_string(self.folder.join(path)).unwrap()
        }

        /// Every file there, but the lock.
        fn list(&self) -> String {
            let mut paths = Vec::new();
            let mut folders = vec![Utf8PathBuf::new()];
            while let Some(folder) = folders.pop() {
                for entry in self.folder.join(&folder).read_dir_utf8().unwrap() {
                    let entry = entry.unwrap();
                    let path = folder.join(entry.file_name());
                    if entry.file_type().unwrap().is_dir() {
                        folders.push(path);
                    } else {
                        paths.push(path);
                    }
                }
            }
            paths.retain(|path| path != LOCK);
            paths.sort();
            paths
                .into_iter()
                .map(Utf8PathBuf::into_string)
                .collect::<Vec<_>>()
                .join("\n")
        }

        fn checksums_hold(&self) {
            let sha256sum = std::process::Command::new("sha256sum")
                .args(["--check", "--strict", "--quiet", CHECKSUMS])
                .current_dir(self.folder.join(ARTIFACTS))
                .output()
                .unwrap();
            assert!(sha256sum.status.success(), "{sha256sum:?}");
        }
    }

    fn files(run: &FinishedRun) -> RunFiles {
        let bytes = Content::Bytes(format!("TN:{}\n", run.run).into_bytes());
        let coverage = vec![
            Artifact {
                path: "coverage/lcov.info".into(),
                content: bytes.clone(),
            },
            Artifact {
                path: "coverage/html/index.html".into(),
                content: bytes,
            },
        ];
        RunFiles::new(run, meta_example::run_meta(), coverage).unwrap()
    }

    fn run(id: &str, scope: &[Part]) -> FinishedRun {
        FinishedRun {
            run: id.to_owned(),
            scope: scope.iter().copied().collect(),
            ..example::run()
        }
    }

    #[test]
    fn a_whole_set_appears() {
        let place = Place::new();
        let saved = place.save(&files(&run("r1", &Part::ALL))).unwrap();
        assert!(saved.locked && saved.ignored.is_none());
        place.checksums_hold();
        insta::assert_snapshot!(place.list(), @r#"
        artifacts/benchmarks/summary.json
        artifacts/checksums.txt
        artifacts/coverage/html/index.html
        artifacts/coverage/lcov.info
        artifacts/meta.json
        artifacts/runs/r1.json
        artifacts/tests/junit.xml
        artifacts/tests/summary.json
        hpc-results.json
        "#);
        assert_eq!(place.read("artifacts/checksums.txt").lines().count(), 7);
        let earlier = load(&place.folder, PATIENCE).unwrap().unwrap();
        assert_eq!(earlier.entries, [files(&run("r1", &Part::ALL)).entry]);
    }

    #[test]
    fn a_partial_run_takes_the_other_part_over() {
        let place = Place::new();
        place.save(&files(&run("r1", &Part::ALL))).unwrap();
        let tests = place.read("artifacts/tests/summary.json");
        place.save(&files(&run("r2", &[Part::Benchmarks]))).unwrap();
        place.checksums_hold();
        assert_eq!(place.read("artifacts/tests/summary.json"), tests);
        assert_eq!(place.read("artifacts/coverage/html/index.html"), "TN:r1\n");
        assert!(
            place
                .read("artifacts/benchmarks/summary.json")
                .contains("\"run\": \"r2\"")
        );
        assert!(place.list().contains("runs/r1.json") && place.list().contains("runs/r2.json"));
        place
            .save(&files(&run("r3", &[Part::Tests, Part::Coverage])))
            .unwrap();
        assert_eq!(place.read("artifacts/coverage/html/index.html"), "TN:r3\n");
        assert!(
            !place.list().contains("runs/r1.json"),
            "nothing of it is left"
        );
    }

    #[test]
    fn of_another_commit_the_other_part_is_skipped() {
        let place = Place::new();
        place.save(&files(&run("r1", &Part::ALL))).unwrap();
        let other = FinishedRun {
            commit: "f".repeat(40),
            ..run("r2", &[Part::Benchmarks])
        };
        place.save(&files(&other)).unwrap();
        place.checksums_hold();
        insta::assert_snapshot!(place.list(), @r#"
        artifacts/benchmarks/summary.json
        artifacts/checksums.txt
        artifacts/meta.json
        artifacts/runs/r2.json
        artifacts/tests/summary.json
        hpc-results.json
        "#);
        let tests =
            serde_json::from_str::<serde_json::Value>(&place.read("artifacts/tests/summary.json"))
                .unwrap();
        assert_eq!(
            (&tests["status"], &tests["commit"]),
            (&"skipped".into(), &"f".repeat(40).into())
        );
    }

    #[test]
    fn what_cannot_be_written_leaves_the_old_set_alone() {
        let place = Place::new();
        place.save(&files(&run("r1", &Part::ALL))).unwrap();
        let before = (place.list(), place.read(RESULTS));
        let mut broken = files(&run("r2", &Part::ALL));
        broken.files.push(Artifact::file(
            "coverage/objects.json",
            place.folder.join("absent"),
        ));
        assert!(matches!(place.save(&broken), Err(StoreError::Io(_))));
        let mut escaping = files(&run("r2", &Part::ALL));
        escaping.entry.run = "../../r2".to_owned();
        assert!(matches!(
            place.save(&escaping),
            Err(StoreError::BadPath { .. })
        ));
        assert_eq!((place.list(), place.read(RESULTS)), before);
        place.checksums_hold();
    }

    #[test]
    fn a_crash_between_two_renames_loses_nothing() {
        let place = Place::new();
        place.save(&files(&run("r1", &Part::ALL))).unwrap();
        let before = place.list();
        fs::rename(place.folder.join(ARTIFACTS), place.folder.join(OLD)).unwrap();
        fs::create_dir(place.folder.join(format!("{NEW}1"))).unwrap();
        let earlier = load(&place.folder, PATIENCE).unwrap().unwrap();
        assert_eq!(earlier.entries.len(), 1);
        assert_eq!(place.list(), before);
        assert!(!place.folder.join(format!("{NEW}1")).exists());
    }

    #[test]
    fn a_file_system_without_exchange_gets_the_set_as_well() {
        let place = Place::new();
        place.save(&files(&run("r1", &Part::ALL))).unwrap();
        let stage = place.folder.join(format!("{NEW}1"));
        fs::create_dir(&stage).unwrap();
        fs::write(stage.join("new"), "").unwrap();
        move_aside(&place.folder, &stage).unwrap();
        assert_eq!(place.list(), "artifacts/new\nhpc-results.json");
        assert!(matches!(
            move_aside(&place.folder, &stage),
            Err(StoreError::Io(_))
        ));
        assert_eq!(
            place.list(),
            "artifacts/new\nhpc-results.json",
            "a set that is not there replaces nothing"
        );
    }

    #[test]
    fn somebody_elses_folder_is_refused() {
        let place = Place::new();
        let thesis = place.folder.join("artifacts/thesis.tex");
        fs::create_dir_all(place.folder.join(ARTIFACTS)).unwrap();
        fs::write(&thesis, "years of work").unwrap();
        let error = place.save(&files(&run("r1", &Part::ALL))).unwrap_err();
        assert!(matches!(error, StoreError::Foreign { .. }) && error.help().is_some());
        assert!(thesis.exists());
    }

    #[test]
    fn what_cannot_be_understood_contributes_nothing_and_is_said() {
        let check = |meta: &str, is_expected: fn(&StoreError) -> bool| {
            let place = Place::new();
            place.save(&files(&run("r1", &Part::ALL))).unwrap();
            fs::write(place.folder.join("artifacts/meta.json"), meta).unwrap();
            let saved = place.save(&files(&run("r2", &[Part::Tests]))).unwrap();
            assert!(
                saved.ignored.as_ref().is_some_and(is_expected),
                "{:?}",
                saved.ignored
            );
            assert_eq!(saved.picture.results.runs, ["r2"]);
        };
        check("{", |error| matches!(error, StoreError::Unreadable { .. }));
        check("{\"schema_version\": 1}", |error| {
            matches!(error, StoreError::Unreadable { .. })
        });
        check("{\"schema_version\": 2}", |error| {
            matches!(error, StoreError::Version { found: 2, .. })
        });
    }

    #[test]
    fn an_entry_that_is_gone_is_said() {
        let place = Place::new();
        place.save(&files(&run("r1", &Part::ALL))).unwrap();
        fs::remove_file(place.folder.join("artifacts/runs/r1.json")).unwrap();
        assert!(matches!(
            load(&place.folder, PATIENCE),
            Err(StoreError::Incomplete { .. })
        ));
        let saved = place.save(&files(&run("r2", &[Part::Tests]))).unwrap();
        assert!(matches!(saved.ignored, Some(StoreError::Incomplete { .. })));
    }

    #[test]
    fn runs_that_end_at_once_both_contribute() {
        let place = Place::new();
        std::thread::scope(|scope| {
            for (id, part) in [
                ("r1", Part::Tests),
                ("r2", Part::Benchmarks),
                ("r3", Part::Coverage),
            ] {
                let place = &place;
                scope.spawn(move || place.save(&files(&run(id, &[part]))).unwrap());
            }
        });
        place.checksums_hold();
        let mut runs = load(&place.folder, PATIENCE).unwrap().unwrap().meta.runs;
        runs.sort_by(|a, b| a.run.cmp(&b.run));
        let parts = runs
            .iter()
            .map(|it| it.parts.as_slice())
            .collect::<Vec<_>>();
        assert_eq!(parts, [[Part::Tests], [Part::Benchmarks], [Part::Coverage]]);
    }

    #[test]
    fn waiting_for_the_lock_has_an_end() {
        let place = Place::new();
        fs::create_dir_all(&place.folder).unwrap();
        let _held = lock(&place.folder, PATIENCE).unwrap();
        let error = lock(&place.folder, Duration::ZERO).unwrap_err();
        assert!(matches!(error, StoreError::Busy { .. }));
    }
}
