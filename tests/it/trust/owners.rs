//! What another user can write or replace: settings, workspaces, state folders; and what hpc-ci writes itself.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::local::{here, project};
use crate::support::{Ended, Project};

/// A user who is nobody here.
const OTHER: u32 = 54_321;
const STEP: &str = "[[test]]\nname = \"test\"\ncommand = \"true\"\n";
const VERBS: &[&str] = &[
    "run", "plan", "config", "status", "doctor", "publish", "fetch",
];

fn mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// Gives a file to the other user, which only root can: whoever tests as somebody else looks at modes alone.
fn give(path: &Path) -> bool {
    let root = nix::unistd::geteuid().is_root();
    if root {
        std::os::unix::fs::lchown(path, Some(OTHER), Some(OTHER)).unwrap();
    }
    root
}

fn verb(project: &Project, words: &[&str]) -> Ended {
    let mut command = here(project, words);
    command.env_remove("SUDO_UID");
    Ended::of(&project.dir, &command.output().unwrap())
}

/// A project whose set-up leaves a mark; each way makes its settings another's to change, and says which path is told of.
#[test]
fn settings_that_others_can_write_are_not_taken() {
    type Way = fn(&Project) -> Option<PathBuf>;
    let ways: &[(&str, Way)] = &[
        ("a file that everybody writes", |it| {
            let file = it.dir.join("hpc.toml");
            mode(&file, 0o646);
            Some(file)
        }),
        ("a folder that everybody writes", |it| {
            mode(&it.dir, 0o777);
            Some(it.dir.clone())
        }),
        ("another's file", |it| {
            let file = it.dir.join("hpc.toml");
            give(&file).then_some(file)
        }),
        ("another's folder", |it| {
            give(&it.dir).then(|| it.dir.clone())
        }),
        ("a link to another's file", |it| {
            let file = it.dir.join("hpc.toml");
            let real = it.dir.with_file_name("real.toml");
            std::fs::rename(&file, &real).unwrap();
            symlink(&real, &file).unwrap();
            give(&real).then_some(real)
        }),
        ("another's link", |it| {
            let file = it.dir.join("hpc.toml");
            let real = it.dir.with_file_name("real.toml");
            std::fs::rename(&file, &real).unwrap();
            symlink(&real, &file).unwrap();
            give(&file).then_some(file)
        }),
        ("a link into a folder that everybody writes", |it| {
            let file = it.dir.join("hpc.toml");
            let open = it.dir.with_file_name("open");
            std::fs::create_dir(&open).unwrap();
            std::fs::rename(&file, open.join("real.toml")).unwrap();
            symlink(open.join("real.toml"), &file).unwrap();
            mode(&open, 0o777);
            Some(open)
        }),
        ("the user's own file, which everybody writes", |it| {
            let folder = it.dir.with_file_name("config").join("hpc-ci");
            std::fs::create_dir_all(&folder).unwrap();
            let file = folder.join("config.toml");
            std::fs::write(&file, "").unwrap();
            mode(&file, 0o666);
            Some(file)
        }),
        ("the user's own file, planted", |it| {
            let folder = it.dir.with_file_name("config").join("hpc-ci");
            std::fs::create_dir_all(&folder).unwrap();
            let file = folder.join("config.toml");
            std::fs::write(&file, "").unwrap();
            give(&file).then_some(file)
        }),
    ];
    for (name, way) in ways {
        let project = project(
            &format!("[environment]\nsetup = \"touch PWNED\"\n{STEP}").replace(
                "PWNED",
                std::env::temp_dir()
                    .join(format!("hpc-ci-planted-{}", std::process::id()))
                    .to_str()
                    .unwrap(),
            ),
        );
        let mark = std::env::temp_dir().join(format!("hpc-ci-planted-{}", std::process::id()));
        let Some(told) = way(&project) else { continue };
        let below = project.dir.join("a/b");
        std::fs::create_dir_all(&below).unwrap();
        for words in VERBS {
            let mut command = here(&project, &[words]);
            command.env_remove("SUDO_UID").current_dir(&below);
            let ended = Ended::of(&project.dir, &command.output().unwrap());
            let said = format!("{}{}", ended.out, ended.err);
            assert_eq!(ended.code, Some(2), "{name}, {words}: {said}");
            assert!(
                said.contains(told.to_str().unwrap()),
                "{name}, {words}: {said}"
            );
            let mends = ["chmod o-w ", "chown "].iter().any(|it| said.contains(it));
            assert!(mends, "{name}, {words}: {said}");
            assert!(!mark.exists(), "{name}, {words}");
        }
        mode(&project.dir, 0o755);
    }
}

