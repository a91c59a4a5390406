//! The state of a run as a fold over its events, and what follows from it. No clock, no Slurm.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::dying::Choice;
pub use super::event::{AttemptEnd, BuildFailure, Event, Part};
use crate::plan::{Disposition, Expect, Plan, Step};
use crate::scheduler::{CancelCause, JobId, Outcome, Status, Verdict};

/// How far a step is.
#[derive(Debug, Clone, PartialEq)]
pub enum Progress {
    /// It waits for its build, its needs or room.
    Waiting,
    /// Its job is being submitted under this name.
    Submitting(String),
    /// The scheduler has its job.
    Live(LiveJob),
    /// It has ended.
    Done(Verdict),
}

/// A job that the scheduler has.
#[derive(Debug, Clone, PartialEq)]
pub struct LiveJob {
    /// Its id.
    pub id: JobId,
    /// When it was submitted.
    pub submitted: DateTime<Utc>,
    /// Why we cancelled it, if we did.
    pub cause: Option<CancelCause>,
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
    /// Nodes to keep away from: attempts failed there, and the step was not at fault.
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
            Progress::Waiting | Progress::Submitting(_) | Progress::Live(_) => None,
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

/// How far a build is.
#[derive(Debug, Clone, PartialEq)]
pub enum BuildState {
    /// It was not made, or not to its end.
    Pending,
    /// It left its programs.
    Built {
        /// How long it took.
        seconds: f64,
    },
    /// It failed.
    Failed(BuildFailure),
}

/// The state of a run.
#[derive(Debug, Clone)]
pub struct RunState {
    slugs: BTreeMap<String, usize>,
    steps: Vec<StepState>,
    builds: BTreeMap<String, BuildState>,
    choices: BTreeMap<String, Choice>,
    ends: BTreeMap<(usize, u32), AttemptEnd>,
    stopping: bool,
    exit_code: Option<u8>,
    /// The steps that need each step.
    dependents: Vec<Vec<usize>>,
    waiting: BTreeSet<usize>,
    /// Steps that are being submitted or have a job.
    active: BTreeSet<usize>,
    /// Steps that ended since somebody last took them.
    ended: Vec<usize>,
}

/// What a run still has to do.
#[derive(Debug, Clone, Copy)]
pub struct Left {
    /// Steps whose jobs the scheduler has.
    pub live: usize,
    /// Steps whose jobs are still to be submitted.
    pub waiting: usize,
    /// Whether all have ended, and their coverage is being made in a job.
    pub coverage: bool,
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
            choices: BTreeMap::new(),
            ends: BTreeMap::new(),
            stopping: false,
            exit_code: None,
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

    /// Returns what the run still has to do.
    #[must_use]
    pub fn left(&self) -> Left {
        let ended = self.steps.iter().filter(|step| step.verdict().is_some());
        let live = self.live().count();
        Left {
            live,
            waiting: self.steps.len() - ended.count() - live,
            coverage: false,
        }
    }

    /// Returns how far the run is, for a person.
    #[must_use]
    pub fn so_far(&self) -> String {
        let Left { live, waiting, .. } = self.left();
        let all = self.steps.len();
        let ended = all - live - waiting;
        format!("{ended} of {all} steps have ended, {live} have a job, {waiting} wait")
    }

    /// Returns the exit code of the run, if it has ended with all its results written.
    #[must_use]
    pub fn exit_code(&self) -> Option<u8> {
        self.exit_code
    }

    /// Returns whether the run was asked to stop.
    #[must_use]
    pub fn stopping(&self) -> bool {
        self.stopping
    }

    /// Returns how far a build is.
    #[must_use]
    pub fn build(&self, id: &str) -> Option<&BuildState> {
        self.builds.get(id)
    }

    /// Returns how the counters of ranks that die are kept in a build's programs.
    #[must_use]
    pub fn choice(&self, build: &str) -> Option<&Choice> {
        self.choices.get(build)
    }

    /// Returns the attempts that have ended, by step and number.
    #[must_use]
    pub fn ends(&self) -> &BTreeMap<(usize, u32), AttemptEnd> {
        &self.ends
    }

    /// Returns the live jobs with their steps.
    pub fn live(&self) -> impl Iterator<Item = (usize, &LiveJob)> {
        self.active
            .iter()
            .filter_map(|&index| Some((index, self.live_job(index)?)))
    }

    /// Returns the job of a step, if the scheduler has it.
    #[must_use]
    pub fn live_job(&self, index: usize) -> Option<&LiveJob> {
        match &self.steps[index].progress {
            Progress::Live(job) => Some(job),
            Progress::Waiting | Progress::Submitting(_) | Progress::Done(_) => None,
        }
    }

