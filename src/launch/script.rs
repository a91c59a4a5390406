//! The job script: bash, the same for every place.

use std::fmt::Write as _;

use shell_words::quote;

use super::{Cwd, Job, Keep, Keeping, Kind, Launch, Place, Program, Reports};

/// Functions that every script needs: refusing, the exit record, time, the search for the program's MPI.
const FUNCTIONS: &str = include_str!("functions.sh");

/// What keeps the reports of a step.
const RESULTS: &str = include_str!("results.sh");

/// What copies the files that a step is to keep.
const KEEP: &str = include_str!("keep.sh");

/// Returns the job script of one attempt.
#[must_use]
pub fn job_script(job: &Job) -> String {
    let mut text = String::new();
    write!(
        text,
        r"#!/bin/bash -p
# hpc-ci: step {step}
HPC_CI_STEP_DIR={dir}
hpc_ci_ended={ended}
hpc_ci_tree={tree}
hpc_ci_limit={time}
hpc_ci_launches={launches}
hpc_ci_launcher={kind}
hpc_ci_place={place}
hpc_ci_ranks={ranks}
hpc_ci_pmi={pmi}
hpc_ci_pattern={pattern}
hpc_ci_preload={preload}
hpc_ci_launchers={launchers}
hpc_ci_facts={facts}
hpc_ci_run_nodes={nodes}
hpc_ci_measures={measures}
export HPC_CI_STEP_DIR
{FUNCTIONS}
",
        // A name may hold a line feed, which would end the comment.
        step = quote(&job.step.replace(['\n', '\r'], " ")),
        dir = quote(&job.dir),
        ended = quote(&job.ended),
        tree = quote(&job.tree),
        time = job.time,
        launches = job.warmup + job.repetitions.max(1),
        kind = kind_word(job.launch.kind),
        place = place_word(job.place),
        ranks = job.launch.ranks,
        pmi = job.launch.pmi.word(),
        pattern = job.keeping.pattern(),
        preload = quote(&preload(job.world.as_deref(), &job.keeping)),
        launchers = quote(&job.launchers),
        facts = quote(&job.facts.script),
        nodes = quote(&job.facts.nodes),
        measures = if job.facts.measures { "1" } else { "" },
    )
    .expect("a String takes any text");
    if let Some(scratch) = &job.scratch {
        writeln!(text, "export HPC_CI_NODE=$HPC_CI_STEP_DIR/node.sh\nhpc_ci_reduce_time={}\nhpc_ci_identity=({})", scratch.time, identity(job, "env"))
            .expect("a String takes any text");
    }
    text.push_str(&job.environment);
    text.push_str("hpc_ci_in_step() { # takes the environment of the step on, in a subshell\n  hpc_ci_enter \"$HPC_CI_OUT\"\n");
    for (name, value) in &job.variables {
        writeln!(text, "export {name}={}", quote(value)).expect("a String takes any text");
    }
    text.push_str("}\n");
    text.push_str(cwd(&job.cwd).as_str());
    text.push_str(&launcher(job));
    text.push_str(&body(job));
    text
}

impl Job {
    fn allocation_id(&self) -> Option<&str> {
        let id = self
            .allocation
            .iter()
            .find(|(name, _)| name == "SLURM_JOB_ID");
        id.map(|(_, value)| value.as_str())
    }
}

/// Returns the libraries that are loaded into all processes below a rank, as `LD_PRELOAD` lists them.
pub(super) fn preload(world: Option<&str>, keeping: &Keeping) -> String {
    let libraries: Vec<&str> = world.into_iter().chain(keeping.library()).collect();
    libraries.join(":")
}

fn kind_word(kind: Kind) -> &'static str {
    match kind {
        Kind::Srun => "srun",
        Kind::Mpiexec => "mpiexec",
        Kind::None => "none",
    }
}

fn place_word(place: Place) -> &'static str {
    match place {
        Place::Job => "job",
        Place::Allocation => "allocation",
        Place::Here => "here",
    }
}

/// Enters the work tree, in which the set-up runs as well, and then where the commands run.
fn cwd(cwd: &Cwd) -> String {
    let enter = "cd -- \"$hpc_ci_tree\" || hpc_ci_refuse \"the work tree \\`$hpc_ci_tree\\` is not to be seen from this node\"\n";
    let rest = match cwd {
        Cwd::Tree => String::new(),
        Cwd::Private => format!(
            "cp -a -- \"$hpc_ci_tree\" \"$HPC_CI_OUT/tree\" || hpc_ci_refuse 'the private copy of the work tree failed'\n\
             hpc_ci_tree=$HPC_CI_OUT/tree\n{enter}"
        ),
        Cwd::Path(path) => format!(
            "cd -- {path} || hpc_ci_refuse {message}\n",
            path = quote(path),
            message = quote(&format!(
                "`cwd` of the step, `{path}`, is not a directory of the work tree"
            )),
        ),
    };
    format!("{enter}hpc_ci_run_set_up\n{rest}")
}

