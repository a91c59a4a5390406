//! One function's mapping: which text is counted by which counter.
//!
//! Defined in `llvm/docs/CoverageMappingFormat.rst` and `RawCoverageMappingReader::read` of LLVM 22.

use std::ops::Range;

use super::super::lines::Place;
use super::MappingError;
use super::bytes::Bytes;

/// No source file has lines beyond this one; who says so is damaged, and would make tracefiles without end.
pub const MAX_LINE: u32 = 1 << 22;

/// Marks, in the column where a region ends, that it is a gap.
const GAP: u32 = 1 << 31;

/// What counts a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Counter {
    /// Nothing: code that never runs.
    Zero,
    /// A counter of the function.
    Counter(u32),
    /// A sum or a difference.
    Expression(u32),
}

impl Counter {
    /// Returns the number of a counter of the function.
    #[must_use]
    pub fn number(self) -> Option<u32> {
        match self {
            Self::Counter(number) => Some(number),
            Self::Zero | Self::Expression(_) => None,
        }
    }
}

/// A sum or a difference of two counters.
#[derive(Debug, Clone, Copy)]
pub struct Expression {
    /// Whether it is a sum.
    pub adds: bool,
    /// The left side.
    pub left: Counter,
    /// The right side.
    pub right: Counter,
}

/// What a region is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegionKind {
    /// Code.
    Code,
    /// A macro whose text is the file with this number.
    Expansion(u32),
    /// Text that the preprocessor left out.
    Skipped,
    /// The space between statements.
    Gap,
    /// A condition; this counts how often it was false.
    Branch(Counter),
    /// An MC/DC decision, which has no count.
    Decision,
}

/// A piece of text and what counts it.
#[derive(Debug, Clone, Copy)]
pub struct Region {
    /// Its file, among those of the function.
    pub file: u32,
    /// Its first character.
    pub start: Place,
    /// The place behind its last character.
    pub end: Place,
    /// What it is.
    pub kind: RegionKind,
    /// What counts it.
    pub count: Counter,
}

/// A function's mapping. It is read into again and again, so that its memory is kept.
#[derive(Debug, Default)]
pub struct Mapping {
    /// The number of each file within the list of its translation unit.
    pub files: Vec<u32>,
    /// What regions refer to.
    pub expressions: Vec<Expression>,
    /// The regions, file by file.
    pub regions: Vec<Region>,
}

impl Mapping {
    /// Reads the mapping of a function of a translation unit with this many files.
    pub fn read(&mut self, bytes: &[u8], unit_files: usize) -> Result<(), MappingError> {
        self.files.clear();
        self.expressions.clear();
        self.regions.clear();
        let mut bytes = Bytes(bytes);
        read_files(&mut bytes, unit_files, &mut self.files)?;
        let expressions = bytes.count()?;
        let unknown = Expression {
            adds: false,
            left: Counter::Zero,
            right: Counter::Zero,
        };
        self.expressions.resize(expressions, unknown);
        for at in 0..expressions {
            let left = self.counter(bytes.small()?)?;
            let right = self.counter(bytes.small()?)?;
            if let Some(expression) = self.expressions.get_mut(at) {
                (expression.left, expression.right) = (left, right);
            }
        }
        for file in (0_u32..).take(self.files.len()) {
            self.read_file(&mut bytes, file)?;
        }
        self.count_expansions();
        Ok(())
    }

    fn read_file(&mut self, bytes: &mut Bytes<'_>, file: u32) -> Result<(), MappingError> {
        let mut line = 0_u32;
        for _ in 0..bytes.count()? {
            let (mut kind, count) = self.read_kind(bytes)?;
            let (below, column, lines, end) = (
                bytes.small()?,
                bytes.number()?,
                bytes.small()?,
                bytes.small()?,
            );
            let column = u32::try_from(column)
                .map_err(|_| MappingError::Malformed("a number is too large"))?;
            line = line.saturating_add(below);
            let last = line.saturating_add(lines);
            if line == 0 || last > MAX_LINE {
                return Err(MappingError::Malformed("a line that no file has"));
            }
            if end & GAP != 0 {
                kind = RegionKind::Gap;
            }
            let (column, end) = if column == 0 && end & !GAP == 0 {
                (1, u32::MAX)
            } else {
                (column, end & !GAP)
            };
            let (start, end) = (Place::new(line, column), Place::new(last, end));
            if start > end {
                return Err(MappingError::Malformed("a region ends before it begins"));
            }
            self.regions.push(Region {
                file,
                start,
                end,
                kind,
                count,
            });
        }
        Ok(())
    }

