//! What to test: the tables that are read from the commit, after the checkout.

use serde::{Deserialize, Serialize};

use super::choices::{DyingRanks, Engine, KeepProfiles, LauncherKind, Pmi, Producer, Where};
use super::fields::{
    Bounded, GlobText, Module, PathText, PlacedGlob, Plain, Positive, Word, is_variable_name,
    name_fault,
};
use super::problem::{Problem, Report};
use super::raw::{Item, Table, Value, join};
use super::read::{Field, OneOrMore, Section, impossible, section, wrong_type};
use super::semantics;
use super::step::{self, CommandLine, StepSpec};
use super::units::{Memory, Walltime};
use crate::shell;

/// The tables of the suite.
pub(super) const TABLES: [&str; 7] = [
    "build",
    "test",
    "benchmark",
    "coverage",
    "gates",
    "environment",
    "launcher",
];

/// The values of the suite's tables.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct SuiteTables {
    pub(super) builds: Vec<BuildSpec>,
    pub(super) steps: Vec<StepSpec>,
    pub(super) coverage: Coverage,
    pub(super) gates: toml::Table,
    pub(super) environment: Environment,
    pub(super) launcher: Launcher,
}

/// One `[build.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildSpec {
    /// Its name.
    pub name: String,
    /// What builds; unset: there is nothing to build.
    pub command: Option<CommandLine>,
    /// What its coverage is made of.
    pub coverage: Producer,
    /// What brings dependencies in, where there is a network.
    pub fetch: Option<CommandLine>,
    /// Where it is built.
    pub place: Where,
    /// The time of its job; unset: the site's.
    pub time: Option<Walltime>,
    /// The processors of its job.
    pub cpus: Option<u32>,
    /// The memory of its job.
    pub memory: Option<Memory>,
    /// The partition of its job; unset: the site's.
    pub partition: Option<String>,
    /// Whether its tree is kept between runs.
    pub reuse: bool,
}

/// `[environment]`: what a shell is prepared with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// `auto`, `none`, or a file that brings the `module` command.
    pub init: String,
    /// Folders of module files.
    pub uses: Vec<String>,
    /// Modules, each of which must load.
    pub modules: Vec<String>,
    /// Lines of shell after the modules.
    pub setup: Vec<String>,
    /// Variables, in the order they were written.
    pub variables: Vec<(String, String)>,
}

/// `[launcher]`: how ranks are started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launcher {
    /// Which program starts them.
    pub kind: LauncherKind,
    /// How they find one another.
    pub pmi: Pmi,
    /// Further options of the launcher.
    pub options: Vec<String>,
    /// What stands between the per-rank wrapper and the program.
    pub wrap: Vec<String>,
}

/// `[coverage]`: what counts as covered code.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    /// Patterns of source paths that count; none: all.
    pub include: Vec<String>,
    /// Patterns of source paths that do not.
    pub exclude: Vec<String>,
    /// Objects besides those in the work trees.
    pub objects: Vec<String>,
    /// What reads profiles and objects.
    pub engine: Engine,
    /// Where that happens.
    pub place: Where,
    /// The time of its job; unset: the site's.
    #[serde(default)]
    pub time: Option<Walltime>,
    /// The processors of its job; unset: as many as this process may use.
    #[serde(default)]
    pub cpus: Option<u32>,
    /// The memory of its job.
    #[serde(default)]
    pub memory: Option<Memory>,
    /// The partition of its job; unset: the site's.
    #[serde(default)]
    pub partition: Option<String>,
    /// Which raw profiles stay.
    pub keep_profiles: KeepProfiles,
    /// How the counters of ranks that die are kept.
    pub dying_ranks: DyingRanks,
}

/// Reads the suite's tables from a tree that has the defaults below it.
pub(super) fn read(root: &Table, report: &Report) -> SuiteTables {
    let nothing = Table::default();
    let tables = |key| root.get(key).map(|item| (item, item.table()));
    let builds = match tables("build") {
        Some((_, Some(table))) => table
            .entries
            .iter()
            .filter_map(|it| build(&it.key, &it.item, report))
            .collect(),
        Some((item, None)) => {
            wrong_type(item, "build", "tables such as `[build.tests]`", report);
            Vec::new()
        }
        None => Vec::new(),
    };
    let mut steps = Vec::new();
    if let Some(environment) = root.get("environment") {
        for table in ["test", "benchmark"] {
            steps.extend(read_steps(root, table, environment, report));
        }
    }
    let gates = match tables("gates") {
        Some((_, Some(table))) => table,
        Some((item, None)) => {
            wrong_type(item, "gates", "tables such as `[gates.default]`", report);
            &nothing
        }
        None => &nothing,
    };
    let gates = gates.to_toml();
    let coverage = root
        .get("coverage")
        .and_then(|item| section(item, "coverage", report, coverage));
    let environment = root.get("environment");
    let launcher = root
        .get("launcher")
        .and_then(|item| section(item, "launcher", report, launcher));
    let suite = SuiteTables {
        builds,
        steps,
        coverage: coverage.unwrap_or_default(),
        gates,
        environment: environment
            .map(|item| read_environment(item, "environment", report))
            .unwrap_or_default(),
        launcher: launcher.unwrap_or_default(),
    };
    semantics::check(root, &suite, report);
    suite
}

