//! Who works on something: a claim on a folder that one process of one host holds, and that others may take over from the dead.
//!
//! The locks of the operating system do not reach over NFS and Lustre everywhere, so a claim is a file, `NAME.N`. To take one
//! is to create the next number, which the file server grants to one process alone; the highest number holds. A holder that
//! is seen dead on its own host (its process is gone, or the host was booted since) is followed at once. One on another host
//! is followed when its file did not change for a minute, by the clock of whoever watches: clocks of two hosts are never
//! compared. A holder that was taken for dead and comes back finds its file gone, and [`Lease::check`] tells it.

use std::fs::File;
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::{Duration, Instant, SystemTime};

use chrono::{DateTime, Utc};
use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use crate::foreign;
use crate::process::table;
use crate::remedy;

/// Between two signs of life.
const BEAT: Duration = Duration::from_secs(10);
/// A holder on another host that gives no sign of life for this long is taken for dead.
const SILENCE: Duration = Duration::from_mins(1);
/// Between two attempts at a lease that somebody else holds.
const RETRY: Duration = Duration::from_millis(50);

/// A process that holds something, as it says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Its host.
    pub host: String,
    /// The boot of the host.
    pub boot: String,
    /// The process namespace in which its number is one.
    pub namespace: String,
    /// Its number.
    pub pid: u32,
    /// When it started, in clock ticks since the boot.
    pub start: u64,
    /// What it does.
    pub purpose: String,
    /// Since when.
    pub since: DateTime<Utc>,
    /// Whether it let go.
    #[serde(default)]
    pub released: bool,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "process {} on {} ({}, since {})",
            self.pid,
            self.host,
            self.purpose,
            self.since.format("%Y-%m-%d %H:%M:%S UTC")
        )
    }
}

/// Whether a holder is at work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Life {
    /// Its process runs on this host.
    Alive,
    /// It let go by itself.
    Released,
    /// It was on this host, and is gone.
    Dead,
    /// It is on another host, or in another container of this one: only its signs of life can tell.
    Elsewhere,
}

/// A claim as somebody else sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Who holds it; `None` while its file is being written.
    pub holder: Option<Holder>,
    /// Whether that one is at work.
    pub life: Life,
    number: u64,
}

impl std::fmt::Display for Claim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.holder {
            Some(holder) => holder.fmt(f),
            None => f.write_str("a process that is just beginning"),
        }
    }
}

/// A lease that this process holds. Dropping it lets go.
#[derive(Debug)]
pub struct Lease {
    path: PathBuf,
    holder: Holder,
    beats: Option<(Sender<()>, std::thread::JoinHandle<()>)>,
    /// Who held it before, if anybody did.
    before: Option<Claim>,
}

/// What became of a lease that this process took.
#[derive(Debug)]
pub enum Hold {
    /// It is still this process's.
    Kept,
    /// This process was silent for so long that another took over.
    Followed(Box<Claim>),
    /// Its file or folder was removed, and nobody holds it.
    Gone(io::Error),
    /// The file server does not say.
    Unknown(io::Error),
}

/// Takes the lease `name` on a folder if nobody alive holds it; else returns who does.
pub fn take(folder: &Path, name: &str, purpose: &str) -> io::Result<Result<Lease, Claim>> {
    loop {
        let claim = look(folder, name)?;
        let free = match &claim {
            None => true,
            Some(claim) => match claim.life {
                Life::Alive => false,
                Life::Released | Life::Dead => true,
                Life::Elsewhere => is_silent(folder, name, claim)?,
            },
        };
        if !free && let Some(claim) = claim {
            return Ok(Err(claim));
        }
        if let Some(lease) = claim_next(folder, name, purpose, claim)? {
            return Ok(Ok(lease));
        }
    }
}

/// Takes the lease as soon as it is free, for as long as patience lasts. Blocks.
pub fn take_within(
    folder: &Path,
    name: &str,
    purpose: &str,
    patience: Duration,
) -> io::Result<Result<Lease, Claim>> {
    let begin = Instant::now();
    loop {
        match take(folder, name, purpose)? {
            Err(_) if begin.elapsed() < patience => std::thread::sleep(RETRY),
            taken => return Ok(taken),
        }
    }
}

