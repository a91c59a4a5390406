//! What opens a server's door, and what is said when it stays shut.

use std::time::Duration;

use hpc_ci::git::{Access, GitError, limit_waiting};

use super::{access, commit, head, place, read, told, with_token};
use crate::support::git_servers::{
    Http, Sshd, TOKEN, again, free_port, git, in_home, make_key, make_repository, push, run,
    silent_listener, write,
};

#[test]
fn ssh_with_a_key_file_and_later_without_a_network() {
    in_home(ssh_with_a_key_file_and_later_without_a_network, |home| {
        let bare = home.join("srv/heat.git");
        let work = make_repository(&bare, &[("a.c", "one")]);
        git(&work, "tag -a v1.0 -m release");
        git(&work, "push -q origin v1.0");
        let id = push(&work, &[("a.c", "two")], "refs/heads/main");
        let sshd = Sshd::start();
        sshd.make_known(home);
        sshd.make_key(&home.join(".ssh/id_ed25519"), "");
        let url = sshd.url(&bare);
        let access = access(home);

        // Without a user name it is one's own, as with ssh.
        let nameless = url.replace(&format!("{}@", sshd.user), "");
        head(&nameless, &access).unwrap();
        let found = head(&url, &access).unwrap();
        assert_eq!(found.commit.to_string(), id);
        assert_eq!(found.branch.as_deref(), Some("main"));
        assert_eq!(found.repository.default_branch().as_deref(), Some("main"));

        drop(sshd);
        let found = commit(&url, &id, &access).unwrap();
        let tree = home.join("tree");
        place(&found, &tree, &access).unwrap();
        assert_eq!(read(tree.join("a.c")), "two");
        let short = git(&tree, "describe");
        assert!(short.starts_with("v1.0-1-g"), "{short}");
        assert_eq!(git(&tree, "status --porcelain"), "");
        assert_eq!(git(&tree, "remote get-url origin"), url);
        assert_eq!(git(&tree, "rev-parse origin/main"), id);
        git(&tree, "fsck");
    });
}

#[test]
fn ssh_with_an_agent() {
    in_home(ssh_with_an_agent, |home| {
        let Some(socket) = std::env::var_os("SSH_AUTH_SOCK") else {
            let bare = home.join("srv/heat.git");
            make_repository(&bare, &[("a.c", "one")]);
            let sshd = Sshd::start();
            sshd.make_known(home);
            sshd.make_key(&home.join("keys/agent"), "");
            make_key(&home.join(".ssh/id_rsa"), "rsa", "locked");
            let socket = home.join("agent");
            let agent = run(home, ["ssh-agent", "-a", socket.to_str().unwrap()]);
            let pid = agent.split("SSH_AGENT_PID=").nth(1).unwrap();
            let pid = pid.split(';').next().unwrap().to_owned();
            let mut add = std::process::Command::new("ssh-add");
            add.arg(home.join("keys/agent"))
                .env("SSH_AUTH_SOCK", &socket);
            assert!(add.output().unwrap().status.success());
            write(home, &[("url", &sshd.url(&bare))]);
            let inner = again(&ssh_with_an_agent)
                .env("SSH_AUTH_SOCK", &socket)
                .output();
            run(home, ["kill", &pid]);
            let inner = inner.unwrap();
            assert!(
                inner.status.success(),
                "{}",
                String::from_utf8_lossy(&inner.stderr)
            );
            return;
        };
        assert_eq!(socket, home.join("agent").into_os_string());
        head(&read(home.join("url")), &access(home)).unwrap();
    });
}

