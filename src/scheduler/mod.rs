//! Where jobs run: asks a scheduler to start them, asks after many of them at once, cancels them.
//!
//! Two schedulers are known: [`Slurm`], and [`Local`], which runs scripts as processes of this host — be it under
//! mpiexec, or as job steps of the allocation that we were started in. What a job's script says, and what is done with
//! its end, is left to others; [`verdict`] only says what the end means. Nothing here knows hpc.toml.

pub mod admission;
pub mod exit_record;
pub mod job;
pub mod local;
pub mod outcome;
pub mod pending;
pub mod slurm;
pub mod verdict;

pub use exit_record::{ExitRecord, Harness, InvalidExitRecord, Launched, RankExit};
pub use job::{
    Accounting, Array, Dependency, Estimate, ExitStatus, JobId, JobRecord, JobRequest, JobState,
    JobStatus, Observation, Phase, StepRecord,
};
pub use local::Local;
pub use outcome::{Outcome, Status};
pub use slurm::{Found, Slurm};
pub use verdict::{CancelCause, Evidence, Verdict, is_fault_of_place, judge};

use chrono::{DateTime, Utc};

/// A scheduler that can be asked.
#[derive(Debug)]
pub enum Scheduler {
    /// Slurm's controller, through its commands.
    Slurm(Slurm),
    /// This host.
    Local(Local),
}

/// A job that was not submitted, or that we cannot say was submitted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// The scheduler's command is not there.
    #[error("`{command}` was not found")]
    NotInstalled {
        /// The command.
        command: String,
    },
    /// The scheduler is out of reach or busy; nothing was submitted.
    #[error("the scheduler cannot take the job now: {said}")]
    Transient {
        /// What the scheduler's command said.
        said: String,
    },
    /// No answer came. The job may have been submitted, so its name must be looked up before another attempt.
    #[error("the job may or may not have been submitted: {said}")]
    Uncertain {
        /// What the scheduler's command said, or that it was silent.
        said: String,
    },
    /// As many jobs as this user or account may have are there already; later there will be room.
    #[error("a limit on submitted jobs is reached: {said}")]
    Limit {
        /// What the scheduler's command said.
        said: String,
    },
    /// The scheduler will never take this request.
    #[error("the scheduler refused the job: {reason}")]
    Rejected {
        /// The scheduler's own words.
        reason: String,
        /// What to change, where we know.
        help: Option<String>,
    },
}

impl SubmitError {
    /// Returns whether the same request may succeed later.
    #[must_use]
    pub fn may_pass_later(&self) -> bool {
        !matches!(self, Self::Rejected { .. } | Self::NotInstalled { .. })
    }

    /// Returns what to do about it.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        match self {
            Self::NotInstalled { .. } => {
                Some("load the module that provides the commands of Slurm".into())
            }
            Self::Rejected { help, .. } => help.clone(),
            Self::Transient { .. } | Self::Uncertain { .. } | Self::Limit { .. } => None,
        }
    }
}

/// A question to the scheduler that got no answer. Nothing follows for the jobs that it was about.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// The scheduler's command is not there.
    #[error("`{command}` was not found")]
    NotInstalled {
        /// The command.
        command: String,
    },
    /// The daemon behind it is out of reach or does not answer; it may come back.
    #[error("no answer from `{command}`: {said}")]
    Unreachable {
        /// The command.
        command: String,
        /// What it said, or that it was silent.
        said: String,
    },
    /// This cluster keeps no books.
    #[error("this cluster keeps no accounting")]
    NoAccounting,
    /// The command failed in another way.
    #[error("`{command}` failed: {said}")]
    Failed {
        /// The command.
        command: String,
        /// What it said.
        said: String,
    },
}

impl Scheduler {
    /// Submits a job and returns its id.
    pub async fn submit(&self, request: &JobRequest) -> Result<JobId, SubmitError> {
        match self {
            Self::Slurm(slurm) => slurm.submit(request).await,
            Self::Local(local) => local.submit(request),
        }
    }

    /// Returns whether a command that submits a job of this name is still at work on this host, ours or that of a process
    /// that died meanwhile. As long as it is, not to find the job proves nothing.
    #[must_use]
    pub fn is_submitting(&self, name: &str) -> bool {
        match self {
            Self::Slurm(_) => {
                let argument = format!("--job-name={}", slurm::argv::job_name(name));
                !crate::process::table::with_argument(&argument).is_empty()
            }
            Self::Local(_) => false,
        }
    }

    /// Returns the job of this user with each of these names that was submitted since then, alive or ended, as far as there is one.
    ///
    /// After [`SubmitError::Uncertain`] this comes before every further attempt, and an error here means another wait.
    pub async fn find_by_name(
        &self,
        names: &[String],
        since: DateTime<Utc>,
    ) -> Result<Found, QueryError> {
        match self {
            Self::Slurm(slurm) => slurm.find(names, since).await,
            Self::Local(local) => {
                let job = |name: &String| {
                    Some((name.clone(), local.find_by_name(name).into_iter().next()?))
                };
                Ok(Found {
                    jobs: names.iter().filter_map(job).collect(),
                    doubt: None,
                })
            }
        }
    }

    /// Asks after all these jobs at once.
    pub async fn poll(&self, ids: &[JobId]) -> Result<Observation, QueryError> {
        match self {
            Self::Slurm(slurm) => slurm.poll(ids).await,
            Self::Local(local) => Ok(local.poll(ids)),
        }
    }

    /// Asks the books for all these jobs at once. `since` lies before the submission of the first.
    pub async fn record(
        &self,
        ids: &[JobId],
        since: DateTime<Utc>,
    ) -> Result<Accounting, QueryError> {
        match self {
            Self::Slurm(slurm) => slurm.record(ids, since).await,
            Self::Local(local) => Ok(local.record(ids)),
        }
    }

    /// Cancels jobs. One that has ended already is no error.
    pub async fn cancel(&self, ids: &[JobId]) -> Result<(), QueryError> {
        match self {
            Self::Slurm(slurm) => slurm.cancel(ids).await,
            Self::Local(local) => {
                local.cancel(ids).await;
                Ok(())
            }
        }
    }
}
