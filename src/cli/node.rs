//! `node-reduce`: what the script of a step runs on each node when the ranks have ended. Not for people.

use std::path::PathBuf;

use clap::Args;

use super::console::Console;
use crate::coverage::node::{self, Share};
use crate::error::{Error, Exit};

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
