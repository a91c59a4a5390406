//! Modules, compilers, instrumentation, and whether launcher and PMI fit the MPI.

use crate::config::{LauncherKind, Pmi};
use crate::doctor::facts::{Facts, Module, Mpi, Subject, Tools, Trial};
use crate::doctor::finding::Finding;
use crate::launch::Place;
use crate::plan::Step;

pub(super) fn judge(subject: &Subject, facts: &Facts) -> Vec<Finding> {
    let tools = &facts.tools;
    let mut findings = Vec::new();
    findings.extend(tools.modules.iter().map(module));
    findings.extend(environment(tools));
    findings.push(compilers(tools));
    findings.extend(instrumentation(subject, tools));
    findings.push(mpi(subject, facts));
    findings.extend(pmi(subject, facts));
    findings
}

fn module(module: &Module) -> Finding {
    const CHECK: &str = "environment.modules";
    let name = &module.name;
    match &module.refused {
        Some(why) => Finding::error(
            CHECK,
            format!("module `{name}` does not load: {why}"),
            format!(
                "`module avail {name}` shows what there is; `use` of [environment] adds directories, `init` names the file that defines `module`"
            ),
        ),
        None if !module.changed => Finding::warning(
            CHECK,
            format!("module `{name}` loads, and changes no variable"),
            format!("look with `module show {name}`: it may be a note, or be made for other nodes"),
        ),
        None => Finding::ok(CHECK, format!("module `{name}` loads")),
    }
}

fn environment(tools: &Tools) -> Option<Finding> {
    let why = tools.refused.as_ref()?;
    // A module that does not load was told already.
    if tools.modules.iter().any(|module| module.refused.is_some()) {
        return None;
    }
    Some(Finding::error(
        "environment.setup",
        format!("the environment cannot be set up: {why}"),
        "`hpc-ci config environment` shows the modules and set-up lines in force",
    ))
}

fn compilers(tools: &Tools) -> Finding {
    const CHECK: &str = "tools.compilers";
    let names = ["mpicc", "mpifort", "cc", "rustc", "julia", "python"];
    let found: Vec<String> = names
        .into_iter()
        .filter_map(|name| Some(format!("{name}: {}", tools.version(name)?)))
        .collect();
    if found.is_empty() {
        return Finding::warning(
            CHECK,
            "no compiler or interpreter in the environment of builds",
            "name what the project needs in `modules` of [environment]",
        );
    }
    Finding::ok(CHECK, found.join("\n"))
}

fn instrumentation(subject: &Subject, tools: &Tools) -> Vec<Finding> {
    const CHECK: &str = "tools.instrumentation";
    if !subject.wants_instrumentation() {
        return Vec::new();
    }
    let trials: Vec<&Trial> = tools.c.iter().chain(&tools.rust).collect();
    if trials.is_empty() {
        return vec![Finding::error(
            CHECK,
            "a build has `coverage = \"llvm\"`, and there is no compiler to instrument with",
            "name the module of clang or Rust in `modules` of [environment], or set `coverage = \"none\"` in [build.tests]",
        )];
    }
    // What no build uses need not work; which compilers those are cannot be seen from here.
    let works = trials.iter().any(|trial| is_instrumented(trial));
    trials
        .into_iter()
        .map(|trial| match beside_mpicc(subject, trial) {
            Some(note) => note,
            None => trial_finding(trial, works, tools),
        })
        .collect()
}

/// A build that takes its compiler from `CC`, as `CMake` does, may have no use for `mpicc`.
fn beside_mpicc(subject: &Subject, trial: &Trial) -> Option<Finding> {
    let variables = &subject.setup.variables;
    let (name, value) = variables
        .iter()
        .find(|(name, value)| (name == "CC" || name == "CXX") && value.contains("clang"))?;
    let plain = trial.compiler == "mpicc" && trial.failed.is_none() && !trial.mapping;
    plain.then(|| {
        Finding::note(
            "tools.instrumentation",
            format!(
                "programs of `mpicc` have no coverage mapping; those of a build that takes {name} = \"{value}\" may"
            ),
        )
        .remedy(format!(
            "if the build calls mpicc, set its compiler as well: {}",
            behind_mpicc(trial.mpi)
        ))
    })
}

fn is_instrumented(trial: &Trial) -> bool {
    trial.failed.is_none() && trial.mapping
}

