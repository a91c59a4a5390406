//! Which commit is tested, and the plan that its `hpc.toml` makes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use chrono::Utc;

use super::args::RunArgs;
use super::console::Console;
use super::past;
use super::setting::Setting;
use crate::cancel::Cancel;
use crate::config::Suite;
use crate::drive::disk::Disk;
use crate::drive::trees::{Credentials, Origin};
use crate::drive::{self, folder::RunFolder};
use crate::error::Error;
use crate::git::{
    Access, Bounds, CommitId, Found, Location, Measure, Progress, Repository, SETTINGS, Source,
    Wanted,
};
use crate::plan::{self, Filter, Kinds, Plan, Revision, Selection};
use crate::results::benchmark::Baselines;
use crate::results::history::History;
use crate::results::store;

/// A commit with its suite and the plan of its run.
#[derive(Debug)]
pub(super) struct Planned {
    /// What is done.
    pub(super) plan: Plan,
    /// What to test.
    pub(super) suite: Suite,
    /// Where trees come from.
    pub(super) origin: Origin,
    /// What is known of the source.
    pub(super) source: drive::Source,
    /// How it is reached.
    pub(super) credentials: Credentials,
    /// The workspace.
    pub(super) workspace: PathBuf,
    /// The disks of the nodes, if ranks write profiles there; how much is known once programs are built.
    pub(super) disk: Option<Disk>,
    /// The project's name.
    pub(super) project: String,
    /// The name by which files of the state folder know it.
    pub(super) key: String,
    /// What benchmarks are compared with.
    pub(super) baselines: Baselines,
    /// Where the run is to be remembered.
    pub(super) history: History,
}

/// The commit and what was found out about it.
struct Located {
    source: Source,
    found: Found,
    credentials: Credentials,
}

/// Finds the commit, reads its suite and plans its run.
pub(super) fn plan(
    setting: &Setting,
    args: &RunArgs,
    cancel: &Cancel,
    console: &Console,
) -> Result<Planned, Error> {
    for note in &setting.notes {
        console.tell(&format!("note: {note}"));
    }
    setting.check_folders()?;
    let workspace = setting.path(&setting.site.workspace.root);
    let _leaving =
        cancel.leave_at_once("stopped by a signal before anything was built or submitted");
    let located =
        tokio::task::block_in_place(|| locate(setting, args, &workspace, cancel, console))?;
    let commit = located.found.commit;
    let in_place = args.in_place;
    let dirty = located
        .found
        .dirty
        .as_ref()
        .is_some_and(crate::git::Dirty::is_dirty);
    if dirty && !in_place {
        console.tell(&format!(
            "note: the work tree has uncommitted changes, which are not tested; `--in-place` tests them ({commit} is)"
        ));
    }
    let branch = branch(args, &located.found);
    let origin = super::asker::origin(branch.as_deref(), &|name| std::env::var(name).ok());
    plan::trust::check(&setting.site.trust, &origin)?;
    let branch = branch.map(|branch| super::asker::full_name(branch, &origin));
    let (suite, config_sha256) = suite(setting, args, &located, console)?;
    let revision = Revision {
        commit: commit.to_string(),
        branch,
        tag: located.found.repository.tag_of(commit)?,
        dirty: dirty && in_place,
    };
    let selection = selection(args, &workspace, setting)?;
    let plan = plan::plan(&setting.site, &suite, &revision, &selection)?;
    let project = setting
        .site
        .project
        .name
        .clone()
        .unwrap_or_else(|| located.source.name());
    let diff_sha256 = located
        .found
        .dirty
        .as_ref()
        .filter(|_| in_place && dirty)
        .map(|dirty| dirty.diff_sha256.clone());
    let key = plan::project_key(&project, &located.source.identity());
    let repository = &located.found.repository;
    let holds = |commit: &str| commit.parse().is_ok_and(|id| repository.has(id));
    let history = past::history(setting, &project, &key, &holds, console)?;
    let baselines = Baselines {
        asked: args.baseline.as_ref().map(|word| {
            past::resolve(&located.source, word, &workspace).unwrap_or_else(|| word.clone())
        }),
        accepted: history.accepted()?.lines,
        merge_base: merge_base(&located.found.repository, commit),
        runs: history.runs()?.lines,
    };
    let bounds = Bounds {
        files: u64::from(setting.site.project.max_files),
        bytes: setting.site.project.max_size.bytes(),
        file: setting.site.project.max_file_size.bytes(),
        local_submodules: setting.site.trust.local_submodules,
    };
    let origin = match located.source.path().filter(|_| in_place) {
        Some(root) => Origin::InPlace {
            root: root.to_owned(),
        },
        None => Origin::Commit {
            repository: setting.site.project.repository.clone(),
            base: setting.base.clone(),
            commit,
            submodules: setting.site.project.submodules,
            bounds,
        },
    };
    Ok(Planned {
        plan,
        disk: Disk::of(&setting.site.workspace, &suite.coverage, 0),
        suite,
        origin,
        source: drive::Source {
            repository: located.source.remote().map(Location::without_credentials),
            diff_sha256,
            config_sha256,
            submodules: submodules(&located.found.repository, commit, &bounds, cancel)?,
        },
        credentials: located.credentials,
        workspace,
        project,
        key,
        baselines,
        history,
    })
}

