//! What is offered to a server that asks who we are, in which order, and when to stop.
//!
//! libgit2 asks again after each refusal, for http without end. So every way is tried once, in a fixed order, and what
//! was tried is remembered for the error.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use git2::{Cred, CredentialType, ErrorClass, ErrorCode};

use super::access::Access;
use super::location::{Location, Remote};
use crate::foreign;

/// Names of key files that ssh itself looks for, best first.
const KEY_NAMES: [&str; 3] = ["id_ed25519", "id_ecdsa", "id_rsa"];
/// The user name that forges take together with a token.
const TOKEN_USER: &str = "x-access-token";

/// One conversation with one server.
pub(super) struct Offers<'a> {
    access: &'a Access<'a>,
    place: &'a Remote,
    keys: Option<std::vec::IntoIter<Key>>,
    token_shown: bool,
    helper_asked: bool,
    /// What was offered, and what was passed over and why.
    pub(super) tried: Vec<String>,
}

enum Key {
    File(PathBuf),
    Agent,
}

impl<'a> Offers<'a> {
    pub(super) fn new(access: &'a Access<'a>, place: &'a Remote) -> Self {
        Self {
            access,
            place,
            keys: None,
            token_shown: false,
            helper_asked: false,
            tried: Vec::new(),
        }
    }

    /// Answers libgit2's question. `url` is where the question comes from, which after a redirect is not where we went.
    pub(super) fn next(
        &mut self,
        url: &str,
        user: Option<&str>,
        allowed: CredentialType,
    ) -> Result<Cred, git2::Error> {
        if allowed.contains(CredentialType::USERNAME) {
            return Cred::username(&own_name());
        }
        if allowed.contains(CredentialType::SSH_KEY) {
            return self.next_key(user.unwrap_or(&own_name()));
        }
        if allowed.contains(CredentialType::USER_PASS_PLAINTEXT) && self.place.is_web() {
            return self.next_password(url);
        }
        Err(nothing_left())
    }

    fn next_key(&mut self, user: &str) -> Result<Cred, git2::Error> {
        if self.keys.is_none() {
            let keys = self.keys();
            self.keys = Some(keys.into_iter());
        }
        match self.keys.as_mut().and_then(Iterator::next) {
            Some(Key::File(path)) => {
                self.tried.push(format!("key {}", path.display()));
                Cred::ssh_key(user, None, &path, None)
            }
            Some(Key::Agent) => {
                self.tried.push("ssh agent".to_owned());
                Cred::ssh_key_from_agent(user)
            }
            None => Err(nothing_left()),
        }
    }

    /// Returns the keys to offer. A key that was named is the only file; the agent may still hold it without passphrase.
    fn keys(&mut self) -> Vec<Key> {
        let agent = std::env::var_os("SSH_AUTH_SOCK").map(|_| Key::Agent);
        let files = match &self.access.ssh_key {
            Some(path) => vec![path.clone()],
            None => usual_keys(),
        };
        let usable = files.into_iter().filter(|path| self.is_usable(path));
        let files: Vec<Key> = usable.map(Key::File).collect();
        if self.access.ssh_key.is_some() {
            files.into_iter().chain(agent).collect()
        } else {
            agent.into_iter().chain(files).collect()
        }
    }

    /// Returns false, and says why, for a key that libssh2 would end the conversation over.
    fn is_usable(&mut self, path: &Path) -> bool {
        // People link their keys.
        let real = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
        match foreign::read_to_string(real, foreign::NOTE) {
            Ok(text) if has_passphrase(&text) => {
                let note = format!("key {} has a passphrase", path.display());
                self.tried.push(note);
                false
            }
            Ok(_) => true,
            Err(error) => {
                let what = match error.kind() {
                    ErrorKind::NotFound => "does not exist",
                    ErrorKind::PermissionDenied => "may not be read",
                    _ => "cannot be read",
                };
                self.tried.push(format!("key {} {what}", path.display()));
                false
            }
        }
    }

    fn next_password(&mut self, url: &str) -> Result<Cred, git2::Error> {
        let asking = Location::parse(url, Path::new("/")).ok();
        let asking = asking.as_ref().and_then(Location::remote);
        if !self.token_shown {
            self.token_shown = true;
            if let Some(token) = &self.access.token {
                if let Some(secret) = asking.and_then(|place| token.reveal_to(place)) {
                    self.tried.push("token".to_owned());
                    return Cred::userpass_plaintext(TOKEN_USER, secret);
                }
                self.tried.push("token is for another host".to_owned());
            }
        }
        if !self.helper_asked {
            self.helper_asked = true;
            // The user's own configuration alone: a repository's may name any program.
            let config = git2::Config::open_default()?;
            let address = asking.map_or_else(|| url.to_owned(), Remote::without_credentials);
            if let Ok(found) = Cred::credential_helper(&config, &address, None) {
                self.tried.push("credential helper".to_owned());
                return Ok(found);
            }
        }
        Err(nothing_left())
    }
}

fn nothing_left() -> git2::Error {
    git2::Error::new(
        ErrorCode::Auth,
        ErrorClass::Callback,
        "no more credentials to offer",
    )
}

/// Returns the name that ssh takes where the address has none: that of the user who runs this.
fn own_name() -> String {
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid());
    user.ok()
        .flatten()
        .map(|user| user.name)
        .unwrap_or_default()
}

fn usual_keys() -> Vec<PathBuf> {
    let Some(home) = std::env::home_dir() else {
        return Vec::new();
    };
    KEY_NAMES
        .iter()
        .map(|name| home.join(".ssh").join(name))
        .filter(|path| path.is_file())
        .collect()
}

/// Returns true if a private key is locked by a passphrase: PEM says so in its head, OpenSSH's own format names its
/// cipher right behind the magic (PROTOCOL.key in openssh-portable).
fn has_passphrase(key: &str) -> bool {
    const MAGIC: &str = "-----BEGIN OPENSSH PRIVATE KEY-----";
    // "openssh-key-v1\0", then the length 4 and "none", in base64; the last digit also holds bits of what follows.
    const UNLOCKED: &str = "b3BlbnNzaC1rZXktdjEAAAAABG5vbm";
    match key.trim_start().strip_prefix(MAGIC) {
        Some(body) => !body.trim_start().starts_with(UNLOCKED),
        None => key.contains("ENCRYPTED"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_locked_keys_from_open_ones() {
        let openssh = |body: &str| format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{body}\n");
        let check = |key: &str, locked: bool| assert_eq!(has_passphrase(key), locked, "{key}");
        check(
            &openssh("b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW"),
            false,
        );
        check(
            &openssh("b3BlbnNzaC1rZXktdjEAAAAACmFlczI1Ni1jdHIAAAAGYmNyeXB0AAAAGAAAABB5sI5p0x"),
            true,
        );
        check(
            "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC\n",
            true,
        );
        check("-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA", false);
        check("-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIFHDBO", true);
        check("", false);
    }
}
