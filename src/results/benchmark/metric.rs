//! How a metric is read from the output of a program, and what can be wrong with it.

use regex::{Regex, RegexBuilder};

use super::super::clean::{one_line, shortened};
use super::super::record::Outcome;
use super::is_measured;

/// How much of a text an error shows.
const SHOWN: usize = 60;

/// How to read a metric from the output of a program.
#[derive(Debug, Clone)]
pub struct Metric {
    pattern: Regex,
    valid: Option<Regex>,
    unit: String,
}

impl Metric {
    /// Returns the metric that `pattern` finds: by its group `value`, or else by its first one. In both patterns `^` and
    /// `$` mean lines. A repetition counts only if `valid` matches somewhere in its output.
    pub fn new(pattern: &str, valid: Option<&str>, unit: &str) -> Result<Self, BenchmarkError> {
        let metric = Self {
            pattern: compile(pattern)?,
            valid: valid.map(compile).transpose()?,
            unit: unit.to_owned(),
        };
        if metric.pattern.captures_len() < 2 {
            return Err(BenchmarkError::NoGroup {
                pattern: pattern.to_owned(),
            });
        }
        Ok(metric)
    }

    /// Returns one sample for each output, in their order; an output is its text, or why it cannot be read. Outputs of warm-up launches do not belong here.
    pub fn samples<S: AsRef<str>>(
        &self,
        outputs: impl IntoIterator<Item = Result<S, String>>,
    ) -> Result<Vec<f64>, BenchmarkError> {
        let samples = (1..)
            .zip(outputs)
            .map(|(repetition, output)| {
                self.sample(repetition, whole(repetition, output)?.as_ref())
            })
            .collect::<Result<Vec<_>, _>>()?;
        if samples.is_empty() {
            Err(BenchmarkError::NoOutput)
        } else {
            Ok(samples)
        }
    }

    fn sample(&self, repetition: usize, output: &str) -> Result<f64, BenchmarkError> {
        check_valid(self.valid.as_ref(), repetition, output)?;
        let text = self
            .pattern
            .captures_iter(output)
            .filter_map(|found| found.name("value").or_else(|| found.get(1)))
            .last()
            .map(|value| value.as_str().trim())
            .ok_or_else(|| BenchmarkError::NoMatch {
                repetition,
                pattern: self.pattern.to_string(),
            })?;
        let shown = || shortened(&one_line(text), SHOWN);
        match parse(text) {
            Some(value) if !value.is_finite() => Err(BenchmarkError::NotFinite {
                repetition,
                text: shown(),
            }),
            Some(value) => measured(repetition, value, &self.unit),
            None => Err(BenchmarkError::NotANumber {
                repetition,
                text: shown(),
            }),
        }
    }
}

/// Returns a value that was measured, and an error for one that cannot have been.
pub(super) fn measured(repetition: usize, value: f64, unit: &str) -> Result<f64, BenchmarkError> {
    if is_measured(unit, value) {
        return Ok(value);
    }
    let unit = shortened(&one_line(unit), SHOWN);
    Err(BenchmarkError::NotMeasured {
        repetition,
        value,
        unit,
    })
}

