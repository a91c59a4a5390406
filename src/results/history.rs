//! The history of a project in the state directory: what each run found, and which baselines were accepted.
//!
//! Both are files of JSON lines that only grow. Several runs may add to them at the same time, on several hosts: a line is
//! written at once and under a lock, where the file system has locks. A line that a crash cut short is left out by readers,
//! and told of.

use std::collections::BTreeSet;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};

use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::FinishedRun;
use super::record::{Accepted, CoverageFigure, HistoryEntry, Part, RunEntry, SCHEMA_VERSION};
use super::summary;

use crate::foreign;

/// Where the history of one project stands.
#[derive(Debug, Clone)]
pub struct History {
    runs: Utf8PathBuf,
    baselines: Utf8PathBuf,
}

/// Why the history cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The file system refused. The message names the file.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A line could not be written as JSON.
    #[error("cannot write a line of the history as JSON")]
    Json(#[from] serde_json::Error),
}

/// What became of a history that an earlier hpc-ci kept under a project's bare name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Earlier {
    /// There is none, or it is no longer of interest.
    None,
    /// It is this project's now.
    Taken,
    /// It may be another project's.
    Left {
        /// How many of its commits the repository does not hold.
        strange: usize,
        /// How many it has in all.
        all: usize,
    },
}

/// What was read of a file of lines.
#[derive(Debug)]
pub struct Lines<T> {
    /// The lines, the oldest first.
    pub lines: Vec<T>,
    /// How many could not be read.
    pub unreadable: usize,
}

impl History {
    /// Returns the history of the project that files know by `key`, below the state directory.
    #[must_use]
    pub fn new(state: &Utf8Path, key: &str) -> Self {
        let folder = state.join("history");
        Self {
            runs: folder.join(format!("{key}.jsonl")),
            baselines: folder.join(format!("{key}.baselines.jsonl")),
        }
    }

    /// Takes over the history of an earlier hpc-ci, which knew projects by their bare name, if it is this project's beyond doubt:
    /// every commit in it is one that the repository `holds`. Once there is a history of this project, nothing is looked for.
    pub fn take_over(
        &self,
        earlier: &Self,
        holds: &dyn Fn(&str) -> bool,
    ) -> Result<Earlier, HistoryError> {
        if self.runs.exists() || self.baselines.exists() {
            return Ok(Earlier::None);
        }
        let runs = earlier.runs()?.lines.into_iter().map(|run| run.commit);
        let accepted = earlier.accepted()?.lines.into_iter().map(|it| it.commit);
        let commits: BTreeSet<String> = runs.chain(accepted).collect();
        if commits.is_empty() {
            return Ok(Earlier::None);
        }
        let strange = commits.iter().filter(|commit| !holds(commit)).count();
        if strange > 0 {
            return Ok(Earlier::Left {
                strange,
                all: commits.len(),
            });
        }
        for (from, to) in [
            (&earlier.baselines, &self.baselines),
            (&earlier.runs, &self.runs),
        ] {
            match fs::rename(from, to) {
                // There is none, or another process was faster.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                moved => moved?,
            }
        }
        Ok(Earlier::Taken)
    }

    /// Returns the file of the runs.
    #[must_use]
    pub fn file(&self) -> &Utf8Path {
        &self.runs
    }

    /// Reads the runs.
    pub fn runs(&self) -> Result<Lines<HistoryEntry>, HistoryError> {
        read(&self.runs)
    }

    /// Reads the accepted baselines.
    pub fn accepted(&self) -> Result<Lines<Accepted>, HistoryError> {
        read(&self.baselines)
    }

    /// Adds a run.
    pub fn add(&self, entry: &HistoryEntry) -> Result<(), HistoryError> {
        append(&self.runs, entry)
    }

    /// Adds an accepted baseline.
    pub fn accept(&self, baseline: &Accepted) -> Result<(), HistoryError> {
        append(&self.baselines, baseline)
    }
}

/// Returns the line of a run.
#[must_use]
pub fn entry(run: &FinishedRun, entry: &RunEntry) -> HistoryEntry {
    let in_scope = |part: Part| run.scope.contains(&part);
    let benchmarks = summary::benchmarks(run);
    HistoryEntry {
        schema_version: SCHEMA_VERSION,
        run: entry.run.clone(),
        commit: entry.commit.clone(),
        branch: entry.branch.clone(),
        dirty: entry.dirty,
        marks: entry.marks.clone(),
        started_at: entry.started_at,
        finished_at: entry.finished_at,
        status: entry.status,
        scope: entry.scope.clone(),
        tests: in_scope(Part::Tests).then(|| summary::tests(run).suites),
        coverage: entry.parts.coverage.as_ref().map(CoverageFigure::from),
        benchmarks: benchmarks.benchmarks,
        worst_regression_pct: benchmarks.worst_regression_pct,
    }
}

