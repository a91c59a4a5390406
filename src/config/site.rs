//! Where and for whom: the tables that are read only from trusted files, before the checkout.

use serde::{Deserialize, Serialize};

use super::choices::{CodecovService, Disclosure, SchedulerKind, Strategy};
use super::fields::{
    Bounded, Count, GlobText, Grace, Name, NodePath, PathText, Plain, Positive, SchedulerOption,
    VariableName, VariablePattern, Word,
};
use super::problem::Report;
use super::raw::{Table, join};
use super::read::{Section, impossible, refuse, section};
use super::units::{Memory, Walltime};

/// The tables of the site.
pub(super) const TABLES: [&str; 5] = ["project", "workspace", "scheduler", "publish", "trust"];

/// The values of the site's tables.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct SiteTables {
    pub(super) project: Project,
    pub(super) workspace: Workspace,
    pub(super) scheduler: Scheduler,
    pub(super) publish: Publish,
    pub(super) trust: Trust,
}

/// What is tested.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Project {
    /// The project's name; without it, the repository's.
    pub name: Option<String>,
    /// URL or path of the repository; relative to the folder of `hpc.toml`.
    pub repository: String,
    /// Whether submodules are checked out too.
    pub submodules: bool,
    /// The most files and folders of a commit with its submodules.
    #[serde(default)]
    pub max_files: u32,
    /// The most bytes of them.
    #[serde(default)]
    pub max_size: Memory,
    /// The most bytes of one file.
    #[serde(default)]
    pub max_file_size: Memory,
}

/// Where things are kept. Relative paths start at the folder of `hpc.toml`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workspace {
    /// Trees, runs and caches, on storage that compute nodes see.
    pub root: String,
    /// Journals, history, baselines, outbox.
    pub state: String,
    /// Where `artifacts/` and `hpc-results.json` go.
    pub artifacts: String,
    /// Where ranks write on their node; variables in it are expanded there.
    pub node_scratch: String,
    /// How many runs are kept.
    pub keep_runs: u32,
    /// How much the kept runs may hold.
    pub keep_limit: Memory,
    /// How many threads this process may use.
    pub threads: u32,
    /// The niceness of this process.
    pub nice: u32,
}

/// How the scheduler is asked.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Scheduler {
    /// Which scheduler.
    pub kind: SchedulerKind,
    /// The partition of steps that name none.
    pub partition: Option<String>,
    /// The account that pays.
    pub account: Option<String>,
    /// The quality of service of steps that name none.
    pub qos: Option<String>,
    /// The time of steps that name none.
    pub time: Walltime,
    /// What a job asks for beyond the time of its step.
    pub margin: Walltime,
    /// How steps become jobs.
    pub strategy: Strategy,
    /// How many jobs may be submitted and unfinished at a time.
    pub max_in_flight: u32,
    /// How long a job may wait in the queue.
    pub max_pending: Walltime,
    /// Further options of `sbatch`.
    pub options: Vec<String>,
    /// What steps may not go beyond.
    pub limits: Limits,
}

/// What steps may not go beyond.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// The most nodes of one step.
    pub max_nodes: Option<u32>,
    /// The most ranks of one step.
    pub max_ranks: Option<u32>,
    /// The longest time of one step.
    pub max_time: Option<Walltime>,
    /// The most node-hours of one run.
    pub max_node_hours: Option<f64>,
    /// The most jobs of one run; each task of an array counts.
    pub max_jobs: Option<u32>,
    /// What must be free below the workspace before anything is submitted.
    pub min_free: Option<Memory>,
    /// How many files must still fit there.
    pub min_free_files: Option<u32>,
    /// The most bytes that are kept of an attempt of a step.
    pub max_kept: Option<Memory>,
    /// The most files that are kept of it.
    pub max_kept_files: Option<u32>,
    /// How much is read of what a step writes for its results.
    pub max_log: Memory,
    /// How many tests of a step are read.
    pub max_report_tests: u32,
    /// The partitions that a step may name; `None` allows all.
    pub partitions: Option<Vec<String>>,
}

/// Where results are sent. A target without its table is not used.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publish {
    /// Whether a run publishes at its end; unset: not under GitLab nor inside an allocation.
    pub auto: Option<bool>,
    /// Codecov.
    pub codecov: Option<Codecov>,
    /// The branch with results, badges and the dashboard.
    pub results_branch: Option<ResultsBranch>,
    /// GitHub's commit statuses and comments.
    pub github: Option<Github>,
    /// GitLab's commit statuses.
    pub gitlab: Option<Gitlab>,
}

