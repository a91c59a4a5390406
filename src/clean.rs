//! Text from outside made fit to be shown: on a terminal, on pages, in Markdown, SVG and XML. It must not move the cursor, turn
//! the direction of a line around, end it, or hold what nobody sees. Pure.
//!
//! The general category of a character decides (Unicode 16, `unicode-general-category`), not a list of those that were thought of:
//!
//! | category | becomes |
//! |---|---|
//! | `Cc`, `Cf`, `Cs` | nothing; line feed and tab stay, and a lone carriage return is a line feed |
//! | `Zl`, `Zp` | a line feed |
//! | `Cn` | U+FFFD, but nothing where the standard has given the place to characters without a glyph, and of noncharacters |
//! | fillers and selectors that have no glyph though they count as letters or marks | nothing |
//! | all others | themselves |
//!
//! Two joiners are `Cf` and yet part of how Indic scripts, Persian and emoji are written: U+200C and U+200D stay between two visible
//! characters outside of ASCII. A variation selector of the first sixteen stays behind such a character.

use std::fmt::Write as _;
use std::iter::Peekable;
use std::str::Chars;

use unicode_general_category::{GeneralCategory, get_general_category};

const ESCAPE: char = '\u{1b}';

/// Returns the text without escape sequences, control characters and what is not seen. Lines end with `\n`.
#[must_use]
pub fn printable(text: &str) -> String {
    cleaned(text, false)
}

/// Returns the text as one line, its white space folded.
#[must_use]
pub fn one_line(text: &str) -> String {
    printable(text)
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

/// Returns the text as [`printable`] does, and leaves the colours that it has: for text that was painted by ourselves.
#[must_use]
pub fn painted(text: &str) -> String {
    cleaned(text, true)
}

/// Returns JSON whose strings hold what is unfit to be shown as escapes, and mean the same.
#[must_use]
pub fn json(text: &str) -> String {
    if is_plain(text) {
        return text.to_owned();
    }
    let mut clean = String::with_capacity(text.len());
    let mut units = [0; 2];
    for c in text.chars() {
        if matches!(c, '\n' | '\t') || fate(c) == Fate::Stay {
            clean.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut units) {
            write!(clean, "\\u{unit:04x}").unwrap_or_default();
        }
    }
    clean
}

/// Returns the text with every character that is unfit to be shown replaced, byte for byte, so that places in it stay.
#[must_use]
pub fn in_place(text: &str) -> String {
    if is_plain(text) {
        return text.to_owned();
    }
    let mut clean = String::with_capacity(text.len());
    for c in text.chars() {
        match (fate(c), c.len_utf8()) {
            _ if matches!(c, '\n' | '\t' | '\r') => clean.push(c),
            (Fate::Stay | Fate::Join | Fate::Select, _) => clean.push(c),
            (_, 3) => clean.push(char::REPLACEMENT_CHARACTER),
            (_, bytes) => clean.extend(std::iter::repeat_n('?', bytes)),
        }
    }
    clean
}

/// What becomes of a character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Stay,
    Go,
    EndLine,
    Replace,
    /// It stays between two visible characters outside of ASCII.
    Join,
    /// It stays behind a visible character outside of ASCII.
    Select,
}

fn fate(c: char) -> Fate {
    match c {
        ' '..='~' => return Fate::Stay,
        '\u{200c}' | '\u{200d}' => return Fate::Join,
        '\u{fe00}'..='\u{fe0f}' => return Fate::Select,
        _ if is_blank(c) => return Fate::Go,
        _ => {}
    }
    match get_general_category(c) {
        GeneralCategory::Control | GeneralCategory::Format | GeneralCategory::Surrogate => Fate::Go,
        GeneralCategory::LineSeparator | GeneralCategory::ParagraphSeparator => Fate::EndLine,
        GeneralCategory::Unassigned if u32::from(c) & 0xfffe == 0xfffe => Fate::Go,
        GeneralCategory::Unassigned => Fate::Replace,
        _ => Fate::Stay,
    }
}

/// Characters without a glyph that are no format characters: the other members of `Default_Ignorable_Code_Point` (Unicode 16,
/// `DerivedCoreProperties.txt`), unassigned ones among them, and the noncharacters of U+FDD0.
fn is_blank(c: char) -> bool {
    matches!(c,
        '\u{34f}'
        | '\u{115f}'..='\u{1160}'
        | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}'
        | '\u{2065}'
        | '\u{3164}'
        | '\u{fdd0}'..='\u{fdef}'
        | '\u{ffa0}'
        | '\u{fff0}'..='\u{fff8}'
        | '\u{e0000}'..='\u{e0fff}')
}

