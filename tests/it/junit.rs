//! `tests/junit.xml` as other programs read it: junitparser, xmllint with Jenkins' schema, and the parser that Codecov runs.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::local::{project, run};
use crate::support::tools::{done, folder, full, python};
use crate::support::{Ended, Project};

/// Steps that end in every way, with names and words that no reader should stumble over.
const HOSTILE: &str = r#"
[[test]]
name = "passes"
command = "true"
[[test]]
name = 'a "quoted" <name> & ]]> in one'
suite = 'su<i>te & "co"'
command = '''printf '\033[31mred\033[0m \001\002\003 ]]> \377\376 <b>\n'; exit 3'''
[[test]]
name = "says much"
command = "i=0; while [ $i -lt 60000 ]; do i=$((i+1)); echo line $i '<x>&' ]]\\>; done; exit 1"
[[test]]
name = "says nothing"
command = "exit 1"
[[test]]
name = "too slow"
command = "sleep 60"
time = "1s"
[[test]]
name = "dies"
command = "kill -SEGV $$"
[[test]]
name = "skipped"
command = "true"
skip = { environment = "HOME" }
[[test]]
name = "flaky"
command = "[ $HPC_CI_ATTEMPT = 2 ]"
retries = 1
[[test]]
name = "needs what failed"
command = "true"
needs = ["says nothing"]
[[test]]
name = "reports"
suite = "inner"
command = '''
exec >report.xml
printf '<testsuite name="s"><testcase name="good" time="1,234.5"/><testcase name="bad &lt;1&gt; \001"><failure message=""/></testcase>'
printf '<testcase name="err \377"><error message="]]&gt;"><![CDATA[a < b ]]></error></testcase><testcase name="skip"><skipped/></testcase>'
printf '<testcase name="flaky"><flakyFailure message="once"/></testcase>'
printf '<testcase name="%05000d"><failure message="%05000d">%0100000d</failure></testcase></testsuite>' 7 7 7
'''
results = { format = "junit", path = "report.xml" }
"#;

/// Passed, failed, errors and skipped over all suites.
type Counts = [u64; 4];

fn ours(run: &Ended) -> Counts {
    let summary = run.json("artifacts/tests/summary.json");
    let suites: Vec<Value> = summary["suites"]
        .as_object()
        .unwrap()
        .values()
        .cloned()
        .collect();
    let count = |name: &str| -> u64 {
        suites
            .iter()
            .map(|suite| suite[name].as_u64().unwrap())
            .sum()
    };
    [
        count("passed"),
        count("failed"),
        count("errors") + count("not_run"),
        count("skipped"),
    ]
}

/// What a Python program prints that was given a file.
#[track_caller]
fn told_by(python: &Path, program: &str, file: &Path) -> Value {
    let output = Command::new(python)
        .arg("-c")
        .arg(program)
        .arg(file)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn hostile() -> (Project, Ended, PathBuf) {
    let project = project(HOSTILE);
    let run = run(&project, &[]).exits_with(1).documents_are_valid();
    assert_eq!(
        ours(&run),
        [4, 7, 2, 2],
        "{}",
        run.text("artifacts/tests/junit.xml")
    );
    let file = project.dir.join("hpc-ci/artifacts/tests/junit.xml");
    (project, run, file)
}

const JUNITPARSER: &str = r#"
import json, sys
from junitparser import JUnitXml, Failure, Error, Skipped
counts = [0, 0, 0, 0]
def walk(suite):
    for case in suite:
        if hasattr(case, "tests"): walk(case); continue
        kinds = [type(result) for result in case.result]
        counts[1 if Failure in kinds else 2 if Error in kinds else 3 if Skipped in kinds else 0] += 1
xml = JUnitXml.fromfile(sys.argv[1])
walk(xml)
stated = [xml.tests, xml.failures, xml.errors, sum(suite.skipped or 0 for suite in xml)]
print(json.dumps({"counted": counts, "stated": stated}))
"#;

#[test]
fn junitparser_counts_as_we_do() {
    let found = Command::new("/usr/bin/python3")
        .args(["-c", "import junitparser"])
        .output();
    let by_ci = std::env::var_os("HPC_CI_TEST_MARK").is_some();
    if !found.is_ok_and(|output| output.status.success()) {
        assert!(!by_ci, "there is no junitparser");
        return;
    }
    let (_project, run, file) = hostile();
    let [passed, failed, errors, skipped] = ours(&run);
    let told = told_by(Path::new("/usr/bin/python3"), JUNITPARSER, &file);
    assert_eq!(told["counted"], json!([passed, failed, errors, skipped]));
    assert_eq!(
        told["stated"],
        json!([passed + failed + errors + skipped, failed, errors, skipped])
    );
}

/// The schema of Jenkins' xunit plugin travels with the tests of pytest, whose archive pip fetches.
fn jenkins_schema() -> PathBuf {
    let made = folder("junit-10", |folder| {
        let pip = [
            "-m",
            "pip",
            "download",
            "-q",
            "--no-deps",
            "--no-binary",
            ":all:",
            "-d",
        ];
        let mut download = Command::new("python3");
        done(download.args(pip).arg(folder).arg("pytest==8.3.5"));
        let unpack =
            "tar -xzf *.tar.gz && mv \"$(find . -name junit-10.xsd | head -n 1)\" junit-10.xsd";
        done(
            Command::new("bash")
                .args(["-c", unpack])
                .current_dir(folder),
        );
    });
    made.join("junit-10.xsd")
}

#[test]
fn jenkins_schema_holds() {
    if !full() {
        return;
    }
    let (_project, _run, file) = hostile();
    let output = Command::new("xmllint")
        .args(["--noout", "--schema"])
        .arg(jenkins_schema())
        .arg(&file)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

const CODECOV: &str = r#"
import json, sys, test_results_parser as t
found = t.parse_junit_xml(open(sys.argv[1], "rb").read())
counts = {}
for run in found.testruns: counts[str(run.outcome)] = counts.get(str(run.outcome), 0) + 1
print(json.dumps({"counts": counts, "flaky": [run.name for run in found.testruns if "flaky" in run.name]}))
"#;

/// Codecov reads the results of tests by this very parser.
#[test]
fn codecov_counts_as_we_do() {
    if !full() {
        return;
    }
    let (_project, run, file) = hostile();
    let [passed, failed, errors, skipped] = ours(&run);
    let told = told_by(
        &python("codecov-cli", "codecov-cli==11.3.1").join("python"),
        CODECOV,
        &file,
    );
    let count = |name: &str| told["counts"][name].as_u64().unwrap_or(0);
    assert_eq!(
        [
            count("pass"),
            count("failure"),
            count("error"),
            count("skip")
        ],
        [passed, failed, errors, skipped],
        "{told}"
    );
}
