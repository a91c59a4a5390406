//! `meta.json`: where the numbers come from.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{JobRecord, Mark, Part, StepLaunch, utc_seconds};

/// `meta.json`: the provenance of the artifacts beside it, an entry for each run that contributes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Meta {
    /// [`super::SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The commit under test.
    pub commit: String,
    /// Its branch.
    pub branch: Option<String>,
    /// The tag that names it.
    pub tag: Option<String>,
    /// Whether the work tree had uncommitted changes.
    pub dirty: bool,
    /// When this document was made.
    #[serde(with = "utc_seconds")]
    pub generated_at: DateTime<Utc>,
    /// The runs, the newest last.
    pub runs: Vec<RunMeta>,
}

/// The provenance of one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunMeta {
    /// The run's id.
    pub run: String,
    /// What of the artifacts comes from it.
    pub parts: Vec<Part>,
    /// What keeps it from standing for the branch.
    pub marks: Vec<Mark>,
    /// When it began.
    #[serde(with = "utc_seconds")]
    pub started_at: DateTime<Utc>,
    /// When it ended.
    #[serde(with = "utc_seconds")]
    pub finished_at: DateTime<Utc>,
    /// hpc-ci itself.
    pub driver: Driver,
    /// The code under test.
    pub source: Source,
    /// What it was built with.
    pub toolchain: Toolchain,
    /// The feature sets that were built.
    pub features: Vec<String>,
    /// The modules that were loaded.
    pub modules: Vec<String>,
    /// How MPI programs were started.
    pub launch: Launch,
    /// How the steps were started, those alike together.
    #[serde(default)]
    pub launches: Vec<StepLaunch>,
    /// What Slurm says; null without Slurm.
    pub slurm: Option<Slurm>,
    /// The nodes that did the work.
    pub nodes: Vec<NodeInfo>,
    /// Every job.
    pub jobs: Vec<JobRecord>,
    /// The programs that ran.
    #[serde(default)]
    pub binaries: Vec<Binary>,
    /// The ranks and the state of each one's profile; null if no coverage was asked for.
    pub ranks: Option<RankLedger>,
    /// How the counters of ranks that die were kept, by build.
    #[serde(default)]
    pub dying_ranks: Vec<DyingRanks>,
}

/// How the counters of ranks that die were kept in the steps of a build.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DyingRanks {
    /// The build.
    pub build: String,
    /// The way.
    pub way: Way,
    /// What continuous mode would cost a loop of arithmetic, in percent; null where that was not measured.
    pub continuous_cost_percent: Option<f64>,
    /// Why another way was not taken, or what this one cannot keep.
    pub reasons: Vec<String>,
}

/// A way to keep the counters of ranks that die.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// They are lost.
    Off,
    /// A preloaded library.
    Preload,
    /// Continuous mode of the compiler.
    Continuous,
}

/// hpc-ci itself and how it was called.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Driver {
    /// Its version.
    pub version: String,
    /// Its command line.
    pub command_line: Vec<String>,
    /// The host that it ran on.
    pub host: Option<String>,
    /// The sha256 of the hpc.toml in force.
    #[serde(default)]
    pub config_sha256: Option<String>,
    /// The gate profile that was asked for.
    #[serde(default)]
    pub profile: Option<String>,
    /// The seed of whatever was shuffled.
    #[serde(default)]
    pub seed: Option<u64>,
}

/// The code under test.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The repository, without credentials.
    pub repository: Option<String>,
    /// The commit.
    pub head: String,
    /// What it is compared with.
    #[serde(default)]
    pub base: Option<String>,
    /// The branch.
    pub branch: Option<String>,
    /// The tag.
    pub tag: Option<String>,
    /// Whether there were uncommitted changes.
    pub dirty: bool,
    /// The sha256 of those changes as a diff.
    #[serde(default)]
    pub diff_sha256: Option<String>,
    /// The commit of each submodule, by path.
    #[serde(default)]
    pub submodules: BTreeMap<String, String>,
}

