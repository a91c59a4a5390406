//! Reports of steps that are Slurm jobs: those of several nodes, and of a job that Slurm starts again.

use std::fmt::Write as _;
use std::time::Duration;

use crate::support::driver::Driver;
use crate::support::{Home, Project};

/// Ranks on two nodes, whose clocks are wrong by years, write over the reports that were there; one of them does not.
#[test]
fn ranks_on_several_nodes_write_over_what_was_there() {
    let project = Project::new(Home::Cluster);
    project.file(
        "hpc.toml",
        r#"
[build.tests]
command = "for rank in 0 1; do echo '<testsuite><testcase name=\"a\"/></testsuite>' >all-$rank.xml; cp all-$rank.xml one-$rank.xml; done"
[[test]]
name = "all"
ranks = 2
nodes = 2
command = "text=$(cat all-$HPC_CI_RANK.xml) && echo \"$text\" >all-$HPC_CI_RANK.xml && touch -d $((1990 + 30 * HPC_CI_RANK))-01-01 all-$HPC_CI_RANK.xml"
results = { format = "junit", path = "all-{rank}.xml" }
[[test]]
name = "one"
ranks = 2
nodes = 2
command = "[ $HPC_CI_RANK = 1 ] || { text=$(cat one-0.xml) && echo \"$text\" >one-0.xml; }"
results = { format = "junit", path = "one-{rank}.xml" }
"#,
    );
    project.commit();
    let run = project.run(&[]).exits_with(3);
    let all = run.step("all");
    assert_eq!(all["outcome"], "passed", "{all:#}");
    assert_eq!(
        (&all["nodes"].as_array().unwrap().len(), &all["report"]),
        (&2, &"junit".into())
    );
    let one = run.step("one");
    assert_eq!(one["outcome"], "lost", "{one:#}");
    let message = one["message"].as_str().unwrap();
    assert_eq!(message, "rank 1 left no report that can be read");
}

/// What its first start wrote is not taken for the report of the second, and that one is found where the step was told to put it.
#[test]
fn the_report_of_a_job_that_slurm_starts_again_is_that_of_its_last_start() {
    let project = Project::new(Home::Cluster);
    let command = |place: &str, second: &str| {
        format!(
            "if [ ! -e ../../../go-{place} ]; then \
             echo '<testsuite><testcase name=\"a\"/></testsuite>' >$PLACE/r-{place}.xml; touch ../../../go-{place}; sleep 300; fi; {second}"
        )
    };
    let good = "echo '<testsuite><testcase name=\"a\"/></testsuite>' >$PLACE/r-own.xml";
    let own = command("own", good).replace("$PLACE", "$HPC_CI_STEP_DIR");
    let silent = command("silent", "true").replace("$PLACE", "$HPC_CI_STEP_DIR");
    let tree = command("tree", "true").replace("$PLACE", ".");
    let mut toml = "[trust]\nstep_options = true\n".to_owned();
    for (name, command) in [("own", own), ("silent", silent), ("tree", tree)] {
        writeln!(
            toml,
            "[[test]]\nname = \"{name}\"\noptions = [\"--requeue\"]\ncommand = '''{command}'''\n\
             results = {{ format = \"junit\", path = \"r-{name}.xml\" }}"
        )
        .unwrap();
    }
    project.file("hpc.toml", &toml).commit();
    let mut driver = Driver::start(&project, &[]);
    for (before, name) in ["own", "silent", "tree"].into_iter().enumerate() {
        let job = driver.runs(name);
        while !project.dir.join(format!("hpc-ci/go-{name}")).exists() {
            std::thread::sleep(Duration::from_millis(50));
        }
        let scontrol = |arguments: &[&str]| {
            let done = project
                .command("scontrol")
                .args(arguments)
                .output()
                .unwrap();
            assert!(done.status.success(), "{done:?}");
        };
        scontrol(&["requeue", &job]);
        driver.says("was put back into the queue by Slurm", before + 1);
        // It would wait for two minutes.
        scontrol(&["update", &format!("JobId={job}"), "StartTime=now"]);
    }
    let run = driver.ends().exits_with(3);
    let own = run.step("own");
    assert_eq!(
        (&own["outcome"], &own["report"]),
        (&"passed".into(), &"junit".into()),
        "{own:#}"
    );
    for step in ["silent", "tree"] {
        let record = run.step(step);
        assert_eq!(record["outcome"], "lost", "{record:#}");
        let message = record["message"].as_str().unwrap();
        let said = format!("the report `r-{step}.xml` was there before the step began");
        assert!(message.starts_with(&said), "{message}");
    }
}
