//! GitHub and GitLab: statuses, and the comment that is kept up to date.

use serde_json::{Value, json};

use super::server::{Fault, Reply, Request, Server};
use super::{TOKEN, ended, head, hpc_ci, project, publish, run, waiting, with_tokens};
use crate::support::until;

/// A pull request with so many comments of others before ours, pages of a hundred.
pub(crate) fn github(others: usize, sha: &'static std::sync::OnceLock<String>) -> Server {
    let mut comments: Vec<Value> = (0..others)
        .map(|number| {
            // Somebody copied our mark.
            let body = "<!-- hpc-ci:results hpc -->\nmine!";
            json!({ "id": number + 1, "body": body, "user": { "login": "mallory", "type": "User" } })
        })
        .collect();
    Server::start(move |request, url| {
        if request.header("authorization") != Some(&format!("Bearer {TOKEN}")) {
            return Reply::json(401, &json!({ "message": "Bad credentials" }));
        }
        if request.header("user-agent").is_none() {
            return Reply::json(403, &json!({ "message": "administrative rules" }));
        }
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        match (request.method.as_str(), path) {
            ("GET", "/user") => Reply::json(200, &json!({ "login": "hpc-bot" })),
            ("GET", _) if path.ends_with("/pulls") => {
                let sha = sha.get().unwrap();
                Reply::json(
                    200,
                    &json!([
                        { "number": 6, "state": "closed", "head": { "sha": sha } },
                        { "number": 7, "state": "open", "head": { "sha": sha } },
                        { "number": 8, "state": "open", "head": { "sha": "f".repeat(40) } },
                    ]),
                )
            }
            ("POST", _) if path.contains("/statuses/") => {
                let body = request.json();
                let long = body["description"].as_str().unwrap().chars().count() > 140;
                let status = if long { 422 } else { 201 };
                Reply::json(status, &json!({ "message": "description is too long" }))
            }
            ("GET", "/repos/o/r/issues/7/comments") => page(&comments, query, url),
            ("POST", "/repos/o/r/issues/7/comments") => {
                let body = request.json()["body"].clone();
                let id = comments.len() + 1;
                comments.push(json!({ "id": id, "body": body, "user": { "login": "hpc-bot", "type": "User" } }));
                Reply::json(201, &json!({ "id": id }))
            }
            ("PATCH", _) => {
                let id: usize = path.rsplit('/').next().unwrap().parse().unwrap();
                comments[id - 1]["body"] = request.json()["body"].clone();
                Reply::json(200, &json!({}))
            }
            _ => Reply::json(404, &json!({ "message": "Not Found" })),
        }
    })
}

fn page(comments: &[Value], query: &str, url: &str) -> Reply {
    let number: usize = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("page="))
        .map_or(1, |text| text.parse().unwrap());
    let shown: Vec<&Value> = comments.iter().skip((number - 1) * 100).take(100).collect();
    let reply = Reply::json(200, &json!(shown));
    if number * 100 >= comments.len() {
        return reply;
    }
    let next = format!(
        "<{url}/repos/o/r/issues/7/comments?per_page=100&page={}>; rel=\"next\"",
        number + 1
    );
    reply.header("link", &next)
}

pub(crate) fn to_github(server: &Server) -> String {
    format!("[publish.github]\nurl = \"{}\"\n", server.url())
}

fn bodies(requests: &[Request], method: &str, path: &str) -> Vec<Value> {
    requests
        .iter()
        .filter(|it| it.method == method && it.path.contains(path))
        .map(Request::json)
        .collect()
}

#[test]
fn statuses_and_one_comment_kept_up_to_date_over_pages() {
    static SHA: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    let server = github(250, &SHA);
    let project = project(&to_github(&server));
    SHA.set(head(&project)).unwrap();
    project.file("../fail", "");
    run(&project, &["--tests-only"]).exits_with(1);
    publish(&project, &[]).exits_with(0);
    let requests = server.take();
    let statuses = bodies(&requests, "POST", "/statuses/");
    let said: Vec<(&str, &str, &str)> = statuses
        .iter()
        .map(|it| {
            let text = |key: &str| it[key].as_str().unwrap();
            (text("context"), text("state"), text("description"))
        })
        .collect();
    assert_eq!(
        said,
        [
            (
                "hpc-tests",
                "failure",
                "1 passed, 1 failed: may fail (failed)"
            ),
            ("hpc-coverage", "success", "75.00% of 4 lines"),
        ]
    );
    let pages = requests
        .iter()
        .filter(|it| it.line() == "GET /repos/o/r/issues/7/comments");
    assert_eq!(pages.count(), 3);
    let comment = bodies(&requests, "POST", "/comments").remove(0);
    let text = comment["body"].as_str().unwrap();
    for said in [
        "| tests | **failed** | 1 passed, 1 failed |",
        "| coverage | passed | 75.00%, 3 of 4 lines",
        "| ` may fail ` | failed |",
        "Run it again",
        "hpc-ci --commit",
    ] {
        assert!(text.contains(said), "no {said} in {text}");
    }

    run(&project, &["--benchmarks-only"]).exits_with(0);
    publish(&project, &[]).exits_with(0);
    let requests = server.take();
    assert_eq!(bodies(&requests, "POST", "/comments"), Vec::<Value>::new());
    let update = bodies(&requests, "PATCH", "/issues/comments/251").remove(0);
    let text = update["body"].as_str().unwrap();
    assert!(text.contains("| tests | **failed** |"), "{text}");
    assert!(
        text.contains("| benchmarks | passed | 1 figure, 0 regressed |"),
        "{text}"
    );
    assert!(text.contains("| ` may fail ` | failed |"), "{text}");
}

