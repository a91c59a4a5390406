//! Progress as lines with a time, for logs. No clock: every call says when it is.

use std::time::Duration;

use chrono::{DateTime, FixedOffset, TimeDelta, Utc};

use super::board::Board;
use super::lines::{MANY, Weight, line};
use super::sections::Sections;
use crate::clean::{one_line, printable};
use crate::drive::progress::{Progress, Stage, StageKind};
use crate::results::table::Ink;
use crate::results::text::span;

/// The longest silence. Some CI servers end a job that has said nothing for ten minutes.
const LONGEST_SILENCE: Duration = Duration::from_mins(9);
/// What takes no longer needs no word at its end.
const BRIEF: Duration = Duration::from_secs(1);

/// A log of what happens.
#[derive(Debug)]
pub(super) struct Plain {
    board: Board,
    sections: Option<Sections>,
    ink: Ink,
    /// Whether every step is followed, however many there are.
    all: bool,
    last: DateTime<Utc>,
    beats: u32,
}

impl Plain {
    pub(super) fn new(ink: Ink, all: bool, sections: bool, now: DateTime<Utc>) -> Self {
        Self {
            board: Board::default(),
            sections: sections.then(Sections::default),
            ink,
            all,
            last: now,
            beats: 0,
        }
    }

    /// Takes in what happened; returns what to write.
    pub(super) fn show(&mut self, event: &Progress, now: DateTime<FixedOffset>) -> String {
        let least = if self.all || self.board.total <= MANY {
            Weight::Move
        } else {
            Weight::Pass
        };
        let text = match event {
            Progress::Began(stage) => self.begin(stage, now),
            Progress::Over { stage, good } => self.end(stage, *good, now),
            // That it is expected to start at another time changes no line of a log.
            Progress::Queued {
                attempt, reason, ..
            } if self.board.is_queued(&attempt.step, reason.as_deref()) => String::new(),
            event => {
                let line = line(event, now).filter(|line| line.weight >= least);
                line.map_or(String::new(), |line| stamped(&line.shown(self.ink), now))
            }
        };
        self.board.take_in(event, now.to_utc());
        self.wrote(text, now)
    }

    /// Returns a text of our own as it is to be written.
    pub(super) fn tell(&mut self, text: &str, now: DateTime<FixedOffset>) -> String {
        self.wrote(stamped(printable(text).trim_end(), now), now)
    }

    fn wrote(&mut self, text: String, now: DateTime<FixedOffset>) -> String {
        if !text.is_empty() {
            self.last = now.to_utc();
        }
        text
    }

    fn begin(&mut self, stage: &Stage, now: DateTime<FixedOffset>) -> String {
        let header = stamped(&one_line(&stage.to_string()), now);
        let sections = self.sections.as_mut();
        let mark = sections.map(|sections| sections.begin(stage, now.timestamp()));
        mark.unwrap_or_default() + &header
    }

    fn end(&mut self, stage: &Stage, good: bool, now: DateTime<FixedOffset>) -> String {
        let since = self.board.since(stage).unwrap_or(now.to_utc());
        let took = (now.to_utc() - since).to_std().unwrap_or_default();
        let word = if good { "took" } else { "gave up after" };
        let mut text = String::new();
        // What came of the steps is told at length.
        if stage.kind != StageKind::Steps && (took >= BRIEF || !good) {
            let line = format!("{} {word} {}", one_line(&stage.to_string()), span(took));
            text = stamped(&line, now);
        }
        if let Some(sections) = &mut self.sections {
            text.push_str(&sections.end(stage, now.timestamp()));
        }
        text
    }

    /// Returns what closes whatever is open.
    pub(super) fn close(&mut self, now: DateTime<FixedOffset>) -> String {
        let sections = self.sections.as_mut();
        sections.map_or(String::new(), |sections| sections.end_all(now.timestamp()))
    }

    /// Returns when the log will have been silent for too long: a minute at first, then ever longer.
    pub(super) fn next_beat(&self) -> DateTime<Utc> {
        let minutes = 1_u64 << self.beats.min(5);
        let silence = Duration::from_mins(minutes).min(LONGEST_SILENCE);
        self.last + TimeDelta::from_std(silence).unwrap_or_default()
    }

    /// Returns a sign of life if it is time for one and something goes on.
    pub(super) fn beat(&mut self, now: DateTime<FixedOffset>) -> Option<String> {
        if now < self.next_beat() {
            return None;
        }
        let line = self.board.line(now)?;
        self.beats += 1;
        self.last = now.to_utc();
        Some(stamped(&line, now))
    }
}

/// A text with the time before it: local, as Slurm's commands show it, with its offset. Further lines are indented.
fn stamped(text: &str, now: DateTime<FixedOffset>) -> String {
    let time = now.format("%Y-%m-%dT%H:%M:%S%:z");
    format!("{time} {}\n", text.replace('\n', "\n  "))
}

#[cfg(test)]
mod tests {
    use super::super::sample::{self, at};
    use super::*;
    use insta::assert_snapshot;

    fn log(sections: bool, ink: Ink, events: &[Progress]) -> String {
        let mut plain = Plain::new(ink, false, sections, at(0).to_utc());
        let mut text = String::new();
        for (second, event) in (0..).zip(events) {
            text.push_str(&plain.show(event, at(second)));
        }
        text.push_str(&plain.close(at(60)));
        text
    }

