//! Files that a network file system shows later than the scheduler tells of the end: they are waited for, but not for ever.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::Run;
use super::collect::{self, RankNote};

use super::live::Attempt;
use super::progress::{Observer, Progress};
use crate::cancel::Cancel;
use crate::coverage::node::rank_of;
use crate::foreign;
use crate::launch::Place;
use crate::plan::Producer;

/// How long profiles may take, all together. Attributes of folders are cached for up to a minute, unless they are refreshed.
const PROFILE_LAG: Duration = Duration::from_secs(15);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(500);

/// Makes a network file system ask its server what is in a folder, which it does when the folder was changed from here.
pub(super) fn refresh(folder: &Path) {
    let mark = folder.join(format!(".refresh-{}", std::process::id()));
    // Where this is not possible, the file system asks when it thinks fit.
    if foreign::put(&mark, "").is_ok() {
        fs_err::remove_file(&mark).ok();
    }
}

/// Waits until the ranks that came to their end have their profiles, as far as they have some at all.
///
/// Only where steps ran on other machines; a program that was never instrumented leaves none, and is not waited for.
pub(super) async fn await_profiles(
    run: &Run,
    attempts: &BTreeMap<(usize, u32), Attempt>,
    observer: &Observer,
    cancel: &Cancel,
) {
    if run.request.place != Place::Job {
        return;
    }
    let mut starts: Vec<PathBuf> = attempts
        .iter()
        .filter(|((index, _), attempt)| {
            let step = &run.request.plan.steps[*index];
            step.coverage == Producer::Llvm && attempt.exit.is_some()
        })
        .map(|((index, number), _)| {
            let slug = &run.request.plan.steps[*index].slug;
            collect::last_start(&run.folder.attempt(slug, *number))
        })
        .collect();
    let begin = Instant::now();
    loop {
        starts.retain(|start| is_owed(start));
        if starts.is_empty() || begin.elapsed() >= PROFILE_LAG {
            break;
        }
        for start in &starts {
            for folder in ["profiles", "ranks", "storage"] {
                refresh(&start.join(folder));
            }
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = cancel.token().cancelled() => break,
        }
    }
    if !starts.is_empty() && begin.elapsed() >= PROFILE_LAG {
        observer(Progress::Note(format!(
            "profiles of {} steps did not come within {} s",
            starts.len(),
            PROFILE_LAG.as_secs()
        )));
    }
}

fn is_owed(start: &Path) -> bool {
    let profiles: Vec<(String, u64)> = collect::files(start, "profiles", ".profraw")
        .iter()
        .filter_map(|path| {
            let name = path.file_name()?.to_str()?.to_owned();
            Some((name, fs_err::metadata(path).ok()?.len()))
        })
        .collect();
    let silent = collect::silent(start, &collect::storage(start));
    !silent.is_empty() || is_missing(&profiles, &collect::rank_notes(start))
}

/// Whether some rank that ended by itself has no profile yet, and another has.
fn is_missing(profiles: &[(String, u64)], notes: &[RankNote]) -> bool {
    let ranks = |whole: bool| -> BTreeSet<u32> {
        let wanted = profiles.iter().filter(|(_, size)| !whole || *size > 0);
        wanted.filter_map(|(name, _)| rank_of(name)).collect()
    };
    let (begun, whole) = (ranks(false), ranks(true));
    // What exits by a signal may take its counters along.
    let ended = |note: &&RankNote| note.end.is_some_and(|(code, _)| code <= 128);
    let mut owing = notes.iter().filter(ended).filter_map(|note| note.rank);
    !begun.is_empty() && owing.any(|rank| !whole.contains(&rank))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_owed_by_who_ended_among_those_that_have_some() {
        let note = |rank: u32, end: Option<i32>| RankNote {
            rank: Some(rank),
            host: "n1".to_owned(),
            started: 0.0,
            cpus: None,
            launch: None,
            worlds: Vec::new(),
            family: None,
            end: end.map(|code| (code, 1.0)),
        };
        let check = |profiles: &[(&str, u64)], notes: &[RankNote], expected: bool| {
            let profiles: Vec<(String, u64)> = profiles
                .iter()
                .map(|(name, size)| ((*name).to_owned(), *size))
                .collect();
            assert_eq!(is_missing(&profiles, notes), expected, "{profiles:?}");
        };
        let both = [note(0, Some(0)), note(1, Some(3))];
        check(
            &[("r0.n1.7.profraw", 9), ("r1.n1.8.profraw", 9)],
            &both,
            false,
        );
        check(&[("r0.n1.7.profraw", 9)], &both, true);
        check(
            &[("r0.n1.7.profraw", 9), ("r1.n1.8.profraw", 0)],
            &both,
            true,
        );
        // Nobody has one: the program is not instrumented.
        check(&[], &both, false);
        check(&[("once.n1.7.profraw", 9)], &both, false);
        let killed = [note(0, Some(0)), note(1, Some(137)), note(2, None)];
        check(&[("r0.n1.7.profraw", 9)], &killed, false);
    }
}
