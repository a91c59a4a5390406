//! The journal of a run: one event a line, on disk before anybody acts on it.
//!
//! `{"version": 1, "time": ..., "event": ..., ...}`. A last line without its end was being written when the driver died, and
//! counts for nothing. An event that this version does not know makes the journal unreadable for it: to leave one out could
//! mean to submit a job twice.

use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use super::event::Event;
use crate::foreign;
use crate::lease::{Claim, Hold, Lease};
use crate::remedy;

/// The version of the journal's lines.
const VERSION: u32 = 1;

/// A journal that could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The operating system refused.
    #[error("cannot write the journal `{}`", path.display())]
    Write {
        /// The journal.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The operating system refused.
    #[error("cannot read the journal `{}`", path.display())]
    Read {
        /// The journal.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A line of a newer hpc-ci.
    #[error("line {line} of `{}` was written by a newer hpc-ci: {what}", path.display())]
    Newer {
        /// The journal.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is not known here.
        what: String,
    },
    /// A line that is none.
    #[error("line {line} of `{}` cannot be read", path.display())]
    Damaged {
        /// The journal.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// An event that cannot be written as JSON.
    #[error("an event cannot be written to the journal")]
    Encode(#[from] serde_json::Error),
    /// This process was silent for so long that another took the run over.
    #[error("{by} has taken this run over")]
    TakenOver {
        /// Who has it now.
        by: Box<Claim>,
    },
    /// The run folder was removed under the driver.
    #[error("the run folder `{}` is gone", path.display())]
    Vanished {
        /// The folder.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Nobody can tell whether this process still has the run.
    #[error("cannot tell who drives the run in `{}`", path.display())]
    Unanswered {
        /// The run folder.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
}

impl JournalError {
    /// Returns what to do about it.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Newer { .. } => Some(
                "use the hpc-ci that began the run; its copy stands beside the journal".to_owned(),
            ),
            Self::TakenOver { .. } => {
                Some("`hpc-ci status` shows how far it is; its jobs are untouched".to_owned())
            }
            Self::Vanished { path, source } => Some(match remedy::number(source) {
                Some(Errno::ESTALE) => remedy::of_file(source, path)?,
                _ => "somebody removed it, and what it held is lost; `squeue --me` shows jobs that go on without it, and \
                      `hpc-ci` begins a new run"
                    .to_owned(),
            }),
            Self::Write { path, source } | Self::Unanswered { path, source } => {
                let advice = remedy::of_file(source, path).map(|it| format!("{it}\n"));
                Some(format!(
                    "{}jobs go on meanwhile, and `hpc-ci resume` follows them",
                    advice.unwrap_or_default()
                ))
            }
            Self::Read { path, source } => remedy::of_file(source, path),
            Self::Damaged { .. } | Self::Encode(_) => None,
        }
    }
}

/// An event with its time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    version: u32,
    /// When it was written.
    pub time: DateTime<Utc>,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// What every line has, whatever its version.
#[derive(Deserialize)]
struct Head {
    version: u32,
    event: String,
}

/// Every event that this version knows.
const EVENTS: &[&str] = &[
    "started",
    "resumed",
    "chosen",
    "built",
    "build_failed",
    "submitting",
    "submitted",
    "not_submitted",
    "cancelling",
    "abandoned",
    "ended",
    "stopping",
    "finished",
];

/// Returns the events of a journal; none if there is no journal.
pub fn read(path: &Path) -> Result<Vec<Line>, JournalError> {
    let failed = |source| JournalError::Read {
        path: path.to_owned(),
        source,
    };
    let text = match foreign::read(path, foreign::DOCUMENT) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    parse(path, &text)
}

fn parse(path: &Path, text: &[u8]) -> Result<Vec<Line>, JournalError> {
    let whole = &text[..whole_length(text)];
    whole
        .split_inclusive(|byte| *byte == b'\n')
        .enumerate()
        .map(|(index, text)| {
            let line = index + 1;
            let damaged = |source| JournalError::Damaged {
                path: path.to_owned(),
                line,
                source,
            };
            let newer = |what| JournalError::Newer {
                path: path.to_owned(),
                line,
                what,
            };
            let head: Head = serde_json::from_slice(text).map_err(damaged)?;
            if head.version > VERSION {
                return Err(newer(format!("version {}", head.version)));
            }
            if !EVENTS.contains(&head.event.as_str()) {
                return Err(newer(format!("the event `{}`", head.event)));
            }
            serde_json::from_slice(text).map_err(damaged)
        })
        .collect()
}

/// The length of the lines that were written to their end.
fn whole_length(text: &[u8]) -> usize {
    text.iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1)
}

/// A journal open for appending, by the process that holds the run.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: fs_err::File,
    lease: Option<Lease>,
}

