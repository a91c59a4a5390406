//! Steps → the jobs that they are submitted as: one each, arrays of alike steps, or many packed into one allocation.
//!
//! A pack is sized by what its steps are expected to take: enough nodes for the widest, more where the work asks for it, and
//! time for the last of them to start and still have all of its own. What does not fit then is packed again.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::{Memory, Resources, Step, StepKind, Strategy};

/// Starting a step takes about this long.
const START: Duration = Duration::from_secs(1);
/// Steps take longer than last time now and then, and seldom fill their nodes to the last core.
const SLACK: f64 = 1.25;
/// A pack is given more nodes if its steps would wait in it for longer than this.
const PATIENCE: Duration = Duration::from_mins(5);

/// What is known of the place that jobs go to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Grounds {
    /// The cores of a node.
    pub cores: Option<u32>,
    /// The memory of a node, in bytes.
    pub memory: Option<u64>,
    /// The most nodes that a job can have.
    pub nodes: Option<u32>,
    /// The longest time that a job can have.
    pub time: Option<Duration>,
}

/// What grouping depends on beside the steps.
pub struct Context<'a> {
    /// What is known of a partition; `None` is the one of jobs that name none.
    pub grounds: &'a dyn Fn(Option<&str>) -> Grounds,
    /// How long a step took of late, where that is known.
    pub elapsed: &'a dyn Fn(&Step) -> Option<Duration>,
    /// The most tasks of an array.
    pub max_array: u32,
}

/// Steps that become one job, as indices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Group {
    /// A job for one step.
    Job(usize),
    /// A task of one array for each of these alike steps.
    Array(Vec<usize>),
    /// One allocation for many.
    Pack(Pack),
}

/// Many steps in one allocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pack {
    /// The steps, longest first.
    pub steps: Vec<usize>,
    /// Its nodes.
    pub nodes: u32,
    /// Its cores on each node.
    pub cores: u32,
    /// Its memory on each node, where a step says how much it needs.
    pub memory: Option<u64>,
    /// Its GPUs on each node.
    pub gpus: Option<u32>,
    /// Its time.
    pub time: Duration,
}

/// What a step takes of each of its nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footprint {
    /// Its nodes.
    pub nodes: u32,
    /// Its cores on each.
    pub cores: u32,
    /// Its memory on each, in bytes; 0 where it does not say.
    pub memory: u64,
    /// Its GPUs on each.
    pub gpus: u32,
    /// Whether nothing else may run on them.
    pub alone: bool,
}

impl Group {
    /// Returns its steps.
    #[must_use]
    pub fn steps(&self) -> &[usize] {
        match self {
            Self::Job(step) => std::slice::from_ref(step),
            Self::Array(steps) => steps,
            Self::Pack(pack) => &pack.steps,
        }
    }

    /// Returns the node-hours that it asks for; `all` are the steps of the plan.
    #[must_use]
    pub fn node_hours(&self, all: &[Step]) -> f64 {
        match self {
            Self::Pack(pack) => f64::from(pack.nodes) * pack.time.as_secs_f64() / 3600.0,
            Self::Job(_) | Self::Array(_) => self
                .steps()
                .iter()
                .map(|&step| all[step].node_hours())
                .sum(),
        }
    }
}

impl Step {
    /// Returns what the step takes of nodes that have this many cores. A benchmark that shared its nodes would measure its
    /// neighbours.
    #[must_use]
    pub fn footprint(&self, cores_of_node: u32) -> Footprint {
        let resources = &self.resources;
        let cpus = resources.cpus_per_rank.unwrap_or(1).max(1);
        let most = (cores_of_node / cpus).max(1);
        let nodes = resources
            .nodes
            .or_else(|| Some(resources.ranks.div_ceil(resources.ranks_per_node?.max(1))))
            .unwrap_or_else(|| resources.ranks.div_ceil(most))
            .max(1);
        let ranks = resources
            .ranks_per_node
            .unwrap_or_else(|| resources.ranks.div_ceil(nodes));
        let cores = ranks.saturating_mul(cpus);
        let by_core = resources.memory_per_cpu.map_or(0, Memory::bytes);
        Footprint {
            nodes,
            cores,
            memory: resources
                .memory
                .map_or_else(|| by_core.saturating_mul(u64::from(cores)), Memory::bytes),
            gpus: resources.gpus_per_rank.unwrap_or(0).saturating_mul(ranks),
            alone: resources.exclusive
                || resources.gres.is_some()
                || matches!(self.kind, StepKind::Benchmark(_)),
        }
    }
}

