//! A covered file as text of a tracefile.

use super::super::lcov::put_text;
use super::file::{Branch, FileCoverage};

impl FileCoverage<'_> {
    /// Appends the file's section of a tracefile.
    pub fn print(&self, text: &mut Vec<u8>) {
        let names = self
            .functions
            .iter()
            .map(|function| 2 * function.name.len() + 24)
            .sum::<usize>();
        text.reserve(256 + names + 16 * self.lines.len() + 32 * self.branches.len());
        let mut text = Text(text);
        text.str("SF:").text(&self.path).end();
        for function in &self.functions {
            text.str("FN:")
                .number(function.line.into())
                .str(",")
                .text(&function.name)
                .end();
        }
        for function in &self.functions {
            text.str("FNDA:")
                .number(function.hits)
                .str(",")
                .text(&function.name)
                .end();
        }
        text.str("FNF:").number(self.function_share.found).end();
        text.str("FNH:").number(self.function_share.hit).end();
        for (line, hits) in &self.lines {
            text.str("DA:")
                .number((*line).into())
                .str(",")
                .number(*hits)
                .end();
        }
        for line in self.branches.chunk_by(|a, b| a.line == b.line) {
            for (pair, branch) in (0..).zip(line) {
                text.branch(pair, branch);
            }
        }
        text.str("BRF:").number(self.branch_share.found).end();
        text.str("BRH:").number(self.branch_share.hit).end();
        text.str("LF:").number(self.line_share.found).end();
        text.str("LH:").number(self.line_share.hit).end();
        text.str("end_of_record").end();
    }
}

/// Text that is put together without the cost of formatting, of which a large tracefile mostly consists.
struct Text<'a>(&'a mut Vec<u8>);

impl Text<'_> {
    fn str(&mut self, text: &str) -> &mut Self {
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    /// Names come from the objects, and whoever made these may have put records into them.
    fn text(&mut self, text: &str) -> &mut Self {
        put_text(self.0, text);
        self
    }

    fn end(&mut self) {
        self.0.push(b'\n');
    }

    fn number(&mut self, mut number: u64) -> &mut Self {
        let mut digits = [b'0'; 20];
        let mut used = 0;
        for digit in digits.iter_mut().rev() {
            *digit += u8::try_from(number % 10).unwrap_or(0);
            number /= 10;
            used += 1;
            if number == 0 {
                break;
            }
        }
        self.0
            .extend_from_slice(digits.get(digits.len() - used..).unwrap_or_default());
        self
    }

    /// `llvm-cov` keeps 32 bits of these counts, and only then looks whether any is left.
    fn branch(&mut self, pair: u64, branch: &Branch) {
        let low = |count: u64| count & u64::from(u32::MAX);
        let (yes, no) = (low(branch.yes), low(branch.no));
        for (number, count) in [(2 * pair, yes), (2 * pair + 1, no)] {
            self.str("BRDA:")
                .number(branch.line.into())
                .str(",")
                .number(pair)
                .str(",")
                .number(number)
                .str(",");
            if yes == 0 && no == 0 {
                self.str("-")
            } else {
                self.number(count)
            }
            .end();
        }
    }
}
