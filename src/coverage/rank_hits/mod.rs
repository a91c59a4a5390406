//! Which ranks reached which regions: the question that a sum over ranks cannot answer.
//!
//! [`RankWatch`] evaluates every rank's counters while they are added. What it leaves, [`RankHits`], is small, because
//! most regions are reached by one of a few sets of ranks; it merges over nodes and is stored beside the sum of the
//! profiles. [`super::rank_report`] makes lines of it.

mod programs;
mod runs;
mod sets;
mod watch;

use std::collections::BTreeMap;

pub use programs::{FunctionKey, Programs};
pub(super) use programs::{cells, hash};
use serde::{Deserialize, Serialize};
use sets::RankSets;
pub use sets::{NoRankSet, RankSet};
pub use watch::RankWatch;

/// The ranks that reached each region of each function.
#[derive(Debug, Clone, Default)]
pub struct RankHits {
    ranks: RankSet,
    sets: RankSets,
    /// For each function the set of each of its counters, in their order.
    functions: BTreeMap<FunctionKey, Vec<u32>>,
}

/// Why a stored [`RankHits`] cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RankHitsError {
    /// It is not of the expected form.
    #[error("not the rank hits of a reduction")]
    Form(#[from] serde_json::Error),
    /// It is of another version.
    #[error("rank hits of version {0}")]
    Version(u32),
    /// A set cannot be read.
    #[error(transparent)]
    Set(#[from] NoRankSet),
    /// Its sets and functions become too large.
    #[error("the rank hits become more than {RATIO} times their size and {} MiB", SPARE >> 20)]
    TooLarge,
    /// A function's key is no number.
    #[error("`{0}` is no hash")]
    NoKey(String),
    /// A function refers to a set that is not there.
    #[error("a function refers to set {0}, which is not there")]
    NoSet(u32),
}

/// Bytes that sets of ranks and functions take in memory for each byte of their text.
const RATIO: usize = 16;
/// Bytes beside those.
const SPARE: usize = 16 << 20;

impl RankHits {
    /// Returns the ranks whose profiles were seen.
    #[must_use]
    pub fn ranks(&self) -> &RankSet {
        &self.ranks
    }

    /// Returns the sets of a function's counters; none if no rank reached it.
    pub(super) fn function(&self, key: &FunctionKey) -> Option<&[u32]> {
        self.functions.get(key).map(Vec::as_slice)
    }

    /// Returns a set by its number.
    pub(super) fn set(&self, number: u32) -> Option<&RankSet> {
        self.sets.get(number)
    }

    /// Returns how many sets there are.
    pub(super) fn sets(&self) -> usize {
        self.sets.iter().len()
    }

    /// Adds what other ranks of the same step reached, or the same ranks in other processes.
    pub fn merge(&mut self, other: &Self) {
        self.ranks.unite(&other.ranks);
        let numbers: Vec<_> = other
            .sets
            .iter()
            .map(|set| self.sets.number(set.clone()))
            .collect();
        for (key, cells) in &other.functions {
            let cells: Vec<_> = cells
                .iter()
                .map(|&set| numbers.get(set as usize).copied().unwrap_or(0))
                .collect();
            union_cells(
                &mut self.sets,
                self.functions.entry(*key).or_default(),
                &cells,
            );
        }
    }

    /// Returns the text in which this is stored; equal hits have equal text.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut used = vec![false; self.sets()];
        for &set in self.functions.values().flatten() {
            used.get_mut(set as usize)
                .into_iter()
                .for_each(|used| *used = true);
        }
        let mut sets: Vec<&RankSet> = self
            .sets
            .iter()
            .zip(used)
            .filter(|(_, used)| *used)
            .map(|(set, _)| set)
            .collect();
        sets.sort_unstable();
        let number = |set| {
            sets.binary_search(&set)
                .ok()
                .and_then(|number| u32::try_from(number).ok())
        };
        let numbers: Vec<u32> = self
            .sets
            .iter()
            .map(|set| number(set).unwrap_or(0))
            .collect();
        let functions = self.functions.iter().map(|(key, cells)| {
            let cells = cells
                .iter()
                .map(|&set| numbers.get(set as usize).copied().unwrap_or(0))
                .collect::<Vec<_>>();
            let runs = cells
                .chunk_by(|a, b| a == b)
                .map(|run| (run.len(), run.first().copied().unwrap_or(0)));
            StoredFunction {
                key: [key.name, key.hash, key.mapping].map(|hash| format!("{hash:x}")),
                sets: runs.collect(),
            }
        });
        let stored = Stored {
            schema_version: VERSION,
            ranks: self.ranks.to_string(),
            functions: functions.collect(),
            sets: sets.into_iter().map(ToString::to_string).collect(),
        };
        serde_json::to_string(&stored).unwrap_or_default()
    }

    /// Reads what [`RankHits::to_json`] wrote.
    pub fn from_json(text: &str) -> Result<Self, RankHitsError> {
        let stored: Stored = serde_json::from_str(text)?;
        if stored.schema_version != VERSION {
            return Err(RankHitsError::Version(stored.schema_version));
        }
        let mut hits = Self {
            ranks: stored.ranks.parse()?,
            ..Self::default()
        };
        let mut numbers = Vec::new();
        let mut room = SPARE + RATIO * text.len();
        let mut take = |bytes: usize| {
            room = room.checked_sub(bytes).ok_or(RankHitsError::TooLarge)?;
            Ok::<_, RankHitsError>(())
        };
        for set in &stored.sets {
            let set: RankSet = set.parse()?;
            take(set.last().map_or(0, |last| last as usize / 8 + 8))?;
            numbers.push(hits.sets.number(set));
        }
        for StoredFunction { key, sets } in stored.functions {
            let number = |text: &String| {
                u64::from_str_radix(text, 16).map_err(|_| RankHitsError::NoKey(text.clone()))
            };
            let [name, hash, mapping] = &key;
            let key = FunctionKey {
                name: number(name)?,
                hash: number(hash)?,
                mapping: number(mapping)?,
            };
            let mut cells = Vec::new();
            for (len, set) in sets {
                let number = *numbers.get(set as usize).ok_or(RankHitsError::NoSet(set))?;
                take(len.min(MOST_CELLS).saturating_mul(size_of::<u32>()))?;
                cells.extend(std::iter::repeat_n(
                    number,
                    len.min(MOST_CELLS.saturating_sub(cells.len())),
                ));
            }
            hits.functions.insert(key, cells);
        }
        Ok(hits)
    }
}

