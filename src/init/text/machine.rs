//! Where and for whom: the cluster, modules, storage.

use std::fmt::Write as _;
use std::time::Duration;

use super::super::found::{Found, Machine, Storage, is_shared};
use super::{project, toml};
use crate::config::{Context, Memory, Site, Walltime};
use crate::scheduler::slurm::{Cluster, Partition};

/// Partitions that the file lists; of more, `sinfo` tells.
const LISTED: usize = 16;

pub(super) fn write(text: &mut String, found: &Found) {
    let machine = &found.machine;
    if let (Some(cluster), Some(modules)) = (named_cluster(found), modules(machine)) {
        text.push_str(&table(Some(cluster), "environment"));
        text.push_str(&modules);
        text.push('\n');
    }
    match &machine.cluster {
        Some(Ok(cluster)) => {
            scheduler(text, machine, cluster);
            launcher(text, machine, cluster);
            workspace(text, found, cluster);
        }
        Some(Err(why)) => {
            toml::comment(
                text,
                &format!(
                    "Slurm did not answer when this was written ({why}): `partition` and `account` of [scheduler] are its own choice."
                ),
            );
            text.push('\n');
        }
        None => {
            toml::comment(
                text,
                "There was no Slurm where this was written: steps run there under mpiexec. On a cluster they become jobs; \
                 `hpc-ci init --stdout` there shows what its tables [cluster.NAME.…] would be.",
            );
            text.push('\n');
        }
    }
}

/// The beginning of a table that holds on this cluster alone.
fn table(cluster: Option<&Cluster>, name: &str) -> String {
    match cluster.and_then(|cluster| cluster.name.as_ref()) {
        Some(cluster) => format!("[cluster.{}.{name}]\n", toml::name_of(cluster)),
        None => format!("[{name}]\n"),
    }
}

/// What build and tests need everywhere.
pub(super) fn environment(text: &mut String, found: &Found) {
    let (variables, why) = project::variables(found);
    let modules = modules(&found.machine).filter(|_| named_cluster(found).is_none());
    if variables.is_empty() && modules.is_none() {
        return;
    }
    text.push_str("[environment]\n");
    text.push_str(&modules.unwrap_or_default());
    if let Some(why) = why {
        toml::comment(text, why);
    }
    if !variables.is_empty() {
        let pairs = variables.iter();
        let pairs = pairs.map(|(name, value)| (name.as_str(), value.as_str()));
        toml::key(text, "variables", &toml::table(pairs));
    }
    text.push('\n');
}

fn named_cluster(found: &Found) -> Option<&Cluster> {
    let cluster = found.machine.slurm();
    cluster.filter(|cluster| cluster.name.is_some())
}

fn modules(machine: &Machine) -> Option<String> {
    if machine.modules.is_empty() {
        return None;
    }
    let mut text = String::new();
    toml::comment(
        &mut text,
        "What was loaded when this was written: cron and jobs start without. Drop what build and tests do not need.",
    );
    let good = machine
        .modules
        .iter()
        .filter(|(_, refused)| refused.is_none());
    let good = toml::list(good.map(|(name, _)| name.as_str()));
    toml::key(&mut text, "modules", &good);
    for (name, refused) in &machine.modules {
        if let Some(why) = refused {
            toml::comment(
                &mut text,
                &format!(
                    "{} was loaded too, and does not load anew: {why}",
                    toml::string(name)
                ),
            );
        }
    }
    Some(text)
}

