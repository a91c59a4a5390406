//! The coverage room against what LLVM 22 says: of the fixtures in `tests/data/llvm`, of random counts in them, and of
//! fixtures that were damaged.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod differential;
mod fit;
mod fixtures;
mod mutation;
mod ranks;

use std::path::{Path, PathBuf};

use super::counts::Counts;
use super::export::{Coverage, Options};
use super::reduce::{self, Reduction};
use super::source::InMemory;

/// A program, the profiles of its runs, and what `llvm-cov` says of them.
struct Fixture {
    name: String,
    objects: Vec<Vec<u8>>,
    profiles: Vec<Vec<u8>>,
    expected: String,
}

/// Returns the fixtures; `tests/data/llvm/make` made them.
fn fixtures() -> Vec<Fixture> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/llvm");
    let mut fixtures = Vec::new();
    for dir in list(&root)
        .into_iter()
        .filter(|path| path.join("expected.info").exists())
    {
        let files = list(&dir);
        let named = |profile: bool| {
            let wanted = files.iter().filter(move |path| {
                let name = path.file_name().unwrap().to_string_lossy();
                name.starts_with(|first: char| first.is_ascii_digit())
                    && name.ends_with(".profraw") == profile
            });
            wanted.map(|path| fs_err::read(path).unwrap()).collect()
        };
        fixtures.push(Fixture {
            name: dir.file_name().unwrap().to_string_lossy().into_owned(),
            objects: named(false),
            profiles: named(true),
            expected: fs_err::read_to_string(dir.join("expected.info")).unwrap(),
        });
    }
    assert!(fixtures.len() > 10);
    fixtures
}

fn list(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs_err::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths
}

fn add_up(profiles: &[Vec<u8>]) -> Reduction {
    reduce::reduce(&InMemory(profiles), &reduce::Options::default())
}

/// Returns the tracefile of these objects and profiles, and what was wrong with the objects.
fn report(objects: &[Vec<u8>], profiles: &[Vec<u8>]) -> (String, Vec<String>) {
    let reduction = add_up(profiles);
    let counts = Counts::new(reduction.binaries.iter().map(|binary| &binary.profile));
    let mut coverage = Coverage::new(&counts, Options::default());
    let mut problems = Vec::new();
    for object in objects {
        match super::object::sections(object.as_slice()) {
            Ok(sections) => {
                problems.extend(coverage.add(&sections).err().map(|error| error.to_string()));
            }
            Err(error) => problems.push(error.to_string()),
        }
    }
    let mut text = Vec::new();
    coverage.files().write_lcov(&mut text).unwrap();
    (String::from_utf8(text).unwrap(), problems)
}

/// Numbers that look random and are the same each time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end.max(1) as u64).unwrap()
    }
}

/// Returns whether everything is to be tried, however long it takes and whatever it needs.
fn full() -> bool {
    std::env::var_os("HPC_CI_FULL").is_some_and(|value| value == "1")
}
