//! What git needs from its caller: where mirrors are kept, what opens doors, who watches, who may interrupt.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::location::{Location, Remote, Secret};

/// How remote repositories are reached, and who is told about it.
pub struct Access<'a> {
    /// The directory of the mirrors.
    pub mirrors: PathBuf,
    /// The ssh key to use; without one, the agent and the usual files in `~/.ssh`.
    pub ssh_key: Option<PathBuf>,
    /// A token for web addresses on one host.
    pub token: Option<Token>,
    /// How long to wait for another process that is at the same mirror.
    pub lock_wait: Duration,
    /// Is told how things go on.
    pub progress: &'a dyn Fn(Progress<'_>),
    /// Is asked, often, whether to stop.
    pub cancelled: &'a dyn Fn() -> bool,
}

impl Access<'static> {
    /// Returns an access without a token or a key of its own, which nobody watches or interrupts.
    #[must_use]
    pub fn new(mirrors: impl Into<PathBuf>) -> Self {
        Self {
            mirrors: mirrors.into(),
            ssh_key: None,
            token: None,
            lock_wait: Duration::from_mins(15),
            progress: &|_| {},
            cancelled: &|| false,
        }
    }
}

/// A token, tied to the host that it is for: it is shown to no other.
#[derive(Debug, Clone)]
pub struct Token {
    secret: Secret,
    place: Remote,
}

impl Token {
    /// Ties a token to the host of `place`; `None` if that is not a web address, where tokens mean nothing.
    #[must_use]
    pub fn new(secret: Secret, place: &Location) -> Option<Self> {
        let place = place.remote().filter(|remote| remote.is_web())?.clone();
        Some(Self { secret, place })
    }

    /// Returns the token if `place` is on its host.
    pub(super) fn reveal_to(&self, place: &Remote) -> Option<&str> {
        self.place
            .same_authority(place)
            .then(|| self.secret.expose())
    }

    pub(super) fn expose(&self) -> &str {
        self.secret.expose()
    }
}

/// What git is doing.
#[derive(Debug, Clone, Copy)]
pub enum Progress<'a> {
    /// Another process is at the mirror; we wait.
    Waiting {
        /// The lock file.
        lock: &'a Path,
    },
    /// A server is being contacted.
    Contacting {
        /// Its address; shown, it hides credentials.
        place: &'a Remote,
    },
    /// The server says something.
    Said {
        /// A line of it.
        text: &'a str,
    },
    /// Objects are arriving.
    Receiving {
        /// Objects received.
        received: usize,
        /// Objects to come in all.
        total: usize,
        /// Bytes received.
        bytes: usize,
    },
    /// Received objects are put together.
    Resolving {
        /// Deltas resolved.
        done: usize,
        /// Deltas in all.
        total: usize,
    },
    /// A mirror was found damaged and is made anew.
    Remaking {
        /// The mirror.
        mirror: &'a Path,
        /// What was wrong.
        reason: &'a str,
    },
    /// Files are being written.
    Writing {
        /// Files done.
        done: usize,
        /// Files in all.
        total: usize,
    },
    /// A submodule comes next.
    Submodule {
        /// Its path.
        path: &'a Path,
    },
}
