//! Looks for the files that the patterns of `keep` name. No symbolic link is followed below the folder that is searched.

use std::ffi::OsStr;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};
use std::time::Instant;

use globset::{GlobBuilder, GlobMatcher};

/// More matching files than this are not even listed: the limits of `[scheduler.limits]` are far below.
const MOST: usize = 200_000;
/// Git's own folder is no output of a step.
const GIT: &str = ".git";

/// A pattern: the folder that it begins with, and what is looked for there.
pub(super) struct Pattern {
    prefix: PathBuf,
    glob: GlobMatcher,
    /// How deep a match can lie below the folder; none where there is no bound.
    depth: Option<usize>,
}

impl Pattern {
    /// Returns the pattern; none if it leads out of the folder that it is relative to, or is none.
    pub(super) fn new(text: &str) -> Option<Self> {
        let mut parts = Vec::new();
        for part in Path::new(text).components() {
            match part {
                Component::Normal(part) => parts.push(part),
                Component::CurDir => {}
                Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
            }
        }
        let special = |part: &&OsStr| part.to_string_lossy().contains(['*', '?', '[', '{', '\\']);
        let plain = parts.iter().take_while(|part| !special(part)).count();
        // The last part is looked for, also where it is a plain name.
        let (plain, globbed) = parts.split_at(plain.min(parts.len().checked_sub(1)?));
        let glob: PathBuf = globbed.iter().collect();
        let glob = glob.to_string_lossy().into_owned();
        let bounded = !glob.contains("**") && !glob.contains('{');
        Some(Self {
            prefix: plain.iter().collect(),
            depth: bounded.then_some(globbed.len()),
            glob: GlobBuilder::new(&glob)
                .literal_separator(true)
                .build()
                .ok()?
                .compile_matcher(),
        })
    }
}

/// What a walk looks for and how far it goes.
pub(super) struct Walk<'a> {
    /// The folder that patterns are relative to.
    pub(super) base: &'a Path,
    /// Nothing outside of this folder, every link resolved, is taken.
    pub(super) within: &'a Path,
    /// Names directly below the base that are passed over.
    pub(super) aside: &'a dyn Fn(&OsStr) -> bool,
    /// What did not change since is not of the step: seconds and nanoseconds.
    pub(super) since: (i64, i64),
    /// When to stop.
    pub(super) deadline: Instant,
}

/// What a walk found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Files, relative to the base, with their sizes, in the order of their paths.
    pub(super) files: Vec<(PathBuf, u64)>,
    /// What matches and cannot be kept, and why.
    pub(super) refused: Vec<(PathBuf, String)>,
}

impl Walk<'_> {
    /// Returns what the pattern names.
    pub(super) fn find(&self, pattern: &Pattern) -> Found {
        let mut found = Found::default();
        let start = self.base.join(&pattern.prefix);
        let Ok(real) = fs_err::canonicalize(&start) else {
            return found;
        };
        if !real.starts_with(self.within) {
            let why = format!("it leads out of `{}`", self.within.display());
            found.refused.push((pattern.prefix.clone(), why));
            return found;
        }
        let mut open = vec![(PathBuf::new(), false)];
        while let Some((folder, matched)) = open.pop() {
            if Instant::now() >= self.deadline {
                let why = "there was no time left to search it".to_owned();
                found.refused.push((pattern.prefix.join(folder), why));
                break;
            }
            self.list(pattern, &folder, matched, &mut open, &mut found);
            if found.files.len() >= MOST {
                let why = format!("more than {MOST} files match");
                found.refused.push((pattern.prefix.join(folder), why));
                break;
            }
        }
        found.files.sort_unstable();
        found
    }

    fn list(
        &self,
        pattern: &Pattern,
        folder: &Path,
        matched: bool,
        open: &mut Vec<(PathBuf, bool)>,
        found: &mut Found,
    ) {
        let shown = |path: &Path| pattern.prefix.join(path);
        let entries = match std::fs::read_dir(self.base.join(&pattern.prefix).join(folder)) {
            Ok(entries) => entries,
            Err(error) => return found.refused.push((shown(folder), error.to_string())),
        };
        let top = pattern.prefix.as_os_str().is_empty() && folder.as_os_str().is_empty();
        for entry in entries {
            let (name, data) = match entry.and_then(|it| Ok((it.file_name(), it.metadata()?))) {
                Ok(entry) => entry,
                Err(error) => {
                    found.refused.push((shown(folder), error.to_string()));
                    continue;
                }
            };
            if name == GIT || top && (self.aside)(&name) {
                continue;
            }
            let path = folder.join(&name);
            let wanted = matched || pattern.glob.is_match(&path);
            if data.is_dir() {
                let deeper = pattern
                    .depth
                    .is_none_or(|depth| path.components().count() < depth);
                if wanted || deeper {
                    open.push((path, wanted));
                }
            } else if wanted {
                self.judge(shown(&path), &data, found);
            }
        }
    }

    fn judge(&self, path: PathBuf, data: &Metadata, found: &mut Found) {
        if data.is_symlink() {
            let why = "it is a symbolic link".to_owned();
            found.refused.push((path, why));
        } else if !data.is_file() {
            let why = "it is neither a file nor a folder".to_owned();
            found.refused.push((path, why));
        } else if (data.ctime(), data.ctime_nsec()) >= self.since {
            found.files.push((path, data.len()));
        }
    }
}

/// What an attempt's own folder has beside the files of its step.
pub(super) fn is_ours(name: &OsStr) -> bool {
    const NAMES: [&str; 14] = [
        "exit.json",
        "failed-part",
        "job.sh",
        "keep",
        "log.txt",
        "node.sh",
        "nodes",
        "profiles",
        "rank.sh",
        "ranks",
        "results",
        "storage",
        "tracefiles",
        "tree",
    ];
    let name = name.to_string_lossy();
    NAMES.contains(&name.as_ref())
        || name.starts_with("restart-")
        || name.starts_with(super::BEGUN)
        || name.starts_with("keep.")
        || name.starts_with(".refresh-")
}
