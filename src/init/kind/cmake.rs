//! A project of `CMake`.

use super::super::found::{Build, Language, Project, Ranks, Step};
use super::super::tree::{Tree, file_name, is_test};
use super::{ranks_named, sources};

/// A command of `CMake` with its arguments.
#[derive(Debug, PartialEq, Eq)]
struct Command {
    name: String,
    arguments: Vec<String>,
}

impl Command {
    fn has(&self, word: &str) -> bool {
        self.arguments.iter().any(|argument| argument == word)
    }

    fn first(&self) -> Option<&str> {
        self.arguments.first().map(String::as_str)
    }
}

/// Commands that register tests.
const TESTS: &[&str] = &[
    "add_test",
    "gtest_discover_tests",
    "gtest_add_tests",
    "catch_discover_tests",
    "doctest_discover_tests",
];

pub(super) fn project(tree: &Tree) -> Option<Project> {
    let top = commands(tree.text("CMakeLists.txt")?);
    let mut all: Vec<Command> = Vec::new();
    for (path, text) in tree.texts(&["CMakeLists.txt", ".cmake"]) {
        if file_name(path) == "CMakeLists.txt" || path.contains("cmake/") {
            all.extend(commands(text));
        }
    }
    let own = top.iter().find(|command| command.name == "project");
    let name = own
        .and_then(Command::first)
        .filter(|name| !name.contains('$'));
    let mpi = all
        .iter()
        .any(|command| command.name == "find_package" && command.first() == Some("MPI"));
    let language = language(tree, own);
    let tested = all.iter().any(|command| {
        TESTS.contains(&command.name.as_str())
            || (command.name == "include" && command.has("CTest"))
    });
    Some(Project {
        name: name.map(str::to_owned),
        language,
        mpi,
        build: Some(Build {
            command: format!("cmake -S . -B build{} && cmake --build build --parallel 4", options(&all)),
            plain: Some("cmake -S . -B build -DCMAKE_BUILD_TYPE=Release && cmake --build build --parallel 4".to_owned()),
            ..Build::default()
        }),
        steps: tested.then(|| ctest(&all, mpi)).into_iter().collect(),
        ideas: programs(tree, &all),
        ..Project::default()
    })
}

fn language(tree: &Tree, own: Option<&Command>) -> Language {
    let fortran = own.is_some_and(|project| project.has("Fortran"));
    match sources::language(tree) {
        _ if fortran => Language::Fortran,
        // A stray file of Fortran, without a compiler for it.
        Language::Fortran if own.is_some_and(|project| project.has("C") || project.has("CXX")) => {
            Language::C { plus: true }
        }
        language => language,
    }
}

/// Switches that are off and speak of tests.
fn options(all: &[Command]) -> String {
    let off = all.iter().filter_map(|command| {
        let name = command.first()?;
        let is_off = command.name == "option" && command.has("OFF");
        let about_tests = name.to_ascii_uppercase().contains("TEST");
        (is_off && about_tests).then(|| format!(" -D{name}=ON"))
    });
    off.collect()
}

fn ctest(all: &[Command], mpi: bool) -> Step {
    let of_tests = all
        .iter()
        .filter(|command| ["add_test", "set_tests_properties"].contains(&command.name.as_str()));
    let named = of_tests.filter_map(|command| {
        let processors = command
            .arguments
            .windows(2)
            .filter(|pair| pair[0] == "PROCESSORS");
        let processors = processors.filter_map(|pair| pair[1].parse().ok()).max();
        ranks_named(&command.arguments.join(" ")).max(processors)
    });
    let mut why = vec!["CTest's report is read: each of its tests is one.".to_owned()];
    if mpi {
        why.push("Its tests start MPI by themselves; `ranks` is what its job asks for.".to_owned());
    }
    Step {
        name: "ctest".to_owned(),
        command: "ctest --test-dir build --output-on-failure --output-junit \"$HPC_CI_STEP_DIR/ctest.xml\"".to_owned(),
        ranks: Ranks::of_harness(mpi, named.max()),
        harness: true,
        results: Some(("junit", "ctest.xml")),
        why,
        ..Step::default()
    }
}

