//! Submits the steps that may start: as jobs, arrays and packs, or onto the cores of this machine or allocation.
//!
//! What is about to be submitted is on disk before sbatch is called, and an answer that did not come is looked for before
//! anything is submitted again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use futures_util::{StreamExt as _, stream};

use super::history::History;
use super::journal::JournalError;
use super::live::{Attempt, Live};
use super::pace::{LONGEST_RETRY, SHORTEST_TICK, Silence, jittered};
use super::place;
use super::prepare::{PackFile, Unit};
use super::progress::{Attempted, Progress as Tell};
use super::state::{AttemptEnd, Event, Part};
use super::watch::{Watch, mix};
use crate::cancel::Cancel;
use crate::config::Walltime;
use crate::launch::Place;
use crate::plan::group::{self, Context, Grounds, Group, group};
use crate::plan::{Step, Strategy};
use crate::scheduler::admission::{Demand, Host, Placed, admit, fits};
use crate::scheduler::slurm::{Cluster, takes_array};
use crate::scheduler::{JobId, Outcome, Scheduler, SubmitError, Verdict};

/// How many sbatch run at once: more are no faster, and a controller has others to serve.
const AT_ONCE: usize = 8;
/// How many jobs are written down together before they are submitted.
const TOGETHER: usize = 32;
/// The least time that must be left of an allocation beside a step's own, for its exit record.
const LAST_WORDS: Duration = Duration::from_secs(10);
/// How long an sbatch that is at work may take when the run is stopped.
const LAST_CALL: Duration = Duration::from_secs(5);
/// For how long a limit that Slurm told is taken to hold.
const LIMIT_HOLDS: Duration = Duration::from_mins(5);

/// Where steps are started.
pub(super) enum Ground<'a> {
    /// Slurm takes jobs.
    Slurm {
        /// How many may be submitted and unfinished at a time.
        most: usize,
        /// What its partitions and arrays can hold.
        cluster: &'a Cluster,
        /// How long steps took in earlier runs.
        history: &'a History,
    },
    /// Steps share hosts.
    Hosts {
        /// This machine, or an allocation.
        place: Place,
        /// What there is.
        hosts: Vec<Host>,
        /// When the allocation ends.
        end: Option<DateTime<Utc>>,
        /// How long steps took in earlier runs; without it they start in the plan's order.
        history: Option<&'a History>,
    },
}

/// What is remembered between submissions.
#[derive(Debug, Default)]
pub(super) struct Submission {
    /// No submission before this.
    pub(super) hold: Option<Instant>,
    backoff: Duration,
    /// Steps that could not be submitted together with others.
    pub(super) singly: BTreeSet<usize>,
    /// Steps that are submitted although no node is left to avoid.
    pub(super) anywhere: BTreeSet<usize>,
    /// The most jobs at a time, as Slurm's limits turned out, and since when.
    pub(super) most: Option<(usize, Instant)>,
    /// Since when Slurm takes none of our jobs because of a limit, and has none.
    pub(super) refused: Option<Instant>,
    /// The most tasks of an array, as Slurm's limits turned out.
    pub(super) most_tasks: Option<u32>,
    /// What runs where on shared hosts.
    pub(super) placed: BTreeMap<usize, Placed>,
    /// Slurm's, if it takes no jobs.
    pub(super) silence: Silence,
}

impl Submission {
    /// Returns whether something that was put off may be submitted now.
    pub(super) fn due(&self, now: Instant) -> bool {
        self.hold.is_some_and(|until| now >= until)
    }

    /// Returns whether nothing is to be submitted now.
    fn is_held(&self) -> bool {
        self.hold.is_some_and(|until| Instant::now() < until)
    }

    pub(super) fn put_off(&mut self) {
        let wait = self.backoff.max(SHORTEST_TICK);
        // Drivers that were turned away together do not come back together.
        self.hold = Some(Instant::now() + jittered(wait, mix()));
        self.backoff = (wait * 2).min(LONGEST_RETRY);
    }
}

/// A group of steps that can start now; of a step on shared hosts, where.
struct Start {
    group: Group,
    placed: Option<Placed>,
}

impl Watch<'_, '_> {
    pub(super) async fn submit(&mut self) -> Result<(), JournalError> {
        if self.is_put_off() {
            return Ok(());
        }
        self.submission.hold = None;
        self.drop_unfit()?;
        let starts = self.startable();
        let mut rest = starts.as_slice();
        while !(rest.is_empty() || self.setting.cancel.asked() || self.submission.hold.is_some()) {
            // As long as Slurm takes none, one is enough to try.
            let silent = self.submission.silence.lasts(Instant::now()).is_some();
            let most = if silent { 1 } else { TOGETHER };
            let (some, others) = rest.split_at(most.min(rest.len()));
            self.submit_some(some).await?;
            rest = others;
        }
        Ok(())
    }

