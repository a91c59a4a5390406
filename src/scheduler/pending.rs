//! Why a job waits, and whether waiting can help. The reasons are those of squeue(1) and Slurm's
//! `src/common/job_state_reason.c`; one that we do not know may clear, so it is waited for.

/// What a reason for waiting means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// Whether the job may start without anybody changing it.
    pub clears: bool,
    /// What it waits for, or why it never starts; a fragment.
    pub text: &'static str,
    /// What to change, for one that never starts; who can let it go or what to change, for one that waits for a person. `JOB` stands
    /// for its id.
    pub help: Option<&'static str>,
}

const fn waits(text: &'static str) -> Waiting {
    Waiting {
        clears: true,
        text,
        help: None,
    }
}

const fn held(text: &'static str, help: &'static str) -> Waiting {
    Waiting {
        clears: true,
        text,
        help: Some(help),
    }
}

const fn never(text: &'static str, help: &'static str) -> Waiting {
    Waiting {
        clears: false,
        text,
        help: Some(help),
    }
}

const KNOWN: &[(&str, Waiting)] = &[
    // None of these ever clears.
    (
        "PartitionTimeLimit",
        never(
            "it asks for more time than its partition allows",
            "lower `time`, or choose another `partition`",
        ),
    ),
    (
        "PartitionNodeLimit",
        never(
            "it asks for more or fewer nodes than its partition allows",
            "change `nodes`, or choose another `partition`",
        ),
    ),
    (
        "PartitionConfig",
        never(
            "its partition cannot give what it asks for",
            "ask for less of a node, or choose another `partition`",
        ),
    ),
    (
        "BadConstraints",
        never(
            "no node can have what it asks for",
            "change `constraint`, `gres` or `memory`",
        ),
    ),
    (
        "InvalidAccount",
        never("its account is not valid", "set `account`"),
    ),
    ("InvalidQOS", never("its QOS is not valid", "set `qos`")),
    (
        "DependencyNeverSatisfied",
        never(
            "a job it depends on did not end as it had to",
            "look at the job it depends on",
        ),
    ),
    // These clear when somebody changes a limit or the job.
    (
        "AccountNotAllowed",
        held(
            "leave for its account to use this partition",
            "choose another `account` or `partition`",
        ),
    ),
    (
        "QOSNotAllowed",
        held(
            "leave to use its QOS with this account or partition",
            "choose another `qos`",
        ),
    ),
    (
        "QOSTimeLimit",
        held(
            "more time than its QOS allows",
            "lower `time`, or choose another `qos`",
        ),
    ),
    (
        "ReservationDeleted",
        held("a reservation that was deleted", "drop `reservation`"),
    ),
    (
        "ReservationInvalid",
        held(
            "a reservation that is not valid",
            "correct or drop `reservation`",
        ),
    ),
    (
        "MaxMemPerLimit",
        held("more memory than a core or node may have", "lower `memory`"),
    ),
    // These clear by themselves, or by the hand of a person.
    ("None", waits("Slurm has not looked at it yet")),
    ("Priority", waits("jobs of higher priority")),
    ("Resources", waits("free nodes")),
    ("Dependency", waits("other jobs")),
    ("BeginTime", waits("its time to begin")),
    ("Reservation", waits("its reservation to begin")),
    ("Licenses", waits("a license")),
    (
        "JobHeldUser",
        held(
            "somebody to release it: its owner held it",
            "`scontrol release JOB` lets it go",
        ),
    ),
    (
        "JobHeldAdmin",
        held(
            "somebody to release it: an administrator held it",
            "ask those who run the cluster why",
        ),
    ),
    ("JobArrayTaskLimit", waits("other tasks of its array")),
    ("PartitionDown", waits("its partition, which is down")),
    (
        "PartitionInactive",
        waits("its partition, which is inactive"),
    ),
    ("NodeDown", waits("a node that is down")),
    ("ReqNodeNotAvail", waits("a node that is not available")),
    ("Constraints", waits("nodes that have what it asks for")),
    (
        "Nodes required for job are DOWN",
        waits("nodes that are down, drained or reserved"),
    ),
    ("Cleaning", waits("its last run to be cleaned up")),
    ("Prolog", waits("the prolog on its nodes")),
    (
        "job requeued in held state",
        held(
            "somebody to release it: it was requeued and held",
            "`scontrol release JOB` lets it go",
        ),
    ),
    (
        "launch failed requeued held",
        held(
            "somebody to release it: its launch failed",
            "`scontrol release JOB` lets it go, once its nodes are well",
        ),
    ),
];

