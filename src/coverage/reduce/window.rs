//! The part of a file that is in memory.

use std::io;

use super::super::source::ReadAt;

/// Smaller files are read in one go: a second request costs more than the bytes.
pub(super) const SMALL: u64 = 64 << 10;

/// Functions and names are compared in pieces that stay in the processor's cache.
const PIECE: usize = 128 << 10;

/// The part of a file that is in memory.
pub(super) struct Window<'f, F> {
    pub(super) file: &'f F,
    pub(super) size: u64,
    pub(super) start: u64,
    pub(super) bytes: Vec<u8>,
    pub(super) len: usize,
}

impl<F: ReadAt> Window<'_, F> {
    pub(super) fn prefetch(&mut self, start: u64, len: u64) -> io::Result<()> {
        self.read(start, len.min(self.size - start))
    }

    /// Returns bytes that lie within the file.
    pub(super) fn get(&mut self, start: u64, len: u64) -> io::Result<&[u8]> {
        let inside = start >= self.start && start + len <= self.start + self.len as u64;
        if !inside {
            self.read(start, len)?;
        }
        let at = index(start - self.start);
        Ok(self.bytes.get(at..at + index(len)).unwrap_or_default())
    }

    fn read(&mut self, start: u64, len: u64) -> io::Result<()> {
        let len = index(len);
        self.len = 0;
        if self.bytes.len() < len {
            self.bytes.resize(len, 0);
        }
        self.file
            .read_exact_at(self.bytes.get_mut(..len).unwrap_or_default(), start)?;
        (self.start, self.len) = (start, len);
        Ok(())
    }

    /// Returns a copy of bytes that lie within the file.
    pub(super) fn copy(&mut self, start: u64, len: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; index(len)];
        self.file.read_exact_at(&mut bytes, start)?;
        Ok(bytes)
    }

    pub(super) fn equals(&mut self, start: u64, expected: &[u8]) -> io::Result<bool> {
        for (piece, at) in expected.chunks(PIECE).zip((start..).step_by(PIECE)) {
            if self.get(at, piece.len() as u64)? != piece {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Calls `each` with bytes that lie within the file, piece by piece.
    pub(super) fn each_piece(
        &mut self,
        start: u64,
        len: u64,
        mut each: impl FnMut(&[u8]),
    ) -> io::Result<()> {
        for at in (0..len).step_by(PIECE) {
            each(self.get(start + at, (len - at).min(PIECE as u64))?);
        }
        Ok(())
    }

    /// Returns the first position from `start` on that is not a zero byte, which LLVM allows between profiles.
    pub(super) fn skip_zeros(&mut self, mut start: u64) -> io::Result<Option<u64>> {
        while start < self.size {
            let bytes = self.get(start, (self.size - start).min(SMALL))?;
            if let Some(at) = bytes.iter().position(|&byte| byte != 0) {
                return Ok(Some(start + at as u64));
            }
            start += bytes.len() as u64;
            // What is all holes may be larger than any disk.
            start = match self.file.next_data(start)? {
                Some(at) => at,
                None => break,
            };
        }
        Ok(None)
    }
}

pub(super) fn split(bytes: &[u8], at: u64) -> (&[u8], &[u8]) {
    bytes.split_at_checked(index(at)).unwrap_or((bytes, &[]))
}

/// Positions within a profile fit, as no profile of more than 1 GiB passes [`Header::layout`].
fn index(position: u64) -> usize {
    usize::try_from(position).unwrap_or(usize::MAX)
}
