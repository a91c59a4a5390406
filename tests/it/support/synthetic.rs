//! Runs that never took place: a project with a history, made from a seed, as a results branch gets it.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "the numbers are made up, and small"
)]

use std::path::Path;
use std::process::Command;

use chrono::{DateTime, Duration, Utc};
use hpc_ci::config::Disclosure;
use hpc_ci::publish::branch::folder::{Folder, folders};
use hpc_ci::results::record::{Meta, RunEntry};
use serde_json::{Value, json};

/// Names that would break out of whatever they are put into.
pub(crate) const HOSTILE: &str = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>";

/// A generator that gives the same numbers everywhere.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn chance(&mut self, probability: f64) -> bool {
        self.next() < probability
    }
}

/// A run to be made: what differs from one to the next.
#[derive(Clone)]
pub(crate) struct Made {
    pub(crate) number: usize,
    pub(crate) commit: String,
    pub(crate) branch: Option<String>,
    pub(crate) begin: DateTime<Utc>,
    pub(crate) parts: Vec<&'static str>,
    pub(crate) marks: Vec<&'static str>,
    pub(crate) failing: usize,
    pub(crate) unproved: usize,
    pub(crate) coverage: f64,
    pub(crate) slower: f64,
}

impl Made {
    pub(crate) fn new(number: usize) -> Self {
        let start: DateTime<Utc> = "2026-01-05T06:00:00Z".parse().unwrap();
        Self {
            number,
            commit: format!(
                "{:032x}{number:08x}",
                (number as u128 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
            ),
            branch: Some("main".to_owned()),
            begin: start + Duration::minutes(number as i64 * 907),
            parts: vec!["tests", "coverage", "benchmarks"],
            marks: Vec::new(),
            failing: 0,
            unproved: 0,
            coverage: 87.5,
            slower: 0.0,
        }
    }

    pub(crate) fn run(&self) -> String {
        format!(
            "{}-{}",
            self.begin.format("%Y%m%d-%H%M%S"),
            1000 + self.number
        )
    }

    /// The folder that the branch gets.
    pub(crate) fn folder(&self) -> Folder {
        let (entry, meta, tests, benchmarks) = self.documents();
        let read = |path: &str| match path {
            "tests/summary.json" => Some(text(&tests)),
            "benchmarks/summary.json" => Some(text(&benchmarks)),
            _ => None,
        };
        let mut folders = folders(&meta, &[entry], &read, Disclosure::Full).unwrap();
        folders.remove(0)
    }

    /// Writes the artifacts that the run would have left.
    pub(crate) fn write(&self, artifacts: &Path) {
        let (entry, meta, tests, benchmarks) = self.documents();
        let run = format!("runs/{}.json", self.run());
        for (path, document) in [
            ("meta.json", json!(meta)),
            (run.as_str(), json!(entry)),
            ("tests/summary.json", tests),
            ("benchmarks/summary.json", benchmarks),
        ] {
            let path = artifacts.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text(&document)).unwrap();
        }
        let line = "find * -type f ! -name checksums.txt | xargs sha256sum > checksums.txt";
        let done = Command::new("sh")
            .arg("-c")
            .arg(line)
            .current_dir(artifacts)
            .status();
        assert!(done.unwrap().success());
    }

    fn documents(&self) -> (RunEntry, Meta, Value, Value) {
        let mut numbers = Numbers(self.number as u64 + 7);
        let steps = self.steps(&mut numbers);
        let status = self.status();
        let tests = json!({
            "schema_version": 1, "commit": self.commit, "status": status, "run": self.run(), "missing": [],
            "suites": {"unit": counts(&steps)},
            "failing": steps.iter().filter(|it| it["status"] != "passed").map(|it| json!({
                "step": it["name"], "test": null, "outcome": it["outcome"], "message": it["message"]})).collect::<Vec<_>>(),
            "steps": steps,
        });
        let benchmarks = self.benchmarks(&mut numbers);
        let entry = self.entry(&steps, status);
        let meta = self.meta();
        (entry, meta, tests, benchmarks)
    }

