//! The results branch against real servers: many who push at once, rules that refuse, and what stands there afterwards.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use hpc_ci::config::Disclosure;
use hpc_ci::git::{GitError, Location, Pushed, Secret};
use hpc_ci::publish::branch::BranchError;
use hpc_ci::publish::material;
use hpc_ci::publish::results_branch::{Delivered, Target};

use crate::support::git_servers::{Http, Sshd, TOKEN, git, in_home, make_repository, write};
use crate::support::synthetic::Made;

const BRANCH: &str = "hpc-results";

/// A bare repository with code on `main`.
fn repository(home: &Path) -> PathBuf {
    let bare = home.join("srv/heat.git");
    make_repository(&bare, &[("a.c", "one")]);
    git(&bare, "config http.receivepack true");
    // As forges have it.
    git(&bare, "config receive.denyNonFastForwards true");
    git(&bare, "config receive.denyDeletes true");
    bare
}

fn target(home: &Path, url: &str, number: usize) -> Target {
    Target {
        place: Location::parse(url, home).unwrap(),
        branch: BRANCH.to_owned(),
        ssh_key: None,
        token: None,
        mirrors: home.join(format!("driver-{number}/mirrors")),
        disclosure: Disclosure::Full,
    }
}

/// Pushes the artifacts of a run as a driver of its own would.
fn push(home: &Path, target: &Target, made: &Made) -> Result<Delivered, BranchError> {
    let dir = home.join(format!("driver-{}", made.number));
    let (artifacts, joined) = (dir.join("artifacts"), dir.join("joined"));
    made.write(&artifacts);
    let utf8 = |path: &Path| camino::Utf8PathBuf::from_path_buf(path.to_owned()).unwrap();
    let joined = material::join(&[utf8(&artifacts)], &utf8(&joined), made.begin).unwrap();
    target.push(&joined, &|| false)
}

/// What the branch holds.
fn listing(bare: &Path) -> BTreeSet<String> {
    let list = git(bare, &format!("ls-tree -r --name-only {BRANCH}"));
    list.lines().map(str::to_owned).collect()
}

/// Ten push at once; all arrive, in as many commits, one on top of the other.
fn ten_at_once(home: &Path, bare: &Path, target: impl Fn(usize) -> Target + Sync) {
    let main = git(bare, "rev-parse main");
    let runs: Vec<Made> = (0..10).map(Made::new).collect();
    std::thread::scope(|scope| {
        for made in &runs {
            let target = &target;
            scope.spawn(move || push(home, &target(made.number), made).unwrap());
        }
    });
    let files = listing(bare);
    for made in &runs {
        let path = format!("{}/{}/run.json", made.commit, made.run());
        assert!(files.contains(&path), "{path} is lost");
    }
    assert_eq!(git(bare, &format!("rev-list --count {BRANCH}")), "10");
    assert_eq!(
        git(bare, &format!("rev-list --merges --count {BRANCH}")),
        "0"
    );
    assert_eq!(git(bare, "rev-parse main"), main);
    let latest = git(bare, &format!("show {BRANCH}:latest-hpc-results.json"));
    assert!(latest.contains(&runs[9].commit), "{latest}");
    let page = git(bare, &format!("show {BRANCH}:index.html"));
    assert_eq!(page.matches("<tr data-status=").count(), 10);
    git(bare, "fsck");
    let left = target(0).mirrors.read_dir().unwrap();
    assert_eq!(left.count(), 0, "nothing stays where it was pushed from");
}

#[test]
fn ten_push_at_once_over_ssh_with_a_deploy_key() {
    in_home(ten_push_at_once_over_ssh_with_a_deploy_key, |home| {
        let bare = repository(home);
        let sshd = Sshd::start();
        sshd.make_known(home);
        let key = home.join("keys/deploy");
        sshd.make_key(&key, "");
        ten_at_once(home, &bare, |number| Target {
            ssh_key: Some(key.clone()),
            ..target(home, &sshd.url(&bare), number)
        });
    });
}

#[test]
fn ten_push_at_once_over_http_with_a_token() {
    in_home(ten_push_at_once_over_http_with_a_token, |home| {
        let bare = repository(home);
        let http = Http::start(&home.join("srv"));
        let url = http.url("private", "heat.git");
        ten_at_once(home, &bare, |number| Target {
            token: Some(Secret::new(TOKEN)),
            ..target(home, &url, number)
        });
        let asked = http.log();
        assert!(asked.contains("git-receive-pack"), "{asked}");
    });
}

