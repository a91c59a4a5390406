//! Whether the compilers of an environment have LLVM's continuous mode, and what it costs.
//!
//! Versions tell nothing: a program that was not really built for it writes empty files and says nothing of it. So a small
//! program is built and killed, and its file must hold what it counted. The same program is timed with and without, by turns.
//! See "Running the instrumented program" of clang's `SourceBasedCodeCoverage.rst`, LLVM 22.

use std::ffi::OsString;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::PROBE_DEADLINE;
use super::environment::{self, Setup};
use super::instrument::Mode;
use crate::foreign;
use crate::process::{Command, ProcessError};

const C: &str = include_str!("probe.c");
const RUST: &str = include_str!("probe.rs.txt");

/// How often the loop of the probe runs: a count that its file holds nowhere by chance.
const LOOPS: u64 = 3001;

/// The slowest that counting may make a program for continuous mode to be chosen unasked, in percent.
pub const MOST_COST: f64 = 10.0;

/// Names each compiler that can instrument: `LANGUAGE<TAB>COMMAND<TAB>PATH AND VERSION`.
const LIST: &str = r#"
for hpc_ci_cc in "${OMPI_CC:-}" "${MPICH_CC:-}" "${CC:-}" cc clang; do
  [ -n "$hpc_ci_cc" ] && hpc_ci_path=$(type -P -- "${hpc_ci_cc%% *}") || continue
  hpc_ci_version=$($hpc_ci_cc --version 2>/dev/null | head -n 1)
  case $hpc_ci_version in *clang*) printf 'c\t%s\t%s\n' "$hpc_ci_cc" "$(readlink -f "$hpc_ci_path") $hpc_ci_version" ;; esac
done
if hpc_ci_path=$(type -P rustc) && hpc_ci_version=$(rustc --version 2>/dev/null); then
  printf 'rust\trustc\t%s\n' "$hpc_ci_path $hpc_ci_version"
fi
true
"#;

/// Builds the probe four times, kills one, and times the others by turns: `LEVEL<TAB>MODE<TAB>NANOSECONDS`.
const MEASURE: &str = r#"
cd -- "$1" || exit
export LLVM_PROFILE_FILE=/dev/null
hpc_ci_make() { # LEVEL OUTPUT OPTIONS COMMAND...
  local level=$1 output=$2 options=$3
  shift 3
  case $hpc_ci_language in
    c) CCC_OVERRIDE_OPTIONS=$options "$@" "-O$level" -o "$output" probe.c ;;
    *) "$@" --edition 2021 -C "opt-level=$level" $options -o "$output" probe.rs ;;
  esac
}
for hpc_ci_level in 0 2; do
  hpc_ci_make "$hpc_ci_level" "plain$hpc_ci_level" "$hpc_ci_plain" $hpc_ci_command >&2 || exit
  hpc_ci_make "$hpc_ci_level" "continuous$hpc_ci_level" "$hpc_ci_continuous" $hpc_ci_command >&2 || exit
done
LLVM_PROFILE_FILE=profiles/%c%h.%p.%m.profraw ./continuous0 "$hpc_ci_loops" die >/dev/null
for hpc_ci_turn in 1 2 3 4 5; do
  for hpc_ci_level in 0 2; do
    for hpc_ci_mode in plain continuous; do
      printf '%s\t%s\t%s\n' "$hpc_ci_level" "$hpc_ci_mode" "$("./$hpc_ci_mode$hpc_ci_level" "$hpc_ci_loops")"
    done
  done
done
"#;

/// A compiler that can instrument.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Compiler {
    /// As the environment calls it.
    pub command: String,
    /// Its path and version.
    pub version: String,
    /// How much longer a loop of arithmetic takes in continuous mode, in percent; none if the mode does not work.
    pub cost_percent: Option<f64>,
}

