//! Coverage without a run: `reduce`, `export` and `merge`. No scheduler, no configuration, no LLVM program.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::{BufRead as _, BufWriter, Write};
use std::num::NonZero;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::console::Console;
use crate::coverage::counts::Counts;
use crate::coverage::export::{self, Coverage, FileCoverage};
use crate::coverage::fit::Functions;
use crate::coverage::mapping::Names;
use crate::coverage::merge::{self, Source};
use crate::coverage::paths::{Place, Rules};
use crate::coverage::reduce::{self, Outcome, Reduction};
use crate::coverage::source::{Binary, find_profiles};
use crate::error::{Error, Exit};

/// Files named in full before the rest is only counted.
const NAMED: usize = 20;

/// How much of each profile is compared with the others of its binary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Verify {
    /// Header, build id and size of every file, functions and names of some.
    #[default]
    Sample,
    /// Every byte of every file.
    Full,
}

/// Options of whatever reads profiles.
#[derive(Debug, Args)]
struct Profiles {
    /// Profiles, and directories with profiles; without any, their names are read from standard input, one a line.
    #[arg(value_name = "PROFILE")]
    paths: Vec<PathBuf>,
    /// How much of each profile is verified.
    #[arg(long, value_enum, default_value_t)]
    verify: Verify,
    /// Exit with 3 if any profile could not be used.
    #[arg(long)]
    strict: bool,
    /// How many cores to use; all of them unless said.
    #[arg(long, value_name = "N")]
    threads: Option<NonZero<usize>>,
    /// How many files may be read at the same time.
    #[arg(long, value_name = "N")]
    in_flight: Option<NonZero<usize>>,
}

/// Arguments of `reduce`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hpc-ci reduce -o all.profraw profiles/\n  find . -name '*.profraw' | hpc-ci reduce -o all.profraw\n\n\
Exit codes: 0 something was usable · 3 nothing was, or with --strict not all was"
)]
pub(super) struct ReduceArgs {
    /// Where the sum goes: one raw profile a binary, one after another.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    profiles: Profiles,
}

/// Arguments of `export`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  hpc-ci export --object build/solver --object build/libmesh.so -o lcov.info profiles/\n\n\
Without options the tracefile is that of `llvm-cov export -format=lcov` (LLVM 22), byte for byte."
)]
pub(super) struct ExportArgs {
    /// A program or library with coverage mapping; repeat for several.
    #[arg(long = "object", required = true, value_name = "BIN")]
    objects: Vec<PathBuf>,
    /// Where the tracefile goes; standard output unless said.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Paths become relative to this directory, and files outside are left out.
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Only source paths that match one of these globs.
    #[arg(long, value_name = "GLOB")]
    include: Vec<String>,
    /// No source paths that match one of these globs.
    #[arg(long, value_name = "GLOB")]
    exclude: Vec<String>,
    /// Replace a prefix of source paths: FROM=TO.
    #[arg(long, value_name = "FROM=TO", value_parser = mapping)]
    map: Vec<(String, String)>,
    /// Take counts below zero, which a process that died may leave, for zero.
    #[arg(long)]
    clamp: bool,
    /// Write function names as people read them.
    #[arg(long)]
    demangle: bool,
    #[command(flatten)]
    profiles: Profiles,
}

/// Arguments of `merge`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  hpc-ci merge -o lcov.info rank*.info")]
pub(super) struct MergeArgs {
    /// The tracefiles.
    #[arg(required = true, value_name = "TRACEFILE")]
    tracefiles: Vec<PathBuf>,
    /// Where the sum goes; `-` is standard output.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

/// Adds raw profiles up.
pub(super) fn reduce(args: &ReduceArgs, console: &Console) -> Result<Exit, Error> {
    let Sum {
        reduction, exit, ..
    } = add_up(&args.profiles, console)?;
    if exit == Exit::Infrastructure && reduction.binaries.is_empty() {
        return Ok(exit);
    }
    tell_versions(&reduction, console);
    write(&args.output, |mut out| {
        let mut binaries = reduction.binaries.iter();
        binaries.try_for_each(|binary| binary.profile.write_to(&mut out))
    })?;
    Ok(exit)
}

/// Makes a tracefile of profiles and binaries.
pub(super) fn export(args: &ExportArgs, console: &Console) -> Result<Exit, Error> {
    let rules = rules(args)?;
    let Sum {
        files,
        reduction,
        mut exit,
    } = add_up(&args.profiles, console)?;
    if reduction.binaries.is_empty() {
        return Ok(Exit::Infrastructure);
    }
    let counts = Counts::new(reduction.binaries.iter().map(|reduced| &reduced.profile));
    let mut coverage = Coverage::new(&counts, export::Options { clamp: args.clamp });
    let mut known = HashSet::new();
    for path in &args.objects {
        let binary = Binary::open_named(path).map_err(|source| object_error(path, source))?;
        let sections = binary
            .sections()
            .map_err(|source| object_error(path, std::io::Error::other(source)))?;
        coverage
            .add(&sections)
            .map_err(|source| object_error(path, std::io::Error::other(source)))?;
        known.extend(sections.build_id.map(<[u8]>::to_vec));
    }
    if tell_misfits(args, &files, &reduction, &known, console) && args.profiles.strict {
        exit = Exit::Infrastructure;
    }
    if coverage.mismatched() > 0 {
        console.say(&format!(
            "{} functions have another source than the one that was counted; they are left out",
            coverage.mismatched()
        ));
    }
    match &args.output {
        None => {
            let mut out = BufWriter::with_capacity(1 << 20, std::io::stdout().lock());
            match print(&coverage, args, rules.as_ref(), &mut out).and_then(|()| out.flush()) {
                Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                    return Err(Error::Output(error));
                }
                _ => {}
            }
        }
        Some(path) => write(path, |out| print(&coverage, args, rules.as_ref(), out))?,
    }
    Ok(exit)
}

