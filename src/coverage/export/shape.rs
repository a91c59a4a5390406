//! Functions without their counts: what instances of a template, and equal functions of several binaries, have in
//! common. Most functions of a large program are instances or never ran, so this is read and laid out once.

use std::sync::OnceLock;

use super::super::lines::{Executions, Kind, Place, Span, for_each_line};
use super::super::mapping::{
    Counter, Expression, Mapping, MappingError, NoValue, RegionKind, Values,
};
use super::super::rank_hits;

/// The text of a function and what counts it.
#[derive(Debug, Default)]
pub(super) struct Shape {
    /// The numbers of its files.
    pub(super) files: Vec<u32>,
    expressions: Vec<Expression>,
    /// File by file, in each in the order of [`for_each_line`].
    pub(super) spans: Vec<ShapeSpan>,
    /// File by file.
    pub(super) branches: Vec<ShapeBranch>,
    expansions: Vec<Expansion>,
    /// What counts the calls, and the line where the function begins.
    entry: Option<(Counter, u32)>,
    /// The first file that is not the text of a macro, and where the function begins in it.
    pub(super) main: Option<(u32, Place)>,
    /// Whether nothing is known but that the function has text, because its translation unit did not use it.
    unused: bool,
    /// How many counters it refers to.
    counters: usize,
    /// How many lines it has, if it never runs; found when it is first asked for.
    idle_lines: OnceLock<u64>,
    /// How many lines its text reaches over, file by file, with what lies between its parts.
    pub(super) reach: u64,
    /// How often its parts are looked at, once for each of its files.
    pub(super) looks: u64,
    /// How many branches it has, those in the text of macros once for each use.
    pub(super) branches_found: u64,
}

/// A piece of text and what counts it.
#[derive(Debug, Clone, Copy)]
pub(super) struct ShapeSpan {
    pub(super) start: Place,
    pub(super) end: Place,
    count: Counter,
    pub(super) file: u32,
    kind: Kind,
}

impl ShapeSpan {
    pub(super) fn with<T>(&self, tally: T) -> Span<T> {
        Span {
            start: self.start,
            end: self.end,
            kind: self.kind,
            tally,
        }
    }
}

/// A condition and what counts it.
#[derive(Debug, Clone, Copy)]
pub(super) struct ShapeBranch {
    pub(super) start: Place,
    pub(super) file: u32,
    yes: Counter,
    no: Counter,
}

impl ShapeBranch {
    /// Whether the compiler knew that it is never true, or never false.
    pub(super) fn never(&self) -> [bool; 2] {
        [self.yes == Counter::Zero, self.no == Counter::Zero]
    }
}

/// The use of a macro.
#[derive(Debug, Clone, Copy)]
struct Expansion {
    start: Place,
    file: u32,
    expanded: u32,
}

/// How often the parts of a function ran.
#[derive(Debug, Default)]
pub(super) struct Counted {
    /// One for each span, or none at all if nothing ran.
    pub(super) spans: Vec<u64>,
    /// How often each branch was true and false.
    pub(super) branches: Vec<[u64; 2]>,
    pub(super) calls: u64,
    pub(super) lines_found: u64,
    pub(super) lines_hit: u64,
    pub(super) branches_hit: u64,
}

/// Memory that is kept from function to function.
#[derive(Default)]
pub(super) struct Scratch {
    mapping: Mapping,
    values: Values,
    spans: Vec<Span<u64>>,
}

impl Shape {
    /// Reads a function with these files; its translation unit has `unit_files` of them.
    pub(super) fn read(
        bytes: &[u8],
        unit_files: usize,
        files: &[u32],
        scratch: &mut Scratch,
    ) -> Result<Self, MappingError> {
        let mapping = &mut scratch.mapping;
        mapping.read(bytes, unit_files)?;
        let mut shape = Self {
            files: files.to_vec(),
            expressions: mapping.expressions.clone(),
            ..Self::default()
        };
        if let [only] = mapping.regions.as_slice() {
            shape.unused = only.count == Counter::Zero;
        }
        shape.spans.reserve_exact(mapping.regions.len());
        for region in &mapping.regions {
            let (start, end, file, count) = (region.start, region.end, region.file, region.count);
            let kind = match region.kind {
                RegionKind::Decision => continue,
                RegionKind::Branch(no) => {
                    shape.branches.push(ShapeBranch {
                        start,
                        file,
                        yes: count,
                        no,
                    });
                    continue;
                }
                RegionKind::Expansion(expanded) => {
                    shape.expansions.push(Expansion {
                        start,
                        file,
                        expanded,
                    });
                    Kind::Expansion
                }
                RegionKind::Code => Kind::Code,
                RegionKind::Skipped => Kind::Skipped,
                RegionKind::Gap => Kind::Gap,
            };
            shape.spans.push(ShapeSpan {
                start,
                end,
                count,
                file,
                kind,
            });
        }
        shape.settle()?;
        Ok(shape)
    }

