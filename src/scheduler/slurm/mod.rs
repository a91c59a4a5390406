//! Slurm, through its commands: sbatch, squeue, sacct, scancel.
//!
//! One question covers all jobs of a run, whatever their number, and each has a deadline, since sacct waits for ever on
//! a database that hangs. The commands see the environment that was handed in, without the variables that would change
//! what they print; sbatch's is also what the jobs inherit.

pub mod argv;
#[cfg(test)]
mod captured;
pub mod cluster;
pub mod energy;
pub mod nodes;
pub mod parse;
pub mod refusal;
#[cfg(test)]
mod states;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::{Accounting, Estimate, JobId, JobRequest, Observation, QueryError, SubmitError};
pub use argv::{argv, takes_array};
pub use cluster::{Association, Cluster, Partition, Shape};

use crate::process::{Command, Output, ProcessError, is_for_now, own_umask};

/// Ids in one question: the kernel takes 128 KiB in one argument.
const IDS_AT_ONCE: usize = 4000;

/// Between two questions.
const BETWEEN: Duration = Duration::from_millis(500);

/// How far the controller's clock may be from ours.
const CLOCK_SLACK: TimeDelta = TimeDelta::minutes(5);

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
    patience: Duration,
}

/// The jobs that were found under some names.
#[derive(Debug, Default)]
pub struct Found {
    /// Those of each name that has any.
    pub jobs: BTreeMap<String, JobId>,
    /// Why a name without a job may have one all the same.
    pub doubt: Option<QueryError>,
}

