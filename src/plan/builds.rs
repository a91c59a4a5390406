//! Which builds the steps need: one for each `[build.NAME]` and set of features.

use std::collections::{HashMap, HashSet};

use super::matrix::Point;
use super::{
    Build, CommandLine, Disposition, JobPlace, Place, PlanError, Producer, Selection, Step,
    StepKind, slug,
};
use crate::config::{BuildSpec, Site, Suite, Where, placeholder};

/// The builds in the order in which steps asked for them.
#[derive(Debug, Default)]
pub(super) struct Builds {
    made: Vec<Build>,
    places: HashMap<(String, Option<String>), usize>,
    ids: HashSet<String>,
}

impl Builds {
    /// Returns the build of a point, made when it is asked for first.
    pub(super) fn for_point(
        &mut self,
        point: &Point,
        site: &Site,
        suite: &Suite,
        selection: &Selection,
    ) -> Result<&Build, PlanError> {
        let usual = match point.spec.kind {
            StepKind::Test => "tests",
            StepKind::Benchmark(_) => "benchmarks",
        };
        let name = point.spec.build.as_deref().unwrap_or(usual);
        // The empty set of features builds the same as none.
        let features = point
            .features
            .clone()
            .filter(|features| !features.is_empty());
        let key = (name.to_owned(), features);
        let index = self.places.get(&key).copied().unwrap_or(self.made.len());
        if index == self.made.len() {
            let build = self.make(&key.0, key.1.as_deref(), site, suite, selection)?;
            self.made.push(build);
            self.places.insert(key, index);
        }
        Ok(&self.made[index])
    }

    fn make(
        &mut self,
        name: &str,
        features: Option<&str>,
        site: &Site,
        suite: &Suite,
        selection: &Selection,
    ) -> Result<Build, PlanError> {
        let own = suite.build(name);
        // Benchmarks without a build of their own are built as the tests are, only plain.
        let spec = own.or_else(|| suite.build("tests").filter(|_| name == "benchmarks"));
        let instrumented = name != "benchmarks" && !selection.no_coverage;
        let coverage = spec.map(|spec| spec.coverage).filter(|_| instrumented);
        let command = |command: Option<&CommandLine>| {
            command
                .map(|command| expand(name, command, features))
                .transpose()
        };
        Ok(Build {
            id: self.id(name, features),
            name: name.to_owned(),
            features: features.map(str::to_owned),
            command: command(spec.and_then(|spec| spec.command.as_ref()))?,
            fetch: command(spec.and_then(|spec| spec.fetch.as_ref()))?,
            coverage: coverage.unwrap_or(Producer::None),
            place: spec.map_or(Place::Here, |spec| place(spec, site)),
            reuse: spec.is_some_and(|spec| spec.reuse),
            environment: suite.environment.clone(),
        })
    }

    fn id(&mut self, name: &str, features: Option<&str>) -> String {
        match features {
            None => slug::unique(name, false, &mut self.ids),
            // The NUL keeps `a-b` with `c` and `a` with `b-c` apart; it becomes a dash.
            Some(features) => slug::unique(&format!("{name}\0{features}"), true, &mut self.ids),
        }
    }

    /// Returns all that were made.
    pub(super) fn all(&self) -> &[Build] {
        &self.made
    }

    /// Returns those that steps which run use.
    pub(super) fn needed_by(self, steps: &[Step]) -> Vec<Build> {
        let runs = steps
            .iter()
            .filter(|step| step.disposition == Disposition::Run);
        let used: HashSet<&str> = runs.map(|step| step.build.as_str()).collect();
        let builds = self.made.into_iter();
        builds
            .filter(|build| used.contains(build.id.as_str()))
            .collect()
    }
}

fn place(spec: &BuildSpec, site: &Site) -> Place {
    match spec.place {
        Where::Here => Place::Here,
        Where::Job => Place::Job(JobPlace {
            time: spec.time.unwrap_or(site.scheduler.time).duration(),
            cpus: spec.cpus,
            memory: spec.memory,
            partition: spec
                .partition
                .clone()
                .or_else(|| site.scheduler.partition.clone()),
            margin: site.scheduler.margin.duration(),
        }),
    }
}

fn expand(
    name: &str,
    command: &CommandLine,
    features: Option<&str>,
) -> Result<CommandLine, PlanError> {
    let text = |text: &String| {
        let value = |word: &str| (word == "features").then(|| features.unwrap_or_default().into());
        placeholder::expand(text, value).map_err(|error| PlanError::UnknownWord {
            step: name.to_owned(),
            word: error.word,
        })
    };
    Ok(match command {
        CommandLine::Shell(line) => CommandLine::Shell(text(line)?),
        CommandLine::Argv(argv) => {
            CommandLine::Argv(argv.iter().map(text).collect::<Result<_, _>>()?)
        }
    })
}
