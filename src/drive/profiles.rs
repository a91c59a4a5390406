//! The profiles of a step: those that its processes left on shared storage, and the sums of what they left on their nodes.
//!
//! A sum stands for the profiles that are in it, so that ledger, objects and stray profiles are the same wherever the adding up
//! happened.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::collect;
use super::ledger::FileState;
use crate::coverage::node::{self, NodeRecord, rank_of};
use crate::coverage::rank_hits::RankHits;

/// The profiles of one step.
pub(super) struct StepProfiles {
    /// The step's name; none for profiles that processes wrote elsewhere, of which nobody knows whose they are.
    pub(super) step: Option<String>,
    /// Its build.
    pub(super) build: String,
    /// Its ranks.
    pub(super) ranks: u32,
    /// What is to be read: profiles of processes, and sums of nodes.
    pub(super) files: Vec<PathBuf>,
    folder: PathBuf,
    nodes: BTreeMap<PathBuf, Sum>,
    /// Profiles of whom it is known without reading them that they are of no use.
    useless: BTreeMap<PathBuf, FileState>,
}

/// A sum that a node left.
struct Sum {
    record: NodeRecord,
    hits: RankHits,
}

impl StepProfiles {
    /// Returns what a start of this step left.
    pub(super) fn of(step: &str, build: &str, ranks: u32, start: &Path) -> Self {
        let mut profiles = Self {
            step: Some(step.to_owned()),
            build: build.to_owned(),
            ranks,
            files: Vec::new(),
            folder: start.join("profiles"),
            nodes: BTreeMap::new(),
            useless: BTreeMap::new(),
        };
        for path in node::records(&profiles.folder).unwrap_or_default() {
            profiles.add_record(&path);
        }
        for path in collect::profiles(start) {
            if node::is_sum(&collect::name(&path)) && !profiles.nodes.contains_key(&path) {
                let why = "it is the sum of a node that does not say of which profiles".to_owned();
                profiles
                    .useless
                    .entry(path)
                    .or_insert(FileState::Foreign(why));
            } else {
                profiles.files.push(path);
            }
        }
        profiles
    }

    /// Returns profiles of a build that processes wrote elsewhere.
    pub(super) fn elsewhere(build: &str, files: Vec<PathBuf>) -> Self {
        Self {
            step: None,
            build: build.to_owned(),
            ranks: 0,
            files,
            folder: PathBuf::new(),
            nodes: BTreeMap::new(),
            useless: BTreeMap::new(),
        }
    }

    /// Returns the rank that a file is of.
    pub(super) fn rank(&self, path: &Path) -> Option<u32> {
        // Whoever chooses the name of a file may call it as we do.
        self.step
            .as_ref()
            .and_then(|_| rank_of(&collect::name(path)))
    }

    fn add_record(&mut self, path: &Path) {
        let sum = node::sum_of(path);
        let read = NodeRecord::read(path).and_then(|record| {
            Ok(Sum {
                hits: record.rank_hits()?,
                record,
            })
        });
        match read {
            Ok(read) => {
                let empty = read
                    .record
                    .empty
                    .iter()
                    .map(|name| (self.folder.join(name), FileState::Empty));
                self.useless.extend(empty);
                if !read.record.files.is_empty() {
                    // A sum that is lost is found to be when it is read.
                    if !sum.exists() {
                        self.files.push(sum.clone());
                    }
                    self.nodes.insert(sum, read);
                }
            }
            Err(error) => {
                let state = FileState::Foreign(format!("the record beside it is {error}"));
                self.useless.insert(sum, state);
            }
        }
    }

    /// Returns the profiles that processes wrote, by name, whether they are still there or only in a sum.
    pub(super) fn written(&self) -> Vec<PathBuf> {
        let mut written: Vec<PathBuf> = self
            .files
            .iter()
            .flat_map(|path| self.behind(path))
            .collect();
        written.extend(self.useless.keys().cloned());
        written.sort_unstable();
        written
    }

    /// Returns the profiles that a file stands for.
    pub(super) fn behind(&self, path: &Path) -> Vec<PathBuf> {
        match self.nodes.get(path) {
            Some(sum) => sum
                .record
                .files
                .iter()
                .map(|name| self.folder.join(name))
                .collect(),
            None => vec![path.to_owned()],
        }
    }

