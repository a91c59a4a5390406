//! What a driver does about the work of the one before it, and about submissions that got no answer.
//!
//! Jobs go on without a driver, Slurm's and those of this machine alike, so they are taken over as they are. A job that may
//! have been submitted is looked for by its unique name, and submitted again only when nobody can have it any more.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::journal::JournalError;
use super::live::Attempt;
use super::place;
use super::progress::Progress as Tell;
use super::state::{Event, Part};
use super::submit::{Ground, taken};
use super::watch::{CANCEL_PATIENCE, Watch};
use super::{collect, keep};
use crate::foreign;
use crate::scheduler::admission::{Demand, admit};
use crate::scheduler::{JobId, Outcome, QueryError, Verdict};

/// How long the scheduler may take to show a job whose submission it has taken in.
const SHOWN_WITHIN: Duration = Duration::from_secs(5);
/// How long a command that submits may be at work on another machine: as long as it tries by itself.
const ELSEWHERE: Duration = Duration::from_mins(3);
/// Between two looks for a job.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// The same while nobody answers.
const LONGER: Duration = Duration::from_secs(15);

/// A job that may have been submitted without our hearing of it.
#[derive(Debug)]
pub(super) struct Doubt {
    /// Since when the scheduler answers and does not have it.
    missed: Option<Instant>,
    /// When it is looked for again.
    next: Instant,
    patience: Duration,
}

impl Doubt {
    /// Returns the doubt about a submission of our own.
    pub(super) fn now() -> Self {
        Self::of(SHOWN_WITHIN)
    }

    fn of(patience: Duration) -> Self {
        Self {
            missed: None,
            next: Instant::now(),
            patience,
        }
    }

    pub(super) fn is_due(&self) -> bool {
        self.next <= Instant::now()
    }
}

impl Watch<'_, '_> {
    /// Takes over what the driver before has left, and tells how much there is to do.
    pub(super) async fn adopt(&mut self) -> Result<(), JournalError> {
        for (&(index, number), end) in self.state.ends() {
            let slug = &self.setting.plan.steps[index].slug;
            let folder = self.setting.folder.attempt(slug, number);
            let attempt = Attempt::read(end.clone(), &folder, false);
            self.attempts.insert((index, number), attempt);
        }
        let mut total = self.state.steps().len();
        if !self.attempts.is_empty() {
            // Whoever ended them told of them.
            total -= self.state.take_ended().len();
        }
        self.tell(Tell::Steps { total });
        let jobs: Vec<(usize, JobId)> = self
            .state
            .live()
            .map(|(index, job)| (index, job.id.clone()))
            .collect();
        for (index, job) in jobs {
            if job.as_local().is_some() && !self.outlived_its_driver(index, &job).await {
                let why = if self.setting.same_machine {
                    "it ended with the process that drove the run"
                } else {
                    "it ran on another machine, or before this one was booted"
                };
                self.abandon(&[index], why)?;
            } else {
                self.follow(index);
            }
        }
        self.place_adopted();
        let patience = if self.setting.same_machine {
            SHOWN_WITHIN
        } else {
            ELSEWHERE
        };
        let names = self.state.in_doubt().into_keys();
        let doubts: Vec<_> = names
            .map(|name| (name.to_owned(), Doubt::of(patience)))
            .collect();
        self.doubts.extend(doubts);
        if self.state.stopping() {
            self.cancel_live().await;
        }
        Ok(())
    }

    /// Whether a process of this machine still runs, or came to its end.
    async fn outlived_its_driver(&self, index: usize, job: &JobId) -> bool {
        if collect::exit_record(&self.attempt_folder(index)).is_some() {
            return true;
        }
        let seen = self.setting.scheduler.poll(std::slice::from_ref(job)).await;
        self.setting.same_machine && seen.is_ok_and(|seen| seen.jobs.contains_key(job))
    }

    /// Counts the cores of steps that another process started on shared hosts.
    fn place_adopted(&mut self) {
        let Ground::Hosts { place, hosts, .. } = &self.setting.ground else {
            return;
        };
        let steps: Vec<usize> = self.live.keys().copied().collect();
        let demands: Vec<Demand> = steps
            .iter()
            .map(|&index| place::demand(&self.setting.plan.steps[index], *place, hosts))
            .collect();
        let placed = admit(hosts, &[], &demands).into_iter();
        self.submission
            .placed
            .extend(placed.map(|(at, placed)| (steps[at], placed)));
    }

    fn abandon(&mut self, steps: &[usize], why: &str) -> Result<(), JournalError> {
        let mut events = Vec::new();
        for &index in steps {
            let step = &self.setting.plan.steps[index];
            let attempt = self.state.steps()[index].attempt;
            keep::make_up_for(self.setting.prepare, step, self.setting.folder, attempt);
            self.tell_again(index, attempt, Some(format!("lost: {why}")));
            events.push(Event::Abandoned {
                step: step.slug.clone(),
                attempt,
                why: why.to_owned(),
            });
        }
        self.note_all(&events)
    }

