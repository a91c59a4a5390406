//! Test results from inside the steps: by captured reports, and by the real tools where they are there.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::local::{here, project, run};
use crate::support::tools::{done, folder, full};
use crate::support::{Ended, Home, Project};

/// A committed project with the captured reports and the programs that wrote them.
fn with_reports(toml: &str) -> Project {
    let project = Project::new(Home::Here);
    project.file("hpc.toml", toml).copy("tests/data/reports");
    project.commit();
    project
}

/// The counts of a suite: passed, failed, errors, skipped, not run, flaky, xfailed, xpassed.
#[track_caller]
fn counts(run: &Ended, suite: &str, expected: [u64; 8]) {
    let summary = run.json("artifacts/tests/summary.json");
    let found = &summary["suites"][suite];
    let names = [
        "passed", "failed", "errors", "skipped", "not_run", "flaky", "xfailed", "xpassed",
    ];
    let found = names.map(|name| found[name].as_u64().unwrap_or(u64::MAX));
    assert_eq!(found, expected, "{suite}: {summary:#}\n{}", run.err);
}

/// The counts of the `JUnit` file as its own attributes and its elements tell them.
#[track_caller]
fn junit_agrees(run: &Ended) {
    let summary = run.json("artifacts/tests/summary.json");
    let text = run.text("artifacts/tests/junit.xml");
    let total = |key: &str| {
        let suites = summary["suites"].as_object().unwrap().values();
        suites
            .map(|suite| suite[key].as_u64().unwrap())
            .sum::<u64>()
    };
    let elements = |name: &str| text.matches(&format!("<{name} ")).count() as u64;
    let all = ["passed", "failed", "errors", "skipped", "not_run"].map(total);
    assert_eq!(elements("testcase"), all.iter().sum::<u64>(), "{text}");
    assert_eq!(elements("failure"), total("failed"), "{text}");
    assert_eq!(
        elements("error"),
        total("errors") + total("not_run"),
        "{text}"
    );
    assert_eq!(elements("skipped"), total("skipped"), "{text}");
}

#[test]
fn reports_of_ranks_are_merged_and_a_dead_rank_is_lost() {
    let project = with_reports(
        r#"
[[test]]
name = "all"
suite = "all"
ranks = 4
command = "cp tests/data/reports/pytest-rank$HPC_CI_RANK.xml all-$HPC_CI_RANK.xml"
results = { format = "junit", path = "all-{rank}.xml" }
[[test]]
name = "dead"
suite = "dead"
ranks = 4
command = "[ $HPC_CI_RANK = 3 ] || cp tests/data/reports/pytest-rank0.xml dead-$HPC_CI_RANK.xml"
results = { format = "junit", path = "dead-*.xml" }
"#,
    );
    let run = run(&project, &[]).exits_with(1);
    counts(&run, "all", [6, 1, 1, 2, 0, 0, 1, 0]);
    counts(&run, "dead", [7, 0, 2, 2, 0, 0, 1, 0]);
    junit_agrees(&run);
    let step = run.step("all");
    assert_eq!(step["outcome"], "failed");
    assert_eq!(step["report"], "pytest");
    assert_eq!(
        step["disagreements"],
        json!([{"test": "test_mpi::test_rank_2_differs", "ranks": [
            {"status": "failed", "ranks": "2"}, {"status": "passed", "ranks": "0-1,3"}]}])
    );
    let summary = run.json("artifacts/tests/summary.json");
    let failing = summary["failing"].as_array().unwrap();
    let lost = failing.iter().find(|it| it["test"] == "(rank 3)").unwrap();
    assert_eq!(lost["test_status"], "lost");
    assert!(
        run.err.contains("failed on 2, passed on 0-1,3"),
        "{}",
        run.err
    );
}

