//! Durations and sizes as they are written in settings: `FromStr` and `Display`, which agree with one another.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// Longer than any queue allows, short enough that sums and dates made of it never overflow.
const LONGEST: u64 = 10_000 * 86_400;

/// A span of time in whole seconds: `90s`, `10m`, `1h30m`, `2d`, `HH:MM:SS` or `D-HH:MM:SS`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Walltime(u64);

/// A size in bytes: `4GiB`, `1.5G`, `512MiB`, `100MB`, `64KiB`, `10B`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Memory(u64);

/// Why a duration or size could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum UnitError {
    /// Not one of the known forms of a duration.
    #[error("expected a duration such as `90s`, `10m`, `1h30m` or `1-12:00:00`")]
    Walltime,
    /// A number alone, of which nobody knows whether it means seconds or minutes.
    #[error("a duration needs a unit: `s`, `m`, `h` or `d`")]
    NoUnit,
    /// Not one of the known forms of a size.
    #[error("expected a size such as `4GiB`, `512MiB` or `1.5G`")]
    Memory,
    /// Beyond what can be counted.
    #[error("too large")]
    TooLarge,
}

impl Walltime {
    /// Returns a walltime of whole seconds.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds)
    }

    /// Returns the seconds.
    #[must_use]
    pub const fn as_secs(self) -> u64 {
        self.0
    }

    /// Returns the same as a standard duration.
    #[must_use]
    pub const fn duration(self) -> Duration {
        Duration::from_secs(self.0)
    }
}

impl FromStr for Walltime {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let seconds = if text.contains(':') {
            clock(text)?
        } else {
            with_units(text)?
        };
        if seconds > LONGEST {
            return Err(UnitError::TooLarge);
        }
        Ok(Self(seconds))
    }
}

/// Reads `HH:MM:SS` and `D-HH:MM:SS`. Slurm's `MM:SS` is left out: too many take it for hours and minutes.
fn clock(text: &str) -> Result<u64, UnitError> {
    let (days, rest) = match text.split_once('-') {
        Some((days, rest)) => (number(days)?, rest),
        None => (0, text),
    };
    let parts: Vec<u64> = rest.split(':').map(number).collect::<Result<_, _>>()?;
    let [hours, minutes, seconds] = parts[..] else {
        return Err(UnitError::Walltime);
    };
    if minutes > 59 || seconds > 59 || (text.contains('-') && hours > 23) {
        return Err(UnitError::Walltime);
    }
    sum(&[(days, 86_400), (hours, 3600), (minutes, 60), (seconds, 1)])
}

/// Reads `1h30m`: each unit at most once, the larger first.
fn with_units(text: &str) -> Result<u64, UnitError> {
    if number(text).is_ok() {
        return Err(UnitError::NoUnit);
    }
    let mut parts = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit());
        let (amount, tail) = rest.split_at(digits.ok_or(UnitError::Walltime)?);
        let (unit, tail) = tail.split_at(tail.chars().next().map_or(0, char::len_utf8));
        let unit: u64 = match unit {
            "d" => 86_400,
            "h" => 3600,
            "m" => 60,
            "s" => 1,
            _ => return Err(UnitError::Walltime),
        };
        if parts.last().is_some_and(|(_, larger)| *larger <= unit) {
            return Err(UnitError::Walltime);
        }
        parts.push((number(amount)?, unit));
        rest = tail;
    }
    if parts.is_empty() {
        return Err(UnitError::Walltime);
    }
    sum(&parts)
}

fn number(digits: &str) -> Result<u64, UnitError> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(UnitError::Walltime);
    }
    digits.parse().map_err(|_| UnitError::TooLarge)
}

fn sum(parts: &[(u64, u64)]) -> Result<u64, UnitError> {
    parts.iter().try_fold(0_u64, |total, (amount, unit)| {
        let seconds = amount.checked_mul(*unit).ok_or(UnitError::TooLarge)?;
        total.checked_add(seconds).ok_or(UnitError::TooLarge)
    })
}

impl fmt::Display for Walltime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        let mut rest = self.0;
        for (unit, seconds) in [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)] {
            if rest >= seconds {
                write!(f, "{}{unit}", rest / seconds)?;
                rest %= seconds;
            }
        }
        Ok(())
    }
}

/// Units by which sizes are written, the longer spelling before its beginning.
const SIZES: [(&str, u64); 15] = [
    ("PiB", 1 << 50),
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("kB", 1_000),
    // Slurm's own letters count by 1024.
    ("T", 1 << 40),
    ("G", 1 << 30),
    ("M", 1 << 20),
    ("K", 1 << 10),
    ("B", 1),
];

impl Memory {
    /// Returns a size of so many bytes.
    #[must_use]
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// Returns the bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// Returns it as a person writes it, which is not exact: `1.5 KiB`.
    #[must_use]
    pub fn rounded(self) -> String {
        let mut value = self.0 as f64;
        let mut unit = "B";
        for next in ["KiB", "MiB", "GiB", "TiB", "PiB"] {
            if value < 1024.0 {
                break;
            }
            value /= 1024.0;
            unit = next;
        }
        if value < 10.0 && unit != "B" {
            format!("{value:.1} {unit}")
        } else {
            format!("{value:.0} {unit}")
        }
    }

