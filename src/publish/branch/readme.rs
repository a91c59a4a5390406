//! The `README.md` of the branch.

/// By this the branch is known for one of ours.
pub(super) const MARK: &str = "<!-- hpc-ci: results branch -->";

/// Returns the text. The project's name is its owner's choice, and stands here as plain text.
pub(super) fn text(project: Option<&str>) -> String {
    let is_plain = |c: &char| c.is_alphanumeric() || " .-".contains(*c);
    let project: String = project
        .unwrap_or("")
        .chars()
        .filter(is_plain)
        .take(80)
        .collect();
    let project = match project.trim() {
        "" => String::new(),
        name => format!(" of {name}"),
    };
    format!(
        "{MARK}
# Results{project}

![tests](badges/tests.svg) ![coverage](badges/coverage.svg) ![benchmarks](badges/benchmarks.svg)

Written by hpc-ci. `index.html` is the dashboard: open it here after a download, or through Pages.

| | |
|---|---|
| `SHA/RUN/` | the documents of one run; never changed |
| `SHA/tests.json`, `benchmarks.json`, `meta.json`, `hpc-results.json` | the commit, joined from its runs |
| `latest-*.json`, `badges/` | the default branch |
| `branches/NAME/latest-*.json` | the other branches |

`badges/*.json` are for Shields: `https://img.shields.io/endpoint?url=` and the address of the file. Runs that were filtered, of
a changed work tree, or damaged by the infrastructure are kept and move none of the latest. Paths inside of the documents
lead to the artifacts of the run, which stayed where it ran. The oldest commits are removed in time; they remain in git's history.
"
    )
}
