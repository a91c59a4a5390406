//! Profiles that processes wrote elsewhere than they were told to: looked for before the steps and after them.
//!
//! Of a step's own folder, and of a copy of the tree that it alone has, it is known whose they are. Those in a tree that several
//! steps share belong to the run, if all that ran there counts; else nobody can tell whether they do.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use super::Run;
use super::builds::Builder;
use super::cover::Given;
use super::late;
use super::ledger::FileState;
use super::state::{RunState, StepState};
use super::stored::put;
use crate::config::Cwd;
use crate::coverage::elsewhere::{Folder, Print, Seen, look};
use crate::foreign;
use crate::launch::Place;
use crate::plan::{Producer, Step};
use crate::results::record::{Loss, ProfileElsewhere};

/// Files that the ledger lists.
const LISTED: usize = 1000;
/// Folders of an attempt in which nothing is written elsewhere: what belongs there, and copies.
const OWN: &[&str] = &[
    "profiles",
    "tracefiles",
    "ranks",
    "nodes",
    "storage",
    "tree",
    "keep",
];

/// A profile that a process wrote where it chose.
pub(super) struct Astray {
    pub(super) path: PathBuf,
    /// As people are told of it.
    shown: String,
    pub(super) build: String,
    step: Option<String>,
    /// Why it does not count.
    doubt: Option<&'static str>,
}

const SHARED: &str = "a step that was tried more than once, or that counts for no coverage, ran in the same folder, so nobody \
                      can tell whether it counts";
const TOO_MANY: &str =
    "not all of the work trees was looked through for profiles: they hold too many files";
const FORGOTTEN: &str = "which profiles stood in the work trees before the steps is not known any more, so none written past \
                         `LLVM_PROFILE_FILE` was looked for";
const MERGED: &str = "it was there before the steps, and holds counts of before";

/// What was found.
#[derive(Default)]
pub(super) struct Elsewhere {
    files: Vec<Astray>,
    /// Why not all was looked at.
    blind: Option<&'static str>,
}

/// A folder that steps share, and which they are.
struct Shared<'a> {
    build: &'a str,
    path: PathBuf,
    steps: Vec<(&'a Step, &'a StepState)>,
}

/// Writes down which profiles stand in the folders of the steps before these run; a driver before may have done so.
pub(super) fn note(run: &Run, builder: &Builder<'_>) -> std::io::Result<()> {
    let path = run.folder.elsewhere();
    let gives = |step: &Step| step.runs() && step.coverage == Producer::Llvm;
    if path.exists() || !run.request.plan.steps.iter().any(gives) {
        return Ok(());
    }
    let seen = look(&folders(run, builder), &skipped(run));
    put(&path, &serde_json::to_vec(&seen)?, 0o666)
}