    fn status(&self) -> &'static str {
        match (self.failing, self.unproved) {
            (0, 0) => "passed",
            (0, _) => "error",
            _ => "failed",
        }
    }

    fn steps(&self, numbers: &mut Numbers) -> Vec<Value> {
        let mut steps = Vec::new();
        for (index, name) in [
            "halo",
            "solver",
            "io/restart",
            "mesh",
            "collective",
            "particles",
        ]
        .iter()
        .enumerate()
        {
            for ranks in [1, 2, 4, 16] {
                let position =
                    index * 4 + [1, 2, 4, 16].iter().position(|it| *it == ranks).unwrap();
                let (status, outcome, message) = if position >= 24 - self.failing {
                    (
                        "failed",
                        ["failed", "timeout", "signal"][index % 3],
                        "residual 3.2e-4 is above 1.0e-6 after 500 iterations",
                    )
                } else if position < self.unproved {
                    ("error", "node_failure", "node n17 stopped answering")
                } else {
                    ("passed", "passed", "")
                };
                steps.push(json!({
                    "name": format!("{name}[ranks={ranks}]"), "suite": "unit", "status": status, "outcome": outcome,
                    "exit_code": if status == "passed" { json!(0) } else { json!(1) }, "signal": null,
                    "job_id": (7000 + self.number * 24 + position).to_string(), "nodes": ["n1"], "ranks": ranks,
                    "elapsed_seconds": 2.0 + numbers.next() * 30.0, "max_rss_bytes": 41_943_040, "attempts": 1,
                    "flaky": numbers.chance(0.01) && status == "passed", "slurm_state": "COMPLETED", "log": null,
                    "message": if message.is_empty() { Value::Null } else { json!(message) },
                    "reproduce": format!("hpc-ci run --commit {} '{name}[ranks={ranks}]'", self.commit),
                }));
            }
        }
        steps
    }

    fn benchmarks(&self, numbers: &mut Numbers) -> Value {
        let kinds = [
            ("solver/3d", "ms", "lower", 126.0),
            ("solver/2d", "ms", "lower", 31.0),
            ("halo/latency", "us", "lower", 4.2),
            ("io/write", "GiB/s", "higher", 18.5),
            ("fft/forward", "Gflop/s", "higher", 410.0),
            ("assembly", "s", "lower", 2.75),
            ("restart", "s", "lower", 11.0),
            ("particles/push", "ns", "lower", 55.0),
        ];
        let mut worst = f64::NEG_INFINITY;
        let mut records = serde_json::Map::new();
        for (index, (name, unit, better, base)) in kinds.into_iter().enumerate() {
            let slow = if index < 2 { self.slower } else { 0.0 };
            let sign = if better == "lower" { 1.0 } else { -1.0 };
            let drift = 0.03 * (self.number as f64 / 25.0 + index as f64).sin();
            let median = base * (1.0 + sign * slow + drift + 0.012 * (numbers.next() - 0.5));
            let width = median * (0.01 + 0.02 * numbers.next());
            let change = (median / base - 1.0) * 100.0;
            worst = worst.max(change * sign);
            let lost = index == 7 && self.number % 41 == 40;
            records.insert(name.to_owned(), if lost {
                json!({"median": null, "unit": unit, "better": better, "median_ms": null, "samples": [],
                    "delta_vs_baseline_pct": null, "baseline": null, "regressed": false, "status": "error",
                    "message": "1 of 10 repetitions has no match of the pattern", "step": name})
            } else {
                json!({"median": median, "unit": unit, "better": better, "median_ms": null,
                    "samples": [median - width, median, median + width],
                    "delta_vs_baseline_pct": change, "baseline": {"commit": "ab".repeat(20), "median": base},
                    "regressed": slow > 0.05, "status": "passed", "message": null, "step": name,
                    "spread": {"min": median - width, "max": median + width, "mad": width / 3.0, "iqr": width / 2.0}})
            });
        }
        json!({"schema_version": 1, "commit": self.commit, "worst_regression_pct": worst, "benchmarks": records,
            "status": "passed", "run": self.run(), "steps": [], "missing": []})
    }

    fn entry(&self, steps: &[Value], status: &str) -> RunEntry {
        let has = |part: &str| self.parts.contains(&part);
        let end = self.begin + Duration::seconds(754 + i64::try_from(self.number).unwrap() % 90);
        let part = json!({"status": status, "duration_seconds": 540.0, "log_file": null});
        let steps: Vec<Value> = steps
            .iter()
            .map(|step| {
                let mut step = step.clone();
                step["part"] = json!("tests");
                step
            })
            .collect();
        let total = 11_720 + self.number / 2;
        let covered = (total as f64 * self.coverage / 100.0) as u64;
        let percent = (covered * 10_000 / total as u64) as f64 / 100.0;
        let entry = json!({
            "schema_version": 1, "run": self.run(), "project": "heat", "commit": self.commit, "branch": self.branch,
            "dirty": false, "driver_version": "0.1.0", "started_at": self.begin, "finished_at": end,
            "status": status, "exit_code": 0, "marks": self.marks, "scope": self.parts,
            "hpc": {"cluster": "alps", "job_id": "71", "node": "login1", "julia_version": null, "toolchain": "gcc 13, Open MPI 5.0.7"},
            "parts": {
                "tests": if has("tests") { part } else { Value::Null },
                "coverage": if has("coverage") { json!({"flag": "hpc-extended", "coverage_percent": percent,
                    "total_lines": total, "covered_lines": covered, "report_file": "../coverage/lcov.info",
                    "summary_file": "../coverage/summary.json", "ranks_expected": 71, "ranks_used": 69}) } else { Value::Null },
                "benchmarks": if has("benchmarks") { json!({"status": "passed", "duration_seconds": 100.0,
                    "tutorials_log": null, "benchmarks_log": null}) } else { Value::Null },
            },
            "steps": if has("tests") { steps } else { Vec::new() }, "builds": [], "jobs": [], "notes": [],
        });
        serde_json::from_value(entry).unwrap()
    }

    fn meta(&self) -> Meta {
        let end = self.begin + Duration::seconds(754);
        let whole = |step: &str, ranks: u64| {
            json!({"step": step, "attempt": 1, "expected": ranks, "used": ranks,
            "ranks": [{"state": "whole", "count": ranks, "ranks": format!("0-{}", ranks - 1)}], "problems": []})
        };
        let broken = json!({"step": "mesh[ranks=16]", "attempt": 1, "expected": 16, "used": 14,
            "ranks": [{"state": "whole", "count": 11, "ranks": "0-10"}, {"state": "partial", "count": 3, "ranks": "11-13"},
                      {"state": "absent", "count": 2, "ranks": "14-15"}],
            "problems": [{"rank": 14, "state": "absent", "file": null, "message": "rank 14 left no profile"}]});
        let meta = json!({
            "schema_version": 1, "commit": self.commit, "branch": self.branch, "tag": null, "dirty": false, "generated_at": end,
            "runs": [{
                "run": self.run(), "parts": self.parts, "marks": self.marks, "started_at": self.begin, "finished_at": end,
                "driver": {"version": "0.1.0", "command_line": ["hpc-ci", "run"], "host": "login1"},
                "source": {"repository": "https://example.org/heat.git", "head": self.commit, "branch": self.branch, "tag": null, "dirty": false},
                "toolchain": {"compilers": [{"command": "mpicc", "id": "clang", "version": "19.1.7"}],
                    "mpi": {"implementation": "Open MPI", "version": "5.0.7"}, "julia": null, "python": null, "flags": {}},
                "features": ["", "rma"], "modules": ["gcc/13", "openmpi/5"], "launch": {"launcher": "srun", "pmi": "pmix"},
                "slurm": {"cluster": "alps", "partition": "normal", "account": "phys123"},
                "nodes": [{"name": "n1", "processor": "AMD EPYC 9654", "memory_bytes": 1}, {"name": "n2", "processor": "AMD EPYC 9654", "memory_bytes": 1}],
                "jobs": [],
                "ranks": {"expected": 71, "used": 69, "steps": [whole("halo[ranks=1]", 1), whole("halo[ranks=4]", 4),
                    whole("solver[ranks=16]", 16), whole("collective[ranks=16]", 16), whole("particles[ranks=16]", 16), whole("mesh[ranks=2]", 2), broken]},
            }],
        });
        serde_json::from_value(meta).unwrap()
    }
}

