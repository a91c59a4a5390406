//! What real clusters differ in, and what is said of it.

use std::time::Duration;

use super::all;
use crate::config::SchedulerKind;
use crate::doctor::facts::{
    Facts, FolderFacts, Git, Host, Mpi, Node, Slurm, Subject, Tools, Trial,
};
use crate::doctor::finding::{Finding, Level};
use crate::launch::Place;
use crate::plan::Step;
use crate::scheduler::QueryError;
use crate::scheduler::slurm::Cluster;

fn cluster() -> Cluster {
    Cluster {
        name: Some("alps".into()),
        version: Some("24.05.1".into()),
        accounting: true,
        min_job_age: Some(Duration::from_mins(5)),
        enforces_limits: true,
        pmis: vec!["pmix_v4".into(), "pmi2".into()],
        ..Cluster::default()
    }
}

fn facts(cluster: Cluster) -> Facts {
    Facts {
        place: Place::Job,
        slurm: Slurm {
            client: Some("slurm 24.05.1".into()),
            cluster: Some(Ok(cluster)),
            books: Some(Ok(())),
            ..Slurm::default()
        },
        admitted: Vec::new(),
        tools: Tools {
            c: Some(Trial {
                compiler: "mpicc".into(),
                mapping: true,
                mpi: Some(Mpi::OpenMpi),
                ..Trial::default()
            }),
            versions: vec![("mpicc".into(), "clang version 19".into())],
            ..Tools::default()
        },
        folders: vec![FolderFacts::default()],
        node: Node::NotAsked("nobody wants to know".into()),
        host: Host::default(),
        tokens: Vec::new(),
        git: Git::Nowhere,
    }
}

fn subject() -> Subject {
    Subject {
        kind: SchedulerKind::Auto,
        max_in_flight: 50,
        steps: vec![step()],
        ..Subject::default()
    }
}

/// A step on two ranks, as a plan makes it.
fn step() -> Step {
    use crate::config::{Context, File, Site, Suite};
    use crate::plan::{Revision, Selection, plan};
    let variables = std::collections::BTreeMap::new();
    let context = Context {
        environment: &variables,
        home: Some("/home/ada"),
        cluster: None,
    };
    let file = File {
        name: "hpc.toml",
        text: "[[test]]\nname = \"pair\"\ncommand = \"true\"\nranks = 2\n",
    };
    let place = Site::read(None, Some(file), &[], &context);
    let place = place.unwrap_or_else(|error| panic!("{error}"));
    let suite = Suite::read(file, &place, &context);
    let suite = suite.unwrap_or_else(|error| panic!("{error}"));
    let plan = plan(&place, &suite, &Revision::default(), &Selection::default());
    plan.unwrap_or_else(|error| panic!("{error}"))
        .steps
        .remove(0)
}

#[track_caller]
fn only(findings: &[Finding], check: &str) -> Finding {
    let found: Vec<&Finding> = findings.iter().filter(|it| it.check == check).collect();
    assert_eq!(found.len(), 1, "{check}: {findings:#?}");
    found[0].clone()
}

/// The one finding of this name has this level, and both texts hold these words.
#[track_caller]
fn says(facts: &Facts, check: &str, level: Level, saw: &str, remedy: &str) {
    let found = only(&all(&subject(), facts), check);
    assert_eq!(found.level, level, "{found:#?}");
    assert!(found.saw.contains(saw), "{found:#?}");
    assert!(found.remedy.unwrap_or_default().contains(remedy), "{saw}");
}

#[test]
fn a_cluster_that_is_well_gives_no_warning() {
    let findings = all(&subject(), &facts(cluster()));
    let bad: Vec<&Finding> = findings
        .iter()
        .filter(|it| it.level > Level::Note)
        .collect();
    assert!(bad.is_empty(), "{bad:#?}");
}

#[test]
fn without_accounting_the_driver_has_to_stay() {
    let without = |seconds| {
        let mut facts = facts(Cluster {
            accounting: false,
            min_job_age: Some(Duration::from_secs(seconds)),
            unanswered: vec![QueryError::Failed {
                command: "sacctmgr".into(),
                said: "You are not running a supported accounting_storage plugin".into(),
            }],
            ..cluster()
        });
        facts.slurm.books = Some(Err(QueryError::NoAccounting));
        facts
    };
    let check = "scheduler.accounting";
    says(
        &without(300),
        check,
        Level::Warning,
        "forgets ended jobs after 300 s",
        "`hpc-ci resume` within that time",
    );
    says(
        &without(2),
        check,
        Level::Warning,
        "after 2 s",
        "MinJobAge=300",
    );
    let findings = all(&subject(), &without(2));
    for check in ["scheduler.min_job_age", "scheduler.questions"] {
        assert!(findings.iter().all(|it| it.check != check), "{findings:#?}");
    }
}

#[test]
fn a_short_memory_is_no_harm_where_there_are_books() {
    let short = facts(Cluster {
        min_job_age: Some(Duration::from_secs(2)),
        ..cluster()
    });
    says(
        &short,
        "scheduler.min_job_age",
        Level::Note,
        "read from accounting",
        "",
    );
}

#[test]
fn books_that_do_not_answer_are_told() {
    let mut silent = facts(cluster());
    silent.slurm.books = Some(Err(QueryError::Unreachable {
        command: "sacct".into(),
        said: "it was silent for 15 s".into(),
    }));
    says(
        &silent,
        "scheduler.accounting",
        Level::Warning,
        "silent for 15 s",
        "try `sacct`",
    );
}