fn scheduler(text: &mut String, machine: &Machine, cluster: &Cluster) {
    toml::comment(text, &format!("{}. You may use:", cluster_words(cluster)));
    text.push_str(&partitions(cluster));
    let accounts = unique(cluster.associations.iter().map(|it| it.account.as_str()));
    let qos = unique(
        cluster
            .associations
            .iter()
            .flat_map(|it| it.qos.iter().map(String::as_str)),
    );
    if !accounts.is_empty() {
        toml::comment(
            text,
            &format!("Accounts: {}. QOS: {}.", accounts.join(", "), or_none(&qos)),
        );
    }
    toml::comment(
        text,
        "These keys are taken from the file that hpc-ci is started with, never from a commit of somebody else; \
         ~/.config/hpc-ci/config.toml may hold them as well, for all your projects.",
    );
    text.push_str(&table(Some(cluster), "scheduler"));
    let account = account(machine, &accounts);
    let partition = partition(cluster, account);
    if let Some(partition) = partition {
        toml::key(text, "partition", &toml::string(&partition.name));
    }
    match account {
        Some(account) => toml::key(text, "account", &toml::string(account)),
        None if accounts.len() > 1 => {
            toml::key(
                text,
                "# account",
                &format!(
                    "{}  # without it Slurm takes your default",
                    toml::string(accounts[0])
                ),
            );
        }
        None => {}
    }
    if let Some(qos) = qos.first() {
        toml::key(
            text,
            "# qos",
            &format!(
                "{}  # without it Slurm takes your default",
                toml::string(qos)
            ),
        );
    }
    if let Some(time) = partition
        .and_then(|partition| partition.max_time)
        .and_then(fitting_time)
    {
        toml::comment(
            text,
            "Of tests that name none; with `margin` it is as long as the partition allows.",
        );
        toml::key(text, "time", &toml::string(&time.to_string()));
    }
    text.push('\n');
    toml::comment(
        text,
        "What steps and runs may take at most; one that asks for more is refused. Worth setting before others can start runs, \
         with `max_nodes`, `max_time` and `max_node_hours` besides:",
    );
    let mut limits = table(Some(cluster), "scheduler.limits");
    let names = cluster.partitions.iter().map(|it| it.name.as_str());
    toml::key(&mut limits, "partitions", &toml::list(names.take(LISTED)));
    toml::commented(text, &limits);
    text.push('\n');
}

/// Cluster and version as a sentence begins with them.
pub(super) fn cluster_words(cluster: &Cluster) -> String {
    let version = cluster.version.as_deref().unwrap_or("of unknown version");
    match &cluster.name {
        Some(name) => format!("Cluster `{name}`, Slurm {version}"),
        None => format!("Slurm {version}"),
    }
}

fn or_none(names: &[&str]) -> String {
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}

fn unique<'n>(names: impl Iterator<Item = &'n str>) -> Vec<&'n str> {
    let mut unique: Vec<&str> = Vec::new();
    for name in names {
        if !unique.contains(&name) {
            unique.push(name);
        }
    }
    unique
}

/// The account that pays: the only one, or the one that Slurm would take.
pub(super) fn account<'m>(machine: &'m Machine, accounts: &[&'m str]) -> Option<&'m str> {
    match accounts {
        [only] => Some(only),
        several => machine
            .default_account
            .as_deref()
            .filter(|name| several.contains(name)),
    }
}

/// The partition of steps that name none: Slurm's own choice, else the first that is up and takes the account.
pub(super) fn partition<'c>(cluster: &'c Cluster, account: Option<&str>) -> Option<&'c Partition> {
    let takes = |partition: &&Partition| {
        partition.up
            && (partition.accounts.is_empty()
                || account.is_some_and(|account| partition.accounts.iter().any(|it| it == account)))
    };
    let usual = cluster.default_partition().filter(takes);
    usual.or_else(|| cluster.partitions.iter().find(takes))
}

/// The time that leaves room for the margin, where the usual one does not.
fn fitting_time(most: Duration) -> Option<Walltime> {
    let (time, margin) = usual_times()?;
    if time + margin <= most {
        return None;
    }
    let left = most.checked_sub(margin).filter(|left| !left.is_zero())?;
    Some(Walltime::from_secs(left.as_secs()))
}

/// `time` and `margin` where nobody says otherwise.
fn usual_times() -> Option<(Duration, Duration)> {
    let environment = std::collections::BTreeMap::new();
    let context = Context {
        environment: &environment,
        home: Some("/"),
        cluster: None,
    };
    let site = Site::read(None, None, &[], &context).ok()?;
    Some((
        site.scheduler.time.duration(),
        site.scheduler.margin.duration(),
    ))
}

