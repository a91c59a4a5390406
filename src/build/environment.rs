//! What a script may inherit, and the shell text that sets up modules, set-up lines and variables.
//!
//! Builds, job scripts and local steps all start from the same scrubbed environment, so that a step behaves alike under
//! cron, by hand and in a pipeline, and so that no secret of the driver reaches code under test.
//!
//! Modules and set-up lines are code of the project. They run in a shell of their own, which leaves its variables in a file; our
//! scripts read that file and run none of this code themselves. A set-up that does not reach its end leaves no such file.

use std::ffi::OsString;
use std::fmt::Write as _;

use super::secrets::Secrets;
use crate::shell;

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

/// Beginnings of variables by which an outer job or launcher would steer an inner one.
const SCHEDULER_BEGINNINGS: &[&str] = &["SLURM_", "SBATCH_", "SRUN_", "PMI", "SLURMD_"];

/// Variables that would redirect a build away from its tree or replace the project's own flags.
const BUILD_NAMES: &[&str] = &["CARGO_TARGET_DIR", "RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS"];

/// Returns whether a variable of this name must not reach a build, a job or a step.
#[must_use]
pub fn is_scrubbed(name: &str, secrets: &Secrets) -> bool {
    if name == "SLURM_CONF" {
        return false;
    }
    secrets.is_secret(name)
        || shell::is_steered_by(name)
        || BUILD_NAMES.contains(&name)
        || SCHEDULER_BEGINNINGS
            .iter()
            .any(|start| name.starts_with(start))
}

/// Returns the variables that builds, jobs and steps inherit.
pub fn scrub(
    variables: impl IntoIterator<Item = (OsString, OsString)>,
    secrets: &Secrets,
) -> Vec<(OsString, OsString)> {
    let keep = |(name, value): (OsString, OsString)| {
        let text = name.to_string_lossy();
        if is_scrubbed(&text, secrets) {
            return None;
        }
        let value = secrets.shown(&text, &value)?;
        Some((name, value))
    };
    variables.into_iter().filter_map(keep).collect()
}

/// Where the two module systems keep the file that defines `module` for bash.
const MODULE_FILES: &str = "\"${MODULESHOME:-}/init/bash\" \"${LMOD_PKG:-}/init/bash\" \"${LMOD_DIR:-}/../init/bash\" \
/etc/profile.d/lmod.sh /etc/profile.d/z00_lmod.sh /etc/profile.d/modules.sh \
/usr/share/lmod/lmod/init/bash /usr/share/modules/init/bash /usr/share/Modules/init/bash /opt/cray/pe/lmod/lmod/init/bash";

/// The functions of the scripts that take an environment on.
const ENTER: &str = include_str!("environment.sh");
/// The beginning of the shell that runs the set-up.
const SET_UP: &str = include_str!("set-up.sh");
/// How set-up lines are run, one command after the other.
const LINES: &str = include_str!("lines.sh");

/// Returns bash text that defines the functions by which scripts take an environment on.
///
/// `hpc_ci_set_up FOLDER` runs modules and set-up lines in a shell of their own and returns zero if they reached their end.
/// `hpc_ci_set_up_why FOLDER` sets `hpc_ci_why` to the reason why they did not. `hpc_ci_enter FOLDER` takes on the environment that they
/// left, and the variables of the configuration. `hpc_ci_add_launchers FOLDER` puts the script of that folder before the launchers of MPI.
#[must_use]
pub fn functions(setup: &Setup) -> String {
    let runs = !(setup.modules.is_empty() && setup.uses.is_empty() && setup.setup.is_empty());
    let set_up = if runs {
        set_up_text(setup)
    } else {
        String::new()
    };
    let mut text = ENTER.replace("@SHELL_VARIABLES@", &shell::VARIABLES.join("|"));
    write!(
        text,
        "\nhpc_ci_set_up_text={}\nhpc_ci_own_variables() {{\n  :\n",
        shell_words::quote(&set_up)
    )
    .expect("a String takes any text");
    for (name, value) in &setup.variables {
        export(&mut text, name, value);
    }
    text.push_str("}\n");
    text
}

/// Returns a script that runs `text` in the environment, and ends with 125 where that cannot be set up.
#[must_use]
pub fn inside(setup: &Setup, text: &str) -> String {
    format!(
        "{functions}
hpc_ci_folder=$(mktemp -d) || exit {refused}
hpc_ci_set_up \"$hpc_ci_folder\" || {{
  hpc_ci_set_up_why \"$hpc_ci_folder\"
  rm -rf \"$hpc_ci_folder\"
  printf '%s\\n' \"$hpc_ci_why\" >&2
  exit {refused}
}}
hpc_ci_enter \"$hpc_ci_folder\"
PATH=$PATH:/usr/bin:/bin rm -rf \"$hpc_ci_folder\"
{text}",
        functions = functions(setup),
        refused = super::REFUSED,
    )
}

