//! Translation units and the files that each refers to.

use std::collections::HashMap;
use std::ops::Range;

use super::super::hash::{NumberHash, md5};
use super::MappingError;
use super::bytes::{Bytes, Room};

/// Paths of source files, each with a number.
#[derive(Debug, Default)]
pub struct Files {
    paths: Vec<String>,
    numbers: HashMap<String, u32>,
}

impl Files {
    fn number(&mut self, path: String) -> u32 {
        if let Some(number) = self.numbers.get(&path) {
            return *number;
        }
        let number = u32::try_from(self.paths.len()).unwrap_or(u32::MAX);
        self.paths.push(path.clone());
        self.numbers.insert(path, number);
        number
    }

    /// Returns the path with this number.
    #[must_use]
    pub fn path(&self, number: u32) -> &str {
        self.paths.get(number as usize).map_or("", String::as_str)
    }

    /// Returns how many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.paths.len()
    }

    /// Returns whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }
}

/// A translation unit; see [`Units::files`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unit(u32);

/// The translation units of all binaries that were read. A list of files that was seen in another binary is not read
/// again.
#[derive(Debug, Default)]
pub struct Units {
    /// All files.
    pub files: Files,
    lists: Vec<Range<usize>>,
    numbers: Vec<u32>,
    seen: HashMap<Vec<u8>, (u64, Unit)>,
    room: Room,
}

/// The units of a binary by the hash with which its functions refer to them; none where two lists share one.
pub(super) type ByHash = HashMap<u64, Option<Unit>, NumberHash>;

/// The version, less one, from which the first file is the directory that the others are relative to.
const WITH_DIRECTORY: u32 = 5;

impl Units {
    /// Returns the numbers of the files that a unit refers to.
    #[must_use]
    pub fn files(&self, unit: Unit) -> &[u32] {
        self.lists
            .get(unit.0 as usize)
            .and_then(|list| self.numbers.get(list.clone()))
            .unwrap_or_default()
    }

    /// Reads the section `__llvm_covmap` of a binary.
    pub(super) fn read(&mut self, covmap: &[u8]) -> Result<ByHash, MappingError> {
        let mut by_hash = ByHash::default();
        let mut bytes = Bytes(covmap);
        let mut version = None;
        while !bytes.is_empty() {
            let (records, size) = (bytes.u32()?, bytes.u32()?);
            let (mappings, this) = (bytes.u32()?, bytes.u32()?);
            let version = *version.get_or_insert(this);
            if !(3..=6).contains(&version) {
                return Err(MappingError::Version(version.saturating_add(1)));
            }
            if records != 0 || mappings != 0 {
                return Err(MappingError::Malformed(
                    "functions stand where they have not since version 3",
                ));
            }
            let encoded = bytes.take(size as usize)?;
            let (hash, unit) = self.read_list(encoded, version)?;
            let known = by_hash.entry(hash).or_insert(Some(unit));
            if known.is_some_and(|known| self.files(known) != self.files(unit)) {
                *known = None;
            }
            let read = covmap.len() - bytes.0.len();
            bytes.take((read.next_multiple_of(8) - read).min(bytes.0.len()))?;
        }
        Ok(by_hash)
    }

    fn read_list(&mut self, encoded: &[u8], version: u32) -> Result<(u64, Unit), MappingError> {
        if let Some(seen) = self.seen.get(encoded) {
            return Ok(*seen);
        }
        let start = self.numbers.len();
        let mut bytes = Bytes(encoded);
        let count = bytes.count()?;
        let (len, packed_len) = (bytes.number()?, bytes.count()?);
        let text = bytes.packed(
            if packed_len == 0 {
                bytes.0.len() as u64
            } else {
                len
            },
            packed_len,
            &mut self.room,
        )?;
        let mut text = Bytes(&text);
        let mut directory: Option<String> = None;
        for _ in 0..count {
            let len = text.count()?;
            let path = String::from_utf8_lossy(text.take(len)?);
            let path = match &directory {
                None => path.into_owned(),
                Some(directory) => absolute(directory, &path),
            };
            if directory.is_none() && version >= WITH_DIRECTORY {
                directory = Some(path.clone());
            }
            // The directory stands in each of them.
            self.room.take(path.len() as u64, len as u64 + 1)?;
            self.numbers.push(self.files.number(path));
        }
        if count == 0 {
            return Err(MappingError::Malformed("a translation unit without files"));
        }
        let unit = Unit(u32::try_from(self.lists.len()).unwrap_or(u32::MAX));
        self.lists.push(start..self.numbers.len());
        let seen = (md5(encoded), unit);
        self.seen.insert(encoded.to_vec(), seen);
        Ok(seen)
    }
}

/// Returns the path that a name within `directory` means, its dots resolved; absolute names stay as they are.
fn absolute(directory: &str, name: &str) -> String {
    if name.starts_with('/') {
        return name.to_owned();
    }
    let joined = match directory {
        "" => name.to_owned(),
        _ if directory.ends_with('/') => format!("{directory}{name}"),
        _ => format!("{directory}/{name}"),
    };
    let rooted = joined.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in joined.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|&last| last != "..") => {
                parts.pop();
            }
            ".." if rooted => {}
            part => parts.push(part),
        }
    }
    format!("{}{}", if rooted { "/" } else { "" }, parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_relative_to_the_directory_of_the_compilation() {
        fn check(directory: &str, name: &str, expected: &str) {
            assert_eq!(absolute(directory, name), expected);
        }
        check("/src", "a.c", "/src/a.c");
        check("/src/", "./sub//a.c", "/src/sub/a.c");
        check("/src/sub", "../inc/../a.h", "/src/a.h");
        check("/", "../../a.c", "/a.c");
        check("/src", "/usr/include/./x.h", "/usr/include/./x.h");
        check("", "./a.c", "a.c");
        check(".", "../a.c", "../a.c");
        check("sub", "../../a.c", "../a.c");
    }
}
