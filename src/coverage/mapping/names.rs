//! The names of functions, to which binaries and profiles refer by hash.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use super::super::hash::NumberHash;
use super::MappingError;
use super::bytes::Bytes;
use super::units::hash;

/// Names by their hash, of all binaries that were read.
#[derive(Debug, Default)]
pub struct Names {
    texts: Vec<Vec<u8>>,
    places: HashMap<u64, Place, NumberHash>,
    seen: HashSet<Vec<u8>>,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    text: u32,
    start: u32,
    len: u32,
}

impl Names {
    /// Reads the section `__llvm_prf_names` of a binary: texts of names, mostly one a translation unit. A text that was
    /// seen in another binary is not read again.
    pub fn read(&mut self, section: &[u8]) -> Result<(), MappingError> {
        let mut bytes = Bytes(section);
        while !bytes.is_empty() {
            let before = bytes;
            let (len, packed_len) = (bytes.number()?, bytes.count()?);
            let text = bytes.packed(len, packed_len)?;
            let encoded = before
                .0
                .get(..before.0.len() - bytes.0.len())
                .unwrap_or_default();
            if !self.seen.contains(encoded) {
                self.seen.insert(encoded.to_vec());
                self.add(text);
            }
            while let [0, rest @ ..] = bytes.0 {
                bytes.0 = rest;
            }
        }
        Ok(())
    }

    fn add(&mut self, text: Cow<'_, [u8]>) {
        let number = u32::try_from(self.texts.len()).unwrap_or(u32::MAX);
        let mut start = 0;
        for name in text.split(|&byte| byte == 1) {
            if let (Ok(start), Ok(len)) = (u32::try_from(start), u32::try_from(name.len())) {
                self.places.entry(hash(name)).or_insert(Place {
                    text: number,
                    start,
                    len,
                });
            }
            start += name.len() + 1;
        }
        self.texts.push(text.into_owned());
    }

    /// Returns the name with this hash.
    #[must_use]
    pub fn get(&self, hash: u64) -> Option<Cow<'_, str>> {
        let Place { text, start, len } = *self.places.get(&hash)?;
        let text = self
            .texts
            .get(text as usize)?
            .get(start as usize..)?
            .get(..len as usize)?;
        (!text.is_empty()).then(|| String::from_utf8_lossy(text))
    }
}
