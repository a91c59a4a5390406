//! Programs of others, from the registries of their languages. They are large, so they are fetched with `HPC_CI_FULL=1` only.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Whether all is tried, also what is large or takes long.
pub(crate) fn full() -> bool {
    std::env::var_os("HPC_CI_FULL").is_some_and(|value| value == "1")
}

/// Where they are kept from one run of the tests to the next.
pub(crate) fn tools() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    target.join("publish-tools")
}

/// Runs a command that has to succeed.
#[track_caller]
pub(crate) fn done(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
}

/// Makes a folder of tools, once.
pub(crate) fn folder(name: &str, make: impl FnOnce(&Path)) -> PathBuf {
    let folder = tools().join(name);
    std::fs::create_dir_all(tools()).unwrap();
    // Tests are processes of their own, and several want it.
    let lock = std::fs::File::create(tools().join(format!("{name}.lock"))).unwrap();
    lock.lock().unwrap();
    if !folder.join("ready").exists() {
        std::fs::create_dir_all(&folder).unwrap();
        make(&folder);
        std::fs::write(folder.join("ready"), "").unwrap();
    }
    folder
}

/// A folder of Python programs with this package in it.
pub(crate) fn python(name: &str, package: &str) -> PathBuf {
    let made = folder(name, |folder| {
        done(Command::new("python3").args(["-m", "venv"]).arg(folder));
        done(Command::new(folder.join("bin/pip")).args(["-q", "install", package]));
    });
    made.join("bin")
}