#[test]
fn a_report_is_a_witness_of_its_own() {
    let project = with_reports(
        r#"
[[test]]
name = "claims success"
command = "cp tests/data/reports/googletest.xml a.xml"
results = { format = "junit", path = "a.xml" }
[[test]]
name = "claims failure"
command = "echo '<testsuite><testcase name=\"a\"/></testsuite>' >b.xml; exit 1"
results = { format = "junit", path = "b.xml" }
[[test]]
name = "writes nothing"
command = "true"
results = { format = "junit", path = "c.xml" }
[[test]]
name = "lists nothing"
command = "echo '<testsuites></testsuites><testsuite/>' >$HPC_CI_STEP_DIR/d.xml"
results = { format = "junit", path = "d.xml" }
[[test]]
name = "skips everything"
command = "echo '<testsuite><testcase name=\"a\"><skipped/></testcase></testsuite>' >e.xml"
results = { format = "junit", path = "e.xml" }
[[test]]
name = "is old"
command = "true"
results = { format = "junit", path = "tests/data/reports/googletest.xml" }
[[test]]
name = "is cut short"
command = "head -c 700 tests/data/reports/nextest.xml >g.xml"
results = { format = "junit", path = "g.xml" }
[[test]]
name = "dies first"
command = "kill -KILL $$"
results = { format = "junit", path = "h.xml" }
[[test]]
name = "fails as it should"
command = "cp tests/data/reports/googletest.xml i.xml; exit 1"
expect = "fail"
results = { format = "junit", path = "i.xml" }
[[test]]
name = "speaks of others"
command = "echo 1..1; echo not ok 1 - theirs"
results = { format = "none" }
"#,
    );
    let run = run(&project, &[]).exits_with(1);
    for (step, outcome) in [
        ("claims success", "failed"),
        ("claims failure", "failed"),
        ("writes nothing", "lost"),
        ("lists nothing", "not_run"),
        ("skips everything", "skipped"),
        ("is old", "lost"),
        ("is cut short", "lost"),
        ("dies first", "signal"),
        ("fails as it should", "passed"),
        ("speaks of others", "passed"),
    ] {
        assert_eq!(run.outcome(step).0, outcome, "{:#}", run.step(step));
    }
    let said = |step: &str| run.step(step)["message"].as_str().unwrap().to_owned();
    assert!(said("is old").contains("was there before the step began"));
    assert!(said("claims failure").contains("no test of its report did"));
    assert!(said("writes nothing").contains("`c.xml`"));
    junit_agrees(&run);
}

/// Files that were green and should not have been, and the other way round.
#[test]
fn a_report_is_held_against_its_own_counts() {
    let faults = [
        ("a-status-only.xml", "failed", "halo_test.sh.test_exchanges"),
        ("b-failed-element.xml", "failed", "Halo.exchanges"),
        ("d-result-attr.xml", "failed", "s.b"),
        (
            "f-truncated-list.xml",
            "lost",
            "f-truncated-list.xml`: its suite `s` counts 5 tests, and 2 can be read",
        ),
        ("n-pytest-subtests.xml", "passed", ""),
        ("a-waiting-dots.tap", "passed", ""),
        (
            "i-duplicate-number.tap",
            "lost",
            "test number 2 stands there twice",
        ),
        ("q-bare-dots.tap", "passed", ""),
    ];
    let mut toml = r#"
[[test]]
name = "attribute"
command = "echo '<testsuite name=\"s\"><testcase name=\"a\" wobbly=\"1\"/></testsuite>' >w.xml"
results = { format = "junit", path = "w.xml" }
[[test]]
name = "mark"
command = "echo '<testsuite name=\"s\"><testcase name=\"a\"><wobbly/></testcase></testsuite>' >v.xml"
results = { format = "junit", path = "v.xml" }
[[test]]
name = "both"
command = "echo '<testsuite name=\"s\" failures=\"2\"><testcase name=\"a\"><failure/></testcase></testsuite>' >b.xml"
results = { format = "junit", path = "b.xml" }
"#
    .to_owned();
    for (file, ..) in faults {
        let results = match file.rsplit_once('.') {
            Some((_, "tap")) => "{ format = \"tap\" }".to_owned(),
            _ => format!("{{ format = \"junit\", path = \"{file}\" }}"),
        };
        writeln!(
            toml,
            "[[test]]\nname = \"{file}\"\nresults = {results}\n\
             command = 'cat tests/data/reports/faults/{file} | tee $HPC_CI_STEP_DIR/{file}'"
        )
        .unwrap();
    }
    let project = with_reports(&toml);
    let run = run(&project, &[]).exits_with(1).documents_are_valid();
    for (file, outcome, says) in faults {
        let step = run.step(file);
        assert_eq!(step["outcome"], outcome, "{step:#}");
        let message = step["message"].as_str().unwrap_or_default();
        assert!(message.contains(says), "{step:#}");
    }
    // What may mean a failure is no pass; what does not look like one is said.
    let mark = run.step("mark");
    assert_eq!(mark["outcome"], "lost", "{mark:#}");
    let message = mark["message"].as_str().unwrap();
    let said = "`v.xml`: <wobbly> of its test `s.a` is not known";
    assert!(message.contains(said), "{mark:#}");
    for (step, outcome, says) in [
        ("attribute", "passed", "`wobbly`"),
        (
            "both",
            "failed",
            "`b.xml`: its suite `s` counts 2 failed or in error, and 1 can be read",
        ),
    ] {
        let step = run.step(step);
        assert_eq!(step["outcome"], outcome, "{step:#}");
        let note = step["notes"][0].as_str().unwrap();
        assert!(
            note.contains(says) && run.err.contains(note),
            "{note}\n{}",
            run.err
        );
    }
}