/// Where a token is found: a variable, or a file that only its owner may read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenSource {
    /// The variable that holds it.
    pub env: Option<String>,
    /// The file that holds it.
    pub file: Option<String>,
}

/// Codecov, or a server like it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Codecov {
    /// The flag of the upload; unset: `hpc-extended`, under GitLab `jacamar-hpc`.
    pub flag: Option<String>,
    /// `owner/repository`; unset: from the remote.
    pub slug: Option<String>,
    /// The forge; unset: from the remote.
    pub service: Option<CodecovService>,
    /// The server; unset: Codecov's own.
    pub url: Option<String>,
    /// The upload token.
    pub token: TokenSource,
}

/// The branch with results.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultsBranch {
    /// Its name.
    pub branch: String,
    /// Name or URL of the remote it is pushed to.
    pub remote: String,
    /// The private key for ssh.
    pub ssh_key: Option<String>,
    /// The token for https.
    pub token: TokenSource,
}

/// GitHub, or a GitHub Enterprise.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Github {
    /// `owner/repository`; unset: from the remote.
    pub repository: Option<String>,
    /// What stands before the names of statuses.
    pub context: Option<String>,
    /// The API's address.
    pub url: String,
    /// The token.
    pub token: TokenSource,
}

/// GitLab.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gitlab {
    /// `group/project`; unset: from the CI's variables, else from the remote.
    pub repository: Option<String>,
    /// What stands before the names of statuses.
    pub context: Option<String>,
    /// The server; unset: from the CI's variables, else from the remote.
    pub url: Option<String>,
    /// The token.
    pub token: TokenSource,
}

/// What the checked-out code is trusted with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trust {
    /// The branches that may run, as patterns.
    pub branches: Vec<String>,
    /// The tags that may run, as patterns.
    pub tags: Vec<String>,
    /// Whether commits of forks may run.
    pub forks: bool,
    /// Whether the `options` of steps reach `sbatch`.
    pub step_options: bool,
    /// Whether submodules of a local repository may come from other paths of this machine.
    #[serde(default)]
    pub local_submodules: bool,
    /// What published artifacts may tell.
    pub disclosure: Disclosure,
    /// Patterns of variables that are credentials, beside those that are known.
    pub secrets: Vec<String>,
    /// Patterns of variables that reach builds and steps although they look like credentials.
    pub pass: Vec<String>,
}

/// Reads the site's tables from a tree that has the defaults below it.
pub(super) fn read(root: &Table, report: &Report) -> SiteTables {
    SiteTables {
        project: top(root, "project", report, project),
        workspace: top(root, "workspace", report, workspace),
        scheduler: top(root, "scheduler", report, scheduler),
        publish: top(root, "publish", report, publish),
        trust: top(root, "trust", report, trust),
    }
}

fn top<T: Default>(
    root: &Table,
    key: &'static str,
    report: &Report,
    body: impl FnOnce(&Section) -> T,
) -> T {
    let item = root.get(key);
    let value = item.and_then(|item| section(item, key, report, body));
    value.unwrap_or_default()
}

fn project(s: &Section) -> Project {
    Project {
        name: s.get("name").map(|Name(name)| name),
        repository: s.need::<PathText>("repository").0,
        submodules: s.need("submodules"),
        max_files: s.need::<Positive>("max_files").0,
        max_size: s.need("max_size"),
        max_file_size: s.need("max_file_size"),
    }
}

fn workspace(s: &Section) -> Workspace {
    Workspace {
        root: s.need::<PathText>("root").0,
        state: s.need::<PathText>("state").0,
        artifacts: s.need::<PathText>("artifacts").0,
        node_scratch: s.need::<NodePath>("node_scratch").0,
        keep_runs: s.need::<Count>("keep_runs").0,
        keep_limit: s.need("keep_limit"),
        threads: s.need::<Positive>("threads").0,
        nice: s.need::<Bounded<0, 19>>("nice").0,
    }
}

fn scheduler(s: &Section) -> Scheduler {
    Scheduler {
        kind: s.need("kind"),
        partition: word(s, "partition"),
        account: word(s, "account"),
        qos: word(s, "qos"),
        time: s.need("time"),
        margin: s.get("margin").map(|Grace(time)| time).unwrap_or_default(),
        strategy: s.need("strategy"),
        max_in_flight: s.need::<Positive>("max_in_flight").0,
        max_pending: s.need("max_pending"),
        options: s.need::<Vec<SchedulerOption>>("options").plain(),
        limits: inner(s, "limits", limits).unwrap_or_default(),
    }
}

