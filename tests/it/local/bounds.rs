//! Steps that write without end: the driver reads as much as its limits say, holds little of it, and tells what it cut.

use std::time::Duration;

use super::{here, project};
use crate::support::bounds::bounded;
use crate::support::tools::full;
use crate::support::{Ended, Project};

/// The most memory that the driver may take for what a step writes.
const MOST_MIB: u64 = 256;

/// A step that writes `report.xml`, or what else its command says.
struct Row {
    name: &'static str,
    /// Its `results`, and what else stands in its table.
    keys: &'static str,
    command: String,
    /// How it ends, and what is said of it.
    outcome: &'static str,
    says: &'static str,
}

fn rows() -> Vec<Row> {
    let junit = "results = { format = \"junit\", path = \"report*.xml\" }";
    let tap = "results = { format = \"tap\" }";
    let row = |name, keys, command: &str, outcome, says| Row {
        name,
        keys,
        command: command.to_owned(),
        outcome,
        says,
    };
    // A tenth of it as a rule: that is far beyond the limits too.
    let many = |full_size: u64| if full() { full_size } else { full_size / 10 };
    let mut rows = vec![
        row(
            "a long log of which nobody asked anything",
            "",
            &format!(
                "yes 'iteration 12: residual 1.5e-7' | head -c {}M",
                many(2500)
            ),
            "passed",
            "was not searched for tests: `max_log` of [scheduler.limits] is 67108864",
        ),
        row(
            "a long log with tests at its end",
            tap,
            &format!(
                "yes 'iteration 12: residual 1.5e-7' | head -c {}M; printf '1..1\\nok 1\\n'",
                many(2500)
            ),
            "lost",
            "its first 67108864 bytes hold no report",
        ),
        row(
            "tests without end",
            tap,
            &format!("echo 1..12000000; seq -f 'ok %.0f' {}", many(12_000_000)),
            "lost",
            "it has more than 100000 tests",
        ),
        row(
            "a failure before tests without end",
            tap,
            "echo not ok 1; seq -f 'ok %.0f' 2 300000",
            "failed",
            "",
        ),
        row(
            "messages without end",
            tap,
            "echo 1..1; echo ok 1; yes 'Bail out! no' | head -n 2000000",
            "lost",
            "bailed out",
        ),
        row(
            "words of tests without end",
            "results = { format = \"libtest\" }",
            "echo running 1 test; yes -- '---- a stdout ----' | head -n 2000000; echo 'test a ... ok'",
            "lost",
            "it has more than 100000 tests",
        ),
        row(
            "a sparse log",
            tap,
            "truncate -s 3G \"$HPC_CI_STEP_DIR/log.txt\"",
            "lost",
            "",
        ),
        row(
            "cases without end",
            junit,
            &format!(
                "(echo '<testsuite name=\"s\">'; yes '<testcase name=\"a\"/>' | head -n {}; echo '</testsuite>') >report.xml",
                many(6_000_000)
            ),
            "lost",
            "it has more than 100000 tests",
        ),
        row(
            "suites in suites without end",
            junit,
            "yes '<testsuite>' | head -n 3000000 >report.xml",
            "lost",
            "ends too early",
        ),
        row(
            "suites that all count too many",
            junit,
            "(echo '<testsuites>'; yes '<testsuite tests=\"5\"></testsuite>' | head -n 90000; echo '</testsuites>') >report.xml",
            "lost",
            "counts 5 tests, and 0 can be read",
        ),
        row(
            "attributes without end",
            junit,
            "(printf '<testsuite '; seq -f 'a%.0f=\"\"' 4000000 | tr '\\n' ' '; echo '><testcase name=\"a\"/></testsuite>') >report.xml",
            "lost",
            "",
        ),
        row(
            "sparse reports",
            junit,
            "for i in 1 2 3 4 5 6 7 8; do truncate -s 3G report$i.xml; done",
            "lost",
            "hold no report",
        ),
        row(
            "reports without end",
            junit,
            "seq -f 'report%.0f.xml' 20000 | xargs touch",
            "lost",
            "not all of its reports were kept: ",
        ),
    ];
    // Its script copies for a minute.
    if !full() {
        rows.retain(|row| row.name != "reports without end");
    }
    rows
}

fn toml(row: &Row) -> String {
    format!(
        "[[test]]\nname = \"step\"\nlauncher = \"none\"\ntime = \"5m\"\n{}\ncommand = '''\nset +o pipefail\n{}\n'''\n",
        row.keys, row.command
    )
}

