//! One source file of all functions that have text in it.

use std::borrow::Cow;

use super::super::lines::{Executions, Place, Span, for_each_line};
use super::Coverage;
use super::function::Function;
use super::shape::{Counted, Shape};

/// What is covered of a source file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FileCoverage<'a> {
    /// Its path, as the compiler knew it.
    pub path: Cow<'a, str>,
    /// Its functions, every instance of a template or generic for itself.
    pub functions: Vec<FunctionHits<'a>>,
    /// Its functions in numbers, all instances of one taken together.
    pub function_share: Share,
    /// Every line that can run, and how often it did.
    pub lines: Vec<(u32, u64)>,
    /// Its lines in numbers, added over its functions.
    pub line_share: Share,
    /// Its conditions, in the order of the text.
    pub branches: Vec<Branch>,
    /// Its branches in numbers, two a condition, added over its functions.
    pub branch_share: Share,
}

impl FileCoverage<'_> {
    /// Gives Rust's functions the names that people know. Others keep theirs.
    pub fn demangle(&mut self) {
        for function in &mut self.functions {
            if let Ok(name) = rustc_demangle::try_demangle(&function.name) {
                let name = format!("{name:#}");
                // A name that refers to its own parts again and again may become a megabyte.
                if name.len() <= LONGEST_NAME.max(8 * function.name.len()) {
                    function.name = name.into();
                }
            }
        }
    }
}

/// A readable name that is longer than this, and much longer than the mangled one, helps nobody.
const LONGEST_NAME: usize = 16 << 10;

/// How many of how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Share {
    /// How many there are.
    pub found: u64,
    /// How many of them ran.
    pub hit: u64,
}

impl Share {
    fn add(&mut self, other: Self) {
        self.found += other.found;
        self.hit += other.hit;
    }

    fn max(self, other: Self) -> Self {
        Self {
            found: self.found.max(other.found),
            hit: self.hit.max(other.hit),
        }
    }
}

/// A function and how often it was called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionHits<'a> {
    /// Its name, mangled.
    pub name: Cow<'a, str>,
    /// The line where it begins.
    pub line: u32,
    /// How often it was called.
    pub hits: u64,
}

/// A condition and how often it was true and false.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Branch {
    /// Its line; within a macro, the line of the macro's use.
    pub line: u32,
    /// How often it was true.
    pub yes: u64,
    /// How often it was false.
    pub no: u64,
}

/// Returns the coverage of the file with this number, of the functions with these numbers.
pub(super) fn cover<'a>(
    coverage: &'a Coverage<'_>,
    file: u32,
    functions: &[u32],
) -> FileCoverage<'a> {
    let all = functions
        .iter()
        .filter_map(|&number| coverage.functions.get(number as usize));
    let of_file: Vec<_> = all
        .filter_map(|function| Some((function, coverage.shape(function)?)))
        .collect();
    let mut covered = FileCoverage {
        path: Cow::Borrowed(coverage.units.files.path(file)),
        ..FileCoverage::default()
    };
    for (function, shape) in &of_file {
        if shape.files.first() == Some(&file) {
            let name = Cow::Borrowed(coverage.names.text(function.name));
            covered.functions.push(FunctionHits {
                name,
                line: shape.line(),
                hits: function.counted.calls,
            });
        }
    }
    add_shares(&mut covered, &of_file, file);
    let sums = sum_instances(of_file, file);
    let (lines, branches) = rayon::join(|| lines(&sums, file), || branches(&sums, file));
    (covered.lines, covered.branches) = (lines, branches);
    covered
}

/// Where a function begins, if that is in the file.
fn begins(shape: &Shape, file: u32) -> Option<(u32, Place)> {
    shape
        .main
        .filter(|(main, _)| shape.files.get(*main as usize) == Some(&file))
}

/// Functions that begin at one place are instances of one; of each number the largest counts.
fn add_shares(covered: &mut FileCoverage<'_>, of_file: &[(&Function, &Shape)], file: u32) {
    let place = |(function, shape)| begins(shape, file).map(|(_, place)| (place, function, shape));
    let mut begun: Vec<(Place, &Function, &Shape)> =
        of_file.iter().copied().filter_map(place).collect();
    begun.sort_by_key(|(place, ..)| *place);
    for instances in begun.chunk_by(|a, b| a.0 == b.0) {
        let (mut calls, mut lines, mut branches) = (0_u64, Share::default(), Share::default());
        for (_, function, shape) in instances {
            let Counted {
                calls: own,
                lines_found,
                lines_hit,
                branches_hit,
                ..
            } = function.counted;
            calls = calls.wrapping_add(own);
            lines = lines.max(Share {
                found: lines_found,
                hit: lines_hit,
            });
            branches = branches.max(Share {
                found: shape.branches_found,
                hit: branches_hit,
            });
        }
        covered.function_share.add(Share {
            found: 1,
            hit: u64::from(calls > 0),
        });
        covered.line_share.add(lines);
        covered.branch_share.add(branches);
    }
}

