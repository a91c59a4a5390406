//! The laws of the fold.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;

use super::*;
use crate::config::{Context, File, Site, Suite};
use crate::plan::{Revision, Selection, plan};

fn state(text: &str) -> RunState {
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
    let tests = Suite::read(file, &site, &context).unwrap();
    let plan = plan(&site, &tests, &Revision::default(), &Selection::default()).unwrap();
    RunState::new(&plan)
}

const STEPS: &str = r#"
[build.tests]
command = "make"
[[test]]
name = "first"
command = "true"
retries = 1
[[test]]
name = "second"
command = "true"
needs = ["first"]
[[test]]
name = "third"
command = "true"
serial = "disk"
[[test]]
name = "fourth"
command = "true"
serial = "disk"
"#;

fn built() -> Event {
    Event::Built {
        build: "tests".into(),
        seconds: 1.0,
    }
}

fn submitted(step: &str, attempt: u32) -> Event {
    Event::Submitted {
        step: step.into(),
        attempt,
        job: "7".parse().unwrap(),
        at: DateTime::UNIX_EPOCH,
    }
}

fn ended(step: &str, attempt: u32, outcome: Outcome) -> Event {
    Event::Ended {
        step: step.into(),
        attempt,
        end: Box::new(AttemptEnd::without_job(Verdict::new(outcome, "x"))),
        elsewhere: None,
    }
}

fn outcomes(state: &RunState) -> Vec<Option<Outcome>> {
    let outcome = |step: &StepState| step.verdict().map(|verdict| verdict.outcome);
    state.steps().iter().map(outcome).collect()
}

#[test]
fn steps_wait_for_build_needs_and_their_serial_group() {
    let mut state = state(STEPS);
    assert_eq!(state.startable(9, |_| true), Vec::<usize>::new());
    state.apply(&built());
    assert_eq!(state.startable(9, |_| true), [0, 2]);
    assert_eq!(
        state.startable(1, |_| true),
        [0],
        "no more than there is room for"
    );
    state.apply(&submitted("third", 1));
    assert_eq!(state.startable(9, |_| true), [0]);
    state.apply(&ended("third", 1, Outcome::Passed));
    state.apply(&ended("first", 1, Outcome::Passed));
    assert_eq!(state.startable(9, |_| true), [1, 3]);
}

#[test]
fn a_failing_step_is_tried_again_and_takes_those_that_need_it_along() {
    let mut state = state(STEPS);
    state.apply(&built());
    state.apply(&ended("first", 1, Outcome::Failed));
    assert_eq!((state.steps()[0].attempt, outcomes(&state)[0]), (2, None));
    let mut flaky = state.clone();
    flaky.apply(&ended("first", 2, Outcome::Passed));
    assert!(flaky.steps()[0].flaky());
    state.apply(&ended("first", 2, Outcome::Failed));
    assert_eq!(
        outcomes(&state)[..2],
        [Some(Outcome::Failed), Some(Outcome::NotRun)]
    );
}

#[test]
fn what_the_machine_did_is_not_tried_again() {
    let mut state = state(STEPS);
    state.apply(&built());
    state.apply(&ended("first", 1, Outcome::NodeFailure));
    assert_eq!(outcomes(&state)[0], Some(Outcome::NodeFailure));
}

#[test]
fn a_place_that_failed_is_left_and_is_no_failure_of_the_step() {
    let mut state = state(STEPS);
    state.apply(&built());
    state.apply(&Event::Ended {
        step: "first".into(),
        attempt: 1,
        end: Box::new(AttemptEnd::without_job(Verdict::new(
            Outcome::NodeFailure,
            "x",
        ))),
        elsewhere: Some(vec!["n2".into()]),
    });
    let step = &state.steps()[0];
    assert_eq!(
        (step.attempt, step.avoid.as_slice()),
        (2, &["n2".to_owned()][..])
    );
    assert!(state.startable(9, |_| true).contains(&0));
    // The first bad node is not forgotten over the second.
    state.apply(&Event::Ended {
        step: "first".into(),
        attempt: 2,
        end: Box::new(AttemptEnd::without_job(Verdict::new(
            Outcome::NodeFailure,
            "x",
        ))),
        elsewhere: Some(vec!["n1".into()]),
    });
    assert_eq!(state.steps()[0].avoid, ["n2", "n1"]);
    // The retry of a failing test is still to come.
    state.apply(&ended("first", 3, Outcome::Failed));
    assert_eq!(outcomes(&state)[0], None);
    state.apply(&ended("first", 4, Outcome::Passed));
    assert!(state.steps()[0].flaky());
}

#[test]
fn what_waits_only_for_the_others_may_come_along() {
    let mut state = state(STEPS);
    state.apply(&built());
    let ready = state.startable(9, |_| true);
    assert_eq!(ready, [0, 2]);
    assert_eq!(
        state.with_followers(ready.clone(), |_, _| true),
        [0, 2, 1, 3]
    );
    assert_eq!(state.with_followers(ready, |_, _| false), [0, 2]);
    state.apply(&submitted("third", 1));
    assert_eq!(
        state.with_followers(vec![0], |_, _| true),
        [0, 1],
        "the disk is in use"
    );
    let uncounted = state.startable(0, |index| index != 0);
    assert_eq!(uncounted, [0], "what is not counted needs no room");
}

#[test]
fn a_failed_build_and_a_stop_leave_nothing_waiting() {
    let mut failed = state(STEPS);
    failed.apply(&Event::BuildFailed {
        build: "tests".into(),
        failure: BuildFailure {
            fault_of_code: true,
            message: String::new(),
            help: None,
            exit_code: Some(2),
        },
    });
    assert!(failed.finished());
    let mut stopped = state(STEPS);
    stopped.apply(&built());
    stopped.apply(&submitted("first", 1));
    stopped.apply(&Event::Stopping { signal: 2 });
    assert_eq!(stopped.startable(9, |_| true), Vec::<usize>::new());
    assert!(!stopped.finished(), "a live job is waited for");
    stopped.apply(&ended("first", 1, Outcome::Cancelled));
    assert!(stopped.finished());
}

