//! Needs → order.

use std::collections::BTreeSet;

use super::PlanError;
use crate::config::find_cycle;

/// Returns the places of all nodes so that each comes after those it needs, and otherwise in the order given.
/// `needs` lists for each node the places of those it needs; `names` are for the error.
pub(super) fn order(needs: &[Vec<usize>], names: &[&str]) -> Result<Vec<usize>, PlanError> {
    let mut waiting: Vec<usize> = needs.iter().map(Vec::len).collect();
    let mut waited_for: Vec<Vec<usize>> = vec![Vec::new(); needs.len()];
    for (node, needed) in needs.iter().enumerate() {
        for other in needed {
            waited_for[*other].push(node);
        }
    }
    let free = waiting.iter().enumerate().filter(|(_, count)| **count == 0);
    let mut free: BTreeSet<usize> = free.map(|(node, _)| node).collect();
    let mut order = Vec::with_capacity(needs.len());
    while let Some(node) = free.pop_first() {
        order.push(node);
        for next in &waited_for[node] {
            waiting[*next] -= 1;
            if waiting[*next] == 0 {
                free.insert(*next);
            }
        }
    }
    if order.len() == needs.len() {
        return Ok(order);
    }
    let cycle = find_cycle(needs).unwrap_or_default();
    let path = cycle.into_iter().map(|node| names[node].to_owned());
    Err(PlanError::Cycle {
        path: path.collect(),
    })
}
