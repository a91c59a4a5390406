//! What a run shows while it goes on: on a terminal, in a log, under GitLab, to programs.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::local::{here, project, run, verb};
use crate::support::terminal::Terminal;
use crate::support::{Ended, Project, schema, signal, until};

/// A step that runs until a file lies beside the project, one that fails, and some more.
const STEPS: &str = r#"
[build.tests]
command = "true"
[[test]]
name = "fails"
command = "exit 3"
[[test]]
name = "passes"
command = "true"
[[test]]
name = "stays"
command = 'until test -e "$GO"; do sleep 0.02; done'
needs = ["passes"]
[[test]]
name = "comes later"
command = "true"
needs = ["stays"]
"#;

/// hpc-ci on a terminal, with colour as it comes.
fn on_terminal(project: &Project) -> Command {
    let mut command = here(project, &["--scheduler", "local"]);
    let go = project.dir.with_file_name("go");
    command.env("TERM", "xterm-256color").env("GO", go);
    command
}

fn is_in_the_middle(text: &str) -> bool {
    text.contains("2/4 done · 1 not passed · 1 running · 1 waiting")
}

fn go(project: &Project) {
    std::fs::write(project.dir.with_file_name("go"), "").unwrap();
}

/// The events of a run, each of which must be as its schema says.
#[track_caller]
fn events(text: &str) -> Vec<Value> {
    let read = |line| {
        let event = serde_json::from_str::<Value>(line).unwrap();
        schema::check("event", &event);
        event
    };
    text.lines().map(read).collect()
}

#[test]
fn a_terminal_shows_the_steps_by_state() {
    let project = project(STEPS);
    let terminal = Terminal::start(&mut on_terminal(&project), 24, 80);
    let text = terminal.until("one step runs, one waits", is_in_the_middle);
    let above: Vec<&str> = text.split("RUNNING").collect();
    assert!(above[0].contains("failed    fails"), "{text}");
    assert!(above[0].contains("passed    passes"), "{text}");
    assert!(above[1].contains("stays"), "{text}");
    assert!(above[1].contains("of 10:00"), "elapsed of its time: {text}");
    assert!(above[1].contains("not submitted yet  1"), "{text}");
    terminal.until("the cursor rests below", |_| terminal.cursor().1 == 0);

    // Time goes by although nothing happens.
    let later = |text: &str| text.contains(" of 10:00") && !text.contains("0:00 of 10:00");
    terminal.until("a second is over", later);
    terminal.resize(24, 30);
    let narrow = terminal.until("columns are left out", |text| {
        text.contains("RUNNING 1") && !text.contains("JOB")
    });
    assert!(narrow.contains("stays"), "{narrow}");
    go(&project);
    let (status, text, cursor) = terminal.end();
    assert_eq!(status.code(), Some(1), "{text}");
    assert!(!text.contains("RUNNING"), "{text}");
    assert!(!text.contains("not submitted yet"), "{text}");
    assert!(text.contains("FAILED"), "the summary is there: {text}");
    assert_eq!(cursor.1, 0, "{text}");
}

#[test]
fn ctrl_c_leaves_the_terminal_in_order() {
    let project = project(STEPS);
    let mut terminal = Terminal::start(&mut on_terminal(&project), 50, 80);
    terminal.until("one step runs, one waits", is_in_the_middle);
    terminal.type_in(b"\x03");
    terminal.until("it is told", |text| text.contains("stopping"));
    let (status, text, cursor) = terminal.end();
    assert_eq!(status.code(), Some(130), "{text}");
    assert!(!text.contains("RUNNING"), "{text}");
    assert!(text.contains("cancelled"), "{text}");
    assert_eq!(cursor.1, 0, "{text}");
}

#[test]
fn a_terminal_is_in_order_even_after_kill_9() {
    let project = project(STEPS);
    let terminal = Terminal::start(&mut on_terminal(&project), 24, 80);
    terminal.until("one step runs, one waits", is_in_the_middle);
    assert!(!terminal.raw().contains("\u{1b}[?"), "no mode is changed");
    signal(terminal.child(), Signal::SIGKILL);
    go(&project);
    let (_, text, (row, column)) = terminal.end();
    let rows: Vec<&str> = text.lines().collect();
    assert_eq!(column, 0, "a prompt begins its line: {text}");
    assert!(rows[usize::from(row) - 1].contains("2/4 done"), "{text}");
}

