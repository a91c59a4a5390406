//! Verdicts on jobs as a real cluster told of them, with and without their exit records.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::Outcome::{
    Cancelled, Failed, LaunchFailed, Lost, NodeFailure, OutOfMemory, Passed, Preempted, Signal,
    Timeout,
};
use super::*;
use crate::scheduler::job::{Accounting, JobId};
use crate::scheduler::slurm::parse::{accounting, queue};

/// The books of a real cluster, on which each job is named for what it did.
fn books() -> Accounting {
    let text = [
        include_str!("../../../tests/data/slurm/22.05/sacct-ended.txt"),
        include_str!("../../../tests/data/slurm/22.05/sacct-preempted.txt"),
        include_str!("../../../tests/data/slurm/22.05/sacct-nodefail-after.txt"),
        include_str!("../../../tests/data/slurm/24.11/sacct.txt"),
    ];
    accounting(&text.concat())
}

fn job(books: &Accounting, name: &str) -> JobRecord {
    let mut runs = books.runs.values().flatten();
    runs.find(|run| run.name == name).unwrap().clone()
}

fn exit(code: i32) -> ExitRecord {
    let text = format!(
        r#"{{"schema_version":1,"exit_code":{code},"timed_out":false,"started":1795173070.5,"ended":1795173071,
        "job_id":"71","restart_count":0,"nodes":"n[1-2]","ranks_expected":4,"launches":1,"mpi":"openmpi","failed_part":"","launch_error":null}}"#
    );
    let mut record = ExitRecord::parse(text.as_bytes()).unwrap();
    if code == 0 {
        record.ranks = (0..4).map(|number| rank(number, 0)).collect();
    }
    record
}

fn rank(rank: u32, exit_code: i32) -> RankExit {
    RankExit {
        rank: Some(rank),
        exit_code: Some(exit_code),
        ..RankExit::default()
    }
}

fn verdict(record: Option<&JobRecord>, exit: Option<&ExitRecord>) -> Verdict {
    judge(&Evidence {
        record,
        exit,
        ..Evidence::default()
    })
}

#[test]
fn jobs_of_a_real_cluster_with_and_without_their_exit_records() {
    let books = books();
    let check = |name: &str,
                 exit: Option<ExitRecord>,
                 outcome: Outcome,
                 code: Option<i32>,
                 signal: Option<i32>| {
        let verdict = verdict(Some(&job(&books, name)), exit.as_ref());
        assert_eq!(
            (verdict.outcome, verdict.exit_code, verdict.signal),
            (outcome, code, signal),
            "{name}"
        );
    };
    check("ok", Some(exit(0)), Passed, Some(0), None);
    check("ok", None, Lost, None, None);
    check("ret3", Some(exit(3)), Failed, Some(3), None);
    check("ret3", None, Lost, None, None);
    // srun -K told of the kill (143); the step tells of the rank.
    check("exit3", Some(exit(143)), Failed, Some(3), None);
    check("segv", Some(exit(139)), Signal, None, Some(11));
    check("segv", Some(exit(143)), Signal, None, Some(15));
    check(
        "segv",
        Some(ExitRecord {
            ranks: vec![rank(0, 143), rank(3, 139)],
            ..exit(143)
        }),
        Signal,
        None,
        Some(11),
    );
    check("abort7", Some(exit(7)), Failed, Some(7), None);
    check("oom", Some(exit(1)), OutOfMemory, None, None);
    check("oom", None, OutOfMemory, None, None);
    check("oomshell", Some(exit(0)), OutOfMemory, None, None);
    check("eats", None, OutOfMemory, None, None);
    check("timeout", None, Timeout, None, None);
    check("timeout", Some(exit(0)), Timeout, None, None);
    check("cancelled", None, Cancelled, None, None);
    check("cancelled", Some(exit(143)), Cancelled, None, None);
    check("waited", None, Cancelled, None, None);
    check("nolog", None, LaunchFailed, None, None);
    check("preempted", Some(exit(143)), Preempted, None, None);
    check("node-fail", None, NodeFailure, None, None);
    check(
        "node-fail",
        Some(ExitRecord {
            timed_out: true,
            ..exit(143)
        }),
        NodeFailure,
        None,
        None,
    );
    // States that no final record has, or that we do not know.
    check("odd", Some(exit(0)), Lost, None, None);
    check("odd", None, Lost, None, None);
    check("array", Some(exit(0)), Passed, Some(0), None);
}

