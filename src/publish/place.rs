//! Where a project lives on a forge: from settings, from what the CI server says, from the remote. Pure.
//!
//! Never from the checkout, and never from artifacts.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::config::CodecovService;
use crate::git::Remote;

/// A project on a forge.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// The forge's host, where it is known.
    pub host: Option<String>,
    /// The path of the project: `owner/repository`, with groups of groups where the forge has them.
    pub slug: Option<String>,
    /// The forge's API, where the CI server names it.
    pub api: Option<String>,
}

impl Place {
    /// Returns the place that CI servers name by their variables, else that of the remote.
    #[must_use]
    pub fn find(remote: Option<&Remote>, variable: &dyn Fn(&str) -> Option<String>) -> Self {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let is = |name: &str| variable(name).is_some_and(|value| value == "true");
        let named = if is("GITLAB_CI") {
            Self {
                host: variable("CI_SERVER_HOST"),
                slug: variable("CI_PROJECT_PATH"),
                api: variable("CI_API_V4_URL"),
            }
        } else if is("GITHUB_ACTIONS") {
            Self {
                host: variable("GITHUB_SERVER_URL").map(|url| host_of(&url).to_owned()),
                slug: variable("GITHUB_REPOSITORY"),
                api: variable("GITHUB_API_URL"),
            }
        } else {
            Self::default()
        };
        Self {
            host: named.host.or_else(|| Some(remote?.host().to_owned())),
            slug: named.slug.or_else(|| Some(remote?.slug().to_owned())),
            api: named.api,
        }
    }

    /// Returns the forge as Codecov calls it. Codecov's own servers know the public forges alone; a server of one's own
    /// (`own_server`) tells them from a company's.
    #[must_use]
    pub fn service(&self, own_server: bool) -> Option<CodecovService> {
        let host = self.host.as_deref()?;
        let has_label = |word: &str| host.split('.').any(|label| label == word);
        let (public, company, address) = if has_label("github") {
            (
                CodecovService::Github,
                CodecovService::GithubEnterprise,
                "github.com",
            )
        } else if has_label("gitlab") {
            (
                CodecovService::Gitlab,
                CodecovService::GitlabEnterprise,
                "gitlab.com",
            )
        } else if has_label("bitbucket") {
            (
                CodecovService::Bitbucket,
                CodecovService::BitbucketServer,
                "bitbucket.org",
            )
        } else {
            return None;
        };
        Some(if own_server && host != address {
            company
        } else {
            public
        })
    }
}

/// Returns the host of an address of the web.
#[must_use]
pub fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    authority.split(':').next().unwrap_or(authority)
}

/// What stands as it is in one segment of a path or a value of a query, by RFC 3986.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Returns a text as one segment of a path or as a value of a query.
#[must_use]
pub fn percent_encoded(text: &str) -> String {
    utf8_percent_encode(text, UNRESERVED).to_string()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::git::Location;

    fn place(remote: &str, variables: &[(&str, &str)]) -> Place {
        let location = Location::parse(remote, Path::new("/")).unwrap();
        Place::find(location.remote(), &|name| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn slug_and_service_of_any_host() {
        let check = |remote: &str, own_server, slug: &str, service: &str| {
            let found = place(remote, &[]);
            assert_eq!(found.slug.as_deref(), Some(slug), "{remote}");
            let name = found.service(own_server).map(|it| it.to_string());
            assert_eq!(name.unwrap_or_default(), service, "{remote}");
        };
        check("https://github.com/o/r.git", false, "o/r", "github");
        check("git@github.com:o/r.git", true, "o/r", "github");
        check("https://u:t@gitlab.com/g/s/r.git", false, "g/s/r", "gitlab");
        check(
            "ssh://git@gitlab.hpc.example.org:2222/g/r",
            false,
            "g/r",
            "gitlab",
        );
        check(
            "ssh://git@gitlab.hpc.example.org/g/r",
            true,
            "g/r",
            "gitlab_enterprise",
        );
        check(
            "https://github.lab.example/o/r",
            true,
            "o/r",
            "github_enterprise",
        );
        check("https://bitbucket.org/o/r", false, "o/r", "bitbucket");
        check("https://git.example.org/o/r", false, "o/r", "");
        check("https://notgithub.com/o/r", false, "o/r", "");
    }

    #[test]
    fn the_ci_server_knows_better_than_the_remote() {
        let found = place(
            "https://git.example.org/mirror.git",
            &[
                ("GITLAB_CI", "true"),
                ("CI_SERVER_HOST", "gitlab.example.org"),
                ("CI_PROJECT_PATH", "grp/sub/p"),
                ("CI_API_V4_URL", "https://gitlab.example.org/api/v4"),
            ],
        );
        assert_eq!(found.slug.as_deref(), Some("grp/sub/p"));
        assert_eq!(found.service(false), Some(CodecovService::Gitlab));
        let none = place("/srv/heat.git", &[]);
        assert_eq!(none, Place::default());
    }

    #[test]
    fn paths_are_encoded() {
        assert_eq!(percent_encoded("grp/sub/p q"), "grp%2Fsub%2Fp%20q");
        assert_eq!(percent_encoded("ä-._~"), "%C3%A4-._~");
        assert_eq!(host_of("https://h:8443/a"), "h");
    }
}
