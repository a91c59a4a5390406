//! The results branch: what stands on it. Pure, from what is there and what a run brings to what shall be there.
//!
//! ```text
//! SHA/RUN/{run,meta,hpc-results,tests,benchmarks,coverage}.json    of one run; never changed
//! SHA/{tests,benchmarks,meta,hpc-results}.json                     of the commit, joined from its runs
//! latest-*.json  badges/  index.html  README.md                    of the default branch
//! branches/NAME/latest-*.json                                      of the others
//! ```
//!
//! All but the first line follows from the folders of the runs alone. So it does not matter in which order runs arrive:
//! whoever comes second makes the rest again from what both of them brought. Pushing is git's
//! ([`crate::git::update_branch`]).

pub mod folder;
pub mod history;
mod names;
mod readme;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use self::folder::{Folder, name_of};
use self::history::{History, Run, Standing};
use self::names::{branch_folder, is_commit};
use super::badge::Badge;
use super::dashboard::{self, Board};
use crate::git::GitError;
use crate::results::artifact;
use crate::results::picture::{self, Earlier};
use crate::results::record::{BenchmarksSummary, Meta, Part, RunEntry, SuiteCounts, TestsSummary};
use crate::results::summary;

/// Documents that a commit and a branch have.
const DOCUMENTS: [&str; 4] = [
    "tests.json",
    "benchmarks.json",
    "meta.json",
    "hpc-results.json",
];

/// Runs that the branch keeps; beyond them the oldest commits go.
pub const KEPT_RUNS: usize = 500;

/// Why the branch cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum BranchError {
    /// The commit or the run cannot be the name of a folder.
    #[error("run `{run}` of commit `{commit}` cannot be the name of a folder")]
    Name {
        /// The commit.
        commit: String,
        /// The run.
        run: String,
    },
    /// A document of the artifacts cannot be understood.
    #[error("cannot read `{name}`")]
    Unreadable {
        /// The document.
        name: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A document cannot be written as JSON.
    #[error("cannot write `{name}` as JSON")]
    Encode {
        /// The document.
        name: String,
        /// Why.
        source: serde_json::Error,
    },
    /// The dashboard cannot be made.
    #[error("cannot make the dashboard")]
    Dashboard(#[from] askama::Error),
    /// The branch holds other things.
    #[error("`{branch}` holds files that hpc-ci did not make, `{path}` for one")]
    Foreign {
        /// The branch.
        branch: String,
        /// One of its files.
        path: String,
    },
    /// git cannot read or push it.
    #[error(transparent)]
    Git(#[from] GitError),
}

impl BranchError {
    /// Returns what to do about it, where that is known.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Foreign { .. } => Some(
                "name a branch of its own in `branch` of [publish.results_branch]; it is made if it is not there"
                    .to_owned(),
            ),
            Self::Git(error) => error.help(),
            _ => None,
        }
    }
}

/// Gives the content of a file of the branch; none if there is none of this path.
pub type Read<'a> = dyn Fn(&str) -> Result<Option<Vec<u8>>, GitError> + 'a;

/// The branch as it stands.
#[derive(Clone, Copy)]
pub struct Existing<'a> {
    /// Its name.
    pub branch: &'a str,
    /// The paths of its files.
    pub paths: &'a BTreeSet<String>,
    /// Gives the content of a file.
    pub read: &'a Read<'a>,
    /// The default branch of the repository, if it has one.
    pub default_branch: Option<&'a str>,
}

/// Files by path; none for one that goes.
pub type Files = BTreeMap<String, Option<Vec<u8>>>;

