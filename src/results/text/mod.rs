//! The summary at the end of a run, for people: what broke and where to look comes last, where the eye is.
//!
//! Words carry the meaning, colour only repeats it. Everything is ASCII, as far as names are.

mod benchmarks;
#[cfg(test)]
mod tests;

use std::time::Duration;

use camino::Utf8Path;

use super::clean::{end_of_log, one_line, shortened};
use super::record::{
    BenchmarkRecord, Mark, NoteKind, Part, ProfileState, RunEntry, RunStatus, Status, SuiteCounts,
};
use super::summary::{self, plural, steps_of};
use super::table::{Cell, Ink, Tone, table};
use super::{CoverageFigures, FinishedRun, StepResult, benchmark, units};

/// Lines of the log that are shown of each failing step.
const TAIL_LINES: usize = 5;

/// Columns of a line of log that are shown.
const TAIL_COLUMNS: usize = 150;

/// Failing steps that are shown in full: a thousand of them should not scroll the rest away.
const IN_FULL: usize = 10;

/// Names of nodes that are shown of a step.
const NODES: usize = 4;

/// How to show it.
#[derive(Debug, Clone, Copy)]
pub struct Style<'a> {
    /// Whether the terminal shows colour.
    pub colour: bool,
    /// The folder that holds `hpc-results.json`, as the reader would write it.
    pub folder: &'a Utf8Path,
}

/// Returns the summary of a run.
#[must_use]
pub fn summary(run: &FinishedRun, style: Style<'_>) -> String {
    let entry = summary::entry(run);
    let page = Page {
        run,
        entry: &entry,
        folder: style.folder,
        ink: Ink {
            colour: style.colour,
        },
    };
    let sections = [
        page.head(),
        page.suites(),
        page.benchmarks(),
        page.failures(),
        page.troubles(),
        page.feet() + &page.verdict(),
    ];
    sections
        .into_iter()
        .filter(|section| !section.is_empty())
        .collect::<Vec<_>>()
        .join("\n")
}

/// Returns a time as people say it: `2.3 s`, `4m05s`, `1h02m`.
#[must_use]
pub fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 => format!("{:.1} s", (duration.as_secs_f64() * 10.0).floor() / 10.0),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
    }
}

struct Page<'a> {
    run: &'a FinishedRun,
    entry: &'a RunEntry,
    folder: &'a Utf8Path,
    ink: Ink,
}

