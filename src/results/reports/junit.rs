//! `JUnit` XML: who wrote it, and what each writer means by its elements.
//!
//! There is no standard. The writers agree on `testsuite`, `testcase` and `failure`, and on little else: `CTest` tells of a
//! missing program as skipped, Catch2 of an expected failure as failed and skipped at once, pytest of a failed attempt as of
//! another test. The table of all that stands in `docs/reports.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::BufRead;

use super::source::{MOST_XML, from_tag, unreadable};
use super::words::{self, Amount, Attribute, Word};
use super::xml::{self, Document, Element, Mark, WORD};
use super::{Case, CaseStatus, Dialect, Limits, Report, ReportError, one_line, shortened, totals};

/// Reads a report.
pub(super) fn read(source: impl BufRead, limits: Limits) -> Result<Report, ReportError> {
    let (text, cut) =
        from_tag(source, b"<testsuite", limits).map_err(|error| unreadable(&error))?;
    let document = match xml::read(&text, limits.tests) {
        Err(ReportError::Not { .. }) if cut => {
            return Err(ReportError::TooLarge {
                limit: limits.bytes,
            });
        }
        document => document?,
    };
    drop(text);
    let dialect = dialect(&document);
    let mut report = Report::new(dialect);
    let mut unclear = Unclear::default();
    report.cases = document
        .cases
        .iter()
        .map(|element| case(dialect, &document, element, &mut unclear))
        .collect();
    let loose = document.loose.iter();
    let loose = loose.map(|(suite, mark)| loose_case(document.name(*suite), mark));
    report.cases.extend(loose);
    if document.cut {
        report
            .problems
            .push("its XML ends too early or is broken".to_owned());
    }
    report.problems.extend(cut.then(|| {
        Limits {
            bytes: limits.bytes.min(MOST_XML),
            ..limits
        }
        .cut()
    }));
    report
        .problems
        .extend(document.beyond.then(|| limits.beyond()));
    report.problems.extend(unclear.problems());
    report
        .problems
        .extend(totals::contradictions(dialect, &document, &report.cases));
    report.notes.extend(unclear.notes());
    let unknown = document.unknown.iter();
    report
        .notes
        .extend(unknown.map(|element| format!("{element} of its suites is not known")));
    if dialect == Dialect::Pytest {
        report.cases = joined_attempts(std::mem::take(&mut report.cases));
    }
    report.number_namesakes();
    Ok(report)
}

fn dialect(document: &Document) -> Dialect {
    let any_case = |wanted: &dyn Fn(&Element) -> bool| document.cases.iter().any(wanted);
    let any_suite = |name: &str, value: &str| {
        let mut suites = document.suites.iter();
        suites.any(|suite| suite.attributes.get(name).is_some_and(|it| it == value))
    };
    let is =
        |element: &Element, name: &str, among: &[&str]| among.contains(&element.attribute(name));
    let of_ctest = |element: &Element| {
        is(element, "status", &["run", "fail", "notrun", "disabled"])
            && element.attribute("name") == element.attribute("classname")
    };
    let of_googletest =
        |element: &Element| is(element, "result", &["completed", "skipped", "suppressed"]);
    if !document.has_root() && any_case(&of_ctest) {
        Dialect::Ctest
    } else if document.root("uuid").is_some() {
        Dialect::Nextest
    } else if any_suite("name", "pytest") || is_pytest_renamed(document) {
        Dialect::Pytest
    } else if any_case(&of_googletest) {
        Dialect::GoogleTest
    } else if any_suite("hostname", "tbd") {
        Dialect::Catch2
    } else if any_case(&|element| element.attributes.contains_key("id")) {
        Dialect::TestReports
    } else {
        Dialect::Junit
    }
}

/// `junit_suite_name` gives its suite another name. Its root has one of its own since 8.3; before, it has its attributes and the
/// microseconds of its time.
fn is_pytest_renamed(document: &Document) -> bool {
    const OF_SUITE: [&str; 8] = [
        "errors",
        "failures",
        "hostname",
        "name",
        "skipped",
        "tests",
        "time",
        "timestamp",
    ];
    let [root, suite] = &document.suites[..] else {
        return false;
    };
    let micros = |time: &str| {
        let fraction = time.split_once('.').map_or("", |(_, fraction)| fraction);
        fraction.len() >= 6 && fraction.bytes().take(6).all(|digit| digit.is_ascii_digit())
    };
    root.is_root
        && match root.attributes.get("name") {
            Some(name) => name == "pytest tests",
            None => {
                root.attributes.is_empty()
                    && suite.attributes.keys().eq(OF_SUITE.iter())
                    && suite
                        .attributes
                        .get("timestamp")
                        .is_some_and(|time| micros(time))
            }
        }
}

