//! Whole plans, from files of settings.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Write as _;

use super::*;
use crate::config::{Context, File};

/// Plans the suite of `text`, with the site of the same text.
fn planned(text: &str, selection: &Selection) -> Result<Plan, PlanError> {
    planned_on(None, text, text, selection)
}

fn planned_on(
    cluster: Option<&str>,
    local: &str,
    commit: &str,
    selection: &Selection,
) -> Result<Plan, PlanError> {
    let environment = BTreeMap::new();
    let context = Context {
        environment: &environment,
        home: Some("/home/ada"),
        cluster,
    };
    let file = |text| File {
        name: "hpc.toml",
        text,
    };
    let site = Site::read(None, Some(file(local)), &[], &context).unwrap();
    let suite = Suite::read(file(commit), &site, &context).unwrap();
    plan(&site, &suite, &Revision::default(), selection)
}

/// Returns a line for each step: name, build, ranks, what becomes of it.
fn outline(plan: &Plan) -> String {
    let mut text = String::new();
    for step in &plan.steps {
        let fate = match &step.disposition {
            Disposition::Run => String::new(),
            Disposition::Skip { reason } => format!(" skipped: {reason}"),
            Disposition::Refuse { reason, .. } => format!(" refused: {reason}"),
        };
        let (name, build, ranks) = (&step.name, &step.build, step.resources.ranks);
        writeln!(text, "{name} in {build}, {ranks} ranks{fate}").unwrap();
    }
    for build in &plan.builds {
        let (id, command) = (&build.id, &build.command);
        writeln!(text, "build {id}: {command:?} {}", build.coverage).unwrap();
    }
    for note in &plan.notes {
        writeln!(text, "note: {note}").unwrap();
    }
    text
}

const HEAT: &str = "
[build.tests]
command = \"cargo build --features='{features}'\"
coverage = \"llvm\"