/// Returns who holds, or last held, the lease `name` on a folder.
pub fn look(folder: &Path, name: &str) -> io::Result<Option<Claim>> {
    let Some(number) = numbers(folder, name)?.into_iter().max() else {
        return Ok(None);
    };
    let holder: Option<Holder> = foreign::read(file(folder, name, number), foreign::NOTE)
        .ok()
        .and_then(|text| serde_json::from_slice(&text).ok());
    let life = holder.as_ref().map_or(Life::Elsewhere, life);
    Ok(Some(Claim {
        holder,
        life,
        number,
    }))
}

impl Lease {
    /// Returns whether this process still holds it, and if not, what became of it.
    #[must_use]
    pub fn check(&self) -> Hold {
        // To open a file asks the server, where to look at its name may not.
        let Err(error) = foreign::open(&self.path) else {
            return Hold::Kept;
        };
        match remedy::number(&error) {
            Some(Errno::ENOENT | Errno::ESTALE | Errno::ENOTDIR) => {}
            _ => return Hold::Unknown(error),
        }
        let own = self
            .path
            .extension()
            .and_then(|it| it.to_str()?.parse().ok());
        let name = self.path.file_stem().and_then(|it| it.to_str());
        let (Some(folder), Some(name), Some(own)) = (self.path.parent(), name, own) else {
            return Hold::Unknown(error);
        };
        match look(folder, name) {
            Ok(Some(claim)) if claim.number > own => Hold::Followed(Box::new(claim)),
            Ok(_) => Hold::Gone(error),
            Err(again) => match remedy::number(&again) {
                Some(Errno::ESTALE | Errno::ENOTDIR) => Hold::Gone(again),
                _ => Hold::Unknown(again),
            },
        }
    }

    /// Returns the folder that it is a claim on.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(&self.path)
    }

    /// Returns who held it before.
    #[must_use]
    pub fn before(&self) -> Option<&Claim> {
        self.before.as_ref()
    }
}

impl Claim {
    /// Returns whether the holder ran on this host since it was booted, in the same process namespace.
    #[must_use]
    pub fn was_here(&self) -> bool {
        let here = own("");
        self.holder
            .as_ref()
            .is_some_and(|it| (&it.host, &it.boot) == (&here.host, &here.boot))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.beats.take() {
            drop(stop);
            thread.join().ok();
        }
        if !matches!(self.check(), Hold::Kept) {
            return;
        }
        self.holder.released = true;
        let part = self.path.with_extension("part");
        let written = serde_json::to_vec(&self.holder)
            .map_err(io::Error::from)
            .and_then(|text| foreign::put(&part, text))
            .and_then(|()| fs_err::rename(&part, &self.path));
        if let Err(error) = written {
            // Others will see that the process is gone.
            tracing::warn!(%error, "a lease could not be let go");
        }
    }
}

fn file(folder: &Path, name: &str, number: u64) -> PathBuf {
    folder.join(format!("{name}.{number}"))
}

fn numbers(folder: &Path, name: &str) -> io::Result<Vec<u64>> {
    let entries = match fs_err::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let file = entry?.file_name();
        let number: Option<u64> = file
            .to_str()
            .and_then(|file| file.strip_prefix(name)?.strip_prefix('.')?.parse().ok());
        found.extend(number);
    }
    Ok(found)
}

fn claim_next(
    folder: &Path,
    name: &str,
    purpose: &str,
    before: Option<Claim>,
) -> io::Result<Option<Lease>> {
    let number = before.as_ref().map_or(1, |claim| claim.number + 1);
    let path = file(folder, name, number);
    let holder = own(purpose);
    let mut created = match fs_err::File::create_new(&path) {
        Ok(file) => file.into_parts().0,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(None),
        Err(error) => return Err(error),
    };
    created.write_all(&serde_json::to_vec(&holder)?)?;
    created.sync_all()?;
    let all = numbers(folder, name)?;
    if all.iter().any(|other| *other > number) {
        // What was seen as the last claim was an old one.
        fs_err::remove_file(&path)?;
        return Ok(None);
    }
    for older in all.into_iter().filter(|other| *other < number) {
        fs_err::remove_file(file(folder, name, older)).ok();
    }
    fs_err::remove_file(sighting_file(folder, name, &holder.host)).ok();
    Ok(Some(Lease {
        path,
        holder,
        beats: beat(created),
        before,
    }))
}

/// Starts to give signs of life. A thread of its own does, so that no work of ours can hold them up.
fn beat(file: File) -> Option<(Sender<()>, std::thread::JoinHandle<()>)> {
    let (stop, stopped) = mpsc::channel();
    let thread = std::thread::Builder::new().name("lease".to_owned());
    let spawned = thread.spawn(move || {
        while stopped.recv_timeout(BEAT) == Err(RecvTimeoutError::Timeout) {
            if let Err(error) = file.set_modified(SystemTime::now()) {
                tracing::warn!(%error, "no sign of life could be given");
            }
        }
    });
    spawned.ok().map(|thread| (stop, thread))
}

