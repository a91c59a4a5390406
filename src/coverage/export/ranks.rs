//! The ranks that reached each line of a file.

use std::collections::HashMap;

use super::super::lines::{Tally, for_each_line};
use super::super::rank_hits::{RankHits, RankSet};
use super::Coverage;

/// The ranks that reached a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineRanks {
    /// The line.
    pub line: u32,
    /// How many ranks reached it.
    pub ranks: u32,
    /// The smallest of them; 0 if there is none.
    pub first: u32,
    /// The largest of them; 0 if there is none.
    pub last: u32,
}

/// Returns which ranks reached each line of a file, which functions with these numbers have text in.
pub(super) fn reached(
    coverage: &Coverage<'_>,
    file: u32,
    functions: &[u32],
    hits: &RankHits,
) -> Vec<LineRanks> {
    let mut spans = Vec::new();
    for function in functions
        .iter()
        .filter_map(|&number| coverage.functions.get(number as usize))
    {
        let Some(shape) = coverage.shape(function) else {
            continue;
        };
        let sets = hits.function(&function.origin).unwrap_or_default();
        for (span, cell) in shape.spans.iter().zip(shape.cells()) {
            if shape.files.get(span.file as usize) == Some(&file) {
                spans.push(span.with(cell.and_then(|cell| sets.get(cell)).copied().unwrap_or(0)));
            }
        }
    }
    let mut tally = Sets {
        hits,
        new: Vec::new(),
        numbers: HashMap::new(),
        unions: HashMap::new(),
    };
    let mut lines = Vec::new();
    for_each_line(&mut spans, &mut tally, |line, set| lines.push((line, set)));
    let ranks = |(line, number)| {
        let set = tally.get(number).unwrap_or(&NOBODY);
        LineRanks {
            line,
            ranks: set.len(),
            first: set.first().unwrap_or(0),
            last: set.last().unwrap_or(0),
        }
    };
    lines.into_iter().map(ranks).collect()
}

static NOBODY: RankSet = RankSet::none();

/// Sets of ranks as counts: what two spans or two instances have in common was reached by who reached either.
struct Sets<'a> {
    hits: &'a RankHits,
    /// Unions that are in none of the hits' sets; they are numbered behind these.
    new: Vec<RankSet>,
    numbers: HashMap<RankSet, u32>,
    unions: HashMap<(u32, u32), u32>,
}

impl Sets<'_> {
    fn get(&self, number: u32) -> Option<&RankSet> {
        let new = (number as usize).checked_sub(self.hits.sets());
        new.map_or_else(|| self.hits.set(number), |new| self.new.get(new))
    }

    fn unite(&mut self, a: u32, b: u32) -> u32 {
        let (a, b) = (a.min(b), a.max(b));
        if a == b || a == 0 {
            return b;
        }
        if let Some(number) = self.unions.get(&(a, b)) {
            return *number;
        }
        let Some((mut united, other)) = self.get(a).cloned().zip(self.get(b)) else {
            return b;
        };
        united.unite(other);
        let next = u32::try_from(self.hits.sets() + self.new.len()).unwrap_or(u32::MAX);
        let number = *self.numbers.entry(united.clone()).or_insert(next);
        if number == next {
            self.new.push(united);
        }
        self.unions.insert((a, b), number);
        number
    }
}

impl Tally for Sets<'_> {
    type Count = u32;
    const NONE: u32 = 0;
    /// Spans that the same ranks reached are told apart all the same: another sum would have told them apart.
    const ELIDES: bool = false;

    fn add(&mut self, a: u32, b: u32) -> u32 {
        self.unite(a, b)
    }

    fn max(&mut self, a: u32, b: u32) -> u32 {
        self.unite(a, b)
    }
}