/// What is in use everywhere goes on: shared groups, sticky folders, root's files, owners that are trusted by name or by `sudo`.
#[test]
fn settings_of_root_of_groups_and_of_named_owners_are_taken() {
    let runs = |project: &Project, variables: &[(&str, &str)]| {
        let mut command = here(project, &["plan"]);
        command
            .env_remove("SUDO_UID")
            .envs(variables.iter().copied());
        Ended::of(&project.dir, &command.output().unwrap()).code == Some(0)
    };
    let shared = project(STEP);
    mode(&shared.dir, 0o2775);
    mode(&shared.dir.join("hpc.toml"), 0o664);
    assert!(runs(&shared, &[]));
    mode(&shared.dir, 0o1777);
    assert!(
        runs(&shared, &[]),
        "nobody can replace it in a sticky folder"
    );
    mode(&shared.dir, 0o755);

    let file = shared.dir.join("hpc.toml");
    if give(&file) {
        let other = OTHER.to_string();
        assert!(!runs(&shared, &[]));
        assert!(runs(&shared, &[("SUDO_UID", &other)]));
        assert!(runs(&shared, &[("HPC_CI_TRUSTED_OWNERS", &other)]));
        assert!(runs(&shared, &[("HPC_CI_TRUSTED_OWNERS", "daemon, 54321")]));
        assert!(runs(&shared, &[("HPC_CI_TRUSTED_OWNERS", "*")]));
        assert!(!runs(&shared, &[("HPC_CI_TRUSTED_OWNERS", "daemon,5432")]));
        // Trust in an owner is none in everybody.
        mode(&file, 0o666);
        assert!(!runs(&shared, &[("HPC_CI_TRUSTED_OWNERS", "*")]));
    }
}

/// A workspace in which another can put scripts is not used; doctor tells of it, and of artifacts.
#[test]
fn folders_that_others_can_write_are_told_and_not_used() {
    let project = project(&format!(
        "[workspace]\nroot = \"work\"\nstate = \"state\"\nartifacts = \"results\"\n{STEP}"
    ));
    let folder = |path: &str| {
        let path = project.dir.join(path);
        std::fs::create_dir_all(&path).unwrap();
        mode(&path, 0o755);
        path
    };
    let findings = || {
        let ended = verb(
            &project,
            &["doctor", "--format", "json", "--scheduler", "local"],
        );
        let report: Value = serde_json::from_str(&ended.out).unwrap();
        let findings = report["findings"].as_array().unwrap();
        let owner = |it: &&Value| it["check"] == "storage.owner";
        let found: Vec<Value> = findings.iter().filter(owner).cloned().collect();
        (ended.code, found)
    };
    let check = |path: &str, level: &str, remedy: &str| {
        let told = project.dir.join(path);
        let (code, found) = findings();
        assert_eq!(found.len(), 1, "{path}: {found:#?}");
        assert_eq!(found[0]["level"], level, "{path}");
        assert!(
            found[0]["saw"]
                .as_str()
                .unwrap()
                .contains(told.to_str().unwrap()),
            "{found:#?}"
        );
        let mends = format!("{remedy} {}", told.display());
        assert!(
            found[0]["remedy"].as_str().unwrap().contains(&mends),
            "{found:#?}"
        );
        if level == "error" {
            assert_eq!(code, Some(3), "{path}");
            for words in [
                "run", "plan", "fetch", "list", "resume", "gc", "publish", "trend",
            ] {
                let ended = verb(&project, &[words]).exits_with(2);
                assert!(ended.err.contains(&mends), "{path}, {words}: {}", ended.err);
            }
            assert!(!project.dir.join("results").join("artifacts").exists());
        }
    };
    for path in [
        "work",
        "work/runs",
        "work/trees",
        "work/mirrors",
        "work/launchers",
        "state",
        "state/history",
        "state/outbox",
    ] {
        let open = folder(path);
        mode(&open, 0o777);
        check(path, "error", "chmod o-w");
        mode(&open, 0o755);
        if give(&open) {
            check(path, "error", &format!("chown {}", nix::unistd::geteuid()));
            chown(&open, Some(0), Some(0)).unwrap();
        }
    }
    let results = folder("results");
    mode(&results, 0o777);
    check("results", "warning", "chmod o-w");
    mode(&results, 0o755);
    assert_eq!(findings().1, Vec::<Value>::new());
    mode(&folder("work"), 0o1777);
    assert_eq!(
        findings().1,
        Vec::<Value>::new(),
        "a sticky folder is as safe as /tmp"
    );
}