impl Journal {
    /// Opens the journal of a run, making it if it is new, and returns what stands in it. The journal of a pack has one writer
    /// anyway, and needs no lease.
    pub fn open(path: &Path, lease: Option<Lease>) -> Result<(Self, Vec<Line>), JournalError> {
        let lines = read(path)?;
        let failed = |source| JournalError::Write {
            path: path.to_owned(),
            source,
        };
        let file = foreign::append(path).map_err(failed)?;
        let text = foreign::read(path, foreign::DOCUMENT).map_err(failed)?;
        file.set_len(whole_length(&text) as u64).map_err(failed)?;
        let journal = Self {
            path: path.to_owned(),
            file,
            lease,
        };
        Ok((journal, lines))
    }

    /// Appends an event and waits until it is on disk.
    pub fn append(&mut self, event: &Event) -> Result<(), JournalError> {
        self.append_all(std::slice::from_ref(event))
    }

    /// Appends events and waits, once, until they are on disk.
    pub fn append_all(&mut self, events: &[Event]) -> Result<(), JournalError> {
        if events.is_empty() {
            return Ok(());
        }
        if let Some(lease) = &self.lease {
            let path = lease.folder().to_owned();
            match lease.check() {
                Hold::Kept => {}
                Hold::Followed(by) => return Err(JournalError::TakenOver { by }),
                Hold::Gone(source) => return Err(JournalError::Vanished { path, source }),
                Hold::Unknown(source) => return Err(JournalError::Unanswered { path, source }),
            }
        }
        let mut lines = Vec::new();
        for event in events {
            let line = Line {
                version: VERSION,
                time: Utc::now(),
                event: event.clone(),
            };
            serde_json::to_writer(&mut lines, &line)?;
            lines.push(b'\n');
        }
        self.file
            .write_all(&lines)
            .and_then(|()| self.file.sync_data())
            .map_err(|source| JournalError::Write {
                path: self.path.clone(),
                source,
            })
    }

    /// Returns the claim that allows this process to write.
    #[must_use]
    pub fn lease(&self) -> Option<&Lease> {
        self.lease.as_ref()
    }
}

/// Reads a journal that somebody else writes, from where it was left the last time.
#[derive(Debug)]
pub(super) struct Follower {
    path: PathBuf,
    offset: u64,
}

