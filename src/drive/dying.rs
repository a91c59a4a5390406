//! How the counters of ranks that die are kept: chosen before a build, held against what it made.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::builds::Builder;
use super::progress::Progress;
use super::request::setup;
use crate::build::continuous::{self, Compiler, MOST_COST};
use crate::build::instrument::Mode;
use crate::build::preload;
use crate::config::DyingRanks;
use crate::coverage::objects::{self, Counters, Counting, Places};
use crate::launch::Keeping;
use crate::plan::{Build, Producer};
use crate::results::record::{DyingRanks as Record, Way};

/// What a build is to be made for, and what led to it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    keeping: Keeping,
    compilers: Vec<Compiler>,
    /// Why the counters of some ranks are lost.
    reasons: Vec<String>,
}

impl Choice {
    /// Returns how the programs have to be instrumented.
    pub(super) fn mode(&self) -> Mode {
        match self.keeping {
            Keeping::Continuous => Mode::Continuous,
            Keeping::Nothing | Keeping::Preload(_) => Mode::AtExit,
        }
    }

    /// Returns how the counters are kept.
    pub(super) fn keeping(&self) -> &Keeping {
        &self.keeping
    }

    /// Returns what `meta.json` says of it.
    pub(super) fn record(&self, build: &str) -> Record {
        let costs = self.compilers.iter().filter_map(|it| it.cost_percent);
        Record {
            build: build.to_owned(),
            way: match self.keeping {
                Keeping::Nothing => Way::Off,
                Keeping::Preload(_) => Way::Preload,
                Keeping::Continuous => Way::Continuous,
            },
            continuous_cost_percent: costs.max_by(f64::total_cmp),
            reasons: self.reasons.clone(),
        }
    }
}

impl Builder<'_> {
    /// Chooses for a build, as far as that can be done before it.
    pub(super) async fn choose(&self, build: &Build) -> Choice {
        let mut choice = Choice::default();
        if build.coverage != Producer::Llvm {
            return choice;
        }
        match self.dying_ranks {
            DyingRanks::Off => {}
            DyingRanks::Preload => self.preload(build, &mut choice).await,
            DyingRanks::Continuous => self.continuous(build, &mut choice, f64::INFINITY).await,
            DyingRanks::Auto => {
                self.preload(build, &mut choice).await;
                if choice.keeping == Keeping::Nothing {
                    self.continuous(build, &mut choice, MOST_COST).await;
                }
            }
        }
        choice
    }

    /// Holds the choice against the objects of the build, and says what is left to be lost.
    pub(super) async fn confirm(&self, build: &Build, choice: &mut Choice, patterns: &[String]) {
        let tree = self.tree(build);
        let places = self.places(&[build], patterns);
        match choice.keeping {
            Keeping::Nothing => {}
            Keeping::Preload(_) => choice.reasons.extend(unreachable(&tree, &places)),
            Keeping::Continuous => {
                if let Some(reason) = unready(&tree, &places) {
                    choice.reasons.push(reason);
                    choice.keeping = Keeping::Nothing;
                    self.preload(build, choice).await;
                }
            }
        }
        for reason in &choice.reasons {
            let message = format!("build `{}`: {reason}", build.id);
            (self.observer)(Progress::Note(message));
        }
    }

    async fn preload(&self, build: &Build, choice: &mut Choice) {
        let dir = self.folder.preload(&build.id);
        match preload::build(&setup(&build.environment), self.inherited, &dir).await {
            Ok(library) => {
                choice.keeping = Keeping::Preload(library.to_string_lossy().into_owned());
            }
            Err(error) => choice.reasons.push(format!(
                "the library that keeps the counters of ranks that die cannot be made: {error}"
            )),
        }
    }

    /// Takes continuous mode if every compiler has it at no more than this cost.
    async fn continuous(&self, build: &Build, choice: &mut Choice, most: f64) {
        let setup = setup(&build.environment);
        let asked = continuous::compilers(&setup, self.inherited, self.workspace).await;
        let compilers = match asked {
            Ok(compilers) => compilers,
            Err(error) => {
                let reason = format!("whether the compilers have continuous mode: {error}");
                choice.reasons.push(reason);
                return;
            }
        };
        let refused = compilers.iter().find_map(|it| match it.cost_percent {
            None => Some(format!("`{}` has no continuous mode", it.command)),
            Some(cost) if cost > most => Some(format!(
                "continuous mode of `{}` costs up to {cost} %, more than {most} %",
                it.command
            )),
            Some(_) => None,
        });
        match refused {
            Some(reason) => choice.reasons.push(reason),
            None if compilers.is_empty() => {
                let reason = "no compiler of the environment has continuous mode";
                choice.reasons.push(reason.to_owned());
            }
            None => choice.keeping = Keeping::Continuous,
        }
        choice.compilers = compilers;
    }
}

/// Returns why continuous mode must not be used: one object that was not built for it would write nothing, and one file of it
/// would count nothing.
fn unready(tree: &Path, places: &Places) -> Option<String> {
    let found = objects::find(places).objects;
    if found.is_empty() {
        return Some(
            "nothing was built yet that could be seen to be made for continuous mode".to_owned(),
        );
    }
    let linked = found.into_iter().map(|object| object.path);
    let is_unready = |path: &PathBuf| {
        !objects::counting(path).is_ok_and(|counting| counting.counters == Some(Counters::Anywhere))
    };
    let unready = linked.into_iter().find(is_unready);
    let unready = unready.or_else(|| {
        objects::parts_without_relocation(&places.trees)
            .into_iter()
            .next()
    })?;
    Some(format!(
        "`{}` was not built for continuous mode, in which it would count nothing",
        shown(&unready, tree)
    ))
}

/// Returns what the preloaded library cannot do.
fn unreachable(tree: &Path, places: &Places) -> Vec<String> {
    let found = objects::find(places).objects;
    let one = |why: fn(&Counting) -> bool| {
        found
            .iter()
            .find(|object| objects::counting(&object.path).is_ok_and(|counting| why(&counting)))
    };
    let lost = "its ranks that die take their counters along";
    let linked = one(|counting| !counting.is_dynamic).map(|object| {
        format!(
            "`{}` is linked statically, so {lost}; `dying_ranks = \"continuous\"` keeps them",
            shown(&object.path, tree)
        )
    });
    let stripped = one(|counting| counting.is_dynamic && !counting.has_version).map(|object| {
        format!(
            "`{}` has no symbols, so {lost} unless it ends by SIGTERM",
            shown(&object.path, tree)
        )
    });
    linked.into_iter().chain(stripped).collect()
}

fn shown(path: &Path, tree: &Path) -> String {
    path.strip_prefix(tree)
        .unwrap_or(path)
        .display()
        .to_string()
}
