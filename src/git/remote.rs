//! Talking to a server: one conversation, with credentials, progress, interruption, and errors that say what happened.

use std::cell::RefCell;

use git2::{
    AutotagOption, CertificateCheckStatus, Direction, ErrorClass, ErrorCode, FetchOptions,
    FetchPrune, Oid, ProxyOptions, PushOptions, RemoteCallbacks,
};

use super::access::{Access, Progress};
use super::cause;
use super::credentials::Offers;
use super::error::GitError;
use super::limits;
use super::location::{Remote, Transport};

/// What a server has on offer.
pub(super) struct Advertised {
    /// Its references.
    pub(super) references: Vec<(String, Oid)>,
    /// The full name of the reference that its HEAD stands for.
    pub(super) head: Option<String>,
}

/// How much of a history is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum History {
    /// All of it.
    Whole,
    /// The tips alone.
    Tips,
}

/// Fetches what refspecs name.
pub(super) type Fetch<'a> = dyn FnMut(&[String]) -> Result<(), GitError> + 'a;

/// What the callbacks of a conversation saw, for the error if there is one.
struct Seen<'a> {
    offers: RefCell<Offers<'a>>,
    fingerprint: RefCell<Option<String>>,
    cancelled: RefCell<bool>,
}

impl<'a> Seen<'a> {
    fn new(access: &'a Access<'a>, place: &'a Remote) -> Self {
        Self {
            offers: RefCell::new(Offers::new(access, place)),
            fingerprint: RefCell::new(None),
            cancelled: RefCell::new(false),
        }
    }
}

/// Contacts a server on behalf of a mirror, whose configuration counts, and has `talk` decide by what is on offer there
/// which refspecs to fetch.
pub(super) fn converse<T>(
    git: &git2::Repository,
    place: &Remote,
    access: &Access<'_>,
    history: History,
    talk: impl FnOnce(&Advertised, &mut Fetch<'_>) -> Result<T, GitError>,
) -> Result<T, GitError> {
    limits::ensure();
    (access.progress)(Progress::Contacting { place });
    let seen = Seen::new(access, place);
    let explain = |error: git2::Error| explain(&error, place, access, &seen);
    let mut remote = git
        .remote_anonymous(&place.with_credentials())
        .map_err(explain)?;
    let mut connection = remote
        .connect_auth(
            Direction::Fetch,
            Some(callbacks(access, &seen)),
            Some(proxy()),
        )
        .map_err(explain)?;
    let references = connection
        .list()
        .map_err(explain)?
        .iter()
        .map(|head| (head.name().to_owned(), head.oid()))
        .collect();
    let head = connection.default_branch().ok();
    let head = head.and_then(|name| name.as_str().ok().map(str::to_owned));
    let advertised = Advertised { references, head };
    talk(&advertised, &mut |refspecs| {
        let mut options = FetchOptions::new();
        options
            .remote_callbacks(callbacks(access, &seen))
            .proxy_options(proxy())
            .download_tags(AutotagOption::None)
            .prune(FetchPrune::Off)
            .update_fetchhead(false)
            .follow_redirects(git2::RemoteRedirect::None);
        if history == History::Tips {
            options.depth(1);
        }
        connection
            .remote()
            .fetch(refspecs, Some(&mut options), None)
            .map_err(explain)
    })
}

/// Asks a server to move one of its references to what the local one of the same name stands for, without force. Returns
/// what the server says if it refuses: libgit2 itself takes that for success.
pub(super) fn push(
    git: &git2::Repository,
    place: &Remote,
    access: &Access<'_>,
    reference: &str,
) -> Result<Option<String>, GitError> {
    limits::ensure();
    (access.progress)(Progress::Contacting { place });
    let seen = Seen::new(access, place);
    let refused = RefCell::new(None);
    let mut callbacks = callbacks(access, &seen);
    callbacks.push_update_reference(|_, status| {
        if let Some(status) = status {
            refused.replace(Some(redact(status, place, access)));
        }
        Ok(())
    });
    let mut options = PushOptions::new();
    options
        .remote_callbacks(callbacks)
        .proxy_options(proxy())
        .follow_redirects(git2::RemoteRedirect::None);
    let pushed = git
        .remote_anonymous(&place.with_credentials())
        .and_then(|mut remote| {
            remote.push(&[format!("{reference}:{reference}")], Some(&mut options))
        });
    drop(options);
    match pushed {
        Ok(()) => Ok(refused.into_inner()),
        // The server has moved on since it was asked, and libgit2 sees so before anything is sent.
        Err(error) if error.code() == ErrorCode::NotFastForward => {
            Ok(Some("non-fast-forward".to_owned()))
        }
        Err(error) => Err(explain(&error, place, access, &seen)),
    }
}

/// Asks a server what it has, with the configuration of a repository.
pub(super) fn reach(
    git: &git2::Repository,
    place: &Remote,
    access: &Access<'_>,
) -> Result<(), GitError> {
    converse(git, place, access, History::Tips, |_, _| Ok(()))
}

/// Asks a server what it has, where there is no repository yet.
pub(super) fn reach_alone(place: &Remote, access: &Access<'_>) -> Result<(), GitError> {
    let io = |source| GitError::Io {
        doing: "make a folder for",
        path: std::env::temp_dir(),
        source,
    };
    let dir = tempfile::tempdir().map_err(io)?;
    let git = git2::Repository::init_bare(dir.path())
        .map_err(|error| cause::of_place(&error, "make an empty repository", dir.path()))?;
    reach(&git, place, access)
}

fn proxy() -> ProxyOptions<'static> {
    let mut options = ProxyOptions::new();
    options.auto();
    options
}

