//! Plan, journal and watching of many steps, with recorded answers instead of a cluster: what a step costs must not depend
//! on how many there are.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::measure::{self, Seconds};

const SIZES: [u32; 3] = [100, 1000, 10_000];

/// Stands in for every command of Slurm: an array is over as soon as it is submitted, and each task has left its record.
const SLURM: &str = r#"#!/usr/bin/env python3
import os, sys
name, args, here = os.path.basename(sys.argv[0]), sys.argv[1:], os.path.dirname(sys.argv[0])
if name == 'sbatch' and '--version' not in args:
    option = {a.split('=', 1)[0]: a.split('=', 1)[1] for a in args if '=' in a}
    tasks = int(option['--array'].split('%')[0].split('-')[1]) + 1
    folder = option['--output'][:-len('/%a/log.txt')]
    for task in range(tasks):
        step = os.path.join(folder, str(task))
        ended = next(l for l in open(step + '/job.sh') if l.startswith('hpc_ci_ended=')).split('=', 1)[1].strip()
        with open(step + '/exit.json', 'w') as record:
            record.write('{"schema_version":1,"exit_code":0,"started":1.0,"ended":2.0,"restart_count":0,"ranks_expected":1,"launches":0}')
        open(ended, 'w').close()
    open(here + '/tasks', 'w').write(str(tasks))
    print(7)
elif name == 'sacct':
    for task in range(int(open(here + '/tasks').read())):
        print(f'7_{task}|COMPLETED|0:0|0:0|batch|ci|n1|1795173068|1795173069|1795173070|1||a')
elif name == 'squeue':
    for task in range(int(open(here + '/tasks').read())):
        print(f'7_{task}|COMPLETED|0|n1|1795173069|0:01|None')
elif name == 'scontrol' and 'config' in args:
    print('ClusterName = recorded\nAccountingStorageType = accounting_storage/slurmdbd\nMaxArraySize = 100001')
elif name == 'scontrol':
    print('PartitionName=batch Default=YES MaxNodes=UNLIMITED MaxTime=1-00:00:00 State=UP TotalNodes=3')
elif name == 'sinfo':
    print('batch|3|4|2048|(null)|(null)')
"#;

pub(crate) fn table() -> String {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    for name in ["sbatch", "squeue", "sacct", "scontrol", "sinfo", "scancel"] {
        let path = dir.join(name);
        fs_err::write(&path, SLURM).unwrap();
        fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut text = String::from(
        "### Recorded answers instead of a cluster\n\n| steps | `plan` | a step | `run`, as an array | a step | MiB |\n|---|---|---|---|---|---|\n",
    );
    for steps in SIZES {
        project(dir, steps);
        let hpc_ci = format!(
            "cd {0}/p && PATH={0}:$PATH HOME={0} {1}",
            dir.display(),
            env!("CARGO_BIN_EXE_hpc-ci")
        );
        let flags = "--local-config --in-place --no-coverage --scheduler slurm";
        let plan = measure::run(&format!("{hpc_ci} plan --no-scripts {flags}"));
        let run = measure::run(&format!("{hpc_ci} {flags}"));
        let each = |wall: f64| Seconds(wall / f64::from(steps));
        writeln!(
            text,
            "| {steps} | {} | {} | {} | {} | {:.0} |",
            Seconds(plan.wall),
            each(plan.wall),
            Seconds(run.wall),
            each(run.wall),
            run.memory
        )
        .unwrap();
    }
    text.push('\n');
    text
}

fn project(dir: &Path, steps: u32) {
    let numbers: Vec<String> = (0..steps).map(|number| number.to_string()).collect();
    let text = format!(
        "[scheduler]\nstrategy = \"array\"\nmax_in_flight = 1000\n[[test]]\nname = \"empty\"\ncommand = \"true\"\nlauncher = \"none\"\nmatrix = {{ n = [{}] }}\n",
        numbers.join(", ")
    );
    let project = dir.join("p");
    fs_err::create_dir_all(&project).unwrap();
    fs_err::write(project.join("hpc.toml"), text).unwrap();
    fs_err::write(project.join(".gitignore"), "/hpc-ci\n").unwrap();
    let line = "git init -q . && git add -A && git -c user.name=b -c user.email=b@example.org commit -q -m x";
    let done = std::process::Command::new("sh")
        .args(["-c", line])
        .current_dir(&project)
        .status();
    assert!(done.unwrap().success());
}
