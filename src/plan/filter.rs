//! Which steps were asked for: parts of names, and expressions such as `suite(unit) & !name(slow*)`.

use std::collections::HashSet;
use std::str::FromStr;

use globset::{Glob, GlobMatcher};
use thiserror::Error;

use super::matrix::Point;
use super::needs::Needs;
use super::{PlanError, Selection};
use crate::config::near;

/// A filter expression: `name(GLOB)`, `suite(X)`, `tag(X)`, `ranks(N)` with `&`, `|`, `!` and parentheses.
#[derive(Debug, Clone)]
pub struct Filter {
    text: String,
    root: Node,
}

impl PartialEq for Filter {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

#[derive(Debug, Clone)]
enum Node {
    Name(Pattern),
    Suite(Pattern),
    Tag(Pattern),
    Ranks(u32),
    Not(Box<Node>),
    All(Vec<Node>),
    Any(Vec<Node>),
}

/// A glob that also matches its own text, so that `name(halo[ranks=4])` means the step of that name.
#[derive(Debug, Clone)]
struct Pattern {
    text: String,
    glob: GlobMatcher,
}

impl Pattern {
    fn matches(&self, text: &str) -> bool {
        self.text == text || self.glob.is_match(text)
    }
}

/// Why a filter expression could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{text}` is not a filter: expected {expected} at character {}", position + 1)]
pub struct FilterError {
    /// The expression.
    pub text: String,
    /// Where it goes wrong, in characters from zero.
    pub position: usize,
    /// What could stand there.
    pub expected: String,
}

impl FilterError {
    /// Returns the expression with the place marked below it.
    #[must_use]
    pub fn help(&self) -> String {
        format!(
            "{}\n{}^ here\nknown are name(GLOB), suite(X), tag(X), ranks(N), with & | ! and ( )",
            self.text,
            " ".repeat(self.position)
        )
    }
}

impl FromStr for Filter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        let mut parser = Parser {
            text,
            at: 0,
            depth: 0,
        };
        let root = parser.any()?;
        if !parser.rest().is_empty() {
            return Err(parser.expected("`&`, `|` or the end"));
        }
        Ok(Self {
            text: text.to_owned(),
            root,
        })
    }
}

impl std::fmt::Display for Filter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

/// Deeper parentheses serve nobody, and would only use up the stack.
const DEEPEST: usize = 100;

struct Parser<'t> {
    text: &'t str,
    at: usize,
    depth: usize,
}

impl<'t> Parser<'t> {
    fn rest(&mut self) -> &'t str {
        let rest = &self.text[self.at..];
        let trimmed = rest.trim_start();
        self.at += rest.len() - trimmed.len();
        trimmed
    }

    fn eat(&mut self, sign: char) -> bool {
        let found = self.rest().starts_with(sign);
        if found {
            self.at += sign.len_utf8();
        }
        found
    }

    fn expected(&self, expected: &str) -> FilterError {
        FilterError {
            text: self.text.to_owned(),
            position: self.text[..self.at].chars().count(),
            expected: expected.to_owned(),
        }
    }

    fn any(&mut self) -> Result<Node, FilterError> {
        let mut nodes = vec![self.all()?];
        while self.eat('|') {
            nodes.push(self.all()?);
        }
        Ok(single(nodes, Node::Any))
    }

    fn all(&mut self) -> Result<Node, FilterError> {
        let mut nodes = vec![self.one()?];
        while self.eat('&') {
            nodes.push(self.one()?);
        }
        Ok(single(nodes, Node::All))
    }

    fn one(&mut self) -> Result<Node, FilterError> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(self.expected("fewer parentheses"));
        }
        let node = if self.eat('!') {
            Node::Not(Box::new(self.one()?))
        } else if self.eat('(') {
            let node = self.any()?;
            if !self.eat(')') {
                return Err(self.expected("`)`"));
            }
            node
        } else {
            self.atom()?
        };
        self.depth -= 1;
        Ok(node)
    }

    fn atom(&mut self) -> Result<Node, FilterError> {
        let rest = self.rest();
        let known = ["name", "suite", "tag", "ranks"];
        let word = known.into_iter().find(|word| {
            let after = rest.strip_prefix(word).map(str::trim_start);
            after.is_some_and(|after| after.starts_with('('))
        });
        let Some(word) = word else {
            return Err(self.expected("`name(…)`, `suite(…)`, `tag(…)`, `ranks(…)`, `!` or `(`"));
        };
        self.at += word.len();
        // The rest begins with the parenthesis that was looked for above.
        let opened = self.eat('(');
        debug_assert!(opened, "an atom has a parenthesis");
        let start = self.at;
        let argument = self.argument()?;
        let node = match word {
            "ranks" => Node::Ranks(
                argument
                    .parse()
                    .map_err(|_| self.mark(start, "a number of ranks"))?,
            ),
            word => {
                let glob = Glob::new(argument).map_err(|_| self.mark(start, "a pattern"))?;
                let pattern = Pattern {
                    text: argument.to_owned(),
                    glob: glob.compile_matcher(),
                };
                match word {
                    "name" => Node::Name(pattern),
                    "suite" => Node::Suite(pattern),
                    _ => Node::Tag(pattern),
                }
            }
        };
        Ok(node)
    }

    /// Reads up to the closing parenthesis; pairs of them may be part of a name.
    fn argument(&mut self) -> Result<&'t str, FilterError> {
        let start = self.at;
        let mut open = 0_usize;
        for (offset, c) in self.text[start..].char_indices() {
            match c {
                '(' => open += 1,
                ')' if open == 0 => {
                    self.at = start + offset + 1;
                    let argument = self.text[start..start + offset].trim();
                    if argument.is_empty() {
                        return Err(self.mark(start, "something between the parentheses"));
                    }
                    return Ok(argument);
                }
                ')' => open -= 1,
                _ => {}
            }
        }
        self.at = self.text.len();
        Err(self.expected("`)`"))
    }

    fn mark(&self, at: usize, expected: &str) -> FilterError {
        Parser {
            text: self.text,
            at,
            depth: 0,
        }
        .expected(expected)
    }
}

