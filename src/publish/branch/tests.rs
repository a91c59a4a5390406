//! The branch as a whole, from runs that come one after the other.

use serde_json::Value;

use super::folder::folders;
use super::*;
use crate::config::Disclosure;
use crate::results::artifact::{Content, RunFiles};
use crate::results::record::meta_example;
use crate::results::{FinishedRun, finished_example};

/// The branch in memory.
#[derive(Default)]
struct Branch(BTreeMap<String, Vec<u8>>);

impl Branch {
    fn change(&self, new: &[Folder], keep: usize) -> Result<Files, BranchError> {
        let paths: BTreeSet<String> = self.0.keys().cloned().collect();
        let existing = Existing {
            branch: "hpc-results",
            paths: &paths,
            read: &|path| Ok(self.0.get(path).cloned()),
            default_branch: Some("main"),
        };
        content(existing, new, keep)
    }

    fn put(&mut self, new: &[Folder], keep: usize) -> &mut Self {
        for (path, bytes) in self.change(new, keep).unwrap() {
            match bytes {
                Some(bytes) => self.0.insert(path, bytes),
                None => self.0.remove(&path),
            };
        }
        self
    }

    fn json(&self, path: &str) -> Value {
        let bytes = self
            .0
            .get(path)
            .unwrap_or_else(|| panic!("no {path} in {:#?}", self.0.keys()));
        serde_json::from_slice(bytes).unwrap()
    }

    fn paths(&self, begin: &str) -> Vec<&str> {
        let paths = self.0.keys().map(String::as_str);
        paths.filter(|path| path.starts_with(begin)).collect()
    }
}

const ONE: &str = "1111111111111111111111111111111111111111";
const TWO: &str = "2222222222222222222222222222222222222222";

/// A run of a commit that begins at an hour; `change` makes it special.
fn run(commit: &str, hour: u32, scope: &[Part], change: impl Fn(&mut FinishedRun)) -> Folder {
    let mut run = finished_example::run();
    run.commit = commit.to_owned();
    run.run = format!("run-{hour}");
    run.branch = Some("main".to_owned());
    run.scope = scope.iter().copied().collect();
    run.started_at =
        finished_example::time("2026-11-20T00:00:00Z") + chrono::Duration::hours(hour.into());
    run.finished_at = run.started_at + chrono::Duration::minutes(30);
    run.steps
        .retain(|step| step.outcome == crate::results::record::Outcome::Passed);
    change(&mut run);
    let files = RunFiles::new(&run, meta_example::run_meta(), Vec::new()).unwrap();
    let picture = picture::compose(None, &files.entry, &files.meta, run.finished_at);
    let read = |path: &str| {
        let found = files.files.iter().find(|file| file.path == path)?;
        match &found.content {
            Content::Bytes(bytes) => Some(bytes.clone()),
            Content::File(_) => None,
        }
    };
    let made = folders(
        &picture.meta,
        std::slice::from_ref(&files.entry),
        &read,
        Disclosure::Full,
    );
    made.unwrap().remove(0)
}

fn plain(commit: &str, hour: u32) -> Folder {
    run(commit, hour, &Part::ALL, |_| {})
}

#[test]
fn one_run_makes_the_whole_branch() {
    let mut branch = Branch::default();
    branch.put(&[plain(ONE, 1)], 9);
    let expected = format!(
        ".nojekyll {ONE}/benchmarks.json {ONE}/hpc-results.json {ONE}/meta.json {ONE}/run-1/benchmarks.json \
         {ONE}/run-1/hpc-results.json {ONE}/run-1/meta.json {ONE}/run-1/run.json {ONE}/run-1/tests.json {ONE}/tests.json \
         README.md badges/benchmarks.json badges/benchmarks.svg badges/coverage.json badges/coverage.svg badges/tests.json \
         badges/tests.svg index.html latest-benchmarks.json latest-hpc-results.json latest-meta.json latest-tests.json"
    );
    assert_eq!(branch.paths("").join(" "), expected);
    assert_eq!(
        branch.json("latest-tests.json"),
        branch.json(&format!("{ONE}/run-1/tests.json"))
    );
    assert_eq!(branch.json("latest-hpc-results.json")["commit"], ONE);
    let again = branch.change(&[plain(ONE, 1)], 9).unwrap();
    let changed = again
        .iter()
        .filter(|(path, bytes)| branch.0.get(*path) != bytes.as_ref());
    assert_eq!(changed.count(), 0, "the same again changes nothing");
}

