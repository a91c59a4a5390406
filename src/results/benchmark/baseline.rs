//! What a metric is compared with, in the contract's order: the one that was asked for, the accepted one, that of the merge base
//! with the default branch. Only results of the same key are compared, ever, and only what can have been measured.

use std::collections::BTreeMap;

use super::{Baseline, is_measured, measured_median};
use crate::results::record::{Accepted, BaselineSource, HistoryEntry};

/// Where baselines may come from.
#[derive(Debug, Clone, Default)]
pub struct Baselines {
    /// `--baseline`: a run, or the beginning of a commit.
    pub asked: Option<String>,
    /// Every baseline that was accepted, the oldest first.
    pub accepted: Vec<Accepted>,
    /// The merge base with the default branch, if that is not the commit itself.
    pub merge_base: Option<String>,
    /// Every run, the oldest first.
    pub runs: Vec<HistoryEntry>,
}

impl Baselines {
    /// Returns what a metric under a key is compared with.
    #[must_use]
    pub fn find(&self, metric: &str, key: &BTreeMap<String, String>) -> Option<Baseline> {
        if let Some(asked) = &self.asked {
            let is_asked = |run: &HistoryEntry| run.run == *asked || run.commit.starts_with(asked);
            return self.newest(metric, key, BaselineSource::Asked, &is_asked);
        }
        let accepted = in_force(self.accepted.iter(), metric, key).map(|it| Baseline {
            commit: it.commit.clone(),
            run: Some(it.run.clone()),
            unit: it.unit.clone(),
            median: it.median,
            samples: it.samples.clone(),
            source: BaselineSource::Accepted,
        });
        let merge_base = || {
            let base = self.merge_base.as_ref()?;
            let is_base = |run: &HistoryEntry| run.commit == *base && !run.dirty;
            self.newest(metric, key, BaselineSource::MergeBase, &is_base)
        };
        accepted.or_else(merge_base)
    }

    fn newest(
        &self,
        metric: &str,
        key: &BTreeMap<String, String>,
        source: BaselineSource,
        wanted: &dyn Fn(&HistoryEntry) -> bool,
    ) -> Option<Baseline> {
        let runs = self.runs.iter().rev().filter(|run| wanted(run));
        runs.filter_map(|run| Some((run, run.benchmarks.get(metric)?)))
            .filter(|(_, record)| record.key == *key)
            .find_map(|(run, record)| {
                Some(Baseline {
                    commit: run.commit.clone(),
                    run: Some(run.run.clone()),
                    unit: record.unit.clone(),
                    median: measured_median(record)?,
                    samples: record.samples.clone(),
                    source,
                })
            })
    }
}

/// Returns the accepted baseline that is in force: the newest of those that can have been measured.
#[must_use]
pub fn in_force<'a>(
    accepted: impl DoubleEndedIterator<Item = &'a Accepted>,
    metric: &str,
    key: &BTreeMap<String, String>,
) -> Option<&'a Accepted> {
    let mut newest_first = accepted.rev();
    newest_first.find(|it| {
        let mut all = it.samples.iter().chain([&it.median]);
        it.benchmark == metric && it.key == *key && all.all(|&value| is_measured(&it.unit, value))
    })
}