/// Returns the jobs that these steps become, each by the strategy that `of` says.
pub fn group(
    all: &[Step],
    ready: &[usize],
    of: impl Fn(&Step) -> Strategy,
    context: &Context<'_>,
) -> Vec<Group> {
    let mut groups = Vec::new();
    let mut arrays: Vec<Vec<usize>> = Vec::new();
    let mut by_resources: HashMap<&Resources, usize> = HashMap::new();
    let mut packs: BTreeMap<PackKey<'_>, Vec<usize>> = BTreeMap::new();
    for &index in ready {
        let step = &all[index];
        match of(step) {
            Strategy::Jobs => groups.push(Group::Job(index)),
            Strategy::Array => {
                let at = *by_resources.entry(&step.resources).or_insert(arrays.len());
                if at == arrays.len() {
                    arrays.push(Vec::new());
                }
                arrays[at].push(index);
            }
            Strategy::Packed => packs.entry(pack_key(step)).or_default().push(index),
        }
    }
    let most = usize::try_from(context.max_array.max(1)).unwrap_or(usize::MAX);
    for tasks in arrays.iter().flat_map(|steps| steps.chunks(most)) {
        groups.push(alone_or(tasks, || Group::Array(tasks.to_vec())));
    }
    for steps in packs.into_values() {
        for part in split(all, &steps, context) {
            groups.push(alone_or(&part, || Group::Pack(pack(all, &part, context))));
        }
    }
    groups
}

/// A group of one is a job like any other.
fn alone_or(steps: &[usize], group: impl FnOnce() -> Group) -> Group {
    match steps {
        [only] => Group::Job(*only),
        _ => group(),
    }
}

/// Steps that may share an allocation agree in all of this.
type PackKey<'a> = (
    Option<&'a str>,
    Option<&'a str>,
    Option<&'a str>,
    Option<&'a str>,
    Option<&'a str>,
    Option<&'a str>,
    &'a [String],
    Duration,
);

fn pack_key(step: &Step) -> PackKey<'_> {
    let it = &step.resources;
    (
        it.partition.as_deref(),
        it.account.as_deref(),
        it.qos.as_deref(),
        it.reservation.as_deref(),
        it.constraint.as_deref(),
        it.gres.as_deref(),
        &it.options,
        // Who may wait for less time must not take the others out of the queue with it.
        it.max_pending,
    )
}

/// Where two steps can be packed together.
#[must_use]
pub fn packs_with(one: &Step, other: &Step) -> bool {
    one.strategy == Strategy::Packed
        && other.strategy == Strategy::Packed
        && pack_key(one) == pack_key(other)
}

/// What the steps of a pack come to.
struct Work {
    nodes: u32,
    cores: u32,
    memory: u64,
    gpus: u32,
    /// The longest time of one step, with what its job asks for beyond.
    longest: Duration,
    /// The earliest that the last of them can start, by needs and serial groups.
    chain: Duration,
    /// Cores × seconds, over all nodes.
    core_seconds: f64,
    /// Of which this much is known from earlier runs.
    known: f64,
    /// The widest use of cores, if all started at once.
    all_cores: u64,
}

fn work(all: &[Step], steps: &[usize], cores_of_node: u32, context: &Context<'_>) -> Work {
    let mut work = Work {
        nodes: 1,
        cores: 1,
        memory: 0,
        gpus: 0,
        longest: Duration::ZERO,
        chain: Duration::ZERO,
        core_seconds: 0.0,
        known: 0.0,
        all_cores: 0,
    };
    let mut ends: HashMap<&str, Duration> = HashMap::new();
    let mut serial: HashMap<&str, Duration> = HashMap::new();
    for step in steps.iter().map(|&index| &all[index]) {
        let print = step.footprint(cores_of_node);
        let known = (context.elapsed)(step);
        let takes = known
            .unwrap_or(step.resources.time)
            .min(step.resources.time)
            + START;
        work.nodes = work.nodes.max(print.nodes);
        work.cores = work.cores.max(print.cores);
        work.memory = work.memory.max(print.memory);
        work.gpus = work.gpus.max(print.gpus);
        work.longest = work
            .longest
            .max(step.resources.time + step.resources.margin);
        let needs = step.needs.iter().filter_map(|need| ends.get(need.as_str()));
        let mut start = needs.max().copied().unwrap_or_default();
        if let Some(group) = step.serial.as_deref() {
            let free = serial.entry(group).or_default();
            start = start.max(*free);
            *free = start + takes;
        }
        work.chain = work.chain.max(start);
        ends.insert(&step.name, start + takes);
        let cores = if print.alone {
            cores_of_node
        } else {
            print.cores
        };
        let cores = u64::from(cores) * u64::from(print.nodes);
        work.all_cores += cores;
        let core_seconds = cores as f64 * takes.as_secs_f64();
        work.core_seconds += core_seconds;
        work.known += known.map_or(0.0, |_| core_seconds);
    }
    work
}

