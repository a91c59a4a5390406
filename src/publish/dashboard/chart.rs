//! Lines over runs, as numbers for the template that draws them: every chart stands without a script.

use std::fmt::Write as _;

use askama::Template;

use super::words::figure;

const LEFT: f64 = 62.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 24.0;
/// Room that a date takes below a chart.
const DATE: f64 = 120.0;

/// One run of a chart.
#[derive(Debug, Clone)]
pub(super) struct Point {
    /// The value; none if there should have been one.
    pub(super) value: Option<f64>,
    /// The smallest and the largest sample.
    pub(super) spread: Option<(f64, f64)>,
    /// Whether it is worse than it may be.
    pub(super) bad: bool,
    /// The day, below the chart.
    pub(super) day: String,
    /// What is said when it is pointed at.
    pub(super) title: String,
}

/// What a chart shows.
#[derive(Debug, Clone)]
pub(super) struct Series {
    /// Unique on the page.
    pub(super) id: String,
    /// What it shows.
    pub(super) title: String,
    /// The same in a sentence, with the numbers, for those who do not see it.
    pub(super) description: String,
    /// Behind the numbers of the axis, where they need one.
    pub(super) unit: &'static str,
    /// Its points, the oldest first.
    pub(super) points: Vec<Point>,
    /// A value that must not be crossed.
    pub(super) limit: Option<f64>,
    /// No axis beyond these.
    pub(super) bounds: (f64, f64),
}

/// A chart, ready to be drawn.
#[derive(Debug, Template)]
#[template(path = "chart.html")]
pub(super) struct Chart {
    id: String,
    title: String,
    description: String,
    width: f64,
    height: f64,
    left: f64,
    right: f64,
    bottom: f64,
    ticks: Vec<Tick>,
    dates: Vec<Date>,
    band: String,
    line: String,
    dots: Vec<Dot>,
    limit: Option<Tick>,
}

#[derive(Debug)]
struct Tick {
    y: f64,
    label: String,
}

#[derive(Debug)]
struct Date {
    x: f64,
    anchor: &'static str,
    label: String,
}

#[derive(Debug)]
struct Dot {
    x: f64,
    y: f64,
    shape: Shape,
    title: String,
}

/// Shapes differ, not only colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Good,
    Bad,
    Missing,
}

impl Chart {
    /// Draws a series in a box of this size; none if it has fewer than two values, which make no line.
    pub(super) fn new(series: Series, width: f64, height: f64) -> Option<Self> {
        if series.points.iter().filter(|it| it.value.is_some()).count() < 2 {
            return None;
        }
        let (low, high) = range(&series)?;
        let steps = steps(low, high, if height > 180.0 { 5 } else { 3 }, series.bounds);
        let (low, high) = (*steps.first()?, *steps.last()?);
        let (right, bottom) = (width - RIGHT, height - BOTTOM);
        let y = |value: f64| rounded(bottom - (value - low) / (high - low) * (bottom - TOP));
        let last = series.points.len().saturating_sub(1).max(1) as f64;
        let x = |index: usize| rounded(LEFT + index as f64 / last * (right - LEFT));
        Some(Self {
            ticks: steps
                .iter()
                .map(|&value| Tick {
                    y: y(value),
                    label: format!("{}{}", axis_figure(value), series.unit),
                })
                .collect(),
            dates: dates(&series.points, width, x),
            band: band(&series.points, x, y),
            line: line(&series.points, x, y),
            dots: dots(&series.points, x, y, bottom),
            limit: series
                .limit
                .filter(|limit| (low..=high).contains(limit))
                .map(|limit| Tick {
                    y: y(limit),
                    label: format!("limit {}", figure(limit)),
                }),
            id: series.id,
            title: series.title,
            description: series.description,
            width,
            height,
            left: LEFT,
            right,
            bottom,
        })
    }
}

/// Returns the smallest and largest value that must be seen, with room around them.
fn range(series: &Series) -> Option<(f64, f64)> {
    let values = series.points.iter().flat_map(|point| {
        let (low, high) = point.spread.unzip();
        [point.value, low, high].into_iter().flatten()
    });
    let values = values.chain(series.limit).filter(|value| value.is_finite());
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    let has_value = series.points.iter().any(|point| point.value.is_some());
    if !has_value || low > high {
        return None;
    }
    // A line that is flat lies in the middle.
    let room = match high - low {
        0.0 => (low.abs() * 0.01).max(1e-9),
        size => size * 0.08,
    };
    Some((low - room, high + room))
}

/// Returns round numbers that enclose a range, within bounds.
fn steps(low: f64, high: f64, wanted: u32, bounds: (f64, f64)) -> Vec<f64> {
    let (low, high) = (low.max(bounds.0), high.min(bounds.1));
    let rough = ((high - low) / f64::from(wanted)).max(f64::MIN_POSITIVE);
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|step| *step >= rough * 0.999)
        .unwrap_or(10.0 * power);
    let first = (low / step).floor();
    let mut steps = Vec::new();
    for index in 0..=wanted + 3 {
        let value = (first + f64::from(index)) * step;
        steps.push(value);
        if value >= high || value >= bounds.1 {
            break;
        }
    }
    steps
}

