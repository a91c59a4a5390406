//! What a profile says of itself in its first bytes: who can read it, whether it is whole, whose counters it holds.
//!
//! The layout is `llvm/include/llvm/ProfileData/InstrProfData.inc` of LLVM 14 (version 8), 18 (9) and 22 (10).

use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::foreign;

/// More bytes of build ids than any process has shared libraries for.
const LONGEST_IDS: u64 = 1 << 20;

/// What became of a profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Its counters are in the sum.
    Used,
    /// It has no byte: its process died before it could write.
    Empty,
    /// It is cut short: its process died while it wrote.
    Truncated,
    /// It cannot be used, for this reason.
    Foreign(String),
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Used => f.write_str("used"),
            Self::Empty => f.write_str("empty"),
            Self::Truncated => f.write_str("truncated"),
            Self::Foreign(reason) => write!(f, "unusable ({reason})"),
        }
    }
}

/// What kind of profile it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// As a process wrote it, of this version.
    Raw(u64),
    /// As `llvm-profdata` wrote it.
    Indexed,
}

impl Kind {
    /// Returns whether tools of this major version of LLVM read it.
    ///
    /// 8 was tried with 14 and 16, 10 with 19 and 22; the others are what the releases say of themselves.
    #[must_use]
    pub fn is_read_by(self, major: u32) -> bool {
        match self {
            Self::Indexed => true,
            Self::Raw(7) => major == 13,
            Self::Raw(8) => (14..=17).contains(&major),
            Self::Raw(9) => major == 18,
            Self::Raw(10) => (19..=22).contains(&major),
            Self::Raw(..7) => major < 13,
            Self::Raw(11..) => major > 22,
        }
    }

    /// Returns the releases that read it, in words.
    #[must_use]
    pub fn readers(self) -> &'static str {
        match self {
            Self::Indexed => "any LLVM that is not older",
            Self::Raw(..7) => "LLVM 12 or older",
            Self::Raw(7) => "LLVM 13",
            Self::Raw(8) => "LLVM 14 to 17",
            Self::Raw(9) => "LLVM 18",
            Self::Raw(10) => "LLVM 19 to 22",
            Self::Raw(11..) => "LLVM 23 or newer",
        }
    }
}

/// A profile and what is known of it.
#[derive(Debug)]
pub(super) struct Profile {
    pub(super) path: PathBuf,
    /// `Used` until something speaks against it.
    pub(super) state: State,
    pub(super) kind: Kind,
    pub(super) build_ids: Vec<String>,
}

/// Looks at all profiles, many at a time.
pub(super) fn look_at_all(paths: &[PathBuf]) -> Vec<Profile> {
    paths.par_iter().map(|path| look_at(path)).collect()
}