const ONE_OF_LIBTEST: &str = "0 ignored; 0 measured; 0 filtered out; finished in 0.1s";

/// Output that looks like a report, though nobody asked for one, has no say against the exit code.
#[test]
fn a_guess_is_no_witness() {
    let retried = format!(
        "running 1 test\\ntest a ... FAILED\\n\\ntest result: FAILED. 0 passed; 1 failed; {ONE_OF_LIBTEST}\\n\\n\
         running 1 test\\ntest a ... ok\\n\\ntest result: ok. 1 passed; 0 failed; {ONE_OF_LIBTEST}"
    );
    let torn = format!(
        "running 2 tests\\n1e-9test a ... ok\\ntest b ... ok\\n\\ntest result: ok. 2 passed; 0 failed; {ONE_OF_LIBTEST}"
    );
    // What a step prints, its exit code, and what is said of it.
    let against = [
        (
            "failing",
            "1..2\\nok 1\\nnot ok 2 - b",
            0,
            "1 of 2 tests failed, and the program ended with 0: b",
        ),
        (
            "short",
            "1..3\\nok 1\\nok 2",
            0,
            "3 tests were planned, and 2 were reported",
        ),
        (
            "twice",
            "1..2\\nok 1\\nok 1",
            0,
            "test number 1 stands there twice",
        ),
        (
            "bail",
            "1..1\\nok 1\\nBail out! full",
            0,
            "it bailed out: full",
        ),
        (
            "blameless",
            "1..1\\nok 1",
            3,
            "none of 1 tests failed, and the program did",
        ),
        (
            "cut",
            "1..2\\nnot ok 1",
            3,
            "2 tests were planned, and 1 were reported",
        ),
        (
            "nested",
            "running 1 test\\nrunning 1 test\\ntest a ... ok",
            0,
            "ended before it could add up",
        ),
        ("retried", &retried, 0, "1 of 2 tests failed"),
        (
            "torn",
            &torn,
            0,
            "counted 2 passed, 0 failed, 0 ignored, and 1 passed",
        ),
        (
            "table",
            "Test Summary: | Pass  Fail  Total\\ninner         |    1     1      2",
            0,
            "1 of 1 tests failed",
        ),
        (
            "xml",
            "<testsuite name=\"s\" failures=\"1\"><testcase name=\"a\"/></testsuite>",
            0,
            "its suite `s` counts 1 failed or in error",
        ),
        (
            "json",
            "{\"type\":\"suite\",\"event\":\"started\",\"test_count\":1}",
            0,
            "nothing was heard of 1 of 1 tests",
        ),
    ];
    let mut toml = r#"
[[test]]
name = "agrees"
suite = "agrees"
command = 'printf "1..2\nok 1\nok 2\n"'
[[test]]
name = "agrees too"
suite = "agrees too"
command = 'printf "1..2\nok 1\nnot ok 2\n"; exit 1'
[[test]]
name = "skips all"
suite = "skips all"
command = 'echo "1..0 # SKIP no MPI"'
[[test]]
name = "asked"
suite = "asked"
command = 'printf "1..2\nok 1\nnot ok 2\n"'
results = { format = "tap" }
"#
    .to_owned();
    for (name, text, code, _) in against {
        writeln!(
            toml,
            "[[test]]\nname = \"{name}\"\nsuite = \"{name}\"\n\
             command = \"\"\"printf '{}\\\\n'; exit {code}\"\"\"",
            text.replace('\\', "\\\\")
        )
        .unwrap();
    }
    let project = project(&toml);
    let run = run(&project, &[]).exits_with(1).documents_are_valid();
    for (name, _, code, says) in against {
        let step = run.step(name);
        let (outcome, passed, failed) = match code {
            0 => ("passed", 1, 0),
            _ => ("failed", 0, 1),
        };
        assert_eq!(step["outcome"], outcome, "{step:#}");
        assert_eq!(step["report"], Value::Null, "{step:#}");
        let notes = step["notes"].as_array().unwrap();
        assert_eq!(notes.len(), 1, "{step:#}");
        let note = notes[0].as_str().unwrap();
        assert!(note.contains(says), "{says}: {note}");
        assert!(run.err.contains(note), "{note}\n{}", run.err);
        counts(&run, name, [passed, failed, 0, 0, 0, 0, 0, 0]);
    }
    counts(&run, "agrees", [2, 0, 0, 0, 0, 0, 0, 0]);
    counts(&run, "agrees too", [1, 1, 0, 0, 0, 0, 0, 0]);
    counts(&run, "skips all", [0, 0, 0, 1, 0, 0, 0, 0]);
    counts(&run, "asked", [1, 1, 0, 0, 0, 0, 0, 0]);
    for step in ["agrees", "agrees too", "asked"] {
        let step = run.step(step);
        assert_eq!(
            (&step["report"], &step["notes"]),
            (&json!("tap"), &json!([]))
        );
    }
    junit_agrees(&run);
}