/// Names the profiles of which counts are left out, since the objects have functions otherwise; returns whether there are any. Those of
/// the objects' own build ids need not be looked at.
fn tell_misfits(
    args: &ExportArgs,
    files: &[PathBuf],
    reduction: &Reduction,
    known: &HashSet<Vec<u8>>,
    console: &Console,
) -> bool {
    let is_known = |reduced: &&reduce::Reduced| {
        let ids = reduced.profile.shape.binary_ids();
        ids.iter().any(|id| known.contains(*id))
    };
    let doubtful: Vec<_> = reduction
        .binaries
        .iter()
        .filter(|it| !is_known(it))
        .collect();
    if doubtful.is_empty() {
        return false;
    }
    let mut functions = Functions::default();
    for path in &args.objects {
        if let Ok(binary) = Binary::open(path)
            && let Ok(sections) = binary.sections()
        {
            // What is wrong with it was an error before.
            functions.add(&sections).ok();
        }
    }
    let mut told = false;
    for reduced in doubtful {
        let fit = functions.fit(&reduced.profile).named(&reduced.profile);
        let first = reduced.files.first().and_then(|&it| files.get(it));
        if let Some((why, first)) = fit.loss().zip(first) {
            let more = match reduced.files.len() - 1 {
                0 => String::new(),
                more => format!(" (and {more} more profiles)"),
            };
            console.say(&format!("{}{more}: {why}", first.display()));
            told = true;
        }
    }
    told
}

fn print(
    coverage: &Coverage<'_>,
    args: &ExportArgs,
    rules: Option<&Rules>,
    mut out: &mut dyn Write,
) -> std::io::Result<()> {
    let files = coverage.files();
    files.write_lcov_of(|file| edited(file, rules, args.demangle), &mut out)
}

/// The file under the path by which it is reported, if it is.
fn edited<'a>(
    mut file: FileCoverage<'a>,
    rules: Option<&Rules>,
    demangle: bool,
) -> Option<FileCoverage<'a>> {
    if let Some(rules) = rules {
        match rules.place(&file.path) {
            Place::Kept(path) => file.path = path.into(),
            Place::Excluded(_) | Place::NotHeld(_) | Place::Outside => return None,
        }
    }
    if demangle {
        file.demangle();
    }
    Some(file)
}

fn rules(args: &ExportArgs) -> Result<Option<Rules>, Error> {
    let plain = args.root.is_none()
        && args.include.is_empty()
        && args.exclude.is_empty()
        && args.map.is_empty();
    if plain {
        return Ok(None);
    }
    let mut roots = Vec::new();
    if let Some(root) = &args.root {
        roots.push(std::path::absolute(root).map_err(Error::File)?);
        roots.extend(fs_err::canonicalize(root));
    }
    let rules = Rules::new(roots.iter().map(|root| root.to_string_lossy()));
    let rules = args
        .map
        .iter()
        .fold(rules, |rules, (from, to)| rules.map(from, to));
    Ok(Some(rules.include(&args.include)?.exclude(&args.exclude)?))
}

fn mapping(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').ok_or("expected FROM=TO")?;
    Ok((pair.0.to_owned(), pair.1.to_owned()))
}

fn object_error(path: &Path, source: std::io::Error) -> Error {
    Error::Object {
        path: path.to_owned(),
        source,
    }
}

