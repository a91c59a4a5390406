//! Projects to run hpc-ci on, and what a run of it left.

pub(crate) mod bounds;
pub(crate) mod driver;
pub(crate) mod git_servers;
pub(crate) mod own_cluster;
pub(crate) mod schema;
pub(crate) mod search;
pub(crate) mod spoil;
pub(crate) mod synthetic;
pub(crate) mod terminal;
pub(crate) mod tools;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use own_cluster::OwnCluster;

/// Where a project stands and who runs hpc-ci on it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Home {
    /// In a temporary folder, as whoever runs the tests.
    Here,
    /// On the storage that the nodes of the dev cluster share, as the cluster's ordinary user.
    Cluster,
}

/// Waits for something, for two minutes at most.
#[track_caller]
pub(crate) fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_mins(2) {
        if let Some(found) = look() {
            return found;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("waited for two minutes");
}

/// A git repository with an `hpc.toml`.
pub(crate) struct Project {
    home: Home,
    pub(crate) dir: PathBuf,
    /// Variables of all its commands.
    environment: Vec<(String, String)>,
}

impl Project {
    pub(crate) fn new(home: Home) -> Self {
        let parent = match home {
            Home::Here => std::env::temp_dir(),
            Home::Cluster => shared(),
        };
        Self::below(&parent, home, Vec::new())
    }

    /// A project on a cluster of the test's own.
    pub(crate) fn on(cluster: &OwnCluster) -> Self {
        Self::below(&cluster.shared(), Home::Cluster, cluster.environment())
    }

    fn below(parent: &Path, home: Home, environment: Vec<(String, String)>) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("hpc-ci-test-{}-{number}", std::process::id());
        let dir = parent.join(name);
        // Of a test that was killed, whose number came around again.
        std::fs::remove_dir_all(&dir).ok();
        std::fs::create_dir_all(dir.join("project")).unwrap();
        let project = Self {
            home,
            dir: dir.join("project"),
            environment,
        };
        project.file(".gitignore", "/build\n/target\n/hpc-ci\n");
        project
    }

    /// Writes a file of the project.
    pub(crate) fn file(&self, path: &str, text: &str) -> &Self {
        let path = self.dir.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    /// Copies a folder of this repository to the same place in the project.
    pub(crate) fn copy(&self, folder: &str) -> &Self {
        let to = self.dir.join(folder);
        std::fs::create_dir_all(&to).unwrap();
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join(".");
        let done = Command::new("cp").arg("-r").args([&from, &to]).status();
        assert!(done.unwrap().success());
        self
    }

    /// Commits everything and returns the commit.
    pub(crate) fn commit(&self) -> String {
        self.own();
        for arguments in [
            &["init", "-q", "-b", "main", "."][..],
            &["add", "-A"],
            &[
                "-c",
                "user.name=t",
                "-c",
                "user.email=t@example.org",
                "commit",
                "-q",
                "-m",
                "x",
            ],
        ] {
            let output = self.command("git").args(arguments).output().unwrap();
            assert!(output.status.success(), "{output:?}");
        }
        let output = self
            .command("git")
            .args(["rev-parse", "HEAD"])
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn own(&self) {
        if self.home == Home::Cluster {
            let done = Command::new("chown")
                .arg("-R")
                .arg(user())
                .arg(self.dir.parent().unwrap())
                .status();
            assert!(done.unwrap().success());
        }
    }

    /// A command in the project's folder, as its user, with the environment of a login.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = match self.home {
            Home::Here => {
                // Nothing of the tester's own may be read, nor written; cargo's tools stay where they are.
                let mut command = Command::new(program);
                let home = std::env::var_os("HOME").map(PathBuf::from);
                for (name, folder) in [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")] {
                    if let (None, Some(home)) = (std::env::var_os(name), &home) {
                        command.env(name, home.join(folder));
                    }
                }
                command.env("HOME", self.dir.with_file_name("home"));
                command
            }
            Home::Cluster => {
                let user = user();
                let mut command = Command::new("setpriv");
                command.args([
                    &format!("--reuid={user}"),
                    &format!("--regid={user}"),
                    "--init-groups",
                ]);
                command.arg(program);
                command
                    .env("HOME", shared().join("home"))
                    .env("USER", &user)
                    .env("LOGNAME", &user);
                command
            }
        };
        let own = self.environment.iter();
        command.envs(own.map(|(key, value)| (key, value)));
        command.current_dir(&self.dir).stdin(Stdio::null());
        for name in [
            "HPC_CI_COMMIT",
            "HPC_CI_CONFIG",
            "HPC_CI_BRANCH",
            "MPI_NP",
            "MPIEXEC",
            "GITLAB_CI",
        ] {
            command.env_remove(name);
        }
        command
    }

    /// hpc-ci with these arguments, ready to run.
    pub(crate) fn hpc_ci(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(env!("CARGO_BIN_EXE_hpc-ci"));
        command.args(arguments);
        command
    }

    /// Runs hpc-ci to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        Ended::of(&self.dir, &self.hpc_ci(arguments).output().unwrap())
    }

    /// Starts hpc-ci and returns at once.
    pub(crate) fn start(&self, arguments: &[&str]) -> Child {
        self.hpc_ci(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            std::fs::remove_dir_all(self.dir.parent().unwrap()).ok();
        }
    }
}

