//! An item of the outbox: what is to go where, and what became of it so far. Pure.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::circumstances::Circumstances;
use super::material::Material;
use crate::results::record::{Mark, Part};

/// A place that gets something of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Destination {
    /// The coverage, to Codecov.
    CodecovCoverage,
    /// The results of the tests, to Codecov.
    CodecovTests,
    /// The branch with results, badges and the dashboard.
    ResultsBranch,
    /// The statuses of the commit, to GitHub.
    GithubStatuses,
    /// The comment at the pull request, to GitHub.
    GithubComment,
    /// The statuses of the commit, to GitLab.
    GitlabStatuses,
}

impl Destination {
    /// Returns its name for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::CodecovCoverage => "coverage to Codecov",
            Self::CodecovTests => "test results to Codecov",
            Self::ResultsBranch => "results branch",
            Self::GithubStatuses => "statuses to GitHub",
            Self::GithubComment => "comment to GitHub",
            Self::GitlabStatuses => "statuses to GitLab",
        }
    }

    /// Returns the name of the server behind it: if that is out of reach, it is for all of them.
    #[must_use]
    pub fn server(self) -> &'static str {
        match self {
            Self::CodecovCoverage | Self::CodecovTests => "codecov",
            Self::ResultsBranch => "git",
            Self::GithubStatuses | Self::GithubComment => "github",
            Self::GitlabStatuses => "gitlab",
        }
    }

    /// Returns the parts of the results that it is about.
    #[must_use]
    pub fn parts(self) -> &'static [Part] {
        match self {
            Self::CodecovCoverage => &[Part::Coverage],
            Self::CodecovTests => &[Part::Tests],
            Self::ResultsBranch
            | Self::GithubStatuses
            | Self::GithubComment
            | Self::GitlabStatuses => &Part::ALL,
        }
    }

    /// Returns whether it takes a part that is marked so.
    ///
    /// A filtered or dirty run says nothing about the commit. One that the infrastructure damaged does, but its figures must
    /// not be taken for the commit's. The results branch keeps everything, and looks at the marks itself.
    #[must_use]
    pub fn takes(self, marks: &[Mark]) -> bool {
        match self {
            Self::ResultsBranch => true,
            Self::CodecovCoverage | Self::CodecovTests => marks.is_empty(),
            Self::GithubStatuses | Self::GithubComment | Self::GitlabStatuses => marks
                .iter()
                .all(|mark| *mark == Mark::InfrastructureDamaged),
        }
    }

    /// Returns what tells one thing for this destination from another: commit, and the run of each part that it takes.
    /// `None` if there is nothing for it.
    #[must_use]
    pub fn thing(self, material: &Material) -> Option<String> {
        // Coverage that came to nothing leaves no report.
        if self == Self::CodecovCoverage && material.coverage.is_none() {
            return None;
        }
        let owners: Vec<String> = self
            .parts()
            .iter()
            .filter_map(|part| Some((part, material.owner(*part)?)))
            .filter(|(_, run)| self.takes(&run.marks))
            .map(|(part, run)| format!("{}={}", part.folder(), run.run))
            .collect();
        (!owners.is_empty()).then(|| {
            format!(
                "{} of {}: {}",
                self.name(),
                material.meta.commit,
                owners.join(" ")
            )
        })
    }
}

/// What is to go to some destinations, and what became of it so far: `item.json`, beside the artifacts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// The version of this document.
    pub schema_version: u32,
    /// Its name in the outbox.
    pub id: String,
    /// The commit that it is about.
    pub commit: String,
    /// When it came into the outbox.
    pub created_at: DateTime<Utc>,
    /// What the CI server said about the run.
    pub circumstances: Circumstances,
    /// The destinations that have not got it yet.
    pub pending: BTreeMap<Destination, Delivery>,
}

impl Item {
    /// The version of the document that is written.
    pub const SCHEMA_VERSION: u32 = 1;

    /// Returns whether it has waited for so long that nobody looks for it any more.
    #[must_use]
    pub fn is_stale(&self, now: DateTime<Utc>) -> bool {
        now - self.created_at > Self::PATIENCE
    }

    const PATIENCE: TimeDelta = TimeDelta::days(30);
}

/// What became of one delivery so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// How often it was tried.
    pub tries: u32,
    /// When it was tried last.
    pub tried_at: Option<DateTime<Utc>>,
    /// What went wrong then; nothing if the try was broken off.
    pub error: Option<String>,
}

impl Delivery {
    /// Notes that it is being tried: should nobody come to note the end, it may have arrived.
    pub fn begun(&mut self, now: DateTime<Utc>) {
        self.tries = self.tries.saturating_add(1);
        self.tried_at = Some(now);
        self.error = None;
    }

    /// Notes that the try came to nothing.
    pub fn failed(&mut self, error: String) {
        self.error = Some(error);
    }
}
