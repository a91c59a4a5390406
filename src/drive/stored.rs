//! What another process needs to go on with a run, as it stands in the run folder: request, plan, environment.
//!
//! Secrets are not among it: tokens are named in the settings, and read from where they are kept by whoever needs them.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use camino::Utf8PathBuf;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::folder::RunFolder;
use super::trees::{Credentials, Origin, without_credentials};
use super::{DriveError, Request, Scope, Source, Withheld};
use crate::config::{Coverage, Site};
use crate::foreign;
use crate::git;
use crate::launch::Place;
use crate::plan::{Plan, slug};
use crate::results::benchmark::Baselines;
use crate::results::history::History;

/// The version of `request.json`.
const VERSION: u32 = 1;

/// `request.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stored {
    schema_version: u32,
    /// The run's id.
    pub run: String,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// The version of hpc-ci that began it.
    pub driver_version: String,
    /// How that was called.
    pub command_line: Vec<String>,
    site: Site,
    coverage: Coverage,
    /// Where its trees come from.
    pub origin: Origin,
    workspace: PathBuf,
    state: PathBuf,
    artifacts: PathBuf,
    /// Where its steps run.
    pub place: Place,
    /// The allocation that it was started in.
    pub allocation: Option<String>,
    clean: bool,
    /// Whether only some of the steps were asked for.
    pub filtered: bool,
    /// Which parts of the results it makes.
    pub scope: Scope,
    /// The project's name.
    pub project: String,
    /// The name by which files of the state folder know it; an earlier hpc-ci wrote none.
    #[serde(default)]
    key: Option<String>,
    source: Source,
    ssh_key: Option<PathBuf>,
    again: Vec<String>,
    base: PathBuf,
    withheld: Withheld,
    /// What benchmarks are compared with, if that was asked for.
    baseline: Option<String>,
    merge_base: Option<String>,
}

impl Stored {
    /// Returns what of a request is written down.
    #[must_use]
    pub fn of(request: &Request, folder: &RunFolder, started_at: DateTime<Utc>) -> Self {
        let mut site = request.site.clone();
        let base = Path::new("/");
        site.project.repository = without_credentials(&site.project.repository, base);
        if let Some(branch) = &mut site.publish.results_branch {
            branch.remote = without_credentials(&branch.remote, base);
        }
        Self {
            schema_version: VERSION,
            run: folder.id().to_owned(),
            started_at,
            driver_version: env!("CARGO_PKG_VERSION").to_owned(),
            command_line: request.command_line.clone(),
            site,
            coverage: request.coverage.clone(),
            origin: request.origin.clone().without_credentials(),
            workspace: request.workspace.clone(),
            state: request.state.clone(),
            artifacts: request.artifacts.clone(),
            place: request.place,
            allocation: own_allocation().filter(|_| request.place == Place::Allocation),
            clean: request.clean,
            filtered: request.filtered,
            scope: request.scope,
            project: request.project.clone(),
            key: Some(request.key.clone()),
            source: request.source.clone(),
            ssh_key: request.credentials.ssh_key.clone(),
            again: request.again.clone(),
            base: request.base.clone(),
            withheld: request.withheld,
            baseline: request.baselines.asked.clone(),
            merge_base: request.baselines.merge_base.clone(),
        }
    }

    fn past(&self) -> History {
        // A state folder that is not UTF-8 was refused when the run was planned.
        let state = Utf8PathBuf::from(self.state.to_string_lossy().into_owned());
        History::new(&state, &self.key())
    }

    fn key(&self) -> String {
        let key = self.key.clone();
        key.unwrap_or_else(|| slug(&self.project))
    }

    /// Returns the request again.
    #[must_use]
    pub fn into_request(self, plan: Plan) -> Request {
        let remote = match &self.origin {
            Origin::Commit {
                repository, base, ..
            } => git::Source::open(repository, base)
                .ok()
                .and_then(|source| source.remote().cloned()),
            Origin::InPlace { .. } => None,
        };
        let past = self.past();
        let key = self.key();
        let baselines = Baselines {
            asked: self.baseline,
            accepted: past.accepted().map_or_else(unread, |found| found.lines),
            merge_base: self.merge_base,
            runs: past.runs().map_or_else(unread, |found| found.lines),
        };
        let mut credentials = Credentials::from_environment(remote.as_ref());
        credentials.ssh_key = credentials.ssh_key.or(self.ssh_key);
        Request {
            site: self.site,
            coverage: self.coverage,
            plan,
            origin: self.origin,
            workspace: self.workspace,
            state: self.state,
            artifacts: self.artifacts,
            place: self.place,
            clean: self.clean,
            filtered: self.filtered,
            scope: self.scope,
            project: self.project,
            key,
            baselines,
            past,
            source: self.source,
            credentials,
            again: self.again,
            command_line: self.command_line,
            base: self.base,
            withheld: self.withheld,
        }
    }
}

