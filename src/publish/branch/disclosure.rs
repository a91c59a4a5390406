//! What a document tells on a branch that anybody may read: `[trust] disclosure`. Pure.
//!
//! `anonymous` takes out users, accounts, hosts and paths; `minimal` leaves statuses and figures. What is taken out leaves
//! an empty list or null, or says so where a text has to be: the document keeps its shape.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::config::Disclosure;

/// What stands in the place of a text that a document cannot be without.
const WITHHELD: &str = "(withheld)";

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
    "kept",
    "library",
    "log",
    "log_file",
    "node",
    "nodes",
    "repository",
    "reproduce",
    "switches",
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

/// Keys below which people are told something in words, which may name hosts and accounts.
const TOLD: &[&str] = &[
    "message", "missing", "problems", "reason", "reasons", "warnings",
];
/// Keys whose values are such names.
const NAMING: &[&str] = &["account", "host", "node", "nodes"];

/// Texts that a document cannot be without.
const NEEDED: &[&str] = &["command", "message", "job_id"];
/// Tables of names that others chose.
const TABLES: &[&str] = &["environment", "flags", "key", "submodules"];
/// Tables that a document cannot be without; their own keys are looked at one by one.
const FRAMES: &[&str] = &["toolchain", "launch"];

/// Returns the names of hosts and accounts in a document.
pub(super) fn names(document: &Value) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    collect(document, false, &mut names);
    names
}

fn collect(value: &Value, naming: bool, names: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                let is_name = NAMING.contains(&key.as_str()) || naming && key == "name";
                collect(value, is_name, names);
            }
        }
        Value::Array(list) => list.iter().for_each(|value| collect(value, naming, names)),
        Value::String(name) if naming && !name.is_empty() => {
            names.insert(name.clone());
        }
        _ => {}
    }
}

/// Takes out of a document what must not be told; `names` are taken out of what it tells in words.
pub(super) fn withhold(document: &mut Value, level: Disclosure, names: &BTreeSet<String>) {
    let lists: &[&[&str]] = match level {
        Disclosure::Full => return,
        Disclosure::Anonymous => &[NAMES],
        Disclosure::Minimal => &[NAMES, WORDS],
    };
    hide_names(document, false, names);
    blank(document, &|key| {
        lists.iter().any(|list| list.contains(&key))
    });
    if level == Disclosure::Minimal {
        clear_nodes(document);
    }
    hide_paths(document);
}

/// Replaces names in what is told in words.
fn hide_names(value: &mut Value, told: bool, names: &BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object.iter_mut() {
                hide_names(value, told || TOLD.contains(&key.as_str()), names);
            }
        }
        Value::Array(list) => list
            .iter_mut()
            .for_each(|value| hide_names(value, told, names)),
        Value::String(text) if told => *text = without_names(text, names),
        _ => {}
    }
}

fn without_names(text: &str, names: &BTreeSet<String>) -> String {
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_');
    let mut clean = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length: usize = rest
            .chars()
            .take_while(|&c| is_part(c) == is_part(first))
            .map(char::len_utf8)
            .sum();
        let (word, after) = rest.split_at(length);
        // Of `n1.cluster` the first word is the name, or all of it.
        let hidden = names
            .iter()
            .any(|name| name == word || name.split('.').next() == Some(word));
        clean.push_str(if hidden { WITHHELD } else { word });
        rest = after;
    }
    clean
}

/// What nodes are, without their names, is left by a milder level.
fn clear_nodes(value: &mut Value) {
    match value {
        Value::Object(object) => {
            for (key, value) in object.iter_mut() {
                match value {
                    Value::Array(list) if key == "nodes" => list.clear(),
                    value => clear_nodes(value),
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(clear_nodes),
        _ => {}
    }
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
                    // What a node is may be told, but not which one.
                    Value::Array(list) if key == "nodes" && list.iter().all(Value::is_object) => {
                        for node in list {
                            nameless(node, is_hidden);
                        }
                    }
                    Value::Array(list) if is_hidden(key) => list.clear(),
                    Value::String(text) if is_hidden(key) && NEEDED.contains(&key.as_str()) => {
                        WITHHELD.clone_into(text);
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

fn nameless(node: &mut Value, is_hidden: &dyn Fn(&str) -> bool) {
    blank(node, &|key| key != "node" && is_hidden(key));
    for key in ["name", "node"] {
        if let Some(Value::String(name)) = node.get_mut(key) {
            WITHHELD.clone_into(name);
        }
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
            "steps": [{"name": "halo", "nodes": ["n1", "n2"], "message": "n10, n1: at /home/ada/x/y (phys)", "log": "a/b.log", "ranks": 4}],
            "nodes": [{"name": "n1.alps", "kernel": "6.1", "switches": "spine.leaf3", "gpus": [{"model": "H100"}]}],
            "binaries": [{"path": "solver", "libraries": {"libmpi.so.40": "ab12"}}],
            "conditions": {"b": {"nodes": [{"node": "n2", "load": 0.5}]}},
            "benchmarks": {"b": {"warnings": ["other jobs ran on n2"]}},
        });
        let told = |level| {
            let mut document = document.clone();
            let names = names(&document);
            withhold(&mut document, level, &names);
            document
        };
        assert_eq!(told(Disclosure::Full), document);
        assert_eq!(
            told(Disclosure::Anonymous),
            json!({
                "status": "failed", "hpc": {"cluster": "alps", "node": null},
                "slurm": {"account": null, "partition": "batch"},
                "steps": [{"name": "halo", "nodes": [], "message": "n10, (withheld): at …/y ((withheld))", "log": null, "ranks": 4}],
                "nodes": [{"name": "(withheld)", "kernel": "6.1", "switches": null, "gpus": [{"model": "H100"}]}],
                "binaries": [],
                "conditions": {"b": {"nodes": [{"node": "(withheld)", "load": 0.5}]}},
                "benchmarks": {"b": {"warnings": ["other jobs ran on (withheld)"]}},
            })
        );
        let minimal = told(Disclosure::Minimal);
        assert_eq!(minimal["steps"][0]["message"], "(withheld)");
        assert_eq!(minimal["slurm"], Value::Null);
        assert_eq!(minimal["nodes"], json!([]));
        assert_eq!(minimal["steps"][0]["ranks"], 4);
    }
}
