//! What an attempt left in its folder: exit record, notes of the ranks, profiles, tracefiles, logs.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::coverage::live;
use crate::foreign::{self, names};
use crate::process::tail;
use crate::results::record::{ProfileStorage, StorageKind};
use crate::scheduler::{ExitRecord, Harness, Launched, RankExit};

/// Lines of a step's log that travel with its result: a launcher that tells of a failure fills half of them.
const TAIL_LINES: usize = 40;
/// The end of a log that is read for them.
const TAIL_BYTES: u64 = 64 * 1024;

/// How the script on the first node of a step started it; it stands in the exit record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Host {
    /// Its name.
    #[serde(rename = "host")]
    pub(super) name: Option<String>,
    /// The family of MPI that the program is linked with.
    pub(super) mpi: Option<String>,
    /// The MPI library that it loads.
    pub(super) library: Option<String>,
    /// All libraries that its loader finds for it, with colons between them.
    libraries: Option<String>,
    /// The linear algebra library that it loads.
    pub(super) blas: Option<String>,
    /// The launcher's command line.
    pub(super) launch: Option<String>,
    /// The modules that were loaded, with colons between them.
    modules: Option<String>,
    /// The variables that change how programs run.
    pub(super) environment: BTreeMap<String, String>,
}

impl Host {
    /// Returns the modules that were loaded.
    pub(super) fn modules(&self) -> Vec<String> {
        listed(self.modules.as_ref()).map(str::to_owned).collect()
    }

    /// Returns the paths of the libraries that the program loads.
    pub(super) fn libraries(&self) -> impl Iterator<Item = &str> {
        listed(self.libraries.as_ref())
    }
}

/// Returns what stands between colons.
fn listed(list: Option<&String>) -> impl Iterator<Item = &str> {
    let list = list.map(String::as_str).unwrap_or_default();
    list.split(':').filter(|name| !name.is_empty())
}

/// How one rank fared, by its own note.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct RankNote {
    /// Its number; `None` where the launcher told none.
    pub(super) rank: Option<u32>,
    /// Its node.
    pub(super) host: String,
    /// When it began, in seconds since the epoch.
    pub(super) started: f64,
    /// The processors that it could use, of benchmarks.
    pub(super) cpus: Option<String>,
    /// The launch that it belongs to, of a command that starts MPI by itself.
    pub(super) launch: Option<String>,
    /// The sizes of the worlds that MPI told its processes.
    pub(super) worlds: Vec<u32>,
    /// The MPI that one of its processes started, without telling the size of its world.
    pub(super) family: Option<String>,
    /// Its exit code and when it ended, in seconds since the epoch; `None` if it never came to say.
    pub(super) end: Option<(i32, f64)>,
}

impl RankNote {
    /// Returns the size of its world: what the step asks for if any process saw that, since a rank may start others that are alone.
    fn world(&self, expected: u32) -> Option<u32> {
        let found = self.worlds.iter().find(|size| **size == expected);
        found.or(self.worlds.iter().max()).copied()
    }
}

/// The folder that the last start of an attempt wrote into.
///
/// A requeued job starts again in the same folder and keeps its files apart under `restart-N`.
pub(super) fn last_start(attempt: &Path) -> PathBuf {
    let restart = |number: u32| attempt.join(format!("restart-{number}"));
    let numbers = names(attempt);
    let last = numbers
        .iter()
        .filter_map(|name| name.strip_prefix("restart-")?.parse().ok())
        .filter(|number| fs_err::symlink_metadata(restart(*number)).is_ok_and(|it| it.is_dir()))
        .max();
    last.map_or_else(|| attempt.to_owned(), restart)
}

/// Returns whether the script of an attempt ever ran.
pub(super) fn has_started(attempt: &Path) -> bool {
    last_start(attempt).join("ranks").exists()
}

/// Returns the exit record of an attempt with the ends of its ranks, the first to end first.
///
/// The order matters: a launcher kills the other ranks when one has failed, so the first end tells the cause. `None` if there
/// is no record, or none that can be read.
pub(super) fn exit_record(attempt: &Path) -> Option<ExitRecord> {
    let dir = last_start(attempt);
    let text = foreign::read(dir.join("exit.json"), foreign::RECORD).ok()?;
    let mut record: ExitRecord = serde_json::from_slice(&text)
        .inspect_err(|error| tracing::warn!(dir = %dir.display(), %error, "unreadable exit record"))
        .ok()?;
    let mut notes = rank_notes(&dir);
    notes.sort_by(|a, b| {
        let time = |note: &RankNote| note.end.map_or(f64::INFINITY, |(_, time)| time);
        time(a).total_cmp(&time(b))
    });
    let expected = record.ranks_expected;
    record.harness = harness(&dir, &notes);
    record.ranks = notes
        .into_iter()
        .map(|note| RankExit {
            rank: note.rank,
            exit_code: note.end.map(|(code, _)| code),
            size: note.world(expected),
            family: note.family.filter(|_| note.worlds.is_empty()),
            host: Some(note.host),
        })
        .collect();
    Some(record)
}

/// Returns what was seen of the launches of a command that starts MPI by itself.
pub(super) fn harness(start: &Path, notes: &[RankNote]) -> Harness {
    let dir = start.join("launches");
    let mut harness = Harness::default();
    for name in names(&dir) {
        let text = foreign::read_to_string(dir.join(&name), foreign::RECORD).unwrap_or_default();
        if name == "beside" {
            let worlds = text
                .lines()
                .filter(|line| line.starts_with("world ") || line.starts_with("mpi "));
            harness.beside = u32::try_from(worlds.count()).unwrap_or(u32::MAX);
            continue;
        }
        let Some(count) = text.strip_prefix("ranks ") else {
            harness.unknown += 1;
            continue;
        };
        let own = notes
            .iter()
            .filter(|note| note.launch.as_deref() == Some(&name));
        harness.launches.push(Launched {
            ranks: count.split(' ').next().and_then(|count| count.parse().ok()),
            sizes: own.flat_map(|note| note.worlds.iter().copied()).collect(),
        });
    }
    harness
}

