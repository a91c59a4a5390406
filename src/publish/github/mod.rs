//! GitHub, also an Enterprise host: statuses of a commit, and one comment at its pull request that is kept up to date.
//!
//! The interface is that of the [REST API](https://docs.github.com/rest), version 2022-11-28. Statuses instead of checks: those
//! need an app. What a comment says is made in [`comment`], from values alone.

pub mod comment;

use chrono::{DateTime, Utc};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::circumstances::{Circumstances, Server};
use super::http::{Answer, Authorization, Call, HttpError, Wire};
use super::material::Material;
use super::place;
use super::place::percent_encoded;
use super::status::{self, CommitStatus, State};
use crate::git::Secret;

/// The longest description of a status.
const LONGEST_DESCRIPTION: usize = 140;
/// Pages of comments that are searched, a hundred on each.
const MOST_PAGES: usize = 100;

/// GitHub, as far as settings and surroundings say.
#[derive(Debug, Clone)]
pub struct Target {
    /// The API's address.
    pub api: String,
    /// `owner/repository`.
    pub repository: String,
    /// What stands before the names of statuses.
    pub context: Option<String>,
    /// The token.
    pub token: Secret,
}

/// Whose comments are ours.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Author {
    /// Those of this user.
    User(String),
    /// Those of an app; which one, an installation's token does not tell.
    App,
}

impl Target {
    /// Sets the statuses of the commit.
    pub async fn set_statuses(
        &self,
        material: &Material,
        circumstances: &Circumstances,
        wire: &Wire,
    ) -> Result<(), HttpError> {
        let commit = circumstances.seen(&material.meta.commit);
        let path = format!("statuses/{commit}");
        for status in status::statuses(material, circumstances, self.context.as_deref()) {
            let document = status_document(&status, circumstances.job_url.as_deref());
            wire.send(self.call(Method::POST, &path, Some(document)))
                .await?;
        }
        Ok(())
    }

    /// Writes or updates the comment at each open pull request of which the commit is the head.
    pub async fn comment(
        &self,
        material: &Material,
        circumstances: &Circumstances,
        wire: &Wire,
    ) -> Result<(), HttpError> {
        let key = comment::marker(self.context.as_deref());
        let commit = circumstances.seen(&material.meta.commit);
        let news = comment::News::of(material, commit, &key);
        if news.is_empty() {
            return Ok(());
        }
        let requests = match circumstances.pull_request {
            Some(number) if circumstances.server == Server::GithubActions => {
                vec![number.to_string()]
            }
            _ => self.pull_requests(commit, wire).await?,
        };
        if requests.is_empty() {
            return Ok(());
        }
        let author = self.author(wire).await?;
        for number in requests {
            self.comment_at(&number, &news, &key, &author, wire).await?;
        }
        Ok(())
    }

    /// Numbers of the open pull requests of which the commit is the head. A dry run asks nobody and shows one.
    async fn pull_requests(&self, commit: &str, wire: &Wire) -> Result<Vec<String>, HttpError> {
        let path = format!("commits/{commit}/pulls?per_page=100");
        let Some(answer) = wire.send(self.call(Method::GET, &path, None)).await? else {
            return Ok(vec!["(number)".to_owned()]);
        };
        let found = answer.json()?;
        let found = found.as_array().map(Vec::as_slice).unwrap_or_default();
        Ok(found
            .iter()
            .filter(|it| it["state"] == "open" && it["head"]["sha"] == *commit)
            .filter_map(|it| Some(it["number"].as_u64()?.to_string()))
            .collect())
    }

    async fn author(&self, wire: &Wire) -> Result<Author, HttpError> {
        let call = Call {
            url: format!("{}/user", self.api),
            ..self.call(Method::GET, "", None)
        };
        match wire.send(call).await {
            Ok(None) => Ok(Author::App),
            Ok(Some(answer)) => answer.json()?["login"]
                .as_str()
                .map(|login| Author::User(login.to_owned()))
                .ok_or(HttpError::Lacks { key: "login" }),
            Err(error) if matches!(error.status(), Some(StatusCode::FORBIDDEN)) => Ok(Author::App),
            Err(error) => Err(error),
        }
    }

