//! Judges the ends of jobs, by what the books, the queue and the steps' own folders say of them.
//!
//! The books are asked in the background: they may hang for hours, and nothing else has to wait for them. While they give no
//! answer, the queue's last word is taken; a job that the queue has forgotten waits until they do.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;

use super::journal::JournalError;
use super::live::{Attempt, BOOKS_LAG, Live};
use super::pace::{LONGEST_RETRY, SHORTEST_TICK, Silence};
use super::progress::Progress as Tell;
use super::state::{AttemptEnd, Event, Part};
use super::watch::{SLOW, Setting, Watch};
use super::{collect, keep, late, reports};
use crate::config::Walltime;
use crate::scheduler::verdict::judge;
use crate::scheduler::{
    Accounting, Evidence, ExitRecord, JobId, JobRecord, JobState, QueryError, Scheduler,
};

/// How long an exit record may take over a network file system.
const RECORD_LAG: Duration = Duration::from_secs(15);
/// How long the books are waited for that alone can tell of a job.
const BOOKS_PATIENCE: Duration = Duration::from_hours(24);

/// An answer of the books, and about which jobs they were asked.
pub(super) type Answer = (BTreeSet<JobId>, Result<Accounting, QueryError>);

/// How the books are doing.
pub(super) struct Books<'a> {
    /// Whether this cluster keeps any, as far as we know.
    pub(super) kept: bool,
    /// How many of the last questions in a row went to them.
    asked: u32,
    /// A question without an answer, and since when.
    open: Option<(Instant, BoxFuture<'a, Answer>)>,
    silence: Silence,
    /// Since when they answer, if they did not before.
    back: Option<Instant>,
    /// After a silence, no question before this, and how long after the last.
    hold: Option<Instant>,
    retry: Duration,
}

impl Default for Books<'_> {
    fn default() -> Self {
        Self {
            kept: true,
            asked: 0,
            open: None,
            silence: Silence::default(),
            back: None,
            hold: None,
            retry: SHORTEST_TICK,
        }
    }
}

impl Books<'_> {
    /// Waits for the answer to the open question; for ever if there is none.
    pub(super) async fn answer(&mut self) -> Answer {
        let Some((_, open)) = &mut self.open else {
            return std::future::pending().await;
        };
        let answer = open.await;
        self.open = None;
        answer
    }

    /// Returns whether they were asked something that they have not answered.
    pub(super) fn are_asked(&self) -> bool {
        self.open.is_some()
    }

    /// Returns whether they give no answer.
    pub(super) fn are_silent(&self) -> bool {
        self.silence.lasts(Instant::now()).is_some()
    }

    /// Returns whether there is no use in waiting for them.
    fn are_out(&self) -> bool {
        let now = Instant::now();
        !self.kept || self.silence.lasts(now).is_some_and(|it| it >= BOOKS_LAG)
    }

    /// Returns whether they can be asked now.
    fn can_be_asked(&self) -> bool {
        let held = self.hold.is_some_and(|until| Instant::now() < until);
        self.kept && self.open.is_none() && !held
    }
}

impl Watch<'_, '_> {
    /// Returns whether the next question is the books': they are asked by turns with the queue while some jobs have ended, and
    /// mostly once nothing runs any more.
    pub(super) fn is_turn_of_books(&mut self) -> bool {
        let ended = self.ended_jobs().len();
        let in_a_row = if ended == self.live.len() { 2 } else { 1 };
        let turn = ended > 0 && self.books.asked < in_a_row && self.books.can_be_asked();
        self.books.asked = if turn { self.books.asked + 1 } else { 0 };
        turn
    }

    /// Asks the books about the jobs that have ended; the answer comes in its own time.
    pub(super) fn open_books(&mut self) {
        let jobs = self.ended_roots();
        let (scheduler, since) = (self.setting.scheduler, self.setting.started);
        let question = async move {
            let ids: Vec<JobId> = jobs.iter().cloned().collect();
            let answer = scheduler.record(&ids, since).await;
            (jobs, answer)
        };
        self.books.open = Some((Instant::now(), Box::pin(question)));
    }

    /// Tells of books that take their time.
    pub(super) fn watch_books(&mut self) {
        let now = Instant::now();
        let late = self.books.open.as_ref().map(|(since, _)| *since);
        let late = late.filter(|since| now.duration_since(*since) >= SLOW);
        if let Some(silent) = late.and_then(|since| self.books.silence.missed(since, now)) {
            self.tell(Tell::Note(format!(
                "no answer from `sacct` for {} s; going by what the queue says",
                silent.as_secs()
            )));
        }
    }

