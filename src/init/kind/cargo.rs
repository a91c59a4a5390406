//! A project of cargo.

use toml::{Table, Value};

use super::super::found::{Build, Language, Project, Ranks, Step};
use super::super::tree::{Tree, file_name, stem};

pub(super) fn project(tree: &Tree) -> Option<Project> {
    let manifest: Table = tree.text("Cargo.toml")?.parse().ok()?;
    let name = manifest
        .get("package")
        .and_then(|package| package.get("name"));
    let name = name.and_then(Value::as_str).map(str::to_owned);
    let workspace = manifest.contains_key("workspace");
    let manifests = || {
        tree.texts(&["Cargo.toml"])
            .filter(|(path, _)| file_name(path) == "Cargo.toml")
            .filter_map(|(_, text)| text.parse::<Table>().ok())
    };
    let mpi = manifests().any(|manifest| depends_on(&manifest, "mpi"));
    let (mut steps, ideas) = (vec![unit(&manifest, workspace)], benches(tree, manifests));
    steps.extend(examples(tree));
    let locked = if tree.has("Cargo.lock") {
        " --locked"
    } else {
        ""
    };
    let words = words(&manifest, workspace);
    Some(Project {
        name,
        language: Language::Rust,
        mpi,
        build: Some(Build {
            command: format!("cargo test --offline --no-run{words}"),
            why: vec![
                "The same words as the test below, so that nothing is left to compile on a node; examples are built along."
                    .to_owned(),
            ],
            fetch: Some(format!("cargo fetch{locked}")),
            plain: (!ideas.is_empty()).then(|| format!("cargo bench --offline --no-run{words}")),
        }),
        steps,
        ideas,
        include: include(tree),
        ..Project::default()
    })
}

fn words(manifest: &Table, workspace: bool) -> String {
    let mut words = String::new();
    if workspace {
        words.push_str(" --workspace");
    }
    if !features(manifest).is_empty() {
        words.push_str(" --features='{features}'");
    }
    words
}

/// What cargo itself calls tests.
fn unit(manifest: &Table, workspace: bool) -> Step {
    let mut why =
        vec!["What Rust's test programs print is read: each of their tests is one.".to_owned()];
    let features = features(manifest);
    if let Some(first) = features.first() {
        why.push(format!(
            "Feature sets: matrix = {{ features = [\"\", {}] }}",
            Value::from(first.as_str())
        ));
    }
    Step {
        name: "cargo".to_owned(),
        command: format!(
            "cargo test --offline --no-fail-fast{}",
            words(manifest, workspace)
        ),
        why,
        ..Step::default()
    }
}

fn features(manifest: &Table) -> Vec<String> {
    let features = manifest.get("features").and_then(Value::as_table);
    let names = features.into_iter().flat_map(Table::keys);
    names.filter(|name| *name != "default").cloned().collect()
}

fn depends_on(manifest: &Table, name: &str) -> bool {
    let workspace = manifest.get("workspace").and_then(Value::as_table);
    let tables = ["dependencies", "dev-dependencies"]
        .iter()
        .filter_map(|table| manifest.get(*table))
        .chain(workspace.and_then(|it| it.get("dependencies")));
    let mut dependencies = tables.filter_map(Value::as_table).flatten();
    dependencies
        .any(|(key, value)| value.get("package").and_then(Value::as_str).unwrap_or(key) == name)
}

/// Examples that start MPI: cargo builds them, and only a launcher can run them as they are meant.
fn examples(tree: &Tree) -> Vec<Step> {
    let example = |(path, text): (&str, &str)| {
        let (folders, file) = path.rsplit_once('/')?;
        let name = if folders == "examples" || folders.ends_with("/examples") {
            stem(file)
        } else if file == "main.rs" {
            let (above, name) = folders.rsplit_once('/')?;
            (file_name(above) == "examples").then_some(name)?
        } else {
            return None;
        };
        text.contains("mpi::initialize").then(|| Step {
            name: name.to_owned(),
            suite: Some("mpi"),
            command: format!("target/debug/examples/{name}"),
            ranks: Ranks::Guessed,
            why: vec![format!("`{path}` starts MPI.")],
            ..Step::default()
        })
    };
    tree.texts(&[".rs"]).filter_map(example).collect()
}

