//! Slurm, through its commands: sbatch, squeue, sacct, scancel.
//!
//! One question covers all jobs of a run, whatever their number, and each has a deadline, since sacct waits for ever on
//! a database that hangs. The commands see the environment that was handed in, without the variables that would change
//! what they print; sbatch's is also what the jobs inherit.

pub mod argv;
pub mod nodes;
pub mod parse;
pub mod refusal;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::{Accounting, JobId, JobRequest, Observation, QueryError, SubmitError};
use crate::process::{Command, Output, ProcessError};

/// Ids in one question: the kernel takes 128 KiB in one argument.
const IDS_AT_ONCE: usize = 4000;

/// Seconds that accounting's clock may be behind ours.
const CLOCK_SLACK: i64 = 3600;

/// Variables by which a user changes what the commands ask, filter or print.
const MEDDLING: &[&str] = &[
    "SACCT_",
    "SBATCH_",
    "SCANCEL_",
    "SCONTROL_",
    "SINFO_",
    "SQUEUE_",
    "SLURM_",
];

/// A Slurm cluster.
#[derive(Debug, Clone)]
pub struct Slurm {
    environment: Vec<(OsString, OsString)>,
    cluster: Option<String>,
    deadline: Duration,
}

impl Slurm {
    /// Returns the cluster that the commands of an environment reach. Of its `SLURM_*`, `SBATCH_*` and the like only
    /// `SLURM_CONF` is kept, and `SLURM_CLUSTERS` decides on the cluster.
    #[must_use]
    pub fn new(
        environment: impl IntoIterator<Item = (OsString, OsString)>,
        deadline: Duration,
    ) -> Self {
        let environment: Vec<_> = environment.into_iter().collect();
        let cluster = environment.iter().find(|(key, _)| key == "SLURM_CLUSTERS");
        let cluster = cluster.map(|(_, value)| value.to_string_lossy().into_owned());
        let keep = |(key, _): &(OsString, OsString)| {
            let key = key.to_string_lossy();
            key == "SLURM_CONF" || !MEDDLING.iter().any(|prefix| key.starts_with(prefix))
        };
        Self {
            environment: environment.into_iter().filter(keep).collect(),
            cluster,
            deadline,
        }
    }

    /// Returns the same, speaking to another cluster of the federation.
    #[must_use]
    pub fn cluster(mut self, name: impl Into<String>) -> Self {
        self.cluster = Some(name.into());
        self
    }

    /// Submits a job and returns its id.
    pub async fn submit(&self, request: &JobRequest) -> Result<JobId, SubmitError> {
        let sbatch = self.command("sbatch").args(argv::argv(request));
        let output = sbatch.output().await.map_err(|error| match error {
            ProcessError::Deadline { deadline, .. } => SubmitError::Uncertain {
                said: refusal::silence(deadline),
            },
            ProcessError::Pipe { source, .. } => SubmitError::Uncertain {
                said: source.to_string(),
            },
            ProcessError::Start { .. } | ProcessError::Failed { .. } => SubmitError::NotInstalled {
                command: "sbatch".to_owned(),
            },
        })?;
        if !output.status.success() {
            return Err(refusal::submit_error(&output.stderr_text()));
        }
        let stdout = output.stdout_text();
        parse::submitted(&stdout).ok_or_else(|| SubmitError::Uncertain {
            said: format!("`{}`", stdout.trim()),
        })
    }

    /// Returns every job of this user with this name that was submitted since then, alive or ended.
    ///
    /// Accounting learns of a job seconds after the controller, so both are asked; a cluster without accounting
    /// answers with what the controller remembers.
    pub async fn find_by_name(
        &self,
        name: &str,
        since: DateTime<Utc>,
    ) -> Result<Vec<JobId>, QueryError> {
        // Names may hold commas, at which `--name` would split, so all names are read and compared here.
        let user = nix::unistd::getuid().to_string();
        let queue = self
            .query("squeue")
            .args(["-h", "-r", "-t", "all", "-o", "%i|%j", "-u", &user]);
        let mut found = parse::names(&self.ask("squeue", queue).await?);
        let sacct = self
            .query("sacct")
            .args(["-n", "-P", "-X", "-o", "JobID,JobName", "-u", &user])
            .args(["--starttime", &ago(since)]);
        match self.ask("sacct", sacct).await {
            Ok(text) => found.extend(parse::names(&text)),
            Err(QueryError::NoAccounting | QueryError::NotInstalled { .. }) => {}
            Err(error) => return Err(error),
        }
        let name = argv::job_name(name);
        let ids: BTreeSet<JobId> = found
            .into_iter()
            .filter(|(_, found)| *found == name)
            .map(|(id, _)| id)
            .collect();
        Ok(ids.into_iter().collect())
    }

