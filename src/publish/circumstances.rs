//! What the CI server says about a run: its pipeline, its job, its merge request.
//!
//! Pure: variables are handed in. They are kept with an item, because who sends it later may be a person at a login node.
//! Names are those of [GitLab](https://docs.gitlab.com/ci/variables/predefined_variables/) and
//! [GitHub](https://docs.github.com/actions/reference/workflows-and-actions/variables).

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::Disclosure;

/// The circumstances of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Circumstances {
    /// Who started it.
    pub server: Server,
    /// The pull or merge request that it is about.
    pub pull_request: Option<u64>,
    /// The job's id.
    pub job: Option<String>,
    /// The address of the job, for people.
    pub job_url: Option<String>,
    /// The path of the project that the job belongs to.
    pub project: Option<String>,
    /// The name of the job.
    pub job_name: Option<String>,
    /// The name of the workflow.
    pub workflow: Option<String>,
    /// The pipeline's id.
    pub pipeline: Option<u64>,
    /// The reference that the pipeline is about.
    pub reference: Option<String>,
    /// The branch as the server calls it, where that is one: of a fork without the fork.
    pub branch: Option<String>,
    /// The merge that the server made to be tested, if it did.
    pub merge: Option<Merge>,
}

/// A commit that a server made of a pull request and its target, and that nobody will see again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Merge {
    /// The commit.
    pub commit: String,
    /// The pull request's own commit, which people look at.
    pub head: String,
}

/// Who started a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Server {
    /// A job of GitLab CI.
    Gitlab,
    /// A job of GitHub Actions.
    GithubActions,
    /// A person, or cron.
    #[default]
    Local,
}

impl Circumstances {
    /// Returns what another service may be told: a server of one's own is a host, and so is the address of its job.
    #[must_use]
    pub fn told(&self, disclosure: Disclosure) -> Self {
        let known = disclosure == Disclosure::Full || self.server == Server::GithubActions;
        Self {
            job_url: self.job_url.clone().filter(|_| known),
            ..self.clone()
        }
    }

    /// Reads the variables of a CI server, and the document of the event that GitHub keeps beside them.
    #[must_use]
    pub fn read(variable: &dyn Fn(&str) -> Option<String>, event: Option<&Value>) -> Self {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        if variable("GITLAB_CI").is_some_and(|value| value == "true") {
            gitlab(&variable)
        } else if variable("GITHUB_ACTIONS").is_some_and(|value| value == "true") {
            github(&variable, event)
        } else {
            Self::default()
        }
    }

    /// Returns the commit that results of this one are about in the eyes of people.
    #[must_use]
    pub fn seen<'a>(&'a self, commit: &'a str) -> &'a str {
        match &self.merge {
            Some(merge) if merge.commit == commit => &merge.head,
            _ => commit,
        }
    }
}

fn gitlab(variable: &dyn Fn(&str) -> Option<String>) -> Circumstances {
    let merge_request = number(variable("CI_MERGE_REQUEST_IID"));
    // The pipeline is one of the merge then, and GitLab does not find it by the commit that is tested.
    let is_of_merge = variable("CI_MERGE_REQUEST_SOURCE_BRANCH_SHA")
        .is_some_and(|source| variable("CI_COMMIT_SHA") != Some(source));
    let named = variable("CI_COMMIT_REF_NAME");
    Circumstances {
        server: Server::Gitlab,
        pull_request: merge_request,
        job: variable("CI_JOB_ID"),
        job_url: variable("CI_JOB_URL"),
        project: variable("CI_PROJECT_PATH"),
        job_name: None,
        workflow: None,
        pipeline: number(variable("CI_PIPELINE_ID")).filter(|_| !is_of_merge),
        // The pipeline of a merge request runs on a reference of its own, by which GitLab finds it again.
        reference: match merge_request {
            Some(iid) if !is_of_merge => Some(format!("refs/merge-requests/{iid}/head")),
            _ => named.clone(),
        },
        branch: named,
        merge: None,
    }
}