fn single(mut nodes: Vec<Node>, many: impl FnOnce(Vec<Node>) -> Node) -> Node {
    match nodes.pop() {
        Some(node) if nodes.is_empty() => node,
        last => {
            nodes.extend(last);
            many(nodes)
        }
    }
}

impl Filter {
    fn matches(&self, point: &Point) -> bool {
        self.root.matches(point)
    }
}

impl Node {
    fn matches(&self, point: &Point) -> bool {
        match self {
            Self::Name(pattern) => pattern.matches(&point.name),
            Self::Suite(pattern) => pattern.matches(&point.spec.suite),
            Self::Tag(pattern) => point.spec.tags.iter().any(|tag| pattern.matches(tag)),
            Self::Ranks(ranks) => point.spec.ranks == *ranks,
            Self::Not(node) => !node.matches(point),
            Self::All(nodes) => nodes.iter().all(|node| node.matches(point)),
            Self::Any(nodes) => nodes.iter().any(|node| node.matches(point)),
        }
    }
}

/// Returns the points that were asked for, and those that they need.
pub(super) fn select<'s>(
    points: Vec<Point<'s>>,
    selection: &Selection,
    notes: &mut Vec<String>,
) -> Result<Vec<Point<'s>>, PlanError> {
    let asked = |point: &Point| {
        let part = |part: &String| point.name.contains(part.as_str());
        point.wanted
            && (selection.names.is_empty() || selection.names.iter().any(part))
            && selection
                .filter
                .as_ref()
                .is_none_or(|filter| filter.matches(point))
            && selection
                .among
                .as_ref()
                .is_none_or(|among| among.contains(&point.name))
    };
    let mut fresh: Vec<usize> = (0..points.len())
        .filter(|index| asked(&points[*index]))
        .collect();
    if fresh.is_empty() {
        return Err(nothing(&points, selection));
    }
    let mut chosen: HashSet<usize> = fresh.iter().copied().collect();
    let edges = Needs::new(&points).edges()?;
    while let Some(index) = fresh.pop() {
        for needed in &edges[index] {
            if chosen.insert(*needed) {
                let (needed_by, name) = (&points[index].name, &points[*needed].name);
                notes.push(format!(
                    "`{name}` runs as well, because `{needed_by}` needs it"
                ));
                fresh.push(*needed);
            }
        }
    }
    let all = points.into_iter().enumerate();
    let kept = all.filter(|(index, _)| chosen.contains(index));
    Ok(kept.map(|(_, point)| point).collect())
}

fn nothing(points: &[Point], selection: &Selection) -> PlanError {
    let mut asked: Vec<String> = selection
        .names
        .iter()
        .map(|name| format!("`{name}`"))
        .collect();
    asked.extend(
        selection
            .filter
            .as_ref()
            .map(|filter| format!("`{filter}`")),
    );
    asked.extend(selection.ranks.map(|ranks| format!("`--ranks {ranks}`")));
    asked.extend(
        selection
            .features
            .iter()
            .map(|set| format!("`--features '{set}'`")),
    );
    if selection.among.is_some() {
        asked.push("`--failed`".to_owned());
    }
    match selection.kinds {
        super::Kinds::All => {}
        super::Kinds::Tests => asked.push("`--tests-only`".to_owned()),
        super::Kinds::Benchmarks => asked.push("`--benchmarks-only`".to_owned()),
    }
    let names: Vec<&str> = points.iter().map(|point| point.table).collect();
    let mut close: Vec<String> = selection
        .names
        .iter()
        .filter_map(|name| near(name, &names))
        .map(str::to_owned)
        .collect();
    close.dedup();
    PlanError::NothingSelected {
        asked: asked.join(" "),
        near: close,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn mistakes_are_marked() {
        let check = |text: &str, position: usize, expected: &str| {
            let error = Filter::from_str(text)
                .map(|_| ())
                .map_err(|error| (error.position, error.expected));
            assert_eq!(error, Err((position, expected.to_owned())), "{text}");
        };
        let atom = "`name(…)`, `suite(…)`, `tag(…)`, `ranks(…)`, `!` or `(`";
        check("", 0, atom);
        check("halo", 0, atom);
        check("name(a) &", 9, atom);
        check("name(a) name(b)", 8, "`&`, `|` or the end");
        check("(name(a)", 8, "`)`");
        check("name(a", 6, "`)`");
        check("name()", 5, "something between the parentheses");
        check("é | ranks(4)", 0, atom);
        check("ranks(four)", 6, "a number of ranks");
        check("name([)", 5, "a pattern");
        check(&"!".repeat(200), 100, "fewer parentheses");
    }

    #[test]
    fn the_help_marks_the_place() {
        let help = Filter::from_str("tag(a) & nam(b)").map_err(|error| error.help());
        assert_eq!(
            help.map(|_| ()),
            Err("tag(a) & nam(b)\n         ^ here\nknown are name(GLOB), suite(X), tag(X), ranks(N), with & | ! and ( )".to_owned())
        );
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "([!&|() ]|name|tag|ranks|[0-9\\[*é]){0,20}") {
            if let Ok(filter) = Filter::from_str(&text) {
                prop_assert_eq!(filter.to_string(), text);
            }
        }
    }
}
