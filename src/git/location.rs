//! Where a repository is: a path on this machine, or an address that git can fetch from.
//!
//! Pure. The forms are those of git-fetch(1), "GIT URLS"; transports that start a helper program (`ext::`) are not among
//! them. User names and passwords inside an address are kept apart and are never shown.

use std::fmt;
use std::path::{Component, Path, PathBuf};

use sha2::{Digest, Sha256};

/// A password or token. It cannot be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Returns the text as a secret.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the text, for whom it is meant for and nobody else.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Why a text is not the address of a repository.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    /// Nothing there.
    #[error("it is empty")]
    Empty,
    /// A control character, which has no place in an address and confuses what reads it.
    #[error("it holds a control character")]
    Control,
    /// A transport that is not supported.
    #[error("`{scheme}` is not one of https, http, ssh, git and file")]
    Scheme {
        /// The scheme as written.
        scheme: String,
    },
    /// No host, or one that looks like an option.
    #[error("it names no host")]
    Host,
    /// A port that is not a number up to 65535.
    #[error("`{port}` is not a port")]
    Port {
        /// The port as written.
        port: String,
    },
    /// A relative address climbs above the top of the one it is relative to.
    #[error("`{relative}` leads above the top of `{base}`")]
    AboveTop {
        /// The relative address.
        relative: String,
        /// What it is relative to, without credentials.
        base: String,
    },
}

/// Where a repository is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A directory on this machine.
    Path(PathBuf),
    /// An address on the network.
    Remote(Remote),
}

impl Location {
    /// Reads a path or an address; a relative path is taken from `base`.
    pub fn parse(text: &str, base: &Path) -> Result<Self, LocationError> {
        if text.is_empty() {
            return Err(LocationError::Empty);
        }
        if text.chars().any(char::is_control) {
            return Err(LocationError::Control);
        }
        if let Some((scheme, rest)) = text.split_once("://") {
            return parse_url(scheme, rest);
        }
        // As git has it: scp's form has no slash before its first colon.
        match text.split_once(':') {
            Some((host, path)) if !host.contains('/') => parse_scp(host, path),
            _ => Ok(Self::Path(normalize(&base.join(text)))),
        }
    }

    /// Returns the location that `relative` (a submodule's URL, which may begin with `./` or `../`) has seen from here.
    pub fn join(&self, relative: &str) -> Result<Self, LocationError> {
        if !(relative.starts_with("./") || relative.starts_with("../")) {
            return Self::parse(relative, Path::new("/"));
        }
        let above = || LocationError::AboveTop {
            relative: relative.to_owned(),
            base: self.to_string(),
        };
        match self {
            Self::Path(path) => {
                let text = path.to_str().ok_or(LocationError::Control)?;
                let joined = climb(text, relative).ok_or_else(above)?;
                Ok(Self::Path(PathBuf::from(joined)))
            }
            Self::Remote(remote) => {
                let path = climb(&remote.path, relative).ok_or_else(above)?;
                if path.chars().any(char::is_control) {
                    return Err(LocationError::Control);
                }
                Ok(Self::Remote(Remote {
                    path,
                    ..remote.clone()
                }))
            }
        }
    }

    /// Returns the name that a clone would get: the last part, without `.git`.
    #[must_use]
    pub fn name(&self) -> String {
        let text = match self {
            Self::Path(path) => path.to_string_lossy().into_owned(),
            Self::Remote(remote) => remote.path.clone(),
        };
        let text = text.trim_end_matches('/');
        let text = text.strip_suffix("/.git").unwrap_or(text);
        let last = text.rsplit(['/', ':']).next().unwrap_or(text);
        last.strip_suffix(".git").unwrap_or(last).to_owned()
    }

    /// Returns the address on the network, if it is one.
    #[must_use]
    pub fn remote(&self) -> Option<&Remote> {
        match self {
            Self::Path(_) => None,
            Self::Remote(remote) => Some(remote),
        }
    }

    /// Returns the location as git would be given it, without user name and password of a web address.
    #[must_use]
    pub fn without_credentials(&self) -> String {
        match self {
            Self::Path(path) => path.to_string_lossy().into_owned(),
            Self::Remote(remote) => remote.without_credentials(),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::Remote(remote) => remote.fmt(f),
        }
    }
}