    /// Asks the controller after all these jobs at once, for as long as it remembers them (`MinJobAge` after their
    /// end). An array's id stands for all of its tasks.
    pub async fn poll(&self, ids: &[JobId]) -> Result<Observation, QueryError> {
        let mut observation = Observation::default();
        for roots in roots(ids).chunks(IDS_AT_ONCE) {
            let squeue = self
                .query("squeue")
                .args(["-h", "-r", "-t", "all", "-o", parse::QUEUE_FORMAT])
                .args(["-j", &roots.join(",")]);
            let part = match self.ask("squeue", squeue).await {
                Ok(text) => parse::queue(&text),
                // What it says of a single job, or of all of them, once it has forgotten them.
                Err(QueryError::Failed { said, .. }) if said.contains("Invalid job id") => continue,
                Err(error) => return Err(error),
            };
            observation.jobs.extend(part.jobs);
            observation.unread.extend(part.unread);
        }
        Ok(observation)
    }

    /// Asks the books for all these jobs at once. `since` lies before the submission of the first.
    pub async fn record(
        &self,
        ids: &[JobId],
        since: DateTime<Utc>,
    ) -> Result<Accounting, QueryError> {
        let mut accounting = Accounting::default();
        for roots in roots(ids).chunks(IDS_AT_ONCE) {
            let sacct = self
                .query("sacct")
                .args(["-n", "-P", "-D", "-o", parse::ACCOUNTING_FORMAT])
                .args(["--starttime", &ago(since)])
                .args(["-j", &roots.join(",")]);
            let part = parse::accounting(&self.ask("sacct", sacct).await?);
            accounting.runs.extend(part.runs);
            accounting.unread.extend(part.unread);
        }
        Ok(accounting)
    }

    /// Cancels jobs. One that has ended already is no error.
    pub async fn cancel(&self, ids: &[JobId]) -> Result<(), QueryError> {
        for ids in ids.chunks(IDS_AT_ONCE) {
            let scancel = self.query("scancel").args(ids.iter().map(JobId::as_str));
            self.ask_cancel(scancel).await?;
        }
        Ok(())
    }

    /// Sends a signal, `TERM` for example, to the processes of one step: `0` or `batch`.
    pub async fn cancel_step(
        &self,
        id: &JobId,
        step: &str,
        signal: &str,
    ) -> Result<(), QueryError> {
        let scancel = self
            .query("scancel")
            .args(["-s", signal, &format!("{id}.{step}")]);
        self.ask_cancel(scancel).await
    }

    async fn ask_cancel(&self, scancel: Command) -> Result<(), QueryError> {
        match self.ask("scancel", scancel).await {
            Err(QueryError::Failed { said, .. }) if gone(&said) => Ok(()),
            other => other.map(drop),
        }
    }

    /// A command of Slurm's in our environment; sbatch hands this on to the jobs.
    fn command(&self, program: &str) -> Command {
        let command = Command::new(program)
            .environment(self.environment.iter().map(|(key, value)| (key, value)))
            .deadline(self.deadline);
        match &self.cluster {
            Some(cluster) => command.args(["-M", cluster]),
            None => command,
        }
    }

    /// A command that only asks, and tells times as seconds since the epoch.
    fn query(&self, program: &str) -> Command {
        self.command(program).env("SLURM_TIME_FORMAT", "%s")
    }

    async fn ask(&self, program: &str, command: Command) -> Result<String, QueryError> {
        let program = program.to_owned();
        match command.output().await {
            Ok(Output { status, stdout, .. }) if status.success() => {
                Ok(String::from_utf8_lossy(&stdout).into_owned())
            }
            Ok(output) => Err(refusal::query_error(&program, &output.stderr_text())),
            Err(ProcessError::Deadline { deadline, .. }) => Err(QueryError::Unreachable {
                command: program,
                said: refusal::silence(deadline),
            }),
            Err(ProcessError::Pipe { source, .. }) => Err(QueryError::Unreachable {
                command: program,
                said: source.to_string(),
            }),
            Err(ProcessError::Start { .. } | ProcessError::Failed { .. }) => {
                Err(QueryError::NotInstalled { command: program })
            }
        }
    }
}

/// The ids to ask for: an array's tasks come with the array.
fn roots(ids: &[JobId]) -> Vec<&str> {
    let roots: BTreeSet<&str> = ids.iter().map(JobId::root).collect();
    roots.into_iter().collect()
}

/// A point in time as sacct reads it, relative so that no time zone matters.
fn ago(since: DateTime<Utc>) -> String {
    let seconds = (Utc::now() - since).num_seconds().max(0) + CLOCK_SLACK;
    format!("now-{seconds}seconds")
}

/// Whether scancel complains of nothing but jobs that are not there any more.
fn gone(said: &str) -> bool {
    let harmless = [
        "Invalid job id specified",
        "already completing or completed",
    ];
    said.split("; ")
        .all(|line| harmless.iter().any(|text| line.contains(text)))
}
