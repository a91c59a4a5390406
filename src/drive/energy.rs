//! The energy of a run's jobs, as the cluster's books have it.

use std::collections::BTreeMap;

use super::Run;
use super::SLURM_DEADLINE;
use super::live::Attempt;
use crate::launch::Place;
use crate::plan::Step;
use crate::results::record::Energy;
use crate::scheduler::slurm::energy;
use crate::scheduler::{JobId, Slurm};

/// What is known of the energy that jobs used.
#[derive(Debug, Default)]
pub(super) struct Energies {
    known: energy::Energy,
}

impl Energies {
    /// Asks for that of every job. A cluster that does not answer tells nothing, which spoils no results.
    pub(super) async fn of(run: &Run, attempts: &BTreeMap<(usize, u32), Attempt>) -> Self {
        let jobs = attempts.values().filter_map(|it| it.end.job.clone());
        let jobs: Vec<JobId> = jobs.collect();
        if run.request.place != Place::Job || jobs.is_empty() {
            return Self::default();
        }
        let slurm = Slurm::new(run.inherited.clone(), SLURM_DEADLINE);
        let known = slurm.energy(&jobs, run.started).await;
        Self {
            known: known
                .inspect_err(|error| tracing::warn!(%error, "the energy of the jobs is not known"))
                .ok()
                .flatten()
                .unwrap_or_default(),
        }
    }

    /// Returns what the job of a step used.
    pub(super) fn of_job(&self, job: &JobId, step: &Step) -> Option<Energy> {
        let joules = *self.known.joules.get(job)?;
        // Slurm reads the meters of nodes, whoever uses them.
        let quality = if step.resources.exclusive {
            "of its nodes, which it had for itself"
        } else {
            "of its nodes, other jobs on them included"
        };
        Some(Energy {
            joules,
            source: format!("Slurm, {}", self.known.source),
            quality: Some(quality.to_owned()),
        })
    }
}
