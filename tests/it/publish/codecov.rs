//! Codecov: what is sent, and what happens when the server is not well.

use std::io::Read as _;

use flate2::read::ZlibDecoder;
use serde_json::{Value, json};

use super::server::{Fault, Reply, Request, Server};
use super::{TOKEN, head, hpc_ci, project, publish, run, to_codecov, waiting};
use crate::support::git_servers::Http;

/// A server as strict as Codecov's (`UploadSerializer`, `CommitSerializer` and `TestResultsUploadView` of codecov/umbrella), with
/// a storage as strict as S3.
pub(crate) fn codecov() -> Server {
    let mut uploads = 0;
    Server::start(move |request, url| {
        let path = request.path.split('?').next().unwrap();
        if path.starts_with("/storage/") {
            return storage(request);
        }
        let token = request.header("authorization");
        if token.is_some_and(|it| it.split_once(' ') != Some(("token", TOKEN))) {
            let said = "Failed token authentication, please double-check that your repository token matches";
            return Reply::json(401, &json!({ "detail": said }));
        }
        let body = request.json();
        if token.is_none() && !body["branch"].as_str().is_some_and(|it| it.contains(':')) {
            return Reply::json(401, &json!({ "detail": "Not valid tokenless upload" }));
        }
        let problems = match path {
            "/upload/test_results/v1" => wrong_tests(&body),
            _ if path.ends_with("/upload-coverage") => wrong_coverage(path, &body),
            _ => return Reply::json(404, &json!({ "detail": "Not found." })),
        };
        if !problems.is_empty() {
            return Reply::json(400, &json!(problems));
        }
        uploads += 1;
        let location = format!("{url}/storage/{uploads}?X-Amz-Signature=sealed");
        Reply::json(
            201,
            &json!({ "external_id": "x", "raw_upload_location": location, "url": "https://app.codecov.io/" }),
        )
    })
}

fn storage(request: &Request) -> Reply {
    let refusal = if request.method != "PUT" || !request.path.contains("X-Amz-Signature=sealed") {
        Some(403)
    } else if request.header("authorization").is_some() {
        Some(400)
    } else if request.header("content-length").is_none() {
        Some(501)
    } else {
        None
    };
    Reply {
        status: refusal.unwrap_or(200),
        headers: Vec::new(),
        body: String::new(),
    }
}

fn wrong_coverage(path: &str, body: &Value) -> Vec<String> {
    let mut wrong = wrong_common(body);
    let parts: Vec<&str> = path.split('/').collect();
    let services = [
        "github",
        "gitlab",
        "bitbucket",
        "github_enterprise",
        "gitlab_enterprise",
        "bitbucket_server",
    ];
    if !services.contains(&parts[2]) {
        wrong.push(format!("service {}", parts[2]));
    }
    if !parts[3].contains("::::") {
        wrong.push("Repository not found".to_owned());
    }
    if body["commitid"].as_str().is_none_or(|it| it.len() != 40) {
        wrong.push("commitid".to_owned());
    }
    if !matches!(&body["code"], Value::Null) && body["code"] != "default" {
        wrong.push("code".to_owned());
    }
    wrong
}

fn wrong_tests(body: &Value) -> Vec<String> {
    let mut wrong = wrong_common(body);
    for key in ["commit", "slug"] {
        if body[key].as_str().is_none() {
            wrong.push(format!("{key}: This field is required."));
        }
    }
    wrong
}

fn wrong_common(body: &Value) -> Vec<String> {
    let object = body.as_object().unwrap();
    let mut wrong: Vec<String> = object
        .iter()
        .filter(|(_, value)| value.as_str().is_some_and(|it| it.trim().is_empty()))
        .map(|(key, _)| format!("{key}: This field may not be blank."))
        .collect();
    for key in ["ci_service", "version", "flags"] {
        if body[key].is_null() {
            wrong.push(format!("{key}: This field may not be null."));
        }
    }
    if !body["flags"]
        .as_array()
        .is_some_and(|flags| flags.iter().all(Value::is_string))
    {
        wrong.push("flags: Expected a list of strings".to_owned());
    }
    if body["name"].as_str().is_some_and(|name| name.len() > 100) {
        wrong.push("name: too long".to_owned());
    }
    wrong
}

