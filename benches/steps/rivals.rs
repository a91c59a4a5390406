//! The ways to run many steps, and the cluster that they run on.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::measure::{self, Cost};

/// A way to run so many steps, as a shell command.
type Way = fn(&Cluster, u32) -> String;

pub(crate) const ALL: &[(&str, Way)] = &[
    ("hpc-ci, jobs", |cluster, steps| {
        cluster.hpc_ci("jobs", steps)
    }),
    ("hpc-ci, array", |cluster, steps| {
        cluster.hpc_ci("array", steps)
    }),
    ("hpc-ci, packed", |cluster, steps| {
        cluster.hpc_ci("packed", steps)
    }),
    ("bare `sbatch` loop", Cluster::bare),
    ("ReFrame", Cluster::reframe),
];

/// Questions to the controller that are asked while jobs are watched.
const QUERIES: &[&str] = &[
    "REQUEST_JOB_INFO",
    "REQUEST_JOB_INFO_SINGLE",
    "REQUEST_JOB_USER_INFO",
    "REQUEST_PARTITION_INFO",
    "REQUEST_NODE_INFO",
    "REQUEST_FED_INFO",
    "REQUEST_BUILD_INFO",
];

/// Messages that the controller got.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Rpcs {
    pub(crate) submissions: u32,
    pub(crate) queries: u32,
    pub(crate) all: u32,
}

/// The dev cluster, its user, and a folder that its nodes share.
pub(crate) struct Cluster {
    user: String,
    dir: PathBuf,
    reframe: PathBuf,
}

impl Cluster {
    pub(crate) fn prepare() -> Self {
        let shared = std::env::var("HPC_SLURM_SHARED");
        let shared = shared.expect("start the dev cluster first: slurm/dev-cluster/up 3 4");
        let user = std::env::var("HPC_CI_TEST_USER").unwrap_or_else(|_| "hpcuser".to_owned());
        let dir = Path::new(&shared).join("bench-steps");
        fs_err::remove_dir_all(&dir).ok();
        fs_err::create_dir_all(dir.join("empty")).unwrap();
        fs_err::copy(env!("CARGO_BIN_EXE_hpc-ci"), dir.join("driver")).unwrap();
        fs_err::write(dir.join("reframe.py"), REFRAME_SITE).unwrap();
        fs_err::write(dir.join("tests.py"), REFRAME_TESTS).unwrap();
        let mut cluster = Self {
            user,
            dir,
            reframe: PathBuf::new(),
        };
        cluster.own();
        cluster.reframe = install_reframe(&cluster.shell("command -v python3"));
        cluster.shell("cd empty && git init -q -b main . && echo /hpc-ci >.gitignore && git add -A && git -c user.name=b -c user.email=b@example.org commit -q --allow-empty -m empty");
        cluster
    }

    /// Runs a command as the cluster's user and returns what it cost, and the controller.
    pub(crate) fn measure(&self, command: &str) -> (Cost, Rpcs) {
        self.own();
        self.settle();
        sdiag(&["-r"]);
        let words = ["sh", "-c", command];
        let cost = measure::run(&shell_words::join(
            self.as_user().iter().map(String::as_str).chain(words),
        ));
        let said = sdiag(&[]);
        (cost, Rpcs::read(&said))
    }

    fn hpc_ci(&self, strategy: &str, steps: u32) -> String {
        let numbers: Vec<String> = (0..steps).map(|number| number.to_string()).collect();
        let text = format!(
            "[project]\nname = \"empty\"\nrepository = \"empty\"\n[scheduler]\ntime = \"1m\"\nmargin = \"1m\"\nmax_in_flight = 1000\nstrategy = \"{strategy}\"\n[[test]]\nname = \"empty\"\ncommand = \"true\"\nlauncher = \"none\"\nmatrix = {{ n = [{}] }}\n",
            numbers.join(", ")
        );
        fs_err::write(self.dir.join("hpc.toml"), text).unwrap();
        format!(
            "cd {} && ./driver --local-config --no-coverage",
            self.dir.display()
        )
    }