/// A comment with a line for each partition.
fn partitions(cluster: &Cluster) -> String {
    let mut rows =
        vec![["partition", "up to", "nodes", "cores", "memory", "also"].map(str::to_owned)];
    rows.extend(cluster.partitions.iter().take(LISTED).map(row));
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or_default()
    };
    let widths: Vec<usize> = (0..6).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        writeln!(text, "#   {}", line.trim_end()).expect("a String takes any text");
    }
    if let Some(more) = cluster
        .partitions
        .len()
        .checked_sub(LISTED)
        .filter(|more| *more > 0)
    {
        writeln!(text, "#   and {more} more: `sinfo -s`").expect("a String takes any text");
    }
    text
}

fn row(partition: &Partition) -> [String; 6] {
    let default = if partition.default { " (default)" } else { "" };
    let time = partition.max_time.map_or_else(
        || "any time".to_owned(),
        |time| Walltime::from_secs(time.as_secs()).to_string(),
    );
    let nodes = partition.max_nodes.unwrap_or(u32::MAX).min(partition.nodes);
    let shapes = &partition.shapes;
    let cores = span(shapes.iter().map(|shape| u64::from(shape.cpus)), |cores| {
        cores.to_string()
    });
    let memory = span(shapes.iter().map(|shape| shape.memory), |bytes| {
        Memory::from_bytes(bytes).rounded()
    });
    let mut also: Vec<String> = unique(
        shapes
            .iter()
            .flat_map(|shape| shape.gres.iter().map(String::as_str)),
    )
    .into_iter()
    .map(str::to_owned)
    .collect();
    if !partition.accounts.is_empty() {
        also.push(format!("for {}", partition.accounts.join(", ")));
    }
    if !partition.up {
        also.push("not up".to_owned());
    }
    [
        format!("{}{default}", partition.name),
        time,
        nodes.to_string(),
        cores,
        memory,
        also.join("; "),
    ]
}

fn span(values: impl Iterator<Item = u64> + Clone, shown: impl Fn(u64) -> String) -> String {
    match (values.clone().min(), values.max()) {
        (Some(least), Some(most)) if least == most => shown(least),
        (Some(least), Some(most)) => format!("{} to {}", shown(least), shown(most)),
        _ => "?".to_owned(),
    }
}

fn launcher(text: &mut String, machine: &Machine, cluster: &Cluster) {
    let Some(mpi) = machine.mpi().filter(|mpi| !cluster.has_pmi(mpi.pmi())) else {
        return;
    };
    toml::comment(
        text,
        &format!(
            "{} under srun needs `{}`, which this Slurm does not have ({}): mpiexec starts the ranks.",
            mpi.name(),
            mpi.pmi(),
            cluster.pmis.join(", ")
        ),
    );
    text.push_str(&table(Some(cluster), "launcher"));
    text.push_str("kind = \"mpiexec\"\n\n");
}

fn workspace(text: &mut String, found: &Found, cluster: &Cluster) {
    let machine = &found.machine;
    let name = found.name.as_deref().unwrap_or("project");
    let root = |storage: &Storage| {
        let mut lines = table(Some(cluster), "workspace");
        toml::key(
            &mut lines,
            "root",
            &toml::string(&format!("{}/hpc-ci/{name}", storage.path)),
        );
        lines
    };
    let kind = |kind: Option<&'static str>| kind.unwrap_or("of unknown kind");
    let shared = machine
        .storage
        .iter()
        .find(|storage| is_shared(&storage.facts));
    if let Some(storage) = shared {
        toml::comment(
            text,
            &format!(
                "Trees, runs and caches: big, on storage that nodes see. This is ${}, {}; cron does not know that variable.",
                storage.variable,
                kind(storage.facts.filesystem)
            ),
        );
        text.push_str(&root(storage));
    } else {
        let here = kind(machine.clone.filesystem);
        let seen = if is_shared(&machine.clone) {
            ""
        } else {
            ", which nodes may not see: `hpc-ci doctor` asks one"
        };
        toml::comment(
            text,
            &format!("Trees and runs go below `hpc-ci` in the clone. It is on {here}{seen}."),
        );
        for storage in &machine.storage {
            toml::comment(
                text,
                &format!(
                    "There is ${} too, {}:",
                    storage.variable,
                    kind(storage.facts.filesystem)
                ),
            );
            toml::commented(text, &root(storage));
        }
    }
    text.push('\n');
}
