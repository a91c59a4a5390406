//! What a commit unfolds to, found out without unfolding it: each object is looked at once, however often it is named.
//!
//! Sizes come from the objects' headers, so that nothing is inflated that may be a bomb.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use git2::{FileMode, ObjectType, Oid};

use super::access::Access;
use super::bounds::{
    Bounds, DEPTH, FOLDER, LINE, MACROS, MATCHES, Measure, PATH, PATHS, PATTERNS, SETTINGS,
    SUBMODULES,
};
use super::error::GitError;
use super::limits;
use super::repository::{CommitId, Repository};

/// How often it is asked whether to stop.
const OFTEN: u64 = 256;

/// What lies in a folder, with all below.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Weight {
    /// Files and folders.
    pub(super) entries: u64,
    /// Files alone.
    pub(super) files: u64,
    /// Bytes of all files.
    pub(super) bytes: u64,
    /// Bytes of all paths.
    pub(super) paths: u64,
    /// The longest path.
    longest: u64,
    /// Folders in one another.
    depth: u64,
    /// Submodules.
    pub(super) links: u64,
    /// Lines of `.gitattributes` and `.gitignore`.
    patterns: u64,
    /// Files times lines of `.gitattributes` for them.
    matches: u64,
    /// Whether there is any `.gitattributes`.
    pub(super) has_attributes: bool,
    /// Whether there is any symbolic link in the place of `.gitattributes` or `.gitignore`.
    pub(super) has_steering_links: bool,
}

impl Weight {
    /// Takes in an entry with this name that weighs so much.
    fn add(&mut self, name: u64, below: &Self) {
        let more = |one: &mut u64, other: u64| *one = one.saturating_add(other);
        more(&mut self.entries, below.entries);
        more(&mut self.files, below.files);
        more(&mut self.bytes, below.bytes);
        let prefixes = below.entries.saturating_mul(name + 1);
        more(&mut self.paths, below.paths.saturating_add(prefixes));
        more(&mut self.links, below.links);
        more(&mut self.patterns, below.patterns);
        more(&mut self.matches, below.matches);
        self.longest = self.longest.max(below.longest.saturating_add(name + 1));
        self.depth = self.depth.max(below.depth.saturating_add(1));
        self.has_attributes |= below.has_attributes;
        self.has_steering_links |= below.has_steering_links;
    }
}

/// What the levels of a tree hold together.
pub(super) struct Budget<'a> {
    pub(super) bounds: Bounds,
    access: &'a Access<'a>,
    spent: Weight,
    /// The outermost commit.
    whole: Option<CommitId>,
}

impl<'a> Budget<'a> {
    pub(super) fn new(bounds: Bounds, access: &'a Access<'a>) -> Self {
        Self {
            bounds,
            access,
            spent: Weight::default(),
            whole: None,
        }
    }

    /// Weighs a commit and takes it off; an error names what is too much, and where.
    pub(super) fn spend(
        &mut self,
        repository: &Repository,
        commit: CommitId,
    ) -> Result<Survey, GitError> {
        let survey = Survey::take(repository, commit, &self.bounds, true, self.access)?;
        let whole = *self.whole.get_or_insert(commit);
        self.spent.add(0, &survey.weight);
        let too_much = |measure, limit| GitError::TooMuch {
            commit: whole,
            path: "all levels of submodules".into(),
            measure,
            limit,
        };
        for (found, measure, limit) in self.bounds.of(&self.spent) {
            if found > limit {
                return Err(too_much(measure, limit));
            }
        }
        Ok(survey)
    }
}

impl Bounds {
    /// Returns what is bounded of all that is written.
    fn of(&self, weight: &Weight) -> [(u64, Measure, u64); 6] {
        [
            (weight.entries, Measure::Files, self.files),
            (weight.bytes, Measure::Bytes, self.bytes),
            (weight.paths, Measure::Paths, PATHS),
            (weight.links, Measure::Submodules, SUBMODULES),
            (weight.patterns, Measure::Patterns, PATTERNS),
            (weight.matches, Measure::Matches, MATCHES),
        ]
    }
}

/// What a commit unfolds to.
#[derive(Default)]
pub(super) struct Survey {
    pub(super) weight: Weight,
    /// The folders that have a submodule somewhere below.
    with_links: HashSet<Oid>,
    /// The folders that have a symbolic link for `.gitattributes` or `.gitignore` somewhere below.
    with_steering_links: HashSet<Oid>,
    /// The size of each file.
    pub(super) sizes: HashMap<Oid, u64>,
}