#[test]
fn ten_push_at_once_over_https_with_a_token() {
    in_home(ten_push_at_once_over_https_with_a_token, |home| {
        if std::env::var_os("SSL_CERT_FILE").is_some() {
            let url = std::fs::read_to_string(home.join("url")).unwrap();
            ten_at_once(home, &home.join("srv/heat.git"), |number| Target {
                token: Some(Secret::new(TOKEN)),
                ..target(home, &url, number)
            });
            return;
        }
        repository(home);
        let certificate = home.join("certificate");
        let https = Http::start_tls(&home.join("srv"), &certificate);
        write(home, &[("url", &https.url("private", "heat.git"))]);
        let mut again =
            crate::support::git_servers::again(&ten_push_at_once_over_https_with_a_token);
        again.env("SSL_CERT_FILE", home.join("certificate.pem"));
        let output = again.output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    });
}

#[test]
fn ten_push_at_once_to_a_folder_of_this_machine() {
    in_home(ten_push_at_once_to_a_folder_of_this_machine, |home| {
        let bare = repository(home);
        let path = bare.to_str().unwrap().to_owned();
        std::fs::create_dir_all(home.join("driver-0/mirrors")).unwrap();
        ten_at_once(home, &bare, |number| target(home, &path, number));
    });
}

#[test]
fn what_a_server_refuses_is_noticed_and_not_tried_again() {
    in_home(
        what_a_server_refuses_is_noticed_and_not_tried_again,
        |home| {
            let bare = repository(home);
            let hook = bare.join("hooks/pre-receive");
            write(
                &bare,
                &[(
                    "hooks/pre-receive",
                    "#!/bin/sh\necho x >> refused\nexit 1\n",
                )],
            );
            let executable = Command::new("chmod").arg("+x").arg(&hook).status();
            assert!(executable.unwrap().success());
            let http = Http::start(&home.join("srv"));
            let target = Target {
                token: Some(Secret::new(TOKEN)),
                ..target(home, &http.url("private", "heat.git"), 0)
            };
            let error = push(home, &target, &Made::new(0)).unwrap_err();
            let BranchError::Git(GitError::PushRefused { branch, reason, .. }) = &error else {
                panic!("{error:?}");
            };
            assert_eq!(
                (branch.as_str(), reason.as_str()),
                (BRANCH, "pre-receive hook declined")
            );
            assert_eq!(
                std::fs::read_to_string(bare.join("refused")).unwrap(),
                "x\n"
            );

            let wrong = Target {
                token: Some(Secret::new("wrong")),
                ..target.clone()
            };
            let error = push(home, &wrong, &Made::new(1)).unwrap_err();
            assert!(
                matches!(error, BranchError::Git(GitError::Credentials { .. })),
                "{error:?}"
            );
            assert!(!format!("{error} {error:?}").contains("wrong"));

            std::fs::remove_file(hook).unwrap();
            let code = Target {
                branch: "main".to_owned(),
                ..target.clone()
            };
            let error = push(home, &code, &Made::new(2)).unwrap_err();
            assert!(matches!(error, BranchError::Foreign { .. }), "{error:?}");

            let first = push(home, &target, &Made::new(3)).unwrap();
            assert!(matches!(first.pushed, Pushed::Commit { attempts: 1, .. }));
            let again = Target {
                mirrors: home.join("elsewhere"),
                ..target
            };
            let made = Made::new(3);
            std::fs::remove_dir_all(home.join("driver-3")).unwrap();
            assert_eq!(push(home, &again, &made).unwrap().pushed, Pushed::Nothing);
        },
    );
}

#[test]
fn an_unknown_host_key_keeps_the_results_here() {
    in_home(an_unknown_host_key_keeps_the_results_here, |home| {
        let bare = repository(home);
        let sshd = Sshd::start();
        let key = home.join("keys/deploy");
        sshd.make_key(&key, "");
        let target = Target {
            ssh_key: Some(key),
            ..target(home, &sshd.url(&bare), 0)
        };
        let error = push(home, &target, &Made::new(0)).unwrap_err();
        assert!(
            matches!(error, BranchError::Git(GitError::HostKey { .. })),
            "{error:?}"
        );
    });
}
