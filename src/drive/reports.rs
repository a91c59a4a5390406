//! The reports that an attempt left: found in its folder, where its script put them, or in its log.

use std::io::BufReader;
use std::path::{Path, PathBuf};

use crate::clean::one_line;
use crate::foreign;
use crate::plan::{Expect, ResultsFile, ResultsFormat, Step, StepKind};
use crate::results::reports::{
    self, Format, Limits, Merged, RankReport, ReportError, merge, recognise,
};
use crate::scheduler::{Outcome, Status, Verdict};

/// The most report files of a step that are read; its script keeps no more.
const MOST_FILES: usize = 10_000;

/// Of many ranks, each may be told the same of.
const MOST_NOTES: usize = 5;

/// What the reports of an attempt say, and what is to be said of them.
#[derive(Default)]
pub(super) struct Heard {
    /// None if the step is one test.
    pub(super) report: Option<Merged>,
    /// What of them was not understood or not believed, a line each.
    pub(super) notes: Vec<String>,
}

/// Returns what the reports of an attempt that ended so say.
pub(super) fn read(step: &Step, attempt: &Path, outcome: Outcome, limits: Limits) -> Heard {
    let ran = matches!(outcome.status(), Status::Passed | Status::Failed);
    let is_test = matches!(step.kind, StepKind::Test) && step.expect == Expect::Pass;
    if !ran || !is_test {
        return Heard::default();
    }
    let report = match &step.results {
        Some(ResultsFile { format, path, .. }) => known(*format).and_then(|format| match path {
            Some(pattern) => files(step, attempt, format, pattern, outcome, limits),
            None => Some(log(attempt, format, limits)),
        }),
        None => return guessed(step, attempt, outcome, limits).unwrap_or_default(),
    };
    // Where the step failed anyway, what is wrong with its report is no verdict of its own.
    let failed = outcome.status() == Status::Failed;
    let mut notes = Vec::new();
    if let Some(report) = &report {
        notes.extend_from_slice(if failed { &report.problems } else { &[] });
        notes.extend_from_slice(&report.notes);
    }
    let more = notes.len().saturating_sub(MOST_NOTES);
    notes.truncate(MOST_NOTES);
    notes.extend((more > 0).then(|| format!("and {more} more of its reports")));
    Heard { report, notes }
}

/// What stands in the output though nobody asked for it. Where anything speaks against it, the step is one test.
fn guessed(step: &Step, attempt: &Path, outcome: Outcome, limits: Limits) -> Option<Heard> {
    let path = attempt.join("log.txt");
    let length = foreign::open(&path)
        .and_then(|log| log.metadata())
        .ok()?
        .len();
    if length > limits.bytes {
        let note = format!(
            "its output of {length} bytes was not searched for tests: `max_log` of [scheduler.limits] is {}",
            limits.bytes
        );
        return Some(Heard {
            report: None,
            notes: vec![note],
        });
    }
    let open = || foreign::open(&path).ok().map(BufReader::new);
    let found = recognise(open, limits)?;
    // Ranks that print over one another make no sense together, and of those that print one after the other each tells of the same
    // tests: which of both happens is chance.
    if step.resources.ranks > 1 && (found.repeats || !found.problems.is_empty()) {
        return None;
    }
    let dialect = found.dialect.as_str();
    let merged = merge([of_log(Ok(found))], None, limits);
    Some(match reports::contradiction(outcome, &merged) {
        None => Heard {
            notes: merged.notes.clone(),
            report: Some(merged),
        },
        Some(why) => Heard {
            report: None,
            notes: vec![format!(
                "its output looks like {dialect} and is not taken for a report ({why}); the step is one test, unless `results` says \
                 what to read"
            )],
        },
    })
}

/// Returns the verdict on an attempt once its reports were heard too.
pub(super) fn judged(verdict: Verdict, step: &Step, attempt: &Path, limits: Limits) -> Verdict {
    let report = read(step, attempt, verdict.outcome, limits).report;
    let heard = report.and_then(|report| reports::verdict(verdict.outcome, &report));
    match heard {
        Some((outcome, message)) => Verdict {
            outcome,
            message,
            ..verdict
        },
        None => verdict,
    }
}

fn known(format: ResultsFormat) -> Option<Format> {
    Some(match format {
        ResultsFormat::Junit => Format::Junit,
        ResultsFormat::Libtest => Format::Libtest,
        ResultsFormat::LibtestJson => Format::LibtestJson,
        ResultsFormat::Tap => Format::Tap,
        ResultsFormat::Julia => Format::Julia,
        _ => return None,
    })
}

fn log(attempt: &Path, format: Format, limits: Limits) -> Merged {
    let report = of_file(format, &attempt.join("log.txt"), limits);
    merge([of_log(report)], None, limits)
}