/// Chooses the array `hpc_ci_launch`, the launcher with its options and the per-rank wrapper, inside the environment of the step.
fn launcher(job: &Job) -> String {
    let launch = &job.launch;
    // Behind `wrap` stands another root file system or tool: what the program is linked with cannot be seen from here.
    let words = match &job.program {
        _ if !launch.wrap.is_empty() => Vec::new(),
        Program::Argv(words) => words.clone(),
        Program::Shell(line) => words_of(line),
    };
    let mut text = format!("hpc_ci_choose() {{\nhpc_ci_find_mpi{}\n", quoted(&words));
    let options = quoted(&launch.options);
    match resolved_kind(job) {
        Kind::Srun => {
            writeln!(
                text,
                "hpc_ci_choose_pmi\nhpc_ci_launch=(srun \"${{hpc_ci_mpi_option[@]}}\"{sizes}{options})",
                sizes = srun_sizes(launch, job),
            )
            .expect("a String takes any text");
        }
        Kind::Mpiexec => {
            writeln!(
                text,
                "hpc_ci_choose_mpiexec {per_node} {shared}\nhpc_ci_launch=({identity}\"${{hpc_ci_mpiexec[@]}}\"{options})",
                identity = identity(job, ""),
                per_node = per_node(job),
                shared = u8::from(launch.shared_cores),
            )
            .expect("a String takes any text");
        }
        Kind::None => {}
    }
    text.push_str(
        "hpc_ci_launch+=(\"$HPC_CI_STEP_DIR/rank.sh\")\n}\neval \"$(hpc_ci_ask_environment 3>&1 >&2)\"\n\
         [ -z \"$hpc_ci_refused\" ] || hpc_ci_refuse \"$hpc_ci_refused\"\n",
    );
    text
}

/// Returns the words of a shell line that may name programs: all that stand between its operators.
fn words_of(line: &str) -> Vec<String> {
    let plain = line.replace(
        [';', '&', '|', '(', ')', '{', '}', '\n', '<', '>', '`'],
        " ",
    );
    let words = shell_words::split(&plain);
    // What a quote spoils is still worth a look.
    words.unwrap_or_else(|_| plain.split_whitespace().map(str::to_owned).collect())
}

/// Ranks on each node, 0 for the launcher's choice. Inside a larger allocation `mpiexec` would fill the first nodes, however many
/// the step asks for.
fn per_node(job: &Job) -> u32 {
    let launch = &job.launch;
    let nodes = launch.nodes.filter(|_| job.place == Place::Allocation);
    let spread = nodes.map(|nodes| launch.ranks.div_ceil(nodes.max(1)));
    launch.ranks_per_node.or(spread).unwrap_or(0)
}

/// Open MPI and Hydra find the nodes of an allocation by its variables, which are scrubbed from the environment.
fn identity(job: &Job, otherwise: &str) -> String {
    if job.allocation.is_empty() {
        return otherwise.to_owned();
    }
    let own = nodes_of_step(job);
    let value = |name: &str, value: &str| {
        let own = own.iter().find(|(own, _)| *own == name);
        own.map_or_else(|| value.to_owned(), |(_, value)| value.clone())
    };
    let mut pairs: Vec<String> = job
        .allocation
        .iter()
        .map(|(name, of_all)| format!("{name}={}", value(name, of_all)))
        .collect();
    // The daemons that it starts by srun must not wait for other steps on their nodes.
    pairs.push("SLURM_OVERLAP=1".to_owned());
    format!("env{} ", quoted(&pairs))
}

/// The variables that tell `mpiexec` of the nodes, for a step that is to have some of them.
fn nodes_of_step(job: &Job) -> Vec<(&'static str, String)> {
    let launch = &job.launch;
    let count = u32::try_from(launch.on.len()).unwrap_or(u32::MAX);
    if count == 0 {
        return Vec::new();
    }
    let list = launch.on.join(",");
    let ranks = launch
        .ranks_per_node
        .unwrap_or_else(|| launch.ranks.div_ceil(count));
    let cores = ranks.saturating_mul(launch.cpus_per_rank.unwrap_or(1));
    vec![
        ("SLURM_NODELIST", list.clone()),
        ("SLURM_JOB_NODELIST", list),
        ("SLURM_NNODES", count.to_string()),
        ("SLURM_JOB_NUM_NODES", count.to_string()),
        ("SLURM_TASKS_PER_NODE", format!("{ranks}(x{count})")),
        ("SLURM_JOB_CPUS_PER_NODE", format!("{cores}(x{count})")),
    ]
}

