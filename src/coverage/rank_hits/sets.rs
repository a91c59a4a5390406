//! Sets of ranks.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

/// A set of ranks: a bit for each, as far as the largest one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub struct RankSet(Vec<u64>);

/// No run has more ranks; who says so is damaged, and would ask for memory without end.
const MAX_RANKS: u32 = 1 << 24;

impl RankSet {
    /// Returns the empty set.
    #[must_use]
    pub const fn none() -> Self {
        Self(Vec::new())
    }

    /// Puts a rank into the set.
    pub fn insert(&mut self, rank: u32) {
        self.insert_mask(rank.min(MAX_RANKS), 1);
    }

    /// Puts the ranks from `first` on into the set whose bits are set in `mask`.
    pub(super) fn insert_mask(&mut self, first: u32, mask: u64) {
        let (word, shift) = ((first / 64) as usize, first % 64);
        let wide = u128::from(mask) << shift;
        let halves =
            [wide, wide >> 64].map(|half| u64::try_from(half & u128::from(u64::MAX)).unwrap_or(0));
        for (word, bits) in (word..).zip(halves).filter(|(_, bits)| *bits != 0) {
            if self.0.len() <= word {
                self.0.resize(word + 1, 0);
            }
            if let Some(slot) = self.0.get_mut(word) {
                *slot |= bits;
            }
        }
    }

    /// Puts all ranks of another set into this one.
    pub fn unite(&mut self, other: &Self) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        self.0
            .iter_mut()
            .zip(&other.0)
            .for_each(|(own, other)| *own |= other);
    }

    /// Returns how many ranks are in the set.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    /// Returns whether no rank is in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|&word| word == 0)
    }

    /// Returns the smallest rank.
    #[must_use]
    pub fn first(&self) -> Option<u32> {
        let (at, word) = (0_u32..).zip(&self.0).find(|(_, word)| **word != 0)?;
        Some(at * 64 + word.trailing_zeros())
    }

    /// Returns the largest rank.
    #[must_use]
    pub fn last(&self) -> Option<u32> {
        let (at, word) = (0_u32..)
            .zip(&self.0)
            .filter(|(_, word)| **word != 0)
            .last()?;
        Some(at * 64 + 63 - word.leading_zeros())
    }

    /// Returns whether a rank is in the set.
    #[must_use]
    pub fn contains(&self, rank: u32) -> bool {
        self.0
            .get((rank / 64) as usize)
            .is_some_and(|word| word >> (rank % 64) & 1 == 1)
    }

    fn ranges(&self) -> Vec<(u32, u32)> {
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        for (at, &word) in (0_u32..).zip(&self.0) {
            let mut rest = word;
            while rest != 0 {
                let start = rest.trailing_zeros();
                let len = (rest >> start).trailing_ones();
                let (first, last) = (at * 64 + start, at * 64 + start + len - 1);
                match ranges.last_mut() {
                    Some(before) if before.1 + 1 == first => before.1 = last,
                    _ => ranges.push((first, last)),
                }
                rest &= u64::MAX.checked_shl(start + len).unwrap_or(0);
            }
        }
        ranges
    }
}

impl FromIterator<u32> for RankSet {
    fn from_iter<I: IntoIterator<Item = u32>>(ranks: I) -> Self {
        let mut set = Self::default();
        ranks.into_iter().for_each(|rank| set.insert(rank));
        set
    }
}

/// Writes ranges, as in `0-3,7`.
impl fmt::Display for RankSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (first, last)) in self.ranges().into_iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            if first == last {
                write!(f, "{comma}{first}")?;
            } else {
                write!(f, "{comma}{first}-{last}")?;
            }
        }
        Ok(())
    }
}

/// Text that is no set of ranks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no set of ranks such as `0-3,7`")]
pub struct NoRankSet(pub String);

impl FromStr for RankSet {
    type Err = NoRankSet;

    fn from_str(text: &str) -> Result<Self, NoRankSet> {
        let mut set = Self::default();
        for range in text.split(',').filter(|range| !range.is_empty()) {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let (first, last) = first
                .parse()
                .ok()
                .zip(last.parse().ok())
                .ok_or_else(|| NoRankSet(text.to_owned()))?;
            if first > last || last >= MAX_RANKS {
                return Err(NoRankSet(text.to_owned()));
            }
            for start in (first..=last).step_by(64) {
                let ranks: u32 = last - start + 1;
                let mask = u64::MAX >> (64 - ranks.min(64));
                set.insert_mask(start, mask);
            }
        }
        Ok(set)
    }
}

/// Sets of ranks by number, each once; the empty set is number 0. Of a program's thousands of regions, most are reached
/// by one of a few sets.
#[derive(Debug, Clone)]
pub(super) struct RankSets {
    sets: Vec<RankSet>,
    numbers: HashMap<RankSet, u32>,
}

impl Default for RankSets {
    fn default() -> Self {
        let none = RankSet::default();
        Self {
            sets: vec![none.clone()],
            numbers: HashMap::from([(none, 0)]),
        }
    }
}

impl RankSets {
    pub(super) fn number(&mut self, set: RankSet) -> u32 {
        if let Some(number) = self.numbers.get(&set) {
            return *number;
        }
        let number = u32::try_from(self.sets.len()).unwrap_or(u32::MAX);
        self.sets.push(set.clone());
        self.numbers.insert(set, number);
        number
    }

    pub(super) fn get(&self, number: u32) -> Option<&RankSet> {
        self.sets.get(number as usize)
    }

    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = &RankSet> {
        self.sets.iter()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sets_are_written_as_ranges() {
        let check = |ranks: &[u32], expected: &str| {
            let set: RankSet = ranks.iter().copied().collect();
            assert_eq!(set.to_string(), expected);
            assert_eq!(expected.parse::<RankSet>().unwrap(), set);
        };
        check(&[], "");
        check(&[0], "0");
        check(&[63, 64, 65, 0, 7], "0,7,63-65");
        check(&[128], "128");
        for wrong in ["x", "1-", "3-1", "-", "4294967295", "0 1"] {
            assert!(wrong.parse::<RankSet>().is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn a_set_is_what_was_put_in(ranks in prop::collection::btree_set(0..500_u32, 0..40)) {
            let set: RankSet = ranks.iter().copied().collect();
            prop_assert_eq!(set.len() as usize, ranks.len());
            prop_assert_eq!((set.first(), set.last()), (ranks.first().copied(), ranks.last().copied()));
            prop_assert!((0..500).all(|rank| set.contains(rank) == ranks.contains(&rank)));
            prop_assert_eq!(set.to_string().parse::<RankSet>().unwrap(), set);
        }
    }
}
