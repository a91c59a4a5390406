//! `results` and `metric`: where a step tells of its tests, and a benchmark of its figures.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::choices::{Better, ResultsFormat};
use super::fields::{Bounded, Count, Name, Number, PathText, RegexText};
use super::problem::Problem;
use super::raw::{At, Item, Table, Value, join};
use super::read::{Section, impossible, section, wrong_type};
use super::site::inner;

/// Where a step tells of its tests, or of its figures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultsFile {
    /// In which format.
    pub format: ResultsFormat,
    /// The files, as a pattern that starts where the step runs or in its own folder; unset: its output. `{rank}` stands for
    /// the number of each rank.
    pub path: Option<String>,
    /// Which way figures get better, where the format does not say it.
    pub better: Better,
}

/// What a benchmark has beyond a test.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Benchmark {
    /// How often the command is launched and counted, within one job.
    pub repetitions: u32,
    /// How often it is launched before that.
    pub warmup: u32,
    /// A regular expression without a match of which a sample is an error.
    pub valid: Option<String>,
    /// The figures; at least one, unless `results` tells of them.
    pub metrics: Vec<Metric>,
}

/// A figure of a benchmark.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// Its name, where a benchmark has several.
    pub name: Option<String>,
    /// A regular expression whose first group is the figure; unset where `results` tells of it.
    pub pattern: Option<String>,
    /// Its unit, or nothing.
    pub unit: String,
    /// Which way it gets better; unset where `results` tells of it.
    pub better: Option<Better>,
    /// What it has to be, by `CLUSTER:PARTITION`, `CLUSTER` or `*`.
    pub reference: BTreeMap<String, Reference>,
}

/// A value that a figure has to be near to, in `ReFrame`'s meaning.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Reference {
    /// The value.
    pub value: f64,
    /// How far below it the figure may be, as a fraction, not above 0; unset: as far as it likes.
    pub lower: Option<f64>,
    /// How far above it the figure may be, as a fraction, not below 0; unset: as far as it likes.
    pub upper: Option<f64>,
}

/// Reads `results` of a step.
pub(super) fn read(s: &Section, is_benchmark: bool) -> Option<ResultsFile> {
    inner(s, "results", |s| results(s, is_benchmark))
}

fn results(s: &Section, is_benchmark: bool) -> ResultsFile {
    let format = s.need("format");
    let path = match format {
        ResultsFormat::Junit => Some(s.need::<PathText>("path").0),
        _ => s.get("path").map(|PathText(path)| path),
    };
    if let (ResultsFormat::None, Some(item)) = (format, s.table.get("path")) {
        let message = format!("`{}` has a path and nothing to read there", s.path);
        impossible(&item.at, message, "`format` is `none`", s.report);
    }
    if let Some(item) = s.table.get("format")
        && format.is_of_figures() != is_benchmark
    {
        let (kind, what) = if is_benchmark {
            ("a benchmark", "tests")
        } else {
            ("a test", "figures")
        };
        let message = format!("`{}` of {kind} cannot be `{format}`", s.path);
        impossible(
            &item.at,
            message,
            &format!("this is a format of {what}"),
            s.report,
        );
    }
    let better = if is_benchmark { s.get("better") } else { None };
    ResultsFile {
        format,
        path,
        better: better.unwrap_or_default(),
    }
}

/// Reads what `[[benchmark]]` has beyond `[[test]]`.
pub(super) fn benchmark(s: &Section) -> Benchmark {
    let from_pattern = s.table.get("results").is_none();
    Benchmark {
        repetitions: s.need::<Bounded<1, 10_000>>("repetitions").0,
        warmup: s.need::<Count>("warmup").0,
        valid: s.get("valid").map(|regex: RegexText| regex.text),
        metrics: metrics(s, from_pattern),
    }
}

