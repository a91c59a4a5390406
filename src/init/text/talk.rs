//! What is said to the person: what was found, what was guessed, what to do next.

use super::super::found::{Clang, Found, Kind, Language, Project};
use super::{machine, project};
use crate::doctor::judge::listed;

/// A line: a word that says of which kind it is, and what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// `found`, `guessed`, `missing` or `next`.
    pub word: &'static str,
    /// What is said.
    pub text: String,
}

fn line(word: &'static str, text: impl Into<String>) -> Line {
    Line {
        word,
        text: text.into(),
    }
}

/// The word of what to do next.
pub const NEXT: &str = "next";

/// Returns what there is to say.
#[must_use]
pub fn talk(found: &Found) -> Vec<Line> {
    let mut lines = vec![line("found", kind(&found.project))];
    lines.extend(tools(found));
    lines.extend(slurm(found));
    lines.extend(guesses(&found.project));
    lines.extend(missing(found));
    lines.extend(next(found));
    lines
}

fn kind(project: &Project) -> String {
    let Some(kind) = project.kind else {
        return "no build that is known: no Cargo.toml, CMakeLists.txt, Makefile or the like at the top".to_owned();
    };
    let (file, name) = kind.words();
    let mpi = if project.mpi { " with MPI" } else { "" };
    let names: Vec<String> = project.steps.iter().map(|step| step.name.clone()).collect();
    let tests = match names.len() {
        0 => "no tests".to_owned(),
        1 => format!("1 test, {}", listed(&names)),
        many => format!("{many} tests, {}", listed(&names)),
    };
    let also: Vec<String> = project
        .also
        .iter()
        .map(|kind| kind.words().0.to_owned())
        .collect();
    let also = if also.is_empty() {
        String::new()
    } else {
        format!("; {} is there too, and left alone", listed(&also))
    };
    format!("{name} project{mpi} ({file}): {tests}{also}")
}

fn tools(found: &Found) -> Option<Line> {
    let machine = &found.machine;
    let mpi = machine
        .mpi()
        .map(|mpi| format!("{} behind mpicc", mpi.name()));
    let clang = match &machine.clang {
        Clang::NotAsked => None,
        Clang::Usual => Some("a compiler that can be instrumented for coverage".to_owned()),
        Clang::Named(name, _) => Some(format!("{name}, which can be instrumented for coverage")),
        Clang::Missing(why) => Some(format!(
            "no compiler that can be instrumented for coverage: {why}"
        )),
    };
    let all: Vec<String> = [mpi, clang].into_iter().flatten().collect();
    (!all.is_empty()).then(|| line("found", all.join("; ")))
}

fn slurm(found: &Found) -> Option<Line> {
    let cluster = match found.machine.cluster.as_ref()? {
        Ok(cluster) => cluster,
        Err(why) => return Some(line("missing", format!("Slurm does not answer: {why}"))),
    };
    let names: Vec<String> = cluster
        .partitions
        .iter()
        .map(|it| it.name.clone())
        .collect();
    let partitions = if names.is_empty() {
        "no partitions".to_owned()
    } else {
        format!("partitions {}", listed(&names))
    };
    let mut accounts: Vec<String> = cluster
        .associations
        .iter()
        .map(|it| it.account.clone())
        .collect();
    accounts.sort();
    accounts.dedup();
    let accounts = match &accounts[..] {
        [] => String::new(),
        all => format!("; accounts {}", listed(all)),
    };
    Some(line(
        "found",
        format!(
            "{}: {partitions}{accounts}",
            machine::cluster_words(cluster)
        ),
    ))
}

fn guesses(project: &Project) -> Vec<Line> {
    let guessed = project
        .steps
        .iter()
        .filter(|step| step.ranks == super::super::found::Ranks::Guessed);
    let names: Vec<String> = guessed.map(|step| step.name.clone()).collect();
    let mut lines = Vec::new();
    if !names.is_empty() {
        lines.push(line(
            "guessed",
            format!(
                "{} ranks for {}: no file says how many",
                super::super::found::GUESSED_RANKS,
                listed(&names)
            ),
        ));
    }
    if matches!(project.kind, Some(kind) if kind != Kind::Python) {
        lines.push(line(
            "guessed",
            "how it is built, from the kind of project: see `command` of [build.tests]",
        ));
    }
    lines
}

fn missing(found: &Found) -> Vec<Line> {
    let (project, machine) = (&found.project, &found.machine);
    let mut lines = Vec::new();
    if project.steps.is_empty() {
        lines.push(line(
            "missing",
            "tests: a run needs at least one [[test]], which only you can name",
        ));
    }
    if let Some(why) = project::coverage(found).why {
        lines.push(line("missing", format!("coverage: {why}")));
    }
    if project.mpi && machine.mpi().is_none() && project.language != Language::Python {
        lines.push(line(
            "missing",
            "an MPI: no mpicc in PATH; on a cluster, load its module and run `hpc-ci init --force`",
        ));
    }
    if project.language == Language::Python {
        let has = [
            ("pytest", machine.python.pytest),
            ("mpi4py", machine.python.mpi4py || !project.mpi),
        ];
        for (name, _) in has.iter().filter(|(_, has)| !has) {
            lines.push(line(
                "missing",
                format!("{name}: `python3` does not find it here; load or activate what has it"),
            ));
        }
    }
    for (name, refused) in &machine.modules {
        if let Some(why) = refused {
            lines.push(line(
                "missing",
                format!("module `{name}`, which is loaded and does not load anew: {why}"),
            ));
        }
    }
    let cores = machine.cores;
    let harness = project.steps.iter().filter(|step| step.harness);
    if let Some(step) = harness.max_by_key(|step| step.ranks.number())
        && machine.cluster.is_none()
        && usize::try_from(step.ranks.number()).is_ok_and(|ranks| ranks > cores)
    {
        lines.push(line(
            "missing",
            format!(
                "cores: `{}` starts {} ranks, and this machine has {cores}; Open MPI then wants OMPI_MCA_rmaps_base_oversubscribe = \"1\" in `variables` of [environment]",
                step.name,
                step.ranks.number()
            ),
        ));
    }
    lines
}

fn next(found: &Found) -> Vec<Line> {
    let mut lines = Vec::new();
    if found.project.steps.is_empty() {
        lines.push(line(NEXT, "name a test in hpc.toml"));
    }
    if !found.is_clone {
        lines.push(line(
            NEXT,
            "git init, and a commit: hpc-ci tests commits, and `--in-place` the tree as it stands",
        ));
    }
    lines.push(line(
        NEXT,
        "hpc-ci doctor     what stands in the way of a run here",
    ));
    lines.push(line(NEXT, "hpc-ci plan       what would be submitted"));
    lines.push(line(
        NEXT,
        "hpc-ci            runs it; commit hpc.toml when it does what you want",
    ));
    if found.is_clone && !found.ignores_results {
        lines.push(line(
            NEXT,
            "echo /hpc-ci/ >>.gitignore     runs leave their results there",
        ));
    }
    lines
}
