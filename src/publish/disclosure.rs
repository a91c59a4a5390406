//! What a document tells on a branch or to a service that anybody may read: `[trust] disclosure`. Pure.
//!
//! Every field of every document has a class, as `x-disclosure` in `docs/schema/`: `public` (statuses, figures, and what they are
//! called), `site` (what the machine is) or `person` (users, accounts, hosts, paths, commands, and whatever is said in words, which
//! may name any of these). `anonymous` tells what is public or of the site, `minimal` what is public. A field without a class, or one
//! that the schema does not know, is told by neither. What is withheld leaves an empty list or null, or says so where a text has to
//! be: the document keeps its shape.

use std::sync::LazyLock;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::config::Disclosure;

/// What stands in the place of a text that a document cannot be without.
pub const WITHHELD: &str = "(withheld)";

/// A document that is published, by what its schema is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Document {
    /// `hpc-results.json`.
    Results,
    /// `meta.json`.
    Meta,
    /// `runs/RUN-ID.json`, `run.json` on the branch.
    Run,
    /// `tests/summary.json`.
    Tests,
    /// `benchmarks/summary.json`.
    Benchmarks,
    /// `coverage/summary.json`.
    Coverage,
}

impl Document {
    #[cfg(test)]
    const ALL: [Self; 6] = [
        Self::Results,
        Self::Meta,
        Self::Run,
        Self::Tests,
        Self::Benchmarks,
        Self::Coverage,
    ];

    fn schema(self) -> &'static Value {
        let [results, meta, run, tests, benchmarks, coverage] = &*SCHEMAS;
        match self {
            Self::Results => results,
            Self::Meta => meta,
            Self::Run => run,
            Self::Tests => tests,
            Self::Benchmarks => benchmarks,
            Self::Coverage => coverage,
        }
    }
}

/// The schemas, in the order of [`Document`]. One that cannot be read tells nothing.
static SCHEMAS: LazyLock<[Value; 6]> = LazyLock::new(|| {
    [
        include_str!("../../docs/schema/hpc-results.json"),
        include_str!("../../docs/schema/meta.json"),
        include_str!("../../docs/schema/run.json"),
        include_str!("../../docs/schema/tests-summary.json"),
        include_str!("../../docs/schema/benchmarks-summary.json"),
        include_str!("../../docs/schema/coverage-summary.json"),
    ]
    .map(parsed)
});

/// What the schemas share.
static COMMON: LazyLock<Value> =
    LazyLock::new(|| parsed(include_str!("../../docs/schema/common.json")));

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_default()
}

/// Who a field tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Public,
    Site,
    Person,
}

/// Takes out of a document what must not be told.
pub fn withhold(document: &mut Value, kind: Document, level: Disclosure) {
    if level != Disclosure::Full {
        clean(document, &[kind.schema()], level);
    }
}

/// Returns a document as a reader of this level has it.
pub fn told<T: Serialize + DeserializeOwned>(
    document: &T,
    kind: Document,
    level: Disclosure,
) -> Result<T, serde_json::Error> {
    let mut value = serde_json::to_value(document)?;
    withhold(&mut value, kind, level);
    serde_json::from_value(value)
}