#[test]
fn ssh_says_why_it_is_not_let_in() {
    in_home(ssh_says_why_it_is_not_let_in, |home| {
        let bare = home.join("srv/heat.git");
        make_repository(&bare, &[("a.c", "one")]);
        let sshd = Sshd::start();
        let port = sshd.server.port.to_string();
        let url = sshd.url(&bare);
        let access = access(home);
        let failure = |access: &Access<'_>| {
            let text = told(&head(&url, access).unwrap_err(), home);
            let text = text
                .replace(&port, "PORT")
                .replace(&format!("{}@", sshd.user), "USER@");
            match text.split_once("SHA256:") {
                Some((before, after)) => format!("{before}SHA256:HASH{}", &after[43..]),
                None => text,
            }
        };
        sshd.make_key(&home.join(".ssh/id_ed25519"), "");
        insta::assert_snapshot!(failure(&access), @"
        the ssh host key of `127.0.0.1` is unknown or has changed (ECDSA SHA256:HASH)
        help: compare the key with what the host publishes; if it is right: ssh-keygen -R '[127.0.0.1]:PORT'; ssh-keyscan -p PORT 127.0.0.1 >> ~/.ssh/known_hosts
        ");

        let strange = home.join("strange");
        make_key(&strange, "ed25519", "");
        let public = read(strange.with_extension("pub"));
        write(
            home,
            &[(".ssh/known_hosts", &format!("[127.0.0.1]:{port} {public}"))],
        );
        assert!(failure(&access).contains("unknown or has changed"));

        sshd.make_known(home);
        head(&url, &access).unwrap();
        std::fs::remove_file(home.join(".ssh/id_ed25519")).unwrap();
        insta::assert_snapshot!(failure(&access), @"
        `ssh://USER@127.0.0.1:PORTHOME/srv/heat.git` refuses our credentials (none to offer)
        help: load a key with ssh-add, or name one without passphrase in `ssh_key`
        ");

        make_key(&home.join(".ssh/id_ecdsa"), "ecdsa", "");
        make_key(&home.join(".ssh/id_rsa"), "rsa", "locked");
        insta::assert_snapshot!(failure(&access), @"
        `ssh://USER@127.0.0.1:PORTHOME/srv/heat.git` refuses our credentials (key HOME/.ssh/id_rsa has a passphrase, key HOME/.ssh/id_ecdsa)
        help: load a key with ssh-add, or name one without passphrase in `ssh_key`
        ");

        sshd.make_key(&home.join(".ssh/id_ed25519"), "");
        let nowhere = sshd.url(&home.join("srv/none.git"));
        let text = told(&head(&nowhere, &access).unwrap_err(), home);
        let text = text
            .replace(&port, "PORT")
            .replace(&format!("{}@", sshd.user), "USER@");
        insta::assert_snapshot!(text, @"
        there is no repository at `ssh://USER@127.0.0.1:PORTHOME/srv/none.git`: fatal: 'HOME/srv/none.git' does not appear to be a git repository

        help: compare the address; a private repository also looks so to those who may not read it
        ");

        let named = Access {
            ssh_key: Some(home.join(".ssh/none")),
            ..Access::new(home.join("mirrors"))
        };
        insta::assert_snapshot!(failure(&named), @"
        `ssh://USER@127.0.0.1:PORTHOME/srv/heat.git` refuses our credentials (key HOME/.ssh/none does not exist)
        help: load a key with ssh-add, or name one without passphrase in `ssh_key`
        ");
    });
}

#[test]
fn web_with_a_token() {
    in_home(web_with_a_token, |home| {
        let root = home.join("srv");
        make_repository(&root.join("heat.git"), &[("a.c", "one")]);
        let http = Http::start(&root);
        let url = http.url("private", "heat.git");
        let found = head(&url, &with_token(home, TOKEN, &url)).unwrap();
        assert!(found.repository.is_mirror());
        assert!(http.log().contains(&format!("x-access-token:{TOKEN}")));

        let fails = |url: &str, access: &Access<'_>| {
            let before = http.log().lines().count();
            let text = told(&head(url, access).unwrap_err(), home);
            let asked = http.log().lines().count() - before;
            assert!(!text.contains(TOKEN), "{text}");
            let text = text.replace(&http.server.port.to_string(), "PORT");
            format!("{text}\nrequests: {asked}")
        };
        insta::assert_snapshot!(fails(&url, &with_token(home, "wrong", &url)), @"
        `http://127.0.0.1:PORT/private/heat.git` refuses our credentials (token)
        help: give a token that may read the repository, or set up a git credential helper
        requests: 2
        ");
        insta::assert_snapshot!(fails(&url, &access(home)), @"
        `http://127.0.0.1:PORT/private/heat.git` refuses our credentials (none to offer)
        help: give a token that may read the repository, or set up a git credential helper
        requests: 1
        ");
        insta::assert_snapshot!(fails(&http.url("forbidden", "heat.git"), &access(home)), @"
        `http://127.0.0.1:PORT/forbidden/heat.git` refuses our credentials (none to offer)
        help: give a token that may read the repository, or set up a git credential helper
        requests: 1
        ");
        insta::assert_snapshot!(fails(&http.url("open", "none.git"), &access(home)), @"
        there is no repository at `http://127.0.0.1:PORT/open/none.git`: unexpected http status code: 404
        help: compare the address; a private repository also looks so to those who may not read it
        requests: 1
        ");
        let other = url.replace("127.0.0.1", "localhost");
        insta::assert_snapshot!(fails(&other, &with_token(home, TOKEN, &url)), @"
        `http://localhost:PORT/private/heat.git` refuses our credentials (token is for another host)
        help: give a token that may read the repository, or set up a git credential helper
        requests: 1
        ");
        let for_other_host = |line: &str| line.starts_with("localhost") && line.contains(TOKEN);
        assert!(!http.log().lines().any(for_other_host));
    });
}

#[test]
fn web_with_a_credential_helper_or_a_password_in_the_address() {
    in_home(
        web_with_a_credential_helper_or_a_password_in_the_address,
        |home| {
            let root = home.join("srv");
            make_repository(&root.join("heat.git"), &[("a.c", "one")]);
            let http = Http::start(&root);
            let plain = http
                .url("private", "heat.git")
                .replace("127.0.0.1", "localhost");

            let held = plain.replace("://", &format!("://me:{TOKEN}@"));
            let found = head(&held, &access(home)).unwrap();
            let tree = home.join("tree");
            place(&found, &tree, &access(home)).unwrap();
            for dir in ["mirrors", "tree"] {
                let mut grep = std::process::Command::new("grep");
                let hits = grep
                    .arg("-raF")
                    .arg(TOKEN)
                    .arg(home.join(dir))
                    .output()
                    .unwrap();
                assert_eq!(String::from_utf8_lossy(&hits.stdout), "");
            }
            let wrong = held.replace(TOKEN, "wrong-one");
            let text = told(&head(&wrong, &access(home)).unwrap_err(), home);
            assert!(!text.contains("wrong-one"), "{text}");
            assert!(
                text.contains("refuses our credentials (what the address holds)"),
                "{text}"
            );

            let helper = format!(
                "[credential]\n\thelper = \"!f() {{ echo username=me; echo password={TOKEN}; }}; f\"\n"
            );
            write(home, &[(".gitconfig", &helper)]);
            std::fs::remove_dir_all(home.join("mirrors")).unwrap();
            head(&plain, &access(home)).unwrap();
        },
    );
}

#[test]
fn redirects_stay_on_the_host() {
    in_home(redirects_stay_on_the_host, |home| {
        let root = home.join("srv");
        make_repository(&root.join("heat.git"), &[("a.c", "one")]);
        let http = Http::start(&root);
        head(&http.url("moved", "heat.git"), &access(home)).unwrap();
        let error = head(&http.url("away", "heat.git"), &access(home)).unwrap_err();
        assert!(matches!(error, GitError::Redirected { .. }), "{error:?}");
        assert!(!http.log().lines().any(|line| line.starts_with("localhost")));
    });
}

#[test]
fn a_certificate_of_nobody_is_refused() {
    in_home(a_certificate_of_nobody_is_refused, |home| {
        if std::env::var_os("SSL_CERT_FILE").is_some() {
            head(&read(home.join("url")), &access(home)).unwrap();
            return;
        }
        let root = home.join("srv");
        make_repository(&root.join("heat.git"), &[("a.c", "one")]);
        let certificate = home.join("certificate");
        let http = Http::start_tls(&root, &certificate);
        let url = http.url("open", "heat.git");
        let error = head(&url, &access(home)).unwrap_err();
        assert!(matches!(error, GitError::Certificate { .. }), "{error:?}");
        // Known to OpenSSL, it is fine.
        write(home, &[("url", &url)]);
        let mut trusting = again(&a_certificate_of_nobody_is_refused);
        trusting.env("SSL_CERT_FILE", home.join("certificate.pem"));
        let output = trusting.output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    });
}

#[test]
fn servers_that_are_away_or_silent() {
    in_home(servers_that_are_away_or_silent, |home| {
        limit_waiting(Duration::from_secs(2), Duration::from_secs(2));
        let access = access(home);
        let (_listener, silent) = silent_listener();
        let closed = free_port();
        let fails = |url: &str| {
            let text = told(&head(url, &access).unwrap_err(), home);
            text.replace(&silent.to_string(), "SILENT")
                .replace(&closed.to_string(), "CLOSED")
        };
        insta::assert_snapshot!(fails(&format!("http://127.0.0.1:{closed}/heat.git")), @"
        cannot reach `http://127.0.0.1:CLOSED/heat.git`: failed to connect to 127.0.0.1: Connection refused
        help: is there a network? Where there is none, a commit that is present locally still runs; a proxy comes from https_proxy
        ");
        insta::assert_snapshot!(fails(&format!("ssh://git@127.0.0.1:{closed}/heat.git")), @"
        cannot reach `ssh://git@127.0.0.1:CLOSED/heat.git`: failed to connect to 127.0.0.1: Connection refused
        help: is there a network? Aliases of ~/.ssh/config are not read: write the real host, user and port
        ");
        insta::assert_snapshot!(fails("ssh://git@host.invalid/heat.git"), @"
        cannot reach `ssh://git@host.invalid/heat.git`: failed to resolve address for host.invalid: Name or service not known
        help: is there a network? Aliases of ~/.ssh/config are not read: write the real host, user and port
        ");
        insta::assert_snapshot!(fails(&format!("http://127.0.0.1:{silent}/heat.git")), @"
        `http://127.0.0.1:SILENT/heat.git` did not answer in time: could not read from socket: timed out
        help: try again, or look whether the server is well
        ");
        insta::assert_snapshot!(fails(&format!("ssh://git@127.0.0.1:{silent}/heat.git")), @"
        `ssh://git@127.0.0.1:SILENT/heat.git` did not answer in time: failed to start SSH session: Timed out waiting on socket
        help: try again, or look whether the server is well
        ");
    });
}
