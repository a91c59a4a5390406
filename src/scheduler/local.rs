//! Scripts as processes of this host: local mpiexec runs, and job steps of the allocation we were started in.
//!
//! Each script leads a session of its own and carries a mark in its environment, so that all it starts can be found and
//! ended: Open MPI puts ranks into process groups of their own, MPICH's Hydra even into sessions. A script outlives us: a
//! later process of ours finds it again by its id.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tokio::sync::Notify;

use super::SubmitError;
use super::job::{
    Accounting, ExitStatus, JobId, JobRecord, JobRequest, JobState, JobStatus, Observation,
};
use crate::foreign;
use crate::process::table::{self, process};
use crate::process::{is_for_now, own_umask};

/// The variable that marks a script and all that it starts. It holds the process number of the script, behind those of
/// scripts that this program itself was started by.
const MARK: &str = "HPC_CI_SESSION";

/// Becomes bash with the script that is its argument, marked. The process number stays the same, and so does the second
/// argument, the job's name, by which a later process of ours finds it.
const MARKED: &str =
    "HPC_CI_SESSION=${HPC_CI_SESSION:+$HPC_CI_SESSION:}$$ exec bash -p -- \"$0\" \"$1\"";

/// Between two looks at a process that is to end.
const LOOK: Duration = Duration::from_millis(20);

/// Who is asked to end first when a job is cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// The script and all of its process group.
    Group,
    /// The script alone, which then stops its program. srun must not get SIGTERM: it would kill the ranks at once.
    Leader,
}

/// The processes of this host.
#[derive(Debug)]
pub struct Local {
    environment: Vec<(OsString, OsString)>,
    ask: Ask,
    grace: Duration,
    jobs: Arc<Mutex<BTreeMap<JobId, Job>>>,
    ended: Arc<Notify>,
}

#[derive(Debug, Clone)]
struct Job {
    name: String,
    start: DateTime<Utc>,
    cancelled: bool,
    end: Option<(DateTime<Utc>, ExitStatus)>,
}

impl Local {
    /// Returns this host; scripts see this environment and no more than a mark beside it. A cancelled one has `grace` to end before it is killed.
    #[must_use]
    pub fn new(
        environment: impl IntoIterator<Item = (OsString, OsString)>,
        ask: Ask,
        grace: Duration,
    ) -> Self {
        Self {
            environment: environment.into_iter().collect(),
            ask,
            grace,
            jobs: Arc::default(),
            ended: Arc::default(),
        }
    }

    /// Starts a script under bash and returns its id. Resources are not looked at: see [`admission`](super::admission).
    ///
    /// Must be called within a tokio runtime.
    pub fn submit(&self, request: &JobRequest) -> Result<JobId, SubmitError> {
        let rejected = |what: &str, error: &std::io::Error| {
            let reason = format!("{what}: {error}");
            if is_for_now(error) {
                return SubmitError::Transient { said: reason };
            }
            SubmitError::Rejected { reason, help: None }
        };
        let log = foreign::append(&request.output);
        let log = log
            .map_err(|error| rejected("no log", &error))?
            .into_parts()
            .0;
        let log_too = log
            .try_clone()
            .map_err(|error| rejected("no log", &error))?;
        // setsid makes its own process the leader and then becomes bash, so this is the script's process number.
        let umask = own_umask().map(|own| format!("umask {own}; "));
        let mut child = tokio::process::Command::new("setsid")
            .args(["bash", "-c"])
            .arg(umask.unwrap_or_default() + MARKED)
            .args([request.script.as_str(), &request.name])
            .env_clear()
            .envs(self.environment.iter().map(|(key, value)| (key, value)))
            .current_dir(&request.cwd)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(log_too)
            .spawn()
            .map_err(|error| rejected("cannot start `setsid bash`", &error))?;
        let pid = child.id().unwrap_or_default();
        let id = JobId::local(pid, process(pid).map_or(0, |process| process.start));
        self.table().insert(
            id.clone(),
            Job {
                name: request.name.clone(),
                start: Utc::now(),
                cancelled: false,
                end: None,
            },
        );
        let (jobs, ended, own) = (Arc::clone(&self.jobs), Arc::clone(&self.ended), id.clone());
        tokio::spawn(async move {
            let status = child.wait().await.map_or_else(
                |_| ExitStatus {
                    code: -1,
                    signal: 0,
                },
                |status| ExitStatus {
                    code: status.code().unwrap_or(0),
                    signal: status.signal().unwrap_or(0),
                },
            );
            kill_all(&own);
            if let Some(job) = lock(&jobs).get_mut(&own) {
                job.end = Some((Utc::now(), status));
            }
            ended.notify_one();
        });
        Ok(id)
    }

