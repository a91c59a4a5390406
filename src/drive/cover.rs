//! From what the steps left to the coverage of the run: profiles, objects, tracefiles, the rank ledger.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::builds::Builder;
use super::collect;
use super::collect::name;
use super::elsewhere::{self, Elsewhere};
use super::engine::{self, Counted, EngineError, Group};
use super::held;
use super::ledger::{self, FileState, ProfileFile};
use super::profiles::StepProfiles;
use super::progress::{Observer, StageKind, Under};
use super::state::RunState;
use super::{DriveError, Run};
use crate::config::{KeepProfiles, LauncherKind};
use crate::coverage::lcov::Tracefile;
use crate::coverage::merge::{self, Source};
use crate::coverage::objects::{self, ObjectsError};
use crate::coverage::paths::{self, Rules};
use crate::coverage::rank_report::RankReport;
use crate::plan::{Build, Producer, Step};
use crate::results::record::{
    LeftOut, Loss, Note, NoteKind, ObjectEntry, Part, ProfileTotals, RankLedger, Sources,
    StepLedger, StrayProfile, UncountedObject,
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
    /// What was measured and is not in it: then it stands for nothing.
    #[serde(default)]
    pub(super) losses: Vec<Loss>,
    /// Source files that do not count.
    #[serde(default)]
    pub(super) left_out: LeftOut,
}

/// The final attempt of a step that was to give coverage.
pub(super) struct Given<'a> {
    pub(super) step: &'a Step,
    pub(super) attempt: u32,
    pub(super) start: PathBuf,
    outcome: Outcome,
}

/// Losses that are told in full.
const LOSSES: usize = 200;
/// Lines of one tracefile that are told in full.
const LINES: usize = 20;
/// Tracefiles that are told of one by one.
const TOLD: usize = 10;
/// Paths of source files that are given as examples.
const EXAMPLES: usize = 20;

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
    let rules = match held::read(run) {
        Ok(files) => rules.held(files),
        Err(error) => {
            let message = format!(
                "the files of the commit are not known, so sources that it does not hold count as well: {error}"
            );
            covered.notes.push(warning(NoteKind::Warning, message));
            rules
        }
    };
    let given_llvm: Vec<&Given<'_>> = given
        .iter()
        .filter(|it| it.step.coverage == Producer::Llvm)
        .collect();
    let elsewhere =
        tokio::task::block_in_place(|| elsewhere::gather(run, builder, state, &given_llvm));
    let mut usable = add_profiles(
        run,
        builder,
        &given_llvm,
        &elsewhere,
        &rules,
        &mut sum,
        &mut covered,
    )
    .await;
    usable |= add_tracefiles(&given, &mut sum, &mut covered);
    covered.totals.ranks_expected = covered.ranks.expected;
    covered.totals.ranks_used = covered.ranks.used;
    if usable {
        place(sum, &rules, &mut covered);
    }
    covered.losses.truncate(LOSSES);
    under.end(covered.tracefile.is_some());
    Ok(covered)
}

/// Keeps what lies in the repository and is not excluded, under repository-relative paths.
fn place(sum: Tracefile, rules: &Rules, covered: &mut Covered) {
    let (mut kept, mut left_out) = rules.apply(sum);
    for further in std::mem::take(&mut covered.further) {
        let (more, also) = rules.apply(further);
        kept.merge(more);
        left_out.add(also);
    }
    if left_out.outside.count > 0 {
        tracing::info!(?left_out.outside, "source files that are not of the repository");
    }
    covered.left_out = told(&left_out);
    if kept.is_empty() {
        let not_held = &covered.left_out.not_in_commit;
        let message = format!(
            "no source file is left: {} lie outside the repository ({}), {} are excluded, {} are not in the commit ({})",
            left_out.outside.count,
            left_out.outside.examples.join(", "),
            left_out.excluded.count,
            not_held.count,
            not_held.examples.join(", "),
        );
        covered.notes.push(warning(NoteKind::Error, message));
        return;
    }
    covered.tracefile = Some(kept);
}