fn limits(s: &Section) -> Limits {
    Limits {
        max_nodes: s.get("max_nodes").map(|Bounded(count): Positive| count),
        max_ranks: s.get("max_ranks").map(|Bounded(count): Positive| count),
        max_time: s.get("max_time"),
        max_node_hours: s.get("max_node_hours"),
        max_jobs: s.get("max_jobs").map(|Bounded(count): Positive| count),
        min_free: s.get("min_free"),
        min_free_files: s
            .get("min_free_files")
            .map(|Bounded(count): Positive| count),
        max_kept: s.get("max_kept"),
        max_kept_files: s
            .get("max_kept_files")
            .map(|Bounded(count): Positive| count),
        max_log: s.need("max_log"),
        max_report_tests: s.need::<Positive>("max_report_tests").0,
        partitions: s.get::<Vec<Word>>("partitions").map(Plain::plain),
    }
}

fn publish(s: &Section) -> Publish {
    Publish {
        auto: s.get("auto"),
        codecov: inner(s, "codecov", codecov),
        results_branch: inner(s, "results_branch", results_branch),
        github: inner(s, "github", github),
        gitlab: inner(s, "gitlab", gitlab),
    }
}

fn codecov(s: &Section) -> Codecov {
    Codecov {
        flag: s.get("flag").map(|Name(flag)| flag),
        slug: slug(s, "slug"),
        service: s.get("service"),
        url: url(s, "url"),
        token: token(s),
    }
}

fn results_branch(s: &Section) -> ResultsBranch {
    ResultsBranch {
        branch: s.need::<Word>("branch").0,
        remote: s.need::<PathText>("remote").0,
        ssh_key: s.get("ssh_key").map(|PathText(path)| path),
        token: token(s),
    }
}

fn github(s: &Section) -> Github {
    Github {
        repository: slug(s, "repository"),
        context: s.get("context").map(|Name(context)| context),
        url: url(s, "url").unwrap_or_default(),
        token: token(s),
    }
}

fn gitlab(s: &Section) -> Gitlab {
    Gitlab {
        repository: slug(s, "repository"),
        context: s.get("context").map(|Name(context)| context),
        url: url(s, "url"),
        token: token(s),
    }
}

fn token(s: &Section) -> TokenSource {
    TokenSource {
        env: s.get("token_env").map(|VariableName(name)| name),
        file: s.get("token_file").map(|PathText(path)| path),
    }
}

fn trust(s: &Section) -> Trust {
    Trust {
        branches: s.need::<Vec<GlobText>>("branches").plain(),
        tags: s.need::<Vec<GlobText>>("tags").plain(),
        forks: s.need("forks"),
        step_options: s.need("step_options"),
        local_submodules: s.need("local_submodules"),
        disclosure: s.need("disclosure"),
        secrets: s.need::<Vec<VariablePattern>>("secrets").plain(),
        pass: s.need::<Vec<VariablePattern>>("pass").plain(),
    }
}

/// Reads a table within a table, if it is there.
pub(super) fn inner<T>(
    s: &Section,
    key: &'static str,
    body: impl FnOnce(&Section) -> T,
) -> Option<T> {
    let path = join(s.path, key);
    section(s.item(key)?, &path, s.report, body)
}

fn word(s: &Section, key: &'static str) -> Option<String> {
    s.get(key).map(|Word(word)| word)
}

fn slug(s: &Section, key: &'static str) -> Option<String> {
    let Name(text) = s.get(key)?;
    let whole = text.contains('/') && !text.contains("://");
    if !whole || text.split('/').any(str::is_empty) {
        let item = s.table.get(key)?;
        refuse(
            item,
            &join(s.path, key),
            "expected `owner/repository`",
            s.report,
        );
        return None;
    }
    Some(text)
}

fn url(s: &Section, key: &'static str) -> Option<String> {
    let text: String = s.get(key)?;
    let host = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    let fault = match host {
        None => "must begin with `https://` or `http://`",
        Some("") => "has no host",
        Some(host)
            if host
                .split('/')
                .next()
                .is_some_and(|host| host.contains('@')) =>
        {
            "must not hold a user or token; use `token_env` or `token_file`"
        }
        Some(host) if host.contains(|c: char| c.is_whitespace() || c.is_control()) => {
            "must not hold blanks"
        }
        Some(_) => return Some(text.trim_end_matches('/').to_owned()),
    };
    let message = format!("`{}` is not an address of the web", join(s.path, key));
    impossible(&s.table.get(key)?.at, message, fault, s.report);
    None
}
