//! `[[test]]` and `[[benchmark]]`: one table is one step, or as many as its matrix has points.

use serde::{Deserialize, Serialize};

use super::choices::{Expect, LauncherKind, Pmi, Producer, Strategy};
use super::fields::{
    Bounded, GlobText, InnerGlob, Name, PathText, Plain, Positive, SchedulerOption, Word,
    is_variable_name,
};
use super::matrix::Matrix;
use super::problem::{Problem, Report};
use super::raw::{Item, Value, join};
use super::read::{Field, OneOrMore, Section, impossible, refuse, section, wrong_type};
use super::results::{self, Benchmark, ResultsFile};
use super::site::inner;
use super::suite::{Environment, read_environment};
use super::units::{Memory, Walltime};

/// A command: one string is for bash, a list is executed as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CommandLine {
    /// Text that bash runs.
    Shell(String),
    /// A program and its arguments.
    Argv(Vec<String>),
}

/// Where a step runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cwd {
    /// In its build's work tree.
    Tree,
    /// In a copy of the tree for each attempt.
    Private,
    /// In a folder; a relative one starts at the tree.
    Path(String),
}

/// Whether a step is a test or a benchmark.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StepKind {
    /// A test.
    Test,
    /// A benchmark.
    Benchmark(Benchmark),
}

/// Whether and how a step's coverage is collected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepCoverage {
    /// As its build is made.
    AsBuilt,
    /// By this producer; `None` leaves the step out.
    By(Producer),
}

/// When a step is (or is not) part of a run. All that is set must hold; of one list, one suffices.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conditions {
    /// Patterns of cluster names.
    pub cluster: Vec<String>,
    /// Patterns of partition names.
    pub partition: Vec<String>,
    /// Variables of the caller.
    pub environment: Vec<VariableCondition>,
}

/// A condition on a variable of the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VariableCondition {
    /// The variable.
    pub name: String,
    /// What its value must look like; `None`: it is set and not empty.
    pub pattern: Option<String>,
}

/// One `[[test]]` or `[[benchmark]]`, before its matrix is multiplied out.
#[derive(Debug, Clone, PartialEq)]
pub struct StepSpec {
    /// Where it stands, as `file:line`.
    pub location: String,
    /// Test or benchmark.
    pub kind: StepKind,
    /// Its name.
    pub name: String,
    /// The suite it is counted in.
    pub suite: String,
    /// Words to select it by.
    pub tags: Vec<String>,
    /// The command.
    pub command: CommandLine,
    /// The build whose tree it runs in; unset: `tests` or `benchmarks`.
    pub build: Option<String>,
    /// How many ranks.
    pub ranks: u32,
    /// How many nodes; unset: from `ranks_per_node`, else Slurm's choice.
    pub nodes: Option<u32>,
    /// How many ranks on a node.
    pub ranks_per_node: Option<u32>,
    /// How many processors for a rank.
    pub cpus_per_rank: Option<u32>,
    /// How many graphics processors for a rank.
    pub gpus_per_rank: Option<u32>,
    /// Generic resources of a node, as Slurm writes them.
    pub gres: Option<String>,
    /// Memory of a node.
    pub memory: Option<Memory>,
    /// Memory for a processor.
    pub memory_per_cpu: Option<Memory>,
    /// Whether its nodes are its own.
    pub exclusive: bool,
    /// The partition; unset: the site's.
    pub partition: Option<String>,
    /// The quality of service; unset: the site's.
    pub qos: Option<String>,
    /// A reservation.
    pub reservation: Option<String>,
    /// Features that nodes must have.
    pub constraint: Option<String>,
    /// The time for its program; unset: the site's.
    pub time: Option<Walltime>,
    /// How long it may wait in the queue; unset: the site's.
    pub max_pending: Option<Walltime>,
    /// How it becomes a job; unset: the site's.
    pub strategy: Option<Strategy>,
    /// Further options of `sbatch`, if the site trusts them.
    pub options: Vec<String>,
    /// The launcher; unset: as `[launcher]` has it.
    pub launcher: Option<LauncherKind>,
    /// How ranks find one another; unset: as `[launcher]` has it.
    pub pmi: Option<Pmi>,
    /// What stands between wrapper and program; unset: as `[launcher]` has it.
    pub wrap: Option<Vec<String>>,
    /// `[environment]` with the step's own laid over it.
    pub environment: Environment,
    /// Where it runs.
    pub cwd: Cwd,
    /// The group whose steps never overlap.
    pub serial: Option<String>,
    /// Commands before it.
    pub before: Vec<CommandLine>,
    /// Commands after it.
    pub after: Vec<CommandLine>,
    /// Names of steps that must have passed.
    pub needs: Vec<String>,
    /// How often it is tried again when it fails.
    pub retries: u32,
    /// How it has to end.
    pub expect: Expect,
    /// It takes part only if these hold.
    pub only: Option<Conditions>,
    /// It does not take part if these hold.
    pub skip: Option<Conditions>,
    /// Where it tells of its tests.
    pub results: Option<ResultsFile>,
    /// Whether its coverage is collected.
    pub coverage: StepCoverage,
    /// Patterns of files that are kept with the run.
    pub keep: Vec<String>,
    /// Its axes.
    pub matrix: Matrix,
}

