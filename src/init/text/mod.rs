//! The file of settings, and what is said to the person who asked for it. Decides; looks at nothing.
//!
//! Whatever belongs to the project stands in its plain tables, whatever belongs to this cluster in `[cluster.NAME.…]`: elsewhere the
//! file asks for nothing that only this cluster has.

mod machine;
mod project;
mod talk;
mod toml;

use super::found::Found;

pub use talk::{Line, NEXT, talk};

/// Returns the text of `hpc.toml`.
#[must_use]
pub fn file(found: &Found) -> String {
    let mut text = String::new();
    toml::comment(
        &mut text,
        "Written by `hpc-ci init` from what it found; every line is yours to change. docs/configuration.md of hpc-ci has all keys, \
         `hpc-ci config` shows what is in force, `hpc-ci plan` what would run.",
    );
    text.push('\n');
    if let Some(name) = &found.name {
        text.push_str("[project]\n");
        toml::key(&mut text, "name", &toml::string(name));
        text.push('\n');
    }
    machine::environment(&mut text, found);
    project::write(&mut text, found);
    machine::write(&mut text, found);
    toml::comment(
        &mut text,
        "Results can go to Codecov, GitHub, GitLab, or a branch with a dashboard; each needs its table (docs/publish.md):",
    );
    text.push_str("# [publish.codecov]\n# token_file = \"~/.config/hpc-ci/codecov-token\"\n");
    text
}

#[cfg(test)]
mod tests;
