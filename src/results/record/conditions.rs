//! Under which conditions a benchmark was measured, and how the steps of a run were started.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What could have disturbed a benchmark, and what else a judge of its figures wants to know.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Conditions {
    /// Whether it had its nodes to itself by request.
    pub exclusive: bool,
    /// Its nodes, as they were when it began.
    pub nodes: Vec<NodeConditions>,
    /// The processors that its ranks could use, those of the last launch.
    #[serde(default)]
    pub binding: Vec<Binding>,
    /// Its program's sha256, where the program stands in the work tree.
    #[serde(default)]
    pub program_sha256: Option<String>,
}

/// A node as a benchmark found it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct NodeConditions {
    /// The node.
    pub node: String,
    /// Other jobs on it, when the benchmark began or, on its first node, when it ended; null where that is not to be seen.
    pub other_jobs: Option<u32>,
    /// The load of the minute before.
    pub load: Option<f64>,
    /// The frequency governor; several of them are joined by `+`.
    pub governor: Option<String>,
    /// Whether cores may clock higher for a while.
    pub turbo: Option<bool>,
    /// Whether a core was throttled for heat while the benchmark ran; known of its first node.
    pub throttled: Option<bool>,
    /// Memory errors that were corrected since the node was booted.
    pub ecc_errors: Option<u64>,
}

/// Ranks that could use the same processors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// The processors: `0-3`.
    pub cpus: String,
    /// The ranks: `0,4`.
    pub ranks: String,
}

/// How steps were started, as the script on their first node tells it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StepLaunch {
    /// The steps that were started in this way.
    pub steps: Vec<String>,
    /// The launcher's command line, up to the program; null where nothing was launched.
    pub command: Option<String>,
    /// Their ranks.
    pub ranks: u32,
    /// How many nodes they had.
    pub node_count: u32,
    /// Ranks on each node, where that was asked for.
    pub ranks_per_node: Option<u32>,
    /// Cores of each rank, where that was asked for.
    pub cpus_per_rank: Option<u32>,
    /// How ranks were to be bound to cores, where that was asked for.
    pub binding: Option<String>,
    /// The family of MPI that their program is linked with.
    pub mpi: Option<String>,
    /// The MPI library that it loads there.
    pub library: Option<String>,
    /// The modules that were loaded there.
    pub modules: Vec<String>,
    /// The variables there that change how programs run: `OMP_*`, `UCX_*`…
    pub environment: BTreeMap<String, String>,
}