/// What was there before is told from what a step wrote, without a look at any clock, and stays where it is.
#[test]
fn reports_are_new_whatever_the_clocks_say() {
    let project = with_reports(
        r#"
[build.tests]
command = '''
mkdir old mixed again
for place in old mixed again; do cp tests/data/reports/catch2.xml $place/r.xml; touch -d 2101-01-01 $place/r.xml; done
'''
[[test]]
name = "own folder, slow clock"
command = "cp tests/data/reports/nextest.xml $HPC_CI_STEP_DIR/o.xml; touch -d 2001-01-01 $HPC_CI_STEP_DIR/o.xml; exit 1"
results = { format = "junit", path = "o.xml" }
[[test]]
name = "tree, slow clock"
command = "cp tests/data/reports/nextest.xml slow.xml; touch -d 2001-01-01 slow.xml; exit 1"
results = { format = "junit", path = "slow.xml" }
[[test]]
name = "tracked, written again byte for byte"
command = "cp tests/data/reports/googletest.xml g.xml; cat g.xml >tests/data/reports/googletest.xml; exit 1"
results = { format = "junit", path = "tests/data/reports/googletest.xml" }
[[test]]
name = "replaced by its copy with its time"
command = "cp -p again/r.xml c.xml; mv c.xml again/r.xml; exit 1"
results = { format = "junit", path = "again/*.xml" }
[[test]]
name = "old alone"
command = "true"
results = { format = "junit", path = "old/*.xml" }
[[test]]
name = "old beside new"
command = "cp tests/data/reports/ctest.xml mixed/s.xml; ! test -e mixed/r.xml"
results = { format = "junit", path = "mixed/*.xml" }
"#,
    );
    let run = run(&project, &[]).exits_with(1);
    for (step, report) in [
        ("own folder, slow clock", "nextest"),
        ("tree, slow clock", "nextest"),
        ("tracked, written again byte for byte", "google-test"),
        ("replaced by its copy with its time", "catch2"),
        ("old beside new", "ctest"),
    ] {
        let step = run.step(step);
        assert_eq!(step["report"], report, "{step:#}");
        let message = step["message"].as_str().unwrap();
        assert!(message.contains("tests failed"), "{step:#}");
    }
    let old = run.step("old alone");
    assert_eq!(old["outcome"], "lost", "{old:#}");
    let message = old["message"].as_str().unwrap();
    let said =
        "the report `old/r.xml` was there before the step began, and the step has not written it";
    assert_eq!(message, said);
    assert_eq!(run.step("old beside new")["exit_code"], 1);
}