#[test]
fn runs_may_arrive_in_any_order() {
    let runs = [
        run(ONE, 1, &[Part::Tests, Part::Coverage], |_| {}),
        run(ONE, 2, &[Part::Benchmarks], |_| {}),
        plain(TWO, 3),
        run(TWO, 4, &Part::ALL, |run| {
            run.branch = Some("topic".to_owned());
        }),
        run(ONE, 5, &Part::ALL, |run| run.filtered = true),
    ];
    let mut expected = Branch::default();
    expected.put(&runs, 9);
    for order in [[4, 3, 2, 1, 0], [2, 0, 4, 1, 3], [1, 4, 0, 3, 2]] {
        let mut branch = Branch::default();
        for index in order {
            branch.put(&runs[index..=index], 9);
        }
        assert_eq!(branch.0, expected.0);
    }
    let joined = expected.json(&format!("{ONE}/hpc-results.json"));
    assert_eq!(joined["runs"], serde_json::json!(["run-1", "run-2"]));
}

#[test]
fn what_is_marked_or_run_again_does_not_move_the_latest() {
    let mut branch = Branch::default();
    branch.put(&[plain(ONE, 1)], 9).put(&[plain(TWO, 2)], 9);
    let latest = |branch: &Branch| branch.json("latest-hpc-results.json")["commit"].clone();
    assert_eq!(latest(&branch), TWO);
    branch.put(&[plain(ONE, 3)], 9);
    assert_eq!(latest(&branch), TWO, "an old commit that was run again");
    let three = "3".repeat(40);
    branch.put(&[run(&three, 4, &Part::ALL, |run| run.filtered = true)], 9);
    assert_eq!(latest(&branch), TWO, "a filtered run");
    assert_eq!(
        branch.json(&format!("{three}/hpc-results.json"))["marks"][0],
        "filtered"
    );
    branch.put(&[run(&three, 5, &[Part::Benchmarks], |_| {})], 9);
    assert_eq!(latest(&branch), three);
    assert_eq!(
        branch.json("latest-tests.json")["commit"],
        TWO,
        "skipped tests replace no real ones"
    );
    assert_eq!(branch.json("latest-benchmarks.json")["commit"], three);
    assert!(branch.json(&format!("{ONE}/run-1/run.json"))["marks"] == serde_json::json!([]));
}

#[test]
fn other_branches_have_folders_that_lead_nowhere_else() {
    let mut branch = Branch::default();
    branch.put(&[plain(ONE, 1)], 9);
    for (hour, name) in (2..).zip(["topic/a", "../../x", "<b>"]) {
        branch.put(
            &[run(TWO, hour, &Part::ALL, |run| {
                run.branch = Some(name.to_owned());
            })],
            9,
        );
    }
    for folder in ["topic/a", "%2E%2E/%2E%2E/x", "%3Cb%3E"] {
        let path = format!("branches/{folder}/latest-tests.json");
        assert_eq!(branch.json(&path)["commit"], TWO);
    }
    assert_eq!(branch.json("latest-tests.json")["commit"], ONE);
}

