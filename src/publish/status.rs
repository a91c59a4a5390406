//! The statuses of a commit: a word and a line for each part, as forges show them. Pure.

use std::fmt::Write as _;

use super::circumstances::{Circumstances, Server};
use super::item::Destination;
use super::material::Material;
use crate::clean::one_line;
use crate::results::record::{Mark, Part, RunStatus, SuiteCounts, TestsSummary};
use crate::results::summary;

/// One status of a commit.
#[derive(Debug, Clone, PartialEq)]
pub struct CommitStatus {
    /// Its name.
    pub context: String,
    /// What it says.
    pub state: State,
    /// Why, in one line.
    pub description: String,
    /// The coverage, of the status that is about it.
    pub coverage: Option<f64>,
}

/// What a status says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// All is well.
    Success,
    /// The code is at fault.
    Failure,
    /// The infrastructure is, or there is no proof.
    Error,
}

/// Returns the statuses of what ran. What was skipped says nothing, so that it never replaces a status of what ran.
///
/// `prefix` stands before their names; without one it is `jacamar` under GitLab.
#[must_use]
pub fn statuses(
    material: &Material,
    circumstances: &Circumstances,
    prefix: Option<&str>,
) -> Vec<CommitStatus> {
    let prefix = prefix
        .or((circumstances.server == Server::Gitlab).then_some("jacamar"))
        .map(|prefix| format!("{}/", prefix.trim_end_matches('/')))
        .unwrap_or_default();
    let shown = |part: &Part| {
        material.owner(*part).is_some() && Destination::GithubStatuses.takes(material.marks(*part))
    };
    Part::ALL
        .into_iter()
        .filter(shown)
        .filter_map(|part| {
            let (state, description) = match part {
                Part::Tests => tests(material.tests.as_ref()?)?,
                Part::Benchmarks => benchmarks(material)?,
                Part::Coverage => coverage(material),
            };
            let figures = material.results.coverage.as_ref();
            Some(CommitStatus {
                context: format!("{prefix}hpc-{}", part.folder()),
                state,
                description,
                coverage: figures
                    .filter(|_| part == Part::Coverage)
                    .map(|it| it.coverage_percent),
            })
        })
        .collect()
}

/// Returns what a status of results says; nothing for what was skipped.
#[must_use]
pub fn state(status: RunStatus) -> Option<State> {
    match status {
        RunStatus::Skipped => None,
        RunStatus::Passed => Some(State::Success),
        RunStatus::Failed => Some(State::Failure),
        RunStatus::Error => Some(State::Error),
    }
}

/// Returns the counts of tests in words: `122 passed, 1 failed`.
#[must_use]
pub fn counts(counts: SuiteCounts) -> String {
    let words = [
        (counts.passed, "passed"),
        (counts.failed, "failed"),
        (counts.errors, "errors"),
        (counts.not_run, "not run"),
        (counts.skipped, "skipped"),
        (counts.flaky, "flaky"),
    ];
    let words: Vec<String> = words
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    if words.is_empty() {
        "no tests".to_owned()
    } else {
        words.join(", ")
    }
}

/// Returns so many figures in words.
#[must_use]
pub fn figures(count: usize) -> String {
    format!("{count} figure{}", if count == 1 { "" } else { "s" })
}

/// Returns the text cut to so many characters, as forges count them.
#[must_use]
pub fn cut(text: &str, longest: usize) -> String {
    match text.char_indices().nth(longest) {
        None => text.to_owned(),
        Some(_) => text.chars().take(longest - 1).chain(['…']).collect(),
    }
}

fn tests(summary: &TestsSummary) -> Option<(State, String)> {
    let state = state(summary.status)?;
    let mut text = counts(summary::total(&summary.suites));
    if let Some(first) = summary.failing.first() {
        write!(text, ": {} ({})", first.step, first.outcome).expect("a String takes any text");
    } else if let Some(missing) = summary.missing.first() {
        write!(text, ": {missing}").expect("a String takes any text");
    }
    Some((state, said(state, &text)))
}

fn benchmarks(material: &Material) -> Option<(State, String)> {
    let summary = material.benchmarks.as_ref()?;
    let state = state(summary.status.unwrap_or(RunStatus::Skipped))?;
    let measured = summary
        .benchmarks
        .values()
        .filter(|it| it.median.is_some())
        .count();
    let all = summary.benchmarks.len();
    let worst = match summary.worst_regression_pct {
        None => "nothing to compare with".to_owned(),
        Some(worst) => format!("worst change {worst:+.1}%"),
    };
    let text = format!("{measured} of {}, {worst}", figures(all));
    Some((state, said(state, &text)))
}

fn coverage(material: &Material) -> (State, String) {
    let Some(figures) = &material.results.coverage else {
        return (State::Error, said(State::Error, "no usable profile"));
    };
    let mut text = format!(
        "{:.2}% of {} lines",
        figures.coverage_percent, figures.total_lines
    );
    if let (Some(expected), Some(used)) = (figures.ranks_expected, figures.ranks_used)
        && used < expected
    {
        write!(text, ", {used} of {expected} ranks").expect("a String takes any text");
    }
    let damaged = material
        .marks(Part::Coverage)
        .contains(&Mark::InfrastructureDamaged);
    let state = if damaged {
        State::Error
    } else {
        State::Success
    };
    (state, said(state, &text))
}

fn said(state: State, text: &str) -> String {
    let text = one_line(text);
    if state == State::Error {
        format!("infrastructure: {text}")
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_words() {
        assert_eq!(counts(SuiteCounts::default()), "no tests");
        let some = SuiteCounts {
            passed: 122,
            failed: 1,
            flaky: 2,
            ..SuiteCounts::default()
        };
        assert_eq!(counts(some), "122 passed, 1 failed, 2 flaky");
    }

    #[test]
    fn texts_are_cut_by_characters() {
        assert_eq!(cut("äöü", 3), "äöü");
        assert_eq!(cut("äöüß", 3), "äö…");
    }
}
