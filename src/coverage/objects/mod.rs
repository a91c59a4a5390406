//! Finds the objects of a run: the linked ELF files with coverage mapping in its work trees, and those named besides.
//!
//! Only headers are read, so that a tree of a hundred thousand files costs little more than walking it. What stands in
//! the mapping is the business of the engines. Relocatable files and archives do not count: what is linked into nothing
//! cannot run.

mod counting;
mod elf;
mod outputs;
mod walk;

use std::collections::{BTreeSet, HashSet};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

pub use outputs::folders_of;

pub use counting::{Counters, Counting, counting, parts_without_relocation};
use elf::Facts;

use super::source::Contents;
use crate::foreign::Cut;

/// An object that could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ObjectsError {
    /// The operating system refused.
    #[error("cannot read `{}`", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// It is no ELF program or shared library.
    #[error("`{}` is not an ELF program or shared library", path.display())]
    NotLinked {
        /// The file.
        path: PathBuf,
    },
    /// Its headers contradict themselves.
    #[error("`{}` is a damaged ELF file", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: object::read::Error,
    },
    /// Its headers claim more than it holds.
    #[error("the headers of `{}` claim more than twice the bytes that it holds", path.display())]
    Hollow {
        /// The file.
        path: PathBuf,
    },
    /// Not everything was looked at.
    #[error("not all objects were looked for in `{place}`: {cut}")]
    Cut {
        /// The pattern, or the folder.
        place: String,
        /// Why.
        cut: Cut,
    },
    /// A pattern for objects is not a glob.
    #[error("`{pattern}` is not a glob")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        source: globset::Error,
    },
}

impl ObjectsError {
    /// Returns what the report lacks because of it, and why; nothing where nobody can tell whether it lacks anything.
    #[must_use]
    pub fn lost(&self) -> Option<(String, String)> {
        match self {
            Self::Cut { place, .. } => Some((place.clone(), self.to_string())),
            Self::Hollow { path } => Some((path.to_string_lossy().into_owned(), self.to_string())),
            _ => None,
        }
    }

    fn malformed(path: &Path, source: object::read::Error, read: &Contents) -> Self {
        let path = path.to_owned();
        if read.is_exceeded() {
            Self::Hollow { path }
        } else {
            Self::Malformed { path, source }
        }
    }

    /// Returns the file that it is about.
    fn path(&self) -> Option<&Path> {
        match self {
            Self::Io { path, .. }
            | Self::NotLinked { path }
            | Self::Malformed { path, .. }
            | Self::Hollow { path } => Some(path),
            Self::Pattern { .. } | Self::Cut { .. } => None,
        }
    }
}

/// A program or shared library with coverage mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Where it is.
    pub path: PathBuf,
    /// Its GNU build id in lower-case hexadecimal, if it has one.
    pub build_id: Option<String>,
    /// The size of the file in bytes.
    pub size: u64,
    /// How many bytes a profile of it has, but for headers and padding.
    pub profile_bytes: u64,
    /// The format of its coverage mapping as LLVM counts them: 6 from LLVM 13 on, 7 from LLVM 18 on.
    pub mapping_format: u32,
    /// The number of the tree that it is of: that it stands in, or that it was made of, if it stands where a compiler was told to
    /// put it.
    pub tree: Option<usize>,
}

/// Where objects are looked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Places {
    /// The work trees.
    pub trees: Vec<PathBuf>,
    /// Paths or globs of further objects, relative to every tree or absolute.
    pub patterns: Vec<String>,
    /// Files in which compilers noted the folders that they wrote to, a line each.
    #[serde(default)]
    pub notes: Vec<PathBuf>,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Found {
    /// The objects in byte order of their paths, each once however often it is linked or copied.
    pub objects: Vec<Object>,
    /// Patterns that name no object.
    pub idle_patterns: Vec<IdlePattern>,
    /// What could not be read or walked.
    pub problems: Vec<ObjectsError>,
}

/// A pattern that names no object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdlePattern {
    /// The pattern as it was written.
    pub pattern: String,
    /// How many files it names, all of them without coverage mapping.
    pub files: usize,
}

