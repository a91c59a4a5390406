//! What stands there, read back.

use std::io;

use camino::Utf8Path;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{ARTIFACTS, META, StoreError, entry_path};
use crate::foreign;
use crate::results::picture::Earlier;
use crate::results::record::{Meta, RunEntry, SCHEMA_VERSION};

pub(super) fn read(folder: &Utf8Path) -> Result<Option<Earlier>, StoreError> {
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
    let bytes = match foreign::read(path, foreign::DOCUMENT) {
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
