//! What a cluster is like, from the text of scontrol, sinfo, sacctmgr and srun.
//!
//! Settings that a version does not print are `None`; ones we do not know are not read.

use std::collections::BTreeMap;
use std::time::Duration;

use super::parse;
use crate::scheduler::QueryError;

/// The columns of sinfo that [`shapes`] reads: partition, nodes, cores, MiB, generic resources, features.
pub(super) const SHAPE_FORMAT: &str = "%R|%D|%c|%m|%G|%f";

/// The columns of sacctmgr that [`associations`] reads.
pub(super) const ASSOCIATION_FORMAT: &str = "format=Cluster,Account,Partition,QOS,MaxSubmitJobs";

/// What a cluster is like.
#[derive(Debug, Default)]
pub struct Cluster {
    /// Its name.
    pub name: Option<String>,
    /// Slurm's version.
    pub version: Option<String>,
    /// Whether it keeps books of jobs.
    pub accounting: bool,
    /// For how long the controller remembers a job that has ended.
    pub min_job_age: Option<Duration>,
    /// How long a process has between SIGTERM and SIGKILL.
    pub kill_wait: Option<Duration>,
    /// Whether jobs that do not say otherwise are started again after a node failure.
    pub requeues: bool,
    /// What happens to a job that must make way: `OFF`, `REQUEUE`, `CANCEL`...
    pub preempt_mode: Option<String>,
    /// Whether a request beyond a partition's limits is refused, and not left waiting for ever.
    pub enforces_limits: bool,
    /// What users cannot see of each other: `jobs`, `usage`...
    pub private: Vec<String>,
    /// One more than the highest task number of an array.
    pub max_array_size: Option<u32>,
    /// How many jobs the controller holds.
    pub max_jobs: Option<u32>,
    /// The PMI that srun uses if not told.
    pub default_pmi: Option<String>,
    /// The PMIs that srun can use.
    pub pmis: Vec<String>,
    /// Its partitions.
    pub partitions: Vec<Partition>,
    /// What this user may use.
    pub associations: Vec<Association>,
    /// Questions that got no answer; what they were about is missing above.
    pub unanswered: Vec<QueryError>,
}

/// A partition.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Partition {
    /// Its name.
    pub name: String,
    /// Whether jobs that name no partition go here.
    pub default: bool,
    /// Whether jobs start in it.
    pub up: bool,
    /// The longest time a job may ask for; `None` without limit.
    pub max_time: Option<Duration>,
    /// The time of jobs that ask for none.
    pub default_time: Option<Duration>,
    /// The most nodes of one job; `None` without limit.
    pub max_nodes: Option<u32>,
    /// Its nodes.
    pub nodes: u32,
    /// Accounts that may use it; empty: all.
    pub accounts: Vec<String>,
    /// Whether jobs never share a node.
    pub exclusive: bool,
    /// Its kinds of nodes.
    pub shapes: Vec<Shape>,
}

/// A kind of nodes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Shape {
    /// How many there are.
    pub nodes: u32,
    /// The cores of one.
    pub cpus: u32,
    /// The memory of one, in bytes.
    pub memory: u64,
    /// Its generic resources.
    pub gres: Vec<String>,
    /// Its features.
    pub features: Vec<String>,
}

/// What a user may use.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Association {
    /// The cluster.
    pub cluster: String,
    /// The account.
    pub account: String,
    /// The partition; `None`: any.
    pub partition: Option<String>,
    /// The QOS.
    pub qos: Vec<String>,
    /// How many jobs may be submitted at a time.
    pub max_submit: Option<u32>,
}

impl Cluster {
    /// Takes what `scontrol show config` says.
    pub(super) fn configure(&mut self, text: &str) {
        let settings: BTreeMap<&str, &str> = text
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(key, value)| (key.trim(), value.trim()))
            .collect();
        let get = |key: &str| settings.get(key).and_then(|value| parse::said(value));
        self.name = get("ClusterName");
        self.version = get("SLURM_VERSION");
        // A cluster without books has no such type, or `accounting_storage/none` as older versions say.
        self.accounting = get("AccountingStorageType").is_some_and(|kind| !kind.ends_with("/none"));
        self.min_job_age = get("MinJobAge").and_then(|value| seconds(&value));
        self.kill_wait = get("KillWait").and_then(|value| seconds(&value));
        self.requeues = get("JobRequeue").is_some_and(|value| value == "1");
        self.preempt_mode = get("PreemptMode");
        self.enforces_limits = get("EnforcePartLimits").is_some_and(|value| value != "NO");
        let private = get("PrivateData").filter(|value| value != "none");
        self.private = private.map(|value| list(&value)).unwrap_or_default();
        self.max_array_size = get("MaxArraySize").and_then(|value| value.parse().ok());
        self.max_jobs = get("MaxJobCount").and_then(|value| value.parse().ok());
        self.default_pmi = get("MpiDefault");
    }

    /// Returns an answer's text, or notes that there was none.
    pub(super) fn answer(&mut self, answer: Result<String, QueryError>) -> String {
        answer.unwrap_or_else(|error| {
            self.unanswered.push(error);
            String::new()
        })
    }

    /// Returns the partition of this name, or of jobs that name none.
    #[must_use]
    pub fn partition(&self, name: Option<&str>) -> Option<&Partition> {
        let Some(name) = name else {
            return self.default_partition();
        };
        // Of a list the first is as good as any: Slurm takes the one that starts the job first.
        let first = name.split(',').next();
        let mut partitions = self.partitions.iter();
        partitions.find(|partition| Some(partition.name.as_str()) == first)
    }

    /// Returns whether srun can use a PMI, in any version; of a cluster that does not list them, nobody knows that it cannot.
    #[must_use]
    pub fn has_pmi(&self, name: &str) -> bool {
        self.pmis.is_empty() || self.pmis.iter().any(|pmi| pmi.starts_with(name))
    }

    /// Returns the partition of jobs that name none.
    #[must_use]
    pub fn default_partition(&self) -> Option<&Partition> {
        self.partitions.iter().find(|partition| partition.default)
    }
}

