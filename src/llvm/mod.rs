//! The reference engine: LLVM's own `llvm-profdata` and `llvm-cov`, found, run and understood.
//!
//! Raw profiles are read only by the LLVM releases that write their version, indexed profiles and objects by every later
//! one. So profiles are merged by version, each with a tool that fits; the results are merged and exported by the newest
//! tool there is, which makes one report in one dialect however many compilers took part.
//!
//! What became of each profile stands in a ledger. Which objects and profiles a run has, and what of the report lies in
//! the repository, is the business of others.

mod export;
mod merge;
mod profile;
mod tools;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::coverage::objects::Object;
use crate::process::ProcessError;

pub use profile::{Kind, State};
pub use tools::{Tools, Version, find as find_tools};

/// What is asked of the engine.
#[derive(Debug, Clone)]
pub struct Request {
    /// The profiles, raw or indexed.
    pub profiles: Vec<PathBuf>,
    /// The objects that the profiles may belong to; those that never ran count as unhit.
    pub objects: Vec<Object>,
    /// The whole environment of the build: tools are looked for and run in it.
    pub environment: Vec<(OsString, OsString)>,
    /// An existing directory for intermediate files and the tracefile.
    pub work_dir: PathBuf,
    /// How many threads each tool may use.
    pub threads: usize,
}

/// What the engine made.
#[derive(Debug)]
pub struct Outcome {
    /// The tracefile, its paths as they stand in the objects.
    pub tracefile: PathBuf,
    /// The indexed profile that it was made from.
    pub profile: PathBuf,
    /// What became of each profile, in the order of the request.
    pub ledger: Vec<Entry>,
    /// The version of the `llvm-cov` that made the tracefile.
    pub tool_version: Version,
    /// All tools that took part.
    pub tools: Vec<Tools>,
    /// Objects that could not be exported, and why.
    pub left_out: Vec<(PathBuf, String)>,
    /// Functions whose counters do not fit any object, as `llvm-cov` counts them.
    pub mismatched_functions: u64,
    /// What else the tools had to say.
    pub remarks: Vec<String>,
}

/// What became of one profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The profile as the request names it.
    pub path: PathBuf,
    /// What became of it.
    pub state: State,
    /// The build ids of the objects whose counters it holds; empty where the linker gave none.
    pub build_ids: Vec<String>,
    /// Whether one of those objects is among the request's; unknown without build ids.
    pub has_object: Option<bool>,
}

/// Why there is no tracefile.
#[derive(Debug, thiserror::Error)]
pub enum LlvmError {
    /// No tools at all.
    #[error("found neither `llvm-profdata` nor `llvm-cov` of any version")]
    NoTools,
    /// Tools were found, but none reads what is there.
    #[error("{needs}, which {wanted} reads; found {}", shown(found))]
    NoFittingTools {
        /// What has to be read.
        needs: String,
        /// The versions that read it.
        wanted: String,
        /// What was found.
        found: Vec<Tools>,
    },
    /// There is nothing to export.
    #[error("no program or library with coverage mapping to export")]
    NoObjects,
    /// Not one profile could be used.
    #[error("none of {} profiles could be used{}", ledger.len(), first_reason(ledger))]
    NothingUsable {
        /// What is wrong with each.
        ledger: Vec<Entry>,
    },
    /// `llvm-cov` reads none of the objects.
    #[error(
        "`llvm-cov` {version} reads none of the objects: {}",
        first_left_out(left_out)
    )]
    NothingExportable {
        /// Its version.
        version: Version,
        /// What is wrong with each.
        left_out: Vec<(PathBuf, String)>,
    },
    /// A tool failed on files it had accepted.
    #[error("{what} failed: {said}")]
    Failed {
        /// What was done.
        what: &'static str,
        /// What the tool said.
        said: String,
    },
    /// A tool could not be run.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// A file of our own could not be written.
    #[error("cannot write `{}`", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
}

