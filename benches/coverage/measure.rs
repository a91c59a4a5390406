//! Runs processes and measures them.

use std::fmt;
use std::process::{Command, Stdio};
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};

/// The word by which the bench starts itself to measure one process.
pub(crate) const CHILD: &str = "measure-one";

/// What a process cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    /// Seconds from start to end.
    pub(crate) wall: f64,
    /// Seconds of processor time, of the process and of those that it started.
    pub(crate) cpu: f64,
    /// The largest memory of any of them, in MiB.
    pub(crate) memory: f64,
}

/// Runs a command through a shell and measures it: in a process of its own, whose only child it is, because the system
/// tells the memory of all ended children together.
pub(crate) fn run(command: &str) -> Cost {
    let bench = std::env::current_exe().unwrap();
    let output = Command::new(bench)
        .args([CHILD, command])
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "{command} failed");
    let numbers: Vec<f64> = String::from_utf8(output.stdout)
        .unwrap()
        .split_whitespace()
        .map(|number| number.parse().unwrap())
        .collect();
    Cost {
        wall: numbers[0],
        cpu: numbers[1],
        memory: numbers[2],
    }
}

/// Runs the command and prints what it cost.
pub(crate) fn child(command: &[String]) {
    let begin = Instant::now();
    let mut shell = Command::new("sh");
    let status = shell
        .arg("-c")
        .args(command)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    let wall = begin.elapsed().as_secs_f64();
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
    let seconds =
        |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    let cpu = seconds(usage.user_time()) + seconds(usage.system_time());
    println!("{wall} {cpu} {}", usage.max_rss() as f64 / 1024.0);
    std::process::exit(i32::from(!status.success()));
}

/// The medians of two commands that were run by turns, so that what else the machine does befalls both.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pair {
    pub(crate) ours: Cost,
    pub(crate) peer: Cost,
}

impl Pair {
    pub(crate) fn of(ours: &str, peer: &str, quick: bool) -> Self {
        run(ours);
        let first = run(peer);
        // A peer that takes long is not run often.
        let rounds = if quick {
            1
        } else if first.wall > 5.0 {
            3
        } else {
            7
        };
        let (ours, peer): (Vec<_>, Vec<_>) = (0..rounds).map(|_| (run(ours), run(peer))).unzip();
        Self {
            ours: median(&ours),
            peer: median(&peer),
        }
    }

    /// How many times longer the peer takes.
    pub(crate) fn speedup(&self) -> f64 {
        self.peer.wall / self.ours.wall
    }
}

fn median(costs: &[Cost]) -> Cost {
    let of = |part: fn(&Cost) -> f64| {
        let mut values: Vec<f64> = costs.iter().map(part).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    Cost {
        wall: of(|cost| cost.wall),
        cpu: of(|cost| cost.cpu),
        memory: of(|cost| cost.memory),
    }
}

/// Writes seconds as people read them.
pub(crate) struct Seconds(pub(crate) f64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            seconds if seconds >= 1.0 => write!(f, "{seconds:.2} s"),
            seconds if seconds >= 0.1 => write!(f, "{:.0} ms", seconds * 1e3),
            seconds => write!(f, "{:.1} ms", seconds * 1e3),
        }
    }
}
