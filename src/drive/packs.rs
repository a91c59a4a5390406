//! Follows the packs of a run: what each tells of its steps in its own journal.
//!
//! hpc-ci runs in a pack as it runs inside any allocation, and leaves the same events. So a step that ended in a pack is known
//! without a question to Slurm, which is asked about the pack as a whole alone.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::collect;
use super::folder::RunFolder;
use super::journal::{Follower, JournalError};
use super::live::Attempt;
use super::progress::{Attempted, Progress as Tell};
use super::state::{AttemptEnd, Event, Part};
use super::watch::Watch;
use crate::scheduler::{JobId, JobRecord, JobState, Outcome, Verdict};

/// The packs that are under way.
#[derive(Debug, Default)]
pub(super) struct Packs(BTreeMap<u32, Pack>);

#[derive(Debug)]
struct Pack {
    journal: Follower,
    /// The steps that it has started, by slug.
    started: BTreeSet<String>,
    /// Whether any of its steps has ended by itself.
    progress: bool,
}

/// What a pack tells of one of its steps.
enum Told {
    Started(usize, DateTime<Utc>),
    Ended(usize, Verdict),
    /// It has none to come.
    NoMore,
}

impl Packs {
    pub(super) fn add(&mut self, batch: u32, folder: &RunFolder) {
        if self.0.contains_key(&batch) {
            return;
        }
        let pack = Pack {
            journal: Follower::new(RunFolder::at(&folder.batch(batch)).journal()),
            started: BTreeSet::new(),
            progress: false,
        };
        self.0.insert(batch, pack);
    }

    pub(super) fn any(&self) -> bool {
        !self.0.is_empty()
    }

    /// Slurm has put the pack back into its queue: it starts anew what had not ended.
    pub(super) fn forget_started(&mut self, part: Part) {
        if let Part::Packed { batch } = part
            && let Some(pack) = self.0.get_mut(&batch)
        {
            pack.started.clear();
        }
    }

    /// Returns whether the pack that this is part of has told that it started the step.
    pub(super) fn has_started(&self, part: Part, slug: &str) -> bool {
        let Part::Packed { batch } = part else {
            return false;
        };
        let pack = self.0.get(&batch);
        pack.is_some_and(|pack| pack.started.contains(slug))
    }
}

impl Watch<'_, '_> {
    /// Takes in what the packs have written since the last time.
    pub(super) fn read_packs(&mut self) -> Result<(), JournalError> {
        let batches: Vec<u32> = self.packs.0.keys().copied().collect();
        for batch in batches {
            for told in self.read_pack(batch) {
                match told {
                    Told::Started(index, at) => self.tell_started(index, at),
                    Told::Ended(index, verdict) if verdict.outcome == Outcome::NotRun => {
                        let why = format!("goes into another allocation: {}", verdict.message);
                        self.give_back(index, Some(why))?;
                    }
                    Told::Ended(index, verdict) => self.end_packed(index, None, verdict)?,
                    Told::NoMore => {
                        for index in self.members(batch) {
                            self.give_back(index, None)?;
                        }
                    }
                }
            }
            if self.members(batch).is_empty() {
                self.packs.0.remove(&batch);
            }
        }
        Ok(())
    }

    fn read_pack(&mut self, batch: u32) -> Vec<Told> {
        let Some(pack) = self.packs.0.get_mut(&batch) else {
            return Vec::new();
        };
        let (state, packed) = (&self.state, Some(Part::Packed { batch }));
        let live = |slug: &str, attempt: u32| {
            let index = state.index(slug)?;
            let step = &state.steps()[index];
            (step.attempt == attempt && step.part == packed).then_some(index)
        };
        let mut told = Vec::new();
        for event in pack.journal.events() {
            match event {
                Event::Submitted {
                    step, attempt, at, ..
                } => {
                    told.extend(live(&step, attempt).map(|index| Told::Started(index, at)));
                    pack.started.insert(step);
                }
                Event::Ended {
                    step, attempt, end, ..
                } => {
                    let verdict = end.verdict;
                    if verdict.outcome == Outcome::Cancelled {
                        // The pack was stopped, and only Slurm knows by whom.
                        continue;
                    }
                    pack.progress |= verdict.outcome != Outcome::NotRun;
                    told.extend(live(&step, attempt).map(|index| Told::Ended(index, verdict)));
                }
                Event::Finished { .. } => told.push(Told::NoMore),
                _ => {}
            }
        }
        told
    }

