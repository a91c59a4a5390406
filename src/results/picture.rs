//! What stands after a run: its own parts, and those that an earlier run of the same commit still contributes.
//!
//! A run replaces the parts in its scope. The others stay if they are of the same commit and neither tree was dirty;
//! otherwise they become `skipped`. `hpc-results.json` is made from the entries of the contributing runs alone, so
//! that it can be made again from `artifacts/` at any time.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};
use chrono::{DateTime, Utc};

use super::record::{
    BenchmarksPart, CoveragePart, HpcResults, Mark, Meta, Part, RunEntry, RunMeta, RunParts,
    RunStatus, SCHEMA_VERSION, TestsPart, path_from,
};
use super::summary;

/// What earlier runs left.
#[derive(Debug, Clone)]
pub struct Earlier {
    /// `meta.json`.
    pub meta: Meta,
    /// `runs/RUN-ID.json` of each run in it.
    pub entries: Vec<RunEntry>,
}

/// What is to stand now.
#[derive(Debug, Clone)]
pub struct Picture {
    /// `hpc-results.json`.
    pub results: HpcResults,
    /// `meta.json`.
    pub meta: Meta,
    /// The parts whose files are taken over from an earlier run.
    pub kept: BTreeSet<Part>,
    /// The earlier runs whose entries are taken over.
    pub kept_runs: Vec<String>,
    /// The parts that nobody ran at this commit.
    pub skipped: BTreeSet<Part>,
}

/// What sets of one commit are together, and which of them holds what.
#[derive(Debug, Clone)]
pub struct Joined {
    /// `hpc-results.json`.
    pub results: HpcResults,
    /// `meta.json`.
    pub meta: Meta,
    /// The set, by its place in the list, from which each part comes.
    pub parts: BTreeMap<Part, usize>,
    /// The set from which the entry of each contributing run comes.
    pub runs: BTreeMap<String, usize>,
}

/// Joins sets of artifacts of one commit, as different jobs leave them; `None` if no run contributes anything.
///
/// Of each part the newest stands, but what was skipped never stands for what ran, and what is marked (filtered, dirty,
/// damaged) only where there is nothing better.
#[must_use]
pub fn join(sets: &[Earlier], now: DateTime<Utc>) -> Option<Joined> {
    let owners: BTreeMap<Part, Candidate<'_>> = Part::ALL
        .into_iter()
        .filter_map(|part| {
            let best = candidates(sets).filter(|it| it.meta.parts.contains(&part));
            Some((part, best.max_by_key(|it| it.rank(part))?))
        })
        .collect();
    let mut contributors = BTreeMap::new();
    for (&part, owner) in &owners {
        let key = (owner.entry.finished_at, owner.entry.run.as_str());
        let (_, parts) = contributors.entry(key).or_insert((owner, Vec::new()));
        parts.push(part);
    }
    let runs = contributors
        .values()
        .map(|(owner, _)| (owner.entry.run.clone(), owner.set))
        .collect();
    let contributors: Vec<Contributor<'_>> = contributors
        .into_values()
        .map(|(owner, parts)| Contributor {
            entry: owner.entry,
            meta: RunMeta {
                parts,
                ..owner.meta.clone()
            },
        })
        .collect();
    let newest = contributors.last()?;
    let tag = contributors
        .iter()
        .rev()
        .find_map(|it| it.meta.source.tag.clone());
    Some(Joined {
        results: results(&contributors, newest.entry, now),
        parts: owners
            .iter()
            .map(|(&part, owner)| (part, owner.set))
            .collect(),
        runs,
        meta: Meta {
            schema_version: SCHEMA_VERSION,
            commit: newest.entry.commit.clone(),
            branch: newest.entry.branch.clone(),
            tag,
            dirty: contributors.iter().any(|it| it.entry.dirty),
            generated_at: now,
            runs: contributors.into_iter().map(|it| it.meta).collect(),
        },
    })
}

/// A run of one of the sets.
#[derive(Clone, Copy)]
struct Candidate<'a> {
    set: usize,
    entry: &'a RunEntry,
    meta: &'a RunMeta,
}

impl Candidate<'_> {
    /// The larger stands for the part.
    fn rank(&self, part: Part) -> (bool, bool, DateTime<Utc>) {
        let parts = &self.entry.parts;
        let ran = match part {
            Part::Tests => parts
                .tests
                .as_ref()
                .is_some_and(|it| it.status != RunStatus::Skipped),
            Part::Benchmarks => parts
                .benchmarks
                .as_ref()
                .is_some_and(|it| it.status != RunStatus::Skipped),
            Part::Coverage => parts.coverage.is_some(),
        };
        (ran, self.entry.marks.is_empty(), self.entry.finished_at)
    }
}

