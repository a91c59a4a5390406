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
use super::runs::Runs;
use super::sets::{RankSet, RankSets};
use super::{RankHits, union_cells};

/// Ranks whose hits are kept in one word.
const BATCH: usize = 64;

/// Counters that are compared at once.
const BLOCK: usize = 8;

/// What counters have nothing of their own for.
const NONE: u32 = u32::MAX;

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

    fn restart(&self) {
        self.binaries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
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
    /// What depends on each counter.
    dependents: Vec<Dependents>,
    batches: Mutex<Vec<Batch>>,
}

/// What depends on a counter.
#[derive(Debug, Clone, Copy)]
struct Dependents {
    /// The cell that is nothing but the counter.
    cell: u32,
    /// The function that has cells to be computed from it.
    function: u32,
}

/// The parts of a function's program and its counters, among those of all functions.
#[derive(Debug, Clone, Copy)]
struct Function {
    counters: (u32, u32),
    steps: (u32, u32),
    /// The first cell that is not just a counter.
    computed: u32,
    cells: (u32, u32),
}

fn range((start, end): (u32, u32)) -> Range<usize> {
    start as usize..end as usize
}

/// The hits of up to 64 ranks: for each cell a bit for each rank; runs of equal cells are kept once.
#[derive(Debug)]
struct Batch {
    ranks: Vec<u32>,
    /// Whether each rank is the one behind the rank before.
    consecutive: bool,
    runs: Runs,
}

impl Binary {
    fn new(shape: &Arc<Shape>, programs: &Programs) -> Self {
        let mut binary = Self {
            _shape: Arc::clone(shape),
            keys: Vec::new(),
            functions: Vec::new(),
            steps: Vec::new(),
            cells: Vec::new(),
            dependents: vec![
                Dependents {
                    cell: NONE,
                    function: NONE
                };
                shape.counters()
            ],
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
        let number = |number: usize| u32::try_from(number).unwrap_or(NONE);
        let (steps, cells) = (number(self.steps.len()), number(self.cells.len()));
        self.steps.extend_from_slice(program.steps());
        self.cells.extend_from_slice(program.cells());
        let of_function = self
            .dependents
            .get_mut(counters.clone())
            .unwrap_or_default();
        for (cell, &value) in (cells..).zip(program.counted()) {
            of_function
                .get_mut(value as usize)
                .into_iter()
                .for_each(|of| of.cell = cell);
        }
        if program.counted().len() < program.cells().len() {
            let function = number(self.functions.len());
            for of in of_function {
                of.function = function;
            }
        }
        let read = counters.start..counters.start + program.counters();
        self.keys.push(key);
        self.functions.push(Function {
            counters: (number(read.start), number(read.end)),
            steps: (steps, number(self.steps.len())),
            computed: cells + number(program.counted().len()),
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
        .map(|batch| (batch, batch.runs.iter(), (0, 0_u64)))
        .collect();
    while numbers.len() < cells {
        let mut set = RankSet::default();
        let mut shortest = cells - numbers.len();
        for (batch, runs, run) in &mut rest {
            if run.0 == 0 {
                *run = runs.next().unwrap_or((shortest, 0));
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
        match self.ranks.first() {
            Some(&first) if self.consecutive => set.insert_mask(first, mask),
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
    before: Vec<u64>,
    /// For each cell a bit for each rank of the batch. What the rank before did is taken to go on until the end, so the
    /// highest bit says what that was, and a change turns all bits from there on.
    masks: Vec<u64>,
    changed: Vec<u32>,
    values: Vec<u64>,
}

impl Seen {
    fn new(binary: Arc<Binary>) -> Self {
        let (before, masks) = (
            vec![0; binary.dependents.len()],
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
        self.find_changed(counters.as_chunks().0);
        let mut changed = std::mem::take(&mut self.changed);
        changed.drain(..).for_each(|number| self.compute(number));
        self.changed = changed;
        self.ranks.push(rank);
    }

    /// Takes the new counters for those before. What is just a counter changes at once, and functions with more to be
    /// computed are put into `changed`.
    fn find_changed(&mut self, counters: &[[u8; 8]]) {
        let from_here = self.bits_on();
        let (new, new_rest) = counters.as_chunks::<BLOCK>();
        let (before, before_rest) = self.before.as_chunks_mut::<BLOCK>();
        let (dependents, dependents_rest) = self.binary.dependents.as_chunks::<BLOCK>();
        let mut take_over = |new: &[[u8; 8]], before: &mut [u64], dependents: &[Dependents]| {
            for ((new, before), of) in new.iter().zip(before).zip(dependents) {
                let old = std::mem::replace(before, u64::from_le_bytes(*new));
                if old == *before {
                    continue;
                }
                if (old == 0) != (*before == 0)
                    && let Some(mask) = self.masks.get_mut(of.cell as usize)
                {
                    *mask ^= from_here;
                }
                if of.function != NONE && self.changed.last() != Some(&of.function) {
                    self.changed.push(of.function);
                }
            }
        };
        for ((new, before), dependents) in new.iter().zip(before).zip(dependents) {
            let differ =
                |bits, (new, before): (&[u8; 8], &u64)| bits | u64::from_le_bytes(*new) ^ before;
            if new.iter().zip(before.iter()).fold(0, differ) != 0 {
                take_over(new, before, dependents);
            }
        }
        take_over(new_rest, before_rest, dependents_rest);
    }

    /// Returns the bits of the rank that is being looked at and of those behind it.
    fn bits_on(&self) -> u64 {
        u64::MAX
            .checked_shl(u32::try_from(self.ranks.len()).unwrap_or(0))
            .unwrap_or(0)
    }

    fn compute(&mut self, number: u32) {
        let from_here = self.bits_on();
        let Binary {
            functions,
            steps,
            cells,
            ..
        } = self.binary.as_ref();
        let Some(function) = functions.get(number as usize) else {
            return;
        };
        let steps = steps.get(range(function.steps)).unwrap_or_default();
        let counters = self
            .before
            .get(range(function.counters))
            .unwrap_or_default();
        run(steps, counters, &mut self.values);
        let computed = range((function.computed, function.cells.1));
        let cells = cells.get(computed.clone()).unwrap_or_default();
        let masks = self.masks.get_mut(computed).unwrap_or_default();
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
        let runs = Runs::of(self.masks.iter().map(|mask| mask & seen));
        for mask in &mut self.masks {
            *mask = if *mask >> 63 == 1 { u64::MAX } else { 0 };
        }
        let ranks = std::mem::take(&mut self.ranks);
        let consecutive = ranks.is_sorted_by(|a, b| a.checked_add(1) == Some(*b));
        let batch = Batch {
            ranks,
            consecutive,
            runs,
        };
        self.binary
            .batches
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(batch);
    }
}
