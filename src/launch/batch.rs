//! Scripts of jobs that run several steps: bash, as short as can be.

use shell_words::quote;

/// Returns the script of an array; task K has a folder `K` in this one, with the script of its step.
#[must_use]
pub fn array_script(folder: &str) -> String {
    format!(
        "#!/bin/bash -p\n# hpc-ci: each task runs the script of its step\nexec bash -p {}/\"$SLURM_ARRAY_TASK_ID\"/job.sh\n",
        quote(folder)
    )
}

/// Returns the script of a pack, whose steps are started side by side by hpc-ci itself.
#[must_use]
pub fn pack_script(program: &str, folder: &str) -> String {
    format!(
        "#!/bin/bash -p\n# hpc-ci: runs the steps of this folder's pack.json in this allocation\nexec {} run-pack {}\n",
        quote(program),
        quote(folder)
    )
}
