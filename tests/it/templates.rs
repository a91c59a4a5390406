//! The files that `init --ci` writes: whole, valid, and doing what they say.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::git_servers::run;
use crate::support::{Home, Project};

const FILES: [(&str, &str); 3] = [
    ("gitlab", ".gitlab-ci.yml"),
    ("github", ".github/workflows/hpc-results.yml"),
    ("cron", "ci/nightly"),
];

#[test]
fn templates_are_written_and_replace_nothing() {
    let project = Project::new(Home::Here);
    project.commit();
    let below = project.dir.join("src/deep");
    std::fs::create_dir_all(&below).unwrap();
    for (ci, file) in FILES {
        let output = project
            .hpc_ci(&["init", "--ci", ci])
            .current_dir(&below)
            .output();
        assert!(output.unwrap().status.success());
        assert!(project.dir.join(file).is_file(), "{file}");
        project.run(&["init", "--ci", ci]).exits_with(0);
    }
    let line = std::fs::read_to_string(project.dir.join("ci/crontab")).unwrap();
    assert!(
        line.contains(&format!("{}/ci/nightly", project.dir.display())),
        "{line}"
    );
    project.file("ci/scrontab", "mine");
    std::fs::remove_file(project.dir.join("ci/crontab")).unwrap();
    let refused = project.run(&["init", "--ci", "cron"]).exits_with(2);
    assert!(
        refused.err.contains("is there already, and differs"),
        "{}",
        refused.err
    );
    assert!(!project.dir.join("ci/crontab").exists(), "all or nothing");
    project.run(&["init"]).exits_with(2);
}

fn is_full() -> bool {
    std::env::var_os("HPC_CI_FULL").is_some()
}

#[test]
fn templates_are_valid() {
    if !is_full() {
        return;
    }
    let dir = tempfile::TempDir::new().unwrap();
    run(dir.path(), ["python3", "-m", "venv", "v"]);
    run(
        dir.path(),
        ["v/bin/pip", "-q", "install", "check-jsonschema==0.39.0"],
    );
    let templates = Path::new(env!("CARGO_MANIFEST_DIR")).join("ci/templates");
    let check = |schema: &str, file: PathBuf| {
        let mut command = Command::new(dir.path().join("v/bin/check-jsonschema"));
        let output = command
            .args(["--builtin-schema", schema])
            .arg(file)
            .output()
            .unwrap();
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stdout).into_owned(),
        )
    };
    for (schema, file) in [
        ("vendor.gitlab-ci", "gitlab-ci.yml"),
        ("vendor.github-workflows", "github-pages.yml"),
        ("vendor.github-workflows", "github-comment.yml"),
    ] {
        let (valid, said) = check(schema, templates.join(file));
        assert!(valid, "{file}: {said}");
    }
    let wrong = dir.path().join("wrong.yml");
    std::fs::write(&wrong, "stages: 3\n").unwrap();
    assert!(!check("vendor.gitlab-ci", wrong).0);
}

/// Cron by itself, in a place where it sees this one line and nothing of the machine's.
const CRON: &str = "mount -t tmpfs none /run && mount -t tmpfs none /etc/cron.d && mount -t tmpfs none /var/spool/cron/crontabs \
    && cp \"$0\" \"/var/spool/cron/crontabs/$(id -un)\" && chmod 600 /var/spool/cron/crontabs/* && : > /run/empty \
    && mount --bind /run/empty /etc/crontab && exec cron -f";

