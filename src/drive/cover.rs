//! From what the steps left to the coverage of the run: profiles, objects, tracefiles, the rank ledger.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::builds::Builder;
use super::collect;
use super::collect::name;
use super::engine::{self, Counted, EngineError, Group};
use super::ledger::{self, FileState, ProfileFile};
use super::profiles::StepProfiles;
use super::progress::{Observer, StageKind, Under};
use super::state::RunState;
use super::{DriveError, Run};
use crate::config::{KeepProfiles, LauncherKind};
use crate::coverage::lcov::Tracefile;
use crate::coverage::merge;
use crate::coverage::objects;
use crate::coverage::paths::Rules;
use crate::coverage::rank_report::RankReport;
use crate::plan::{Producer, Step};
use crate::results::record::{
    Note, NoteKind, ObjectEntry, Part, ProfileTotals, RankLedger, StepLedger, StrayProfile,
    UncountedObject,
};
use crate::scheduler::{Outcome, Status};

/// The coverage of a run.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Covered {
    /// Line hits of the repository's files; none if nothing was usable.
    #[serde(skip)]
    pub(super) tracefile: Option<Tracefile>,
    /// Line hits of further work trees, paths as in the objects; they are moved into the first.
    #[serde(skip)]
    further: Vec<Tracefile>,
    /// The programs and libraries with coverage mapping.
    pub(super) objects: Vec<ObjectEntry>,
    /// Those of them that no engine could read.
    pub(super) uncounted: Vec<UncountedObject>,
    /// Profiles that belong to none of them.
    pub(super) strays: Vec<StrayProfile>,
    /// Which ranks reached which lines.
    pub(super) ranked: Option<RankReport>,
    /// What became of each rank's profile.
    pub(super) ranks: RankLedger,
    /// Profiles and tracefiles, found and used.
    pub(super) totals: ProfileTotals,
    /// What went wrong.
    pub(super) notes: Vec<Note>,
}

/// The final attempt of a step that was to give coverage.
struct Given<'a> {
    step: &'a Step,
    attempt: u32,
    start: PathBuf,
    outcome: Outcome,
}

/// Collects the coverage of all steps that ran.
pub(super) async fn cover(
    run: &Run,
    builder: &Builder<'_>,
    state: &RunState,
    observer: &Observer,
) -> Result<Covered, DriveError> {
    let under = Under::begin(observer, StageKind::Coverage, None);
    let given = given(run, state);
    let mut covered = Covered::default();
    let mut sum = Tracefile::default();
    let rules = match rules(run, builder) {
        Ok(rules) => rules,
        Err(error) => {
            covered
                .notes
                .push(warning(NoteKind::Error, error.to_string()));
            return Ok(covered);
        }
    };
    let mut usable = add_profiles(run, builder, &given, &rules, &mut sum, &mut covered).await;
    usable |= add_tracefiles(&given, &mut sum, &mut covered);
    covered.totals.ranks_expected = covered.ranks.expected;
    covered.totals.ranks_used = covered.ranks.used;
    if usable {
        place(sum, &rules, &mut covered);
    }
    under.end(covered.tracefile.is_some());
    Ok(covered)
}

/// Keeps what lies in the repository and is not excluded, under repository-relative paths.
fn place(sum: Tracefile, rules: &Rules, covered: &mut Covered) {
    let (mut kept, left_out) = rules.apply(sum);
    for further in std::mem::take(&mut covered.further) {
        kept.merge(rules.apply(further).0);
    }
    if left_out.outside.count > 0 {
        tracing::info!(?left_out, "source files that are not of the repository");
    }
    if kept.is_empty() {
        let message = format!(
            "no source file is left: {} lie outside the repository ({}), {} are excluded",
            left_out.outside.count,
            left_out.outside.examples.join(", "),
            left_out.excluded.count
        );
        covered.notes.push(warning(NoteKind::Error, message));
        return;
    }
    covered.tracefile = Some(kept);
}

pub(super) fn warning(kind: NoteKind, message: String) -> Note {
    Note {
        kind,
        part: Some(Part::Coverage),
        message,
    }
}

/// The last attempt of each step that started; those before it would count its lines twice.
fn given<'a>(run: &'a Run, state: &RunState) -> Vec<Given<'a>> {
    run.request
        .plan
        .steps
        .iter()
        .zip(state.steps())
        .filter(|(step, _)| step.coverage != Producer::None)
        .filter_map(|(step, state)| {
            let outcome = state.verdict()?.outcome;
            let may_have_run = !matches!(
                outcome,
                Outcome::NotRun | Outcome::Skipped | Outcome::Rejected | Outcome::Starved
            );
            let folder = |attempt: u32| run.folder.attempt(&step.slug, attempt);
            let started = |attempt: &u32| collect::has_started(&folder(*attempt));
            let last = may_have_run && folder(state.attempt).exists();
            let attempt = (1..=state.attempt)
                .rev()
                .find(started)
                .or(last.then_some(state.attempt))?;
            Some(Given {
                step,
                attempt,
                start: collect::last_start(&folder(attempt)),
                outcome,
            })
        })
        .collect()
}

