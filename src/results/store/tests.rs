#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::place::move_aside;
use super::*;
use crate::results::FinishedRun;
use crate::results::artifact::Content;
use crate::results::finished::example;
use crate::results::record::{Part, meta_example};

const PATIENCE: Duration = Duration::from_secs(20);

struct Place {
    _dir: tempfile::TempDir,
    folder: Utf8PathBuf,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let folder = Utf8PathBuf::from_path_buf(dir.path().join("hpc-ci")).unwrap();
        Self { _dir: dir, folder }
    }

    fn save(&self, files: &RunFiles) -> Result<Saved, StoreError> {
        save(
            &self.folder,
            files,
            example::time("2026-11-20T12:00:00Z"),
            PATIENCE,
        )
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.folder.join(path)).unwrap()
    }

    /// Every file there, but the lock.
    fn list(&self) -> String {
        let mut paths = Vec::new();
        let mut folders = vec![Utf8PathBuf::new()];
        while let Some(folder) = folders.pop() {
            for entry in self.folder.join(&folder).read_dir_utf8().unwrap() {
                let entry = entry.unwrap();
                let path = folder.join(entry.file_name());
                if entry.file_type().unwrap().is_dir() {
                    folders.push(path);
                } else {
                    paths.push(path);
                }
            }
        }
        paths.retain(|path| !path.as_str().starts_with(LOCK));
        paths.sort();
        paths
            .into_iter()
            .map(Utf8PathBuf::into_string)
            .collect::<Vec<_>>()
            .join("\n")
    }

    fn checksums_hold(&self) {
        let sha256sum = std::process::Command::new("sha256sum")
            .args(["--check", "--strict", "--quiet", CHECKSUMS])
            .current_dir(self.folder.join(ARTIFACTS))
            .output()
            .unwrap();
        assert!(sha256sum.status.success(), "{sha256sum:?}");
    }
}

fn files(run: &FinishedRun) -> RunFiles {
    let bytes = Content::Bytes(format!("TN:{}\n", run.run).into_bytes());
    let coverage = vec![
        Artifact {
            path: "coverage/lcov.info".into(),
            content: bytes.clone(),
        },
        Artifact {
            path: "coverage/html/index.html".into(),
            content: bytes,
        },
    ];
    RunFiles::new(run, meta_example::run_meta(), coverage).unwrap()
}

fn run(id: &str, scope: &[Part]) -> FinishedRun {
    FinishedRun {
        run: id.to_owned(),
        scope: scope.iter().copied().collect(),
        ..example::run()
    }
}

