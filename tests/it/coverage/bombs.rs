//! Profiles, objects and tracefiles that claim more than they hold, or are no files: none stops hpc-ci or fills its memory, each is named
//! with the limit, and what else was gathered counts.

use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use tempfile::TempDir;

use super::lost::is_partial;
use crate::local::{here, project};
use crate::support::bounds::{Bounded, bounded, interrupted};
use crate::support::tools::full;

/// The longest that anything here takes, on a machine with other work as well.
const LIMIT: Duration = Duration::from_secs(10);
/// The most memory, in MiB.
const MEMORY: u64 = 512;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/llvm/clang-22-c")
        .join(name)
}

fn hpc_ci(dir: &TempDir, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hpc-ci"));
    command.args(arguments).current_dir(dir.path());
    command
}

/// Runs it within time and memory, and returns what it said.
#[track_caller]
fn said(dir: &TempDir, arguments: &[&str], code: i32) -> String {
    let done: Bounded = bounded(&mut hpc_ci(dir, arguments), LIMIT);
    done.below(MEMORY);
    assert_eq!(done.code, Some(code), "{arguments:?}: {}", done.err);
    done.err
}

/// Writes an object whose mapping is a bomb.
fn object(dir: &TempDir, kind: &str, size: usize) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/bombs/object.py");
    let mut python = Command::new("python3");
    python
        .arg(script)
        .args([kind, "bomb.so", &size.to_string()]);
    let status = python.current_dir(dir.path()).status().unwrap();
    assert!(status.success());
}

