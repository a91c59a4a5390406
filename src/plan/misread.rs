//! A first word that is a command, or nearly one, is never a part of a step's name.
//!
//! A mistyped command would otherwise start the pipeline, or a part of it. It is judged before `hpc.toml` is read, so that the
//! same word always means the same. Words behind `run`, `plan` or `--` are parts of names, whatever they are.

/// Commands that this version does not have yet.
const LATER: &[&str] = &["bench", "bisect", "gate", "overhead", "playback", "schema"];

/// A first word that is no part of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misread {
    /// The word.
    pub word: String,
    /// What it is instead.
    pub meant: Meant,
}

/// What a first word may be instead of a part of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meant {
    /// A command behind options that belong to a run.
    Command(String),
    /// Nearly a command.
    Nearly(String),
    /// A command, or nearly one, of another version.
    Later(String),
    /// An option without its dashes.
    Option(String),
}

impl Misread {
    /// Returns what to type instead, for the one purpose and for the other.
    #[must_use]
    pub fn help(&self) -> String {
        let word = shell_words::quote(&self.word);
        let steps = format!(
            "for steps with `{}` in their name: `hpc-ci run {word}`, `hpc-ci -- {word}` or `-E 'name(*{}*)'`",
            self.word, self.word
        );
        match &self.meant {
            Meant::Command(verb) => {
                format!("the command comes first: `hpc-ci {verb}`, with options behind it; {steps}")
            }
            Meant::Nearly(verb) => format!("did you mean `hpc-ci {verb}`? {steps}"),
            Meant::Later(verb) if *verb == self.word => steps,
            Meant::Later(verb) => {
                format!("`{verb}` is not in this version of hpc-ci yet; {steps}")
            }
            Meant::Option(option) => format!("did you mean `hpc-ci --{option}`? {steps}"),
        }
    }
}

impl std::error::Error for Misread {}

impl std::fmt::Display for Misread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let word = &self.word;
        match &self.meant {
            Meant::Command(_) => write!(
                f,
                "`{word}` is a command, and behind options no part of a step's name"
            ),
            Meant::Later(verb) if verb == word => {
                write!(
                    f,
                    "`{word}` is a command that this version of hpc-ci does not have yet"
                )
            }
            Meant::Nearly(_) | Meant::Later(_) => write!(f, "there is no command `{word}`"),
            Meant::Option(_) => write!(f, "`{word}` is an option, and wants its dashes"),
        }
    }
}

/// Judges the first word of a command line without a command, given the commands and the options that there are.
#[must_use]
pub fn judge(word: &str, verbs: &[&str], options: &[&str]) -> Option<Misread> {
    let all = || verbs.iter().chain(LATER);
    let folded = word.to_lowercase().replace('_', "-");
    let later = |verb: &str| LATER.contains(&verb);
    let exact = all().find(|verb| **verb == word);
    let meant = match exact {
        Some(verb) if later(verb) => Meant::Later((*verb).to_owned()),
        Some(verb) => Meant::Command((*verb).to_owned()),
        None => {
            let same = all().find(|verb| **verb == folded);
            let near = || all().find(|verb| is_near(&folded, verb));
            let option = || options.iter().find(|option| **option == folded);
            match same.or_else(near) {
                Some(verb) if later(verb) => Meant::Later((*verb).to_owned()),
                Some(verb) => Meant::Nearly((*verb).to_owned()),
                None => Meant::Option((*option()?).to_owned()),
            }
        }
    };
    Some(Misread {
        word: word.to_owned(),
        meant,
    })
}

