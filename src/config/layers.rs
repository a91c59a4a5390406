//! Layers of settings: which tables belong where, what lies over what, and where each value in force came from.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use super::problem::{ConfigError, Problem, Report};
use super::raw::{self, At, Entry, Item, Source, SourceKind, Table, Value};
use super::read::{unknown_key, wrong_type};
use super::site::{self, SiteTables};
use super::suite::{self, SuiteTables};
use super::{Context, File, Site};

/// Where a value in force came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Built in.
    Default,
    /// A line of a file.
    File {
        /// The file's name.
        name: String,
        /// The line, counted from one.
        line: usize,
    },
    /// An environment variable.
    Environment(String),
    /// A flag of the command line.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { name, line } => write!(f, "{name}:{line}"),
            Self::Environment(name) => write!(f, "${name}"),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}

/// A setting in force.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Setting {
    /// Its dotted key; steps go by their names.
    pub key: String,
    /// Its value as it was written.
    pub value: toml::Value,
    /// Where it came from.
    pub origin: Origin,
}

/// A setting of a commit's file that only trusted files may give.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ignored {
    /// Its dotted key.
    pub key: String,
    /// What was asked for.
    pub asked: toml::Value,
    /// What is in force instead; nothing, if the site does not set it.
    pub in_force: Option<toml::Value>,
    /// Where it stands, as `file:line`.
    pub location: String,
}

impl fmt::Display for Ignored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: `{} = {}` is ignored",
            self.location, self.key, self.asked
        )?;
        match &self.in_force {
            Some(value) => write!(f, ", `{value}` holds"),
            None => write!(f, ", it is not for the commit to say"),
        }
    }
}

/// A flag or environment variable that beats the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// The dotted key that it sets.
    pub key: &'static str,
    /// Its value; `true`, `false` and whole numbers are taken as such.
    pub value: String,
    /// Which flag or variable it is.
    pub origin: Origin,
}

/// Values that hold where nobody says otherwise.
const DEFAULTS: &str = include_str!("defaults.toml");

struct Defaults {
    tables: Table,
    templates: Table,
}

impl Defaults {
    fn read(report: &Report) -> Self {
        let source = Source::new("built-in defaults", DEFAULTS, SourceKind::Default);
        let mut tables = raw::parse(&source, report).unwrap_or_default();
        let templates = tables.get("template").and_then(Item::table).cloned();
        tables.entries.retain(|entry| entry.key != "template");
        Self {
            tables,
            templates: templates.unwrap_or_default(),
        }
    }

    /// Returns the layer laid over the defaults, with the templates below its builds, steps and targets.
    fn below(&self, layer: &Table) -> Table {
        let mut both = self.tables.under(layer);
        if let Some(Value::Table(builds)) = both.get_mut("build").map(|item| &mut item.value) {
            for entry in &mut builds.entries {
                lay_below(&mut entry.item, self.templates.get("build"));
            }
        }
        for key in ["test", "benchmark"] {
            if let Some(Value::List(steps)) = both.get_mut(key).map(|item| &mut item.value) {
                for step in steps {
                    lay_below(step, self.templates.get(key));
                }
            }
        }
        let targets = self.templates.get("publish").and_then(Item::table);
        if let Some(Value::Table(publish)) = both.get_mut("publish").map(|item| &mut item.value) {
            for entry in &mut publish.entries {
                let template = targets.and_then(|targets| targets.get(&entry.key));
                lay_below(&mut entry.item, template);
            }
        }
        both
    }
}

/// Lays a template below a table, whose place stays where it was typed.
fn lay_below(item: &mut Item, template: Option<&Item>) {
    if let (Value::Table(table), Some(template)) = (&mut item.value, template.and_then(Item::table))
    {
        *table = template.under(table);
    }
}

/// A file's tables apart from its overrides by cluster.
struct Layer {
    plain: Table,
    clusters: Vec<Entry>,
}

impl Layer {
    /// Reads a file, of which tables other than `allowed` are mistakes.
    fn read(file: File, allowed: &[&str], report: &Report) -> Option<Self> {
        let source = Source::new(file.name, file.text, SourceKind::File);
        let root = raw::parse(&source, report)?;
        for entry in &root.entries {
            check_table(entry, allowed, "", report);
        }
        let clusters = match root.get("cluster") {
            None => Vec::new(),
            Some(Item {
                value: Value::Table(table),
                ..
            }) => table.entries.clone(),
            Some(item) => {
                wrong_type(
                    item,
                    "cluster",
                    "tables such as `[cluster.NAME.scheduler]`",
                    report,
                );
                Vec::new()
            }
        };
        for cluster in &clusters {
            check_cluster(cluster, allowed, report);
        }
        let plain = root.only(|key| key != "cluster");
        Some(Self { plain, clusters })
    }

