//! Tokens: from a variable, or from a file that nobody else may read. Never from the settings themselves.

use std::fs::Metadata;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::config::TokenSource;
use crate::foreign;
use crate::git::Secret;
use crate::remedy;

/// No token is longer; whatever is, is another file.
const LONGEST: u64 = 64 << 10;

/// Why there is a token, but not a usable one. No variant holds any of it.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file cannot be read.
    #[error("cannot read the token file")]
    Io(#[source] std::io::Error),
    /// Others may read or change the file.
    #[error("the token file `{}` has mode {mode:03o}, so that others may read or change it", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The file is somebody else's.
    #[error("the token file `{}` belongs to user {owner}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// It is no file of one token.
    #[error("the token file `{}` does not hold one token", path.display())]
    File {
        /// The file.
        path: PathBuf,
    },
    /// The variable holds something else.
    #[error("the variable `{name}` does not hold a token")]
    Variable {
        /// The variable.
        name: String,
    },
}

impl TokenError {
    /// Returns what to do about it.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Open { path, .. } => Some(format!("chmod 600 {}", path.display())),
            Self::Foreign { path, .. } => Some(format!(
                "make a copy of your own: install -m 600 {} ~/…",
                path.display()
            )),
            Self::Io(error) => remedy::of_named(error),
            Self::File { .. } | Self::Variable { .. } => None,
        }
    }
}

/// Finds a token: in the variable if that is set, else in the file if one is named; `None` if there is neither.
///
/// Relative paths start at `base`.
pub fn find(
    source: &TokenSource,
    usual_variable: &str,
    base: &Path,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<Secret>, TokenError> {
    let name = source.env.as_deref().unwrap_or(usual_variable);
    let value = variable(name).filter(|value| !value.trim().is_empty());
    if let Some(value) = value {
        return clean(&value).map(Some).ok_or_else(|| TokenError::Variable {
            name: name.to_owned(),
        });
    }
    source
        .file
        .as_ref()
        .map(|file| read(&base.join(file)))
        .transpose()
}

fn read(path: &Path) -> Result<Secret, TokenError> {
    let mut file = foreign::open_linked(path).map_err(|error| {
        if foreign::is_no_file(&error) {
            let path = path.to_owned();
            TokenError::File { path }
        } else {
            TokenError::Io(error)
        }
    })?;
    // What was opened is looked at, not what the name means a moment later.
    let data = file.metadata().map_err(TokenError::Io)?;
    check(path, &data)?;
    let mut text = String::new();
    file.by_ref()
        .take(LONGEST)
        .read_to_string(&mut text)
        .map_err(TokenError::Io)?;
    clean(&text).ok_or_else(|| TokenError::File {
        path: path.to_owned(),
    })
}

fn check(path: &Path, data: &Metadata) -> Result<(), TokenError> {
    let path = || path.to_owned();
    let me = nix::unistd::geteuid().as_raw();
    if !data.is_file() {
        return Err(TokenError::File { path: path() });
    }
    if data.uid() != me && data.uid() != 0 {
        return Err(TokenError::Foreign {
            path: path(),
            owner: data.uid(),
        });
    }
    let mode = data.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(TokenError::Open { path: path(), mode });
    }
    Ok(())
}

/// A token without what surrounds it; `None` if that is not one word that can stand in a header.
fn clean(text: &str) -> Option<Secret> {
    let text = text.trim();
    let is_word = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    is_word.then(|| Secret::new(text))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use fs_err as fs;

    use super::*;

    fn found(source: &TokenSource, base: &Path, set: Option<&str>) -> String {
        let variable = |name: &str| (name == "T").then(|| set.map(str::to_owned)).flatten();
        match find(source, "T", base, &variable) {
            Ok(Some(secret)) => format!("token {}", secret.expose()),
            Ok(None) => "none".to_owned(),
            Err(error) => error.to_string().replace(base.to_str().unwrap(), ""),
        }
    }

    #[test]
    fn the_variable_comes_first_then_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let put = |text: &str, mode: u32| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        let source = TokenSource {
            env: None,
            file: Some("token".to_owned()),
        };
        let check = |set, expected: &str| assert_eq!(found(&source, dir.path(), set), expected);
        put("from-file\n", 0o600);
        check(None, "token from-file");
        check(Some(" "), "token from-file");
        check(Some("from-variable\n"), "token from-variable");
        check(Some("two words"), "the variable `T` does not hold a token");
        check(
            Some("inject\r\nX-Evil: 1"),
            "the variable `T` does not hold a token",
        );
        for mode in [0o640, 0o604, 0o620, 0o644, 0o777] {
            put("from-file\n", mode);
            let said = format!(
                "the token file `/token` has mode {mode:03o}, so that others may read or change it"
            );
            check(None, &said);
        }
        put("", 0o400);
        check(None, "the token file `/token` does not hold one token");
        put("one\ntwo\n", 0o400);
        check(None, "the token file `/token` does not hold one token");
        fs::remove_file(&path).unwrap();
        check(None, "cannot read the token file");
        fs::create_dir(&path).unwrap();
        check(None, "the token file `/token` does not hold one token");
        assert_eq!(found(&TokenSource::default(), dir.path(), None), "none");
    }

    #[test]
    fn no_error_tells_any_of_the_token() {
        let source = TokenSource::default();
        let variable = |_: &str| Some("very secret".to_owned());
        let error = find(&source, "T", Path::new("/"), &variable).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("secret"));
    }
}