/// Returns what `scontrol -o show partition` says.
pub(super) fn partitions(text: &str) -> Vec<Partition> {
    text.lines().filter_map(partition).collect()
}

fn partition(line: &str) -> Option<Partition> {
    let settings: BTreeMap<&str, &str> = line
        .split_whitespace()
        .filter_map(|word| word.split_once('='))
        .collect();
    let get = |key: &str| settings.get(key).copied().unwrap_or_default();
    Some(Partition {
        name: (*settings.get("PartitionName")?).to_owned(),
        default: get("Default") == "YES",
        up: get("State") == "UP",
        max_time: parse::duration(get("MaxTime")),
        default_time: parse::duration(get("DefaultTime")),
        max_nodes: get("MaxNodes").parse().ok(),
        nodes: get("TotalNodes").parse().unwrap_or_default(),
        accounts: if get("AllowAccounts") == "ALL" {
            Vec::new()
        } else {
            list(get("AllowAccounts"))
        },
        exclusive: get("OverSubscribe") == "EXCLUSIVE" || get("ExclusiveUser") == "YES",
        shapes: Vec::new(),
    })
}

/// Returns what `sinfo -h -e -o SHAPE_FORMAT` says: a partition's name and one kind of its nodes a line.
pub(super) fn shapes(text: &str) -> Vec<(String, Shape)> {
    text.lines().filter_map(shape).collect()
}

fn shape(line: &str) -> Option<(String, Shape)> {
    let fields: Vec<&str> = line.split('|').collect();
    let [name, nodes, cpus, memory, gres, features] = fields[..] else {
        return None;
    };
    // Nodes that differ are shown as `4+`.
    let least = |text: &str| text.trim_end_matches('+').parse::<u64>().ok();
    let shape = Shape {
        nodes: nodes.parse().ok()?,
        cpus: u32::try_from(least(cpus)?).ok()?,
        memory: least(memory)?.checked_mul(1 << 20)?,
        gres: list(gres),
        features: list(features),
    };
    Some((name.to_owned(), shape))
}

/// Returns what `sacctmgr -n -P show associations ASSOCIATION_FORMAT` says.
pub(super) fn associations(text: &str) -> Vec<Association> {
    let rows = text.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split('|').collect();
        let [cluster, account, partition, qos, max_submit] = fields[..] else {
            return None;
        };
        Some(Association {
            cluster: cluster.to_owned(),
            account: account.to_owned(),
            partition: parse::said(partition),
            qos: list(qos),
            max_submit: max_submit.parse().ok(),
        })
    });
    rows.collect()
}

/// Returns what `srun --mpi=list` says: a title, then a name a line; versions of a plugin follow on one line.
pub(super) fn pmis(text: &str) -> Vec<String> {
    let mut pmis = Vec::new();
    for line in text.lines() {
        let line = line.strip_prefix("srun:").unwrap_or(line).trim();
        match line.split_once(':') {
            Some((title, names)) if title.contains("plugin versions available") => {
                pmis.extend(names.split(',').map(|name| name.trim().to_owned()));
            }
            None if !line.is_empty() && !line.contains(char::is_whitespace) => {
                pmis.push(line.to_owned());
            }
            _ => {}
        }
    }
    pmis.retain(|name| !name.is_empty());
    pmis
}

/// Splits at the commas that stand outside parentheses: `gpu:a100:4(S:0,2),tmpdisk:100G`.
fn list(text: &str) -> Vec<String> {
    let text = parse::said(text).unwrap_or_default();
    let mut depth = 0_u32;
    let names = text.split(|c: char| {
        match c {
            '(' => depth = depth.saturating_add(1),
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    });
    names
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Returns the duration that `scontrol show config` writes as `300 sec`.
fn seconds(text: &str) -> Option<Duration> {
    let number = text.split_whitespace().next()?;
    number.parse().ok().map(Duration::from_secs)
}
