//! Profiles against the functions of objects: their own, and those of another build.

use super::super::fit::Functions;
use super::super::object::sections;
use super::*;

fn functions(objects: &[Vec<u8>]) -> Functions {
    let mut functions = Functions::default();
    for object in objects {
        functions
            .add(&sections(object.as_slice()).unwrap())
            .unwrap();
    }
    functions
}

#[test]
fn profiles_of_the_objects_fit_and_those_of_others_do_not() {
    for fixture in fixtures() {
        let reduction = add_up(&fixture.profiles);
        if reduction.binaries.is_empty() {
            continue;
        }
        let own = functions(&fixture.objects);
        for binary in &reduction.binaries {
            let fit = own.fit(&binary.profile);
            assert!(fit.same > 0, "{}: {fit:?}", fixture.name);
            assert_eq!(fit.loss(), None, "{}", fixture.name);
            let fit = Functions::default().fit(&binary.profile);
            assert_eq!((fit.same, fit.otherwise), (0, 0), "{}", fixture.name);
            assert!(fit.loss().unwrap().contains("none of the objects"));
        }
    }
}

#[test]
fn functions_of_another_build_are_counted_and_named() {
    let fixtures = fixtures();
    let variants = fixtures
        .iter()
        .find(|fixture| fixture.name == "clang-22-variants")
        .unwrap();
    let reduction = add_up(&variants.profiles);
    // The profiles are of the first object; the second is the same program without `-DVARIANT`.
    let profile = &reduction.binaries[0].profile;
    let fit = functions(&variants.objects[1..2]).fit(profile);
    assert!(fit.otherwise > 0 && fit.same > 0, "{fit:?}");
    let counted = fit.same + fit.otherwise;
    let expected = format!("{} of {counted} functions", fit.otherwise);
    let said = fit.named(profile).loss().unwrap();
    let (told, names) = said.rsplit_once(": ").unwrap();
    assert!(told.contains(&expected), "{said}");
    assert!(
        names
            .split(", ")
            .all(|name| name.starts_with('`') && name.len() > 2),
        "{said}"
    );
}
