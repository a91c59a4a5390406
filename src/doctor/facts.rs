//! What a run would ask of the machine, and what was found there.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use super::finding::Finding;
use crate::build::environment::Setup;
use crate::config::{LauncherKind, SchedulerKind};
use crate::git::{GitError, Source, Token};
use crate::launch::Place;
use crate::owner::OwnerError;
use crate::plan::{Build, Producer, Step};
use crate::scheduler::slurm::Cluster;
use crate::scheduler::{Estimate, JobRequest, QueryError, SubmitError};

/// What a run of the project asks of the machine.
#[derive(Debug, Default)]
pub struct Subject {
    /// What was found while the settings were read: mistakes, or that there are none.
    pub settings: Vec<Finding>,
    /// The folder that relative paths start at.
    pub base: PathBuf,
    /// The repository, or why it cannot be found; `None`: none is named, and there is none here.
    pub source: Option<Result<Source, GitError>>,
    /// The ssh key that git is given.
    pub ssh_key: Option<PathBuf>,
    /// The token that git is given.
    pub token: Option<Token>,
    /// The folders that a run writes to; the workspace comes first.
    pub folders: Vec<Folder>,
    /// Where ranks write on their node; variables in it are expanded there.
    pub node_scratch: String,
    /// Which scheduler is asked for.
    pub kind: SchedulerKind,
    /// How many jobs may be submitted and unfinished at a time.
    pub max_in_flight: u32,
    /// The steps that run.
    pub steps: Vec<Step>,
    /// Their builds.
    pub builds: Vec<Build>,
    /// What Slurm is asked for: one of each kind, with the names of the steps that ask for it.
    pub requests: Vec<(Vec<String>, JobRequest)>,
    /// Modules, set-up lines and variables.
    pub setup: Setup,
    /// The environment that builds and steps inherit, free of secrets.
    pub inherited: Vec<(OsString, OsString)>,
    /// The tokens that publishing needs.
    pub tokens: Vec<TokenWanted>,
    /// How long to wait for a node; zero asks for none.
    pub wait: Duration,
}

impl Subject {
    /// Returns what Slurm is asked for by most of the steps.
    #[must_use]
    pub fn usual_request(&self) -> Option<&JobRequest> {
        let most = self.requests.iter().max_by_key(|(names, _)| names.len());
        most.map(|(_, request)| request)
    }

    /// Returns whether any step starts more than one rank through a launcher.
    #[must_use]
    pub fn is_parallel(&self) -> bool {
        let parallel =
            |step: &Step| step.resources.ranks > 1 && step.launcher.kind != LauncherKind::None;
        self.steps.iter().any(parallel)
    }

    /// Returns whether any build is to be instrumented for LLVM's coverage.
    #[must_use]
    pub fn wants_instrumentation(&self) -> bool {
        self.builds
            .iter()
            .any(|build| build.coverage == Producer::Llvm)
    }
}

/// A folder that a run writes to.
#[derive(Debug, Clone)]
pub struct Folder {
    /// The key that sets it.
    pub key: &'static str,
    /// Its path.
    pub path: PathBuf,
    /// Whether nodes must see it.
    pub shared: bool,
    /// The folders in it out of which hpc-ci takes scripts and records; `None`: it takes nothing out of it.
    pub inner: Option<&'static [&'static str]>,
}

/// A token that a target of publishing needs.
#[derive(Debug, Clone)]
pub struct TokenWanted {
    /// The target's table.
    pub table: &'static str,
    /// The variable that may hold it.
    pub variable: Option<String>,
    /// The file that may hold it.
    pub file: Option<PathBuf>,
    /// Whether the target works without.
    pub optional: bool,
}

/// What was found. `None` stands for a question that was not asked.
#[derive(Debug)]
pub struct Facts {
    /// Where steps would run.
    pub place: Place,
    /// Slurm.
    pub slurm: Slurm,
    /// Whether Slurm takes each of [`Subject::requests`], in their order.
    pub admitted: Vec<Result<Option<Estimate>, SubmitError>>,
    /// Compilers, MPI and modules.
    pub tools: Tools,
    /// Each of [`Subject::folders`], in their order.
    pub folders: Vec<FolderFacts>,
    /// What a node sees.
    pub node: Node,
    /// This machine.
    pub host: Host,
    /// Each of [`Subject::tokens`], in their order.
    pub tokens: Vec<TokenFacts>,
    /// The repository.
    pub git: Git,
}

/// What is known of Slurm.
#[derive(Debug, Default)]
pub struct Slurm {
    /// What `sbatch --version` says; `None`: there is no `sbatch`, or none that works.
    pub client: Option<String>,
    /// What it said where it failed.
    pub broken: Option<String>,
    /// What its controller says.
    pub cluster: Option<Result<Cluster, QueryError>>,
    /// How long that took.
    pub took: Duration,
    /// Whether the books can be read.
    pub books: Option<Result<(), QueryError>>,
    /// The clusters that the books know.
    pub clusters: Vec<String>,
}