/// Returns where a commit left the default branch, if that can be told and is not the commit itself.
fn merge_base(repository: &Repository, commit: CommitId) -> Option<String> {
    let tip = repository.branch_tip(&repository.default_branch()?)?;
    let base = repository.merge_base(commit, tip).ok()??;
    (base != commit).then(|| base.to_string())
}

fn locate(
    setting: &Setting,
    args: &RunArgs,
    workspace: &Path,
    cancel: &Cancel,
    console: &Console,
) -> Result<Located, Error> {
    let source = Source::open(&setting.site.project.repository, &setting.base)?;
    let credentials = Credentials::from_environment(source.remote());
    let report = |progress: Progress<'_>| {
        if let Some(text) = told(progress) {
            console.tell(&text);
        }
        console.show_moving(moved(progress));
    };
    let stopped = || cancel.asked();
    let access = Access {
        progress: &report,
        cancelled: &stopped,
        ssh_key: credentials.ssh_key.clone(),
        token: credentials.token.clone(),
        ..Access::new(workspace.join("mirrors"))
    };
    let found = source.resolve(&wanted(args), &access)?;
    Ok(Located {
        source,
        found,
        credentials,
    })
}

/// What of git's progress is worth showing where it can be overwritten.
fn moved(progress: Progress<'_>) -> Option<(&'static str, usize, usize)> {
    match progress {
        Progress::Receiving {
            received, total, ..
        } => Some(("receiving objects", received, total)),
        Progress::Resolving { done, total } => Some(("resolving deltas", done, total)),
        _ => None,
    }
}

/// What of git's progress is worth a line.
fn told(progress: Progress<'_>) -> Option<String> {
    match progress {
        Progress::Waiting { lock } => Some(format!(
            "waiting for another hpc-ci at `{}`",
            lock.display()
        )),
        Progress::Contacting { place } => Some(format!("asking {place}")),
        Progress::Remaking { mirror, reason } => Some(format!(
            "the mirror `{}` is damaged ({reason}); making it anew",
            mirror.display()
        )),
        _ => None,
    }
}

/// The contract's order: as given, the tip of the branch given, as the pipeline says, what is checked out.
fn wanted(args: &RunArgs) -> Wanted {
    if args.in_place {
        return Wanted::Head;
    }
    if let Some(commit) = &args.commit {
        return Wanted::Commit(commit.clone());
    }
    if let Some(branch) = &args.branch {
        return Wanted::Branch(branch.clone());
    }
    // In merged-results pipelines CI_COMMIT_SHA is a merge that nobody will see again.
    let pipeline = ["CI_MERGE_REQUEST_SOURCE_BRANCH_SHA", "CI_COMMIT_SHA"]
        .iter()
        .filter_map(|name| std::env::var(name).ok())
        .find(|sha| !sha.is_empty());
    match pipeline.filter(|_| std::env::var("GITLAB_CI").is_ok_and(|value| value == "true")) {
        Some(sha) => Wanted::Commit(sha),
        None => Wanted::Head,
    }
}

