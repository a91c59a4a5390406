//! Which commit is meant, and where it comes from.

use std::cell::RefCell;
use std::path::PathBuf;
use std::time::Duration;

use hpc_ci::git::{Access, CommitId, GitError, Progress, Source, Wanted};

use super::{access, commit, head, place, read, resolve, told};
use crate::support::git_servers::{Http, again, git, in_home, make_repository, push, run, write};

#[test]
fn commits_that_no_branch_holds() {
    in_home(commits_that_no_branch_holds, |home| {
        let root = home.join("srv");
        let bare = root.join("heat.git");
        let work = make_repository(&bare, &[("a.c", "one")]);
        let main = git(&work, "rev-parse HEAD");
        let inside = push(&work, &[("a.c", "two")], "refs/pull/7/head");
        let tip = push(&work, &[("a.c", "three")], "refs/pull/7/head");
        git(&work, &format!("checkout -q {main}"));
        let merge = push(&work, &[("a.c", "four")], "refs/merge-requests/3/head");
        let lost = push(&work, &[("a.c", "five")], "refs/heads/lost");
        git(&work, "push -q --delete origin lost");
        let http = Http::start(&root);
        let url = http.url("open", "heat.git");
        let mirrors = RefCell::new(0);
        let fresh = || {
            *mirrors.borrow_mut() += 1;
            Access::new(home.join(format!("mirrors-{}", mirrors.borrow())))
        };
        for id in [&main, &inside, &tip, &merge] {
            let access = fresh();
            let found = commit(&url, id, &access).unwrap();
            assert_eq!(found.commit.to_string(), *id);
            place(&found, &home.join("tree"), &access).unwrap();
        }
        assert_eq!(
            commit(&url, &tip[..10], &fresh())
                .unwrap_err()
                .to_string()
                .split(" in ")
                .next(),
            Some(format!("no commit `{}`", &tip[..10]).as_str())
        );
        assert_eq!(
            commit(&url, &main[..10], &fresh())
                .unwrap()
                .commit
                .to_string(),
            main
        );
        let text = told(&commit(&url, &lost, &fresh()).unwrap_err(), home);
        let text = text
            .replace(&lost, "LOST")
            .replace(&http.server.port.to_string(), "PORT");
        insta::assert_snapshot!(text, @"
        no commit `LOST` in branches and tags of `http://127.0.0.1:PORT/open/heat.git`, its id alone (the server gives none out), its pull and merge requests
        help: was it pushed? A rewritten branch loses its old commits
        ");

        // A forge gives out what it still has.
        git(&bare, "config uploadpack.allowAnySHA1InWant true");
        commit(&url, &lost, &fresh()).unwrap();
    });
}

#[test]
fn branches_move_and_vanish() {
    in_home(branches_move_and_vanish, |home| {
        let root = home.join("srv");
        let work = make_repository(&root.join("heat.git"), &[("a.c", "one")]);
        let http = Http::start(&root);
        let url = http.url("open", "heat.git");
        let access = access(home);
        let tip = |name: &str| resolve(&url, &Wanted::Branch(name.to_owned()), &access);
        let first = push(&work, &[("a.c", "two")], "refs/heads/topic");
        assert_eq!(tip("topic").unwrap().commit.to_string(), first);
        // Rewritten history, as after a rebase.
        git(&work, "commit -q --amend -m other");
        let second = push(&work, &[], "refs/heads/topic");
        assert_eq!(tip("topic").unwrap().commit.to_string(), second);
        // A directory of branches where a branch was.
        git(&work, "push -q --delete origin topic");
        let third = push(&work, &[], "refs/heads/topic/one");
        assert_eq!(tip("topic/one").unwrap().commit.to_string(), third);
        let text = told(&tip("topic").unwrap_err(), home);
        assert!(text.starts_with("`http://127.0.0.1:"), "{text}");
        assert!(text.contains("has no branch `topic`\nhelp: "), "{text}");
        // A commit of a branch that is gone stays in the mirror.
        assert!(
            commit(&url, &first, &access)
                .unwrap()
                .repository
                .is_mirror()
        );
    });
}

#[test]
fn a_clone_that_has_the_tip_needs_no_mirror() {
    in_home(a_clone_that_has_the_tip_needs_no_mirror, |home| {
        let root = home.join("srv");
        let work = make_repository(&root.join("heat.git"), &[("a.c", "one")]);
        let http = Http::start(&root);
        let url = http.url("open", "heat.git");
        git(home, &format!("clone -q {url} clone"));
        let source = Source::holding(&home.join("clone")).unwrap();
        let access = access(home);
        let main = || source.resolve(&Wanted::Branch("main".to_owned()), &access);
        assert!(!main().unwrap().repository.is_mirror());
        let newer = push(&work, &[("a.c", "two")], "refs/heads/main");
        let found = main().unwrap();
        assert_eq!(found.commit.to_string(), newer);
        assert!(found.repository.is_mirror());
        assert_eq!(source.name(), "heat");
    });
}

#[test]
fn a_shallow_clone_keeps_its_boundary() {
    in_home(a_shallow_clone_keeps_its_boundary, |home| {
        let root = home.join("srv");
        let work = make_repository(&root.join("heat.git"), &[("a.c", "one")]);
        let first = git(&work, "rev-parse HEAD");
        let second = push(&work, &[("a.c", "two")], "refs/heads/main");
        let http = Http::start(&root);
        git(
            home,
            &format!("clone -q --depth 1 {} clone", http.url("open", "heat.git")),
        );
        let source = Source::holding(&home.join("clone")).unwrap();
        let access = access(home);

        let found = source.resolve(&Wanted::Head, &access).unwrap();
        assert_eq!(found.commit.to_string(), second);
        assert!(found.repository.is_shallow());
        let tree = home.join("tree");
        place(&found, &tree, &access).unwrap();
        assert_eq!(git(&tree, "log --format=%H"), second);
        assert_eq!(git(&tree, "rev-parse --is-shallow-repository"), "true");
        assert!(!home.join("mirrors").exists());
        let old: CommitId = first.parse().unwrap();
        let cut =
            |result: Result<bool, GitError>| matches!(result, Err(GitError::ShallowHistory { .. }));
        assert!(cut(found.repository.is_ancestor(old, found.commit)));

        // What it lacks comes from its origin, whole; without a network it is told how to get it.
        let wanted = Wanted::Commit(first.clone());
        let elsewhere = source.resolve(&wanted, &access).unwrap();
        assert!(elsewhere.repository.is_mirror() && !elsewhere.repository.is_shallow());
        assert!(
            elsewhere
                .repository
                .is_ancestor(old, second.parse().unwrap())
                .unwrap()
        );
        let port = http.server.port.to_string();
        drop(http);
        std::fs::remove_dir_all(home.join("mirrors")).unwrap();
        let text = told(&source.resolve(&wanted, &access).unwrap_err(), home);
        insta::assert_snapshot!(text.replace(&first, "FIRST").replace(&port, "PORT"), @"
        no commit `FIRST` in `HOME/clone/` (a shallow clone), cannot reach `http://127.0.0.1:PORT/open/heat.git`: failed to connect to 127.0.0.1: Connection refused
        help: the local history is cut off; get the rest: git -C HOME/clone/ fetch --unshallow
        ");
    });
}

#[test]
fn processes_share_a_mirror() {
    in_home(processes_share_a_mirror, |home| {
        if std::env::var_os("HPC_CI_TEST_CHILD").is_some() {
            let access = access(home);
            let found = head(&read(home.join("url")), &access).unwrap();
            let name = format!("tree-{}", std::process::id());
            place(&found, &home.join(name), &access).unwrap();
            return;
        }
        let root = home.join("srv");
        let many: Vec<_> = (0..300)
            .map(|n| (format!("d{}/f{n}", n % 7), format!("file {n}")))
            .collect();
        let many: Vec<_> = many
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str()))
            .collect();
        make_repository(&root.join("heat.git"), &many);
        let http = Http::start(&root);
        write(home, &[("url", &http.url("open", "heat.git"))]);
        let children: Vec<_> = (0..4)
            .map(|_| {
                again(&processes_share_a_mirror)
                    .env("HPC_CI_TEST_CHILD", "1")
                    .spawn()
                    .unwrap()
            })
            .collect();
        for child in children {
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success());
        }
        let mirrors = std::fs::read_dir(home.join("mirrors")).unwrap();
        let mut names: Vec<_> = mirrors
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        // The mirror, the link to it, and the lock.
        assert_eq!(names.len(), 3, "{names:?}");
        let key = names[1].clone();
        assert!(names[0].starts_with(&format!(".{key}.")), "{names:?}");
        assert_eq!(names[2], format!("{key}.lock"));
    });
}

