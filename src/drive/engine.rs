//! The two engines behind one question: profiles and objects to a tracefile.
//!
//! The native engine is asked first. What it says that it cannot read (MC/DC is fine; value profiling, foreign byte orders and
//! unknown versions are not) goes to LLVM's own programs, all of it, so that one report speaks one dialect.

mod reference;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZero;
use std::path::{Path, PathBuf};

use super::Run;
use super::builds::Builder;
use super::ledger::FileState;
use super::profiles::StepProfiles;
use crate::config::Engine;
use crate::coverage::counts::Counts;
use crate::coverage::export::{Coverage, Options as ExportOptions};
use crate::coverage::fit::{Fit, Functions};
use crate::coverage::lcov::Tracefile;
use crate::coverage::mapping::{self, Units};
use crate::coverage::node::ids;
use crate::coverage::object::ObjectError;
use crate::coverage::objects::Object;
use crate::coverage::paths::{Place, Rules};
use crate::coverage::profile::Profile;
use crate::coverage::rank_hits::{Programs, RankHits, RankWatch};
use crate::coverage::rank_report::{self, RankReport, Sample};
use crate::coverage::reduce::{self, Outcome, Reduction, reduce_watched};
use crate::coverage::source::Binary;
use crate::llvm::LlvmError;

/// Requests to storage that are under way at once: on a shared file system each waits longer than it works.
const IN_FLIGHT: usize = 32;

/// The objects of one work tree, or those outside of all trees.
///
/// Each tree is exported for itself: two trees hold the same functions, and a function is known by its name, so that the counts
/// of one would stand in both, and twice in their sum.
pub(super) struct Group {
    /// The build; none for objects outside of all trees.
    pub(super) build: Option<String>,
    /// Its objects.
    pub(super) objects: Vec<Object>,
}

impl Group {
    fn has(&self, id: &str) -> bool {
        self.objects
            .iter()
            .any(|object| object.build_id.as_deref() == Some(id))
    }
}

/// What an engine made of the profiles.
#[derive(Debug, Default)]
pub(super) struct Exported {
    /// Line hits of the first tree, paths as in the objects.
    pub(super) tracefile: Tracefile,
    /// Those of further trees.
    pub(super) further: Vec<Tracefile>,
    /// What became of each profile.
    pub(super) states: BTreeMap<PathBuf, FileState>,
    /// What was counted of each object; the native engine alone does.
    pub(super) objects: BTreeMap<PathBuf, Counted>,
    /// Objects that could not be read, and why.
    pub(super) left_out: Vec<(PathBuf, String)>,
    /// Profiles of programs that are not among the objects, with their build id.
    pub(super) strays: Vec<(PathBuf, Option<String>)>,
    /// Profiles whose counts are left out, all or some of them, and why: one line for those of a step that are alike.
    pub(super) losses: Vec<(PathBuf, String)>,
    /// Which ranks reached which lines; the native engine alone knows.
    pub(super) ranks: Option<RankReport>,
    /// What else a person may want to know.
    pub(super) notes: Vec<String>,
}

/// What was counted of an object.
#[derive(Debug, Default)]
pub(super) struct Counted {
    /// Functions in its mapping.
    pub(super) functions: Option<u64>,
    /// Profiles with its build id.
    pub(super) profiles: u64,
}

