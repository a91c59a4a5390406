//! A terminal of its own for a program, and what a person would see on it.

use std::io::{Read as _, Write as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::pty::openpty;
use rustix::termios::{Winsize, tcsetwinsize};

/// A terminal with a program on it.
pub(crate) struct Terminal {
    side: std::fs::File,
    child: Child,
    screen: Arc<Mutex<Shown>>,
    reader: std::thread::JoinHandle<()>,
}

struct Shown {
    parser: vt100::Parser,
    raw: Vec<u8>,
}

impl Terminal {
    /// Starts a program in the foreground of a new terminal, to which its three streams go.
    pub(crate) fn start(command: &mut Command, rows: u16, columns: u16) -> Self {
        let pair = openpty(None, None).unwrap();
        let side = std::fs::File::from(pair.master);
        tcsetwinsize(&side, size(rows, columns)).unwrap();
        let stream = || Stdio::from(pair.slave.try_clone().unwrap());
        let mut in_foreground = Command::new("setsid");
        in_foreground.arg("--ctty").arg(command.get_program());
        in_foreground.args(command.get_args());
        in_foreground.current_dir(command.get_current_dir().unwrap());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => in_foreground.env(name, value),
                None => in_foreground.env_remove(name),
            };
        }
        let child = in_foreground
            .stdin(stream())
            .stdout(stream())
            .stderr(stream())
            .spawn()
            .unwrap();
        let screen = Arc::new(Mutex::new(Shown {
            parser: vt100::Parser::new(rows, columns, 0),
            raw: Vec::new(),
        }));
        let (mut from, to) = (side.try_clone().unwrap(), Arc::clone(&screen));
        let reader = std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            // Once nobody has the other side any more, reading is an error.
            while let Ok(count @ 1..) = from.read(&mut bytes) {
                let mut shown = to.lock().unwrap();
                shown.parser.process(&bytes[..count]);
                shown.raw.extend(&bytes[..count]);
            }
        });
        Self {
            side,
            child,
            screen,
            reader,
        }
    }

    /// What stands on the screen now.
    pub(crate) fn text(&self) -> String {
        self.screen.lock().unwrap().parser.screen().contents()
    }

    /// All that was ever sent to it.
    pub(crate) fn raw(&self) -> String {
        String::from_utf8_lossy(&self.screen.lock().unwrap().raw).into_owned()
    }

    /// Where the cursor stands: row and column from 0.
    pub(crate) fn cursor(&self) -> (u16, u16) {
        self.screen
            .lock()
            .unwrap()
            .parser
            .screen()
            .cursor_position()
    }

    /// Waits until the screen shows what is wanted, and returns it.
    #[track_caller]
    pub(crate) fn until(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let started = Instant::now();
        loop {
            let text = self.text();
            if wanted(&text) {
                return text;
            }
            assert!(
                started.elapsed() < Duration::from_mins(1),
                "never: {what}\n{text}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Makes it another size, as a person does with the mouse.
    pub(crate) fn resize(&self, rows: u16, columns: u16) {
        let mut shown = self.screen.lock().unwrap();
        shown.parser.screen_mut().set_size(rows, columns);
        tcsetwinsize(&self.side, size(rows, columns)).unwrap();
    }

    /// Types keys.
    pub(crate) fn type_in(&mut self, keys: &[u8]) {
        self.side.write_all(keys).unwrap();
    }

    pub(crate) fn child(&self) -> &Child {
        &self.child
    }

    /// Waits for the program's end and all that it wrote.
    pub(crate) fn end(mut self) -> (ExitStatus, String, (u16, u16)) {
        let status = self.child.wait().unwrap();
        // What was written is read before the end of it; a program that was left behind may hold the terminal.
        let started = Instant::now();
        while !self.reader.is_finished() && started.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(20));
        }
        let end = (self.text(), self.cursor());
        (status, end.0, end.1)
    }
}

fn size(rows: u16, columns: u16) -> Winsize {
    Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}
