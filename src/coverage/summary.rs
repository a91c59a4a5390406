//! Totals of a tracefile, per file and over all, in the shape of `coverage/summary.json`.
//!
//! Lines are counted from the lines themselves. `LF` and `LH` of llvm-cov are sums over functions instead, in which a
//! line between two instances of a template counts twice, so readers that trust them see other percentages.

use serde::{Deserialize, Serialize};

use super::lcov::{Count, SourceFile, Tracefile};

/// The version of the document's shape.
pub const SCHEMA_VERSION: u32 = 1;

/// Totals over all files and for each of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// The version of this shape.
    pub schema_version: u32,
    /// Over all files.
    pub totals: Totals,
    /// Each file, in byte order of paths.
    pub files: Vec<FileTotals>,
}

/// Totals of one source file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileTotals {
    /// The source file as the tracefile names it.
    pub path: String,
    /// Its totals.
    #[serde(flatten)]
    pub totals: Totals,
}

/// What was found and what ran, by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Lines with code.
    pub lines: Share,
    /// Functions; those that start on one line (instances of a template or generic) count once.
    pub functions: Share,
    /// Branches.
    pub branches: Share,
}

/// How many of how many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "WrittenShare", into = "WrittenShare")]
pub struct Share {
    /// How many there are.
    pub total: u64,
    /// How many of them ran.
    pub covered: u64,
}

/// A share as it is written, with its percentage.
#[derive(Serialize, Deserialize)]
struct WrittenShare {
    total: u64,
    covered: u64,
    percent: Option<f64>,
}

impl From<Share> for WrittenShare {
    fn from(share: Share) -> Self {
        Self {
            total: share.total,
            covered: share.covered,
            percent: share.percent(),
        }
    }
}

impl From<WrittenShare> for Share {
    fn from(written: WrittenShare) -> Self {
        Self {
            total: written.total,
            covered: written.covered,
        }
    }
}

impl From<Count> for Share {
    fn from(count: Count) -> Self {
        Self {
            total: count.found,
            covered: count.hit,
        }
    }
}

impl Share {
    /// Returns the percentage in hundredths, rounded down, so that only what is complete is 100 %; none of nothing.
    #[must_use]
    pub fn hundredths(self) -> Option<u64> {
        let share = u128::from(self.covered) * 10_000
            / u128::from(std::num::NonZero::new(self.total)?.get());
        u64::try_from(share).ok()
    }

    /// Returns the percentage with two decimals, rounded down; none of nothing.
    #[must_use]
    pub fn percent(self) -> Option<f64> {
        self.hundredths()
            .map(|hundredths| hundredths as f64 / 100.0)
    }

    fn add(&mut self, other: Self) {
        self.total = self.total.saturating_add(other.total);
        self.covered = self.covered.saturating_add(other.covered);
    }
}

impl Totals {
    /// Returns the totals of one source file.
    #[must_use]
    pub fn of(file: &SourceFile) -> Self {
        Self {
            lines: file.line_count().into(),
            functions: file.function_count().into(),
            branches: file.branch_count().into(),
        }
    }

    fn add(&mut self, other: Self) {
        self.lines.add(other.lines);
        self.functions.add(other.functions);
        self.branches.add(other.branches);
    }
}

/// Returns the totals of a tracefile.
#[must_use]
pub fn summarize(tracefile: &Tracefile) -> Summary {
    let mut totals = Totals::default();
    let file_totals = |(path, file): (&str, &SourceFile)| {
        let own = Totals::of(file);
        totals.add(own);
        FileTotals {
            path: path.to_owned(),
            totals: own,
        }
    };
    let files = tracefile.files().map(file_totals).collect();
    Summary {
        schema_version: SCHEMA_VERSION,
        totals,
        files,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn percent_is_rounded_down() {
        let check = |covered, total, percent: Option<f64>| {
            assert_eq!(
                Share { total, covered }.percent(),
                percent,
                "{covered} of {total}"
            );
        };
        check(0, 0, None);
        check(0, 3, Some(0.0));
        check(1, 3, Some(33.33));
        check(2, 3, Some(66.66));
        check(99_999, 100_000, Some(99.99));
        check(3, 3, Some(100.0));
        check(u64::MAX, u64::MAX, Some(100.0));
    }

    #[test]
    fn document_counts_lines_not_stated_sums() {
        let text = "SF:b.rs\nFN:1,f<u8>\nFN:1,f<u16>\nFN:9,g\nFNDA:1,f<u8>\nFNDA:0,f<u16>\nFNDA:0,g\nDA:1,1\nDA:2,1\nDA:9,0\n\
                    BRDA:2,0,0,1\nBRDA:2,0,1,-\nLF:70\nLH:60\nend_of_record\nSF:a.rs\nend_of_record\n";
        let (tracefile, _) = Tracefile::parse(text.as_bytes());
        let summary = summarize(&tracefile);
        let json = serde_json::to_string(&summary).unwrap();
        insta::assert_snapshot!(json.replace("},{", "},\n{").replace("\"files\":[", "\"files\":[\n"), @r#"
        {"schema_version":1,"totals":{"lines":{"total":3,"covered":2,"percent":66.66},"functions":{"total":2,"covered":1,"percent":50.0},"branches":{"total":2,"covered":1,"percent":50.0}},"files":[
        {"path":"a.rs","lines":{"total":0,"covered":0,"percent":null},"functions":{"total":0,"covered":0,"percent":null},"branches":{"total":0,"covered":0,"percent":null}},
        {"path":"b.rs","lines":{"total":3,"covered":2,"percent":66.66},"functions":{"total":2,"covered":1,"percent":50.0},"branches":{"total":2,"covered":1,"percent":50.0}}]}
        "#);
        assert_eq!(serde_json::from_str::<Summary>(&json).unwrap(), summary);
    }
}
