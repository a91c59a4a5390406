//! The head of a raw profile, and where it says that the parts lie.

use super::{ProfileError, Unsupported, unsupported};

const MAGIC: u64 = u64::from_be_bytes(*b"\xfflprofr\x81");
const MAGIC_32: u64 = u64::from_be_bytes(*b"\xfflprofR\x81");
const MAGIC_INDEXED: u64 = u64::from_be_bytes(*b"\xfflprofi\x81");

/// No program has a profile of this size; memory is not set aside for a header that says so.
pub const MAX_PROFILE: u64 = 1 << 30;

/// No program and its libraries have more build ids, in bytes.
const MAX_IDS: u64 = 64 << 10;

/// The longest header, in bytes.
pub const MAX_HEADER: usize = 16 * 8;

/// A version of the raw format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Version {
    /// clang 14 to 16.
    V8,
    /// LLVM 17 and 18.
    V9,
    /// LLVM 19 to 22, rustc since 1.82.
    V10,
}

impl Version {
    fn number(self) -> u64 {
        match self {
            Self::V8 => 8,
            Self::V9 => 9,
            Self::V10 => 10,
        }
    }

    fn header_size(self) -> usize {
        match self {
            Self::V8 => 11 * 8,
            Self::V9 => 14 * 8,
            Self::V10 => 16 * 8,
        }
    }

    pub(super) fn record_size(self) -> usize {
        match self {
            Self::V8 => 48,
            Self::V9 | Self::V10 => 64,
        }
    }
}

/// The head of a raw profile. Fields that a version does not have are zero.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Header {
    pub(super) version: Version,
    pub(super) binary_ids: u64,
    pub(super) records: u64,
    pub(super) pad_before_counters: u64,
    pub(super) counters: u64,
    pub(super) pad_after_counters: u64,
    pub(super) bitmap: u64,
    pub(super) pad_after_bitmap: u64,
    pub(super) names: u64,
    pub(super) counters_delta: u64,
    pub(super) bitmap_delta: u64,
    pub(super) names_delta: u64,
    pub(super) vtables: u64,
    pub(super) vtable_names: u64,
    pub(super) value_kind_last: u64,
}

impl Header {
    /// Returns the header at the beginning of `head`, which should be [`MAX_HEADER`] bytes where the file has them.
    pub fn parse(head: &[u8]) -> Result<Self, ProfileError> {
        let magic = word(head, 0).ok_or(ProfileError::Foreign)?;
        match magic {
            MAGIC => {}
            MAGIC_32 => return unsupported(Unsupported::Bits32),
            MAGIC_INDEXED => return unsupported(Unsupported::Indexed),
            _ if magic == MAGIC.swap_bytes() || magic == MAGIC_32.swap_bytes() => {
                return unsupported(Unsupported::BigEndian);
            }
            _ if magic == MAGIC_INDEXED.swap_bytes() => return unsupported(Unsupported::Indexed),
            _ => return Err(ProfileError::Foreign),
        }
        let version = word(head, 1).ok_or_else(|| short(16, head))?;
        check_variant(version >> 32)?;
        let version = match version & 0xffff_ffff {
            8 => Version::V8,
            9 => Version::V9,
            10 => Version::V10,
            other => return unsupported(Unsupported::Version(other)),
        };
        let mut words = [0; MAX_HEADER / 8];
        for (at, value) in words.iter_mut().take(version.header_size() / 8).enumerate() {
            *value = word(head, at).ok_or_else(|| short(version.header_size(), head))?;
        }
        let header = Self::from_words(version, &words);
        if header.vtables != 0 || header.vtable_names != 0 {
            return unsupported(Unsupported::VTables);
        }
        if header.records == 0 && header.counters != 0 {
            return unsupported(Unsupported::Correlated);
        }
        if header.binary_ids > MAX_IDS {
            return Err(ProfileError::Damaged(
                "it has more build ids than any program",
            ));
        }
        if !header.binary_ids.is_multiple_of(8) {
            return Err(ProfileError::Damaged("the build ids are not whole words"));
        }
        Ok(header)
    }

