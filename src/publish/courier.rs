//! From settings to destinations: who gets what, by which address and token, and what went wrong.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::branch::BranchError;
use super::circumstances::{Circumstances, Server};
use super::codecov::{self, CodecovError};
use super::http::{HttpError, ShownCall, Wire};
use super::item::Destination;
use super::material::Material;
use super::place::Place;
use super::token::{self, TokenError};
use super::{github, gitlab, results_branch};
use crate::config::{Disclosure, Publish, TokenSource};
use crate::git::{Location, LocationError, Secret, Source};

/// The address of GitHub's API that settings have unless they name another.
const GITHUB_API: &str = "https://api.github.com";

/// Knows where things go.
pub struct Courier<'a> {
    /// The settings, from trusted files.
    pub settings: &'a Publish,
    /// Where relative paths of the settings start.
    pub base: &'a Path,
    /// The repository under test, where there is one.
    pub source: Option<&'a Source>,
    /// Where git makes repositories for the time of a push.
    pub mirrors: PathBuf,
    /// What may be told.
    pub disclosure: Disclosure,
    /// The environment.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// Whether Codecov is left out.
    pub no_codecov: bool,
    /// Is asked, often, whether to stop.
    pub cancelled: &'a dyn Fn() -> bool,
}

/// What a destination gets.
#[derive(Debug, Clone, Copy)]
pub struct Parcel<'a> {
    /// The artifacts.
    pub material: &'a Material,
    /// What the CI server said about the run.
    pub circumstances: &'a Circumstances,
    /// Whether it was tried before, so that some of it may have arrived.
    pub again: bool,
}

