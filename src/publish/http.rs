//! The one way to talk to a server: deadlines, retries of what is worth it, answers of bounded size, and no secret in any
//! text.
//!
//! A [`Call`] is a value, so that a dry run shows what would be sent ([`Wire::Dry`]). Redirections are not followed: they would
//! take a token, or turn a POST into a GET.

use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Method, StatusCode};
use serde::Serialize;
use serde_json::Value;

use super::answer::{self, Next, mask};
use crate::git::Secret;

/// Answers longer than this are cut off; none that matters is.
const LONGEST_ANSWER: usize = 8 << 20;
/// Largest content of one call. Pre-signed locations take more, but no server processes it.
const LARGEST_CONTENT: usize = 256 << 20;

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// How often a call is tried in all.
    pub tries: u32,
    /// The wait before the second try; it doubles from try to try.
    pub first_wait: Duration,
    /// The longest wait that a server may ask for; beyond it, the thing stays in the outbox.
    pub longest_wait: Duration,
    /// How long one try may take.
    pub deadline: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            tries: 4,
            first_wait: Duration::from_millis(500),
            longest_wait: Duration::from_mins(2),
            deadline: Duration::from_mins(1),
        }
    }
}

impl Pace {
    /// Returns the wait after so many tries.
    #[must_use]
    pub fn wait(&self, tries: u32) -> Duration {
        let nanos = chrono::Utc::now().timestamp_subsec_nanos();
        answer::backoff(self.first_wait, tries, f64::from(nanos) / 1e9)
    }
}

/// A request as it is made.
#[derive(Debug, Clone)]
pub struct Call {
    /// The method.
    pub method: Method,
    /// The address.
    pub url: String,
    /// Headers without secrets.
    pub headers: Vec<(&'static str, String)>,
    /// The header with a secret.
    pub authorization: Option<Authorization>,
    /// The content.
    pub body: Body,
    /// Whether doing it twice is no worse than doing it once.
    pub repeatable: bool,
}

/// A header with a secret in it.
#[derive(Debug, Clone)]
pub struct Authorization {
    /// The header's name.
    pub header: &'static str,
    /// What stands before the secret.
    pub prefix: &'static str,
    /// The secret.
    pub secret: Secret,
}

/// The content of a call.
#[derive(Debug, Clone)]
pub enum Body {
    /// None.
    Empty,
    /// A JSON document.
    Json(Value),
    /// Bytes, and what a dry run tells of them.
    Bytes {
        /// The bytes.
        content: Vec<u8>,
        /// What they are.
        told: Value,
    },
}

/// A call as a dry run shows it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ShownCall {
    /// The method.
    pub method: String,
    /// The address.
    pub url: String,
    /// The headers, secrets hidden.
    pub headers: serde_json::Map<String, Value>,
    /// The content, or what it is.
    pub body: Value,
}

impl Call {
    /// Returns a call without content.
    #[must_use]
    pub fn get(url: String) -> Self {
        Self {
            method: Method::GET,
            url,
            headers: Vec::new(),
            authorization: None,
            body: Body::Empty,
            repeatable: true,
        }
    }

    /// Returns a call that sends a JSON document.
    #[must_use]
    pub fn json(method: Method, url: String, document: Value) -> Self {
        Self {
            method,
            body: Body::Json(document),
            ..Self::get(url)
        }
    }

    /// Returns the call as it can be shown to anybody.
    #[must_use]
    pub fn shown(&self) -> ShownCall {
        let plain = self
            .headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), Value::from(value.as_str())));
        let secret = self.authorization.as_ref().map(|it| {
            (
                it.header.to_owned(),
                Value::from(format!("{}***", it.prefix)),
            )
        });
        ShownCall {
            method: self.method.to_string(),
            url: self.url.clone(),
            headers: plain.chain(secret).collect(),
            body: match &self.body {
                Body::Empty => Value::Null,
                Body::Json(document) => document.clone(),
                Body::Bytes { told, .. } => told.clone(),
            },
        }
    }
}

/// What a server answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The content.
    pub body: Vec<u8>,
}

impl Answer {
    /// Returns the content as JSON.
    pub fn json(&self) -> Result<Value, HttpError> {
        serde_json::from_slice(&self.body).map_err(HttpError::Answer)
    }

