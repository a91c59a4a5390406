//! A project of Meson.

use super::super::found::{Build, Language, Project, Ranks, Step};
use super::super::tree::{Tree, file_name};
use super::{ranks_named, sources};

pub(super) fn project(tree: &Tree) -> Option<Project> {
    let top = tree.text("meson.build")?;
    let files = || {
        tree.texts(&["meson.build"])
            .filter(|(path, _)| file_name(path) == "meson.build")
            .map(|(_, text)| text)
    };
    let mpi = files().any(|text| text.contains("dependency('mpi'"));
    let tested = files().any(|text| {
        text.lines()
            .any(|line| line.trim_start().starts_with("test("))
    });
    let language = match sources::language(tree) {
        _ if top.contains("'fortran'") => Language::Fortran,
        language => language,
    };
    let mut why = vec!["Meson's report is read: each of its tests is one.".to_owned()];
    if mpi {
        why.push("Its tests start MPI by themselves; `ranks` is what its job asks for.".to_owned());
    }
    let step = Step {
        name: "meson".to_owned(),
        command: "meson test -C build --no-rebuild --print-errorlogs".to_owned(),
        ranks: Ranks::of_harness(mpi, files().filter_map(ranks_named).max()),
        harness: true,
        results: Some(("junit", "build/meson-logs/testlog.junit.xml")),
        why,
        ..Step::default()
    };
    Some(Project {
        name: name(top),
        language,
        mpi,
        build: Some(Build {
            command: "meson setup build && meson compile -C build -j 4".to_owned(),
            plain: Some(
                "meson setup build --buildtype=release && meson compile -C build -j 4".to_owned(),
            ),
            ..Build::default()
        }),
        steps: tested.then_some(step).into_iter().collect(),
        ..Project::default()
    })
}

/// Reads `project('NAME', …)`.
fn name(text: &str) -> Option<String> {
    let rest = text.split_once("project(")?.1.trim_start();
    let name = rest.strip_prefix('\'')?.split('\'').next()?;
    Some(name.to_owned())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn name_language_and_tests_are_read() {
        let project = project(&Tree::from([
            (
                "meson.build",
                "project(\n  'heat', 'c')\nmpi = dependency('mpi')\nsubdir('tests')\n",
            ),
            (
                "tests/meson.build",
                "test('halo', mpiexec, args: ['-n', '4', halo])\n",
            ),
            ("src/heat.c", ""),
        ]))
        .unwrap();
        assert_eq!(project.name.as_deref(), Some("heat"));
        assert_eq!(project.language, Language::C { plus: false });
        assert_eq!(project.steps[0].ranks, Ranks::Found(4));
    }
}
