//! What stands in the way of a run on this machine, found before the run: findings, each with what was seen and what to do.
//!
//! [`probe`] looks and judges nothing, [`judge`] judges and looks at nothing; between them stand the [`facts`]. Every probe
//! is bounded in time and they run side by side, so a service that hangs costs its own answer alone. What a run of this
//! project asks of the machine comes as a [`Subject`]; without an `hpc.toml` it is what the defaults ask for. Nothing that is
//! looked at is changed: files that a probe needs are its own, and gone when it ends.

pub mod facts;
pub mod finding;
pub mod judge;
pub mod probe;

pub use facts::{Facts, Subject};
pub use finding::{Finding, Level, Report};

use crate::launch::Place;
use crate::process::Command;

/// Looks at everything and judges it.
pub async fn examine(subject: &Subject, place: Place) -> Report {
    // Boxed: with all its probes side by side the future is large.
    let facts = Box::pin(probe::all(subject, place)).await;
    Report {
        findings: judge::all(subject, &facts),
    }
}

/// A command in the environment that a run would hand on.
fn command(subject: &Subject, program: &str) -> Command {
    Command::new(program).environment(subject.inherited.iter().map(|(key, value)| (key, value)))
}
