//! `doctor` on the dev cluster, as an ordinary user.

use crate::doctor::{MPI, finding, findings, path_without};
use crate::support::own_cluster::OwnCluster;
use crate::support::{Ended, Home, Project, shared};

const STEPS: &str = r#"
[project]
name = "doctored"
[build.tests]
command = "true"
[[test]]
name = "pair"
command = "true"
ranks = 2
time = "2m"
"#;

fn project(toml: &str) -> Project {
    let project = Project::new(Home::Cluster);
    project.file("hpc.toml", &format!("{STEPS}{toml}"));
    project.commit();
    project
}

fn doctor(project: &Project) -> Ended {
    // Other tests keep the few nodes busy.
    project.run(&["doctor", "--format", "json", "--wait", "2m"])
}

#[test]
fn a_cluster_that_is_well_gets_a_clean_bill() {
    let project = project("");
    let ended = doctor(&project).exits_with(0);
    for check in [
        "scheduler.place",
        "scheduler.answers",
        "scheduler.accounting",
        "plan.fits",
        "mpi.library",
        "mpi.pmi",
        "storage.shared",
        "node.program",
        "node.scratch",
        "node.clock",
    ] {
        let found = finding(&ended, check);
        assert_eq!(found.level, "ok", "{check}: {found:?}");
    }
    assert!(
        finding(&ended, "scheduler.answers")
            .saw
            .contains("cluster `dev`")
    );
    assert!(
        !project.dir.join("hpc-ci").exists(),
        "nothing may be left behind"
    );
}

#[test]
fn a_workspace_that_nodes_do_not_share_is_told() {
    // Each node of the dev cluster has a /tmp of its own.
    let own = std::env::temp_dir().join(format!("hpc-ci-not-shared-{}", std::process::id()));
    std::fs::create_dir_all(&own).unwrap();
    let done = std::process::Command::new("chmod")
        .arg("0777")
        .arg(&own)
        .status();
    assert!(done.unwrap().success());
    let project = project(&format!("[workspace]\nroot = \"{}\"\n", own.display()));
    let ended = doctor(&project).exits_with(3);
    let found = finding(&ended, "storage.shared");
    assert_eq!(found.level, "error");
    assert!(
        found.saw.contains("does not see the workspace"),
        "{found:?}"
    );
    assert!(
        found.remedy.contains("set `root` of [workspace]"),
        "{found:?}"
    );
    assert!(findings(&ended, "node.program").is_empty());
    assert_eq!(std::fs::read_dir(&own).unwrap().count(), 0, "left behind");
    std::fs::remove_dir(&own).unwrap();
}

#[test]
fn a_workspace_of_somebody_else_is_told() {
    let theirs = shared().join(format!("of-root-{}", std::process::id()));
    std::fs::create_dir_all(&theirs).unwrap();
    let project = project(&format!("[workspace]\nroot = \"{}\"\n", theirs.display()));
    let ended = doctor(&project).exits_with(3);
    let found = &findings(&ended, "storage.writable")[0];
    assert_eq!(found.level, "error");
    assert!(found.saw.contains("permission denied"), "{found:?}");
    assert!(
        finding(&ended, "node.answers")
            .saw
            .contains("nothing can be written")
    );
    std::fs::remove_dir(&theirs).unwrap();
}

#[test]
fn slurm_without_mpi_is_told() {
    let project = project("");
    let mut command = project.hpc_ci(&["doctor", "--format", "json", "--wait", "0s"]);
    let path = path_without(&project, MPI);
    let ended = Ended::of(&project.dir, &command.env("PATH", &path).output().unwrap());
    let found = finding(&ended.exits_with(0), "mpi.library");
    assert_eq!(found.level, "warning");
    assert!(
        found.saw.contains("only programs that bring their own MPI"),
        "{found:?}"
    );

    project.file(
        "hpc.toml",
        &format!("{STEPS}[launcher]\nkind = \"mpiexec\"\n"),
    );
    let mut command = project.hpc_ci(&["doctor", "--format", "json", "--wait", "0s"]);
    let ended = Ended::of(&project.dir, &command.env("PATH", &path).output().unwrap());
    assert_eq!(finding(&ended.exits_with(3), "mpi.library").level, "error");
}

#[test]
fn a_plan_that_the_cluster_refuses_is_told_step_by_step() {
    let project = project(
        r#"
[[test]]
name = "nowhere"
command = "true"
partition = "nosuch"
[[test]]
name = "long"
command = "true"
partition = "debug"
time = "3h"
[[test]]
name = "wide"
command = "true"
nodes = 99
ranks = 99
[[test]]
name = "picky"
command = "true"
constraint = "nosuch"
"#,
    );
    let ended = project.run(&["doctor", "--format", "json", "--wait", "0s"]);
    let found = findings(&ended.exits_with(3), "plan.fits");
    for (step, saw, remedy) in [
        ("nowhere", "there is no partition `nosuch`", "`batch`"),
        ("long", "3h2m", "lower `time`"),
        ("wide", "99 nodes are more than", "lower `nodes`"),
        ("picky", "Invalid feature specification", "constraint"),
    ] {
        let of_step: Vec<_> = found
            .iter()
            .filter(|found| found.saw.contains(&format!("`{step}`")))
            .collect();
        assert_eq!(of_step.len(), 1, "{step}: {found:?}");
        assert_eq!(of_step[0].level, "error");
        assert!(of_step[0].saw.contains(saw), "{:?}", of_step[0]);
        assert!(of_step[0].remedy.contains(remedy), "{:?}", of_step[0]);
    }
}

#[test]
fn an_account_that_is_not_yours_is_told() {
    let project = project("[scheduler]\naccount = \"nobody\"\n");
    let ended = project.run(&["doctor", "--format", "json"]).exits_with(3);
    let found = finding(&ended, "plan.fits");
    assert!(found.saw.contains("no account `nobody`"), "{found:?}");
    assert!(found.remedy.contains("`ci`"), "{found:?}");
    let node = finding(&ended, "node.answers");
    assert_eq!(node.level, "error", "{node:?}");
}

#[test]
fn a_cluster_without_accounting_is_told_and_runs_steps() {
    let cluster = OwnCluster::start(5, "");
    cluster.reconfigure(&[
        "s|^AccountingStorageType=.*|AccountingStorageType=accounting_storage/none|",
        "/^AccountingStorageEnforce=/d",
        "$a MinJobAge=2",
        "$a PrivateData=jobs",
    ]);
    let project = Project::on(&cluster);
    project.file("hpc.toml", STEPS).commit();
    let ended = doctor(&project).exits_with(0);
    let books = finding(&ended, "scheduler.accounting");
    assert_eq!(books.level, "warning");
    assert!(books.saw.contains("keeps no accounting"), "{books:?}");
    assert!(books.saw.contains("after 2 s"), "{books:?}");
    assert!(
        books.remedy.contains("keep the driver running"),
        "{books:?}"
    );
    assert_eq!(finding(&ended, "scheduler.private").level, "note");
    // That sacctmgr has nothing to say is no news then.
    assert!(
        findings(&ended, "scheduler.questions").is_empty(),
        "{ended:?}"
    );
    assert_eq!(
        project.run(&["run"]).exits_with(0).outcome("pair").0,
        "passed"
    );
}
