//! Which run a verb is about.

use std::path::{Path, PathBuf};

use super::args::{RunArgs, RunChoice, WorkspaceChoice};
use super::setting::Setting;
use crate::drive::folder::{self, RunFolder};
use crate::error::Error;

/// Finds the run that was asked for: by its folder, by its id or the beginning of it, else the latest.
pub(super) async fn run(choice: &RunChoice) -> Result<RunFolder, Error> {
    if let Some(given) = choice.run.as_deref().filter(|given| given.contains('/')) {
        return at(Path::new(given));
    }
    let workspace = workspace(&choice.place).await?;
    let mut runs = folder::all(&workspace)?;
    if let Some(given) = &choice.run {
        runs.retain(|run| run.id().starts_with(given.as_str()));
        if runs.len() > 1 {
            return Err(Error::AmbiguousRun {
                given: given.clone(),
                runs: runs.iter().map(|run| run.id().to_owned()).collect(),
            });
        }
        if runs.is_empty() {
            // Reading it says what is wrong.
            return Ok(RunFolder::existing(&workspace, given));
        }
    }
    runs.pop().ok_or_else(|| Error::NoRun {
        dir: workspace.join("runs"),
    })
}

/// Returns the workspace that the settings name.
pub(super) async fn workspace(choice: &WorkspaceChoice) -> Result<PathBuf, Error> {
    Ok(setting(choice).await?.0)
}

/// Returns the workspace and the settings that name it.
pub(super) async fn setting(choice: &WorkspaceChoice) -> Result<(PathBuf, Setting), Error> {
    let args = RunArgs {
        config: choice.config.clone(),
        ..RunArgs::default()
    };
    let setting = Setting::read(&args).await?;
    setting.check_folders()?;
    Ok((setting.path(&setting.site.workspace.root), setting))
}

fn at(folder: &Path) -> Result<RunFolder, Error> {
    let real = fs_err::canonicalize(folder).map_err(Error::File)?;
    let id = real.file_name().and_then(|name| name.to_str());
    let workspace = real.parent().and_then(Path::parent);
    match (id, workspace) {
        (Some(id), Some(workspace)) => Ok(RunFolder::existing(workspace, id)),
        _ => Err(Error::NoRun { dir: real }),
    }
}
