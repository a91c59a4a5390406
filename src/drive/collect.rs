//! What an attempt left in its folder: exit record, notes of the ranks, profiles, tracefiles, logs.

use std::path::{Path, PathBuf};

use crate::scheduler::{ExitRecord, verdict::RankExit};

/// How one rank fared, by its own note.
#[derive(Debug, Clone, PartialEq)]
pub struct RankNote {
    /// Its number; `None` where the launcher told none.
    pub rank: Option<u32>,
    /// Its node.
    pub host: String,
    /// Its exit code and when it ended, in seconds since the epoch; `None` if it never came to say.
    pub end: Option<(i32, f64)>,
}

/// The folder that the last start of an attempt wrote into.
///
/// A requeued job starts again in the same folder and keeps its files apart under `restart-N`.
#[must_use]
pub fn last_start(attempt: &Path) -> PathBuf {
    let restart = |number: u32| attempt.join(format!("restart-{number}"));
    let numbers = names(attempt);
    let last = numbers
        .iter()
        .filter_map(|name| name.strip_prefix("restart-")?.parse().ok())
        .max();
    last.map_or_else(|| attempt.to_owned(), restart)
}

/// Returns the exit record of an attempt with the ends of its ranks, the first to end first.
///
/// The order matters: a launcher kills the other ranks when one has failed, so the first end tells the cause. `None` if there
/// is no record, or none that can be read.
#[must_use]
pub fn exit_record(attempt: &Path) -> Option<ExitRecord> {
    let dir = last_start(attempt);
    let text = fs_err::read(dir.join("exit.json")).ok()?;
    let mut record: ExitRecord = serde_json::from_slice(&text)
        .inspect_err(|error| tracing::warn!(dir = %dir.display(), %error, "unreadable exit record"))
        .ok()?;
    let mut notes = rank_notes(&dir);
    notes.sort_by(|a, b| {
        let time = |note: &RankNote| note.end.map_or(f64::INFINITY, |(_, time)| time);
        time(a).total_cmp(&time(b))
    });
    record.ranks = notes
        .into_iter()
        .filter_map(|note| {
            Some(RankExit {
                rank: note.rank?,
                exit_code: note.end?.0,
                host: Some(note.host),
                size: None,
            })
        })
        .collect();
    Some(record)
}

/// Returns the notes of all ranks that began.
#[must_use]
pub fn rank_notes(start: &Path) -> Vec<RankNote> {
    let dir = start.join("ranks");
    names(&dir)
        .iter()
        .filter_map(|name| {
            let text = fs_err::read_to_string(dir.join(name)).ok()?;
            Some(rank_note(name, &text))
        })
        .collect()
}

/// Reads a note: `start HOST TIME`, then `end CODE TIME`; its name begins with `rN.`.
fn rank_note(name: &str, text: &str) -> RankNote {
    let rank = name
        .strip_prefix('r')
        .and_then(|rest| rest.split('.').next())
        .and_then(|number| number.parse().ok());
    let mut note = RankNote {
        rank,
        host: String::new(),
        end: None,
    };
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["start", host, _] => host.clone_into(&mut note.host),
            ["end", code, time] => note.end = code.parse().ok().zip(time.parse().ok()),
            _ => {}
        }
    }
    note
}

/// Returns the files below the `profiles` or `tracefiles` folder of a start, sorted by name.
#[must_use]
pub fn files(start: &Path, folder: &str, ending: &str) -> Vec<PathBuf> {
    let dir = start.join(folder);
    let mut names = names(&dir);
    names.sort_unstable();
    names
        .into_iter()
        .filter(|name| name.ends_with(ending))
        .map(|name| dir.join(name))
        .collect()
}

/// Names in a directory. Reading it also makes a network file system refresh what it knows of it.
#[must_use]
pub fn names(dir: &Path) -> Vec<String> {
    let Ok(entries) = fs_err::read_dir(dir) else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect()
}

#[cfg(test)]
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
}
