//! Which of the waiting scripts may start now, given the cores of this host or allocation. Decides; starts nothing.

/// What a script takes while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demand {
    /// Its cores: ranks times cores for each.
    pub cores: u32,
    /// Scripts of one group never overlap.
    pub serial: Option<String>,
}

/// Returns which of the waiting may start, as indices into `waiting`, in its order.
///
/// One that asks for more cores than there are runs when nothing else does. Those behind one that does not fit yet may
/// overtake it: the list is finite, so it comes to its turn.
#[must_use]
pub fn admit(cores: u32, running: &[Demand], waiting: &[Demand]) -> Vec<usize> {
    let mut active: Vec<&Demand> = running.iter().collect();
    let mut admitted = Vec::new();
    for (index, demand) in waiting.iter().enumerate() {
        let taken = active
            .iter()
            .map(|other| u64::from(other.cores))
            .sum::<u64>();
        let fits = active.is_empty() || taken + u64::from(demand.cores) <= u64::from(cores);
        let free =
            demand.serial.is_none() || active.iter().all(|other| other.serial != demand.serial);
        if fits && free {
            active.push(demand);
            admitted.push(index);
        }
    }
    admitted
}