impl Page<'_> {
    fn head(&self) -> String {
        let Self { run, ink, .. } = self;
        let branch = run
            .branch
            .as_deref()
            .map(|it| format!(" ({})", one_line(it)))
            .unwrap_or_default();
        let project = ink.paint(Tone::Strong, &one_line(&run.project));
        format!(
            "{project} at {}{branch}, run {}\n",
            short(&run.commit),
            one_line(&run.run)
        )
    }

    fn suites(&self) -> String {
        let suites = summary::tests(self.run).suites;
        if suites.is_empty() {
            return String::new();
        }
        let mut rows = vec![titles(
            &["suite"],
            &["passed", "failed", "errors", "not run", "skipped", "flaky"],
        )];
        rows.extend(suites.iter().map(|(name, counts)| suite_row(name, counts)));
        if suites.len() > 1 {
            rows.push(suite_row("all", &summary::total(&suites)));
        }
        table(&rows, self.ink)
    }

    fn benchmarks(&self) -> String {
        let (benchmarks, _) = benchmark::records(&self.run.benchmarks);
        if benchmarks.is_empty() {
            return String::new();
        }
        let mut rows = vec![titles(&["benchmark"], &["median", "spread", "samples"])];
        rows.extend(
            benchmarks
                .iter()
                .map(|(name, record)| benchmarks::row(name, record)),
        );
        let errors = benchmarks.iter().filter_map(|(name, record)| {
            let message = record.message.as_ref()?;
            let status = match record.status {
                Some(Status::Failed) => RunStatus::Failed,
                Some(Status::Skipped) => RunStatus::Skipped,
                _ => RunStatus::Error,
            };
            Some(format!(
                "{}  {}  {}\n",
                self.word(status),
                one_line(name),
                one_line(message)
            ))
        });
        let warnings = benchmarks::warnings(&benchmarks)
            .into_iter()
            .map(|line| format!("{}  {line}\n", self.ink.paint(Tone::Faint, "warning")));
        table(&rows, self.ink) + &errors.chain(warnings).collect::<String>()
    }

    /// Errors of the infrastructure first, faults of the code behind them, nearer to the end.
    fn failures(&self) -> String {
        let failing = self
            .run
            .steps
            .iter()
            .filter(|step| summary::is_failing(step));
        let (failed, errors) =
            failing.partition::<Vec<_>, _>(|step| step.status() == Status::Failed);
        let room = IN_FULL.saturating_sub(failed.len()).max(1);
        let in_brief = |steps: &[&StepResult], full: usize| {
            steps
                .iter()
                .skip(full)
                .map(|step| self.title(step))
                .collect::<String>()
        };
        let in_full = |steps: &[&StepResult], full: usize| {
            steps
                .iter()
                .take(full)
                .map(|step| self.failure(step))
                .collect::<String>()
        };
        in_brief(&errors, room)
            + &in_full(&errors, room)
            + &in_brief(&failed, IN_FULL)
            + &in_full(&failed, IN_FULL)
    }

    fn title(&self, step: &StepResult) -> String {
        let word = match step.status() {
            Status::Failed => self.word(RunStatus::Failed),
            _ => self.word(RunStatus::Error),
        };
        let name = self.ink.paint(Tone::Strong, &one_line(&step.name));
        format!("{word}  {name}  {}: {}\n", step.outcome, step.reason())
    }

    fn failure(&self, step: &StepResult) -> String {
        let attempts = step.attempts();
        let place = [
            Some(format!(
                "{} {}",
                step.ranks,
                plural(step.ranks as usize, "rank")
            )),
            step.job_id
                .as_ref()
                .map(|job| format!("job {}", one_line(job))),
            (!step.nodes.is_empty()).then(|| format!("on {}", nodes(&step.nodes))),
            step.elapsed
                .map(|elapsed| format!("after {}", span(elapsed))),
            (attempts > 1).then(|| format!("{attempts} attempts")),
        ];
        let mut lines = vec![place.into_iter().flatten().collect::<Vec<_>>().join(", ")];
        lines.extend(failing_tests(step));
        lines.extend(
            end_of_log(&step.log_tail, TAIL_LINES)
                .into_iter()
                .map(|line| {
                    let line = shortened(&line.replace('\t', "    "), TAIL_COLUMNS);
                    self.ink.paint(Tone::Faint, &format!("| {line}"))
                }),
        );
        lines.extend(
            step.log
                .as_ref()
                .map(|log| format!("log        {}", self.below(log))),
        );
        lines.extend(step.kept.iter().filter(|kept| kept.files > 0).map(|kept| {
            let count = usize::try_from(kept.files).unwrap_or(usize::MAX);
            let files = plural(count, "file");
            let place = self.below(&kept.folder);
            format!("kept       {place} ({count} {files})")
        }));
        lines.extend(
            step.reproduce
                .as_ref()
                .map(|line| format!("reproduce  {}", one_line(line))),
        );
        lines.into_iter().fold(self.title(step), |text, line| {
            text + "        " + &line + "\n"
        })
    }

    /// Builds that failed, steps that passed at last, and whatever else is to be said.
    fn troubles(&self) -> String {
        let builds = self
            .run
            .builds
            .iter()
            .filter(|build| build.status > RunStatus::Passed)
            .map(|build| {
                let name = self
                    .ink
                    .paint(Tone::Strong, &format!("build {}", one_line(&build.name)));
                let why = match (&build.message, build.exit_code) {
                    (Some(message), _) => one_line(message),
                    (None, Some(code)) => format!("exit code {code}"),
                    (None, None) => build.status.to_string(),
                };
                let log = build
                    .log
                    .as_ref()
                    .map(|log| format!("        log        {}\n", self.below(log)));
                format!(
                    "{}  {name}  {why}\n{}",
                    self.word(build.status),
                    log.unwrap_or_default()
                )
            });
        let notes = self.run.notes.iter().map(|note| {
            let word = match note.kind {
                NoteKind::Failure => self.word(RunStatus::Failed),
                NoteKind::Error => self.word(RunStatus::Error),
                NoteKind::Warning => self.ink.paint(Tone::Odd, "NOTE  "),
            };
            format!("{word}  {}\n", one_line(&note.message))
        });
        let flaky = self
            .run
            .steps
            .iter()
            .filter(|step| step.is_flaky())
            .map(|step| {
                let word = self.ink.paint(Tone::Odd, "FLAKY ");
                let before = step
                    .earlier
                    .iter()
                    .map(|it| it.outcome.as_str())
                    .collect::<Vec<_>>()
                    .join(", ");
                let name = self.ink.paint(Tone::Strong, &one_line(&step.name));
                format!(
                    "{word}  {name}  passed at attempt {}, after {before}\n",
                    step.attempts()
                )
            });
        let of_steps = self.run.steps.iter().flat_map(|step| {
            let name = self.ink.paint(Tone::Strong, &one_line(&step.name));
            let word = self.ink.paint(Tone::Odd, "NOTE  ");
            let notes = step.notes.iter();
            notes.map(move |note| format!("{word}  {name}  {}\n", one_line(note)))
        });
        builds.chain(flaky).chain(of_steps).chain(notes).collect()
    }

    fn feet(&self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: &str| text.extend([format!("{name:<11}{value}\n")]);
        if self.run.scope.contains(&Part::Coverage) {
            line("coverage", &coverage(self.run.coverage.as_ref()));
            for finding in self.run.coverage.iter().flat_map(|it| &it.findings) {
                line("", finding);
            }
        }
        for (number, unproved) in self.unproved_ranks().iter().enumerate() {
            line(if number == 0 { "ranks" } else { "" }, unproved);
        }
        let of_steps = self.run.steps.iter().flat_map(|step| &step.kept);
        let kept: u64 = of_steps.map(|kept| kept.files).sum();
        if kept > 0 {
            let keeping = |step: &&StepResult| step.kept.iter().any(|kept| kept.files > 0);
            let steps = self.run.steps.iter().filter(keeping).count();
            let files = plural(usize::try_from(kept).unwrap_or(usize::MAX), "file");
            let of = plural(steps, "step");
            line("kept", &format!("{kept} {files} of {steps} {of}"));
        }
        line("artifacts", &self.below(Utf8Path::new("artifacts")));
        line("results", &self.below(Utf8Path::new("hpc-results.json")));
        if !self.entry.marks.is_empty() {
            let marks = self
                .entry
                .marks
                .iter()
                .copied()
                .map(Mark::as_str)
                .collect::<Vec<_>>()
                .join(", ");
            line(
                "marked",
                &format!("{marks}; not taken for the state of the branch"),
            );
        }
        text
    }

    /// What is not known of the ranks of steps that passed.
    fn unproved_ranks(&self) -> Vec<String> {
        let passed = || {
            let steps = self.run.steps.iter();
            steps.filter(|step| step.status() == Status::Passed)
        };
        let without_world = passed()
            .filter(|step| step.ranks > 1 && step.harness.is_none() && step.mpi_world.is_none());
        let past_us = passed().filter(|step| {
            let seen = step.harness.unwrap_or_default();
            let none = step.harness.is_some() && step.ranks > 1 && seen.launches == 0;
            none || seen.unknown > 0 || seen.beside > 0
        });
        let lines = [
            some_of(without_world)
                .map(|steps| format!("no rank of {steps} told the size of its MPI world")),
            some_of(past_us).map(|steps| {
                format!("some ranks of {steps} are unknown: it starts MPI past what can be seen")
            }),
        ];
        lines.into_iter().flatten().collect()
    }

    /// The last line, which says it all.
    fn verdict(&self) -> String {
        let parts = [
            self.tally(Part::Tests, "test"),
            self.tally(Part::Benchmarks, "benchmark"),
        ];
        let parts = parts.into_iter().flatten().chain(self.values());
        let tallies = parts.collect::<Vec<_>>().join("; ");
        let tallies = if tallies.is_empty() {
            "nothing ran".to_owned()
        } else {
            tallies
        };
        let took = (self.run.finished_at - self.run.started_at)
            .to_std()
            .unwrap_or_default();
        let word = self.word(self.entry.status);
        format!("{}  {tallies}; {} in all\n", word, span(took))
    }

    fn tally(&self, part: Part, word: &str) -> Option<String> {
        let ends = steps_of(self.run, part)
            .flat_map(units::units)
            .map(|unit| unit.meaning())
            .collect::<Vec<_>>();
        let total = ends.len();
        let count = |status| ends.iter().filter(|end| **end == status).count();
        let said = [
            (Status::Failed, "failed"),
            (Status::Error, "ended in an error"),
            (Status::NotRun, "did not run"),
            (Status::Passed, "passed"),
            (Status::Skipped, "skipped"),
        ]
        .into_iter()
        .map(|(status, said)| (count(status), said))
        .filter(|(count, _)| *count > 0)
        .map(|(count, said)| format!("{count} {said}"))
        .collect::<Vec<_>>()
        .join(", ");
        (total > 0).then(|| format!("{total} {}: {said}", plural(total, word)))
    }

    /// What a passing step does not say of the metrics in it.
    fn values(&self) -> Option<String> {
        let (benchmarks, _) = benchmark::records(&self.run.benchmarks);
        let is_skipped = |it: &&BenchmarkRecord| it.status == Some(Status::Skipped);
        let skipped = benchmarks.values().filter(is_skipped).count();
        let missing = benchmarks.values().filter(|it| it.median.is_none()).count() - skipped;
        let regressed = benchmarks.values().filter(|it| it.regressed).count();
        let all = [
            (missing, "without a value"),
            (skipped, "skipped"),
            (regressed, "regressed"),
        ];
        let said = all
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, said)| format!("{count} {said}"))
            .collect::<Vec<_>>()
            .join(", ");
        let total = benchmarks.len();
        (!said.is_empty()).then(|| format!("{total} {}: {said}", plural(total, "metric")))
    }

    fn word(&self, status: RunStatus) -> String {
        let (word, tone) = match status {
            RunStatus::Passed => ("PASSED", Tone::Good),
            RunStatus::Failed => ("FAILED", Tone::Bad),
            RunStatus::Error => ("ERROR ", Tone::Odd),
            RunStatus::Skipped => ("NO RUN", Tone::Odd),
        };
        self.ink.paint(tone, word)
    }

    fn below(&self, path: &Utf8Path) -> String {
        // The run folder usually stands beside `artifacts/`; a path that climbs is folded, so that it can be read.
        let joined = self.folder.join(path);
        let mut parts = Vec::new();
        for part in joined.components() {
            match part.as_str() {
                ".." if parts.last().is_some_and(|it| !matches!(*it, ".." | "/")) => {
                    parts.pop();
                }
                "." => {}
                part => parts.push(part),
            }
        }
        one_line(parts.into_iter().collect::<camino::Utf8PathBuf>().as_str())
    }
}

