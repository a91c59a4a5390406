//! Drives the library and the built program against real MPI, real Slurm, real git servers.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod benchmarks;
mod broken;
mod cluster;
mod cluster_builds;
mod cluster_cover_job;
mod cluster_coverage;
mod cluster_doctor;
mod cluster_dying;
mod cluster_faults;
mod cluster_init;
mod cluster_keep;
mod cluster_life;
mod cluster_measure;
mod cluster_outages;
mod cluster_progress;
mod cluster_reports;
mod cluster_secrets;
mod cluster_strategies;
mod cluster_templates;
mod coverage;
mod dashboard;
mod doctor;
mod git;
mod init;
mod junit;
mod launch;
mod local;
mod progress;
mod publish;
mod published;
mod reports;
mod results_branch;
mod support;
mod templates;
mod trust;
