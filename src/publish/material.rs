//! The artifacts of one commit: joined from what one or several jobs left, and read back.
//!
//! Which run stands for which part is decided by [`picture::join`]; here files are copied, each against its checksum, so that
//! nothing that was cut short or altered on its way is published.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use chrono::{DateTime, Utc};
use fs_err as fs;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::disclosure::{self, Document};
use super::error::PublishError;
use crate::config::Disclosure;
use crate::foreign;
use crate::results::artifact::{self, Artifact, Content, part_of};
use crate::results::picture::{self, Joined};
use crate::results::record::{
    BenchmarksSummary, CoverageSummary, Failing, HpcResults, Mark, Meta, Part, RunEntry, RunMeta,
    TestsSummary,
};
use crate::results::store;

const ARTIFACTS: &str = "artifacts";
const RESULTS: &str = "hpc-results.json";
const META: &str = "meta.json";
const CHECKSUMS: &str = "checksums.txt";
/// Large, and made again from `lcov.info` by whoever wants it.
const LEFT_OUT: &str = "coverage/html";

/// The joined artifacts of one commit.
#[derive(Debug, Clone)]
pub struct Material {
    folder: Utf8PathBuf,
    /// `hpc-results.json`.
    pub results: HpcResults,
    /// `meta.json`.
    pub meta: Meta,
    /// `runs/RUN-ID.json` of each contributing run, the newest last.
    pub runs: Vec<RunEntry>,
    /// `tests/summary.json`, if the tests ran.
    pub tests: Option<TestsSummary>,
    /// `benchmarks/summary.json`, if the benchmarks ran.
    pub benchmarks: Option<BenchmarksSummary>,
    /// `coverage/summary.json`, if there is coverage.
    pub coverage: Option<CoverageSummary>,
}

impl Material {
    /// Reads what [`join`] left in a folder.
    pub fn open(folder: &Utf8Path) -> Result<Self, PublishError> {
        let none = || PublishError::NoArtifacts {
            folder: folder.to_owned(),
        };
        let artifacts = folder.join(ARTIFACTS);
        let earlier = store::open(&artifacts)?.ok_or_else(none)?;
        let owned = |part: Part| {
            earlier
                .meta
                .runs
                .iter()
                .any(|run| run.parts.contains(&part))
        };
        Ok(Self {
            folder: folder.to_owned(),
            results: store::document(&folder.join(RESULTS))?.ok_or_else(none)?,
            tests: read_part(owned(Part::Tests), &artifacts.join("tests/summary.json"))?,
            benchmarks: read_part(
                owned(Part::Benchmarks),
                &artifacts.join("benchmarks/summary.json"),
            )?,
            coverage: read_part(
                owned(Part::Coverage),
                &artifacts.join("coverage/summary.json"),
            )?,
            runs: earlier.entries,
            meta: earlier.meta,
        })
    }

    /// Returns what of it may be told: its documents as [`disclosure`] leaves them; with `minimal` no step that failed either.
    pub fn told(&self, level: Disclosure) -> Result<Self, serde_json::Error> {
        if level == Disclosure::Full {
            return Ok(self.clone());
        }
        let mut told = Self {
            folder: self.folder.clone(),
            results: disclosure::told(&self.results, Document::Results, level)?,
            meta: disclosure::told(&self.meta, Document::Meta, level)?,
            runs: all_told(&self.runs, Document::Run, level)?,
            tests: one_told(self.tests.as_ref(), Document::Tests, level)?,
            benchmarks: one_told(self.benchmarks.as_ref(), Document::Benchmarks, level)?,
            coverage: one_told(self.coverage.as_ref(), Document::Coverage, level)?,
        };
        if let Some(tests) = &mut told.tests {
            let withheld = |it: &&mut Failing| it.message == disclosure::WITHHELD;
            let silent = tests.failing.iter_mut().filter(withheld);
            silent.for_each(|it| it.message = String::new());
            if level == Disclosure::Minimal {
                tests.failing.clear();
            }
        }
        Ok(told)
    }

    /// Returns where a file below `artifacts/` stands, if it is there.
    #[must_use]
    pub fn file(&self, path: &str) -> Option<Utf8PathBuf> {
        let path = self.folder.join(ARTIFACTS).join(path);
        path.is_file().then_some(path)
    }

    /// Returns the run that a part comes from.
    #[must_use]
    pub fn owner(&self, part: Part) -> Option<&RunMeta> {
        self.meta.runs.iter().find(|run| run.parts.contains(&part))
    }

    /// Returns what keeps a part from standing for the branch.
    #[must_use]
    pub fn marks(&self, part: Part) -> &[Mark] {
        self.owner(part).map_or(&[], |run| &run.marks)
    }
}

fn one_told<T: Serialize + DeserializeOwned>(
    document: Option<&T>,
    kind: Document,
    level: Disclosure,
) -> Result<Option<T>, serde_json::Error> {
    document
        .map(|it| disclosure::told(it, kind, level))
        .transpose()
}

fn all_told<T: Serialize + DeserializeOwned>(
    documents: &[T],
    kind: Document,
    level: Disclosure,
) -> Result<Vec<T>, serde_json::Error> {
    let told = documents.iter().map(|it| disclosure::told(it, kind, level));
    told.collect()
}

fn read_part<T: DeserializeOwned>(owned: bool, path: &Utf8Path) -> Result<Option<T>, PublishError> {
    Ok(if owned { store::document(path)? } else { None })
}