#[test]
fn jobs_that_squeue_hides_are_told() {
    let private = facts(Cluster {
        private: vec!["jobs".into(), "usage".into()],
        ..cluster()
    });
    says(
        &private,
        "scheduler.private",
        Level::Note,
        "your own are seen",
        "",
    );
}

#[test]
fn other_clusters_are_told_with_the_variable_that_chooses() {
    let mut several = facts(cluster());
    several.slurm.clusters = vec!["alps".into(), "daint".into()];
    says(
        &several,
        "scheduler.clusters",
        Level::Note,
        "`daint`",
        "SLURM_CLUSTERS",
    );
    several.slurm.clusters.pop();
    assert!(
        all(&subject(), &several)
            .iter()
            .all(|it| it.check != "scheduler.clusters")
    );
}

#[test]
fn an_mpi_that_slurm_cannot_start_is_an_error() {
    let bare = |mpi, pmis: &[&str]| {
        let mut facts = facts(Cluster {
            pmis: pmis.iter().map(|pmi| (*pmi).to_owned()).collect(),
            ..cluster()
        });
        facts.tools.c = Some(Trial {
            mpi: Some(mpi),
            ..Trial::default()
        });
        facts
    };
    let check = "mpi.pmi";
    let remedy = "`kind = \"mpiexec\"`";
    let without = ["none", "cray_shasta", "pmi2"];
    says(
        &bare(Mpi::OpenMpi, &without),
        check,
        Level::Error,
        "needs `pmix`",
        remedy,
    );
    says(
        &bare(Mpi::Mpich, &["none", "pmix_v4"]),
        check,
        Level::Error,
        "needs `pmi2`",
        remedy,
    );
    says(
        &bare(Mpi::Mpich, &without),
        check,
        Level::Ok,
        "with `pmi2`",
        "",
    );
}

#[test]
fn limits_of_a_login_are_told_with_what_raises_them() {
    let login = |host| Facts {
        host,
        ..facts(cluster())
    };
    let check = "host.limits";
    let roomy = Host {
        memory: Some(64 << 30),
        cpus: Some(400),
        tasks: Some(4096),
        processes: Some(4096),
        files: Some(1024),
        ..Host::default()
    };
    says(
        &login(roomy.clone()),
        check,
        Level::Ok,
        "64 GiB of memory (cgroup), 4.0 processors",
        "",
    );
    for (host, saw, remedy) in [
        (
            Host {
                memory: Some(1 << 30),
                ..roomy.clone()
            },
            "only 1.0 GiB of memory",
            "`threads` of [workspace]",
        ),
        (
            Host {
                cpus: Some(50),
                ..roomy.clone()
            },
            "only 0.5 processors",
            "make -j 2",
        ),
        (
            Host {
                tasks: Some(100),
                ..roomy.clone()
            },
            "only 100 tasks",
            "where = \"job\"",
        ),
        (
            Host {
                processes: Some(64),
                ..roomy.clone()
            },
            "only 64 processes",
            "ulimit -u",
        ),
        (
            Host {
                files: Some(256),
                ..roomy.clone()
            },
            "only 256 open files",
            "ulimit -n 4096",
        ),
    ] {
        says(&login(host), check, Level::Warning, saw, remedy);
    }
    says(
        &login(Host::default()),
        check,
        Level::Ok,
        "nothing limits",
        "",
    );
}

#[test]
fn where_there_is_no_cron_scrontab_is_told() {
    let with = |no_cron: Option<&str>, no_scrontab: Option<&str>| Facts {
        host: Host {
            no_cron: no_cron.map(str::to_owned),
            no_scrontab: no_scrontab.map(str::to_owned),
            ..Host::default()
        },
        ..facts(cluster())
    };
    let (none, off) = (
        Some("`crontab` is not installed"),
        Some("`scrontab`: disabled"),
    );
    let check = "host.cron";
    says(&with(None, off), check, Level::Ok, "cron can be used", "");
    says(
        &with(none, None),
        check,
        Level::Note,
        "but scrontab can be used",
        "`hpc-ci init --ci cron`",
    );
    says(
        &with(none, off),
        check,
        Level::Note,
        "neither cron",
        "operators",
    );
}

#[test]
fn a_client_that_does_not_work_is_not_taken_for_none() {
    let mut broken = facts(cluster());
    broken.slurm = Slurm {
        broken: Some("fatal: Unable to process configuration file".into()),
        ..Slurm::default()
    };
    let check = "scheduler.place";
    says(
        &broken,
        check,
        Level::Error,
        "Unable to process",
        "SLURM_CONF",
    );
    broken.place = Place::Here;
    says(
        &broken,
        check,
        Level::Warning,
        "steps run on this machine",
        "SLURM_CONF",
    );
}

#[test]
fn a_controller_that_is_down_is_told_with_how_to_see_it_come_back() {
    let mut down = facts(cluster());
    down.slurm.cluster = Some(Err(QueryError::Unreachable {
        command: "scontrol".into(),
        said: "Unable to contact slurm controller (connect failure)".into(),
    }));
    says(
        &down,
        "scheduler.answers",
        Level::Error,
        "connect failure",
        "`scontrol ping`",
    );
}
