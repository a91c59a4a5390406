use super::*;
use crate::results::clean::printable;
use crate::results::finished::example;
use crate::results::record::Better;
use crate::results::record::{Note, Outcome};

fn plain(run: &FinishedRun) -> String {
    summary(
        run,
        Style {
            colour: false,
            folder: "hpc-ci".into(),
        },
    )
}

#[test]
fn a_run_with_everything() {
    insta::assert_snapshot!(plain(&example::run()), @r#"
    heat at 1a2b3c4d5e (main), run 20261120-101500-1a2b3c4

    suite        passed  failed  errors  not run  skipped  flaky
    integration       1       2       -        -        -      1
    scale             -       -       1        1        1      -
    unit              1       -       -        -        -      -
    all               2       2       1        1        1      1

    benchmark    median  spread  samples
    solver/3d  123.4 ms  +- 0.5        7  -2.1% against 0f0e0d0c0b: unchanged

    ERROR   wide  rejected: sbatch: error: More processors requested than permitted
            4 ranks
            reproduce  hpc-ci run --filter 'name(wide)'
    FAILED  halo[ranks=4]  signal: ended by SIGSEGV
            4 ranks, job 71, on n1,n2, after 2.2 s
            | rank 3: step 10
            | rank 3: Segmentation fault (a < b && c > d)
            log        hpc-ci/runs/r7/logs/halo[ranks=4].log
            kept       hpc-ci/runs/r7/steps/halo-4/1/keep (2 files)
            reproduce  hpc-ci run --filter 'name(halo[ranks=4])'
    FAILED  long  timeout: did not end within its time
            4 ranks, job 71, on n1,n2, after 5m00s
            log        hpc-ci/runs/r7/logs/long.log
            reproduce  hpc-ci run --filter 'name(long)'

    FLAKY   exchange  passed at attempt 2, after failed

    coverage   87.52% (3501 of 4000 lines); coverage is from 511 of 512 ranks (2 partial, 1 absent)
               5 lines that only rank 0 reached
                 src/io.c:20-24
    kept       2 files of 1 step
    artifacts  hpc-ci/artifacts
    results    hpc-ci/hpc-results.json
    marked     infrastructure-damaged; not taken for the state of the branch
    FAILED  7 tests: 2 failed, 1 ended in an error, 1 did not run, 2 passed, 1 skipped; 1 benchmark: 1 passed; 12m34s in all
    "#);
}

#[test]
fn a_run_where_all_passed() {
    let mut run = example::run();
    run.steps
        .retain(|step| step.status() == Status::Passed && !step.is_flaky());
    run.scope.remove(&Part::Benchmarks);
    run.benchmarks.clear();
    run.steps.retain(|step| step.suite == "unit");
    if let Some(coverage) = &mut run.coverage {
        coverage.ranks_used = coverage.ranks_expected;
        coverage.rank_states.clear();
    }
    insta::assert_snapshot!(plain(&run), @r#"
    heat at 1a2b3c4d5e (main), run 20261120-101500-1a2b3c4

    suite  passed  failed  errors  not run  skipped  flaky
    unit        1       -       -        -        -      -

    coverage   87.52% (3501 of 4000 lines); coverage is from 512 of 512 ranks
               5 lines that only rank 0 reached
                 src/io.c:20-24
    artifacts  hpc-ci/artifacts
    results    hpc-ci/hpc-results.json
    PASSED  1 test: 1 passed; 12m34s in all
    "#);
}

#[test]
fn a_run_that_came_to_nothing() {
    let mut run = example::run();
    run.coverage = None;
    run.benchmarks.clear();
    run.steps.retain(|step| step.outcome == Outcome::NotRun);
    run.builds[0].status = RunStatus::Failed;
    run.builds[0].exit_code = Some(101);
    run.dirty = true;
    let message = "3 ranks of `halo` share a name".to_owned();
    run.notes.push(Note {
        kind: NoteKind::Warning,
        part: None,
        message,
    });
    insta::assert_snapshot!(plain(&run), @r#"
    heat at 1a2b3c4d5e (main), run 20261120-101500-1a2b3c4

    suite  passed  failed  errors  not run  skipped  flaky
    scale       -       -       -        1        -      -

    FAILED  build tests  exit code 101
            log        hpc-ci/runs/r7/logs/build-tests.log
    NOTE    3 ranks of `halo` share a name

    coverage   none: no usable profile
    artifacts  hpc-ci/artifacts
    results    hpc-ci/hpc-results.json
    marked     dirty; not taken for the state of the branch
    FAILED  1 test: 1 did not run; 12m34s in all
    "#);
    run.steps.clear();
    run.builds.clear();
    run.notes.clear();
    assert!(plain(&run).ends_with("NO RUN  nothing ran; 12m34s in all\n"));
}

#[test]
fn many_failures_do_not_scroll_the_rest_away() {
    let mut run = example::run();
    let failed = example::step("f", "s", Outcome::Failed);
    let lost = example::step("l", "s", Outcome::Lost);
    run.steps = [vec![lost; 500], vec![failed; 500]].concat();
    let text = plain(&run);
    assert_eq!(text.matches("reproduce  ").count(), 11);
    assert_eq!(text.matches("FAILED  f").count(), 500);
}

#[test]
fn colour_only_repeats_what_words_say() {
    let run = example::run();
    let coloured = summary(
        &run,
        Style {
            colour: true,
            folder: "hpc-ci".into(),
        },
    );
    assert!(coloured.contains("\u{1b}[1;31mFAILED\u{1b}[0m"));
    assert_eq!(printable(&coloured), plain(&run));
    assert!(plain(&run).is_ascii());
}

#[test]
fn benchmarks_show_direction_and_errors() {
    let mut run = example::run();
    run.scope = [Part::Benchmarks].into();
    run.steps
        .retain(|step| step.kind.part() == Part::Benchmarks);
    let mut slower = run.benchmarks[0].clone();
    slower.metric = Some("slower".to_owned());
    slower.samples = Ok(vec![164.25; 6]);
    let mut rate = run.benchmarks[0].clone();
    (rate.metric, rate.unit, rate.better) =
        (Some("rate".to_owned()), "MB/s".to_owned(), Better::Higher);
    let mut broken = run.benchmarks[0].clone();
    broken.metric = Some("broken".to_owned());
    broken.samples = Err(benchmark::BenchmarkError::NotFinite {
        repetition: 3,
        text: "NaN".to_owned(),
    });
    run.benchmarks.extend([slower, rate, broken]);
    insta::assert_snapshot!(plain(&run), @r#"
    heat at 1a2b3c4d5e (main), run 20261120-101500-1a2b3c4

    benchmark             median  spread  samples
    solver/3d           123.4 ms  +- 0.5        7  -2.1% against 0f0e0d0c0b: unchanged
    solver/3d:broken    no value
    solver/3d:rate    123.4 MB/s  +- 0.5        7
    solver/3d:slower   164.25 ms    +- 0        6  +30.4% against 0f0e0d0c0b: REGRESSED
    ERROR   solver/3d:broken  repetition 3 printed `NaN`, which is not finite

    artifacts  hpc-ci/artifacts
    results    hpc-ci/hpc-results.json
    ERROR   1 benchmark: 1 passed; 4 metrics: 1 without a value, 1 regressed; 12m34s in all
    "#);
}

#[test]
fn figures_and_spans_are_short() {
    for (value, expected) in [
        (0.0, "0"),
        (123.4, "123.4"),
        (123.456_789, "123.46"),
        (20034.7, "20035"),
        (1_234_567.0, "1234567"),
        (0.001_234_56, "0.0012346"),
        (1.5e-9, "1.5000e-9"),
        (-2.5e12, "-2.5000e12"),
    ] {
        assert_eq!(figure(value), expected);
    }
    for (millis, expected) in [
        (0, "0.0 s"),
        (59_990, "59.9 s"),
        (245_000, "4m05s"),
        (3_600_000, "1h00m"),
        (90_061_000, "25h01m"),
    ] {
        assert_eq!(span(Duration::from_millis(millis)), expected);
    }
}
