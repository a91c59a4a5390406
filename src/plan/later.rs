//! Settings that are read and checked, and do nothing yet: a person who uses one is told.

use super::{Build, Producer};
use crate::config::Suite;

/// Returns a note for each such setting in use.
pub(super) fn notes(suite: &Suite, builds: &[Build]) -> Vec<String> {
    let uses = [
        ("`[gates.*]`", !suite.gates.is_empty()),
        (
            "`coverage = \"gcov\"`",
            builds.iter().any(|build| build.coverage == Producer::Gcov),
        ),
        (
            "`coverage = \"coverage.py\"`",
            builds
                .iter()
                .any(|build| build.coverage == Producer::CoveragePy),
        ),
    ];
    uses.into_iter()
        .filter(|(_, used)| *used)
        .map(|(what, _)| format!("{what} has no effect in this version"))
        .collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::collections::BTreeMap;

    use crate::config::{Context, File, Site, Suite};
    use crate::plan::{Revision, Selection, plan};

    fn notes(text: &str) -> Vec<String> {
        let variables = BTreeMap::new();
        let context = Context {
            environment: &variables,
            home: Some("/home/u"),
            cluster: None,
        };
        let file = File {
            name: "hpc.toml",
            text,
        };
        let site = Site::read(None, Some(file), &[], &context).unwrap();
        let suite = Suite::read(file, &site, &context).unwrap();
        let plan = plan(&site, &suite, &Revision::default(), &Selection::default());
        plan.unwrap().notes
    }

    #[test]
    fn what_does_nothing_yet_is_said_when_it_is_used() {
        let plain = "[[test]]\nname = \"a\"\ncommand = \"true\"\n";
        assert_eq!(notes(plain), Vec::<String>::new());
        let text = format!("{plain}[build.tests]\ncommand = \"make\"\ncoverage = \"gcov\"\n");
        assert_eq!(
            notes(&text),
            ["`coverage = \"gcov\"` has no effect in this version"]
        );
    }
}
