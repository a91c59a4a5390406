//! What a program that ended with 0 comes to by its report: a report is green only if all of it was understood and agrees.

use super::{Format, Limits, RankReport, merge, read_text, verdict};
use crate::scheduler::Outcome;

/// Returns what a report makes of a step that ended with 0, and why.
fn judged(format: Format, text: &str) -> (Outcome, String) {
    let report = RankReport {
        rank: None,
        file: "r".to_owned(),
        report: read_text(format, text),
    };
    let merged = merge(vec![report], None, Limits::default());
    verdict(Outcome::Passed, &merged).unwrap_or((Outcome::Passed, String::new()))
}

#[track_caller]
fn check(format: Format, text: &str, outcome: Outcome, says: &str) {
    let (found, why) = judged(format, text);
    assert!(
        found == outcome && why.contains(says),
        "{text}\n{found}, and not {outcome}: {why}"
    );
}

macro_rules! fault {
    ($name:literal) => {
        include_str!(concat!("../../../tests/data/reports/faults/", $name))
    };
}

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!("../../../tests/data/reports/", $name))
    };
}

#[test]
fn files_that_were_taken_for_the_opposite() {
    let junit = |text, outcome, says| check(Format::Junit, text, outcome, says);
    junit(
        fault!("a-status-only.xml"),
        Outcome::Failed,
        "1 of 2 tests failed, though its program ended with 0: halo_test.sh.test_exchanges",
    );
    junit(
        fault!("b-failed-element.xml"),
        Outcome::Failed,
        "Halo.exchanges",
    );
    junit(fault!("d-result-attr.xml"), Outcome::Failed, "s.b");
    junit(
        fault!("f-truncated-list.xml"),
        Outcome::Lost,
        "`r`: its suite `s` counts 5 tests, and 2 can be read",
    );
    junit(fault!("n-pytest-subtests.xml"), Outcome::Passed, "");
    let tap = |text, outcome, says| check(Format::Tap, text, outcome, says);
    tap(fault!("a-waiting-dots.tap"), Outcome::Passed, "");
    tap(
        fault!("i-duplicate-number.tap"),
        Outcome::Lost,
        "`r`: test number 2 stands there twice",
    );
    tap(fault!("q-bare-dots.tap"), Outcome::Passed, "");
}

/// A suite around one case that passes and what is to be tried.
fn suite(totals: &str, case: &str) -> String {
    format!(
        "<testsuites><testsuite name='s' {totals}><testcase name='a'/>{case}</testsuite></testsuites>"
    )
}

/// Each way to say of a test that it did not pass, with the totals right and with no totals at all.
#[test]
fn marks_of_failure_in_every_form() {
    let marks = [
        "<failure/>",
        "<Failure/>",
        "<FAILURE message='x'/>",
        "<failed message='x'>y</failed>",
        "<fail/>",
        "<error/>",
        "<Error/>",
        "<errored/>",
        "<exception/>",
        "<timeout/>",
        "<Timeout>30 s</Timeout>",
        "<timed-out/>",
        "<crash/>",
        "<crashed/>",
        "<aborted/>",
        "<killed/>",
        "<panic/>",
        "<result>Fail</result>",
        "<status>failed</status>",
        "<outcome value='failed'/>",
        "<details><failure/></details>",
        "<properties/><failure/>",
        "<skipped/><failure/>",
        "<j:failure xmlns:j='urn:j'/>",
    ];
    let attributes = [
        "status='failed'",
        "status='fail'",
        "status='FAIL'",
        "status='Failure'",
        "status='error'",
        "status='crashed'",
        "status='timeout'",
        "status='timed out'",
        "status='timed_out'",
        "Status='Failed'",
        "status='not ok'",
        "result='Fail'",
        "result='fail'",
        "result='FAILURE'",
        "result='Error'",
        "result='segfault'",
        "outcome='failed'",
        "state='failed'",
        "verdict='FAIL'",
        "conclusion='failure'",
        "success='false'",
        "success='False'",
        "success='0'",
        "successful='no'",
        "passed='false'",
        "failed='true'",
        "failed='1'",
        "failures='1'",
        "errors='1'",
        "error='norm differs'",
        "crashed='yes'",
        "timedout='true'",
        "status='run' result='failed'",
        "status='passed' result='failed'",
    ];
    let with_element = marks
        .iter()
        .map(|it| format!("<testcase name='b'>{it}</testcase>"));
    let with_attribute = attributes
        .iter()
        .map(|it| format!("<testcase name='b' {it}/>"));
    for case in with_element.chain(with_attribute) {
        for totals in [
            "",
            "tests='2' failures='1'",
            "tests='2' failures='0' errors='1'",
        ] {
            check(
                Format::Junit,
                &suite(totals, &case),
                Outcome::Failed,
                "1 of 2 tests failed, though its program ended with 0: s.b",
            );
        }
    }
}