/// Without its history a run has nothing to compare its benchmarks with, and ends all the same.
fn unread<T>(error: impl std::fmt::Display) -> Vec<T> {
    tracing::warn!(%error, "the history of the project cannot be read");
    Vec::new()
}

/// The allocation that this process runs in.
pub(super) fn own_allocation() -> Option<String> {
    std::env::var("SLURM_JOB_ID").ok()
}

/// Writes plan, environment and request into the run folder; the request comes last, since it makes the folder a run.
pub(super) fn write(
    folder: &RunFolder,
    stored: &Stored,
    plan: &Plan,
    inherited: &[(OsString, OsString)],
) -> Result<(), DriveError> {
    let failed = |source| DriveError::Folder {
        path: folder.root().to_owned(),
        source,
    };
    let plan = serde_json::to_vec_pretty(plan)?;
    let request = serde_json::to_vec_pretty(stored)?;
    put(&folder.plan(), &plan, 0o666).map_err(failed)?;
    put(&folder.environment(), &lines(inherited), 0o600).map_err(failed)?;
    put(&folder.request(), &request, 0o600).map_err(failed)
}

/// Reads the request of a run.
pub fn read(folder: &RunFolder) -> Result<Stored, DriveError> {
    #[derive(Deserialize)]
    struct Versioned {
        schema_version: u32,
    }
    let path = folder.request();
    let text = foreign::read(&path, foreign::DOCUMENT).map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => DriveError::NoRun {
            run: folder.id().to_owned(),
            source,
        },
        _ => DriveError::Request {
            path: path.clone(),
            source,
        },
    })?;
    let unreadable = |source| DriveError::Unreadable {
        path: path.clone(),
        source,
    };
    let Versioned { schema_version } = serde_json::from_slice(&text).map_err(unreadable)?;
    if schema_version > VERSION {
        return Err(DriveError::Newer {
            path,
            version: schema_version,
        });
    }
    serde_json::from_slice(&text).map_err(unreadable)
}

/// Reads the plan of a run.
pub fn plan(folder: &RunFolder) -> Result<Plan, DriveError> {
    let path = folder.plan();
    let text = foreign::read(&path, foreign::DOCUMENT).map_err(|source| DriveError::Folder {
        path: folder.root().to_owned(),
        source,
    })?;
    serde_json::from_slice(&text).map_err(|source| DriveError::Unreadable { path, source })
}

/// Reads the environment that builds, jobs and steps of a run inherit.
pub fn environment(folder: &RunFolder) -> Result<Vec<(OsString, OsString)>, DriveError> {
    let text = foreign::read(folder.environment(), foreign::DOCUMENT).map_err(|source| {
        DriveError::Folder {
            path: folder.root().to_owned(),
            source,
        }
    })?;
    Ok(variables(&text))
}

/// Writes a file, whole or not at all, and waits until it is on disk.
pub(super) fn put(path: &Path, text: &[u8], mode: u32) -> std::io::Result<()> {
    use std::io::Write as _;
    let part = path.with_extension("part");
    let mut file = foreign::create(&part, mode)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs_err::rename(&part, path)
}

fn lines(variables: &[(OsString, OsString)]) -> Vec<u8> {
    let mut text = Vec::new();
    for (name, value) in variables {
        text.extend_from_slice(name.as_bytes());
        text.push(b'=');
        text.extend_from_slice(value.as_bytes());
        text.push(0);
    }
    text
}

fn variables(text: &[u8]) -> Vec<(OsString, OsString)> {
    let pairs = text.split(|byte| *byte == 0).filter_map(|pair| {
        // The name of a variable may begin with `=`, but is not empty.
        let at = pair.iter().skip(1).position(|byte| *byte == b'=')? + 1;
        Some((&pair[..at], &pair[at + 1..]))
    });
    let own = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
    pairs.map(|(name, value)| (own(name), own(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_environment_comes_back_as_it_was() {
        let pairs: Vec<(OsString, OsString)> = [
            ("A", "1"),
            ("EMPTY", ""),
            ("LINES", "a\nb=c"),
            ("BASH_FUNC_module%%", "() { :; }"),
        ]
        .into_iter()
        .map(|(name, value)| (name.into(), value.into()))
        .chain([("RAW".into(), OsString::from_vec(vec![0xff, b'=']))])
        .collect();
        assert_eq!(variables(&lines(&pairs)), pairs);
        assert_eq!(variables(b""), []);
    }
}