/// Returns the compilers of an environment, asked once for each: answers are kept in the workspace.
pub async fn compilers(
    setup: &Setup,
    inherited: &[(OsString, OsString)],
    workspace: &Path,
) -> Result<Vec<Compiler>, ProcessError> {
    let answers = workspace.join("continuous-mode.json");
    let kept = foreign::read(&answers, foreign::RECORD).unwrap_or_default();
    let mut known: Vec<Compiler> = serde_json::from_slice(&kept).unwrap_or_default();
    let listed = script(setup, inherited, LIST).success().await?;
    let mut found: Vec<Compiler> = Vec::new();
    for line in listed.stdout_text().lines() {
        let mut fields = line.splitn(3, '\t');
        let (Some(language), Some(command), Some(version)) =
            (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        if found.iter().any(|other| other.version == version) {
            continue;
        }
        if let Some(compiler) = known.iter().find(|other| other.version == version) {
            found.push(compiler.clone());
            continue;
        }
        let compiler = Compiler {
            command: command.to_owned(),
            version: version.to_owned(),
            cost_percent: measure(setup, inherited, language, command).await,
        };
        known.push(compiler.clone());
        found.push(compiler);
    }
    if let Ok(text) = serde_json::to_vec_pretty(&known)
        && let Err(error) = foreign::put(&answers, text)
    {
        tracing::debug!(%error, "what compilers answered is not kept");
    }
    Ok(found)
}

/// Returns what continuous mode costs with this compiler, nothing if it does not work.
async fn measure(
    setup: &Setup,
    inherited: &[(OsString, OsString)],
    language: &str,
    command: &str,
) -> Option<f64> {
    let dir = tempfile::tempdir().ok()?;
    std::fs::write(dir.path().join("probe.c"), C).ok()?;
    std::fs::write(dir.path().join("probe.rs"), RUST).ok()?;
    let options = |mode: Mode| match language {
        "c" => mode.clang_options(),
        _ => mode.rustc_options().to_owned(),
    };
    let output = script(setup, inherited, MEASURE)
        .arg("bash")
        .arg(dir.path())
        .env("hpc_ci_language", language)
        .env("hpc_ci_command", command)
        .env("hpc_ci_plain", options(Mode::AtExit))
        .env("hpc_ci_continuous", options(Mode::Continuous))
        .env("hpc_ci_loops", LOOPS.to_string())
        .success()
        .await
        .inspect_err(|error| tracing::debug!(%error, command, "no continuous mode"))
        .ok()?;
    let written = std::fs::read_dir(dir.path().join("profiles")).ok()?;
    let survived = written
        .filter_map(|entry| foreign::read(entry.ok()?.path(), foreign::RECORD).ok())
        .any(|bytes| holds_count(&bytes, LOOPS));
    survived.then(|| cost(&output.stdout_text())).flatten()
}

fn script(setup: &Setup, inherited: &[(OsString, OsString)], text: &str) -> Command {
    Command::new("bash")
        .args(["-p", "-c", &environment::inside(setup, text)])
        .environment(inherited.iter().map(|(k, v)| (k, v)))
        .deadline(PROBE_DEADLINE)
}

fn holds_count(profile: &[u8], count: u64) -> bool {
    profile
        .chunks_exact(8)
        .any(|word| word == count.to_ne_bytes())
}

/// Returns the larger cost of the two levels of optimisation, each from the best of its turns.
fn cost(times: &str) -> Option<f64> {
    let best = |level: &str, mode: &str| {
        times
            .lines()
            .filter_map(|line| {
                let time = line.strip_prefix(level)?.strip_prefix('\t')?;
                time.strip_prefix(mode)?.trim().parse::<f64>().ok()
            })
            .min_by(f64::total_cmp)
            .filter(|time| *time > 0.0)
    };
    let of_level = |level: &str| Some(best(level, "continuous")? / best(level, "plain")?);
    let worst = of_level("0")?.max(of_level("2")?);
    Some(((worst - 1.0) * 1000.0).round() / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cost_is_that_of_the_best_turns_at_the_dearer_level() {
        for (times, expected) in [
            (
                "0\tplain\t100\n0\tcontinuous\t130\n0\tplain\t90\n0\tcontinuous\t99\n2\tplain\t10\n2\tcontinuous\t15\n",
                Some(50.0),
            ),
            (
                "0\tplain\t100\n0\tcontinuous\t105\n2\tplain\t100\n2\tcontinuous\t95\n",
                Some(5.0),
            ),
            ("0\tplain\t100\n0\tcontinuous\t105\n", None),
            (
                "0\tplain\t0\n0\tcontinuous\t1\n2\tplain\t1\n2\tcontinuous\t1\n",
                None,
            ),
            ("0\tplain\t\n", None),
            ("", None),
        ] {
            assert_eq!(cost(times), expected, "{times}");
        }
    }

    #[test]
    fn only_whole_words_are_counts() {
        let mut profile = vec![0; 24];
        profile[8..16].copy_from_slice(&3001_u64.to_ne_bytes());
        assert!(holds_count(&profile, 3001));
        assert!(!holds_count(&profile[1..], 3001));
        assert!(!holds_count(&[], 3001));
    }
}
