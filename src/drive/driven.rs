//! A run under the hands of this process: its stages, for as long as the process stays with it.

use std::time::{Duration, Instant};

use chrono::Utc;
use tokio_util::sync::CancellationToken;

use super::build_job::{BuildJob, Building};
use super::folder::RunFolder;
use super::history::History;
use super::journal::Journal;
use super::progress::{Observer, Progress, StageKind, Under};
use super::state::{
    AttemptEnd, BuildState, Event, Left, Progress as StepProgress, RunState, StepState,
};
use super::{
    DriveError, Finished, Request, Run, budget, conclude, cover, disk, elsewhere, held, late, watch,
};
use crate::cancel::Cancel;
use crate::config::CommandLine;
use crate::launch::Place;
use crate::lease::{Claim, Lease};
use crate::plan::{Build, JobPlace, Place as BuildPlace};
use crate::scheduler::{Outcome, Verdict};

/// Between two looks whether the run is to be cancelled.
const CANCEL_LOOK: Duration = Duration::from_millis(500);

/// How long a process stays with a run.
#[derive(Debug, Clone)]
pub enum Stay {
    /// To its end.
    ToTheEnd,
    /// Until all that can be submitted now is.
    UntilSubmitted,
    /// For as long as there is something to do now.
    Briefly,
    /// Until somebody says so, or it is late.
    Until {
        /// Who says so.
        leave: CancellationToken,
        /// When it is late.
        deadline: Option<Instant>,
    },
}

