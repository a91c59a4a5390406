//! The one way to open files that something else can write or replace: a step, a build, another process of the user, a file server.
//!
//! Such a file may have become a FIFO, on which an open waits for ever, a link to a device that never ends, or larger than memory.
//! So no link is followed, only regular files are opened, without waiting, and no more is read than a limit that the caller knows.

use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fs_err::os::unix::fs::OpenOptionsExt as _;

/// The most bytes of a note of a few lines.
pub const NOTE: u64 = 64 << 10;
/// The most bytes of a record, as scripts and nodes leave them.
pub const RECORD: u64 = 16 << 20;
/// The most bytes of a document of ours: plans of ten thousand steps, journals, results.
pub const DOCUMENT: u64 = 256 << 20;
/// The most bytes of an artifact, such as the tracefile of a large code.
pub const ARTIFACT: u64 = 1 << 30;
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
    read_only(path, rustix::fs::OFlags::NOFOLLOW)
        .map_err(|error| explained(path, &std::fs::symlink_metadata(path), error))
}

/// Opens a regular file for reading; links are followed. For what a configuration names, such as a library by its short name.
pub fn open_linked(path: impl AsRef<Path>) -> io::Result<fs_err::File> {
    let path = path.as_ref();
    read_only(path, rustix::fs::OFlags::empty())
        .map_err(|error| explained(path, &std::fs::metadata(path), error))
}

/// One look is enough where all is well: there are thousands of profiles, and each look asks a file server.
fn read_only(path: &Path, flags: rustix::fs::OFlags) -> io::Result<fs_err::File> {
    let flags = flags | rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
    let file = fs_err::OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)?;
    check(path, &file.metadata()?)?;
    Ok(file)
}

/// Says what stands there, where that is why it cannot be opened: a link that is not followed, a socket.
fn explained(path: &Path, there: &io::Result<std::fs::Metadata>, error: io::Error) -> io::Error {
    match there {
        Ok(there) => check(path, there).map_or_else(io::Error::from, |()| error),
        Err(_) => error,
    }
}

/// Opens a regular file for adding to its end, made if it is not there; anything else, a link included, is an error.
pub fn append(path: impl AsRef<Path>) -> io::Result<fs_err::File> {
    write(
        path.as_ref(),
        fs_err::OpenOptions::new().read(true).append(true),
    )
}

/// Opens a regular file for writing it anew, made with this mode if it is not there; anything else, a link included, is an error.
pub fn create(path: impl AsRef<Path>, mode: u32) -> io::Result<fs_err::File> {
    let mut options = fs_err::OpenOptions::new();
    write(path.as_ref(), options.write(true).truncate(true).mode(mode))
}

/// Writes a file anew, with the usual mode; what stands there and is no regular file is an error.
pub fn put(path: impl AsRef<Path>, content: impl AsRef<[u8]>) -> io::Result<()> {
    create(path, 0o666)?.write_all(content.as_ref())
}

fn write(path: &Path, options: &mut fs_err::OpenOptions) -> io::Result<fs_err::File> {
    let flags =
        rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
    let file = options
        .create(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
        .map_err(|error| explained(path, &std::fs::symlink_metadata(path), error))?;
    check(path, &file.metadata()?)?;
    Ok(file)
}

/// Opens what a person named on the command line: links are followed, and pipes are read, which may have to be waited for.
pub fn open_named(path: impl AsRef<Path>) -> io::Result<fs_err::File> {
    let path = path.as_ref();
    let file = fs_err::File::open(path)?;
    if file.metadata()?.is_dir() {
        check(path, &file.metadata()?)?;
    }
    Ok(file)
}

/// Opens what a person named, to be read at any place: of a pipe a copy is made, of at most so many bytes.
pub fn open_copied(path: impl AsRef<Path>, limit: u64) -> io::Result<std::fs::File> {
    let path = path.as_ref();
    let file = open_named(path)?;
    if file.metadata()?.is_file() {
        return Ok(file.into_file());
    }
    let mut copy = tempfile::tempfile()?;
    if io::copy(&mut file.take(limit.saturating_add(1)), &mut copy)? > limit {
        let path = path.to_owned();
        return Err(ForeignError::Size { path, limit }.into());
    }
    Ok(copy)
}

/// Returns how many bytes of a part of a file are there, and not in holes, of which no disk holds anything.
pub fn held(file: &std::fs::File, part: std::ops::Range<u64>) -> io::Result<u64> {
    use std::os::unix::fs::MetadataExt as _;
    let it = file.metadata()?;
    let end = part.end.min(it.len());
    if it.blocks().saturating_mul(512) >= it.len() {
        return Ok(end.saturating_sub(part.start));
    }
    // Blocks may be few because they are packed, or not written yet.
    let (mut held, mut at) = (0, part.start);
    while let Some(start) = next_data(file, at)?.filter(|&start| start < end) {
        at = match rustix::fs::seek(file, rustix::fs::SeekFrom::Hole(start)) {
            Ok(hole) if hole > start => hole.min(end),
            _ => end,
        };
        held += at - start;
    }
    Ok(held)
}

/// Returns where, from this place on, a file has bytes that are in no hole.
pub fn next_data(file: &std::fs::File, from: u64) -> io::Result<Option<u64>> {
    match rustix::fs::seek(file, rustix::fs::SeekFrom::Data(from)) {
        Ok(at) => Ok(Some(at)),
        Err(rustix::io::Errno::NXIO) => Ok(None),
        // Such a file system knows of no holes.
        Err(_) => Ok((from < file.metadata()?.len()).then_some(from)),
    }
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
    in_utf8(path, read(path, limit)?)
}

/// The same for what a configuration names: links are followed.
pub fn read_linked(path: impl AsRef<Path>, limit: u64) -> io::Result<String> {
    text(open_linked(path)?, limit)
}

/// Returns the text of an open file of at most this size.
pub fn text(file: fs_err::File, limit: u64) -> io::Result<String> {
    let path = file.path().to_owned();
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(ForeignError::Size { path, limit }.into());
    }
    in_utf8(&path, bytes)
}

