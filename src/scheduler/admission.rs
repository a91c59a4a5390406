//! Which of the waiting scripts may start now, and on which nodes of this host or allocation. Decides; starts nothing.

use serde::{Deserialize, Serialize};

/// A node that scripts may share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// Its cores.
    pub cores: u32,
    /// Its memory in bytes, where that is known.
    pub memory: Option<u64>,
    /// Its GPUs, where that is known.
    pub gpus: Option<u32>,
}

/// What a script takes while it runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Demand {
    /// How many nodes.
    pub nodes: u32,
    /// Its cores on each of them.
    pub cores: u32,
    /// Its memory on each of them, in bytes.
    pub memory: u64,
    /// Its GPUs on each of them.
    pub gpus: u32,
    /// Nothing else runs on its nodes.
    pub alone: bool,
    /// Scripts of one group never overlap.
    pub serial: Option<String>,
}

/// A script that runs, or is to start now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// What it takes.
    pub demand: Demand,
    /// Where, as indices of hosts.
    pub hosts: Vec<usize>,
}

/// Returns which of the waiting may start and where, as indices into `waiting`, in its order.
///
/// One that asks for more than there is runs on everything when nothing else does. Those behind one that does not fit yet
/// may overtake it: the list is finite, so it comes to its turn.
#[must_use]
pub fn admit(hosts: &[Host], running: &[Placed], waiting: &[Demand]) -> Vec<(usize, Placed)> {
    let mut free: Vec<Free> = hosts.iter().map(Free::new).collect();
    let mut serial: Vec<&str> = Vec::new();
    for placed in running {
        take(&mut free, placed);
        serial.extend(placed.demand.serial.as_deref());
    }
    let mut admitted: Vec<(usize, Placed)> = Vec::new();
    for (index, demand) in waiting.iter().enumerate() {
        if free.iter().all(Free::full) {
            break;
        }
        let group = demand.serial.as_deref();
        if group.is_some_and(|group| serial.contains(&group)) {
            continue;
        }
        let idle = running.is_empty() && admitted.is_empty();
        let placed = match choose(&free, demand) {
            Some(hosts) => Placed {
                demand: demand.clone(),
                hosts,
            },
            None if idle && !fits(hosts, demand) => Placed {
                demand: Demand {
                    alone: true,
                    ..demand.clone()
                },
                hosts: (0..hosts.len()).collect(),
            },
            None => continue,
        };
        take(&mut free, &placed);
        serial.extend(group);
        admitted.push((index, placed));
    }
    admitted
}

/// Returns whether these hosts can hold a script when nothing else runs.
#[must_use]
pub fn fits(hosts: &[Host], demand: &Demand) -> bool {
    let free: Vec<Free> = hosts.iter().map(Free::new).collect();
    choose(&free, demand).is_some()
}

/// What is left of a host.
#[derive(Debug, Clone)]
struct Free {
    cores: u32,
    memory: Option<u64>,
    gpus: Option<u32>,
    scripts: u32,
    alone: bool,
}

impl Free {
    fn new(host: &Host) -> Self {
        Self {
            cores: host.cores,
            memory: host.memory,
            gpus: host.gpus,
            scripts: 0,
            alone: false,
        }
    }

    fn full(&self) -> bool {
        self.alone || self.cores == 0
    }

    fn holds(&self, demand: &Demand) -> bool {
        !self.alone
            && (self.scripts == 0 || !demand.alone)
            && self.cores >= demand.cores
            && self.memory.is_none_or(|memory| memory >= demand.memory)
            && self.gpus.is_none_or(|gpus| gpus >= demand.gpus)
    }
}

/// The fullest hosts that still hold it: those that are empty are left to wider ones.
fn choose(free: &[Free], demand: &Demand) -> Option<Vec<usize>> {
    let mut able: Vec<usize> = (0..free.len())
        .filter(|&at| free[at].holds(demand))
        .collect();
    able.sort_by_key(|&at| (free[at].cores, at));
    able.truncate(usize::try_from(demand.nodes.max(1)).ok()?);
    able.sort_unstable();
    (able.len() as u64 == u64::from(demand.nodes.max(1))).then_some(able)
}

