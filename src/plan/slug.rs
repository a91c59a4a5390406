//! Names of steps and builds as names of files.

use std::collections::HashSet;
use std::fmt::Write as _;

use sha2::{Digest, Sha256};

/// Long enough to be told apart at a glance, short enough for any file system with a suffix added.
const LONGEST: usize = 60;

/// Returns the name as a file's name of letters, digits, `.`, `_` and `-`; one that had to be altered, or begins with a
/// dot or dash, carries a hash of the whole.
#[must_use]
pub fn slug(name: &str) -> String {
    hashed(name, 8, false)
}

/// Returns the name by which files of the state folder know a project: its own, and a hash of it and of where its repository is.
#[must_use]
pub fn project_key(name: &str, address: &str) -> String {
    let whole = hashed(&format!("{name}\n{address}"), 16, true);
    let hash = whole.rsplit('-').next().unwrap_or_default();
    let plain = hashed(name, 8, false);
    format!("{plain}-{hash}")
}

/// Returns a slug that `taken` does not have yet, and adds it.
pub(super) fn unique(name: &str, always_hash: bool, taken: &mut HashSet<String>) -> String {
    // Somebody may choose a plain name that looks like the slug of another; a longer hash tells them apart.
    for digits in [8, 16, 32, 64] {
        let slug = hashed(name, digits, always_hash || digits > 8);
        if taken.insert(slug.clone()) {
            return slug;
        }
    }
    // Only the same name twice comes here, and names are unique.
    hashed(name, 64, true)
}

fn hashed(name: &str, digits: usize, always: bool) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    let mut slug = String::with_capacity(name.len());
    for c in name.chars() {
        if plain(c) {
            slug.push(c);
        } else if !slug.ends_with('-') {
            slug.push('-');
        }
    }
    let trimmed = slug.trim_start_matches(['.', '-']).trim_end_matches('-');
    let mut slug: String = trimmed.chars().take(LONGEST).collect();
    if !always && slug == name && !slug.is_empty() {
        return slug;
    }
    if slug.is_empty() {
        slug.push('x');
    }
    let mut hash = String::with_capacity(64);
    for byte in Sha256::digest(name.as_bytes()) {
        // Writing to a String succeeds.
        let written = write!(hash, "{byte:02x}");
        debug_assert!(written.is_ok(), "a String takes everything");
    }
    format!("{slug}-{}", &hash[..digits.min(hash.len())])
}
