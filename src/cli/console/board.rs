//! Where the steps of a run are, as far as its progress tells. No clock.
//!
//! Only steps that wait in the queue or run are held, and what is shown of them is kept up as they come and go, so that
//! drawing costs the same for ten steps and for ten thousand.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use chrono::{DateTime, FixedOffset, Utc};

use super::words::{clock, watch};
use crate::clean::one_line;
use crate::drive::progress::{Attempted, Progress, Stage, StageKind};

/// Reasons for waiting that one line names.
const REASONS: usize = 3;

/// The steps of a run, and what is being done.
#[derive(Debug, Default)]
pub(super) struct Board {
    pub(super) total: usize,
    pub(super) good: usize,
    pub(super) bad: usize,
    pub(super) stages: Vec<(Stage, DateTime<Utc>)>,
    steps: HashMap<Arc<str>, Place>,
    running: BTreeMap<(DateTime<Utc>, Arc<str>), Running>,
    queues: BTreeMap<Option<Arc<str>>, Queue>,
}

/// Where a step is.
#[derive(Debug, Clone, PartialEq)]
enum Place {
    Queued {
        reason: Option<Arc<str>>,
        start: Option<DateTime<Utc>>,
    },
    Running {
        since: DateTime<Utc>,
    },
}

/// A step that runs.
#[derive(Debug, Clone)]
pub(super) struct Running {
    pub(super) attempt: Attempted,
    pub(super) nodes: Vec<String>,
}

/// Steps that wait for the same reason.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) steps: usize,
    /// How many are expected to start when.
    starts: BTreeMap<DateTime<Utc>, usize>,
}

impl Queue {
    /// Returns when the first of them is expected to start.
    pub(super) fn first(&self) -> Option<DateTime<Utc>> {
        self.starts.keys().next().copied()
    }
}

impl Board {
    /// Takes in what happened at this time.
    pub(super) fn take_in(&mut self, event: &Progress, now: DateTime<Utc>) {
        match event {
            Progress::Began(stage) => self.stages.push((stage.clone(), now)),
            Progress::Over { stage, .. } => {
                self.stages.retain(|(open, _)| open != stage);
                if self.stages.is_empty() {
                    // A run may be left while its steps go on.
                    *self = Self::default();
                }
            }
            Progress::Note(_) => {}
            Progress::Steps { total } => self.total = *total,
            Progress::Queued {
                attempt,
                reason,
                start,
            } => self.queue(attempt, reason.as_deref(), *start),
            Progress::Running {
                attempt,
                nodes,
                since,
            } => self.run(attempt, nodes, *since),
            Progress::Again { step, .. } => self.remove(step),
            Progress::Ended(ended) => {
                self.remove(&ended.attempt.step);
                if ended.good {
                    self.good += 1;
                } else {
                    self.bad += 1;
                }
            }
        }
    }

    /// Returns since when a stage has been going on.
    pub(super) fn since(&self, stage: &Stage) -> Option<DateTime<Utc>> {
        let open = self.stages.iter().find(|(open, _)| open == stage);
        open.map(|(_, since)| *since)
    }

    /// Returns whether a step waits in the queue for this reason already.
    pub(super) fn is_queued(&self, step: &str, reason: Option<&str>) -> bool {
        matches!(self.steps.get(step), Some(Place::Queued { reason: known, .. }) if known.as_deref() == reason)
    }

    fn queue(&mut self, attempt: &Attempted, reason: Option<&str>, start: Option<DateTime<Utc>>) {
        self.remove(&attempt.step);
        // The same few reasons are held once.
        let known = self
            .queues
            .keys()
            .flatten()
            .find(|known| Some(known.as_ref()) == reason);
        let reason: Option<Arc<str>> = known.cloned().or_else(|| reason.map(Arc::from));
        let queue = self.queues.entry(reason.clone()).or_default();
        queue.steps += 1;
        if let Some(start) = start {
            *queue.starts.entry(start).or_default() += 1;
        }
        let place = Place::Queued { reason, start };
        self.steps.insert(Arc::from(attempt.step.as_str()), place);
    }

    fn run(&mut self, attempt: &Attempted, nodes: &[String], since: DateTime<Utc>) {
        self.remove(&attempt.step);
        let name: Arc<str> = Arc::from(attempt.step.as_str());
        let running = Running {
            attempt: attempt.clone(),
            nodes: nodes.to_vec(),
        };
        self.running.insert((since, Arc::clone(&name)), running);
        self.steps.insert(name, Place::Running { since });
    }

    fn remove(&mut self, step: &str) {
        match self.steps.remove_entry(step) {
            Some((name, Place::Running { since })) => {
                self.running.remove(&(since, name));
            }
            Some((_, Place::Queued { reason, start })) => {
                let Some(queue) = self.queues.get_mut(&reason) else {
                    return;
                };
                queue.steps -= 1;
                let left = start.and_then(|start| Some((start, queue.starts.get_mut(&start)?)));
                if let Some((start, left)) = left {
                    *left -= 1;
                    if *left == 0 {
                        queue.starts.remove(&start);
                    }
                }
                if queue.steps == 0 {
                    self.queues.remove(&reason);
                }
            }
            None => {}
        }
    }

