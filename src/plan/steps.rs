//! Points of the matrix → steps with every value resolved and every word replaced.

use std::borrow::Cow;
use std::collections::HashSet;

use globset::Glob;

use super::builds::Builds;
use super::matrix::Point;
use super::needs::Needs;
use super::{
    CommandLine, Cwd, Disposition, Environment, KeepBounds, Launcher, Memory, PlanError, Producer,
    Resources, ResultsFile, Selection, Step, graph, slug,
};
use crate::config::{Conditions, Limits, Site, StepCoverage, StepSpec, Suite, placeholder};

/// Returns the steps in an order in which they may run, and the builds they use.
pub(super) fn resolve(
    site: &Site,
    suite: &Suite,
    selection: &Selection,
    points: &[Point],
    notes: &mut Vec<String>,
) -> Result<(Vec<Step>, Builds), PlanError> {
    let names: Vec<&str> = points.iter().map(|point| point.name.as_str()).collect();
    let edges = Needs::new(points).edges()?;
    let order = graph::order(&edges, &names)?;
    let mut builds = Builds::default();
    let mut slugs = HashSet::new();
    let mut steps = Vec::with_capacity(points.len());
    for index in order {
        let point = &points[index];
        let build = builds.for_point(point, site, suite, selection)?;
        let slug = slug::unique(&point.name, false, &mut slugs);
        let mut step = step(point, site, suite, slug, notes)?;
        step.coverage = coverage(point, build.coverage, selection);
        step.build.clone_from(&build.id);
        step.needs = edges[index]
            .iter()
            .map(|needed| names[*needed].to_owned())
            .collect();
        step.disposition = disposition(point, &step, site, selection);
        steps.push(step);
    }
    Ok((steps, builds))
}

fn step(
    point: &Point,
    site: &Site,
    suite: &Suite,
    slug: String,
    notes: &mut Vec<String>,
) -> Result<Step, PlanError> {
    let spec = &point.spec;
    Ok(Step {
        name: point.name.clone(),
        slug,
        kind: spec.kind.clone(),
        suite: spec.suite.clone(),
        tags: spec.tags.clone(),
        command: command(point, &spec.command)?,
        build: String::new(),
        axes: point.axes.clone(),
        resources: resources(point, site, notes),
        launcher: launcher(spec, suite),
        environment: environment(spec),
        cwd: cwd(point)?,
        serial: spec
            .serial
            .as_deref()
            .map(|group| words(point, group))
            .transpose()?,
        before: commands(point, &spec.before)?,
        after: commands(point, &spec.after)?,
        needs: Vec::new(),
        retries: spec.retries,
        expect: spec.expect,
        results: results(point)?,
        coverage: Producer::None,
        keep: spec
            .keep
            .iter()
            .map(|glob| words(point, glob))
            .collect::<Result<_, _>>()?,
        keep_bounds: keep_bounds(&site.scheduler.limits),
        strategy: spec.strategy.unwrap_or(site.scheduler.strategy),
        disposition: Disposition::Run,
    })
}

fn keep_bounds(limits: &Limits) -> KeepBounds {
    KeepBounds {
        bytes: limits.max_kept.map_or(u64::MAX, Memory::bytes),
        files: limits.max_kept_files.map_or(u64::MAX, u64::from),
    }
}

fn resources(point: &Point, site: &Site, notes: &mut Vec<String>) -> Resources {
    let (spec, scheduler) = (&point.spec, &site.scheduler);
    let mut nodes = spec.nodes;
    if let Some(asked) = nodes.filter(|asked| *asked > spec.ranks) {
        let ranks = spec.ranks;
        notes.push(format!(
            "step `{}` asks for {asked} nodes and has {ranks} ranks: {ranks} nodes it is",
            point.name
        ));
        nodes = Some(ranks);
    }
    let by_ranks = spec.ranks_per_node.map(|each| spec.ranks.div_ceil(each));
    let mut options = scheduler.options.clone();
    if site.trust.step_options {
        options.extend(spec.options.iter().cloned());
    }
    Resources {
        ranks: spec.ranks,
        nodes: nodes.or(by_ranks),
        max_nodes: scheduler.limits.max_nodes,
        ranks_per_node: spec.ranks_per_node,
        cpus_per_rank: spec.cpus_per_rank,
        gpus_per_rank: spec.gpus_per_rank,
        gres: spec.gres.clone(),
        memory: spec.memory,
        memory_per_cpu: spec.memory_per_cpu,
        exclusive: spec.exclusive,
        partition: spec
            .partition
            .clone()
            .or_else(|| scheduler.partition.clone()),
        account: scheduler.account.clone(),
        qos: spec.qos.clone().or_else(|| scheduler.qos.clone()),
        reservation: spec.reservation.clone(),
        constraint: spec.constraint.clone(),
        time: spec.time.unwrap_or(scheduler.time).duration(),
        margin: scheduler.margin.duration(),
        max_pending: spec.max_pending.unwrap_or(scheduler.max_pending).duration(),
        options,
    }
}

fn launcher(spec: &StepSpec, suite: &Suite) -> Launcher {
    let mut launcher = suite.launcher.clone();
    launcher.kind = spec.launcher.unwrap_or(launcher.kind);
    launcher.pmi = spec.pmi.unwrap_or(launcher.pmi);
    if let Some(wrap) = &spec.wrap {
        launcher.wrap.clone_from(wrap);
    }
    launcher
}

