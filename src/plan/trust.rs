//! Whether a commit may run here at all: `[trust]` of the trusted settings against what it comes from.

use globset::GlobBuilder;

use super::PlanError;
use crate::config::Trust;

/// What a commit comes from, as far as whoever asks for the run says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// The branch.
    pub branch: Option<String>,
    /// The tag, if the run is about one.
    pub tag: Option<String>,
    /// The fork that it comes from.
    pub fork: Option<String>,
}

/// Refuses what `[trust]` does not name. A commit that was asked for by its name alone is its asker's responsibility.
pub fn check(trust: &Trust, origin: &Origin) -> Result<(), PlanError> {
    let refused = |kind, name: &str, key, allowed: &[String]| {
        Err(PlanError::Untrusted {
            kind,
            name: name.to_owned(),
            key,
            allowed: allowed.to_vec(),
        })
    };
    if let Some(fork) = origin.fork.as_deref().filter(|_| !trust.forks) {
        return refused("fork", fork, "forks", &[]);
    }
    match (&origin.tag, &origin.branch) {
        (Some(tag), _) if !matches_any(&trust.tags, tag) => {
            refused("tag", tag, "tags", &trust.tags)
        }
        (None, Some(branch)) if !matches_any(&trust.branches, branch) => {
            refused("branch", branch, "branches", &trust.branches)
        }
        _ => Ok(()),
    }
}

/// `*` stays within a part between slashes, `**` does not.
fn matches_any(patterns: &[String], name: &str) -> bool {
    patterns.iter().any(|pattern| {
        let glob = GlobBuilder::new(pattern).literal_separator(true).build();
        glob.is_ok_and(|glob| glob.compile_matcher().is_match(name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_named_may_run() {
        let list = |names: &[&str]| names.iter().map(|it| (*it).to_owned()).collect();
        let usual = Trust {
            branches: list(&["**"]),
            ..Trust::default()
        };
        let strict = Trust {
            branches: list(&["main", "release/*"]),
            tags: list(&["v*"]),
            forks: true,
            ..Trust::default()
        };
        let origin = |branch: &str, tag: &str, fork: &str| {
            let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
            Origin {
                branch: some(branch),
                tag: some(tag),
                fork: some(fork),
            }
        };
        let check = |trust: &Trust, origin: &Origin, expected: &str| {
            let found = check(trust, origin).err().map(|error| error.to_string());
            assert_eq!(found.unwrap_or_default(), expected, "{origin:?}");
        };
        check(&usual, &origin("a/b", "", ""), "");
        check(&usual, &Origin::default(), "");
        check(&usual, &origin("", "v1", ""), "tag `v1` may not run here");
        check(
            &usual,
            &origin("main", "", "mallory/r"),
            "fork `mallory/r` may not run here",
        );
        check(&strict, &origin("release/1", "", "someone/r"), "");
        check(&strict, &origin("", "v1", ""), "");
        check(
            &strict,
            &origin("release/1/x", "", ""),
            "branch `release/1/x` may not run here",
        );
        check(
            &strict,
            &origin("main", "w1", ""),
            "tag `w1` may not run here",
        );
    }
}
