//! What sources tell by themselves: the language, whether MPI is used, and where they stand.

use super::super::found::Language;
use super::super::tree::{Tree, file_name, is_test, stem};

/// Endings of C.
pub(super) const C: &[&str] = &[".c"];
/// Endings of C++.
pub(super) const CPP: &[&str] = &[".cc", ".cpp", ".cxx", ".C"];
/// Endings of Fortran.
pub(super) const FORTRAN: &[&str] = &[".f", ".f90", ".F90", ".F", ".f95", ".f03", ".f08"];
/// Endings of whatever is compiled to a program by the tools of C, C++ and Fortran.
pub(super) const COMPILED: &[&str] = &[
    ".c", ".cc", ".cpp", ".cxx", ".C", ".f", ".f90", ".F90", ".F", ".f95", ".f03", ".f08",
];

/// Folders that hold sources.
const FOLDERS: &[&str] = &["src", "source", "lib", "include"];

/// Returns what the sources of a clone are written in.
pub(super) fn language(tree: &Tree) -> Language {
    let any = |endings: &[&str]| {
        tree.paths()
            .any(|path| endings.iter().any(|ending| path.ends_with(ending)))
    };
    if any(FORTRAN) {
        Language::Fortran
    } else if any(C) || any(CPP) {
        Language::C { plus: any(CPP) }
    } else {
        Language::Unknown
    }
}

/// Returns patterns of the folders at the top that hold sources.
pub(super) fn folders(tree: &Tree) -> Vec<String> {
    let there = FOLDERS.iter().filter(|folder| tree.has_folder(folder));
    there.map(|folder| format!("{folder}/**")).collect()
}

/// Returns the source of a program, by its name; one among tests is preferred.
pub(super) fn of_program<'t>(tree: &'t Tree, program: &str) -> Option<&'t str> {
    let same = tree
        .texts(COMPILED)
        .filter(|(path, _)| stem(path) == stem(program));
    let all: Vec<&str> = same.map(|(path, _)| path).collect();
    let test = all.iter().find(|path| is_test(path));
    test.or_else(|| all.first()).copied()
}

/// Returns whether a source starts MPI, itself or by a header of the project that it includes.
pub(super) fn starts_mpi(tree: &Tree, path: &str) -> bool {
    let Some(text) = tree.text(path) else {
        return false;
    };
    let included = text.lines().filter_map(|line| {
        let rest = line.trim_start().strip_prefix("#include")?.trim();
        let name = rest.strip_prefix('"')?.split('"').next()?;
        tree.named(file_name(name)).map(|(_, text)| text)
    });
    std::iter::once(text).chain(included).any(calls_init)
}

fn calls_init(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    // C and Fortran, Rust's mpi, Boost's and mpl.
    [
        "mpi_init",
        "mpi::initialize",
        "mpi::environment",
        "mpl::environment",
    ]
    .iter()
    .any(|call| lower.contains(call))
}

/// Returns whether any compiled source starts MPI.
pub(super) fn any_mpi(tree: &Tree) -> bool {
    tree.texts(COMPILED).any(|(_, text)| calls_init(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_by_its_source_and_mpi_by_the_call() {
        let tree = Tree::from([
            ("src/halo.c", "void halo(void) {}"),
            ("tests/halo.c", "#include \"mpi_test.h\"\n"),
            ("tests/unit.c", "#include <mpi.h>\nint main(void) {}"),
            (
                "tests/mpi_test.h",
                "static void start(void) { MPI_Init(0, 0); }",
            ),
        ]);
        assert_eq!(of_program(&tree, "build/halo"), Some("tests/halo.c"));
        assert_eq!(of_program(&tree, "build/solver"), None);
        assert!(starts_mpi(&tree, "tests/halo.c"));
        assert!(!starts_mpi(&tree, "tests/unit.c"));
        assert_eq!(language(&tree), Language::C { plus: false });
        assert_eq!(folders(&tree), ["src/**"]);
    }
}
