//! A request → the arguments of sbatch, as sbatch(1) has them.

use std::time::Duration;

use crate::scheduler::job::{Dependency, JobRequest};

/// Slurm's books hold no longer names.
const MAX_NAME: usize = 250;

/// Returns the arguments that make sbatch submit a request and print nothing but the id.
#[must_use]
pub fn argv(request: &JobRequest) -> Vec<String> {
    let mut args = vec!["--parsable".to_owned()];
    let mut option = |name: &str, value: String| args.push(format!("--{name}={value}"));
    option("job-name", job_name(&request.name));
    if let Some(comment) = &request.comment {
        option("comment", printable(comment));
    }
    option("output", literal_path(request.output.as_str()));
    option("open-mode", "append".to_owned());
    option("chdir", request.cwd.to_string());
    let texts = [
        ("partition", &request.partition),
        ("account", &request.account),
        ("qos", &request.qos),
        ("reservation", &request.reservation),
        ("constraint", &request.constraint),
        ("gres", &request.gres),
    ];
    for (name, value) in texts {
        if let Some(value) = value {
            option(name, value.clone());
        }
    }
    if request.time > Duration::ZERO {
        option("time", minutes(request.time).to_string());
    }
    let numbers = [
        ("nodes", request.nodes),
        ("ntasks", Some(request.ranks)),
        ("ntasks-per-node", request.ranks_per_node),
        ("cpus-per-task", request.cpus_per_rank),
        ("gpus-per-task", request.gpus_per_rank),
    ];
    for (name, value) in numbers {
        if let Some(value) = value {
            option(name, value.to_string());
        }
    }
    if let Some(bytes) = request.memory {
        option("mem", mebibytes(bytes));
    }
    if let Some(bytes) = request.memory_per_cpu {
        option("mem-per-cpu", mebibytes(bytes));
    }
    if let Some(dependency) = &request.dependency {
        option("dependency", dependency_list(dependency));
        // Without this a job whose dependency failed waits for ever.
        option("kill-on-invalid-dep", "yes".to_owned());
    }
    if !request.exclude.is_empty() {
        option("exclude", request.exclude.join(","));
    }
    if request.exclusive {
        args.push("--exclusive".to_owned());
    }
    args.push(
        if request.requeue {
            "--requeue"
        } else {
            "--no-requeue"
        }
        .to_owned(),
    );
    args.extend(request.options.iter().cloned());
    args.push(script_path(request.script.as_str()));
    args
}

/// Returns the name under which Slurm will know a job: what [`JobRequest::name`] says, without control characters,
/// cut to what accounting can hold.
#[must_use]
pub fn job_name(name: &str) -> String {
    let mut name = printable(name);
    while name.len() > MAX_NAME {
        name.pop();
    }
    name
}

fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

/// Writes a path so that Slurm replaces nothing in it.
fn literal_path(path: &str) -> String {
    path.replace('%', "%%")
}

/// A path that begins with a dash would be an option.
fn script_path(path: &str) -> String {
    if path.starts_with('-') {
        return format!("./{path}");
    }
    path.to_owned()
}

/// Rounded up, and never 0, which would mean all memory of the node.
fn mebibytes(bytes: u64) -> String {
    format!("{}M", bytes.div_ceil(1 << 20).max(1))
}

fn dependency_list(dependency: &Dependency) -> String {
    let (kind, ids) = match dependency {
        Dependency::AfterOk(ids) => ("afterok", ids),
        Dependency::AfterAny(ids) => ("afterany", ids),
    };
    ids.iter()
        .fold(kind.to_owned(), |list, id| format!("{list}:{id}"))
}

/// Slurm counts in minutes, so a fraction becomes a whole one.
fn minutes(time: Duration) -> u64 {
    let whole = time.as_secs() + u64::from(time.subsec_nanos() > 0);
    whole.div_ceil(60)
}
