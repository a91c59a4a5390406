//! `init --ci`: writes what makes a CI server, or cron, start hpc-ci. The files stand in `ci/templates/`.

use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use fs_err as fs;

use super::console::Console;
use crate::error::{Error, Exit};

/// Where the clone is, in the templates.
const CLONE: &str = "/path/to/clone";

/// Arguments of `init`.
#[derive(Debug, Args)]
pub(super) struct InitArgs {
    /// What shall start hpc-ci; repeat for several.
    #[arg(long, value_enum, value_name = "WHAT", required = true)]
    ci: Vec<Ci>,
}

/// What starts hpc-ci.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Ci {
    /// GitLab with a Jacamar runner: `.gitlab-ci.yml`.
    Gitlab,
    /// GitHub, which shows what a cluster pushed: workflows for Pages and for comments.
    Github,
    /// cron, or Slurm's scrontab: a nightly run.
    Cron,
}

/// A file to be written.
struct Template {
    path: &'static str,
    text: &'static str,
    mode: u32,
}

macro_rules! template {
    ($path:literal, $file:literal, $mode:literal) => {
        Template {
            path: $path,
            text: include_str!(concat!("../../ci/templates/", $file)),
            mode: $mode,
        }
    };
}

impl Ci {
    fn templates(self) -> &'static [Template] {
        match self {
            Self::Gitlab => &[template!(".gitlab-ci.yml", "gitlab-ci.yml", 0o644)],
            Self::Github => &[
                template!(
                    ".github/workflows/hpc-results.yml",
                    "github-pages.yml",
                    0o644
                ),
                template!(
                    ".github/workflows/hpc-comment.yml",
                    "github-comment.yml",
                    0o644
                ),
            ],
            Self::Cron => &[
                template!("ci/nightly", "nightly", 0o755),
                template!("ci/crontab", "crontab", 0o644),
                template!("ci/scrontab", "scrontab", 0o644),
            ],
        }
    }
}

/// Writes the files; one that is there and says something else stays, and nothing is written then.
pub(super) fn init(args: &InitArgs, console: &Console) -> Result<Exit, Error> {
    let here = std::env::current_dir().map_err(Error::File)?;
    let top = top_of(&here);
    let clone = shell_words::quote(&top.to_string_lossy()).replace('%', "\\%");
    let mut writing = Vec::new();
    for template in args.ci.iter().flat_map(|ci| ci.templates()) {
        let (path, text) = (
            top.join(template.path),
            template.text.replace(CLONE, &clone),
        );
        match fs::read(&path) {
            Ok(there) if there == text.as_bytes() => {
                console.say(&format!("{} is there already", template.path));
            }
            Ok(_) => return Err(Error::Occupied { path }),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                writing.push((path, text, template));
            }
            Err(error) => return Err(Error::File(error)),
        }
    }
    for (path, text, template) in writing {
        write(&path, &text, template.mode).map_err(Error::File)?;
        console.say(&format!("wrote {}", template.path));
    }
    Ok(Exit::Passed)
}

/// The top of the clone that holds this directory; outside of one, the directory itself.
fn top_of(here: &Path) -> PathBuf {
    let mut above = here.ancestors();
    let top = above.find(|dir| dir.join(".git").exists());
    top.unwrap_or(here).to_owned()
}

fn write(path: &Path, text: &str, mode: u32) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, text)?;
    fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
}
