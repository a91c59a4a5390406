//! What the nodes told of themselves: `facts.sh` left it in the folder of the run, and in that of each benchmark.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Run;
use super::collect::{self, Host};
use super::live::Attempt;
use crate::foreign;
use crate::plan::{Step, StepKind};
use crate::results::record::{
    Binding, Conditions, Health, NodeConditions, NodeInfo, StepLaunch, ranges,
};

/// Attempts by step and number.
type Attempts = BTreeMap<(usize, u32), Attempt>;

/// What the nodes of a run told of themselves.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    by_host: BTreeMap<String, NodeInfo>,
    /// The sha256 of shared libraries, by host and path.
    libraries: BTreeMap<String, BTreeMap<String, String>>,
}

/// What a node tells at the beginning or the end of a benchmark.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Moment {
    governor: Option<String>,
    turbo: Option<bool>,
    load: Option<f64>,
    throttle_events: Option<u64>,
    ecc_errors: Option<u64>,
    other_jobs: Option<u64>,
}

impl Nodes {
    /// Reads what is there.
    pub(super) fn read(run: &Run) -> Self {
        let folder = run.folder.nodes();
        let mut nodes = Self::default();
        for host in foreign::names(&folder) {
            let told = folder.join(&host);
            if let Some(info) = read(&told.join("node.json")) {
                nodes.by_host.insert(host.clone(), info);
            }
            let hashes = foreign::read(told.join("libraries"), foreign::RECORD).unwrap_or_default();
            nodes
                .libraries
                .insert(host, sums(&String::from_utf8_lossy(&hashes)));
        }
        nodes
    }

    /// Returns the libraries that the program of an attempt loads, by their names, with the sha256 of each.
    pub(super) fn libraries<'a>(
        &'a self,
        host: &'a Host,
    ) -> impl Iterator<Item = (String, &'a String)> {
        let known = host.name.as_ref().and_then(|name| self.libraries.get(name));
        host.libraries().filter_map(move |path| {
            let name = path.rsplit('/').next()?;
            Some((name.to_owned(), known?.get(path)?))
        })
    }

    /// Returns what is known of a node, by its name or its host's.
    pub(super) fn of(&self, name: &str) -> NodeInfo {
        let info = self.by_host.iter().find(|(host, _)| is_node(host, name));
        NodeInfo {
            name: name.to_owned(),
            ..info.map(|(_, info)| info.clone()).unwrap_or_default()
        }
    }

    /// Returns the processors of some nodes, each once.
    pub(super) fn processors<'a>(
        &self,
        names: impl IntoIterator<Item = &'a String>,
    ) -> Option<String> {
        let all = names.into_iter().map(|name| self.of(name).processor);
        let all = all.collect::<Option<BTreeSet<String>>>()?;
        (!all.is_empty()).then(|| all.into_iter().collect::<Vec<_>>().join(" + "))
    }

    /// Returns every node that did work, with the worst that benchmarks saw there.
    pub(super) fn all<'a>(
        &self,
        attempts: &Attempts,
        conditions: impl Iterator<Item = &'a Conditions>,
    ) -> Vec<NodeInfo> {
        let names = attempts.values().flat_map(|attempt| &attempt.end.nodes);
        let mut all: BTreeMap<&String, NodeInfo> =
            names.map(|name| (name, self.of(name))).collect();
        for seen in conditions.flat_map(|conditions| &conditions.nodes) {
            let tells =
                seen.other_jobs.is_some() || seen.throttled.is_some() || seen.ecc_errors.is_some();
            let Some(node) = all.get_mut(&seen.node).filter(|_| tells) else {
                continue;
            };
            let health = node.health.get_or_insert_with(Health::default);
            health.other_jobs = health.other_jobs.max(seen.other_jobs);
            health.throttled = health.throttled.max(seen.throttled);
            health.ecc_errors = health.ecc_errors.max(seen.ecc_errors);
        }
        all.into_values().collect()
    }
}

/// Reads what sha256sum wrote: by path, without what is no sum.
fn sums(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().filter_map(|line| line.split_once("  "));
    lines
        .filter(|(sum, _)| sum.len() == 64 && sum.bytes().all(|b| b.is_ascii_hexdigit()))
        .map(|(sum, path)| (path.to_owned(), sum.to_owned()))
        .collect()
}

/// Slurm's name of a node is its host's without the domain, unless the site says otherwise.
fn is_node(host: &str, name: &str) -> bool {
    host == name || host.split('.').next() == Some(name)
}

fn read<T: DeserializeOwned>(file: &Path) -> Option<T> {
    let bytes = foreign::read(file, foreign::RECORD).ok()?;
    serde_json::from_str(&String::from_utf8_lossy(&bytes))
        .inspect_err(
            |error| tracing::warn!(file = %file.display(), %error, "unreadable facts of a node"),
        )
        .ok()
}

/// Returns under which conditions an attempt of a benchmark was measured.
pub(super) fn conditions(
    step: &Step,
    folder: &Path,
    attempt: &Attempt,
    program_sha256: Option<String>,
) -> Option<Conditions> {
    if !matches!(step.kind, StepKind::Benchmark(_)) {
        return None;
    }
    let start = collect::last_start(folder);
    let told = start.join("nodes");
    let hosts = foreign::names(&told);
    let nodes = attempt.end.nodes.iter().map(|name| {
        let host = hosts.iter().find(|host| is_node(host, name));
        let moment = |file: &str| read(&told.join(host?).join(file));
        let (begin, end) = (moment("begin.json"), moment("end.json"));
        seen(name, begin.as_ref(), end.as_ref())
    });
    Some(Conditions {
        exclusive: step.resources.exclusive,
        nodes: nodes.collect(),
        binding: binding(&collect::rank_notes(&start)),
        program_sha256,
    })
}

