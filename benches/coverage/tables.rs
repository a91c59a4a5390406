//! What is measured, and the tables of it.

use std::fmt::Write;
use std::io;
use std::num::NonZero;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use hpc_ci::coverage::rank_hits::{Programs, RankWatch};
use hpc_ci::coverage::reduce::{Options, reduce, reduce_watched};
use hpc_ci::coverage::source::{Binary, Source};

use super::corpora::{Corpora, Corpus};
use super::measure::{Pair, Seconds, run};

/// Measures and returns a table.
type Table = fn(&Corpora) -> String;

/// The tables by name.
pub(crate) const ALL: [(&str, Table); 8] = [
    ("reduce", reduced),
    ("cat", against_cat),
    ("lcov", to_lcov),
    ("export", exported),
    ("merge", merged),
    ("ranks", by_rank),
    ("growth", growth),
    ("waiting", waiting),
];

const HPC_CI: &str = env!("CARGO_BIN_EXE_hpc-ci");

fn counts(corpora: &Corpora, full: usize) -> usize {
    if corpora.quick { full / 16 } else { full }
}

fn head(title: &str, columns: &str) -> String {
    let rule: String = columns.split('|').map(|_| "---|").collect();
    format!("### {title}\n\n| {columns} |\n|{rule}\n")
}

/// Writing to a string cannot fail.
fn row(table: &mut String, cells: &[String]) {
    writeln!(table, "| {} |", cells.join(" | ")).unwrap();
}

fn cells(name: &str, count: usize, pair: &Pair) -> Vec<String> {
    let Pair { ours, peer } = pair;
    vec![
        name.to_owned(),
        count.to_string(),
        Seconds(ours.wall).to_string(),
        Seconds(peer.wall).to_string(),
        format!("**{:.1}×**", pair.speedup()),
        format!("{:.1}×", peer.cpu / ours.cpu),
        format!("{:.0}", ours.memory),
        format!("{:.0}", peer.memory),
    ]
}

const COLUMNS: &str =
    "profiles of | how many | hpc-ci | peer | faster | in processor time | MiB | peer's MiB";

fn reduced(corpora: &Corpora) -> String {
    let mut table = head(
        "`hpc-ci reduce` against `llvm-profdata merge -sparse`",
        COLUMNS,
    );
    let all = [
        (&corpora.rust, 256),
        (&corpora.rust, 1024),
        (&corpora.cpp, 256),
        (&corpora.c, 1024),
        (&corpora.c, 4096),
    ];
    for (corpus, count) in all {
        let Some(corpus) = corpus else { continue };
        let count = counts(corpora, count);
        let dir = corpus.profiles(count);
        let ours = format!(
            "'{HPC_CI}' reduce -o '{}' '{}'",
            out(corpora, "sum.profraw"),
            dir.display()
        );
        let peer = format!(
            "find '{0}' -name '*.profraw' >'{1}'; llvm-profdata-22 merge -sparse -f '{1}' -o '{2}'",
            dir.display(),
            out(corpora, "list"),
            out(corpora, "sum.profdata")
        );
        let pair = Pair::of(&ours, &peer, corpora.quick);
        check_sum(corpora);
        row(&mut table, &cells(corpus.name, count, &pair));
    }
    table
}

/// The sum must be, to the byte, what LLVM makes of all profiles.
fn check_sum(corpora: &Corpora) {
    run(&format!(
        "llvm-profdata-22 merge -sparse '{}' -o '{1}' && cmp '{1}' '{2}'",
        out(corpora, "sum.profraw"),
        out(corpora, "again.profdata"),
        out(corpora, "sum.profdata")
    ));
}

fn against_cat(corpora: &Corpora) -> String {
    let mut table = head(
        "`hpc-ci reduce` against reading the files with `cat`",
        COLUMNS,
    );
    let all = [
        (&corpora.tiny, 4096, ""),
        (&corpora.tests, 400, ""),
        (&corpora.c, 1024, ""),
        (&corpora.rust, 1024, " --verify full"),
        (&corpora.cpp, 256, " --verify full"),
        (&corpora.c, 4096, " --verify full"),
    ];
    for (corpus, count, options) in all {
        let Some(corpus) = corpus else { continue };
        let count = counts(corpora, count);
        let dir = corpus.profiles(count);
        let ours = format!(
            "'{HPC_CI}' reduce{options} -o '{}' '{}'",
            out(corpora, "sum.profraw"),
            dir.display()
        );
        let peer = format!("cat '{}'/*.profraw", dir.display());
        let pair = Pair::of(&ours, &peer, corpora.quick);
        row(
            &mut table,
            &cells(&format!("{}{options}", corpus.name), count, &pair),
        );
    }
    table
}

