//! A finding, and the report of all findings as text and as a document.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::{Value, json};

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Worth knowing; nothing is wrong.
    Note,
    /// A run goes on, with less than it could have.
    Warning,
    /// A run fails, or proves nothing.
    Error,
}

impl Level {
    /// Returns the word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }

    fn color(self) -> &'static str {
        match self {
            Self::Ok => "32",
            Self::Note => "36",
            Self::Warning => "33",
            Self::Error => "1;31",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at, as `area.what`; a name that stays.
    pub check: &'static str,
    /// How much it matters.
    pub level: Level,
    /// What was seen.
    pub saw: String,
    /// What to do about it.
    pub remedy: Option<String>,
}

impl Finding {
    /// All is well.
    pub fn ok(check: &'static str, saw: impl Into<String>) -> Self {
        Self::new(check, Level::Ok, saw)
    }

    /// Worth knowing.
    pub fn note(check: &'static str, saw: impl Into<String>) -> Self {
        Self::new(check, Level::Note, saw)
    }

    /// A run goes on, with less than it could have.
    pub fn warning(check: &'static str, saw: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(check, Level::Warning, saw).remedy(remedy)
    }

    /// A run fails, or proves nothing.
    pub fn error(check: &'static str, saw: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(check, Level::Error, saw).remedy(remedy)
    }

    /// The same with something to do about it.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    fn new(check: &'static str, level: Level, saw: impl Into<String>) -> Self {
        Self {
            check,
            level,
            saw: saw.into(),
            remedy: None,
        }
    }
}

/// All findings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// In the order in which they are read best.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Returns the level of the gravest finding.
    #[must_use]
    pub fn worst(&self) -> Level {
        let levels = self.findings.iter().map(|finding| finding.level);
        levels.max().unwrap_or(Level::Ok)
    }

    fn count(&self, level: Level) -> usize {
        let same = self
            .findings
            .iter()
            .filter(|finding| finding.level == level);
        same.count()
    }

    /// Returns the report for people.
    #[must_use]
    pub fn text(&self, color: bool) -> String {
        let width = self.findings.iter().map(|finding| finding.check.len());
        let width = width.max().unwrap_or_default();
        let mut text = String::new();
        for finding in &self.findings {
            let word = format!("{:<7}", finding.level.word());
            let word = paint(&word, finding.level.color(), color);
            let indent = format!("\n{:1$}", "", 7 + 2 + width + 2);
            let saw = finding.saw.trim_end().replace('\n', &indent);
            write!(text, "{word}  {:width$}  {saw}", finding.check)
                .expect("a String takes any text");
            if let Some(remedy) = &finding.remedy {
                let arrow = paint("help:", "1;36", color);
                let remedy = remedy.replace('\n', &indent);
                write!(text, "{indent}{arrow} {remedy}").expect("a String takes any text");
            }
            text.push('\n');
        }
        let counts = [Level::Error, Level::Warning, Level::Note, Level::Ok].map(|level| {
            let count = self.count(level);
            let plural = match level {
                Level::Ok => "",
                _ if count == 1 => "",
                _ => "s",
            };
            format!("{count} {}{plural}", level.word())
        });
        writeln!(text, "\n{}", counts.join(" · ")).expect("a String takes any text");
        text
    }

    /// Returns the report for programs.
    #[must_use]
    pub fn document(&self) -> Value {
        json!({
            "schema_version": 1,
            "worst": self.worst(),
            "findings": self.findings,
        })
    }
}

fn paint(word: &str, code: &str, color: bool) -> String {
    if color {
        format!("\u{1b}[{code}m{word}\u{1b}[0m")
    } else {
        word.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    #[test]
    fn the_report_says_what_to_do() {
        let report = Report {
            findings: vec![
                Finding::ok("scheduler.answers", "Slurm 22.05.8, cluster `dev`"),
                Finding::error(
                    "storage.shared",
                    "node n1 does not see `/tmp/work`",
                    "set `root` of [workspace] to storage\nthat all nodes see",
                ),
                Finding::note("host.cron", "line one\nline two\n"),
            ],
        };
        assert_eq!(report.worst(), Level::Error);
        assert_snapshot!(report.text(false), @"
        ok       scheduler.answers  Slurm 22.05.8, cluster `dev`
        error    storage.shared     node n1 does not see `/tmp/work`
                                    help: set `root` of [workspace] to storage
                                    that all nodes see
        note     host.cron          line one
                                    line two

        1 error · 0 warnings · 1 note · 1 ok
        ");
        assert_snapshot!(report.document(), @r#"{"schema_version":1,"worst":"error","findings":[{"check":"scheduler.answers","level":"ok","saw":"Slurm 22.05.8, cluster `dev`","remedy":null},{"check":"storage.shared","level":"error","saw":"node n1 does not see `/tmp/work`","remedy":"set `root` of [workspace] to storage\nthat all nodes see"},{"check":"host.cron","level":"note","saw":"line one\nline two\n","remedy":null}]}"#);
    }
}
