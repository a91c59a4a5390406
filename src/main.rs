//! `hpc-ci`: see the library for what it does and how it is built.

use std::process::ExitCode;

fn main() -> ExitCode {
    // A panic is a bug of ours, and its exit code says so.
    match std::panic::catch_unwind(hpc_ci::cli::main) {
        Ok(exit) => ExitCode::from(exit.code()),
        Err(_) => ExitCode::from(hpc_ci::error::Exit::Bug.code()),
    }
}
