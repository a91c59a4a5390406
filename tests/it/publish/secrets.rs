//! Tokens: found only where nobody else reads them, and nowhere else afterwards.

use std::os::unix::fs::PermissionsExt as _;

use super::codecov::codecov;
use super::{TOKEN, ended, git, hpc_ci, project, publish, run, to_codecov, with_tokens};
use crate::support::search::Search;

#[test]
fn a_run_with_tokens_leaves_none_anywhere() {
    let server = codecov();
    let project = project(&to_codecov(&server));
    // The code looks for tokens: in its environment, in those of its parents, in command lines.
    let spy = "env\ncat /proc/*/cmdline 2>/dev/null | tr '\\0' '\\n'\nexit 1\n";
    project.file("spy.sh", spy);
    let hostile = "x`|<!-- hpc-ci:end tests -->$(id)@all";
    let text = std::fs::read_to_string(project.dir.join("hpc.toml")).unwrap();
    let text = text
        .replace("test ! -e ../fail", spy)
        .replace("may fail", hostile);
    project.file("hpc.toml", &text);
    project.commit();
    git(&project, &["checkout", "-q", "-b", "evil/--$(id)`@all`"]);
    let mut command = hpc_ci(
        &project,
        &["-vv", "--scheduler", "local", "--in-place", "--tests-only"],
    );
    with_tokens(&mut command);
    let first = ended(&project, command.env("CI_JOB_TOKEN", TOKEN));
    // Servers echo what they refuse.
    let echo = super::server::Reply::json(400, &serde_json::json!([format!("bad token {TOKEN}")]));
    for _ in 0..2 {
        server.fault("POST", super::server::Fault::Says(echo.clone()));
    }
    project.file("src/new.rs", "");
    project.commit();
    let mut command = hpc_ci(&project, &["-vv", "--scheduler", "local"]);
    with_tokens(&mut command);
    let second = ended(&project, &mut command);
    assert!(second.err.contains("bad token ***"), "{}", second.err);
    let search = Search::new(&[TOKEN]);
    let none = Vec::<String>::new();
    assert_eq!(search.files(project.dir.parent().unwrap()), none);
    for text in [first.out, first.err, second.out, second.err] {
        assert_eq!(search.text(&text), none, "{text}");
    }
}

#[test]
fn a_token_file_must_be_its_owners_alone() {
    let server = codecov();
    let settings = format!("{}token_file = \"../token\"\n", to_codecov(&server));
    let project = project(&settings);
    run(&project, &[]).exits_with(0);
    let file = project.dir.parent().unwrap().join("token");
    std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
    let publish_by_file = || ended(&project, &mut hpc_ci(&project, &["publish"]));
    let set_mode = |mode| {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    set_mode(0o644);
    let refused = publish_by_file().exits_with(4);
    assert!(refused.err.contains("has mode 644"), "{}", refused.err);
    assert!(refused.err.contains("help: chmod 600"), "{}", refused.err);
    assert_eq!(server.take_lines(), Vec::<String>::new());
    set_mode(0o600);
    publish_by_file().exits_with(0);
    assert_eq!(server.take().len(), 4);
}

/// The commit names a server of its own; only the trusted file counts.
#[test]
fn a_commit_cannot_say_where_results_go() {
    let (ours, theirs) = (codecov(), codecov());
    let project = project(&to_codecov(&theirs));
    let trusted = project.dir.parent().unwrap().join("hpc.toml");
    let text = std::fs::read_to_string(project.dir.join("hpc.toml")).unwrap();
    let text = text.replace(&theirs.url(), &ours.url()).replace(
        "name = \"heat\"",
        &format!(
            "name = \"heat\"\nrepository = \"{}\"",
            project.dir.display()
        ),
    );
    std::fs::write(&trusted, text.replace("../state", "state")).unwrap();
    let mut command = hpc_ci(&project, &["--scheduler", "local", "--config"]);
    with_tokens(&mut command);
    ended(&project, command.arg(&trusted)).exits_with(0);
    assert_eq!((ours.take().len(), theirs.take().len()), (4, 0));
    // Nor can artifacts: they hold no address that is used.
    let meta = trusted.parent().unwrap().join("hpc-ci/artifacts/meta.json");
    assert!(
        std::fs::read_to_string(meta)
            .unwrap()
            .contains("github.com/o/r")
    );
    assert_eq!(publish(&project, &["--dry-run"]).code, Some(0));
}
