//! The job script and the per-rank wrapper, run for real under mpiexec on this machine.

use std::path::Path;
use std::process::{Command, Output};

use hpc_ci::launch::{
    Cwd, FACTS_SCRIPT, Facts, Job, Keeping, Kind, Launch, Place, Pmi, Program, job_script, wrapper,
};

/// An environment of no modules, set-up lines and variables.
const NO_ENVIRONMENT: &str =
    "hpc_ci_set_up_text=\nhpc_ci_enter() { :; }\nhpc_ci_add_launchers() { :; }\n";

fn job(dir: &Path, ranks: u32, line: &str) -> Job {
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    Job {
        step: "a step".into(),
        dir: text(dir),
        ended: text(&dir.join("ended")),
        tree: text(dir),
        cwd: Cwd::Tree,
        environment: NO_ENVIRONMENT.into(),
        variables: Vec::new(),
        keeping: Keeping::Nothing,
        world: None,
        launchers: String::new(),
        program: Program::Shell(line.into()),
        before: Vec::new(),
        after: Vec::new(),
        launch: Launch {
            kind: Kind::Mpiexec,
            pmi: Pmi::Auto,
            options: Vec::new(),
            wrap: Vec::new(),
            ranks,
            nodes: None,
            ranks_per_node: None,
            cpus_per_rank: None,
            gpus_per_rank: None,
            on: Vec::new(),
            memory: None,
            shared_cores: true,
        },
        place: Place::Here,
        allocation: Vec::new(),
        time: 30,
        repetitions: 1,
        warmup: 0,
        reports: None,
        scratch: None,
        facts: Facts {
            script: text(&dir.join("facts.sh")),
            nodes: text(&dir.join("of-run")),
            measures: false,
        },
        keep: None,
    }
}

/// Runs the script of a job and returns its output and its exit record.
fn run(dir: &Path, job: &Job) -> (Output, serde_json::Value) {
    use std::os::unix::fs::PermissionsExt as _;
    let rank = dir.join("rank.sh");
    std::fs::write(
        &rank,
        wrapper(
            job.launch.kind,
            job.launch.ranks,
            &job.keeping,
            &job.facts,
            None,
        ),
    )
    .unwrap();
    std::fs::write(&job.facts.script, FACTS_SCRIPT).unwrap();
    std::fs::create_dir_all(&job.facts.nodes).unwrap();
    std::fs::set_permissions(&rank, std::fs::Permissions::from_mode(0o755)).unwrap();
    let script = dir.join("job.sh");
    std::fs::write(&script, job_script(job)).unwrap();
    let output = Command::new("bash").arg(&script).output().unwrap();
    let record = std::fs::read(dir.join("exit.json")).unwrap_or_else(|_| panic!("{output:?}"));
    (output, serde_json::from_slice(&record).unwrap())
}

fn notes(dir: &Path) -> Vec<String> {
    let mut notes: Vec<String> = std::fs::read_dir(dir.join("ranks"))
        .unwrap()
        .map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap())
        .collect();
    notes.sort();
    notes
}

#[test]
fn every_rank_runs_once_and_leaves_a_note() {
    let dir = tempfile::tempdir().unwrap();
    let job = job(
        dir.path(),
        3,
        "echo rank=$HPC_CI_RANK file=${LLVM_PROFILE_FILE##*/}",
    );
    let (output, record) = run(dir.path(), &job);
    let out = String::from_utf8_lossy(&output.stdout);
    for rank in 0..3 {
        let line = format!("rank={rank} file=r{rank}.%h.%p.profraw");
        assert_eq!(out.matches(&line).count(), 1, "{out}");
    }
    assert_eq!(record["exit_code"], 0);
    assert_eq!(record["timed_out"], false);
    assert!(dir.path().join("ended").exists());
    let notes = notes(dir.path());
    assert_eq!(notes.len(), 3);
    assert!(
        notes.iter().all(|note| note.contains("\nend 0 ")),
        "{notes:?}"
    );
}

#[test]
fn a_failing_rank_is_told_by_its_own_code() {
    let dir = tempfile::tempdir().unwrap();
    let job = job(
        dir.path(),
        2,
        "if [ $HPC_CI_RANK = 1 ]; then exit 7; fi; sleep 20",
    );
    let (_, record) = run(dir.path(), &job);
    assert_eq!(record["exit_code"], 7, "{record}");
    assert!(
        notes(dir.path())
            .iter()
            .any(|note| note.contains("\nend 7 "))
    );
}

#[test]
fn a_signal_reaches_the_launcher_as_a_signal() {
    let dir = tempfile::tempdir().unwrap();
    let job = job(
        dir.path(),
        2,
        "if [ $HPC_CI_RANK = 1 ]; then kill -SEGV $$; fi; sleep 20",
    );
    let (output, record) = run(dir.path(), &job);
    assert_eq!(record["exit_code"], 139, "{record} {output:?}");
    assert!(
        notes(dir.path())
            .iter()
            .any(|note| note.contains("\nend 139 "))
    );
}

