//! Reads tracefiles by bytes, section by section, straight into what is being added up.
//!
//! Nothing is allocated per line: names gather in one buffer per section, and a section that lists what the model lists
//! already is added in place. A line that cannot be read is reported with its number and the rest goes on.

use std::borrow::Cow;
use std::io::{self, BufRead};
use std::ops::Range;

use super::encoding::{Encoding, MARK, SNIFFED, Utf16, encoding};
use super::fields::{
    digits, field, float, is_below_one, is_digits, line_number, plain_branch, plain_line, small,
    unmarked,
};
use super::print::on_one_line;
use super::reading::{ENDLESS_LINE, Fault, LONGEST_LINE, MOST_FILES, Reading};
use super::section::{Counted, Declared, Section};
use super::{Branch, BranchId, BranchKind, Condition, Line, Tracefile};

/// What one read brings.
const CHUNK: usize = 256 << 10;
/// Bytes of a bad line that a problem quotes.
const QUOTED: usize = 80;

pub(super) fn read(into: &mut Tracefile, mut source: impl io::Read) -> io::Result<Reading> {
    let mut start = [0; SNIFFED];
    let mut sniffed = 0;
    while sniffed < SNIFFED {
        match source.read(&mut start[sniffed..]) {
            Ok(0) => break,
            Ok(brought) => sniffed += brought,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let start = &start[..sniffed];
    let source = io::Read::chain(start, source);
    match encoding(start) {
        Encoding::Bytes => read_lines(into, source),
        Encoding::Utf16 { big_endian } => read_lines(into, Utf16::new(source, big_endian)),
        Encoding::Other(what) => {
            let mut reading = Reading::default();
            reading.problem(1, Fault::Unreadable { what });
            Ok(reading)
        }
    }
}

fn read_lines(into: &mut Tracefile, mut source: impl io::Read) -> io::Result<Reading> {
    let mut reader = Reader::new(into);
    let mut buffer = vec![0; CHUNK];
    let mut filled = 0;
    let mut passed = 0;
    let ended = loop {
        match source.read(&mut buffer[filled..]) {
            Ok(0) => break Ok(()),
            Ok(brought) => filled += brought,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => break Err(error),
        }
        let used = reader.lines(&buffer[..filled]);
        buffer.copy_within(used..filled, 0);
        filled -= used;
        if reader.skipping {
            passed = if used > 0 { 0 } else { passed } + filled as u64;
            filled = 0;
            if passed > ENDLESS_LINE {
                reader.endless();
                break Ok(());
            }
            continue;
        }
        if filled < buffer.len() {
            continue;
        }
        if filled < LONGEST_LINE {
            buffer.resize(2 * filled, 0);
        } else {
            reader.skip_line();
            filled = 0;
        }
    };
    let reading = reader.end(&buffer[..filled]);
    ended.map(|()| reading)
}

struct Reader<'t> {
    into: &'t mut Tracefile,
    reading: Reading,
    section: Section,
    open: bool,
    /// Within a section that is one too many.
    passing: bool,
    /// Within a line that is too long to be kept.
    skipping: bool,
    line: u64,
}

impl<'t> Reader<'t> {
    fn new(into: &'t mut Tracefile) -> Self {
        Self {
            into,
            reading: Reading::default(),
            section: Section::default(),
            open: false,
            passing: false,
            skipping: false,
            line: 0,
        }
    }

    /// Reads the whole lines of `text` and returns how many bytes they are.
    fn lines(&mut self, text: &[u8]) -> usize {
        let mut at = 0;
        loop {
            let rest = &text[at..];
            if let Some(length) = self.usual_line(rest) {
                self.line += 1;
                at += length;
                continue;
            }
            let Some(length) = line_length(rest) else {
                return at;
            };
            at += length + 1;
            self.line += 1;
            if !std::mem::take(&mut self.skipping) {
                self.whole_line(&rest[..length]);
            }
        }
    }

    /// Takes a line that most sections consist of, without looking for its end first, and returns its length.
    fn usual_line(&mut self, text: &[u8]) -> Option<usize> {
        if !self.open || self.skipping {
            return None;
        }
        match text {
            [b'D', ..] => {
                let (line, length) = plain_line(text)?;
                self.section.lines.push(line);
                Some(length)
            }
            [b'B', ..] => {
                let (branch, length) = plain_branch(text)?;
                self.section.branches.push(branch);
                Some(length)
            }
            [b'F', ..] => self.section.follow(text, self.line + 1),
            _ => None,
        }
    }

    fn skip_line(&mut self) {
        if !std::mem::replace(&mut self.skipping, true) {
            self.line += 1;
            self.problem(Fault::TooLong);
            self.line -= 1;
        }
    }

    fn endless(&mut self) {
        self.line += 1;
        self.problem(Fault::Endless);
        self.line -= 1;
    }

    fn end(mut self, rest: &[u8]) -> Reading {
        if !rest.is_empty() && !self.skipping {
            self.line += 1;
            if rest.trim_ascii_end() == END {
                self.whole_line(rest);
            } else {
                self.problem(Fault::CutOff { text: quoted(rest) });
            }
        }
        if self.open {
            self.unclosed();
        }
        // Some faults show only when their section ends.
        self.reading.problems.sort_by_key(|problem| problem.line);
        self.reading
    }

    fn problem(&mut self, fault: Fault) {
        self.reading.problem(self.line, fault);
    }

    fn unclosed(&mut self) {
        let path = self.section.path().to_owned();
        self.problem(Fault::Unclosed { path });
        self.close();
    }

    fn whole_line(&mut self, line: &[u8]) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let line = line.strip_prefix(MARK).unwrap_or(line);
        if line.trim_ascii().is_empty() || line.starts_with(b"#") {
            return;
        }
        if line.trim_ascii_end() == END {
            if self.open {
                self.close();
            } else if !std::mem::take(&mut self.passing) {
                self.problem(Fault::Homeless { text: quoted(line) });
            }
            return;
        }
        let Some(colon) = line.iter().position(|&byte| byte == b':') else {
            self.problem(Fault::Malformed {
                text: quoted(line),
                expected: "a record",
            });
            return;
        };
        let (key, value) = (&line[..colon], &line[colon + 1..]);
        match key {
            b"TN" => {}
            b"SF" | b"KF" => self.open(value),
            _ if self.passing => {}
            _ if !self.open => self.problem(Fault::Homeless { text: quoted(line) }),
            _ => {
                if let Err(expected) = self.record(key, value) {
                    let text = quoted(line);
                    let fault = match expected {
                        UNKNOWN => Fault::Unknown { text },
                        _ if is_about_no_line(key, value) => {
                            self.refuse_function(key, value);
                            Fault::NoLine { text }
                        }
                        expected => Fault::Malformed { text, expected },
                    };
                    self.problem(fault);
                }
            }
        }
    }

    /// Notes whose counts are of no use, since it is declared on no line.
    fn refuse_function(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let (_, rest) = field(value).filter(|_| key == b"FN")?;
        let (_, name) = end_and_name(rest);
        let name = self.name(name)?;
        self.section.refuse(name);
        Some(())
    }

    /// Takes one record of a section, or says what form it should have.
    fn record(&mut self, key: &[u8], value: &[u8]) -> Result<(), &'static str> {
        let expected = match key {
            b"DA" => self.da(value).err_as("DA:LINE,HITS"),
            b"FN" => self
                .declare(value)
                .err_as("FN:LINE,NAME or FN:LINE,END,NAME"),
            b"FNDA" => self.count(value).err_as("FNDA:HITS,NAME"),
            b"FNL" => self
                .lead(value)
                .err_as("FNL:INDEX,LINE or FNL:INDEX,LINE,END"),
            b"FNA" => self
                .alias(value)
                .err_as("FNA:INDEX,HITS,NAME of an index that an FNL record defines"),
            b"BRDA" => self.branch(value).err_as("BRDA:LINE,BLOCK,BRANCH,TAKEN"),
            b"MCDC" => self
                .condition(value)
                .err_as("MCDC:LINE,[U]CONDITIONS,t or f,TAKEN,INDEX,EXPRESSION"),
            b"FNF" => self.total(0, value).err_as("a number"),
            b"FNH" => self.total(1, value).err_as("a number"),
            b"LF" => self.total(2, value).err_as("a number"),
            b"LH" => self.total(3, value).err_as("a number"),
            b"BRF" => self.total(4, value).err_as("a number"),
            b"BRH" => self.total(5, value).err_as("a number"),
            b"MCF" | b"MCH" | b"VER" => return Ok(()),
            _ if is_name(key) => return Err(UNKNOWN),
            _ => return Err("a record"),
        };
        expected.map_or(Ok(()), Err)
    }

    fn open(&mut self, path: &[u8]) {
        if self.open {
            self.unclosed();
        }
        if path.trim_ascii().is_empty() || path.contains(&0) {
            return self.problem(Fault::Malformed {
                text: format!("SF:{}", quoted(path)),
                expected: "SF:PATH",
            });
        }
        let path = self.text(path);
        self.passing = self.into.files.len() >= MOST_FILES && !self.into.files.contains_key(&*path);
        if self.passing {
            let path = quoted(path.as_bytes());
            return self.problem(Fault::TooManyFiles { path });
        }
        self.open = true;
        self.section.begin(self.into, &path);
    }

    fn da(&mut self, value: &[u8]) -> Option<()> {
        let (number, rest) = field(value)?;
        // A third field is the checksum of the line.
        let hits = field(rest).map_or(rest, |(hits, _)| hits);
        let line = Line {
            number: line_number(number)?,
            hits: self.hits(hits)?,
        };
        self.section.lines.push(line);
        Some(())
    }

    fn declare(&mut self, value: &[u8]) -> Option<()> {
        let (start, rest) = field(value)?;
        let (end, name) = end_and_name(rest);
        let end = match end {
            Some(end) => Some(line_number(end)?),
            None => None,
        };
        let declared = Declared {
            start: line_number(start)?,
            end,
            name: self.name(name)?,
        };
        self.section.declare(declared);
        Some(())
    }

    fn count(&mut self, value: &[u8]) -> Option<()> {
        let (hits, name) = field(value)?;
        let counted = Counted {
            hits: self.hits(hits)?,
            name: self.name(name)?,
            line: self.line,
        };
        self.section.count(counted);
        Some(())
    }

    fn lead(&mut self, value: &[u8]) -> Option<()> {
        let (index, rest) = field(value)?;
        let (start, end) = match field(rest) {
            Some((start, end)) => (start, Some(line_number(end)?)),
            None => (rest, None),
        };
        self.section
            .leaders
            .insert(digits(index)?, (line_number(start)?, end));
        Some(())
    }

    fn alias(&mut self, value: &[u8]) -> Option<()> {
        let (index, rest) = field(value)?;
        let (hits, name) = field(rest)?;
        let (start, end) = *self.section.leaders.get(&digits(index)?)?;
        let hits = self.hits(hits)?;
        let name = self.name(name)?;
        self.section.declare(Declared {
            name: name.clone(),
            start,
            end,
        });
        let line = self.line;
        self.section.count(Counted { name, hits, line });
        Some(())
    }

    fn branch(&mut self, value: &[u8]) -> Option<()> {
        let (line, rest) = field(value)?;
        let (block, rest) = field(rest)?;
        // The branch may be an expression with commas of its own.
        let comma = rest.iter().rposition(|&byte| byte == b',')?;
        let (id, taken) = (&rest[..comma], &rest[comma + 1..]);
        let (kind, block) = match block {
            [b'e', block @ ..] => (BranchKind::Exception, block),
            [b'f', block @ ..] => (BranchKind::Fallthrough, block),
            block => (BranchKind::Plain, block),
        };
        let (excluded, block) = unmarked(block);
        let id = match small(id) {
            Some(number) if id.len() == 1 || !id.starts_with(b"0") => BranchId::Number(number),
            _ => BranchId::new(&self.text(id)),
        };
        let branch = Branch {
            line: line_number(line)?,
            block: small(block)?,
            kind,
            excluded,
            id,
            taken: match taken.trim_ascii_end() {
                b"-" => None,
                taken => Some(self.hits(taken)?),
            },
        };
        self.section.branches.push(branch);
        Some(())
    }

    fn condition(&mut self, value: &[u8]) -> Option<()> {
        let (line, rest) = field(value)?;
        let (group, rest) = field(rest)?;
        let (sense, rest) = field(rest)?;
        let (taken, rest) = field(rest)?;
        let (index, expression) = field(rest)?;
        let (excluded, group) = unmarked(group);
        let sense = match sense {
            b"t" => true,
            b"f" => false,
            _ => return None,
        };
        let condition = Condition {
            line: line_number(line)?,
            group: small(group)?,
            sense,
            excluded,
            index: small(index)?,
            expression: self.text(expression).into(),
            taken: self.hits(taken)?,
        };
        self.section.conditions.push(condition);
        Some(())
    }

    fn total(&mut self, which: usize, value: &[u8]) -> Option<()> {
        self.section.totals[which] = Some(digits(value.trim_ascii_end())?);
        Some(())
    }

    /// Reads a count; one beyond 64 bits becomes the largest, a negative one 0.
    fn hits(&mut self, text: &[u8]) -> Option<u64> {
        let text = text.trim_ascii_end();
        if let Some(hits) = digits(text) {
            return Some(hits);
        }
        if let [b'-', magnitude @ ..] = text {
            float(magnitude)?;
            self.reading.negative += 1;
            return Some(0);
        }
        // Whatever is above 0 has run.
        let hits = format!("{:.0}", float(text)?.ceil());
        Some(hits.parse().unwrap_or_else(|_| {
            self.reading.saturated += 1;
            u64::MAX
        }))
    }

    fn name(&mut self, bytes: &[u8]) -> Option<Range<usize>> {
        if bytes.is_empty() {
            return None;
        }
        let from = self.section.names.len();
        let text = self.text(bytes);
        self.section.names.push_str(&text);
        Some(from..self.section.names.len())
    }

    fn text<'b>(&mut self, bytes: &'b [u8]) -> Cow<'b, str> {
        // Checking alone is several times faster than replacing. What is written cannot differ, or two names would be one then.
        if let Ok(text) = std::str::from_utf8(bytes) {
            return on_one_line(text);
        }
        self.reading.not_utf8 += 1;
        let text = String::from_utf8_lossy(bytes);
        Cow::Owned(on_one_line(&text).into_owned())
    }

    /// Adds the section that ends here.
    fn close(&mut self) {
        self.open = false;
        self.reading.sections += 1;
        for (line, name) in self.section.finish(self.into) {
            let name = quoted(name.as_bytes());
            self.reading.problem(line, Fault::Undeclared { name });
        }
    }
}

