//! What a refusal means: whether to try again and when, and what of its text can be shown. Pure.

use std::error::Error;
use std::time::Duration;

use serde_json::Value;

use super::place::percent_encoded;
use crate::clean::one_line;
use crate::git::Secret;

/// The longest text of a server that is shown.
const SHOWN: usize = 300;

/// What to do after a call that came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// The same again would end the same way.
    GiveUp,
    /// Try again, slower from try to try.
    Backoff,
    /// Try again after this.
    After(Duration),
    /// Try again after a minute or more, slower from try to try.
    Slowly,
}

/// What a server says of its limits.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Limit<'a> {
    /// `Retry-After`.
    pub(super) retry_after: Option<&'a str>,
    /// How many requests are left.
    pub(super) remaining: Option<&'a str>,
    /// When there are more, in seconds since 1970.
    pub(super) reset: Option<&'a str>,
    /// The text of the answer.
    pub(super) text: &'a str,
}

/// The first wait after a limit of GitHub that names no time, as its documentation has it.
pub(super) const SLOWLY: Duration = Duration::from_mins(1);

/// Returns what to do after an answer of this status; `now` is in seconds since 1970.
///
/// GitHub refuses by 403 as well as 429 what goes beyond its limits, and names no time for some of them; a 403 that tells of
/// no limit is about permissions. Another 429 that tells no time is a quota for a day or a month (Codecov's), which waiting
/// does not help.
pub(super) fn next(status: u16, limit: &Limit<'_>, now: i64) -> Next {
    let asked = limit
        .retry_after
        .and_then(|text| delay(text, now))
        .or_else(|| {
            let spent = limit.remaining.is_some_and(|text| text.trim() == "0");
            let reset: i64 = limit.reset?.trim().parse().ok().filter(|_| spent)?;
            Some(seconds(reset.saturating_sub(now).saturating_add(1)))
        });
    match (status, asked) {
        (403 | 429 | 503, Some(wait)) => Next::After(wait),
        (403 | 429, None) if is_secondary(limit.text) => Next::Slowly,
        // 409: GitLab's lock of the pipeline is taken.
        (408 | 409 | 500..=599, _) => Next::Backoff,
        _ => Next::GiveUp,
    }
}

/// Whether the words are those of GitHub's secondary limits.
fn is_secondary(text: &str) -> bool {
    text.to_ascii_lowercase().contains("secondary rate limit")
}

/// Reads `Retry-After`: seconds, or a date.
fn delay(text: &str, now: i64) -> Option<Duration> {
    let text = text.trim();
    if let Ok(count) = text.parse::<i64>() {
        return Some(seconds(count));
    }
    let date = chrono::DateTime::parse_from_rfc2822(text).ok()?;
    Some(seconds(date.timestamp().saturating_sub(now)))
}

fn seconds(count: i64) -> Duration {
    Duration::from_secs(u64::try_from(count).unwrap_or(0))
}

/// Returns the wait before the next try: doubled from try to try, and up to half of it more by `chance` (0 to 1), so that
/// clients that were refused together do not come back together.
pub(super) fn backoff(first: Duration, tries: u32, chance: f64) -> Duration {
    let doubled = first.saturating_mul(1_u32.checked_shl(tries - 1).unwrap_or(u32::MAX));
    doubled + doubled.mul_f64(chance.clamp(0.0, 1.0) / 2.0)
}

/// Returns in one line what a server said: the message of a JSON answer, else its text, with the secret hidden.
pub(super) fn said(body: &[u8], secret: Option<&Secret>) -> String {
    let text = match serde_json::from_slice::<Value>(body) {
        Ok(document) => message(&document),
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    };
    // Before it is cut: half a secret would not be found any more, and be shown.
    let text = mask(text, secret);
    let line = one_line(&text);
    match line.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// The words of an error document: `{"detail": …}` and `{field: [message]}` of Codecov, `{"message": …}` of the forges.
fn message(document: &Value) -> String {
    match document {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(message).collect::<Vec<_>>().join("; "),
        Value::Object(fields) => {
            for key in ["detail", "message", "error"] {
                if let Some(text) = fields.get(key).and_then(Value::as_str) {
                    let more = fields.get("errors").map(message).unwrap_or_default();
                    let space = if more.is_empty() { "" } else { ": " };
                    return format!("{text}{space}{more}");
                }
            }
            let parts = fields
                .iter()
                .map(|(key, value)| format!("{key}: {}", message(value)));
            parts.collect::<Vec<_>>().join("; ")
        }
        other => other.to_string(),
    }
}

/// Returns the text with every occurrence of the secret hidden, also as an address would have it: servers echo what they
/// refuse.
pub(super) fn mask(text: String, secret: Option<&Secret>) -> String {
    match secret.map(Secret::expose).filter(|it| !it.is_empty()) {
        Some(secret) => text
            .replace(secret, "***")
            .replace(&percent_encoded(secret), "***"),
        None => text,
    }
}

/// Returns an error and its causes in one line.
pub(super) fn causes(error: &dyn Error) -> String {
    let mut last = error.to_string();
    let mut texts = vec![last.clone()];
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !last.contains(&text) {
            texts.push(text.clone());
        }
        last = text;
        cause = error.source();
    }
    texts.join(": ")
}

