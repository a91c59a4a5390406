//! Looks up how often a function's counters counted, over all binaries' profiles.
//!
//! A function is known by the hash of its name and that of its structure. Equal functions of several binaries (a library
//! linked into each test) are added, as `llvm-profdata merge -sparse` adds them.

use std::collections::HashMap;

use super::hash::NumberHash;
use super::profile::{Profile, SATURATED};

/// The counts of all functions of some profiles.
#[derive(Debug, Default)]
pub struct Counts<'a> {
    /// The first entry of each name.
    names: HashMap<u64, Name, NumberHash>,
    /// The further ones, by name and hash: few, but not where somebody wants them to be many.
    versions: HashMap<(u64, u64), usize, NumberHash>,
    entries: Vec<Entry<'a>>,
    conflicts: usize,
}

/// What is known of a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found<'a> {
    /// It was counted.
    Counts(&'a [u64]),
    /// A function of this name was counted, but its source was another one.
    Mismatch,
    /// No function of this name was counted, or none ever ran.
    Unknown,
}

#[derive(Debug)]
struct Name {
    first: usize,
    ran: bool,
    /// Whether there are entries of hashes without and with [`KIND`].
    kinds: [bool; 2],
}

/// LLVM tells two kinds of profile apart by this bit of a hash, and what is only of the other kind is unknown to it.
const KIND: u64 = 1 << 60;

fn kind(hash: u64) -> usize {
    usize::from(hash & KIND != 0)
}

#[derive(Debug)]
struct Entry<'a> {
    hash: u64,
    counts: std::borrow::Cow<'a, [u64]>,
}

impl<'a> Counts<'a> {
    /// Returns the counts of these profiles.
    #[must_use]
    pub fn new(profiles: impl IntoIterator<Item = &'a Profile>) -> Self {
        let mut counts = Self::default();
        for profile in profiles {
            let functions = profile.shape.functions();
            counts.names.reserve(functions.len());
            counts.entries.reserve(functions.len());
            for function in functions {
                let bits = profile.bitmap.get(function.bitmap).unwrap_or_default();
                let values = profile.counters.get(function.counters).unwrap_or_default();
                let ran =
                    values.iter().any(|&count| count != 0) || bits.iter().any(|&byte| byte != 0);
                counts.add(function.name, function.hash, values, ran);
            }
        }
        counts
    }

    fn add(&mut self, name: u64, hash: u64, values: &'a [u64], ran: bool) {
        let number = self.entries.len();
        let known = self.names.entry(name).or_insert(Name {
            first: number,
            ran: false,
            kinds: [false; 2],
        });
        known.ran |= ran;
        known.kinds[kind(hash)] = true;
        let first = self.entries.get(known.first).map(|entry| entry.hash);
        let at = match first {
            None => number,
            Some(first) if first == hash => known.first,
            Some(_) => *self.versions.entry((name, hash)).or_insert(number),
        };
        let Some(entry) = self.entries.get_mut(at) else {
            self.entries.push(Entry {
                hash,
                counts: values.into(),
            });
            return;
        };
        if entry.counts.len() != values.len() {
            self.conflicts += 1;
        } else if ran {
            let sums = entry.counts.to_mut().iter_mut();
            sums.zip(values)
                .for_each(|(sum, value)| *sum = sum.saturating_add(*value).min(SATURATED));
        }
    }

    /// Returns what is known of a function.
    #[must_use]
    pub fn find(&self, name: u64, hash: u64) -> Found<'_> {
        // A name that never ran is not in a sparse index at all, whatever its hashes.
        let Some(known) = self.names.get(&name).filter(|name| name.ran) else {
            return Found::Unknown;
        };
        let first = self.entries.get(known.first);
        let own = first.filter(|entry| entry.hash == hash).or_else(|| {
            let at = self.versions.get(&(name, hash))?;
            self.entries.get(*at)
        });
        match own {
            Some(entry) => Found::Counts(&entry.counts),
            None if known.kinds[kind(hash)] => Found::Mismatch,
            None => Found::Unknown,
        }
    }

    /// Returns how many functions were left aside because they had the hash of another one but not as many counters.
    #[must_use]
    pub fn conflicts(&self) -> usize {
        self.conflicts
    }
}
