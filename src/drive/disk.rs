//! The disks of the nodes: whether ranks write profiles there, and what those who add them up need to know.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Run;
use super::builds::Builder;
use crate::config::{self, Coverage, Engine, KeepProfiles, NodePathPart, Workspace};
use crate::coverage::node::ObjectIndex;
use crate::launch::PathPart;
use crate::plan::{Build, Producer, Step};

/// How ranks of the programs of a build use the disks of their nodes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Disk {
    /// Where folders are made.
    pub(super) base: Vec<PathPart>,
    /// How many bytes a profile has.
    pub(super) profile_bytes: u64,
}

impl Disk {
    /// Returns how they use them; none if profiles shall be on shared storage: because they are to be kept, or are for LLVM's own
    /// programs to read, or because that was asked for.
    #[must_use]
    pub fn of(workspace: &Workspace, coverage: &Coverage, profile_bytes: u64) -> Option<Self> {
        let wanted = coverage.keep_profiles == KeepProfiles::Never
            && coverage.engine != Engine::LlvmTools
            && !workspace.node_scratch.is_empty();
        let parts = config::node_path_parts(&workspace.node_scratch).filter(|_| wanted)?;
        let base = parts.into_iter().map(|part| match part {
            NodePathPart::Text(text) => PathPart::Text(text),
            NodePathPart::Variable { name, default } => PathPart::Variable { name, default },
        });
        Some(Self {
            base: base.collect(),
            profile_bytes,
        })
    }
}

/// Returns that of each build, after writing the list of objects that nodes ask for.
pub(super) fn disks(run: &Run, builder: &Builder<'_>) -> std::io::Result<BTreeMap<String, Disk>> {
    let request = &run.request;
    let disk = |bytes| Disk::of(&request.site.workspace, &request.coverage, bytes);
    let gives = |step: &Step| step.runs() && step.coverage == Producer::Llvm;
    if !request.plan.steps.iter().any(gives) || disk(0).is_none() {
        return Ok(BTreeMap::new());
    }
    let builds = request.plan.builds.iter();
    let instrumented: Vec<&Build> = builds
        .filter(|build| build.coverage == Producer::Llvm)
        .collect();
    let places = builder.places(&instrumented, &request.coverage.objects);
    let ids = instrumented.iter().map(|build| build.id.clone());
    let index = ObjectIndex::find(ids.collect(), places);
    index.write(&run.folder.objects())?;
    let of_build =
        |build: &&Build| Some((build.id.clone(), disk(index.largest_profile(&build.id))?));
    Ok(instrumented.iter().filter_map(of_build).collect())
}
