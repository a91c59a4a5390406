//! The rank ledger: what became of the profile of each rank. Decides; reads nothing.

use super::collect::RankNote;
use crate::results::record::{ProfileProblem, ProfileState, StepLedger};

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
/// that could not be used is listed. Whether a rank died is known from its own note, not from its profile.
pub(super) fn of_step(
    step: &str,
    attempt: u32,
    ranks: u32,
    files: &[ProfileFile],
    notes: &[RankNote],
) -> StepLedger {
    let states: Vec<ProfileState> = (0..ranks)
        .map(|rank| {
            let own = files
                .iter()
                .filter(|file| rank_of(&file.name) == Some(rank));
            let best = own.map(|file| state(&file.state)).min();
            match best {
                Some(ProfileState::Whole) if !ended_by_itself(rank, notes) => ProfileState::Partial,
                Some(state) => state,
                None => ProfileState::Absent,
            }
        })
        .collect();
    let mut ledger = StepLedger::of_ranks(step, attempt, &states);
    ledger.problems = files.iter().filter_map(problem).collect();
    ledger
}

/// Returns the rank that a profile's name tells.
pub(super) fn rank_of(name: &str) -> Option<u32> {
    name.strip_prefix('r')?.split('.').next()?.parse().ok()
}

fn state(file: &FileState) -> ProfileState {
    match file {
        FileState::Used => ProfileState::Whole,
        FileState::Empty => ProfileState::Empty,
        FileState::Truncated => ProfileState::Truncated,
        FileState::Foreign(_) => ProfileState::Foreign,
    }
}

/// Exit codes above this stand for a signal.
const LAST_OWN_CODE: i32 = 128;

fn ended_by_itself(rank: u32, notes: &[RankNote]) -> bool {
    let mut own = notes
        .iter()
        .filter(|note| note.rank == Some(rank))
        .peekable();
    // Where the launcher told no rank there are no notes to hold against the profile.
    own.peek().is_none() || own.any(|note| note.end.is_some_and(|(code, _)| code <= LAST_OWN_CODE))
}

fn problem(file: &ProfileFile) -> Option<ProfileProblem> {
    let message = match &file.state {
        FileState::Used => return None,
        FileState::Empty => "its process ended before it could write".to_owned(),
        FileState::Truncated => "it ends too early".to_owned(),
        FileState::Foreign(why) => why.clone(),
    };
    Some(ProfileProblem {
        rank: rank_of(&file.name),
        state: state(&file.state),
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
        let ledger = of_step("halo", 1, 5, &files, &notes);
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
            (5, 2, 3)
        );
    }
}