/// How a test ended, and why.
type Ended = (CaseStatus, String, String);

fn case(dialect: Dialect, document: &Document, element: &Element, unclear: &mut Unclear) -> Case {
    let name = name(dialect, document, element);
    let (status, message, detail) = match dialect {
        Dialect::Catch2 if may_fail(element) => {
            let mark = element.mark(CaseStatus::Failed);
            let mark = mark.or_else(|| element.mark(CaseStatus::Errored));
            let message = mark.map(|mark| mark.message.clone());
            (
                CaseStatus::Xfailed,
                message.unwrap_or_default(),
                String::new(),
            )
        }
        _ => by_marks(dialect, element),
    };
    let said = by_attributes(dialect, element);
    let worse = said.status.as_ref().is_some_and(|&(worse, _)| {
        worse.is_failure() && worse > status
            || worse.is_unproved() && !status.is_failure()
            || status == CaseStatus::Passed
    });
    let (status, message, detail) = match said.status {
        Some((status, why)) if worse => (status, why, element.output.clone()),
        _ => (status, message, detail),
    };
    let (mut status, mut message, detail) = match dialect {
        Dialect::Ctest => ctest(element, (status, message, detail)),
        _ => (status, message, detail),
    };
    let unknown = element.unknown.iter().cloned().chain(said.unknown);
    if status.is_good() {
        for mark in unknown {
            status = CaseStatus::Lost;
            message = format!("{mark} is not known");
            unclear.add(&mark, &name);
        }
        unclear.attributes.extend(said.noted);
    }
    let seconds = seconds(element.attribute("time"));
    Case {
        seconds,
        ..Case::new(name, status)
    }
    .because(&message)
    .with_detail(&detail)
}

/// What of tests could not be understood.
#[derive(Default)]
struct Unclear {
    /// Marks, with the first test that has it and how many have.
    marks: BTreeMap<String, (String, usize)>,
    attributes: BTreeSet<String>,
}

impl Unclear {
    fn add(&mut self, mark: &str, test: &str) {
        let (_, count) = self
            .marks
            .entry(mark.to_owned())
            .or_insert_with(|| (test.to_owned(), 0));
        *count += 1;
    }

