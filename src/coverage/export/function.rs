//! Functions with their counts: what each region ran, and the totals that a file's summary is made of.

use std::borrow::Cow;
use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use std::ops::Range;

use super::super::counts::{Counts, Found};
use super::super::hash::{NumberHash, NumberHasher};
use super::super::lines::{Executions, Kind, Place, Span, for_each_line};
use super::super::mapping::{
    self, Counter, Mapping, MappingError, Names, NoValue, RegionKind, Units, Values,
};
use super::file::Share;

/// Functions that were read together, and what they share.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    pub(super) functions: Vec<Function>,
    pub(super) files: Vec<u32>,
    pub(super) regions: Vec<Counted>,
    pub(super) branches: Vec<CountedBranch>,
    pub(super) expansions: Vec<Expansion>,
    pub(super) mismatched: usize,
}

/// A function and its count. The ranges are those of its chunk.
#[derive(Debug)]
pub(super) struct Function {
    pub(super) chunk: usize,
    /// What tells it from others: the hashes of its name and of its files.
    pub(super) key: (u64, u64),
    pub(super) name: u64,
    /// The bytes of the name that only say in which file a local function is.
    pub(super) prefix: usize,
    pub(super) files: Range<usize>,
    pub(super) regions: Range<usize>,
    pub(super) branches: Range<usize>,
    pub(super) expansions: Range<usize>,
    pub(super) count: u64,
    /// The line where its first region begins.
    pub(super) line: u32,
    /// The first file that is not the text of a macro, and where the function begins in it.
    pub(super) main: Option<(u32, Place)>,
    pub(super) lines: Share,
    pub(super) branch_share: Share,
}

/// A region and its count.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counted {
    pub(super) start: Place,
    pub(super) end: Place,
    pub(super) count: u64,
    pub(super) file: u32,
    pub(super) kind: Kind,
}

impl Counted {
    pub(super) fn span(&self) -> Span<u64> {
        Span {
            start: self.start,
            end: self.end,
            kind: self.kind,
            tally: self.count,
        }
    }
}

/// A condition and how often it was true and false.
#[derive(Debug, Clone, Copy)]
pub(super) struct CountedBranch {
    pub(super) start: Place,
    pub(super) yes: u64,
    pub(super) no: u64,
    pub(super) file: u32,
    /// Whether the compiler knew that it is never true, or never false.
    pub(super) never: (bool, bool),
}

/// The use of a macro.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expansion {
    pub(super) start: Place,
    pub(super) file: u32,
    pub(super) expanded: u32,
}

/// What functions are read with.
pub(super) struct Context<'a> {
    pub(super) counts: &'a Counts<'a>,
    pub(super) clamp: bool,
    pub(super) units: &'a Units,
    pub(super) names: &'a Names,
    pub(super) seen: &'a HashSet<(u64, u64), NumberHash>,
}

#[derive(Default)]
struct Scratch {
    mapping: Mapping,
    values: Values,
    files: Vec<u32>,
    spans: Vec<Span<u64>>,
}

