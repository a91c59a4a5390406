//! What can go wrong with git, and what to do about it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::bounds::Measure;
use super::gitmodules::GitmodulesError;
use super::location::LocationError;
use super::repository::CommitId;
use crate::remedy;

/// Why git did not do what was asked. No variant holds a password or token.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// Not the address of a repository.
    #[error("`{text}` is not the address of a repository")]
    Address {
        /// The text as written, without credentials.
        text: String,
        /// What is wrong with it.
        source: LocationError,
    },
    /// No repository there, nor above.
    #[error("`{}` is not inside a git repository", path.display())]
    NotARepository {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// No such folder.
    #[error("there is no folder `{}`", path.display())]
    NoFolder {
        /// The folder.
        path: PathBuf,
    },
    /// The `.git` of a work tree or submodule leads to a repository that is gone.
    #[error("`{}` leads to `{}`, which is not there", link.display(), target.display())]
    Astray {
        /// The file or folder `.git`.
        link: PathBuf,
        /// Where it leads.
        target: PathBuf,
    },
    /// Objects that another repository was to lend are gone.
    #[error("`{}` borrows objects of `{}`, which is not there", path.display(), from.display())]
    Borrowed {
        /// The repository.
        path: PathBuf,
        /// Where the objects were.
        from: PathBuf,
    },
    /// A file of git's configuration has a mistake.
    #[error("the git configuration `{}` cannot be read: line {line}: {detail}", file.display())]
    ConfigFile {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What libgit2 said.
        detail: String,
    },
    /// A setting of git is of no use.
    #[error("the git configuration cannot be used: {detail}")]
    Config {
        /// What libgit2 said.
        detail: String,
    },
    /// The repository belongs to somebody else.
    #[error("git does not trust `{}`: it belongs to another user", path.display())]
    Owner {
        /// The path that git wants to see declared safe.
        path: PathBuf,
    },
    /// A repository whose objects have names of SHA-256.
    #[error("`{}` is a repository of SHA-256 objects, which hpc-ci does not read", path.display())]
    Sha256 {
        /// The repository.
        path: PathBuf,
    },
    /// A repository of a format that libgit2 does not read.
    #[error("cannot read the repository `{}`: {detail}", path.display())]
    Unsupported {
        /// The repository.
        path: PathBuf,
        /// What libgit2 said.
        detail: String,
    },
    /// A repository without a single commit.
    #[error("`{place}` has no commit yet")]
    NoCommits {
        /// The repository.
        place: String,
    },
    /// The commit is nowhere to be found.
    #[error("no commit `{commit}` in {}", tried.join(", "))]
    CommitMissing {
        /// The commit as asked for.
        commit: String,
        /// Where it was looked for, in that order, and why it was not found where that is known.
        tried: Vec<String>,
        /// The local repository, if its history is cut off.
        shallow: Option<PathBuf>,
    },
    /// A short name stands for more than one commit.
    #[error("`{commit}` could be more than one commit of `{place}`")]
    Ambiguous {
        /// The commit as asked for.
        commit: String,
        /// The repository.
        place: String,
    },
    /// The repository has no such branch.
    #[error("`{place}` has no branch `{branch}`")]
    NoBranch {
        /// The branch as asked for.
        branch: String,
        /// The repository.
        place: String,
    },
    /// History ends at a shallow boundary before the question could be answered.
    #[error("the history of `{}` is cut off before the answer", path.display())]
    ShallowHistory {
        /// The shallow repository.
        path: PathBuf,
    },
    /// A blob was never fetched.
    #[error("`{}` is a partial clone and lacks objects of the commit", path.display())]
    PartialClone {
        /// The partial clone.
        path: PathBuf,
    },
    /// Stored objects cannot be read.
    #[error("the repository `{}` is damaged: {detail}", path.display())]
    Damaged {
        /// The repository.
        path: PathBuf,
        /// What libgit2 said.
        detail: String,
    },
    /// The server does not let us in.
    #[error("`{place}` refuses our credentials ({})", if tried.is_empty() { "none to offer".to_owned() } else { tried.join(", ") })]
    Credentials {
        /// The address.
        place: String,
        /// What was offered, and what was passed over and why.
        tried: Vec<String>,
        /// True if it is reached over ssh.
        ssh: bool,
    },
    /// The key of an ssh server is not among the known ones, or is another than the known one.
    #[error("the ssh host key of `{host}` is unknown or has changed{}", fingerprint.as_ref().map(|text| format!(" ({text})")).unwrap_or_default())]
    HostKey {
        /// The host.
        host: String,
        /// Its port, if not 22.
        port: Option<u16>,
        /// What it showed: kind and SHA-256, as `ssh-keygen -l` writes it.
        fingerprint: Option<String>,
        /// False if `HOME` is not set, by which the known ones are found.
        has_home: bool,
    },
    /// The certificate of a web server is not valid.
    #[error("the certificate of `{place}` is not valid: {detail}")]
    Certificate {
        /// The address.
        place: String,
        /// What libgit2 said.
        detail: String,
    },
    /// The server sends us to another host, where credentials must not go.
    #[error("`{place}` redirects to another host: {detail}")]
    Redirected {
        /// The address.
        place: String,
        /// What libgit2 said.
        detail: String,
    },
    /// The server cannot be reached.
    #[error("cannot reach `{place}`: {detail}")]
    Unreachable {
        /// The address.
        place: String,
        /// What libgit2 said.
        detail: String,
        /// True if it is reached over ssh.
        ssh: bool,
    },
    /// The server was reached and fell silent.
    #[error("`{place}` did not answer in time: {detail}")]
    Timeout {
        /// The address.
        place: String,
        /// What libgit2 said.
        detail: String,
    },
    /// The server has no such repository, or hides it.
    #[error("there is no repository at `{place}`: {detail}")]
    NoRemoteRepository {
        /// The address.
        place: String,
        /// What the server said.
        detail: String,
    },
    /// The server answered with something else.
    #[error("`{place}` answered: {detail}")]
    Server {
        /// The address.
        place: String,
        /// What the server or libgit2 said.
        detail: String,
    },
    /// The server does not take a branch.
    #[error("`{place}` does not take `{branch}`: {reason}")]
    PushRefused {
        /// The address.
        place: String,
        /// The branch.
        branch: String,
        /// What the server said.
        reason: String,
    },
    /// Others pushed first, again and again.
    #[error("others pushed to `{branch}` of `{place}` first, {attempts} times in a row")]
    PushContended {
        /// The address.
        place: String,
        /// The branch.
        branch: String,
        /// How often we tried.
        attempts: u32,
    },
    /// We were asked to stop.
    #[error("cancelled while talking to `{place}`")]
    Cancelled {
        /// The address or directory.
        place: String,
    },
    /// Another process kept the mirror for too long.
    #[error("another process held `{}` for {} s", path.display(), waited.as_secs())]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// How long we waited.
        waited: Duration,
    },
    /// The place for a tree is taken by something that we did not make.
    #[error("`{}` is in the way: it is not a tree that was checked out here before", path.display())]
    Occupied {
        /// The directory.
        path: PathBuf,
    },
    /// A commit holds a path that must not be written.
    #[error("the commit {commit} holds a path that must not be checked out: {detail}")]
    HostilePath {
        /// The commit.
        commit: CommitId,
        /// What libgit2 said.
        detail: String,
    },
    /// A commit holds more than is taken.
    #[error("the commit {commit} has more than {limit} {measure}, at `{}`", path.display())]
    TooMuch {
        /// The commit.
        commit: CommitId,
        /// Where it became too much.
        path: PathBuf,
        /// What.
        measure: Measure,
        /// The most of it.
        limit: u64,
    },
    /// What was written is not what the commit holds.
    #[error("`{}` differs from {commit} right after its checkout: {}", dir.display(), paths.join(", "))]
    Differs {
        /// The tree.
        dir: PathBuf,
        /// The commit.
        commit: CommitId,
        /// The first paths that differ.
        paths: Vec<String>,
    },
    /// A submodule could not be brought in.
    #[error("cannot bring in submodule `{path}`")]
    Submodule {
        /// Its path in the repository that has it.
        path: String,
        /// Why.
        source: Box<GitError>,
    },
    /// A submodule's entry in `.gitmodules` is missing or of no use.
    #[error("it {}", if *listed { "has no url in .gitmodules" } else { "is not listed in .gitmodules" })]
    SubmoduleUnlisted {
        /// True if it has an entry, but one without a URL.
        listed: bool,
    },
    /// A submodule of a remote repository points at a path of this machine.
    #[error("its url leads from a remote repository to the local path `{url}`")]
    SubmoduleLocal {
        /// Its URL.
        url: String,
    },
    /// A `.gitmodules` that cannot be used.
    #[error("the .gitmodules of {commit} cannot be used")]
    Gitmodules {
        /// The commit that holds it.
        commit: CommitId,
        /// What is wrong with it.
        source: GitmodulesError,
    },
    /// A submodule of a local repository comes from another path of this machine.
    #[error("its url leads to the local path `{}`, which may be another's, or private", place.display())]
    SubmoduleElsewhere {
        /// The path.
        place: PathBuf,
    },
    /// The file system said no.
    #[error("cannot {doing} `{}`", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Anything else from libgit2.
    #[error("cannot {doing} in `{place}`: {detail}")]
    Git {
        /// What was tried.
        doing: &'static str,
        /// Where.
        place: String,
        /// What libgit2 said.
        detail: String,
    },
}

