//! Where the bytes of profiles come from: files on a disk, bytes in memory, or a file system that a bench makes slow.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use object::ReadCache;

use super::object::{ObjectError, Sections};

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
        File::open(path.as_ref())
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

/// An opened binary, of which only the parts that are asked for are read.
#[derive(Debug)]
pub struct Binary(ReadCache<File>);

impl Binary {
    /// Opens the file at `path`.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(ReadCache::new(File::open(path)?)))
    }

    /// Returns its sections.
    pub fn sections(&self) -> Result<Sections<'_>, ObjectError> {
        super::object::sections(&self.0)
    }
}

/// Returns the profiles among `paths`: files as they are, and of directories every `.profraw` file below, by name.
pub fn find_profiles(paths: &[PathBuf]) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for path in paths {
        if path.is_dir() {
            let mut below = Vec::new();
            walk(path, &mut below)?;
            below.sort_unstable();
            found.append(&mut below);
        } else {
            found.push(path.clone());
        }
    }
    Ok(found)
}

fn walk(dir: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            walk(&entry.path(), found)?;
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
