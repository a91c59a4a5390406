//! What a run would ask of Slurm with each strategy: jobs, node-hours, and how long the largest job would wait.

use std::path::Path;
use std::time::Duration;

use chrono::Utc;
use serde_json::{Value, json};

use super::source::Planned;
use crate::build::environment::scrub;
use crate::build::secrets::Secrets;
use crate::config::Walltime;
use crate::drive::folder::RunFolder;
use crate::drive::history::History;
use crate::drive::{grounds, request};
use crate::plan::Strategy;
use crate::plan::group::{Context, Group, group};
use crate::scheduler::slurm::Cluster;
use crate::scheduler::{JobRequest, Slurm};

/// A plan is printed for people who wait for it.
const DEADLINE: Duration = Duration::from_secs(10);

/// What one strategy comes to.
#[derive(Debug)]
pub(super) struct Compared {
    strategy: Strategy,
    /// What Slurm counts as jobs: each task of an array is one.
    jobs: usize,
    /// How often something is submitted.
    submissions: usize,
    node_hours: f64,
    /// How long the largest job would wait if it were submitted now, where Slurm says.
    wait: Option<Duration>,
}

/// Compares the strategies for all steps that run, whatever each asks for.
pub(super) async fn compare(
    planned: &Planned,
    common: &request::Common,
    state: &Path,
    max_in_flight: u32,
) -> Vec<Compared> {
    let slurm = Slurm::new(scrub(std::env::vars_os(), &Secrets::default()), DEADLINE);
    let cluster = slurm.outline().await.unwrap_or_default();
    let history = History::read(state, &planned.key);
    let mut compared = Vec::new();
    for strategy in [Strategy::Jobs, Strategy::Array, Strategy::Packed] {
        let groups = groups(planned, strategy, &cluster, &history);
        let steps = &planned.plan.steps;
        let largest = groups.iter().max_by(|one, other| {
            let hours = |group: &Group| {
                let count = group.steps().len() as f64;
                match group {
                    Group::Pack(_) | Group::Job(_) => group.node_hours(steps),
                    Group::Array(_) => group.node_hours(steps) / count,
                }
            };
            hours(one).total_cmp(&hours(other))
        });
        let wait = match largest {
            Some(group) => wait(&slurm, &request_of(planned, common, group, max_in_flight)).await,
            None => None,
        };
        compared.push(Compared {
            strategy,
            jobs: groups
                .iter()
                .map(|group| match group {
                    Group::Array(tasks) => tasks.len(),
                    Group::Job(_) | Group::Pack(_) => 1,
                })
                .sum(),
            submissions: groups.len(),
            node_hours: groups.iter().map(|group| group.node_hours(steps)).sum(),
            wait,
        });
    }
    compared
}

fn groups(
    planned: &Planned,
    strategy: Strategy,
    cluster: &Cluster,
    history: &History,
) -> Vec<Group> {
    let steps = &planned.plan.steps;
    let running: Vec<usize> = (0..steps.len()).filter(|&at| steps[at].runs()).collect();
    let context = Context {
        grounds: &|partition| grounds(cluster, partition),
        elapsed: &|step| history.expected(&step.name),
        max_array: cluster.max_array_size.unwrap_or(1),
    };
    group(steps, &running, |_| strategy, &context)
}

fn request_of(
    planned: &Planned,
    common: &request::Common,
    group: &Group,
    max_in_flight: u32,
) -> JobRequest {
    let folder = RunFolder::existing(&planned.workspace, "RUN-ID");
    let first = &planned.plan.steps[group.steps()[0]];
    let made = request::Made::default();
    let alone = || request::attempt(common, &folder, first, 1, &made, &[]).request;
    match group {
        Group::Job(_) => alone(),
        Group::Array(tasks) => {
            request::array(common, &folder, 1, alone(), tasks.len(), max_in_flight)
        }
        Group::Pack(pack) => request::pack(common, &folder, 1, pack, first),
    }
}

/// Asks how long a job would wait. Nothing is submitted, but sbatch wants to read a script.
async fn wait(slurm: &Slurm, request: &JobRequest) -> Option<Duration> {
    let script = tempfile::Builder::new().suffix(".sh").tempfile().ok()?;
    fs_err::write(script.path(), "#!/bin/sh\n").ok()?;
    let request = JobRequest {
        script: script.path().to_str()?.into(),
        cwd: "/".into(),
        ..request.clone()
    };
    let estimate = slurm.estimate(&request).await.ok()??;
    Some((estimate.start - Utc::now()).to_std().unwrap_or_default())
}

/// Returns a line for each strategy.
pub(super) fn lines(compared: &[Compared]) -> Vec<String> {
    let line = |it: &Compared| {
        let plural = |count: usize| if count == 1 { "" } else { "s" };
        let wait = match it.wait {
            None => "Slurm does not say when the largest would start".to_owned(),
            Some(wait) if wait < Duration::from_mins(1) => "the largest would start now".to_owned(),
            Some(wait) => format!(
                "the largest would start in {}",
                Walltime::from_secs(wait.as_secs())
            ),
        };
        format!(
            "with   {:6}  {} job{} by {} submission{}, {:.2} node-hours at most, {wait}",
            it.strategy.to_string(),
            it.jobs,
            plural(it.jobs),
            it.submissions,
            plural(it.submissions),
            it.node_hours,
        )
    };
    compared.iter().map(line).collect()
}

/// Returns the same for programs.
pub(super) fn document(compared: &[Compared]) -> Value {
    let one = |it: &Compared| {
        json!({
            "strategy": it.strategy.to_string(),
            "jobs": it.jobs,
            "submissions": it.submissions,
            "node_hours": it.node_hours,
            "expected_wait_seconds": it.wait.map(|wait| wait.as_secs()),
        })
    };
    compared.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_a_strategy_costs() {
        let compared = |strategy, jobs, submissions, wait| Compared {
            strategy,
            jobs,
            submissions,
            node_hours: 6.66,
            wait,
        };
        let all = [
            compared(Strategy::Jobs, 200, 200, None),
            compared(Strategy::Array, 200, 1, Some(Duration::ZERO)),
            compared(Strategy::Packed, 1, 1, Some(Duration::from_mins(10))),
        ];
        insta::assert_snapshot!(lines(&all).join("\n"), @"
        with   jobs    200 jobs by 200 submissions, 6.66 node-hours at most, Slurm does not say when the largest would start
        with   array   200 jobs by 1 submission, 6.66 node-hours at most, the largest would start now
        with   packed  1 job by 1 submission, 6.66 node-hours at most, the largest would start in 10m
        ");
    }
}
