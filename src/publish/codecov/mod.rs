//! Codecov: create an upload, then PUT it to the location that the answer names.
//!
//! The interface is that of [codecov/umbrella](https://github.com/codecov/umbrella) (`upload-coverage`,
//! `test_results/v1`), as codecov-cli 11 uses it. What is sent is made in [`payload`], from values alone.

pub mod fixes;
pub mod payload;

use camino::Utf8PathBuf;
use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::circumstances::Circumstances;
use super::http::{Authorization, Body, Call, HttpError, Wire};
use super::material::Material;
use crate::config::CodecovService;
use crate::foreign;
use crate::git::Secret;
use crate::results::record::Network;
use crate::results::store::{self, StoreError};

/// Where uploads are created unless a server of one's own is named.
pub const SERVER: &str = "https://ingest.codecov.io";
/// A location lives for ten seconds; another is asked for as often.
const LOCATIONS: u32 = 3;

/// Returns the flag under which Codecov keeps the coverage apart from that of other runners.
#[must_use]
pub fn usual_flag(under_gitlab: bool) -> &'static str {
    if under_gitlab {
        "jacamar-hpc"
    } else {
        "hpc-extended"
    }
}

/// Codecov, as far as settings and surroundings say.
#[derive(Debug, Clone)]
pub struct Target {
    /// The server.
    pub server: String,
    /// The forge.
    pub service: CodecovService,
    /// The project on the forge.
    pub slug: String,
    /// The flag of the upload.
    pub flag: String,
    /// The token; public projects may do without.
    pub token: Option<Secret>,
}

/// Why an upload came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum CodecovError {
    /// The server was of no use.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The location for the upload ran out again and again.
    #[error("the location for the upload was refused {LOCATIONS} times: {said}")]
    Expired {
        /// What was said at last.
        said: HttpError,
    },
    /// An artifact cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An artifact that should be there is not.
    #[error("the artifacts have no `{path}`")]
    Missing {
        /// The artifact.
        path: &'static str,
    },
    /// An artifact cannot be read.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl CodecovError {
    /// Returns what to do about it.
    #[must_use]
    pub fn help(&self, has_token: bool) -> Option<String> {
        let status = match self {
            Self::Http(error) => error.status()?,
            _ => return None,
        };
        let text = match status {
            StatusCode::UNAUTHORIZED if has_token => {
                "the token is not one of this repository or its organisation: `CODECOV_TOKEN` or `token_file` of [publish.codecov]"
            }
            StatusCode::UNAUTHORIZED => {
                "set `CODECOV_TOKEN` or `token_file`; without a token Codecov takes uploads of public repositories only, and only if their organisation allows it or the branch is a fork's (`user:branch`)"
            }
            StatusCode::FORBIDDEN => "the token may not upload to this repository",
            StatusCode::NOT_FOUND => {
                "is the project known there by this name? `slug` and `service` of [publish.codecov]"
            }
            StatusCode::TOO_MANY_REQUESTS => {
                "Codecov takes 150 uploads a commit, and of private repositories so many a month"
            }
            _ => return None,
        };
        Some(text.to_owned())
    }
}

impl Target {
    /// Uploads the coverage.
    pub async fn upload_coverage(
        &self,
        material: &Material,
        circumstances: &Circumstances,
        wire: &Wire,
    ) -> Result<(), CodecovError> {
        let report = required(material, "coverage/lcov.info")?;
        let network: Network = store::document(&required(material, "coverage/network.json")?)?
            .ok_or(CodecovError::Missing {
                path: "coverage/network.json",
            })?;
        let told = payload::told_coverage(&network);
        let content = payload::coverage(
            &network,
            "lcov.info",
            &foreign::read(&report, foreign::ARTIFACT)?,
        );
        let slug = payload::encoded_slug(&self.slug);
        let url = format!(
            "{}/upload/{}/{slug}/upload-coverage",
            self.server, self.service
        );
        let document =
            payload::create_coverage(material, &network, circumstances, self, content.len());
        self.upload(url, document, content, told, wire).await
    }

    /// Uploads the results of the tests.
    pub async fn upload_tests(
        &self,
        material: &Material,
        circumstances: &Circumstances,
        wire: &Wire,
    ) -> Result<(), CodecovError> {
        let report = required(material, "tests/junit.xml")?;
        let content = payload::tests("junit.xml", &foreign::read(&report, foreign::ARTIFACT)?);
        let told = payload::told_tests();
        let url = format!("{}/upload/test_results/v1", self.server);
        let document = payload::create_tests(material, circumstances, self, content.len());
        self.upload(url, document, content, told, wire).await
    }

    async fn upload(
        &self,
        url: String,
        document: Value,
        content: Vec<u8>,
        told: Value,
        wire: &Wire,
    ) -> Result<(), CodecovError> {
        let mut refused = None;
        for _ in 0..LOCATIONS {
            let mut create = Call::json(Method::POST, url.clone(), document.clone());
            create.authorization = self.token.clone().map(|secret| Authorization {
                header: "authorization",
                prefix: "token ",
                secret,
            });
            let location = match wire.send(create).await? {
                Some(answer) => answer.json()?["raw_upload_location"]
                    .as_str()
                    .ok_or(HttpError::Lacks {
                        key: "raw_upload_location",
                    })?
                    .to_owned(),
                None => "(the raw_upload_location of the answer)".to_owned(),
            };
            // Signed itself: a token beside the signature would be refused, and is not for the storage anyway.
            let put = Call {
                method: Method::PUT,
                body: Body::Bytes {
                    content: content.clone(),
                    told: told.clone(),
                },
                ..Call::get(location)
            };
            match wire.send(put).await {
                Ok(_) => return Ok(()),
                // 403 says S3 of a signature that has run out, 400 Google's storage.
                Err(error)
                    if matches!(
                        error.status(),
                        Some(StatusCode::FORBIDDEN | StatusCode::BAD_REQUEST)
                    ) =>
                {
                    refused = Some(error);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(match refused {
            Some(said) => CodecovError::Expired { said },
            None => HttpError::Lacks {
                key: "raw_upload_location",
            }
            .into(),
        })
    }
}

fn required(material: &Material, path: &'static str) -> Result<Utf8PathBuf, CodecovError> {
    material.file(path).ok_or(CodecovError::Missing { path })
}
