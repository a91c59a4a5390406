//! Finds `llvm-profdata` and `llvm-cov`, all versions that an environment offers.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tokio::task::JoinSet;

use super::profile::Kind;
use crate::process::Command;

/// Suffixes that distributions give to versions side by side.
const SUFFIXES: std::ops::RangeInclusive<u32> = 11..=40;

/// A version of LLVM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// As in 22 of 22.1.8.
    pub major: u32,
    /// As in 1 of 22.1.8.
    pub minor: u32,
    /// As in 8 of 22.1.8.
    pub patch: u32,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// The two programs of one LLVM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tools {
    /// Where `llvm-profdata` is.
    pub profdata: PathBuf,
    /// Where `llvm-cov` is.
    pub cov: PathBuf,
    /// Their version.
    pub version: Version,
    /// Whether `LLVM_PROFDATA` and `LLVM_COV` name them, in which case they go before newer ones.
    pub chosen: bool,
}

impl Tools {
    /// Returns whether they read profiles of this kind.
    #[must_use]
    pub fn read(&self, kind: Kind) -> bool {
        kind.is_read_by(self.version.major)
    }
}

type Environment = [(OsString, OsString)];

/// Returns all tools that the environment offers, those that it names first, then newer before older.
pub async fn find(environment: &Environment) -> Vec<Tools> {
    let mut pairs = Vec::new();
    if let (Some(profdata), Some(cov)) = (
        lookup(environment, "LLVM_PROFDATA"),
        lookup(environment, "LLVM_COV"),
    ) {
        pairs.push((profdata.into(), cov.into(), true));
    }
    let mut dirs: Vec<PathBuf> = path(environment).collect();
    dirs.extend(beside_compilers(environment).await);
    dirs.extend(subdirectories(Path::new("/usr/lib"), "llvm-", "bin"));
    pairs.extend(dirs.iter().flat_map(|dir| pairs_in(dir)));

    let mut seen = HashSet::new();
    let mut asked = JoinSet::new();
    for (profdata, cov, chosen) in pairs {
        if !is_program(&profdata)
            || !is_program(&cov)
            || !seen.insert(std::fs::canonicalize(&profdata).ok())
        {
            continue;
        }
        let environment = environment.to_vec();
        asked.spawn(async move {
            let version = version(&profdata, &environment).await?;
            Some(Tools {
                profdata,
                cov,
                version,
                chosen,
            })
        });
    }
    let mut found: Vec<Tools> = asked.join_all().await.into_iter().flatten().collect();
    found.sort_by(|a, b| {
        let rank = |tools: &Tools| (!tools.chosen, std::cmp::Reverse(tools.version));
        rank(a)
            .cmp(&rank(b))
            .then_with(|| a.profdata.cmp(&b.profdata))
    });
    found
}

fn pairs_in(dir: &Path) -> Vec<(PathBuf, PathBuf, bool)> {
    let suffixes =
        std::iter::once(String::new()).chain(SUFFIXES.map(|version| format!("-{version}")));
    suffixes
        .map(|suffix| {
            let program = |name: &str| dir.join(format!("{name}{suffix}"));
            (program("llvm-profdata"), program("llvm-cov"), false)
        })
        .filter(|(profdata, ..)| profdata.exists())
        .collect()
}

/// Asks Rust and clang where their own tools are; either may be absent.
async fn beside_compilers(environment: &Environment) -> Vec<PathBuf> {
    let mut dirs = Vec::new();
    if let Some(sysroot) = ask(environment, "rustc", &["--print", "sysroot"]).await {
        dirs.extend(subdirectories(
            &Path::new(&sysroot).join("lib/rustlib"),
            "",
            "bin",
        ));
    }
    if let Some(profdata) = ask(environment, "clang", &["-print-prog-name=llvm-profdata"]).await {
        dirs.extend(Path::new(&profdata).parent().map(Path::to_owned));
    }
    if let Some(dir) = ask(environment, "llvm-config", &["--bindir"]).await {
        dirs.push(dir.into());
    }
    dirs.retain(|dir| dir.is_absolute());
    dirs
}

/// Returns the answer of a program of the environment, nothing if it has none.
async fn ask(environment: &Environment, program: &str, args: &[&str]) -> Option<OsString> {
    let program = path(environment)
        .map(|dir| dir.join(program))
        .find(|path| is_program(path))?;
    let asked = Command::new(program)
        .args(args)
        .environment(environment.iter().map(|(key, value)| (key, value)));
    let answer = asked.success().await.ok()?.stdout_text();
    Some(answer.trim().into())
}

