//! What `keep` saves of jobs, tasks of arrays and packed steps on the dev cluster.

use serde_json::json;

use crate::local::keep::KILLS_ITS_SCRIPT;
use crate::support::tools::full;
use crate::support::{Home, Project};

#[test]
fn jobs_tasks_and_packed_steps_keep_their_files_and_so_does_one_that_was_killed() {
    let project = Project::new(Home::Cluster);
    let writes = "echo $SLURM_JOB_ID >job.txt; mkdir out; echo {n} >out/{n}.dat";
    let step = |strategy: &str| {
        format!(
            "[[test]]\nname = \"{strategy}\"\nstrategy = \"{strategy}\"\ncommand = '{writes}'\ncwd = \"private\"\n\
             keep = [\"job.txt\", \"out/{{n}}.dat\"]\nmatrix = {{ n = [1, 2] }}\n"
        )
    };
    // A record that does not come is waited for.
    let killed = if full() {
        format!(
            "[[test]]\nname = \"killed\"\ncommand = '{KILLS_ITS_SCRIPT}'\nlauncher = \"none\"\nkeep = [\"*.txt\"]\n"
        )
    } else {
        String::new()
    };
    project.file(
        "hpc.toml",
        &format!(
            "[scheduler]\ntime = \"1m\"\n{}{}{}{killed}",
            step("jobs"),
            step("array"),
            step("packed"),
        ),
    );
    project.commit();
    let run = project.run(&["--no-coverage"]);
    assert_eq!(run.code == Some(0), !full(), "{}", run.err);
    for strategy in ["jobs", "array", "packed"] {
        for n in [1, 2] {
            let step = run.step(&format!("{strategy}[n={n}]"));
            assert_eq!(step["status"], "passed", "{step:#}");
            let kept = &step["kept"][0];
            let own = format!("out/{n}.dat");
            assert_eq!(kept["names"], json!(["job.txt", own]), "{step:#}");
            let folder = kept["folder"].as_str().unwrap();
            let text = run.text(&format!("artifacts/tests/{folder}/{own}"));
            assert_eq!(text, format!("{n}\n"));
        }
    }
    if full() {
        let kept = &run.step("killed")["kept"][0];
        assert_eq!(kept["names"], json!(["left.txt"]), "{kept:#}");
    }
}
