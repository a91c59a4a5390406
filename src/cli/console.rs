//! Progress on a terminal, plain lines with a time in a log. Everything goes to standard error.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write as _};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::drive::progress::Progress;

/// Running steps that a terminal shows at once; the others are counted.
const SHOWN_RUNNING: usize = 8;

/// Whether and how colour is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl Color {
    /// Returns whether standard error takes colour.
    #[must_use]
    pub fn on(self) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => {
                std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
                    && std::io::stderr().is_terminal()
            }
        }
    }
}

/// Where a run's progress is shown.
#[derive(Debug)]
pub struct Console {
    quiet: bool,
    color: bool,
    live: Option<Mutex<Live>>,
    counts: Mutex<Counts>,
}

/// The moving part of a terminal.
#[derive(Debug)]
struct Live {
    bars: MultiProgress,
    summary: ProgressBar,
    running: BTreeMap<String, ProgressBar>,
}

#[derive(Debug, Default)]
struct Counts {
    total: usize,
    queued: BTreeMap<String, Option<String>>,
    running: BTreeMap<String, Instant>,
    good: usize,
    bad: usize,
}

impl Counts {
    fn line(&self) -> String {
        let mut parts = vec![format!("{}/{} done", self.good + self.bad, self.total)];
        if self.bad > 0 {
            parts.push(format!("{} not passed", self.bad));
        }
        if !self.running.is_empty() {
            parts.push(format!("{} running", self.running.len()));
        }
        if !self.queued.is_empty() {
            let mut reasons: Vec<&str> =
                self.queued.values().flatten().map(String::as_str).collect();
            reasons.sort_unstable();
            reasons.dedup();
            let why = if reasons.is_empty() {
                String::new()
            } else {
                format!(" ({})", reasons.join(", "))
            };
            parts.push(format!("{} queued{why}", self.queued.len()));
        }
        parts.join(" · ")
    }
}

impl Console {
    /// Returns a console; `live` progress needs a terminal.
    #[must_use]
    pub fn new(quiet: bool, color: bool) -> Self {
        let live = (!quiet && std::io::stderr().is_terminal()).then(|| {
            let bars = MultiProgress::new();
            let summary = bars
                .add(ProgressBar::new_spinner().with_style(style("{spinner} {msg} · {elapsed}")));
            Mutex::new(Live {
                bars,
                summary,
                running: BTreeMap::new(),
            })
        });
        Self {
            quiet,
            color,
            live,
            counts: Mutex::default(),
        }
    }

    /// Returns whether text for people may carry colour.
    #[must_use]
    pub fn color(&self) -> bool {
        self.color
    }

    /// Shows text that a person must see, also when quiet.
    pub fn say(&self, text: &str) {
        if let Some(live) = &self.live {
            let live = lock(live);
            live.bars.suspend(|| write_line(text));
        } else {
            write_line(text);
        }
    }

    /// Shows a line unless quiet.
    pub fn remark(&self, line: &str) {
        if !self.quiet {
            self.say(line);
        }
    }

    /// Shows a line unless quiet; with the time of day where nothing else tells when it was said.
    pub fn tell(&self, line: &str) {
        if self.quiet {
            return;
        }
        if self.live.is_some() {
            self.say(line);
        } else {
            let now = chrono::Local::now().format("%H:%M:%S");
            self.say(&format!("{now} {line}"));
        }
    }

    /// Shows what a run tells.
    pub fn show(&self, event: Progress) {
        match event {
            Progress::Stage(text) => {
                self.tell(&text);
                self.spin(text);
            }
            Progress::Note(text) => self.tell(&format!("note: {text}")),
            Progress::Steps { total } => lock(&self.counts).total = total,
            Progress::Queued { step, job, reason } => self.queued(&step, &job, reason),
            Progress::Running { step, job, nodes } => self.running(step, &job, &nodes),
            Progress::Ended {
                step,
                outcome,
                good,
                elapsed,
                message,
            } => self.ended(&step, &outcome, good, elapsed, message.as_deref()),
            Progress::StepsEnded => self.clear(),
        }
    }

    /// Shows how far something is, on a terminal alone.
    pub fn show_moving(&self, moved: Option<(&str, usize, usize)>) {
        if let Some((what, done, total)) = moved {
            self.spin(format!("{what} {done}/{total}"));
        }
    }

