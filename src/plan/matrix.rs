//! Axes → steps with stable names.

use std::collections::HashSet;

use super::{Kinds, PlanError, Selection, StepKind};
use crate::config::{Matrix, StepSpec, Suite};

/// No cluster is served by more, and a commit must not be able to fill the memory.
const MOST_STEPS: usize = 50_000;

/// One step before its words are replaced.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Point<'s> {
    /// The name of the table that it came from.
    pub(super) table: &'s str,
    /// Its full name.
    pub(super) name: String,
    /// The table with the axes put in.
    pub(super) spec: StepSpec,
    /// Axes and values.
    pub(super) axes: Vec<(String, String)>,
    /// Its set of features.
    pub(super) features: Option<String>,
    /// Whether the kinds, ranks and features that were asked for include it.
    pub(super) wanted: bool,
}

/// Returns every point of every step, those too that were not asked for: others may need them.
pub(super) fn expand<'s>(
    suite: &'s Suite,
    selection: &Selection,
) -> Result<Vec<Point<'s>>, PlanError> {
    if suite.steps.is_empty() {
        return Err(PlanError::NoSteps);
    }
    let mut points = Vec::new();
    let mut names = HashSet::new();
    for spec in &suite.steps {
        // Every point has a copy of its table, and must not have one of all the points.
        let plain = StepSpec {
            matrix: Matrix::default(),
            ..spec.clone()
        };
        for axes in axes_with_features(spec, selection) {
            let point = point(spec, plain.clone(), axes, selection)?;
            if !names.insert(point.name.clone()) {
                return Err(PlanError::DuplicateName { name: point.name });
            }
            points.push(point);
            if points.len() > MOST_STEPS {
                return Err(PlanError::TooManySteps { most: MOST_STEPS });
            }
        }
    }
    Ok(points)
}

/// Returns the points of a step; several `--features` become an axis where there is none.
fn axes_with_features(spec: &StepSpec, selection: &Selection) -> Vec<Vec<(String, String)>> {
    let points = spec.matrix.points();
    if spec.matrix.axis("features").is_some() || selection.features.len() < 2 {
        return points;
    }
    let longer = points.into_iter().flat_map(|point| {
        selection.features.iter().map(move |features| {
            let mut point = point.clone();
            point.push(("features".to_owned(), features.clone()));
            point
        })
    });
    longer.collect()
}

fn point<'s>(
    spec: &'s StepSpec,
    mut own: StepSpec,
    axes: Vec<(String, String)>,
    selection: &Selection,
) -> Result<Point<'s>, PlanError> {
    let name = name(&spec.name, &axes);
    for (axis, value) in &axes {
        own.set_axis(axis, value).map_err(|_| PlanError::Axis {
            step: name.clone(),
            axis: axis.clone(),
            value: value.clone(),
        })?;
    }
    let of_axis = |wanted: &str| {
        let axis = axes.iter().find(|(axis, _)| axis == wanted);
        axis.map(|(_, value)| value.clone())
    };
    let mut wanted = is_of(selection.kinds, &own.kind);
    match (of_axis("ranks"), selection.ranks) {
        (Some(_), Some(ranks)) => wanted &= own.ranks == ranks,
        (None, Some(ranks)) => own.ranks = ranks,
        (_, None) => {}
    }
    let features = match (of_axis("features"), selection.features.as_slice()) {
        (Some(own), asked) => {
            wanted &= asked.is_empty() || asked.contains(&own);
            Some(own)
        }
        (None, asked) => asked.first().cloned(),
    };
    Ok(Point {
        table: &spec.name,
        name,
        spec: own,
        axes,
        features,
        wanted,
    })
}

/// Returns `halo[ranks=4,features=rma]`, or `halo` where there are no axes.
fn name(table: &str, axes: &[(String, String)]) -> String {
    if axes.is_empty() {
        return table.to_owned();
    }
    let pairs: Vec<String> = axes
        .iter()
        .map(|(axis, value)| format!("{axis}={value}"))
        .collect();
    format!("{table}[{}]", pairs.join(","))
}

fn is_of(kinds: Kinds, kind: &StepKind) -> bool {
    match kinds {
        Kinds::All => true,
        Kinds::Tests => *kind == StepKind::Test,
        Kinds::Benchmarks => *kind != StepKind::Test,
    }
}