    /// Returns when a script that was started here has ended since the last call; for one caller at a time.
    pub async fn any_ended(&self) {
        self.ended.notified().await;
    }

    /// Returns every script of this name that was started here, or that an earlier process of ours started and that lives.
    #[must_use]
    pub fn find_by_name(&self, name: &str) -> Vec<JobId> {
        let jobs = self.table();
        let same = jobs.iter().filter(|(_, job)| job.name == name);
        let mut found: BTreeSet<JobId> = same.map(|(id, _)| id.clone()).collect();
        let leaders = table::with_argument(name);
        let leaders = leaders.iter().filter(|(pid, it)| it.session == *pid);
        found.extend(leaders.map(|(pid, it)| JobId::local(*pid, it.start)));
        found.into_iter().collect()
    }

    /// Returns the state of each of these that is alive, or that ended under our eyes.
    #[must_use]
    pub fn poll(&self, ids: &[JobId]) -> Observation {
        let mut observation = Observation::default();
        for id in ids {
            let job = self.table().get(id).cloned();
            let state = match &job {
                Some(job) => job.state(),
                None if alive(id) => JobState::Running,
                None => continue,
            };
            let status = JobStatus {
                id: id.clone(),
                state,
                reason: None,
                nodes: host(),
                start: job.as_ref().map(|job| job.start),
                elapsed: job.as_ref().map(Job::elapsed),
                restarts: Some(0),
            };
            observation.jobs.insert(id.clone(), status);
        }
        observation
    }

    /// Returns the record of each of these that has ended. One that ended while nobody looked has no exit status, and
    /// counts as completed: that it passed is for its exit record to say.
    #[must_use]
    pub fn record(&self, ids: &[JobId]) -> Accounting {
        let mut accounting = Accounting::default();
        for id in ids {
            let job = self.table().get(id).cloned();
            let state = match &job {
                Some(job) => job.state(),
                None if alive(id) => JobState::Running,
                None => JobState::Completed,
            };
            let end = job.as_ref().and_then(|job| job.end);
            let record = JobRecord {
                id: id.clone(),
                name: job.as_ref().map(|job| job.name.clone()).unwrap_or_default(),
                state,
                cancelled_by: None,
                exit: end.map(|(_, status)| status),
                derived_exit: None,
                partition: None,
                account: None,
                nodes: host(),
                submit: job.as_ref().map(|job| job.start),
                start: job.as_ref().map(|job| job.start),
                end: end.map(|(end, _)| end),
                elapsed: job.as_ref().map(Job::elapsed),
                steps: Vec::new(),
            };
            accounting.runs.insert(id.clone(), vec![record]);
        }
        accounting
    }

