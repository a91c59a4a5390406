//! What people and programs see of a command while it works: a table on a terminal, lines with a time in a log, events on
//! standard output. All but the events goes to standard error.

mod board;
mod events;
mod lines;
mod plain;
#[cfg(test)]
mod sample;
mod screen;
mod sections;
mod table;
mod words;

use std::io::{IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use chrono::{DateTime, FixedOffset, Local, Utc};
use serde_json::{Value, json};

use crate::clean::{painted, printable};
use crate::drive::progress::{Observer, Progress};
use crate::error::Error;
use crate::results::table::Ink;
use events::{Events, written};
use lines::{MANY, Weight, line};
use plain::Plain;
use screen::Screen;

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
                    && screen::is_able()
            }
        }
    }
}

/// How much is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Errors and the final summary.
    Least,
    /// What a person wants to follow.
    Usual,
    /// Every step, however many there are.
    All,
}

/// Where the progress of a command is shown.
#[derive(Debug)]
pub struct Console {
    color: bool,
    all: bool,
    view: View,
    /// Events, once a program is to be told.
    events: Mutex<Option<Events>>,
}

#[derive(Debug)]
enum View {
    Nothing,
    Lines(Arc<Mutex<Plain>>, AtomicBool),
    Table(Screen),
}

impl Console {
    /// Returns a console. A table needs a terminal, and one that events do not run through.
    #[must_use]
    pub fn new(extent: Extent, color: bool, events: bool) -> Self {
        let all = extent == Extent::All;
        let ink = Ink { colour: color };
        let is_shared = events && std::io::stdout().is_terminal();
        let view = match extent {
            Extent::Least => View::Nothing,
            Extent::Usual | Extent::All if screen::is_able() && !is_shared => {
                View::Table(Screen::new(ink))
            }
            Extent::Usual | Extent::All => {
                let in_gitlab = std::env::var_os("GITLAB_CI").is_some_and(|value| value == "true");
                let plain = Plain::new(ink, all, in_gitlab, Utc::now());
                View::Lines(Arc::new(Mutex::new(plain)), AtomicBool::new(false))
            }
        };
        Self {
            color,
            all,
            view,
            events: Mutex::new(None),
        }
    }

    /// Returns whether text for people may carry colour.
    #[must_use]
    pub fn color(&self) -> bool {
        self.color
    }

    /// Returns who shows what a run tells.
    #[must_use]
    pub fn observer(self: &Arc<Self>) -> Observer {
        let console = Arc::clone(self);
        Arc::new(move |event| console.show(&event))
    }

    /// Shows text that a person must see, also when quiet.
    pub fn say(&self, text: &str) {
        self.say_styled(&printable(text));
    }

    /// Shows text that a person must see, with its colours.
    pub fn say_styled(&self, text: &str) {
        let text = &painted(text);
        match &self.view {
            View::Nothing => write(&format!("{text}\n")),
            View::Lines(plain, _) => {
                // One text at a time.
                let _plain = lock(plain);
                write(&format!("{text}\n"));
            }
            View::Table(screen) => screen.write(text),
        }
    }

    /// Shows a line, without a time, unless quiet.
    pub fn remark(&self, line: &str) {
        if !matches!(self.view, View::Nothing) {
            self.say(line);
        }
    }

    /// Shows a line unless quiet; with the time where nothing else tells when it was said.
    pub fn tell(&self, text: &str) {
        self.tell_people(text);
        let text = text.strip_prefix("note: ").unwrap_or(text);
        self.send("note", || json!({ "message": text }));
    }

    /// Shows a line as [`tell`](Self::tell) does; a program is told by an event of its own.
    pub fn announce(&self, text: &str, event: &str, fields: impl FnOnce() -> Value) {
        self.tell_people(text);
        self.send(event, fields);
    }

    fn tell_people(&self, text: &str) {
        match &self.view {
            View::Nothing => {}
            View::Lines(plain, _) => {
                let mut plain = lock(plain);
                write(&plain.tell(text, now()));
            }
            View::Table(screen) => screen.write(&printable(text)),
        }
    }

    /// Shows what a run tells.
    pub fn show(&self, event: &Progress) {
        match &self.view {
            View::Nothing => {}
            View::Lines(plain, has_heart) => {
                if !has_heart.swap(true, Ordering::Relaxed) {
                    let plain = Arc::downgrade(plain);
                    std::thread::spawn(move || beat(&plain));
                }
                let mut plain = lock(plain);
                let text = plain.show(event, now());
                if !text.is_empty() {
                    write(&text);
                }
            }
            View::Table(screen) => screen.show(event, |board| {
                let least = if self.all || board.total <= MANY {
                    Weight::Pass
                } else {
                    Weight::Matter
                };
                let line = line(event, now()).filter(|line| line.weight >= least)?;
                Some(line.shown(Ink { colour: self.color }))
            }),
        }
        if let Some(events) = lock(&self.events).as_mut() {
            print(&events.line(event, Utc::now()));
        }
    }

    /// Shows how far something is, on a terminal alone.
    pub fn show_moving(&self, moved: Option<(&str, usize, usize)>) {
        if let Some((what, done, total)) = moved {
            self.show_activity(&format!("{what} {done}/{total}"));
        }
    }

    /// Shows what is being done, on a terminal alone, until an empty text takes it away.
    pub fn show_activity(&self, what: &str) {
        if let View::Table(screen) = &self.view {
            screen.act(what);
        }
    }

    /// Begins to tell a program on standard output what happens, an event a line.
    pub fn send_events(&self) {
        lock(&self.events).get_or_insert_default();
    }

    /// Sends an event, where a program is told.
    fn send(&self, event: &str, fields: impl FnOnce() -> Value) {
        if lock(&self.events).is_some() {
            print(&event_line(event, fields()));
        }
    }

    /// Shows why a command could not do its work.
    pub fn fail(&self, error: &Error) {
        self.close();
        self.say_styled(&error.report(self.color));
        let fields = || json!({ "message": error.report(false), "exit_code": error.exit().code() });
        self.send("error", fields);
    }

    /// Closes what is open, so that what is said from here on stands by itself.
    pub fn close(&self) {
        match &self.view {
            View::Nothing => {}
            View::Lines(plain, _) => {
                let mut plain = lock(plain);
                write(&plain.close(now()));
            }
            View::Table(screen) => screen.close(),
        }
    }
}

/// Returns an event as a line of its own.
#[must_use]
pub fn event_line(event: &str, fields: Value) -> String {
    written(event, fields, Utc::now())
}

/// Shows life in a log for as long as there is one.
fn beat(plain: &Weak<Mutex<Plain>>) {
    while let Some(plain) = plain.upgrade() {
        let mut log = lock(&plain);
        if let Some(line) = log.beat(now()) {
            write(&line);
        }
        let wait = log.next_beat() - Utc::now();
        drop(log);
        drop(plain);
        // While nothing goes on, the time for a beat may be over already.
        std::thread::sleep(
            wait.to_std()
                .unwrap_or_default()
                .max(Duration::from_secs(1)),
        );
    }
}

fn now() -> DateTime<FixedOffset> {
    Local::now().fixed_offset()
}

/// A thread that panicked while it held the lock leaves nothing here that could be half-done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn write(text: &str) {
    // Standard error may be closed; there is nobody left to tell.
    std::io::stderr().write_all(text.as_bytes()).ok();
}

fn print(line: &str) {
    // A reader that has seen enough hears no more; what must arrive is printed by `cli::print`.
    let mut out = std::io::stdout().lock();
    out.write_all(line.as_bytes())
        .and_then(|()| out.flush())
        .ok();
}