#[test]
fn what_the_script_says_of_its_program() {
    let books = books();
    let completed = job(&books, "ok");
    let check = |exit: ExitRecord, outcome: Outcome, message: &str| {
        let verdict = verdict(Some(&completed), Some(&exit));
        assert_eq!(
            (verdict.outcome, verdict.message.as_str()),
            (outcome, message)
        );
    };
    check(
        ExitRecord {
            timed_out: true,
            ..exit(143)
        },
        Outcome::Timeout,
        "did not end in time",
    );
    check(
        ExitRecord {
            launch_error: Some("no mpiexec".into()),
            ..exit(125)
        },
        Outcome::LaunchFailed,
        "no mpiexec",
    );
    check(
        ExitRecord {
            failed_part: Some("before".into()),
            ..exit(2)
        },
        Outcome::Failed,
        "`before` ended with exit code 2",
    );
    check(
        ExitRecord {
            ranks: vec![rank(0, 137), rank(1, 1), rank(2, 134)],
            ..exit(137)
        },
        Outcome::Signal,
        "rank 2 was ended by signal 6",
    );
    check(
        ExitRecord {
            ranks: vec![rank(0, 137), rank(1, 5)],
            ..exit(137)
        },
        Outcome::Failed,
        "rank 1 ended with exit code 5",
    );
    check(
        exit(137),
        Outcome::Signal,
        "its program was ended by signal 9",
    );
    check(
        exit(255),
        Outcome::Failed,
        "its program ended with exit code 255",
    );
    let alone = RankExit {
        size: Some(1),
        ..rank(0, 0)
    };
    check(
        ExitRecord {
            ranks: vec![alone],
            ..exit(0)
        },
        Outcome::LaunchFailed,
        "4 ranks were asked for, but MPI ran each of them alone, in a world of one; set `launcher`, `pmi` or `MPIEXEC` to what the \
         program's MPI understands",
    );
}

/// What ranks say against a launcher that ended with 0, and that it is believed where nobody contradicts it.
#[test]
fn a_launcher_that_ends_with_0_needs_the_word_of_every_rank() {
    let books = books();
    let record = job(&books, "ok");
    let check = |exit: ExitRecord, outcome: Outcome| {
        let verdict = verdict(Some(&record), Some(&exit));
        assert_eq!(verdict.outcome, outcome, "{} {exit:?}", verdict.message);
    };
    let with = |change: &dyn Fn(&mut ExitRecord)| {
        let mut exit = exit(0);
        change(&mut exit);
        exit
    };
    check(exit(0), Outcome::Passed);
    for (code, outcome) in [
        (1, Outcome::Failed),
        (3, Outcome::Failed),
        (134, Outcome::Signal),
        (137, Outcome::Signal),
        (143, Outcome::Signal),
        (255, Outcome::Failed),
    ] {
        check(with(&|exit| exit.ranks[2] = rank(2, code)), outcome);
    }
    check(with(&|exit| exit.ranks.truncate(3)), Outcome::Lost);
    check(with(&|exit| exit.ranks.clear()), Outcome::Lost);
    check(with(&|exit| exit.ranks[3].exit_code = None), Outcome::Lost);
    // Twice the same rank is not two ranks.
    check(with(&|exit| exit.ranks[3] = rank(2, 0)), Outcome::Lost);
    // Each launch counts for itself.
    check(with(&|exit| exit.launches = 2), Outcome::Lost);
    check(
        with(&|exit| {
            exit.launches = 2;
            exit.ranks.extend((0..4).map(|number| rank(number, 0)));
        }),
        Outcome::Passed,
    );
    // A launcher that numbers no rank.
    let unnumbered = |exit: &mut ExitRecord| exit.ranks.iter_mut().for_each(|it| it.rank = None);
    check(with(&unnumbered), Outcome::Passed);
    check(
        with(&|exit| {
            unnumbered(exit);
            exit.ranks.pop();
        }),
        Outcome::Lost,
    );
    // A command that starts MPI by itself, whose ranks may fail as they are expected to.
    check(
        with(&|exit| {
            exit.launches = 0;
            exit.ranks = vec![rank(0, 1)];
        }),
        Outcome::Passed,
    );
}

