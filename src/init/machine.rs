//! Looks at the machine, by the probes of the doctor: compilers, MPI, modules, Slurm, storage.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::found::{Clang, Kind, Language, Machine, Project, Python, Storage};
use crate::build::environment::Setup;
use crate::doctor::facts::{Folder, FolderFacts, Subject, Tools};
use crate::doctor::probe;
use crate::launch::Place;
use crate::process::Command;
use crate::scheduler::Slurm;
use crate::scheduler::slurm::Cluster;

/// How long a program may take to say what it is.
const DEADLINE: Duration = Duration::from_secs(15);

/// Variables by which sites name storage for large files.
const STORAGE: &[&str] = &["SCRATCH", "WORK"];

/// Variables by which a login chooses compilers.
const CHOOSE: &[&str] = &["OMPI_CC", "OMPI_CXX", "MPICH_CC", "MPICH_CXX", "CC", "CXX"];

/// Versions of clang that can be called by a name of their own, the newest first.
const CLANG_VERSIONS: std::ops::RangeInclusive<u32> = 14..=40;

/// How many clangs are tried.
const TRIED: usize = 3;

type Environment = Vec<(OsString, OsString)>;

/// Looks at this machine, with an eye to what a project needs.
pub(super) async fn look(
    top: &Path,
    place: Place,
    inherited: Environment,
    project: &Project,
) -> Machine {
    let candidates = candidates(&inherited);
    let folders = std::iter::once(top).chain(candidates.iter().map(|(_, path)| path.as_path()));
    let subject = Subject {
        base: top.to_owned(),
        folders: folders.map(folder).collect(),
        setup: Setup {
            modules: loaded_modules(&inherited),
            ..Setup::default()
        },
        inherited,
        ..Subject::default()
    };
    let ((cluster, default_account), tools, folders, python, ctest_writes_junit) = tokio::join!(
        slurm(&subject, place),
        probe::tools(&subject),
        probe::folders(&subject),
        python(&subject, project),
        ctest_writes_junit(&subject, project),
    );
    let clang = clang(&subject, project, &tools).await;
    let mut folders = folders.into_iter();
    let clone = folders.next().unwrap_or_default();
    Machine {
        place,
        cluster,
        default_account,
        modules: tools
            .modules
            .iter()
            .map(|it| (it.name.clone(), it.refused.clone()))
            .collect(),
        chosen: chosen(&subject.inherited),
        clang,
        tools,
        python,
        ctest_writes_junit,
        storage: storage(candidates, folders, &subject.inherited),
        clone,
        cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
    }
}

fn folder(path: &Path) -> Folder {
    Folder {
        key: "root",
        path: path.to_owned(),
        shared: true,
        inner: None,
    }
}

fn variable(inherited: &Environment, name: &str) -> Option<String> {
    let value = inherited.iter().find(|(key, _)| key == name);
    let value = value.and_then(|(_, value)| value.to_str())?;
    (!value.is_empty()).then(|| value.to_owned())
}

fn loaded_modules(inherited: &Environment) -> Vec<String> {
    let list = variable(inherited, "LOADEDMODULES").unwrap_or_default();
    let names = list.split(':').filter(|name| !name.is_empty());
    names.map(str::to_owned).collect()
}

fn chosen(inherited: &Environment) -> Vec<(String, String)> {
    let pairs = CHOOSE.iter();
    pairs
        .filter_map(|name| Some(((*name).to_owned(), variable(inherited, name)?)))
        .collect()
}

async fn slurm(
    subject: &Subject,
    place: Place,
) -> (Option<Result<Cluster, String>>, Option<String>) {
    if place == Place::Here {
        return (None, None);
    }
    let slurm = Slurm::new(subject.inherited.iter().cloned(), DEADLINE);
    let (cluster, account) = tokio::join!(slurm.probe(), slurm.default_account());
    (
        Some(cluster.map_err(|error| error.to_string())),
        account.unwrap_or_default(),
    )
}

/// Finds a clang that instruments what `mpicc`, or `cc` where there is none, compiles.
async fn clang(subject: &Subject, project: &Project, tools: &Tools) -> Clang {
    if !matches!(project.language, Language::C { .. }) {
        return Clang::NotAsked;
    }
    if tools.c.as_ref().is_some_and(|trial| trial.mapping) {
        return Clang::Usual;
    }
    let names = clangs(&subject.inherited);
    let mut why = "there is no clang in PATH".to_owned();
    for name in names.into_iter().take(TRIED) {
        let variables = ["OMPI_CC", "MPICH_CC", "CC"].map(|key| (key.to_owned(), name.clone()));
        let again = Subject {
            base: subject.base.clone(),
            setup: Setup {
                variables: variables.into(),
                ..subject.setup.clone()
            },
            inherited: subject.inherited.clone(),
            ..Subject::default()
        };
        match probe::tools(&again).await.c {
            Some(trial) if trial.mapping => {
                let plus = name.replacen("clang", "clang++", 1);
                let plus = in_path(&subject.inherited, &plus).then_some(plus);
                return Clang::Named(name, plus);
            }
            Some(trial) => {
                let said = trial
                    .failed
                    .unwrap_or_else(|| "its programs have no coverage mapping".to_owned());
                why = format!("`{name}` was tried: {said}");
            }
            None => "there is neither mpicc nor cc to try one with".clone_into(&mut why),
        }
    }
    Clang::Missing(why)
}

