//! `JUnit` XML: who wrote it, and what each writer means by its elements.
//!
//! There is no standard. The writers agree on `testsuite`, `testcase` and `failure`, and on little else: `CTest` tells of a
//! missing program as skipped, Catch2 of an expected failure as failed and skipped at once, pytest of a failed attempt as of
//! another test. The table of all that stands in `docs/reports.md`.

use super::xml::{self, Document, Element, Mark};
use super::{Case, CaseStatus, Dialect, Report, ReportError};

/// Reads a report.
pub(super) fn read(text: &str) -> Result<Report, ReportError> {
    let document = xml::read(text)?;
    let dialect = dialect(&document);
    let mut report = Report::new(dialect);
    report.cases = document
        .cases
        .iter()
        .map(|element| case(dialect, element))
        .collect();
    report.cases.extend(
        document
            .loose
            .iter()
            .map(|(suite, mark)| loose(suite, mark)),
    );
    if document.cut {
        report
            .problems
            .push("its XML ends too early or is broken".to_owned());
    }
    report.problems.extend(too_few(dialect, &document));
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
        suites.any(|suite| suite.get(name).is_some_and(|it| it == value))
    };
    let is =
        |element: &Element, name: &str, among: &[&str]| among.contains(&element.attribute(name));
    let of_ctest = |element: &Element| {
        is(element, "status", &["run", "fail", "notrun", "disabled"])
            && element.attribute("name") == element.attribute("classname")
    };
    let of_googletest =
        |element: &Element| is(element, "result", &["completed", "skipped", "suppressed"]);
    if !document.has_root && any_case(&of_ctest) {
        Dialect::Ctest
    } else if document.root.contains_key("uuid") {
        Dialect::Nextest
    } else if any_suite("name", "pytest") {
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

fn case(dialect: Dialect, element: &Element) -> Case {
    let (status, message, detail) = match dialect {
        Dialect::Ctest => ctest(element),
        Dialect::GoogleTest if is_disabled(element) => {
            (CaseStatus::Skipped, "disabled".to_owned(), String::new())
        }
        Dialect::Catch2 if may_fail(element) => {
            let message = element.mark("failure").map(|mark| mark.message.clone());
            (
                CaseStatus::Xfailed,
                message.unwrap_or_default(),
                String::new(),
            )
        }
        _ => by_marks(dialect, element),
    };
    let seconds = seconds(element.attribute("time"));
    Case {
        seconds,
        ..Case::new(name(dialect, element), status)
    }
    .because(&message)
    .with_detail(&detail)
}

/// Whether it failed and was tagged so; `SKIP` behind a failed check looks much the same.
fn may_fail(element: &Element) -> bool {
    let skipped = element.mark("skipped").map_or("", |mark| &mark.message);
    element.mark("failure").is_some() && skipped.starts_with("TEST_CASE tagged with ")
}

/// What most writers mean by the elements of a case.
fn by_marks(dialect: Dialect, element: &Element) -> (CaseStatus, String, String) {
    let told = |status, mark: &Mark| {
        let detail = if mark.text.trim().is_empty() {
            &element.output
        } else {
            &mark.text
        };
        (status, mark.message.clone(), detail.clone())
    };
    if let Some(mark) = element.mark("error") {
        // pytest-xdist: the process that ran it died.
        let died = dialect == Dialect::Pytest && mark.message.contains("crashed while running");
        let status = if died {
            CaseStatus::Crashed
        } else {
            CaseStatus::Errored
        };
        return told(status, mark);
    }
    if let Some(mark) = element.mark("failure") {
        return told(failure(dialect, mark), mark);
    }
    if let Some(mark) = element.mark("skipped").or_else(|| element.mark("skip")) {
        let expected = mark.kind == "pytest.xfail" || dialect == Dialect::TestReports;
        let status = if expected {
            CaseStatus::Xfailed
        } else {
            CaseStatus::Skipped
        };
        return (status, mark.message.clone(), mark.text.clone());
    }
    let flaky = element.mark("flakyFailure");
    match flaky.or_else(|| element.mark("flakyError")) {
        Some(mark) => told(CaseStatus::Flaky, mark),
        None => (CaseStatus::Passed, String::new(), String::new()),
    }
}

fn failure(dialect: Dialect, mark: &Mark) -> CaseStatus {
    match dialect {
        Dialect::Nextest if mark.kind == "test timeout" => CaseStatus::TimedOut,
        Dialect::Nextest if mark.kind == "test abort" => CaseStatus::Crashed,
        Dialect::Pytest if mark.message.starts_with("Failed: Timeout") => CaseStatus::TimedOut,
        _ => CaseStatus::Failed,
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

fn ctest(element: &Element) -> (CaseStatus, String, String) {
    let failure = element.mark("failure").map_or("", |mark| &mark.message);
    let skipped = element.mark("skipped").map_or("", |mark| &mark.message);
    let status = match element.attribute("status") {
        "run" => CaseStatus::Passed,
        "disabled" => CaseStatus::Skipped,
        "notrun" if skipped.starts_with("SKIP_") => CaseStatus::Skipped,
        "notrun" if skipped.starts_with("Unable to find executable") => CaseStatus::Errored,
        "notrun" => CaseStatus::NotRun,
        _ if failure.contains("Timeout") => CaseStatus::TimedOut,
        _ if CTEST_CRASHES.iter().any(|word| failure.contains(word)) => CaseStatus::Crashed,
        _ => CaseStatus::Failed,
    };
    let message = match (status, failure, skipped) {
        (CaseStatus::Passed, ..) => "",
        (CaseStatus::Skipped, _, "") => "disabled",
        (_, "", skipped) => skipped,
        (_, failure, _) => failure,
    };
    let detail = match status {
        CaseStatus::Passed => String::new(),
        _ => element.output.clone(),
    };
    (status, message.to_owned(), detail)
}

fn is_disabled(element: &Element) -> bool {
    element.attribute("status") == "notrun" || element.attribute("result") == "suppressed"
}

/// Joins what tells a test from all others of its report.
fn name(dialect: Dialect, element: &Element) -> String {
    let name = element.attribute("name");
    let class = match element.attribute("classname") {
        "" => element.suites.last().map_or("", String::as_str),
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
fn loose(suite: &str, mark: &Mark) -> Case {
    let status = match mark.name.as_str() {
        "skipped" | "skip" => CaseStatus::Skipped,
        "failure" => CaseStatus::Failed,
        _ => CaseStatus::Errored,
    };
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

/// Some writers count right, so that a test that is missing shows. Others count assertions, or attempts.
fn too_few(dialect: Dialect, document: &Document) -> Option<String> {
    if !matches!(
        dialect,
        Dialect::Ctest | Dialect::GoogleTest | Dialect::Nextest | Dialect::Pytest
    ) {
        return None;
    }
    let said = document
        .suites
        .iter()
        .filter_map(|suite| suite.get("tests")?.parse::<u64>().ok())
        .fold(0_u64, u64::saturating_add);
    let listed = document.cases.len() as u64;
    (said > listed).then(|| format!("it speaks of {said} tests and lists {listed}"))
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
    use super::*;

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
            "Pytest\npassed     pytest::a  -\n! it speaks of 2 tests and lists 1\n",
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