/// The files of an upload, unpacked as the worker does.
pub(crate) fn unpacked(request: &Request, list: &str) -> Vec<String> {
    use base64::Engine as _;
    let content = request.json();
    let files = content[list].as_array().unwrap();
    files
        .iter()
        .map(|file| {
            assert_eq!(file["format"], "base64+compressed");
            let data = file["data"].as_str().unwrap();
            let data = base64::engine::general_purpose::STANDARD
                .decode(data)
                .unwrap();
            let mut text = String::new();
            ZlibDecoder::new(&data[..])
                .read_to_string(&mut text)
                .unwrap();
            text
        })
        .collect()
}

const COVERAGE: &str = "POST /upload/github/o::::r/upload-coverage";
const TESTS: &str = "POST /upload/test_results/v1";

#[test]
fn coverage_and_test_results_arrive_whole_and_once() {
    let server = codecov();
    let project = project(&to_codecov(&server));
    run(&project, &[]).exits_with(0);
    publish(&project, &[]).exits_with(0);
    let requests = server.take();
    let lines: Vec<String> = requests.iter().map(Request::line).collect();
    assert_eq!(lines, [COVERAGE, "PUT /storage/1", TESTS, "PUT /storage/2"]);
    let create = requests[0].json();
    assert_eq!(create["commitid"], head(&project));
    assert_eq!(create["branch"], "main");
    assert_eq!(create["flags"], json!(["hpc-extended"]));
    assert_eq!(create["report_payload_bytes"], requests[1].body.len());
    assert!(
        requests[0]
            .header("user-agent")
            .unwrap()
            .starts_with("hpc-ci/")
    );
    let content = requests[1].json();
    let files = json!([
        ".gitignore",
        "hpc.toml",
        "lcov.info",
        "src/heat.c",
        "src/lib.rs"
    ]);
    assert_eq!(content["network_files"], files);
    assert_eq!(
        content["report_fixes"],
        json!({ "format": "legacy", "value": { "src/heat.c": { "eof": null, "lines": [2, 3, 5] } } })
    );
    let report = unpacked(&requests[1], "coverage_files").remove(0);
    assert!(report.contains("SF:src/heat.c\n"), "{report}");
    let junit = unpacked(&requests[3], "test_results_files").remove(0);
    assert!(junit.contains("may fail"), "{junit}");

    let again = publish(&project, &[]).exits_with(0);
    assert_eq!(server.take_lines(), Vec::<String>::new(), "{}", again.err);
    // A later benchmark of the same commit changes nothing that Codecov has.
    run(&project, &["--benchmarks-only"]).exits_with(0);
    publish(&project, &[]).exits_with(0);
    assert_eq!(server.take_lines(), Vec::<String>::new());
    assert_eq!(waiting(&project), Vec::<Value>::new());
}

#[test]
fn what_may_pass_is_tried_again() {
    let server = codecov();
    let project = project(&to_codecov(&server));
    run(&project, &[]).exits_with(0);
    server.fault("POST", Fault::status(500));
    server.fault("POST", Fault::status(503));
    server.fault("PUT", Fault::Drops);
    // The location has run out: another one is asked for.
    server.fault("PUT", Fault::status(403));
    publish(&project, &[]).exits_with(0);
    let put = "PUT /storage/1";
    assert_eq!(
        server.take_lines(),
        [
            COVERAGE,
            COVERAGE,
            COVERAGE,
            put,
            put,
            COVERAGE,
            "PUT /storage/2",
            TESTS,
            "PUT /storage/3"
        ]
    );
}

#[test]
fn a_server_that_asks_for_time_gets_it() {
    let server = codecov();
    let project = project(&to_codecov(&server));
    run(&project, &[]).exits_with(0);
    let limited = Reply::json(429, &json!({ "detail": "Request was throttled." }));
    server.fault(
        "POST",
        Fault::Says(limited.clone().header("Retry-After", "1")),
    );
    publish(&project, &[]).exits_with(0);
    assert_eq!(
        server.take_lines(),
        [
            COVERAGE,
            COVERAGE,
            "PUT /storage/1",
            TESTS,
            "PUT /storage/2"
        ]
    );
    // A quota names no time: asking again today is of no use.
    let project = super::project(&to_codecov(&server));
    run(&project, &[]).exits_with(0);
    server.fault("POST", Fault::Says(limited));
    let ended = publish(&project, &[]).exits_with(4);
    assert!(
        ended.err.contains("Request was throttled."),
        "{}",
        ended.err
    );
    assert_eq!(server.take_lines(), [COVERAGE, TESTS, "PUT /storage/3"]);
    assert_eq!(
        waiting(&project)[0]["pending"]["codecov_coverage"]["tries"],
        1
    );
    publish(&project, &[]).exits_with(0);
    assert_eq!(server.take_lines(), [COVERAGE, "PUT /storage/4"]);
}