/// Returns what a reason means.
#[must_use]
pub fn meaning(reason: &str) -> Waiting {
    let reason = reason.trim();
    let known = KNOWN.iter().find(|(name, _)| names(reason, name));
    if let Some((_, waiting)) = known {
        return *waiting;
    }
    if reason.contains("not permitted to use this partition") {
        return held(
            "leave to use its partition",
            "choose another `account` or `partition`",
        );
    }
    // Limits of accounts and QOS have more than two hundred names, made of these parts.
    let limit = reason.starts_with("Assoc") || reason.starts_with("QOS");
    let has = |part: &str| limit && reason.contains(part);
    let spent = has("Grp") && (has("Minutes") && !has("RunMinutes") || has("Wall"));
    if has("PerJob") || has("PerNode") || has("QOSMin") {
        held(
            "more or less than one job of its account or QOS may have",
            "change what it asks for, or choose another `account` or `qos`",
        )
    } else if spent && reason.starts_with("Assoc") && has("Minutes") {
        never(
            "its account has used up its time",
            "choose another `account`, or ask for more time",
        )
    } else if spent {
        held(
            "time of its account or QOS, which has used it up",
            "choose another `account` or `qos`, or ask for more time",
        )
    } else if limit {
        waits("other jobs of its account or QOS to end")
    } else {
        waits("something that Slurm names so")
    }
}