    fn settle(&mut self) -> Result<(), MappingError> {
        self.counters = self
            .all_counters()
            .filter_map(Counter::number)
            .max()
            .map_or(0, |last| last as usize + 1);
        let first = self
            .spans
            .first()
            .ok_or(MappingError::Malformed("a function without code"))?;
        self.entry = Some((first.count, first.start.line()));
        self.main = self.main_file();
        let key = |span: &ShapeSpan| {
            (
                span.file,
                span.start,
                std::cmp::Reverse(span.end),
                span.kind,
            )
        };
        if !self.spans.is_sorted_by_key(key) {
            self.spans.sort_by_key(key);
        }
        let of_file = self.spans.chunk_by(|a, b| a.file == b.file);
        self.reach = of_file
            .filter_map(|spans| {
                let last = spans.iter().map(|span| span.end.line()).max()?;
                Some(u64::from(last - spans.first()?.start.line()) + 1)
            })
            .sum();
        let mut distinct = self.files.clone();
        distinct.sort_unstable();
        distinct.dedup();
        self.looks = distinct.len() as u64 * (self.spans.len() + self.branches.len()) as u64;
        if let Some((main, _)) = self.main {
            let mut found = 0;
            self.walk_expansions(main, |file, _| {
                found += self
                    .branches_of(file)
                    .filter_map(|at| self.branches.get(at))
                    .map(open_sides)
                    .sum::<u64>();
            })?;
            self.branches_found = found;
        }
        Ok(())
    }

    fn all_counters(&self) -> impl Iterator<Item = Counter> {
        let expressions = self
            .expressions
            .iter()
            .flat_map(|expression| [expression.left, expression.right]);
        let branches = self
            .branches
            .iter()
            .flat_map(|branch| [branch.yes, branch.no]);
        expressions
            .chain(branches)
            .chain(self.spans.iter().map(|span| span.count))
    }

    fn main_file(&self) -> Option<(u32, Place)> {
        let mut expanded = vec![false; self.files.len()];
        for expansion in &self.expansions {
            *expanded.get_mut(expansion.expanded as usize)? = true;
        }
        let main = u32::try_from(expanded.iter().position(|&expanded| !expanded)?).ok()?;
        self.spans
            .iter()
            .find(|span| span.file == main)
            .map(|span| (main, span.start))
    }

    /// Returns, for each span, its place among the distinct counters of all spans; none if nothing counts it.
    pub(super) fn cells(&self) -> impl Iterator<Item = Option<usize>> {
        let cells = rank_hits::cells(self.spans.iter().map(|span| span.count));
        self.spans
            .iter()
            .map(move |span| cells.binary_search(&span.count).ok())
    }

    /// Returns the line where the function begins.
    pub(super) fn line(&self) -> u32 {
        self.entry.map_or(0, |(_, line)| line)
    }

    /// Returns what is known of the function if it never ran.
    pub(super) fn idle(&self, scratch: &mut Scratch) -> Counted {
        let found = |(main, _)| self.lines(main, |_| 0, &mut scratch.spans).0;
        let lines_found = *self.idle_lines.get_or_init(|| self.main.map_or(0, found));
        Counted {
            lines_found,
            ..Counted::default()
        }
    }

    /// Returns how often its parts ran, given its counters; none if it is not to be reported.
    pub(super) fn count(
        &self,
        counters: &[u64],
        clamp: bool,
        scratch: &mut Scratch,
    ) -> Option<Counted> {
        if self.counters <= counters.len() && counters.iter().all(|&counter| counter == 0) {
            return Some(self.idle(scratch));
        }
        if self.unused && counters.first().is_some_and(|&counter| counter > 0) {
            // Another translation unit has the function's real mapping.
            return None;
        }
        self.try_count(counters, clamp, scratch).ok()
    }

