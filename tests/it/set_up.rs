//! Code of the project around its steps: set-up, shells, and variables that change them.

use std::fmt::Write as _;

use crate::support::{Ended, Home, Project};

/// How hpc-ci runs steps on this machine, and on the cluster.
const HERE: &[&str] = &["--tests-only", "--scheduler", "local"];
const THERE: &[&str] = &["--tests-only"];

fn how(home: Home) -> &'static [&'static str] {
    if home == Home::Here { HERE } else { THERE }
}

/// A step with an environment of its own.
fn step(name: &str, set_up: &str, command: &str) -> String {
    format!(
        "[[test]]\nname = \"{name}\"\ncommand = {command}\nenvironment = {{ setup = {set_up} }}\n"
    )
}

const FAILS: &str = "'exit 3'";
const PASSES: &str = "'exit 0'";

/// The project's files of `tests/data/set-up`, and what must become of a step that passes and one that fails behind each.
const FILES: &[(&str, &str, &str, &str)] = &[
    (
        "exit0",
        "launch_failed",
        "launch_failed",
        "`source ci/exit0.sh` with exit code 0",
    ),
    (
        "exit1",
        "launch_failed",
        "launch_failed",
        "error: no MPI found",
    ),
    (
        "fails",
        "launch_failed",
        "launch_failed",
        "conda: command not found",
    ),
    (
        "unset",
        "launch_failed",
        "launch_failed",
        "SCRATCH: is not set",
    ),
    ("strict", "passed", "failed", ""),
];

fn files(home: Home) -> (Project, String) {
    let project = Project::new(home);
    let mut text = "[scheduler]\ntime = \"1m\"\n".to_owned();
    for (file, ..) in FILES {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/set-up");
        let code = std::fs::read_to_string(format!("{folder}/{file}.sh")).unwrap();
        project.file(&format!("ci/{file}.sh"), &code);
        let set_up = format!("'source ci/{file}.sh'");
        text += &step(&format!("good-{file}"), &set_up, PASSES);
        text += &step(&format!("bad-{file}"), &set_up, FAILS);
    }
    (project, text)
}

fn files_say_what_they_are(home: Home) {
    let (project, text) = files(home);
    project.file("hpc.toml", &text);
    project.commit();
    let ended = project.run(how(home)).exits_with(1);
    for (file, good, bad, message) in FILES {
        for (step, expected) in [("good", good), ("bad", bad)] {
            let step = ended.step(&format!("{step}-{file}"));
            assert_eq!(step["outcome"], *expected, "{step:#}");
            if *expected == "launch_failed" {
                let told = step["message"].as_str().unwrap();
                assert!(told.contains(message), "{told}");
                assert!(told.contains(&format!("`source ci/{file}.sh`")), "{told}");
            }
        }
    }
    let told = ended.step("good-fails")["message"].clone();
    assert!(
        told.as_str().unwrap().contains("write `|| true` behind it"),
        "{told}"
    );
}

#[test]
fn a_set_up_that_ends_or_fails_starts_no_step() {
    files_say_what_they_are(Home::Here);
}

#[test]
fn cluster_a_set_up_that_ends_or_fails_starts_no_step() {
    files_say_what_they_are(Home::Cluster);
}

#[test]
fn a_set_up_that_ends_builds_nothing_and_is_no_fault_of_the_code() {
    for (set_up, said) in [
        ("exit 0", "`exit 0` with exit code 0"),
        ("echo nothing here >&2; false", "printed: nothing here"),
        ("set -e\nfalse\ntrue", "`false`"),
        ("exec true", "`exec true`"),
    ] {
        for place in ["here", "job"] {
            let home = if place == "job" {
                Home::Cluster
            } else {
                Home::Here
            };
            if place == "job" && set_up != "exit 0" {
                continue;
            }
            let project = Project::new(home);
            project.file(
                "hpc.toml",
                &format!(
                    "[environment]\nsetup = '''{set_up}'''\n[build.tests]\ncommand = 'touch made'\nwhere = \"{place}\"\n\
                     [scheduler]\ntime = \"1m\"\n[[test]]\nname = \"t\"\ncommand = 'true'\n"
                ),
            );
            project.commit();
            let ended = project.run(how(home)).exits_with(3);
            assert!(ended.err.contains(said), "{set_up}: {}", ended.err);
            let step = ended.step("t");
            assert_eq!(step["outcome"], "not_run", "{step:#}");
        }
    }
}

