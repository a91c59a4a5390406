//! Threads that take files one by one, find out which binary each belongs to, and add its counters.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hasher as _};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Scope;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};

use super::super::hash::NumberHash;
use super::super::profile::{Header, Layout, MAX_HEADER, Shape};
use super::super::source::{ReadAt, Source};
use super::sum::{Group, check};
use super::window::{SMALL, Window, split};
use super::{MOST_HOLLOW, Options, Outcome, Verify, Watch, lock};

/// A file out of this many is compared in full, beside the first and the last.
const SAMPLE: usize = 128;

const TRAILING: &str = "other bytes follow the profile";

/// A file that took longer than this was waited for.
const SLOW: Duration = Duration::from_micros(250);

/// A thread looks this often whether another one would pay.
const LOOK: u32 = 4;

/// Adds up all files; every binary's group is returned, used or not.
pub(super) fn run<S: Source + ?Sized, W: Watch>(
    source: &S,
    options: &Options,
    watch: &W,
) -> (Vec<Arc<Group>>, Vec<Outcome>) {
    let in_flight = options.in_flight.max(options.cores).get();
    let shared = Shared {
        source,
        watch,
        batch: (source.len() / in_flight).clamp(1, watch.batch()),
        verify: options.verify,
        cores: options.cores.get(),
        in_flight,
        next: AtomicUsize::new(0),
        workers: AtomicUsize::new(0),
        hollow: AtomicU64::new(0),
        groups: Mutex::default(),
        outcomes: Mutex::new(vec![Outcome::Used; source.len()]),
    };
    std::thread::scope(|scope| {
        for _ in 1..shared.cores.min(source.len()) {
            shared.start(scope);
        }
        shared.workers.fetch_add(1, Ordering::Relaxed);
        work(&shared, scope);
    });
    let groups = shared
        .groups
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    let outcomes = shared
        .outcomes
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    (groups.into_values().flatten().collect(), outcomes)
}

struct Shared<'a, S: ?Sized, W> {
    source: &'a S,
    watch: &'a W,
    batch: usize,
    verify: Verify,
    cores: usize,
    in_flight: usize,
    next: AtomicUsize,
    workers: AtomicUsize,
    /// Bytes in holes of the files that groups were made of.
    hollow: AtomicU64,
    groups: Mutex<HashMap<Key, Vec<Arc<Group>>>>,
    outcomes: Mutex<Vec<Outcome>>,
}

/// The header, and the build ids or what stands for them.
type Key = (Header, Vec<u8>);

