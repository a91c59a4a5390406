//! The reference engine: LLVM's own programs, tree by tree.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{EngineError, Exported, Group, functions_of, mismatched, open};
use crate::build;
use crate::coverage::lcov::{Fault, Tracefile};
use crate::coverage::node::ids;
use crate::coverage::objects::Object;
use crate::coverage::reduce;
use crate::drive::Run;
use crate::drive::builds::Builder;
use crate::drive::ledger::FileState;
use crate::drive::profiles::StepProfiles;
use crate::drive::request::setup;
use crate::foreign;
use crate::llvm::{self, LlvmError};
use crate::plan::Producer;

/// Returns what LLVM's programs make of the profiles.
pub(super) async fn export(
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
        let of_build: Vec<&StepProfiles> =
            steps.iter().filter(|step| step.build == *build).collect();
        let profiles: Vec<PathBuf> = of_build
            .iter()
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
        of_tree(request, &of_build, &mut exported).await?;
    }
    Ok(exported)
}

async fn of_tree(
    request: llvm::Request,
    steps: &[&StepProfiles],
    exported: &mut Exported,
) -> Result<(), LlvmError> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |source| LlvmError::Io { path, source }
    };
    fs_err::create_dir_all(&request.work_dir).map_err(unreadable(&request.work_dir))?;
    let objects = request.objects.clone();
    let outcome = llvm::coverage(request).await?;
    let file = foreign::open(&outcome.tracefile).map_err(unreadable(&outcome.tracefile))?;
    let mut tracefile = Tracefile::default();
    let reading = tracefile
        .read(file)
        .map_err(unreadable(&outcome.tracefile))?;
    // A function that the compiler made itself may stand on line 0, and on none in a report.
    let mut problems = reading.problems.iter();
    if let Some(problem) = problems.find(|it| !matches!(it.fault, Fault::NoLine { .. })) {
        exported
            .losses
            .push((outcome.tracefile.clone(), problem.to_string()));
    }
    if exported.tracefile.is_empty() {
        exported.tracefile = tracefile;
    } else {
        exported.further.push(tracefile);
    }
    exported.left_out.extend(outcome.left_out);
    exported.notes.extend(outcome.remarks);
    let mut read = BTreeMap::new();
    let mut doubtful = BTreeMap::new();
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
        if state == FileState::Used && entry.has_object != Some(true) {
            doubtful.insert(entry.path.clone(), entry.has_object);
        }
        read.insert(entry.path, state);
    }
    for step in steps {
        let own = step.files.iter().filter_map(|path| read.remove_entry(path));
        step.settle(own.collect::<Vec<_>>(), &mut exported.states);
        let files: Vec<&PathBuf> = step.files.iter().collect();
        let files: Vec<&PathBuf> = files
            .into_iter()
            .filter(|it| doubtful.contains_key(*it))
            .collect();
        tokio::task::block_in_place(|| {
            let of_others = |path: &PathBuf| doubtful[path] == Some(false);
            compare(
                &files,
                &objects,
                &of_others,
                outcome.mismatched_functions,
                exported,
            );
        });
    }
    Ok(())
}

/// Looks which of these profiles lose counts: `llvm-cov` drops them, and tells at most how many functions of the objects are not
/// counted for that. `of_others` are those whose build id is none of the objects'.
fn compare(
    files: &[&PathBuf],
    objects: &[Object],
    of_others: &dyn Fn(&PathBuf) -> bool,
    mismatched_functions: u64,
    exported: &mut Exported,
) {
    if files.is_empty() {
        return;
    }
    let functions = functions_of(&open(objects, &mut Vec::new()));
    let reduction = reduce::reduce(files, &reduce::Options::default());
    for reduced in &reduction.binaries {
        let known = |id: String| objects.iter().any(|it| it.build_id.as_ref() == Some(&id));
        if ids(&reduced.profile.shape).any(known) {
            continue;
        }
        if let Some(why) = functions
            .fit(&reduced.profile)
            .named(&reduced.profile)
            .loss()
        {
            let of_binary = reduced.files.iter().filter_map(|&file| files.get(file));
            mismatched(
                of_binary.map(|path| (*path).clone()).collect(),
                &why,
                exported,
            );
        }
    }
    let unread = files.iter().zip(&reduction.outcomes);
    let unread = unread.filter(|(path, outcome)| !outcome.is_used() && of_others(path));
    let unread: Vec<PathBuf> = unread.map(|(path, _)| (*path).clone()).collect();
    if mismatched_functions > 0 && !unread.is_empty() {
        let why = format!(
            "its program is none of the objects, and `llvm-cov` left out {mismatched_functions} functions whose counts did not match"
        );
        mismatched(unread, &why, exported);
    }
}