/// A run of hpc-ci that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    dir: PathBuf,
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    pub(crate) fn of(dir: &Path, output: &Output) -> Self {
        Self {
            dir: dir.to_owned(),
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    pub(crate) fn of_bounded(dir: &Path, ended: &bounds::Bounded) -> Self {
        Self {
            dir: dir.to_owned(),
            code: ended.code,
            out: ended.out.clone(),
            err: ended.err.clone(),
        }
    }

    /// Fails the test, showing what was said, unless the exit code is this.
    #[track_caller]
    pub(crate) fn exits_with(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}\n{}", self.out, self.err);
        self
    }

    /// A JSON document below `hpc-ci/`.
    #[track_caller]
    pub(crate) fn json(&self, path: &str) -> Value {
        let text = std::fs::read(self.dir.join("hpc-ci").join(path));
        let text = text.unwrap_or_else(|error| panic!("{path}: {error}\n{}", self.err));
        serde_json::from_slice(&text).unwrap()
    }

    /// A file below `hpc-ci/` as text.
    #[track_caller]
    pub(crate) fn text(&self, path: &str) -> String {
        let text = std::fs::read(self.dir.join("hpc-ci").join(path));
        let text = text.unwrap_or_else(|error| panic!("{path}: {error}\n{}", self.err));
        String::from_utf8_lossy(&text).into_owned()
    }

    /// The record of a step in `tests/summary.json`.
    #[track_caller]
    pub(crate) fn step(&self, name: &str) -> Value {
        let summary = self.json("artifacts/tests/summary.json");
        let steps = summary["steps"].as_array().unwrap();
        let step = steps.iter().find(|step| step["name"] == name);
        step.unwrap_or_else(|| panic!("no step `{name}` in {summary:#}"))
            .clone()
    }

    /// Outcome and status of a step.
    #[track_caller]
    pub(crate) fn outcome(&self, name: &str) -> (String, String) {
        let step = self.step(name);
        let text = |key: &str| step[key].as_str().unwrap().to_owned();
        (text("outcome"), text("status"))
    }

    /// The log of a step.
    #[track_caller]
    pub(crate) fn log(&self, name: &str) -> String {
        let step = self.step(name);
        let log = step["log"]
            .as_str()
            .unwrap_or_else(|| panic!("no log in {step:#}"));
        self.text(&format!("artifacts/tests/{log}"))
    }

    /// Line hits of a source file in `lcov.info`.
    #[track_caller]
    pub(crate) fn line_hits(&self, source: &str) -> Vec<(u32, u64)> {
        let text = self.text("artifacts/coverage/lcov.info");
        let section = text
            .split("end_of_record\n")
            .find(|section| section.contains(&format!("SF:{source}\n")))
            .unwrap_or_else(|| panic!("no `{source}` in {text}"));
        section
            .lines()
            .filter_map(|line| {
                let (line, hits) = line.strip_prefix("DA:")?.split_once(',')?;
                Some((line.parse().unwrap(), hits.parse().unwrap()))
            })
            .collect()
    }
}

/// The storage that all nodes of the dev cluster share.
pub(crate) fn shared() -> PathBuf {
    assert!(
        std::env::var_os("SLURM_CONF").is_some(),
        "this test needs the dev cluster: eval \"$(slurm/dev-cluster/up 3 4)\", or run ci/test"
    );
    PathBuf::from(std::env::var("HPC_SLURM_SHARED").unwrap())
}

/// The ordinary user of the dev cluster.
pub(crate) fn user() -> String {
    std::env::var("HPC_CI_TEST_USER").unwrap_or_else(|_| "hpcuser".to_owned())
}

/// The search path with the project's own programs first.
pub(crate) fn with_bin(project: &Project) -> String {
    let bin = project.dir.join("bin");
    let done = Command::new("chmod").args(["-R", "+x"]).arg(&bin).status();
    assert!(done.unwrap().success());
    format!("{}:{}", bin.display(), std::env::var("PATH").unwrap())
}

/// Sends a signal to a process.
pub(crate) fn signal(child: &Child, signal: nix::sys::signal::Signal) {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(pid, signal).unwrap();
}

/// A program of MPI whose rank 1 dies in the way that its argument names.
pub(crate) const DIES: &str = r#"#include <mpi.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
static volatile int sum;
static void by_all(int rank) {
    sum += rank;
}
static void by_rank_1(void) {
    sum++;
}
int main(int argc, char **argv) {
    const char *way = argc > 1 ? argv[1] : "live";
    int rank;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    by_all(rank);
    if (rank == 1)
        by_rank_1();
    MPI_Barrier(MPI_COMM_WORLD);
    if (!strcmp(way, "sleep"))
        sleep(600);
    if (!strcmp(way, "fork") && fork() == 0)
        _exit(0);
    if (strcmp(way, "live") && strcmp(way, "fork")) {
        if (rank != 1)
            sleep(600);
        if (!strcmp(way, "segv"))
            *(volatile int *)0 = sum;
        if (!strcmp(way, "abort"))
            MPI_Abort(MPI_COMM_WORLD, 7);
        if (!strcmp(way, "kill"))
            raise(SIGKILL);
        if (!strcmp(way, "memory"))
            for (;;)
                memset(malloc(16 << 20), 1, 16 << 20);
        _exit(9);
    }
    MPI_Finalize();
    return 0;
}
"#;

/// A line of [`DIES`] that every rank reaches, and one that rank 1 reaches.
pub(crate) const KEPT_BY_ALL: u32 = 9;
pub(crate) const KEPT_BY_RANK_1: u32 = 12;
