//! From the reports of all ranks to one: each test counts once, and the worst rank decides.

use std::collections::{BTreeMap, HashMap};

use super::{Case, CaseStatus, Dialect, Report, ReportError};
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

/// Adds reports up. `ranks` is how many ranks owe one each; none if there is one for all of them.
#[must_use]
pub fn merge(reports: Vec<RankReport>, ranks: Option<u32>) -> Merged {
    let mut merged = Merged::default();
    let mut heard = Vec::<u64>::new();
    let mut order = Vec::<String>::new();
    let mut told = HashMap::<String, Vec<(u32, Case)>>::new();
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
        for case in report.cases {
            // Several files without ranks are several test programs.
            let key = if several {
                format!("{file}: {}", case.name)
            } else {
                case.name.clone()
            };
            let slot = told.entry(key.clone()).or_insert_with(|| {
                order.push(key);
                Vec::new()
            });
            slot.push((rank.unwrap_or(0), case));
        }
    }
    let present = heard.len();
    merged.cases = order
        .into_iter()
        .filter_map(|name| {
            let all = told.remove(&name)?;
            Some(worst(name, all, ranks.map(|_| present)))
        })
        .collect();
    if let Some(ranks) = ranks {
        let lost = (0..u64::from(ranks))
            .filter(|rank| !heard.contains(rank))
            .collect::<Vec<_>>();
        merged.lose(&lost);
    }
    merged
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

fn worst(name: String, all: Vec<(u32, Case)>, present: Option<usize>) -> MergedCase {
    let mut by_status = BTreeMap::<CaseStatus, Vec<u64>>::new();
    for (rank, case) in &all {
        by_status
            .entry(case.status)
            .or_default()
            .push(u64::from(*rank));
    }
    let everywhere = present.is_none_or(|present| all.len() == present);
    let by_rank = if by_status.len() > 1 || !everywhere {
        let groups = by_status.into_iter().rev();
        groups
            .map(|(status, mut ranks)| {
                ranks.sort_unstable();
                (status, ranges(&ranks))
            })
            .collect()
    } else {
        Vec::new()
    };
    let slowest = all
        .iter()
        .filter_map(|(_, case)| case.seconds)
        .max_by(f64::total_cmp);
    // Of equals the first rank speaks.
    let worst = all
        .into_iter()
        .map(|(_, case)| case)
        .reduce(|worst, case| {
            if case.status > worst.status {
                case
            } else {
                worst
            }
        })
        .unwrap_or_else(|| Case::new("", CaseStatus::Lost));
    MergedCase {
        case: Case {
            name,
            seconds: slowest,
            ..worst
        },
        by_rank,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Format, read};
    use super::*;

    fn of(rank: Option<u32>, text: &str) -> RankReport {
        RankReport {
            rank,
            file: rank.map_or("report".to_owned(), |rank| format!("r{rank}.tap")),
            report: read(Format::Tap, text),
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
        let merged = merge(vec![report("x.tap"), report("y.tap")], None);
        assert_eq!(told(&merged), "passed x.tap: a\npassed y.tap: a\n");
        assert!(merge(Vec::new(), None).ran_nothing());
    }
}