    fn bare(&self, steps: u32) -> String {
        format!(
            "cd {} && for i in $(seq {steps}); do sbatch -Q -t1 -o /dev/null --wrap true; done; while [ -n \"$(squeue -h --me)\" ]; do sleep 0.5; done",
            self.dir.display()
        )
    }

    fn reframe(&self, steps: u32) -> String {
        format!(
            "cd {} && rm -rf stage output && STEPS={steps} {} -C reframe.py -c tests.py -r --prefix .",
            self.dir.display(),
            self.reframe.display()
        )
    }

    fn as_user(&self) -> Vec<String> {
        let home = self.dir.join("home");
        vec![
            "setpriv".to_owned(),
            format!("--reuid={}", self.user),
            format!("--regid={}", self.user),
            "--init-groups".to_owned(),
            "env".to_owned(),
            format!("HOME={}", home.display()),
            format!("USER={}", self.user),
        ]
    }

    fn shell(&self, line: &str) -> String {
        let words = self.as_user();
        let done = Command::new(&words[0])
            .args(&words[1..])
            .args(["sh", "-c", line])
            .current_dir(&self.dir)
            .output()
            .unwrap();
        assert!(done.status.success(), "{line}");
        String::from_utf8(done.stdout).unwrap().trim().to_owned()
    }

    fn own(&self) {
        fs_err::create_dir_all(self.dir.join("home")).unwrap();
        let done = Command::new("chown")
            .arg("-R")
            .arg(&self.user)
            .arg(&self.dir)
            .status();
        assert!(done.unwrap().success());
    }

    /// Waits until the jobs of the last measurement have left the queue, and what they left behind is done.
    fn settle(&self) {
        loop {
            let queue = Command::new("squeue")
                .args(["-h", "-u", &self.user])
                .output();
            if queue.unwrap().stdout.is_empty() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(200));
        }
        std::thread::sleep(std::time::Duration::from_secs(2));
    }
}

impl Rpcs {
    fn read(said: &str) -> Self {
        let (_, by_type) = said.split_once("by message type").unwrap();
        let (by_type, _) = by_type.split_once("by user").unwrap();
        let mut rpcs = Self::default();
        for line in by_type.lines() {
            let Some((name, rest)) = line.trim().split_once(char::is_whitespace) else {
                continue;
            };
            let count = rest.split_once("count:");
            let count =
                count.and_then(|(_, rest)| rest.split_whitespace().next()?.parse::<u32>().ok());
            let Some(count) = count else { continue };
            rpcs.all += count;
            if name == "REQUEST_SUBMIT_BATCH_JOB" {
                rpcs.submissions += count;
            }
            if QUERIES.contains(&name) {
                rpcs.queries += count;
            }
        }
        rpcs
    }
}

fn sdiag(args: &[&str]) -> String {
    let output = Command::new("sdiag").args(args).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// `python` is one that the cluster's user may run; what comes first on our own path may not be.
fn install_reframe(python: &str) -> PathBuf {
    let venv = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench-steps/reframe");
    let program = venv.join("bin/reframe");
    if !program.exists() {
        let run = |program: &Path, args: &[&str]| {
            let done = Command::new(program).args(args).status().unwrap();
            assert!(done.success(), "{}", program.display());
        };
        run(Path::new(python), &["-m", "venv", venv.to_str().unwrap()]);
        run(&venv.join("bin/pip"), &["install", "-q", "ReFrame-HPC"]);
    }
    program
}

const REFRAME_SITE: &str = "\
site_configuration = {
    'systems': [{
        'name': 'dev', 'hostnames': ['.*'],
        'partitions': [{
            'name': 'debug', 'scheduler': 'slurm', 'launcher': 'local', 'environs': ['builtin'], 'max_jobs': 1000,
        }],
    }],
    'environments': [{'name': 'builtin'}],
}
";

const REFRAME_TESTS: &str = "\
import os
import reframe as rfm

@rfm.simple_test
class Empty(rfm.RunOnlyRegressionTest):
    n = parameter(range(int(os.environ['STEPS'])))
    valid_systems = ['*']
    valid_prog_environs = ['*']
    executable = 'true'
    time_limit = '1m'

    @sanity_function
    def ok(self):
        return True
";
