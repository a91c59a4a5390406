//! Git LFS: libgit2 writes its pointers as files; a build would take them for the content.
//!
//! Format: <https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md>.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// A pointer is shorter than this, by its specification.
const MAX_POINTER: u32 = 1024;
const MAGIC: &[u8] = b"version https://git-lfs.github.com/spec/";

/// Returns the files of a fresh tree that are pointers. Only trees whose `.gitattributes` speak of LFS are looked at
/// closely.
pub(super) fn pointers(git: &git2::Repository) -> Result<Vec<PathBuf>, git2::Error> {
    let index = git.index()?;
    let contains = |id, part: &[u8]| {
        let blob = git.find_blob(id);
        blob.is_ok_and(|blob| {
            blob.content()
                .windows(part.len())
                .any(|bytes| bytes == part)
        })
    };
    let is_attributes =
        |path: &[u8]| path == b".gitattributes" || path.ends_with(b"/.gitattributes");
    let used = index
        .iter()
        .any(|entry| is_attributes(&entry.path) && contains(entry.id, b"filter=lfs"));
    if !used {
        return Ok(Vec::new());
    }
    let is_pointer = |entry: &git2::IndexEntry| {
        entry.file_size < MAX_POINTER
            && git
                .find_blob(entry.id)
                .is_ok_and(|blob| blob.content().starts_with(MAGIC))
    };
    Ok(index
        .iter()
        .filter(is_pointer)
        .map(|entry| PathBuf::from(OsStr::from_bytes(&entry.path)))
        .collect())
}
