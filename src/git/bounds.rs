//! How much a commit may hold. It comes from people who nobody knows, and a few kilobytes of it can unfold to more than any
//! machine has: so what it will take is found out from what its objects say of themselves, before anything is read or written.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a tree may hold over all levels of its submodules, as trusted files say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// Files and folders.
    pub files: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// Bytes of one file, which libgit2 holds in memory as a whole.
    pub file: u64,
    /// Whether a submodule of a local repository may come from another path of this machine.
    pub local_submodules: bool,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            files: 500_000,
            bytes: 16 << 30,
            file: 128 << 20,
            local_submodules: false,
        }
    }
}

/// The most bytes of a file with settings: `hpc.toml`, `.gitmodules`, `.gitattributes`, `.gitignore`.
pub const SETTINGS: u64 = 1 << 20;
/// The most bytes of a source file that is looked into.
pub const SOURCE: u64 = 16 << 20;
/// The most bytes of a commit or an annotated tag with its message.
pub(super) const MESSAGE: u64 = 4 << 20;
/// The most bytes of one folder's list of names, as git keeps it.
pub(super) const FOLDER: u64 = 64 << 20;
/// The most bytes of the paths of a commit taken together; all of them are held in memory.
pub(super) const PATHS: u64 = 256 << 20;
/// The longest path, which is also Linux's.
pub(super) const PATH: u64 = 4095;
/// How many folders may lie in one another.
pub(super) const DEPTH: u64 = 1000;
/// How many submodules a commit may have over all levels.
pub(super) const SUBMODULES: u64 = 1000;
/// How deep submodules may lie in one another.
pub(super) const SUBMODULE_DEPTH: u64 = 16;
/// The most lines of all `.gitattributes` and `.gitignore` of a commit.
pub(super) const PATTERNS: u64 = 50_000;
/// The most pairs of a file and a line of `.gitattributes` that concerns it: libgit2 tries each.
pub(super) const MATCHES: u64 = 100_000_000;
/// The longest line of a `.gitattributes`, which is also git's.
pub(super) const LINE: u64 = 2048;
/// The most words in macros (`[attr]`) of one `.gitattributes`: libgit2 unfolds them in every line that names them.
pub(super) const MACROS: u64 = 256;
/// How many annotated tags may stand between a name and its commit.
pub(super) const TAGS: usize = 16;

/// What there is too much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// See [`Bounds::files`].
    Files,
    /// See [`Bounds::bytes`].
    Bytes,
    /// See [`Bounds::file`].
    FileBytes,
    /// Bytes of a file with settings.
    Settings,
    /// Bytes of a source file.
    Source,
    /// Bytes of a commit or tag.
    Message,
    /// Bytes of a folder's list.
    Folder,
    /// Bytes of all paths.
    Paths,
    /// Bytes of one path.
    Path,
    /// Folders in one another.
    Depth,
    /// Submodules.
    Submodules,
    /// Submodules in one another.
    SubmoduleDepth,
    /// Lines of patterns.
    Patterns,
    /// Files times lines.
    Matches,
    /// Bytes of a line.
    Line,
    /// Words in macros.
    Macros,
}

impl Measure {
    /// Returns the key of `[project]` that says otherwise, if there is one.
    #[must_use]
    pub fn key(self) -> Option<&'static str> {
        match self {
            Self::Files => Some("max_files"),
            Self::Bytes => Some("max_size"),
            Self::FileBytes => Some("max_file_size"),
            _ => None,
        }
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Files => "files and folders",
            Self::Bytes => "bytes in all its files",
            Self::FileBytes => "bytes in a file",
            Self::Settings => "bytes in a file with settings",
            Self::Source => "bytes in a source file",
            Self::Message => "bytes in a message of a commit or tag",
            Self::Folder => "bytes of names in a folder",
            Self::Paths => "bytes in all its paths",
            Self::Path => "bytes in a path",
            Self::Depth => "folders in one another",
            Self::Submodules => "submodules",
            Self::SubmoduleDepth => "submodules in one another",
            Self::Patterns => "lines of .gitattributes and .gitignore",
            Self::Matches => "pairs of a file and a line of .gitattributes for it",
            Self::Line => "bytes in a line of .gitattributes",
            Self::Macros => "words in macros of .gitattributes",
        })
    }
}