impl<S: Source + ?Sized, W: Watch> Shared<'_, S, W> {
    fn start<'scope, 'env>(&'env self, scope: &'scope Scope<'scope, 'env>) {
        let before = self.workers.fetch_add(1, Ordering::Relaxed);
        let spawned = before < self.in_flight
            && std::thread::Builder::new()
                .spawn_scoped(scope, move || work(self, scope))
                .is_ok();
        if !spawned {
            self.workers.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

fn work<'scope, 'env, S: Source + ?Sized, W: Watch>(
    shared: &'env Shared<'env, S, W>,
    scope: &'scope Scope<'scope, 'env>,
) {
    let mut worker = Worker {
        shared,
        watching: shared.watch.worker(),
        number: shared.workers.load(Ordering::Relaxed),
        stood_in_line: 0,
        buffer: Vec::new(),
        last: None,
        parts: Vec::new(),
    };
    let files = shared.source.len();
    let (mut failures, mut patience) = (Vec::new(), Patience::default());
    let mut used = Vec::new();
    loop {
        let start = shared.next.fetch_add(shared.batch, Ordering::Relaxed);
        if start >= files {
            break;
        }
        for index in start..files.min(start + shared.batch) {
            match worker.add(index) {
                Ok(()) => used.extend(worker.parts.drain(..).map(|(_, group)| (group, index))),
                Err(outcome) => failures.push((index, outcome)),
            }
            if patience.ends(std::mem::take(&mut worker.stood_in_line))
                && shared.next.load(Ordering::Relaxed) < files
            {
                shared.start(scope);
            }
        }
        shared.watch.end_batch(&mut worker.watching);
    }
    for (group, index) in used {
        lock(&group.files).push(index);
    }
    let mut all = lock(&shared.outcomes);
    for (index, outcome) in failures {
        if let Some(slot) = all.get_mut(index) {
            *slot = outcome;
        }
    }
}

/// Notices that a thread mostly waits for storage, so that another one would pay.
#[derive(Default)]
struct Patience {
    files: u32,
    stood_in_line: i64,
    since: Option<(Instant, i64)>,
}

impl Patience {
    /// Returns, after every few files, whether they were waited for: they took long, and it was the thread that gave up
    /// the processor to wait, and not the system that took it away for another program. To have `stood_in_line` for
    /// other threads of ours is no reason for more of them.
    fn ends(&mut self, stood_in_line: i64) -> bool {
        self.files += 1;
        self.stood_in_line += stood_in_line;
        if self.files < LOOK && self.since.is_some() {
            return false;
        }
        let waits = getrusage(UsageWho::RUSAGE_THREAD)
            .map_or(0, |usage| usage.voluntary_context_switches());
        let now = (Instant::now(), waits);
        let before = self.since.replace(now);
        let files = std::mem::take(&mut self.files);
        let lines = std::mem::take(&mut self.stood_in_line);
        before.is_some_and(|(begin, before)| {
            now.0 - begin > SLOW * files && waits - before - lines >= i64::from(files / 2)
        })
    }
}

struct Worker<'a, S: ?Sized, W: Watch> {
    shared: &'a Shared<'a, S, W>,
    watching: W::Worker,
    number: usize,
    stood_in_line: i64,
    buffer: Vec<u8>,
    last: Option<Arc<Group>>,
    parts: Vec<(u64, Arc<Group>)>,
}

impl<S: Source + ?Sized, W: Watch> Worker<'_, S, W> {
    fn add(&mut self, index: usize) -> Result<(), Outcome> {
        let file = self.shared.source.open(index)?;
        let size = file.size()?;
        if size == 0 {
            return Err(Outcome::Empty);
        }
        let mut window = Window {
            file: &file,
            size,
            start: 0,
            bytes: std::mem::take(&mut self.buffer),
            len: 0,
        };
        let mut parts = std::mem::take(&mut self.parts);
        parts.clear();
        let result = self
            .find_parts(index, &mut window, &mut parts)
            .and_then(|()| self.add_parts(index, &mut window, &parts));
        self.buffer = window.bytes;
        self.parts = parts;
        result
    }

    /// Finds the profiles that stand one after another in a file: usually one, several if instrumented libraries
    /// share a file with their program. A file is used as a whole or not at all.
    fn find_parts<F: ReadAt>(
        &mut self,
        index: usize,
        window: &mut Window<'_, F>,
        parts: &mut Vec<(u64, Arc<Group>)>,
    ) -> Result<(), Outcome> {
        let needed = self.last.as_ref().map_or(0, |group| {
            group.shape.layout().counters.start + 8 * group.counters()
        });
        let ahead = if needed <= SMALL {
            needed.max(SMALL)
        } else {
            512
        };
        window.prefetch(0, ahead)?;
        let mut base = 0;
        while let Some(start) = window.skip_zeros(base)? {
            if start != base && (base == 0 || !start.is_multiple_of(8)) {
                return Err(if base == 0 {
                    Outcome::Foreign
                } else {
                    Outcome::Damaged(TRAILING)
                });
            }
            let (group, end) =
                self.find_group(index, window, start)
                    .map_err(|outcome| match outcome {
                        Outcome::Foreign if start > 0 => Outcome::Damaged(TRAILING),
                        other => other,
                    })?;
            parts.push((start, group));
            base = start + end;
        }
        if parts.is_empty() {
            Err(Outcome::Empty)
        } else {
            Ok(())
        }
    }

    fn find_group<F: ReadAt>(
        &mut self,
        index: usize,
        window: &mut Window<'_, F>,
        base: u64,
    ) -> Result<(Arc<Group>, u64), Outcome> {
        let head = window.get(base, (MAX_HEADER as u64).min(window.size - base))?;
        let header = Header::parse(head)?.identity();
        let layout = header.layout()?;
        if window.size - base < layout.end {
            return Err(Outcome::Truncated {
                expected: base + layout.end,
                got: window.size,
            });
        }
        let ids = window.get(base + layout.binary_ids.start, layout.binary_ids.len)?;
        let full = self.shared.verify == Verify::Full
            || ids.is_empty()
            || index.is_multiple_of(SAMPLE)
            || index + 1 == self.shared.source.len();
        let alike = self
            .last
            .clone()
            .filter(|last| last.shape.binary_ids_bytes() == ids && *last.shape.header() == header);
        if let Some(last) = &alike
            && !full
        {
            return Ok((Arc::clone(last), layout.end));
        }
        let ids = ids.to_vec();
        if let Some(last) = alike
            && is_equal(&last, window, base, &layout)?
        {
            return Ok((last, layout.end));
        }
        let key = if ids.is_empty() {
            print(window, base, &layout)?
        } else {
            ids.clone()
        };
        let known = self.candidates(&header, &key);
        let group = match known.first() {
            Some(group) if !full => Arc::clone(group),
            _ => match find_equal(&known, window, base, &layout)? {
                Some(group) => group,
                None if known.is_empty() || ids.is_empty() => {
                    self.create((&header, key), ids, window, base, &layout)?
                }
                None => return Err(Outcome::Differs),
            },
        };
        self.last = Some(Arc::clone(&group));
        Ok((group, layout.end))
    }

    fn candidates(&self, header: &Header, key: &[u8]) -> Vec<Arc<Group>> {
        lock(&self.shared.groups)
            .get(&(header.clone(), key.to_vec()))
            .cloned()
            .unwrap_or_default()
    }

    /// Makes a group for a binary that is seen for the first time; two threads may find the same one at once.
    fn create<F: ReadAt>(
        &self,
        (header, key): (&Header, Vec<u8>),
        ids: Vec<u8>,
        window: &mut Window<'_, F>,
        base: u64,
        layout: &Layout,
    ) -> Result<Arc<Group>, Outcome> {
        let has_ids = !ids.is_empty();
        self.afford(window.file, base..base + layout.end)?;
        let data = window.copy(base + layout.data.start, layout.data.len)?;
        let names = window.copy(base + layout.names.start, layout.names.len)?;
        let shape = Shape::new(header, ids, data, names)?;
        let mut groups = lock(&self.shared.groups);
        let known = groups.entry((header.clone(), key)).or_default();
        if let Some(group) = known.iter().find(|group| *group.shape == shape) {
            return Ok(Arc::clone(group));
        }
        if !known.is_empty() && has_ids {
            return Err(Outcome::Differs);
        }
        let group = Arc::new(Group::new(shape, self.shared.cores));
        known.push(Arc::clone(&group));
        Ok(group)
    }

    /// Takes room for what is in holes: nobody paid for these with bytes on a disk, and each group takes memory.
    fn afford<F: ReadAt>(&self, file: &F, part: Range<u64>) -> Result<(), Outcome> {
        let asked = part.end - part.start;
        let hollow = asked.saturating_sub(file.held(part)?);
        let take = |all: u64| all.checked_add(hollow).filter(|&all| all <= MOST_HOLLOW);
        let room = &self.shared.hollow;
        let taken = room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        taken.map(drop).map_err(|_| Outcome::Hollow { hollow })
    }

    fn add_parts<F: ReadAt>(
        &mut self,
        index: usize,
        window: &mut Window<'_, F>,
        parts: &[(u64, Arc<Group>)],
    ) -> Result<(), Outcome> {
        // The counters of all parts but the last are checked before any is added.
        if let [_, _, ..] = parts {
            for (base, group) in parts {
                let counters = group.shape.layout().counters;
                check(window.get(base + counters.start, counters.len)?)?;
            }
        }
        for (base, group) in parts {
            let Layout {
                counters, bitmap, ..
            } = *group.shape.layout();
            let bytes = window.get(
                base + counters.start,
                bitmap.start + bitmap.len - counters.start,
            )?;
            let (counters, rest) = split(bytes, counters.len);
            let (_, bitmap) = split(rest, rest.len() as u64 - bitmap.len);
            self.stood_in_line += i64::from(group.add(self.number, counters, bitmap)?);
            self.shared
                .watch
                .see(&mut self.watching, index, &group.shape, counters);
        }
        Ok(())
    }
}

