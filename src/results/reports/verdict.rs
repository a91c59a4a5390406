//! What its report means for a step: the exit code and the report are two witnesses, and the worse one is believed.
//!
//! That holds for a report that was asked for. What was merely recognised in an output may be that of a harness, of a nested run
//! or of an attempt that was repeated: it is a guess, and counts only if nothing speaks against it.

use super::CaseStatus;
use super::merge::Merged;
use crate::scheduler::Outcome;

/// Tests, or problems, that a message names.
const NAMED: usize = 3;

/// Returns the outcome of a step that ended so and left this report, and why, where the report changes anything.
#[must_use]
pub fn verdict(ended: Outcome, report: &Merged) -> Option<(Outcome, String)> {
    let total = report.cases.len();
    let (failures, failed) = named(report, CaseStatus::is_failure);
    let (unproved, lost) = named(report, CaseStatus::is_unproved);
    match ended {
        Outcome::Failed if failures > 0 => Some((
            ended,
            format!("{failures} of {total} tests failed: {failed}"),
        )),
        Outcome::Failed if unproved == 0 && total > 0 && report.problems.is_empty() => Some((
            ended,
            format!("its program failed, though no test of its report did ({total} tests)"),
        )),
        Outcome::Passed if failures > 0 => Some((
            Outcome::Failed,
            format!(
                "{failures} of {total} tests failed, though its program ended with 0: {failed}"
            ),
        )),
        Outcome::Passed if !report.problems.is_empty() => {
            let shown = &report.problems[..report.problems.len().min(NAMED)];
            let more = match report.problems.len() - shown.len() {
                0 => String::new(),
                more => format!("; and {more} more"),
            };
            Some((Outcome::Lost, shown.join("; ") + &more))
        }
        Outcome::Passed if unproved > 0 => Some((
            Outcome::NotRun,
            format!("{unproved} of {total} tests did not run: {lost}"),
        )),
        Outcome::Passed if total == 0 => {
            Some((Outcome::NotRun, "its report lists no test".to_owned()))
        }
        Outcome::Passed if report.ran_nothing() => {
            let why = match &report.cases[..] {
                [only] => {
                    let why = only.case.message.iter().map(|why| format!(": {why}"));
                    format!("its only test was skipped{}", why.collect::<String>())
                }
                all => format!("all {} tests of its report were skipped", all.len()),
            };
            Some((Outcome::Skipped, why))
        }
        _ => None,
    }
}

/// Returns why a report that nobody asked for is not believed, of a step that ended so: it contradicts itself, or the end.
#[must_use]
pub fn contradiction(ended: Outcome, report: &Merged) -> Option<String> {
    let total = report.cases.len();
    let (failures, failed) = named(report, CaseStatus::is_failure);
    let (unproved, lost) = named(report, CaseStatus::is_unproved);
    let ran = report.cases.iter().any(|it| it.case.status.is_good());
    let problem = report.problems.first();
    // A program in which nothing ran has no reason to lie about it.
    let unproved = (unproved > 0 && (ran || failures > 0))
        .then(|| format!("{unproved} of {total} tests have no end: {lost}"));
    let of_end = || match ended {
        Outcome::Passed => (failures > 0).then(|| {
            format!("{failures} of {total} tests failed, and the program ended with 0: {failed}")
        }),
        _ => (failures == 0).then(|| format!("none of {total} tests failed, and the program did")),
    };
    problem.cloned().or(unproved).or_else(of_end)
}

/// Returns how many tests ended in such a way, and the first of their names.
fn named(report: &Merged, wanted: fn(CaseStatus) -> bool) -> (usize, String) {
    let cases = report.cases.iter().filter(|it| wanted(it.case.status));
    let names = cases.map(|it| it.case.name.as_str()).collect::<Vec<_>>();
    let more = match names.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let shown = names[..names.len().min(NAMED)].join(", ");
    (names.len(), shown + &more)
}

#[cfg(test)]
mod tests {
    use super::super::{Format, Limits, RankReport, merge, read_text};
    use super::*;

    #[test]
    fn a_guess_is_believed_if_nothing_speaks_against_it() {
        use Outcome::{Failed, Passed, Signal};
        let check = |ended, tap: &str, expected: Option<&str>| {
            let report = RankReport {
                rank: None,
                file: "t.tap".to_owned(),
                report: read_text(Format::Tap, tap),
            };
            let found = contradiction(ended, &merge(vec![report], None, Limits::default()));
            assert_eq!(found.as_deref(), expected, "{ended} {tap}");
        };
        check(Passed, "1..2\nok 1\nok 2 # SKIP\n", None);
        check(Passed, "1..1\nok 1 # SKIP\n", None);
        check(Passed, "1..0\n", None);
        check(Failed, "1..2\nok 1\nnot ok 2\n", None);
        check(Signal, "1..1\nnot ok 1\n", None);
        check(
            Passed,
            "1..2\nok 1\nnot ok 2 - b\n",
            Some("1 of 2 tests failed, and the program ended with 0: b"),
        );
        check(
            Passed,
            "1..2\nok 1\n",
            Some("`t.tap`: 2 tests were planned, and 1 were reported"),
        );
        check(
            Failed,
            "1..3\nnot ok 1\n",
            Some("`t.tap`: 3 tests were planned, and 1 were reported"),
        );
        for ended in [Failed, Signal] {
            let none = Some("none of 1 tests failed, and the program did");
            check(ended, "1..1\nok 1\n", none);
        }
    }

    #[test]
    fn the_worse_witness_is_believed() {
        use Outcome::{Failed, Lost, NotRun, Passed, Skipped, Timeout};
        let check = |ended, tap: &str, expected: Option<(Outcome, &str)>| {
            let report = RankReport {
                rank: None,
                file: "t.tap".to_owned(),
                report: read_text(Format::Tap, tap),
            };
            let found = verdict(ended, &merge(vec![report], None, Limits::default()));
            let expected = expected.map(|(outcome, why)| (outcome, why.to_owned()));
            assert_eq!(found, expected, "{ended} {tap}");
        };
        check(Passed, "1..1\nok 1\n", None);
        check(Timeout, "1..1\nnot ok 1\n", None);
        check(
            Passed,
            "1..2\nok 1\nnot ok 2 - b\n",
            Some((
                Failed,
                "1 of 2 tests failed, though its program ended with 0: b",
            )),
        );
        check(
            Failed,
            "1..5\nnot ok 1\nnot ok 2\nnot ok 3\nnot ok 4\nok 5\n",
            Some((
                Failed,
                "4 of 5 tests failed: test 1, test 2, test 3 and 1 more",
            )),
        );
        check(
            Failed,
            "1..1\nok 1\n",
            Some((
                Failed,
                "its program failed, though no test of its report did (1 tests)",
            )),
        );
        check(
            Passed,
            "1..2\nok 1\n",
            Some((Lost, "`t.tap`: 2 tests were planned, and 1 were reported")),
        );
        check(Passed, "hello", Some((Lost, "`t.tap`: it is no TAP")));
        check(Passed, "1..0\n", Some((NotRun, "its report lists no test")));
        check(
            Passed,
            "1..0 # SKIP no MPI\n",
            Some((Skipped, "its only test was skipped: no MPI")),
        );
        check(
            Passed,
            "1..2\nok 1 # SKIP\nok 2 # SKIP\n",
            Some((Skipped, "all 2 tests of its report were skipped")),
        );
        check(
            Passed,
            "1..1\nok 1 # SKIP no GPU\n",
            Some((Skipped, "its only test was skipped: no GPU")),
        );
    }
}
