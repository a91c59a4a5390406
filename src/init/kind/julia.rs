//! A package of Julia.

use toml::{Table, Value};

use super::super::found::{Build, Language, Project, Ranks, Step};
use super::super::tree::Tree;
use super::ranks_named;

/// The tests' own start.
const TESTS: &str = "test/runtests.jl";

pub(super) fn project(tree: &Tree) -> Option<Project> {
    let text = tree
        .text("Project.toml")
        .or_else(|| tree.text("JuliaProject.toml"))?;
    let manifest: Table = text.parse().ok()?;
    let depends = |text: Option<&str>| {
        let manifest = text.and_then(|text| text.parse::<Table>().ok());
        manifest.is_some_and(|manifest| {
            ["deps", "extras", "weakdeps"].iter().any(|table| {
                let table = manifest.get(*table).and_then(Value::as_table);
                table.is_some_and(|table| table.contains_key("MPI"))
            })
        })
    };
    let mpi = depends(Some(text)) || depends(tree.text("test/Project.toml"));
    let named = tree
        .texts(&[".jl"])
        .filter(|(path, _)| path.starts_with("test/"))
        .filter_map(|(_, text)| ranks_named(text))
        .max();
    let steps = tree.has(TESTS).then(|| own_tests(mpi, named));
    Some(Project {
        name: manifest
            .get("name")
            .and_then(Value::as_str)
            .map(str::to_owned),
        language: Language::Julia,
        mpi,
        build: Some(Build {
            command: "julia --project=. -e 'using Pkg; Pkg.precompile()'".to_owned(),
            fetch: Some("julia --project=. -e 'using Pkg; Pkg.instantiate()'".to_owned()),
            ..Build::default()
        }),
        steps: steps.into_iter().collect(),
        ..Project::default()
    })
}

fn own_tests(mpi: bool, named: Option<u32>) -> Step {
    let mut why = vec![
        "Each process leaves a tracefile of its own, and the table that `Test` prints is read.".to_owned(),
        "Dependencies of the tests alone are not fetched by `instantiate`: where nodes have no network, run the tests once by hand before."
            .to_owned(),
    ];
    if mpi {
        why.push("It starts MPI by itself, with `mpiexec()` of MPI.jl; `ranks` is what its job asks for.".to_owned());
    }
    Step {
        name: "runtests".to_owned(),
        command: "julia --project=. -e 'using Pkg; Pkg.test(coverage = ENV[\"HPC_CI_TRACEFILE_DIR\"] * \"/%L-%p.info\")'".to_owned(),
        ranks: Ranks::of_harness(mpi, named),
        harness: true,
        results: Some(("julia", "")),
        why,
        ..Step::default()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_package_with_mpi_starts_its_ranks_itself() {
        let project = project(&Tree::from([
            (
                "Project.toml",
                "name = \"Heat\"\n[deps]\nMPI = \"da04e1cc-30fd-572f-bb4f-1f8673147195\"\n",
            ),
            (
                TESTS,
                "run(`$(mpiexec()) -n 3 $(Base.julia_cmd()) halo.jl`)\n",
            ),
        ]))
        .unwrap();
        assert_eq!(project.name.as_deref(), Some("Heat"));
        assert_eq!(project.steps[0].ranks, Ranks::Found(3));
        assert!(project.steps[0].harness);
    }

    #[test]
    fn a_package_without_tests_has_no_step() {
        let project = project(&Tree::from([("Project.toml", "name = \"Heat\"\n")])).unwrap();
        assert_eq!(project.steps, []);
    }
}
