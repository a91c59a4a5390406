//! From facts to findings. Decides; looks at nothing.

mod access;
mod fit;
mod host;
mod scheduler;
mod storage;
mod tools;

use super::facts::{Facts, Subject};
use super::finding::Finding;

/// Judges all facts, in the order in which findings are read best.
#[must_use]
pub fn all(subject: &Subject, facts: &Facts) -> Vec<Finding> {
    let mut findings = subject.settings.clone();
    findings.extend(scheduler::judge(subject, facts));
    findings.extend(fit::judge(subject, facts));
    findings.extend(tools::judge(subject, facts));
    findings.extend(storage::judge(subject, facts));
    findings.extend(access::judge(subject, facts));
    findings.extend(host::judge(facts));
    findings
}

/// Returns names as a person lists them; of many only the first.
#[must_use]
pub fn listed(names: &[String]) -> String {
    const SHOWN: usize = 4;
    let shown: Vec<String> = names
        .iter()
        .take(SHOWN)
        .map(|name| format!("`{name}`"))
        .collect();
    match names.len().checked_sub(SHOWN) {
        None | Some(0) => shown.join(", "),
        Some(more) => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod clusters;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_short() {
        let names: Vec<String> = ["a", "b", "c", "d", "e", "f"].map(str::to_owned).into();
        assert_eq!(listed(&names), "`a`, `b`, `c`, `d` and 2 more");
        assert_eq!(listed(&names[..4]), "`a`, `b`, `c`, `d`");
    }
}
