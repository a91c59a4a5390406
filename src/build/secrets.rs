//! Which variables are credentials: the one list, by names and by what values look like. docs/trust.md explains it.
//!
//! Nothing on it reaches a set-up, a build, a job or a step. A site adds patterns of its own to it, and names what builds need all the
//! same; both stand in trusted files alone.

use std::ffi::{OsStr, OsString};

/// Patterns of names, upper case: `*` stands for any text. Names are compared whatever their case.
#[rustfmt::skip]
pub const NAMES: &[&str] = &[
    // By the word that says what they are.
    "*TOKEN", "*_TOKEN_*", "*SECRET", "*SECRETS", "SECRET_*", "*_SECRET_*",
    "*PASSWORD", "*PASSWORDS", "PASSWORD_*", "*_PASSWORD_*", "*PASSWD", "*_PASSWD_*", "*PASSPHRASE", "*_PASSPHRASE_*",
    "PASS", "*_PASS", "SSHPASS", "*_PWD", "*_PW", "*BINDPW",
    "*CREDENTIAL", "*CREDENTIALS", "*_CREDENTIAL_*", "*_CREDENTIALS_*", "*_CREDS",
    "APIKEY", "*_APIKEY", "*API_KEY", "*_API_KEYS", "*_API_KEY_*", "ACCESS_KEY", "*_ACCESS_KEY", "*_ACCESS_KEY_*", "*SECRET_KEY",
    "*_SECRETKEY", "*PRIVATE_KEY", "*PRIVATE_KEY_*", "*_PRIVATEKEY", "*_AUTH_KEY", "*_AUTHKEY", "*_ACCOUNT_KEY", "*_STORAGE_KEY",
    "*_DEPLOY_KEY", "*_ENCRYPTION_KEY", "*_SIGNING_KEY", "*_MASTER_KEY", "*_SSH_KEY", "SSH_KEY", "*_GPG_KEY", "GPG_KEY",
    "AUTH", "*_AUTH", "*_AUTH_CONFIG", "*AUTHORIZATION", "*_BEARER", "*COOKIE", "*COOKIES", "JWT", "*_JWT", "*_JWT_*", "*_OTP", "*_PAT",
    "*_DSN", "*_WEBHOOK", "*_WEBHOOK_URL", "*_CONNECTION_STRING",
    // Clouds and stores of secrets, whole.
    "AWS_*", "AZURE_*", "ARM_CLIENT_*", "ARM_SAS_*", "GOOGLE_*", "GCP_*", "GCLOUD_*", "CLOUDSDK_*", "OCI_CLI_*", "VAULT_*", "BOTO_CONFIG",
    "RCLONE_CONFIG*", "KUBECONFIG",
    // Files and folders that hold credentials.
    "NETRC", "PGPASSFILE", "REGISTRY_AUTH_FILE", "DOCKER_CONFIG", "GNUPGHOME", "HGRCPATH",
    // Tickets, certificates and agents.
    "SSH_AUTH_SOCK", "SSH_AGENT_PID", "GPG_AGENT_INFO", "*_ASKPASS", "KRB5CCNAME", "KRB5_KTNAME", "KRB5_CLIENT_KTNAME", "X509_USER_*",
    // Whatever git is told on the way.
    "GIT_CONFIG_PARAMETERS", "GIT_CONFIG_COUNT", "GIT_CONFIG_KEY_*", "GIT_CONFIG_VALUE_*", "GIT_SSH", "GIT_SSH_COMMAND",
    // What a CI server gives to its jobs.
    "CI_JOB_*", "CI_REGISTRY_USER", "CI_DEPLOY_*", "CI_DEPENDENCY_PROXY_USER", "CI_REPOSITORY_URL", "ACTIONS_RUNTIME_*",
    "ACTIONS_ID_TOKEN_*", "ACTIONS_CACHE_URL", "ACTIONS_RESULTS_URL",
];

/// What the executors of GitLab put before the names of a job's variables.
const OF_EXECUTOR: &str = "CUSTOM_ENV_";

/// Beginnings of values that are credentials, whatever the variable is called.
#[rustfmt::skip]
const VALUES: &[&str] = &[
    "-----BEGIN ", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "gldt-", "glrt-", "xoxb-", "xoxp-", "hf_", "npm_",
    "pypi-", "Bearer ", "Basic ",
];
/// Shorter ones are words.
const SHORTEST: usize = 20;

/// Which variables are withheld.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Secrets {
    /// Variables that the settings name for tokens: withheld whatever else is said.
    pub tokens: Vec<String>,
    /// Patterns beside those that are built in.
    pub more: Vec<String>,
    /// Patterns of what is handed on all the same.
    pub pass: Vec<String>,
}

impl Secrets {
    /// Returns what holds where the secrets were taken out before: nothing is withheld.
    #[must_use]
    pub fn taken_out() -> Self {
        Self {
            pass: vec!["*".to_owned()],
            ..Self::default()
        }
    }

    /// Returns whether a variable of this name is withheld.
    #[must_use]
    pub fn is_secret(&self, name: &str) -> bool {
        if self.tokens.iter().any(|token| token == name) {
            return true;
        }
        let upper = name.to_ascii_uppercase();
        let inner = upper.strip_prefix(OF_EXECUTOR).unwrap_or(&upper);
        let is_one = |pattern: &str| matches(pattern, &upper) || matches(pattern, inner);
        // The working folder and the one before it.
        let known = !matches!(inner, "PWD" | "OLDPWD") && NAMES.iter().any(|it| is_one(it));
        let more = || self.more.iter().any(|it| is_one(&it.to_ascii_uppercase()));
        (known || more()) && !self.passes(&upper)
    }

