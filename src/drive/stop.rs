//! Stops a run, and cancels jobs: that nobody answers does not hold up the end.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::journal::JournalError;
use super::progress::Progress as Tell;
use super::state::Event;
use super::watch::{CANCEL_PATIENCE, Watch};
use crate::scheduler::JobId;

/// How long cancelled jobs may take to end when the run is stopped.
const STOP_PATIENCE: Duration = Duration::from_mins(2);

impl Watch<'_, '_> {
    pub(super) async fn stop_if_asked(&mut self) -> Result<(), JournalError> {
        if !self.setting.cancel.asked() || self.stopping.is_some() {
            return Ok(());
        }
        self.tell(Tell::Note(
            "stopping: cancelling the jobs of this run".to_owned(),
        ));
        let signal = self.setting.cancel.signal().unwrap_or(0);
        self.note(&Event::Stopping { signal })?;
        self.cancel_live().await;
        Ok(())
    }

    /// Cancels all jobs of the run. The journal says already that it is to stop.
    pub(super) async fn cancel_live(&mut self) {
        self.stopping.get_or_insert_with(Instant::now);
        let jobs: BTreeSet<JobId> = self.state.live().map(|(_, job)| job.id.clone()).collect();
        let jobs: Vec<JobId> = jobs.into_iter().collect();
        self.cancel_jobs(&jobs).await;
        self.pace.news();
    }

    /// A run that is to stop does not wait for ever for its jobs to end.
    pub(super) fn stop_waiting(&mut self) -> Result<(), JournalError> {
        if !self.has_waited_to_stop() {
            return Ok(());
        }
        let steps: Vec<usize> = self.live.keys().copied().collect();
        if !steps.is_empty() {
            self.tell(Tell::Note(format!(
                "{} jobs were to be cancelled, and Slurm has not said that they have ended: {}",
                steps.len(),
                self.how_to_cancel()
            )));
        }
        self.conclude_unheard(&steps)
    }

    pub(super) fn has_waited_to_stop(&self) -> bool {
        let patience = if self.is_silent() {
            CANCEL_PATIENCE
        } else {
            STOP_PATIENCE
        };
        self.stopping
            .is_some_and(|since| since.elapsed() >= patience)
    }

    fn how_to_cancel(&self) -> String {
        let jobs: BTreeSet<&str> = self.state.live().map(|(_, job)| job.id.root()).collect();
        let jobs: Vec<&str> = jobs.into_iter().collect();
        format!("`scancel {}` ends them", jobs.join(" "))
    }

    pub(super) async fn cancel_jobs(&mut self, jobs: &[JobId]) {
        if jobs.is_empty() {
            return;
        }
        let cancelled =
            tokio::time::timeout(CANCEL_PATIENCE, self.setting.scheduler.cancel(jobs)).await;
        let said = match cancelled {
            Ok(Ok(())) => {
                for job in jobs {
                    self.uncancelled.remove(job);
                }
                return;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!(
                "no answer from `scancel` within {} s",
                CANCEL_PATIENCE.as_secs()
            ),
        };
        let known = self.uncancelled.len();
        self.uncancelled.extend(jobs.iter().cloned());
        if self.uncancelled.len() > known {
            let names: BTreeSet<&str> = jobs.iter().map(JobId::root).collect();
            let names: Vec<&str> = names.into_iter().collect();
            self.tell(Tell::Note(format!(
                "could not cancel ({said}); tried again when Slurm answers; `scancel {}` would, too",
                names.join(" ")
            )));
        }
    }

    /// Cancels what could not be cancelled while the controller was silent.
    pub(super) async fn cancel_again(&mut self) {
        let live: BTreeSet<&JobId> = self.state.live().map(|(_, job)| &job.id).collect();
        self.uncancelled.retain(|job| live.contains(job));
        let jobs: Vec<JobId> = self.uncancelled.iter().cloned().collect();
        self.cancel_jobs(&jobs).await;
    }
}