#[test]
fn an_object_takes_no_more_than_it_holds() {
    for (kind, size, told) in [
        (
            "names",
            12,
            "names become more than 32 MiB and 128 times their size",
        ),
        (
            "directory",
            30_000,
            "names become more than 32 MiB and 128 times",
        ),
        ("lines", 150, "claims more than 4"),
        ("doubling", 60, "refer to one another in more than"),
        ("ways", 20_000, "refer to one another in more than"),
        ("shapes", 20_000, "refer to one another in more than"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        object(&dir, kind, size);
        let profile = fixture("00.profraw");
        let arguments = [
            "export",
            "-o",
            "out.info",
            "--object",
            "bomb.so",
            profile.to_str().unwrap(),
        ];
        let said = said(&dir, &arguments, 3);
        assert!(
            said.contains("`bomb.so`") && said.contains(told),
            "{kind}: {said}"
        );
        assert!(!dir.path().join("out.info").exists(), "{kind}");
    }
}

/// A compiler writes no such chain either, but nothing is wrong with it: it is read in time.
#[test]
fn a_long_chain_of_macros_is_read() {
    let dir = tempfile::tempdir().unwrap();
    object(&dir, "chain", 30_000);
    let profile = fixture("00.profraw");
    let arguments = [
        "export",
        "-o",
        "out.info",
        "--object",
        "bomb.so",
        profile.to_str().unwrap(),
    ];
    said(&dir, &arguments, 0);
    let text = std::fs::read_to_string(dir.path().join("out.info")).unwrap();
    assert!(text.starts_with("SF:/code/a.c\n"), "{text}");
}

/// An ELF file of this size with a section that begins behind its headers and reaches to its end.
fn hollow_object(path: &Path, size: u64) {
    let names = b"\0__llvm_covmap\0__llvm_covfun\0__llvm_prf_names\0.shstrtab\0";
    let section = |name: u32, kind: u32, at: u64, len: u64| {
        let mut bytes = [name.to_le_bytes(), kind.to_le_bytes()].concat();
        for word in [0, 0, at, len, 0, 8, 0] {
            bytes.extend(u64::to_le_bytes(word));
        }
        bytes
    };
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e\0\x01\0\0\0".to_vec();
    for word in [0, 0, 64] {
        file.extend(u64::to_le_bytes(word));
    }
    file.extend([0; 4]);
    for half in [64, 0, 0, 64, 5, 4] {
        file.extend(u16::to_le_bytes(half));
    }
    let at = 64 + 5 * 64;
    file.extend([0; 64]);
    for name in [1, 15, 29] {
        file.extend(section(name, 1, 4096, size - 4096));
    }
    file.extend(section(46, 3, at, names.len() as u64));
    file.extend(names);
    std::fs::write(path, file).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(size).unwrap();
    file.write_all_at(&[0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0], 4096)
        .unwrap();
}

#[test]
fn sections_in_holes_are_not_read() {
    let dir = tempfile::tempdir().unwrap();
    hollow_object(&dir.path().join("bomb.so"), 3 << 30);
    let profile = fixture("00.profraw");
    let arguments = [
        "export",
        "-o",
        "out.info",
        "--object",
        "bomb.so",
        profile.to_str().unwrap(),
    ];
    let said = said(&dir, &arguments, 3);
    assert!(
        said.contains("its sections claim more than twice the bytes that it holds"),
        "{said}"
    );
}

/// The head of a profile of version 10 with these functions: name, hash, first counter, how many.
fn profile(
    id: u64,
    counters: u64,
    functions: impl ExactSizeIterator<Item = (u64, u64, u64, u32)>,
) -> (Vec<u8>, u64) {
    let data = 64 * functions.len() as u64;
    let words = [
        u64::from_be_bytes(*b"\xfflprofr\x81"),
        10,
        32,
        functions.len() as u64,
        0,
        counters,
        0,
        0,
        0,
        8,
        data,
        data + 8 * counters,
        7,
        0,
        0,
        2,
        20,
        id,
        0,
        0,
    ];
    let mut bytes: Vec<u8> = words.into_iter().flat_map(u64::to_le_bytes).collect();
    for (at, (name, hash, first, count)) in (0_u64..).zip(functions) {
        for word in [
            name,
            hash,
            (data + 8 * first).wrapping_sub(64 * at),
            0,
            0,
            0,
        ] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(count.to_le_bytes());
        bytes.extend([0; 12]);
    }
    let size = bytes.len() as u64 + 8 * counters + 8;
    (bytes, size)
}

/// Writes a profile of one page that claims this many counters.
fn hollow_profile(path: &Path, id: u64, counters: u64) {
    let (head, size) = profile(id, counters, [(1, 1, 0, 1)].into_iter());
    let mut file = std::fs::File::create(path).unwrap();
    file.write_all(&head).unwrap();
    file.set_len(size).unwrap();
}

#[test]
fn profiles_in_holes_take_no_memory() {
    for (name, many, counters, told) in [
        (
            "one of gigabytes",
            1,
            475_000_000_u64,
            "asks for more than 1073741824 bytes",
        ),
        (
            "one of a gigabyte",
            1,
            130_000_000,
            "of its bytes are in holes of the file",
        ),
        (
            "many of 14 MiB",
            60,
            1_800_000,
            "no more than 16777216 may be",
        ),
        (
            "very many of 4 MiB",
            300,
            500_000,
            "no more than 16777216 may be",
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let profiles = dir.path().join("profiles");
        std::fs::create_dir(&profiles).unwrap();
        std::fs::copy(fixture("00.profraw"), profiles.join("a-good.profraw")).unwrap();
        for id in 0..many {
            hollow_profile(
                &profiles.join(format!("bomb-{id:04}.profraw")),
                id,
                counters,
            );
        }
        let said = said(&dir, &["reduce", "-o", "sum", "profiles"], 0);
        assert!(said.contains(told), "{name}: {said}");
        // What was gathered is there.
        let sum = std::fs::read(dir.path().join("sum")).unwrap();
        std::fs::write(dir.path().join("sum.profraw"), &sum).unwrap();
        let object = fixture("0-basic");
        let arguments = [
            "export",
            "-q",
            "-o",
            "out.info",
            "--object",
            object.to_str().unwrap(),
            "sum.profraw",
        ];
        self::said(&dir, &arguments, 0);
        let text = std::fs::read_to_string(dir.path().join("out.info")).unwrap();
        assert!(
            text.lines()
                .any(|line| line.starts_with("DA:") && !line.ends_with(",0")),
            "{name}: {text}"
        );
    }
}

#[test]
fn a_hole_larger_than_any_disk_is_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let file = std::fs::File::create(dir.path().join("all.profraw")).unwrap();
    file.set_len(8 << 40).unwrap();
    let mut tail = std::fs::read(fixture("00.profraw")).unwrap();
    tail.resize(tail.len() + 64, 0);
    std::fs::write(dir.path().join("tail.profraw"), &tail).unwrap();
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(dir.path().join("tail.profraw"))
        .unwrap();
    file.set_len(8 << 40).unwrap();
    let said = said(
        &dir,
        &["reduce", "-o", "sum", "all.profraw", "tail.profraw"],
        0,
    );
    assert!(
        said.contains("all.profraw: empty") && said.contains("1 of 2 profiles used"),
        "{said}"
    );
}

/// Whoever gives all functions one name shall not make every look-up one through all of them.
#[test]
fn many_versions_of_one_function_are_told_apart_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let count = 100_000;
    let (mut bytes, size) = profile(
        1,
        count,
        (0..count)
            .map(|at| (1, at, at, 1))
            .collect::<Vec<_>>()
            .into_iter(),
    );
    for _ in 0..count {
        bytes.extend(1_u64.to_le_bytes());
    }
    bytes.resize(size.try_into().unwrap(), 0);
    std::fs::write(dir.path().join("bomb.profraw"), &bytes).unwrap();
    let (object, good) = (fixture("0-basic"), fixture("00.profraw"));
    let arguments = [
        "export",
        "-o",
        "out.info",
        "--object",
        object.to_str().unwrap(),
        good.to_str().unwrap(),
        "bomb.profraw",
    ];
    said(&dir, &arguments, 0);
}