/// Returns what tells functions and names from others, so that a file without build id is not compared with those of every binary.
fn print<F: ReadAt>(
    window: &mut Window<'_, F>,
    base: u64,
    layout: &Layout,
) -> Result<Vec<u8>, Outcome> {
    let mut hasher = NumberHash.build_hasher();
    for span in [layout.data, layout.names] {
        window.each_piece(base + span.start, span.len, |piece| hasher.write(piece))?;
    }
    Ok(hasher.finish().to_le_bytes().to_vec())
}

/// Returns the group whose functions and names are those of the file.
fn find_equal<F: ReadAt>(
    known: &[Arc<Group>],
    window: &mut Window<'_, F>,
    base: u64,
    layout: &Layout,
) -> Result<Option<Arc<Group>>, Outcome> {
    for group in known {
        if is_equal(group, window, base, layout)? {
            return Ok(Some(Arc::clone(group)));
        }
    }
    Ok(None)
}

fn is_equal<F: ReadAt>(
    group: &Group,
    window: &mut Window<'_, F>,
    base: u64,
    layout: &Layout,
) -> Result<bool, Outcome> {
    Ok(
        window.equals(base + layout.data.start, group.shape.data_bytes())?
            && window.equals(base + layout.names.start, group.shape.names_bytes())?,
    )
}
