//! What is built and tested.

use super::super::found::{Chosen, Clang, Found, Kind, Language, Ranks, Step};
use super::toml;
use crate::doctor::facts::Mpi;

/// How the coverage of a project comes about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Coverage {
    /// The value of `coverage`.
    pub(super) kind: &'static str,
    /// Why it is no other.
    pub(super) why: Option<String>,
}

/// Returns how the coverage of this project comes about on this machine.
pub(super) fn coverage(found: &Found) -> Coverage {
    let machine = &found.machine;
    let with = |kind| Coverage { kind, why: None };
    let without = |why: String| Coverage {
        kind: "none",
        why: Some(why),
    };
    match found.project.language {
        Language::Unknown => with("none"),
        Language::Rust => match &machine.tools.rust {
            Some(trial) if !trial.mapping => without(
                "rustc does not instrument here; with a toolchain of rustup this can be `coverage = \"llvm\"`.".to_owned(),
            ),
            _ => with("llvm"),
        },
        Language::C { .. } => match &machine.clang {
            Clang::Missing(why) => without(format!(
                "Coverage needs clang, and {why}. Once there is one, write `coverage = \"llvm\"`, and name it in `variables` of [environment]."
            )),
            _ => with("llvm"),
        },
        Language::Fortran => without(
            "Coverage of Fortran is not supported: neither gfortran nor flang makes what can be read.".to_owned(),
        ),
        Language::Julia => with("lcov"),
        Language::Python if machine.python.cov => with("lcov"),
        Language::Python => without(
            "With pytest-cov installed, write `coverage = \"lcov\"`, and let pytest leave a tracefile: \
             `--cov --cov-report=lcov:$HPC_CI_TRACEFILE_DIR/$HPC_CI_RANK.info`."
                .to_owned(),
        ),
    }
}

/// Returns the variables that builds and steps need, with the reason of those for compilers.
pub(super) fn variables(found: &Found) -> (Vec<(String, String)>, Option<&'static str>) {
    let project = &found.project;
    let mut variables = Vec::new();
    let mut why = None;
    if let Language::C { plus } = project.language {
        let wrapped = found
            .machine
            .mpi()
            .filter(|_| project.chosen == Chosen::ByWrapper);
        let (c, cpp, reason) = match wrapped {
            Some(Mpi::OpenMpi) => ("OMPI_CC", "OMPI_CXX", WRAPPER),
            Some(Mpi::Mpich | Mpi::Cray) => ("MPICH_CC", "MPICH_CXX", WRAPPER),
            None => ("CC", "CXX", VARIABLE),
        };
        match &found.machine.clang {
            Clang::Named(name, sister) => {
                variables.push((c.to_owned(), name.clone()));
                variables.extend(
                    sister
                        .iter()
                        .filter(|_| plus)
                        .map(|sister| (cpp.to_owned(), sister.clone())),
                );
                why = Some(reason);
            }
            // What the login has chosen, cron would not know.
            Clang::Usual => {
                let wanted = |(name, _): &&(String, String)| name == c || (plus && name == cpp);
                variables.extend(found.machine.chosen.iter().filter(wanted).cloned());
                why = (!variables.is_empty()).then_some(reason);
            }
            Clang::Missing(_) | Clang::NotAsked => {}
        }
    }
    variables.extend(project.variables.iter().cloned());
    (variables, why)
}

const WRAPPER: &str = "What mpicc calls; clang can be instrumented for coverage, gcc cannot.";
const VARIABLE: &str = "The compiler; clang can be instrumented for coverage, gcc cannot.";

