//! The stages of a run in their order: trees → builds → steps → coverage → results.
//!
//! What happens is decided in [`state`], a fold over the events of the [`journal`]; this room performs it. Everything that a
//! run leaves while it goes on stands in its [`folder`], so that another process can go on with it ([`start`]); artifacts are
//! written by the room of results.

mod adopt;
mod binaries;
mod budget;
mod build_job;
pub mod builds;
mod collect;
mod conclude;
mod container;
mod cover;
mod cover_job;
pub mod disk;
mod driven;
mod dying;
mod elsewhere;
mod ends;
mod energy;
mod engine;
mod error;
pub mod event;
mod facts;
mod fetch;
pub mod folder;
pub mod follow;
pub mod gc;
mod held;
pub mod history;
pub mod journal;
pub mod keep;
pub mod known;
mod late;
mod ledger;
mod live;
mod measure;
mod meta;
mod network;
mod pace;
mod pack;
mod packs;
pub mod place;
mod prepare;
mod profiles;
pub mod progress;
mod refused;
mod reports;
pub mod request;
mod side_job;
pub mod start;
pub mod state;
mod stop;
pub mod stored;
mod submit;
mod toolchain;
pub mod trees;
mod watch;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::cancel::Cancel;
use crate::config::{Coverage, Site};
use crate::launch::Place;
use crate::plan::{Build, Plan, Step, Strategy};
use crate::results::benchmark::Baselines;
use crate::results::history::History as Past;
use crate::scheduler::local::{Ask, Local};
use crate::scheduler::slurm::Cluster;
use crate::scheduler::{Outcome, QueryError, Scheduler, Slurm};
use builds::Builder;
pub use cover_job::cover_run;
use disk::Disk;
pub use driven::{Driven, Driving, Stay};
use dying::Choice;
pub use error::DriveError;
pub use fetch::{Fetch, FetchError, fetch};
use folder::RunFolder;
use history::History;
use pace::{LONGEST_RETRY, SHORTEST_TICK, Silence};
pub use pack::run_pack;
use prepare::Prepare;
use progress::{Observer, Progress, StageKind, Under};
pub use state::Left;
use state::{Event, RunState};
use submit::Ground;
pub use submit::grounds;
use trees::{Credentials, Origin, Trees};

/// The name of the lease of who drives a run, in its folder.
const LEASE: &str = "lease";
/// How long a question to Slurm may take before it counts as not answered.
const SLURM_DEADLINE: Duration = Duration::from_mins(1);
/// The same for sbatch, which tries for two minutes by itself while the controller has all the jobs that it can hold.
const SUBMIT_DEADLINE: Duration = Duration::from_mins(3);
/// How long a cancelled local step may take to end before it is killed.
const LOCAL_GRACE: Duration = Duration::from_secs(15);

/// All that a run needs to know.
#[derive(Debug)]
pub struct Request {
    /// Where and for whom.
    pub site: Site,
    /// What counts as covered code.
    pub coverage: Coverage,
    /// What is done.
    pub plan: Plan,
    /// Where trees come from.
    pub origin: Origin,
    /// The workspace.
    pub workspace: PathBuf,
    /// The folder of what is remembered between runs.
    pub state: PathBuf,
    /// Where artifacts go.
    pub artifacts: PathBuf,
    /// Where steps run.
    pub place: Place,
    /// Whether kept trees are made anew.
    pub clean: bool,
    /// Whether only some of the steps were asked for.
    pub filtered: bool,
    /// Whether tests, benchmarks and coverage were asked for.
    pub scope: Scope,
    /// The project's name.
    pub project: String,
    /// The name by which files of the state folder know it.
    pub key: String,
    /// What benchmarks are compared with.
    pub baselines: Baselines,
    /// Where the run is remembered when it has ended.
    pub past: Past,
    /// What is known of the source beside the plan's revision.
    pub source: Source,
    /// How it is reached.
    pub credentials: Credentials,
    /// The words that a person types to run one step of this again, up to its name.
    pub again: Vec<String>,
    /// How hpc-ci was called.
    pub command_line: Vec<String>,
    /// The directory that relative paths of the settings start from.
    pub base: PathBuf,
    /// What is not to be published.
    pub withheld: Withheld,
}

/// What is not to be published, whatever the settings say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Withheld {
    /// Anything.
    pub all: bool,
    /// What Codecov would get.
    pub codecov: bool,
}

