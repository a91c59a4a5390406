//! The repository and the tokens: what a run must reach, and with what.

use crate::doctor::facts::{Facts, Git, Refusal, Subject, TokenFacts, TokenWanted};
use crate::doctor::finding::Finding;

pub(super) fn judge(subject: &Subject, facts: &Facts) -> Vec<Finding> {
    let mut findings = vec![git(&facts.git)];
    findings.extend(
        subject
            .tokens
            .iter()
            .zip(&facts.tokens)
            .map(|(wanted, found)| token(wanted, found)),
    );
    findings
}

fn git(git: &Git) -> Finding {
    const CHECK: &str = "git.repository";
    match git {
        Git::Nowhere => Finding::note(CHECK, "there is no repository here")
            .remedy("start in a clone, or set `repository` of [project] to a path or URL"),
        Git::Refused(Refusal { why, help }) => Finding {
            remedy: help.clone(),
            ..Finding::error(CHECK, why, "")
        },
        Git::Local(path) => Finding::ok(
            CHECK,
            format!("`{}`, without a remote", path.display()),
        ),
        Git::Clone(remote, None) => {
            Finding::ok(CHECK, format!("a clone, and its remote {remote} answers"))
        }
        Git::Clone(remote, Some(Refusal { why, help })) => Finding {
            remedy: Some(help.clone().unwrap_or_else(|| "what is present locally can be tested; `--branch` and submodules need the remote".to_owned())),
            ..Finding::warning(CHECK, format!("a clone, but its remote {remote} cannot be used: {why}"), "")
        },
        Git::Remote(remote) => Finding::ok(CHECK, format!("{remote} answers")),
        Git::Silent(time) => Finding::warning(
            CHECK,
            format!("nothing was heard of the repository within {} s", time.as_secs()),
            "is there a network? Where there is none, `hpc-ci fetch` brings commits in beforehand",
        ),
    }
}

fn token(wanted: &TokenWanted, found: &TokenFacts) -> Finding {
    const CHECK: &str = "publish.token";
    let table = wanted.table;
    match found {
        TokenFacts::Variable(name) => {
            Finding::ok(CHECK, format!("[{table}] has a token in {name}"))
        }
        TokenFacts::File(path) => Finding::ok(
            CHECK,
            format!(
                "[{table}] has a token in `{}`, which only you can read",
                path.display()
            ),
        ),
        TokenFacts::Exposed(path, mode) => {
            let shown = path.display().to_string();
            Finding::error(
                CHECK,
                format!("`{shown}` of [{table}] can be read by others (mode {mode:03o})"),
                format!(
                    "chmod 600 {}; if others may have read it, make a new token",
                    shell_words::quote(&shown)
                ),
            )
        }
        TokenFacts::Unusable(path, why) => Finding::error(
            CHECK,
            format!("`{}` of [{table}] cannot be used: {why}", path.display()),
            "put the token there, for your eyes only (mode 600)",
        ),
        TokenFacts::Missing => {
            let variable = wanted.variable.as_deref().unwrap_or("`token_env`");
            let saw = format!("[{table}] has no token: {variable} is not set");
            let remedy = "put it into a file that only you can read (mode 600) and name that in `token_file`: cron has no variables of yours";
            if wanted.optional {
                Finding::note(CHECK, saw).remedy(remedy)
            } else {
                Finding::warning(CHECK, saw, remedy)
            }
        }
    }
}
