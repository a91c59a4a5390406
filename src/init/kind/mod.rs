//! From a clone's files to how the project is built and tested. Decides; reads nothing.

mod autotools;
mod cargo;
mod cmake;
mod fpm;
mod julia;
mod make;
mod makefile;
mod meson;
mod python;
mod sources;

use super::found::{Kind, Project};
use super::tree::Tree;

/// Makes a project of the files, if they are of its kind.
type Reader = fn(&Tree) -> Option<Project>;

/// The kinds, those first that a person means when there are several: a Makefile often only calls the others.
const KINDS: &[(Kind, Reader)] = &[
    (Kind::Cargo, cargo::project),
    (Kind::Cmake, cmake::project),
    (Kind::Meson, meson::project),
    (Kind::Autotools, autotools::project),
    (Kind::Fpm, fpm::project),
    (Kind::Julia, julia::project),
    (Kind::Python, python::project),
    (Kind::Make, make::project),
];

/// Returns what the files make of the project; one without a build that is known has no kind.
#[must_use]
pub fn project(tree: &Tree) -> Project {
    let mut found = KINDS.iter().filter_map(|(kind, project)| {
        Some(Project {
            kind: Some(*kind),
            ..project(tree)?
        })
    });
    let mut first = found.next().unwrap_or_default();
    first.also = found.filter_map(|other| other.kind).collect();
    if first.include.is_empty() {
        first.include = sources::folders(tree);
    }
    unique_names(&mut first);
    first
}

/// Steps share their names: a later one of the same name gets a number.
fn unique_names(project: &mut Project) {
    let mut taken: Vec<String> = Vec::new();
    for step in project.steps.iter_mut().chain(&mut project.ideas) {
        let plain = step.name.clone();
        let mut number = 2;
        while taken.contains(&step.name) {
            step.name = format!("{plain}-{number}");
            number += 1;
        }
        taken.push(step.name.clone());
    }
}

/// Returns the largest number of ranks that a text has `mpiexec` or a program like it start.
fn ranks_named(text: &str) -> Option<u32> {
    let lines = text.lines().filter_map(|line| {
        let words: Vec<&str> = line
            .split(|c: char| c.is_whitespace() || "\"';,()".contains(c))
            .filter(|word| !word.is_empty())
            .collect();
        let launcher = words.iter().position(|word| is_launcher(word))?;
        ranks_of(&words[launcher + 1..])
    });
    lines.max()
}

fn is_launcher(word: &str) -> bool {
    let word = word.to_ascii_lowercase();
    ["mpiexec", "mpirun", "srun"]
        .iter()
        .any(|name| word.contains(name))
}

/// Returns the number behind `-n`, `-np` or what stands for it, if it is one.
fn ranks_of(words: &[&str]) -> Option<u32> {
    words.windows(2).find_map(|pair| {
        let option = pair[0].to_ascii_lowercase();
        let counts =
            ["-n", "-np", "--ntasks"].contains(&option.as_str()) || option.contains("numproc_flag");
        pair[1].parse().ok().filter(|number| counts && *number > 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_read_where_a_launcher_stands() {
        for (text, expected) in [
            ("\tmpiexec -n 4 ./halo\n\tmpirun -np 2 ./solver", Some(4)),
            (
                "add_test(NAME h COMMAND ${MPIEXEC_EXECUTABLE} ${MPIEXEC_NUMPROC_FLAG} 3 h)",
                Some(3),
            ),
            ("${MPIEXEC} -n ${NP} ./halo", None),
            ("head -n 4 file", None),
            ("run(`$(mpiexec()) -n 2 julia x.jl`)", Some(2)),
        ] {
            assert_eq!(ranks_named(text), expected, "{text}");
        }
    }

    #[test]
    fn of_several_kinds_the_one_that_is_meant_comes_first() {
        let tree = Tree::from([
            ("Makefile", "all:\n\tcargo build\n"),
            ("Cargo.toml", "[package]\nname = \"heat\"\n"),
            ("pyproject.toml", "[project]\nname = \"heat\"\n"),
        ]);
        let project = project(&tree);
        assert_eq!(project.kind, Some(Kind::Cargo));
        assert_eq!(project.also, [Kind::Python, Kind::Make]);
        assert_eq!(super::project(&Tree::default()), Project::default());
    }
}
