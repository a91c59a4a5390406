//! A project of Fortran's package manager.

use toml::{Table, Value};

use super::super::found::{Build, Language, Project, Ranks, Step};
use super::super::tree::{Tree, is_test};
use super::sources;

pub(super) fn project(tree: &Tree) -> Option<Project> {
    let manifest: Table = tree.text("fpm.toml")?.parse().ok()?;
    let dependencies = manifest.get("dependencies").and_then(Value::as_table);
    let mpi = dependencies.is_some_and(|table| table.contains_key("mpi"));
    let tests = tree.texts(sources::FORTRAN).any(|(path, _)| is_test(path));
    let step = Step {
        name: "fpm".to_owned(),
        command: if mpi {
            "fpm test --runner=\"$HPC_CI_LAUNCH\"".to_owned()
        } else {
            "fpm test".to_owned()
        },
        ranks: Ranks::of_harness(mpi, None),
        harness: true,
        why: if mpi {
            vec![
                "fpm starts each test program by the launch prefix that hpc-ci hands it."
                    .to_owned(),
            ]
        } else {
            Vec::new()
        },
        ..Step::default()
    };
    Some(Project {
        name: manifest
            .get("name")
            .and_then(Value::as_str)
            .map(str::to_owned),
        language: Language::Fortran,
        mpi,
        build: Some(Build {
            command: "fpm build --tests".to_owned(),
            fetch: Some("fpm update --fetch-only".to_owned()),
            ..Build::default()
        }),
        steps: tests.then_some(step).into_iter().collect(),
        ..Project::default()
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn tests_with_mpi_get_the_launch_prefix() {
        let project = project(&Tree::from([
            ("fpm.toml", "name = \"heat\"\n[dependencies]\nmpi = \"*\"\n"),
            ("test/check.f90", "program check\nend program\n"),
        ]))
        .unwrap();
        assert_eq!(
            project.steps[0].command,
            "fpm test --runner=\"$HPC_CI_LAUNCH\""
        );
        assert_eq!(project.steps[0].ranks, Ranks::Guessed);
    }
}
