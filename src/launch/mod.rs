//! What runs on the nodes, as text: the job script, the launcher's command line and the per-rank wrapper.
//!
//! The same script serves a Slurm job, a job step inside an allocation and a step on this machine: it sets the environment
//! up, runs `before`, the launches and `after`, bounds them in time, and leaves an exit record that appears whole or not at
//! all. It finds the program's MPI where it runs, since only there is the right environment.

mod batch;
mod node;
mod rank;
mod script;

use serde::{Deserialize, Serialize};

pub use batch::{array_script, pack_script};
pub use node::{PathPart, Scratch, node_script};
pub use rank::wrapper;
pub use script::job_script;

/// What starts the ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Slurm's `srun`.
    Srun,
    /// The `mpiexec` of the program's MPI, or the one that `MPIEXEC` names.
    Mpiexec,
    /// The command runs once and starts MPI by itself.
    None,
}

/// How the ranks find each other under `srun`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pmi {
    /// Chosen on the node, by the program's libmpi.
    Auto,
    /// `--mpi=pmix`.
    Pmix,
    /// `--mpi=pmi2`.
    Pmi2,
    /// `--mpi=cray_shasta`.
    CrayShasta,
    /// `--mpi=none`.
    None,
}

impl Pmi {
    /// Returns the word that `srun --mpi` takes; `auto` stands for the choice on the node.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Pmix => "pmix",
            Self::Pmi2 => "pmi2",
            Self::CrayShasta => "cray_shasta",
            Self::None => "none",
        }
    }
}

/// How the counters of processes that die are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Keeping {
    /// Not at all: a process writes them when it exits.
    #[default]
    Nothing,
    /// By this library, loaded into every process below a rank.
    Preload(String),
    /// By the continuous mode that all programs of the step were built for.
    Continuous,
}

impl Keeping {
    /// Returns what follows the beginning of a profile's name, for the runtime to fill in: one file a process.
    ///
    /// In continuous mode a library would write over the file of its program, hence `%m`. `%c` with a program that was not
    /// built for it writes nothing at all.
    fn pattern(&self) -> &'static str {
        match self {
            Self::Nothing | Self::Preload(_) => "%h.%p.profraw",
            Self::Continuous => "%c%h.%p.%m.profraw",
        }
    }

    fn library(&self) -> Option<&str> {
        match self {
            Self::Preload(library) => Some(library),
            Self::Nothing | Self::Continuous => None,
        }
    }
}

/// Where the script runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// In a job of its own.
    Job,
    /// Beside other steps, inside the allocation that the driver was started in.
    Allocation,
    /// On this machine, without a scheduler.
    Here,
}

/// A command of the step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Program {
    /// One string, run by bash, which ends with the first command that fails, also at the left of a pipe.
    Shell(String),
    /// A list, executed as it stands.
    Argv(Vec<String>),
}

impl Program {
    /// Returns the words that execute the command.
    #[must_use]
    pub fn argv(&self) -> Vec<String> {
        match self {
            Self::Shell(line) => ["bash", "-eo", "pipefail", "-c", line]
                .map(str::to_owned)
                .to_vec(),
            Self::Argv(words) => words.clone(),
        }
    }

    /// Returns the word that names the program, looked for behind assignments such as `OMP_NUM_THREADS=2`.
    ///
    /// A guess for shell lines; it serves to find the MPI library that the program is linked with.
    #[must_use]
    pub fn name(&self) -> Option<String> {
        let words = match self {
            Self::Argv(words) => words.clone(),
            Self::Shell(line) => shell_words::split(line).ok()?,
        };
        let is_prefix =
            |word: &String| matches!(word.as_str(), "exec" | "env" | "time") || is_assignment(word);
        words.into_iter().find(|word| !is_prefix(word))
    }
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    })
}

/// Launcher, PMI and sizes of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// What starts the ranks.
    pub kind: Kind,
    /// How they find each other under `srun`.
    pub pmi: Pmi,
    /// Options of the user to the launcher.
    pub options: Vec<String>,
    /// Words between the per-rank wrapper and the program.
    pub wrap: Vec<String>,
    /// Ranks of the step.
    pub ranks: u32,
    /// Nodes, where they are fixed.
    pub nodes: Option<u32>,
    /// Ranks on each node, where that is fixed.
    pub ranks_per_node: Option<u32>,
    /// Cores of each rank, where that is fixed.
    pub cpus_per_rank: Option<u32>,
    /// GPUs of each rank.
    pub gpus_per_rank: Option<u32>,
    /// The nodes of the allocation that it is to have, where that is decided.
    pub on: Vec<String>,
    /// Bytes of memory on each node, where that is fixed.
    pub memory: Option<u64>,
    /// Whether other steps may run on the same cores at the same time, so that ranks must not be bound to them.
    pub shared_cores: bool,
}