/// How long steps wait for cores within a pack, at most: when the last of them starts, all cores are busy.
fn waits(core_seconds: f64, nodes: u32, cores: u32) -> Duration {
    let cores = f64::from(nodes.max(1)) * f64::from(cores.max(1));
    let seconds = SLACK * core_seconds / cores;
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

/// Splits what is known to take longer than a job may. Steps that wait for one another stay together.
fn split(all: &[Step], steps: &[usize], context: &Context<'_>) -> Vec<Vec<usize>> {
    let whole = || vec![steps.to_vec()];
    let free = |&index: &usize| all[index].needs.is_empty() && all[index].serial.is_none();
    let Some(first) = steps.first().map(|&first| &all[first]) else {
        return Vec::new();
    };
    let grounds = (context.grounds)(first.resources.partition.as_deref());
    let (Some(limit), Some(cores), true) = (grounds.time, grounds.cores, steps.iter().all(free))
    else {
        return whole();
    };
    let work = work(all, steps, cores, context);
    let nodes = most_nodes(first, &work, grounds);
    let room = limit.saturating_sub(work.longest).as_secs_f64().max(60.0);
    let parts = waits(work.known, nodes, cores).as_secs_f64() / room;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to the number of steps"
    )]
    let parts = (parts.ceil().clamp(1.0, steps.len() as f64)) as usize;
    (0..parts)
        .map(|part| steps.iter().copied().skip(part).step_by(parts).collect())
        .collect()
}

fn most_nodes(first: &Step, work: &Work, grounds: Grounds) -> u32 {
    let limits = [first.resources.max_nodes, grounds.nodes];
    let most = limits.into_iter().flatten().min();
    most.unwrap_or(work.nodes).max(work.nodes)
}