/// Why a destination has not got its things.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// Settings do not name it any more.
    #[error("no `[{table}]` in force")]
    Unset {
        /// Its table.
        table: &'static str,
    },
    /// Something is neither set nor to be found out.
    #[error("`{key}` of [{table}] is not set, and the remote does not tell")]
    Unknown {
        /// The table.
        table: &'static str,
        /// The key.
        key: &'static str,
    },
    /// A project's path that cannot be one.
    #[error("`{slug}` is not the path of a project")]
    Slug {
        /// The path.
        slug: String,
    },
    /// There is no token.
    #[error("no token: neither the variable `{variable}` nor `token_file` of [{table}] is set")]
    NoToken {
        /// The table.
        table: &'static str,
        /// The variable.
        variable: String,
    },
    /// The token cannot be used.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// Codecov.
    #[error(transparent)]
    Codecov {
        /// What it was.
        #[from]
        source: CodecovError,
    },
    /// The results branch.
    #[error(transparent)]
    Branch(#[from] BranchError),
    /// The address of the results branch is none.
    #[error("`remote` of [publish.results_branch] is no address")]
    Address(#[from] LocationError),
    /// What may be told of the documents cannot be made out.
    #[error("a document cannot be told in part")]
    Withhold(#[from] serde_json::Error),
    /// GitHub.
    #[error(transparent)]
    Github(HttpError),
    /// GitLab.
    #[error(transparent)]
    Gitlab(HttpError),
}

impl DeliveryError {
    /// Returns whether the server could not be reached at all, so that asking it for something else is of no use now.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        self.http().is_some_and(HttpError::is_out_of_reach)
    }

    fn http(&self) -> Option<&HttpError> {
        match self {
            Self::Codecov {
                source: CodecovError::Http(error),
            }
            | Self::Github(error)
            | Self::Gitlab(error) => Some(error),
            _ => None,
        }
    }
}

impl Courier<'_> {
    /// Returns the destinations that settings name.
    #[must_use]
    pub fn destinations(&self) -> BTreeSet<Destination> {
        let settings = self.settings;
        let codecov = settings.codecov.is_some() && !self.no_codecov;
        [
            (codecov, Destination::CodecovCoverage),
            // JUnit tells of nodes, paths and logs.
            (
                codecov && self.disclosure == Disclosure::Full,
                Destination::CodecovTests,
            ),
            (
                settings.results_branch.is_some(),
                Destination::ResultsBranch,
            ),
            (settings.github.is_some(), Destination::GithubStatuses),
            (settings.github.is_some(), Destination::GithubComment),
            (settings.gitlab.is_some(), Destination::GitlabStatuses),
        ]
        .into_iter()
        .filter_map(|(named, destination)| named.then_some(destination))
        .collect()
    }

    /// Brings a destination its things; returns what is worth saying about it.
    pub async fn deliver(
        &self,
        destination: Destination,
        parcel: Parcel<'_>,
        wire: &Wire,
    ) -> Result<Vec<String>, DeliveryError> {
        let Parcel {
            material,
            circumstances,
            again,
        } = parcel;
        if destination == Destination::ResultsBranch {
            return self.push(material, wire);
        }
        let material = &material.told(self.disclosure)?;
        let seen = &circumstances.told(self.disclosure);
        match destination {
            Destination::CodecovCoverage => {
                let target = self.codecov()?;
                target.upload_coverage(material, seen, wire).await?;
            }
            Destination::CodecovTests => {
                let target = self.codecov()?;
                target.upload_tests(material, seen, wire).await?;
            }
            Destination::GithubStatuses => self
                .github()?
                .set_statuses(material, seen, wire)
                .await
                .map_err(DeliveryError::Github)?,
            Destination::GithubComment => self
                .github()?
                .comment(material, seen, wire)
                .await
                .map_err(DeliveryError::Github)?,
            Destination::GitlabStatuses => self
                .gitlab(circumstances)?
                .set_statuses(material, circumstances, again, wire)
                .await
                .map_err(DeliveryError::Gitlab)?,
            Destination::ResultsBranch => {}
        }
        Ok(Vec::new())
    }

    fn push(&self, material: &Material, wire: &Wire) -> Result<Vec<String>, DeliveryError> {
        let target = self.results_branch()?;
        let shown = || ShownCall {
            method: "PUSH".to_owned(),
            url: target.place.without_credentials(),
            headers: serde_json::Map::new(),
            body: json!({
                "branch": target.branch,
                "folders": material
                    .runs
                    .iter()
                    .map(|run| format!("{}/{}", run.commit, run.run))
                    .collect::<Vec<_>>(),
            }),
        };
        if wire.only_shows(shown) {
            return Ok(Vec::new());
        }
        let pushed = tokio::task::block_in_place(|| target.push(material, self.cancelled))?;
        Ok(pushed.notes)
    }

    fn results_branch(&self) -> Result<results_branch::Target, DeliveryError> {
        const TABLE: &str = "publish.results_branch";
        let settings = self
            .settings
            .results_branch
            .as_ref()
            .ok_or(DeliveryError::Unset { table: TABLE })?;
        let named = self
            .source
            .and_then(|source| source.remote_named(&settings.remote));
        let place = match named {
            Some(place) => place,
            None if settings.remote == "origin" => {
                return Err(DeliveryError::Unknown {
                    table: TABLE,
                    key: "remote",
                });
            }
            None => Location::parse(&settings.remote, self.base)?,
        };
        Ok(results_branch::Target {
            place,
            branch: settings.branch.clone(),
            ssh_key: settings.ssh_key.as_ref().map(|key| self.base.join(key)),
            token: self.token(&settings.token, "")?,
            mirrors: self.mirrors.clone(),
            disclosure: self.disclosure,
        })
    }

    /// Returns what to do about an error.
    #[must_use]
    pub fn help(&self, error: &DeliveryError) -> Option<String> {
        if let Some(help) = error.http().and_then(HttpError::help) {
            return Some(help.to_owned());
        }
        match error {
            DeliveryError::Token(error) => error.help(),
            DeliveryError::Branch(error) => error.help(),
            DeliveryError::Codecov { source } => {
                source.help(self.codecov().is_ok_and(|it| it.token.is_some()))
            }
            DeliveryError::Github(error) => github::help(error),
            DeliveryError::Gitlab(error) => gitlab::help(error),
            DeliveryError::Address(_)
            | DeliveryError::Withhold(_)
            | DeliveryError::Unset { .. }
            | DeliveryError::Unknown { .. }
            | DeliveryError::Slug { .. }
            | DeliveryError::NoToken { .. } => None,
        }
    }

    fn codecov(&self) -> Result<codecov::Target, DeliveryError> {
        const TABLE: &str = "publish.codecov";
        let unknown = |key| DeliveryError::Unknown { table: TABLE, key };
        let settings = self
            .settings
            .codecov
            .as_ref()
            .ok_or(DeliveryError::Unset { table: TABLE })?;
        let place = self.place();
        let named = (self.variable)("CODECOV_SLUG").filter(|slug| !slug.is_empty());
        let slug = named
            .or_else(|| settings.slug.clone())
            .or_else(|| place.slug.clone())
            .ok_or(unknown("slug"))?;
        let gitlab = self.circumstances().server == Server::Gitlab;
        Ok(codecov::Target {
            server: settings
                .url
                .clone()
                .unwrap_or_else(|| codecov::SERVER.to_owned()),
            service: settings
                .service
                .or_else(|| place.service(settings.url.is_some()))
                .ok_or(unknown("service"))?,
            slug: checked(slug)?,
            flag: settings
                .flag
                .clone()
                .unwrap_or_else(|| codecov::usual_flag(gitlab).to_owned()),
            token: self.token(&settings.token, "CODECOV_TOKEN")?,
        })
    }

    fn github(&self) -> Result<github::Target, DeliveryError> {
        const TABLE: &str = "publish.github";
        let settings = self
            .settings
            .github
            .as_ref()
            .ok_or(DeliveryError::Unset { table: TABLE })?;
        let place = self.place();
        let slug = settings
            .repository
            .clone()
            .or_else(|| place.slug.clone().filter(|_| github::is_home_of(&place)))
            .ok_or(DeliveryError::Unknown {
                table: TABLE,
                key: "repository",
            })?;
        Ok(github::Target {
            api: github::api_of(&place, &settings.url, settings.url == GITHUB_API),
            repository: checked(slug)?,
            context: settings.context.clone(),
            token: self.needed(TABLE, &settings.token, "GITHUB_TOKEN")?,
        })
    }

    fn gitlab(&self, circumstances: &Circumstances) -> Result<gitlab::Target, DeliveryError> {
        const TABLE: &str = "publish.gitlab";
        let unknown = |key| DeliveryError::Unknown { table: TABLE, key };
        let settings = self
            .settings
            .gitlab
            .as_ref()
            .ok_or(DeliveryError::Unset { table: TABLE })?;
        let place = self.place();
        let slug = settings
            .repository
            .clone()
            .or_else(|| place.slug.clone())
            .ok_or(unknown("repository"))?;
        Ok(gitlab::Target {
            api: gitlab::api_of(&place, settings.url.as_deref()).ok_or(unknown("url"))?,
            own_pipeline: circumstances.project.as_ref() == Some(&slug),
            project: checked(slug)?,
            context: settings.context.clone(),
            token: self.needed(TABLE, &settings.token, "GITLAB_TOKEN")?,
        })
    }

    fn place(&self) -> Place {
        let remote = self
            .source
            .and_then(Source::remote)
            .and_then(Location::remote);
        Place::find(remote, self.variable)
    }

    fn circumstances(&self) -> Circumstances {
        Circumstances::read(self.variable, None)
    }

    fn token(&self, source: &TokenSource, usual: &str) -> Result<Option<Secret>, DeliveryError> {
        Ok(token::find(source, usual, self.base, self.variable)?)
    }

    fn needed(
        &self,
        table: &'static str,
        source: &TokenSource,
        usual: &str,
    ) -> Result<Secret, DeliveryError> {
        self.token(source, usual)?
            .ok_or_else(|| DeliveryError::NoToken {
                table,
                variable: source.env.clone().unwrap_or_else(|| usual.to_owned()),
            })
    }
}

/// A path of a project: it goes into addresses, and must not change them.
fn checked(slug: String) -> Result<String, DeliveryError> {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '~' | '+');
    let mut parts = slug.split('/');
    let good = slug.contains('/')
        && parts.all(|part| !matches!(part, "" | "." | "..") && part.chars().all(plain));
    if good {
        Ok(slug)
    } else {
        Err(DeliveryError::Slug { slug })
    }
}
