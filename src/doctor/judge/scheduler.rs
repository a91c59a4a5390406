//! Slurm itself: whether it answers, what it forgets and hides, how much it takes.

use std::time::Duration;

use super::listed;
use crate::config::SchedulerKind;
use crate::doctor::facts::{Facts, Slurm, Subject};
use crate::doctor::finding::Finding;
use crate::launch::Place;
use crate::plan::Strategy;
use crate::scheduler::QueryError;
use crate::scheduler::slurm::Cluster;

/// A controller that forgets sooner may have forgotten a job before it is asked again.
const SHORT_MEMORY: Duration = Duration::from_mins(1);

pub(super) fn judge(subject: &Subject, facts: &Facts) -> Vec<Finding> {
    let mut findings = vec![place(subject, facts)];
    if facts.place == Place::Here && subject.kind == SchedulerKind::Local {
        return findings;
    }
    match &facts.slurm.cluster {
        Some(Ok(cluster)) => {
            findings.push(answers(&facts.slurm, cluster));
            findings.push(books(&facts.slurm, cluster));
            findings.extend(habits(&facts.slurm, cluster));
            findings.extend(capacity(subject, cluster));
            // That there are no books was said.
            let unanswered = cluster
                .unanswered
                .iter()
                .filter(|error| cluster.accounting || !is_about_books(error));
            findings.extend(unanswered.map(|error| {
                Finding::warning(
                    "scheduler.questions",
                    error.to_string(),
                    "try again later; what it would have told is not checked here",
                )
            }));
        }
        Some(Err(error)) => findings.push(silent(facts.place, error)),
        None => {}
    }
    findings
}

/// Whether only a cluster with accounting could have answered.
fn is_about_books(error: &QueryError) -> bool {
    match error {
        QueryError::NoAccounting => true,
        QueryError::NotInstalled { command }
        | QueryError::Unreachable { command, .. }
        | QueryError::Failed { command, .. } => command == "sacctmgr",
    }
}

fn place(subject: &Subject, facts: &Facts) -> Finding {
    const CHECK: &str = "scheduler.place";
    let client = facts.slurm.client.is_some();
    if let (Some(why), false) = (&facts.slurm.broken, subject.kind == SchedulerKind::Local) {
        let saw = format!("`sbatch` is installed and does not work: {why}");
        let remedy = "try `sbatch --version` by hand; SLURM_CONF, or the module that provides Slurm, may name the wrong slurm.conf";
        return match facts.place {
            Place::Here => Finding::warning(
                CHECK,
                format!("{saw}; steps run on this machine, under mpiexec"),
                remedy,
            ),
            Place::Job | Place::Allocation => Finding::error(CHECK, saw, remedy),
        };
    }
    match (facts.place, subject.kind) {
        (Place::Job, _) if !client => Finding::error(
            CHECK,
            "`kind = \"slurm\"` is asked for, and there is no `sbatch` in PATH",
            "load the module that provides the commands of Slurm, or set `kind = \"local\"` in [scheduler]",
        ),
        (Place::Job, _) => Finding::ok(CHECK, "steps become Slurm jobs"),
        (Place::Allocation, _) if !client => Finding::error(
            CHECK,
            "steps are to run inside an allocation, and there are no commands of Slurm in PATH",
            "load the module that provides them, or set `kind = \"local\"` in [scheduler]",
        ),
        (Place::Allocation, _) => Finding::ok(CHECK, "steps are job steps of this allocation"),
        (Place::Here, SchedulerKind::Local) => Finding::ok(
            CHECK,
            "steps run on this machine, as `kind = \"local\"` asks for",
        ),
        (Place::Here, _) if client => Finding::warning(
            CHECK,
            "`sbatch` is installed and belongs to no cluster: steps run on this machine, under mpiexec",
            "load the module that provides the commands of Slurm, or export SLURM_CONF=/path/to/slurm.conf; `scontrol ping` shows \
             when that is right",
        ),
        (Place::Here, _) => Finding::note(
            CHECK,
            "there is no Slurm here: steps run on this machine, under mpiexec",
        )
        .remedy("on a cluster, load the module that provides the commands of Slurm"),
    }
}

fn silent(place: Place, error: &QueryError) -> Finding {
    const CHECK: &str = "scheduler.answers";
    let remedy = match (error, place) {
        (QueryError::Unreachable { .. }, Place::Job) => {
            "`scontrol ping` shows when it is back; a run that is started now waits for it"
        }
        (QueryError::Unreachable { .. }, _) => "`scontrol ping` shows when it is back",
        _ => "try `scontrol show config` by hand",
    };
    Finding::error(CHECK, error.to_string(), remedy)
}

