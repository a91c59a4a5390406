//! Continuous integration for codes on supercomputers.
pub mod build;
pub mod cancel;
pub mod coverage;
pub mod git;
pub mod launch;
pub mod process;
pub mod scheduler;
