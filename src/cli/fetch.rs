//! `fetch`: brings commit, submodules and `fetch` commands in while there is a network.

use std::sync::Arc;

use super::args::{Global, RunArgs};
use super::console::Console;
use super::setting::Setting;
use super::source;
use crate::drive;
use crate::error::{Error, Exit};

pub(super) async fn fetch(
    args: RunArgs,
    global: &Global,
    console: &Arc<Console>,
) -> Result<Exit, Error> {
    let cancel = crate::cancel::watch().map_err(Error::Runtime)?;
    let setting = Setting::read(&args).await?;
    let planned = source::plan(&setting, &args, &cancel, console)?;
    let folder = source::new_folder(&planned.workspace);
    folder.create().map_err(Error::File)?;
    super::trace::to_file(&folder.log(), global.verbose).map_err(Error::File)?;
    let inherited = setting.inherited();
    let observer = console.observer();
    let commit = planned.plan.revision.commit.clone();
    let wanted = drive::Fetch {
        plan: &planned.plan,
        origin: &planned.origin,
        credentials: &planned.credentials,
        workspace: &planned.workspace,
        folder: &folder,
        inherited: &inherited,
    };
    let fetching = drive::fetch(wanted, &observer, &cancel);
    tokio::select! {
        biased;
        () = cancel.token().cancelled() => {
            return Ok(Exit::Signal(cancel.signal().unwrap_or(2)));
        }
        fetched = fetching => fetched?,
    }
    console.tell(&format!("{commit} is here: a run of it needs no network"));
    Ok(Exit::Passed)
}
