//! Tokens of every kind in the driver, code that looks for them, hostile names, and servers that echo what they are shown: the
//! tokens are looked for while it runs and afterwards, in everything that is left.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hpc_ci::publish::place::percent_encoded;
use serde_json::{Value, json};

use crate::publish::server::{Reply, Server};
use crate::support::git_servers::{self, Http, git};
use crate::support::search::{Search, Seen};
use crate::support::{Ended, Home, Project, user};
use crate::trust::secrets::SECRET;

/// What the forges and Codecov take; it needs an escape wherever it stands in an address.
const API: &str = "tok+5f4dcc3b5aa765d61d/8327deb882cf99=";
/// What only a job of the CI server should have.
const JOB: &str = "job-0cc175b9c0f1b6a831c399e269772661";
/// What the file of a token holds.
const FILE: &str = "file-92eb5ffee6ae2fec3ad71c777531578f";

/// Branches that a shell, a path, markup or an option parser would take for more than a name, and git for a name.
const BRANCHES: [&str; 2] = [
    "-rf/$(id)`id`'\"<script>alert(1)</script>",
    "@ü/%2e%2e/<!--hpc-ci-end-tests-->|;&",
];

/// A step of every such name; each prints all that it can see of the driver's.
fn steps() -> String {
    let long = "long ".repeat(39);
    let names = [
        "$(touch pwned) `id`",
        "'\"; env #",
        "<script>alert(1)</script>",
        "../../../escape",
        "--help",
        "ü ✓ | @all <!-- hpc-ci:end tests -->",
        long.trim_end(),
    ];
    let step = |name: &&str| {
        let name = serde_json::to_string(name).unwrap();
        format!(
            "[[test]]\nname = {name}\ncommand = \"sh spy.sh\"\nlauncher = \"none\"\ntime = \"1m\"\n"
        )
    };
    names.iter().map(step).collect()
}

/// Prints what a process of the code can find, and ends as the last word says.
const SPY: &str = "echo hpc-ci-spy; env; sleep 1.25
for process in /proc/[0-9]*; do tr '\\0' '\\n' <$process/environ; tr '\\0' ' ' <$process/cmdline; echo; done 2>/dev/null
test \"${HPC_CI_STEP:-}\" != --help\n";

struct Scene {
    project: Project,
    place: PathBuf,
    api: Server,
    refuses: Arc<AtomicBool>,
    http: Http,
}

/// A forge and a Codecov in one, which take what comes with a token; or refuse everything, and echo the token.
fn forge(refuses: Arc<AtomicBool>) -> Server {
    let mut refusals = 0;
    Server::start(move |request, url| {
        let token = ["authorization", "private-token"];
        let shown = token.iter().find_map(|name| request.header(name));
        let known = |shown: &str| [API, FILE].iter().any(|token| shown.ends_with(token));
        if refuses.load(Ordering::Relaxed) {
            refusals += 1;
            return refusal(refusals, shown.unwrap_or_default());
        }
        let path = request.path.split('?').next().unwrap();
        if path.starts_with("/storage") {
            return Reply::json(if shown.is_none() { 200 } else { 400 }, &json!({}));
        }
        if !shown.is_some_and(known) {
            return Reply::json(401, &json!({ "detail": "no token" }));
        }
        let commit = path.split('/').nth(5).unwrap_or_default();
        let answer = match (request.method.as_str(), path) {
            (_, "/user") => json!({ "login": "hpc-bot" }),
            ("GET", _) if path.ends_with("/pulls") => {
                json!([{ "number": 7, "state": "open", "head": { "sha": commit } }])
            }
            ("GET", _) => json!([]),
            _ => json!({ "raw_upload_location": format!("{url}/storage?signature=1") }),
        };
        Reply::json(200, &answer)
    })
}

/// Says what was shown, each time in another way.
fn refusal(number: usize, shown: &str) -> Reply {
    let token = shown.rsplit(' ').next().unwrap();
    let said = |text: String| Reply::json(400, &json!([text]));
    match number % 4 {
        // Only a part of this is shown, and the token stands where it is cut.
        0 => said(format!("{} {shown}{}", "x".repeat(285), "y".repeat(50))),
        1 => said(format!("bad token {shown}!")),
        2 => said(format!("/?token={}!", percent_encoded(token))),
        _ => Reply::json(302, &json!({})).header("location", &format!("/moved/{token}")),
    }
}