/// Returns the folder with `meta.json` that a person means by `folder`: itself, or `artifacts/` in it.
pub fn set_in(folder: &Utf8Path) -> Result<Utf8PathBuf, PublishError> {
    [folder.to_owned(), folder.join(ARTIFACTS)]
        .into_iter()
        .find(|folder| folder.join(META).is_file())
        .ok_or_else(|| PublishError::NoArtifacts {
            folder: folder.to_owned(),
        })
}

/// Joins sets of artifacts of one commit into `folder`, which is made.
pub fn join(
    sets: &[Utf8PathBuf],
    folder: &Utf8Path,
    now: DateTime<Utc>,
) -> Result<Material, PublishError> {
    let earlier = sets
        .iter()
        .map(|set| {
            store::open(set)?.ok_or_else(|| PublishError::NoArtifacts {
                folder: set.clone(),
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    let commits: BTreeSet<&String> = earlier.iter().map(|it| &it.meta.commit).collect();
    if commits.len() > 1 {
        return Err(PublishError::SeveralCommits {
            commits: commits.into_iter().cloned().collect(),
        });
    }
    let joined = picture::join(&earlier, now).ok_or_else(|| PublishError::NoArtifacts {
        folder: sets.first().cloned().unwrap_or_default(),
    })?;
    check_commit(&joined.meta.commit)?;
    let sets = sets
        .iter()
        .map(|set| Set::read(set))
        .collect::<Result<Vec<_>, _>>()?;
    write(&joined, &sets, folder)?;
    Material::open(folder)
}

fn check_commit(commit: &str) -> Result<(), PublishError> {
    let is_full =
        matches!(commit.len(), 40 | 64) && commit.bytes().all(|it| it.is_ascii_hexdigit());
    if is_full {
        Ok(())
    } else {
        Err(PublishError::NoCommit {
            commit: commit.to_owned(),
        })
    }
}

/// A set of artifacts and what its checksums say.
struct Set {
    folder: Utf8PathBuf,
    digests: BTreeMap<Utf8PathBuf, String>,
}

impl Set {
    fn read(folder: &Utf8Path) -> Result<Self, PublishError> {
        let text = match foreign::read_to_string(folder.join(CHECKSUMS), foreign::DOCUMENT) {
            Ok(text) => text,
            // Written last: without it the set is not whole.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(PublishError::NoArtifacts {
                    folder: folder.to_owned(),
                });
            }
            Err(error) => return Err(error.into()),
        };
        let digests = artifact::read_checksums(&text).ok_or_else(|| PublishError::Altered {
            path: folder.join(CHECKSUMS),
        })?;
        Ok(Self {
            folder: folder.to_owned(),
            digests,
        })
    }

    /// Copies a file of the set to the same place below `to`.
    fn copy(&self, path: &Utf8Path, to: &Utf8Path) -> Result<(), PublishError> {
        let source = self.folder.join(path);
        // A link could lead to any file of whoever publishes.
        let bytes = foreign::read(&source, foreign::ARTIFACT).map_err(|error| {
            if foreign::is_no_file(&error) {
                PublishError::Altered {
                    path: source.clone(),
                }
            } else {
                error.into()
            }
        })?;
        if self.digests.get(path) != Some(&sha256(&bytes)) {
            return Err(PublishError::Altered { path: source });
        }
        put(&to.join(path), &bytes)
    }

    fn files_of(&self, part: Part) -> impl Iterator<Item = &Utf8PathBuf> {
        self.digests
            .keys()
            .filter(move |path| part_of(path) == Some(part) && !path.starts_with(LEFT_OUT))
    }
}

fn write(joined: &Joined, sets: &[Set], folder: &Utf8Path) -> Result<(), PublishError> {
    let artifacts = folder.join(ARTIFACTS);
    for (part, set) in &joined.parts {
        let set = &sets[*set];
        set.files_of(*part)
            .try_for_each(|path| set.copy(path, &artifacts))?;
    }
    for (run, set) in &joined.runs {
        sets[*set].copy(&store::entry_path(run)?, &artifacts)?;
    }
    let json = |path: Utf8PathBuf, document: Result<Artifact, serde_json::Error>| match document
        .map_err(PublishError::Encode)?
        .content
    {
        Content::Bytes(bytes) => put(&path, &bytes),
        Content::File(_) => Ok(()),
    };
    json(artifacts.join(META), Artifact::json(META, &joined.meta))?;
    json(
        folder.join(RESULTS),
        Artifact::json(RESULTS, &joined.results),
    )?;
    seal(&artifacts)
}

/// Writes the checksums of a set, so that it can be joined again.
fn seal(artifacts: &Utf8Path) -> Result<(), PublishError> {
    let mut digests = Vec::new();
    let mut folders = vec![artifacts.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir_utf8()? {
            let entry = entry?;
            let path = entry.path();
            if entry.file_type()?.is_dir() {
                folders.push(path.to_owned());
            } else if let Ok(name) = path.strip_prefix(artifacts) {
                digests.push((
                    name.to_owned(),
                    sha256(&foreign::read(path, foreign::ARTIFACT)?),
                ));
            }
        }
    }
    let text = artifact::checksums(&digests);
    put(&artifacts.join(CHECKSUMS), text.as_bytes())
}

fn put(path: &Utf8Path, bytes: &[u8]) -> Result<(), PublishError> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    Ok(foreign::put(path, bytes)?)
}

fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes any text");
        text
    })
}
