//! A request → the arguments of sbatch, as sbatch(1) has them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::scheduler::job::{Array, Dependency, JobId, JobRequest};

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
    let output = literal_path(request.output.as_str());
    match request.array {
        None => option("output", output),
        Some(array) => {
            option("array", tasks(array));
            option("output", format!("{output}/%a/log.txt"));
        }
    }
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
        ("gpus-per-node", request.gpus_per_node),
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

fn tasks(array: Array) -> String {
    let last = array.tasks.saturating_sub(1);
    format!("0-{last}%{}", array.at_once.max(1))
}

/// Returns whether an array can have its logs in this folder: where a path has a backslash, Slurm replaces no `%a`.
#[must_use]
pub fn takes_array(folder: &str) -> bool {
    !folder.contains('\\')
}

/// Returns the words by which scancel knows these jobs: the tasks of one array are one word, `58_[0-4,7]`, since each word
/// costs a request to the controller.
#[must_use]
pub fn words(ids: &[JobId]) -> Vec<String> {
    let mut arrays: BTreeMap<&str, BTreeSet<u32>> = BTreeMap::new();
    let mut words = Vec::new();
    for id in ids {
        match id.task_number() {
            Some(task) => {
                arrays.entry(id.root()).or_default().insert(task);
            }
            None => words.push(id.to_string()),
        }
    }
    words.extend(arrays.into_iter().map(|(array, tasks)| {
        let ranges = ranges(&tasks);
        let alone = tasks.len() == 1;
        if alone {
            format!("{array}_{ranges}")
        } else {
            format!("{array}_[{ranges}]")
        }
    }));
    words
}