/// What the programs were built with and need at run time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Toolchain {
    /// The compilers, wrappers resolved.
    pub compilers: Vec<Compiler>,
    /// The MPI library.
    pub mpi: Option<Mpi>,
    /// The version of Julia.
    pub julia: Option<String>,
    /// The version of Python.
    pub python: Option<String>,
    /// The flags in the build's environment: `CFLAGS`, `RUSTFLAGS`…
    pub flags: BTreeMap<String, String>,
    /// The linear algebra library.
    #[serde(default)]
    pub blas: Option<String>,
    /// The container that the programs ran in.
    #[serde(default)]
    pub container: Option<Container>,
}

/// A compiler.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compiler {
    /// As the build calls it: `mpicc`, `rustc`.
    pub command: String,
    /// What it is: `clang`, `gcc`, `rustc`.
    pub id: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// Its target.
    #[serde(default)]
    pub target: Option<String>,
}

/// An MPI library.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mpi {
    /// `Open MPI`, `MPICH`, `Cray MPICH`…
    pub implementation: String,
    /// Its version.
    pub version: Option<String>,
    /// The shared library that the programs load.
    #[serde(default)]
    pub library: Option<String>,
    /// Its binary interface.
    #[serde(default)]
    pub abi: Option<String>,
}

/// A container image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// What runs it.
    pub runtime: String,
    /// The image's digest.
    pub digest: Option<String>,
}

/// How MPI programs were started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// The launcher: `srun`, `mpiexec` or `none`.
    pub launcher: Option<String>,
    /// The PMI it spoke.
    pub pmi: Option<String>,
    /// Its options, as the settings have them.
    #[serde(default)]
    pub options: Vec<String>,
    /// How ranks were to be bound to cores, of the first step for which that was said.
    #[serde(default)]
    pub binding: Option<String>,
    /// The variables of `[environment]`.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
}

/// What Slurm says of the place.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slurm {
    /// The cluster.
    pub cluster: Option<String>,
    /// The partition.
    pub partition: Option<String>,
    /// The account, or its hash.
    pub account: Option<String>,
    /// The quality of service.
    #[serde(default)]
    pub qos: Option<String>,
    /// Slurm's version.
    #[serde(default)]
    pub version: Option<String>,
    /// The node features that were asked for.
    #[serde(default)]
    pub constraint: Option<String>,
}

/// A node that did the work.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct NodeInfo {
    /// Its name, or a hash of it.
    pub name: String,
    /// Its processor.
    pub processor: Option<String>,
    /// Its memory.
    pub memory_bytes: Option<u64>,
    /// Sockets.
    #[serde(default)]
    pub sockets: Option<u32>,
    /// Cores.
    #[serde(default)]
    pub cores: Option<u32>,
    /// Hardware threads a core.
    #[serde(default)]
    pub threads_per_core: Option<u32>,
    /// Memory domains.
    #[serde(default)]
    pub numa_domains: Option<u32>,
    /// The operating system.
    #[serde(default)]
    pub os: Option<String>,
    /// The kernel's version.
    #[serde(default)]
    pub kernel: Option<String>,
    /// The frequency governor.
    #[serde(default)]
    pub governor: Option<String>,
    /// Whether cores may clock higher for a while.
    #[serde(default)]
    pub turbo: Option<bool>,
    /// Mitigations of processor faults that are in force.
    #[serde(default)]
    pub mitigations: Option<String>,
    /// Huge pages.
    #[serde(default)]
    pub hugepages: Option<String>,
    /// Accelerators, as the first process of the run there saw them.
    #[serde(default)]
    pub gpus: Vec<Gpu>,
    /// The network between nodes.
    #[serde(default)]
    pub interconnect: Option<String>,
    /// The switches between it and the root of the network, as Slurm knows them: `spine.leaf3`.
    #[serde(default)]
    pub switches: Option<String>,
    /// The file system that holds the work trees.
    #[serde(default)]
    pub filesystem: Option<String>,
    /// What could have disturbed a measurement.
    #[serde(default)]
    pub health: Option<Health>,
}

