//! The names of functions, to which binaries and profiles refer by hash.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use rayon::prelude::*;

use super::super::hash::{NumberHash, md5_each};
use super::MappingError;
use super::bytes::{Bytes, Room};

/// Names by their hash, of all binaries that were read.
#[derive(Debug, Default)]
pub struct Names {
    texts: Vec<String>,
    places: HashMap<u64, Name, NumberHash>,
    seen: HashSet<Vec<u8>>,
    room: Room,
}

/// A name in [`Names`].
#[derive(Debug, Clone, Copy)]
pub struct Name {
    text: u32,
    start: u32,
    len: u32,
}

impl Name {
    /// Returns the rest of the name behind this many bytes.
    #[must_use]
    pub fn without_prefix(self, len: usize) -> Self {
        let len = u32::try_from(len).map_or(self.len, |len| len.min(self.len));
        Self {
            start: self.start + len,
            len: self.len - len,
            ..self
        }
    }
}

/// Names that are hashed by one thread in one go.
const PIECE: usize = 512;

/// Names that are listed at once: beside a short name its place takes many times its memory.
const BATCH: usize = 128 << 10;

impl Names {
    /// Reads the section `__llvm_prf_names` of a binary: texts of names, mostly one a translation unit. A text that was
    /// seen in another binary is not read again.
    pub fn read(&mut self, section: &[u8]) -> Result<(), MappingError> {
        let mut bytes = Bytes(section);
        while !bytes.is_empty() {
            let mut ahead = bytes;
            let (len, packed_len) = (ahead.number()?, ahead.count()?);
            let size = if packed_len > 0 {
                Some(packed_len)
            } else {
                usize::try_from(len).ok()
            };
            let encoded = size.and_then(|size| (bytes.0.len() - ahead.0.len()).checked_add(size));
            let encoded = bytes.take(encoded.ok_or(MappingError::CutShort)?)?;
            if !self.seen.contains(encoded) {
                let text = ahead.packed(len, packed_len, &mut self.room)?;
                self.seen.insert(encoded.to_vec());
                self.add(text)?;
            }
            while let [0, rest @ ..] = bytes.0 {
                bytes.0 = rest;
            }
        }
        Ok(())
    }

    fn add(&mut self, text: Cow<'_, [u8]>) -> Result<(), MappingError> {
        const TOO_LONG: MappingError = MappingError::Malformed("its names are too long");
        let number = u32::try_from(self.texts.len()).map_err(|_| TOO_LONG)?;
        u32::try_from(text.len()).map_err(|_| TOO_LONG)?;
        let mut start = 0;
        let mut all = text
            .split(|&byte| byte == 1)
            .map(|name| {
                let place = Name {
                    text: number,
                    start,
                    len: u32::try_from(name.len()).unwrap_or(0),
                };
                start += place.len + 1;
                (name, place)
            })
            .filter(|(name, _)| !name.is_empty());
        loop {
            let (names, places): (Vec<_>, Vec<_>) = all.by_ref().take(BATCH).unzip();
            if names.is_empty() {
                break;
            }
            let hashes: Vec<_> = names.par_chunks(PIECE).flat_map_iter(md5_each).collect();
            for (hash, place) in hashes.into_iter().zip(places) {
                self.places.entry(hash).or_insert(place);
            }
        }
        // Compilers only make names of UTF-8; elsewhere a wrong byte must not move what follows it.
        let text = String::from_utf8(text.into_owned()).unwrap_or_else(|error| {
            error
                .into_bytes()
                .iter()
                .map(|&byte| {
                    if byte.is_ascii() {
                        char::from(byte)
                    } else {
                        '?'
                    }
                })
                .collect()
        });
        self.texts.push(text);
        Ok(())
    }

    /// Returns the name with this hash.
    #[must_use]
    pub fn find(&self, hash: u64) -> Option<Name> {
        self.places.get(&hash).copied()
    }

    /// Returns a name's text.
    #[must_use]
    pub fn text(&self, name: Name) -> &str {
        let Name { text, start, len } = name;
        let text = self.texts.get(text as usize).map_or("", String::as_str);
        text.get(start as usize..)
            .and_then(|text| text.get(..len as usize))
            .unwrap_or("")
    }
}
