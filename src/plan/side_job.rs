//! Jobs beside those of the steps, each as the plan of its only step: a build, and making the coverage.
//!
//! Their slugs begin with a `+`, which that of no step does: events of all may stand in one journal.

use super::{
    Build, CommandLine, Cwd, Disposition, Environment, Expect, JobPlace, KeepBounds, Launcher,
    Place, Plan, Producer, Resources, Step, StepKind, Strategy,
};
use crate::config::{LauncherKind, Scheduler};

/// What the job is for.
struct Purpose {
    name: String,
    slug: String,
    suite: &'static str,
}

impl Build {
    /// Returns the plan of a job in which this command makes the build.
    #[must_use]
    pub fn job_plan(
        &self,
        run: &Plan,
        place: &JobPlace,
        scheduler: &Scheduler,
        command: CommandLine,
    ) -> Plan {
        let purpose = Purpose {
            name: format!("build {}", self.id),
            slug: format!("+{}", self.id),
            suite: "builds",
        };
        alone(run, self.clone(), purpose, place, scheduler, command)
    }
}

impl Plan {
    /// Returns the plan of a job in which this command makes the coverage of the run.
    #[must_use]
    pub fn coverage_job(
        &self,
        place: &JobPlace,
        scheduler: &Scheduler,
        command: CommandLine,
    ) -> Self {
        let purpose = Purpose {
            name: "coverage".to_owned(),
            // That of a build may be `+coverage`.
            slug: "++coverage".to_owned(),
            suite: "coverage",
        };
        // A step has a build; this one's is there already, whatever became of others.
        let none = Build {
            id: purpose.slug.clone(),
            name: purpose.name.clone(),
            features: None,
            command: None,
            fetch: None,
            coverage: Producer::None,
            place: Place::Here,
            reuse: false,
            environment: Environment::default(),
        };
        alone(self, none, purpose, place, scheduler, command)
    }
}

fn alone(
    run: &Plan,
    build: Build,
    purpose: Purpose,
    place: &JobPlace,
    scheduler: &Scheduler,
    command: CommandLine,
) -> Plan {
    let step = Step {
        name: purpose.name,
        slug: purpose.slug,
        kind: StepKind::Test,
        suite: purpose.suite.to_owned(),
        tags: Vec::new(),
        command,
        build: build.id.clone(),
        axes: Vec::new(),
        resources: Resources {
            ranks: 1,
            nodes: Some(1),
            cpus_per_rank: place.cpus,
            memory: place.memory,
            partition: place.partition.clone(),
            account: scheduler.account.clone(),
            qos: scheduler.qos.clone(),
            time: place.time,
            margin: scheduler.margin.duration(),
            max_pending: scheduler.max_pending.duration(),
            options: scheduler.options.clone(),
            ..Resources::default()
        },
        launcher: Launcher {
            kind: LauncherKind::None,
            ..Launcher::default()
        },
        // A build's own script prepares its shell, and so does the coverage engine.
        environment: Environment {
            init: "none".to_owned(),
            ..Environment::default()
        },
        cwd: Cwd::Tree,
        serial: None,
        before: Vec::new(),
        after: Vec::new(),
        needs: Vec::new(),
        retries: 0,
        expect: Expect::Pass,
        results: None,
        coverage: Producer::None,
        keep: Vec::new(),
        keep_bounds: KeepBounds::default(),
        strategy: Strategy::Jobs,
        disposition: Disposition::Run,
    };
    Plan {
        revision: run.revision.clone(),
        builds: vec![build],
        steps: vec![step],
        notes: Vec::new(),
        coverage: Place::Here,
    }
}
