//! The part of a reduction that happens on a node of an allocation.
//!
//! The ranks of a node write their profiles to a folder of that node. When they have ended, [`reduce`] adds them up and leaves
//! three things on shared storage: the sum, a [`NodeRecord`] of whose profiles are in it, and, as they are, the profiles that
//! are of no use to it, for whoever reads the sum to judge. Reducing the sums of all nodes gives what reducing all profiles
//! in one place would have given.
//!
//! Everything may be killed at any moment: files appear whole or not at all, the record comes last, and profiles that a record
//! names are never added again. Who runs this on the nodes, and where the folders are, is left to others.

mod index;
mod record;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufWriter, Read as _, Write as _};
use std::path::{Path, PathBuf};

pub use index::{IndexedObject, ObjectIndex};
pub use record::{NodeBinary, NodeRecord, RecordError, is_sum, rank_of, records, sum_of};

use super::live;
use super::profile::{MAX_PROFILE, Shape};
use super::rank_hits::{Programs, RankHits, RankWatch};
use super::reduce::{self as reduction, Options, Outcome, Reduction};
use super::source::{Binary, find_profiles};
use crate::foreign;

/// What is to be reduced.
#[derive(Debug, Clone, Copy)]
pub struct Share<'a> {
    /// The node's own folder, which goes when all is done.
    pub scratch: &'a Path,
    /// The folder on shared storage.
    pub shared: &'a Path,
    /// The node's name.
    pub host: &'a str,
    /// The build of the programs that ran, whose objects are asked first.
    pub build: &'a str,
    /// Where [`ObjectIndex`] is stored.
    pub index: &'a Path,
}

/// Why a node's profiles are where they were.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// A file could not be read or written.
    #[error("cannot use `{}`", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

/// What came of a node's profiles.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Reduced {
    /// Profiles in the sum.
    pub added: usize,
    /// Profiles that were handed on as they are.
    pub carried: usize,
}

/// Reduces a node's profiles and removes its folder.
pub fn reduce(share: &Share<'_>) -> Result<Reduced, NodeError> {
    // One at a time, and the dead hold no lock. A full disk has no room for a file of its own.
    let folder = File::open(share.scratch).and_then(|folder| folder.lock().map(|()| folder));
    let _lock = folder.map_err(at(share.scratch))?;
    let records = record::files_of(share.shared, share.host).map_err(at(share.shared))?;
    let known: BTreeSet<String> = records
        .iter()
        .filter_map(|path| NodeRecord::read(path).ok())
        .flat_map(|record| record.files.into_iter().chain(record.empty))
        .collect();
    let mut names = profiles_in(share.scratch).map_err(at(share.scratch))?;
    names.retain(|name| !known.contains(name));
    let mut done = Reduced::default();
    if !names.is_empty() {
        done = leave(share, &names, records.len())?;
    }
    if let Err(error) = fs_err::remove_dir_all(share.scratch) {
        tracing::warn!(%error, "the folder of a node stays");
    }
    Ok(done)
}

/// The names of the profiles in a folder, in order, those of each process once.
fn profiles_in(folder: &Path) -> io::Result<Vec<String>> {
    let found = find_profiles(&[folder.to_owned()])?;
    let files = live::each_process_once(found.files);
    let name = |path: &PathBuf| Some(path.file_name()?.to_str()?.to_owned());
    Ok(files.iter().filter_map(name).collect())
}

/// Leaves on shared storage what these profiles hold, as the node's result of this number.
fn leave(share: &Share<'_>, names: &[String], number: usize) -> Result<Reduced, NodeError> {
    let files: Vec<PathBuf> = names.iter().map(|name| share.scratch.join(name)).collect();
    let (sum, hits) = add_up(share, names, &files);
    let mut record = NodeRecord::new(share.host, &hits);
    let mut numbers = vec![None; names.len()];
    let mut carried = 0;
    for (at, (name, outcome)) in names.iter().zip(&sum.outcomes).enumerate() {
        match outcome {
            Outcome::Used => {
                numbers[at] = Some(record.files.len());
                record.files.push(name.clone());
            }
            Outcome::Empty => record.empty.push(name.clone()),
            _ => {
                hand_on(&share.scratch.join(name), &share.shared.join(name), outcome)?;
                carried += 1;
            }
        }
    }
    record.binaries = sum
        .binaries
        .iter()
        .map(|binary| NodeBinary {
            build_ids: ids(&binary.profile.shape).collect(),
            files: binary
                .files
                .iter()
                .filter_map(|&file| *numbers.get(file)?)
                .collect(),
        })
        .collect();
    if !sum.binaries.is_empty() {
        let path = share.shared.join(record::sum_name(share.host, number));
        write_whole(&path, |mut out| {
            sum.binaries
                .iter()
                .try_for_each(|binary| binary.profile.write_to(&mut out))
        })?;
    }
    if !record.files.is_empty() || !record.empty.is_empty() {
        let path = share.shared.join(record::record_name(share.host, number));
        let text = record.to_json();
        write_whole(&path, |out| out.write_all(text.as_bytes()))?;
    }
    Ok(Reduced {
        added: record.files.len(),
        carried,
    })
}

