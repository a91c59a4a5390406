//! What Slurm's commands say when they fail → what that means for us.
//!
//! The sentences are those of Slurm's `src/common/slurm_errno.c`, which has reworded few of them since 2010.

use std::time::Duration;

use crate::scheduler::{QueryError, SubmitError};

/// Nothing reached the controller, or it turned us away for now.
const TRANSIENT: &[&str] = &[
    "Unable to contact slurm controller",
    "Unable to establish controller machine",
    "Connection refused",
    "Communication connection failure",
    "Connection timed out establishing",
    "Unable to resolve \"",
    "stablish a configuration source",
    "standby mode",
    "shutting down",
    "Rate limit exceeded",
    "System submissions disabled",
    "Resource temporarily unavailable",
    "temporarily unable to accept job",
    "Munge encode failed",
    "Protocol authentication error",
    "Invalid authentication credential",
    "Authentication credential expired",
    "Unable to connect to database",
    "Problem talking to the database",
    "Sending PersistInit msg",
];

/// The request may have been sent, but the answer never came.
const UNCERTAIN: &[&str] = &[
    "(send failure)",
    "(receive failure)",
    "(shutdown failure)",
    "Message send failure",
    "Message receive failure",
    "Communication shutdown failure",
    "Socket timed out",
    "Connection timed out reading",
    "Connection timed out writing",
    "Connection reset by peer",
    "Broken pipe",
    "Zero Bytes were transmitted or received",
    "Unexpected message received",
    "missing socket error",
    "slurm_msg_sendto",
    "Header lengths are longer than data received",
    "Insane message length",
    "Unspecified error",
];

/// As many jobs as allowed are there: `QOSMaxSubmitJobPerUserLimit`, `AssocGrpSubmitJobsLimit`...
const LIMIT: &[&str] = &["SubmitJob", "MaxJobCount limit reached"];

/// What stands below the name of any limit of an account or QOS. Alone it may mean either kind.
const POLICY: &str = "Job violates accounting/QOS policy";

/// What Slurm says of a request it will never take, and what to change.
const REJECTED: &[(&str, &str)] = &[
    (
        POLICY,
        "`sacctmgr show qos` and `sacctmgr show assoc user=$USER` list the limits; ask for less, or set another `qos`",
    ),
    (
        "Invalid partition name",
        "`sinfo -s` lists the partitions; set `partition` to one of them",
    ),
    (
        "Invalid account",
        "`sacctmgr show assoc user=$USER format=account,partition,qos` lists your accounts; set `account`",
    ),
    (
        "Invalid qos",
        "`sacctmgr show assoc user=$USER format=account,qos` lists what you may use; set `qos`",
    ),
    (
        "Invalid feature",
        "`sinfo -o '%P %f'` lists the features of the nodes; set `constraint`",
    ),
    (
        "Invalid generic resource",
        "`sinfo -o '%P %G'` lists the generic resources; set `gres` or `gpus_per_rank`",
    ),
    (
        "Invalid Trackable RESource",
        "`sinfo -o '%P %G'` lists the generic resources; set `gres` or `gpus_per_rank`",
    ),
    (
        "reservation is invalid",
        "`scontrol show reservation` lists the reservations; set `reservation`",
    ),
    (
        "Access denied to requested reservation",
        "ask for access, or drop `reservation`",
    ),
    (
        "Requested time limit is invalid",
        "`sinfo -o '%P %l'` lists the limits; lower `time`",
    ),
    (
        "Memory specification can not be satisfied",
        "`sinfo -o '%P %m'` lists the MiB of a node; lower `memory`, or take more `nodes`",
    ),
    (
        "Memory required by task is not available",
        "`sinfo -o '%P %m'` lists the MiB of a node; lower `memory`, or take more `nodes`",
    ),
    (
        "Node count specification invalid",
        "`sinfo -o '%P %D'` counts the nodes; lower `nodes`, or choose another `partition`",
    ),
    (
        "More processors requested",
        "`sinfo -o '%P %D %c'` counts nodes and cores; lower `ranks` or `cpus_per_rank`, or choose another `partition`",
    ),
    (
        "Requested node configuration is not available",
        "`sinfo -o '%P %D %c %m %f %G'` shows what there is; ask for less of a node",
    ),
    (
        "Invalid node name",
        "`sinfo -N` lists the nodes; correct `options`",
    ),
    (
        "Invalid license",
        "`scontrol show licenses` lists them; correct `options`",
    ),
    (
        "Invalid job array specification",
        "`scontrol show config | grep MaxArraySize` shows the limit",
    ),
    (
        "Required partition not available",
        "`sinfo -s` shows which partitions are up; set `partition`",
    ),
    (
        "Job dependency problem",
        "the job it depends on is gone or failed",
    ),
    (
        "User's group not permitted to use this partition",
        "ask for access, or choose another `partition`",
    ),
    (
        "not permitted to use this partition",
        "ask for access, or choose another `partition`",
    ),
    (
        "Access/permission denied",
        "this user may not submit what was asked for; compare `account`, `qos` and `partition`",
    ),
    (
        "User's association",
        "`sacctmgr show assoc user=$USER` lists your associations",
    ),
    (
        "Unable to open file",
        "the batch script cannot be read on this host",
    ),
    (
        "Batch script is empty",
        "the batch script must begin with `#!`",
    ),
    (
        "This does not look like a batch script",
        "the batch script must begin with `#!`",
    ),
    (
        "Pathname of a file, directory or other parameter too long",
        "the batch script is larger than Slurm takes (4 MiB by default)",
    ),
    (
        "Batch script contains DOS line breaks",
        "write the script with Unix line ends",
    ),
    (
        "unrecognized option",
        "correct `options`: this sbatch does not know one of them",
    ),
    (
        "Invalid --time specification",
        "correct `options`: this sbatch cannot read the time",
    ),
    (
        "mutually exclusive",
        "`memory` and `memory_per_cpu` exclude each other",
    ),
    ("invalid number of tasks", "correct `ranks`"),
];

