//! The reference client of each service against the same servers: codecov-cli and python-gitlab from `PyPI`, GitHub's published
//! description under prism from npm. They are large, so this runs with `HPC_CI_FULL=1` only.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::codecov::{codecov, unpacked};
use super::forges::{github, gitlab, to_github};
use super::server::{Fault, Reply, Request, Server};
use super::{TOKEN, ended, git, head, hpc_ci, project, run, with_tokens};
use crate::support::Project;
use crate::support::tools::{done, full, python, tools};

/// What both clients were told, and what they are to meet.
struct Scenario {
    name: &'static str,
    variables: &'static [(&'static str, &'static str)],
    /// What codecov-cli cannot find out by itself.
    arguments: &'static [&'static str],
    /// What stands in our settings for that.
    settings: &'static str,
    /// What our run is told.
    run: &'static [&'static str],
    /// What GitHub says of the event.
    event: &'static str,
    /// Whether no branch is checked out.
    detached: bool,
    faults: fn(&Server),
    /// codecov-cli gives up there, or hangs for ever; what it sends to a server that is well is what has to arrive.
    only_ours: bool,
    token: bool,
}

const GITLAB: &[(&str, &str)] = &[
    ("GITLAB_CI", "true"),
    ("CI_JOB_ID", "42"),
    ("CI_JOB_URL", "https://gitlab.com/grp/sub/heat/-/jobs/42"),
    ("CI_SERVER_HOST", "gitlab.com"),
    ("CI_PROJECT_PATH", "grp/sub/heat"),
    ("CI_COMMIT_REF_NAME", "topic"),
    ("CI_MERGE_REQUEST_IID", "5"),
];

const GITHUB: &[(&str, &str)] = &[
    ("GITHUB_ACTIONS", "true"),
    ("GITHUB_REPOSITORY", "o/r"),
    ("GITHUB_SERVER_URL", "https://github.com"),
    ("GITHUB_RUN_ID", "900"),
    ("GITHUB_WORKFLOW", "CI"),
    ("GITHUB_JOB", "hpc"),
    ("GITHUB_HEAD_REF", "topic"),
    ("GITHUB_REF", "refs/pull/7/merge"),
];

const OF_FORK: &str = r#"{"pull_request":{"head":{"repo":{"full_name":"mallory/r"}}}}"#;

const PLAIN: Scenario = Scenario {
    name: "by hand",
    variables: &[],
    arguments: &["--git-service", "github", "-r", "o/r", "-F", "hpc-extended"],
    settings: "",
    run: &[],
    event: "{}",
    detached: false,
    faults: |_| {},
    only_ours: false,
    token: true,
};

