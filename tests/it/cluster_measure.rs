//! Benchmarks as jobs of the dev cluster, and what its nodes tell of themselves.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use serde_json::{Value, json};

use crate::benchmarks::{check_google, check_programs, google, has_google_benchmark, programs};
use crate::support::{Ended, Home, Project};

/// The provenance of a run.
#[track_caller]
fn provenance(run: &Ended) -> Value {
    run.json("artifacts/meta.json")["runs"][0].clone()
}

#[test]
fn benchmarks_run_as_jobs() {
    let project = programs(Home::Cluster);
    let run = project.run(&[]).exits_with(3).documents_are_valid();
    check_programs(&run);
    let summary = run.json("artifacts/benchmarks/summary.json");
    let steps = summary["steps"].as_array().unwrap();
    assert!(
        steps.iter().all(|step| step["job_id"].is_string()),
        "{summary:#}"
    );
    let key = &summary["benchmarks"]["stream:copy"]["key"];
    for name in ["system", "processor", "compiler", "mpi", "ranks", "nodes"] {
        assert!(key[name].is_string(), "no {name} in {key:#}");
    }
    assert_eq!(
        (&key["system"], &key["ranks"]),
        (&json!("dev"), &json!("2"))
    );
    let conditions = &summary["conditions"]["stream"];
    let node = &conditions["nodes"][0];
    assert!(
        node["other_jobs"].is_u64() && node["load"].is_number(),
        "{conditions:#}"
    );
    let bound: Vec<&str> = conditions["binding"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["ranks"].as_str().unwrap())
        .collect();
    assert!(bound == ["0-1"] || bound == ["0", "1"], "{conditions:#}");
    let programs = provenance(&run)["binaries"].clone();
    let stream = programs
        .as_array()
        .unwrap()
        .iter()
        .find(|it| it["path"] == "stream")
        .unwrap()
        .clone();
    assert_eq!(conditions["program_sha256"], stream["sha256"]);
    assert_eq!(stream["instrumented"], false);
}

#[test]
fn google_benchmark_runs_as_a_job() {
    if has_google_benchmark() {
        let project = google(Home::Cluster);
        let run = project.run(&[]).exits_with(3).documents_are_valid();
        check_google(&run);
    }
}

#[test]
fn instrumented_benchmarks_are_errors_however_they_are_called() {
    let project = |command: &str| {
        let project = Project::new(Home::Cluster);
        project.file(
            "p.c",
            "#include <stdio.h>\nint main(void) { puts(\"t=1\"); return 0; }\n",
        );
        project.file(
            "hpc.toml",
            &format!(
                r#"
[workspace]
state = "../state"
[build.benchmarks]
command = "clang -fprofile-instr-generate -fcoverage-mapping p.c -o instrumented"
[[benchmark]]
name = "b"
command = "{command}"
repetitions = 1
metric = {{ pattern = 't=(\d+)', unit = "s" }}
"#
            ),
        );
        project.commit();
        project
    };
    // By the sections of the program, before a job is spent on it; behind a script, by what it leaves.
    let plainly = project("./instrumented");
    let run = plainly.run(&[]).exits_with(3).documents_are_valid();
    assert!(
        run.err.contains("`instrumented` is instrumented")
            || run.err.contains("/instrumented` is instrumented"),
        "{}",
        run.err
    );
    let behind = project("cd . && ./instrumented");
    let run = behind.run(&[]).exits_with(3).documents_are_valid();
    let metric = run.json("artifacts/benchmarks/summary.json")["benchmarks"]["b"].clone();
    assert_eq!(
        (&metric["status"], &metric["median"]),
        (&json!("error"), &Value::Null)
    );
    assert!(
        metric["message"]
            .as_str()
            .unwrap()
            .contains("it is instrumented"),
        "{metric:#}"
    );
}

const EVERYWHERE: &str = r#"
[workspace]
state = "../state"
[environment]
variables = { OMPI_CC = "clang-22", OMP_NUM_THREADS = "1", UCX_LOG_LEVEL = "error" }
[build.tests]
command = "mpicc.openmpi -O1 p.c -o p"
[[test]]
name = "wide"
command = "./p"
ranks = 3
nodes = 3
[[test]]
name = "alone"
command = "true"
launcher = "none"
"#;

