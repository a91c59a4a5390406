//! Mistakes that no single key shows: names that meet nothing, cycles, words in braces that stand for nothing.

use std::collections::HashMap;

use super::choices::Producer;
use super::matrix::replaces_key;
use super::placeholder::words;
use super::problem::{Problem, Report};
use super::raw::{At, Item, Table, Value};
use super::step::StepSpec;
use super::suggest::near;
use super::suite::{BuildSpec, SuiteTables};

/// Checks a suite whose keys have been read, against the tree it was read from.
pub(super) fn check(root: &Table, suite: &SuiteTables, report: &Report) {
    for build in &suite.builds {
        check_build(root, build, report);
    }
    // Without one step per table (a table was no table) the two lists do not run in parallel.
    let typed = typed_steps(root);
    if typed.len() != suite.steps.len() {
        return;
    }
    let steps: Vec<(&Table, &StepSpec)> = typed.into_iter().zip(&suite.steps).collect();
    duplicate_names(&steps, report);
    for (table, step) in &steps {
        check_axes(table, step, report);
        check_words(table, step, report);
        check_ranks(table, step, report);
        check_build_name(table, step, &suite.builds, report);
    }
    check_needs(&steps, report);
}

fn typed_steps(root: &Table) -> Vec<&Table> {
    let lists = ["test", "benchmark"]
        .into_iter()
        .filter_map(|key| root.get(key));
    lists
        .filter_map(|item| match &item.value {
            Value::List(items) => Some(items),
            _ => None,
        })
        .flatten()
        .filter_map(Item::table)
        .collect()
}

fn at<'t>(table: &'t Table, key: &str) -> Option<&'t At> {
    table.get(key).map(|item| &item.at)
}

fn check_build(root: &Table, build: &BuildSpec, report: &Report) {
    let table = root.get("build").and_then(Item::table);
    let Some(table) = table
        .and_then(|all| all.get(&build.name))
        .and_then(Item::table)
    else {
        return;
    };
    if build.name == "benchmarks"
        && build.coverage != Producer::None
        && let Some(at) = at(table, "coverage")
    {
        let problem = Problem::new(
            "conflict",
            at,
            "the build `benchmarks` is never instrumented",
        );
        report.push(problem.label("must be \"none\"").help(
            "coverage comes from the tests; a figure of an instrumented program says little",
        ));
    }
    for key in ["command", "fetch"] {
        if let Some(item) = table.get(key) {
            known_words(
                item,
                &["features"],
                "a build knows only `{features}`",
                report,
            );
        }
    }
}

fn duplicate_names(steps: &[(&Table, &StepSpec)], report: &Report) {
    let mut first: HashMap<&str, &StepSpec> = HashMap::new();
    for (table, step) in steps {
        if step.name.is_empty() {
            continue;
        }
        if let Some(other) = first.get(step.name.as_str()) {
            if let Some(at) = at(table, "name") {
                let problem = Problem::new(
                    "duplicate-name",
                    at,
                    format!("two steps are called `{}`", step.name),
                );
                report.push(problem.label("the second").help(format!(
                    "the first stands at {}; tests and benchmarks share their names",
                    other.location
                )));
            }
        } else {
            first.insert(&step.name, step);
        }
    }
}

fn check_axes(table: &Table, step: &StepSpec, report: &Report) {
    for axis in &step.matrix.axes {
        let own = table
            .entry(&axis.name)
            .filter(|entry| !entry.item.at.is_default());
        if let (Some(own), true) = (own, replaces_key(&axis.name)) {
            let message = format!(
                "step `{}` has `{}` both as a key and as an axis",
                step.name, axis.name
            );
            let problem =
                Problem::new("conflict", &own.key_at, message).label("the axis replaces this key");
            report.push(problem.help("remove one of the two"));
        }
    }
}

fn check_words(table: &Table, step: &StepSpec, report: &Report) {
    let mut known = vec!["ranks", "nodes", "features"];
    known.extend(step.matrix.axes.iter().map(|axis| axis.name.as_str()));
    let listed = known
        .iter()
        .map(|word| format!("`{{{word}}}`"))
        .collect::<Vec<_>>()
        .join(", ");
    let hint = format!("known here: {listed}");
    for key in [
        "command", "before", "after", "cwd", "needs", "keep", "serial",
    ] {
        if let Some(item) = table.get(key) {
            known_words(item, &known, &hint, report);
        }
    }
    let results = table.get("results").and_then(Item::table);
    if let Some(path) = results.and_then(|results| results.get("path")) {
        known.push("rank");
        known_words(path, &known, &hint, report);
    }
}

/// Reports each `{word}` in the texts of an item that is not known.
fn known_words(item: &Item, known: &[&str], hint: &str, report: &Report) {
    match &item.value {
        Value::Text(text) => {
            for word in words(text)
                .iter()
                .filter(|word| !known.contains(&word.as_str()))
            {
                let typed = format!("{{{word}}}");
                let problem = Problem::new(
                    "unknown-word",
                    &item.at.of(&typed),
                    format!("`{typed}` stands for nothing"),
                );
                let help = match near(word, known) {
                    Some(near) => format!(
                        "did you mean `{{{near}}}`? For the braces themselves write `{{{{{word}}}}}`"
                    ),
                    None => format!("{hint}; for the braces themselves write `{{{{{word}}}}}`"),
                };
                report.push(problem.label("not known").help(help));
            }
        }
        Value::List(items) => items
            .iter()
            .for_each(|item| known_words(item, known, hint, report)),
        _ => {}
    }
}