fn surroundings() -> Vec<Scenario> {
    vec![
        Scenario {
            name: "gitlab",
            variables: GITLAB,
            arguments: &["--git-service", "gitlab", "-F", "jacamar-hpc"],
            ..PLAIN
        },
        Scenario {
            name: "github",
            variables: GITHUB,
            ..PLAIN
        },
        Scenario {
            name: "as set",
            arguments: &["--git-service", "bitbucket", "-r", "team/x", "-F", "mine"],
            settings: "service = \"bitbucket\"\nslug = \"team/x\"\nflag = \"mine\"\n",
            ..PLAIN
        },
        Scenario {
            name: "without a token",
            arguments: &[
                "--git-service",
                "github",
                "-r",
                "o/r",
                "-F",
                "hpc-extended",
                "-B",
                "someone:topic",
            ],
            settings: "[trust]\nforks = true\n",
            run: &["--commit", "HEAD", "--branch", "someone:topic"],
            token: false,
            ..PLAIN
        },
        Scenario {
            name: "a pull request from a fork",
            variables: GITHUB,
            settings: "[trust]\nforks = true\n",
            event: OF_FORK,
            ..PLAIN
        },
        Scenario {
            name: "a pull request from a fork, without a token",
            variables: GITHUB,
            // As codecov-action has it.
            arguments: &[
                "--git-service",
                "github",
                "-F",
                "hpc-extended",
                "-B",
                "mallory:topic",
            ],
            settings: "[trust]\nforks = true\n",
            event: OF_FORK,
            token: false,
            ..PLAIN
        },
        Scenario {
            name: "GitHub's merge queue",
            variables: &[
                ("GITHUB_ACTIONS", "true"),
                ("GITHUB_REPOSITORY", "o/r"),
                ("GITHUB_REF", "refs/heads/gh-readonly-queue/main/pr-7-abc"),
                ("GITHUB_REF_NAME", "gh-readonly-queue/main/pr-7-abc"),
                ("GITHUB_WORKFLOW", "CI"),
            ],
            ..PLAIN
        },
        Scenario {
            name: "a tag on GitHub",
            variables: &[
                ("GITHUB_ACTIONS", "true"),
                ("GITHUB_REPOSITORY", "o/r"),
                ("GITHUB_REF", "refs/tags/v1"),
                ("GITHUB_REF_NAME", "v1"),
                ("GITHUB_REF_TYPE", "tag"),
                ("GITHUB_RUN_ID", "900"),
            ],
            settings: "[trust]\ntags = [\"v*\"]\n",
            detached: true,
            ..PLAIN
        },
        Scenario {
            name: "a tag on GitLab",
            variables: &[
                ("GITLAB_CI", "true"),
                ("CI_JOB_ID", "42"),
                ("CI_SERVER_HOST", "gitlab.com"),
                ("CI_PROJECT_PATH", "my.grp/heat.jl"),
                ("CI_COMMIT_REF_NAME", "v1"),
                ("CI_COMMIT_TAG", "v1"),
            ],
            arguments: &["--git-service", "gitlab", "-F", "jacamar-hpc"],
            settings: "[trust]\ntags = [\"v*\"]\n",
            detached: true,
            ..PLAIN
        },
        Scenario {
            name: "no branch checked out",
            detached: true,
            ..PLAIN
        },
        Scenario {
            name: "a branch with slashes",
            run: &["--commit", "HEAD", "--branch", "feature/a+b"],
            arguments: &[
                "--git-service",
                "github",
                "-r",
                "o/r",
                "-F",
                "hpc-extended",
                "-B",
                "feature/a+b",
            ],
            ..PLAIN
        },
    ]
}

fn sicknesses() -> Vec<Scenario> {
    let sick = |name, faults| Scenario {
        name,
        faults,
        ..PLAIN
    };
    vec![
        sick("none", |_| {}),
        sick("500", |server| server.fault("POST", Fault::status(500))),
        sick("503 twice", |server| {
            for _ in 0..2 {
                server.fault("POST", Fault::status(503));
            }
        }),
        sick("dropped", |server| server.fault("POST", Fault::Drops)),
        sick("storage 500", |server| {
            server.fault("PUT", Fault::status(500));
        }),
        sick("storage dropped", |server| {
            server.fault("PUT", Fault::Drops);
        }),
        Scenario {
            only_ours: true,
            ..sick("429", |server| {
                let limited = Reply::json(429, &json!({ "detail": "Request was throttled." }));
                server.fault("POST", Fault::Says(limited.header("Retry-After", "1")));
            })
        },
        Scenario {
            only_ours: true,
            ..sick("hanging", |server| server.fault("POST", Fault::Hangs))
        },
        Scenario {
            only_ours: true,
            ..sick("storage hanging", |server| {
                server.fault("PUT", Fault::Hangs);
            })
        },
        Scenario {
            only_ours: true,
            ..sick("location run out", |server| {
                server.fault("PUT", Fault::status(403));
            })
        },
    ]
}