impl Scene {
    fn new() -> Self {
        let project = Project::new(Home::Cluster);
        let place = project.dir.parent().unwrap().to_owned();
        project.file("spy.sh", SPY);
        project.file("lcov.info", "SF:spy.sh\nDA:1,1\nend_of_record\n");
        let build = "[build.tests]\ncommand = \"sh spy.sh\"\ncoverage = \"lcov\"\n";
        let copies = "[[test]]\nname = \"covers\"\ncommand = 'cp lcov.info \"$HPC_CI_TRACEFILE_DIR/a.info\"'\nlauncher = \"none\"\n";
        project.file("hpc.toml", &format!("{build}{copies}{}", steps()));
        project.commit();
        for bare in ["srv/heat.git", "srv/results.git"] {
            let bare = place.join(bare);
            git_servers::run(
                &place,
                ["git", "init", "-q", "--bare", bare.to_str().unwrap()],
            );
            git(&bare, "config http.receivepack true");
        }
        let heat = place.join("srv/heat.git");
        for branch in BRANCHES {
            let to = format!("HEAD:refs/heads/{branch}");
            let words = [
                "git",
                "-c",
                "safe.directory=*",
                "push",
                "-q",
                heat.to_str().unwrap(),
                &to,
            ];
            git_servers::run(&project.dir, words);
        }
        for folder in ["home", "tmp", "settings"] {
            std::fs::create_dir(place.join(folder)).unwrap();
        }
        let token = place.join("settings/token");
        std::fs::write(&token, format!("{FILE}\n")).unwrap();
        let http = Http::start(&place.join("srv"));
        let refuses = Arc::new(AtomicBool::new(false));
        let scene = Self {
            project,
            place,
            api: forge(Arc::clone(&refuses)),
            refuses,
            http,
        };
        scene.give_to_user();
        let done = Command::new("chmod").arg("600").arg(token).status();
        assert!(done.unwrap().success());
        scene
    }

    fn give_to_user(&self) {
        let folders = ["project", "home", "tmp", "settings"].map(|name| self.place.join(name));
        let mut chown = Command::new("chown");
        let done = chown.arg("-R").arg(user()).args(folders).status();
        assert!(done.unwrap().success());
    }

    /// The trusted file, with tokens in its addresses; `kind` is how the server of the results behaves.
    fn settings(&self, kind: &str) -> PathBuf {
        let file = self.place.join("settings/hpc.toml");
        let address = |kind: &str, repository: &str| {
            let url = self.http.url(kind, repository);
            url.replace(
                "http://",
                &format!("http://someone:{}@", git_servers::TOKEN),
            )
        };
        let (place, api) = (self.place.display(), self.api.url());
        let text = format!(
            "[project]\nname = \"heat\"\nrepository = \"{}\"\n\
             [workspace]\nroot = \"{place}/work\"\nstate = \"{place}/state\"\nartifacts = \"{place}/work\"\n\
             [publish.codecov]\nurl = \"{api}\"\nservice = \"github\"\nslug = \"o/r\"\n\
             [publish.results_branch]\nremote = \"{}\"\n\
             [publish.github]\nurl = \"{api}\"\nrepository = \"o/r\"\n\
             [publish.gitlab]\nurl = \"{api}\"\nrepository = \"g/p\"\ntoken_env = \"NOT_SET\"\ntoken_file = \"token\"\n",
            address("private", "heat.git"),
            address(kind, "results.git"),
        );
        std::fs::write(&file, text).unwrap();
        file
    }

    /// hpc-ci with all tokens that it knows, and some that it should not.
    fn hpc_ci(&self, words: &[&str], settings: &Path) -> Command {
        let mut command = self.project.hpc_ci(words);
        command.arg("--config").arg(settings);
        // What git is told would change what it does.
        for name in SECRET.iter().filter(|name| !name.starts_with("GIT_")) {
            command.env(name, JOB);
        }
        for name in ["CODECOV_TOKEN", "GITHUB_TOKEN", "GITLAB_TOKEN"] {
            command.env(name, API);
        }
        for name in ["CI_JOB_TOKEN", "CI_JOB_JWT", "SOME_API_KEY"] {
            command.env(name, JOB);
        }
        command
            .env("HPC_CI_GIT_TOKEN", git_servers::TOKEN)
            .env("HOME", self.place.join("home"))
            .env("TMPDIR", self.place.join("tmp"))
            .env("no_proxy", "*")
            .env("HPC_CI_SPY", "may be seen");
        command
    }

    fn ended(&self, words: &[&str], settings: &Path) -> Ended {
        let output = self.hpc_ci(words, settings).output().unwrap();
        Ended::of(&self.place, &output)
    }

