//! What real clusters said, read: `tests/data/slurm/` tells how each file was captured.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::cluster::{self, Cluster};
use super::parse::{accounting, estimate, queue};
use super::refusal::{query_error, submit_error};
use crate::scheduler::job::{ExitStatus, JobState};

macro_rules! captured {
    ($file:literal) => {
        include_str!(concat!("../../../tests/data/slurm/", $file))
    };
}

/// One line a job: what `queue` made of it.
fn shown_queue(text: &str) -> String {
    let observation = queue(text);
    let jobs = observation.jobs.values().map(|job| {
        format!(
            "{} {} nodes={} start={} elapsed={} restarts={} reason={}",
            job.id,
            job.state,
            job.nodes.join("+"),
            job.start.map_or(0, |start| start.timestamp()),
            job.elapsed.map_or(0, |elapsed| elapsed.as_secs()),
            job.restarts.unwrap(),
            job.reason.as_deref().unwrap_or("-"),
        )
    });
    let unread = observation
        .unread
        .iter()
        .map(|line| format!("unread: {line}"));
    jobs.chain(unread).collect::<Vec<_>>().join("\n")
}

/// One line a run: what `accounting` made of it, with its steps.
fn shown_accounting(text: &str) -> String {
    let accounting = accounting(text);
    let code = |exit: Option<ExitStatus>| {
        exit.map_or("?".to_owned(), |exit| {
            format!("{}:{}", exit.code, exit.signal)
        })
    };
    let runs = accounting.runs.values().flatten().map(|run| {
        let steps = run.steps.iter().map(|step| {
            let rss = step.max_rss.map_or(0, |bytes| bytes >> 20);
            format!(" [{} {} {} {rss}M]", step.step, step.state, code(step.exit))
        });
        format!(
            "{} {} {}{} {}{}",
            run.id,
            run.name,
            run.state,
            run.cancelled_by
                .as_ref()
                .map_or(String::new(), |by| format!("({by})")),
            code(run.exit),
            steps.collect::<String>(),
        )
    });
    let unread = accounting
        .unread
        .iter()
        .map(|line| format!("unread: {line}"));
    runs.chain(unread).collect::<Vec<_>>().join("\n")
}

