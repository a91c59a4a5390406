//! `{ranks}`, `{nodes}`, `{features}` and other axes in commands and paths.
//!
//! `{{` stands for `{`, and `}}` for `}` where a `{{` is open. `${NAME}` belongs to the shell and is left alone, and so
//! is every brace that does not enclose one plain word.

/// A `{word}` that stands for nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{{{word}}}` is not known")]
pub struct UnknownWord {
    /// The word between the braces.
    pub word: String,
}

/// Returns `text` with each `{word}` replaced by what `value` gives for it.
pub fn expand<'v>(
    text: &str,
    value: impl Fn(&str) -> Option<std::borrow::Cow<'v, str>>,
) -> Result<String, UnknownWord> {
    let mut expanded = String::with_capacity(text.len());
    let mut open = 0_usize;
    let mut rest = text;
    while let Some(brace) = rest.find(['{', '}']) {
        let (before, tail) = rest.split_at(brace);
        expanded.push_str(before);
        let shell = before.ends_with('$');
        rest = if shell && tail.starts_with('{') {
            expanded.push('{');
            &tail[1..]
        } else if let Some(tail) = tail.strip_prefix("{{") {
            expanded.push('{');
            open += 1;
            tail
        } else if open > 0 && tail.starts_with("}}") {
            expanded.push('}');
            open -= 1;
            &tail[2..]
        } else if let Some(word) = leading_word(tail) {
            let value = value(word).ok_or_else(|| UnknownWord {
                word: word.to_owned(),
            })?;
            expanded.push_str(&value);
            &tail[word.len() + 2..]
        } else {
            expanded.push_str(&tail[..1]);
            &tail[1..]
        };
    }
    expanded.push_str(rest);
    Ok(expanded)
}

/// Returns the words that `text` asks for, in their order.
#[must_use]
pub fn words(text: &str) -> Vec<String> {
    let words = std::cell::RefCell::new(Vec::new());
    let collected = expand(text, |word| {
        words.borrow_mut().push(word.to_owned());
        Some("".into())
    });
    debug_assert!(collected.is_ok(), "every word was given a value");
    words.into_inner()
}

/// Returns the word of text that begins with `{word}`.
fn leading_word(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('{')?;
    let word = &inner[..inner.find('}')?];
    let first = word.chars().next()?;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    (!first.is_ascii_digit() && word.chars().all(plain)).then_some(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_replaced_and_braces_of_others_are_not() {
        let check = |text: &str, expected: Result<&str, &str>| {
            let value = |word: &str| (word == "ranks").then(|| "4".into());
            let found = expand(text, value).map_err(|unknown| unknown.word);
            assert_eq!(found.as_deref().map_err(String::as_str), expected, "{text}");
        };
        check("mpirun -n {ranks} ./a", Ok("mpirun -n 4 ./a"));
        check("{ranks}{ranks}", Ok("44"));
        check("{{ranks}}", Ok("{ranks}"));
        check(
            "awk '{{print $1}} END {{ if (x) {{y}} }}'",
            Ok("awk '{print $1} END { if (x) {y} }'"),
        );
        check("awk '{print $1}'", Ok("awk '{print $1}'"));
        check("{print}", Err("print"));
        check("${ranks} ${A:-${B}}", Ok("${ranks} ${A:-${B}}"));
        check("${A:-{ranks}}", Ok("${A:-4}"));
        check("find -exec {} \\;", Ok("find -exec {} \\;"));
        check("a{1,2}{3}", Ok("a{1,2}{3}"));
        check("{ ranks }", Ok("{ ranks }"));
        check("{ranks", Ok("{ranks"));
        check("é{ranks}é{é}", Ok("é4é{é}"));
        check("}} {", Ok("}} {"));
    }

    #[test]
    fn words_are_listed_in_their_order() {
        assert_eq!(words("{b} {{c}} ${d} {a} {b}"), ["b", "a", "b"]);
    }
}
