//! What a run leaves behind: the JSON documents, the `JUnit` file, the summary on the terminal, and their place on disk.
//!
//! [`FinishedRun`] is what the driver hands in. From it, pure functions make the documents ([`artifact`] from
//! [`summary`], [`benchmark`] and [`junit`]) and the [`text`] for people; [`picture`] says what an earlier run still
//! contributes; and [`store`], the one edge of this room, writes the set so that it appears whole or not at all. The
//! shapes on disk are in [`record`]; JSON Schemas of them stand in `docs/schema/`, and `docs/results.md` explains them.
//!
//! [`reports`] reads what test programs say of their tests. This room does not judge (gates do) and sends nothing anywhere.

pub mod artifact;
pub mod benchmark;
pub(crate) mod clean;
pub mod compare;
mod finished;
pub mod history;
pub mod junit;
pub mod picture;
pub mod record;
pub mod reports;
#[cfg(test)]
mod schema;
pub mod store;
pub mod summary;
pub(crate) mod table;
pub mod text;
pub mod trend;
mod units;

use finished::REASON;
#[cfg(test)]
pub(crate) use finished::example as finished_example;
pub use finished::{
    BenchmarkInput, CoverageFigures, EarlierAttempt, FinishedRun, PartLogs, StepKind, StepResult,
};