#[test]
fn who_waits_sees_what_the_driver_of_a_run_does() {
    let project = project(STEPS);
    let go_file = project.dir.with_file_name("go");
    let mut driver = here(&project, &["--scheduler", "local"])
        .env("GO", &go_file)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until(|| {
        let runs = std::fs::read_dir(project.dir.join("hpc-ci/runs")).ok()?;
        let mut runs = runs.map(|run| run.unwrap().path().join("journal.jsonl"));
        let journal = runs.find_map(|journal| std::fs::read_to_string(journal).ok())?;
        let mut submitted = journal
            .lines()
            .filter(|line| line.contains("\"submitted\""));
        submitted.any(|line| line.contains("stays")).then_some(())
    });
    let mut wait = here(&project, &["wait"]);
    wait.env("TERM", "xterm-256color");
    let terminal = Terminal::start(&mut wait, 24, 100);
    let text = terminal.until("the step that stays runs", |text| {
        text.contains("RUNNING 1") && text.contains("1 running · 1 waiting")
    });
    assert!(text.contains("of 4 steps have ended"), "{text}");
    assert!(text.contains("of 10:00"), "elapsed of its time: {text}");
    assert!(text.contains("not submitted yet  1"), "{text}");
    let log = std::thread::scope(|scope| {
        let resume = scope.spawn(|| verb(&project, &["resume"]));
        std::fs::write(&go_file, "").unwrap();
        resume.join().unwrap()
    });
    let (status, text, _) = terminal.end();
    assert_eq!(status.code(), Some(1), "{text}");
    for step in ["stays", "comes later"] {
        assert!(text.contains(&format!("passed    {step}")), "{text}");
    }
    assert_eq!(driver.wait().unwrap().code(), Some(1));
    let log = log.exits_with(1);
    assert!(log.err.contains("fails"), "{}", log.err);
}

#[test]
fn a_dumb_terminal_gets_plain_lines() {
    let project = project("[[test]]\nname = \"passes\"\ncommand = \"true\"\n");
    for term in ["dumb", ""] {
        let mut command = on_terminal(&project);
        command.env("TERM", term).env_remove("NO_COLOR");
        let terminal = Terminal::start(&mut command, 24, 200);
        terminal.until("it passes", |text| text.contains("passed    passes"));
        let screen = terminal.raw();
        assert!(!screen.contains('\u{1b}'), "{screen:?}");
        let (status, text, _) = terminal.end();
        assert!(status.success(), "{text}");
        let line = text.lines().find(|line| line.contains("passed    passes"));
        let time = line.unwrap().split(' ').next().unwrap();
        chrono::DateTime::parse_from_rfc3339(time).unwrap();
    }
}

#[test]
fn a_log_has_a_time_and_every_step() {
    let project = project(STEPS);
    go(&project);
    let mut command = on_terminal(&project);
    let ended = Ended::of(&project.dir, &command.output().unwrap()).exits_with(1);
    for line in [
        "build tests",
        "steps",
        "queued    stays",
        "passed    stays",
        "failed    fails",
    ] {
        let found = ended.err.lines().find(|shown| shown.contains(line));
        let found = found.unwrap_or_else(|| panic!("no `{line}` in {}", ended.err));
        let time = found.split(' ').next().unwrap();
        chrono::DateTime::parse_from_rfc3339(time).unwrap();
    }
    assert!(!ended.err.contains('\u{1b}'), "{:?}", ended.err);
}

/// Checks that the sections of a log are opened and closed in order, and returns how often each was.
#[track_caller]
fn sections(log: &str) -> BTreeMap<String, usize> {
    let mut open: Vec<&str> = Vec::new();
    let mut seen = BTreeMap::new();
    for (at, _) in log.match_indices("\u{1b}[0Ksection_") {
        let mark = &log[at + "\u{1b}[0Ksection_".len()..];
        let mark = &mark[..mark.find("\r\u{1b}[0K").expect("a mark has its end")];
        let parts: Vec<&str> = mark.split(':').collect();
        let name = parts[2].split('[').next().unwrap();
        assert!(parts[1].parse::<u64>().unwrap() > 1_700_000_000, "{mark}");
        match parts[0] {
            "start" => {
                open.push(name);
                *seen.entry(name.to_owned()).or_insert(0) += 1;
            }
            "end" => assert_eq!(open.pop(), Some(name), "{log:?}"),
            other => panic!("`{other}` in {log:?}"),
        }
    }
    assert_eq!(open, Vec::<&str>::new(), "left open: {log:?}");
    // Nothing else may look like a mark.
    assert_eq!(
        log.matches("\r\u{1b}[0K").count(),
        2 * seen.values().sum::<usize>()
    );
    seen
}

