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

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::{Context, File, Site, Suite};
    use crate::plan::{Revision, Selection, plan};

    fn state(text: &str) -> RunState {
        let variables = BTreeMap::new();
        let context = Context {
            environment: &variables,
            home: Some("/home/u"),
            cluster: None,
        };
        let file = File {
            name: "hpc.toml",
            text,
        };
        let site = Site::read(None, Some(file), &[], &context).unwrap();
        let tests = Suite::read(file, &site, &context).unwrap();
        let plan = plan(&site, &tests, &Revision::default(), &Selection::default()).unwrap();
        RunState::new(&plan)
    }

    const STEPS: &str = r#"
[build.tests]
command = "make"
[[test]]
name = "first"
command = "true"
retries = 1
[[test]]
name = "second"
command = "true"
needs = ["first"]
[[test]]
name = "third"
command = "true"
serial = "disk"
[[test]]
name = "fourth"
command = "true"
serial = "disk"
"#;

    fn built() -> Event {
        Event::Built {
            build: "tests".into(),
            seconds: 1.0,
        }
    }

    fn submitted(step: &str, attempt: u32) -> Event {
        Event::Submitted {
            step: step.into(),
            attempt,
            job: "7".parse().unwrap(),
        }
    }

    fn ended(step: &str, attempt: u32, outcome: Outcome) -> Event {
        Event::Ended {
            step: step.into(),
            attempt,
            verdict: Verdict::new(outcome, "x"),
        }
    }

    fn outcomes(state: &RunState) -> Vec<Option<Outcome>> {
        let outcome = |step: &StepState| step.verdict().map(|verdict| verdict.outcome);
        state.steps().iter().map(outcome).collect()
    }

    #[test]
    fn steps_wait_for_build_needs_and_their_serial_group() {
        let mut state = state(STEPS);
        assert_eq!(state.startable(9), Vec::<usize>::new());
        state.apply(&built());
        assert_eq!(state.startable(9), [0, 2]);
        assert_eq!(state.startable(1), [0], "no more than there is room for");
        state.apply(&submitted("third", 1));
        assert_eq!(state.startable(9), [0]);
        state.apply(&ended("third", 1, Outcome::Passed));
        state.apply(&ended("first", 1, Outcome::Passed));
        assert_eq!(state.startable(9), [1, 3]);
    }

    #[test]
    fn a_failing_step_is_tried_again_and_takes_those_that_need_it_along() {
        let mut state = state(STEPS);
        state.apply(&built());
        state.apply(&ended("first", 1, Outcome::Failed));
        assert_eq!((state.steps()[0].attempt, outcomes(&state)[0]), (2, None));
        let mut flaky = state.clone();
        flaky.apply(&ended("first", 2, Outcome::Passed));
        assert!(flaky.steps()[0].flaky());
        state.apply(&ended("first", 2, Outcome::Failed));
        assert_eq!(
            outcomes(&state)[..2],
            [Some(Outcome::Failed), Some(Outcome::NotRun)]
        );
    }

    #[test]
    fn what_the_machine_did_is_not_tried_again() {
        let mut state = state(STEPS);
        state.apply(&built());
        state.apply(&ended("first", 1, Outcome::NodeFailure));
        assert_eq!(outcomes(&state)[0], Some(Outcome::NodeFailure));
    }

    #[test]
    fn a_failed_build_and_a_stop_leave_nothing_waiting() {
        let mut failed = state(STEPS);
        failed.apply(&Event::BuildFailed {
            build: "tests".into(),
            fault_of_code: true,
            message: String::new(),
        });
        assert!(failed.finished());
        let mut stopped = state(STEPS);
        stopped.apply(&built());
        stopped.apply(&submitted("first", 1));
        stopped.apply(&Event::Stopping { signal: 2 });
        assert_eq!(stopped.startable(9), Vec::<usize>::new());
        assert!(!stopped.finished(), "a live job is waited for");
        stopped.apply(&ended("first", 1, Outcome::Cancelled));
        assert!(stopped.finished());
    }

    #[test]
    fn an_expected_end_passes_and_another_does_not() {
        for (expect, outcome, meant) in [
            ("fail", Outcome::Failed, Outcome::Passed),
            ("fail", Outcome::Signal, Outcome::Passed),
            ("fail", Outcome::Passed, Outcome::Failed),
            ("fail", Outcome::NodeFailure, Outcome::NodeFailure),
            ("timeout", Outcome::Timeout, Outcome::Passed),
            ("timeout", Outcome::Failed, Outcome::Failed),
        ] {
            let text =
                format!("[[test]]\nname = \"a\"\ncommand = \"true\"\nexpect = \"{expect}\"\n");
            let mut state = state(&text);
            state.apply(&ended("a", 1, outcome));
            assert_eq!(outcomes(&state), [Some(meant)], "{expect} {outcome}");
        }
    }

    fn any_event() -> impl Strategy<Value = Event> {
        let step = prop::sample::select(vec!["first", "second", "third", "fourth", "nobody"]);
        let outcome = prop::sample::select(Outcome::ALL.to_vec());
        prop_oneof![
            Just(built()),
            Just(Event::Stopping { signal: 15 }),
            (step.clone(), 1..3_u32).prop_map(|(step, attempt)| submitted(step, attempt)),
            (step, 1..3_u32, outcome)
                .prop_map(|(step, attempt, outcome)| ended(step, attempt, outcome)),
        ]
    }

    proptest! {
        #[test]
        fn a_step_that_has_ended_stays_as_it_is(events in prop::collection::vec(any_event(), 0..40)) {
            let mut state = state(STEPS);
            for event in events {
                let before = outcomes(&state);
                state.apply(&event);
                for (before, after) in before.iter().zip(outcomes(&state)) {
                    prop_assert!(before.is_none() || *before == after);
                }
            }
        }
    }
}