/// Every request in order, without what names the client, and files unpacked.
fn meaning(requests: &[Request]) -> Vec<Value> {
    requests
        .iter()
        .map(|request| {
            let mut body = request.json();
            for list in ["coverage_files", "test_results_files"] {
                if body.get(list).is_some() {
                    body[list] = json!(unpacked(request, list));
                }
            }
            let object = body.as_object_mut().unwrap();
            // Of the client; or read by the API alone, where codecov-cli has nothing to say.
            for key in ["cli_args", "version", "env", "report_payload_bytes", "pr", "build", "buildUrl"] {
                object.remove(key);
            }
            if let Some(files) = body["network_files"].as_array_mut() {
                files.retain(|path| path != "");
            }
            for fix in body["report_fixes"]["value"].as_object_mut().into_iter().flatten() {
                let lines = fix.1["lines"].as_array_mut().unwrap();
                lines.sort_by_key(Value::as_u64);
            }
            if let Some(body) = body.as_object_mut() {
                body.retain(|_, value| !value.is_null());
            }
            json!({ "line": request.line(), "authorization": request.header("authorization"), "body": body })
        })
        .collect()
}

/// What arrives; how often the clients try on the way to it, and at how many locations, is their own affair.
fn distinct(requests: &[Request]) -> Vec<Value> {
    let mut meaning = meaning(requests);
    for request in &mut meaning {
        if request["line"].as_str().unwrap().starts_with("PUT ") {
            request["line"] = json!("PUT");
        }
    }
    let mut seen = Vec::new();
    meaning.retain(|it| {
        !seen.contains(it) && {
            seen.push(it.clone());
            true
        }
    });
    meaning
}

fn codecov_cli(project: &Project, scenario: &Scenario, server: &Server, words: &[&str]) {
    let program = python("codecov-cli", "codecov-cli==11.3.1").join("codecovcli");
    let mut command = project.command(program.to_str().unwrap());
    command.args(["-u", &server.url()]).args(words);
    command.args(["--disable-search"]).args(scenario.arguments);
    if scenario.token {
        command.args(["-t", TOKEN]);
    }
    for name in [
        "CODECOV_TOKEN",
        "CI_COMMIT_SHA",
        "GITHUB_ACTIONS",
        "GITHUB_REF",
        "GITHUB_SHA",
    ] {
        command.env_remove(name);
    }
    command
        .env("no_proxy", "*")
        .envs(scenario.variables.iter().copied());
    done(&mut command);
}

fn same_as_codecov_cli(scenario: &Scenario) {
    let (ours, theirs) = (codecov(), codecov());
    let settings = format!(
        "[publish.codecov]\nurl = \"{}\"\n{}",
        ours.url(),
        scenario.settings
    );
    let project = project(&settings);
    let parent = head(&project);
    project.file("src/more.c", "void more() {\n}\n");
    project.commit();
    if scenario.detached {
        git(&project, &["checkout", "--quiet", "--detach"]);
    }
    // In a pipeline the checkout's own file is not trusted.
    let trusted = project.dir.with_file_name("hpc.toml");
    let text = std::fs::read_to_string(project.dir.join("hpc.toml")).unwrap();
    let text = text.replace("../state", "state").replace(
        "name = \"heat\"",
        &format!(
            "name = \"heat\"\nrepository = \"{}\"",
            project.dir.display()
        ),
    );
    std::fs::write(&trusted, text).unwrap();
    let event = project.dir.with_file_name("event.json");
    std::fs::write(&event, scenario.event).unwrap();
    let hpc_ci = |words: &[&str]| {
        let mut command = hpc_ci(&project, words);
        command.arg("--config").arg(&trusted);
        command
            .env("CI_PROJECT_DIR", &project.dir)
            .env("GITHUB_EVENT_PATH", &event)
            .env("HPC_CI_PUBLISH_TIMEOUT", "3")
            .envs(scenario.variables.iter().copied());
        command
    };
    let words = ["--tests-only", "--scheduler", "local", "--no-publish"];
    ended(&project, hpc_ci(&words).args(scenario.run)).exits_with(0);
    (scenario.faults)(&ours);
    let mut command = hpc_ci(&["publish"]);
    if scenario.token {
        with_tokens(&mut command);
    }
    ended(&project, &mut command).exits_with(0);

    let from = |path: &str| project.dir.with_file_name("hpc-ci/artifacts").join(path);
    if !scenario.only_ours {
        (scenario.faults)(&theirs);
    }
    let report = from("coverage/lcov.info");
    let words = [
        "upload-coverage",
        "--plugin",
        "noop",
        "--parent-sha",
        &parent,
        "-f",
        report.to_str().unwrap(),
    ];
    codecov_cli(&project, scenario, &theirs, &words);
    let report = from("tests/junit.xml");
    let words = [
        "do-upload",
        "--report-type",
        "test_results",
        "-f",
        report.to_str().unwrap(),
    ];
    codecov_cli(&project, scenario, &theirs, &words);
    let (ours, theirs) = (distinct(&ours.take()), distinct(&theirs.take()));
    assert_eq!(ours.len(), 4, "{}", scenario.name);
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(ours, theirs, "{}", scenario.name);
    }
    assert_eq!(ours.len(), theirs.len(), "{}", scenario.name);
}