/// Returns what has to change so that the branch holds these runs, and at most `keep` runs in all.
pub fn content(existing: Existing<'_>, new: &[Folder], keep: usize) -> Result<Files, BranchError> {
    check_ours(&existing)?;
    let shelf = Shelf::new(existing, new);
    let mut stored = shelf.runs()?;
    let mut files = Files::new();
    let gone = forget(&mut stored, keep);
    for path in existing.paths {
        if path
            .split('/')
            .next()
            .is_some_and(|commit| gone.contains(commit))
        {
            files.insert(path.clone(), None);
        }
    }
    let commits: BTreeSet<&str> = new.iter().map(|folder| folder.commit.as_str()).collect();
    for (path, folder) in &shelf.coming {
        for (name, bytes) in &folder.files {
            if !gone.contains(&folder.commit) {
                files.insert(format!("{path}/{name}"), Some(bytes.clone()));
            }
        }
    }
    for commit in commits.into_iter().filter(|it| !gone.contains(*it)) {
        let runs: Vec<&Run> = stored
            .runs()
            .iter()
            .filter(|it| it.entry.commit == commit)
            .collect();
        put(&mut files, &format!("{commit}/"), shelf.joined(&runs)?);
    }
    let standings = stored.standings();
    let default = default_branch(&existing, &standings);
    let mut latest = BTreeMap::new();
    for (branch, standing) in &standings {
        let documents = shelf.latest(&stored, branch, standing)?;
        let folder = if default == Some(*branch) {
            String::new()
        } else {
            format!("branches/{}/", branch_folder(branch))
        };
        put(&mut latest, &format!("{folder}latest-"), documents);
    }
    for path in existing.paths.iter().filter(|path| is_latest(path)) {
        latest.entry(path.clone()).or_insert(None);
    }
    files.append(&mut latest);
    files.append(&mut shelf.front(&stored, default)?);
    Ok(files)
}

/// Names of files that people put onto such a branch before or beside hpc-ci.
const HARMLESS: [&str; 6] = [
    "README.md",
    "LICENSE",
    "CNAME",
    ".nojekyll",
    ".gitignore",
    ".gitattributes",
];

/// Refuses a branch that is for something else, as the branch with the code.
fn check_ours(existing: &Existing<'_>) -> Result<(), BranchError> {
    let foreign = existing
        .paths
        .iter()
        .find(|path| !HARMLESS.contains(&path.as_str()));
    let Some(path) = foreign else {
        return Ok(());
    };
    let readme = (existing.read)("README.md")?.unwrap_or_default();
    if String::from_utf8_lossy(&readme).contains(readme::MARK) {
        return Ok(());
    }
    Err(BranchError::Foreign {
        branch: existing.branch.to_owned(),
        path: path.clone(),
    })
}

/// Drops the oldest commits until no more than `keep` runs are left, except those that stand for a branch. Returns them.
fn forget(history: &mut History, keep: usize) -> BTreeSet<String> {
    let standings = history.standings();
    let needed: BTreeSet<&str> = standings
        .values()
        .flat_map(|it| {
            let runs = [it.tests, it.coverage, it.benchmarks, Some(it.newest)];
            runs.into_iter().flatten()
        })
        .map(|run| run.entry.commit.as_str())
        .collect();
    let mut sizes: BTreeMap<&str, usize> = BTreeMap::new();
    for run in history.runs() {
        *sizes.entry(&run.entry.commit).or_default() += 1;
    }
    let mut left = history.runs().len();
    let mut gone = BTreeSet::new();
    for commit in history.commits().into_iter().rev() {
        if left <= keep {
            break;
        }
        if !needed.contains(commit) {
            left -= sizes.get(commit).copied().unwrap_or_default();
            gone.insert(commit.to_owned());
        }
    }
    history.retain(|run| !gone.contains(&run.entry.commit));
    gone
}

/// What the repository says; where it says nothing (as one that holds results alone), a name that is usual, or the only one.
fn default_branch<'a>(
    existing: &Existing<'a>,
    standings: &BTreeMap<&'a str, Standing<'_>>,
) -> Option<&'a str> {
    let own = existing
        .default_branch
        .filter(|name| *name != existing.branch);
    let usual = ["main", "master"].into_iter();
    let usual = usual.filter(|name| standings.contains_key(name));
    let only = standings.keys().copied().filter(|_| standings.len() == 1);
    own.into_iter().chain(usual).chain(only).next()
}

