//! Lines by the ranks that reached them: `coverage/ranks.json`, and what a person is told of it.
//!
//! A step at one number of ranks is a [`Sample`]. Of each line it is kept how many ranks of each sample reached it, and
//! which were the first and the last; lines in a row that were reached alike are one entry. From this follows what a
//! sum of all ranks hides: code that only rank 0 runs, that rank 0 never runs, and that needs many ranks to be reached.

use std::collections::BTreeMap;
use std::fmt::Write;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::export::{Files, LineRanks};
use super::rank_hits::RankHits;

/// A step at one number of ranks.
#[derive(Debug)]
pub struct Sample<'a> {
    /// The step's name, as in `halo[ranks=4]`.
    pub step: &'a str,
    /// What it is one of: steps of one test differ in their number of ranks and other axes.
    pub test: &'a str,
    /// How many ranks it had.
    pub size: u32,
    /// What they reached.
    pub hits: &'a RankHits,
}

/// The lines of a report by the ranks that reached them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RankReport {
    /// The version of this shape.
    pub schema_version: u32,
    /// The steps at their numbers of ranks.
    pub samples: Vec<SampleInfo>,
    /// The ways in which lines were reached, each once.
    pub patterns: Vec<Pattern>,
    /// For each file its lines in a row that were reached alike: first line, last line, number of the pattern. Lines
    /// without code in between, and lines that nobody reached, are left out.
    pub files: BTreeMap<String, Vec<(u32, u32, u32)>>,
    /// How many lines of each kind there are.
    pub totals: BTreeMap<Kind, u64>,
}

/// A sample as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SampleInfo {
    /// The step's name.
    pub step: String,
    /// How many ranks it had.
    pub size: u32,
    /// How many of them left a profile.
    pub profiles: u32,
}

/// A way in which lines were reached.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Pattern {
    /// What is to be said of it.
    pub kinds: Vec<Kind>,
    /// The samples that reached it.
    pub reached: Vec<Reached>,
    /// For [`Kind::OnlyAbove`], the number of ranks that does not suffice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only_above: Option<u32>,
}

/// How a sample reached lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Reached {
    /// The number of the sample.
    pub sample: u32,
    /// How many ranks reached the line.
    pub ranks: u32,
    /// The smallest of them.
    pub first: u32,
    /// The largest of them.
    pub last: u32,
}

/// What is to be said of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Wherever it was reached, every rank reached it.
    AllRanks,
    /// Somewhere, only some ranks reached it.
    SomeRanks,
    /// Only rank 0 ever reached it, although there were others.
    #[serde(rename = "only_rank_0")]
    OnlyRankZero,
    /// Ranks reached it, but never rank 0.
    #[serde(rename = "never_rank_0")]
    NeverRankZero,
    /// The same test did not reach it with fewer ranks.
    OnlyAbove,
}

/// The version of the document's shape.
pub const SCHEMA_VERSION: u32 = 1;

