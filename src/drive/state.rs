//! The state of a run as a fold over its events, and what follows from it. No clock, no Slurm.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::plan::{Disposition, Expect, Plan, Step};
use crate::scheduler::{JobId, Outcome, Status, Verdict};

/// What happened, in the order in which it was written to the journal.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The run began.
    Started {
        /// Its id.
        run: String,
        /// The commit.
        commit: String,
    },
    /// A build left its programs.
    Built {
        /// The build's id.
        build: String,
        /// How long it took.
        seconds: f64,
    },
    /// A build failed.
    BuildFailed {
        /// The build's id.
        build: String,
        /// Whether the code under test is at fault.
        fault_of_code: bool,
        /// What happened.
        message: String,
    },
    /// A job is about to be submitted under this name.
    Submitting {
        /// The step's slug.
        step: String,
        /// Which attempt, from 1.
        attempt: u32,
        /// The job's unique name.
        name: String,
    },
    /// The scheduler took the job.
    Submitted {
        /// The step's slug.
        step: String,
        /// Which attempt.
        attempt: u32,
        /// The job.
        job: JobId,
    },
    /// The scheduler took no job; it may later.
    NotSubmitted {
        /// The step's slug.
        step: String,
        /// Which attempt.
        attempt: u32,
    },
    /// An attempt ended, or never began.
    Ended {
        /// The step's slug.
        step: String,
        /// Which attempt.
        attempt: u32,
        /// How.
        verdict: Verdict,
    },
    /// Somebody asked the run to stop.
    Stopping {
        /// The signal's number.
        signal: i32,
    },
    /// The run ended.
    Finished {
        /// Its exit code.
        exit_code: u8,
    },
}

/// How far a step is.
#[derive(Debug, Clone, PartialEq)]
pub enum Progress {
    /// It waits for its build, its needs or room.
    Waiting,
    /// Its job is being submitted.
    Submitting,
    /// The scheduler has its job.
    Live(JobId),
    /// It has ended.
    Done(Verdict),
}

/// One step of the run.
#[derive(Debug, Clone)]
pub struct StepState {
    /// Which attempt is the current one, from 1.
    pub attempt: u32,
    /// How far it is.
    pub progress: Progress,
    name: String,
    needs: Vec<usize>,
    build: String,
    serial: Option<String>,
    retries: u32,
    expect: Expect,
}

impl StepState {
    /// Returns how the step ended, if it has.
    #[must_use]
    pub fn verdict(&self) -> Option<&Verdict> {
        match &self.progress {
            Progress::Done(verdict) => Some(verdict),
            Progress::Waiting | Progress::Submitting | Progress::Live(_) => None,
        }
    }

    /// Returns whether the step passed only after a failing attempt.
    #[must_use]
    pub fn flaky(&self) -> bool {
        self.attempt > 1
            && self
                .verdict()
                .is_some_and(|verdict| verdict.outcome == Outcome::Passed)
    }
}

#[derive(Debug, Clone, PartialEq)]
enum BuildState {
    Pending,
    Built,
    Failed,
}

/// The state of a run.
#[derive(Debug, Clone)]
pub struct RunState {
    slugs: BTreeMap<String, usize>,
    steps: Vec<StepState>,
    builds: BTreeMap<String, BuildState>,
    stopping: bool,
}

impl RunState {
    /// Returns the state before anything happened: skipped and refused steps have ended already.
    #[must_use]
    pub fn new(plan: &Plan) -> Self {
        let names: BTreeMap<&str, usize> = plan
            .steps
            .iter()
            .enumerate()
            .map(|(index, step)| (step.name.as_str(), index))
            .collect();
        let needs = |step: &Step| {
            let index = |name: &String| names.get(name.as_str()).copied();
            step.needs.iter().filter_map(index).collect()
        };
        let mut state = Self {
            slugs: plan
                .steps
                .iter()
                .enumerate()
                .map(|(index, step)| (step.slug.clone(), index))
                .collect(),
            steps: plan
                .steps
                .iter()
                .map(|step| StepState {
                    attempt: 1,
                    progress: at_rest(&step.disposition),
                    name: step.name.clone(),
                    needs: needs(step),
                    build: step.build.clone(),
                    serial: step.serial.clone(),
                    retries: step.retries,
                    expect: step.expect,
                })
                .collect(),
            builds: plan
                .builds
                .iter()
                .map(|build| (build.id.clone(), BuildState::Pending))
                .collect(),
            stopping: false,
        };
        state.propagate();
        state
    }

    /// Returns the steps, in the plan's order.
    #[must_use]
    pub fn steps(&self) -> &[StepState] {
        &self.steps
    }

    /// Returns whether every step has ended.
    #[must_use]
    pub fn finished(&self) -> bool {
        self.steps.iter().all(|step| step.verdict().is_some())
    }

    /// Returns the live jobs with their steps.
    pub fn live(&self) -> impl Iterator<Item = (usize, &JobId)> {
        self.steps
            .iter()
            .enumerate()
            .filter_map(|(index, step)| match &step.progress {
                Progress::Live(job) => Some((index, job)),
                Progress::Waiting | Progress::Submitting | Progress::Done(_) => None,
            })
    }