/// Runs the project within the bounds.
#[track_caller]
fn run_within(project: &Project, limit: Duration, name: &str) -> Ended {
    let mut command = here(project, &["--scheduler", "local"]);
    let ran = bounded(&mut command, limit);
    assert!(
        ran.peak >> 20 < MOST_MIB,
        "{name}: {} MiB\n{}",
        ran.peak >> 20,
        ran.err
    );
    Ended::of_bounded(&project.dir, &ran)
}

#[test]
fn what_a_step_writes_without_end_is_cut_and_told() {
    let mut wrong = Vec::new();
    for row in rows() {
        let project = project(&toml(&row));
        let limit = Duration::from_mins(if full() { 5 } else { 2 });
        let ended = run_within(&project, limit, row.name);
        let (outcome, message) = ended.outcome("step");
        let told = ended.err.contains(row.says) || message.contains(row.says);
        if outcome != row.outcome || !told {
            wrong.push(format!("{}: {outcome} {message}\n{}", row.name, ended.err));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// A piece of an `hpc.toml`, by its number.
type Piece<'a> = &'a dyn Fn(usize) -> String;

/// Writes `hpc.toml` piece by piece, so that the test itself holds little.
fn settings(project: &Project, count: usize, piece: Piece<'_>) {
    use std::io::Write as _;
    let file = std::fs::File::create(project.dir.join("hpc.toml")).unwrap();
    let mut file = std::io::BufWriter::new(file);
    for number in 0..count {
        file.write_all(piece(number).as_bytes()).unwrap();
    }
    file.flush().unwrap();
}

#[test]
fn settings_take_no_more_than_they_are_worth() {
    let project = project("");
    let chain = |number: usize| {
        let before = number.saturating_sub(1);
        format!(
            "[[test]]\nname = \"s{number}\"\nlauncher = \"none\"\ncommand = \"true\"\n{}",
            if number > 0 {
                format!("needs = [\"s{before}\"]\n")
            } else {
                String::new()
            }
        )
    };
    let values = |count: usize| {
        (0..count)
            .map(|it| it.to_string())
            .collect::<Vec<_>>()
            .join(",")
    };
    let wide = values(99);
    let matrix = |number: usize| {
        format!(
            "[[test]]\nname = \"m{number}-{{i}}-{{j}}\"\nlauncher = \"none\"\ncommand = \"true\"\n\
             matrix = {{ i = [{wide}], j = [{wide}] }}\n"
        )
    };
    let too_large = "more than 2097152 bytes";
    let rows: [(&str, usize, Piece<'_>, i32, &str); 7] = [
        (
            "a chain that fits",
            if full() { 20_000 } else { 2_000 },
            &chain,
            0,
            "",
        ),
        ("a chain of 40,000 steps", 40_000, &chain, 2, too_large),
        (
            "120 MB of comments",
            120_000,
            &|_| "#".repeat(1000) + "\n",
            2,
            too_large,
        ),
        (
            "mistakes without end",
            200_000,
            &|number| format!("k{number}=1\n"),
            2,
            "unknown key",
        ),
        (
            "broken lines without end",
            100_000,
            &|_| "=\n".to_owned(),
            2,
            "hpc.toml:1",
        ),
        ("49,005 steps by matrices", 5, &matrix, 0, ""),
        ("58,806 steps by matrices", 6, &matrix, 2, "50000"),
    ];
    let mut wrong = Vec::new();
    for (name, count, piece, code, says) in rows {
        settings(&project, count, piece);
        let arguments = ["plan", "--list", "--in-place", "--scheduler", "local"];
        let ended = bounded(&mut here(&project, &arguments), Duration::from_mins(1));
        let mib = ended.peak >> 20;
        if ended.code != Some(code) || !ended.err.contains(says) || mib >= 512 {
            let said: String = ended.err.chars().take(2000).collect();
            wrong.push(format!("{name}: {:?}, {mib} MiB\n{said}", ended.code));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    // Scripts are printed as they are made.
    let some = if full() { 99 } else { 20 };
    settings(&project, 1, &|number| {
        matrix(number).replace(&format!("j = [{wide}]"), &format!("j = [{}]", values(some)))
    });
    for format in ["human", "json"] {
        let arguments = [
            "plan",
            "--format",
            format,
            "--in-place",
            "--scheduler",
            "local",
        ];
        let ended = bounded(&mut here(&project, &arguments), Duration::from_mins(2));
        assert_eq!(ended.code, Some(0), "{}", ended.err);
        ended.below(512);
    }
}
