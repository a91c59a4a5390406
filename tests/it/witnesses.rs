//! What proves that a step passed: its launcher, its ranks, and the world that MPI gave them must agree.

use std::fmt::Write as _;
use std::process::Command;

use crate::support::{Ended, Home, Project, with_bin};

const SIZE: &str = include_str!("../data/mpi/size.c");

const LOCAL: &[&str] = &["--tests-only", "--scheduler", "local"];

/// An MPIEXEC of the project, which says that it is Open MPI's.
fn with_launcher(text: &str, steps: &str) -> (Project, Ended) {
    let project = Project::new(Home::Here);
    project.file(
        "bin/launcher",
        &format!("#!/bin/bash\nif [ \"$1\" = --version ]; then echo 'mpiexec (OpenRTE) 4.1'; exit; fi\n{text}\n"),
    );
    project.file("hpc.toml", steps);
    project.commit();
    with_bin(&project);
    let mut run = project.hpc_ci(LOCAL);
    run.env("MPIEXEC", project.dir.join("bin/launcher"));
    let ended = Ended::of(&project.dir, &run.output().unwrap());
    (project, ended)
}

/// Calls the real one with one of its words changed.
const CALLS: &str = "real() { mpiexec.openmpi --allow-run-as-root \"$@\"; }";

#[test]
fn a_launcher_that_hides_how_ranks_ended_is_not_believed() {
    let step =
        |command: &str| format!("[[test]]\nname = \"t\"\nranks = 3\ncommand = '{command}'\n");
    let check = |what: &str, launcher: &str, command: &str, outcome: &str, message: &str| {
        let (_project, ended) = with_launcher(&format!("{CALLS}\n{launcher}"), &step(command));
        let step = ended.step("t");
        // A note that is written again has lost its beginning, and still tells the end.
        assert_eq!(step["outcome"], outcome, "{what}: {step:#}\n{}", ended.err);
        assert!(
            step["message"]
                .as_str()
                .unwrap_or_default()
                .contains(message),
            "{what}: {step:#}"
        );
    };
    // Notes that are missing are waited for.
    std::thread::scope(|scope| {
        for (what, launcher, command, outcome, message) in [
            (
                "it hides a code",
                "real \"$@\"; exit 0",
                "exit $((HPC_CI_RANK * 3))",
                "failed",
                "exit code",
            ),
            (
                "it hides a signal",
                "real \"$@\"; exit 0",
                "kill -SEGV $$",
                "signal",
                "signal 11",
            ),
            (
                "it starts nothing",
                "exit 0",
                "true",
                "lost",
                "3 of 3 ranks",
            ),
            (
                "it starts too few, and says it is as many",
                "real -n 2 -x OMPI_COMM_WORLD_SIZE=3 \"${@: -6}\"",
                "true",
                "launch_failed",
                "started 2 ranks",
            ),
            (
                "a rank's note is gone",
                "real \"$@\"",
                "if [ $HPC_CI_RANK = 1 ]; then rm -f \"$HPC_CI_NOTE\"; fi",
                "passed",
                "",
            ),
            ("it is honest", "real \"$@\"", "true", "passed", ""),
        ] {
            scope.spawn(move || check(what, launcher, command, outcome, message));
        }
    });
}

/// The ways in which a program hides from a look at the command.
fn forms(program: &str) -> Vec<(&'static str, String)> {
    vec![
        ("list", format!("command = ['./{program}']")),
        ("string", format!("command = './{program}'")),
        ("cd", format!("command = 'cd . && ./{program}'")),
        ("lines", format!("command = '''\n: first\n./{program}\n'''")),
        ("script", format!("command = './run-{program}.sh'")),
        (
            "bash-script",
            format!("command = 'bash ./run-{program}.sh'"),
        ),
        ("variable", format!("command = 'p=./{program}; \"$p\"'")),
        ("glob", format!("command = './{program}*'")),
        (
            "eval",
            format!("command = 'eval \"$(echo ./{program} | tr a a)\"'"),
        ),
        ("wrap", format!("command = './{program}'\nwrap = ['env']")),
        (
            "wrap-shell",
            format!("command = ['true']\nwrap = ['./run-{program}.sh']"),
        ),
        (
            "hidden",
            format!(
                "command = './deep.sh'\nenvironment = {{ variables = {{ DEEP = './run-{program}.sh' }} }}"
            ),
        ),
        (
            "python",
            format!(
                "command = ['python3', '-c', 'import os; os.execv(\"./{program}\", [\"{program}\"])']"
            ),
        ),
        (
            "dlopen",
            format!(
                "command = ['./open', '{}']",
                if program == "mpich" {
                    "libmpich.so.12"
                } else {
                    "libmpi.so.40"
                }
            ),
        ),
    ]
}