/// Returns the profiles that came to stand there since.
pub(super) fn gather(
    run: &Run,
    builder: &Builder<'_>,
    state: &RunState,
    given: &[&Given<'_>],
) -> Elsewhere {
    if given.is_empty() {
        return Elsewhere::default();
    }
    let text = foreign::read(run.folder.elsewhere(), foreign::DOCUMENT);
    let before: Option<Seen> = text
        .ok()
        .and_then(|text| serde_json::from_slice(&text).ok());
    let Some(before) = before else {
        return Elsewhere {
            blind: Some(FORGOTTEN),
            ..Elsewhere::default()
        };
    };
    let folders = folders(run, builder);
    if run.request.place == Place::Job {
        // Others than this host may have written; trees in place are not ours to write to.
        let own = folders
            .iter()
            .filter(|it| it.path.starts_with(&run.request.workspace));
        own.for_each(|folder| late::refresh(&folder.path));
    }
    let now = look(&folders, &skipped(run));
    let mut found = Elsewhere {
        blind: (before.cut || now.cut).then_some(TOO_MANY),
        ..Elsewhere::default()
    };
    let shared = shared(run, builder, state);
    let merged: BTreeSet<&PathBuf> = now.merged_into(&before).collect();
    for path in now.since(&before).chain(merged.iter().copied()) {
        // Of folders in one another the innermost is meant.
        let homes = shared.iter().filter(|it| path.starts_with(&it.path));
        let Some(home) = homes.max_by_key(|it| it.path.as_os_str().len()) else {
            continue;
        };
        let doubt = if merged.contains(path) {
            Some(MERGED)
        } else {
            (!home.counts(run)).then_some(SHARED)
        };
        found.files.push(Astray {
            path: path.clone(),
            shown: home.shown(path, builder, run),
            build: home.build.to_owned(),
            step: home.only_step(),
            doubt,
        });
    }
    for given in given {
        found
            .files
            .extend(of_attempt(run, builder, given, &before, &now));
    }
    found
}

/// Profiles below the folder of an attempt, and in the copy of the tree that it had for itself.
fn of_attempt(
    run: &Run,
    builder: &Builder<'_>,
    given: &Given<'_>,
    before: &Seen,
    now: &Seen,
) -> Vec<Astray> {
    let attempt = run.folder.attempt(&given.step.slug, given.attempt);
    let skip: Vec<PathBuf> = [&attempt, &given.start]
        .into_iter()
        .flat_map(|folder| OWN.iter().map(move |name| folder.join(name)))
        .collect();
    let folder = |path: PathBuf| Folder { path, below: true };
    let own = look(&[folder(attempt.clone())], &skip);
    let copy = given.start.join("tree");
    let in_copy = look(&[folder(copy.clone())], &[]);
    let tree = run.request.plan.build(&given.step.build);
    let tree = tree.map(|build| builder.tree(build)).unwrap_or_default();
    let was_copied = |path: &Path, print: &Print| {
        let there = path.strip_prefix(&copy).map(|rest| tree.join(rest));
        let original = |seen: &Seen| {
            let original = there.as_ref().ok().and_then(|path| seen.files.get(path));
            original.is_some_and(|original| print.is_copy_of(original))
        };
        original(before) || original(now)
    };
    let own = own.files.into_keys();
    let in_copy = in_copy.files.into_iter();
    let in_copy = in_copy.filter(|(path, print)| !was_copied(path, print));
    own.chain(in_copy.map(|(path, _)| path))
        .map(|path| {
            let shown = path.strip_prefix(&attempt).unwrap_or(&path);
            Astray {
                shown: shown.to_string_lossy().into_owned(),
                build: given.step.build.clone(),
                step: Some(given.step.name.clone()),
                // Another start of this attempt may have left it.
                doubt: (!path.starts_with(&given.start)).then_some(SHARED),
                path,
            }
        })
        .collect()
}

/// The folders that steps share: the trees of instrumented builds, and what else their steps run in.
fn folders(run: &Run, builder: &Builder<'_>) -> Vec<Folder> {
    let plan = &run.request.plan;
    let mut folders: Vec<Folder> = Vec::new();
    for build in plan
        .builds
        .iter()
        .filter(|it| it.coverage == Producer::Llvm)
    {
        let tree = builder.tree(build);
        let steps = plan.steps.iter().filter(|step| step.build == build.id);
        let outside = steps.filter_map(|step| cwd_outside(step, &tree));
        folders.extend(outside.map(|path| Folder { path, below: false }));
        folders.push(Folder {
            path: tree,
            below: true,
        });
    }
    folders.sort_by(|a, b| (&a.path, !a.below).cmp(&(&b.path, !b.below)));
    folders.dedup_by(|next, kept| next.path == kept.path);
    folders
}

/// The same folders with who ran there.
fn shared<'a>(run: &'a Run, builder: &Builder<'_>, state: &'a RunState) -> Vec<Shared<'a>> {
    let plan = &run.request.plan;
    let mut shared: Vec<Shared<'a>> = Vec::new();
    for build in plan
        .builds
        .iter()
        .filter(|it| it.coverage == Producer::Llvm)
    {
        let tree = builder.tree(build);
        shared.push(Shared {
            build: &build.id,
            path: tree.clone(),
            steps: Vec::new(),
        });
        for (step, state) in plan.steps.iter().zip(state.steps()) {
            if step.build != build.id || step.cwd == Cwd::Private || starts(run, step, state) == 0 {
                continue;
            }
            let path = cwd_outside(step, &tree).unwrap_or_else(|| tree.clone());
            match shared.iter_mut().find(|it| it.path == path) {
                Some(known) => known.steps.push((step, state)),
                None => shared.push(Shared {
                    build: &build.id,
                    path,
                    steps: vec![(step, state)],
                }),
            }
        }
    }
    shared
}

impl Shared<'_> {
    /// Whether all that ran here counts.
    fn counts(&self, run: &Run) -> bool {
        let counts = |(step, state): &(&Step, &StepState)| {
            step.coverage == Producer::Llvm && starts(run, step, state) == 1
        };
        self.steps.iter().all(counts)
    }

    fn only_step(&self) -> Option<String> {
        match self.steps.as_slice() {
            [(step, _)] => Some(step.name.clone()),
            _ => None,
        }
    }

    fn shown(&self, path: &Path, builder: &Builder<'_>, run: &Run) -> String {
        let build = run.request.plan.build(self.build);
        let tree = build.map(|build| builder.tree(build)).unwrap_or_default();
        let shown = path.strip_prefix(&tree).unwrap_or(path);
        shown.to_string_lossy().into_owned()
    }
}