    /// What Slurm knows of the jobs: their scripts, their records, their accounting.
    fn slurm(&self) -> (usize, String) {
        let summary = std::fs::read(self.place.join("work/artifacts/tests/summary.json")).unwrap();
        let summary: Value = serde_json::from_slice(&summary).unwrap();
        let steps = summary["steps"].as_array().unwrap();
        let ids: BTreeSet<&str> = steps
            .iter()
            .filter_map(|it| it["job_id"].as_str())
            .collect();
        let mut text = String::new();
        for id in &ids {
            for words in [
                &["scontrol", "show", "job", "-dd", id][..],
                &["scontrol", "write", "batch_script", id, "-"],
                &["sacct", "-P", "-o", "ALL", "-j", id],
            ] {
                text += &git_servers::run(&self.place, words);
            }
        }
        (ids.len(), text)
    }
}

/// The driver has the tokens, as does `setpriv` for the moment until it becomes the driver; nobody else.
#[track_caller]
fn only_the_driver_had_them(seen: &Seen) {
    assert_eq!(seen.command_lines, BTreeSet::new());
    let program = env!("CARGO_BIN_EXE_hpc-ci");
    let is_driver = |line: &&String| line.starts_with(program) || line.starts_with("setpriv ");
    let others: Vec<&String> = seen
        .environments
        .iter()
        .filter(|it| !is_driver(it))
        .collect();
    assert_eq!(others, Vec::<&String>::new());
    assert!(!seen.environments.is_empty(), "environments were looked at");
    assert!(
        seen.all.iter().any(|it| it.starts_with("sleep 1.25")),
        "so was the code"
    );
}

/// sbatch is told of it by a variable, since its own umask is the driver's.
#[test]
fn jobs_have_the_umask_of_their_user() {
    let project = Project::new(Home::Cluster);
    project.file(
        "hpc.toml",
        "[workspace]\nstate = \"hpc-ci/state\"\n[[test]]\nname = \"test\"\ncommand = \"umask\"\n",
    );
    project.commit();
    for umask in ["0000", "0002", "0027"] {
        let mut command = project.command("bash");
        command.args(["-c", &format!("umask {umask}; exec \"$0\" \"$@\"")]);
        command
            .arg(env!("CARGO_BIN_EXE_hpc-ci"))
            .args(["--scheduler", "slurm"]);
        let ended = Ended::of(&project.dir, &command.output().unwrap()).exits_with(0);
        assert_eq!(ended.log("test"), format!("{umask}\n"));
    }
}

#[test]
fn no_token_is_left_anywhere_by_a_run_on_the_cluster_or_here() {
    let scene = Scene::new();
    let search = Search::new(&[API, JOB, FILE, git_servers::TOKEN]);
    let processes = Search::new(&[API, JOB, FILE]);
    let none = Vec::<String>::new();
    let mut said = String::new();
    for (scheduler, branch) in [("slurm", BRANCHES[0]), ("local", BRANCHES[1])] {
        scene.refuses.store(true, Ordering::Relaxed);
        let watch = processes.watch(&user());
        let branch = format!("--branch={branch}");
        let words = ["run", "-vv", "--scheduler", scheduler, &branch];
        let run = scene.ended(&words, &scene.settings("forbidden"));
        let seen = watch.end();
        assert_eq!(
            run.code,
            Some(1),
            "a step failed, and publishing too: {}",
            run.err
        );
        only_the_driver_had_them(&seen);
        for refusal in [
            "bad token ",
            "/?token=***!",
            "sends us on to /moved/***",
            "***yy",
        ] {
            assert!(run.err.contains(refusal), "{refusal}: {}", run.err);
        }
        scene.refuses.store(false, Ordering::Relaxed);
        said += &(run.out + &run.err);
        if scheduler == "slurm" {
            let (jobs, text) = scene.slurm();
            assert!(
                jobs >= 8 && text.contains("HPC_CI_STEP"),
                "{jobs} jobs: {text}"
            );
            said += &text;
        }

        let settings = scene.settings("private");
        for words in [
            &["publish", "--dry-run"][..],
            &["publish", "--dry-run", "--format", "json"],
            &["publish", "-vv"],
            &["config"],
            &["config", "--format", "json"],
            &["plan", &branch],
        ] {
            let ended = scene.ended(words, &settings).exits_with(0);
            said += &(ended.out + &ended.err);
        }
        assert!(said.contains("published: results branch"), "{said}");
    }
    assert_eq!(search.text(&said), none);
    for folder in ["work", "state", "home", "tmp", "srv", "project"] {
        assert_eq!(search.files(&scene.place.join(folder)), none, "{folder}");
    }

    // The search does find what is there, and the code did see what it may.
    let visible = Search::new(&["may be seen"]);
    assert!(visible.files(&scene.place.join("work/runs")).len() > 8);
    let results = scene.place.join("srv/results.git");
    let pushed = Search::new(&["hpc-ci: results branch"]);
    assert_eq!(pushed.files(&results).len(), 1, "objects are unpacked");
    let secret = scene.place.join("settings");
    assert_eq!(search.files(&secret).len(), 2);
}