fn told(left_out: &paths::LeftOut) -> LeftOut {
    let sources = |files: &BTreeSet<String>| Sources {
        count: files.len() as u64,
        examples: files.iter().take(EXAMPLES).cloned().collect(),
    };
    LeftOut {
        not_in_commit: sources(&left_out.not_held),
        included: sources(&left_out.named),
        excluded: left_out.excluded.count,
        outside: left_out.outside.count,
    }
}

impl Covered {
    /// Returns what a person is to know of the figures, a line each.
    pub(super) fn findings(&self) -> Vec<String> {
        let LeftOut {
            not_in_commit,
            included,
            ..
        } = &self.left_out;
        let said = |sources: &Sources, fate: &str, why: &str| {
            let files = match sources.count {
                0 => return None,
                1 => "1 source file".to_owned(),
                count => format!("{count} source files"),
            };
            let shown = sources.examples.iter().take(3);
            let mut shown: Vec<&str> = shown.map(String::as_str).collect();
            if sources.count > shown.len() as u64 {
                shown.push("...");
            }
            let shown = shown.join(", ");
            Some(format!(
                "{fate}: {files} that the commit does not hold, {why} ({shown})"
            ))
        };
        let left_out = said(not_in_commit, "left out", "unless `include` names them");
        let counted = said(included, "counted", "because `include` names them");
        left_out.into_iter().chain(counted).collect()
    }
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
    given: &[&Given<'_>],
    elsewhere: &Elsewhere,
    rules: &Rules,
    sum: &mut Tracefile,
    covered: &mut Covered,
) -> bool {
    if given.is_empty() {
        return false;
    }
    let (found, looked) = find_objects(run, builder, covered);
    let mut steps: Vec<StepProfiles> = given
        .iter()
        .map(|it| {
            let Step { name, build, .. } = it.step;
            StepProfiles::of(name, build, it.step.resources.ranks, &it.start)
        })
        .collect();
    covered.totals.found += steps
        .iter()
        .map(|step| step.written().len() as u64)
        .sum::<u64>()
        + elsewhere.count();
    covered.totals.elsewhere = elsewhere.count();
    let own = steps.len();
    for build in &run.request.plan.builds {
        let files = elsewhere.of_build(&build.id);
        if !files.is_empty() {
            steps.push(StepProfiles::elsewhere(&build.id, files));
        }
    }
    let mut states = BTreeMap::new();
    let mut usable = false;
    if covered.totals.found == 0 {
        let why = if found.iter().all(|group| group.objects.is_empty()) {
            let error = looked.no_objects();
            let help = error.help().unwrap_or_default();
            format!(": {error}; {help}")
        } else {
            String::new()
        };
        let message = format!("no process of any step left a profile{why}");
        covered.notes.push(warning(NoteKind::Error, message));
    } else {
        let exported = if found.iter().all(|group| group.objects.is_empty()) {
            Err(looked.no_objects())
        } else {
            engine::export(run, builder, &steps, &found, rules).await
        };
        match exported {
            Ok(exported) => {
                usable = true;
                states = exported.states;
                sum.merge(exported.tracefile);
                covered.further = exported.further;
                count_objects(&found, &exported.objects, covered);
                covered.strays = strays(given, exported.strays);
                add_losses(given, exported.losses, covered);
                covered.ranked = exported.ranks;
                for (path, message) in exported.left_out {
                    let said = format!("object `{}` is left out: {message}", path.display());
                    covered.notes.push(warning(NoteKind::Warning, said));
                    covered.losses.push(Loss {
                        file: name(&path),
                        step: None,
                        line: None,
                        reason: message.clone(),
                    });
                    covered.uncounted.push(UncountedObject {
                        path: path.to_string_lossy().into_owned().into(),
                        message,
                    });
                }
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
    let ledgers = given.iter().zip(&steps[..own]);
    covered.ranks = RankLedger::of_steps(
        ledgers
            .map(|(it, profiles)| step_ledger(it, profiles, &states))
            .collect(),
    );
    covered.ranks.elsewhere = elsewhere.listed(|path| states.get(path).cloned());
    covered.losses.extend(elsewhere.losses());
    let said = elsewhere.say().into_iter();
    covered
        .notes
        .extend(said.map(|line| warning(NoteKind::Warning, line)));
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
    found
        .into_iter()
        .map(|(path, build_id)| StrayProfile {
            file: name(&path),
            step: step_of(given.iter().copied(), &path),
            build_id,
        })
        .collect()
}

/// Returns the step that left a file, by its folder.
fn step_of<'a>(given: impl IntoIterator<Item = &'a Given<'a>>, path: &Path) -> Option<String> {
    let own = given.into_iter().find(|it| path.starts_with(&it.start));
    own.map(|it| it.step.name.clone())
}

/// Notes profiles of which counts are left out.
fn add_losses(given: &[&Given<'_>], losses: Vec<(PathBuf, String)>, covered: &mut Covered) {
    for (number, (path, reason)) in losses.into_iter().enumerate() {
        let step = step_of(given.iter().copied(), &path);
        if number < TOLD {
            let of = step
                .as_ref()
                .map_or(String::new(), |step| format!(" of `{step}`"));
            let message = format!("profile `{}`{of}: {reason}", name(&path));
            covered.notes.push(warning(NoteKind::Warning, message));
        }
        covered.losses.push(Loss {
            file: name(&path),
            step,
            line: None,
            reason,
        });
    }
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

/// Where objects were looked for.
struct Looked {
    trees: Vec<PathBuf>,
    outputs: Vec<PathBuf>,
    patterns: Vec<String>,
    cargo: bool,
}

impl Looked {
    fn no_objects(&self) -> EngineError {
        let shown = |paths: &[PathBuf]| {
            let shown: Vec<String> = paths
                .iter()
                .map(|it| format!("`{}`", it.display()))
                .collect();
            shown.join(", ")
        };
        let mut looked = format!("the work trees ({})", shown(&self.trees));
        if !self.outputs.is_empty() {
            looked.extend([", where cargo put programs (", &shown(&self.outputs), ")"]);
        }
        if !self.patterns.is_empty() {
            let patterns = self.patterns.join(", ");
            looked.extend([", or by `objects` of [coverage] (", &patterns, ")"]);
        }
        EngineError::NoObjects {
            looked,
            cargo: self.cargo,
        }
    }
}

/// Finds the objects of all instrumented builds and lists them, by the tree that they are of.
fn find_objects(run: &Run, builder: &Builder<'_>, covered: &mut Covered) -> (Vec<Group>, Looked) {
    let builds = run.request.plan.builds.iter();
    let builds: Vec<&Build> = builds
        .filter(|build| build.coverage == Producer::Llvm)
        .collect();
    let places = builder.places(&builds, &run.request.coverage.objects);
    let found = objects::find(&places);
    let mut groups: Vec<Group> = builds
        .iter()
        .map(|build| Some(build.id.clone()))
        .chain([None])
        .map(|build| Group {
            build,
            objects: Vec::new(),
        })
        .collect();
    for object in found.objects {
        let tree = object.tree.and_then(|at| places.trees.get(at));
        let shown = tree.and_then(|tree| object.path.strip_prefix(tree).ok());
        let shown = shown.unwrap_or(&object.path).to_string_lossy().into_owned();
        covered.objects.push(ObjectEntry {
            path: shown.into(),
            build: object.tree.map(|at| builds[at].id.clone()),
            build_id: object.build_id.clone(),
            functions: None,
            profiles: None,
            copies: Vec::new(),
        });
        groups[object.tree.unwrap_or(builds.len())]
            .objects
            .push(object);
    }
    for pattern in &found.idle_patterns {
        let message = format!(
            "`{}` of [coverage] objects names no object",
            pattern.pattern
        );
        covered.notes.push(warning(NoteKind::Warning, message));
    }
    let lost = found.problems.iter().filter_map(ObjectsError::lost);
    covered.losses.extend(lost.map(|(file, reason)| Loss {
        file,
        step: None,
        line: None,
        reason,
    }));
    let problems = found.problems.iter();
    covered
        .notes
        .extend(problems.map(|problem| warning(NoteKind::Warning, problem.to_string())));
    let outputs = objects::folders_of(&places.notes);
    let looked = Looked {
        cargo: !outputs.is_empty() || places.trees.iter().any(|it| it.join("Cargo.toml").exists()),
        trees: places.trees,
        outputs,
        patterns: places.patterns,
    };
    (groups, looked)
}

/// Adds the tracefiles that processes wrote themselves; returns whether any was usable.
fn add_tracefiles(given: &[Given<'_>], sum: &mut Tracefile, covered: &mut Covered) -> bool {
    let lcov = given.iter().filter(|it| it.step.coverage == Producer::Lcov);
    let lcov: Vec<&Given<'_>> = lcov.collect();
    let paths: Vec<PathBuf> = lcov
        .iter()
        .flat_map(|it| collect::files(&it.start, "tracefiles", ""))
        .collect();
    if paths.is_empty() {
        if !lcov.is_empty() {
            let message = "no process left a tracefile in `HPC_CI_TRACEFILE_DIR`".to_owned();
            covered.notes.push(warning(NoteKind::Error, message));
        }
        return false;
    }
    let (added, sources) = merge::merge(&paths);
    let used = sources.iter().filter(|source| source.is_used()).count();
    let mut damaged = 0;
    for source in &sources {
        let step = step_of(lcov.iter().copied(), &source.path);
        let bent = bent(source);
        if source.is_whole() && bent.is_none() {
            continue;
        }
        damaged += 1;
        let lost = losses_of(source, step.as_deref());
        if damaged <= TOLD {
            let file = name(&source.path);
            let of = step.map_or(String::new(), |step| format!(" of `{step}`"));
            let told = lost.first().map(|loss| match loss.line {
                Some(line) => format!(" was not used whole: line {line}: {}", loss.reason),
                None => format!(" was not used: {}", loss.reason),
            });
            let count = source
                .reading
                .as_ref()
                .map_or(1, |reading| reading.problem_count);
            let more = (count > 1).then(|| format!(", and {} more", count - 1));
            let parts = [told, more, bent.map(|bent| format!(": {bent}"))];
            let parts: String = parts.into_iter().flatten().collect();
            let message = format!("tracefile `{file}`{of}{parts}");
            covered.notes.push(warning(NoteKind::Warning, message));
        }
        covered.losses.extend(lost);
    }
    if damaged > TOLD {
        let message = format!(
            "{} more tracefiles were not used as they are",
            damaged - TOLD
        );
        covered.notes.push(warning(NoteKind::Warning, message));
    }
    if used == 0 {
        let message = format!("none of {} tracefiles could be used", sources.len());
        covered.notes.push(warning(NoteKind::Error, message));
    }
    covered.totals.found += paths.len() as u64;
    covered.totals.used += used as u64;
    sum.merge(added);
    used > 0
}

/// What is not in the sum of a tracefile, and why.
fn losses_of(source: &Source, step: Option<&str>) -> Vec<Loss> {
    let loss = |line: Option<u64>, reason: String| Loss {
        file: name(&source.path),
        step: step.map(str::to_owned),
        line,
        reason,
    };
    let reading = match &source.reading {
        Ok(reading) => reading,
        Err(error) => return vec![loss(None, error.to_string())],
    };
    let told = reading.problems.iter().take(LINES);
    let mut losses: Vec<Loss> = told
        .map(|it| loss(Some(it.line), it.fault.to_string()))
        .collect();
    let more = reading.problem_count.saturating_sub(losses.len() as u64);
    if more > 0 {
        losses.push(loss(None, format!("{more} more lines")));
    }
    if losses.is_empty() && reading.sections == 0 {
        losses.push(loss(None, "it holds no source file".to_owned()));
    }
    losses
}

/// What was read otherwise than it is written; nothing is lost with that.
fn bent(source: &Source) -> Option<String> {
    let reading = source.reading.as_ref().ok()?;
    let said = [
        (reading.negative, "negative counts are taken for 0"),
        (
            reading.saturated,
            "counts beyond 64 bits are taken for the largest number",
        ),
        (
            reading.not_utf8,
            "names are not UTF-8 and kept as far as they go",
        ),
    ];
    let said = said.into_iter().filter(|(count, _)| *count > 0);
    let said: Vec<String> = said
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    (!said.is_empty()).then(|| said.join(", "))
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
