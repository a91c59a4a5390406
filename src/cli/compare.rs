//! `compare`: two commits or runs side by side.

use clap::Args;

use super::args::{Format, Global};
use super::console::Console;
use super::past::{Past, PastArgs};
use crate::error::{Error, Exit};
use crate::results::compare;

/// Arguments of `compare`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  hpc-ci compare main HEAD\n\nOnly figures of the same system, partition, processor, ranks, nodes, compiler and MPI are compared."
)]
pub(super) struct CompareArgs {
    /// A run, a commit, or a name that git knows.
    #[arg(value_name = "A")]
    a: String,
    /// The other one.
    #[arg(value_name = "B")]
    b: String,
    #[command(flatten)]
    past: PastArgs,
}

pub(super) async fn compare(
    args: &CompareArgs,
    global: &Global,
    console: &Console,
) -> Result<Exit, Error> {
    let past = Past::read(&args.past, console).await?;
    let comparison = compare::compare(&past.find(&args.a)?, &past.find(&args.b)?);
    match global.format {
        Format::Human => super::print_text(&comparison.to_text(console.color())),
        Format::Json => super::print_json(&comparison),
    }
}