#[test]
fn nodes_tell_what_they_are() {
    let project = Project::new(Home::Cluster);
    project.file("p.c", "#include <mpi.h>\nint main(int c, char **v) { MPI_Init(&c, &v); return MPI_Finalize(); }\n");
    project.file("hpc.toml", EVERYWHERE);
    let commit = project.commit();
    let run = project.run(&[]).exits_with(0).documents_are_valid();
    let told = provenance(&run);
    let nodes = told["nodes"].as_array().unwrap();
    let names: Vec<&str> = nodes
        .iter()
        .map(|node| node["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["n1", "n2", "n3"], "{told:#}");
    let here = std::fs::read_to_string("/proc/cpuinfo").unwrap();
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap();
    let memory: u64 = memory.split_whitespace().nth(1).unwrap().parse().unwrap();
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    for node in nodes {
        assert!(
            here.contains(node["processor"].as_str().unwrap()),
            "{node:#}"
        );
        assert_eq!(node["memory_bytes"], memory * 1024);
        assert_eq!(node["kernel"], kernel.trim());
        for known in ["sockets", "cores", "threads_per_core", "numa_domains"] {
            assert!(
                node[known].as_u64().is_some_and(|count| count > 0),
                "{node:#}"
            );
        }
        for known in ["os", "filesystem"] {
            assert!(node[known].is_string(), "{node:#}");
        }
    }
    // Each told of itself, once.
    let id = told["run"].as_str().unwrap();
    for name in names {
        let own = run.json(&format!("runs/{id}/nodes/{name}/node.json"));
        assert_eq!(own["name"], name);
    }
    let launches = told["launches"].as_array().unwrap();
    let wide = launches
        .iter()
        .find(|it| it["steps"] == json!(["wide"]))
        .unwrap();
    let command = wide["command"].as_str().unwrap();
    assert!(command.starts_with("srun --mpi=pmix "), "{command}");
    assert_eq!(
        (&wide["ranks"], &wide["node_count"]),
        (&json!(3), &json!(3))
    );
    assert_eq!(wide["mpi"], "openmpi");
    assert!(
        wide["library"].as_str().unwrap().contains("libmpi.so"),
        "{wide:#}"
    );
    assert_eq!(
        wide["environment"],
        json!({"OMP_NUM_THREADS": "1", "UCX_LOG_LEVEL": "error"})
    );
    let mpi = &told["toolchain"]["mpi"];
    assert_eq!(mpi["implementation"], "Open MPI");
    assert!(
        mpi["abi"].as_str().unwrap().starts_with("libmpi.so."),
        "{mpi}"
    );
    let compilers = told["toolchain"]["compilers"].as_array().unwrap();
    let mpicc = compilers
        .iter()
        .find(|it| it["command"] == "mpicc")
        .unwrap();
    assert_eq!(mpicc["id"], "clang");
    assert!(
        mpicc["version"].as_str().unwrap().starts_with("22."),
        "{mpicc}"
    );
    assert!(
        mpicc["target"].as_str().unwrap().contains("linux"),
        "{mpicc}"
    );
    let binary = &told["binaries"][0];
    assert_eq!(
        (&binary["path"], &binary["build"], &binary["instrumented"]),
        (&json!("p"), &json!("tests"), &json!(false))
    );
    assert!(
        binary["compiler"]
            .as_str()
            .unwrap()
            .contains("clang version 22"),
        "{binary}"
    );
    let libraries = binary["libraries"].as_object().unwrap();
    let path = wide["library"].as_str().unwrap();
    let sum = Command::new("sha256sum").arg(path).output().unwrap();
    let sum = String::from_utf8(sum.stdout).unwrap();
    assert_eq!(
        libraries[path.rsplit('/').next().unwrap()],
        sum[..64],
        "{binary}"
    );
    assert!(
        libraries.keys().any(|name| name.starts_with("libc.so")),
        "{binary}"
    );
    assert_eq!(told["source"]["head"], commit.as_str());
    let sum = Command::new("sha256sum")
        .arg(project.dir.join("hpc.toml"))
        .output()
        .unwrap();
    let sum = String::from_utf8(sum.stdout).unwrap();
    assert_eq!(told["driver"]["config_sha256"], sum[..64]);
    assert!(
        told["slurm"]["version"]
            .as_str()
            .unwrap()
            .starts_with(|c: char| c.is_ascii_digit()),
        "{}",
        told["slurm"]
    );
    for job in told["jobs"].as_array().unwrap() {
        assert!(
            job["queue_wait_seconds"]
                .as_f64()
                .is_some_and(|wait| wait >= 0.0),
            "{job:#}"
        );
        assert_eq!(job["requeues"], 0);
        // This cluster gathers none.
        assert_eq!(job["energy"], Value::Null);
    }
}

/// No machine of ours has meters: stand-ins on PATH change two answers of the cluster's own programs.
#[test]
fn energy_is_what_accounting_says() {
    let project = Project::new(Home::Cluster);
    project.file(
        "hpc.toml",
        "[workspace]\nstate = \"../state\"\n[[test]]\nname = \"a\"\ncommand = \"true\"\nexclusive = true\n",
    );
    project.commit();
    let bin = project.dir.with_file_name("bin");
    std::fs::create_dir_all(&bin).unwrap();
    for (program, answer) in [
        (
            "scontrol",
            "sed 's|^AcctGatherEnergyType.*|AcctGatherEnergyType    = acct_gather_energy/rapl|'",
        ),
        (
            "sacct",
            r#"case "$*" in *ConsumedEnergyRaw*) sed 's/|.*/|101630/' ;; *) cat ;; esac"#,
        ),
    ] {
        let real = project.command("which").arg(program).output().unwrap();
        let real = String::from_utf8(real.stdout).unwrap();
        let script = format!("#!/bin/sh\n{} \"$@\" | {answer}\n", real.trim());
        let path = bin.join(program);
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let ended = project.hpc_ci(&["run"]).env("PATH", path).output().unwrap();
    let run = Ended::of(&project.dir, &ended)
        .exits_with(0)
        .documents_are_valid();
    let job = &provenance(&run)["jobs"][0];
    assert_eq!(
        (&job["energy"], &job["exclusive"]),
        (
            &json!({"joules": 101_630.0, "source": "Slurm, acct_gather_energy/rapl",
                "quality": "of its nodes, which it had for itself"}),
            &json!(true)
        )
    );
}

#[test]
fn jobs_of_others_are_seen_beside_a_benchmark() {
    let project = Project::new(Home::Cluster);
    project.file(
        "hpc.toml",
        r#"
[workspace]
state = "../state"
[scheduler]
options = ["--nodelist=n2"]
[[benchmark]]
name = "b"
command = "echo t=1"
repetitions = 1
metric = { pattern = 't=(\d+)', unit = "s" }
"#,
    );
    project.commit();
    let mut other = project.command("sbatch");
    other.args([
        "--parsable",
        "--nodelist=n2",
        "--ntasks=1",
        "--output=/dev/null",
        "--wrap=sleep 300",
    ]);
    let other = String::from_utf8(other.output().unwrap().stdout)
        .unwrap()
        .trim()
        .to_owned();
    let state = || {
        let asked = project
            .command("squeue")
            .args(["-h", "-o", "%T", "-j", &other])
            .output()
            .unwrap();
        String::from_utf8(asked.stdout).unwrap()
    };
    while state().trim() != "RUNNING" {
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    let run = project.run(&[]).exits_with(0).documents_are_valid();
    project.command("scancel").arg(&other).status().unwrap();
    let summary = run.json("artifacts/benchmarks/summary.json");
    let node = &summary["conditions"]["b"]["nodes"][0];
    assert_eq!(node["node"], "n2");
    assert!(
        node["other_jobs"].as_u64().is_some_and(|jobs| jobs > 0),
        "{node:#}"
    );
    assert_eq!(
        summary["benchmarks"]["b"]["warnings"][0],
        "other jobs ran on n2"
    );
    assert!(run.err.contains("b: other jobs ran on n2"), "{}", run.err);
    let health = &provenance(&run)["nodes"][0]["health"];
    assert!(
        health["other_jobs"].as_u64().is_some_and(|jobs| jobs > 0),
        "{health}"
    );
}