impl StepSpec {
    /// Returns a step of which nothing is set.
    pub(super) fn blank() -> Self {
        Self {
            location: String::new(),
            kind: StepKind::Test,
            name: String::new(),
            suite: String::new(),
            tags: Vec::new(),
            command: CommandLine::default(),
            build: None,
            ranks: 1,
            nodes: None,
            ranks_per_node: None,
            cpus_per_rank: None,
            gpus_per_rank: None,
            gres: None,
            memory: None,
            memory_per_cpu: None,
            exclusive: false,
            partition: None,
            qos: None,
            reservation: None,
            constraint: None,
            time: None,
            max_pending: None,
            strategy: None,
            options: Vec::new(),
            launcher: None,
            pmi: None,
            wrap: None,
            environment: Environment::default(),
            cwd: Cwd::Tree,
            serial: None,
            before: Vec::new(),
            after: Vec::new(),
            needs: Vec::new(),
            retries: 0,
            expect: Expect::default(),
            only: None,
            skip: None,
            results: None,
            coverage: StepCoverage::AsBuilt,
            keep: Vec::new(),
            matrix: Matrix::default(),
        }
    }
}

/// Reads one element of `[[test]]` or `[[benchmark]]`, with `environment` below its own.
pub(super) fn read(
    item: &Item,
    table: &'static str,
    environment: &Item,
    report: &Report,
) -> Option<StepSpec> {
    section(item, table, report, |s| step(s, table, environment))
}

fn step(s: &Section, table: &str, environment: &Item) -> StepSpec {
    let kind = if table == "benchmark" {
        StepKind::Benchmark(results::benchmark(s))
    } else {
        StepKind::Test
    };
    StepSpec {
        location: format!("{}:{}", s.at.source.name, s.at.line()),
        kind,
        name: s.need::<Name>("name").0,
        suite: s.need::<Name>("suite").0,
        tags: s.need::<Vec<Name>>("tags").plain(),
        command: s.need("command"),
        build: s.get("build").map(|Name(name)| name),
        ranks: s.need::<Positive>("ranks").0,
        nodes: positive(s, "nodes"),
        ranks_per_node: positive(s, "ranks_per_node"),
        cpus_per_rank: positive(s, "cpus_per_rank"),
        gpus_per_rank: positive(s, "gpus_per_rank"),
        gres: word(s, "gres"),
        memory: s.get("memory"),
        memory_per_cpu: memory_per_cpu(s),
        exclusive: s.need("exclusive"),
        partition: word(s, "partition"),
        qos: word(s, "qos"),
        reservation: word(s, "reservation"),
        constraint: word(s, "constraint"),
        time: s.get("time"),
        max_pending: s.get("max_pending"),
        strategy: s.get("strategy"),
        options: s.need::<Vec<SchedulerOption>>("options").plain(),
        launcher: s.get("launcher"),
        pmi: s.get("pmi"),
        wrap: s.get("wrap"),
        environment: own_environment(s, environment),
        cwd: s.get("cwd").unwrap_or(Cwd::Tree),
        serial: s.get("serial").map(|Name(group)| group),
        before: s.get("before").map(|Commands(all)| all).unwrap_or_default(),
        after: s.get("after").map(|Commands(all)| all).unwrap_or_default(),
        needs: s
            .get("needs")
            .map(|OneOrMore::<Name>(names)| names.plain())
            .unwrap_or_default(),
        retries: s.need::<Bounded<0, 100>>("retries").0,
        expect: s.need("expect"),
        only: inner(s, "only", conditions),
        skip: inner(s, "skip", conditions),
        results: results::read(s, table == "benchmark"),
        coverage: s.get("coverage").unwrap_or(StepCoverage::AsBuilt),
        keep: s.need::<Vec<InnerGlob>>("keep").plain(),
        matrix: s.get("matrix").unwrap_or_default(),
    }
}

fn positive(s: &Section, key: &'static str) -> Option<u32> {
    s.get(key).map(|Bounded(count): Positive| count)
}

fn word(s: &Section, key: &'static str) -> Option<String> {
    s.get(key).map(|Word(word)| word)
}

fn memory_per_cpu(s: &Section) -> Option<Memory> {
    let size = s.get("memory_per_cpu");
    if let (Some(item), Some(_)) = (s.table.get("memory_per_cpu"), s.table.get("memory")) {
        let message = "`memory` and `memory_per_cpu` exclude one another";
        let problem = Problem::new("conflict", &item.at, message).label("and this");
        s.report
            .push(problem.help("keep the one you mean: `memory` is for a node"));
    }
    size
}

