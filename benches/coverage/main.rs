//! The coverage engine against what a user would run otherwise, whole processes on a warm cache.
//!
//! `cargo bench --bench coverage` makes its own programs and profiles below `target/bench-coverage`, measures, prints and
//! writes the tables of `benches/README.md`. It needs LLVM 22's programs, clang 22 and, once, the registry of packages and Eigen's
//! headers; what is missing is said and left out. `cargo bench --bench coverage -- quick` makes fewer and smaller runs
//! and writes nothing; other words name the tables to make.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a bench talks to whoever started it, and ends when something is wrong"
)]

mod corpora;
mod measure;
mod tables;

use std::path::Path;

use corpora::Corpora;

fn main() {
    let words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with("--"))
        .collect();
    if let Some((measure, command)) = words.split_first()
        && measure == measure::CHILD
    {
        measure::child(command);
        return;
    }
    let quick = words.iter().any(|word| word == "quick");
    let wanted = |name: &str| {
        words.iter().all(|word| word == "quick") || words.iter().any(|word| word == name)
    };
    let corpora = Corpora::make(quick);
    let mut text = String::new();
    for (name, table) in tables::ALL {
        if wanted(name) {
            let table = table(&corpora);
            println!("{table}");
            text.push_str(&table);
            text.push('\n');
        }
    }
    if words.is_empty() {
        write(&text);
    }
}

/// Puts the tables between the marks of the README.
fn write(tables: &str) {
    const BEGIN: &str = "<!-- what `cargo bench --bench coverage` wrote -->";
    const END: &str = "<!-- until here -->";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/README.md");
    let text = fs_err::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    fs_err::write(&path, format!("{before}{BEGIN}\n\n{tables}{END}{after}")).unwrap();
}