    fn read_kind(&mut self, bytes: &mut Bytes<'_>) -> Result<(RegionKind, Counter), MappingError> {
        let encoded = bytes.small()?;
        if encoded & 3 != 0 {
            return Ok((RegionKind::Code, self.counter(encoded)?));
        }
        if encoded & 4 != 0 {
            let expanded = encoded >> 3;
            if expanded as usize >= self.files.len() {
                return Err(MappingError::Malformed(
                    "a macro expands to a file that is not there",
                ));
            }
            return Ok((RegionKind::Expansion(expanded), Counter::Zero));
        }
        let kind = match encoded >> 3 {
            0 => RegionKind::Code,
            2 => RegionKind::Skipped,
            4 => return self.read_branch(bytes),
            5 => {
                bytes.small()?;
                read_id(bytes)?;
                RegionKind::Decision
            }
            6 => {
                let branch = self.read_branch(bytes)?;
                if read_id(bytes)? == 0 {
                    return Err(MappingError::Malformed("a condition has no number"));
                }
                read_id(bytes)?;
                read_id(bytes)?;
                return Ok(branch);
            }
            _ => return Err(MappingError::Malformed("a region of an unknown kind")),
        };
        Ok((kind, Counter::Zero))
    }

    fn read_branch(
        &mut self,
        bytes: &mut Bytes<'_>,
    ) -> Result<(RegionKind, Counter), MappingError> {
        let count = self.counter(bytes.small()?)?;
        let otherwise = self.counter(bytes.small()?)?;
        Ok((RegionKind::Branch(otherwise), count))
    }

    /// Decodes a counter. Whether an expression adds is not said where it stands but where it is referred to.
    fn counter(&mut self, encoded: u32) -> Result<Counter, MappingError> {
        let number = encoded >> 2;
        match encoded & 3 {
            0 => Ok(Counter::Zero),
            1 => Ok(Counter::Counter(number)),
            tag => {
                let expression = self.expressions.get_mut(number as usize);
                expression
                    .ok_or(MappingError::Malformed("an expression that is not there"))?
                    .adds = tag == 3;
                Ok(Counter::Expression(number))
            }
        }
    }

    /// Gives each macro the counter of the first region of its text, which may be a macro again.
    fn count_expansions(&mut self) {
        if self.files.len() < 2 {
            return;
        }
        let mut expansion_of: Vec<Option<usize>> = vec![None; self.files.len()];
        let mut first_of = expansion_of.clone();
        for (at, region) in self.regions.iter().enumerate() {
            if let Some(slot) = first_of.get_mut(region.file as usize) {
                slot.get_or_insert(at);
            }
            if let RegionKind::Expansion(file) = region.kind
                && let Some(slot) = expansion_of.get_mut(file as usize)
            {
                // Of several uses of one text, which no compiler writes, the last is the one that is given.
                *slot = Some(at);
            }
        }
        let of = |list: &[Option<usize>], file: usize| list.get(file).copied().flatten();
        // A text that begins with a macro waits for the counter of that; none waits twice, so that rings have none.
        let mut visited = vec![false; self.files.len()];
        let mut waiting = Vec::new();
        for start in 0..self.files.len() {
            let mut file = start;
            while let Some(seen) = visited.get_mut(file)
                && !std::mem::replace(seen, true)
                && let Some((use_, first)) = of(&expansion_of, file).zip(of(&first_of, file))
            {
                waiting.push((use_, first));
                match self.regions.get(first).map(|region| region.kind) {
                    Some(RegionKind::Expansion(next)) => file = next as usize,
                    _ => break,
                }
            }
            while let Some((use_, first)) = waiting.pop() {
                let count = self.regions.get(first).map(|region| region.count);
                if let Some((region, count)) = self.regions.get_mut(use_).zip(count) {
                    region.count = count;
                }
            }
        }
    }

    /// Returns the regions of one file of the function.
    #[must_use]
    pub fn regions_of(&self, file: u32) -> Range<usize> {
        let start = self.regions.partition_point(|region| region.file < file);
        let end = self.regions.partition_point(|region| region.file <= file);
        start..end
    }
}

fn read_files(
    bytes: &mut Bytes<'_>,
    unit_files: usize,
    files: &mut Vec<u32>,
) -> Result<(), MappingError> {
    for _ in 0..bytes.count()? {
        let file = bytes.small()?;
        if file as usize >= unit_files {
            return Err(MappingError::Malformed(
                "a file that its translation unit does not have",
            ));
        }
        files.push(file);
    }
    Ok(())
}

fn read_id(bytes: &mut Bytes<'_>) -> Result<u64, MappingError> {
    match bytes.number()? {
        id if id < i16::MAX.cast_unsigned().into() => Ok(id),
        _ => Err(MappingError::Malformed("a number is too large")),
    }
}

/// Reads only the files of a function's mapping.
pub(super) fn files(
    bytes: &[u8],
    unit_files: usize,
    files: &mut Vec<u32>,
) -> Result<(), MappingError> {
    files.clear();
    read_files(&mut Bytes(bytes), unit_files, files)
}

/// Returns whether a mapping stands for a function that its translation unit knew but did not use.
pub(super) fn is_unused(bytes: &[u8]) -> Result<bool, MappingError> {
    let mut bytes = Bytes(bytes);
    if bytes.count()? != 1 {
        return Ok(false);
    }
    bytes.small()?;
    if bytes.count()? != 0 || bytes.count()? != 1 {
        return Ok(false);
    }
    let encoded = bytes.small()?;
    Ok(encoded % 4 == 0)
}