#[test]
fn a_lock_is_not_waited_for_without_end() {
    in_home(a_lock_is_not_waited_for_without_end, |home| {
        let root = home.join("srv");
        make_repository(&root.join("heat.git"), &[("a.c", "one")]);
        let http = Http::start(&root);
        let url = http.url("open", "heat.git");
        let mut access = access(home);
        head(&url, &access).unwrap();
        let locks = std::fs::read_dir(home.join("mirrors"))
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let lock = locks
            .into_iter()
            .find(|path| path.extension() == Some("lock".as_ref()))
            .unwrap();
        let held = std::fs::File::open(lock).unwrap();
        held.lock().unwrap();
        access.lock_wait = Duration::from_millis(300);
        let error = head(&url, &access).unwrap_err();
        assert!(matches!(error, GitError::Locked { .. }), "{error:?}");
    });
}

#[test]
fn a_damaged_mirror_is_made_anew() {
    in_home(a_damaged_mirror_is_made_anew, |home| {
        let root = home.join("srv");
        let work = make_repository(&root.join("heat.git"), &[("a.c", "one")]);
        // Incompressible, so that the pack's middle is a blob.
        run(&work, ["sh", "-c", "head -c 200000 /dev/urandom > noise"]);
        let id = push(&work, &[], "refs/heads/main");
        let http = Http::start(&root);
        let url = http.url("open", "heat.git");
        let remade = RefCell::new(0);
        let count = |progress: Progress<'_>| {
            if matches!(progress, Progress::Remaking { .. }) {
                *remade.borrow_mut() += 1;
            }
        };
        let access = Access {
            progress: &count,
            ..Access::new(home.join("mirrors"))
        };
        commit(&url, &id, &access).unwrap();
        let entries = std::fs::read_dir(home.join("mirrors")).unwrap();
        let mut paths = entries.map(|entry| entry.unwrap().path());
        let mirror = paths.find(|path| path.is_symlink()).unwrap();
        let pack = || {
            let mut files = std::fs::read_dir(mirror.join("objects/pack"))
                .unwrap()
                .map(|entry| entry.unwrap().path());
            files
                .find(|path| path.extension() == Some("pack".as_ref()))
                .unwrap()
        };
        let rewrite = |path: PathBuf, change: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = std::fs::read(&path).unwrap();
            change(&mut bytes);
            std::fs::remove_file(&path).unwrap();
            std::fs::write(&path, bytes).unwrap();
        };
        let damages: [(&str, &dyn Fn()); 5] = [
            ("head gone", &|| {
                std::fs::remove_file(mirror.join("HEAD")).unwrap();
            }),
            ("pack gone", &|| std::fs::remove_file(pack()).unwrap()),
            ("pack cut short", &|| {
                rewrite(pack(), &|bytes| bytes.truncate(1000));
            }),
            ("bits flipped in a file", &|| {
                rewrite(pack(), &|bytes| {
                    let middle = bytes.len() / 2;
                    bytes[middle] ^= 0xff;
                });
            }),
            ("config overwritten", &|| {
                std::fs::write(mirror.join("config"), "\0\0").unwrap();
            }),
        ];
        for (n, (name, damage)) in damages.iter().enumerate() {
            damage();
            let found = commit(&url, &id, &access).unwrap();
            let made = place(&found, &home.join("tree"), &access);
            assert!(made.is_ok(), "{name}: {made:?}");
            assert_eq!(*remade.borrow(), n + 1, "{name}");
            let same = run(home, ["cmp", "srv/heat.work/noise", "tree/noise"]);
            assert_eq!(same, "");
        }
    });
}

