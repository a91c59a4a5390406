//! `$VAR`, `${VAR}`, `${VAR:-default}` and a leading `~` in paths.

use super::Context;
use super::suggest;

/// Why a path could not be expanded, with the part that is at fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PathFault {
    pub(super) code: &'static str,
    pub(super) part: String,
    pub(super) message: String,
    pub(super) label: String,
    pub(super) help: Option<String>,
}

/// Returns the path with variables replaced. `$$` stands for one dollar sign.
pub(super) fn expand_path(text: &str, context: &Context) -> Result<String, PathFault> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    if text == "~" || text.starts_with("~/") {
        let home = context.home.or_else(|| variable(context, "HOME"));
        expanded.push_str(home.ok_or_else(no_home)?);
        rest = &text[1..];
    }
    while let Some(dollar) = rest.find('$') {
        expanded.push_str(&rest[..dollar]);
        let reference = Reference::parse(&rest[dollar..])?;
        match reference.name {
            None => expanded.push('$'),
            Some(name) => match variable(context, name).or(reference.default) {
                Some(value) => expanded.push_str(value),
                None => return Err(undefined(reference.typed, name, context)),
            },
        }
        rest = &rest[dollar + reference.typed.len()..];
    }
    expanded.push_str(rest);
    Ok(expanded)
}

/// A part of a path whose variables are those of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodePathPart {
    /// These characters.
    Text(String),
    /// The value of a variable.
    Variable {
        /// Its name.
        name: String,
        /// What stands for it where it is not set.
        default: Option<String>,
    },
}

/// Returns the parts of a path that is put together on a node; none if something is no reference to a variable.
#[must_use]
pub fn node_path_parts(text: &str) -> Option<Vec<NodePathPart>> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        let (before, from) = rest.split_at(dollar);
        parts.push(NodePathPart::Text(before.to_owned()));
        let reference = Reference::parse(from).ok()?;
        parts.push(match reference.name {
            None => NodePathPart::Text("$".to_owned()),
            Some(name) => NodePathPart::Variable {
                name: name.to_owned(),
                default: reference.default.map(str::to_owned),
            },
        });
        rest = &from[reference.typed.len()..];
    }
    parts.push(NodePathPart::Text(rest.to_owned()));
    parts.retain(|part| *part != NodePathPart::Text(String::new()));
    Some(parts)
}

/// A set variable; an empty one counts as unset, as `:-` has it in a shell.
fn variable<'c>(context: &'c Context, name: &str) -> Option<&'c str> {
    let value = context.environment.get(name).map(String::as_str);
    value.filter(|value| !value.is_empty())
}

struct Reference<'t> {
    typed: &'t str,
    name: Option<&'t str>,
    default: Option<&'t str>,
}

impl<'t> Reference<'t> {
    /// Reads a reference from text that begins with a dollar sign.
    fn parse(text: &'t str) -> Result<Self, PathFault> {
        let after = &text[1..];
        if after.starts_with('$') {
            return Ok(Self {
                typed: &text[..2],
                name: None,
                default: None,
            });
        }
        let Some(inner) = after.strip_prefix('{') else {
            let name = leading_name(after);
            return match name {
                "" => Err(malformed(text)),
                name => Ok(Self {
                    typed: &text[..=name.len()],
                    name: Some(name),
                    default: None,
                }),
            };
        };
        let close = inner.find('}').ok_or_else(|| malformed(text))?;
        let name = leading_name(&inner[..close]);
        let tail = &inner[name.len()..close];
        let default = tail.strip_prefix(":-");
        if name.is_empty() || (default.is_none() && !tail.is_empty()) {
            return Err(malformed(text));
        }
        Ok(Self {
            typed: &text[..close + 3],
            name: Some(name),
            default,
        })
    }
}

fn leading_name(text: &str) -> &str {
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return "";
    }
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    &text[..end.unwrap_or(text.len())]
}