/// What says nothing, or that all is well, is green; what is not known is not.
#[test]
fn harmless_marks_and_those_that_nobody_knows() {
    let harmless = [
        "<testcase name='b'/>",
        "<testcase name='b' status='passed'/>",
        "<testcase name='b' status='run'/>",
        "<testcase name='b' status='run' result='completed'/>",
        "<testcase name='b' result='Pass' success='true' executed='True'/>",
        "<testcase name='b' failures='0' errors='0' skipped='0' tests='1'/>",
        "<testcase name='b' passed='1' failed='0'/>",
        "<testcase name='b' file='failed.c' class='error' classname='timeout' line='1' time='0' assertions='3'/>",
        "<testcase name='failed' timeout='30'/>",
        "<testcase name='b'><properties><property name='status' value='failed'/></properties></testcase>",
        "<testcase name='b'><system-out>FAILED</system-out><system-err>error: x</system-err></testcase>",
        "<testcase name='b'><rerunFailure message='x'/></testcase>",
        "<testcase name='b'><attachments/><measurement>3</measurement><tags/><duration>1</duration></testcase>",
        "<testcase name='b'><success/></testcase>",
        "<testcase name='b'><status>passed</status></testcase>",
        "<testcase name='b'><flakyFailure message='x'/></testcase>",
    ];
    for case in harmless {
        check(Format::Junit, &suite("", case), Outcome::Passed, "");
        let totals = "tests='2' failures='0' errors='0' skipped='0'";
        check(Format::Junit, &suite(totals, case), Outcome::Passed, "");
    }
    let unknown = [
        ("<testcase name='b'><wobbly/></testcase>", "<wobbly>"),
        (
            "<testcase name='b'><wobbly>why</wobbly></testcase>",
            "<wobbly>",
        ),
        ("<testcase name='b' status='wobbly'/>", "`status` `wobbly`"),
        ("<testcase name='b' result='wobbly'/>", "`result` `wobbly`"),
        (
            "<testcase name='b' success='perhaps'/>",
            "`success` `perhaps`",
        ),
        (
            "<testcase name='b'><status>wobbly</status></testcase>",
            "`wobbly`",
        ),
        (
            "<testcase name='b' ergebnis='failed'/>",
            "`ergebnis` `failed`",
        ),
    ];
    for (case, says) in unknown {
        let (outcome, why) = judged(Format::Junit, &suite("tests='2' failures='0'", case));
        assert!(
            outcome == Outcome::Lost && why.contains(says) && why.contains("s.b"),
            "{case}: {outcome}: {why}"
        );
    }
    // Of a test that failed anyway, nothing is lost.
    let failed = suite("", "<testcase name='b'><wobbly/><failure/></testcase>");
    check(Format::Junit, &failed, Outcome::Failed, "s.b");
}

