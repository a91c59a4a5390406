//! Coverage without a run: `merge`.

use std::io::{BufWriter, Write as _};
use std::path::PathBuf;

use clap::Args;

use super::console::Console;
use crate::coverage::merge::{self, Source};
use crate::error::{Error, Exit};

/// Arguments of `merge`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  hpc-ci merge -o lcov.info rank*.info")]
pub(super) struct MergeArgs {
    /// The tracefiles.
    #[arg(required = true, value_name = "TRACEFILE")]
    tracefiles: Vec<PathBuf>,
    /// Where the sum goes; `-` is standard output.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

/// What is wrong with a tracefile, a line each.
fn complaints(source: &Source) -> Vec<String> {
    match &source.reading {
        Err(error) => vec![error.to_string()],
        Ok(reading) if reading.sections == 0 => vec!["holds no source file".to_owned()],
        Ok(reading) => reading.problems.iter().map(ToString::to_string).collect(),
    }
}

/// Adds tracefiles up. Exits with 0 if something was usable; what was not is named.
pub(super) fn merge(args: &MergeArgs, console: &Console) -> Result<Exit, Error> {
    let (sum, sources) = merge::merge(&args.tracefiles);
    for source in &sources {
        for line in complaints(source) {
            console.say(&format!("{}: {line}", source.path.display()));
        }
    }
    let used = sources.iter().filter(|source| source.is_used()).count();
    if used == 0 {
        console.say("none of the tracefiles was usable");
        return Ok(Exit::Infrastructure);
    }
    let mut text = Vec::new();
    sum.write(&mut text).map_err(Error::File)?;
    if args.output.as_os_str() == "-" {
        return super::print(&text);
    }
    let dir = args
        .output
        .parent()
        .filter(|dir| !dir.as_os_str().is_empty());
    let dir = dir.map_or_else(|| PathBuf::from("."), PathBuf::from);
    let part = tempfile::NamedTempFile::new_in(&dir).map_err(Error::File)?;
    BufWriter::new(&part)
        .write_all(&text)
        .map_err(Error::File)?;
    part.persist(&args.output)
        .map_err(|error| Error::File(error.error))?;
    console.tell(&format!(
        "{used} of {} tracefiles in {}",
        sources.len(),
        args.output.display()
    ));
    Ok(Exit::Passed)
}