/// An accelerator.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Gpu {
    /// What it is.
    pub model: String,
    /// Its driver's version.
    pub driver: Option<String>,
    /// Its memory.
    pub memory_bytes: Option<u64>,
    /// Whether it is cut into instances (MIG).
    pub mig: Option<bool>,
    /// The mode in which AMD's are partitioned: `SPX`, `CPX`…
    pub partition: Option<String>,
    /// The highest clock of its cores.
    pub max_clock_mhz: Option<f64>,
    /// The highest clock of its memory.
    pub max_memory_clock_mhz: Option<f64>,
    /// The power that it may take.
    pub power_limit_watts: Option<f64>,
}

/// What could have disturbed a measurement on a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// How many jobs of others ran on the node.
    pub other_jobs: Option<u32>,
    /// Whether the processor was throttled.
    pub throttled: Option<bool>,
    /// Memory errors that were corrected.
    pub ecc_errors: Option<u64>,
}

/// The energy that a job used. Sites differ in what the number means, so it comes with its source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Energy {
    /// In joules.
    pub joules: f64,
    /// Who says so.
    pub source: String,
    /// How far it can be believed.
    pub quality: Option<String>,
}

/// A program that ran.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binary {
    /// Its path in the work tree.
    pub path: Utf8PathBuf,
    /// The build that made it.
    pub build: String,
    /// Its sha256.
    pub sha256: String,
    /// Its build id.
    #[serde(default)]
    pub build_id: Option<String>,
    /// The compiler that made it, by its own word.
    #[serde(default)]
    pub compiler: Option<String>,
    /// Whether it was instrumented.
    #[serde(default)]
    pub instrumented: Option<bool>,
    /// The sha256 of each shared library that its loader finds for it on the nodes, by name; ` + ` between those of nodes
    /// that differ.
    #[serde(default)]
    pub libraries: BTreeMap<String, String>,
}

/// What became of one rank's profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProfileState {
    /// It is all there.
    Whole,
    /// It is readable, but its rank died.
    Partial,
    /// Its rank died before it could write.
    Empty,
    /// It was cut short.
    Truncated,
    /// There is none.
    Absent,
    /// It belongs to no object that we know.
    Foreign,
}

impl ProfileState {
    /// Returns its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Partial => "partial",
            Self::Empty => "empty",
            Self::Truncated => "truncated",
            Self::Absent => "absent",
            Self::Foreign => "foreign",
        }
    }

    /// Returns whether its counters are in the coverage.
    #[must_use]
    pub fn is_used(self) -> bool {
        matches!(self, Self::Whole | Self::Partial)
    }
}

/// The ranks of a run and the state of each one's profile.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RankLedger {
    /// Ranks that should have written a profile, over all steps.
    pub expected: u64,
    /// Ranks whose counters are in the coverage.
    pub used: u64,
    /// By step.
    pub steps: Vec<StepLedger>,
    /// Profiles that processes wrote elsewhere than they were told to. Nobody knows of which rank they are.
    #[serde(default)]
    pub elsewhere: Vec<ProfileElsewhere>,
}

/// A profile that a process wrote where it chose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfileElsewhere {
    /// Where: below the work tree of the build, below the folder of the attempt, or an absolute path.
    pub file: Option<String>,
    /// The build in whose tree it stands.
    pub build: Option<String>,
    /// The step that left it, if it can only have been that.
    pub step: Option<String>,
    /// Its state.
    pub state: ProfileState,
    /// Whether its counters are in the coverage.
    pub used: bool,
    /// What is wrong with it.
    pub message: Option<String>,
}

