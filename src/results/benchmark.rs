//! From what a benchmark printed to a number that can be believed.
//!
//! A metric gives one sample a repetition: the last match of its pattern in the output of that launch. A repetition
//! without a match, without its line of validity or with a value that is not finite makes the metric an error, never a 0
//! and never a shorter list. The median comes with an interval by order statistics, which holds for any distribution as
//! long as the samples are independent. Whether a change is a regression of the *code* is for a paired comparison to say;
//! here it only has to stand out of the scatter.

use std::collections::BTreeMap;

use regex::{Regex, RegexBuilder};

use super::BenchmarkInput;
use super::clean::{one_line, shortened};
use super::record::{
    BaselineRecord, BenchmarkRecord, Better, Interval, Normalised, Outcome, Spread, Status,
};

/// The interval of a median holds it at least with this probability.
pub const LEVEL: f64 = 0.95;

/// A median that is worse by less is never called a regression: allocations of one machine differ by as much.
pub const TOLERANCE_PCT: f64 = 5.0;

/// How much of a text an error shows.
const SHOWN: usize = 60;

/// Why a benchmark gave no value.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum BenchmarkError {
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
            Self::NotValid { .. } => Some("compare `valid` with the log of the step"),
            Self::NotANumber { .. } => {
                Some("narrow the group of `metric.pattern` to the number itself")
            }
            _ => None,
        }
    }
}

/// How to read a metric from the output of a program.
#[derive(Debug, Clone)]
pub struct Metric {
    pattern: Regex,
    valid: Option<Regex>,
}

impl Metric {
    /// Returns the metric that `pattern` finds: by its group `value`, or else by its first one. In both patterns `^` and
    /// `$` mean lines. A repetition counts only if `valid` matches somewhere in its output.
    pub fn new(pattern: &str, valid: Option<&str>) -> Result<Self, BenchmarkError> {
        let metric = Self {
            pattern: compile(pattern)?,
            valid: valid.map(compile).transpose()?,
        };
        if metric.pattern.captures_len() < 2 {
            return Err(BenchmarkError::NoGroup {
                pattern: pattern.to_owned(),
            });
        }
        Ok(metric)
    }

    /// Returns one sample for each output, in their order. Outputs of warm-up launches do not belong here.
    pub fn samples<'a>(
        &self,
        outputs: impl IntoIterator<Item = &'a str>,
    ) -> Result<Vec<f64>, BenchmarkError> {
        let samples = (1..)
            .zip(outputs)
            .map(|(repetition, output)| self.sample(repetition, output))
            .collect::<Result<Vec<_>, _>>()?;
        if samples.is_empty() {
            Err(BenchmarkError::NoOutput)
        } else {
            Ok(samples)
        }
    }

    fn sample(&self, repetition: usize, output: &str) -> Result<f64, BenchmarkError> {
        if let Some(valid) = self.valid.as_ref().filter(|valid| !valid.is_match(output)) {
            return Err(BenchmarkError::NotValid {
                repetition,
                pattern: valid.to_string(),
            });
        }
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
            Some(value) if value.is_finite() => Ok(value),
            Some(_) => Err(BenchmarkError::NotFinite {
                repetition,
                text: shown(),
            }),
            None => Err(BenchmarkError::NotANumber {
                repetition,
                text: shown(),
            }),
        }
    }
}

/// An earlier result of the same metric under the same key.
#[derive(Debug, Clone)]
pub struct Baseline {
    /// The commit that it was measured at.
    pub commit: String,
    /// The run that measured it.
    pub run: Option<String>,
    /// Its unit.
    pub unit: String,
    /// Its median.
    pub median: f64,
    /// Its samples.
    pub samples: Vec<f64>,
}