/// Why there is no tracefile.
#[derive(Debug, thiserror::Error)]
pub(super) enum EngineError {
    /// The reference engine failed.
    #[error(transparent)]
    Llvm(#[from] LlvmError),
    /// No profile was of use.
    #[error("none of {count} profiles could be used{first}")]
    NothingUsable {
        /// How many there were.
        count: usize,
        /// What is wrong with the first.
        first: String,
        /// What is wrong with each.
        states: BTreeMap<PathBuf, FileState>,
    },
    /// There is no program with coverage mapping.
    #[error("no program or library with coverage mapping was found in {looked}")]
    NoObjects {
        /// Where they were looked for, in words.
        looked: String,
        /// Whether cargo built something.
        cargo: bool,
    },
    /// The native engine alone was asked for, and cannot read a profile.
    #[error("`engine = \"native\"` cannot read `{}`: {why}", path.display())]
    NotNative {
        /// The profile.
        path: PathBuf,
        /// What it is.
        why: String,
    },
}

impl EngineError {
    /// Returns what to do about it.
    pub(super) fn help(&self) -> Option<String> {
        match self {
            Self::Llvm(error) => error.help(),
            Self::NothingUsable { .. } => None,
            Self::NoObjects { cargo: true, .. } => Some(
                "name the programs in `objects` of [coverage] if they stand elsewhere; cargo instruments the crates of its workspace \
                 unless `RUSTC_WORKSPACE_WRAPPER` is set to something else in the build"
                    .to_owned(),
            ),
            Self::NoObjects { cargo: false, .. } => Some(
                "name the programs in `objects` of [coverage] if they stand elsewhere; else build with clang or rustc (for `mpicc`, \
                 set `OMPI_CC` or `MPICH_CC`)"
                    .to_owned(),
            ),
            Self::NotNative { .. } => Some("`engine = \"auto\"` asks LLVM's own programs then".to_owned()),
        }
    }
}

/// Makes one tracefile of the profiles of all steps.
pub(super) async fn export(
    run: &Run,
    builder: &Builder<'_>,
    steps: &[StepProfiles],
    groups: &[Group],
    rules: &Rules,
) -> Result<Exported, EngineError> {
    let engine = run.request.coverage.engine;
    let mut note = None;
    if engine != Engine::LlvmTools {
        let threads = run.request.site.workspace.threads as usize;
        match tokio::task::block_in_place(|| native(steps, groups, rules, threads)) {
            Ok(exported) => return Ok(exported),
            Err(Refused::Unsupported { path, why }) if engine == Engine::Native => {
                return Err(EngineError::NotNative { path, why });
            }
            Err(Refused::Unsupported { path, why }) => {
                note = Some(format!(
                    "`{}` is {why}: LLVM's own programs are asked",
                    path.display()
                ));
            }
            Err(Refused::NothingUsable(error)) => return Err(error),
        }
    }
    let mut exported = reference::export(run, builder, steps, groups).await?;
    exported.notes.extend(note);
    Ok(exported)
}

/// Why the native engine gave nothing.
enum Refused {
    /// A profile that it cannot read.
    Unsupported { path: PathBuf, why: String },
    /// Nothing that anybody could read.
    NothingUsable(EngineError),
}

fn native(
    steps: &[StepProfiles],
    groups: &[Group],
    rules: &Rules,
    threads: usize,
) -> Result<Exported, Refused> {
    let mut exported = Exported::default();
    let binaries: Vec<Vec<(PathBuf, Binary)>> = groups
        .iter()
        .map(|group| open(&group.objects, &mut exported.left_out))
        .collect();
    let mut programs = BTreeMap::new();
    let mut reductions = Vec::new();
    for step in steps {
        // The programs of nodes' sums were asked on the nodes.
        let unasked = step.files.iter().any(|path| step.rank(path).is_some());
        let programs = programs
            .entry(unasked.then_some(&step.build))
            .or_insert_with_key(|build| {
                build.map_or_else(Programs::default, |build| {
                    programs_of(build, groups, &binaries)
                })
            });
        let (reduction, hits) = reduce_step(step, programs, threads);
        states(step, &reduction, &mut exported)?;
        find_strays(step, &reduction, groups, &mut exported.strays);
        reductions.push((step, reduction, hits));
    }
    if !exported
        .states
        .values()
        .any(|state| *state == FileState::Used)
    {
        return Err(Refused::NothingUsable(nothing_usable(exported.states)));
    }
    let homes = homes(&reductions, groups, &binaries, &mut exported)?;
    for (number, binaries) in binaries.iter().enumerate() {
        let reduced = reductions.iter().zip(&homes);
        let profiles = reduced.flat_map(|((_, reduction, _), homes)| {
            let all = reduction.binaries.iter().zip(homes);
            let own = all.filter(|(_, home)| **home == Some(number));
            own.map(|(reduced, _)| &reduced.profile)
        });
        let counts = Counts::new(profiles);
        let coverage = cover(&counts, binaries, &mut exported.left_out);
        let mut text = Vec::new();
        if coverage.files().write_lcov(&mut text).is_ok() {
            // A function that the compiler made itself may stand on line 0, and on none in a report.
            let tracefile = Tracefile::parse(&text).0;
            if exported.tracefile.is_empty() {
                // A single tree passes through as it was printed.
                exported.tracefile = tracefile;
            } else {
                exported.further.push(tracefile);
            }
        }
    }
    exported.objects = count(groups, &binaries, &reductions);
    exported.ranks = Some(rank_report(&reductions, &binaries, rules));
    Ok(exported)
}

/// What must be computed to know which ranks reached what. Of a function that stands in several trees, the build's own counts.
fn programs_of(build: &str, groups: &[Group], binaries: &[Vec<(PathBuf, Binary)>]) -> Programs {
    let is_own = |group: &Group| group.build.as_deref().is_none_or(|own| own == build);
    let (own, others): (Vec<_>, Vec<_>) = groups
        .iter()
        .zip(binaries)
        .partition(|(group, _)| is_own(group));
    let mut programs = Programs::default();
    for (path, binary) in own
        .into_iter()
        .chain(others)
        .flat_map(|(_, binaries)| binaries)
    {
        let added = sections(binary)
            .and_then(|sections| programs.add(&sections).map_err(|error| error.to_string()));
        if let Err(why) = added {
            tracing::debug!(path = %path.display(), why, "no rank hits of this object");
        }
    }
    programs
}

fn count(
    groups: &[Group],
    binaries: &[Vec<(PathBuf, Binary)>],
    reductions: &[(&StepProfiles, Reduction, RankHits)],
) -> BTreeMap<PathBuf, Counted> {
    let mut profiles: BTreeMap<String, u64> = BTreeMap::new();
    for (step, reduction, _) in reductions {
        for sum in &reduction.binaries {
            for id in ids(&sum.profile.shape) {
                let files = sum.files.iter().filter_map(|&file| step.files.get(file));
                let behind = files.map(|path| step.behind_with(path, Some(&id)).len() as u64);
                *profiles.entry(id.clone()).or_default() += behind.sum::<u64>();
            }
        }
    }
    let functions = |path: &Path| {
        let (_, binary) = binaries.iter().flatten().find(|(known, _)| known == path)?;
        let sections = binary.sections().ok()?;
        let found = mapping::functions(&mut Units::default(), sections.covmap, &sections.covfun);
        found.ok().map(|found| found.len() as u64)
    };
    let objects = groups.iter().flat_map(|group| &group.objects);
    let counted = objects.filter_map(|object| {
        let id = object.build_id.as_ref()?;
        let counted = Counted {
            functions: functions(&object.path),
            profiles: profiles.get(id).copied().unwrap_or(0),
        };
        Some((object.path.clone(), counted))
    });
    counted.collect()
}

/// Returns for each sum the group whose objects it belongs to, and notes which profiles lose counts there.
fn homes(
    reductions: &[(&StepProfiles, Reduction, RankHits)],
    groups: &[Group],
    binaries: &[Vec<(PathBuf, Binary)>],
    exported: &mut Exported,
) -> Result<Vec<Vec<Option<usize>>>, Refused> {
    let mut functions = KnownFunctions {
        binaries,
        of_group: BTreeMap::new(),
    };
    let mut homes = Vec::new();
    let mut counted = false;
    for (step, reduction, _) in reductions {
        let mut of_step = Vec::new();
        for reduced in &reduction.binaries {
            let (home, fit) = home(&reduced.profile, step, groups, &mut functions);
            of_step.push(home);
            counted |= fit
                .as_ref()
                .is_none_or(|fit| fit.same > 0 || fit.unknown + fit.otherwise == 0);
            if let Some(why) = fit.and_then(|fit| fit.named(&reduced.profile).loss()) {
                let id = ids(&reduced.profile.shape).next();
                let files = reduced
                    .files
                    .iter()
                    .filter_map(|&file| step.files.get(file));
                let behind = files.flat_map(|path| step.behind_with(path, id.as_deref()));
                mismatched(behind.collect(), &why, exported);
            }
        }
        homes.push(of_step);
    }
    if counted {
        Ok(homes)
    } else {
        // Not one counter finds a function.
        let states = std::mem::take(&mut exported.states);
        Err(Refused::NothingUsable(nothing_usable(states)))
    }
}

/// Notes of some profiles of a step that counts of theirs are left out.
fn mismatched(mut files: Vec<PathBuf>, why: &str, exported: &mut Exported) {
    files.sort_unstable();
    let more = files.len().saturating_sub(1);
    let told = match more {
        0 => why.to_owned(),
        more => format!("{why} (and so of {more} more profiles)"),
    };
    exported
        .losses
        .extend(files.first().map(|first| (first.clone(), told)));
    for file in files {
        let state = FileState::Mismatched(why.to_owned());
        exported.states.insert(file, state);
    }
}

/// The functions of each group's objects, read when they are asked for: build ids mostly tell all.
struct KnownFunctions<'a> {
    binaries: &'a [Vec<(PathBuf, Binary)>],
    of_group: BTreeMap<usize, Functions>,
}