async fn version(profdata: &Path, environment: &Environment) -> Option<Version> {
    // Before LLVM 18 `llvm-profdata --version` is no command, but `merge` knows the option.
    let asked = Command::new(profdata)
        .args(["merge", "--version"])
        .environment(environment.iter().map(|(key, value)| (key, value)));
    let version = match asked.success().await {
        Ok(output) => parsed(&output.stdout_text()),
        Err(error) => {
            tracing::debug!(%error, "a tool of LLVM does not run");
            None
        }
    };
    tracing::debug!(program = %profdata.display(), ?version, "llvm-profdata");
    version
}

/// Reads what the tools of LLVM say of their version, such as `Debian LLVM version 14.0.6`.
fn parsed(text: &str) -> Option<Version> {
    let (_, rest) = text.split_once("LLVM version ")?;
    let end = rest
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(rest.len());
    let mut numbers = rest[..end].split('.').map(str::parse);
    let mut number = || numbers.next()?.ok();
    Some(Version {
        major: number()?,
        minor: number().unwrap_or_default(),
        patch: number().unwrap_or_default(),
    })
}

/// Returns `dir/PREFIX*/below` for all that there are.
fn subdirectories(dir: &Path, prefix: &str, below: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return Vec::new();
    };
    let fits = |name: &OsStr| name.as_encoded_bytes().starts_with(prefix.as_bytes());
    entries
        .filter_map(Result::ok)
        .filter(|entry| fits(&entry.file_name()))
        .map(|entry| entry.path().join(below))
        .collect()
}

fn lookup<'e>(environment: &'e Environment, name: &str) -> Option<&'e OsStr> {
    let value = environment.iter().rev().find(|(key, _)| key == name)?;
    Some(value.1.as_os_str()).filter(|value| !value.is_empty())
}

fn path(environment: &Environment) -> impl Iterator<Item = PathBuf> {
    let path = lookup(environment, "PATH").unwrap_or_default();
    std::env::split_paths(path).filter(|dir| dir.is_absolute())
}

fn is_program(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use fs_err as fs;

    use super::*;

    #[test]
    fn versions_are_read_as_the_tools_print_them() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(
                parsed(text).map(|version| version.to_string()).as_deref(),
                expected,
                "{text}"
            );
        };
        check(
            "Debian LLVM version 14.0.6\n  \n  Optimized build.\n",
            Some("14.0.6"),
        );
        check(
            "LLVM (http://llvm.org/):\n  LLVM version 22.1.2-rust-1.95.0-stable\n",
            Some("22.1.2"),
        );
        check(
            "LLVM (http://llvm.org/):\n  LLVM version 23.0.0git\n",
            Some("23.0.0"),
        );
        check("Ubuntu LLVM version 18\n", Some("18.0.0"));
        check("llvm-profdata: Unknown command!\n", None);
    }

    /// Writes a program that says it is of this version.
    fn tool(path: &Path, version: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("#!/bin/sh\necho 'LLVM version {version}'\n")).unwrap();
        fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[tokio::test]
    async fn tools_of_the_environment_are_found_and_ranked() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for (name, version) in [("bin/llvm-profdata", "97.1.0"), ("bin/llvm-cov", "97.1.0")] {
            tool(&at(name), version);
        }
        for (name, version) in [
            ("more/llvm-profdata-19", "98.0.1"),
            ("more/llvm-cov-19", "98.0.1"),
        ] {
            tool(&at(name), version);
        }
        // Without its llvm-cov, and one that does not run, there is no pair.
        tool(&at("more/llvm-profdata-20"), "99.0.0");
        tool(&at("sysroot/lib/rustlib/x/bin/llvm-profdata"), "96.0.0");
        tool(&at("sysroot/lib/rustlib/x/bin/llvm-cov"), "96.0.0");
        fs::write(
            at("bin/rustc"),
            format!("#!/bin/sh\necho {}\n", at("sysroot").display()),
        )
        .unwrap();
        fs::set_permissions(at("bin/rustc"), std::fs::Permissions::from_mode(0o755)).unwrap();
        tool(&at("own/profdata"), "95.0.0");

        let path = std::env::join_paths([at("bin"), at("more"), at("absent")]).unwrap();
        let mut environment = vec![("PATH".into(), path)];
        let majors = |found: Vec<Tools>| {
            let ours = found.into_iter().filter(|tools| tools.version.major > 90);
            ours.map(|tools| tools.version.major).collect::<Vec<_>>()
        };
        assert_eq!(majors(find(&environment).await), [98, 97, 96]);

        environment.push(("LLVM_PROFDATA".into(), at("own/profdata").into()));
        assert_eq!(majors(find(&environment).await), [98, 97, 96]);
        environment.push(("LLVM_COV".into(), at("own/profdata").into()));
        assert_eq!(majors(find(&environment).await), [95, 98, 97, 96]);
    }
}