fn answers(slurm: &Slurm, cluster: &Cluster) -> Finding {
    const CHECK: &str = "scheduler.answers";
    let version = cluster.version.as_deref().unwrap_or("of unknown version");
    let name = cluster.name.as_deref().unwrap_or("without a name");
    let saw = format!(
        "Slurm {version}, cluster `{name}`, answered in {:.2} s",
        slurm.took.as_secs_f64()
    );
    if slurm.took > Duration::from_secs(5) {
        return Finding::warning(
            CHECK,
            saw,
            "the controller is busy: fewer and larger jobs help (`strategy = \"array\"` or `\"packed\"`)",
        );
    }
    Finding::ok(CHECK, saw)
}

fn books(slurm: &Slurm, cluster: &Cluster) -> Finding {
    const CHECK: &str = "scheduler.accounting";
    let age = cluster.min_job_age.map_or_else(
        || "an unknown time".to_owned(),
        |age| format!("{} s", age.as_secs()),
    );
    if !cluster.accounting {
        let saw = format!(
            "this cluster keeps no accounting, and its controller forgets ended jobs after {age}: a job that ended while nobody \
             asked counts as lost, whatever its exit record says"
        );
        let remedy = if forgets_soon(cluster) {
            "keep the driver running until the run ends (tmux, `nohup hpc-ci &`): `--detach` and `resume` come too late here; \
             ask the operators for accounting, or for MinJobAge=300"
        } else {
            "keep the driver running until the run ends, or come back by `hpc-ci resume` within that time"
        };
        return Finding::warning(CHECK, saw, remedy);
    }
    match &slurm.books {
        Some(Ok(())) | None => Finding::ok(CHECK, "`sacct` answers"),
        Some(Err(error)) => Finding::warning(
            CHECK,
            format!("{error}; its controller forgets ended jobs after {age}"),
            "try `sacct` by hand; a run goes on without, but a job that ended while nobody asked counts as lost",
        ),
    }
}

fn forgets_soon(cluster: &Cluster) -> bool {
    cluster.min_job_age.is_some_and(|age| age < SHORT_MEMORY)
}

fn habits(slurm: &Slurm, cluster: &Cluster) -> Vec<Finding> {
    let mut findings = Vec::new();
    // Without accounting it was said already, and matters more.
    let short = cluster
        .min_job_age
        .filter(|_| cluster.accounting && forgets_soon(cluster));
    if let Some(age) = short {
        findings.push(Finding::note(
            "scheduler.min_job_age",
            format!(
                "the controller forgets ended jobs after {} s (MinJobAge); how they ended is then read from accounting",
                age.as_secs()
            ),
        ));
    }
    let hidden = |what: &str| cluster.private.iter().any(|it| it == what);
    if hidden("jobs") {
        findings.push(Finding::note(
            "scheduler.private",
            "`squeue` hides the jobs of other users (PrivateData): your own are seen, what they wait behind is not",
        ));
    }
    if let Some(mode) = cluster
        .preempt_mode
        .as_deref()
        .filter(|mode| *mode != "OFF")
    {
        findings.push(Finding::note(
            "scheduler.preemption",
            format!("jobs may have to make way for others (PreemptMode {mode})"),
        ));
    }
    if !cluster.enforces_limits {
        findings.push(Finding::note(
            "scheduler.limits",
            "requests beyond a partition's limits are accepted and would wait for ever (EnforcePartLimits); such jobs are cancelled and told",
        ));
    }
    let others: Vec<String> = slurm
        .clusters
        .iter()
        .filter(|name| Some(*name) != cluster.name.as_ref())
        .cloned()
        .collect();
    if !others.is_empty() {
        findings.push(
            Finding::note(
                "scheduler.clusters",
                format!("accounting knows other clusters too: {}", listed(&others)),
            )
            .remedy("SLURM_CLUSTERS chooses one; HPC_CI_CLUSTER only chooses the `[cluster.NAME.…]` tables"),
        );
    }
    findings
}

fn capacity(subject: &Subject, cluster: &Cluster) -> Vec<Finding> {
    const CHECK: &str = "scheduler.capacity";
    let mut findings = Vec::new();
    let in_flight = subject.max_in_flight;
    if let Some(most) = cluster.max_jobs.filter(|most| *most < in_flight) {
        findings.push(Finding::warning(
            CHECK,
            format!(
                "the controller holds {most} jobs (MaxJobCount), `max_in_flight` is {in_flight}"
            ),
            "lower `max_in_flight` of [scheduler]",
        ));
    }
    let arrays = subject
        .steps
        .iter()
        .filter(|step| step.strategy == Strategy::Array)
        .count();
    let size = cluster
        .max_array_size
        .and_then(|size| usize::try_from(size).ok());
    if let Some(size) = size.filter(|size| arrays >= *size) {
        findings.push(Finding::note(
            CHECK,
            format!("an array may have {size} tasks at most (MaxArraySize less one): {arrays} steps become several arrays"),
        ));
    }
    let most = cluster.associations.iter().filter_map(|it| it.max_submit);
    if let Some(most) = most.min().filter(|most| *most < in_flight) {
        findings.push(Finding::note(
            CHECK,
            format!("{most} jobs may be submitted at a time (MaxSubmitJobs); the others wait here for their turn"),
        ));
    }
    findings
}