fn github(variable: &dyn Fn(&str) -> Option<String>, event: Option<&Value>) -> Circumstances {
    let pull_request = variable("GITHUB_REF").and_then(|reference| {
        Some(
            reference
                .strip_prefix("refs/pull/")?
                .split('/')
                .next()?
                .to_owned(),
        )
    });
    let head = event.and_then(|event| event["pull_request"]["head"]["sha"].as_str());
    let merge = variable("GITHUB_SHA")
        .zip(head)
        .filter(|(commit, head)| pull_request.is_some() && commit != head)
        .map(|(commit, head)| Merge {
            commit,
            head: head.to_owned(),
        });
    let of_branch =
        variable("GITHUB_REF").and_then(|it| Some(it.strip_prefix("refs/heads/")?.to_owned()));
    let run = variable("GITHUB_RUN_ID");
    let job_url = match (
        variable("GITHUB_SERVER_URL"),
        variable("GITHUB_REPOSITORY"),
        &run,
    ) {
        (Some(server), Some(repository), Some(run)) => {
            Some(format!("{server}/{repository}/actions/runs/{run}"))
        }
        _ => None,
    };
    Circumstances {
        server: Server::GithubActions,
        pull_request: number(pull_request),
        job: run,
        job_url,
        project: variable("GITHUB_REPOSITORY"),
        job_name: variable("GITHUB_JOB"),
        workflow: variable("GITHUB_WORKFLOW"),
        pipeline: None,
        reference: variable("GITHUB_REF"),
        branch: variable("GITHUB_HEAD_REF").or(of_branch),
        merge,
    }
}

fn number(text: Option<String>) -> Option<u64> {
    text?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Circumstances {
        read_with(variables, None)
    }

    fn read_with(variables: &[(&str, &str)], event: Option<&Value>) -> Circumstances {
        let variable = |name: &str| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Circumstances::read(&variable, event)
    }

    #[test]
    fn a_gitlab_job_names_its_pipeline_and_merge_request() {
        let job = [
            ("GITLAB_CI", "true"),
            ("CI_JOB_ID", "42"),
            ("CI_JOB_URL", "https://gitlab.example.org/grp/p/-/jobs/42"),
            ("CI_PIPELINE_ID", "7"),
            ("CI_COMMIT_REF_NAME", "topic"),
        ];
        let branch = read(&job);
        assert_eq!(branch.server, Server::Gitlab);
        assert_eq!((branch.pipeline, branch.pull_request), (Some(7), None));
        assert_eq!(branch.reference.as_deref(), Some("topic"));
        let request = read(&[&job[..], &[("CI_MERGE_REQUEST_IID", "5")]].concat());
        assert_eq!(request.pull_request, Some(5));
        assert_eq!(
            request.reference.as_deref(),
            Some("refs/merge-requests/5/head")
        );
    }

    #[test]
    fn a_pipeline_of_a_merged_result_is_not_named_with_the_commit_that_it_merged() {
        let merged = read(&[
            ("GITLAB_CI", "true"),
            ("CI_PIPELINE_ID", "7"),
            ("CI_COMMIT_REF_NAME", "topic"),
            ("CI_COMMIT_SHA", "merge"),
            ("CI_MERGE_REQUEST_SOURCE_BRANCH_SHA", "source"),
            ("CI_MERGE_REQUEST_IID", "5"),
        ]);
        assert_eq!((merged.pipeline, merged.pull_request), (None, Some(5)));
        assert_eq!(merged.reference.as_deref(), Some("topic"));
    }

    #[test]
    fn results_of_a_merge_that_github_made_are_about_the_pull_requests_own_commit() {
        let event = serde_json::json!({ "pull_request": { "head": { "sha": "head" } } });
        let variables = |reference| {
            [
                ("GITHUB_ACTIONS", "true"),
                ("GITHUB_SHA", "merge"),
                ("GITHUB_REF", reference),
                ("GITHUB_HEAD_REF", "topic"),
            ]
        };
        let request = read_with(&variables("refs/pull/7/merge"), Some(&event));
        assert_eq!(request.seen("merge"), "head");
        // `--commit` may have named another one.
        assert_eq!(request.seen("other"), "other");
        assert_eq!(request.branch.as_deref(), Some("topic"));
        // `pull_request_target` runs on the target's own commit.
        let target = read_with(&variables("refs/heads/main"), Some(&event));
        assert_eq!(target.seen("merge"), "merge");
    }

    #[test]
    fn a_github_job_names_its_run_and_pull_request() {
        let found = read(&[
            ("GITHUB_ACTIONS", "true"),
            ("GITHUB_REF", "refs/pull/7/merge"),
            ("GITHUB_RUN_ID", "900"),
            ("GITHUB_SERVER_URL", "https://github.com"),
            ("GITHUB_REPOSITORY", "o/r"),
            ("GITHUB_WORKFLOW", "CI"),
        ]);
        assert_eq!(found.pull_request, Some(7));
        assert_eq!(
            found.job_url.as_deref(),
            Some("https://github.com/o/r/actions/runs/900")
        );
    }

    #[test]
    fn without_a_server_nothing_is_known() {
        assert_eq!(read(&[("CI_JOB_ID", "42")]), Circumstances::default());
        assert_eq!(
            read(&[("GITLAB_CI", ""), ("GITHUB_ACTIONS", "")]),
            Circumstances::default()
        );
    }
}
