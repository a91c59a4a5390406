//! Compilers, MPI and modules, looked for inside the environment of builds and steps, and tried on small programs.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;
use std::time::Duration;

use super::last_line;
use crate::build::environment::{self, Setup};
use crate::build::{self, instrument::Mode};
use crate::coverage::objects;
use crate::coverage::profile::{Header, MAX_HEADER};
use crate::doctor::facts::{Module, Mpi, Subject, Tools, Trial};
use crate::foreign;
use crate::llvm;
use crate::process::Command;

/// How long modules and set-up lines may take.
const SETUP_DEADLINE: Duration = Duration::from_secs(40);
/// How long a compiler may take.
const COMPILE_DEADLINE: Duration = Duration::from_secs(40);

/// Stands between the answers of the set-up script and the environment that it made.
const MARK: &[u8] = b"\nhpc-ci-environment\n";

/// Variables that modules keep their own books in say nothing about what a module does.
const BOOKKEEPING: &str =
    "^(LOADEDMODULES|_LMFILES_|_ModuleTable|__LMOD|__MODULES|MODULES_|LMOD_|_=|SHLVL|BASH_)";

type Environment = Vec<(OsString, OsString)>;

pub(super) async fn look(subject: &Subject) -> Tools {
    let mut tools = Tools::default();
    let environment = set_up(subject, &mut tools).await;
    let Ok(dir) = tempfile::Builder::new().prefix("hpc-ci-doctor-").tempdir() else {
        tools
            .refused
            .get_or_insert_with(|| "there is no room for temporary files".to_owned());
        return tools;
    };
    let trials = async {
        // Compiled and run one after the other: a login node is shared.
        let c = try_c(dir.path(), &environment).await;
        (c, try_rust(dir.path(), &environment).await)
    };
    let plain = Setup::default();
    let (versions, llvm, (c, rust)) = tokio::join!(
        build::toolchain(&plain, &environment),
        llvm::find_tools(&environment),
        trials,
    );
    tools.versions = versions.unwrap_or_default();
    tools.llvm = llvm.iter().map(|tools| tools.version.to_string()).collect();
    (tools.c, tools.rust) = (c, rust);
    tools
}

/// Runs modules and set-up lines, notes what became of each, and returns the environment after them.
async fn set_up(subject: &Subject, tools: &mut Tools) -> Environment {
    let asked = Command::new("bash")
        .args(["-c", &script(&subject.setup)])
        .environment(subject.inherited.iter().map(|(key, value)| (key, value)))
        .cwd(&subject.base)
        .deadline(SETUP_DEADLINE)
        .output()
        .await;
    let output = match asked {
        Ok(output) => output,
        Err(error) => {
            tools.refused = Some(error.to_string());
            return subject.inherited.clone();
        }
    };
    let at = output
        .stdout
        .windows(MARK.len())
        .position(|part| part == MARK);
    let (answers, environment) = match at {
        Some(at) => (&output.stdout[..at], &output.stdout[at + MARK.len()..]),
        None => (&output.stdout[..], &[][..]),
    };
    read(&String::from_utf8_lossy(answers), tools);
    if at.is_none() {
        let said = output.stderr_text();
        let line = last_line(&said);
        tools.refused = Some(format!("a set-up line ended the shell: {line}"));
        return subject.inherited.clone();
    }
    let pairs = environment.split(|&byte| byte == 0).filter_map(|pair| {
        let at = pair.iter().position(|&byte| byte == b'=')?;
        let text = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
        Some((text(&pair[..at]), text(&pair[at + 1..])))
    });
    pairs.collect()
}

