//! Looks at the machine. Every question is bounded in time, and none depends on the answer to another without need.

mod access;
mod host;
mod node;
mod scheduler;
mod storage;
mod tools;

use std::time::Duration;

use super::command;
use super::facts::{Facts, FolderFacts, Subject, Tools};
use crate::launch::Place;
use crate::process::{Output, ProcessError};

/// How long a command may take to answer.
const DEADLINE: Duration = Duration::from_secs(15);

/// Asks everything, side by side.
pub async fn all(subject: &Subject, place: Place) -> Facts {
    let machine = async {
        let slurm = scheduler::slurm(subject, place);
        let admitted = scheduler::admitted(subject, place);
        let node = node::ask(subject, place);
        tokio::join!(slurm, admitted, node)
    };
    let ((slurm, admitted, node), tools, folders, host, git) = tokio::join!(
        machine,
        tools::look(subject),
        storage::look(subject),
        host::look(subject),
        access::git(subject),
    );
    Facts {
        place,
        slurm,
        admitted,
        tools,
        folders,
        node,
        host,
        tokens: subject.tokens.iter().map(access::token).collect(),
        git,
    }
}

/// Asks about modules, compilers and MPI alone.
pub async fn tools(subject: &Subject) -> Tools {
    tools::look(subject).await
}

/// Asks about the folders alone, each of [`Subject::folders`] in their order.
pub async fn folders(subject: &Subject) -> Vec<FolderFacts> {
    storage::look(subject).await
}

/// Runs a command of the environment, bounded; what it left, or why it left nothing.
async fn ask(subject: &Subject, program: &str, args: &[&str]) -> Result<Output, ProcessError> {
    command(subject, program)
        .args(args)
        .deadline(DEADLINE)
        .output()
        .await
}

/// Returns the last line that says something.
fn last_line(text: &str) -> &str {
    let lines = text.lines().map(str::trim);
    lines
        .rev()
        .find(|line| !line.is_empty())
        .unwrap_or("it said nothing")
}
