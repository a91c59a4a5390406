//! The record that a job's script leaves when its program has ended: the first of the two witnesses of success.
//!
//! The script writes it as JSON under a temporary name and renames it, so it is there whole or not at all.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What a job's script writes, as JSON under a temporary name that is then renamed, when its program has ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExitRecord {
    /// The version of this format: 1.
    pub schema_version: u32,
    /// The exit code of the launcher, or of the program where there is none.
    pub exit_code: i32,
    /// The script stopped the program because its time was up.
    #[serde(default)]
    pub timed_out: bool,
    /// Why the program could not be started.
    #[serde(default)]
    pub launch_error: Option<String>,
    /// When the program started, in seconds since the epoch.
    pub started: f64,
    /// When it ended, in seconds since the epoch.
    pub ended: f64,
    /// The job, by the name that the script knows.
    #[serde(default)]
    pub job_id: Option<String>,
    /// How often the scheduler had started this job before.
    #[serde(default)]
    pub restart_count: u32,
    /// The nodes of the job, in the scheduler's short form.
    #[serde(default)]
    pub nodes: Option<String>,
    /// How many ranks were asked for.
    pub ranks_expected: u32,
    /// Which part around the program failed, if one did: `before`, `after`.
    #[serde(default)]
    pub failed_part: Option<String>,
    /// How often the ranks were started, each under a wrapper that leaves a note: 0 where the command starts MPI by itself.
    pub launches: u32,
    /// By what the launcher tells ranks of each other: `openmpi` and `mpich` for the `mpiexec` of these, the word of `srun --mpi`
    /// otherwise; empty where that is not known.
    #[serde(default)]
    pub process_manager: String,
    /// How each rank fared that began, by its own note; those of one launch after those of the one before it.
    #[serde(default)]
    pub ranks: Vec<RankExit>,
    /// What was seen of the launches of a command that starts MPI by itself.
    #[serde(skip)]
    pub harness: Harness,
}

/// The launches of a command that starts MPI by itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Harness {
    /// Those with our wrapper between launcher and program.
    pub launches: Vec<Launched>,
    /// How many had options that were not understood, so that their ranks are unknown.
    pub unknown: u32,
    /// How many processes started MPI past the wrapper.
    pub beside: u32,
}

/// One of these launches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Launched {
    /// How many ranks it asked for, where it said so.
    pub ranks: Option<u32>,
    /// The sizes of the worlds that its ranks saw.
    pub sizes: Vec<u32>,
}

/// An exit record that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the exit record cannot be read")]
pub struct InvalidExitRecord(#[from] serde_json::Error);

impl ExitRecord {
    /// Returns the record in the bytes of its file; keys that we do not know are left alone.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidExitRecord> {
        Ok(serde_json::from_slice(bytes)?)
    }

    /// Returns the ranks of which some launch has left no note that they ended. Success is not believed before each has one; notes may
    /// be late on a network file system.
    #[must_use]
    pub fn unheard(&self) -> Vec<u32> {
        if self.launches == 0 {
            return Vec::new();
        }
        let expected = self.ranks_expected;
        let mut ends = BTreeMap::<Option<u32>, u32>::new();
        for rank in self.ranks.iter().filter(|rank| rank.exit_code.is_some()) {
            *ends.entry(rank.rank).or_default() += 1;
        }
        let heard = |rank: &u32| ends.get(&Some(*rank)).copied().unwrap_or(0) >= self.launches;
        // A launcher that numbers no rank leaves notes that can be counted, and not told apart.
        let unnumbered = ends.get(&None).copied().unwrap_or(0);
        if unnumbered > 0 && unnumbered >= expected.saturating_mul(self.launches) {
            return Vec::new();
        }
        (0..expected).filter(|rank| !heard(rank)).collect()
    }

    /// Returns the size of the world that MPI told the ranks.
    #[must_use]
    pub fn world(&self) -> Option<u32> {
        self.ranks.iter().filter_map(|rank| rank.size).max()
    }

    /// Returns whether all is there that can be waited for.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.exit_code != 0 || self.launch_error.is_some() || self.unheard().is_empty()
    }
}

/// How one rank fared.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RankExit {
    /// Its number; `None` where the launcher told none.
    pub rank: Option<u32>,
    /// Its exit code, 128 + n for signal n; `None` if it never came to say.
    pub exit_code: Option<i32>,
    /// Its node.
    #[serde(default)]
    pub host: Option<String>,
    /// The size of the world that MPI told its processes; where they saw several, that of the step, or else the largest.
    #[serde(default)]
    pub size: Option<u32>,
    /// Which MPI its processes started, where that did not tell the size of its world.
    #[serde(default)]
    pub family: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_records_that_are_cut_short_are_errors() {
        for text in [
            "",
            "{",
            r#"{"schema_version":1,"exit_code":"#,
            "null",
            "[]",
            r#"{"exit_code":0}"#,
        ] {
            assert!(ExitRecord::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
