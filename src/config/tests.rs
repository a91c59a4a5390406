//! Layers, origins and trust, on whole files.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(
    clippy::similar_names,
    reason = "site and suite are the words of this project"
)]

use std::collections::BTreeMap;

use super::*;

/// A file with every table and nearly every key.
const EXAMPLE: &str = include_str!("example.toml");

fn file(text: &str) -> File<'_> {
    File {
        name: "hpc.toml",
        text,
    }
}

fn with_context<T>(cluster: Option<&str>, body: impl FnOnce(&Context) -> T) -> T {
    let environment = BTreeMap::from([
        ("SCRATCH".to_owned(), "/scratch/ada".to_owned()),
        ("EMPTY".to_owned(), String::new()),
    ]);
    body(&Context {
        environment: &environment,
        home: Some("/home/ada"),
        cluster,
    })
}

/// Reads a file as the local one.
pub(super) fn local(text: &str) -> Result<Site, ConfigError> {
    with_context(None, |context| {
        Site::read(None, Some(file(text)), &[], context)
    })
}

fn suite(text: &str, site: &Site) -> Suite {
    with_context(None, |context| Suite::read(file(text), site, context)).unwrap()
}

#[test]
fn the_example_is_read() {
    with_context(Some("alps"), |context| {
        let site = Site::read(None, Some(file(EXAMPLE)), &[], context).unwrap();
        assert_eq!(site.scheduler.partition.as_deref(), Some("normal"));
        assert_eq!(site.workspace.state, "/home/ada/.local/state/hpc-ci");
        assert_eq!(site.workspace.node_scratch, "${TMPDIR:-/tmp}");
        let suite = Suite::read(file(EXAMPLE), &site, context).unwrap();
        assert_eq!(suite.environment.modules, ["cray-mpich"]);
        assert_eq!(suite.steps.len(), 2);
        assert_eq!(suite.ignored(), []);
    });
}

#[test]
fn an_empty_project_has_the_defaults() {
    let site = local("").unwrap();
    assert_eq!(site.project.repository, ".");
    assert!(site.project.submodules);
    assert_eq!(site.workspace.keep_limit, Memory::from_bytes(1 << 30));
    assert_eq!(site.scheduler.time, Walltime::from_secs(600));
    let kept = Limits {
        max_kept: Some(Memory::from_bytes(256 << 20)),
        max_kept_files: Some(10_000),
        max_log: Memory::from_bytes(64 << 20),
        max_report_tests: 100_000,
        ..Limits::default()
    };
    assert_eq!(site.scheduler.limits, kept);
    assert_eq!(site.publish, Publish::default());
    assert_eq!(site.trust.branches, ["**"]);
    assert!(!site.trust.step_options);
    let suite = suite("", &site);
    assert_eq!(suite.steps, []);
    assert_eq!(suite.environment.init, "auto");
    assert_eq!(suite.coverage.keep_profiles, KeepProfiles::Never);
}

