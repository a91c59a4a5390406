//! The stages of a run in their order: trees → builds → steps → coverage → results.
//!
//! What happens is decided in [`state`], a fold over the events of the [`journal`]; this room performs it. Everything that a
//! run leaves while it goes on stands in its [`folder`]; artifacts are written by the room of results.

mod budget;
pub mod builds;
mod collect;
mod conclude;
mod cover;
pub mod disk;
mod dying;
mod engine;
pub mod folder;
pub mod history;
pub mod journal;
mod ledger;
mod live;
mod measure;
mod meta;
mod network;
mod pack;
mod packs;
pub mod place;
mod prepare;
mod profiles;
pub mod progress;
mod reports;
pub mod request;
pub mod state;
mod submit;
pub mod trees;
mod watch;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::cancel::Cancel;
use crate::config::{Coverage, DyingRanks, Site};
use crate::git::{self, CheckoutOptions};
use crate::launch::Place;
use crate::plan::{Build, Plan, Step, Strategy};
use crate::results::benchmark::Baselines;
use crate::results::history::History as Past;
use crate::scheduler::local::{Ask, Local};
use crate::scheduler::slurm::Cluster;
use crate::scheduler::{Outcome, Scheduler, Slurm, Verdict};
use builds::Builder;
use disk::Disk;
use folder::RunFolder;
use history::History;
use journal::Journal;
pub use pack::run_pack;
use prepare::Prepare;
use progress::{Observer, Progress};
use state::{Event, RunState};
use submit::Ground;
pub use submit::grounds;
use trees::{Credentials, Origin, TreeError, Trees};

/// How long a Slurm command may take before it counts as silent: sbatch tries for two minutes by itself while the controller
/// has all the jobs that it can hold.
const SLURM_DEADLINE: Duration = Duration::from_mins(3);
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
}

/// Which parts of the results a run is to make.
#[derive(Debug, Clone, Copy)]
pub struct Scope {
    /// Tests.
    pub tests: bool,
    /// Benchmarks.
    pub benchmarks: bool,
    /// Coverage.
    pub coverage: bool,
}

/// What is known of the source beside the plan's revision.
#[derive(Debug, Clone, Default)]
pub struct Source {
    /// Its address, without credentials.
    pub repository: Option<String>,
    /// SHA-256 over the uncommitted changes.
    pub diff_sha256: Option<String>,
}

/// A run that could not be driven to its end.
#[derive(Debug, thiserror::Error)]
pub enum DriveError {
    /// Its folder could not be made or written.
    #[error("cannot use the run folder `{}`", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Its journal could not be written.
    #[error(transparent)]
    Journal(#[from] journal::JournalError),
    /// A tree could not be made.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// Its results could not be written.
    #[error(transparent)]
    Store(#[from] crate::results::store::StoreError),
    /// A document could not be written as JSON.
    #[error("a document cannot be written as JSON")]
    Encode(#[from] serde_json::Error),
    /// A path that must stand in documents and scripts is not UTF-8.
    #[error("`{}` is not UTF-8", path.display())]
    Path {
        /// The path.
        path: PathBuf,
    },
    /// The profile runtime would expand a part of the path.
    #[error("`{}` holds a `%`", path.display())]
    Percent {
        /// The path.
        path: PathBuf,
    },
    /// A task of ours panicked.
    #[error("a task of hpc-ci ended badly")]
    Task(#[from] tokio::task::JoinError),
}

impl DriveError {
    /// Returns what to do about it.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Folder { .. } => Some(
                "`root` of [workspace] says where runs stand; is there room, and may you write?"
                    .to_owned(),
            ),
            Self::Tree(TreeError::Git(error)) => error.help(),
            Self::Store(error) => error.help(),
            Self::Path { .. } => {
                Some("scripts and JSON need UTF-8: choose another `root` in [workspace]".to_owned())
            }
            Self::Percent { .. } => Some(
                "`LLVM_PROFILE_FILE` expands `%`, so profiles would get lost: choose another `root` in [workspace]".to_owned(),
            ),
            Self::Tree(_) | Self::Journal(_) | Self::Encode(_) | Self::Task(_) => None,
        }
    }
}

/// A run that has ended.
#[derive(Debug)]
pub struct Finished {
    /// Its exit code, as far as its results decide it.
    pub exit_code: u8,
    /// The summary for a person.
    pub summary: String,
    /// The folder of `hpc-results.json`.
    pub artifacts: PathBuf,
}

/// How each build ended.
#[derive(Debug)]
struct Built {
    took: Option<Duration>,
    failure: Option<builds::Failure>,
    dying: dying::Choice,
}

/// Drives a run from its plan to its results.
///
/// `access` makes the git access anew, since checkouts happen on threads of their own; `inherited` is the scrubbed environment.
pub async fn run(
    request: Request,
    folder: RunFolder,
    inherited: Vec<(OsString, OsString)>,
    observer: &Observer,
    cancel: &Cancel,
    color: bool,
) -> Result<Finished, DriveError> {
    let started = Utc::now();
    let mut journal = open(&request, &folder)?;
    let mut state = RunState::new(&request.plan);
    note(
        &mut journal,
        &mut state,
        &Event::Started {
            run: folder.id().to_owned(),
            commit: request.plan.revision.commit.clone(),
        },
    )?;
    for line in &request.plan.notes {
        observer(Progress::Note(line.clone()));
    }
    let run = Run {
        trees: Trees::new(&request.workspace, folder.id()),
        request,
        folder,
        inherited,
        started,
    };
    let builder = run.builder(observer);
    let built = run
        .build_all(&builder, &mut journal, &mut state, observer, cancel)
        .await?;
    let scheduler = run.scheduler();
    let disks = tokio::task::block_in_place(|| disk::disks(&run, &builder)).map_err(|source| {
        DriveError::Folder {
            path: run.folder.root().to_owned(),
            source,
        }
    })?;
    let mut history = History::read(&run.request.state, &run.request.project);
    let cluster = run.outline(&scheduler, observer).await;
    if let Some(why) = budget::shortage(&run.request.site.scheduler.limits, &run.request.workspace)
    {
        refuse_all(&run.request.plan, &mut journal, &mut state, &why)?;
    }
    let attempts = watch::run(
        watch::Setting {
            plan: &run.request.plan,
            folder: &run.folder,
            scheduler: &scheduler,
            ground: run.ground(&cluster, &history, observer).await,
            started,
            observer,
            cancel,
            prepare: &run.prepare(&builder, &built, &disks),
        },
        &mut state,
        &mut journal,
    )
    .await?;
    history.add(Utc::now().timestamp(), run.elapsed(&attempts));
    if let Err(error) = history.write(&run.request.state, &run.request.project) {
        tracing::warn!(%error, "what the steps took cannot be remembered");
    }
    let finished =
        conclude::conclude(&run, &builder, &state, &attempts, &built, observer, color).await?;
    note(
        &mut journal,
        &mut state,
        &Event::Finished {
            exit_code: finished.exit_code,
        },
    )?;
    Ok(finished)
}

/// What is to be brought in.
#[derive(Debug, Clone, Copy)]
pub struct Fetch<'a> {
    /// What a run will do.
    pub plan: &'a Plan,
    /// Where its trees come from.
    pub origin: &'a Origin,
    /// How the source is reached.
    pub credentials: &'a Credentials,
    /// The workspace.
    pub workspace: &'a Path,
    /// A folder for logs.
    pub folder: &'a RunFolder,
    /// The scrubbed environment.
    pub inherited: &'a [(OsString, OsString)],
}