#[test]
fn a_comment_that_was_made_unheard_is_not_made_twice() {
    static SHA: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    let server = github(0, &SHA);
    let project = project(&to_github(&server));
    SHA.set(head(&project)).unwrap();
    run(&project, &[]).exits_with(0);
    for _ in 0..3 {
        server.fault("POST", Fault::status(502));
    }
    publish(&project, &[]).exits_with(0);
    server.take();
    std::fs::remove_dir_all(project.dir.parent().unwrap().join("state")).unwrap();
    // Three statuses first.
    let limit = json!({ "message": "You have exceeded a secondary rate limit" });
    let limit = Reply::json(403, &limit).header("x-ratelimit-remaining", "0");
    let soon = (chrono::Utc::now().timestamp() + 1).to_string();
    server.fault(
        "POST",
        Fault::Says(limit.header("x-ratelimit-reset", &soon)),
    );
    publish(&project, &[]).exits_with(0);
    let requests = server.take();
    assert_eq!(bodies(&requests, "POST", "/statuses/").len(), 4);
    assert_eq!(bodies(&requests, "POST", "/comments").len(), 0);
    assert_eq!(bodies(&requests, "PATCH", "/comments/1").len(), 1);
}

#[test]
fn a_creation_that_broke_off_is_looked_up_before_the_next_try() {
    static SHA: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    let server = github(0, &SHA);
    let project = project(&to_github(&server));
    SHA.set(head(&project)).unwrap();
    run(&project, &[]).exits_with(0);
    let mut command = hpc_ci(&project, &["publish"]);
    command.env("GITHUB_TOKEN", "wrong-one");
    let refused = ended(&project, &mut command).exits_with(4);
    assert!(refused.err.contains("Bad credentials"), "{}", refused.err);
    server.take();
    // The statuses are set three times over, then the comment breaks off.
    for _ in 0..3 {
        server.fault("POST", Fault::DoesAndDrops);
    }
    publish(&project, &[]).exits_with(0);
    for _ in 0..1 {
        server.fault("POST", Fault::DoesAndDrops);
    }
    std::fs::remove_dir_all(project.dir.parent().unwrap().join("state")).unwrap();
    publish(&project, &[]).exits_with(0);
    let requests = server.take();
    assert_eq!(bodies(&requests, "POST", "/comments").len(), 1);
}

/// Statuses of a commit as GitLab keeps them.
pub(crate) fn gitlab() -> Server {
    let mut statuses: Vec<Value> = Vec::new();
    Server::start(move |request, _| {
        if request.header("private-token") != Some(TOKEN) {
            return Reply::json(401, &json!({ "message": "401 Unauthorized" }));
        }
        let path = request.path.split('?').next().unwrap();
        if request.method == "GET"
            && path.starts_with("/api/v4/projects/grp%2Fsub%2Fheat/repository/commits/")
        {
            return Reply::json(200, &json!(statuses));
        }
        if request.method != "POST"
            || !path.starts_with("/api/v4/projects/grp%2Fsub%2Fheat/statuses/")
        {
            return Reply::json(404, &json!({ "message": "404 Project Not Found" }));
        }
        let body = request.json();
        let states = [
            "pending", "running", "success", "failed", "canceled", "skipped",
        ];
        if !states.contains(&body["state"].as_str().unwrap_or_default()) {
            return Reply::json(
                400,
                &json!({ "error": "state does not have a valid value" }),
            );
        }
        statuses.push(json!({ "id": statuses.len(), "name": body["name"], "status": body["state"], "description": body["description"] }));
        Reply::json(201, &json!({ "id": statuses.len() }))
    })
}