fn seen(name: &str, begin: Option<&Moment>, end: Option<&Moment>) -> NodeConditions {
    let throttled = begin
        .and_then(|begin| begin.throttle_events)
        .zip(end.and_then(|end| end.throttle_events));
    let worst = |of: &dyn Fn(&Moment) -> Option<u64>| begin.and_then(of).max(end.and_then(of));
    let others = worst(&|moment| moment.other_jobs);
    NodeConditions {
        node: name.to_owned(),
        other_jobs: others.map(|jobs| u32::try_from(jobs).unwrap_or(u32::MAX)),
        load: begin.and_then(|begin| begin.load),
        governor: begin.and_then(|begin| begin.governor.clone()),
        turbo: begin.and_then(|begin| begin.turbo),
        throttled: throttled.map(|(begin, end)| end > begin),
        ecc_errors: worst(&|moment| moment.ecc_errors),
    }
}

/// Every launch leaves a note of each rank; the last one's stands.
fn binding(notes: &[collect::RankNote]) -> Vec<Binding> {
    let mut last = BTreeMap::new();
    for note in notes {
        let (Some(rank), Some(cpus)) = (note.rank, &note.cpus) else {
            continue;
        };
        let newest = last.entry(rank).or_insert((note.started, cpus));
        if note.started > newest.0 {
            *newest = (note.started, cpus);
        }
    }
    let mut ranks_of = BTreeMap::<&String, Vec<u64>>::new();
    for (rank, (_, cpus)) in last {
        ranks_of.entry(cpus).or_default().push(u64::from(rank));
    }
    let mut all: Vec<_> = ranks_of.into_iter().collect();
    all.sort_by(|a, b| a.1.cmp(&b.1));
    let all = all.into_iter().map(|(cpus, ranks)| Binding {
        cpus: cpus.clone(),
        ranks: ranges(&ranks),
    });
    all.collect()
}

/// Returns what of a benchmark's conditions its reader should be warned of.
pub(super) fn warnings(conditions: &Conditions) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut some = |nodes: Vec<&str>, what: &dyn Fn(&str) -> String| {
        let more = match nodes.len() {
            0 => return,
            1 => String::new(),
            all => format!(" and {} more", all - 1),
        };
        warnings.push(format!("{}{more}", what(nodes[0])));
    };
    let nodes = |wanted: &dyn Fn(&NodeConditions) -> bool| {
        let found = conditions.nodes.iter().filter(|node| wanted(node));
        found.map(|node| node.node.as_str()).collect::<Vec<_>>()
    };
    some(
        nodes(&|node| node.other_jobs.is_some_and(|jobs| jobs > 0)),
        &|node| format!("other jobs ran on {node}"),
    );
    some(
        nodes(&|node| node.governor.as_ref().is_some_and(|it| it != "performance")),
        &|node| format!("a frequency governor other than `performance` is set on {node}"),
    );
    some(nodes(&|node| node.throttled == Some(true)), &|node| {
        format!("cores were throttled for heat on {node}")
    });
    warnings
}

/// Returns how the steps of a run were started, those alike together.
pub(super) fn launches(run: &Run, attempts: &Attempts) -> Vec<StepLaunch> {
    let mut all = Vec::<StepLaunch>::new();
    for ((index, _), attempt) in attempts {
        let Some(host) = &attempt.host else { continue };
        let step = &run.request.plan.steps[*index];
        let command = host.launch.clone().filter(|line| !line.is_empty());
        let launch = StepLaunch {
            steps: Vec::new(),
            binding: command.as_deref().and_then(bound),
            command,
            ranks: step.resources.ranks,
            node_count: u32::try_from(attempt.end.nodes.len()).unwrap_or(u32::MAX),
            ranks_per_node: step.resources.ranks_per_node,
            cpus_per_rank: step.resources.cpus_per_rank,
            mpi: host.mpi.clone().filter(|name| !name.is_empty()),
            library: host.library.clone().filter(|path| !path.is_empty()),
            modules: host.modules(),
            environment: host.environment.clone(),
        };
        let alike = |known: &StepLaunch| {
            let steps = launch.steps.clone();
            StepLaunch {
                steps,
                ..known.clone()
            } == launch
        };
        let at = all.iter().position(alike).unwrap_or_else(|| {
            all.push(launch.clone());
            all.len() - 1
        });
        let group = &mut all[at];
        if !group.steps.contains(&step.name) {
            group.steps.push(step.name.clone());
        }
    }
    all
}

/// Returns the words of a launcher that say how ranks are bound.
fn bound(line: &str) -> Option<String> {
    let words = shell_words::split(line).ok()?;
    let at = words.iter().position(|word| {
        ["--cpu-bind", "--bind-to", "-bind-to"]
            .iter()
            .any(|option| word.starts_with(option))
    })?;
    let alone = !words[at].contains('=');
    let value = words.get(at + 1).filter(|_| alone);
    Some(
        std::iter::once(&words[at])
            .chain(value)
            .cloned()
            .collect::<Vec<_>>()
            .join(" "),
    )
}
