//! Whole files, of every kind of project, read by the reader that they are made for.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(
    clippy::similar_names,
    reason = "site and suite are the words of this project"
)]

use std::collections::BTreeMap;
use std::time::Duration;

use insta::assert_snapshot;

use super::*;
use crate::config::{self, Context, Site, Suite};
use crate::doctor::facts::{FolderFacts, Mpi, Tools, Trial};
use crate::init::found::{Clang, Machine, Python, Storage};
use crate::init::kind;
use crate::init::tree::Tree;
use crate::launch::Place;
use crate::plan::{Disposition, Plan, Revision, Selection, plan};
use crate::scheduler::slurm::{Association, Cluster, Partition, Shape};

fn on_disk(filesystem: &'static str) -> FolderFacts {
    FolderFacts {
        filesystem: Some(filesystem),
        ..FolderFacts::default()
    }
}

fn laptop() -> Machine {
    Machine {
        place: Place::Here,
        cluster: None,
        default_account: None,
        tools: Tools {
            c: Some(Trial {
                mpi: Some(Mpi::OpenMpi),
                ..Trial::default()
            }),
            ..Tools::default()
        },
        clang: Clang::Named("clang".into(), Some("clang++".into())),
        modules: Vec::new(),
        chosen: Vec::new(),
        python: Python::default(),
        ctest_writes_junit: true,
        storage: Vec::new(),
        clone: on_disk("ext4"),
        cores: 8,
    }
}

fn partition(name: &str, default: bool, minutes: u64) -> Partition {
    Partition {
        name: name.into(),
        default,
        up: true,
        max_time: Some(Duration::from_mins(minutes)),
        nodes: 3,
        shapes: vec![Shape {
            nodes: 3,
            cpus: 4,
            memory: 2 << 30,
            ..Shape::default()
        }],
        ..Partition::default()
    }
}

fn cluster() -> Cluster {
    Cluster {
        name: Some("dev".into()),
        version: Some("22.05.8".into()),
        pmis: vec!["pmix_v4".into(), "pmi2".into()],
        partitions: vec![
            partition("debug", true, 30),
            partition("batch", false, 1440),
        ],
        associations: vec![Association {
            cluster: "dev".into(),
            account: "ci".into(),
            qos: vec!["normal".into()],
            ..Association::default()
        }],
        ..Cluster::default()
    }
}

fn on_cluster(cluster: Cluster) -> Machine {
    Machine {
        place: Place::Job,
        cluster: Some(Ok(cluster)),
        modules: vec![
            ("gcc/13".into(), None),
            ("old".into(), Some("it is gone".into())),
        ],
        storage: vec![Storage {
            variable: "SCRATCH",
            path: "/scratch/$LOGNAME".into(),
            facts: on_disk("lustre"),
        }],
        ..laptop()
    }
}

fn found(tree: &Tree, machine: Machine) -> Found {
    let project = kind::project(tree);
    Found {
        name: project.name.clone().or_else(|| Some("folder".into())),
        is_clone: true,
        ignores_results: false,
        project,
        machine,
    }
}

/// Reads the file as hpc-ci would, on the cluster of this name.
#[track_caller]
fn read(text: &str, cluster: Option<&str>) -> (Site, Suite) {
    let environment = BTreeMap::from([("LOGNAME".to_owned(), "ada".to_owned())]);
    let context = Context {
        environment: &environment,
        home: Some("/home/ada"),
        cluster,
    };
    let file = config::File {
        name: "hpc.toml",
        text,
    };
    let site = Site::read(None, Some(file), &[], &context);
    let site = site.unwrap_or_else(|error| panic!("{}\n{text}", error.render(false)));
    let suite = Suite::read(file, &site, &context).unwrap();
    assert_eq!(suite.ignored(), []);
    (site, suite)
}

#[track_caller]
fn planned(text: &str, cluster: Option<&str>) -> Plan {
    let (site, suite) = read(text, cluster);
    let plan = plan(&site, &suite, &Revision::default(), &Selection::default()).unwrap();
    let all_run = plan
        .steps
        .iter()
        .all(|step| step.disposition == Disposition::Run);
    assert!(all_run && plan.notes.is_empty(), "{:?}\n{text}", plan.notes);
    plan
}

fn heat() -> Tree {
    Tree::from([
        ("Makefile", include_str!("../../../examples/heat/Makefile")),
        (
            "src/heat.c",
            include_str!("../../../examples/heat/src/heat.c"),
        ),
        (
            "tests/halo.c",
            include_str!("../../../examples/heat/tests/halo.c"),
        ),
        (
            "tests/unit.c",
            include_str!("../../../examples/heat/tests/unit.c"),
        ),
        (
            "tests/conservation.c",
            include_str!("../../../examples/heat/tests/conservation.c"),
        ),
        (
            "tests/mpi_test.h",
            include_str!("../../../examples/heat/tests/mpi_test.h"),
        ),
    ])
}

