//! From a step of the plan to what the scheduler is asked for and what runs on the nodes. Decides; touches nothing.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::disk::Disk;
use super::folder::{RunFolder, ended_name};
use super::place;
use crate::build::environment::{self, Setup};
use crate::config::{self, CommandLine, Environment, LauncherKind, Memory};
use crate::launch::{
    Cwd, Facts, Job, Keep, Keeping, Kind, Launch, Place, Pmi, Program, Reports, Scratch,
};
use crate::plan::group::Pack;
use crate::plan::{Producer, Resources, Step, StepKind};
use crate::results::reports::Limits;
use crate::scheduler::admission::Host;
use crate::scheduler::{Array, JobRequest};

/// Seconds that adding up, and that copying what is kept, may take at least, however small the margin is.
const SHORTEST_REDUCTION: u64 = 10;

/// What all attempts of a run have in common.
#[derive(Debug, Clone)]
pub struct Common {
    /// The project's name.
    pub project: String,
    /// The commit.
    pub commit: String,
    /// Where steps run.
    pub place: Place,
    /// The variables that identify the allocation, where steps run inside one.
    pub allocation: Vec<(String, String)>,
    /// The nodes that steps share, where they are not jobs of their own.
    pub hosts: Vec<Host>,
    /// How much of what steps write is read.
    pub limits: Limits,
}

/// One attempt of one step: its script, its wrapper and the job that runs it.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// The job script.
    pub script: String,
    /// The per-rank wrapper.
    pub wrapper: String,
    /// The script of each node, if ranks write profiles to its disk.
    pub node: Option<String>,
    /// What the scheduler is asked for.
    pub request: JobRequest,
}

/// What a step takes from its build.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Made {
    /// The work tree.
    pub tree: PathBuf,
    /// What the instrumentation sets.
    pub variables: Vec<(String, String)>,
    /// How the counters of ranks that die are kept.
    pub keeping: Keeping,
    /// The disks of the nodes, if ranks write profiles there.
    pub disk: Option<Disk>,
}

/// Returns how much of what steps write is read.
#[must_use]
pub fn limits(limits: &config::Limits) -> Limits {
    Limits {
        bytes: limits.max_log.bytes(),
        tests: usize::try_from(limits.max_report_tests).unwrap_or(usize::MAX),
    }
}

/// Returns all that an attempt needs; `on` are the nodes of the allocation that it is to have, where that is decided.
#[must_use]
pub fn attempt(
    common: &Common,
    folder: &RunFolder,
    step: &Step,
    number: u32,
    made: &Made,
    on: &[String],
) -> Attempt {
    let tree = &made.tree;
    let dir = folder.attempt(&step.slug, number);
    let launch = launch(step, common, on);
    let keeping = match step.coverage {
        Producer::Llvm => &made.keeping,
        _ => &Keeping::Nothing,
    };
    let (repetitions, warmup) = match &step.kind {
        StepKind::Test => (1, 0),
        StepKind::Benchmark(benchmark) => (benchmark.repetitions, benchmark.warmup),
    };
    let job = Job {
        step: step.name.clone(),
        dir: text(&dir),
        ended: text(&folder.ended().join(ended_name(&step.slug, number))),
        tree: text(tree),
        cwd: match &step.cwd {
            config::Cwd::Tree => Cwd::Tree,
            config::Cwd::Private => Cwd::Private,
            config::Cwd::Path(path) => Cwd::Path(path.clone()),
        },
        environment: environment::functions(&setup(&step.environment)),
        variables: step_variables(common, step, number, &made.variables),
        keeping: keeping.clone(),
        world: world(folder, &launch),
        launchers: text(&folder.launchers()),
        program: program(&step.command),
        before: step.before.iter().map(program).collect(),
        after: step.after.iter().map(program).collect(),
        launch: launch.clone(),
        place: common.place,
        allocation: common.allocation.clone(),
        time: step.resources.time.as_secs(),
        repetitions,
        warmup,
        reports: step
            .results
            .as_ref()
            .and_then(|results| results.path.as_ref())
            .map(|path| Reports {
                pattern: path.replace("{rank}", "*"),
                most_bytes: common.limits.bytes,
            }),
        scratch: scratch(made, folder, step, number),
        facts: Facts {
            script: text(&folder.facts()),
            nodes: text(&folder.nodes()),
            measures: matches!(step.kind, StepKind::Benchmark(_)),
        },
        keep: keep(folder, step),
    };
    Attempt {
        script: crate::launch::job_script(&job),
        wrapper: crate::launch::wrapper(
            launch.kind,
            launch.ranks,
            keeping,
            &job.facts,
            job.world.as_deref(),
        ),
        node: job.scratch.as_ref().map(crate::launch::node_script),
        request: request(common, folder, step, number, tree),
    }
}

