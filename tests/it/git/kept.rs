//! What a build or another process of the user put in the place of files that the next run opens.

use std::time::Duration;

use super::{access, head, place, read};
use crate::support::bounds::bounded;
use crate::support::git_servers::{Http, in_home, make_repository};
use crate::support::spoil::{KINDS, replace};
use crate::support::tools::full;
use crate::support::{Home, Project};

fn kept() -> Project {
    let project = Project::new(Home::Here);
    project.file(
        "hpc.toml",
        "[build.tests]\ncommand = \"cat a.c .gitattributes .gitignore > made.o\"\ncoverage = \"none\"\nreuse = true\n\
         [[test]]\nname = \"a\"\ncommand = \"test $(cat made.o | wc -l) = 6\"\n",
    );
    project.file(".gitattributes", "*.c text\n");
    project.file(".gitignore", "*.o\n/hpc-ci\n.deep\n.venv\n");
    project.file("a.c", "int a;\n");
    project.commit();
    project.run(&["--scheduler", "local"]).exits_with(0);
    project
}

#[track_caller]
fn runs_again(project: &Project, what: &str) {
    let mut command = project.hpc_ci(&["--scheduler", "local"]);
    let run = bounded(&mut command, Duration::from_secs(10));
    assert_eq!(run.code, Some(0), "{what}: {}", run.err);
    run.below(256);
    let tree = project.dir.join("hpc-ci/trees/kept/tests");
    assert_eq!(read(tree.join("a.c")), "int a;\n", "{what}");
}

#[test]
fn a_kept_tree_that_was_tampered_with_is_mended_or_made_anew() {
    let project = kept();
    let tree = project.dir.join("hpc-ci/trees/kept/tests");
    for (number, (kind, spoil)) in KINDS.iter().enumerate() {
        let all = [
            &[".git/HEAD", "a.c"][..],
            &[".git/index", ".gitignore"],
            &[".git/hpc-ci-tree", ".gitattributes"],
            &[".git"],
            &[".git/packed-refs", ".git/config", "hpc.toml"],
        ];
        // A FIFO is what waits without end.
        let chosen = |at: usize| full() || number == 0 || at == number % all.len();
        let chosen = (0..all.len()).filter(|at| chosen(*at));
        for together in chosen.map(|at| all[at]) {
            for path in together {
                replace(&tree.join(path), *spoil);
            }
            runs_again(&project, &format!("{kind} for {together:?}"));
        }
    }
}

/// The tree lies beside the files that git looks for in every folder, tracked or not.
#[test]
fn what_a_build_leaves_beside_is_not_opened() {
    let project = kept();
    let tree = project.dir.join("hpc-ci/trees/kept/tests");
    for (kind, spoil) in KINDS {
        for path in [
            "new/.gitignore",
            "new/.gitattributes",
            "new/pipe",
            "other/.git",
        ] {
            let path = tree.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            replace(&path, *spoil);
        }
        runs_again(&project, kind);
        assert!(!tree.join("new/.gitignore").exists(), "{kind}");
    }
    // What keeps itself out of git stays, as Python's environments do.
    std::fs::create_dir_all(tree.join("venv")).unwrap();
    std::fs::write(tree.join("venv/.gitignore"), "*\n").unwrap();
    std::fs::write(tree.join("venv/python"), "x").unwrap();
    runs_again(&project, "an environment");
    assert_eq!(read(tree.join("venv/python")), "x");
}

/// A build can nest folders deeper than a path, the stack or the limit of open files reaches; removed they are all the same.
#[test]
fn a_kept_tree_of_deep_folders_is_removed() {
    let project = kept();
    let tree = project.dir.join("hpc-ci/trees/kept/tests");
    let nest = "import os\nfor _ in range(21000):\n    os.mkdir('dddd'); os.chdir('dddd')\n";
    let mut python = std::process::Command::new("python3");
    let made = python.args(["-c", nest]).current_dir(&tree).status();
    assert!(made.unwrap().success());
    std::fs::remove_file(tree.join(".git/HEAD")).unwrap();
    runs_again(&project, "deep folders");
    assert!(!tree.join("dddd").exists());
}

#[test]
fn a_mirror_that_was_tampered_with_is_made_anew() {
    in_home(a_mirror_that_was_tampered_with_is_made_anew, |home| {
        let root = home.join("srv");
        make_repository(&root.join("heat.git"), &[("a.c", "one")]);
        let http = Http::start(&root);
        let url = http.url("open", "heat.git");
        let access = access(home);
        let mirror = || {
            let mut links = std::fs::read_dir(&access.mirrors).unwrap().flatten();
            let link = links.find(|it| it.path().is_symlink()).unwrap().path();
            link.canonicalize().unwrap()
        };
        head(&url, &access).unwrap();
        for (kind, spoil) in KINDS {
            for path in [
                "HEAD",
                "config",
                "packed-refs",
                "refs/heads/main",
                "shallow",
            ] {
                replace(&mirror().join(path), *spoil);
                let found = head(&url, &access);
                let found = found.unwrap_or_else(|error| panic!("{kind} for {path}: {error}"));
                let tree = home.join("tree");
                place(&found, &tree, &access).unwrap();
                assert_eq!(read(tree.join("a.c")), "one", "{kind} for {path}");
            }
        }
    });
}