/// Takes out of a value what a reader of this level must not have; `schemas` are those that speak of it where it stands.
fn clean(value: &mut Value, schemas: &[&'static Value], level: Disclosure) {
    let all = expanded(schemas);
    let class = class(schemas, &all);
    match value {
        Value::Null => {}
        Value::Object(object) => {
            if class.is_some_and(|class| !may_tell(level, class)) {
                *value = withheld(&all, Value::Object(Map::new()));
                return;
            }
            object.retain(|key, value| {
                let (inner, names) = member(&all, key);
                let known = !inner.is_empty() && names.is_none_or(|class| may_tell(level, class));
                if known {
                    clean(value, &inner, level);
                }
                known
            });
        }
        Value::Array(list) => {
            if class.is_some_and(|class| !may_tell(level, class)) {
                *value = withheld(&all, Value::Array(Vec::new()));
                return;
            }
            let items = |index: usize| element(&all, index);
            let mut index = 0;
            list.retain_mut(|value| {
                let inner = items(index);
                index += 1;
                let is_one = !(value.is_object() || value.is_array());
                let told = self::class(&inner, &expanded(&inner));
                if is_one && !may_tell(level, told.unwrap_or(Class::Person)) || inner.is_empty() {
                    return false;
                }
                clean(value, &inner, level);
                true
            });
        }
        Value::String(text) if may_tell(level, class.unwrap_or(Class::Person)) => {
            // A name may be a path where nobody expects one.
            if level != Disclosure::Full && text.contains('/') {
                *text = without_paths(text);
            }
        }
        Value::Number(_) | Value::Bool(_) if may_tell(level, class.unwrap_or(Class::Person)) => {}
        Value::String(_) => *value = withheld(&all, Value::from(WITHHELD)),
        Value::Number(_) | Value::Bool(_) => *value = Value::Null,
    }
}

fn may_tell(level: Disclosure, class: Class) -> bool {
    match level {
        Disclosure::Full => true,
        Disclosure::Anonymous => class <= Class::Site,
        Disclosure::Minimal => class == Class::Public,
    }
}

/// Returns null where a document may have that, else what is given.
fn withheld(schemas: &[&Value], otherwise: Value) -> Value {
    let is_null = |schema: &&Value| {
        let types = &schema["type"];
        let listed = |list: &Value| {
            list.as_array()
                .is_some_and(|it| it.contains(&"null".into()))
        };
        types == "null"
            || listed(types)
            || schema["enum"]
                .as_array()
                .is_some_and(|it| it.contains(&Value::Null))
    };
    if schemas.iter().any(is_null) {
        Value::Null
    } else {
        otherwise
    }
}

/// Returns the class of a value: what is said where it stands, else the strictest of what is said elsewhere.
fn class(here: &[&Value], all: &[&Value]) -> Option<Class> {
    let strictest = |schemas: &[&Value]| schemas.iter().filter_map(|it| own_class(it)).max();
    strictest(here).or_else(|| strictest(all))
}

fn own_class(schema: &Value) -> Option<Class> {
    Some(match schema.get("x-disclosure")?.as_str() {
        Some("public") => Class::Public,
        Some("site") => Class::Site,
        _ => Class::Person,
    })
}

/// Returns the schemas together with those that they refer to, and their alternatives.
fn expanded(schemas: &[&'static Value]) -> Vec<&'static Value> {
    let mut all = Vec::new();
    let mut pending = schemas.to_vec();
    while let Some(schema) = pending.pop() {
        all.push(schema);
        let place = schema["$ref"]
            .as_str()
            .and_then(|it| it.strip_prefix("common.json#"));
        pending.extend(place.and_then(|place| COMMON.pointer(place)));
        for alternatives in ["anyOf", "oneOf"] {
            pending.extend(schema[alternatives].as_array().into_iter().flatten());
        }
    }
    all
}

/// Returns the schemas of an object's member; of a table with names that others chose, also the class of these.
fn member(schemas: &[&'static Value], key: &str) -> (Vec<&'static Value>, Option<Class>) {
    let properties = schemas
        .iter()
        .filter_map(|it| it.get("properties")?.get(key));
    let properties: Vec<&Value> = properties.collect();
    if !properties.is_empty() {
        return (properties, None);
    }
    let tables = schemas
        .iter()
        .filter(|it| it["additionalProperties"].is_object());
    let names = tables
        .clone()
        .map(|it| own_class(&it["propertyNames"]).unwrap_or(Class::Person));
    let names = names.max().unwrap_or(Class::Person);
    (
        tables.map(|it| &it["additionalProperties"]).collect(),
        Some(names),
    )
}

/// Returns the schemas of a list's element.
fn element(schemas: &[&'static Value], index: usize) -> Vec<&'static Value> {
    let of = |schema: &&'static Value| {
        let place = schema.get("prefixItems").and_then(|it| it.get(index));
        place.or_else(|| schema.get("items"))
    };
    schemas.iter().filter_map(of).collect()
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
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::results::artifact::{Content, RunFiles};
    use crate::results::finished_example as example;
    use crate::results::picture;
    use crate::results::record::meta_example;

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

    const LEVELS: [Disclosure; 2] = [Disclosure::Anonymous, Disclosure::Minimal];

    /// A place in a document where a value stands, or a name that others chose.
    struct Leaf {
        path: String,
        class: Option<Class>,
        /// The strictest class of what holds it.
        around: Class,
        /// Whether something can stand there that says nothing.
        can_be_blank: bool,
    }

    /// Makes a document that has every field, and in every text one that is found nowhere else.
    fn filled(kind: Document) -> (Value, Vec<Leaf>) {
        let mut leaves = Vec::new();
        let document = fill(
            &[kind.schema()],
            &kind_name(kind),
            Class::Public,
            &mut leaves,
        );
        (document, leaves)
    }

    fn kind_name(kind: Document) -> String {
        format!("{kind:?}").to_lowercase()
    }

    fn canary(path: &str) -> String {
        format!("canary<{path}>")
    }

    fn fill(
        schemas: &[&'static Value],
        path: &str,
        around: Class,
        leaves: &mut Vec<Leaf>,
    ) -> Value {
        let all = expanded(schemas);
        let class = class(schemas, &all);
        let inside = class.unwrap_or(around).max(around);
        let mut object = Map::new();
        for schema in &all {
            for key in schema["properties"]
                .as_object()
                .into_iter()
                .flat_map(Map::keys)
            {
                let (inner, _) = member(&all, key);
                object.insert(
                    key.clone(),
                    fill(&inner, &format!("{path}.{key}"), inside, leaves),
                );
            }
            if schema["additionalProperties"].is_object() {
                let names = format!("{path}.*");
                let class = own_class(&schema["propertyNames"]);
                leaves.push(Leaf {
                    path: names.clone(),
                    class,
                    around: inside,
                    can_be_blank: true,
                });
                let inside = inside.max(class.unwrap_or(Class::Person));
                let inner = [&schema["additionalProperties"]];
                object.insert(
                    canary(&names),
                    fill(&inner, &format!("{path}.value"), inside, leaves),
                );
            }
        }
        if !object.is_empty() {
            return Value::Object(object);
        }
        let lists: Vec<&&Value> = all.iter().filter(|it| it["type"] == "array").collect();
        if let Some(list) = lists.first() {
            let several = list["prefixItems"].as_array().map_or(1, Vec::len);
            let elements = (0..several).map(|index| {
                fill(
                    &element(&all, index),
                    &format!("{path}[{index}]"),
                    inside,
                    leaves,
                )
            });
            return Value::Array(elements.collect());
        }
        let text = all.iter().any(|it| {
            let types = &it["type"];
            types == "string"
                || types
                    .as_array()
                    .is_some_and(|it| it.contains(&"string".into()))
        });
        let fixed = all
            .iter()
            .any(|it| it.get("enum").is_some() || it.get("pattern").is_some());
        let in_list = path.ends_with(']');
        leaves.push(Leaf {
            can_be_blank: in_list || withheld(&all, Value::from("x")).is_null() || text && !fixed,
            path: path.to_owned(),
            class,
            around,
        });
        Value::from(canary(path))
    }

    #[test]
    fn every_field_has_a_class_and_can_be_withheld() {
        for kind in Document::ALL {
            assert!(kind.schema().is_object(), "{kind:?}");
            let (_, leaves) = filled(kind);
            assert!(leaves.len() > 5, "{kind:?}");
            for leaf in leaves {
                let path = &leaf.path;
                let class = leaf.class;
                assert!(class.is_some(), "`{path}` has no `x-disclosure`");
                let class = class.unwrap_or(Class::Person);
                let dropped =
                    leaf.around == Class::Person || leaf.around >= class && class > Class::Public;
                assert!(
                    class == Class::Public || leaf.can_be_blank || dropped,
                    "`{path}` cannot be blank"
                );
            }
        }
    }

    /// No container is public: what is added to it later would be told unasked.
    #[test]
    fn nothing_is_public_because_of_what_holds_it() {
        fn look(schema: &Value, at: &str) {
            let holds = ["properties", "additionalProperties", "items", "prefixItems"];
            if holds.iter().any(|key| schema.get(key).is_some()) {
                assert!(own_class(schema) != Some(Class::Public), "{at}");
            }
            match schema {
                Value::Object(object) => object
                    .iter()
                    .for_each(|(key, it)| look(it, &format!("{at}/{key}"))),
                Value::Array(list) => list.iter().for_each(|it| look(it, at)),
                _ => {}
            }
        }
        SCHEMAS
            .iter()
            .chain([&*COMMON])
            .for_each(|schema| look(schema, ""));
    }

    #[test]
    fn what_survives_is_what_the_classes_allow() {
        for kind in Document::ALL {
            for level in LEVELS {
                let (mut document, leaves) = filled(kind);
                withhold(&mut document, kind, level);
                let text = document.to_string();
                for leaf in leaves {
                    let class = leaf.class.unwrap_or(Class::Person).max(leaf.around);
                    let path = &leaf.path;
                    let survives = text.contains(&canary(path));
                    assert_eq!(survives, may_tell(level, class), "`{path}` at {level:?}");
                }
            }
        }
    }

    /// A field that is written and stands in no schema would be missing on every branch that tells less than all.
    #[test]
    fn every_field_of_a_run_is_known_to_its_schema() {
        let run = example::run();
        let files = RunFiles::new(&run, meta_example::run_meta(), Vec::new()).unwrap();
        let picture = picture::compose(None, &files.entry, &files.meta, run.finished_at);
        let of = |path: &str| {
            let found = files.files.iter().find(|file| file.path == path);
            match &found.unwrap().content {
                Content::Bytes(bytes) => serde_json::from_slice(bytes).unwrap(),
                Content::File(_) => Value::Null,
            }
        };
        for (kind, document) in [
            (Document::Run, serde_json::to_value(&files.entry).unwrap()),
            (Document::Meta, serde_json::to_value(&picture.meta).unwrap()),
            (
                Document::Results,
                serde_json::to_value(&picture.results).unwrap(),
            ),
            (Document::Tests, of("tests/summary.json")),
            (Document::Benchmarks, of("benchmarks/summary.json")),
        ] {
            let mut known = document.clone();
            clean(&mut known, &[kind.schema()], Disclosure::Full);
            assert_eq!(known, document, "{kind:?}");
        }
    }

    #[test]
    fn what_no_schema_knows_is_not_told() {
        for level in LEVELS {
            for kind in Document::ALL {
                let mut document = json!({
                    "status": "passed", "options": ["--account=phys123"], "more": {"host": "login1"},
                    "steps": [{"name": "halo", "owner": "ada"}], "hpc": {"toolchain": {"user": "ada"}},
                    "runs": [{"nodes": {"ada": "ada"}, "launch": "phys123"}, "ada-1"],
                    "commit": ["ada"], "missing": "phys123", "files": {"ada": {"ada": 1}},
                });
                // What a list of runs holds is public where it is their names.
                if kind == Document::Results {
                    document["runs"] = json!(["run-1"]);
                }
                withhold(&mut document, kind, level);
                let text = document.to_string().replace("\"files\":{\"ada\":{}}", "");
                for secret in ["ada", "phys123", "login1"] {
                    assert!(!text.contains(secret), "{secret} in {kind:?}: {text}");
                }
            }
        }
    }

    #[test]
    fn levels_tell_less_and_keep_the_shape() {
        let document = json!({
            "schema_version": 1, "commit": "0".repeat(40), "status": "failed",
            "failing": [{"step": "halo", "test": null, "outcome": "failed", "message": "n1: no such account: phys"}],
            "steps": [{"name": "halo", "job_id": "71", "nodes": ["n1", "n2"], "message": "at /home/ada/x/y", "log": "a/b.log",
                "ranks": 4, "slurm_state": "FAILED", "reproduce": "hpc-ci run halo"}],
            "missing": ["the log of n1"],
        });
        let told = |level| {
            let mut document = document.clone();
            withhold(&mut document, Document::Tests, level);
            document
        };
        assert_eq!(told(Disclosure::Full), document);
        assert_eq!(
            told(Disclosure::Anonymous),
            json!({
                "schema_version": 1, "commit": "0".repeat(40), "status": "failed",
                "failing": [{"step": "halo", "test": null, "outcome": "failed", "message": "(withheld)"}],
                "steps": [{"name": "halo", "job_id": "71", "nodes": [], "message": null, "log": null, "ranks": 4,
                    "slurm_state": "FAILED", "reproduce": null}],
                "missing": [],
            })
        );
        let minimal = told(Disclosure::Minimal);
        assert_eq!(minimal["steps"][0]["job_id"], Value::Null);
        assert_eq!(minimal["steps"][0]["slurm_state"], Value::Null);
        assert_eq!(minimal["steps"][0]["ranks"], 4);
    }
}
