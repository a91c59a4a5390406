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
