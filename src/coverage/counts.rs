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
    /// The first entry of each name; those of other hashes are chained.
    names: HashMap<u64, Name, NumberHash>,
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
}

#[derive(Debug)]
struct Entry<'a> {
    hash: u64,
    counts: std::borrow::Cow<'a, [u64]>,
    next: Option<usize>,
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
        });
        known.ran |= ran;
        let (mut at, mut last) = (Some(known.first).filter(|&first| first < number), None);
        while let Some(entry) = at.and_then(|at| self.entries.get_mut(at)) {
            if entry.hash == hash {
                if entry.counts.len() != values.len() {
                    self.conflicts += 1;
                } else if ran {
                    let sums = entry.counts.to_mut().iter_mut();
                    sums.zip(values)
                        .for_each(|(sum, value)| *sum = sum.saturating_add(*value).min(SATURATED));
                }
                return;
            }
            (last, at) = (at, entry.next);
        }
        if let Some(last) = last.and_then(|last| self.entries.get_mut(last)) {
            last.next = Some(number);
        }
        self.entries.push(Entry {
            hash,
            counts: values.into(),
            next: None,
        });
    }

    /// Returns what is known of a function.
    #[must_use]
    pub fn find(&self, name: u64, hash: u64) -> Found<'_> {
        // LLVM tells two kinds of profile apart by this bit, and what is only of the other kind is unknown to it.
        const KIND: u64 = 1 << 60;
        // A name that never ran is not in a sparse index at all, whatever its hashes.
        let Some(known) = self.names.get(&name).filter(|name| name.ran) else {
            return Found::Unknown;
        };
        let (mut at, mut same_kind) = (Some(known.first), false);
        while let Some(entry) = at.and_then(|at| self.entries.get(at)) {
            if entry.hash == hash {
                return Found::Counts(&entry.counts);
            }
            same_kind |= entry.hash & KIND == hash & KIND;
            at = entry.next;
        }
        if same_kind {
            Found::Mismatch
        } else {
            Found::Unknown
        }
    }

    /// Returns how many functions were left aside because they had the hash of another one but not as many counters.
    #[must_use]
    pub fn conflicts(&self) -> usize {
        self.conflicts
    }
}
