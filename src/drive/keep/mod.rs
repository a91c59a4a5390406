//! `keep`: copies of the files that a step names by patterns, taken when an attempt of it ends, however it ends.
//!
//! The job script takes them on the node, before its job ends: what follows in the same tree, or a driver that comes back
//! tomorrow, would find other files. Only where the script was killed before it came to that, the driver does it, in the same
//! way. The record beside the copies is written last and says that they are complete.
//!
//! The tree is that of the code under test: links in it are not followed, and a file is copied only if what was opened lies
//! where it is said to.

mod walk;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

use super::folder::RunFolder;
use super::prepare::Prepare;
use super::stored::put;
use super::{collect, late};
use crate::config::Memory;
use crate::foreign;
use crate::plan::{Cwd, KeepBounds, Step};
use crate::results::StepResult;
use crate::results::record::{KeptFiles, Note, NoteKind};
use walk::{Found, Pattern, Walk, is_ours};

/// The folder of the copies, in that of a start of the attempt.
const FOLDER: &str = "keep";
/// The record of what was kept.
const RECORD: &str = "keep.json";
/// What the script makes when its step begins: older files are not of the step.
pub(super) const BEGUN: &str = ".keep-begun";
/// The version of the record.
const VERSION: u32 = 1;
/// How many files are listed that could not be kept.
const MOST_REFUSED: usize = 100;
/// How many copies documents name.
const MOST_NAMES: usize = 100;
/// A record beyond this is not one of ours.
const LARGEST_RECORD: u64 = 64 << 20;
/// How long the driver may take for an attempt whose script could not do it.
const PATIENCE: Duration = Duration::from_mins(1);
/// How long a network file system may take to show the record.
const LAG: Duration = Duration::from_secs(3);
/// Between two looks for it.
const LOOK: Duration = Duration::from_millis(100);

/// What is to be kept, and of whom.
#[derive(Debug)]
pub struct Request<'a> {
    /// The folder of this start of the attempt, which gets the copies.
    pub start: &'a Path,
    /// The folder of the attempt, in which files are looked for first.
    pub step_dir: &'a Path,
    /// Where the step ran, in which they are looked for next.
    pub cwd: &'a Path,
    /// The work tree; what lies outside of it is not kept.
    pub tree: &'a Path,
    /// The patterns.
    pub patterns: &'a [String],
    /// How much may be kept.
    pub bounds: KeepBounds,
    /// How long it may take.
    pub time: Duration,
}

/// What was kept of an attempt.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    schema_version: u32,
    /// The copies, by their paths in the folder.
    files: Vec<KeptFile>,
    /// What matches and is not there.
    #[serde(default)]
    refused: Vec<Refused>,
    /// Further ones, counted alone.
    #[serde(default)]
    further_refused: u64,
    /// Patterns that matched nothing that the step wrote.
    #[serde(default)]
    idle: Vec<String>,
}

/// A copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct KeptFile {
    path: String,
    bytes: u64,
    /// Whether somebody wrote to the file while it was copied.
    #[serde(default)]
    changed: bool,
}

/// A file that could not be kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Refused {
    path: String,
    why: String,
}

impl Kept {
    /// Returns how many files there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.files.len()
    }

    /// Returns how large they are, all together.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// Returns what is not there although it matches, or not as it was, a line each.
    fn problems(&self) -> Vec<String> {
        let refused = self.refused.iter();
        let mut lines: Vec<String> = refused
            .map(|it| format!("`{}` was not kept: {}", it.path, it.why))
            .collect();
        if self.further_refused > 0 {
            lines.push(format!(
                "{} further ones were not kept",
                self.further_refused
            ));
        }
        let changed = self.files.iter().filter(|file| file.changed);
        lines.extend(changed.map(|file| format!("`{}` changed while it was copied", file.path)));
        lines
    }

    /// Returns it as documents have it.
    pub(super) fn listed(&self, attempt: u32, folder: Utf8PathBuf) -> KeptFiles {
        KeptFiles {
            attempt,
            folder,
            files: self.count() as u64,
            bytes: self.bytes(),
            names: self
                .files
                .iter()
                .take(MOST_NAMES)
                .map(|file| file.path.clone())
                .collect(),
            unmatched: self.idle.clone(),
            problems: self.problems(),
        }
    }

    fn refuse(&mut self, path: &Path, why: String) {
        if self.refused.len() < MOST_REFUSED {
            let path = path.to_string_lossy().into_owned();
            self.refused.push(Refused { path, why });
        } else {
            self.further_refused += 1;
        }
    }
}

/// Returns the folder of what was kept of the last start of an attempt, and what that is; none if nobody kept anything.
#[must_use]
pub fn kept(attempt: &Path) -> Option<(PathBuf, Kept)> {
    let start = collect::last_start(attempt);
    let path = start.join(RECORD);
    let data = fs_err::symlink_metadata(&path).ok()?;
    if !data.is_file() || data.len() > LARGEST_RECORD {
        return None;
    }
    let kept: Kept = serde_json::from_slice(&foreign::read(&path, foreign::DOCUMENT).ok()?).ok()?;
    Some((start.join(FOLDER), kept))
}

