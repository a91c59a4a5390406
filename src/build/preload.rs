//! The library that keeps the counters of processes that die, built from source where it will be used.
//!
//! What it does stands at the head of `keep_counters.c`. It is compiled with whatever C compiler the environment of the build
//! has, so that it fits the nodes' C library.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::PROBE_DEADLINE;
use super::environment::{self, Setup};
use crate::foreign;
use crate::process::{Command, ProcessError};

const SOURCE: &str = include_str!("keep_counters.c");

/// Tries one compiler after another; `CCC_OVERRIDE_OPTIONS` of the user must not instrument the library.
const COMPILE: &str = r#"
unset CCC_OVERRIDE_OPTIONS
for hpc_ci_cc in "${CC:-}" cc gcc clang; do
  [ -n "$hpc_ci_cc" ] || continue
  $hpc_ci_cc -std=gnu99 -O2 -shared -fPIC -pthread -o "$2.part" "$1" && mv -f "$2.part" "$2" && exit 0
done
echo 'no C compiler made it' >&2
exit 1
"#;

/// A library that could not be built.
#[derive(Debug, thiserror::Error)]
pub enum PreloadError {
    /// The loader would take its path for several.
    #[error("`{}` holds a blank or a colon, which `LD_PRELOAD` cannot say", path.display())]
    Path {
        /// Where it was to stand.
        path: PathBuf,
    },
    /// Its source could not be written.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The compiler refused, or there is none.
    #[error(transparent)]
    Compile(#[from] ProcessError),
}

/// Returns where the library stands in this folder.
#[must_use]
pub fn library(dir: &Path) -> PathBuf {
    dir.join("libkeep_counters.so")
}

/// Builds the library into this folder, in the environment of a build, and returns its path.
pub async fn build(
    setup: &Setup,
    inherited: &[(OsString, OsString)],
    dir: &Path,
) -> Result<PathBuf, PreloadError> {
    let library = library(dir);
    let splits = |c: char| c == ':' || c.is_whitespace();
    if library.to_string_lossy().contains(splits) {
        return Err(PreloadError::Path { path: library });
    }
    let source = dir.join("keep_counters.c");
    let written = std::fs::create_dir_all(dir).and_then(|()| foreign::put(&source, SOURCE));
    written.map_err(|error| PreloadError::Write {
        path: source.clone(),
        source: error,
    })?;
    Command::new("bash")
        .args(["-p", "-c", &environment::inside(setup, COMPILE), "bash"])
        .arg(&source)
        .arg(&library)
        .environment(inherited.iter().map(|(k, v)| (k, v)))
        .deadline(PROBE_DEADLINE)
        .success()
        .await?;
    Ok(library)
}