    /// Returns the steps that may start now: built, their needs passed, their serial group free, within `room` jobs.
    #[must_use]
    pub fn startable(&self, room: usize) -> Vec<usize> {
        if self.stopping {
            return Vec::new();
        }
        let active =
            |step: &&StepState| matches!(step.progress, Progress::Submitting | Progress::Live(_));
        let mut groups: Vec<&str> = self
            .steps
            .iter()
            .filter(active)
            .filter_map(|step| step.serial.as_deref())
            .collect();
        let room = room.saturating_sub(self.steps.iter().filter(active).count());
        let mut ready = Vec::new();
        for (index, step) in self.steps.iter().enumerate() {
            if ready.len() == room {
                break;
            }
            if step.progress != Progress::Waiting || !self.released(step) {
                continue;
            }
            if let Some(group) = step.serial.as_deref() {
                if groups.contains(&group) {
                    continue;
                }
                groups.push(group);
            }
            ready.push(index);
        }
        ready
    }

    fn released(&self, step: &StepState) -> bool {
        let passed = |index: &usize| {
            self.steps[*index]
                .verdict()
                .is_some_and(|verdict| verdict.outcome == Outcome::Passed)
        };
        self.builds.get(&step.build) == Some(&BuildState::Built) && step.needs.iter().all(passed)
    }

    /// Takes an event in. Events about steps that are not in the plan, or that have ended, change nothing.
    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::Started { .. } | Event::Finished { .. } => {}
            Event::Built { build, .. } => self.set_build(build, BuildState::Built),
            Event::BuildFailed { build, .. } => self.set_build(build, BuildState::Failed),
            Event::Submitting { step, attempt, .. } => {
                self.advance(step, *attempt, |step| step.progress = Progress::Submitting);
            }
            Event::Submitted { step, attempt, job } => {
                self.advance(step, *attempt, |step| {
                    step.progress = Progress::Live(job.clone());
                });
            }
            Event::NotSubmitted { step, attempt } => {
                self.advance(step, *attempt, |step| step.progress = Progress::Waiting);
            }
            Event::Ended {
                step,
                attempt,
                verdict,
            } => {
                let stopping = self.stopping;
                self.advance(step, *attempt, |step| step.end(verdict.clone(), stopping));
            }
            Event::Stopping { .. } => {
                self.stopping = true;
                for step in &mut self.steps {
                    if step.progress == Progress::Waiting {
                        step.progress =
                            Progress::Done(not_run("the run was stopped before the step began"));
                    }
                }
            }
        }
        self.propagate();
    }

    fn set_build(&mut self, build: &str, state: BuildState) {
        if let Some(slot) = self.builds.get_mut(build) {
            *slot = state;
        }
    }

    fn advance(&mut self, slug: &str, attempt: u32, change: impl FnOnce(&mut StepState)) {
        let Some(&index) = self.slugs.get(slug) else {
            return;
        };
        let step = &mut self.steps[index];
        if step.verdict().is_none() && step.attempt == attempt {
            change(step);
        }
    }

    /// Ends the steps that can never start: their build failed, or one of their needs did not pass.
    fn propagate(&mut self) {
        loop {
            let lost: Vec<(usize, String)> = self
                .steps
                .iter()
                .enumerate()
                .filter(|(_, step)| step.progress == Progress::Waiting)
                .filter_map(|(index, step)| Some((index, self.obstacle(step)?)))
                .collect();
            if lost.is_empty() {
                return;
            }
            for (index, why) in lost {
                self.steps[index].progress = Progress::Done(not_run(&why));
            }
        }
    }

    fn obstacle(&self, step: &StepState) -> Option<String> {
        if self.builds.get(&step.build) == Some(&BuildState::Failed) {
            return Some(format!("build `{}` failed", step.build));
        }
        let blocked = step.needs.iter().find_map(|&index| {
            let outcome = self.steps[index].verdict()?.outcome;
            (outcome != Outcome::Passed).then_some((index, outcome))
        });
        let (index, outcome) = blocked?;
        let name = &self.steps[index].name;
        Some(format!("it needs `{name}`, which ended `{outcome}`"))
    }
}

impl StepState {
    fn end(&mut self, verdict: Verdict, stopping: bool) {
        let verdict = expected(verdict, self.expect);
        let again =
            verdict.outcome.status() == Status::Failed && self.attempt <= self.retries && !stopping;
        if again {
            self.attempt += 1;
            self.progress = Progress::Waiting;
        } else {
            self.progress = Progress::Done(verdict);
        }
    }
}

/// Turns what happened into what it means for a step that is expected to fail or to run out of time.
fn expected(verdict: Verdict, expect: Expect) -> Verdict {
    let as_expected = match expect {
        Expect::Pass => return verdict,
        Expect::Fail => matches!(verdict.outcome, Outcome::Failed | Outcome::Signal),
        Expect::Timeout => verdict.outcome == Outcome::Timeout,
    };
    if as_expected {
        return Verdict {
            outcome: Outcome::Passed,
            message: format!("ended `{}`, as expected", verdict.outcome),
            ..verdict
        };
    }
    if verdict.outcome == Outcome::Passed {
        return Verdict {
            outcome: Outcome::Failed,
            message: "passed, and was expected not to".to_owned(),
            ..verdict
        };
    }
    verdict
}

fn at_rest(disposition: &Disposition) -> Progress {
    match disposition {
        Disposition::Run => Progress::Waiting,
        Disposition::Skip { reason } => {
            Progress::Done(Verdict::new(Outcome::Skipped, reason.clone()))
        }
        Disposition::Refuse { reason, help } => {
            Progress::Done(Verdict::new(Outcome::Rejected, format!("{reason}; {help}")))
        }
    }
}

fn not_run(why: &str) -> Verdict {
    Verdict::new(Outcome::NotRun, why.to_owned())
}
