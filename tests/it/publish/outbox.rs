//! What waits, what is joined, and what hands itself over from job to job.

use std::process::Command;

use serde_json::{Value, json};

use super::codecov::codecov;
use super::server::Fault;
use super::{ended, hpc_ci, project, publish, run, to_codecov, waiting, with_tokens};
use crate::support::{Home, Project};

#[test]
fn parts_from_different_jobs_are_published_as_one() {
    let server = codecov();
    let project = project(&to_codecov(&server));
    let kept = |name: &str| project.dir.parent().unwrap().join(name);
    let keep = |name: &str| {
        let from = project.dir.join("hpc-ci/artifacts");
        std::fs::rename(from, kept(name)).unwrap();
        kept(name).to_str().unwrap().to_owned()
    };
    run(&project, &["--tests-only"]).exits_with(0);
    let tests = keep("from-tests");
    run(&project, &["--benchmarks-only"]).exits_with(0);
    let benchmarks = keep("from-benchmarks");
    server.fault("POST", Fault::status(400));
    let both = ["--artifacts", &tests, "--artifacts", &benchmarks];
    publish(&project, &both).exits_with(4);
    let items = waiting(&project);
    assert_eq!(items.len(), 1);
    let outbox = project.dir.parent().unwrap().join("state/outbox");
    let found = Command::new("find")
        .arg(outbox)
        .args(["-name", "hpc-results.json"])
        .output()
        .unwrap();
    let path = String::from_utf8(found.stdout).unwrap();
    let joined: Value = serde_json::from_slice(&std::fs::read(path.trim()).unwrap()).unwrap();
    assert_eq!(joined["tests"]["status"], "passed");
    assert_eq!(joined["benchmarks"]["status"], "passed");
    assert_eq!(joined["runs"].as_array().unwrap().len(), 2);
    publish(&project, &[]).exits_with(0);
    assert_eq!(waiting(&project), Vec::<Value>::new());

    std::fs::write(kept("from-tests").join("tests/junit.xml"), "<testsuites/>").unwrap();
    let altered = publish(&project, &["--artifacts", &tests]).exits_with(4);
    assert!(
        altered.err.contains("is not what `checksums.txt`"),
        "{}",
        altered.err
    );
}

#[test]
fn an_outbox_without_a_way_out_is_emptied_later() {
    let server = codecov();
    let nowhere = "[publish.codecov]\nurl = \"http://127.0.0.1:1\"\nservice = \"github\"\n";
    let project = project(nowhere);
    run(&project, &[]).exits_with(0);
    let refused = publish(&project, &[]).exits_with(4);
    assert!(
        refused.err.contains("127.0.0.1:1 cannot be reached"),
        "{}",
        refused.err
    );
    // The artifacts are gone; what waits has its own copy.
    std::fs::remove_dir_all(project.dir.join("hpc-ci")).unwrap();
    let text = std::fs::read_to_string(project.dir.join("hpc.toml")).unwrap();
    project.file(
        "hpc.toml",
        &text.replace("http://127.0.0.1:1", &server.url()),
    );
    publish(&project, &[]).exits_with(0);
    assert_eq!(server.take().len(), 4);
    let again = publish(&project, &[]).exits_with(0);
    assert_eq!(server.take().len(), 0);
    let said = "nothing to publish: no artifacts stand here";
    assert!(again.err.contains(said), "{}", again.err);
}

/// What the artifacts hold and what waits are the same things: shown once, as they would be sent once.
#[test]
fn a_dry_run_shows_what_waits_once_and_leaves_it() {
    let server = codecov();
    let project = project(&to_codecov(&server));
    run(&project, &["--tests-only"]).exits_with(0);
    server.fault("POST", Fault::status(400));
    publish(&project, &[]).exits_with(4);
    assert_eq!(server.take().len(), 3, "the second thing was sent");
    run(&project, &["--benchmarks-only"]).exits_with(0);
    let before = waiting(&project);
    let shown = publish(&project, &["--dry-run", "--format", "json"]).exits_with(0);
    let calls: Value = serde_json::from_str(&shown.out).unwrap();
    assert_eq!(calls.as_array().unwrap().len(), 2, "{calls:#}");
    assert_eq!(calls[0]["method"], "POST");
    assert_eq!(waiting(&project), before);
    publish(&project, &[]).exits_with(0);
    assert_eq!(server.take().len(), 2);
}

