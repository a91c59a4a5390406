//! The plan of a run: builds and steps with everything resolved, in an order in which they may run.
//!
//! Pure: [`Site`] and [`Suite`] are multiplied out, filtered and held against the site's limits. A plan is kept with its
//! run as `plan.json`, so that a resumed run does what was planned and not what the files say by then. How steps become
//! jobs is for the scheduler, how ranks are started for the launcher; the plan only says what was asked for.

#![expect(
    clippy::similar_names,
    reason = "site and suite are the words of this project"
)]

mod builds;
mod coverage;
mod error;
mod filter;
mod graph;
pub mod group;
mod later;
mod limits;
mod matrix;
pub mod misread;
mod needs;
mod side_job;
mod slug;
mod steps;
#[cfg(test)]
mod tests;
pub mod trust;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use crate::config::{
    Benchmark, Better, CommandLine, Cwd, Environment, Expect, Launcher, LauncherKind, Memory,
    Metric, Pmi, Producer, ResultsFile, ResultsFormat, StepKind, Strategy,
};
use crate::config::{Site, Suite};
pub use error::PlanError;
pub use filter::{Filter, FilterError};
pub use slug::{project_key, slug};

/// The commit that a plan is for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    /// Its full hash.
    pub commit: String,
    /// The branch it was taken from, if any.
    pub branch: Option<String>,
    /// The tag it was taken from, if any.
    pub tag: Option<String>,
    /// Whether the tree differs from the commit.
    pub dirty: bool,
}

/// What of a suite is asked for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Selection {
    /// Which kinds of steps.
    pub kinds: Kinds,
    /// Leave the builds uninstrumented.
    pub no_coverage: bool,
    /// `--ranks`: selects where an axis has it, replaces where none does.
    pub ranks: Option<u32>,
    /// `--features`, one set an entry: selects where an axis has it, replaces where none does.
    pub features: Vec<String>,
    /// Parts of names, of which one must occur.
    pub names: Vec<String>,
    /// `--filter`.
    pub filter: Option<Filter>,
    /// `--failed`: the names to choose from.
    pub among: Option<BTreeSet<String>>,
    /// The caller's variables, for `only` and `skip`.
    pub environment: BTreeMap<String, String>,
}

/// Which kinds of steps are asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kinds {
    /// Tests and benchmarks.
    #[default]
    All,
    /// `--tests-only`.
    Tests,
    /// `--benchmarks-only`.
    Benchmarks,
}

/// Everything that a run does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The commit.
    pub revision: Revision,
    /// The builds that the steps need.
    pub builds: Vec<Build>,
    /// The steps; each stands after those that it needs.
    pub steps: Vec<Step>,
    /// What is said aloud before the run.
    pub notes: Vec<String>,
    /// Where the coverage is made.
    #[serde(default)]
    pub coverage: Place,
}

/// One build with one set of features, which has a work tree of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Build {
    /// Safe as a file's name, and unique in the plan.
    pub id: String,
    /// The name of its `[build.NAME]`.
    pub name: String,
    /// Its set of features; `None` where no axis has any, or the empty set.
    pub features: Option<String>,
    /// What builds, features replaced; `None`: there is nothing to build.
    pub command: Option<CommandLine>,
    /// What brings dependencies in.
    pub fetch: Option<CommandLine>,
    /// What its coverage is made of.
    pub coverage: Producer,
    /// Where it is built.
    pub place: Place,
    /// Whether its tree is kept between runs.
    pub reuse: bool,
    /// What its shell is prepared with.
    pub environment: Environment,
}

/// Where a build takes place, or the coverage is made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// In the driver's own process tree.
    #[default]
    Here,
    /// In a job.
    Job(JobPlace),
}

/// What such a job asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobPlace {
    /// How long it may take.
    pub time: Duration,
    /// Its processors.
    pub cpus: Option<u32>,
    /// Its memory.
    pub memory: Option<Memory>,
    /// Its partition.
    pub partition: Option<String>,
    /// What it asks for beyond its time.
    #[serde(default)]
    pub margin: Duration,
}

impl JobPlace {
    /// Returns the node-hours that it asks for.
    #[must_use]
    pub fn node_hours(&self) -> f64 {
        (self.time + self.margin).as_secs_f64() / 3600.0
    }
}

/// One test or benchmark at one point of its matrix.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Its name, such as `halo[ranks=4,features=rma]`.
    pub name: String,
    /// The name as a file's name: safe, and unique in the plan.
    pub slug: String,
    /// Test or benchmark.
    pub kind: StepKind,
    /// The suite it is counted in.
    pub suite: String,
    /// Words to select it by.
    pub tags: Vec<String>,
    /// The command, words replaced.
    pub command: CommandLine,
    /// The id of its build.
    pub build: String,
    /// Axes and values of its point, in the order they were written.
    pub axes: Vec<(String, String)>,
    /// What it asks of the scheduler.
    pub resources: Resources,
    /// How its ranks are started.
    pub launcher: Launcher,
    /// What its shell is prepared with.
    pub environment: Environment,
    /// Where it runs.
    pub cwd: Cwd,
    /// The group whose steps never overlap.
    pub serial: Option<String>,
    /// Commands before it.
    pub before: Vec<CommandLine>,
    /// Commands after it.
    pub after: Vec<CommandLine>,
    /// Names of the steps that must have passed.
    pub needs: Vec<String>,
    /// How often it is tried again when it fails.
    pub retries: u32,
    /// How it has to end.
    pub expect: Expect,
    /// A file in which it lists its tests.
    pub results: Option<ResultsFile>,
    /// What writes its coverage.
    pub coverage: Producer,
    /// Patterns of files that are kept with the run.
    pub keep: Vec<String>,
    /// How much may be kept of an attempt.
    #[serde(default)]
    pub keep_bounds: KeepBounds,
    /// How it becomes a job.
    pub strategy: Strategy,
    /// Whether it runs.
    pub disposition: Disposition,
}

