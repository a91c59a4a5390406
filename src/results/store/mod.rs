//! The artifacts on disk: a set appears whole or not at all, and the set before it stays until then.
//!
//! The new set is written and synced in a folder of its own beside `artifacts/`, then the two change places in one
//! operation of the file system. Where that is not offered (NFS, for one), the old set is moved aside first; a crash in
//! between leaves `.artifacts.old`, which the next call puts back. `hpc-results.json` is replaced last; it holds nothing
//! that cannot be made again from `artifacts/`. `artifacts/` belongs to hpc-ci: a folder of that name that it did not
//! make is refused.

mod place;
mod read;
mod stage;
#[cfg(test)]
mod tests;

use std::io;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use chrono::{DateTime, Utc};
use fs_err as fs;

use super::artifact::{Artifact, RunFiles};
use super::picture::{self, Earlier, Picture};
use super::record::SCHEMA_VERSION;
use crate::foreign;
use crate::lease::Hold;
use crate::remedy;
use place::{check_ours, exchange, lock, recover, remove, replace};
use read::read;
pub use read::{document, open};
pub use stage::sha256;
use stage::stage_set;

const ARTIFACTS: &str = "artifacts";
const META: &str = "meta.json";
const CHECKSUMS: &str = "checksums.txt";
const RESULTS: &str = "hpc-results.json";
const OLD: &str = ".artifacts.old";
const NEW: &str = ".artifacts.new-";
const LOCK: &str = ".artifacts.lock";

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
    #[error("{holder} still writes to `{folder}` after {} s", patience.as_secs())]
    Busy {
        /// The folder that holds `artifacts/`.
        folder: Utf8PathBuf,
        /// Who has it.
        holder: String,
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
            Self::Busy { .. } => Some(
                "`hpc-ci resume` tries again; who gives no sign of life for a minute is passed over".to_owned(),
            ),
            Self::Version { .. } => Some("use the newer hpc-ci that wrote it".to_owned()),
            Self::Io(error) => remedy::of_named(error),
            _ => None,
        }
    }
}

impl StoreError {
    /// Whether an earlier set is there and cannot be understood.
    fn is_about_content(&self) -> bool {
        match self {
            Self::Unreadable { .. } | Self::Incomplete { .. } | Self::Version { .. } => true,
            Self::Io(error) => foreign::is_refusal(error),
            _ => false,
        }
    }
}

/// What was written.
#[derive(Debug)]
pub struct Saved {
    /// What stands there now.
    pub picture: Picture,
    /// Why an earlier set could not be understood; it contributes nothing then.
    pub ignored: Option<StoreError>,
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
    recover(folder)?;
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
    let ours = || {
        // Whoever was stopped for so long that another took over must not overwrite what that one wrote.
        match lock.check() {
            Hold::Kept => Ok(()),
            Hold::Followed(claim) => Err(StoreError::Busy {
                folder: folder.to_owned(),
                holder: claim.to_string(),
                patience,
            }),
            Hold::Gone(error) | Hold::Unknown(error) => Err(StoreError::Io(error)),
        }
    };
    if let Err(error) = staged
        .and_then(|()| ours())
        .and_then(|()| exchange(folder, &stage))
    {
        remove(&stage)?;
        return Err(error);
    }
    let results = Artifact::json(RESULTS, &picture.results)?;
    replace(folder, &results)?;
    Ok(Saved { picture, ignored })
}

/// Reads what stands in `folder`: none if there is nothing.
pub fn load(folder: &Utf8Path, patience: Duration) -> Result<Option<Earlier>, StoreError> {
    if fs::symlink_metadata(folder.join(OLD)).is_ok() {
        let _lock = lock(folder, patience)?;
        recover(folder)?;
    }
    read(folder)
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
