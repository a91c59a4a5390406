//! The dashboard: one page that says whether it is green, what failed, what got slower, how much is covered, and from how
//! many ranks. Pure: from what the branch keeps to the text of `index.html`.
//!
//! The page needs nothing besides itself and asks nobody for anything: style, script and charts stand in it, and its
//! policy allows exactly these, by their hashes. Without the script only the filters are missing. Names come from code
//! under test; the templates escape every one of them ([askama](https://askama.rs/)).

mod benchmarks;
mod chart;
mod glance;
mod parts;
mod provenance;
mod words;

use std::fmt::Write;

use askama::Template;
use askama::filters::{Escaper, Html};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};

use self::benchmarks::{Bench, benches};
use self::chart::{Chart, Point, Series};
use self::glance::{Card, Strip, cards, headline, strip};
use self::parts::{BranchRow, Failure, RunRow, branch_rows, failures, run_rows};
use self::provenance::{Fact, Ledger, facts, ledger};
use self::words::{Sign, When};
use super::branch::history::{History, Run};
use crate::clean::printable;
use crate::results::record::{Meta, Part, TestsSummary};

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("filter.js");
/// Charts go back so many runs; the table has all of them.
const CHARTED: usize = 120;
/// Rows of the table that are open at first.
const OPEN_ROWS: usize = 25;

/// What the page is made from.
#[derive(Debug, Clone, Copy)]
pub struct Board<'a> {
    /// The branch that the page is about in the first place.
    pub branch: Option<&'a str>,
    /// All runs.
    pub history: &'a History,
    /// The provenance of the run that measured coverage last.
    pub meta: Option<&'a Meta>,
    /// What the last tests say, with the tests inside of steps.
    pub tests: Option<&'a TestsSummary>,
}

#[derive(Template)]
#[template(path = "page.html")]
struct Page {
    policy: String,
    style: &'static str,
    script: &'static str,
    icon: String,
    project: String,
    branch: Option<String>,
    updated: Option<When>,
    sign: Sign,
    headline: String,
    detail: String,
    cards: Vec<Card>,
    /// Whether anything stands for the branch, and whether its tests do.
    standing: bool,
    tested: bool,
    failures: Vec<Failure>,
    more_failures: usize,
    strip: Option<Strip>,
    recent: Vec<RunRow>,
    older: Vec<RunRow>,
    branches_of_runs: Vec<String>,
    coverage: Option<Chart>,
    coverage_rows: Vec<(String, String, String)>,
    benches: Vec<Bench>,
    ledger: Option<Ledger>,
    branches: Vec<BranchRow>,
    facts: Vec<Fact>,
    unreadable: Vec<String>,
}

/// How the templates write what comes from outside: fit to be shown, and escaped.
#[derive(Debug, Clone, Copy, Default)]
pub struct Shown;

impl Escaper for Shown {
    fn write_escaped_str<W: Write>(&self, dest: W, text: &str) -> std::fmt::Result {
        Html.write_escaped_str(dest, &printable(text))
    }
}

