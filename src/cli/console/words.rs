//! Times as progress says them.

use std::time::Duration;

use chrono::{DateTime, FixedOffset, TimeDelta, Utc};

/// Returns a span of time as a watch shows it: `0:07`, `12:05`, `1:02:03`, `2-03:04:05`, as Slurm's own commands do.
pub(super) fn watch(span: Duration) -> String {
    let seconds = span.as_secs();
    let (days, hours) = (seconds / 86400, seconds / 3600 % 24);
    let (minutes, seconds) = (seconds / 60 % 60, seconds % 60);
    match (days, hours) {
        (0, 0) => format!("{minutes}:{seconds:02}"),
        (0, _) => format!("{hours}:{minutes:02}:{seconds:02}"),
        _ => format!("{days}-{hours:02}:{minutes:02}:{seconds:02}"),
    }
}

/// Returns when something is expected, in the words of somebody whose clock shows `now`.
pub(super) fn clock(start: DateTime<Utc>, now: DateTime<FixedOffset>) -> String {
    let start = start.with_timezone(&now.timezone());
    let format = match start - now {
        ahead if ahead < TimeDelta::minutes(1) => return "any moment".to_owned(),
        _ if start.date_naive() == now.date_naive() => "about %H:%M",
        ahead if ahead < TimeDelta::days(6) => "about %a %H:%M",
        _ => "about %Y-%m-%d",
    };
    start.format(format).to_string()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn spans_are_those_of_a_watch() {
        for (seconds, expected) in [
            (0, "0:00"),
            (7, "0:07"),
            (725, "12:05"),
            (3723, "1:02:03"),
            (183_845, "2-03:04:05"),
        ] {
            assert_eq!(watch(Duration::from_secs(seconds)), expected);
        }
    }

    #[test]
    fn expected_starts_are_told_by_the_reader_s_clock() {
        let now = DateTime::parse_from_rfc3339("2026-11-26T22:50:00+01:00").unwrap();
        for (start, expected) in [
            ("2026-11-26T21:00:00Z", "any moment"),
            ("2026-11-26T21:50:30Z", "any moment"),
            ("2026-11-26T22:10:00Z", "about 23:10"),
            ("2026-11-26T23:10:00Z", "about Fri 00:10"),
            ("2026-12-05T23:10:00Z", "about 2026-12-06"),
        ] {
            let start = DateTime::parse_from_rfc3339(start).unwrap().to_utc();
            assert_eq!(clock(start, now), expected);
        }
    }
}