impl Survey {
    /// Looks through a commit; without `sizes`, for its names and submodules alone.
    pub(super) fn take(
        repository: &Repository,
        commit: CommitId,
        bounds: &Bounds,
        sizes: bool,
        access: &Access<'_>,
    ) -> Result<Self, GitError> {
        limits::ensure();
        let failed = |error: git2::Error| repository.failed("read a tree", &error);
        let mut walk = Walk {
            repository,
            odb: repository.git.odb().map_err(failed)?,
            commit,
            bounds,
            sizes,
            survey: Self::default(),
            known: HashMap::new(),
            patterns: HashMap::new(),
            stack: vec![Frame::new(repository.tree(commit)?, Vec::new())],
        };
        let mut seen: u64 = 0;
        while !walk.stack.is_empty() {
            seen += 1;
            if seen.is_multiple_of(OFTEN) && (access.cancelled)() {
                let place = repository.shown();
                return Err(GitError::Cancelled { place });
            }
            walk.step()?;
        }
        Ok(walk.survey)
    }

    /// Returns whether a folder has a submodule somewhere below.
    pub(super) fn leads_to_links(&self, tree: Oid) -> bool {
        self.with_links.contains(&tree)
    }

    /// Returns whether a folder has a symbolic link for `.gitattributes` or `.gitignore` somewhere below.
    pub(super) fn leads_to_steering_links(&self, tree: Oid) -> bool {
        self.with_steering_links.contains(&tree)
    }
}

/// A folder that is being looked through.
struct Frame<'a> {
    tree: git2::Tree<'a>,
    next: usize,
    name: Vec<u8>,
    weight: Weight,
    /// Lines of its own `.gitattributes`.
    lines: u64,
}

impl<'a> Frame<'a> {
    fn new(tree: git2::Tree<'a>, name: Vec<u8>) -> Self {
        Self {
            tree,
            next: 0,
            name,
            weight: Weight::default(),
            lines: 0,
        }
    }
}

/// A survey under way.
struct Walk<'a> {
    repository: &'a Repository,
    odb: git2::Odb<'a>,
    commit: CommitId,
    bounds: &'a Bounds,
    sizes: bool,
    survey: Survey,
    /// Folders that were looked through to their end.
    known: HashMap<Oid, Weight>,
    /// Lines of files with patterns; of `.gitattributes` or not.
    patterns: HashMap<(Oid, bool), u64>,
    /// From the root to the folder that is looked through.
    stack: Vec<Frame<'a>>,
}

