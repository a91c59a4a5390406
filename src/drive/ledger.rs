//! The rank ledger: what became of the profile of each rank. Decides; reads nothing.

use std::collections::{BTreeMap, BTreeSet};

use super::collect::RankNote;
use crate::coverage::node::rank_of;
use crate::results::record::{ProfileProblem, ProfileState, StepLedger, ranges};

/// What a profile turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FileState {
    /// Its counters are in the sum.
    Used,
    /// It has no byte: its process died before it could write.
    Empty,
    /// It ends too early.
    Truncated,
    /// It is no profile of a known program, for this reason.
    Foreign(String),
    /// Counts of it are left out, for this reason: the objects have the functions otherwise.
    Mismatched(String),
}

impl FileState {
    /// Returns what is said of it.
    pub(super) fn say(&self) -> &str {
        match self {
            Self::Used => "used",
            Self::Empty => "empty: its process died before it could write",
            Self::Truncated => "cut short",
            Self::Foreign(why) | Self::Mismatched(why) => why,
        }
    }

    /// Returns the word of the ledger for it.
    pub(super) fn ledger(&self) -> ProfileState {
        match self {
            Self::Used => ProfileState::Whole,
            Self::Empty => ProfileState::Empty,
            Self::Truncated => ProfileState::Truncated,
            Self::Foreign(_) | Self::Mismatched(_) => ProfileState::Foreign,
        }
    }
}

/// A profile of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ProfileFile {
    /// Its name: `rN.HOST.PID.profraw` for rank N, anything else for what ran beside the ranks.
    pub(super) name: String,
    /// What it turned out to be.
    pub(super) state: FileState,
}

/// Returns the ledger of a step with this many ranks.
///
/// A rank may have run several processes and so have left several profiles: the best of them counts, and each of the others
/// that could not be used is listed. A rank with counts that were left out, since its program was built again, is not whole
/// whatever else it left. Whether a rank died is known from its own note, not from its profile. `silent` are the nodes that kept
/// profiles on their own disk and left no result.
pub(super) fn of_step(
    step: &str,
    attempt: u32,
    ranks: u32,
    files: &[ProfileFile],
    notes: &[RankNote],
    silent: &BTreeSet<String>,
) -> StepLedger {
    let mut best = BTreeMap::new();
    for (rank, state) in files
        .iter()
        .filter_map(|file| Some((rank_of(&file.name)?, file.state.ledger())))
    {
        let best = best.entry(rank).or_insert(state);
        *best = state.min(*best);
    }
    let mismatched = files
        .iter()
        .filter(|file| matches!(file.state, FileState::Mismatched(_)));
    best.extend(mismatched.filter_map(|file| Some((rank_of(&file.name)?, ProfileState::Foreign))));
    let mut of_rank: BTreeMap<u32, Vec<&RankNote>> = BTreeMap::new();
    for note in notes {
        of_rank
            .entry(note.rank.unwrap_or(u32::MAX))
            .or_default()
            .push(note);
    }
    let notes = |rank: &u32| of_rank.get(rank).map(Vec::as_slice).unwrap_or_default();
    let states: Vec<ProfileState> = (0..ranks)
        .map(|rank| match best.get(&rank) {
            Some(ProfileState::Whole) if !ended_by_itself(notes(&rank)) => ProfileState::Partial,
            Some(state) => *state,
            None => ProfileState::Absent,
        })
        .collect();
    let mut ledger = StepLedger::of_ranks(step, attempt, &states);
    ledger.problems = files.iter().filter_map(problem).collect();
    let absent = (0..ranks).filter(|rank| !best.contains_key(rank));
    let mut why: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for rank in absent {
        why.entry(absence(notes(&rank), silent))
            .or_default()
            .push(rank.into());
    }
    ledger
        .problems
        .extend(why.into_iter().map(|(why, ranks)| absentees(&ranks, &why)));
    ledger
}

/// Why there is no profile of a rank with these notes.
fn absence(notes: &[&RankNote], silent: &BTreeSet<String>) -> String {
    match notes.iter().find(|note| silent.contains(&note.host)) {
        Some(note) => format!("it was on the disk of {}, which left no result", note.host),
        None if notes.is_empty() => "the rank never started".to_owned(),
        None => "the rank left none".to_owned(),
    }
}

/// Ranks without a profile, for the same reason.
fn absentees(ranks: &[u64], why: &str) -> ProfileProblem {
    let (rank, message) = match ranks {
        [rank] => (u32::try_from(*rank).ok(), why.to_owned()),
        several => (None, format!("ranks {}: {why}", ranges(several))),
    };
    ProfileProblem {
        rank,
        state: ProfileState::Absent,
        file: None,
        message,
    }
}

