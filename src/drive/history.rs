//! How long the steps of a project took in earlier runs: a small file in the state folder, which nobody misses when it is gone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::foreign;
use serde::{Deserialize, Serialize};

/// The version of the file.
const VERSION: u32 = 1;
/// Runs that are remembered of each step.
const RUNS: usize = 3;
/// Steps that are remembered of a project; those that did not run for longest are forgotten first.
const STEPS: usize = 20_000;

/// How long steps took.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct History {
    version: u32,
    steps: BTreeMap<String, Times>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Times {
    /// When it last ran, in seconds since the epoch.
    last: i64,
    /// What it took, in seconds; the latest run at the end.
    seconds: Vec<f64>,
}

impl History {
    /// Returns what is known of the project that files know by `key`; nothing if there is no file, or none that can be read.
    #[must_use]
    pub fn read(state: &Path, key: &str) -> Self {
        let read = foreign::read(file(state, key), foreign::DOCUMENT).ok();
        let history = read.and_then(|bytes| serde_json::from_slice::<Self>(&bytes).ok());
        history
            .filter(|history| history.version == VERSION)
            .unwrap_or_default()
    }

    /// Returns how long a step may be expected to take: as long as it did of late, at most.
    #[must_use]
    pub fn expected(&self, step: &str) -> Option<Duration> {
        let seconds = self.steps.get(step)?.seconds.iter().copied();
        let longest = seconds.reduce(f64::max)?;
        Duration::try_from_secs_f64(longest).ok()
    }

    /// Takes in what steps took that ended at `now`, in seconds since the epoch.
    pub fn add(&mut self, now: i64, elapsed: impl IntoIterator<Item = (String, Duration)>) {
        for (step, elapsed) in elapsed {
            let times = self.steps.entry(step).or_default();
            times.last = now;
            times.seconds.push(elapsed.as_secs_f64());
            let old = times.seconds.len().saturating_sub(RUNS);
            times.seconds.drain(..old);
        }
        if self.steps.len() > STEPS {
            let mut last: Vec<i64> = self.steps.values().map(|times| times.last).collect();
            last.sort_unstable();
            let oldest = last[self.steps.len() - STEPS];
            self.steps.retain(|_, times| times.last >= oldest);
        }
    }

    /// Writes the file, whole or not at all. Of two runs that end at once the later one's word stands.
    pub fn write(&self, state: &Path, key: &str) -> std::io::Result<()> {
        let path = file(state, key);
        let folder = path.parent().unwrap_or(state);
        fs_err::create_dir_all(folder)?;
        let written = Self {
            version: VERSION,
            ..self.clone()
        };
        let mut temporary = tempfile::NamedTempFile::new_in(folder)?;
        serde_json::to_writer(&mut temporary, &written)?;
        temporary.persist(&path)?;
        Ok(())
    }
}

/// Returns where a project's file stands.
#[must_use]
pub fn file(state: &Path, key: &str) -> PathBuf {
    state.join("elapsed").join(format!("{key}.json"))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn took(step: &str, seconds: u64) -> [(String, Duration); 1] {
        [(step.to_owned(), Duration::from_secs(seconds))]
    }

    #[test]
    fn the_longest_of_the_latest_runs_is_expected() {
        let dir = tempfile::tempdir().unwrap();
        let mut history = History::read(dir.path(), "my-project-1");
        assert_eq!(history.expected("halo"), None);
        for seconds in [90, 5, 7, 6] {
            history.add(1, took("halo", seconds));
        }
        history.write(dir.path(), "my-project-1").unwrap();
        let read = History::read(dir.path(), "my-project-1");
        assert_eq!(read.expected("halo"), Some(Duration::from_secs(7)));
        assert_eq!(History::read(dir.path(), "other").expected("halo"), None);
    }

    #[test]
    fn a_file_that_makes_no_sense_is_no_history() {
        let dir = tempfile::tempdir().unwrap();
        fs_err::create_dir_all(dir.path().join("elapsed")).unwrap();
        for text in ["", "{", "[]", r#"{"version":9,"steps":{}}"#] {
            fs_err::write(file(dir.path(), "p"), text).unwrap();
            assert_eq!(History::read(dir.path(), "p").expected("halo"), None);
        }
    }

    #[test]
    fn steps_that_are_gone_are_forgotten() {
        let mut history = History::default();
        history.add(1, took("old", 1));
        history.add(2, (0..STEPS).map(|n| (n.to_string(), Duration::ZERO)));
        assert_eq!(history.expected("old"), None);
        assert_eq!(history.steps.len(), STEPS);
    }
}