fn to_lcov(corpora: &Corpora) -> String {
    let mut table = head(
        "From profiles to lcov against `llvm-profdata merge -sparse` and `llvm-cov export`",
        COLUMNS,
    );
    for (corpus, count) in [
        (&corpora.rust, 1024),
        (&corpora.cpp, 1024),
        (&corpora.c, 4096),
        (&corpora.tests, 400),
    ] {
        let Some(corpus) = corpus else { continue };
        let count = counts(corpora, count);
        let dir = corpus.profiles(count);
        let pair = Pair::of(
            &export(corpora, corpus, &dir),
            &peer_export(corpora, corpus, Some(&dir)),
            corpora.quick,
        );
        check_report(corpora);
        row(&mut table, &cells(corpus.name, count, &pair));
    }
    table
}

fn exported(corpora: &Corpora) -> String {
    let mut table = head(
        "`hpc-ci export` of profiles that are summed already against `llvm-cov export`",
        COLUMNS,
    );
    for corpus in [&corpora.rust, &corpora.cpp, &corpora.c, &corpora.tests]
        .into_iter()
        .flatten()
    {
        let dir = corpus.profiles(corpus.runs());
        let sum = PathBuf::from(out(corpora, "sum.profraw"));
        run(&format!(
            "'{HPC_CI}' reduce -o '{}' '{}'",
            sum.display(),
            dir.display()
        ));
        run(&peer_export(corpora, corpus, Some(&dir)));
        let pair = Pair::of(
            &export(corpora, corpus, &sum),
            &peer_export(corpora, corpus, None),
            corpora.quick,
        );
        check_report(corpora);
        row(&mut table, &cells(corpus.name, 1, &pair));
    }
    table
}

fn merged(corpora: &Corpora) -> String {
    let mut table = head(
        "`hpc-ci merge` of tracefiles, each of a real run, against `lcov -a`",
        "tracefiles of | how many | hpc-ci | peer | faster | in processor time | MiB | peer's MiB",
    );
    if let Some(corpus) = &corpora.rust {
        let dir = corpus.tracefiles(counts(corpora, 64), HPC_CI);
        let (sum, peer) = (out(corpora, "ours.info"), out(corpora, "peer.info"));
        let ours = format!("'{HPC_CI}' merge -o '{sum}' '{}'/*.info", dir.display());
        let theirs = format!(
            "lcov -q --rc lcov_branch_coverage=1 -o '{peer}' $(printf -- ' -a %s' '{}'/*.info)",
            dir.display()
        );
        let pair = Pair::of(&ours, &theirs, corpora.quick);
        // Both order and leave out other records differently; the hits of every line must be equal.
        let hits =
            r#"/^SF:/ { file = $0 } /^DA:/ { split($2, at, ","); print file, at[1], at[2] }"#;
        run(&format!(
            "awk -F: '{hits}' '{sum}' | sort >'{sum}.hits' && awk -F: '{hits}' '{peer}' | sort | cmp - '{sum}.hits'"
        ));
        row(&mut table, &cells(corpus.name, counts(corpora, 64), &pair));
    }
    table
}

fn export(corpora: &Corpora, corpus: &Corpus, profiles: &std::path::Path) -> String {
    let (objects, report) = (corpus.object_options(), out(corpora, "ours.info"));
    format!(
        "'{HPC_CI}' export{objects} -o '{report}' '{}'",
        profiles.display()
    )
}

fn peer_export(corpora: &Corpora, corpus: &Corpus, profiles: Option<&std::path::Path>) -> String {
    let (objects, index, list) = (
        corpus.object_options(),
        out(corpora, "peer.profdata"),
        out(corpora, "list"),
    );
    let merge = profiles.map(|dir| {
        let dir = dir.display();
        format!("find '{dir}' -name '*.profraw' >'{list}'; llvm-profdata-22 merge -sparse -f '{list}' -o '{index}'; ")
    });
    let report = out(corpora, "peer.info");
    format!(
        "{}llvm-cov-22 export -format=lcov -instr-profile '{index}'{objects} >'{report}'",
        merge.unwrap_or_default()
    )
}

/// The report must be, to the byte, that of `llvm-cov`.
fn check_report(corpora: &Corpora) {
    run(&format!(
        "cmp '{}' '{}'",
        out(corpora, "ours.info"),
        out(corpora, "peer.info")
    ));
}

fn out(corpora: &Corpora, name: &str) -> String {
    corpora.root.join(name).display().to_string()
}