/// The counts of all instances of one shape together.
struct Sum<'a> {
    shape: &'a Shape,
    spans: Cow<'a, [u64]>,
    branches: Cow<'a, [[u64; 2]]>,
}

/// Adds up what has one shape, so that a template's text is laid out once and not for each instance; in the order of
/// the text, so that little is left to sort.
fn sum_instances<'a>(mut of_file: Vec<(&'a Function, &'a Shape)>, file: u32) -> Vec<Sum<'a>> {
    let first = |shape: &Shape| {
        shape
            .spans
            .iter()
            .find(|span| shape.files.get(span.file as usize) == Some(&file))
            .map(|span| span.start)
    };
    of_file.sort_by_cached_key(|(function, shape)| (first(shape), function.shape));
    let mut sums = Vec::new();
    for instances in of_file.chunk_by(|a, b| a.0.shape == b.0.shape) {
        let Some((_, shape)) = instances.first() else {
            continue;
        };
        let mut sum = Sum {
            shape,
            spans: Cow::default(),
            branches: Cow::default(),
        };
        for (Function { counted, .. }, _) in instances
            .iter()
            .filter(|(function, _)| !function.counted.spans.is_empty())
        {
            if sum.spans.is_empty() {
                sum.spans = Cow::Borrowed(&counted.spans);
                sum.branches = Cow::Borrowed(&counted.branches);
                continue;
            }
            let add = |(sum, other): (&mut u64, &u64)| *sum = sum.wrapping_add(*other);
            sum.spans
                .to_mut()
                .iter_mut()
                .zip(&counted.spans)
                .for_each(add);
            let sides = sum.branches.to_mut().as_flattened_mut().iter_mut();
            sides.zip(counted.branches.as_flattened()).for_each(add);
        }
        sums.push(sum);
    }
    sums
}

fn lines(sums: &[Sum<'_>], file: u32) -> Vec<(u32, u64)> {
    let all = sums.iter().map(|sum| sum.shape.spans.len()).sum();
    let (mut spans, mut of_macros) = (Vec::with_capacity(all), Vec::new());
    for Sum {
        shape,
        spans: counts,
        ..
    } in sums
    {
        let main = shape.main.map(|(main, _)| main);
        for (at, span) in shape.spans.iter().enumerate() {
            if shape.files.get(span.file as usize) == Some(&file) {
                let spans = if main == Some(span.file) {
                    &mut spans
                } else {
                    &mut of_macros
                };
                spans.push(span.with(counts.get(at).copied().unwrap_or(0)));
            }
        }
    }
    // The text of functions is mostly in order; that of macros, which is not, is better put in order by itself.
    of_macros.sort_unstable_by_key(Span::order);
    spans.append(&mut of_macros);
    let mut lines = Vec::new();
    for_each_line(&mut spans, &mut Executions, |line, count| {
        lines.push((line, count));
    });
    lines
}

/// The conditions of a file, those in the text of macros where the macros are used. Conditions that are reached by the
/// same way are one: there, all conditions of a macro's text are added up, as `llvm-cov` adds them.
fn branches(sums: &[Sum<'_>], file: u32) -> Vec<Branch> {
    let mut ways: Vec<Place> = Vec::new();
    let mut found = Vec::new();
    for Sum {
        shape,
        branches: counts,
        ..
    } in sums.iter().filter(|sum| !sum.shape.branches.is_empty())
    {
        let mut add = |way: &[Place], at: usize| {
            let Some(branch) = shape
                .branches
                .get(at)
                .filter(|branch| branch.never() != [true, true])
            else {
                return;
            };
            let way = if way.is_empty() { &[branch.start] } else { way };
            found.push((
                ways.len()..ways.len() + way.len(),
                counts.get(at).copied().unwrap_or([0, 0]),
            ));
            ways.extend_from_slice(way);
        };
        for (at, branch) in shape.branches.iter().enumerate() {
            if shape.files.get(branch.file as usize) == Some(&file) {
                add(&[], at);
            }
        }
        let Some((main, _)) = begins(shape, file) else {
            continue;
        };
        // That the walk ends was checked when the shape was read.
        let _walked = shape.walk_expansions(main, |file, way| {
            if !way.is_empty() {
                shape.branches_of(file).for_each(|at| add(way, at));
            }
        });
    }
    let way = |range: &std::ops::Range<usize>| ways.get(range.clone()).unwrap_or_default();
    found.sort_by(|a, b| way(&a.0).cmp(way(&b.0)));
    found.dedup_by(|next, kept| {
        let same = way(&next.0) == way(&kept.0);
        if same {
            kept.1
                .iter_mut()
                .zip(next.1)
                .for_each(|(sum, other)| *sum = sum.wrapping_add(other));
        }
        same
    });
    let line = |range| way(range).first().map_or(0, |place| place.line());
    found
        .iter()
        .map(|(range, [yes, no])| Branch {
            line: line(range),
            yes: *yes,
            no: *no,
        })
        .collect()
}
