//! What is done once a node: choosing where its ranks write profiles, and adding them up. Plain `sh`, as the per-rank wrapper.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use shell_words::quote;

/// The functions of the script; what they are to know stands before them.
const FUNCTIONS: &str = include_str!("node.sh");

/// Room that is asked for beside the profiles of the ranks.
const FLOOR_KIB: u64 = 64 * 1024;

/// How ranks use the disks of their nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scratch {
    /// Where folders are made; variables are those of the node.
    pub base: Vec<PathPart>,
    /// How their names begin.
    pub name: String,
    /// The program that reduces.
    pub helper: String,
    /// What it is told of the run's objects.
    pub index: String,
    /// The build whose programs run.
    pub build: String,
    /// How many bytes a process writes, as far as that is known.
    pub profile_bytes: u64,
    /// Ranks of the step.
    pub ranks: u32,
    /// How many seconds adding up may take.
    pub time: u64,
}

/// A part of a path that is put together on the node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PathPart {
    /// These characters.
    Text(String),
    /// The value of a variable.
    Variable {
        /// Its name.
        name: String,
        /// What stands for it where it is not set; without it, the path is of no use there.
        default: Option<String>,
    },
}

/// Returns the text of the script: `node.sh profiles` prints where to write, `node.sh reduce` adds up.
#[must_use]
pub fn node_script(scratch: &Scratch) -> String {
    let mut expand = String::new();
    for part in &scratch.base {
        let line = match part {
            PathPart::Text(text) => format!("  base=$base{}\n", quote(text)),
            PathPart::Variable {
                name,
                default: Some(default),
            } => {
                format!(
                    "  default={}\n  base=$base${{{name}:-$default}}\n",
                    quote(default)
                )
            }
            PathPart::Variable {
                name,
                default: None,
            } => {
                format!("  [ -n \"${{{name}:-}}\" ] || unset={name}\n  base=$base${{{name}:-}}\n")
            }
        };
        expand.push_str(&line);
    }
    let mut text = String::from(
        "#!/bin/sh\n# Where this node's processes write profiles, and what becomes of them.\n",
    );
    // A process may load libraries, or start another: twice what its program writes.
    let rank_kib = scratch.profile_bytes.saturating_mul(2).div_ceil(1024);
    write!(
        text,
        "name={name}\nhelper={helper}\nindex={index}\nbuild={build}\nranks={ranks}\nrank_kib={rank_kib}\nfloor_kib={FLOOR_KIB}\n\
         expand() {{ # sets base, and unset to a variable that is missing\n{expand}}}\n{FUNCTIONS}",
        name = quote(&scratch.name),
        helper = quote(&scratch.helper),
        index = quote(&scratch.index),
        build = quote(&scratch.build),
        ranks = scratch.ranks,
    )
    .expect("a String takes any text");
    text
}
