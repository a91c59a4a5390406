//! The figures that benchmark programs write themselves: Google Benchmark, Criterion, Bencher's metric format (BMF) and the
//! custom JSON of github-action-benchmark. The last two are written here as well.
//!
//! A figure has to be in what every repetition wrote: one that is missing once is an error, and so is one that is not finite, or a
//! time or rate that is not above 0. One that its program skipped in all of them is skipped.
//! JSON knows no such number, which is why programs that write `NaN` leave no JSON at all.

mod bencher;
mod criterion;
mod google;

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::record::Better;
use super::metric::{BenchmarkError, measured};

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
    values: Result<Vec<f64>, NoValue>,
}

/// Why a program says that there is no value.
#[derive(Debug, Clone, PartialEq)]
enum NoValue {
    /// It left the figure out.
    Skipped(String),
    /// Something went wrong.
    Fault(String),
}

impl NoValue {
    /// Returns what is to be said if a figure has no value once, and another time has one or another reason.
    fn and(self, other: Result<(), Self>) -> Self {
        match (self, other) {
            (Self::Skipped(text), Err(Self::Skipped(_))) => Self::Skipped(text),
            (Self::Skipped(text), Ok(())) => Self::Fault(format!("skipped: {text}")),
            (Self::Skipped(_), Err(fault)) | (fault, _) => fault,
        }
    }
}

/// Returns why an entry says that it has no value: by `skipped` or `error_occurred`, which others have from Google Benchmark.
fn left_out(entry: &Value) -> Option<NoValue> {
    let says = |key: &str| match &entry[key] {
        Value::Bool(said) => *said,
        Value::String(text) => !matches!(text.to_ascii_lowercase().as_str(), "" | "false" | "no"),
        Value::Number(number) => number.as_f64() != Some(0.0),
        _ => false,
    };
    let words = |keys: [&str; 2], otherwise: &str| {
        let mut found = keys.iter().filter_map(|key| entry[*key].as_str());
        found
            .find(|text| !text.is_empty())
            .unwrap_or(otherwise)
            .to_owned()
    };
    if says("error_occurred") || says("error") {
        let text = words(["error_message", "error"], "an error occurred");
        return Some(NoValue::Fault(text));
    }
    let none = entry["iterations"].as_f64() == Some(0.0);
    if says("skipped") {
        let text = words(["skip_message", "skipped"], "it does not say why");
        return Some(NoValue::Skipped(text));
    }
    none.then(|| NoValue::Fault("it made no iteration".to_owned()))
}

/// Returns the figures of a benchmark, in the order they were first told of, and what should be known about them.
///
/// `better` is the direction where the format does not say it.
pub fn read(
    format: FigureFormat,
    better: Better,
    repetitions: impl IntoIterator<Item = Vec<FigureFile>>,
) -> Result<(Vec<Figure>, Vec<String>), BenchmarkError> {
    let mut warnings = Vec::new();
    let mut order = Vec::<Figure>::new();
    let mut told = BTreeMap::<String, Vec<Result<Vec<f64>, BenchmarkError>>>::new();
    let mut repeated = 0;
    for (number, files) in (1..).zip(repetitions) {
        repeated = number;
        let found = repetition(format, better, &files, &mut warnings).map_err(|what| {
            BenchmarkError::Report {
                repetition: number,
                what,
            }
        })?;
        for one in found {
            let all = told.entry(one.name.clone()).or_default();
            let has_value = all.iter().any(Result::is_ok);
            let missing = (number - 1).saturating_sub(all.len());
            all.extend((0..missing).map(|_| Err(absent(number - 1))));
            let known = order.iter_mut().find(|known| known.name == one.name);
            all.push(match (&known, &one.values) {
                (Some(known), Ok(_)) if has_value && known.unit != one.unit => {
                    Err(BenchmarkError::UnitChanged {
                        repetition: number,
                        unit: one.unit.clone(),
                    })
                }
                _ => checked(number, one.values, &one.unit),
            });
            match known {
                // Where there is no value, there may be no unit either.
                Some(known) if !has_value => known.unit = one.unit,
                Some(_) => {}
                None => order.push(Figure {
                    name: one.name,
                    unit: one.unit,
                    better: one.better,
                    samples: Ok(Vec::new()),
                }),
            }
        }
    }
    if order.is_empty() {
        return Err(BenchmarkError::NoOutput);
    }
    let figures = order.into_iter().map(|figure| {
        let mut all = told.remove(&figure.name).unwrap_or_default();
        if all.len() < repeated {
            all.push(Err(absent(repeated)));
        }
        Figure {
            samples: joined(all),
            ..figure
        }
    });
    warnings.sort_unstable();
    warnings.dedup();
    Ok((figures.collect(), warnings))
}