    /// Takes in what the books said.
    pub(super) fn read_books(&mut self, answer: Answer) -> Result<(), JournalError> {
        let (asked, answer) = answer;
        let now = Instant::now();
        match answer {
            Ok(books) => {
                if let Some(silent) = self.books.silence.over(now) {
                    self.books.back = Some(now);
                    self.tell(Tell::Note(format!(
                        "`sacct` answers again after {}",
                        Walltime::from_secs(silent.as_secs())
                    )));
                }
                (self.books.hold, self.books.retry) = (None, SHORTEST_TICK);
                self.judge_ended(&books, Some(&asked))
            }
            Err(QueryError::NoAccounting) => {
                self.books.kept = false;
                self.judge_ended(&Accounting::default(), None)
            }
            Err(error) => {
                self.without_books(&error);
                self.judge_ended(&Accounting::default(), None)
            }
        }
    }

    /// Takes in that the books gave no answer.
    pub(super) fn without_books(&mut self, error: &QueryError) {
        let now = Instant::now();
        if self.books.silence.missed(now, now).is_some() {
            self.tell(Tell::Note(format!(
                "{error}; going by what the queue says until accounting is back"
            )));
        }
        self.books.hold = Some(now + self.books.retry);
        self.books.retry = (self.books.retry * 2).min(LONGEST_RETRY);
    }

    /// Judges what the queue alone can tell of, where there are no books or none that answer.
    pub(super) fn judge_by_queue(&mut self) -> Result<(), JournalError> {
        if self.books.kept && !self.books.are_silent() {
            return Ok(());
        }
        self.judge_ended(&Accounting::default(), None)
    }

    /// Asks a scheduler that has all its books in memory.
    pub(super) async fn ask_at_once(&mut self) -> Result<(), JournalError> {
        let jobs: Vec<JobId> = self.ended_roots().into_iter().collect();
        if jobs.is_empty() {
            return Ok(());
        }
        let books = self.setting.scheduler.record(&jobs, self.setting.started);
        let books = books.await.unwrap_or_default();
        self.judge_ended(&books, None)
    }

    fn ended_roots(&self) -> BTreeSet<JobId> {
        let ended = self.ended_jobs().into_iter();
        ended.map(|(_, job)| job).collect()
    }

    /// The steps whose job has left the queue or ended in it, or whose exit record is there.
    fn ended_jobs(&self) -> Vec<(usize, JobId)> {
        let ended = |index: &usize| {
            let gone = |live: &Live| live.gone_since.is_some();
            let packed = matches!(self.state.steps()[*index].part, Some(Part::Packed { .. }));
            self.live.get(index).is_some_and(gone) || !packed && self.has_arrived(*index)
        };
        let live = self.state.live().filter(|(index, _)| ended(index));
        live.map(|(index, job)| (index, job.id.clone())).collect()
    }

    /// Judges what has ended; `asked` are the jobs that the books were asked about, if they were.
    fn judge_ended(
        &mut self,
        books: &Accounting,
        asked: Option<&BTreeSet<JobId>>,
    ) -> Result<(), JournalError> {
        let before = self.live.len();
        for (index, job) in self.ended_jobs() {
            if asked.is_none_or(|asked| asked.contains(&job)) {
                self.judge_one(index, &job, books)?;
            }
        }
        if self.live.len() < before {
            self.pace.news();
        }
        Ok(())
    }

    fn judge_one(
        &mut self,
        index: usize,
        job: &JobId,
        books: &Accounting,
    ) -> Result<(), JournalError> {
        let Some(live) = self.live.get(&index) else {
            return Ok(());
        };
        let waited = live
            .gone_since
            .map_or(Duration::ZERO, |since| since.elapsed());
        let lag = if self.books.are_out() {
            Duration::ZERO
        } else {
            BOOKS_LAG
        };
        let record = live.books_record(books.runs.get(job).map_or(&[][..], |runs| runs));
        let record = record.or_else(|| live.queue_record(waited, lag));
        if record.is_none() && self.may_be_told_later(waited) {
            return Ok(());
        }
        let owes_record = record
            .as_ref()
            .is_some_and(|record| matches!(record.state, JobState::Completed | JobState::Failed));
        if let Some(part @ Part::Packed { batch }) = self.state.steps()[index].part {
            let begun = self
                .packs
                .has_started(part, &self.setting.plan.steps[index].slug);
            if begun && owes_record && waited < RECORD_LAG {
                // The journal of the pack may be late.
                late::refresh(&self.setting.folder.batch(batch));
                self.expect_later(index);
                return Ok(());
            }
            return self.judge_packed(index, batch, job, record);
        }
        // That of an earlier start tells nothing of this one, and notes of other nodes may come later than the record.
        let has_record =
            |exit: ExitRecord| exit.restart_count >= live.restarts() && exit.is_whole();
        if owes_record && waited < RECORD_LAG && !self.exit_record(index).is_some_and(has_record) {
            self.expect_later(index);
            return Ok(());
        }
        self.conclude(index, job, record)
    }