fn check_ranks(table: &Table, step: &StepSpec, report: &Report) {
    let Some((nodes, per_node)) = step.nodes.zip(step.ranks_per_node) else {
        return;
    };
    let axis = |name: &str| step.matrix.axis(name).is_some();
    if axis("ranks") || axis("nodes") || axis("ranks_per_node") {
        // The plan checks each point.
        return;
    }
    let room = u64::from(nodes) * u64::from(per_node);
    if u64::from(step.ranks) > room {
        let Some(at) = at(table, "ranks_per_node") else {
            return;
        };
        let message = format!(
            "step `{}` has {} ranks, and room for {room}",
            step.name, step.ranks
        );
        let problem = Problem::new("impossible-value", at, message);
        report.push(
            problem
                .label(format!("{per_node} ranks on each of {nodes} nodes"))
                .help("raise `nodes` or `ranks_per_node`"),
        );
    }
}

fn check_build_name(table: &Table, step: &StepSpec, builds: &[BuildSpec], report: &Report) {
    let mut names: Vec<&str> = builds.iter().map(|build| build.name.as_str()).collect();
    names.extend(["tests", "benchmarks"]);
    if let (Some(name), Some(at)) = (&step.build, at(table, "build")) {
        undefined_build(name, at, step, &names, report);
    }
    let axis = step
        .matrix
        .axis("build")
        .into_iter()
        .flat_map(|axis| &axis.values);
    let place = table
        .get("matrix")
        .and_then(Item::table)
        .and_then(|matrix| at(matrix, "build"));
    for name in axis {
        if let Some(place) = place {
            undefined_build(name, &place.of(name), step, &names, report);
        }
    }
}

fn undefined_build(name: &str, at: &At, step: &StepSpec, names: &[&str], report: &Report) {
    if names.contains(&name) {
        return;
    }
    let message = format!(
        "step `{}` uses the build `{name}`, which is not defined",
        step.name
    );
    let problem = Problem::new("undefined-build", at, message).label("no build of this name");
    let help = match near(name, names) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("define it with `[build.{name}]`"),
    };
    report.push(problem.help(help));
}

fn check_needs(steps: &[(&Table, &StepSpec)], report: &Report) {
    let names: Vec<&str> = steps.iter().map(|(_, step)| step.name.as_str()).collect();
    let places: HashMap<&str, usize> = names
        .iter()
        .enumerate()
        .map(|(i, name)| (*name, i))
        .collect();
    let mut edges = vec![Vec::new(); steps.len()];
    for (index, (table, step)) in steps.iter().enumerate() {
        for need in &step.needs {
            let Some(at) = table.get("needs").map(|item| item.at.of(need)) else {
                continue;
            };
            if let Some(needed) = places.get(need.as_str()) {
                edges[index].push(*needed);
            } else if !points_of(need, &places) && !need.contains('{') {
                if report.is_hushed() {
                    return;
                }
                let message = format!("step `{}` needs `{need}`, which is not defined", step.name);
                let problem =
                    Problem::new("undefined-need", &at, message).label("no step of this name");
                let help = near(need, &names).map(|name| format!("did you mean `{name}`?"));
                report.push(problem.maybe_help(help));
            }
        }
    }
    if let Some(cycle) = find_cycle(&edges) {
        let path: Vec<String> = cycle.iter().map(|it| format!("`{}`", names[*it])).collect();
        let Some(item) = steps[cycle[0]].0.get("needs") else {
            return;
        };
        let place = item.at.of(names[cycle[1]]);
        let problem = Problem::new("cycle", &place, "these steps wait for one another");
        let circle = path.join(" needs ");
        report.push(problem.label("closes the circle").help(circle));
    }
}

/// Returns whether `need` names a point of one of the steps, as `halo[ranks=4]` does; the plan checks which.
fn points_of(need: &str, places: &HashMap<&str, usize>) -> bool {
    let mut brackets = need.match_indices('[');
    need.ends_with(']') && brackets.any(|(at, _)| places.contains_key(&need[..at]))
}

/// Returns a cycle of a graph given by the successors of each node: its nodes in order, the first again at the end.
#[must_use]
pub fn find_cycle(edges: &[Vec<usize>]) -> Option<Vec<usize>> {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        OnPath,
        Done,
    }
    let mut marks = vec![Mark::New; edges.len()];
    for start in 0..edges.len() {
        if marks[start] != Mark::New {
            continue;
        }
        // A path of (node, next edge to look at) instead of recursion: ten thousand steps may form one chain.
        let mut path = vec![(start, 0)];
        marks[start] = Mark::OnPath;
        while let Some((node, next)) = path.last_mut() {
            let node = *node;
            let Some(&to) = edges[node].get(*next) else {
                marks[node] = Mark::Done;
                path.pop();
                continue;
            };
            *next += 1;
            match marks[to] {
                Mark::New => {
                    marks[to] = Mark::OnPath;
                    path.push((to, 0));
                }
                Mark::OnPath => {
                    let on_path = path.iter().map(|(node, _)| *node);
                    let mut cycle: Vec<usize> = on_path.skip_while(|node| *node != to).collect();
                    cycle.push(to);
                    return Some(cycle);
                }
                Mark::Done => {}
            }
        }
    }
    None
}
