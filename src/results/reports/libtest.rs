//! What Rust's test programs print: `test a::b ... ok`, and a line that adds up.

use std::collections::{BTreeSet, HashMap};

use super::source::LineReader;
use super::{Case, CaseStatus, Dialect, Report, ReportError};

/// The most tests that are made of a mere count.
const MOST_TESTS: usize = 100_000;

/// Whether an output looks like it.
#[derive(Default)]
pub(super) struct Signs {
    summed: bool,
    running: bool,
    started: bool,
}

impl Signs {
    pub(super) fn line(&mut self, line: &str) {
        self.summed |= line.starts_with("test result: ");
        self.running = self.running || running(line).is_some();
        self.started = self.started || started(line).is_some();
    }

    pub(super) fn are_likely(&self) -> bool {
        self.summed || self.running && self.started
    }
}

/// Reads the output of one or several test programs.
#[derive(Default)]
pub(super) struct Reader {
    target: String,
    programs: usize,
    /// Tests of the current program, and how many it announced.
    current: Vec<(String, Option<CaseStatus>, Option<String>)>,
    announced: Option<u64>,
    /// The test whose output is shown, or the list of the failed.
    section: Section,
    failed: BTreeSet<String>,
    details: Vec<(String, String)>,
    cases: Vec<Case>,
    problems: Vec<String>,
}

#[derive(Default, PartialEq)]
enum Section {
    #[default]
    Results,
    Output(usize),
    Failures,
}

impl LineReader for Reader {
    fn line(&mut self, line: &str) {
        if let Some(target) = target(line) {
            self.target = target;
        } else if let Some(count) = running(line) {
            self.end_program(None);
            self.programs += 1;
            self.announced = Some(count);
        } else if let Some(totals) = Totals::of(line) {
            self.end_program(Some(&totals));
        } else if self.announced.is_none() {
            // Nothing of a test program outside of its lines.
        } else if line == "failures:" {
            self.section = Section::Failures;
        } else if let Some(name) = output_of(line) {
            self.details.push((name.to_owned(), String::new()));
            self.section = Section::Output(self.details.len() - 1);
        } else if let Some((name, rest)) = started(line) {
            let (status, message) = ended(rest);
            self.current.push((name, status, message));
        } else {
            self.other(line);
        }
    }

    fn held(&self) -> usize {
        self.cases.len()
            + self.problems.len()
            + self
                .current
                .len()
                .max(self.details.len())
                .max(self.failed.len())
    }

    fn end(mut self) -> Result<Report, ReportError> {
        self.end_program(None);
        if self.programs == 0 {
            return Err(ReportError::Not {
                what: "output of a Rust test program",
            });
        }
        let mut report = Report::new(Dialect::Libtest);
        report.cases = self.cases;
        report.problems = self.problems;
        report.number_namesakes();
        Ok(report)
    }
}

impl Reader {
    fn other(&mut self, line: &str) {
        match self.section {
            Section::Failures if line.starts_with("    ") => {
                self.failed.insert(line.trim().to_owned());
            }
            Section::Output(at) => {
                let text = &mut self.details[at].1;
                super::add_line(text, line);
            }
            // With --nocapture, the word comes behind the test's own output.
            Section::Results | Section::Failures => {
                if let Some(last) = self.current.last_mut().filter(|last| last.1.is_none()) {
                    (last.1, last.2) = ended(line);
                }
            }
        }
    }

