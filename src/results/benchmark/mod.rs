//! From what a benchmark printed to a number that can be believed.
//!
//! A metric gives one sample a repetition: the last match of its pattern in the output of that launch. A repetition
//! without a match, without its line of validity or with a value that is not finite makes the metric an error, never a 0
//! and never a shorter list; so does a time of 0, and a row that its program skipped. What cannot have been measured is never a
//! baseline either, wherever it comes from. The median comes with an interval by order statistics, which holds for any distribution as
//! long as the samples are independent. Whether a change is a regression of the *code* is for a paired comparison to say;
//! here it only has to stand out of the scatter.

mod baseline;
pub mod figures;
mod metric;
mod reference;
mod unit;

use std::collections::BTreeMap;

use super::BenchmarkInput;
use super::record::{
    BaselineRecord, BaselineSource, BenchmarkRecord, Better, Interval, Normalised, ReferenceRecord,
    Spread, Status,
};

pub use baseline::{Baselines, in_force};
pub use metric::{BenchmarkError, Metric, all_valid};
pub use reference::{Reference, of_place};
pub use unit::{Unit, is_measured};

/// The interval of a median holds it at least with this probability.
pub const LEVEL: f64 = 0.95;

/// A median that is worse by less is never called a regression: allocations of one machine differ by as much.
pub const TOLERANCE_PCT: f64 = 5.0;

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
    /// Why this one.
    pub source: BaselineSource,
}

impl Baseline {
    /// Returns whether it can have been measured: earlier versions took rows that were skipped for 0 ns.
    #[must_use]
    pub fn is_measured(&self) -> bool {
        let mut all = self.samples.iter().chain([&self.median]);
        all.all(|&value| is_measured(&self.unit, value))
    }
}

/// Returns the median of a result, if it can have been measured.
#[must_use]
pub fn measured_median(record: &BenchmarkRecord) -> Option<f64> {
    let mut all = record.samples.iter().chain(&record.median);
    let measured = all.all(|&value| is_measured(&record.unit, value));
    record.median.filter(|_| measured)
}

/// Returns whether its program left a metric out.
#[must_use]
pub fn is_skipped(input: &BenchmarkInput) -> bool {
    matches!(input.samples, Err(BenchmarkError::Skipped { .. }))
}

/// Returns the record of one metric.
#[must_use]
pub fn record(input: &BenchmarkInput) -> BenchmarkRecord {
    let (samples, message) = match &input.samples {
        Ok(samples)
            if samples
                .iter()
                .all(|&sample| is_measured(&input.unit, sample)) =>
        {
            (samples.as_slice(), None)
        }
        Ok(_) => (&[][..], Some("a sample is no measurement".to_owned())),
        Err(error) => (&[][..], Some(error.to_string())),
    };
    let message = message.or_else(|| {
        samples
            .is_empty()
            .then(|| BenchmarkError::NoOutput.to_string())
    });
    let median = median(samples);
    let unit = Unit::of(&input.unit);
    let reference = median
        .zip(input.reference)
        .map(|(median, reference)| reference.judge(median));
    let compared = median
        .zip(input.baseline.as_ref())
        .and_then(|(median, baseline)| {
            let baseline = in_unit(baseline, &input.unit).filter(Baseline::is_measured)?;
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
            source: Some(baseline.source),
        }),
        status: Some(match (&message, reference) {
            _ if is_skipped(input) => Status::Skipped,
            (Some(_), _) => Status::Error,
            (None, Some(reference)) if !reference.within => Status::Failed,
            (None, _) => Status::Passed,
        }),
        message: message.or_else(|| reference.and_then(|it| out_of_bounds(&it, &input.unit))),
        step: Some(input.step.clone()),
        spread: spread(samples),
        interval: interval(samples),
        normalised: median.zip(unit).map(|(median, unit)| Normalised {
            unit: unit.base.to_owned(),
            median: unit.to_base(median),
        }),
        key: input.key.clone(),
        reference,
        warnings: input.warnings.clone(),
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

/// Says which bounds a median has left.
fn out_of_bounds(reference: &ReferenceRecord, unit: &str) -> Option<String> {
    let bound = |bound: Option<f64>| bound.map_or("any".to_owned(), |bound| bound.to_string());
    let (low, high) = (bound(reference.low), bound(reference.high));
    (!reference.within).then(|| {
        format!(
            "its median is not between {low} and {high} {unit}, which {} {unit} allows here",
            reference.value
        )
    })
}

/// Returns the name of a metric: its step's, and `:METRIC` behind it where it has one.
#[must_use]
pub fn name(input: &BenchmarkInput) -> String {
    match &input.metric {
        Some(metric) => format!("{}:{metric}", input.step),
        None => input.step.clone(),
    }
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
pub(super) fn in_unit(baseline: &Baseline, unit: &str) -> Option<Baseline> {
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

pub(super) fn percent_change(value: f64, baseline: f64) -> Option<f64> {
    let change = 100.0 * (value - baseline) / baseline.abs();
    change.is_finite().then(|| (change * 1e4).round() / 1e4)
}

pub(super) fn worse_by(delta: f64, better: Better) -> f64 {
    match better {
        Better::Lower => delta,
        Better::Higher => -delta,
    }
}

/// Whether the two do not even overlap: their intervals, or the samples themselves where they are too few for one.
pub(super) fn stands_out(samples: &[f64], baseline: &[f64], better: Better) -> bool {
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
                source: BaselineSource::Accepted,
            }),
            key: BTreeMap::new(),
            reference: None,
            warnings: Vec::new(),
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
        broken.samples = Ok(vec![1.0, 0.0]);
        let record = super::record(&broken);
        assert_eq!((record.median, record.status), (None, Some(Status::Error)));
        broken.samples = Err(BenchmarkError::Skipped {
            text: "no GPU".to_owned(),
        });
        let record = super::record(&broken);
        assert_eq!(
            (record.median, record.status, record.message.as_deref()),
            (
                None,
                Some(Status::Skipped),
                Some("its program skipped it: no GPU")
            )
        );
    }

    #[test]
    fn what_was_not_measured_is_no_baseline() {
        let change = |unit, now: &[f64], before: &[f64]| {
            let record = record(&input(unit, Better::Lower, now, Some((unit, before))));
            (record.delta_vs_baseline_pct, record.baseline.is_some())
        };
        assert_eq!(change("ms", &[2.0], &[4.0]), (Some(-50.0), true));
        for before in [
            &[0.0][..],
            &[-1.0],
            &[0.0, 4.0, 5.0],
            &[f64::NAN],
            &[f64::INFINITY],
            &[],
        ] {
            assert_eq!(change("ms", &[2.0], before), (None, false), "{before:?}");
        }
        // A count of 0 is one, and no number of percent away from another.
        assert_eq!(change("errors", &[2.0], &[0.0]), (None, true));
        assert_eq!(change("errors", &[0.0], &[0.0]), (None, true));
        assert_eq!(change("errors", &[0.0], &[2.0]), (Some(-100.0), true));
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
