//! The programs of a run: what they are, and what built them.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use camino::Utf8PathBuf;
use rayon::prelude::*;

use super::Run;
use super::builds::{Builder, program_of};

use super::request::program;
use crate::coverage::objects;
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

    /// Returns what a program says of the compiler that made it.
    pub(super) fn compiler(&self, step: &Step) -> Option<&str> {
        self.get(step)?.compiler.as_deref()
    }

    /// Returns the sha256 of a program.
    pub(super) fn sha256(&self, step: &Step) -> Option<&str> {
        self.get(step)?.sha256.as_deref()
    }

    fn get(&self, step: &Step) -> Option<&Known> {
        let name = program(&step.command).name()?;
        self.all.get(&(step.build.clone(), PathBuf::from(name)))
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
                libraries: BTreeMap::new(),
            })
        });
        records.collect()
    }
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
    }
}

/// Returns the sha256 of a file.
pub(super) fn sha256(path: &Path) -> std::io::Result<String> {
    store::sha256(&mut fs_err::File::open(path)?)
}
