//! Provenance: what `meta.json` says of a run.

use std::collections::{BTreeMap, BTreeSet};

use super::binaries::Programs;
use super::builds::Builder;
use super::cover::Covered;
use super::energy::Energies;
use super::facts::{self, Nodes};
use super::live::Attempt;
use super::request::setup;
use super::state::RunState;
use super::{Run, toolchain};
use crate::build;
use crate::launch::Place;
use crate::plan::Producer;
use crate::results::FinishedRun;
use crate::results::record::{Driver, Launch, RunMeta, Slurm, Source, StepLaunch, Toolchain};

/// What is known of where a run took place and of what it ran.
pub(super) struct Surroundings {
    /// What the tools said that were asked in the environment of the first build.
    asked: Vec<(String, String)>,
    /// The same as names and versions.
    pub(super) toolchain: Toolchain,
    /// The nodes that did work.
    pub(super) nodes: Nodes,
    /// The programs.
    pub(super) programs: Programs,
    /// The energy that jobs used.
    pub(super) energies: Energies,
}

impl Surroundings {
    /// Looks around when all steps have ended.
    pub(super) async fn of(
        run: &Run,
        builder: &Builder<'_>,
        attempts: &BTreeMap<(usize, u32), Attempt>,
    ) -> Self {
        let asked = ask(run).await;
        let hosts = attempts.values().filter_map(|it| it.host.as_ref());
        let mut toolchain = toolchain::toolchain(&asked, hosts);
        let (nodes, mut programs) =
            tokio::task::block_in_place(|| (Nodes::read(run), Programs::of(run, builder)));
        programs.link(run, attempts, &nodes);
        toolchain.container = tokio::task::block_in_place(|| super::container::of(run, builder));
        Self {
            asked,
            toolchain,
            nodes,
            programs,
            energies: Energies::of(run, attempts).await,
        }
    }
}

/// Versions of compilers, MPI and interpreters, flags and modules, asked in the environment of the first build.
async fn ask(run: &Run) -> Vec<(String, String)> {
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
    around: &Surroundings,
    state: &RunState,
    covered: &Covered,
    finished: &FinishedRun,
) -> RunMeta {
    let request = &run.request;
    let revision = &request.plan.revision;
    let launches = facts::launches(run, attempts);
    // Those of the nodes count more than those of the builds.
    let modules = launches.iter().map(|launch| &launch.modules);
    let modules = modules
        .max_by_key(|modules| modules.len())
        .filter(|it| !it.is_empty());
    let modules = modules.cloned().unwrap_or_else(|| {
        let list = value(&around.asked, "modules").unwrap_or_default();
        list.split(':')
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect()
    });
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
            config_sha256: request.source.config_sha256.clone(),
            profile: None,
            seed: None,
        },
        source: Source {
            repository: request.source.repository.clone(),
            head: revision.commit.clone(),
            base: request.baselines.merge_base.clone(),
            branch: revision.branch.clone(),
            tag: revision.tag.clone(),
            dirty: revision.dirty,
            diff_sha256: request.source.diff_sha256.clone(),
            submodules: request.source.submodules.clone(),
        },
        toolchain: around.toolchain.clone(),
        features,
        modules,
        launch: launch(run, &launches),
        launches,
        slurm: slurm(run, value(&around.asked, "slurm")),
        nodes: around.nodes.all(attempts, finished.conditions.values()),
        jobs: finished.jobs.clone(),
        binaries: around.programs.records(),
        dying_ranks: request
            .plan
            .builds
            .iter()
            .filter(|build| build.coverage == Producer::Llvm)
            .filter_map(|build| Some(state.choice(&build.id)?.record(&build.id)))
            .collect(),
        ranks: (covered.ranks.expected > 0 || !covered.ranks.elsewhere.is_empty())
            .then(|| covered.ranks.clone()),
    }
}

fn value(pairs: &[(String, String)], name: &str) -> Option<String> {
    pairs
        .iter()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.clone())
}

fn launch(run: &Run, launches: &[StepLaunch]) -> Launch {
    let first = run.request.plan.steps.iter().find(|step| step.runs());
    Launch {
        launcher: first.map(|step| step.launcher.kind.to_string()),
        pmi: first.map(|step| step.launcher.pmi.to_string()),
        options: first
            .map(|step| step.launcher.options.clone())
            .unwrap_or_default(),
        binding: launches.iter().find_map(|launch| launch.binding.clone()),
        environment: first
            .map(|step| step.environment.variables.iter().cloned().collect())
            .unwrap_or_default(),
    }
}

fn slurm(run: &Run, version: Option<String>) -> Option<Slurm> {
    let settings = &run.request.site.scheduler;
    let steps = run.request.plan.steps.iter();
    let constraints: BTreeSet<&String> = steps
        .filter_map(|step| step.resources.constraint.as_ref())
        .collect();
    let constraints: Vec<&str> = constraints.into_iter().map(String::as_str).collect();
    (run.request.place != Place::Here).then(|| Slurm {
        cluster: run.request.site.cluster.clone(),
        partition: settings.partition.clone(),
        account: settings.account.clone(),
        qos: settings.qos.clone(),
        version: version.and_then(|line| Some(line.rsplit(' ').next()?.to_owned())),
        constraint: (!constraints.is_empty()).then(|| constraints.join("; ")),
    })
}
