//! Looks for secrets where a run may have left them: files, git objects, texts, processes.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// What is looked for, in every form in which it may be written.
#[derive(Clone)]
pub(crate) struct Search {
    needles: BTreeSet<String>,
}

impl Search {
    pub(crate) fn new(secrets: &[&str]) -> Self {
        Self {
            needles: secrets.iter().flat_map(|it| forms(it)).collect(),
        }
    }

    fn found(&self, bytes: &[u8]) -> Option<String> {
        let text = String::from_utf8_lossy(bytes);
        let held = |needle: &&String| text.contains(needle.as_str());
        self.needles.iter().find(held).cloned()
    }

    /// Returns what a text holds of it.
    pub(crate) fn text(&self, text: &str) -> Vec<String> {
        self.found(text.as_bytes()).into_iter().collect()
    }

    /// Returns the files below a folder that hold any of it, or have it in their names; of git's repositories every object.
    pub(crate) fn files(&self, folder: &Path) -> Vec<String> {
        let mut found = Vec::new();
        self.walk(folder, &mut found);
        found
    }

    fn walk(&self, folder: &Path, found: &mut Vec<String>) {
        if folder.join("HEAD").is_file() && folder.join("objects").is_dir() {
            let objects = Command::new("git")
                .args(["-c", "safe.directory=*", "cat-file", "--batch-all-objects"])
                .arg("--batch")
                .current_dir(folder)
                .output()
                .unwrap();
            assert!(objects.status.success(), "{objects:?}");
            let needle = self.found(&objects.stdout);
            found.extend(needle.map(|it| format!("{it} in an object of {}", folder.display())));
        }
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let shown = path.display().to_string();
            let needle = if path.is_symlink() || path.is_file() {
                let content = (!is_program(&path)).then(|| std::fs::read(&path).ok());
                self.found(&content.flatten().unwrap_or_default())
            } else {
                if path.is_dir() {
                    self.walk(&path, found);
                }
                None
            };
            let needle = needle.or_else(|| self.found(shown.as_bytes()));
            found.extend(needle.map(|it| format!("{it} in {shown}")));
        }
    }

    /// Watches the processes of a user, on all nodes, until asked what was seen.
    pub(crate) fn watch(&self, user: &str) -> Watch {
        let stop = Arc::new(AtomicBool::new(false));
        let (search, stopped) = (self.clone(), Arc::clone(&stop));
        let user = nix::unistd::User::from_name(user).unwrap().unwrap();
        let user = format!("Uid:\t{}\t", user.uid);
        let thread = std::thread::spawn(move || {
            let mut seen = Seen::default();
            while !stopped.load(Ordering::Relaxed) {
                search.look(&user, &mut seen);
                std::thread::sleep(Duration::from_millis(15));
            }
            seen
        });
        Watch { stop, thread }
    }

    fn look(&self, user: &str, seen: &mut Seen) {
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        for process in processes {
            let name = process.file_name().to_string_lossy().into_owned();
            if !name.bytes().all(|it| it.is_ascii_digit()) {
                continue;
            }
            // It may be gone between two lines.
            let read = |file: &str| std::fs::read(process.path().join(file)).unwrap_or_default();
            if !String::from_utf8_lossy(&read("status")).contains(user) {
                continue;
            }
            let command = read("cmdline");
            let shown = String::from_utf8_lossy(&command).replace('\0', " ");
            if let Some(needle) = self.found(&command) {
                seen.command_lines.insert(format!("{needle} in {shown}"));
            }
            if self.found(&read("environ")).is_some() {
                seen.environments.insert(shown.clone());
            }
            seen.all.insert(shown);
        }
    }
}

/// The copy of hpc-ci that a run keeps for the nodes: large, and the same in each.
fn is_program(path: &Path) -> bool {
    let length = |path: &Path| std::fs::metadata(path).map(|it| it.len()).ok();
    length(path) == length(Path::new(env!("CARGO_BIN_EXE_hpc-ci")))
}

/// The secret itself, as an address has it, and in base64 wherever it begins.
fn forms(secret: &str) -> Vec<String> {
    let encoded = hpc_ci::publish::place::percent_encoded(secret);
    let mut forms = vec![secret.to_owned(), encoded];
    for (before, mixed) in [(0, 0), (1, 2), (2, 3)] {
        let bytes = [&b"xx"[..before], secret.as_bytes()].concat();
        for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
            let digits = engine.encode(&bytes);
            // The first and the last ones also hold bits of what stands beside it.
            forms.push(digits[mixed..digits.len() - 1].to_owned());
        }
    }
    forms
}

/// What was seen of processes, as command lines.
#[derive(Default)]
pub(crate) struct Seen {
    /// Those that hold a secret.
    pub(crate) command_lines: BTreeSet<String>,
    /// Those of processes with a secret in their environment.
    pub(crate) environments: BTreeSet<String>,
    /// Of all of them.
    pub(crate) all: BTreeSet<String>,
}

/// A look at processes that goes on.
pub(crate) struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Seen>,
}

impl Watch {
    pub(crate) fn end(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}