fn pack(all: &[Step], steps: &[usize], context: &Context<'_>) -> Pack {
    let first = &all[steps[0]];
    let grounds = (context.grounds)(first.resources.partition.as_deref());
    // Of unknown nodes the widest step takes all.
    let widest = || {
        let cores = steps
            .iter()
            .map(|&index| all[index].footprint(u32::MAX).cores);
        cores.max().unwrap_or(1)
    };
    let cores_of_node = grounds.cores.unwrap_or_else(widest).max(1);
    let work = work(all, steps, cores_of_node, context);
    let most = most_nodes(first, &work, grounds);
    let useful = work.all_cores.div_ceil(u64::from(cores_of_node));
    let most = most
        .min(u32::try_from(useful).unwrap_or(u32::MAX))
        .max(work.nodes);
    let nodes = (work.nodes..=most)
        .find(|&nodes| waits(work.core_seconds, nodes, cores_of_node) <= PATIENCE)
        .unwrap_or(most);
    let each = work.all_cores.div_ceil(u64::from(nodes));
    let alone = steps
        .iter()
        .any(|&index| all[index].footprint(cores_of_node).alone);
    let cores = if alone {
        cores_of_node
    } else {
        u32::try_from(each)
            .unwrap_or(u32::MAX)
            .clamp(work.cores.min(cores_of_node), cores_of_node)
            .max(work.cores)
    };
    let time = waits(work.core_seconds, nodes, cores)
        .saturating_add(work.chain)
        .saturating_add(work.longest);
    let time = grounds.time.map_or(time, |limit| time.min(limit));
    let mut longest_first = steps.to_vec();
    longest_first.sort_by_key(|&index| {
        let step = &all[index];
        std::cmp::Reverse((context.elapsed)(step).unwrap_or(step.resources.time))
    });
    Pack {
        steps: longest_first,
        nodes,
        cores,
        memory: (work.memory > 0).then(|| grounds.memory.unwrap_or(0).max(work.memory)),
        gpus: (work.gpus > 0).then_some(work.gpus),
        time: time.max(work.longest),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::config::{Context as Files, File, Site, Suite};
    use crate::plan::{Revision, Selection, plan};

    fn steps(text: &str) -> Vec<Step> {
        let variables = BTreeMap::new();
        let context = Files {
            environment: &variables,
            home: Some("/home/u"),
            cluster: None,
        };
        let file = File {
            name: "hpc.toml",
            text,
        };
        let site = Site::read(None, Some(file), &[], &context).unwrap();
        let suite = Suite::read(file, &site, &context).unwrap();
        let plan = plan(&site, &suite, &Revision::default(), &Selection::default());
        plan.unwrap().steps
    }

    fn shown(steps: &[Step], elapsed: Option<u64>, limit: Option<u64>) -> Vec<String> {
        let ready: Vec<usize> = (0..steps.len()).collect();
        let grounds = |_: Option<&str>| Grounds {
            cores: Some(4),
            memory: Some(2 << 30),
            nodes: Some(3),
            time: limit.map(Duration::from_mins),
        };
        let context = Context {
            grounds: &grounds,
            elapsed: &|_| elapsed.map(Duration::from_secs),
            max_array: 3,
        };
        let groups = group(steps, &ready, |step| step.strategy, &context);
        let shown = groups.iter().map(|group| match group {
            Group::Job(step) => format!("job {step}"),
            Group::Array(steps) => format!("array {steps:?}"),
            Group::Pack(pack) => format!(
                "pack {:?} on {} nodes of {} cores for {} s{}{}",
                pack.steps,
                pack.nodes,
                pack.cores,
                pack.time.as_secs(),
                pack.memory
                    .map_or(String::new(), |it| format!(", {it} bytes")),
                pack.gpus.map_or(String::new(), |it| format!(", {it} gpus")),
            ),
        });
        shown.collect()
    }

    fn many(strategy: &str, more: &str) -> Vec<Step> {
        steps(&format!(
            "[scheduler]\nstrategy = \"{strategy}\"\n[[test]]\nname = \"a\"\ncommand = \"true\"\ntime = \"2m\"\n{more}"
        ))
    }

    #[test]
    fn alike_steps_share_arrays_up_to_the_largest() {
        let four = "matrix = { size = [1, 2, 3, 4] }\n";
        let other = "[[test]]\nname = \"b\"\ncommand = \"true\"\nranks = 2\n";
        let found = shown(&many("array", &format!("{four}{other}")), None, None);
        assert_eq!(found, ["array [0, 1, 2]", "job 3", "job 4"]);
        let found = shown(&many("jobs", "matrix = { size = [1, 2] }\n"), None, None);
        assert_eq!(found, ["job 0", "job 1"]);
    }

    #[test]
    fn a_pack_has_nodes_and_time_for_its_steps() {
        let check = |more: &str, elapsed, limit, expected: &[&str]| {
            assert_eq!(shown(&many("packed", more), elapsed, limit), expected);
        };
        check("", None, None, &["job 0"]);
        // Two steps of a core wait for nothing, and the pack ends when they do.
        let two = "matrix = { size = [1, 2] }\n";
        check(
            two,
            None,
            None,
            &["pack [0, 1] on 1 nodes of 2 cores for 391 s"],
        );
        // Who has waited for long enough takes no others out of the queue.
        let impatient = "matrix = { size = [1, 2] }\n[[test]]\nname = \"b\"\ncommand = \"true\"\nmax_pending = \"5s\"\n";
        check(
            impatient,
            None,
            None,
            &["job 2", "pack [0, 1] on 1 nodes of 2 cores for 391 s"],
        );
        // The widest step decides on the nodes, a benchmark takes whole ones.
        let wide = "nodes = 2\nmatrix = { ranks = [8, 2] }\n";
        check(
            wide,
            Some(9),
            None,
            &["pack [0, 1] on 2 nodes of 4 cores for 255 s"],
        );
        let bench = "matrix = { ranks = [1, 2] }\n[[benchmark]]\nname = \"b\"\ncommand = \"true\"\nvalid = \"x\"\nmetric = { pattern = '(1)', unit = \"s\", better = \"lower\" }\n";
        check(
            bench,
            Some(9),
            None,
            &["pack [0, 1, 2] on 1 nodes of 4 cores for 741 s"],
        );
        let memory = "memory = \"512MiB\"\nmatrix = { size = [1, 2] }\n";
        check(
            memory,
            Some(9),
            None,
            &["pack [0, 1] on 1 nodes of 2 cores for 252 s, 2147483648 bytes"],
        );
        // Steps that wait for one another get the time for it.
        let chain = "serial = \"disk\"\nmatrix = { size = [1, 2, 3] }\n";
        check(
            chain,
            Some(9),
            None,
            &["pack [0, 1, 2] on 1 nodes of 3 cores for 272 s"],
        );
    }

    #[test]
    fn a_pack_keeps_to_the_longest_time_of_a_job() {
        let sizes: Vec<String> = (0..400).map(|size| size.to_string()).collect();
        let text = format!("matrix = {{ size = [{}] }}\n", sizes.join(", "));
        let steps = many("packed", &text);
        let ends = |shown: Vec<String>| -> Vec<String> {
            let end = |text: String| text.split_once("] ").unwrap().1.to_owned();
            shown.into_iter().map(end).collect()
        };
        // By their limits they would take hours: what is not started in time is packed again.
        assert_eq!(
            ends(shown(&steps, None, Some(30))),
            ["on 3 nodes of 4 cores for 1800 s"]
        );
        // What is known to be short waits once.
        assert_eq!(
            ends(shown(&steps, Some(1), Some(30))),
            ["on 1 nodes of 4 cores for 490 s"]
        );
        // What is known to be long is split.
        let long = ends(shown(&steps, Some(119), Some(30)));
        assert_eq!(long.len(), 4);
        assert!(
            long.iter()
                .all(|one| one.starts_with("on 3 nodes of 4 cores for 1")),
            "{long:?}"
        );
    }
}