fn text(value: &Value) -> Vec<u8> {
    serde_json::to_vec_pretty(value).unwrap()
}

fn counts(steps: &[Value]) -> Value {
    let count = |status: &str| steps.iter().filter(|it| it["status"] == status).count();
    let flaky = steps.iter().filter(|it| it["flaky"] == true).count();
    json!({"passed": count("passed"), "failed": count("failed"), "errors": count("error"), "skipped": 0, "not_run": 0, "flaky": flaky})
}

/// A year of a project: mostly main, a few topics, bad days, a slow down, a hostile branch.
pub(crate) fn history(count: usize) -> Vec<Folder> {
    let mut numbers = Numbers(1);
    let (mut coverage, mut bad) = (78.0, 0);
    let runs = (0..count).map(|number| {
        let mut made = Made::new(number);
        coverage = (coverage + (numbers.next() - 0.45) * 0.35_f64).min(96.0);
        made.coverage = coverage;
        if numbers.chance(0.2) {
            let topic = ["feature/halo-overlap", "fix/restart", "big-mesh", HOSTILE];
            made.branch = Some(topic[(numbers.next() * 4.0) as usize].to_owned());
        }
        if bad == 0 && numbers.chance(0.05) {
            bad = 1 + (numbers.next() * 4.0) as usize;
        }
        if bad > 0 || number + 3 >= count {
            bad = bad.saturating_sub(1);
            made.failing = 3;
        } else if numbers.chance(0.04) {
            made.unproved = 2;
            made.marks = vec!["infrastructure_damaged"];
        }
        if numbers.chance(0.05) {
            made.parts = vec!["tests", "coverage"];
        }
        if number + 12 >= count {
            made.slower = 0.09;
        }
        made.folder()
    });
    runs.collect()
}