/// Programs without build ids are told apart by their functions, but not each from all others.
#[test]
fn many_programs_without_build_ids_are_told_apart_in_time() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("profiles")).unwrap();
    let count = if full() { 30_000 } else { 12_000 };
    for number in 0..count {
        let (mut bytes, size) = profile(1, 1, [(1, number, 0, 1)].into_iter());
        // No build id.
        bytes[16..24].copy_from_slice(&0_u64.to_le_bytes());
        bytes.drain(128..160);
        bytes.resize(usize::try_from(size).unwrap() - 32, 0);
        std::fs::write(
            dir.path().join(format!("profiles/{number}.profraw")),
            &bytes,
        )
        .unwrap();
    }
    let said = said(&dir, &["reduce", "-o", "sum", "profiles"], 0);
    assert!(
        said.contains(&format!("{count} of {count} profiles used")),
        "{said}"
    );
}

/// What makes a name of a file, in a folder that others write to.
fn not_files(dir: &Path, ending: &str) -> Vec<&'static str> {
    let at = |name: &str| dir.join(format!("{name}.{ending}"));
    mkfifo(&at("fifo"), Mode::S_IRWXU).unwrap();
    std::fs::create_dir(at("folder")).unwrap();
    symlink("/dev/zero", at("zero")).unwrap();
    drop(std::os::unix::net::UnixListener::bind(at("socket")).unwrap());
    symlink("/nonexistent", at("nowhere")).unwrap();
    vec!["fifo", "zero", "socket", "nowhere"]
}

#[test]
fn what_is_no_file_in_a_folder_of_profiles_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let profiles = dir.path().join("profiles");
    std::fs::create_dir(&profiles).unwrap();
    std::fs::copy(fixture("00.profraw"), profiles.join("good.profraw")).unwrap();
    symlink(fixture("01.profraw"), profiles.join("linked.profraw")).unwrap();
    let names = not_files(&profiles, "profraw");
    let said = said(&dir, &["reduce", "-o", "sum", "profiles"], 0);
    for name in names {
        assert!(
            said.contains(&format!("{name}.profraw: ")),
            "{name}: {said}"
        );
    }
    assert!(said.contains("2 of 6 profiles used"), "{said}");
}

#[test]
fn what_a_person_names_may_be_a_pipe_or_a_link() {
    let dir = tempfile::tempdir().unwrap();
    let (object, profile) = (fixture("0-basic"), fixture("00.profraw"));
    symlink(&profile, dir.path().join("link")).unwrap();
    let hpc_ci = env!("CARGO_BIN_EXE_hpc-ci");
    let script = format!(
        "'{hpc_ci}' export -q -o plain.info --object '{0}' '{1}' && '{hpc_ci}' export -q -o link.info --object '{0}' link &&
         '{hpc_ci}' export -q -o pipe.info --object <(cat '{0}') <(cat '{1}') &&
         '{hpc_ci}' merge -q -o plain.sum plain.info && '{hpc_ci}' merge -q -o pipe.sum <(cat plain.info)",
        object.display(),
        profile.display(),
    );
    let mut bash = Command::new("bash");
    let done = bounded(
        bash.args(["-c", &script]).current_dir(dir.path()),
        LIMIT * 3,
    );
    assert_eq!(done.code, Some(0), "{}", done.err);
    let text = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
    assert_eq!(text("link.info"), text("plain.info"));
    assert_eq!(text("pipe.info"), text("plain.info"));
    assert_eq!(text("pipe.sum"), text("plain.sum"));
}