impl KnownFunctions<'_> {
    fn fit(&mut self, group: usize, profile: &Profile) -> Fit {
        let binaries = self.binaries.get(group).map(Vec::as_slice);
        let functions = self
            .of_group
            .entry(group)
            .or_insert_with(|| functions_of(binaries.unwrap_or_default()));
        functions.fit(profile)
    }
}

fn functions_of(binaries: &[(PathBuf, Binary)]) -> Functions {
    let mut functions = Functions::default();
    for (path, binary) in binaries {
        let added = sections(binary)
            .and_then(|sections| functions.add(&sections).map_err(|error| error.to_string()));
        if let Err(why) = added {
            tracing::debug!(path = %path.display(), why, "the functions of this object are not known");
        }
    }
    functions
}

/// The group whose objects a profile belongs to: by build id, else by the names and hashes of its functions, where its step's own
/// build comes first and what stands outside of all trees next. How it fits is returned where the build id does not tell.
fn home(
    profile: &Profile,
    step: &StepProfiles,
    groups: &[Group],
    functions: &mut KnownFunctions<'_>,
) -> (Option<usize>, Option<Fit>) {
    let ids: Vec<String> = ids(&profile.shape).collect();
    let of_build = |group: &Group| group.build.as_deref() == Some(step.build.as_str());
    let own = groups.iter().position(of_build);
    let known = |at: &usize| ids.iter().any(|id| groups[*at].has(id));
    let by_id = own.filter(known).or_else(|| (0..groups.len()).find(known));
    if by_id.is_some() {
        return (by_id, None);
    }
    let outside = groups.iter().position(|group| group.build.is_none());
    let mut best: Option<(usize, Fit)> = None;
    for group in own.into_iter().chain(outside) {
        let fit = functions.fit(group, profile);
        if best
            .as_ref()
            .is_none_or(|(_, best)| best.same == 0 && fit.same > 0)
        {
            best = Some((group, fit));
        }
    }
    best.map_or((None, None), |(group, fit)| (Some(group), Some(fit)))
}

