//! The builds of a run: tree, `fetch`, build command, and the check that what was built is what was asked for.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::event::BuildFailure;
use super::folder::RunFolder;
use super::progress::{Observer, Progress, StageKind, Under};
use super::request::{program, setup};
use super::trees::{Origin, Trees};
use crate::build::instrument::{self, Mode};
use crate::build::{self, BuildError};
use crate::config::{CommandLine, DyingRanks};
use crate::coverage::objects::{self, Places};
use crate::plan::{Build, LauncherKind, Plan, Producer, Step, StepKind};
use crate::scheduler::{Status, Verdict};

/// What building needs to know.
pub(super) struct Builder<'a> {
    pub(super) plan: &'a Plan,
    pub(super) folder: &'a RunFolder,
    pub(super) origin: &'a Origin,
    pub(super) trees: &'a Trees,
    pub(super) workspace: &'a Path,
    pub(super) inherited: &'a [(OsString, OsString)],
    pub(super) observer: &'a Observer,
    pub(super) dying_ranks: DyingRanks,
}

/// A build that left no usable program.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Its command failed, or could not be run.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// It was to be instrumented, and is not.
    #[error("build `{build}` asks for `coverage = \"llvm\"`, but `{}` has no coverage mapping: it was built by {compiler}", program.display())]
    NotInstrumented {
        /// The build's id.
        build: String,
        /// The program.
        program: PathBuf,
        /// What built it, by its own word.
        compiler: String,
    },
    /// Its job did not end well.
    #[error("build `{build}`: {}; its log ends:\n{tail}", verdict.message)]
    Job {
        /// The build's id.
        build: String,
        /// How it ended.
        verdict: Verdict,
        /// The whole log.
        log: PathBuf,
        /// The last lines of the log.
        tail: String,
    },
    /// It was to be plain, and is instrumented.
    #[error("build `{build}` is for benchmarks, but `{}` is instrumented: its times would mean nothing", program.display())]
    Instrumented {
        /// The build's id.
        build: String,
        /// The program.
        program: PathBuf,
    },
}

impl Failure {
    /// Returns whether the code under test is at fault.
    fn is_fault_of_code(&self) -> bool {
        match self {
            Self::Build(error) => error.is_fault_of_code(),
            Self::Job { verdict, .. } => verdict.outcome.status() == Status::Failed,
            Self::NotInstrumented { .. } | Self::Instrumented { .. } => false,
        }
    }

    /// Returns what the journal keeps of it.
    pub(super) fn noted(&self) -> BuildFailure {
        BuildFailure {
            fault_of_code: self.is_fault_of_code(),
            message: self.to_string(),
            help: self.help(),
            exit_code: self.exit_code(),
        }
    }

    /// Returns the exit code of the build command, if that is what failed.
    fn exit_code(&self) -> Option<i32> {
        match self {
            Self::Build(BuildError::Failed { code, .. }) => Some(*code),
            Self::Job { verdict, .. } => verdict.exit_code,
            _ => None,
        }
    }

    /// Returns what to do about it.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Build(error) => error.help(),
            Self::Job { log, .. } => Some(format!("the whole log is `{}`", log.display())),
            Self::NotInstrumented { .. } => Some(
                "build with clang or rustc: for MPI compilers set `OMPI_CC = \"clang\"` (Open MPI) or `MPICH_CC = \"clang\"` \
                 in `variables` of [environment], or set `coverage = \"none\"`"
                    .to_owned(),
            ),
            Self::Instrumented { .. } => {
                Some("take `-C instrument-coverage` or `-fprofile-instr-generate` out of this build's own flags".to_owned())
            }
        }
    }
}

