//! Adds up raw profiles: many files to one profile a binary.
//!
//! All runs of one binary write profiles of one layout, so adding them is adding counters: profiles are told apart by
//! the build ids and the header of their binary, and of each file only these and the counters are read. How much of
//! the rest is compared is chosen by [`Verify`]. Files that cannot be used are named in [`Reduction::outcomes`]; they
//! never end the reduction and never pass unseen.
//!
//! The sum does not depend on the order of the files or on how they are spread over threads, and equals what
//! `llvm-profdata merge` makes of them. What the counters mean is left to [`super::mapping`].

mod outcome;
mod sum;
mod watch;
mod window;
mod worker;

use std::num::NonZero;
use std::sync::{Mutex, MutexGuard, PoisonError};

pub use outcome::Outcome;
use sum::Group;
pub use watch::Watch;

use super::profile::{Header, Profile, Shape};
use super::source::Source;

/// How much of each file is compared with what its binary's other profiles hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Verify {
    /// Header, build ids and size of every file; the functions and names of some, and of all where there is no build
    /// id.
    #[default]
    Sample,
    /// Every byte of every file.
    Full,
}

/// How to reduce.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// What to compare.
    pub verify: Verify,
    /// How many threads may add at the same time.
    pub cores: NonZero<usize>,
    /// How many files may be read at the same time. More than `cores` are used only where reading turns out to be
    /// waiting, as on a busy parallel file system.
    pub in_flight: NonZero<usize>,
}

impl Default for Options {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN);
        Self {
            verify: Verify::default(),
            cores,
            in_flight: NonZero::new(32).unwrap_or(cores),
        }
    }
}

/// The sum of one binary's profiles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reduced {
    /// The sum.
    pub profile: Profile,
    /// The numbers of the files that are in it.
    pub files: Vec<usize>,
}

/// What came of adding up files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reduction {
    /// One sum a binary, in an order that does not depend on that of the files.
    pub binaries: Vec<Reduced>,
    /// What became of each file, in their order.
    pub outcomes: Vec<Outcome>,
}

/// Bytes of profiles that may be in holes of their files, of all programs together: file systems make holes of zeros, so that some are
/// usual, and none of them cost a disk anything.
pub const MOST_HOLLOW: u64 = 16 << 20;

/// Adds up all files of `source`.
#[must_use]
pub fn reduce<S: Source + ?Sized>(source: &S, options: &Options) -> Reduction {
    reduce_watched(source, options, &())
}

/// Adds up all files of `source`, while `watch` looks at each.
#[must_use]
pub fn reduce_watched<S: Source + ?Sized, W: Watch>(
    source: &S,
    options: &Options,
    watch: &W,
) -> Reduction {
    let (mut groups, mut outcomes) = worker::run(source, options, watch);
    let by_chance = |it: &Outcome| matches!(it, Outcome::Differs | Outcome::Hollow { .. });
    if outcomes.iter().any(by_chance) {
        // Of two files that contradict each other, the one that a thread happened to open first was believed. One by one, it is
        // the first of the list, every time; and so with the room for holes.
        let one_by_one = Options {
            cores: NonZero::<usize>::MIN,
            in_flight: NonZero::<usize>::MIN,
            ..*options
        };
        watch.restart();
        (groups, outcomes) = worker::run(source, &one_by_one, watch);
    }
    let mut binaries: Vec<_> = groups.into_iter().filter_map(Group::finish).collect();
    binaries.sort_by(|a, b| order(&a.profile.shape).cmp(&order(&b.profile.shape)));
    Reduction { binaries, outcomes }
}