/// Numbers of an axis without zeros that say nothing.
fn axis_figure(value: f64) -> String {
    let size = value.abs();
    if value != 0.0 && !(1e-3..1e7).contains(&size) {
        return format!("{value:.1e}");
    }
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "charts are some hundred pixels wide"
)]
fn dates(points: &[Point], width: f64, x: impl Fn(usize) -> f64) -> Vec<Date> {
    let last = points.len().saturating_sub(1);
    let count = points.len().min((width / DATE) as usize);
    (0..count)
        .filter_map(|number| {
            let index = if count > 1 {
                number * last / (count - 1)
            } else {
                0
            };
            let anchor = match number {
                0 => "start",
                _ if number + 1 == count => "end",
                _ => "middle",
            };
            Some(Date {
                x: x(index),
                anchor,
                label: points.get(index)?.day.clone(),
            })
        })
        .collect()
}

/// The lines between values; a run without one is a gap.
fn line(points: &[Point], x: impl Fn(usize) -> f64, y: impl Fn(f64) -> f64) -> String {
    let mut path = String::new();
    let mut pen = 'M';
    for (index, point) in points.iter().enumerate() {
        match point.value {
            Some(value) => {
                // Writing to a String cannot fail.
                write!(path, "{pen}{} {}", x(index), y(value)).unwrap_or_default();
                pen = 'L';
            }
            None => pen = 'M',
        }
    }
    path
}

/// The spread as an area for each run of neighbours that have one.
fn band(points: &[Point], x: impl Fn(usize) -> f64, y: impl Fn(f64) -> f64) -> String {
    let spreads: Vec<Option<(usize, f64, f64)>> = points
        .iter()
        .enumerate()
        .map(|(index, point)| point.spread.map(|(low, high)| (index, low, high)))
        .collect();
    let mut path = String::new();
    for piece in spreads.split(Option::is_none) {
        let piece: Vec<(usize, f64, f64)> = piece.iter().copied().flatten().collect();
        let above = piece.iter().map(|(index, _, high)| (*index, *high));
        let below = piece.iter().rev().map(|(index, low, _)| (*index, *low));
        for (number, (index, value)) in above.chain(below).enumerate() {
            let pen = if number == 0 { 'M' } else { 'L' };
            write!(path, "{pen}{} {}", x(index), y(value)).unwrap_or_default();
        }
        if !piece.is_empty() {
            path.push('Z');
        }
    }
    path
}

fn dots(
    points: &[Point],
    x: impl Fn(usize) -> f64,
    y: impl Fn(f64) -> f64,
    bottom: f64,
) -> Vec<Dot> {
    let dots = points.iter().enumerate().map(|(index, point)| Dot {
        x: x(index),
        y: point.value.map_or(bottom, &y),
        shape: match point.value {
            None => Shape::Missing,
            Some(_) if point.bad => Shape::Bad,
            Some(_) => Shape::Good,
        },
        title: point.title.clone(),
    });
    dots.collect()
}

/// A tenth of a pixel is enough.
fn rounded(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn series(values: &[Option<f64>]) -> Series {
        let points = values.iter().map(|&value| Point {
            value,
            spread: value.map(|value| (value - 1.0, value + 1.0)),
            bad: false,
            day: "2026-11-20".to_owned(),
            title: "a <run>".to_owned(),
        });
        Series {
            id: "c".to_owned(),
            title: "time & more".to_owned(),
            description: String::new(),
            unit: " ms",
            points: points.collect(),
            limit: None,
            bounds: (f64::NEG_INFINITY, f64::INFINITY),
        }
    }

    #[test]
    fn a_missing_value_is_a_gap_and_not_zero() {
        let chart = Chart::new(series(&[Some(10.0), None, Some(12.0)]), 400.0, 140.0).unwrap();
        assert_eq!(chart.line.matches('M').count(), 2, "{}", chart.line);
        assert_eq!(chart.band.matches('Z').count(), 2, "{}", chart.band);
        assert_eq!(chart.dots[1].shape, Shape::Missing);
        assert!(Chart::new(series(&[None, None]), 400.0, 140.0).is_none());
        assert!(Chart::new(series(&[]), 400.0, 140.0).is_none());
        assert!(Chart::new(series(&[None, Some(1.0)]), 400.0, 140.0).is_none());
    }

    #[test]
    fn axes_are_round_and_enclose() {
        let unbounded = (f64::NEG_INFINITY, f64::INFINITY);
        assert_eq!(
            steps(87.1, 88.3, 5, (0.0, 100.0)),
            [87.0, 87.25, 87.5, 87.75, 88.0, 88.25, 88.5]
        );
        assert_eq!(steps(98.0, 103.0, 3, (0.0, 100.0)), [98.0, 99.0, 100.0]);
        assert_eq!(steps(-0.4, 9.0, 3, unbounded), [-5.0, 0.0, 5.0, 10.0]);
    }

    #[test]
    fn hostile_names_are_text() {
        let html = Chart::new(series(&[Some(1.0), Some(2.0)]), 400.0, 140.0)
            .unwrap()
            .render()
            .unwrap();
        assert!(
            !html.contains("<run>") && html.contains("time &#38; more"),
            "{html}"
        );
    }

    proptest! {
        #[test]
        fn every_value_is_inside(values in prop::collection::vec(prop::option::of(-1e12..1e12_f64), 1..60)) {
            if let Some(chart) = Chart::new(series(&values), 400.0, 140.0) {
                for dot in &chart.dots {
                    prop_assert!((LEFT - 0.1..=386.1).contains(&dot.x) && (0.0..=140.0).contains(&dot.y), "{dot:?}");
                }
                prop_assert!(chart.ticks.len() <= 10);
            }
        }
    }
}