/// Adds what raw LLVM profiles say; returns whether any was usable.
async fn add_profiles(
    run: &Run,
    builder: &Builder<'_>,
    given: &[Given<'_>],
    rules: &Rules,
    sum: &mut Tracefile,
    covered: &mut Covered,
) -> bool {
    let given: Vec<&Given<'_>> = given
        .iter()
        .filter(|it| it.step.coverage == Producer::Llvm)
        .collect();
    if given.is_empty() {
        return false;
    }
    let found = find_objects(run, builder, covered);
    let steps: Vec<StepProfiles> = given
        .iter()
        .map(|it| {
            let Step { name, build, .. } = it.step;
            StepProfiles::of(name, build, it.step.resources.ranks, &it.start)
        })
        .collect();
    covered.totals.found += steps
        .iter()
        .map(|step| step.written().len() as u64)
        .sum::<u64>();
    let mut states = BTreeMap::new();
    let mut usable = false;
    if covered.totals.found == 0 {
        let message = "no process of any step left a profile".to_owned();
        covered.notes.push(warning(NoteKind::Error, message));
    } else {
        match engine::export(run, builder, &steps, &found, rules).await {
            Ok(exported) => {
                usable = true;
                states = exported.states;
                sum.merge(exported.tracefile);
                covered.further = exported.further;
                count_objects(&found, &exported.objects, covered);
                covered.strays = strays(&given, exported.strays);
                covered.ranked = exported.ranks;
                let unread = exported.left_out.into_iter();
                covered
                    .uncounted
                    .extend(unread.map(|(path, message)| UncountedObject {
                        path: path.to_string_lossy().into_owned().into(),
                        message,
                    }));
                for note in exported.notes {
                    tracing::info!(note, "coverage");
                }
            }
            Err(error) => {
                let help = error
                    .help()
                    .map_or(String::new(), |help| format!("; {help}"));
                covered
                    .notes
                    .push(warning(NoteKind::Error, format!("{error}{help}")));
                if let EngineError::NothingUsable { states: known, .. } = error {
                    states = known;
                }
            }
        }
    }
    covered.totals.used += states
        .values()
        .filter(|state| **state == FileState::Used)
        .count() as u64;
    let ledgers = given.iter().zip(&steps);
    covered.ranks = RankLedger::of_steps(
        ledgers
            .map(|(it, profiles)| step_ledger(it, profiles, &states))
            .collect(),
    );
    usable
}

fn step_ledger(
    given: &Given<'_>,
    profiles: &StepProfiles,
    states: &BTreeMap<PathBuf, FileState>,
) -> StepLedger {
    let files: Vec<ProfileFile> = profiles
        .written()
        .into_iter()
        .map(|path| ProfileFile {
            name: name(&path),
            state: states
                .get(&path)
                .cloned()
                .unwrap_or_else(|| FileState::Foreign("it was not read".to_owned())),
        })
        .collect();
    let notes = collect::rank_notes(&given.start);
    let storage = collect::storage(&given.start);
    let silent = collect::silent(&given.start, &storage);
    let ranks = match given.step.launcher.kind {
        LauncherKind::None => ranks_of_harness(&given.start, &notes),
        _ => given.step.resources.ranks,
    };
    let mut ledger = ledger::of_step(
        &given.step.name,
        given.attempt,
        ranks,
        &files,
        &notes,
        &silent,
    );
    ledger.nodes = storage;
    ledger
}

/// How many ranks a command had that starts MPI by itself: of all its launches the largest, as far as they went through our wrapper.
fn ranks_of_harness(start: &Path, notes: &[collect::RankNote]) -> u32 {
    let harness = collect::harness(start, notes);
    let asked = harness.launches.iter().filter_map(|launch| launch.ranks);
    let seen = notes
        .iter()
        .filter_map(|note| note.rank)
        .map(|rank| rank + 1);
    asked.chain(seen).max().unwrap_or(0)
}

fn strays(given: &[&Given<'_>], found: Vec<(PathBuf, Option<String>)>) -> Vec<StrayProfile> {
    let step_of = |path: &Path| {
        let own = given.iter().find(|it| path.starts_with(&it.start));
        own.map(|it| it.step.name.clone())
    };
    found
        .into_iter()
        .map(|(path, build_id)| StrayProfile {
            file: name(&path),
            step: step_of(&path),
            build_id,
        })
        .collect()
}

/// Fills in what the engine counted of each object.
fn count_objects(groups: &[Group], counted: &BTreeMap<PathBuf, Counted>, covered: &mut Covered) {
    let objects = groups.iter().flat_map(|group| &group.objects);
    let known: BTreeMap<&Option<String>, &Counted> = objects
        .filter(|object| object.build_id.is_some())
        .filter_map(|object| Some((&object.build_id, counted.get(&object.path)?)))
        .collect();
    for entry in &mut covered.objects {
        if let Some(counted) = known.get(&entry.build_id) {
            (entry.functions, entry.profiles) = (counted.functions, Some(counted.profiles));
        }
    }
}

/// Finds the objects of all instrumented builds and lists them, by the tree that they stand in.
fn find_objects(run: &Run, builder: &Builder<'_>, covered: &mut Covered) -> Vec<Group> {
    let builds = run.request.plan.builds.iter();
    let instrumented = builds.filter(|build| build.coverage == Producer::Llvm);
    let trees: Vec<(&str, PathBuf)> = instrumented
        .map(|build| (build.id.as_str(), builder.tree(build)))
        .collect();
    let roots: Vec<PathBuf> = trees.iter().map(|(_, tree)| tree.clone()).collect();
    let found = objects::find(&roots, &run.request.coverage.objects);
    let mut groups: Vec<Group> = trees
        .iter()
        .map(|(build, _)| Some((*build).to_owned()))
        .chain([None])
        .map(|build| Group {
            build,
            objects: Vec::new(),
        })
        .collect();
    for object in found.objects {
        let home = trees
            .iter()
            .position(|(_, tree)| object.path.starts_with(tree));
        let shown = home.and_then(|at| object.path.strip_prefix(&trees[at].1).ok());
        let shown = shown.unwrap_or(&object.path).to_string_lossy().into_owned();
        covered.objects.push(ObjectEntry {
            path: shown.into(),
            build: home.map(|at| trees[at].0.to_owned()),
            build_id: object.build_id.clone(),
            functions: None,
            profiles: None,
            copies: Vec::new(),
        });
        groups[home.unwrap_or(trees.len())].objects.push(object);
    }
    for pattern in &found.idle_patterns {
        let message = format!(
            "`{}` of [coverage] objects names no object",
            pattern.pattern
        );
        covered.notes.push(warning(NoteKind::Warning, message));
    }
    let problems = found.problems.iter();
    covered
        .notes
        .extend(problems.map(|problem| warning(NoteKind::Warning, problem.to_string())));
    groups
}

/// Adds the tracefiles that processes wrote themselves; returns whether any was usable.
fn add_tracefiles(given: &[Given<'_>], sum: &mut Tracefile, covered: &mut Covered) -> bool {
    let paths: Vec<PathBuf> = given
        .iter()
        .filter(|it| it.step.coverage == Producer::Lcov)
        .flat_map(|it| collect::files(&it.start, "tracefiles", ""))
        .collect();
    if paths.is_empty() {
        if given.iter().any(|it| it.step.coverage == Producer::Lcov) {
            let message = "no process left a tracefile in `HPC_CI_TRACEFILE_DIR`".to_owned();
            covered.notes.push(warning(NoteKind::Error, message));
        }
        return false;
    }
    let (added, sources) = merge::merge(&paths);
    let used = sources.iter().filter(|source| source.is_used()).count();
    for source in sources.iter().filter(|source| !source.is_whole()) {
        let message = format!("tracefile `{}` was not used whole", source.path.display());
        covered.notes.push(warning(NoteKind::Warning, message));
    }
    covered.totals.found += paths.len() as u64;
    covered.totals.used += used as u64;
    sum.merge(added);
    used > 0
}

/// The trees of all builds are one repository.
fn rules(run: &Run, builder: &Builder<'_>) -> Result<Rules, crate::coverage::paths::PathsError> {
    let mut roots = BTreeSet::new();
    for build in &run.request.plan.builds {
        let tree = builder.tree(build);
        roots.extend(fs_err::canonicalize(&tree).map(|real| real.to_string_lossy().into_owned()));
        roots.insert(tree.to_string_lossy().into_owned());
    }
    Rules::new(roots)
        .include(&run.request.coverage.include)?
        .exclude(&run.request.coverage.exclude)
}

/// Profiles are by far the largest part of a run: they go when their counts stand in the artifacts.
pub(super) fn discard_profiles(run: &Run, state: &RunState) {
    for it in given(run, state) {
        let keep = match run.request.coverage.keep_profiles {
            KeepProfiles::Always => true,
            KeepProfiles::Failed => it.outcome.status() != Status::Passed,
            KeepProfiles::Never => false,
        };
        if !keep && let Err(error) = fs_err::remove_dir_all(it.start.join("profiles")) {
            tracing::warn!(%error, "profiles could not be removed");
        }
    }
}
