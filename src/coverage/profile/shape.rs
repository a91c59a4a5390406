//! A profile as a table of functions over counters.

use std::io::{self, Write};
use std::ops::Range;
use std::sync::Arc;

use super::header::{Header, Layout, Version, word};
use super::{MAX_COUNT, ProfileError, Unsupported, unsupported};

/// A function of a profile and where its counts are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// The hash of its name, by which binaries and profiles refer to it.
    pub name: u64,
    /// The hash of its structure; another value means that its source has changed.
    pub hash: u64,
    /// Its counters, among all of the profile.
    pub counters: Range<usize>,
    /// Its bytes of the bitmap.
    pub bitmap: Range<usize>,
}

/// What all profiles of one binary have in common: everything but the counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    header: Header,
    layout: Layout,
    binary_ids: Vec<u8>,
    data: Vec<u8>,
    names: Vec<u8>,
}

impl Shape {
    /// Returns the shape made of the parts that [`Header::layout`] names, if they agree with one another.
    pub fn new(
        header: &Header,
        binary_ids: Vec<u8>,
        data: Vec<u8>,
        names: Vec<u8>,
    ) -> Result<Self, ProfileError> {
        let header = header.identity();
        let layout = header.layout()?;
        let shape = Self {
            header,
            layout,
            binary_ids,
            data,
            names,
        };
        for at in 0..shape.data.len() / shape.header.version.record_size() {
            shape.check(at)?;
        }
        if shape.split_binary_ids().is_none() {
            return Err(ProfileError::Damaged(
                "a build id is longer than their table",
            ));
        }
        Ok(shape)
    }

    /// Returns the header, without what differs between runs.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Returns where the parts lie in each file of this shape.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Returns the number of counters.
    #[must_use]
    pub fn counters(&self) -> usize {
        usize_of(self.header.counters)
    }

    /// Returns the bytes of the build ids' table.
    #[must_use]
    pub fn binary_ids_bytes(&self) -> &[u8] {
        &self.binary_ids
    }

    /// Returns the bytes of the table of functions.
    #[must_use]
    pub fn data_bytes(&self) -> &[u8] {
        &self.data
    }

    /// Returns the packed names.
    #[must_use]
    pub fn names_bytes(&self) -> &[u8] {
        &self.names
    }

    /// Returns the build ids of the binary: usually one, none if it was linked without.
    #[must_use]
    pub fn binary_ids(&self) -> Vec<&[u8]> {
        self.split_binary_ids().unwrap_or_default()
    }

    fn split_binary_ids(&self) -> Option<Vec<&[u8]>> {
        let (mut ids, mut rest) = (Vec::new(), self.binary_ids.as_slice());
        while !rest.is_empty() {
            let len = usize::try_from(word(rest, 0)?).ok()?;
            ids.push(rest.get(8..)?.get(..len)?);
            rest = rest.get(8..)?.get(len.checked_next_multiple_of(8)?..)?;
        }
        Some(ids)
    }

    /// Returns the functions, in the order of the table.
    #[must_use]
    pub fn functions(&self) -> impl ExactSizeIterator<Item = Function> {
        // Every record was checked when the shape was made, so nothing falls back to the default here.
        (0..self.data.len() / self.header.version.record_size()).map(|at| {
            let record = self.record(at);
            let (counters, bitmap) = (self.counters_of(at, &record), self.bitmap_of(at, &record));
            Function {
                name: record.name,
                hash: record.hash,
                counters: counters.unwrap_or_default(),
                bitmap: bitmap.unwrap_or_default(),
            }
        })
    }

    fn check(&self, at: usize) -> Result<(), ProfileError> {
        let record = self.record(at);
        if record.value_sites {
            return unsupported(Unsupported::ValueData);
        }
        if record.counters == 0 {
            return Err(ProfileError::Damaged("a function has no counter"));
        }
        self.counters_of(at, &record)
            .ok_or(ProfileError::Damaged("a function's counters lie outside"))?;
        self.bitmap_of(at, &record)
            .ok_or(ProfileError::Damaged("a function's bitmap lies outside"))?;
        Ok(())
    }

    fn counters_of(&self, at: usize, record: &Record) -> Option<Range<usize>> {
        let offset = self.offset(at, record.counters_at, self.header.counters_delta)?;
        let start = offset.is_multiple_of(8).then_some(offset / 8)?;
        let end = start.checked_add(u64::from(record.counters))?;
        (end <= self.header.counters).then(|| usize_of(start)..usize_of(end))
    }

