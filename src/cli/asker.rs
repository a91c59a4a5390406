//! What a commit comes from, as the CI server says: the facts that `[trust]` is held against.

use serde_json::Value;

use crate::foreign;
use crate::plan::trust::Origin;

/// Returns what a commit of this branch comes from. A name with a colon is a fork's branch, as Codecov has it.
pub(super) fn origin(branch: Option<&str>, variable: &dyn Fn(&str) -> Option<String>) -> Origin {
    let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
    let is = |name: &str| variable(name).is_some_and(|value| value == "true");
    let by_name = branch.filter(|name| name.contains(':')).map(str::to_owned);
    let (tag, fork) = if is("GITLAB_CI") {
        (variable("CI_COMMIT_TAG"), fork_of_gitlab(&variable))
    } else if is("GITHUB_ACTIONS") {
        let tag = variable("GITHUB_REF_TYPE").is_some_and(|kind| kind == "tag");
        let name = variable("GITHUB_REF_NAME").filter(|_| tag);
        (name, fork_of_github(&variable))
    } else {
        (None, None)
    };
    Origin {
        branch: branch.map(str::to_owned),
        tag,
        fork: fork.or(by_name),
    }
}

fn fork_of_gitlab(variable: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let source = variable("CI_MERGE_REQUEST_SOURCE_PROJECT_ID")?;
    let target = variable("CI_MERGE_REQUEST_PROJECT_ID").or_else(|| variable("CI_PROJECT_ID"))?;
    let path = variable("CI_MERGE_REQUEST_SOURCE_PROJECT_PATH");
    (source != target).then(|| path.unwrap_or(source))
}

/// Returns the branch as it is told apart from the repository's own: with the fork that it comes from.
pub(super) fn full_name(branch: String, origin: &Origin) -> String {
    match &origin.fork {
        Some(fork) if !branch.contains(':') => {
            let owner = fork
                .rsplit_once('/')
                .map_or(fork.as_str(), |(owner, _)| owner);
            format!("{owner}:{branch}")
        }
        _ => branch,
    }
}

/// Returns the document of the event that started a workflow of GitHub.
pub(super) fn event(variable: &dyn Fn(&str) -> Option<String>) -> Option<Value> {
    let path = variable("GITHUB_EVENT_PATH").filter(|path| !path.is_empty())?;
    serde_json::from_str(&foreign::read_linked(path, foreign::RECORD).ok()?).ok()
}

/// GitHub tells of forks in the document of the event alone.
fn fork_of_github(variable: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let event = event(variable)?;
    let head = event["pull_request"]["head"]["repo"]["full_name"].as_str()?;
    (variable("GITHUB_REPOSITORY")? != head).then(|| head.to_owned())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn of(branch: Option<&str>, variables: &[(&str, &str)]) -> Origin {
        origin(branch, &|name| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn ci_servers_tell_of_tags_and_forks() {
        let gitlab = |source| {
            [
                ("GITLAB_CI", "true"),
                ("CI_COMMIT_TAG", "v1"),
                ("CI_MERGE_REQUEST_PROJECT_ID", "7"),
                ("CI_MERGE_REQUEST_SOURCE_PROJECT_ID", source),
                ("CI_MERGE_REQUEST_SOURCE_PROJECT_PATH", "mallory/heat"),
            ]
        };
        assert_eq!(of(None, &gitlab("7")).fork, None);
        assert_eq!(of(None, &gitlab("7")).tag.as_deref(), Some("v1"));
        assert_eq!(of(None, &gitlab("8")).fork.as_deref(), Some("mallory/heat"));
        let event = tempfile::NamedTempFile::new().unwrap();
        let text = r#"{"pull_request":{"head":{"repo":{"full_name":"mallory/heat"}}}}"#;
        fs_err::write(event.path(), text).unwrap();
        let github = [
            ("GITHUB_ACTIONS", "true"),
            ("GITHUB_REPOSITORY", "o/heat"),
            ("GITHUB_EVENT_PATH", event.path().to_str().unwrap()),
            ("GITHUB_REF_TYPE", "branch"),
            ("GITHUB_REF_NAME", "7/merge"),
        ];
        assert_eq!(of(None, &github).fork.as_deref(), Some("mallory/heat"));
        assert_eq!(of(None, &github).tag, None);
        assert_eq!(of(Some("me:topic"), &[]).fork.as_deref(), Some("me:topic"));
        assert_eq!(of(Some("topic"), &[]).fork, None);
    }

    #[test]
    fn a_branch_of_a_fork_is_not_taken_for_one_of_the_repository() {
        let check = |fork: Option<&str>, branch: &str, expected: &str| {
            let origin = Origin {
                fork: fork.map(str::to_owned),
                ..Origin::default()
            };
            assert_eq!(full_name(branch.to_owned(), &origin), expected);
        };
        check(None, "main", "main");
        check(Some("mallory/heat"), "main", "mallory:main");
        check(Some("grp/sub/heat"), "a/b", "grp/sub:a/b");
        check(Some("12"), "main", "12:main");
        check(Some("me:topic"), "me:topic", "me:topic");
    }
}
