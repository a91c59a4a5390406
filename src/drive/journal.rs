//! The journal of a run: one event a line, on disk before anybody acts on it.

use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::state::Event;

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
    /// An event that cannot be written as JSON.
    #[error("an event cannot be written to the journal")]
    Encode(#[from] serde_json::Error),
}

#[derive(Debug, Serialize, Deserialize)]
struct Line {
    version: u32,
    time: chrono::DateTime<chrono::Utc>,
    #[serde(flatten)]
    event: Event,
}

/// A journal open for appending.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: fs_err::File,
}

impl Journal {
    /// Opens the journal of a run, making it if it is new.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let file = fs_err::OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .map_err(|source| JournalError::Write {
                path: path.to_owned(),
                source,
            })?;
        Ok(Self {
            path: path.to_owned(),
            file,
        })
    }

    /// Appends an event and waits until it is on disk.
    pub fn append(&mut self, event: &Event) -> Result<(), JournalError> {
        self.append_all(std::slice::from_ref(event))
    }

    /// Appends events and waits, once, until they are on disk.
    pub fn append_all(&mut self, events: &[Event]) -> Result<(), JournalError> {
        let mut lines = Vec::new();
        for event in events {
            serde_json::to_writer(
                &mut lines,
                &Line {
                    version: VERSION,
                    time: chrono::Utc::now(),
                    event: event.clone(),
                },
            )?;
            lines.push(b'\n');
        }
        if lines.is_empty() {
            return Ok(());
        }
        self.file
            .write_all(&lines)
            .and_then(|()| self.file.sync_data())
            .map_err(|source| JournalError::Write {
                path: self.path.clone(),
                source,
            })
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
        let read = fs_err::File::open(&self.path).and_then(|mut file| {
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