/// Returns the record of one metric.
#[must_use]
pub fn record(input: &BenchmarkInput) -> BenchmarkRecord {
    let (samples, message) = match &input.samples {
        Ok(samples) if samples.iter().all(|sample| sample.is_finite()) => {
            (samples.as_slice(), None)
        }
        Ok(_) => (&[][..], Some("a sample is not finite".to_owned())),
        Err(error) => (&[][..], Some(error.to_string())),
    };
    let message = message.or_else(|| {
        samples
            .is_empty()
            .then(|| BenchmarkError::NoOutput.to_string())
    });
    let median = median(samples);
    let unit = Unit::of(&input.unit);
    let compared = median
        .zip(input.baseline.as_ref())
        .and_then(|(median, baseline)| {
            let baseline = in_unit(baseline, &input.unit)?;
            Some((percent_change(median, baseline.median), baseline))
        });
    let delta = compared.as_ref().and_then(|(delta, _)| *delta);
    BenchmarkRecord {
        median,
        unit: input.unit.clone(),
        better: input.better,
        median_ms: median
            .zip(unit)
            .and_then(|(median, unit)| unit.milliseconds(median)),
        samples: samples.to_vec(),
        delta_vs_baseline_pct: delta,
        regressed: compared.as_ref().is_some_and(|(delta, baseline)| {
            delta.is_some_and(|delta| worse_by(delta, input.better) > TOLERANCE_PCT)
                && stands_out(samples, &baseline.samples, input.better)
        }),
        baseline: compared.map(|(_, baseline)| BaselineRecord {
            commit: baseline.commit,
            median: baseline.median,
            run: baseline.run,
        }),
        status: Some(if message.is_some() {
            Status::Error
        } else {
            Status::Passed
        }),
        message,
        step: Some(input.step.clone()),
        spread: spread(samples),
        interval: interval(samples),
        normalised: median.zip(unit).map(|(median, unit)| Normalised {
            unit: unit.base.to_owned(),
            median: unit.to_base(median),
        }),
        key: input.key.clone(),
    }
}

/// Returns the records of all metrics by name, and the largest change in the bad direction.
#[must_use]
pub fn records(inputs: &[BenchmarkInput]) -> (BTreeMap<String, BenchmarkRecord>, Option<f64>) {
    let records = inputs
        .iter()
        .map(|input| (name(input), record(input)))
        .collect::<BTreeMap<_, _>>();
    let worst = records
        .values()
        .filter_map(|record| Some(worse_by(record.delta_vs_baseline_pct?, record.better)))
        .max_by(f64::total_cmp);
    (records, worst)
}

/// Returns the median; of an even number of samples the middle between the two in the middle.
#[must_use]
pub fn median(samples: &[f64]) -> Option<f64> {
    let sorted = sorted(samples);
    let (below, above) = (sorted.len().checked_sub(1)? / 2, sorted.len() / 2);
    Some(sorted[below].midpoint(sorted[above]))
}

/// Returns how far samples scatter.
#[must_use]
pub fn spread(samples: &[f64]) -> Option<Spread> {
    let sorted = sorted(samples);
    let middle = median(samples)?;
    let deviations = samples
        .iter()
        .map(|sample| (sample - middle).abs())
        .collect::<Vec<_>>();
    Some(Spread {
        min: *sorted.first()?,
        max: *sorted.last()?,
        mad: median(&deviations)?,
        iqr: quantile(&sorted, 0.75)? - quantile(&sorted, 0.25)?,
    })
}

/// Returns the narrowest interval between two samples, as many from below as from above, that holds the true median with
/// a probability of at least [`LEVEL`], and that probability. Fewer than six samples cannot promise as much: none.
///
/// The probability that the median lies outside is that of fewer than k heads or tails in n tosses of a coin.
#[must_use]
pub fn interval(samples: &[f64]) -> Option<Interval> {
    let sorted = sorted(samples);
    let n = sorted.len();
    let mut best = None;
    let mut below = 0.0;
    let mut ln_term = -(n as f64) * std::f64::consts::LN_2;
    for k in 0..n / 2 {
        below += ln_term.exp();
        let level = 1.0 - 2.0 * below;
        if level < LEVEL {
            break;
        }
        best = Some(Interval {
            level: (level * 1e4).floor() / 1e4,
            low: sorted[k],
            high: sorted[n - 1 - k],
        });
        ln_term += ((n - k) as f64 / (k + 1) as f64).ln();
    }
    best
}

