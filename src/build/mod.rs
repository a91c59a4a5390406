//! Builds: a command run in a work tree, inside the environment of the project.
//!
//! Trees come from the git room and are somebody else's business; this room writes the build script, runs it and keeps its
//! log, and asks the environment which compilers and MPI it has.

pub mod continuous;
pub mod environment;
pub mod instrument;
pub mod preload;
pub mod secrets;

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::foreign;
use crate::process::{Command, ProcessError, tail};
use crate::remedy;
use environment::Setup;
use instrument::Mode;

/// The script of a build, in its folder.
pub const SCRIPT: &str = "build.sh";
/// Its log.
pub const LOG: &str = "build.log";
/// Lines of the log that an error shows.
pub const LOG_LINES: usize = 25;

/// What our scripts exit with when the environment could not be set up.
const REFUSED: i32 = 125;
/// Where a build's script notes that, and why.
const REFUSAL: &str = "refused";

/// How long the environment may take to answer a question about itself.
const PROBE_DEADLINE: Duration = Duration::from_mins(1);

/// A build that left no program.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The build command failed: the code under test is at fault.
    #[error("build `{build}` failed with exit code {code}; its log ends:\n{tail}")]
    Failed {
        /// The build's name.
        build: String,
        /// The exit code of its command.
        code: i32,
        /// The whole log.
        log: PathBuf,
        /// The last lines of the log.
        tail: String,
    },
    /// The environment could not be set up.
    #[error("the environment of build `{build}` could not be set up: {why}")]
    Environment {
        /// The build's name.
        build: String,
        /// The whole log.
        log: PathBuf,
        /// Which part of it failed, and what it printed.
        why: String,
    },
    /// A file of the build could not be written.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The build could not be run.
    #[error(transparent)]
    Process(#[from] ProcessError),
}

impl BuildError {
    /// Returns whether the code under test is at fault, rather than what surrounds it.
    #[must_use]
    pub fn is_fault_of_code(&self) -> bool {
        matches!(self, Self::Failed { .. })
    }

    /// Returns what to do about it.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Failed { log, .. } => Some(format!("the whole log is `{}`", log.display())),
            Self::Environment { .. } => {
                Some("`hpc-ci config` shows the modules and set-up lines in force".to_owned())
            }
            Self::Write { path, source } => remedy::of_file(source, path),
            Self::Process(_) => None,
        }
    }
}

/// One command to run in a tree.
#[derive(Debug)]
pub struct Request<'a> {
    /// The build's name, for people.
    pub build: &'a str,
    /// The words of the command.
    pub argv: Vec<String>,
    /// The work tree.
    pub tree: &'a Path,
    /// Where script and log go.
    pub dir: PathBuf,
    /// Modules, set-up lines and variables.
    pub setup: Setup,
    /// Variables of instrumentation and of the run.
    pub variables: Vec<(String, String)>,
    /// Where the script stands that goes before launchers, if a step of this build starts MPI by itself: what is configured now may hold
    /// on to the launchers that it finds.
    pub launchers: Option<PathBuf>,
    /// What is inherited, already scrubbed.
    pub inherited: &'a [(OsString, OsString)],
}

/// Runs a build command and returns how long it took.
pub async fn run(request: &Request<'_>) -> Result<Duration, BuildError> {
    let script = write_script(request)?;
    let log = request.dir.join(LOG);
    let output = Command::new("bash")
        .arg("-p")
        .arg(&script)
        .environment(request.inherited.iter().map(|(k, v)| (k, v)))
        .cwd(request.tree)
        .log(&log)
        .tied()
        .own_umask()
        .output()
        .await?;
    if output.status.success() {
        return Ok(output.elapsed);
    }
    let text = foreign::read_end(&log, foreign::NOTE).unwrap_or_default();
    let tail = tail(&String::from_utf8_lossy(&text), LOG_LINES);
    let build = request.build.to_owned();
    // What the command itself exits with is its own choice, so that no code of it can stand for this.
    if let Ok(why) = foreign::read_to_string(request.dir.join(REFUSAL), foreign::NOTE) {
        return Err(BuildError::Environment { build, log, why });
    }
    Err(BuildError::Failed {
        build,
        code: output.status.code().unwrap_or(1),
        log,
        tail,
    })
}

/// Writes the script of a build that something else is to run, and returns where it stands.
pub fn write_script(request: &Request<'_>) -> Result<PathBuf, BuildError> {
    let script = request.dir.join(SCRIPT);
    write(&script, &script_text(request))?;
    Ok(script)
}

