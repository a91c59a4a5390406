//! What was found of a project and its machine.

use crate::doctor::facts::{FolderFacts, Mpi, Tools};
use crate::launch::Place;
use crate::scheduler::slurm::Cluster;

/// Everything that a file of settings is made of.
#[derive(Debug)]
pub struct Found {
    /// What the project is called.
    pub name: Option<String>,
    /// Whether it is under git.
    pub is_clone: bool,
    /// Whether git is told to leave alone what runs write into the clone.
    pub ignores_results: bool,
    /// What is built and tested.
    pub project: Project,
    /// Where.
    pub machine: Machine,
}

/// A way in which projects are built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Rust's cargo.
    Cargo,
    /// `CMake`.
    Cmake,
    /// Meson.
    Meson,
    /// A `configure` of the GNU build system.
    Autotools,
    /// Fortran's package manager.
    Fpm,
    /// A package of Julia.
    Julia,
    /// Python.
    Python,
    /// A Makefile.
    Make,
}

impl Kind {
    /// Returns the file by which it is known, and what a person calls it, with its article.
    #[must_use]
    pub fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Cargo => ("Cargo.toml", "a Cargo"),
            Self::Cmake => ("CMakeLists.txt", "a CMake"),
            Self::Meson => ("meson.build", "a Meson"),
            Self::Autotools => ("configure.ac", "an Autotools"),
            Self::Fpm => ("fpm.toml", "an fpm"),
            Self::Julia => ("Project.toml", "a Julia"),
            Self::Python => ("pyproject.toml", "a Python"),
            Self::Make => ("Makefile", "a make"),
        }
    }
}

/// What compiles a project, which decides how its coverage comes about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Language {
    /// Nothing is compiled, or nobody knows by what.
    #[default]
    Unknown,
    /// rustc.
    Rust,
    /// A C compiler, and one of C++ if `plus`.
    C {
        /// Whether there is C++.
        plus: bool,
    },
    /// A Fortran compiler, perhaps beside one of C.
    Fortran,
    /// Julia.
    Julia,
    /// Python.
    Python,
}

/// How a build finds its C compiler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Chosen {
    /// By the variables `CC` and `CXX`.
    #[default]
    ByVariable,
    /// Through `mpicc`, which has variables of its own.
    ByWrapper,
}

/// What is built and tested.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Project {
    /// How it is built.
    pub kind: Option<Kind>,
    /// Other ways that its files speak of.
    pub also: Vec<Kind>,
    /// The name that its files give.
    pub name: Option<String>,
    /// What compiles it.
    pub language: Language,
    /// How the build finds its C compiler.
    pub chosen: Chosen,
    /// Whether it uses MPI.
    pub mpi: bool,
    /// How it is built; none where nothing is.
    pub build: Option<Build>,
    /// What is tested.
    pub steps: Vec<Step>,
    /// What could be run besides, and why it is not; the person decides.
    pub ideas: Vec<Step>,
    /// Variables that builds and tests need.
    pub variables: Vec<(String, String)>,
    /// Patterns of the sources that count for coverage.
    pub include: Vec<String>,
}

/// How a project is built.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Build {
    /// The command.
    pub command: String,
    /// What is worth saying about it.
    pub why: Vec<String>,
    /// What brings dependencies in.
    pub fetch: Option<String>,
    /// The command for benchmarks, if it is another.
    pub plain: Option<String>,
}

/// Ranks of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ranks {
    /// One: no MPI, or none that is known of.
    #[default]
    One,
    /// A number that the project's own files name.
    Found(u32),
    /// Nobody says how many.
    Guessed,
}

/// The fewest ranks that speak with one another.
pub const GUESSED_RANKS: u32 = 2;

impl Ranks {
    /// Returns the number.
    #[must_use]
    pub fn number(self) -> u32 {
        match self {
            Self::One => 1,
            Self::Found(number) => number,
            Self::Guessed => GUESSED_RANKS,
        }
    }

    /// Ranks of something that starts MPI itself: as many as its files name, else a guess.
    #[must_use]
    pub fn of_harness(mpi: bool, named: Option<u32>) -> Self {
        match (mpi, named) {
            (_, Some(number)) => Self::Found(number),
            (true, None) => Self::Guessed,
            (false, None) => Self::One,
        }
    }
}

/// A test or benchmark.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Step {
    /// Its name.
    pub name: String,
    /// Whether it is a benchmark.
    pub benchmark: bool,
    /// The suite, unless the usual one.
    pub suite: Option<&'static str>,
    /// Its command.
    pub command: String,
    /// Its ranks.
    pub ranks: Ranks,
    /// Whether it starts MPI by itself.
    pub harness: bool,
    /// Format and path of its report.
    pub results: Option<(&'static str, &'static str)>,
    /// How often a benchmark is launched, if it repeats by itself.
    pub once: bool,
    /// What is worth saying about it.
    pub why: Vec<String>,
}

/// Where it is built and tested.
#[derive(Debug)]
pub struct Machine {
    /// Where steps would run.
    pub place: Place,
    /// Slurm, if there is any, or why it does not answer.
    pub cluster: Option<Result<Cluster, String>>,
    /// The account that Slurm takes of those who name none.
    pub default_account: Option<String>,
    /// Compilers and MPI.
    pub tools: Tools,
    /// What it takes for C to be instrumented.
    pub clang: Clang,
    /// Loaded modules; why one does not load anew, where it does not.
    pub modules: Vec<(String, Option<String>)>,
    /// Variables by which the login chooses its compilers.
    pub chosen: Vec<(String, String)>,
    /// What Python has.
    pub python: Python,
    /// Whether `ctest` writes `JUnit`.
    pub ctest_writes_junit: bool,
    /// Where large files could go, best first.
    pub storage: Vec<Storage>,
    /// The clone's own folder.
    pub clone: FolderFacts,
    /// Its cores.
    pub cores: usize,
}

impl Machine {
    /// Returns the cluster, where its controller answered.
    #[must_use]
    pub fn slurm(&self) -> Option<&Cluster> {
        self.cluster.as_ref()?.as_ref().ok()
    }

    /// Returns the MPI that programs are linked with here.
    #[must_use]
    pub fn mpi(&self) -> Option<Mpi> {
        self.tools.c.as_ref()?.mpi
    }
}

/// What it takes for C to be instrumented.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Clang {
    /// Nobody asked: there is no C.
    #[default]
    NotAsked,
    /// Nothing: the usual compiler is one.
    Usual,
    /// This compiler, and its sister for C++.
    Named(String, Option<String>),
    /// It cannot be had, and why.
    Missing(String),
}

/// What Python has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Python {
    /// `pytest`.
    pub pytest: bool,
    /// `pytest-cov`.
    pub cov: bool,
    /// `mpi4py`.
    pub mpi4py: bool,
}

/// A folder where large files could go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Storage {
    /// The variable that names it.
    pub variable: &'static str,
    /// Its path as the file should have it.
    pub path: String,
    /// What is known of it.
    pub facts: FolderFacts,
}

/// File systems that several machines can see.
const NETWORK: &[&str] = &["nfs", "lustre", "gpfs", "beegfs", "ceph"];

/// Returns whether several machines can see a folder, by the kind of its file system.
#[must_use]
pub fn is_shared(facts: &FolderFacts) -> bool {
    facts.filesystem.is_some_and(|kind| NETWORK.contains(&kind))
}
