//! `run-pack`: what the job script of a pack starts. People have no use for it.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::args::Global;
use super::console::Console;
use crate::build::environment::scrub;
use crate::build::secrets::Secrets;
use crate::drive;
use crate::error::{Error, Exit};

/// Arguments of `run-pack`.
#[derive(Debug, Args)]
pub(super) struct PackArgs {
    /// The folder of the pack in the run folder.
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

pub(super) async fn run_pack(
    args: &PackArgs,
    global: &Global,
    console: &Arc<Console>,
) -> Result<Exit, Error> {
    let cancel = crate::cancel::watch().map_err(Error::Runtime)?;
    super::trace::to_file(&args.folder.join("hpc-ci.log"), global.verbose).map_err(Error::File)?;
    // The secrets of the driver were taken out before the job was submitted.
    let inherited = scrub(std::env::vars_os(), &Secrets::taken_out());
    let observer = console.observer();
    drive::run_pack(&args.folder, inherited, &observer, &cancel).await?;
    Ok(cancel.signal().map_or(Exit::Passed, Exit::Signal))
}