/// The library that notes which world MPI gave a rank, where there are several to tell. The loader takes a path with a blank or a colon
/// for several; then nothing is noted.
fn world(folder: &RunFolder, launch: &Launch) -> Option<String> {
    let path = text(&folder.world());
    let several = launch.ranks > 1 || launch.kind == Kind::None;
    (several && !path.contains([' ', ':', '\t'])).then_some(path)
}

fn keep(folder: &RunFolder, step: &Step) -> Option<Keep> {
    (!step.keep.is_empty()).then(|| Keep {
        helper: text(&folder.program()),
        patterns: step.keep.clone(),
        bytes: step.keep_bounds.bytes,
        files: step.keep_bounds.files,
        // Adding profiles up comes first, and may take half of the margin.
        time: (step.resources.margin.as_secs() / 3).max(SHORTEST_REDUCTION),
    })
}

/// What stands between wrapper and program may show it another root, in which the node's disk is not to be seen.
fn scratch(made: &Made, folder: &RunFolder, step: &Step, number: u32) -> Option<Scratch> {
    let visible = step.coverage == Producer::Llvm && step.launcher.wrap.is_empty();
    let disk = made.disk.as_ref().filter(|_| visible)?;
    Some(Scratch {
        base: disk.base.clone(),
        name: format!("hpc-ci.{}.{}.{number}", folder.id(), step.slug),
        helper: text(&folder.program()),
        index: text(&folder.objects()),
        build: step.build.clone(),
        profile_bytes: disk.profile_bytes,
        ranks: step.resources.ranks,
        time: (step.resources.margin.as_secs() / 2).max(SHORTEST_REDUCTION),
    })
}

/// Returns the environment of a build or step in the words of the room that sets it up.
#[must_use]
pub fn setup(environment: &Environment) -> Setup {
    Setup {
        init: environment.init.clone(),
        uses: environment.uses.clone(),
        modules: environment.modules.clone(),
        setup: environment.setup.clone(),
        variables: environment.variables.clone(),
    }
}

/// Returns a command in the words of the room that launches it.
#[must_use]
pub fn program(command: &CommandLine) -> Program {
    match command {
        CommandLine::Shell(line) => Program::Shell(line.clone()),
        CommandLine::Argv(words) => Program::Argv(words.clone()),
    }
}

fn request(
    common: &Common,
    folder: &RunFolder,
    step: &Step,
    number: u32,
    tree: &Path,
) -> JobRequest {
    let dir = folder.attempt(&step.slug, number);
    let resources = &step.resources;
    JobRequest {
        name: job_name(&common.project, step, folder.id(), number),
        comment: Some(format!("hpc-ci run {} attempt {number}", folder.id())),
        script: text(&dir.join("job.sh")).into(),
        output: text(&dir.join("log.txt")).into(),
        cwd: text(tree).into(),
        partition: resources.partition.clone(),
        account: resources.account.clone(),
        qos: resources.qos.clone(),
        reservation: resources.reservation.clone(),
        constraint: resources.constraint.clone(),
        time: resources.time + resources.margin,
        nodes: resources.nodes,
        ranks: resources.ranks,
        ranks_per_node: resources.ranks_per_node,
        cpus_per_rank: resources.cpus_per_rank,
        gpus_per_rank: resources.gpus_per_rank,
        gpus_per_node: None,
        gres: resources.gres.clone(),
        memory: resources.memory.map(Memory::bytes),
        memory_per_cpu: resources.memory_per_cpu.map(Memory::bytes),
        exclusive: resources.exclusive,
        requeue: false,
        dependency: None,
        exclude: Vec::new(),
        array: None,
        options: options(resources),
    }
}