/// What is said of a command that said nothing.
const SILENT: &str = "it said nothing";

/// Returns what a failed sbatch means.
#[must_use]
pub fn submit_error(stderr: &str) -> SubmitError {
    let said = spoken(stderr);
    let has = |texts: &[&str]| texts.iter().any(|text| said.contains(text));
    // Nor do we know what a command had done that was killed without a word.
    if has(UNCERTAIN) || said == SILENT {
        return SubmitError::Uncertain { said };
    }
    if has(TRANSIENT) {
        return SubmitError::Transient { said };
    }
    if has(LIMIT) || said.starts_with(POLICY) {
        return SubmitError::Limit { said };
    }
    let known = REJECTED.iter().find(|(text, _)| said.contains(text));
    SubmitError::Rejected {
        help: known.map(|(_, help)| (*help).to_owned()),
        reason: said,
    }
}

/// Returns what a failed query means.
#[must_use]
pub fn query_error(command: &str, stderr: &str) -> QueryError {
    let said = spoken(stderr);
    let has = |texts: &[&str]| texts.iter().any(|text| said.contains(text));
    let command = command.to_owned();
    let disabled = [
        "accounting storage is disabled",
        "not running a supported accounting_storage plugin",
    ];
    if has(&disabled) {
        return QueryError::NoAccounting;
    }
    if has(UNCERTAIN) || has(TRANSIENT) {
        // The lines above the last tell how it was tried.
        let said = said.rsplit("; ").next().unwrap_or(&said).to_owned();
        return QueryError::Unreachable { command, said };
    }
    QueryError::Failed { command, said }
}

/// Returns what is said of a command that was stopped because it was silent for too long.
#[must_use]
pub fn silence(deadline: Duration) -> String {
    format!("no answer within {} s", deadline.as_secs_f64())
}

/// Returns what a command said without its own name and the kind of message before each line, and without warnings.
fn spoken(stderr: &str) -> String {
    let lines = stderr.lines().map(bare).filter(|line| !line.is_empty());
    let (warnings, errors): (Vec<&str>, Vec<&str>) =
        lines.partition(|line| line.to_ascii_lowercase().starts_with("warning"));
    let text = match (errors.is_empty(), warnings.is_empty()) {
        (false, _) => errors.join("; "),
        (true, false) => warnings.join("; "),
        (true, true) => SILENT.to_owned(),
    };
    text.replace("Batch job submission failed: ", "")
        .replace("allocation failure: ", "")
}

const COMMANDS: &[&str] = &[
    "sbatch", "squeue", "sacct", "scancel", "sinfo", "scontrol", "sacctmgr", "srun",
];

fn bare(line: &str) -> &str {
    let line = line.trim();
    let own = line
        .split_once(": ")
        .filter(|(name, _)| COMMANDS.contains(name));
    let line = own.map_or(line, |(_, rest)| rest);
    line.strip_prefix("error: ")
        .or_else(|| line.strip_prefix("fatal: "))
        .unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sentences that no cluster at hand could be made to say; the captured ones are tested with the captures.
    #[test]
    fn sentences_of_other_clusters() {
        let kind = |stderr: &str| match submit_error(stderr) {
            SubmitError::NotInstalled { .. } => "not installed",
            SubmitError::Transient { .. } => "transient",
            SubmitError::Uncertain { .. } => "uncertain",
            SubmitError::Limit { .. } => "limit",
            SubmitError::Rejected { .. } => "rejected",
        };
        let check = |stderr: &str, expected: &str| assert_eq!(kind(stderr), expected, "{stderr}");
        let failed = "Batch job submission failed: ";
        check(
            &format!("{failed}Rate limit exceeded, please retry momentarily"),
            "transient",
        );
        check(
            &format!("{failed}Slurm backup controller in standby mode"),
            "transient",
        );
        check("Unable to resolve \"ctl1\": Unknown host", "transient");
        check(
            &format!("{failed}Unable to contact slurm controller (receive failure)"),
            "uncertain",
        );
        check(
            &format!("{failed}Zero Bytes were transmitted or received"),
            "uncertain",
        );
        // What sbatch says when munge has kept it waiting until the controller hung up.
        check(
            "sbatch: error: slurm_msg_sendto: address:port=10.82.7.1:9068 msg_type=4003: Unexpected missing socket error\n\
             sbatch: error: Batch job submission failed: Unexpected missing socket error",
            "uncertain",
        );
        check(&format!("{failed}MaxJobCount limit reached"), "limit");
        check(
            "MaxSubmitJobsPerAccount\nsbatch: error: Batch job submission failed: Job violates accounting/QOS policy (...)",
            "limit",
        );
        // Which limit it was, older versions do not say.
        check(
            &format!("{failed}Job violates accounting/QOS policy (job submit limit, ...)"),
            "limit",
        );
        check(
            &format!("{failed}No partition specified or system default partition"),
            "rejected",
        );
        check(&format!("{failed}Something of the future"), "rejected");
        check("", "uncertain");
    }

    #[test]
    fn warnings_are_no_reason() {
        let said = |stderr: &str| spoken(stderr);
        assert_eq!(
            said(
                "sbatch: Warning: can't run 1 processes on 9 nodes, setting nnodes to 1\nsbatch: error: Invalid qos specification\n"
            ),
            "Invalid qos specification"
        );
        assert_eq!(said("sbatch: warning: odd\n"), "warning: odd");
        assert_eq!(said("\n"), "it said nothing");
    }
}
