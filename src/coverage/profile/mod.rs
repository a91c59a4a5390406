//! Raw LLVM profiles (`.profraw`): what one process wrote, or the sum of what many wrote.
//!
//! Versions 8, 9 and 10 of 64-bit little-endian programs are read, which is what clang 14 to 22 and current rustc
//! write. The format is defined in `llvm/include/llvm/ProfileData/InstrProfData.inc` and read by
//! `llvm/lib/ProfileData/InstrProfReader.cpp` (LLVM 22). A profile is a header, the build ids of its binary, a table of
//! functions, counters, MC/DC bitmaps and packed names, with padding between them.
//!
//! Everything here works on bytes that were read elsewhere. Where they come from, and how many are added, is the
//! business of [`super::reduce`]; what a counter means is that of [`super::mapping`].

mod header;
#[cfg(test)]
pub(crate) mod samples;
mod shape;

pub use header::{Header, Layout, MAX_HEADER, MAX_PROFILE, Span, Version};
pub use shape::{Function, Profile, Shape};

/// The largest counter that LLVM takes for a count and not for damage.
pub const MAX_COUNT: u64 = 1 << 56;

/// The sum at which LLVM stops counting when it merges.
pub const SATURATED: u64 = u64::MAX - 2;

/// Why bytes are not a profile that can be added up here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// The file ends before the profile does.
    #[error("cut short: {got} of {expected} bytes")]
    Truncated {
        /// The size that the header asks for.
        expected: u64,
        /// The size of the file.
        got: u64,
    },
    /// The bytes are no LLVM profile at all.
    #[error("not an LLVM profile")]
    Foreign,
    /// A profile, but of a kind that only LLVM's own programs read.
    #[error("{0}")]
    Unsupported(Unsupported),
    /// The header asks for more than a program has.
    #[error("its header asks for more than {MAX_PROFILE} bytes, which no program has")]
    TooLarge,
    /// The header or the table of functions contradicts itself.
    #[error("damaged: {0}")]
    Damaged(&'static str),
}

/// A kind of profile that is left to LLVM's own programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Unsupported {
    /// One byte a counter, from `-enable-single-byte-coverage`.
    #[error("single-byte counters")]
    SingleByte,
    /// From `-fprofile-generate`, which instruments IR and not source.
    #[error("a profile of IR instrumentation (`-fprofile-generate`)")]
    IrInstrumentation,
    /// Values were profiled beside counters; their size differs from run to run.
    #[error("value profiling data")]
    ValueData,
    /// Functions and names were left in the debug information.
    #[error("a profile that is correlated with debug information")]
    Correlated,
    /// Counters for virtual tables.
    #[error("virtual table profiling")]
    VTables,
    /// From a machine of the other byte order.
    #[error("a profile of a big-endian machine")]
    BigEndian,
    /// From a 32-bit program.
    #[error("a profile of a 32-bit program")]
    Bits32,
    /// An indexed profile, which `llvm-profdata merge` writes.
    #[error("an indexed profile, already merged by `llvm-profdata`")]
    Indexed,
    /// A raw version that is not known here.
    #[error("raw profile version {0}")]
    Version(u64),
    /// Variant flags that are not known here.
    #[error("raw profile variant {0:#x}")]
    Variant(u64),
}

