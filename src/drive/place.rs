//! Where steps run: as Slurm jobs, inside the allocation that we were started in, or on this machine.

use std::time::Duration;

use crate::config::SchedulerKind;
use crate::launch::Place;
use crate::process::Command;

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
        SchedulerKind::Auto if std::env::var_os("SLURM_JOB_ID").is_some() => Place::Allocation,
        SchedulerKind::Auto if sbatch_answers().await => Place::Job,
        SchedulerKind::Auto | SchedulerKind::Local => Place::Here,
    }
}

/// Whether this machine belongs to a cluster. One whose controller is down does too: its jobs wait for it.
async fn sbatch_answers() -> bool {
    let installed = Command::new("sbatch")
        .arg("--version")
        .deadline(DEADLINE)
        .success()
        .await;
    if installed.is_err() {
        return false;
    }
    let asked = Command::new("scontrol")
        .args(["show", "config"])
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

/// What there is to run steps on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resources {
    /// Nodes.
    pub nodes: u32,
    /// Cores of all nodes.
    pub cores: u32,
}

impl Resources {
    /// Returns this machine.
    #[must_use]
    pub fn here() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            nodes: 1,
            cores: u32::try_from(cores).unwrap_or(u32::MAX),
        }
    }

    /// Returns the allocation that we are in, by the variables that Slurm sets.
    #[must_use]
    pub fn of_allocation() -> Option<Self> {
        Self::parse(&std::env::var("SLURM_JOB_CPUS_PER_NODE").ok()?)
    }

    /// Reads `4(x3),2`: three nodes of four cores and one of two.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut sum = Self { nodes: 0, cores: 0 };
        for part in text.split(',') {
            let (cores, times) = match part.split_once("(x") {
                Some((cores, times)) => (cores, times.strip_suffix(')')?.parse().ok()?),
                None => (part, 1_u32),
            };
            let cores: u32 = cores.parse().ok()?;
            sum.nodes = sum.nodes.checked_add(times)?;
            sum.cores = sum.cores.checked_add(cores.checked_mul(times)?)?;
        }
        Some(sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_per_node_add_up() {
        for (text, expected) in [
            ("4(x3)", Some((3, 12))),
            ("4", Some((1, 4))),
            ("4(x2),2", Some((3, 10))),
            ("", None),
            ("4(x", None),
            ("9999999(x9999999)", None),
        ] {
            let found = Resources::parse(text).map(|it| (it.nodes, it.cores));
            assert_eq!(found, expected, "{text}");
        }
    }
}
