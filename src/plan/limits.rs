//! What the site grants: a step that asks for more is refused, the others go on.

use std::collections::HashMap;
use std::time::Duration;

use super::{Build, Disposition, JobPlace, Place, Resources, Step, Strategy, group};
use crate::config::{Limits, Site, Walltime};

/// Why a step is refused, and what to do about it.
struct Refusal {
    reason: String,
    help: String,
}

impl Refusal {
    fn beyond(limit: &str, reason: String) -> Self {
        let help =
            format!("ask for less, or raise `{limit}` of `[scheduler.limits]` in a trusted file");
        Self { reason, help }
    }
}

/// Refuses the steps that go beyond the site's limits, or whose build would.
pub(super) fn apply(steps: &mut [Step], builds: &[Build], coverage: &Place, site: &Site) {
    let limits = &site.scheduler.limits;
    let own_partition = site.scheduler.partition.as_deref();
    let builds: HashMap<&str, &Build> = builds.iter().map(|it| (it.id.as_str(), it)).collect();
    let mut spent = 0.0;
    let mut jobs = Jobs::default();
    if let Place::Job(job) = coverage {
        spent += job.node_hours();
        jobs.count += 1;
    }
    for step in steps.iter_mut().filter(|step| step.runs()) {
        let hours = step.resources.node_hours();
        let build = builds.get(step.build.as_str());
        let refusal = no_room(&step.resources)
            .or_else(|| beyond(&step.resources, limits, own_partition))
            .or_else(|| build_beyond(build?, limits, own_partition))
            .or_else(|| beyond_budget(spent, hours, limits))
            .or_else(|| jobs.beyond(step, limits));
        match refusal {
            None => {
                spent += hours;
                jobs.add(step);
            }
            Some(Refusal { reason, help }) => {
                step.disposition = Disposition::Refuse { reason, help };
            }
        }
    }
}

fn no_room(resources: &Resources) -> Option<Refusal> {
    let (nodes, each) = resources.nodes.zip(resources.ranks_per_node)?;
    let room = u64::from(nodes) * u64::from(each);
    let ranks = resources.ranks;
    (u64::from(ranks) > room).then(|| Refusal {
        reason: format!("{ranks} ranks do not fit {nodes} nodes of {each} ranks"),
        help: "raise `nodes` or `ranks_per_node`".to_owned(),
    })
}

fn beyond(resources: &Resources, limits: &Limits, own_partition: Option<&str>) -> Option<Refusal> {
    let nodes = resources.least_nodes();
    if let Some(most) = limits.max_nodes.filter(|most| nodes > *most) {
        let reason = format!("it asks for {nodes} nodes, where at most {most} are granted");
        return Some(Refusal::beyond("max_nodes", reason));
    }
    let ranks = resources.ranks;
    if let Some(most) = limits.max_ranks.filter(|most| ranks > *most) {
        let reason = format!("it asks for {ranks} ranks, where at most {most} are granted");
        return Some(Refusal::beyond("max_ranks", reason));
    }
    let partition = resources.partition.as_deref();
    too_long(resources.time, limits).or_else(|| foreign(partition, limits, own_partition))
}

fn build_beyond(build: &Build, limits: &Limits, own_partition: Option<&str>) -> Option<Refusal> {
    let Place::Job(job) = &build.place else {
        return None;
    };
    let partition = job.partition.as_deref();
    let refusal =
        too_long(job.time, limits).or_else(|| foreign(partition, limits, own_partition))?;
    Some(Refusal {
        reason: format!("its build `{}`: {}", build.name, refusal.reason),
        help: refusal.help,
    })
}

/// Returns in what a job beside those of the steps goes beyond the limits.
pub(super) fn job_beyond(job: &JobPlace, site: &Site) -> Option<String> {
    let limits = &site.scheduler.limits;
    let own = site.scheduler.partition.as_deref();
    let refusal = too_long(job.time, limits)
        .or_else(|| foreign(job.partition.as_deref(), limits, own))
        .or_else(|| beyond_budget(0.0, job.node_hours(), limits))?;
    Some(refusal.reason)
}

fn too_long(time: Duration, limits: &Limits) -> Option<Refusal> {
    let most = limits.max_time.filter(|most| time > most.duration())?;
    let time = Walltime::from_secs(time.as_secs());
    let reason = format!("it asks for a time of {time}, where at most {most} is granted");
    Some(Refusal::beyond("max_time", reason))
}

/// Refuses a partition that is not granted. The site's own default always is.
fn foreign(asked: Option<&str>, limits: &Limits, own: Option<&str>) -> Option<Refusal> {
    let allowed = limits.partitions.as_deref()?;
    let asked = asked.filter(|asked| own != Some(*asked))?;
    // Slurm takes a list of partitions, of which each must be granted.
    let granted = |name: &&str| allowed.iter().any(|allowed| allowed == name);
    let refused = asked.split(',').find(|name| !granted(name))?;
    let reason = format!("it asks for the partition `{refused}`, which is not granted");
    Some(Refusal::beyond("partitions", reason))
}

/// The jobs of the steps that are granted: a pack is one, as long as it need not be split.
#[derive(Default)]
struct Jobs {
    count: u32,
    packs: Vec<Step>,
}

impl Jobs {
    fn is_packed(&self, step: &Step) -> bool {
        self.packs.iter().any(|pack| group::packs_with(pack, step))
    }

    fn beyond(&self, step: &Step, limits: &Limits) -> Option<Refusal> {
        let most = limits.max_jobs.filter(|most| self.count >= *most)?;
        if self.is_packed(step) {
            return None;
        }
        let reason = format!("the run has the {most} jobs that are granted without it");
        Some(Refusal::beyond("max_jobs", reason))
    }

    fn add(&mut self, step: &Step) {
        if self.is_packed(step) {
            return;
        }
        self.count += 1;
        if step.strategy == Strategy::Packed {
            self.packs.push(step.clone());
        }
    }
}

fn beyond_budget(spent: f64, hours: f64, limits: &Limits) -> Option<Refusal> {
    let most = limits.max_node_hours.filter(|most| spent + hours > *most)?;
    let reason = format!(
        "it asks for {hours:.2} node-hours, where {:.2} of the run's {most} are left",
        most - spent
    );
    Some(Refusal::beyond("max_node_hours", reason))
}
