//! The templates against the cluster: the pipeline by GitLab's own rules, its jobs inside of an allocation, Slurm's own cron.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::support::git_servers;
use crate::support::tools::full;
use crate::support::{Home, Project, user};

const PIPELINE: &str = include_str!("../../ci/templates/gitlab-ci.yml");

/// A project with the pipeline, and the account of a runner, whose settings name a results branch.
struct Site {
    project: Project,
    beside: PathBuf,
}

fn steps(command: &str) -> String {
    format!(
        "[[test]]\nname = \"halo\"\ncommand = \"{command}\"\nranks = 2\n\
         [[benchmark]]\nname = \"solver\"\ncommand = \"echo time: 1.5 ms\"\nrepetitions = 3\n\
         metric = {{ pattern = 'time: ([0-9.]+) ms', unit = \"ms\", better = \"lower\" }}\n"
    )
}

impl Site {
    fn new() -> Self {
        let project = Project::new(Home::Cluster);
        let beside = project.dir.parent().unwrap().to_owned();
        let results = beside.join("results.git");
        git_servers::run(&beside, ["git", "init", "--quiet", "--bare", "results.git"]);
        let site = beside.join("config/hpc-ci/config.toml");
        std::fs::create_dir_all(site.parent().unwrap()).unwrap();
        let target = format!(
            "[publish.results_branch]\nremote = \"{}\"\n",
            results.display()
        );
        let state = format!(
            "[workspace]\nstate = \"{}\"\n",
            beside.join("state").display()
        );
        std::fs::write(site, target + &state).unwrap();
        project.file(".gitignore", "/hpc-ci\n/results\n/.gitlab-ci-local\n");
        project.file("hpc.toml", &steps("true")).commit();
        project.run(&["init", "--ci", "gitlab"]).exits_with(0);
        Self { project, beside }
    }

    /// The latest document of the default branch.
    fn latest(&self, name: &str) -> Value {
        let mut git = self.project.command("git");
        git.arg("--git-dir").arg(self.beside.join("results.git"));
        let output = git
            .args(["show", &format!("hpc-results:latest-{name}.json")])
            .output();
        serde_json::from_slice(&output.unwrap().stdout).unwrap()
    }

    /// A job of the pipeline on a runner, whose account is the cluster's user: its script, started by these words.
    fn job(&self, name: &str, words: &[&str], commit: &str) -> Output {
        let script = self.beside.join(format!("{name}.sh"));
        let text = format!("#!/bin/bash\nset -eo pipefail\n{}\n", script_of(name));
        std::fs::write(&script, text).unwrap();
        let mut command = self.project.command(words[0]);
        command.args(&words[1..]).arg(&script);
        let program = Path::new(env!("CARGO_BIN_EXE_hpc-ci")).parent().unwrap();
        let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
        for (name, value) in [
            ("PATH", path.as_str()),
            (
                "XDG_CONFIG_HOME",
                self.beside.join("config").to_str().unwrap(),
            ),
            ("GITLAB_CI", "true"),
            ("CI", "true"),
            ("CI_PROJECT_DIR", self.project.dir.to_str().unwrap()),
            ("CI_PROJECT_PATH", "grp/sample"),
            ("CI_SERVER_HOST", "gitlab.example.org"),
            ("CI_COMMIT_SHA", commit),
            ("CI_COMMIT_REF_NAME", "main"),
            ("CI_COMMIT_BRANCH", "main"),
            ("CI_DEFAULT_BRANCH", "main"),
            ("CI_JOB_ID", "42"),
            ("CI_JOB_NAME", name),
            (
                "CI_JOB_URL",
                "https://gitlab.example.org/grp/sample/-/jobs/42",
            ),
            ("CI_PIPELINE_ID", "9"),
        ] {
            command.env(name, value);
        }
        command.output().unwrap()
    }
}