fn order(shape: &Shape) -> (&[u8], &Header, &[u8], &[u8]) {
    (
        shape.binary_ids_bytes(),
        shape.header(),
        shape.data_bytes(),
        shape.names_bytes(),
    )
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use proptest::prelude::*;

    use super::super::profile::Version;
    use super::super::profile::samples::Sample;
    use super::super::profile::{MAX_COUNT, SATURATED};
    use super::super::source::InMemory;
    use super::*;

    fn options(verify: Verify, cores: usize, in_flight: usize) -> Options {
        Options {
            verify,
            cores: NonZero::new(cores).unwrap(),
            in_flight: NonZero::new(in_flight).unwrap(),
        }
    }

    fn run(files: &[Vec<u8>]) -> Reduction {
        let one = reduce(&InMemory(files), &options(Verify::Sample, 1, 1));
        let many = reduce(&InMemory(files), &options(Verify::Full, 3, 8));
        assert_eq!(one, many, "threads and verification change nothing");
        one
    }

    fn written(reduction: &Reduction) -> Vec<u8> {
        let mut bytes = Vec::new();
        for binary in &reduction.binaries {
            binary.profile.write_to(&mut bytes).unwrap();
        }
        bytes
    }

    fn program(counters: [u64; 3]) -> Sample {
        Sample::new(
            Version::V10,
            &[(1, 10, &counters[..2]), (2, 20, &counters[2..])],
        )
    }

    fn library(counter: u64) -> Sample {
        let mut sample = Sample::new(Version::V10, &[(3, 30, &[counter])]);
        sample.build_id = vec![9; 20];
        sample
    }

    fn counters(reduction: &Reduction) -> Vec<&[u64]> {
        reduction
            .binaries
            .iter()
            .map(|binary| binary.profile.counters.as_slice())
            .collect()
    }

    #[test]
    fn runs_of_one_binary_are_added_wherever_it_was_loaded() {
        let mut other = program([10, 20, 30]);
        other.names_delta = 12345;
        let reduction = run(&[program([1, 2, 3]).to_bytes(), other.to_bytes()]);
        assert_eq!(counters(&reduction), [[11, 22, 33]]);
        assert_eq!(reduction.binaries[0].files, [0, 1]);
    }

    #[test]
    fn binaries_are_told_apart_and_may_share_a_file() {
        let both = [program([1, 2, 3]).to_bytes(), library(4).to_bytes()].concat();
        let mut padded = program([1, 1, 1]).to_bytes();
        padded.resize(padded.len() + 64, 0);
        let reduction = run(&[library(1).to_bytes(), both.clone(), padded]);
        assert_eq!(counters(&reduction), [&[5][..], &[2, 3, 4]]);
        assert_eq!(reduction.binaries[0].files, [0, 1]);
        assert_eq!(run(&[written(&reduction)]).binaries.len(), 2);
    }

    #[test]
    fn without_build_ids_functions_tell_binaries_apart() {
        let anonymous = |hash, counter| {
            let mut sample = Sample::new(Version::V8, &[(1, hash, &[counter])]);
            sample.build_id.clear();
            sample.to_bytes()
        };
        let reduction = run(&[anonymous(1, 5), anonymous(2, 6), anonymous(1, 7)]);
        assert_eq!(counters(&reduction), [[12], [6]]);
    }

    #[test]
    fn bitmaps_are_united() {
        let sample = |bits| {
            let mut sample = program([1, 1, 1]);
            sample.functions[0].3 = vec![bits, 1];
            sample.to_bytes()
        };
        assert_eq!(
            run(&[sample(0b01), sample(0b10)]).binaries[0]
                .profile
                .bitmap,
            [0b11, 1]
        );
    }

    #[test]
    fn what_cannot_be_used_is_named_and_harms_nobody() {
        fn check(file: Vec<u8>, expected: &str) {
            let good = program([1, 2, 3]).to_bytes();
            let reduction = run(&[good.clone(), file, good]);
            assert_eq!(reduction.outcomes[1].to_string(), expected);
            assert_eq!(counters(&reduction), [[2, 4, 6]]);
        }
        let good = program([1, 2, 3]).to_bytes();
        let cut = |at: usize| good[..at].to_vec();
        check(vec![], "empty");
        check(vec![0; 4096], "empty");
        check(cut(4), "not an LLVM profile");
        check(cut(64), "cut short: 64 of 128 bytes");
        check(cut(good.len() - 8), "cut short: 312 of 320 bytes");
        check(
            [good.clone(), cut(200)].concat(),
            "cut short: 520 of 640 bytes",
        );
        check(
            [good.clone(), vec![1; 8]].concat(),
            "damaged: other bytes follow the profile",
        );
        check(
            b"#!/bin/sh\necho something else\n".to_vec(),
            "not an LLVM profile",
        );
        check(
            program([0, MAX_COUNT + 1, 0]).to_bytes(),
            "damaged: counter 1 is 72057594037927937",
        );
        let both = [library(1).to_bytes(), program([0, 0, u64::MAX]).to_bytes()].concat();
        check(both, "damaged: counter 2 is 18446744073709551615");
        let mut flagged = good.clone();
        flagged[15] = 0x10;
        check(
            flagged,
            "single-byte counters, which only LLVM's own programs read",
        );
    }

    #[test]
    fn other_functions_under_the_same_build_id_are_refused() {
        let mut forged = program([1, 2, 3]);
        forged.functions[0].1 = 11;
        let good = program([1, 2, 3]).to_bytes();
        let reduction = run(&[good.clone(), forged.to_bytes()]);
        assert_eq!(reduction.outcomes, [Outcome::Used, Outcome::Differs]);
    }

    #[test]
    fn huge_sums_saturate_as_they_do_in_llvm() {
        let files = vec![program([MAX_COUNT, MAX_COUNT, 1]).to_bytes(); 300];
        let reduction = run(&files);
        assert_eq!(counters(&reduction), [[SATURATED, SATURATED, 300]]);
        let again = run(&[written(&reduction)]);
        assert_eq!(counters(&again), counters(&reduction));
    }

    fn samples() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let counts = || prop_oneof![Just(0), 0..100_u64, Just(MAX_COUNT)];
        let program =
            [counts(), counts(), counts()].prop_map(|counters| program(counters).to_bytes());
        let library = counts().prop_map(|counter| library(counter).to_bytes());
        let file = prop_oneof![
            program.clone(),
            library.clone(),
            (program, library).prop_map(|(a, b)| [a, b].concat())
        ];
        prop::collection::vec(file, 1..20)
    }

    proptest! {
        #[test]
        fn neither_order_nor_grouping_changes_the_sum(files in samples(), at in 0..20_usize, turn in 0..20_usize) {
            let whole = written(&run(&files));
            let mut turned = files.clone();
            turned.rotate_left(turn % files.len());
            prop_assert_eq!(&written(&run(&turned)), &whole);
            let (left, right) = files.split_at(at.min(files.len()));
            let parts = [written(&run(left)), written(&run(right))];
            prop_assert_eq!(&written(&run(&parts)), &whole);
        }
    }
}