    fn bitmap_of(&self, at: usize, record: &Record) -> Option<Range<usize>> {
        if record.bitmap == 0 {
            return Some(0..0);
        }
        let start = self.offset(at, record.bitmap_at, self.header.bitmap_delta)?;
        let end = start.checked_add(u64::from(record.bitmap))?;
        (end <= self.header.bitmap).then(|| usize_of(start)..usize_of(end))
    }

    /// A record points to its counters relative to itself, while the header has the distance of the two sections.
    fn offset(&self, at: usize, pointer: u64, delta: u64) -> Option<u64> {
        let position = (at as u64).checked_mul(self.header.version.record_size() as u64)?;
        let offset = pointer.wrapping_sub(delta.wrapping_sub(position));
        i64::try_from(offset).ok().map(i64::cast_unsigned)
    }

    fn record(&self, at: usize) -> Record {
        let size = self.header.version.record_size();
        let bytes = self
            .data
            .get(at * size..(at + 1) * size)
            .unwrap_or(&[0; 64]);
        let long = |at: usize| word(bytes, at / 8).unwrap_or(0);
        let int = |at: usize| {
            bytes
                .get(at..)
                .and_then(<[u8]>::first_chunk)
                .map_or(0, |b| u32::from_le_bytes(*b))
        };
        let is_zero =
            |range: Range<usize>| bytes.get(range).is_some_and(|b| b.iter().all(|&b| b == 0));
        match self.header.version {
            Version::V8 => Record {
                name: long(0),
                hash: long(8),
                counters_at: long(16),
                bitmap_at: 0,
                counters: int(40),
                bitmap: 0,
                value_sites: !is_zero(44..48),
            },
            Version::V9 => Record {
                name: long(0),
                hash: long(8),
                counters_at: long(16),
                bitmap_at: long(24),
                counters: int(48),
                bitmap: int(56),
                value_sites: !is_zero(52..56),
            },
            Version::V10 => Record {
                name: long(0),
                hash: long(8),
                counters_at: long(16),
                bitmap_at: long(24),
                counters: int(48),
                bitmap: int(60),
                value_sites: !is_zero(52..58),
            },
        }
    }
}

struct Record {
    name: u64,
    hash: u64,
    counters_at: u64,
    bitmap_at: u64,
    counters: u32,
    bitmap: u32,
    value_sites: bool,
}

/// Counts of one binary: of one run, or the sum of many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// The functions that were counted.
    pub shape: Arc<Shape>,
    /// All counters.
    pub counters: Vec<u64>,
    /// All MC/DC bitmaps.
    pub bitmap: Vec<u8>,
}

impl Profile {
    /// Writes the profile in the format that it was read in.
    ///
    /// A counter above [`MAX_COUNT`] would be taken for damage, so such a sum is written as several profiles one after
    /// another, which every reader adds up again.
    pub fn write_to(&self, out: &mut impl Write) -> io::Result<()> {
        let largest = self.counters.iter().copied().max().unwrap_or(0);
        for part in 0..largest.div_ceil(MAX_COUNT).max(1) {
            self.write_part(part, out)?;
        }
        Ok(())
    }

    fn write_part(&self, part: u64, out: &mut impl Write) -> io::Result<()> {
        let Shape {
            header,
            layout,
            binary_ids,
            data,
            names,
        } = self.shape.as_ref();
        out.write_all(&header.to_bytes())?;
        out.write_all(binary_ids)?;
        out.write_all(data)?;
        write_zeros(out, header.pad_before_counters)?;
        let already = part.saturating_mul(MAX_COUNT);
        for counter in &self.counters {
            out.write_all(&counter.saturating_sub(already).min(MAX_COUNT).to_le_bytes())?;
        }
        write_zeros(out, header.pad_after_counters)?;
        out.write_all(&self.bitmap)?;
        write_zeros(out, header.pad_after_bitmap)?;
        out.write_all(names)?;
        write_zeros(out, layout.end - layout.names.start - layout.names.len)
    }
}

fn write_zeros(out: &mut impl Write, count: u64) -> io::Result<()> {
    io::copy(&mut io::Read::take(io::repeat(0), count), out).map(drop)
}

/// A 64-bit size that was checked against bytes in memory fits into `usize` on the 64-bit machines this is for.
pub(super) fn usize_of(size: u64) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX)
}
