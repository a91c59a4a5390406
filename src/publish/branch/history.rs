//! The runs that the branch keeps, in the order in which they began, and which of them stand for what.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::results::record::{
    BenchmarksSummary, Part, RunEntry, RunStatus, Status, StepRecord, SuiteCounts,
};

/// A run as the branch keeps it.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// `run.json`.
    pub entry: RunEntry,
    /// Its tests, counted, if their document is there.
    pub counts: Option<SuiteCounts>,
    /// `benchmarks.json`, if it measured anything.
    pub benchmarks: Option<BenchmarksSummary>,
}

/// All runs, the oldest first.
#[derive(Debug, Clone, Default)]
pub struct History {
    runs: Vec<Run>,
    /// Folders whose documents cannot be understood.
    pub unreadable: Vec<String>,
}

/// What stands for a branch: of each part the run of the newest commit that has it. What is marked stands for nothing.
#[derive(Debug, Clone, Copy)]
pub struct Standing<'a> {
    /// The newest commit.
    pub commit: &'a str,
    /// Its newest run.
    pub newest: &'a Run,
    /// The run that tested last.
    pub tests: Option<&'a Run>,
    /// The run that measured coverage last.
    pub coverage: Option<&'a Run>,
    /// The run that ran benchmarks last.
    pub benchmarks: Option<&'a Run>,
}

impl Run {
    /// Returns the folder of the run on the branch.
    #[must_use]
    pub fn folder(&self) -> String {
        format!("{}/{}", self.entry.commit, self.entry.run)
    }

    /// Returns whether the run says anything about a part: what was skipped does not.
    #[must_use]
    pub fn has(&self, part: Part) -> bool {
        let ran = |status: Option<RunStatus>| status.is_some_and(|it| it != RunStatus::Skipped);
        let parts = &self.entry.parts;
        match part {
            Part::Tests => ran(parts.tests.as_ref().map(|it| it.status)),
            Part::Benchmarks => ran(parts.benchmarks.as_ref().map(|it| it.status)),
            Part::Coverage => parts.coverage.is_some(),
        }
    }

    /// Returns the steps of a part.
    pub fn steps(&self, part: Part) -> impl Iterator<Item = &StepRecord> {
        let steps = self.entry.steps.iter();
        steps
            .filter(move |step| step.part == part)
            .map(|step| &step.step)
    }

    /// Returns its tests, counted: as their document says, which may list fewer steps; else from the steps.
    #[must_use]
    pub fn counts(&self) -> SuiteCounts {
        if let Some(counts) = self.counts {
            return counts;
        }
        let mut counts = SuiteCounts::default();
        for step in self.steps(Part::Tests) {
            let count = match step.status {
                Status::Passed => &mut counts.passed,
                Status::Failed => &mut counts.failed,
                Status::Error => &mut counts.errors,
                Status::NotRun => &mut counts.not_run,
                Status::Skipped => &mut counts.skipped,
            };
            *count += 1;
            counts.flaky += u64::from(step.flaky);
        }
        counts
    }

    /// Returns how many tests should have run, and how many of them proved nothing.
    #[must_use]
    pub fn totals(&self) -> (u64, u64) {
        let counts = self.counts();
        let unproved = counts.errors.saturating_add(counts.not_run);
        let judged = counts.passed.saturating_add(counts.failed);
        (judged.saturating_add(unproved), unproved)
    }

    /// Returns whether it may stand for its branch.
    fn stands(&self) -> bool {
        self.entry.marks.is_empty() && !self.entry.dirty
    }
}

impl History {
    /// Puts runs in order.
    #[must_use]
    pub fn new(mut runs: Vec<Run>, unreadable: Vec<String>) -> Self {
        runs.sort_by(|a, b| {
            let key = |run: &Run| (run.entry.started_at, run.entry.run.clone());
            key(a).cmp(&key(b))
        });
        Self { runs, unreadable }
    }

    /// Keeps some of the runs.
    pub fn retain(&mut self, keep: impl FnMut(&Run) -> bool) {
        self.runs.retain(keep);
    }

    /// Returns all runs, the oldest first.
    #[must_use]
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// Returns the runs that may stand for a branch, the oldest first.
    #[must_use]
    pub fn of_branch<'a>(&'a self, branch: &str) -> impl DoubleEndedIterator<Item = &'a Run> {
        let branch = branch.to_owned();
        self.runs
            .iter()
            .filter(move |run| run.stands() && run.entry.branch.as_ref() == Some(&branch))
    }

    /// Returns what stands for each branch.
    #[must_use]
    pub fn standings(&self) -> BTreeMap<&str, Standing<'_>> {
        let mut branches: BTreeMap<&str, Vec<&Run>> = BTreeMap::new();
        for run in self.runs.iter().filter(|run| run.stands()) {
            if let Some(branch) = &run.entry.branch {
                branches.entry(branch).or_default().push(run);
            }
        }
        branches
            .into_iter()
            .filter_map(|(branch, runs)| Some((branch, standing(&runs)?)))
            .collect()
    }

    /// Returns the commits, the newest first. A commit is as old as its first run: running it again makes it no newer.
    #[must_use]
    pub fn commits(&self) -> Vec<&str> {
        let runs: Vec<&Run> = self.runs.iter().collect();
        let mut commits: Vec<(DateTime<Utc>, &str)> = first_seen(&runs)
            .into_iter()
            .map(|(commit, time)| (time, commit))
            .collect();
        commits.sort_unstable();
        commits
            .into_iter()
            .rev()
            .map(|(_, commit)| commit)
            .collect()
    }
}

fn first_seen<'a>(runs: &[&'a Run]) -> BTreeMap<&'a str, DateTime<Utc>> {
    let mut first = BTreeMap::new();
    for run in runs {
        let time = first
            .entry(run.entry.commit.as_str())
            .or_insert(run.entry.started_at);
        *time = run.entry.started_at.min(*time);
    }
    first
}

fn standing<'a>(runs: &[&'a Run]) -> Option<Standing<'a>> {
    let first = first_seen(runs);
    let rank = |run: &&&'a Run| {
        let commit = run.entry.commit.as_str();
        (first.get(commit).copied(), commit, run.entry.finished_at)
    };
    let last = |part: Part| {
        let with = runs.iter().filter(|run| run.has(part));
        with.max_by_key(rank).copied()
    };
    let newest = runs.iter().max_by_key(rank).copied()?;
    Some(Standing {
        commit: &newest.entry.commit,
        newest,
        tests: last(Part::Tests),
        coverage: last(Part::Coverage),
        benchmarks: last(Part::Benchmarks),
    })
}
