//! The plan against the cluster: partitions, accounts, QOS and sizes that its steps ask for.

use std::collections::{BTreeMap, BTreeSet};

use super::listed;
use crate::config::{Memory, Walltime};
use crate::doctor::facts::{Facts, Subject};
use crate::doctor::finding::Finding;
use crate::launch::Place;
use crate::plan::Resources;
use crate::scheduler::SubmitError;
use crate::scheduler::slurm::{Cluster, Partition};

const CHECK: &str = "plan.fits";

pub(super) fn judge(subject: &Subject, facts: &Facts) -> Vec<Finding> {
    if facts.place != Place::Job || subject.steps.is_empty() {
        return Vec::new();
    }
    let mut problems = Problems::default();
    if let Some(Ok(cluster)) = &facts.slurm.cluster {
        for step in &subject.steps {
            for (saw, remedy) in misfits(&step.resources, cluster) {
                problems.add(saw, remedy, std::slice::from_ref(&step.name));
            }
        }
    }
    let mut starts = Vec::new();
    for ((names, _), answer) in subject.requests.iter().zip(&facts.admitted) {
        match answer {
            Ok(Some(estimate)) => starts.push(estimate.start),
            Err(SubmitError::Rejected { reason, help }) => {
                let fresh: Vec<String> = names
                    .iter()
                    .filter(|name| !problems.have(name))
                    .cloned()
                    .collect();
                let remedy = help.as_deref().unwrap_or("ask for something else");
                if !fresh.is_empty() {
                    problems.add(
                        format!("Slurm refuses: {reason}"),
                        remedy.to_owned(),
                        &fresh,
                    );
                }
            }
            Ok(None) | Err(_) => {}
        }
    }
    if problems.found.is_empty() {
        return vec![fits(
            subject.steps.len(),
            starts.iter().min(),
            starts.iter().max(),
        )];
    }
    problems.findings()
}

fn fits(
    steps: usize,
    first: Option<&chrono::DateTime<chrono::Utc>>,
    last: Option<&chrono::DateTime<chrono::Utc>>,
) -> Finding {
    let local = |time: &chrono::DateTime<chrono::Utc>| {
        let time = time.with_timezone(&chrono::Local);
        time.format("%Y-%m-%d %H:%M").to_string()
    };
    let when = match (first, last) {
        (Some(first), Some(last)) if local(first) != local(last) => {
            format!(
                "; alone each would start between {} and {}",
                local(first),
                local(last)
            )
        }
        (Some(first), _) => format!("; alone each would start at {}", local(first)),
        _ => String::new(),
    };
    let plural = if steps == 1 { "step asks" } else { "steps ask" };
    Finding::ok(
        CHECK,
        format!("{steps} {plural} for nothing that the cluster refuses{when}"),
    )
}

/// What is wrong, by what was seen, with the steps that it is wrong with.
#[derive(Default)]
struct Problems {
    found: BTreeMap<(String, String), Vec<String>>,
    steps: BTreeSet<String>,
}

impl Problems {
    fn add(&mut self, saw: String, remedy: String, steps: &[String]) {
        self.steps.extend(steps.iter().cloned());
        let entry = self.found.entry((saw, remedy)).or_default();
        entry.extend(steps.iter().cloned());
    }

    fn have(&self, step: &str) -> bool {
        self.steps.contains(step)
    }

    fn findings(self) -> Vec<Finding> {
        let finding = |((saw, remedy), steps): ((String, String), Vec<String>)| {
            Finding::error(CHECK, format!("{saw} ({})", listed(&steps)), remedy)
        };
        self.found.into_iter().map(finding).collect()
    }
}

fn misfits(asked: &Resources, cluster: &Cluster) -> Vec<(String, String)> {
    let mut wrong = accounts(asked, cluster);
    // A list such as `a,b` leaves the choice to Slurm.
    let partition = match asked.partition.as_deref() {
        Some(list) if list.contains(',') => return wrong,
        Some(name) => {
            let found = cluster.partitions.iter().find(|it| it.name == name);
            if found.is_none() && !cluster.partitions.is_empty() {
                wrong.push((
                    format!("there is no partition `{name}`"),
                    format!("set `partition` to one of {}", partitions(cluster)),
                ));
            }
            found
        }
        None => {
            let found = cluster.default_partition();
            if found.is_none() && !cluster.partitions.is_empty() {
                wrong.push((
                    "no partition is asked for, and the cluster has no default".to_owned(),
                    format!(
                        "set `partition` of [scheduler] to one of {}",
                        partitions(cluster)
                    ),
                ));
            }
            found
        }
    };
    if let Some(partition) = partition {
        wrong.extend(beyond(asked, partition));
    }
    wrong
}