fn read<T: DeserializeOwned>(path: &Utf8Path) -> Result<Lines<T>, HistoryError> {
    let bytes = match foreign::read(path, foreign::DOCUMENT) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) if foreign::is_refusal(&error) => {
            return Ok(Lines {
                lines: Vec::new(),
                unreadable: 1,
            });
        }
        Err(error) => return Err(error.into()),
    };
    let mut found = Lines {
        lines: Vec::new(),
        unreadable: 0,
    };
    let lines = bytes.split(|byte| *byte == b'\n');
    for line in lines.filter(|line| !line.is_empty()) {
        match serde_json::from_slice(line) {
            Ok(line) => found.lines.push(line),
            Err(_) => found.unreadable += 1,
        }
    }
    Ok(found)
}

fn append(path: &Utf8Path, line: &impl Serialize) -> Result<(), HistoryError> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    set_aside_unfit(path)?;
    let mut file = foreign::append(path)?.into_file();
    // Without locks (some NFS, Lustre) lines of this length still come whole in practice; readers leave torn ones out.
    let _locked = file.lock().is_ok();
    if ends_within_a_line(&mut file)? {
        text.insert(0, b'\n');
    }
    file.write_all(&text)?;
    file.sync_data()?;
    Ok(())
}

/// Makes room for a history where something stands that cannot be one.
fn set_aside_unfit(path: &Utf8Path) -> io::Result<()> {
    match foreign::open(path).and_then(|file| file.metadata()) {
        Ok(it) if it.len() <= foreign::DOCUMENT => Ok(()),
        Err(error) if !foreign::is_refusal(&error) => Ok(()),
        _ => fs::rename(path, path.with_extension("damaged")),
    }
}

fn ends_within_a_line(file: &mut std::fs::File) -> io::Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(false);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last != [b'\n'])
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::super::artifact::RunFiles;
    use super::super::finished::example;
    use super::super::record::meta_example;
    use super::*;

    #[test]
    fn lines_are_added_and_a_torn_one_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let state = Utf8Path::from_path(dir.path()).unwrap();
        let history = History::new(state, "heat");
        assert_eq!(history.runs().unwrap().lines, []);
        let run = example::run();
        let files = RunFiles::new(&run, meta_example::run_meta(), Vec::new()).unwrap();
        let line = entry(&run, &files.entry);
        history.add(&line).unwrap();
        let mut text = fs::read(history.file()).unwrap();
        text.extend(b"{\"schema_version\":1,\"ru");
        fs::write(history.file(), text).unwrap();
        history.add(&line).unwrap();
        let read = history.runs().unwrap();
        assert_eq!((read.lines, read.unreadable), (vec![line.clone(), line], 1));
    }

    #[test]
    fn an_earlier_history_is_taken_over_once_and_only_beyond_doubt() {
        let dir = tempfile::tempdir().unwrap();
        let state = Utf8Path::from_path(dir.path()).unwrap();
        let earlier = History::new(state, "heat");
        let ours = History::new(state, "heat-1");
        let take = |holds: &dyn Fn(&str) -> bool| ours.take_over(&earlier, holds).unwrap();
        assert_eq!(take(&|_| true), Earlier::None);
        let run = example::run();
        let files = RunFiles::new(&run, meta_example::run_meta(), Vec::new()).unwrap();
        let line = entry(&run, &files.entry);
        let strange = HistoryEntry {
            commit: "f".repeat(40),
            ..line.clone()
        };
        earlier.add(&line).unwrap();
        earlier.add(&strange).unwrap();
        let holds = |commit: &str| commit == line.commit;
        assert_eq!(take(&holds), Earlier::Left { strange: 1, all: 2 });
        assert_eq!(take(&|_| false), Earlier::Left { strange: 2, all: 2 });
        assert_eq!(earlier.runs().unwrap().lines.len(), 2);
        assert_eq!(take(&|_| true), Earlier::Taken);
        assert_eq!(ours.runs().unwrap().lines, [line.clone(), strange]);
        assert!(!earlier.file().exists());
        earlier.add(&line).unwrap();
        assert_eq!(take(&|_| true), Earlier::None);
        assert_eq!(ours.runs().unwrap().lines.len(), 2);
    }
}
