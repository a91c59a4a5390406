//! Git against real servers and real clones.

mod bombs;
mod finding;
mod kept;
mod login;
mod trees;

use std::path::{Path, PathBuf};

use hpc_ci::git::{
    Access, Bounds, Checkout, CheckoutOptions, Found, GitError, Secret, Source, Token, Wanted,
    checkout,
};

fn fresh() -> CheckoutOptions {
    CheckoutOptions {
        submodules: true,
        reuse: false,
        bounds: Bounds::default(),
    }
}

fn access(home: &Path) -> Access<'static> {
    Access::new(home.join("mirrors"))
}

fn with_token(home: &Path, secret: &str, url: &str) -> Access<'static> {
    let place = Source::open(url, home).unwrap();
    Access {
        token: Token::new(Secret::new(secret), place.remote().unwrap()),
        ..access(home)
    }
}

fn resolve(url: &str, wanted: &Wanted, access: &Access<'_>) -> Result<Found, GitError> {
    Source::open(url, Path::new("/"))?.resolve(wanted, access)
}

fn head(url: &str, access: &Access<'_>) -> Result<Found, GitError> {
    resolve(url, &Wanted::Head, access)
}

fn commit(url: &str, id: &str, access: &Access<'_>) -> Result<Found, GitError> {
    resolve(url, &Wanted::Commit(id.to_owned()), access)
}

fn place(found: &Found, dir: &Path, access: &Access<'_>) -> Result<Checkout, GitError> {
    checkout(&found.repository, found.commit, dir, fresh(), access)
}

fn read(path: PathBuf) -> String {
    std::fs::read_to_string(path).unwrap()
}

/// Shows an error with its help and what is below it, without what differs from run to run.
fn told(error: &GitError, home: &Path) -> String {
    let mut lines = vec![error.to_string()];
    let mut below = std::error::Error::source(error);
    while let Some(cause) = below {
        lines.push(format!("cause: {cause}"));
        below = cause.source();
    }
    lines.extend(error.help().map(|help| format!("help: {help}")));
    lines.join("\n").replace(home.to_str().unwrap(), "HOME")
}
