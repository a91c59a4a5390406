//! Continuous integration for codes on supercomputers.
pub mod build;
pub mod cancel;
pub mod coverage;
pub mod launch;
pub mod process;
pub mod scheduler;
