//! From binaries and the counts of their profiles to covered files, as `llvm-cov export` sees them.
//!
//! [`Coverage::add`] takes binaries one by one; a function that was seen in another binary is not read again.
//! [`Coverage::files`] then gives each source file's functions, lines and branches, whose text
//! ([`FileCoverage::print`]) equals that of `llvm-cov export -format=lcov` of LLVM 22 byte by byte. What users want
//! otherwise is done to [`FileCoverage`] before it is printed.

mod file;
mod function;
mod print;
mod ranks;
mod shape;

use std::collections::{HashMap, HashSet};
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

pub use file::{Branch, FileCoverage, FunctionHits, Share};
use function::{Candidate, Context, Fate, Function, Key};
pub use ranks::LineRanks;
use rayon::prelude::*;
use shape::{Scratch, Shape};

use super::counts::Counts;
use super::hash::NumberHash;
use super::mapping::{self, MappingError, Names, Units};
use super::object::Sections;
use super::rank_hits::RankHits;

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
    /// The functions that are reported.
    seen: HashSet<Key, NumberHash>,
    functions: Vec<Function>,
    shapes: Vec<Shape>,
    mismatched: usize,
    /// What is left of [`SPARE_LINES`].
    spare_lines: u64,
}

/// How many lines the functions of an object may reach over for each byte of their mapping: what is straight needs few bytes, but not
/// all of a program is straight.
const LINES_A_BYTE: u64 = 64;
/// Lines beside those, of one object and of all.
const SPARE_LINES: (u64, u64) = (4 << 20, 8 << 20);
/// How often the parts of an object's functions may be looked at for each byte of their mapping.
const LOOKS_A_BYTE: u64 = 64;
/// Looks beside those.
const SPARE_LOOKS: u64 = 16 << 20;

/// What is left of an object's bounds.
struct Bounds {
    lines: u64,
    most_lines: u64,
    looks: u64,
    most_looks: u64,
}

impl Bounds {
    fn of(mapping: &[u8], spare_lines: u64) -> Self {
        let bytes = mapping.len() as u64;
        let most_lines = LINES_A_BYTE * bytes + spare_lines;
        let most_looks = LOOKS_A_BYTE * bytes + SPARE_LOOKS;
        Self {
            lines: most_lines,
            most_lines,
            looks: most_looks,
            most_looks,
        }
    }

    fn take(&mut self, shape: &Shape) -> Result<(), MappingError> {
        let lines = self.lines.checked_sub(shape.reach);
        self.lines = lines.ok_or(MappingError::Lines(self.most_lines))?;
        let looks = self.looks.checked_sub(shape.looks);
        self.looks = looks.ok_or(MappingError::Ways(self.most_looks))?;
        Ok(())
    }
}

/// Functions that are under way at once, which bounds what is kept only while they are.
const BATCH: usize = 8192;