#[test]
fn a_silent_server_holds_nobody_up_and_results_are_kept() {
    let server = codecov();
    let project = project(&to_codecov(&server));
    for _ in 0..4 {
        server.fault("POST", Fault::Hangs);
    }
    let mut command = hpc_ci(&project, &["--scheduler", "local"]);
    command
        .env("CODECOV_TOKEN", TOKEN)
        .env("HPC_CI_PUBLISH_TIMEOUT", "1");
    let ended = super::ended(&project, &mut command).exits_with(4);
    assert!(
        ended.err.contains("did not answer within 1 s"),
        "{}",
        ended.err
    );
    assert_eq!(ended.json("hpc-results.json")["status"], "passed");
    assert_eq!(waiting(&project).len(), 1);
    // Nobody else at that server was asked in vain.
    assert_eq!(server.take_lines(), [COVERAGE; 4]);
    publish(&project, &[]).exits_with(0);
    assert_eq!(server.take().len(), 4);
    assert_eq!(waiting(&project), Vec::<Value>::new());
}

#[test]
fn a_fault_of_the_code_outranks_trouble_with_codecov() {
    let server = codecov();
    let project = project(&to_codecov(&server));
    project.file("../fail", "");
    for _ in 0..2 {
        server.fault("POST", Fault::status(400));
    }
    let mut command = hpc_ci(&project, &["--scheduler", "local"]);
    let command = command.env("CODECOV_TOKEN", TOKEN);
    super::ended(&project, command).exits_with(1);
    assert_eq!(server.take_lines(), [COVERAGE, TESTS]);
    assert_eq!(waiting(&project).len(), 1);
}

#[test]
fn refusals_are_told_with_a_remedy() {
    let server = codecov();
    let project = project(&to_codecov(&server));
    run(&project, &[]).exits_with(0);
    let mut command = hpc_ci(&project, &["publish"]);
    let ended = super::ended(&project, command.env("CODECOV_TOKEN", "wrong-one")).exits_with(4);
    assert!(
        ended.err.contains("Failed token authentication"),
        "{}",
        ended.err
    );
    assert!(
        ended
            .err
            .contains("help: the token is not one of this repository")
    );
    assert!(!ended.err.contains("wrong-one"));
    let ended = super::ended(&project, &mut hpc_ci(&project, &["publish"])).exits_with(4);
    assert!(
        ended.err.contains("Not valid tokenless upload"),
        "{}",
        ended.err
    );
    assert!(
        ended.err.contains("help: set `CODECOV_TOKEN`"),
        "{}",
        ended.err
    );
    server.take();
    let moved =
        Reply::json(301, &json!({})).header("location", "https://elsewhere.example/x?secret=1");
    for _ in 0..2 {
        server.fault("POST", Fault::Says(moved.clone()));
    }
    let ended = publish(&project, &[]).exits_with(4);
    assert!(
        ended
            .err
            .contains("sends us on to https://elsewhere.example/x\n"),
        "{}",
        ended.err
    );
    assert_eq!(server.take_lines(), [COVERAGE, TESTS]);
}