/// Steps that write the same report into the same tree one after the other, and one behind them that writes none.
fn one_after_the_other(count: usize) -> Project {
    let mut toml = String::new();
    for number in 1..=count {
        let needs = (1..number).map(|before| format!("\"t{before}\""));
        let needs = needs.collect::<Vec<_>>().join(", ");
        let command = match number {
            last if last == count => "true",
            _ => "echo '<testsuite><testcase name=\\\"a\\\"/></testsuite>' >r.xml",
        };
        writeln!(
            toml,
            "[[test]]\nname = \"t{number}\"\nneeds = [{needs}]\ncommand = \"{command}\"\n\
             results = {{ format = \"junit\", path = \"*.xml\" }}"
        )
        .unwrap();
    }
    project(&toml)
}

#[test]
fn each_of_many_small_steps_has_a_report_of_its_own() {
    let project = one_after_the_other(12);
    let run = run(&project, &[]).exits_with(3);
    counts(&run, "tests", [11, 0, 1, 0, 0, 0, 0, 0]);
    assert_eq!(run.outcome("t12").0, "lost");
}

/// Lustre counts whole seconds: what is written twice within one, with the same size and in place, looks untouched there.
#[test]
fn reports_of_a_file_system_that_counts_seconds() {
    let project = one_after_the_other(6);
    let shims = project.dir.with_file_name("shims");
    std::fs::create_dir(&shims).unwrap();
    let shim = "#!/bin/bash\nPATH=${PATH#*:}\nstat \"$@\" | sed -E 's/\\.[0-9]{9}/.000000000/g'\n";
    std::fs::write(shims.join("stat"), shim).unwrap();
    done(Command::new("chmod").arg("+x").arg(shims.join("stat")));
    let path = format!("{}:{}", shims.display(), std::env::var("PATH").unwrap());
    let mut command = here(&project, &["--scheduler", "local"]);
    let output = command.env("PATH", path).output().unwrap();
    let run = Ended::of(&project.dir, &output).exits_with(3);
    counts(&run, "tests", [5, 0, 1, 0, 0, 0, 0, 0]);
    assert_eq!(run.outcome("t6").0, "lost");
}

/// What tools print of attempts that they repeat, and of tests that print without a line feed, is theirs to judge.
#[test]
fn retries_and_torn_lines_for_real() {
    let nextest = there("cargo", &["nextest", "--version"]);
    let ctest = there("ctest", &["--version"]);
    let mut toml = r#"
[environment]
variables = { RUST_BACKTRACE = "0" }
[[test]]
name = "nocapture"
suite = "nocapture"
serial = "cargo"
command = "cd tests/data/reports/programs/shaky && cargo test --offline --lib -- --nocapture"
[[test]]
name = "nocapture, one thread"
suite = "one thread"
serial = "cargo"
command = "cd tests/data/reports/programs/shaky && cargo test --offline --lib -- --nocapture --test-threads=1"
"#
    .to_owned();
    if nextest {
        toml.push_str(
            r#"
[[test]]
name = "retries"
suite = "retries"
serial = "cargo"
command = "cd tests/data/reports/programs/shaky && SHAKY=$HPC_CI_STEP_DIR cargo nextest run --profile default --offline --retries 2 --no-output-indent"
[[test]]
name = "retries, no capture"
suite = "no capture"
serial = "cargo"
command = "cd tests/data/reports/programs/shaky && SHAKY=$HPC_CI_STEP_DIR cargo nextest run --profile default --offline --retries 2 --no-capture"
[[test]]
name = "no retries left"
suite = "no retries left"
serial = "cargo"
command = "cd tests/data/reports/programs/shaky && SHAKY=$HPC_CI_STEP_DIR cargo nextest run --profile default --offline --retries 0 --no-output-indent"
"#,
        );
    }
    if ctest {
        toml.push_str(
            r#"
[[test]]
name = "until pass"
suite = "until pass"
command = "cmake -S tests/data/reports/programs/shaky -B built && cd built && ctest --repeat until-pass:3 --output-on-failure"
[[test]]
name = "until pass, report"
suite = "until pass, report"
command = "cmake -S tests/data/reports/programs/shaky -B again && cd again && ctest --repeat until-pass:3 --output-on-failure --output-junit ../until.xml"
results = { format = "junit", path = "until.xml" }
"#,
        );
    }
    let project = with_reports(&toml);
    let code = i32::from(nextest);
    let run = run(&project, &[]).exits_with(code).documents_are_valid();
    // Whether lines are torn is chance with several threads, so the tests of it may be counted one by one.
    for step in ["nocapture", "nocapture, one thread"] {
        let step = run.step(step);
        assert_eq!(step["outcome"], "passed", "{step:#}");
        let told = step["report"] == "libtest" || step["notes"][0].is_string();
        assert!(told, "{step:#}");
    }
    if nextest {
        for (step, suite) in [
            ("retries", "retries"),
            ("retries, no capture", "no capture"),
        ] {
            counts(&run, suite, [1, 0, 0, 0, 0, 0, 0, 0]);
            let step = run.step(step);
            assert_eq!(
                (&step["outcome"], &step["flaky"]),
                (&json!("passed"), &json!(false))
            );
            let note = step["notes"][0].as_str().unwrap();
            assert!(note.contains("its output looks like libtest"), "{step:#}");
        }
        assert_eq!(run.outcome("no retries left").0, "failed");
    }
    if ctest {
        counts(&run, "until pass", [1, 0, 0, 0, 0, 0, 0, 0]);
        let step = run.step("until pass");
        let note = step["notes"][0].as_str().unwrap();
        assert!(note.contains("its output looks like tap"), "{step:#}");
        counts(&run, "until pass, report", [2, 0, 0, 0, 0, 0, 0, 0]);
    }
}

