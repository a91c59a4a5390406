//! Where the files of a run stand.
//!
//! `WORKSPACE/runs/RUN-ID/` holds the plan, the request, the environment, the journal, the log, `builds/BUILD/`,
//! `steps/SLUG/ATTEMPT/`, `batches/NUMBER/` of each array and pack, `nodes/HOST/` of each node, and `ended/`, into which every
//! job script drops an empty file when its exit record is complete: one directory read tells of all arrivals. `lease.N` says
//! which process drives the run.

use std::collections::BTreeSet;
use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};

use super::error::DriveError;
use crate::build::{LOG, SCRIPT};
use crate::foreign;
use crate::results::record::{RunEntry, RunStep, Status};

/// The folder of one run.
#[derive(Debug, Clone)]
pub struct RunFolder {
    id: String,
    root: PathBuf,
}

impl RunFolder {
    /// Returns the folder of a new run that starts now; nothing is made yet.
    ///
    /// Ids sort by time, to the fraction of a second: three digits are 4096ths of it, three come from the process.
    #[must_use]
    pub fn new(workspace: &Path, now: DateTime<Utc>) -> Self {
        let nanoseconds = u64::from(now.timestamp_subsec_nanos());
        let mix = u64::from(std::process::id()).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ nanoseconds;
        let id = format!(
            "{}-{:03x}{:03x}",
            now.format("%Y%m%dT%H%M%SZ"),
            // A leap second counts beyond its own.
            (nanoseconds * 4096 / 1_000_000_000).min(0xFFF),
            (mix ^ (mix >> 32)) & 0xFFF
        );
        Self::existing(workspace, &id)
    }

    /// Returns the folder of the run with this id.
    #[must_use]
    pub fn existing(workspace: &Path, id: &str) -> Self {
        Self {
            id: id.to_owned(),
            root: workspace.join("runs").join(id),
        }
    }

    /// Returns the run folder that stands here.
    #[must_use]
    pub fn at(root: &Path) -> Self {
        let id = root.file_name().unwrap_or_default().to_string_lossy();
        Self {
            id: id.into_owned(),
            root: root.to_owned(),
        }
    }

    /// Makes the folder, for nobody but its owner, and those that everything below expects.
    pub fn create(&self) -> std::io::Result<()> {
        if let Some(runs) = self.root.parent() {
            fs_err::create_dir_all(runs)?;
        }
        match DirBuilder::new().mode(0o700).create(&self.root) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        for directory in [self.builds(), self.steps(), self.ended(), self.nodes()] {
            fs_err::create_dir_all(directory)?;
        }
        Ok(())
    }

    /// Returns the run's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the folder itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the journal.
    #[must_use]
    pub fn journal(&self) -> PathBuf {
        self.root.join("journal.jsonl")
    }

