//! Pieces of TOML with comments.

use std::fmt::Write as _;

use toml::{Table, Value};

/// Comments are as wide as what people write.
const WIDTH: usize = 110;

/// Appends a comment, wrapped at its blanks.
pub(super) fn comment(text: &mut String, comment: &str) {
    let mut line = String::from("#");
    for word in comment.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > WIDTH && line.len() > 1 {
            text.push_str(&line);
            text.push('\n');
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    text.push_str(&line);
    text.push('\n');
}

/// Appends `KEY = VALUE`.
pub(super) fn key(text: &mut String, key: &str, value: &str) {
    writeln!(text, "{key} = {value}").expect("a String takes any text");
}

/// Appends lines as comments.
pub(super) fn commented(text: &mut String, lines: &str) {
    for line in lines.lines() {
        match line.strip_prefix("# ") {
            Some(line) => writeln!(text, "# {line}"),
            None if line.is_empty() => writeln!(text),
            None => writeln!(text, "# {line}"),
        }
        .expect("a String takes any text");
    }
}

/// Returns text as a string of TOML.
pub(super) fn string(text: &str) -> String {
    Value::from(text).to_string()
}

/// Returns texts as a list of TOML.
pub(super) fn list<'t>(texts: impl IntoIterator<Item = &'t str>) -> String {
    let texts: Vec<String> = texts.into_iter().map(string).collect();
    format!("[{}]", texts.join(", "))
}

/// Returns pairs as an inline table of TOML.
pub(super) fn table<'t>(pairs: impl IntoIterator<Item = (&'t str, &'t str)>) -> String {
    let pairs = pairs
        .into_iter()
        .map(|(name, value)| format!("{} = {}", name_of(name), string(value)));
    format!("{{ {} }}", pairs.collect::<Vec<_>>().join(", "))
}

/// Returns a name as a key of TOML, which no string over several lines can be.
pub(super) fn name_of(name: &str) -> String {
    let table = Table::from_iter([(name.to_owned(), Value::from(1))]);
    let text = table.to_string();
    text.trim_end()
        .trim_end_matches("= 1")
        .trim_end()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_survive_whatever_they_hold() {
        for text in [
            "plain",
            "a 'b'",
            "a \"b\"",
            "both ' and \"",
            "back\\slash",
            "tab\there",
            "é",
        ] {
            let file = format!(
                "a = {}\nb = {}\n{} = 1\n",
                string(text),
                list([text]),
                name_of(text)
            );
            let read: Table = file
                .parse()
                .unwrap_or_else(|error| panic!("{file}: {error}"));
            assert_eq!(read["a"].as_str(), Some(text));
            assert_eq!(read["b"][0].as_str(), Some(text));
            assert!(read.contains_key(text), "{file}");
        }
    }

    #[test]
    fn comments_are_wrapped_at_blanks() {
        let mut text = String::new();
        comment(&mut text, &"word ".repeat(30));
        assert!(
            text.lines()
                .all(|line| line.starts_with("# word") && line.len() <= WIDTH),
            "{text}"
        );
        assert_eq!(text.lines().count(), 2);
    }
}
