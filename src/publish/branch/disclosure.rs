//! What a document tells on a branch that anybody may read: `[trust] disclosure`. Pure.
//!
//! `anonymous` takes out users, accounts, hosts and paths; `minimal` leaves statuses and figures. What is taken out leaves
//! an empty list or null, or says so where a text has to be: the document keeps its shape.

use serde_json::Value;

use crate::config::Disclosure;

/// Keys whose values name users, accounts, hosts or paths.
const NAMES: &[&str] = &[
    "account",
    "benchmarks_log",
    "binaries",
    "command",
    "command_line",
    "environment",
    "flags",
    "host",
    "library",
    "log",
    "log_file",
    "node",
    "nodes",
    "repository",
    "reproduce",
    "tutorials_log",
    "wrap",
];

/// Keys whose values tell more than statuses and figures.
const WORDS: &[&str] = &[
    "blas",
    "builds",
    "compilers",
    "container",
    "features",
    "file",
    "job_id",
    "jobs",
    "julia",
    "julia_version",
    "key",
    "launch",
    "message",
    "missing",
    "modules",
    "mpi",
    "notes",
    "problems",
    "python",
    "slurm",
    "slurm_state",
    "submodules",
    "toolchain",
];

/// Texts that a document cannot be without.
const NEEDED: &[&str] = &["command", "message", "job_id"];
/// Tables of names that others chose.
const TABLES: &[&str] = &["environment", "flags", "key", "submodules"];
/// Tables that a document cannot be without; their own keys are looked at one by one.
const FRAMES: &[&str] = &["toolchain", "launch"];

/// Takes out of a document what must not be told.
pub(super) fn withhold(document: &mut Value, level: Disclosure) {
    let lists: &[&[&str]] = match level {
        Disclosure::Full => return,
        Disclosure::Anonymous => &[NAMES],
        Disclosure::Minimal => &[NAMES, WORDS],
    };
    blank(document, &|key| {
        lists.iter().any(|list| list.contains(&key))
    });
    hide_paths(document);
}

fn blank(value: &mut Value, is_hidden: &dyn Fn(&str) -> bool) {
    match value {
        Value::Object(object) => {
            for (key, value) in object.iter_mut() {
                match value {
                    Value::Object(table) if is_hidden(key) && TABLES.contains(&key.as_str()) => {
                        table.clear();
                    }
                    Value::Object(_) if FRAMES.contains(&key.as_str()) => blank(value, is_hidden),
                    Value::Array(list) if is_hidden(key) => list.clear(),
                    Value::String(text) if is_hidden(key) && NEEDED.contains(&key.as_str()) => {
                        "(withheld)".clone_into(text);
                    }
                    _ if is_hidden(key) => *value = Value::Null,
                    _ => blank(value, is_hidden),
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|value| blank(value, is_hidden)),
        _ => {}
    }
}

/// Replaces absolute paths inside of texts: messages quote what compilers and programs said.
fn hide_paths(value: &mut Value) {
    match value {
        Value::Object(object) => object.values_mut().for_each(hide_paths),
        Value::Array(list) => list.iter_mut().for_each(hide_paths),
        Value::String(text) if text.contains('/') => *text = without_paths(text),
        _ => {}
    }
}

/// Replaces what looks like an absolute path, or one below a home, by an ellipsis and its last name.
fn without_paths(text: &str) -> String {
    let is_part = |c: char| !c.is_whitespace() && !"\"'`,;:()[]{}<>|=".contains(c);
    let mut clean = String::new();
    let mut rest = text;
    let mut before = ' ';
    while let Some(first) = rest.chars().next() {
        let starts = (first == '/' || first == '~') && !is_part(before);
        let length: usize = rest
            .chars()
            .take_while(|&c| is_part(c))
            .map(char::len_utf8)
            .sum();
        let word = &rest[..length];
        if starts && word.trim_matches('/').contains('/') {
            let last = word
                .trim_end_matches('/')
                .rsplit('/')
                .next()
                .unwrap_or_default();
            clean.push_str("…/");
            clean.push_str(last);
            rest = &rest[length..];
            before = 'x';
        } else {
            clean.push(first);
            rest = &rest[first.len_utf8()..];
            before = first;
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_in_messages_go_and_the_rest_stays() {
        for (text, expected) in [
            (
                "cannot open /home/ada/heat/in.txt: no",
                "cannot open …/in.txt: no",
            ),
            ("`/scratch/ada/x` and (/a/b/c)", "`…/x` and (…/c)"),
            ("--prefix=/opt/mpi/5.0", "--prefix=…/5.0"),
            ("~/project/a.c:3", "…/a.c:3"),
            ("src/halo.c:12: 3/4 of n/a", "src/halo.c:12: 3/4 of n/a"),
            ("ratio / 2, /tmp", "ratio / 2, /tmp"),
        ] {
            assert_eq!(without_paths(text), expected);
        }
    }

    #[test]
    fn levels_tell_less_and_keep_the_shape() {
        let document = json!({
            "status": "failed", "hpc": {"cluster": "alps", "node": "login1"},
            "slurm": {"account": "phys", "partition": "batch"},
            "steps": [{"name": "halo", "nodes": ["n1", "n2"], "message": "at /home/ada/x/y", "log": "a/b.log", "ranks": 4}],
        });
        let told = |level| {
            let mut document = document.clone();
            withhold(&mut document, level);
            document
        };
        assert_eq!(told(Disclosure::Full), document);
        assert_eq!(
            told(Disclosure::Anonymous),
            json!({
                "status": "failed", "hpc": {"cluster": "alps", "node": null},
                "slurm": {"account": null, "partition": "batch"},
                "steps": [{"name": "halo", "nodes": [], "message": "at …/y", "log": null, "ranks": 4}],
            })
        );
        let minimal = told(Disclosure::Minimal);
        assert_eq!(minimal["steps"][0]["message"], "(withheld)");
        assert_eq!(minimal["slurm"], Value::Null);
        assert_eq!(minimal["steps"][0]["ranks"], 4);
    }
}
