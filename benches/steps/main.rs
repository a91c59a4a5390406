//! Many small steps on a real cluster: hpc-ci with each strategy, a bare sbatch loop, and `ReFrame`, in turn.
//!
//! `eval "$(slurm/dev-cluster/up 3 4)"`, then as root `cargo bench --bench steps`: measures 1, 50 and 200 empty steps, prints
//! and writes the tables of `benches/README.md`. `-- full` adds 1,000 steps, once, `-- quick` measures once and writes nothing,
//! `-- linear` needs no cluster: recorded answers of Slurm stand in for it. The peer comes from its package index, into `target/`.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a bench talks to whoever started it, and ends when something is wrong"
)]

mod linear;
#[path = "../coverage/measure.rs"]
#[expect(dead_code, reason = "the other bench compares pairs")]
mod measure;
mod rivals;

use std::fmt::Write as _;
use std::path::Path;

use measure::{Cost, Seconds};
use rivals::{Cluster, Rpcs};

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
    let asked = |word: &str| words.iter().any(|it| it == word);
    let mut text = String::new();
    if !asked("linear") {
        let rounds = if asked("quick") { 1 } else { 3 };
        let sizes: &[u32] = match (asked("quick"), asked("full")) {
            (true, _) => &[1, 200],
            (_, true) => &[1, 50, 200, MANY],
            _ => &[1, 50, 200],
        };
        text.push_str(&on_cluster(sizes, rounds));
    }
    let table = linear::table();
    println!("{table}");
    text.push_str(&table);
    if !asked("quick") && !asked("linear") {
        write(&text);
    }
}

/// So many steps that each way is measured once.
const MANY: u32 = 1000;

/// What one way to run steps cost, by rounds.
struct Rows {
    name: &'static str,
    costs: Vec<(Cost, Rpcs)>,
}

fn on_cluster(sizes: &[u32], rounds: u32) -> String {
    let cluster = Cluster::prepare();
    let mut text = String::new();
    for &steps in sizes {
        let mut rows: Vec<Rows> = rivals::ALL
            .iter()
            .map(|(name, _)| Rows {
                name,
                costs: Vec::new(),
            })
            .collect();
        // The rivals take minutes for many.
        let rounds = if steps == MANY { 1 } else { rounds };
        for _ in 0..rounds {
            for (row, (name, command)) in rows.iter_mut().zip(rivals::ALL) {
                eprintln!("{steps} steps, {name}");
                row.costs.push(cluster.measure(&command(&cluster, steps)));
            }
        }
        let table = table(steps, &rows);
        println!("{table}");
        text.push_str(&table);
    }
    text
}

fn table(steps: u32, rows: &[Rows]) -> String {
    let plural = if steps == 1 { "" } else { "s" };
    let mut text = format!(
        "### {steps} empty step{plural}\n\n| | wall | processor time | MiB | submissions | queries | to slurmctld in all |\n|---|---|---|---|---|---|---|\n"
    );
    for row in rows {
        let middle = |of: &dyn Fn(&(Cost, Rpcs)) -> f64| {
            let mut values: Vec<f64> = row.costs.iter().map(of).collect();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        writeln!(
            text,
            "| {} | {} | {} | {:.0} | {} | {} | {} |",
            row.name,
            Seconds(middle(&|(cost, _)| cost.wall)),
            Seconds(middle(&|(cost, _)| cost.cpu)),
            middle(&|(cost, _)| cost.memory),
            middle(&|(_, rpcs)| f64::from(rpcs.submissions)),
            middle(&|(_, rpcs)| f64::from(rpcs.queries)),
            middle(&|(_, rpcs)| f64::from(rpcs.all)),
        )
        .unwrap();
    }
    text.push('\n');
    text
}

/// Puts the tables between the marks of the README.
fn write(tables: &str) {
    const BEGIN: &str = "<!-- what `cargo bench --bench steps` wrote -->";
    const END: &str = "<!-- until here -->";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/README.md");
    let text = fs_err::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    fs_err::write(&path, format!("{before}{BEGIN}\n\n{tables}{END}{after}")).unwrap();
}
