//! Why a job waits, and whether waiting can help. The reasons are those of squeue(1) and Slurm's
//! `src/common/job_state_reason.c`; one that we do not know may clear, so it is waited for.

/// What a reason for waiting means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// Whether the job may start without anybody changing it.
    pub clears: bool,
    /// What it waits for, or why it never starts; a fragment.
    pub text: &'static str,
    /// What to change, for one that never starts.
    pub help: Option<&'static str>,
}

const fn waits(text: &'static str) -> Waiting {
    Waiting {
        clears: true,
        text,
        help: None,
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
    // None of these is changed by waiting.
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
        "AccountNotAllowed",
        never(
            "its account may not use this partition",
            "choose another `account` or `partition`",
        ),
    ),
    (
        "QOSNotAllowed",
        never(
            "its QOS may not be used with this account or partition",
            "choose another `qos`",
        ),
    ),
    (
        "QOSTimeLimit",
        never(
            "it asks for more time than its QOS allows",
            "lower `time`, or choose another `qos`",
        ),
    ),
    (
        "DependencyNeverSatisfied",
        never(
            "a job it depends on did not end as it had to",
            "look at the job it depends on",
        ),
    ),
    (
        "ReservationDeleted",
        never("its reservation was deleted", "drop `reservation`"),
    ),
    (
        "MaxMemPerLimit",
        never(
            "it asks for more memory than a core or node may have",
            "lower `memory`",
        ),
    ),
    (
        "ReservationInvalid",
        never(
            "its reservation is not valid",
            "correct or drop `reservation`",
        ),
    ),
    (
        "Constraints",
        never(
            "no node can have what it asks for",
            "change `constraint`, `gres` or `memory`",
        ),
    ),
    // These are.
    ("None", waits("Slurm has not looked at it yet")),
    ("Priority", waits("jobs of higher priority")),
    ("Resources", waits("free nodes")),
    ("Dependency", waits("other jobs")),
    ("BeginTime", waits("its time to begin")),
    ("Reservation", waits("its reservation to begin")),
    ("Licenses", waits("a license")),
    (
        "JobHeldUser",
        waits("somebody to release it: its owner held it"),
    ),
    (
        "JobHeldAdmin",
        waits("somebody to release it: an administrator held it"),
    ),
    ("JobArrayTaskLimit", waits("other tasks of its array")),
    ("PartitionDown", waits("its partition, which is down")),
    (
        "PartitionInactive",
        waits("its partition, which is inactive"),
    ),
    ("NodeDown", waits("a node that is down")),
    ("ReqNodeNotAvail", waits("a node that is not available")),
    (
        "Nodes required for job are DOWN",
        waits("nodes that are down, drained or reserved"),
    ),
    ("Cleaning", waits("its last run to be cleaned up")),
    ("Prolog", waits("the prolog on its nodes")),
    (
        "job requeued in held state",
        waits("somebody to release it: it was requeued and held"),
    ),
    (
        "launch failed requeued held",
        waits("somebody to release it: its launch failed"),
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
        return never(
            "it may not use its partition",
            "choose another `account` or `partition`",
        );
    }
    // Limits of accounts and QOS have more than two hundred names, made of these parts.
    let limit = reason.starts_with("Assoc") || reason.starts_with("QOS");
    let has = |part: &str| limit && reason.contains(part);
    if has("PerJob") || has("PerNode") || has("QOSMin") {
        never(
            "it asks for more or less than one job of its account or QOS may have",
            "change what it asks for, or choose another `account` or `qos`",
        )
    } else if has("Grp") && (has("Minutes") && !has("RunMinutes") || has("Wall")) {
        never(
            "its account or QOS has used up its time",
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

    #[test]
    fn what_never_clears_is_told_from_what_waits() {
        let check = |reason: &str, clears: bool| {
            assert_eq!(meaning(reason).clears, clears, "{reason}");
            assert_eq!(meaning(reason).help.is_none(), clears, "{reason}");
        };
        for reason in [
            "PartitionTimeLimit",
            "PartitionNodeLimit",
            "PartitionConfig",
            "BadConstraints",
            "InvalidAccount",
            "InvalidQOS",
            "DependencyNeverSatisfied",
            "AssocGrpCPUMinutesLimit",
            "AssocGrpBillingMinutes",
            "QOSGrpGRESMinutes",
            "AssocMaxWallDurationPerJobLimit",
            "QOSMaxNodePerJobLimit",
            "QOSMaxCpuPerNode",
            "QOSMinCpuNotSatisfied",
            "QOSGrpWallLimit",
            "Job's account not permitted to use this partition (small allows nobody not ci)",
        ] {
            check(reason, false);
        }
        for reason in [
            "None",
            "Priority",
            "Resources",
            "Dependency",
            "JobHeldUser",
            "AssocGrpCPURunMinutesLimit",
            "AssocMaxJobsLimit",
            "QOSMaxJobsPerUserLimit",
            "AssocGrpNodeLimit",
            "QOSMaxNodePerUserLimit",
            "ReqNodeNotAvail, UnavailableNodes:n2",
            "Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority partitions",
            "SomethingOfTheFuture",
            "",
        ] {
            check(reason, true);
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