/// How a remote repository is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// `https://`
    Https,
    /// `http://`
    Http,
    /// `ssh://` or scp's `user@host:path`
    Ssh,
    /// `git://`, which knows no credentials
    Git,
}

impl Transport {
    fn scheme(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::Http => "http",
            Self::Ssh => "ssh",
            Self::Git => "git",
        }
    }

    fn default_port(self) -> u16 {
        match self {
            Self::Https => 443,
            Self::Http => 80,
            Self::Ssh => 22,
            Self::Git => 9418,
        }
    }

    fn is_web(self) -> bool {
        matches!(self, Self::Https | Self::Http)
    }
}

/// The address of a repository on the network. Shown, it hides what could be a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Remote {
    transport: Transport,
    /// Written as `user@host:path`, where the path has no slash of its own in front.
    scp: bool,
    user: Option<String>,
    password: Option<Secret>,
    host: String,
    port: Option<u16>,
    path: String,
}

impl Remote {
    /// Returns how it is reached.
    #[must_use]
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// Returns true for https and http.
    #[must_use]
    pub fn is_web(&self) -> bool {
        self.transport.is_web()
    }

    /// Returns the host, in lower case.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the port, if it is another than the transport's own.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.port
            .filter(|port| *port != self.transport.default_port())
    }

    /// Returns the path on the host without slashes around it and without `.git`: `owner/repository` on a forge.
    #[must_use]
    pub fn slug(&self) -> &str {
        let path = self.path.trim_matches('/');
        path.strip_suffix(".git").unwrap_or(path)
    }

    /// Returns what every address of this repository has in common, whether by ssh or https: host and path. A port of ssh is left
    /// out, since forges have their own for it, and a user too, unless the path begins in that user's home.
    pub(super) fn identity(&self) -> String {
        let host = self.host.trim_end_matches('.');
        // Where forges serve ssh on the port of https.
        let host = match host {
            "ssh.github.com" => "github.com",
            "altssh.gitlab.com" => "gitlab.com",
            "altssh.bitbucket.org" => "bitbucket.org",
            other => other,
        };
        let port = self.port().filter(|_| self.transport != Transport::Ssh);
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        let parts: Vec<&str> = self.slug().split('/').filter(|it| !it.is_empty()).collect();
        let in_home = self.scp && !self.path.starts_with('/') || parts.first() == Some(&"~");
        let home = match self.user.as_deref() {
            // The one user of a forge has no home.
            Some(user) if in_home && user != "git" => format!("~{user}/"),
            _ => String::new(),
        };
        let path = parts.join("/");
        format!("{host}{port}/{home}{}", path.trim_start_matches("~/"))
    }

    /// Returns the address without user name and password; ssh keeps its user name, which is no secret there.
    #[must_use]
    pub fn without_credentials(&self) -> String {
        let user = match (&self.user, self.transport.is_web()) {
            (Some(user), false) => format!("{user}@"),
            _ => String::new(),
        };
        self.written(&user)
    }

    /// Returns the address with everything in it, for git alone.
    pub(super) fn with_credentials(&self) -> String {
        let user = match (&self.user, &self.password) {
            (Some(user), Some(password)) => format!("{user}:{}@", password.expose()),
            (Some(user), None) => format!("{user}@"),
            (None, _) => String::new(),
        };
        self.written(&user)
    }

    /// Returns true if a secret for the one may be shown to the other: same transport, host and port.
    pub(super) fn same_authority(&self, other: &Self) -> bool {
        self.transport == other.transport && self.host == other.host && self.port() == other.port()
    }

    /// Returns what in this address must not reach a message.
    pub(super) fn secrets(&self) -> Vec<&str> {
        let user = self.user.as_deref().filter(|_| self.transport.is_web());
        let password = self.password.as_ref().map(Secret::expose);
        user.into_iter().chain(password).collect()
    }

    /// Returns a directory name that stands for this address: readable in front, unique behind.
    pub(super) fn key(&self) -> String {
        let address = self.without_credentials();
        let hash = Sha256::digest(address.trim_end_matches('/').as_bytes());
        let name: String = Location::Remote(self.clone())
            .name()
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
            .take(40)
            .collect();
        format!("{name}-{}", hex(&hash[..8]))
    }

    fn written(&self, user: &str) -> String {
        if self.scp {
            return format!("{user}{}:{}", self.host, self.path);
        }
        let port = self.port.map(|port| format!(":{port}")).unwrap_or_default();
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        format!(
            "{}://{user}{host}{port}{}",
            self.transport.scheme(),
            self.path
        )
    }
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = match (&self.user, self.transport.is_web()) {
            // People write tokens in either place.
            (Some(_), true) => "***@".to_owned(),
            (Some(user), false) if self.password.is_some() => format!("{user}:***@"),
            (Some(user), false) => format!("{user}@"),
            (None, _) => String::new(),
        };
        f.write_str(&self.written(&user))
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Remote({self})")
    }
}

