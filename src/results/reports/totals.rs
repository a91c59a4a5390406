//! What the suites of a `JUnit` report count, held against what was read of them.
//!
//! Some count the tests of the suites in them as their own and some do not; some count tests and some elements. So a suite is
//! right if any of these fits. What counts is whether it speaks of more that went wrong, or of fewer that went well, than was read.

use std::collections::BTreeMap;

use super::words::{self, Amount, Attribute, Word};
use super::xml::{Document, Suite, WORD};
use super::{Case, CaseStatus, Dialect, junit, one_line, shortened};

/// The most contradictions that are told.
const MOST: usize = 100;

/// Returns what the totals of a report say that its tests do not; `cases` are those of its elements, then those of its loose marks.
pub(super) fn contradictions(dialect: Dialect, document: &Document, cases: &[Case]) -> Vec<String> {
    let read = read(document, cases);
    let mut problems = Vec::<(usize, String)>::new();
    // What is inside says it better than what is around it.
    for (at, suite) in document.suites.iter().enumerate().rev() {
        if problems.len() >= MOST {
            break;
        }
        let said = Said::of(suite);
        let found = said.against(dialect, &read[at]);
        let known = |found: &String| {
            let mut below = problems.iter().filter(|(_, known)| known == found);
            below.any(|(below, _)| document.around(Some(*below)).any(|around| around == at))
        };
        let new = found.into_iter().filter(|found| !known(found));
        let new = new.map(|found| (at, found)).collect::<Vec<_>>();
        problems.extend(new);
    }
    problems
        .into_iter()
        .rev()
        .map(
            |(at, found)| match (document.name(Some(at)), &document.suites[at]) {
                ("", Suite { is_root: true, .. }) => format!("its root {found}"),
                ("", _) => format!("a suite of it {found}"),
                (name, _) => format!("its suite `{}` {found}", shortened(&one_line(name), WORD)),
            },
        )
        .collect()
}

/// What was read of a suite and of those in it.
#[derive(Debug, Clone, Copy, Default)]
struct Read {
    tests: u64,
    good: u64,
    bad: u64,
    bad_marks: u64,
    skipped: u64,
    skipped_marks: u64,
}

fn read(document: &Document, cases: &[Case]) -> Vec<Read> {
    let mut all = vec![Read::default(); document.suites.len()];
    for (element, case) in document.cases.iter().zip(cases) {
        let marks = |wanted: &dyn Fn(CaseStatus) -> bool| {
            let marks = element.marks.iter().filter_map(|mark| mark.status);
            marks.filter(|status| wanted(*status)).count() as u64
        };
        let weight = junit::weight(element);
        // One that stands for several tests tells how many of them.
        let told = |of: CaseStatus| {
            let attributes = element.attributes.iter();
            let of = attributes.filter(|(name, _)| words::attribute(name) == Attribute::Is(of));
            let amounts = of.filter_map(|(_, value)| match words::amount(value) {
                Amount::Number(count) => Some(count),
                _ => None,
            });
            amounts.max().unwrap_or(0)
        };
        let is_bad = case.status.is_failure() || case.status.is_unproved();
        let is_skipped = matches!(case.status, CaseStatus::Skipped | CaseStatus::Xfailed);
        let bad_marks = match case.status {
            CaseStatus::Xfailed => 0,
            _ => marks(&CaseStatus::is_failure),
        };
        let skipped_marks = marks(&|it| matches!(it, CaseStatus::Skipped | CaseStatus::NotRun));
        for at in document.around(element.suite) {
            let read = &mut all[at];
            read.tests += weight;
            read.good += u64::from(case.status.is_good());
            read.bad += u64::from(is_bad);
            read.bad_marks += bad_marks.max(told(CaseStatus::Failed) + told(CaseStatus::Errored));
            let left_out = case.status == CaseStatus::NotRun || is_bad && skipped_marks > 0;
            read.skipped += u64::from(is_skipped || left_out);
            read.skipped_marks += skipped_marks.max(told(CaseStatus::Skipped));
        }
    }
    for ((suite, _), case) in document.loose.iter().zip(&cases[document.cases.len()..]) {
        for at in document.around(*suite) {
            all[at].bad += u64::from(case.status.is_failure());
            all[at].skipped += u64::from(case.status == CaseStatus::Skipped);
        }
    }
    all
}