/// The first of some steps, and how many more there are.
fn some_of<'a>(steps: impl Iterator<Item = &'a StepResult>) -> Option<String> {
    let names: Vec<&str> = steps.map(|step| step.name.as_str()).collect();
    let first = one_line(names.first()?);
    Some(match names.len() - 1 {
        0 => format!("`{first}`"),
        more => format!("`{first}` and {more} other {}", plural(more, "step")),
    })
}

/// The failing tests of a step's report, a line each.
fn failing_tests(step: &StepResult) -> Vec<String> {
    let failing = units::units(step)
        .into_iter()
        .filter(|unit| unit.is_failing() && unit.test.is_some())
        .collect::<Vec<_>>();
    let more = failing.len().saturating_sub(IN_FULL);
    let shown = failing.iter().take(IN_FULL).map(|unit| {
        let name = unit.test.map_or("", |test| &test.case.name);
        let line = format!("{}  {}: {}", one_line(name), unit.status, unit.reason(step));
        shortened(&line, TAIL_COLUMNS)
    });
    shown
        .chain((more > 0).then(|| format!("and {more} more {}", plural(more, "test"))))
        .collect()
}

fn titles(text: &[&str], figures: &[&str]) -> Vec<Cell> {
    let text = text.iter().map(|&it| Cell::text(it, Tone::Faint));
    text.chain(figures.iter().map(|&it| Cell::figure(it, Tone::Faint)))
        .collect()
}