    fn cluster(&self, name: Option<&str>) -> Option<&Table> {
        let cluster = self
            .clusters
            .iter()
            .find(|entry| Some(entry.key.as_str()) == name)?;
        cluster.item.table()
    }

    /// Returns the tables that hold on the cluster `name`.
    fn on(&self, name: Option<&str>) -> Table {
        match self.cluster(name) {
            Some(cluster) => self.plain.under(cluster),
            None => self.plain.clone(),
        }
    }

    /// Returns the tables as they are without a cluster and on each one that is named.
    fn variants(&self) -> Vec<Table> {
        let named = self.clusters.iter().map(|entry| self.on(Some(&entry.key)));
        std::iter::once(self.plain.clone()).chain(named).collect()
    }
}

fn all_tables() -> Vec<&'static str> {
    site::TABLES.into_iter().chain(suite::TABLES).collect()
}

/// Reports a table that does not belong here.
fn check_table(entry: &Entry, allowed: &[&str], path: &str, report: &Report) {
    let key = entry.key.as_str();
    if allowed.contains(&key) || (key == "cluster" && path.is_empty()) {
        return;
    }
    if !all_tables().contains(&key) {
        let mut known = allowed.to_vec();
        if path.is_empty() {
            known.push("cluster");
        }
        unknown_key(key, &entry.key_at, path, &known, report);
        return;
    }
    let message = format!("`{}` does not belong here", raw::join(path, key));
    let help = if suite::TABLES.contains(&key) {
        "what to test is said in the `hpc.toml` of the repository"
    } else {
        "where and for whom is said in the site's file or the local `hpc.toml`"
    };
    report.push(
        Problem::new("misplaced-table", &entry.key_at, message)
            .label("not here")
            .help(help),
    );
}

fn check_cluster(cluster: &Entry, allowed: &[&str], report: &Report) {
    let path = raw::join("cluster", &cluster.key);
    let Some(table) = cluster.item.table() else {
        wrong_type(&cluster.item, &path, "a table of tables", report);
        return;
    };
    for entry in &table.entries {
        if matches!(entry.key.as_str(), "test" | "benchmark") {
            let message = format!("`{}` does not belong here", raw::join(&path, &entry.key));
            let problem = Problem::new("misplaced-table", &entry.key_at, message).label("not here");
            report.push(problem.help(format!("steps are not overridden by cluster; give a step `only = {{ cluster = \"{}\" }}`, or `skip`", cluster.key)));
        } else {
            check_table(entry, allowed, &path, report);
        }
    }
}

/// Reads the site from its layers.
pub(super) fn read_site(
    site: Option<File>,
    local: Option<File>,
    overrides: &[Override],
    context: &Context,
) -> Result<(SiteTables, Vec<Setting>), ConfigError> {
    let report = Report::new(context);
    let defaults = Defaults::read(&report);
    let mut in_force = Table::default();
    let files = [(site, site::TABLES.to_vec()), (local, all_tables())];
    for (file, allowed) in files {
        let Some(layer) = file.and_then(|file| Layer::read(file, &allowed, &report)) else {
            continue;
        };
        for variant in layer.variants() {
            let tree = defaults.below(&variant);
            site::read(&tree, &report);
            if allowed.contains(&"test") {
                suite::read(&tree, &report);
            }
        }
        in_force.overlay(
            &layer
                .on(context.cluster)
                .only(|key| site::TABLES.contains(&key)),
        );
    }
    for over in overrides {
        in_force.overlay(&override_tree(over));
    }
    let tree = defaults
        .below(&in_force)
        .only(|key| site::TABLES.contains(&key));
    let tables = site::read(&tree, &report);
    let settings = settings(&tree);
    report.settle((tables, settings))
}

/// Reads the suite from the commit's file.
pub(super) fn read_suite(
    file: File,
    site: &Site,
    context: &Context,
) -> Result<(SuiteTables, Vec<Setting>, Vec<Ignored>), ConfigError> {
    let report = Report::new(context);
    let defaults = Defaults::read(&report);
    let layer = Layer::read(file, &all_tables(), &report);
    let layer = layer.unwrap_or(Layer {
        plain: Table::default(),
        clusters: Vec::new(),
    });
    let of_suite = |table: &Table| table.only(|key| suite::TABLES.contains(&key));
    for variant in layer.variants() {
        suite::read(&defaults.below(&of_suite(&variant)), &report);
    }
    let asked = layer.on(context.cluster);
    let tree = of_suite(&defaults.below(&of_suite(&asked)));
    let tables = suite::read(&tree, &report);
    let ignored = ignored(&asked, site);
    let mut settings = settings(&tree);
    // Every step has some forty keys; only what was written is worth a line.
    settings.retain(|setting| {
        let of_step = setting.key.starts_with("test.") || setting.key.starts_with("benchmark.");
        !of_step || setting.origin != Origin::Default
    });
    report.settle((tables, settings, ignored))
}