/// The script that sets the environment up as a step does, but goes on after a failure and tells of each part.
fn script(setup: &Setup) -> String {
    let mut text = format!(
        "exec 3>&1 1>&2\n\
         hpc_ci_refuse() {{ printf '%s\\t%s\\n' \"${{hpc_ci_part:-refused}}\" \"${{1//[[:cntrl:]]/ }}\" >&3; }}\n\
         hpc_ci_at() {{ hpc_ci_part=setup; }}\n\
         hpc_ci_sum() {{ printf '%s\\t%s\\n' \"$1\" \"$(env | grep -vE '{BOOKKEEPING}' | sort | cksum)\" >&3; }}\n"
    );
    let part = |uses: &[String], modules: &[String]| {
        let mut text = String::new();
        let setup = Setup {
            init: setup.init.clone(),
            uses: uses.to_vec(),
            modules: modules.to_vec(),
            ..Setup::default()
        };
        environment::modules(&setup, &mut text);
        text
    };
    text.push_str(&part(&setup.uses, &[]));
    for module in &setup.modules {
        let name = shell_words::quote(module);
        writeln!(
            text,
            "printf 'module\\t%s\\n' {name} >&3; hpc_ci_sum before"
        )
        .expect("a String takes any text");
        text.push_str(&part(&[], std::slice::from_ref(module)));
        text.push_str("hpc_ci_sum after\n");
    }
    environment::verify(&setup.modules, "at the end", &mut text);
    environment::lines(&setup.setup, &mut text);
    for (name, value) in &setup.variables {
        environment::export(&mut text, name, value);
    }
    text.push_str("{ printf '\\nhpc-ci-environment\\n'; env -0; } >&3\n");
    text
}

/// Reads what the script told.
fn read(answers: &str, tools: &mut Tools) {
    let mut before = None;
    for (name, value) in answers.lines().filter_map(|line| line.split_once('\t')) {
        match (name, tools.modules.last_mut()) {
            ("module", _) => tools.modules.push(Module {
                name: value.to_owned(),
                refused: None,
                changed: false,
            }),
            ("before", _) => before = Some(value.to_owned()),
            ("after", Some(module)) => module.changed = before.as_deref() != Some(value),
            ("refused", Some(module)) => {
                module.refused.get_or_insert_with(|| value.to_owned());
            }
            ("refused", None) => {
                tools.refused.get_or_insert_with(|| value.to_owned());
            }
            ("setup", _) => {
                tools.refused.get_or_insert_with(|| value.to_owned());
            }
            _ => {}
        }
    }
}

/// A program that is linked with MPI and never starts it.
const WITH_MPI: &str = "#include <mpi.h>\nint main(int argc, char **argv) { return argc > 99 ? MPI_Init(&argc, &argv) : 0; }\n";
const WITHOUT_MPI: &str = "int main(void) { return 0; }\n";

async fn try_c(dir: &Path, environment: &Environment) -> Option<Trial> {
    let compiler = ["mpicc", "cc"]
        .into_iter()
        .find(|name| finds(environment, name))?;
    let text = if compiler == "mpicc" {
        WITH_MPI
    } else {
        WITHOUT_MPI
    };
    let source = dir.join("small.c");
    fs_err::write(&source, text).ok()?;
    // Where CC names a compiler, builds call that one.
    let own = named(environment, "CC").filter(|_| compiler == "cc");
    let program = dir.join("small-c");
    let command = Command::new(own.unwrap_or_else(|| compiler.into()))
        .env("CCC_OVERRIDE_OPTIONS", Mode::AtExit.clang_options())
        .arg("-o")
        .arg(&program)
        .arg(&source);
    Some(trial(compiler, command, &program, environment).await)
}

async fn try_rust(dir: &Path, environment: &Environment) -> Option<Trial> {
    if !finds(environment, "rustc") {
        return None;
    }
    let source = dir.join("small.rs");
    fs_err::write(&source, "fn main() {}\n").ok()?;
    let program = dir.join("small-rust");
    let command = Command::new("rustc")
        .args(Mode::AtExit.rustc_options().split_whitespace())
        .arg("-o")
        .arg(&program)
        .arg(&source);
    Some(trial("rustc", command, &program, environment).await)
}

