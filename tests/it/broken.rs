//! Every file of `tests/data/broken` through the program: exit code 2, and the message that its snapshot there holds.

use std::path::{Path, PathBuf};

use crate::local::{here, project};
use crate::support::{Ended, Home, Project};

fn broken() -> Vec<PathBuf> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/broken");
    let mut files: Vec<PathBuf> = std::fs::read_dir(data)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|it| it == "toml"))
        .collect();
    files.sort_unstable();
    files
}

/// What the configuration itself says of a file: its snapshot, without insta's header.
fn expected(toml: &Path) -> String {
    let text = std::fs::read_to_string(toml.with_extension("snap")).unwrap();
    let message = text.splitn(3, "---\n").nth(2).unwrap();
    message.trim().to_owned()
}

/// Whether this holds a place as an editor takes it: `hpc.toml:LINE:COLUMN`.
fn tells_a_place(text: &str) -> bool {
    text.split("[hpc.toml:").skip(1).any(|rest| {
        let place = rest.split(']').next().unwrap_or_default();
        let mut numbers = place.split(':').map(str::parse::<u32>);
        matches!(
            (numbers.next(), numbers.next(), numbers.next()),
            (Some(Ok(_)), Some(Ok(_)), None)
        )
    })
}

#[test]
fn every_broken_file_is_told_what_is_wrong_and_where() {
    let files = broken();
    assert!(files.len() >= 40, "{}", files.len());
    let project = Project::new(Home::Here);
    project.file("hpc.toml", "");
    project.commit();
    for file in files {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&file).unwrap();
        project.file("hpc.toml", &text);
        for arguments in [&["config"][..], &["plan", "--in-place"], &["--in-place"]] {
            // The variables that the snapshots were taken with.
            let mut command = here(&project, arguments);
            command.env("SCRATCH", "/scratch/ada").env("EMPTY", "");
            let ended = Ended::of(&project.dir, &command.output().unwrap());
            assert_eq!(ended.code, Some(2), "{name} {arguments:?}: {}", ended.err);
            assert_eq!(ended.out, "", "{name}");
            assert!(!ended.err.contains("panicked"), "{name}: {}", ended.err);
            assert!(tells_a_place(&ended.err), "{name}: {}", ended.err);
            assert_eq!(ended.err.trim(), expected(&file), "{name}");
        }
    }
    assert!(
        !project.dir.join("hpc-ci/runs").exists(),
        "something was run"
    );
}

#[test]
fn a_mistake_in_the_file_of_a_commit_names_the_commit() {
    let project = project("[[test]]\nname = \"a\"\ncommand = \"true\"\nrank = 2\n");
    project.file("hpc.toml", "");
    let output = here(&project, &["plan"]).output().unwrap();
    let ended = Ended::of(&project.dir, &output).exits_with(2);
    let place = ended.err.find('[').map(|at| &ended.err[at..]).unwrap();
    assert!(place[11..].starts_with(":hpc.toml:4:1]"), "{}", ended.err);
    assert!(ended.err.contains("did you mean `ranks`?"), "{}", ended.err);
}