/// The ranks of one step.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepLedger {
    /// The step.
    pub step: String,
    /// The attempt.
    pub attempt: u32,
    /// Its ranks.
    pub expected: u64,
    /// Those whose counters are in the coverage.
    pub used: u64,
    /// Ranks of the same state together, so that many ranks need little room.
    pub ranks: Vec<RankGroup>,
    /// Profiles with something to say.
    #[serde(default)]
    pub problems: Vec<ProfileProblem>,
    /// Where each node's processes wrote profiles.
    #[serde(default)]
    pub nodes: Vec<ProfileStorage>,
}

/// Where the processes of a node wrote profiles.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfileStorage {
    /// The node.
    pub node: String,
    /// The kind of storage.
    pub storage: StorageKind,
    /// Why it was not the node's own disk.
    pub reason: Option<String>,
}

/// A kind of storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StorageKind {
    /// The node's own disk, from where only a sum went on.
    Scratch,
    /// Storage that all nodes see.
    Shared,
}

/// Ranks whose profiles are in the same state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RankGroup {
    /// The state.
    pub state: ProfileState,
    /// How many they are.
    pub count: u64,
    /// Which: `0-3,7`.
    pub ranks: String,
}

/// A profile that is not used, or not in full.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfileProblem {
    /// Its rank, if it names one.
    pub rank: Option<u32>,
    /// Its state.
    pub state: ProfileState,
    /// The file's name.
    pub file: Option<String>,
    /// What is wrong.
    pub message: String,
}

impl StepLedger {
    /// Returns the ledger of a step from the state of each of its ranks.
    #[must_use]
    pub fn of_ranks(step: &str, attempt: u32, states: &[ProfileState]) -> Self {
        let mut ranks_of = BTreeMap::<ProfileState, Vec<u64>>::new();
        for (rank, &state) in (0..).zip(states) {
            ranks_of.entry(state).or_default().push(rank);
        }
        Self {
            step: step.to_owned(),
            attempt,
            expected: states.len() as u64,
            used: states.iter().filter(|state| state.is_used()).count() as u64,
            ranks: ranks_of
                .into_iter()
                .map(|(state, ranks)| RankGroup {
                    state,
                    count: ranks.len() as u64,
                    ranks: ranges(&ranks),
                })
                .collect(),
            problems: Vec::new(),
            nodes: Vec::new(),
        }
    }
}

impl RankLedger {
    /// Returns how many ranks are in each state, over all steps.
    #[must_use]
    pub fn states(&self) -> BTreeMap<ProfileState, u64> {
        let mut states = BTreeMap::new();
        for group in self.steps.iter().flat_map(|step| &step.ranks) {
            *states.entry(group.state).or_default() += group.count;
        }
        states
    }

    /// Returns the ledger of a run from those of its steps.
    #[must_use]
    pub fn of_steps(steps: Vec<StepLedger>) -> Self {
        Self {
            expected: steps.iter().map(|step| step.expected).sum(),
            used: steps.iter().map(|step| step.used).sum(),
            steps,
            elsewhere: Vec::new(),
        }
    }
}

/// Writes ascending numbers as `0-3,7`.
pub(crate) fn ranges(numbers: &[u64]) -> String {
    let mut text = String::new();
    for run in numbers.chunk_by(|a, b| a.checked_add(1) == Some(*b)) {
        if !text.is_empty() {
            text.push(',');
        }
        if let [first, .., last] = run {
            text.extend([first.to_string(), "-".to_owned(), last.to_string()]);
        } else {
            text.extend(run.iter().map(u64::to_string));
        }
    }
    text
}

