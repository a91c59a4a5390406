//! How long libgit2 waits for a server, and how much memory it takes. By itself it waits for ever, and keeps gigabytes of packs mapped.

#![expect(
    unsafe_code,
    reason = "libgit2 keeps these figures in plain global variables"
)]

use std::sync::Once;
use std::time::Duration;

/// Time to reach a server, unless [`limit_waiting`] said otherwise.
const CONNECT: Duration = Duration::from_secs(30);
/// Time that a server may stay silent. git's own servers send something every five seconds while they work.
const SILENCE: Duration = Duration::from_mins(2);

/// The most bytes of objects that it keeps, of packs that it maps, and of one part of a pack.
const CACHE: isize = 32 << 20;
const MAPPED: usize = 128 << 20;
const WINDOW: usize = 16 << 20;

static ONCE: Once = Once::new();

/// Bounds the time to reach a server and the time that one may stay silent, for the whole process. The first call
/// holds, and the first contact with a server counts as one; later calls change nothing.
pub fn limit_waiting(connect: Duration, silence: Duration) {
    ONCE.call_once(|| {
        let connect = i32::try_from(connect.as_millis()).unwrap_or(i32::MAX);
        let silence = i32::try_from(silence.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the variables are written here alone, and `ONCE` makes every thread that talks to a server wait
        // until that is over.
        let set = unsafe {
            git2::opts::set_server_connect_timeout_in_milliseconds(connect)
                .and_then(|()| git2::opts::set_server_timeout_in_milliseconds(silence))
                .and_then(|()| git2::opts::set_cache_max_size(CACHE))
                .and_then(|()| git2::opts::set_mwindow_size(WINDOW))
                .and_then(|()| git2::opts::set_mwindow_mapped_limit(MAPPED))
        };
        if let Err(error) = set {
            tracing::warn!(%error, "libgit2 works without limits");
        }
    });
}

/// Sees to it that limits are set before a server is contacted or a commit is read.
pub(super) fn ensure() {
    limit_waiting(CONNECT, SILENCE);
}
