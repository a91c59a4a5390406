//! What a node says of its sum: `node.HOST.N.json` beside `node.HOST.N.profraw`.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::super::rank_hits::{RankHits, RankHitsError};
use crate::foreign;

/// The profiles behind the sum of one node.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct NodeRecord {
    schema_version: u32,
    /// The node.
    pub host: String,
    /// The names of the profiles that are in the sum.
    pub files: Vec<String>,
    /// The names of those that hold nothing: their processes died before they could write.
    pub empty: Vec<String>,
    /// The binaries that they are of.
    pub binaries: Vec<NodeBinary>,
    /// Which ranks reached what, as [`RankHits`] stores it.
    rank_hits: Box<RawValue>,
}

/// A binary of a sum.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeBinary {
    /// Its build ids in hexadecimal.
    pub build_ids: Vec<String>,
    /// The numbers of its profiles among [`NodeRecord::files`].
    pub files: Vec<usize>,
}

/// Why a record is of no use.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// It could not be read.
    #[error("unreadable: {0}")]
    Io(#[from] io::Error),
    /// It is not of the expected form.
    #[error("not the record of a node")]
    Form(#[from] serde_json::Error),
    /// It is of another version.
    #[error("the record of a node of version {0}")]
    Version(u32),
    /// What it says of the ranks cannot be read.
    #[error(transparent)]
    Hits(#[from] RankHitsError),
}

const VERSION: u32 = 1;
const SUM: &str = ".profraw";
const RECORD: &str = ".json";

impl NodeRecord {
    pub(super) fn new(host: &str, hits: &RankHits) -> Self {
        Self {
            schema_version: VERSION,
            host: host.to_owned(),
            rank_hits: RawValue::from_string(hits.to_json()).unwrap_or_default(),
            ..Self::default()
        }
    }

    /// Reads a record.
    pub fn read(path: &Path) -> Result<Self, RecordError> {
        let record: Self = serde_json::from_slice(&foreign::read(path, foreign::DOCUMENT)?)?;
        match record.schema_version {
            VERSION => Ok(record),
            other => Err(RecordError::Version(other)),
        }
    }

    /// Returns which ranks reached what.
    pub fn rank_hits(&self) -> Result<RankHits, RecordError> {
        Ok(RankHits::from_json(self.rank_hits.get())?)
    }

    /// Returns the names of the profiles of binaries with this build id, in order; none stands for binaries without.
    #[must_use]
    pub fn files_with(&self, build_id: Option<&str>) -> Vec<&str> {
        let with_id = |binary: &&NodeBinary| match build_id {
            Some(build_id) => binary.build_ids.iter().any(|id| id == build_id),
            None => binary.build_ids.is_empty(),
        };
        let of_binary = |binary: &NodeBinary| binary.files.clone();
        let mut numbers: Vec<usize> = self
            .binaries
            .iter()
            .filter(with_id)
            .flat_map(of_binary)
            .collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
            .iter()
            .filter_map(|&at| self.files.get(at).map(String::as_str))
            .collect()
    }

    pub(super) fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Returns the rank that a profile's name tells: `rN.HOST.PID.profraw`.
#[must_use]
pub fn rank_of(name: &str) -> Option<u32> {
    name.strip_prefix('r')?.split('.').next()?.parse().ok()
}

/// Returns the records in a folder, by name.
pub fn records(folder: &Path) -> io::Result<Vec<PathBuf>> {
    files(folder, "node.")
}

/// Returns the sum that a record speaks of; there is none if all of its profiles were empty.
#[must_use]
pub fn sum_of(record: &Path) -> PathBuf {
    record.with_extension(SUM.trim_start_matches('.'))
}

/// Returns whether this is the name of a node's sum.
#[must_use]
pub fn is_sum(name: &str) -> bool {
    name.starts_with("node.") && name.ends_with(SUM)
}

pub(super) fn files_of(folder: &Path, host: &str) -> io::Result<Vec<PathBuf>> {
    files(folder, &format!("node.{host}."))
}

fn files(folder: &Path, start: &str) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs_err::read_dir(folder)? {
        let name = entry?.file_name().into_string().unwrap_or_default();
        if name.starts_with(start) && name.ends_with(RECORD) {
            found.push(folder.join(name));
        }
    }
    found.sort_unstable();
    Ok(found)
}

pub(super) fn sum_name(host: &str, number: usize) -> String {
    format!("node.{host}.{number}{SUM}")
}

pub(super) fn record_name(host: &str, number: usize) -> String {
    format!("node.{host}.{number}{RECORD}")
}