    /// Returns the steps of which nobody knows whether their job was submitted, by the names of these jobs.
    #[must_use]
    pub fn in_doubt(&self) -> BTreeMap<&str, Vec<usize>> {
        let mut doubts: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for &index in &self.active {
            if let Progress::Submitting(name) = &self.steps[index].progress {
                doubts.entry(name).or_default().push(index);
            }
        }
        doubts
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
            let built = self.built(step);
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
        self.built(step) && step.needs.iter().all(|&index| self.passed(index))
    }

    fn built(&self, step: &StepState) -> bool {
        matches!(self.builds.get(&step.build), Some(BuildState::Built { .. }))
    }

    /// Takes an event in. Events about steps that are not in the plan, or that have ended, change nothing.
    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::Started { .. } | Event::Resumed { .. } => {}
            Event::Finished { exit_code } => self.exit_code = Some(*exit_code),
            Event::Chosen { build, choice } => {
                self.choices.insert(build.clone(), choice.clone());
            }
            Event::Built { build, seconds } => {
                self.set_build(build, BuildState::Built { seconds: *seconds });
            }
            Event::BuildFailed { build, failure } => {
                self.set_build(build, BuildState::Failed(failure.clone()));
            }
            Event::Submitting {
                step,
                attempt,
                name,
                part,
            } => self.advance(step, *attempt, |_, step| {
                step.progress = Progress::Submitting(name.clone());
                step.part = *part;
            }),
            Event::Submitted {
                step,
                attempt,
                job,
                at,
            } => self.advance(step, *attempt, |stopping, step| {
                step.progress = Progress::Live(LiveJob {
                    id: job.clone(),
                    submitted: *at,
                    cause: stopping.then_some(CancelCause::Asked),
                });
            }),
            Event::NotSubmitted { step, attempt } => {
                self.advance(step, *attempt, |stopping, step| step.wait(stopping));
            }
            Event::Cancelling {
                step,
                attempt,
                cause,
            } => self.advance(step, *attempt, |_, step| {
                if let Progress::Live(job) = &mut step.progress {
                    job.cause.get_or_insert_with(|| cause.clone());
                }
            }),
            Event::Abandoned { step, attempt, .. } => {
                self.advance(step, *attempt, |stopping, step| {
                    step.attempt += 1;
                    step.wait(stopping);
                });
            }
            Event::Ended {
                step,
                attempt,
                end,
                elsewhere,
            } => {
                self.keep_end(step, *attempt, end);
                self.advance(step, *attempt, |stopping, step| {
                    match elsewhere.as_ref().filter(|_| !stopping) {
                        Some(nodes) => step.move_away(nodes),
                        None => step.end(end.verdict.clone(), stopping),
                    }
                });
            }
            Event::Stopping { .. } => {
                self.stopping = true;
                for index in std::mem::take(&mut self.waiting) {
                    self.steps[index].wait(true);
                    self.moved(index);
                }
                for &index in &self.active {
                    if let Progress::Live(job) = &mut self.steps[index].progress {
                        job.cause.get_or_insert(CancelCause::Asked);
                    }
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

    fn keep_end(&mut self, slug: &str, attempt: u32, end: &AttemptEnd) {
        let Some(index) = self.index(slug) else {
            return;
        };
        let step = &self.steps[index];
        if step.verdict().is_none() && step.attempt == attempt {
            self.ends.insert((index, attempt), end.clone());
        }
    }

    fn advance(&mut self, slug: &str, attempt: u32, change: impl FnOnce(bool, &mut StepState)) {
        let Some(&index) = self.slugs.get(slug) else {
            return;
        };
        let step = &mut self.steps[index];
        if step.verdict().is_none() && step.attempt == attempt {
            change(self.stopping, step);
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
            Progress::Submitting(_) | Progress::Live(_) => {
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
        if let Some(BuildState::Failed(_)) = self.builds.get(&step.build) {
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
    fn wait(&mut self, stopping: bool) {
        self.part = None;
        self.progress = if stopping {
            Progress::Done(not_run("the run was stopped before the step began"))
        } else {
            Progress::Waiting
        };
    }

    fn move_away(&mut self, nodes: &[String]) {
        self.misplaced += 1;
        let new = nodes.iter().filter(|node| !self.avoid.contains(node));
        let new: Vec<String> = new.cloned().collect();
        self.avoid.extend(new);
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
mod tests;