fn suite_row(name: &str, counts: &SuiteCounts) -> Vec<Cell> {
    let figures = [
        (counts.passed, Tone::Good),
        (counts.failed, Tone::Bad),
        (counts.errors, Tone::Odd),
        (counts.not_run, Tone::Odd),
        (counts.skipped, Tone::Plain),
        (counts.flaky, Tone::Odd),
    ];
    let figures = figures.map(|(count, tone)| match count {
        0 => Cell::figure("-", Tone::Faint),
        count => Cell::figure(count.to_string(), tone),
    });
    std::iter::once(Cell::text(one_line(name), Tone::Plain))
        .chain(figures)
        .collect()
}

fn coverage(figures: Option<&CoverageFigures>) -> String {
    let Some(figures) = figures else {
        return "none: no usable profile".to_owned();
    };
    let Some(percent) = summary::percent(figures.covered_lines, figures.total_lines) else {
        return "none: there are no lines to cover".to_owned();
    };
    let CoverageFigures {
        covered_lines,
        total_lines,
        ..
    } = figures;
    let ranks = match (figures.ranks_used, figures.ranks_expected) {
        (Some(used), Some(expected)) if expected > 0 => {
            format!(
                "; coverage is from {used} of {expected} ranks{}",
                states(figures)
            )
        }
        _ => String::new(),
    };
    let partial = if figures.partial { ", partial" } else { "" };
    format!("{percent:.2}% ({covered_lines} of {total_lines} lines){partial}{ranks}")
}

