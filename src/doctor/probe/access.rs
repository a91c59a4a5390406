//! The repository and the tokens.

use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use tokio::task::spawn_blocking;

use crate::doctor::facts::{Git, Refusal, Subject, TokenFacts, TokenWanted};
use crate::foreign;
use crate::git::{self, Access, GitError};

/// How long a server may take to say what it has.
const DEADLINE: Duration = Duration::from_secs(20);

pub(super) async fn git(subject: &Subject) -> Git {
    let source = match &subject.source {
        None => return Git::Nowhere,
        Some(Err(error)) => return Git::Refused(refusal(error)),
        Some(Ok(source)) => source.clone(),
    };
    let remote = source.remote().map(ToString::to_string);
    let Some(remote) = remote else {
        // Without the slash that libgit2 leaves at the end.
        let path = source.path().map(|path| path.components().collect());
        return Git::Local(path.unwrap_or_default());
    };
    let (ssh_key, token) = (subject.ssh_key.clone(), subject.token.clone());
    let asked = spawn_blocking(move || {
        git::limit_waiting(DEADLINE / 2, DEADLINE / 2);
        let started = Instant::now();
        let cancelled = || started.elapsed() > DEADLINE;
        let access = Access {
            ssh_key,
            token,
            cancelled: &cancelled,
            // Nothing is fetched, so there is no mirror.
            ..Access::new("/nonexistent")
        };
        let answer = source.contact(&access);
        (answer, source.path().is_some())
    });
    match tokio::time::timeout(DEADLINE, asked).await {
        Ok(Ok((Ok(()), false))) => Git::Remote(remote),
        Ok(Ok((Err(error), false))) => Git::Refused(refusal(&error)),
        Ok(Ok((answer, true))) => Git::Clone(remote, answer.err().as_ref().map(refusal)),
        Ok(Err(_)) | Err(_) => Git::Silent(DEADLINE),
    }
}

fn refusal(error: &GitError) -> Refusal {
    Refusal {
        why: error.to_string(),
        help: error.help(),
    }
}

/// Looks whether a token is there, and who can read it. The token itself is never read.
pub(super) fn token(wanted: &TokenWanted) -> TokenFacts {
    let set = |name: &String| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    if let Some(name) = wanted.variable.as_ref().filter(|name| set(name)) {
        return TokenFacts::Variable(name.clone());
    }
    let Some(path) = &wanted.file else {
        return TokenFacts::Missing;
    };
    match fs_err::metadata(path) {
        Err(error) => TokenFacts::Unusable(path.clone(), error.kind().to_string()),
        Ok(file) if !file.is_file() => TokenFacts::Unusable(path.clone(), "it is no file".into()),
        Ok(file) if file.len() == 0 => TokenFacts::Unusable(path.clone(), "it is empty".into()),
        Ok(file) if file.permissions().mode() & 0o077 != 0 => {
            TokenFacts::Exposed(path.clone(), file.permissions().mode() & 0o777)
        }
        Ok(_) if foreign::open_linked(path).is_err() => {
            TokenFacts::Unusable(path.clone(), "you may not read it".into())
        }
        Ok(_) => TokenFacts::File(path.clone()),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_looked_at_and_never_read() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str, mode: u32| {
            let path = dir.path().join(name);
            fs_err::write(&path, text).unwrap();
            fs_err::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            path
        };
        let good = file("good", "secret", 0o600);
        let open = file("open", "secret", 0o644);
        let empty = file("empty", "", 0o600);
        let absent = dir.path().join("absent");
        for (path, expected) in [
            (Some(&good), TokenFacts::File(good.clone())),
            (Some(&open), TokenFacts::Exposed(open.clone(), 0o644)),
            (
                Some(&empty),
                TokenFacts::Unusable(empty.clone(), "it is empty".into()),
            ),
            (
                Some(&absent),
                TokenFacts::Unusable(absent.clone(), "entity not found".into()),
            ),
            (None, TokenFacts::Missing),
        ] {
            let wanted = TokenWanted {
                table: "publish.codecov",
                variable: Some("HPC_CI_NO_SUCH_VARIABLE".into()),
                file: path.cloned(),
                optional: false,
            };
            assert_eq!(token(&wanted), expected);
        }
    }
}