    /// Asks these to end, and after the grace kills what is left of them. Returns when all have ended.
    pub async fn cancel(&self, ids: &[JobId]) {
        let alive: Vec<&JobId> = ids.iter().filter(|id| alive(id)).collect();
        let mut adopted = Vec::new();
        for id in ids {
            if let Some(job) = self.table().get_mut(id) {
                job.cancelled = job.end.is_none();
            } else if alive.contains(&id) {
                adopted.push(id);
            }
        }
        for id in &alive {
            ask(id, self.ask);
        }
        let patience = tokio::time::Instant::now() + self.grace;
        while tokio::time::Instant::now() < patience && ids.iter().any(self::alive) {
            tokio::time::sleep(LOOK).await;
        }
        for id in alive {
            kill_all(id);
        }
        while ids.iter().any(self::alive) {
            tokio::time::sleep(LOOK).await;
        }
        // Nobody here waits for a script that an earlier process of ours started.
        let now = Utc::now();
        let killed = ExitStatus {
            code: 0,
            signal: Signal::SIGTERM as i32,
        };
        let cancelled = Job {
            name: String::new(),
            start: now,
            cancelled: true,
            end: Some((now, killed)),
        };
        let adopted = adopted.into_iter();
        self.table()
            .extend(adopted.map(|id| (id.clone(), cancelled.clone())));
    }

    fn table(&self) -> MutexGuard<'_, BTreeMap<JobId, Job>> {
        lock(&self.jobs)
    }
}

impl Job {
    fn state(&self) -> JobState {
        match self.end {
            None => JobState::Running,
            Some(_) if self.cancelled => JobState::Cancelled,
            Some((_, ExitStatus { code: 0, signal: 0 })) => JobState::Completed,
            Some(_) => JobState::Failed,
        }
    }

    fn elapsed(&self) -> Duration {
        let end = self.end.map_or_else(Utc::now, |(end, _)| end);
        (end - self.start).to_std().unwrap_or_default()
    }
}

/// A panic while the table was held cannot leave it half written, so a poisoned lock is as good as any.
fn lock(jobs: &Mutex<BTreeMap<JobId, Job>>) -> MutexGuard<'_, BTreeMap<JobId, Job>> {
    jobs.lock().unwrap_or_else(PoisonError::into_inner)
}

fn host() -> Vec<String> {
    let name = nix::unistd::gethostname().ok();
    name.and_then(|name| name.into_string().ok())
        .into_iter()
        .collect()
}

/// Whether the process of this id still runs. A dead one that nobody has waited for yet does not.
fn alive(id: &JobId) -> bool {
    let Some((pid, start)) = id.as_local() else {
        return false;
    };
    table::lives(pid, start)
}

fn ask(id: &JobId, ask: Ask) {
    let Some(pid) = id.as_local().and_then(|(pid, _)| i32::try_from(pid).ok()) else {
        return;
    };
    let pid = Pid::from_raw(pid);
    let sent = match ask {
        Ask::Group => killpg(pid, Signal::SIGTERM),
        Ask::Leader => kill(pid, Signal::SIGTERM),
    };
    report(pid, sent);
}

/// How long a process may be about to become another program; it shows no environment meanwhile, and so no mark.
const EXEC: Duration = Duration::from_millis(5);

/// Kills a script and all that it started. A process may fork while we look, so we look until none is left, and once more.
fn kill_all(id: &JobId) {
    let Some((leader, start)) = id.as_local() else {
        return;
    };
    let mut was_none = false;
    for _ in 0..100 {
        let members = members(leader, start);
        match (members.is_empty(), was_none) {
            (true, true) => return,
            (true, false) => std::thread::sleep(EXEC),
            (false, _) => {}
        }
        was_none = members.is_empty();
        for pid in members {
            report(pid, kill(pid, Signal::SIGKILL));
        }
    }
    tracing::warn!(%id, "some processes of this script do not die");
}

/// The living processes that are in a script's session or carry its mark. One that is older than the script is none of
/// its own, but has to do with an earlier one of the same number.
fn members(leader: u32, start: u64) -> Vec<Pid> {
    table::pids()
        .into_iter()
        .filter(|pid| {
            process(*pid).is_some_and(|process| {
                process.start >= start
                    && process.lives()
                    && (process.session == leader || marked(*pid, leader))
            })
        })
        .filter_map(|pid| i32::try_from(pid).ok())
        .map(Pid::from_raw)
        .collect()
}

