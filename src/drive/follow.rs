//! Shows a run that another process drives, as that one does: by its journal, and by what its steps leave in their folders.
//!
//! Slurm is not asked: the driver does that for everybody. So why a job waits is not told here.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use super::DriveError;
use super::collect;
use super::event::Event;
use super::folder::RunFolder;
use super::journal::Follower;
use super::live::{Attempt, told_end};
use super::progress::{Attempted, Observer, Progress as Tell, Stage, StageKind};
use super::state::{BuildState, RunState};
use super::stored;
use crate::foreign;
use crate::plan::Plan;

/// Between two looks whether steps have begun.
const LOOK: Duration = Duration::from_secs(1);
/// They may take this share of the time: one in so many.
const LOOK_SHARE: u32 = 20;

/// A run of which somebody else tells in its journal.
pub struct Following {
    folder: RunFolder,
    plan: Plan,
    state: RunState,
    journal: Follower,
    observer: Observer,
    /// What is being done, as far as it was told.
    stage: Option<Stage>,
    /// The attempts that were told to run.
    running: BTreeSet<(usize, u32)>,
    look: Instant,
}

impl Following {
    /// Begins to follow a run: tells how far it is.
    pub fn begin(folder: &RunFolder, observer: &Observer) -> Result<Self, DriveError> {
        let plan = stored::plan(folder)?;
        let mut state = RunState::new(&plan);
        let mut journal = Follower::new(folder.journal());
        for event in journal.events() {
            state.apply(&event);
        }
        let ended = state.take_ended().len();
        let mut following = Self {
            folder: folder.clone(),
            plan,
            state,
            journal,
            observer: observer.clone(),
            stage: None,
            running: BTreeSet::new(),
            look: Instant::now(),
        };
        following.tell(Tell::Note(format!(
            "run {}: {}",
            folder.id(),
            following.state.so_far()
        )));
        following.tell_stage();
        following.tell(Tell::Steps {
            total: following.plan.steps.len() - ended,
        });
        let live: Vec<usize> = following.state.live().map(|(index, _)| index).collect();
        for index in live {
            following.tell_queued(index);
        }
        following.tell_begun();
        Ok(following)
    }

    /// Returns whether the journal says that the run has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.state.exit_code().is_some()
    }

    /// Tells what is new since the last call.
    pub fn look(&mut self) {
        for event in self.journal.events() {
            self.state.apply(&event);
            self.take_in(&event);
            self.tell_ends();
        }
        self.tell_stage();
        if self.look <= Instant::now() {
            self.tell_begun();
        }
    }

    fn tell(&self, event: Tell) {
        (self.observer)(event);
    }

    fn take_in(&self, event: &Event) {
        match event {
            Event::Submitted { step, .. } => {
                if let Some(index) = self.state.index(step) {
                    self.tell_queued(index);
                }
            }
            Event::NotSubmitted { step, attempt } => self.tell_again(step, *attempt, None),
            Event::Abandoned { step, attempt, why } => {
                self.tell_again(step, *attempt, Some(format!("lost: {why}")));
            }
            Event::Ended {
                step, attempt, end, ..
            } => {
                let why = format!("{}; trying again", end.verdict.message);
                self.tell_again(step, *attempt, Some(why));
            }
            Event::Stopping { .. } => self.tell(Tell::Note("the run is being stopped".to_owned())),
            Event::BuildFailed { failure, .. } => self.tell(Tell::Note(failure.message.clone())),
            Event::Started { .. }
            | Event::Resumed { .. }
            | Event::Chosen { .. }
            | Event::Built { .. }
            | Event::Submitting { .. }
            | Event::Cancelling { .. }
            | Event::Finished { .. } => {}
        }
    }

    /// Tells that a step waits for a job again, if it does.
    fn tell_again(&self, slug: &str, attempt: u32, why: Option<String>) {
        let Some(index) = self.state.index(slug) else {
            return;
        };
        if self.state.steps()[index].verdict().is_none() {
            self.tell(Tell::Again {
                step: self.plan.steps[index].name.clone(),
                attempt,
                why,
            });
        }
    }

    fn tell_ends(&mut self) {
        for index in self.state.take_ended() {
            let (step, state) = (&self.plan.steps[index], &self.state.steps()[index]);
            let end = self.state.ends().get(&(index, state.attempt));
            let folder = self.folder.attempt(&step.slug, state.attempt);
            let attempt = end.map(|end| Attempt::read(end.clone(), &folder, false));
            if let Some(end) = told_end(step, state, attempt.as_ref()) {
                self.tell(end);
            }
        }
    }

    fn attempted(&self, index: usize) -> Attempted {
        let job = self.state.live_job(index).map(|job| job.id.to_string());
        Attempted::of(
            &self.plan.steps[index],
            self.state.steps()[index].attempt,
            job,
        )
    }

    fn tell_queued(&self, index: usize) {
        if self.state.live_job(index).is_some() {
            self.tell(Tell::Queued {
                attempt: self.attempted(index),
                reason: None,
                start: None,
            });
        }
    }

    /// Tells of steps whose script has begun.
    fn tell_begun(&mut self) {
        let begin = Instant::now();
        let live: Vec<(usize, u32)> = self
            .state
            .live()
            .map(|(index, _)| (index, self.state.steps()[index].attempt))
            .filter(|it| !self.running.contains(it))
            .collect();
        for (index, number) in live {
            let folder = self.folder.attempt(&self.plan.steps[index].slug, number);
            if let Some((since, nodes)) = begun(&folder) {
                self.running.insert((index, number));
                self.tell(Tell::Running {
                    attempt: self.attempted(index),
                    nodes,
                    since,
                });
            }
        }
        let now = Instant::now();
        self.look = now + LOOK.max((now - begin) * LOOK_SHARE);
    }

    /// Tells what is being done now: a build, or the steps.
    fn tell_stage(&mut self) {
        let pending = |build: &&crate::plan::Build| {
            self.state.build(&build.id) == Some(&BuildState::Pending) && !self.state.stopping()
        };
        let build = self.plan.builds.iter().find(pending);
        let stage = Stage {
            kind: build.map_or(StageKind::Steps, |_| StageKind::Build),
            of: build.map(|build| build.id.clone()),
        };
        if self.stage.as_ref() != Some(&stage) {
            let before = self.stage.replace(stage.clone());
            // The next one first: nothing is forgotten between two of them.
            self.tell(Tell::Began(stage));
            if let Some(stage) = before {
                self.tell(Tell::Over { stage, good: true });
            }
        }
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        if let Some(stage) = self.stage.take() {
            self.tell(Tell::Over { stage, good: true });
        }
    }
}

/// Since when an attempt runs and on which nodes, if it does; by the notes of its ranks, `rRANK.HOST.PROCESS`.
fn begun(attempt: &Path) -> Option<(DateTime<Utc>, Vec<String>)> {
    let ranks = collect::last_start(attempt).join("ranks");
    let since = fs_err::metadata(&ranks).ok()?.modified().ok()?;
    let names = foreign::names(&ranks);
    let hosts = names.iter().filter_map(|name| {
        let (_, rest) = name.split_once('.')?;
        Some(rest.rsplit_once('.')?.0.to_owned())
    });
    let hosts: BTreeSet<String> = hosts.collect();
    Some((since.into(), hosts.into_iter().collect()))
}
