//! The container that the programs of a run are started in, if `wrap` says so.

use super::Run;
use super::binaries::sha256;
use super::builds::Builder;
use crate::results::record::Container;

/// What runs containers.
const RUNTIMES: &[&str] = &[
    "apptainer",
    "singularity",
    "podman",
    "docker",
    "enroot",
    "shifter",
    "sarus",
    "ch-run",
];

/// Returns the container of the first step that has one. Blocks: an image that is a file is read as a whole.
pub(super) fn of(run: &Run, builder: &Builder<'_>) -> Option<Container> {
    let plan = &run.request.plan;
    plan.steps
        .iter()
        .filter(|step| step.runs())
        .find_map(|step| {
            let words = &step.launcher.wrap;
            let program = words.first()?.rsplit('/').next()?;
            let runtime = RUNTIMES.iter().find(|name| **name == program)?;
            let tree = builder.tree(plan.build(&step.build)?);
            let mut images = words.iter().skip(1).map(|word| tree.join(word));
            let digest = images
                .find(|path| path.is_file())
                .and_then(|image| sha256(&image).ok());
            Some(Container {
                runtime: (*runtime).to_owned(),
                digest: digest.map(|hash| format!("sha256:{hash}")),
            })
        })
}