/// Returns the request of an array of steps that all ask for the same as this one.
#[must_use]
pub fn array(
    common: &Common,
    folder: &RunFolder,
    batch: u32,
    alike: JobRequest,
    tasks: usize,
    at_once: u32,
) -> JobRequest {
    let dir = folder.batch(batch);
    JobRequest {
        name: batch_name(common, folder, batch, &format!("array of {tasks} steps")),
        comment: Some(format!("hpc-ci run {} batch {batch}", folder.id())),
        script: text(&dir.join("job.sh")).into(),
        output: text(&dir).into(),
        cwd: text(folder.root()).into(),
        array: Some(Array {
            tasks: u32::try_from(tasks).unwrap_or(u32::MAX),
            at_once,
        }),
        ..alike
    }
}

/// Returns the request of an allocation for the steps of a pack, of which `first` is one.
#[must_use]
pub fn pack(
    common: &Common,
    folder: &RunFolder,
    batch: u32,
    pack: &Pack,
    first: &Step,
) -> JobRequest {
    let dir = folder.batch(batch);
    let resources = &first.resources;
    JobRequest {
        name: batch_name(
            common,
            folder,
            batch,
            &format!("pack of {} steps", pack.steps.len()),
        ),
        comment: Some(format!("hpc-ci run {} batch {batch}", folder.id())),
        script: text(&dir.join("job.sh")).into(),
        output: text(&dir.join("log.txt")).into(),
        cwd: text(folder.root()).into(),
        partition: resources.partition.clone(),
        account: resources.account.clone(),
        qos: resources.qos.clone(),
        reservation: resources.reservation.clone(),
        constraint: resources.constraint.clone(),
        time: pack.time,
        nodes: Some(pack.nodes),
        ranks: pack.nodes.saturating_mul(pack.cores),
        ranks_per_node: Some(pack.cores),
        gpus_per_node: pack.gpus,
        gres: resources.gres.clone(),
        memory: pack.memory,
        options: resources.options.clone(),
        ..JobRequest::default()
    }
}

/// What a job's name may hold, in Slurm's books and on a command line.
const LONGEST_NAME: usize = 250;
/// What is left of that for the project where the step's name is long.
const LONGEST_PROJECT: usize = 60;

/// Returns a name that no other job has, by which a job is found that was submitted without our hearing of it.
fn job_name(project: &str, step: &Step, run: &str, attempt: u32) -> String {
    let unique = format!(" {run}.{attempt}");
    let mut project = printable(project);
    let name = format!("hpc-ci/{project}/{}{unique}", printable(&step.name));
    if name.len() <= LONGEST_NAME {
        return name;
    }
    // A cut name could be that of another step; a slug is short and has a hash for what it leaves out.
    cut(&mut project);
    format!("hpc-ci/{project}/{}{unique}", step.slug)
}

/// The same of an array or pack.
fn batch_name(common: &Common, folder: &RunFolder, batch: u32, what: &str) -> String {
    let mut project = printable(&common.project);
    cut(&mut project);
    format!("hpc-ci/{project}/{what} {}.batch-{batch}", folder.id())
}

fn printable(text: &str) -> String {
    crate::clean::printable(text).replace(['\n', '\t'], "")
}

