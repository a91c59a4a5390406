//! What a node sees, asked by a short `srun` that starts at once or not at all.

use std::path::Path;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use super::{last_line, storage};
use crate::doctor::command;
use crate::doctor::facts::{Node, NodeAnswer, Subject};
use crate::foreign;
use crate::launch::Place;
use crate::process::{Output, ProcessError};
use crate::scheduler::JobRequest;

/// What runs there.
const SCRIPT: &str = include_str!("node.sh");

/// How long the script may take once it runs.
const RUNS: Duration = Duration::from_secs(30);

/// How long a file of the node may take to be seen here.
const LAG: Duration = Duration::from_secs(20);

pub(super) async fn ask(subject: &Subject, place: Place) -> Node {
    if place == Place::Here {
        return Node::NotAsked("steps run on this machine".to_owned());
    }
    if subject.wait.is_zero() {
        return Node::NotAsked("`--wait 0s` asks for none".to_owned());
    }
    let Some(root) = subject.folders.first() else {
        return Node::NotAsked("there is no workspace".to_owned());
    };
    let made = tempfile::Builder::new()
        .prefix(".hpc-ci-doctor-")
        .tempdir_in(storage::existing(&root.path));
    let Ok(dir) = made else {
        return Node::NotAsked("nothing can be written to the workspace".to_owned());
    };
    let word = format!("{}-{}", std::process::id(), Utc::now().timestamp_micros());
    let written = fs_err::write(dir.path().join("here"), &word)
        .and_then(|()| place_program(&dir.path().join("hpc-ci")));
    if let Err(error) = written {
        return Node::NotAsked(error.to_string());
    }
    let name = format!("hpc-ci-doctor-{word}");
    let asked = Utc::now();
    let answer = srun(subject, place, &name, dir.path(), &word).await;
    let told = Utc::now();
    match answer {
        Ok(output) if output.status.success() => {
            let mut answer = parse(&output.stdout_text(), asked, told);
            answer.seen_after = seen(&dir.path().join("there"), &word, answer.sees).await;
            Node::Answered(answer)
        }
        Ok(output) => refused(&output.stderr_text()),
        Err(error) => {
            // srun was killed: its job may still be there.
            command(subject, "scancel")
                .args([format!("--name={name}")])
                .deadline(super::DEADLINE)
                .output()
                .await
                .ok();
            Node::Failed(error.to_string())
        }
    }
}

fn place_program(to: &Path) -> std::io::Result<()> {
    let program = std::env::current_exe()?;
    fs_err::hard_link(&program, to).or_else(|_| fs_err::copy(&program, to).map(drop))
}

async fn srun(
    subject: &Subject,
    place: Place,
    name: &str,
    dir: &Path,
    word: &str,
) -> Result<Output, ProcessError> {
    let wait = subject.wait.as_secs().max(1);
    let mut srun = command(subject, "srun").args([
        "--ntasks=1",
        "--nodes=1",
        "--mpi=none",
        "--chdir=/",
        &format!("--job-name={name}"),
    ]);
    srun = match (place, std::env::var("SLURM_JOB_ID")) {
        (Place::Allocation, Ok(job)) => {
            srun.args([&format!("--jobid={job}"), "--overlap", "--mem=0"])
        }
        _ => srun
            .args([&format!("--immediate={wait}"), "--time=1"])
            .args(subject.usual_request().map(asks).unwrap_or_default()),
    };
    let program = dir.join("hpc-ci");
    srun.args(["bash", "-c", SCRIPT, "hpc-ci-doctor"])
        .arg(dir)
        .args([word, &subject.node_scratch])
        .arg(program)
        .deadline(Duration::from_secs(wait) + RUNS)
        .output()
        .await
}

/// What decides on the node of a job.
fn asks(request: &JobRequest) -> Vec<String> {
    let named = [
        ("partition", &request.partition),
        ("account", &request.account),
        ("qos", &request.qos),
        ("reservation", &request.reservation),
        ("constraint", &request.constraint),
        ("gres", &request.gres),
    ];
    named
        .into_iter()
        .filter_map(|(option, value)| Some(format!("--{option}={}", value.as_ref()?)))
        .collect()
}