impl Walk<'_> {
    /// Takes in one more entry, or leaves a folder that has no more.
    fn step(&mut self) -> Result<(), GitError> {
        let Some(top) = self.stack.last_mut() else {
            return Ok(());
        };
        let Some(entry) = top.tree.get(top.next) else {
            return self.leave();
        };
        let (id, kind, mode) = (entry.id(), entry.kind(), entry.filemode());
        let name = entry.name_bytes().to_vec();
        drop(entry);
        top.next += 1;
        let mut one = Weight {
            entries: 1,
            ..Weight::default()
        };
        let mut enter = false;
        match kind {
            Some(ObjectType::Tree) => match self.known.get(&id) {
                Some(below) => {
                    one = *below;
                    one.entries = one.entries.saturating_add(1);
                }
                None => enter = true,
            },
            Some(ObjectType::Commit) => one.links = 1,
            _ => self.weigh_file(id, mode == i32::from(FileMode::Link), &name, &mut one)?,
        }
        let above = self.stack.len() as u64 - 1;
        if let Some(top) = self.stack.last_mut() {
            if name == b".gitattributes" {
                top.lines = one.patterns;
            }
            top.weight.add(name.len() as u64, &one);
            let weight = top.weight;
            self.check(&weight, above, &name)?;
        }
        if enter {
            let failed = |error: git2::Error| self.repository.failed("read a tree", &error);
            let (size, _) = self.odb.read_header(id).map_err(failed)?;
            if size as u64 > FOLDER {
                return Err(self.too_much(&name, Measure::Folder, FOLDER));
            }
            let tree = self.repository.git.find_tree(id).map_err(failed)?;
            self.stack.push(Frame::new(tree, name));
        }
        Ok(())
    }

    /// Hands what a folder weighs to the one above.
    fn leave(&mut self) -> Result<(), GitError> {
        let Some(frame) = self.stack.pop() else {
            return Ok(());
        };
        let mut weight = frame.weight;
        let matches = frame.lines.saturating_mul(weight.files);
        weight.matches = weight.matches.saturating_add(matches);
        if weight.links > 0 {
            self.survey.with_links.insert(frame.tree.id());
        }
        if weight.has_steering_links {
            self.survey.with_steering_links.insert(frame.tree.id());
        }
        let above = self.stack.len() as u64;
        self.check(&weight, above, &frame.name)?;
        self.known.insert(frame.tree.id(), weight);
        let Some(top) = self.stack.last_mut() else {
            self.survey.weight = weight;
            return Ok(());
        };
        top.weight.add(frame.name.len() as u64, &weight);
        let weight = top.weight;
        self.check(&weight, above - 1, &frame.name)
    }

    /// Adds what is bounded of a file.
    fn weigh_file(
        &mut self,
        id: Oid,
        is_link: bool,
        name: &[u8],
        one: &mut Weight,
    ) -> Result<(), GitError> {
        one.files = 1;
        if !self.sizes {
            return Ok(());
        }
        let failed = |error: git2::Error| self.repository.failed("read a tree", &error);
        let size = match self.survey.sizes.get(&id) {
            Some(size) => *size,
            None => self.odb.read_header(id).map_err(failed)?.0 as u64,
        };
        self.survey.sizes.insert(id, size);
        one.bytes = size;
        if size > self.bounds.file {
            return Err(self.too_much(name, Measure::FileBytes, self.bounds.file));
        }
        let attributes = name == b".gitattributes";
        if !attributes && name != b".gitignore" {
            return Ok(());
        }
        if is_link {
            one.has_steering_links = true;
            return Ok(());
        }
        if size > SETTINGS {
            return Err(self.too_much(name, Measure::Settings, SETTINGS));
        }
        one.has_attributes = attributes;
        one.patterns = if let Some(lines) = self.patterns.get(&(id, attributes)) {
            *lines
        } else {
            let blob = self.repository.git.find_blob(id).map_err(failed)?;
            lines_of(blob.content(), attributes)
                .map_err(|(measure, limit)| self.too_much(name, measure, limit))?
        };
        self.patterns.insert((id, attributes), one.patterns);
        Ok(())
    }

    /// Compares what lies below a folder, which has so many above itself, with what may.
    fn check(&self, weight: &Weight, above: u64, name: &[u8]) -> Result<(), GitError> {
        let shape = [
            (weight.depth.saturating_add(above), Measure::Depth, DEPTH),
            (weight.longest, Measure::Path, PATH),
        ];
        let all = self.bounds.of(weight).into_iter().chain(shape);
        for (found, measure, limit) in all {
            if found > limit {
                return Err(self.too_much(name, measure, limit));
            }
        }
        Ok(())
    }

    fn too_much(&self, name: &[u8], measure: Measure, limit: u64) -> GitError {
        GitError::TooMuch {
            commit: self.commit,
            path: path(&self.stack, name),
            measure,
            limit,
        }
    }
}

/// Returns how many lines of patterns there are.
fn lines_of(text: &[u8], attributes: bool) -> Result<u64, (Measure, u64)> {
    let mut count = 0;
    let mut in_macros = 0;
    // libgit2 takes either for the end of a line.
    for line in text.split(|byte| matches!(byte, b'\n' | b'\r')) {
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        count += 1;
        if attributes && line.len() as u64 > LINE {
            return Err((Measure::Line, LINE));
        }
        if attributes && line.starts_with(b"[attr]") {
            in_macros += line.split(u8::is_ascii_whitespace).count() as u64;
        }
    }
    if in_macros > MACROS {
        return Err((Measure::Macros, MACROS));
    }
    Ok(count)
}

/// Returns where an entry lies, cut where it is long.
fn path(stack: &[Frame<'_>], name: &[u8]) -> PathBuf {
    const SHOWN: usize = 200;
    let mut text: Vec<u8> = Vec::new();
    let above = stack.iter().skip(1).map(|frame| frame.name.as_slice());
    for part in above.chain([name]).filter(|part| !part.is_empty()) {
        if !text.is_empty() {
            text.push(b'/');
        }
        text.extend_from_slice(part);
        if text.len() > SHOWN {
            text.truncate(SHOWN);
            text.extend_from_slice("…".as_bytes());
            break;
        }
    }
    if text.is_empty() {
        text.push(b'.');
    }
    PathBuf::from(OsStr::from_bytes(&text))
}
