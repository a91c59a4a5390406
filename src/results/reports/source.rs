//! A report as it is read: by lines or from its first tag on, and never more of it than the limits say.

use std::borrow::Cow;
use std::io::{self, BufRead, Read as _};

use super::{Limits, Report, ReportError};
use crate::clean::printable;

/// The most of one line that is read: libtest's JSON holds all that a test wrote in one.
const LINE: u64 = 1 << 20;

/// The most XML that is read: unlike lines, it is held in memory.
pub(super) const MOST_XML: u64 = 64 << 20;

/// What reads an output line by line.
pub(super) trait LineReader: Default {
    /// Takes the next line.
    fn line(&mut self, line: &str);
    /// How many things it holds: tests, and what is to be said of them.
    fn held(&self) -> usize;
    /// Says what it has read.
    fn end(self) -> Result<Report, ReportError>;
}

/// Reads all lines within the limits. What is beyond them is a problem of the report: it may hold a failure.
pub(super) fn by_line<L: LineReader>(
    source: impl BufRead,
    limits: Limits,
    clean: bool,
) -> Result<Report, ReportError> {
    let mut reader = L::default();
    let mut lines = Lines::new(source, limits.bytes, clean);
    let mut beyond = false;
    while let Some(line) = lines.next().map_err(|error| unreadable(&error))? {
        reader.line(&line);
        beyond = reader.held() > limits.tests;
        if beyond {
            break;
        }
    }
    let end = reader.end();
    match end {
        Ok(mut report) => {
            report.problems.extend(lines.cut.then(|| limits.cut()));
            report.problems.extend(beyond.then(|| limits.beyond()));
            Ok(report)
        }
        Err(ReportError::Not { .. }) if lines.cut => Err(ReportError::TooLarge {
            limit: limits.bytes,
        }),
        Err(error) => Err(error),
    }
}

/// Lines of any source, whatever bytes it holds and however long they are.
pub(super) struct Lines<R> {
    source: R,
    left: u64,
    line: Vec<u8>,
    clean: bool,
    /// Whether there was more than may be read.
    pub(super) cut: bool,
}

impl<R: BufRead> Lines<R> {
    /// `clean`: without what a terminal would not show, such as colours.
    pub(super) fn new(source: R, most: u64, clean: bool) -> Self {
        Self {
            source,
            left: most,
            line: Vec::new(),
            clean,
            cut: false,
        }
    }

    /// Returns the next line without its end. One that the limit cuts is not returned, since its rest may turn it around.
    pub(super) fn next(&mut self) -> io::Result<Option<Cow<'_, str>>> {
        self.line.clear();
        let most = self.left.min(LINE);
        let mut part = self.source.by_ref().take(most);
        let read = part.read_until(b'\n', &mut self.line)? as u64;
        self.left -= read;
        let mut whole = self.line.pop_if(|last| *last == b'\n').is_some();
        if !whole && read == LINE {
            let mut rest = self.source.by_ref().take(self.left);
            self.left -= rest.skip_until(b'\n')? as u64;
            whole = true;
        }
        if self.left == 0 && !self.source.fill_buf()?.is_empty() {
            self.cut = true;
            if !whole {
                return Ok(None);
            }
        }
        if read == 0 {
            return Ok(None);
        }
        self.line.pop_if(|last| *last == b'\r');
        let plain = |byte: &u8| matches!(byte, b'\t' | b' '..=b'~');
        let line = String::from_utf8_lossy(&self.line);
        Ok(Some(if self.clean && !self.line.iter().all(plain) {
            Cow::Owned(printable(&line))
        } else {
            line
        }))
    }
}

