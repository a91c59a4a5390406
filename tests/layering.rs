//! The rules of the tree: which room may import which, and what a pure file must not touch.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Room, and the rooms that it may import.
const ROOMS: &[(&str, &[&str])] = &[
    ("config", &["shell"]),
    ("plan", &["config"]),
    ("git", &["foreign", "remedy"]),
    ("build", &["foreign", "process", "remedy", "shell"]),
    ("clean", &[]),
    ("launch", &[]),
    ("scheduler", &["foreign", "process"]),
    ("coverage", &["foreign"]),
    ("llvm", &["process", "coverage", "foreign"]),
    ("results", &["foreign", "lease", "remedy", "scheduler"]),
    (
        "publish",
        &["cancel", "config", "foreign", "git", "remedy", "results"],
    ),
    ("process", &["foreign"]),
    ("cancel", &[]),
    ("foreign", &["cancel"]),
    ("lease", &["foreign", "process", "remedy"]),
    ("owner", &[]),
    ("remedy", &[]),
    ("shell", &[]),
    (
        "drive",
        &[
            "build",
            "cancel",
            "config",
            "coverage",
            "foreign",
            "git",
            "launch",
            "lease",
            "llvm",
            "owner",
            "plan",
            "process",
            "publish",
            "remedy",
            "results",
            "scheduler",
        ],
    ),
    (
        "doctor",
        &[
            "foreign",
            "build",
            "config",
            "coverage",
            "git",
            "launch",
            "llvm",
            "owner",
            "plan",
            "process",
            "scheduler",
        ],
    ),
    (
        "init",
        &[
            "foreign",
            "build",
            "config",
            "doctor",
            "launch",
            "plan",
            "process",
            "scheduler",
        ],
    ),
    (
        "error",
        &[
            "build", "config", "coverage", "drive", "git", "owner", "plan", "process", "publish",
            "remedy", "results",
        ],
    ),
    (
        "cli",
        &[
            "build",
            "cancel",
            "config",
            "coverage",
            "doctor",
            "drive",
            "error",
            "foreign",
            "git",
            "init",
            "launch",
            "lease",
            "owner",
            "plan",
            "process",
            "publish",
            "results",
            "scheduler",
        ],
    ),
    ("lib", &[]),
    ("main", &["cli", "error"]),
];

/// What every room may import.
const EVERYWHERE: &str = "clean";

/// Files that take values and return values.
const PURE: &[&str] = &[
    "config/",
    "shell.rs",
    "plan/",
    "launch/",
    "build/environment.rs",
    "build/instrument.rs",
    "clean.rs",
    "build/secrets.rs",
    "remedy.rs",
    "scheduler/job.rs",
    "scheduler/verdict.rs",
    "scheduler/pending.rs",
    "scheduler/admission.rs",
    "scheduler/slurm/parse.rs",
    "scheduler/slurm/argv.rs",
    "coverage/lcov/",
    "coverage/mapping/",
    "coverage/export/",
    "coverage/paths.rs",
    "coverage/summary.rs",
    "doctor/facts.rs",
    "doctor/finding.rs",
    "doctor/judge/",
    "init/found.rs",
    "init/tree.rs",
    "init/kind/",
    "init/text/",
    "drive/state.rs",
    "drive/ledger.rs",
    "drive/request.rs",
    "drive/toolchain.rs",
    "drive/progress.rs",
    "cli/console/board.rs",
    "cli/console/events.rs",
    "cli/console/lines.rs",
    "cli/console/plain.rs",
    "cli/console/sections.rs",
    "cli/console/table.rs",
    "cli/console/words.rs",
    "cli/order.rs",
    "publish/answer.rs",
    "publish/badge.rs",
    "publish/branch/",
    "publish/circumstances.rs",
    "publish/disclosure.rs",
    "publish/codecov/fixes.rs",
    "publish/codecov/payload.rs",
    "publish/dashboard/",
    "publish/github/comment.rs",
    "publish/place.rs",
    "publish/status.rs",
    "publish/item.rs",
    "results/record/",
    "results/summary.rs",
    "results/clean.rs",
    "results/junit.rs",
    "results/reports/",
    "results/table.rs",
    "results/units.rs",
    "results/text/",
    "results/artifact.rs",
    "results/picture.rs",
    "results/compare.rs",
    "results/trend.rs",
    "results/benchmark/",
];

/// What only an edge may touch.
const OUTSIDE: &[&str] = &[
    "std::fs",
    "fs_err",
    "std::env::var",
    "std::net",
    "std::process",
    "tokio::",
    "git2",
    "reqwest",
    "Utc::now",
    "Instant::now",
    "SystemTime",
];

/// Every file of Rust below a folder.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
    found
}

fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    files(&root)
        .into_iter()
        .map(|path| {
            let name = path
                .strip_prefix(&root)
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            (name, code(&std::fs::read_to_string(path).unwrap()))
        })
        .collect()
}

/// The code of a file: without its tests at the foot, and without comments.
fn code(text: &str) -> String {
    let end = text.find("#[cfg(test)]\n").unwrap_or(text.len());
    text[..end]
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

fn room(file: &str) -> &str {
    file.split('/').next().unwrap().trim_end_matches(".rs")
}

/// The rooms that follow `crate::` in the text, also in a list in braces.
fn imports(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let names: Vec<&str> = match rest.strip_prefix('{') {
            Some(list) => list.split('}').next().unwrap().split(',').collect(),
            None => vec![rest],
        };
        for name in names {
            let name: String = name
                .trim()
                .chars()
                .take_while(|c| c.is_ascii_lowercase() || *c == '_')
                .collect();
            found.insert(name);
        }
    }
    found.remove("");
    found
}