    fn end_program(&mut self, totals: Option<&Totals>) {
        let Some(announced) = self.announced.take() else {
            if let Some(totals) = totals {
                let message =
                    format!("there are the totals of a test program without its tests: {totals}");
                self.problems.push(message);
            }
            return;
        };
        if let Some(totals) = totals.filter(|_| self.current.is_empty()) {
            self.current = quiet(totals, &self.failed);
        }
        let heard = self.current.len() as u64;
        let target = std::mem::take(&mut self.target);
        let named = |name: &str| {
            if target.is_empty() {
                name.to_owned()
            } else {
                format!("{target}::{name}")
            }
        };
        let mut counted = Totals::default();
        // Of namesakes, the first speaks.
        let details = std::mem::take(&mut self.details).into_iter().rev();
        let details = details.collect::<HashMap<_, _>>();
        for (name, status, message) in std::mem::take(&mut self.current) {
            let status = status.unwrap_or(match (totals, self.failed.contains(&name)) {
                (None, _) => CaseStatus::Lost,
                (_, true) => CaseStatus::Failed,
                (_, false) => CaseStatus::Passed,
            });
            counted.add(status);
            let detail = details.get(&name).map_or("", String::as_str);
            self.cases.push(
                Case::new(named(&name), status)
                    .because(message.as_deref().unwrap_or_default())
                    .with_detail(detail),
            );
        }
        match totals {
            None => {
                let missing = announced.saturating_sub(heard);
                if missing > 0 {
                    let name = named("(tests that were to run)");
                    let message = format!("nothing was heard of {missing} of {announced} tests");
                    self.cases
                        .push(Case::new(name, CaseStatus::Lost).because(&message));
                }
                self.problems
                    .push("a test program ended before it could add up".to_owned());
            }
            Some(totals) if totals.counts() != counted.counts() => self.problems.push(format!(
                "a test program counted {totals}, and {counted} can be read"
            )),
            Some(totals) if totals.sum() != announced => self.problems.push(format!(
                "a test program was to run {announced} tests, and counted {}",
                totals.sum()
            )),
            Some(totals) if totals.is_ok != (totals.failed == 0) => {
                let word = if totals.is_ok { "ok" } else { "FAILED" };
                self.problems.push(format!(
                    "a test program calls itself {word}, and counted {totals}"
                ));
            }
            Some(_) => {}
        }
        self.failed.clear();
        self.section = Section::Results;
    }
}

/// With `--quiet` each test is a dot, and only those that failed have names: the others are numbered.
fn quiet(
    totals: &Totals,
    failed: &BTreeSet<String>,
) -> Vec<(String, Option<CaseStatus>, Option<String>)> {
    let failed = failed
        .iter()
        .map(|name| (name.clone(), Some(CaseStatus::Failed), None));
    let passed = std::iter::repeat_n(CaseStatus::Passed, bounded(totals.passed));
    let ignored = std::iter::repeat_n(CaseStatus::Skipped, bounded(totals.ignored));
    let others = passed.chain(ignored).zip(1..);
    let others = others.map(|(status, number)| (format!("test {number}"), Some(status), None));
    failed.chain(others).collect()
}

/// A count that no program reaches is nonsense.
fn bounded(count: u64) -> usize {
    usize::try_from(count).map_or(0, |count| if count > MOST_TESTS { 0 } else { count })
}

/// How many tests ended how. Benchmarks are `measured`, and pass.
#[derive(Debug, Default)]
struct Totals {
    /// What it calls itself.
    is_ok: bool,
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Totals {
    /// Reads `test result: ok. 3 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.08s`.
    fn of(line: &str) -> Option<Self> {
        let rest = line.strip_prefix("test result: ")?;
        let (word, counts) = rest.split_once(". ")?;
        let count = |word: &str| {
            let part = counts.split("; ").find(|part| part.ends_with(word))?;
            part.split(' ').next()?.parse::<u64>().ok()
        };
        Some(Self {
            is_ok: word == "ok",
            passed: count(" passed")?.saturating_add(count(" measured")?),
            failed: count(" failed")?,
            ignored: count(" ignored")?,
        })
    }

    fn counts(&self) -> [u64; 3] {
        [self.passed, self.failed, self.ignored]
    }

    fn sum(&self) -> u64 {
        self.counts().into_iter().fold(0, u64::saturating_add)
    }

    fn add(&mut self, status: CaseStatus) {
        match status {
            CaseStatus::Failed | CaseStatus::TimedOut => self.failed += 1,
            CaseStatus::Skipped => self.ignored += 1,
            _ => self.passed += 1,
        }
    }
}

impl std::fmt::Display for Totals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            passed,
            failed,
            ignored,
            ..
        } = self;
        write!(f, "{passed} passed, {failed} failed, {ignored} ignored")
    }
}

/// Reads `running 5 tests`.
fn running(line: &str) -> Option<u64> {
    let (count, word) = line.strip_prefix("running ")?.split_once(' ')?;
    matches!(word, "test" | "tests")
        .then(|| count.parse().ok())
        .flatten()
}

/// Returns the test and the rest of `test NAME ... REST`.
fn started(line: &str) -> Option<(String, &str)> {
    let (name, rest) = line.strip_prefix("test ")?.split_once(" ... ")?;
    let name = name.strip_suffix(" - should panic").unwrap_or(name);
    Some((name.to_owned(), rest))
}