impl Context<'_> {
    pub(super) fn read(&self, functions: &[mapping::Function<'_>]) -> Result<Chunk, MappingError> {
        let (mut chunk, mut scratch) = (Chunk::default(), Scratch::default());
        for function in functions {
            self.read_one(function, &mut scratch, &mut chunk)?;
        }
        Ok(chunk)
    }

    fn read_one(
        &self,
        function: &mapping::Function<'_>,
        scratch: &mut Scratch,
        chunk: &mut Chunk,
    ) -> Result<(), MappingError> {
        let unit = self.units.files(function.unit);
        mapping::files_of(function, unit.len(), &mut scratch.files)?;
        let name = self
            .names
            .get(function.name)
            .ok_or(MappingError::Malformed("a function without a name"))?;
        scratch
            .files
            .iter_mut()
            .for_each(|file| *file = unit.get(*file as usize).copied().unwrap_or(0));
        let (prefix, key) = self.identify(function.name, &name, &scratch.files);
        if self.seen.contains(&key) {
            return Ok(());
        }
        let counts = match self.counts.find(function.name, function.hash) {
            Found::Counts(counts) => Some(counts),
            Found::Unknown => None,
            Found::Mismatch => {
                chunk.mismatched += 1;
                return Ok(());
            }
        };
        let start = (
            chunk.regions.len(),
            chunk.branches.len(),
            chunk.expansions.len(),
        );
        scratch.mapping.read(function.mapping, unit.len())?;
        if !self.count(counts, scratch, chunk) {
            chunk.regions.truncate(start.0);
            chunk.branches.truncate(start.1);
            chunk.expansions.truncate(start.2);
            return Ok(());
        }
        let files = chunk.files.len()..chunk.files.len() + scratch.files.len();
        chunk.files.extend_from_slice(&scratch.files);
        let first = chunk
            .regions
            .get(start.0)
            .ok_or(MappingError::Malformed("a function without code"))?;
        let (count, line) = (first.count, first.start.line());
        let mut function = Function {
            chunk: 0,
            key,
            name: function.name,
            prefix,
            files,
            regions: start.0..chunk.regions.len(),
            branches: start.1..chunk.branches.len(),
            expansions: start.2..chunk.expansions.len(),
            count,
            line,
            main: None,
            lines: Share::default(),
            branch_share: Share::default(),
        };
        function.main = main_file(&function, chunk);
        if let Some((main, _)) = function.main {
            function.lines = line_share(&function, chunk, main, &mut scratch.spans);
            function.branch_share = branch_share(&function, chunk, main)?;
        }
        chunk.functions.push(function);
        Ok(())
    }

    /// A local function's name begins with its file; functions that only differ in this are one.
    fn identify(&self, hash: u64, name: &str, files: &[u32]) -> (usize, (u64, u64)) {
        let main = files
            .first()
            .map_or("", |&file| self.units.files.path(file));
        let prefix = if !main.is_empty() && name.starts_with(main) {
            (main.len() + 1).min(name.len())
        } else {
            0
        };
        let name = if prefix == 0 {
            hash
        } else {
            mapping::hash(name.as_bytes().get(prefix..).unwrap_or_default())
        };
        let mut hasher = NumberHasher::default();
        files.hash(&mut hasher);
        (prefix, (name, hasher.finish()))
    }

    /// Counts the regions of the function in `scratch`, and returns whether it is to be reported.
    fn count(&self, counts: Option<&[u64]>, scratch: &mut Scratch, chunk: &mut Chunk) -> bool {
        let Scratch {
            mapping, values, ..
        } = scratch;
        if let ([only], Some([first, ..])) = (mapping.regions.as_slice(), counts)
            && only.count == Counter::Zero
            && *first > 0
        {
            // Another translation unit has the function's real mapping.
            return false;
        }
        values.reset(mapping.expressions.len());
        let clamp = |value: u64| {
            if self.clamp && value > i64::MAX.cast_unsigned() {
                0
            } else {
                value
            }
        };
        let mut value = |counter| match counts {
            // What was never counted is zero, however it is computed.
            None => Ok(0),
            Some(counts) => values.get(counter, &mapping.expressions, counts).map(clamp),
        };
        let mut count = |region: &mapping::Region| -> Result<(), NoValue> {
            let kind = match region.kind {
                RegionKind::Decision => return Ok(()),
                RegionKind::Branch(otherwise) => {
                    let (yes, no) = (value(region.count)?, value(otherwise)?);
                    let never = (region.count == Counter::Zero, otherwise == Counter::Zero);
                    chunk.branches.push(CountedBranch {
                        start: region.start,
                        yes,
                        no,
                        file: region.file,
                        never,
                    });
                    return Ok(());
                }
                RegionKind::Expansion(expanded) => {
                    chunk.expansions.push(Expansion {
                        start: region.start,
                        file: region.file,
                        expanded,
                    });
                    Kind::Expansion
                }
                RegionKind::Code => Kind::Code,
                RegionKind::Skipped => Kind::Skipped,
                RegionKind::Gap => Kind::Gap,
            };
            let (start, end, file) = (region.start, region.end, region.file);
            chunk.regions.push(Counted {
                start,
                end,
                count: value(region.count)?,
                file,
                kind,
            });
            Ok(())
        };
        mapping.regions.iter().try_for_each(&mut count).is_ok()
    }
}

