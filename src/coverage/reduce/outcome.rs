//! What became of each file.

use std::io;

use super::super::profile::{MAX_PROFILE, ProfileError, Unsupported};
use super::MOST_HOLLOW;
use crate::foreign::ForeignError;

/// What became of one file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Outcome {
    /// It was added.
    #[error("used")]
    Used,
    /// It holds nothing: its process died before it could write.
    #[error("empty")]
    Empty,
    /// It ends too early: its process died while it wrote.
    #[error("cut short: {got} of {expected} bytes")]
    Truncated {
        /// The size that its header asks for.
        expected: u64,
        /// The size that it has.
        got: u64,
    },
    /// It is no LLVM profile.
    #[error("not an LLVM profile")]
    Foreign,
    /// It is a profile that only LLVM's own programs can read.
    #[error("{0}, which only LLVM's own programs read")]
    Unsupported(Unsupported),
    /// It contradicts itself.
    #[error("damaged: {0}")]
    Damaged(&'static str),
    /// It has the build id of other profiles, but other functions.
    #[error("its functions are not those of other profiles with its build id")]
    Differs,
    /// A counter is larger than any program could count.
    #[error("damaged: counter {counter} is {value}")]
    Overflow {
        /// Which counter.
        counter: usize,
        /// What it says.
        value: u64,
    },
    /// Its header asks for more than a program has.
    #[error("its header asks for more than {MAX_PROFILE} bytes, which no program has")]
    TooLarge,
    /// Most of it is holes, and there is no room for more of those.
    #[error(
        "{hollow} of its bytes are in holes of the file: of all profiles, no more than {MOST_HOLLOW} may be"
    )]
    Hollow {
        /// How many.
        hollow: u64,
    },
    /// It is something else than a file.
    #[error("{0}, and no regular file")]
    NoFile(&'static str),
    /// It could not be read.
    #[error("unreadable: {0}")]
    Unreadable(io::ErrorKind),
}

impl Outcome {
    /// Returns whether the file's counts are part of the sum.
    #[must_use]
    pub fn is_used(&self) -> bool {
        matches!(self, Self::Used)
    }
}

impl From<ProfileError> for Outcome {
    fn from(error: ProfileError) -> Self {
        match error {
            ProfileError::Truncated { expected, got } => Self::Truncated { expected, got },
            ProfileError::Foreign => Self::Foreign,
            ProfileError::Unsupported(kind) => Self::Unsupported(kind),
            ProfileError::TooLarge => Self::TooLarge,
            ProfileError::Damaged(why) => Self::Damaged(why),
        }
    }
}

impl From<io::Error> for Outcome {
    fn from(error: io::Error) -> Self {
        match error.get_ref().and_then(|it| it.downcast_ref()) {
            Some(ForeignError::Kind { what, .. }) => Self::NoFile(what),
            _ => Self::Unreadable(error.kind()),
        }
    }
}
