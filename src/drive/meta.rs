//! Provenance: what `meta.json` says of a run.

use std::collections::BTreeMap;

use super::Run;
use super::cover::Covered;
use super::live::Attempt;
use super::request::setup;
use super::state::RunState;
use crate::build;
use crate::launch::Place;
use crate::plan::Producer;
use crate::results::FinishedRun;
use crate::results::record::{
    Compiler, Driver, Launch, Mpi, NodeInfo, RunMeta, Slurm, Source, Toolchain,
};

/// Versions of compilers, MPI and interpreters, flags and modules, asked in the environment of the first build.
pub(super) async fn toolchain(run: &Run) -> Vec<(String, String)> {
    let Some(build) = run.request.plan.builds.first() else {
        return Vec::new();
    };
    build::toolchain(&setup(&build.environment), &run.inherited)
        .await
        .inspect_err(|error| tracing::warn!(%error, "the versions of the compilers are not known"))
        .unwrap_or_default()
}

/// Returns the entry of a run in `meta.json`.
pub(super) fn meta(
    run: &Run,
    attempts: &BTreeMap<(usize, u32), Attempt>,
    toolchain: &[(String, String)],
    state: &RunState,
    covered: &Covered,
    finished: &FinishedRun,
) -> RunMeta {
    let request = &run.request;
    let revision = &request.plan.revision;
    let modules: Vec<String> = value(toolchain, "modules")
        .map(|list| list.split(':').map(str::to_owned).collect())
        .unwrap_or_default();
    let mut features: Vec<String> = request
        .plan
        .builds
        .iter()
        .filter_map(|build| build.features.clone())
        .collect();
    features.sort_unstable();
    features.dedup();
    RunMeta {
        run: run.folder.id().to_owned(),
        parts: Vec::new(),
        marks: Vec::new(),
        started_at: finished.started_at,
        finished_at: finished.finished_at,
        driver: Driver {
            version: finished.driver_version.clone(),
            command_line: request.command_line.clone(),
            host: finished.hpc.node.clone(),
            config_sha256: None,
            profile: None,
            seed: None,
        },
        source: Source {
            repository: request.source.repository.clone(),
            head: revision.commit.clone(),
            base: None,
            branch: revision.branch.clone(),
            tag: revision.tag.clone(),
            dirty: revision.dirty,
            diff_sha256: request.source.diff_sha256.clone(),
            submodules: BTreeMap::new(),
        },
        toolchain: tools(toolchain),
        features,
        modules,
        launch: launch(run),
        slurm: slurm(run),
        nodes: nodes(run, attempts),
        jobs: finished.jobs.clone(),
        binaries: Vec::new(),
        dying_ranks: request
            .plan
            .builds
            .iter()
            .filter(|build| build.coverage == Producer::Llvm)
            .filter_map(|build| Some(state.choice(&build.id)?.record(&build.id)))
            .collect(),
        ranks: (covered.ranks.expected > 0).then(|| covered.ranks.clone()),
    }
}

fn value(pairs: &[(String, String)], name: &str) -> Option<String> {
    pairs
        .iter()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.clone())
}

fn tools(pairs: &[(String, String)]) -> Toolchain {
    let compilers = ["mpicc", "mpifort", "cc", "rustc"]
        .iter()
        .filter_map(|name| {
            Some(Compiler {
                command: (*name).to_owned(),
                id: None,
                version: Some(value(pairs, name)?),
                target: None,
            })
        })
        .collect();
    let is_flag = |name: &str| name.chars().all(|c| c.is_ascii_uppercase() || c == '_');
    Toolchain {
        compilers,
        mpi: value(pairs, "mpiexec").map(|version| Mpi {
            implementation: if version.contains("Open MPI") || version.contains("OpenRTE") {
                "Open MPI".to_owned()
            } else if version.to_ascii_uppercase().contains("HYDRA") {
                "MPICH".to_owned()
            } else {
                "unknown".to_owned()
            },
            version: Some(version),
            library: None,
            abi: None,
        }),
        julia: value(pairs, "julia"),
        python: value(pairs, "python"),
        flags: pairs
            .iter()
            .filter(|(name, _)| is_flag(name))
            .cloned()
            .collect(),
        blas: None,
        container: None,
    }
}

fn launch(run: &Run) -> Launch {
    let first = run.request.plan.steps.iter().find(|step| step.runs());
    Launch {
        launcher: first.map(|step| step.launcher.kind.to_string()),
        pmi: first.map(|step| step.launcher.pmi.to_string()),
        options: first
            .map(|step| step.launcher.options.clone())
            .unwrap_or_default(),
        binding: None,
        environment: first
            .map(|step| step.environment.variables.iter().cloned().collect())
            .unwrap_or_default(),
    }
}

fn slurm(run: &Run) -> Option<Slurm> {
    let settings = &run.request.site.scheduler;
    (run.request.place != Place::Here).then(|| Slurm {
        cluster: run.request.site.cluster.clone(),
        partition: settings.partition.clone(),
        account: settings.account.clone(),
        qos: settings.qos.clone(),
        version: None,
        constraint: None,
    })
}

/// The nodes that did the work, as their own exit records describe them.
fn nodes(run: &Run, attempts: &BTreeMap<(usize, u32), Attempt>) -> Vec<NodeInfo> {
    let mut nodes = BTreeMap::new();
    for attempt in attempts.values() {
        let Some(host) = &attempt.host else { continue };
        for name in &attempt.end.nodes {
            nodes.entry(name.clone()).or_insert_with(|| NodeInfo {
                name: name.clone(),
                processor: host.processor.clone(),
                kernel: host.kernel.clone(),
                memory_bytes: host.memory_bytes,
                cores: (run.request.place == Place::Here).then(super::conclude::local_cores),
                ..NodeInfo::default()
            });
        }
    }
    nodes.into_values().collect()
}