    /// Returns mebibytes, rounded up, as Slurm's `--mem=NM` takes them.
    #[must_use]
    pub const fn mebibytes(self) -> u64 {
        self.0.div_ceil(1 << 20)
    }
}

impl FromStr for Memory {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let known = SIZES.iter().find_map(|(suffix, unit)| {
            let amount = text.strip_suffix(suffix)?;
            Some((amount.trim_end(), *unit))
        });
        let (amount, unit) = known.ok_or(UnitError::Memory)?;
        let (whole, fraction) = amount.split_once('.').unwrap_or((amount, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(fraction) || fraction.len() > 9 {
            return Err(UnitError::Memory);
        }
        let parse = |part: &str| part.parse::<u64>().map_err(|_| UnitError::TooLarge);
        // At most nine digits follow the point, so the power of ten and both products stay far below 2^128.
        let scale = 10_u128.pow(u32::try_from(fraction.len()).unwrap_or(9));
        let bytes = (u128::from(parse(whole)?) * scale + u128::from(parse(fraction)?))
            .checked_mul(u128::from(unit))
            .ok_or(UnitError::TooLarge)?
            / scale;
        // Slurm counts memory in signed 64 bit integers.
        let bytes = i64::try_from(bytes).map_err(|_| UnitError::TooLarge)?;
        Ok(Self(bytes.unsigned_abs()))
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = SIZES.iter().take(5);
        let even = units
            .filter(|_| self.0 != 0)
            .find(|(_, unit)| self.0.is_multiple_of(*unit));
        let (suffix, unit) = even.unwrap_or(&("B", 1));
        write!(f, "{}{suffix}", self.0 / unit)
    }
}

macro_rules! serde_as_text {
    ($($type:ty),*) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(D::Error::custom)
            }
        }
    )*};
}

serde_as_text!(Walltime, Memory);

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations() {
        let check = |text: &str, expected| {
            assert_eq!(text.parse().map(Walltime::as_secs), expected, "{text}");
        };
        check("90s", Ok(90));
        check("10m", Ok(600));
        check("1h30m", Ok(5400));
        check("2d", Ok(172_800));
        check("1-12:00:00", Ok(129_600));
        check("00:05:00", Ok(300));
        check("100:00:00", Ok(360_000));
        check("0s", Ok(0));
        check("10", Err(UnitError::NoUnit));
        check("", Err(UnitError::Walltime));
        check("m", Err(UnitError::Walltime));
        check("10 m", Err(UnitError::Walltime));
        check("30m1h", Err(UnitError::Walltime));
        check("1h1h", Err(UnitError::Walltime));
        check("-5m", Err(UnitError::Walltime));
        check("+5m", Err(UnitError::Walltime));
        check("05:00", Err(UnitError::Walltime));
        check("1-24:00:00", Err(UnitError::Walltime));
        check("00:60:00", Err(UnitError::Walltime));
        check("1-2-3:00:00", Err(UnitError::Walltime));
        check("1µ", Err(UnitError::Walltime));
        check("99999999999999999999s", Err(UnitError::TooLarge));
        check("9999999999999999999d", Err(UnitError::TooLarge));
        check("10001d", Err(UnitError::TooLarge));
    }

    #[test]
    fn sizes() {
        let check = |text: &str, expected| {
            assert_eq!(text.parse().map(Memory::bytes), expected, "{text}");
        };
        check("4GiB", Ok(4 << 30));
        check("4 GiB", Ok(4 << 30));
        check("4G", Ok(4 << 30));
        check("1.5GiB", Ok(3 << 29));
        check("100MB", Ok(100_000_000));
        check("10B", Ok(10));
        check("0B", Ok(0));
        check("4096", Err(UnitError::Memory));
        check("GiB", Err(UnitError::Memory));
        check("-1GiB", Err(UnitError::Memory));
        check("1.GiB", Err(UnitError::Memory));
        check("1.0000000001GiB", Err(UnitError::Memory));
        check("4gigs", Err(UnitError::Memory));
        check("8192PiB", Err(UnitError::TooLarge));
        check("99999999999999999999B", Err(UnitError::TooLarge));
        assert_eq!("1.5MiB".parse::<Memory>().unwrap().mebibytes(), 2);
    }

    proptest! {
        #[test]
        fn durations_come_back(seconds in 0..=LONGEST) {
            let time = Walltime::from_secs(seconds);
            prop_assert_eq!(time.to_string().parse(), Ok(time));
        }

        #[test]
        fn sizes_come_back(bytes in 0..=i64::MAX.unsigned_abs(), shift in 0..63_u32) {
            let size = Memory::from_bytes((bytes >> shift) << shift);
            prop_assert_eq!(size.to_string().parse(), Ok(size));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,20}") {
            let (time, size) = (text.parse::<Walltime>(), text.parse::<Memory>());
            prop_assert!(time.is_err() || size.is_err());
        }
    }

    #[test]
    fn sizes_for_people_are_short() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1536, "1.5 KiB"),
            (64 << 20, "64 MiB"),
            (u64::MAX, "16384 PiB"),
        ] {
            assert_eq!(Memory::from_bytes(bytes).rounded(), text);
        }
    }
}
