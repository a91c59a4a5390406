//! `tests/junit.xml`, in the one dialect that every reader takes.
//!
//! There is no standard, so this keeps to what the readers share: Jenkins' `junit-10.xsd` (xunit plugin) for elements and
//! attributes, and the parsers of Codecov, GitLab and junitparser for how they are read. Codecov's `test_results_parser`
//! takes a self-closing `<failure/>` or `<skipped/>` for a pass, refuses a missing or grouped `time`, and drops a
//! testcase with an attribute over 1000 bytes; so those elements always have text, times are plain, attributes are cut.
//! `quick-junit` writes `disabled`, which Jenkins' schema refuses, hence the few lines of XML here.
//!
//! A step that did not run is written as an error: readers show `skipped` as green, and nothing proved is not green.

use std::time::Duration;

use camino::Utf8Path;
use chrono::SecondsFormat;

use super::clean::{end_of_log, one_line, printable};
use super::record::{Outcome, Part, Status, path_from};
use super::reports::{CaseStatus, MergedCase};
use super::summary::{seconds, steps_of};
use super::units::{self, Unit};
use super::{FinishedRun, StepResult};

/// Codecov drops a testcase with a longer attribute.
const ATTRIBUTE_BYTES: usize = 1000;

/// Lines of the log that come with a step that did not pass.
const TAIL_LINES: usize = 50;

/// Returns the tests of a run as `JUnit` XML.
#[must_use]
pub fn write(run: &FinishedRun) -> String {
    let mut suites = Vec::<(&str, Vec<&StepResult>)>::new();
    for step in steps_of(run, Part::Tests) {
        match suites.iter_mut().find(|(name, _)| *name == step.suite) {
            Some((_, steps)) => steps.push(step),
            None => suites.push((&step.suite, vec![step])),
        }
    }
    let all = suites
        .iter()
        .flat_map(|(_, steps)| steps.iter().copied())
        .collect::<Vec<_>>();
    let mut xml = Xml::new();
    let counts = Counts::of(&all);
    xml.open(
        "testsuites",
        &[
            ("name", &run.project),
            ("tests", &counts.tests),
            ("failures", &counts.failures),
            ("errors", &counts.errors),
            ("time", &counts.time),
        ],
    );
    for (name, steps) in &suites {
        suite(&mut xml, run, name, steps);
    }
    xml.close("testsuites");
    xml.text
}

fn suite(xml: &mut Xml, run: &FinishedRun, name: &str, steps: &[&StepResult]) {
    let counts = Counts::of(steps);
    let timestamp = run.started_at.to_rfc3339_opts(SecondsFormat::Secs, true);
    xml.open(
        "testsuite",
        &[
            ("name", name),
            ("tests", &counts.tests),
            ("failures", &counts.failures),
            ("errors", &counts.errors),
            ("skipped", &counts.skipped),
            ("time", &counts.time),
            ("timestamp", &timestamp),
            ("hostname", run.hpc.node.as_deref().unwrap_or("unknown")),
        ],
    );
    xml.open("properties", &[]);
    let cluster = run.hpc.cluster.as_deref();
    for (name, value) in [
        ("run", Some(run.run.as_str())),
        ("commit", Some(run.commit.as_str())),
        ("branch", run.branch.as_deref()),
        ("cluster", cluster),
    ] {
        if let Some(value) = value {
            xml.empty("property", &[("name", name), ("value", value)]);
        }
    }
    xml.close("properties");
    for step in steps {
        for unit in units::units(step) {
            match unit.test {
                Some(test) => inner_case(xml, step, &unit, test),
                None => case(xml, step),
            }
        }
    }
    xml.close("testsuite");
}

