//! Benchmarks of real programs, what they are compared with, and how they are remembered.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::local::{here, project, run};
use crate::support::tools::{full, python};
use crate::support::{Ended, Home, Project, schema};

const PROGRAMS: &str = r#"
[workspace]
state = "../state"
[build.benchmarks]
command = '''
mpicc -O2 tests/data/benchmarks/stream.c -o stream
mpicc -O2 tests/data/benchmarks/latency.c -o latency
'''
[[benchmark]]
name = "stream"
command = "./stream"
ranks = 2
repetitions = 3
valid = '^Solution Validates'
[[benchmark.metric]]
name = "copy"
pattern = '^Copy:\s+(\S+)'
unit = "MB/s"
better = "higher"
[[benchmark.metric]]
name = "time"
pattern = '^Copy:\s+\S+\s+(\S+)'
unit = "s"
[[benchmark]]
name = "latency"
command = "./latency"
ranks = 2
repetitions = 3
[[benchmark.metric]]
name = "1"
pattern = '^1\s+(\S+)$'
unit = "us"
[[benchmark.metric]]
name = "65536"
pattern = '^65536\s+(?<value>\S+)$'
unit = "us"
[[benchmark]]
name = "not valid"
command = "INVALID=1 ./stream"
repetitions = 1
warmup = 0
valid = '^Solution Validates'
metric = { pattern = '^Copy:\s+(\S+)', unit = "MB/s", better = "higher" }
[[benchmark]]
name = "not a number"
command = "NOT_A_NUMBER=1 ./latency"
ranks = 2
repetitions = 1
warmup = 0
metric = { pattern = '^256\s+(\S+)$', unit = "us" }
"#;

/// The metrics of a run.
#[track_caller]
fn metrics(run: &Ended) -> Value {
    run.json("artifacts/benchmarks/summary.json")["benchmarks"].clone()
}

/// The figures that a pattern finds in what each launch of a benchmark printed, as text.
#[track_caller]
fn printed(run: &Ended, step: &str, pattern: &str) -> Vec<String> {
    let summary = run.json("artifacts/benchmarks/summary.json");
    let steps = summary["steps"].as_array().unwrap();
    let step = steps.iter().find(|it| it["name"] == step).unwrap();
    let log = run.text(&format!(
        "artifacts/benchmarks/{}",
        step["log"].as_str().unwrap()
    ));
    let pattern = regex::RegexBuilder::new(pattern)
        .multi_line(true)
        .build()
        .unwrap();
    let after_warmup = log.split_once("--- sample 1 of").map_or(&*log, |it| it.1);
    let found = pattern.captures_iter(after_warmup);
    found.map(|found| found[1].to_owned()).collect()
}

/// Checks that programs in the manner of STREAM and OSU are measured to the last digit, and that what is wrong is an error.
pub(crate) fn check_programs(run: &Ended) {
    let found = metrics(run);
    for (metric, step, pattern) in [
        ("stream:copy", "stream", r"^Copy:\s+(\S+)"),
        ("stream:time", "stream", r"^Copy:\s+\S+\s+(\S+)"),
        ("latency:1", "latency", r"^1\s+(\S+)$"),
        ("latency:65536", "latency", r"^65536\s+(\S+)$"),
    ] {
        let expected = printed(run, step, pattern)
            .iter()
            .map(|text| text.parse::<f64>().unwrap())
            .collect::<Vec<_>>();
        assert_eq!(found[metric]["samples"], json!(expected), "{metric}");
        assert_eq!(expected.len(), 3, "{metric}");
        let mut sorted = expected;
        sorted.sort_by(f64::total_cmp);
        assert_eq!(found[metric]["median"], json!(sorted[1]), "{metric}");
        assert_eq!(found[metric]["interval"], Value::Null, "{metric}");
    }
    for (metric, why) in [
        (
            "not valid",
            "printed nothing that matches `^Solution Validates`",
        ),
        ("not a number", "which is not finite"),
    ] {
        let message = found[metric]["message"].as_str().unwrap();
        assert!(message.contains(why), "{message}");
        assert_eq!(found[metric]["median"], Value::Null);
        assert_eq!(found[metric]["status"], "error");
    }
    assert_eq!(
        run.json("hpc-results.json")["benchmarks"]["status"],
        "error"
    );
}