    #[test]
    fn a_log_tells_when_what_happened() {
        let text = log(false, Ink { colour: false }, &sample::run());
        assert_snapshot!(text, @"
        2026-11-26T14:00:00+01:00 note: the tree has
          uncommitted changes
        2026-11-26T14:00:01+01:00 checkout tests
        2026-11-26T14:00:02+01:00 checkout tests took 1.0 s
        2026-11-26T14:00:03+01:00 build tests
        2026-11-26T14:00:04+01:00 note: a word2J from below
        2026-11-26T14:00:05+01:00 build tests took 2.0 s
        2026-11-26T14:00:06+01:00 steps
        2026-11-26T14:00:08+01:00 queued    halo[ranks=4]  job 48213
        2026-11-26T14:00:09+01:00 queued    halo[ranks=4]  job 48213 (Priority; starts about 16:00)
        2026-11-26T14:00:11+01:00 queued    x section_end:1:y  job 48213 (Re sources)
        2026-11-26T14:00:12+01:00 running   halo[ranks=4]  job 48213  4 ranks on n1,n2
        2026-11-26T14:00:13+01:00 running   x section_end:1:y  job 48213  1 rank on n1,n2
        2026-11-26T14:00:14+01:00 again     flaky  attempt 1 lost a node; trying again away from n1
        2026-11-26T14:00:15+01:00 failed    halo[ranks=4]  1.2 s  exit code 3
        2026-11-26T14:00:16+01:00 passed    flaky  1.2 s  flaky: attempt 2  exit code 0
        2026-11-26T14:00:17+01:00 passed    x section_end:1:y  1.2 s
        2026-11-26T14:00:19+01:00 coverage
        2026-11-26T14:00:20+01:00 coverage gave up after 1.0 s
        ");
    }

    #[test]
    fn stages_are_sections_of_gitlab() {
        let text = log(true, Ink { colour: true }, &sample::stopped());
        assert_snapshot!(text.escape_debug().to_string().replace("\\n", "\n"), @r"
        \u{1b}[0Ksection_start:1795698000:hpc-ci_checkout_x___0K[collapsed=true]\r\u{1b}[0K2026-11-26T14:00:00+01:00 checkout x
        2026-11-26T14:00:01+01:00 note: section_end:7:hpc-ci_checkout
        2026-11-26T14:00:02+01:00 checkout x took 2.0 s
        \u{1b}[0Ksection_end:1795698002:hpc-ci_checkout_x___0K\r\u{1b}[0K
        \u{1b}[0Ksection_start:1795698003:hpc-ci_build_tests[collapsed=true]\r\u{1b}[0K2026-11-26T14:00:03+01:00 build tests
        \u{1b}[0Ksection_start:1795698004:hpc-ci_fetch_tests[collapsed=true]\r\u{1b}[0K2026-11-26T14:00:04+01:00 fetch tests
        2026-11-26T14:00:05+01:00 fetch tests gave up after 1.0 s
        \u{1b}[0Ksection_end:1795698005:hpc-ci_fetch_tests\r\u{1b}[0K
        \u{1b}[0Ksection_end:1795698060:hpc-ci_build_tests\r\u{1b}[0K
        ");
    }

    #[test]
    fn the_moves_of_very_many_steps_are_counted_only() {
        let many = |total: usize, all: bool| {
            let mut plain = Plain::new(Ink { colour: false }, all, false, at(0).to_utc());
            let mut text = plain.show(&Progress::Steps { total }, at(0));
            for event in [
                sample::queued("a", Some("Priority"), None),
                sample::running("a", 1),
                sample::ended("a", "passed"),
            ] {
                text.push_str(&plain.show(&event, at(2)));
            }
            text.lines().count()
        };
        assert_eq!(many(MANY, false), 3);
        assert_eq!(many(MANY + 1, false), 1);
        assert_eq!(many(MANY + 1, true), 3);
    }

    #[test]
    fn the_log_shows_life_ever_less_often() {
        let mut plain = Plain::new(Ink { colour: false }, false, false, at(0).to_utc());
        assert_eq!(plain.beat(at(60)), None, "nothing goes on");
        plain.show(&sample::began(StageKind::Build, "tests"), at(100));
        assert_eq!(plain.beat(at(159)), None);
        let mut text = plain.beat(at(160)).unwrap_or_default();
        plain.show(&sample::over(StageKind::Build, "tests", true), at(200));
        plain.show(&sample::began(StageKind::Steps, ""), at(200));
        plain.show(&Progress::Steps { total: 5 }, at(200));
        for (step, reason, start) in [
            ("a", Some("Priority"), Some(at(7200).to_utc())),
            ("b", Some("Priority"), Some(at(3600).to_utc())),
            ("c", Some("Resources"), None),
            ("d", None, None),
        ] {
            plain.show(&sample::queued(step, reason, start), at(200));
        }
        let mut beats = Vec::new();
        for second in 200..3600 {
            if let Some(beat) = plain.beat(at(second)) {
                text.push_str(&beat);
                beats.push((second - 200) / 60);
            }
        }
        assert_eq!(beats, [2, 6, 14, 23, 32, 41, 50]);
        assert_snapshot!(text.lines().take(3).collect::<Vec<_>>().join("\n"), @"
        2026-11-26T14:02:40+01:00 build tests goes on, 1:00 so far
        2026-11-26T14:05:20+01:00 0/5 done · 5 waiting (Priority, Resources; first starts about 15:00) · 2:00
        2026-11-26T14:09:20+01:00 0/5 done · 5 waiting (Priority, Resources; first starts about 15:00) · 6:00
        ");
    }
}
