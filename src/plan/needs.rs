//! Names in `needs` → the steps they mean.

use std::collections::HashMap;

use super::PlanError;
use super::matrix::Point;
use super::steps::words;
use crate::config::near;

/// More than this many pairs of steps that wait for one another are a mistake, and would fill the memory.
const MOST: usize = 1_000_000;

/// The steps by the names they can be needed by: their own, and that of their table.
pub(super) struct Needs<'p> {
    points: &'p [Point<'p>],
    by_name: HashMap<&'p str, Vec<usize>>,
}

impl<'p> Needs<'p> {
    pub(super) fn new(points: &'p [Point<'p>]) -> Self {
        let mut by_name: HashMap<&str, Vec<usize>> = HashMap::new();
        for (index, point) in points.iter().enumerate() {
            by_name.entry(&point.name).or_default().push(index);
            if point.table != point.name {
                by_name.entry(point.table).or_default().push(index);
            }
        }
        Self { points, by_name }
    }

    /// Returns the places of the points that each point needs.
    pub(super) fn edges(&self) -> Result<Vec<Vec<usize>>, PlanError> {
        let mut edges = Vec::with_capacity(self.points.len());
        let mut count = 0;
        for point in self.points {
            let needed = self.of(point)?;
            count += needed.len();
            if count > MOST {
                return Err(PlanError::TooManyNeeds { most: MOST });
            }
            edges.push(needed);
        }
        Ok(edges)
    }

    /// Returns the places of the points that a point needs, each once: all of a table, or the one named in full.
    fn of(&self, point: &Point) -> Result<Vec<usize>, PlanError> {
        let mut needed = Vec::new();
        for need in &point.spec.needs {
            let need = words(point, need)?;
            let Some(found) = self.by_name.get(need.as_str()) else {
                return Err(self.unknown(point, need));
            };
            needed.extend(found);
        }
        needed.sort_unstable();
        needed.dedup();
        Ok(needed)
    }

    fn unknown(&self, point: &Point, need: String) -> PlanError {
        let names: Vec<&str> = self.points.iter().map(|it| it.name.as_str()).collect();
        PlanError::UnknownNeed {
            step: point.name.clone(),
            near: near(&need, &names).map(str::to_owned),
            need,
        }
    }
}
