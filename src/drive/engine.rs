//! The two engines behind one question: profiles and objects to a tracefile.
//!
//! The native engine is asked first. What it says that it cannot read (MC/DC is fine; value profiling, foreign byte orders and
//! unknown versions are not) goes to LLVM's own programs, all of it, so that one report speaks one dialect.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZero;
use std::path::{Path, PathBuf};

use super::Run;
use super::builds::Builder;
use super::collect::name;
use super::ledger::FileState;
use super::profiles::StepProfiles;
use super::request::setup;
use crate::build;
use crate::config::Engine;
use crate::coverage::counts::Counts;
use crate::coverage::export::{Coverage, Options as ExportOptions};
use crate::coverage::lcov::Tracefile;
use crate::coverage::mapping::{self, Units};
use crate::coverage::node::{ids, rank_of};
use crate::coverage::object::ObjectError;
use crate::coverage::objects::Object;
use crate::coverage::paths::{Place, Rules};
use crate::coverage::profile::Profile;
use crate::coverage::rank_hits::{Programs, RankHits, RankWatch};
use crate::coverage::rank_report::{self, RankReport, Sample};
use crate::coverage::reduce::{self, Outcome, Reduction, reduce_watched};
use crate::coverage::source::Binary;
use crate::llvm::{self, LlvmError};
use crate::plan::Producer;

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
    #[error("no program or library with coverage mapping was found in the work trees")]
    NoObjects,
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
            Self::NoObjects => Some(
                "build with clang or rustc (for `mpicc`, set `OMPI_CC` or `MPICH_CC`), or name programs outside the trees in \
                 `objects` of [coverage]"
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
    if groups.iter().all(|group| group.objects.is_empty()) {
        return Err(EngineError::NoObjects);
    }
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
    let mut exported = reference(run, builder, steps, groups).await?;
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
        let unasked = step.files.iter().any(|path| rank_of(&name(path)).is_some());
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
    for (number, binaries) in binaries.iter().enumerate() {
        let profiles = reductions.iter().flat_map(|(step, reduction, _)| {
            let all = reduction.binaries.iter().map(|reduced| &reduced.profile);
            all.filter(move |profile| home(profile, step, groups) == Some(number))
        });
        let counts = Counts::new(profiles);
        let coverage = cover(&counts, binaries, &mut exported.left_out);
        let mut text = Vec::new();
        if coverage.files().write_lcov(&mut text).is_ok() {
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
                let behind = files.map(|path| step.behind_with(path, &id).len() as u64);
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

/// The group whose objects a profile belongs to: by build id, else that of its step's build.
fn home(profile: &Profile, step: &StepProfiles, groups: &[Group]) -> Option<usize> {
    let ids: Vec<String> = ids(&profile.shape).collect();
    let of_build = |group: &Group| group.build.as_deref() == Some(step.build.as_str());
    let own = groups.iter().position(of_build);
    let known = |at: &usize| ids.iter().any(|id| groups[*at].has(id));
    own.filter(known)
        .or_else(|| (0..groups.len()).find(known))
        .or(own)
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
        .map(|(step, _, hits)| Sample {
            step: &step.step,
            test: step.step.split('[').next().unwrap_or(&step.step),
            size: step.ranks,
            hits,
        })
        .collect();
    let seen = RefCell::new(BTreeSet::new());
    rank_report::report(&coverage.files(), &samples, |path| {
        match rules.place(path) {
            Place::Kept(path) => seen.borrow_mut().insert(path.clone()).then_some(path),
            Place::Excluded(_) | Place::Outside => None,
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
    let ranks: Vec<Option<u32>> = step.files.iter().map(|path| rank_of(&name(path))).collect();
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
            let mut behind: Vec<PathBuf> =
                files.flat_map(|path| step.behind_with(path, id)).collect();
            behind.sort_unstable();
            strays.extend(behind.into_iter().map(|path| (path, Some(id.clone()))));
        }
    }
}

fn nothing_usable(states: BTreeMap<PathBuf, FileState>) -> EngineError {
    let first = states
        .iter()
        .next()
        .map(|(path, state)| format!("; the first, `{}`, is {}", path.display(), state.say()));
    EngineError::NothingUsable {
        count: states.len(),
        first: first.unwrap_or_default(),
        states,
    }
}

/// LLVM's own programs, tree by tree.
async fn reference(
    run: &Run,
    builder: &Builder<'_>,
    steps: &[StepProfiles],
    groups: &[Group],
) -> Result<Exported, EngineError> {
    let instrumented = run
        .request
        .plan
        .builds
        .iter()
        .find(|build| build.coverage == Producer::Llvm);
    let environment = match instrumented {
        Some(build) => {
            build::environment_after(&setup(&build.environment), builder.inherited).await
        }
        None => builder.inherited.to_vec(),
    };
    let outside = groups.iter().filter(|group| group.build.is_none());
    let outside: Vec<Object> = outside
        .flat_map(|group| group.objects.iter().cloned())
        .collect();
    let mut exported = Exported::default();
    for group in groups {
        let Some(build) = &group.build else { continue };
        let of_build = steps.iter().filter(|step| step.build == *build);
        let profiles: Vec<PathBuf> = of_build
            .flat_map(|step| step.files.iter().cloned())
            .collect();
        if profiles.is_empty() {
            continue;
        }
        let work_dir = run.folder.coverage().join(build);
        let request = llvm::Request {
            profiles,
            objects: group.objects.iter().chain(&outside).cloned().collect(),
            environment: environment.clone(),
            work_dir,
            threads: run.request.site.workspace.threads as usize,
        };
        reference_of_tree(request, steps, &mut exported).await?;
    }
    Ok(exported)
}

async fn reference_of_tree(
    request: llvm::Request,
    steps: &[StepProfiles],
    exported: &mut Exported,
) -> Result<(), LlvmError> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |source| LlvmError::Io { path, source }
    };
    fs_err::create_dir_all(&request.work_dir).map_err(unreadable(&request.work_dir))?;
    let outcome = llvm::coverage(request).await?;
    let file = fs_err::File::open(&outcome.tracefile).map_err(unreadable(&outcome.tracefile))?;
    let mut tracefile = Tracefile::default();
    tracefile
        .read(file)
        .map_err(unreadable(&outcome.tracefile))?;
    if exported.tracefile.is_empty() {
        exported.tracefile = tracefile;
    } else {
        exported.further.push(tracefile);
    }
    exported.left_out.extend(outcome.left_out);
    exported.notes.extend(outcome.remarks);
    let mut read = BTreeMap::new();
    for entry in outcome.ledger {
        if entry.has_object == Some(false) {
            exported
                .strays
                .push((entry.path.clone(), entry.build_ids.first().cloned()));
        }
        let state = match entry.state {
            llvm::State::Used => FileState::Used,
            llvm::State::Empty => FileState::Empty,
            llvm::State::Truncated => FileState::Truncated,
            llvm::State::Foreign(why) => FileState::Foreign(why),
        };
        read.insert(entry.path, state);
    }
    for step in steps {
        let own = step.files.iter().filter_map(|path| read.remove_entry(path));
        step.settle(own.collect::<Vec<_>>(), &mut exported.states);
    }
    Ok(())
}