    /// Whether the books may yet tell of a job that left the queue so long ago: they lag behind, and more so when they were away.
    fn may_be_told_later(&self, waited: Duration) -> bool {
        if self.books.kept && self.books.are_silent() {
            return waited < BOOKS_PATIENCE;
        }
        let back = self.books.back.map(|since| since.elapsed());
        back.map_or(waited, |back| back.min(waited)) < BOOKS_LAG
    }

    /// A step's files may be late: makes the file system ask for them.
    pub(super) fn expect_later(&mut self, index: usize) {
        if let Some(live) = self.live.get_mut(&index) {
            live.gone_since.get_or_insert_with(Instant::now);
        }
        let folder = self.attempt_folder(index);
        late::refresh(&folder);
        let last = collect::last_start(&folder);
        if last != folder {
            late::refresh(&last);
        }
    }

    fn exit_record(&self, index: usize) -> Option<ExitRecord> {
        collect::exit_record(&self.attempt_folder(index))
    }

    /// Ends what was cancelled by us and does not end by itself.
    pub(super) fn conclude_unheard(&mut self, steps: &[usize]) -> Result<(), JournalError> {
        for &index in steps {
            if let Some(job) = self.state.live_job(index) {
                let job = job.id.clone();
                self.conclude(index, &job, None)?;
            }
        }
        Ok(())
    }

    pub(super) fn conclude(
        &mut self,
        index: usize,
        job: &JobId,
        record: Option<JobRecord>,
    ) -> Result<(), JournalError> {
        let Some(live) = self.live.remove(&index) else {
            return Ok(());
        };
        let packed = self.state.steps()[index].part.is_some_and(Part::is_packed);
        let folder = self.attempt_folder(index);
        let exit = self.exit_record(index);
        let own = self.state.live_job(index);
        let submitted = own.map(|job| job.submitted);
        let verdict = judge(&Evidence {
            record: record.as_ref(),
            last: live.last.as_ref(),
            forgotten: live.is_forgotten(),
            books_silent: self.books.kept && self.books.are_silent(),
            restarts: live.restarts(),
            exit: exit.as_ref(),
            log: &collect::log_tail(&folder.join("log.txt")),
            cancelled: own.and_then(|job| job.cause.as_ref()),
        });
        let verdict = reports::judged(
            verdict,
            &self.setting.plan.steps[index],
            &folder,
            self.setting.prepare.common.limits,
        );
        let mut nodes = live.nodes;
        nodes.extend(
            record
                .iter()
                .flat_map(|record| record.nodes.iter().cloned()),
        );
        let ranks = exit.iter().flat_map(|exit| &exit.ranks);
        nodes.extend(ranks.filter_map(|rank| rank.host.clone()));
        let end = AttemptEnd {
            verdict,
            job: Some(job.clone()),
            submitted,
            record,
            nodes,
        };
        let attempt = Attempt::read(end, &folder, packed);
        self.close(index, attempt)
    }

    /// Writes down how an attempt ended, and whether it is tried elsewhere.
    pub(super) fn close(&mut self, index: usize, attempt: Attempt) -> Result<(), JournalError> {
        self.submission.placed.remove(&index);
        let step = &self.state.steps()[index];
        let number = step.attempt;
        let Setting {
            plan,
            prepare,
            folder,
            ..
        } = &self.setting;
        keep::make_up_for(prepare, &plan.steps[index], folder, number);
        let elsewhere = (step.misplaced < self.setting.elsewhere
            && self.stopping.is_none()
            && matches!(self.setting.scheduler, Scheduler::Slurm(_))
            && attempt.fault_of_place())
        .then(|| attempt.bad_nodes());
        self.misplaced |= elsewhere.is_some();
        let step = &self.setting.plan.steps[index];
        let away = match elsewhere.as_deref() {
            None | Some([]) => String::new(),
            Some(nodes) => format!(" away from {}", nodes.join(", ")),
        };
        let why = format!("{}; trying again{away}", attempt.end.verdict.message);
        let event = Event::Ended {
            step: step.slug.clone(),
            attempt: number,
            end: Box::new(attempt.end.clone()),
            elsewhere,
        };
        self.attempts.insert((index, number), attempt);
        self.note(&event)?;
        if self.state.steps()[index].verdict().is_none() {
            self.tell_again(index, number, Some(why));
        }
        Ok(())
    }

    /// Tells that a step waits for a job again.
    pub(super) fn tell_again(&self, index: usize, attempt: u32, why: Option<String>) {
        self.tell(Tell::Again {
            step: self.setting.plan.steps[index].name.clone(),
            attempt,
            why,
        });
    }
}
