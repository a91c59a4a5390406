//! One source file of all functions that have text in it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::super::lines::{Executions, Place, for_each_line};
use super::Coverage;
use super::function::{self, Chunk, Counted, Function, branches_of, walk_expansions};

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
    let of_file: Vec<_> = functions
        .iter()
        .filter_map(|&number| OfFile::new(coverage, file, number))
        .collect();
    let mut covered = FileCoverage {
        path: Cow::Borrowed(coverage.units.files.path(file)),
        ..FileCoverage::default()
    };
    for OfFile {
        function, files, ..
    } in &of_file
    {
        if files.first() == Some(&file) {
            let name = function::name(&coverage.names, function);
            covered.functions.push(FunctionHits {
                name,
                line: function.line,
                hits: function.count,
            });
        }
    }
    add_shares(&mut covered, &of_file, file);
    let (lines, branches) = rayon::join(|| lines(&of_file, file), || branches(&of_file, file));
    (covered.lines, covered.branches) = (lines, branches);
    covered
}

/// A function with text in the file.
struct OfFile<'a> {
    function: &'a Function,
    chunk: &'a Chunk,
    files: &'a [u32],
}

impl<'a> OfFile<'a> {
    fn new(coverage: &'a Coverage<'_>, file: u32, number: u32) -> Option<Self> {
        let function = coverage.functions.get(number as usize)?;
        let (chunk, files) = (coverage.chunk(function)?, coverage.files_of(function));
        files.contains(&file).then_some(Self {
            function,
            chunk,
            files,
        })
    }

    fn is_of(&self, file: u32, local: u32) -> bool {
        self.files.get(local as usize) == Some(&file)
    }

    /// Where the function begins, if that is in the file.
    fn begins(&self, file: u32) -> Option<(u32, Place)> {
        self.function
            .main
            .filter(|(main, _)| self.is_of(file, *main))
    }
}

/// Instances of one function begin at one place; of each number the largest counts.
fn add_shares(covered: &mut FileCoverage<'_>, of_file: &[OfFile<'_>], file: u32) {
    let mut groups: BTreeMap<Place, (u64, Share, Share)> = BTreeMap::new();
    for of in of_file {
        let Some((_, place)) = of.begins(file) else {
            continue;
        };
        let (calls, lines, branches) = groups.entry(place).or_default();
        *calls = calls.wrapping_add(of.function.count);
        *lines = lines.max(of.function.lines);
        *branches = branches.max(of.function.branch_share);
    }
    for (calls, lines, branches) in groups.into_values() {
        covered.function_share.add(Share {
            found: 1,
            hit: u64::from(calls > 0),
        });
        covered.line_share.add(lines);
        covered.branch_share.add(branches);
    }
}

fn lines(of_file: &[OfFile<'_>], file: u32) -> Vec<(u32, u64)> {
    let mut spans = Vec::new();
    for of in of_file {
        let regions = of
            .chunk
            .regions
            .get(of.function.regions.clone())
            .unwrap_or_default();
        spans.extend(
            regions
                .iter()
                .filter(|region| of.is_of(file, region.file))
                .map(Counted::span),
        );
    }
    let mut lines = Vec::new();
    for_each_line(&mut spans, &mut Executions, |line, count| {
        lines.push((line, count));
    });
    lines
}

/// The conditions of a file, those in the text of macros where the macros are used. Conditions that are reached by the
/// same way are one: there, all conditions of a macro's text are added up, as `llvm-cov` adds them.
fn branches(of_file: &[OfFile<'_>], file: u32) -> Vec<Branch> {
    let mut ways: Vec<Place> = Vec::new();
    let mut found = Vec::new();
    let mut add = |way: &[Place], branch: &function::CountedBranch| {
        if branch.never != (true, true) {
            found.push((ways.len()..ways.len() + way.len(), branch.yes, branch.no));
            ways.extend_from_slice(way);
        }
    };
    for of in of_file {
        let all = of
            .chunk
            .branches
            .get(of.function.branches.clone())
            .unwrap_or_default();
        for branch in all.iter().filter(|branch| of.is_of(file, branch.file)) {
            add(&[branch.start], branch);
        }
        let Some((main, _)) = of.begins(file).filter(|_| !all.is_empty()) else {
            continue;
        };
        // That the walk ends was checked when the function was read.
        let _walked = walk_expansions(of.function, of.chunk, main, |file, way| {
            if !way.is_empty() {
                for branch in branches_of(all, file) {
                    add(way, branch);
                }
            }
        });
    }
    let way = |range: &std::ops::Range<usize>| ways.get(range.clone()).unwrap_or_default();
    found.sort_by(|a, b| way(&a.0).cmp(way(&b.0)));
    found.dedup_by(|next, kept| {
        let same = way(&next.0) == way(&kept.0);
        if same {
            kept.1 = kept.1.wrapping_add(next.1);
            kept.2 = kept.2.wrapping_add(next.2);
        }
        same
    });
    let branch = |(range, yes, no)| {
        way(&range).first().map(|place: &Place| Branch {
            line: place.line(),
            yes,
            no,
        })
    };
    found.into_iter().filter_map(branch).collect()
}