fn undefined(part: &str, name: &str, context: &Context) -> PathFault {
    let names: Vec<&str> = context.environment.keys().map(String::as_str).collect();
    let near = suggest::near(name, &names).map(|near| format!("did you mean `${near}`?"));
    let default = format!("set it, or give a default: `${{{name}:-default}}`");
    PathFault {
        code: "undefined-variable",
        part: part.to_owned(),
        message: format!("the variable `{name}` is not set"),
        label: "not set".to_owned(),
        help: near.or(Some(default)),
    }
}

fn malformed(text: &str) -> PathFault {
    PathFault {
        code: "malformed-variable",
        part: text.to_owned(),
        message: "this is not a reference to a variable".to_owned(),
        label: "expected `$NAME` or `${NAME:-default}`".to_owned(),
        help: Some("write `$$` for a dollar sign".to_owned()),
    }
}

fn no_home() -> PathFault {
    PathFault {
        code: "undefined-variable",
        part: "~".to_owned(),
        message: "`~` stands for the home directory, which is not known".to_owned(),
        label: "not known".to_owned(),
        help: Some("set `HOME`, or write the path in full".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn variables_and_the_home_are_replaced() {
        let environment = BTreeMap::from([
            ("SCRATCH".to_owned(), "/scratch".to_owned()),
            ("EMPTY".to_owned(), String::new()),
        ]);
        let context = Context {
            environment: &environment,
            home: Some("/home/ada"),
            cluster: None,
        };
        let check = |text: &str, expected: Result<&str, &str>| {
            let found = expand_path(text, &context).map_err(|fault| fault.part);
            assert_eq!(found.as_deref().map_err(String::as_str), expected, "{text}");
        };
        check("hpc-ci", Ok("hpc-ci"));
        check("$SCRATCH/x", Ok("/scratch/x"));
        check("${SCRATCH}x", Ok("/scratchx"));
        check("${NONE:-/tmp}/x", Ok("/tmp/x"));
        check("${EMPTY:-/tmp}", Ok("/tmp"));
        check("${NONE:-}x", Ok("x"));
        check("~/x", Ok("/home/ada/x"));
        check("~", Ok("/home/ada"));
        check("~ada/x", Ok("~ada/x"));
        check("a~/x", Ok("a~/x"));
        check("$$x/$$", Ok("$x/$"));
        check("$SCRATCHX", Err("$SCRATCHX"));
        check("${NONE}/x", Err("${NONE}"));
        check("$EMPTY/x", Err("$EMPTY"));
        check("${SCRATCH", Err("${SCRATCH"));
        check("${SCRATCH-x}", Err("${SCRATCH-x}"));
        check("x$", Err("$"));
        check("$1", Err("$1"));
        check("$é", Err("$é"));
    }

    #[test]
    fn paths_of_nodes_are_split_at_their_variables() {
        let text = |text: &str| NodePathPart::Text(text.to_owned());
        let variable = |name: &str, default: Option<&str>| NodePathPart::Variable {
            name: name.to_owned(),
            default: default.map(str::to_owned),
        };
        let check = |path: &str, expected: Option<Vec<NodePathPart>>| {
            assert_eq!(node_path_parts(path), expected, "{path}");
        };
        check("", Some(vec![]));
        check("/local", Some(vec![text("/local")]));
        check(
            "${TMPDIR:-/tmp}",
            Some(vec![variable("TMPDIR", Some("/tmp"))]),
        );
        check(
            "$SCRATCH/x$$",
            Some(vec![variable("SCRATCH", None), text("/x"), text("$")]),
        );
        check("/a${B", None);
        check("/a$", None);
    }

    #[test]
    fn without_a_home_there_is_no_tilde() {
        let environment = BTreeMap::new();
        let context = Context {
            environment: &environment,
            home: None,
            cluster: None,
        };
        let found = expand_path("~/x", &context).map_err(|fault| fault.part);
        assert_eq!(found, Err("~".to_owned()));
    }
}