#[test]
fn old_commits_go_and_what_stands_for_a_branch_stays() {
    let commit = |number: u32| format!("{number:040x}");
    let mut branch = Branch::default();
    branch.put(
        &[run(&commit(1), 1, &Part::ALL, |run| {
            run.branch = Some("old".to_owned());
        })],
        3,
    );
    branch.put(&[run(&commit(2), 2, &[Part::Benchmarks], |_| {})], 3);
    for number in 3..8 {
        branch.put(&[run(&commit(number), number, &[Part::Tests], |_| {})], 3);
    }
    let left = [1, 2, 7].map(|number| !branch.paths(&commit(number)).is_empty());
    assert_eq!(left, [true; 3]);
    for number in 3..7 {
        assert_eq!(branch.paths(&commit(number)), Vec::<&str>::new());
    }
    assert_eq!(
        branch.json("branches/old/latest-tests.json")["commit"],
        commit(1)
    );
    assert_eq!(branch.json("latest-benchmarks.json")["commit"], commit(2));
    assert_eq!(branch.json("latest-tests.json")["commit"], commit(7));
}

#[test]
fn a_branch_with_other_things_is_left_alone() {
    let mut branch = Branch::default();
    branch.0.insert("src/main.c".to_owned(), Vec::new());
    let refused = branch.change(&[plain(ONE, 1)], 9);
    assert!(
        matches!(refused, Err(BranchError::Foreign { .. })),
        "{refused:?}"
    );
    let mut branch = Branch::default();
    branch
        .0
        .insert("CNAME".to_owned(), b"results.example.org".to_vec());
    branch.put(&[plain(ONE, 1)], 9).put(&[plain(TWO, 2)], 9);
    branch
        .0
        .insert("notes/mine.txt".to_owned(), b"mine".to_vec());
    branch.put(&[plain(TWO, 3)], 9);
    assert_eq!(branch.0["CNAME"], b"results.example.org");
    assert_eq!(branch.0["notes/mine.txt"], b"mine");
}

#[test]
fn a_run_that_cannot_be_read_is_said_and_kept() {
    let mut branch = Branch::default();
    branch.put(&[plain(ONE, 1)], 9);
    let broken = format!("{TWO}/run-9/run.json");
    branch.0.insert(broken.clone(), b"{".to_vec());
    let moved = format!("{TWO}/run-8/run.json");
    branch
        .0
        .insert(moved, branch.0[&format!("{ONE}/run-1/run.json")].clone());
    branch.put(&[plain(ONE, 2)], 1);
    let page = String::from_utf8(branch.0["index.html"].clone()).unwrap();
    assert!(
        page.contains(&format!("{TWO}/run-8, {TWO}/run-9")),
        "{page}"
    );
    assert_eq!(branch.0[&broken], b"{");
}

#[test]
fn names_that_are_none_are_refused() {
    let check = |commit: &str, run: &str| {
        let mut run_entry = finished_example::run();
        run_entry.commit = commit.to_owned();
        run_entry.run = run.to_owned();
        let files = RunFiles::new(&run_entry, meta_example::run_meta(), Vec::new()).unwrap();
        let meta = picture::compose(None, &files.entry, &files.meta, run_entry.finished_at).meta;
        let made = folders(&meta, &[files.entry], &|_| None, Disclosure::Full);
        assert!(
            matches!(made, Err(BranchError::Name { .. })),
            "{commit} {run}"
        );
    };
    check("HEAD", "run");
    check(ONE, "../up");
    check(ONE, "a/b");
    check(&ONE[..8], "run");
}

#[test]
fn large_documents_are_shortened_and_say_so() {
    let folder = run(ONE, 1, &Part::ALL, |run| {
        let step = run.steps[0].clone();
        run.steps = (0..5000)
            .map(|number| crate::results::StepResult {
                name: format!("step-{number}"),
                ..step.clone()
            })
            .collect();
    });
    assert!(
        folder
            .files
            .values()
            .all(|bytes| bytes.len() <= folder::LARGEST)
    );
    let tests: Value = serde_json::from_slice(&folder.files["tests.json"]).unwrap();
    assert_eq!(tests["steps"], serde_json::json!([]));
    let missing = tests["missing"][0].as_str().unwrap();
    assert!(
        missing.contains("without the steps that passed"),
        "{missing}"
    );
    assert!(
        folder.notes.iter().any(|note| note.starts_with("run.json")),
        "{:?}",
        folder.notes
    );
    let mut branch = Branch::default();
    branch.put(&[folder], 9);
    assert_eq!(
        branch.json("badges/tests.json")["message"],
        "5000 passed · 2026-11-20"
    );
}

