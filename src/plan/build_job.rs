//! A build that is a job, as the plan of its only step.

use super::{
    Build, CommandLine, Cwd, Disposition, Environment, Expect, JobPlace, Launcher, Plan, Producer,
    Resources, Step, StepKind, Strategy,
};
use crate::config::{LauncherKind, Scheduler};

impl Build {
    /// Returns the plan of a job in which this command makes the build.
    ///
    /// Its slug begins with a `+`, which that of no other step does: events of both may stand in one journal.
    #[must_use]
    pub fn job_plan(
        &self,
        run: &Plan,
        place: &JobPlace,
        scheduler: &Scheduler,
        command: CommandLine,
    ) -> Plan {
        let step = Step {
            name: format!("build {}", self.id),
            slug: format!("+{}", self.id),
            kind: StepKind::Test,
            suite: "builds".to_owned(),
            tags: Vec::new(),
            command,
            build: self.id.clone(),
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
            // The build's own script prepares its shell.
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
            strategy: Strategy::Jobs,
            disposition: Disposition::Run,
        };
        Plan {
            revision: run.revision.clone(),
            builds: vec![self.clone()],
            steps: vec![step],
            notes: Vec::new(),
        }
    }
}