pub(super) fn write(text: &mut String, found: &Found) {
    build(text, found);
    let project = &found.project;
    if project.steps.is_empty() {
        toml::comment(
            text,
            "No test was found, and a run needs at least one. `command` is run by each rank; it passes if all of them end with 0:",
        );
        if project.ideas.is_empty() {
            text.push_str("# [[test]]\n# name = \"first\"\n# command = \"./program\"\n\n");
        }
    }
    for step in &project.steps {
        text.push_str(&step_text(step, found));
        text.push('\n');
    }
    for idea in &project.ideas {
        toml::commented(text, &step_text(idea, found));
        text.push('\n');
    }
    if !project.ideas.iter().any(|idea| idea.benchmark) {
        toml::comment(
            text,
            "A benchmark is a [[benchmark]] with a `command` and the figure in what it prints (docs/benchmarks.md).",
        );
        text.push('\n');
    }
    if !project.include.is_empty() && coverage(found).kind != "none" {
        text.push_str("[coverage]\n");
        toml::comment(text, "Which sources count.");
        let include = project.include.iter().map(String::as_str);
        toml::key(text, "include", &toml::list(include));
        text.push('\n');
    }
}

fn build(text: &mut String, found: &Found) {
    let coverage = coverage(found);
    let project = &found.project;
    if project.build.is_none() && coverage.kind == "none" && coverage.why.is_none() {
        return;
    }
    text.push_str("[build.tests]\n");
    if let Some(build) = &project.build {
        for why in &build.why {
            toml::comment(text, why);
        }
        toml::key(text, "command", &toml::string(&build.command));
        if let Some(fetch) = &build.fetch {
            toml::key(text, "fetch", &toml::string(fetch));
        }
    }
    if let Some(why) = &coverage.why {
        toml::comment(text, why);
    }
    toml::key(text, "coverage", &toml::string(coverage.kind));
    text.push('\n');
    if let Some(plain) = project
        .build
        .as_ref()
        .and_then(|build| build.plain.as_ref())
    {
        let mut build = String::from("[build.benchmarks]\n");
        toml::key(&mut build, "command", &toml::string(plain));
        toml::commented(text, &build);
        text.push('\n');
    }
}

fn step_text(step: &Step, found: &Found) -> String {
    let mut text = String::new();
    for why in &step.why {
        toml::comment(&mut text, why);
    }
    text.push_str(if step.benchmark {
        "[[benchmark]]\n"
    } else {
        "[[test]]\n"
    });
    toml::key(&mut text, "name", &toml::string(&step.name));
    if let Some(suite) = step.suite {
        toml::key(&mut text, "suite", &toml::string(suite));
    }
    let (command, results) = adapted(step, found);
    toml::key(&mut text, "command", &toml::string(&command));
    if step.harness {
        toml::key(&mut text, "launcher", "\"none\"");
    }
    match step.ranks {
        Ranks::One => {}
        Ranks::Found(number) => toml::key(&mut text, "ranks", &number.to_string()),
        Ranks::Guessed => {
            let number = step.ranks.number();
            let note = if step.harness {
                "a guess: as many as the largest of its tests starts"
            } else {
                "a guess; several: matrix = { ranks = [1, 2, 4] } in its place"
            };
            toml::key(&mut text, "ranks", &format!("{number}  # {note}"));
        }
    }
    if let Some((format, path)) = results {
        let pairs = [("format", format), ("path", path)];
        let pairs = pairs.into_iter().filter(|(_, value)| !value.is_empty());
        toml::key(&mut text, "results", &toml::table(pairs));
    }
    if step.once {
        text.push_str("repetitions = 1\nwarmup = 0\n");
    }
    text
}

/// The command and report as this machine's tools have them.
fn adapted(step: &Step, found: &Found) -> (String, Option<(&'static str, &'static str)>) {
    let machine = &found.machine;
    match found.project.kind {
        Some(Kind::Cmake) if step.harness && !machine.ctest_writes_junit => {
            ("cd build && ctest --output-on-failure".to_owned(), None)
        }
        Some(Kind::Python) if machine.python.cov => {
            let command = format!(
                "COVERAGE_FILE=\"$HPC_CI_STEP_DIR/coverage-$HPC_CI_RANK\" {} --cov --cov-report=\"lcov:$HPC_CI_TRACEFILE_DIR/$HPC_CI_RANK.info\"",
                step.command
            );
            (command, step.results)
        }
        _ => (step.command.clone(), step.results),
    }
}