#[test]
fn codecov_gets_what_codecov_cli_sends_in_every_surrounding() {
    if full() {
        surroundings().iter().for_each(same_as_codecov_cli);
    }
}

#[test]
fn codecov_gets_what_codecov_cli_sends_when_it_is_not_well() {
    if full() {
        sicknesses().iter().for_each(same_as_codecov_cli);
    }
}

#[test]
fn gitlab_gets_what_python_gitlab_sends() {
    const PROGRAM: &str = "
import gitlab, json, sys
project = gitlab.Gitlab(sys.argv[1], private_token=sys.argv[2]).projects.get('grp/sub/heat', lazy=True)
statuses = project.commits.get(sys.argv[3], lazy=True).statuses
for document in json.loads(sys.argv[4]): statuses.create(document)
";
    if !full() {
        return;
    }
    let (ours, theirs) = (gitlab(), gitlab());
    let settings = format!(
        "[publish.gitlab]\nurl = \"{}\"\nrepository = \"grp/sub/heat\"\n",
        ours.url()
    );
    let project = project(&settings);
    run(&project, &[]).exits_with(0);
    super::publish(&project, &[]).exits_with(0);
    let ours = ours.take();
    assert_eq!(ours.len(), 3);
    let documents: Vec<Value> = ours.iter().map(Request::json).collect();
    done(
        Command::new(python("python-gitlab", "python-gitlab==8.6.0").join("python"))
            .args(["-c", PROGRAM, &theirs.url(), TOKEN, &head(&project)])
            .arg(json!(documents).to_string())
            .env("no_proxy", "*"),
    );
    let theirs = theirs.take();
    let meaning = |request: &Request| {
        let header = |name| request.header(name).map(str::to_owned);
        (
            request.line(),
            header("private-token"),
            header("content-type"),
            request.json(),
        )
    };
    assert_eq!(
        ours.iter().map(meaning).collect::<Vec<_>>(),
        theirs.iter().map(meaning).collect::<Vec<_>>()
    );
}

/// GitHub's own description of its interface, cut down to what is used here, answers.
struct Prism {
    child: Child,
    port: u16,
}

impl Drop for Prism {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Prism {
    fn start(folder: &Path) -> Self {
        let npm = tools().join("prism");
        if !npm.join("ready").exists() {
            std::fs::create_dir_all(&npm).unwrap();
            let packages = ["@octokit/openapi@23.0.2", "@stoplight/prism-cli@5"];
            let mut command = Command::new("npm");
            command
                .args(["install", "--no-audit", "--no-fund"])
                .args(packages);
            done(command.current_dir(&npm));
            std::fs::write(npm.join("ready"), "").unwrap();
        }
        let whole = npm.join("node_modules/@octokit/openapi/generated/api.github.com.json");
        let whole: Value = serde_json::from_slice(&std::fs::read(whole).unwrap()).unwrap();
        let slice = folder.join("gh.json");
        std::fs::write(&slice, slice_of(&whole).to_string()).unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let child = Command::new(npm.join("node_modules/.bin/prism"))
            .args([
                "mock",
                "-h",
                "127.0.0.1",
                "-m",
                "false",
                "-p",
                &port.to_string(),
            ])
            .arg(&slice)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let prism = Self { child, port };
        let begin = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(
                begin.elapsed() < Duration::from_mins(1),
                "prism does not start"
            );
            std::thread::sleep(Duration::from_millis(100));
        }
        prism
    }