/// A run that another planted in a sticky folder is not gone on with.
#[test]
fn a_planted_run_is_not_resumed() {
    let project = project(STEP);
    let mut command = here(&project, &["--scheduler", "local"]);
    Ended::of(&project.dir, &command.output().unwrap()).exits_with(0);
    let runs = project.dir.join("hpc-ci/runs");
    let run = std::fs::read_dir(&runs).unwrap().flatten();
    let run = run
        .map(|it| it.path())
        .find(|it| it.join("request.json").exists())
        .unwrap();
    mode(&run, 0o707);
    let ended = verb(&project, &["resume"]);
    assert_ne!(ended.code, Some(0));
    assert!(ended.err.contains("chmod o-w"), "{}", ended.err);
}

/// Under any umask nobody else can change what a run leaves, and the code under test has the umask of its user.
#[test]
fn under_any_umask_runs_belong_to_their_user_alone() {
    let settings = "[workspace]\nroot = \"work\"\nstate = \"state\"\nartifacts = \"results\"\n\
         [build.tests]\ncommand = \"umask; touch built\"\n\
         [[test]]\nname = \"test\"\ncommand = \"umask; touch made; ls -ln built made\"\nlauncher = \"none\"\n";
    for umask in ["0000", "0002", "0022", "0077"] {
        let project = project(settings);
        let hpc_ci = here(&project, &["--scheduler", "local"]);
        let mut command = Command::new("bash");
        command.args(["-c", &format!("umask {umask}; exec \"$0\" \"$@\"")]);
        command.arg(hpc_ci.get_program()).args(hpc_ci.get_args());
        command.current_dir(&project.dir);
        for (name, value) in hpc_ci.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let ended = Ended::of(&project.dir, &command.output().unwrap()).exits_with(0);
        let text = std::fs::read_dir(project.dir.join("results/artifacts/tests")).unwrap();
        assert!(text.count() > 0, "{}", ended.err);
        let log = find(&project.dir.join("work/runs"), &["log.txt", "build.log"]);
        let said: String = log
            .iter()
            .map(|it| std::fs::read_to_string(it).unwrap())
            .collect();
        assert_eq!(
            said.matches(&format!("{umask}\n")).count(),
            2,
            "{umask}: {said}"
        );
        let rights = if umask == "0000" {
            "-rw-rw-rw-"
        } else {
            "-rw-"
        };
        assert_eq!(said.matches(rights).count(), 2, "{umask}: {said}");
        for folder in ["work", "state", "results"] {
            writable_by_others(&project.dir.join(folder), &mut |path| {
                panic!("{umask}: {}", path.display())
            });
        }
    }
}

/// Files of these names below a folder.
fn find(folder: &Path, names: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        if entry.file_type().unwrap().is_dir() {
            found.extend(find(&entry.path(), names));
        } else if names.iter().any(|name| entry.file_name() == *name) {
            found.push(entry.path());
        }
    }
    found
}

/// Tells of every file below a folder that others could write, which they cannot reach through a folder that is closed to them.
fn writable_by_others(path: &Path, tell: &mut dyn FnMut(&Path)) {
    let data = std::fs::symlink_metadata(path).unwrap();
    if data.is_symlink() {
        return;
    }
    // Builds make their files as the user's umask says.
    let is_built = path
        .file_name()
        .is_some_and(|it| it == "built" || it == "made");
    if data.mode() & 0o022 != 0 && !is_built {
        tell(path);
    }
    if data.is_dir() && data.mode() & 0o077 != 0 {
        for entry in std::fs::read_dir(path).unwrap().flatten() {
            writable_by_others(&entry.path(), tell);
        }
    }
}