/// A small project of each kind.
fn projects() -> Vec<Tree> {
    vec![
        heat(),
        Tree::from([
            (
                "Cargo.toml",
                "[package]\nname = \"heat\"\n[dependencies]\nmpi = \"0.8\"\n[features]\nrma = []\n[dev-dependencies]\ncriterion = \"0.8\"\n",
            ),
            ("src/lib.rs", ""),
            ("examples/halo.rs", "fn main() { mpi::initialize(); }"),
            ("benches/solver.rs", ""),
        ]),
        Tree::from([
            ("Cargo.toml", "[package]\nname = \"plain\"\n"),
            ("src/lib.rs", ""),
        ]),
        Tree::from([
            (
                "CMakeLists.txt",
                "project(heat CXX)\nfind_package(MPI)\ninclude(CTest)\nadd_executable(halo tests/halo.cpp)\nadd_test(NAME \"it's\" COMMAND halo)\n",
            ),
            ("tests/halo.cpp", "int main() { MPI_Init(0, 0); }"),
        ]),
        Tree::from([
            ("meson.build", "project('heat', 'c')\ntest('a', a)\n"),
            ("src/a.c", ""),
        ]),
        Tree::from([
            ("configure.ac", "AC_INIT([heat],[1])\n"),
            ("Makefile.am", "TESTS = unit\n"),
            ("src/a.c", ""),
        ]),
        Tree::from([
            ("fpm.toml", "name = \"heat\"\n[dependencies]\nmpi = \"*\"\n"),
            ("test/a.f90", ""),
        ]),
        Tree::from([
            ("Project.toml", "name = \"Heat\"\n[deps]\nMPI = \"x\"\n"),
            ("src/Heat.jl", ""),
            ("test/runtests.jl", ""),
        ]),
        Tree::from([
            ("pyproject.toml", "[project]\nname = \"heat\"\n"),
            ("src/heat/__init__.py", "import mpi4py"),
            ("tests/test_heat.py", ""),
        ]),
        Tree::from([
            ("Makefile", "check:\n\tmpirun -np 3 ./x\n"),
            ("x.c", "MPI_Init"),
        ]),
        Tree::from([("Makefile", "CC = gcc\ntest: x\n\t./x\n"), ("x.c", "")]),
    ]
}

#[test]
fn every_kind_makes_a_plan_on_every_kind_of_machine() {
    for tree in projects() {
        let machines = [
            (laptop(), None),
            (on_cluster(cluster()), Some("dev")),
            // The same file somewhere else.
            (on_cluster(cluster()), Some("elsewhere")),
            (
                Machine {
                    cluster: Some(Err("`scontrol` cannot reach the controller".into())),
                    clang: Clang::Missing("there is no clang in PATH".into()),
                    ctest_writes_junit: false,
                    python: Python {
                        pytest: true,
                        cov: true,
                        mpi4py: true,
                    },
                    ..laptop()
                },
                None,
            ),
        ];
        for (machine, name) in machines {
            let found = found(&tree, machine);
            let text = file(&found);
            let plan = planned(&text, name);
            assert_eq!(plan.steps.len(), found.project.steps.len(), "{text}");
            assert!(
                text.lines().all(|line| line.starts_with("command")
                    || line.chars().count() <= 125
                    || line.starts_with("# command")),
                "{text}"
            );
            // What a person may take the comment sign from is a plan as well.
            planned(&uncommented(&text), name);
        }
    }
}

