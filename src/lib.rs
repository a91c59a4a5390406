//! Continuous integration for codes on supercomputers: what `hpc-ci` is made of.
//!
//! Data goes one way:
//!
//! ```text
//! config -> git -> plan -> build -> launch + scheduler -> drive -> coverage -> results -> publish
//! ```
//!
//! A *pure* room takes values and returns values; an *edge* room talks to disk, git, Slurm, network or clock. Only [`drive`]
//! knows the order, only [`cli`] the command line.
//!
//! | room | | may import |
//! |---|---|---|
//! | [`config`] | pure | shell |
//! | [`plan`] | pure | config |
//! | [`git`] | edge | remedy |
//! | [`build`] | edge | process, remedy, shell |
//! | [`launch`] | pure | nothing |
//! | [`scheduler`] | edge | foreign, process |
//! | [`coverage`] | edge | nothing |
//! | [`llvm`] | edge | process, coverage (what an object is) |
//! | [`results`] | pure, but for its store and history | lease, remedy, scheduler (the words for outcomes) |
//! | [`publish`] | edge | cancel, config, git, remedy, results |
//! | [`drive`] | edge | all of these |
//! | [`doctor`] | edge, but for its findings | build, config, coverage, foreign, git, launch, llvm, owner, plan, process, scheduler |
//! | [`init`] | edge, but for what it makes of what it found | build, config, doctor, foreign, launch, plan, process, scheduler |
//! | [`cli`] | edge | all of these |
//!
//! `clean` serves any room; `process`, `cancel`, `foreign`, `lease`, `owner` and `remedy` serve any edge; `error` wraps every room's
//! error, so only `cli` and `main` import it. The table is held by `tests/layering.rs`.
//!
//! What is absent on purpose: coverage starts no process; the scheduler and the coverage engine know nothing of `hpc.toml` and
//! could be used alone; nothing a checkout brings along (hooks, filters, git configuration) is ever run by the git room.

pub mod build;
pub mod cancel;
pub mod clean;
pub mod cli;
pub mod config;
pub mod coverage;
pub mod doctor;
pub mod drive;
pub mod error;
pub mod foreign;
pub mod git;
pub mod init;
pub mod launch;
pub mod lease;
pub mod llvm;
pub mod owner;
pub mod plan;
pub mod process;
pub mod publish;
pub mod remedy;
pub mod results;
pub mod scheduler;
pub mod shell;