fn case(xml: &mut Xml, step: &StepResult) {
    let time = plain_seconds(step.elapsed.unwrap_or_default());
    xml.open(
        "testcase",
        &[
            ("name", &step.name),
            ("classname", &step.suite),
            ("time", &time),
        ],
    );
    let reason = step.reason();
    let kind = step.outcome.as_str();
    let attributes = [("message", reason.as_str()), ("type", kind)];
    match step.status() {
        Status::Passed => {}
        Status::Failed => xml.element("failure", &attributes, &evidence(step, &reason)),
        Status::Error | Status::NotRun => {
            xml.element("error", &attributes, &evidence(step, &reason));
        }
        Status::Skipped => xml.element("skipped", &attributes, &reason),
    }
    for attempt in &step.earlier {
        let passed = step.status() == Status::Passed;
        let name = match (passed, attempt.outcome.status()) {
            (true, Status::Failed) => "flakyFailure",
            (true, _) => "flakyError",
            (false, Status::Failed) => "rerunFailure",
            (false, _) => "rerunError",
        };
        let message = one_line(&attempt.message);
        let attributes = [
            ("message", message.as_str()),
            ("type", attempt.outcome.as_str()),
        ];
        xml.element(name, &attributes, &message);
    }
    xml.element("system-out", &[], &facts(step));
    xml.close("testcase");
}

/// A test inside a step stands under the step's name as its class.
fn inner_case(xml: &mut Xml, step: &StepResult, unit: &Unit<'_>, test: &MergedCase) {
    let case = &test.case;
    let time = format!("{:.3}", case.seconds.unwrap_or_default());
    xml.open(
        "testcase",
        &[
            ("name", &case.name),
            ("classname", &step.name),
            ("time", &time),
        ],
    );
    let reason = unit.reason(step);
    let attributes = [("message", reason.as_str()), ("type", unit.status.as_str())];
    let evidence = if case.detail.is_empty() {
        &reason
    } else {
        &case.detail
    };
    let ranks = units::ranks(test);
    match unit.meaning() {
        Status::Passed if unit.status == CaseStatus::Flaky => {
            xml.element("flakyFailure", &attributes, evidence);
        }
        Status::Passed => {}
        Status::Failed => xml.element("failure", &attributes, evidence),
        Status::Error | Status::NotRun => xml.element("error", &attributes, evidence),
        Status::Skipped => xml.element("skipped", &attributes, &reason),
    }
    if unit.status != CaseStatus::Passed || !ranks.is_empty() {
        xml.element("system-out", &[], &inner_facts(step, unit, &ranks));
    }
    xml.close("testcase");
}

fn inner_facts(step: &StepResult, unit: &Unit<'_>, ranks: &str) -> String {
    let mut lines = vec![format!("outcome: {}", unit.status)];
    lines.extend((!ranks.is_empty()).then(|| format!("by rank: {ranks}")));
    lines.extend(log_of(step).map(|log| format!("log: {}", one_line(&log))));
    let again = step.reproduce.as_deref();
    lines.extend(again.map(|line| format!("reproduce: {}", one_line(line))));
    lines.join("\n")
}

fn log_of(step: &StepResult) -> Option<String> {
    let folder = Utf8Path::new("artifacts/tests");
    let log = step.log.as_deref()?;
    Some(path_from(folder, log).into_string())
}

/// What a reader of the failure needs to see first: the reason, then the end of the log.
fn evidence(step: &StepResult, reason: &str) -> String {
    let tail = end_of_log(&step.log_tail, TAIL_LINES);
    std::iter::once(reason.to_owned())
        .chain(tail)
        .collect::<Vec<_>>()
        .join("\n")
}

