//! The numbers and packed texts of which coverage mappings are made.

use std::borrow::Cow;

use super::MappingError;

/// Bytes that are taken from the front.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], MappingError> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(MappingError::CutShort)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn u32(&mut self) -> Result<u32, MappingError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(MappingError::CutShort)?;
        self.0 = rest;
        Ok(u32::from_le_bytes(*taken))
    }

    pub(super) fn u64(&mut self) -> Result<u64, MappingError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(MappingError::CutShort)?;
        self.0 = rest;
        Ok(u64::from_le_bytes(*taken))
    }

    /// Takes a number in LEB128.
    #[inline]
    pub(super) fn number(&mut self) -> Result<u64, MappingError> {
        if let [byte @ 0..0x80, rest @ ..] = self.0 {
            self.0 = rest;
            return Ok(u64::from(*byte));
        }
        self.long_number()
    }

    fn long_number(&mut self) -> Result<u64, MappingError> {
        let mut number = 0;
        for (at, &byte) in self.0.iter().enumerate() {
            let bits = u64::from(byte & 0x7f);
            let shift = 7 * at;
            if shift >= 64 && bits != 0 || shift < 64 && bits << shift >> shift != bits {
                return Err(MappingError::Malformed("a number is too large"));
            }
            if shift < 64 {
                number |= bits << shift;
            }
            if byte < 0x80 {
                self.0 = self.0.get(at + 1..).unwrap_or_default();
                return Ok(number);
            }
        }
        Err(MappingError::CutShort)
    }

    /// Takes a number that fits 32 bits, the largest one left aside.
    #[inline]
    pub(super) fn small(&mut self) -> Result<u32, MappingError> {
        match u32::try_from(self.number()?) {
            Ok(number) if number != u32::MAX => Ok(number),
            _ => Err(MappingError::Malformed("a number is too large")),
        }
    }

    /// Takes a number of things that follow, each of at least one byte.
    #[inline]
    pub(super) fn count(&mut self) -> Result<usize, MappingError> {
        match usize::try_from(self.number()?) {
            Ok(count) if count <= self.0.len() => Ok(count),
            _ => Err(MappingError::CutShort),
        }
    }

    /// Takes text that is packed with zlib unless the packed length is zero.
    pub(super) fn packed(
        &mut self,
        len: u64,
        packed_len: usize,
        room: &mut Room,
    ) -> Result<Cow<'a, [u8]>, MappingError> {
        if packed_len == 0 {
            let len = usize::try_from(len).map_err(|_| MappingError::CutShort)?;
            return self.take(len).map(Cow::Borrowed);
        }
        let packed = self.take(packed_len)?;
        room.take(len, packed_len as u64)?;
        unpack(packed, len).map(Cow::Owned)
    }
}

/// How large packed texts may become. Repetitive C++ names pack a hundredfold; who makes zlib's most of it has no names.
#[derive(Debug)]
pub(super) struct Room(u64);

/// Bytes that all packed texts together may become beside those that they pay for.
pub(super) const SPARE: u64 = 32 << 20;

/// Bytes that one packed byte may become.
pub(super) const RATIO: u64 = 128;

impl Default for Room {
    fn default() -> Self {
        Self(SPARE)
    }
}

impl Room {
    pub(super) fn take(&mut self, len: u64, packed_len: u64) -> Result<(), MappingError> {
        let all = self.0.saturating_add(packed_len.saturating_mul(RATIO));
        let left = all.checked_sub(len).ok_or(MappingError::Unpacked)?;
        // What pays for itself leaves no more room to others.
        self.0 = left.min(self.0);
        Ok(())
    }
}

/// No byte of zlib's makes more than this many.
const MOST: u64 = 1032;

fn unpack(packed: &[u8], len: u64) -> Result<Vec<u8>, MappingError> {
    const BAD: MappingError = MappingError::Malformed("packed text does not unpack");
    if len > MOST.saturating_mul(packed.len() as u64) {
        return Err(BAD);
    }
    let mut text = vec![0; usize::try_from(len).map_err(|_| BAD)?];
    let mut inflate = flate2::Decompress::new(true);
    let status = inflate
        .decompress(packed, &mut text, flate2::FlushDecompress::Finish)
        .map_err(|_| BAD)?;
    // An unpacked text of no length would fit without an end.
    if inflate.total_out() != len || status != flate2::Status::StreamEnd && len > 0 {
        return Err(BAD);
    }
    Ok(text)
}