/// How much may be kept of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeepBounds {
    /// Bytes.
    pub bytes: u64,
    /// Files.
    pub files: u64,
}

impl Default for KeepBounds {
    fn default() -> Self {
        Self {
            bytes: u64::MAX,
            files: u64::MAX,
        }
    }
}

/// What a step asks of the scheduler.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Resources {
    /// How many ranks.
    pub ranks: u32,
    /// How many nodes; `None` leaves the choice to the scheduler.
    pub nodes: Option<u32>,
    /// The most nodes that the scheduler may choose, by the site's limits.
    pub max_nodes: Option<u32>,
    /// How many ranks on a node.
    pub ranks_per_node: Option<u32>,
    /// How many processors for a rank.
    pub cpus_per_rank: Option<u32>,
    /// How many graphics processors for a rank.
    pub gpus_per_rank: Option<u32>,
    /// Generic resources of a node.
    pub gres: Option<String>,
    /// Memory of a node.
    pub memory: Option<Memory>,
    /// Memory for a processor.
    pub memory_per_cpu: Option<Memory>,
    /// Whether the nodes are its own.
    pub exclusive: bool,
    /// The partition.
    pub partition: Option<String>,
    /// The account.
    pub account: Option<String>,
    /// The quality of service.
    pub qos: Option<String>,
    /// A reservation.
    pub reservation: Option<String>,
    /// Features that nodes must have.
    pub constraint: Option<String>,
    /// The time for the program.
    pub time: Duration,
    /// What the job asks for beyond that.
    pub margin: Duration,
    /// How long it may wait in the queue.
    pub max_pending: Duration,
    /// Further options of `sbatch`: the site's, then the step's where they are trusted.
    pub options: Vec<String>,
}

/// Whether a step runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Disposition {
    /// It runs.
    Run,
    /// Its own conditions leave it out.
    Skip {
        /// Which one.
        reason: String,
    },
    /// It asks for more than the site grants.
    Refuse {
        /// What.
        reason: String,
        /// What to do about it.
        help: String,
    },
}

/// Plans a run: what `selection` asks of `suite`, within what `site` grants.
pub fn plan(
    site: &Site,
    suite: &Suite,
    revision: &Revision,
    selection: &Selection,
) -> Result<Plan, PlanError> {
    let mut notes: Vec<String> = suite.ignored().iter().map(ToString::to_string).collect();
    let points = matrix::expand(suite, selection)?;
    let points = filter::select(points, selection, &mut notes)?;
    let (mut steps, builds) = steps::resolve(site, suite, selection, &points, &mut notes)?;
    let mut coverage = coverage::place(suite, site, &steps, &mut notes);
    limits::apply(&mut steps, builds.all(), &coverage, site);
    if !steps.iter().any(Step::runs) {
        coverage = Place::Here;
    }
    let builds = builds.needed_by(&steps);
    notes.extend(later::notes(suite, &builds));
    Ok(Plan {
        revision: revision.clone(),
        builds,
        steps,
        notes,
        coverage,
    })
}

impl Plan {
    /// Returns the node-hours that the run asks for, at most; job builds are not counted.
    #[must_use]
    pub fn node_hours(&self) -> f64 {
        let coverage = match &self.coverage {
            Place::Job(job) => job.node_hours(),
            Place::Here => 0.0,
        };
        self.steps.iter().map(Step::node_hours).sum::<f64>() + coverage
    }

    /// Returns the step of this name.
    #[must_use]
    pub fn step(&self, name: &str) -> Option<&Step> {
        self.steps.iter().find(|step| step.name == name)
    }

    /// Returns the build of this id.
    #[must_use]
    pub fn build(&self, id: &str) -> Option<&Build> {
        self.builds.iter().find(|build| build.id == id)
    }
}

impl Step {
    /// Returns whether the step runs.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.disposition == Disposition::Run
    }

    /// Returns the node-hours that its job asks for; none, if it does not run.
    #[must_use]
    pub fn node_hours(&self) -> f64 {
        if self.runs() {
            self.resources.node_hours()
        } else {
            0.0
        }
    }
}

impl Resources {
    /// Returns the nodes that are asked for, or the fewest that ranks and `ranks_per_node` allow.
    #[must_use]
    pub fn least_nodes(&self) -> u32 {
        let by_ranks = self
            .ranks_per_node
            .map(|each| self.ranks.div_ceil(each.max(1)));
        self.nodes.or(by_ranks).unwrap_or(1).max(1)
    }

    /// Returns what the job asks for: nodes × (time + margin).
    #[must_use]
    pub fn node_hours(&self) -> f64 {
        f64::from(self.least_nodes()) * (self.time + self.margin).as_secs_f64() / 3600.0
    }
}
