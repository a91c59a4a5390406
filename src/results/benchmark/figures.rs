//! The figures that benchmark programs write themselves: Google Benchmark, Criterion, Bencher's metric format (BMF) and the
//! custom JSON of github-action-benchmark. The last two are written here as well.
//!
//! A figure has to be in what every repetition wrote: one that is missing once is an error, and so is one that is not finite.
//! JSON knows no such number, which is why programs that write `NaN` leave no JSON at all.

mod bencher;
mod criterion;
mod google;

use std::collections::BTreeMap;

use super::super::record::Better;
use super::metric::BenchmarkError;

pub use bencher::{bigger_is_better, bmf, smaller_is_better};

/// Who wrote them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FigureFormat {
    /// Google Benchmark.
    GoogleBenchmark,
    /// Criterion, or cargo-criterion.
    Criterion,
    /// Bencher's metric format.
    Bmf,
    /// github-action-benchmark.
    GithubActionBenchmark,
}

/// A file that a repetition left, or its output.
#[derive(Debug, Clone)]
pub struct FigureFile {
    /// Its path, as it was found.
    pub path: String,
    /// What stands in it, or why nobody knows.
    pub text: Result<String, String>,
}

/// One figure over all repetitions.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// Its name.
    pub name: String,
    /// Its unit.
    pub unit: String,
    /// Which direction is good.
    pub better: Better,
    /// Its samples, or why there are none.
    pub samples: Result<Vec<f64>, BenchmarkError>,
}

/// What a program wrote of one figure in one repetition.
#[derive(Debug, Clone, PartialEq)]
struct Told {
    name: String,
    unit: String,
    better: Better,
    /// Its values, or its own word on why there are none.
    values: Result<Vec<f64>, String>,
}

/// Returns the figures of a benchmark, in the order they were first told of, and what should be known about them.
///
/// `better` is the direction where the format does not say it.
pub fn read(
    format: FigureFormat,
    better: Better,
    repetitions: &[Vec<FigureFile>],
) -> Result<(Vec<Figure>, Vec<String>), BenchmarkError> {
    let mut warnings = Vec::new();
    let mut order = Vec::<(String, String, Better)>::new();
    let mut told = BTreeMap::<String, Vec<Result<Vec<f64>, BenchmarkError>>>::new();
    for (number, files) in (1..).zip(repetitions) {
        let found = repetition(format, better, files, &mut warnings).map_err(|what| {
            BenchmarkError::Report {
                repetition: number,
                what,
            }
        })?;
        for one in found {
            let known = order.iter().find(|(name, ..)| *name == one.name);
            let values = match known {
                Some((_, unit, _)) if *unit != one.unit => Err(BenchmarkError::UnitChanged {
                    repetition: number,
                    unit: one.unit.clone(),
                }),
                _ => checked(number, one.values),
            };
            if known.is_none() {
                order.push((one.name.clone(), one.unit, one.better));
            }
            let all = told.entry(one.name).or_default();
            let missing = (number - 1).saturating_sub(all.len());
            all.extend((0..missing).map(|_| Err(absent(number - 1))));
            all.push(values);
        }
    }
    if order.is_empty() {
        return Err(BenchmarkError::NoOutput);
    }
    let figures = order.into_iter().map(|(name, unit, better)| {
        let mut all = told.remove(&name).unwrap_or_default();
        if all.len() < repetitions.len() {
            all.push(Err(absent(repetitions.len())));
        }
        let samples = all.into_iter().collect::<Result<Vec<_>, _>>();
        Figure {
            name,
            unit,
            better,
            samples: samples.map(|all| all.concat()),
        }
    });
    warnings.sort_unstable();
    warnings.dedup();
    Ok((figures.collect(), warnings))
}

fn absent(repetition: usize) -> BenchmarkError {
    BenchmarkError::Absent { repetition }
}

fn checked(
    repetition: usize,
    values: Result<Vec<f64>, String>,
) -> Result<Vec<f64>, BenchmarkError> {
    let values = values.map_err(|text| BenchmarkError::Told { repetition, text })?;
    match values.iter().find(|value| !value.is_finite()) {
        Some(value) => Err(BenchmarkError::NotFinite {
            repetition,
            text: value.to_string(),
        }),
        None if values.is_empty() => Err(absent(repetition)),
        None => Ok(values),
    }
}

fn repetition(
    format: FigureFormat,
    better: Better,
    files: &[FigureFile],
    warnings: &mut Vec<String>,
) -> Result<Vec<Told>, String> {
    if files.is_empty() {
        return Err("it left no report".to_owned());
    }
    let texts = files
        .iter()
        .map(|file| {
            let text = file.text.as_ref();
            let text = text.map_err(|error| format!("`{}`: {error}", file.path))?;
            Ok((file.path.as_str(), text.as_str()))
        })
        .collect::<Result<Vec<_>, String>>()?;
    if format == FigureFormat::Criterion {
        return criterion::read(&texts);
    }
    let mut told = Vec::new();
    for (path, text) in texts {
        let found = match format {
            FigureFormat::GoogleBenchmark => google::read(text, warnings),
            FigureFormat::Bmf => bencher::read_bmf(text, better),
            _ => bencher::read_action(text, better),
        };
        told.extend(found.map_err(|error| format!("`{path}`: {error}"))?);
    }
    let mut names = told.iter().map(|one| &one.name).collect::<Vec<_>>();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(format!("it tells of `{}` twice", pair[0])),
        None => Ok(told),
    }
}

