//! What the provenance of a run tells: where it ran and what it was built with, and what became of each rank's profile.

use std::collections::{BTreeMap, BTreeSet};

use super::parts::{NAMED, ROWS};
use super::words::{Sign, counted};
use crate::results::record::{Meta, Part, ProfileState, RunMeta};

/// The rank ledger of a run.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) used: u64,
    pub(super) expected: u64,
    pub(super) rows: Vec<LedgerRow>,
    pub(super) more: usize,
}

/// The ranks of one step.
#[derive(Debug)]
pub(super) struct LedgerRow {
    pub(super) step: String,
    pub(super) attempt: u32,
    pub(super) sign: Sign,
    pub(super) used: u64,
    pub(super) expected: u64,
    /// Start, length and class of each piece of a bar of 200.
    pub(super) bar: Vec<(f64, f64, &'static str)>,
    pub(super) states: String,
    pub(super) problems: Vec<String>,
}

/// Something worth knowing about where it ran.
#[derive(Debug)]
pub(super) struct Fact {
    pub(super) name: &'static str,
    pub(super) value: String,
}

/// Returns the rank ledger, incomplete steps first; none if no coverage was asked for.
pub(super) fn ledger(meta: &Meta) -> Option<Ledger> {
    let owner = |run: &&RunMeta| run.ranks.is_some() && run.parts.contains(&Part::Coverage);
    let ledger = meta.runs.iter().rev().find(owner)?.ranks.as_ref()?;
    let mut rows: Vec<LedgerRow> = ledger
        .steps
        .iter()
        .map(|step| {
            let mut start = 0.0;
            let bar = step.ranks.iter().map(|group| {
                let length = group.count as f64 / step.expected.max(1) as f64 * 200.0;
                let piece = (start, length, class(group.state));
                start += length;
                piece
            });
            let states = step.ranks.iter().map(|group| {
                let word = word(group.state);
                match group.state {
                    ProfileState::Whole => format!("{} {word}", group.count),
                    _ => format!("{} {word} ({})", group.count, group.ranks),
                }
            });
            LedgerRow {
                bar: bar.collect(),
                states: states.collect::<Vec<_>>().join(", "),
                step: step.step.clone(),
                attempt: step.attempt,
                sign: if step.used >= step.expected {
                    Sign::PASSED.worded("complete")
                } else {
                    Sign::ERROR.worded("incomplete")
                },
                used: step.used,
                expected: step.expected,
                problems: step
                    .problems
                    .iter()
                    .take(NAMED)
                    .map(|it| it.message.clone())
                    .collect(),
            }
        })
        .collect();
    rows.sort_by_key(|row| row.used >= row.expected);
    let more = rows.len().saturating_sub(ROWS);
    rows.truncate(ROWS);
    Some(Ledger {
        used: ledger.used,
        expected: ledger.expected,
        rows,
        more,
    })
}

fn class(state: ProfileState) -> &'static str {
    match state {
        ProfileState::Whole => "whole",
        ProfileState::Partial => "partial",
        _ => "lost",
    }
}

fn word(state: ProfileState) -> &'static str {
    match state {
        ProfileState::Whole => "whole",
        ProfileState::Partial => "partial",
        ProfileState::Empty => "empty",
        ProfileState::Truncated => "truncated",
        ProfileState::Absent => "absent",
        ProfileState::Foreign => "foreign",
    }
}

/// Returns where the newest run took place and what it was built with.
pub(super) fn facts(meta: &Meta) -> Vec<Fact> {
    let Some(run) = meta.runs.last() else {
        return Vec::new();
    };
    let versioned = |name: &str, version: Option<&String>| match version {
        Some(version) => format!("{name} {version}"),
        None => name.to_owned(),
    };
    // Several commands may be the same compiler.
    let compilers: BTreeSet<String> = run
        .toolchain
        .compilers
        .iter()
        .map(|it| versioned(it.id.as_ref().unwrap_or(&it.command), it.version.as_ref()))
        .collect();
    let mpi = run.toolchain.mpi.as_ref();
    let slurm = run.slurm.as_ref();
    let mut processors: BTreeMap<&str, u64> = BTreeMap::new();
    for node in &run.nodes {
        *processors
            .entry(node.processor.as_deref().unwrap_or("processor not known"))
            .or_default() += 1;
    }
    let processors = processors
        .into_iter()
        .map(|(processor, count)| format!("{} with {processor}", counted(count, "node")));
    let join = |parts: &mut dyn Iterator<Item = String>| parts.collect::<Vec<_>>().join(", ");
    let facts = [
        ("Compilers", join(&mut compilers.into_iter())),
        (
            "MPI",
            mpi.map(|it| versioned(&it.implementation, it.version.as_ref()))
                .unwrap_or_default(),
        ),
        (
            "Cluster",
            slurm.and_then(|it| it.cluster.clone()).unwrap_or_default(),
        ),
        (
            "Partition",
            slurm
                .and_then(|it| it.partition.clone())
                .unwrap_or_default(),
        ),
        ("Nodes", join(&mut processors.into_iter())),
        ("Modules", run.modules.join(", ")),
        ("Launcher", run.launch.launcher.clone().unwrap_or_default()),
        ("Jobs", counted(run.jobs.len() as u64, "job")),
        ("hpc-ci", run.driver.version.clone()),
    ];
    facts
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| Fact { name, value })
        .collect()
}