/// This process.
fn own(purpose: &str) -> Holder {
    let pid = std::process::id();
    Holder {
        host: hostname::get()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default(),
        boot: fs_err::read_to_string("/proc/sys/kernel/random/boot_id")
            .map(|id| id.trim().to_owned())
            .unwrap_or_default(),
        namespace: fs_err::read_link("/proc/self/ns/pid")
            .map(|link| link.to_string_lossy().into_owned())
            .unwrap_or_default(),
        pid,
        start: table::process(pid).map_or(0, |process| process.start),
        purpose: purpose.to_owned(),
        since: Utc::now(),
        released: false,
    }
}

fn life(holder: &Holder) -> Life {
    let here = own("");
    let same = |a: &Holder| (&a.boot, &a.namespace) == (&here.boot, &here.namespace);
    if holder.released {
        Life::Released
    } else if holder.host != here.host {
        Life::Elsewhere
    } else if holder.boot != here.boot {
        Life::Dead
    } else if !same(holder) {
        Life::Elsewhere
    } else if table::lives(holder.pid, holder.start) {
        Life::Alive
    } else {
        Life::Dead
    }
}

/// What a process of this host saw of a holder elsewhere, for the next one to compare with.
#[derive(Debug, Serialize, Deserialize)]
struct Sighting {
    number: u64,
    changed: SystemTime,
    first_seen: DateTime<Utc>,
}

fn sighting_file(folder: &Path, name: &str, host: &str) -> PathBuf {
    folder.join(format!("{name}-seen-by-{host}"))
}

