//! The one way to run a command: argv, environment, working directory, deadline, captured output.
//!
//! Commands are shown shell-quoted in logs and errors, and the last lines of their standard error come with a failure.
//! What a command's answer means is the business of the room that asked.

pub mod table;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::foreign;

/// The umask that we were started with, if ours is another.
static OWN_UMASK: OnceLock<u32> = OnceLock::new();

/// Makes what this process writes nobody else's to change, whatever the umask that it was started with.
pub fn restrain_umask() {
    use nix::sys::stat::{Mode, umask};
    let others_write = Mode::S_IWGRP | Mode::S_IWOTH;
    let own = umask(others_write);
    umask(own | others_write);
    if !own.contains(others_write) {
        // It is the same each time.
        OWN_UMASK.set(own.bits()).ok();
    }
}

/// Returns the umask that the code under test is to have, if it is not ours.
#[must_use]
pub fn own_umask() -> Option<String> {
    OWN_UMASK.get().map(|own| format!("{own:04o}"))
}

/// Lines of standard error that travel with a failure.
const TAIL_LINES: usize = 12;

/// A command that could not be run, or did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The program could not be started at all.
    #[error("cannot start `{command}`")]
    Start {
        /// The command as one would type it.
        command: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Its output could not be read, or its input not written.
    #[error("lost the connection to `{command}`")]
    Pipe {
        /// The command as one would type it.
        command: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// It did not end in time and was killed.
    #[error("`{command}` did not end within {} s", deadline.as_secs_f64())]
    Deadline {
        /// The command as one would type it.
        command: String,
        /// The time it had.
        deadline: Duration,
    },
    /// It ended without success.
    #[error("`{command}` ended with {status}{}", Tail(stderr))]
    Failed {
        /// The command as one would type it.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// The last lines of its standard error.
        stderr: String,
    },
}

/// Returns whether a command that could not be started may be started later: not its absence stands in the way, but the limits of
/// this machine on processes, files or memory.
#[must_use]
pub fn is_for_now(error: &std::io::Error) -> bool {
    use nix::errno::Errno::{EAGAIN, EINTR, EMFILE, ENFILE, ENOMEM, ETXTBSY};
    let number = error.raw_os_error().map(nix::errno::Errno::from_raw);
    number.is_some_and(|it| [EAGAIN, EINTR, EMFILE, ENFILE, ENOMEM, ETXTBSY].contains(&it))
}

struct Tail<'a>(&'a str);

impl std::fmt::Display for Tail<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        write!(f, ": {}", self.0)
    }
}

/// What a command left behind when it ended.
#[derive(Debug)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: Vec<u8>,
    /// Wall time from start to end.
    pub elapsed: Duration,
}

impl Output {
    /// Returns standard output as text; bytes that are not UTF-8 are replaced.
    #[must_use]
    pub fn stdout_text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Returns standard error as text; bytes that are not UTF-8 are replaced.
    #[must_use]
    pub fn stderr_text(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }
}

/// A command to run.
#[derive(Debug, Clone)]
pub struct Command {
    program: OsString,
    args: Vec<OsString>,
    environment: Option<Vec<(OsString, OsString)>>,
    extra: Vec<(OsString, OsString)>,
    cwd: Option<PathBuf>,
    stdin: Vec<u8>,
    log: Option<PathBuf>,
    deadline: Option<Duration>,
    tied: bool,
    own_umask: bool,
}

