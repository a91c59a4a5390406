//! The words of a command line, the verb first: `hpc-ci -v plan` means `hpc-ci plan -v`.
//!
//! Without a verb hpc-ci runs, and its words are parts of names; so a verb behind an option would be taken for such a part.

use std::ffi::OsString;

/// Options of every verb that stand alone.
const FLAGS: &[&str] = &["-v", "-q", "--verbose", "--quiet"];
/// Options of every verb, or nearly, that take a value.
const VALUED: &[&str] = &["--color", "--format", "--config"];

/// Returns the words with the verb moved in front of the options of every verb.
pub(super) fn verb_first(
    words: impl IntoIterator<Item = OsString>,
    is_verb: impl Fn(&str) -> bool,
) -> Vec<OsString> {
    let mut words: Vec<OsString> = words.into_iter().collect();
    if let Some((at, word)) = first(&words)
        && is_verb(word)
    {
        words[1..=at].rotate_right(1);
    }
    words
}

/// Returns the first word that is none of the options of every verb, and where it stands.
pub(super) fn first(words: &[OsString]) -> Option<(usize, &str)> {
    let mut at = 1;
    loop {
        let word = words.get(at)?.to_str()?;
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        if FLAGS.contains(&word) || is_bundle(word) || VALUED.contains(&name) && !value.is_empty() {
            at += 1;
        } else if VALUED.contains(&word) {
            at += 2;
        } else {
            return Some((at, word));
        }
    }
}

/// `-vv`, `-vq`.
fn is_bundle(word: &str) -> bool {
    let letters = word.strip_prefix('-').unwrap_or_default();
    !letters.is_empty() && letters.chars().all(|letter| "vq".contains(letter))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verb_behind_options_of_every_verb_is_a_verb() {
        let check = |typed: &str, expected: &str| {
            let words = typed.split(' ').map(OsString::from);
            let got = verb_first(words, |word| ["run", "plan"].contains(&word));
            let expected: Vec<OsString> = expected.split(' ').map(OsString::from).collect();
            assert_eq!(got, expected, "{typed}");
        };
        check("hpc-ci", "hpc-ci");
        check("hpc-ci plan -v", "hpc-ci plan -v");
        check("hpc-ci -v run", "hpc-ci run -v");
        check(
            "hpc-ci -vv --color never plan x",
            "hpc-ci plan -vv --color never x",
        );
        check("hpc-ci --format=json -q run", "hpc-ci run --format=json -q");
        // Only what is no option of a run alone: the words behind those are theirs.
        check("hpc-ci -v halo run", "hpc-ci -v halo run");
        check("hpc-ci --tests-only run", "hpc-ci --tests-only run");
        check("hpc-ci --config run", "hpc-ci --config run");
        check("hpc-ci --color", "hpc-ci --color");
        check(
            "hpc-ci --config a/hpc.toml plan --list",
            "hpc-ci plan --config a/hpc.toml --list",
        );
        check("hpc-ci -", "hpc-ci -");
    }
}
