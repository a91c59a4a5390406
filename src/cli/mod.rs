//! The command line: one file a verb, each with its arguments and what they start.

mod accept;
mod args;
mod asker;
mod choice;
mod compare;
mod config;
pub mod console;
mod coverage;
mod doctor;
mod fetch;
mod gc;
mod init;
mod manual;
mod node;
mod order;
mod pack;
mod past;
mod plan;
mod publish;
mod resume;
mod run;
mod setting;
mod source;
mod status;
mod strategies;
mod trace;
mod trend;

use std::ffi::OsString;
use std::io::Write as _;
use std::sync::Arc;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::clean;
use crate::drive::place;
use crate::error::{Error, Exit};
use crate::launch::Place;
use crate::plan::misread::{self, Misread};
use args::{Format, Global, RunArgs};
use console::{Console, Extent};
use setting::Setting;

/// Continuous integration for codes on supercomputers.
///
/// Without a subcommand, runs the whole pipeline of `hpc.toml`: checks the commit out, builds it instrumented, runs its tests
/// and benchmarks under Slurm or here, adds up the coverage of every rank, and leaves the results in `hpc-ci/artifacts`.
#[derive(Debug, Parser)]
#[command(name = "hpc-ci", version, args_conflicts_with_subcommands = true, after_long_help = EXAMPLES)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunArgs,
    #[command(flatten)]
    global: Global,
}

const EXAMPLES: &str = "\
Examples:
  hpc-ci                              run everything of hpc.toml, as Slurm jobs where there is Slurm
  hpc-ci --tests-only halo            the tests whose name holds `halo`
  hpc-ci -- status                    the steps with `status` in their name: alone it is a command
  hpc-ci -E 'tag(nightly) & !ranks(64)'
  hpc-ci --scheduler local --ranks 2  under mpiexec on this machine, on two ranks
  hpc-ci --commit 1a2b3c4             a certain commit
  hpc-ci init                         an hpc.toml for this project, from what is found
  hpc-ci doctor                       what stands in the way of a run on this machine
  hpc-ci plan                         what a run would submit, with the job scripts
  hpc-ci publish --dry-run            every request that would be sent, tokens hidden
  hpc-ci --detach                     submit and leave; `hpc-ci resume` collects
  hpc-ci resume                       after a lost connection or a reboot: go on where the latest run is
  hpc-ci config                       every setting and where it came from

Exit codes:
  0 all passed · 1 the code under test is at fault · 2 bad usage or configuration · 3 infrastructure, or no proof
  4 results kept, publishing failed · 70 a bug of hpc-ci · 75 not finished yet · 128+n ended by signal n";

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the pipeline of hpc.toml (the default).
    #[command(
        after_help = "Examples:\n  hpc-ci run                          the same as hpc-ci\n  hpc-ci run status                   the steps with `status` in their name, which alone is a command"
    )]
    Run(Box<RunArgs>),
    /// Writes an hpc.toml from what it finds here; `--ci` also what makes GitLab, GitHub or cron start hpc-ci.
    Init(init::InitArgs),
    /// Checks this machine against the plan: each finding with its remedy.
    Doctor(Box<doctor::DoctorArgs>),
    /// Prints what a run would submit, and submits nothing.
    #[command(mut_args(without_runs))]
    Plan(Box<plan::PlanArgs>),
    /// Brings commit, submodules and `fetch` commands in while there is a network.
    #[command(
        mut_args(without_runs),
        after_help = "Examples:\n  hpc-ci fetch                        what the tests of HEAD need\n  hpc-ci fetch --branch main          the tip of a branch; a run of it then needs no network"
    )]
    Fetch(Box<RunArgs>),
    /// Uploads and pushes finished artifacts, and what waits in the outbox.
    Publish(publish::PublishArgs),
    /// Shows how far a run is.
    Status(status::StatusArgs),
    /// Goes on with a run whose driver is gone; of one that has ended, prints the result again.
    Resume(resume::ResumeArgs),
    /// Waits for the end of a run and prints its result.
    Wait(resume::WaitArgs),
    /// Ends a run: cancels its jobs and keeps what is known.
    Cancel(resume::CancelArgs),
    /// Lists the runs of this workspace.
    List(status::ListArgs),
    /// Removes what old runs left behind, beyond `keep_runs` and `keep_limit` of [workspace].
    Gc(gc::GcArgs),
    /// Prints the result of a run.
    Report(status::ReportArgs),
    /// Prints every setting in force and where it came from.
    Config(Box<config::ConfigArgs>),
    /// Shows how figures moved from run to run.
    Trend(trend::TrendArgs),
    /// Puts two commits or runs side by side.
    Compare(compare::CompareArgs),
    /// Moves the baselines of benchmarks, with a reason.
    Accept(accept::AcceptArgs),
    /// Adds up raw LLVM profiles.
    Reduce(coverage::ReduceArgs),
    /// Makes an LCOV tracefile of profiles and binaries, no LLVM program needed.
    Export(coverage::ExportArgs),
    /// Adds up LCOV tracefiles.
    Merge(coverage::MergeArgs),
    /// Adds up the profiles on a node's disk.
    #[command(hide = true)]
    NodeReduce(node::NodeArgs),
    /// Copies what a step is to keep.
    #[command(hide = true)]
    NodeKeep(node::KeepArgs),
    /// Makes the coverage of a run; the job script of the coverage says this.
    #[command(hide = true)]
    NodeCover(node::CoverArgs),
    /// Writes the completions of a shell to standard output.
    Completions(manual::CompletionsArgs),
    /// Writes the manual page to standard output.
    #[command(after_help = "Example:\n  hpc-ci man | man -l -")]
    Man,
    /// Runs the steps of a pack within its allocation; its job script says this.
    #[command(hide = true)]
    RunPack(pack::PackArgs),
}