fn cover<'c>(
    counts: &'c Counts<'c>,
    binaries: &[(PathBuf, Binary)],
    left_out: &mut Vec<(PathBuf, String)>,
) -> Coverage<'c> {
    // A rank that died while it counted may leave a difference below zero, which would read as 2^64 hits.
    let mut coverage = Coverage::new(counts, ExportOptions { clamp: true });
    for (path, binary) in binaries {
        let added = sections(binary)
            .and_then(|sections| coverage.add(&sections).map_err(|error| error.to_string()));
        if let Err(why) = added {
            left_out.push((path.clone(), why));
        }
    }
    coverage
}

/// Which ranks reached which lines. Of a file that stands in several trees the first tree's text counts.
fn rank_report(
    reductions: &[(&StepProfiles, Reduction, RankHits)],
    binaries: &[Vec<(PathBuf, Binary)>],
    rules: &Rules,
) -> RankReport {
    let profiles = reductions.iter().flat_map(|(_, reduction, _)| {
        let all = reduction.binaries.iter();
        all.map(|reduced| &reduced.profile)
    });
    let counts = Counts::new(profiles);
    let mut coverage = Coverage::new(&counts, ExportOptions { clamp: true });
    for (path, binary) in binaries.iter().flatten() {
        let added = sections(binary)
            .and_then(|sections| coverage.add(&sections).map_err(|error| error.to_string()));
        if let Err(why) = added {
            tracing::debug!(path = %path.display(), why, "no ranks of this object");
        }
    }
    let samples: Vec<Sample<'_>> = reductions
        .iter()
        .filter_map(|(step, _, hits)| {
            let name = step.step.as_deref()?;
            Some(Sample {
                step: name,
                test: name.split('[').next().unwrap_or(name),
                size: step.ranks,
                hits,
            })
        })
        .collect();
    let seen = RefCell::new(BTreeSet::new());
    rank_report::report(&coverage.files(), &samples, |path| {
        match rules.place(path) {
            Place::Kept(path) => seen.borrow_mut().insert(path.clone()).then_some(path),
            Place::Excluded(_) | Place::NotHeld(_) | Place::Outside => None,
        }
    })
}

