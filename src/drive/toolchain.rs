//! What compilers, MPI and interpreters say of themselves → names and versions. Pure.

use super::collect::Host;
use crate::results::record::{Compiler, Mpi, Toolchain};

/// What `hpc_ci_ask` of the build room asks for, in the order of what tells most of a project.
const COMPILERS: &[&str] = &["mpicc", "mpicxx", "mpifort", "cc", "ftn", "rustc"];

/// Returns the toolchain by what was asked here, and by how the scripts of steps found it on their nodes.
pub(super) fn toolchain<'a>(
    pairs: &[(String, String)],
    hosts: impl Iterator<Item = &'a Host>,
) -> Toolchain {
    let value = |name: &str| {
        let mut pairs = pairs.iter();
        pairs.find(|(key, _)| key == name).map(|(_, value)| value)
    };
    let compilers = COMPILERS.iter().filter_map(|name| {
        let line = value(name)?;
        let (id, version) = compiler(line);
        Some(Compiler {
            command: (*name).to_owned(),
            id: id.map(str::to_owned),
            version: version.or_else(|| Some(line.clone())),
            target: value(&format!("{name}.target")).cloned(),
        })
    });
    let is_flag = |name: &str| name.chars().all(|c| c.is_ascii_uppercase() || c == '_');
    let seen: Vec<&Host> = hosts.collect();
    let first = |of: &dyn Fn(&Host) -> Option<&String>| {
        let mut all = seen.iter().filter_map(|host| of(host));
        all.find(|text| !text.is_empty()).cloned()
    };
    let library = first(&|host| host.library.as_ref());
    let linked = first(&|host| host.mpi.as_ref());
    let asked = value("mpiexec").map(|text| mpi(text, value("CRAY_MPICH_VERSION")));
    Toolchain {
        compilers: compilers.collect(),
        mpi: found(asked, linked.as_deref()).map(|(implementation, version)| Mpi {
            implementation,
            version,
            abi: library
                .as_ref()
                .and_then(|path| Some(path.rsplit('/').next()?.to_owned())),
            library,
        }),
        julia: value("julia").map(|line| number(line).unwrap_or_else(|| line.clone())),
        python: value("python").map(|line| number(line).unwrap_or_else(|| line.clone())),
        flags: pairs
            .iter()
            .filter(|(name, _)| is_flag(name))
            .cloned()
            .collect(),
        blas: first(&|host| host.blas.as_ref()),
        container: None,
    }
}

/// Returns a toolchain in a few words.
pub(super) fn few_words(toolchain: &Toolchain) -> Option<String> {
    let wanted = ["mpicc", "rustc"];
    let compilers = toolchain.compilers.iter();
    let compilers = compilers
        .filter(|it| wanted.contains(&it.command.as_str()))
        .map(named);
    let mpi = toolchain
        .mpi
        .iter()
        .map(|mpi| with_version(&mpi.implementation, mpi.version.as_ref()));
    let words: Vec<String> = compilers.chain(mpi).collect();
    (!words.is_empty()).then(|| words.join(", "))
}

/// Returns the name of a compiler and its version.
pub(super) fn named(compiler: &Compiler) -> String {
    match &compiler.id {
        Some(id) => with_version(id, compiler.version.as_ref()),
        None => compiler
            .version
            .clone()
            .unwrap_or_else(|| compiler.command.clone()),
    }
}

/// Returns a name with the version behind it.
pub(super) fn with_version(name: &str, version: Option<&String>) -> String {
    version.map_or_else(|| name.to_owned(), |version| format!("{name} {version}"))
}

/// Returns the MPI that a program is linked with, with its version if it is that of the toolchain.
pub(super) fn mpi_in_use(toolchain: &Toolchain, linked: &str) -> String {
    let asked = toolchain.mpi.as_ref();
    match asked.filter(|mpi| family(&mpi.implementation) == linked) {
        Some(mpi) => with_version(&mpi.implementation, mpi.version.as_ref()),
        None => linked.to_owned(),
    }
}

/// Returns the word by which the scripts on the nodes know an implementation.
fn family(implementation: &str) -> &'static str {
    if implementation == "Open MPI" {
        "openmpi"
    } else {
        "mpich"
    }
}

/// What its programs are linked with counts more than the `mpiexec` that is there.
fn found(
    asked: Option<(String, Option<String>)>,
    linked: Option<&str>,
) -> Option<(String, Option<String>)> {
    match (asked, linked) {
        (Some((name, version)), Some(linked)) if family(&name) == linked => Some((name, version)),
        (_, Some("openmpi")) => Some(("Open MPI".to_owned(), None)),
        (_, Some("mpich")) => Some(("MPICH".to_owned(), None)),
        (asked, _) => asked,
    }
}

