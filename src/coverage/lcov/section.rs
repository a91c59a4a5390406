//! One section of a tracefile as it gathers, until it is added to the model.

use std::collections::BTreeMap;
use std::ops::Range;

use super::add::{Sighting, settle, unite};
use super::{Branch, Condition, Count, Line, Stated, Tracefile};

/// One section as it gathers; its buffers serve all sections of a tracefile.
#[derive(Default)]
pub(super) struct Section {
    pub(super) path: String,
    pub(super) names: String,
    pub(super) declared: Vec<Declared>,
    pub(super) counted: Vec<Counted>,
    pub(super) leaders: BTreeMap<u64, (u32, Option<u32>)>,
    pub(super) lines: Vec<Line>,
    pub(super) branches: Vec<Branch>,
    pub(super) conditions: Vec<Condition>,
    pub(super) totals: [Option<u64>; 6],
}

/// `FN`: where a function stands.
pub(super) struct Declared {
    pub(super) name: Range<usize>,
    pub(super) start: u32,
    pub(super) end: Option<u32>,
}

/// `FNDA`: how often a function was entered.
pub(super) struct Counted {
    pub(super) name: Range<usize>,
    pub(super) hits: u64,
    /// Where it says so.
    pub(super) line: u64,
}

impl Section {
    /// Adds what was gathered and returns the functions that are counted but not declared, with the lines that do so.
    pub(super) fn add_to(&mut self, into: &mut Tracefile) -> Vec<(u64, &str)> {
        settle(&mut self.lines);
        let stated = self.stated();
        let (mut functions, undeclared) = sightings(&self.names, &self.declared, &mut self.counted);
        let known = into.files.get_mut(self.path.as_str());
        let first = known.is_none();
        let file = match known {
            Some(file) => file,
            None => into.files.entry(self.path.as_str().into()).or_default(),
        };
        unite(&mut file.functions, &mut functions);
        unite(&mut file.lines, &mut self.lines);
        unite(&mut file.branches, &mut self.branches);
        unite(&mut file.conditions, &mut self.conditions);
        file.state(if first { stated } else { Stated::default() });
        undeclared
    }

    fn stated(&self) -> Stated {
        let count = |at: usize| {
            Some(Count {
                found: self.totals[at]?,
                hit: self.totals[at + 1]?,
            })
        };
        Stated {
            functions: count(0),
            lines: count(2),
            branches: count(4),
        }
    }

    pub(super) fn clear(&mut self) {
        self.names.clear();
        self.declared.clear();
        self.counted.clear();
        self.leaders.clear();
        self.lines.clear();
        self.branches.clear();
        self.conditions.clear();
        self.totals = [None; 6];
    }
}

/// Joins where functions stand with how often they were entered, in the order in which they were declared; returns also
/// the counted ones that no declaration names.
///
/// The same name may be declared on several lines: its n-th count belongs to its n-th declaration.
fn sightings<'n>(
    names: &'n str,
    declared: &[Declared],
    counted: &mut [Counted],
) -> (Vec<Sighting<'n>>, Vec<(u64, &'n str)>) {
    let sighting = |declared: &Declared| Sighting {
        name: &names[declared.name.clone()],
        start: declared.start,
        end: declared.end,
        hits: 0,
    };
    let mut functions: Vec<Sighting<'n>> = declared.iter().map(sighting).collect();
    let mut undeclared = Vec::new();
    let paired = |(function, counted): (&Sighting<'_>, &Counted)| {
        function.name == &names[counted.name.clone()]
    };
    if declared.len() == counted.len() && functions.iter().zip(counted.iter()).all(paired) {
        for (function, counted) in functions.iter_mut().zip(counted) {
            function.hits = counted.hits;
        }
        return (functions, undeclared);
    }
    let mut order: Vec<usize> = (0..functions.len()).collect();
    order.sort_by_key(|&at| functions[at].name);
    counted.sort_by_key(|counted| &names[counted.name.clone()]);
    let mut order = order.into_iter().peekable();
    let mut last = None;
    for counted in counted {
        let name = &names[counted.name.clone()];
        while order.next_if(|&at| functions[at].name < name).is_some() {}
        let next = order.next_if(|&at| functions[at].name == name);
        // More counts than declarations: the last declaration of the name takes the rest.
        match next.or(last.filter(|&at: &usize| functions[at].name == name)) {
            Some(at) => {
                functions[at].hits = functions[at].hits.saturating_add(counted.hits);
                last = Some(at);
            }
            None => undeclared.push((counted.line, name)),
        }
    }
    undeclared.sort_unstable();
    (functions, undeclared)
}
