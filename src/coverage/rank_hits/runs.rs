//! Words of which most are like the one before, as on a tape: a length and a word, in few bytes.

/// Runs of equal words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Runs(Vec<u8>);

/// How the word of a run is written, in the low bits of its length.
const ZERO: u64 = 0;
const ONES: u64 = 1;
const SPELT: u64 = 2;

impl Runs {
    /// Returns the runs of these words.
    pub(super) fn of(words: impl IntoIterator<Item = u64>) -> Self {
        let mut runs = Self::default();
        let mut last: Option<(u64, u64)> = None;
        for word in words {
            match &mut last {
                Some((len, same)) if *same == word => *len += 1,
                _ => {
                    runs.push(last.replace((1, word)));
                }
            }
        }
        runs.push(last);
        runs.0.shrink_to_fit();
        runs
    }

    fn push(&mut self, run: Option<(u64, u64)>) {
        let Some((len, word)) = run else { return };
        let kind = match word {
            0 => ZERO,
            u64::MAX => ONES,
            _ => SPELT,
        };
        let mut number = len << 2 | kind;
        while number >= 0x80 {
            self.0.push(number.to_le_bytes()[0] | 0x80);
            number >>= 7;
        }
        self.0.push(number.to_le_bytes()[0]);
        if kind == SPELT {
            self.0.extend(word.to_le_bytes());
        }
    }

    /// Returns the runs: how often each word stands.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, u64)> {
        let mut rest = self.0.as_slice();
        std::iter::from_fn(move || {
            let (mut number, mut shift) = (0_u64, 0);
            loop {
                let (byte, behind) = rest.split_first()?;
                rest = behind;
                number |= u64::from(byte & 0x7f) << shift;
                shift += 7;
                if *byte < 0x80 {
                    break;
                }
            }
            let word = match number & 3 {
                ZERO => 0,
                ONES => u64::MAX,
                _ => {
                    let (word, behind) = rest.split_first_chunk()?;
                    rest = behind;
                    u64::from_le_bytes(*word)
                }
            };
            Some((usize::try_from(number >> 2).ok()?, word))
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn runs_hold_what_was_put_in(words in prop::collection::vec(prop_oneof![Just(0), Just(u64::MAX), 1..4_u64], 0..600)) {
            let runs = Runs::of(words.iter().copied());
            let back: Vec<u64> = runs.iter().flat_map(|(len, word)| std::iter::repeat_n(word, len)).collect();
            prop_assert_eq!(back, words);
        }
    }
}