/// pytest counts each subtest that passed as a test and lists none of them.
#[test]
fn subtests_of_pytest_for_real() {
    if !full() {
        return;
    }
    let versions = [
        ("8", &["pytest==8.4.2", "pytest-subtests==0.15.0"][..]),
        (
            "8 with workers",
            &[
                "pytest==8.4.2",
                "pytest-subtests==0.15.0",
                "pytest-xdist==3.8.0",
            ],
        ),
        ("9", &["pytest==9.2.0"]),
        ("9 with workers", &["pytest==9.2.0", "pytest-xdist==3.8.0"]),
    ];
    let mut toml = String::new();
    for (version, packages) in versions {
        let place = folder(&format!("pytest {version}").replace(' ', "-"), |place| {
            done(Command::new("python3").args(["-m", "venv"]).arg(place));
            let mut pip = Command::new(place.join("bin/pip"));
            done(pip.args(["-q", "install"]).args(packages));
        });
        let python = place.join("bin/python");
        let workers = if version.contains("workers") {
            "-n 2"
        } else {
            ""
        };
        for (name, options) in [
            ("all", ""),
            ("good", "-k all_pass"),
            ("renamed", "-k all_pass -o junit_suite_name=halo"),
        ] {
            writeln!(
                toml,
                "[[test]]\nname = \"{name} {version}\"\nsuite = \"{name} {version}\"\n\
                 command = \"{} -m pytest -p no:cacheprovider {workers} {options} --junitxml=$HPC_CI_STEP_DIR/r.xml \
                 tests/data/reports/programs/test_subtests.py\"\n\
                 results = {{ format = \"junit\", path = \"r.xml\" }}",
                python.display()
            )
            .unwrap();
        }
    }
    let project = with_reports(&toml);
    let run = run(&project, &[]).exits_with(1).documents_are_valid();
    for (version, _) in versions {
        counts(&run, &format!("all {version}"), [4, 8, 1, 7, 0, 0, 3, 0]);
        for name in ["good", "renamed"] {
            counts(&run, &format!("{name} {version}"), [2, 0, 0, 0, 0, 0, 0, 0]);
            assert_eq!(run.outcome(&format!("{name} {version}")).0, "passed");
        }
        let step = run.step(&format!("all {version}"));
        assert_eq!(
            (&step["report"], &step["notes"]),
            (&json!("pytest"), &json!([]))
        );
    }
    junit_agrees(&run);
}

#[test]
fn a_test_that_fails_first_is_flaky_by_name() {
    let project = project(
        r#"
[[test]]
name = "again"
retries = 1
command = '''
echo 1..2; echo ok 1 - good
if [ $HPC_CI_ATTEMPT = 1 ]; then echo not ok 2 - shaky; exit 1; else echo ok 2 - shaky; fi
'''
"#,
    );
    let run = run(&project, &[]).exits_with(0);
    counts(&run, "tests", [2, 0, 0, 0, 0, 1, 0, 0]);
    let junit = run.text("artifacts/tests/junit.xml");
    let shaky = junit
        .split("<testcase ")
        .find(|case| case.contains("shaky"));
    assert!(shaky.unwrap().contains("<flakyFailure"), "{junit}");
}