fn ranges(numbers: &BTreeSet<u32>) -> String {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for &number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(number) => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    let shown = ranges.into_iter().map(|(first, last)| {
        if first == last {
            first.to_string()
        } else {
            format!("{first}-{last}")
        }
    });
    shown.collect::<Vec<_>>().join(",")
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

/// Returns whether a job with this label, `COMMENT|NAME`, has the name of a request. Both may hold the separator.
#[must_use]
pub fn is_named(name: &str, label: &str) -> bool {
    let comment = label.strip_suffix(&job_name(name));
    comment.is_some_and(|comment| comment.ends_with('|'))
}

fn printable(text: &str) -> String {
    crate::clean::printable(text).replace(['\n', '\t'], "")
}

/// Writes a path so that Slurm replaces nothing in it. A backslash anywhere ends all replacement, so then `%` is safe
/// and the backslashes themselves are doubled.
fn literal_path(path: &str) -> String {
    if path.contains('\\') {
        return path.replace('\\', "\\\\");
    }
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
    let whole = time
        .as_secs()
        .saturating_add(u64::from(time.subsec_nanos() > 0));
    whole.div_ceil(60)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn small() -> JobRequest {
        JobRequest {
            name: "hpc-ci/heat/halo[ranks=4,features=rma]".into(),
            script: "/runs/1/halo.sh".into(),
            output: "/runs/1/halo.log".into(),
            cwd: "/runs/1".into(),
            time: Duration::from_secs(61),
            ranks: 4,
            ..JobRequest::default()
        }
    }

    #[test]
    fn a_small_request_leaves_the_rest_to_slurm() {
        insta::assert_snapshot!(argv(&small()).join("\n"), @"
        --parsable
        --job-name=hpc-ci/heat/halo[ranks=4,features=rma]
        --output=/runs/1/halo.log
        --open-mode=append
        --chdir=/runs/1
        --time=2
        --ntasks=4
        --no-requeue
        /runs/1/halo.sh
        ");
    }

    #[test]
    fn everything_that_can_be_asked_for() {
        let request = JobRequest {
            comment: Some("run 20261120-1".into()),
            partition: Some("batch".into()),
            account: Some("phys123".into()),
            qos: Some("normal".into()),
            reservation: Some("ci".into()),
            constraint: Some("a100&nvme".into()),
            nodes: Some(2),
            ranks_per_node: Some(2),
            cpus_per_rank: Some(8),
            gpus_per_rank: Some(1),
            gres: Some("tmpdisk:10G".into()),
            memory: Some((4 << 30) + 1),
            exclusive: true,
            requeue: true,
            dependency: Some(Dependency::AfterOk(vec![
                "71".parse().unwrap(),
                "58_3".parse().unwrap(),
            ])),
            exclude: vec!["n7".into(), "n9".into()],
            options: vec!["--switches=1".into(), "--nice".into()],
            ..small()
        };
        insta::assert_snapshot!(argv(&request).join("\n"), @"
        --parsable
        --job-name=hpc-ci/heat/halo[ranks=4,features=rma]
        --comment=run 20261120-1
        --output=/runs/1/halo.log
        --open-mode=append
        --chdir=/runs/1
        --partition=batch
        --account=phys123
        --qos=normal
        --reservation=ci
        --constraint=a100&nvme
        --gres=tmpdisk:10G
        --time=2
        --nodes=2
        --ntasks=4
        --ntasks-per-node=2
        --cpus-per-task=8
        --gpus-per-task=1
        --mem=4097M
        --dependency=afterok:71:58_3
        --kill-on-invalid-dep=yes
        --exclude=n7,n9
        --exclusive
        --requeue
        --switches=1
        --nice
        /runs/1/halo.sh
        ");
    }

    #[test]
    fn paths_are_written_so_that_slurm_replaces_nothing() {
        let check = |path: &str, expected: &str| assert_eq!(literal_path(path), expected);
        check("/a/halo.log", "/a/halo.log");
        check("/a/50%j.log", "/a/50%%j.log");
        check("/a/b c.log", "/a/b c.log");
        // With a backslash Slurm 22.05 leaves `%` alone and takes one of two backslashes away.
        check(r"/a\b%j.log", r"/a\\b%j.log");
    }

    #[test]
    fn names_are_printable_and_short() {
        let check = |name: &str, expected: &str| assert_eq!(job_name(name), expected);
        check("a\nb\u{7f}\tc", "abc");
        check("halo\u{202e}\u{200f}\u{2028}\u{e0041}[2]", "halo[2]");
        check("--wrap=x;y", "--wrap=x;y");
        check(&"é".repeat(200), &"é".repeat(125));
    }

    #[test]
    fn a_job_is_known_by_its_name_whatever_its_comment() {
        let check = |label: &str, expected: bool| {
            assert_eq!(is_named("a|b", label), expected, "{label}");
        };
        check("run 7|a|b", true);
        check("|a|b", true);
        check("(null)|a|b", true);
        check("run 7|b", false);
        check("run 7|xa|b", false);
        check("a|b", false);
    }

    #[test]
    fn an_array_has_a_throttle_and_a_log_for_each_task() {
        let request = JobRequest {
            output: "/runs/50%/arrays/1".into(),
            array: Some(Array {
                tasks: 200,
                at_once: 50,
            }),
            ..small()
        };
        let args = argv(&request);
        assert!(args.contains(&"--array=0-199%50".to_owned()), "{args:?}");
        let output = "--output=/runs/50%%/arrays/1/%a/log.txt".to_owned();
        assert!(args.contains(&output), "{args:?}");
    }

    #[test]
    fn tasks_of_one_array_are_one_word() {
        let check = |ids: &[&str], expected: &[&str]| {
            let ids: Vec<JobId> = ids.iter().map(|id| id.parse().unwrap()).collect();
            assert_eq!(words(&ids), expected);
        };
        check(&["71", "67+0"], &["71", "67+0"]);
        check(&["58_3"], &["58_3"]);
        check(
            &["58_3", "71", "58_4", "59_0", "58_9", "58_5"],
            &["71", "58_[3-5,9]", "59_0"],
        );
        check(&[], &[]);
    }

    #[test]
    fn times_and_sizes_are_rounded_up() {
        let time = |time, expected| assert_eq!(minutes(time), expected);
        time(Duration::from_mins(1), 1);
        time(Duration::from_millis(60_001), 2);
        time(Duration::from_nanos(1), 1);
        time(Duration::MAX, u64::MAX.div_ceil(60));
        let size = |bytes, expected: &str| assert_eq!(mebibytes(bytes), expected);
        size(0, "1M");
        size(1 << 20, "1M");
        size((1 << 20) + 1, "2M");
        size(u64::MAX, "17592186044416M");
    }

    #[test]
    fn a_script_is_never_an_option() {
        assert_eq!(script_path("--wrap=x"), "./--wrap=x");
    }
}