/// What a program or shared library says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct About {
    /// It counts, and writes a profile when it ends.
    pub profile: bool,
    /// It says which source lines its counters mean.
    pub mapping: bool,
    /// The compiler that made it, such as `GCC: (Debian 12.2.0-14) 12.2.0`.
    ///
    /// Start-up code of the C library comes from gcc in every program, so gcc is named only where no other compiler is.
    pub compiler: Option<String>,
    /// Its build id.
    pub build_id: Option<String>,
}

/// Returns the objects in the work trees, those that `patterns` name, and those that were made of the trees' sources in folders
/// that compilers noted: cargo's target directory may be anywhere, and be shared with other projects.
///
/// Trees are walked without following symbolic links and without hidden directories, save libtool's `.libs`; patterns
/// may lead into both.
#[must_use]
pub fn find(places: &Places) -> Found {
    let Places {
        trees, patterns, ..
    } = places;
    let mut found = Found::default();
    let (in_trees, problems) = walk::trees(trees);
    found.problems.extend(problems);
    let mut files: BTreeSet<PathBuf> = in_trees.into_iter().collect();
    let mut named = Vec::new();
    for pattern in patterns {
        match walk::named(trees, pattern) {
            Ok((paths, problems)) => {
                found.problems.extend(problems);
                files.extend(paths.iter().cloned());
                named.push((pattern, paths));
            }
            Err(error) => found.problems.push(error),
        }
    }
    let noted: BTreeSet<PathBuf> = outputs::files(&folders_of(&places.notes))
        .filter(|path| !files.contains(path))
        .collect();
    files.extend(noted.iter().cloned());
    let files: Vec<PathBuf> = files.into_iter().collect();
    let inspected: Vec<_> = files.into_par_iter().filter_map(candidate).collect();
    let mut candidates = Vec::new();
    for one in inspected {
        match one {
            Ok(candidate) => candidates.push(candidate),
            // What others leave there is no business of this project.
            Err(error) if error.path().is_some_and(|path| noted.contains(path)) => {}
            Err(error) => found.problems.push(error),
        }
    }
    let roots = outputs::Roots::of(trees);
    for one in &mut candidates {
        one.object.tree = roots.holding(&one.object.path);
        if one.object.tree.is_none() && noted.contains(&one.object.path) {
            one.object.tree = roots.source_of(&one.object.path);
        }
    }
    candidates.retain(|one| one.object.tree.is_some() || !noted.contains(&one.object.path));
    let instrumented: HashSet<&Path> = candidates
        .iter()
        .map(|one| one.object.path.as_path())
        .collect();
    for (pattern, paths) in named {
        if !paths
            .iter()
            .any(|path| instrumented.contains(path.as_path()))
        {
            found.idle_patterns.push(IdlePattern {
                pattern: pattern.clone(),
                files: paths.len(),
            });
        }
    }
    found.objects = distinct(candidates);
    found
}

/// Returns what a program or shared library says of itself.
pub fn about(path: &Path) -> Result<About, ObjectsError> {
    let facts =
        elf::facts(path, elf::Wanted::Everything)?.ok_or_else(|| ObjectsError::NotLinked {
            path: path.to_owned(),
        })?;
    Ok(About {
        profile: facts.counts,
        mapping: facts.mapping.is_some(),
        compiler: compiler(&facts.comment),
        build_id: facts.build_id,
    })
}

fn compiler(comment: &[u8]) -> Option<String> {
    let remarks: Vec<String> = comment
        .split(|&byte| byte == 0)
        .map(|remark| String::from_utf8_lossy(remark).trim().to_owned())
        .filter(|remark| {
            !remark.is_empty() && !remark.starts_with("Linker:") && !remark.starts_with("mold ")
        })
        .collect();
    let other = remarks
        .iter()
        .position(|remark| !remark.starts_with("GCC:"));
    remarks.into_iter().nth(other.unwrap_or_default())
}

/// An object, and what tells it from its copies.
struct Candidate {
    object: Object,
    file: (u64, u64),
    mapping_sizes: (u64, u64),
}

/// Returns the object at `path`, nothing if it is something else.
fn candidate(path: PathBuf) -> Option<Result<Candidate, ObjectsError>> {
    let facts = match elf::facts(&path, elf::Wanted::Mapping) {
        Ok(facts) => facts?,
        Err(error) => return Some(Err(error)),
    };
    let Facts {
        build_id,
        mapping,
        metadata,
        profile_bytes,
        ..
    } = facts;
    let mapping = mapping?;
    Some(Ok(Candidate {
        file: (metadata.dev(), metadata.ino()),
        mapping_sizes: mapping.sizes,
        object: Object {
            path,
            build_id,
            size: metadata.len(),
            profile_bytes,
            mapping_format: mapping.format,
            tree: None,
        },
    }))
}

