//! A node's share against all profiles in one place.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::super::profile::Version;
use super::super::profile::samples::Sample;
use super::*;

fn program(counters: [u64; 3]) -> Vec<u8> {
    Sample::new(
        Version::V10,
        &[(1, 10, &counters[..2]), (2, 20, &counters[2..])],
    )
    .to_bytes()
}

struct Node {
    dir: tempfile::TempDir,
}

impl Node {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("shared")).unwrap();
        Self { dir }
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let scratch = self.dir.path().join("scratch");
        std::fs::create_dir_all(&scratch).unwrap();
        std::fs::write(scratch.join(name), bytes).unwrap();
    }

    fn reduce(&self) -> Result<Reduced, NodeError> {
        reduce(&Share {
            scratch: &self.dir.path().join("scratch"),
            shared: &self.dir.path().join("shared"),
            host: "n1",
            build: "tests",
            index: &self.dir.path().join("none.json"),
        })
    }

    fn shared(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.dir.path().join("shared")).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn record(&self, number: usize) -> NodeRecord {
        NodeRecord::read(
            &self
                .dir
                .path()
                .join(format!("shared/node.n1.{number}.json")),
        )
        .unwrap()
    }

    fn sum(&self) -> Vec<u64> {
        let sums = self
            .shared()
            .into_iter()
            .filter(|name| record::is_sum(name));
        let files: Vec<PathBuf> = sums
            .map(|name| self.dir.path().join("shared").join(name))
            .collect();
        let sum = reduction::reduce(files.as_slice(), &Options::default());
        sum.binaries[0].profile.counters.clone()
    }
}

#[test]
fn a_node_leaves_a_sum_its_record_and_what_others_shall_judge() {
    let node = Node::new();
    node.write("r0.n1.7.profraw", &program([1, 2, 3]));
    node.write("r1.n1.8.profraw", &program([10, 20, 30]));
    node.write("r2.n1.9.profraw", b"");
    let mut single_byte = program([1, 1, 1]);
    single_byte[15] = 0x10;
    node.write("r3.n1.10.profraw", &single_byte);
    node.write("r4.n1.11.profraw", &program([5, 5, 5])[..200]);
    node.write("r2.n1.9.live-1.profraw", &program([0, 0, 1]));
    node.write("r5.n1.12.profraw", b"");
    node.write("notes.txt", b"not a profile");
    assert_eq!(
        node.reduce().unwrap(),
        Reduced {
            added: 3,
            carried: 2
        }
    );
    assert_eq!(
        node.shared(),
        [
            "node.n1.0.json",
            "node.n1.0.profraw",
            "r3.n1.10.profraw",
            "r4.n1.11.profraw"
        ]
    );
    assert_eq!(node.sum(), [11, 22, 34]);
    let record = node.record(0);
    let added = [
        "r0.n1.7.profraw",
        "r1.n1.8.profraw",
        "r2.n1.9.live-1.profraw",
    ];
    assert_eq!(record.files, added);
    assert_eq!(record.empty, ["r5.n1.12.profraw"]);
    assert_eq!(
        record.files_with(Some(&record.binaries[0].build_ids[0])),
        added
    );
    assert_eq!(record.rank_hits().unwrap().ranks().to_string(), "0-2");
    assert!(!node.dir.path().join("scratch").exists());
}

/// The node's work may be cut off between its record and the end of its folder, and done again.
#[test]
fn what_a_record_names_is_not_added_again() {
    let node = Node::new();
    node.write("r0.n1.7.profraw", &program([1, 2, 3]));
    node.reduce().unwrap();
    node.write("r0.n1.7.profraw", &program([1, 2, 3]));
    node.write("r1.n1.8.profraw", &program([1, 1, 1]));
    assert_eq!(
        node.reduce().unwrap(),
        Reduced {
            added: 1,
            carried: 0
        }
    );
    assert_eq!(node.record(1).files, ["r1.n1.8.profraw"]);
    assert_eq!(node.sum(), [2, 3, 4]);
}

#[test]
fn a_node_of_the_dead_tells_who_they_were() {
    let node = Node::new();
    node.write("r6.n1.7.profraw", b"");
    node.reduce().unwrap();
    assert_eq!(node.shared(), ["node.n1.0.json"]);
    assert_eq!(node.record(0).empty, ["r6.n1.7.profraw"]);
}

#[test]
fn a_folder_that_is_gone_is_an_error() {
    assert!(Node::new().reduce().is_err());
}