    /// Looks for the jobs that may have been submitted, as far as it is time to: one question for all of them.
    pub(super) async fn settle(&mut self) -> Result<(), JournalError> {
        let due = self.doubts.iter().filter(|(_, doubt)| doubt.is_due());
        let names: Vec<String> = due.map(|(name, _)| name.clone()).collect();
        if names.is_empty() || !self.pace.is_open(Instant::now()) {
            return Ok(());
        }
        let scheduler = self.setting.scheduler;
        // What is at work before the question may be done by the time of the answer.
        let at_work: BTreeSet<String> = names
            .iter()
            .filter(|name| scheduler.is_submitting(name))
            .cloned()
            .collect();
        // Books that hang must not hold up all else each time.
        let most = if self.books.are_silent() {
            LONGER
        } else {
            Duration::MAX
        };
        let started = self.setting.started;
        let looking = async {
            let found = tokio::time::timeout(most, scheduler.find_by_name(&names, started));
            found.await.unwrap_or_else(|_| {
                Err(QueryError::Unreachable {
                    command: "sacct".to_owned(),
                    said: format!("no answer within {} s", most.as_secs()),
                })
            })
        };
        let found = self.ask("squeue", looking).await;
        self.pace.ask(Instant::now());
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                self.missed(&error);
                return self.look_later(&names);
            }
        };
        self.answered();
        let mut unsettled = Vec::new();
        for name in names {
            match found.jobs.get(&name) {
                Some(job) => {
                    self.doubts.remove(&name);
                    self.found(&name, job).await?;
                }
                None if found.doubt.is_some() => unsettled.push(name),
                None => self.not_found(&name, at_work.contains(&name))?,
            }
        }
        if let Some(error) = found.doubt.filter(|_| !unsettled.is_empty()) {
            self.missed(&error);
            self.look_later(&unsettled)?;
        }
        Ok(())
    }

    /// Nobody says whether these jobs are there.
    fn look_later(&mut self, names: &[String]) -> Result<(), JournalError> {
        for name in names {
            if let Some(doubt) = self.doubts.get_mut(name) {
                doubt.next = Instant::now() + LONGER;
            }
            self.give_up(name)?;
        }
        Ok(())
    }

    /// The scheduler does not have a job of this name; after some time that means that there is none.
    fn not_found(&mut self, name: &str, at_work: bool) -> Result<(), JournalError> {
        let Some(doubt) = self.doubts.get_mut(name) else {
            return Ok(());
        };
        doubt.next = Instant::now() + LOOK_AGAIN;
        if at_work {
            doubt.missed = None;
            return Ok(());
        }
        let missed = *doubt.missed.get_or_insert_with(Instant::now);
        if missed.elapsed() < doubt.patience {
            return Ok(());
        }
        self.doubts.remove(name);
        let (begun, never): (Vec<usize>, Vec<usize>) = self
            .in_doubt(name)
            .into_iter()
            .partition(|index| self.has_started(*index));
        self.abandon(&begun, "it began, and nobody knows its job")?;
        let back = |index: usize| Event::NotSubmitted {
            step: self.setting.plan.steps[index].slug.clone(),
            attempt: self.state.steps()[index].attempt,
        };
        let events: Vec<Event> = never.into_iter().map(back).collect();
        self.note_all(&events)
    }

    fn in_doubt(&self, name: &str) -> Vec<usize> {
        self.state.in_doubt().remove(name).unwrap_or_default()
    }

    /// Takes up a job that was in doubt.
    async fn found(&mut self, name: &str, job: &JobId) -> Result<(), JournalError> {
        let steps: Vec<(usize, u32, Option<Part>)> = self
            .in_doubt(name)
            .into_iter()
            .map(|index| {
                let step = &self.state.steps()[index];
                (index, step.attempt, step.part)
            })
            .collect();
        let job = match steps.first() {
            Some((_, _, Some(Part::Task { .. }))) => job.array(),
            _ => job.clone(),
        };
        let slug = |index: usize| self.setting.plan.steps[index].slug.clone();
        let events: Vec<Event> = {
            let event = taken(&job);
            let steps = steps.iter();
            steps
                .map(|&(index, attempt, part)| event(slug(index), attempt, part))
                .collect()
        };
        self.note_all(&events)?;
        self.take_up(&steps, &job);
        if self.state.stopping() {
            self.cancel_jobs(&[job]).await;
        }
        Ok(())
    }

    /// A run that is to stop does not wait for a silent scheduler.
    fn give_up(&mut self, name: &str) -> Result<(), JournalError> {
        if self
            .stopping
            .is_none_or(|since| since.elapsed() < CANCEL_PATIENCE)
        {
            return Ok(());
        }
        self.doubts.remove(name);
        let message = format!(
            "it may have been submitted, and the scheduler does not say; `scancel --name={}` would end it",
            shell_words::quote(name)
        );
        for index in self.in_doubt(name) {
            let verdict = Verdict::new(Outcome::Lost, message.clone());
            self.end(index, self.state.steps()[index].attempt, verdict)?;
        }
        Ok(())
    }

    /// Whether the script of an attempt ever ran: what it left must not be added to that of another run of it.
    fn has_started(&self, index: usize) -> bool {
        let left = foreign::names(&self.attempt_folder(index));
        left.iter()
            .any(|name| name == "ranks" || name.starts_with("restart-"))
    }
}