fn ended(rest: &str) -> (Option<CaseStatus>, Option<String>) {
    let rest = rest.trim();
    // With --report-time, a time in angle brackets stands behind it.
    let word = rest.split_once(" <").map_or(rest, |(word, _)| word);
    match word {
        "ok" => (Some(CaseStatus::Passed), None),
        "FAILED" => (Some(CaseStatus::Failed), None),
        "FAILED (time limit exceeded)" => (Some(CaseStatus::TimedOut), None),
        "ignored" => (Some(CaseStatus::Skipped), None),
        _ if word.starts_with("ignored, ") => {
            (Some(CaseStatus::Skipped), Some(word[9..].to_owned()))
        }
        _ if word.starts_with("bench:") => (Some(CaseStatus::Passed), None),
        _ => (None, None),
    }
}

/// Returns the test of `---- NAME stdout ----`.
fn output_of(line: &str) -> Option<&str> {
    line.strip_prefix("---- ")?.strip_suffix(" stdout ----")
}

/// Returns the test program that cargo says it runs: `Running tests/io.rs (target/debug/deps/io-0f3e)`, `Doc-tests sample`.
fn target(line: &str) -> Option<String> {
    let line = line.trim_start();
    if let Some(name) = line.strip_prefix("Doc-tests ") {
        return Some(format!("doc {name}"));
    }
    let rest = line.strip_prefix("Running ")?;
    let path = rest.strip_suffix(')')?.rsplit_once(" (")?.1;
    let program = path.rsplit('/').next()?;
    let (name, hash) = program.rsplit_once('-')?;
    (!hash.is_empty() && hash.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::{Format, read_text};
    use super::*;

    fn read(text: &str) -> Result<Report, ReportError> {
        read_text(Format::Libtest, text)
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
    fn cargo_test_with_failures_and_doc_tests() {
        let text = include_str!("../../../tests/data/reports/libtest.txt");
        insta::assert_snapshot!(told(text), @"
        passed   sample::tests::adds  -
        failed   sample::tests::fails  assertion `left == right` failed: two is not three
        skipped  sample::tests::ignored  needs a GPU
        passed   sample::tests::flaky  -
        passed   sample::tests::panics  -
        passed   doc sample::src/lib.rs - two (line 1)  -
        ");
    }

    #[test]
    fn quiet_programs_are_counted() {
        let text = include_str!("../../../tests/data/reports/libtest-quiet.txt");
        insta::assert_snapshot!(told(text), @"
        failed   tests::fails  assertion `left == right` failed: two is not three
        passed   test 1  -
        passed   test 2  -
        passed   test 3  -
        skipped  test 4  -
        passed   test 1 #2  -
        ");
        let cut = "running 2 tests\n..";
        assert!(told(cut).contains("nothing was heard of 2 of 2 tests"));
        let nonsense = "running 1 test\ntest result: ok. 18446744073709551615 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n";
        assert!(told(nonsense).contains("! a test program counted"));
    }

    #[test]
    fn a_program_that_dies_leaves_lost_tests() {
        let text = include_str!("../../../tests/data/reports/libtest-abort.txt");
        insta::assert_snapshot!(told(text), @r#"
        lost     sample::(tests that were to run)  nothing was heard of 6 of 6 tests
        ! a test program ended before it could add up
        "#);
    }

    #[test]
    fn results_behind_output_and_contradictions() {
        let check = |text: &str, expected: &str| assert_eq!(told(text), expected, "{text}");
        check(
            "running 2 tests\ntest a ... hello\nok\ntest b ... one\ntwo\nfailures:\n    b\n\ntest result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out\n",
            "passed   a  -\nfailed   b  -\n",
        );
        check(
            "running 1 test\ntest a ... ok\ntest result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n",
            "passed   a  -\n! a test program counted 2 passed, 0 failed, 0 ignored, and 1 passed, 0 failed, 0 ignored can be read\n",
        );
        check(
            "running 0 tests\n\ntest result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 3 filtered out\n",
            "",
        );
        check(
            "running 1 test\ntest slow ... FAILED (time limit exceeded) <0.2s>\n",
            "timed_out slow  -\n! a test program ended before it could add up\n",
        );
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read(text in "(running 3 tests\n|test a ... |ok\n|test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured\n|failures:\n|---- a stdout ----\n|.|\n){0,30}") {
            let _read = read(&text).is_ok();
        }
    }
}
