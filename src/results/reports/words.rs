//! The words that writers of `JUnit` have for how a test ended: names of elements, values of attributes, names of totals.
//!
//! Capitals, spaces, hyphens and underscores make no difference: `Timed out`, `timed-out` and `TIMED_OUT` are one word. What is
//! not listed here is not known, and nobody may take it for a pass.

use super::CaseStatus;

/// What a word says of a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    /// That it ended, or nothing at all.
    Nothing,
    /// How it ended.
    Ended(CaseStatus),
}

/// Returns a word without what makes no difference.
pub(super) fn plain(text: &str) -> String {
    let letters = text.chars().filter(|c| c.is_alphanumeric());
    letters.flat_map(char::to_lowercase).collect()
}

/// Returns what a word says; none if it is not known.
pub(super) fn word(text: &str) -> Option<Word> {
    let status = match plain(text).as_str() {
        "" | "run" | "ran" | "complete" | "completed" | "executed" | "done" | "finished"
        | "ended" | "enabled" | "active" => return Some(Word::Nothing),
        "pass" | "passed" | "passing" | "ok" | "okay" | "success" | "successful" | "succeeded"
        | "succeed" | "good" | "green" | "fixed" | "true" | "yes" | "warn" | "warning"
        | "warnings" | "risky" | "snapshot" | "bpass" => CaseStatus::Passed,
        "fail" | "failed" | "fails" | "failing" | "failure" | "failures" | "ko" | "notok"
        | "nok" | "notpassed" | "bad" | "red" | "false" | "no" | "wrong" | "unsuccessful"
        | "regression" | "assertionfailed" => CaseStatus::Failed,
        "error" | "errors" | "errored" | "exception" | "fatal" | "broken" | "invalid"
        | "internalerror" | "systemerror" | "setuperror" | "teardownerror" => CaseStatus::Errored,
        "timeout" | "timeouts" | "timedout" | "tle" | "hang" | "hung" | "deadlock"
        | "timelimitexceeded" => CaseStatus::TimedOut,
        "crash" | "crashed" | "crashes" | "abort" | "aborted" | "signal" | "signalled"
        | "signaled" | "segfault" | "segmentationfault" | "sigsegv" | "sigabrt" | "killed"
        | "died" | "dead" | "coredump" | "panic" | "panicked" | "terminated" => CaseStatus::Crashed,
        "skip" | "skipped" | "skipping" | "disabled" | "ignored" | "ignore" | "pending"
        | "suppressed" | "excluded" | "deselected" | "filtered" | "todo" | "inactive"
        | "unsupported" | "untested" | "incomplete" | "notapplicable" | "na" | "waived" => {
            CaseStatus::Skipped
        }
        "notrun" | "notexecuted" | "unexecuted" | "notstarted" | "blocked" | "cancelled"
        | "canceled" | "interrupted" | "stopped" => CaseStatus::NotRun,
        "unknown" | "undefined" | "none" | "null" | "lost" | "inconclusive" | "unresolved"
        | "indeterminate" | "running" | "started" | "inprogress" => CaseStatus::Lost,
        "xfail" | "xfailed" | "expectedfailure" | "expectedfail" | "knownfailure" | "knownfail"
        | "knownissue" | "kfail" | "bfail" | "bxfail" => CaseStatus::Xfailed,
        "xpass" | "xpassed" | "unexpectedsuccess" | "unexpectedpass" | "kpass" | "bxpass" => {
            CaseStatus::Xpassed
        }
        "flaky" | "flake" | "flakyfailure" | "flakyerror" => CaseStatus::Flaky,
        _ => return None,
    };
    Some(Word::Ended(status))
}

/// What an element of a test is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Child {
    /// It says nothing of how the test ended.
    Harmless,
    /// Its name says how.
    Mark(CaseStatus),
    /// Its text does, or its `value`.
    Says,
    /// Nobody knows.
    Unknown,
}