async fn trial(
    compiler: &str,
    compile: Command,
    program: &Path,
    environment: &Environment,
) -> Trial {
    let mut trial = Trial {
        compiler: compiler.to_owned(),
        ..Trial::default()
    };
    let dir = program.parent().unwrap_or(program);
    let inside = |command: Command| {
        let command = command.environment(environment.iter().map(|(key, value)| (key, value)));
        command.cwd(dir).deadline(COMPILE_DEADLINE)
    };
    // The variables of the command itself come on top of the environment.
    match inside(compile).output().await {
        Ok(output) if output.status.success() => {}
        Ok(output) => {
            trial.failed = Some(first_error(&output.stderr_text()));
            return trial;
        }
        Err(error) => {
            trial.failed = Some(error.to_string());
            return trial;
        }
    }
    trial.mapping = objects::about(program).is_ok_and(|found| found.mapping);
    if let Ok(output) = inside(Command::new("ldd").arg(program)).output().await {
        trial.mpi = mpi(&output.stdout_text());
    }
    if trial.mapping {
        let profile = program.with_extension("profraw");
        let ran = inside(Command::new(program).env("LLVM_PROFILE_FILE", &profile))
            .success()
            .await;
        trial.profile = match ran {
            Ok(_) => unreadable(&profile),
            Err(error) => Some(error.to_string()),
        };
    }
    trial
}

/// Returns why a profile cannot be read by our own engine, if it cannot.
fn unreadable(profile: &Path) -> Option<String> {
    let bytes = match foreign::read(profile, foreign::RECORD) {
        Ok(bytes) => bytes,
        Err(error) => return Some(format!("the program wrote none: {}", error.kind())),
    };
    let head = &bytes[..bytes.len().min(MAX_HEADER)];
    Header::parse(head).err().map(|error| error.to_string())
}

/// Tells the MPI by the libraries that a program is linked with, as the job script does.
fn mpi(ldd: &str) -> Option<Mpi> {
    let has = |names: &[&str]| names.iter().any(|name| ldd.contains(name));
    if has(&[
        "libmpi_cray",
        "libmpi_gnu",
        "libmpi_intel",
        "libmpi_nvidia",
        "libmpi_amd",
    ]) {
        Some(Mpi::Cray)
    } else if has(&["libopen-pal.so", "libopen-rte.so", "libmpi.so.40"]) {
        Some(Mpi::OpenMpi)
    } else if has(&["libmpich.so", "libmpi.so.12"]) {
        Some(Mpi::Mpich)
    } else {
        None
    }
}

/// The line of a compiler's output that names the fault.
fn first_error(said: &str) -> String {
    let fault = said.lines().find(|line| line.contains("error"));
    fault.unwrap_or_else(|| last_line(said)).trim().to_owned()
}

fn named(environment: &Environment, name: &str) -> Option<OsString> {
    let found = environment.iter().rev().find(|(key, _)| key == name);
    found
        .map(|(_, value)| value.clone())
        .filter(|value| !value.is_empty())
}

/// Whether the environment's PATH leads to a program.
fn finds(environment: &Environment, program: &str) -> bool {
    let path = named(environment, "PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_became_of_modules_and_lines_is_read() {
        let mut tools = Tools::default();
        read(
            "module\tgcc/13\nbefore\t1\nafter\t2\nmodule\tnothing\nbefore\t2\nafter\t2\n\
             module\tabsent\nbefore\t2\nrefused\tmodule `absent` did not load\nrefused\tagain\nafter\t2\n\
             setup\tthe set-up line `source env.sh` returned 1\nnonsense\n",
            &mut tools,
        );
        let module = |name: &str, refused: Option<&str>, changed: bool| Module {
            name: name.into(),
            refused: refused.map(str::to_owned),
            changed,
        };
        assert_eq!(
            tools.modules,
            [
                module("gcc/13", None, true),
                module("nothing", None, false),
                module("absent", Some("module `absent` did not load"), false),
            ]
        );
        assert_eq!(
            tools.refused.as_deref(),
            Some("the set-up line `source env.sh` returned 1")
        );
    }

    #[test]
    fn an_mpi_is_told_by_its_libraries() {
        for (ldd, expected) in [
            ("libmpi.so.40 => /lib/libmpi.so.40", Some(Mpi::OpenMpi)),
            ("libmpich.so.12 => /lib/libmpich.so.12", Some(Mpi::Mpich)),
            ("libmpi.so.12 => /opt/intel/libmpi.so.12", Some(Mpi::Mpich)),
            ("libmpi_gnu_123.so.12 => x", Some(Mpi::Cray)),
            ("libc.so.6", None),
        ] {
            assert_eq!(mpi(ldd), expected, "{ldd}");
        }
    }
}