fn environment(spec: &StepSpec) -> Environment {
    const THREADS: &str = "OMP_NUM_THREADS";
    let mut environment = spec.environment.clone();
    let set = environment
        .variables
        .iter()
        .any(|(name, _)| name == THREADS);
    if let (Some(cpus), false) = (spec.cpus_per_rank, set) {
        environment
            .variables
            .push((THREADS.to_owned(), cpus.to_string()));
    }
    environment
}

fn cwd(point: &Point) -> Result<Cwd, PlanError> {
    Ok(match &point.spec.cwd {
        Cwd::Path(path) => Cwd::Path(words(point, path)?),
        cwd => cwd.clone(),
    })
}

fn results(point: &Point) -> Result<Option<ResultsFile>, PlanError> {
    let Some(results) = &point.spec.results else {
        return Ok(None);
    };
    Ok(Some(ResultsFile {
        format: results.format,
        better: results.better,
        path: match &results.path {
            // Each rank's number comes in where its report is looked for.
            Some(path) => Some(words(point, &path.replace("{rank}", "{{rank}}"))?),
            None => None,
        },
    }))
}

fn commands(point: &Point, all: &[CommandLine]) -> Result<Vec<CommandLine>, PlanError> {
    all.iter().map(|one| command(point, one)).collect()
}

fn command(point: &Point, command: &CommandLine) -> Result<CommandLine, PlanError> {
    Ok(match command {
        CommandLine::Shell(text) => CommandLine::Shell(words(point, text)?),
        CommandLine::Argv(argv) => {
            let argv = argv.iter().map(|argument| words(point, argument));
            CommandLine::Argv(argv.collect::<Result<_, _>>()?)
        }
    })
}

/// Replaces the words of a step's text.
pub(super) fn words(point: &Point, text: &str) -> Result<String, PlanError> {
    let value = |word: &str| -> Option<Cow<'_, str>> {
        match word {
            "ranks" => Some(point.spec.ranks.to_string().into()),
            "nodes" => Some(nodes(&point.spec).to_string().into()),
            "features" => Some(point.features.as_deref().unwrap_or_default().into()),
            _ => {
                let axis = point.axes.iter().find(|(axis, _)| axis == word)?;
                Some(axis.1.as_str().into())
            }
        }
    };
    placeholder::expand(text, value).map_err(|error| PlanError::UnknownWord {
        step: point.name.clone(),
        word: error.word,
    })
}

/// Returns what `{nodes}` stands for: the nodes asked for, else the fewest that the ranks need.
fn nodes(spec: &StepSpec) -> u32 {
    let by_ranks = spec.ranks_per_node.map(|each| spec.ranks.div_ceil(each));
    spec.nodes
        .map(|nodes| nodes.min(spec.ranks))
        .or(by_ranks)
        .unwrap_or(1)
}

fn coverage(point: &Point, of_build: Producer, selection: &Selection) -> Producer {
    match point.spec.coverage {
        _ if selection.no_coverage => Producer::None,
        StepCoverage::AsBuilt => of_build,
        StepCoverage::By(producer) => producer,
    }
}

/// Returns whether the step's own conditions let it run, and its options are trusted.
fn disposition(point: &Point, step: &Step, site: &Site, selection: &Selection) -> Disposition {
    let partition = step.resources.partition.as_deref();
    let holds =
        |conditions: &Conditions| holds(conditions, site.cluster.as_deref(), partition, selection);
    let spec = &point.spec;
    if let Some(only) = &spec.only
        && let Err(what) = holds(only)
    {
        return Disposition::Skip {
            reason: format!("`only`: {what}"),
        };
    }
    if spec.skip.as_ref().is_some_and(|skip| holds(skip).is_ok()) {
        return Disposition::Skip {
            reason: "`skip`: its conditions hold".to_owned(),
        };
    }
    if !spec.options.is_empty() && !site.trust.step_options {
        return Disposition::Refuse {
            reason: format!(
                "its own options for sbatch ({}) are not trusted",
                spec.options.join(" ")
            ),
            help: "allow them with `[trust] step_options = true` in a trusted file".to_owned(),
        };
    }
    Disposition::Run
}

/// Returns which condition does not hold.
fn holds(
    conditions: &Conditions,
    cluster: Option<&str>,
    partition: Option<&str>,
    selection: &Selection,
) -> Result<(), String> {
    for (what, patterns, value) in [
        ("cluster", &conditions.cluster, cluster),
        ("partition", &conditions.partition, partition),
    ] {
        if !patterns.is_empty()
            && !patterns
                .iter()
                .any(|glob| glob_matches(glob, value.unwrap_or_default()))
        {
            let value = value.map_or_else(
                || format!("no {what} is known"),
                |value| format!("{what} is `{value}`"),
            );
            return Err(format!("{value}, not `{}`", patterns.join("` or `")));
        }
    }
    let variable = |name: &str| selection.environment.get(name).map_or("", String::as_str);
    let any = conditions
        .environment
        .iter()
        .any(|condition| match &condition.pattern {
            None => !variable(&condition.name).is_empty(),
            Some(pattern) => glob_matches(pattern, variable(&condition.name)),
        });
    if !conditions.environment.is_empty() && !any {
        let names: Vec<&str> = conditions
            .environment
            .iter()
            .map(|it| it.name.as_str())
            .collect();
        return Err(format!("`{}` is not set so", names.join("` nor `")));
    }
    Ok(())
}

fn glob_matches(glob: &str, text: &str) -> bool {
    // Patterns were compiled once when the settings were checked.
    Glob::new(glob).is_ok_and(|glob| glob.compile_matcher().is_match(text))
}