/// A unit of which we know what it measures.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Unit {
    /// The base unit: `s`, `B/s`, `flop/s`, `B`, `1/s`, `J` or `W`.
    pub base: &'static str,
    factor: f64,
    /// The power of ten that comes on top of the factor.
    power: i32,
}

impl Unit {
    /// Returns the unit of that name, if it is known. Case matters: `Mb/s` is not `MB/s`, and neither is guessed.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        let name = name.trim();
        let unit = |base, factor, power| {
            Some(Self {
                base,
                factor,
                power,
            })
        };
        match name {
            "s" | "sec" | "second" | "seconds" => return unit("s", 1.0, 0),
            "ms" | "msec" | "millisecond" | "milliseconds" => return unit("s", 1.0, -3),
            "us" | "usec" | "µs" | "μs" | "microsecond" | "microseconds" => {
                return unit("s", 1.0, -6);
            }
            "ns" | "nsec" | "nanosecond" | "nanoseconds" => return unit("s", 1.0, -9),
            "min" | "minute" | "minutes" => return unit("s", 60.0, 0),
            "h" | "hour" | "hours" => return unit("s", 3600.0, 0),
            "/s" | "1/s" | "Hz" | "op/s" | "ops/s" | "items/s" | "messages/s" => {
                return unit("1/s", 1.0, 0);
            }
            _ => {}
        }
        let upper = name.to_ascii_uppercase();
        if let Some(prefix) = ["FLOP/S", "FLOPS/S", "FLOPS"]
            .iter()
            .find_map(|it| upper.strip_suffix(it))
        {
            return unit("flop/s", 1.0, decimal_prefix(prefix)?);
        }
        let suffixes = [
            ("B/s", "B/s"),
            ("bytes/s", "B/s"),
            ("B", "B"),
            ("bytes", "B"),
            ("J", "J"),
            ("W", "W"),
        ];
        let (prefix, base) = suffixes
            .iter()
            .find_map(|(suffix, base)| Some((name.strip_suffix(suffix)?, *base)))?;
        match decimal_prefix(prefix) {
            Some(power) => unit(base, 1.0, power),
            None => unit(base, binary_prefix(prefix)?, 0),
        }
    }

    fn to_base(self, value: f64) -> f64 {
        shifted(value * self.factor, self.power)
    }

    fn of_base(self, value: f64) -> f64 {
        shifted(value, -self.power) / self.factor
    }

    fn milliseconds(self, value: f64) -> Option<f64> {
        (self.base == "s").then(|| shifted(value * self.factor, self.power + 3))
    }
}

/// Moves the decimal point in the text of the number, since 123.4 / 1000.0 is not 0.1234 to the last digit.
fn shifted(value: f64, power: i32) -> f64 {
    let text = format!("{value:e}");
    let moved = text.split_once('e').and_then(|(digits, exponent)| {
        let exponent = exponent.parse::<i32>().ok()?.checked_add(power)?;
        format!("{digits}e{exponent}").parse().ok()
    });
    moved.unwrap_or(value)
}

fn decimal_prefix(prefix: &str) -> Option<i32> {
    Some(match prefix {
        "" => 0,
        "k" | "K" => 3,
        "M" => 6,
        "G" => 9,
        "T" => 12,
        "P" => 15,
        "E" => 18,
        _ => return None,
    })
}

fn binary_prefix(prefix: &str) -> Option<f64> {
    let power = match prefix {
        "Ki" => 1,
        "Mi" => 2,
        "Gi" => 3,
        "Ti" => 4,
        "Pi" => 5,
        _ => return None,
    };
    Some(1024_f64.powi(power))
}

fn name(input: &BenchmarkInput) -> String {
    match &input.metric {
        Some(metric) => format!("{}:{metric}", input.step),
        None => input.step.clone(),
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

fn sorted(samples: &[f64]) -> Vec<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// Returns the value below which that fraction lies. Interpolates linearly between order statistics, as R, `NumPy` and Julia do by default.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the position lies within the list"
)]
fn quantile(sorted: &[f64], fraction: f64) -> Option<f64> {
    let position = fraction * (sorted.len().checked_sub(1)?) as f64;
    let low = *sorted.get(position.floor() as usize)?;
    let high = *sorted.get(position.ceil() as usize)?;
    let part = position.fract();
    Some(low * (1.0 - part) + high * part)
}

