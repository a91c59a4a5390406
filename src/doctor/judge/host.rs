//! This machine: what a login may use, and whether something can start runs at night.

use super::size;
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

fn limits(host: &Host) -> Finding {
    const CHECK: &str = "host.limits";
    let mut tight = Vec::new();
    let mut seen = Vec::new();
    let mut add = |few: bool, text: String| {
        if few {
            tight.push(text);
        } else {
            seen.push(text);
        }
    };
    if let Some(memory) = host.memory {
        add(
            memory < LITTLE_MEMORY,
            format!("{} of memory (cgroup)", size(memory)),
        );
    }
    if let Some(cpus) = host.cpus {
        add(
            cpus < 100,
            format!("{:.1} processors (cgroup)", cpus as f64 / 100.0),
        );
    }
    if let Some(tasks) = host.tasks {
        add(tasks < FEW_PROCESSES, format!("{tasks} tasks (cgroup)"));
    }
    if let Some(processes) = host.processes {
        add(
            processes < FEW_PROCESSES,
            format!("{processes} processes (ulimit -u)"),
        );
    }
    if let Some(files) = host.files {
        add(files < FEW_FILES, format!("{files} open files (ulimit -n)"));
    }
    if !tight.is_empty() {
        return Finding::warning(
            CHECK,
            format!("this login may use only {}", tight.join(", ")),
            "start runs elsewhere, build with fewer processes (`make -j 2`), and lower `threads` of [workspace]",
        );
    }
    if seen.is_empty() {
        return Finding::ok(CHECK, "nothing limits what this login may use");
    }
    Finding::ok(CHECK, format!("this login may use {}", seen.join(", ")))
}

fn cron(host: &Host) -> Finding {
    const CHECK: &str = "host.cron";
    match (&host.no_cron, &host.no_scrontab) {
        (None, None) => Finding::ok(CHECK, "cron and scrontab can be used"),
        (None, Some(_)) => Finding::ok(CHECK, "cron can be used"),
        (Some(why), None) => Finding::note(CHECK, format!("there is no cron ({why}), but scrontab can be used"))
            .remedy("write the line into `scrontab -e`"),
        (Some(why), Some(other)) => Finding::note(
            CHECK,
            format!("neither cron ({why}) nor scrontab ({other}) can be used"),
        )
        .remedy("for regular runs ask the operators which machine has cron, or use the CI of your forge"),
    }
}
