//! What a script may inherit, and the shell text that sets up modules, set-up lines and variables.
//!
//! Builds, job scripts and local steps all start from the same scrubbed environment, so that a step behaves alike under
//! cron, by hand and in a pipeline, and so that no secret of the driver reaches code under test.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;

/// Modules, set-up lines and variables of a build or step.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Setup {
    /// The file that defines `module`, or `auto` to look for one.
    pub init: String,
    /// Directories for `module use`.
    pub uses: Vec<String>,
    /// Modules to load, in order; each is verified.
    pub modules: Vec<String>,
    /// Shell lines run after the modules.
    pub setup: Vec<String>,
    /// Variables exported after the set-up lines.
    pub variables: Vec<(String, String)>,
}

/// Exact names of variables that hold secrets or reach an agent that holds some.
const SECRET_NAMES: &[&str] = &[
    "SSH_AUTH_SOCK",
    "SSH_AGENT_PID",
    "SSH_ASKPASS",
    "GIT_ASKPASS",
    "GIT_CONFIG_PARAMETERS",
    "GIT_SSH_COMMAND",
    "CI_REGISTRY_PASSWORD",
    "CI_DEPLOY_PASSWORD",
    "CI_REPOSITORY_URL",
];

/// Endings of variables that hold secrets.
const SECRET_ENDINGS: &[&str] = &["_TOKEN", "_PASSWORD", "_SECRET", "_SECRET_KEY", "_API_KEY"];

/// Beginnings of variables that hold secrets.
const SECRET_BEGINNINGS: &[&str] = &["CI_JOB_", "GIT_CONFIG_KEY_", "GIT_CONFIG_VALUE_"];

/// Beginnings of variables by which an outer job or launcher would steer an inner one.
const SCHEDULER_BEGINNINGS: &[&str] = &["SLURM_", "SBATCH_", "SRUN_", "PMI", "SLURMD_"];

/// Variables that would redirect a build away from its tree or replace the project's own flags.
const BUILD_NAMES: &[&str] = &["CARGO_TARGET_DIR", "RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS"];

/// Returns whether a variable of this name must not reach a build, a job or a step.
///
/// `secrets` are the names that the configuration gives to tokens (`token_env`).
#[must_use]
pub fn is_scrubbed(name: &str, secrets: &[String]) -> bool {
    if name == "SLURM_CONF" {
        return false;
    }
    is_secret(name, secrets)
        || BUILD_NAMES.contains(&name)
        || SCHEDULER_BEGINNINGS
            .iter()
            .any(|start| name.starts_with(start))
}

/// Returns whether a variable of this name holds a secret.
#[must_use]
pub fn is_secret(name: &str, secrets: &[String]) -> bool {
    let upper = name.to_ascii_uppercase();
    SECRET_NAMES.contains(&upper.as_str())
        || upper == "TOKEN"
        || SECRET_ENDINGS.iter().any(|end| upper.ends_with(end))
        || SECRET_BEGINNINGS
            .iter()
            .any(|start| upper.starts_with(start))
        || secrets.iter().any(|secret| secret == name)
}

/// Returns the variables that builds, jobs and steps inherit.
pub fn scrub(
    variables: impl IntoIterator<Item = (OsString, OsString)>,
    secrets: &[String],
) -> Vec<(OsString, OsString)> {
    let keep = |name: &OsStr| !is_scrubbed(&name.to_string_lossy(), secrets);
    variables
        .into_iter()
        .filter(|(name, _)| keep(name))
        .collect()
}

/// Where the two module systems keep the file that defines `module` for bash.
const MODULE_FILES: &str = "\"${MODULESHOME:-}/init/bash\" \"${LMOD_PKG:-}/init/bash\" \
/etc/profile.d/lmod.sh /etc/profile.d/z00_lmod.sh /etc/profile.d/modules.sh \
/usr/share/lmod/lmod/init/bash /usr/share/modules/init/bash /usr/share/Modules/init/bash /opt/cray/pe/lmod/lmod/init/bash";

