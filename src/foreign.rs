//! The one way to open files that something else can write or replace: a step, a build, another process of the user, a file server.
//!
//! Such a file may have become a FIFO, on which an open waits for ever, a link to a device that never ends, or larger than memory.
//! So no link is followed, only regular files are opened, without waiting, and no more is read than a limit that the caller knows.

use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use fs_err::os::unix::fs::OpenOptionsExt as _;

/// The most bytes of a note of a few lines.
pub const NOTE: u64 = 64 << 10;
/// The most bytes of a record, as scripts and nodes leave them.
pub const RECORD: u64 = 16 << 20;
/// The most bytes of a document of ours: plans of ten thousand steps, journals, results.
pub const DOCUMENT: u64 = 256 << 20;
/// The most names in a folder that are read.
pub const MOST_NAMES: usize = 4_000_000;

/// Why a file was not read.
#[derive(Debug, thiserror::Error)]
pub enum ForeignError {
    /// It is something else than a regular file.
    #[error("`{}` is {what}, and no regular file; remove it", path.display())]
    Kind {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// It is larger than such a file may be.
    #[error("`{}` has more than {limit} bytes, the most that is read of such a file", path.display())]
    Size {
        /// The file.
        path: PathBuf,
        /// The limit.
        limit: u64,
    },
}

impl From<ForeignError> for io::Error {
    fn from(error: ForeignError) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

/// Opens a regular file for reading; anything else, a link included, is an error.
pub fn open(path: impl AsRef<Path>) -> io::Result<fs_err::File> {
    let path = path.as_ref();
    // Looked at first, since to open a device may do something.
    check(path, &fs_err::symlink_metadata(path)?)?;
    let flags =
        rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
    let file = fs_err::OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)?;
    check(path, &file.metadata()?)?;
    Ok(file)
}

/// Returns the bytes of a regular file of at most this size.
pub fn read(path: impl AsRef<Path>, limit: u64) -> io::Result<Vec<u8>> {
    let path = path.as_ref();
    let file = open(path)?;
    let size = file.metadata()?.len();
    let too_large = || ForeignError::Size {
        path: path.to_owned(),
        limit,
    };
    if size > limit {
        return Err(too_large().into());
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
    // It may grow meanwhile.
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(too_large().into());
    }
    Ok(bytes)
}

/// Returns the last bytes of a regular file, this many at most.
pub fn read_end(path: impl AsRef<Path>, most: u64) -> io::Result<Vec<u8>> {
    let mut file = open(path)?;
    let size = file.metadata()?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(most)))?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Returns the text of a regular file of at most this size.
pub fn read_to_string(path: impl AsRef<Path>, limit: u64) -> io::Result<String> {
    let path = path.as_ref();
    String::from_utf8(read(path, limit)?).map_err(|_| {
        let text = format!("`{}` is not UTF-8", path.display());
        io::Error::new(io::ErrorKind::InvalidData, text)
    })
}

/// Returns the names in a folder; none if it is not there, or is a link. Reading it also makes a network file system refresh what it
/// knows of it.
#[must_use]
pub fn names(dir: &Path) -> Vec<String> {
    let is_folder = std::fs::symlink_metadata(dir).is_ok_and(|it| it.is_dir());
    let entries = is_folder.then(|| std::fs::read_dir(dir).ok()).flatten();
    let names = entries.into_iter().flatten().take(MOST_NAMES);
    names
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect()
}

fn check(path: &Path, it: &std::fs::Metadata) -> Result<(), ForeignError> {
    use std::os::unix::fs::FileTypeExt as _;
    let kind = it.file_type();
    if kind.is_file() {
        return Ok(());
    }
    let what = if kind.is_symlink() {
        "a link"
    } else if kind.is_dir() {
        "a folder"
    } else if kind.is_fifo() {
        "a FIFO"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    };
    Err(ForeignError::Kind {
        path: path.to_owned(),
        what,
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    /// None of these waits, follows, or takes more than the limit.
    #[test]
    fn only_regular_files_within_the_limit_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("plain"), "12345").unwrap();
        std::os::unix::fs::symlink(at("plain"), at("link")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", at("zero")).unwrap();
        std::fs::create_dir(at("folder")).unwrap();
        nix::unistd::mkfifo(&at("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        let sparse = std::fs::File::create(at("sparse")).unwrap();
        sparse.set_len(3 << 30).unwrap();
        for (name, what) in [
            ("link", "a link"),
            ("zero", "a link"),
            ("folder", "a folder"),
            ("fifo", "a FIFO"),
            ("socket", "a socket"),
            ("sparse", "more than 65536 bytes"),
        ] {
            let error = read(at(name), NOTE).unwrap_err();
            assert!(error.to_string().contains(what), "{name}: {error}");
        }
        assert!(
            read("/dev/zero", NOTE)
                .unwrap_err()
                .to_string()
                .contains("a device")
        );
        let absent = read(at("absent"), NOTE).unwrap_err();
        assert_eq!(absent.kind(), io::ErrorKind::NotFound);
        assert_eq!(read(at("plain"), 5).unwrap(), b"12345");
        assert_eq!(read_end(at("plain"), 2).unwrap(), b"45");
        assert_eq!(read_end(at("sparse"), 2).unwrap(), b"\0\0");
        assert!(read_end(at("fifo"), 2).is_err());
        assert!(read(at("plain"), 4).is_err());
        std::os::unix::fs::symlink(dir.path(), at("to-folder")).unwrap();
        assert_eq!(names(&at("to-folder")), Vec::<String>::new());
        assert_eq!(names(dir.path()).len(), 8);
    }
}