/// Says of which functions the profiles hold several versions: objects of one build find the counts of one.
fn tell_versions(reduction: &Reduction, console: &Console) {
    let mut hashes: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
    let mut names = Names::default();
    for reduced in &reduction.binaries {
        let shape = &reduced.profile.shape;
        for function in shape.functions() {
            hashes
                .entry(function.name)
                .or_default()
                .insert(function.hash);
        }
    }
    hashes.retain(|_, hashes| hashes.len() > 1);
    if hashes.is_empty() {
        return;
    }
    for reduced in &reduction.binaries {
        // Names are only for people here.
        names.read(reduced.profile.shape.names_bytes()).ok();
    }
    let shown = hashes.keys().filter_map(|&name| names.find(name)).take(5);
    let shown: Vec<String> = shown
        .map(|name| format!("`{}`", names.text(name)))
        .collect();
    console.tell(&format!(
        "{} functions are in the profiles in several versions ({}): the objects of one build find the counts of one version",
        hashes.len(),
        shown.join(", ")
    ));
}

/// What came of profiles.
struct Sum {
    files: Vec<PathBuf>,
    reduction: Reduction,
    exit: Exit,
}

/// Reduces the profiles and names those that are of no use.
fn add_up(args: &Profiles, console: &Console) -> Result<Sum, Error> {
    let named = if args.paths.is_empty() {
        let lines: Result<Vec<String>, _> = std::io::stdin().lock().lines().collect();
        lines
            .map_err(Error::File)?
            .into_iter()
            .map(PathBuf::from)
            .collect()
    } else {
        args.paths.clone()
    };
    let found = find_profiles(&named).map_err(Error::File)?;
    let mut options = reduce::Options::default();
    if args.verify == Verify::Full {
        options.verify = reduce::Verify::Full;
    }
    options.cores = args.threads.unwrap_or(options.cores);
    options.in_flight = args.in_flight.unwrap_or(options.in_flight);
    let reduction = reduce::reduce(&found, &options);
    let files = found.files;
    let unused: Vec<(&PathBuf, &Outcome)> = files
        .iter()
        .zip(&reduction.outcomes)
        .filter(|(_, outcome)| !outcome.is_used())
        .collect();
    for (path, outcome) in unused.iter().take(NAMED) {
        console.say(&format!("{}: {outcome}", path.display()));
    }
    if unused.len() > NAMED {
        console.say(&format!(
            "and {} more that could not be used",
            unused.len() - NAMED
        ));
    }
    let used = files.len() - unused.len();
    console.tell(&format!("{used} of {} profiles used", files.len()));
    let exit = if used == 0 || (args.strict && !unused.is_empty()) {
        Exit::Infrastructure
    } else {
        Exit::Passed
    };
    Ok(Sum {
        files,
        reduction,
        exit,
    })
}

/// What is wrong with a tracefile, a line each.
fn complaints(source: &Source) -> Vec<String> {
    let reading = match &source.reading {
        Err(error) => return vec![error.to_string()],
        Ok(reading) => reading,
    };
    let mut lines: Vec<String> = reading.problems.iter().map(ToString::to_string).collect();
    let more = reading.problem_count.saturating_sub(lines.len() as u64);
    lines.extend((more > 0).then(|| format!("and {more} more lines")));
    if lines.is_empty() && reading.sections == 0 {
        lines.push("holds no source file".to_owned());
    }
    lines
}

/// Adds tracefiles up. Exits with 0 if something was usable; what was not is named.
pub(super) fn merge(args: &MergeArgs, console: &Console) -> Result<Exit, Error> {
    let (sum, sources) = merge::merge_named(&args.tracefiles);
    for source in &sources {
        for line in complaints(source) {
            console.say(&format!("{}: {line}", source.path.display()));
        }
    }
    let used = sources.iter().filter(|source| source.is_used()).count();
    if used == 0 {
        console.say("none of the tracefiles was usable");
        return Ok(Exit::Infrastructure);
    }
    if args.output.as_os_str() == "-" {
        let mut text = Vec::new();
        sum.write(&mut text).map_err(Error::File)?;
        return super::print(&text);
    }
    write(&args.output, |out| sum.write(out))?;
    console.tell(&format!(
        "{used} of {} tracefiles in {}",
        sources.len(),
        args.output.display()
    ));
    Ok(Exit::Passed)
}

/// Writes a file that appears whole or not at all.
fn write(
    path: &Path,
    content: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) -> Result<(), Error> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    let part =
        tempfile::NamedTempFile::new_in(dir.unwrap_or(Path::new("."))).map_err(Error::File)?;
    let mut out = BufWriter::with_capacity(1 << 20, &part);
    content(&mut out)
        .and_then(|()| out.flush())
        .map_err(Error::File)?;
    drop(out);
    // A temporary file is its maker's alone; what others expect to read has the usual permissions.
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    part.as_file().set_permissions(mode).map_err(Error::File)?;
    part.persist(path)
        .map_err(|error| Error::File(error.error))?;
    Ok(())
}