/// Whether nothing in a text has to be looked at.
fn is_plain(text: &str) -> bool {
    let plain = |byte: u8| matches!(byte, b' '..=b'~' | b'\n' | b'\t');
    text.bytes().all(plain)
}

fn cleaned(text: &str, keep_colours: bool) -> String {
    if is_plain(text) {
        return text.to_owned();
    }
    let mut clean = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            ESCAPE => {
                let colour = keep_colours.then(|| colour(chars.clone())).flatten();
                match colour {
                    Some(sequence) => {
                        chars.nth(sequence.len() - 1);
                        clean.push(ESCAPE);
                        clean.push_str(&sequence);
                    }
                    None => skip_escape(&mut chars),
                }
            }
            // A progress bar returns to the start of its line; each of its states becomes a line.
            '\r' if chars.peek() == Some(&'\n') => {}
            '\r' => clean.push('\n'),
            '\n' | '\t' => clean.push(c),
            c => match fate(c) {
                Fate::Stay => clean.push(c),
                Fate::EndLine => clean.push('\n'),
                Fate::Replace => clean.push(char::REPLACEMENT_CHARACTER),
                Fate::Join => {
                    let before = clean
                        .chars()
                        .next_back()
                        .is_some_and(is_foreign_or_selector);
                    if before && chars.peek().copied().is_some_and(is_foreign) {
                        clean.push(c);
                    }
                }
                Fate::Select if clean.chars().next_back().is_some_and(is_foreign) => clean.push(c),
                Fate::Go | Fate::Select => {}
            },
        }
    }
    clean
}

/// Whether a character is seen and lies outside of ASCII.
fn is_foreign(c: char) -> bool {
    !c.is_ascii() && !c.is_whitespace() && fate(c) == Fate::Stay
}

fn is_foreign_or_selector(c: char) -> bool {
    is_foreign(c) || fate(c) == Fate::Select
}

/// Returns the rest of a sequence that sets colours, if the escape character begins one.
fn colour(mut chars: Peekable<Chars<'_>>) -> Option<String> {
    let mut sequence = String::from(chars.next_if_eq(&'[')?);
    loop {
        let c = chars.next()?;
        sequence.push(c);
        match c {
            '0'..='9' | ';' | ':' => {}
            'm' => return Some(sequence),
            _ => return None,
        }
    }
}

