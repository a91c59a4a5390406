//! From binaries and the counts of their profiles to covered files, as `llvm-cov export` sees them.
//!
//! [`Coverage::add`] takes binaries one by one; a function that was seen in another binary is not read again.
//! [`Coverage::files`] then gives each source file's functions, lines and branches, whose text
//! ([`FileCoverage::print`]) equals that of `llvm-cov export -format=lcov` of LLVM 22 byte by byte. What users want
//! otherwise is done to [`FileCoverage`] before it is printed.

mod file;
mod function;
mod print;

use std::collections::HashSet;
use std::io::{self, Write};

pub use file::{Branch, FileCoverage, FunctionHits, Share};
use function::{Chunk, Function};
use rayon::prelude::*;

use super::counts::Counts;
use super::hash::NumberHash;
use super::mapping::{self, MappingError, Names, Units};
use super::object::Sections;

/// How counts are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// Takes a difference of counters below zero, which a process that died or wrote while it ran may leave, for zero.
    /// `llvm-cov` prints it as a number near 2^64.
    pub clamp: bool,
}

/// What is covered of the binaries that were added.
#[derive(Debug)]
pub struct Coverage<'c> {
    counts: &'c Counts<'c>,
    options: Options,
    units: Units,
    names: Names,
    /// The functions that were taken, by name and files.
    seen: HashSet<(u64, u64), NumberHash>,
    chunks: Vec<Chunk>,
    functions: Vec<Function>,
    mismatched: usize,
}

/// Functions that are read by one thread in one go.
const CHUNK: usize = 256;

impl<'c> Coverage<'c> {
    /// Returns the coverage of no binary.
    #[must_use]
    pub fn new(counts: &'c Counts<'c>, options: Options) -> Self {
        Self {
            counts,
            options,
            units: Units::default(),
            names: Names::default(),
            seen: HashSet::default(),
            chunks: Vec::new(),
            functions: Vec::new(),
            mismatched: 0,
        }
    }

    /// Adds a binary, or nothing of it if its mapping is not sound.
    pub fn add(&mut self, sections: &Sections<'_>) -> Result<(), MappingError> {
        self.names.read(sections.names)?;
        let functions = mapping::functions(&mut self.units, sections.covmap, &sections.covfun)?;
        let context = function::Context {
            counts: self.counts,
            clamp: self.options.clamp,
            units: &self.units,
            names: &self.names,
            seen: &self.seen,
        };
        let chunks: Result<Vec<_>, _> = functions
            .par_chunks(CHUNK)
            .map(|some| context.read(some))
            .collect();
        for mut chunk in chunks? {
            let number = self.chunks.len();
            self.mismatched += chunk.mismatched;
            for mut function in std::mem::take(&mut chunk.functions) {
                if self.seen.insert(function.key) {
                    function.chunk = number;
                    self.functions.push(function);
                }
            }
            self.chunks.push(chunk);
        }
        Ok(())
    }

    /// Returns how many functions have another source than the one that was counted; they are left out.
    #[must_use]
    pub fn mismatched(&self) -> usize {
        self.mismatched
    }

    /// Returns the covered files in byte order of their paths.
    #[must_use]
    pub fn files(&self) -> Files<'_> {
        let mut by_file: Vec<Vec<u32>> = vec![Vec::new(); self.units.files.len()];
        for (number, function) in (0_u32..).zip(&self.functions) {
            for &file in self.files_of(function) {
                if let Some(functions) = by_file.get_mut(file as usize)
                    && functions.last() != Some(&number)
                {
                    functions.push(number);
                }
            }
        }
        let mut order: Vec<u32> = (0..)
            .zip(&by_file)
            .filter(|(_, some)| !some.is_empty())
            .map(|(file, _)| file)
            .collect();
        order.sort_unstable_by_key(|&file| self.units.files.path(file));
        Files {
            coverage: self,
            by_file,
            order,
        }
    }

    fn chunk(&self, function: &Function) -> Option<&Chunk> {
        self.chunks.get(function.chunk)
    }

    /// Returns the numbers of a function's files.
    fn files_of(&self, function: &Function) -> &[u32] {
        self.chunk(function)
            .and_then(|chunk| chunk.files.get(function.files.clone()))
            .unwrap_or_default()
    }
}

/// The source files of a [`Coverage`].
#[derive(Debug)]
pub struct Files<'a> {
    coverage: &'a Coverage<'a>,
    by_file: Vec<Vec<u32>>,
    order: Vec<u32>,
}

impl<'a> Files<'a> {
    /// Returns how many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Returns whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Returns the paths in order.
    #[must_use]
    pub fn paths(&self) -> impl ExactSizeIterator<Item = &'a str> {
        self.order
            .iter()
            .map(|&file| self.coverage.units.files.path(file))
    }

    /// Returns a file by its place in the order.
    #[must_use]
    pub fn get(&self, at: usize) -> Option<FileCoverage<'a>> {
        let file = *self.order.get(at)?;
        let functions = self.by_file.get(file as usize)?;
        Some(file::cover(self.coverage, file, functions))
    }

    /// Calls `make` for each file on all cores and `take` with what it made, in order. Only a few files are under way
    /// at any time.
    pub fn stream<T: Send, E>(
        &self,
        make: impl Fn(FileCoverage<'a>) -> T + Sync,
        mut take: impl FnMut(T) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut at = 0;
        while at < self.order.len() {
            let end = self.window(at);
            let results: Vec<_> = (at..end)
                .into_par_iter()
                .map(|at| self.get(at).map(&make))
                .collect();
            results.into_iter().flatten().try_for_each(&mut take)?;
            at = end;
        }
        Ok(())
    }

    /// Returns the end of a run of files with a few thousand functions together.
    fn window(&self, start: usize) -> usize {
        const FUNCTIONS: usize = 4096;
        let mut functions = 0;
        let rest = self.order.get(start..).unwrap_or_default();
        let full = rest.iter().position(|&file| {
            functions += self.by_file.get(file as usize).map_or(0, Vec::len);
            functions > FUNCTIONS
        });
        start + full.map_or(rest.len(), |at| at + 1)
    }

    /// Writes all files as a tracefile, as `llvm-cov` does.
    pub fn write_lcov(&self, out: &mut impl Write) -> io::Result<()> {
        self.stream(|file| file.to_lcov(), |text| out.write_all(&text))
    }
}