/// Returns how many ranks are in a state that is not as it should be.
fn states(figures: &CoverageFigures) -> String {
    let odd = figures
        .rank_states
        .iter()
        .filter(|(state, _)| **state != ProfileState::Whole);
    let odd: Vec<String> = odd
        .map(|(state, count)| format!("{count} {}", state.as_str()))
        .collect();
    if odd.is_empty() {
        String::new()
    } else {
        format!(" ({})", odd.join(", "))
    }
}

/// Returns a figure with about five digits, and all of those before the point.
pub(super) fn figure(value: f64) -> String {
    let size = value.abs();
    if size != 0.0 && !(1e-4..1e9).contains(&size) {
        return format!("{value:.4e}");
    }
    let decimals = [1e4, 1e3, 1e2, 1e1, 1e0, 1e-1, 1e-2]
        .iter()
        .take_while(|&&limit| size < limit)
        .count();
    let text = format!("{value:.decimals$}");
    match text.split_once('.') {
        Some(_) => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        None => text,
    }
}

fn nodes(names: &[String]) -> String {
    let shown = names
        .iter()
        .take(NODES)
        .map(|name| one_line(name))
        .collect::<Vec<_>>()
        .join(",");
    match names.len().saturating_sub(NODES) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// Returns enough of a commit's id for people.
pub(super) fn short(commit: &str) -> String {
    one_line(commit).chars().take(10).collect()
}