    /// Returns the value that is handed on: of a proxy without user and password; `None` if it is withheld.
    #[must_use]
    pub fn shown(&self, name: &str, value: &OsStr) -> Option<OsString> {
        if self.is_secret(name) {
            return None;
        }
        let upper = name.to_ascii_uppercase();
        if self.passes(&upper) {
            return Some(value.to_owned());
        }
        let text = value.to_string_lossy();
        if upper.ends_with("_PROXY") && upper != "NO_PROXY" {
            return Some(without_user(&text).map_or_else(|| value.to_owned(), OsString::from));
        }
        (!is_credential(&text)).then(|| value.to_owned())
    }

    fn passes(&self, upper: &str) -> bool {
        let passes = |pattern: &String| matches(&pattern.to_ascii_uppercase(), upper);
        self.pass.iter().any(passes)
    }
}

/// Returns whether a text is one of the pattern's, in which `*` stands for any text.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// A proxy's address without user and password; `None`: it has neither.
fn without_user(text: &str) -> Option<String> {
    let start = text.find("://").map_or(0, |at| at + 3);
    let authority = authority(&text[start..]);
    let at = authority.rfind('@')?;
    Some(format!("{}{}", &text[..start], &text[start + at + 1..]))
}

/// Returns whether a value looks like a credential, or holds an address with one.
fn is_credential(text: &str) -> bool {
    let begins = VALUES.iter().any(|start| text.starts_with(start));
    (begins && text.len() >= SHORTEST) || has_password(text)
}

/// Returns whether an address in the text has a password, or anything before its host on the web, where that is a token.
fn has_password(text: &str) -> bool {
    text.match_indices("://").any(|(at, _)| {
        let web = text[..at].ends_with("http") || text[..at].ends_with("https");
        let before = authority(&text[at + 3..]).rsplit_once('@');
        before.is_some_and(|(user, _)| web || user.contains(':'))
    })
}

/// The part of an address before its path.
fn authority(text: &str) -> &str {
    let ends = |c: char| matches!(c, '/' | '?' | '#' | '"' | '\'') || c.is_whitespace();
    text.split(ends).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(name: &str, value: &str) -> Option<String> {
        let shown = Secrets::default().shown(name, OsStr::new(value));
        shown.map(|it| it.to_string_lossy().into_owned())
    }

    #[test]
    fn the_documented_list_is_the_list() {
        let text = include_str!("../../docs/trust.md");
        for pattern in NAMES {
            assert!(
                text.contains(&format!("`{pattern}`")),
                "{pattern} is not in docs/trust.md"
            );
        }
    }

    #[test]
    fn patterns_match_whole_names() {
        for (pattern, text, expected) in [
            ("A", "A", true),
            ("A", "AB", false),
            ("*_A", "X_A", true),
            ("*_A", "X_AB", false),
            ("A_*", "A_", true),
            ("*A*A*", "AA", true),
            ("*AB", "AB", true),
            ("AB*AB", "AB", false),
            ("*", "", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn addresses_lose_their_passwords() {
        for (name, value, expected) in [
            (
                "http_proxy",
                "http://u:p@proxy:3128/",
                Some("http://proxy:3128/"),
            ),
            ("HTTPS_PROXY", "u:p@proxy:3128", Some("proxy:3128")),
            (
                "all_proxy",
                "socks5h://u:p@ss@proxy",
                Some("socks5h://proxy"),
            ),
            ("http_proxy", "http://proxy:3128", Some("http://proxy:3128")),
            (
                "no_proxy",
                "localhost,.example.org",
                Some("localhost,.example.org"),
            ),
            ("PIP_INDEX_URL", "https://u:p@pypi.example.org/simple", None),
            (
                "PIP_INDEX_URL",
                "https://pypi.example.org/@x/simple",
                Some("https://pypi.example.org/@x/simple"),
            ),
            ("INDEXES", "https://a.org https://tok@b.org/x", None),
            ("CACHE", "redis://:p@cache:6379", None),
            (
                "REMOTE",
                "ssh://git@example.org/x",
                Some("ssh://git@example.org/x"),
            ),
            ("MAIL", "someone@example.org", Some("someone@example.org")),
            (
                "SOMETHING",
                "ghp_0123456789abcdef0123456789abcdef0123",
                None,
            ),
            ("SOMETHING", "npm_config", Some("npm_config")),
        ] {
            assert_eq!(shown(name, value).as_deref(), expected, "{name}={value}");
        }
    }

    #[test]
    fn a_site_adds_names_and_passes_some() {
        let secrets = Secrets {
            tokens: vec!["UPLOAD".to_owned()],
            more: vec!["my_*".to_owned()],
            pass: vec![
                "AWS_PROFILE".to_owned(),
                "UPLOAD".to_owned(),
                "INDEX".to_owned(),
            ],
        };
        for name in [
            "UPLOAD",
            "MY_THING",
            "my_thing",
            "AWS_REGION",
            "CUSTOM_ENV_CI_JOB_TOKEN",
        ] {
            assert!(secrets.is_secret(name), "{name}");
        }
        for name in ["AWS_PROFILE", "MINE"] {
            assert!(!secrets.is_secret(name), "{name}");
        }
        let index = OsStr::new("https://u:p@x.org");
        assert_eq!(secrets.shown("INDEX", index).as_deref(), Some(index));
    }
}
