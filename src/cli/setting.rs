//! From files, variables and flags to the settings in force: which files are trusted, and for what.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::args::{RunArgs, SchedulerChoice};
use crate::build::environment::scrub;
use crate::build::secrets::Secrets;
use crate::config::{Context, File, Origin, Override, Site, Suite};
use crate::error::Error;
use crate::foreign;
use crate::owner::{self, OwnerError};
use crate::process::{Command, ProcessError};

/// How long Slurm may take to tell its cluster's name.
const CLUSTER_DEADLINE: Duration = Duration::from_secs(10);
/// Where Slurm's commands find their settings when no variable says where.
const SLURM_CONFS: &[&str] = &["/etc/slurm/slurm.conf", "/run/slurm/conf/slurm.conf"];

/// The folders of a workspace out of which scripts are run.
pub(super) const OF_WORKSPACE: &[&str] = &["runs", "trees", "mirrors", "launchers"];
/// The folders of the state.
pub(super) const OF_STATE: &[&str] = &["history", "elapsed", "outbox"];

/// A file of settings with its text.
#[derive(Debug, Clone)]
pub(super) struct Text {
    /// Where it stands.
    pub(super) path: PathBuf,
    name: String,
    content: String,
}

impl Text {
    fn read(path: &Path) -> Result<Self, Error> {
        owner::check_file(path)?;
        let file = foreign::open_linked(path).map_err(Error::Settings)?;
        owner::check_opened(path, &file.metadata().map_err(Error::Settings)?)?;
        let content = foreign::text(file, crate::config::MOST_BYTES).map_err(Error::Settings)?;
        Ok(Self {
            path: path.to_owned(),
            name: shown(path),
            content,
        })
    }

    fn file(&self) -> File<'_> {
        File {
            name: &self.name,
            text: &self.content,
        }
    }
}

/// The settings that are known before the checkout.
#[derive(Debug)]
pub(super) struct Setting {
    /// Where and for whom.
    pub(super) site: Site,
    /// The `hpc.toml` that hpc-ci was started with.
    pub(super) local: Text,
    /// The directory that relative paths of the site mean.
    pub(super) base: PathBuf,
    /// What is worth saying about where settings came from.
    pub(super) notes: Vec<String>,
    cluster: Option<String>,
    variables: BTreeMap<String, String>,
}

impl Setting {
    /// Reads the trusted files as the command line asks for.
    pub(super) async fn read(args: &RunArgs) -> Result<Self, Error> {
        let local = Text::read(&find(args.config.as_deref())?)?;
        Self::of(local, args).await
    }

    /// Reads what holds where there is no `hpc.toml`, or none that can be read: defaults and the site's file.
    pub(super) async fn without_file(args: &RunArgs) -> Result<Self, Error> {
        let path = std::env::current_dir()
            .map_err(Error::File)?
            .join("hpc.toml");
        let local = Text {
            name: shown(&path),
            path,
            content: String::new(),
        };
        Self::of(local, args).await
    }

    async fn of(local: Text, args: &RunArgs) -> Result<Self, Error> {
        let site_file = site_file().map(|path| Text::read(&path)).transpose()?;
        let variables = variables();
        let cluster = cluster().await;
        let home = variables.get("HOME").cloned();
        let context = Context {
            environment: &variables,
            home: home.as_deref(),
            cluster: cluster.as_deref(),
        };
        let mut notes = Vec::new();
        let trusted = !is_of_merge_request(&local.path, args.config.is_some());
        if !trusted {
            notes.push(format!(
                "`{}` comes with the commit: where results go and what jobs may take is read from the site's file alone",
                local.name
            ));
        }
        let site = Site::read(
            site_file.as_ref().map(Text::file),
            trusted.then(|| local.file()),
            &overrides(args),
            &context,
        )?;
        let base = local
            .path
            .parent()
            .map_or_else(PathBuf::new, Path::to_owned);
        Ok(Self {
            site,
            local,
            base,
            notes,
            cluster,
            variables,
        })
    }

    /// Reads what to test from the local file.
    pub(super) fn local_suite(&self) -> Result<Suite, Error> {
        self.suite(self.local.file())
    }

    /// Reads what to test from the text of a commit's `hpc.toml`.
    pub(super) fn commit_suite(&self, name: &str, text: &str) -> Result<Suite, Error> {
        self.suite(File { name, text })
    }

    /// Returns the text of the local file.
    pub(super) fn local_text(&self) -> &str {
        &self.local.content
    }

    /// Returns whether the local file says the same as this text.
    pub(super) fn local_is(&self, text: &str) -> bool {
        self.local.content == text
    }

    fn suite(&self, file: File<'_>) -> Result<Suite, Error> {
        let visible = self.visible();
        let context = Context {
            environment: &visible,
            home: visible.get("HOME").map(String::as_str),
            cluster: self.cluster.as_deref(),
        };
        Ok(Suite::read(file, &self.site, &context)?)
    }

    /// Checks that nobody else can change what stands in the workspace and the state folder.
    pub(super) fn check_folders(&self) -> Result<(), OwnerError> {
        let workspace = &self.site.workspace;
        owner::check_folder(&self.path(&workspace.root), OF_WORKSPACE)?;
        owner::check_folder(&self.path(&workspace.state), OF_STATE)
    }

    /// Returns the environment that builds, jobs and steps inherit.
    pub(super) fn inherited(&self) -> Vec<(OsString, OsString)> {
        scrub(std::env::vars_os(), &self.secrets())
    }