/// Totals of every name, at every level, that do not fit what is listed.
#[test]
fn totals_are_held_against_what_was_read() {
    let cases = "<testcase name='a'/><testcase name='b'/>";
    let around = |root: &str, outer: &str, inner: &str| {
        [
            format!("<testsuite name='s' {inner}>{cases}</testsuite>"),
            format!(
                "<testsuites {root}><testsuite name='s' {inner}>{cases}</testsuite></testsuites>"
            ),
            format!(
                "<testsuites {root}><testsuite name='o' {outer}><testsuite name='s' {inner}>{cases}</testsuite></testsuite></testsuites>"
            ),
            format!(
                "<testsuites><testsuite name='x'><testcase name='c'/></testsuite></testsuites>\n\
                 <testsuites {root}><testsuite name='s' {inner}>{cases}</testsuite></testsuites>"
            ),
        ]
    };
    let said = [
        (
            "failures='1'",
            "counts 1 failed or in error, and 0 can be read",
        ),
        (
            "errors='1'",
            "counts 1 failed or in error, and 0 can be read",
        ),
        ("failures='1' errors='1'", "counts 2 failed or in error"),
        ("failed='1'", "counts 1 failed or in error"),
        (
            "failures='1' failed='1' passed='1'",
            "counts 1 failed or in error",
        ),
        ("error='1'", "counts 1 failed or in error"),
        ("Failures='1'", "counts 1 failed or in error"),
        ("failure_count='1'", "counts 1 failed or in error"),
        ("num-failed='1'", "counts 1 failed or in error"),
        ("crashed='1'", "counts 1 failed or in error"),
        ("timeouts='1'", "counts 1 failed or in error"),
        ("failures='1.0'", "counts 1 failed or in error"),
        ("failures='1,000'", "counts 1000 failed or in error"),
        ("failures='one'", "`failures` is `one`, which is no number"),
        ("failures='-1'", "`failures` is `-1`, which is no number"),
        ("success='false'", "`success` is `false`"),
        ("result='Failure'", "`result` is `Failure`"),
        ("skipped='1'", "counts 1 skipped, and 0 can be read"),
        ("disabled='2'", "counts 2 skipped, and 0 can be read"),
        ("tests='2' passed='1'", "counts 1 passed, and 2 can be read"),
        ("tests='3'", "counts 3 tests, and 2 can be read"),
        ("total='3'", "counts 3 tests, and 2 can be read"),
        ("tests='3' skipped='0'", "counts 3 tests, and 2 can be read"),
    ];
    for (totals, says) in said {
        for text in around("", "", totals) {
            check(Format::Junit, &text, Outcome::Lost, "its suite `s`");
            check(Format::Junit, &text, Outcome::Lost, says);
        }
        let [_, root, nested, behind] = around(totals, "", "");
        for text in [root, nested, behind] {
            check(Format::Junit, &text, Outcome::Lost, says);
        }
        let [.., nested, _] = around("", totals, "");
        check(Format::Junit, &nested, Outcome::Lost, "its suite `o`");
    }
    let right = [
        "",
        "tests='2'",
        "tests='2' failures='0' errors='0' skipped='0' disabled='0' time='1'",
        "tests='2' passed='2' failed='0' success='true'",
        "tests='' failures=''",
        // Attempts are cases of their own with some.
        "tests='1' failures='0'",
        // Of those that were skipped, some list none.
        "tests='5' skipped='3'",
        "hostname='failures' id='1' package='errors'",
    ];
    for totals in right {
        for text in around(totals, totals, totals) {
            check(Format::Junit, &text, Outcome::Passed, "");
        }
    }
}