/// Why a benchmark gave no value.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum BenchmarkError {
    /// Its program left it out, in every repetition.
    #[error("its program skipped it: {text}")]
    Skipped {
        /// Its words.
        text: String,
    },
    /// A time or a rate of 0, or below.
    #[error("repetition {repetition} has {value} {unit}, which is no measurement")]
    NotMeasured {
        /// Which launch, from 1.
        repetition: usize,
        /// The value.
        value: f64,
        /// Its unit.
        unit: String,
    },
    /// The pattern is not a regular expression.
    #[error("`{pattern}` is not a regular expression")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        source: regex::Error,
    },
    /// The pattern marks nothing as the value.
    #[error("`{pattern}` has no group for the value")]
    NoGroup {
        /// The pattern.
        pattern: String,
    },
    /// The step that should have measured it did not pass.
    #[error("its step ended as `{outcome}`")]
    Step {
        /// How the step ended.
        outcome: Outcome,
    },
    /// There was nothing to look at.
    #[error("no repetition left an output")]
    NoOutput,
    /// The program was instrumented for coverage.
    #[error(
        "its program wrote a coverage profile: it is instrumented, and its figures mean nothing"
    )]
    Instrumented,
    /// What a repetition was to leave is not there, or cannot be read.
    #[error("repetition {repetition} left no figures: {what}")]
    Report {
        /// Which launch, from 1.
        repetition: usize,
        /// What is wrong.
        what: String,
    },
    /// A repetition does not tell of it.
    #[error("repetition {repetition} does not tell of it")]
    Absent {
        /// Which launch, from 1.
        repetition: usize,
    },
    /// The program itself says that something went wrong.
    #[error("repetition {repetition} says: {text}")]
    Told {
        /// Which launch, from 1.
        repetition: usize,
        /// Its words.
        text: String,
    },
    /// Repetitions do not agree on the unit.
    #[error("repetition {repetition} has it in `{unit}`")]
    UnitChanged {
        /// Which launch, from 1.
        repetition: usize,
        /// The unit.
        unit: String,
    },
    /// Nothing in the output says that the result is right.
    #[error(
        "repetition {repetition} printed nothing that matches `{pattern}`, so its result is not valid"
    )]
    NotValid {
        /// Which launch, from 1.
        repetition: usize,
        /// The pattern of validity.
        pattern: String,
    },
    /// The value is not in the output.
    #[error("repetition {repetition} printed nothing that matches `{pattern}`")]
    NoMatch {
        /// Which launch, from 1.
        repetition: usize,
        /// The pattern of the metric.
        pattern: String,
    },
    /// What was matched is not a number.
    #[error("repetition {repetition} printed `{text}`, which is not a number")]
    NotANumber {
        /// Which launch, from 1.
        repetition: usize,
        /// What was matched.
        text: String,
    },
    /// The number is infinite or not a number.
    #[error("repetition {repetition} printed `{text}`, which is not finite")]
    NotFinite {
        /// Which launch, from 1.
        repetition: usize,
        /// What was matched.
        text: String,
    },
}

impl BenchmarkError {
    /// Returns what to do about it, where that can be said.
    #[must_use]
    pub fn help(&self) -> Option<&'static str> {
        match self {
            Self::NoGroup { .. } => Some("put the value in parentheses: `time: ([0-9.]+) ms`"),
            Self::NoMatch { .. } => Some("compare `metric.pattern` with the log of the step"),
            Self::Instrumented => Some(
                "build it in [build.benchmarks] without `-C instrument-coverage` or `-fprofile-instr-generate`",
            ),
            Self::NotMeasured { .. } => Some(
                "a time and a rate are above 0; does the program measure with a clock that is fine enough?",
            ),
            Self::NotValid { .. } => Some("compare `valid` with the log of the step"),
            Self::NotANumber { .. } => {
                Some("narrow the group of `metric.pattern` to the number itself")
            }
            _ => None,
        }
    }
}

/// Checks that `valid` matches in each output.
pub fn all_valid(
    valid: &str,
    outputs: impl IntoIterator<Item = Result<String, String>>,
) -> Result<(), BenchmarkError> {
    let valid = compile(valid)?;
    (1..).zip(outputs).try_for_each(|(repetition, output)| {
        check_valid(Some(&valid), repetition, &whole(repetition, output)?)
    })
}

fn whole<S>(repetition: usize, output: Result<S, String>) -> Result<S, BenchmarkError> {
    output.map_err(|what| BenchmarkError::Report { repetition, what })
}

fn check_valid(
    valid: Option<&Regex>,
    repetition: usize,
    output: &str,
) -> Result<(), BenchmarkError> {
    match valid.filter(|valid| !valid.is_match(output)) {
        Some(valid) => Err(BenchmarkError::NotValid {
            repetition,
            pattern: valid.to_string(),
        }),
        None => Ok(()),
    }
}

fn compile(pattern: &str) -> Result<Regex, BenchmarkError> {
    RegexBuilder::new(pattern)
        .multi_line(true)
        .build()
        .map_err(|source| BenchmarkError::Pattern {
            pattern: pattern.to_owned(),
            source,
        })
}

