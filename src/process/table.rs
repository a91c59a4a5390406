//! The processes of this host. What tells one from a later one of its number is read here, since it must be exact to the clock
//! tick; the format is that of `proc_pid_stat(5)`.

use sysinfo::{ProcessRefreshKind, ProcessesToUpdate, System, UpdateKind};

/// A process that was there a moment ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    /// Its state, `Z` for one that is dead and was not waited for.
    pub state: char,
    /// Its session.
    pub session: u32,
    /// When it started, in clock ticks since the boot: tells it from a later process with the same number.
    pub start: u64,
}

impl Process {
    /// Returns whether it runs, rather than waits for somebody to take note of its death.
    #[must_use]
    pub fn lives(&self) -> bool {
        !matches!(self.state, 'Z' | 'X')
    }
}

/// Returns the process of this number, if there is one.
#[must_use]
pub fn process(pid: u32) -> Option<Process> {
    let stat = fs_err::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    parse_stat(&stat)
}

/// Returns whether the process of this number and start still runs.
#[must_use]
pub fn lives(pid: u32, start: u64) -> bool {
    process(pid).is_some_and(|process| process.start == start && process.lives())
}

/// Returns the numbers of all processes.
#[must_use]
pub fn pids() -> Vec<u32> {
    let system = listed(ProcessRefreshKind::nothing());
    let numbers = system.iter().flat_map(|system| system.processes().keys());
    numbers.map(|pid| pid.as_u32()).collect()
}

/// Returns the living processes that were started with such an argument, whatever their program.
#[must_use]
pub fn with_argument(wanted: &str) -> Vec<(u32, Process)> {
    let system = listed(ProcessRefreshKind::nothing().with_cmd(UpdateKind::Always));
    let processes = system.iter().flat_map(System::processes);
    processes
        .filter(|(_, process)| process.cmd().iter().any(|argument| argument == wanted))
        .map(|(pid, _)| pid.as_u32())
        .filter_map(|pid| Some((pid, process(pid).filter(Process::lives)?)))
        .collect()
}

/// Returns the processes of this host, without the threads among them; none if `/proc` cannot be read.
fn listed(what: ProcessRefreshKind) -> Option<System> {
    let mut system = System::new().ok()?;
    system.refresh_processes_specifics(ProcessesToUpdate::All, true, what.without_tasks());
    Some(system)
}

/// The program's name stands in parentheses and may hold anything, so fields are counted from the last one.
fn parse_stat(stat: &str) -> Option<Process> {
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
    Some(Process {
        state: fields.first()?.chars().next()?,
        session: fields.get(3)?.parse().ok()?,
        start: fields.get(19)?.parse().ok()?,
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_program_may_be_named_anything() {
        let stat = "71 (a) S 1 (b) R 1 71 70 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 183422 1 2";
        let process = parse_stat(stat).unwrap();
        assert_eq!(
            (process.state, process.session, process.start),
            ('R', 70, 183_422)
        );
        for nonsense in ["", ")", "71 (a) S", "71 (a) S 1 2 x"] {
            assert!(parse_stat(nonsense).is_none(), "{nonsense}");
        }
    }

    #[test]
    fn this_process_lives_and_no_other_of_its_number_did() {
        let own = process(std::process::id()).unwrap();
        assert!(lives(std::process::id(), own.start));
        assert!(!lives(std::process::id(), own.start + 1));
    }
}
