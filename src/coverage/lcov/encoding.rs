//! How a tracefile is encoded: its byte order mark is left out, and UTF-16 is read as UTF-8.
//!
//! Editors and shells of Windows write both: PowerShell's `>` writes UTF-16. Without a mark a file is taken for UTF-8.

use std::io::{self, Read};

/// The mark of UTF-8. Where tracefiles were put one after another it stands in the middle as well.
pub(super) const MARK: &[u8] = b"\xef\xbb\xbf";

/// Units of UTF-16 that are taken at once.
const UNITS: usize = 16 << 10;

/// What the first bytes of a file tell of the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// UTF-8, or whatever else has ASCII in it.
    Bytes,
    /// UTF-16, its units in this order.
    Utf16 { big_endian: bool },
    /// What no tracefile is written in.
    Other(&'static str),
}

/// Bytes that are enough to tell the encoding.
pub(super) const SNIFFED: usize = 4;

/// Returns how a file that begins so is encoded.
pub(super) fn encoding(start: &[u8]) -> Encoding {
    match start {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => Encoding::Other("written in UTF-32"),
        [0xff, 0xfe, ..] => Encoding::Utf16 { big_endian: false },
        [0xfe, 0xff, ..] => Encoding::Utf16 { big_endian: true },
        [0x1f, 0x8b, ..] => Encoding::Other("compressed by gzip"),
        _ => Encoding::Bytes,
    }
}

/// UTF-16 as UTF-8. What is no character becomes a byte that is none either, for the reader of lines to find.
pub(super) struct Utf16<R> {
    source: R,
    big_endian: bool,
    /// Bytes that were read; the first `decoded` of them are in `text`.
    bytes: Vec<u8>,
    filled: usize,
    text: Vec<u8>,
    given: usize,
    /// The first half of a pair.
    high: Option<u16>,
}

/// What stands for half a character.
const NONE: u8 = 0xff;

impl<R: Read> Utf16<R> {
    pub(super) fn new(source: R, big_endian: bool) -> Self {
        Self {
            source,
            big_endian,
            bytes: vec![0; 2 * UNITS],
            filled: 0,
            text: Vec::new(),
            given: 0,
            high: None,
        }
    }

    /// Brings more text; none at the end.
    fn decode(&mut self) -> io::Result<()> {
        self.text.clear();
        self.given = 0;
        while self.text.is_empty() {
            let brought = self.source.read(&mut self.bytes[self.filled..])?;
            if brought == 0 {
                if self.high.take().is_some() || self.filled > 0 {
                    self.filled = 0;
                    self.text.push(NONE);
                }
                return Ok(());
            }
            self.filled += brought;
            let whole = self.filled / 2 * 2;
            for at in (0..whole).step_by(2) {
                let pair = [self.bytes[at], self.bytes[at + 1]];
                self.take(if self.big_endian {
                    u16::from_be_bytes(pair)
                } else {
                    u16::from_le_bytes(pair)
                });
            }
            self.bytes.copy_within(whole..self.filled, 0);
            self.filled -= whole;
        }
        Ok(())
    }

    fn take(&mut self, unit: u16) {
        let high = self.high.take();
        if let (Some(high), 0xdc00..=0xdfff) = (high, unit) {
            let pair = 0x10000 + ((u32::from(high) - 0xd800) << 10) + (u32::from(unit) - 0xdc00);
            self.put(char::from_u32(pair));
            return;
        }
        if high.is_some() {
            self.put(None);
        }
        match unit {
            0xd800..=0xdbff => self.high = Some(unit),
            unit => self.put(char::from_u32(unit.into())),
        }
    }

    fn put(&mut self, c: Option<char>) {
        match c {
            Some(c) => {
                let mut bytes = [0; 4];
                self.text.extend(c.encode_utf8(&mut bytes).bytes());
            }
            None => self.text.push(NONE),
        }
    }
}

impl<R: Read> Read for Utf16<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.given == self.text.len() {
            self.decode()?;
        }
        let rest = &self.text[self.given..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.given += count;
        Ok(count)
    }
}
