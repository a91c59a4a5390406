//! A project with a Makefile.

use super::super::found::{Build, Chosen, Language, Project, Ranks, Step};
use super::super::tree::{Tree, is_test, stem};
use super::makefile::Makefile;
use super::{ranks_named, sources};

/// Names by which make prefers them.
const NAMES: &[&str] = &["GNUmakefile", "makefile", "Makefile"];

/// Targets by which people run tests.
const TARGETS: &[&str] = &["check", "test", "tests", "runtests", "run-tests"];

pub(super) fn project(tree: &Tree) -> Option<Project> {
    let text = NAMES.iter().find_map(|name| tree.text(name))?;
    let makefile = Makefile::read(tree, text);
    let language = sources::language(tree);
    let mpi = sources::any_mpi(tree);
    let programs = makefile.programs(tree);
    let (tests, others): (Vec<Step>, Vec<Step>) = {
        let made = programs.iter().map(|program| of_program(tree, program));
        let (tests, others): (Vec<_>, Vec<_>) = made.partition(|(test, _)| *test);
        let steps = |all: Vec<(bool, Step)>| all.into_iter().map(|(_, step)| step).collect();
        (steps(tests), steps(others))
    };
    let harness = TARGETS
        .iter()
        .find(|target| makefile.has_target(target))
        .map(|target| target_step(&makefile, target, mpi));
    // The project's own way to test knows arguments and files that single programs would lack.
    let (steps, mut ideas) = match harness {
        Some(step) => (vec![step], tests),
        None => (tests, Vec::new()),
    };
    ideas.extend(others);
    Some(Project {
        language,
        chosen: if mpi {
            Chosen::ByWrapper
        } else {
            Chosen::ByVariable
        },
        mpi,
        build: Some(Build {
            command: command(&makefile, language, mpi),
            why: vec![
                "One file at a time; where the Makefile allows it, `make -j 4` is faster."
                    .to_owned(),
            ],
            ..Build::default()
        }),
        steps,
        ideas,
        ..Project::default()
    })
}

/// Where the Makefile sets the compiler itself, only the command line is stronger than that.
fn command(makefile: &Makefile, language: Language, mpi: bool) -> String {
    let mut command = "make".to_owned();
    if let (Language::C { plus }, false) = (language, mpi) {
        if makefile.fixed("CC").is_some() {
            command.push_str(" CC=\"$CC\"");
        }
        if plus && makefile.fixed("CXX").is_some() {
            command.push_str(" CXX=\"$CXX\"");
        }
    }
    command
}

/// A step for a program, and whether it is a test.
fn of_program(tree: &Tree, program: &str) -> (bool, Step) {
    let source = sources::of_program(tree, program);
    let mpi = source.is_some_and(|source| sources::starts_mpi(tree, source));
    let test = source.is_some_and(is_test) || is_test(program);
    let from = source.map_or_else(String::new, |source| format!(" of `{source}`"));
    let why = match (test, mpi) {
        (true, true) => format!("A test{from}, which starts MPI."),
        (true, false) => format!("A test{from}; no MPI was found in it."),
        (false, true) => format!(
            "A program{from}, which starts MPI: does it end by itself, and what tells that it was right?"
        ),
        (false, false) => {
            format!("A program{from}: does it end by itself, and what tells that it was right?")
        }
    };
    let command = if program.contains('/') {
        program.to_owned()
    } else {
        format!("./{program}")
    };
    let step = Step {
        name: stem(program).to_owned(),
        suite: mpi.then_some("mpi"),
        command,
        ranks: if mpi { Ranks::Guessed } else { Ranks::One },
        why: vec![why],
        ..Step::default()
    };
    (test, step)
}

fn target_step(makefile: &Makefile, target: &str, mpi: bool) -> Step {
    let recipes = makefile.recipes(target);
    let launches = ["mpiexec", "mpirun", "srun", "MPIEXEC", "MPIRUN"]
        .iter()
        .any(|name| recipes.contains(name));
    let mut why = Vec::new();
    if launches {
        why.push("It starts MPI by itself; `ranks` is what its job asks for.".to_owned());
    }
    Step {
        name: target.to_owned(),
        command: format!("make {target}"),
        ranks: Ranks::of_harness(mpi && launches, ranks_named(&recipes)),
        harness: true,
        why,
        ..Step::default()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn tests_are_told_from_programs_by_their_sources() {
        let project = project(&Tree::from([
            ("Makefile", include_str!("../../../examples/heat/Makefile")),
            (
                "src/heat.c",
                include_str!("../../../examples/heat/src/heat.c"),
            ),
            ("src/halo_messages.c", ""),
            (
                "tests/halo.c",
                include_str!("../../../examples/heat/tests/halo.c"),
            ),
            (
                "tests/unit.c",
                include_str!("../../../examples/heat/tests/unit.c"),
            ),
            (
                "tests/conservation.c",
                include_str!("../../../examples/heat/tests/conservation.c"),
            ),
            (
                "tests/mpi_test.h",
                include_str!("../../../examples/heat/tests/mpi_test.h"),
            ),
        ]))
        .unwrap();
        let outline = |steps: &[Step]| -> Vec<(String, Ranks)> {
            steps
                .iter()
                .map(|step| (step.command.clone(), step.ranks))
                .collect()
        };
        assert_eq!(
            outline(&project.steps),
            [
                ("build/unit".to_owned(), Ranks::One),
                ("build/halo".to_owned(), Ranks::Guessed),
                ("build/conservation".to_owned(), Ranks::Guessed),
            ]
        );
        assert_eq!(
            outline(&project.ideas),
            [("build/heat".to_owned(), Ranks::Guessed)]
        );
        assert_eq!(project.chosen, Chosen::ByWrapper);
    }

    #[test]
    fn the_target_that_runs_tests_comes_before_its_programs() {
        let project = project(&Tree::from([
            (
                "Makefile",
                "CC := gcc\nall: test_halo\ntest_halo: test_halo.o\n\t$(CC) -o $@ $^\ncheck: all\n\tmpirun -np 3 ./test_halo\n",
            ),
            ("test_halo.c", "int main(void) { MPI_Init(0, 0); }"),
        ]))
        .unwrap();
        assert_eq!(project.steps[0].command, "make check");
        assert_eq!(project.steps[0].ranks, Ranks::Found(3));
        assert_eq!(project.ideas[0].command, "./test_halo");
    }

    #[test]
    fn a_compiler_that_the_makefile_sets_is_set_on_the_command_line() {
        let project = project(&Tree::from([("Makefile", "CC = gcc\n"), ("a.c", "")])).unwrap();
        assert_eq!(project.build.unwrap().command, "make CC=\"$CC\"");
    }
}
