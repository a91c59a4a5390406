//! `matrix`: the axes along which a step is multiplied.

use super::choices::{Expect, LauncherKind, Pmi, Strategy};
use super::fields::{is_variable_name, word_fault};
use super::problem::{Problem, Report};
use super::raw::{At, Entry, Item, Value};
use super::read::{Field, impossible, refuse, wrong_type};
use super::step::{Cwd, StepSpec};
use super::suggest;

/// The axes of a step and the points that are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Matrix {
    /// The axes in the order they were written.
    pub axes: Vec<Axis>,
    /// Points that are left out: all that agree with every pair of one entry.
    pub exclude: Vec<Vec<(String, String)>>,
}

/// One axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Axis {
    /// Its name.
    pub name: String,
    /// Its values as text, each once.
    pub values: Vec<String>,
}

/// Why a value of an axis does not fit the key that the axis replaces: what was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected {0}")]
pub struct AxisError(&'static str);

/// More points than this are a mistake, and would be a burden to every scheduler.
const MOST_POINTS: usize = 10_000;

/// Keys of a step that an axis may replace. `features` is no key, but chooses the build.
const KEYS: [&str; 24] = [
    "build",
    "constraint",
    "cpus_per_rank",
    "cwd",
    "exclusive",
    "expect",
    "gpus_per_rank",
    "gres",
    "launcher",
    "max_pending",
    "memory",
    "memory_per_cpu",
    "nodes",
    "partition",
    "pmi",
    "qos",
    "ranks",
    "ranks_per_node",
    "reservation",
    "retries",
    "serial",
    "strategy",
    "suite",
    "time",
];

/// Keys of a step that hold more than one word, and names that hpc-ci gives to steps itself.
const NOT_AXES: [&str; 27] = [
    "after",
    "attempt",
    "before",
    "branch",
    "cluster",
    "command",
    "commit",
    "config",
    "coverage",
    "environment",
    "keep",
    "launch",
    "metric",
    "name",
    "needs",
    "only",
    "options",
    "repetitions",
    "results",
    "skip",
    "step",
    "step_dir",
    "tags",
    "tracefile_dir",
    "valid",
    "warmup",
    "wrap",
];

impl Matrix {
    /// Returns every point that is not left out; the last axis moves fastest. Without axes there is one point.
    #[must_use]
    pub fn points(&self) -> Vec<Vec<(String, String)>> {
        let mut points = vec![Vec::new()];
        for axis in &self.axes {
            let longer = points.iter().flat_map(|point| {
                axis.values.iter().map(|value| {
                    let mut point: Vec<(String, String)> = point.clone();
                    point.push((axis.name.clone(), value.clone()));
                    point
                })
            });
            points = longer.collect();
        }
        points.retain(|point| {
            let left_out =
                |entry: &Vec<(String, String)>| entry.iter().all(|it| point.contains(it));
            !self.exclude.iter().any(left_out)
        });
        points
    }

    /// Returns the axis of this name.
    #[must_use]
    pub fn axis(&self, name: &str) -> Option<&Axis> {
        self.axes.iter().find(|axis| axis.name == name)
    }
}

impl Field for Matrix {
    fn read(item: &Item, path: &str, report: &Report) -> Option<Self> {
        let Value::Table(table) = &item.value else {
            wrong_type(item, path, "a table of axes", report);
            return None;
        };
        report.know(format!("{path}.exclude"));
        let own = table.entries.iter().filter(|entry| entry.key != "exclude");
        let axes: Vec<Axis> = own.filter_map(|entry| axis(entry, path, report)).collect();
        let lengths = axes.iter().map(|axis| axis.values.len());
        let points = lengths.into_iter().try_fold(1_usize, usize::checked_mul);
        if points.is_none_or(|points| points > MOST_POINTS) {
            let message = format!("`{path}` has more than {MOST_POINTS} points");
            impossible(&item.at, message, "too many", report);
            return None;
        }
        let Some(list) = table.get("exclude") else {
            return Some(Self {
                axes,
                exclude: Vec::new(),
            });
        };
        let exclude = excluded(list, &axes, &format!("{path}.exclude"), report)?;
        let matrix = Self { axes, exclude };
        if points != Some(0) && matrix.points().is_empty() {
            let message = format!("`{path}.exclude` leaves no point of the matrix");
            impossible(&list.at, message, "nothing is left", report);
        }
        Some(matrix)
    }
}

fn axis(entry: &Entry, path: &str, report: &Report) -> Option<Axis> {
    let name = entry.key.as_str();
    if NOT_AXES.contains(&name) {
        let message = format!("`{name}` cannot be an axis");
        impossible(&entry.key_at, message, "choose another name", report);
        return None;
    }
    if !is_variable_name(name) {
        let message = format!("`{}` cannot be the name of an axis", name.escape_debug());
        impossible(
            &entry.key_at,
            message,
            "must be letters, digits and `_`",
            report,
        );
        return None;
    }
    let path = format!("{path}.{name}");
    let Value::List(items) = &entry.item.value else {
        wrong_type(&entry.item, &path, "a list of values", report);
        return None;
    };
    if items.is_empty() {
        refuse(&entry.item, &path, "an axis needs a value", report);
    }
    let mut values: Vec<String> = Vec::new();
    for item in items {
        let Some(value) = scalar(item, &path, report) else {
            continue;
        };
        if values.contains(&value) {
            let message = format!("axis `{name}` has the value `{value}` twice");
            report.push(Problem::new("duplicate-value", &item.at, message).label("the second"));
        } else if let Err(error) = StepSpec::blank().set_axis(name, &value) {
            refuse(item, &path, &error.to_string(), report);
        } else {
            values.push(value);
        }
    }
    Some(Axis {
        name: name.to_owned(),
        values,
    })
}

/// Returns a value of an axis as text.
fn scalar(item: &Item, path: &str, report: &Report) -> Option<String> {
    let text = match &item.value {
        Value::Text(text) => text.clone(),
        Value::Integer(number) => number.to_string(),
        Value::Boolean(yes) => yes.to_string(),
        // As it was typed, so that 0.10 stays 0.10.
        Value::Float(_) => item.at.typed().to_owned(),
        _ => {
            wrong_type(item, path, "a string, a number or a boolean", report);
            return None;
        }
    };
    if text.chars().any(char::is_control) || text.len() > 200 {
        refuse(item, path, "must be one short line of text", report);
        return None;
    }
    Some(text)
}

/// Reads the points that are left out; an entry with a mistake in it is left out itself.
fn excluded(
    list: &Item,
    axes: &[Axis],
    path: &str,
    report: &Report,
) -> Option<Vec<Vec<(String, String)>>> {
    let Value::List(items) = &list.value else {
        wrong_type(list, path, "a list of tables", report);
        return None;
    };
    let mut all = Vec::new();
    for item in items {
        let Value::Table(table) = &item.value else {
            wrong_type(item, path, "a list of tables of axes and values", report);
            continue;
        };
        if table.entries.is_empty() {
            refuse(item, path, "this leaves out every point", report);
            continue;
        }
        let pair = |entry| excluded_pair(entry, axes, path, report);
        let pairs: Vec<Option<(String, String)>> = table.entries.iter().map(pair).collect();
        all.extend(pairs.into_iter().collect::<Option<Vec<_>>>());
    }
    Some(all)
}

fn excluded_pair(
    entry: &Entry,
    axes: &[Axis],
    path: &str,
    report: &Report,
) -> Option<(String, String)> {
    let Some(known) = axes.iter().find(|it| it.name == entry.key) else {
        let names: Vec<&str> = axes.iter().map(|axis| axis.name.as_str()).collect();
        unknown_axis(entry, &names, report);
        return None;
    };
    let value = scalar(&entry.item, path, report)?;
    if !known.values.contains(&value) {
        unknown_value(&entry.item.at, &value, known, report);
        return None;
    }
    Some((entry.key.clone(), value))
}

fn unknown_axis(entry: &Entry, names: &[&str], report: &Report) {
    let message = format!("`exclude` names `{}`, which is not an axis", entry.key);
    let near = suggest::near(&entry.key, names).map(|name| format!("did you mean `{name}`?"));
    let problem =
        Problem::new("unknown-axis", &entry.key_at, message).label("no axis of this name");
    report.push(problem.maybe_help(near));
}

fn unknown_value(at: &At, value: &str, axis: &Axis, report: &Report) {
    let message = format!(
        "axis `{}` has no value `{value}`, so nothing is left out",
        axis.name
    );
    let values = axis
        .values
        .iter()
        .map(|value| format!("`{value}`"))
        .collect::<Vec<_>>();
    let problem = Problem::new("unknown-value", at, message).label("no such value");
    report.push(problem.help(format!("its values are {}", values.join(", "))));
}

/// Returns whether an axis of this name replaces a key of the step.
pub(super) fn replaces_key(name: &str) -> bool {
    KEYS.contains(&name)
}

impl StepSpec {
    /// Puts the value of an axis in the place of the key of its name; other axes change nothing here.
    pub fn set_axis(&mut self, name: &str, value: &str) -> Result<(), AxisError> {
        match name {
            "build" => self.build = Some(plain(value)?),
            "constraint" => self.constraint = Some(word(value)?),
            "cpus_per_rank" => self.cpus_per_rank = Some(positive(value)?),
            "cwd" => self.cwd = Cwd::from_text(plain(value)?),
            "exclusive" => {
                self.exclusive = value.parse().map_err(|_| AxisError("`true` or `false`"))?;
            }
            "expect" => self.expect = choice(value, Expect::ALL, "`pass`, `fail` or `timeout`")?,
            "gpus_per_rank" => self.gpus_per_rank = Some(positive(value)?),
            "gres" => self.gres = Some(word(value)?),
            "launcher" => {
                let known = "`auto`, `srun`, `mpiexec` or `none`";
                self.launcher = Some(choice(value, LauncherKind::ALL, known)?);
            }
            "max_pending" => self.max_pending = Some(time(value)?),
            "memory" => self.memory = Some(size(value)?),
            "memory_per_cpu" => self.memory_per_cpu = Some(size(value)?),
            "nodes" => self.nodes = Some(positive(value)?),
            "partition" => self.partition = Some(word(value)?),
            "pmi" => {
                let known = "`auto`, `pmix`, `pmi2`, `cray_shasta` or `none`";
                self.pmi = Some(choice(value, Pmi::ALL, known)?);
            }
            "qos" => self.qos = Some(word(value)?),
            "ranks" => self.ranks = positive(value)?,
            "ranks_per_node" => self.ranks_per_node = Some(positive(value)?),
            "reservation" => self.reservation = Some(word(value)?),
            "retries" => {
                let count = value.parse().ok().filter(|count| *count <= 100);
                self.retries = count.ok_or(AxisError("a whole number up to 100"))?;
            }
            "serial" => self.serial = Some(plain(value)?),
            "strategy" => {
                let known = "`jobs`, `array` or `packed`";
                self.strategy = Some(choice(value, Strategy::ALL, known)?);
            }
            "suite" => self.suite = plain(value)?,
            "time" => self.time = Some(time(value)?),
            _ => {}
        }
        Ok(())
    }
}

fn plain(value: &str) -> Result<String, AxisError> {
    if value.trim().is_empty() {
        return Err(AxisError("text that is not empty"));
    }
    Ok(value.to_owned())
}

fn word(value: &str) -> Result<String, AxisError> {
    match word_fault(value) {
        Some(_) => Err(AxisError("one word without blanks or quotes")),
        None => Ok(value.to_owned()),
    }
}

fn positive(value: &str) -> Result<u32, AxisError> {
    let number = value.parse().ok().filter(|number| *number >= 1);
    number.ok_or(AxisError("a whole number of at least 1"))
}

fn time(value: &str) -> Result<super::Walltime, AxisError> {
    let time: Option<super::Walltime> = value.parse().ok();
    time.filter(|time| time.as_secs() > 0)
        .ok_or(AxisError("a duration such as \"10m\""))
}

fn size(value: &str) -> Result<super::Memory, AxisError> {
    let size: Option<super::Memory> = value.parse().ok();
    size.filter(|size| size.bytes() > 0)
        .ok_or(AxisError("a size such as \"4GiB\""))
}

fn choice<T: Copy>(value: &str, all: &[(&str, T)], known: &'static str) -> Result<T, AxisError> {
    let found = all.iter().find(|(word, _)| *word == value);
    found.map(|(_, choice)| *choice).ok_or(AxisError(known))
}
