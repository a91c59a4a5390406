//! `.gitmodules`: which submodules a commit has, and where they come from.
//!
//! Pure. The syntax is that of git-config(1) without `include`: the file comes from a commit that nobody has looked at, so
//! libgit2's reader, which follows includes to any file of this machine, is not used on it.

use std::collections::HashMap;

/// Why a `.gitmodules` cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GitmodulesError {
    /// Not the syntax of git-config.
    #[error("line {line} is not what git-config(1) describes")]
    Syntax {
        /// The line, from 1.
        line: usize,
    },
    /// A name that climbs out of git's directory.
    #[error("`{name}` is not a name for a submodule")]
    Name {
        /// The name.
        name: String,
    },
}

/// What `.gitmodules` says of one submodule.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) path: Option<String>,
    pub(super) url: Option<String>,
    /// `update = none` keeps a submodule out.
    pub(super) left_out: bool,
}

/// Reads a `.gitmodules`; of a key that stands twice the last counts.
pub(super) fn parse(text: &str) -> Result<Vec<Entry>, GitmodulesError> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut known: HashMap<String, usize> = HashMap::new();
    let mut current: Option<usize> = None;
    let mut reader = Reader {
        rest: text.strip_prefix('\u{feff}').unwrap_or(text),
        line: 1,
        item_line: 1,
    };
    while let Some(item) = reader.item()? {
        match item {
            Item::Section(None) => current = None,
            Item::Section(Some(name)) => {
                check_name(&name)?;
                let index = *known.entry(name.clone()).or_insert(entries.len());
                if index == entries.len() {
                    entries.push(Entry {
                        name,
                        ..Entry::default()
                    });
                }
                current = Some(index);
            }
            Item::Pair(key, value) => {
                let Some(entry) = current.and_then(|index| entries.get_mut(index)) else {
                    continue;
                };
                match key.as_str() {
                    "path" => entry.path = Some(value.trim_end_matches('/').to_owned()),
                    "url" => entry.url = Some(value).filter(|url| !url.is_empty()),
                    "update" => entry.left_out = value == "none",
                    _ => {}
                }
            }
        }
    }
    Ok(entries)
}

fn check_name(name: &str) -> Result<(), GitmodulesError> {
    let climbs = name.split(['/', '\\']).any(|part| part == "..");
    if name.is_empty() || climbs || name.starts_with('/') || name.chars().any(char::is_control) {
        let name = name.to_owned();
        return Err(GitmodulesError::Name { name });
    }
    Ok(())
}

enum Item {
    /// A section; with a name if it is about a submodule.
    Section(Option<String>),
    Pair(String, String),
}

struct Reader<'a> {
    rest: &'a str,
    line: usize,
    /// Where the item begins that is being read.
    item_line: usize,
}