/// Returns bytes as lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        write!(text, "{byte:02x}").ok();
        text
    })
}

fn parse_url(scheme: &str, rest: &str) -> Result<Location, LocationError> {
    let transport = match scheme.to_ascii_lowercase().as_str() {
        "https" => Transport::Https,
        "http" => Transport::Http,
        "ssh" | "git+ssh" | "ssh+git" => Transport::Ssh,
        "git" => Transport::Git,
        "file" => return parse_file(rest),
        _ => {
            let scheme = scheme.to_owned();
            return Err(LocationError::Scheme { scheme });
        }
    };
    let (authority, path) = match rest.find('/') {
        Some(slash) => rest.split_at(slash),
        None => (rest, "/"),
    };
    let (userinfo, host_port) = match authority.rsplit_once('@') {
        Some((userinfo, host_port)) => (Some(userinfo), host_port),
        None => (None, authority),
    };
    let (user, password) = match userinfo.map(|info| info.split_once(':').unwrap_or((info, ""))) {
        Some((user, "")) => (Some(user.to_owned()), None),
        Some((user, password)) => (Some(user.to_owned()), Some(Secret::new(password))),
        None => (None, None),
    };
    let (host, port) = split_port(host_port)?;
    Ok(Location::Remote(Remote {
        transport,
        scp: false,
        user,
        password,
        host: check_host(host)?,
        port,
        path: path.to_owned(),
    }))
}

fn parse_file(rest: &str) -> Result<Location, LocationError> {
    let path = rest.strip_prefix("localhost").unwrap_or(rest);
    if !path.starts_with('/') {
        return Err(LocationError::Host);
    }
    Ok(Location::Path(normalize(Path::new(path))))
}

fn parse_scp(host: &str, path: &str) -> Result<Location, LocationError> {
    let (user, host) = match host.rsplit_once('@') {
        Some((user, host)) => (Some(user.to_owned()), host),
        None => (None, host),
    };
    // `ext::sh -c ...` is a command, not a host.
    if path.is_empty() || path.starts_with(':') {
        return Err(LocationError::Scheme {
            scheme: host.to_owned(),
        });
    }
    Ok(Location::Remote(Remote {
        transport: Transport::Ssh,
        scp: true,
        user,
        password: None,
        host: check_host(host)?,
        port: None,
        path: path.to_owned(),
    }))
}

fn split_port(text: &str) -> Result<(&str, Option<u16>), LocationError> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, behind) = rest.split_once(']').ok_or(LocationError::Host)?;
        let port = behind.strip_prefix(':').unwrap_or(behind);
        return Ok((host, parse_port(port)?));
    }
    match text.split_once(':') {
        Some((host, port)) => Ok((host, parse_port(port)?)),
        None => Ok((text, None)),
    }
}

fn parse_port(text: &str) -> Result<Option<u16>, LocationError> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| LocationError::Port {
        port: text.to_owned(),
    })
}

fn check_host(host: &str) -> Result<String, LocationError> {
    let wrong = |c: char| c.is_whitespace() || matches!(c, '%' | '/' | '@' | '\\' | '?' | '#');
    if host.is_empty() || host.starts_with('-') || host.contains(wrong) {
        return Err(LocationError::Host);
    }
    Ok(host.to_ascii_lowercase())
}