/// Tells a node that was not free from a request that cannot be.
fn refused(said: &str) -> Node {
    let line = last_line(said)
        .trim_start_matches("srun: ")
        .trim_start_matches("error: ");
    let busy = [
        "Immediate execution impossible",
        "Requested nodes are busy",
        "Unable to contact slurm controller",
        "Socket timed out",
        "allocation revoked",
        "job is already completing",
    ];
    if busy.iter().any(|text| said.contains(text)) {
        Node::Busy(line.to_owned())
    } else {
        Node::Failed(line.to_owned())
    }
}

/// Reads the script's answers. The clock was read between `asked` and `told`.
fn parse(text: &str, asked: DateTime<Utc>, told: DateTime<Utc>) -> NodeAnswer {
    let mut answer = NodeAnswer::default();
    for (name, value) in text.lines().filter_map(|line| line.split_once('\t')) {
        let value = value.trim();
        match name {
            "host" => value.clone_into(&mut answer.host),
            "sees" => answer.sees = value == "yes",
            "program_refused" => answer.program_refused = Some(value.to_owned()),
            "scratch" => value.clone_into(&mut answer.scratch),
            "scratch_refused" => answer.scratch_refused = Some(value.to_owned()),
            "scratch_free" => {
                let blocks = value.parse::<u64>().ok();
                answer.scratch_free = blocks.and_then(|blocks| blocks.checked_mul(1024));
            }
            "clock" => answer.clock = value.parse().ok().map(|there| ahead(there, asked, told)),
            _ => {}
        }
    }
    answer
}

/// How far a clock is ahead that showed `there` at some time between the two, and how far that may be wrong.
fn ahead(there: f64, asked: DateTime<Utc>, told: DateTime<Utc>) -> (f64, f64) {
    let seconds = |time: DateTime<Utc>| time.timestamp_micros() as f64 / 1e6;
    let (from, to) = (seconds(asked), seconds(told));
    let middle = f64::midpoint(from, to);
    (there - middle, (to - from).abs() / 2.0)
}

/// Waits until a file of the node is seen here.
async fn seen(file: &Path, word: &str, expected: bool) -> Option<Duration> {
    let started = Instant::now();
    while expected && started.elapsed() < LAG {
        // Listing the directory has clients of NFS and Lustre ask the server again.
        file.parent()
            .and_then(|dir| fs_err::read_dir(dir).ok())
            .map(Iterator::count);
        if foreign::read_to_string(file, foreign::NOTE).is_ok_and(|text| text == word) {
            return Some(started.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_a_node_are_read() {
        let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap_or_default();
        let text = "clock\t1007.000000000\nhost\tn1\nsees\tyes\nprogram_refused\tno GLIBC\t2.38\nscratch\t/tmp\nscratch_free\t100\nnonsense\nend\tyes\n";
        let answer = parse(text, at(1000), at(1004));
        assert_eq!(
            answer,
            NodeAnswer {
                host: "n1".into(),
                sees: true,
                seen_after: None,
                clock: Some((5.0, 2.0)),
                scratch: "/tmp".into(),
                scratch_refused: None,
                scratch_free: Some(102_400),
                program_refused: Some("no GLIBC\t2.38".into()),
            }
        );
        assert_eq!(parse("", at(0), at(0)), NodeAnswer::default());
    }

    #[test]
    fn a_busy_node_is_no_failure() {
        for (said, busy) in [
            (
                "srun: error: Unable to allocate resources: Requested nodes are busy\n",
                true,
            ),
            (
                "srun: error: Unable to allocate resources: Invalid partition name specified\n",
                false,
            ),
            ("", false),
        ] {
            assert_eq!(matches!(refused(said), Node::Busy(_)), busy, "{said}");
        }
        assert_eq!(
            refused("srun: error: Unable to allocate resources: Invalid qos specification\n"),
            Node::Failed("Unable to allocate resources: Invalid qos specification".into())
        );
    }
}