fn is_latest(path: &str) -> bool {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let is_name = name
        .strip_prefix("latest-")
        .is_some_and(|name| DOCUMENTS.contains(&name));
    is_name && (folder.is_empty() || folder.starts_with("branches/"))
}

fn put(files: &mut Files, prefix: &str, documents: BTreeMap<&'static str, Vec<u8>>) {
    for (name, bytes) in documents {
        files.insert(format!("{prefix}{name}"), Some(bytes));
    }
}

/// The documents of all runs, those that are there and those that come.
struct Shelf<'a> {
    existing: Existing<'a>,
    /// By folder. One that is there already stays as it is.
    coming: BTreeMap<String, &'a Folder>,
}

impl<'a> Shelf<'a> {
    fn new(existing: Existing<'a>, new: &'a [Folder]) -> Self {
        let named = new
            .iter()
            .map(|it| (format!("{}/{}", it.commit, it.run), it));
        Self {
            existing,
            coming: named
                .filter(|(folder, _)| !existing.paths.contains(&format!("{folder}/run.json")))
                .collect(),
        }
    }

    fn read(&self, folder: &str, name: &str) -> Result<Option<Vec<u8>>, BranchError> {
        match self.coming.get(folder) {
            Some(coming) => Ok(coming.files.get(name).cloned()),
            None => Ok((self.existing.read)(&format!("{folder}/{name}"))?),
        }
    }

    /// Reads every run.
    fn runs(&self) -> Result<History, BranchError> {
        let there = self.existing.paths.iter().filter_map(|path| {
            let folder = path.strip_suffix("/run.json")?;
            let (commit, run) = folder.split_once('/')?;
            (is_commit(commit) && !run.contains('/')).then(|| folder.to_owned())
        });
        let folders: BTreeSet<String> = there.chain(self.coming.keys().cloned()).collect();
        let (mut runs, mut unreadable) = (Vec::new(), Vec::new());
        for folder in folders {
            match self.run(&folder)? {
                Some(run) => runs.push(run),
                None => unreadable.push(folder),
            }
        }
        Ok(History::new(runs, unreadable))
    }

    /// Reads a run; none if it cannot be understood, or is not what its folder says.
    fn run(&self, folder: &str) -> Result<Option<Run>, BranchError> {
        #[derive(Deserialize)]
        struct Counted {
            suites: BTreeMap<String, SuiteCounts>,
        }
        let Some(entry) = self.parse::<RunEntry>(folder, "run.json")? else {
            return Ok(None);
        };
        if self.parse::<Meta>(folder, "meta.json")?.is_none() {
            return Ok(None);
        }
        let tests = self.parse::<Counted>(folder, "tests.json")?;
        let run = Run {
            entry,
            counts: tests.map(|tests| summary::total(&tests.suites)),
            benchmarks: self.parse::<BenchmarksSummary>(folder, "benchmarks.json")?,
        };
        Ok((run.folder() == folder).then_some(run))
    }

    fn parse<T: for<'de> Deserialize<'de>>(
        &self,
        folder: &str,
        name: &str,
    ) -> Result<Option<T>, BranchError> {
        let bytes = self.read(folder, name)?;
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    /// Returns the documents of a commit, joined from some of its runs.
    fn joined(&self, runs: &[&Run]) -> Result<BTreeMap<&'static str, Vec<u8>>, BranchError> {
        let mut documents = BTreeMap::new();
        let mut sets = Vec::new();
        for run in runs {
            let meta = self.parse::<Meta>(&run.folder(), "meta.json")?;
            sets.extend(meta.map(|meta| Earlier {
                meta,
                entries: vec![run.entry.clone()],
            }));
        }
        let newest = runs.iter().map(|run| run.entry.finished_at).max();
        let Some((joined, newest)) =
            newest.and_then(|it| Some((picture::join(&sets, it)?, runs.first()?)))
        else {
            return Ok(documents);
        };
        documents.insert("meta.json", document("meta.json", &joined.meta)?);
        documents.insert(
            "hpc-results.json",
            document("hpc-results.json", &joined.results)?,
        );
        for part in [Part::Tests, Part::Benchmarks] {
            let owner = joined
                .meta
                .runs
                .iter()
                .find(|run| run.parts.contains(&part));
            let folder = owner.map(|owner| format!("{}/{}", newest.entry.commit, owner.run));
            let bytes = match folder {
                Some(folder) => self.read(&folder, name_of(part))?,
                None => None,
            };
            let bytes = match bytes {
                Some(bytes) => bytes,
                None => skipped(part, &newest.entry.commit)?,
            };
            documents.insert(name_of(part), bytes);
        }
        Ok(documents)
    }

