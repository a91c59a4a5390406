//! Profiles that processes wrote where they chose: a child with an empty environment leaves `default.profraw` in its working
//! directory, and some programs set `LLVM_PROFILE_FILE` themselves.
//!
//! What stands below a folder is listed once before and once after, and what is new or changed in between was written in between.
//! Nodes' clocks are not asked: they differ.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::foreign;

/// A folder to look in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Folder {
    /// Where it is.
    pub path: PathBuf,
    /// Whether folders below are looked into as well.
    pub below: bool,
}

/// What tells whether a file was written since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Print {
    size: u64,
    inode: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// The profiles in some folders.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Each, by path.
    pub files: BTreeMap<PathBuf, Print>,
    /// Whether there was more than could be looked at.
    pub cut: bool,
}

/// Lists the profiles (`*.profraw`) in these folders, but for those below the folders to skip.
///
/// Links are not followed, so nothing outside is found, and what git keeps for itself is left alone.
#[must_use]
pub fn look(folders: &[Folder], skip: &[PathBuf]) -> Seen {
    let search = Search {
        skip,
        search: foreign::Search::default(),
    };
    let found: Vec<(PathBuf, Print)> = folders
        .par_iter()
        .flat_map(|folder| search.folder(&folder.path, folder.below))
        .collect();
    Seen {
        files: found.into_iter().collect(),
        cut: search.search.cut().is_some(),
    }
}

impl Seen {
    /// Returns the files that were not there before, or not as they are, in order.
    pub fn since<'a>(&'a self, before: &Self) -> impl Iterator<Item = &'a PathBuf> {
        let news = self.files.iter().filter(|(path, print)| {
            match before.files.get(*path) {
                None => true,
                // What was merged into a file of before holds counts of before as well.
                Some(earlier) => earlier != *print && !is_pool(path),
            }
        });
        let paths: Vec<&PathBuf> = news.map(|(path, _)| path).collect();
        paths.into_iter()
    }

    /// Returns the files of before that were merged into since.
    pub fn merged_into<'a>(&'a self, before: &Self) -> impl Iterator<Item = &'a PathBuf> {
        let merged = self.files.iter().filter(|(path, print)| {
            let earlier = before.files.get(*path);
            earlier.is_some_and(|earlier| earlier != *print) && is_pool(path)
        });
        let paths: Vec<&PathBuf> = merged.map(|(path, _)| path).collect();
        paths.into_iter()
    }
}

impl Print {
    /// Returns whether another file holds the same, copied with its times.
    #[must_use]
    pub fn is_copy_of(&self, other: &Self) -> bool {
        (self.size, self.modified) == (other.size, other.modified)
    }
}

/// Whether a file bears the name that `%m` makes, `SIGNATURE_NUMBER`: several processes add their counts to such a one.
fn is_pool(path: &Path) -> bool {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let Some((rest, pool)) = stem.rsplit_once('_') else {
        return false;
    };
    let start = rest.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    let is_number = !pool.is_empty() && pool.bytes().all(|byte| byte.is_ascii_digit());
    is_number && rest.len() - start >= SHORTEST_SIGNATURE
}

/// Digits of a hash of 64 bits, nearly always.
const SHORTEST_SIGNATURE: usize = 12;

struct Search<'a> {
    skip: &'a [PathBuf],
    search: foreign::Search,
}

impl Search<'_> {
    fn folder(&self, folder: &Path, below: bool) -> Vec<(PathBuf, Print)> {
        let mut found = Vec::new();
        let mut folders = Vec::new();
        let Ok(entries) = std::fs::read_dir(folder) else {
            return found;
        };
        for entry in entries.filter_map(Result::ok) {
            if !self.search.goes_on() {
                return found;
            }
            let Ok(kind) = entry.file_type() else {
                continue;
            };
            let name = entry.file_name();
            if kind.is_dir() {
                let path = entry.path();
                if below && name != ".git" && !self.skip.contains(&path) {
                    folders.push(path);
                }
            } else if kind.is_file() && name.as_encoded_bytes().ends_with(b".profraw") {
                // It does not follow links either.
                found.extend(entry.metadata().ok().map(|it| (entry.path(), print(&it))));
            }
        }
        let deeper = folders
            .par_iter()
            .flat_map(|folder| self.folder(folder, true));
        found.extend(deeper.collect::<Vec<_>>());
        found
    }
}

fn print(metadata: &std::fs::Metadata) -> Print {
    Print {
        size: metadata.len(),
        inode: metadata.ino(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    struct Tree(tempfile::TempDir);

    impl Tree {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn write(&self, name: &str, text: &str) {
            let path = self.0.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }

        fn look(&self, below: bool) -> Seen {
            let path = self.0.path().to_owned();
            let skip = [path.join("workspace")];
            look(&[Folder { path, below }], &skip)
        }

        fn names<'a>(&self, paths: impl Iterator<Item = &'a PathBuf>) -> Vec<String> {
            let name = |path: &PathBuf| path.strip_prefix(self.0.path()).unwrap().to_owned();
            paths
                .map(|path| name(path).to_str().unwrap().to_owned())
                .collect()
        }
    }

    #[test]
    fn what_is_new_or_written_again_is_found_and_nothing_else() {
        let tree = Tree::new();
        for name in [
            "committed.profraw",
            "kept.profraw",
            "m_123456789012_0.profraw",
            "data/x.txt",
        ] {
            tree.write(name, "old");
        }
        let before = tree.look(true);
        tree.write("kept.profraw", "new");
        tree.write("m_123456789012_0.profraw", "newer");
        for name in [
            "default.profraw",
            ".cache/deep/er/hidden.profraw",
            ".git/objects/x.profraw",
            "workspace/runs/y.profraw",
            "data/x.profraw.txt",
            "m_123456789013_0.profraw",
        ] {
            tree.write(name, "new");
        }
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("o.profraw"), "").unwrap();
        std::os::unix::fs::symlink(outside.path(), tree.0.path().join("away")).unwrap();
        std::os::unix::fs::symlink(
            outside.path().join("o.profraw"),
            tree.0.path().join("link.profraw"),
        )
        .unwrap();
        std::os::unix::fs::symlink(tree.0.path(), tree.0.path().join("data/round")).unwrap();
        let after = tree.look(true);
        assert_eq!(
            tree.names(after.since(&before)),
            [
                ".cache/deep/er/hidden.profraw",
                "default.profraw",
                "kept.profraw",
                "m_123456789013_0.profraw"
            ]
        );
        assert_eq!(
            tree.names(after.merged_into(&before)),
            ["m_123456789012_0.profraw"]
        );
        assert_eq!(
            tree.names(tree.look(false).since(&before)),
            [
                "default.profraw",
                "kept.profraw",
                "m_123456789013_0.profraw"
            ]
        );
        let written: Seen = serde_json::from_str(&serde_json::to_string(&after).unwrap()).unwrap();
        assert_eq!(written, after);
    }

    #[test]
    fn a_pool_is_known_by_its_name() {
        for (name, expected) in [
            ("default_12345678901234567890_0.profraw", true),
            ("1234567890123_3.profraw", true),
            ("cov-1234567890123_0.profraw", true),
            ("default.profraw", false),
            ("cov-4711.profraw", false),
            ("n1.4711.profraw", false),
            ("step_1.profraw", false),
            ("run_2_1.profraw", false),
        ] {
            assert_eq!(is_pool(Path::new(name)), expected, "{name}");
        }
    }
}