/// Starts MPI by a pointer to its function, as languages do that load libraries at run time.
const OPEN: &str = "#include <dlfcn.h>\nint main(int c, char **v) { void *h = dlopen(v[1], RTLD_NOW | RTLD_LOCAL);
    int (*init)(void *, void *) = dlsym(h, \"MPI_Init\"); int (*end)(void) = dlsym(h, \"MPI_Finalize\"); init(0, 0); return end(); }\n";

/// Ranks either see each other, or the step has not passed; which of both is not for chance to say where the program can be seen.
fn ranks_that_are_alone_never_pass(home: Home, extra: &str) {
    let project = Project::new(home);
    project
        .file("size.c", SIZE)
        .file("open.c", OPEN)
        .file("deep.sh", "#!/bin/bash\nexec \"$DEEP\"\n");
    let mut text = format!("[scheduler]\ntime = \"1m\"\n{extra}");
    text += "[build.tests]\ncommand = '''\nmpicc.mpich -o mpich size.c\nmpicc.openmpi -o ompi size.c\ncc -o open open.c -ldl\nchmod +x *.sh\n'''\n";
    for program in ["mpich", "ompi"] {
        project.file(
            &format!("run-{program}.sh"),
            &format!("#!/bin/bash\nset -e\n./{program}\n"),
        );
        for (form, keys) in forms(program) {
            writeln!(
                text,
                "[[test]]\nname = \"{program}-{form}\"\nranks = 2\n{keys}"
            )
            .unwrap();
        }
    }
    project.file("hpc.toml", &text);
    project.commit();
    let ended = project.run(if home == Home::Here {
        LOCAL
    } else {
        &["--tests-only"]
    });
    let mut wrong = Vec::new();
    for program in ["mpich", "ompi"] {
        for (form, _) in forms(program) {
            let name = format!("{program}-{form}");
            let step = ended.step(&name);
            let log = std::fs::read_to_string(
                project
                    .dir
                    .join("hpc-ci/artifacts/tests")
                    .join(step["log"].as_str().unwrap()),
            )
            .unwrap();
            let together = log.matches("world of 2").count() == 2;
            let outcome = step["outcome"].as_str().unwrap();
            let seen = ["list", "string", "cd", "lines", "script", "bash-script"].contains(&form);
            let world = step["mpi_world"].as_u64();
            let right = match outcome {
                // It tells no world, and mpiexec belongs to one MPI; srun's own default is known to nobody.
                _ if form == "dlopen" => {
                    let fits = home == Home::Cluster || program == "ompi";
                    world.is_none() && outcome == if fits { "passed" } else { "launch_failed" }
                }
                "passed" => together && world == Some(2),
                // Which launcher is right cannot be known where the program cannot be seen.
                "launch_failed" => !together && !seen,
                _ => false,
            };
            if !right {
                wrong.push(format!(
                    "{name}: {outcome}, world {world:?}: {}\n{log}",
                    step["message"]
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), ended.err);
}

#[test]
fn ranks_that_are_alone_never_pass_under_mpiexec() {
    ranks_that_are_alone_never_pass(Home::Here, "");
}

#[test]
fn cluster_ranks_that_are_alone_never_pass_under_srun() {
    ranks_that_are_alone_never_pass(Home::Cluster, "");
}

/// Where nothing tells the size of the world, that is said.
#[test]
fn ranks_without_mpi_are_said_to_prove_no_world() {
    let project = Project::new(Home::Here);
    project.file("hpc.toml", "[[test]]\nname = \"t\"\nranks = 2\ncommand = 'true'\n[[test]]\nname = \"one\"\ncommand = 'true'\n");
    project.commit();
    let ended = project.run(LOCAL).exits_with(0);
    assert!(ended.step("t")["mpi_world"].is_null());
    assert!(ended.err.contains("no rank of `t` told"), "{}", ended.err);
}

/// Fortran of both interfaces and Python, with both MPIs.
#[test]
fn worlds_are_told_in_every_language() {
    let project = Project::new(Home::Here);
    project.file(
        "new.f90",
        "program t\nuse mpi_f08\ninteger :: n\ncall MPI_Init()\ncall MPI_Comm_size(MPI_COMM_WORLD, n)\ncall MPI_Finalize()\nend program\n",
    );
    project.file(
        "old.f90",
        "program t\ninclude 'mpif.h'\ninteger :: e, p\ncall MPI_Init_thread(MPI_THREAD_SINGLE, p, e)\ncall MPI_Finalize(e)\nend program\n",
    );
    let mut text = "[build.tests]\ncommand = '''\nfor m in mpich openmpi; do for s in new old; do mpifort.$m -o $s-$m $s.f90; done; done\n'''\n".to_owned();
    for program in ["new-mpich", "new-openmpi", "old-mpich", "old-openmpi"] {
        write!(
            text,
            "[[test]]\nname = \"{program}\"\nranks = 2\ncommand = ['./{program}']\n"
        )
        .unwrap();
    }
    text += "[[test]]\nname = \"python\"\nranks = 2\ncommand = ['/usr/bin/python3', '-c', 'from mpi4py import MPI']\n";
    project.file("hpc.toml", &text);
    project.commit();
    let ended = project.run(LOCAL).exits_with(0);
    for step in [
        "new-mpich",
        "new-openmpi",
        "old-mpich",
        "old-openmpi",
        "python",
    ] {
        assert_eq!(ended.step(step)["mpi_world"], 2, "{step}");
    }
}

/// A program of `AddressSanitizer` wants its own library to be the first.
#[test]
fn the_library_of_worlds_stands_in_nobodys_way() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("t.c");
    std::fs::write(&source, "int main(void) { return 0; }\n").unwrap();
    let program = dir.path().join("t");
    let made = Command::new("gcc")
        .args(["-fsanitize=address", "-o"])
        .arg(&program)
        .arg(&source)
        .status();
    assert!(made.unwrap().success());
    let project = Project::new(Home::Here);
    project.file(
        "hpc.toml",
        &format!(
            "[[test]]\nname = \"t\"\nranks = 2\ncommand = ['{}']\n",
            program.display()
        ),
    );
    project.commit();
    project.run(LOCAL).exits_with(0);
}

/// A project of `CTest`, whose configuration looks for the launcher and holds on to its path.
const CMAKE: &str = "cmake_minimum_required(VERSION 3.18)\nproject(t C)\nfind_package(MPI REQUIRED)\nenable_testing()
add_executable(size size.c)\ntarget_link_libraries(size MPI::MPI_C)
add_test(NAME two COMMAND ${MPIEXEC_EXECUTABLE} --allow-run-as-root --oversubscribe ${MPIEXEC_NUMPROC_FLAG} 2 $<TARGET_FILE:size>)
add_test(NAME three COMMAND ${MPIEXEC_EXECUTABLE} --allow-run-as-root --oversubscribe ${MPIEXEC_NUMPROC_FLAG} 3 $<TARGET_FILE:size>)\n";

/// Harnesses that start MPI by themselves: their ranks leave notes, and where they cannot, that is said.
#[test]
fn ranks_of_a_harness_are_seen() {
    let project = Project::new(Home::Here);
    project.file("size.c", SIZE).file("CMakeLists.txt", CMAKE).file(
        "Makefile",
        "MPIRUN = mpirun --allow-run-as-root --oversubscribe\ncheck: plain\n\t$(MPIRUN) -np 2 -x A=b ./plain\n\t$(MPIRUN) -np 1 ./plain : -np 1 ./plain\nplain: size.c\n\tmpicc.openmpi -o $@ $<\n",
    );
    let step = |name: &str, command: &str| {
        format!(
            "[[test]]\nname = \"{name}\"\nlauncher = \"none\"\nranks = 2\nbuild = \"tests\"\ncommand = '''\n{command}\n'''\n"
        )
    };
    project.file(
        "hpc.toml",
        &[
            "[build.tests]\ncommand = '''\ncmake -S . -B out && cmake --build out\nmpicc.mpich -o mpich size.c\n'''\ncoverage = \"llvm\"\n[environment]\nvariables = { OMPI_CC = \"clang\", CC = \"clang\" }\n".to_owned(),
            step("ctest", "ctest --test-dir out --output-on-failure"),
            step("make", "make check"),
            step("python", "python3 -c 'import subprocess as s; s.run([\"mpiexec\", \"--allow-run-as-root\", \"--oversubscribe\", \"-n\", \"2\", \"out/size\"], check=True)'"),
            step("prefix", "$HPC_CI_LAUNCH out/size"),
            step("absolute", "\"$(PATH=/usr/bin type -P mpiexec)\" --allow-run-as-root --oversubscribe -n 2 out/size"),
            step("unknown", "mpiexec --allow-run-as-root --oversubscribe --report-bindings-strangely 2 out/size || true"),
            step("alone", "mpiexec.openmpi --allow-run-as-root --oversubscribe -n 2 ./mpich"),
            step("nothing", "true"),
        ]
        .concat(),
    );
    project.commit();
    let ended = project.run(LOCAL).exits_with(3);
    let seen = |step: &str| {
        let seen = ended.step(step)["harness"].clone();
        ["launches", "unknown", "beside"].map(|key| seen[key].as_u64().unwrap())
    };
    assert_eq!(seen("ctest"), [2, 0, 0], "{}", ended.log("ctest"));
    assert_eq!(seen("make"), [2, 0, 0], "{}", ended.log("make"));
    assert_eq!(seen("python"), [1, 0, 0]);
    assert_eq!(seen("prefix"), [1, 0, 0]);
    assert_eq!(seen("absolute"), [0, 0, 2]);
    assert_eq!(seen("unknown"), [0, 1, 0]);
    assert_eq!(seen("nothing"), [0, 0, 0]);
    let alone = ended.step("alone");
    assert_eq!(alone["outcome"], "launch_failed", "{alone:#}");
    assert!(
        ended
            .err
            .contains("some ranks of `absolute` and 2 other steps are unknown"),
        "{}",
        ended.err
    );
    let meta = ended.json("artifacts/meta.json");
    let ledger = &meta["runs"][0]["ranks"];
    let steps = ledger["steps"]
        .as_array()
        .unwrap_or_else(|| panic!("{meta:#}"));
    let expected = |name: &str| {
        let step = steps.iter().find(|step| step["step"] == name).unwrap();
        (step["expected"].as_u64(), step["used"].as_u64())
    };
    assert_eq!(expected("ctest"), (Some(3), Some(3)), "{ledger:#}");
    assert_eq!(expected("make"), (Some(2), Some(2)), "{ledger:#}");
    assert_eq!(expected("absolute"), (Some(0), Some(0)), "{ledger:#}");
}

/// The same in a job, where launchers start their daemons by srun.
#[test]
fn cluster_ranks_of_a_harness_are_seen_in_a_job() {
    let project = Project::new(Home::Cluster);
    project.file("size.c", SIZE);
    let step = |name: &str, command: &str| {
        format!(
            "[[test]]\nname = \"{name}\"\nlauncher = \"none\"\nranks = 2\nnodes = 2\ncommand = '{command}'\n"
        )
    };
    project.file(
        "hpc.toml",
        &[
            "[scheduler]\ntime = \"2m\"\n[build.tests]\ncommand = 'mpicc.openmpi -o ompi size.c; mpicc.mpich -o mpich size.c'\n".to_owned(),
            step("srun", "srun -n 2 -N 2 --mpi=pmi2 ./mpich && srun --ntasks=2 --mpi=pmix ./ompi"),
            step("mpirun", "mpirun -np 2 --map-by node ./ompi"),
            step("prefix", "$HPC_CI_LAUNCH ./ompi"),
            step("alone", "srun -n 2 --mpi=none ./mpich"),
        ]
        .concat(),
    );
    project.commit();
    let ended = project.run(&["--tests-only"]);
    let seen = |step: &str| {
        let step = ended.step(step);
        let seen = &step["harness"];
        let seen = ["launches", "unknown", "beside"].map(|key| seen[key].as_u64().unwrap());
        (seen, step["outcome"].as_str().unwrap().to_owned())
    };
    assert_eq!(
        seen("srun"),
        ([2, 0, 0], "passed".to_owned()),
        "{}",
        ended.err
    );
    assert_eq!(
        seen("mpirun"),
        ([1, 0, 0], "passed".to_owned()),
        "{}",
        ended.err
    );
    assert_eq!(
        seen("prefix"),
        ([1, 0, 0], "passed".to_owned()),
        "{}",
        ended.err
    );
    assert_eq!(
        seen("alone"),
        ([1, 0, 0], "launch_failed".to_owned()),
        "{}",
        ended.err
    );
}