#[test]
fn less_is_told_where_that_is_asked_for_and_documents_stay_readable() {
    for disclosure in [Disclosure::Anonymous, Disclosure::Minimal] {
        let full = finished_example::run();
        let files = RunFiles::new(&full, meta_example::run_meta(), Vec::new()).unwrap();
        let meta = picture::compose(None, &files.entry, &files.meta, full.finished_at).meta;
        let summary = |path: &str| {
            let found = files.files.iter().find(|file| file.path == path)?;
            match &found.content {
                Content::Bytes(bytes) => Some(bytes.clone()),
                Content::File(_) => None,
            }
        };
        let folder = folders(&meta, &[files.entry], &summary, disclosure)
            .unwrap()
            .remove(0);
        let all: String = folder
            .files
            .values()
            .map(|bytes| String::from_utf8_lossy(bytes))
            .collect();
        for secret in ["login1", "\"n1\"", ".log\"", "example.org"] {
            assert!(!all.contains(secret), "{secret} {disclosure:?}");
        }
        serde_json::from_slice::<RunEntry>(&folder.files["run.json"]).unwrap();
        serde_json::from_slice::<Meta>(&folder.files["meta.json"]).unwrap();
        serde_json::from_slice::<TestsSummary>(&folder.files["tests.json"]).unwrap();
        serde_json::from_slice::<BenchmarksSummary>(&folder.files["benchmarks.json"]).unwrap();
        let mut branch = Branch::default();
        branch.put(&[folder], 9);
        assert!(branch.0.contains_key("index.html"));
    }
}

#[test]
fn badges_are_what_shields_takes() {
    let allowed = [
        "schemaVersion",
        "label",
        "message",
        "color",
        "isError",
        "cacheSeconds",
    ];
    let mut branch = Branch::default();
    let bad = |run: &mut FinishedRun| {
        run.steps[0].outcome = crate::results::record::Outcome::Timeout;
    };
    branch
        .put(&[plain(ONE, 1)], 9)
        .put(&[run(TWO, 2, &[Part::Tests], bad)], 9);
    for name in ["tests", "coverage", "benchmarks"] {
        let badge = branch.json(&format!("badges/{name}.json"));
        let object = badge.as_object().unwrap();
        assert!(
            object.keys().all(|key| allowed.contains(&key.as_str())),
            "{badge}"
        );
        assert_eq!(badge["schemaVersion"], 1);
        assert!(
            badge["message"]
                .as_str()
                .is_some_and(|text| text.ends_with("2026-11-20")),
            "{badge}"
        );
        let svg = String::from_utf8(branch.0[&format!("badges/{name}.svg")].clone()).unwrap();
        assert!(svg.starts_with("<svg ") && svg.contains(badge["message"].as_str().unwrap()));
    }
    let tests = branch.json("badges/tests.json");
    assert_eq!(tests["color"], "red", "{tests}");
}

/// Pages, badges and what stands beside them: names and messages from outside.
#[test]
fn what_is_not_seen_stands_on_no_page() {
    let odd = |text: &str| format!("{text}\u{202e}\u{200f}\u{2028}\u{e0041}\u{feff}\u{9b}!");
    let mut branch = Branch::default();
    let change = |run: &mut FinishedRun| {
        run.project = odd("heat");
        run.branch = Some(odd("main"));
        for step in &mut run.steps {
            step.name = odd(&step.name);
            step.suite = odd(&step.suite);
            step.outcome = crate::results::record::Outcome::Failed;
        }
    };
    branch.put(&[run(ONE, 1, &Part::ALL, change), plain(TWO, 2)], 9);
    for (path, bytes) in &branch.0 {
        let is_data = std::path::Path::new(path).extension() == Some("json".as_ref());
        if is_data {
            continue;
        }
        let text = String::from_utf8_lossy(bytes);
        let clean = crate::clean::printable(&text);
        assert!(clean == text, "{path}");
    }
}