/// Brings everything in that a run of this plan needs: the commit is here; trees, submodules and `fetch` commands follow.
pub async fn fetch(
    fetch: Fetch<'_>,
    observer: &Observer,
    cancel: &Cancel,
) -> Result<(), FetchError> {
    let Fetch {
        plan,
        origin,
        credentials,
        workspace,
        folder,
        inherited,
    } = fetch;
    let trees = Trees::new(workspace, folder.id());
    let Origin::Commit {
        repository,
        commit,
        submodules,
    } = origin
    else {
        return Ok(());
    };
    let builder = Builder {
        plan,
        folder,
        origin,
        trees: &trees,
        workspace,
        inherited,
        observer,
        dying_ranks: DyingRanks::Off,
    };
    for build in &plan.builds {
        let mark = trees.fetch_mark(*commit, build);
        if mark.exists() {
            continue;
        }
        let tree = trees.fetched(*commit, build);
        observer(Progress::Stage(format!("tree of build {}", build.id)));
        let made = tokio::task::block_in_place(|| {
            let stopped = || cancel.asked();
            let access = credentials.access(workspace, &stopped);
            let options = CheckoutOptions {
                submodules: *submodules,
                reuse: false,
            };
            git::checkout(repository, *commit, &tree, options, &access).map_err(TreeError::from)
        })?;
        made.lfs_advice()
            .map(Progress::Note)
            .into_iter()
            .for_each(|note| observer(note));
        builder.fetch(build, &tree).await?;
        fs_err::write(&mark, "").map_err(TreeError::Directory)?;
    }
    Ok(())
}

/// What could not be brought in.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// A tree.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// What a `fetch` command was to bring.
    #[error(transparent)]
    Command(#[from] builds::Failure),
}

/// A run under way.
struct Run {
    request: Request,
    folder: RunFolder,
    trees: Trees,
    inherited: Vec<(OsString, OsString)>,
    started: DateTime<Utc>,
}

fn open(request: &Request, folder: &RunFolder) -> Result<Journal, DriveError> {
    let failed = |source| DriveError::Folder {
        path: folder.root().to_owned(),
        source,
    };
    if folder.root().to_str().is_none() {
        return Err(DriveError::Path {
            path: folder.root().to_owned(),
        });
    }
    if folder.root().to_string_lossy().contains('%') {
        return Err(DriveError::Percent {
            path: folder.root().to_owned(),
        });
    }
    folder.create().map_err(failed)?;
    place_program(folder).map_err(failed)?;
    let plan = serde_json::to_vec_pretty(&request.plan)?;
    fs_err::write(folder.plan(), plan).map_err(failed)?;
    Ok(Journal::open(&folder.journal())?)
}