/// Returns what a compiler is and its version, from the first line that `--version` prints.
fn compiler(line: &str) -> (Option<&'static str>, Option<String>) {
    let lower = line.to_ascii_lowercase();
    let has = |word: &str| lower.contains(word);
    let id = if lower.starts_with("rustc ") {
        "rustc"
    } else if has("cray ") {
        "cray"
    } else if has("intel") || has("ifort") || has("ifx") || has("(icc)") {
        "intel"
    } else if lower.starts_with("nv") || lower.starts_with("pg") {
        "nvhpc"
    } else if has("flang") {
        "flang"
    } else if has("clang") {
        "clang"
    } else if has("gcc")
        || has("g++")
        || has("gnu ")
        || has("free software")
        || lower.starts_with("cc (")
    {
        "gcc"
    } else {
        return (None, None);
    };
    (Some(id), number(line))
}

/// Returns the implementation and the version, from the first lines that `mpiexec --version` prints.
fn mpi(text: &str, cray: Option<&String>) -> (String, Option<String>) {
    let lower = text.to_ascii_lowercase();
    let name = if lower.contains("open mpi") || lower.contains("openrte") || lower.contains("prte")
    {
        "Open MPI"
    } else if lower.contains("intel(r) mpi") {
        "Intel MPI"
    } else if let Some(version) = cray {
        return ("Cray MPICH".to_owned(), Some(version.clone()));
    } else if lower.contains("hydra") || lower.contains("mpich") {
        "MPICH"
    } else {
        "unknown"
    };
    (name.to_owned(), number(text))
}

/// Returns the first word that is a version, leaving out what stands in parentheses.
fn number(text: &str) -> Option<String> {
    let mut depth = 0_u32;
    let outside: String = text
        .chars()
        .filter(|&c| {
            depth += u32::from(c == '(');
            let kept = depth == 0;
            depth -= u32::from(c == ')' && depth > 0);
            kept
        })
        .collect();
    let mut words = outside
        .split_whitespace()
        .map(|word| word.trim_matches([',', ';']));
    let is_version =
        |word: &&str| word.contains('.') && word.starts_with(|c: char| c.is_ascii_digit());
    words.find(is_version).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compilers_tell_what_they_are() {
        let check = |line, id, version: &str| {
            let found = compiler(line);
            assert_eq!(
                (found.0, found.1.as_deref()),
                (Some(id), Some(version)),
                "{line}"
            );
        };
        check("gcc (Debian 12.2.0-14+deb12u1) 12.2.0", "gcc", "12.2.0");
        check("g++ (Debian 12.2.0-14+deb12u1) 12.2.0", "gcc", "12.2.0");
        check(
            "cc (SUSE Linux) 13.2.1 20230912 [revision b96e66]",
            "gcc",
            "13.2.1",
        );
        check(
            "GNU Fortran (GCC) 8.5.0 20210514 (Red Hat 8.5.0-22)",
            "gcc",
            "8.5.0",
        );
        check(
            "Debian clang version 22.1.8 (++20260901)",
            "clang",
            "22.1.8",
        );
        check(
            "AMD clang version 17.0.6 (CLANG: AOCC_5.0.0)",
            "clang",
            "17.0.6",
        );
        check(
            "flang version 20.1.2 (https://github.com/llvm)",
            "flang",
            "20.1.2",
        );
        check("Cray clang version 17.0.0  (324a8e7de6a)", "cray", "17.0.0");
        check("Cray Fortran : Version 17.0.0", "cray", "17.0.0");
        check(
            "Intel(R) oneAPI DPC++/C++ Compiler 2024.0.2 (2024.0.2.20231213)",
            "intel",
            "2024.0.2",
        );
        check("ifx (IFX) 2024.0.2 20231213", "intel", "2024.0.2");
        check(
            "nvc 24.1-0 64-bit target on x86-64 Linux -tp zen3",
            "nvhpc",
            "24.1-0",
        );
        check("rustc 1.95.0 (59807616e 2026-04-14)", "rustc", "1.95.0");
        assert_eq!(compiler("tcc version 0.9.28"), (None, None));
    }

    #[test]
    fn mpi_libraries_tell_what_they_are() {
        let check = |text, cray: Option<&str>, name, version| {
            let found = mpi(text, cray.map(str::to_owned).as_ref());
            assert_eq!(
                (found.0.as_str(), found.1.as_deref()),
                (name, version),
                "{text}"
            );
        };
        check("mpiexec (OpenRTE) 4.1.4", None, "Open MPI", Some("4.1.4"));
        check("mpirun (Open MPI) 5.0.7", None, "Open MPI", Some("5.0.7"));
        check(
            "HYDRA build details: Version: 4.0.2 Release Date: Thu Apr  7",
            None,
            "MPICH",
            Some("4.0.2"),
        );
        check(
            "HYDRA build details: Version: 4.1",
            Some("8.1.28"),
            "Cray MPICH",
            Some("8.1.28"),
        );
        check(
            "Intel(R) MPI Library for Linux* OS, Version 2021.11 Build 20231005",
            None,
            "Intel MPI",
            Some("2021.11"),
        );
        check("what", None, "unknown", None);
        let asked = |name: &str| Some((name.to_owned(), Some("1.0".to_owned())));
        assert_eq!(
            found(asked("MPICH"), Some("openmpi")),
            Some(("Open MPI".to_owned(), None))
        );
        assert_eq!(
            found(asked("Cray MPICH"), Some("mpich")),
            asked("Cray MPICH")
        );
        assert_eq!(found(None, None), None);
    }
}
