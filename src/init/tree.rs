//! The files of a clone, as far as they were read.

use std::collections::BTreeMap;

/// Folders by which people name tests.
const TEST_FOLDERS: &[&str] = &["test", "tests", "testing", "unittests", "t"];

/// The files of a clone, and the text of those that tell something.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    files: BTreeMap<String, Option<String>>,
}

impl Tree {
    /// Adds a file by its path from the top, with its text if that was read.
    pub fn add(&mut self, path: impl Into<String>, text: Option<String>) {
        self.files.insert(path.into(), text);
    }

    /// Returns whether there is a file of this path.
    #[must_use]
    pub fn has(&self, path: &str) -> bool {
        self.files.contains_key(path)
    }

    /// Returns whether there is any file below a folder.
    #[must_use]
    pub fn has_folder(&self, folder: &str) -> bool {
        self.files.keys().any(|path| {
            path.strip_prefix(folder)
                .is_some_and(|rest| rest.starts_with('/'))
        })
    }

    /// Returns the text of a file.
    #[must_use]
    pub fn text(&self, path: &str) -> Option<&str> {
        self.files.get(path)?.as_deref()
    }

    /// Returns the paths of all files.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// Returns path and text of each file that was read and whose name ends in one of these ways.
    pub fn texts<'t>(&'t self, endings: &'t [&str]) -> impl Iterator<Item = (&'t str, &'t str)> {
        self.files.iter().filter_map(move |(path, text)| {
            let ends = endings.iter().any(|ending| path.ends_with(ending));
            Some((path.as_str(), text.as_deref()?)).filter(|_| ends)
        })
    }

    /// Returns the file of this name that stands highest.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<(&str, &str)> {
        let found = self
            .files
            .iter()
            .filter(|(path, _)| file_name(path) == name);
        let (path, text) = found.min_by_key(|(path, _)| path.matches('/').count())?;
        Some((path, text.as_deref()?))
    }
}

#[cfg(test)]
impl<const N: usize> From<[(&str, &str); N]> for Tree {
    fn from(files: [(&str, &str); N]) -> Self {
        let mut tree = Self::default();
        for (path, text) in files {
            tree.add(path, Some(text.to_owned()));
        }
        tree
    }
}

/// Returns a path without its folders.
#[must_use]
pub fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Returns the name of a file without folders and ending.
#[must_use]
pub fn stem(path: &str) -> &str {
    let name = file_name(path);
    name.split_once('.').map_or(name, |(stem, _)| stem)
}

/// Returns whether a file stands among tests, or is called one.
#[must_use]
pub fn is_test(path: &str) -> bool {
    let mut folders = path.split('/').rev().skip(1);
    let name = stem(path).to_ascii_lowercase();
    folders.any(|folder| TEST_FOLDERS.contains(&folder))
        || name == "test"
        || ["test_", "check_", "t_"]
            .iter()
            .any(|start| name.starts_with(start))
        || ["_test", "_tests"].iter().any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_known_by_folder_or_name() {
        for (path, expected) in [
            ("tests/halo.c", true),
            ("src/core/test/halo.cpp", true),
            ("src/test_halo.c", true),
            ("halo_test.f90", true),
            ("src/latest.c", false),
            ("src/attest/halo.c", false),
            ("testbed.c", false),
        ] {
            assert_eq!(is_test(path), expected, "{path}");
        }
    }
}