fn open(objects: &[Object], left_out: &mut Vec<(PathBuf, String)>) -> Vec<(PathBuf, Binary)> {
    objects
        .iter()
        .filter_map(|object| match Binary::open(&object.path) {
            Ok(binary) => Some((object.path.clone(), binary)),
            Err(error) => {
                left_out.push((object.path.clone(), error.to_string()));
                None
            }
        })
        .collect()
}

fn sections(binary: &Binary) -> Result<crate::coverage::object::Sections<'_>, String> {
    binary
        .sections()
        .map_err(|error: ObjectError| error.to_string())
}

fn reduce_step(step: &StepProfiles, programs: &Programs, threads: usize) -> (Reduction, RankHits) {
    let ranks: Vec<Option<u32>> = step.files.iter().map(|path| step.rank(path)).collect();
    let watch = RankWatch::new(programs, &ranks);
    let mut options = reduce::Options::default();
    if let (Some(cores), Some(in_flight)) = (NonZero::new(threads), NonZero::new(IN_FLIGHT)) {
        (options.cores, options.in_flight) = (cores, in_flight);
    }
    let reduction = reduce_watched(step.files.as_slice(), &options, &watch);
    let mut hits = watch.finish();
    for (path, outcome) in step.files.iter().zip(&reduction.outcomes) {
        if let Some(of_node) = step.hits(path).filter(|_| outcome.is_used()) {
            hits.merge(of_node);
        }
    }
    (reduction, hits)
}

fn states(
    step: &StepProfiles,
    reduction: &Reduction,
    exported: &mut Exported,
) -> Result<(), Refused> {
    let read = step.files.iter().zip(&reduction.outcomes);
    let read = read.map(|(path, outcome)| {
        let state = match outcome {
            Outcome::Used => FileState::Used,
            Outcome::Empty => FileState::Empty,
            Outcome::Truncated { .. } => FileState::Truncated,
            Outcome::Unsupported(_) => {
                return Err(Refused::Unsupported {
                    path: path.clone(),
                    why: outcome.to_string(),
                });
            }
            other => FileState::Foreign(other.to_string()),
        };
        Ok((path.clone(), state))
    });
    let read = read.collect::<Result<Vec<_>, _>>()?;
    step.settle(read, &mut exported.states);
    Ok(())
}

/// Profiles whose build id is none of the objects'. Without a build id nobody can tell.
fn find_strays(
    step: &StepProfiles,
    reduction: &Reduction,
    groups: &[Group],
    strays: &mut Vec<(PathBuf, Option<String>)>,
) {
    for reduced in &reduction.binaries {
        let ids: Vec<String> = ids(&reduced.profile.shape).collect();
        let known = |id: &String| groups.iter().any(|group| group.has(id));
        if let Some(id) = ids.first().filter(|_| !ids.iter().any(known)) {
            let files = reduced
                .files
                .iter()
                .filter_map(|&file| step.files.get(file));
            let mut behind: Vec<PathBuf> = files
                .flat_map(|path| step.behind_with(path, Some(id)))
                .collect();
            behind.sort_unstable();
            strays.extend(behind.into_iter().map(|path| (path, Some(id.clone()))));
        }
    }
}

fn nothing_usable(states: BTreeMap<PathBuf, FileState>) -> EngineError {
    let first = states
        .iter()
        .next()
        .map(|(path, state)| format!("; the first, `{}`: {}", path.display(), state.say()));
    EngineError::NothingUsable {
        count: states.len(),
        first: first.unwrap_or_default(),
        states,
    }
}
