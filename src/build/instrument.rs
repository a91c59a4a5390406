//! Instrumentation of a build through its environment, so that no build system needs to know of it.
//!
//! clang reads extra options from `CCC_OVERRIDE_OPTIONS` (clang's `tools/driver/driver.cpp`), also below `mpicc` and where a
//! build ignores `CFLAGS`. cargo calls `RUSTC_WORKSPACE_WRAPPER` for the crates of the workspace only, which leaves every
//! flag that the project sets in force; `RUSTFLAGS` would replace them.

use std::path::Path;

/// What clang adds to every compile and link line; `#` keeps it from reporting each edit, and a line that only preprocesses
/// or assembles does not complain of options that it has no use for.
const CLANG_OPTIONS: &str = "# +-fprofile-instr-generate +-fcoverage-mapping +-Qunused-arguments";

/// What it adds besides for continuous mode. `-fprofile-continuous` says the same, but only since clang 20.
const CLANG_CONTINUOUS: &str = " +-mllvm +-runtime-counter-relocation";

/// The last words of [`RUSTC_WRAPPER`], and those of the wrapper for continuous mode.
const RUSTC_OPTIONS: &str = "-C instrument-coverage";
const RUSTC_CONTINUOUS: &str = "-C instrument-coverage -C llvm-args=-runtime-counter-relocation";

/// The wrapper that instruments the crates of a cargo workspace.
///
/// Build scripts and procedural macros run in the compiler's process or before any test: they are left alone.
const RUSTC_WRAPPER: &str = r#"#!/bin/sh
# Called by cargo as: WRAPPER RUSTC ARGS...
hpc_ci_plain=
hpc_ci_previous=
hpc_ci_out=
for hpc_ci_arg in "$@"; do
  case "$hpc_ci_previous $hpc_ci_arg" in
    '--out-dir '*) hpc_ci_out=$hpc_ci_arg ;;
    '--crate-name build_script_'*|'--crate-type proc-macro') hpc_ci_plain=1 ;;
    *' --crate-type=proc-macro'|*' --print='*|*' --print'|*' -vV') hpc_ci_plain=1 ;;
  esac
  hpc_ci_previous=$hpc_ci_arg
done
if [ -n "${HPC_CI_NEXT_WRAPPER:-}" ]; then set -- "$HPC_CI_NEXT_WRAPPER" "$@"; fi
if [ -n "$hpc_ci_plain" ]; then exec "$@"; fi
# cargo's target directory may be anywhere: where programs come to stand, other than plainly in the tree, is noted, once.
hpc_ci_known=1
case ${hpc_ci_out#"${HPC_CI_TREE:-}"/} in
  /*|.*|*/.*) hpc_ci_known= ;;
esac
if [ -n "${HPC_CI_OUT_DIRS:-}" ] && [ -z "$hpc_ci_known" ]; then
  while IFS= read -r hpc_ci_line; do
    [ "$hpc_ci_line" != "$hpc_ci_out" ] || hpc_ci_known=1
  done <"$HPC_CI_OUT_DIRS"
  [ -n "$hpc_ci_known" ] || printf '%s\n' "$hpc_ci_out" >>"$HPC_CI_OUT_DIRS"
fi 2>/dev/null
exec "$@" -C instrument-coverage
"#;

/// How programs are instrumented.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// A process writes its counters when it exits.
    #[default]
    AtExit,
    /// Counters can lie in a file while they count.
    Continuous,
}

impl Mode {
    /// Returns what clang takes from `CCC_OVERRIDE_OPTIONS`.
    #[must_use]
    pub fn clang_options(self) -> String {
        match self {
            Self::AtExit => CLANG_OPTIONS.to_owned(),
            Self::Continuous => format!("{CLANG_OPTIONS}{CLANG_CONTINUOUS}"),
        }
    }

    /// Returns the options of rustc.
    #[must_use]
    pub fn rustc_options(self) -> &'static str {
        match self {
            Self::AtExit => RUSTC_OPTIONS,
            Self::Continuous => RUSTC_CONTINUOUS,
        }
    }

    /// Returns the text of the wrapper that instruments the crates of a cargo workspace.
    #[must_use]
    pub fn rustc_wrapper(self) -> String {
        RUSTC_WRAPPER.replace(RUSTC_OPTIONS, self.rustc_options())
    }
}

/// Returns the variables that instrument a build for LLVM source-based coverage.
///
/// `wrapper` is where [`Mode::rustc_wrapper`] was written; it notes in the file `out_dirs` to which folders outside of `tree` it
/// compiles. `next` is the wrapper that the caller's environment already names.
#[must_use]
pub fn llvm(
    mode: Mode,
    wrapper: &Path,
    out_dirs: &Path,
    tree: &Path,
    next: Option<&str>,
) -> Vec<(String, String)> {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let mut variables = vec![
        ("CCC_OVERRIDE_OPTIONS".to_owned(), mode.clang_options()),
        ("RUSTC_WORKSPACE_WRAPPER".to_owned(), text(wrapper)),
        ("HPC_CI_OUT_DIRS".to_owned(), text(out_dirs)),
        ("HPC_CI_TREE".to_owned(), text(tree)),
    ];
    if let Some(next) = next {
        variables.push(("HPC_CI_NEXT_WRAPPER".to_owned(), next.to_owned()));
    }
    variables
}