/// Jenkins' schema allows a testcase no properties, so they are lines of its output.
fn facts(step: &StepResult) -> String {
    let mut lines = vec![format!("outcome: {}", step.outcome)];
    let mut fact = |name: &str, value: Option<String>| {
        lines.extend(value.map(|value| format!("{name}: {}", one_line(&value))));
    };
    let ran = !matches!(step.outcome, Outcome::NotRun | Outcome::Skipped);
    fact("ranks", Some(step.ranks.to_string()));
    fact("attempts", ran.then(|| step.attempts().to_string()));
    fact("flaky", step.is_flaky().then(|| "true".to_owned()));
    fact("exit code", step.exit_code.map(|code| code.to_string()));
    fact("signal", step.signal.map(|signal| signal.to_string()));
    fact("job", step.job_id.clone());
    fact(
        "nodes",
        (!step.nodes.is_empty()).then(|| step.nodes.join(",")),
    );
    fact("slurm state", step.slurm_state.clone());
    fact(
        "max rss",
        step.max_rss_bytes.map(|bytes| format!("{bytes} bytes")),
    );
    fact("log", log_of(step));
    fact("reproduce", step.reproduce.clone());
    lines.join("\n")
}

struct Counts {
    tests: String,
    failures: String,
    errors: String,
    skipped: String,
    time: String,
}

impl Counts {
    fn of(steps: &[&StepResult]) -> Self {
        let ends = steps
            .iter()
            .flat_map(|step| units::units(step))
            .map(|unit| unit.meaning())
            .collect::<Vec<_>>();
        let count = |wanted: &[Status]| {
            let counted = ends.iter().filter(|end| wanted.contains(end));
            counted.count().to_string()
        };
        Self {
            tests: ends.len().to_string(),
            failures: count(&[Status::Failed]),
            errors: count(&[Status::Error, Status::NotRun]),
            skipped: count(&[Status::Skipped]),
            time: plain_seconds(steps.iter().filter_map(|step| step.elapsed).sum()),
        }
    }
}

fn plain_seconds(duration: Duration) -> String {
    format!("{:.3}", seconds(duration))
}

/// XML as text.
struct Xml {
    text: String,
    depth: usize,
}

impl Xml {
    fn new() -> Self {
        Self {
            text: "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".to_owned(),
            depth: 0,
        }
    }

    fn open(&mut self, name: &str, attributes: &[(&str, &str)]) {
        self.indent();
        self.tag(name, attributes);
        self.text.push('\n');
        self.depth += 1;
    }

    fn close(&mut self, name: &str) {
        self.depth -= 1;
        self.indent();
        self.text.extend(["</", name, ">\n"]);
    }

    /// Writes an element without content, which is only for those that no reader looks into.
    fn empty(&mut self, name: &str, attributes: &[(&str, &str)]) {
        self.indent();
        self.tag(name, attributes);
        self.text.pop();
        self.text.push_str("/>\n");
    }

    /// Writes an element with text. Text that shows nothing would read as an empty element, so it gets a dash.
    fn element(&mut self, name: &str, attributes: &[(&str, &str)], text: &str) {
        self.indent();
        self.tag(name, attributes);
        let text = printable(text);
        let text = if text.trim().is_empty() { "-" } else { &text };
        self.text.extend(text.chars().map(Escaped::of));
        self.text.extend(["</", name, ">\n"]);
    }

    fn tag(&mut self, name: &str, attributes: &[(&str, &str)]) {
        self.text.extend(["<", name]);
        for (key, value) in attributes {
            self.text.extend([" ", key, "=\"", &attribute(value), "\""]);
        }
        self.text.push('>');
    }

    fn indent(&mut self) {
        self.text.extend(std::iter::repeat_n("  ", self.depth));
    }
}

/// Returns a value as it stands between quotes: one line, and cut so that it is short enough however it is counted.
fn attribute(value: &str) -> String {
    const DOTS: &str = "...";
    let mut escaped = String::new();
    let line = one_line(value);
    for (index, c) in line.char_indices() {
        let piece = Escaped::of(c);
        let rest_fits = || attribute_length(&line[index..]) <= ATTRIBUTE_BYTES - escaped.len();
        if escaped.len() + piece.len() > ATTRIBUTE_BYTES - DOTS.len() && !rest_fits() {
            escaped.push_str(DOTS);
            break;
        }
        escaped.extend([piece]);
    }
    escaped
}