fn take(free: &mut [Free], placed: &Placed) {
    let demand = &placed.demand;
    for &at in &placed.hosts {
        let Some(host) = free.get_mut(at) else {
            continue;
        };
        host.cores = host.cores.saturating_sub(demand.cores);
        host.memory = host
            .memory
            .map(|memory| memory.saturating_sub(demand.memory));
        host.gpus = host.gpus.map(|gpus| gpus.saturating_sub(demand.gpus));
        host.scripts += 1;
        host.alone |= demand.alone;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hosts(cores: &[u32]) -> Vec<Host> {
        let host = |(number, cores): (usize, &u32)| Host {
            name: format!("n{number}"),
            cores: *cores,
            memory: Some(1000),
            gpus: Some(2),
        };
        cores.iter().enumerate().map(host).collect()
    }

    fn demand(nodes: u32, cores: u32, serial: &str) -> Demand {
        Demand {
            nodes,
            cores,
            serial: (!serial.is_empty()).then(|| serial.to_owned()),
            ..Demand::default()
        }
    }

    fn started(hosts: &[Host], running: &[Placed], waiting: &[Demand]) -> Vec<(usize, Vec<usize>)> {
        let admitted = admit(hosts, running, waiting);
        admitted
            .into_iter()
            .map(|(index, placed)| (index, placed.hosts))
            .collect()
    }

    #[test]
    fn what_is_too_large_shares_with_nobody() {
        let waiting = [demand(3, 2, ""), demand(1, 1, "")];
        let admitted = started(&hosts(&[1, 22, 22]), &[], &waiting);
        assert_eq!(admitted, [(0, vec![0, 1, 2])]);
    }

    #[test]
    fn as_many_start_as_fit_on_one_host() {
        let check = |running: &[(u32, &str)], waiting: &[(u32, &str)], expected: &[usize]| {
            let running: Vec<Placed> = running
                .iter()
                .map(|(cores, serial)| Placed {
                    demand: demand(1, *cores, serial),
                    hosts: vec![0],
                })
                .collect();
            let waiting: Vec<Demand> = waiting.iter().map(|(c, s)| demand(1, *c, s)).collect();
            let admitted = admit(&hosts(&[8]), &running, &waiting);
            let admitted: Vec<usize> = admitted.iter().map(|(index, _)| *index).collect();
            assert_eq!(admitted, expected);
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

    #[test]
    fn nodes_are_filled_before_others_are_begun() {
        let check = |waiting: &[Demand], expected: &[(usize, &[usize])]| {
            let expected: Vec<(usize, Vec<usize>)> = expected
                .iter()
                .map(|(index, hosts)| (*index, hosts.to_vec()))
                .collect();
            assert_eq!(started(&hosts(&[4, 4, 4]), &[], waiting), expected);
        };
        // The second and third share a node, which leaves two for the wide one.
        check(
            &[demand(1, 2, ""), demand(1, 2, ""), demand(2, 4, "")],
            &[(0, &[0]), (1, &[0]), (2, &[1, 2])],
        );
        // Three cores here and there are no four on one node.
        check(&[demand(3, 3, ""), demand(1, 2, "")], &[(0, &[0, 1, 2])]);
        let alone = Demand {
            alone: true,
            ..demand(1, 1, "")
        };
        check(
            &[demand(1, 1, ""), alone, demand(1, 3, ""), demand(1, 4, "")],
            &[(0, &[0]), (1, &[1]), (2, &[0]), (3, &[2])],
        );
        let memory = |memory| Demand {
            memory,
            ..demand(1, 1, "")
        };
        check(
            &[memory(600), memory(600), memory(400)],
            &[(0, &[0]), (1, &[1]), (2, &[0])],
        );
        let gpus = |gpus| Demand {
            gpus,
            ..demand(1, 1, "")
        };
        check(
            &[gpus(2), gpus(1), gpus(1)],
            &[(0, &[0]), (1, &[1]), (2, &[1])],
        );
    }

    #[test]
    fn what_never_fits_is_known() {
        let check = |demand: Demand, expected| assert_eq!(fits(&hosts(&[4, 2]), &demand), expected);
        check(demand(1, 4, ""), true);
        check(demand(2, 2, ""), true);
        check(demand(2, 3, ""), false);
        check(demand(3, 1, ""), false);
        check(demand(1, 5, ""), false);
    }

    proptest! {
        #[test]
        fn cores_are_never_shared_and_something_always_runs(
            cores in prop::collection::vec(1_u32..32, 1..5),
            waiting in prop::collection::vec((1_u32..5, 1_u32..48, "[ab]?"), 1..20),
        ) {
            let hosts = hosts(&cores);
            let waiting: Vec<Demand> = waiting.iter().map(|(n, c, s)| demand(*n, *c, s)).collect();
            let admitted = admit(&hosts, &[], &waiting);
            prop_assert!(!admitted.is_empty());
            for (at, host) in hosts.iter().enumerate() {
                let here = admitted.iter().filter(|(_, placed)| placed.hosts.contains(&at));
                let taken: u32 = here.map(|(_, placed)| placed.demand.cores).sum();
                prop_assert!(admitted.len() == 1 || taken <= host.cores);
            }
        }
    }
}