[[test]]
name = \"unit\"
tags = [\"fast\"]
command = \"cargo test --lib\"

[[test]]
name = \"halo\"
suite = \"integration\"
command = \"./halo {ranks} '{features}' {{x}}\"
needs = [\"unit\"]
matrix = { ranks = [1, 2, 4], features = [\"\", \"rma\"], exclude = [{ ranks = 1, features = \"rma\" }] }

[[benchmark]]
name = \"solver/3d\"
command = [\"./solver\", \"{nodes}\"]
ranks = 4
metric = { pattern = '([0-9.]+) s' }
";

#[test]
fn a_matrix_becomes_steps_and_builds() {
    let plan = planned(HEAT, &Selection::default()).unwrap();
    insta::assert_snapshot!(outline(&plan), @r#"
    unit in tests, 1 ranks
    halo[ranks=1,features=] in tests, 1 ranks
    halo[ranks=2,features=] in tests, 2 ranks
    halo[ranks=2,features=rma] in tests-rma-863ad08a, 2 ranks
    halo[ranks=4,features=] in tests, 4 ranks
    halo[ranks=4,features=rma] in tests-rma-863ad08a, 4 ranks
    solver/3d in benchmarks, 4 ranks
    build tests: Some(Shell("cargo build --features=''")) llvm
    build tests-rma-863ad08a: Some(Shell("cargo build --features='rma'")) llvm
    build benchmarks: Some(Shell("cargo build --features=''")) none
    "#);
    assert_eq!(
        plan.step("halo[ranks=4,features=rma]").unwrap().command,
        CommandLine::Shell("./halo 4 'rma' {x}".to_owned())
    );
}

fn names(text: &str, selection: &Selection) -> Vec<String> {
    let plan = planned(text, selection).unwrap();
    plan.steps.into_iter().map(|step| step.name).collect()
}

#[test]
fn selections() {
    let check = |selection: Selection, expected: &[&str]| {
        assert_eq!(names(HEAT, &selection), expected, "{selection:?}");
    };
    let filter = |text: &str| Selection {
        filter: Some(text.parse().unwrap()),
        ..Selection::default()
    };
    let named = |name: &str| Selection {
        names: vec![name.to_owned()],
        ..Selection::default()
    };
    check(named("unit"), &["unit"]);
    check(named("solver"), &["solver/3d"]);
    // Needed steps come along.
    check(
        named("ranks=2,features=rma"),
        &["unit", "halo[ranks=2,features=rma]"],
    );
    check(filter("tag(fast)"), &["unit"]);
    check(
        filter("name(halo[ranks=1,features=])"),
        &["unit", "halo[ranks=1,features=]"],
    );
    check(
        filter("ranks(4) & !suite(benchmarks) & name(*rma*)"),
        &["unit", "halo[ranks=4,features=rma]"],
    );
    check(filter("!(suite(integration) | tag(fast))"), &["solver/3d"]);
    let selection = Selection {
        kinds: Kinds::Benchmarks,
        ..Selection::default()
    };
    check(selection, &["solver/3d"]);
    let selection = Selection {
        among: Some(BTreeSet::from(["unit".to_owned()])),
        ..Selection::default()
    };
    check(selection, &["unit"]);
    let selection = Selection {
        kinds: Kinds::Tests,
        features: vec!["rma".to_owned()],
        names: vec!["halo".to_owned()],
        ..Selection::default()
    };
    check(
        selection,
        &[
            "unit",
            "halo[ranks=2,features=rma]",
            "halo[ranks=4,features=rma]",
        ],
    );
}

#[test]
fn ranks_select_where_an_axis_has_them_and_replace_where_none_does() {
    let selection = Selection {
        ranks: Some(2),
        features: vec!["rma".to_owned()],
        ..Selection::default()
    };
    let plan = planned(HEAT, &selection).unwrap();
    insta::assert_snapshot!(outline(&plan), @r#"
    unit in tests-rma-863ad08a, 2 ranks
    halo[ranks=2,features=rma] in tests-rma-863ad08a, 2 ranks
    solver/3d in benchmarks-rma-e2ade955, 2 ranks
    build tests-rma-863ad08a: Some(Shell("cargo build --features='rma'")) llvm
    build benchmarks-rma-e2ade955: Some(Shell("cargo build --features='rma'")) none
    "#);
}

#[test]
fn several_feature_sets_become_an_axis() {
    let selection = Selection {
        features: vec!["a".to_owned(), "b".to_owned()],
        names: vec!["unit".to_owned()],
        ..Selection::default()
    };
    assert_eq!(
        names(HEAT, &selection),
        ["unit[features=a]", "unit[features=b]"]
    );
}

#[test]
fn nothing_selected_lists_near_names() {
    let selection = Selection {
        names: vec!["hallo".to_owned()],
        ..Selection::default()
    };
    let error = planned(HEAT, &selection).unwrap_err();
    assert_eq!(error.to_string(), "no step matches `hallo`");
    assert_eq!(error.help().as_deref(), Some("there is `halo`"));
    assert_eq!(planned("", &Selection::default()), Err(PlanError::NoSteps));
}

#[test]
fn what_goes_beyond_the_limits_is_refused_and_the_rest_goes_on() {
    let local = "
[scheduler]
partition = \"batch\"
options = [\"--exclusive\"]
[scheduler.limits]
max_nodes = 4
max_ranks = 64
max_time = \"1h\"
max_node_hours = 3
partitions = [\"debug\"]
";
    let step = |name: &str, keys: &str| {
        format!("[[test]]\nname = \"{name}\"\ncommand = \"./a\"\n{keys}\n")
    };
    let commit = [
        "[build.slow]\nwhere = \"job\"\ntime = \"5h\"\n".to_owned(),
        step("plain", ""),
        step("nodes", "ranks = 8\nnodes = 8"),
        step("nodes-by-ranks", "ranks = 50\nranks_per_node = 10"),
        step("ranks", "ranks = 65"),
        step("time", "time = \"1h1m\""),
        step("partition", "partition = \"gpu\""),
        step("partitions", "partition = \"debug,gpu\""),
        step("granted", "partition = \"debug\""),
        step("options", "options = [\"--account=rich\"]"),
        step("build", "build = \"slow\""),
        step(
            "no-room",
            "ranks = 8\nnodes = 2\nmatrix = { ranks_per_node = [3, 4] }",
        ),
        step("big", "ranks = 4\nnodes = 4\ntime = \"30m\""),
        step("capped", "ranks = 2\nnodes = 3"),
    ];
    let plan = planned_on(None, local, &commit.concat(), &Selection::default()).unwrap();
    insta::assert_snapshot!(outline(&plan), @r"
    plain in tests, 1 ranks
    nodes in tests, 8 ranks refused: it asks for 8 nodes, where at most 4 are granted
    nodes-by-ranks in tests, 50 ranks refused: it asks for 5 nodes, where at most 4 are granted
    ranks in tests, 65 ranks refused: it asks for 65 ranks, where at most 64 are granted
    time in tests, 1 ranks refused: it asks for a time of 1h1m, where at most 1h is granted
    partition in tests, 1 ranks refused: it asks for the partition `gpu`, which is not granted
    partitions in tests, 1 ranks refused: it asks for the partition `gpu`, which is not granted
    granted in tests, 1 ranks
    options in tests, 1 ranks refused: its own options for sbatch (--account=rich) are not trusted
    build in slow, 1 ranks refused: its build `slow`: it asks for a time of 5h, where at most 1h is granted
    no-room[ranks_per_node=3] in tests, 8 ranks refused: 8 ranks do not fit 2 nodes of 3 ranks
    no-room[ranks_per_node=4] in tests, 8 ranks
    big in tests, 4 ranks
    capped in tests, 2 ranks refused: it asks for 0.40 node-hours, where 0.07 of the run's 3 are left
    build tests: None none
    note: step `capped` asks for 3 nodes and has 2 ranks: 2 nodes it is
    ");
    let resources = &plan.step("plain").unwrap().resources;
    assert_eq!(resources.options, ["--exclusive"]);
    assert_eq!(resources.max_nodes, Some(4));
}

#[test]
fn trusted_options_stand_after_the_sites() {
    let text = "
[scheduler]
options = [\"--exclusive\"]
[trust]
step_options = true
[[test]]
name = \"a\"
command = \"./a\"
options = [\"--mem=0\"]
";
    let plan = planned(text, &Selection::default()).unwrap();
    assert_eq!(plan.steps[0].resources.options, ["--exclusive", "--mem=0"]);
}

#[test]
fn conditions_skip_steps() {
    let text = "
[[test]]
name = \"only-alps\"
command = \"./a\"
only = { cluster = [\"alps\", \"daint*\"] }
[[test]]
name = \"not-on-debug\"
command = \"./a\"
partition = \"debug\"
skip = { partition = \"de*\" }
[[test]]
name = \"only-nightly\"
command = \"./a\"
only = { environment = [\"NIGHTLY\", \"MODE=full*\"], cluster = \"daint-2\" }
";
    let selection = Selection {
        environment: BTreeMap::from([("MODE".to_owned(), "full-scale".to_owned())]),
        ..Selection::default()
    };
    let plan = planned_on(Some("daint-2"), text, text, &selection).unwrap();
    insta::assert_snapshot!(outline(&plan), @r"
    only-alps in tests, 1 ranks
    not-on-debug in tests, 1 ranks skipped: `skip`: its conditions hold
    only-nightly in tests, 1 ranks
    build tests: None none
    ");
    let plan = planned(text, &Selection::default()).unwrap();
    insta::assert_snapshot!(outline(&plan), @r"
    only-alps in tests, 1 ranks skipped: `only`: no cluster is known, not `alps` or `daint*`
    not-on-debug in tests, 1 ranks skipped: `skip`: its conditions hold
    only-nightly in tests, 1 ranks skipped: `only`: no cluster is known, not `daint-2`
    ");
}

#[test]
fn needs_order_steps_and_a_cycle_of_points_is_named() {
    let text = "
[[test]]
name = \"c\"
command = \"./c\"
needs = [\"b[n={n}]\"]
matrix = { n = [1, 2] }
[[test]]
name = \"b\"
command = \"./b\"
needs = \"a\"
matrix = { n = [1, 2] }
[[test]]
name = \"a\"
command = \"./a\"
";
    let plan = planned(text, &Selection::default()).unwrap();
    let order: Vec<&str> = plan.steps.iter().map(|step| step.name.as_str()).collect();
    assert_eq!(order, ["a", "b[n=1]", "c[n=1]", "b[n=2]", "c[n=2]"]);
    assert_eq!(plan.step("c[n=2]").unwrap().needs, ["b[n=2]"]);

    let text = "
[[test]]
name = \"a\"
command = \"./a\"
needs = \"b[n=1]\"
[[test]]
name = \"b\"
command = \"./b\"
needs = \"a\"
matrix = { n = [1, 2] }
";
    let error = planned(text, &Selection::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "steps wait for one another: a → b[n=1] → a"
    );

    let text = text.replace("n=1", "n=3");
    let error = planned(&text, &Selection::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "step `a` needs `b[n=3]`, which is not defined"
    );
}

#[test]
fn axes_replace_keys_and_words() {
    let text = "
[[test]]
name = \"a\"
command = [\"./a\", \"{size}\"]
cwd = \"runs/{size}\"
before = [[\"mkdir\", \"-p\", \"runs/{size}\"]]
after = \"rm -r runs/{size}\"
results = { format = \"junit\", path = \"{size}-{ranks}.xml\" }
cpus_per_rank = 2
environment = { variables = { A = \"{size}\" } }
[test.matrix]
size = [\"s\"]
time = [\"1m\"]
ranks = [3]
partition = [\"gpu\"]
exclusive = [true]
";
    let plan = planned(text, &Selection::default()).unwrap();
    let step = &plan.steps[0];
    assert_eq!(
        step.name,
        "a[size=s,time=1m,ranks=3,partition=gpu,exclusive=true]"
    );
    let argv =
        |words: &[&str]| CommandLine::Argv(words.iter().map(|word| (*word).to_owned()).collect());
    assert_eq!(step.command, argv(&["./a", "s"]));
    assert_eq!(step.cwd, Cwd::Path("runs/s".to_owned()));
    assert_eq!(step.before, [argv(&["mkdir", "-p", "runs/s"])]);
    assert_eq!(step.after, [CommandLine::Shell("rm -r runs/s".to_owned())]);
    assert_eq!(
        step.results.as_ref().unwrap().path.as_deref(),
        Some("s-3.xml")
    );
    assert_eq!(step.resources.time, Duration::from_mins(1));
    assert_eq!(step.resources.ranks, 3);
    assert_eq!(step.resources.partition.as_deref(), Some("gpu"));
    assert!(step.resources.exclusive);
    let variables = &step.environment.variables;
    let expected = [("A", "{size}"), ("OMP_NUM_THREADS", "2")];
    assert_eq!(
        *variables,
        expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
}

#[test]
fn a_plan_comes_back_from_json() {
    let plan = planned(HEAT, &Selection::default()).unwrap();
    let text = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
}

#[test]
fn node_hours_count_time_and_margin() {
    let text = "
[scheduler]
time = \"50m\"
margin = \"10m\"
[[test]]
name = \"a\"
command = \"./a\"
ranks = 7
ranks_per_node = 2
[[test]]
name = \"b\"
command = \"./b\"
only = { cluster = \"elsewhere\" }
";
    let plan = planned(text, &Selection::default()).unwrap();
    assert!(
        (plan.node_hours() - 4.0).abs() < 1e-9,
        "{}",
        plan.node_hours()
    );
}

#[test]
fn hostile_names_become_plain_files() {
    let long = "a".repeat(100);
    let names = [
        "halo",
        "solver_3d.x-1",
        "halo[ranks=4,features=rma]",
        "../../etc/passwd",
        ".hidden",
        "-rf",
        "$(reboot)",
        "日本",
        "",
        &long,
    ];
    let slugs: Vec<String> = names.into_iter().map(slug).collect();
    insta::assert_snapshot!(slugs.join("\n"), @r"
    halo
    solver_3d.x-1
    halo-ranks-4-features-rma-14669da4
    etc-passwd-3754d6cb
    hidden-16924190
    rf-686c39ac
    reboot-796c4c55
    x-cf2abf0c
    x-e3b0c442
    aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-28165978
    ");
}

#[test]
fn builds_share_no_tree() {
    let text = "
[build.\"../x\"]
command = \"make {features}\"
[[test]]
name = \"a\"
command = \"./a\"
build = \"../x\"
matrix = { features = [\"\", \"a b\", \"a/b\"] }
";
    let plan = planned(text, &Selection::default()).unwrap();
    insta::assert_snapshot!(outline(&plan), @r#"
    a[features=] in x-d6b96a97, 1 ranks
    a[features=a b] in x-a-b-328a3677, 1 ranks
    a[features=a/b] in x-a-b-c999a0d9, 1 ranks
    build x-d6b96a97: Some(Shell("make ")) none
    build x-a-b-328a3677: Some(Shell("make a b")) none
    build x-a-b-c999a0d9: Some(Shell("make a/b")) none
    "#);
}

#[test]
fn ten_thousand_steps_are_planned_in_one_go() {
    let values: Vec<String> = (0..100).map(|value| value.to_string()).collect();
    let axis = values.join(",");
    let text = format!(
        "[[test]]\nname = \"a\"\ncommand = \"./a {{x}} {{y}}\"\nmatrix = {{ x = [{axis}], y = [{axis}] }}\n[[test]]\nname = \"b\"\ncommand = \"./b\"\nneeds = \"a\"\n"
    );
    let plan = planned(&text, &Selection::default()).unwrap();
    assert_eq!(plan.steps.len(), 10_001);
    let slugs: BTreeSet<&str> = plan.steps.iter().map(|step| step.slug.as_str()).collect();
    assert_eq!(slugs.len(), 10_001);
    assert_eq!(plan.steps[10_000].needs.len(), 10_000);
}