/// Returns why a certificate was not trusted, by the words of OpenSSL, if that is what went wrong.
pub(super) fn distrust(causes: &str) -> Option<&str> {
    let (_, said) = causes.split_once("certificate verify failed")?;
    let reason = said.rsplit_once('(').and_then(|(_, it)| it.split_once(')'));
    Some(reason.map_or("it cannot be verified", |(reason, _)| reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let check = |status, limit: Limit<'_>, expected| {
            assert_eq!(
                next(status, &limit, 1_000_000),
                expected,
                "{status} {limit:?}"
            );
        };
        let none = Limit::default();
        let after = |text| Limit {
            retry_after: Some(text),
            ..none
        };
        let spent = |remaining, reset| Limit {
            remaining: Some(remaining),
            reset: Some(reset),
            ..none
        };
        let seconds = |count| Next::After(Duration::from_secs(count));
        for status in [408, 409, 500, 502, 503, 504] {
            check(status, none, Next::Backoff);
        }
        for status in [400, 401, 403, 404, 410, 422, 429] {
            check(status, none, Next::GiveUp);
        }
        check(429, after("7"), seconds(7));
        check(503, after("7"), seconds(7));
        check(403, after("60"), seconds(60));
        check(429, after("-5"), seconds(0));
        check(429, after("soon"), Next::GiveUp);
        check(429, after("Mon, 12 Jan 1970 13:46:50 GMT"), seconds(10));
        check(401, after("7"), Next::GiveUp);
        check(403, spent("0", "1000030"), seconds(31));
        check(403, spent("12", "1000030"), Next::GiveUp);
        check(403, spent("0", "99999999999999999999"), Next::GiveUp);
        let worded = |text| Limit { text, ..none };
        let secondary =
            worded("You have exceeded a secondary rate limit. Please wait a few minutes");
        check(403, secondary, Next::Slowly);
        check(429, secondary, Next::Slowly);
        check(
            403,
            worded("Resource not accessible by integration"),
            Next::GiveUp,
        );
        check(429, worded("Request was throttled."), Next::GiveUp);
    }

    #[test]
    fn what_a_server_said_becomes_one_line() {
        let check = |body: &str, expected: &str| assert_eq!(said(body.as_bytes(), None), expected);
        check(
            r#"{"detail":"Not valid tokenless upload"}"#,
            "Not valid tokenless upload",
        );
        check(
            r#"["This repository is deactivated."]"#,
            "This repository is deactivated.",
        );
        check(
            r#"{"flags":["This field may not be null."],"name":["too long"]}"#,
            "flags: This field may not be null.; name: too long",
        );
        check(
            r#"{"message":"Validation Failed","errors":[{"code":"custom","message":"No commit found"}]}"#,
            "Validation Failed: No commit found",
        );
        check(
            "<html>\n <b>Bad\u{1b}[31m Gateway</b>",
            "<html> <b>Bad Gateway</b>",
        );
        let long = said("x".repeat(1000).as_bytes(), None);
        assert_eq!(long.chars().count(), SHOWN + 1);
        assert_eq!(said(&[0xff, 0xfe], None), "\u{fffd}\u{fffd}");
    }

    #[test]
    fn secrets_are_hidden_in_what_servers_say() {
        let secret = Secret::new("s3cret");
        let text = "token s3cret is unknown; s3cret!".to_owned();
        assert_eq!(mask(text, Some(&secret)), "token *** is unknown; ***!");
        assert_eq!(mask("a".to_owned(), Some(&Secret::new(""))), "a");
        let encoded = mask("/x?t=a%2Fb%2B".to_owned(), Some(&Secret::new("a/b+")));
        assert_eq!(encoded, "/x?t=***");
    }

    #[test]
    fn no_half_of_a_secret_is_shown_where_a_text_is_cut() {
        let secret = Secret::new("s3cret-0123456789");
        let text = format!("{} {}", "x".repeat(SHOWN - 8), secret.expose());
        let shown = said(text.as_bytes(), Some(&secret));
        assert!(shown.ends_with(" ***") && !shown.contains("s3"), "{shown}");
    }

    #[test]
    fn a_certificate_that_is_not_trusted_is_told_from_a_server_that_is_not_there() {
        let check = |said, expected| assert_eq!(distrust(said), expected);
        check(
            "error sending request: client error (Connect): error:0A000086:SSL routines:tls_post_process_server_certificate:certificate verify failed:ssl/statem/statem_clnt.c:2125: (self-signed certificate)",
            Some("self-signed certificate"),
        );
        check("certificate verify failed", Some("it cannot be verified"));
        check("client error (Connect): tcp connect error (x)", None);
    }

    #[test]
    fn waits_double() {
        let first = Duration::from_millis(500);
        for (tries, chance, millis) in
            [(1, 0.0, 500), (1, 1.0, 750), (2, 0.0, 1000), (3, 0.5, 2500)]
        {
            let wait = backoff(first, tries, chance);
            assert_eq!(wait.as_millis(), millis, "{tries} {chance}");
        }
        assert!(backoff(first, 80, 0.0) > Duration::from_hours(1));
    }
}
