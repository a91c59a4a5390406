//! `node-reduce` and `node-keep`: what the script of a step runs on its nodes when the ranks have ended; `node-cover`: what the job
//! of the coverage runs. Not for people.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::console::Console;
use crate::coverage::node::{self, Share};
use crate::drive::{self, keep};
use crate::error::{Error, Exit};
use crate::plan::KeepBounds;

/// Arguments of `node-reduce`.
#[derive(Debug, Args)]
pub(super) struct NodeArgs {
    /// The node's folder of profiles; it goes when they are added up.
    #[arg(value_name = "FOLDER")]
    scratch: PathBuf,
    /// The folder on shared storage that gets the sum.
    #[arg(long, value_name = "FOLDER")]
    shared: PathBuf,
    /// The node's name.
    #[arg(long)]
    host: String,
    /// The build whose programs ran.
    #[arg(long)]
    build: String,
    /// The list of the run's objects.
    #[arg(long, value_name = "FILE")]
    index: PathBuf,
}

/// Adds up the profiles on this node's disk.
pub(super) fn reduce(args: &NodeArgs, console: &Console) -> Result<Exit, Error> {
    let share = Share {
        scratch: &args.scratch,
        shared: &args.shared,
        host: &args.host,
        build: &args.build,
        index: &args.index,
    };
    let reduced = node::reduce(&share)?;
    if reduced.carried > 0 {
        console.say(&format!(
            "{} profiles of {} are handed on as they are",
            reduced.carried, args.host
        ));
    }
    Ok(Exit::Passed)
}

/// Arguments of `node-keep`.
#[derive(Debug, Args)]
pub(super) struct KeepArgs {
    /// The folder of this start of the attempt.
    #[arg(long, value_name = "FOLDER")]
    start: PathBuf,
    /// The folder of the attempt.
    #[arg(long, value_name = "FOLDER")]
    step_dir: PathBuf,
    /// Where the step ran.
    #[arg(long, value_name = "FOLDER")]
    cwd: PathBuf,
    /// The work tree.
    #[arg(long, value_name = "FOLDER")]
    tree: PathBuf,
    /// The most bytes.
    #[arg(long)]
    bytes: u64,
    /// The most files.
    #[arg(long)]
    files: u64,
    /// How long it may take.
    #[arg(long)]
    seconds: u64,
    /// What to keep.
    #[arg(value_name = "PATTERN")]
    patterns: Vec<String>,
}

/// Copies the files that the patterns name.
pub(super) fn keep(args: &KeepArgs) -> Result<Exit, Error> {
    let request = keep::Request {
        start: &args.start,
        step_dir: &args.step_dir,
        cwd: &args.cwd,
        tree: &args.tree,
        patterns: &args.patterns,
        bounds: KeepBounds {
            bytes: args.bytes,
            files: args.files,
        },
        time: Duration::from_secs(args.seconds),
    };
    keep::keep(&request).map_err(Error::File)?;
    Ok(Exit::Passed)
}

/// Arguments of `node-cover`.
#[derive(Debug, Args)]
pub(super) struct CoverArgs {
    /// The folder of the run.
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

/// Makes the coverage of a run.
pub(super) async fn cover(args: &CoverArgs, console: &Arc<Console>) -> Result<Exit, Error> {
    drive::cover_run(&args.folder, &console.observer()).await?;
    Ok(Exit::Passed)
}