#[test]
fn cron_runs_the_nightly_line() {
    if !is_full() {
        return;
    }
    let project = Project::new(Home::Here);
    project.file(
        "hpc.toml",
        "[scheduler]\nkind = \"local\"\n[[test]]\nname = \"halo\"\ncommand = \"true\"\n",
    );
    let home = project.dir.parent().unwrap().join("home");
    std::fs::create_dir_all(home.join(".local/bin")).unwrap();
    let program = home.join(".local/bin/hpc-ci");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_hpc-ci"), program).unwrap();
    project.run(&["init", "--ci", "cron"]).exits_with(0);
    project.commit();
    run(&project.dir, ["git", "tag", "v1.0"]);
    // A remote, from whose branch and tags the night begins.
    let here = project.dir.to_str().unwrap();
    run(&project.dir, ["git", "remote", "add", "origin", here]);

    let line = std::fs::read_to_string(project.dir.join("ci/crontab")).unwrap();
    assert!(line.contains("\n17 2  *   *   *  "), "{line}");
    let line = line.replace("\n17 2  *   *   *  ", "\n* * * * * ");
    let table = home.join("table");
    std::fs::write(&table, format!("HOME={}\n{line}", home.display())).unwrap();
    let mut cron = Command::new("unshare")
        .args(["--mount", "sh", "-c", CRON])
        .arg(&table)
        .spawn()
        .unwrap();
    let logs = home.join(".local/state/hpc-ci/logs");
    let said = || -> String {
        let files = std::fs::read_dir(&logs).into_iter().flatten().flatten();
        let logs = files.filter(|file| file.file_name().to_string_lossy().ends_with(".log"));
        logs.map(|file| std::fs::read_to_string(file.path()).unwrap())
            .collect()
    };
    let begin = Instant::now();
    while !said().contains(" v1.0: exit ") && begin.elapsed() < Duration::from_mins(5) {
        std::thread::sleep(Duration::from_millis(500));
    }
    cron.kill().unwrap();
    cron.wait().unwrap();
    let said = said();
    for night in ["main: exit 0", "v1.0: exit 0"] {
        assert!(said.contains(night), "{night} in {said}");
    }
    let done = std::fs::read_to_string(logs.join("tags-done")).unwrap();
    assert_eq!(done, "v1.0\n");
}

#[test]
fn gitlab_runs_all_three_stages_against_the_cluster() {
    if !is_full() {
        return;
    }
    let project = Project::new(Home::Cluster);
    let beside = project.dir.parent().unwrap().to_owned();
    let npm = beside.join("npm");
    std::fs::create_dir(&npm).unwrap();
    let install = "npm install --silent gitlab-ci-local@4.75.1 node@22";
    run(&npm, install.split(' '));
    let results = beside.join("results.git");
    run(&beside, ["git", "init", "--quiet", "--bare", "results.git"]);
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
    let steps = |command: &str| {
        format!(
            "[[test]]\nname = \"halo\"\ncommand = \"{command}\"\nranks = 2\n\
             [[benchmark]]\nname = \"solver\"\ncommand = \"echo time: 1.5 ms\"\nrepetitions = 3\n\
             metric = {{ pattern = 'time: ([0-9.]+) ms', unit = \"ms\", better = \"lower\" }}\n"
        )
    };
    project.file(".gitignore", "/hpc-ci\n/results\n/.gitlab-ci-local\n");
    project.file("hpc.toml", &steps("true")).commit();
    project.run(&["init", "--ci", "gitlab"]).exits_with(0);
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
    let latest = |name: &str| -> serde_json::Value {
        let mut git = project.command("git");
        git.arg("--git-dir").arg(&results);
        let output = git
            .args(["show", &format!("hpc-results:latest-{name}.json")])
            .output();
        serde_json::from_slice(&output.unwrap().stdout).unwrap()
    };

    let commit = project.commit();
    let said = pipeline();
    for job in ["tests", "benchmarks", "publish"] {
        let passed = said
            .lines()
            .any(|line| line.contains("PASS") && line.contains(job));
        assert!(passed, "{job}: {said}");
    }
    let whole = latest("hpc-results");
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
        latest("tests")["commit"],
        commit.as_str(),
        "published all the same: {said}"
    );
    assert_eq!(latest("tests")["status"], "failed");
}