fn candidates(sets: &[Earlier]) -> impl Iterator<Item = Candidate<'_>> {
    sets.iter().enumerate().flat_map(|(set, earlier)| {
        earlier.meta.runs.iter().filter_map(move |meta| {
            let entry = earlier.entries.iter().find(|entry| entry.run == meta.run)?;
            Some(Candidate { set, entry, meta })
        })
    })
}

/// A run and the parts that are still its own.
struct Contributor<'a> {
    entry: &'a RunEntry,
    meta: RunMeta,
}

/// Returns what is to stand when `entry` comes to what was there before.
#[must_use]
pub fn compose(
    earlier: Option<&Earlier>,
    entry: &RunEntry,
    meta: &RunMeta,
    now: DateTime<Utc>,
) -> Picture {
    let mut contributors = earlier
        .map(|earlier| remaining(earlier, entry))
        .unwrap_or_default();
    let kept = contributors
        .iter()
        .flat_map(|it| it.meta.parts.iter().copied())
        .collect::<BTreeSet<_>>();
    let kept_runs = contributors
        .iter()
        .map(|it| it.entry.run.clone())
        .collect::<Vec<_>>();
    contributors.push(Contributor {
        entry,
        meta: meta.clone(),
    });
    Picture {
        results: results(&contributors, entry, now),
        skipped: Part::ALL
            .into_iter()
            .filter(|part| !kept.contains(part) && !entry.scope.contains(part))
            .collect(),
        kept,
        kept_runs,
        meta: Meta {
            schema_version: SCHEMA_VERSION,
            commit: entry.commit.clone(),
            branch: entry.branch.clone(),
            tag: meta.source.tag.clone(),
            dirty: entry.dirty,
            generated_at: now,
            runs: contributors.into_iter().map(|it| it.meta).collect(),
        },
    }
}

/// Returns the earlier runs that still contribute, each with the parts that remain its own.
fn remaining<'a>(earlier: &'a Earlier, new: &RunEntry) -> Vec<Contributor<'a>> {
    let find = |run: &str| earlier.entries.iter().find(|entry| entry.run == run);
    earlier
        .meta
        .runs
        .iter()
        .filter_map(|meta| Some((meta, find(&meta.run)?)))
        .filter(|(_, entry)| {
            entry.run != new.run && entry.commit == new.commit && !entry.dirty && !new.dirty
        })
        .map(|(meta, entry)| {
            let parts = meta
                .parts
                .iter()
                .copied()
                .filter(|part| !new.scope.contains(part))
                .collect();
            Contributor {
                entry,
                meta: RunMeta {
                    parts,
                    ..meta.clone()
                },
            }
        })
        .filter(|it| !it.meta.parts.is_empty())
        .collect()
}

