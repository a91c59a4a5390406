//! `gc`: removes what old runs left behind.

use std::sync::Arc;

use clap::Args;

use super::args::{Format, Global, WorkspaceChoice};
use super::choice;
use super::console::Console;
use crate::config::{Memory, Workspace};
use crate::drive::gc::{Keep, Swept, sweep};
use crate::error::{Error, Exit};

/// Arguments of `gc`.
#[derive(Debug, Args)]
#[command(
    after_help = "Runs that are alive, or whose artifacts wait to be published, stay.\n\nExample:\n  hpc-ci gc --dry-run"
)]
pub(super) struct GcArgs {
    #[command(flatten)]
    place: WorkspaceChoice,
    /// Only say what would be removed.
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn gc(
    args: GcArgs,
    global: &Global,
    console: &Arc<Console>,
) -> Result<Exit, Error> {
    let (workspace, setting) = choice::setting(&args.place).await?;
    let artifacts = setting.path(&setting.site.workspace.artifacts);
    let keep = keep(&setting.site.workspace);
    let swept = sweep(&workspace, &artifacts, keep, args.dry_run)?;
    if global.format == Format::Json {
        let document = serde_json::json!({
            "schema_version": 1,
            "removed": swept,
        });
        return super::print_json(&document);
    }
    for run in &swept.runs {
        console.say(run);
    }
    let verb = if args.dry_run { "would be" } else { "were" };
    console.tell(&if swept.runs.is_empty() {
        "nothing is beyond `keep_runs` and `keep_limit` of [workspace]".to_owned()
    } else {
        format!("{} {verb} removed", told(&swept))
    });
    Ok(Exit::Passed)
}

/// Returns how much the settings keep.
pub(super) fn keep(workspace: &Workspace) -> Keep {
    Keep {
        runs: workspace.keep_runs as usize,
        bytes: workspace.keep_limit.bytes(),
    }
}

/// Returns what was removed, for a person.
pub(super) fn told(swept: &Swept) -> String {
    format!(
        "{} with {}",
        super::counted(swept.runs.len(), "old run"),
        Memory::from_bytes(swept.bytes)
    )
}