/// Drops hard links and copies, keeping the first by path.
fn distinct(mut candidates: Vec<Candidate>) -> Vec<Object> {
    // `Path` compares by components, which is another order than that of bytes.
    let bytes = |one: &Candidate| one.object.path.as_os_str().as_bytes().to_owned();
    candidates.sort_by_cached_key(bytes);
    let mut files = HashSet::new();
    let mut builds = HashSet::new();
    candidates.retain(|one| {
        let first_link = files.insert(one.file);
        // A build id can be set by hand and be shared by different programs; their mappings then differ in size.
        let first_copy = match &one.object.build_id {
            Some(id) => builds.insert((id.clone(), one.mapping_sizes)),
            None => true,
        };
        first_link && first_copy
    });
    candidates.into_iter().map(|one| one.object).collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use fs_err as fs;

    use super::elf::tests::{ET_DYN, ET_EXEC, ET_REL, elf};
    use super::*;

    const COVMAP: (&str, &[u8]) = (
        "__llvm_covmap",
        &[0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0],
    );

    fn places(trees: &[PathBuf], patterns: &[String]) -> Places {
        Places {
            trees: trees.to_vec(),
            patterns: patterns.to_vec(),
            notes: Vec::new(),
        }
    }

    fn write(dir: &Path, name: &str, bytes: &[u8]) -> PathBuf {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    fn names(dir: &Path, found: &Found) -> Vec<String> {
        let relative =
            |object: &Object| object.path.strip_prefix(dir).unwrap().display().to_string();
        found.objects.iter().map(relative).collect()
    }

    fn object(id: u8) -> Vec<u8> {
        elf(ET_DYN, &[COVMAP, ("note", &note(id))])
    }

    /// A GNU build id of two bytes.
    fn note(id: u8) -> Vec<u8> {
        [
            &[4, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0],
            &b"GNU\0"[..],
            &[id, 0xab, 0, 0],
        ]
        .concat()
    }

    #[test]
    fn linked_files_with_mapping_are_found_once() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let main = write(dir, "t/target/debug/main", &object(1));
        fs::hard_link(&main, dir.join("t/target/debug/main-0a1b")).unwrap();
        write(dir, "t/target/debug-copy", &object(1));
        write(dir, "t/lib/libheat.so.1", &elf(ET_EXEC, &[COVMAP]));
        write(dir, "t/src/.libs/halo", &object(2));
        write(dir, "t/.git/lfs/object", &object(3));
        write(dir, "t/halo.o", &elf(ET_REL, &[COVMAP]));
        write(dir, "t/plain", &elf(ET_DYN, &[(".text", b"x")]));
        write(dir, "t/script", b"#!/bin/sh\n");
        write(dir, "t/empty", b"");
        std::os::unix::fs::symlink(dir.join("t/lib"), dir.join("t/link")).unwrap();
        std::os::unix::fs::symlink("libheat.so.1", dir.join("t/lib/libheat.so")).unwrap();
        write(dir, "u/halo", &object(4));

        let found = find(&places(&[dir.join("t"), dir.join("u")], &[]));
        assert!(found.problems.is_empty(), "{:?}", found.problems);
        // "debug-copy" and "debug/main" are copies; in byte order `-` comes before `/`.
        assert_eq!(
            names(dir, &found),
            [
                "t/lib/libheat.so.1",
                "t/src/.libs/halo",
                "t/target/debug-copy",
                "u/halo"
            ]
        );
        let ids: Vec<_> = found
            .objects
            .iter()
            .map(|object| object.build_id.as_deref())
            .collect();
        assert_eq!(ids, [None, Some("02ab"), Some("01ab"), Some("04ab")]);
        assert!(
            found
                .objects
                .iter()
                .all(|object| object.mapping_format == 7)
        );
        assert_eq!(found.objects[1].size, object(2).len() as u64);
    }

    #[test]
    fn one_build_id_for_different_programs_hides_none() {
        let dir = tempfile::tempdir().unwrap();
        let larger = [COVMAP.1, &[0; 8]].concat();
        write(dir.path(), "a", &object(1));
        write(
            dir.path(),
            "b",
            &elf(ET_DYN, &[("__llvm_covmap", &larger), ("note", &note(1))]),
        );
        assert_eq!(
            names(dir.path(), &find(&places(&[dir.path().to_owned()], &[]))),
            ["a", "b"]
        );
    }

    #[test]
    fn patterns_reach_what_walking_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let outside = write(dir, "opt/lib/libmesh.so", &object(1));
        write(dir, "t/.build/bin/solver", &object(2));
        write(dir, "t/.build/deep/bin/other", &object(3));
        write(dir, "t/plain", b"text");
        fs::create_dir_all(dir.join("t/linked")).unwrap();
        std::os::unix::fs::symlink(&outside, dir.join("t/linked/libmesh.so")).unwrap();

        let check = |patterns: &[&str], expected: &[&str], idle: &[(&str, usize)]| {
            let patterns: Vec<String> = patterns.iter().map(ToString::to_string).collect();
            let found = find(&places(&[dir.join("t")], &patterns));
            assert_eq!(names(dir, &found), expected, "{patterns:?}");
            let pairs = found
                .idle_patterns
                .iter()
                .map(|idle| (idle.pattern.as_str(), idle.files));
            assert_eq!(pairs.collect::<Vec<_>>(), idle);
        };
        check(&[], &[], &[]);
        check(&[".build/bin/*"], &["t/.build/bin/solver"], &[]);
        check(
            &[".build/**/o*r", "./.build/bin/solver"],
            &["t/.build/bin/solver", "t/.build/deep/bin/other"],
            &[],
        );
        check(&["linked/*.so"], &["t/linked/libmesh.so"], &[]);
        check(&[outside.to_str().unwrap()], &["opt/lib/libmesh.so"], &[]);
        check(
            &[&format!("{}/opt/**", dir.display())],
            &["opt/lib/libmesh.so"],
            &[],
        );
        check(
            &["pl*", "absent", "no/such/*"],
            &[],
            &[("pl*", 1), ("absent", 0), ("no/such/*", 0)],
        );
    }

    #[test]
    fn faults_are_reported_and_harm_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        write(dir, "a", &object(1));
        let mut cut = object(2);
        cut.truncate(cut.len() - 100);
        write(dir, "cut", &cut);
        let found = find(&places(
            &[dir.to_owned(), dir.join("absent")],
            &["[".to_owned()],
        ));
        assert_eq!(names(dir, &found), ["a"]);
        let problems: Vec<String> = found.problems.iter().map(ToString::to_string).collect();
        let at = |name: &str| dir.join(name).display().to_string();
        assert_eq!(
            problems,
            [
                format!("cannot read `{}`", at("absent")),
                "`[` is not a glob".to_owned(),
                format!("`{}` is a damaged ELF file", at("cut")),
            ]
        );
    }

    #[test]
    fn instrumentation_and_compiler_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let check = |sections: &[(&str, &[u8])], profile, mapping, compiler: Option<&str>| {
            let path = write(dir, "program", &elf(ET_EXEC, sections));
            let found = about(&path).unwrap();
            assert_eq!((found.profile, found.mapping), (profile, mapping));
            assert_eq!(found.compiler.as_deref(), compiler);
        };
        let gcc: (&str, &[u8]) = (".comment", b"GCC: (Debian 12.2.0-14) 12.2.0\0");
        let clang: (&str, &[u8]) = (
            ".comment",
            b"GCC: (Debian 12.2.0-14) 12.2.0\0Linker: LLD 22.1\0clang version 22.1.8\0",
        );
        check(&[gcc], false, false, Some("GCC: (Debian 12.2.0-14) 12.2.0"));
        check(
            &[clang, COVMAP, ("__llvm_prf_cnts", b"")],
            true,
            true,
            Some("clang version 22.1.8"),
        );
        check(&[("__llvm_prf_cnts", b"")], true, false, None);
        let script = write(dir, "script", b"#!/bin/sh\nexec true\n");
        let error = about(&script).unwrap_err();
        assert!(matches!(error, ObjectsError::NotLinked { .. }), "{error}");
    }
}
