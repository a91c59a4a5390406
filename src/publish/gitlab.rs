//! GitLab: statuses of a commit, as external jobs of its pipeline. `JUnit` reaches its widget as an artifact of the job.
//!
//! The interface is that of [commit statuses](https://docs.gitlab.com/api/commits/#set-commit-pipeline-status). GitLab keeps a
//! list of them: what was set twice stands there twice, so that after a broken connection it is looked up first.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::circumstances::{Circumstances, Server};
use super::http::{Authorization, Call, HttpError, Wire};
use super::material::Material;
use super::place::{Place, percent_encoded};
use super::status::{self, CommitStatus, State};
use crate::git::Secret;

/// The longest text of a status.
const LONGEST: usize = 255;

/// GitLab, as far as settings and surroundings say.
#[derive(Debug, Clone)]
pub struct Target {
    /// The API's address, up to `/api/v4`.
    pub api: String,
    /// The project's path.
    pub project: String,
    /// What stands before the names of statuses.
    pub context: Option<String>,
    /// The token.
    pub token: Secret,
    /// Whether this is the project that the pipeline runs in.
    pub own_pipeline: bool,
}

impl Target {
    /// Sets the statuses of the commit; `again` if some of them may be set already.
    pub async fn set_statuses(
        &self,
        material: &Material,
        circumstances: &Circumstances,
        again: bool,
        wire: &Wire,
    ) -> Result<(), HttpError> {
        for status in status::statuses(material, circumstances, self.context.as_deref()) {
            let document = self.document(&status, circumstances);
            if again && self.is_set(&material.meta.commit, &document, wire).await? {
                continue;
            }
            self.set(&material.meta.commit, &document, wire).await?;
        }
        Ok(())
    }

    async fn set(&self, commit: &str, document: &Value, wire: &Wire) -> Result<(), HttpError> {
        let pace = wire.pace();
        let mut tries = 1;
        loop {
            let call = Call {
                repeatable: false,
                ..self.call(
                    Method::POST,
                    &format!("statuses/{commit}"),
                    Some(document.clone()),
                )
            };
            let Err(error) = wire.send(call).await else {
                return Ok(());
            };
            // 400 tells that it is already so, 409 that another update holds the pipeline.
            let status = error.status();
            let unclear = error.is_passing()
                || matches!(status, Some(StatusCode::BAD_REQUEST | StatusCode::CONFLICT));
            if !unclear {
                return Err(error);
            }
            if !matches!(status, Some(StatusCode::BAD_REQUEST)) {
                tokio::time::sleep(pace.wait(tries)).await;
            }
            if self.is_set(commit, document, wire).await? {
                return Ok(());
            }
            if status == Some(StatusCode::BAD_REQUEST) || tries >= pace.tries {
                return Err(error);
            }
            tries += 1;
        }
    }

    /// Whether the commit's newest status of this name says the same.
    async fn is_set(&self, commit: &str, document: &Value, wire: &Wire) -> Result<bool, HttpError> {
        let name = percent_encoded(document["name"].as_str().unwrap_or_default());
        let path = format!("repository/commits/{commit}/statuses?name={name}&per_page=100");
        let Some(answer) = wire.send(self.call(Method::GET, &path, None)).await? else {
            return Ok(false);
        };
        let found = answer.json()?;
        let newest = found
            .as_array()
            .and_then(|list| list.iter().max_by_key(|it| it["id"].as_u64()));
        Ok(newest.is_some_and(|it| {
            it["status"] == document["state"] && it["description"] == document["description"]
        }))
    }

    fn document(&self, status: &CommitStatus, circumstances: &Circumstances) -> Value {
        let mut document = json!({
            "state": match status.state {
                State::Success => "success",
                State::Failure | State::Error => "failed",
            },
            "name": status::cut(&status.context, LONGEST),
            "description": status::cut(&status.description, LONGEST),
        });
        if let Some(url) = circumstances
            .job_url
            .as_deref()
            .filter(|url| url.len() <= LONGEST)
        {
            document["target_url"] = url.into();
        }
        if let Some(percent) = status.coverage {
            document["coverage"] = percent.into();
        }
        // Without them GitLab would make a pipeline of its own for the status.
        if circumstances.server == Server::Gitlab && self.own_pipeline {
            if let Some(pipeline) = circumstances.pipeline {
                document["pipeline_id"] = pipeline.into();
            }
            if let Some(reference) = &circumstances.reference {
                document["ref"] = reference.as_str().into();
            }
        }
        document
    }

    fn call(&self, method: Method, path: &str, document: Option<Value>) -> Call {
        let url = format!(
            "{}/projects/{}/{path}",
            self.api,
            percent_encoded(&self.project)
        );
        let call = match document {
            Some(document) => Call::json(method, url, document),
            None => Call {
                method,
                ..Call::get(url)
            },
        };
        Call {
            authorization: Some(Authorization {
                header: "private-token",
                prefix: "",
                secret: self.token.clone(),
            }),
            ..call
        }
    }
}

/// Returns the API: of the server that is configured, of the CI server, of the remote's host.
#[must_use]
pub fn api_of(place: &Place, configured: Option<&str>) -> Option<String> {
    if let Some(server) = configured {
        let server = server.trim_end_matches('/');
        let server = server.strip_suffix("/api/v4").unwrap_or(server);
        return Some(format!("{server}/api/v4"));
    }
    let host = place.host.as_deref()?;
    match &place.api {
        Some(api) if api.ends_with("/api/v4") => Some(api.clone()),
        _ => host
            .split('.')
            .any(|label| label == "gitlab")
            .then(|| format!("https://{host}/api/v4")),
    }
}

/// Returns what to do about a refusal.
#[must_use]
pub fn help(error: &HttpError) -> Option<String> {
    let text = match error.status()? {
        StatusCode::UNAUTHORIZED => {
            "the token is unknown or has run out; a job's own CI_JOB_TOKEN cannot set statuses"
        }
        StatusCode::FORBIDDEN => {
            "the token needs the scope `api` and the role Developer, of protected branches one that may push"
        }
        StatusCode::NOT_FOUND => {
            "is `repository` of [publish.gitlab] right, and does the commit stand there?"
        }
        _ => return None,
    };
    Some(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_of_any_host() {
        let place = |host: &str, api: Option<&str>| Place {
            host: Some(host.to_owned()),
            slug: None,
            api: api.map(str::to_owned),
        };
        let check = |place: &Place, configured, expected: Option<&str>| {
            assert_eq!(api_of(place, configured).as_deref(), expected);
        };
        let ci = place("git.example.org", Some("https://git.example.org/x/api/v4"));
        check(&ci, None, Some("https://git.example.org/x/api/v4"));
        check(&ci, Some("https://g.org"), Some("https://g.org/api/v4"));
        check(
            &ci,
            Some("https://g.org/api/v4"),
            Some("https://g.org/api/v4"),
        );
        let remote = place("gitlab.example.org", None);
        check(&remote, None, Some("https://gitlab.example.org/api/v4"));
        check(&place("github.com", None), None, None);
    }
}