#[test]
fn a_pipeline_hands_over_and_its_publishing_job_says_which_it_was() {
    let server = codecov();
    let settings = format!("{}[publish.gitlab]\n", to_codecov(&server));
    let project = project(&settings);
    let outside = project.dir.parent().unwrap().join("hpc.toml");
    let text = std::fs::read_to_string(project.dir.join("hpc.toml")).unwrap();
    let text = text.replace(
        "name = \"heat\"",
        &format!(
            "name = \"heat\"\nrepository = \"{}\"",
            project.dir.display()
        ),
    );
    let text = text.replace("[publish.gitlab]", "");
    std::fs::write(
        &outside,
        text.replace("../state", "state")
            .replace("service = \"github\"\n", ""),
    )
    .unwrap();
    let in_pipeline = |arguments: &[&str]| {
        let mut command = hpc_ci(&project, arguments);
        command.arg("--config").arg(&outside);
        with_tokens(&mut command);
        for (name, value) in [
            ("GITLAB_CI", "true"),
            ("CI_PROJECT_DIR", project.dir.to_str().unwrap()),
            ("CI_PROJECT_PATH", "grp/sub/heat"),
            ("CI_SERVER_HOST", "gitlab.example.org"),
            ("CI_COMMIT_REF_NAME", "topic"),
            ("CI_JOB_ID", "42"),
            (
                "CI_JOB_URL",
                "https://gitlab.example.org/grp/sub/heat/-/jobs/42",
            ),
            ("CI_MERGE_REQUEST_IID", "5"),
        ] {
            command.env(name, value);
        }
        ended(&project, &mut command)
    };
    in_pipeline(&["run", "--scheduler", "local"]).exits_with(0);
    assert_eq!(server.take_lines(), Vec::<String>::new());
    assert_eq!(waiting(&project), Vec::<Value>::new());
    in_pipeline(&["publish"]).exits_with(0);
    let requests = server.take();
    // A server of one's own tells a company's GitLab from gitlab.com.
    assert_eq!(
        requests[0].line(),
        "POST /upload/gitlab_enterprise/grp:::sub::::heat/upload-coverage"
    );
    let sent = requests[0].json();
    for (key, value) in [
        ("branch", json!("topic")),
        ("ci_service", json!("gitlab")),
        (
            "ci_url",
            json!("https://gitlab.example.org/grp/sub/heat/-/jobs/42"),
        ),
        ("flags", json!(["jacamar-hpc"])),
        ("job_code", json!("42")),
        ("name", json!("42")),
        ("pullid", json!("5")),
    ] {
        assert_eq!(sent[key], value, "{key}");
    }
    let sent = requests[2].json();
    assert_eq!((&sent["pr"], &sent["build"]), (&json!("5"), &json!("42")));
    assert_eq!(sent["slug"], "grp:::sub::::heat");
}

#[test]
fn in_an_allocation_results_wait_for_a_way_out() {
    let server = codecov();
    let project = project(&to_codecov(&server));
    let mut command = hpc_ci(&project, &["--scheduler", "allocation"]);
    with_tokens(&mut command);
    command
        .env("SLURM_JOB_ID", "71")
        .env("SLURM_JOB_NODELIST", "localhost")
        .env("SLURM_JOB_CPUS_PER_NODE", "2");
    let run = ended(&project, &mut command);
    assert!(
        run.err.contains("the results wait in the outbox"),
        "{}",
        run.err
    );
    assert_eq!(server.take_lines(), Vec::<String>::new());
    assert_eq!(waiting(&project).len(), 1);
    publish(&project, &[]).exits_with(0);
    assert_eq!(server.take().len(), 4);
}

