//! Programs and the profiles of their runs.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// All programs that could be made.
pub(crate) struct Corpora {
    pub(crate) quick: bool,
    pub(crate) root: PathBuf,
    /// ripgrep: Rust, profiles of 1.4 MB.
    pub(crate) rust: Option<Corpus>,
    /// Eigen: C++ templates, profiles of several MB.
    pub(crate) cpp: Option<Corpus>,
    /// `SQLite`: C, profiles of 0.4 MB.
    pub(crate) c: Option<Corpus>,
    /// A C program of a few functions, profiles of 1 KB.
    pub(crate) tiny: Option<Corpus>,
    /// Test programs of a Rust workspace, profiles of 0.25 MB each.
    pub(crate) tests: Option<Corpus>,
}

/// Programs and profiles.
pub(crate) struct Corpus {
    pub(crate) name: &'static str,
    pub(crate) objects: Vec<PathBuf>,
    /// Profiles of real runs, each another one.
    real: PathBuf,
    root: PathBuf,
}

impl Corpora {
    pub(crate) fn make(quick: bool) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench-coverage");
        let runs = |full: usize| if quick { full / 16 } else { full };
        Self {
            quick,
            rust: make(
                &root,
                "ripgrep (Rust)",
                "rust",
                include_str!("rust.sh"),
                runs(256),
            ),
            cpp: make(
                &root,
                "Eigen (C++)",
                "cpp",
                include_str!("cpp.sh"),
                runs(64),
            ),
            c: make(&root, "SQLite (C)", "c", include_str!("c.sh"), runs(256)),
            tiny: make(
                &root,
                "tiny (C)",
                "tiny",
                include_str!("tiny.sh"),
                runs(256),
            ),
            tests: make(
                &root,
                "25 Rust test programs",
                "tests",
                include_str!("tests.sh"),
                16,
            ),
            root,
        }
    }
}

/// Builds programs into `bin` with a script, and runs them by its function `one` with a number and a profile's name.
fn make(root: &Path, name: &'static str, dir: &str, script: &str, runs: usize) -> Option<Corpus> {
    let root = root.join(dir);
    let (bin, real) = (root.join("bin"), root.join("real"));
    fs_err::create_dir_all(&bin).unwrap();
    fs_err::create_dir_all(&real).unwrap();
    let whole = format!(
        "set -e\ncd '{}'\n{script}\nbuild\ni=0; while [ $i -lt {runs} ]; do one $i; i=$((i+1)); done",
        root.display()
    );
    let stamp = root.join("made");
    if fs_err::read_to_string(&stamp).ok().as_deref() != Some(&whole) {
        eprintln!("making {name}");
        let log = fs_err::File::create(root.join("log")).unwrap();
        let made = Command::new("bash")
            .args(["-c", &whole])
            .stdout(Stdio::null())
            .stderr(log.into_file())
            .status();
        if !made.is_ok_and(|status| status.success()) {
            eprintln!("{name} is left out, see {}", root.join("log").display());
            return None;
        }
        fs_err::write(&stamp, whole).unwrap();
    }
    let mut objects: Vec<_> = fs_err::read_dir(&bin)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    objects.sort();
    Some(Corpus {
        name,
        objects,
        real,
        root,
    })
}

impl Corpus {
    /// Returns a directory with this many profiles: those of real runs, as often as it takes, as links.
    pub(crate) fn profiles(&self, count: usize) -> PathBuf {
        let dir = self.root.join(count.to_string());
        let mut real: Vec<_> = fs_err::read_dir(&self.real)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        real.sort();
        if fs_err::read_dir(&dir).map_or(0, Iterator::count) != count {
            drop(fs_err::remove_dir_all(&dir));
            fs_err::create_dir_all(&dir).unwrap();
            for (at, profile) in (0..count).zip(real.iter().cycle()) {
                fs_err::hard_link(profile, dir.join(format!("{at:05}.profraw"))).unwrap();
            }
        }
        dir
    }

    /// Returns a directory with the tracefiles of this many real runs, one each.
    pub(crate) fn tracefiles(&self, count: usize, hpc_ci: &str) -> PathBuf {
        let dir = self.root.join("tracefiles");
        drop(fs_err::remove_dir_all(&dir));
        fs_err::create_dir_all(&dir).unwrap();
        let real = fs_err::read_dir(&self.real).unwrap().take(count);
        for (at, profile) in real.enumerate() {
            let status = Command::new("sh")
                .arg("-c")
                .arg(format!(
                    "'{hpc_ci}' export -q{} -o '{}' '{}'",
                    self.object_options(),
                    dir.join(format!("{at:03}.info")).display(),
                    profile.unwrap().path().display()
                ))
                .status();
            assert!(status.unwrap().success());
        }
        dir
    }

    /// Returns how many real runs there were.
    pub(crate) fn runs(&self) -> usize {
        fs_err::read_dir(&self.real).unwrap().count()
    }

    /// Returns the options that name the objects.
    pub(crate) fn object_options(&self) -> String {
        let option = |object: &PathBuf| format!(" --object '{}'", object.display());
        self.objects.iter().map(option).collect::<Vec<_>>().concat()
    }
}