/// The lines of a job's script, the anchor put in.
fn script_of(job: &str) -> String {
    let item = |line: &'static str| line.strip_prefix("    - ");
    let anchored = |line: &'static str| item(line)?.strip_prefix("&hand_over ");
    let hand_over = PIPELINE.lines().find_map(anchored).unwrap();
    let (_, text) = PIPELINE.split_once(&format!("\n{job}:\n")).unwrap();
    let (_, text) = text.split_once("  script:\n").unwrap();
    let lines = text.lines().map_while(item).map(|line| match line {
        "*hand_over" => hand_over,
        line => line.strip_prefix("&hand_over ").unwrap_or(line),
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// As Jacamar does it with its Slurm executor: the whole script is one `sbatch --wait`, whose exit code is the job's.
/// Publishing is left to a runner with a shell, outside.
#[test]
fn under_a_slurm_executor_jobs_are_allocations_and_publishing_is_not() {
    let site = Site::new();
    let log = site.beside.join("job.log");
    let (_, parameters) = PIPELINE.split_once("SCHEDULER_PARAMETERS: \"").unwrap();
    let (parameters, _) = parameters.split_once('"').unwrap();
    let output = format!("--output={}", log.display());
    let mut sbatch = vec!["sbatch", "--wait", "--partition=batch", &output];
    sbatch.extend(parameters.split(' '));
    // Each job begins with a clean checkout; what is handed over comes along.
    let clean = || std::fs::remove_dir_all(site.project.dir.join("hpc-ci")).ok();
    let said = || std::fs::read_to_string(&log).unwrap();
    let published = |commit: &str| {
        let publish = site.job("publish", &["bash"], commit);
        assert!(publish.status.success(), "{publish:?}");
        let whole = site.latest("hpc-results");
        assert_eq!(whole["commit"], commit, "{publish:?}");
        whole
    };

    let commit = site.project.commit();
    for job in ["tests", "benchmarks"] {
        let output = site.job(job, &sbatch, &commit);
        assert!(output.status.success(), "{output:?}\n{}", said());
        // Nothing is sent from where there may be no way out, and nothing waits there.
        assert!(
            !said().contains("outbox") && !said().contains("published"),
            "{}",
            said()
        );
        clean();
    }
    let whole = published(&commit);
    assert_eq!(whole["tests"]["status"], "passed", "{whole:#}");
    assert_eq!(whole["benchmarks"]["status"], "passed", "{whole:#}");
    assert_eq!(
        whole["runs"].as_array().unwrap().len(),
        2,
        "two jobs, one result"
    );
    let allocation = whole["hpc"]["job_id"].as_str().unwrap();
    // Not of the books: for a while they may know a job that has ended by no name.
    let squeue = ["squeue", "-h", "-t", "all", "-o", "%j|%D", "-j", allocation];
    assert_eq!(git_servers::run(&site.beside, squeue), "benchmarks.sh|2");

    let commit = site.project.file("hpc.toml", &steps("false")).commit();
    let failed = site.job("tests", &sbatch, &commit);
    assert_eq!(failed.status.code(), Some(1), "{}", said());
    clean();
    std::fs::remove_dir_all(site.project.dir.join("results/benchmarks")).unwrap();
    let whole = published(&commit);
    assert_eq!(whole["tests"]["status"], "failed", "{whole:#}");
}

/// Debian packages no `scrontab`. What slurmctld makes of a line is a job with the options of the `#SCRON` lines, an environment as
/// after a login, and this script; here sbatch makes it.
const SCRON_JOB: &str = "#!/bin/sh\n# This job was submitted through scrontab\n";

#[test]
fn a_job_of_scrontab_submits_the_nightly_run() {
    if !full() {
        return;
    }
    let project = Project::new(Home::Cluster);
    project.file(
        "hpc.toml",
        "[[test]]\nname = \"halo\"\ncommand = \"true\"\nranks = 2\n",
    );
    project.commit();
    project.run(&["init", "--ci", "cron"]).exits_with(0);
    project.commit();
    let here = project.dir.to_str().unwrap();
    for words in [
        ["tag", "v1.0"].as_slice(),
        &["remote", "add", "origin", here],
    ] {
        let done = project.command("git").args(words).status();
        assert!(done.unwrap().success());
    }
    let home = project.dir.with_file_name("home");
    std::fs::create_dir_all(home.join(".local/bin")).unwrap();
    let program = home.join(".local/bin/hpc-ci");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_hpc-ci"), program).unwrap();
    let owned = Command::new("chown")
        .arg("-R")
        .arg(user())
        .arg(&home)
        .status();
    assert!(owned.unwrap().success());

    let table = std::fs::read_to_string(project.dir.join("ci/scrontab")).unwrap();
    let line = table.lines().find(|it| !it.starts_with('#')).unwrap();
    let command = line
        .strip_prefix("17 2 * * * env -u SLURM_JOB_ID ")
        .unwrap();
    // Where the dev cluster has its configuration, and the project its home.
    let conf = std::env::var("SLURM_CONF").unwrap();
    let command = format!(
        "env -u SLURM_JOB_ID HOME={} SLURM_CONF={conf} {command}\n",
        home.display()
    );
    let script = home.join("scron.sh");
    std::fs::write(&script, SCRON_JOB.to_owned() + &command).unwrap();
    let mut sbatch = project.command("sbatch");
    sbatch.args(["--wait", "--export=NONE", "--partition=batch"]);
    for option in table.lines().filter_map(|it| it.strip_prefix("#SCRON ")) {
        // A node of the dev cluster has no more than that.
        sbatch.arg(option.replace("--mem=2G", "--mem=500M"));
    }
    let ended = sbatch.arg(&script).output().unwrap();

    let logs = std::fs::read_dir(home.join(".local/state/hpc-ci/logs")).unwrap();
    let logs = logs
        .map(|file| file.unwrap().path())
        .filter(|it| it.extension() == Some("log".as_ref()));
    let said: String = logs
        .map(|it| std::fs::read_to_string(it).unwrap())
        .collect();
    assert!(ended.status.success(), "{ended:?}{said}");
    for night in ["main: exit 0", "v1.0: exit 0"] {
        assert!(said.contains(night), "{night} in {said}");
    }
    // The tests were jobs of their own, not steps of the small job that the line runs in.
    let summary = project.dir.join("hpc-ci/artifacts/tests/summary.json");
    let summary: Value = serde_json::from_slice(&std::fs::read(summary).unwrap()).unwrap();
    let job = summary["steps"][0]["job_id"].as_str().unwrap();
    let name = ["sacct", "-n", "-X", "-P", "-o", "JobName", "-j", job];
    let name = git_servers::run(&project.dir, name);
    assert!(name.contains("halo"), "{name}");
}

#[test]
fn gitlab_runs_all_three_stages_against_the_cluster() {
    if !full() {
        return;
    }
    let site = Site::new();
    let Site { project, beside } = &site;
    let npm = beside.join("npm");
    std::fs::create_dir(&npm).unwrap();
    let install = "npm install --silent gitlab-ci-local@4.75.1 node@22";
    git_servers::run(&npm, install.split(' '));
    // gitlab-ci-local wants to know where the project would be.
    let origin = [
        "remote",
        "add",
        "origin",
        "git@gitlab.example.org:grp/sample.git",
    ];
    assert!(
        project
            .command("git")
            .args(origin)
            .status()
            .unwrap()
            .success()
    );

    let pipeline = || {
        let mut command = project.command(npm.join("node_modules/node/bin/node").to_str().unwrap());
        command.arg(npm.join("node_modules/gitlab-ci-local/dist/index.js"));
        command.args([
            "--force-shell-executor",
            "--shell-isolation",
            "--variable",
            "GITLAB_CI=true",
        ]);
        let program = Path::new(env!("CARGO_BIN_EXE_hpc-ci")).parent().unwrap();
        let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
        command
            .env("PATH", path)
            .env("XDG_CONFIG_HOME", beside.join("config"));
        let output = command.output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr)
    };
    let commit = project.commit();
    let said = pipeline();
    for job in ["tests", "benchmarks", "publish"] {
        let passed = said
            .lines()
            .any(|line| line.contains("PASS") && line.contains(job));
        assert!(passed, "{job}: {said}");
    }
    let whole = site.latest("hpc-results");
    let told = |part: &str| whole[part]["status"].as_str().map(str::to_owned);
    assert_eq!(whole["commit"], commit.as_str());
    assert_eq!(told("tests").as_deref(), Some("passed"), "{whole:#}");
    assert_eq!(told("benchmarks").as_deref(), Some("passed"), "{whole:#}");
    assert_eq!(
        whole["runs"].as_array().unwrap().len(),
        2,
        "two jobs, one result"
    );

    let commit = project.file("hpc.toml", &steps("false")).commit();
    let said = pipeline();
    assert!(
        said.lines()
            .any(|line| line.contains("FAIL") && line.contains("tests")),
        "{said}"
    );
    assert_eq!(
        site.latest("tests")["commit"],
        commit.as_str(),
        "published all the same: {said}"
    );
    assert_eq!(site.latest("tests")["status"], "failed");
}