    /// A comment whose creation went wrong may be there all the same, so that they are listed again before the next try.
    async fn comment_at(
        &self,
        number: &str,
        news: &comment::News,
        key: &str,
        author: &Author,
        wire: &Wire,
    ) -> Result<(), HttpError> {
        let pace = wire.pace();
        let mut tries = 1;
        loop {
            let found = self.own_comment(number, key, author, wire).await?;
            let old = found.as_ref().map(|(_, body)| body.as_str());
            let Some(body) = news.body(old) else {
                return Ok(());
            };
            let document = Some(json!({ "body": body }));
            let call = match &found {
                Some((id, _)) => {
                    self.call(Method::PATCH, &format!("issues/comments/{id}"), document)
                }
                None => Call {
                    repeatable: false,
                    ..self.call(Method::POST, &format!("issues/{number}/comments"), document)
                },
            };
            match wire.send(call).await {
                Ok(_) => return Ok(()),
                Err(error) if error.is_passing() && tries < pace.tries => {
                    tokio::time::sleep(pace.wait(tries)).await;
                    tries += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Our comment at a pull request: its id and its text.
    async fn own_comment(
        &self,
        number: &str,
        key: &str,
        author: &Author,
        wire: &Wire,
    ) -> Result<Option<(u64, String)>, HttpError> {
        let first = format!("issues/{number}/comments?per_page=100");
        let mut call = self.call(Method::GET, &first, None);
        for _ in 0..MOST_PAGES {
            let Some(answer) = wire.send(call.clone()).await? else {
                return Ok(None);
            };
            let page = answer.json()?;
            let comments = page.as_array().map(Vec::as_slice).unwrap_or_default();
            if let Some(found) = comments.iter().find_map(|it| own(it, key, author)) {
                return Ok(Some(found));
            }
            match next_page(&answer, &self.api) {
                Some(url) => call.url = url,
                None => return Ok(None),
            }
        }
        Ok(None)
    }

    fn call(&self, method: Method, path: &str, document: Option<Value>) -> Call {
        let (owner, repository) = self
            .repository
            .split_once('/')
            .unwrap_or(("", &self.repository));
        let url = format!(
            "{}/repos/{}/{}/{path}",
            self.api,
            percent_encoded(owner),
            percent_encoded(repository)
        );
        let call = match document {
            Some(document) => Call::json(method, url, document),
            None => Call {
                method,
                ..Call::get(url)
            },
        };
        Call {
            headers: vec![
                ("accept", "application/vnd.github+json".to_owned()),
                ("x-github-api-version", "2022-11-28".to_owned()),
            ],
            authorization: Some(Authorization {
                header: "authorization",
                prefix: "Bearer ",
                secret: self.token.clone(),
            }),
            ..call
        }
    }
}

/// Returns what to do about a refusal.
#[must_use]
pub fn help(error: &HttpError) -> Option<String> {
    let text = match error.status()? {
        StatusCode::UNAUTHORIZED => "the token is unknown or has run out",
        StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => {
            "the token needs `Commit statuses: write` and `Pull requests: write` of the repository; is `repository` of [publish.github] right?"
        }
        StatusCode::GONE => "the repository takes no comments",
        StatusCode::UNPROCESSABLE_ENTITY => "has the commit been pushed there?",
        _ => return None,
    };
    Some(text.to_owned())
}

fn status_document(status: &CommitStatus, url: Option<&str>) -> Value {
    let mut document = json!({
        "state": match status.state {
            State::Success => "success",
            State::Failure => "failure",
            State::Error => "error",
        },
        "context": status.context,
        "description": status::cut(&status.description, LONGEST_DESCRIPTION),
    });
    if let Some(url) = url {
        document["target_url"] = url.into();
    }
    document
}

/// Anybody can write our mark; only what we wrote ourselves is ours.
fn own(comment: &Value, key: &str, author: &Author) -> Option<(u64, String)> {
    let body = comment["body"].as_str()?;
    let is_ours = match author {
        Author::User(login) => comment["user"]["login"] == **login,
        Author::App => comment["user"]["type"] == "Bot",
    };
    (is_ours && body.starts_with(key)).then(|| Some((comment["id"].as_u64()?, body.to_owned())))?
}

/// The address of the next page, provided that it is on the same host: the token goes along.
fn next_page(answer: &Answer, api: &str) -> Option<String> {
    let links = answer.header("link")?;
    let next = links.split(',').find_map(|link| {
        let (url, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
        parameters.contains("rel=\"next\"").then_some(url)
    })?;
    let authority = |url: &str| {
        let rest = url.split_once("://")?;
        Some((
            rest.0.to_owned(),
            rest.1.split('/').next().unwrap_or_default().to_owned(),
        ))
    };
    (authority(next) == authority(api)).then(|| next.to_owned())
}

/// Returns whether a project lives at GitHub: by what its workflow says, or by the name of the host.
#[must_use]
pub fn is_home_of(place: &place::Place) -> bool {
    own_api(place).is_some() || place.host.as_deref().is_some_and(is_host)
}

fn is_host(host: &str) -> bool {
    host.split('.').any(|label| label == "github") || host.ends_with(".ghe.com")
}

/// The API that a workflow names; a pipeline of GitLab names GitLab's.
fn own_api(place: &place::Place) -> Option<&str> {
    let api = place.api.as_deref();
    api.filter(|api| !api.ends_with("/api/v4"))
}

/// Returns the API of a host of GitHub.
#[must_use]
pub fn api_of(place: &place::Place, configured: &str, is_default: bool) -> String {
    if !is_default {
        return configured.to_owned();
    }
    if let Some(api) = own_api(place) {
        return api.trim_end_matches('/').to_owned();
    }
    match place.host.as_deref() {
        // Companies with a region of their own at GitHub.
        Some(host) if host.ends_with(".ghe.com") => format!("https://api.{host}"),
        Some(host) if host != "github.com" && is_host(host) => format!("https://{host}/api/v3"),
        _ => configured.to_owned(),
    }
}

/// When the results were made, by the newest run.
fn made_at(material: &Material) -> Option<DateTime<Utc>> {
    material.runs.iter().map(|run| run.finished_at).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_of_any_host() {
        const PUBLIC: &str = "https://api.github.com";
        let place = |host: &str, api: Option<&str>| place::Place {
            host: Some(host.to_owned()),
            slug: None,
            api: api.map(str::to_owned),
        };
        let check = |host, api, expected: &str, home| {
            let place = place(host, api);
            assert_eq!(api_of(&place, PUBLIC, true), expected, "{host}");
            assert_eq!(is_home_of(&place), home, "{host}");
            assert_eq!(api_of(&place, "https://set/api", false), "https://set/api");
        };
        check("github.com", None, PUBLIC, true);
        check(
            "github.hpc.org",
            None,
            "https://github.hpc.org/api/v3",
            true,
        );
        check("octo.ghe.com", None, "https://api.octo.ghe.com", true);
        // An Enterprise host of another name, as its own workflows know it: its token must not go to github.com.
        let api = "https://code.hpc.org/api/v3";
        check("code.hpc.org", Some(api), api, true);
        let of_gitlab = Some("https://gitlab.hpc.org/api/v4");
        check("gitlab.hpc.org", of_gitlab, PUBLIC, false);
        check("code.hpc.org", None, PUBLIC, false);
    }
}
