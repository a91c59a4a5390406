//! From instrumented builds and per-rank profiles to `lcov.info`, held against what LLVM's own programs say.

mod bombs;
mod dying;
mod llvm;
mod lost;
mod tracefiles;
mod verbs;
mod without_llvm;

use crate::local::project;
use crate::support::Project;

/// An MPI program with a function that only ranks above 0 reach, and a few ways to end.
const RANKS: &str = r#"#include <mpi.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include "twice.h"
static int above_zero(int rank) {
    return twice(rank);
}
int never(void) {
    return 1;
}
int main(int argc, char **argv) {
    int rank;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    if (rank > 0)
        above_zero(rank);
    MPI_Finalize();
    return argc > 1 && strcmp(argv[1], "fail") == 0;
}
"#;

/// Code in a header, which several programs have in them.
const TWICE: &str = r"static inline int twice(int n) {
    return n > 2 ? n + n : 2 * n;
}
";

/// An MPI project in C with these settings.
fn c_project(toml: &str) -> Project {
    let project = project(toml);
    project.file("src/ranks.c", RANKS);
    project.file("src/twice.h", TWICE);
    project.commit();
    project
}

/// Hits of one line.
#[track_caller]
fn hits(lines: &[(u32, u64)], line: u32) -> u64 {
    let found = lines.iter().find(|(number, _)| *number == line);
    found
        .unwrap_or_else(|| panic!("no line {line} in {lines:?}"))
        .1
}