/// The project of [`check_programs`].
pub(crate) fn programs(home: Home) -> Project {
    let project = Project::new(home);
    project
        .file("hpc.toml", PROGRAMS)
        .copy("tests/data/benchmarks");
    project.commit();
    project
}

#[test]
fn programs_like_stream_and_osu() {
    let project = programs(Home::Here);
    let run = run(&project, &[]).exits_with(3).documents_are_valid();
    check_programs(&run);
}

/// Whether Google Benchmark is installed.
pub(crate) fn has_google_benchmark() -> bool {
    Path::new("/usr/include/benchmark/benchmark.h").exists()
}

/// The project of [`check_google`].
pub(crate) fn google(home: Home) -> Project {
    let project = Project::new(home);
    project.copy("tests/data/benchmarks").file(
        "hpc.toml",
        r#"
[workspace]
state = "../state"
[build.benchmarks]
command = "g++ -O2 tests/data/benchmarks/google.cpp -o google -lbenchmark -pthread"
[[benchmark]]
name = "file"
command = "./google --benchmark_min_time=0.01 --benchmark_out=out.json --benchmark_out_format=json"
repetitions = 2
warmup = 0
results = { format = "google-benchmark", path = "out.json" }
[[benchmark]]
name = "output"
command = "./google --benchmark_min_time=0.01 --benchmark_format=json"
repetitions = 1
warmup = 0
results = { format = "google-benchmark" }
"#,
    );
    project.commit();
    project
}