/// Returns the length of the line that `text` begins with, if it ends there.
fn line_length(mut text: &[u8]) -> Option<usize> {
    let start = text;
    // The standard library looks for a byte at the speed of `memchr` only here.
    let skipped = text.skip_until(b'\n').ok()?;
    let length = skipped.checked_sub(1)?;
    (start[length] == b'\n').then_some(length)
}

const END: &[u8] = b"end_of_record";

/// In place of a form, of a record whose name is not known.
const UNKNOWN: &str = "a known record";

/// Whether it may be the name of a record.
fn is_name(key: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    (1..=32).contains(&key.len()) && key.iter().all(plain)
}

/// Splits what stands behind the first line of a function: its last line, if that is told, and its name.
fn end_and_name(text: &[u8]) -> (Option<&[u8]>, &[u8]) {
    match field(text) {
        Some((end, name)) if is_integer(end) && !name.is_empty() => (Some(end), name),
        _ => (None, text),
    }
}

fn is_integer(text: &[u8]) -> bool {
    is_digits(text.strip_prefix(b"-").unwrap_or(text))
}

/// Whether a number of a line is below 1 in a record that was refused.
fn is_about_no_line(key: &[u8], value: &[u8]) -> bool {
    let mut fields = value.split(|&byte| byte == b',');
    match key {
        b"DA" | b"BRDA" | b"MCDC" => fields.next().is_some_and(is_below_one),
        b"FN" => fields.take(2).any(is_below_one),
        b"FNL" => fields.skip(1).take(2).any(is_below_one),
        _ => false,
    }
}

trait ErrAs {
    /// Returns `expected` where there is nothing.
    fn err_as(self, expected: &'static str) -> Option<&'static str>;
}

impl ErrAs for Option<()> {
    fn err_as(self, expected: &'static str) -> Option<&'static str> {
        self.is_none().then_some(expected)
    }
}

fn quoted(line: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(&line[..line.len().min(QUOTED)]).into_owned();
    if line.len() > QUOTED {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests;
