//! Random counts, as the engine and as LLVM's programs report them, wherever these are installed.

use std::process::Command;

use super::super::profile::{Header, MAX_HEADER};
use super::*;

/// The version whose programs are the reference.
const REFERENCE: u32 = 22;

#[test]
fn random_counts_are_reported_as_llvm_reports_them() {
    if !is_installed(&program("llvm-cov", REFERENCE)) {
        assert!(!full(), "llvm-cov-{REFERENCE} is not on PATH");
        return;
    }
    let rounds = if full() { 12 } else { 2 };
    let mut random = Random(4);
    let mut compared = 0;
    for fixture in fixtures() {
        // Versions of the raw format are only read by LLVM's programs of their time.
        let version = fixture
            .name
            .split('-')
            .nth(1)
            .and_then(|version| version.parse().ok())
            .unwrap_or(REFERENCE);
        if !is_installed(&program("llvm-profdata", version)) {
            continue;
        }
        for round in 0..rounds {
            let bits = [3, 40, 55][round % 3];
            let profiles: Vec<_> = fixture
                .profiles
                .iter()
                .map(|profile| scatter(profile, bits, &mut random))
                .collect();
            compare(&fixture, version, &profiles);
            compared += 1;
        }
    }
    assert!(compared > 10);
}

fn compare(fixture: &Fixture, version: u32, profiles: &[Vec<u8>]) {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: String, bytes: &[u8]| {
        let path = dir.path().join(name);
        fs_err::write(&path, bytes).unwrap();
        path
    };
    let index = |name: &str, inputs: &[PathBuf]| {
        let path = dir.path().join(name);
        let mut command = Command::new(program("llvm-profdata", version));
        run(command
            .args(["merge", "-sparse", "-num-threads=1", "-o"])
            .arg(&path)
            .args(inputs));
        path
    };

    let mut sum = Vec::new();
    for binary in add_up(profiles).binaries {
        binary.profile.write_to(&mut sum).unwrap();
    }
    let paths: Vec<_> = (0..)
        .zip(profiles)
        .map(|(at, bytes)| write(format!("{at}.profraw"), bytes))
        .collect();
    let all = index("all.profdata", &paths);
    let ours = index("sum.profdata", &[write("sum.profraw".to_owned(), &sum)]);
    assert!(
        fs_err::read(&all).unwrap() == fs_err::read(&ours).unwrap(),
        "{}: the sums differ",
        fixture.name
    );

    let current = dir.path().join("current.profdata");
    let mut command = Command::new(program("llvm-profdata", REFERENCE));
    run(command
        .args(["merge", "-sparse", "-o"])
        .arg(&current)
        .arg(&all));
    let mut command = Command::new(program("llvm-cov", REFERENCE));
    command
        .args(["export", "-format=lcov", "-instr-profile"])
        .arg(&current);
    for (at, object) in (0..).zip(&fixture.objects) {
        command
            .arg("--object")
            .arg(write(format!("{at}.o"), object));
    }
    let expected = String::from_utf8(run(&mut command)).unwrap();
    let (text, problems) = report(&fixture.objects, profiles);
    assert!(
        text == expected && problems.is_empty(),
        "{}: the tracefiles differ",
        fixture.name
    );
}

/// Puts random counts and bits into a profile, zeros among them.
pub(super) fn scatter(profile: &[u8], bits: u32, random: &mut Random) -> Vec<u8> {
    let mut bytes = profile.to_vec();
    let mut base = 0;
    while base < bytes.len() {
        let header = Header::parse(&bytes[base..bytes.len().min(base + MAX_HEADER)]).unwrap();
        let layout = header.layout().unwrap();
        let place = |start: u64| base + usize::try_from(start).unwrap();
        let (start, end) = (
            place(layout.counters.start),
            place(layout.counters.start + layout.counters.len),
        );
        for counter in bytes[start..end].as_chunks_mut::<8>().0 {
            let count = if random.below(3) == 0 {
                0
            } else {
                random.next() >> (64 - bits)
            };
            *counter = count.to_le_bytes();
        }
        let (start, end) = (
            place(layout.bitmap.start),
            place(layout.bitmap.start + layout.bitmap.len),
        );
        bytes[start..end]
            .iter_mut()
            .for_each(|byte| *byte = random.next().to_le_bytes()[0]);
        base = place(layout.end);
    }
    bytes
}

fn program(name: &str, version: u32) -> String {
    format!("{name}-{version}")
}

fn is_installed(program: &str) -> bool {
    Command::new(program)
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success())
}

fn run(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}