    /// Whether nothing is to be submitted now. Submissions that got no answer are looked for first: as long as nobody says what
    /// became of them, others fare no better.
    pub(super) fn is_put_off(&self) -> bool {
        self.submission.is_held() || !self.doubts.is_empty() && self.is_silent()
    }

    /// Whether something could be submitted now.
    pub(super) fn has_startable(&self) -> bool {
        !self.startable().is_empty()
    }

    fn startable(&self) -> Vec<Start> {
        match &self.setting.ground {
            Ground::Slurm {
                most,
                cluster,
                history,
            } => {
                let groups = self.groups(*most, cluster, history);
                let start = |group| Start {
                    group,
                    placed: None,
                };
                groups.into_iter().map(start).collect()
            }
            Ground::Hosts {
                place,
                hosts,
                history,
                ..
            } => self.admitted(*place, hosts, *history),
        }
    }

    fn groups(&self, most: usize, cluster: &Cluster, history: &History) -> Vec<Group> {
        let steps = &self.setting.plan.steps;
        let most = match self.submission.most {
            Some((limit, since)) if since.elapsed() < LIMIT_HOLDS => most.min(limit),
            _ => most,
        };
        let room = most.saturating_sub(self.in_flight());
        let strategy = |index: usize| self.strategy(index);
        let ready = self
            .state
            .startable(room, |index| strategy(index) == Strategy::Jobs);
        let together = |one: usize, other: usize| {
            strategy(one) == Strategy::Packed
                && strategy(other) == Strategy::Packed
                && group::packs_with(&steps[one], &steps[other])
        };
        let ready = self.state.with_followers(ready, together);
        let singly: BTreeSet<&str> = ready
            .iter()
            .filter(|&&index| strategy(index) == Strategy::Jobs)
            .map(|&index| steps[index].slug.as_str())
            .collect();
        let of = |step: &Step| {
            if singly.contains(step.slug.as_str()) {
                Strategy::Jobs
            } else {
                step.strategy
            }
        };
        let max_array = cluster.max_array_size.unwrap_or(1);
        let context = Context {
            grounds: &|partition| grounds(cluster, partition),
            elapsed: &|step| history.expected(&step.name),
            max_array: self
                .submission
                .most_tasks
                .map_or(max_array, |most| most.min(max_array)),
        };
        group(steps, &ready, of, &context)
    }

    fn strategy(&self, index: usize) -> Strategy {
        let step = &self.setting.plan.steps[index];
        let folder = self.setting.folder.root().to_string_lossy();
        match step.strategy {
            _ if self.submission.singly.contains(&index) => Strategy::Jobs,
            Strategy::Array if !takes_array(&folder) => Strategy::Jobs,
            strategy => strategy,
        }
    }

    /// How many jobs the scheduler has of us; an array counts once, and so does a pack.
    pub(super) fn in_flight(&self) -> usize {
        let roots: BTreeSet<&str> = self.state.live().map(|(_, job)| job.id.root()).collect();
        roots.len() + self.doubts.len()
    }

    // ---- shared hosts

    fn admitted(&self, place: Place, hosts: &[Host], history: Option<&History>) -> Vec<Start> {
        let mut waiting = self.state.startable(usize::MAX, |_| true);
        if let Some(history) = history {
            waiting.sort_by_key(|&index| {
                let step = &self.setting.plan.steps[index];
                let expected = history.expected(&step.name);
                std::cmp::Reverse(expected.unwrap_or(step.resources.time))
            });
        }
        let demands: Vec<Demand> = waiting
            .iter()
            .map(|&index| place::demand(&self.setting.plan.steps[index], place, hosts))
            .collect();
        let running: Vec<Placed> = self.submission.placed.values().cloned().collect();
        let admitted = admit(hosts, &running, &demands);
        admitted
            .into_iter()
            .map(|(at, placed)| Start {
                group: Group::Job(waiting[at]),
                placed: Some(placed),
            })
            .collect()
    }

    /// Ends the steps that the allocation cannot hold, or not any more.
    fn drop_unfit(&mut self) -> Result<(), JournalError> {
        let Ground::Hosts {
            place: Place::Allocation,
            hosts,
            end,
            ..
        } = &self.setting.ground
        else {
            return Ok(());
        };
        let left = end.map(|end| (end - Utc::now()).to_std().unwrap_or_default());
        let unfit: Vec<(usize, Verdict)> = self
            .state
            .startable(usize::MAX, |_| true)
            .into_iter()
            .filter_map(|index| {
                let step = &self.setting.plan.steps[index];
                Some((
                    index,
                    too_large(step, hosts).or_else(|| too_long(step, left))?,
                ))
            })
            .collect();
        for (index, verdict) in unfit {
            let attempt = self.state.steps()[index].attempt;
            self.end(index, attempt, verdict)?;
        }
        Ok(())
    }