fn results(contributors: &[Contributor<'_>], new: &RunEntry, now: DateTime<Utc>) -> HpcResults {
    let owner = |part| {
        contributors
            .iter()
            .find(|it| it.meta.parts.contains(&part))
            .map(|it| &it.entry.parts)
    };
    let parts = RunParts {
        tests: owner(Part::Tests).and_then(|parts| parts.tests.clone()),
        coverage: owner(Part::Coverage).and_then(|parts| parts.coverage.clone()),
        benchmarks: owner(Part::Benchmarks).and_then(|parts| parts.benchmarks.clone()),
    };
    let scope = Part::ALL
        .into_iter()
        .filter(|&part| owner(part).is_some())
        .collect::<Vec<_>>();
    let marks = contributors
        .iter()
        .flat_map(|it| it.meta.marks.iter().copied())
        .collect::<BTreeSet<Mark>>();
    // The new run's own status knows of faults outside every part.
    let status = summary::overall(&scope, &parts).max(new.status);
    HpcResults {
        schema_version: SCHEMA_VERSION,
        commit: new.commit.clone(),
        branch: new.branch.clone(),
        generated_at: now,
        status,
        hpc: new.hpc.clone(),
        coverage: parts.coverage.map(|part| CoveragePart {
            report_file: moved(&part.report_file),
            summary_file: moved(&part.summary_file),
            ..part
        }),
        tests: parts.tests.map_or(
            TestsPart {
                status: RunStatus::Skipped,
                duration_seconds: None,
                log_file: None,
            },
            |part| TestsPart {
                log_file: part.log_file.as_deref().map(moved),
                ..part
            },
        ),
        benchmarks: parts.benchmarks.map_or(
            BenchmarksPart {
                status: RunStatus::Skipped,
                duration_seconds: None,
                tutorials_log: None,
                benchmarks_log: None,
            },
            |part| BenchmarksPart {
                tutorials_log: part.tutorials_log.as_deref().map(moved),
                benchmarks_log: part.benchmarks_log.as_deref().map(moved),
                ..part
            },
        ),
        gate: None,
        marks: marks.into_iter().collect(),
        runs: contributors.iter().map(|it| it.entry.run.clone()).collect(),
    }
}

/// Returns a path of an entry, which is relative to `artifacts/runs/`, relative to the folder of `hpc-results.json`.
fn moved(path: impl AsRef<Utf8Path>) -> Utf8PathBuf {
    let path = path.as_ref();
    if path.is_absolute() {
        return path.to_owned();
    }
    let mut folders = vec!["artifacts", "runs"];
    let mut rest = path.components().peekable();
    while !folders.is_empty() && rest.next_if(|it| it.as_str() == "..").is_some() {
        folders.pop();
    }
    let moved = folders
        .into_iter()
        .chain(rest.map(|it| it.as_str()))
        .collect::<Utf8PathBuf>();
    path_from(Utf8Path::new(""), &moved)
}

#[cfg(test)]
mod tests {
    use super::super::FinishedRun;
    use super::super::artifact::RunFiles;
    use super::super::finished::example;
    use super::super::record::meta_example;
    use super::*;

    fn run(id: &str, commit: &str, scope: &[Part], change: impl Fn(&mut FinishedRun)) -> RunFiles {
        let mut run = example::run();
        run.run = id.to_owned();
        run.commit = commit.to_owned();
        run.scope = scope.iter().copied().collect();
        run.steps.retain(|step| step.status().exit_code() == 0);
        change(&mut run);
        RunFiles::new(&run, meta_example::run_meta(), Vec::new()).expect("the documents are JSON")
    }

    fn compose_all(runs: &[RunFiles]) -> Picture {
        let now = example::time("2026-11-20T12:00:00Z");
        let mut earlier: Option<Earlier> = None;
        let mut picture = None;
        for run in runs {
            let next = compose(earlier.as_ref(), &run.entry, &run.meta, now);
            let entries = runs.iter().map(|it| it.entry.clone()).collect();
            earlier = Some(Earlier {
                meta: next.meta.clone(),
                entries,
            });
            picture = Some(next);
        }
        picture.expect("there is a run")
    }

    /// The runs; then, of the last picture, the runs that contribute with their parts and the statuses.
    fn check(runs: &[RunFiles], expected: &str) {
        let picture = compose_all(runs);
        let owners = picture.meta.runs.iter().map(|it| {
            let parts = it
                .parts
                .iter()
                .map(|part| part.folder())
                .collect::<Vec<_>>()
                .join("+");
            format!("{}: {parts}; ", it.run)
        });
        let results = &picture.results;
        let coverage = if results.coverage.is_some() {
            "covered"
        } else {
            "uncovered"
        };
        let statuses = format!(
            "{} {} {coverage}",
            results.tests.status, results.benchmarks.status
        );
        assert_eq!(owners.collect::<String>() + &statuses, expected);
        assert_eq!(
            results.runs,
            picture
                .meta
                .runs
                .iter()
                .map(|it| it.run.clone())
                .collect::<Vec<_>>()
        );
    }

    /// Each run in a set of its own; expects the owner of each part and the statuses.
    fn check_join(runs: &[RunFiles], expected: &str) {
        let now = example::time("2026-11-20T12:00:00Z");
        let sets: Vec<Earlier> = runs
            .iter()
            .map(|run| Earlier {
                meta: compose(None, &run.entry, &run.meta, now).meta,
                entries: vec![run.entry.clone()],
            })
            .collect();
        let joined = join(&sets, now).expect("there is a run");
        let parts = joined
            .parts
            .iter()
            .map(|(part, set)| format!("{}:{} ", part.folder(), runs[*set].entry.run));
        let results = &joined.results;
        let found = format!(
            "{}{} {}",
            parts.collect::<String>(),
            results.tests.status,
            results.benchmarks.status
        );
        assert_eq!(found, expected);
        let runs: BTreeSet<&String> = joined.meta.runs.iter().map(|it| &it.run).collect();
        assert_eq!(runs, joined.runs.keys().collect());
    }

    #[test]
    fn what_different_jobs_left_of_one_commit_becomes_one() {
        let at = |time: &'static str| {
            move |run: &mut FinishedRun| {
                run.finished_at = example::time(time);
            }
        };
        let (early, late) = (at("2026-11-20T10:00:00Z"), at("2026-11-20T11:00:00Z"));
        let tests = || run("tests", "c", TESTS, early);
        let benchmarks = || run("bench", "c", BENCHMARKS, late);
        let both = "tests:tests coverage:tests benchmarks:bench passed passed";
        check_join(&[tests(), benchmarks()], both);
        check_join(&[benchmarks(), tests()], both);
        check_join(
            &[tests(), run("again", "c", &Part::ALL, late)],
            "tests:again coverage:again benchmarks:again passed passed",
        );
        let skipping = run("skipping", "c", &Part::ALL, |run| {
            late(run);
            run.coverage = None;
            run.benchmarks.clear();
            for step in &mut run.steps {
                step.outcome = crate::scheduler::Outcome::Skipped;
            }
        });
        check_join(
            &[tests(), skipping],
            "tests:tests coverage:tests benchmarks:skipping passed skipped",
        );
        let filtered = run("filtered", "c", TESTS, |run| {
            late(run);
            run.filtered = true;
        });
        check_join(
            &[tests(), filtered],
            "tests:tests coverage:tests passed skipped",
        );
    }

    const TESTS: &[Part] = &[Part::Tests, Part::Coverage];
    const BENCHMARKS: &[Part] = &[Part::Benchmarks];

    #[test]
    fn a_partial_run_of_the_same_commit_replaces_its_own_part_only() {
        let clean = |_: &mut FinishedRun| {};
        let all = || run("all", "c", &Part::ALL, clean);
        check(
            &[all()],
            "all: tests+coverage+benchmarks; passed passed covered",
        );
        check(
            &[all(), run("tests", "c", TESTS, clean)],
            "all: benchmarks; tests: tests+coverage; passed passed covered",
        );
        check(
            &[
                all(),
                run("tests", "c", TESTS, clean),
                run("bench", "c", BENCHMARKS, clean),
            ],
            "tests: tests+coverage; bench: benchmarks; passed passed covered",
        );
        check(
            &[all(), run("plain", "c", &[Part::Tests], clean)],
            "all: coverage+benchmarks; plain: tests; passed passed covered",
        );
        check(
            &[all(), run("blind", "c", TESTS, |run| run.coverage = None)],
            "all: benchmarks; blind: tests+coverage; passed passed uncovered",
        );
        check(
            &[all(), run("all", "c", BENCHMARKS, clean)],
            "all: benchmarks; skipped passed uncovered",
        );
    }

    #[test]
    fn of_another_commit_or_a_dirty_tree_the_other_part_is_skipped() {
        let clean = |_: &mut FinishedRun| {};
        let dirty = |run: &mut FinishedRun| run.dirty = true;
        let all = |change: fn(&mut FinishedRun)| run("all", "c", &Part::ALL, change);
        check(
            &[all(clean), run("new", "d", TESTS, clean)],
            "new: tests+coverage; passed skipped covered",
        );
        check(
            &[all(clean), run("new", "d", BENCHMARKS, clean)],
            "new: benchmarks; skipped passed uncovered",
        );
        check(
            &[all(clean), run("new", "c", BENCHMARKS, dirty)],
            "new: benchmarks; skipped passed uncovered",
        );
        check(
            &[all(dirty), run("new", "c", BENCHMARKS, clean)],
            "new: benchmarks; skipped passed uncovered",
        );
    }

    #[test]
    fn marks_of_every_contributor_show() {
        let all = run("all", "c", &Part::ALL, |run| run.filtered = true);
        let new = run("new", "c", BENCHMARKS, |_| {});
        assert_eq!(compose_all(&[all, new]).results.marks, [Mark::Filtered]);
    }

    #[test]
    fn paths_are_relative_to_the_results() {
        let results = compose_all(&[run("all", "c", &Part::ALL, |_| {})]).results;
        let coverage = results.coverage.expect("there is coverage");
        assert_eq!(coverage.report_file, "artifacts/coverage/lcov.info");
        assert_eq!(
            results.tests.log_file.as_deref(),
            Some("runs/r7/logs/tests.log".into())
        );
        assert_eq!(moved("../../../big/a.log"), "../big/a.log");
        assert_eq!(moved("/abs/a.log"), "/abs/a.log");
    }
}