/// Puts the program that runs now into the run folder, where it stays the same while others are installed.
fn place_program(folder: &RunFolder) -> std::io::Result<()> {
    let program = std::env::current_exe()?;
    fs_err::hard_link(&program, folder.program())
        .or_else(|_| fs_err::copy(&program, folder.program()).map(drop))
}

fn note(journal: &mut Journal, state: &mut RunState, event: &Event) -> Result<(), DriveError> {
    journal.append(event)?;
    state.apply(event);
    Ok(())
}

/// Ends every step that has not ended yet.
fn refuse_all(
    plan: &Plan,
    journal: &mut Journal,
    state: &mut RunState,
    why: &str,
) -> Result<(), DriveError> {
    for (index, step) in plan.steps.iter().enumerate() {
        if state.steps()[index].verdict().is_none() {
            let event = Event::Ended {
                step: step.slug.clone(),
                attempt: state.steps()[index].attempt,
                verdict: Verdict::new(Outcome::Rejected, why),
                elsewhere: None,
            };
            note(journal, state, &event)?;
        }
    }
    Ok(())
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
            Place::Job => Scheduler::Slurm(Slurm::new(self.inherited.clone(), SLURM_DEADLINE)),
            // The script passes the signal on in the way that its launcher needs.
            Place::Allocation | Place::Here => {
                Scheduler::Local(Local::new(self.inherited.clone(), Ask::Leader, LOCAL_GRACE))
            }
        }
    }

    /// Asks what arrays and packs can hold, where there are any.
    async fn outline(&self, scheduler: &Scheduler, observer: &Observer) -> Cluster {
        let grouped = |step: &Step| step.runs() && step.strategy != Strategy::Jobs;
        let Scheduler::Slurm(slurm) = scheduler else {
            return Cluster::default();
        };
        if !self.request.plan.steps.iter().any(grouped) {
            return Cluster::default();
        }
        slurm.outline().await.unwrap_or_else(|error| {
            observer(Progress::Note(format!(
                "{error}: what the partitions can hold is not known, so there are no arrays, and packs are as small as can be"
            )));
            Cluster::default()
        })
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
            .filter(|(_, attempt)| attempt.verdict.outcome == Outcome::Passed);
        let took = passed.filter_map(|((index, _), attempt)| {
            let step = &self.request.plan.steps[*index];
            Some((step.name.clone(), attempt.elapsed()?))
        });
        took.collect()
    }

    async fn build_all(
        &self,
        builder: &Builder<'_>,
        journal: &mut Journal,
        state: &mut RunState,
        observer: &Observer,
        cancel: &Cancel,
    ) -> Result<BTreeMap<String, Built>, DriveError> {
        let mut built = BTreeMap::new();
        for (number, build) in self.request.plan.builds.iter().enumerate() {
            let result = tokio::select! {
                result = self.build_one(builder, build, number, observer, cancel) => result?,
                () = cancel.token().cancelled() => break,
            };
            let event = match &result.failure {
                None => Event::Built {
                    build: build.id.clone(),
                    seconds: result.took.unwrap_or_default().as_secs_f64(),
                },
                Some(failure) => {
                    observer(Progress::Note(failure.to_string()));
                    Event::BuildFailed {
                        build: build.id.clone(),
                        fault_of_code: failure.is_fault_of_code(),
                        message: failure.to_string(),
                    }
                }
            };
            note(journal, state, &event)?;
            built.insert(build.id.clone(), result);
        }
        Ok(built)
    }

    async fn build_one(
        &self,
        builder: &Builder<'_>,
        build: &Build,
        number: usize,
        observer: &Observer,
        cancel: &Cancel,
    ) -> Result<Built, DriveError> {
        observer(Progress::Stage(format!("tree of build {}", build.id)));
        let notes = tokio::task::block_in_place(|| {
            let stopped = || cancel.asked();
            let access = self
                .request
                .credentials
                .access(&self.request.workspace, &stopped);
            self.trees.make(
                &self.request.origin,
                build,
                number,
                self.request.clean,
                &access,
            )
        })?;
        for line in notes {
            observer(Progress::Note(line));
        }
        let mut dying = builder.choose(build).await;
        let (took, failure) = match builder.build(build, dying.mode()).await {
            Ok(took) => (Some(took), None),
            Err(failure) => (None, Some(failure)),
        };
        let patterns = &self.request.coverage.objects;
        builder.confirm(build, &mut dying, patterns).await;
        Ok(Built {
            took,
            failure,
            dying,
        })
    }

    fn prepare<'a>(
        &'a self,
        builder: &Builder<'_>,
        built: &BTreeMap<String, Built>,
        disks: &BTreeMap<String, Disk>,
    ) -> Prepare<'a> {
        let of_build = |build: &Build| {
            let dying = built.get(&build.id).map(|built| &built.dying);
            let way = dying.map(dying::Choice::mode).unwrap_or_default();
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
        }
    }
}