#[test]
fn sections_of_gitlab_are_closed_whatever_happens() {
    let in_gitlab = |project: &Project| {
        let mut command = on_terminal(project);
        command.env("GITLAB_CI", "true");
        command
    };
    let names = |log: &str| sections(log).into_keys().collect::<Vec<_>>();
    let project = project(STEPS);
    go(&project);
    let ended = Ended::of(&project.dir, &in_gitlab(&project).output().unwrap()).exits_with(1);
    assert_eq!(
        names(&ended.err),
        [
            "hpc-ci_build_tests",
            "hpc-ci_checkout_tests",
            "hpc-ci_steps"
        ]
    );
    let summary = ended.err.rsplit("section_end").next().unwrap();
    assert!(summary.contains("FAILED"), "below all sections: {summary}");

    let broken = crate::local::project(
        "[build.tests]\ncommand = \"exit 1\"\n[[test]]\nname = \"a\"\ncommand = \"true\"\n",
    );
    let ended = Ended::of(&broken.dir, &in_gitlab(&broken).output().unwrap()).exits_with(1);
    assert!(names(&ended.err).contains(&"hpc-ci_build_tests".to_owned()));

    for steps in [
        STEPS,
        "[build.tests]\ncommand = \"sleep 600\"\n[[test]]\nname = \"a\"\ncommand = \"true\"\n",
    ] {
        let project = crate::local::project(steps);
        let child = in_gitlab(&project)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A step, or a build, is at work.
        let begun = Instant::now();
        let is_there = |folder: &str| {
            let runs = std::fs::read_dir(project.dir.join("hpc-ci/runs"));
            let mut runs = runs.into_iter().flatten().flatten();
            runs.any(|run| run.path().join(folder).exists())
        };
        while !is_there("builds/tests/build") && !is_there("steps/stays") {
            assert!(begun.elapsed() < Duration::from_mins(1), "nothing began");
            std::thread::sleep(Duration::from_millis(20));
        }
        signal(&child, Signal::SIGTERM);
        let ended = Ended::of(&project.dir, &child.wait_with_output().unwrap()).exits_with(143);
        assert!(!names(&ended.err).is_empty());
    }
}

#[test]
fn programs_are_told_what_happens_and_at_last_the_results() {
    let project = project(
        "[build.tests]\ncommand = \"true\"\n[[test]]\nname = \"passes\"\ncommand = \"sleep 2\"\nranks = 1\n\
         [[test]]\nname = \"flaky\"\ncommand = 'test $HPC_CI_ATTEMPT = 2'\nretries = 1\nlauncher = \"none\"\n\
         [[test]]\nname = \"fails\"\ncommand = \"exit 3\"\nlauncher = \"none\"\n",
    );
    let ended = run(&project, &["--format", "json"]).exits_with(1);
    let told = events(&ended.out);
    let names: Vec<&str> = told.iter().filter_map(|it| it["event"].as_str()).collect();
    for name in [
        "run",
        "steps",
        "stage_started",
        "step_queued",
        "step_started",
    ] {
        assert!(names.contains(&name), "{name}: {names:?}");
    }
    let of = |name: &str, key: &str, value: &str| -> Vec<&Value> {
        let is = |event: &&Value| event["event"] == name && event[key] == value;
        told.iter().filter(is).collect()
    };
    for stage in ["checkout", "build", "steps"] {
        assert_eq!(of("stage_started", "stage", stage).len(), 1, "{stage}");
        let over = of("stage_ended", "stage", stage);
        assert_eq!(over[0]["good"], true, "{over:?}");
        assert!(over[0]["elapsed_seconds"].is_number(), "{over:?}");
    }
    let again = of("step_again", "step", "flaky");
    assert_eq!((again.len(), &again[0]["attempt"]), (1, &1.into()));
    let flaky = of("step_ended", "step", "flaky");
    assert_eq!(flaky[0]["flaky"], true, "{flaky:?}");
    assert_eq!(flaky[0]["attempt"], 2, "{flaky:?}");
    let failed = of("step_ended", "step", "fails");
    assert_eq!(failed[0]["outcome"], "failed", "{failed:?}");
    assert_eq!(of("step_started", "step", "passes")[0]["ranks"], 1);
    let last = told.last().unwrap();
    assert_eq!(
        (&last["event"], &last["exit_code"]),
        (&"results".into(), &1.into())
    );
    for (key, value) in ended.json("hpc-results.json").as_object().unwrap() {
        assert_eq!(&last[key], value, "{key}");
    }

    let again = verb(&project, &["resume", "--format", "json"]).exits_with(1);
    let again = events(&again.out);
    assert_eq!(again.len(), 1, "{again:?}");
    assert_eq!(again[0]["status"], "failed");
}

#[test]
fn programs_are_told_why_nothing_was_done() {
    let project = project("[[test]]\nname = \"a\"\ncommand = \"true\"\n");
    let ended = run(&project, &["--format", "json", "no-such-step"]).exits_with(2);
    let told = events(&ended.out);
    let last = told.last().unwrap();
    assert_eq!(
        (&last["event"], &last["exit_code"]),
        (&"error".into(), &2.into())
    );
    assert!(
        last["message"].as_str().unwrap().contains("no-such-step"),
        "{last}"
    );
    run(&project, &["--format", "json"]).exits_with(0);
    let ended = run(&project, &["--format", "json", "--if-new"]).exits_with(0);
    let told = events(&ended.out);
    let note = told.last().unwrap();
    assert_eq!(note["event"], "note");
    assert!(
        note["message"].as_str().unwrap().contains("already"),
        "{note}"
    );
}