fn main_file(function: &Function, chunk: &Chunk) -> Option<(u32, Place)> {
    let expansions = chunk.expansions.get(function.expansions.clone())?;
    let main = if expansions.is_empty() {
        0
    } else {
        let mut expanded = vec![false; function.files.len()];
        for expansion in expansions {
            *expanded.get_mut(expansion.expanded as usize)? = true;
        }
        u32::try_from(expanded.iter().position(|&expanded| !expanded)?).ok()?
    };
    let regions = chunk.regions.get(function.regions.clone())?;
    regions
        .iter()
        .find(|region| region.file == main)
        .map(|region| (main, region.start))
}

fn line_share(function: &Function, chunk: &Chunk, main: u32, spans: &mut Vec<Span<u64>>) -> Share {
    spans.clear();
    let regions = chunk
        .regions
        .get(function.regions.clone())
        .unwrap_or_default();
    spans.extend(
        regions
            .iter()
            .filter(|region| region.file == main)
            .map(Counted::span),
    );
    let mut share = Share::default();
    for_each_line(spans, &mut Executions, |_, count| {
        share.found += 1;
        share.hit += u64::from(count > 0);
    });
    share
}

/// The branches of a function, those within the text of macros once for each use.
fn branch_share(function: &Function, chunk: &Chunk, main: u32) -> Result<Share, MappingError> {
    let mut share = Share::default();
    let branches = chunk
        .branches
        .get(function.branches.clone())
        .unwrap_or_default();
    if branches.is_empty() {
        return Ok(share);
    }
    walk_expansions(function, chunk, main, |file, _| {
        for branch in branches_of(branches, file) {
            for (never, count) in [(branch.never.0, branch.yes), (branch.never.1, branch.no)] {
                share.found += u64::from(!never);
                share.hit += u64::from(!never && count > 0);
            }
        }
    })?;
    Ok(share)
}

/// Returns the branches of one of a function's files; they stand file by file.
pub(super) fn branches_of(branches: &[CountedBranch], file: u32) -> &[CountedBranch] {
    let start = branches.partition_point(|branch| branch.file < file);
    let end = branches.partition_point(|branch| branch.file <= file);
    branches.get(start..end).unwrap_or_default()
}

/// Calls `each` with a file of the function, and with that of each macro that is used in it, and so on; with the places
/// of the uses that led there. Inner macros come before the outer ones.
pub(super) fn walk_expansions(
    function: &Function,
    chunk: &Chunk,
    file: u32,
    mut each: impl FnMut(u32, &[Place]),
) -> Result<(), MappingError> {
    const STEPS: usize = 1 << 20;
    let expansions = chunk
        .expansions
        .get(function.expansions.clone())
        .unwrap_or_default();
    let uses = |file: u32| {
        let start = expansions.partition_point(|expansion| expansion.file < file);
        let end = expansions.partition_point(|expansion| expansion.file <= file);
        expansions.get(start..end).unwrap_or_default()
    };
    let mut path = Vec::new();
    let mut pending = vec![(file, uses(file).iter())];
    for _ in 0..STEPS {
        let Some((file, rest)) = pending.last_mut() else {
            return Ok(());
        };
        if let Some(expansion) = rest.next() {
            path.push(expansion.start);
            pending.push((expansion.expanded, uses(expansion.expanded).iter()));
            if pending.len() > function.files.len() {
                return Err(MappingError::Malformed("a macro that contains itself"));
            }
        } else {
            each(*file, &path);
            pending.pop();
            path.pop();
        }
    }
    Err(MappingError::Malformed("macros without end"))
}

/// A function's name as it is reported.
pub(super) fn name<'a>(names: &'a Names, function: &Function) -> Cow<'a, str> {
    match names.get(function.name) {
        Some(Cow::Borrowed(name)) => Cow::Borrowed(name.get(function.prefix..).unwrap_or(name)),
        Some(Cow::Owned(name)) => {
            Cow::Owned(name.get(function.prefix..).unwrap_or(&name).to_owned())
        }
        None => Cow::Borrowed(""),
    }
}