/// Which parts of the results a run is to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// Tests.
    pub tests: bool,
    /// Benchmarks.
    pub benchmarks: bool,
    /// Coverage.
    pub coverage: bool,
}

/// What is known of the source beside the plan's revision.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Its address, without credentials.
    pub repository: Option<String>,
    /// SHA-256 over the uncommitted changes.
    pub diff_sha256: Option<String>,
    /// SHA-256 of the `hpc.toml` that says what to test.
    #[serde(default)]
    pub config_sha256: Option<String>,
    /// The commit of each submodule, by path; without those of submodules.
    #[serde(default)]
    pub submodules: BTreeMap<String, String>,
}

/// A run that has ended.
#[derive(Debug)]
pub struct Finished {
    /// Its exit code, as far as its results decide it.
    pub exit_code: u8,
    /// The summary for a person.
    pub summary: String,
}

/// A run under way.
#[derive(Debug)]
struct Run {
    request: Request,
    folder: RunFolder,
    trees: Trees,
    inherited: Vec<(OsString, OsString)>,
    started: DateTime<Utc>,
}

impl Run {
    fn builder<'a>(&'a self, observer: &'a Observer) -> Builder<'a> {
        Builder {
            plan: &self.request.plan,
            folder: &self.folder,
            origin: &self.request.origin,
            trees: &self.trees,
            workspace: &self.request.workspace,
            inherited: &self.inherited,
            observer,
            dying_ranks: self.request.coverage.dying_ranks,
        }
    }

    fn scheduler(&self) -> Scheduler {
        match self.request.place {
            Place::Job => {
                let slurm = Slurm::new(self.inherited.clone(), SLURM_DEADLINE);
                Scheduler::Slurm(slurm.submitting_within(SUBMIT_DEADLINE))
            }
            // The script passes the signal on in the way that its launcher needs.
            Place::Allocation | Place::Here => {
                Scheduler::Local(Local::new(self.inherited.clone(), Ask::Leader, LOCAL_GRACE))
            }
        }
    }

    /// Asks what arrays and packs can hold, where there are any; waits for a controller that does not answer, unless the run is to
    /// stop or nobody stays with it. `None` if it was left for that.
    async fn outline(
        &self,
        scheduler: &Scheduler,
        stay: &Stay,
        observer: &Observer,
        cancel: &Cancel,
    ) -> Option<Cluster> {
        let grouped = |step: &Step| step.runs() && step.strategy != Strategy::Jobs;
        let Scheduler::Slurm(slurm) = scheduler else {
            return Some(Cluster::default());
        };
        if !self.request.plan.steps.iter().any(grouped) {
            return Some(Cluster::default());
        }
        let mut silence = Silence::default();
        let mut wait = SHORTEST_TICK;
        loop {
            let outline = tokio::select! {
                outline = slurm.outline() => outline,
                () = cancel.token().cancelled() => return Some(Cluster::default()),
                () = stay.over() => return None,
            };
            let error = match outline {
                Ok(cluster) => return Some(cluster),
                Err(error) => error,
            };
            let now = Instant::now();
            if !matches!(error, QueryError::Unreachable { .. }) {
                observer(Progress::Note(format!(
                    "{error}: what the partitions can hold is not known, so there are no arrays, and packs are as small as can be"
                )));
                return Some(Cluster::default());
            }
            if silence.missed(now, now).is_some() {
                observer(Progress::Note(format!(
                    "{error}; waiting for the scheduler, to know what its partitions can hold"
                )));
            }
            if matches!(stay, Stay::Briefly) {
                return None;
            }
            tokio::select! {
                () = tokio::time::sleep(wait) => wait = (wait * 2).min(LONGEST_RETRY),
                () = cancel.token().cancelled() => return Some(Cluster::default()),
                () = stay.over() => return None,
            }
        }
    }

