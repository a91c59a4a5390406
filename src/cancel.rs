//! Signals to cancellation: the first SIGINT or SIGTERM asks everything to stop in good order, the second leaves at once.
//!
//! SIGHUP is left as it came: a connection that is lost ends the driver and no run, and under `nohup` not even the driver.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::{CancellationToken, DropGuard};

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

/// Whether a signal asked this process to stop.
static ASKED: AtomicBool = AtomicBool::new(false);

/// Returns whether a signal asked this process to stop: for searches deep below whoever holds the [`Cancel`].
#[must_use]
pub fn is_asked() -> bool {
    ASKED.load(Ordering::Relaxed)
}

/// Leaves at the first signal for as long as it lives.
#[derive(Debug)]
pub struct Leaving {
    _over: DropGuard,
}

impl Cancel {
    /// Lets the first signal end the process while the result lives: for work that waits for nobody, such as what a library does
    /// with a large input, and that leaves nothing half done. `why` is said then.
    #[must_use]
    pub fn leave_at_once(&self, why: &'static str) -> Leaving {
        let over = CancellationToken::new();
        let (token, signal, ended) = (self.token.clone(), Arc::clone(&self.signal), over.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = ended.cancelled() => {}
                () = token.cancelled() => {
                    // The console waits for what is left undone.
                    writeln!(std::io::stderr(), "{why}").ok();
                    std::process::exit(128 + signal.load(Ordering::Relaxed));
                }
            }
        });
        Leaving {
            _over: over.drop_guard(),
        }
    }
}

/// Signals this close to the first one are the same wish: `timeout` signals its child, then the child's whole group.
const TOGETHER: Duration = Duration::from_millis(500);

/// Starts to listen for signals and returns what they will cancel.
pub fn watch() -> std::io::Result<Cancel> {
    let cancel = Cancel::default();
    let mut interrupts = signal(SignalKind::interrupt())?;
    let mut terminations = signal(SignalKind::terminate())?;
    let shared = cancel.clone();
    tokio::spawn(async move {
        let mut first: Option<Instant> = None;
        loop {
            let kind = tokio::select! {
                Some(()) = interrupts.recv() => SignalKind::interrupt(),
                Some(()) = terminations.recv() => SignalKind::terminate(),
                else => return,
            };
            let number = kind.as_raw_value();
            ASKED.store(true, Ordering::Relaxed);
            match first {
                Some(first) if first.elapsed() < TOGETHER => {}
                None if !shared.asked() => {
                    shared.ask(number);
                    first = Some(Instant::now());
                }
                _ => std::process::exit(128 + number),
            }
        }
    });
    Ok(cancel)
}
