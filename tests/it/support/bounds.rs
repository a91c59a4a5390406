//! The time and memory that a command takes, and how soon it obeys a signal.

use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// A command that ended by itself.
pub(crate) struct Bounded {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
    pub(crate) took: Duration,
    /// The most bytes that one process, of all that this test waited for, held in memory (`ru_maxrss`). A child begins with what the
    /// test itself holds, so that tests must not hold much.
    pub(crate) peak: u64,
}

impl Bounded {
    /// What it left in this folder.
    pub(crate) fn ended(self, dir: &std::path::Path) -> super::Ended {
        super::Ended {
            dir: dir.to_owned(),
            code: self.code,
            out: self.out,
            err: self.err,
        }
    }

    /// Panics if a process held more.
    #[track_caller]
    pub(crate) fn below(&self, mib: u64) -> &Self {
        let peak = self.peak >> 20;
        assert!(peak < mib, "{peak} MiB of memory\n{}", self.err);
        self
    }
}

/// Runs a command to its end; kills it with its group, and panics, if it takes longer.
#[track_caller]
pub(crate) fn bounded(command: &mut Command, limit: Duration) -> Bounded {
    let ended = killed_after(command, limit);
    assert!(
        ended.took < limit,
        "took more than {limit:?}\n{}",
        ended.err
    );
    ended
}

/// Runs a command to its end, which is none of its own if it takes longer: then it is killed with its group.
pub(crate) fn killed_after(command: &mut Command, limit: Duration) -> Bounded {
    let begin = Instant::now();
    let mut child = spawn(command);
    let out = reader(child.stdout.take().unwrap());
    let err = reader(child.stderr.take().unwrap());
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if begin.elapsed() > limit {
            killpg(group(&child), Signal::SIGKILL).unwrap();
            break child.wait().unwrap();
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let took = begin.elapsed();
    let peak = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap().max_rss();
    Bounded {
        code: status.code(),
        out: out.join().unwrap(),
        err: err.join().unwrap(),
        took,
        peak: u64::try_from(peak).unwrap() << 10,
    }
}

/// Starts a command, sends the signal after a while, and returns how long it took to end from there, and its exit code; panics if
/// it was over before, or does not end within half a minute.
#[track_caller]
pub(crate) fn interrupted(
    command: &mut Command,
    after: Duration,
    signal: Signal,
) -> (Duration, Option<i32>) {
    let mut child = spawn(command);
    let readers = (
        reader(child.stdout.take().unwrap()),
        reader(child.stderr.take().unwrap()),
    );
    std::thread::sleep(after);
    let over = child.try_wait().unwrap();
    assert!(over.is_none(), "over before the signal: {over:?}");
    let begin = Instant::now();
    nix::sys::signal::kill(group(&child), signal).unwrap();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if begin.elapsed() > Duration::from_secs(30) {
            killpg(group(&child), Signal::SIGKILL).unwrap();
            child.wait().unwrap();
            panic!("deaf to {signal}\n{}", readers.1.join().unwrap());
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    (begin.elapsed(), status.code())
}

fn spawn(command: &mut Command) -> Child {
    command
        .process_group(0)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn group(child: &Child) -> Pid {
    Pid::from_raw(child.id().cast_signed())
}

fn reader(mut pipe: impl std::io::Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.by_ref().take(16 << 20).read_to_end(&mut bytes).ok();
        std::io::copy(&mut pipe, &mut std::io::sink()).ok();
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
