//! The folders that a run writes to.

use std::path::{Path, PathBuf};

use nix::sys::statfs::{self, FsType};
use tokio::task::spawn_blocking;

use super::DEADLINE;
use crate::doctor::facts::{FolderFacts, Subject};
use crate::owner;

/// What the kernel calls the file systems that matter here.
const FILESYSTEMS: &[(FsType, &str)] = &[
    (statfs::TMPFS_MAGIC, "tmpfs"),
    (statfs::NFS_SUPER_MAGIC, "nfs"),
    (statfs::EXT4_SUPER_MAGIC, "ext4"),
    (statfs::XFS_SUPER_MAGIC, "xfs"),
    (statfs::BTRFS_SUPER_MAGIC, "btrfs"),
    (statfs::OVERLAYFS_SUPER_MAGIC, "overlay"),
    (statfs::FUSE_SUPER_MAGIC, "fuse"),
    // From the headers of Lustre and Spectrum Scale, and Linux' magic.h.
    (FsType(0x0bd0_0bd0), "lustre"),
    (FsType(0x4750_4653), "gpfs"),
    (FsType(0x1983_0326), "beegfs"),
    (FsType(0x00c3_6400), "ceph"),
];

pub(super) async fn look(subject: &Subject) -> Vec<FolderFacts> {
    let mut folders = Vec::new();
    for folder in &subject.folders {
        let (path, inner) = (folder.path.clone(), folder.inner.unwrap_or_default());
        let looked = spawn_blocking(move || FolderFacts {
            exposed: owner::check_folder(&path, inner).err(),
            ..writable(&path)
        });
        // A server of files that is gone blocks whoever asks, for ever.
        folders.push(match tokio::time::timeout(DEADLINE, looked).await {
            Ok(Ok(facts)) => facts,
            Ok(Err(_)) | Err(_) => FolderFacts {
                refused: Some(format!("no answer within {} s", DEADLINE.as_secs())),
                ..FolderFacts::default()
            },
        });
    }
    folders
}

fn writable(path: &Path) -> FolderFacts {
    let there = existing(path);
    let written = tempfile::Builder::new()
        .prefix(".hpc-ci-doctor-")
        .tempfile_in(&there)
        .and_then(|file| fs_err::write(file.path(), "hpc-ci"));
    let space = nix::sys::statvfs::statvfs(&there).ok();
    FolderFacts {
        // Not the whole error: it names our own file.
        refused: written.err().map(|error| error.kind().to_string()),
        filesystem: statfs::statfs(&there).ok().and_then(|stat| {
            let kind = stat.filesystem_type();
            let found = FILESYSTEMS.iter().find(|(magic, _)| *magic == kind);
            found.map(|(_, name)| *name)
        }),
        free: space.as_ref().map(|space| {
            space
                .blocks_available()
                .saturating_mul(space.fragment_size())
        }),
        inodes: space
            .filter(|space| space.files() > 0)
            .map(|space| space.files_available()),
        ..FolderFacts::default()
    }
}

/// The folder, or the nearest one above it that is there: that is where it would be made.
pub(super) fn existing(path: &Path) -> PathBuf {
    let there = path.ancestors().find(|dir| dir.exists());
    there.unwrap_or(path).to_owned()
}
