//! This machine: what a login may use, and whether something can start runs at night.

use crate::config::Memory;
use crate::doctor::facts::{Facts, Host};
use crate::doctor::finding::Finding;
use crate::launch::Place;

/// A build needs about this much.
const LITTLE_MEMORY: u64 = 2 << 30;
/// Threads and processes of a driver, its Slurm commands and a build.
const FEW_PROCESSES: u64 = 256;
const FEW_FILES: u64 = 512;

pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings = vec![limits(&facts.host)];
    if facts.place != Place::Allocation {
        findings.push(cron(&facts.host));
    }
    findings
}

/// A limit: what it is, whether it is tight, and what to do then.
struct Limit {
    text: String,
    is_tight: bool,
    remedy: &'static str,
}

fn limits(host: &Host) -> Finding {
    const CHECK: &str = "host.limits";
    let all = all_limits(host);
    let texts = |tight: bool| {
        let same = all.iter().filter(|limit| limit.is_tight == tight);
        let texts: Vec<&str> = same.map(|limit| limit.text.as_str()).collect();
        texts.join(", ")
    };
    let mut remedies: Vec<&str> = Vec::new();
    for limit in all.iter().filter(|limit| limit.is_tight) {
        if !remedies.contains(&limit.remedy) {
            remedies.push(limit.remedy);
        }
    }
    if !remedies.is_empty() {
        return Finding::warning(
            CHECK,
            format!("this login may use only {}", texts(true)),
            remedies.join("; "),
        );
    }
    if all.is_empty() {
        return Finding::ok(CHECK, "nothing limits what this login may use");
    }
    Finding::ok(CHECK, format!("this login may use {}", texts(false)))
}

fn all_limits(host: &Host) -> Vec<Limit> {
    const BUILD: &str = "build in a job (`where = \"job\"` of [build.tests]) or with fewer processes (`make -j 2`), and lower `threads` of \
                         [workspace]";
    const PROCESSES: &str = "allow more processes by `ulimit -u` before hpc-ci starts, as far as `ulimit -Hu` goes, and build with fewer";
    const FILES: &str = "allow more open files by `ulimit -n 4096` before hpc-ci starts; `ulimit -Hn` shows how far it goes";
    let limits = [
        host.memory.map(|memory| Limit {
            text: format!(
                "{} of memory (cgroup)",
                Memory::from_bytes(memory).rounded()
            ),
            is_tight: memory < LITTLE_MEMORY,
            remedy: BUILD,
        }),
        host.cpus.map(|cpus| Limit {
            text: format!("{:.1} processors (cgroup)", cpus as f64 / 100.0),
            is_tight: cpus < 100,
            remedy: BUILD,
        }),
        host.tasks.map(|tasks| Limit {
            text: format!("{tasks} tasks (cgroup)"),
            is_tight: tasks < FEW_PROCESSES,
            remedy: BUILD,
        }),
        host.processes.map(|processes| Limit {
            text: format!("{processes} processes (ulimit -u)"),
            is_tight: processes < FEW_PROCESSES,
            remedy: PROCESSES,
        }),
        host.files.map(|files| Limit {
            text: format!("{files} open files (ulimit -n)"),
            is_tight: files < FEW_FILES,
            remedy: FILES,
        }),
    ];
    limits.into_iter().flatten().collect()
}

fn cron(host: &Host) -> Finding {
    const CHECK: &str = "host.cron";
    match (&host.no_cron, &host.no_scrontab) {
        (None, None) => Finding::ok(CHECK, "cron and scrontab can be used"),
        (None, Some(_)) => Finding::ok(CHECK, "cron can be used"),
        (Some(why), None) => Finding::note(CHECK, format!("there is no cron ({why}), but scrontab can be used"))
            .remedy("`hpc-ci init --ci cron` writes ci/scrontab with the lines for `scrontab -e`"),
        (Some(why), Some(other)) => Finding::note(
            CHECK,
            format!("neither cron ({why}) nor scrontab ({other}) can be used"),
        )
        .remedy("for regular runs ask the operators which machine has cron, or let GitLab start them (`hpc-ci init --ci gitlab`)"),
    }
}
