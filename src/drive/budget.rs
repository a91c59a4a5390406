//! What must be there before anything is submitted: room for what a run leaves on the workspace's storage.

use std::path::Path;

use nix::sys::statvfs::statvfs;

use crate::config::{Limits, Memory};

/// Returns why nothing is to be submitted, if the storage has less room than the site asks for.
///
/// Storage that does not say how much room it has is taken as it is.
pub(super) fn shortage(limits: &Limits, workspace: &Path) -> Option<String> {
    let room = statvfs(workspace).ok()?;
    let bytes = room.blocks_available().saturating_mul(room.fragment_size());
    let files = (room.files() > 0).then(|| room.files_available());
    short_of(limits, bytes, files)
        .map(|what| format!("{what}, below `{}`; make room there", workspace.display()))
}

fn short_of(limits: &Limits, bytes: u64, files: Option<u64>) -> Option<String> {
    if let Some(least) = limits.min_free.filter(|least| bytes < least.bytes()) {
        let free = Memory::from_bytes(bytes >> 20 << 20);
        return Some(format!(
            "{free} are free, where `min_free` of [scheduler.limits] is {least}"
        ));
    }
    let files = files?;
    let least = limits
        .min_free_files
        .filter(|least| files < u64::from(*least))?;
    Some(format!(
        "room for {files} files is left, where `min_free_files` of [scheduler.limits] is {least}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_files_are_held_against_the_limits() {
        let limits = Limits {
            min_free: Some(Memory::from_bytes(1 << 30)),
            min_free_files: Some(1000),
            ..Limits::default()
        };
        let check = |bytes, files, expected: Option<&str>| {
            assert_eq!(short_of(&limits, bytes, files).as_deref(), expected);
        };
        check(1 << 30, Some(1000), None);
        check(1 << 30, None, None);
        let bytes = "512MiB are free, where `min_free` of [scheduler.limits] is 1GiB";
        check((512 << 20) + 7, Some(1000), Some(bytes));
        let files =
            "room for 999 files is left, where `min_free_files` of [scheduler.limits] is 1000";
        check(1 << 40, Some(999), Some(files));
        assert_eq!(short_of(&Limits::default(), 0, Some(0)), None);
    }
}