#[test]
fn rooms_import_only_what_the_table_allows() {
    let mut wrong = Vec::new();
    for (file, code) in sources() {
        let own = room(&file);
        let Some((_, allowed)) = ROOMS.iter().find(|(room, _)| *room == own) else {
            wrong.push(format!("src/{file}: `{own}` is not in the table"));
            continue;
        };
        for import in imports(&code) {
            if import != own && import != EVERYWHERE && !allowed.contains(&import.as_str()) {
                wrong.push(format!("src/{file} imports `{import}`"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn pure_files_touch_nothing() {
    let mut wrong = Vec::new();
    let sources = sources();
    for pure in PURE {
        let files: Vec<_> = sources
            .iter()
            // Tests may stand in a file of their own, as they may at the foot of one.
            .filter(|(file, _)| file.starts_with(pure) && !file.ends_with("/tests.rs"))
            .collect();
        assert!(!files.is_empty(), "`{pure}` names no file");
        for (file, code) in files {
            let touched = OUTSIDE.iter().filter(|word| code.contains(**word));
            wrong.extend(touched.map(|word| format!("src/{file} is pure and uses `{word}`")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// How files are opened other than by `foreign`.
const OPENS: &[&str] = &[
    "fs::read(",
    "fs_err::read(",
    "fs::read_to_string(",
    "fs_err::read_to_string(",
    "File::open(",
    "File::create",
    "File::options",
    "OpenOptions::new",
    "fs::write(",
    "fs_err::write(",
];

/// Files that open some in another way, each with what and why.
const OPEN_OTHERWISE: &[(&str, &str, &str)] = &[
    ("lease.rs", "File::create", "the first to make it has it"),
    ("lease.rs", "fs_err::read_to_string(", "/proc"),
    ("doctor/probe/host.rs", "fs::read_to_string(", "/proc, /sys"),
    ("process/table.rs", "fs_err::read_to_string(", "/proc"),
    ("scheduler/local.rs", "fs_err::read(", "/proc"),
    (
        "drive/keep/mod.rs",
        "File::options",
        "the way to what was opened is looked at, and a copy is new",
    ),
    ("coverage/node/mod.rs", "File::open(", "a folder, as a lock"),
    (
        "results/store/stage.rs",
        "File::open(",
        "a folder, to sync it",
    ),
    (
        "doctor/probe/tools.rs",
        "fs_err::write(",
        "a temporary folder",
    ),
    (
        "doctor/probe/storage.rs",
        "fs_err::write(",
        "a temporary file",
    ),
    (
        "doctor/probe/node.rs",
        "fs_err::write(",
        "a temporary folder",
    ),
    (
        "doctor/probe/scheduler.rs",
        "fs_err::write(",
        "a temporary file",
    ),
    ("cli/strategies.rs", "fs_err::write(", "a temporary file"),
    ("build/continuous.rs", "fs::write(", "a temporary folder"),
    ("git/tree.rs", "fs::write(", "a `.git` that was just made"),
    ("llvm/mod.rs", "fs::write(", "a folder that was just made"),
];

/// What a step, a build or another process can replace may have become a FIFO, a link or endless, and would stop the driver.
#[test]
fn files_are_opened_in_one_way() {
    let mut wrong = Vec::new();
    let mut unused: Vec<_> = OPEN_OTHERWISE.to_vec();
    for (file, code) in sources() {
        let is_test = file.ends_with("/tests.rs") || file.contains("/tests/");
        if file == "foreign.rs" || file == "git/sample.rs" || is_test {
            continue;
        }
        for word in OPENS.iter().filter(|word| code.contains(**word)) {
            let known = |of: &str, opens: &str| of == file && opens == *word;
            unused.retain(|(of, opens, _)| !known(of, opens));
            if !OPEN_OTHERWISE.iter().any(|(of, opens, _)| known(of, opens)) {
                wrong.push(format!(
                    "src/{file} opens a file by `{word}`, and not by `foreign`"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(unused.is_empty(), "no longer needed: {unused:?}");
}

/// Each line of `docs/security.md` names the tests that hold it.
#[test]
fn what_security_promises_is_tested() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut code = String::new();
    for dir in ["src", "tests"] {
        for file in files(&root.join(dir)) {
            code += &std::fs::read_to_string(file).unwrap();
        }
    }
    let page = std::fs::read_to_string(root.join("docs/security.md")).unwrap();
    let rows = page
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| what |"));
    let mut count = 0;
    for row in rows {
        let tests = row.trim_end_matches('|').rsplit('|').next().unwrap();
        let named: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty() || tests.trim() == "none", "{row}");
        for test in named {
            let name = test.rsplit("::").next().unwrap();
            assert!(
                code.contains(&format!("fn {name}()")),
                "no test `{test}`: {row}"
            );
            count += 1;
        }
    }
    assert!(count > 30);
}

#[test]
fn only_the_git_room_knows_libgit2() {
    let wrong: Vec<String> = sources()
        .into_iter()
        .filter(|(file, code)| room(file) != "git" && code.contains("git2::"))
        .map(|(file, _)| file)
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}
