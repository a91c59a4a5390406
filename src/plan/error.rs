//! Why there is no plan.

use thiserror::Error;

use super::filter::FilterError;

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PlanError {
    /// The filter expression is not one.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// Nothing is left to run.
    #[error("no step matches {asked}")]
    NothingSelected {
        /// What was asked for.
        asked: String,
        /// Names that come near.
        near: Vec<String>,
    },
    /// `[trust]` does not name what the commit comes from.
    #[error("{kind} `{name}` may not run here")]
    Untrusted {
        /// `branch`, `tag` or `fork`.
        kind: &'static str,
        /// Its name.
        name: String,
        /// The key that would have to name it.
        key: &'static str,
        /// What it names.
        allowed: Vec<String>,
    },
    /// There are no steps at all.
    #[error("there are no steps: no `[[test]]` and no `[[benchmark]]`")]
    NoSteps,
    /// Two steps have one name.
    #[error("two steps are called `{name}`")]
    DuplicateName {
        /// The name.
        name: String,
    },
    /// A step needs one that does not exist.
    #[error("step `{step}` needs `{need}`, which is not defined")]
    UnknownNeed {
        /// The step.
        step: String,
        /// What it needs.
        need: String,
        /// A name that comes near.
        near: Option<String>,
    },
    /// More steps than a run can have.
    #[error("the matrices make more than {most} steps")]
    TooManySteps {
        /// How many there may be.
        most: usize,
    },
    /// More pairs of steps that wait for one another than a run can have.
    #[error("the steps' `needs` make more than {most} pairs")]
    TooManyNeeds {
        /// How many there may be.
        most: usize,
    },
    /// Steps wait for one another.
    #[error("steps wait for one another: {}", path.join(" → "))]
    Cycle {
        /// Their names in order, the first again at the end.
        path: Vec<String>,
    },
    /// A word in braces stands for nothing.
    #[error("step `{step}`: `{{{word}}}` is not known")]
    UnknownWord {
        /// The step or build.
        step: String,
        /// The word.
        word: String,
    },
    /// A value of an axis does not fit the key that the axis replaces.
    #[error("step `{step}`: `{value}` cannot be a value of `{axis}`")]
    Axis {
        /// The step.
        step: String,
        /// The axis.
        axis: String,
        /// The value.
        value: String,
    },
}

impl PlanError {
    /// Returns what to do about it.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Filter(error) => Some(error.help()),
            Self::NothingSelected { asked, .. } if asked == "`--failed`" => {
                Some("in the latest run that ended (`hpc-ci report`) no step failed".to_owned())
            }
            Self::NothingSelected { near, .. } if near.is_empty() => {
                Some("`hpc-ci plan --list` shows all names".to_owned())
            }
            Self::NothingSelected { near, .. } => Some(format!("there is {}", quoted(near))),
            Self::Untrusted { key, allowed, .. } => Some(match &allowed[..] {
                [] => format!("`{key}` of [trust] in a trusted file decides that"),
                allowed => format!(
                    "`{key}` of [trust] in a trusted file names {}",
                    quoted(allowed)
                ),
            }),
            Self::NoSteps => Some("add a `[[test]]` with `name` and `command`".to_owned()),
            Self::DuplicateName { .. } => Some("rename one of them".to_owned()),
            Self::UnknownNeed { near, .. } => {
                near.as_ref().map(|near| format!("did you mean `{near}`?"))
            }
            Self::Cycle { .. } => Some("remove one of these `needs`".to_owned()),
            Self::UnknownWord { word, .. } => {
                Some(format!("for the braces themselves write `{{{{{word}}}}}`"))
            }
            Self::TooManySteps { .. } => Some("make the axes shorter, or fewer".to_owned()),
            Self::TooManyNeeds { .. } => {
                Some("name single steps in `needs`, such as `mesh[ranks={ranks}]`".to_owned())
            }
            Self::Axis { .. } => None,
        }
    }
}

fn quoted(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}
