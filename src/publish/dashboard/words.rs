//! Figures, times and statuses as people read them.

use chrono::{DateTime, Utc};

use crate::results::record::{RunStatus, Status};

/// Returns a figure with four digits that count.
pub(super) fn figure(value: f64) -> String {
    let size = value.abs();
    match size {
        _ if value == 0.0 => "0".to_owned(),
        _ if !(1e-3..1e7).contains(&size) => format!("{value:.3e}"),
        _ if size >= 1e3 => format!("{value:.0}"),
        _ if size >= 1e2 => format!("{value:.1}"),
        _ if size >= 1e1 => format!("{value:.2}"),
        _ if size >= 1.0 => format!("{value:.3}"),
        _ => format!("{value:.4}"),
    }
}

/// Returns a change with its sign.
pub(super) fn signed(value: f64) -> String {
    let rounded = (value * 10.0).round() / 10.0;
    match rounded {
        0.0 => "±0.0 %".to_owned(),
        rounded if rounded < 0.0 => format!("\u{2212}{:.1} %", -rounded),
        rounded => format!("+{rounded:.1} %"),
    }
}

/// Returns a length of time.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float that does not fit is brought to the nearest that does"
)]
pub(super) fn duration(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    match whole {
        0..60 => format!("{whole} s"),
        60..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole / 60 % 60),
    }
}

/// Returns a moment, to the minute.
pub(super) fn moment(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M UTC").to_string()
}

/// A moment as the page shows it; the script adds how long ago that is.
#[derive(Debug, Clone, Copy)]
pub(super) struct When(pub(super) DateTime<Utc>);

impl When {
    /// Returns the element: figures and signs of our own, nothing to escape.
    pub(super) fn html(self) -> String {
        let machine = self.0.format("%Y-%m-%dT%H:%M:%SZ");
        format!("<time datetime=\"{machine}\">{}</time>", moment(self.0))
    }
}

/// Returns a day.
pub(super) fn day(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d").to_string()
}

/// Returns the first digits of a commit.
pub(super) fn short(commit: &str) -> String {
    commit.chars().take(8).collect()
}

/// Returns a count with its noun.
pub(super) fn counted(count: u64, noun: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{ending}")
}

/// Returns a path as it stands in a link.
pub(super) fn link(path: &str) -> String {
    use std::fmt::Write as _;
    path.bytes().fold(String::new(), |mut link, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' => {
                link.push(char::from(byte));
            }
            // Writing to a String cannot fail.
            _ => write!(link, "%{byte:02X}").unwrap_or_default(),
        }
        link
    })
}

/// A status as the page shows it: a word, and the name of its sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sign {
    /// The class, which gives colour and shape.
    pub(super) class: &'static str,
    /// The word beside it.
    pub(super) word: &'static str,
}

impl Sign {
    pub(super) const PASSED: Self = Self {
        class: "passed",
        word: "passed",
    };
    pub(super) const FAILED: Self = Self {
        class: "failed",
        word: "failed",
    };
    pub(super) const ERROR: Self = Self {
        class: "error",
        word: "error",
    };
    pub(super) const SKIPPED: Self = Self {
        class: "skipped",
        word: "skipped",
    };

    /// Returns the element: words of our own, nothing to escape.
    pub(super) fn html(self) -> String {
        let Self { class, word } = self;
        format!(
            "<span class=\"sign {class}\"><svg class=\"icon\" aria-hidden=\"true\" viewBox=\"0 0 16 16\">\
             <use href=\"#{class}\"/></svg>{word}</span>"
        )
    }

    pub(super) fn worded(self, word: &'static str) -> Self {
        Self { word, ..self }
    }
}

impl From<RunStatus> for Sign {
    fn from(status: RunStatus) -> Self {
        match status {
            RunStatus::Passed => Self::PASSED,
            RunStatus::Failed => Self::FAILED,
            RunStatus::Error => Self::ERROR,
            RunStatus::Skipped => Self::SKIPPED,
        }
    }
}

impl From<Status> for Sign {
    fn from(status: Status) -> Self {
        match status {
            Status::Passed => Self::PASSED,
            Status::Failed => Self::FAILED,
            Status::Error => Self::ERROR,
            Status::NotRun => Self::ERROR.worded("not run"),
            Status::Skipped => Self::SKIPPED,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_four_digits() {
        for (value, text) in [
            (0.0, "0"),
            (123.456, "123.5"),
            (12.3456, "12.35"),
            (1.23456, "1.235"),
            (0.123_456, "0.1235"),
            (123_456.0, "123456"),
            (1.5e9, "1.500e9"),
            (0.000_012, "1.200e-5"),
            (-12.0, "-12.00"),
        ] {
            assert_eq!(figure(value), text);
        }
    }

    #[test]
    fn changes_and_times() {
        assert_eq!(
            [0.04, -0.04, 2.25, -3.0].map(signed),
            ["±0.0 %", "±0.0 %", "+2.3 %", "−3.0 %"]
        );
        assert_eq!(
            [0.4, 59.6, 3725.0, -1.0].map(duration),
            ["0 s", "1 min 00 s", "1 h 02 min", "0 s"]
        );
        assert_eq!(counted(1, "rank") + &counted(2, "rank"), "1 rank2 ranks");
    }

    #[test]
    fn links_lead_nowhere_else() {
        assert_eq!(link("ab/run 1\"><x"), "ab/run%201%22%3E%3Cx");
        assert_eq!(link("javascript:x"), "javascript%3Ax");
    }
}
