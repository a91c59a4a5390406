//! An `hpc.toml` for a project that has none, made of what is found: the project's files, this machine, its Slurm.
//!
//! [`find`] looks; [`kind`] makes a project of its files and [`text`] a file of settings of it all, both without looking at
//! anything. Whatever could only be guessed is said, in the file and to the person. Nothing of the project is run: its build
//! files are read as text, so that a variable or a test that only they could compute is not found. The machine is asked by the
//! probes of the doctor. No job is submitted; whether nodes see a folder is for the doctor to find out.

pub mod found;
pub mod kind;
mod machine;
mod read;
pub mod text;
pub mod tree;

use std::ffi::OsString;
use std::path::Path;

pub use found::Found;

use crate::launch::Place;

/// Looks at the clone whose top is `top`, and at this machine.
///
/// `inherited` is what builds and steps would inherit, free of secrets.
pub async fn find(top: &Path, place: Place, inherited: Vec<(OsString, OsString)>) -> Found {
    let tree = read::tree(top);
    let folder = top.file_name().map(|name| name.to_string_lossy());
    let project = kind::project(&tree);
    let name = project.name.clone();
    Found {
        name: name.or_else(|| Some(folder?.into_owned())),
        ignores_results: ignores_results(&tree),
        is_clone: top.join(".git").exists(),
        machine: machine::look(top, place, inherited, &project).await,
        project,
    }
}

/// Whether git is told to leave alone what runs write into the clone.
fn ignores_results(tree: &tree::Tree) -> bool {
    let ignored = tree.text(".gitignore").unwrap_or_default();
    let mut lines = ignored.lines().map(str::trim);
    lines.any(|line| line.trim_matches('/') == "hpc-ci")
}
