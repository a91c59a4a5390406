//! Walks directories for regular files, in parallel.

use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

use globset::GlobBuilder;
use rayon::prelude::*;

use super::ObjectsError;

/// How far a walk goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// Visible directories and libtool's `.libs`; no symbolic links.
    Tree,
    /// All directories below; symbolic links to files.
    Everything,
}

type Walked = (Vec<PathBuf>, Vec<ObjectsError>);

/// Returns the files below these directories, and what could not be walked.
pub(super) fn files(dirs: &[PathBuf], reach: Reach) -> Walked {
    dirs.par_iter()
        .map(|dir| below(dir, reach))
        .reduce(Walked::default, joined)
}

/// Returns the files that a path or glob names, relative to every tree or absolute.
pub(super) fn named(trees: &[PathBuf], pattern: &str) -> Result<Walked, ObjectsError> {
    let special = |part: &OsStr| part.to_string_lossy().contains(['*', '?', '[', '{', '\\']);
    let steps = Path::new(pattern).components();
    let parts: Vec<Component<'_>> = steps.filter(|part| *part != Component::CurDir).collect();
    let plain = parts
        .iter()
        .take_while(|part| !special(part.as_os_str()))
        .count();
    let (plain, globbed) = parts.split_at(plain);
    // Joining an absolute path replaces the tree.
    let plain: PathBuf = plain.iter().collect();
    let mut starts: Vec<PathBuf> = trees.iter().map(|tree| tree.join(&plain)).collect();
    if plain.is_absolute() {
        starts = vec![plain];
    }
    if globbed.is_empty() {
        let existing = starts.into_iter().filter(|path| path.is_file()).collect();
        return Ok((existing, Vec::new()));
    }
    let globbed: PathBuf = globbed.iter().collect();
    let glob = GlobBuilder::new(&globbed.to_string_lossy())
        .literal_separator(true)
        .build()
        .map_err(|source| ObjectsError::Pattern {
            pattern: pattern.to_owned(),
            source,
        })?
        .compile_matcher();
    starts.retain(|start| start.is_dir());
    let matched = |start: PathBuf| {
        let (mut files, problems) = below(&start, Reach::Everything);
        files.retain(|file| {
            file.strip_prefix(&start)
                .is_ok_and(|rest| glob.is_match(rest))
        });
        (files, problems)
    };
    Ok(starts
        .into_iter()
        .map(matched)
        .fold(Walked::default(), joined))
}

fn joined(mut a: Walked, b: Walked) -> Walked {
    a.0.extend(b.0);
    a.1.extend(b.1);
    a
}

fn below(dir: &Path, reach: Reach) -> Walked {
    let problem = |source| ObjectsError::Io {
        path: dir.to_owned(),
        source,
    };
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(source) => return (Vec::new(), vec![problem(source)]),
    };
    let (mut files, mut problems, mut dirs) = (Vec::new(), Vec::new(), Vec::new());
    for entry in entries {
        let (kind, path) = match entry.and_then(|entry| Ok((entry.file_type()?, entry.path()))) {
            Ok(entry) => entry,
            Err(source) => {
                problems.push(problem(source));
                continue;
            }
        };
        let everything = reach == Reach::Everything;
        if kind.is_dir() && (everything || is_visible(&path)) {
            dirs.push(path);
        } else if kind.is_file() || kind.is_symlink() && everything && path.is_file() {
            files.push(path);
        }
    }
    joined((files, problems), self::files(&dirs, reach))
}

/// libtool keeps the real programs and libraries in `.libs`, beside scripts of their names.
fn is_visible(dir: &Path) -> bool {
    let name = dir.file_name().unwrap_or_default();
    name == ".libs" || !name.as_encoded_bytes().starts_with(b".")
}