/// Some count the tests below as their own, some don't, and some count elements where others count tests.
#[test]
fn totals_of_every_honest_kind() {
    let failing = "<testcase name='b'><failure/><failure/></testcase>";
    for failures in ["1", "2"] {
        let text = format!(
            "<testsuites failures='{failures}'><testsuite name='o' failures='0'>\
             <testsuite name='s' tests='2' failures='{failures}'><testcase name='a'/>{failing}</testsuite></testsuite></testsuites>"
        );
        let (outcome, why) = judged(Format::Junit, &text);
        assert!(
            outcome == Outcome::Failed && !why.contains("counts"),
            "{outcome} {why}"
        );
    }
    let weighted = "<testsuites tests='5' skipped='1' failures='0' errors='0'><testsuite name='s' tests='5' skipped='1'>\
        <testcase name='a' tests='4' skipped='1' failures='0' errors='0'/><testcase name='b' tests='1' skipped='0'/></testsuite></testsuites>";
    check(Format::Junit, weighted, Outcome::Passed, "");
    let weighted = weighted.replacen("failures='0' errors='0'/>", "failures='1' errors='0'/>", 1);
    check(Format::Junit, &weighted, Outcome::Failed, "s.a");
}

#[test]
fn a_dialect_hides_no_failure() {
    let junit = |text: &str, says| check(Format::Junit, text, Outcome::Failed, says);
    // Each of them has a word that means something else in its dialect.
    junit(
        "<testsuite><testcase name='a' classname='a' status='run'><failure message='x'/></testcase></testsuite>",
        "a",
    );
    junit(
        "<testsuite><testcase name='b' classname='b' status='run'/><testcase name='a' classname='a' status='fail'/></testsuite>",
        "a",
    );
    junit(
        "<testsuite><testcase name='a' classname='a' status='disabled'><failure/></testcase></testsuite>",
        "a",
    );
    junit(
        "<testsuites><testsuite name='s'><testcase name='a' status='notrun' result='suppressed'><failure/></testcase></testsuite></testsuites>",
        "s.a",
    );
    junit(
        "<testsuites uuid='1'><testsuite name='s'><testcase name='a'><timeout/></testcase></testsuite></testsuites>",
        "s::a",
    );
    junit(
        "<testsuites><testsuite name='pytest'><testcase name='a' status='failed'/></testsuite></testsuites>",
        "pytest::a",
    );
    // A test in a test is one of its own.
    junit(
        "<testsuite name='s'><testcase name='a'><testcase name='b' status='failed'/></testcase></testsuite>",
        "1 of 2 tests failed, though its program ended with 0: s.b",
    );
    junit(
        "<TestSuite name='s'><TestCase name='a'><Failure/></TestCase></TestSuite>",
        "s.a",
    );
    junit(
        "<testsuite name='s'><testcase name='a'/><timeout/></testsuite>",
        "s: outside of a test",
    );
    // Catch2 tags tests that may fail; they may throw as well.
    let text = "<testsuites><testsuite name='c' errors='0' failures='0' tests='4' hostname='tbd'>\
        <testcase classname='c.global' name='a' status='run'/><testcase classname='c.global' name='b' status='run'>\
        <skipped message='TEST_CASE tagged with !mayfail'/><error type='TEST_CASE'>x</error></testcase></testsuite></testsuites>";
    check(Format::Junit, text, Outcome::Passed, "");
    check(
        Format::Junit,
        &text.replace("errors='0'", "errors='1'"),
        Outcome::Lost,
        "its suite `c` counts 1 failed or in error, and 0 can be read",
    );
    // doctest counts assertions.
    let text = "<testsuites><testsuite name='d' errors='0' failures='0' tests='8' doctest_version='2.4.9'>\
        <testcase classname='d.cpp' name='a' status='run'/></testsuite></testsuites>";
    check(Format::Junit, text, Outcome::Passed, "");
    // Older GoogleTest has no `result`.
    let text = "<testsuites tests='2' disabled='1'><testsuite name='Halo' tests='2' disabled='1'><testcase name='a' status='run' classname='Halo'/>\
        <testcase name='DISABLED_b' status='notrun' classname='Halo'/></testsuite></testsuites>";
    check(Format::Junit, text, Outcome::Passed, "");
    let text = text.replace("DISABLED_b", "b");
    check(Format::Junit, &text, Outcome::NotRun, "Halo.b");
}