impl Stay {
    /// Returns when there is no reason to stay any longer, whatever is going on.
    pub(super) async fn over(&self) {
        let Self::Until { leave, deadline } = self else {
            return std::future::pending().await;
        };
        let late = async {
            match deadline {
                Some(deadline) => tokio::time::sleep_until((*deadline).into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = leave.cancelled() => {}
            () = late => {}
        }
    }

    pub(super) fn is_over(&self) -> bool {
        let Self::Until { leave, deadline } = self else {
            return false;
        };
        leave.is_cancelled() || deadline.is_some_and(|deadline| deadline <= Instant::now())
    }
}

/// How far a run is when its driver is done with it.
#[derive(Debug)]
pub enum Driving {
    /// At its end.
    Ended(Finished),
    /// Not at its end; another process may go on with it.
    Left(Left),
}

/// A run that this process drives.
#[derive(Debug)]
pub struct Driven {
    pub(super) run: Run,
    pub(super) journal: Journal,
    pub(super) state: RunState,
    pub(super) resumed: bool,
}

impl Driven {
    /// Returns the folder of the run.
    #[must_use]
    pub fn folder(&self) -> &RunFolder {
        &self.run.folder
    }

    /// Returns what was asked for.
    #[must_use]
    pub fn request(&self) -> &Request {
        &self.run.request
    }

    /// Drives the run as far as it may stay with it: from its plan to its results, or from wherever it is.
    ///
    /// A run that came to its end is still to be [finished](Self::finish).
    pub async fn drive(
        &mut self,
        stay: &Stay,
        observer: &Observer,
        cancel: &Cancel,
        color: bool,
    ) -> Result<Driving, DriveError> {
        let cancelled = self.run.folder.cancel();
        let asked = cancel.clone();
        let look = tokio::spawn(async move {
            while !cancelled.exists() {
                tokio::time::sleep(CANCEL_LOOK).await;
            }
            asked.ask(0);
        });
        let driving = self.stages(stay, observer, cancel, color).await;
        look.abort();
        driving
    }

    async fn stages(
        &mut self,
        stay: &Stay,
        observer: &Observer,
        cancel: &Cancel,
        color: bool,
    ) -> Result<Driving, DriveError> {
        if self.resumed {
            observer(Progress::Note(self.so_far()));
        } else {
            for line in &self.run.request.plan.notes {
                observer(Progress::Note(line.clone()));
            }
        }
        if self.run.request.scope.coverage
            && self.run.gives_coverage()
            && let Err(error) = tokio::task::block_in_place(|| held::note(&self.run))
        {
            observer(Progress::Note(format!(
                "the files of the commit cannot be listed: {error}"
            )));
        }
        let all_built = tokio::select! {
            built = self.build_all(stay, observer, cancel) => built?,
            () = stay.over() => false,
        };
        if !all_built {
            return Ok(Driving::Left(self.left()));
        }
        self.refuse_without_room()?;
        let run = &self.run;
        let builder = run.builder(observer);
        let scheduler = run.scheduler();
        let folder_error = |source| DriveError::Folder {
            path: run.folder.root().to_owned(),
            source,
        };
        tokio::task::block_in_place(|| elsewhere::note(run, &builder)).map_err(folder_error)?;
        let disks =
            tokio::task::block_in_place(|| disk::disks(run, &builder)).map_err(folder_error)?;
        let mut history = History::read(&run.request.state, &run.request.key);
        let cluster = run.outline(&scheduler, stay, observer, cancel).await;
        let Some(cluster) = cluster else {
            return Ok(Driving::Left(self.left()));
        };
        let before = self.journal.lease().and_then(Lease::before);
        let under = Under::begin(observer, StageKind::Steps, None);
        let (attempts, left) = watch::run(
            watch::Setting {
                plan: &run.request.plan,
                folder: &run.folder,
                scheduler: &scheduler,
                ground: run.ground(&cluster, &history, observer).await,
                started: run.started,
                observer,
                cancel,
                stay,
                same_machine: before.is_none_or(Claim::was_here),
                elsewhere: watch::MISPLACED,
                pause_before_again: false,
                prepare: &run.prepare(&builder, &self.state, &disks),
            },
            &mut self.state,
            &mut self.journal,
        )
        .await?;
        under.end(!left && !cancel.asked());
        if left {
            return Ok(Driving::Left(self.left()));
        }
        history.add(Utc::now().timestamp(), run.elapsed(&attempts));
        if let Err(error) = history.write(&run.request.state, &run.request.key) {
            tracing::warn!(%error, "what the steps took cannot be remembered");
        }
        late::await_profiles(run, &attempts, observer, cancel).await;
        let Some(covered) = self.cover(stay, observer, cancel).await? else {
            return Ok(Driving::Left(Left {
                coverage: true,
                ..self.left()
            }));
        };
        let run = &self.run;
        let builder = run.builder(observer);
        let concluding = conclude::conclude(
            run,
            &builder,
            &self.state,
            &attempts,
            &covered,
            observer,
            color,
        );
        let finished = concluding.await?;
        Ok(Driving::Ended(finished))
    }

    /// Writes down that the run has ended: nothing of it is left to be done.
    pub fn finish(&mut self, finished: &Finished) -> Result<(), DriveError> {
        self.note(&Event::Finished {
            exit_code: finished.exit_code,
        })?;
        cover::discard_profiles(&self.run, &self.state);
        Ok(())
    }

    /// Ends every step that has not begun, where the storage has no room for what it would leave.
    fn refuse_without_room(&mut self) -> Result<(), DriveError> {
        let request = &self.run.request;
        let limits = &request.site.scheduler.limits;
        let Some(why) = budget::shortage(limits, &request.workspace) else {
            return Ok(());
        };
        let waits = |step: &StepState| step.progress == StepProgress::Waiting;
        let steps = request.plan.steps.iter().zip(self.state.steps());
        let waiting = steps.filter(|(_, state)| waits(state));
        let events: Vec<Event> = waiting
            .map(|(step, state)| {
                let verdict = Verdict::new(Outcome::Rejected, why.clone());
                Event::Ended {
                    step: step.slug.clone(),
                    attempt: state.attempt,
                    end: Box::new(AttemptEnd::without_job(verdict)),
                    elsewhere: None,
                }
            })
            .collect();
        self.journal.append_all(&events)?;
        for event in &events {
            self.state.apply(event);
        }
        Ok(())
    }

    pub(super) fn note(&mut self, event: &Event) -> Result<(), DriveError> {
        self.journal.append(event)?;
        self.state.apply(event);
        Ok(())
    }

    fn left(&self) -> Left {
        self.state.left()
    }

    fn so_far(&self) -> String {
        format!(
            "going on with run {}: {}",
            self.run.folder.id(),
            self.state.so_far()
        )
    }

    /// Makes all builds; returns whether none is left to a job that this process does not wait for.
    async fn build_all(
        &mut self,
        stay: &Stay,
        observer: &Observer,
        cancel: &Cancel,
    ) -> Result<bool, DriveError> {
        for number in 0..self.run.request.plan.builds.len() {
            let build = self.run.request.plan.builds[number].clone();
            let done = self.state.build(&build.id) != Some(&BuildState::Pending);
            if done || self.state.stopping() {
                continue;
            }
            let events = match (&build.place, &build.command) {
                (BuildPlace::Job(place), Some(command)) if self.run.request.place == Place::Job => {
                    let building =
                        self.build_in_job(&build, number, place, command, stay, observer, cancel);
                    match building.await? {
                        Some(events) => events,
                        None if cancel.asked() => break,
                        None => return Ok(false),
                    }
                }
                _ => tokio::select! {
                    biased;
                    () = cancel.token().cancelled() => break,
                    events = self.run.build_here(&build, number, observer, cancel) => events?,
                },
            };
            for event in events {
                self.note(&event)?;
            }
        }
        Ok(true)
    }

    /// Makes a build in a job; nothing if that has not ended, or is to end before its time.
    #[expect(
        clippy::too_many_arguments,
        reason = "what surrounds a build is at hand one by one"
    )]
    async fn build_in_job(
        &mut self,
        build: &Build,
        number: usize,
        place: &JobPlace,
        command: &CommandLine,
        stay: &Stay,
        observer: &Observer,
        cancel: &Cancel,
    ) -> Result<Option<[Event; 2]>, DriveError> {
        let script = self.run.folder.build_script(&build.id);
        let tree = self.run.builder(observer).tree(build);
        let result = loop {
            let job = BuildJob::read(&self.run, build, place, &script)?;
            if job.is_new() {
                tokio::select! {
                    biased;
                    () = cancel.token().cancelled() => return Ok(None),
                    made = self.run.tree(build, number, observer, cancel) => made?,
                }
                let builder = self.run.builder(observer);
                let choice = builder.choose(build).await;
                builder.fetch_missing(build, &tree).await;
                if let Err(failure) = builder.script(build, command, choice.mode()) {
                    let events = self.run.built(&builder, build, choice, Err(failure));
                    return Ok(Some(events.await));
                }
                let build = build.id.clone();
                self.note(&Event::Chosen { build, choice })?;
            }
            let journal = &mut self.journal;
            let watching = job.watch(&self.run, tree.clone(), journal, stay, observer, cancel);
            match watching.await? {
                Building::Left => return Ok(None),
                Building::Again | Building::Failed(_) if cancel.asked() => return Ok(None),
                // What a half-done build left in the tree is not built upon.
                Building::Again => {}
                Building::Failed(failure) => break Err(failure),
                Building::Ended(took) => {
                    let builder = self.run.builder(observer);
                    break builder.check(build).map(|()| took);
                }
            }
        };
        let builder = self.run.builder(observer);
        let choice = self.state.choice(&build.id).cloned().unwrap_or_default();
        let events = self.run.built(&builder, build, choice, result);
        Ok(Some(events.await))
    }
}
