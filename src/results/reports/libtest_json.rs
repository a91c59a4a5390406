//! What Rust's test programs print as JSON, a line each; nextest can write the same.
//!
//! The format is not stable. Lines of others stand between: only those are read that say `"type"` and `"event"`.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Value;

use super::source::LineReader;
use super::{Case, CaseStatus, Dialect, Report, ReportError};

#[derive(Deserialize)]
struct Line {
    #[serde(rename = "type")]
    kind: String,
    event: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    test_count: Option<u64>,
    /// What a suite counts at its end.
    #[serde(default)]
    passed: Option<u64>,
    #[serde(default)]
    failed: Option<u64>,
    #[serde(default)]
    ignored: Option<u64>,
    #[serde(default)]
    measured: Option<u64>,
    /// A number, or `"0.001s"` in older versions.
    #[serde(default)]
    exec_time: Value,
    #[serde(default)]
    stdout: String,
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    reason: Option<String>,
}

/// Whether an output looks like it.
#[derive(Default)]
pub(super) struct Signs {
    suite: bool,
}

impl Signs {
    pub(super) fn line(&mut self, line: &str) {
        self.suite = self.suite || parse(line).is_some_and(|line| line.kind == "suite");
    }

    pub(super) fn are_likely(&self) -> bool {
        self.suite
    }
}

fn parse(line: &str) -> Option<Line> {
    let line = line.trim();
    line.starts_with('{')
        .then(|| serde_json::from_str(line).ok())
        .flatten()
}

/// Reads the output of one or several test programs.
#[derive(Default)]
pub(super) struct Reader {
    suites: usize,
    announced: Option<u64>,
    heard: u64,
    /// How the tests of the suite ended: passed, failed, ignored.
    ended: [u64; 3],
    /// Where the tests of the current suite stand in `cases`.
    current: HashMap<String, usize>,
    cases: Vec<Case>,
    problems: Vec<String>,
}

impl LineReader for Reader {
    fn line(&mut self, line: &str) {
        if let Some(line) = parse(line) {
            self.event(&line);
        }
    }

    fn held(&self) -> usize {
        self.cases.len() + self.problems.len()
    }

    fn end(mut self) -> Result<Report, ReportError> {
        self.end_suite(None);
        if self.suites == 0 {
            return Err(ReportError::Not {
                what: "JSON of a Rust test program",
            });
        }
        let mut report = Report::new(Dialect::LibtestJson);
        report.cases = self.cases;
        report.problems = self.problems;
        report.number_namesakes();
        Ok(report)
    }
}

impl Reader {
    fn event(&mut self, line: &Line) {
        match (line.kind.as_str(), line.event.as_str()) {
            ("suite", "started") => {
                self.end_suite(None);
                self.suites += 1;
                self.announced = Some(line.test_count.unwrap_or(0));
            }
            ("suite", "ok" | "failed") => self.end_suite(Some(line)),
            ("test", "started") => {
                self.case(&line.name);
            }
            ("test" | "bench", event) => {
                // `timeout` only says that it takes long.
                let status = match (event, line.reason.as_deref()) {
                    ("failed", Some("time limit exceeded")) => CaseStatus::TimedOut,
                    ("failed", _) => CaseStatus::Failed,
                    ("ignored", _) => CaseStatus::Skipped,
                    ("timeout", _) => return,
                    ("ok", _) => CaseStatus::Passed,
                    // A bench has no event of its end.
                    _ if line.kind == "bench" => CaseStatus::Passed,
                    _ => {
                        self.problems.push(format!(
                            "the event `{event}` of `{}` is not known",
                            line.name
                        ));
                        CaseStatus::Lost
                    }
                };
                match status {
                    CaseStatus::Passed => self.ended[0] += 1,
                    CaseStatus::Skipped => self.ended[2] += 1,
                    _ => self.ended[1] += 1,
                }
                let at = self.case(&line.name);
                let case = &mut self.cases[at];
                // nextest numbers attempts: `#2`.
                let again = attempt(&line.name).1 && status == CaseStatus::Passed;
                let status = if again { CaseStatus::Flaky } else { status };
                *case = Case {
                    seconds: seconds(&line.exec_time),
                    ..Case::new(case.name.clone(), status)
                }
                .because(line.message.as_deref().unwrap_or_default())
                .with_detail(&line.stdout);
            }
            _ => {}
        }
    }

    fn case(&mut self, name: &str) -> usize {
        let name = attempt(name).0;
        if let Some(&at) = self.current.get(name) {
            return at;
        }
        // nextest puts `$` between program and test.
        let shown = name.replacen('$', "::", 1);
        self.cases.push(
            Case::new(shown, CaseStatus::Lost).because("it began and was not heard of again"),
        );
        self.heard += 1;
        self.current.insert(name.to_owned(), self.cases.len() - 1);
        self.cases.len() - 1
    }

