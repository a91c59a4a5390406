//! `trend`: how figures moved from run to run.

use clap::Args;

use super::args::{Format, Global};
use super::console::Console;
use super::past::{Past, PastArgs};
use crate::error::{Error, Exit};
use crate::results::trend;

/// Arguments of `trend`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hpc-ci trend\n  hpc-ci trend solver --branch main --last 50 --format json"
)]
pub(super) struct TrendArgs {
    /// Only metrics whose name contains one of these.
    #[arg(value_name = "METRIC")]
    metrics: Vec<String>,
    /// Only runs of this branch.
    #[arg(long, value_name = "NAME")]
    branch: Option<String>,
    /// How many runs, counted from the newest.
    #[arg(long, value_name = "N", default_value_t = 20)]
    last: usize,
    #[command(flatten)]
    past: PastArgs,
}

pub(super) async fn trend(
    args: &TrendArgs,
    global: &Global,
    console: &Console,
) -> Result<Exit, Error> {
    let past = Past::read(&args.past, console).await?;
    let branch = args.branch.as_deref();
    let accepted = past.history.accepted()?.lines;
    let trend = trend::trend(&past.runs, &accepted, &args.metrics, branch, args.last);
    match global.format {
        Format::Human => super::print_text(&trend.to_text(console.color())),
        Format::Json => super::print_json(&trend),
    }
}
