//! Brings the artifacts of a commit onto the results branch: reads them, has [`branch`] say what shall stand there, and git
//! push it. No work tree is needed, neither of the code nor of the branch.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::branch::{self, BranchError, Existing, KEPT_RUNS, folder};
use super::material::Material;
use crate::config::Disclosure;
use crate::foreign;
use crate::git::{Access, Changes, Location, Pushed, Secret, Token, Update, update_branch};

/// The branch, and how it is reached.
#[derive(Debug, Clone)]
pub struct Target {
    /// The repository.
    pub place: Location,
    /// The branch.
    pub branch: String,
    /// The private key for ssh; without one, the agent and the usual files.
    pub ssh_key: Option<PathBuf>,
    /// The token for https.
    pub token: Option<Secret>,
    /// Where repositories are made for the time of a push.
    pub mirrors: PathBuf,
    /// What may be told.
    pub disclosure: Disclosure,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivered {
    /// The commit on the branch, or that nothing was left to do.
    pub pushed: Pushed,
    /// What had to be shortened or left out.
    pub notes: Vec<String>,
}

impl Target {
    /// Pushes artifacts. Blocks, and asks `cancelled` often whether to stop.
    pub fn push(
        &self,
        material: &Material,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Delivered, BranchError> {
        let read = |path: &str| foreign::read(material.file(path)?, foreign::DOCUMENT).ok();
        let folders = folder::folders(&material.meta, &material.runs, &read, self.disclosure)?;
        let secret = self.token.clone();
        let access = Access {
            ssh_key: self.ssh_key.clone(),
            token: secret.and_then(|secret| Token::new(secret, &self.place)),
            cancelled,
            ..Access::new(self.mirrors.clone())
        };
        let update = Update {
            place: &self.place,
            branch: &self.branch,
            access: &access,
        };
        let pushed = update_branch(update, |snapshot| {
            let paths: BTreeSet<String> = snapshot.paths().map(str::to_owned).collect();
            let existing = Existing {
                branch: &self.branch,
                paths: &paths,
                read: &|path| snapshot.read(path),
                default_branch: snapshot.default_branch(),
            };
            Ok::<_, BranchError>(Changes {
                files: branch::content(existing, &folders, KEPT_RUNS)?,
                message: message(material),
            })
        })?;
        Ok(Delivered {
            pushed,
            notes: folders.into_iter().flat_map(|it| it.notes).collect(),
        })
    }
}

/// The branch's name is in the documents; here it could only confuse.
fn message(material: &Material) -> String {
    let results = &material.results;
    format!("results of {:.12}: {}", results.commit, results.status)
}
