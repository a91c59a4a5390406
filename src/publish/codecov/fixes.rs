//! Lines that compilers count and people do not: blank lines, lone brackets, what is marked `LCOV_EXCL`.
//!
//! codecov-cli tells Codecov of them (`upload_collector.py`), and Codecov takes them out of every report. Coverage of one
//! project comes from several uploaders, so that ours tells the same.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use regex::Regex;

use crate::results::record::Fix;

/// Which lines of a language are taken out, by the ends of its files' names.
struct Language {
    endings: &'static [&'static str],
    lines: &'static str,
    /// Whether the number of lines is told too.
    end_of_file: bool,
}

const LANGUAGES: &[Language] = &[
    Language {
        endings: &[".kt"],
        lines: r"^\s*[{}]\s*(//.*)?$|^\s*[()]\s*(//.*)?$|^\s*(/\*|\*/)\s*$",
        end_of_file: true,
    },
    Language {
        endings: &[".go"],
        lines: r"^\s*$|^\s*//.*$|^\s*[{}]\s*(//.*)?$|^\s*func\s*\{\s*(//.*)?$|^\s*(/\*|\*/)\s*$",
        end_of_file: false,
    },
    Language {
        endings: &[".dart"],
        lines: r"^\s*[{}]\s*(//.*)?$",
        end_of_file: false,
    },
    Language {
        endings: &[".php"],
        lines: r"^\s*[{}]\s*(//.*)?$|^\s*[\[\]]\s*(//.*)?$|^\s*\);\s*(//.*)?$",
        end_of_file: false,
    },
    Language {
        endings: &[".c", ".cpp", ".cxx", ".h", ".hpp", ".m", ".swift", ".vala"],
        // The mark counts at the start of a line only, as in codecov-cli; others are left to `lcov` and compilers.
        lines: r"^\s*$|^\s*[{}]\s*(//.*)?$|^// LCOV_EXCL",
        end_of_file: false,
    },
];

static PATTERNS: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    LANGUAGES
        .iter()
        .map(|language| Regex::new(language.lines).expect("the pattern is one"))
        .collect()
});

/// Returns whether something is told about files of this name.
#[must_use]
pub fn concern(path: &str) -> bool {
    language(path).is_some()
}

/// Returns what is told about a source file; `None` for languages of which nothing is.
#[must_use]
pub fn fix(path: &str, content: &[u8]) -> Option<Fix> {
    let index = language(path)?;
    let Ok(text) = std::str::from_utf8(content) else {
        return Some(Fix::default());
    };
    let lines = lines(text);
    let matching = (1..)
        .zip(&lines)
        .filter(|(_, line)| PATTERNS[index].is_match(line))
        .map(|(number, _)| number)
        .collect::<BTreeSet<u64>>();
    Some(Fix {
        lines: matching.into_iter().collect(),
        end_of_file: LANGUAGES[index].end_of_file.then_some(lines.len() as u64),
    })
}

fn language(path: &str) -> Option<usize> {
    LANGUAGES
        .iter()
        .position(|language| language.endings.iter().any(|end| path.ends_with(end)))
}

/// The lines of a text; a return alone ends one too, as in Python.
fn lines(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(['\n', '\r']).unwrap_or(rest.len());
        let (line, after) = rest.split_at(end);
        lines.push(line);
        rest = after
            .strip_prefix("\r\n")
            .or_else(|| after.strip_prefix(['\n', '\r']))
            .unwrap_or("");
    }
    lines
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn lines_that_do_not_count() {
        let check = |path: &str, text: &str, lines: &[u64], end| {
            let fix = fix(path, text.as_bytes()).unwrap();
            assert_eq!((&fix.lines[..], fix.end_of_file), (lines, end), "{path}");
        };
        let c = "int main()\n{\n\n  return 0; // x\n} // end\n// LCOV_EXCL_START\n  x(); // LCOV_EXCL_LINE\n";
        check("src/a.c", c, &[2, 3, 5, 6], None);
        check("a.h", "a\r\n\r\nb\r}\r", &[2, 4], None);
        check("a.go", "// c\nfunc {\n/*\nx\n*/\n", &[1, 2, 3, 5], None);
        check("a.kt", "fun\n)\n}\n", &[2, 3], Some(3));
        check("a.kt", "", &[], Some(0));
        check("a.php", "[\n);\nx\n", &[1, 2], None);
        check("a.dart", "\n}\n", &[2], None);
        assert_eq!(fix("a.c", &[0xff, b'\n']), Some(Fix::default()));
        assert_eq!(fix("src/lib.rs", b"}\n"), None);
        assert!(!concern("Makefile"));
    }
}