fn callbacks<'a>(access: &'a Access<'a>, seen: &'a Seen<'a>) -> RemoteCallbacks<'a> {
    let stop = move || {
        let stop = (access.cancelled)();
        if stop {
            seen.cancelled.replace(true);
        }
        stop
    };
    let mut callbacks = RemoteCallbacks::new();
    callbacks
        .credentials(move |url, user, allowed| {
            if stop() {
                return Err(git2::Error::from_str("cancelled"));
            }
            seen.offers.borrow_mut().next(url, user, allowed)
        })
        .certificate_check(move |certificate, _host| {
            if let Some(key) = certificate.as_hostkey() {
                seen.fingerprint.replace(fingerprint(key));
            }
            // libgit2 and OpenSSL judge; saying "ok" here would turn both off.
            Ok(CertificateCheckStatus::CertificatePassthrough)
        })
        .sideband_progress(move |bytes| {
            let text = String::from_utf8_lossy(bytes);
            for line in text.split(['\r', '\n']).map(str::trim) {
                if !line.is_empty() {
                    (access.progress)(Progress::Said { text: line });
                }
            }
            !stop()
        })
        .transfer_progress(move |stats| {
            let resolving = stats.received_objects() == stats.total_objects();
            (access.progress)(if resolving && stats.total_deltas() > 0 {
                Progress::Resolving {
                    done: stats.indexed_deltas(),
                    total: stats.total_deltas(),
                }
            } else {
                Progress::Receiving {
                    received: stats.received_objects(),
                    total: stats.total_objects(),
                    bytes: stats.received_bytes(),
                }
            });
            !stop()
        });
    callbacks
}

/// Writes a host key as `ssh-keygen -l` does.
fn fingerprint(key: &git2::cert::CertHostkey<'_>) -> Option<String> {
    let hash = base64(key.hash_sha256()?);
    let kind = key
        .hostkey_type()
        .map_or("unknown kind", |kind| kind.short_name());
    Some(format!("{kind} SHA256:{hash}"))
}

/// Returns base64 without padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk
            .iter()
            .fold(0_u32, |bits, byte| (bits << 8) | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for digit in 0..=chunk.len() {
            let index = (bits >> (18 - 6 * digit)) & 63;
            text.push(char::from(DIGITS[index as usize]));
        }
    }
    text
}

/// Says what an error of libgit2 means in a conversation. Its codes tell only part; the rest is in its messages.
fn explain(error: &git2::Error, place: &Remote, access: &Access<'_>, seen: &Seen<'_>) -> GitError {
    let text = error.message();
    let ssh = place.transport() == Transport::Ssh;
    let detail = redact(text, place, access);
    let place_text = place.to_string();
    if *seen.cancelled.borrow() {
        return GitError::Cancelled { place: place_text };
    }
    if let Some(found) = cause::here(error, "keep what was fetched at", &access.mirrors) {
        return found;
    }
    let says = |part: &str| text.contains(part);
    let refused = error.code() == ErrorCode::Auth
        || says("status code: 401")
        || says("status code: 403")
        || says("Failed to authenticate")
        || says("authentication required")
        || (error.class() == ErrorClass::Ssh && says("public key"));
    if error.code() == ErrorCode::Certificate && ssh {
        return GitError::HostKey {
            host: place.host().to_owned(),
            port: place.port(),
            fingerprint: seen.fingerprint.borrow().clone(),
            has_home: std::env::var_os("HOME").is_some(),
        };
    }
    if error.code() == ErrorCode::Certificate || says("certificate") {
        return GitError::Certificate {
            place: place_text,
            detail,
        };
    }
    if refused {
        let mut tried = seen.offers.borrow().tried.clone();
        if tried.is_empty() && !place.secrets().is_empty() {
            tried.push("what the address holds".to_owned());
        }
        return GitError::Credentials {
            place: place_text,
            tried,
            ssh,
        };
    }
    if error.code() == ErrorCode::Timeout || says("timed out") || says("Timed out") {
        return GitError::Timeout {
            place: place_text,
            detail,
        };
    }
    if says("resolve address") || says("failed to connect") || says("ailed getting banner") {
        return GitError::Unreachable {
            place: place_text,
            detail,
            ssh,
        };
    }
    if says("cannot redirect") || says("unexpected redirect") {
        return GitError::Redirected {
            place: place_text,
            detail,
        };
    }
    if says("status code: 404") || says("not appear to be a git repository") || says("ot found") {
        return GitError::NoRemoteRepository {
            place: place_text,
            detail,
        };
    }
    GitError::Server {
        place: place_text,
        detail,
    }
}

/// Takes out of a message what must not be seen.
fn redact(text: &str, place: &Remote, access: &Access<'_>) -> String {
    let token = access.token.as_ref().map(super::access::Token::expose);
    let secrets = place.secrets().into_iter().chain(token);
    secrets
        .filter(|secret| !secret.is_empty())
        .fold(text.to_owned(), |text, secret| text.replace(secret, "***"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_ssh_keygen() {
        for (bytes, text) in [
            (&b""[..], ""),
            (b"f", "Zg"),
            (b"fo", "Zm8"),
            (b"foo", "Zm9v"),
            (b"\xff\xfe\xfd\xfc", "//79/A"),
        ] {
            assert_eq!(base64(bytes), text);
        }
    }
}
