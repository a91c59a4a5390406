//! The comment at a pull request: a table with a row for each part, what failed or got worse, and how to run it again. Pure.
//!
//! One comment serves all runs of a pull request. Hidden marks tell its parts apart, so that a run of the benchmarks alone
//! leaves the row of the tests as it is, as long as both are of one commit.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use chrono::{DateTime, SecondsFormat, Utc};

use super::made_at;
use crate::clean;
use crate::publish::item::Destination;
use crate::publish::material::Material;
use crate::publish::place::percent_encoded;
use crate::publish::status::{State, counts, cut, figures, state};
use crate::results::record::{BenchmarkRecord, Better, Part, StepRecord};
use crate::results::summary;

/// Failing steps and figures that got worse that are shown of each part.
const SHOWN: usize = 10;
/// The longest text in a cell.
const LONGEST_CELL: usize = 160;
/// The longest detail of a part; GitHub takes 65,536 characters in all.
const LONGEST_DETAIL: usize = 15_000;

/// What a run has to say.
#[derive(Debug, Clone)]
pub struct News {
    marker: String,
    commit: String,
    at: Option<DateTime<Utc>>,
    parts: BTreeMap<Part, Section>,
}

/// What is said of a part.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Section {
    row: String,
    detail: String,
}

/// Returns the hidden first line of our comments; those under another context are other comments.
#[must_use]
pub fn marker(context: Option<&str>) -> String {
    format!(
        "<!-- hpc-ci:results {} -->",
        percent_encoded(context.unwrap_or("hpc"))
    )
}

impl News {
    /// Returns what a run has to say of a commit.
    #[must_use]
    pub fn of(material: &Material, commit: &str, marker: &str) -> Self {
        let parts = Part::ALL
            .into_iter()
            .filter(|part| material.owner(*part).is_some())
            .filter(|part| Destination::GithubComment.takes(material.marks(*part)))
            .filter_map(|part| Some((part, section(material, part)?)))
            .collect();
        Self {
            marker: marker.to_owned(),
            commit: commit.to_owned(),
            at: made_at(material),
            parts,
        }
    }

    /// Returns whether there is nothing to say.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Returns the text of the comment, given the one that is there; `None` if that one is newer.
    #[must_use]
    pub fn body(&self, old: Option<&str>) -> Option<String> {
        let mut parts = BTreeMap::new();
        if let Some(old) = old {
            if mark(old, "commit") == Some(&self.commit) {
                parts = sections(old);
            } else if mark(old, "at")
                .and_then(|at| at.parse::<DateTime<Utc>>().ok())
                .zip(self.at)
                .is_some_and(|(theirs, ours)| theirs > ours)
            {
                return None;
            }
        }
        parts.extend(self.parts.clone());
        Some(self.text(&parts))
    }

    fn text(&self, parts: &BTreeMap<Part, Section>) -> String {
        let at = self
            .at
            .map(|at| at.to_rfc3339_opts(SecondsFormat::Secs, true));
        let mut text = format!(
            "{}\n<!-- hpc-ci:commit {} -->\n<!-- hpc-ci:at {} -->\n### HPC results of {:.10}\n\n| | | |\n|---|---|---|\n",
            self.marker,
            self.commit,
            at.unwrap_or_default(),
            self.commit,
        );
        for section in parts.values() {
            text.push_str(&section.row);
            text.push('\n');
        }
        for (part, section) in parts {
            let name = part.folder();
            write!(
                text,
                "\n<!-- hpc-ci:part {name} -->\n{}<!-- hpc-ci:end {name} -->\n",
                section.detail
            )
            .expect("a String takes any text");
        }
        text
    }
}

/// The value of a hidden mark.
fn mark<'a>(body: &'a str, name: &str) -> Option<&'a str> {
    let start = format!("<!-- hpc-ci:{name} ");
    body.lines()
        .find_map(|line| line.strip_prefix(&start)?.strip_suffix(" -->"))
}

/// Takes a comment apart again.
fn sections(body: &str) -> BTreeMap<Part, Section> {
    let body = body.replace("\r\n", "\n");
    let found = Part::ALL.into_iter().filter_map(|part| {
        let name = part.folder();
        let row = body
            .lines()
            .find(|line| line.starts_with(&format!("| {name} | ")))?;
        let (_, rest) = body.split_once(&format!("<!-- hpc-ci:part {name} -->\n"))?;
        let (detail, _) = rest.split_once(&format!("<!-- hpc-ci:end {name} -->"))?;
        let section = Section {
            row: row.to_owned(),
            detail: detail.to_owned(),
        };
        Some((part, section))
    });
    found.collect()
}