    async fn ground<'a>(
        &'a self,
        cluster: &'a Cluster,
        history: &'a History,
        observer: &Observer,
    ) -> Ground<'a> {
        let place = self.request.place;
        match place {
            Place::Job => Ground::Slurm {
                most: self.request.site.scheduler.max_in_flight as usize,
                cluster,
                history,
            },
            Place::Allocation => Ground::Hosts {
                place,
                hosts: place::hosts_of_allocation(),
                end: place::end_of_allocation(
                    &Slurm::new(self.inherited.clone(), SLURM_DEADLINE),
                    observer,
                )
                .await,
                history: Some(history),
            },
            Place::Here => Ground::Hosts {
                place,
                hosts: vec![place::here()],
                end: None,
                history: Some(history),
            },
        }
    }

    /// How long the steps took that passed: others say little of the next time.
    fn elapsed(&self, attempts: &BTreeMap<(usize, u32), live::Attempt>) -> Vec<(String, Duration)> {
        let passed = attempts
            .iter()
            .filter(|(_, attempt)| attempt.end.verdict.outcome == Outcome::Passed);
        let took = passed.filter_map(|((index, _), attempt)| {
            let step = &self.request.plan.steps[*index];
            Some((step.name.clone(), attempt.elapsed()?))
        });
        took.collect()
    }

    /// Makes the tree of a build, on a thread of its own: whoever drops this stops waiting at once, and the thread stops when libgit2
    /// lets it.
    async fn tree(
        &self,
        build: &Build,
        number: usize,
        observer: &Observer,
        cancel: &Cancel,
    ) -> Result<(), DriveError> {
        let under = Under::begin(observer, StageKind::Checkout, Some(&build.id));
        let (trees, cancel) = (self.trees.clone(), cancel.clone());
        let (request, wanted) = (&self.request, build.clone());
        let (origin, clean) = (request.origin.clone(), request.clean);
        let (credentials, workspace) = (request.credentials.clone(), request.workspace.clone());
        let making = tokio::task::spawn_blocking(move || {
            let stopped = || cancel.asked();
            let access = credentials.access(&workspace, &stopped);
            trees.make(&origin, &wanted, number, clean, &access)
        });
        let notes = making.await??;
        for line in notes {
            observer(Progress::Note(line));
        }
        under.end(true);
        Ok(())
    }

    /// Makes a build in processes of our own.
    async fn build_here(
        &self,
        build: &Build,
        number: usize,
        observer: &Observer,
        cancel: &Cancel,
    ) -> Result<[Event; 2], DriveError> {
        self.tree(build, number, observer, cancel).await?;
        let builder = self.builder(observer);
        let dying = builder.choose(build).await;
        let result = builder.build(build, dying.mode()).await;
        Ok(self.built(&builder, build, dying, result).await)
    }

    /// What there is to note of a build that has ended.
    async fn built(
        &self,
        builder: &Builder<'_>,
        build: &Build,
        mut dying: Choice,
        result: Result<Duration, builds::Failure>,
    ) -> [Event; 2] {
        let patterns = &self.request.coverage.objects;
        builder.confirm(build, &mut dying, patterns).await;
        let chosen = Event::Chosen {
            build: build.id.clone(),
            choice: dying,
        };
        let build = build.id.clone();
        let ended = match result {
            Ok(took) => Event::Built {
                build,
                seconds: took.as_secs_f64(),
            },
            Err(failure) => {
                (builder.observer)(Progress::Note(failure.to_string()));
                let failure = failure.noted();
                Event::BuildFailed { build, failure }
            }
        };
        [chosen, ended]
    }

    fn prepare<'a>(
        &'a self,
        builder: &Builder<'_>,
        state: &RunState,
        disks: &BTreeMap<String, Disk>,
    ) -> Prepare<'a> {
        let of_build = |build: &Build| {
            let dying = state.choice(&build.id);
            let way = dying.map(Choice::mode).unwrap_or_default();
            let made = request::Made {
                tree: builder.tree(build),
                variables: builder.instrumentation(build, way).unwrap_or_default(),
                keeping: dying
                    .map(|choice| choice.keeping().clone())
                    .unwrap_or_default(),
                disk: disks.get(&build.id).cloned(),
            };
            (build.id.clone(), made)
        };
        Prepare {
            plan: &self.request.plan,
            folder: &self.folder,
            common: self.common(),
            made: self.request.plan.builds.iter().map(of_build).collect(),
            at_once: self.request.site.scheduler.max_in_flight,
        }
    }

    fn common(&self) -> request::Common {
        request::Common {
            project: self.request.project.clone(),
            commit: self.request.plan.revision.commit.clone(),
            place: self.request.place,
            allocation: match self.request.place {
                Place::Allocation => place::allocation_identity(),
                Place::Job | Place::Here => Vec::new(),
            },
            hosts: match self.request.place {
                Place::Allocation => place::hosts_of_allocation(),
                Place::Job | Place::Here => Vec::new(),
            },
            limits: request::limits(&self.request.site.scheduler.limits),
        }
    }
}