#[test]
fn an_expected_end_passes_and_another_does_not() {
    for (expect, outcome, meant) in [
        ("fail", Outcome::Failed, Outcome::Passed),
        ("fail", Outcome::Signal, Outcome::Passed),
        ("fail", Outcome::Passed, Outcome::Failed),
        ("fail", Outcome::NodeFailure, Outcome::NodeFailure),
        ("timeout", Outcome::Timeout, Outcome::Passed),
        ("timeout", Outcome::Failed, Outcome::Failed),
    ] {
        let text = format!("[[test]]\nname = \"a\"\ncommand = \"true\"\nexpect = \"{expect}\"\n");
        let mut state = state(&text);
        state.apply(&ended("a", 1, outcome));
        assert_eq!(outcomes(&state), [Some(meant)], "{expect} {outcome}");
    }
}

fn any_event() -> impl Strategy<Value = Event> {
    let step = prop::sample::select(vec!["first", "second", "third", "fourth", "nobody"]);
    let outcome = prop::sample::select(Outcome::ALL.to_vec());
    prop_oneof![
        Just(built()),
        Just(Event::Stopping { signal: 15 }),
        (step.clone(), 1..3_u32).prop_map(|(step, attempt)| Event::Submitting {
            step: step.into(),
            attempt,
            name: "x".into(),
            part: None,
        }),
        (step.clone(), 1..3_u32).prop_map(|(step, attempt)| Event::NotSubmitted {
            step: step.into(),
            attempt,
        }),
        (step.clone(), 1..3_u32).prop_map(|(step, attempt)| Event::Abandoned {
            step: step.into(),
            attempt,
            why: "x".into(),
        }),
        (step.clone(), 1..3_u32).prop_map(|(step, attempt)| submitted(step, attempt)),
        (step, 1..3_u32, outcome)
            .prop_map(|(step, attempt, outcome)| ended(step, attempt, outcome)),
    ]
}

/// Does what a driver would do next, with an end for every job; returns the events.
fn go_on(state: &mut RunState, outcome: Outcome) -> Vec<Event> {
    let mut events = Vec::new();
    let mut note = |state: &mut RunState, event: Event| {
        state.apply(&event);
        events.push(event);
    };
    if state.build("tests") == Some(&BuildState::Pending) {
        note(state, built());
    }
    for _ in 0..100 {
        if state.finished() {
            return events;
        }
        let slug = |index: usize| ["first", "second", "third", "fourth"][index];
        let step = |state: &RunState, index: usize| (slug(index), state.steps()[index].attempt);
        let doubts: Vec<usize> = state.in_doubt().into_values().flatten().collect();
        for index in doubts {
            let (step, attempt) = step(state, index);
            let step = step.to_owned();
            note(state, Event::NotSubmitted { step, attempt });
        }
        for index in state.startable(2, |_| true) {
            let (step, attempt) = step(state, index);
            note(state, submitted(step, attempt));
        }
        let live: Vec<usize> = state.live().map(|(index, _)| index).collect();
        for index in live {
            let (step, attempt) = step(state, index);
            note(state, ended(step, attempt, outcome));
        }
    }
    panic!("the run comes to no end: {state:?}");
}

proptest! {
    #[test]
    fn from_any_prefix_of_a_journal_the_end_is_reached(
        events in prop::collection::vec(any_event(), 0..40),
        outcome in prop::sample::select(Outcome::ALL.to_vec()),
    ) {
        let mut state = state(STEPS);
        for event in &events {
            state.apply(event);
        }
        let rest = go_on(&mut state, outcome);
        // What was written down adds up to the same.
        let mut again = self::state(STEPS);
        for event in events.iter().chain(&rest) {
            again.apply(event);
        }
        prop_assert_eq!(outcomes(&again), outcomes(&state));
        prop_assert!(again.finished());
    }

    #[test]
    fn a_step_is_done_by_its_end_or_never_began(
        events in prop::collection::vec(any_event(), 0..40),
    ) {
        let mut state = state(STEPS);
        for event in &events {
            state.apply(event);
            for (index, step) in state.steps().iter().enumerate() {
                let Some(verdict) = step.verdict() else { continue };
                let has_end = state.ends().contains_key(&(index, step.attempt));
                prop_assert!(has_end || verdict.outcome == Outcome::NotRun, "{:?}", step);
            }
        }
    }

    #[test]
    fn a_step_that_has_ended_stays_as_it_is(events in prop::collection::vec(any_event(), 0..40)) {
        let mut state = state(STEPS);
        for event in events {
            let before = outcomes(&state);
            state.apply(&event);
            for (before, after) in before.iter().zip(outcomes(&state)) {
                prop_assert!(before.is_none() || *before == after);
            }
        }
    }
}

#[test]
fn a_lost_attempt_is_no_fault_of_the_code() {
    let mut state = state(STEPS);
    state.apply(&built());
    state.apply(&submitted("first", 1));
    state.apply(&Event::Abandoned {
        step: "first".into(),
        attempt: 1,
        why: "the machine was booted".into(),
    });
    assert_eq!(state.steps()[0].attempt, 2);
    state.apply(&ended("first", 2, Outcome::Failed));
    assert_eq!(outcomes(&state)[0], None, "its one retry is left");
    state.apply(&ended("first", 3, Outcome::Passed));
    assert!(state.steps()[0].flaky());
}
