//! What must be computed of a function's counters to know which of its regions a rank reached.

use std::collections::HashMap;
use std::hash::Hasher;

use rayon::prelude::*;

use super::super::hash::{NumberHash, NumberHasher};
use super::super::mapping::{self, Counter, Expression, Mapping, MappingError, RegionKind, Units};
use super::super::object::Sections;
use super::super::profile::Shape;

/// A function of some binaries: the hashes of its name, of its structure, and of its mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FunctionKey {
    /// Of its name.
    pub name: u64,
    /// Of its structure.
    pub hash: u64,
    /// Of its mapping.
    pub mapping: u64,
}

/// Functions that are read by one thread in one go.
const PIECE: usize = 128;

/// The programs of all functions of some binaries.
#[derive(Debug, Default)]
pub struct Programs {
    units: Units,
    by_function: HashMap<(u64, u64), (u64, Program), NumberHash>,
}

impl Programs {
    /// Adds the functions of a binary. Where two binaries have the same function, the first one's mapping counts.
    pub fn add(&mut self, sections: &Sections<'_>) -> Result<(), MappingError> {
        let mut functions = mapping::functions(&mut self.units, sections.covmap, &sections.covfun)?;
        functions.retain(|function| {
            !self
                .by_function
                .contains_key(&(function.name, function.hash))
        });
        let units = &self.units;
        let read = functions.par_iter().with_min_len(PIECE).map_init(
            Mapping::default,
            |mapping, function| {
                mapping.read(function.mapping, units.files(function.unit).len())?;
                let text = mapping.regions.iter().filter(|region| is_text(region.kind));
                let program = Program::new(
                    &cells(text.map(|region| region.count)),
                    &mapping.expressions,
                );
                let hash = hash(mapping::behind_files(function)?);
                Ok(program.map(|program| ((function.name, function.hash), (hash, program))))
            },
        );
        let programs = read.collect::<Result<Vec<_>, _>>()?;
        self.by_function.extend(programs.into_iter().flatten());
        Ok(())
    }

    /// Returns whether every function of a profile is known.
    pub(in super::super) fn has_all_of(&self, shape: &Shape) -> bool {
        shape.functions().all(|function| {
            self.by_function
                .contains_key(&(function.name, function.hash))
        })
    }

    /// Returns a function's program and key.
    pub(super) fn find(&self, name: u64, hash: u64) -> Option<(FunctionKey, &Program)> {
        let (mapping, program) = self.by_function.get(&(name, hash))?;
        Some((
            FunctionKey {
                name,
                hash,
                mapping: *mapping,
            },
            program,
        ))
    }
}

/// Returns the hash of a function's mapping, files left aside.
pub(in super::super) fn hash(mapping: &[u8]) -> u64 {
    let mut hasher = NumberHasher::default();
    hasher.write(mapping);
    hasher.finish()
}

fn is_text(kind: RegionKind) -> bool {
    !matches!(kind, RegionKind::Branch(_) | RegionKind::Decision)
}

/// Returns the distinct counters of a function's regions, which its sets of ranks are kept for.
pub(in super::super) fn cells(counters: impl Iterator<Item = Counter>) -> Vec<Counter> {
    let mut cells: Vec<_> = counters
        .filter(|&counter| counter != Counter::Zero)
        .collect();
    cells.sort_unstable();
    cells.dedup();
    cells
}

/// Sums and differences in the order in which they can be computed, and which of them are asked for.
#[derive(Debug, Clone)]
pub(super) struct Program {
    /// How many counters it reads. These are the first values; what the steps compute follows, and a zero.
    counters: usize,
    steps: Vec<Step>,
    /// The value of each cell.
    cells: Vec<u32>,
}

/// A sum or a difference of two values.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    left: u32,
    right: u32,
    adds: bool,
}

impl Program {
    /// Returns the program that computes `cells`; none if an expression contains itself.
    fn new(cells: &[Counter], expressions: &[Expression]) -> Option<Self> {
        let order = order(cells, expressions)?;
        let read = order
            .iter()
            .filter_map(|&at| expressions.get(at as usize))
            .flat_map(|e| [e.left, e.right]);
        let counters = read
            .chain(cells.iter().copied())
            .filter_map(Counter::number)
            .max();
        let counters = counters.map_or(0, |last| last + 1);
        let mut step_of = vec![0; expressions.len()];
        for (step, &expression) in (counters..).zip(&order) {
            *step_of.get_mut(expression as usize)? = step;
        }
        let zero = counters + u32::try_from(order.len()).ok()?;
        let value = |counter| match counter {
            Counter::Zero => Some(zero),
            Counter::Counter(number) => Some(number),
            Counter::Expression(number) => step_of.get(number as usize).copied(),
        };
        let step = |&at: &u32| {
            let Expression { adds, left, right } = *expressions.get(at as usize)?;
            Some(Step {
                left: value(left)?,
                right: value(right)?,
                adds,
            })
        };
        let steps = order.iter().map(step).collect::<Option<_>>()?;
        let cells = cells
            .iter()
            .map(|&cell| value(cell))
            .collect::<Option<_>>()?;
        Some(Self {
            counters: counters as usize,
            steps,
            cells,
        })
    }

    /// Returns how many counters it reads.
    pub(super) fn counters(&self) -> usize {
        self.counters
    }

    /// Returns its steps.
    pub(super) fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Returns where the value of each cell is found.
    pub(super) fn cells(&self) -> &[u32] {
        &self.cells
    }

    /// Returns the cells that are just counters, which come first.
    pub(super) fn counted(&self) -> &[u32] {
        let counted = self
            .cells
            .iter()
            .take_while(|&&value| (value as usize) < self.counters);
        self.cells.get(..counted.count()).unwrap_or_default()
    }
}

/// Computes the values that cells refer to. `values` is memory to be used again.
///
/// What a function needs stands together in memory for all functions of a binary, in the order of their counters:
/// looking for it function by function took twice as long as computing.
pub(super) fn run(steps: &[Step], counters: &[u64], values: &mut Vec<u64>) {
    let zero = counters.len() + steps.len();
    if values.len() <= zero {
        values.resize(zero + 1, 0);
    }
    values[zero] = 0;
    values[..counters.len()].copy_from_slice(counters);
    for (at, step) in (counters.len()..).zip(steps) {
        let (left, right) = (values[step.left as usize], values[step.right as usize]);
        values[at] = if step.adds {
            left.wrapping_add(right)
        } else {
            left.wrapping_sub(right)
        };
    }
}

/// Returns the expressions that `cells` need, each behind those that it is made of.
fn order(cells: &[Counter], expressions: &[Expression]) -> Option<Vec<u32>> {
    #[derive(Clone, Copy, PartialEq)]
    enum State {
        New,
        Open,
        Done,
    }
    let mut state = vec![State::New; expressions.len()];
    let (mut order, mut pending) = (Vec::new(), Vec::new());
    for &cell in cells {
        if let Counter::Expression(number) = cell {
            pending.push(number);
        }
        while let Some(&number) = pending.last() {
            let slot = state.get_mut(number as usize)?;
            if *slot == State::Done {
                pending.pop();
                continue;
            }
            let opened = *slot == State::Open;
            *slot = if opened { State::Done } else { State::Open };
            if opened {
                order.push(number);
                pending.pop();
                continue;
            }
            let Expression { left, right, .. } = *expressions.get(number as usize)?;
            for side in [left, right] {
                if let Counter::Expression(number) = side {
                    match state.get(number as usize)? {
                        State::New => pending.push(number),
                        State::Open => return None,
                        State::Done => {}
                    }
                }
            }
        }
    }
    Some(order)
}
