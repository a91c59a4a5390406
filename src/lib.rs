//! Continuous integration for codes on supercomputers.
pub mod process;