fn partitions(cluster: &Cluster) -> String {
    let names = cluster.partitions.iter().map(|it| it.name.clone());
    listed(&names.collect::<Vec<_>>())
}

fn accounts(asked: &Resources, cluster: &Cluster) -> Vec<(String, String)> {
    let mut wrong = Vec::new();
    let own = cluster.associations.iter();
    let own: Vec<_> = own
        .filter(|it| cluster.name.as_ref().is_none_or(|name| *name == it.cluster))
        .collect();
    if own.is_empty() {
        return wrong;
    }
    let unique = |names: BTreeSet<&String>| listed(&names.into_iter().cloned().collect::<Vec<_>>());
    if let Some(account) = &asked.account
        && !own
            .iter()
            .any(|it| it.account.eq_ignore_ascii_case(account))
    {
        let names = unique(own.iter().map(|it| &it.account).collect());
        wrong.push((
            format!("you have no account `{account}`"),
            format!("set `account` of [scheduler] to one of {names}"),
        ));
    }
    let has_qos = |qos: &str| own.iter().any(|it| it.qos.iter().any(|name| name == qos));
    if let Some(qos) = &asked.qos
        && own.iter().any(|it| !it.qos.is_empty())
        && !has_qos(qos)
    {
        let names = unique(own.iter().flat_map(|it| &it.qos).collect());
        wrong.push((
            format!("you may not use the QOS `{qos}`"),
            format!("set `qos` to one of {names}"),
        ));
    }
    wrong
}

fn beyond(asked: &Resources, partition: &Partition) -> Vec<(String, String)> {
    let name = &partition.name;
    let mut wrong = Vec::new();
    let mut add = |saw: String, remedy: &str| wrong.push((saw, remedy.to_owned()));
    if !partition.up {
        add(
            format!("partition `{name}` is not up: jobs wait in it"),
            "choose another `partition`, or wait",
        );
    }
    if let Some(account) = &asked.account
        && !partition.accounts.is_empty()
        && !partition.accounts.contains(account)
    {
        add(
            format!("account `{account}` may not use partition `{name}`"),
            "choose another `account` or `partition`",
        );
    }
    let time = asked.time + asked.margin;
    if let Some(most) = partition.max_time.filter(|most| *most < time) {
        add(
            format!(
                "{} (`time` and `margin`) is more than partition `{name}` allows, {}",
                Walltime::from_secs(time.as_secs()),
                Walltime::from_secs(most.as_secs())
            ),
            "lower `time` or `margin`, or choose another `partition`",
        );
    }
    let nodes = asked.least_nodes();
    let most = partition.max_nodes.unwrap_or(u32::MAX).min(partition.nodes);
    if nodes > most {
        add(
            format!("{nodes} nodes are more than partition `{name}` gives, {most}"),
            "lower `nodes` or `ranks`, or choose another `partition`",
        );
    }
    let cpus = partition.shapes.iter().map(|shape| shape.cpus).max();
    let each = asked
        .ranks_per_node
        .unwrap_or(1)
        .saturating_mul(asked.cpus_per_rank.unwrap_or(1));
    if let Some(cpus) = cpus.filter(|cpus| each > *cpus) {
        add(
            format!(
                "{each} processors on a node are more than nodes of partition `{name}` have, {cpus}"
            ),
            "lower `ranks_per_node` or `cpus_per_rank`",
        );
    }
    let memory = partition.shapes.iter().map(|shape| shape.memory).max();
    if let (Some(asked), Some(most)) = (asked.memory, memory)
        && asked.bytes() > most
    {
        add(
            format!(
                "{} a node are more than nodes of partition `{name}` have, {}",
                asked.rounded(),
                Memory::from_bytes(most).rounded()
            ),
            "lower `memory`",
        );
    }
    wrong
}