/// What is known of compilers, MPI and modules inside the environment of builds and steps.
#[derive(Debug, Default)]
pub struct Tools {
    /// Why the environment could not be set up.
    pub refused: Option<String>,
    /// Each module.
    pub modules: Vec<Module>,
    /// Name and version of each tool, and some variables.
    pub versions: Vec<(String, String)>,
    /// A small program made with the MPI compiler, or with `cc` where there is none.
    pub c: Option<Trial>,
    /// A small program made with rustc.
    pub rust: Option<Trial>,
    /// The versions of LLVM's own tools for coverage.
    pub llvm: Vec<String>,
}

impl Tools {
    /// Returns what a tool says of itself.
    #[must_use]
    pub fn version(&self, name: &str) -> Option<&str> {
        let found = self.versions.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// What became of a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// Its name.
    pub name: String,
    /// Why it did not load.
    pub refused: Option<String>,
    /// Whether any variable changed.
    pub changed: bool,
}

/// A small program that was compiled with instrumentation, and run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trial {
    /// The command that compiled it.
    pub compiler: String,
    /// What it said, where it failed.
    pub failed: Option<String>,
    /// Whether the program has coverage mapping.
    pub mapping: bool,
    /// Why its profile cannot be read, where it cannot.
    pub profile: Option<String>,
    /// The MPI that the program is linked with.
    pub mpi: Option<Mpi>,
}

/// A family of MPI libraries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mpi {
    /// Open MPI.
    OpenMpi,
    /// MPICH and those made of it.
    Mpich,
    /// Cray's MPICH.
    Cray,
}

impl Mpi {
    /// Returns its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::OpenMpi => "Open MPI",
            Self::Mpich => "MPICH",
            Self::Cray => "Cray MPICH",
        }
    }

    /// Returns the PMI by which its ranks find one another under srun, as the job script chooses it.
    #[must_use]
    pub fn pmi(self) -> &'static str {
        match self {
            Self::OpenMpi => "pmix",
            Self::Mpich => "pmi2",
            Self::Cray => "cray_shasta",
        }
    }
}

/// What is known of a folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FolderFacts {
    /// Why nothing can be written there.
    pub refused: Option<String>,
    /// Why others could change what stands there.
    pub exposed: Option<OwnerError>,
    /// The kind of its file system.
    pub filesystem: Option<&'static str>,
    /// Bytes that are free.
    pub free: Option<u64>,
    /// Files that may still be made; `None` where the file system does not count.
    pub inodes: Option<u64>,
}

/// What a node said.
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    /// None was asked, for this reason.
    NotAsked(String),
    /// None answered in time; what `srun` said.
    Busy(String),
    /// The question failed; what `srun` said.
    Failed(String),
    /// One answered.
    Answered(NodeAnswer),
}

/// What one node sees.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NodeAnswer {
    /// Its name.
    pub host: String,
    /// Whether it read what was written here into the workspace.
    pub sees: bool,
    /// How long it took until what it wrote was seen here; `None`: it was not seen.
    pub seen_after: Option<Duration>,
    /// How far its clock is ahead of ours, in seconds, and how far that may be wrong.
    pub clock: Option<(f64, f64)>,
    /// The scratch folder there, variables expanded.
    pub scratch: String,
    /// Why the scratch folder cannot be used.
    pub scratch_refused: Option<String>,
    /// Bytes that are free in it.
    pub scratch_free: Option<u64>,
    /// Why hpc-ci does not run there.
    pub program_refused: Option<String>,
}

/// What is known of this machine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Host {
    /// Bytes that the processes of this login may use.
    pub memory: Option<u64>,
    /// Processors that they may use, in hundredths.
    pub cpus: Option<u64>,
    /// Processes that they may be.
    pub tasks: Option<u64>,
    /// `ulimit -u`.
    pub processes: Option<u64>,
    /// `ulimit -n`.
    pub files: Option<u64>,
    /// Why there is no cron, if there is none.
    pub no_cron: Option<String>,
    /// Why there is no scrontab, if there is none.
    pub no_scrontab: Option<String>,
}

/// What is known of a token, but never the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenFacts {
    /// The variable is set.
    Variable(String),
    /// The file is there and only its owner reads it.
    File(PathBuf),
    /// The file is there, and others may read it: its mode.
    Exposed(PathBuf, u32),
    /// The file is named and cannot be used.
    Unusable(PathBuf, String),
    /// It is nowhere.
    Missing,
}

/// What is in the way, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What is in the way.
    pub why: String,
    /// What to do.
    pub help: Option<String>,
}

/// What is known of the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Git {
    /// None is named, and there is none here.
    Nowhere,
    /// It cannot be used.
    Refused(Refusal),
    /// It is here and has no remote.
    Local(PathBuf),
    /// It is here, and its remote answered, or refused.
    Clone(String, Option<Refusal>),
    /// It is on the network, and answered.
    Remote(String),
    /// Nothing was heard in this time.
    Silent(Duration),
}
