//! What becomes of jobs that the scheduler did not take, or not for sure.

use std::time::Instant;

use super::adopt::Doubt;
use super::journal::JournalError;
use super::prepare::Unit;
use super::progress::Progress as Tell;
use super::state::Part;
use super::submit::not_submitted;
use super::watch::Watch;
use crate::config::Walltime;
use crate::scheduler::{Outcome, SubmitError, Verdict};

impl Watch<'_, '_> {
    /// Takes away what was made for a job that the scheduler does not have.
    pub(super) fn put_back(&mut self, unit: &Unit) {
        for (index, _, part) in &unit.steps {
            self.submission.placed.remove(index);
            if let Some(Part::Task { batch, .. } | Part::Packed { batch }) = part {
                // Another try makes another folder. This one may be gone already: several steps share it.
                fs_err::remove_dir_all(self.setting.folder.batch(*batch)).ok();
            }
        }
    }

    pub(super) fn not_taken(
        &mut self,
        unit: Unit,
        error: &SubmitError,
    ) -> Result<(), JournalError> {
        if matches!(error, SubmitError::Uncertain { .. }) {
            self.tell(Tell::Note(format!("{error}; looking for it")));
            self.doubts.insert(unit.request.name, Doubt::now());
            self.submission.put_off();
            return Ok(());
        }
        if !matches!(error, SubmitError::Transient { .. }) {
            self.answered();
        }
        self.put_back(&unit);
        let back = self.of_each(&unit, &not_submitted());
        if matches!(error, SubmitError::Limit { .. }) {
            let within = self.keep_within_limit(&unit);
            self.submission.put_off();
            if let Some(within) = within {
                self.tell(Tell::Note(format!("{error}; {within}")));
            }
            self.note_all(&back)?;
            return self.starve_outside(error);
        }
        if error.may_pass_later() {
            // Those that were at work at the same time failed for the same reason.
            if self.submission.hold.is_none() {
                self.submission.put_off();
            }
            let now = Instant::now();
            let silent = self.submission.silence.missed(now, now);
            if let Some(silent) = silent.filter(|_| !self.is_silent()) {
                let long = match silent.as_secs() {
                    0 => String::new(),
                    seconds => format!(" after {}", Walltime::from_secs(seconds)),
                };
                self.tell(Tell::Note(format!("{error}; still trying{long}")));
            }
            return self.note_all(&back);
        }
        let indices = unit.steps.iter().map(|(index, _, _)| *index);
        if unit.steps.len() > 1 {
            self.tell(Tell::Note(format!(
                "{error}; its {} steps become jobs of their own",
                unit.steps.len()
            )));
            self.submission.singly.extend(indices);
            return self.note_all(&back);
        }
        if !unit.request.exclude.is_empty() {
            self.submission.anywhere.extend(indices);
            return self.note_all(&back);
        }
        let help = error
            .help()
            .map_or(String::new(), |help| format!("; {help}"));
        for (index, attempt, _) in unit.steps {
            let verdict = Verdict::new(Outcome::Rejected, format!("{error}{help}"));
            self.end(index, attempt, verdict)?;
        }
        Ok(())
    }

    /// Others may use up a limit for good: who has been kept out of the queue by it for as long as it may wait there ends.
    fn starve_outside(&mut self, error: &SubmitError) -> Result<(), JournalError> {
        if self.in_flight() > 0 {
            self.submission.refused = None;
            return Ok(());
        }
        let since = *self.submission.refused.get_or_insert_with(Instant::now);
        let waited = since.elapsed();
        let plan = self.setting.plan;
        let starved = |index: &usize| waited > plan.steps[*index].resources.max_pending;
        let mut steps = self.state.startable(usize::MAX, |_| true);
        steps.retain(starved);
        for index in steps {
            let message = format!(
                "Slurm has taken no job of this run for longer than `max_pending`: {error}; \
                 `sacctmgr show assoc user=$USER` lists the limits; set another `account` or `qos`"
            );
            let verdict = Verdict::new(Outcome::Starved, message);
            self.end(index, self.state.steps()[index].attempt, verdict)?;
        }
        Ok(())
    }

    /// Asks for no more at a time than what Slurm has just been found to grant; returns what is new about that.
    fn keep_within_limit(&mut self, unit: &Unit) -> Option<String> {
        let tasks = u32::try_from(unit.steps.len()).unwrap_or(u32::MAX);
        if unit.request.array.is_some() && tasks > 1 {
            self.submission.most_tasks = Some(tasks / 2);
            return Some(format!("going on with arrays of {} steps", tasks / 2));
        }
        let most = self.in_flight().max(1);
        let before = self.submission.most.replace((most, Instant::now()));
        let same = before.is_some_and(|(before, _)| before == most);
        (!same).then(|| format!("going on with {most} jobs at a time"))
    }
}