#[test]
fn a_tracefile_takes_no_more_than_it_holds() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    std::fs::write(at("good.info"), "SF:a.c\nDA:1,2\nend_of_record\n").unwrap();
    std::fs::File::create(at("sparse.info"))
        .unwrap()
        .set_len(3 << 30)
        .unwrap();
    symlink("/dev/zero", at("zero.info")).unwrap();
    let mut endless = std::fs::File::create(at("endless.info")).unwrap();
    endless.write_all(b"SF:").unwrap();
    let piece = "x".repeat(1 << 20);
    for _ in 0..80 {
        endless.write_all(piece.as_bytes()).unwrap();
    }
    let mut rows = vec![
        ("sparse.info", "3221225472 bytes of holes"),
        ("zero.info", "longer than 67108864 bytes"),
        ("endless.info", "longer than 67108864 bytes"),
    ];
    if full() {
        let mut many = std::io::BufWriter::new(std::fs::File::create(at("many.info")).unwrap());
        for number in 0..2_000_000 {
            writeln!(many, "SF:{number}\nDA:4294967295,1\nend_of_record").unwrap();
        }
        rows.push(("many.info", "no more than 500000 source files"));
    }
    for (name, told) in rows {
        let limit = if full() { 6 * LIMIT } else { LIMIT };
        let done = bounded(
            &mut hpc_ci(&dir, &["merge", "-o", "sum.info", "good.info", name]),
            limit,
        );
        done.below(MEMORY);
        assert_eq!(done.code, Some(0), "{name}: {}", done.err);
        assert!(
            done.err.contains(name) && done.err.contains(told),
            "{name}: {}",
            done.err
        );
        let sum = std::fs::read_to_string(at("sum.info")).unwrap();
        assert!(
            sum.contains("SF:a.c\nFNF:0\nFNH:0\nDA:1,2\n"),
            "{name}: {}",
            &sum[..sum.len().min(500)]
        );
    }
}

#[test]
fn a_pipe_that_nobody_writes_to_ends_with_a_signal() {
    let dir = tempfile::tempdir().unwrap();
    mkfifo(&dir.path().join("fifo"), Mode::S_IRWXU).unwrap();
    for arguments in [
        &["merge", "-o", "sum", "fifo"][..],
        &["reduce", "-o", "sum", "fifo"],
    ] {
        let (took, _) = interrupted(
            &mut hpc_ci(&dir, arguments),
            Duration::from_millis(500),
            Signal::SIGINT,
        );
        assert!(took < Duration::from_secs(2), "{arguments:?}: {took:?}");
    }
}

/// Names come from whoever made the object; none of them is a record of the tracefile.
#[test]
fn names_are_no_records() {
    let dir = tempfile::tempdir().unwrap();
    object(&dir, "injected", 0);
    let profile = fixture("00.profraw");
    let arguments = [
        "export",
        "-q",
        "-o",
        "out.info",
        "--object",
        "bomb.so",
        profile.to_str().unwrap(),
    ];
    said(&dir, &arguments, 0);
    let forged = |text: &str| {
        let lines: Vec<String> = text
            .split(|c: char| c.is_control() || c == '\u{2028}')
            .map(str::to_owned)
            .collect();
        let begins = |line: &&String| {
            ["SF:forged", "FN:1,forged", "TN:", "DA:7", "DA:2", "DA:3"]
                .iter()
                .any(|it| line.starts_with(it))
        };
        lines.iter().filter(begins).cloned().collect::<Vec<_>>()
    };
    let text = std::fs::read_to_string(dir.path().join("out.info")).unwrap();
    assert_eq!(forged(&text), [""; 0], "{text}");
    assert_eq!(text.matches("end_of_record\n").count(), 1, "{text}");
    // The other writer, of names that stand in tracefiles.
    std::fs::write(
        dir.path().join("in.info"),
        "SF:a\u{2028}DA:3,1\u{b}DA:2,1\rDA:7,1\nDA:1,1\nend_of_record\n",
    )
    .unwrap();
    said(&dir, &["merge", "-q", "-o", "sum.info", "in.info"], 0);
    let text = std::fs::read_to_string(dir.path().join("sum.info")).unwrap();
    assert_eq!(forged(&text), [""; 0], "{text}");
}