fn cut(project: &mut String) {
    while project.len() > LONGEST_PROJECT {
        project.pop();
    }
}

/// Where the choice of nodes is Slurm's, it is held to the site's limit.
fn options(resources: &Resources) -> Vec<String> {
    let limit = resources.max_nodes.filter(|_| resources.nodes.is_none());
    let limit = limit.map(|most| format!("--nodes=1-{most}"));
    limit
        .into_iter()
        .chain(resources.options.iter().cloned())
        .collect()
}

/// The fewest nodes of the allocation that hold a step which does not say how many: steps side by side need the others.
fn nodes_inside(step: &Step, common: &Common, on: &[String]) -> u32 {
    let placed = u32::try_from(on.len()).unwrap_or(u32::MAX);
    let wanted = || place::demand(step, Place::Allocation, &common.hosts).nodes;
    if placed > 0 { placed } else { wanted() }
}

fn launch(step: &Step, common: &Common, on: &[String]) -> Launch {
    let place = common.place;
    let kind = match (step.launcher.kind, place) {
        (LauncherKind::None, _) => Kind::None,
        (LauncherKind::Mpiexec, _) | (LauncherKind::Auto | LauncherKind::Srun, Place::Here) => {
            Kind::Mpiexec
        }
        (LauncherKind::Auto | LauncherKind::Srun, Place::Job | Place::Allocation) => Kind::Srun,
    };
    let pmi = match step.launcher.pmi {
        config::Pmi::Auto => Pmi::Auto,
        config::Pmi::Pmix => Pmi::Pmix,
        config::Pmi::Pmi2 => Pmi::Pmi2,
        config::Pmi::CrayShasta => Pmi::CrayShasta,
        config::Pmi::None => Pmi::None,
    };
    Launch {
        kind,
        pmi,
        // Options for one launcher mean nothing to another that stands in for it here.
        options: if kind == Kind::Mpiexec && step.launcher.kind != LauncherKind::Mpiexec {
            Vec::new()
        } else {
            step.launcher.options.clone()
        },
        wrap: step.launcher.wrap.clone(),
        ranks: step.resources.ranks,
        nodes: match place {
            Place::Allocation => Some(nodes_inside(step, common, on)),
            Place::Job | Place::Here => step.resources.nodes,
        },
        on: on.to_vec(),
        memory: step.resources.memory.map(Memory::bytes),
        ranks_per_node: step.resources.ranks_per_node,
        cpus_per_rank: step.resources.cpus_per_rank,
        gpus_per_rank: step.resources.gpus_per_rank,
        shared_cores: place == Place::Here && matches!(step.kind, StepKind::Test),
    }
}

fn step_variables(
    common: &Common,
    step: &Step,
    number: u32,
    instrumentation: &[(String, String)],
) -> Vec<(String, String)> {
    let mut variables = instrumentation.to_vec();
    let mut set = |name: &str, value: &str| variables.push((name.to_owned(), value.to_owned()));
    let own_threads = step
        .environment
        .variables
        .iter()
        .any(|(name, _)| name == "OMP_NUM_THREADS");
    if let Some(cpus) = step.resources.cpus_per_rank
        && !own_threads
    {
        set("OMP_NUM_THREADS", &cpus.to_string());
    }
    set("HPC_CI_STEP", &step.name);
    set("HPC_CI_ATTEMPT", &number.to_string());
    set("HPC_CI_COMMIT", &common.commit);
    set("HPC_CI_RANKS", &step.resources.ranks.to_string());
    set("HPC_CI_FEATURES", "");
    for (axis, value) in &step.axes {
        let name = axis
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() {
                    c.to_ascii_uppercase()
                } else {
                    '_'
                }
            })
            .collect::<String>();
        set(&format!("HPC_CI_{name}"), value);
    }
    variables
}

/// Paths of the run folder and of work trees stand in scripts and JSON: those that are not UTF-8 are refused at the start.
fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