impl Found {
    /// Takes in what squeue or sacct say of the jobs of this user; of names that have a job already nothing more.
    fn take_in(&mut self, names: &[String], text: &str, earliest: DateTime<Utc>) {
        let mut traces = parse::traces(text);
        traces.retain(|trace| trace.submit.is_none_or(|submit| submit >= earliest));
        for name in names {
            let mut ids = traces
                .iter()
                .filter(|trace| argv::is_named(name, &trace.label))
                .map(|trace| &trace.id);
            if let Some(first) = ids.next() {
                let least = ids.fold(first, Ord::min);
                self.jobs
                    .entry(name.clone())
                    .or_insert_with(|| least.clone());
            }
        }
    }
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
            patience: deadline,
        }
    }

    /// Returns the same, with another time that a submission may take: sbatch tries again by itself, and what it has done is
    /// not known of one that was stopped.
    #[must_use]
    pub fn submitting_within(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Returns the same, speaking to another cluster of the federation.
    #[must_use]
    pub fn on(mut self, name: impl Into<String>) -> Self {
        self.cluster = Some(name.into());
        self
    }

    /// Submits a job and returns its id.
    pub async fn submit(&self, request: &JobRequest) -> Result<JobId, SubmitError> {
        let sbatch = self.command("sbatch").args(argv(request));
        let sbatch = sbatch.deadline(self.patience);
        let stdout = sbatch_output(sbatch).await?.stdout_text();
        parse::submitted(&stdout).ok_or_else(|| SubmitError::Uncertain {
            said: format!("`{}`", stdout.trim()),
        })
    }

    /// Returns when and where a job would start; nothing is submitted. A request that would be refused is.
    ///
    /// `None` if sbatch does not say, as some versions do of requests that can never start.
    pub async fn estimate(&self, request: &JobRequest) -> Result<Option<Estimate>, SubmitError> {
        let sbatch = self.query("sbatch").arg("--test-only");
        let output = sbatch_output(sbatch.args(argv(request))).await?;
        Ok(parse::estimate(&output.stderr_text()))
    }

    /// Returns the job of this user with each of these names that was submitted since then, alive or ended.
    ///
    /// A controller that hung takes up what was sent meanwhile: sbatch had said that it timed out, and yet the job is
    /// there some time after the controller answers again. Accounting learns of a job seconds after the controller, so
    /// it is asked about what the controller does not know; a cluster without accounting answers with what the controller
    /// remembers.
    pub async fn find(&self, names: &[String], since: DateTime<Utc>) -> Result<Found, QueryError> {
        // Names may hold commas, at which `--name` would split, so all names are read and compared here.
        let user = nix::unistd::getuid().to_string();
        let squeue =
            self.query("squeue")
                .args(["-h", "-r", "-t", "all", "-o", "%i|%V|%k|%j", "-u", &user]);
        let earliest = since - CLOCK_SLACK;
        let mut found = Found::default();
        found.take_in(names, &self.ask("squeue", squeue).await?, earliest);
        if names.iter().all(|name| found.jobs.contains_key(name)) {
            return Ok(found);
        }
        tokio::time::sleep(BETWEEN).await;
        let sacct = self
            .query("sacct")
            .args(["-n", "-P", "-X", "-o", "JobID,Submit,Comment,JobName"])
            .args(["-u", &user, "--starttime", &ago(since)]);
        match self.ask("sacct", sacct).await {
            Ok(text) => found.take_in(names, &text, earliest),
            Err(QueryError::NoAccounting | QueryError::NotInstalled { .. }) => {}
            // That the controller knows nothing is no proof without the books.
            Err(error) => found.doubt = Some(error),
        }
        Ok(found)
    }

    /// Asks the controller after all these jobs at once, for as long as it remembers them (`MinJobAge` after their
    /// end). An array's id stands for all of its tasks.
    pub async fn poll(&self, ids: &[JobId]) -> Result<Observation, QueryError> {
        let mut observation = Observation::default();
        for roots in roots(ids).chunks(IDS_AT_ONCE) {
            let squeue = self
                .query("squeue")
                // Asked for one cluster, squeue need not look for others first.
                .args(self.cluster.is_none().then_some("--local"))
                .args(["-h", "-r", "-t", "all", "-O", parse::QUEUE_FORMAT])
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
        self.name_users(&mut accounting).await;
        Ok(accounting)
    }

    /// Asks the books what energy these jobs used; `None` where the cluster does not gather it.
    pub async fn energy(
        &self,
        ids: &[JobId],
        since: DateTime<Utc>,
    ) -> Result<Option<energy::Energy>, QueryError> {
        let config = self.query("scontrol").args(["show", "config"]);
        let Some(source) = energy::source(&self.ask("scontrol", config).await?) else {
            return Ok(None);
        };
        let mut joules = BTreeMap::new();
        for roots in roots(ids).chunks(IDS_AT_ONCE) {
            let sacct = self
                .query("sacct")
                .args(["-n", "-P", "-X", "-o", energy::FORMAT])
                .args(["--starttime", &ago(since)])
                .args(["-j", &roots.join(",")]);
            joules.extend(energy::joules(&self.ask("sacct", sacct).await?));
        }
        Ok(Some(energy::Energy { source, joules }))
    }

    /// Puts names in place of the numbers of those who cancelled jobs. `id` knows users that a static program cannot look up.
    async fn name_users(&self, accounting: &mut Accounting) {
        let mut names: BTreeMap<String, Option<String>> = BTreeMap::new();
        for run in accounting.runs.values_mut().flatten() {
            let Some(number) = &run.cancelled_by else {
                continue;
            };
            if !names.contains_key(number) {
                let id = Command::new("id").args(["-nu", "--", number]);
                let said = id.deadline(self.deadline).success().await;
                let name = said
                    .ok()
                    .map(|output| output.stdout_text().trim().to_owned());
                names.insert(number.clone(), name);
            }
            if let Some(Some(name)) = names.get(number) {
                run.cancelled_by = Some(name.clone());
            }
        }
    }

    /// Cancels jobs. One that has ended already is no error.
    pub async fn cancel(&self, ids: &[JobId]) -> Result<(), QueryError> {
        for words in argv::words(ids).chunks(IDS_AT_ONCE) {
            self.ask_cancel(self.query("scancel").args(words)).await?;
        }
        Ok(())
    }

    /// Returns when the time of a running job is over; `None` if it has no limit.
    pub async fn end_of(&self, id: &str) -> Result<Option<DateTime<Utc>>, QueryError> {
        let squeue = self.query("squeue").args(["-h", "-j", id, "-o", "%e"]);
        Ok(parse::time(&self.ask("squeue", squeue).await?))
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

    /// Asks what jobs can be given: the settings of the cluster, its partitions and their nodes. An error only if its
    /// controller does not answer.
    pub async fn outline(&self) -> Result<Cluster, QueryError> {
        let mut cluster = Cluster::default();
        let config = self.query("scontrol").args(["show", "config"]);
        cluster.configure(&self.ask("scontrol", config).await?);
        let partitions = self.query("scontrol").args(["-o", "show", "partition"]);
        let shapes = self
            .query("sinfo")
            .args(["-h", "-e", "-o", cluster::SHAPE_FORMAT]);
        let (partitions, shapes) =
            tokio::join!(self.ask("scontrol", partitions), self.ask("sinfo", shapes));
        cluster.partitions = cluster::partitions(&cluster.answer(partitions));
        for (name, shape) in cluster::shapes(&cluster.answer(shapes)) {
            let partitions = &mut cluster.partitions;
            if let Some(partition) = partitions
                .iter_mut()
                .find(|partition| partition.name == name)
            {
                partition.shapes.push(shape);
            }
        }
        Ok(cluster)
    }

    /// Asks what the cluster is like, and what this user may use of it. An error only if its controller does not answer.
    pub async fn probe(&self) -> Result<Cluster, QueryError> {
        let mut cluster = self.outline().await?;
        let pmis = self.query("srun").arg("--mpi=list");
        let associations = self
            .query("sacctmgr")
            .args(["-n", "-P", "show", "associations"]);
        let associations = associations.args([
            &format!("user={}", self.user()),
            cluster::ASSOCIATION_FORMAT,
        ]);
        let (pmis, associations) =
            tokio::join!(self.ask("srun", pmis), self.ask("sacctmgr", associations));
        cluster.pmis = cluster::pmis(&cluster.answer(pmis));
        cluster.associations = cluster::associations(&cluster.answer(associations));
        Ok(cluster)
    }

    /// Returns the account that pays for jobs of this user that name none; `None` if the books do not say.
    pub async fn default_account(&self) -> Result<Option<String>, QueryError> {
        let sacctmgr = self.query("sacctmgr").args(["-n", "-P", "show", "user"]);
        let sacctmgr = sacctmgr.args([&format!("name={}", self.user()), "format=DefaultAccount"]);
        let text = self.ask("sacctmgr", sacctmgr).await?;
        Ok(text.lines().next().and_then(parse::said))
    }

    /// The user's name: sacctmgr takes no number, and a static program cannot look names up everywhere.
    fn user(&self) -> String {
        let set = |name: &str| self.environment.iter().find(|(key, _)| key == name);
        let user = set("USER").or_else(|| set("LOGNAME"));
        user.map(|(_, value)| value.to_string_lossy().into_owned())
            .unwrap_or_default()
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
        // By it sbatch tells the umask of a job, which is to be the user's.
        let command = match own_umask() {
            Some(own) => command.env("SLURM_UMASK", own),
            None => command,
        };
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
            Err(ProcessError::Start { source, .. }) if is_for_now(&source) => {
                Err(QueryError::Unreachable {
                    command: program,
                    said: format!("it cannot be started here now: {source}"),
                })
            }
            Err(ProcessError::Start { .. } | ProcessError::Failed { .. }) => {
                Err(QueryError::NotInstalled { command: program })
            }
        }
    }
}

/// Runs sbatch; silence leaves open whether it did its work.
async fn sbatch_output(sbatch: Command) -> Result<Output, SubmitError> {
    let output = sbatch.output().await.map_err(|error| match error {
        ProcessError::Deadline { deadline, .. } => SubmitError::Uncertain {
            said: refusal::silence(deadline),
        },
        ProcessError::Pipe { source, .. } => SubmitError::Uncertain {
            said: source.to_string(),
        },
        ProcessError::Start { source, .. } if is_for_now(&source) => SubmitError::Transient {
            said: format!("`sbatch` cannot be started here now: {source}"),
        },
        ProcessError::Start { .. } | ProcessError::Failed { .. } => SubmitError::NotInstalled {
            command: "sbatch".to_owned(),
        },
    })?;
    if output.status.success() {
        return Ok(output);
    }
    Err(refusal::submit_error(&output.stderr_text()))
}

/// The ids to ask for: an array's tasks come with the array.
fn roots(ids: &[JobId]) -> Vec<&str> {
    let roots: BTreeSet<&str> = ids.iter().map(JobId::root).collect();
    roots.into_iter().collect()
}

/// A point in time as sacct reads it, relative so that no time zone matters.
fn ago(since: DateTime<Utc>) -> String {
    let seconds = (Utc::now() - since + CLOCK_SLACK).num_seconds().max(1);
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