/// Appends `export NAME='value'`.
pub fn export(text: &mut String, name: &str, value: &str) {
    writeln!(text, "export {name}={}", shell_words::quote(value)).expect("a String takes any text");
}

/// What runs in the shell of the set-up. Its last command becomes a program that shows the environment that it was given.
fn set_up_text(setup: &Setup) -> String {
    let mut text = SET_UP.to_owned();
    modules(setup, &mut text);
    lines(&setup.setup, &mut text);
    if !setup.setup.is_empty() {
        verify(&setup.modules, "after the set-up lines", &mut text);
    }
    text.push_str("exec \"$hpc_ci_cat\" /proc/self/environ /proc/self/limits >\"$hpc_ci_folder/environment\"\n");
    text
}

/// Appends what loads modules. It calls `hpc_ci_refuse MESSAGE` where one is missing.
pub fn modules(setup: &Setup, text: &mut String) {
    if setup.modules.is_empty() && setup.uses.is_empty() {
        return;
    }
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
hpc_ci_is_loaded() {{
  case ":${{LOADEDMODULES:-}}:" in *":$1:"*|*":$1/"*) return 0 ;; esac
  module is-loaded "$1" >/dev/null 2>&1
}}
hpc_ci_load() {{
  module load "$1"
  hpc_ci_is_loaded "$1" ||
    hpc_ci_refuse "module \`$1\` did not load; \`module avail $1\` shows what there is, \`use\` of [environment] adds directories"
}}
"#
    )
    .expect("a String takes any text");
    for directory in &setup.uses {
        writeln!(text, "module use {}", shell_words::quote(directory))
            .expect("a String takes any text");
    }
    for (at, module) in setup.modules.iter().enumerate() {
        let name = shell_words::quote(module);
        writeln!(text, "hpc_ci_load {name}").expect("a String takes any text");
        verify(
            &setup.modules[..at],
            &format!("once `{module}` was loaded"),
            text,
        );
    }
}

/// Appends a look for modules that something else has unloaded again.
pub fn verify(modules: &[String], when: &str, text: &mut String) {
    for module in modules {
        let message = format!(
            "module `{module}` is not loaded any more {when}: the two do not go together, or the order is wrong"
        );
        writeln!(
            text,
            "hpc_ci_is_loaded {} || hpc_ci_refuse {}",
            shell_words::quote(module),
            shell_words::quote(&message)
        )
        .expect("a String takes any text");
    }
}

/// Appends the set-up lines. A command may go over several; each is judged by what it returns, and `hpc_ci_refuse MESSAGE` called
/// where that is not zero.
pub fn lines(all: &[String], text: &mut String) {
    if all.is_empty() {
        return;
    }
    text.push_str(LINES);
    for line in all.iter().flat_map(|entry| entry.split('\n')) {
        writeln!(text, "hpc_ci_add {}", shell_words::quote(line)).expect("a String takes any text");
        // Not in a function: what `declare` sets there would be gone with it.
        text.push_str(
            "if hpc_ci_whole; then hpc_ci_at; eval \"$hpc_ci_text\"; hpc_ci_judge \"$?\"; fi\n",
        );
    }
    text.push_str(
        "if [ -n \"$hpc_ci_text\" ]; then hpc_ci_at; eval \"$hpc_ci_text\"; hpc_ci_judge \"$?\"; fi\n",
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_and_outer_jobs_are_scrubbed() {
        let named = Secrets {
            tokens: vec!["MY_UPLOAD_KEY".to_owned()],
            ..Secrets::default()
        };
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
            variables: vec![("A".into(), "it's $HOME; rm -rf /".into())],
            ..Setup::default()
        };
        let text = functions(&setup);
        assert!(
            text.ends_with("\nhpc_ci_set_up_text=''\nhpc_ci_own_variables() {\n  :\nexport A='it'\\''s $HOME; rm -rf /'\n}\n"),
            "{text}"
        );
    }

    #[test]
    fn what_changes_shells_is_scrubbed() {
        for name in [
            "BASH_ENV",
            "ENV",
            "SHELLOPTS",
            "BASHOPTS",
            "CDPATH",
            "GLOBIGNORE",
            "TMOUT",
            "POSIXLY_CORRECT",
            "PS4",
            "ZDOTDIR",
            "BASH_FUNC_cd%%",
            "BASH_FUNC_module()",
            "MAKEFLAGS",
            "MAKEFILES",
        ] {
            assert!(
                is_scrubbed(name, &Secrets::default()),
                "{name} would reach scripts"
            );
        }
        for name in ["BASH", "SHELL", "PATH", "ENVIRONMENT", "MAKE_MODE", "PS"] {
            assert!(
                !is_scrubbed(name, &Secrets::default()),
                "{name} would be lost"
            );
        }
    }
}