/// Follows a relative address from `base`; `None` if it leads above the top.
fn climb(base: &str, relative: &str) -> Option<String> {
    let mut parts: Vec<&str> = base.split('/').filter(|part| !part.is_empty()).collect();
    for part in relative.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    // The path of scp's form has no slash in front unless it was written with one.
    let root = if base.starts_with('/') { "/" } else { "" };
    (!parts.is_empty()).then(|| format!("{root}{}", parts.join("/")))
}

/// Resolves `.` and `..` by name alone.
fn normalize(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                out.pop();
            }
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_way_to_reach_a_repository_has_one_identity() {
        let identity = |text: &str| match Location::parse(text, Path::new("/")).unwrap() {
            Location::Remote(remote) => remote.identity(),
            Location::Path(path) => panic!("{}", path.display()),
        };
        for text in [
            "https://github.com/me/heat",
            "https://github.com/me/heat.git",
            "https://github.com/me/heat/",
            "https://github.com/me/heat.git/",
            "https://GitHub.com:443/me//heat",
            "https://me:ghp_secret@github.com/me/heat",
            "http://github.com/me/heat",
            "git://github.com/me/heat.git",
            "git@github.com:me/heat.git",
            "git@github.com:/me/heat",
            "github.com:me/heat",
            "ssh://git@github.com/me/heat",
            "ssh://git@github.com:22/me/heat.git",
            "ssh://git@ssh.github.com:443/me/heat.git",
            "git+ssh://git@github.com./me/heat",
        ] {
            assert_eq!(identity(text), "github.com/me/heat", "{text}");
        }
        let check = |text: &str, expected: &str| assert_eq!(identity(text), expected, "{text}");
        check("https://github.com/you/heat", "github.com/you/heat");
        check("https://gitlab.com/me/heat", "gitlab.com/me/heat");
        check(
            "ssh://git@git.example.org:2222/hpc/sub/heat.git",
            "git.example.org/hpc/sub/heat",
        );
        check("http://127.0.0.1:8080/heat.git", "127.0.0.1:8080/heat");
        check("http://127.0.0.1:8081/heat.git", "127.0.0.1:8081/heat");
        check("ada@host:heat.git", "host/~ada/heat");
        check("bob@host:heat.git", "host/~bob/heat");
        check("ssh://bob@host/~/heat.git", "host/~bob/heat");
        check("ada@host:/srv/heat.git", "host/srv/heat");
        check("bob@host:/srv/heat.git", "host/srv/heat");
        check("ssh://[2001:DB8::1]/heat", "2001:db8::1/heat");
    }

    fn check(text: &str, expected: &str) {
        let found = match Location::parse(text, Path::new("/home/me/heat")) {
            Ok(Location::Path(path)) => format!("path {}", path.display()),
            Ok(Location::Remote(remote)) => format!("remote {remote}"),
            Err(error) => format!("error: {error}"),
        };
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn reads_every_form_that_git_knows() {
        check(".", "path /home/me/heat");
        check("../lib", "path /home/me/lib");
        check("/srv/git/x.git", "path /srv/git/x.git");
        check("a/b:c", "path /home/me/heat/a/b:c");
        check("file:///srv/x.git", "path /srv/x.git");
        check("file://localhost/srv/x.git", "path /srv/x.git");
        check(
            "https://Example.org/a/b.git",
            "remote https://example.org/a/b.git",
        );
        check("https://h:8443/a", "remote https://h:8443/a");
        check("ssh://git@[::1]:2222/a", "remote ssh://git@[::1]:2222/a");
        check("git+ssh://h/a", "remote ssh://h/a");
        check("git@example.org:a/b.git", "remote git@example.org:a/b.git");
        check("host:b", "remote host:b");
    }

    #[test]
    fn hides_user_and_password_of_a_web_address() {
        check("https://me:secret@h/a", "remote https://***@h/a");
        check("https://token@h/a", "remote https://***@h/a");
        check("ssh://me:secret@h/a", "remote ssh://me:***@h/a");
        let place = Location::parse("https://me:secret@h/a", Path::new("/")).unwrap();
        assert_eq!(place.without_credentials(), "https://h/a");
        assert!(!format!("{place:?}").contains("secret"));
        assert_eq!(
            place.remote().unwrap().with_credentials(),
            "https://me:secret@h/a"
        );
        assert_eq!(place.remote().unwrap().secrets(), ["me", "secret"]);
    }

    #[test]
    fn refuses_what_starts_programs_or_confuses() {
        check("", "error: it is empty");
        check(
            "ext::sh -c id",
            "error: `ext` is not one of https, http, ssh, git and file",
        );
        check(
            "ftp://h/a",
            "error: `ftp` is not one of https, http, ssh, git and file",
        );
        check(
            "https://h/a\nhost=evil",
            "error: it holds a control character",
        );
        check("ssh://-oProxyCommand=id/a", "error: it names no host");
        check("-oProxyCommand=id:a", "error: it names no host");
        check("https://h%0ahost=evil/a", "error: it names no host");
        check("https:///a", "error: it names no host");
        check("https://h:99999/a", "error: `99999` is not a port");
        check("file://server/share", "error: it names no host");
    }

    #[test]
    fn joins_relative_addresses_as_submodules_have_them() {
        let check = |base: &str, relative: &str, expected: &str| {
            let base = Location::parse(base, Path::new("/")).unwrap();
            let found = match base.join(relative) {
                Ok(place) => place.to_string(),
                Err(error) => format!("error: {error}"),
            };
            assert_eq!(found, expected);
        };
        check("https://h/a/b.git", "../c.git", "https://h/a/c.git");
        check("https://h/a/b.git/", "./c", "https://h/a/b.git/c");
        check("https://h/b.git", "../c", "https://h/c");
        check("git@h:a/b.git", "../c.git", "git@h:a/c.git");
        check("git@h:b.git", "../c.git", "git@h:c.git");
        check("git@h:/a/b.git", "../../c.git", "git@h:/c.git");
        check("/srv/a/b", "../c", "/srv/a/c");
        check("https://h/a", "https://other/c", "https://other/c");
        check(
            "https://me:pw@h/a",
            "../../c",
            "error: `../../c` leads above the top of `https://***@h/a`",
        );
    }

    #[test]
    fn names_and_keys() {
        let parse = |text: &str| Location::parse(text, Path::new("/")).unwrap();
        for (text, name) in [
            ("https://h/a/heat.git", "heat"),
            ("git@h:heat", "heat"),
            ("/srv/heat.git/", "heat"),
            ("/home/me/heat/.git", "heat"),
        ] {
            assert_eq!(parse(text).name(), name, "{text}");
        }
        let key = |text: &str| parse(text).remote().unwrap().key();
        assert_eq!(key("https://a:b@h/x.git"), key("https://h/x.git/"));
        assert_ne!(key("https://h/x.git"), key("https://h:8/x.git"));
        assert_ne!(key("ssh://a@h/x.git"), key("ssh://b@h/x.git"));
        assert_eq!(parse("git@h:o/r.git").remote().unwrap().slug(), "o/r");
    }

    proptest! {
        #[test]
        fn a_relative_address_never_leaves_its_host(text in "\\PC{0,40}", relative in "[.]{1,2}/[./a-z:@]{0,20}") {
            if let Ok(Location::Remote(base)) = Location::parse(&text, Path::new("/"))
                && let Ok(joined) = Location::Remote(base.clone()).join(&relative)
            {
                prop_assert!(joined.remote().unwrap().same_authority(&base));
            }
        }

        #[test]
        fn an_address_survives_being_written(text in "(https|ssh)://([a-z]{1,3}@)?[a-z]{1,8}(:[1-9][0-9]{0,3})?/[a-z/]{0,12}") {
            let place = Location::parse(&text, Path::new("/")).unwrap();
            let again = Location::parse(&place.remote().unwrap().with_credentials(), Path::new("/")).unwrap();
            prop_assert_eq!(place, again);
        }
    }
}