    /// Returns what is the latest of a branch: the newest commit, and of each part the last run that has it.
    fn latest(
        &self,
        history: &History,
        branch: &str,
        standing: &Standing<'_>,
    ) -> Result<BTreeMap<&'static str, Vec<u8>>, BranchError> {
        let runs: Vec<&Run> = history
            .of_branch(branch)
            .filter(|run| run.entry.commit == standing.commit)
            .collect();
        let mut documents = self.joined(&runs)?;
        for (part, run) in [
            (Part::Tests, standing.tests),
            (Part::Benchmarks, standing.benchmarks),
        ] {
            if let Some(run) = run
                && let Some(bytes) = self.read(&run.folder(), name_of(part))?
            {
                documents.insert(name_of(part), bytes);
            }
        }
        Ok(documents)
    }

    /// Returns what is seen first: badges, dashboard, read-me.
    fn front(&self, history: &History, default: Option<&str>) -> Result<Files, BranchError> {
        let standings = history.standings();
        let standing = default.and_then(|name| standings.get(name));
        let mut files = Files::new();
        for (name, badge) in Badge::all(standing) {
            let json = badge.json().map_err(|source| BranchError::Encode {
                name: format!("badges/{name}.json"),
                source,
            })?;
            files.insert(format!("badges/{name}.json"), Some(json));
            files.insert(format!("badges/{name}.svg"), Some(badge.svg().into_bytes()));
        }
        let of = |run: Option<&Run>| run.map(Run::folder);
        let measured = of(standing.and_then(|it| it.coverage.or(Some(it.newest))));
        let tested = of(standing.and_then(|it| it.tests));
        let meta = match measured {
            Some(folder) => self.parse::<Meta>(&folder, "meta.json")?,
            None => None,
        };
        let tests = match tested {
            Some(folder) => self.parse::<TestsSummary>(&folder, "tests.json")?,
            None => None,
        };
        let page = dashboard::page(&Board {
            branch: default,
            history,
            meta: meta.as_ref(),
            tests: tests.as_ref(),
        })?;
        let project = history.runs().last().map(|run| run.entry.project.as_str());
        files.insert("index.html".to_owned(), Some(page.into_bytes()));
        files.insert(
            "README.md".to_owned(),
            Some(readme::text(project).into_bytes()),
        );
        // GitHub Pages would otherwise leave out what begins with an underscore.
        files.insert(".nojekyll".to_owned(), Some(Vec::new()));
        Ok(files)
    }
}

fn skipped(part: Part, commit: &str) -> Result<Vec<u8>, BranchError> {
    let made = artifact::skipped(part, commit).map_err(|source| BranchError::Encode {
        name: name_of(part).to_owned(),
        source,
    })?;
    Ok(match made.map(|it| it.content) {
        Some(artifact::Content::Bytes(bytes)) => bytes,
        _ => Vec::new(),
    })
}

/// Writes a document as the artifacts have it.
fn document(name: &str, value: &impl Serialize) -> Result<Vec<u8>, BranchError> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(|source| BranchError::Encode {
        name: name.to_owned(),
        source,
    })?;
    bytes.push(b'\n');
    Ok(bytes)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;
