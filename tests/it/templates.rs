//! The files that `init --ci` writes: whole, valid, and doing what they say.

use std::path::{Path, PathBuf};
use std::process::Command;

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