fn benches<I: Iterator<Item = Table>>(tree: &Tree, manifests: impl Fn() -> I) -> Vec<Step> {
    if !manifests().any(|manifest| depends_on(&manifest, "criterion")) {
        return Vec::new();
    }
    let files = tree.texts(&[".rs"]).map(|(path, _)| path).filter(|path| {
        path.rsplit_once('/')
            .is_some_and(|(folder, _)| file_name(folder) == "benches")
    });
    let step = |path: &str| Step {
        name: stem(path).to_owned(),
        benchmark: true,
        command: format!("cargo bench --offline --bench {}", stem(path)),
        results: Some(("criterion", "target/criterion/**/new/*.json")),
        once: true,
        why: vec![format!("`{path}`; Criterion repeats by itself.")],
        ..Step::default()
    };
    files.map(step).collect()
}

fn include(tree: &Tree) -> Vec<String> {
    let top = tree.has_folder("src");
    let members = tree.paths().any(|path| path.contains("/src/"));
    let patterns = [(top, "src/**"), (members, "**/src/**")];
    let patterns = patterns.iter().filter(|(there, _)| *there);
    patterns.map(|(_, pattern)| (*pattern).to_owned()).collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn examples_that_start_mpi_are_tests_of_their_own() {
        let project = project(&Tree::from([
            (
                "Cargo.toml",
                "[package]\nname = \"heat\"\n[dependencies]\nmpi = \"0.8\"\n[features]\ndefault = []\nrma = []\n",
            ),
            ("Cargo.lock", ""),
            ("src/lib.rs", ""),
            ("examples/halo.rs", "fn main() { let universe = mpi::initialize(); }"),
            ("examples/big/main.rs", "fn main() { mpi::initialize(); }"),
            ("examples/plain.rs", "fn main() {}"),
        ]))
        .unwrap();
        assert!(project.mpi);
        let outline: Vec<(&str, &str, Ranks)> = project
            .steps
            .iter()
            .map(|step| (step.name.as_str(), step.command.as_str(), step.ranks))
            .collect();
        assert_eq!(
            outline,
            [
                (
                    "cargo",
                    "cargo test --offline --no-fail-fast --features='{features}'",
                    Ranks::One
                ),
                ("big", "target/debug/examples/big", Ranks::Guessed),
                ("halo", "target/debug/examples/halo", Ranks::Guessed),
            ]
        );
        let build = project.build.unwrap();
        assert_eq!(build.fetch.as_deref(), Some("cargo fetch --locked"));
        assert_eq!(
            build.command,
            "cargo test --offline --no-run --features='{features}'"
        );
    }

    #[test]
    fn a_workspace_is_tested_as_a_whole_and_its_benches_are_ideas() {
        let project = project(&Tree::from([
            ("Cargo.toml", "[workspace]\nmembers = [\"core\"]\n"),
            (
                "core/Cargo.toml",
                "[package]\nname = \"core\"\n[dev-dependencies]\ncriterion = \"0.8\"\nrs = { package = \"mpi\", version = \"0.8\" }\n",
            ),
            ("core/src/lib.rs", ""),
            ("core/benches/solver.rs", ""),
        ]))
        .unwrap();
        assert!(project.mpi, "the dependency may have another name here");
        assert_eq!(
            project.steps[0].command,
            "cargo test --offline --no-fail-fast --workspace"
        );
        assert_eq!(project.ideas[0].name, "solver");
        assert_eq!(project.include, ["**/src/**"]);
    }
}