/// Takes the sign from commented tables of steps and builds; the rest is prose.
fn uncommented(text: &str) -> String {
    let mut taking = false;
    let lines = text.lines().map(|line| {
        let rest = line.strip_prefix("# ").unwrap_or_default();
        taking = match rest {
            rest if rest.starts_with("[[test]]") || rest.starts_with("[build.") => true,
            // A benchmark of cargo has its figures from its report.
            rest if rest.starts_with("[[benchmark]]") => true,
            "" => false,
            _ => taking,
        };
        if taking { rest } else { line }
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_sample_project_on_a_machine_without_slurm() {
    assert_snapshot!(file(&found(&heat(), laptop())), @r##"
    # Written by `hpc-ci init` from what it found; every line is yours to change. docs/configuration.md of hpc-ci
    # has all keys, `hpc-ci config` shows what is in force, `hpc-ci plan` what would run.

    [project]
    name = "folder"

    [environment]
    # What mpicc calls; clang can be instrumented for coverage, gcc cannot.
    variables = { OMPI_CC = "clang" }

    [build.tests]
    # One file at a time; where the Makefile allows it, `make -j 4` is faster.
    command = "make"
    coverage = "llvm"

    # A test of `tests/unit.c`; no MPI was found in it.
    [[test]]
    name = "unit"
    command = "build/unit"

    # A test of `tests/halo.c`, which starts MPI.
    [[test]]
    name = "halo"
    suite = "mpi"
    command = "build/halo"
    ranks = 2  # a guess; several: matrix = { ranks = [1, 2, 4] } in its place

    # A test of `tests/conservation.c`, which starts MPI.
    [[test]]
    name = "conservation"
    suite = "mpi"
    command = "build/conservation"
    ranks = 2  # a guess; several: matrix = { ranks = [1, 2, 4] } in its place

    # A program of `src/heat.c`, which starts MPI: does it end by itself, and what tells that it was right?
    # [[test]]
    # name = "heat"
    # suite = "mpi"
    # command = "build/heat"
    # ranks = 2  # a guess; several: matrix = { ranks = [1, 2, 4] } in its place

    # A benchmark is a [[benchmark]] with a `command` and the figure in what it prints (docs/benchmarks.md).

    [coverage]
    # Which sources count.
    include = ["src/**"]

    # There was no Slurm where this was written: steps run there under mpiexec. On a cluster they become jobs;
    # `hpc-ci init --stdout` there shows what its tables [cluster.NAME.…] would be.

    # Results can go to Codecov, GitHub, GitLab, or a branch with a dashboard; each needs its table
    # (docs/publish.md):
    # [publish.codecov]
    # token_file = "~/.config/hpc-ci/codecov-token"
    "##);
}

#[test]
fn the_sample_project_on_a_cluster() {
    let text = file(&found(&heat(), on_cluster(cluster())));
    let (site, suite) = read(&text, Some("dev"));
    assert_eq!(site.scheduler.partition.as_deref(), Some("debug"));
    assert_eq!(site.scheduler.account.as_deref(), Some("ci"));
    assert_eq!(site.workspace.root, "/scratch/ada/hpc-ci/folder");
    assert_eq!(suite.environment.modules, ["gcc/13"]);
    let at = text.find("[cluster.dev.environment]").unwrap();
    assert_snapshot!(&text[at..], @r##"
    [cluster.dev.environment]
    # What was loaded when this was written: cron and jobs start without. Drop what build and tests do not need.
    modules = ["gcc/13"]
    # "old" was loaded too, and does not load anew: it is gone

    # Cluster `dev`, Slurm 22.05.8. You may use:
    #   partition        up to  nodes  cores  memory   also
    #   debug (default)  30m    3      4      2.0 GiB
    #   batch            1d     3      4      2.0 GiB
    # Accounts: ci. QOS: normal.
    # These keys are taken from the file that hpc-ci is started with, never from a commit of somebody else;
    # ~/.config/hpc-ci/config.toml may hold them as well, for all your projects.
    [cluster.dev.scheduler]
    partition = "debug"
    account = "ci"
    # qos = "normal"  # without it Slurm takes your default

    # What steps and runs may take at most; one that asks for more is refused. Worth setting before others can
    # start runs, with `max_nodes`, `max_time` and `max_node_hours` besides:
    # [cluster.dev.scheduler.limits]
    # partitions = ["debug", "batch"]

    # Trees, runs and caches: big, on storage that nodes see. This is $SCRATCH, lustre; cron does not know that
    # variable.
    [cluster.dev.workspace]
    root = "/scratch/$LOGNAME/hpc-ci/folder"

    # Results can go to Codecov, GitHub, GitLab, or a branch with a dashboard; each needs its table
    # (docs/publish.md):
    # [publish.codecov]
    # token_file = "~/.config/hpc-ci/codecov-token"
    "##);
}

#[test]
fn a_file_without_tests_says_so_and_is_read() {
    let tree = Tree::from([
        ("Makefile", "hello: hello.c\n\tmpicc -o $@ $^\n"),
        ("hello.c", "MPI_Init"),
    ]);
    for tree in [Tree::default(), tree] {
        let found = found(&tree, laptop());
        let text = file(&found);
        read(&text, None);
        assert!(text.contains("# No test was found"), "{text}");
        planned(&uncommented(&text), None);
        let said = talk(&found);
        assert!(
            said.iter()
                .any(|line| line.word == "missing" && line.text.starts_with("tests")),
            "{said:?}"
        );
    }
}

#[test]
fn what_a_cluster_is_like_decides_on_partition_account_time_and_launcher() {
    let short = Cluster {
        partitions: vec![
            Partition {
                up: false,
                ..partition("gone", true, 60)
            },
            Partition {
                accounts: vec!["other".into()],
                ..partition("theirs", false, 60)
            },
            partition("short", false, 8),
        ],
        pmis: vec!["cray_shasta".into(), "pmi2".into()],
        ..cluster()
    };
    let text = file(&found(&heat(), on_cluster(short)));
    let (site, suite) = read(&text, Some("dev"));
    assert_eq!(site.scheduler.partition.as_deref(), Some("short"));
    assert_eq!(site.scheduler.time.to_string(), "6m");
    assert_eq!(suite.launcher.kind, config::LauncherKind::Mpiexec);

    let mut several = cluster();
    several.name = Some("big one".into());
    several.associations.push(Association {
        account: "phys".into(),
        ..several.associations[0].clone()
    });
    let unknown = on_cluster(cluster_like(&several));
    let (site, _) = read(&file(&found(&heat(), unknown)), Some("big one"));
    assert_eq!(
        site.scheduler.account, None,
        "which of both pays is for the person to say"
    );
    let known = Machine {
        default_account: Some("phys".into()),
        ..on_cluster(several)
    };
    let (site, _) = read(&file(&found(&heat(), known)), Some("big one"));
    assert_eq!(site.scheduler.account.as_deref(), Some("phys"));
}

/// Clusters hold errors, which cannot be cloned.
fn cluster_like(other: &Cluster) -> Cluster {
    Cluster {
        name: other.name.clone(),
        partitions: other.partitions.clone(),
        associations: other.associations.clone(),
        ..cluster()
    }
}

#[test]
fn the_compiler_is_named_where_the_build_looks_for_it() {
    let c = ("a.c", "MPI_Init");
    let cases = [
        (
            Tree::from([("Makefile", "check:\n"), c]),
            Some(Mpi::OpenMpi),
            "{ OMPI_CC = \"clang\" }",
        ),
        (
            Tree::from([("Makefile", "check:\n"), c]),
            Some(Mpi::Mpich),
            "{ MPICH_CC = \"clang\" }",
        ),
        (
            Tree::from([("Makefile", "check:\n"), c]),
            None,
            "{ CC = \"clang\" }",
        ),
        (
            Tree::from([
                (
                    "CMakeLists.txt",
                    "project(x)\nenable_testing()\nadd_test(a b)",
                ),
                ("a.cpp", ""),
            ]),
            Some(Mpi::OpenMpi),
            "{ CC = \"clang\", CXX = \"clang++\" }",
        ),
    ];
    for (tree, mpi, expected) in cases {
        let mut machine = laptop();
        machine.tools.c = Some(Trial {
            mpi,
            ..Trial::default()
        });
        let text = file(&found(&tree, machine));
        assert!(
            text.contains(&format!("variables = {expected}")),
            "{expected}\n{text}"
        );
    }
    // What the login has set, a job under cron would not have.
    let usual = Machine {
        clang: Clang::Usual,
        chosen: vec![
            ("OMPI_CC".into(), "clang-19".into()),
            ("CC".into(), "gcc".into()),
        ],
        ..laptop()
    };
    let text = file(&found(&Tree::from([("Makefile", "check:\n"), c]), usual));
    assert!(
        text.contains("variables = { OMPI_CC = \"clang-19\" }"),
        "{text}"
    );
}

#[test]
fn what_was_found_guessed_and_is_to_be_done_is_said() {
    let lines = talk(&found(&heat(), on_cluster(cluster())));
    let lines: Vec<String> = lines
        .iter()
        .map(|line| format!("{:<8} {}", line.word, line.text))
        .collect();
    assert_snapshot!(lines.join("\n"), @r##"
    found    a make project with MPI (Makefile): 3 tests, `unit`, `halo`, `conservation`
    found    Open MPI behind mpicc; clang, which can be instrumented for coverage
    found    Cluster `dev`, Slurm 22.05.8: partitions `debug`, `batch`; accounts `ci`
    guessed  2 ranks for `halo`, `conservation`: no file says how many
    guessed  how it is built, from the kind of project: see `command` of [build.tests]
    missing  module `old`, which is loaded and does not load anew: it is gone
    next     hpc-ci doctor     what stands in the way of a run here
    next     hpc-ci plan       what would be submitted
    next     hpc-ci            runs it; commit hpc.toml when it does what you want
    next     echo /hpc-ci/ >>.gitignore     runs leave their results there
    "##);
}