    /// Returns a header as text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Why a call came to nothing. No variant holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// No connection, or it broke off.
    #[error("{server} cannot be reached: {detail}")]
    Unreachable {
        /// The server.
        server: String,
        /// What went wrong.
        detail: String,
    },
    /// The server is not, for all that is known, the one that it should be.
    #[error("the certificate of {server} is not trusted: {reason}")]
    Untrusted {
        /// The server.
        server: String,
        /// Why.
        reason: String,
    },
    /// The server took too long.
    #[error("{server} did not answer within {} s", deadline.as_secs_f32())]
    Silent {
        /// The server.
        server: String,
        /// How long it had.
        deadline: Duration,
    },
    /// The server refused.
    #[error("{server} answered {status}{}{said}", if said.is_empty() { "" } else { ": " })]
    Refused {
        /// The server.
        server: String,
        /// The status.
        status: StatusCode,
        /// What it said.
        said: String,
    },
    /// The server wants to be left alone for longer than we wait.
    #[error("{server} takes no more for now (status {status}){}{said}", if said.is_empty() { "" } else { ": " })]
    Limited {
        /// The server.
        server: String,
        /// The status.
        status: StatusCode,
        /// What it said.
        said: String,
    },
    /// The server has moved.
    #[error("{server} sends us on to {to}")]
    Moved {
        /// The server.
        server: String,
        /// Where to, without query.
        to: String,
    },
    /// The answer is not what was agreed on.
    #[error("the answer is not the JSON that it should be")]
    Answer(#[source] serde_json::Error),
    /// The answer lacks something.
    #[error("the answer has no `{key}`")]
    Lacks {
        /// What it lacks.
        key: &'static str,
    },
    /// The content is too large.
    #[error("{size} bytes are too many to send; {LARGEST_CONTENT} is the most")]
    TooLarge {
        /// Its size.
        size: usize,
    },
    /// The call itself cannot be made: an address or header is wrong.
    #[error("{what} cannot be used in a request")]
    Call {
        /// What is wrong.
        what: &'static str,
    },
}

impl HttpError {
    /// Returns the status that the server refused with.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Refused { status, .. } | Self::Limited { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Returns what to do about it, whatever the server is for.
    #[must_use]
    pub fn help(&self) -> Option<&'static str> {
        match self {
            Self::Untrusted { .. } => Some(
                "`SSL_CERT_FILE` names the file of the authorities to trust, as that of your site; is the clock of this machine right?",
            ),
            Self::Unreachable { .. } => {
                Some("is there a way out from here? A proxy comes from `https_proxy`")
            }
            _ => None,
        }
    }

    /// Returns whether nothing else that is for this server has a chance now.
    #[must_use]
    pub fn is_out_of_reach(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. } | Self::Untrusted { .. } | Self::Silent { .. }
        )
    }

    /// Returns whether the same call may succeed a little later.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Silent { .. } => true,
            Self::Refused { status, .. } => status.is_server_error(),
            _ => false,
        }
    }
}

/// Where calls go.
#[derive(Debug)]
pub enum Wire {
    /// To their servers.
    Live(Http),
    /// Nowhere; they are collected.
    Dry(std::sync::Mutex<Vec<ShownCall>>),
}

impl Wire {
    /// Returns a wire that sends nothing.
    #[must_use]
    pub fn dry() -> Self {
        Self::Dry(std::sync::Mutex::default())
    }

    /// Makes a call and returns the answer, which has a status of success; `None` in a dry run.
    pub async fn send(&self, call: Call) -> Result<Option<Answer>, HttpError> {
        match self {
            Self::Live(http) => http.send(call).await.map(Some),
            Self::Dry(_) => {
                self.only_shows(|| call.shown());
                Ok(None)
            }
        }
    }

    /// In a dry run, notes what would be done and returns true.
    pub fn only_shows(&self, shown: impl FnOnce() -> ShownCall) -> bool {
        let Self::Dry(calls) = self else {
            return false;
        };
        if let Ok(mut calls) = calls.lock() {
            calls.push(shown());
        }
        true
    }

    /// Returns the calls of a dry run so far, and forgets them.
    #[must_use]
    pub fn take_shown(&self) -> Vec<ShownCall> {
        match self {
            Self::Live(_) => Vec::new(),
            Self::Dry(calls) => calls
                .lock()
                .map(|mut calls| std::mem::take(&mut *calls))
                .unwrap_or_default(),
        }
    }

    /// Returns how long things may take.
    #[must_use]
    pub fn pace(&self) -> Pace {
        match self {
            Self::Live(http) => http.pace,
            Self::Dry(_) => Pace::default(),
        }
    }
}

/// A client that keeps to a pace.
#[derive(Debug)]
pub struct Http {
    client: reqwest::Client,
    pace: Pace,
}

