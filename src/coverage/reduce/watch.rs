//! Looking at profiles while they are added.

use std::sync::Arc;

use super::super::profile::Shape;

/// Looks at the counters of each profile that is added, in the thread that adds them.
///
/// Every thread takes files in batches of consecutive numbers, so that what neighbours have in common need be worked
/// out once.
pub trait Watch: Sync {
    /// What a thread keeps.
    type Worker;

    /// Returns how many files a batch has at most.
    fn batch(&self) -> usize;

    /// Returns what a thread begins with.
    fn worker(&self) -> Self::Worker;

    /// Looks at a profile of the file with this number. A file with several profiles is seen several times.
    fn see(&self, worker: &mut Self::Worker, file: usize, shape: &Arc<Shape>, counters: &[u8]);

    /// Ends a batch.
    fn end_batch(&self, worker: &mut Self::Worker);

    /// Forgets what was seen, because all files are looked at again.
    fn restart(&self);
}

/// Looks at nothing.
impl Watch for () {
    type Worker = ();

    fn batch(&self) -> usize {
        1
    }

    fn worker(&self) {}

    fn see(&self, (): &mut (), _: usize, _: &Arc<Shape>, _: &[u8]) {}

    fn end_batch(&self, (): &mut ()) {}

    fn restart(&self) {}
}
