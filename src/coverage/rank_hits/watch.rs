//! Finds out, while profiles are added, which ranks reached which regions.
//!
//! Neighbouring ranks do mostly the same: of each profile only the functions whose counters differ from those of the rank
//! before are computed again, and what does not change costs one comparison of memory.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use super::super::profile::Shape;
use super::super::reduce::Watch;
use super::programs::{FunctionKey, Program, Programs, Step, run};
use super::sets::{RankSet, RankSets};
use super::{RankHits, union_cells};

/// Ranks whose hits are kept in one word.
const BATCH: usize = 64;

/// Counters that are compared at once, and their bytes.
const BLOCK: usize = 8;
const BLOCK_BYTES: usize = 8 * BLOCK;

/// The owner of counters of functions without a program.
const NOBODY: u32 = u32::MAX;

/// See the module's documentation.
#[derive(Debug)]
pub struct RankWatch<'a> {
    programs: &'a Programs,
    /// The rank of each file; files without one are not looked at.
    ranks: &'a [Option<u32>],
    binaries: Mutex<HashMap<usize, Arc<Binary>>>,
}

impl<'a> RankWatch<'a> {
    /// Returns a watch over files of these ranks and functions of these programs.
    #[must_use]
    pub fn new(programs: &'a Programs, ranks: &'a [Option<u32>]) -> Self {
        Self {
            programs,
            ranks,
            binaries: Mutex::default(),
        }
    }

    /// Returns what was seen.
    #[must_use]
    pub fn finish(self) -> RankHits {
        let mut hits = RankHits::default();
        let binaries = self
            .binaries
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        for binary in binaries.into_values().filter_map(Arc::into_inner) {
            binary.finish(&mut hits);
        }
        hits
    }

    fn binary(&self, shape: &Arc<Shape>) -> Arc<Binary> {
        let mut binaries = self.binaries.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Binary::new(shape, self.programs));
        Arc::clone(
            binaries
                .entry(Arc::as_ptr(shape).addr())
                .or_insert_with(new),
        )
    }
}

impl Watch for RankWatch<'_> {
    type Worker = HashMap<usize, Seen>;

    fn batch(&self) -> usize {
        BATCH
    }

    fn worker(&self) -> Self::Worker {
        HashMap::new()
    }

    fn see(&self, worker: &mut Self::Worker, file: usize, shape: &Arc<Shape>, counters: &[u8]) {
        let Some(rank) = self.ranks.get(file).copied().flatten() else {
            return;
        };
        let seen = worker
            .entry(Arc::as_ptr(shape).addr())
            .or_insert_with(|| Seen::new(self.binary(shape)));
        seen.see(rank, counters);
    }

    fn end_batch(&self, worker: &mut Self::Worker) {
        worker.values_mut().for_each(Seen::end_batch);
    }
}

/// What is to be computed for a binary, and what was.
#[derive(Debug)]
struct Binary {
    /// The binary's address is its name as long as this is held.
    _shape: Arc<Shape>,
    keys: Vec<FunctionKey>,
    functions: Vec<Function>,
    steps: Vec<Step>,
    /// Where the value of each cell is found.
    cells: Vec<u32>,
    /// The function of each counter.
    owners: Vec<u32>,
    batches: Mutex<Vec<Batch>>,
}

/// The parts of a function's program and its counters, among those of all functions.
#[derive(Debug, Clone, Copy)]
struct Function {
    counters: (u32, u32),
    steps: (u32, u32),
    cells: (u32, u32),
}

fn range((start, end): (u32, u32)) -> Range<usize> {
    start as usize..end as usize
}

/// The hits of up to 64 ranks: for each cell a bit for each rank; runs of equal cells are kept once.
#[derive(Debug)]
struct Batch {
    ranks: Vec<u32>,
    runs: Vec<(usize, u64)>,
}