#[test]
fn what_is_cut_off_is_missed() {
    let junit = |text: &str, outcome| check(Format::Junit, text, outcome, "");
    let whole = "<testsuites><testsuite name='s'><testcase name='a'/></testsuite></testsuites>";
    junit(&format!("{whole}{whole}"), Outcome::Passed);
    junit(&format!("{whole} done in <1 s\n"), Outcome::Passed);
    for cut in [
        "<testsuites><testsuite name='t'><testcase name='b'",
        "<testsuite",
        "<testcase name='b'>",
    ] {
        junit(&format!("{whole}\n{cut}"), Outcome::Lost);
    }
    for end in 20..whole.len() - 1 {
        let (outcome, why) = judged(Format::Junit, &whole[..end]);
        assert_ne!(outcome, Outcome::Passed, "{}: {why}", &whole[..end]);
    }
}

/// pytest counts each subtest that passed and lists none of them, under any name of the suite.
#[test]
fn pytest_counts_subtests() {
    use super::CaseStatus::{Errored, Failed, Passed, Skipped, Xfailed};
    let counts = |text: &str| {
        let report = read_text(Format::Junit, text).expect("it is JUnit");
        assert_eq!(report.problems, [""; 0]);
        let is = |status| report.cases.iter().filter(|it| it.status == status).count();
        [Passed, Failed, Errored, Skipped, Xfailed].map(is)
    };
    let expected = [4, 8, 1, 4, 3];
    assert_eq!(counts(fixture!("pytest8-subtests.xml")), expected);
    assert_eq!(counts(fixture!("pytest9-subtests.xml")), expected);
    let renamed = fixture!("pytest9-subtests.xml").replace("name=\"pytest\"", "name=\"halo\"");
    assert_eq!(counts(&renamed), expected);
    let old = renamed.replace(" name=\"pytest tests\"", "");
    assert_eq!(counts(&old), expected);
    // What it says of those that failed still counts.
    let one_more = fault!("n-pytest-subtests.xml").replace("failures=\"0\"", "failures=\"1\"");
    check(
        Format::Junit,
        &one_more,
        Outcome::Lost,
        "its suite `pytest` counts 1 failed or in error, and 0 can be read",
    );
}

#[test]
fn tap_between_other_lines() {
    let tap = |text: &str, outcome, says| check(Format::Tap, text, outcome, says);
    let noise = [
        "waiting ...",
        "waiting ... ",
        "loading mesh.vtk ...",
        "mesh.vtk ...",
        "reading /scratch/mesh ..",
        "a ..",
        "...",
        "  ...",
        "",
        "# a note",
        "  ---\n  at: 3\n  ...",
        "pragma +strict",
        "okay",
        "Result: 12.5",
        "1..x",
        "t = 0.1 .. 0.2",
    ];
    for line in noise {
        for text in [
            format!("1..2\nok 1 - a\n{line}\nok 2 - b\n"),
            format!("{line}\n1..2\nok 1 - a\nok 2 - b\n"),
            format!("1..2\n{line}\nok 1 - a\nok 2 - b\n{line}\n"),
            format!("TAP version 14\n1..2\n{line}\n{line}\nok - a\nok - b\n"),
            format!("ok 1 - a\n{line}\nok 2 - b\n1..2\n"),
        ] {
            tap(&text, Outcome::Passed, "");
            let failing = text
                .replace("ok 2", "not ok 2")
                .replace("ok - b", "not ok - b");
            tap(&failing, Outcome::Failed, "1 of 2 tests failed");
            let short = text.replace("1..2", "1..3");
            tap(
                &short,
                Outcome::Lost,
                "3 tests were planned, and 2 were reported",
            );
        }
    }
}

