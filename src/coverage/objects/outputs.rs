//! Objects where compilers were told to put them, outside of the trees that they were made of.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::super::mapping::{self, Units};
use super::super::source::Binary;

use crate::foreign;

/// Bytes that are read of a list of folders; whoever writes more has not compiled.
const LONGEST_LIST: u64 = 1 << 20;

/// Returns the folders that these files name, a line each, as far as they are there.
#[must_use]
pub fn folders_of(notes: &[PathBuf]) -> Vec<PathBuf> {
    let mut folders = BTreeSet::new();
    for note in notes.iter().filter(|note| note.is_file()) {
        let mut text = String::new();
        let file = foreign::open(note);
        let read = file.and_then(|file| file.take(LONGEST_LIST).read_to_string(&mut text));
        if read.is_ok() {
            let named = text.lines().map(PathBuf::from);
            folders.extend(named.filter(|folder| folder.is_absolute() && folder.is_dir()));
        }
    }
    folders.into_iter().collect()
}

/// Returns the files in these folders, and not in those below them.
pub(super) fn files(folders: &[PathBuf]) -> impl Iterator<Item = PathBuf> {
    let entries = folders
        .iter()
        .filter_map(|folder| std::fs::read_dir(folder).ok());
    entries
        .flatten()
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()))
        .map(|entry| entry.path())
}

/// The trees, by their paths and by what these lead to: compilers note where they really are.
pub(super) struct Roots(Vec<(PathBuf, usize)>);

impl Roots {
    pub(super) fn of(trees: &[PathBuf]) -> Self {
        let mut roots = Vec::new();
        for (number, tree) in trees.iter().enumerate() {
            roots.push((tree.clone(), number));
            roots.extend(std::fs::canonicalize(tree).map(|real| (real, number)));
        }
        // Of trees in one another the innermost counts.
        roots.sort_by_key(|(root, _)| std::cmp::Reverse(root.as_os_str().len()));
        Self(roots)
    }

    /// Returns the tree that a path lies in.
    pub(super) fn holding(&self, path: &Path) -> Option<usize> {
        let root = self.0.iter().find(|(root, _)| path.starts_with(root));
        root.map(|(_, number)| *number)
    }

    /// Returns the tree that holds a source of this object.
    pub(super) fn source_of(&self, object: &Path) -> Option<usize> {
        let binary = Binary::open(object).ok()?;
        let sections = binary.sections().ok()?;
        let mut units = Units::default();
        mapping::functions(&mut units, sections.covmap, &sections.covfun).ok()?;
        let files = (0..units.files.len()).filter_map(|number| u32::try_from(number).ok());
        // The folder of the compilation is among them.
        files
            .map(|number| units.files.path(number))
            .find_map(|path| self.holding(Path::new(path)))
    }
}