/// `launcher = "none"` hands the launch prefix on to a harness: which launcher that is depends on the place alone.
fn resolved_kind(job: &Job) -> Kind {
    match (job.launch.kind, job.place) {
        (Kind::None, Place::Here) => Kind::Mpiexec,
        (Kind::None, _) => Kind::Srun,
        (kind, _) => kind,
    }
}

/// Sizes are always said: `srun` would inherit those of the surrounding job or salloc.
fn srun_sizes(launch: &Launch, job: &Job) -> String {
    let inside = job.place == Place::Allocation;
    let mut words = vec![
        "--kill-on-bad-exit=1".to_owned(),
        "--export=ALL".to_owned(),
        format!("--ntasks={}", launch.ranks),
    ];
    if let Some(nodes) = launch.nodes {
        words.push(format!("--nodes={nodes}"));
    }
    if let Some(per_node) = launch.ranks_per_node {
        words.push(format!("--ntasks-per-node={per_node}"));
    }
    if let Some(cpus) = launch.cpus_per_rank {
        words.push(format!("--cpus-per-task={cpus}"));
    } else if inside {
        words.push("--cpus-per-task=1".to_owned());
    }
    if let Some(gpus) = launch.gpus_per_rank {
        words.push(format!("--gpus-per-task={gpus}"));
    }
    if inside {
        words.extend(job.allocation_id().map(|id| format!("--jobid={id}")));
        if !launch.on.is_empty() {
            words.push(format!("--nodelist={}", launch.on.join(",")));
        }
        // Without these, steps would wait for each other: each would take all cores and all memory of its nodes.
        words.push("--exact".to_owned());
        let memory = launch.memory.map(|bytes| bytes.div_ceil(1 << 20).max(1));
        words.push(format!("--mem={}M", memory.unwrap_or(0)));
    }
    quoted(&words)
}

fn quoted(words: &[String]) -> String {
    words.iter().fold(String::new(), |mut text, word| {
        text.push(' ');
        text.push_str(&quote(word));
        text
    })
}

fn keeping(keep: &Keep) -> String {
    let mut words = vec![
        format!("--bytes={}", keep.bytes),
        format!("--files={}", keep.files),
        "--".to_owned(),
    ];
    words.extend(keep.patterns.iter().cloned());
    format!(
        "hpc_ci_keeper={} hpc_ci_keep_time={} hpc_ci_keep_words=({})\n{KEEP}",
        quote(&keep.helper),
        keep.time,
        quoted(&words).trim_start()
    )
}

fn body(job: &Job) -> String {
    let argv = |program: &Program| quoted(&program.argv()).trim_start().to_owned();
    let mut text = String::from("hpc_ci_steps() {\n  hpc_ci_in_step\n");
    for program in &job.before {
        writeln!(text, "  hpc_ci_once before {} || return", argv(program))
            .expect("a String takes any text");
    }
    let command = format!(
        "{}{}",
        quoted(&job.launch.wrap),
        quoted(&job.program.argv())
    );
    let start = match job.launch.kind {
        Kind::None => format!("hpc_ci_harness{command}"),
        _ => format!("hpc_ci_ranks{command}"),
    };
    let repeats = job.warmup > 0 || job.repetitions > 1;
    if repeats {
        let reported = job.reports.as_ref().map_or_else(String::new, |reports| {
            format!("hpc_ci_reported {} ", quote(&reports.pattern))
        });
        writeln!(
            text,
            "  hpc_ci_repeat warmup {} {start} || return\n  hpc_ci_repeat sample {} {reported}{start}",
            job.warmup, job.repetitions
        )
        .expect("a String takes any text");
    } else {
        writeln!(text, "  {start}").expect("a String takes any text");
    }
    text.push_str("}\n");
    if let Some(Reports {
        pattern,
        most_bytes,
    }) = &job.reports
    {
        writeln!(text, "hpc_ci_most_bytes={most_bytes}").expect("a String takes any text");
        text.push_str(RESULTS);
        if !repeats {
            writeln!(text, "hpc_ci_remember_results {}", quote(pattern))
                .expect("a String takes any text");
        }
    }
    if let Some(keep) = &job.keep {
        text.push_str(&keeping(keep));
    }
    text.push_str("hpc_ci_run_steps\n");
    for program in &job.after {
        writeln!(text, "hpc_ci_after {}", argv(program)).expect("a String takes any text");
    }
    if let Some(reports) = job.reports.as_ref().filter(|_| !repeats) {
        writeln!(text, "hpc_ci_keep_results {}", quote(&reports.pattern))
            .expect("a String takes any text");
    }
    text.push_str("hpc_ci_finish\n");
    text
}