/// Returns what an element of that name is.
pub(super) fn child(name: &str) -> Child {
    let name = plain(name);
    if is_verdict(&name) {
        return Child::Says;
    }
    let harmless = matches!(
        name.as_str(),
        "properties"
            | "property"
            | "systemout"
            | "systemerr"
            | "stdout"
            | "stderr"
            | "output"
            | "out"
            | "err"
            | "log"
            | "logs"
            | "rerunfailure"
            | "rerunerror"
            | "attachment"
            | "attachments"
            | "screenshot"
            | "screenshots"
            | "measurement"
            | "measurements"
            | "namedmeasurement"
            | "metadata"
            | "meta"
            | "tag"
            | "tags"
            | "label"
            | "labels"
            | "category"
            | "categories"
            | "trait"
            | "traits"
            | "description"
            | "comment"
            | "comments"
            | "note"
            | "notes"
            | "details"
            | "step"
            | "steps"
            | "param"
            | "params"
            | "parameter"
            | "parameters"
            | "argument"
            | "arguments"
            | "link"
            | "links"
            | "issue"
            | "issues"
            | "requirement"
            | "requirements"
            | "duration"
            | "time"
            | "timestamp"
            | "file"
            | "location"
            | "source"
            | "owner"
            | "environment"
            | "statistics"
            | "benchmark"
            | "coverage"
            | "data"
            | "name"
            | "classname"
            | "testcase"
    );
    match word(&name) {
        _ if harmless => Child::Harmless,
        _ if is_answer(&name) => Child::Unknown,
        Some(Word::Ended(status)) => Child::Mark(status),
        Some(Word::Nothing) => Child::Harmless,
        None => Child::Unknown,
    }
}

/// What an attribute of a test or a suite is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attribute {
    /// Its value is a word for how the test ended.
    Verdict,
    /// Its value says whether it is true of the test, or how often: `failed="1"`, `success="false"`.
    Is(CaseStatus),
    /// How many tests there are.
    Tests,
    /// Whether, or how often, the test was carried out.
    Executed,
    /// It describes.
    Other,
    /// Nobody knows.
    Unknown,
}

/// Returns what an attribute of that name is.
pub(super) fn attribute(name: &str) -> Attribute {
    let name = plain(name);
    if is_verdict(&name) {
        return Attribute::Verdict;
    }
    let described = matches!(
        name.as_str(),
        "name"
            | "classname"
            | "class"
            | "testclass"
            | "file"
            | "filename"
            | "filepath"
            | "path"
            | "line"
            | "lineno"
            | "column"
            | "time"
            | "timestamp"
            | "start"
            | "starttime"
            | "end"
            | "endtime"
            | "duration"
            | "timeout"
            | "id"
            | "uuid"
            | "hostname"
            | "host"
            | "package"
            | "module"
            | "group"
            | "suite"
            | "feature"
            | "method"
            | "function"
            | "type"
            | "kind"
            | "category"
            | "categories"
            | "tag"
            | "tags"
            | "label"
            | "labels"
            | "owner"
            | "author"
            | "priority"
            | "severity"
            | "level"
            | "description"
            | "comment"
            | "message"
            | "url"
            | "value"
            | "valueparam"
            | "typeparam"
            | "params"
            | "assertions"
            | "asserts"
            | "seed"
            | "rank"
            | "pid"
            | "thread"
            | "attempt"
            | "retries"
            | "reruns"
            | "repetition"
            | "expected"
            | "expectation"
            | "xmlns"
    );
    if described {
        return Attribute::Other;
    }
    let tests = matches!(
        name.as_str(),
        "test" | "tests" | "testcases" | "total" | "count" | "size"
    );
    if tests {
        return Attribute::Tests;
    }
    match counted(&name) {
        "" => Attribute::Tests,
        "run" | "ran" | "executed" => Attribute::Executed,
        name if is_answer(name) => Attribute::Unknown,
        name => match word(name) {
            // What is expected of a test is not how it ended.
            Some(Word::Ended(CaseStatus::Xfailed | CaseStatus::Xpassed)) => Attribute::Other,
            Some(Word::Ended(status)) if status != CaseStatus::Lost => Attribute::Is(status),
            _ => Attribute::Unknown,
        },
    }
}