fn attribute_length(value: &str) -> usize {
    value.chars().map(|c| Escaped::of(c).len()).sum()
}

/// A character, or what stands for it.
enum Escaped {
    Plain(char),
    Entity(&'static str),
}

impl Escaped {
    fn of(c: char) -> Self {
        match c {
            '&' => Self::Entity("&amp;"),
            '<' => Self::Entity("&lt;"),
            '>' => Self::Entity("&gt;"),
            '"' => Self::Entity("&quot;"),
            c => Self::Plain(c),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Plain(c) => c.len_utf8(),
            Self::Entity(entity) => entity.len(),
        }
    }
}

impl Extend<Escaped> for String {
    fn extend<T: IntoIterator<Item = Escaped>>(&mut self, pieces: T) {
        for piece in pieces {
            match piece {
                Escaped::Plain(c) => self.push(c),
                Escaped::Entity(entity) => self.push_str(entity),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::finished::example;
    use super::*;

    #[test]
    fn every_outcome_has_its_element() {
        insta::assert_snapshot!(write(&example::run()), @r#"
        <?xml version="1.0" encoding="UTF-8"?>
        <testsuites name="heat" tests="7" failures="2" errors="2" time="311.250">
          <testsuite name="unit" tests="1" failures="0" errors="0" skipped="0" time="2.250" timestamp="2026-11-20T10:15:00Z" hostname="login1">
            <properties>
              <property name="run" value="20261120-101500-1a2b3c4"/>
              <property name="commit" value="1a2b3c4d5e6f708192a3b4c5d6e7f80910213243"/>
              <property name="branch" value="main"/>
              <property name="cluster" value="alps"/>
            </properties>
            <testcase name="unit" classname="unit" time="2.250">
              <system-out>outcome: passed
        ranks: 4
        attempts: 1
        exit code: 0
        job: 71
        nodes: n1,n2
        slurm state: COMPLETED
        max rss: 41943040 bytes
        log: ../../runs/r7/logs/unit.log
        reproduce: hpc-ci run --filter 'name(unit)'</system-out>
            </testcase>
          </testsuite>
          <testsuite name="integration" tests="3" failures="2" errors="0" skipped="0" time="304.500" timestamp="2026-11-20T10:15:00Z" hostname="login1">
            <properties>
              <property name="run" value="20261120-101500-1a2b3c4"/>
              <property name="commit" value="1a2b3c4d5e6f708192a3b4c5d6e7f80910213243"/>
              <property name="branch" value="main"/>
              <property name="cluster" value="alps"/>
            </properties>
            <testcase name="exchange" classname="integration" time="2.250">
              <flakyFailure message="exit code 1" type="failed">exit code 1</flakyFailure>
              <system-out>outcome: passed
        ranks: 4
        attempts: 2
        flaky: true
        exit code: 0
        job: 71
        nodes: n1,n2
        slurm state: COMPLETED
        max rss: 41943040 bytes
        log: ../../runs/r7/logs/exchange.log
        reproduce: hpc-ci run --filter 'name(exchange)'</system-out>
            </testcase>
            <testcase name="halo[ranks=4]" classname="integration" time="2.250">
              <failure message="ended by SIGSEGV" type="signal">ended by SIGSEGV
        rank 3: step 10
        rank 3: Segmentation fault (a &lt; b &amp;&amp; c &gt; d)</failure>
              <system-out>outcome: signal
        ranks: 4
        attempts: 1
        signal: 11
        job: 71
        nodes: n1,n2
        slurm state: FAILED
        max rss: 41943040 bytes
        log: ../../runs/r7/logs/halo[ranks=4].log
        reproduce: hpc-ci run --filter 'name(halo[ranks=4])'</system-out>
            </testcase>
            <testcase name="long" classname="integration" time="300.000">
              <failure message="did not end within its time" type="timeout">did not end within its time</failure>
              <system-out>outcome: timeout
        ranks: 4
        attempts: 1
        job: 71
        nodes: n1,n2
        slurm state: COMPLETED
        max rss: 41943040 bytes
        log: ../../runs/r7/logs/long.log
        reproduce: hpc-ci run --filter 'name(long)'</system-out>
            </testcase>
          </testsuite>
          <testsuite name="scale" tests="3" failures="0" errors="2" skipped="1" time="4.500" timestamp="2026-11-20T10:15:00Z" hostname="login1">
            <properties>
              <property name="run" value="20261120-101500-1a2b3c4"/>
              <property name="commit" value="1a2b3c4d5e6f708192a3b4c5d6e7f80910213243"/>
              <property name="branch" value="main"/>
              <property name="cluster" value="alps"/>
            </properties>
            <testcase name="wide" classname="scale" time="0.000">
              <error message="sbatch: error: More processors requested than permitted" type="rejected">sbatch: error: More processors requested than permitted</error>
              <system-out>outcome: rejected
        ranks: 4
        attempts: 1
        reproduce: hpc-ci run --filter 'name(wide)'</system-out>
            </testcase>
            <testcase name="after" classname="scale" time="2.250">
              <error message="did not run" type="not_run">did not run</error>
              <system-out>outcome: not_run
        ranks: 4
        job: 71
        nodes: n1,n2
        slurm state: COMPLETED
        max rss: 41943040 bytes
        log: ../../runs/r7/logs/after.log
        reproduce: hpc-ci run --filter 'name(after)'</system-out>
            </testcase>
            <testcase name="gpu" classname="scale" time="2.250">
              <skipped message="skipped here" type="skipped">skipped here</skipped>
              <system-out>outcome: skipped
        ranks: 4
        job: 71
        nodes: n1,n2
        slurm state: COMPLETED
        max rss: 41943040 bytes
        log: ../../runs/r7/logs/gpu.log
        reproduce: hpc-ci run --filter 'name(gpu)'</system-out>
            </testcase>
          </testsuite>
        </testsuites>
        "#);
    }

    #[test]
    fn hostile_text_stays_text() {
        let mut run = example::run();
        run.steps.truncate(1);
        let step = &mut run.steps[0];
        step.outcome = Outcome::Failed;
        step.name = "a\"<b>&\u{0}\n'c".to_owned();
        step.message = Some("]]> </failure>\u{fffe}".to_owned());
        step.log_tail = "x\u{1b}[31m]]>\0\ny < z".to_owned();
        step.log = None;
        let xml = write(&run);
        let case = xml
            .lines()
            .skip_while(|line| !line.contains("<testcase"))
            .take(3);
        insta::assert_snapshot!(case.collect::<Vec<_>>().join("\n"), @r#"
            <testcase name="a&quot;&lt;b&gt;&amp; 'c" classname="unit" time="2.250">
              <failure message="]]&gt; &lt;/failure&gt;" type="failed">]]&gt; &lt;/failure&gt;
        x]]&gt;
        "#);
    }

    #[test]
    fn attributes_are_cut_and_text_is_never_empty() {
        assert_eq!(attribute(&"x".repeat(1000)).len(), 1000);
        let cut = attribute(&"x".repeat(1001));
        assert_eq!((cut.len(), cut.ends_with("x...")), (1000, true));
        let cut = attribute(&"<".repeat(400));
        assert!(cut.len() <= 1000 && cut.ends_with("&lt;..."));
        let cut = attribute(&"ß".repeat(600));
        assert!(cut.len() <= 1000 && cut.ends_with("ß..."));
        let mut xml = Xml::new();
        xml.element("failure", &[], "\u{7}\n");
        assert!(xml.text.ends_with("<failure>-</failure>\n"));
    }
}
