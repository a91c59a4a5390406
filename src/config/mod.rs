//! `hpc.toml` and the site's `config.toml`: from text to values, with every mistake told at once.
//!
//! Settings are read in two phases. A [`Site`] says where and for whom code runs; it comes only from trusted files and
//! is read before the checkout. A [`Suite`] says what to test; it comes from the commit that was checked out. Layers
//! (built-in defaults, the site's file, the local file, flags) are laid over one another as trees in which each value
//! knows its place, so that a mistake underlines what was typed and `settings()` can tell where a value came from.
//!
//! This room reads no files and no environment: texts, variables and the cluster's name are handed in. What a matrix
//! multiplies out to, and whether a step keeps to the limits, is for the room `plan`.

mod choices;
mod fields;
mod layers;
mod matrix;
mod paths;
pub mod placeholder;
mod problem;
mod raw;
mod read;
mod results;
mod semantics;
mod site;
mod step;
mod suggest;
mod suite;
mod units;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use choices::{
    Better, CodecovService, Disclosure, DyingRanks, Engine, Expect, KeepProfiles, LauncherKind,
    Pmi, Producer, ResultsFormat, SchedulerKind, Strategy, Where,
};
pub use layers::{Ignored, Origin, Override, Setting, keys};
pub use matrix::{Axis, AxisError, Matrix};
pub use paths::{NodePathPart, node_path_parts};
pub use problem::{ConfigError, Problem};
pub use results::{Benchmark, Metric, Reference, ResultsFile};
pub use semantics::find_cycle;
pub use site::{
    Codecov, Github, Gitlab, Limits, Project, Publish, ResultsBranch, Scheduler, TokenSource,
    Trust, Workspace,
};
pub use step::{CommandLine, Conditions, Cwd, StepCoverage, StepKind, StepSpec, VariableCondition};
pub use suggest::near;
pub use suite::{BuildSpec, Coverage, Environment, Launcher};
pub use units::{Memory, UnitError, Walltime};

/// A file of settings as it was read, under the name by which people know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct File<'t> {
    /// The name shown in messages.
    pub name: &'t str,
    /// What it holds.
    pub text: &'t str,
}

/// The most bytes of a file of settings: ten thousand steps, each with a table of its own, take one.
pub const MOST_BYTES: u64 = 2 << 20;

/// What settings may depend on.
#[derive(Debug, Clone, Copy)]
pub struct Context<'c> {
    /// Variables for `$VAR` in paths. For a [`Suite`] they must be free of secrets: its text is the commit's.
    pub environment: &'c BTreeMap<String, String>,
    /// What `~` stands for; without it, the variable `HOME`.
    pub home: Option<&'c str>,
    /// The cluster whose `[cluster.NAME.…]` tables hold.
    pub cluster: Option<&'c str>,
}

/// Where and for whom code runs, from trusted files only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Site {
    /// The cluster whose overrides were applied.
    pub cluster: Option<String>,
    /// What is tested.
    pub project: Project,
    /// Where things are kept.
    pub workspace: Workspace,
    /// How the scheduler is asked.
    pub scheduler: Scheduler,
    /// Where results are sent.
    pub publish: Publish,
    /// What the checked-out code is trusted with.
    pub trust: Trust,
    #[serde(skip)]
    settings: Vec<Setting>,
}

/// What to test, from the commit.
#[derive(Debug, Clone, PartialEq)]
pub struct Suite {
    /// Each `[build.NAME]`.
    pub builds: Vec<BuildSpec>,
    /// Each `[[test]]`, then each `[[benchmark]]`.
    pub steps: Vec<StepSpec>,
    /// What counts as covered code.
    pub coverage: Coverage,
    /// The tables of `[gates.*]` as they were written.
    pub gates: toml::Table,
    /// What shells are prepared with.
    pub environment: Environment,
    /// How ranks are started.
    pub launcher: Launcher,
    ignored: Vec<Ignored>,
    settings: Vec<Setting>,
}

impl Site {
    /// Reads the trusted files: `site` is the site's own, `local` the `hpc.toml` that hpc-ci was started with.
    ///
    /// The local file is checked as a whole, its suite too, so that all its mistakes are told at once. `overrides` are
    /// flags and environment variables, the later above the earlier.
    pub fn read(
        site: Option<File>,
        local: Option<File>,
        overrides: &[Override],
        context: &Context,
    ) -> Result<Self, ConfigError> {
        let (tables, settings) = layers::read_site(site, local, overrides, context)?;
        Ok(Self {
            cluster: context.cluster.map(str::to_owned),
            project: tables.project,
            workspace: tables.workspace,
            scheduler: tables.scheduler,
            publish: tables.publish,
            trust: tables.trust,
            settings,
        })
    }

    /// Returns every setting in force, with its origin.
    #[must_use]
    pub fn settings(&self) -> &[Setting] {
        &self.settings
    }
}

impl Suite {
    /// Reads the commit's file. What it says about the site is ignored; [`Suite::ignored`] lists where it differs.
    pub fn read(file: File, site: &Site, context: &Context) -> Result<Self, ConfigError> {
        let (tables, settings, ignored) = layers::read_suite(file, site, context)?;
        Ok(Self {
            builds: tables.builds,
            steps: tables.steps,
            coverage: tables.coverage,
            gates: tables.gates,
            environment: tables.environment,
            launcher: tables.launcher,
            ignored,
            settings,
        })
    }

    /// Returns every setting in force, with its origin.
    #[must_use]
    pub fn settings(&self) -> &[Setting] {
        &self.settings
    }

    /// Returns what the commit's file asks of the site, differs from what is in force, and is not granted.
    #[must_use]
    pub fn ignored(&self) -> &[Ignored] {
        &self.ignored
    }

    /// Returns the build of this name.
    #[must_use]
    pub fn build(&self, name: &str) -> Option<&BuildSpec> {
        self.builds.iter().find(|build| build.name == name)
    }
}

#[cfg(test)]
mod broken;
#[cfg(test)]
mod tests;
