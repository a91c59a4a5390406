//! A repository that holds commits, read without touching it.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use git2::{ErrorClass, ErrorCode, ObjectType, Oid};
use serde::{Deserialize, Serialize};

use super::access::Access;
use super::bounds::{Bounds, FOLDER, MESSAGE, Measure, TAGS};
use super::cause;
use super::error::GitError;
use super::location::{Location, Remote};
use super::survey::Survey;

/// How many symbolic links are followed inside a commit.
const MAX_LINKS: usize = 8;

/// The full name of a commit.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CommitId(pub(super) Oid);

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A text that is not 40 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not the full name of a commit")]
pub struct CommitIdError(String);

impl FromStr for CommitId {
    type Err = CommitIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        full_id(text)
            .map(Self)
            .ok_or_else(|| CommitIdError(text.to_owned()))
    }
}

impl TryFrom<String> for CommitId {
    type Error = CommitIdError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<CommitId> for String {
    fn from(id: CommitId) -> Self {
        id.to_string()
    }
}

/// Reads 40 hexadecimal digits; anything shorter is padded by libgit2, which would be another commit.
pub(super) fn full_id(text: &str) -> Option<Oid> {
    let all_hex = text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    all_hex.then(|| Oid::from_str(text).ok()).flatten()
}

/// A repository that holds commits: a clone or bare repository of this machine, or a mirror of a remote one.
pub struct Repository {
    pub(super) git: git2::Repository,
    pub(super) origin: Option<Location>,
    /// Set if this is a mirror of ours.
    pub(super) mirror_of: Option<Mirrored>,
}

/// What a mirror is a mirror of, and the path by which it is reached, which stays when it is made anew.
#[derive(Debug, Clone)]
pub(super) struct Mirrored {
    pub(super) place: Remote,
    pub(super) dir: PathBuf,
}

impl fmt::Debug for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Repository({})", self.path().display())
    }
}

impl Repository {
    /// Opens the repository at `path`, or with `search` the one that holds it.
    pub(super) fn open_local(path: &Path, search: bool) -> Result<Self, GitError> {
        let flags = if search {
            git2::RepositoryOpenFlags::empty()
        } else {
            git2::RepositoryOpenFlags::NO_SEARCH
        };
        let nowhere: [&OsStr; 0] = [];
        let git = git2::Repository::open_ext(path, flags, nowhere)
            .map_err(|error| cause::not_opened(&error, path, search))?;
        let origin = origin_of(&git);
        Ok(Self {
            git,
            origin,
            mirror_of: None,
        })
    }

