//! The whole way from the build to the tracefile, with a compiler and no other program of LLVM.

use super::c_project;
use crate::support::Ended;

/// Hides LLVM's programs from a command, in a mount namespace of its own, and makes sure of it.
const HIDING: &str = r#"
for tool in /usr/bin/llvm-profdata* /usr/bin/llvm-cov* /usr/lib/llvm-*/bin/llvm-profdata /usr/lib/llvm-*/bin/llvm-cov \
    "$HOME"/.rustup/toolchains/*/lib/rustlib/*/bin/llvm-profdata "$HOME"/.rustup/toolchains/*/lib/rustlib/*/bin/llvm-cov
do
    [ ! -e "$tool" ] || mount --bind /dev/null "$tool" || exit 99
done
llvm-profdata-22 --version >/dev/null 2>&1 && exit 98
llvm-cov-22 --version >/dev/null 2>&1 && exit 98
exec "$@"
"#;

#[test]
fn a_run_needs_no_llvm_program() {
    let project = c_project(
        r#"
[environment]
variables = { OMPI_CC = "clang-22" }
[build.tests]
command = "mpicc.openmpi -g -o ranks src/ranks.c"
coverage = "llvm"
[[test]]
name = "ranks"
command = "./ranks"
ranks = 3
"#,
    );
    let output = project
        .command("unshare")
        .args(["--mount", "bash", "-c", HIDING, "bash"])
        .args([env!("CARGO_BIN_EXE_hpc-ci"), "--scheduler", "local"])
        .output()
        .unwrap();
    let hidden = Ended::of(&project.dir, &output).exits_with(0);
    let without = hidden.text("artifacts/coverage/lcov.info");
    let from_above_zero = without.matches("FNDA:2,").count();
    assert_eq!(from_above_zero, 2, "above_zero and twice: {without}");
    let seen = project.run(&["--scheduler", "local"]).exits_with(0);
    assert_eq!(without, seen.text("artifacts/coverage/lcov.info"));
}