/// Functions that are looked at by one thread in one go.
const PIECE: usize = 128;

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
            functions: Vec::new(),
            shapes: Vec::new(),
            mismatched: 0,
            spare_lines: SPARE_LINES.1,
        }
    }

    /// Adds a binary, or nothing of it if its mapping is not sound.
    pub fn add(&mut self, sections: &Sections<'_>) -> Result<(), MappingError> {
        let (names, functions) = rayon::join(
            || self.names.read(sections.names),
            || mapping::functions(&mut self.units, sections.covmap, &sections.covfun),
        );
        let functions = names.and(functions)?;
        let (counts, clamp) = (self.counts, self.options.clamp);
        let context = Context {
            counts,
            clamp,
            units: &self.units,
            names: &self.names,
            seen: &self.seen,
        };
        let mut shapes = std::mem::take(&mut self.shapes);
        let known = shapes.len();
        let spare = self.spare_lines.min(SPARE_LINES.0);
        let mut bounds = Bounds::of(&sections.covfun, spare);
        let read = functions
            .chunks(BATCH)
            .map(|some| read_batch(&context, some, &mut shapes, &mut bounds))
            .collect::<Result<Vec<_>, _>>();
        if read.is_err() {
            shapes.truncate(known);
        }
        self.shapes = shapes;
        let read = read?;
        self.spare_lines -= spare.saturating_sub(bounds.lines);
        for (mismatched, functions) in read {
            self.mismatched += mismatched;
            for function in functions {
                if self.seen.insert(function.key) {
                    self.functions.push(function);
                }
            }
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
            for &file in self.shape(function).map_or(&[][..], |shape| &shape.files) {
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

    fn shape(&self, function: &Function) -> Option<&Shape> {
        self.shapes.get(function.shape as usize)
    }
}

/// Returns the functions that are to be reported, and how many have another source than the one that was counted.
fn read_batch(
    context: &Context<'_>,
    functions: &[mapping::Function<'_>],
    shapes: &mut Vec<Shape>,
    bounds: &mut Bounds,
) -> Result<(usize, Vec<Function>), MappingError> {
    let judged = functions
        .par_iter()
        .with_min_len(PIECE)
        .map(|function| context.judge(function));
    let mut candidates = Vec::new();
    let mut mismatched = 0;
    for fate in judged.collect::<Result<Vec<_>, _>>()? {
        match fate {
            Fate::Seen => {}
            Fate::Mismatched => mismatched += 1,
            Fate::Candidate(candidate) => candidates.push(candidate),
        }
    }
    let (shape_of, new) = read_shapes(&candidates, shapes.len())?;
    shapes.extend(new);
    let shapes = &*shapes;
    for shape in shape_of.iter().filter_map(|&at| shapes.get(at as usize)) {
        bounds.take(shape)?;
    }
    let counted = candidates
        .par_iter()
        .zip(shape_of)
        .with_min_len(PIECE)
        .map_init(Scratch::default, |scratch, (candidate, shape)| {
            context.count(candidate, shape, shapes, scratch)
        });
    Ok((
        mismatched,
        counted.collect::<Vec<_>>().into_iter().flatten().collect(),
    ))
}

/// Reads the mappings of functions, equal ones once; returns the number of each function's shape, counted from `first`,
/// and the shapes.
fn read_shapes(
    candidates: &[Candidate<'_>],
    first: usize,
) -> Result<(Vec<u32>, Vec<Shape>), MappingError> {
    let mut known: HashMap<u64, Vec<u32>, NumberHash> = HashMap::default();
    let mut distinct: Vec<&Candidate<'_>> = Vec::new();
    let mut shape_of = Vec::with_capacity(candidates.len());
    for candidate in candidates {
        let same = known.entry(candidate.hash).or_default();
        let equal = |&at: &u32| {
            distinct
                .get(at as usize)
                .is_some_and(|other| other.is_like(candidate))
        };
        let at = same.iter().copied().find(equal).unwrap_or_else(|| {
            let at = u32::try_from(distinct.len()).unwrap_or(u32::MAX);
            distinct.push(candidate);
            same.push(at);
            at
        });
        shape_of.push(u32::try_from(first).unwrap_or(u32::MAX).saturating_add(at));
    }
    let read = |scratch: &mut Scratch, candidate: &&Candidate<'_>| {
        Shape::read(
            candidate.mapping,
            candidate.unit_files,
            &candidate.files,
            scratch,
        )
    };
    let shapes: Result<Vec<_>, _> = distinct
        .par_iter()
        .with_min_len(PIECE)
        .map_init(Scratch::default, read)
        .collect();
    Ok((shape_of, shapes?))
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

    /// Returns which ranks reached the lines of a file, by its place in the order.
    #[must_use]
    pub fn ranks(&self, at: usize, hits: &RankHits) -> Vec<LineRanks> {
        let file = self.order.get(at).copied();
        let functions = file.and_then(|file| self.by_file.get(file as usize));
        let ranks = |(file, functions): (u32, &Vec<u32>)| {
            ranks::reached(self.coverage, file, functions, hits)
        };
        file.zip(functions).map(ranks).unwrap_or_default()
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
        self.write_lcov_of(Some, out)
    }

    /// Writes the files that `edit` lets through as a tracefile, the way it leaves them: under another path, with
    /// readable names, or not at all.
    pub fn write_lcov_of(
        &self,
        edit: impl Fn(FileCoverage<'a>) -> Option<FileCoverage<'a>> + Sync,
        out: &mut impl Write,
    ) -> io::Result<()> {
        // Memory for text goes round: asking the system for it anew costs as much as filling it.
        let spare = Mutex::new(Vec::new());
        let spare = || spare.lock().unwrap_or_else(PoisonError::into_inner);
        let print = |file: FileCoverage<'a>| {
            let mut text = spare().pop().unwrap_or_default();
            if let Some(file) = edit(file) {
                file.print(&mut text);
            }
            text
        };
        self.stream(print, |mut text: Vec<u8>| {
            out.write_all(&text)?;
            text.clear();
            spare().push(text);
            Ok(())
        })
    }
}
