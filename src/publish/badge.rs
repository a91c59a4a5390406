//! Badges: the JSON that [Shields](https://shields.io/badges/endpoint-badge) reads at an endpoint, and SVG of our own for
//! where Shields cannot look, as in a private repository. Pure.
//!
//! Shields refuses a document with a key that it does not know, a message that is no text, or none at all.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::branch::history::{Run, Standing};
use crate::clean::one_line;
use crate::results::record::{BenchmarkRecord, RunStatus, Status, SuiteCounts};

/// How long Shields may keep it; less than this it does not believe.
const CACHE_SECONDS: u32 = 300;
/// Above this share of covered lines the badge is green, above the next yellow.
const GOOD_PERCENT: f64 = 80.0;
const FAIR_PERCENT: f64 = 50.0;

/// A badge: what it is about, and what is to be said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Badge {
    schema_version: u32,
    label: &'static str,
    message: String,
    color: &'static str,
    is_error: bool,
    cache_seconds: u32,
}

impl Badge {
    /// Returns the three badges of a branch with their names; each says of which day it is.
    #[must_use]
    pub fn all(standing: Option<&Standing<'_>>) -> [(&'static str, Self); 3] {
        [
            ("tests", tests(standing.and_then(|it| it.tests))),
            ("coverage", coverage(standing.and_then(|it| it.coverage))),
            (
                "benchmarks",
                benchmarks(standing.and_then(|it| it.benchmarks)),
            ),
        ]
    }

    fn new(label: &'static str, message: &str, run: &Run, color: &'static str) -> Self {
        Self {
            schema_version: 1,
            label,
            message: format!("{message} · {}", day(run.entry.finished_at)),
            color,
            is_error: false,
            cache_seconds: CACHE_SECONDS,
        }
    }

    fn none(label: &'static str) -> Self {
        Self {
            schema_version: 1,
            label,
            message: "not run yet".to_owned(),
            color: "lightgrey",
            is_error: false,
            cache_seconds: CACHE_SECONDS,
        }
    }

    /// Returns the document of the endpoint.
    pub fn json(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut bytes = serde_json::to_vec_pretty(self)?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Returns the badge as a picture.
    #[must_use]
    pub fn svg(&self) -> String {
        let (left, right) = (width(self.label), width(&self.message));
        let all = left + right;
        let (label, message) = (escaped(self.label), escaped(&self.message));
        let fill = fill(self.color);
        let text = |x: f64, text: &str| format!("<text x=\"{x}\" y=\"14\">{text}</text>");
        let texts = text(left / 2.0, &label) + &text(left + right / 2.0, &message);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{all}\" height=\"20\" role=\"img\" aria-label=\"{label}: {message}\">\
             <title>{label}: {message}</title>\
             <clipPath id=\"r\"><rect width=\"{all}\" height=\"20\" rx=\"3\"/></clipPath>\
             <g clip-path=\"url(#r)\"><rect width=\"{left}\" height=\"20\" fill=\"#444\"/>\
             <rect x=\"{left}\" width=\"{right}\" height=\"20\" fill=\"{fill}\"/></g>\
             <g fill=\"#fff\" text-anchor=\"middle\" font-family=\"Verdana,DejaVu Sans,sans-serif\" font-size=\"11\">{texts}</g></svg>\n"
        )
    }
}

fn tests(run: Option<&Run>) -> Badge {
    const LABEL: &str = "hpc tests";
    let Some((run, part)) = run.and_then(|run| Some((run, run.entry.parts.tests.as_ref()?))) else {
        return Badge::none(LABEL);
    };
    let SuiteCounts { passed, failed, .. } = run.counts();
    let (_, unproved) = run.totals();
    let (message, color) = match part.status {
        RunStatus::Passed => (format!("{passed} passed"), "brightgreen"),
        RunStatus::Failed if failed == 0 => ("build failed".to_owned(), "red"),
        RunStatus::Failed => (format!("{failed} failed, {passed} passed"), "red"),
        RunStatus::Error => (format!("{unproved} unproved, {passed} passed"), "orange"),
        RunStatus::Skipped => return Badge::none(LABEL),
    };
    Badge::new(LABEL, &message, run, color)
}

fn coverage(run: Option<&Run>) -> Badge {
    const LABEL: &str = "hpc coverage";
    let Some((run, part)) = run.and_then(|run| Some((run, run.entry.parts.coverage.as_ref()?)))
    else {
        return Badge::none(LABEL);
    };
    let color = match part.coverage_percent {
        percent if percent >= GOOD_PERCENT => "brightgreen",
        percent if percent >= FAIR_PERCENT => "yellow",
        _ => "orange",
    };
    let message = format!("{:.2} %", part.coverage_percent);
    Badge::new(LABEL, &message, run, color)
}

fn benchmarks(run: Option<&Run>) -> Badge {
    const LABEL: &str = "hpc benchmarks";
    let Some((run, summary)) = run.and_then(|run| Some((run, run.benchmarks.as_ref()?))) else {
        return Badge::none(LABEL);
    };
    let all = summary.benchmarks.values();
    let regressed = all.clone().filter(|it| it.regressed).count();
    let measured = all.clone().filter(|it| it.median.is_some()).count();
    let skipped = |it: &&BenchmarkRecord| it.status == Some(Status::Skipped);
    let skipped = all.clone().filter(skipped).count();
    let unmeasured = summary.benchmarks.len() - measured - skipped;
    let worst = summary.worst_regression_pct.map(|worst| match worst {
        worst if worst > 0.0 => format!("worst regression {worst:.1} %"),
        _ => "none worse".to_owned(),
    });
    let (message, color) = match (regressed, worst) {
        _ if unmeasured > 0 => (format!("{unmeasured} without a value"), "orange"),
        (0, None) => (format!("{measured} measured"), "blue"),
        (0, Some(worst)) => (worst, "brightgreen"),
        (count, worst) => {
            let worst = worst.unwrap_or_default();
            (format!("{count} regressed, {worst}"), "red")
        }
    };
    Badge::new(LABEL, &message, run, color)
}

fn day(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d").to_string()
}

/// The colours of Shields, dark enough for white letters.
fn fill(color: &str) -> &'static str {
    match color {
        "brightgreen" => "#2f7d32",
        "yellow" => "#8a6d00",
        "orange" => "#b35900",
        "red" => "#c0341d",
        "blue" => "#0b6fb3",
        _ => "#666",
    }
}

/// About what a text needs in Verdana 11 with room around it; too much is better than too little.
fn width(text: &str) -> f64 {
    let letters: f64 = text
        .chars()
        .map(|c| match c {
            'i' | 'l' | 'j' | ' ' | '.' | ',' | '·' => 4.0,
            'm' | 'w' | '%' => 10.5,
            _ => 7.0,
        })
        .sum();
    (letters + 10.0).ceil()
}

fn escaped(text: &str) -> String {
    let mut markup = String::new();
    for c in one_line(text).chars() {
        match c {
            '&' => markup.push_str("&amp;"),
            '<' => markup.push_str("&lt;"),
            '>' => markup.push_str("&gt;"),
            '"' => markup.push_str("&quot;"),
            c => markup.push(c),
        }
    }
    markup
}