/// A command whose own exit code is the one that scripts of ours use says nothing of the environment.
#[test]
fn a_build_that_ends_with_125_is_the_fault_of_the_code() {
    let project = Project::new(Home::Here);
    project.file(
        "hpc.toml",
        "[build.tests]\ncommand = 'exit 125'\n[[test]]\nname = \"t\"\ncommand = 'true'\n",
    );
    project.commit();
    project.run(HERE).exits_with(1);
}

#[test]
fn a_set_up_adds_variables_and_raised_limits_and_nothing_else() {
    let project = Project::new(Home::Here);
    project.file(
        "ci/env.sh",
        "export FROM_FILE=\"a\nb\"\nunset GOES\ncd /\numask 0777\nulimit -S -n 512\nreturn 0\n",
    );
    project.file(
        "hpc.toml",
        &step(
            "t",
            r#"["""
                 source ci/env.sh
                 if true
                 then
                   declare -x DECLARED="it's"
                 fi
                 # a remark""", "false || true", "f() { exit 1; }; export -f f; export CDPATH=/", "ulimit -S -n 1024", "shopt -s expand_aliases", "trap 'exit 0' EXIT", "export LAST=1"]"#,
            r#"'''
            printf '<%s|%s|%s|%s|%s>\n' "$FROM_FILE" "${GOES-gone}" "$DECLARED" "${CDPATH-none}" "$LAST"
            printf '<%s %s %s>\n' "$PWD" "$(umask)" "$(ulimit -S -n)"
            if declare -F f; then exit 9; fi
            '''"#,
        ),
    );
    project.commit();
    let mut run = project.hpc_ci(HERE);
    run.env("GOES", "x");
    let ended = Ended::of(&project.dir, &limited(&mut run)).exits_with(0);
    let log = ended.log("t");
    assert!(log.contains("<a\nb|gone|it's|none|1>"), "{log}");
    assert!(
        log.contains("/build 0022 1024>") || log.contains(" 0022 1024>"),
        "{log}"
    );
    assert!(!log.contains("</ "), "{log}");
}

/// Runs a command whose soft limit of open files is low.
fn limited(command: &mut std::process::Command) -> std::process::Output {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let line = shell_words::join(words.map(|word| word.to_str().unwrap()));
    let mut limited = std::process::Command::new("bash");
    limited.args(["-c", &format!("umask 0022; ulimit -S -n 256; exec {line}")]);
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    limited
        .current_dir(command.get_current_dir().unwrap())
        .output()
        .unwrap()
}

/// Variables that change how shells work reach neither builds nor steps, from the caller or from the set-up.
#[test]
fn variables_that_change_shells_reach_no_script() {
    let project = Project::new(Home::Here);
    project.file("evil.sh", "echo EVIL; exit 0\n");
    project.file("elsewhere/sub/mark", "");
    project.file("sub/here", "");
    let looks = "'''if [ -n \"${ENV-}${BASH_ENV-}${CDPATH-}${GLOBIGNORE-}${TMOUT-}${POSIXLY_CORRECT-}${MAKEFLAGS-}\" ]; then exit 7; fi
        if declare -F false; then exit 8; fi; env | grep -E \"^(BASH_FUNC|BASH_ENV|SHELLOPTS|PS4)\" && exit 9; touch built; exit 0'''";
    project.file(
        "hpc.toml",
        &format!(
            "[build.tests]\ncommand = {looks}\n[[test]]\nname = \"fails\"\ncommand = 'false'\n[[test]]\nname = \"looks\"\ncommand = {looks}\n\
             [[test]]\nname = \"cwd\"\ncwd = \"sub\"\ncommand = '[ -e here ] && [ ! -e mark ]'\n{}",
            step("set-up", "\"source ci/own.sh\"", "'false'"),
        ),
    );
    let evil = project.dir.join("evil.sh");
    let evil = evil.to_str().unwrap();
    project.file(
        "ci/own.sh",
        &format!("export BASH_ENV={evil} ENV={evil} TMOUT=1\nfalse() {{ :; }}\nexport -f false\n"),
    );
    project.commit();
    let mut run = project.hpc_ci(HERE);
    run.env("BASH_ENV", evil)
        .env("ENV", evil)
        .env("CDPATH", project.dir.join("elsewhere"))
        .env("GLOBIGNORE", "*")
        .env("TMOUT", "1")
        .env("POSIXLY_CORRECT", "1")
        .env("PS4", "+")
        .env("SHELLOPTS", "noexec")
        .env("MAKEFLAGS", "n")
        .env("BASH_FUNC_false%%", "() { :; }")
        .env("BASH_FUNC_cd%%", "() { :; }");
    let ended = Ended::of(&project.dir, &run.output().unwrap()).exits_with(1);
    let outcomes = ["fails", "looks", "cwd", "set-up"].map(|step| ended.outcome(step).0);
    assert_eq!(
        outcomes,
        ["failed", "passed", "passed", "failed"],
        "{}",
        ended.err
    );
}

/// A line of shell ends with the first command that fails, and a pipe fails with any of its parts.
#[test]
fn a_line_of_shell_fails_with_its_first_failure() {
    let project = Project::new(Home::Here);
    let line = |name: &str, keys: &str| format!("[[test]]\nname = \"{name}\"\n{keys}\n");
    project.file(
        "hpc.toml",
        &[
            line("first", "command = 'false; true'"),
            line("lines", "command = '''\nfalse\ntrue\n'''"),
            line("pipe", "command = 'false | cat'"),
            line("before", "command = 'true'\nbefore = 'false; true'"),
            line("after", "command = 'true'\nafter = 'false | true'"),
            line("out", "command = 'set +eo pipefail; false; false | true'"),
            line("list", "command = ['bash', '-c', 'false; true']"),
            line(
                "handled",
                "command = 'if false; then exit 4; fi; false || true; ! false'",
            ),
        ]
        .concat(),
    );
    project.commit();
    let ended = project.run(HERE).exits_with(1);
    for (step, expected) in [
        ("first", "failed"),
        ("lines", "failed"),
        ("pipe", "failed"),
        ("before", "failed"),
        ("after", "failed"),
        ("out", "passed"),
        ("list", "passed"),
        ("handled", "passed"),
    ] {
        assert_eq!(ended.outcome(step).0, expected, "{step}");
    }
    project.file(
        "hpc.toml",
        "[build.tests]\ncommand = 'false; touch made'\n[[test]]\nname = \"t\"\ncommand = 'true'\n",
    );
    project.commit();
    project.run(HERE).exits_with(1);
}

/// A hanging set-up is the fault of what surrounds the code, and is ended with all that it started.
#[test]
fn a_set_up_that_is_interrupted_cancels_the_step() {
    let project = Project::new(Home::Here);
    project.file(
        "hpc.toml",
        &step("t", "'touch ../../../waits; sleep 1000'", "'true'"),
    );
    project.commit();
    let mut child = project.start(HERE);
    crate::support::until(|| project.dir.join("hpc-ci/waits").exists().then_some(()));
    crate::support::signal(&child, nix::sys::signal::Signal::SIGINT);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let ended = Ended::of(&project.dir, &child.wait_with_output().unwrap());
    assert_eq!(ended.outcome("t").0, "cancelled");
}

/// Blocks that a set-up is made of, and whether a set-up of such blocks alone reaches its end.
const BLOCKS: &[(&str, bool)] = &[
    ("set -e", true),
    ("set -u", true),
    ("set -o pipefail", true),
    ("set -euo pipefail", true),
    ("set -x", true),
    ("set -f", true),
    ("set -a", true),
    ("set +o posix", true),
    ("set -o noclobber", true),
    ("set -m", true),
    ("shopt -s nullglob extglob", true),
    ("shopt -s expand_aliases; alias exit=true", true),
    ("shopt -s failglob", true),
    ("trap 'exit 0' EXIT", true),
    ("trap '' TERM INT HUP", true),
    ("trap 'exit 0' TERM", true),
    ("trap : ERR", true),
    ("trap : DEBUG", true),
    ("hpc_ci_finish() { exit 0; }", true),
    ("hpc_ci_bounded() { :; }", true),
    ("wait() { return 0; }; export -f wait", true),
    ("printf() { :; }; export -f printf", false),
    ("cd() { :; }; export -f cd", true),
    ("false() { true; }; export -f false", true),
    ("bash() { :; }; export -f bash", true),
    ("eval() { :; }", false),
    ("exec >/dev/null", true),
    ("exec 2>&1", true),
    ("exec 3>&- 4>&-", true),
    ("exec </dev/null", true),
    ("exec true", false),
    ("exec false", false),
    ("exit 0", false),
    ("exit 1", false),
    ("return 0", true),
    ("return 3", false),
    ("cd /", true),
    ("cd /tmp && pushd / >/dev/null", true),
    ("unset HOME", true),
    ("unset PATH HPC_CI_OUT HPC_CI_STEP_DIR hpc_ci_code", false),
    ("export PATH=/nowhere", false),
    ("export LD_LIBRARY_PATH=/nowhere", true),
    ("IFS=:", true),
    ("export IFS=0", true),
    ("hpc_ci_code=0 hpc_ci_refused= hpc_ci_limit=0", true),
    (
        "export hpc_ci_code=0 hpc_ci_limit=0 HPC_CI_OUT=/nowhere HPC_CI_STEP_DIR=/",
        true,
    ),
    ("readonly hpc_ci_code=0 hpc_ci_time=0", false),
    ("export BASH_ENV=/nowhere ENV=/nowhere", true),
    ("export CDPATH=/:/tmp TMOUT=1 GLOBIGNORE='*'", true),
    ("export POSIXLY_CORRECT=1", true),
    (": \"${NOT_SET_ANYWHERE:?is not set}\"", false),
    ("sleep 1000 &", true),
    ("(exit 3) || true", true),
    ("(exit 3)", false),
    ("false", false),
    ("true", true),
    ("export GOOD=1 OMP_NUM_THREADS=1", true),
    ("set -n", false),
    ("kill -TERM $$", false),
    ("umask 077", true),
    ("ulimit -S -c 0", true),
    ("if [ -n \"${NOT_SET:-}\" ]; then exit 1; fi", true),
    ("echo 'not ok'; echo noise >&2", true),
];

/// Steps that pass and that fail, in the shapes that steps have.
const STEPS: &[(&str, bool)] = &[
    ("command = 'exit 0'", true),
    ("command = ['true']", true),
    ("command = 'true'\nranks = 2", true),
    ("command = 'true'\nbefore = 'true'\nafter = 'true'", true),
    ("command = 'exit 3'", false),
    ("command = ['false']", false),
    ("command = 'false; true'", false),
    ("command = 'kill -KILL $$'", false),
    ("command = 'exit $HPC_CI_RANK'\nranks = 2", false),
    ("command = 'true'\nbefore = 'exit 4'", false),
    ("command = 'true'\nafter = 'exit 5'", false),
    ("command = 'exit 3'\nlauncher = 'none'", false),
    ("command = 'true'\nlauncher = 'none'", true),
];

struct Case {
    blocks: Vec<&'static (&'static str, bool)>,
    in_file: bool,
    step: &'static (&'static str, bool),
}

fn cases(count: usize, seed: u64) -> Vec<Case> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut below = move |most: usize| random.usize(..most);
    let mut case = |number: usize| Case {
        // Each block once on its own, then by chance.
        blocks: match number.checked_sub(BLOCKS.len()) {
            None => vec![&BLOCKS[number]],
            Some(_) => (0..=below(4))
                .map(|_| &BLOCKS[below(BLOCKS.len())])
                .collect(),
        },
        in_file: below(2) == 0,
        step: &STEPS[below(STEPS.len())],
    };
    (0..count).map(&mut case).collect()
}