/// What a suite says of itself.
#[derive(Debug, Default)]
struct Said {
    tests: Option<u64>,
    /// Names of one kind are names of one number: `failures` and `failed`.
    amounts: BTreeMap<CaseStatus, u64>,
    /// What says that something is wrong, and is no number.
    verdict: Option<String>,
    /// What is no number and should be one.
    nonsense: Vec<String>,
}

impl Said {
    fn of(suite: &Suite) -> Self {
        let mut said = Self::default();
        for (name, value) in &suite.attributes {
            let shown = || format!("`{name}` is `{}`", shortened(&one_line(value), WORD));
            let amount = words::amount(value);
            match (words::attribute(name), amount) {
                (Attribute::Verdict, _) => {
                    let bad = |status: CaseStatus| status.is_failure() || status.is_unproved();
                    if matches!(words::word(value), Some(Word::Ended(status)) if bad(status)) {
                        said.verdict = Some(shown());
                    }
                }
                (Attribute::Tests, Amount::Number(count)) => {
                    said.tests = said.tests.max(Some(count));
                }
                (Attribute::Is(CaseStatus::Passed), Amount::Number(0))
                    if value.parse::<f64>().is_err() =>
                {
                    said.verdict = Some(shown());
                }
                // `success="true"` is no number.
                (Attribute::Is(CaseStatus::Passed), Amount::Number(1))
                    if value.parse::<f64>().is_err() => {}
                (Attribute::Is(status), Amount::Number(count)) => {
                    let known = said.amounts.entry(status).or_default();
                    *known = count.max(*known);
                }
                (Attribute::Tests | Attribute::Is(_), Amount::Other) => {
                    said.nonsense
                        .push(format!("says that {}, which is no number", shown()));
                }
                _ => {}
            }
        }
        // doctest counts assertions.
        said.tests = said
            .tests
            .filter(|_| !suite.attributes.contains_key("doctest_version"));
        said
    }

    /// Returns what it says that was not read.
    fn against(&self, dialect: Dialect, read: &Read) -> Vec<String> {
        let mut found = self.nonsense.clone();
        let mut differ = |said: u64, what: &str, read: u64| {
            found.push(format!("counts {said} {what}, and {read} can be read"));
        };
        let of = |status| self.amounts.get(&status).copied().unwrap_or(0);
        let listed = match self.tests {
            // Of pytest, each subtest that passed; of Catch2, each assertion.
            _ if matches!(dialect, Dialect::Pytest | Dialect::Catch2) => None,
            Some(said) if said > read.tests => {
                let skipped = of(CaseStatus::Skipped).saturating_sub(read.skipped);
                // Those that were skipped are not listed by some.
                if said - read.tests > skipped {
                    differ(said, "tests", read.tests);
                }
                None
            }
            said => said.filter(|&said| said == read.tests),
        };
        let bad = read.bad.max(read.bad_marks);
        let sum = of(CaseStatus::Failed).saturating_add(of(CaseStatus::Errored));
        let others = [
            CaseStatus::TimedOut,
            CaseStatus::Crashed,
            CaseStatus::NotRun,
        ];
        let most = others.into_iter().map(of).fold(sum, u64::max);
        if most > bad {
            differ(most, "failed or in error", bad);
        }
        let missing = self.tests.map_or(0, |said| said.saturating_sub(read.tests));
        let skipped = read.skipped.max(read.skipped_marks);
        if of(CaseStatus::Skipped) > skipped.saturating_add(missing) {
            differ(of(CaseStatus::Skipped), "skipped", skipped);
        }
        let passed = self.amounts.get(&CaseStatus::Passed);
        if let Some(&passed) = passed.filter(|&&passed| passed < read.good && listed.is_some()) {
            differ(passed, "passed", read.good);
        }
        let verdict = self.verdict.iter().filter(|_| bad == 0);
        found.extend(
            verdict.map(|verdict| format!("says that {verdict}, and no test of it failed")),
        );
        found
    }
}