impl Binary {
    fn new(shape: &Arc<Shape>, programs: &Programs) -> Self {
        let mut binary = Self {
            _shape: Arc::clone(shape),
            keys: Vec::new(),
            functions: Vec::new(),
            steps: Vec::new(),
            cells: Vec::new(),
            owners: vec![NOBODY; shape.counters()],
            batches: Mutex::default(),
        };
        let mut functions: Vec<_> = shape.functions().collect();
        functions.sort_by_key(|function| function.counters.start);
        for function in functions {
            // A function that has too few counters is not reported.
            let Some((key, program)) = programs.find(function.name, function.hash) else {
                continue;
            };
            if program.counters() <= function.counters.len() {
                binary.add(key, program, function.counters);
            }
        }
        binary
    }

    fn add(&mut self, key: FunctionKey, program: &Program, counters: Range<usize>) {
        let number = |number: usize| u32::try_from(number).unwrap_or(NOBODY);
        let (steps, cells) = (number(self.steps.len()), number(self.cells.len()));
        self.steps.extend_from_slice(program.steps());
        self.cells.extend_from_slice(program.cells());
        let owner = number(self.functions.len());
        self.owners
            .get_mut(counters.clone())
            .into_iter()
            .flatten()
            .for_each(|slot| *slot = owner);
        let read = counters.start..counters.start + program.counters();
        self.keys.push(key);
        self.functions.push(Function {
            counters: (number(read.start), number(read.end)),
            steps: (steps, number(self.steps.len())),
            cells: (cells, number(self.cells.len())),
        });
    }

    fn finish(self, hits: &mut RankHits) {
        let mut batches = self
            .batches
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        batches.sort_by(|a, b| a.ranks.cmp(&b.ranks));
        for batch in &batches {
            batch.ranks.iter().for_each(|&rank| hits.ranks.insert(rank));
        }
        let cells = fold(&batches, self.cells.len(), &mut hits.sets);
        for (key, function) in self.keys.into_iter().zip(self.functions) {
            let cells = cells.get(range(function.cells)).unwrap_or_default();
            if cells.iter().any(|&cell| cell != 0) {
                union_cells(
                    &mut hits.sets,
                    hits.functions.entry(key).or_default(),
                    cells,
                );
            }
        }
    }
}

/// Returns the number of each cell's set of ranks.
fn fold(batches: &[Batch], cells: usize, sets: &mut RankSets) -> Vec<u32> {
    let mut numbers = Vec::with_capacity(cells);
    // The runs of each batch that are left, with what is left of the first.
    let mut rest: Vec<_> = batches
        .iter()
        .map(|batch| (batch, batch.runs.iter(), (0, 0)))
        .collect();
    while numbers.len() < cells {
        let mut set = RankSet::default();
        let mut shortest = cells - numbers.len();
        for (batch, runs, run) in &mut rest {
            if run.0 == 0 {
                *run = runs.next().copied().unwrap_or((shortest, 0));
            }
            shortest = shortest.min(run.0);
            batch.insert(run.1, &mut set);
        }
        for (.., run) in &mut rest {
            run.0 -= shortest;
        }
        let number = sets.number(set);
        numbers.extend(std::iter::repeat_n(number, shortest));
    }
    numbers
}

impl Batch {
    /// Puts the ranks that a mask stands for into a set.
    fn insert(&self, mask: u64, set: &mut RankSet) {
        if mask == 0 {
            return;
        }
        let consecutive = self.ranks.is_sorted_by(|a, b| a.checked_add(1) == Some(*b));
        match self.ranks.first() {
            Some(&first) if consecutive => set.insert_mask(first, mask),
            _ => {
                let of_mask = self
                    .ranks
                    .iter()
                    .enumerate()
                    .filter(|(at, _)| mask >> at & 1 == 1);
                of_mask.for_each(|(_, &rank)| set.insert(rank));
            }
        }
    }
}

/// What a thread has seen of a binary.
#[derive(Debug)]
pub struct Seen {
    binary: Arc<Binary>,
    ranks: Vec<u32>,
    /// The counters of the rank before.
    before: Vec<u8>,
    /// For each cell a bit for each rank of the batch. What the rank before did is taken to go on until the end, so the
    /// highest bit says what that was, and a change turns all bits from there on.
    masks: Vec<u64>,
    changed: Vec<u32>,
    values: Vec<u64>,
}

