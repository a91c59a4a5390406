//! From the reports of all ranks to one: each test counts once, and the worst rank decides.

use std::collections::{BTreeSet, HashMap};

use super::{Case, CaseStatus, Dialect, Limits, Report, ReportError};
use crate::results::record::ranges;

/// The report of one rank, or of all of them together.
#[derive(Debug)]
pub struct RankReport {
    /// The rank; none if the report is not one of several ranks.
    pub rank: Option<u32>,
    /// The file, for people.
    pub file: String,
    /// What stands in it.
    pub report: Result<Report, ReportError>,
}

/// What all reports of a step say together.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Merged {
    /// Who wrote them.
    pub dialect: Option<Dialect>,
    /// Every test once.
    pub cases: Vec<MergedCase>,
    /// What is missing or cannot be read, a line each.
    pub problems: Vec<String>,
    /// What of it is not known and does no harm, a line each.
    pub notes: Vec<String>,
}

/// A test with what its ranks say.
#[derive(Debug, Clone, PartialEq)]
pub struct MergedCase {
    /// The worst of them.
    pub case: Case,
    /// Which ranks say what, where they disagree; a rank that does not list the test is in none.
    pub by_rank: Vec<(CaseStatus, String)>,
}

impl Merged {
    /// Returns the tests that ranks disagree on.
    pub fn disagreements(&self) -> impl Iterator<Item = &MergedCase> {
        self.cases.iter().filter(|case| !case.by_rank.is_empty())
    }

    /// Returns whether every test was skipped, or there was none.
    #[must_use]
    pub fn ran_nothing(&self) -> bool {
        self.cases
            .iter()
            .all(|it| it.case.status == CaseStatus::Skipped)
    }
}

/// Adds reports up, one after the other, so that no more than one is held beside the sum. `ranks` is how many ranks owe one each; none
/// if there is one for all of them.
#[must_use]
pub fn merge(
    reports: impl IntoIterator<IntoIter: ExactSizeIterator<Item = RankReport>>,
    ranks: Option<u32>,
    limits: Limits,
) -> Merged {
    let mut merged = Merged::default();
    let mut heard = BTreeSet::<u64>::new();
    let mut places = HashMap::<String, usize>::new();
    let mut tests = Vec::<Told>::new();
    let reports = reports.into_iter();
    let several = reports.len() > 1 && ranks.is_none();
    for RankReport { rank, file, report } in reports {
        let report = match report {
            Ok(report) => report,
            Err(error) => {
                merged.problems.push(format!("`{file}`: {error}"));
                continue;
            }
        };
        merged.dialect = merged.dialect.or(Some(report.dialect));
        let problems = report.problems.iter();
        merged
            .problems
            .extend(problems.map(|problem| format!("`{file}`: {problem}")));
        let notes = report.notes.iter();
        merged
            .notes
            .extend(notes.map(|note| format!("`{file}`: {note}")));
        heard.extend(rank.map(u64::from));
        for mut case in report.cases {
            // Several files without ranks are several test programs.
            if several {
                case.name = format!("{file}: {}", case.name);
            }
            let rank = u64::from(rank.unwrap_or(0));
            if let Some(&place) = places.get(&case.name) {
                tests[place].add(rank, case);
            } else {
                places.insert(case.name.clone(), tests.len());
                tests.push(Told::new(rank, case));
            }
        }
        if tests.len() > limits.tests {
            merged.problems.push(limits.beyond());
            break;
        }
    }
    drop(places);
    let present = ranks.map(|_| heard.len());
    let all = tests.into_iter().map(|test| test.sum(present));
    merged.cases = all.collect();
    if let Some(ranks) = ranks {
        let lost = (0..u64::from(ranks))
            .filter(|rank| !heard.contains(rank))
            .collect::<Vec<_>>();
        merged.lose(&lost);
    }
    merged
}

/// What several ranks say of a test.
struct Told {
    /// The worst of them; of equals the first.
    worst: Case,
    slowest: Option<f64>,
    by_status: Vec<(CaseStatus, Vec<u64>)>,
}

impl Told {
    fn new(rank: u64, case: Case) -> Self {
        Self {
            slowest: case.seconds,
            by_status: vec![(case.status, vec![rank])],
            worst: case,
        }
    }

