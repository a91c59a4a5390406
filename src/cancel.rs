//! Signals to cancellation: the first SIGINT, SIGTERM or SIGHUP asks everything to stop in good order, the second leaves at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The request to stop, shared by everything that waits.
#[derive(Debug, Clone, Default)]
pub struct Cancel {
    token: CancellationToken,
    signal: Arc<AtomicI32>,
}

impl Cancel {
    /// Returns the token that is cancelled by the first signal.
    #[must_use]
    pub fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// Returns whether a stop was asked for.
    #[must_use]
    pub fn asked(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Returns the number of the signal that asked for the stop.
    #[must_use]
    pub fn signal(&self) -> Option<i32> {
        match self.signal.load(Ordering::Relaxed) {
            0 => None,
            number => Some(number),
        }
    }

    /// Asks for the stop, as a signal of this number would.
    pub fn ask(&self, number: i32) {
        self.signal.store(number, Ordering::Relaxed);
        self.token.cancel();
    }
}

/// Starts to listen for signals and returns what they will cancel.
pub fn watch() -> std::io::Result<Cancel> {
    let cancel = Cancel::default();
    for kind in [
        SignalKind::interrupt(),
        SignalKind::terminate(),
        SignalKind::hangup(),
    ] {
        let mut stream = signal(kind)?;
        let cancel = cancel.clone();
        tokio::spawn(async move {
            while stream.recv().await.is_some() {
                if cancel.asked() {
                    std::process::exit(128 + kind.as_raw_value());
                }
                cancel.ask(kind.as_raw_value());
            }
        });
    }
    Ok(cancel)
}