#[test]
fn output_of_several_ranks_is_no_report() {
    let project = project(
        r#"
[[test]]
name = "torn"
ranks = 2
command = "echo 1..2; [ $HPC_CI_RANK = 1 ] || echo ok 1 - a"
[[test]]
name = "each"
ranks = 2
command = "printf '1..2\\nok 1 - a\\nok 2 - b\\n'"
[[test]]
name = "first"
ranks = 2
command = "[ $HPC_CI_RANK = 1 ] || printf '1..2\\nok 1 - a\\nok 2 - b\\n'"
"#,
    );
    let run = run(&project, &[]).exits_with(0);
    for step in ["torn", "each"] {
        assert_eq!(run.step(step)["report"], Value::Null, "{step}");
    }
    assert_eq!(run.step("first")["report"], "tap");
    counts(&run, "tests", [4, 0, 0, 0, 0, 0, 0, 0]);
}

/// Whether a tool answers. Without it there is nothing to try; `ci/test` installs them all.
fn there(tool: &str, arguments: &[&str]) -> bool {
    let output = Command::new(tool).args(arguments).output();
    let answers = output.is_ok_and(|output| output.status.success());
    let by_ci = std::env::var_os("HPC_CI_TEST_MARK").is_some();
    assert!(answers || !by_ci, "`{tool}` does not answer");
    answers
}

#[test]
fn cargo_and_nextest_for_real() {
    let nextest = there("cargo", &["nextest", "--version"]);
    let mut toml = r#"
[environment]
variables = { RUST_BACKTRACE = "0" }
[[test]]
name = "cargo"
suite = "cargo"
command = "cd tests/data/reports/programs/sample && cargo test --offline --no-fail-fast"
[[test]]
name = "quiet"
suite = "quiet"
command = "cd tests/data/reports/programs/sample && cargo test --offline --no-fail-fast --quiet"
serial = "cargo"
[[test]]
name = "json"
suite = "json"
command = "cd tests/data/reports/programs/sample && RUSTC_BOOTSTRAP=1 cargo test --offline --no-fail-fast -- -Z unstable-options --format json"
needs = []
serial = "cargo"
"#
    .to_owned();
    if nextest {
        toml.push_str(
            r#"
[[test]]
name = "nextest"
suite = "nextest"
command = "cd tests/data/reports/programs/sample && FLAKY=$HPC_CI_STEP_DIR cargo nextest run --offline --profile ci --features abort"
results = { format = "junit", path = "tests/data/reports/programs/sample/target/nextest/ci/junit.xml" }
"#,
        );
    }
    let project = with_reports(&toml);
    let run = run(&project, &[]).exits_with(1);
    counts(&run, "cargo", [4, 1, 0, 1, 0, 0, 0, 0]);
    counts(&run, "quiet", [4, 1, 0, 1, 0, 0, 0, 0]);
    counts(&run, "json", [4, 1, 0, 1, 0, 0, 0, 0]);
    if nextest {
        counts(&run, "nextest", [3, 2, 0, 0, 0, 1, 0, 0]);
        assert_eq!(run.step("nextest")["report"], "nextest");
    }
    junit_agrees(&run);
}

#[test]
fn perl_for_real() {
    if !there("perl", &["-MTest::More", "-e", "1"]) {
        return;
    }
    let project = with_reports(
        r#"
[[test]]
name = "more"
suite = "more"
command = "perl tests/data/reports/programs/perl.t"
[[test]]
name = "prove"
suite = "prove"
command = "prove -v tests/data/reports/programs/prove"
[[test]]
name = "killed"
suite = "killed"
command = "exec perl tests/data/reports/programs/perl-killed.t"
results = { format = "tap" }
"#,
    );
    let run = run(&project, &[]).exits_with(1);
    counts(&run, "more", [3, 2, 0, 2, 0, 0, 1, 1]);
    counts(&run, "prove", [4, 1, 0, 3, 0, 0, 1, 0]);
    counts(&run, "killed", [1, 0, 1, 0, 0, 0, 0, 0]);
    assert_eq!(run.outcome("killed").0, "signal");
    junit_agrees(&run);
}