/// Reads a number as C, Julia and Fortran (`1.5D-03`) print it.
fn parse(text: &str) -> Option<f64> {
    text.parse()
        .ok()
        .or_else(|| text.replace(['D', 'd'], "e").parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pattern: &str, valid: Option<&str>, outputs: &[&str]) -> Result<Vec<f64>, String> {
        read_in("", pattern, valid, outputs)
    }

    fn read_in(
        unit: &str,
        pattern: &str,
        valid: Option<&str>,
        outputs: &[&str],
    ) -> Result<Vec<f64>, String> {
        Metric::new(pattern, valid, unit)
            .and_then(|metric| metric.samples(outputs.iter().map(|&output| Ok(output))))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn samples_are_read_to_the_last_digit() {
        let check = |pattern, outputs: &[&str], expected: &[f64]| {
            assert_eq!(read(pattern, None, outputs), Ok(expected.to_vec()));
        };
        check(
            "time: ([0-9.]+) ms",
            &["time: 12.345678901 ms", "x\ntime: 3 ms\n"],
            &[12.345_678_901, 3.0],
        );
        check(
            r"^Copy:\s+(\S+)",
            &["Function Best\nCopy:  20034.7  0.01\nScale: 1\n"],
            &[20034.7],
        );
        check(
            r"^(?<size>65536)\s+(?<value>\S+)$",
            &["# OSU\n1 2\n65536    11.02\n131072 20\n"],
            &[11.02],
        );
        check(r"t = +(\S+)", &["t =   0.15D-03"], &[0.15e-3]);
        check(
            "iteration: (.*)",
            &["iteration: 5\niteration: 4.5\n"],
            &[4.5],
        );
    }

    #[test]
    fn a_time_of_0_is_no_measurement_and_a_count_of_0_is_one() {
        let read = |unit, outputs: &[&str]| read_in(unit, "=(.*)", None, outputs);
        assert_eq!(read("errors", &["=0", "=2"]), Ok(vec![0.0, 2.0]));
        assert_eq!(read("%", &["=-3"]), Ok(vec![-3.0]));
        let refused = |unit, outputs: &[&str], why: &str| {
            let why = format!("repetition {why}, which is no measurement");
            assert_eq!(read(unit, outputs), Err(why));
        };
        refused("ms", &["=1", "=0"], "2 has 0 ms");
        refused("ms", &["=0.000"], "1 has 0 ms");
        refused("s", &["=-0.0"], "1 has -0 s");
        refused("s", &["=-1"], "1 has -1 s");
        refused("MB/s", &["=0"], "1 has 0 MB/s");
        refused("ns/iter", &["=0"], "1 has 0 ns/iter");
    }

    #[test]
    fn what_is_no_value_is_an_error() {
        let check = |pattern, valid, outputs: &[&str], expected: &str| {
            assert_eq!(read(pattern, valid, outputs), Err(expected.to_owned()));
        };
        check("t=(.*)", None, &[], "no repetition left an output");
        check(
            "t=(.*)",
            None,
            &["t=1", "oops"],
            "repetition 2 printed nothing that matches `t=(.*)`",
        );
        check(
            "t=(.*)",
            None,
            &["t=NaN"],
            "repetition 1 printed `NaN`, which is not finite",
        );
        check(
            "t=(.*)",
            None,
            &["t=-inf"],
            "repetition 1 printed `-inf`, which is not finite",
        );
        check(
            "t=(.*)",
            None,
            &["t=1e999"],
            "repetition 1 printed `1e999`, which is not finite",
        );
        check(
            "t=(.*)",
            None,
            &["t=********"],
            "repetition 1 printed `********`, which is not a number",
        );
        check(
            "t=(.*)",
            None,
            &["t="],
            "repetition 1 printed ``, which is not a number",
        );
        check(
            "t=(.*)",
            None,
            &["t=1,234.5"],
            "repetition 1 printed `1,234.5`, which is not a number",
        );
        check(
            "t=(.*)",
            Some("^converged$"),
            &["converged\nt=1", "not converged\nt=1"],
            "repetition 2 printed nothing that matches `^converged$`, so its result is not valid",
        );
        check("t=.*", None, &["t=1"], "`t=.*` has no group for the value");
        check("t=(", None, &["t=1"], "`t=(` is not a regular expression");
    }
}