fn read_steps(
    root: &Table,
    table: &'static str,
    environment: &Item,
    report: &Report,
) -> Vec<StepSpec> {
    let Some(item) = root.get(table) else {
        return Vec::new();
    };
    let Value::List(items) = &item.value else {
        let problem = Problem::new(
            "wrong-type",
            &item.at,
            format!(
                "`{table}` must be a list of tables, not {}",
                item.value.kind()
            ),
        );
        report.push(
            problem
                .label(format!("this is {}", item.value.kind()))
                .help(format!("begin each with `[[{table}]]`")),
        );
        return Vec::new();
    };
    items
        .iter()
        .filter_map(|item| step::read(item, table, environment, report))
        .collect()
}

fn build(name: &str, item: &Item, report: &Report) -> Option<BuildSpec> {
    let path = join("build", name);
    let spec = section(item, &path, report, |s| BuildSpec {
        name: name.to_owned(),
        command: s.get("command"),
        coverage: s.need("coverage"),
        fetch: s.get("fetch"),
        place: s.need("where"),
        time: s.get("time"),
        cpus: s.get("cpus").map(|Bounded(count): Positive| count),
        memory: s.get("memory"),
        partition: s.get("partition").map(|Word(word)| word),
        reuse: s.need("reuse"),
    })?;
    if let Some(fault) = name_fault(name) {
        let message = format!("`{}` cannot be the name of a build", name.escape_debug());
        impossible(&item.at, message, fault, report);
    }
    Some(spec)
}

/// Reads `[environment]`, or a step's own with that below it.
pub(super) fn read_environment(item: &Item, path: &str, report: &Report) -> Environment {
    let read = section(item, path, report, |s| Environment {
        init: s.need("init"),
        uses: s.need::<Vec<PathText>>("use").plain(),
        modules: s.need::<Vec<Module>>("modules").plain(),
        setup: s
            .get("setup")
            .map(|OneOrMore(lines)| lines)
            .unwrap_or_default(),
        variables: variables(s),
    });
    read.unwrap_or_default()
}

/// Variables that hpc-ci sets itself; a value of somebody else's would mix up the ranks' profiles.
const OWN_VARIABLES: &str = "HPC_CI_";

fn variables(s: &Section) -> Vec<(String, String)> {
    let Some(item) = s.item("variables") else {
        return Vec::new();
    };
    let Value::Table(table) = &item.value else {
        wrong_type(
            item,
            &join(s.path, "variables"),
            "a table of variables",
            s.report,
        );
        return Vec::new();
    };
    let mut variables = Vec::new();
    for entry in &table.entries {
        let fault = if !is_variable_name(&entry.key) {
            "letters, digits and `_`"
        } else if entry.key.starts_with(OWN_VARIABLES) {
            "hpc-ci sets these itself"
        } else if shell::VARIABLES.contains(&entry.key.as_str()) {
            "it changes how shells work, and reaches no build and no step"
        } else {
            ""
        };
        if !fault.is_empty() {
            let message = format!("`{}` cannot be a variable here", entry.key.escape_debug());
            impossible(&entry.key_at, message, fault, s.report);
        }
        let value = match &entry.item.value {
            Value::Integer(number) => Some(number.to_string()),
            Value::Float(_) => Some(entry.item.at.typed().to_owned()),
            _ => String::read(
                &entry.item,
                &join(&join(s.path, "variables"), &entry.key),
                s.report,
            ),
        };
        variables.extend(value.map(|value| (entry.key.clone(), value)));
    }
    variables
}

fn launcher(s: &Section) -> Launcher {
    Launcher {
        kind: s.need("kind"),
        pmi: s.need("pmi"),
        options: s.need("options"),
        wrap: s.need("wrap"),
    }
}

fn coverage(s: &Section) -> Coverage {
    Coverage {
        include: s.need::<Vec<GlobText>>("include").plain(),
        exclude: s.need::<Vec<GlobText>>("exclude").plain(),
        objects: s.need::<Vec<PlacedGlob>>("objects").plain(),
        engine: s.need("engine"),
        place: s.need("where"),
        time: s.get("time"),
        cpus: s.get("cpus").map(|Bounded(count): Positive| count),
        memory: s.get("memory"),
        partition: s.get("partition").map(|Word(word)| word),
        keep_profiles: s.need("keep_profiles"),
        dying_ranks: s.need("dying_ranks"),
    }
}