/// Joins the values of all repetitions. A figure that some of them skipped has no value; only if all did, that is as it should be.
fn joined(all: Vec<Result<Vec<f64>, BenchmarkError>>) -> Result<Vec<f64>, BenchmarkError> {
    let is_skipped = |one: &Result<_, _>| matches!(one, Err(BenchmarkError::Skipped { .. }));
    let everywhere = all.iter().all(is_skipped);
    let values = (1..).zip(all).map(|(repetition, one)| match one {
        Err(BenchmarkError::Skipped { text }) if !everywhere => Err(BenchmarkError::Told {
            repetition,
            text: format!("skipped: {text}"),
        }),
        one => one,
    });
    Ok(values.collect::<Result<Vec<_>, _>>()?.concat())
}

fn absent(repetition: usize) -> BenchmarkError {
    BenchmarkError::Absent { repetition }
}

fn checked(
    repetition: usize,
    values: Result<Vec<f64>, NoValue>,
    unit: &str,
) -> Result<Vec<f64>, BenchmarkError> {
    let values = values.map_err(|why| match why {
        NoValue::Skipped(text) => BenchmarkError::Skipped { text },
        NoValue::Fault(text) => BenchmarkError::Told { repetition, text },
    })?;
    match values.iter().find(|value| !value.is_finite()) {
        Some(value) => Err(BenchmarkError::NotFinite {
            repetition,
            text: value.to_string(),
        }),
        None if values.is_empty() => Err(absent(repetition)),
        None => {
            let values = values.into_iter();
            values
                .map(|value| measured(repetition, value, unit))
                .collect()
        }
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
        let told = match read(format, Better::Lower, files) {
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

    /// What Google Benchmark 1.8 and later write of a row that is skipped: times of 0.
    #[test]
    fn rows_that_were_skipped() {
        let sample = include_str!("../../../tests/data/benchmarks/skipped.json");
        let skipped = "axpy_gpu/1024 [ns] Lower ! its program skipped it: no GPU on this node\n";
        check(
            FigureFormat::GoogleBenchmark,
            &[sample, sample],
            &format!("axpy/1024 [ns] Lower [52000.0, 52000.0]\n{skipped}"),
        );
        for text in [
            include_str!("../../../tests/data/benchmarks/google-1.8.3.json"),
            include_str!("../../../tests/data/benchmarks/google-1.9.5.json"),
        ] {
            let (figures, _) = read(FigureFormat::GoogleBenchmark, Better::Lower, [file(text)])
                .expect("it is Google Benchmark's");
            let values = figures.iter().map(|it| match &it.samples {
                Ok(samples) => format!("{}: {} samples", it.name, samples.len()),
                Err(error) => format!("{}: {error}", it.name),
            });
            assert_eq!(
                values.collect::<Vec<_>>(),
                [
                    "axpy: 2 samples",
                    "axpy_gpu: its program skipped it: no GPU on this node",
                    "axpy_broken: repetition 1 says: no device"
                ]
            );
        }
        let rows = |of_rows: &[&str]| {
            let rest = r#""name":"a","run_name":"a","run_type":"iteration","time_unit":"ns""#;
            let rows = of_rows.iter().map(|of_row| format!("{{{rest},{of_row}}}"));
            format!(
                r#"{{"benchmarks":[{}]}}"#,
                rows.collect::<Vec<_>>().join(",")
            )
        };
        let row = |of_row: &str| rows(&[of_row]);
        let figures = r#""real_time":2.0,"iterations":5"#;
        let none = r#""skipped":true,"skip_message":"no GPU","real_time":0.0"#;
        let (measured, left_out) = (row(figures), row(none));
        let cases = [
            // Skipped in one launch, and measured in another.
            (
                vec![&measured, &left_out],
                "! repetition 2 says: skipped: no GPU",
            ),
            (
                vec![&left_out, &measured],
                "! repetition 1 says: skipped: no GPU",
            ),
            (
                vec![&left_out, &left_out],
                "! its program skipped it: no GPU",
            ),
        ];
        for (texts, expected) in cases {
            let texts = texts.iter().map(|it| it.as_str()).collect::<Vec<_>>();
            let expected = format!("a [ns] Lower {expected}\n");
            check(FigureFormat::GoogleBenchmark, &texts, &expected);
        }
        // Of several rows of one launch, one was skipped.
        for both in [[figures, none], [none, figures]] {
            check(
                FigureFormat::GoogleBenchmark,
                &[&rows(&both)],
                "a [ns] Lower ! repetition 1 says: skipped: no GPU\n",
            );
        }
        for (of_row, expected) in [
            (
                r#""real_time":0.0,"iterations":5"#,
                "has 0 ns, which is no measurement",
            ),
            (
                r#""real_time":-1.5,"iterations":5"#,
                "has -1.5 ns, which is no measurement",
            ),
            (
                r#""real_time":3.0,"iterations":0"#,
                "says: it made no iteration",
            ),
            (
                r#""real_time":3.0,"error_occurred":true"#,
                "says: an error occurred",
            ),
        ] {
            let expected = format!("a [ns] Lower ! repetition 1 {expected}\n");
            check(FigureFormat::GoogleBenchmark, &[&row(of_row)], &expected);
        }
        // Where only aggregates are reported, what was skipped is not all there is.
        let aggregate = |name: &str, of: &str| {
            format!(
                r#"{{"name":"{name}_{of}","run_name":"{name}","run_type":"aggregate","aggregate_name":"{of}","real_time":1,"time_unit":"ns"}}"#
            )
        };
        let aggregates = [
            aggregate("b", "mean"),
            aggregate("b", "median"),
            aggregate("c", "BigO"),
        ];
        let text = left_out.replacen("}]}", &format!("}},{}]}}", aggregates.join(",")), 1);
        check(
            FigureFormat::GoogleBenchmark,
            &[&text],
            "a [ns] Lower ! its program skipped it: no GPU\nb [ns] Lower ! repetition 1 says: it lists only aggregates\n",
        );
        let rate = row(r#""real_time":2.0,"bytes_per_second":0.0"#);
        check(
            FigureFormat::GoogleBenchmark,
            &[&rate],
            "a [ns] Lower [2.0]\na:bytes_per_second [B/s] Higher ! repetition 1 has 0 B/s, which is no measurement\n",
        );
    }

    #[test]
    fn nothing_is_measured_as_0_in_any_format() {
        let no = |text: &str| format!("! repetition 1 {text}");
        let one =
            |format, text: &str, expected: &str| check(format, &[text], &format!("{expected}\n"));
        let bmf = |figure: &str| format!(r#"{{"solve":{{"latency":{figure}}}}}"#);
        for (figure, expected) in [
            (r#"{"value":0}"#, no("has 0 ns, which is no measurement")),
            (r#"{"value":-2}"#, no("has -2 ns, which is no measurement")),
            (
                r#"{"value":0,"skipped":true}"#,
                "! its program skipped it: it does not say why".to_owned(),
            ),
            (r#"{"value":0,"error":"no device"}"#, no("says: no device")),
        ] {
            let expected = format!("solve:latency [ns] Lower {expected}");
            one(FigureFormat::Bmf, &bmf(figure), &expected);
        }
        one(
            FigureFormat::Bmf,
            r#"{"solve":{"throughput":{"value":0}}}"#,
            &format!(
                "solve:throughput [op/s] Higher {}",
                no("has 0 op/s, which is no measurement")
            ),
        );
        one(
            FigureFormat::Bmf,
            r#"{"solve":{"failures":{"value":0}}}"#,
            "solve:failures [] Lower [0.0]",
        );
        let entry = |rest: &str| format!(r#"[{{"name":"a",{rest}}}]"#);
        for (rest, expected) in [
            (
                r#""unit":"ns/iter","value":0"#,
                format!(
                    "[ns/iter] Lower {}",
                    no("has 0 ns/iter, which is no measurement")
                ),
            ),
            (
                r#""unit":"ms","value":-1"#,
                format!("[ms] Lower {}", no("has -1 ms, which is no measurement")),
            ),
            (
                r#""unit":"errors","value":0"#,
                "[errors] Lower [0.0]".to_owned(),
            ),
            (
                r#""unit":"ms","value":0,"skipped":"no GPU""#,
                "[ms] Lower ! its program skipped it: no GPU".to_owned(),
            ),
        ] {
            let expected = format!("a {expected}");
            one(FigureFormat::GithubActionBenchmark, &entry(rest), &expected);
        }
        one(
            FigureFormat::Criterion,
            "f  time:   [0.0000 ps 0.0000 ps 0.0000 ps]\n",
            &format!("f [ps] Lower {}", no("has 0 ps, which is no measurement")),
        );
        let complete = |counts: &str, values: &str| {
            format!(
                r#"{{"reason":"benchmark-complete","id":"f","iteration_count":{counts},"measured_values":{values},"unit":"ns"}}"#
            )
        };
        one(
            FigureFormat::Criterion,
            &complete("[2,4]", "[4.0,0.0]"),
            &format!("f [ns] Lower {}", no("has 0 ns, which is no measurement")),
        );
        check(
            FigureFormat::Criterion,
            &[&complete("[0,4]", "[4.0,8.0]")],
            "! repetition 1 left no figures: `out.json`: a sample of it made no iteration",
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
            read(FigureFormat::Criterion, Better::Lower, [files]).expect("they are Criterion's");
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