/// Options that say how a run goes on, or what becomes of its results: verbs that run nothing do not offer them.
const OF_RUNS: &[&str] = &[
    "baseline",
    "clean",
    "detach",
    "dry_run",
    "if_idle",
    "if_new",
    "no_codecov",
    "no_publish",
];

fn without_runs(arg: clap::Arg) -> clap::Arg {
    let of_runs = OF_RUNS.contains(&arg.get_id().as_str());
    arg.hide(of_runs)
}

/// Parses the command line, does what it says and returns the exit code.
#[must_use]
pub fn main() -> Exit {
    // Builds and local steps are processes of the same user, who could read the tokens of our environment in /proc.
    nix::sys::prctl::set_dumpable(false).ok();
    crate::process::restrain_umask();
    let verbs = Cli::command();
    let is_verb = |word: &str| verbs.find_subcommand(word).is_some();
    let words = order::verb_first(std::env::args_os(), is_verb);
    let first = order::first(&words).map(|(_, word)| word.to_owned());
    let parsed = without_empty_variables(Cli::command()).try_get_matches_from(words);
    let cli = match parsed.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) => {
            // The options of a command that was mistyped are no options of a run.
            let command = first.filter(|word| !is_verb(word) && error.use_stderr());
            if let Some(misread) = command.and_then(|word| misread(&word)) {
                let console = Console::new(Extent::Usual, console::Color::default().on(), false);
                console.fail(&Error::Misread(misread));
                return Exit::Usage;
            }
            // Help and version go to standard output, mistakes to standard error; clap knows which is which.
            error.print().ok();
            return if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Passed
            };
        }
    };
    let global = &cli.global;
    let extent = match (global.quiet, global.verbose) {
        (true, _) => Extent::Least,
        (false, 0) => Extent::Usual,
        (false, _) => Extent::All,
    };
    let color = global.color.on();
    let console = Arc::new(Console::new(extent, color, global.format == Format::Json));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let result = match runtime {
        Ok(runtime) => {
            let result = runtime.block_on(dispatch(cli, &console));
            // Blocking work that was asked to stop shall not hold up the end.
            runtime.shutdown_background();
            result
        }
        Err(source) => Err(Error::Runtime(source)),
    };
    console.close();
    result.unwrap_or_else(|error| {
        console.fail(&error);
        error.exit()
    })
}

async fn dispatch(cli: Cli, console: &Arc<Console>) -> Result<Exit, Error> {
    let global = &cli.global;
    match cli.command {
        None => {
            let words: Vec<OsString> = std::env::args_os().collect();
            refuse_verbs(&cli.run.names, &words)?;
            Box::pin(run::run(cli.run, global, console)).await
        }
        Some(Command::Run(args)) => Box::pin(run::run(*args, global, console)).await,
        Some(Command::Init(args)) => Box::pin(init::init(&args, console)).await,
        Some(Command::Doctor(args)) => doctor::doctor(*args, global, console).await,
        Some(Command::Plan(args)) => plan::plan(*args, global, console).await,
        Some(Command::Fetch(args)) => fetch::fetch(*args, global, console).await,
        Some(Command::Publish(args)) => publish::publish(args, global, console).await,
        Some(Command::Status(args)) => status::status(args, global).await,
        Some(Command::Resume(args)) => resume::resume(args, global, console).await,
        Some(Command::Wait(args)) => resume::wait(args, global, console).await,
        Some(Command::Cancel(args)) => resume::cancel(args, global, console).await,
        Some(Command::List(args)) => status::list(args, global, console).await,
        Some(Command::Gc(args)) => gc::gc(args, global, console).await,
        Some(Command::Report(args)) => status::report(args, global).await,
        Some(Command::Config(args)) => config::config(*args, global).await,
        Some(Command::Trend(args)) => trend::trend(&args, global, console).await,
        Some(Command::Compare(args)) => compare::compare(&args, global, console).await,
        Some(Command::Accept(args)) => accept::accept(&args, global, console).await,
        Some(Command::Reduce(args)) => coverage::reduce(&args, console),
        Some(Command::Export(args)) => coverage::export(&args, console),
        Some(Command::Merge(args)) => coverage::merge(&args, console),
        Some(Command::NodeReduce(args)) => node::reduce(&args, console),
        Some(Command::NodeKeep(args)) => node::keep(&args),
        Some(Command::NodeCover(args)) => node::cover(&args, console).await,
        Some(Command::Completions(args)) => manual::completions(&args),
        Some(Command::Man) => manual::man(),
        Some(Command::RunPack(args)) => pack::run_pack(&args, global, console).await,
    }
}