/// Returns the bash text that sets up an environment.
///
/// The text calls the shell function `hpc_ci_refuse MESSAGE` where something is missing; who embeds it defines that
/// function, because a build and a job script stop in different ways.
#[must_use]
pub fn prelude(setup: &Setup) -> String {
    let mut text = String::new();
    if !(setup.modules.is_empty() && setup.uses.is_empty()) {
        modules(setup, &mut text);
    }
    for line in &setup.setup {
        text.push_str(line);
        text.push('\n');
    }
    for (name, value) in &setup.variables {
        export(&mut text, name, value);
    }
    text
}

/// Appends `export NAME='value'`.
pub fn export(text: &mut String, name: &str, value: &str) {
    writeln!(text, "export {name}={}", shell_words::quote(value)).expect("a String takes any text");
}

fn modules(setup: &Setup, text: &mut String) {
    let files = match setup.init.as_str() {
        "" | "auto" => MODULE_FILES.to_owned(),
        file => shell_words::quote(file).into_owned(),
    };
    // Module functions trip over `set -u`, and a login shell may be absent (cron): look for their file ourselves.
    write!(
        text,
        r#"if ! type module >/dev/null 2>&1; then
  for hpc_ci_file in {files}; do
    if [ -r "$hpc_ci_file" ]; then . "$hpc_ci_file"; type module >/dev/null 2>&1 && break; fi
  done
fi
type module >/dev/null 2>&1 || hpc_ci_refuse 'no `module` command: neither Lmod nor Environment Modules was found; set `init` of [environment] to the file that defines it'
hpc_ci_load() {{
  module load "$1"
  case ":${{LOADEDMODULES:-}}:" in *":$1:"*|*":$1/"*) return 0 ;; esac
  module is-loaded "$1" >/dev/null 2>&1 && return 0
  hpc_ci_refuse "module \`$1\` did not load; \`module avail $1\` shows what there is, \`use\` of [environment] adds directories"
}}
"#
    )
    .expect("a String takes any text");
    for directory in &setup.uses {
        writeln!(text, "module use {}", shell_words::quote(directory))
            .expect("a String takes any text");
    }
    for module in &setup.modules {
        writeln!(text, "hpc_ci_load {}", shell_words::quote(module))
            .expect("a String takes any text");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_and_outer_jobs_are_scrubbed() {
        let named = ["MY_UPLOAD_KEY".to_owned()];
        for name in [
            "CODECOV_TOKEN",
            "GITHUB_TOKEN",
            "gitlab_token",
            "CI_JOB_TOKEN",
            "CI_JOB_JWT",
            "SSH_AUTH_SOCK",
            "MY_UPLOAD_KEY",
            "GIT_ASKPASS",
            "DB_PASSWORD",
            "SLURM_JOB_ID",
            "SLURM_CPU_BIND",
            "SBATCH_PARTITION",
            "SRUN_CPUS_PER_TASK",
            "PMI_RANK",
            "PMIX_NAMESPACE",
            "CARGO_TARGET_DIR",
            "RUSTFLAGS",
        ] {
            assert!(is_scrubbed(name, &named), "{name} would leak");
        }
        for name in [
            "PATH",
            "HOME",
            "SLURM_CONF",
            "OMPI_CC",
            "TOKENIZER",
            "CI_COMMIT_SHA",
        ] {
            assert!(!is_scrubbed(name, &named), "{name} would be lost");
        }
    }

    #[test]
    fn values_are_quoted() {
        let setup = Setup {
            setup: vec!["source ci/env.sh".into()],
            variables: vec![("A".into(), "it's $HOME; rm -rf /".into())],
            ..Setup::default()
        };
        assert_eq!(
            prelude(&setup),
            "source ci/env.sh\nexport A='it'\\''s $HOME; rm -rf /'\n"
        );
    }
}
