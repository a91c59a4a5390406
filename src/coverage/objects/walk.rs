//! Walks directories for regular files, in parallel.

use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

use globset::GlobBuilder;
use rayon::prelude::*;

use super::ObjectsError;
use crate::foreign::Search;

/// How far a walk goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// Visible directories and libtool's `.libs`; no symbolic links.
    Tree,
    /// All directories, this many levels of them; symbolic links to files.
    Everything(usize),
}

type Walked = (Vec<PathBuf>, Vec<ObjectsError>);

/// Returns the files below work trees, and what could not be walked.
pub(super) fn trees(trees: &[PathBuf]) -> Walked {
    let search = Search::default();
    let walked = files(trees, Reach::Tree, &search);
    let shown: Vec<_> = trees.iter().map(|it| it.to_string_lossy()).collect();
    with_cut(walked, &search, &shown.join("`, `"))
}

fn with_cut(mut walked: Walked, search: &Search, place: &str) -> Walked {
    let place = place.to_owned();
    let cut = search.cut().map(|cut| ObjectsError::Cut { place, cut });
    walked.1.extend(cut);
    walked
}

fn files(dirs: &[PathBuf], reach: Reach, search: &Search) -> Walked {
    dirs.par_iter()
        .map(|dir| below(dir, reach, search))
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
    let levels = globbed.len();
    let globbed: PathBuf = globbed.iter().collect();
    // A name in braces may have several levels.
    let written = globbed.to_string_lossy();
    let levels = if written.contains("**") || written.contains('{') {
        usize::MAX
    } else {
        levels
    };
    let search = Search::default();
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
        let (mut files, problems) = below(&start, Reach::Everything(levels), &search);
        files.retain(|file| {
            file.strip_prefix(&start)
                .is_ok_and(|rest| glob.is_match(rest))
        });
        (files, problems)
    };
    let walked = starts
        .into_iter()
        .map(matched)
        .fold(Walked::default(), joined);
    Ok(with_cut(walked, &search, pattern))
}

fn joined(mut a: Walked, b: Walked) -> Walked {
    a.0.extend(b.0);
    a.1.extend(b.1);
    a
}

fn below(dir: &Path, reach: Reach, search: &Search) -> Walked {
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
        if !search.goes_on() {
            return (files, problems);
        }
        let (kind, path) = match entry.and_then(|entry| Ok((entry.file_type()?, entry.path()))) {
            Ok(entry) => entry,
            Err(source) => {
                problems.push(problem(source));
                continue;
            }
        };
        let everything = reach != Reach::Tree;
        if kind.is_dir() {
            let deeper = match reach {
                Reach::Tree => is_visible(&path),
                Reach::Everything(levels) => levels > 1,
            };
            dirs.extend(deeper.then_some(path));
        } else if kind.is_file() || kind.is_symlink() && everything && path.is_file() {
            files.push(path);
        }
    }
    let reach = match reach {
        Reach::Tree => Reach::Tree,
        Reach::Everything(levels) => Reach::Everything(levels.saturating_sub(1)),
    };
    joined((files, problems), self::files(&dirs, reach, search))
}

/// libtool keeps the real programs and libraries in `.libs`, beside scripts of their names.
fn is_visible(dir: &Path) -> bool {
    let name = dir.file_name().unwrap_or_default();
    name == ".libs" || !name.as_encoded_bytes().starts_with(b".")
}
