//! The part of a terminal that is drawn over and over, below all that scrolls.
//!
//! The cursor rests below what was drawn, at the beginning of its line: whoever writes there next, a shell after `kill -9`
//! included, finds the terminal in order. Nothing else of its state is ever changed. indicatif leaves the cursor at the end of
//! what it drew, and forgets that a terminal which became narrower has wrapped it.

use std::io::{IsTerminal as _, Write as _};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::Local;
use unicode_width::UnicodeWidthStr as _;

use super::board::Board;
use super::table::{self, Size};
use crate::clean::printable;
use crate::drive::progress::Progress;
use crate::results::table::Ink;

/// Between two drawings while something happens.
const FRAME: Duration = Duration::from_millis(125);
/// Between two drawings while nothing does but that time goes by.
const SECOND: Duration = Duration::from_secs(1);
/// What a terminal is taken for that does not tell its size.
const USUAL: Size = Size {
    columns: 80,
    rows: 24,
};

/// Returns whether standard error is a terminal on which a cursor can be moved.
pub(super) fn is_able() -> bool {
    let term = std::env::var_os("TERM").unwrap_or_default();
    std::io::stderr().is_terminal() && !term.is_empty() && term != "dumb"
}

/// A terminal with a run on it.
#[derive(Debug)]
pub(super) struct Screen {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    board: Board,
    activity: String,
    /// Lines that are to scroll away above.
    above: String,
    /// The widths of the lines that stand there now.
    drawn: Vec<usize>,
    ink: Ink,
    is_dirty: bool,
    is_drawing: bool,
    is_closed: bool,
}

impl Screen {
    pub(super) fn new(ink: Ink) -> Self {
        let state = State {
            board: Board::default(),
            activity: String::new(),
            above: String::new(),
            drawn: Vec::new(),
            ink,
            is_dirty: false,
            is_drawing: false,
            is_closed: false,
        };
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                changed: Condvar::new(),
            }),
        }
    }

    /// Takes in what happened, and a line about it, which are drawn soon.
    pub(super) fn show(&self, event: &Progress, line: impl FnOnce(&Board) -> Option<String>) {
        self.change(|state| {
            if let Some(line) = line(&state.board) {
                state.above.push_str(&line);
                state.above.push('\n');
            }
            state.board.take_in(event, Local::now().to_utc());
        });
    }

    /// Takes in what is being done apart from a run's stages.
    pub(super) fn act(&self, what: &str) {
        self.change(|state| what.clone_into(&mut state.activity));
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.shared.lock();
        change(&mut state);
        state.is_dirty = true;
        if state.is_closed {
            state.draw();
        } else if state.is_drawing {
            self.shared.changed.notify_one();
        } else {
            state.is_drawing = true;
            drop(state);
            let shared = Arc::clone(&self.shared);
            std::thread::spawn(move || shared.keep_drawing());
        }
    }

    /// Writes lines that scroll away above, at once.
    pub(super) fn write(&self, text: &str) {
        let mut state = self.shared.lock();
        state.above.push_str(text);
        state.above.push('\n');
        state.draw();
    }

    /// Leaves nothing that moves on the terminal.
    pub(super) fn close(&self) {
        let mut state = self.shared.lock();
        state.is_closed = true;
        state.draw();
        self.shared.changed.notify_one();
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    /// A thread that panicked while it held the lock leaves nothing here that could be half-done.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep_drawing(&self) {
        let mut state = self.lock();
        while !state.is_closed {
            state.draw();
            drop(state);
            std::thread::sleep(FRAME);
            state = self.lock();
            if state.is_closed || state.is_dirty {
                continue;
            }
            // While nothing stands there, nothing has to be kept up.
            state = if state.drawn.is_empty() {
                let waited = self.changed.wait(state);
                waited.unwrap_or_else(PoisonError::into_inner)
            } else {
                let waited = self.changed.wait_timeout(state, SECOND);
                waited.unwrap_or_else(PoisonError::into_inner).0
            };
        }
    }
}