#[test]
fn ranks_that_mpi_runs_alone_never_pass() {
    let books = books();
    let record = job(&books, "ok");
    for (family, manager, outcome) in [
        ("mpich", "openmpi", Outcome::LaunchFailed),
        ("openmpi", "mpich", Outcome::LaunchFailed),
        ("openmpi", "pmi2", Outcome::LaunchFailed),
        ("mpich", "none", Outcome::LaunchFailed),
        ("mpich", "mpich", Outcome::Passed),
        ("mpich", "pmi2", Outcome::Passed),
        ("openmpi", "pmix", Outcome::Passed),
        ("other", "openmpi", Outcome::Passed),
        ("mpich", "", Outcome::Passed),
    ] {
        let mut exit = exit(0);
        manager.clone_into(&mut exit.process_manager);
        for rank in &mut exit.ranks {
            rank.family = Some(family.to_owned());
        }
        let verdict = verdict(Some(&record), Some(&exit));
        assert_eq!(verdict.outcome, outcome, "{family} under {manager}");
    }
    let sizes = |sizes: [Option<u32>; 4]| {
        let mut exit = exit(0);
        for (rank, size) in exit.ranks.iter_mut().zip(sizes) {
            rank.size = size;
        }
        verdict(Some(&record), Some(&exit)).outcome
    };
    assert_eq!(sizes([Some(4); 4]), Outcome::Passed);
    assert_eq!(sizes([Some(4), None, None, None]), Outcome::Passed);
    assert_eq!(sizes([Some(1); 4]), Outcome::LaunchFailed);
    assert_eq!(sizes([Some(2); 4]), Outcome::LaunchFailed);
    assert_eq!(sizes([None; 4]), Outcome::Passed);
}

#[test]
fn without_the_schedulers_word_nothing_passes() {
    assert_eq!(verdict(None, None).outcome, Outcome::Lost);
    assert_eq!(verdict(None, Some(&exit(0))).outcome, Outcome::Lost);
    assert_eq!(verdict(None, Some(&exit(143))).outcome, Outcome::Lost);
    assert_eq!(verdict(None, Some(&exit(3))).outcome, Outcome::Failed);
}

#[test]
fn an_exit_record_of_an_earlier_run_proves_nothing() {
    let books = books();
    let record = job(&books, "ok");
    let judged = |restarts| {
        let exit = exit(0);
        judge(&Evidence {
            record: Some(&record),
            restarts,
            exit: Some(&exit),
            ..Evidence::default()
        })
        .outcome
    };
    assert_eq!(judged(0), Outcome::Passed);
    assert_eq!(judged(1), Outcome::Lost);
}

#[test]
fn jobs_that_we_took_out_of_the_queue() {
    let books = books();
    let check =
        |name: Option<&str>, cause: CancelCause, exit: Option<ExitRecord>, outcome: Outcome| {
            let record = name.map(|name| job(&books, name));
            let verdict = judge(&Evidence {
                record: record.as_ref(),
                exit: exit.as_ref(),
                cancelled: Some(&cause),
                ..Evidence::default()
            });
            assert_eq!(verdict.outcome, outcome, "{name:?} {cause:?}");
        };
    let starved = || CancelCause::Starved("Priority".into());
    check(Some("waited"), starved(), None, Outcome::Starved);
    check(None, starved(), None, Outcome::Starved);
    check(Some("cancelled"), starved(), None, Outcome::Cancelled);
    check(
        Some("waited"),
        CancelCause::NeverStarts("PartitionConfig".into()),
        None,
        Outcome::Rejected,
    );
    check(Some("waited"), CancelCause::Asked, None, Outcome::Cancelled);
    // It ended before our word reached it.
    check(
        Some("ok"),
        CancelCause::Asked,
        Some(exit(0)),
        Outcome::Passed,
    );
    check(None, CancelCause::Asked, Some(exit(0)), Outcome::Cancelled);
}

#[test]
fn a_cluster_without_accounting_has_the_queue_and_the_log() {
    let queue = queue(include_str!(
        "../../../tests/data/slurm/22.05/squeue-ended.txt"
    ));
    let check = |id: &str, exit: Option<ExitRecord>, log: &str, outcome: Outcome| {
        let record = JobRecord::from(&queue.jobs[&id.parse::<JobId>().unwrap()]);
        let verdict = judge(&Evidence {
            record: Some(&record),
            exit: exit.as_ref(),
            log,
            ..Evidence::default()
        });
        assert_eq!(verdict.outcome, outcome, "{id}");
    };
    check("1", Some(exit(0)), "", Outcome::Passed);
    check("2", Some(exit(3)), "", Outcome::Failed);
    check("6", Some(exit(1)), "", Outcome::Failed);
    let log = "slurmstepd-n3: error: Detected 1 oom-kill event(s) in StepId=6.0. Some of your processes may have been";
    check("6", Some(exit(1)), log, Outcome::OutOfMemory);
    check(
        "6",
        Some(exit(1)),
        "srun: error: n3: task 1: Out Of Memory",
        Outcome::OutOfMemory,
    );
    check(
        "1",
        Some(exit(0)),
        "test: survives an oom-kill event",
        Outcome::Passed,
    );
    check("8", None, "", Outcome::Timeout);
    check("9", None, "", Outcome::Cancelled);
}