/// Numbers have to be those of the plan, each once; in which order is nobody's business.
#[test]
fn tap_counts_by_its_numbers() {
    let tap = |text: &str, outcome, says| check(Format::Tap, text, outcome, says);
    tap(
        "1..3\nok 1\nok 2\nok 2\n",
        Outcome::Lost,
        "test number 2 stands there twice",
    );
    tap(
        "1..2\nok 1\nok 1\n",
        Outcome::Lost,
        "test number 1 stands there twice",
    );
    tap(
        "ok 1\nok 1\n1..2\n",
        Outcome::Lost,
        "test number 1 stands there twice",
    );
    tap(
        "1..3\nok 1\nok\nok 2\n",
        Outcome::Lost,
        "test number 2 stands there twice",
    );
    tap(
        "1..2\nok 1\nok 3\n",
        Outcome::Lost,
        "test number 3 is beyond its plan of 2",
    );
    tap(
        "1..2\nok 0\nok 1\n",
        Outcome::Lost,
        "test number 0 is beyond its plan of 2",
    );
    tap(
        "ok 1\nok 3\n",
        Outcome::Lost,
        "test number 3 is beyond the 2 that were reported",
    );
    tap("1..3\nok 1\nok 3\nok 2\n", Outcome::Passed, "");
    tap("1..3\nok\nok 2\nok\n", Outcome::Passed, "");
    // One program after the other, each with its plan at the beginning or at the end.
    tap("1..2\nok 1\nok 2\n1..1\nok 1\n", Outcome::Passed, "");
    tap("ok 1\nok 2\n1..2\nok 1\n1..1\n", Outcome::Passed, "");
    tap("1..1\nok 1\nok 1\n1..1\n", Outcome::Passed, "");
    tap(
        "TAP version 13\n1..1\nok 1\nTAP version 13\nok 1\n1..1\n",
        Outcome::Passed,
        "",
    );
    tap(
        "1..1\nok 1\nok 1\n",
        Outcome::Lost,
        "1 tests were planned, and 2 were reported",
    );
    tap(
        "1..2\nok 1\n1..1\nok 1\nok 2\n",
        Outcome::Lost,
        "2 tests were planned, and 1 were reported",
    );
    // prove has its own word.
    tap(
        "t/a.t .. \n1..1\nok 1\nDubious, test returned 1 (wstat 256, 0x100)\nAll 1 subtests passed \nResult: FAIL\n",
        Outcome::Lost,
        "`prove` calls it FAIL",
    );
}

#[test]
fn libtest_agrees_with_its_own_totals() {
    let libtest = |text: &str, outcome, says| check(Format::Libtest, text, outcome, says);
    let end = "1 ignored; 0 measured; 0 filtered out; finished in 0.00s\n";
    let one = "running 1 test\ntest a ... ok\n\n";
    let totals = "0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n";
    libtest(
        &format!("{one}test result: ok. 1 passed; 0 failed; {totals}"),
        Outcome::Passed,
        "",
    );
    libtest(
        &format!("{one}test result: FAILED. 1 passed; 0 failed; {totals}"),
        Outcome::Lost,
        "calls itself FAILED",
    );
    libtest(
        &format!("{one}test result: ok. 0 passed; 1 failed; {totals}"),
        Outcome::Lost,
        "counted",
    );
    libtest(
        &format!("{one}test result: ok. 1 passed; 0 failed; {end}"),
        Outcome::Lost,
        "counted",
    );
    // With --quiet, only the totals and the number that was to run can be compared.
    libtest(
        &format!("running 3 tests\n...\ntest result: ok. 2 passed; 0 failed; {totals}"),
        Outcome::Lost,
        "was to run 3 tests, and counted 2",
    );
    // The totals of a program of which nothing else is there.
    libtest(
        &format!(
            "{one}test result: ok. 1 passed; 0 failed; {totals}test result: FAILED. 0 passed; 1 failed; {totals}"
        ),
        Outcome::Lost,
        "without its tests",
    );
}

