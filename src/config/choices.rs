//! Settings that are one word out of a few.

use serde::{Deserialize, Serialize};

use super::problem::Report;
use super::raw::Item;
use super::read::{Field, one_of};

macro_rules! choices {
    ($(
        $(#[$doc:meta])*
        $name:ident { $($(#[$word_doc:meta])* $variant:ident = $word:literal,)+ }
    )+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$word_doc])* #[serde(rename = $word)] $variant,)+
        }

        impl $name {
            /// Every word and what it stands for.
            pub const ALL: &'static [(&'static str, Self)] = &[$(($word, Self::$variant),)+];

            /// Returns the word as it is written in settings.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        /// The first word, which is what holds where nobody says otherwise.
        impl Default for $name {
            fn default() -> Self {
                Self::ALL[0].1
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.word())
            }
        }

        impl Field for $name {
            fn read(item: &Item, path: &str, report: &Report) -> Option<Self> {
                one_of(item, path, Self::ALL, report)
            }
        }
    )+};
}

choices! {
    /// Which scheduler starts the steps.
    SchedulerKind {
        /// Inside an allocation its job steps, else Slurm where it answers, else here.
        Auto = "auto",
        /// Slurm jobs by `sbatch`.
        Slurm = "slurm",
        /// Job steps of the allocation that hpc-ci was started in.
        Allocation = "allocation",
        /// Processes on this machine.
        Local = "local",
    }

    /// How steps become jobs.
    Strategy {
        /// One job a step.
        Jobs = "jobs",
        /// One job array a group of alike steps.
        Array = "array",
        /// Many steps in one allocation.
        Packed = "packed",
    }

    /// The program that starts the ranks.
    LauncherKind {
        /// `srun` under Slurm, else `mpiexec`.
        Auto = "auto",
        /// Slurm's launcher.
        Srun = "srun",
        /// The launcher of the MPI library.
        Mpiexec = "mpiexec",
        /// The command starts MPI itself.
        None = "none",
    }

    /// How ranks find one another under `srun`.
    Pmi {
        /// As the program's MPI library needs it.
        Auto = "auto",
        /// `PMIx`, which Open MPI speaks.
        Pmix = "pmix",
        /// PMI-2, which MPICH and its kin speak.
        Pmi2 = "pmi2",
        /// Cray's own.
        CrayShasta = "cray_shasta",
        /// None at all.
        None = "none",
    }

    /// What writes the coverage of a build or step.
    Producer {
        /// Nothing.
        None = "none",
        /// LLVM's instrumentation (Rust, clang, flang).
        Llvm = "llvm",
        /// The program writes tracefiles itself.
        Lcov = "lcov",
        /// GCC's instrumentation.
        Gcov = "gcov",
        /// Python's coverage.py.
        CoveragePy = "coverage.py",
    }

    /// Where a build or an evaluation takes place.
    Where {
        /// In the driver's own process tree.
        Here = "here",
        /// In a job of its own.
        Job = "job",
    }

    /// What reads profiles and objects.
    Engine {
        /// The native one where it can, else LLVM's tools.
        Auto = "auto",
        /// The one that is built in.
        Native = "native",
        /// `llvm-profdata` and `llvm-cov`.
        LlvmTools = "llvm-tools",
    }

    /// Which raw profiles stay after they were added up.
    KeepProfiles {
        /// None.
        Never = "never",
        /// Those of steps that failed.
        Failed = "failed",
        /// All.
        Always = "always",
    }

    /// How the counters of ranks that die are kept.
    DyingRanks {
        /// In the first of these ways that this build allows and that slows it by no more than a tenth.
        Auto = "auto",
        /// By a preloaded library, which puts the counters into a file.
        Preload = "preload",
        /// By the continuous mode of the compiler.
        Continuous = "continuous",
        /// Not at all.
        Off = "off",
    }

    /// How a step has to end to be counted as passed.
    Expect {
        /// With exit code 0.
        Pass = "pass",
        /// With another exit code or a signal.
        Fail = "fail",
        /// By running out of its time.
        Timeout = "timeout",
    }

    /// Which way a figure gets better.
    Better {
        /// Less is better, as for times.
        Lower = "lower",
        /// More is better, as for rates.
        Higher = "higher",
    }

    /// How steps tell of their tests, and benchmarks of their figures.
    ResultsFormat {
        /// The XML of `JUnit`.
        Junit = "junit",
        /// What Rust's test programs print.
        Libtest = "libtest",
        /// The same as JSON.
        LibtestJson = "libtest-json",
        /// The Test Anything Protocol.
        Tap = "tap",
        /// The summary of Julia's tests.
        Julia = "julia",
        /// Not at all: the step is one test, whatever it prints.
        None = "none",
        /// The JSON of Google Benchmark.
        GoogleBenchmark = "google-benchmark",
        /// What Criterion prints or leaves in `target/criterion`.
        Criterion = "criterion",
        /// Bencher's metric format.
        Bmf = "bmf",
        /// The custom JSON of github-action-benchmark.
        GithubActionBenchmark = "github-action-benchmark",
    }

    /// What the published artifacts may tell.
    Disclosure {
        /// Everything.
        Full = "full",
        /// No users, accounts, node names or absolute paths.
        Anonymous = "anonymous",
        /// Only statuses and figures.
        Minimal = "minimal",
    }

    /// Forges by the names that Codecov gives them.
    CodecovService {
        /// github.com
        Github = "github",
        /// gitlab.com
        Gitlab = "gitlab",
        /// bitbucket.org
        Bitbucket = "bitbucket",
        /// A GitHub Enterprise host.
        GithubEnterprise = "github_enterprise",
        /// A GitLab of one's own.
        GitlabEnterprise = "gitlab_enterprise",
        /// A Bitbucket of one's own.
        BitbucketServer = "bitbucket_server",
    }
}

impl ResultsFormat {
    /// Returns whether it tells of figures, rather than of tests.
    pub(super) fn is_of_figures(self) -> bool {
        matches!(
            self,
            Self::GoogleBenchmark | Self::Criterion | Self::Bmf | Self::GithubActionBenchmark
        )
    }
}