/// Skips what follows an escape character: `[…letter` (colours, cursor), a string up to its end (titles, links, device commands), or
/// one character.
fn skip_escape(chars: &mut Peekable<Chars<'_>>) {
    match chars.next() {
        Some('[') => {
            chars.find(|c| ('\u{40}'..='\u{7e}').contains(c));
        }
        Some(']') => {
            while let Some(c) = chars.next() {
                if c == '\u{7}' || c == ESCAPE && chars.next_if_eq(&'\\').is_some() {
                    break;
                }
            }
        }
        Some('(' | ')') => {
            chars.next();
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Whether no part of a text is unfit, but joiners and selectors where they belong.
    fn is_fit(text: &str) -> bool {
        text.chars().all(|c| {
            matches!(c, '\n' | '\t') || matches!(fate(c), Fate::Stay | Fate::Join | Fate::Select)
        })
    }

    #[test]
    fn escape_sequences_and_controls_go() {
        for (text, expected) in [
            ("plain\ttext\n", "plain\ttext\n"),
            ("\u{1b}[1;31mred\u{1b}[0m", "red"),
            ("\u{1b}]8;;http://x\u{1b}\\link\u{1b}]8;;\u{7}!", "link!"),
            ("\u{1b}(Bx\u{1b}=y", "xy"),
            ("10%\r20%\r\ndone", "10%\n20%\ndone"),
            ("a\0b\u{8}c\u{9b}d\u{fffe}e\u{202e}f", "abcdef"),
            ("cut \u{1b}[3", "cut "),
            ("cut \u{1b}]title without end", "cut "),
        ] {
            assert_eq!(printable(text), expected, "{text:?}");
        }
    }

    #[test]
    fn what_is_not_seen_goes_and_what_is_written_stays() {
        for (text, expected) in [
            // Directional marks, embeddings, overrides and isolates.
            (
                "a\u{200e}b\u{200f}c\u{61c}d\u{202a}e\u{2066}f\u{2069}g",
                "abcdefg",
            ),
            // Separators.
            ("a\u{2028}b\u{2029}c\u{85}d", "a\nb\ncd"),
            // Tags, selectors that hide bytes, and fillers.
            (
                "a\u{e0041}\u{e007f}\u{e0100}\u{e01ef}b\u{fe0f}c\u{3164}d\u{115f}e",
                "abcde",
            ),
            // Zero width, soft hyphen, annotations, byte order mark, music.
            (
                "a\u{200b}b\u{2060}c\u{ad}d\u{fff9}e\u{feff}f\u{1d173}g",
                "abcdefg",
            ),
            // Joiners beside ASCII, at ends, and twice.
            ("a\u{200d}b\u{200c}", "ab"),
            ("\u{200d}é\u{200d}", "é"),
            ("é\u{200d}\u{200d}é", "é\u{200d}é"),
            // Noncharacters, and what no Unicode knows yet.
            ("a\u{fdd0}b\u{1ffff}c\u{378}d", "abc\u{fffd}d"),
            // Whole scripts, marks and emoji.
            (
                "größer e\u{301} 日本語 हिन्दी עברית العربية",
                "größer e\u{301} 日本語 हिन्दी עברית العربية",
            ),
            (
                "می\u{200c}خواهم नमस्\u{200d}ते",
                "می\u{200c}خواهم नमस्\u{200d}ते",
            ),
            (
                "👩\u{200d}💻 ❤\u{fe0f} 🏳\u{fe0f}\u{200d}🌈 👍🏽",
                "👩\u{200d}💻 ❤\u{fe0f} 🏳\u{fe0f}\u{200d}🌈 👍🏽",
            ),
            ("\u{a0}x\u{3000}y", "\u{a0}x\u{3000}y"),
        ] {
            assert_eq!(printable(text), expected, "{text:?}");
        }
        assert_eq!(one_line(" a\n\n b\tc\u{2028}d\u{a0}e "), "a b c d e");
    }

    /// By category: no character of these ever comes through by itself, whichever it is.
    #[test]
    fn no_character_of_a_category_that_is_not_seen_comes_through() {
        for c in '\0'..=char::MAX {
            if matches!(c, '\n' | '\t' | '\r') {
                continue;
            }
            let gone = matches!(
                get_general_category(c),
                GeneralCategory::Control
                    | GeneralCategory::Format
                    | GeneralCategory::LineSeparator
                    | GeneralCategory::ParagraphSeparator
                    | GeneralCategory::Unassigned
            );
            if gone {
                let text = format!("a{c}b");
                for clean in [
                    printable(&text),
                    painted(&text),
                    one_line(&text),
                    in_place(&text),
                    json(&text),
                ] {
                    let joins = matches!(c, '\u{200c}' | '\u{200d}');
                    assert!(
                        !clean.contains(c) || joins && clean == in_place(&text),
                        "{c:?} in {clean:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn colours_of_our_own_stay_and_nothing_else() {
        for (text, expected) in [
            ("\u{1b}[1;31mred\u{1b}[0m", "\u{1b}[1;31mred\u{1b}[0m"),
            ("\u{1b}[2Jx\u{1b}[38:5:1my\u{1b}[?25lz", "x\u{1b}[38:5:1myz"),
            ("\u{1b}]0;title\u{7}x\u{202e}y\u{1b}[1", "xy"),
        ] {
            assert_eq!(painted(text), expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printable_stays_so(text in any::<String>()) {
            let once = printable(&text);
            prop_assert!(is_fit(&once));
            prop_assert_eq!(printable(&once), once.clone());
            let painted = painted(&text);
            prop_assert_eq!(super::painted(&painted), painted.clone());
        }

        #[test]
        fn json_means_the_same_and_places_stay(text in any::<String>()) {
            let document = serde_json::json!({ text.clone(): text });
            let written = json(&document.to_string());
            prop_assert!(written.chars().all(|c| fate(c) == Fate::Stay));
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&written).ok(), Some(document));
            prop_assert_eq!(in_place(&text).len(), text.len());
        }
    }
}