/// Exit codes above this stand for a signal.
const LAST_OWN_CODE: i32 = 128;

fn ended_by_itself(notes: &[&RankNote]) -> bool {
    // Where the launcher told no rank there are no notes to hold against the profile.
    notes.is_empty()
        || notes
            .iter()
            .any(|note| note.end.is_some_and(|(code, _)| code <= LAST_OWN_CODE))
}

fn problem(file: &ProfileFile) -> Option<ProfileProblem> {
    let message = match &file.state {
        FileState::Used => return None,
        FileState::Empty => "its process ended before it could write".to_owned(),
        FileState::Truncated => "it ends too early".to_owned(),
        FileState::Foreign(why) | FileState::Mismatched(why) => why.clone(),
    };
    Some(ProfileProblem {
        rank: rank_of(&file.name),
        state: file.state.ledger(),
        file: Some(file.name.clone()),
        message,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, state: FileState) -> ProfileFile {
        ProfileFile {
            name: name.to_owned(),
            state,
        }
    }

    fn note(rank: u32, end: Option<i32>) -> RankNote {
        RankNote {
            rank: Some(rank),
            host: "n1".to_owned(),
            end: end.map(|code| (code, 1.0)),
            started: 0.0,
            cpus: None,
            launch: None,
            worlds: Vec::new(),
            family: None,
        }
    }

    #[test]
    fn every_rank_has_one_state() {
        let files = [
            file("r0.n1.1.profraw", FileState::Used),
            file("r0.n1.9.profraw", FileState::Empty),
            file("r1.n1.2.profraw", FileState::Used),
            file("r2.n1.3.profraw", FileState::Empty),
            file("r3.n1.4.profraw", FileState::Truncated),
            file("once.n1.5.profraw", FileState::Used),
        ];
        let notes = [
            note(0, Some(0)),
            note(1, None),
            note(2, Some(139)),
            note(3, Some(0)),
        ];
        let ledger = of_step("halo", 1, 5, &files, &notes, &BTreeSet::new());
        let groups: Vec<_> = ledger
            .ranks
            .iter()
            .map(|group| (group.state, group.ranks.as_str()))
            .collect();
        assert_eq!(
            groups,
            [
                (ProfileState::Whole, "0"),
                (ProfileState::Partial, "1"),
                (ProfileState::Empty, "2"),
                (ProfileState::Truncated, "3"),
                (ProfileState::Absent, "4"),
            ]
        );
        assert_eq!(
            (ledger.expected, ledger.used, ledger.problems.len()),
            (5, 2, 4)
        );
    }

    #[test]
    fn a_rank_of_another_build_is_not_whole_whatever_else_it_left() {
        let changed = FileState::Mismatched("1 of 3 functions did not match: `f`".to_owned());
        let files = [
            file("r0.n1.1.profraw", FileState::Used),
            file("r0.n1.2.profraw", changed),
            file("r1.n1.3.profraw", FileState::Used),
        ];
        let ledger = of_step("halo", 1, 2, &files, &[], &BTreeSet::new());
        let groups: Vec<_> = ledger
            .ranks
            .iter()
            .map(|group| (group.state, group.ranks.as_str()))
            .collect();
        assert_eq!(
            groups,
            [(ProfileState::Whole, "1"), (ProfileState::Foreign, "0")]
        );
        assert_eq!(ledger.used, 1);
        let problem = &ledger.problems[0];
        assert_eq!(
            (problem.rank, problem.state, problem.message.as_str()),
            (
                Some(0),
                ProfileState::Foreign,
                "1 of 3 functions did not match: `f`"
            )
        );
    }

    #[test]
    fn why_a_profile_is_absent_is_known_from_notes_and_nodes() {
        let silent = BTreeSet::from(["n1".to_owned()]);
        let mut elsewhere = note(2, Some(0));
        elsewhere.host = "n2".to_owned();
        let notes = [note(0, None), note(1, None), elsewhere];
        let ledger = of_step("halo", 1, 4, &[], &notes, &silent);
        let said: Vec<_> = ledger
            .problems
            .iter()
            .map(|problem| (problem.rank, problem.message.as_str()))
            .collect();
        assert_eq!(
            said,
            [
                (
                    None,
                    "ranks 0-1: it was on the disk of n1, which left no result"
                ),
                (Some(2), "the rank left none"),
                (Some(3), "the rank never started"),
            ]
        );
    }
}