fn section(material: &Material, part: Part) -> Option<Section> {
    let (state, text, detail) = match part {
        Part::Tests => tests(material)?,
        Part::Benchmarks => benchmarks(material)?,
        Part::Coverage => coverage(material),
    };
    let word = match state {
        State::Success => "passed",
        State::Failure => "**failed**",
        State::Error => "**error**",
    };
    let detail = if detail.len() > LONGEST_DETAIL {
        "Too much to show here.\n".to_owned()
    } else {
        detail
    };
    Some(Section {
        row: format!("| {} | {word} | {} |", part.folder(), plain(&text)),
        detail,
    })
}

fn tests(material: &Material) -> Option<(State, String, String)> {
    let summary = material.tests.as_ref()?;
    let state = state(summary.status)?;
    let text = counts(summary::total(&summary.suites));
    let mut detail = String::new();
    if !summary.failing.is_empty() {
        detail.push_str("\n| step | outcome | |\n|---|---|---|\n");
    }
    for failing in summary.failing.iter().take(SHOWN) {
        let outcome = failing.outcome.to_string();
        let message = code(&failing.message);
        row(
            &mut detail,
            &[code(&failing.step), plain(&outcome), message],
        );
    }
    more(&mut detail, summary.failing.len());
    for missing in summary.missing.iter().take(SHOWN) {
        writeln!(detail, "\nMissing: {}", code(missing)).expect("a String takes any text");
    }
    detail.push_str(&again(&summary.steps));
    Some((state, text, detail))
}

fn benchmarks(material: &Material) -> Option<(State, String, String)> {
    let summary = material.benchmarks.as_ref()?;
    let state = state(summary.status?)?;
    let mut worse: Vec<(&String, &BenchmarkRecord, f64)> = summary
        .benchmarks
        .iter()
        .filter_map(|(name, it)| Some((name, it, worsening(it)?)))
        .filter(|(.., by)| *by > 0.0)
        .collect();
    worse.sort_by(|a, b| b.2.total_cmp(&a.2));
    let regressed = summary.benchmarks.values().filter(|it| it.regressed);
    let text = format!(
        "{}, {} regressed{}",
        figures(summary.benchmarks.len()),
        regressed.count(),
        summary
            .worst_regression_pct
            .map_or(String::new(), |worst| format!(
                ", worst change {worst:+.1}%"
            )),
    );
    let mut detail = String::new();
    if !worse.is_empty() {
        detail.push_str("\n| got worse | by | baseline | now |\n|---|---|---|---|\n");
    }
    for (name, it, by) in worse.iter().take(SHOWN) {
        let value = |value: Option<f64>| {
            value.map_or(String::new(), |value| {
                plain(&format!("{value} {}", it.unit))
            })
        };
        let by = if it.regressed {
            format!("**{by:.1}%**")
        } else {
            format!("{by:.1}%")
        };
        let baseline = it.baseline.as_ref().map(|it| it.median);
        row(
            &mut detail,
            &[code(name), by, value(baseline), value(it.median)],
        );
    }
    more(&mut detail, worse.len());
    detail.push_str(&again(&summary.steps));
    Some((state, text, detail))
}

/// The change in the bad direction.
fn worsening(it: &BenchmarkRecord) -> Option<f64> {
    let change = it.delta_vs_baseline_pct?;
    Some(match it.better {
        Better::Lower => change,
        Better::Higher => -change,
    })
}

fn coverage(material: &Material) -> (State, String, String) {
    let Some(figures) = &material.results.coverage else {
        return (State::Error, "no usable profile".to_owned(), String::new());
    };
    let ranks = match (figures.ranks_used, figures.ranks_expected) {
        (Some(used), Some(expected)) => format!(", {used} of {expected} ranks"),
        _ => String::new(),
    };
    let text = format!(
        "{:.2}%, {} of {} lines{ranks}",
        figures.coverage_percent, figures.covered_lines, figures.total_lines
    );
    let damaged = !material.marks(Part::Coverage).is_empty();
    let state = if damaged {
        State::Error
    } else {
        State::Success
    };
    (state, text, String::new())
}

/// How to run again what did not pass.
fn again(steps: &[StepRecord]) -> String {
    let lines: Vec<String> = steps
        .iter()
        .filter_map(|step| step.reproduce.as_deref())
        .take(SHOWN)
        .map(one_line)
        .collect();
    if lines.is_empty() {
        return String::new();
    }
    let text = lines.join("\n");
    let fence = fence(&text, 3);
    format!(
        "\n<details><summary>Run it again</summary>\n\n{fence}sh\n{text}\n{fence}\n</details>\n"
    )
}

