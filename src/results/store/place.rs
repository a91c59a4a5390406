//! The place of the artifacts: who may write there, what a crash left, and how a new set takes the place of the old one.

use std::io;
use std::time::Duration;

use camino::Utf8Path;
use fs_err as fs;
use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::stage::{sync_folder, write};
use super::{ARTIFACTS, CHECKSUMS, LOCK, META, NEW, OLD, StoreError};
use crate::lease::{self, Lease};
use crate::results::artifact::Artifact;

/// Locks of the operating system do not reach over every network file system, so this is a lease.
pub(super) fn lock(folder: &Utf8Path, patience: Duration) -> Result<Lease, StoreError> {
    let taken = lease::take_within(folder.as_std_path(), LOCK, "writes artifacts", patience)?;
    taken.map_err(|claim| StoreError::Busy {
        folder: folder.to_owned(),
        holder: claim.to_string(),
        patience,
    })
}

/// Puts right what a crash left behind. Only who holds the lock knows that nobody is still writing a new set.
pub(super) fn recover(folder: &Utf8Path) -> Result<(), StoreError> {
    let (artifacts, old) = (folder.join(ARTIFACTS), folder.join(OLD));
    if old.exists() {
        if artifacts.exists() {
            remove(&old)?;
        } else {
            fs::rename(&old, &artifacts)?;
        }
    }
    for entry in fs::read_dir(folder)? {
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
pub(super) fn check_ours(artifacts: &Utf8Path) -> Result<(), StoreError> {
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
    // Whatever became of them.
    let has = |name: &str| fs::symlink_metadata(artifacts.join(name)).is_ok();
    if is_empty || (has(META) && has(CHECKSUMS)) {
        Ok(())
    } else {
        Err(foreign())
    }
}

/// Lets the new set take the place of the old one.
pub(super) fn exchange(folder: &Utf8Path, stage: &Utf8Path) -> Result<(), StoreError> {
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
pub(super) fn move_aside(folder: &Utf8Path, stage: &Utf8Path) -> Result<(), StoreError> {
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
pub(super) fn replace(folder: &Utf8Path, artifact: &Artifact) -> Result<(), StoreError> {
    let temporary = folder.join(format!(".{}.{}", artifact.path, std::process::id()));
    write(&temporary, &artifact.content)?;
    fs::rename(&temporary, folder.join(&artifact.path))?;
    sync_folder(folder)
}

pub(super) fn remove(folder: &Utf8Path) -> Result<(), StoreError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}
