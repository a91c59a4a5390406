//! `init` on the dev cluster, as an ordinary user.

use crate::init::heat;
use crate::support::Home;

#[test]
fn the_sample_project_runs_with_what_is_written_on_the_cluster() {
    let project = heat(Home::Cluster);
    let init = project.run(&["init"]).exits_with(0);
    assert!(
        init.err
            .contains("partitions `debug`, `batch`, `small`; accounts `ci`"),
        "{}",
        init.err
    );
    let text = std::fs::read_to_string(project.dir.join("hpc.toml")).unwrap();
    let table = "[cluster.dev.scheduler]\npartition = \"debug\"\naccount = \"ci\"\n";
    assert!(text.contains(table), "{text}");
    for row in [
        "debug (default)  30m",
        "batch            1d",
        "small            ",
    ] {
        assert!(text.contains(row), "{row}\n{text}");
    }
    let config = project.run(&["config", "scheduler.account"]).exits_with(0);
    assert!(config.out.contains("ci"), "{}", config.out);
    project.run(&["plan"]).exits_with(0);
    let run = project.run(&[]).exits_with(0);
    assert_eq!(run.outcome("halo").0, "passed");
    let hits = run.line_hits("src/strip.c");
    assert!(hits.iter().any(|(_, hits)| *hits > 0), "{hits:?}");
}
