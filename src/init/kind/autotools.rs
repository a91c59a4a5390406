//! A project with a `configure` of the GNU build system.

use super::super::found::{Build, Chosen, Language, Project, Ranks, Step};
use super::super::tree::{Tree, file_name};
use super::{ranks_named, sources};

pub(super) fn project(tree: &Tree) -> Option<Project> {
    let text = tree
        .text("configure.ac")
        .or_else(|| tree.text("configure.in"))?;
    let makefiles = || {
        tree.texts(&["Makefile.am"])
            .filter(|(path, _)| file_name(path) == "Makefile.am")
            .map(|(_, text)| text)
    };
    let mpi = sources::any_mpi(tree) || text.to_ascii_uppercase().contains("MPI");
    let tested = makefiles().any(|text| {
        let mut lines = text.lines().map(str::trim_start);
        lines.any(|line| {
            ["TESTS", "check_PROGRAMS", "check-local"]
                .iter()
                .any(|it| line.starts_with(it))
        })
    });
    // Whoever keeps `configure` in the repository wants it used as it is.
    let bootstrap = match (tree.has("configure"), tree.has("autogen.sh")) {
        (true, _) => "",
        (false, true) => "./autogen.sh && ",
        (false, false) => "autoreconf --install && ",
    };
    let language = match sources::language(tree) {
        _ if text.contains("AC_PROG_FC") || text.contains("AC_PROG_F77") => Language::Fortran,
        language => language,
    };
    let step = Step {
        name: "check".to_owned(),
        command: "make check".to_owned(),
        ranks: Ranks::of_harness(mpi, makefiles().filter_map(ranks_named).max()),
        harness: true,
        why: vec![
            "Programs of `check_PROGRAMS` are compiled when it runs, inside the job.".to_owned(),
        ],
        ..Step::default()
    };
    Some(Project {
        name: name(text),
        language,
        chosen: if mpi {
            Chosen::ByWrapper
        } else {
            Chosen::ByVariable
        },
        mpi,
        build: Some(Build {
            command: format!(
                "{bootstrap}./configure{} && make -j 4",
                if mpi { " CC=mpicc" } else { "" }
            ),
            ..Build::default()
        }),
        steps: tested.then_some(step).into_iter().collect(),
        ..Project::default()
    })
}

/// Reads `AC_INIT([NAME], …)`.
fn name(text: &str) -> Option<String> {
    let rest = text.split_once("AC_INIT(")?.1;
    let name = rest
        .split([',', ')'])
        .next()?
        .trim()
        .trim_matches(['[', ']']);
    (!name.is_empty() && !name.contains(['(', '$'])).then(|| name.to_owned())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn configure_is_made_where_it_is_not_kept() {
        let files = [
            ("configure.ac", "AC_INIT([heat], [1.0])\nAC_PROG_CC\n"),
            ("Makefile.am", "check_PROGRAMS = unit\nTESTS = unit\n"),
            ("unit.c", "int main(void) { return 0; }"),
        ];
        let made = project(&Tree::from(files)).unwrap();
        assert_eq!(made.name.as_deref(), Some("heat"));
        assert_eq!(
            made.build.unwrap().command,
            "autoreconf --install && ./configure && make -j 4"
        );
        assert_eq!(made.steps[0].ranks, Ranks::One);
        let mut tree = Tree::from(files);
        tree.add("configure", None);
        let kept = project(&tree).unwrap();
        assert_eq!(kept.build.unwrap().command, "./configure && make -j 4");
    }
}