/// Returns what the script of an attempt saw of its node.
pub(super) fn host(attempt: &Path) -> Option<Host> {
    let text = foreign::read(last_start(attempt).join("exit.json"), foreign::RECORD).ok()?;
    serde_json::from_slice(&text).ok()
}

/// Returns the last lines of a log; empty if there is none.
pub(super) fn log_tail(path: &Path) -> String {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = foreign::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    tail(
        &String::from_utf8_lossy(&read().unwrap_or_default()),
        TAIL_LINES,
    )
}

/// Returns the notes of all ranks that began.
pub(super) fn rank_notes(start: &Path) -> Vec<RankNote> {
    let dir = start.join("ranks");
    names(&dir)
        .iter()
        .filter_map(|name| {
            let text = foreign::read_to_string(dir.join(name), foreign::RECORD).ok()?;
            Some(rank_note(name, &text))
        })
        .collect()
}

/// Returns where the processes of each node wrote profiles, as `node.sh` chose it; nodes where nobody chose are left out.
pub(super) fn storage(start: &Path) -> Vec<ProfileStorage> {
    let dir = start.join("storage");
    let mut nodes = names(&dir);
    nodes.sort_unstable();
    nodes
        .into_iter()
        .filter_map(|node| {
            let choice =
                foreign::read_to_string(dir.join(&node).join("use"), foreign::NOTE).ok()?;
            let (kind, rest) = choice.trim_end().split_once(' ')?;
            let (storage, reason) = match kind {
                "scratch" => (StorageKind::Scratch, None),
                _ => (StorageKind::Shared, Some(rest.to_owned())),
            };
            Some(ProfileStorage {
                node,
                storage,
                reason,
            })
        })
        .collect()
}

/// Returns the nodes whose processes wrote to the node's disk, and which did not say that they are done with it.
pub(super) fn silent(start: &Path, storage: &[ProfileStorage]) -> BTreeSet<String> {
    let dir = start.join("storage");
    let silent = storage.iter().filter(|node| {
        node.storage == StorageKind::Scratch && !dir.join(&node.node).join("done").exists()
    });
    silent.map(|node| node.node.clone()).collect()
}

/// Reads a note: `start HOST TIME`, maybe `cpus LIST`, what `world.c` says of each process, then `end CODE TIME`; its name begins with
/// `rN.`.
fn rank_note(name: &str, text: &str) -> RankNote {
    let rank = name
        .strip_prefix('r')
        .and_then(|rest| rest.split('.').next())
        .and_then(|number| number.parse().ok());
    let mut note = RankNote {
        rank,
        host: String::new(),
        started: 0.0,
        cpus: None,
        launch: None,
        worlds: Vec::new(),
        family: None,
        end: None,
    };
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["start", host, time] => {
                host.clone_into(&mut note.host);
                note.started = time.parse().unwrap_or_default();
            }
            ["cpus", list] => note.cpus = Some(list.to_owned()),
            ["launch", launch] => note.launch = Some(launch.to_owned()),
            ["world", size, _, _] => note.worlds.extend(size.parse::<u32>()),
            ["mpi", family] => note.family = Some(family.to_owned()),
            ["end", code, time] => note.end = code.parse().ok().zip(time.parse().ok()),
            _ => {}
        }
    }
    note
}

/// Returns the raw profiles of a start, sorted by name.
pub(super) fn profiles(start: &Path) -> Vec<PathBuf> {
    live::each_process_once(files(start, "profiles", ".profraw"))
}

/// Returns the files below the `profiles` or `tracefiles` folder of a start, sorted by name.
pub(super) fn files(start: &Path, folder: &str, ending: &str) -> Vec<PathBuf> {
    let dir = start.join(folder);
    let mut names = names(&dir);
    names.sort_unstable();
    names
        .into_iter()
        .filter(|name| name.ends_with(ending))
        .map(|name| dir.join(name))
        .collect()
}

/// Returns the name of a file.
pub(super) fn name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn notes_tell_who_ended_and_who_did_not() {
        let ended = rank_note("r3.n1.77", "start n1 5.0\nend 139 7.25\n");
        assert_eq!((ended.rank, ended.end), (Some(3), Some((139, 7.25))));
        let killed = rank_note("r0.n2.78", "start n2 5.0\n");
        assert_eq!((killed.host.as_str(), killed.end), ("n2", None));
        assert_eq!(rank_note("rx.n2.78", "").rank, None);
    }

    /// Each program of MPI that a rank starts adds a line.
    #[test]
    fn a_rank_that_starts_many_programs_is_heard() {
        let dir = tempfile::tempdir().unwrap();
        let ranks = dir.path().join("ranks");
        fs_err::create_dir(&ranks).unwrap();
        let worlds = "world 4 0 openmpi\n".repeat(20_000);
        let text = format!("start n1 5.0\n{worlds}end 0 7.0\n");
        fs_err::write(ranks.join("r0.n1.7"), text).unwrap();
        let notes = rank_notes(dir.path());
        assert_eq!(notes.len(), 1);
        assert_eq!((notes[0].end, notes[0].world(4)), (Some((0, 7.0)), Some(4)));
    }
}