/// Adds the profiles up twice: which programs they are of must be known before ranks can be told apart, and reading a node's
/// own files again costs less than reading programs that nobody ran.
fn add_up(share: &Share<'_>, names: &[String], files: &[PathBuf]) -> (Reduction, RankHits) {
    let options = Options::default();
    let ranks: Vec<Option<u32>> = names.iter().map(|name| rank_of(name)).collect();
    let first = reduction::reduce(files, &options);
    if ranks.iter().all(Option::is_none) {
        return (first, RankHits::default());
    }
    let programs = programs(share, &first);
    let watch = RankWatch::new(&programs, &ranks);
    let sum = reduction::reduce_watched(files, &options, &watch);
    (sum, watch.finish())
}

/// The programs of these binaries. Those that the index does not know were built by the step itself, and are looked for.
fn programs(share: &Share<'_>, sum: &Reduction) -> Programs {
    let shapes = || {
        sum.binaries
            .iter()
            .map(|binary| binary.profile.shape.as_ref())
    };
    let index = ObjectIndex::read(share.index).unwrap_or_default();
    let programs = read_programs(&index, share.build, &sum.binaries);
    if shapes().all(|shape| index.knows(shape) || programs.has_all_of(shape)) {
        return programs;
    }
    read_programs(&index.anew(), share.build, &sum.binaries)
}

fn read_programs(index: &ObjectIndex, build: &str, binaries: &[reduction::Reduced]) -> Programs {
    let mut programs = Programs::default();
    for object in index.wanted(
        build,
        binaries.iter().map(|binary| binary.profile.shape.as_ref()),
    ) {
        let added = Binary::open(&object.path)
            .map_err(|error| error.to_string())
            .and_then(|binary| {
                let sections = binary.sections().map_err(|error| error.to_string())?;
                programs.add(&sections).map_err(|error| error.to_string())
            });
        if let Err(why) = added {
            tracing::debug!(path = %object.path.display(), why, "no rank hits of this object");
        }
    }
    programs
}

/// Returns the build ids of a profile in hexadecimal.
pub fn ids(shape: &Shape) -> impl Iterator<Item = String> {
    let hex = |bytes: &[u8]| {
        let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        digits.concat()
    };
    shape.binary_ids().into_iter().map(hex)
}

/// Hands on a file as it is, or word of it where it is none, or where it would be more on shared storage than it is here.
fn hand_on(from: &Path, to: &Path, outcome: &Outcome) -> Result<(), NodeError> {
    let source = match outcome {
        Outcome::Hollow { .. } | Outcome::TooLarge => None,
        _ => foreign::open(from).ok(),
    };
    write_whole(to, |mut out| match source {
        Some(source) => io::copy(&mut source.take(MAX_PROFILE), &mut out).map(drop),
        None => writeln!(out, "left on its node: {outcome}"),
    })
}

/// Writes a file that appears whole or not at all.
fn write_whole(
    path: &Path,
    content: impl FnOnce(&mut dyn io::Write) -> io::Result<()>,
) -> Result<(), NodeError> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let write = || {
        let file = foreign::create(&part, 0o666)?.into_file();
        let mut out = BufWriter::with_capacity(1 << 20, &file);
        content(&mut out)?;
        out.flush()?;
        drop(out);
        file.sync_all()?;
        std::fs::rename(&part, path)
    };
    write().map_err(at(path))
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> NodeError {
    let path = path.to_owned();
    move |source| NodeError::Io { path, source }
}

#[cfg(test)]
mod tests;
