//! Slurm: what its client, controller and books say, and what they would take.

use std::time::Instant;

use chrono::Utc;

use super::{DEADLINE, ask, last_line};
use crate::doctor::facts::{Slurm, Subject};
use crate::launch::Place;
use crate::process::ProcessError;
use crate::scheduler::{Estimate, QueryError, Slurm as Client, SubmitError};

/// How many kinds of requests are tried; each asks the controller to plan the queue.
const TRIED: usize = 8;

pub(super) async fn slurm(subject: &Subject, place: Place) -> Slurm {
    let client = match ask(subject, "sbatch", &["--version"]).await {
        Ok(output) if output.status.success() => output.stdout_text().trim().to_owned(),
        Ok(output) => {
            let said = output.stderr_text();
            return Slurm {
                broken: Some(last_line(&said).trim_start_matches("sbatch: ").to_owned()),
                ..Slurm::default()
            };
        }
        Err(ProcessError::Start { .. }) => return Slurm::default(),
        Err(error) => {
            return Slurm {
                broken: Some(error.to_string()),
                ..Slurm::default()
            };
        }
    };
    if place == Place::Here {
        return Slurm {
            client: Some(client),
            ..Slurm::default()
        };
    }
    let slurm = Client::new(subject.inherited.iter().cloned(), DEADLINE);
    let timed = async {
        let started = Instant::now();
        let cluster = slurm.probe().await;
        (cluster, started.elapsed())
    };
    let ((cluster, took), books, clusters) = tokio::join!(timed, books(&slurm), clusters(subject));
    Slurm {
        client: Some(client),
        cluster: Some(cluster),
        took,
        books: Some(books),
        clusters,
        ..Slurm::default()
    }
}

/// Asks the books after a job that is none: an answer is an answer.
async fn books(slurm: &Client) -> Result<(), QueryError> {
    let Ok(nobody) = "1".parse() else {
        return Ok(());
    };
    slurm.record(&[nobody], Utc::now()).await.map(drop)
}

async fn clusters(subject: &Subject) -> Vec<String> {
    let args = ["-n", "-P", "show", "clusters", "format=Cluster"];
    let Ok(output) = ask(subject, "sacctmgr", &args).await else {
        return Vec::new();
    };
    let text = output.stdout_text();
    let names = text.lines().map(str::trim).filter(|name| !name.is_empty());
    if output.status.success() {
        names.map(str::to_owned).collect()
    } else {
        Vec::new()
    }
}

/// Has Slurm say of each kind of request whether and when it would start; of many kinds, of the first alone.
pub(super) async fn admitted(
    subject: &Subject,
    place: Place,
) -> Vec<Result<Option<Estimate>, SubmitError>> {
    if place != Place::Job {
        return Vec::new();
    }
    // sbatch reads the script before it asks.
    let Ok(script) = tempfile::Builder::new().suffix(".sh").tempfile() else {
        return Vec::new();
    };
    let Some(path) = script.path().to_str() else {
        return Vec::new();
    };
    if fs_err::write(script.path(), "#!/bin/sh\n").is_err() {
        return Vec::new();
    }
    let slurm = Client::new(subject.inherited.iter().cloned(), DEADLINE);
    let mut answers = Vec::new();
    for (_, request) in subject.requests.iter().take(TRIED) {
        let mut request = request.clone();
        request.script = path.into();
        let answer = slurm.estimate(&request).await;
        let silent = matches!(&answer, Err(error) if error.may_pass_later());
        answers.push(answer);
        // A controller that does not answer once need not be asked again.
        if silent {
            break;
        }
    }
    answers
}
