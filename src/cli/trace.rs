//! Tracing: everything to the log file of the run, what `-v` asks for to the terminal.

use std::io::Write;
use std::path::Path;
use std::sync::Mutex;

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt};

use crate::clean::painted;
use crate::foreign;

/// Starts to write what happens to a log file, and to the terminal as far as `-v` asks.
pub(super) fn to_file(path: &Path, verbose: u8) -> std::io::Result<()> {
    let file = foreign::append(path)?.into_file();
    let to_file = fmt::layer()
        .with_ansi(false)
        .with_writer(Mutex::new(file))
        .with_filter(LevelFilter::DEBUG);
    let to_terminal = fmt::layer()
        .with_writer(|| Terminal)
        .without_time()
        .with_filter(level(verbose));
    // A second run in one process keeps the first one's log; that happens in tests alone.
    tracing_subscriber::registry()
        .with(to_file)
        .with(to_terminal)
        .try_init()
        .ok();
    Ok(())
}

/// Standard error, which is shown nothing that a terminal would obey but colours.
struct Terminal;

impl Write for Terminal {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let text = painted(&String::from_utf8_lossy(bytes));
        std::io::stderr().write_all(text.as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}

fn level(verbose: u8) -> LevelFilter {
    match verbose {
        0 => LevelFilter::OFF,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    }
}