/// Returns the JSON of a text, with what a program printed around it left out.
fn json(text: &str, open: char, close: char) -> Result<serde_json::Value, String> {
    let start = text.find(open).ok_or("it holds no JSON")?;
    let end = text.rfind(close).filter(|&end| end > start);
    let end = end.ok_or("it holds no JSON")?;
    serde_json::from_str(&text[start..=end]).map_err(|error| format!("it is no JSON: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Vec<FigureFile> {
        vec![FigureFile {
            path: "out.json".to_owned(),
            text: Ok(text.to_owned()),
        }]
    }

    /// Repetitions, then figures as lines.
    fn check(format: FigureFormat, repetitions: &[&str], expected: &str) {
        let files = repetitions
            .iter()
            .map(|text| file(text))
            .collect::<Vec<_>>();
        let told = match read(format, Better::Lower, &files) {
            Ok((figures, warnings)) => {
                let lines = figures.iter().map(|it| {
                    let values = match &it.samples {
                        Ok(samples) => format!("{samples:?}"),
                        Err(error) => format!("! {error}"),
                    };
                    format!("{} [{}] {:?} {values}\n", it.name, it.unit, it.better)
                });
                let warnings = warnings.iter().map(|it| format!("note: {it}\n"));
                lines.chain(warnings).collect::<String>()
            }
            Err(error) => format!("! {error}"),
        };
        assert_eq!(told, expected);
    }

    #[test]
    fn google_benchmark() {
        let text = |time: &str| {
            format!(
                r#"noise {{"context":{{"library_build_type":"debug","cpu_scaling_enabled":true}},"benchmarks":[
            {{"name":"BM_copy/8","run_name":"BM_copy/8","run_type":"iteration","iterations":3,"real_time":{time},"cpu_time":1.0,"time_unit":"ns","bytes_per_second":2.5e9}},
            {{"name":"BM_copy/8_mean","run_name":"BM_copy/8","run_type":"aggregate","real_time":9.0,"time_unit":"ns"}},
            {{"name":"BM_bad","run_name":"BM_bad","run_type":"iteration","error_occurred":true,"error_message":"no device"}}]}} noise"#
            )
        };
        check(
            FigureFormat::GoogleBenchmark,
            &[&text("2.8999999999999995"), &text("3")],
            "BM_copy/8 [ns] Lower [2.8999999999999995, 3.0]\n\
             BM_copy/8:bytes_per_second [B/s] Higher [2500000000.0, 2500000000.0]\n\
             BM_bad [] Lower ! repetition 1 says: no device\n\
             note: its library was built for debugging\nnote: the processor scaled its frequency\n",
        );
        check(
            FigureFormat::GoogleBenchmark,
            &[&text("NaN")],
            "! repetition 1 left no figures: `out.json`: it is no JSON: expected value at line 2 column 106",
        );
        check(
            FigureFormat::GoogleBenchmark,
            &[r#"{"benchmarks":[{"name":"a_mean","run_type":"aggregate","real_time":1}]}"#],
            "! repetition 1 left no figures: `out.json`: it lists only aggregates",
        );
    }

    #[test]
    fn bencher_and_github_action_benchmark() {
        check(
            FigureFormat::Bmf,
            &[
                r#"{"solve":{"latency":{"value":1.5},"throughput":{"value":7}}}"#,
                r#"{"solve":{"latency":{"value":1.75}}}"#,
            ],
            "solve:latency [ns] Lower [1.5, 1.75]\n\
             solve:throughput [op/s] Higher ! repetition 2 does not tell of it\n",
        );
        check(
            FigureFormat::GithubActionBenchmark,
            &[r#"[{"name":"a","unit":"ms","value":2},{"name":"b","unit":"ms","value":null}]"#],
            "! repetition 1 left no figures: `out.json`: `b` has no value",
        );
        check(
            FigureFormat::GithubActionBenchmark,
            &[
                r#"[{"name":"a","unit":"ms","value":2}]"#,
                r#"[{"name":"a","unit":"s","value":2}]"#,
            ],
            "a [ms] Lower ! repetition 2 has it in `s`\n",
        );
        check(FigureFormat::Bmf, &[], "! no repetition left an output");
    }

    #[test]
    fn criterion() {
        check(
            FigureFormat::Criterion,
            &[
                "Benchmarking fib\nfib 20                  time:   [26.029 us 26.251 us 26.505 us]\n\
               a/very/long/name/that/wraps\n                        time:   [1.5 ms 1.6 ms 1.7 ms]\n",
            ],
            "fib 20 [us] Lower [26.251]\na/very/long/name/that/wraps [ms] Lower [1.6]\n",
        );
        check(
            FigureFormat::Criterion,
            &[
                r#"{"reason":"benchmark-complete","id":"fib","iteration_count":[2,4],"measured_values":[10.0,18.0],"unit":"ns"}
{"reason":"group-complete"}"#,
            ],
            "fib [ns] Lower [5.0, 4.5]\n",
        );
        let file = |path: &str, text: &str| FigureFile {
            path: path.to_owned(),
            text: Ok(text.to_owned()),
        };
        let root = "target/criterion/solve/64/new";
        let files = vec![
            file(
                &format!("{root}/estimates.json"),
                r#"{"median":{"point_estimate":7.0}}"#,
            ),
            file(
                &format!("{root}/sample.json"),
                r#"{"sampling_mode":"Linear","iters":[1.0,2.0],"times":[3.0,8.0]}"#,
            ),
            file(
                "target/criterion/old/new/estimates.json",
                r#"{"Median":{"point_estimate":9.5}}"#,
            ),
        ];
        let (figures, _) =
            read(FigureFormat::Criterion, Better::Lower, &[files]).expect("they are Criterion's");
        let figures = figures.iter().map(|it| {
            (
                it.name.as_str(),
                it.samples.clone().expect("it was measured"),
            )
        });
        assert_eq!(
            figures.collect::<Vec<_>>(),
            [("old", vec![9.5]), ("solve/64", vec![3.0, 4.0])]
        );
    }
}