fn trial_finding(trial: &Trial, works: bool, tools: &Tools) -> Finding {
    const CHECK: &str = "tools.instrumentation";
    let compiler = &trial.compiler;
    let amiss = |saw: String, remedy: String| {
        if works {
            Finding::warning(CHECK, saw, remedy)
        } else {
            Finding::error(CHECK, saw, remedy)
        }
    };
    if let Some(said) = &trial.failed {
        return amiss(
            format!("`{compiler}` does not compile a small program: {said}"),
            "try it by hand, inside the modules and variables of [environment]".to_owned(),
        );
    }
    if !trial.mapping {
        let behind = tools.version(compiler).unwrap_or("another compiler");
        let remedy = match (compiler.as_str(), trial.mpi) {
            ("rustc", _) => "use a toolchain of rustup".to_owned(),
            ("cc", _) => "set `variables = { CC = \"clang\" }` in [environment]".to_owned(),
            (_, mpi) => format!(
                "set `variables = {{ {} = \"clang\" }}` in [environment]: that is what mpicc then calls; flang and gfortran cannot be instrumented",
                behind_mpicc(mpi)
            ),
        };
        return amiss(
            format!("programs of `{compiler}` have no coverage mapping: it is {behind}"),
            remedy,
        );
    }
    match &trial.profile {
        Some(why) if tools.llvm.is_empty() => amiss(
            format!("`{compiler}` instruments, but its profiles cannot be read here: {why}"),
            "load the `llvm-profdata` and `llvm-cov` of that compiler".to_owned(),
        ),
        Some(why) => Finding::note(
            CHECK,
            format!(
                "`{compiler}` instruments; its profiles are left to LLVM's own programs ({}): {why}",
                tools.llvm.join(", ")
            ),
        ),
        None => Finding::ok(
            CHECK,
            format!("`{compiler}` instruments, and its profiles are read"),
        ),
    }
}

/// The variable that says which compiler `mpicc` calls.
fn behind_mpicc(mpi: Option<Mpi>) -> &'static str {
    match mpi {
        Some(Mpi::Mpich | Mpi::Cray) => "MPICH_CC",
        Some(Mpi::OpenMpi) | None => "OMPI_CC",
    }
}

fn mpi(subject: &Subject, facts: &Facts) -> Finding {
    const CHECK: &str = "mpi.library";
    let tools = &facts.tools;
    let seen: Vec<String> = ["mpicc", "mpiexec"]
        .into_iter()
        .filter_map(|name| Some(format!("{name}: {}", tools.version(name)?)))
        .collect();
    let linked = tools.c.as_ref().and_then(|trial| trial.mpi);
    if !seen.is_empty() {
        let family = linked.map_or(String::new(), |mpi| {
            format!("; programs are linked with {}", mpi.name())
        });
        return Finding::ok(CHECK, format!("{}{family}", seen.join("; ")));
    }
    let saw = "no MPI in the environment: neither mpicc nor mpiexec";
    let remedy = "name the module that provides it in `modules` of [environment], or set MPIEXEC";
    let needs_mpiexec = subject
        .steps
        .iter()
        .any(|step| step.resources.ranks > 1 && starts_by_mpiexec(step, facts.place));
    if needs_mpiexec {
        Finding::error(CHECK, saw, remedy)
    } else if subject.is_parallel() {
        Finding::warning(
            CHECK,
            format!(
                "{saw}; `srun` starts the ranks, but only programs that bring their own MPI will find each other"
            ),
            remedy,
        )
    } else {
        Finding::note(CHECK, saw).remedy(remedy)
    }
}

fn starts_by_mpiexec(step: &Step, place: Place) -> bool {
    match step.launcher.kind {
        LauncherKind::Mpiexec => true,
        LauncherKind::None => false,
        LauncherKind::Auto | LauncherKind::Srun => place == Place::Here,
    }
}

/// The rules are those that the job script holds to when it chooses a PMI.
fn pmi(subject: &Subject, facts: &Facts) -> Option<Finding> {
    const CHECK: &str = "mpi.pmi";
    let Some(Ok(cluster)) = &facts.slurm.cluster else {
        return None;
    };
    let mpi = facts.tools.c.as_ref().and_then(|trial| trial.mpi)?;
    let by_srun = |step: &&Step| {
        facts.place != Place::Here
            && matches!(step.launcher.kind, LauncherKind::Auto | LauncherKind::Srun)
    };
    let steps: Vec<&Step> = subject.steps.iter().filter(by_srun).collect();
    if steps.is_empty() || cluster.pmis.is_empty() {
        return None;
    }
    let list = cluster.pmis.join(", ");
    let needed = mpi.pmi();
    let name = mpi.name();
    let fixed = steps.iter().map(|step| step.launcher.pmi).find(|pmi| {
        let word = match pmi {
            Pmi::Auto => return false,
            Pmi::Pmix => "pmix",
            Pmi::Pmi2 => "pmi2",
            Pmi::CrayShasta => "cray_shasta",
            Pmi::None => "none",
        };
        word != needed
    });
    if !cluster.has_pmi(needed) {
        return Some(Finding::error(
            CHECK,
            format!("{name} needs `{needed}` under srun, and this Slurm has only {list}"),
            "set `kind = \"mpiexec\"` in [launcher]",
        ));
    }
    if let Some(fixed) = fixed {
        return Some(Finding::warning(
            CHECK,
            format!("`pmi = \"{fixed}\"` is asked for, and {name} speaks `{needed}`"),
            "leave `pmi` of [launcher] at `auto`: ranks that find no PMI each run alone",
        ));
    }
    Some(Finding::ok(
        CHECK,
        format!("{name} under srun with `{needed}` (Slurm has {list})"),
    ))
}