/// Returns `index.html`.
pub fn page(board: &Board<'_>) -> Result<String, askama::Error> {
    let standings = board.history.standings();
    let standing = board.branch.and_then(|branch| standings.get(branch));
    let runs: Vec<&Run> = match board.branch {
        Some(branch) => board.history.of_branch(branch).collect(),
        None => Vec::new(),
    };
    let newest = board.history.runs().last();
    let (sign, headline, detail) = headline(standing);
    let mut recent = run_rows(board.history);
    let older = recent.split_off(recent.len().min(OPEN_ROWS));
    let mut branches_of_runs: Vec<String> = recent
        .iter()
        .chain(&older)
        .filter_map(|row| row.branch.clone())
        .collect();
    branches_of_runs.sort_unstable();
    branches_of_runs.dedup();
    let (failures, more_failures) = failures(standing, &runs, board.tests);
    let covered: Vec<&Run> = last(&runs, Part::Coverage);
    let page = Page {
        policy: policy(),
        style: STYLE,
        script: SCRIPT,
        icon: icon(sign),
        project: newest.map_or_else(|| "hpc-ci".to_owned(), |run| run.entry.project.clone()),
        branch: board.branch.map(str::to_owned),
        updated: newest.map(|run| When(run.entry.finished_at)),
        sign,
        headline,
        detail,
        cards: cards(standing, &runs),
        standing: standing.is_some(),
        tested: standing.is_some_and(|it| it.tests.is_some()),
        failures,
        more_failures,
        strip: strip(&runs),
        recent,
        older,
        branches_of_runs,
        coverage: coverage(&covered),
        coverage_rows: coverage_rows(&covered),
        benches: benches(&last(&runs, Part::Benchmarks), standing),
        ledger: board.meta.and_then(ledger),
        branches: branch_rows(&standings, board.branch),
        facts: board.meta.map(facts).unwrap_or_default(),
        unreadable: board.history.unreadable.clone(),
    };
    page.render()
}

/// Only what stands in the page itself may run or be loaded.
fn policy() -> String {
    let hash = |text: &str| format!("'sha256-{}'", BASE64_STANDARD.encode(Sha256::digest(text)));
    format!(
        "default-src 'none'; style-src {}; script-src {}; img-src data:; base-uri 'none'; form-action 'none'",
        hash(STYLE),
        hash(SCRIPT)
    )
}

/// The picture of the browser's tab; without one, browsers ask for `favicon.ico`.
fn icon(sign: Sign) -> String {
    let shape = match sign.class {
        "passed" => "<circle cx='8' cy='8' r='7' fill='%2300745a'/>",
        "failed" => "<rect x='1' y='1' width='14' height='14' fill='%23b84500'/>",
        "error" => "<path d='M8 1l7 14H1z' fill='%23b07400'/>",
        _ => "<rect x='1' y='6' width='14' height='4' fill='%23777'/>",
    };
    format!(
        "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'>{shape}</svg>"
    )
}

/// The last runs that have a part, the oldest first.
fn last<'a>(runs: &[&'a Run], part: Part) -> Vec<&'a Run> {
    let with: Vec<&Run> = runs.iter().copied().filter(|run| run.has(part)).collect();
    with[with.len().saturating_sub(CHARTED)..].to_vec()
}

fn coverage(runs: &[&Run]) -> Option<Chart> {
    let points: Vec<Point> = runs
        .iter()
        .filter_map(|run| {
            let part = run.entry.parts.coverage.as_ref()?;
            let (day, commit) = (
                words::day(run.entry.finished_at),
                words::short(&run.entry.commit),
            );
            Some(Point {
                value: Some(part.coverage_percent),
                spread: None,
                bad: false,
                title: format!("{:.2} % at {commit}, {day}", part.coverage_percent),
                day,
            })
        })
        .collect();
    let (first, last) = (points.first()?.value?, points.last()?.value?);
    let series = Series {
        id: "coverage-chart".to_owned(),
        title: "Covered lines over time".to_owned(),
        description: format!(
            "{} runs, from {first:.2} % to {last:.2} %. The table below has the numbers.",
            points.len()
        ),
        unit: " %",
        points,
        limit: None,
        bounds: (0.0, 100.0),
    };
    Chart::new(series, 960.0, 260.0)
}

fn coverage_rows(runs: &[&Run]) -> Vec<(String, String, String)> {
    let rows = runs.iter().rev().filter_map(|run| {
        let part = run.entry.parts.coverage.as_ref()?;
        let ratio = format!("{} of {} lines", part.covered_lines, part.total_lines);
        let when = format!(
            "{} · {}",
            words::moment(run.entry.finished_at),
            words::short(&run.entry.commit)
        );
        Some((when, format!("{:.2} %", part.coverage_percent), ratio))
    });
    rows.collect()
}