impl GitError {
    /// Says that it happened to a submodule; a stop is one all the same.
    pub(super) fn of_submodule(self, path: &Path) -> Self {
        match self {
            Self::Cancelled { .. } => self,
            error => Self::Submodule {
                path: path.display().to_string(),
                source: Box::new(error),
            },
        }
    }

    /// Returns true if something stands where a tree, or that of a submodule, is to be.
    #[must_use]
    pub fn is_occupied(&self) -> bool {
        match self {
            Self::Submodule { source, .. } => source.is_occupied(),
            error => matches!(error, Self::Occupied { .. }),
        }
    }

    /// Returns what to do about it, where that is known.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::Address { .. } => {
                "write a path, `https://host/path`, `ssh://user@host/path` or `user@host:path`".into()
            }
            Self::NotARepository { .. } => {
                "start in a clone, or set `repository` of [project] to a path or URL".into()
            }
            Self::Owner { path } => format!(
                "if you trust it: git config --global --add safe.directory {}",
                quoted(path)
            ),
            Self::NoFolder { path } => format!(
                "`namei -l {}` shows which part of the path is missing",
                quoted(path)
            ),
            Self::Astray { .. } => {
                "for a work tree: git worktree repair; for a submodule: git submodule update --init; or clone it anew".into()
            }
            Self::Borrowed { path, .. } => format!(
                "bring the other repository back, or name its new place in objects/info/alternates; what is missing: git -C {} fsck",
                quoted(path)
            ),
            Self::ConfigFile { file, line, .. } => format!(
                "mend line {line}, and look again: git config --file {} --list",
                quoted(file)
            ),
            Self::Config { .. } => {
                "which file says so: git config --show-origin --list".into()
            }
            Self::Sha256 { .. } => {
                "copy its history into a repository of SHA-1 objects (git init --object-format=sha1): git fast-export --all | git -C NEW fast-import".into()
            }
            Self::Unsupported { .. } => {
                "clone it anew with git's defaults (files as ref storage)".into()
            }
            Self::Io { path, source, .. } => return remedy::of_file(source, path),
            Self::CommitMissing {
                shallow: Some(path),
                ..
            } => format!(
                "the local history is cut off; get the rest: git -C {} fetch --unshallow",
                quoted(path)
            ),
            Self::CommitMissing { .. } => {
                "was it pushed? A rewritten branch loses its old commits".into()
            }
            Self::Ambiguous { .. } => "write more digits of it".into(),
            Self::ShallowHistory { path } => {
                format!("git -C {} fetch --unshallow", quoted(path))
            }
            Self::PartialClone { path } => format!(
                "fetch what is missing: git -C {} fetch --refetch --no-filter origin",
                quoted(path)
            ),
            Self::Damaged { path, .. } => format!("look closer: git -C {} fsck", quoted(path)),
            Self::Credentials { ssh: true, .. } => {
                "load a key with ssh-add, or name one without passphrase in `ssh_key`".into()
            }
            Self::Credentials { .. } => {
                "give a token that may read the repository, or set up a git credential helper".into()
            }
            Self::HostKey {
                has_home: false, ..
            } => "HOME is not set, so no ~/.ssh/known_hosts is read: set it".into(),
            Self::HostKey { host, port, .. } => {
                let option = port.map(|port| format!("-p {port} ")).unwrap_or_default();
                let known = port.map_or_else(|| host.clone(), |port| format!("'[{host}]:{port}'"));
                format!(
                    "compare the key with what the host publishes; if it is right: ssh-keygen -R {known}; ssh-keyscan {option}{host} >> ~/.ssh/known_hosts"
                )
            }
            Self::Certificate { .. } => {
                "for a private authority, point SSL_CERT_FILE at its certificate".into()
            }
            Self::Redirected { .. } => "use the new address, if you trust it".into(),
            Self::Unreachable { ssh: true, .. } => {
                "is there a network? Aliases of ~/.ssh/config are not read: write the real host, user and port".into()
            }
            Self::Unreachable { .. } => {
                "is there a network? Where there is none, a commit that is present locally still runs; a proxy comes from https_proxy".into()
            }
            Self::Timeout { .. } => "try again, or look whether the server is well".into(),
            Self::NoRemoteRepository { .. } => {
                "compare the address; a private repository also looks so to those who may not read it".into()
            }
            Self::PushRefused { branch, .. } => {
                format!("whoever owns the key or token must be allowed to push to `{branch}`, and no rule of the server may protect it")
            }
            Self::PushContended { .. } => "try again later; nothing is lost".into(),
            Self::Locked { path, .. } => {
                format!("see who holds it: fuser {}", quoted(path))
            }
            Self::Occupied { path } => format!("move it away: {}", quoted(path)),
            Self::Submodule { source, .. } => return source.help(),
            Self::SubmoduleUnlisted { .. } => {
                "add it to .gitmodules, or set `submodules = false` in [project]".into()
            }
            Self::SubmoduleLocal { .. } => {
                "write a URL relative to the repository's own, as `../library.git`".into()
            }
            Self::SubmoduleElsewhere { .. } => {
                "if it belongs to the project: set `local_submodules = true` of [trust] in a trusted file, or `git submodule update --init` in your clone".into()
            }
            Self::TooMuch { measure, .. } => match measure.key() {
                Some(key) => format!(
                    "if that is meant: raise `{key}` of [project] in a trusted file"
                ),
                None => return None,
            },
            Self::NoCommits { .. } => "commit first: hpc-ci tests commits, and `--in-place` names one too".into(),
            Self::NoBranch { .. } => {
                "compare the name (`git ls-remote --heads`); a new branch has to be pushed first".into()
            }
            Self::Server { .. }
            | Self::Cancelled { .. }
            | Self::HostilePath { .. }
            | Self::Differs { .. }
            | Self::Gitmodules { .. }
            | Self::Git { .. } => return None,
        })
    }
}

fn quoted(path: &Path) -> String {
    shell_words::quote(&path.to_string_lossy()).into_owned()
}
