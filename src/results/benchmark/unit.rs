//! Units of metrics, to the last digit.

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

    /// Returns a value of this unit in the base unit.
    #[must_use]
    pub fn to_base(self, value: f64) -> f64 {
        shifted(value * self.factor, self.power)
    }

    /// Returns a value of the base unit in this one.
    #[must_use]
    pub fn of_base(self, value: f64) -> f64 {
        shifted(value, -self.power) / self.factor
    }

    /// Returns a value of this unit in milliseconds, if it is a time.
    #[must_use]
    pub fn milliseconds(self, value: f64) -> Option<f64> {
        (self.base == "s").then(|| shifted(value * self.factor, self.power + 3))
    }
}

/// Returns whether a value can have been measured in a unit. Nothing takes no time, and no rate is 0; a count may be.
#[must_use]
pub fn is_measured(unit: &str, value: f64) -> bool {
    value.is_finite() && (value > 0.0 || !is_of_time(unit))
}

/// Whether a unit is one of time, or one by time: `ns`, `MB/s`, `ns/iter`, `ops/sec`, `ns/day`.
fn is_of_time(name: &str) -> bool {
    let bases = ["s", "1/s", "B/s", "flop/s"];
    let is_time = |word: &str| {
        let word = word.trim();
        Unit::of(word).is_some_and(|unit| unit.base == "s")
            || matches!(
                word.to_ascii_lowercase().as_str(),
                "d" | "day"
                    | "days"
                    | "hr"
                    | "hrs"
                    | "hours"
                    | "mins"
                    | "secs"
                    | "ps"
                    | "picoseconds"
            )
            || Unit::of(&word.to_ascii_lowercase()).is_some_and(|unit| unit.base == "s")
    };
    let known = Unit::of(name).is_some_and(|unit| bases.contains(&unit.base));
    let by_time = name.split('/').flat_map(|part| part.split(" per "));
    known || by_time.into_iter().any(is_time) || name.trim().to_ascii_lowercase().ends_with("hz")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_time_and_no_rate_is_0() {
        let of_time = [
            "s",
            "ms",
            "ns",
            "µs",
            "min",
            "h",
            "MB/s",
            "GFLOPS",
            "Gflop/s",
            "1/s",
            "items/s",
            "Hz",
            "ns/iter",
            "ms/op",
            "us / call",
            "ops/sec",
            "iter/sec",
            "ns/day",
            "cells per second",
            "steps/min",
            "GHz",
            "ps",
            "Seconds",
            "MS",
        ];
        let others = [
            "",
            "B",
            "MiB",
            "errors",
            "iterations",
            "%",
            "J",
            "W",
            "m/step",
            "residual",
            "B/cell",
        ];
        for unit in of_time {
            assert!(is_measured(unit, 1e-9), "{unit}");
            for value in [0.0, -0.0, -1.0, f64::NAN, f64::INFINITY] {
                assert!(!is_measured(unit, value), "{unit} {value}");
            }
        }
        for unit in others {
            assert!(is_measured(unit, 0.0) && is_measured(unit, -1.0), "{unit}");
            assert!(!is_measured(unit, f64::NAN), "{unit}");
        }
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
}
