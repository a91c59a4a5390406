//! What a commit becomes on disk.

use std::path::{Path, PathBuf};

use hpc_ci::git::{Bounds, CheckoutOptions, Source, Wanted, checkout, fetch_submodules};

use super::{access, head, place, read, told, with_token};
use crate::support::git_servers::{Http, TOKEN, git, in_home, make_repository, push, run, write};

/// Makes `outer.git`, which has `sub/middle`, which has `inner`, by relative addresses; returns the tip of `outer`.
fn make_nested(root: &Path) -> String {
    make_repository(&root.join("deps/inner.git"), &[("inner.c", "inner")]);
    let middle = make_repository(&root.join("deps/middle.git"), &[("middle.c", "middle")]);
    git(&middle, "submodule add -q ../inner.git inner");
    push(&middle, &[], "refs/heads/main");
    let outer = make_repository(&root.join("outer.git"), &[("outer.c", "outer")]);
    git(&outer, "submodule add -q ./../deps/middle.git sub/middle");
    push(&outer, &[], "refs/heads/main")
}

#[test]
fn nested_submodules_with_relative_addresses() {
    in_home(nested_submodules_with_relative_addresses, |home| {
        let root = home.join("srv");
        make_nested(&root);
        let http = Http::start(&root);
        let url = http.url("private", "outer.git");
        let access = with_token(home, TOKEN, &url);
        let found = head(&url, &access).unwrap();
        let parts =
            fetch_submodules(&found.repository, found.commit, Bounds::default(), &access).unwrap();
        let paths: Vec<_> = parts
            .iter()
            .map(|part| part.path.to_str().unwrap())
            .collect();
        assert_eq!(paths, ["sub/middle", "sub/middle/inner"]);

        drop(http);
        let tree = home.join("tree");
        let made = place(&found, &tree, &access).unwrap();
        assert_eq!(made.submodules, parts);
        assert_eq!(read(tree.join("sub/middle/inner/inner.c")), "inner");
        let status = git(&tree, "submodule status --recursive");
        assert!(
            status
                .lines()
                .all(|line| !line.trim_start().starts_with(['-', '+'])),
            "{status}"
        );
        assert_eq!(git(&tree, "status --porcelain"), "");
    });
}

#[test]
fn a_clone_with_submodules_needs_no_network() {
    in_home(a_clone_with_submodules_needs_no_network, |home| {
        let root = home.join("srv");
        make_nested(&root);
        let http = Http::start(&root);
        git(
            home,
            &format!(
                "clone -q --recurse-submodules --depth 1 {} clone",
                http.url("open", "outer.git")
            ),
        );
        drop(http);
        let access = access(home);
        let found = Source::holding(&home.join("clone/sub"))
            .unwrap()
            .resolve(&Wanted::Head, &access)
            .unwrap();
        let tree = home.join("tree");
        place(&found, &tree, &access).unwrap();
        assert_eq!(read(tree.join("sub/middle/inner/inner.c")), "inner");
        assert_eq!(git(&tree, "status --porcelain"), "");
        assert!(!home.join("mirrors").exists());
    });
}