impl Builder<'_> {
    /// Returns the variables that instrument a build, and the steps that use it.
    pub(super) fn instrumentation(
        &self,
        build: &Build,
        mode: Mode,
    ) -> Result<Vec<(String, String)>, BuildError> {
        if build.coverage != Producer::Llvm {
            return Ok(Vec::new());
        }
        let wrapper = build::write_rustc_wrapper(self.workspace, mode)?;
        let next = self
            .inherited
            .iter()
            .find(|(name, _)| name == "RUSTC_WORKSPACE_WRAPPER")
            .and_then(|(_, value)| value.to_str());
        let out_dirs = build::prepare_out_dirs(self.workspace, &build.id)?;
        let tree = self.tree(build);
        Ok(instrument::llvm(mode, &wrapper, &out_dirs, &tree, next))
    }

    fn out_dirs(&self, build: &Build) -> PathBuf {
        build::out_dirs(self.workspace, &build.id)
    }

    /// Returns where the objects of these builds are looked for; `patterns` name further ones.
    pub(super) fn places(&self, builds: &[&Build], patterns: &[String]) -> Places {
        Places {
            trees: builds.iter().map(|build| self.tree(build)).collect(),
            patterns: patterns.to_vec(),
            notes: builds.iter().map(|build| self.out_dirs(build)).collect(),
        }
    }

    /// Returns where the tree of a build stands.
    pub(super) fn tree(&self, build: &Build) -> PathBuf {
        let number = self
            .plan
            .builds
            .iter()
            .position(|other| other.id == build.id)
            .unwrap_or(usize::MAX);
        self.trees.place(self.origin, build, number)
    }

    /// Builds for this mode, and checks that the programs are instrumented as they should be.
    pub(super) async fn build(&self, build: &Build, mode: Mode) -> Result<Duration, Failure> {
        let tree = self.tree(build);
        self.fetch_missing(build, &tree).await;
        let Some(command) = &build.command else {
            return Ok(Duration::ZERO);
        };
        let under = Under::begin(self.observer, StageKind::Build, Some(&build.id));
        let took = self
            .run(build, "build", program(command).argv(), &tree, mode)
            .await?;
        self.check(build)?;
        under.end(true);
        Ok(took)
    }

    /// Writes the script of a build that a job is to make in this mode, and returns where it stands.
    pub(super) fn script(
        &self,
        build: &Build,
        command: &CommandLine,
        mode: Mode,
    ) -> Result<PathBuf, Failure> {
        let tree = self.tree(build);
        let request = self.request(build, "build", program(command).argv(), &tree, mode)?;
        Ok(build::write_script(&request)?)
    }

    /// Runs the `fetch` command of a build, unless that was done.
    pub(super) async fn fetch_missing(&self, build: &Build, tree: &Path) {
        if !self.trees.is_fetched(self.origin, build)
            && let Err(error) = self.fetch(build, tree).await
        {
            // All that is needed may be here already; then the build succeeds without a network.
            (self.observer)(Progress::Note(format!(
                "`fetch` of build `{}` failed: {error}",
                build.id
            )));
        }
    }

    /// Runs the `fetch` command of a build in this tree.
    pub(super) async fn fetch(&self, build: &Build, tree: &Path) -> Result<(), Failure> {
        if let Some(fetch) = &build.fetch {
            let under = Under::begin(self.observer, StageKind::Fetch, Some(&build.id));
            let argv = program(fetch).argv();
            self.run(build, "fetch", argv, tree, Mode::AtExit).await?;
            under.end(true);
        }
        Ok(())
    }

    async fn run(
        &self,
        build: &Build,
        part: &str,
        argv: Vec<String>,
        tree: &Path,
        mode: Mode,
    ) -> Result<Duration, Failure> {
        let request = self.request(build, part, argv, tree, mode)?;
        Ok(build::run(&request).await?)
    }

    fn request<'a>(
        &'a self,
        build: &'a Build,
        part: &str,
        argv: Vec<String>,
        tree: &'a Path,
        mode: Mode,
    ) -> Result<build::Request<'a>, Failure> {
        let dir = self.folder.build(&build.id).join(part);
        let created = fs_err::create_dir_all(dir.join("profiles"));
        created.map_err(|source| BuildError::Write {
            path: dir.clone(),
            source,
        })?;
        let mut variables = self.instrumentation(build, mode)?;
        // Programs that a build runs must not leave profiles in the tree, nor in the coverage of the tests.
        let profiles = dir
            .join("profiles/%h.%p.profraw")
            .to_string_lossy()
            .into_owned();
        let commit = self.plan.revision.commit.clone();
        let features = build.features.clone().unwrap_or_default();
        variables.extend([
            ("LLVM_PROFILE_FILE".to_owned(), profiles),
            ("HPC_CI_COMMIT".to_owned(), commit),
            ("HPC_CI_FEATURES".to_owned(), features),
        ]);
        Ok(build::Request {
            build: &build.id,
            argv,
            tree,
            dir,
            setup: setup(&build.environment),
            variables,
            launchers: self.starts_mpi(build).then(|| self.folder.launchers()),
            inherited: self.inherited,
        })
    }

    /// Whether a step of this build starts MPI by itself.
    fn starts_mpi(&self, build: &Build) -> bool {
        let mut own = self.plan.steps.iter().filter(|step| step.build == build.id);
        own.any(|step| step.launcher.kind == LauncherKind::None)
    }

    /// Looks at the programs of the build's steps, as far as they stand in its tree.
    pub(super) fn check(&self, build: &Build) -> Result<(), Failure> {
        let tree = self.tree(build);
        let steps = self
            .plan
            .steps
            .iter()
            .filter(|step| step.build == build.id && step.runs());
        for step in steps {
            let Some(path) = program_of(step, &tree) else {
                continue;
            };
            let Ok(found) = objects::about(&path) else {
                continue;
            };
            let build = build.id.clone();
            match self.plan.build(&step.build).map(|build| build.coverage) {
                Some(Producer::Llvm) if step.coverage == Producer::Llvm && !found.mapping => {
                    return Err(Failure::NotInstrumented {
                        build,
                        program: path,
                        compiler: found
                            .compiler
                            .unwrap_or_else(|| "an unknown compiler".to_owned()),
                    });
                }
                Some(Producer::None)
                    if found.profile && matches!(step.kind, StepKind::Benchmark(_)) =>
                {
                    return Err(Failure::Instrumented {
                        build,
                        program: path,
                    });
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Returns the program of a step, where it stands in its work tree.
pub(super) fn program_of(step: &Step, tree: &Path) -> Option<PathBuf> {
    let name = program(&step.command).name()?;
    Some(tree.join(name)).filter(|path| path.is_file())
}
