//! A project of Python.

use toml::{Table, Value};

use super::super::found::{Language, Project, Ranks, Step};
use super::super::tree::{Tree, file_name, is_test, stem};

/// Files by which it is known.
const FILES: &[&str] = &["pyproject.toml", "setup.py", "setup.cfg"];

pub(super) fn project(tree: &Tree) -> Option<Project> {
    FILES.iter().find(|file| tree.has(file))?;
    let manifest = tree
        .text("pyproject.toml")
        .and_then(|text| text.parse::<Table>().ok());
    let name = manifest.as_ref().and_then(|manifest| {
        let poetry = || manifest.get("tool")?.get("poetry")?.get("name");
        let name = manifest
            .get("project")
            .and_then(|project| project.get("name"));
        name.or_else(poetry).and_then(Value::as_str)
    });
    let imports = |text: &str| text.contains("mpi4py");
    let mpi = tree.texts(&[".py"]).any(|(_, text)| imports(text))
        || FILES.iter().filter_map(|file| tree.text(file)).any(imports);
    let tested = tree.texts(&[".py"]).any(|(path, _)| {
        is_test(path) && (file_name(path).starts_with("test") || stem(path).ends_with("_test"))
    });
    let mut sources = tree.texts(&[".py"]);
    let source = sources.any(|(path, _)| path.starts_with("src/"));
    Some(Project {
        name: name.map(str::to_owned),
        language: Language::Python,
        mpi,
        steps: tested.then(|| pytest(mpi)).into_iter().collect(),
        variables: source
            .then(|| ("PYTHONPATH".to_owned(), "src".to_owned()))
            .into_iter()
            .collect(),
        ..Project::default()
    })
}

fn pytest(mpi: bool) -> Step {
    let ranks = if mpi { Ranks::Guessed } else { Ranks::One };
    Step {
        name: "pytest".to_owned(),
        command: "python3 -m pytest -p no:cacheprovider --junitxml=\"$HPC_CI_STEP_DIR/pytest-$HPC_CI_RANK.xml\"".to_owned(),
        ranks,
        results: Some(("junit", "pytest-{rank}.xml")),
        why: vec!["A report for each rank: a test counts once, and its worst rank decides.".to_owned()],
        ..Step::default()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn sources_below_src_are_found_by_the_tests() {
        let project = project(&Tree::from([
            (
                "pyproject.toml",
                "[project]\nname = \"heat\"\ndependencies = [\"mpi4py\"]\n",
            ),
            ("src/heat/__init__.py", ""),
            ("tests/test_heat.py", "def test(): pass\n"),
        ]))
        .unwrap();
        assert_eq!(project.name.as_deref(), Some("heat"));
        assert_eq!(
            project.variables,
            [("PYTHONPATH".to_owned(), "src".to_owned())]
        );
        assert_eq!(project.steps[0].ranks, Ranks::Guessed);
    }
}
