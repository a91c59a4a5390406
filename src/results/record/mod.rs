//! The documents on disk, `schema_version` 1. These types are made for the files and used for nothing else.
//!
//! Documents may gain keys and never lose one: a reader ignores keys that it does not know, and keys that came after
//! the first release have a default. A value that is not known is `null`, never an invented one. Paths in a document are
//! relative to the document.

mod benchmarks;
mod conditions;
mod coverage;
mod history;
mod meta;
mod outcome;
mod results;
mod run;
mod steps;

use camino::{Utf8Path, Utf8PathBuf};
use chrono::{DateTime, SubsecRound, Utc};
use serde::{Deserialize, Serialize};

pub use benchmarks::{
    BaselineRecord, BaselineSource, BenchmarkRecord, BenchmarksSummary, Better, Interval,
    Normalised, ReferenceRecord, Spread,
};
pub use conditions::{Binding, Conditions, NodeConditions, StepLaunch};
pub use coverage::{
    CoverageSummary, FileCoverage, Fix, LeftOut, Loss, Network, ObjectEntry, ObjectList,
    ProfileTotals, Ratio, Sources, StrayProfile, UncountedObject,
};
pub use history::{Accepted, Before, CoverageFigure, HistoryEntry};
#[cfg(test)]
pub(crate) use meta::example as meta_example;
pub(crate) use meta::ranges;
pub use meta::{
    Binary, Compiler, Container, Driver, DyingRanks, Energy, Gpu, Health, Launch, Meta, Mpi,
    NodeInfo, ProfileElsewhere, ProfileProblem, ProfileState, ProfileStorage, RankGroup,
    RankLedger, RunMeta, Slurm, Source, StepLedger, StorageKind, Toolchain, Way,
};
pub use outcome::RunStatus;

pub use crate::scheduler::{Outcome, Status};
pub use results::{BenchmarksPart, CoveragePart, Hpc, HpcResults, TestsPart};
pub use run::{BuildRecord, JobRecord, Note, NoteKind, RunEntry, RunParts, RunStep};

pub use steps::{
    Disagreement, Failing, HarnessRecord, KeptFiles, RanksSaying, StepRecord, SuiteCounts,
    TestsSummary,
};

/// The version that every document states.
pub const SCHEMA_VERSION: u32 = 1;

/// A part of the results that a run can replace on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// `tests/`.
    Tests,
    /// `coverage/`.
    Coverage,
    /// `benchmarks/`.
    Benchmarks,
}

impl Part {
    /// Every part.
    pub const ALL: [Self; 3] = [Self::Tests, Self::Coverage, Self::Benchmarks];

    /// Returns the name of the folder below `artifacts/`.
    #[must_use]
    pub fn folder(self) -> &'static str {
        match self {
            Self::Tests => "tests",
            Self::Coverage => "coverage",
            Self::Benchmarks => "benchmarks",
        }
    }
}

/// Why a run must not move `latest`, badges or Codecov.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// Only some of the steps were asked for.
    Filtered,
    /// The work tree had uncommitted changes.
    Dirty,
    /// The infrastructure kept a step from being proved.
    InfrastructureDamaged,
}

impl Mark {
    /// Returns the mark as people read it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Filtered => "filtered",
            Self::Dirty => "dirty",
            Self::InfrastructureDamaged => "infrastructure-damaged",
        }
    }
}

/// Returns a path that leads from `folder` to `target`; both are relative to the same place, or both absolute.
///
/// An absolute target seen from a relative folder stays as it is.
#[must_use]
pub fn path_from(folder: &Utf8Path, target: &Utf8Path) -> Utf8PathBuf {
    if folder.is_absolute() != target.is_absolute() {
        return target.to_owned();
    }
    let common = folder
        .components()
        .zip(target.components())
        .take_while(|(a, b)| a == b)
        .count();
    let up = folder.components().skip(common).map(|_| "..");
    let down = target
        .components()
        .skip(common)
        .map(|component| component.as_str());
    up.chain(down).collect()
}

/// Times as RFC 3339 in UTC to the second, with `Z`.
pub(crate) mod utc_seconds {
    use super::{DateTime, Deserialize, SubsecRound, Utc};
    use serde::{Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(time: &DateTime<Utc>, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&text(time))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<DateTime<Utc>, D::Error> {
        DateTime::<Utc>::deserialize(from)
    }

    pub(super) fn text(time: &DateTime<Utc>) -> String {
        time.trunc_subsecs(0)
            .to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
    }

    /// The same where there may be none.
    pub(crate) mod option {
        use super::{DateTime, Deserialize, Utc, text};
        use serde::{Deserializer, Serializer};

        #[expect(clippy::ref_option, reason = "serde hands the field as it stands")]
        pub(crate) fn serialize<S: Serializer>(
            time: &Option<DateTime<Utc>>,
            to: S,
        ) -> Result<S::Ok, S::Error> {
            match time {
                Some(time) => to.serialize_some(&text(time)),
                None => to.serialize_none(),
            }
        }

        pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
            from: D,
        ) -> Result<Option<DateTime<Utc>>, D::Error> {
            Option::<DateTime<Utc>>::deserialize(from)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_from_a_document_to_a_file() {
        let check = |folder: &str, target: &str, expected: &str| {
            assert_eq!(
                path_from(folder.into(), target.into()),
                expected,
                "{folder} -> {target}"
            );
        };
        check(
            "",
            "artifacts/coverage/lcov.info",
            "artifacts/coverage/lcov.info",
        );
        check(
            "artifacts/runs",
            "artifacts/coverage/lcov.info",
            "../coverage/lcov.info",
        );
        check(
            "artifacts/tests",
            "runs/7/halo.log",
            "../../runs/7/halo.log",
        );
        check(
            "artifacts/tests",
            "../big/7/halo.log",
            "../../../big/7/halo.log",
        );
        check("artifacts/tests", "/scratch/halo.log", "/scratch/halo.log");
        check(
            "/home/ada/hpc-ci",
            "/scratch/runs/7/a.log",
            "../../../scratch/runs/7/a.log",
        );
    }

    #[test]
    fn a_document_with_unknown_keys_is_read() {
        let text = r#"{"schema_version":1,"commit":"c","worst_regression_pct":null,"benchmarks":{},"weather":"fine"}"#;
        let read = serde_json::from_str::<BenchmarksSummary>(text)
            .expect("it is a summary with a key more");
        assert_eq!(read.status, None);
    }
}
