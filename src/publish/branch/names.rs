//! Names of folders on the branch, made from names that others chose.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

/// A component longer than this is cut, and ends in a digest of all of it.
const LONGEST: usize = 100;

/// Returns whether this is the full name of a commit.
pub(super) fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Returns whether the id of a run may be the name of a folder as it stands.
pub(super) fn is_run(text: &str) -> bool {
    text.len() <= LONGEST && !text.is_empty() && component(text) == text
}

/// Returns the folder of a branch below `branches/`: its own name where that is harmless. What could be mistaken for
/// something else, by git, by a file system or by a browser, is written as `%` and two hexadecimal digits. Two
/// branches never share a folder.
pub(super) fn branch_folder(branch: &str) -> String {
    let components: Vec<String> = branch.split('/').map(component).collect();
    components.join("/")
}

fn component(text: &str) -> String {
    let last = text.len().saturating_sub(1);
    // `latest-…` would be both a file of the branch above and a folder of this one.
    let taken = text.starts_with("latest-");
    let mut name = String::new();
    for (index, byte) in text.bytes().enumerate() {
        let edge_dot = byte == b'.' && (index == 0 || index == last);
        let plain = byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'+');
        if plain && !edge_dot && !(index == 0 && (taken || byte == b'-')) {
            name.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            write!(name, "%{byte:02X}").unwrap_or_default();
        }
    }
    if let Some(start) = name.strip_suffix(".lock") {
        name = format!("{start}%2Elock");
    }
    if name.is_empty() {
        return "%".to_owned();
    }
    if name.len() > LONGEST {
        let digest = Sha256::digest(text);
        name.truncate(LONGEST - 20);
        name.push_str("%~");
        for byte in &digest[..8] {
            write!(name, "{byte:02x}").unwrap_or_default();
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn harmless_names_stay_and_others_are_spelt_out() {
        for (branch, folder) in [
            ("main", "main"),
            ("feature/halo-2.0_x", "feature/halo-2.0_x"),
            ("", "%"),
            ("a//b", "a/%/b"),
            ("../../etc", "%2E%2E/%2E%2E/etc"),
            (".git/hooks", "%2Egit/hooks"),
            ("x.lock", "x%2Elock"),
            ("-rf", "%2Drf"),
            ("x/latest-tests.json", "x/%6Catest-tests.json"),
            ("<b>&\"'", "%3Cb%3E%26%22%27"),
            ("50%", "50%25"),
            ("größe", "gr%C3%B6%C3%9Fe"),
            ("a\nb\\c", "a%0Ab%5Cc"),
        ] {
            assert_eq!(branch_folder(branch), folder);
        }
        assert_eq!(branch_folder(&"ü".repeat(200)).len(), LONGEST - 20 + 18);
    }

    #[test]
    fn runs_and_commits() {
        for (run, good) in [
            ("20261120-101500-4711", true),
            ("a/b", false),
            ("..", false),
            ("", false),
            (".git", false),
            ("a b", false),
        ] {
            assert_eq!(is_run(run), good, "{run:?}");
        }
        assert!(is_commit(&"a1".repeat(20)) && is_commit(&"a1".repeat(32)));
        assert!(!is_commit("a1") && !is_commit(&"g".repeat(40)));
    }

    proptest! {
        #[test]
        fn folders_are_plain_and_unique(one in any::<String>(), two in any::<String>()) {
            let folder = branch_folder(&one);
            prop_assert!(folder.split('/').all(|it| !matches!(it, "" | "." | ".." | ".git")));
            prop_assert!(folder.bytes().all(|it| it.is_ascii_graphic()));
            if one != two {
                prop_assert_ne!(folder, branch_folder(&two));
            }
        }
    }
}