fn metrics(s: &Section, from_pattern: bool) -> Vec<Metric> {
    let Some(item) = s.item("metric") else {
        if from_pattern {
            let message = format!("{} has no `metric`", s.title());
            let problem = Problem::new("missing-key", &s.at, message);
            s.report.push(problem.label("needs `metric`").help(
                "say how its figure is found: metric = { pattern = 'time: ([0-9.]+) s', unit = \"s\" }",
            ));
        }
        return Vec::new();
    };
    let path = join(s.path, "metric");
    let Value::List(items) = &item.value else {
        return section(item, &path, s.report, |s| {
            metric(s, from_pattern, !from_pattern)
        })
        .into_iter()
        .collect();
    };
    if items.is_empty() {
        impossible(
            &item.at,
            format!("{} has no metric", s.title()),
            "empty",
            s.report,
        );
    }
    let named = items.len() > 1 || !from_pattern;
    let read = |item| section(item, &path, s.report, |s| metric(s, from_pattern, named));
    let metrics: Vec<Metric> = items.iter().filter_map(read).collect();
    for (index, metric) in metrics.iter().enumerate() {
        let same = |other: &&Metric| metric.name.is_some() && other.name == metric.name;
        if metrics[..index].iter().find(same).is_some() {
            let name = metric.name.as_deref().unwrap_or_default();
            let at = items.get(index).map_or(&item.at, |item| &item.at);
            let at = place_of(items, index, "name").unwrap_or(at);
            let problem = Problem::new(
                "duplicate-name",
                at,
                format!("two metrics are called `{name}`"),
            );
            s.report.push(problem.label("the second"));
        }
    }
    metrics
}

fn place_of<'i>(items: &'i [Item], index: usize, key: &str) -> Option<&'i At> {
    let table: &Table = items.get(index)?.table()?;
    table.get(key).map(|item| &item.at)
}

fn metric(s: &Section, from_pattern: bool, named: bool) -> Metric {
    let name = if named {
        Some(s.need::<Name>("name").0)
    } else {
        s.get("name").map(|Name(name)| name)
    };
    let reference = reference(s);
    if !from_pattern {
        return Metric {
            name,
            pattern: None,
            unit: String::new(),
            better: s.get("better"),
            reference,
        };
    }
    let pattern: RegexText = s.need("pattern");
    if let (0, Some(item), false) = (
        pattern.groups,
        s.table.get("pattern"),
        pattern.text.is_empty(),
    ) {
        let message = format!("`{}` has no group that captures the figure", pattern.text);
        let problem = Problem::new("no-capture-group", &item.at, message);
        s.report.push(
            problem
                .label("no `( )`")
                .help("put the figure between parentheses: 'time: ([0-9.]+) s'"),
        );
    }
    Metric {
        name,
        pattern: Some(pattern.text),
        unit: s.get("unit").unwrap_or_default(),
        better: Some(s.get("better").unwrap_or_default()),
        reference,
    }
}

fn reference(s: &Section) -> BTreeMap<String, Reference> {
    let Some(item) = s.item("reference") else {
        return BTreeMap::new();
    };
    let path = join(s.path, "reference");
    let Some(table) = item.table() else {
        let expected = "a table such as { \"alps:batch\" = { value = 12.5, upper = 0.1 } }";
        wrong_type(item, &path, expected, s.report);
        return BTreeMap::new();
    };
    let entries = table.entries.iter().filter_map(|entry| {
        let path = join(&path, &entry.key);
        let bounds = section(&entry.item, &path, s.report, bounds)?;
        Some((entry.key.clone(), bounds))
    });
    entries.collect()
}

fn bounds(s: &Section) -> Reference {
    let number = |key| s.get(key).map(|Number(number)| number);
    let reference = Reference {
        value: s.need::<Number>("value").0,
        lower: number("lower"),
        upper: number("upper"),
    };
    for (key, bad) in [
        ("lower", reference.lower.is_some_and(|it| it > 0.0)),
        ("upper", reference.upper.is_some_and(|it| it < 0.0)),
    ] {
        if let (true, Some(item)) = (bad, s.table.get(key)) {
            let message = format!("`{}` cannot be {}", join(s.path, key), item.at.shown());
            let problem = Problem::new("impossible-value", &item.at, message);
            s.report.push(problem.label("points the wrong way").help(
                "bounds are fractions of the value: lower = -0.1 and upper = 0.05 allow 90 % to 105 %",
            ));
        }
    }
    reference
}