impl LlvmError {
    /// Returns what a person can do about it.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        let text = match self {
            Self::NoTools => {
                "install them (`llvm` in distributions, `rustup component add llvm-tools`, or the LLVM module of the \
                 cluster under [environment] modules), or set LLVM_PROFDATA and LLVM_COV"
            }
            Self::NoFittingTools { .. } => {
                "install the LLVM that belongs to the compiler (`rustup component add llvm-tools` for Rust), load its \
                 module, or set LLVM_PROFDATA and LLVM_COV"
            }
            Self::NoObjects => {
                "build with coverage (`-fprofile-instr-generate -fcoverage-mapping`, `-C instrument-coverage`), or name \
                 programs outside the work tree in [coverage] objects"
            }
            Self::NothingUsable { ledger }
                if ledger.iter().all(|entry| entry.state == State::Empty) =>
            {
                "every rank died before it could write its counters; see the logs of the steps"
            }
            _ => return None,
        };
        Some(text.to_owned())
    }
}

fn shown(found: &[Tools]) -> String {
    let tools: Vec<String> = found
        .iter()
        .map(|tools| format!("{} at {}", tools.version, tools.profdata.display()))
        .collect();
    tools.join(", ")
}

fn first_reason(ledger: &[Entry]) -> String {
    let bad = ledger.iter().find(|entry| entry.state != State::Used);
    bad.map_or_else(String::new, |entry| {
        format!(
            "; the first, `{}`, is {}",
            entry.path.display(),
            entry.state
        )
    })
}

fn first_left_out(left_out: &[(PathBuf, String)]) -> String {
    let (path, reason) = match left_out {
        [first, ..] => (first.0.display().to_string(), first.1.as_str()),
        [] => (String::new(), ""),
    };
    format!("`{path}`: {reason}")
}

/// Merges the profiles and exports the objects.
pub async fn coverage(request: Request) -> Result<Outcome, LlvmError> {
    if request.objects.is_empty() {
        return Err(LlvmError::NoObjects);
    }
    let (mut profiles, request) = looked_at(request).await;
    let found = tools::find(&request.environment).await;
    if found.is_empty() {
        return Err(LlvmError::NoTools);
    }
    let mut work = merge::Work {
        tools: &found,
        environment: &request.environment,
        dir: &request.work_dir,
        threads: request.threads,
        attempts: 0,
        used: Vec::new(),
        remarks: Vec::new(),
    };
    let merged = work.merge(&mut profiles).await?;
    let (mut used, mut remarks) = (work.used, work.remarks);
    let ledger = ledger(profiles, &request);
    let Some(profile) = merged else {
        return Err(LlvmError::NothingUsable { ledger });
    };
    let chosen = export::choose(&found, &used, &request.objects)?;
    let exported = export::export(chosen, &found, &request, &profile).await?;
    remarks.extend(exported.remarks);
    if !used.contains(chosen) {
        used.push(chosen.clone());
    }
    Ok(Outcome {
        tracefile: exported.tracefile,
        profile,
        ledger,
        tool_version: chosen.version,
        tools: used,
        left_out: exported.left_out,
        mismatched_functions: exported.mismatched_functions,
        remarks,
    })
}

/// Looks at the beginning of every profile, away from the async threads.
async fn looked_at(request: Request) -> (Vec<profile::Profile>, Request) {
    let look = move || {
        let profiles = profile::look_at_all(&request.profiles);
        (profiles, request)
    };
    match tokio::task::spawn_blocking(look).await {
        Ok(looked) => looked,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

fn ledger(profiles: Vec<profile::Profile>, request: &Request) -> Vec<Entry> {
    let ids = request
        .objects
        .iter()
        .filter_map(|object| object.build_id.as_deref());
    let known: std::collections::HashSet<&str> = ids.collect();
    let entry = |(profile, path): (profile::Profile, &PathBuf)| Entry {
        path: path.clone(),
        state: profile.state,
        has_object: (!profile.build_ids.is_empty()).then(|| {
            profile
                .build_ids
                .iter()
                .any(|id| known.contains(id.as_str()))
        }),
        build_ids: profile.build_ids,
    };
    profiles
        .into_iter()
        .zip(&request.profiles)
        .map(entry)
        .collect()
}

async fn write(path: &Path, bytes: &[u8]) -> Result<(), LlvmError> {
    tokio::fs::write(path, bytes)
        .await
        .map_err(|source| LlvmError::Io {
            path: path.to_owned(),
            source,
        })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;