/// Returns the tree in which nothing but the override stands.
fn override_tree(over: &Override) -> Table {
    let (name, kind) = match &over.origin {
        Origin::Flag(flag) => (flag.as_str(), SourceKind::Flag),
        Origin::Environment(variable) => (variable.as_str(), SourceKind::Environment),
        Origin::File { name, .. } => (name.as_str(), SourceKind::File),
        Origin::Default => ("built-in defaults", SourceKind::Default),
    };
    let source = Source::new(name, &over.value, kind);
    let mut item = raw::parse_value(&source);
    let at = item.at.clone();
    for key in over.key.rsplit('.') {
        let entry = Entry {
            key: key.to_owned(),
            key_at: at.clone(),
            item,
        };
        item = Item {
            value: Value::Table(Table {
                entries: vec![entry],
            }),
            at: at.clone(),
        };
    }
    match item.value {
        Value::Table(table) => table,
        _ => Table::default(),
    }
}

fn settings(tree: &Table) -> Vec<Setting> {
    let leaves = tree.leaves().into_iter();
    leaves
        .map(|(key, item)| Setting {
            key,
            value: item.value.to_toml(),
            origin: origin(&item.at),
        })
        .collect()
}

fn origin(at: &At) -> Origin {
    let name = at.source.name.clone();
    match at.source.kind {
        SourceKind::Default => Origin::Default,
        SourceKind::File => Origin::File {
            name,
            line: at.line(),
        },
        SourceKind::Environment => Origin::Environment(name),
        SourceKind::Flag => Origin::Flag(name),
    }
}

fn ignored(asked: &Table, site: &Site) -> Vec<Ignored> {
    let asked = asked.only(|key| site::TABLES.contains(&key));
    let in_force: BTreeMap<&str, &toml::Value> = site
        .settings()
        .iter()
        .map(|setting| (setting.key.as_str(), &setting.value))
        .collect();
    let leaves = asked.leaves().into_iter();
    leaves
        .map(|(key, item)| Ignored {
            asked: item.value.to_toml(),
            in_force: in_force.get(key.as_str()).map(|value| (*value).clone()),
            location: format!("{}:{}", item.at.source.name, item.at.line()),
            key,
        })
        .filter(|ignored| ignored.in_force.as_ref() != Some(&ignored.asked))
        .filter(|ignored| !is_same_target(ignored, &in_force))
        .collect()
}

/// Returns whether an empty table asks for a target that the site has anyway.
fn is_same_target(ignored: &Ignored, in_force: &BTreeMap<&str, &toml::Value>) -> bool {
    let prefix = format!("{}.", ignored.key);
    let empty = ignored.asked.as_table().is_some_and(toml::Table::is_empty);
    empty && in_force.keys().any(|key| key.starts_with(&prefix))
}

/// A file that has one of everything, read only to learn which keys there are.
const EVERYTHING: &str = "
[publish.codecov]
[publish.results_branch]
[publish.github]
[publish.gitlab]
[scheduler.limits]
[build.NAME]
[[test]]
only = {}
skip = {}
results = {}
matrix = {}
[[benchmark]]
only = {}
skip = {}
results = {}
matrix = {}
metric = {}
";

/// Returns every key that is known, dotted; `build.NAME` stands for all builds.
#[must_use]
pub fn keys() -> &'static [String] {
    static KEYS: LazyLock<Vec<String>> = LazyLock::new(find_keys);
    &KEYS
}

fn find_keys() -> Vec<String> {
    let environment = BTreeMap::new();
    let context = Context {
        environment: &environment,
        home: Some("/"),
        cluster: None,
    };
    let report = Report::new(&context);
    let defaults = Defaults::read(&report);
    let source = Source::new("everything", EVERYTHING, SourceKind::File);
    let everything = raw::parse(&source, &report).unwrap_or_default();
    let tree = defaults.below(&everything);
    report.hush();
    site::read(&tree, &report);
    suite::read(&tree, &report);
    report.keys()
}