fn script_text(request: &Request<'_>) -> String {
    let mut text = format!(
        r#"#!/bin/bash -p
# hpc-ci: build {name}
hpc_ci_dir={dir}
rm -f "$hpc_ci_dir/{REFUSAL}"
hpc_ci_refuse() {{ # MESSAGE: also in the place where the script of a job looks for it
  printf '%s' "$1" | tee "$hpc_ci_dir/{REFUSAL}" ${{HPC_CI_OUT:+"$HPC_CI_OUT/refused"}} >/dev/null
  printf 'hpc-ci: %s\n' "$1" >&2
  exit {REFUSED}
}}
{functions}
hpc_ci_set_up "$hpc_ci_dir"
hpc_ci_code=$?
[ ! -e "$hpc_ci_dir/set-up.log" ] || cat "$hpc_ci_dir/set-up.log"
if [ "$hpc_ci_code" != 0 ]; then
  hpc_ci_set_up_why "$hpc_ci_dir"
  hpc_ci_refuse "$hpc_ci_why"
fi
hpc_ci_enter "$hpc_ci_dir"
"#,
        name = request.build.replace(['\n', '\r'], " "),
        dir = shell_words::quote(&request.dir.to_string_lossy()),
        functions = environment::functions(&request.setup),
    );
    for (name, value) in &request.variables {
        environment::export(&mut text, name, value);
    }
    if let Some(launchers) = &request.launchers {
        let folder = launchers.to_string_lossy();
        text.push_str("hpc_ci_add_launchers ");
        text.push_str(&shell_words::quote(&folder));
        text.push('\n');
    }
    text.push_str(&shell_words::join(&request.argv));
    text.push('\n');
    text
}

fn write(path: &Path, text: &str) -> Result<(), BuildError> {
    foreign::put(path, text).map_err(|source| BuildError::Write {
        path: path.to_owned(),
        source,
    })
}

/// Returns where the wrapper that instruments cargo builds stands in a workspace.
///
/// cargo rebuilds everything when the wrapper's path changes: it stays at one place per workspace, and each mode has its own.
#[must_use]
pub fn rustc_wrapper(workspace: &Path, mode: Mode) -> PathBuf {
    workspace.join(match mode {
        Mode::AtExit => "rustc-instrumented",
        Mode::Continuous => "rustc-continuous",
    })
}

/// Returns the file in which that wrapper notes where the programs of a build come to stand, if not in its tree. It outlives the run:
/// what cargo finds up to date it does not compile again.
#[must_use]
pub fn out_dirs(workspace: &Path, build: &str) -> PathBuf {
    workspace.join("out-dirs").join(build)
}

/// Makes room for [`out_dirs`], and returns it. Of a long list, what is gone is dropped: a step may build in a folder of its own each time.
pub fn prepare_out_dirs(workspace: &Path, build: &str) -> Result<PathBuf, BuildError> {
    const LONG: u64 = 64 << 10;
    let path = out_dirs(workspace, build);
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|source| BuildError::Write {
            path: folder.to_owned(),
            source,
        })?;
    }
    if std::fs::metadata(&path).is_ok_and(|it| it.is_file() && it.len() > LONG)
        && let Ok(text) = foreign::read_to_string(&path, foreign::RECORD)
    {
        let there = text.lines().filter(|line| Path::new(line).is_dir());
        let there: String = there.flat_map(|line| [line, "\n"]).collect();
        replace(&path, &there, 0o644)?;
    }
    Ok(path)
}

/// Writes the wrapper that instruments cargo builds, ready to run, and returns its path.
pub fn write_rustc_wrapper(workspace: &Path, mode: Mode) -> Result<PathBuf, BuildError> {
    let path = rustc_wrapper(workspace, mode);
    let text = mode.rustc_wrapper();
    if foreign::read_to_string(&path, foreign::RECORD).is_ok_and(|old| old == text) {
        return Ok(path);
    }
    replace(&path, &text, 0o755)?;
    Ok(path)
}

/// Writes a file whole or not at all: builds side by side read it.
fn replace(path: &Path, text: &str, mode: u32) -> Result<(), BuildError> {
    let part = path.with_extension(std::process::id().to_string());
    write(&part, text)?;
    std::fs::set_permissions(&part, std::fs::Permissions::from_mode(mode))
        .and_then(|()| std::fs::rename(&part, path))
        .map_err(|source| BuildError::Write {
            path: path.to_owned(),
            source,
        })
}