fn look_at(path: &Path) -> Profile {
    // Of a file that is not there, the words of the system suffice.
    let there = std::fs::symlink_metadata(path);
    let head = there.and_then(|_| foreign::open(path)).and_then(|file| {
        let file = file.into_file();
        let size = file.metadata()?.len();
        head(file, size)
    });
    let head = head.unwrap_or_else(|error| Head::bad(State::Foreign(error.to_string())));
    Profile {
        // The list of files that the tools read has one line for each.
        state: if path.as_os_str().as_encoded_bytes().contains(&b'\n') {
            State::Foreign("its name contains a line break".to_owned())
        } else {
            head.state
        },
        path: std::path::absolute(path).unwrap_or_else(|_| path.to_owned()),
        kind: head.kind,
        build_ids: head.build_ids,
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Head {
    state: State,
    kind: Kind,
    build_ids: Vec<String>,
}

impl Head {
    fn bad(state: State) -> Self {
        Self {
            state,
            kind: Kind::Indexed,
            build_ids: Vec::new(),
        }
    }

    fn good(kind: Kind) -> Self {
        Self {
            state: State::Used,
            kind,
            build_ids: Vec::new(),
        }
    }
}

/// Byte order of a raw profile.
#[derive(Clone, Copy)]
enum Order {
    Little,
    Big,
}

impl Order {
    fn word(self, bytes: [u8; 8]) -> u64 {
        match self {
            Self::Little => u64::from_le_bytes(bytes),
            Self::Big => u64::from_be_bytes(bytes),
        }
    }
}

/// Returns what the beginning of a profile of `size` bytes says.
fn head(mut source: impl Read, size: u64) -> io::Result<Head> {
    if size == 0 {
        return Ok(Head::bad(State::Empty));
    }
    let mut start = Vec::new();
    source.by_ref().take(16 * 8).read_to_end(&mut start)?;
    let Some(magic) = start.first_chunk::<8>() else {
        let begins_well = b"\x81rforpl\xff".starts_with(&start);
        let state = if begins_well {
            State::Truncated
        } else {
            not_a_profile()
        };
        return Ok(Head::bad(state));
    };
    let order = match magic {
        b"\xfflprofi\x81" => return Ok(Head::good(Kind::Indexed)),
        b"\x81rforpl\xff" | b"\x81Rforpl\xff" => Order::Little,
        b"\xfflprofr\x81" | b"\xfflprofR\x81" => Order::Big,
        _ => return Ok(Head::bad(not_a_profile())),
    };
    let words: Vec<u64> = start
        .as_chunks::<8>()
        .0
        .iter()
        .map(|word| order.word(*word))
        .collect();
    let Some(version) = words.get(1) else {
        return Ok(Head::bad(State::Truncated));
    };
    // The upper half are flags of variants.
    let mut head = Head::good(Kind::Raw(version & 0xffff_ffff));
    let Some(layout) = Layout::of(*version) else {
        return Ok(head);
    };
    let Some(needed) = layout.least_size(&words) else {
        head.state = State::Truncated;
        return Ok(head);
    };
    if size < needed {
        head.state = State::Truncated;
    }
    let ids = words[2].min(LONGEST_IDS);
    let behind_header = &start[layout.words * 8..];
    let mut bytes = Vec::new();
    behind_header
        .chain(source)
        .take(ids)
        .read_to_end(&mut bytes)?;
    head.build_ids = build_ids(&bytes, order);
    Ok(head)
}

fn not_a_profile() -> State {
    State::Foreign("not a profile of LLVM".to_owned())
}

/// Where the sizes stand in a header of a version.
struct Layout {
    /// Words of the header.
    words: usize,
    /// Bytes of a data record.
    record: u64,
    /// Bytes of a counter.
    counter: u64,
    /// Which words are sizes in bytes.
    sizes: &'static [usize],
}

impl Layout {
    fn of(version: u64) -> Option<Self> {
        const SINGLE_BYTE: u64 = 0x1000_0000 << 32;
        let (words, record, sizes): (_, _, &[usize]) = match version & 0xffff_ffff {
            8 => (11, 48, &[2, 4, 6, 7]),
            9 => (14, 64, &[2, 4, 6, 7, 8, 9]),
            10 => (16, 64, &[2, 4, 6, 7, 8, 9]),
            _ => return None,
        };
        let counter = if version & SINGLE_BYTE == 0 { 8 } else { 1 };
        Some(Self {
            words,
            record,
            counter,
            sizes,
        })
    }

    /// Returns how long the file is at least; value data and virtual tables come on top.
    fn least_size(&self, words: &[u64]) -> Option<u64> {
        const DATA: usize = 3;
        const COUNTERS: usize = 5;
        if words.len() < self.words {
            return None;
        }
        let sizes = self.sizes.iter().map(|&at| Some(words[at]));
        let records = words[DATA].checked_mul(self.record);
        let counters = words[COUNTERS].checked_mul(self.counter);
        let header = u64::try_from(self.words * 8).ok();
        sizes
            .chain([records, counters, header])
            .try_fold(0_u64, |sum, part| sum.checked_add(part?))
    }
}

/// Returns the ids of a sequence of length and bytes, each padded to eight.
fn build_ids(mut bytes: &[u8], order: Order) -> Vec<String> {
    let mut ids = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<8>() {
        let Ok(length) = usize::try_from(order.word(*length)) else {
            break;
        };
        let Some(id) = rest.get(..length).filter(|id| !id.is_empty()) else {
            break;
        };
        let hex = id.iter().map(|byte| format!("{byte:02x}"));
        ids.push(hex.collect());
        bytes = rest.get(length.next_multiple_of(8)..).unwrap_or_default();
    }
    ids
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(words: &[u64]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    const MAGIC: u64 = u64::from_be_bytes(*b"\xfflprofr\x81");

    /// A version 10 profile of one function with two counters and the build id `0a0b`.
    fn version_10() -> Vec<u8> {
        let header = [MAGIC, 10, 16, 1, 0, 2, 0, 0, 0, 8, 0, 0, 0, 0, 0, 2];
        let build_id = [2, u64::from_le_bytes(*b"\x0a\x0b\0\0\0\0\0\0")];
        words(&[&header[..], &build_id, &[0; 8 + 2 + 1]].concat())
    }

    fn check(bytes: &[u8], state: State, kind: Kind, ids: &[&str]) {
        let build_ids = ids.iter().map(ToString::to_string).collect();
        let expected = Head {
            state,
            kind,
            build_ids,
        };
        assert_eq!(head(bytes, bytes.len() as u64).unwrap(), expected);
    }

    #[test]
    fn beginning_tells_kind_and_wholeness() {
        let whole = version_10();
        check(&whole, State::Used, Kind::Raw(10), &["0a0b"]);
        check(
            &whole[..whole.len() - 1],
            State::Truncated,
            Kind::Raw(10),
            &["0a0b"],
        );
        check(&whole[..130], State::Truncated, Kind::Raw(10), &[]);
        check(&whole[..100], State::Truncated, Kind::Raw(10), &[]);
        check(&whole[..15], State::Truncated, Kind::Indexed, &[]);
        check(&whole[..3], State::Truncated, Kind::Indexed, &[]);
        check(b"abc", not_a_profile(), Kind::Indexed, &[]);
        check(&[], State::Empty, Kind::Indexed, &[]);
        check(b"core dumped, sorry", not_a_profile(), Kind::Indexed, &[]);
        check(b"\xfflprofi\x81 and more", State::Used, Kind::Indexed, &[]);
        check(&words(&[MAGIC, 11, 0]), State::Used, Kind::Raw(11), &[]);
        check(
            &words(&[MAGIC.swap_bytes(), 10 << 56, 0]),
            State::Truncated,
            Kind::Raw(10),
            &[],
        );
    }

    #[test]
    fn sizes_beyond_all_bounds_are_truncation() {
        let header = [MAGIC, 8, 0, u64::MAX, 0, 2, 0, 0, 0, 0, 1];
        check(&words(&header), State::Truncated, Kind::Raw(8), &[]);
    }

    #[test]
    fn every_version_has_readers() {
        for version in 4..=12 {
            let kind = Kind::Raw(version);
            assert!((10..=24).any(|major| kind.is_read_by(major)), "{version}");
        }
        assert!(
            !Kind::Raw(8).is_read_by(18)
                && !Kind::Raw(10).is_read_by(18)
                && !Kind::Raw(10).is_read_by(23)
        );
    }

    proptest! {
        #[test]
        fn changed_bytes_never_panic(changes in prop::collection::vec((0..200_usize, any::<u8>()), 1..8), cut in 0..250_usize) {
            let mut bytes = version_10();
            for (at, byte) in changes {
                bytes[at] = byte;
            }
            bytes.truncate(cut);
            prop_assert!(head(bytes.as_slice(), bytes.len() as u64).is_ok());
        }
    }
}