#[test]
fn a_whole_set_appears() {
    let place = Place::new();
    let saved = place.save(&files(&run("r1", &Part::ALL))).unwrap();
    assert!(saved.ignored.is_none());
    place.checksums_hold();
    insta::assert_snapshot!(place.list(), @"
    artifacts/benchmarks/bigger-is-better.json
    artifacts/benchmarks/bmf.json
    artifacts/benchmarks/smaller-is-better.json
    artifacts/benchmarks/summary.json
    artifacts/checksums.txt
    artifacts/coverage/html/index.html
    artifacts/coverage/lcov.info
    artifacts/meta.json
    artifacts/runs/r1.json
    artifacts/tests/junit.xml
    artifacts/tests/summary.json
    hpc-results.json
    ");
    assert_eq!(place.read("artifacts/checksums.txt").lines().count(), 10);
    let earlier = load(&place.folder, PATIENCE).unwrap().unwrap();
    assert_eq!(earlier.entries, [files(&run("r1", &Part::ALL)).entry]);
}

#[test]
fn a_partial_run_takes_the_other_part_over() {
    let place = Place::new();
    place.save(&files(&run("r1", &Part::ALL))).unwrap();
    let tests = place.read("artifacts/tests/summary.json");
    place.save(&files(&run("r2", &[Part::Benchmarks]))).unwrap();
    place.checksums_hold();
    assert_eq!(place.read("artifacts/tests/summary.json"), tests);
    assert_eq!(place.read("artifacts/coverage/html/index.html"), "TN:r1\n");
    assert!(
        place
            .read("artifacts/benchmarks/summary.json")
            .contains("\"run\": \"r2\"")
    );
    assert!(place.list().contains("runs/r1.json") && place.list().contains("runs/r2.json"));
    place
        .save(&files(&run("r3", &[Part::Tests, Part::Coverage])))
        .unwrap();
    assert_eq!(place.read("artifacts/coverage/html/index.html"), "TN:r3\n");
    assert!(
        !place.list().contains("runs/r1.json"),
        "nothing of it is left"
    );
}

#[test]
fn of_another_commit_the_other_part_is_skipped() {
    let place = Place::new();
    place.save(&files(&run("r1", &Part::ALL))).unwrap();
    let other = FinishedRun {
        commit: "f".repeat(40),
        ..run("r2", &[Part::Benchmarks])
    };
    place.save(&files(&other)).unwrap();
    place.checksums_hold();
    insta::assert_snapshot!(place.list(), @"
    artifacts/benchmarks/bigger-is-better.json
    artifacts/benchmarks/bmf.json
    artifacts/benchmarks/smaller-is-better.json
    artifacts/benchmarks/summary.json
    artifacts/checksums.txt
    artifacts/meta.json
    artifacts/runs/r2.json
    artifacts/tests/summary.json
    hpc-results.json
    ");
    let tests =
        serde_json::from_str::<serde_json::Value>(&place.read("artifacts/tests/summary.json"))
            .unwrap();
    assert_eq!(
        (&tests["status"], &tests["commit"]),
        (&"skipped".into(), &"f".repeat(40).into())
    );
}

#[test]
fn what_cannot_be_written_leaves_the_old_set_alone() {
    let place = Place::new();
    place.save(&files(&run("r1", &Part::ALL))).unwrap();
    let before = (place.list(), place.read(RESULTS));
    let mut broken = files(&run("r2", &Part::ALL));
    broken.files.push(Artifact::file(
        "coverage/objects.json",
        place.folder.join("absent"),
    ));
    assert!(matches!(place.save(&broken), Err(StoreError::Io(_))));
    let mut escaping = files(&run("r2", &Part::ALL));
    escaping.entry.run = "../../r2".to_owned();
    assert!(matches!(
        place.save(&escaping),
        Err(StoreError::BadPath { .. })
    ));
    assert_eq!((place.list(), place.read(RESULTS)), before);
    place.checksums_hold();
}

#[test]
fn a_crash_between_two_renames_loses_nothing() {
    let place = Place::new();
    place.save(&files(&run("r1", &Part::ALL))).unwrap();
    let before = place.list();
    fs::rename(place.folder.join(ARTIFACTS), place.folder.join(OLD)).unwrap();
    fs::create_dir(place.folder.join(format!("{NEW}1"))).unwrap();
    let earlier = load(&place.folder, PATIENCE).unwrap().unwrap();
    assert_eq!(earlier.entries.len(), 1);
    assert_eq!(place.list(), before);
    assert!(!place.folder.join(format!("{NEW}1")).exists());
}

#[test]
fn a_file_system_without_exchange_gets_the_set_as_well() {
    let place = Place::new();
    place.save(&files(&run("r1", &Part::ALL))).unwrap();
    let stage = place.folder.join(format!("{NEW}1"));
    fs::create_dir(&stage).unwrap();
    fs::write(stage.join("new"), "").unwrap();
    move_aside(&place.folder, &stage).unwrap();
    assert_eq!(place.list(), "artifacts/new\nhpc-results.json");
    assert!(matches!(
        move_aside(&place.folder, &stage),
        Err(StoreError::Io(_))
    ));
    assert_eq!(
        place.list(),
        "artifacts/new\nhpc-results.json",
        "a set that is not there replaces nothing"
    );
}

#[test]
fn somebody_elses_folder_is_refused() {
    let place = Place::new();
    let thesis = place.folder.join("artifacts/thesis.tex");
    fs::create_dir_all(place.folder.join(ARTIFACTS)).unwrap();
    fs::write(&thesis, "years of work").unwrap();
    let error = place.save(&files(&run("r1", &Part::ALL))).unwrap_err();
    assert!(matches!(error, StoreError::Foreign { .. }) && error.help().is_some());
    assert!(thesis.exists());
}

#[test]
fn what_cannot_be_understood_contributes_nothing_and_is_said() {
    let check = |meta: &str, is_expected: fn(&StoreError) -> bool| {
        let place = Place::new();
        place.save(&files(&run("r1", &Part::ALL))).unwrap();
        fs::write(place.folder.join("artifacts/meta.json"), meta).unwrap();
        let saved = place.save(&files(&run("r2", &[Part::Tests]))).unwrap();
        assert!(
            saved.ignored.as_ref().is_some_and(is_expected),
            "{:?}",
            saved.ignored
        );
        assert_eq!(saved.picture.results.runs, ["r2"]);
    };
    check("{", |error| matches!(error, StoreError::Unreadable { .. }));
    check("{\"schema_version\": 1}", |error| {
        matches!(error, StoreError::Unreadable { .. })
    });
    check("{\"schema_version\": 2}", |error| {
        matches!(error, StoreError::Version { found: 2, .. })
    });
}

#[test]
fn an_entry_that_is_gone_is_said() {
    let place = Place::new();
    place.save(&files(&run("r1", &Part::ALL))).unwrap();
    fs::remove_file(place.folder.join("artifacts/runs/r1.json")).unwrap();
    assert!(matches!(
        load(&place.folder, PATIENCE),
        Err(StoreError::Incomplete { .. })
    ));
    let saved = place.save(&files(&run("r2", &[Part::Tests]))).unwrap();
    assert!(matches!(saved.ignored, Some(StoreError::Incomplete { .. })));
}

#[test]
fn runs_that_end_at_once_both_contribute() {
    let place = Place::new();
    std::thread::scope(|scope| {
        for (id, part) in [
            ("r1", Part::Tests),
            ("r2", Part::Benchmarks),
            ("r3", Part::Coverage),
        ] {
            let place = &place;
            scope.spawn(move || place.save(&files(&run(id, &[part]))).unwrap());
        }
    });
    place.checksums_hold();
    let mut runs = load(&place.folder, PATIENCE).unwrap().unwrap().meta.runs;
    runs.sort_by(|a, b| a.run.cmp(&b.run));
    let parts = runs
        .iter()
        .map(|it| it.parts.as_slice())
        .collect::<Vec<_>>();
    assert_eq!(parts, [[Part::Tests], [Part::Benchmarks], [Part::Coverage]]);
}

#[test]
fn waiting_for_the_lock_has_an_end() {
    let place = Place::new();
    fs::create_dir_all(&place.folder).unwrap();
    let _held = lock(&place.folder, PATIENCE).unwrap();
    let error = lock(&place.folder, Duration::ZERO).unwrap_err();
    assert!(matches!(error, StoreError::Busy { .. }));
}
