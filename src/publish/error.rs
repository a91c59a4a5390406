//! What keeps artifacts from being published, before any destination is asked.

use std::io;
use std::time::Duration;

use camino::Utf8PathBuf;

use crate::remedy;
use crate::results::store::StoreError;

/// Why artifacts cannot be published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The artifacts cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There are none.
    #[error("no artifacts in `{folder}`")]
    NoArtifacts {
        /// Where they should be.
        folder: Utf8PathBuf,
    },
    /// The artifacts are not those of this run.
    #[error("the artifacts in `{folder}` do not come from run `{run}`{}{}", if known.is_empty() { "" } else { " but from " }, known.join(", "))]
    NoRun {
        /// The run.
        run: String,
        /// The artifacts.
        folder: Utf8PathBuf,
        /// The runs that they come from.
        known: Vec<String>,
    },
    /// No request can be made at all.
    #[error(transparent)]
    Client(super::http::HttpError),
    /// A file is not what it was when it was written.
    #[error("`{path}` is not what `checksums.txt` beside it says")]
    Altered {
        /// The file.
        path: Utf8PathBuf,
    },
    /// What is to be joined belongs to different commits.
    #[error("artifacts of different commits cannot be published as one: {}", commits.join(", "))]
    SeveralCommits {
        /// The commits.
        commits: Vec<String>,
    },
    /// The commit's name goes into addresses, and is none.
    #[error("`{commit}` is not the full name of a commit")]
    NoCommit {
        /// What stands in the artifacts.
        commit: String,
    },
    /// Another process has the outbox.
    #[error("another hpc-ci is still publishing from `{outbox}` after {} s", patience.as_secs())]
    Busy {
        /// The outbox.
        outbox: Utf8PathBuf,
        /// How long we waited.
        patience: Duration,
    },
    /// A document of the outbox cannot be understood.
    #[error("cannot read `{path}`")]
    Unreadable {
        /// The document.
        path: Utf8PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A document cannot be written as JSON.
    #[error("a document cannot be written as JSON")]
    Encode(#[source] serde_json::Error),
    /// The file system refused. The message names the file.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl PublishError {
    /// Returns what to do about it, where that can be said.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Store(error) => error.help(),
            Self::NoArtifacts { .. } => Some(
                "`--artifacts DIR` names the folder that holds `meta.json`, or the one above it"
                    .to_owned(),
            ),
            Self::NoRun { .. } => Some(
                "later runs replaced its artifacts; a copy of them is named by `--artifacts DIR`"
                    .to_owned(),
            ),
            Self::Altered { .. } => {
                Some("hand over the whole folder, as the run left it".to_owned())
            }
            Self::Io(error) => remedy::of_named(error),
            Self::SeveralCommits { .. } => Some("publish each commit by itself".to_owned()),
            _ => None,
        }
    }
}
