//! What is counted of a step: the tests of its report, and the step itself where they do not account for its end.

use super::clean::{one_line, shortened};
use super::record::{Outcome, Status, SuiteCounts};
use super::reports::{CaseStatus, MergedCase};
use super::{REASON, StepResult};

/// A test that is counted once.
#[derive(Debug, Clone)]
pub(super) struct Unit<'a> {
    /// The test inside the step; none for the step itself.
    pub(super) test: Option<&'a MergedCase>,
    /// How it ended.
    pub(super) status: CaseStatus,
}

impl Unit<'_> {
    /// Returns what its end means.
    pub(super) fn meaning(&self) -> Status {
        match self.status {
            CaseStatus::Passed | CaseStatus::Xpassed | CaseStatus::Flaky => Status::Passed,
            CaseStatus::Skipped | CaseStatus::Xfailed => Status::Skipped,
            CaseStatus::Failed | CaseStatus::TimedOut | CaseStatus::Crashed => Status::Failed,
            CaseStatus::Errored | CaseStatus::Lost => Status::Error,
            CaseStatus::NotRun => Status::NotRun,
        }
    }

    /// Returns whether it did not end well.
    pub(super) fn is_failing(&self) -> bool {
        self.status.is_failure() || self.status.is_unproved()
    }

    /// Returns its end in the words of steps.
    pub(super) fn outcome(&self, step: &StepResult) -> Outcome {
        match (self.test, self.status) {
            (None, _) => step.outcome,
            (_, CaseStatus::Failed | CaseStatus::Errored) => Outcome::Failed,
            (_, CaseStatus::TimedOut) => Outcome::Timeout,
            (_, CaseStatus::Crashed) => Outcome::Signal,
            (_, CaseStatus::Lost) => Outcome::Lost,
            (_, CaseStatus::NotRun) => Outcome::NotRun,
            (_, CaseStatus::Skipped | CaseStatus::Xfailed) => Outcome::Skipped,
            (_, CaseStatus::Passed | CaseStatus::Xpassed | CaseStatus::Flaky) => Outcome::Passed,
        }
    }

    /// Returns in one line why it ended so, and on which ranks.
    pub(super) fn reason(&self, step: &StepResult) -> String {
        let Some(test) = self.test else {
            return step.reason();
        };
        let message = test.case.message.as_deref();
        let message = message.unwrap_or(self.status.as_str());
        let told = match ranks(test) {
            ranks if ranks.is_empty() => message.to_owned(),
            ranks => format!("{ranks}: {message}"),
        };
        shortened(&one_line(&told), REASON)
    }
}

/// Returns which ranks say what, where they disagree; else nothing.
pub(super) fn ranks(test: &MergedCase) -> String {
    let told = test.by_rank.iter();
    let told = told.map(|(status, ranks)| format!("{status} on {ranks}"));
    told.collect::<Vec<_>>().join(", ")
}

/// Returns what is counted of a step.
pub(super) fn units(step: &StepResult) -> Vec<Unit<'_>> {
    let cases = step.report.iter().flat_map(|report| &report.cases);
    let mut units = cases
        .map(|test| Unit {
            test: Some(test),
            status: with_attempts(step, test),
        })
        .collect::<Vec<_>>();
    let accounted = units.iter().any(Unit::is_failing);
    let well = matches!(step.status(), Status::Passed | Status::Skipped);
    if units.is_empty() || !well && !accounted {
        units.push(Unit {
            test: None,
            status: of_step(step),
        });
    }
    units
}

/// Returns the counts of a step's tests.
pub(super) fn counts(step: &StepResult) -> SuiteCounts {
    let mut counts = SuiteCounts::default();
    for unit in units(step) {
        let counter = match unit.meaning() {
            Status::Passed => &mut counts.passed,
            Status::Failed => &mut counts.failed,
            Status::Error => &mut counts.errors,
            Status::NotRun => &mut counts.not_run,
            Status::Skipped => &mut counts.skipped,
        };
        *counter += 1;
        counts.flaky += u64::from(unit.status == CaseStatus::Flaky);
        counts.xfailed += u64::from(unit.status == CaseStatus::Xfailed);
        counts.xpassed += u64::from(unit.status == CaseStatus::Xpassed);
    }
    if step.is_flaky() && counts.flaky == 0 {
        // Its first attempt left no report that would say which test it was.
        counts.flaky = counts.passed.min(1);
    }
    counts
}

/// A test that failed at an earlier attempt of its step and passes now is flaky.
fn with_attempts(step: &StepResult, test: &MergedCase) -> CaseStatus {
    let failed_before = |it: &super::EarlierAttempt| it.failed_tests.contains(&test.case.name);
    match test.case.status {
        CaseStatus::Passed if step.earlier.iter().any(failed_before) => CaseStatus::Flaky,
        status => status,
    }
}

fn of_step(step: &StepResult) -> CaseStatus {
    match (step.status(), step.outcome) {
        (Status::Passed, _) if step.is_flaky() => CaseStatus::Flaky,
        (Status::Passed, _) => CaseStatus::Passed,
        (_, Outcome::Signal) => CaseStatus::Crashed,
        (_, Outcome::Timeout) => CaseStatus::TimedOut,
        (Status::Failed, _) => CaseStatus::Failed,
        (Status::Error, _) => CaseStatus::Lost,
        (Status::NotRun, _) => CaseStatus::NotRun,
        (Status::Skipped, _) => CaseStatus::Skipped,
    }
}
