//! What old runs leave behind, and when it goes: beyond `keep_runs` and `keep_limit` the oldest go first.
//!
//! Never removed: a run that has not ended or that a process has, the latest one, and those that `artifacts/` refer to.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use camino::Utf8Path;

use super::folder::{self, RunFolder};
use super::{DriveError, known};
use crate::foreign;
use crate::foreign::names;
use crate::results::store;

/// The beginning of a run's name while it is removed.
const GONE: &str = ".gone-";
/// Trees that belong to no single run.
const SHARED_TREES: [&str; 2] = ["kept", "fetched"];
/// How old a folder must be in which no run ever began.
const HUSK_AGE: Duration = Duration::from_hours(24);
/// How long another run may hold the artifacts.
const PATIENCE: Duration = Duration::from_secs(10);

/// How much is kept.
#[derive(Debug, Clone, Copy)]
pub struct Keep {
    /// This many runs.
    pub runs: usize,
    /// This many bytes of runs and their trees.
    pub bytes: u64,
}

/// What was removed, or would be.
#[derive(Debug, Default, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Swept {
    /// Runs, the oldest first.
    pub runs: Vec<String>,
    /// What they held, with their trees.
    pub bytes: u64,
    /// What the runs that are kept hold.
    pub kept_bytes: u64,
}

/// A run as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Candidate {
    id: String,
    bytes: u64,
    /// Whether it must stay.
    held: bool,
}

/// Removes what is beyond the limits; with `dry`, only says what that is.
pub fn sweep(
    workspace: &Path,
    artifacts: &Path,
    keep: Keep,
    dry: bool,
) -> Result<Swept, DriveError> {
    let all = folder::all(workspace)?;
    let shown = shown(artifacts);
    let mut candidates = Vec::new();
    for run in &all {
        candidates.push(Candidate {
            id: run.id().to_owned(),
            bytes: bytes(workspace, run),
            held: shown.contains(run.id()) || is_alive(run)?,
        });
    }
    if let Some(latest) = candidates.last_mut() {
        latest.held = true;
    }
    let swept = choose(&candidates, keep);
    if !dry {
        for id in &swept.runs {
            remove(workspace, id)?;
        }
        sweep_rest(workspace, keep);
    }
    Ok(swept)
}

/// Decides which runs go, the oldest first.
fn choose(candidates: &[Candidate], keep: Keep) -> Swept {
    let mut left = candidates.len();
    let mut swept = Swept {
        kept_bytes: candidates.iter().map(|run| run.bytes).sum(),
        ..Swept::default()
    };
    for run in candidates {
        if left <= keep.runs && swept.kept_bytes <= keep.bytes {
            break;
        }
        if !run.held {
            left -= 1;
            swept.kept_bytes -= run.bytes;
            swept.bytes += run.bytes;
            swept.runs.push(run.id.clone());
        }
    }
    swept
}

fn is_alive(run: &RunFolder) -> Result<bool, DriveError> {
    let ended = run.has_ended();
    Ok(!ended || known::claim(run)?.is_some_and(|claim| known::is_alive(&claim)))
}

/// The runs that the artifacts are made of. Their logs are referred to.
fn shown(artifacts: &Path) -> BTreeSet<String> {
    let earlier = Utf8Path::from_path(artifacts).map(|folder| store::load(folder, PATIENCE));
    let meta = match earlier {
        Some(Ok(Some(earlier))) => earlier.meta.runs,
        _ => Vec::new(),
    };
    meta.into_iter().map(|run| run.run).collect()
}

fn tree_of(workspace: &Path, id: &str) -> PathBuf {
    workspace.join("trees").join(id)
}

/// What a run and its trees hold. That of one that has ended is noted down, since it does not change any more.
fn bytes(workspace: &Path, run: &RunFolder) -> u64 {
    let note = run.root().join("bytes");
    let noted = foreign::read_to_string(&note, foreign::NOTE).ok();
    if let Some(bytes) = noted.and_then(|text| text.trim().parse().ok()) {
        return bytes;
    }
    let bytes = size(run.root()) + size(&tree_of(workspace, run.id()));
    if run.has_ended() {
        // Without it, it is counted again the next time.
        foreign::put(note, bytes.to_string()).ok();
    }
    bytes
}

/// The space that a folder would free. A file with other names would not.
fn size(folder: &Path) -> u64 {
    let mut sum = 0;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs_err::read_dir(&folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(data) if data.is_dir() => folders.push(entry.path()),
                Ok(data) if data.nlink() == 1 => sum += data.blocks() * 512,
                _ => {}
            }
        }
    }
    sum
}

