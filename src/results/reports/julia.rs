//! The summary that Julia's `Test` prints: a table whose columns appear only if they are not all zero.
//!
//! ```text
//! Test Summary: | Pass  Fail  Error  Broken  Total  Time
//! halo          |    2     1      1       1      5  0.0s
//!   exchange    |    1                    1      2  0.0s
//!   sizes       |    1     1      1              3  0.0s
//! ```
//!
//! It knows test sets, not tests: each set that no other set stands below is one case, and so is a set that has results of its
//! own beside those of the sets below it.

use super::source::LineReader;
use super::{Case, CaseStatus, Dialect, Report, ReportError, shortened};

const TITLE: &str = "Test Summary:";

/// How long the name of a set may be, with those around it: each of many that stand in one another would have all of theirs.
const NAME: usize = 1000;

/// What Julia says behind a table in which something failed.
const FAILED: &str = "Some tests did not pass: ";

/// Whether an output looks like it.
#[derive(Default)]
pub(super) struct Signs {
    table: bool,
}

impl Signs {
    pub(super) fn line(&mut self, line: &str) {
        self.table = self.table || Columns::of(line).is_some();
    }

    pub(super) fn are_likely(&self) -> bool {
        self.table
    }
}

/// Reads the tables of an output.
#[derive(Default)]
pub(super) struct Reader {
    cases: Vec<Case>,
    problems: Vec<String>,
    /// Those of the table that is read, and its columns.
    rows: Vec<Row>,
    columns: Option<Columns>,
    tables: usize,
    /// What Julia says behind the tables.
    end: Option<String>,
}

impl LineReader for Reader {
    fn line(&mut self, line: &str) {
        if let Some(found) = Columns::of(line) {
            self.end_table();
            self.columns = Some(found);
            self.tables += 1;
        } else if let Some(row) = self.columns.as_ref().and_then(|columns| columns.row(line)) {
            self.problems.extend(row.problem.clone());
            self.rows.push(row);
        } else {
            self.end_table();
            self.columns = None;
        }
        if self.end.is_none() {
            self.end = line.split_once(FAILED).map(|(_, said)| said.to_owned());
        }
    }

    fn held(&self) -> usize {
        self.cases.len() + self.rows.len() + self.problems.len()
    }

    fn end(mut self) -> Result<Report, ReportError> {
        self.end_table();
        if self.tables == 0 {
            return Err(ReportError::Not {
                what: "summary of Julia's tests",
            });
        }
        let failed = self.cases.iter().any(|case| case.status.is_failure());
        if let Some(said) = self.end.filter(|_| !failed) {
            self.problems.push(format!(
                "it ends with `{}`, and no test of it failed",
                said.trim_end_matches('.')
            ));
        }
        let mut report = Report::new(Dialect::Julia);
        report.cases = self.cases;
        report.problems = self.problems;
        report.number_namesakes();
        Ok(report)
    }
}

impl Reader {
    fn end_table(&mut self) {
        self.cases.extend(cases(&std::mem::take(&mut self.rows)));
    }
}

/// The columns of a table.
struct Columns {
    /// How far from the margin the bar stands, by characters.
    bar: usize,
    /// Name, and where the text of each ends behind the bar.
    titles: Vec<(String, usize)>,
}

#[derive(Debug, Clone, Default, PartialEq)]
struct Row {
    depth: usize,
    name: String,
    counts: Counts,
    seconds: Option<f64>,
    /// What of it cannot be read, or does not add up.
    problem: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counts {
    pass: u64,
    fail: u64,
    error: u64,
    broken: u64,
}

impl Columns {
    fn of(line: &str) -> Option<Self> {
        let titles = line.strip_prefix(TITLE)?.trim_start().strip_prefix('|')?;
        let bar = line.chars().count() - titles.chars().count() - 1;
        let titles = words(titles)
            .map(|(word, end)| (word.to_owned(), end))
            .collect::<Vec<_>>();
        (!titles.is_empty()).then_some(Self { bar, titles })
    }