#[test]
fn libtest_json_agrees_with_its_own_totals() {
    let json = |end: &str, outcome, says| {
        let text = format!(
            "{{\"type\":\"suite\",\"event\":\"started\",\"test_count\":2}}\n\
             {{\"type\":\"test\",\"event\":\"started\",\"name\":\"a\"}}\n{{\"type\":\"test\",\"event\":\"ok\",\"name\":\"a\"}}\n\
             {{\"type\":\"test\",\"event\":\"ok\",\"name\":\"b\"}}\n{{\"type\":\"suite\",{end}}}\n"
        );
        check(Format::LibtestJson, &text, outcome, says);
    };
    json(
        "\"event\":\"ok\",\"passed\":2,\"failed\":0,\"ignored\":0",
        Outcome::Passed,
        "",
    );
    json("\"event\":\"ok\"", Outcome::Passed, "");
    json(
        "\"event\":\"ok\",\"passed\":1,\"failed\":1,\"ignored\":0",
        Outcome::Lost,
        "counted 1 passed, 1 failed, 0 ignored",
    );
    json(
        "\"event\":\"ok\",\"passed\":1,\"failed\":0,\"ignored\":1",
        Outcome::Lost,
        "counted",
    );
    json(
        "\"event\":\"failed\",\"passed\":2,\"failed\":0,\"ignored\":0",
        Outcome::Lost,
        "calls itself failed",
    );
    let short = "{\"type\":\"suite\",\"event\":\"started\",\"test_count\":2}\n{\"type\":\"test\",\"event\":\"ok\",\"name\":\"a\"}\n{\"type\":\"suite\",\"event\":\"ok\"}\n";
    check(
        Format::LibtestJson,
        short,
        Outcome::Lost,
        "nothing was heard of 1 of 2 tests",
    );
    let unknown = short
        .replace("\"test_count\":2", "\"test_count\":1")
        .replace(
            "{\"type\":\"test\",\"event\":\"ok\"",
            "{\"type\":\"test\",\"event\":\"wobbly\"",
        );
    check(Format::LibtestJson, &unknown, Outcome::Lost, "`wobbly`");
}

#[test]
fn tables_of_julia_agree_with_themselves() {
    let julia = |text: &str, outcome, says| check(Format::Julia, text, outcome, says);
    let head = "Test Summary: | Pass  Fail  Total  Time\n";
    julia(
        "Test Summary: | Pass  Total  Time\nhalo          |    2      2  0.1s\n",
        Outcome::Passed,
        "",
    );
    julia(
        &format!("{head}halo          |    2            3  0.1s\n"),
        Outcome::Lost,
        "`halo` has 3 tests in all, and 2 can be read",
    );
    julia(
        &format!("{head}halo          |    2     x      3  0.1s\n"),
        Outcome::Lost,
        "`x`",
    );
    julia(
        "Test Summary: | Pass  Wobbly  Total\nhalo          |    2       1      3\n",
        Outcome::Lost,
        "`halo`",
    );
    // A figure under no title.
    julia(
        &format!("{head}halo          |    2   1        3  0.1s\n"),
        Outcome::Lost,
        "`halo`",
    );
    julia(
        "Test Summary: | Pass  Total\nhalo          |    2      2\nERROR: LoadError: Some tests did not pass: 2 passed, 1 failed, 0 errored, 0 broken.\n",
        Outcome::Lost,
        "1 failed",
    );
}

/// How a case is written, whether it failed, and whether it was skipped.
const WRITTEN: [(&str, bool, bool); 12] = [
    ("<testcase name='t'/>", false, false),
    (
        "<testcase name='t' status='run' time='1'><system-out>FAILED</system-out></testcase>",
        false,
        false,
    ),
    (
        "<testcase name='t' result='Pass' assertions='2'/>",
        false,
        false,
    ),
    (
        "<testcase name='t'><properties><property name='x' value='failed'/></properties></testcase>",
        false,
        false,
    ),
    (
        "<testcase name='t'><skipped message='no GPU'/></testcase>",
        false,
        true,
    ),
    ("<testcase name='t' status='disabled'/>", false, true),
    (
        "<testcase name='t'><failure message='x'/></testcase>",
        true,
        false,
    ),
    ("<testcase name='t' status='failed'/>", true, false),
    (
        "<testcase name='t' result='Error'><system-out/></testcase>",
        true,
        false,
    ),
    ("<testcase name='t'><Timeout/></testcase>", true, false),
    ("<testcase name='t' success='false'/>", true, false),
    (
        "<testcase name='t'><skipped/><error/></testcase>",
        true,
        false,
    ),
];