impl Reader<'_> {
    fn item(&mut self) -> Result<Option<Item>, GitmodulesError> {
        loop {
            self.item_line = self.line;
            match self.peek() {
                None => return Ok(None),
                Some('#' | ';') => self.skip_line(),
                Some(c) if c.is_ascii_whitespace() => {
                    self.next();
                }
                Some('[') => return self.section().map(Some),
                Some(c) if c.is_ascii_alphabetic() => return self.pair().map(Some),
                Some(_) => return Err(self.wrong()),
            }
        }
    }

    fn section(&mut self) -> Result<Item, GitmodulesError> {
        self.next();
        let mut section = self.word(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.'));
        section.make_ascii_lowercase();
        self.skip_blanks();
        let mut name = None;
        if self.peek() == Some('"') {
            self.next();
            let mut text = String::new();
            loop {
                match self.next() {
                    Some('"') => break,
                    Some('\\') => text.push(self.next().ok_or_else(|| self.wrong())?),
                    None | Some('\n') => return Err(self.wrong()),
                    Some(c) => text.push(c),
                }
            }
            name = Some(text);
        }
        if self.next() != Some(']') || section.is_empty() {
            return Err(self.wrong());
        }
        Ok(Item::Section(name.filter(|_| section == "submodule")))
    }

    fn pair(&mut self) -> Result<Item, GitmodulesError> {
        let mut key = self.word(|c| c.is_ascii_alphanumeric() || c == '-');
        key.make_ascii_lowercase();
        self.skip_blanks();
        match self.peek() {
            Some('=') => {
                self.next();
                Ok(Item::Pair(key, self.value()?))
            }
            // A key alone means "true".
            None | Some('\n' | '\r' | '#' | ';') => Ok(Item::Pair(key, "true".to_owned())),
            Some(_) => Err(self.wrong()),
        }
    }

    fn value(&mut self) -> Result<String, GitmodulesError> {
        self.skip_blanks();
        let mut value = String::new();
        // Blanks at the end do not count, unless they were quoted.
        let mut solid = 0;
        let mut quoted = false;
        loop {
            match self.next() {
                None | Some('\n') if quoted => return Err(self.wrong()),
                None | Some('\n') => break,
                Some('"') => {
                    quoted = !quoted;
                    solid = value.len();
                }
                Some('#' | ';') if !quoted => {
                    self.skip_line();
                    break;
                }
                Some('\\') => {
                    match self.next() {
                        Some('\n') => continue,
                        Some('n') => value.push('\n'),
                        Some('t') => value.push('\t'),
                        Some('b') => value.push('\u{8}'),
                        Some(c @ ('"' | '\\')) => value.push(c),
                        _ => return Err(self.wrong()),
                    }
                    solid = value.len();
                }
                Some(c) => {
                    value.push(c);
                    if quoted || !c.is_ascii_whitespace() {
                        solid = value.len();
                    }
                }
            }
        }
        value.truncate(solid);
        Ok(value)
    }

    fn word(&mut self, belongs: impl Fn(char) -> bool) -> String {
        let mut word = String::new();
        while let Some(c) = self.peek().filter(|c| belongs(*c)) {
            word.push(c);
            self.next();
        }
        word
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(' ' | '\t')) {
            self.next();
        }
    }

    fn skip_line(&mut self) {
        while !matches!(self.next(), None | Some('\n')) {}
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let mut next = chars.next()?;
        // As in git, a line may end as on Windows.
        if next == '\r' && chars.clone().next() == Some('\n') {
            next = '\n';
            chars.next();
        }
        self.line += usize::from(next == '\n');
        self.rest = chars.as_str();
        Some(next)
    }

    fn wrong(&self) -> GitmodulesError {
        GitmodulesError::Syntax {
            line: self.item_line,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expected: &str) {
        let found = match parse(text) {
            Ok(entries) => entries
                .iter()
                .map(|entry| {
                    let text = |value: &Option<String>| value.clone().unwrap_or("-".to_owned());
                    let out = if entry.left_out { " none" } else { "" };
                    let (path, url) = (text(&entry.path), text(&entry.url));
                    format!("{}: {path} {url}{out}", entry.name)
                })
                .collect::<Vec<_>>()
                .join(" | "),
            Err(error) => format!("error: {error}"),
        };
        assert_eq!(found, expected, "{text:?}");
    }

    #[test]
    fn reads_what_git_writes() {
        check("", "");
        check(
            "[submodule \"lib\"]\n\tpath = deps/lib\n\turl = ../lib.git\n",
            "lib: deps/lib ../lib.git",
        );
        check(
            "[submodule \"a\"]\npath=a/\nurl=u\n[submodule \"b\"]\n\tURL = v\n\tPath = b\n",
            "a: a u | b: b v",
        );
    }

    #[test]
    fn reads_what_people_write() {
        check(
            "# note\n[core]\n\tpath = no\n[Submodule \"a\"] path = a ; here\nurl = \"u # no\" # yes\nshallow\n",
            "a: a u # no",
        );
        check("[submodule \"a\"]\r\n\tpath = a\r\n\turl = u\r\n", "a: a u");
        check(
            "[submodule \"a \\\"b\\\\\"]\npath = p\\\n q\n",
            "a \"b\\: p q -",
        );
        check("[submodule \"a\"]\nupdate = none\npath = a", "a: a - none");
        check("[submodule \"a\"]\nurl = one\nurl = two", "a: - two");
        check("\u{feff}[submodule \"a\"]\nurl =\n", "a: - -");
    }

    #[test]
    fn refuses_what_git_refuses() {
        check(
            "[submodule \"a\"\n",
            "error: line 1 is not what git-config(1) describes",
        );
        check(
            "[submodule \"a\"]\nurl = \"u\n",
            "error: line 2 is not what git-config(1) describes",
        );
        check(
            "[submodule \"a\"]\n= u\n",
            "error: line 2 is not what git-config(1) describes",
        );
        check(
            "[submodule \"a\"]\nurl = \\q\n",
            "error: line 2 is not what git-config(1) describes",
        );
        check(
            "[submodule \"../../x\"]\n",
            "error: `../../x` is not a name for a submodule",
        );
        check(
            "[submodule \"a/..\"]\n",
            "error: `a/..` is not a name for a submodule",
        );
    }

    proptest! {
        #[test]
        fn any_text_ends(text in "([\\[\\]\"\\\\=# \r\n]|submodule|url|\\PC){0,60}") {
            let entries = parse(&text).unwrap_or_default();
            prop_assert!(entries.len() <= text.matches('[').count());
        }
    }
}