    /// Shows what is being done, on a terminal alone, until an empty text takes it away.
    pub fn show_activity(&self, what: &str) {
        if what.is_empty() {
            self.clear();
        } else {
            self.spin(what.to_owned());
        }
    }

    fn queued(&self, step: &str, job: &str, reason: Option<String>) {
        let fresh = lock(&self.counts)
            .queued
            .insert(step.to_owned(), reason.clone());
        if fresh != Some(reason.clone()) && self.live.is_none() {
            let why = reason.map_or(String::new(), |reason| format!(" ({reason})"));
            self.tell(&format!("queued    {step}  job {job}{why}"));
        }
        self.refresh();
    }

    fn running(&self, step: String, job: &str, nodes: &[String]) {
        let mut counts = lock(&self.counts);
        counts.queued.remove(&step);
        if counts
            .running
            .insert(step.clone(), Instant::now())
            .is_some()
        {
            return;
        }
        drop(counts);
        let on = if nodes.is_empty() {
            String::new()
        } else {
            format!(" on {}", nodes.join(","))
        };
        if self.live.is_none() {
            self.tell(&format!("running   {step}  job {job}{on}"));
        } else {
            self.add_bar(step, format!("job {job}{on}"));
        }
        self.refresh();
    }

    fn ended(
        &self,
        step: &str,
        outcome: &str,
        good: bool,
        elapsed: Option<Duration>,
        message: Option<&str>,
    ) {
        let mut counts = lock(&self.counts);
        counts.queued.remove(step);
        counts.running.remove(step);
        if good {
            counts.good += 1;
        } else {
            counts.bad += 1;
        }
        drop(counts);
        if let Some(live) = &self.live
            && let Some(bar) = lock(live).running.remove(step)
        {
            bar.finish_and_clear();
        }
        let time = elapsed.map_or(String::new(), |elapsed| {
            format!("  {:.1} s", elapsed.as_secs_f64())
        });
        let why = message.map_or(String::new(), |message| format!("  {message}"));
        let word = self.paint(&format!("{outcome:<9}"), good);
        self.tell(&format!("{word} {step}{time}{why}"));
        self.refresh();
    }

    fn paint(&self, word: &str, good: bool) -> String {
        match (self.color, good) {
            (false, _) => word.to_owned(),
            (true, true) => format!("\u{1b}[32m{word}\u{1b}[0m"),
            (true, false) => format!("\u{1b}[1;31m{word}\u{1b}[0m"),
        }
    }

    fn spin(&self, text: String) {
        if let Some(live) = &self.live {
            let live = lock(live);
            live.summary.set_message(text);
            live.summary.enable_steady_tick(Duration::from_millis(120));
        }
    }

    fn refresh(&self) {
        let line = lock(&self.counts).line();
        self.spin(line);
    }

    fn add_bar(&self, step: String, detail: String) {
        let Some(live) = &self.live else { return };
        let mut live = lock(live);
        if live.running.len() >= SHOWN_RUNNING {
            return;
        }
        let bar = live
            .bars
            .add(ProgressBar::new_spinner().with_style(style("  {prefix}  {elapsed}  {msg}")));
        bar.set_prefix(step.clone());
        bar.set_message(detail);
        bar.enable_steady_tick(Duration::from_secs(1));
        live.running.insert(step, bar);
    }

    fn clear(&self) {
        if let Some(live) = &self.live {
            let mut live = lock(live);
            for bar in std::mem::take(&mut live.running).into_values() {
                bar.finish_and_clear();
            }
            live.summary.finish_and_clear();
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

/// A thread that panicked while it held the lock leaves nothing here that could be half-done.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn write_line(text: &str) {
    // Standard error may be closed; there is nobody left to tell.
    writeln!(std::io::stderr(), "{text}").ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_say_why_steps_wait() {
        let mut counts = Counts {
            total: 9,
            good: 2,
            bad: 1,
            ..Counts::default()
        };
        counts.queued.insert("a".into(), Some("Priority".into()));
        counts.queued.insert("b".into(), Some("Resources".into()));
        counts.running.insert("c".into(), Instant::now());
        assert_eq!(
            counts.line(),
            "3/9 done · 1 not passed · 1 running · 2 queued (Priority, Resources)"
        );
    }
}