impl Follower {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, offset: 0 }
    }

    /// Returns the events that were added since the last call; a line that is not whole yet is left for the next.
    pub(super) fn events(&mut self) -> Vec<Event> {
        let mut bytes = Vec::new();
        let read = foreign::open(&self.path).and_then(|mut file| {
            file.seek(SeekFrom::Start(self.offset))?;
            file.read_to_end(&mut bytes)
        });
        if read.is_err() {
            return Vec::new();
        }
        let whole = bytes.iter().rposition(|byte| *byte == b'\n');
        let whole = &bytes[..whole.map_or(0, |end| end + 1)];
        self.offset += whole.len() as u64;
        whole
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .filter_map(|line| {
                serde_json::from_slice::<Line>(line)
                    .inspect_err(|error| {
                        tracing::warn!(path = %self.path.display(), %error, "a line of a journal cannot be read");
                    })
                    .ok()
            })
            .map(|line| line.event)
            .collect()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::lease;

    fn open(dir: &Path) -> (Journal, Vec<Line>) {
        let lease = lease::take(dir, "lease", "a test").unwrap().unwrap();
        Journal::open(&dir.join("journal.jsonl"), Some(lease)).unwrap()
    }

    fn stopping(signal: i32) -> Event {
        Event::Stopping { signal }
    }

    #[test]
    fn what_was_appended_is_read_again_and_a_torn_line_counts_for_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (mut journal, lines) = open(dir.path());
        assert_eq!(lines, []);
        for signal in [1, 2] {
            journal.append(&stopping(signal)).unwrap();
        }
        drop(journal);
        let path = dir.path().join("journal.jsonl");
        let whole = fs_err::read(&path).unwrap();
        let events =
            |lines: Vec<Line>| -> Vec<Event> { lines.into_iter().map(|line| line.event).collect() };
        for cut in 0..whole.len() {
            fs_err::write(&path, &whole[..cut]).unwrap();
            let (mut journal, lines) = open(dir.path());
            let complete = String::from_utf8_lossy(&whole[..cut]).matches('\n').count();
            assert_eq!(lines.len(), complete, "cut at {cut}");
            journal.append(&stopping(9)).unwrap();
            let last = events(read(&path).unwrap()).pop();
            assert_eq!(last, Some(stopping(9)), "cut at {cut}");
        }
    }

    #[test]
    fn what_a_newer_version_wrote_is_refused() {
        let path = Path::new("journal.jsonl");
        let check = |text: &str, expected: &str| {
            let error = parse(path, text.as_bytes()).unwrap_err();
            assert_eq!(error.to_string(), expected);
        };
        check(
            "{\"version\":2,\"time\":\"2026-11-20T12:00:00Z\",\"event\":\"stopping\",\"signal\":2}\n",
            "line 1 of `journal.jsonl` was written by a newer hpc-ci: version 2",
        );
        check(
            "{\"version\":1,\"time\":\"2026-11-20T12:00:00Z\",\"event\":\"paused\"}\n",
            "line 1 of `journal.jsonl` was written by a newer hpc-ci: the event `paused`",
        );
        check("nonsense\n", "line 1 of `journal.jsonl` cannot be read");
        check(
            "{\"version\":1,\"time\":\"2026-11-20T12:00:00Z\",\"event\":\"stopping\"}\n",
            "line 1 of `journal.jsonl` cannot be read",
        );
    }

    #[test]
    fn who_lost_the_run_writes_nothing_more() {
        let dir = tempfile::tempdir().unwrap();
        let (mut journal, _) = open(dir.path());
        // As another process does that takes this one for dead.
        fs_err::write(dir.path().join("lease.2"), "").unwrap();
        fs_err::remove_file(dir.path().join("lease.1")).unwrap();
        let error = journal.append(&stopping(2)).unwrap_err();
        assert!(matches!(error, JournalError::TakenOver { .. }));
        assert_eq!(read(&dir.path().join("journal.jsonl")).unwrap(), []);
    }

    #[test]
    fn a_run_whose_folder_is_gone_was_not_taken_over() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("run");
        fs_err::create_dir(&folder).unwrap();
        let (mut journal, _) = open(&folder);
        fs_err::remove_dir_all(&folder).unwrap();
        let error = journal.append(&stopping(2)).unwrap_err();
        let said = format!("the run folder `{}` is gone", folder.display());
        assert_eq!(error.to_string(), said);
        assert!(error.help().unwrap().starts_with("somebody removed it"));
    }

    #[test]
    fn the_advice_follows_from_what_the_operating_system_said() {
        let check = |number: Errno, begin: &str| {
            let error = JournalError::Write {
                path: PathBuf::from("/w/journal.jsonl"),
                source: std::io::Error::from_raw_os_error(number as i32),
            };
            let help = error.help().unwrap();
            assert!(help.starts_with(begin), "{help}");
            assert!(help.ends_with("`hpc-ci resume` follows them"), "{help}");
        };
        check(Errno::EDQUOT, "your quota there is used up");
        check(Errno::ENOSPC, "no room is left there");
        check(Errno::EROFS, "its file system is mounted read-only");
        check(Errno::ESTALE, "the file server does not know it any more");
        check(Errno::EINVAL, "jobs go on meanwhile");
    }
}
