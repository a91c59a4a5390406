//! Commits: where they come from, what they hold, and how one becomes a tree to build in.
//!
//! The only room that imports git2 (libgit2), which speaks the protocols itself: no `git` program is needed, and neither
//! hooks nor programs named in a repository's configuration are ever started. Which commit a run is about, what a
//! branch is called on a CI server, and what is done in a tree are decided elsewhere.
//!
//! Everything here blocks. A [`Source`] is found first, [`Source::resolve`] names the commit and says which
//! [`Repository`] holds it (the source itself, or a mirror kept between runs), and [`checkout`] makes a tree of it.

mod access;
mod bounds;
mod cause;
mod checkout;
mod credentials;
mod dirty;
mod error;
mod gitmodules;
mod kept;
mod lfs;
mod limits;
mod location;
mod mirror;
mod push;
mod remote;
mod repository;
#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod sample;
mod source;
mod submodules;
mod survey;
mod tree;

pub use access::{Access, Progress, Token};
pub use bounds::{Bounds, Measure, SETTINGS, SOURCE};
pub use checkout::{Checkout, CheckoutOptions, SubmoduleTree, checkout, fetch_submodules};
pub use dirty::{Change, ChangeKind, Dirty};
pub use error::GitError;
pub use gitmodules::GitmodulesError;
pub use kept::remove_tree;
pub use limits::limit_waiting;
pub use location::{Location, LocationError, Remote, Secret, Transport};
pub use push::{Changes, Pushed, Snapshot, Update, update_branch};
pub use repository::{CommitId, CommitIdError, Repository};
pub use source::{Found, LocalSource, Source, Wanted};
