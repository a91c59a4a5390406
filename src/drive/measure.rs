//! The figures that a benchmark left: in the output of each launch, or in the files that its script kept.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::live::Attempt;
use super::meta::Surroundings;
use super::{collect, reports, toolchain};
use crate::config::{Better, Reference};
use crate::foreign;
use crate::plan::{Benchmark, Metric, ResultsFormat, Step, StepKind};
use crate::results::BenchmarkInput;
use crate::results::benchmark::figures::{self, Figure, FigureFile, FigureFormat};
use crate::results::benchmark::{self, BenchmarkError, all_valid, of_place};
use crate::results::record;
use crate::results::reports::Limits;
use crate::scheduler::Outcome;

/// Returns the metrics of a benchmark that ended so; `key` says where it was measured, `cluster` is that place's name.
pub(super) fn metrics(
    step: &Step,
    attempt: &Path,
    outcome: Outcome,
    key: &BTreeMap<String, String>,
    cluster: Option<&str>,
    limits: Limits,
) -> Vec<BenchmarkInput> {
    let StepKind::Benchmark(benchmark) = &step.kind else {
        return Vec::new();
    };
    if outcome == Outcome::Skipped {
        return Vec::new();
    }
    let start = collect::last_start(attempt);
    let partition = step.resources.partition.as_deref();
    let input = |figure: Figure, declared: Option<&Metric>, warnings: &[String]| BenchmarkInput {
        step: step.name.clone(),
        metric: Some(figure.name).filter(|name| !name.is_empty()),
        unit: figure.unit,
        better: figure.better,
        samples: figure.samples,
        baseline: None,
        key: key.clone(),
        reference: declared.and_then(|metric| {
            of_place(cluster, partition, |place| metric.reference.get(place)).map(reference)
        }),
        warnings: warnings.to_vec(),
    };
    let (figures, warnings) = match fault(&start, outcome) {
        Some(error) => (unmeasured(step, benchmark, &error), Vec::new()),
        None => told(step, benchmark, &start, limits)
            .unwrap_or_else(|error| (unmeasured(step, benchmark, &error), Vec::new())),
    };
    let declared = |name: &str| {
        let mut metrics = benchmark.metrics.iter();
        metrics.find(|metric| metric.name.as_deref().unwrap_or_default() == name)
    };
    figures
        .into_iter()
        .map(|mut figure| {
            let declared = declared(&figure.name);
            if let Some(better) = declared.and_then(|metric| metric.better) {
                figure.better = direction(better);
            }
            input(figure, declared, &warnings)
        })
        .collect()
}

/// Returns what must agree for two results of a benchmark to be comparable.
pub(super) fn key(
    step: &Step,
    cluster: Option<&String>,
    attempt: Option<&Attempt>,
    around: &Surroundings,
) -> BTreeMap<String, String> {
    let nodes = attempt.map(|attempt| &attempt.end.nodes);
    let host = attempt.and_then(|attempt| attempt.host.as_ref());
    let linked = host
        .and_then(|host| host.mpi.as_ref())
        .filter(|it| !it.is_empty());
    let mpi = linked.map(|linked| toolchain::mpi_in_use(&around.toolchain, linked));
    let compilers = &around.toolchain.compilers;
    let compiler = around.programs.compiler(step).map(str::to_owned);
    let pairs = [
        ("system", cluster.cloned()),
        ("partition", step.resources.partition.clone()),
        (
            "processor",
            nodes.and_then(|nodes| around.nodes.processors(nodes)),
        ),
        (
            "compiler",
            compiler.or_else(|| compilers.first().map(toolchain::named)),
        ),
        ("mpi", mpi),
        ("ranks", Some(step.resources.ranks.to_string())),
        (
            "threads",
            step.resources.cpus_per_rank.map(|cpus| cpus.to_string()),
        ),
        ("nodes", nodes.map(|nodes| nodes.len().to_string())),
    ];
    let known = pairs.into_iter().filter_map(|(name, value)| {
        let value = value.filter(|value| !value.is_empty())?;
        Some((name.to_owned(), value))
    });
    known.collect()
}

/// What spoils every figure of a benchmark.
fn fault(start: &Path, outcome: Outcome) -> Option<BenchmarkError> {
    if outcome != Outcome::Passed {
        return Some(BenchmarkError::Step { outcome });
    }
    // The surest sign of instrumentation, also of programs that only a script knows.
    let profiles = collect::files(start, "profiles", ".profraw");
    let of_program = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        !name.starts_with("before.") && !name.starts_with("after.")
    };
    profiles
        .iter()
        .any(of_program)
        .then_some(BenchmarkError::Instrumented)
}

/// What is known of a benchmark's metrics where none was measured.
fn unmeasured(step: &Step, benchmark: &Benchmark, error: &BenchmarkError) -> Vec<Figure> {
    let figure = |name: &str, unit: &str, better: Option<Better>| Figure {
        name: name.to_owned(),
        unit: unit.to_owned(),
        better: direction(better.unwrap_or_default()),
        samples: Err(error.clone()),
    };
    if benchmark.metrics.is_empty() {
        let better = step.results.as_ref().map(|results| results.better);
        return vec![figure("", "", better)];
    }
    let metrics = benchmark.metrics.iter();
    metrics
        .map(|it| figure(it.name.as_deref().unwrap_or_default(), &it.unit, it.better))
        .collect()
}