#[test]
fn submodules_that_cannot_be_had() {
    in_home(submodules_that_cannot_be_had, |home| {
        let root = home.join("srv");
        let work = make_repository(&root.join("heat.git"), &[("a.c", "one")]);
        let http = Http::start(&root);
        let url = http.url("open", "heat.git");
        let link = git(&work, "rev-parse HEAD");
        git(
            &work,
            &format!("update-index --add --cacheinfo 160000,{link},lib"),
        );
        let access = access(home);
        let fails = |modules: Option<&str>| {
            match modules {
                Some(text) => write(&work, &[(".gitmodules", text)]),
                None => drop(std::fs::remove_file(work.join(".gitmodules"))),
            }
            std::fs::create_dir_all(work.join("lib")).unwrap();
            if modules.is_some() {
                git(&work, "add .gitmodules");
            }
            git(&work, "commit -q --allow-empty -m change");
            git(&work, "push -q --force origin HEAD:main");
            let found = head(&url, &access).unwrap();
            let error = place(&found, &home.join("tree"), &access).unwrap_err();
            told(&error, home)
                .replace(&http.server.port.to_string(), "PORT")
                .replace(&found.commit.to_string(), "COMMIT")
                .replace(&link, "LINK")
        };
        insta::assert_snapshot!(fails(None), @"
        cannot bring in submodule `lib`
        cause: it is not listed in .gitmodules
        help: add it to .gitmodules, or set `submodules = false` in [project]
        ");
        let lib = |url: &str| format!("[submodule \"lib\"]\n\tpath = lib\n\turl = {url}\n");
        insta::assert_snapshot!(fails(Some(&lib(root.to_str().unwrap()))), @"
        cannot bring in submodule `lib`
        cause: its url leads from a remote repository to the local path `HOME/srv`
        help: write a URL relative to the repository's own, as `../library.git`
        ");
        insta::assert_snapshot!(fails(Some(&lib("ext::sh -c id"))), @"
        cannot bring in submodule `lib`
        cause: `ext::sh -c id` is not the address of a repository
        cause: `ext` is not one of https, http, ssh, git and file
        help: write a path, `https://host/path`, `ssh://user@host/path` or `user@host:path`
        ");
        insta::assert_snapshot!(fails(Some(&lib("../none.git"))), @"
        cannot bring in submodule `lib`
        cause: there is no repository at `http://127.0.0.1:PORT/open/none.git`: unexpected http status code: 404
        help: compare the address; a private repository also looks so to those who may not read it
        ");
        insta::assert_snapshot!(fails(Some("[submodule \"../../x\"]\n")), @"
        the .gitmodules of COMMIT cannot be used
        cause: `../../x` is not a name for a submodule
        ");
    });
}

#[test]
fn nothing_that_a_repository_or_template_names_is_run() {
    in_home(nothing_that_a_repository_or_template_names_is_run, |home| {
        let root = home.join("srv");
        let bare = root.join("heat.git");
        make_repository(
            &bare,
            &[
                ("a.c", "one\n"),
                (".gitattributes", "* filter=evil diff=evil\n"),
            ],
        );
        let trap = home.join("trap");
        let sprung = home.join("sprung");
        write(
            home,
            &[(
                "trap",
                &format!("#!/bin/sh\necho $0 >> {}\n", sprung.display()),
            )],
        );
        run(home, ["chmod", "755", trap.to_str().unwrap()]);
        let trap_text = trap.display();
        let config = format!(
            "[core]\n\thooksPath = {0}/hooks\n\tfsmonitor = {trap_text}\n\tsshCommand = {trap_text}\n\
             [init]\n\ttemplateDir = {0}/template\n[filter \"evil\"]\n\tsmudge = {trap_text}\n\tclean = {trap_text}\n\
             \tprocess = {trap_text}\n\trequired = true\n[diff \"evil\"]\n\tcommand = {trap_text}\n",
            home.display()
        );
        let hooks = [
            "post-checkout",
            "post-merge",
            "pre-commit",
            "reference-transaction",
            "post-index-change",
        ];
        for hook in hooks {
            for dir in ["hooks", "template/hooks"] {
                std::fs::create_dir_all(home.join(dir)).unwrap();
                std::os::unix::fs::symlink(&trap, home.join(dir).join(hook)).unwrap();
            }
        }
        let http = Http::start(&root);
        git(
            home,
            &format!("clone -q {} clone", http.url("open", "heat.git")),
        );
        let planted = read(home.join("clone/.git/config")) + &config;
        write(&home.join("clone"), &[(".git/config", &planted)]);
        for hook in hooks {
            std::os::unix::fs::symlink(&trap, home.join("clone/.git/hooks").join(hook)).unwrap();
        }
        write(home, &[(".gitconfig", &config)]);
        let access = access(home);
        let from_clone = Source::holding(&home.join("clone"))
            .unwrap()
            .resolve(&Wanted::Head, &access);
        let from_server = head(&http.url("open", "heat.git"), &access);
        for found in [from_clone.unwrap(), from_server.unwrap()] {
            for reuse in [false, true] {
                let options = CheckoutOptions {
                    submodules: true,
                    reuse,
                    bounds: Bounds::default(),
                };
                let tree = home.join("tree");
                checkout(&found.repository, found.commit, &tree, options, &access).unwrap();
                assert_eq!(read(tree.join("a.c")), "one\n");
                assert!(!tree.join(".git/hooks").join(hooks[0]).exists());
            }
        }
        let sprung = std::fs::read_to_string(sprung).unwrap_or_default();
        assert_eq!(sprung, "");
    });
}

#[test]
fn lfs_pointers_are_reported() {
    in_home(lfs_pointers_are_reported, |home| {
        let root = home.join("srv");
        let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n";
        make_repository(
            &root.join("heat.git"),
            &[
                (
                    ".gitattributes",
                    "*.bin filter=lfs diff=lfs merge=lfs -text\n",
                ),
                ("mesh.bin", pointer),
                ("a.c", "one"),
            ],
        );
        let access = access(home);
        let found = head(root.join("heat.git").to_str().unwrap(), &access).unwrap();
        let made = place(&found, &home.join("tree"), &access).unwrap();
        assert_eq!(made.lfs_pointers, [PathBuf::from("mesh.bin")]);
        assert!(made.lfs_advice().unwrap().contains("git lfs pull"));
    });
}