/// Slurm explains some reasons after a comma: `ReqNodeNotAvail, UnavailableNodes:n2`.
fn names(reason: &str, name: &str) -> bool {
    let rest = reason.strip_prefix(name);
    rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_alphanumeric()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a reason means for the job that has it.
    #[derive(Debug, PartialEq, Eq)]
    enum Class {
        /// It is ended at once, and told what to change.
        Never,
        /// It waits for a person, and is told for whom or what to change.
        Held,
        /// It waits.
        Waits,
    }
    use Class::{Held, Never, Waits};

    /// The reasons of squeue(1) and of Slurm's `job_state_reason.c`, in its versions from 22.05 on.
    const REASONS: &[(&str, Class)] = &[
        ("AccountNotAllowed", Held),
        ("AssocGrpBBMinutes", Never),
        ("AssocGrpBillingMinutes", Never),
        ("AssocGrpCPUMinutesLimit", Never),
        ("AssocGrpCpuLimit", Waits),
        ("AssocGrpCPURunMinutesLimit", Waits),
        ("AssocGrpEnergyMinutes", Never),
        ("AssocGrpGRESMinutes", Never),
        ("AssocGrpGRESRunMinutes", Waits),
        ("AssocGrpJobsLimit", Waits),
        ("AssocGrpLicMinutes", Never),
        ("AssocGrpMemLimit", Waits),
        ("AssocGrpMemMinutes", Never),
        ("AssocGrpMemRunMinutes", Waits),
        ("AssocGrpNodeLimit", Waits),
        ("AssocGrpNodeMinutes", Never),
        ("AssocGrpNodeRunMinutes", Waits),
        ("AssocGrpSubmitJobsLimit", Waits),
        ("AssocGrpWallLimit", Held),
        ("AssocMaxCpuPerJobLimit", Held),
        ("AssocMaxJobsLimit", Waits),
        ("AssocMaxNodePerJobLimit", Held),
        ("AssocMaxSubmitJobLimit", Waits),
        ("AssocMaxWallDurationPerJobLimit", Held),
        ("AssociationJobLimit", Waits),
        ("AssociationResourceLimit", Waits),
        ("BadConstraints", Never),
        ("BeginTime", Waits),
        ("BurstBufferOperation", Waits),
        ("BurstBufferResources", Waits),
        ("BurstBufferStageIn", Waits),
        ("Cleaning", Waits),
        ("Constraints", Waits),
        ("DeadLine", Waits),
        ("Dependency", Waits),
        ("DependencyNeverSatisfied", Never),
        ("FedJobLock", Waits),
        ("FrontEndDown", Waits),
        ("InactiveLimit", Waits),
        ("InvalidAccount", Never),
        ("InvalidQOS", Never),
        ("JobArrayTaskLimit", Waits),
        ("JobHeldAdmin", Held),
        ("JobHeldUser", Held),
        ("JobHoldMaxRequeue", Waits),
        ("JobLaunchFailure", Waits),
        ("Licenses", Waits),
        ("MaxBBPerJob", Waits),
        ("MaxMemPerLimit", Held),
        ("MaxPowerReserved", Waits),
        ("NodeDown", Waits),
        (
            "Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority partitions",
            Waits,
        ),
        ("None", Waits),
        ("OutOfMemory", Waits),
        ("PartitionConfig", Never),
        ("PartitionDown", Waits),
        ("PartitionInactive", Waits),
        ("PartitionNodeLimit", Never),
        ("PartitionTimeLimit", Never),
        ("Priority", Waits),
        ("Prolog", Waits),
        ("QOSGrpCPUMinutesLimit", Held),
        ("QOSGrpCPURunMinutesLimit", Waits),
        ("QOSGrpCpuLimit", Waits),
        ("QOSGrpGRESMinutes", Held),
        ("QOSGrpJobsLimit", Waits),
        ("QOSGrpWallLimit", Held),
        ("QOSJobLimit", Waits),
        ("QOSMaxCpuPerJobLimit", Held),
        ("QOSMaxCpuPerNode", Held),
        ("QOSMaxCpuPerUserLimit", Waits),
        ("QOSMaxGRESPerUser", Waits),
        ("QOSMaxJobsPerUserLimit", Waits),
        ("QOSMaxNodePerJobLimit", Held),
        ("QOSMaxNodePerUserLimit", Waits),
        ("QOSMaxSubmitJobPerUserLimit", Waits),
        ("QOSMaxWallDurationPerJobLimit", Held),
        ("QOSMinCpuNotSatisfied", Held),
        ("QOSNotAllowed", Held),
        ("QOSResourceLimit", Waits),
        ("QOSTimeLimit", Held),
        ("QOSUsageThreshold", Waits),
        ("ReqNodeNotAvail", Waits),
        ("ReqNodeNotAvail, UnavailableNodes:n2", Waits),
        ("Reservation", Waits),
        ("ReservationDeleted", Held),
        ("ReservationInvalid", Held),
        ("Resources", Waits),
        ("SchedDefer", Waits),
        ("SystemFailure", Waits),
        ("TimeLimit", Waits),
        ("launch failed requeued held", Held),
        ("job requeued in held state", Held),
        (
            "Job's account not permitted to use this partition (small allows nobody not ci)",
            Held,
        ),
        ("SomethingOfTheFuture", Waits),
        ("", Waits),
    ];

    #[test]
    fn what_never_clears_is_told_from_what_waits() {
        for (reason, expected) in REASONS {
            let meaning = meaning(reason);
            let class = match (meaning.clears, meaning.help) {
                (true, None) => Waits,
                (true, Some(_)) => Held,
                (false, Some(_)) => Never,
                (false, None) => panic!("{reason}: nothing to do about it"),
            };
            assert_eq!(class, *expected, "{reason}");
        }
    }

    #[test]
    fn a_longer_name_is_another_reason() {
        assert_eq!(meaning("Dependency").text, "other jobs");
        assert!(!meaning("DependencyNeverSatisfied").clears);
        assert_eq!(
            meaning("ReqNodeNotAvail, Reserved for maintenance").text,
            "a node that is not available"
        );
    }
}
