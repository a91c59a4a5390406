//! Continuous integration for codes on supercomputers.
pub mod build;
pub mod cancel;
pub mod cli;
pub mod config;
pub mod coverage;
pub mod drive;
pub mod error;
pub mod git;
pub mod launch;
pub mod llvm;
pub mod plan;
pub mod process;
pub mod results;
pub mod scheduler;