    fn names_of(&self, placed: Option<&Placed>) -> Vec<String> {
        match (&self.setting.ground, placed) {
            (
                Ground::Hosts {
                    place: Place::Allocation,
                    hosts,
                    ..
                },
                Some(placed),
            ) => placed
                .hosts
                .iter()
                .map(|&at| hosts[at].name.clone())
                .collect(),
            _ => Vec::new(),
        }
    }

    // ---- submitting

    async fn submit_some(&mut self, starts: &[Start]) -> Result<(), JournalError> {
        let mut units = Vec::with_capacity(starts.len());
        for start in starts {
            let on = self.names_of(start.placed.as_ref());
            let attempt = |index: usize| self.state.steps()[index].attempt;
            match self.setting.prepare.group(&start.group, &attempt, &on) {
                Ok(mut unit) => {
                    unit.request.exclude = self.avoided(&unit);
                    units.push(unit);
                    let placed = start.placed.clone();
                    self.submission
                        .placed
                        .extend(placed.map(|placed| (start.group.steps()[0], placed)));
                }
                Err(error) => {
                    for &index in start.group.steps() {
                        let verdict = Verdict::new(
                            Outcome::LaunchFailed,
                            format!("the files of the step could not be written: {error}"),
                        );
                        self.end(index, self.state.steps()[index].attempt, verdict)?;
                    }
                }
            }
        }
        let events: Vec<Event> = units
            .iter()
            .flat_map(|unit| self.of_each(unit, &submitting(unit)))
            .collect();
        self.note_all(&events)?;
        let (scheduler, cancel) = (self.setting.scheduler, self.setting.cancel);
        let submitting = call_all(scheduler, cancel, units);
        let submitted = self.patiently("sbatch", submitting).await;
        let mut events = Vec::new();
        for (unit, submitted) in &submitted {
            match submitted {
                Some(Ok(job)) => events.extend(self.of_each(unit, &taken(job))),
                Some(Err(_)) => {}
                None => events.extend(self.of_each(unit, &not_submitted())),
            }
        }
        self.note_all(&events)?;
        for (unit, submitted) in submitted {
            match submitted {
                Some(Ok(job)) => self.take_up(&unit.steps, &job),
                Some(Err(error)) => self.not_taken(unit, &error)?,
                None => self.put_back(&unit),
            }
        }
        Ok(())
    }

    pub(super) fn of_each(
        &self,
        unit: &Unit,
        event: &dyn Fn(String, u32, Option<Part>) -> Event,
    ) -> Vec<Event> {
        let steps = unit.steps.iter();
        let slug = |index: usize| self.setting.plan.steps[index].slug.clone();
        steps
            .map(|&(index, attempt, part)| event(slug(index), attempt, part))
            .collect()
    }

    /// The nodes where an attempt of these steps failed for no fault of theirs.
    fn avoided(&self, unit: &Unit) -> Vec<String> {
        let free = |index: &usize| !self.submission.anywhere.contains(index);
        let steps = unit.steps.iter().map(|(index, _, _)| *index).filter(free);
        let nodes: BTreeSet<&String> = steps
            .flat_map(|index| &self.state.steps()[index].avoid)
            .collect();
        nodes.into_iter().cloned().collect()
    }

    /// Follows the steps of a job that the scheduler has.
    pub(super) fn take_up(&mut self, steps: &[(usize, u32, Option<Part>)], job: &JobId) {
        self.submission.backoff = Duration::ZERO;
        self.submission.refused = None;
        self.pace.news();
        self.answered();
        if let Some(silent) = self.submission.silence.over(Instant::now()) {
            self.tell(Tell::Note(format!(
                "jobs are submitted again after {}",
                Walltime::from_secs(silent.as_secs())
            )));
        }
        for &(index, attempt, part) in steps {
            self.follow(index);
            let step = &self.setting.plan.steps[index];
            let job = Part::of(part, job).to_string();
            self.tell(Tell::Queued {
                attempt: Attempted::of(step, attempt, Some(job)),
                reason: None,
                start: None,
            });
        }
        if let Some(&(_, _, Some(Part::Packed { batch }))) = steps.first()
            && let Ok(pack) = PackFile::read(&self.setting.folder.pack_file(batch))
        {
            self.tell(Tell::Note(format!(
                "{} steps are packed into job {job}: {} nodes of {} cores for {}",
                steps.len(),
                pack.nodes,
                pack.cores,
                Walltime::from_secs(pack.time.as_secs()),
            )));
        }
    }

