//! The collapsible sections of GitLab's job logs, by its documentation
//! (<https://docs.gitlab.com/ci/jobs/job_logs/#custom-collapsible-sections>).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::drive::progress::{Stage, StageKind};

/// The sections of a log that are open.
#[derive(Debug, Default)]
pub(super) struct Sections {
    open: Vec<(Stage, String)>,
    /// How often each name was used: GitLab tells sections apart by their names.
    used: BTreeMap<String, usize>,
}

impl Sections {
    /// Returns the mark that opens a section at this time, in seconds since 1970. The rest of its line is the header.
    pub(super) fn begin(&mut self, stage: &Stage, time: i64) -> String {
        let mut name = name(stage);
        let used = self.used.entry(name.clone()).or_default();
        *used += 1;
        if *used > 1 {
            write!(name, "_{used}").expect("a String takes any text");
        }
        // What goes on for long, and what people look for, stays open.
        let collapsed = match stage.kind {
            StageKind::Steps | StageKind::Publish => "",
            StageKind::Checkout | StageKind::Fetch | StageKind::Build | StageKind::Coverage => {
                "[collapsed=true]"
            }
        };
        let mark = mark("start", time, &format!("{name}{collapsed}"));
        self.open.push((stage.clone(), name));
        mark
    }

    /// Returns the marks that close a section, and those within it that are still open.
    pub(super) fn end(&mut self, stage: &Stage, time: i64) -> String {
        let Some(at) = self.open.iter().rposition(|(open, _)| open == stage) else {
            return String::new();
        };
        self.close(at, time)
    }

    /// Returns the marks that close all that are open.
    pub(super) fn end_all(&mut self, time: i64) -> String {
        self.close(0, time)
    }

    fn close(&mut self, down_to: usize, time: i64) -> String {
        let closed = self.open.drain(down_to..).rev();
        closed
            .map(|(_, name)| mark("end", time, &name) + "\n")
            .collect()
    }
}

fn mark(what: &str, time: i64, name: &str) -> String {
    format!("\u{1b}[0Ksection_{what}:{time}:{name}\r\u{1b}[0K")
}

/// Returns a name that GitLab takes: letters, digits, `_`, `.` and `-`.
fn name(stage: &Stage) -> String {
    let fit = |c: char| match c {
        c if c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-') => c,
        _ => '_',
    };
    let of = stage
        .of
        .as_ref()
        .map_or(String::new(), |of| format!("_{of}"));
    format!("hpc-ci_{}{of}", stage.kind.as_str())
        .chars()
        .map(fit)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(kind: StageKind, of: &str) -> Stage {
        Stage {
            kind,
            of: Some(of.to_owned()).filter(|of| !of.is_empty()),
        }
    }

    #[test]
    fn sections_are_closed_from_within_and_have_names_of_their_own() {
        let mut sections = Sections::default();
        let build = stage(StageKind::Build, "tests");
        let fetch = stage(StageKind::Fetch, "tests");
        let steps = stage(StageKind::Steps, "");
        assert_eq!(
            sections.begin(&build, 7),
            "\u{1b}[0Ksection_start:7:hpc-ci_build_tests[collapsed=true]\r\u{1b}[0K"
        );
        sections.begin(&fetch, 8);
        assert_eq!(
            sections.end(&build, 9),
            "\u{1b}[0Ksection_end:9:hpc-ci_fetch_tests\r\u{1b}[0K\n\
             \u{1b}[0Ksection_end:9:hpc-ci_build_tests\r\u{1b}[0K\n"
        );
        assert_eq!(sections.end(&build, 9), "", "it is closed");
        assert_eq!(
            sections.begin(&build, 10),
            "\u{1b}[0Ksection_start:10:hpc-ci_build_tests_2[collapsed=true]\r\u{1b}[0K"
        );
        assert_eq!(
            sections.begin(&steps, 10),
            "\u{1b}[0Ksection_start:10:hpc-ci_steps\r\u{1b}[0K"
        );
        assert_eq!(sections.end_all(11).matches("section_end").count(), 2);
        assert_eq!(sections.end_all(11), "");
    }

    #[test]
    fn a_name_cannot_write_marks() {
        let hostile = stage(
            StageKind::Build,
            "x\r\u{1b}[0K\nsection_end:1:y ü[collapsed=false]",
        );
        assert_eq!(
            name(&hostile),
            "hpc-ci_build_x___0K_section_end_1_y___collapsed_false_"
        );
    }
}