/// Equal hits are equal however their sets are numbered.
impl PartialEq for RankHits {
    fn eq(&self, other: &Self) -> bool {
        let same = |(a, b): (&u32, &u32)| self.sets.get(*a) == other.sets.get(*b);
        self.ranks == other.ranks
            && self.functions.len() == other.functions.len()
            && self.functions.iter().zip(&other.functions).all(
                |((key, own), (other_key, cells))| {
                    key == other_key && own.len() == cells.len() && own.iter().zip(cells).all(same)
                },
            )
    }
}

const VERSION: u32 = 1;

/// No function has more distinct counters; who says so is damaged.
const MOST_CELLS: usize = 1 << 20;

#[derive(Serialize, Deserialize)]
struct Stored {
    schema_version: u32,
    ranks: String,
    sets: Vec<String>,
    functions: Vec<StoredFunction>,
}

#[derive(Serialize, Deserialize)]
struct StoredFunction {
    /// The hashes of name, structure and mapping, in hexadecimal: not every reader of JSON keeps 64 bits.
    key: [String; 3],
    /// The sets of the counters as runs of a length and a number.
    sets: Vec<(usize, u32)>,
}

/// Unites sets of ranks counter by counter.
fn union_cells(sets: &mut RankSets, own: &mut Vec<u32>, other: &[u32]) {
    if own.len() < other.len() {
        own.resize(other.len(), 0);
    }
    for (own, &other) in own
        .iter_mut()
        .zip(other)
        .filter(|(own, other)| **own != **other && **other != 0)
    {
        let Some((mut united, with)) = sets.get(*own).cloned().zip(sets.get(other)) else {
            continue;
        };
        united.unite(with);
        *own = sets.number(united);
    }
}