/// Programs, for a person who would rather have hpc-ci start their ranks.
fn programs(tree: &Tree, all: &[Command]) -> Vec<Step> {
    let step = |command: &Command| {
        let name = command.first().filter(|name| !name.contains('$'))?;
        let source = command
            .arguments
            .iter()
            .skip(1)
            .find_map(|argument| tree.paths().find(|path| path.ends_with(argument.as_str())))?;
        let mpi = sources::starts_mpi(tree, source);
        let what = if is_test(source) {
            "A test"
        } else {
            "A program"
        };
        mpi.then(|| Step {
            name: name.to_owned(),
            suite: Some("mpi"),
            command: format!("build/{name}"),
            ranks: Ranks::Guessed,
            why: vec![format!(
                "{what} of `{source}`, which starts MPI; where it lies below `build` is a guess."
            )],
            ..Step::default()
        })
    };
    let executables = all
        .iter()
        .filter(|command| command.name == "add_executable");
    executables.filter_map(step).collect()
}

/// Reads the commands of a listfile: `NAME(ARGUMENT "ARGUMENT" ...)`, without comments.
fn commands(text: &str) -> Vec<Command> {
    let mut commands = Vec::new();
    let mut word = String::new();
    let mut open: Option<(String, Vec<String>, u32)> = None;
    let mut letters = text.chars().peekable();
    while let Some(c) = letters.next() {
        match (c, &mut open) {
            ('#', _) => while letters.next_if(|c| *c != '\n').is_some() {},
            ('(', None) => open = Some((std::mem::take(&mut word), Vec::new(), 0)),
            ('(', Some((_, _, depth))) => *depth += 1,
            (')', Some((_, arguments, 0))) => {
                push(arguments, &mut word);
                if let Some((name, arguments, _)) = open.take() {
                    commands.push(Command {
                        name: name.trim().to_ascii_lowercase(),
                        arguments,
                    });
                }
            }
            (')', Some((_, _, depth))) => *depth -= 1,
            ('"', Some((_, arguments, _))) => {
                push(arguments, &mut word);
                while let Some(c) = letters.next() {
                    match c {
                        '"' => break,
                        '\\' => word.extend(letters.next()),
                        c => word.push(c),
                    }
                }
                arguments.push(std::mem::take(&mut word));
            }
            (c, Some((_, arguments, _))) if c.is_whitespace() => push(arguments, &mut word),
            (c, None) if c.is_whitespace() => {}
            (c, _) => word.push(c),
        }
    }
    commands
}

fn push(arguments: &mut Vec<String>, word: &mut String) {
    if !word.is_empty() {
        arguments.push(std::mem::take(word));
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn listfiles_are_read_as_commands() {
        let read =
            commands("# note (a)\nproject(heat C) add_test(NAME \"a b\"\n COMMAND x (y))\nbroken(");
        let outline: Vec<(&str, Vec<&str>)> = read
            .iter()
            .map(|it| {
                (
                    it.name.as_str(),
                    it.arguments.iter().map(String::as_str).collect(),
                )
            })
            .collect();
        assert_eq!(
            outline,
            [
                ("project", vec!["heat", "C"]),
                ("add_test", vec!["NAME", "a b", "COMMAND", "x", "y"]),
            ]
        );
    }

    #[test]
    fn tests_that_are_off_are_switched_on_and_ranks_are_read() {
        let project = project(&Tree::from([
            (
                "CMakeLists.txt",
                "project(heat LANGUAGES C)\nfind_package(MPI REQUIRED)\noption(HEAT_BUILD_TESTS \"tests\" OFF)\nadd_subdirectory(tests)\n",
            ),
            (
                "tests/CMakeLists.txt",
                "add_executable(halo halo.c)\nadd_test(NAME halo COMMAND ${MPIEXEC_EXECUTABLE} ${MPIEXEC_NUMPROC_FLAG} 4 $<TARGET_FILE:halo>)\n",
            ),
            ("tests/halo.c", "int main(void) { MPI_Init(0, 0); }"),
        ]))
        .unwrap();
        assert_eq!(project.name.as_deref(), Some("heat"));
        assert_eq!(project.language, Language::C { plus: false });
        assert_eq!(
            project.build.unwrap().command,
            "cmake -S . -B build -DHEAT_BUILD_TESTS=ON && cmake --build build --parallel 4"
        );
        assert_eq!(project.steps[0].ranks, Ranks::Found(4));
        assert_eq!(project.ideas[0].command, "build/halo");
    }

    #[test]
    fn a_project_of_fortran_is_one() {
        let project =
            project(&Tree::from([("CMakeLists.txt", "project(heat Fortran)\n")])).unwrap();
        assert_eq!(project.language, Language::Fortran);
        assert_eq!(project.steps, []);
    }
}
