//! Where the bytes of profiles come from: files on a disk, bytes in memory, or a file system that a bench makes slow.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use object::{ReadCache, ReadRef};

use super::object::{ObjectError, Sections};
use super::profile::MAX_PROFILE;
use crate::foreign::{self, Search};

/// A numbered collection of files that are opened one by one, from many threads.
pub trait Source: Sync {
    /// An opened file.
    type File: ReadAt;

    /// Returns how many files there are.
    fn len(&self) -> usize;

    /// Opens the file with this number.
    fn open(&self, index: usize) -> io::Result<Self::File>;

    /// Returns whether there is no file.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Bytes that are read by position. Mapping them into memory instead was measured to be 1.4 to 2.5 times slower, and a
/// file that is cut on a shared disk kills who has mapped it.
pub trait ReadAt {
    /// Returns the size now.
    fn size(&self) -> io::Result<u64>;

    /// Reads some bytes from this position on, and returns how many.
    fn read_at(&self, bytes: &mut [u8], position: u64) -> io::Result<usize>;

    /// Returns how many bytes of a part are in no hole of the file.
    fn held(&self, part: Range<u64>) -> io::Result<u64> {
        Ok(part.end.saturating_sub(part.start))
    }

    /// Returns where, from this position on, there are bytes that are in no hole.
    fn next_data(&self, from: u64) -> io::Result<Option<u64>> {
        Ok((from < self.size()?).then_some(from))
    }

    /// Fills `bytes` from this position on.
    fn read_exact_at(&self, mut bytes: &mut [u8], mut position: u64) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.read_at(bytes, position) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    bytes = bytes.get_mut(count..).unwrap_or_default();
                    position += count as u64;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl<P: AsRef<Path> + Sync> Source for [P] {
    type File = File;

    fn len(&self) -> usize {
        <[P]>::len(self)
    }

    fn open(&self, index: usize) -> io::Result<File> {
        let path = <[P]>::get(self, index).ok_or(ErrorKind::NotFound)?;
        Ok(foreign::open(path.as_ref())?.into_file())
    }
}

/// Profiles that a person named, and those in the folders that a person named.
#[derive(Debug, Default)]
pub struct Named {
    /// All of them.
    pub files: Vec<PathBuf>,
    /// The numbers of those that were named themselves.
    themselves: HashSet<usize>,
}

impl Source for Named {
    type File = File;

    fn len(&self) -> usize {
        self.files.len()
    }

    fn open(&self, index: usize) -> io::Result<File> {
        let path = self.files.get(index).ok_or(ErrorKind::NotFound)?;
        if self.themselves.contains(&index) {
            return foreign::open_copied(path, MAX_PROFILE);
        }
        Ok(foreign::open_linked(path)?.into_file())
    }
}

impl ReadAt for File {
    fn size(&self) -> io::Result<u64> {
        let metadata = self.metadata()?;
        if metadata.is_dir() {
            Err(ErrorKind::IsADirectory.into())
        } else {
            Ok(metadata.len())
        }
    }

    fn read_at(&self, bytes: &mut [u8], position: u64) -> io::Result<usize> {
        FileExt::read_at(self, bytes, position)
    }

    fn held(&self, part: Range<u64>) -> io::Result<u64> {
        foreign::held(self, part)
    }

    fn next_data(&self, from: u64) -> io::Result<Option<u64>> {
        foreign::next_data(self, from)
    }
}

/// Files that lie in memory.
#[derive(Debug, Clone, Copy)]
pub struct InMemory<'a>(pub &'a [Vec<u8>]);

impl<'a> Source for InMemory<'a> {
    type File = &'a [u8];

    fn len(&self) -> usize {
        self.0.len()
    }

    fn open(&self, index: usize) -> io::Result<&'a [u8]> {
        self.0
            .get(index)
            .map(Vec::as_slice)
            .ok_or_else(|| ErrorKind::NotFound.into())
    }
}

impl ReadAt for &[u8] {
    fn size(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }

    fn read_at(&self, bytes: &mut [u8], position: u64) -> io::Result<usize> {
        let rest = usize::try_from(position)
            .ok()
            .and_then(|at| self.get(at..))
            .unwrap_or_default();
        let count = rest.len().min(bytes.len());
        let (Some(from), Some(to)) = (rest.get(..count), bytes.get_mut(..count)) else {
            return Ok(0);
        };
        to.copy_from_slice(from);
        Ok(count)
    }
}

/// A file of which parts are kept once they were read: all together no more than twice what the file really holds. Headers may claim
/// any size, many of them the same bytes, and a file may have holes larger than memory.
#[derive(Debug)]
pub(super) struct Contents {
    cache: ReadCache<File>,
    charged: RefCell<HashSet<(u64, u64)>>,
    left: Cell<u64>,
    refused: Cell<bool>,
}

impl Contents {
    pub(super) fn new(file: File) -> io::Result<Self> {
        const SPARE: u64 = 64 << 10;
        let held = foreign::held(&file, 0..u64::MAX)?;
        Ok(Self {
            cache: ReadCache::new(file),
            charged: RefCell::default(),
            left: Cell::new(held.saturating_mul(2).saturating_add(SPARE)),
            refused: Cell::new(false),
        })
    }

    /// Returns whether more was asked for than it holds.
    pub(super) fn is_exceeded(&self) -> bool {
        self.refused.get()
    }

    fn charge(&self, start: u64, len: u64) -> Result<(), ()> {
        let mut charged = self.charged.borrow_mut();
        if charged.contains(&(start, len)) {
            return Ok(());
        }
        let Some(left) = self.left.get().checked_sub(len) else {
            self.refused.set(true);
            return Err(());
        };
        self.left.set(left);
        charged.insert((start, len));
        Ok(())
    }
}

impl<'a> ReadRef<'a> for &'a Contents {
    fn len(self) -> Result<u64, ()> {
        (&self.cache).len()
    }

    fn read_bytes_at(self, offset: u64, size: u64) -> Result<&'a [u8], ()> {
        self.charge(offset, size)?;
        (&self.cache).read_bytes_at(offset, size)
    }

    fn read_bytes_at_until(self, range: Range<u64>, delimiter: u8) -> Result<&'a [u8], ()> {
        let read = (&self.cache).read_bytes_at_until(range.clone(), delimiter)?;
        self.charge(range.start, read.len() as u64)?;
        Ok(read)
    }
}

/// An opened binary, of which only the parts that are asked for are read.
#[derive(Debug)]
pub struct Binary(Contents);

impl Binary {
    /// Opens the file at `path`, through a link as well.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(Contents::new(
            foreign::open_linked(path)?.into_file(),
        )?))
    }

    /// Opens what a person named.
    pub fn open_named(path: &Path) -> io::Result<Self> {
        Ok(Self(Contents::new(foreign::open_copied(
            path,
            MAX_PROFILE,
        )?)?))
    }

    /// Returns its sections.
    pub fn sections(&self) -> Result<Sections<'_>, ObjectError> {
        super::object::sections(&self.0).map_err(|error| match error {
            ObjectError::Damaged if self.0.is_exceeded() => ObjectError::Hollow,
            error => error,
        })
    }
}

/// Returns the profiles among `paths`: files as they are, and of directories every `.profraw` file below, by name.
pub fn find_profiles(paths: &[PathBuf]) -> io::Result<Named> {
    let mut found = Named::default();
    let search = Search::default();
    for path in paths {
        if path.is_dir() {
            let mut below = Vec::new();
            walk(path, &search, &mut below)?;
            if let Some(cut) = search.cut() {
                return Err(io::Error::other(format!("`{}`: {cut}", path.display())));
            }
            below.sort_unstable();
            found.files.append(&mut below);
        } else {
            found.themselves.insert(found.files.len());
            found.files.push(path.clone());
        }
    }
    Ok(found)
}

fn walk(dir: &Path, search: &Search, found: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if !search.goes_on() {
            return Ok(());
        }
        if entry.file_type()?.is_dir() {
            walk(&entry.path(), search, found)?;
        } else if entry
            .path()
            .extension()
            .is_some_and(|extension| extension == "profraw")
        {
            found.push(entry.path());
        }
    }
    Ok(())
}
