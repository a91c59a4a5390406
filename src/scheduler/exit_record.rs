//! The record that a job's script leaves when its program has ended: the first of the two witnesses of success.
//!
//! The script writes it as JSON under a temporary name and renames it, so it is there whole or not at all.

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
    #[serde(default)]
    pub ranks_expected: Option<u32>,
    /// Which part around the program failed, if one did: `before`, `after`.
    #[serde(default)]
    pub failed_part: Option<String>,
    /// How each rank ended that lived to tell.
    #[serde(default)]
    pub ranks: Vec<RankExit>,
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
}

/// How one rank ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RankExit {
    /// Its number.
    pub rank: u32,
    /// Its exit code, 128 + n for signal n.
    pub exit_code: i32,
    /// Its node.
    #[serde(default)]
    pub host: Option<String>,
    /// How many ranks it believed there to be.
    #[serde(default)]
    pub size: Option<u32>,
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