/// Whether a process carries the mark of a script. Of other users' processes the environment cannot be read.
fn marked(pid: u32, leader: u32) -> bool {
    let environment = fs_err::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    let mut variables = environment.split(|byte| *byte == 0);
    let mark = variables.find_map(|variable| {
        let variable = std::str::from_utf8(variable).ok()?;
        variable.strip_prefix(MARK)?.strip_prefix('=')
    });
    let leader = leader.to_string();
    mark.is_some_and(|mark| mark.split(':').any(|number| number == leader))
}

fn report(pid: Pid, sent: Result<(), Errno>) {
    match sent {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(error) => tracing::warn!(%pid, %error, "cannot signal a process"),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use camino::{Utf8Path, Utf8PathBuf};

    struct Bench {
        dir: tempfile::TempDir,
        local: Local,
    }

    impl Bench {
        fn new(ask: Ask, grace: Duration) -> Self {
            let path = std::env::var_os("PATH").unwrap();
            Self {
                dir: tempfile::tempdir().unwrap(),
                local: Local::new([("PATH".into(), path)], ask, grace),
            }
        }

        fn path(&self) -> &Utf8Path {
            Utf8Path::from_path(self.dir.path()).unwrap()
        }

        fn start(&self, name: &str, script: &str) -> JobId {
            let file: Utf8PathBuf = self.path().join(format!("{name}.sh"));
            fs_err::write(&file, script).unwrap();
            let request = JobRequest {
                name: name.to_owned(),
                script: file,
                output: self.path().join("log"),
                cwd: self.path().to_owned(),
                ranks: 1,
                ..JobRequest::default()
            };
            self.local.submit(&request).unwrap()
        }

        async fn ended(&self, id: &JobId) -> JobRecord {
            loop {
                let record = self
                    .local
                    .record(std::slice::from_ref(id))
                    .last(id)
                    .unwrap()
                    .clone();
                if record.settled() {
                    return record;
                }
                tokio::time::sleep(LOOK).await;
            }
        }

        async fn file(&self, name: &str) -> String {
            loop {
                match fs_err::read_to_string(self.path().join(name)) {
                    Ok(text) if text.ends_with('\n') => return text.trim().to_owned(),
                    _ => tokio::time::sleep(LOOK).await,
                }
            }
        }
    }

    /// Whether a process lives that was started by the shell under this number.
    fn lives(pid: &str) -> bool {
        let process = process(pid.parse().unwrap());
        process.is_some_and(|process| process.lives())
    }

    const PATIENT: Duration = Duration::from_mins(1);
    const HASTY: Duration = Duration::from_millis(200);

    #[tokio::test]
    async fn a_script_runs_with_its_log_and_leaves_its_exit_code() {
        let bench = Bench::new(Ask::Group, PATIENT);
        let id = bench.start(
            "a; touch pwned #",
            "echo out; echo err >&2; pwd; env; exit 3",
        );
        let record = bench.ended(&id).await;
        assert_eq!(record.state, JobState::Failed);
        assert_eq!(record.exit, Some(ExitStatus { code: 3, signal: 0 }));
        let log = fs_err::read_to_string(bench.path().join("log")).unwrap();
        let head = format!("out\nerr\n{}\n", bench.path());
        assert!(log.starts_with(&head), "{log}");
        assert!(
            !log.contains("CARGO"),
            "the environment is the one handed in: {log}"
        );
        assert!(!bench.path().join("pwned").exists());
        assert_eq!(bench.local.find_by_name("a; touch pwned #"), [id]);
    }

    #[tokio::test]
    async fn success_and_signals_are_told_apart() {
        let bench = Bench::new(Ask::Group, PATIENT);
        let good = bench.start("good", "true");
        let killed = bench.start("killed", "kill -SEGV $$");
        assert_eq!(bench.ended(&good).await.state, JobState::Completed);
        assert_eq!(
            bench.ended(&killed).await.exit,
            Some(ExitStatus {
                code: 0,
                signal: 11
            })
        );
    }

    #[tokio::test]
    async fn cancel_reaches_processes_that_have_groups_of_their_own() {
        let bench = Bench::new(Ask::Group, HASTY);
        // As a launcher does with its ranks; the trap makes it stubborn.
        let id = bench.start(
            "stubborn",
            "trap '' TERM; set -m; sleep 1000 & echo $! >rank; wait",
        );
        let rank = bench.file("rank").await;
        bench.local.cancel(std::slice::from_ref(&id)).await;
        assert_eq!(bench.ended(&id).await.state, JobState::Cancelled);
        assert!(!lives(&rank), "a rank outlived its step");
    }

    #[tokio::test]
    async fn cancel_reaches_processes_that_have_sessions_of_their_own() {
        let bench = Bench::new(Ask::Group, HASTY);
        let script = "trap '' TERM; setsid sh -c 'echo $$ >rank; exec sleep 1000' & wait";
        let id = bench.start("hydra", script);
        let rank = bench.file("rank").await;
        bench.local.cancel(std::slice::from_ref(&id)).await;
        assert!(!lives(&rank), "a rank outlived its step");
    }

    #[tokio::test]
    async fn marks_of_scripts_within_scripts_add_up() {
        let bench = Bench::new(Ask::Group, HASTY);
        let id = bench.start(
            "outer",
            "HPC_CI_SESSION=$HPC_CI_SESSION:77 setsid sleep 1000 & echo $! >inner",
        );
        let record = bench.ended(&id).await;
        assert_eq!(record.state, JobState::Completed);
        let inner = bench.file("inner").await;
        assert!(!lives(&inner));
    }

    #[tokio::test]
    async fn asking_the_leader_leaves_the_program_to_it() {
        let bench = Bench::new(Ask::Leader, PATIENT);
        let script =
            "sh -c 'trap \"echo hit >hit\" TERM; echo $$ >program; sleep 1000 & wait' & p=$!
            trap 'kill -KILL $p; echo asked >asked; exit 143' TERM; wait";
        let id = bench.start("leader", script);
        bench.file("program").await;
        bench.local.cancel(std::slice::from_ref(&id)).await;
        let record = bench.ended(&id).await;
        assert_eq!(
            record.exit,
            Some(ExitStatus {
                code: 143,
                signal: 0
            })
        );
        assert_eq!(bench.file("asked").await, "asked");
        assert!(
            !bench.path().join("hit").exists(),
            "the program got the signal too"
        );
    }

    #[tokio::test]
    async fn nothing_outlives_its_script() {
        let bench = Bench::new(Ask::Group, PATIENT);
        let id = bench.start("careless", "sleep 1000 & echo $! >child");
        bench.ended(&id).await;
        let child = bench.file("child").await;
        assert!(!lives(&child));
    }

    #[tokio::test]
    async fn another_process_of_ours_finds_it_again() {
        let bench = Bench::new(Ask::Group, HASTY);
        let id = bench.start("adopted", "echo $$ >pid; sleep 1000");
        bench.file("pid").await;
        let later = Local::new([], Ask::Group, HASTY);
        assert_eq!(later.find_by_name("adopted"), std::slice::from_ref(&id));
        let ids = [id.to_string().parse().unwrap()];
        assert_eq!(later.poll(&ids).jobs[&id].state, JobState::Running);
        later.cancel(&ids).await;
        let record = later.record(&ids).last(&id).unwrap().clone();
        assert_eq!(record.state, JobState::Cancelled);
        // A later process with the same number is another one.
        let (pid, start) = id.as_local().unwrap();
        assert!(!alive(&JobId::local(pid, start + 1)));
    }

    #[tokio::test]
    async fn a_log_that_cannot_be_written_is_refused() {
        let bench = Bench::new(Ask::Group, PATIENT);
        let request = JobRequest {
            output: bench.path().join("no/such/dir/log"),
            cwd: bench.path().to_owned(),
            ..JobRequest::default()
        };
        let error = bench.local.submit(&request).unwrap_err();
        assert!(matches!(error, SubmitError::Rejected { .. }), "{error}");
    }
}