/// A provenance to try the documents on.
#[cfg(test)]
pub(crate) mod example {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    pub(crate) fn run_meta() -> RunMeta {
        let states = [
            ProfileState::Whole,
            ProfileState::Whole,
            ProfileState::Absent,
            ProfileState::Partial,
        ];
        let mut ledger = StepLedger::of_ranks("halo[ranks=4]", 1, &states);
        ledger.problems.push(ProfileProblem {
            rank: Some(2),
            state: ProfileState::Absent,
            file: None,
            message: "rank 2 left no profile".to_owned(),
        });
        RunMeta {
            run: String::new(),
            parts: Vec::new(),
            marks: Vec::new(),
            started_at: "2026-11-20T10:15:00Z".parse().unwrap(),
            finished_at: "2026-11-20T10:27:34Z".parse().unwrap(),
            driver: Driver {
                version: "0.1.0".to_owned(),
                command_line: vec!["hpc-ci".to_owned(), "run".to_owned()],
                host: Some("login1".to_owned()),
                ..Driver::default()
            },
            source: Source {
                repository: Some("https://example.org/heat.git".to_owned()),
                head: "1a2b3c4d5e6f708192a3b4c5d6e7f80910213243".to_owned(),
                branch: Some("main".to_owned()),
                ..Source::default()
            },
            toolchain: Toolchain {
                compilers: vec![Compiler {
                    command: "rustc".to_owned(),
                    id: Some("rustc".to_owned()),
                    version: Some("1.95.0".to_owned()),
                    target: None,
                }],
                mpi: Some(Mpi {
                    implementation: "Open MPI".to_owned(),
                    version: Some("5.0.7".to_owned()),
                    ..Mpi::default()
                }),
                ..Toolchain::default()
            },
            features: vec![String::new(), "rma".to_owned()],
            modules: vec!["gcc/13".to_owned()],
            launch: Launch {
                launcher: Some("srun".to_owned()),
                pmi: Some("pmix".to_owned()),
                ..Launch::default()
            },
            launches: vec![StepLaunch {
                steps: vec!["halo[ranks=4]".to_owned()],
                command: Some("srun --mpi=pmix --ntasks=4".to_owned()),
                ranks: 4,
                node_count: 2,
                ..StepLaunch::default()
            }],
            slurm: Some(Slurm {
                cluster: Some("alps".to_owned()),
                partition: Some("batch".to_owned()),
                ..Slurm::default()
            }),
            nodes: vec![NodeInfo {
                name: "n1".to_owned(),
                cores: Some(64),
                ..NodeInfo::default()
            }],
            jobs: vec![JobRecord {
                job_id: "71".to_owned(),
                ..JobRecord::default()
            }],
            binaries: Vec::new(),
            ranks: Some(RankLedger {
                elsewhere: vec![ProfileElsewhere {
                    file: Some("default.profraw".to_owned()),
                    build: Some("tests".to_owned()),
                    step: None,
                    state: ProfileState::Whole,
                    used: true,
                    message: None,
                }],
                ..RankLedger::of_steps(vec![ledger])
            }),
            dying_ranks: vec![DyingRanks {
                build: "tests".to_owned(),
                way: Way::Preload,
                continuous_cost_percent: None,
                reasons: Vec::new(),
            }],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_a_row_are_written_as_ranges() {
        for (numbers, expected) in [
            (&[][..], ""),
            (&[0], "0"),
            (&[0, 1], "0-1"),
            (&[0, 1, 2, 5, 7, 8], "0-2,5,7-8"),
            (
                &[u64::MAX - 1, u64::MAX],
                "18446744073709551614-18446744073709551615",
            ),
        ] {
            assert_eq!(ranges(numbers), expected);
        }
    }

    #[test]
    fn the_ledger_counts_and_groups_the_ranks() {
        use ProfileState::{Absent, Partial, Whole};
        let ledger = RankLedger::of_steps(vec![
            StepLedger::of_ranks("halo", 1, &[Whole, Whole, Absent, Partial]),
            StepLedger::of_ranks("unit", 1, &[Whole]),
        ]);
        assert_eq!((ledger.expected, ledger.used), (5, 4));
        let groups = ledger.steps[0]
            .ranks
            .iter()
            .map(|group| (group.state, group.count, group.ranks.as_str()));
        assert_eq!(
            groups.collect::<Vec<_>>(),
            [(Whole, 2, "0-1"), (Partial, 1, "3"), (Absent, 1, "2")]
        );
    }
}