/// Runs its arguments in a process group that is killed when standard input ends without a word: when this process dies,
/// however that is, since nothing else holds the other end. A word says that all is well.
const TIE: &str = "\
exec 3<&0 </dev/null
{ read -r -n 1 -u 3 word; [ -n \"$word\" ] || kill -KILL 0; } >/dev/null 2>&1 &
exec 3<&-
exec \"$0\" \"$@\"";

impl Command {
    /// Returns a command without arguments, which inherits the environment and reads nothing.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            args: Vec::new(),
            environment: None,
            extra: Vec::new(),
            cwd: None,
            stdin: Vec::new(),
            log: None,
            deadline: None,
            tied: false,
            own_umask: false,
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args
            .extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Replaces the whole environment: the command sees these variables and no others.
    #[must_use]
    pub fn environment<K: AsRef<OsStr>, V: AsRef<OsStr>>(
        mut self,
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let pairs = variables
            .into_iter()
            .map(|(key, value)| (key.as_ref().to_owned(), value.as_ref().to_owned()));
        self.environment = Some(pairs.collect());
        self
    }

    /// Adds one variable to the environment.
    #[must_use]
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.extra
            .push((key.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Sets the working directory.
    #[must_use]
    pub fn cwd(mut self, dir: impl AsRef<Path>) -> Self {
        self.cwd = Some(dir.as_ref().to_owned());
        self
    }

    /// Sets what the command reads from standard input.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// Appends standard output and standard error to a file instead of capturing them; [`Output`] then holds nothing.
    #[must_use]
    pub fn log(mut self, file: impl AsRef<Path>) -> Self {
        self.log = Some(file.as_ref().to_owned());
        self
    }

    /// Bounds the run: past the deadline the whole process group is killed.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Ties the command to the life of this process: it is killed with all of its process group when this process dies.
    ///
    /// The command reads nothing then. Give it a [`log`](Self::log): what watches over it would keep a pipe open.
    #[must_use]
    pub fn tied(mut self) -> Self {
        self.tied = true;
        self
    }

    /// Lets the command make files as the user's umask says, which is not this process's.
    #[must_use]
    pub fn own_umask(mut self) -> Self {
        self.own_umask = true;
        self
    }

    /// Returns the command as one would type it in a shell.
    #[must_use]
    pub fn shown(&self) -> String {
        let words = std::iter::once(&self.program).chain(&self.args);
        shell_words::join(words.map(|word| word.to_string_lossy()))
    }

    /// Runs the command and returns what it left, whatever its exit status.
    ///
    /// Dropping the future kills the process group, so a cancelled task leaves nothing behind.
    pub async fn output(&self) -> Result<Output, ProcessError> {
        let started = Instant::now();
        tracing::debug!(command = %self.shown(), cwd = ?self.cwd, "start");
        let mut child = self.spawn()?;
        let group = Group::of(&child);
        let tie = if self.tied { child.stdin.take() } else { None };
        let talk = self.talk(&mut child);
        let (status, stdout, stderr) = match self.deadline {
            None => talk.await?,
            Some(deadline) => tokio::time::timeout(deadline, talk).await.map_err(|_| {
                ProcessError::Deadline {
                    command: self.shown(),
                    deadline,
                }
            })??,
        };
        if let Some(mut tie) = tie {
            // What watches may have been killed by the command itself.
            tie.write_all(b".").await.ok();
        }
        group.forget();
        let elapsed = started.elapsed();
        tracing::debug!(command = %self.shown(), %status, ?elapsed, "end");
        Ok(Output {
            status,
            stdout,
            stderr,
            elapsed,
        })
    }

    /// Runs the command and returns what it left if it succeeded; else an error with the last lines it said.
    pub async fn success(&self) -> Result<Output, ProcessError> {
        let output = self.output().await?;
        if output.status.success() {
            return Ok(output);
        }
        Err(ProcessError::Failed {
            command: self.shown(),
            status: output.status,
            stderr: tail(&output.stderr_text(), TAIL_LINES),
        })
    }

    fn spawn(&self) -> Result<tokio::process::Child, ProcessError> {
        let start_error = |source| ProcessError::Start {
            command: self.shown(),
            source,
        };
        let umask = own_umask().filter(|_| self.own_umask);
        let umask = umask.map(|own| format!("umask {own}\n"));
        let mut command = if self.tied || umask.is_some() {
            let become_it = if self.tied { TIE } else { "exec \"$0\" \"$@\"" };
            let mut bash = tokio::process::Command::new("bash");
            bash.arg("-c")
                .arg(umask.unwrap_or_default() + become_it)
                .arg(&self.program);
            bash
        } else {
            tokio::process::Command::new(&self.program)
        };
        command.args(&self.args).kill_on_drop(true).process_group(0);
        if let Some(variables) = &self.environment {
            command.env_clear();
            command.envs(variables.iter().map(|(key, value)| (key, value)));
        }
        command.envs(self.extra.iter().map(|(key, value)| (key, value)));
        if let Some(dir) = &self.cwd {
            command.current_dir(dir);
        }
        command.stdin(if self.stdin.is_empty() && !self.tied {
            Stdio::null()
        } else {
            Stdio::piped()
        });
        if let Some(file) = &self.log {
            let out = foreign::append(file).map_err(start_error)?.into_file();
            let err = out.try_clone().map_err(start_error)?;
            command.stdout(out).stderr(err);
        } else {
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
        }
        command.spawn().map_err(start_error)
    }

    /// Feeds and drains the pipes while the command runs, so that neither side can block the other.
    async fn talk(
        &self,
        child: &mut tokio::process::Child,
    ) -> Result<(ExitStatus, Vec<u8>, Vec<u8>), ProcessError> {
        let (stdin, stdout, stderr) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let feed = async {
            let Some(mut pipe) = stdin else { return Ok(()) };
            match pipe.write_all(&self.stdin).await {
                // A command may end without reading all of its input.
                Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
                other => other,
            }
        };
        let read_out = async {
            match stdout {
                Some(mut pipe) => pipe.read_to_end(&mut out).await.map(drop),
                None => Ok(()),
            }
        };
        let read_err = async {
            match stderr {
                Some(mut pipe) => pipe.read_to_end(&mut err).await.map(drop),
                None => Ok(()),
            }
        };
        let (written, read_all_out, read_all_err, status) =
            tokio::join!(feed, read_out, read_err, child.wait());
        let pipe_error = |source| ProcessError::Pipe {
            command: self.shown(),
            source,
        };
        written
            .and(read_all_out)
            .and(read_all_err)
            .map_err(pipe_error)?;
        Ok((status.map_err(pipe_error)?, out, err))
    }
}

/// Kills a process group when dropped, unless told that its leader has ended by itself.
struct Group(Option<nix::unistd::Pid>);

impl Group {
    fn of(child: &tokio::process::Child) -> Self {
        let pid = child.id().and_then(|id| i32::try_from(id).ok());
        Self(pid.map(nix::unistd::Pid::from_raw))
    }

    fn forget(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // The group may be gone already; then there is nothing to kill.
            nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL).ok();
        }
    }
}

/// Returns the last `lines` lines of a text, without trailing white space.
#[must_use]
pub fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.trim_end().lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        Command::new("sh").arg("-c").arg(script)
    }

    #[tokio::test]
    async fn output_keeps_both_streams_and_the_status() {
        let output = sh("echo out; echo err >&2; exit 3").output().await.unwrap();
        assert_eq!(
            (output.stdout_text(), output.stderr_text()),
            ("out\n".into(), "err\n".into())
        );
        assert_eq!(output.status.code(), Some(3));
    }

    #[tokio::test]
    async fn failure_says_the_command_and_its_last_words() {
        let error = sh("echo 'no such partition' >&2; exit 1")
            .success()
            .await
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "`sh -c 'echo '\\''no such partition'\\'' >&2; exit 1'` ended with exit status: 1: no such partition"
        );
    }

    #[test]
    fn limits_of_this_machine_are_told_from_a_command_that_is_not_there() {
        let check = |errno: nix::errno::Errno, expected| {
            let error = std::io::Error::from_raw_os_error(errno as i32);
            assert_eq!(is_for_now(&error), expected, "{error}");
        };
        check(nix::errno::Errno::EAGAIN, true);
        check(nix::errno::Errno::EMFILE, true);
        check(nix::errno::Errno::ENOENT, false);
        check(nix::errno::Errno::EACCES, false);
        assert!(!is_for_now(&std::io::Error::other("x")));
    }

    #[tokio::test]
    async fn deadline_kills_children_of_the_command_too() {
        let dir = tempfile::tempdir().unwrap();
        let mark = dir.path().join("mark");
        let script = format!("(sleep 1; touch {}) & sleep 60", mark.display());
        let error = sh(&script)
            .deadline(Duration::from_millis(200))
            .output()
            .await
            .unwrap_err();
        assert!(matches!(error, ProcessError::Deadline { .. }), "{error}");
        tokio::time::sleep(Duration::from_millis(1300)).await;
        assert!(!mark.exists(), "a grandchild outlived the deadline");
    }

    #[tokio::test]
    async fn who_is_tied_reads_nothing_and_leaves_its_own_children_alone() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let script = "cat; (sleep 1; echo later) & echo out; exit 3";
        let output = sh(script).log(&log).tied().output().await.unwrap();
        assert_eq!(output.status.code(), Some(3));
        assert_eq!(std::fs::read_to_string(&log).unwrap(), "out\n");
        while std::fs::read_to_string(&log).unwrap() != "out\nlater\n" {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    #[tokio::test]
    async fn who_is_tied_dies_when_the_other_end_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let command = sh("echo $$; sh -c 'echo $$; exec sleep 1000' & wait")
            .log(&log)
            .tied();
        let mut child = command.spawn().unwrap();
        let pids = loop {
            let text = std::fs::read_to_string(&log).unwrap();
            let pids: Vec<u32> = text.lines().filter_map(|line| line.parse().ok()).collect();
            if pids.len() == 2 && text.ends_with('\n') {
                break pids;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        drop(child.stdin.take());
        child.wait().await.unwrap();
        for pid in pids {
            while table::process(pid).is_some_and(|process| process.lives()) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }

    #[tokio::test]
    async fn large_input_and_output_do_not_block_each_other() {
        let text = "x".repeat(1 << 20);
        let output = Command::new("cat")
            .stdin(text.clone())
            .output()
            .await
            .unwrap();
        assert_eq!(output.stdout.len(), text.len());
    }

    #[tokio::test]
    async fn environment_replaces_all_that_was_inherited() {
        let output = Command::new("/usr/bin/env")
            .environment([("A", "1")])
            .env("B", "2")
            .output()
            .await
            .unwrap();
        assert_eq!(output.stdout_text(), "A=1\nB=2\n");
    }

    #[test]
    fn tail_keeps_the_last_lines() {
        assert_eq!(tail("a\nb\nc\n\n", 2), "b\nc");
        assert_eq!(tail("a", 9), "a");
    }
}