/// Whether a holder elsewhere has given no sign of life for long enough, as seen from this host.
fn is_silent(folder: &Path, name: &str, claim: &Claim) -> io::Result<bool> {
    let path = file(folder, name, claim.number);
    // Opening makes NFS ask the server.
    let changed = match foreign::open(&path).and_then(|file| file.metadata()?.modified()) {
        Ok(changed) => changed,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        // Nobody holds what is no file.
        Err(error) if foreign::is_refusal(&error) => return Ok(true),
        Err(error) => return Err(error),
    };
    let kept = sighting_file(folder, name, &own("").host);
    let last: Option<Sighting> = foreign::read(&kept, foreign::NOTE)
        .ok()
        .and_then(|text| serde_json::from_slice(&text).ok());
    let now = Utc::now();
    if let Some(last) =
        last.filter(|it| (it.number, it.changed) == (claim.number, changed) && it.first_seen <= now)
    {
        let quiet = (now - last.first_seen).to_std().unwrap_or_default();
        return Ok(quiet >= SILENCE);
    }
    let sighting = Sighting {
        number: claim.number,
        changed,
        first_seen: now,
    };
    foreign::clear(&kept)?;
    foreign::put(&kept, serde_json::to_vec(&sighting)?)?;
    Ok(false)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn write(folder: &Path, number: u64, holder: &Holder) {
        let text = serde_json::to_vec(holder).unwrap();
        fs_err::write(file(folder, "lease", number), text).unwrap();
    }

    fn taken(folder: &Path) -> Result<Lease, Box<Claim>> {
        take(folder, "lease", "a test").unwrap().map_err(Box::new)
    }

    #[test]
    fn one_holds_and_the_next_is_told_who() {
        let dir = tempfile::tempdir().unwrap();
        let first = taken(dir.path()).unwrap();
        let claim = taken(dir.path()).unwrap_err();
        assert_eq!(claim.life, Life::Alive);
        assert!(
            claim
                .to_string()
                .starts_with(&format!("process {} on ", std::process::id()))
        );
        drop(first);
        let second = taken(dir.path()).unwrap();
        assert_eq!(second.before().unwrap().life, Life::Released);
        assert_eq!(numbers(dir.path(), "lease").unwrap(), [2]);
    }

    #[test]
    fn the_dead_of_this_host_are_followed_at_once() {
        let live = own("x");
        for dead in [
            Holder {
                start: live.start + 1,
                ..live.clone()
            },
            Holder {
                boot: "another".to_owned(),
                ..live.clone()
            },
        ] {
            let dir = tempfile::tempdir().unwrap();
            write(dir.path(), 7, &dead);
            let lease = taken(dir.path()).unwrap();
            assert_eq!(lease.before().unwrap().life, Life::Dead);
            assert!(lease.path.ends_with("lease.8"));
        }
    }

    #[test]
    fn who_is_elsewhere_is_followed_after_a_minute_without_a_sign() {
        let dir = tempfile::tempdir().unwrap();
        let there = Holder {
            host: "elsewhere".to_owned(),
            ..own("x")
        };
        write(dir.path(), 1, &there);
        assert_eq!(taken(dir.path()).unwrap_err().life, Life::Elsewhere);
        let kept = sighting_file(dir.path(), "lease", &own("").host);
        let age = |seconds: i64| {
            let mut seen: Sighting = serde_json::from_slice(&fs_err::read(&kept).unwrap()).unwrap();
            seen.first_seen = Utc::now() - chrono::TimeDelta::seconds(seconds);
            fs_err::write(&kept, serde_json::to_vec(&seen).unwrap()).unwrap();
        };
        age(50);
        assert!(taken(dir.path()).is_err(), "not yet a minute");
        age(61);
        let sign = File::options()
            .write(true)
            .open(file(dir.path(), "lease", 1))
            .unwrap();
        sign.set_modified(SystemTime::now()).unwrap();
        assert!(taken(dir.path()).is_err(), "it gave a sign of life");
        age(61);
        let lease = taken(dir.path()).unwrap();
        assert!(!lease.before().unwrap().was_here());
        assert!(!kept.exists());
    }

    #[test]
    fn a_file_that_is_being_written_holds() {
        let dir = tempfile::tempdir().unwrap();
        fs_err::write(file(dir.path(), "lease", 3), "{\"host\":").unwrap();
        let claim = taken(dir.path()).unwrap_err();
        assert_eq!(claim.to_string(), "a process that is just beginning");
    }

    #[test]
    fn who_was_taken_for_dead_finds_out() {
        let dir = tempfile::tempdir().unwrap();
        let lost = taken(dir.path()).unwrap();
        let asleep = Holder {
            host: "elsewhere".to_owned(),
            released: true,
            ..own("x")
        };
        write(dir.path(), 1, &asleep);
        let next = taken(dir.path()).unwrap();
        let Hold::Followed(claim) = lost.check() else {
            panic!("{:?}", lost.check());
        };
        assert!(
            claim
                .to_string()
                .starts_with(&format!("process {} on ", std::process::id()))
        );
        assert!(matches!(next.check(), Hold::Kept));
        drop(lost);
        assert!(
            matches!(next.check(), Hold::Kept),
            "what is lost cannot be let go"
        );
    }

    #[test]
    fn what_was_removed_was_not_taken_over() {
        let check = |spoil: &dyn Fn(&Path), expected: fn(&Hold) -> bool| {
            let dir = tempfile::tempdir().unwrap();
            let folder = dir.path().join("run");
            fs_err::create_dir(&folder).unwrap();
            let lease = taken(&folder).unwrap();
            spoil(&folder);
            let hold = lease.check();
            assert!(expected(&hold), "{hold:?}");
        };
        let gone = |hold: &Hold| matches!(hold, Hold::Gone(_));
        check(&|_| {}, |hold| matches!(hold, Hold::Kept));
        check(&|folder| fs_err::remove_dir_all(folder).unwrap(), gone);
        check(
            &|folder| fs_err::remove_file(folder.join("lease.1")).unwrap(),
            gone,
        );
        check(
            &|folder| {
                fs_err::remove_dir_all(folder).unwrap();
                fs_err::write(folder, "a file").unwrap();
            },
            gone,
        );
        check(
            &|folder| {
                fs_err::remove_file(folder.join("lease.1")).unwrap();
                // As a file server does that answers with an error: here, a link that leads in a circle.
                std::os::unix::fs::symlink("lease.1", folder.join("lease.1")).unwrap();
            },
            |hold| matches!(hold, Hold::Unknown(_)),
        );
    }

    #[test]
    fn of_many_at_once_one_at_a_time_holds() {
        let dir = tempfile::tempdir().unwrap();
        let inside = std::sync::atomic::AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..5 {
                        let patience = Duration::from_mins(1);
                        let lease = take_within(dir.path(), "lease", "a test", patience);
                        let lease = lease.unwrap().unwrap();
                        let others = inside.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                        assert_eq!(others, 0);
                        inside.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                        drop(lease);
                    }
                });
            }
        });
        assert_eq!(numbers(dir.path(), "lease").unwrap().len(), 1);
    }
}
