//! Profiles that a process kept in a file while it ran, beside those that LLVM's runtime writes when a process exits.
//!
//! The preloaded library (`keep_counters.c` of the build room) names them: beside the runtime's `STEM.profraw` stand
//! `STEM.live-N.profraw`, one for each program and library of the process, until it exits; `STEM.kept-N.profraw` are those
//! of a program whose place another took.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Leaves out what says nothing, or the same again, in the order of `files`.
///
/// The runtime's own file is empty where the process died. Where the runtime wrote it and the process died after that, it holds
/// what the live files hold.
#[must_use]
pub fn each_process_once(files: Vec<PathBuf>) -> Vec<PathBuf> {
    let runtimes = files.iter().filter_map(|path| runtimes_own(path));
    let is_whole = |path: &PathBuf| std::fs::metadata(path).is_ok_and(|it| it.len() > 0);
    let whole: BTreeMap<PathBuf, bool> =
        runtimes.map(|own| (own.clone(), is_whole(&own))).collect();
    files
        .into_iter()
        .filter(|path| match runtimes_own(path) {
            Some(own) => whole.get(&own) != Some(&true),
            None => whole.get(path) != Some(&false),
        })
        .collect()
}

/// Returns what the runtime calls the profile of the process that kept this one.
fn runtimes_own(path: &Path) -> Option<PathBuf> {
    let (stem, _) = path.file_name()?.to_str()?.rsplit_once(".live-")?;
    Some(path.with_file_name(format!("{stem}.profraw")))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_process_counts_once() {
        let dir = tempfile::tempdir().unwrap();
        for (names, expected) in [
            (
                &["r0.n1.local.7.profraw="][..],
                &["r0.n1.local.7.profraw"][..],
            ),
            (
                &["r0.n1.local.7.live-1.profraw=x", "r0.n1.local.7.profraw="],
                &["r0.n1.local.7.live-1.profraw"],
            ),
            (
                &[
                    "r0.n1.7.live-1.profraw=x",
                    "r0.n1.7.live-2.profraw=x",
                    "r0.n1.7.profraw=x",
                ],
                &["r0.n1.7.profraw"],
            ),
            (
                &["r0.n1.7.kept-1.profraw=x", "r0.n1.7.profraw=x"],
                &["r0.n1.7.kept-1.profraw", "r0.n1.7.profraw"],
            ),
            (&["r0.n1.7.live-1.profraw=x"], &["r0.n1.7.live-1.profraw"]),
            (
                &["r0.n1.7.live-1.profraw=x", "r0.n1.8.profraw="],
                &["r0.n1.7.live-1.profraw", "r0.n1.8.profraw"],
            ),
        ] {
            let place = tempfile::tempdir_in(dir.path()).unwrap();
            let mut files = Vec::new();
            for name in names {
                let (name, text) = name.split_once('=').unwrap();
                files.push(place.path().join(name));
                std::fs::write(place.path().join(name), text).unwrap();
            }
            let expected: Vec<PathBuf> = expected.iter().map(|it| place.path().join(it)).collect();
            assert_eq!(each_process_once(files), expected);
        }
    }
}