proptest::proptest! {
    /// However suites are nested, a report is green if it is right and nothing of it failed, and never if it counts, at whatever level,
    /// one failure more than it lists or one test more.
    #[test]
    fn only_what_agrees_is_green(
        cases in proptest::collection::vec(0..WRITTEN.len(), 1..8),
        depth in 0_usize..3,
        said in 0_usize..3,
        wrong in 0_usize..4,
        word in proptest::sample::select(&["failures", "errors", "failed", "numFailures"][..]),
    ) {
        let written = cases.iter().map(|&at| WRITTEN[at]);
        let count = |wanted: &dyn Fn((&str, bool, bool)) -> bool| written.clone().filter(|it| wanted(*it)).count();
        let (failed, skipped) = (count(&|it| it.1), count(&|it| it.2));
        let totals = |level: usize| {
            let one_more = |kind| usize::from(wrong == kind && said.min(depth) == level);
            let tests = cases.len() + one_more(1);
            format!("tests='{tests}' {word}='{}' skipped='{}'", failed + one_more(2), skipped + one_more(3))
        };
        let body = written.clone().map(|it| it.0).collect::<String>();
        let text = (0..=depth).rev().fold(body, |inside, level| {
            let name = if level == 0 { "testsuites" } else { "testsuite" };
            format!("<{name} name='s{level}' {}>{inside}</{name}>", totals(level))
        });
        let text = if depth == 0 { format!("<testsuite>{text}</testsuite>").replace("testsuites", "testsuite") } else { text };
        let (outcome, why) = judged(Format::Junit, &text);
        let expected = match (failed, wrong) {
            (1.., _) => Outcome::Failed,
            (0, 1..) => Outcome::Lost,
            _ if skipped == cases.len() => Outcome::Skipped,
            _ => Outcome::Passed,
        };
        proptest::prop_assert_eq!(outcome, expected, "{} {}", text, why);
    }

    /// Whatever stands between, TAP is green if each test of the plan is there once and passed.
    #[test]
    fn only_a_whole_plan_of_passes_is_green(
        tests in proptest::collection::vec((proptest::bool::weighted(0.9), 0_usize..4), 1..8),
        numbered in proptest::bool::ANY,
        plan_first in proptest::bool::ANY,
        missing in 0_usize..2,
        doubled in proptest::bool::weighted(0.2),
    ) {
        let noise = ["", "waiting ...\n", "...\n", "# mesh.vtk ..\n"];
        let mut lines = tests.iter().zip(1..).map(|((good, after), number)| {
            let word = if *good { "ok" } else { "not ok" };
            let number = if numbered { format!(" {number}") } else { String::new() };
            format!("{word}{number} - t\n{}", noise[*after])
        }).collect::<Vec<_>>();
        if doubled {
            lines.push(lines[0].clone());
        }
        let plan = format!("1..{}\n", lines.len() + missing);
        lines.insert(if plan_first { 0 } else { lines.len() }, plan);
        let text = lines.concat();
        let (outcome, why) = judged(Format::Tap, &text);
        let all_good = tests.iter().all(|(good, _)| *good);
        let expected = match (all_good, missing > 0 || doubled && numbered) {
            (false, _) => Outcome::Failed,
            (true, true) => Outcome::Lost,
            (true, false) => Outcome::Passed,
        };
        proptest::prop_assert_eq!(outcome, expected, "{} {}", text, why);
    }
}