/// Returns where steps run.
async fn place(setting: &Setting) -> Result<Place, Error> {
    let place = place::choose(setting.site.scheduler.kind).await;
    if place == Place::Allocation && !place::in_allocation() {
        return Err(Error::NoAllocation);
    }
    Ok(place)
}

/// Returns a command line that takes an empty variable for an unset one, as CI servers mean it.
fn without_empty_variables(command: clap::Command) -> clap::Command {
    command
        .mut_args(|arg| {
            let variable = arg.get_env().and_then(std::env::var_os);
            if variable.is_some_and(|value| value.is_empty()) {
                arg.env(None::<&'static str>)
            } else {
                arg
            }
        })
        .mut_subcommands(without_empty_variables)
}

/// Returns the commands that there are.
fn verbs() -> Vec<String> {
    let mut commands = Cli::command();
    commands.build();
    let shown = commands.get_subcommands().filter(|it| !it.is_hide_set());
    shown.map(|it| it.get_name().to_owned()).collect()
}

/// Refuses a first word that is a command or nearly one, unless `--` stands before it.
fn refuse_verbs(names: &[String], words: &[OsString]) -> Result<(), Error> {
    let behind = words.iter().position(|word| word == "--");
    let literal = behind.map_or(0, |at| words.len() - at - 1);
    let first = names.first().filter(|_| names.len() > literal);
    match first.and_then(|word| misread(word)) {
        Some(misread) => Err(Error::Misread(misread)),
        None => Ok(()),
    }
}

/// Says what a word is instead of a part of a step's name, if it is a command or nearly one.
fn misread(word: &str) -> Option<Misread> {
    let verbs = verbs();
    let verbs: Vec<&str> = verbs.iter().map(String::as_str).collect();
    let commands = Cli::command();
    let options: Vec<&str> = commands
        .get_arguments()
        .filter_map(clap::Arg::get_long)
        .filter(|option| option.contains('-'))
        .chain(["version"])
        .collect();
    misread::judge(word, &verbs, &options)
}

/// Returns a count with its noun.
fn counted(count: usize, noun: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{ending}")
}

/// Writes a document to standard output, line by line: it may be large.
fn print_json(document: &impl serde::Serialize) -> Result<Exit, Error> {
    let mut out = std::io::LineWriter::new(CleanJson(std::io::stdout().lock()));
    let written = serde_json::to_writer_pretty(&mut out, document).map_err(std::io::Error::from);
    ended(written.and_then(|()| {
        out.write_all(b"\n")?;
        out.flush()
    }))
}

/// Whole lines of JSON, without what a terminal would obey.
struct CleanJson<W>(W);

impl<W: std::io::Write> std::io::Write for CleanJson<W> {
    fn write(&mut self, lines: &[u8]) -> std::io::Result<usize> {
        let text = String::from_utf8_lossy(lines);
        self.0.write_all(clean::json(&text).as_bytes())?;
        Ok(lines.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

/// Writes text for people to standard output, with its colours and nothing else that a terminal would obey.
fn print_text(text: &str) -> Result<Exit, Error> {
    print_texts(std::iter::once(text))
}

/// The same for texts that are made as they are written.
fn print_texts<S: AsRef<str>>(texts: impl IntoIterator<Item = S>) -> Result<Exit, Error> {
    let mut out = std::io::stdout().lock();
    let mut texts = texts.into_iter();
    ended(
        texts
            .try_for_each(|text| out.write_all(clean::painted(text.as_ref()).as_bytes()))
            .and_then(|()| out.flush()),
    )
}

/// Writes data to standard output as it is. A reader that has seen enough (`| head`) is no failure.
fn print(bytes: &[u8]) -> Result<Exit, Error> {
    let mut out = std::io::stdout().lock();
    ended(out.write_all(bytes).and_then(|()| out.flush()))
}

fn ended(written: std::io::Result<()>) -> Result<Exit, Error> {
    match written {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Error::Output(error)),
        _ => Ok(Exit::Passed),
    }
}
