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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn demand(cores: u32, serial: &str) -> Demand {
        Demand {
            cores,
            serial: (!serial.is_empty()).then(|| serial.to_owned()),
        }
    }

    #[test]
    fn as_many_start_as_fit() {
        let check = |running: &[(u32, &str)], waiting: &[(u32, &str)], expected: &[usize]| {
            let demands =
                |list: &[(u32, &str)]| list.iter().map(|(c, s)| demand(*c, s)).collect::<Vec<_>>();
            assert_eq!(admit(8, &demands(running), &demands(waiting)), expected);
        };
        check(&[], &[(4, ""), (4, ""), (1, "")], &[0, 1]);
        check(&[], &[(4, ""), (6, ""), (2, ""), (2, "")], &[0, 2, 3]);
        check(&[(6, "")], &[(4, ""), (2, "")], &[1]);
        // One that is too large runs alone.
        check(&[], &[(64, ""), (1, "")], &[0]);
        check(&[(1, "")], &[(64, "")], &[]);
        // Groups never overlap, whether with those that run or among themselves.
        check(
            &[(1, "db")],
            &[(1, "db"), (1, "port"), (1, "port"), (1, "")],
            &[1, 3],
        );
        check(&[(u32::MAX, ""), (u32::MAX, "")], &[(1, "")], &[]);
    }

    proptest! {
        #[test]
        fn cores_are_never_shared_and_something_always_runs(
            cores in 1_u32..32,
            waiting in prop::collection::vec((1_u32..48, "[ab]?"), 1..20),
        ) {
            let waiting: Vec<Demand> = waiting.iter().map(|(c, s)| demand(*c, s)).collect();
            let admitted = admit(cores, &[], &waiting);
            prop_assert!(!admitted.is_empty());
            let taken: u32 = admitted.iter().map(|index| waiting[*index].cores).sum();
            prop_assert!(admitted.len() == 1 || taken <= cores);
        }
    }
}