/// Returns what stands in a source from a tag on, in capitals or not, and whether that was more than may be read; nothing if the tag
/// is not there.
pub(super) fn from_tag(
    mut source: impl BufRead,
    tag: &[u8],
    limits: Limits,
) -> io::Result<(String, bool)> {
    let mut kept = Vec::new();
    let mut left = limits.bytes;
    let mut found = false;
    while left > 0 && !found {
        let read = {
            let part = source.fill_buf()?;
            let part = &part[..part.len().min(usize::try_from(left).unwrap_or(usize::MAX))];
            kept.extend_from_slice(part);
            part.len()
        };
        if read == 0 {
            return Ok((String::new(), false));
        }
        source.consume(read);
        left -= read as u64;
        let at = kept
            .windows(tag.len())
            .position(|window| window.eq_ignore_ascii_case(tag));
        found = at.is_some();
        // A tag may begin at the end of what was read.
        kept.drain(..at.unwrap_or(kept.len().saturating_sub(tag.len() - 1)));
    }
    if !found {
        return Ok((String::new(), !source.fill_buf()?.is_empty()));
    }
    let most = left.min(MOST_XML.saturating_sub(kept.len() as u64));
    source.by_ref().take(most).read_to_end(&mut kept)?;
    let cut = !source.fill_buf()?.is_empty();
    let text = String::from_utf8(kept)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
    Ok((text, cut))
}

pub(super) fn unreadable(error: &io::Error) -> ReportError {
    ReportError::Unreadable {
        what: error.to_string(),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn lines(text: &[u8], most: u64) -> (Vec<String>, bool) {
        let mut lines = Lines::new(text, most, false);
        let mut all = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            all.push(line.chars().take(20).collect());
        }
        (all, lines.cut)
    }

    #[test]
    fn lines_end_where_their_text_or_the_limit_does() {
        let text = b"one\r\n\ntwo \xff\nthree";
        assert_eq!(
            lines(text, 99).0,
            ["one", "", "two \u{fffd}", "three"].map(str::to_owned)
        );
        for (most, expected, cut) in [
            (17, &["one", "", "two \u{fffd}", "three"][..], false),
            (16, &["one", "", "two \u{fffd}"], true),
            (12, &["one", "", "two \u{fffd}"], true),
            (6, &["one", ""], true),
            (0, &[], true),
        ] {
            let (found, was_cut) = lines(text, most);
            assert_eq!(
                (&found[..], was_cut),
                (
                    &expected.iter().map(|&it| it.to_owned()).collect::<Vec<_>>()[..],
                    cut
                ),
                "{most}"
            );
        }
        assert_eq!(lines(b"", 0), (Vec::new(), false));
    }

    #[test]
    fn an_endless_line_is_passed_over_behind_its_beginning() {
        let mut text = vec![b'x'; 3 << 20];
        text.extend_from_slice(b"\nnext\n");
        let (found, cut) = lines(&text, 1 << 30);
        assert_eq!(found, ["x".repeat(20), "next".to_owned()]);
        assert!(!cut);
        assert!(lines(&text, 2 << 20).1);
    }

    proptest::proptest! {
        /// Lines are those of the text, however it is split into blocks.
        #[test]
        fn any_text_has_its_lines(text in "([a-z]{0,3}\r?\n?|\n){0,20}", block in 1_usize..9) {
            let mut lines = Lines::new(io::BufReader::with_capacity(block, text.as_bytes()), 1 << 20, false);
            let mut found = Vec::new();
            while let Some(line) = lines.next().unwrap() {
                found.push(line.into_owned());
            }
            proptest::prop_assert_eq!(found, text.split_terminator('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)).collect::<Vec<_>>());
            proptest::prop_assert!(!lines.cut);
        }

        /// A tag is found wherever blocks end.
        #[test]
        fn a_tag_is_found_across_blocks(before in "[a<tes]{0,30}", block in 1_usize..9) {
            let text = format!("{before}<TestSuite name='x'/>");
            let source = io::BufReader::with_capacity(block, text.as_bytes());
            let (found, cut) = from_tag(source, b"<testsuite", Limits::default()).unwrap();
            proptest::prop_assert_eq!(found, "<TestSuite name='x'/>");
            proptest::prop_assert!(!cut);
        }
    }
}