fn of_file(format: Format, path: &Path, limits: Limits) -> Result<reports::Report, ReportError> {
    let file = foreign::open(path).map_err(|error| ReportError::Unreadable {
        what: error.to_string(),
    })?;
    reports::read(format, BufReader::new(file), limits)
}

fn of_log(report: Result<reports::Report, ReportError>) -> RankReport {
    RankReport {
        rank: None,
        file: "the output".to_owned(),
        report,
    }
}

fn files(
    step: &Step,
    attempt: &Path,
    format: Format,
    pattern: &str,
    outcome: Outcome,
    limits: Limits,
) -> Option<Merged> {
    let folder = super::collect::last_start(attempt).join("results");
    let found = kept(&folder);
    let cut = foreign::read_to_string(folder.join("cut"), foreign::NOTE).ok();
    if found.is_empty() {
        // A step that failed may have died before it could write any.
        return (outcome == Outcome::Passed).then(|| Merged {
            problems: vec![cut.map_or_else(|| absent(&folder, pattern), |why| left_out(&why))],
            ..Merged::default()
        });
    }
    let ranks = step.resources.ranks;
    let of_ranks = found
        .iter()
        .map(|(name, _)| rank(pattern, name).filter(|rank| *rank < ranks))
        .collect::<Option<Vec<_>>>();
    let of_ranks = of_ranks.filter(|_| ranks > 1 || pattern.contains(RANK));
    let ranks = of_ranks.as_ref().map(|_| ranks);
    let mut of_ranks = of_ranks.unwrap_or_default().into_iter();
    let all = found.into_iter().map(|(file, report)| RankReport {
        rank: of_ranks.next(),
        file,
        report: of_file(format, &report, limits),
    });
    let mut merged = merge(all, ranks, limits);
    if let Some(why) = cut {
        merged.problems.insert(0, left_out(&why));
    }
    Some(merged)
}

/// What the script says of reports that it has not kept.
fn left_out(why: &str) -> String {
    format!("not all of its reports were kept: {}", one_line(why))
}

/// Returns the reports that a script kept in a folder: the path at which each was found, and where it is now.
pub(super) fn kept(folder: &Path) -> Vec<(String, PathBuf)> {
    let mut numbers = crate::foreign::names(folder)
        .iter()
        .filter_map(|name| name.strip_suffix(".report")?.parse::<u64>().ok())
        .collect::<Vec<_>>();
    numbers.sort_unstable();
    numbers.truncate(MOST_FILES);
    let found = numbers.iter().map(|number| {
        let name = foreign::read_to_string(folder.join(format!("{number}.name")), foreign::NOTE);
        let report = folder.join(format!("{number}.report"));
        (name.unwrap_or_default(), report)
    });
    found.collect()
}

fn absent(kept: &Path, pattern: &str) -> String {
    let stale = foreign::read_to_string(kept.join("stale"), foreign::RECORD).unwrap_or_default();
    match stale.lines().next() {
        Some(file) => format!(
            "the report `{file}` was there before the step began, and the step has not written it"
        ),
        None => format!("it left no report `{pattern}`"),
    }
}

const RANK: &str = "{rank}";

/// Returns the number in the place of `{rank}`, or of the only `*`, of the pattern that a file was found by.
fn rank(pattern: &str, file: &str) -> Option<u32> {
    let mark = if pattern.contains(RANK) { RANK } else { "*" };
    let (pattern, file) = pattern
        .rsplit('/')
        .zip(file.rsplit('/'))
        .find(|(part, _)| part.contains(mark))?;
    let (before, after) = pattern.split_once(mark)?;
    let wild = |text: &str| text.contains(['*', '?', '[']);
    if wild(before) || wild(after) {
        let digits = file.rsplit(|c: char| !c.is_ascii_digit());
        return digits.into_iter().find(|it| !it.is_empty())?.parse().ok();
    }
    file.strip_prefix(before)?.strip_suffix(after)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_tells_its_rank_by_its_name() {
        let check = |pattern, file, expected| {
            assert_eq!(rank(pattern, file), expected, "{pattern} {file}");
        };
        check("out/r-{rank}.xml", "out/r-12.xml", Some(12));
        check("out/r-{rank}.xml", "out/r-x.xml", None);
        check("r*.xml", "r3.xml", Some(3));
        check("r*.xml", "reports.xml", None);
        check("*/r{rank}.*", "2026/r7.xml", Some(7));
        check("{rank}/report.xml", "5/report.xml", Some(5));
        check("/scratch/{rank}.xml", "/scratch/0.xml", Some(0));
        check("report.xml", "report.xml", None);
    }
}