/// Returns the report of these samples. `name` gives the path under which a file is reported, if it is.
#[must_use]
pub fn report(
    files: &Files<'_>,
    samples: &[Sample<'_>],
    name: impl Fn(&str) -> Option<String>,
) -> RankReport {
    let mut patterns: BTreeMap<Vec<Reached>, u32> = BTreeMap::new();
    let mut report = RankReport {
        schema_version: SCHEMA_VERSION,
        samples: samples.iter().map(info).collect(),
        patterns: Vec::new(),
        files: BTreeMap::new(),
        totals: BTreeMap::new(),
    };
    let wanted: Vec<_> = files
        .paths()
        .enumerate()
        .filter_map(|(at, path)| Some((at, name(path)?)))
        .collect();
    for some in wanted.chunks(FILES) {
        let lines: Vec<_> = some
            .par_iter()
            .map(|(at, _)| reached(files, *at, samples))
            .collect();
        for ((_, path), lines) in some.iter().zip(lines) {
            add(&mut report, &mut patterns, samples, path, lines);
        }
    }
    report
}

/// Files that are under way at once.
const FILES: usize = 64;

fn add(
    report: &mut RankReport,
    patterns: &mut BTreeMap<Vec<Reached>, u32>,
    samples: &[Sample<'_>],
    path: &str,
    lines: Vec<(u32, Vec<Reached>)>,
) {
    let mut runs: Vec<(u32, u32, u32)> = Vec::new();
    // Whether the line before belongs to the last run.
    let mut goes_on = false;
    for (line, reached) in lines {
        if reached.is_empty() {
            goes_on = false;
            continue;
        }
        let next = u32::try_from(patterns.len()).unwrap_or(u32::MAX);
        let number = *patterns.entry(reached).or_insert_with_key(|reached| {
            report.patterns.push(pattern(reached, samples));
            next
        });
        for kind in report
            .patterns
            .get(number as usize)
            .map(|pattern| &pattern.kinds)
            .into_iter()
            .flatten()
        {
            *report.totals.entry(*kind).or_default() += 1;
        }
        match runs.last_mut() {
            Some(run) if goes_on && run.2 == number => run.1 = line,
            _ => runs.push((line, line, number)),
        }
        goes_on = true;
    }
    if !runs.is_empty() {
        report
            .files
            .entry(path.to_owned())
            .or_default()
            .append(&mut runs);
    }
}

/// Returns each line of a file with the samples that reached it.
fn reached(files: &Files<'_>, at: usize, samples: &[Sample<'_>]) -> Vec<(u32, Vec<Reached>)> {
    let mut lines: Vec<(u32, Vec<Reached>)> = Vec::new();
    for (sample, Sample { hits, .. }) in (0..).zip(samples) {
        let of_sample = files.ranks(at, hits);
        if lines.is_empty() {
            lines.extend(of_sample.iter().map(|of_line| (of_line.line, Vec::new())));
        }
        // The lines of a file do not depend on who reached them.
        for (
            (_, reached),
            LineRanks {
                ranks, first, last, ..
            },
        ) in lines.iter_mut().zip(of_sample)
        {
            if ranks > 0 {
                reached.push(Reached {
                    sample,
                    ranks,
                    first,
                    last,
                });
            }
        }
    }
    lines
}

fn info(sample: &Sample<'_>) -> SampleInfo {
    let Sample {
        step, size, hits, ..
    } = sample;
    SampleInfo {
        step: (*step).to_owned(),
        size: *size,
        profiles: hits.ranks().len(),
    }
}

fn pattern(reached: &[Reached], samples: &[Sample<'_>]) -> Pattern {
    let with_samples = || {
        reached
            .iter()
            .filter_map(|of| Some((of, samples.get(of.sample as usize)?)))
    };
    let all = with_samples().all(|(of, sample)| of.ranks == sample.hits.ranks().len());
    let only_zero =
        reached.iter().all(|of| of.last == 0) && with_samples().any(|(_, sample)| sample.size > 1);
    let never_zero = reached.iter().all(|of| of.first > 0);
    let only_above = only_above(reached, samples);
    let kinds = [
        (if all { Kind::AllRanks } else { Kind::SomeRanks }, true),
        (Kind::OnlyRankZero, only_zero),
        (Kind::NeverRankZero, never_zero),
        (Kind::OnlyAbove, only_above.is_some()),
    ];
    let kinds = kinds
        .into_iter()
        .filter(|(_, holds)| *holds)
        .map(|(kind, _)| kind)
        .collect();
    Pattern {
        kinds,
        reached: reached.to_vec(),
        only_above,
    }
}

/// Returns the largest number of ranks with which a test did not reach what it reached with more, if nothing reached it
/// with as few.
fn only_above(reached: &[Reached], samples: &[Sample<'_>]) -> Option<u32> {
    let reaching: Vec<_> = reached
        .iter()
        .filter_map(|of| samples.get(of.sample as usize))
        .collect();
    let fewest = reaching.iter().map(|sample| sample.size).min()?;
    let of_same_test =
        |sample: &&Sample<'_>| reaching.iter().any(|other| other.test == sample.test);
    samples
        .iter()
        .filter(of_same_test)
        .map(|sample| sample.size)
        .filter(|&size| size < fewest)
        .max()
}

impl RankReport {
    /// Returns the lines of a kind: path, first and last line of each run, and how they were reached.
    pub fn lines(&self, kind: Kind) -> impl Iterator<Item = (&str, u32, u32, &Pattern)> {
        self.files.iter().flat_map(move |(path, runs)| {
            let known = runs.iter().filter_map(|&(first, last, number)| {
                let pattern = self.patterns.get(number as usize)?;
                Some((path.as_str(), first, last, pattern))
            });
            known.filter(move |(.., pattern)| pattern.kinds.contains(&kind))
        })
    }

    /// Returns what a person is told: how many lines of each kind, and where the first few are.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        let telling = self
            .totals
            .iter()
            .filter(|(kind, _)| **kind != Kind::AllRanks);
        for (&kind, &count) in telling {
            // Writing to a string cannot fail.
            let _written = writeln!(text, "{count:>8} {}", kind.say());
            if matches!(
                kind,
                Kind::OnlyRankZero | Kind::NeverRankZero | Kind::OnlyAbove
            ) {
                self.show_places(kind, &mut text);
            }
        }
        text
    }

    fn show_places(&self, kind: Kind, text: &mut String) {
        const SHOWN: usize = 5;
        let mut places = self.lines(kind);
        for (path, first, last, pattern) in places.by_ref().take(SHOWN) {
            let range = if first == last {
                format!("{first}")
            } else {
                format!("{first}-{last}")
            };
            let above = pattern.only_above.filter(|_| kind == Kind::OnlyAbove);
            let more = above.map_or(String::new(), |ranks| format!(" (more than {ranks})"));
            let _written = writeln!(text, "           {path}:{range}{more}");
        }
        let more = places.count();
        if more > 0 {
            let _written = writeln!(text, "           and {more} more places");
        }
    }
}

impl Kind {
    fn say(self) -> &'static str {
        match self {
            Self::AllRanks => "lines that every rank reached",
            Self::SomeRanks => "lines that only some ranks reached",
            Self::OnlyRankZero => "lines that only rank 0 reached",
            Self::NeverRankZero => "lines that rank 0 never reached",
            Self::OnlyAbove => "lines that need more ranks",
        }
    }
}