/// How often a step was started, whether by us or again by Slurm.
fn starts(run: &Run, step: &Step, state: &StepState) -> usize {
    let attempts = 1..=state.attempt;
    let of_attempt = |number: u32| {
        let folder = run.folder.attempt(&step.slug, number);
        let names = foreign::names(&folder);
        let again = names.iter().filter(|name| name.starts_with("restart-"));
        usize::from(folder.join("ranks").exists()) + again.count()
    };
    attempts.map(of_attempt).sum()
}

/// Where a step runs, if that is no part of the tree.
fn cwd_outside(step: &Step, tree: &Path) -> Option<PathBuf> {
    let Cwd::Path(path) = &step.cwd else {
        return None;
    };
    let mut cwd = PathBuf::new();
    for part in tree.join(path).components() {
        match part {
            Component::ParentDir => {
                cwd.pop();
            }
            Component::CurDir => {}
            part => cwd.push(part),
        }
    }
    (!cwd.starts_with(tree)).then_some(cwd)
}

/// A tree in place may hold the workspace with all its runs.
fn skipped(run: &Run) -> Vec<PathBuf> {
    let own = [&run.request.workspace, &run.request.artifacts];
    let real = own
        .iter()
        .filter_map(|path| fs_err::canonicalize(path).ok());
    own.into_iter().cloned().chain(real).collect()
}

impl Elsewhere {
    /// Returns those of a build that count.
    pub(super) fn of_build(&self, build: &str) -> Vec<PathBuf> {
        let counting = self.files.iter().filter(|it| it.doubt.is_none());
        let own = counting.filter(|it| it.build == build);
        own.map(|it| it.path.clone()).collect()
    }

    /// Returns how many there are.
    pub(super) fn count(&self) -> u64 {
        self.files.len() as u64
    }

    /// Returns them as the ledger has them, given the state of those that were read.
    pub(super) fn listed(
        &self,
        state: impl Fn(&Path) -> Option<FileState>,
    ) -> Vec<ProfileElsewhere> {
        let entry = |file: &Astray| {
            let state = state(&file.path).unwrap_or_else(|| {
                FileState::Foreign(file.doubt.unwrap_or("it was not read").to_owned())
            });
            ProfileElsewhere {
                file: Some(file.shown.clone()),
                build: Some(file.build.clone()),
                step: file.step.clone(),
                used: state == FileState::Used,
                message: (state != FileState::Used).then(|| state.say().to_owned()),
                state: state.ledger(),
            }
        };
        self.files.iter().take(LISTED).map(entry).collect()
    }

    /// Returns what is lost with those that do not count.
    pub(super) fn losses(&self) -> impl Iterator<Item = Loss> {
        self.files.iter().filter_map(|file| {
            Some(Loss {
                file: file.shown.clone(),
                step: file.step.clone(),
                line: None,
                reason: file.doubt?.to_owned(),
            })
        })
    }

    /// Returns what a person is to know.
    pub(super) fn say(&self) -> Vec<String> {
        let mut said = Vec::new();
        if let Some(first) = self.files.first() {
            let names: Vec<String> = self
                .files
                .iter()
                .map(|it| format!("`{}`", it.shown))
                .collect();
            let (count, shown) = (names.len(), names.iter().take(3));
            let mut shown: Vec<&str> = shown.map(String::as_str).collect();
            let more = (count > shown.len()).then(|| format!("{} more", count - shown.len()));
            shown.extend(more.as_deref());
            let (profiles, were) = if count == 1 {
                ("profile was", "it counts")
            } else {
                ("profiles were", "they count")
            };
            let whole = self.files.iter().filter(|it| it.doubt.is_none()).count();
            let fate = match (whole, first.doubt) {
                (0, Some(doubt)) => format!("not counted, since {doubt}"),
                (whole, _) if whole < count => format!("{whole} of them count"),
                _ => format!("{were}, of no known rank"),
            };
            said.push(format!(
                "{count} {profiles} written past the `LLVM_PROFILE_FILE` of their step ({}): {fate}; processes that chose one name \
                 have overwritten each other's, so pass `LLVM_PROFILE_FILE` on to all of them",
                shown.join(", ")
            ));
        }
        said.extend(self.blind.map(str::to_owned));
        said
    }
}