    fn problems(&self) -> impl Iterator<Item = String> {
        self.marks.iter().map(|(mark, (test, count))| {
            let more = match count - 1 {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            format!("{mark} of its test `{test}`{more} is not known, and may mean that it failed")
        })
    }

    fn notes(&self) -> Option<String> {
        let names = self.attributes.iter().map(|name| format!("`{name}`"));
        let names = names.collect::<Vec<_>>().join(", ");
        (!names.is_empty()).then(|| format!("these attributes of its tests are not known: {names}"))
    }
}

/// Whether it failed and was tagged so; `SKIP` behind a failed check looks much the same.
fn may_fail(element: &Element) -> bool {
    let skipped = element.mark(CaseStatus::Skipped);
    let failed = element.mark(CaseStatus::Failed).is_some();
    (failed || element.mark(CaseStatus::Errored).is_some())
        && skipped.is_some_and(|mark| mark.message.starts_with("TEST_CASE tagged with "))
}

/// What most writers mean by the elements of a case: the worst of them counts.
fn by_marks(dialect: Dialect, element: &Element) -> Ended {
    let marks = element.marks.iter();
    let marks = marks.filter_map(|mark| Some((meaning(dialect, mark, mark.status?), mark)));
    let worst = |wanted: &dyn Fn(CaseStatus) -> bool| {
        let wanted = marks.clone().filter(|(status, _)| wanted(*status));
        // Of equals the first speaks.
        wanted.reduce(|worst, next| if next.0 > worst.0 { next } else { worst })
    };
    let bad = worst(&|status| status.is_failure() || status.is_unproved());
    let found = bad.or_else(|| worst(&|status| status != CaseStatus::Passed));
    let Some((status, mark)) = found else {
        return (CaseStatus::Passed, String::new(), String::new());
    };
    let from_output = mark.text.trim().is_empty() && status > CaseStatus::Xpassed;
    let detail = if from_output {
        &element.output
    } else {
        &mark.text
    };
    (status, mark.message.clone(), detail.clone())
}

/// What a dialect means by a mark.
fn meaning(dialect: Dialect, mark: &Mark, status: CaseStatus) -> CaseStatus {
    match (dialect, status) {
        // pytest-xdist: the process that ran it died.
        (Dialect::Pytest, CaseStatus::Errored)
            if mark.message.contains("crashed while running") =>
        {
            CaseStatus::Crashed
        }
        (Dialect::Nextest, CaseStatus::Failed) if mark.kind == "test timeout" => {
            CaseStatus::TimedOut
        }
        (Dialect::Nextest, CaseStatus::Failed) if mark.kind == "test abort" => CaseStatus::Crashed,
        (Dialect::Pytest, CaseStatus::Failed) if mark.message.starts_with("Failed: Timeout") => {
            CaseStatus::TimedOut
        }
        (_, CaseStatus::Skipped) if mark.kind == "pytest.xfail" => CaseStatus::Xfailed,
        (Dialect::TestReports, CaseStatus::Skipped) => CaseStatus::Xfailed,
        _ => status,
    }
}

/// What the attributes of a case say.
#[derive(Default)]
struct Said {
    /// The worst, and what says so.
    status: Option<(CaseStatus, String)>,
    /// What is no word that is known.
    unknown: Vec<String>,
    /// Attributes that are not known and do not look like a verdict.
    noted: Vec<String>,
}

impl Said {
    fn add(&mut self, status: CaseStatus, why: &str) {
        if self
            .status
            .as_ref()
            .is_none_or(|(known, _)| status > *known)
        {
            self.status = Some((status, why.to_owned()));
        }
    }
}

fn by_attributes(dialect: Dialect, element: &Element) -> Said {
    let mut said = Said::default();
    let is_skipped = element.mark(CaseStatus::Skipped).is_some();
    for (name, value) in &element.attributes {
        let shown = || format!("`{name}` `{}`", shortened(&one_line(value), WORD));
        match words::attribute(name) {
            Attribute::Verdict => match words::word(value) {
                // What CTest means by it, its message says.
                Some(Word::Ended(CaseStatus::NotRun)) if dialect == Dialect::Ctest => {}
                Some(Word::Ended(CaseStatus::NotRun | CaseStatus::Skipped))
                    if is_disabled(dialect, element) =>
                {
                    said.add(CaseStatus::Skipped, "disabled");
                }
                Some(Word::Ended(CaseStatus::Passed) | Word::Nothing) => {}
                Some(Word::Ended(status)) => said.add(status, ""),
                None => said.unknown.push(shown()),
            },
            Attribute::Is(CaseStatus::Passed) => match words::amount(value) {
                Amount::Number(0) if !is_skipped => said.add(CaseStatus::Failed, &shown()),
                Amount::Other => said.unknown.push(shown()),
                _ => {}
            },
            Attribute::Is(CaseStatus::Skipped) => match words::amount(value) {
                // Of a case that sums up several tests, some may be.
                Amount::Number(some) if some < weight(element) => {}
                Amount::Nothing => {}
                Amount::Number(_) => said.add(CaseStatus::Skipped, ""),
                Amount::Other => said.add(CaseStatus::Skipped, value),
            },
            Attribute::Is(status) => match words::amount(value) {
                Amount::Nothing | Amount::Number(0) => {}
                Amount::Number(_) => said.add(status, ""),
                Amount::Other => said.add(status, value),
            },
            Attribute::Executed => match words::amount(value) {
                Amount::Number(0) if !is_skipped => said.add(CaseStatus::NotRun, &shown()),
                Amount::Other => said.unknown.push(shown()),
                _ => {}
            },
            Attribute::Tests | Attribute::Other => {}
            Attribute::Unknown => match words::word(value) {
                Some(Word::Ended(status)) if status.is_failure() => said.unknown.push(shown()),
                _ => said.noted.push(name.clone()),
            },
        }
    }
    said
}

/// How many tests a case stands for: `ReTestItems` of Julia sums up.
pub(super) fn weight(element: &Element) -> u64 {
    match words::amount(element.attribute("tests")) {
        Amount::Number(tests) => tests.max(1),
        _ => 1,
    }
}

/// `GoogleTest` calls a test that is disabled `notrun`, and before 1.11 in no other words.
fn is_disabled(dialect: Dialect, element: &Element) -> bool {
    let marked = |name: &str| element.attribute(name).contains("DISABLED_");
    match dialect {
        Dialect::GoogleTest => {
            element.attribute("status") == "notrun" || element.attribute("result") == "suppressed"
        }
        _ => marked("name") || marked("classname"),
    }
}

/// The words of `CTest` that mean the death of a program.
const CTEST_CRASHES: &[&str] = &[
    "SEGFAULT",
    "ILLEGAL",
    "INTERRUPT",
    "NUMERICAL",
    "OTHER_FAULT",
    "Exception",
    "Subprocess aborted",
    "Subprocess killed",
];

/// `CTest` has one word for all that it did not run, and tells in a message why a program failed.
fn ctest(element: &Element, (status, message, detail): Ended) -> Ended {
    let failure = element.mark(CaseStatus::Failed);
    let failure = failure.map_or("", |mark| &mark.message);
    let skipped = element.mark(CaseStatus::Skipped);
    let skipped = skipped.map_or("", |mark| &mark.message);
    let meant = match (status, element.attribute("status")) {
        (CaseStatus::Failed, _) if failure.contains("Timeout") => CaseStatus::TimedOut,
        (CaseStatus::Failed, _) if CTEST_CRASHES.iter().any(|word| failure.contains(word)) => {
            CaseStatus::Crashed
        }
        (CaseStatus::Passed | CaseStatus::Skipped, "notrun") => match skipped {
            skipped if skipped.starts_with("SKIP_") => CaseStatus::Skipped,
            skipped if skipped.starts_with("Unable to find executable") => CaseStatus::Errored,
            _ => CaseStatus::NotRun,
        },
        _ => status,
    };
    let message = match (meant, failure, skipped) {
        (CaseStatus::Passed, ..) => return (meant, message, detail),
        (CaseStatus::Skipped, _, "") => "disabled",
        (_, "", skipped) => skipped,
        (_, failure, _) => failure,
    };
    (meant, message.to_owned(), element.output.clone())
}

/// Joins what tells a test from all others of its report.
fn name(dialect: Dialect, document: &Document, element: &Element) -> String {
    let name = element.attribute("name");
    let class = match element.attribute("classname") {
        "" => document.name(element.suite),
        class => class,
    };
    let separator = match dialect {
        Dialect::Ctest => return name.to_owned(),
        Dialect::Nextest | Dialect::Pytest => "::",
        Dialect::TestReports => ": ",
        _ => ".",
    };
    if class.is_empty() || class == name && dialect == Dialect::Junit {
        name.to_owned()
    } else {
        format!("{class}{separator}{name}")
    }
}

/// `TestReports` writes what went wrong outside of tests straight into the suite.
fn loose_case(suite: &str, mark: &Mark) -> Case {
    let status = mark.status.unwrap_or(CaseStatus::Errored);
    Case::new(format!("{suite}: outside of a test"), status)
        .because(&mark.message)
        .with_detail(&mark.text)
}

/// pytest-rerunfailures lists a test once for each attempt, and all but the last one look as if they had passed. pytest itself
/// lists a test twice if its teardown fails after it.
fn joined_attempts(cases: Vec<Case>) -> Vec<Case> {
    let mut joined = Vec::<Case>::new();
    let mut place = std::collections::HashMap::<String, usize>::new();
    for case in cases {
        let Some(&at) = place.get(&case.name) else {
            place.insert(case.name.clone(), joined.len());
            joined.push(case);
            continue;
        };
        let earlier = &mut joined[at];
        let again = earlier.status <= CaseStatus::Flaky && case.status <= CaseStatus::Passed;
        if again {
            earlier.status = CaseStatus::Flaky;
            earlier.message = Some("passed at another attempt".to_owned());
        } else if case.status > earlier.status {
            *earlier = case;
        }
    }
    joined
}

/// Some writers group digits: `1,234.5`. Others write as their country does: `0,5`.
fn seconds(text: &str) -> Option<f64> {
    let text = text.trim();
    let grouped = text.contains('.')
        || text
            .split(',')
            .skip(1)
            .all(|part| part.len() == 3 && !text.starts_with('0'));
    let plain = text.replace(',', if grouped { "" } else { "." });
    let seconds = plain.parse::<f64>().ok()?;
    (seconds.is_finite() && seconds >= 0.0).then_some(seconds)
}

#[cfg(test)]
mod tests {
    use super::super::{Format, read_text};
    use super::*;