    /// Returns the log of the driver.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.root.join("hpc-ci.log")
    }

    /// Returns the plan.
    #[must_use]
    pub fn plan(&self) -> PathBuf {
        self.root.join("plan.json")
    }

    /// Returns what was asked for, by which another process can go on with the run.
    #[must_use]
    pub fn request(&self) -> PathBuf {
        self.root.join("request.json")
    }

    /// Returns the environment that builds, jobs and steps inherit: `NAME=VALUE`, each ended by a zero byte.
    #[must_use]
    pub fn environment(&self) -> PathBuf {
        self.root.join("environment")
    }

    /// Returns the file by which the run is asked to stop.
    #[must_use]
    pub fn cancel(&self) -> PathBuf {
        self.root.join("cancel")
    }

    /// Returns the `hpc-results.json` that the run wrote.
    #[must_use]
    pub fn results(&self) -> PathBuf {
        self.root.join("hpc-results.json")
    }

    /// Returns the summary for people once the run has ended.
    #[must_use]
    pub fn summary(&self) -> PathBuf {
        self.root.join("summary.txt")
    }

    /// Returns the record of the run once it has ended.
    #[must_use]
    pub fn record(&self) -> PathBuf {
        self.root.join("run.json")
    }

    /// Returns whether the run has ended: its record is there, whatever became of it.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.record().symlink_metadata().is_ok()
    }

    /// Returns the copy of hpc-ci that nodes can run.
    #[must_use]
    pub fn program(&self) -> PathBuf {
        self.root.join("hpc-ci")
    }

    /// Returns the list of the run's objects, for nodes that add profiles up.
    #[must_use]
    pub fn objects(&self) -> PathBuf {
        self.root.join("objects.json")
    }

    /// Returns the list of the commit's files.
    #[must_use]
    pub fn held(&self) -> PathBuf {
        self.root.join("commit-files.json")
    }

    /// Returns the list of the profiles that stood in the folders of the steps before these ran.
    #[must_use]
    pub fn elsewhere(&self) -> PathBuf {
        self.root.join("profiles-before.json")
    }

    /// Returns the folder of scratch files of the coverage engine.
    #[must_use]
    pub fn coverage(&self) -> PathBuf {
        self.root.join("coverage")
    }

    /// Returns what the job of the coverage found, but for the lines.
    #[must_use]
    pub fn covered(&self) -> PathBuf {
        self.coverage().join("covered.json")
    }

    /// Returns the lines that the job of the coverage found.
    #[must_use]
    pub fn covered_lines(&self) -> PathBuf {
        self.coverage().join("covered.info")
    }

    /// Returns the folder of the script that goes before launchers. Trees that are kept may lead to it, so that it outlives the run.
    #[must_use]
    pub fn launchers(&self) -> PathBuf {
        let workspace = self.root.parent().and_then(Path::parent);
        workspace
            .unwrap_or(&self.root)
            .join("launchers")
            .join(env!("CARGO_PKG_VERSION"))
    }

    /// Returns the library that notes which world MPI gave each rank.
    #[must_use]
    pub fn world(&self) -> PathBuf {
        self.root.join("libworld.so")
    }

    /// Returns the script by which nodes are described.
    #[must_use]
    pub fn facts(&self) -> PathBuf {
        self.root.join("facts.sh")
    }

    /// Returns the folder in which each node that did work has one of its own.
    #[must_use]
    pub fn nodes(&self) -> PathBuf {
        self.root.join("nodes")
    }

    /// Returns the folder into which job scripts drop a file when they end.
    #[must_use]
    pub fn ended(&self) -> PathBuf {
        self.root.join("ended")
    }

    /// Returns the folder of a build's script and log.
    #[must_use]
    pub fn build(&self, id: &str) -> PathBuf {
        self.builds().join(id)
    }

    /// Returns the script of a build's command.
    #[must_use]
    pub fn build_script(&self, id: &str) -> PathBuf {
        self.build(id).join("build").join(SCRIPT)
    }

    /// Returns the log of a build's command.
    #[must_use]
    pub fn build_log(&self, id: &str) -> PathBuf {
        self.build(id).join("build").join(LOG)
    }

    /// Returns the folder of the library that keeps the counters of a build's ranks that die.
    #[must_use]
    pub fn preload(&self, build: &str) -> PathBuf {
        self.build(build).join("preload")
    }

    /// Returns the folder of an attempt.
    #[must_use]
    pub fn attempt(&self, slug: &str, attempt: u32) -> PathBuf {
        self.steps().join(slug).join(attempt.to_string())
    }

    /// Returns the folder of an array or pack.
    #[must_use]
    pub fn batch(&self, number: u32) -> PathBuf {
        self.root.join("batches").join(number.to_string())
    }

    /// Returns what the steps of a pack need to know.
    #[must_use]
    pub fn pack_file(&self, number: u32) -> PathBuf {
        self.batch(number).join("pack.json")
    }

    fn builds(&self) -> PathBuf {
        self.root.join("builds")
    }

    fn steps(&self) -> PathBuf {
        self.root.join("steps")
    }
}

/// The name of the file that an attempt drops into [`RunFolder::ended`].
#[must_use]
pub fn ended_name(slug: &str, attempt: u32) -> String {
    format!("{slug}.{attempt}")
}

/// Returns the runs of a workspace, the oldest first. A workspace that is not there has none; one that cannot be read may have some.
pub fn all(workspace: &Path) -> Result<Vec<RunFolder>, DriveError> {
    let path = workspace.join("runs");
    let read = || -> std::io::Result<Vec<String>> {
        let entries = match fs_err::read_dir(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let names = entries.map(|entry| Ok(entry?.file_name().into_string().ok()));
        names.filter_map(Result::transpose).collect()
    };
    let mut ids = read().map_err(|source| DriveError::Folder {
        path: path.clone(),
        source,
    })?;
    ids.sort_unstable();
    let folders = ids
        .iter()
        .filter(|id| !id.starts_with('.'))
        .map(|id| RunFolder::existing(workspace, id));
    Ok(folders
        .filter(|folder| folder.request().is_file())
        .collect())
}

/// Returns the names of the steps that did not pass in the latest run that has ended; none if there is no such run.
pub fn not_passed(workspace: &Path) -> Result<BTreeSet<String>, DriveError> {
    let ended = all(workspace)?
        .iter()
        .rev()
        .map(RunFolder::record)
        .find(|record| record.is_file());
    let Some(record) = ended else {
        return Ok(BTreeSet::new());
    };
    let text = foreign::read(&record, foreign::DOCUMENT).map_err(|source| DriveError::Folder {
        path: record.clone(),
        source,
    })?;
    let unreadable = |source| DriveError::Unreadable {
        path: record.clone(),
        source,
    };
    let entry: RunEntry = serde_json::from_slice(&text).map_err(unreadable)?;
    let bad = |step: &&RunStep| !matches!(step.step.status, Status::Passed | Status::Skipped);
    Ok(entry
        .steps
        .iter()
        .filter(bad)
        .map(|step| step.step.name.clone())
        .collect())
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn runs_of_one_second_are_listed_in_the_order_in_which_they_began() {
        let second = DateTime::from_timestamp(1_795_741_202, 0).unwrap_or_default();
        let id = |milliseconds| {
            let now = second + TimeDelta::milliseconds(milliseconds);
            RunFolder::new(Path::new("/w"), now).id().to_owned()
        };
        let ids: Vec<String> = (0..1000).map(id).collect();
        assert!(ids.is_sorted(), "{ids:?}");
        assert!(ids[0].starts_with("20261127T010002Z-000"), "{}", ids[0]);
        assert!(ids[999].starts_with("20261127T010002Z-ffb"), "{}", ids[999]);
    }
}
