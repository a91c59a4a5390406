//! What the engine says of the fixtures is what `llvm-cov` said when they were made.

use super::super::export::Coverage;
use super::*;

#[test]
fn tracefiles_equal_those_of_llvm_cov() {
    for fixture in fixtures() {
        let (text, problems) = report(&fixture.objects, &fixture.profiles);
        assert_eq!(text, fixture.expected, "{}", fixture.name);
        assert!(problems.is_empty(), "{}: {problems:?}", fixture.name);
    }
}

#[test]
fn a_sum_reports_as_its_parts_do() {
    for fixture in fixtures() {
        let mut sum = Vec::new();
        for binary in add_up(&fixture.profiles).binaries {
            binary.profile.write_to(&mut sum).unwrap();
        }
        assert_eq!(
            report(&fixture.objects, &[sum]).0,
            fixture.expected,
            "{}",
            fixture.name
        );
    }
}

#[test]
fn objects_that_never_ran_count_as_not_hit() {
    for fixture in fixtures() {
        let (text, _) = report(&fixture.objects, &[]);
        let hits = |text: &str| {
            text.lines()
                .filter(|line| line.starts_with("DA:") && !line.ends_with(",0"))
                .count()
        };
        assert_eq!(hits(&text), 0, "{}", fixture.name);
        assert!(hits(&fixture.expected) > 0);
        // Without counts nothing can be mismatched, so nothing is left out.
        let files = |text: &str| text.lines().filter(|line| line.starts_with("SF:")).count();
        assert_eq!(files(&text), files(&fixture.expected), "{}", fixture.name);
    }
}

#[test]
fn a_binary_given_twice_changes_nothing() {
    for fixture in fixtures() {
        let twice = [fixture.objects.clone(), fixture.objects].concat();
        assert_eq!(
            report(&twice, &fixture.profiles).0,
            fixture.expected,
            "{}",
            fixture.name
        );
    }
}

#[test]
fn functions_of_another_build_are_left_out_and_counted() {
    let fixture = fixtures()
        .into_iter()
        .find(|fixture| fixture.name == "clang-22-variants")
        .unwrap();
    let reduction = add_up(&fixture.profiles);
    let counts = Counts::new(reduction.binaries.iter().map(|binary| &binary.profile));
    let mut coverage = Coverage::new(&counts, Options::default());
    for object in &fixture.objects {
        coverage
            .add(&super::super::object::sections(object.as_slice()).unwrap())
            .unwrap();
    }
    assert_eq!(coverage.mismatched(), 1);
}

#[test]
fn a_difference_below_zero_is_zero_on_demand() {
    let fixture = fixtures()
        .into_iter()
        .find(|fixture| fixture.name == "clang-22-c")
        .unwrap();
    let mut reduction = add_up(&fixture.profiles);
    // Torn counts: every second one was not written in time.
    let counters = &mut reduction.binaries[0].profile.counters;
    counters.iter_mut().step_by(2).for_each(|count| *count = 0);
    let counts = Counts::new(reduction.binaries.iter().map(|binary| &binary.profile));
    let largest = |clamp| {
        let mut coverage = Coverage::new(&counts, Options { clamp });
        coverage
            .add(&super::super::object::sections(fixture.objects[0].as_slice()).unwrap())
            .unwrap();
        let files = coverage.files();
        let files = (0..files.len()).map(|at| files.get(at).unwrap());
        files
            .flat_map(|file| file.lines)
            .map(|(_, count)| count)
            .max()
            .unwrap()
    };
    assert!(largest(false) > u64::MAX / 2 && largest(true) < 1 << 20);
}

#[test]
fn files_may_be_renamed_left_out_and_made_readable() {
    let fixture = fixtures()
        .into_iter()
        .find(|fixture| fixture.name == "rustc-22")
        .unwrap();
    let reduction = add_up(&fixture.profiles);
    let counts = Counts::new(reduction.binaries.iter().map(|binary| &binary.profile));
    let mut coverage = Coverage::new(&counts, Options::default());
    coverage
        .add(&super::super::object::sections(fixture.objects[0].as_slice()).unwrap())
        .unwrap();
    let files = coverage.files();
    let mut text = Vec::new();
    files
        .write_lcov_of(
            |mut file| {
                file.path = "src/generics.rs".into();
                file.demangle();
                Some(file)
            },
            &mut text,
        )
        .unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(
        text.starts_with(
            "SF:src/generics.rs\nFN:20,generics::largest::<f64>\nFN:20,generics::largest::<i32>\n"
        ),
        "{text}"
    );
    let mut nothing = Vec::new();
    files.write_lcov_of(|_| None, &mut nothing).unwrap();
    assert!(nothing.is_empty());
}
