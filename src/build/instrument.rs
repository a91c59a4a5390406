//! Instrumentation of a build through its environment, so that no build system needs to know of it.
//!
//! clang reads extra options from `CCC_OVERRIDE_OPTIONS` (clang's `tools/driver/driver.cpp`), also below `mpicc` and where a
//! build ignores `CFLAGS`. cargo calls `RUSTC_WORKSPACE_WRAPPER` for the crates of the workspace only, which leaves every
//! flag that the project sets in force; `RUSTFLAGS` would replace them.

use std::path::Path;

/// What clang adds to every compile and link line; `#` keeps it from reporting each edit.
const CLANG_OPTIONS: &str = "# +-fprofile-instr-generate +-fcoverage-mapping";

/// The wrapper that instruments the crates of a cargo workspace.
///
/// Build scripts and procedural macros run in the compiler's process or before any test: they are left alone.
pub const RUSTC_WRAPPER: &str = r#"#!/bin/sh
# Called by cargo as: WRAPPER RUSTC ARGS...
hpc_ci_plain=
hpc_ci_previous=
for hpc_ci_arg in "$@"; do
  case "$hpc_ci_previous $hpc_ci_arg" in
    '--crate-name build_script_'*|'--crate-type proc-macro') hpc_ci_plain=1 ;;
    *' --crate-type=proc-macro'|*' --print='*|*' --print'|*' -vV') hpc_ci_plain=1 ;;
  esac
  hpc_ci_previous=$hpc_ci_arg
done
if [ -n "${HPC_CI_NEXT_WRAPPER:-}" ]; then set -- "$HPC_CI_NEXT_WRAPPER" "$@"; fi
if [ -n "$hpc_ci_plain" ]; then exec "$@"; fi
exec "$@" -C instrument-coverage
"#;

/// Returns the variables that instrument a build for LLVM source-based coverage.
///
/// `wrapper` is where [`RUSTC_WRAPPER`] was written; `next` is the wrapper that the caller's environment already names.
#[must_use]
pub fn llvm(wrapper: &Path, next: Option<&str>) -> Vec<(String, String)> {
    let mut variables = vec![
        ("CCC_OVERRIDE_OPTIONS".to_owned(), CLANG_OPTIONS.to_owned()),
        (
            "RUSTC_WORKSPACE_WRAPPER".to_owned(),
            wrapper.to_string_lossy().into_owned(),
        ),
    ];
    if let Some(next) = next {
        variables.push(("HPC_CI_NEXT_WRAPPER".to_owned(), next.to_owned()));
    }
    variables
}