fn branch(args: &RunArgs, found: &Found) -> Option<String> {
    let variable = |name: &str| std::env::var(name).ok().filter(|it| !it.is_empty());
    let is = |name: &str| variable(name).is_some_and(|value| value == "true");
    let pipeline = || {
        if is("GITLAB_CI") {
            return variable("CI_COMMIT_REF_NAME");
        }
        // Of a pull request the branch that it comes from; a tag is none.
        let github = is("GITHUB_ACTIONS");
        let of_branch = variable("GITHUB_REF").is_some_and(|it| it.starts_with("refs/heads/"));
        variable("GITHUB_HEAD_REF")
            .or_else(|| variable("GITHUB_REF_NAME").filter(|_| of_branch))
            .filter(|_| github)
    };
    args.branch
        .clone()
        .or_else(pipeline)
        .or_else(|| found.branch.clone())
}

fn suite(
    setting: &Setting,
    args: &RunArgs,
    located: &Located,
    console: &Console,
) -> Result<(Suite, Option<String>), Error> {
    let local = || Ok((setting.local_suite()?, sha256(setting.local_text())));
    if args.in_place || args.local_config {
        return local();
    }
    let path = path_in_repository(setting, &located.source);
    let commit = located.found.commit;
    let limit = (Measure::Settings, crate::config::MOST_BYTES);
    let text = located.found.repository.file_at(commit, &path, limit)?;
    let Some(text) = text.and_then(|bytes| String::from_utf8(bytes).ok()) else {
        console.tell(&format!(
            "note: {commit} has no `{}`; the local one says what to test",
            path.display()
        ));
        return local();
    };
    if !setting.local_is(&text) {
        console.tell(&format!(
            "note: `{}` of {commit} says what to test; the local one differs (`--local-config` takes that)",
            path.display()
        ));
    }
    let short: String = commit.to_string().chars().take(10).collect();
    let suite = setting.commit_suite(&format!("{short}:{}", path.display()), &text)?;
    Ok((suite, sha256(&text)))
}

fn sha256(text: &str) -> Option<String> {
    store::sha256(&mut text.as_bytes()).ok()
}

fn submodules(
    repository: &Repository,
    commit: CommitId,
    bounds: &Bounds,
    cancel: &Cancel,
) -> Result<BTreeMap<String, String>, Error> {
    let limit = (Measure::Settings, SETTINGS);
    if repository
        .file_at(commit, Path::new(".gitmodules"), limit)?
        .is_none()
    {
        return Ok(BTreeMap::new());
    }
    let stopped = || cancel.asked();
    let access = Access {
        cancelled: &stopped,
        ..Access::new(PathBuf::new())
    };
    let found = repository.submodules(commit, bounds, &access)?.into_iter();
    Ok(found
        .map(|(path, commit)| (path.to_string_lossy().into_owned(), commit.to_string()))
        .collect())
}

/// Where the commit keeps the file that we were started with.
fn path_in_repository(setting: &Setting, source: &Source) -> PathBuf {
    let real = |path: &Path| fs_err::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    source
        .path()
        .and_then(|root| {
            Some(
                real(&setting.local.path)
                    .strip_prefix(real(root))
                    .ok()?
                    .to_owned(),
            )
        })
        .unwrap_or_else(|| PathBuf::from("hpc.toml"))
}

fn selection(args: &RunArgs, workspace: &Path, setting: &Setting) -> Result<Selection, Error> {
    let filter = args.filter.as_deref().map(str::parse::<Filter>).transpose();
    Ok(Selection {
        kinds: match (args.tests_only, args.benchmarks_only) {
            (true, _) => Kinds::Tests,
            (_, true) => Kinds::Benchmarks,
            _ => Kinds::All,
        },
        no_coverage: args.no_coverage,
        ranks: args.ranks,
        features: args.features.clone(),
        names: args.names.clone(),
        filter: filter.map_err(plan::PlanError::from)?,
        among: args
            .failed
            .then(|| drive::folder::not_passed(workspace))
            .transpose()?,
        environment: setting.visible(),
    })
}

/// Whether only some of the steps were asked for.
pub(super) fn is_filtered(args: &RunArgs) -> bool {
    !args.names.is_empty()
        || args.filter.is_some()
        || args.failed
        || args.ranks.is_some()
        || !args.features.is_empty()
}

/// Returns the folder of a new run.
pub(super) fn new_folder(workspace: &Path) -> RunFolder {
    RunFolder::new(workspace, Utc::now())
}