fn by_rank(corpora: &Corpora) -> String {
    let mut table = head(
        "Which ranks reached what, in the same pass",
        "profiles of | how many | sum alone | with ranks | takes | ranks alike | takes",
    );
    for (corpus, count) in [
        (&corpora.rust, 1024),
        (&corpora.cpp, 1024),
        (&corpora.c, 4096),
    ] {
        let Some(corpus) = corpus else { continue };
        let count = counts(corpora, count);
        let dir = corpus.profiles(count);
        let mut paths: Vec<_> = fs_err::read_dir(&dir)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        paths.sort();
        let ranks: Vec<_> = (0..u32::try_from(count).unwrap()).map(Some).collect();
        let mut programs = Programs::default();
        for object in &corpus.objects {
            programs
                .add(&Binary::open(object).unwrap().sections().unwrap())
                .unwrap();
        }
        // Ranks that do alike: a few ways of running, in long rows.
        let alike: Vec<_> = (0..count)
            .map(|at| paths[at / (count / 4).max(1)].clone())
            .collect();
        let watch = |paths: &[PathBuf]| {
            let watch = RankWatch::new(&programs, &ranks);
            let reduction = reduce_watched(paths, &Options::default(), &watch);
            assert!(reduction.binaries.len() == 1 && !watch.finish().ranks().is_empty());
        };
        let sum = |paths: &[PathBuf]| {
            assert_eq!(reduce(paths, &Options::default()).binaries.len(), 1);
        };
        let times = [
            time(corpora, || sum(&paths)),
            time(corpora, || watch(&paths)),
            time(corpora, || sum(&alike)),
            time(corpora, || watch(&alike)),
        ];
        let seconds = |at: usize| Seconds(times[at]).to_string();
        let cells = [
            corpus.name.to_owned(),
            count.to_string(),
            seconds(0),
            seconds(1),
            format!("**{:.1}×**", times[1] / times[0]),
            seconds(3),
            format!("**{:.1}×**", times[3] / times[2]),
        ];
        row(&mut table, &cells);
    }
    table
}

/// Returns the median time of some calls.
fn time(corpora: &Corpora, call: impl Fn()) -> f64 {
    call();
    let rounds = if corpora.quick { 1 } else { 7 };
    let mut times: Vec<f64> = (0..rounds)
        .map(|_| {
            let begin = Instant::now();
            call();
            begin.elapsed().as_secs_f64()
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[rounds / 2]
}

fn growth(corpora: &Corpora) -> String {
    let mut table = head(
        "Growth of `hpc-ci reduce`",
        "profiles of | how many | time | a profile | MiB",
    );
    for corpus in [&corpora.tiny, &corpora.c, &corpora.rust]
        .into_iter()
        .flatten()
    {
        for count in [16, 256, 1024, 4096, 16384] {
            let count = counts(corpora, count);
            let dir = corpus.profiles(count);
            let command = format!(
                "'{HPC_CI}' reduce -o '{}' '{}'",
                out(corpora, "sum.profraw"),
                dir.display()
            );
            let Pair { ours, peer } = Pair::of(&command, &command, corpora.quick);
            let wall = f64::midpoint(ours.wall, peer.wall);
            let each = format!("{:.1} µs", wall / count as f64 * 1e6);
            let cells = [
                corpus.name.to_owned(),
                count.to_string(),
                Seconds(wall).to_string(),
                each,
                format!("{:.0}", ours.memory),
            ];
            row(&mut table, &cells);
        }
    }
    table
}

/// A file system that answers late.
struct Late<'a> {
    files: &'a [PathBuf],
    delay: Duration,
}

impl Source for Late<'_> {
    type File = std::fs::File;

    fn len(&self) -> usize {
        self.files.len()
    }

    fn open(&self, index: usize) -> io::Result<Self::File> {
        std::thread::sleep(self.delay);
        Source::open(self.files, index)
    }
}

fn waiting(corpora: &Corpora) -> String {
    let mut table = head(
        "A file system that answers after 5 ms: requests under way",
        "profiles of | how many | 2 | 8 | 32 | 64 | one after another",
    );
    if let Some(corpus) = &corpora.c {
        let count = counts(corpora, 1024);
        let dir = corpus.profiles(count);
        let files: Vec<_> = fs_err::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        let delay = Duration::from_millis(5);
        let mut cells = vec![corpus.name.to_owned(), count.to_string()];
        for in_flight in [2, 8, 32, 64] {
            let in_flight = NonZero::new(in_flight).unwrap();
            let late = Late {
                files: &files,
                delay,
            };
            let options = Options {
                in_flight,
                ..Options::default()
            };
            let begin = Instant::now();
            assert_eq!(reduce(&late, &options).binaries.len(), 1);
            cells.push(Seconds(begin.elapsed().as_secs_f64()).to_string());
        }
        cells.push(Seconds(delay.as_secs_f64() * count as f64).to_string());
        row(&mut table, &cells);
    }
    table
}