    fn from_words(version: Version, words: &[u64; MAX_HEADER / 8]) -> Self {
        let [
            _,
            _,
            binary_ids,
            records,
            pad_before_counters,
            counters,
            pad_after_counters,
            rest @ ..,
        ] = *words;
        let mut rest = rest.into_iter();
        let mut next = |present: bool| if present { rest.next().unwrap_or(0) } else { 0 };
        let (bitmaps, tables) = (version >= Version::V9, version >= Version::V10);
        Self {
            version,
            binary_ids,
            records,
            pad_before_counters,
            counters,
            pad_after_counters,
            bitmap: next(bitmaps),
            pad_after_bitmap: next(bitmaps),
            names: next(true),
            counters_delta: next(true),
            bitmap_delta: next(bitmaps),
            names_delta: next(true),
            vtables: next(tables),
            vtable_names: next(tables),
            value_kind_last: next(true),
        }
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut words = vec![MAGIC, self.version.number(), self.binary_ids, self.records];
        words.extend([
            self.pad_before_counters,
            self.counters,
            self.pad_after_counters,
        ]);
        let (bitmaps, tables) = (self.version >= Version::V9, self.version >= Version::V10);
        if bitmaps {
            words.extend([self.bitmap, self.pad_after_bitmap]);
        }
        words.extend([self.names, self.counters_delta]);
        if bitmaps {
            words.push(self.bitmap_delta);
        }
        words.push(self.names_delta);
        if tables {
            words.extend([self.vtables, self.vtable_names]);
        }
        words.push(self.value_kind_last);
        words.into_iter().flat_map(u64::to_le_bytes).collect()
    }

    /// Returns the header without the words that differ between runs of one binary.
    ///
    /// The distance from the table of functions to the names is random under address randomisation, because the names
    /// lie in memory that the runtime did not lay out; so is the distance to a bitmap section that is not there.
    #[must_use]
    pub fn identity(&self) -> Self {
        let mut identity = self.clone();
        identity.names_delta = 0;
        if identity.bitmap == 0 {
            identity.bitmap_delta = 0;
        }
        identity
    }

    /// Returns where the parts of the profile lie, counted from its first byte.
    pub fn layout(&self) -> Result<Layout, ProfileError> {
        self.checked_layout()
            .filter(|layout| layout.end <= MAX_PROFILE)
            .ok_or(ProfileError::TooLarge)
    }

    fn checked_layout(&self) -> Option<Layout> {
        let binary_ids = Span {
            start: self.version.header_size() as u64,
            len: self.binary_ids,
        };
        let data = Span {
            start: binary_ids.end()?,
            len: self
                .records
                .checked_mul(self.version.record_size() as u64)?,
        };
        let start = data.end()?.checked_add(self.pad_before_counters)?;
        let counters = Span {
            start,
            len: self.counters.checked_mul(8)?,
        };
        let start = counters.end()?.checked_add(self.pad_after_counters)?;
        let bitmap = Span {
            start,
            len: self.bitmap,
        };
        let names = Span {
            start: bitmap.end()?.checked_add(self.pad_after_bitmap)?,
            len: self.names,
        };
        let end = names.end()?.checked_next_multiple_of(8)?;
        Some(Layout {
            binary_ids,
            data,
            counters,
            bitmap,
            names,
            end,
        })
    }
}

/// Some bytes of a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The first byte.
    pub start: u64,
    /// How many there are.
    pub len: u64,
}

impl Span {
    fn end(self) -> Option<u64> {
        self.start.checked_add(self.len)
    }
}

/// Where the parts of a profile lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// The build ids of the binary.
    pub binary_ids: Span,
    /// The table of functions.
    pub data: Span,
    /// Eight bytes a counter.
    pub counters: Span,
    /// One bit for each outcome of each MC/DC decision.
    pub bitmap: Span,
    /// The packed names of the functions.
    pub names: Span,
    /// The size of the whole profile, where another may follow.
    pub end: u64,
}

pub(super) fn word(bytes: &[u8], at: usize) -> Option<u64> {
    bytes
        .get(at * 8..)?
        .first_chunk()
        .map(|b| u64::from_le_bytes(*b))
}

fn short(expected: usize, head: &[u8]) -> ProfileError {
    ProfileError::Truncated {
        expected: expected as u64,
        got: head.len() as u64,
    }
}

fn check_variant(flags: u64) -> Result<(), ProfileError> {
    const IR: u64 = 0b1111 << 23;
    const CORRELATED: u64 = 1 << 27;
    const SINGLE_BYTE: u64 = 1 << 28;
    const FUNCTION_ENTRY_ONLY: u64 = 1 << 29;
    if flags & (SINGLE_BYTE | FUNCTION_ENTRY_ONLY) != 0 {
        return unsupported(Unsupported::SingleByte);
    }
    if flags & CORRELATED != 0 {
        return unsupported(Unsupported::Correlated);
    }
    if flags & IR != 0 {
        return unsupported(Unsupported::IrInstrumentation);
    }
    if flags != 0 {
        return unsupported(Unsupported::Variant(flags << 32));
    }
    Ok(())
}
