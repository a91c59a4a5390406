//! Ten processes of the program push to one branch at the same time. The server would take a forced push: what is seen to
//! arrive whole arrives because nobody forces.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{hpc_ci, waiting};
use crate::support::git_servers::{Http, Sshd, TOKEN, git, make_repository};
use crate::support::search::Search;
use crate::support::{Ended, Home, Project};

const BRANCH: &str = "hpc-results";

/// A bare repository that notes every move of its branches, and allows any.
fn repository(place: &Path) -> PathBuf {
    let bare = place.join("srv/heat.git");
    make_repository(&bare, &[("a.c", "one")]);
    for line in [
        "config http.receivepack true",
        "config core.logAllRefUpdates always",
        "config receive.denyNonFastForwards false",
    ] {
        git(&bare, line);
    }
    bare
}

/// A driver with results of its own commit, which it has not published.
fn driver(number: usize, settings: &str) -> (Project, String) {
    let project = Project::new(Home::Here);
    project.file(
        "hpc.toml",
        &format!(
            "[project]\nname = \"heat\"\n[workspace]\nstate = \"../state\"\n[publish.results_branch]\n{settings}\n\
             [[test]]\nname = \"halo {number}\"\ncommand = \"true\"\nlauncher = \"none\"\n"
        ),
    );
    let commit = project.commit();
    super::run(&project, &[]).exits_with(0);
    (project, commit)
}

/// Starts ten of them, and then looks at what the server has.
fn ten_at_once(bare: &Path, settings: &str, prepare: impl Fn(&mut Command)) {
    let drivers: Vec<(Project, String)> = (0..10).map(|number| driver(number, settings)).collect();
    let publish = |project: &Project| {
        let mut command = hpc_ci(project, &["publish"]);
        command
            .env_remove("SSH_AUTH_SOCK")
            .env("GIT_CONFIG_NOSYSTEM", "1");
        prepare(&mut command);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    let started: Vec<_> = drivers.iter().map(|(it, _)| publish(it)).collect();
    let mut said = String::new();
    for ((project, _), child) in drivers.iter().zip(started) {
        let output = child.wait_with_output().unwrap();
        let ended = Ended::of(&project.dir, &output).exits_with(0);
        assert!(
            ended.err.contains("published: results branch"),
            "{}",
            ended.err
        );
        assert!(waiting(project).is_empty());
        said += &(ended.out + &ended.err);
    }

    let files = git(bare, &format!("ls-tree -r --name-only {BRANCH}"));
    for (_, commit) in &drivers {
        let runs = files.lines().filter(|path| {
            let path = path.strip_prefix(commit.as_str());
            path.is_some_and(|rest| rest.matches('/').count() == 2 && rest.ends_with("/run.json"))
        });
        assert_eq!(runs.count(), 1, "{commit} in {files}");
    }
    let page = git(bare, &format!("show {BRANCH}:index.html"));
    assert_eq!(page.matches("<tr data-status=").count(), 10);
    only_moved_forward(bare);
    git(bare, "fsck");

    let tip = || git(bare, &format!("rev-parse {BRANCH}"));
    let before = tip();
    let again = publish(&drivers[3].0).wait_with_output().unwrap();
    Ended::of(&drivers[3].0.dir, &again).exits_with(0);
    assert_eq!(tip(), before, "each thing once");

    let search = Search::new(&[TOKEN]);
    assert_eq!(search.text(&said), Vec::<String>::new());
    for (project, _) in &drivers {
        let workspace = project.dir.join("hpc-ci");
        assert_eq!(search.files(&workspace), Vec::<String>::new());
        let state = project.dir.with_file_name("state");
        assert_eq!(search.files(&state), Vec::<String>::new());
    }
}

/// Every move of the branch that the server noted begins where the one before ended, and adds one commit to it.
fn only_moved_forward(bare: &Path) {
    let log = std::fs::read_to_string(bare.join("logs/refs/heads").join(BRANCH)).unwrap();
    let moves: Vec<(&str, &str)> = log
        .lines()
        .map(|line| {
            let mut words = line.split(' ');
            (words.next().unwrap(), words.next().unwrap())
        })
        .collect();
    assert_eq!(moves.len(), 10, "{log}");
    assert_eq!(moves[0].0, "0".repeat(40));
    for pair in moves.windows(2) {
        let ((_, before), (old, new)) = (pair[0], pair[1]);
        assert_eq!(old, before, "{log}");
        assert_eq!(git(bare, &format!("rev-parse {new}^@")), old, "{log}");
    }
    assert_eq!(git(bare, &format!("rev-parse {BRANCH}")), moves[9].1);
}

#[test]
fn ten_processes_push_over_ssh_with_a_deploy_key() {
    let dir = tempfile::TempDir::new().unwrap();
    let home = dir.path().join("home");
    std::fs::create_dir_all(&home).unwrap();
    let bare = repository(dir.path());
    let sshd = Sshd::start();
    sshd.make_known(&home);
    let key = dir.path().join("keys/deploy");
    sshd.make_key(&key, "");
    let settings = format!(
        "remote = \"{}\"\nssh_key = \"{}\"",
        sshd.url(&bare),
        key.display()
    );
    ten_at_once(&bare, &settings, |command| {
        command.env("HOME", &home);
    });

    // The same with a host that nobody knows: not a byte is sent, and the results are kept.
    let (project, commit) = driver(10, &settings);
    let stranger = tempfile::TempDir::new().unwrap();
    let mut command = hpc_ci(&project, &["publish"]);
    command
        .env("HOME", stranger.path())
        .env_remove("SSH_AUTH_SOCK");
    let refused = super::ended(&project, &mut command).exits_with(4);
    assert!(refused.err.contains("known_hosts"), "{}", refused.err);
    assert_eq!(waiting(&project).len(), 1);
    let files = git(&bare, &format!("ls-tree -r --name-only {BRANCH}"));
    assert!(!files.contains(&commit));
}

#[test]
fn ten_processes_push_over_http_with_a_token() {
    let dir = tempfile::TempDir::new().unwrap();
    let bare = repository(dir.path());
    let http = Http::start(&dir.path().join("srv"));
    let settings = format!(
        "remote = \"{}\"\ntoken_env = \"RESULTS_TOKEN\"",
        http.url("private", "heat.git")
    );
    ten_at_once(&bare, &settings, |command| {
        command.env("RESULTS_TOKEN", TOKEN);
    });
    assert!(http.log().contains("git-receive-pack"));
}

#[test]
fn ten_processes_push_over_https_with_a_token_file() {
    let dir = tempfile::TempDir::new().unwrap();
    let bare = repository(dir.path());
    let certificate = dir.path().join("certificate");
    let https = Http::start_tls(&dir.path().join("srv"), &certificate);
    let token = dir.path().join("token");
    std::fs::write(&token, TOKEN).unwrap();
    let done = Command::new("chmod").arg("600").arg(&token).status();
    assert!(done.unwrap().success());
    let settings = format!(
        "remote = \"{}\"\ntoken_file = \"{}\"",
        https.url("private", "heat.git"),
        token.display()
    );
    ten_at_once(&bare, &settings, |command| {
        command.env("SSL_CERT_FILE", certificate.with_extension("pem"));
    });
}
