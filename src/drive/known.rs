//! A run as anybody can read it from its folder, whoever drives it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::folder::RunFolder;
use super::state::RunState;
use super::stored::{self, Stored};
use super::{DriveError, LEASE, build_job, cover_job, journal};
use crate::foreign;
use crate::launch::Place;
use crate::lease::{self, Claim, Life};
use crate::plan::Plan;
use crate::results::record::RunEntry;
use crate::scheduler::local::Ask;
use crate::scheduler::{JobId, Local, Observation, QueryError, Slurm};

/// How long Slurm may take to answer somebody who only looks.
const DEADLINE: Duration = Duration::from_secs(10);

/// A run with what is known of it.
#[derive(Debug)]
pub struct Known {
    /// Its folder.
    pub folder: RunFolder,
    /// What was asked for.
    pub stored: Stored,
    /// What it does.
    pub plan: Plan,
    /// How far it is.
    pub state: RunState,
    /// The jobs of builds that the scheduler has.
    pub build_jobs: BTreeMap<String, JobId>,
    /// The job of the coverage that the scheduler has.
    pub coverage_job: Option<JobId>,
    /// Who drives it, or did last.
    pub claim: Option<Claim>,
}

impl Known {
    /// Reads a run. Nothing of it is touched.
    pub fn read(folder: RunFolder) -> Result<Self, DriveError> {
        let stored = stored::read(&folder)?;
        let plan = stored::plan(&folder)?;
        let mut state = RunState::new(&plan);
        let lines = journal::read(&folder.journal())?;
        for line in &lines {
            state.apply(&line.event);
        }
        let claim = claim(&folder)?;
        Ok(Self {
            folder,
            stored,
            state,
            build_jobs: build_job::live(&plan, &lines),
            coverage_job: cover_job::live(&plan, &lines),
            plan,
            claim,
        })
    }

    /// Asks the scheduler after the jobs of the run; nothing is known of a run of another machine, or of one without jobs.
    pub async fn observe(&self) -> Result<Observation, QueryError> {
        let ids: Vec<JobId> = self.state.live().map(|(_, job)| job.id.clone()).collect();
        if ids.is_empty() {
            return Ok(Observation::default());
        }
        if self.stored.place == Place::Job {
            let Ok(environment) = stored::environment(&self.folder) else {
                return Ok(Observation::default());
            };
            return Slurm::new(environment, DEADLINE).poll(&ids).await;
        }
        if self.claim.as_ref().is_some_and(Claim::was_here) {
            return Ok(Local::new([], Ask::Leader, Duration::ZERO).poll(&ids));
        }
        Ok(Observation::default())
    }

    /// Returns whether a process drives it, as far as one can see from here.
    #[must_use]
    pub fn is_driven(&self) -> bool {
        self.claim.as_ref().is_some_and(is_alive)
    }
}

/// Returns who drives a run, or did last.
pub fn claim(folder: &RunFolder) -> Result<Option<Claim>, DriveError> {
    lease::look(folder.root(), LEASE).map_err(|source| DriveError::Folder {
        path: folder.root().to_owned(),
        source,
    })
}

/// Returns whether a claim is that of a process at work. One elsewhere counts: only time can tell.
#[must_use]
pub fn is_alive(claim: &Claim) -> bool {
    matches!(claim.life, Life::Alive | Life::Elsewhere)
}

/// Returns the record of a run that has ended.
pub fn entry(folder: &RunFolder) -> Result<Option<RunEntry>, DriveError> {
    let path = folder.record();
    match foreign::read(&path, foreign::DOCUMENT) {
        Ok(text) => serde_json::from_slice(&text)
            .map(Some)
            .map_err(|source| DriveError::Unreadable { path, source }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(DriveError::Folder {
            path: folder.root().to_owned(),
            source,
        }),
    }
}
