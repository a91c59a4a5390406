//! Coverage: what ran, from what processes left behind to a tracefile and its totals.
//!
//! This room starts no process and knows nothing of hpc.toml, schedulers or results; each part can be used alone.

pub mod counts;
pub mod elsewhere;
pub mod export;
pub mod fit;
pub(crate) mod hash;
pub mod lcov;
pub mod lines;
pub mod live;
pub mod mapping;
pub mod merge;
pub mod node;
pub mod object;
pub mod objects;
pub mod paths;
pub mod profile;
pub mod rank_hits;
pub mod rank_report;
pub mod reduce;
pub mod source;
pub mod summary;

#[cfg(test)]
mod tests;
