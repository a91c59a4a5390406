//! The state of a run as a fold over its events, and what follows from it. No clock, no Slurm.

use std::collections::{BTreeMap, BTreeSet};

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
        /// Which part of the job it is, if others share it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        part: Option<Part>,
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
        /// It is tried once more, away from these nodes: not the step but its place was at fault.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        elsewhere: Option<Vec<String>>,
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

/// Which part of a job a step is, where several share it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// A task of an array.
    Task {
        /// The number of the array in the run folder.
        batch: u32,
        /// The number of the task.
        task: u32,
    },
    /// One of many in an allocation.
    Packed {
        /// The number of the pack in the run folder.
        batch: u32,
    },
}

impl Part {
    /// Returns whether the step shares an allocation with others.
    #[must_use]
    pub fn is_packed(self) -> bool {
        matches!(self, Self::Packed { .. })
    }

    /// Returns the id of a step that is this part of a job.
    #[must_use]
    pub fn of(part: Option<Self>, job: &JobId) -> JobId {
        match part {
            Some(Self::Task { task, .. }) => job.task(task),
            Some(Self::Packed { .. }) | None => job.clone(),
        }
    }
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
    /// Which part of its job it is, where several share it.
    pub part: Option<Part>,
    /// Nodes to keep away from: an attempt failed there, and the step was not at fault.
    pub avoid: Vec<String>,
    /// How many attempts ended because of their place.
    pub misplaced: u32,
    failures: u32,
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
        self.failures > 0
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
    /// The steps that need each step.
    dependents: Vec<Vec<usize>>,
    waiting: BTreeSet<usize>,
    /// Steps that are being submitted or have a job.
    active: BTreeSet<usize>,
    /// Steps that ended since somebody last took them.
    ended: Vec<usize>,
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
                    part: None,
                    avoid: Vec::new(),
                    misplaced: 0,
                    failures: 0,
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
            dependents: vec![Vec::new(); plan.steps.len()],
            waiting: BTreeSet::new(),
            active: BTreeSet::new(),
            ended: Vec::new(),
        };
        for index in 0..state.steps.len() {
            for need in state.steps[index].needs.clone() {
                state.dependents[need].push(index);
            }
        }
        (0..state.steps.len()).for_each(|index| state.moved(index));
        (0..state.steps.len()).for_each(|index| state.drop_lost(index));
        state
    }

    /// Returns the same, with attempts numbered from these on.
    #[must_use]
    pub fn from_attempts(plan: &Plan, attempts: &[u32]) -> Self {
        let mut state = Self::new(plan);
        for (step, attempt) in state.steps.iter_mut().zip(attempts) {
            step.attempt = *attempt;
        }
        state
    }

    /// Returns the steps, in the plan's order.
    #[must_use]
    pub fn steps(&self) -> &[StepState] {
        &self.steps
    }

    /// Returns the index of the step with this slug.
    #[must_use]
    pub fn index(&self, slug: &str) -> Option<usize> {
        self.slugs.get(slug).copied()
    }

    /// Returns whether every step has ended.
    #[must_use]
    pub fn finished(&self) -> bool {
        self.waiting.is_empty() && self.active.is_empty()
    }

    /// Returns the steps that have ended since the last call, in the order in which they did.
    pub fn take_ended(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.ended)
    }

    /// Returns the live jobs with their steps.
    pub fn live(&self) -> impl Iterator<Item = (usize, &JobId)> {
        self.active
            .iter()
            .filter_map(|&index| match &self.steps[index].progress {
                Progress::Live(job) => Some((index, job)),
                Progress::Waiting | Progress::Submitting | Progress::Done(_) => None,
            })
    }

    /// Returns the steps that may start now: built, their needs passed, their serial group free; at most `room` of those that
    /// are `counted`.
    #[must_use]
    pub fn startable(&self, room: usize, counted: impl Fn(usize) -> bool) -> Vec<usize> {
        if self.stopping {
            return Vec::new();
        }
        let active = self.active.iter().map(|&index| &self.steps[index]);
        let mut groups: BTreeSet<&str> = active.filter_map(|step| step.serial.as_deref()).collect();
        let mut ready = Vec::new();
        let mut left = room;
        for &index in &self.waiting {
            let step = &self.steps[index];
            let counts = counted(index);
            if counts && left == 0 || !self.released(step) {
                continue;
            }
            if step
                .serial
                .as_deref()
                .is_some_and(|group| !groups.insert(group))
            {
                continue;
            }
            left -= usize::from(counts);
            ready.push(index);
        }
        ready
    }

    /// Adds the steps that can share a job with these because all that they wait for is in it as well: `together` tells of a
    /// step that is in it and one that may be.
    #[must_use]
    pub fn with_followers(
        &self,
        mut ready: Vec<usize>,
        together: impl Fn(usize, usize) -> bool,
    ) -> Vec<usize> {
        let active = self.active.iter().map(|&index| &self.steps[index]);
        let taken: BTreeSet<&str> = active.filter_map(|step| step.serial.as_deref()).collect();
        let mut inside: BTreeSet<usize> = ready.iter().copied().collect();
        let serial = |index: usize| Some((self.steps[index].serial.as_deref()?, index));
        let mut groups: BTreeMap<&str, usize> = ready.iter().filter_map(|&it| serial(it)).collect();
        // A step stands behind those that it needs.
        for &index in &self.waiting {
            let step = &self.steps[index];
            let built = self.builds.get(&step.build) == Some(&BuildState::Built);
            let group = step.serial.as_deref();
            if inside.contains(&index) || !built || group.is_some_and(|it| taken.contains(it)) {
                continue;
            }
            let open = step
                .needs
                .iter()
                .copied()
                .filter(|&need| !self.passed(need));
            let before = open.chain(group.and_then(|group| groups.get(group).copied()));
            let before: Vec<usize> = before.collect();
            let all = before
                .iter()
                .all(|other| inside.contains(other) && together(*other, index));
            if all && !before.is_empty() {
                inside.insert(index);
                groups.extend(serial(index));
                ready.push(index);
            }
        }
        ready
    }

    fn passed(&self, index: usize) -> bool {
        let verdict = self.steps[index].verdict();
        verdict.is_some_and(|verdict| verdict.outcome == Outcome::Passed)
    }

    fn released(&self, step: &StepState) -> bool {
        self.builds.get(&step.build) == Some(&BuildState::Built)
            && step.needs.iter().all(|&index| self.passed(index))
    }

    /// Takes an event in. Events about steps that are not in the plan, or that have ended, change nothing.
    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::Started { .. } | Event::Finished { .. } => {}
            Event::Built { build, .. } => self.set_build(build, BuildState::Built),
            Event::BuildFailed { build, .. } => self.set_build(build, BuildState::Failed),
            Event::Submitting {
                step,
                attempt,
                part,
                ..
            } => {
                self.advance(step, *attempt, |step| {
                    step.progress = Progress::Submitting;
                    step.part = *part;
                });
            }
            Event::Submitted { step, attempt, job } => {
                self.advance(step, *attempt, |step| {
                    step.progress = Progress::Live(job.clone());
                });
            }
            Event::NotSubmitted { step, attempt } => {
                self.advance(step, *attempt, |step| {
                    step.progress = Progress::Waiting;
                    step.part = None;
                });
            }
            Event::Ended {
                step,
                attempt,
                verdict,
                elsewhere,
            } => {
                let again = elsewhere.as_ref().filter(|_| !self.stopping);
                let stopping = self.stopping;
                self.advance(step, *attempt, |step| match again {
                    Some(nodes) => step.move_away(nodes),
                    None => step.end(verdict.clone(), stopping),
                });
            }
            Event::Stopping { .. } => {
                self.stopping = true;
                for index in std::mem::take(&mut self.waiting) {
                    self.steps[index].progress =
                        Progress::Done(not_run("the run was stopped before the step began"));
                    self.moved(index);
                }
            }
        }
    }

    fn set_build(&mut self, build: &str, state: BuildState) {
        if let Some(slot) = self.builds.get_mut(build) {
            *slot = state;
        }
        let waiting: Vec<usize> = self.waiting.iter().copied().collect();
        for index in waiting {
            self.drop_lost(index);
        }
    }

    fn advance(&mut self, slug: &str, attempt: u32, change: impl FnOnce(&mut StepState)) {
        let Some(&index) = self.slugs.get(slug) else {
            return;
        };
        let step = &mut self.steps[index];
        if step.verdict().is_none() && step.attempt == attempt {
            change(step);
            self.moved(index);
            self.drop_lost(index);
        }
    }

    /// Notes where a step is now.
    fn moved(&mut self, index: usize) {
        self.waiting.remove(&index);
        self.active.remove(&index);
        match &self.steps[index].progress {
            Progress::Waiting => {
                self.waiting.insert(index);
            }
            Progress::Submitting | Progress::Live(_) => {
                self.active.insert(index);
            }
            Progress::Done(_) => self.ended.push(index),
        }
    }

    /// Ends a step that can never start, because its build failed or one of its needs did not pass, and those behind it.
    fn drop_lost(&mut self, index: usize) {
        let mut suspects = vec![index];
        while let Some(index) = suspects.pop() {
            if self.steps[index].progress == Progress::Waiting
                && let Some(why) = self.obstacle(&self.steps[index])
            {
                self.steps[index].progress = Progress::Done(not_run(&why));
                self.moved(index);
            }
            if self.steps[index].verdict().is_some() && !self.passed(index) {
                suspects.extend(&self.dependents[index]);
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
    fn move_away(&mut self, nodes: &[String]) {
        self.misplaced += 1;
        self.avoid = nodes.to_vec();
        self.try_again();
    }

    fn try_again(&mut self) {
        self.attempt += 1;
        self.progress = Progress::Waiting;
        self.part = None;
    }

    fn end(&mut self, verdict: Verdict, stopping: bool) {
        let verdict = expected(verdict, self.expect);
        let again =
            verdict.outcome.status() == Status::Failed && self.failures < self.retries && !stopping;
        if again {
            self.failures += 1;
            self.try_again();
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
            elsewhere: None,
        }
    }

    fn outcomes(state: &RunState) -> Vec<Option<Outcome>> {
        let outcome = |step: &StepState| step.verdict().map(|verdict| verdict.outcome);
        state.steps().iter().map(outcome).collect()
    }

    #[test]
    fn steps_wait_for_build_needs_and_their_serial_group() {
        let mut state = state(STEPS);
        assert_eq!(state.startable(9, |_| true), Vec::<usize>::new());
        state.apply(&built());
        assert_eq!(state.startable(9, |_| true), [0, 2]);
        assert_eq!(
            state.startable(1, |_| true),
            [0],
            "no more than there is room for"
        );
        state.apply(&submitted("third", 1));
        assert_eq!(state.startable(9, |_| true), [0]);
        state.apply(&ended("third", 1, Outcome::Passed));
        state.apply(&ended("first", 1, Outcome::Passed));
        assert_eq!(state.startable(9, |_| true), [1, 3]);
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
    fn a_place_that_failed_is_left_and_is_no_failure_of_the_step() {
        let mut state = state(STEPS);
        state.apply(&built());
        state.apply(&Event::Ended {
            step: "first".into(),
            attempt: 1,
            verdict: Verdict::new(Outcome::NodeFailure, "x"),
            elsewhere: Some(vec!["n2".into()]),
        });
        let step = &state.steps()[0];
        assert_eq!(
            (step.attempt, step.avoid.as_slice()),
            (2, &["n2".to_owned()][..])
        );
        assert!(state.startable(9, |_| true).contains(&0));
        // The retry of a failing test is still to come.
        state.apply(&ended("first", 2, Outcome::Failed));
        assert_eq!(outcomes(&state)[0], None);
        state.apply(&ended("first", 3, Outcome::Passed));
        assert!(state.steps()[0].flaky());
    }

    #[test]
    fn what_waits_only_for_the_others_may_come_along() {
        let mut state = state(STEPS);
        state.apply(&built());
        let ready = state.startable(9, |_| true);
        assert_eq!(ready, [0, 2]);
        assert_eq!(
            state.with_followers(ready.clone(), |_, _| true),
            [0, 2, 1, 3]
        );
        assert_eq!(state.with_followers(ready, |_, _| false), [0, 2]);
        state.apply(&submitted("third", 1));
        assert_eq!(
            state.with_followers(vec![0], |_, _| true),
            [0, 1],
            "the disk is in use"
        );
        let uncounted = state.startable(0, |index| index != 0);
        assert_eq!(uncounted, [0], "what is not counted needs no room");
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
        assert_eq!(stopped.startable(9, |_| true), Vec::<usize>::new());
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