    /// Returns how many steps run.
    pub(super) fn running_count(&self) -> usize {
        self.running.len()
    }

    /// Returns the steps that run, with the beginning of each, those that have run longest first.
    pub(super) fn running(&self) -> impl Iterator<Item = (DateTime<Utc>, &Running)> {
        self.running.iter().map(|((since, _), step)| (*since, step))
    }

    /// Returns the steps that wait in the queue by their reasons, as many as there are first.
    pub(super) fn queues(&self) -> Vec<(Option<&str>, &Queue)> {
        let mut queues: Vec<(Option<&str>, &Queue)> = self
            .queues
            .iter()
            .map(|(reason, queue)| (reason.as_deref(), queue))
            .collect();
        queues.sort_by_key(|(_, queue)| std::cmp::Reverse(queue.steps));
        queues
    }

    /// Returns how many steps wait in the queue.
    pub(super) fn queued(&self) -> usize {
        self.steps.len() - self.running.len()
    }

    /// Returns how many steps have neither ended nor a job.
    pub(super) fn not_submitted(&self) -> usize {
        self.total
            .saturating_sub(self.good + self.bad + self.steps.len())
    }

    /// Returns the figures of the steps in words: what has ended, and what runs.
    pub(super) fn counts(&self) -> Vec<String> {
        let mut parts = vec![format!("{}/{} done", self.good + self.bad, self.total)];
        for (count, what) in [
            (self.bad, "not passed"),
            (self.running_count(), "running"),
            (self.queued() + self.not_submitted(), "waiting"),
        ] {
            if count > 0 {
                parts.push(format!("{count} {what}"));
            }
        }
        parts
    }

    /// Returns one line that says how far the run is, for a log that has been silent for long.
    pub(super) fn line(&self, now: DateTime<FixedOffset>) -> Option<String> {
        let (stage, since) = self.stages.last()?;
        let long = watch((now.to_utc() - since).to_std().unwrap_or_default());
        let what = one_line(&stage.to_string());
        if self.total == 0 {
            return Some(format!("{what} goes on, {long} so far"));
        }
        let queues = self.queues();
        let first = queues.iter().filter_map(|(_, queue)| queue.first()).min();
        let reasons: Vec<String> = queues
            .iter()
            .filter_map(|(reason, _)| Some(one_line((*reason)?)))
            .take(REASONS)
            .collect();
        let why = [
            Some(reasons.join(", ")).filter(|reasons| !reasons.is_empty()),
            first.map(|first| format!("first starts {}", clock(first, now))),
        ];
        let why: Vec<String> = why.into_iter().flatten().collect();
        let mut line = self.counts().join(" · ");
        if stage.kind != StageKind::Steps {
            line = format!("{what}: {line}");
        }
        if !why.is_empty() {
            line = format!("{line} ({})", why.join("; "));
        }
        Some(format!("{line} · {long}"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{self, at};
    use super::*;

    #[test]
    fn steps_are_counted_where_they_are() {
        let mut board = Board::default();
        board.take_in(&sample::began(StageKind::Steps, ""), at(0).to_utc());
        board.take_in(&Progress::Steps { total: 3 }, at(0).to_utc());
        let again = || Progress::Again {
            step: "a".to_owned(),
            attempt: 1,
            why: None,
        };
        let later = Some(at(9000).to_utc());
        let sooner = Some(at(600).to_utc());
        for (event, expected) in [
            (
                sample::queued("a", None, None),
                "0/3 done · 3 waiting · 0:10",
            ),
            (
                sample::queued("a", Some("Priority"), later),
                "0/3 done · 3 waiting (Priority; first starts about 16:30) · 0:10",
            ),
            (
                sample::queued("b", Some("Resources"), sooner),
                "0/3 done · 3 waiting (Priority, Resources; first starts about 14:10) · 0:10",
            ),
            (
                sample::running("b", 2),
                "0/3 done · 1 running · 2 waiting (Priority; first starts about 16:30) · 0:10",
            ),
            (
                sample::running("a", 2),
                "0/3 done · 2 running · 1 waiting · 0:10",
            ),
            (again(), "0/3 done · 1 running · 2 waiting · 0:10"),
            (again(), "0/3 done · 1 running · 2 waiting · 0:10"),
            (
                sample::ended("b", "failed"),
                "1/3 done · 1 not passed · 2 waiting · 0:10",
            ),
            (
                sample::ended("c", "passed"),
                "2/3 done · 1 not passed · 1 waiting · 0:10",
            ),
            (
                sample::running("a", 1),
                "2/3 done · 1 not passed · 1 running · 0:10",
            ),
            (
                sample::ended("a", "passed"),
                "3/3 done · 1 not passed · 0:10",
            ),
        ] {
            board.take_in(&event, at(0).to_utc());
            assert_eq!(board.line(at(10)).as_deref(), Some(expected), "{event:?}");
        }
        assert!(board.steps.is_empty() && board.running.is_empty() && board.queues.is_empty());
    }
}
