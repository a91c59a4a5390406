//! Adds up tracefiles on disk: in parallel, and in memory that does not grow with their number.
//!
//! Every thread adds whole files to a sum of its own; the sums are added at the end. Because adding is commutative and
//! associative the result never depends on which thread read what.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use super::lcov::{Reading, Tracefile};
use crate::foreign;

/// What became of one tracefile.
#[derive(Debug)]
pub struct Source {
    /// The tracefile.
    pub path: PathBuf,
    /// What was read; an error if reading broke off, after which what came before it is in the sum all the same.
    pub reading: io::Result<Reading>,
}

impl Source {
    /// Returns whether anything of it is in the sum.
    #[must_use]
    pub fn is_used(&self) -> bool {
        self.reading
            .as_ref()
            .is_ok_and(|reading| reading.sections > 0)
    }

    /// Returns whether all of it is in the sum.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.reading.as_ref().is_ok_and(Reading::is_whole)
    }
}

/// The most bytes that are read of a tracefile.
pub const MAX_TRACEFILE: u64 = 1 << 30;

/// Why a tracefile, or the rest of it, was not read.
#[derive(Debug, thiserror::Error)]
enum MergeError {
    #[error("it has {hollow} bytes of holes, and no text has any")]
    Hollow { hollow: u64 },
    #[error("it has more than {MAX_TRACEFILE} bytes, the most that is read of a tracefile")]
    Size,
}

impl From<MergeError> for io::Error {
    fn from(error: MergeError) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

/// Returns the sum of these tracefiles, which others wrote, and what became of each in the order given.
#[must_use]
pub fn merge(paths: &[PathBuf]) -> (Tracefile, Vec<Source>) {
    merge_opened(paths, |path| foreign::open(path))
}

/// Returns the sum of tracefiles that a person named.
#[must_use]
pub fn merge_named(paths: &[PathBuf]) -> (Tracefile, Vec<Source>) {
    merge_opened(paths, |path| foreign::open_named(path))
}

fn merge_opened(
    paths: &[PathBuf],
    open: impl Fn(&Path) -> io::Result<fs_err::File> + Sync,
) -> (Tracefile, Vec<Source>) {
    let next = AtomicUsize::new(0);
    let sums: Vec<_> = (0..rayon::current_num_threads().min(paths.len()))
        .into_par_iter()
        .map(|_| sum_of_some(paths, &open, &next))
        .collect();
    let mut total = Tracefile::default();
    let mut sources = Vec::with_capacity(paths.len());
    for (sum, read) in sums {
        total.merge(sum);
        sources.extend(read);
    }
    sources.sort_unstable_by_key(|(at, _)| *at);
    (
        total,
        sources.into_iter().map(|(_, source)| source).collect(),
    )
}

/// Adds files until none is left that no other thread has taken.
fn sum_of_some(
    paths: &[PathBuf],
    open: impl Fn(&Path) -> io::Result<fs_err::File>,
    next: &AtomicUsize,
) -> (Tracefile, Vec<(usize, Source)>) {
    let mut sum = Tracefile::default();
    let mut sources = Vec::new();
    loop {
        let at = next.fetch_add(1, Ordering::Relaxed);
        let Some(path) = paths.get(at) else { break };
        let source = Source {
            path: path.clone(),
            reading: open(path).and_then(|file| add(&mut sum, &file)),
        };
        sources.push((at, source));
    }
    (sum, sources)
}

fn add(sum: &mut Tracefile, file: &fs_err::File) -> io::Result<Reading> {
    let it = file.metadata()?;
    if it.is_file() {
        let hollow = it
            .len()
            .saturating_sub(foreign::held(file.file(), 0..u64::MAX)?);
        // Some file systems round to blocks.
        if hollow > HOLE {
            return Err(MergeError::Hollow { hollow }.into());
        }
        if it.len() > MAX_TRACEFILE {
            return Err(MergeError::Size.into());
        }
    }
    let mut source = file.take(MAX_TRACEFILE);
    let reading = sum.read(&mut source)?;
    if source.limit() == 0 {
        return Err(MergeError::Size.into());
    }
    Ok(reading)
}

/// A hole of this size is no chance.
const HOLE: u64 = 1 << 20;

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn four_ranks_add_up_and_a_bad_file_harms_none() {
        let dir = tempfile::tempdir().unwrap();
        let mut paths = Vec::new();
        for rank in 0..4 {
            let path = dir.path().join(format!("rank{rank}.info"));
            let text = format!(
                "SF:src/halo.jl\nDA:1,1\nDA:{},1\nend_of_record\n",
                2 + rank % 2
            );
            fs_err::write(&path, text).unwrap();
            paths.push(path);
        }
        for (name, text) in [
            ("cut.info", "SF:src/halo.jl\nDA:1,1\nDA:2"),
            ("empty.info", ""),
        ] {
            paths.push(dir.path().join(name));
            fs_err::write(paths.last().unwrap(), text).unwrap();
        }
        paths.push(dir.path().join("absent.info"));

        let (sum, sources) = merge(&paths);
        let lines = sum.file("src/halo.jl").unwrap().lines();
        assert_eq!(
            lines.iter().map(|line| line.hits).collect::<Vec<_>>(),
            [5, 2, 2]
        );
        let order: Vec<_> = sources.iter().map(|source| source.path.clone()).collect();
        assert_eq!(order, paths);
        let states: Vec<_> = sources
            .iter()
            .map(|source| (source.is_used(), source.is_whole()))
            .collect();
        let (whole, part, none) = ((true, true), (true, false), (false, false));
        assert_eq!(states, [whole, whole, whole, whole, part, none, none]);
    }

    #[test]
    fn nothing_adds_up_to_nothing() {
        let (sum, sources) = merge(&[]);
        assert!(sum.is_empty() && sources.is_empty());
    }
}
