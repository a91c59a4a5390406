//! A small cluster of a test's own, beside the one that all tests share: its daemons and nodes may fail without harm to others.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use super::shared;

/// A cluster that lives as long as this.
pub(crate) struct OwnCluster {
    run: PathBuf,
}

impl OwnCluster {
    /// Starts one of two nodes. No two tests have the same `number`, which is from 1 to 7; `conf` are lines for its slurm.conf.
    pub(crate) fn start(number: u16, conf: &str) -> Self {
        let main = shared().parent().unwrap().to_owned();
        let settings = std::fs::read_to_string(main.join("settings")).unwrap();
        let setting = |key: &str| {
            let mut lines = settings.lines();
            let value = lines.find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            value.unwrap().to_owned()
        };
        // Each cluster takes four ports and a network of 256 addresses.
        let port = setting("PORT").parse::<u16>().unwrap() + 4 * number;
        let net = setting("NET");
        let (net, _) = net.rsplit_once('.').unwrap();
        let run = PathBuf::from(format!("{}-own-{number}", main.display()));
        let own = Self { run };
        // One that was killed with its test may still be there.
        own.script("down", &[]);
        let up = own
            .command("up", &["2", "4"])
            .env("HPC_SLURM_NET", format!("{net}.{number}"))
            .env("HPC_SLURM_PORT", port.to_string())
            .env("HPC_SLURM_CONF_EXTRA", conf)
            .output()
            .unwrap();
        assert!(
            up.status.success(),
            "{}",
            String::from_utf8_lossy(&up.stderr)
        );
        own
    }

    /// The storage that its nodes share.
    pub(crate) fn shared(&self) -> PathBuf {
        self.run.join("shared")
    }

    /// The variables by which commands reach it.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        let text = |path: PathBuf| path.to_str().unwrap().to_owned();
        vec![
            ("SLURM_CONF".to_owned(), text(self.run.join("slurm.conf"))),
            ("HPC_SLURM_RUN".to_owned(), text(self.run.clone())),
            ("HPC_SLURM_SHARED".to_owned(), text(self.shared())),
        ]
    }

    /// `kill`, `hang`, `resume` or `start` one of its daemons.
    #[track_caller]
    pub(crate) fn service(&self, verb: &str, name: &str) {
        self.script("svc", &[verb, name]);
    }

    /// `kill` or `start` one of its nodes.
    #[track_caller]
    pub(crate) fn node(&self, verb: &str, number: &str) {
        self.script("node", &[verb, number]);
    }

    /// A command of Slurm's, as root; returns what it prints.
    #[track_caller]
    pub(crate) fn slurm(&self, program: &str, arguments: &[&str]) -> String {
        let output = Command::new(program)
            .args(arguments)
            .envs(self.environment())
            .output()
            .unwrap();
        assert!(output.status.success(), "{program}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Changes settings of the running cluster, by commands of sed: some it could not be started with.
    pub(crate) fn reconfigure(&self, changes: &[&str]) {
        self.service("kill", "slurmctld");
        let edits = changes.iter().flat_map(|change| ["-e", *change]);
        let conf = self.run.join("slurm.conf");
        let edited = Command::new("sed").arg("-i").args(edits).arg(conf).status();
        assert!(edited.unwrap().success());
        self.service("start", "slurmctld");
        // Until its nodes have come back, requests that fit are refused.
        while self
            .slurm("sinfo", &["-h", "-o", "%T", "-p", "debug"])
            .trim()
            != "idle"
        {
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Waits until the controller has written down what is so now: one that is killed before knows nothing of it afterwards.
    pub(crate) fn saves_its_state(&self) {
        let file = self.run.join("mem/state/job_state");
        let now = SystemTime::now();
        while std::fs::metadata(&file).unwrap().modified().unwrap() < now {
            // It writes when something has changed, so something does.
            self.slurm(
                "sbatch",
                &[
                    "--hold",
                    "--parsable",
                    "--output=/dev/null",
                    "--wrap",
                    "true",
                ],
            );
            std::thread::sleep(Duration::from_millis(500));
        }
        self.slurm("scancel", &["--user=root"]);
    }

    /// Takes the controller's memory away, while it is down.
    pub(crate) fn forget_jobs(&self) {
        let state = self.run.join("mem/state");
        for entry in std::fs::read_dir(state).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if name.starts_with("job_state") {
                std::fs::remove_file(path).unwrap();
            }
        }
    }

    fn command(&self, script: &str, arguments: &[&str]) -> Command {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("slurm/dev-cluster");
        let mut command = Command::new(folder.join(script));
        command.args(arguments).envs(self.environment());
        command
    }

    #[track_caller]
    fn script(&self, script: &str, arguments: &[&str]) {
        let output = self.command(script, arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{script} {arguments:?}: {said}");
    }
}

impl Drop for OwnCluster {
    fn drop(&mut self) {
        let down = self.command("down", &[]).output();
        let gone = down.is_ok_and(|down| down.status.success());
        if gone && !std::thread::panicking() {
            std::fs::remove_dir_all(&self.run).ok();
        }
    }
}