    /// Returns the work tree, or for a bare repository the repository itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.git.workdir().unwrap_or_else(|| self.git.path())
    }

    /// Returns where the repository was cloned from, if that is known.
    #[must_use]
    pub fn origin(&self) -> Option<&Location> {
        self.origin.as_ref()
    }

    /// Returns true if this is a mirror, not a repository of the user's own.
    #[must_use]
    pub fn is_mirror(&self) -> bool {
        self.mirror_of.is_some()
    }

    /// Returns true if history is cut off somewhere.
    #[must_use]
    pub fn is_shallow(&self) -> bool {
        self.git.is_shallow()
    }

    /// Returns true if the commit is there, whatever became of its parents.
    #[must_use]
    pub fn has(&self, commit: CommitId) -> bool {
        matches!(self.header(commit.0), Ok((_, ObjectType::Commit)))
    }

    /// Returns what an object says of its size and kind, without inflating it.
    fn header(&self, id: Oid) -> Result<(u64, ObjectType), git2::Error> {
        let (size, kind) = self.git.odb()?.read_header(id)?;
        Ok((size as u64, kind))
    }

    /// Returns the content of a file of a commit, of at most this size; `None` if there is no such file. A symbolic link is followed
    /// as far as it stays inside the commit.
    pub fn file_at(
        &self,
        commit: CommitId,
        path: &Path,
        (measure, limit): (Measure, u64),
    ) -> Result<Option<Vec<u8>>, GitError> {
        let tree = self.tree(commit)?;
        let mut path = path.to_path_buf();
        for _ in 0..MAX_LINKS {
            let entry = match tree.get_path(&path) {
                Ok(entry) => entry,
                Err(error) if error.code() == ErrorCode::NotFound => return Ok(None),
                Err(error) => return Err(self.failed("read a tree", &error)),
            };
            if entry.kind() != Some(ObjectType::Blob) {
                return Ok(None);
            }
            let failed = |error: git2::Error| self.failed("read a file", &error);
            let (size, _) = self.header(entry.id()).map_err(failed)?;
            if size > limit {
                return Err(GitError::TooMuch {
                    commit,
                    path,
                    measure,
                    limit,
                });
            }
            let blob = self.git.find_blob(entry.id()).map_err(failed)?;
            if entry.filemode() != i32::from(git2::FileMode::Link) {
                return Ok(Some(blob.content().to_vec()));
            }
            let Some(target) = follow(&path, blob.content()) else {
                return Ok(None);
            };
            path = target;
        }
        Ok(None)
    }

    /// Returns the paths of all files of a commit, without those of submodules, in git's order.
    pub fn list_files(
        &self,
        commit: CommitId,
        bounds: &Bounds,
        access: &Access<'_>,
    ) -> Result<Vec<PathBuf>, GitError> {
        Survey::take(self, commit, bounds, false, access)?;
        let mut paths = Vec::new();
        self.walk(commit, |path, entry| {
            if entry.kind() == Some(ObjectType::Blob) {
                paths.push(path);
            }
        })?;
        Ok(paths)
    }

    /// Returns the submodules of a commit and their commits, without those of submodules.
    pub fn submodules(
        &self,
        commit: CommitId,
        bounds: &Bounds,
        access: &Access<'_>,
    ) -> Result<Vec<(PathBuf, CommitId)>, GitError> {
        let survey = Survey::take(self, commit, bounds, false, access)?;
        self.links(commit, &survey)
    }

    /// Returns the submodules of a commit that was surveyed, by path.
    pub(super) fn links(
        &self,
        commit: CommitId,
        survey: &Survey,
    ) -> Result<Vec<(PathBuf, CommitId)>, GitError> {
        let mut found = Vec::new();
        self.walk_where(
            commit,
            |tree| survey.leads_to_links(tree),
            |path, entry| {
                if entry.kind() == Some(ObjectType::Commit) {
                    found.push((path, CommitId(entry.id())));
                }
            },
        )?;
        found.sort();
        Ok(found)
    }

    /// Returns the paths that differ between two commits, with both names of what was renamed.
    pub fn changed_files(&self, old: CommitId, new: CommitId) -> Result<Vec<PathBuf>, GitError> {
        let (old, new) = (self.tree(old)?, self.tree(new)?);
        let diff = self
            .git
            .diff_tree_to_tree(Some(&old), Some(&new), None)
            .map_err(|error| self.failed("compare commits", &error))?;
        let mut paths: Vec<PathBuf> = diff
            .deltas()
            .filter_map(|delta| delta.new_file().path().or_else(|| delta.old_file().path()))
            .map(Path::to_path_buf)
            .collect();
        paths.sort();
        Ok(paths)
    }

    /// Returns true if `ancestor` is `commit` or in its history. Where history is cut off, "no" cannot be known.
    pub fn is_ancestor(&self, ancestor: CommitId, commit: CommitId) -> Result<bool, GitError> {
        self.require(commit)?;
        if ancestor == commit {
            return Ok(true);
        }
        match self.git.graph_descendant_of(commit.0, ancestor.0) {
            Ok(true) => Ok(true),
            Ok(false) | Err(_) if self.is_shallow() => Err(self.cut_off()),
            Ok(false) => Ok(false),
            Err(error) => Err(self.failed("walk history", &error)),
        }
    }

    /// Returns the best common ancestor of two commits, if they have one. Where history is cut off before it, that
    /// cannot be known.
    pub fn merge_base(&self, one: CommitId, two: CommitId) -> Result<Option<CommitId>, GitError> {
        self.require(one)?;
        self.require(two)?;
        match self.git.merge_base(one.0, two.0) {
            Ok(base) => Ok(Some(CommitId(base))),
            Err(error) if error.code() == ErrorCode::NotFound => {
                if self.is_shallow() {
                    Err(self.cut_off())
                } else {
                    Ok(None)
                }
            }
            Err(error) => Err(self.failed("walk history", &error)),
        }
    }

    /// Returns the first parent of a commit; `None` for the first commit of all. It need not be present itself.
    pub fn first_parent(&self, commit: CommitId) -> Result<Option<CommitId>, GitError> {
        Ok(self.commit(commit)?.parent_id(0).ok().map(CommitId))
    }

    /// Returns the tag that names a commit: annotated ones first, then the last by name.
    pub fn tag_of(&self, commit: CommitId) -> Result<Option<String>, GitError> {
        let failed = |error: git2::Error| self.failed("read tags", &error);
        let mut best: Option<(bool, String)> = None;
        for reference in self.git.references_glob("refs/tags/*").map_err(failed)? {
            let reference = reference.map_err(failed)?;
            let Ok(name) = reference.shorthand() else {
                continue;
            };
            let target = reference.target();
            if target.and_then(|target| self.peeled(target)) == Some(commit) {
                let annotated = target != Some(commit.0);
                best = best.max(Some((annotated, name.to_owned())));
            }
        }
        Ok(best.map(|(_, name)| name))
    }

    /// Returns the branch that the remote (for a bare repository or a mirror: itself) calls its main one, if that can be
    /// told.
    #[must_use]
    pub fn default_branch(&self) -> Option<String> {
        if self.git.is_bare() {
            let head = self.git.find_reference("HEAD").ok()?;
            let target = head.symbolic_target().ok()??;
            return target.strip_prefix("refs/heads/").map(str::to_owned);
        }
        let remote_head = self.git.find_reference("refs/remotes/origin/HEAD").ok();
        let target = remote_head
            .as_ref()
            .and_then(|head| head.symbolic_target().ok()?);
        if let Some(name) = target.and_then(|text| text.strip_prefix("refs/remotes/origin/")) {
            return Some(name.to_owned());
        }
        // A clone made by a CI runner has no such reference.
        let mut usual = ["main", "master"]
            .into_iter()
            .filter(|name| self.branch_tip(name).is_some());
        match (usual.next(), usual.next()) {
            (Some(only), None) => Some(only.to_owned()),
            _ => None,
        }
    }

    /// Returns where a branch stands by what is known here: as the remote had it when last asked, else as it is here.
    #[must_use]
    pub fn branch_tip(&self, branch: &str) -> Option<CommitId> {
        [
            format!("refs/remotes/origin/{branch}"),
            format!("refs/heads/{branch}"),
        ]
        .iter()
        .find_map(|name| self.reference_tip(name))
    }

    pub(super) fn reference_tip(&self, name: &str) -> Option<CommitId> {
        let reference = self.git.find_reference(name).ok()?.resolve().ok()?;
        self.peeled(reference.target()?)
    }

    /// Returns the commit that an object stands for: itself, or behind a few annotated tags.
    pub(super) fn peeled(&self, mut id: Oid) -> Option<CommitId> {
        for _ in 0..=TAGS {
            match self.header(id).ok()? {
                (_, ObjectType::Commit) => return Some(CommitId(id)),
                (size, ObjectType::Tag) if size <= MESSAGE => {
                    id = self.git.find_tag(id).ok()?.target_id();
                }
                _ => return None,
            }
        }
        None
    }

    /// Returns the directory of the objects, for others to borrow from.
    pub(super) fn objects_dir(&self) -> std::io::Result<PathBuf> {
        match &self.mirror_of {
            Some(mirrored) => Ok(std::path::absolute(&mirrored.dir)?.join("objects")),
            None => self.git.commondir().join("objects").canonicalize(),
        }
    }

    /// Finds the commit that `spec` names here: a full or short id, a branch, a tag, or any other revision.
    pub(super) fn find(&self, spec: &str) -> Result<Option<CommitId>, GitError> {
        if let Some(id) = full_id(spec) {
            return Ok(self.has(CommitId(id)).then_some(CommitId(id)));
        }
        let object = match self.git.revparse_single(spec) {
            Ok(object) => object,
            Err(error) if error.code() == ErrorCode::Ambiguous => {
                return Err(GitError::Ambiguous {
                    commit: spec.to_owned(),
                    place: self.shown(),
                });
            }
            Err(error) if names_nothing(&error) => return Ok(None),
            Err(error) => return Err(self.failed("look for a commit", &error)),
        };
        Ok(self.peeled(object.id()))
    }

    /// Reads a commit, if its message is not absurd.
    fn commit(&self, commit: CommitId) -> Result<git2::Commit<'_>, GitError> {
        let failed = |error: git2::Error| self.failed("read a commit", &error);
        let too_much = |path, measure, limit| GitError::TooMuch {
            commit,
            path,
            measure,
            limit,
        };
        let (size, _) = self.header(commit.0).map_err(failed)?;
        if size > MESSAGE {
            return Err(too_much(
                commit.to_string().into(),
                Measure::Message,
                MESSAGE,
            ));
        }
        let found = self.git.find_commit(commit.0).map_err(failed)?;
        let (size, _) = self.header(found.tree_id()).map_err(failed)?;
        if size > FOLDER {
            return Err(too_much(".".into(), Measure::Folder, FOLDER));
        }
        Ok(found)
    }

    pub(super) fn tree(&self, commit: CommitId) -> Result<git2::Tree<'_>, GitError> {
        let found = self.commit(commit)?;
        found
            .tree()
            .map_err(|error| self.failed("read a commit", &error))
    }

    /// Calls `visit` for every entry of a commit that is not a directory; the commit was surveyed before, so that it has an end.
    pub(super) fn walk(
        &self,
        commit: CommitId,
        visit: impl FnMut(PathBuf, &git2::TreeEntry<'_>),
    ) -> Result<(), GitError> {
        self.walk_where(commit, |_| true, visit)
    }

    pub(super) fn walk_where(
        &self,
        commit: CommitId,
        enter: impl Fn(Oid) -> bool,
        mut visit: impl FnMut(PathBuf, &git2::TreeEntry<'_>),
    ) -> Result<(), GitError> {
        let tree = self.tree(commit)?;
        let mut pending = vec![(PathBuf::new(), tree)];
        while let Some((dir, tree)) = pending.pop() {
            for entry in &tree {
                let path = dir.join(OsStr::from_bytes(entry.name_bytes()));
                if entry.kind() == Some(ObjectType::Tree) {
                    if !enter(entry.id()) {
                        continue;
                    }
                    let inner = self
                        .git
                        .find_tree(entry.id())
                        .map_err(|error| self.failed("read a tree", &error))?;
                    pending.push((path, inner));
                } else {
                    visit(path, &entry);
                }
            }
        }
        Ok(())
    }

    /// Returns how messages call this repository.
    pub(super) fn shown(&self) -> String {
        match &self.mirror_of {
            Some(mirrored) => mirrored.place.to_string(),
            None => self.path().display().to_string(),
        }
    }

    /// Says what an error while reading this repository means.
    pub(super) fn failed(&self, doing: &'static str, error: &git2::Error) -> GitError {
        if let Some(found) = cause::here(error, doing, self.path()) {
            return found;
        }
        let path = self.place();
        let detail = error.message().to_owned();
        let missing = error.code() == ErrorCode::NotFound && error.class() == ErrorClass::Odb;
        if missing && let Some(found) = cause::no_objects(&self.git) {
            return found;
        }
        if missing && is_partial(&self.git) {
            return GitError::PartialClone { path };
        }
        if missing || is_damage(error) {
            return GitError::Damaged { path, detail };
        }
        GitError::Git {
            doing,
            place: self.shown(),
            detail,
        }
    }

    /// Says why what is checked out cannot be told, although something is.
    pub(super) fn without_head(&self, error: &git2::Error) -> GitError {
        if let Some(found) = cause::no_objects(&self.git) {
            return found;
        }
        match self.failed("read HEAD", error) {
            GitError::Git { detail, .. } => GitError::Damaged {
                path: self.place(),
                detail,
            },
            other => other,
        }
    }

    /// Its path as people write it, without a slash at its end.
    fn place(&self) -> PathBuf {
        self.path().components().collect()
    }

    fn require(&self, commit: CommitId) -> Result<(), GitError> {
        if self.has(commit) {
            return Ok(());
        }
        if self.is_shallow() {
            return Err(self.cut_off());
        }
        Err(GitError::CommitMissing {
            commit: commit.to_string(),
            tried: vec![format!("`{}`", self.shown())],
            shallow: None,
        })
    }

    fn cut_off(&self) -> GitError {
        GitError::ShallowHistory {
            path: self.path().to_path_buf(),
        }
    }
}

/// Returns true if stored objects are unreadable, as opposed to something that was asked wrongly.
pub(super) fn is_damage(error: &git2::Error) -> bool {
    let stored = matches!(
        error.class(),
        ErrorClass::Odb | ErrorClass::Zlib | ErrorClass::Object | ErrorClass::Indexer
    );
    stored || error.code() == ErrorCode::HashsumMismatch
}

/// Returns true for a name that stands for nothing, as opposed to a repository that does not answer.
fn names_nothing(error: &git2::Error) -> bool {
    matches!(
        error.code(),
        ErrorCode::NotFound | ErrorCode::InvalidSpec | ErrorCode::Peel | ErrorCode::UnbornBranch
    ) || error.class() == ErrorClass::Reference
        || error.class() == ErrorClass::Regex
        || error.class() == ErrorClass::Invalid
}

fn is_partial(git: &git2::Repository) -> bool {
    let Ok(config) = git.config() else {
        return false;
    };
    let by_remote = config
        .get_string("remote.origin.partialclonefilter")
        .is_ok();
    by_remote || config.get_string("extensions.partialclone").is_ok()
}

fn origin_of(git: &git2::Repository) -> Option<Location> {
    let remote = git.find_remote("origin").ok()?;
    let base = git.workdir().unwrap_or_else(|| git.path());
    Location::parse(remote.url().ok()?, base).ok()
}

/// Returns where a symbolic link at `link` leads inside the commit.
fn follow(link: &Path, target: &[u8]) -> Option<PathBuf> {
    let mut path = link.parent()?.to_path_buf();
    for part in Path::new(OsStr::from_bytes(target)).components() {
        match part {
            Component::Normal(name) => path.push(name),
            Component::CurDir => {}
            Component::ParentDir => {
                if !path.pop() {
                    return None;
                }
            }
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(path)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::super::bounds::SETTINGS;
    use super::super::sample::Content::{File, Gone, Link};
    use super::super::sample::Sample;
    use super::*;

    #[test]
    fn only_forty_digits_name_a_commit() {
        let digits = "0123456789abcdef0123456789abcdef01234567";
        assert_eq!(digits.parse::<CommitId>().unwrap().to_string(), digits);
        for text in [
            "",
            "0123",
            "HEAD",
            &digits.replace('0', "g"),
            &digits.repeat(2),
        ] {
            assert!(text.parse::<CommitId>().is_err(), "{text}");
        }
    }

    #[test]
    fn reads_files_of_a_commit_whatever_the_work_tree_holds() {
        let sample = Sample::new();
        let commit = sample.commit(&[
            ("hpc.toml", Link("ci/./hpc.toml")),
            ("ci/hpc.toml", File("[project]")),
            ("ci/up", Link("../ci/../hpc.toml")),
            ("ci/out", Link("../../hpc.toml")),
            ("etc", Link("/etc/passwd")),
            ("loop", Link("loop")),
        ]);
        sample.commit(&[("ci/hpc.toml", Gone)]);
        let repository = sample.repository();
        let read = |path: &str| {
            let limit = (Measure::Settings, SETTINGS);
            let content = repository.file_at(commit, Path::new(path), limit).unwrap();
            content.map(|bytes| String::from_utf8(bytes).unwrap())
        };
        for path in ["ci/hpc.toml", "hpc.toml", "ci/up"] {
            assert_eq!(read(path).as_deref(), Some("[project]"), "{path}");
        }
        for path in ["none", "ci", "ci/out", "etc", "loop", "ci/hpc.toml/below"] {
            assert_eq!(read(path), None, "{path}");
        }
        let (bounds, access) = (Bounds::default(), sample.access());
        let mut files = repository.list_files(commit, &bounds, &access).unwrap();
        files.sort();
        let expected = ["ci/hpc.toml", "ci/out", "ci/up", "etc", "hpc.toml", "loop"];
        assert_eq!(files, expected.map(PathBuf::from));
    }

    #[test]
    fn history_tags_and_branches() {
        let sample = Sample::new();
        let first = sample.commit(&[("a", File("1"))]);
        let second = sample.commit(&[("a", File("2")), ("b", File("2"))]);
        let git = &sample.git;
        let tip = git.find_commit(first.0).unwrap();
        git.branch("topic", &tip, false).unwrap();
        git.set_head("refs/heads/topic").unwrap();
        let third = sample.commit(&[("c", File("3")), ("b", Gone)]);
        let object = git.find_object(first.0, None).unwrap();
        let who = git2::Signature::now("Test", "test@example.org").unwrap();
        git.tag_lightweight("v2-light", &object, false).unwrap();
        git.tag("v1", &object, &who, "one", false).unwrap();

        let repository = sample.repository();
        assert_eq!(repository.merge_base(second, third).unwrap(), Some(first));
        assert!(repository.is_ancestor(first, third).unwrap());
        assert!(!repository.is_ancestor(second, third).unwrap());
        assert_eq!(repository.tag_of(first).unwrap().as_deref(), Some("v1"));
        assert_eq!(repository.tag_of(second).unwrap(), None);
        assert_eq!(repository.default_branch().as_deref(), Some("main"));
        assert_eq!(repository.branch_tip("topic"), Some(third));
        let changed = repository.changed_files(first, second).unwrap();
        assert_eq!(changed, ["a", "b"].map(PathBuf::from));
        let unknown: CommitId = "0123456789abcdef0123456789abcdef01234567".parse().unwrap();
        let missing = repository.merge_base(unknown, first);
        assert!(
            matches!(missing, Err(GitError::CommitMissing { .. })),
            "{missing:?}"
        );
        assert_eq!(repository.find("topic~1").unwrap(), Some(first));
        assert_eq!(
            repository.find(&third.to_string()[..9]).unwrap(),
            Some(third)
        );
        assert_eq!(repository.find("nonsense").unwrap(), None);
    }
}