/// A step puts something else where its tracefiles are looked for.
#[test]
fn tracefiles_of_a_step_that_are_no_files_are_losses() {
    let project = project(
        r#"
[build.tests]
coverage = "lcov"
[[test]]
name = "writes"
command = '''
printf 'SF:src/a.c\nDA:1,2\nend_of_record\n' >"$HPC_CI_TRACEFILE_DIR/good.info"
printf 'SF:src/a.c\nDA:1,9\nend_of_record\n' >outside.info
cd "$HPC_CI_TRACEFILE_DIR" || exit
mkfifo fifo.info
mkdir folder.info
ln -s /dev/zero zero.info
ln -s "$OLDPWD/outside.info" away.info
python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("socket.info")'
truncate -s 3G sparse.info
'''
"#,
    );
    project.file("src/a.c", "int x;\n");
    project.commit();
    for _ in 0..2 {
        // The second one finds all as the first one left it.
        let mut command = here(&project, &["--scheduler", "local"]);
        let done = bounded(&mut command, 6 * LIMIT);
        done.below(256);
        let run = done.ended(&project.dir);
        is_partial(&run, true);
        let losses = run.json("artifacts/coverage/summary.json")["losses"].to_string();
        for name in ["fifo", "folder", "zero", "away", "socket", "sparse"] {
            assert!(losses.contains(&format!("{name}.info")), "{name}: {losses}");
        }
        assert_eq!(run.line_hits("src/a.c"), [(1, 2)]);
    }
}

/// A program puts something else where its profiles are looked for.
#[test]
fn profiles_of_a_step_that_are_no_files_are_told() {
    let project = project(
        r#"
[build.tests]
command = "clang-22 -o p p.c"
coverage = "llvm"
[[test]]
name = "writes"
command = '''
./p
cd "${LLVM_PROFILE_FILE%/*}" || exit
mkfifo r0.fifo.profraw
mkdir r0.folder.profraw
ln -s /dev/zero r0.zero.profraw
ln -s "$OLDPWD/p" r0.away.profraw
truncate -s 3G r0.sparse.profraw
mkfifo node.fifo.0.json
'''
"#,
    );
    project.file("p.c", "int main(void) {\n    return 0;\n}\n");
    project.commit();
    let mut command = here(&project, &["--scheduler", "local"]);
    let done = bounded(&mut command, 6 * LIMIT);
    done.below(256);
    assert_eq!(done.code, Some(0), "{}", done.err);
    let run = done.ended(&project.dir);
    let ledger = run.json("artifacts/meta.json")["runs"][0]["ranks"].to_string();
    // They were added up on the node, which left word of them.
    for name in ["fifo", "zero", "away", "sparse"] {
        assert!(
            ledger.contains(&format!("\"r0.{name}.profraw\"")),
            "{name}: {ledger}"
        );
    }
    assert_eq!(run.line_hits("p.c")[0], (1, 1));
}

#[test]
fn a_pattern_for_objects_that_walks_the_machine_is_refused() {
    for (pattern, refused) in [
        ("/**", true),
        ("/*/lib/*.so", true),
        ("/usr/**/*.so", true),
        ("../**", true),
        ("../../**/*.so", true),
        ("a/../../**", true),
        ("/{usr,opt}/lib/x.so", true),
        ("/opt/code/**/*.so", false),
        ("/opt/*.so", false),
        ("../code/**/*.so", false),
        ("../*.so", false),
        ("**/*.so", false),
        ("/usr/lib/x.so", false),
    ] {
        let toml = format!(
            "[[test]]\nname = \"t\"\ncommand = \"true\"\n[coverage]\nobjects = [\"{pattern}\"]\n"
        );
        let project = project(&toml);
        let mut command = here(&project, &["plan"]);
        let done = bounded(&mut command, LIMIT);
        assert_eq!(done.code == Some(2), refused, "{pattern}: {}", done.err);
        assert_eq!(
            done.err.contains("would look through more than a project"),
            refused,
            "{pattern}: {}",
            done.err
        );
        if refused {
            assert!(done.err.contains(pattern), "{pattern}: {}", done.err);
        }
    }
}