    /// Follows a step that has a job.
    pub(super) fn follow(&mut self, index: usize) {
        let Some(job) = self.state.live_job(index) else {
            return;
        };
        let mut live = Live::since(job.submitted);
        if let Some(Part::Packed { batch }) = self.state.steps()[index].part {
            let pack = PackFile::read(&self.setting.folder.pack_file(batch));
            live.limit = pack.ok().map(|pack| pack.time);
            self.packs.add(batch, self.setting.folder);
        }
        self.live.insert(index, live);
    }

    /// Ends an attempt that never had a job.
    pub(super) fn end(
        &mut self,
        index: usize,
        attempt: u32,
        verdict: Verdict,
    ) -> Result<(), JournalError> {
        let end = AttemptEnd::without_job(verdict);
        let slug = &self.setting.plan.steps[index].slug;
        let folder = self.setting.folder.attempt(slug, attempt);
        self.attempts
            .insert((index, attempt), Attempt::read(end.clone(), &folder, false));
        let step = slug.clone();
        self.note(&Event::Ended {
            step,
            attempt,
            end: Box::new(end),
            elsewhere: None,
        })
    }
}

/// Submits these jobs, some at a time. When one cannot be submitted now, those that were to come after it are not tried.
async fn call_all(
    scheduler: &Scheduler,
    cancel: &Cancel,
    units: Vec<Unit>,
) -> Vec<(Unit, Option<Result<JobId, SubmitError>>)> {
    let off = AtomicBool::new(false);
    let stopped = async || {
        cancel.token().cancelled().await;
        tokio::time::sleep(LAST_CALL).await;
    };
    let (off, stopped) = (&off, &stopped);
    stream::iter(units)
        .map(|unit| async move {
            if off.load(Ordering::Relaxed) || cancel.asked() {
                return (unit, None);
            }
            let submitted = tokio::select! {
                submitted = scheduler.submit(&unit.request) => submitted,
                () = stopped() => Err(SubmitError::Uncertain {
                    said: "no answer before the run was stopped".to_owned(),
                }),
            };
            if submitted.as_ref().is_err_and(SubmitError::may_pass_later) {
                off.store(true, Ordering::Relaxed);
            }
            (unit, Some(submitted))
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await
}

fn submitting(unit: &Unit) -> impl Fn(String, u32, Option<Part>) -> Event {
    |step, attempt, part| Event::Submitting {
        step,
        attempt,
        name: unit.request.name.clone(),
        part,
    }
}

pub(super) fn not_submitted() -> impl Fn(String, u32, Option<Part>) -> Event {
    |step, attempt, _| Event::NotSubmitted { step, attempt }
}

pub(super) fn taken(job: &JobId) -> impl Fn(String, u32, Option<Part>) -> Event {
    let at = Utc::now();
    move |step, attempt, part| Event::Submitted {
        step,
        attempt,
        job: Part::of(part, job),
        at,
    }
}

/// Returns what a partition's nodes can hold.
#[must_use]
pub fn grounds(cluster: &Cluster, partition: Option<&str>) -> Grounds {
    let Some(partition) = cluster.partition(partition) else {
        return Grounds::default();
    };
    let shapes = &partition.shapes;
    Grounds {
        cores: shapes.iter().map(|shape| shape.cpus).min(),
        memory: shapes.iter().map(|shape| shape.memory).min(),
        nodes: Some(partition.max_nodes.unwrap_or(u32::MAX).min(partition.nodes)),
        time: partition.max_time,
    }
}

fn too_large(step: &Step, hosts: &[Host]) -> Option<Verdict> {
    let demand = place::demand(step, Place::Allocation, hosts);
    if fits(hosts, &demand) {
        return None;
    }
    let largest = hosts.iter().map(|host| host.cores).max().unwrap_or(0);
    let message = format!(
        "it takes {} nodes with {} cores each, and the allocation has {} with up to {largest}",
        demand.nodes,
        demand.cores,
        hosts.len()
    );
    Some(Verdict::new(Outcome::Rejected, message))
}

fn too_long(step: &Step, left: Option<Duration>) -> Option<Verdict> {
    let left = left?;
    let time = step.resources.time;
    (time + LAST_WORDS > left).then(|| {
        let message = format!(
            "its time of {} does not fit into the {} that are left of the allocation",
            Walltime::from_secs(time.as_secs()),
            Walltime::from_secs(left.as_secs())
        );
        Verdict::new(Outcome::NotRun, message)
    })
}