#[test]
fn everything_goes_where_it_belongs_the_branch_too() {
    let server = codecov();
    let settings = format!(
        "{}[publish.results_branch]\nremote = \"../results.git\"\n",
        to_codecov(&server)
    );
    let project = project(&settings);
    let bare = project.dir.with_file_name("results.git");
    super::git(&project, &["init", "-q", "--bare", bare.to_str().unwrap()]);
    // A filtered run has a folder there, and moves nothing.
    run(&project, &["halo"]).exits_with(0);
    publish(&project, &[]).exits_with(0);
    let files = || {
        super::git(
            &project,
            &[
                "-C",
                bare.to_str().unwrap(),
                "ls-tree",
                "-r",
                "--name-only",
                "hpc-results",
            ],
        )
    };
    assert!(files().contains("/run.json"), "{}", files());
    assert!(!files().contains("latest-tests.json"), "{}", files());
    assert_eq!(server.take_lines(), Vec::<String>::new());

    let mut command = hpc_ci(&project, &["--scheduler", "local"]);
    with_tokens(&mut command);
    let whole = ended(&project, &mut command).exits_with(0);
    assert!(
        whole.err.contains("published: results branch of "),
        "{}",
        whole.err
    );
    assert!(
        files().contains("latest-tests.json")
            || files().contains("branches/main/latest-tests.json"),
        "{}",
        files()
    );
    assert_eq!(server.take().len(), 4);
    let shown = publish(&project, &["--dry-run"]).exits_with(0);
    assert!(shown.err.contains("nothing would be sent"), "{}", shown.err);
}

#[test]
fn what_must_not_be_told_is_not() {
    let server = codecov();
    let (ours, anonymous) = (to_codecov(&server), "[trust]\ndisclosure = \"anonymous\"\n");
    let project = project(&format!(
        "{ours}[publish.github]\nurl = \"http://127.0.0.1:1\"\n{anonymous}"
    ));
    project.file("../fail", "");
    run(&project, &[]).exits_with(1);
    let mut command = hpc_ci(&project, &["publish", "--dry-run"]);
    with_tokens(&mut command);
    let shown = ended(&project, &mut command).exits_with(0).err;
    assert!(
        shown.contains("upload-coverage") && shown.contains("may fail"),
        "{shown}"
    );
    for told in [
        "test_results",
        "Run it again",
        "exit code",
        project.dir.parent().unwrap().to_str().unwrap(),
    ] {
        assert!(!shown.contains(told), "{told} in {shown}");
    }
}

/// Launcher options, environment values, commands, hosts and paths, on everything that is published.
#[test]
fn options_and_values_that_name_a_person_are_published_nowhere() {
    for level in ["anonymous", "minimal"] {
        let server = codecov();
        let bare = Project::new(Home::Here);
        let remote = bare.dir.join("results.git");
        let made = Command::new("git")
            .args(["init", "-q", "--bare"])
            .arg(&remote)
            .status();
        assert!(made.unwrap().success());
        let project = project(&format!(
            "{}[publish.results_branch]\nremote = \"{}\"\n[publish.github]\nurl = \"http://127.0.0.1:1\"\n\
             [trust]\ndisclosure = \"{level}\"\n\
             [launcher]\nkind = \"mpiexec\"\noptions = [\"-x\", \"ACCOUNT=phys123\"]\n\
             [environment]\nvariables = {{ OMP_PLACES = \"phys123\", OMPI_MCA_me = \"phys123\" }}\n\
             [[test]]\nname = \"ranks\"\nranks = 2\ncommand = \"true phys123\"\n\
             [[test]]\nname = \"tells\"\ncommand = \"echo no such account: phys123; exit 3\"\n",
            to_codecov(&server),
            remote.display(),
        ));
        let ran = run(&project, &[]);
        assert!(
            ran.text("artifacts/meta.json").contains("phys123"),
            "{level}: {}",
            ran.err
        );
        let mut command = hpc_ci(&project, &["publish", "--dry-run"]);
        with_tokens(&mut command);
        let mut all = ended(&project, &mut command).exits_with(0).err;
        publish(&project, &[]).exits_with(4);
        all.extend(
            server
                .take()
                .into_iter()
                .map(|it| String::from_utf8_lossy(&it.body).into_owned()),
        );
        let tree = Command::new("git")
            .args(["log", "-p", "--all", "--text"])
            .current_dir(&remote)
            .output()
            .unwrap();
        let tree = String::from_utf8_lossy(&tree.stdout).into_owned();
        assert!(
            tree.contains("run.json") && tree.contains("\"ranks\""),
            "{tree}"
        );
        let host = hostname::get().unwrap().to_string_lossy().into_owned();
        let folder = project.dir.parent().unwrap().display().to_string();
        for secret in ["phys123", "ACCOUNT", &format!("\"{host}\""), &folder] {
            assert!(!all.contains(secret), "{level}: {secret} in {all}");
            assert!(!tree.contains(secret), "{level}: {secret} in {tree}");
        }
    }
}
