//! Where steps run: as Slurm jobs, inside the allocation that we were started in, or on this machine.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::progress::{Observer, Progress};
use crate::build::environment::scrub;
use crate::build::secrets::Secrets;
use crate::config::SchedulerKind;
use crate::launch::Place;
use crate::plan::Step;
use crate::process::Command;
use crate::scheduler::Slurm;
use crate::scheduler::admission::{Demand, Host};
use crate::scheduler::slurm::nodes;

/// How long Slurm may take to say that it is there.
const DEADLINE: Duration = Duration::from_secs(10);

/// Variables that say which allocation this is; `mpiexec` finds its nodes by them.
const IDENTITY: &[&str] = &[
    "SLURM_JOB_ID",
    "SLURM_JOBID",
    "SLURM_NODELIST",
    "SLURM_JOB_NODELIST",
    "SLURM_NNODES",
    "SLURM_JOB_NUM_NODES",
    "SLURM_TASKS_PER_NODE",
    "SLURM_JOB_CPUS_PER_NODE",
];

/// Returns where steps run, as the settings ask for or as this machine offers.
pub async fn choose(kind: SchedulerKind) -> Place {
    match kind {
        SchedulerKind::Slurm => Place::Job,
        SchedulerKind::Allocation => Place::Allocation,
        SchedulerKind::Auto if in_allocation() => Place::Allocation,
        SchedulerKind::Auto if sbatch_answers().await => Place::Job,
        SchedulerKind::Auto | SchedulerKind::Local => Place::Here,
    }
}

/// Whether we were started inside an allocation.
#[must_use]
pub fn in_allocation() -> bool {
    std::env::var_os("SLURM_JOB_ID").is_some()
}

/// Whether this machine belongs to a cluster. One whose controller is down does too: its jobs wait for it.
async fn sbatch_answers() -> bool {
    let installed = Command::new("sbatch")
        .arg("--version")
        .environment(scrub(std::env::vars_os(), &Secrets::default()))
        .deadline(DEADLINE)
        .success()
        .await;
    if installed.is_err() {
        return false;
    }
    let asked = Command::new("scontrol")
        .args(["show", "config"])
        .environment(scrub(std::env::vars_os(), &Secrets::default()))
        .deadline(DEADLINE)
        .output()
        .await;
    match asked {
        Ok(output) => {
            output.status.success() || !output.stderr_text().contains("configuration source")
        }
        Err(_) => true,
    }
}

/// Returns the variables that identify the allocation we are in.
#[must_use]
pub fn allocation_identity() -> Vec<(String, String)> {
    IDENTITY
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)))
        .collect()
}

/// Returns this machine. Steps side by side share its memory as processes do.
#[must_use]
pub fn here() -> Host {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Host {
        name: String::new(),
        cores: u32::try_from(cores).unwrap_or(u32::MAX),
        memory: None,
        gpus: None,
    }
}

/// Returns the nodes of the allocation that we are in, by the variables that Slurm sets.
#[must_use]
pub fn hosts_of_allocation() -> Vec<Host> {
    let variable = |name: &str| std::env::var(name).ok();
    hosts(&variable)
}

/// Returns when the time of the allocation that we are in is over. A controller that does not say is told of.
pub(super) async fn end_of_allocation(slurm: &Slurm, observer: &Observer) -> Option<DateTime<Utc>> {
    if let Ok(seconds) = std::env::var("SLURM_JOB_END_TIME") {
        let end = seconds.parse().ok();
        return end.and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    }
    let id = std::env::var("SLURM_JOB_ID").ok()?;
    slurm.end_of(&id).await.unwrap_or_else(|error| {
        observer(Progress::Note(format!(
            "{error}: how much time is left of the allocation is not known"
        )));
        None
    })
}

fn hosts(variable: &dyn Fn(&str) -> Option<String>) -> Vec<Host> {
    let names = variable("SLURM_JOB_NODELIST").map(|list| nodes::expand(&list));
    let cores = variable("SLURM_JOB_CPUS_PER_NODE").and_then(|text| each(&text));
    let (Some(names), Some(cores)) = (names, cores) else {
        return Vec::new();
    };
    let number = |name: &str| variable(name)?.parse::<u64>().ok().filter(|it| *it > 0);
    let node_memory = number("SLURM_MEM_PER_NODE");
    let core_memory = number("SLURM_MEM_PER_CPU");
    let gpus = number("SLURM_GPUS_ON_NODE").and_then(|gpus| u32::try_from(gpus).ok());
    let host = |(name, cores): (String, u32)| Host {
        name,
        cores,
        memory: node_memory
            .or_else(|| core_memory?.checked_mul(u64::from(cores)))
            .and_then(|mebibytes| mebibytes.checked_mul(1 << 20)),
        gpus,
    };
    names.into_iter().zip(cores).map(host).collect()
}

/// More nodes than this in one allocation are no allocation but nonsense.
const MAX_NODES: usize = 1 << 20;

/// Reads `4(x3),2`: three nodes of four cores and one of two.
fn each(text: &str) -> Option<Vec<u32>> {
    let mut all = Vec::new();
    for part in text.split(',') {
        let (cores, times) = match part.split_once("(x") {
            Some((cores, times)) => (cores, times.strip_suffix(')')?.parse().ok()?),
            None => (part, 1_usize),
        };
        let cores: u32 = cores.parse().ok()?;
        if times > MAX_NODES - all.len() {
            return None;
        }
        all.extend(std::iter::repeat_n(cores, times));
    }
    Some(all)
}

/// Returns what a step takes of these hosts.
#[must_use]
pub fn demand(step: &Step, place: Place, hosts: &[Host]) -> Demand {
    let cores = hosts.iter().map(|host| host.cores).max().unwrap_or(1);
    if place == Place::Here {
        let cpus = step.resources.cpus_per_rank.unwrap_or(1);
        let print = step.footprint(cores);
        return Demand {
            nodes: 1,
            cores: step.resources.ranks.saturating_mul(cpus),
            alone: print.alone,
            serial: step.serial.clone(),
            ..Demand::default()
        };
    }
    let print = step.footprint(cores);
    Demand {
        nodes: print.nodes,
        cores: print.cores,
        memory: print.memory,
        gpus: print.gpus,
        alone: print.alone,
        serial: step.serial.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_per_node_are_told_apart() {
        for (text, expected) in [
            ("4(x3)", Some(vec![4, 4, 4])),
            ("4", Some(vec![4])),
            ("4(x2),2", Some(vec![4, 4, 2])),
            ("", None),
            ("4(x", None),
            ("9999999(x9999999)", None),
        ] {
            assert_eq!(each(text), expected, "{text}");
        }
    }

    #[test]
    fn an_allocation_tells_its_nodes() {
        let variables = |name: &str| {
            let value = match name {
                "SLURM_JOB_NODELIST" => "n[1-2]",
                "SLURM_JOB_CPUS_PER_NODE" => "4,2",
                "SLURM_MEM_PER_CPU" => "256",
                _ => return None,
            };
            Some(value.to_owned())
        };
        let found: Vec<String> = hosts(&variables)
            .iter()
            .map(|host| format!("{} {} {:?}", host.name, host.cores, host.memory))
            .collect();
        assert_eq!(found, ["n1 4 Some(1073741824)", "n2 2 Some(536870912)"]);
        assert_eq!(hosts(&|_| None), []);
    }
}