/// Returns the baseline in another unit, if it can be expressed in it.
fn in_unit(baseline: &Baseline, unit: &str) -> Option<Baseline> {
    if baseline.unit == unit {
        return Some(baseline.clone());
    }
    let (from, to) = (Unit::of(&baseline.unit)?, Unit::of(unit)?);
    let convert = |value: f64| to.of_base(from.to_base(value));
    (from.base == to.base).then(|| Baseline {
        median: convert(baseline.median),
        samples: baseline.samples.iter().copied().map(convert).collect(),
        unit: unit.to_owned(),
        ..baseline.clone()
    })
}

fn percent_change(value: f64, baseline: f64) -> Option<f64> {
    let change = 100.0 * (value - baseline) / baseline.abs();
    change.is_finite().then(|| (change * 1e4).round() / 1e4)
}

fn worse_by(delta: f64, better: Better) -> f64 {
    match better {
        Better::Lower => delta,
        Better::Higher => -delta,
    }
}

/// Whether the two do not even overlap: their intervals, or the samples themselves where they are too few for one.
fn stands_out(samples: &[f64], baseline: &[f64], better: Better) -> bool {
    let bounds = |samples: &[f64]| {
        interval(samples)
            .map(|it| (it.low, it.high))
            .or_else(|| spread(samples).map(|it| (it.min, it.max)))
    };
    match (bounds(samples), bounds(baseline), better) {
        (Some((low, _)), Some((_, high)), Better::Lower) => low > high,
        (Some((_, high)), Some((low, _)), Better::Higher) => high < low,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(pattern: &str, valid: Option<&str>, outputs: &[&str]) -> Result<Vec<f64>, String> {
        Metric::new(pattern, valid)
            .and_then(|metric| metric.samples(outputs.iter().copied()))
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

    #[test]
    fn the_interval_states_its_level() {
        let first = |n: u32| (1..=n).map(f64::from).collect::<Vec<_>>();
        let check = |n, expected: Option<(f64, f64, f64)>| {
            let found = interval(&first(n)).map(|it| (it.level, it.low, it.high));
            assert_eq!(found, expected, "{n} samples");
        };
        // The levels are those of the sign test's tables.
        check(0, None);
        check(5, None);
        check(6, Some((0.9687, 1.0, 6.0)));
        check(8, Some((0.9921, 1.0, 8.0)));
        check(9, Some((0.9609, 2.0, 8.0)));
        check(10, Some((0.9785, 2.0, 9.0)));
        check(20, Some((0.9586, 6.0, 15.0)));
        let many = interval(&first(5000)).map(|it| (it.low, it.high));
        assert_eq!(many, Some((2431.0, 2570.0)));
    }

    #[test]
    fn spread_and_median() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0]), Some(2.0));
        let expected = Spread {
            min: 1.0,
            max: 10.0,
            mad: 1.0,
            iqr: 2.0,
        };
        assert_eq!(spread(&[1.0, 2.0, 3.0, 4.0, 10.0]), Some(expected));
    }

    #[test]
    fn units_are_normalised_and_never_guessed() {
        let check = |unit: &str, value: f64, expected: Option<(&str, f64)>| {
            assert_eq!(
                Unit::of(unit).map(|it| (it.base, it.to_base(value))),
                expected,
                "{unit}"
            );
        };
        check("ms", 123.4, Some(("s", 0.1234)));
        check("µs", 7.0, Some(("s", 7e-6)));
        check("ns", 5.0, Some(("s", 5e-9)));
        check("MB/s", 20034.7, Some(("B/s", 20_034_700_000.0)));
        check("GiB/s", 2.0, Some(("B/s", 2_147_483_648.0)));
        check("GFLOPS", 1.5, Some(("flop/s", 1.5e9)));
        check("Tflop/s", 2.0, Some(("flop/s", 2e12)));
        check("kJ", 1.0, Some(("J", 1000.0)));
        check("B", 1.0, Some(("B", 1.0)));
        check("Mb/s", 1.0, None);
        check("furlongs", 1.0, None);
        check("", 1.0, None);
        assert_eq!(
            Unit::of("ms").and_then(|it| it.milliseconds(123.4)),
            Some(123.4)
        );
        assert_eq!(
            Unit::of("us").and_then(|it| it.milliseconds(1500.0)),
            Some(1.5)
        );
        assert_eq!(Unit::of("GB/s").and_then(|it| it.milliseconds(1.0)), None);
    }

    fn input(
        unit: &str,
        better: Better,
        samples: &[f64],
        base: Option<(&str, &[f64])>,
    ) -> BenchmarkInput {
        BenchmarkInput {
            step: "b".to_owned(),
            metric: None,
            unit: unit.to_owned(),
            better,
            samples: Ok(samples.to_vec()),
            baseline: base.map(|(unit, samples)| Baseline {
                commit: "c".to_owned(),
                run: None,
                unit: unit.to_owned(),
                median: median(samples).unwrap_or(f64::NAN),
                samples: samples.to_vec(),
            }),
            key: BTreeMap::new(),
        }
    }

    #[test]
    fn changes_have_a_direction() {
        use Better::{Higher, Lower};
        // Unit, direction, samples, baseline; then the raw change, the worst one and the verdict.
        let check = |unit, better, samples: &[f64], base, expected| {
            let (records, worst) = records(&[input(unit, better, samples, base)]);
            let record = &records["b"];
            assert_eq!(
                (record.delta_vs_baseline_pct, worst, record.regressed),
                expected
            );
        };
        check(
            "ms",
            Lower,
            &[130.0],
            Some(("ms", &[100.0])),
            (Some(30.0), Some(30.0), true),
        );
        check(
            "ms",
            Lower,
            &[130.0],
            Some(("s", &[0.1])),
            (Some(30.0), Some(30.0), true),
        );
        check(
            "ms",
            Lower,
            &[98.0],
            Some(("ms", &[100.0])),
            (Some(-2.0), Some(-2.0), false),
        );
        check(
            "MB/s",
            Higher,
            &[50.0],
            Some(("MB/s", &[100.0])),
            (Some(-50.0), Some(50.0), true),
        );
        check(
            "MB/s",
            Higher,
            &[150.0],
            Some(("MB/s", &[100.0])),
            (Some(50.0), Some(-50.0), false),
        );
        // Within the tolerance, and within the scatter.
        check(
            "ms",
            Lower,
            &[104.0],
            Some(("ms", &[100.0])),
            (Some(4.0), Some(4.0), false),
        );
        check(
            "ms",
            Lower,
            &[99.0, 130.0, 131.0],
            Some(("ms", &[100.0])),
            (Some(30.0), Some(30.0), false),
        );
        // Nothing to compare with.
        check("ms", Lower, &[130.0], None, (None, None, false));
        check(
            "ms",
            Lower,
            &[130.0],
            Some(("MB/s", &[100.0])),
            (None, None, false),
        );
        check(
            "ms",
            Lower,
            &[130.0],
            Some(("ms", &[0.0])),
            (None, None, false),
        );
        check(
            "ms",
            Lower,
            &[],
            Some(("ms", &[100.0])),
            (None, None, false),
        );
    }

    #[test]
    fn an_error_has_no_median() {
        let mut broken = input("ms", Better::Lower, &[], None);
        broken.samples = Err(BenchmarkError::NoMatch {
            repetition: 2,
            pattern: "t".to_owned(),
        });
        let record = record(&broken);
        assert_eq!(
            (record.median, record.median_ms, record.status),
            (None, None, Some(Status::Error))
        );
        assert_eq!(
            record.message.as_deref(),
            Some("repetition 2 printed nothing that matches `t`")
        );
        broken.samples = Ok(vec![1.0, f64::NAN]);
        assert_eq!(super::record(&broken).status, Some(Status::Error));
    }

    proptest! {
        #[test]
        fn the_median_lies_in_its_interval(samples in prop::collection::vec(-1e9..1e9_f64, 6..200)) {
            let found = interval(&samples).expect("six samples are enough");
            let median = median(&samples).expect("there are samples");
            prop_assert!(found.low <= median && median <= found.high && found.level >= LEVEL);
        }
    }
}