/// Returns what a person should know: what could not be kept of a step, and patterns that matched nothing in the whole run.
pub(super) fn notes(steps: &[Step], results: &[StepResult]) -> Vec<Note> {
    let note = |part, message| Note {
        kind: NoteKind::Warning,
        part,
        message,
    };
    let mut notes = Vec::new();
    // How many attempts had a pattern, and how many of them in vain.
    let mut patterns: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for (step, result) in steps.iter().zip(results) {
        for kept in &result.kept {
            for pattern in &step.keep {
                let (had, in_vain) = patterns.entry(pattern).or_default();
                *had += 1;
                *in_vain += usize::from(kept.unmatched.contains(pattern));
            }
            if let Some(first) = kept.problems.first() {
                let more = match kept.problems.len() {
                    1 => String::new(),
                    count => format!(", and {} more", count - 1),
                };
                let message = format!("`keep` of `{}`: {first}{more}", step.name);
                notes.push(note(Some(result.kind.part()), message));
            }
        }
    }
    let idle = patterns.iter().filter(|(_, (had, in_vain))| had == in_vain);
    notes.extend(idle.map(|(pattern, _)| {
        let message = format!("`{pattern}` of `keep` matches no file that a step wrote");
        note(None, message)
    }));
    notes
}

/// Keeps what the script of an attempt could not: it was killed, or its node died.
pub(super) fn make_up_for(prepare: &Prepare<'_>, step: &Step, folder: &RunFolder, number: u32) {
    let attempt = folder.attempt(&step.slug, number);
    let start = collect::last_start(&attempt);
    if step.keep.is_empty() || !start.join(BEGUN).exists() || kept(&attempt).is_some() {
        return;
    }
    let Some(made) = prepare.made.get(&step.build) else {
        return;
    };
    if tokio::task::block_in_place(|| comes_late(&attempt, &start)) {
        return;
    }
    let (tree, cwd) = match &step.cwd {
        Cwd::Tree => (made.tree.clone(), made.tree.clone()),
        Cwd::Private => (start.join("tree"), start.join("tree")),
        Cwd::Path(path) => (made.tree.clone(), made.tree.join(path)),
    };
    let request = Request {
        start: &start,
        step_dir: &attempt,
        cwd: &cwd,
        tree: &tree,
        patterns: &step.keep,
        bounds: step.keep_bounds,
        time: PATIENCE,
    };
    if let Err(error) = tokio::task::block_in_place(|| keep(&request)) {
        tracing::warn!(%error, step = step.name, "what the step was to keep could not be copied");
    }
}

/// Whether the record of a script that came to its end is there after all: a network file system shows it later than its exit record.
fn comes_late(attempt: &Path, start: &Path) -> bool {
    let begin = Instant::now();
    loop {
        late::refresh(start);
        if kept(attempt).is_some() {
            return true;
        }
        if collect::exit_record(attempt).is_none() || begin.elapsed() >= LAG {
            return false;
        }
        std::thread::sleep(LOOK);
    }
}

/// Copies the files that the patterns name, and writes down what became of each.
pub fn keep(request: &Request<'_>) -> std::io::Result<Kept> {
    let folder = request.start.join(FOLDER);
    clear(&folder)?;
    clear(&request.start.join(RECORD))?;
    fs_err::create_dir(&folder)?;
    let since = fs_err::symlink_metadata(request.start.join(BEGUN));
    let since = since.map_or((i64::MIN, 0), |data| (data.ctime(), data.ctime_nsec()));
    let deadline = Instant::now() + request.time;
    let mut copying = Copying {
        folder: &folder,
        bounds: request.bounds,
        deadline,
        bytes: 0,
        taken: BTreeMap::new(),
        kept: Kept {
            schema_version: VERSION,
            ..Kept::default()
        },
    };
    let step_dir = fs_err::canonicalize(request.step_dir)?;
    // Where a private copy of the tree is not even there, nothing can lie in it.
    let tree = fs_err::canonicalize(request.tree).ok();
    for text in request.patterns {
        let Some(pattern) = Pattern::new(text) else {
            let why = "a pattern is relative to where the step runs, and leads to no other place";
            copying.kept.refuse(Path::new(text), why.to_owned());
            continue;
        };
        let walk = |base: &Path, within: &Path, aside: &dyn Fn(&OsStr) -> bool| {
            let walk = Walk {
                base,
                within,
                aside,
                since,
                deadline,
            };
            walk.find(&pattern)
        };
        let mut any = false;
        let mut take = |base: &Path, within: &Path, found: Found| {
            any |= !found.files.is_empty() || !found.refused.is_empty();
            copying.take(base, within, found);
        };
        take(
            request.step_dir,
            &step_dir,
            walk(request.step_dir, &step_dir, &is_ours),
        );
        if let Some(tree) = &tree {
            take(request.cwd, tree, walk(request.cwd, tree, &|_| false));
        }
        if !any {
            copying.kept.idle.push(text.clone());
        }
    }
    let kept = copying.kept;
    put(
        &request.start.join(RECORD),
        &serde_json::to_vec(&kept)?,
        0o666,
    )?;
    Ok(kept)
}