    /// Sends a request as it came in elsewhere; returns the status and what was said.
    fn replay(&self, request: &Request) -> (u16, String) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let headers: Vec<String> = request
            .headers
            .iter()
            .filter(|(name, _)| name != "connection")
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        let head = format!(
            "{} {} HTTP/1.1\r\n{}connection: close\r\n\r\n",
            request.method,
            request.path,
            headers.concat()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&request.body).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        (text.split(' ').nth(1).unwrap().parse().unwrap(), text)
    }
}

fn slice_of(whole: &Value) -> Value {
    const PATHS: [&str; 5] = [
        "/user",
        "/repos/{owner}/{repo}/statuses/{sha}",
        "/repos/{owner}/{repo}/commits/{commit_sha}/pulls",
        "/repos/{owner}/{repo}/issues/{issue_number}/comments",
        "/repos/{owner}/{repo}/issues/comments/{comment_id}",
    ];
    let mut slice = json!({
        "openapi": whole["openapi"],
        "info": whole["info"],
        "paths": {},
        "components": { "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } } },
        "security": [{ "token": [] }],
    });
    for path in PATHS {
        slice["paths"][path] = whole["paths"][path].clone();
    }
    // What the documentation says beside the description.
    let status = "/repos/{owner}/{repo}/statuses/{sha}";
    let schema = "/post/requestBody/content/application~1json/schema";
    let document = slice["paths"][status].pointer_mut(schema).unwrap();
    document["properties"]["description"]["maxLength"] = 140.into();
    document["additionalProperties"] = false.into();
    also_as_github_json(&mut slice["paths"]);
    let mut known = BTreeSet::new();
    loop {
        let mut wanted = BTreeSet::new();
        references(&slice, &mut wanted);
        let new: Vec<String> = wanted.difference(&known).cloned().collect();
        if new.is_empty() {
            return slice;
        }
        for reference in new {
            let pointer = reference.trim_start_matches('#');
            let mut parts = pointer.split('/').skip(2);
            let (kind, name) = (parts.next().unwrap(), parts.next().unwrap());
            let mut component = whole.pointer(pointer).unwrap().clone();
            also_as_github_json(&mut component);
            slice["components"][kind][name] = component;
            known.insert(reference);
        }
    }
}

/// The description lists `application/json` alone, though clients are told to accept GitHub's own type.
fn also_as_github_json(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if let Some(json) = fields.get("application/json").cloned() {
                fields.insert("application/vnd.github+json".to_owned(), json);
            }
            fields.values_mut().for_each(also_as_github_json);
        }
        Value::Array(items) => items.iter_mut().for_each(also_as_github_json),
        _ => {}
    }
}

fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(reference)) = fields.get("$ref") {
                found.insert(reference.clone());
            }
            fields.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[test]
fn githubs_own_description_takes_every_request() {
    static SHA: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    if !full() {
        return;
    }
    let server = github(150, &SHA);
    let project = project(&to_github(&server));
    git(&project, &["checkout", "-q", "-b", "long"]);
    SHA.set(head(&project)).unwrap();
    project.file("../fail", "");
    run(&project, &["--tests-only"]).exits_with(1);
    super::publish(&project, &[]).exits_with(0);
    run(&project, &["--benchmarks-only"]).exits_with(0);
    super::publish(&project, &[]).exits_with(0);
    let requests = server.take();
    let prism = Prism::start(project.dir.parent().unwrap());
    let mut kinds = BTreeSet::new();
    for request in &requests {
        let (status, said) = prism.replay(request);
        assert!((200..300).contains(&status), "{request:?}\n{said}");
        kinds.insert(request.method.as_str());
    }
    assert_eq!(kinds, BTreeSet::from(["GET", "PATCH", "POST"]));
    // It does refuse what is wrong.
    let mut wrong = requests
        .iter()
        .find(|it| it.path.contains("/statuses/"))
        .unwrap()
        .clone();
    wrong.body = wrong
        .body
        .iter()
        .map(|byte| if *byte == b'f' { b'g' } else { *byte })
        .collect();
    assert_eq!(prism.replay(&wrong).0, 422);
}
