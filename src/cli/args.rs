//! Arguments that several verbs share.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::console::Color;

/// How results and events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(super) enum Format {
    /// For people, on standard error.
    #[default]
    Human,
    /// For programs, on standard output.
    Json,
}

/// Where steps run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum SchedulerChoice {
    /// Job steps inside an allocation, else Slurm jobs where `sbatch` answers, else here.
    Auto,
    /// Slurm jobs.
    Slurm,
    /// Job steps of the allocation that this was started in.
    Allocation,
    /// This machine, under mpiexec.
    Local,
}

/// Options of every verb.
#[derive(Debug, Args)]
pub(super) struct Global {
    /// Show what is being done; twice for more.
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub(super) verbose: u8,
    /// Show only errors and the final summary.
    #[arg(short, long, global = true)]
    pub(super) quiet: bool,
    /// When to use colour (`NO_COLOR` is honoured).
    #[arg(long, value_enum, default_value_t, global = true, value_name = "WHEN")]
    pub(super) color: Color,
    /// How to write results, and what happens before.
    #[arg(long, value_enum, default_value_t, global = true)]
    pub(super) format: Format,
}

/// Options that say what to run, of which commit, and where.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
#[derive(Debug, Clone, Default, Args)]
pub(super) struct RunArgs {
    /// Only steps whose name contains one of these. Behind `run` or `--` also where the first is a command, or nearly one.
    #[arg(value_name = "NAME")]
    pub(super) names: Vec<String>,
    /// Only steps that match: name(GLOB), suite(X), tag(X), ranks(N), with & | ! and parentheses.
    #[arg(short = 'E', long, value_name = "EXPR")]
    pub(super) filter: Option<String>,
    /// Only the tests.
    #[arg(long, conflicts_with = "benchmarks_only")]
    pub(super) tests_only: bool,
    /// Only the benchmarks.
    #[arg(long)]
    pub(super) benchmarks_only: bool,
    /// Only steps that did not pass in the latest run.
    #[arg(long)]
    pub(super) failed: bool,
    /// Ranks of every step: selects where a matrix has them, replaces where none does.
    #[arg(long, env = "MPI_NP", value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) ranks: Option<u32>,
    /// One feature set; repeat for several.
    #[arg(long, value_name = "LIST")]
    pub(super) features: Vec<String>,
    /// Build plain and collect no coverage.
    #[arg(long)]
    pub(super) no_coverage: bool,
    /// Do not upload to Codecov.
    #[arg(long)]
    pub(super) no_codecov: bool,
    /// Publish nothing.
    #[arg(long)]
    pub(super) no_publish: bool,
    /// The configuration; without it, hpc.toml here or in a parent directory.
    #[arg(long, env = "HPC_CI_CONFIG", value_name = "PATH")]
    pub(super) config: Option<PathBuf>,
    /// Take tests and builds from the local hpc.toml too, not from the commit's.
    #[arg(long)]
    pub(super) local_config: bool,
    /// The commit to test.
    #[arg(long, env = "HPC_CI_COMMIT", value_name = "SHA")]
    pub(super) commit: Option<String>,
    /// The branch it belongs to; alone, its tip is tested.
    #[arg(long, env = "HPC_CI_BRANCH", value_name = "NAME")]
    pub(super) branch: Option<String>,
    /// Use the work tree as it stands, uncommitted changes and all.
    #[arg(long)]
    pub(super) in_place: bool,
    /// Where steps run.
    #[arg(long, value_enum, value_name = "WHERE")]
    pub(super) scheduler: Option<SchedulerChoice>,
    /// Remove work trees that earlier runs kept, and start anew.
    #[arg(long)]
    pub(super) clean: bool,
    /// Compare benchmarks with those of this commit or run, not with the accepted baseline.
    #[arg(long, value_name = "REF")]
    pub(super) baseline: Option<String>,
    /// Submit everything and leave; `resume` or `wait` collects.
    #[arg(long)]
    pub(super) detach: bool,
    /// Do nothing, with success, while another run of this workspace has not ended.
    #[arg(long)]
    pub(super) if_idle: bool,
    /// Do nothing, with success, if there is a run of this commit.
    #[arg(long)]
    pub(super) if_new: bool,
    /// Print the plan and submit nothing.
    #[arg(long)]
    pub(super) dry_run: bool,
}

/// Which run a verb is about, and where it stands.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct RunChoice {
    /// The run: its id, the beginning of it, or its folder; without it, the latest.
    #[arg(value_name = "RUN")]
    pub(super) run: Option<String>,
    #[command(flatten)]
    pub(super) place: WorkspaceChoice,
}

/// Whose workspace a verb is about.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct WorkspaceChoice {
    /// The configuration that names the workspace; without it, hpc.toml here or in a parent directory.
    #[arg(long, env = "HPC_CI_CONFIG", value_name = "PATH")]
    pub(super) config: Option<PathBuf>,
}