/// Runs many steps behind set-ups made of blocks, and holds their outcomes against what they do.
fn no_set_up_changes_an_outcome(home: Home, count: usize, seed: u64) {
    let cases = cases(count, seed);
    let mut passed = 0;
    for (part, cases) in cases.chunks(60).enumerate() {
        let project = Project::new(home);
        let mut text = "[scheduler]\ntime = \"1m\"\n".to_owned();
        for (number, case) in cases.iter().enumerate() {
            let lines: Vec<&str> = case.blocks.iter().map(|block| block.0).collect();
            let set_up = if case.in_file {
                project.file(&format!("ci/{number}.sh"), &(lines.join("\n") + "\n"));
                vec![format!("source ci/{number}.sh")]
            } else {
                lines.iter().map(|line| (*line).to_owned()).collect()
            };
            let set_up = serde_json::to_string(&set_up).unwrap();
            writeln!(
                text,
                "[[test]]\nname = \"{number}\"\nenvironment = {{ setup = {set_up} }}\n{}",
                case.step.0
            )
            .unwrap();
        }
        project.file("hpc.toml", &text);
        project.commit();
        let ended = project.run(how(home));
        for (number, case) in cases.iter().enumerate() {
            let step = ended.step(&number.to_string());
            let outcome = step["outcome"].as_str().unwrap();
            let lines: Vec<&str> = case.blocks.iter().map(|block| block.0).collect();
            let what = format!(
                "seed {seed}, part {part}: {lines:?} in a file: {}, step {:?}: {step:#}",
                case.in_file, case.step.0
            );
            // `return` outside of a file is an error of its own, and with `set -e` a failure that was meant ends a file.
            let is_clear = case.blocks.iter().all(|block| block.1)
                && (case.in_file || !lines.iter().any(|line| line.starts_with("return")));
            match (case.step.1, is_clear) {
                (true, true) => assert_eq!(outcome, "passed", "{what}"),
                (true, false) => assert!(["passed", "launch_failed"].contains(&outcome), "{what}"),
                (false, true) => assert!(["failed", "signal"].contains(&outcome), "{what}"),
                (false, false) => {
                    assert!(
                        ["failed", "signal", "launch_failed"].contains(&outcome),
                        "{what}"
                    );
                }
            }
            passed += usize::from(outcome == "passed");
        }
    }
    assert!(passed * 8 > count, "{passed} of {count} passed");
}