    fn try_count(
        &self,
        counters: &[u64],
        clamp: bool,
        scratch: &mut Scratch,
    ) -> Result<Counted, NoValue> {
        let Scratch { values, spans, .. } = scratch;
        values.reset(self.expressions.len());
        let clamp = |value: u64| {
            if clamp && value > i64::MAX.cast_unsigned() {
                0
            } else {
                value
            }
        };
        let mut value = |counter| values.get(counter, &self.expressions, counters).map(clamp);
        let mut counted = Counted {
            calls: value(self.entry.map_or(Counter::Zero, |(counter, _)| counter))?,
            spans: Vec::with_capacity(self.spans.len()),
            branches: Vec::with_capacity(self.branches.len()),
            ..Counted::default()
        };
        for span in &self.spans {
            counted.spans.push(value(span.count)?);
        }
        for branch in &self.branches {
            counted
                .branches
                .push([value(branch.yes)?, value(branch.no)?]);
        }
        if let Some((main, _)) = self.main {
            let count = |at| counted.spans.get(at).copied().unwrap_or(0);
            (counted.lines_found, counted.lines_hit) = self.lines(main, count, spans);
            counted.branches_hit = self.branches_hit(main, &counted.branches);
        }
        Ok(counted)
    }

    /// Returns how many lines the function has in a file, and how many of them ran.
    fn lines(
        &self,
        file: u32,
        count: impl Fn(usize) -> u64,
        spans: &mut Vec<Span<u64>>,
    ) -> (u64, u64) {
        spans.clear();
        let start = self.spans.partition_point(|span| span.file < file);
        let end = self.spans.partition_point(|span| span.file <= file);
        let of_file = self.spans.get(start..end).unwrap_or_default();
        spans.extend(
            of_file
                .iter()
                .zip(start..)
                .map(|(span, at)| span.with(count(at))),
        );
        let (mut found, mut hit) = (0, 0);
        for_each_line(spans, &mut Executions, |_, count| {
            found += 1;
            hit += u64::from(count > 0);
        });
        (found, hit)
    }

    fn branches_hit(&self, main: u32, counts: &[[u64; 2]]) -> u64 {
        let mut hit = 0;
        if self.branches.is_empty() {
            return hit;
        }
        // That the walk ends was checked when the shape was read.
        let _walked = self.walk_expansions(main, |file, _| {
            for at in self.branches_of(file) {
                let (Some(branch), Some(counts)) = (self.branches.get(at), counts.get(at)) else {
                    continue;
                };
                let sides = branch.never().into_iter().zip(counts);
                hit += sides
                    .map(|(never, &count)| u64::from(!never && count > 0))
                    .sum::<u64>();
            }
        });
        hit
    }

    /// Returns the branches of one of the function's files.
    pub(super) fn branches_of(&self, file: u32) -> std::ops::Range<usize> {
        let start = self.branches.partition_point(|branch| branch.file < file);
        start..self.branches.partition_point(|branch| branch.file <= file)
    }

    /// Calls `each` with a file of the function, and with that of each macro that is used in it, and so on; with the
    /// places of the uses that led there. Inner macros come before the outer ones.
    pub(super) fn walk_expansions(
        &self,
        file: u32,
        mut each: impl FnMut(u32, &[Place]),
    ) -> Result<(), MappingError> {
        // A compiler lists the text of a macro once for each use, so that there are no more steps than files. A way is kept for each
        // branch.
        const NESTED: u64 = 64;
        const SPARE: u64 = 1024;
        let parts = (self.files.len() + self.branches.len() + self.expansions.len()) as u64;
        let most = SPARE + NESTED * parts;
        let mut steps = 0;
        let uses = |file: u32| {
            let start = self
                .expansions
                .partition_point(|expansion| expansion.file < file);
            let end = self
                .expansions
                .partition_point(|expansion| expansion.file <= file);
            self.expansions.get(start..end).unwrap_or_default().iter()
        };
        let mut path = Vec::new();
        let mut pending = vec![(file, uses(file))];
        while steps <= most {
            let Some((file, rest)) = pending.last_mut() else {
                return Ok(());
            };
            steps += 1;
            if let Some(expansion) = rest.next() {
                path.push(expansion.start);
                pending.push((expansion.expanded, uses(expansion.expanded)));
                if pending.len() > self.files.len() {
                    return Err(MappingError::Malformed("a macro that contains itself"));
                }
            } else {
                steps += self.branches_of(*file).len() as u64 * (1 + path.len() as u64);
                if steps > most {
                    break;
                }
                each(*file, &path);
                pending.pop();
                path.pop();
            }
        }
        Err(MappingError::Ways(most))
    }
}

fn open_sides(branch: &ShapeBranch) -> u64 {
    branch.never().map(|never| u64::from(!never)).iter().sum()
}