/// Removes whatever stands here; a link is not followed.
fn clear(path: &Path) -> std::io::Result<()> {
    let done = match fs_err::symlink_metadata(path) {
        Ok(data) if data.is_dir() => fs_err::remove_dir_all(path),
        Ok(_) => fs_err::remove_file(path),
        Err(error) => Err(error),
    };
    match done {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

struct Copying<'a> {
    folder: &'a Path,
    bounds: KeepBounds,
    deadline: Instant,
    bytes: u64,
    /// By their paths in the folder, where the originals stood.
    taken: BTreeMap<PathBuf, PathBuf>,
    kept: Kept,
}

impl Copying<'_> {
    fn take(&mut self, base: &Path, within: &Path, found: Found) {
        for (path, why) in found.refused {
            self.kept.refuse(&path, why);
        }
        for (path, bytes) in found.files {
            let from = base.join(&path);
            match self.taken.get(&path) {
                Some(same) if *same == from => continue,
                Some(other) => {
                    let why = format!("`{}` was kept under this name", other.display());
                    self.kept.refuse(&path, why);
                    continue;
                }
                None => {}
            }
            match self.copy(&from, within, &path, bytes) {
                Ok(file) => {
                    self.bytes += file.bytes;
                    self.kept.files.push(file);
                    self.taken.insert(path, from);
                }
                Err(why) => self.kept.refuse(&path, why),
            }
        }
    }

    fn copy(
        &self,
        from: &Path,
        within: &Path,
        path: &Path,
        bytes: u64,
    ) -> Result<KeptFile, String> {
        if Instant::now() >= self.deadline {
            return Err("there was no time left to copy it".to_owned());
        }
        let count = self.kept.files.len() as u64;
        if count >= self.bounds.files {
            return Err(format!("`max_kept_files` of [scheduler.limits] is {count}"));
        }
        let room = self.bounds.bytes.saturating_sub(self.bytes);
        self.fits(bytes, room)?;
        let said = |error: std::io::Error| error.to_string();
        let file = open(from, within)?;
        let before = file.metadata().map_err(said)?;
        // What has grown since it was found.
        self.fits(before.len(), room)?;
        let to = self.folder.join(path);
        if let Some(parent) = to.parent() {
            std::fs::create_dir_all(parent).map_err(said)?;
        }
        let copied = copy(&file, &to, &before);
        let bytes = copied.map_err(|error| {
            fs_err::remove_file(&to).ok();
            error.to_string()
        })?;
        let after = file.metadata().map_err(said)?;
        let stamp = |data: &std::fs::Metadata| (data.len(), data.mtime(), data.mtime_nsec());
        Ok(KeptFile {
            path: path.to_string_lossy().into_owned(),
            bytes,
            changed: bytes != before.len() || stamp(&before) != stamp(&after),
        })
    }

    fn fits(&self, bytes: u64, room: u64) -> Result<(), String> {
        if bytes <= room {
            return Ok(());
        }
        let limit = Memory::from_bytes(self.bounds.bytes);
        let size = Memory::from_bytes(bytes).rounded();
        Err(if bytes > self.bounds.bytes {
            format!("it has {size}, and `max_kept` of [scheduler.limits] is {limit}")
        } else {
            format!(
                "with its {size} it would be more than {limit}, `max_kept` of [scheduler.limits]"
            )
        })
    }
}

/// Opens a file that no link stands for, and that lies within the folder whatever became of the way to it since.
fn open(path: &Path, within: &Path) -> Result<File, String> {
    use std::os::fd::AsRawFd as _;
    let flags = nix::fcntl::OFlag::O_NOFOLLOW | nix::fcntl::OFlag::O_NONBLOCK;
    let file = File::options()
        .read(true)
        .custom_flags(flags.bits())
        .open(path)
        .map_err(|error| error.to_string())?;
    let real = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()));
    let real = real.map_err(|error| error.to_string())?;
    if !real.starts_with(within) {
        return Err(format!("it leads out of `{}`", within.display()));
    }
    match file.metadata() {
        Ok(data) if data.is_file() => Ok(file),
        Ok(_) => Err("it is not a file any more".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Copies as many bytes as the file had; who goes on writing to it does not make the copy grow.
fn copy(from: &File, to: &Path, data: &std::fs::Metadata) -> std::io::Result<u64> {
    let mode = data.permissions().mode() & 0o777 | 0o600;
    let mut copy = File::options()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(to)?;
    std::io::copy(&mut from.take(data.len()), &mut copy)
}

#[cfg(test)]
mod tests;