/// Words that answer a question and mean nothing without it: `no="3"` counts.
fn is_answer(word: &str) -> bool {
    matches!(
        word,
        "true" | "false" | "yes" | "no" | "red" | "green" | "good" | "bad" | "na" | "none" | "null"
    )
}

/// Returns `failed` of `numberoffailedtests`.
fn counted(name: &str) -> &str {
    let mut name = name;
    for before in [
        "numberof", "number", "num", "total", "count", "is", "has", "tests", "test",
    ] {
        name = name.strip_prefix(before).unwrap_or(name);
    }
    for behind in ["count", "testcases", "cases", "tests"] {
        name = name.strip_suffix(behind).unwrap_or(name);
    }
    name
}

/// Whether something of that name holds a word for how a test ended.
fn is_verdict(name: &str) -> bool {
    matches!(
        name,
        "status" | "result" | "outcome" | "state" | "verdict" | "conclusion" | "disposition"
    ) || matches!(name, "teststatus" | "testresult" | "testoutcome")
}

/// What the value of a total says, or of what is true or false.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Amount {
    /// Nothing.
    Nothing,
    /// A number. What is true is 1.
    Number(u64),
    /// Something else.
    Other,
}

/// Reads `3`, `3.0`, `1,000`, `true`, `no`.
pub(super) fn amount(text: &str) -> Amount {
    let text = text.trim();
    match plain(text).as_str() {
        "" if text.is_empty() => return Amount::Nothing,
        "true" | "yes" => return Amount::Number(1),
        "false" | "no" => return Amount::Number(0),
        _ => {}
    }
    let digits = text.replace([',', '_', '\u{a0}'], "");
    let digits = match digits.split_once('.') {
        Some((whole, rest)) if rest.bytes().all(|digit| digit == b'0') => whole,
        _ => &digits,
    };
    digits.parse().map_or(Amount::Other, Amount::Number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_totals_in_all_their_forms() {
        for name in [
            "failures",
            "failed",
            "Failed",
            "num_failures",
            "numFailedTests",
            "failed-count",
            "totalFailed",
            "failedCases",
            "numberOfFailedTests",
        ] {
            assert_eq!(attribute(name), Attribute::Is(CaseStatus::Failed), "{name}");
        }
        for name in [
            "tests",
            "total",
            "numTests",
            "test_count",
            "totalTests",
            "numberOfTests",
            "testcases",
        ] {
            assert_eq!(attribute(name), Attribute::Tests, "{name}");
        }
        assert_eq!(attribute("successful"), Attribute::Is(CaseStatus::Passed));
        assert_eq!(attribute("isDisabled"), Attribute::Is(CaseStatus::Skipped));
        assert_eq!(attribute("testResult"), Attribute::Verdict);
        assert_eq!(attribute("executed"), Attribute::Executed);
        assert_eq!(attribute("wobbly"), Attribute::Unknown);
        assert_eq!(attribute("class-name"), Attribute::Other);
    }

    #[test]
    fn amounts_are_whole_numbers() {
        for (text, expected) in [
            ("3", Amount::Number(3)),
            (" 3 ", Amount::Number(3)),
            ("3.0", Amount::Number(3)),
            ("1,000", Amount::Number(1000)),
            ("true", Amount::Number(1)),
            ("No", Amount::Number(0)),
            ("", Amount::Nothing),
            ("-1", Amount::Other),
            ("1.5", Amount::Other),
            ("one", Amount::Other),
            ("-", Amount::Other),
        ] {
            assert_eq!(amount(text), expected, "{text}");
        }
    }
}