    /// Returns those of the profiles behind a file that are of the binary with this build id; none for those of binaries without.
    pub(super) fn behind_with(&self, path: &Path, build_id: Option<&str>) -> Vec<PathBuf> {
        match self.nodes.get(path) {
            Some(sum) => sum
                .record
                .files_with(build_id)
                .iter()
                .map(|name| self.folder.join(name))
                .collect(),
            None => vec![path.to_owned()],
        }
    }

    /// Returns which ranks reached what in the profiles behind a file, if it is a sum.
    pub(super) fn hits(&self, path: &Path) -> Option<&RankHits> {
        self.nodes.get(path).map(|sum| &sum.hits)
    }

    /// Notes the state of all profiles, given those of the files that were read.
    pub(super) fn settle(
        &self,
        read: impl IntoIterator<Item = (PathBuf, FileState)>,
        states: &mut BTreeMap<PathBuf, FileState>,
    ) {
        for (path, state) in read {
            let state = match state {
                FileState::Used => FileState::Used,
                other if self.nodes.contains_key(&path) => {
                    FileState::Foreign(format!("the sum of its node is {}", other.say()))
                }
                other => other,
            };
            states.extend(
                self.behind(&path)
                    .into_iter()
                    .map(|path| (path, state.clone())),
            );
        }
        states.extend(self.useless.clone());
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    const RECORD: &str = r#"{"schema_version":1,"host":"n1","files":["r0.n1.5.profraw","r1.n1.6.profraw"],
        "empty":["r2.n1.7.profraw"],"binaries":[{"build_ids":["aa"],"files":[1]}],
        "rank_hits":{"schema_version":1,"ranks":"0-1","sets":[],"functions":[]}}"#;

    fn check(files: &[(&str, &str)], read: &[&str], states: &[(&str, &str)]) {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("profiles");
        std::fs::create_dir(&folder).unwrap();
        for (name, text) in files {
            std::fs::write(folder.join(name), text).unwrap();
        }
        let profiles = StepProfiles::of("halo", "tests", 3, dir.path());
        let names = |paths: &[PathBuf]| {
            paths
                .iter()
                .map(|path| collect::name(path))
                .collect::<Vec<_>>()
        };
        assert_eq!(names(&profiles.files), read);
        let mut found = BTreeMap::new();
        let outcome = |path: &PathBuf| {
            let there = path.exists();
            (
                path.clone(),
                if there {
                    FileState::Used
                } else {
                    FileState::Truncated
                },
            )
        };
        profiles.settle(profiles.files.iter().map(outcome), &mut found);
        assert_eq!(
            names(&profiles.written()),
            names(&found.keys().cloned().collect::<Vec<_>>())
        );
        let said: Vec<(String, String)> = found
            .iter()
            .map(|(path, state)| (collect::name(path), state.say().to_owned()))
            .collect();
        let said: Vec<(&str, &str)> = said
            .iter()
            .map(|(name, state)| (name.as_str(), state.as_str()))
            .collect();
        assert_eq!(said, states);
    }

    #[test]
    fn a_sum_stands_for_the_profiles_behind_it() {
        check(
            &[
                ("node.n1.0.json", RECORD),
                ("node.n1.0.profraw", "sum"),
                ("r3.n2.5.profraw", "x"),
            ],
            &["node.n1.0.profraw", "r3.n2.5.profraw"],
            &[
                ("r0.n1.5.profraw", "used"),
                ("r1.n1.6.profraw", "used"),
                (
                    "r2.n1.7.profraw",
                    "empty: its process died before it could write",
                ),
                ("r3.n2.5.profraw", "used"),
            ],
        );
    }

    #[test]
    fn a_sum_or_a_record_that_is_lost_is_said() {
        let sum_is = "the sum of its node is cut short";
        check(
            &[("node.n1.0.json", RECORD)],
            &["node.n1.0.profraw"],
            &[
                ("r0.n1.5.profraw", sum_is),
                ("r1.n1.6.profraw", sum_is),
                (
                    "r2.n1.7.profraw",
                    "empty: its process died before it could write",
                ),
            ],
        );
        check(
            &[("node.n1.0.profraw", "sum")],
            &[],
            &[(
                "node.n1.0.profraw",
                "it is the sum of a node that does not say of which profiles",
            )],
        );
        check(
            &[("node.n1.0.profraw", "sum"), ("node.n1.0.json", "{")],
            &[],
            &[(
                "node.n1.0.profraw",
                "the record beside it is not the record of a node",
            )],
        );
    }
}