/// Asks for the versions of what the environment has; each line is `NAME<TAB>FIRST LINE OF ITS ANSWER`.
const TOOLS: &str = r#"
hpc_ci_ask() { # NAME COMMAND...
  local answer line
  type -P -- "$2" >/dev/null || return 0
  # What a tool says that fails is no version: a shim of rustup without a toolchain, for one.
  answer=$("${@:2}" 2>&1 </dev/null) || return 0
  while IFS= read -r line; do
    [ -z "${line//[[:space:]]/}" ] || { printf '%s\t%s\n' "$1" "$line"; return 0; }
  done <<<"$answer"
}
for hpc_ci_name in mpicc mpicxx mpifort cc ftn; do
  hpc_ci_ask "$hpc_ci_name" "$hpc_ci_name" --version
  hpc_ci_ask "$hpc_ci_name.target" "$hpc_ci_name" -dumpmachine
done
hpc_ci_ask rustc rustc --version
hpc_ci_ask rustc.target bash -o pipefail -c 'rustc -vV | sed -n "s/^host: //p"'
hpc_ci_ask cargo cargo --version
hpc_ci_ask julia julia --version
hpc_ci_ask python python3 --version
hpc_ci_ask slurm sbatch --version
# Hydra tells its version in the second line, Open MPI the address for bug reports in the third.
hpc_ci_ask mpiexec bash -o pipefail -c 'mpiexec --version | sed -n "/^Report bugs/d;1,3p" | tr -s "\n" " "'
for hpc_ci_name in OMPI_CC MPICH_CC OMPI_CXX MPICH_CXX OMPI_FC MPICH_FC CC CXX FC CFLAGS CXXFLAGS FFLAGS FCFLAGS LDFLAGS CRAY_MPICH_VERSION; do
  [ -z "${!hpc_ci_name:-}" ] || printf '%s\t%s\n' "$hpc_ci_name" "${!hpc_ci_name}"
done
printf 'modules\t%s\n' "${LOADEDMODULES:-}"
"#;

/// Returns name and version of each compiler, launcher and interpreter in the environment, and its flags and modules.
pub async fn toolchain(
    setup: &Setup,
    inherited: &[(OsString, OsString)],
) -> Result<Vec<(String, String)>, ProcessError> {
    let output = Command::new("bash")
        .args(["-p", "-c"])
        .arg(environment::inside(setup, TOOLS))
        .environment(inherited.iter().map(|(k, v)| (k, v)))
        .deadline(PROBE_DEADLINE)
        .output()
        .await?;
    let text = output.stdout_text();
    let pairs = text.lines().filter_map(|line| line.split_once('\t'));
    Ok(pairs
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect())
}

/// Returns the environment as it is after modules, set-up lines and variables; what is inherited where that fails.
pub async fn environment_after(
    setup: &Setup,
    inherited: &[(OsString, OsString)],
) -> Vec<(OsString, OsString)> {
    use std::os::unix::ffi::OsStringExt as _;
    let asked = Command::new("bash")
        .args(["-p", "-c"])
        .arg(environment::inside(setup, "exec cat /proc/self/environ"))
        .environment(inherited.iter().map(|(k, v)| (k, v)))
        .deadline(PROBE_DEADLINE)
        .success()
        .await;
    let Ok(output) = asked else {
        return inherited.to_vec();
    };
    output
        .stdout
        .split(|&byte| byte == 0)
        .filter_map(|pair| {
            let at = pair.iter().position(|&byte| byte == b'=')?;
            let text = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
            Some((text(&pair[..at]), text(&pair[at + 1..])))
        })
        .collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_of_folders_keeps_what_is_there() {
        let workspace = tempfile::tempdir().unwrap();
        let list = prepare_out_dirs(workspace.path(), "tests").unwrap();
        let there = format!("{}\n", workspace.path().display());
        std::fs::write(&list, format!("/gone\n{there}")).unwrap();
        let read = || {
            prepare_out_dirs(workspace.path(), "tests").unwrap();
            std::fs::read_to_string(&list).unwrap()
        };
        assert_eq!(read(), format!("/gone\n{there}"), "it is short");
        std::fs::write(
            &list,
            format!("{}{there}", "/gone/with/its/run\n".repeat(5000)),
        )
        .unwrap();
        assert_eq!(read(), there);
    }
}
