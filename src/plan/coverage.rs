//! Where the coverage of a run is made.

use super::{JobPlace, Place, Producer, Step, limits};
use crate::config::{Site, Suite, Where};

/// Returns where the coverage of these steps is made; a job that goes beyond the site's limits is not asked for, which is noted.
pub(super) fn place(suite: &Suite, site: &Site, steps: &[Step], notes: &mut Vec<String>) -> Place {
    let asked = &suite.coverage;
    let gives = |step: &Step| step.runs() && step.coverage != Producer::None;
    if asked.place == Where::Here || !steps.iter().any(gives) {
        return Place::Here;
    }
    let own = || site.scheduler.partition.clone();
    let job = JobPlace {
        time: asked.time.unwrap_or(site.scheduler.time).duration(),
        // As many as would be at work here.
        cpus: Some(asked.cpus.unwrap_or(site.workspace.threads)),
        memory: asked.memory,
        partition: asked.partition.clone().or_else(own),
        margin: site.scheduler.margin.duration(),
    };
    match limits::job_beyond(&job, site) {
        None => Place::Job(job),
        Some(reason) => {
            notes.push(format!(
                "the job of [coverage]: {reason}; coverage is made here"
            ));
            Place::Here
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::collections::BTreeMap;

    use crate::config::{Context, File, Site, Suite};
    use crate::plan::{Place, Plan, Revision, Selection, plan};

    fn planned(settings: &str, coverage: &str) -> Plan {
        let variables = BTreeMap::new();
        let context = Context {
            environment: &variables,
            home: Some("/home/u"),
            cluster: None,
        };
        let text = format!(
            "{settings}\n[build.tests]\ncommand = \"make\"\ncoverage = \"llvm\"\n[[test]]\nname = \"a\"\ncommand = \"true\"\n\
             time = \"58m\"\n[coverage]\n{coverage}\n"
        );
        let file = File {
            name: "hpc.toml",
            text: &text,
        };
        let site = Site::read(None, Some(file), &[], &context).unwrap();
        let suite = Suite::read(file, &site, &context).unwrap();
        plan(&site, &suite, &Revision::default(), &Selection::default()).unwrap()
    }

    #[test]
    fn a_job_of_the_coverage_is_planned_and_counted() {
        let here = planned("", "where = \"here\"");
        assert_eq!((&here.coverage, here.node_hours()), (&Place::Here, 1.0));
        let job = planned("", "where = \"job\"\ntime = \"28m\"\nmemory = \"4GiB\"");
        let Place::Job(place) = &job.coverage else {
            panic!("{job:?}")
        };
        assert_eq!((place.cpus, job.node_hours()), (Some(4), 1.5));
        let budget = "[scheduler.limits]\nmax_node_hours = 1.4";
        let refused = planned(budget, "where = \"job\"\ntime = \"28m\"");
        assert!(!refused.steps[0].runs());
        // There is nothing left whose coverage could be made.
        assert_eq!(refused.coverage, Place::Here);
    }

    #[test]
    fn a_job_beyond_the_limits_is_not_asked_for() {
        let limits = "[scheduler.limits]\nmax_time = \"1h\"\npartitions = [\"batch\"]";
        let check = |coverage: &str, note: &str| {
            let plan = planned(limits, &format!("where = \"job\"\n{coverage}"));
            assert_eq!(plan.coverage, Place::Here);
            assert_eq!(plan.notes, [note]);
        };
        check(
            "time = \"2h\"",
            "the job of [coverage]: it asks for a time of 2h, where at most 1h is granted; coverage is made here",
        );
        check(
            "partition = \"gpu\"",
            "the job of [coverage]: it asks for the partition `gpu`, which is not granted; coverage is made here",
        );
    }
}