impl Http {
    /// Returns a client.
    pub fn new(pace: Pace) -> Result<Self, HttpError> {
        let client = reqwest::Client::builder()
            .user_agent(concat!("hpc-ci/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            // The system's limit is two minutes; a login node without a way out shall say so sooner.
            .connect_timeout(pace.deadline.min(Duration::from_secs(15)))
            .timeout(pace.deadline)
            .build();
        client
            .map(|client| Self { client, pace })
            .map_err(|_| HttpError::Call {
                what: "the TLS set-up of this machine",
            })
    }

    async fn send(&self, call: Call) -> Result<Answer, HttpError> {
        let secret = call.authorization.as_ref().map(|it| it.secret.clone());
        let repeatable = call.repeatable;
        let request = self.request(call)?;
        let mut tries = 1;
        loop {
            let again = request.try_clone().ok_or(HttpError::Call {
                what: "this content",
            })?;
            let error = match self.once(again, secret.as_ref()).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            let may_repeat = repeatable && tries < self.pace.tries;
            let wait = match error.next {
                Next::GiveUp => None,
                Next::Backoff => may_repeat.then(|| self.pace.wait(tries)),
                // Refused for its rate, it was not done: it can be repeated whatever it is.
                Next::After(wait) => (tries < self.pace.tries).then_some(wait),
                Next::Slowly => {
                    (tries < self.pace.tries).then(|| answer::backoff(answer::SLOWLY, tries, 0.0))
                }
            };
            match wait.filter(|wait| *wait <= self.pace.longest_wait) {
                Some(wait) => {
                    tracing::info!(error = %error.error, ?wait, "trying again");
                    tokio::time::sleep(wait).await;
                    tries += 1;
                }
                None => return Err(error.error),
            }
        }
    }

    fn request(&self, call: Call) -> Result<reqwest::Request, HttpError> {
        let url = reqwest::Url::parse(&call.url)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .ok_or(HttpError::Call {
                what: "the address",
            })?;
        let mut builder = self.client.request(call.method, url);
        for (name, value) in call.headers {
            builder = builder.header(name, value);
        }
        if let Some(it) = &call.authorization {
            builder = builder.header(HeaderName::from_static(it.header), sealed(it)?);
        }
        let builder = match call.body {
            Body::Empty => builder,
            Body::Json(document) => builder.json(&document),
            Body::Bytes { content, .. } if content.len() > LARGEST_CONTENT => {
                return Err(HttpError::TooLarge {
                    size: content.len(),
                });
            }
            Body::Bytes { content, .. } => builder.body(content),
        };
        builder.build().map_err(|_| HttpError::Call {
            what: "a header or the content",
        })
    }

    async fn once(
        &self,
        request: reqwest::Request,
        secret: Option<&Secret>,
    ) -> Result<Answer, Failure> {
        let server = server_of(request.url());
        let failed = |error: reqwest::Error| self.broken(&server, error);
        tracing::debug!(method = %request.method(), %server, path = request.url().path(), "request");
        let mut response = self.client.execute(request).await.map_err(failed)?;
        let (status, headers) = (response.status(), response.headers().clone());
        tracing::debug!(%server, %status, "answer");
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            body.extend_from_slice(&chunk);
            if body.len() > LONGEST_ANSWER {
                body.truncate(LONGEST_ANSWER);
                break;
            }
        }
        if status.is_success() {
            return Ok(Answer {
                status,
                headers,
                body,
            });
        }
        Err(refusal(server, status, &headers, &body, secret))
    }

    fn broken(&self, server: &str, error: reqwest::Error) -> Failure {
        let server = server.to_owned();
        let is_silent = error.is_timeout() && !error.is_connect();
        // An address may carry a signature.
        let detail = answer::causes(&error.without_url());
        if let Some(reason) = answer::distrust(&detail) {
            return Failure {
                error: HttpError::Untrusted {
                    server,
                    reason: reason.to_owned(),
                },
                next: Next::GiveUp,
            };
        }
        let error = if is_silent {
            HttpError::Silent {
                server,
                deadline: self.pace.deadline,
            }
        } else {
            HttpError::Unreachable { server, detail }
        };
        Failure {
            error,
            next: Next::Backoff,
        }
    }
}

struct Failure {
    error: HttpError,
    next: Next,
}

fn refusal(
    server: String,
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    secret: Option<&Secret>,
) -> Failure {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if status.is_redirection() {
        let to = header("location").unwrap_or("nowhere");
        let to = to.split(['?', '#']).next().unwrap_or(to).to_owned();
        let to = mask(to, secret);
        return Failure {
            error: HttpError::Moved { server, to },
            next: Next::GiveUp,
        };
    }
    let now = chrono::Utc::now().timestamp();
    let said = answer::said(body, secret);
    let limit = answer::Limit {
        retry_after: header(RETRY_AFTER.as_str()),
        remaining: header("x-ratelimit-remaining").or(header("ratelimit-remaining")),
        reset: header("x-ratelimit-reset").or(header("ratelimit-reset")),
        text: &said,
    };
    let next = answer::next(status.as_u16(), &limit, now);
    let error = if status == StatusCode::TOO_MANY_REQUESTS
        || matches!(next, Next::After(_) | Next::Slowly)
    {
        HttpError::Limited {
            server,
            status,
            said,
        }
    } else {
        HttpError::Refused {
            server,
            status,
            said,
        }
    };
    Failure { error, next }
}

/// The header with the secret, marked so that no library prints it.
fn sealed(it: &Authorization) -> Result<HeaderValue, HttpError> {
    let text = format!("{}{}", it.prefix, it.secret.expose());
    let mut value =
        HeaderValue::from_str(&text).map_err(|_| HttpError::Call { what: "the token" })?;
    value.set_sensitive(true);
    Ok(value)
}

fn server_of(url: &reqwest::Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}