/// All that the script of one attempt needs to know.
#[derive(Debug, Clone)]
pub struct Job {
    /// The step's name, for people.
    pub step: String,
    /// The folder of this attempt: script, log, exit record, profiles.
    pub dir: String,
    /// A file that the script makes, empty, once its exit record is complete.
    pub ended: String,
    /// The build's work tree.
    pub tree: String,
    /// Where the commands run, relative to the tree.
    pub cwd: Cwd,
    /// Shell text that defines `hpc_ci_set_up`, `hpc_ci_set_up_why` and `hpc_ci_enter`, by which the environment of the project is made
    /// and taken on.
    pub environment: String,
    /// Variables of instrumentation and of the step.
    pub variables: Vec<(String, String)>,
    /// How the counters of ranks that die are kept.
    pub keeping: Keeping,
    /// Where [`WORLD`] stands, if ranks are to tell of their world.
    pub world: Option<String>,
    /// The folder of [`LAUNCHER`], for commands that start MPI by themselves.
    pub launchers: String,
    /// What runs once per rank.
    pub program: Program,
    /// What runs once before.
    pub before: Vec<Program>,
    /// What runs once after, also after a failure.
    pub after: Vec<Program>,
    /// How the ranks start.
    pub launch: Launch,
    /// Where the script runs.
    pub place: Place,
    /// The variables that identify the allocation, where the script runs inside one.
    pub allocation: Vec<(String, String)>,
    /// Seconds that the program may take.
    pub time: u64,
    /// Launches that count (1 for a test).
    pub repetitions: u32,
    /// Launches before them that do not.
    pub warmup: u32,
    /// The files in which the step tells of its tests.
    pub reports: Option<Reports>,
    /// How ranks use the disks of their nodes; none if they write to shared storage.
    pub scratch: Option<Scratch>,
    /// How nodes are described.
    pub facts: Facts,
    /// The files that are kept with the run; none if nothing is.
    pub keep: Option<Keep>,
}

/// The files in which a step tells of its tests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reports {
    /// A pattern of their paths.
    pub pattern: String,
    /// The most bytes that are kept of each.
    pub most_bytes: u64,
}

/// The files of a step that are kept with the run, and by which program.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keep {
    /// The program that copies.
    pub helper: String,
    /// The patterns.
    pub patterns: Vec<String>,
    /// The most bytes.
    pub bytes: u64,
    /// The most files.
    pub files: u64,
    /// How many seconds it may take.
    pub time: u64,
}

/// How the nodes of a run are described: by a script that the first process of a run on each of them starts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Where [`FACTS_SCRIPT`] stands.
    pub script: String,
    /// The folder of the run's nodes.
    pub nodes: String,
    /// Whether the step is a benchmark, for which is also noted what may disturb it.
    pub measures: bool,
}

/// The library that notes which world MPI gave each rank; `world.c` is its source.
pub const WORLD: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/libworld.so"));

/// The script that stands before the launchers of a command that starts MPI by itself.
pub const LAUNCHER: &str = include_str!("launcher.sh");

/// The script that describes a node.
pub const FACTS_SCRIPT: &str = include_str!("facts.sh");

/// Where the commands of a step run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cwd {
    /// In the work tree.
    Tree,
    /// In a copy of the work tree, made for this attempt.
    Private,
    /// In this directory, relative to the work tree.
    Path(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn program_is_found_behind_assignments() {
        for (line, name) in [
            ("target/debug/halo --size 3", Some("target/debug/halo")),
            ("OMP_NUM_THREADS=2 exec ./a b=c", Some("./a")),
            ("'with space' x", Some("with space")),
            ("'unbalanced", None),
            ("", None),
        ] {
            assert_eq!(
                Program::Shell(line.into()).name().as_deref(),
                name,
                "{line}"
            );
        }
    }
}