    fn add(&mut self, rank: u64, case: Case) {
        match self
            .by_status
            .iter_mut()
            .find(|(status, _)| *status == case.status)
        {
            Some((_, ranks)) => ranks.push(rank),
            None => self.by_status.push((case.status, vec![rank])),
        }
        self.slowest = match (self.slowest, case.seconds) {
            (Some(a), Some(b)) => Some(if b.total_cmp(&a).is_ge() { b } else { a }),
            (a, b) => a.or(b),
        };
        if case.status > self.worst.status {
            self.worst = case;
        }
    }

    fn sum(mut self, present: Option<usize>) -> MergedCase {
        let count: usize = self.by_status.iter().map(|(_, ranks)| ranks.len()).sum();
        let everywhere = present.is_none_or(|present| count == present);
        let by_rank = if self.by_status.len() > 1 || !everywhere {
            self.by_status
                .sort_by_key(|(status, _)| std::cmp::Reverse(*status));
            let groups = self.by_status.into_iter();
            groups
                .map(|(status, mut ranks)| {
                    ranks.sort_unstable();
                    (status, ranges(&ranks))
                })
                .collect()
        } else {
            Vec::new()
        };
        MergedCase {
            case: Case {
                seconds: self.slowest,
                ..self.worst
            },
            by_rank,
        }
    }
}

impl Merged {
    /// A rank without a report may have failed in any of its tests.
    fn lose(&mut self, ranks: &[u64]) {
        let (word, verb) = match ranks {
            [] => return,
            [_] => ("rank", "left"),
            _ => ("ranks", "left"),
        };
        let which = ranges(ranks);
        let message = format!("{word} {which} {verb} no report that can be read");
        self.cases.push(MergedCase {
            case: Case::new(format!("({word} {which})"), CaseStatus::Lost).because(&message),
            by_rank: Vec::new(),
        });
        self.problems.push(message);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Format, read_text};
    use super::*;

    fn of(rank: Option<u32>, text: &str) -> RankReport {
        RankReport {
            rank,
            file: rank.map_or("report".to_owned(), |rank| format!("r{rank}.tap")),
            report: read_text(Format::Tap, text),
        }
    }

    fn told(merged: &Merged) -> String {
        let cases = merged.cases.iter().map(|it| {
            let ranks = it.by_rank.iter();
            let ranks = ranks
                .map(|(status, ranks)| format!(" {status} on {ranks}"))
                .collect::<Vec<_>>()
                .concat();
            format!("{} {}{ranks}\n", it.case.status, it.case.name)
        });
        let problems = merged.problems.iter().map(|it| format!("! {it}\n"));
        cases.chain(problems).collect()
    }

    #[test]
    fn the_worst_rank_wins_and_is_named() {
        let good = "1..2\nok 1 - a\nok 2 - b\n";
        let bad = "1..2\nok 1 - a\nnot ok 2 - b\n";
        let merged = merge(
            vec![
                of(Some(0), good),
                of(Some(1), bad),
                of(Some(2), good),
                of(Some(3), "nonsense"),
            ],
            Some(5),
            Limits::default(),
        );
        insta::assert_snapshot!(told(&merged), @r#"
        passed a
        failed b failed on 1 passed on 0,2
        lost (ranks 3-4)
        ! `r3.tap`: it is no TAP
        ! ranks 3-4 left no report that can be read
        "#);
        let one = merge(
            vec![of(Some(0), good), of(Some(1), "1..1\nok 1 - a\n")],
            Some(2),
            Limits::default(),
        );
        insta::assert_snapshot!(told(&one), @r#"
        passed a
        passed b passed on 0
        "#);
    }

    #[test]
    fn files_without_ranks_are_programs_of_their_own() {
        let text = "1..1\nok 1 - a\n";
        let report = |file: &str| RankReport {
            file: file.to_owned(),
            ..of(None, text)
        };
        let merged = merge(
            vec![report("x.tap"), report("y.tap")],
            None,
            Limits::default(),
        );
        assert_eq!(told(&merged), "passed x.tap: a\npassed y.tap: a\n");
        assert!(merge(Vec::new(), None, Limits::default()).ran_nothing());
    }
}