    /// Ends a suite, with its last line if there is one.
    fn end_suite(&mut self, end: Option<&Line>) {
        let Some(announced) = self.announced.take() else {
            return;
        };
        let heard = std::mem::take(&mut self.heard);
        let ended = std::mem::take(&mut self.ended);
        // nextest speaks of a program again for each attempt; its names are unique.
        let before = self.current.len();
        self.current.retain(|name, _| name.contains('$'));
        let is_nextest = before > 0 && self.current.len() == before;
        let missing = announced.saturating_sub(heard);
        let Some(end) = end else {
            self.problems.push(if missing > 0 {
                format!("nothing was heard of {missing} of {announced} tests")
            } else {
                "a test program ended before it could add up".to_owned()
            });
            return;
        };
        // It counts those that it ignored in every attempt, and announces all of them each time.
        let compared = if is_nextest { 2 } else { 3 };
        if missing > 0 && !is_nextest {
            self.problems.push(format!(
                "nothing was heard of {missing} of {announced} tests"
            ));
        }
        let passed = end
            .passed
            .map(|passed| passed.saturating_add(end.measured.unwrap_or(0)));
        let said = [passed, end.failed, end.ignored];
        let mut pairs = said.iter().zip(ended).take(compared);
        let shown = |counts: [u64; 3]| {
            let [passed, failed, ignored] = counts;
            format!("{passed} passed, {failed} failed, {ignored} ignored")
        };
        if pairs.any(|(said, read)| said.is_some_and(|said| said != read)) {
            let said = shown(said.map(Option::unwrap_or_default));
            let read = shown(ended);
            self.problems.push(format!(
                "a test program counted {said}, and {read} can be read"
            ));
        } else if (end.event == "ok") != (ended[1] == 0) {
            let read = shown(ended);
            self.problems.push(format!(
                "a test program calls itself {}, and {read} can be read",
                end.event
            ));
        }
    }
}

/// Returns the name of a test without the number of its attempt, and whether it has one.
fn attempt(name: &str) -> (&str, bool) {
    match name.rsplit_once('#') {
        Some((test, number)) if number.parse::<u32>().is_ok() => (test, true),
        _ => (name, false),
    }
}

fn seconds(value: &Value) -> Option<f64> {
    let seconds = match value {
        Value::String(text) => text.strip_suffix('s')?.parse().ok()?,
        value => value.as_f64()?,
    };
    (seconds >= 0.0 && seconds.is_finite()).then_some(seconds)
}

#[cfg(test)]
mod tests {
    use super::super::{Format, read_text};
    use super::*;

    fn read(text: &str) -> Result<Report, ReportError> {
        read_text(Format::LibtestJson, text)
    }

    fn told(text: &str) -> String {
        let report = read(text).expect("it is libtest's");
        let cases = report.cases.iter().map(|case| {
            let message = case.message.as_deref().unwrap_or("-");
            format!("{:<8} {}  {message}\n", case.status.as_str(), case.name)
        });
        let problems = report.problems.iter().map(|it| format!("! {it}\n"));
        cases.chain(problems).collect()
    }

    #[test]
    fn events_make_cases() {
        insta::assert_snapshot!(told(include_str!("../../../tests/data/reports/libtest.json")), @"
        passed   tests::adds  -
        failed   tests::fails  assertion `left == right` failed: two is not three
        passed   tests::flaky  -
        skipped  tests::ignored  needs a GPU
        passed   tests::panics  -
        passed   src/lib.rs - two (line 1)  -
        ");
        insta::assert_snapshot!(told(include_str!("../../../tests/data/reports/nextest.json")), @"
        failed   sample::sample::tests::fails  assertion `left == right` failed: two is not three
        passed   sample::sample::tests::adds  -
        skipped  sample::sample::tests::ignored  -
        flaky    sample::sample::tests::flaky  -
        passed   sample::sample::tests::panics  -
        ");
    }

    #[test]
    fn what_is_missing_is_said() {
        let text = "noise\n{\"type\":\"suite\",\"event\":\"started\",\"test_count\":3}\n\
            {\"type\":\"test\",\"event\":\"started\",\"name\":\"a\"}\n{\"type\":\"test\",\"event\":\"timeout\",\"name\":\"a\"}\n{broken";
        assert_eq!(
            told(text),
            "lost     a  it began and was not heard of again\n! nothing was heard of 2 of 3 tests\n"
        );
        assert_eq!(seconds(&Value::from("0.25s")), Some(0.25));
    }
}