/// The values of a function's expressions, each computed when it is first asked for.
#[derive(Debug, Default)]
pub struct Values {
    values: Vec<Value>,
    pending: Vec<u32>,
}

#[derive(Debug, Clone, Copy)]
enum Value {
    Unknown,
    Pending,
    Known(u64),
}

/// A counter that the function does not have, or an expression that contains itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoValue;

impl Values {
    /// Forgets the values of the function before, and prepares for one with as many expressions.
    pub fn reset(&mut self, expressions: usize) {
        self.values.clear();
        self.values.resize(expressions, Value::Unknown);
    }

    /// Returns how often `counter` counted. Differences wrap below zero, as they do in `llvm-cov`.
    #[inline]
    pub fn get(
        &mut self,
        counter: Counter,
        expressions: &[Expression],
        counts: &[u64],
    ) -> Result<u64, NoValue> {
        match self.known(counter, counts)? {
            Some(value) => Ok(value),
            None => self.compute(counter, expressions, counts),
        }
    }

    #[inline]
    fn known(&self, counter: Counter, counts: &[u64]) -> Result<Option<u64>, NoValue> {
        match counter {
            Counter::Zero => Ok(Some(0)),
            Counter::Counter(number) => counts
                .get(number as usize)
                .copied()
                .map(Some)
                .ok_or(NoValue),
            Counter::Expression(number) => match self.values.get(number as usize).ok_or(NoValue)? {
                Value::Known(value) => Ok(Some(*value)),
                Value::Unknown | Value::Pending => Ok(None),
            },
        }
    }

    /// Computes an expression after those that it is made of. These can be thousands deep, so there is no recursion.
    fn compute(
        &mut self,
        counter: Counter,
        expressions: &[Expression],
        counts: &[u64],
    ) -> Result<u64, NoValue> {
        let Counter::Expression(number) = counter else {
            return Err(NoValue);
        };
        self.pending.clear();
        self.pending.push(number);
        let mut result = Err(NoValue);
        while let Some(&number) = self.pending.last() {
            let Expression { adds, left, right } =
                *expressions.get(number as usize).ok_or(NoValue)?;
            let sides = (self.known(left, counts)?, self.known(right, counts)?);
            let missing = match sides {
                (Some(left), Some(right)) => {
                    let value = if adds {
                        left.wrapping_add(right)
                    } else {
                        left.wrapping_sub(right)
                    };
                    *self.values.get_mut(number as usize).ok_or(NoValue)? = Value::Known(value);
                    self.pending.pop();
                    result = Ok(value);
                    continue;
                }
                (None, _) => left,
                (_, None) => right,
            };
            let Counter::Expression(missing) = missing else {
                return Err(NoValue);
            };
            *self.values.get_mut(number as usize).ok_or(NoValue)? = Value::Pending;
            if matches!(self.values.get(missing as usize), Some(Value::Pending)) {
                return Err(NoValue);
            }
            self.pending.push(missing);
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What LLVM does: round by round, until nothing changes.
    fn round_by_round(mapping: &mut Mapping) {
        let mut expansion_of: Vec<Option<usize>> = vec![None; mapping.files.len()];
        for _ in 1..mapping.files.len() {
            for (at, region) in mapping.regions.iter().enumerate() {
                if let RegionKind::Expansion(file) = region.kind {
                    expansion_of[file as usize] = Some(at);
                }
            }
            for at in 0..mapping.regions.len() {
                let Region { file, count, .. } = mapping.regions[at];
                if let Some(expansion) = expansion_of[file as usize].take() {
                    mapping.regions[expansion].count = count;
                }
            }
        }
    }

    fn mapping() -> impl Strategy<Value = Mapping> {
        let region = (0..7_u32, prop::option::weighted(0.6, 0..7_u32), 0..9_u32);
        prop::collection::vec(region, 0..14).prop_map(|rows| {
            let region = |(file, expanded, number): (u32, Option<u32>, u32)| Region {
                file,
                start: Place::new(1, 1),
                end: Place::new(1, 2),
                kind: expanded.map_or(RegionKind::Code, RegionKind::Expansion),
                count: match expanded {
                    Some(_) => Counter::Zero,
                    None => Counter::Counter(number),
                },
            };
            let mut regions: Vec<Region> = rows.into_iter().map(region).collect();
            regions.sort_by_key(|region| region.file);
            Mapping {
                files: vec![0; 7],
                regions,
                ..Mapping::default()
            }
        })
    }

    proptest! {
        #[test]
        fn macros_are_counted_as_round_by_round(mut mapping in mapping()) {
            let mut expected = Mapping {
                files: mapping.files.clone(),
                regions: mapping.regions.clone(),
                ..Mapping::default()
            };
            round_by_round(&mut expected);
            mapping.count_expansions();
            let counts = |mapping: &Mapping| -> Vec<Counter> {
                mapping.regions.iter().map(|region| region.count).collect()
            };
            prop_assert_eq!(counts(&mapping), counts(&expected));
        }
    }
}
