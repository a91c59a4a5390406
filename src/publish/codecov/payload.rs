//! What Codecov is sent, made of values alone.
//!
//! The API refuses `null` for `ci_service`, `version` and `flags`, and empty strings everywhere
//! (`UploadSerializer` and `TestResultsUploadView` of codecov/umbrella); `cli_args` and `file_not_found` it does not read.
//! The worker drops the lines of files that are not in `network_files`.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use serde_json::{Map, Value, json};

use super::Target;
use crate::publish::circumstances::{Circumstances, Server};
use crate::publish::material::Material;
use crate::results::record::Network;

/// The longest name of an upload.
const LONGEST_NAME: usize = 100;

/// Returns a project's path as Codecov's addresses have it: `group:::subgroup::::project`.
#[must_use]
pub fn encoded_slug(slug: &str) -> String {
    match slug.rsplit_once('/') {
        Some((owner, repository)) => format!("{}::::{repository}", owner.replace('/', ":::")),
        None => slug.to_owned(),
    }
}

/// Returns the document that creates an upload of coverage.
#[must_use]
pub fn create_coverage(
    material: &Material,
    network: &Network,
    circumstances: &Circumstances,
    target: &Target,
    size: usize,
) -> Value {
    let mut document = common(circumstances, &target.flag, size);
    let commit = circumstances.seen(&material.meta.commit);
    // Of a merge that a server made, the first parent is the target of the pull request.
    let parent = network
        .parent
        .as_deref()
        .filter(|_| commit == material.meta.commit);
    let more = json!({
        "branch": branch(material, circumstances, target),
        "code": "default",
        "commitid": commit,
        "parent_commit_id": present(parent),
        "pullid": circumstances.pull_request.map(|number| number.to_string()),
    });
    extend(&mut document, more);
    document
}

/// Returns the document that creates an upload of test results.
#[must_use]
pub fn create_tests(
    material: &Material,
    circumstances: &Circumstances,
    target: &Target,
    size: usize,
) -> Value {
    let mut document = common(circumstances, &target.flag, size);
    // `pr`, `build` and `buildUrl` are what the API reads, `ci_url` and `job_code` what codecov-cli sends.
    let more = json!({
        "slug": encoded_slug(&target.slug),
        "branch": branch(material, circumstances, target),
        "commit": circumstances.seen(&material.meta.commit),
        "service": target.service.to_string(),
        "pr": circumstances.pull_request.map(|number| number.to_string()),
        "build": present(circumstances.job.as_deref()),
        "buildUrl": present(circumstances.job_url.as_deref()),
    });
    extend(&mut document, more);
    document
}

fn common(circumstances: &Circumstances, flag: &str, size: usize) -> Value {
    json!({
        "ci_service": match circumstances.server {
            Server::Gitlab => "gitlab",
            Server::GithubActions => "github-actions",
            Server::Local => "local",
        },
        "ci_url": present(circumstances.job_url.as_deref()),
        "cli_args": {},
        "env": {},
        "flags": [flag],
        "job_code": match circumstances.server {
            Server::GithubActions => present(circumstances.workflow.as_deref()),
            Server::Gitlab | Server::Local => present(circumstances.job.as_deref()),
        },
        "name": name(circumstances),
        "version": env!("CARGO_PKG_VERSION"),
        "file_not_found": false,
        "report_payload_bytes": size,
    })
}

/// The branch, as codecov-cli would have it.
///
/// Of a fork that is the name without the fork, by which Codecov knows the branch of the pull request; but by the colon
/// alone it takes an upload without a token. What waits in GitHub's merge queue is of the branch that it waits for.
fn branch<'a>(
    material: &'a Material,
    circumstances: &Circumstances,
    target: &Target,
) -> Option<&'a str> {
    let branch = present(material.meta.branch.as_deref())?;
    if circumstances.server == Server::GithubActions
        && let Some(queued) = branch.strip_prefix("gh-readonly-queue/")
    {
        return queued.split('/').next();
    }
    let plain = branch.split_once(':').map(|(_, plain)| plain);
    match plain.filter(|plain| circumstances.branch.as_deref() == Some(*plain)) {
        Some(plain) if target.token.is_some() => Some(plain),
        _ => Some(branch),
    }
}

/// The name of the upload, as codecov-cli would have it.
fn name(circumstances: &Circumstances) -> Option<String> {
    let known = [&circumstances.workflow, &circumstances.job_name];
    let parts: Vec<&str> = known.into_iter().flatten().map(String::as_str).collect();
    let name = if parts.is_empty() {
        present(circumstances.job.as_deref())?.to_owned()
    } else {
        parts.join(" - ")
    };
    Some(name.chars().take(LONGEST_NAME).collect())
}

fn present(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.trim().is_empty())
}

fn extend(document: &mut Value, more: Value) {
    if let (Value::Object(document), Value::Object(more)) = (document, more) {
        document.extend(more);
    }
}

/// Returns the content of an upload of coverage.
#[must_use]
pub fn coverage(network: &Network, name: &str, tracefile: &[u8]) -> Vec<u8> {
    let content = json!({
        "report_fixes": { "format": "legacy", "value": fixes(network) },
        "network_files": network.files,
        "coverage_files": [file(name, tracefile)],
        "metadata": {},
    });
    content.to_string().into_bytes()
}

/// Returns the content of an upload of test results.
#[must_use]
pub fn tests(name: &str, junit: &[u8]) -> Vec<u8> {
    json!({ "test_results_files": [file(name, junit)] })
        .to_string()
        .into_bytes()
}

/// Returns what a dry run tells of [`coverage`].
#[must_use]
pub fn told_coverage(network: &Network) -> Value {
    json!({
        "report_fixes": format!("{} files", network.fixes.len()),
        "network_files": format!("{} files", network.files.len()),
        "coverage_files": ["coverage/lcov.info"],
        "metadata": {},
    })
}

/// Returns what a dry run tells of [`tests`].
#[must_use]
pub fn told_tests() -> Value {
    json!({ "test_results_files": ["tests/junit.xml"] })
}

fn fixes(network: &Network) -> Map<String, Value> {
    network
        .fixes
        .iter()
        .map(|(path, fix)| {
            (
                path.clone(),
                json!({ "eof": fix.end_of_file, "lines": fix.lines }),
            )
        })
        .collect()
}

fn file(name: &str, content: &[u8]) -> Value {
    json!({
        "filename": name,
        "format": "base64+compressed",
        "data": STANDARD.encode(zlib(content)),
        "labels": "",
    })
}

fn zlib(content: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder
        .write_all(content)
        .and_then(|()| encoder.finish())
        .expect("a Vec takes any bytes")
}