#[test]
fn a_repository_of_another_user_is_not_trusted() {
    in_home(a_repository_of_another_user_is_not_trusted, |home| {
        make_repository(&home.join("srv/heat.git"), &[("a.c", "one")]);
        let work = home.join("srv/heat.work");
        // Only root can give files away; for everybody else root's own do.
        let is_root = run(home, ["id", "-u"]) == "0";
        if is_root {
            run(home, ["chown", "-R", "65534", work.to_str().unwrap()]);
            let error = Source::holding(&work).unwrap_err();
            insta::assert_snapshot!(told(&error, home), @"
            git does not trust `HOME/srv/heat.work`: it belongs to another user
            help: if you trust it: git config --global --add safe.directory HOME/srv/heat.work
            ");
            write(
                home,
                &[(
                    ".gitconfig",
                    &format!("[safe]\n\tdirectory = {}\n", work.display()),
                )],
            );
        }
        Source::holding(&work).unwrap();
    });
}

#[test]
fn a_fetch_and_a_checkout_can_be_cancelled() {
    in_home(a_fetch_and_a_checkout_can_be_cancelled, |home| {
        let root = home.join("srv");
        make_repository(&root.join("heat.git"), &[("a.c", "one"), ("b.c", "two")]);
        let http = Http::start(&root);
        let url = http.url("open", "heat.git");
        let receiving = RefCell::new(false);
        let access = Access {
            progress: &|progress| {
                let arriving = matches!(
                    progress,
                    Progress::Receiving { .. } | Progress::Writing { .. }
                );
                *receiving.borrow_mut() |= arriving;
            },
            cancelled: &|| *receiving.borrow(),
            ..Access::new(home.join("mirrors"))
        };
        let error = head(&url, &access).unwrap_err();
        assert!(matches!(error, GitError::Cancelled { .. }), "{error:?}");
        *receiving.borrow_mut() = false;
        let quiet = super::access(home);
        let found = head(&url, &quiet).unwrap();
        let tree = home.join("tree");
        let error = place(&found, &tree, &access).unwrap_err();
        assert!(matches!(error, GitError::Cancelled { .. }), "{error:?}");
        // What it left is in nobody's way.
        place(&found, &tree, &quiet).unwrap();
    });
}