    /// Returns the names of the caller's variables that are withheld as credentials.
    pub(super) fn withheld(&self) -> Vec<String> {
        let secrets = self.secrets();
        let withheld = |(name, value): (OsString, OsString)| {
            let name = name.to_string_lossy().into_owned();
            (secrets.shown(&name, &value).as_ref() != Some(&value)).then_some(name)
        };
        let mut names: Vec<String> = std::env::vars_os().filter_map(withheld).collect();
        names.sort();
        names
    }

    fn secrets(&self) -> Secrets {
        Secrets {
            tokens: self.token_variables(),
            more: self.site.trust.secrets.clone(),
            pass: self.site.trust.pass.clone(),
        }
    }

    /// Returns the caller's variables without credentials: paths and conditions of the commit's file may ask for them.
    pub(super) fn visible(&self) -> BTreeMap<String, String> {
        let secrets = self.secrets();
        let visible = |(name, value): (&String, &String)| {
            let shown = secrets.shown(name, OsStr::new(value))?;
            Some((name.clone(), shown.into_string().ok()?))
        };
        self.variables.iter().filter_map(visible).collect()
    }

    /// Returns the names that the settings give to variables with tokens.
    fn token_variables(&self) -> Vec<String> {
        let publish = &self.site.publish;
        let sources = [
            publish.codecov.as_ref().map(|it| &it.token),
            publish.results_branch.as_ref().map(|it| &it.token),
            publish.github.as_ref().map(|it| &it.token),
            publish.gitlab.as_ref().map(|it| &it.token),
        ];
        sources
            .into_iter()
            .flatten()
            .filter_map(|token| token.env.clone())
            .collect()
    }

    /// Returns a path of the site's settings, relative ones taken from where the local file stands.
    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.base.join(path)
    }
}

fn variables() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// Finds the configuration: the one named, else `hpc.toml` here or in a parent directory.
fn find(named: Option<&Path>) -> Result<PathBuf, Error> {
    let here = std::env::current_dir().map_err(Error::File)?;
    if let Some(path) = named {
        return Ok(here.join(path));
    }
    here.ancestors()
        .map(|dir| dir.join("hpc.toml"))
        .find(|path| path.is_file())
        .ok_or(Error::NoConfig { dir: here })
}

fn site_file() -> Option<PathBuf> {
    let config = std::env::var_os("XDG_CONFIG_HOME")
        .filter(|dir| !dir.is_empty())
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".config")))?;
    let path = config.join("hpc-ci/config.toml");
    path.is_file().then_some(path)
}

/// Whether the file belongs to the checkout of a GitLab job, and so to whoever wrote the merge request.
fn is_of_merge_request(path: &Path, named: bool) -> bool {
    if std::env::var_os("GITLAB_CI").is_none_or(|value| value != "true") {
        return false;
    }
    let Some(project) = std::env::var_os("CI_PROJECT_DIR") else {
        return !named;
    };
    let real = |path: &Path| fs_err::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    real(path).starts_with(real(Path::new(&project)))
}

fn overrides(args: &RunArgs) -> Vec<Override> {
    let kind = args.scheduler.map(|choice| match choice {
        SchedulerChoice::Auto => "auto",
        SchedulerChoice::Slurm => "slurm",
        SchedulerChoice::Allocation => "allocation",
        SchedulerChoice::Local => "local",
    });
    kind.map(|kind| Override {
        key: "scheduler.kind",
        value: kind.to_owned(),
        origin: Origin::Flag(format!("--scheduler {kind}")),
    })
    .into_iter()
    .collect()
}

/// The cluster's name: as told, as the allocation says, or as Slurm's controller answers.
async fn cluster() -> Option<String> {
    for variable in ["HPC_CI_CLUSTER", "SLURM_CLUSTER_NAME"] {
        if let Some(name) = std::env::var(variable).ok().filter(|name| !name.is_empty()) {
            return Some(name);
        }
    }
    let asked = Command::new("scontrol")
        .args(["show", "config"])
        .environment(scrub(std::env::vars_os(), &Secrets::default()))
        .deadline(CLUSTER_DEADLINE)
        .output()
        .await;
    match asked {
        Ok(output) if output.status.success() => cluster_in(&output.stdout_text()),
        // Settings of this cluster hold as well while its controller is down.
        Ok(_) | Err(ProcessError::Deadline { .. }) => {
            let own = std::env::var_os("SLURM_CONF").map(PathBuf::from);
            let files = own.into_iter().chain(SLURM_CONFS.iter().map(PathBuf::from));
            let mut texts =
                files.filter_map(|file| foreign::read_linked(file, foreign::RECORD).ok());
            texts.find_map(|text| cluster_in(&text))
        }
        Err(_) => None,
    }
}

/// The cluster's name in what `scontrol show config` prints, or in `slurm.conf`.
fn cluster_in(text: &str) -> Option<String> {
    let value = text.lines().find_map(|line| {
        let (key, value) = line.split('#').next()?.split_once('=')?;
        let named = key.trim().eq_ignore_ascii_case("ClusterName");
        named.then(|| value.trim().to_owned())
    })?;
    (!value.is_empty()).then_some(value)
}

/// The path as a person would write it from here.
fn shown(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(here)
        .unwrap_or(path)
        .display()
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_is_named_by_its_controller_or_by_the_file() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(cluster_in(text).as_deref(), expected, "{text}");
        };
        check(
            "CacheGroups             = 0\nClusterName             = dev\n",
            Some("dev"),
        );
        check(
            "# ClusterName=old\nclustername=alps # the new one\n",
            Some("alps"),
        );
        check("ClusterName=\nSlurmUser=root\n", None);
        check("", None);
    }
}