fn cases_of(normal: usize) -> usize {
    if std::env::var_os("HPC_CI_FULL").is_some() {
        500
    } else {
        normal
    }
}

#[test]
fn no_set_up_changes_what_a_step_is() {
    no_set_up_changes_an_outcome(Home::Here, cases_of(24), 1);
}

#[test]
fn cluster_no_set_up_changes_what_a_step_is() {
    no_set_up_changes_an_outcome(Home::Cluster, cases_of(BLOCKS.len()), 2);
}

#[test]
fn hpc_toml_sets_no_variable_that_changes_shells() {
    let project = Project::new(Home::Here);
    project.file(
        "hpc.toml",
        "[environment]\nvariables = { BASH_ENV = \"x\" }\n[[test]]\nname = \"t\"\ncommand = 'true'\n",
    );
    project.commit();
    let ended = project.run(HERE).exits_with(2);
    assert!(
        ended.err.contains("changes how shells work"),
        "{}",
        ended.err
    );
}

/// All modules must be loaded in the end, whatever a later one or a set-up line does.
#[test]
fn a_module_that_something_else_unloads_is_noticed() {
    let project = Project::new(Home::Here);
    project
        .file("modules/a/1", "#%Module\nsetenv A 1\n")
        .file("modules/b/1", "#%Module\nmodule unload a\nsetenv B 1\n")
        .file("modules/c/1", "#%Module\nsetenv C 1\n");
    let modules = project.dir.join("modules");
    let step = |name: &str, modules: &str, set_up: &str| {
        format!(
            "[[test]]\nname = \"{name}\"\ncommand = 'env'\nenvironment = {{ modules = {modules}, setup = {set_up} }}\n"
        )
    };
    project.file(
        "hpc.toml",
        &[
            format!("[environment]\nuse = [\"{}\"]\n", modules.display()),
            step("well", r#"["a", "c"]"#, "[]"),
            step("order", r#"["b", "a"]"#, "[]"),
            step("lost", r#"["a", "c", "b"]"#, "[]"),
            step("line", r#"["a", "c"]"#, "'module unload a'"),
            step("none", r#"["a", "nothing"]"#, "[]"),
        ]
        .concat(),
    );
    project.commit();
    let ended = project.run(HERE).exits_with(3);
    for (step, outcome, message) in [
        ("well", "passed", ""),
        ("order", "launch_failed", "module `a` did not load"),
        (
            "lost",
            "launch_failed",
            "module `a` is not loaded any more once `b` was loaded",
        ),
        (
            "line",
            "launch_failed",
            "module `a` is not loaded any more after the set-up lines",
        ),
        ("none", "launch_failed", "module `nothing` did not load"),
    ] {
        let step = ended.step(step);
        assert_eq!(step["outcome"], outcome, "{step:#}");
        let told = step["message"].as_str().unwrap_or_default();
        assert!(told.contains(message), "{told}");
    }
    assert!(ended.log("well").contains("C=1"));
}

/// It has a minute more than the step has, so that only the full tests wait for it.
#[test]
fn a_set_up_that_hangs_is_stopped_and_told() {
    if std::env::var_os("HPC_CI_FULL").is_none() {
        return;
    }
    let project = Project::new(Home::Here);
    project.file(
        "hpc.toml",
        &format!(
            "[scheduler]\ntime = \"1s\"\n{}",
            step("t", r#"["echo loading", "sleep 1000"]"#, "'true'")
        ),
    );
    project.commit();
    let ended = project.run(HERE).exits_with(3);
    let step = ended.step("t");
    assert_eq!(step["outcome"], "launch_failed", "{step:#}");
    assert_eq!(
        step["message"],
        "the set-up took longer than the step's `time` and a minute: the set-up was stopped in its line `sleep 1000`. It printed: loading"
    );
    assert!(
        !ended.log("t").contains("set-up-code"),
        "{}",
        ended.log("t")
    );
}