#[test]
fn time_is_bounded_and_the_ranks_may_still_speak() {
    let dir = tempfile::tempdir().unwrap();
    let mut job = job(
        dir.path(),
        2,
        "trap 'echo asked; exit 9' TERM; sleep 60 & wait",
    );
    job.time = 1;
    let (output, record) = run(dir.path(), &job);
    assert_eq!(record["timed_out"], true, "{record}");
    let out = String::from_utf8_lossy(&output.stdout);
    assert_eq!(out.matches("asked").count(), 2, "{output:?}");
}

/// What a script leaves behind, Slurm looks for in the job's control group, for seconds.
#[test]
fn nothing_outlives_a_step_that_ends_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut job = job(dir.path(), 1, "true");
    job.launch.kind = Kind::None;
    // Nobody else sleeps for as long.
    job.time = 10_000_000 + u64::from(std::process::id());
    for _ in 0..30 {
        let (output, record) = run(dir.path(), &job);
        assert_eq!(record["exit_code"], 0, "{output:?}");
        assert!(output.stderr.is_empty(), "{output:?}");
    }
    let watches = std::fs::read_dir("/proc").unwrap().filter(|process| {
        let command = process.as_ref().unwrap().path().join("cmdline");
        let words = std::fs::read_to_string(command).unwrap_or_default();
        words == format!("sleep\0{}\0", job.time)
    });
    assert_eq!(watches.count(), 0);
}

#[test]
fn before_and_after_run_once_and_after_also_when_the_step_failed() {
    let dir = tempfile::tempdir().unwrap();
    let mut job = job(dir.path(), 2, "exit 3");
    job.before = vec![Program::Shell("echo b >>trace".into())];
    job.after = vec![Program::Shell("echo a >>trace".into())];
    let (_, record) = run(dir.path(), &job);
    assert_eq!(record["exit_code"], 3);
    assert_eq!(
        std::fs::read_to_string(dir.path().join("trace")).unwrap(),
        "b\na\n"
    );
    job.before = vec![Program::Argv(vec!["false".into()])];
    let (_, record) = run(dir.path(), &job);
    assert_eq!(
        (&record["exit_code"], &record["failed_part"]),
        (&1.into(), &"before".into())
    );
}

#[test]
fn repetitions_leave_an_output_each() {
    let dir = tempfile::tempdir().unwrap();
    let mut job = job(
        dir.path(),
        2,
        "[ $HPC_CI_RANK = 0 ] && echo time: 5 ms; true",
    );
    (job.repetitions, job.warmup) = (3, 1);
    let (_, record) = run(dir.path(), &job);
    assert_eq!(record["exit_code"], 0);
    for number in 1..=3 {
        let file = dir.path().join(format!("sample-{number:03}.log"));
        assert_eq!(std::fs::read_to_string(file).unwrap(), "time: 5 ms\n");
    }
    assert!(dir.path().join("warmup-001.log").exists());
}

#[test]
fn hostile_names_are_words_not_code() {
    let outer = tempfile::tempdir().unwrap();
    let dir = outer.path().join("it's; touch pwned; $(touch pwned)\"");
    std::fs::create_dir(&dir).unwrap();
    let mut job = job(&dir, 1, "true");
    job.step = "x\n touch pwned; $(touch pwned)".into();
    job.variables = vec![("V".into(), "'; touch pwned; '".into())];
    let (_, record) = run(&dir, &job);
    assert_eq!(record["exit_code"], 0);
    assert!(!dir.join("pwned").exists());
    assert!(!Path::new("pwned").exists());
}

/// Each rank of an MPICH program under Open MPI's mpiexec would be a world of its own, and pass.
#[test]
fn the_other_mpi_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("p.c");
    std::fs::write(&source, "#include <mpi.h>\nint main(int c,char**v){MPI_Init(&c,&v);int n;MPI_Comm_size(MPI_COMM_WORLD,&n);MPI_Finalize();return n!=2;}\n").unwrap();
    let compiled = Command::new("mpicc.mpich")
        .args(["-o", "p", "p.c"])
        .current_dir(dir.path())
        .status()
        .unwrap();
    assert!(compiled.success());
    let mut job = job(dir.path(), 2, "./p");
    let (output, record) = run(dir.path(), &job);
    assert_eq!(
        record["exit_code"], 0,
        "MPICH's own mpiexec was not found: {output:?}"
    );
    assert_eq!(record["mpi"], "mpich");
    job.variables = vec![("MPIEXEC".into(), "mpiexec.openmpi".into())];
    let (_, record) = run(dir.path(), &job);
    assert_eq!(record["exit_code"], 125);
    let error = record["launch_error"].as_str().unwrap();
    assert!(error.contains("linked with mpich"), "{error}");
}