fn more(detail: &mut String, all: usize) {
    if all > SHOWN {
        writeln!(detail, "\n…and {} more.", all - SHOWN).expect("a String takes any text");
    }
}

fn row(text: &mut String, cells: &[String]) {
    writeln!(text, "| {} |", cells.join(" | ")).expect("a String takes any text");
}

/// A text as it stands, in a cell. Nothing in it is markup, calls anybody, or ends the cell.
fn code(text: &str) -> String {
    let text = cut(&one_line(text), LONGEST_CELL).replace('|', "\\|");
    if text.trim().is_empty() {
        return String::new();
    }
    let fence = fence(&text, 1);
    format!("{fence} {text} {fence}")
}

/// Words of our own, and units of the project's, in a cell.
fn plain(text: &str) -> String {
    cut(&one_line(text), LONGEST_CELL)
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('|', "\\|")
        .replace('@', "@\u{200b}")
}

/// A run of backticks longer than any in the text.
fn fence(text: &str, least: usize) -> String {
    let longest = text
        .split(|c| c != '`')
        .map(str::len)
        .max()
        .unwrap_or_default();
    "`".repeat(least.max(longest + 1))
}

/// Without line ends, and without what would be taken for a mark of ours.
fn one_line(text: &str) -> String {
    clean::one_line(text)
        .replace("<!--", "<! --")
        .replace("-->", "-- >")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn news(commit: &str, at: &str, parts: &[(Part, &str)]) -> News {
        let section = |text: &str| Section {
            row: format!("| {text} | passed | x |"),
            detail: format!("detail of {text}\n"),
        };
        News {
            marker: marker(None),
            commit: commit.to_owned(),
            at: at.parse().ok(),
            parts: parts
                .iter()
                .map(|(part, text)| (*part, section(text)))
                .collect(),
        }
    }

    const EARLY: &str = "2026-11-20T10:00:00Z";
    const LATE: &str = "2026-11-20T11:00:00Z";

    #[test]
    fn parts_of_one_commit_stand_side_by_side() {
        let tests = news("c1", EARLY, &[(Part::Tests, "tests")]);
        let benchmarks = news("c1", LATE, &[(Part::Benchmarks, "benchmarks")]);
        let first = tests.body(None).unwrap();
        let both = benchmarks.body(Some(&first)).unwrap();
        insta::assert_snapshot!(both, @r"
        <!-- hpc-ci:results hpc -->
        <!-- hpc-ci:commit c1 -->
        <!-- hpc-ci:at 2026-11-20T11:00:00Z -->
        ### HPC results of c1

        | | | |
        |---|---|---|
        | tests | passed | x |
        | benchmarks | passed | x |

        <!-- hpc-ci:part tests -->
        detail of tests
        <!-- hpc-ci:end tests -->

        <!-- hpc-ci:part benchmarks -->
        detail of benchmarks
        <!-- hpc-ci:end benchmarks -->
        ");
        // What GitHub gives back has the ends of lines of a form.
        assert_eq!(
            benchmarks.body(Some(&both.replace('\n', "\r\n"))).unwrap(),
            both
        );
        let next = news("c2", LATE, &[(Part::Benchmarks, "benchmarks")]);
        assert!(!next.body(Some(&both)).unwrap().contains("tests"));
    }

    #[test]
    fn older_results_never_replace_newer_ones() {
        let newer = news("c2", LATE, &[(Part::Tests, "tests")])
            .body(None)
            .unwrap();
        let older = news("c1", EARLY, &[(Part::Tests, "tests")]);
        assert_eq!(older.body(Some(&newer)), None);
    }

    #[test]
    fn hostile_names_stay_text() {
        let check = |text: &str, expected: &str| assert_eq!(code(text), expected);
        check("halo[ranks=4]", "` halo[ranks=4] `");
        check("a | b", "` a \\| b `");
        check("``x`", "``` ``x` ```");
        check(
            "@everyone\n<!-- hpc-ci:end tests -->",
            "` @everyone <! -- hpc-ci:end tests -- > `",
        );
        assert_eq!(plain("<img> @me | x"), "&lt;img> @\u{200b}me \\| x");
        assert_eq!(
            marker(Some("a --> b")),
            "<!-- hpc-ci:results a%20--%3E%20b -->"
        );
    }
}