/// Returns settings as lines.
fn lines<'s>(settings: impl Iterator<Item = &'s Setting>) -> String {
    let line = |it: &Setting| format!("{} = {}  # {}", it.key, it.value, it.origin);
    settings.map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn layers_lie_over_one_another_and_settings_tell_where_from() {
    let of_site = File {
        name: "config.toml",
        text: "
[scheduler]
account = \"phys\"
time = \"20m\"
[cluster.alps.scheduler]
partition = \"normal\"
time = \"1h\"
",
    };
    let local = file(
        "
[scheduler]
time = \"5m\"
[cluster.daint.scheduler]
time = \"9m\"
",
    );
    let overrides = [Override {
        key: "scheduler.kind",
        value: "local".to_owned(),
        origin: Origin::Flag("--scheduler".to_owned()),
    }];
    let site = with_context(Some("alps"), |context| {
        Site::read(Some(of_site), Some(local), &overrides, context).unwrap()
    });
    let settings = site.settings().iter();
    insta::assert_snapshot!(lines(settings.filter(|it| it.key.starts_with("scheduler."))), @r#"
    scheduler.kind = "local"  # --scheduler
    scheduler.time = "5m"  # hpc.toml:3
    scheduler.margin = "2m"  # default
    scheduler.strategy = "jobs"  # default
    scheduler.max_in_flight = 50  # default
    scheduler.max_pending = "12h"  # default
    scheduler.options = []  # default
    scheduler.limits.max_kept = "256MiB"  # default
    scheduler.limits.max_kept_files = 10000  # default
    scheduler.limits.max_log = "64MiB"  # default
    scheduler.limits.max_report_tests = 100000  # default
    scheduler.account = "phys"  # config.toml:3
    scheduler.partition = "normal"  # config.toml:6
    "#);
}

#[test]
fn a_flag_that_is_wrong_is_named() {
    let overrides = [Override {
        key: "scheduler.kind",
        value: "slrum".to_owned(),
        origin: Origin::Flag("--scheduler".to_owned()),
    }];
    let error = with_context(None, |context| {
        Site::read(None, None, &overrides, context).unwrap_err()
    });
    insta::assert_snapshot!(error.render(false), @r"
    impossible-value

      x `scheduler.kind` cannot be slrum
       ,-[--scheduler:1:1]
     1 | slrum
       : ^^|^^
       :   `-- expected one of `auto`, `slurm`, `allocation`, `local`
       `----
      help: did you mean `slurm`?
    ");
}

#[test]
fn the_sites_file_says_nothing_about_tests() {
    let of_site = File {
        name: "config.toml",
        text: "
[build.tests]
command = \"make\"
[cluster.alps.launcher]
kind = \"srun\"
",
    };
    let error = with_context(None, |context| {
        Site::read(Some(of_site), None, &[], context).unwrap_err()
    });
    insta::assert_snapshot!(error.render(false), @r#"
    misplaced-table

      x `build` does not belong here
       ,-[config.toml:2:2]
     1 |
     2 | [build.tests]
       :  ^^|^^
       :    `-- not here
     3 | command = "make"
       `----
      help: what to test is said in the `hpc.toml` of the repository

    misplaced-table

      x `cluster.alps.launcher` does not belong here
       ,-[config.toml:4:15]
     3 | command = "make"
     4 | [cluster.alps.launcher]
       :               ^^^^|^^^
       :                   `-- not here
     5 | kind = "srun"
       `----
      help: what to test is said in the `hpc.toml` of the repository
    "#);
}

#[test]
fn mistakes_of_all_files_come_at_once() {
    let of_site = File {
        name: "config.toml",
        text: "[scheduler]\nacount = \"phys\"\n",
    };
    let local = file("[[test]]\nname = \"halo\"\ncommand = \"./halo\"\nranks = 0\n");
    let error = with_context(None, |context| {
        Site::read(Some(of_site), Some(local), &[], context).unwrap_err()
    });
    assert_eq!(
        error.to_string(),
        "2 mistakes in `config.toml` and `hpc.toml`"
    );
    let problems = error.problems().iter();
    let all: Vec<_> = problems
        .map(|it| (it.file(), it.position(), it.code()))
        .collect();
    assert_eq!(
        all,
        [
            ("config.toml", (2, 1), "unknown-key"),
            ("hpc.toml", (4, 9), "impossible-value"),
        ]
    );
}

#[test]
fn what_a_commit_asks_of_the_site_is_ignored_and_told() {
    let site = local("[scheduler]\npartition = \"batch\"\naccount = \"phys\"\n").unwrap();
    let commit = "
[project]
name = \"heat\"
[scheduler]
partition = \"batch\"
account = \"rich\"
limits.max_nodes = 1000
[publish.codecov]
[publish.results_branch]
remote = \"https://evil.example.org/x.git\"
[trust]
step_options = true
[cluster.alps.scheduler]
qos = \"fast\"
[[test]]
name = \"halo\"
command = \"./halo\"
";
    let suite = suite(commit, &site);
    let told: Vec<String> = suite.ignored().iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(told.join("\n"), @r#"
    hpc.toml:3: `project.name = "heat"` is ignored, it is not for the commit to say
    hpc.toml:6: `scheduler.account = "rich"` is ignored, `"phys"` holds
    hpc.toml:7: `scheduler.limits.max_nodes = 1000` is ignored, it is not for the commit to say
    hpc.toml:8: `publish.codecov = {}` is ignored, it is not for the commit to say
    hpc.toml:10: `publish.results_branch.remote = "https://evil.example.org/x.git"` is ignored, it is not for the commit to say
    hpc.toml:12: `trust.step_options = true` is ignored, `false` holds
    "#);
    assert_eq!(suite.steps.len(), 1);
}

#[test]
fn a_commit_with_the_sites_own_tables_has_nothing_ignored() {
    let text = "
[scheduler]
partition = \"batch\"
[publish.gitlab]
[publish.codecov]
flag = \"hpc\"
";
    let site = local(text).unwrap();
    assert_eq!(suite(text, &site).ignored(), []);
}

#[test]
fn mistakes_in_tables_that_are_ignored_do_not_matter() {
    let site = local("").unwrap();
    let suite = suite("[scheduler]\ntime = 5\nnonsense = true\n", &site);
    assert_eq!(suite.ignored().len(), 2);
}

#[test]
fn a_steps_environment_lies_over_the_general_one() {
    let text = "
[environment]
modules = [\"gcc/13\"]
setup = \"source a.sh\"
variables = { A = \"1\", B = 2 }
[[test]]
name = \"halo\"
command = [\"./halo\", \"-x\"]
environment = { modules = [], variables = { B = \"3\", C = \"4\" } }
";
    let suite = suite(text, &local("").unwrap());
    let environment = &suite.steps[0].environment;
    assert_eq!(environment.modules, Vec::<String>::new());
    assert_eq!(environment.setup, ["source a.sh"]);
    let variables = environment.variables.iter();
    let pairs: Vec<String> = variables
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    assert_eq!(pairs, ["A=1", "B=3", "C=4"]);
}

#[test]
fn settings_of_steps_are_those_that_were_written() {
    let text = "
[[test]]
name = \"halo\"
command = \"./halo\"
[[benchmark]]
name = \"solver/3d\"
command = \"./s\"
warmup = 3
[[benchmark.metric]]
pattern = '(\\d+)'
";
    let suite = suite(text, &local("").unwrap());
    let settings = suite.settings().iter();
    insta::assert_snapshot!(lines(settings.filter(|it| it.origin != Origin::Default)), @r#"
    test.halo.name = "halo"  # hpc.toml:3
    test.halo.command = "./halo"  # hpc.toml:4
    benchmark."solver/3d".warmup = 3  # hpc.toml:8
    benchmark."solver/3d".name = "solver/3d"  # hpc.toml:6
    benchmark."solver/3d".command = "./s"  # hpc.toml:7
    benchmark."solver/3d".metric.0.pattern = '(\d+)'  # hpc.toml:10
    "#);
}

#[test]
fn passwords_in_addresses_are_not_shown() {
    let address = "https://ada:hunter2@example.org/x.git";
    let site = local(&format!("project.repository = \"{address}\"\n")).unwrap();
    assert_eq!(site.project.repository, address);
    let settings = site.settings().iter();
    insta::assert_snapshot!(lines(settings.filter(|it| it.key == "project.repository")), @r#"
    project.repository = "https://ada:*******@example.org/x.git"  # hpc.toml:1
    "#);
    let shown = |address: &str| {
        let site = local(&format!("project.repository = \"{address}\"\n")).unwrap();
        let mut settings = site.settings().iter();
        let found = settings.find(|it| it.key == "project.repository").unwrap();
        found.value.as_str().unwrap().to_owned()
    };
    assert_eq!(shown("https://tok@h/x.git"), "https://***@h/x.git");
    assert_eq!(shown("https://u:a:b@h/x"), "https://u:***@h/x");
    assert_eq!(shown("ssh://git@h/x.git"), "ssh://git@h/x.git");
}

#[test]
fn several_mistakes_are_shown_below_a_line_that_counts_them() {
    let error = local("[scheduler]\ntime = 1\nmargin = 2\n").unwrap_err();
    let theme = miette::GraphicalTheme::unicode_nocolor();
    let mut text = String::new();
    miette::GraphicalReportHandler::new_themed(theme)
        .render_report(&mut text, &error)
        .unwrap();
    insta::assert_snapshot!(text, @r#"
      × 2 mistakes in `hpc.toml`

    Error: wrong-type

      × `scheduler.time` must be a duration such as "10m", not an integer
       ╭─[hpc.toml:2:8]
     1 │ [scheduler]
     2 │ time = 1
       ·        ┬
       ·        ╰── this is an integer
     3 │ margin = 2
       ╰────

    Error: wrong-type

      × `scheduler.margin` must be a duration such as "10m", not an integer
       ╭─[hpc.toml:3:10]
     2 │ time = 1
     3 │ margin = 2
       ·          ┬
       ·          ╰── this is an integer
       ╰────
    "#);
}

const DOCUMENTATION: &str = include_str!("../../docs/configuration.md");

#[test]
fn every_key_is_in_the_documentation() {
    let undocumented = |key: &&String| {
        let last = key.rsplit('.').next().unwrap_or(key);
        !DOCUMENTATION.contains(&format!("| `{last}` |"))
    };
    let missing: Vec<&String> = keys().iter().filter(undocumented).collect();
    assert_eq!(missing, Vec::<&String>::new());
}

#[test]
fn every_default_is_in_the_documentation() {
    let defaults: toml::Table = include_str!("defaults.toml").parse().unwrap();
    let mut missing = Vec::new();
    let (limits, tables): (Vec<_>, Vec<_>) = defaults
        .iter()
        .filter(|(table, _)| *table != "template")
        .flat_map(|(table, keys)| {
            let keys = keys.as_table().unwrap().iter();
            keys.map(move |(key, value)| (table, key, value))
        })
        .partition(|(_, _, value)| value.is_table());
    let inner = limits.into_iter().flat_map(|(_, table, keys)| {
        let keys = keys.as_table().unwrap().iter();
        keys.map(move |(key, value)| (table, key, value))
    });
    for (table, key, value) in tables.into_iter().chain(inner) {
        let row = |line: &str| {
            line.starts_with(&format!("| `{key}` |")) && line.contains(&format!("| `{value}` |"))
        };
        if !DOCUMENTATION.lines().any(row) {
            missing.push(format!("{table}.{key} = {value}"));
        }
    }
    assert_eq!(missing, Vec::<String>::new());
}

/// Pieces of files that are wrong in ever new ways.
const PIECES: [&str; 16] = [
    "[[test]]\n",
    "[[benchmark]]\n",
    "[scheduler]\n",
    "[scheduler.limits]\n",
    "[build.tests]\n",
    "[cluster.alps]\n",
    "[publish.codecov]\n",
    "name = \"a\"\n",
    "command = \"x {ranks} {y} {{\"\n",
    "ranks = -1\n",
    "matrix = { ranks = [1, \"a\"], exclude = [{}] }\n",
    "needs = [\"a\", \"a[\"]\n",
    "metric = [{}, { name = 3 }]\n",
    "root = \"${A:-$B}\"\n",
    "time = \"1h1h\"\n",
    "x = [[1], {}]\n",
];

proptest::proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(
        text in "\\PC{0,200}",
        pieces in proptest::collection::vec(0..PIECES.len(), 0..12),
    ) {
        let built: String = pieces.into_iter().map(|piece| PIECES[piece]).collect();
        for text in [&text, &built, &format!("{built}{text}")] {
            if let Err(error) = local(text) {
                proptest::prop_assert!(!error.render(true).is_empty());
            }
        }
    }
}

#[test]
fn every_example_of_the_documentation_is_read() {
    let blocks = DOCUMENTATION.split("```toml\n").skip(1);
    let mut read = 0;
    for block in blocks.filter_map(|block| block.split("```").next()) {
        if let Err(error) = local(block) {
            panic!("{}", error.render(false));
        }
        read += 1;
    }
    assert!(read > 10, "only {read} examples were found");
}

#[test]
fn a_mistake_in_the_environment_is_told_once() {
    let text = "
[environment]
modules = [\"gcc 13\"]
[[test]]
name = \"a\"
command = \"./a\"
[[test]]
name = \"b\"
command = \"./b\"
environment = { setup = \"source b.sh\" }
";
    assert_eq!(local(text).unwrap_err().problems().len(), 1);
}