/// Removes a run and its trees. It stops being a run at once.
fn remove(workspace: &Path, id: &str) -> Result<(), DriveError> {
    let runs = workspace.join("runs");
    let gone = runs.join(format!("{GONE}{id}"));
    match fs_err::rename(runs.join(id), &gone) {
        Ok(()) => {}
        // Somebody else removes it.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(DriveError::Folder { path: runs, source }),
    }
    clear(&gone);
    clear(&tree_of(workspace, id));
    Ok(())
}

/// Removes a folder. What resists (files that NFS holds for somebody) is left to the next time.
fn clear(folder: &Path) {
    match fs_err::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(%error, "not everything could be removed");
        }
        _ => {}
    }
}

/// Removes what belongs to no run: what an earlier sweep left, folders in which no run began, trees without their run, and of
/// the commits that were fetched all but the latest.
fn sweep_rest(workspace: &Path, keep: Keep) {
    let runs = workspace.join("runs");
    for name in names(&runs) {
        let path = runs.join(&name);
        let husk = path.is_dir()
            && !path.join("request.json").exists()
            && age(&path).is_some_and(|age| age > HUSK_AGE);
        if name.starts_with(GONE) || husk {
            clear(&path);
        }
    }
    let trees = workspace.join("trees");
    for name in names(&trees) {
        if !SHARED_TREES.contains(&name.as_str()) && !runs.join(&name).exists() {
            clear(&trees.join(&name));
        }
    }
    let fetched = trees.join("fetched");
    let mut commits: Vec<(Duration, PathBuf)> = names(&fetched)
        .into_iter()
        .filter_map(|name| Some((age(&fetched.join(&name))?, fetched.join(&name))))
        .collect();
    commits.sort();
    let Some(wanted) = unfinished_commits(workspace) else {
        return;
    };
    for (_, commit) in commits.into_iter().skip(keep.runs) {
        let name = commit.file_name().and_then(|name| name.to_str());
        if name.is_none_or(|name| !wanted.contains(name)) {
            clear(&commit);
        }
    }
}

/// The commits of runs that may still have to copy their trees; `None` if there is one of which that cannot be read.
fn unfinished_commits(workspace: &Path) -> Option<BTreeSet<String>> {
    let unfinished = folder::all(workspace).ok()?.into_iter();
    let unfinished = unfinished.filter(|run| !run.has_ended());
    let commit = |run: RunFolder| {
        let plan = super::stored::plan(&run)
            .inspect_err(|error| tracing::warn!(run = run.id(), %error, "a run cannot be read"));
        Some(plan.ok()?.revision.commit)
    };
    unfinished.map(commit).collect()
}

fn age(path: &Path) -> Option<Duration> {
    fs_err::metadata(path).ok()?.modified().ok()?.elapsed().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(id: &str, bytes: u64, held: bool) -> Candidate {
        Candidate {
            id: id.to_owned(),
            bytes,
            held,
        }
    }

    #[test]
    fn the_oldest_go_first_and_what_is_held_stays() {
        let runs = [
            run("1", 10, false),
            run("2", 50, true),
            run("3", 10, false),
            run("4", 10, false),
            run("5", 10, true),
        ];
        let check = |keep: (usize, u64), gone: &[&str]| {
            let keep = Keep {
                runs: keep.0,
                bytes: keep.1,
            };
            assert_eq!(choose(&runs, keep).runs, gone, "{keep:?}");
        };
        check((9, 1000), &[]);
        check((4, 1000), &["1"]);
        check((3, 1000), &["1", "3"]);
        check((9, 85), &["1"]);
        check((9, 75), &["1", "3"]);
        check((0, 0), &["1", "3", "4"]);
    }

    proptest! {
        #[test]
        fn no_more_goes_than_has_to(
            runs in prop::collection::vec((0_u64..100, any::<bool>()), 0..20),
            keep in (0_usize..20, 0_u64..1000),
        ) {
            let runs: Vec<Candidate> = runs
                .iter()
                .enumerate()
                .map(|(index, (bytes, held))| run(&format!("{index:02}"), *bytes, *held))
                .collect();
            let keep = Keep { runs: keep.0, bytes: keep.1 };
            let swept = choose(&runs, keep);
            let all: u64 = runs.iter().map(|run| run.bytes).sum();
            prop_assert_eq!(swept.bytes + swept.kept_bytes, all);
            prop_assert!(swept.runs.is_sorted());
            let fits = runs.len() - swept.runs.len() <= keep.runs && swept.kept_bytes <= keep.bytes;
            let free = runs.iter().filter(|run| !run.held).count();
            prop_assert!(fits || swept.runs.len() == free);
            if let Some(last) = swept.runs.last() {
                let last = runs.iter().find(|run| run.id == *last);
                let with = swept.kept_bytes + last.map_or(0, |run| run.bytes);
                prop_assert!(runs.len() - swept.runs.len() + 1 > keep.runs || with > keep.bytes);
            }
        }
    }
}
