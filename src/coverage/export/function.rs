//! Functions and their counts.

use std::collections::HashSet;
use std::hash::{Hash, Hasher};

use super::super::counts::{Counts, Found};
use super::super::hash::{NumberHash, NumberHasher, md5};
use super::super::mapping::{self, MappingError, Name, Names, Units};
use super::super::rank_hits::{self, FunctionKey};
use super::shape::{Counted, Scratch, Shape};

/// A function of the report.
#[derive(Debug)]
pub(super) struct Function {
    /// What tells it from others.
    pub(super) key: Key,
    /// Its name, without what only says in which file a local function is.
    pub(super) name: Name,
    pub(super) shape: u32,
    pub(super) counted: Counted,
    /// By which the ranks that reached it are found.
    pub(super) origin: FunctionKey,
}

/// The hashes of a function's name and of its files.
pub(super) type Key = (u64, u64);

/// What functions are looked up in.
pub(super) struct Context<'a> {
    pub(super) counts: &'a Counts<'a>,
    pub(super) clamp: bool,
    pub(super) units: &'a Units,
    pub(super) names: &'a Names,
    pub(super) seen: &'a HashSet<Key, NumberHash>,
}

/// A function of a binary, before its mapping is read.
pub(super) struct Candidate<'a> {
    key: Key,
    name: Name,
    /// None if it never ran.
    counters: Option<&'a [u64]>,
    pub(super) files: Vec<u32>,
    pub(super) unit_files: usize,
    pub(super) mapping: &'a [u8],
    /// The mapping without the files.
    rest: &'a [u8],
    /// The hash of both.
    pub(super) hash: u64,
    origin: FunctionKey,
}

impl Candidate<'_> {
    /// Returns whether the two have one shape.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.files == other.files && self.rest == other.rest
    }
}

/// What becomes of a function.
pub(super) enum Fate<'a> {
    /// It was seen in another binary.
    Seen,
    /// It has another source than the one that was counted.
    Mismatched,
    /// It is reported, as far as its mapping allows.
    Candidate(Candidate<'a>),
}

impl<'a> Context<'a> {
    pub(super) fn judge(&self, function: &mapping::Function<'a>) -> Result<Fate<'a>, MappingError> {
        let unit = self.units.files(function.unit);
        let mut files = Vec::new();
        mapping::files_of(function, unit.len(), &mut files)?;
        let rest = mapping::behind_files(function)?;
        for file in &mut files {
            *file = unit.get(*file as usize).copied().unwrap_or(0);
        }
        let name = self
            .names
            .find(function.name)
            .ok_or(MappingError::Malformed("a function without a name"))?;
        let (name, key) = self.identify(function.name, name, &files);
        if self.seen.contains(&key) {
            return Ok(Fate::Seen);
        }
        let counters = match self.counts.find(function.name, function.hash) {
            Found::Counts(counters) => Some(counters),
            Found::Unknown => None,
            Found::Mismatch => return Ok(Fate::Mismatched),
        };
        let origin = FunctionKey {
            name: function.name,
            hash: function.hash,
            mapping: rank_hits::hash(rest),
        };
        let mut hasher = NumberHasher::default();
        hasher.write_u64(key.1);
        hasher.write_u64(origin.mapping);
        let (mapping, unit_files, hash) = (function.mapping, unit.len(), hasher.finish());
        Ok(Fate::Candidate(Candidate {
            key,
            name,
            counters,
            files,
            unit_files,
            mapping,
            rest,
            hash,
            origin,
        }))
    }

    /// A local function's name begins with its file; functions that only differ in this are one.
    fn identify(&self, hash: u64, name: Name, files: &[u32]) -> (Name, Key) {
        let main = files
            .first()
            .map_or("", |&file| self.units.files.path(file));
        let text = self.names.text(name);
        let (name, hash) = if !main.is_empty() && text.starts_with(main) {
            let name = name.without_prefix(main.len() + 1);
            (name, md5(self.names.text(name).as_bytes()))
        } else {
            (name, hash)
        };
        let mut hasher = NumberHasher::default();
        files.hash(&mut hasher);
        (name, (hash, hasher.finish()))
    }

    /// Returns the function with its counts; none if its mapping says that it is not to be reported.
    pub(super) fn count(
        &self,
        candidate: &Candidate<'_>,
        shape: u32,
        shapes: &[Shape],
        scratch: &mut Scratch,
    ) -> Option<Function> {
        let of = shapes.get(shape as usize)?;
        let counted = match candidate.counters {
            None => of.idle(scratch),
            Some(counters) => of.count(counters, self.clamp, scratch)?,
        };
        Some(Function {
            key: candidate.key,
            name: candidate.name,
            shape,
            counted,
            origin: candidate.origin,
        })
    }
}