/// Checks that what Google Benchmark writes is taken to the last digit, and its own errors as such.
pub(crate) fn check_google(run: &Ended) {
    let found = metrics(run);
    for (step, launches) in [("file", 2), ("output", 1)] {
        for size in [8, 1024] {
            let time = &found[format!("{step}:BM_sum/{size}/repeats:3")];
            assert_eq!(
                time["samples"].as_array().unwrap().len(),
                3 * launches,
                "{found:#}"
            );
            assert_eq!(time["unit"], "ns");
            let rate = &found[format!("{step}:BM_sum/{size}/repeats:3:bytes_per_second")];
            assert_eq!(
                (&rate["unit"], &rate["better"]),
                (&json!("B/s"), &json!("higher"))
            );
        }
        let broken = &found[format!("{step}:BM_broken")];
        assert_eq!(
            broken["message"], "repetition 1 says: no device",
            "{found:#}"
        );
    }
    // Every digit that the program wrote: three repetitions of each size.
    for (figure, key) in [("", "real_time"), (":bytes_per_second", "bytes_per_second")] {
        let pattern = format!(r#"(?s)"run_type": "iteration",[^}}]*?"{key}": ([^,\s]+)"#);
        let log = printed(run, "output", &pattern);
        let figures = log.iter().map(|text| text.parse::<f64>().unwrap());
        let figures: Vec<f64> = figures.collect();
        for (size, wanted) in [8, 1024].iter().zip(figures.chunks(3)) {
            let name = format!("output:BM_sum/{size}/repeats:3{figure}");
            assert_eq!(found[&name]["samples"], json!(wanted), "{name}");
        }
    }
}

#[test]
fn google_benchmark_for_real() {
    if has_google_benchmark() {
        let project = google(Home::Here);
        let run = run(&project, &[]).exits_with(3).documents_are_valid();
        check_google(&run);
    }
}

#[test]
fn an_instrumented_benchmark_is_an_error() {
    let project = project(
        r#"
[workspace]
state = "../state"
[build.benchmarks]
command = '''
printf '#include <stdio.h>\nint main(void) { puts("t=1"); return 0; }\n' >p.c
clang -fprofile-instr-generate -fcoverage-mapping p.c -o instrumented
'''
[[benchmark]]
name = "behind a script"
command = "cd . && ./instrumented"
repetitions = 1
metric = { pattern = 't=(\d+)', unit = "s" }
"#,
    );
    let run = run(&project, &[]).exits_with(3);
    let message = metrics(&run)["behind a script"]["message"].clone();
    assert!(
        message.as_str().unwrap().contains("it is instrumented"),
        "{message}"
    );
}

#[test]
fn figures_of_other_tools_are_read_and_written() {
    let project = project(
        r#"
[workspace]
state = "../state"
[[benchmark]]
name = "bmf"
command = '''echo '{"solve":{"latency":{"value":1500000.5},"throughput":{"value":3}}}' '''
repetitions = 6
results = { format = "bmf" }
[[benchmark]]
name = "action"
command = '''echo '[{"name":"memory","unit":"MiB","value":12.5}]' >out.json'''
repetitions = 2
results = { format = "github-action-benchmark", path = "out.json" }
metric = [{ name = "memory", reference = { "*" = { value = 10, upper = 0.1 } } }, { name = "missing" }]
[[benchmark]]
name = "criterion"
command = '''
mkdir -p target/criterion/g/f/new
echo '{"sampling_mode":"Flat","iters":[2.0,4.0],"times":[10.0,24.0]}' >target/criterion/g/f/new/sample.json
'''
repetitions = 1
warmup = 0
results = { format = "criterion", path = "target/criterion/**/new/*.json" }
"#,
    );
    let run = run(&project, &[]).exits_with(1).documents_are_valid();
    let found = metrics(&run);
    assert_eq!(found["bmf:solve:latency"]["median"], 1_500_000.5);
    assert_eq!(found["bmf:solve:latency"]["median_ms"], 1.500_000_5);
    assert_eq!(found["bmf:solve:latency"]["interval"]["high"], 1_500_000.5);
    assert_eq!(found["bmf:solve:throughput"]["better"], "higher");
    assert_eq!(found["criterion:g/f"]["samples"], json!([5.0, 6.0]));
    assert_eq!(
        found["action:memory"]["normalised"],
        json!({"unit": "B", "median": 13_107_200.0})
    );
    assert_eq!(found["action:memory"]["status"], "failed");
    assert_eq!(found["action:memory"]["reference"]["high"], 11.0);
    assert_eq!(found["action:missing"]["status"], "error");
    let bmf = run.json("artifacts/benchmarks/bmf.json");
    assert_eq!(
        bmf["bmf:solve:latency"],
        json!({"latency": {"value": 1_500_000.5, "lower_value": 1_500_000.5, "upper_value": 1_500_000.5}})
    );
    assert_eq!(bmf["action:memory"]["size"]["value"], 13_107_200.0);
    let bigger = run.json("artifacts/benchmarks/bigger-is-better.json");
    assert_eq!(bigger[0]["name"], "bmf:solve:throughput");
    let smaller = run.json("artifacts/benchmarks/smaller-is-better.json");
    assert_eq!(smaller.as_array().unwrap().len(), 3, "{smaller:#}");
}

const SLEEPS: &str = r#"
[workspace]
state = "../state"
[[test]]
name = "test"
command = "true"
[[benchmark]]
name = "solver"
command = "cat figure"
repetitions = 6
metric = { pattern = 'time: ([0-9.]+) ms', unit = "ms" }
"#;

#[track_caller]
fn output(project: &Project, arguments: &[&str]) -> Ended {
    let output = here(project, arguments).output().unwrap();
    Ended::of(&project.dir, &output)
}

#[track_caller]
fn git(project: &Project, arguments: &[&str]) {
    let done = project.command("git").args(arguments).output().unwrap();
    assert!(done.status.success(), "{done:?}");
}

#[test]
fn a_slower_commit_is_compared_remembered_and_accepted() {
    let project = Project::new(Home::Here);
    project
        .file("hpc.toml", SLEEPS)
        .file("figure", "time: 100.5 ms\n");
    let first = project.commit();
    let run_first = run(&project, &[]).exits_with(0).documents_are_valid();
    assert_eq!(
        run_first.json("artifacts/benchmarks/summary.json")["worst_regression_pct"],
        Value::Null
    );
    git(&project, &["checkout", "-q", "-b", "feature"]);
    project.file("figure", "time: 130.65 ms\n");
    let second = project.commit();

    // The merge base with the default branch, 30 % faster. There is no gate yet, so that this does not change the exit code.
    let slower = run(&project, &[]).exits_with(0).documents_are_valid();
    let summary = slower.json("artifacts/benchmarks/summary.json");
    let solver = &summary["benchmarks"]["solver"];
    assert_eq!(summary["worst_regression_pct"], 30.0);
    assert_eq!(solver["delta_vs_baseline_pct"], 30.0);
    assert_eq!(solver["regressed"], true);
    assert_eq!(solver["baseline"]["commit"], first.as_str());
    assert_eq!(solver["baseline"]["source"], "merge_base");
    assert!(slower.err.contains("REGRESSED"), "{}", slower.err);

    let compared = output(&project, &["compare", "main", "HEAD", "--format", "json"]).exits_with(0);
    let compared: Value = serde_json::from_str(&compared.out).unwrap();
    schema::check("compare", &compared);
    assert_eq!(compared["worst_regression_pct"], 30.0);
    assert_eq!(compared["benchmarks"]["solver"][0]["verdict"], "regressed");
    let table = output(&project, &["compare", &first[..10], &second[..10]]).exits_with(0);
    assert!(table.out.contains("+30.0%  REGRESSED"), "{}", table.out);
    let trend = output(&project, &["trend", "--format", "json"]).exits_with(0);
    let trend: Value = serde_json::from_str(&trend.out).unwrap();
    schema::check("trend", &trend);
    assert_eq!(trend["runs"].as_array().unwrap().len(), 2);
    let table = output(&project, &["trend", "solver"]).exits_with(0);
    assert!(table.out.contains("130.65 ms"), "{}", table.out);

    output(&project, &["accept"]).exits_with(2);
    output(&project, &["accept", "--reason", " "]).exits_with(2);
    output(&project, &["accept", "nosuch", "--reason", "x"]).exits_with(2);
    let accepted = ["accept", "--reason", "time for memory", "--format", "json"];
    let accepted = output(&project, &accepted).exits_with(0);
    let lines: Value = serde_json::from_str(&accepted.out).unwrap();
    schema::check("history-baseline", &lines[0]);
    assert_eq!(lines[0]["reason"], "time for memory");
    assert_eq!(lines[0]["before"], Value::Null);

    let again = run(&project, &[]).exits_with(0);
    let summary = again.json("artifacts/benchmarks/summary.json");
    assert_eq!(summary["worst_regression_pct"], 0.0);
    let baseline = &summary["benchmarks"]["solver"]["baseline"];
    assert_eq!(baseline["commit"], second.as_str());
    assert_eq!(baseline["source"], "accepted");

    // A moved baseline and its reason stand where somebody wonders.
    let trend = output(&project, &["trend", "solver"]).exits_with(0);
    let baseline = format!("at {}, accepted ", &second[..10]);
    assert!(
        trend.out.contains(&baseline) && trend.out.contains(": time for memory"),
        "{}",
        trend.out
    );
    let trend = output(&project, &["trend", "--format", "json"]).exits_with(0);
    let trend: Value = serde_json::from_str(&trend.out).unwrap();
    schema::check("trend", &trend);
    assert_eq!(trend["accepted"], lines);

    // Asked for, another one counts; and never one of another key.
    let asked = run(&project, &["--baseline", "main"]).exits_with(0);
    let summary = asked.json("artifacts/benchmarks/summary.json");
    assert_eq!(summary["worst_regression_pct"], 30.0);
    let elsewhere = run(&project, &["--ranks", "2", "--baseline", "main"]).exits_with(0);
    let summary = elsewhere.json("artifacts/benchmarks/summary.json");
    assert_eq!(summary["worst_regression_pct"], Value::Null);
    let compared = output(
        &project,
        &["compare", "main", elsewhere_run(&elsewhere).as_str()],
    );
    assert!(
        compared.out.contains("not comparable: another ranks"),
        "{}",
        compared.out
    );

    let moved = output(
        &project,
        &[
            "accept", "--of", "main", "--reason", "back", "--format", "json",
        ],
    );
    let moved: Value = serde_json::from_str(&moved.exits_with(0).out).unwrap();
    assert_eq!(moved[0]["before"]["commit"], second.as_str());
    output(&project, &["compare", "main", "nosuch"]).exits_with(2);
}

/// Rows that a program skipped have times of 0, which are no measurement and no 100 % better.
#[test]
fn a_skipped_row_is_no_measurement() {
    let project = Project::new(Home::Here);
    project.copy("tests/data/benchmarks").file(
        "hpc.toml",
        r#"
[workspace]
state = "../state"
[[benchmark]]
name = "sample"
command = "cat tests/data/benchmarks/skipped.json"
repetitions = 2
warmup = 0
results = { format = "google-benchmark" }
[[benchmark]]
name = "all of it"
command = "sed 's/\"iterations\":908/\"skipped\":true,\"iterations\":0/' tests/data/benchmarks/skipped.json"
repetitions = 1
warmup = 0
results = { format = "google-benchmark" }
[[benchmark]]
name = "errors"
command = "echo errors: 0"
repetitions = 1
warmup = 0
metric = { pattern = 'errors: (\d+)', unit = "errors" }
"#,
    );
    project.commit();
    // What was skipped is no error, and no value either.
    let run_of = run(&project, &[]).exits_with(0).documents_are_valid();
    let found = metrics(&run_of);
    for metric in ["sample:axpy_gpu/1024", "all of it:axpy_gpu/1024"] {
        let record = &found[metric];
        assert_eq!(record["status"], "skipped", "{record:#}");
        assert_eq!(
            record["message"],
            "its program skipped it: no GPU on this node"
        );
        assert_eq!(
            (&record["median"], &record["samples"]),
            (&Value::Null, &json!([]))
        );
    }
    assert_eq!(
        found["sample:axpy/1024"]["samples"],
        json!([52000.0, 52000.0])
    );
    assert_eq!(found["errors"]["median"], 0.0);
    let said = "NO RUN  sample:axpy_gpu/1024  its program skipped it: no GPU on this node";
    assert!(run_of.err.contains(said), "{}", run_of.err);
    // A run in which all was skipped has measured nothing.
    let nothing = run(&project, &["all of it"]).exits_with(3);
    let results = nothing.json("hpc-results.json");
    assert_eq!(results["benchmarks"]["status"], "skipped");
    // And nothing is there to compare with, or to accept.
    let again = run(&project, &["--baseline", "main"]).exits_with(0);
    let summary = again.json("artifacts/benchmarks/summary.json");
    assert_eq!(summary["worst_regression_pct"], 0.0);
    let record = &summary["benchmarks"]["sample:axpy_gpu/1024"];
    assert_eq!(record["delta_vs_baseline_pct"], Value::Null);
    let refused = ["accept", "sample:axpy_gpu/1024", "--reason", "x"];
    output(&project, &refused).exits_with(2);
}

/// What is no measurement is an error with its reason, in every format, and a time of 0 never a median.
#[test]
fn a_time_of_0_is_an_error() {
    let google = r#"{"benchmarks":[{"name":"f","run_type":"iteration","time_unit":"ns","iterations":5,"real_time":0.0}]}"#;
    let figures = [
        ("google", "google-benchmark", "google:f", google, "has 0 ns"),
        (
            "bmf",
            "bmf",
            "bmf:f:latency",
            r#"{"f":{"latency":{"value":0}}}"#,
            "has 0 ns",
        ),
        (
            "action",
            "github-action-benchmark",
            "action:f",
            r#"[{"name":"f","unit":"ms/iter","value":-1}]"#,
            "has -1 ms/iter",
        ),
        (
            "criterion",
            "criterion",
            "criterion:f",
            "f  time:   [0.0 ns 0.0 ns 0.0 ns]",
            "has 0 ns",
        ),
    ];
    let mut toml = r#"
[workspace]
state = "../state"
[[benchmark]]
name = "pattern"
command = "echo time: 0.00 s"
repetitions = 1
warmup = 0
metric = { pattern = 'time: (\S+)', unit = "s" }
"#
    .to_owned();
    for (name, format, _, text, _) in figures {
        writeln!(
            toml,
            "[[benchmark]]\nname = \"{name}\"\nrepetitions = 1\nwarmup = 0\ncommand = '''echo '{text}' '''\n\
             results = {{ format = \"{format}\" }}"
        )
        .unwrap();
    }
    let project = project(&toml);
    let run = run(&project, &[]).exits_with(3).documents_are_valid();
    let found = metrics(&run);
    let pattern = ("pattern", "has 0 s");
    let others = figures.iter().map(|(_, _, metric, _, why)| (*metric, *why));
    for (metric, why) in others.chain([pattern]) {
        let record = &found[metric];
        let message = format!("repetition 1 {why}, which is no measurement");
        assert_eq!(record["message"], message, "{record:#}");
        assert_eq!(
            (&record["status"], &record["median"]),
            (&json!("error"), &Value::Null)
        );
    }
}

/// Earlier versions took skipped rows for 0 ns, and wrote them into the history and into accepted baselines.
#[test]
fn a_stored_0_is_never_compared_with() {
    let project = Project::new(Home::Here);
    project
        .file("hpc.toml", SLEEPS)
        .file("figure", "time: 80 ms\n");
    project.commit();
    run(&project, &[]).exits_with(0);
    project.file("figure", "time: 100 ms\n");
    let second = project.commit();
    run(&project, &[]).exits_with(0);
    let accept = ["accept", "--reason", "as it is"];
    output(&project, &accept).exits_with(0);
    // The second result, and what was accepted of it, as an earlier version would have written them.
    let history = project.dir.with_file_name("state").join("history");
    let mut changed = 0;
    for file in std::fs::read_dir(&history).unwrap() {
        let path = file.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let zero = text.replace("100.0", "0.0");
        changed += usize::from(zero != text);
        std::fs::write(&path, zero).unwrap();
    }
    assert_eq!(changed, 2, "{}", history.display());
    git(&project, &["checkout", "-q", "-b", "feature"]);
    project.file("figure", "time: 120 ms\n");
    let third = project.commit();
    for arguments in [&[][..], &["--baseline", &second[..10]]] {
        let run = run(&project, arguments).exits_with(0).documents_are_valid();
        let summary = run.json("artifacts/benchmarks/summary.json");
        let solver = &summary["benchmarks"]["solver"];
        assert_eq!(solver["median"], 120.0);
        assert_eq!(
            (
                &solver["delta_vs_baseline_pct"],
                &solver["baseline"],
                &solver["regressed"]
            ),
            (&Value::Null, &Value::Null, &json!(false)),
            "{solver:#}"
        );
        assert_eq!(summary["worst_regression_pct"], Value::Null);
    }
    let compared =
        output(&project, &["compare", &second, &third, "--format", "json"]).exits_with(0);
    let compared: Value = serde_json::from_str(&compared.out).unwrap();
    assert_eq!(
        compared["benchmarks"]["solver"][0]["verdict"],
        "not_comparable"
    );
    assert_eq!(compared["worst_regression_pct"], Value::Null);
    let trend = output(&project, &["trend", "solver"]).exits_with(0);
    assert!(
        trend.out.contains("no value") && !trend.out.contains("-100"),
        "{}",
        trend.out
    );
    let refused = ["accept", "solver", "--of", &second, "--reason", "x"];
    output(&project, &refused).exits_with(2);
}

/// Of Google Benchmark, 1.8 was the first to skip rows. Debian 12 has 1.7.
#[test]
fn rows_that_google_benchmark_skips_for_real() {
    if !full() {
        return;
    }
    let mut toml = "[workspace]\nstate = \"../state\"\n".to_owned();
    let versions = ["1.8.3", "1.9.5"];
    for version in versions {
        let bin = python(
            &format!("google-benchmark-{version}"),
            &format!("google-benchmark=={version}"),
        );
        writeln!(
            toml,
            "[[benchmark]]\nname = \"{version}\"\nrepetitions = 2\nwarmup = 0\n\
             command = \"{} tests/data/benchmarks/google_skip.py --benchmark_min_time=0.001s --benchmark_out=out.json \
             --benchmark_out_format=json\"\nserial = \"out\"\n\
             results = {{ format = \"google-benchmark\", path = \"out.json\" }}",
            bin.join("python").display()
        )
        .unwrap();
    }
    let project = Project::new(Home::Here);
    project
        .copy("tests/data/benchmarks")
        .file("hpc.toml", &toml);
    project.commit();
    let run = run(&project, &[]).exits_with(3).documents_are_valid();
    let found = metrics(&run);
    for version in versions {
        let of = |name: &str| &found[format!("{version}:{name}")];
        let samples = of("axpy")["samples"].as_array().unwrap().len();
        assert_eq!(samples, 2, "{found:#}");
        let skipped = of("axpy_gpu");
        assert_eq!(
            (&skipped["status"], &skipped["message"]),
            (
                &json!("skipped"),
                &json!("its program skipped it: no GPU on this node")
            )
        );
        assert_eq!(of("axpy_broken")["message"], "repetition 1 says: no device");
        assert_eq!(of("axpy_broken")["status"], "error");
    }
}

/// It said nothing and ended with 0.
#[test]
fn a_run_without_figures_cannot_be_accepted() {
    let project = project(
        "[[benchmark]]\nname = \"b\"\ncommand = \"echo t=nan\"\nrepetitions = 1\nmetric = { pattern = 't=(.*)', unit = \"s\" }\n",
    );
    run(&project, &[]).exits_with(3);
    let refused = output(&project, &["accept", "--reason", "x"]).exits_with(2);
    assert!(refused.err.contains("no metric of run"), "{}", refused.err);
}

fn elsewhere_run(run: &Ended) -> String {
    let runs = run.json("hpc-results.json")["runs"].clone();
    runs[0].as_str().unwrap().to_owned()
}

/// A shim of rustup without a toolchain answers with an error, which was taken for its version.
#[test]
fn what_a_tool_says_that_fails_is_no_version() {
    let project =
        project("[build.tests]\ncommand = \"true\"\n[[test]]\nname = \"t\"\ncommand = \"true\"\n");
    let shims = project.dir.with_file_name("shims");
    std::fs::create_dir(&shims).unwrap();
    for (name, text) in [
        ("rustc", "echo error: no toolchain >&2; exit 1"),
        (
            "mpicc",
            "echo; echo 'nvc 24.1-0 64-bit target on x86-64 Linux'",
        ),
    ] {
        let shim = shims.join(name);
        std::fs::write(&shim, format!("#!/bin/sh\n{text}\n")).unwrap();
        let done = project.command("chmod").arg("+x").arg(&shim).status();
        assert!(done.unwrap().success());
    }
    let mut command = here(&project, &["--scheduler", "local"]);
    let path = format!("{}:{}", shims.display(), std::env::var("PATH").unwrap());
    let ended = Ended::of(&project.dir, &command.env("PATH", path).output().unwrap());
    let run = ended.exits_with(0).documents_are_valid();
    let toolchain = run.json("artifacts/meta.json")["runs"][0]["toolchain"].clone();
    let compilers = toolchain["compilers"].as_array().unwrap();
    let of = |name: &str| compilers.iter().find(|it| it["command"] == name);
    assert_eq!(of("rustc"), None, "{toolchain:#}");
    let mpicc = of("mpicc").unwrap();
    assert_eq!(
        (&mpicc["id"], &mpicc["version"]),
        (&json!("nvhpc"), &json!("24.1-0"))
    );
}