fn clangs(inherited: &Environment) -> Vec<String> {
    let versioned = CLANG_VERSIONS
        .rev()
        .map(|version| format!("clang-{version}"));
    std::iter::once("clang".to_owned())
        .chain(versioned)
        .filter(|name| in_path(inherited, name))
        .collect()
}

fn in_path(inherited: &Environment, program: &str) -> bool {
    let path = inherited.iter().find(|(key, _)| key == "PATH");
    path.is_some_and(|(_, path)| std::env::split_paths(path).any(|dir| dir.join(program).is_file()))
}

async fn python(subject: &Subject, project: &Project) -> Python {
    const ASK: &str = "import importlib.util as u\nprint(*(m for m in ('pytest', 'pytest_cov', 'mpi4py') if u.find_spec(m)))";
    if project.language != Language::Python {
        return Python::default();
    }
    let said = said(subject, "python3", &["-c", ASK])
        .await
        .unwrap_or_default();
    let has = |name: &str| said.split_whitespace().any(|word| word == name);
    Python {
        pytest: has("pytest"),
        cov: has("pytest_cov"),
        mpi4py: has("mpi4py"),
    }
}

/// Versions from 3.21 on do; where there is none, it is left to the node that has one.
async fn ctest_writes_junit(subject: &Subject, project: &Project) -> bool {
    if project.kind != Some(Kind::Cmake) {
        return true;
    }
    let Some(text) = said(subject, "ctest", &["--version"]).await else {
        return true;
    };
    let version = text
        .split_whitespace()
        .find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    let mut parts = version
        .unwrap_or_default()
        .split('.')
        .map(str::parse::<u32>);
    match (parts.next(), parts.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= (3, 21),
        _ => true,
    }
}

/// What a program of the environment says, if it says it in time and with success.
async fn said(subject: &Subject, program: &str, arguments: &[&str]) -> Option<String> {
    let asked = Command::new(program)
        .args(arguments)
        .environment(subject.inherited.iter().map(|(key, value)| (key, value)))
        .deadline(DEADLINE)
        .success()
        .await;
    asked.ok().map(|output| output.stdout_text())
}

/// Folders that the site's variables name and that are there.
fn candidates(inherited: &Environment) -> Vec<(&'static str, PathBuf)> {
    let named = STORAGE.iter().filter_map(|name| {
        let path = PathBuf::from(variable(inherited, name)?);
        (path.is_absolute() && path.is_dir()).then_some((*name, path))
    });
    named.collect()
}

fn storage(
    candidates: Vec<(&'static str, PathBuf)>,
    facts: impl Iterator<Item = FolderFacts>,
    inherited: &Environment,
) -> Vec<Storage> {
    let user = variable(inherited, "LOGNAME");
    let pairs = candidates.into_iter().zip(facts);
    pairs
        .filter(|(_, facts)| facts.refused.is_none())
        .filter_map(|((variable, path), facts)| {
            Some(Storage {
                variable,
                path: portable(path.to_str()?, user.as_deref()),
                facts,
            })
        })
        .collect()
}

/// A path as everybody's file may have it: cron knows LOGNAME, but not what a site's profile sets.
fn portable(path: &str, user: Option<&str>) -> String {
    let parts = path.trim_end_matches('/').split('/');
    let parts = parts.map(|part| match user {
        Some(user) if part == user => "$LOGNAME".to_owned(),
        _ => part.replace('$', "$$"),
    });
    parts.collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_its_user_by_a_variable() {
        for (path, expected) in [
            ("/scratch/ada", "/scratch/$LOGNAME"),
            ("/scratch/adam/", "/scratch/adam"),
            ("/data/a$b", "/data/a$$b"),
        ] {
            assert_eq!(portable(path, Some("ada")), expected);
        }
        assert_eq!(portable("/scratch/ada", None), "/scratch/ada");
    }

    #[test]
    fn loaded_modules_are_listed_in_their_order() {
        let environment: Environment = vec![("LOADEDMODULES".into(), "gcc/13:openmpi/5".into())];
        assert_eq!(loaded_modules(&environment), ["gcc/13", "openmpi/5"]);
        assert_eq!(loaded_modules(&Vec::new()), Vec::<String>::new());
    }
}
