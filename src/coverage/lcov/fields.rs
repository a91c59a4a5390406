//! Numbers and fields of records, and the two commonest records whole, by bytes.

use super::{Branch, BranchId, BranchKind, Line};

/// Reads the commonest record, `DA:LINE,HITS` without anything else, in one pass over its bytes.
pub(super) fn plain_line(text: &[u8]) -> Option<(Line, usize)> {
    let text = text.strip_prefix(b"DA:")?;
    let (number, digits_of_number) = leading_digits(text);
    let rest = &text[digits_of_number..];
    let rest = rest.strip_prefix(b",")?;
    let (hits, digits_of_hits) = leading_digits(rest);
    let plain = rest.get(digits_of_hits) == Some(&b'\n')
        && (1..=10).contains(&digits_of_number)
        && (1..=19).contains(&digits_of_hits);
    let number = u32::try_from(number).ok().filter(|&n| plain && n > 0)?;
    let length = b"DA:,\n".len() + digits_of_number + digits_of_hits;
    Some((Line { number, hits }, length))
}

/// Reads `BRDA:LINE,BLOCK,NUMBER,TAKEN` without anything else.
pub(super) fn plain_branch(text: &[u8]) -> Option<(Branch, usize)> {
    let start = text.len();
    let text = text.strip_prefix(b"BRDA:")?;
    let (line, text) = number_before_comma(text).filter(|(line, _)| *line > 0)?;
    let (block, text) = number_before_comma(text)?;
    let zero_first = text.starts_with(b"0") && !text.starts_with(b"0,");
    let (id, text) = number_before_comma(text)?;
    let (taken, text) = match text {
        [b'-', text @ ..] => (None, text),
        text => {
            let (taken, length) = leading_digits(text);
            if !(1..=19).contains(&length) {
                return None;
            }
            (Some(taken), &text[length..])
        }
    };
    let text = text.strip_prefix(b"\n").filter(|_| !zero_first)?;
    let branch = Branch {
        line,
        block,
        kind: BranchKind::Plain,
        excluded: false,
        id: BranchId::Number(id),
        taken,
    };
    Some((branch, start - text.len()))
}

fn number_before_comma(text: &[u8]) -> Option<(u32, &[u8])> {
    let (number, length) = leading_digits(text);
    let number = u32::try_from(number)
        .ok()
        .filter(|_| (1..=10).contains(&length))?;
    Some((number, text[length..].strip_prefix(b",")?))
}

/// Returns the number that `text` begins with and how many digits it has; beyond 19 digits the number means nothing.
pub(super) fn leading_digits(text: &[u8]) -> (u64, usize) {
    let mut number = 0_u64;
    let mut length = 0;
    while let Some(byte) = text.get(length).filter(|byte| byte.is_ascii_digit()) {
        number = number.wrapping_mul(10).wrapping_add(u64::from(byte - b'0'));
        length += 1;
    }
    (number, length)
}

/// Splits at the first comma.
pub(super) fn field(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let comma = text.iter().position(|&byte| byte == b',')?;
    Some((&text[..comma], &text[comma + 1..]))
}

pub(super) fn digits(text: &[u8]) -> Option<u64> {
    match leading_digits(text) {
        (number, length) if length == text.len() && (1..=19).contains(&length) => Some(number),
        (_, length) if length == text.len() && length > 0 => {
            std::str::from_utf8(text).ok()?.parse().ok()
        }
        _ => None,
    }
}

pub(super) fn small(text: &[u8]) -> Option<u32> {
    u32::try_from(digits(text)?).ok()
}

/// Reads the number of a line; lines count from 1.
pub(super) fn line_number(text: &[u8]) -> Option<u32> {
    small(text).filter(|&line| line > 0)
}

/// Whether it is a whole number below 1.
pub(super) fn is_below_one(text: &[u8]) -> bool {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    is_digits(digits) && (negative || digits.iter().all(|&digit| digit == b'0'))
}

pub(super) fn is_digits(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(u8::is_ascii_digit)
}

/// Reads a count that was written as a fraction or with an exponent, as Perl does with counts beyond 64 bits.
pub(super) fn float(text: &[u8]) -> Option<f64> {
    let plain = |byte: &u8| byte.is_ascii_digit() || b".eE+-".contains(byte);
    let begins = text.first().is_some_and(u8::is_ascii_digit);
    let text = std::str::from_utf8(text)
        .ok()
        .filter(|text| begins && text.bytes().all(|byte| plain(&byte)))?;
    text.parse().ok()
}

/// Splits off the mark of a branch or decision that the sources exclude.
pub(super) fn unmarked(text: &[u8]) -> (bool, &[u8]) {
    match text {
        [b'U', rest @ ..] => (true, rest),
        rest => (false, rest),
    }
}