#[test]
fn ctest_for_real() {
    if !there("ctest", &["--version"]) {
        return;
    }
    let project = with_reports(
        r#"
[[test]]
name = "ctest"
command = "cmake -S tests/data/reports/programs -B built && cd built && ctest --output-junit ../ctest.xml"
results = { format = "junit", path = "ctest.xml" }
"#,
    );
    let run = run(&project, &[]).exits_with(1);
    counts(&run, "tests", [2, 4, 1, 2, 1, 0, 0, 0]);
    assert_eq!(run.step("ctest")["report"], "ctest");
    junit_agrees(&run);
}

#[test]
fn googletest_and_catch2_for_real() {
    let header = |path: &str| Path::new("/usr/include").join(path).exists();
    if !header("gtest/gtest.h") || !header("catch2/catch.hpp") || !there("g++", &["--version"]) {
        return;
    }
    let project = with_reports(
        r#"
[build.tests]
command = '''
g++ -std=c++14 tests/data/reports/programs/googletest.cpp -o gtest -lgtest -lgtest_main -pthread
g++ -std=c++14 tests/data/reports/programs/catch2.cpp -o catch2
'''
[[test]]
name = "gtest"
suite = "gtest"
command = "./gtest --gtest_output=xml:gtest.xml"
results = { format = "junit", path = "gtest.xml" }
[[test]]
name = "suite set-up fails"
suite = "bad"
command = "BADSUITE=1 ./gtest --gtest_filter=Env.* --gtest_output=xml:bad.xml"
results = { format = "junit", path = "bad.xml" }
[[test]]
name = "filtered away"
suite = "none"
command = "./gtest --gtest_filter=Nothing --gtest_output=xml:none.xml"
results = { format = "junit", path = "none.xml" }
[[test]]
name = "catch2"
suite = "catch2"
command = "./catch2 -r junit -o catch2.xml"
results = { format = "junit", path = "catch2.xml" }
"#,
    );
    let run = run(&project, &[]).exits_with(1);
    counts(&run, "gtest", [4, 1, 0, 2, 0, 0, 0, 0]);
    counts(&run, "bad", [0, 1, 0, 1, 0, 0, 0, 0]);
    counts(&run, "none", [0, 0, 0, 0, 1, 0, 0, 0]);
    counts(&run, "catch2", [2, 1, 1, 2, 0, 0, 2, 0]);
    junit_agrees(&run);
}

#[test]
fn pytest_with_mpi4py_on_four_ranks_for_real() {
    if !there("/usr/bin/python3", &["-c", "import pytest, mpi4py"]) {
        return;
    }
    let project = with_reports(
        r#"
[[test]]
name = "lives"
suite = "lives"
ranks = 4
command = "/usr/bin/python3 -m pytest -p no:cacheprovider --junitxml=lives-$HPC_CI_RANK.xml tests/data/reports/programs/test_mpi.py"
results = { format = "junit", path = "lives-{rank}.xml" }
[[test]]
name = "dies"
suite = "dies"
ranks = 4
command = "exec env DIE=1 /usr/bin/python3 -m pytest -p no:cacheprovider --junitxml=dies-$HPC_CI_RANK.xml tests/data/reports/programs/test_mpi.py"
results = { format = "junit", path = "dies-{rank}.xml" }
"#,
    );
    let run = run(&project, &[]).exits_with(1);
    counts(&run, "lives", [6, 1, 1, 2, 0, 0, 1, 0]);
    let dies = run.step("dies");
    assert_eq!(dies["status"], "failed", "{dies:#}");
    let summary = run.json("artifacts/tests/summary.json");
    // The launcher kills the others at a time of its own: they may have written, rank 3 never has.
    let dies = summary["failing"].as_array().unwrap().iter();
    let mut dies = dies.filter(|it| it["step"] == "dies");
    let tells = |it: &Value| {
        let test = it["test"].as_str();
        test.is_none_or(|test| test.starts_with("(rank") && test.ends_with("3)"))
    };
    assert!(dies.any(tells), "{summary:#}");
    junit_agrees(&run);
}
