//! What a run on the dev cluster tells of its queue.

use serde_json::Value;

use crate::support::{Home, Project, schema};

/// More than the nodes have cores for.
const STEPS: usize = 20;

fn events(project: &Project, arguments: &[&str]) -> Vec<Value> {
    let mut all = vec!["--no-coverage", "--format", "json"];
    all.extend(arguments);
    let run = project.run(&all).exits_with(0);
    let read = |line| {
        let event = serde_json::from_str::<Value>(line).unwrap();
        schema::check("event", &event);
        event
    };
    run.out.lines().map(read).collect()
}

fn of<'e>(events: &'e [Value], name: &str) -> Vec<&'e Value> {
    events
        .iter()
        .filter(|event| event["event"] == name)
        .collect()
}

fn project(strategy: &str) -> Project {
    let project = Project::new(Home::Cluster);
    project.file(
        "hpc.toml",
        &format!(
            "[workspace]\nstate = \"hpc-ci/state\"\n[scheduler]\nstrategy = \"{strategy}\"\ntime = \"2m\"\n\
             [[test]]\nname = \"alike\"\ncommand = \"sleep 2\"\nlauncher = \"none\"\nexclusive = {}\n\
             matrix = {{ n = [{}] }}\n",
            strategy == "jobs",
            (0..STEPS).map(|n| n.to_string()).collect::<Vec<_>>().join(", ")
        ),
    );
    project.commit();
    project
}

#[test]
fn why_jobs_wait_and_where_they_run_is_told() {
    for strategy in ["jobs", "array"] {
        let project = project(strategy);
        let events = events(&project, &[]);
        let queued = of(&events, "step_queued");
        let reasons = queued.iter().filter_map(|event| event["reason"].as_str());
        let known = ["Priority", "Resources", "None"];
        assert!(
            reasons.clone().any(|reason| known.contains(&reason)),
            "{strategy}: {queued:#?}"
        );
        let started = of(&events, "step_started");
        assert!(!started.is_empty(), "{events:#?}");
        for event in started {
            assert_eq!(event["nodes"].as_array().unwrap().len(), 1, "{event:#}");
            assert_eq!(
                (&event["ranks"], &event["limit_seconds"]),
                (&1.into(), &120.into())
            );
        }
        let ended = of(&events, "step_ended");
        assert_eq!(ended.len(), STEPS, "{events:#?}");
        assert!(
            ended.iter().all(|event| event["job_id"].is_string()),
            "{ended:#?}"
        );
    }
}

#[test]
fn steps_of_a_pack_wait_for_their_turn_in_it() {
    let project = project("packed");
    let events = events(&project, &[]);
    let place = |name: &str, step: &str, reason: Option<&str>| {
        events.iter().position(|event| {
            event["event"] == name
                && event["step"] == step
                && reason.is_none_or(|it| event["reason"] == it)
        })
    };
    let steps: Vec<String> = (0..STEPS).map(|n| format!("alike[n={n}]")).collect();
    let waited = |step: &&String| place("step_queued", step, Some("Packed")).is_some();
    assert!(steps.iter().any(|step| waited(&step)), "{events:#?}");
    for step in &steps {
        let started = place("step_started", step, None).unwrap();
        // Whoever runs does not wait any more, whatever the queue says of the pack later.
        let packed = place("step_queued", step, Some("Packed"));
        assert!(
            packed.is_none_or(|packed| packed < started),
            "{step}: {events:#?}"
        );
        assert!(place("step_ended", step, None).unwrap() > started, "{step}");
    }
}
