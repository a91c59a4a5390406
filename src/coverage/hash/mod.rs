//! Hashes: of numbers that are hashes already, and MD5, by which LLVM refers to names.

mod md5;
mod numbers;

pub(crate) use md5::{md5, md5_each};
pub(crate) use numbers::{NumberHash, NumberHasher};