#[test]
fn a_server_that_nobody_vouches_for_gets_nothing() {
    let dir = tempfile::TempDir::new().unwrap();
    let certificate = dir.path().join("certificate");
    let server = Http::start_tls(dir.path(), &certificate);
    let url = server.url("", "");
    let settings = format!(
        "[publish.codecov]\nurl = \"{}\"\nservice = \"github\"\n",
        url.trim_end_matches('/')
    );
    let project = project(&settings);
    run(&project, &["--tests-only"]).exits_with(0);
    let refused = publish(&project, &[]).exits_with(4);
    let authority = url.split('/').nth(2).unwrap();
    for said in [
        &format!("the certificate of {authority} is not trusted: self-signed certificate\n"),
        "help: `SSL_CERT_FILE` names",
    ] {
        assert!(refused.err.contains(said), "no {said} in {}", refused.err);
    }
    assert_eq!(server.log(), "");
    let mut command = hpc_ci(&project, &["publish"]);
    command.env("SSL_CERT_FILE", dir.path().join("certificate.pem"));
    let answered = super::ended(&project, &mut command).exits_with(4);
    assert!(answered.err.contains(" answered 4"), "{}", answered.err);
}

#[test]
fn a_fork_needs_no_token() {
    let server = codecov();
    let project = project(&format!("{}[trust]\nforks = true\n", to_codecov(&server)));
    let of_fork = ["--branch", "someone:topic", "--in-place", "--tests-only"];
    run(&project, &of_fork).exits_with(0);
    super::ended(&project, &mut hpc_ci(&project, &["publish"])).exits_with(0);
    let requests = server.take();
    assert_eq!(requests[0].header("authorization"), None);
    assert_eq!(requests[0].json()["branch"], "someone:topic");
}

#[test]
fn the_main_branch_of_a_fork_is_not_ours() {
    let server = codecov();
    let project = project(&format!("{}[trust]\nforks = true\n", to_codecov(&server)));
    let event = project.dir.with_file_name("event.json");
    let text = json!({ "pull_request": { "head": { "repo": { "full_name": "mallory/r" } } } });
    std::fs::write(&event, text.to_string()).unwrap();
    let in_workflow = |words: &[&str], token: Option<&str>| {
        let mut command = hpc_ci(&project, words);
        command
            .env("GITHUB_ACTIONS", "true")
            .env("GITHUB_REPOSITORY", "o/r")
            .env("GITHUB_HEAD_REF", "main")
            .env("GITHUB_EVENT_PATH", &event)
            .envs(token.map(|token| ("CODECOV_TOKEN", token)));
        super::ended(&project, &mut command).exits_with(0)
    };
    let words = ["--scheduler", "local", "--no-publish", "--tests-only"];
    let ended = in_workflow(&words, None);
    assert_eq!(ended.json("hpc-results.json")["branch"], "mallory:main");
    in_workflow(&["publish"], None);
    assert_eq!(server.take()[0].json()["branch"], "mallory:main");
    std::fs::remove_dir_all(project.dir.with_file_name("state")).unwrap();
    // With a token, Codecov is told the branch of the pull request.
    in_workflow(&["publish"], Some(TOKEN));
    assert_eq!(server.take()[0].json()["branch"], "main");
}

#[test]
fn what_must_not_move_codecov_does_not() {
    let server = codecov();
    let project = project(&to_codecov(&server));
    run(&project, &["halo"]).exits_with(0);
    let filtered = publish(&project, &[]).exits_with(0);
    assert!(
        filtered.err.contains("these results are filtered"),
        "{}",
        filtered.err
    );
    project.file("src/lib.rs", "fn main() {}\n");
    run(&project, &["--in-place", "--tests-only"]).exits_with(0);
    publish(&project, &[]).exits_with(0);
    assert_eq!(server.take_lines(), Vec::<String>::new());
}

#[test]
fn a_dry_run_shows_every_request_and_no_secret() {
    let server = codecov();
    let project = project(&to_codecov(&server));
    run(&project, &[]).exits_with(0);
    let shown = publish(&project, &["--dry-run"]).exits_with(0);
    for said in [
        &format!("POST {}/upload/github/o::::r/upload-coverage", server.url()),
        "authorization: token ***",
        "\"commitid\": ",
        "PUT (the raw_upload_location of the answer)",
        "\"network_files\": \"5 files\"",
    ] {
        assert!(shown.err.contains(said), "no {said} in {}", shown.err);
    }
    let json = publish(&project, &["--dry-run", "--format", "json"]).exits_with(0);
    let calls: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(calls.as_array().unwrap().len(), 4);
    for text in [shown.err, shown.out, json.err, json.out] {
        assert!(!text.contains(TOKEN));
    }
    assert_eq!(server.take_lines(), Vec::<String>::new());
    assert_eq!(waiting(&project), Vec::<Value>::new());
}
