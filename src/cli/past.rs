//! What the verbs that look back share: the project, its history, and which of its runs somebody means.

use std::path::{Path, PathBuf};

use camino::Utf8PathBuf;
use clap::Args;

use super::args::RunArgs;
use super::console::Console;
use super::setting::Setting;
use crate::drive::history as elapsed;
use crate::error::Error;
use crate::git::{Access, Source, Wanted};
use crate::plan::{project_key, slug};
use crate::results::history::{Earlier, History};
use crate::results::record::HistoryEntry;

/// Where the settings of a project stand.
#[derive(Debug, Args)]
pub(super) struct PastArgs {
    /// The configuration; without it, hpc.toml here or in a parent directory.
    #[arg(long, env = "HPC_CI_CONFIG", value_name = "PATH")]
    config: Option<PathBuf>,
}

/// A project's past.
pub(super) struct Past {
    /// Where it stands.
    pub(super) history: History,
    /// Every run, the oldest first.
    pub(super) runs: Vec<HistoryEntry>,
    source: Option<Source>,
    workspace: PathBuf,
}

impl Past {
    /// Reads the past of the project of these settings.
    pub(super) async fn read(args: &PastArgs, console: &Console) -> Result<Self, Error> {
        let setting = Setting::read(&RunArgs {
            config: args.config.clone(),
            ..RunArgs::default()
        })
        .await?;
        setting.check_folders()?;
        let source = Source::open(&setting.site.project.repository, &setting.base);
        let name = match (&setting.site.project.name, &source) {
            (Some(name), _) => name.clone(),
            (None, Ok(source)) => source.name(),
            (None, Err(_)) => return Err(source.err().map_or(Error::NoHistory, Error::Git)),
        };
        let identity = source.as_ref().map(Source::identity);
        let key = project_key(&name, &identity.unwrap_or_else(|_| nowhere(&setting.base)));
        let history = match source.as_ref().ok().and_then(Source::holds) {
            Some(holds) => history(&setting, &name, &key, &holds, console)?,
            None => at(&setting, &key)?,
        };
        let found = history.runs()?;
        if found.unreadable > 0 {
            console.tell(&format!(
                "note: {} lines of `{}` cannot be read and are left out",
                found.unreadable,
                history.file()
            ));
        }
        Ok(Self {
            history,
            runs: found.lines,
            source: source.ok(),
            workspace: setting.path(&setting.site.workspace.root),
        })
    }

    /// Returns the runs that `word` means, the oldest first: a run by its id, or all runs of a commit, which a branch of the
    /// history or git may name.
    pub(super) fn find(&self, word: &str) -> Result<Vec<&HistoryEntry>, Error> {
        let runs = |wanted: &dyn Fn(&HistoryEntry) -> bool| {
            let runs = self.runs.iter().filter(|run| wanted(run));
            runs.collect::<Vec<_>>()
        };
        let by_id = runs(&|run| run.run == word);
        if !by_id.is_empty() {
            return Ok(by_id);
        }
        let commit = self.commit(word).or_else(|| {
            let of_branch = |run: &&HistoryEntry| run.branch.as_deref() == Some(word);
            let newest = self.runs.iter().rev().find(of_branch)?;
            Some(newest.commit.clone())
        });
        let prefix = commit.unwrap_or_else(|| word.to_owned());
        let found = runs(&|run| !prefix.is_empty() && run.commit.starts_with(&prefix));
        if found.is_empty() {
            return Err(Error::UnknownRun {
                word: word.to_owned(),
                file: self.history.file().to_owned(),
            });
        }
        Ok(found)
    }

    fn commit(&self, word: &str) -> Option<String> {
        resolve(self.source.as_ref()?, word, &self.workspace)
    }
}

/// Returns the commit that git knows by a name, without asking any remote.
pub(super) fn resolve(source: &Source, word: &str, workspace: &Path) -> Option<String> {
    source.path()?;
    let stopped = || false;
    let access = Access {
        cancelled: &stopped,
        ..Access::new(workspace.join("mirrors"))
    };
    let wanted = Wanted::Commit(word.to_owned());
    let found = tokio::task::block_in_place(|| source.resolve(&wanted, &access)).ok()?;
    Some(found.commit.to_string())
}

/// Returns where the history of a project stands. What an earlier hpc-ci kept under the project's bare name is taken over, if the
/// project's repository holds all of its commits, and is told of if not.
pub(super) fn history(
    setting: &Setting,
    project: &str,
    key: &str,
    holds: &dyn Fn(&str) -> bool,
    console: &Console,
) -> Result<History, Error> {
    let history = at(setting, key)?;
    let earlier = at(setting, &slug(project))?;
    match history.take_over(&earlier, holds)? {
        Earlier::None => {}
        Earlier::Taken => {
            console.tell(&format!(
                "note: `{}`, of an earlier hpc-ci, is this project's history now: `{}`",
                earlier.file(),
                history.file()
            ));
            let state = setting.path(&setting.site.workspace.state);
            let [from, to] = [&slug(project), key].map(|it| elapsed::file(&state, it));
            // What steps took is learnt anew by the next run.
            fs_err::rename(from, to).ok();
        }
        Earlier::Left { strange, all } => console.tell(&format!(
            "note: `{}`, of an earlier hpc-ci, is left alone: {strange} of its {} are not of this repository, so that it may be of another \
             project called `{project}`; if it is this one's: mv {} {}",
            earlier.file(),
            super::counted(all, "commit"),
            shell_words::quote(earlier.file().as_str()),
            shell_words::quote(history.file().as_str()),
        )),
    }
    Ok(history)
}

/// Returns what stands for the address of a project without a repository: the folder of its settings.
pub(super) fn nowhere(base: &Path) -> String {
    let real = base.canonicalize();
    real.as_deref().unwrap_or(base).display().to_string()
}

fn at(setting: &Setting, key: &str) -> Result<History, Error> {
    let state = setting.path(&setting.site.workspace.state);
    let state = Utf8PathBuf::from_path_buf(state).map_err(|_| Error::NoHistory)?;
    Ok(History::new(&state, key))
}