/// Runs the script that tells of a node, below a root of a test's own, and returns what it wrote.
fn node_facts(dir: &Path, path: &str, topology: &str) -> serde_json::Value {
    let script = dir.join("facts.sh");
    std::fs::write(&script, FACTS_SCRIPT).unwrap();
    let folder = dir.join("nodes");
    std::fs::create_dir_all(&folder).unwrap();
    let told = Command::new("sh")
        .arg(&script)
        .arg("node")
        .args([&folder, &dir.join("root")])
        .env("PATH", path)
        .env("SLURM_TOPOLOGY_ADDR", topology)
        .output()
        .unwrap();
    assert!(told.status.success() && told.stderr.is_empty(), "{told:?}");
    let json = std::fs::read(folder.join(host()).join("node.json")).unwrap();
    serde_json::from_slice(&json).unwrap()
}

fn host() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    host.trim().to_owned()
}

/// The answers have the form of real ones; there are no such cards here.
#[test]
fn accelerators_and_switches_are_told() {
    use std::os::unix::fs::PermissionsExt as _;
    let check = |name: &str, smi: &str, topology: &str, expected: &serde_json::Value| {
        let dir = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        put("bin/nvidia-smi", &format!("#!/bin/sh\n{smi}\n"));
        let smi = dir.path().join("bin/nvidia-smi");
        std::fs::set_permissions(&smi, std::fs::Permissions::from_mode(0o755)).unwrap();
        put(
            "root/proc/driver/nvidia/version",
            "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.12  Wed Aug 30 2023\n",
        );
        put(
            "root/proc/driver/nvidia/gpus/0000:07:00.0/information",
            "Model: \t\t NVIDIA A100-SXM4-40GB\nIRQ:   \t\t 271\n",
        );
        let card = "root/sys/class/drm/card1/device";
        for (file, text) in [
            ("vendor", "0x1002\n"),
            ("device", "0x740f\n"),
            ("product_name", "\n"),
            ("mem_info_vram_total", "68702699520\n"),
            ("current_compute_partition", "SPX\n"),
            ("pp_dpm_sclk", "0: 500Mhz *\n1: 800Mhz \n2: 1700Mhz \n"),
            ("pp_dpm_mclk", "0: 400Mhz \n1: 1600Mhz *\n"),
        ] {
            put(&format!("{card}/{file}"), text);
        }
        put("root/sys/class/drm/card0/device/vendor", "0x1a03\n");
        put("root/sys/module/amdgpu/version", "6.7.0\n");
        let path = std::env::var("PATH").unwrap();
        let path = format!("{}:{path}", dir.path().join("bin").display());
        let told = node_facts(dir.path(), &path, topology);
        let found = serde_json::json!([told["gpus"], told["switches"]]);
        assert_eq!(&found, expected, "{name}");
    };
    let amd = serde_json::json!({"model": "AMD 0x740f", "driver": "6.7.0", "memory_bytes": 68_702_699_520_u64,
        "partition": "SPX", "max_clock_mhz": 1700, "max_memory_clock_mhz": 1600});
    let smi = "echo 'NVIDIA A100-SXM4-40GB, 535.104.12, 40960, Enabled, 1410, 1215, 400.00'
               echo 'NVIDIA L4, 595.71.05, 23034, [N/A], 2040, 6251, [Unknown Error]'";
    let own = format!("spine.leaf3.{}", host().split('.').next().unwrap());
    check(
        "nvidia-smi answers",
        smi,
        &own,
        &serde_json::json!([[
            {"model": "NVIDIA A100-SXM4-40GB", "driver": "535.104.12", "memory_bytes": 42_949_672_960_u64, "mig": true,
             "max_clock_mhz": 1410, "max_memory_clock_mhz": 1215, "power_limit_watts": 400.0},
            {"model": "NVIDIA L4", "driver": "595.71.05", "memory_bytes": 24_152_899_584_u64,
             "max_clock_mhz": 2040, "max_memory_clock_mhz": 6251},
            amd], "spine.leaf3"]),
    );
    // It is there and fails, and the variable is that of another node.
    check(
        "nvidia-smi fails",
        "echo 'NVIDIA-SMI has failed because it could not communicate with the NVIDIA driver.'; exit 9",
        "spine.leaf3.another",
        &serde_json::json!([[{"model": "NVIDIA A100-SXM4-40GB", "driver": "535.104.12"}, amd], null]),
    );
}

#[test]
fn libraries_are_hashed_once_on_a_node() {
    let dir = tempfile::tempdir().unwrap();
    let ls = |_: u32| run(dir.path(), &job(dir.path(), 1, "/bin/ls / >/dev/null")).1;
    let record = ls(1);
    let known = dir.path().join("of-run").join(host()).join("libraries");
    let first = std::fs::read_to_string(&known).unwrap();
    let paths = record["libraries"].as_str().unwrap().split(':');
    let paths: Vec<&str> = paths.filter(|path| !path.is_empty()).collect();
    assert!(
        paths.iter().any(|path| path.contains("/libc.so")),
        "{record}"
    );
    let sums = Command::new("sha256sum").args(&paths).output().unwrap();
    assert_eq!(first, String::from_utf8(sums.stdout).unwrap());
    ls(2);
    assert_eq!(std::fs::read_to_string(&known).unwrap(), first);
}