    /// The steps of a pack that have not ended.
    fn members(&self, batch: u32) -> Vec<usize> {
        let inside =
            |index: &usize| self.state.steps()[*index].part == Some(Part::Packed { batch });
        let live = self.state.live().map(|(index, _)| index);
        live.filter(inside).collect()
    }

    fn tell_started(&self, index: usize, since: DateTime<Utc>) {
        let Some(job) = self.state.live_job(index) else {
            return;
        };
        let attempt = self.state.steps()[index].attempt;
        let step = &self.setting.plan.steps[index];
        self.tell(Tell::Running {
            attempt: Attempted::of(step, attempt, Some(job.id.to_string())),
            nodes: Vec::new(),
            since,
        });
    }

    /// A step that its pack did not start waits for another.
    fn give_back(&mut self, index: usize, why: Option<String>) -> Result<(), JournalError> {
        self.live.remove(&index);
        let attempt = self.state.steps()[index].attempt;
        self.note(&Event::NotSubmitted {
            step: self.setting.plan.steps[index].slug.clone(),
            attempt,
        })?;
        self.tell_again(index, attempt, why);
        Ok(())
    }

    fn end_packed(
        &mut self,
        index: usize,
        record: Option<JobRecord>,
        verdict: Verdict,
    ) -> Result<(), JournalError> {
        if self.live.remove(&index).is_none() {
            return Ok(());
        }
        let own = self.state.live_job(index);
        let end = AttemptEnd {
            job: own.map(|job| job.id.clone()),
            submitted: own.map(|job| job.submitted),
            nodes: BTreeSet::new(),
            record,
            verdict,
        };
        let mut attempt = Attempt::read(end, &self.attempt_folder(index), true);
        let ranks = attempt.exit.iter().flat_map(|exit| &exit.ranks);
        attempt.end.nodes = ranks.filter_map(|rank| rank.host.clone()).collect();
        self.close(index, attempt)
    }

    /// Judges a step whose pack has left the queue without telling how it ended.
    pub(super) fn judge_packed(
        &mut self,
        index: usize,
        batch: u32,
        job: &JobId,
        record: Option<JobRecord>,
    ) -> Result<(), JournalError> {
        let slug = &self.setting.plan.steps[index].slug;
        let (started, progress) = self.packs.0.get(&batch).map_or((true, false), |pack| {
            (pack.started.contains(slug), pack.progress)
        });
        let own = self.state.live_job(index);
        let by_us = own.is_some_and(|job| job.cause.is_some());
        let is = |states: &[JobState]| {
            let state = record.as_ref().map(|record| &record.state);
            state.is_some_and(|state| states.contains(state))
        };
        if started || by_us || is(&[JobState::Cancelled]) {
            return self.conclude(index, job, record);
        }
        if progress {
            return self.give_back(index, None);
        }
        if is(&[
            JobState::NodeFail,
            JobState::BootFail,
            JobState::Preempted,
            JobState::Timeout,
        ]) {
            return self.conclude(index, job, record);
        }
        let log = collect::log_tail(&self.setting.folder.batch(batch).join("log.txt"));
        let last = log.lines().last().unwrap_or("its log is empty");
        let state = record.map_or("lost".to_owned(), |record| record.state.to_string());
        let verdict = Verdict::new(
            Outcome::LaunchFailed,
            format!("its pack, job {job}, ended {state} before it could start: {last}"),
        );
        self.end_packed(index, None, verdict)
    }
}