    fn row(&self, line: &str) -> Option<Row> {
        let (name, values) = line.rsplit_once('|')?;
        // Wide characters of a name shift the bar, and lines behind the table may have one of their own.
        let figures = |word: &str| word.parse::<u64>().is_ok() || seconds(word).is_some();
        let mut all = words(values).map(|(word, _)| word);
        if name.chars().count() != self.bar && !all.all(figures) {
            return None;
        }
        let depth = name.len() - name.trim_start().len();
        let mut row = Row {
            depth,
            name: name.trim().to_owned(),
            ..Row::default()
        };
        let mut total = None;
        for (value, end) in words(values) {
            let number = value.parse::<u64>().ok();
            let title = self.titles.iter().find(|(_, at)| *at == end);
            let counter = match (title.map(|(title, _)| title.as_str()), number) {
                (Some("Pass"), _) => &mut row.counts.pass,
                (Some("Fail"), _) => &mut row.counts.fail,
                (Some("Error"), _) => &mut row.counts.error,
                (Some("Broken"), _) => &mut row.counts.broken,
                (Some("Total"), _) => total.insert(0),
                (Some("Time"), _) => {
                    row.seconds = seconds(value);
                    continue;
                }
                // `No tests` stands there in words.
                (None, None) | (_, Some(0)) => continue,
                _ => {
                    let problem = format!("`{value}` of its set `{}` is not known", row.name);
                    row.problem = Some(problem);
                    continue;
                }
            };
            if let Some(number) = number {
                *counter = number;
            } else {
                row.problem = Some(format!("`{value}` of its set `{}` is no number", row.name));
            }
        }
        let sum = row.counts.sum();
        if let Some(total) = total.filter(|&total| total != sum && row.problem.is_none()) {
            let name = &row.name;
            let problem =
                format!("its set `{name}` has {total} tests in all, and {sum} can be read");
            row.problem = Some(problem);
        }
        Some(row)
    }
}

/// Words with the column that each ends at.
fn words(text: &str) -> impl Iterator<Item = (&str, usize)> {
    text.split(' ')
        .scan(0, |end, word| {
            let here = *end + word.chars().count();
            *end = here + 1;
            Some((word, here))
        })
        .filter(|(word, _)| !word.is_empty())
}

fn cases(rows: &[Row]) -> Vec<Case> {
    let mut path = Vec::<(usize, &str)>::new();
    let mut cases = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        path.retain(|(depth, _)| *depth < row.depth);
        path.push((row.depth, &row.name));
        let below = rows[at + 1..]
            .iter()
            .take_while(|it| it.depth > row.depth)
            .collect::<Vec<_>>();
        let own = match below.iter().map(|it| it.depth).min() {
            None => Some(row.counts),
            Some(child) => {
                let children = below.iter().filter(|it| it.depth == child);
                let own = children.fold(row.counts, |own, child| own.without(child.counts));
                (own != Counts::default()).then_some(own)
            }
        };
        let name = path
            .iter()
            .map(|(_, name)| *name)
            .collect::<Vec<_>>()
            .join("/");
        let name = shortened(&name, NAME);
        cases.extend(own.map(|counts| {
            Case {
                seconds: row.seconds,
                ..Case::new(name, counts.status())
            }
            .because(&counts.to_string())
        }));
    }
    cases
}

impl Counts {
    fn without(self, other: Self) -> Self {
        Self {
            pass: self.pass.saturating_sub(other.pass),
            fail: self.fail.saturating_sub(other.fail),
            error: self.error.saturating_sub(other.error),
            broken: self.broken.saturating_sub(other.broken),
        }
    }

    fn sum(self) -> u64 {
        let counts = [self.pass, self.fail, self.error, self.broken];
        counts.into_iter().fold(0, u64::saturating_add)
    }

    fn status(self) -> CaseStatus {
        match self {
            Self { error: 1.., .. } => CaseStatus::Errored,
            Self { fail: 1.., .. } => CaseStatus::Failed,
            Self { pass: 1.., .. } => CaseStatus::Passed,
            Self { broken: 1.., .. } => CaseStatus::Xfailed,
            _ => CaseStatus::NotRun,
        }
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let said = [
            (self.pass, "passed"),
            (self.fail, "failed"),
            (self.error, "errored"),
            (self.broken, "broken"),
        ];
        let said = said
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, word)| format!("{count} {word}"))
            .collect::<Vec<_>>();
        f.write_str(if said.is_empty() { "no tests" } else { "" })?;
        f.write_str(&said.join(", "))
    }
}

/// Reads `0.1s` and `1m02.3s`.
fn seconds(text: &str) -> Option<f64> {
    let text = text.strip_suffix('s')?;
    let (minutes, seconds) = text.split_once('m').unwrap_or(("0", text));
    let seconds =
        minutes.parse::<u32>().ok().map(f64::from)? * 60.0 + seconds.parse::<f64>().ok()?;
    seconds.is_finite().then_some(seconds)
}

#[cfg(test)]
mod tests {
    use super::super::{Format, read_text};
    use super::*;

    fn read(text: &str) -> Result<Report, ReportError> {
        read_text(Format::Julia, text)
    }

    fn told(text: &str) -> String {
        let report = read(text).expect("it is Julia's");
        let cases = report.cases.iter().map(|case| {
            let message = case.message.as_deref().unwrap_or("-");
            format!("{:<8} {}  {message}\n", case.status.as_str(), case.name)
        });
        cases.collect()
    }

    #[test]
    fn sets_are_cases() {
        insta::assert_snapshot!(told(include_str!("../../../tests/data/reports/julia.txt")), @r#"
        passed   halo/exchange  1 passed, 1 broken
        errored  halo/sizes  1 passed, 1 failed, 1 errored
        passed   solver  1 passed, 1 broken
        passed   solver/converges  3 passed
        xfailed  later  1 broken
        "#);
    }

    #[test]
    fn tables_of_all_widths() {
        let check = |text: &str, expected: &str| assert_eq!(told(text), expected, "{text}");
        check(
            "Test Summary: | Pass  Total\na | b         |   12     12\ndone\n",
            "passed   a | b  12 passed\n",
        );
        check(
            "Test Summary: |\nTest Summary: | Total\nnone          |     0\n",
            "not_run  none  no tests\n",
        );
        check(
            "Test Summary: |     Pass     Total  Time\nbig           | 12345678  12345678  1m02.3s\n",
            "passed   big  12345678 passed\n",
        );
    }
}