    fn read(text: &str) -> Result<Report, ReportError> {
        read_text(Format::Junit, text)
    }

    /// Returns dialect and cases as lines.
    fn told(text: &str) -> String {
        let report = read(text).expect("it is JUnit");
        let cases = report.cases.iter().map(|case| {
            let message = case.message.as_deref().unwrap_or("-");
            format!("{:<10} {}  {message}\n", case.status.as_str(), case.name)
        });
        let problems = report.problems.iter().map(|it| format!("! {it}\n"));
        format!(
            "{:?}\n{}",
            report.dialect,
            cases.chain(problems).collect::<String>()
        )
    }

    macro_rules! fixture {
        ($name:literal) => {
            include_str!(concat!("../../../tests/data/reports/", $name))
        };
    }

    #[test]
    fn nextest_tells_flaky_and_crashed() {
        insta::assert_snapshot!(told(fixture!("nextest.xml")), @r#"
        Nextest
        passed     sample::tests::adds  -
        failed     sample::tests::fails  thread 'tests::fails' (32722) panicked at src/lib.rs:11:45
        flaky      sample::tests::flaky  thread 'tests::flaky' (32726) panicked at src/lib.rs:22:89
        passed     sample::tests::panics  -
        crashed    sample::tests::aborts  process aborted with signal 6 (SIGABRT)
        "#);
    }

    #[test]
    fn pytest_tells_errors_and_expected_failures() {
        insta::assert_snapshot!(told(fixture!("pytest-rank2.xml")), @r#"
        Pytest
        passed     test_mpi::test_sum  -
        failed     test_mpi::test_rank_2_differs  AssertionError: rank 2 has another answer assert 2 != 2 + where 2 = <mpi4py.MPI.Intracomm object at 0x7f0000000000>.rank
        skipped    test_mpi::test_gpu  needs a GPU
        xfailed    test_mpi::test_known_bug  known bug
        passed     test_mpi::test_unexpected_pass  -
        errored    test_mpi::test_setup_error  failed on setup with "RuntimeError: no such device"
        passed     test_mpi::test_param[1]  -
        passed     test_mpi::test_param[2]  -
        passed     test_mpi.TestClass::test_method  -
        passed     test_mpi::test_last_rank_dies  -
        "#);
        insta::assert_snapshot!(told(fixture!("pytest-rerun.xml")), @"
        Pytest
        flaky      test_flaky::test_flaky  passed at another attempt
        failed     test_flaky::test_always  assert 1 == 2
        ");
    }

    #[test]
    fn ctest_hides_missing_programs_among_the_skipped() {
        insta::assert_snapshot!(told(fixture!("ctest.xml")), @r#"
        Ctest
        passed     good  -
        failed     bad  wrong <answer>
        skipped    skipped  SKIP_RETURN_CODE=77
        failed     slow  -
        failed     crashes  /usr/bin/sh: 1: kill: No such process
        errored    missing  Unable to find executable
        skipped    disabled  disabled
        passed     fails_as_expected  -
        failed     fix  -
        not_run    needs_fix  Fixture dependency failed
        "#);
    }

    #[test]
    fn googletest_tells_disabled_ones() {
        insta::assert_snapshot!(told(fixture!("googletest.xml")), @r#"
        GoogleTest
        passed     Halo.Exchanges  -
        failed     Halo.Fails  gt/t.cpp:3 Expected equality of these values: 1 2 one & two
        skipped    Halo.Skips  gt/t.cpp:4 no GPU
        skipped    Halo.DISABLED_Later  disabled
        passed     Env.Works  -
        passed     Numbers/P.Even/0  -
        passed     Numbers/P.Even/1  -
        "#);
    }

    #[test]
    fn catch2_tells_expected_failures_twice() {
        insta::assert_snapshot!(told(fixture!("catch2.xml")), @"
        Catch2
        passed     c.global.sums  -
        passed     c.global.sums/big  -
        failed     c.global.sums/small  1 == 2
        errored    c.global.throws  bad <thing>
        xfailed    c.global.may fail  1 == 2
        xfailed    c.global.should fail  1 == 2
        ");
    }

    #[test]
    fn catch2_can_fail_before_it_skips() {
        let text = "<testsuites><testsuite name='c' hostname='tbd'><testcase classname='c.global' name='a' status='run'>\
            <failure message='1 == 2' type='CHECK'/><skipped message='SKIP' type='SKIP'/></testcase>\
            <testcase classname='c.global' name='b' status='run'><skipped type='SKIP'>no GPU</skipped></testcase>\
            </testsuite></testsuites>";
        assert_eq!(
            told(text),
            "Catch2\nfailed     c.global.a  1 == 2\nskipped    c.global.b  no GPU\n"
        );
    }

    #[test]
    fn pytest_tells_workers_that_died_and_teardowns() {
        insta::assert_snapshot!(told(fixture!("pytest-xdist.xml")), @r#"
        Pytest
        passed     test_x::test_ok  -
        skipped    test_x::test_skip  later
        crashed    test_x::test_crash  failed on setup with "worker 'gw0' crashed while running 'test_x.py::test_crash'"
        failed     test_x::test_strict  [XPASS(strict)]
        errored    test_x::test_teardown  failed on teardown with "RuntimeError: teardown"
        errored    test_x::test_both  failed on teardown with "RuntimeError: teardown"
        "#);
    }

    #[test]
    fn testreports_tells_errors_outside_of_tests() {
        insta::assert_snapshot!(told(fixture!("testreports.xml")), @r#"
        TestReports
        passed     Math/add: pass (info lost)  -
        failed     Math/add: 1 + 2 == 4  3 == 4
        passed     Math/add: pass (info lost) #2  -
        xfailed    Math/roots: sqrt(-1)  -
        errored    Math/roots: outside of a test  ErrorException("no roots")
        "#);
    }

    #[test]
    fn times_in_all_their_shapes() {
        for (text, expected) in [
            ("1.5", Some(1.5)),
            ("1,234.5", Some(1234.5)),
            ("1,234,567", Some(1_234_567.0)),
            ("0,5", Some(0.5)),
            ("0,125", Some(0.125)),
            ("12,25", Some(12.25)),
            (" 3 ", Some(3.0)),
            ("", None),
            ("nan", None),
            ("-1", None),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_broken_is_said() {
        let check = |text: &str, expected: &str| assert_eq!(told(text), expected);
        check(
            "<testsuites><testsuite name='s'><testcase name='a'/><testcase name='b'><failure mess",
            "Junit\npassed     s.a  -\n! its XML ends too early or is broken\n",
        );
        check(
            "noise <testsuite name='s'><testcase name='a' time='1,234.5'/>more noise</testsuite> noise & <",
            "Junit\npassed     s.a  -\n",
        );
        check(
            "<testsuite name='s'><testcase name='a'><failure message='&nope; &#0; x'/></testcase></testsuite>",
            "Junit\nfailed     s.a  &nope; &#0; x\n",
        );
        check(
            "<testsuite name='pytest' tests='2'><testcase name='a'/></testsuite>",
            "Pytest\npassed     pytest::a  -\n",
        );
        check(
            "<testsuite><testcase name='a'/><testcase name='a'/></testsuite>",
            "Junit\npassed     a  -\npassed     a #2  -\n",
        );
        for text in ["", "hello", "<html/>", "<testsuite", "<testsuite <><"] {
            assert!(
                read(text).is_err() || !read(text).is_ok_and(|it| it.problems.is_empty()),
                "{text}"
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read(text in "(<testsuite|<testcase |name='a'|/>|>|</testcase>|<failure>|&|]]>|<!\\[CDATA\\[|.){0,40}") {
            let _read = read(&text).is_ok();
        }
    }
}
