//! `init`: writes an `hpc.toml` from what is found, and with `--ci` what makes a CI server, or cron, start hpc-ci. Those files
//! stand in `ci/templates/`.

use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use fs_err as fs;

use super::console::Console;
use crate::build::environment::scrub;
use crate::build::secrets::Secrets;
use crate::config::SchedulerKind;
use crate::drive::place;
use crate::error::{Error, Exit};
use crate::foreign;
use crate::init::text::Line;
use crate::init::{self, Found, text};

/// Where the clone is, in the templates.
const CLONE: &str = "/path/to/clone";

/// The file of settings, at the top of the clone.
const SETTINGS: &str = "hpc.toml";

const EXAMPLES: &str = "\
Examples:
  hpc-ci init                            look at project and machine, and write hpc.toml
  hpc-ci init --stdout                   print it and write nothing
  hpc-ci init --stdout | diff hpc.toml - compare it with the one that is there
  hpc-ci init --ci gitlab                the pipeline for a Jacamar runner, and an hpc.toml
  hpc-ci init --ci github --ci cron      for GitHub, fed by a nightly run on the cluster

Nothing of the project is run, and no job is submitted: build files are read, compilers are tried
on a small program, and Slurm is asked for partitions and accounts.

Exit codes:
  0 written, or there already · 2 a file is there and says something else (--force replaces it)";

/// Arguments of `init`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct InitArgs {
    /// Write what shall start hpc-ci as well; repeat for several. An hpc.toml that is there stays.
    #[arg(long, value_enum, value_name = "WHAT")]
    ci: Vec<Ci>,
    /// Replace files that are there and say something else.
    #[arg(long)]
    force: bool,
    /// Print hpc.toml to standard output and write nothing.
    #[arg(long, conflicts_with_all = ["ci", "force"])]
    stdout: bool,
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

/// A file that is to be there.
struct Wanted {
    path: &'static str,
    text: String,
    mode: u32,
}

/// Writes the files; one that is there and says something else stays, and nothing is written then.
pub(super) async fn init(args: &InitArgs, console: &Console) -> Result<Exit, Error> {
    let here = std::env::current_dir().map_err(Error::File)?;
    let top = top_of(&here);
    let found = if args.ci.is_empty() || !top.join(SETTINGS).exists() {
        Some(find(&top, console).await)
    } else {
        None
    };
    let settings = found.as_ref().map(text::file);
    if let (true, Some(settings), Some(found)) = (args.stdout, &settings, &found) {
        let mut lines = text::talk(found);
        lines.retain(|line| line.word != text::NEXT);
        tell(&lines, console);
        return super::print_text(settings);
    }
    let clone = shell_words::quote(&top.to_string_lossy()).replace('%', "\\%");
    let mut wanted: Vec<Wanted> = Vec::new();
    wanted.extend(settings.map(|text| Wanted {
        path: SETTINGS,
        text,
        mode: 0o644,
    }));
    let templates = args.ci.iter().flat_map(|ci| ci.templates());
    wanted.extend(templates.map(|template| Wanted {
        path: template.path,
        text: template.text.replace(CLONE, &clone),
        mode: template.mode,
    }));
    let mut writing = Vec::new();
    for file in &wanted {
        let path = top.join(file.path);
        match foreign::read(&path, foreign::DOCUMENT) {
            Ok(there) if there == file.text.as_bytes() => {}
            Ok(_) if !args.force => return Err(Error::Occupied { path }),
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(Error::File(error)),
            Ok(_) | Err(_) => writing.push(file.path),
        }
    }
    let lines = found.as_ref().map_or_else(Vec::new, text::talk);
    let (next, seen): (Vec<Line>, Vec<Line>) =
        lines.into_iter().partition(|line| line.word == text::NEXT);
    tell(&seen, console);
    for file in wanted {
        let path = shown(&top, file.path);
        if writing.contains(&file.path) {
            write(&top.join(file.path), &file.text, file.mode).map_err(Error::File)?;
            console.say(&format!("wrote    {path}"));
        } else {
            console.say(&format!("kept     {path}: it says the same already"));
        }
    }
    tell(&next, console);
    Ok(Exit::Passed)
}

async fn find(top: &Path, console: &Console) -> Found {
    console.show_activity("looking around");
    let place = place::choose(SchedulerKind::Auto).await;
    let found = init::find(top, place, scrub(std::env::vars_os(), &Secrets::default())).await;
    console.show_activity("");
    found
}

fn tell(lines: &[Line], console: &Console) {
    for line in lines {
        console.remark(&format!("{:<8} {}", line.word, line.text));
    }
}

/// The path as a person would write it from here; the top of the clone need not be where one stands.
fn shown(top: &Path, path: &str) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    if here == top {
        path.to_owned()
    } else {
        top.join(path).display().to_string()
    }
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
    foreign::put(path, text)?;
    fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
}