/// Whether a word is a slip of the fingers away from a command: one letter too many, too few, wrong, or two swapped. Of a command
/// of four letters or fewer, where one letter makes another word (`last`, `plain`, `cg`), two that are swapped or one that is
/// typed twice.
fn is_near(word: &str, verb: &str) -> bool {
    let (word, verb): (Vec<char>, Vec<char>) = (word.chars().collect(), verb.chars().collect());
    let begin = word.iter().zip(&verb).take_while(|(a, b)| a == b).count();
    let (rest, due) = (&word[begin..], &verb[begin..]);
    let swapped = rest.len() == due.len()
        && rest.len() > 1
        && (rest[0], rest[1]) == (due[1], due[0])
        && rest[2..] == due[2..];
    let too_many = rest.len() == due.len() + 1 && rest[1..] == *due;
    let twice = too_many && begin > 0 && rest[0] == word[begin - 1];
    let too_few = due.len() == rest.len() + 1 && *rest == due[1..];
    let wrong = !rest.is_empty() && rest.len() == due.len() && rest[1..] == due[1..];
    match verb.len() {
        0..=2 => false,
        3..=4 => swapped || twice,
        _ => swapped || too_many || too_few || wrong,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;
    use proptest::prelude::*;

    use super::*;
    use crate::cli::Cli;

    fn verbs() -> Vec<String> {
        let mut commands = Cli::command();
        commands.build();
        let shown = commands.get_subcommands().filter(|it| !it.is_hide_set());
        shown.map(|it| it.get_name().to_owned()).collect()
    }

    fn judged(word: &str) -> Option<Meant> {
        let verbs = verbs();
        let verbs: Vec<&str> = verbs.iter().map(String::as_str).collect();
        judge(word, &verbs, &["tests-only", "dry-run", "version"]).map(|it| it.meant)
    }

    #[test]
    fn commands_and_their_slips_are_no_parts_of_names() {
        let check =
            |word: &str, expected: Meant| assert_eq!(judged(word), Some(expected), "{word}");
        for (word, verb) in [
            ("stauts", "status"),
            ("dcotor", "doctor"),
            ("resmue", "resume"),
            ("initt", "init"),
            ("lsit", "list"),
            ("Run", "run"),
            ("RUN", "run"),
            ("rnu", "run"),
            ("GC", "gc"),
            ("staus", "status"),
            ("reports", "report"),
            ("cancle", "cancel"),
            ("publich", "publish"),
        ] {
            check(word, Meant::Nearly(verb.to_owned()));
        }
        for verb in ["status", "run", "list"] {
            check(verb, Meant::Command(verb.to_owned()));
        }
        for verb in LATER {
            check(verb, Meant::Later((*verb).to_owned()));
        }
        for (word, verb) in [
            ("gaet", "gate"),
            ("benhc", "bench"),
            ("playbak", "playback"),
            ("Gate", "gate"),
        ] {
            check(word, Meant::Later(verb.to_owned()));
        }
        check("tests-only", Meant::Option("tests-only".to_owned()));
        check("dry_run", Meant::Option("dry-run".to_owned()));
    }

    #[test]
    fn words_of_their_own_are_parts_of_names() {
        for word in [
            "halo",
            "hallo",
            "last",
            "plain",
            "planet",
            "plane",
            "listing",
            "runner",
            "run_all",
            "status-page",
            "cg",
            "gcc",
            "main",
            "max",
            "sun",
            "lint",
            "weights",
            "benchmarks",
            "gates",
            "ring",
            "halo[ranks=4]",
            "",
            "é",
        ] {
            assert_eq!(judged(word), None, "{word}");
        }
    }

    #[test]
    fn a_command_that_came_is_no_longer_said_to_be_missing() {
        for verb in LATER {
            assert!(Cli::command().find_subcommand(verb).is_none(), "{verb}");
        }
    }

    proptest! {
        #[test]
        fn one_slip_in_a_command_of_five_letters_never_starts_a_run(
            at in 0usize..100, place in 0usize..16, slip in 0..4, letter in proptest::char::range('a', 'z')
        ) {
            let verbs: Vec<String> = verbs().into_iter()
                .chain(LATER.iter().map(|it| (*it).to_owned()))
                .filter(|verb| verb.len() > 4)
                .collect();
            let mut word: Vec<char> = verbs[at % verbs.len()].chars().collect();
            let place = place % word.len();
            match slip {
                0 => { word.remove(place); }
                1 => word.insert(place, letter),
                2 => word[place] = letter,
                _ => { let next = (place + 1).min(word.len() - 1); word.swap(place, next); }
            }
            let word: String = word.into_iter().collect();
            prop_assert!(judged(&word).is_some(), "{}", word);
        }
    }
}
