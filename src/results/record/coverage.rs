//! The JSON documents below `coverage/`.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

/// `coverage/summary.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CoverageSummary {
    /// [`super::SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The commit under test.
    pub commit: String,
    /// Lines of all files.
    pub lines: Ratio,
    /// Functions of all files.
    pub functions: Option<Ratio>,
    /// Branches of all files.
    pub branches: Option<Ratio>,
    /// The profiles behind it.
    pub profiles: ProfileTotals,
    /// Every file, by path.
    pub files: BTreeMap<Utf8PathBuf, FileCoverage>,
    /// The run that this part comes from.
    #[serde(default)]
    pub run: Option<String>,
    /// What is missing here, and why.
    #[serde(default)]
    pub missing: Vec<String>,
    /// Whether something that was measured is not in it, so that it stands for nothing.
    #[serde(default)]
    pub partial: bool,
    /// What that is.
    #[serde(default)]
    pub losses: Vec<Loss>,
    /// Source files that the producers told of and that do not count.
    #[serde(default)]
    pub left_out: LeftOut,
}

/// Something that was measured and is not in the coverage, or not in full.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// The file's name: a tracefile, or a profile.
    pub file: String,
    /// The step that left it.
    pub step: Option<String>,
    /// The line of a tracefile, from 1.
    pub line: Option<u64>,
    /// Why.
    pub reason: String,
}

/// Source files that do not count.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LeftOut {
    /// Those below a work tree that the commit does not hold: generated ones, dependencies that were fetched.
    pub not_in_commit: Sources,
    /// Those like them that count, because `include` names them.
    pub included: Sources,
    /// How many `include` and `exclude` leave out.
    pub excluded: u64,
    /// How many lie outside of all work trees.
    pub outside: u64,
}

/// Source files, and some of their paths.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sources {
    /// How many.
    pub count: u64,
    /// The first few.
    pub examples: Vec<String>,
}

/// The coverage of one file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FileCoverage {
    /// Its lines.
    pub lines: Ratio,
    /// Its functions.
    pub functions: Option<Ratio>,
    /// Its branches.
    pub branches: Option<Ratio>,
}

/// Something counted out of something else.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Ratio {
    /// How many there are.
    pub total: u64,
    /// How many were covered.
    pub covered: u64,
    /// Of a hundred, two decimals, rounded down; null of none.
    pub percent: Option<f64>,
}

impl Ratio {
    /// Returns `covered` out of `total`.
    #[must_use]
    pub fn new(covered: u64, total: u64) -> Self {
        Self {
            total,
            covered,
            percent: crate::results::summary::percent(covered, total),
        }
    }
}

/// The profiles behind a coverage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfileTotals {
    /// Ranks that should have written one.
    pub ranks_expected: u64,
    /// Ranks whose profile was used.
    pub ranks_used: u64,
    /// Profiles that were found.
    pub found: u64,
    /// Profiles that were used.
    pub used: u64,
    /// Those of the found that processes wrote elsewhere than they were told to.
    #[serde(default)]
    pub elsewhere: u64,
}

/// `coverage/objects.json`: the programs and libraries that the coverage is about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ObjectList {
    /// [`super::SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The commit under test.
    pub commit: String,
    /// The objects with coverage mapping.
    pub objects: Vec<ObjectEntry>,
    /// Objects that could not be read.
    #[serde(default)]
    pub uncounted: Vec<UncountedObject>,
    /// Profiles that belong to none of them.
    #[serde(default)]
    pub strays: Vec<StrayProfile>,
}

/// An object with coverage mapping.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectEntry {
    /// Its path in the work tree, or an absolute one.
    pub path: Utf8PathBuf,
    /// The build that made it.
    pub build: Option<String>,
    /// Its build id in hexadecimal.
    pub build_id: Option<String>,
    /// How many functions its mapping has, where that was counted.
    pub functions: Option<u64>,
    /// How many profiles belong to it, where that is known; 0 means it never ran and counts as not hit.
    pub profiles: Option<u64>,
    /// Paths of other objects with the same content.
    #[serde(default)]
    pub copies: Vec<Utf8PathBuf>,
}

/// An object that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UncountedObject {
    /// Its path.
    pub path: Utf8PathBuf,
    /// What is wrong with it.
    pub message: String,
}

/// A profile without an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StrayProfile {
    /// The file's name.
    pub file: String,
    /// The step that wrote it.
    pub step: Option<String>,
    /// The build id that it names.
    pub build_id: Option<String>,
}

/// `coverage/network.json`: what a service needs to know of the commit to place the coverage in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// [`super::SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The commit under test.
    pub commit: String,
    /// Its first parent.
    pub parent: Option<String>,
    /// The paths of its files.
    pub files: Vec<String>,
    /// Lines of source files that count for no report.
    pub fixes: BTreeMap<String, Fix>,
}

/// Lines of a file that count for no report.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fix {
    /// Their numbers, from 1.
    pub lines: Vec<u64>,
    /// How many lines the file has, where that is told.
    pub end_of_file: Option<u64>,
}