fn told(
    step: &Step,
    benchmark: &Benchmark,
    start: &Path,
    limits: Limits,
) -> Result<(Vec<Figure>, Vec<String>), BenchmarkError> {
    let logs = sample_logs(start);
    // One is read at a time: each may be large, and there may be many.
    let outputs = || logs.iter().map(|path| output(path, limits.bytes));
    let Some(results) = &step.results else {
        let metrics = benchmark.metrics.iter();
        let figures = metrics.map(|metric| by_pattern(metric, benchmark, outputs()));
        return Ok((figures.collect(), Vec::new()));
    };
    if let Some(valid) = &benchmark.valid {
        all_valid(valid, outputs())?;
    }
    let format = format(results.format).ok_or(BenchmarkError::NoOutput)?;
    let better = direction(results.better);
    let (mut figures, warnings) = if results.path.is_some() {
        let folders = kept_folders(start, logs.len());
        let files = folders.iter().map(|folder| kept_files(folder));
        figures::read(format, better, files)?
    } else {
        let of_output = |path: &PathBuf| FigureFile {
            path: "the output".to_owned(),
            text: output(path, MOST_FIGURES),
        };
        figures::read(
            format,
            better,
            logs.iter().map(|path| vec![of_output(path)]),
        )?
    };
    // A metric that was declared and never told of must not vanish.
    for metric in &benchmark.metrics {
        let name = metric.name.as_deref().unwrap_or_default();
        if !figures.iter().any(|figure| figure.name == name) {
            figures.push(Figure {
                name: name.to_owned(),
                unit: String::new(),
                better: direction(metric.better.unwrap_or_default()),
                samples: Err(BenchmarkError::Absent { repetition: 1 }),
            });
        }
    }
    Ok((figures, warnings))
}

/// Returns an output as far as it is read. One that is longer is no output, since the last figure counts.
fn output(path: &Path, most: u64) -> Result<String, String> {
    match foreign::read(path, most) {
        Ok(bytes) => Ok(String::from_utf8(bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())),
        Err(error) => Err(error.to_string()),
    }
}

fn by_pattern(
    metric: &Metric,
    benchmark: &Benchmark,
    outputs: impl Iterator<Item = Result<String, String>>,
) -> Figure {
    let pattern = metric.pattern.as_deref().unwrap_or_default();
    Figure {
        name: metric.name.clone().unwrap_or_default(),
        unit: metric.unit.clone(),
        better: direction(metric.better.unwrap_or_default()),
        samples: benchmark::Metric::new(pattern, benchmark.valid.as_deref(), &metric.unit)
            .and_then(|metric| metric.samples(outputs)),
    }
}

/// The folder of each repetition's files; a single launch keeps them without a folder of its own.
fn kept_folders(start: &Path, repetitions: usize) -> Vec<PathBuf> {
    let kept = start.join("results");
    if kept.join("1").is_dir() {
        let numbers = 1..=repetitions;
        numbers
            .map(|number| kept.join(number.to_string()))
            .collect()
    } else {
        vec![kept]
    }
}

/// The most bytes of figures that are read of one launch: as a document they take twenty times that.
const MOST_FIGURES: u64 = 8 << 20;

fn kept_files(folder: &Path) -> Vec<FigureFile> {
    let mut left = MOST_FIGURES;
    let found = reports::kept(folder).into_iter();
    let files = found.map(|(path, file)| {
        let text = output(&file, left);
        left = left.saturating_sub(text.as_ref().map_or(0, |text| text.len() as u64));
        FigureFile { path, text }
    });
    files.collect()
}

fn sample_logs(start: &Path) -> Vec<PathBuf> {
    let mut names: Vec<String> = foreign::names(start)
        .into_iter()
        .filter(|name| name.starts_with("sample-"))
        .collect();
    // The number grows wider beyond 999 launches.
    names.sort_by_key(|name| (name.len(), name.clone()));
    if names.is_empty() {
        // A single launch without a warm-up writes to the log of the step.
        return vec![start.join("log.txt")]
            .into_iter()
            .filter(|path| path.exists())
            .collect();
    }
    names.into_iter().map(|name| start.join(name)).collect()
}

fn format(format: ResultsFormat) -> Option<FigureFormat> {
    Some(match format {
        ResultsFormat::GoogleBenchmark => FigureFormat::GoogleBenchmark,
        ResultsFormat::Criterion => FigureFormat::Criterion,
        ResultsFormat::Bmf => FigureFormat::Bmf,
        ResultsFormat::GithubActionBenchmark => FigureFormat::GithubActionBenchmark,
        _ => return None,
    })
}

fn direction(better: Better) -> record::Better {
    match better {
        Better::Lower => record::Better::Lower,
        Better::Higher => record::Better::Higher,
    }
}

fn reference(reference: &Reference) -> benchmark::Reference {
    benchmark::Reference {
        value: reference.value,
        lower: reference.lower,
        upper: reference.upper,
    }
}
