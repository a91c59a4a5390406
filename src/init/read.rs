//! Reads a clone's files: all of their names, and the text of those that tell how it is built and tested.

use std::path::Path;

use super::tree::Tree;

use crate::foreign;

/// A clone with more files than this is not looked through to its end.
const MAX_FILES: usize = 20_000;
/// Text that is longer was not written by a person.
const MAX_TEXT: u64 = 256 << 10;
/// All text together; more is not needed to know a project.
const MAX_ALL: u64 = 64 << 20;
const MAX_DEPTH: u32 = 8;

/// Folders of what was made, not written.
const MADE: &[&str] = &[
    "target",
    "build",
    "builddir",
    "_build",
    "_deps",
    "node_modules",
    "__pycache__",
    "venv",
    "hpc-ci",
];

/// Files that tell how a project is built.
const NAMES: &[&str] = &[
    ".gitignore",
    "CMakeLists.txt",
    "GNUmakefile",
    "Makefile",
    "makefile",
    "Makefile.am",
    "meson.build",
    "setup.cfg",
];

/// Endings of sources, and of other files that tell how a project is built.
const ENDINGS: &[&str] = &[
    "ac", "am", "c", "C", "cc", "cmake", "cpp", "cxx", "f", "F", "f03", "f08", "f90", "F90", "f95",
    "h", "hh", "hpp", "in", "jl", "mk", "py", "rs", "toml",
];

struct Reader {
    tree: Tree,
    files: usize,
    bytes: u64,
}

/// Reads the clone whose top this is. What cannot be read is not there.
pub(super) fn tree(top: &Path) -> Tree {
    let mut reader = Reader {
        tree: Tree::default(),
        files: 0,
        bytes: 0,
    };
    reader.folder(top, "", 0);
    reader.tree
}

impl Reader {
    fn folder(&mut self, dir: &Path, path: &str, depth: u32) {
        let Ok(entries) = fs_err::read_dir(dir) else {
            return;
        };
        let mut folders = Vec::new();
        for entry in entries.filter_map(Result::ok) {
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            let path = if path.is_empty() {
                name.clone()
            } else {
                format!("{path}/{name}")
            };
            match entry.file_type() {
                Ok(kind)
                    if kind.is_dir() && depth < MAX_DEPTH && !is_made(&entry.path(), &name) =>
                {
                    folders.push((entry.path(), path));
                }
                Ok(kind) if kind.is_file() && self.files < MAX_FILES => {
                    self.files += 1;
                    let text = self.text(&entry.path(), &name);
                    self.tree.add(path, text);
                }
                _ => {}
            }
        }
        // The files of a folder come before those below it, should there be too many.
        folders.sort();
        for (dir, path) in folders {
            self.folder(&dir, &path, depth + 1);
        }
    }

    fn text(&mut self, file: &Path, name: &str) -> Option<String> {
        let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
        if !NAMES.contains(&name) && !ENDINGS.contains(&ending) {
            return None;
        }
        let length = fs_err::metadata(file).ok()?.len();
        if length > MAX_TEXT || self.bytes + length > MAX_ALL {
            return None;
        }
        self.bytes += length;
        let bytes = foreign::read(file, MAX_TEXT).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// Whether a folder holds what was made, or belongs to somebody else: a submodule, a virtual environment.
fn is_made(dir: &Path, name: &str) -> bool {
    name.starts_with('.')
        || name.starts_with("cmake-build")
        || MADE.contains(&name)
        || dir.join(".git").exists()
        || dir.join("pyvenv.cfg").exists()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn what_was_made_or_is_somebody_elses_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in [
            ("Makefile", "all:\n"),
            ("data.bin", "0"),
            ("src/heat.c", "int main;"),
            ("build/made.c", ""),
            ("extern/lib/.git", "gitdir: elsewhere"),
            ("extern/lib/lib.c", ""),
            (".venv/x.py", ""),
            ("env/pyvenv.cfg", ""),
            ("env/x.py", ""),
        ] {
            let path = dir.path().join(path);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, text).unwrap();
        }
        let tree = tree(dir.path());
        let paths: Vec<&str> = tree.paths().collect();
        assert_eq!(paths, ["Makefile", "data.bin", "src/heat.c"]);
        assert_eq!(tree.text("src/heat.c"), Some("int main;"));
        assert_eq!(tree.text("data.bin"), None);
    }
}