#[test]
fn squeue_of_a_busy_cluster() {
    insta::assert_snapshot!(shown_queue(captured!("22.05/squeue-busy.txt")), @"
    1 COMPLETED nodes=n1+n2+n3 start=1795173068 elapsed=1 restarts=0 reason=-
    10 CANCELLED nodes= start=1795173071 elapsed=0 restarts=0 reason=JobHeldUser
    11 FAILED nodes=n3 start=1795173069 elapsed=0 restarts=0 reason=JobLaunchFailure
    12 RUNNING nodes=n3 start=1795173070 elapsed=1 restarts=0 reason=-
    13_0 PENDING nodes= start=1795174860 elapsed=0 restarts=0 reason=Resources
    13_1 PENDING nodes= start=1795174860 elapsed=0 restarts=0 reason=Resources
    13_2 PENDING nodes= start=1795174860 elapsed=0 restarts=0 reason=Resources
    13_3 PENDING nodes= start=1795174860 elapsed=0 restarts=0 reason=Resources
    13_4 PENDING nodes= start=1795174860 elapsed=0 restarts=0 reason=Resources
    14+0 PENDING nodes= start=1795175220 elapsed=0 restarts=0 reason=Resources
    14+1 PENDING nodes= start=1795175460 elapsed=0 restarts=0 reason=Resources
    16 PENDING nodes= start=0 elapsed=0 restarts=0 reason=JobHeldUser
    17 PENDING nodes= start=0 elapsed=0 restarts=0 reason=DependencyNeverSatisfied
    18 CANCELLED nodes= start=0 elapsed=0 restarts=0 reason=DependencyNeverSatisfied
    19 PENDING nodes= start=1795175820 elapsed=0 restarts=0 reason=Priority
    2 FAILED nodes=n2+n3 start=1795173068 elapsed=1 restarts=0 reason=NonZeroExitCode
    3 FAILED nodes=n1+n2 start=1795173069 elapsed=1 restarts=0 reason=NonZeroExitCode
    4 FAILED nodes=n1+n2 start=1795173069 elapsed=1 restarts=0 reason=NonZeroExitCode
    5 RUNNING nodes=n1+n2 start=1795173070 elapsed=1 restarts=0 reason=-
    6 RUNNING nodes=n3 start=1795173068 elapsed=3 restarts=0 reason=-
    7 OUT_OF_MEMORY nodes=n3 start=1795173069 elapsed=1 restarts=0 reason=OutOfMemory
    8 RUNNING nodes=n1+n2 start=1795173070 elapsed=1 restarts=0 reason=-
    9 RUNNING nodes=n2+n3 start=1795173070 elapsed=1 restarts=0 reason=-
    ");
}

#[test]
fn squeue_of_jobs_that_have_ended() {
    insta::assert_snapshot!(shown_queue(captured!("22.05/squeue-ended.txt")), @"
    1 COMPLETED nodes=n1+n2+n3 start=1795173068 elapsed=1 restarts=0 reason=-
    10 CANCELLED nodes= start=1795173071 elapsed=0 restarts=0 reason=JobHeldUser
    11 FAILED nodes=n3 start=1795173069 elapsed=0 restarts=0 reason=JobLaunchFailure
    12 COMPLETED nodes=n1 start=1795173195 elapsed=5 restarts=1 reason=-
    13_0 COMPLETED nodes=n1+n2 start=1795173072 elapsed=1 restarts=0 reason=-
    13_1 COMPLETED nodes=n1+n2 start=1795173073 elapsed=1 restarts=0 reason=-
    13_2 COMPLETED nodes=n2+n3 start=1795173074 elapsed=1 restarts=0 reason=-
    13_3 COMPLETED nodes=n3 start=1795173077 elapsed=1 restarts=0 reason=-
    13_4 COMPLETED nodes=n1+n2 start=1795173077 elapsed=1 restarts=0 reason=-
    14+0 COMPLETED nodes=n1 start=1795173078 elapsed=1 restarts=0 reason=-
    14+1 COMPLETED nodes=n2+n3 start=1795173078 elapsed=1 restarts=0 reason=-
    16 PENDING nodes= start=0 elapsed=0 restarts=0 reason=JobHeldUser
    17 PENDING nodes= start=0 elapsed=0 restarts=0 reason=DependencyNeverSatisfied
    18 CANCELLED nodes= start=0 elapsed=0 restarts=0 reason=DependencyNeverSatisfied
    19 COMPLETED nodes=n1 start=1795173078 elapsed=0 restarts=0 reason=-
    2 FAILED nodes=n2+n3 start=1795173068 elapsed=1 restarts=0 reason=NonZeroExitCode
    3 FAILED nodes=n1+n2 start=1795173069 elapsed=1 restarts=0 reason=NonZeroExitCode
    4 FAILED nodes=n1+n2 start=1795173069 elapsed=1 restarts=0 reason=NonZeroExitCode
    5 FAILED nodes=n1+n2 start=1795173070 elapsed=1 restarts=0 reason=NonZeroExitCode
    6 FAILED nodes=n3 start=1795173068 elapsed=3 restarts=0 reason=NonZeroExitCode
    7 OUT_OF_MEMORY nodes=n3 start=1795173069 elapsed=1 restarts=0 reason=OutOfMemory
    8 TIMEOUT nodes=n1+n2 start=1795173070 elapsed=71 restarts=0 reason=TimeLimit
    9 CANCELLED nodes=n2+n3 start=1795173070 elapsed=4 restarts=0 reason=-
    ");
}

#[test]
fn squeue_of_jobs_that_wait() {
    insta::assert_snapshot!(shown_queue(captured!("22.05/squeue-waiting.txt")), @"
    16 PENDING nodes= start=0 elapsed=0 restarts=0 reason=JobHeldUser
    17 PENDING nodes= start=0 elapsed=0 restarts=0 reason=DependencyNeverSatisfied
    25 PENDING nodes= start=0 elapsed=0 restarts=0 reason=PartitionTimeLimit
    26 PENDING nodes= start=0 elapsed=0 restarts=0 reason=PartitionConfig
    27 PENDING nodes= start=0 elapsed=0 restarts=0 reason=PartitionConfig
    28 PENDING nodes= start=0 elapsed=0 restarts=0 reason=PartitionConfig
    29 PENDING nodes= start=0 elapsed=0 restarts=0 reason=JobHeldUser
    30 PENDING nodes= start=1795174212 elapsed=0 restarts=0 reason=BeginTime
    31 PENDING nodes= start=0 elapsed=0 restarts=0 reason=DependencyNeverSatisfied
    33 SUSPENDED nodes=n1 start=1795173213 elapsed=2 restarts=0 reason=-
    34 PENDING nodes= start=1795173338 elapsed=0 restarts=1 reason=job requeued in held state
    35 SPECIAL_EXIT nodes= start=1795173337 elapsed=0 restarts=1 reason=job requeued in held state
    36 PENDING nodes= start=0 elapsed=0 restarts=0 reason=PartitionDown
    ");
}

#[test]
fn squeue_of_preempted_jobs_and_a_node_that_failed() {
    let text = [
        captured!("22.05/squeue-preempted.txt"),
        captured!("22.05/squeue-nodefail.txt"),
        captured!("22.05/squeue-nodefail-after.txt"),
        captured!("22.05/squeue-completing.txt"),
        captured!("22.05/squeue-requeued.txt"),
    ];
    insta::assert_snapshot!(shown_queue(&text.concat()), @"
    12 COMPLETING nodes=n3 start=1795173074 elapsed=0 restarts=1 reason=-
    60 PREEMPTED nodes=n1+n2+n3 start=1795173729 elapsed=1 restarts=0 reason=-
    61 COMPLETED nodes=n1+n2+n3 start=1795173733 elapsed=0 restarts=0 reason=-
    62 CANCELLED nodes= start=1795173791 elapsed=0 restarts=1 reason=BeginTime
    63 COMPLETED nodes=n1+n2+n3 start=1795173748 elapsed=0 restarts=0 reason=-
    64 CANCELLED nodes= start=1795173791 elapsed=0 restarts=0 reason=BeginTime
    65 NODE_FAIL nodes=n3 start=1795173762 elapsed=27 restarts=0 reason=-
    66 CANCELLED nodes= start=1795173791 elapsed=0 restarts=1 reason=BeginTime
    67 COMPLETED nodes=n3 start=1795173789 elapsed=0 restarts=0 reason=-
    68 COMPLETED nodes=n1+n2+n3 start=1795173789 elapsed=0 restarts=0 reason=-
    9 COMPLETING nodes=n2+n3 start=1795173070 elapsed=4 restarts=0 reason=-
    ");
}

#[test]
fn squeue_of_newer_versions_knows_every_state_and_keeps_a_strange_one() {
    insta::assert_snapshot!(shown_queue(captured!("24.11/squeue.txt")), @"
    100 BOOT_FAIL nodes=nid001001+nid001002 start=1795173068 elapsed=86401 restarts=0 reason=-
    101 CANCELLED nodes=nid001001+nid001002 start=1795173068 elapsed=86401 restarts=0 reason=-
    102 COMPLETED nodes=nid001001+nid001002 start=1795173068 elapsed=86401 restarts=0 reason=-
    103 DEADLINE nodes=nid001001+nid001002 start=1795173068 elapsed=86401 restarts=0 reason=-
    104 FAILED nodes=nid001001+nid001002 start=1795173068 elapsed=86401 restarts=0 reason=-
    105 NODE_FAIL nodes=nid001001+nid001002 start=1795173068 elapsed=86401 restarts=0 reason=-
    106 OUT_OF_MEMORY nodes=nid001001+nid001002 start=1795173068 elapsed=86401 restarts=0 reason=-
    107 PENDING nodes=nid001001+nid001002 start=1795173068 elapsed=86401 restarts=0 reason=-
    108 PREEMPTED nodes=nid001001+nid001002 start=1795173068 elapsed=86401 restarts=0 reason=-
    109 RUNNING nodes=nid001001+nid001002 start=1795173068 elapsed=86401 restarts=0 reason=-
    110 SUSPENDED nodes=nid001001+nid001002 start=1795173068 elapsed=86401 restarts=0 reason=-
    111 TIMEOUT nodes=nid001001+nid001002 start=1795173068 elapsed=86401 restarts=0 reason=-
    112 COMPLETING nodes=nid001001+nid001002 start=1795173068 elapsed=86401 restarts=0 reason=-
    113 CONFIGURING nodes=nid001001+nid001002 start=1795173068 elapsed=86401 restarts=0 reason=-
    114 EXPEDITING nodes=nid001001+nid001002 start=1795173068 elapsed=86401 restarts=0 reason=-
    115 LAUNCH_FAILED nodes=nid001001+nid001002 start=1795173068 elapsed=86401 restarts=0 reason=-
    116 POWER_UP_NODE nodes=nid001001+nid001002 start=1795173068 elapsed=86401 restarts=0 reason=-
    117 RECONFIG_FAIL nodes=nid001001+nid001002 start=1795173068 elapsed=86401 restarts=0 reason=-
    118 REQUEUED nodes=nid001001+nid001002 start=1795173068 elapsed=86401 restarts=0 reason=-
    119 REQUEUE_FED nodes=nid001001+nid001002 start=1795173068 elapsed=86401 restarts=0 reason=-
    120 REQUEUE_HOLD nodes=nid001001+nid001002 start=1795173068 elapsed=86401 restarts=0 reason=-
    121 RESIZING nodes=nid001001+nid001002 start=1795173068 elapsed=86401 restarts=0 reason=-
    122 RESV_DEL_HOLD nodes=nid001001+nid001002 start=1795173068 elapsed=86401 restarts=0 reason=-
    123 REVOKED nodes=nid001001+nid001002 start=1795173068 elapsed=86401 restarts=0 reason=-
    124 SIGNALING nodes=nid001001+nid001002 start=1795173068 elapsed=86401 restarts=0 reason=-
    125 SPECIAL_EXIT nodes=nid001001+nid001002 start=1795173068 elapsed=86401 restarts=0 reason=-
    126 STAGE_OUT nodes=nid001001+nid001002 start=1795173068 elapsed=86401 restarts=0 reason=-
    127 STOPPED nodes=nid001001+nid001002 start=1795173068 elapsed=86401 restarts=0 reason=-
    128 UPDATE_DB nodes=nid001001+nid001002 start=1795173068 elapsed=86401 restarts=0 reason=-
    200_1 PENDING nodes= start=0 elapsed=0 restarts=0 reason=JobArrayTaskLimit
    200_2 PENDING nodes= start=0 elapsed=0 restarts=0 reason=JobArrayTaskLimit
    200_3 PENDING nodes= start=0 elapsed=0 restarts=0 reason=JobArrayTaskLimit
    200_7 PENDING nodes= start=0 elapsed=0 restarts=0 reason=JobArrayTaskLimit
    200_9 PENDING nodes= start=0 elapsed=0 restarts=0 reason=JobArrayTaskLimit
    300+0 HIBERNATING nodes=x1000c0s0b0n0+x1000c0s1b0n0+x1001c0s0b0n0+x1001c0s1b0n0 start=1795173068 elapsed=0 restarts=0 reason=MoonPhase, waning
    unread: 200_[10,12,...]|PENDING|0||N/A|0:00|JobArrayTaskLimit
    ");
}

#[test]
fn sacct_of_jobs_that_have_ended() {
    insta::assert_snapshot!(shown_accounting(captured!("22.05/sacct-ended.txt")), @"
    1 ok COMPLETED 0:0 [batch COMPLETED 0:0 1M] [0 COMPLETED 0:0 12M]
    11 nolog FAILED 0:53 [batch CANCELLED 0:53 0M]
    12 requeued REQUEUED 0:0 [batch CANCELLED 0:15 4M]
    12 requeued COMPLETED 0:0 [batch COMPLETED 0:0 4M]
    13_0 array COMPLETED 0:0 [batch COMPLETED 0:0 4M]
    13_1 array COMPLETED 0:0 [batch COMPLETED 0:0 4M]
    13_2 array COMPLETED 0:0 [batch COMPLETED 0:0 4M]
    13_3 array COMPLETED 0:0 [batch COMPLETED 0:0 4M]
    13_4 array COMPLETED 0:0 [batch COMPLETED 0:0 4M]
    14+0 het COMPLETED 0:0 [batch COMPLETED 0:0 4M]
    14+1 het COMPLETED 0:0
    19 a|b,c[d=1] COMPLETED 0:0 [batch COMPLETED 0:0 3M]
    2 ret3 FAILED 3:0 [batch FAILED 3:0 3M] [0 FAILED 3:0 4M]
    3 exit3 FAILED 15:0 [batch FAILED 15:0 13M] [0 FAILED 3:0 13M]
    4 segv FAILED 15:0 [batch FAILED 15:0 13M] [0 CANCELLED 0:15 13M]
    5 abort7 FAILED 7:0 [batch FAILED 7:0 13M] [0 FAILED 7:0 13M]
    6 oom FAILED 1:0 [batch FAILED 1:0 12M] [0 OUT_OF_MEMORY 0:125 219M]
    7 oomshell OUT_OF_MEMORY 0:125 [batch OUT_OF_MEMORY 0:125 106M]
    8 timeout TIMEOUT 0:0 [batch CANCELLED 0:15 13M] [0 CANCELLED 0:15 13M]
    9 cancelled CANCELLED(1001) 0:0 [batch CANCELLED 0:15 13M] [0 CANCELLED 0:15 13M]
    ");
}

#[test]
fn sacct_of_a_busy_cluster() {
    insta::assert_snapshot!(shown_accounting(captured!("22.05/sacct-busy.txt")), @"
    1 ok COMPLETED 0:0 [batch COMPLETED 0:0 1M] [0 COMPLETED 0:0 12M]
    11 nolog FAILED 0:53 [batch CANCELLED 0:53 0M]
    12 requeued RUNNING 0:0 [batch RUNNING 0:0 0M]
    13_0 array PENDING 0:0
    13_1 array PENDING 0:0
    13_2 array PENDING 0:0
    13_3 array PENDING 0:0
    13_4 array PENDING 0:0
    14+0 het PENDING 0:0
    14+1 het PENDING 0:0
    19 a|b,c[d=1] PENDING 0:0
    2 ret3 FAILED 3:0 [batch FAILED 3:0 3M] [0 FAILED 3:0 4M]
    3 exit3 FAILED 15:0 [batch FAILED 15:0 13M] [0 FAILED 3:0 13M]
    4 segv FAILED 15:0 [batch FAILED 15:0 13M] [0 CANCELLED 0:15 13M]
    5 abort7 RUNNING 0:0 [batch RUNNING 0:0 0M] [0 RUNNING 0:0 0M]
    6 oom RUNNING 0:0 [batch RUNNING 0:0 0M] [0 RUNNING 0:0 0M]
    7 oomshell OUT_OF_MEMORY 0:125 [batch OUT_OF_MEMORY 0:125 106M]
    8 timeout RUNNING 0:0 [batch RUNNING 0:0 0M] [0 RUNNING 0:0 0M]
    9 cancelled RUNNING 0:0 [batch RUNNING 0:0 0M] [0 RUNNING 0:0 0M]
    ");
}

#[test]
fn sacct_of_preempted_jobs_and_a_node_that_failed() {
    let text = [
        captured!("22.05/sacct-preempted.txt"),
        captured!("22.05/sacct-nodefail-after.txt"),
    ];
    insta::assert_snapshot!(shown_accounting(&text.concat()), @"
    60 preempted PREEMPTED 0:0 [batch CANCELLED 0:15 3M] [0 CANCELLED 0:15 13M]
    61 winner COMPLETED 0:0 [batch COMPLETED 0:0 3M]
    62 preempted-requeued PREEMPTED 0:0 [batch CANCELLED 0:15 13M] [0 CANCELLED 0:15 13M]
    62 preempted-requeued PENDING 0:0
    63 winner2 COMPLETED 0:0 [batch COMPLETED 0:0 3M]
    65 node-fail NODE_FAIL 1:0 [batch CANCELLED ? 0M] [0 CANCELLED ? 0M]
    66 node-fail-requeued NODE_FAIL 1:0 [batch CANCELLED ? 0M] [0 CANCELLED ? 0M]
    66 node-fail-requeued CANCELLED(1001) 1:0
    ");
}

#[test]
fn sacct_of_newer_versions() {
    insta::assert_snapshot!(shown_accounting(captured!("24.11/sacct.txt")), @"
    400 waited CANCELLED(1000) 0:0
    401 eats OUT_OF_MEMORY 0:125 [batch OUT_OF_MEMORY 0:125 1536M] [extern COMPLETED 0:0 0M] [0 CANCELLED 0:9 2048M] [interactive COMPLETED 0:0 0M]
    402+0 het COMPLETED 0:0 [0 COMPLETED 0:0 12M]
    402+1 het COMPLETED 0:0 [0 COMPLETED 0:0 13M]
    403 odd HIBERNATING 0:0
    404_0 array PENDING 0:0
    404_1 array PENDING 0:0
    404_2 array PENDING 0:0
    ");
}

#[test]
fn a_job_of_which_accounting_has_just_heard_is_not_settled() {
    let accounting = accounting(captured!("22.05/sacct-stub.txt"));
    let last = accounting.last(&"59".parse().unwrap()).unwrap();
    assert_eq!(
        (last.name.as_str(), &last.state),
        ("allocation", &JobState::Pending)
    );
    assert!(!last.settled());
}

#[test]
fn only_the_last_run_of_a_requeued_job_counts() {
    let ended = accounting(captured!("22.05/sacct-ended.txt"));
    let id = "12".parse().unwrap();
    assert_eq!(ended.runs[&id].len(), 2);
    assert!(ended.last(&id).unwrap().settled());
    let between = accounting(captured!("22.05/sacct-requeued.txt"));
    assert!(!between.last(&id).unwrap().settled());
    let preempted = accounting(captured!("22.05/sacct-preempted.txt"));
    assert!(!preempted.last(&"62".parse().unwrap()).unwrap().settled());
}

#[test]
fn a_state_survives_its_own_name() {
    let states = queue(captured!("24.11/squeue.txt"));
    let known = states.jobs.values().map(|job| &job.state);
    for state in known {
        assert_eq!(JobState::parse(&state.to_string()), *state);
        let json = serde_json::to_string(state).unwrap();
        assert_eq!(serde_json::from_str::<JobState>(&json).unwrap(), *state);
    }
}

#[test]
fn an_estimate_says_when_and_where() {
    let estimate = estimate(captured!("22.05/test-only.txt")).unwrap();
    assert_eq!(
        (estimate.start.timestamp(), estimate.nodes.len()),
        (1_795_173_795, 3)
    );
}

/// Title, exit status and standard error of each command in `refusals.txt`.
fn refusals() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    let cases = captured!("22.05/refusals.txt").split("# ").skip(1);
    cases.map(|case| {
        let (title, rest) = case.split_once('\n').unwrap();
        let (status, said) = rest.split_once('\n').unwrap();
        (title, status, said)
    })
}

#[test]
fn every_refusal_of_sbatch_has_its_meaning() {
    let submits =
        refusals().filter(|(title, status, _)| *status != "rc 0" && !title.contains(": "));
    let shown = submits.map(|(title, _, said)| {
        let error = submit_error(said);
        let help = error
            .help()
            .map_or(String::new(), |help| format!("\n    {help}"));
        let (kind, _) = format!("{error:?}")
            .split_once(' ')
            .map(|(kind, rest)| (kind.to_owned(), rest.to_owned()))
            .unwrap();
        format!("{title}\n  {kind}: {error}{help}")
    });
    insta::assert_snapshot!(shown.collect::<Vec<_>>().join("\n"), @r#"
    default partition
      Rejected: the scheduler refused the job: invalid partition specified: nosuch; Invalid partition name specified
        `sinfo -s` lists the partitions; set `partition` to one of them
    default account
      Rejected: the scheduler refused the job: Invalid account or account/partition combination specified
        `sacctmgr show assoc user=$USER format=account,partition,qos` lists your accounts; set `account`
    default constraint
      Rejected: the scheduler refused the job: Invalid feature specification
        `sinfo -o '%P %f'` lists the features of the nodes; set `constraint`
    default gres
      Rejected: the scheduler refused the job: Invalid generic resource (gres) specification
        `sinfo -o '%P %G'` lists the generic resources; set `gres` or `gpus_per_rank`
    default gpus
      Rejected: the scheduler refused the job: Invalid generic resource (gres) specification
        `sinfo -o '%P %G'` lists the generic resources; set `gres` or `gpus_per_rank`
    default reservation
      Rejected: the scheduler refused the job: Requested reservation is invalid
        `scontrol show reservation` lists the reservations; set `reservation`
    default node name
      Rejected: the scheduler refused the job: Invalid node name specified
        `sinfo -N` lists the nodes; correct `options`
    default excluded node name
      Rejected: the scheduler refused the job: Invalid node name specified
        `sinfo -N` lists the nodes; correct `options`
    default license
      Rejected: the scheduler refused the job: Invalid license specification
        `scontrol show licenses` lists them; correct `options`
    default array size
      Rejected: the scheduler refused the job: Invalid job array specification
        `scontrol show config | grep MaxArraySize` shows the limit
    no script
      Rejected: the scheduler refused the job: Unable to open file nosuch.sh
        the batch script cannot be read on this host
    no shebang
      Rejected: the scheduler refused the job: This does not look like a batch script.  The first; line must start with #! followed by the path to an interpreter.; For instance: #!/bin/sh
        the batch script must begin with `#!`
    empty script
      Rejected: the scheduler refused the job: Batch script is empty!
        the batch script must begin with `#!`
    dos line ends
      Rejected: the scheduler refused the job: Batch script contains DOS line breaks (\r\n); instead of expected UNIX line breaks (\n).
        write the script with Unix line ends
    script too large
      Rejected: the scheduler refused the job: Pathname of a file, directory or other parameter too long
        the batch script is larger than Slurm takes (4 MiB by default)
    option
      Rejected: the scheduler refused the job: unrecognized option '--nosuch'; Try "sbatch --help" for more information
        correct `options`: this sbatch does not know one of them
    time syntax
      Rejected: the scheduler refused the job: Invalid --time specification
        correct `options`: this sbatch cannot read the time
    dependency syntax
      Rejected: the scheduler refused the job: Job dependency problem
        the job it depends on is gone or failed
    memory twice
      Rejected: the scheduler refused the job: --mem, --mem-per-cpu, and --mem-per-gpu are mutually exclusive.
        `memory` and `memory_per_cpu` exclude each other
    partition inactive
      Rejected: the scheduler refused the job: Required partition not available (inactive or drain)
        `sinfo -s` shows which partitions are up; set `partition`
    reservation of others
      Rejected: the scheduler refused the job: Access denied to requested reservation
        ask for access, or drop `reservation`
    group not allowed in partition
      Rejected: the scheduler refused the job: User's group not permitted to use this partition
        ask for access, or choose another `partition`
    strict partition
      Rejected: the scheduler refused the job: invalid partition specified: nosuch; Invalid partition name specified
        `sinfo -s` lists the partitions; set `partition` to one of them
    strict node count
      Rejected: the scheduler refused the job: More processors requested than permitted
        `sinfo -o '%P %D %c'` counts nodes and cores; lower `ranks` or `cpus_per_rank`, or choose another `partition`
    strict node count of the partition
      Rejected: the scheduler refused the job: More processors requested than permitted
        `sinfo -o '%P %D %c'` counts nodes and cores; lower `ranks` or `cpus_per_rank`, or choose another `partition`
    strict cores
      Rejected: the scheduler refused the job: More processors requested than permitted
        `sinfo -o '%P %D %c'` counts nodes and cores; lower `ranks` or `cpus_per_rank`, or choose another `partition`
    strict ranks
      Rejected: the scheduler refused the job: More processors requested than permitted
        `sinfo -o '%P %D %c'` counts nodes and cores; lower `ranks` or `cpus_per_rank`, or choose another `partition`
    strict time
      Rejected: the scheduler refused the job: Requested time limit is invalid (missing or exceeds some limit)
        `sinfo -o '%P %l'` lists the limits; lower `time`
    strict account
      Rejected: the scheduler refused the job: Invalid account or account/partition combination specified
        `sacctmgr show assoc user=$USER format=account,partition,qos` lists your accounts; set `account`
    strict constraint
      Rejected: the scheduler refused the job: Invalid feature specification
        `sinfo -o '%P %f'` lists the features of the nodes; set `constraint`
    strict gres
      Rejected: the scheduler refused the job: Invalid generic resource (gres) specification
        `sinfo -o '%P %G'` lists the generic resources; set `gres` or `gpus_per_rank`
    strict gpus
      Rejected: the scheduler refused the job: Invalid generic resource (gres) specification
        `sinfo -o '%P %G'` lists the generic resources; set `gres` or `gpus_per_rank`
    strict reservation
      Rejected: the scheduler refused the job: Requested reservation is invalid
        `scontrol show reservation` lists the reservations; set `reservation`
    strict node name
      Rejected: the scheduler refused the job: Invalid node name specified
        `sinfo -N` lists the nodes; correct `options`
    strict excluded node name
      Rejected: the scheduler refused the job: Invalid node name specified
        `sinfo -N` lists the nodes; correct `options`
    strict license
      Rejected: the scheduler refused the job: Invalid license specification
        `scontrol show licenses` lists them; correct `options`
    strict array size
      Rejected: the scheduler refused the job: Invalid job array specification
        `scontrol show config | grep MaxArraySize` shows the limit
    association submit limit
      Limit: a limit on submitted jobs is reached: AssocMaxSubmitJobLimit; Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)
    account submit limit
      Limit: a limit on submitted jobs is reached: AssocGrpSubmitJobsLimit; Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)
    qos submit limit
      Limit: a limit on submitted jobs is reached: QOSMaxSubmitJobPerUserLimit; Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)
    qos group submit limit
      Limit: a limit on submitted jobs is reached: QOSGrpSubmitJobsLimit; Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)
    qos nodes per job
      Rejected: the scheduler refused the job: QOSMaxNodePerJobLimit; Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)
        `sacctmgr show qos` and `sacctmgr show assoc user=$USER` list the limits; ask for less, or set another `qos`
    qos wall per job
      Rejected: the scheduler refused the job: QOSMaxWallDurationPerJobLimit; Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)
        `sacctmgr show qos` and `sacctmgr show assoc user=$USER` list the limits; ask for less, or set another `qos`
    user without association
      Rejected: the scheduler refused the job: Invalid account or account/partition combination specified
        `sacctmgr show assoc user=$USER format=account,partition,qos` lists your accounts; set `account`
    queue full 1
      Transient: the scheduler cannot take the job now: Slurm temporarily unable to accept job, sleeping and retrying; Resource temporarily unavailable
    queue full 2
      Transient: the scheduler cannot take the job now: Slurm temporarily unable to accept job, sleeping and retrying
    queue full 3
      Transient: the scheduler cannot take the job now: Slurm temporarily unable to accept job, sleeping and retrying
    queue full 4
      Transient: the scheduler cannot take the job now: Slurm temporarily unable to accept job, sleeping and retrying
    controller dead
      Transient: the scheduler cannot take the job now: Unable to contact slurm controller (connect failure)
    controller hung
      Uncertain: the job may or may not have been submitted: Socket timed out on send/recv operation
    memory beyond a node
      Rejected: the scheduler refused the job: Memory specification can not be satisfied; Requested node configuration is not available
        `sinfo -o '%P %m'` lists the MiB of a node; lower `memory`, or take more `nodes`
    memory per core beyond a node
      Rejected: the scheduler refused the job: Memory specification can not be satisfied; Requested node configuration is not available
        `sinfo -o '%P %m'` lists the MiB of a node; lower `memory`, or take more `nodes`
    qos not allowed
      Rejected: the scheduler refused the job: Invalid qos specification
        `sacctmgr show assoc user=$USER format=account,qos` lists what you may use; set `qos`
    "#);
}

#[test]
fn every_failed_question_has_its_meaning() {
    let questions =
        refusals().filter(|(title, status, _)| *status != "rc 0" && title.contains(": "));
    let shown = questions.map(|(title, _, said)| {
        let (_, command) = title.split_once(": ").unwrap();
        let program = command.split(' ').next().unwrap();
        format!("{title}\n  {}", query_error(program, said))
    });
    insta::assert_snapshot!(shown.collect::<Vec<_>>().join("\n"), @"
    controller dead: squeue -j 1
      no answer from `squeue`: slurm_load_jobs error: Unable to contact slurm controller (connect failure)
    controller dead: scancel 1
      no answer from `scancel`: Kill job error on job id 1: Unable to contact slurm controller (connect failure)
    controller dead: sinfo -h
      no answer from `sinfo`: slurm_load_partitions: Unable to contact slurm controller (connect failure)
    controller hung: squeue -j 1
      no answer from `squeue`: slurm_load_jobs error: Socket timed out on send/recv operation
    controller hung: scancel 1
      no answer from `scancel`: Kill job error on job id 1: Socket timed out on send/recv operation
    database dead: sacct -n -j 1
      no answer from `sacct`: Problem talking to the database: Connection refused
    database dead: sacctmgr -nP show assoc
      no answer from `sacctmgr`: Sending PersistInit msg: Connection refused
    no accounting: sacct -n -j 1
      this cluster keeps no accounting
    no accounting: sacctmgr -nP show assoc
      this cluster keeps no accounting
    ");
}

#[test]
fn what_a_cluster_is_like() {
    let mut cluster = Cluster::default();
    cluster.configure(captured!("22.05/config.txt"));
    cluster.partitions = cluster::partitions(captured!("22.05/partitions.txt"));
    cluster.associations = cluster::associations(captured!("22.05/associations.txt"));
    cluster.pmis = cluster::pmis(captured!("22.05/pmis.txt"));
    assert_eq!(cluster.default_partition().unwrap().name, "debug");
    let lines = cluster
        .partitions
        .iter()
        .map(|partition| format!("{partition:?}"))
        .chain(cluster.associations.iter().map(|row| format!("{row:?}")));
    insta::assert_snapshot!(lines.collect::<Vec<_>>().join("\n"), @r#"
    Partition { name: "debug", default: true, up: true, max_time: Some(1800s), default_time: Some(600s), max_nodes: None, nodes: 3, accounts: [], exclusive: false, shapes: [] }
    Partition { name: "batch", default: false, up: true, max_time: Some(86400s), default_time: Some(600s), max_nodes: None, nodes: 3, accounts: [], exclusive: false, shapes: [] }
    Partition { name: "small", default: false, up: true, max_time: Some(1800s), default_time: None, max_nodes: Some(1), nodes: 1, accounts: [], exclusive: false, shapes: [] }
    Association { cluster: "dev", account: "ci", partition: None, qos: ["normal"], max_submit: None }
    "#);
    cluster.partitions.clear();
    cluster.associations.clear();
    insta::assert_debug_snapshot!(cluster, @r#"
    Cluster {
        name: Some(
            "dev",
        ),
        version: Some(
            "22.05.8",
        ),
        accounting: true,
        min_job_age: Some(
            300s,
        ),
        kill_wait: Some(
            5s,
        ),
        requeues: true,
        preempt_mode: Some(
            "OFF",
        ),
        enforces_limits: false,
        private: [],
        max_array_size: Some(
            1001,
        ),
        max_jobs: Some(
            10000,
        ),
        default_pmi: Some(
            "pmix",
        ),
        pmis: [
            "pmix",
            "none",
            "cray_shasta",
            "pmi2",
            "pmix_v4",
        ],
        partitions: [],
        associations: [],
        unanswered: [],
    }
    "#);
}

#[test]
fn nodes_and_pmis_of_newer_versions() {
    insta::assert_debug_snapshot!(cluster::shapes(captured!("24.11/shapes.txt")), @r#"
    [
        (
            "gpu",
            Shape {
                nodes: 4,
                cpus: 128,
                memory: 540016640000,
                gres: [
                    "gpu:a100:4(S:0,2,4,6)",
                    "tmpdisk:100G",
                ],
                features: [
                    "a100",
                    "nvme",
                ],
            },
        ),
        (
            "cpu",
            Shape {
                nodes: 1000,
                cpus: 256,
                memory: 269484032000,
                gres: [],
                features: [],
            },
        ),
    ]
    "#);
    insta::assert_debug_snapshot!(cluster::pmis(captured!("24.11/pmis.txt")), @r#"
    [
        "cray_shasta",
        "none",
        "pmi2",
        "pmix",
        "pmix_v4",
        "pmix_v5",
    ]
    "#);
}