impl Seen {
    fn new(binary: Arc<Binary>) -> Self {
        let (before, masks) = (
            vec![0; 8 * binary.owners.len()],
            vec![0; binary.cells.len()],
        );
        Self {
            binary,
            ranks: Vec::new(),
            before,
            masks,
            changed: Vec::new(),
            values: Vec::new(),
        }
    }

    fn see(&mut self, rank: u32, counters: &[u8]) {
        if self.ranks.len() == BATCH {
            self.end_batch();
        }
        self.find_changed(counters);
        let mut changed = std::mem::take(&mut self.changed);
        let counters = counters.as_chunks().0;
        changed
            .drain(..)
            .for_each(|number| self.compute(number, counters));
        self.changed = changed;
        self.ranks.push(rank);
    }

    fn find_changed(&mut self, counters: &[u8]) {
        let (new, new_rest) = counters.as_chunks::<BLOCK_BYTES>();
        let (before, before_rest) = self.before.as_chunks_mut::<BLOCK_BYTES>();
        let (owners, rest) = self.binary.owners.as_chunks::<BLOCK>();
        let changed = &mut self.changed;
        for ((new, before), owners) in new.iter().zip(before).zip(owners) {
            // Of arrays the compiler compares whole vectors, of slices it calls a function.
            if new != before {
                find_in_block(new, before, owners, changed);
                *before = *new;
            }
        }
        find_in_block(new_rest, before_rest, rest, changed);
        before_rest.copy_from_slice(new_rest);
    }

    fn compute(&mut self, number: u32, counters: &[[u8; 8]]) {
        let Binary {
            functions,
            steps,
            cells,
            ..
        } = self.binary.as_ref();
        let Some(function) = functions.get(number as usize) else {
            return;
        };
        let (Some(steps), Some(counters)) = (
            steps.get(range(function.steps)),
            counters.get(range(function.counters)),
        ) else {
            return;
        };
        run(steps, counters, &mut self.values);
        let from_here = u64::MAX
            .checked_shl(u32::try_from(self.ranks.len()).unwrap_or(0))
            .unwrap_or(0);
        let cells = cells.get(range(function.cells)).unwrap_or_default();
        let masks = self
            .masks
            .get_mut(range(function.cells))
            .unwrap_or_default();
        for (mask, cell) in masks.iter_mut().zip(cells) {
            // A count below zero, which a rank leaves that died while it counted, is no proof of anything.
            let reached = u64::from(self.values[*cell as usize].cast_signed() > 0);
            let turned = reached ^ (*mask >> 63);
            *mask ^= from_here & turned.wrapping_neg();
        }
    }

    fn end_batch(&mut self) {
        let Some(unused) = BATCH
            .checked_sub(self.ranks.len())
            .filter(|unused| *unused < BATCH)
        else {
            return;
        };
        let seen = u64::MAX >> unused;
        let mut runs: Vec<(usize, u64)> = Vec::new();
        for mask in &mut self.masks {
            let ranks = *mask & seen;
            match runs.last_mut() {
                Some((len, last)) if *last == ranks => *len += 1,
                _ => runs.push((1, ranks)),
            }
            *mask = if *mask >> 63 == 1 { u64::MAX } else { 0 };
        }
        let batch = Batch {
            ranks: std::mem::take(&mut self.ranks),
            runs,
        };
        self.binary
            .batches
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(batch);
    }
}

fn find_in_block(new: &[u8], before: &[u8], owners: &[u32], changed: &mut Vec<u32>) {
    let words = new.as_chunks::<8>().0.iter().zip(before.as_chunks::<8>().0);
    for ((new, before), owner) in words.zip(owners) {
        if new != before && changed.last() != Some(owner) {
            changed.push(*owner);
        }
    }
}
