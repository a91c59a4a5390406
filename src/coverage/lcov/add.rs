//! Adds what sections list: functions, lines, branches, conditions.
//!
//! Ranks and tests of one program list the same things in the same order, so the usual addition is entry by entry and
//! allocates nothing.

use std::cmp::Ordering;

use super::{Branch, Condition, Function, Line};

/// Something counted that can be added to its like; `U` is the other's form, owned or borrowed.
pub(super) trait Entry<U = Self>: Sized {
    /// Compares what tells two entries apart.
    fn order(&self, other: &U) -> Ordering;
    /// Adds the counts of its like.
    fn absorb(&mut self, other: &U);
    /// Returns an entry of its own.
    fn from_other(other: &U) -> Self;
}

/// Adds entry by entry where both list the same keys in the same order, which allocates nothing; else leaves the sorted
/// union. An empty list changes nothing.
pub(super) fn unite<T: Entry + Entry<U>, U: Entry>(own: &mut Vec<T>, other: &mut [U]) {
    if other.is_empty() {
        return;
    }
    if own.is_empty() {
        own.extend(other.iter().map(T::from_other));
        return;
    }
    let same = |(own, other): (&T, &U)| own.order(other).is_eq();
    if own.len() == other.len() && own.iter().zip(other.iter()).all(same) {
        for (own, other) in own.iter_mut().zip(other) {
            own.absorb(other);
        }
        return;
    }
    settle(own);
    other.sort_by(Entry::order);
    let (known, mut next, mut added) = (own.len(), 0, false);
    for other in other.iter() {
        while next < known && <T as Entry<U>>::order(&own[next], other).is_lt() {
            next += 1;
        }
        if next < known && <T as Entry<U>>::order(&own[next], other).is_eq() {
            own[next].absorb(other);
        } else {
            own.push(T::from_other(other));
            added = true;
        }
    }
    if added {
        settle(own);
    }
}

/// Sorts entries and adds equal ones.
pub(super) fn settle<T: Entry>(entries: &mut Vec<T>) {
    if entries.is_sorted_by(|a, b| a.order(b).is_lt()) {
        return;
    }
    entries.sort_by(Entry::order);
    entries.dedup_by(|next, kept| {
        let same = kept.order(next).is_eq();
        if same {
            kept.absorb(next);
        }
        same
    });
}

/// A function whose name is borrowed from the text that is being read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sighting<'a> {
    pub(super) name: &'a str,
    pub(super) start: u32,
    pub(super) end: Option<u32>,
    pub(super) hits: u64,
}

impl Function {
    fn sighting(&self) -> Sighting<'_> {
        Sighting {
            name: &self.name,
            start: self.start,
            end: self.end,
            hits: self.hits,
        }
    }
}

impl Entry for Sighting<'_> {
    fn order(&self, other: &Self) -> Ordering {
        (self.start, self.name).cmp(&(other.start, other.name))
    }

    fn absorb(&mut self, other: &Self) {
        self.end = self.end.max(other.end);
        self.hits = self.hits.saturating_add(other.hits);
    }

    fn from_other(other: &Self) -> Self {
        *other
    }
}

impl Entry<Sighting<'_>> for Function {
    fn order(&self, other: &Sighting<'_>) -> Ordering {
        self.sighting().order(other)
    }

    fn absorb(&mut self, other: &Sighting<'_>) {
        self.end = self.end.max(other.end);
        self.hits = self.hits.saturating_add(other.hits);
    }

    fn from_other(other: &Sighting<'_>) -> Self {
        Self {
            name: other.name.into(),
            start: other.start,
            end: other.end,
            hits: other.hits,
        }
    }
}

impl Entry for Function {
    fn order(&self, other: &Self) -> Ordering {
        self.sighting().order(&other.sighting())
    }

    fn absorb(&mut self, other: &Self) {
        Entry::<Sighting<'_>>::absorb(self, &other.sighting());
    }

    fn from_other(other: &Self) -> Self {
        other.clone()
    }
}

impl Entry for Line {
    fn order(&self, other: &Self) -> Ordering {
        self.number.cmp(&other.number)
    }

    fn absorb(&mut self, other: &Self) {
        self.hits = self.hits.saturating_add(other.hits);
    }

    fn from_other(other: &Self) -> Self {
        *other
    }
}

impl Entry for Branch {
    fn order(&self, other: &Self) -> Ordering {
        let key = |branch: &Self| (branch.line, branch.block, branch.kind, branch.excluded);
        key(self)
            .cmp(&key(other))
            .then_with(|| self.id.cmp(&other.id))
    }

    fn absorb(&mut self, other: &Self) {
        self.taken = match (self.taken, other.taken) {
            (Some(own), Some(other)) => Some(own.saturating_add(other)),
            (own, other) => own.or(other),
        };
    }

    fn from_other(other: &Self) -> Self {
        other.clone()
    }
}

impl Entry for Condition {
    fn order(&self, other: &Self) -> Ordering {
        let key = |one: &Self| (one.line, one.group, one.index, one.sense, one.excluded);
        key(self)
            .cmp(&key(other))
            .then_with(|| self.expression.cmp(&other.expression))
    }

    fn absorb(&mut self, other: &Self) {
        self.taken = self.taken.saturating_add(other.taken);
    }

    fn from_other(other: &Self) -> Self {
        other.clone()
    }
}