impl State {
    fn draw(&mut self) {
        self.is_dirty = false;
        let size = size();
        let lines = if self.is_closed {
            Vec::new()
        } else {
            table::lines(
                &self.board,
                &self.activity,
                Local::now().fixed_offset(),
                size,
                self.ink,
            )
        };
        let text = redrawn(&self.drawn, &self.above, &lines, size.columns);
        self.above.clear();
        self.drawn = lines.iter().map(|line| printable(line).width()).collect();
        // Standard error may be closed; there is nobody left to tell.
        std::io::stderr().write_all(text.as_bytes()).ok();
    }
}

fn size() -> Size {
    let size = rustix::termios::tcgetwinsize(std::io::stderr()).ok();
    size.filter(|size| size.ws_col > 0 && size.ws_row > 0)
        .map_or(USUAL, |size| Size {
            columns: usize::from(size.ws_col),
            rows: usize::from(size.ws_row),
        })
}

/// Returns what makes a terminal of this width, where lines of these widths were drawn last, show other lines in their place,
/// and text above them.
fn redrawn(drawn: &[usize], above: &str, lines: &[String], columns: usize) -> String {
    // A terminal that became narrower since has wrapped them.
    let rows: usize = drawn
        .iter()
        .map(|width| width.div_ceil(columns.max(1)).max(1))
        .sum();
    let mut text = match rows {
        0 => String::new(),
        rows => format!("\r\u{1b}[{rows}A"),
    };
    if !above.is_empty() {
        if rows > 0 {
            text.push_str("\u{1b}[J");
        }
        text.push_str(above);
    }
    for line in lines {
        text.push_str(line);
        text.push_str("\u{1b}[K\n");
    }
    if rows > 0 {
        text.push_str("\u{1b}[J");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a terminal shows, line by line, without the empty ones at its end.
    fn shown(terminal: &vt100::Parser) -> String {
        terminal.screen().contents().trim_end().to_owned()
    }

    fn owned(lines: &[&str]) -> Vec<String> {
        lines.iter().map(|&line| line.to_owned()).collect()
    }

    /// As the line discipline of a terminal passes it on.
    fn sent(text: &str) -> Vec<u8> {
        text.replace('\n', "\r\n").into_bytes()
    }

    #[test]
    fn lines_are_replaced_and_text_scrolls_above() {
        let mut terminal = vt100::Parser::new(6, 20, 0);
        terminal.process(b"$ hpc-ci\r\n");
        terminal.process(&sent(&redrawn(
            &[],
            "",
            &owned(&["one", "two and more"]),
            20,
        )));
        assert_eq!(shown(&terminal), "$ hpc-ci\none\ntwo and more");
        terminal.process(&sent(&redrawn(
            &[3, 12],
            "passed  a\n",
            &owned(&["one", "two"]),
            20,
        )));
        assert_eq!(shown(&terminal), "$ hpc-ci\npassed  a\none\ntwo");
        let long = "a line that is wider than the terminal\n";
        terminal.process(&sent(&redrawn(&[3, 3], long, &owned(&["three"]), 20)));
        assert_eq!(
            shown(&terminal),
            "$ hpc-ci\npassed  a\na line that is wider than the terminal\nthree"
        );
        assert_eq!(terminal.screen().cursor_position(), (5, 0));
        terminal.process(&sent(&redrawn(&[5], "", &[], 20)));
        assert!(!shown(&terminal).contains("three"), "{}", shown(&terminal));
        assert_eq!(terminal.screen().cursor_position(), (4, 0));
    }

    #[test]
    fn a_terminal_that_became_narrower_is_cleared_of_what_it_wrapped() {
        let mut terminal = vt100::Parser::new(8, 10, 0);
        // As it wrapped `0123456789012345` and `short`.
        terminal.process(b"above\r\n0123456789\r\n012345\r\nshort\r\n");
        terminal.process(&sent(&redrawn(&[16, 5], "", &owned(&["new"]), 10)));
        assert_eq!(shown(&terminal), "above\nnew");
    }
}
