#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;

/// A tree and the folder of an attempt whose step has begun, and what is written after that.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new(before: &[&str], after: &[&str]) -> Self {
        let place = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        for folder in ["tree", "attempt"] {
            fs_err::create_dir(place.path(folder)).unwrap();
        }
        for path in before {
            place.write(path);
        }
        let begun = place.path("attempt").join(BEGUN);
        // The clock of a file system goes by ticks: what was written in the same one counts as new.
        let last = before
            .iter()
            .map(|path| Self::stamp(&place.path(path)))
            .max();
        while {
            fs_err::write(&begun, "").unwrap();
            last >= Some(Self::stamp(&begun))
        } {}
        for path in after {
            place.write(path);
        }
        place
    }

    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn stamp(path: &Path) -> (i64, i64) {
        let data = fs_err::metadata(path).unwrap();
        (data.ctime(), data.ctime_nsec())
    }

    fn write(&self, path: &str) {
        let path = self.path(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, "text").unwrap();
    }

    fn keep(&self, patterns: &[&str], time: Duration) -> Kept {
        let patterns: Vec<String> = patterns.iter().map(|it| (*it).to_owned()).collect();
        let attempt = self.path("attempt");
        let tree = self.path("tree");
        let kept = keep(&Request {
            start: &attempt,
            step_dir: &attempt,
            cwd: &tree,
            tree: &tree,
            patterns: &patterns,
            bounds: KeepBounds::default(),
            time,
        });
        let kept = kept.unwrap();
        assert_eq!(super::kept(&attempt).unwrap().1, kept);
        kept
    }
}

const LONG: Duration = Duration::from_mins(1);

fn names(kept: &Kept) -> Vec<&str> {
    kept.files.iter().map(|file| file.path.as_str()).collect()
}

#[test]
fn patterns_name_what_the_step_wrote() {
    let check = |patterns: &[&str], expected: &[&str], idle: &[&str]| {
        let place = Place::new(
            &["tree/old.png", "tree/a/old.png"],
            &[
                "tree/new.png",
                "tree/a/b/new.png",
                "tree/a/new.txt",
                "tree/.git/new.png",
                "tree/.hidden/new.png",
                "attempt/own.png",
                "attempt/log.txt",
                "attempt/ranks/new.png",
                "attempt/restart-x/new.png",
            ],
        );
        let kept = place.keep(patterns, LONG);
        assert_eq!(names(&kept), expected, "{patterns:?}");
        assert_eq!(kept.idle, idle, "{patterns:?}");
        assert_eq!(kept.problems(), Vec::<String>::new(), "{patterns:?}");
    };
    check(&["*.png"], &["own.png", "new.png"], &[]);
    check(&["./new.png"], &["new.png"], &[]);
    check(
        &["**/*.png"],
        &["own.png", ".hidden/new.png", "a/b/new.png", "new.png"],
        &[],
    );
    check(&["a/*"], &["a/b/new.png", "a/new.txt"], &[]);
    check(&["a/*.txt", "a"], &["a/new.txt", "a/b/new.png"], &[]);
    check(&["{a/b,x}/*.png"], &["a/b/new.png"], &[]);
    check(&["old.png", "log.txt"], &[], &["old.png", "log.txt"]);
    check(&["absent/x", "a/*/*/*"], &[], &["absent/x", "a/*/*/*"]);
}

#[test]
fn a_pattern_that_leads_elsewhere_is_refused() {
    let place = Place::new(&[], &["outside"]);
    let kept = place.keep(&["../outside", "/etc/passwd", "a/../../outside"], LONG);
    assert_eq!(names(&kept), Vec::<&str>::new());
    assert_eq!(kept.problems().len(), 3, "{kept:?}");
}

#[test]
fn a_way_that_became_a_link_since_it_was_found_leads_to_no_copy() {
    let place = Place::new(&[], &["tree/in/file", "outside/file"]);
    let tree = fs_err::canonicalize(place.path("tree")).unwrap();
    assert!(open(&place.path("tree/in/file"), &tree).is_ok());
    fs_err::rename(place.path("tree/in"), place.path("tree/before")).unwrap();
    fs_err::os::unix::fs::symlink(place.path("outside"), place.path("tree/in")).unwrap();
    let error = open(&place.path("tree/in/file"), &tree).unwrap_err();
    assert!(error.starts_with("it leads out of "), "{error}");
}

#[test]
fn two_files_of_one_name_are_not_taken_for_each_other() {
    let place = Place::new(&[], &["tree/x", "attempt/x"]);
    let kept = place.keep(&["x", "*"], LONG);
    assert_eq!(names(&kept), ["x"]);
    assert_eq!(kept.problems().len(), 2, "{kept:?}");
    assert!(kept.problems()[0].contains("was kept under this name"));
}

#[test]
fn thousands_of_files_are_kept_and_few_are_listed() {
    let many: Vec<String> = (0..3000).map(|n| format!("tree/out/{n}.dat")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let place = Place::new(&[], &many);
    let kept = place.keep(&["out/*.dat"], LONG);
    assert_eq!((kept.count(), kept.bytes()), (3000, 12000));
    let listed = kept.listed(1, "x".into());
    assert_eq!((listed.files, listed.names.len()), (3000, MOST_NAMES));
    // Without time none is, and not all of them are told one by one.
    let kept = place.keep(&["out/*.dat"], Duration::ZERO);
    assert_eq!(kept.count(), 0);
    assert!(kept.problems()[0].contains("no time left"), "{kept:?}");
}

#[test]
fn a_record_that_is_none_of_ours_counts_for_nothing() {
    let place = Place::new(&[], &["tree/x"]);
    place.keep(&["x"], LONG);
    let attempt = place.path("attempt");
    let record = attempt.join(RECORD);
    fs_err::write(&record, "{").unwrap();
    assert_eq!(kept(&attempt), None);
    fs_err::remove_file(&record).unwrap();
    fs_err::os::unix::fs::symlink("/dev/zero", &record).unwrap();
    assert_eq!(kept(&attempt), None);
}