/// Removes what stands there and is no regular file: for files of ours that hold nothing to be kept, such as locks.
pub fn clear(path: impl AsRef<Path>) -> io::Result<()> {
    let path = path.as_ref();
    match fs_err::symlink_metadata(path) {
        Ok(it) if it.is_dir() => fs_err::remove_dir_all(path),
        Ok(it) if !it.is_file() => fs_err::remove_file(path),
        _ => Ok(()),
    }
}

/// Returns whether a file was refused for what it is: no regular file, or too large.
#[must_use]
pub fn is_refusal(error: &io::Error) -> bool {
    refusal(error).is_some()
}

/// Returns whether something else than a regular file stands there.
#[must_use]
pub fn is_no_file(error: &io::Error) -> bool {
    matches!(refusal(error), Some(ForeignError::Kind { .. }))
}

fn refusal(error: &io::Error) -> Option<&ForeignError> {
    error.get_ref().and_then(|it| it.downcast_ref())
}

fn in_utf8(path: &Path, bytes: Vec<u8>) -> io::Result<String> {
    String::from_utf8(bytes).map_err(|_| {
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

/// The most files and folders that one search looks at: what is larger is no work tree.
pub const MOST_ENTRIES: usize = 4_000_000;
/// The longest that one search takes.
pub const LONGEST_SEARCH: Duration = Duration::from_mins(5);

/// How much of the folders that others write a search may look at, by all threads that take part.
#[derive(Debug)]
pub struct Search {
    left: AtomicUsize,
    most: usize,
    until: Instant,
    cut: OnceLock<Cut>,
}

/// Why a search ended before it had seen everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Cut {
    /// There is more than a search looks at.
    #[error("it holds more than {0} files and folders, the most that are looked at")]
    Entries(usize),
    /// It took too long.
    #[error("to look through it takes more than {} seconds, the most that is waited for", LONGEST_SEARCH.as_secs())]
    Time,
    /// A signal asked for the end.
    #[error("a signal ended the search")]
    Signal,
}

impl Default for Search {
    fn default() -> Self {
        Self::of(MOST_ENTRIES)
    }
}

impl Search {
    /// Returns a search that looks at so many files and folders at most.
    #[must_use]
    pub fn of(most: usize) -> Self {
        Self {
            left: AtomicUsize::new(most),
            most,
            until: Instant::now() + LONGEST_SEARCH,
            cut: OnceLock::new(),
        }
    }

    /// Returns whether one more file or folder may be looked at.
    pub fn goes_on(&self) -> bool {
        /// The clock is looked at this often.
        const LOOK: usize = 64;
        if self.cut.get().is_some() {
            return false;
        }
        let take = |left: usize| left.checked_sub(1);
        let left = self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        let cut = match left {
            Err(_) => Cut::Entries(self.most),
            Ok(left) if !left.is_multiple_of(LOOK) => return true,
            Ok(_) if crate::cancel::is_asked() => Cut::Signal,
            Ok(_) if Instant::now() >= self.until => Cut::Time,
            Ok(_) => return true,
        };
        self.cut.get_or_init(|| cut);
        false
    }

    /// Returns why it has not seen everything; nothing if it has.
    #[must_use]
    pub fn cut(&self) -> Option<Cut> {
        self.cut.get().copied()
    }
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
        for name in ["link", "zero", "folder", "fifo", "socket"] {
            assert!(is_no_file(&put(at(name), "x").unwrap_err()), "{name}");
            assert!(is_no_file(&append(at(name)).unwrap_err()), "{name}");
        }
        assert_eq!(std::fs::read(at("plain")).unwrap(), b"12345");
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

    /// Bytes count only where they are.
    #[test]
    fn holes_are_not_held() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sparse");
        std::fs::write(&path, [1; 4096]).unwrap();
        let file = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .unwrap();
        file.set_len(1 << 40).unwrap();
        std::os::unix::fs::FileExt::write_at(&file, &[1; 8192], 1 << 39).unwrap();
        assert_eq!(held(&file, 0..u64::MAX).unwrap(), 12_288);
        assert_eq!(held(&file, 0..1 << 20).unwrap(), 4096);
        assert_eq!(held(&file, 1 << 20..1 << 21).unwrap(), 0);
        assert_eq!(next_data(&file, 4096).unwrap(), Some(1 << 39));
        assert_eq!(next_data(&file, 1 << 39 | 8192).unwrap(), None);
    }

    #[test]
    fn a_search_ends_at_its_limit_and_says_so() {
        let search = Search::of(100);
        assert_eq!((0..1000).filter(|_| search.goes_on()).count(), 100);
        assert_eq!(search.cut(), Some(Cut::Entries(100)));
        assert_eq!(Search::default().cut(), None);
    }

    #[test]
    fn a_copy_of_what_is_no_file_has_a_limit() {
        let error = open_copied("/dev/zero", 1 << 20).unwrap_err();
        assert!(error.to_string().contains("1048576 bytes"), "{error}");
        assert!(open_named("/").is_err());
    }
}
