//! The programs of a run: what they are, and what built them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::{Component, Path, PathBuf};

use camino::Utf8PathBuf;
use rayon::prelude::*;

use super::Run;
use super::builds::{Builder, program_of};
use super::facts::Nodes;
use super::live::Attempt;
use super::request::program;
use crate::coverage::objects;
use crate::foreign;
use crate::plan::Step;
use crate::results::record::Binary;
use crate::results::store;

/// The programs of a run, by the build and the name that its steps call them by.
#[derive(Debug, Default)]
pub(super) struct Programs {
    all: BTreeMap<(String, PathBuf), Known>,
}

/// What is known of a program.
#[derive(Debug, Clone)]
struct Known {
    sha256: Option<String>,
    build_id: Option<String>,
    instrumented: Option<bool>,
    compiler: Option<String>,
    /// The sha256 of each shared library that it loads, by name; several where nodes disagree.
    libraries: BTreeMap<String, BTreeSet<String>>,
}

impl Programs {
    /// Looks at every program of the steps that run, as far as they stand in the work trees. Blocks.
    pub(super) fn of(run: &Run, builder: &Builder<'_>) -> Self {
        let plan = &run.request.plan;
        let mut paths = BTreeMap::new();
        for step in plan.steps.iter().filter(|step| step.runs()) {
            let Some(build) = plan.build(&step.build) else {
                continue;
            };
            let tree = builder.tree(build);
            let name = program(&step.command).name();
            if let Some((name, path)) = name.zip(program_of(step, &tree)) {
                paths.insert((build.id.clone(), PathBuf::from(name)), path);
            }
        }
        let paths: Vec<_> = paths.into_iter().collect();
        let all = paths.into_par_iter().map(|(key, path)| (key, known(&path)));
        Self {
            all: all.collect::<Vec<_>>().into_iter().collect(),
        }
    }

    /// Takes in which libraries the programs of attempts load on their nodes.
    pub(super) fn link(
        &mut self,
        run: &Run,
        attempts: &BTreeMap<(usize, u32), Attempt>,
        nodes: &Nodes,
    ) {
        for ((index, _), attempt) in attempts {
            let key = key(&run.request.plan.steps[*index]);
            let known = key.and_then(|key| self.all.get_mut(&key));
            let Some((known, host)) = known.zip(attempt.host.as_ref()) else {
                continue;
            };
            for (name, sum) in nodes.libraries(host) {
                known.libraries.entry(name).or_default().insert(sum.clone());
            }
        }
    }

    /// Returns what a program says of the compiler that made it.
    pub(super) fn compiler(&self, step: &Step) -> Option<&str> {
        self.get(step)?.compiler.as_deref()
    }

    /// Returns the sha256 of a program.
    pub(super) fn sha256(&self, step: &Step) -> Option<&str> {
        self.get(step)?.sha256.as_deref()
    }

    fn get(&self, step: &Step) -> Option<&Known> {
        self.all.get(&key(step)?)
    }

    /// Returns them as `meta.json` has them.
    pub(super) fn records(&self) -> Vec<Binary> {
        let records = self.all.iter().filter_map(|((build, name), known)| {
            let parts = name.components().filter(|part| *part != Component::CurDir);
            let name = parts.collect::<PathBuf>();
            Some(Binary {
                path: Utf8PathBuf::from_path_buf(name).ok()?,
                build: build.clone(),
                sha256: known.sha256.clone()?,
                build_id: known.build_id.clone(),
                instrumented: known.instrumented,
                compiler: known.compiler.clone(),
                libraries: known
                    .libraries
                    .iter()
                    .map(|(name, sums)| {
                        let sums: Vec<&str> = sums.iter().map(String::as_str).collect();
                        (name.clone(), sums.join(" + "))
                    })
                    .collect(),
            })
        });
        records.collect()
    }
}

fn key(step: &Step) -> Option<(String, PathBuf)> {
    let name = program(&step.command).name()?;
    Some((step.build.clone(), PathBuf::from(name)))
}

fn known(path: &Path) -> Known {
    let about = objects::about(path).ok();
    Known {
        sha256: sha256(path)
            .inspect_err(|error| tracing::warn!(%error, "a program cannot be read"))
            .ok(),
        build_id: about.as_ref().and_then(|about| about.build_id.clone()),
        instrumented: about.as_ref().map(|about| about.profile),
        compiler: about.and_then(|about| about.compiler),
        libraries: BTreeMap::new(),
    }
}

/// The most bytes of a program that are hashed: of a larger one, the first.
const LARGEST: u64 = 4 << 30;

/// Returns the sha256 of a file.
pub(super) fn sha256(path: &Path) -> std::io::Result<String> {
    store::sha256(&mut foreign::open_linked(path)?.take(LARGEST))
}
