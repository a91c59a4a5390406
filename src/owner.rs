//! Whose files these are: what another user can write or replace is neither read as settings, nor are scripts kept in it.
//!
//! As with git, root's files and those of the user are trusted; to root those of whoever called `sudo` as well. Group-writable is no
//! objection: a group that shares a project was chosen by its owner.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nix::unistd::{Uid, User};

/// Names the users whose files are trusted too, with commas between; `*` stands for all.
pub const VARIABLE: &str = "HPC_CI_TRUSTED_OWNERS";

/// As many links one after the other does the kernel follow.
const MOST_LINKS: usize = 40;
const OTHERS_WRITE: u32 = 0o002;
const STICKY: u32 = 0o1000;

/// Why a file or folder is not trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OwnerError {
    /// It is somebody else's.
    #[error("{what} `{}` belongs to {}, and you are {}", path.display(), named(*owner), named(Uid::effective().as_raw()))]
    Foreign {
        /// What it is.
        what: &'static str,
        /// Its path.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
    },
    /// Everybody may change it.
    #[error("{what} `{}` can be written by everybody (mode {mode:03o}, of {})", path.display(), named(*owner))]
    Open {
        /// What it is.
        what: &'static str,
        /// Its path.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
        /// Whose it is.
        owner: u32,
    },
}

impl OwnerError {
    /// Returns what to do about it.
    #[must_use]
    pub fn help(&self) -> String {
        match self {
            Self::Open { path, .. } => {
                format!("chmod o-w {}", shell_words::quote(&path.to_string_lossy()))
            }
            Self::Foreign { path, owner, .. } => {
                let owner = named(*owner).trim_start_matches("user ").to_owned();
                format!(
                    "chown {} {} makes it yours; if you trust all files of {owner}: export {VARIABLE}={owner}",
                    Uid::effective(),
                    shell_words::quote(&path.to_string_lossy())
                )
            }
        }
    }
}

/// Checks a file of settings, what it links to, and the folders in which it and its links stand. One that is not there passes.
pub fn check_file(path: &Path) -> Result<(), OwnerError> {
    let mut at = path.to_owned();
    for _ in 0..MOST_LINKS {
        let Ok(data) = std::fs::symlink_metadata(&at) else {
            return Ok(());
        };
        let folder = at.parent().unwrap_or(&at).to_owned();
        if let Ok(data) = std::fs::metadata(&folder)
            && (data.uid() != 0 || data.mode() & STICKY == 0)
        {
            check("the folder", &folder, &data)?;
        }
        if !data.is_symlink() {
            return check("the file", &at, &data);
        }
        of_trusted("the link", &at, &data)?;
        match std::fs::read_link(&at) {
            Ok(target) => at = folder.join(target),
            Err(_) => return Ok(()),
        }
    }
    Ok(())
}

/// Checks a file that was opened: it may be another than the one that stood there before.
pub fn check_opened(path: &Path, data: &Metadata) -> Result<(), OwnerError> {
    check("the file", path, data)
}

/// Checks a folder that scripts are kept in, the link that leads to it, and folders of these names in it. What is not there passes.
pub fn check_folder(path: &Path, inner: &[&str]) -> Result<(), OwnerError> {
    for folder in std::iter::once(path.to_owned()).chain(inner.iter().map(|name| path.join(name))) {
        if let Ok(link) = std::fs::symlink_metadata(&folder)
            && link.is_symlink()
        {
            of_trusted("the link", &folder, &link)?;
        }
        if let Ok(data) = std::fs::metadata(&folder) {
            check("the folder", &folder, &data)?;
        }
    }
    Ok(())
}

fn check(what: &'static str, path: &Path, data: &Metadata) -> Result<(), OwnerError> {
    of_trusted(what, path, data)?;
    let mode = data.mode() & 0o7777;
    // In a sticky folder, nobody can replace what is another's.
    if mode & OTHERS_WRITE != 0 && !(data.is_dir() && mode & STICKY != 0) {
        return Err(OwnerError::Open {
            what,
            path: path.to_owned(),
            mode,
            owner: data.uid(),
        });
    }
    Ok(())
}

fn of_trusted(what: &'static str, path: &Path, data: &Metadata) -> Result<(), OwnerError> {
    if is_trusted(data.uid()) {
        return Ok(());
    }
    Err(OwnerError::Foreign {
        what,
        path: path.to_owned(),
        owner: data.uid(),
    })
}

fn is_trusted(owner: u32) -> bool {
    let me = Uid::effective();
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    if owner == me.as_raw() || owner == 0 {
        return true;
    }
    if me.is_root() && variable("SUDO_UID").parse() == Ok(owner) {
        return true;
    }
    let named = variable(VARIABLE);
    let mut users = named.split(',').map(str::trim).filter(|it| !it.is_empty());
    users.any(|user| {
        let number = |user| {
            User::from_name(user)
                .ok()
                .flatten()
                .map(|it| it.uid.as_raw())
        };
        user == "*" || user.parse().ok().or_else(|| number(user)) == Some(owner)
    })
}

/// A user's name; the number, where only a network knows the name.
fn named(user: u32) -> String {
    let known = User::from_uid(Uid::from_raw(user)).ok().flatten();
    known.map_or_else(|| format!("user {user}"), |it| it.name)
}
