//! Writes sections, their records in the order of llvm-cov.

use std::borrow::Cow;

use super::{Branch, BranchId, BranchKind, Condition, Count, SourceFile};

impl SourceFile {
    /// Appends the section of this file, as it stands in a tracefile, to `out`.
    pub fn print(&self, path: &str, out: &mut Vec<u8>) {
        out.extend(b"SF:");
        put_text(out, path);
        out.push(b'\n');
        for function in &self.functions {
            put(out, b"FN:", u64::from(function.start));
            if let Some(end) = function.end {
                put(out, b",", u64::from(end));
            }
            out.push(b',');
            put_text(out, &function.name);
            out.push(b'\n');
        }
        for function in &self.functions {
            put(out, b"FNDA:", function.hits);
            out.push(b',');
            put_text(out, &function.name);
            out.push(b'\n');
        }
        let functions = self
            .stated
            .functions
            .unwrap_or_else(|| self.function_count());
        put_count(out, [b"FNF:", b"FNH:"], functions);
        for line in &self.lines {
            put(out, b"DA:", u64::from(line.number));
            put(out, b",", line.hits);
            out.push(b'\n');
        }
        for branch in &self.branches {
            branch.print(out);
        }
        let branches = self.stated.branches.unwrap_or_else(|| self.branch_count());
        put_count(out, [b"BRF:", b"BRH:"], branches);
        for condition in &self.conditions {
            condition.print(out);
        }
        if !self.conditions.is_empty() {
            let counted = self
                .conditions
                .iter()
                .filter(|condition| !condition.excluded);
            let count = Count::of(counted.map(|condition| condition.taken > 0));
            put_count(out, [b"MCF:", b"MCH:"], count);
        }
        let lines = self.stated.lines.unwrap_or_else(|| self.line_count());
        put_count(out, [b"LF:", b"LH:"], lines);
        out.extend(b"end_of_record\n");
    }
}

impl Branch {
    fn print(&self, out: &mut Vec<u8>) {
        put(out, b"BRDA:", u64::from(self.line));
        out.push(b',');
        match self.kind {
            BranchKind::Plain => {}
            BranchKind::Exception => out.push(b'e'),
            BranchKind::Fallthrough => out.push(b'f'),
        }
        if self.excluded {
            out.push(b'U');
        }
        put(out, b"", u64::from(self.block));
        out.push(b',');
        match &self.id {
            BranchId::Number(number) => put(out, b"", u64::from(*number)),
            BranchId::Text(text) => put_text(out, text),
        }
        match self.taken {
            Some(taken) => put(out, b",", taken),
            None => out.extend(b",-"),
        }
        out.push(b'\n');
    }
}

impl Condition {
    fn print(&self, out: &mut Vec<u8>) {
        put(out, b"MCDC:", u64::from(self.line));
        out.extend(if self.excluded { &b",U"[..] } else { b"," });
        put(out, b"", u64::from(self.group));
        out.extend(if self.sense { b",t" } else { b",f" });
        put(out, b",", self.taken);
        put(out, b",", u64::from(self.index));
        out.push(b',');
        put_text(out, &self.expression);
        out.push(b'\n');
    }
}

/// Appends `before` and a number; formatting through `std::fmt` takes three times as long.
fn put(out: &mut Vec<u8>, before: &[u8], mut number: u64) {
    out.extend(before);
    let mut digits = [0; 20];
    let mut first = digits.len();
    loop {
        first -= 1;
        digits[first] = b'0' + u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend(&digits[first..]);
}

fn put_count(out: &mut Vec<u8>, keys: [&[u8]; 2], count: Count) {
    for (key, number) in keys.into_iter().zip([count.found, count.hit]) {
        put(out, key, number);
        out.push(b'\n');
    }
}

/// Appends text on one line.
pub(in super::super) fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend(on_one_line(text).as_bytes());
}

/// Returns text in which nothing ends a record, for any reader, or steers a terminal: that is replaced.
pub(super) fn on_one_line(text: &str) -> Cow<'_, str> {
    let is_odd = |byte: u8| byte.wrapping_sub(b' ') >= 0x5f;
    // Without an early end this takes many bytes at once.
    if !text.bytes().fold(false, |odd, byte| odd | is_odd(byte)) {
        return Cow::Borrowed(text);
    }
    let ends = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    Cow::Owned(text.replace(ends, "\u{fffd}"))
}
