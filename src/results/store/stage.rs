//! The new set, written whole into a folder of its own.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{self, Write as _};

use camino::{Utf8Component, Utf8Path, Utf8PathBuf};
use fs_err as fs;
use sha2::{Digest, Sha256};

use super::{CHECKSUMS, META, StoreError, entry_path};
use crate::foreign;
use crate::results::artifact::{self, Artifact, Content, RunFiles};
use crate::results::picture::Picture;

/// Writes the whole new set into `stage`, its checksums last.
pub(super) fn stage_set(
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

/// Writes and syncs a file; returns the sha256 of what was written.
pub(super) fn write(path: &Utf8Path, content: &Content) -> Result<String, StoreError> {
    let mut file = foreign::create(path, 0o666)?;
    let mut hash = Sha256::new();
    match content {
        Content::Bytes(bytes) => {
            hash.update(bytes);
            file.write_all(bytes)?;
        }
        Content::File(source) => {
            chunks(&mut foreign::open(source)?, |bytes| {
                hash.update(bytes);
                file.write_all(bytes)
            })?;
        }
    }
    file.sync_all()?;
    Ok(hex(&hash.finalize()))
}

fn hex(digest: &[u8]) -> String {
    digest.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").ok();
        text
    })
}

/// Returns the sha256 of what can be read, which may be much.
pub fn sha256(from: &mut impl io::Read) -> io::Result<String> {
    let mut hash = Sha256::new();
    chunks(from, |bytes| {
        hash.update(bytes);
        Ok(())
    })?;
    Ok(hex(&hash.finalize()))
}

fn chunks(
    from: &mut impl io::Read,
    mut take: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 16];
    loop {
        let count = from.read(&mut buffer)?;
        let Some(bytes @ [_, ..]) = buffer.get(..count) else {
            return Ok(());
        };
        take(bytes)?;
    }
}

/// Returns `path` below `folder`, provided that it stays there.
pub(super) fn below(folder: &Utf8Path, path: &Utf8Path) -> Result<Utf8PathBuf, StoreError> {
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

pub(super) fn sync_folder(folder: &Utf8Path) -> Result<(), StoreError> {
    match fs::File::open(folder)?.sync_all() {
        // Some file systems cannot sync a folder; they order names by themselves.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        other => Ok(other?),
    }
}