#[test]
fn statuses_stand_in_the_pipeline_of_the_job_and_only_once() {
    let server = gitlab();
    let settings = format!(
        "[publish.gitlab]\nurl = \"{}\"\nrepository = \"grp/sub/heat\"\n",
        server.url()
    );
    let project = project(&settings);
    run(&project, &[]).exits_with(0);
    server.fault("POST", Fault::DoesAndDrops);
    server.fault("POST", Fault::status(409));
    let outside = project.dir.parent().unwrap().join("hpc.toml");
    let text = std::fs::read_to_string(project.dir.join("hpc.toml")).unwrap();
    let text = text.replace("[workspace]", "[workspace]\nartifacts = \"project/hpc-ci\"");
    std::fs::write(&outside, text.replace("../state", "state")).unwrap();
    let mut command = hpc_ci(
        &project,
        &["publish", "--config", outside.to_str().unwrap()],
    );
    for (name, value) in [
        ("GITLAB_CI", "true"),
        ("CI_PROJECT_DIR", project.dir.to_str().unwrap()),
        ("CI_PROJECT_PATH", "grp/sub/heat"),
        ("CI_PIPELINE_ID", "9"),
        ("CI_COMMIT_REF_NAME", "topic"),
        ("CI_JOB_URL", "https://gitlab.example.org/-/jobs/42"),
        ("GITLAB_TOKEN", TOKEN),
    ] {
        command.env(name, value);
    }
    ended(&project, &mut command).exits_with(0);
    let requests = server.take();
    let sent = bodies(&requests, "POST", "/statuses/");
    let names: Vec<&str> = sent.iter().map(|it| it["name"].as_str().unwrap()).collect();
    // The first was set though nobody said so; the second was held up by a lock.
    let tests = "jacamar/hpc-tests";
    let coverage = "jacamar/hpc-coverage";
    assert_eq!(names, [tests, coverage, coverage, "jacamar/hpc-benchmarks"]);
    assert_eq!(
        sent[1],
        json!({
            "state": "success", "name": coverage, "description": "75.00% of 4 lines", "coverage": 75.0,
            "target_url": "https://gitlab.example.org/-/jobs/42", "pipeline_id": 9, "ref": "topic"
        })
    );
    assert_eq!(waiting(&project), Vec::<Value>::new());
}

#[test]
fn what_was_sent_when_hpc_ci_was_killed_is_looked_up_before_it_is_sent_again() {
    let server = gitlab();
    let settings = format!(
        "[publish.gitlab]\nurl = \"{}\"\nrepository = \"grp/sub/heat\"\n",
        server.url()
    );
    let project = project(&settings);
    run(&project, &[]).exits_with(0);
    server.fault("POST", Fault::DoesAndHangs);
    let mut command = hpc_ci(&project, &["publish"]);
    let mut child = command.env("GITLAB_TOKEN", TOKEN).spawn().unwrap();
    until(|| (server.count() > 0).then_some(()));
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(
        waiting(&project)[0]["pending"]["gitlab_statuses"]["tries"],
        1
    );
    publish(&project, &[]).exits_with(0);
    let requests = server.take();
    let sent = bodies(&requests, "POST", "/statuses/");
    let names: Vec<&str> = sent.iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["hpc-tests", "hpc-coverage", "hpc-benchmarks"]);
}

#[test]
fn results_of_githubs_own_merge_are_told_at_the_commit_of_the_pull_request() {
    static SHA: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    let server = github(0, &SHA);
    let project = project(&to_github(&server));
    SHA.set(head(&project)).unwrap();
    run(&project, &[]).exits_with(0);
    let own = "ab".repeat(20);
    let event = project.dir.with_file_name("event.json");
    let text = json!({ "pull_request": { "head": { "sha": own } } });
    std::fs::write(&event, text.to_string()).unwrap();
    let mut command = hpc_ci(&project, &["publish"]);
    with_tokens(&mut command);
    command
        .env("GITHUB_ACTIONS", "true")
        .env("GITHUB_SHA", head(&project))
        .env("GITHUB_REF", "refs/pull/7/merge")
        .env("GITHUB_HEAD_REF", "topic")
        .env("GITHUB_EVENT_PATH", &event);
    ended(&project, &mut command).exits_with(0);
    let requests = server.take();
    let at = format!("/statuses/{own}");
    assert_eq!(bodies(&requests, "POST", &at).len(), 3);
    let comments = bodies(&requests, "POST", "/issues/7/comments");
    let text = comments[0]["body"].as_str().unwrap();
    assert!(
        text.contains(&format!("HPC results of {own:.10}")),
        "{text}"
    );
}