fn unsupported<T>(kind: Unsupported) -> Result<T, ProfileError> {
    Err(ProfileError::Unsupported(kind))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::sync::Arc;

    use super::samples::Sample;
    use super::shape::usize_of;
    use super::*;

    fn parse(bytes: &[u8]) -> Result<Shape, ProfileError> {
        let header = Header::parse(&bytes[..bytes.len().min(MAX_HEADER)])?;
        let layout = header.layout()?;
        let part = |span: Span| {
            let end = usize_of(span.start + span.len);
            let truncated = ProfileError::Truncated {
                expected: layout.end,
                got: bytes.len() as u64,
            };
            bytes
                .get(usize_of(span.start)..end)
                .map(<[u8]>::to_vec)
                .ok_or(truncated)
        };
        Shape::new(
            &header,
            part(layout.binary_ids)?,
            part(layout.data)?,
            part(layout.names)?,
        )
    }

    #[test]
    fn every_version_is_read_and_written_alike() {
        for version in [Version::V8, Version::V9, Version::V10] {
            let mut sample = Sample::new(version, &[(1, 10, &[5, 6]), (2, 20, &[7])]);
            if version >= Version::V9 {
                sample.functions[1].3 = vec![0b101];
            }
            sample.names_delta = 0;
            let bytes = sample.to_bytes();
            let shape = parse(&bytes).unwrap();
            assert_eq!(shape.binary_ids(), [b"0123456789abcdef0123"]);
            let functions: Vec<_> = shape.functions().collect();
            assert_eq!(
                functions[0],
                Function {
                    name: 1,
                    hash: 10,
                    counters: 0..2,
                    bitmap: 0..0
                }
            );
            assert_eq!(functions[1].counters, 2..3);
            assert_eq!(
                functions[1].bitmap,
                if version >= Version::V9 { 0..1 } else { 0..0 }
            );

            let bitmap = sample.functions[1].3.clone();
            let profile = Profile {
                shape: Arc::new(shape),
                counters: vec![5, 6, 7],
                bitmap,
            };
            let mut written = Vec::new();
            profile.write_to(&mut written).unwrap();
            assert_eq!(written, bytes);
        }
    }

    #[test]
    fn a_sum_beyond_what_llvm_accepts_is_written_in_parts() {
        let sample = Sample::new(Version::V10, &[(1, 10, &[0, 0])]);
        let shape = Arc::new(parse(&sample.to_bytes()).unwrap());
        let size = usize_of(shape.layout().end);
        let mut written = Vec::new();
        Profile {
            shape,
            counters: vec![3, 2 * MAX_COUNT + 1],
            bitmap: vec![],
        }
        .write_to(&mut written)
        .unwrap();
        assert_eq!(written.len(), 3 * size);
    }

    #[test]
    fn what_is_not_read_here_is_named() {
        fn check(change: impl Fn(&mut Vec<u8>), expected: &str) {
            let mut bytes =
                Sample::new(Version::V10, &[(1, 10, &[5, 6]), (2, 20, &[7])]).to_bytes();
            change(&mut bytes);
            assert_eq!(parse(&bytes).unwrap_err().to_string(), expected);
        }
        const DATA: usize = 128 + 32;
        check(Vec::clear, "not an LLVM profile");
        check(|b| b[0] = 0, "not an LLVM profile");
        check(|b| b.truncate(20), "cut short: 20 of 128 bytes");
        check(|b| b.truncate(300), "cut short: 300 of 320 bytes");
        check(|b| b[1] = b'R', "a profile of a 32-bit program");
        check(|b| b[..8].reverse(), "a profile of a big-endian machine");
        check(
            |b| b[1] = b'i',
            "an indexed profile, already merged by `llvm-profdata`",
        );
        check(|b| b[8] = 11, "raw profile version 11");
        check(
            |b| b[15] = 1,
            "a profile of IR instrumentation (`-fprofile-generate`)",
        );
        check(|b| b[15] = 0x31, "single-byte counters");
        check(|b| b[15] = 0x40, "raw profile variant 0x4000000000000000");
        check(
            |b| b[24] = 0,
            "a profile that is correlated with debug information",
        );
        check(
            |b| b[30] = 1,
            "its header asks for more than 1073741824 bytes, which no program has",
        );
        check(|b| b[13 * 8] = 1, "virtual table profiling");
        check(
            |b| b[128] = 200,
            "damaged: a build id is longer than their table",
        );
        check(|b| b[DATA + 48] = 0, "damaged: a function has no counter");
        check(
            |b| b[DATA + 48] = 9,
            "damaged: a function's counters lie outside",
        );
        check(
            |b| b[DATA + 16] = 1,
            "damaged: a function's counters lie outside",
        );
        check(
            |b| b[DATA + 60] = 1,
            "damaged: a function's bitmap lies outside",
        );
        check(|b| b[DATA + 56] = 1, "value profiling data");
    }
}