fn own_environment(s: &Section, below: &Item) -> Environment {
    let mut both = below.clone();
    if let Some(own) = s.item("environment") {
        if own.table().is_some() {
            both.overlay(own);
        } else {
            let path = join(s.path, "environment");
            wrong_type(own, &path, "a table like `[environment]`", s.report);
        }
    }
    // Under the general name, so that a mistake in `[environment]` is not told again for each step.
    read_environment(&both, "environment", s.report)
}

impl Default for CommandLine {
    fn default() -> Self {
        Self::Argv(Vec::new())
    }
}

impl Field for CommandLine {
    fn read(item: &Item, path: &str, report: &Report) -> Option<Self> {
        let command = match &item.value {
            Value::Text(_) => Self::Shell(String::read(item, path, report)?),
            Value::List(_) => Self::Argv(Vec::read(item, path, report)?),
            _ => {
                wrong_type(
                    item,
                    path,
                    "a string for bash, or a list of a program and its arguments",
                    report,
                );
                return None;
            }
        };
        let empty = match &command {
            Self::Shell(text) => text.trim().is_empty(),
            Self::Argv(argv) => argv.first().is_none_or(String::is_empty),
        };
        if empty {
            refuse(item, path, "names no program", report);
            return None;
        }
        Some(command)
    }
}

/// `before` and `after`: one command, or a list of commands that are lists.
#[derive(Debug, Default)]
struct Commands(Vec<CommandLine>);

impl Field for Commands {
    fn read(item: &Item, path: &str, report: &Report) -> Option<Self> {
        let Value::List(items) = &item.value else {
            return CommandLine::read(item, path, report).map(|one| Self(vec![one]));
        };
        if items
            .iter()
            .any(|item| matches!(item.value, Value::List(_)))
        {
            return Vec::read(item, path, report).map(Self);
        }
        let program = items.first().filter(|first| {
            first
                .text()
                .is_some_and(|text| text.trim().contains(char::is_whitespace))
        });
        if let Some(program) = program {
            let message = "a list of strings is one program and its arguments";
            let problem = Problem::new("impossible-value", &program.at, message);
            report.push(problem.label("a program with blanks in its name?").help(
                "write several shell commands as one string with line breaks, or each as a list: [[\"mkdir\", \"out\"], ...]",
            ));
            return None;
        }
        CommandLine::read(item, path, report).map(|one| Self(vec![one]))
    }
}

impl Cwd {
    /// Returns what the text of the key stands for.
    pub(super) fn from_text(text: String) -> Self {
        match text.as_str() {
            "tree" => Self::Tree,
            "private" => Self::Private,
            _ => Self::Path(text),
        }
    }
}

impl Field for Cwd {
    fn read(item: &Item, path: &str, report: &Report) -> Option<Self> {
        PathText::read(item, path, report).map(|PathText(text)| Self::from_text(text))
    }
}

impl Field for StepCoverage {
    fn read(item: &Item, path: &str, report: &Report) -> Option<Self> {
        match item.value {
            Value::Boolean(true) => Some(Self::AsBuilt),
            Value::Boolean(false) => Some(Self::By(Producer::None)),
            Value::Text(_) => Producer::read(item, path, report).map(Self::By),
            _ => {
                wrong_type(
                    item,
                    path,
                    "`true`, `false` or a kind of coverage such as \"llvm\"",
                    report,
                );
                None
            }
        }
    }
}

fn conditions(s: &Section) -> Conditions {
    let patterns = |key| {
        s.get(key)
            .map(|OneOrMore::<GlobText>(all)| all.plain())
            .unwrap_or_default()
    };
    let found = Conditions {
        cluster: patterns("cluster"),
        partition: patterns("partition"),
        environment: s
            .get("environment")
            .map(|OneOrMore(all)| all)
            .unwrap_or_default(),
    };
    if s.table.entries.is_empty() {
        impossible(
            &s.at,
            format!("`{}` has no conditions", s.path),
            "names neither cluster, partition nor environment",
            s.report,
        );
    }
    found
}

impl Field for VariableCondition {
    fn read(item: &Item, path: &str, report: &Report) -> Option<Self> {
        let text = String::read(item, path, report)?;
        let (name, pattern) = match text.split_once('=') {
            Some((name, pattern)) => (name, Some(pattern.to_owned())),
            None => (text.as_str(), None),
        };
        if !is_variable_name(name)
            || pattern
                .as_deref()
                .is_some_and(|it| globset::Glob::new(it).is_err())
        {
            refuse(item, path, "expected `NAME` or `NAME=PATTERN`", report);
            return None;
        }
        Some(Self {
            name: name.to_owned(),
            pattern,
        })
    }
}
