//! A Makefile, read as text: variables, rules, and a few functions of make. What needs a shell is left open.

use std::collections::{BTreeMap, BTreeSet};

use super::super::tree::{Tree, stem};
use super::sources;

/// How deep variables may stand in one another.
const DEPTH: u32 = 12;

/// Rules and variables of a Makefile.
#[derive(Debug, Default)]
pub(super) struct Makefile {
    /// Variables with their text as it stands.
    variables: BTreeMap<String, String>,
    /// Those that a variable of the environment cannot change.
    fixed: BTreeSet<String>,
    /// Rules with names, none with `%`.
    rules: Vec<Rule>,
    /// Rules for names with `%`.
    patterns: Vec<Rule>,
    /// Names that are no files.
    phony: BTreeSet<String>,
}

/// A rule: targets, what they need and how they are made.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) targets: Vec<String>,
    pub(super) needs: Vec<String>,
    pub(super) recipe: String,
}

impl Makefile {
    /// Reads a Makefile, and those of the clone that it includes.
    pub(super) fn read(tree: &Tree, text: &str) -> Self {
        let mut makefile = Self::default();
        let mut raw: Vec<Rule> = Vec::new();
        makefile.take(tree, text, &mut raw, 0);
        for rule in raw {
            makefile.add(tree, &rule);
        }
        makefile
    }

    /// Returns whether there is a rule for a name.
    pub(super) fn has_target(&self, name: &str) -> bool {
        self.rules
            .iter()
            .any(|rule| rule.targets.iter().any(|target| target == name))
    }

    /// Returns the recipes of a name and of what it needs that is no file.
    pub(super) fn recipes(&self, name: &str) -> String {
        let mut text = String::new();
        let mut left = vec![name];
        let mut seen = BTreeSet::new();
        while let Some(name) = left.pop().filter(|_| seen.len() < 1000) {
            if !seen.insert(name) {
                continue;
            }
            for rule in self.rules_of(name) {
                text.push_str(&rule.recipe);
                let needs = rule.needs.iter().map(String::as_str);
                left.extend(needs.filter(|need| self.phony.contains(*need)));
            }
        }
        text
    }

    /// Returns what a variable is set to by `=` or `:=`, which beat the environment.
    pub(super) fn fixed(&self, name: &str) -> Option<&str> {
        let value = self.variables.get(name)?;
        self.fixed.contains(name).then_some(value.as_str())
    }

    /// Returns the names that a recipe links, as far as they can be told.
    pub(super) fn programs(&self, tree: &Tree) -> Vec<String> {
        let mut names: Vec<&str> = Vec::new();
        for rule in &self.rules {
            let both = rule.targets.iter().chain(&rule.needs);
            for name in both.map(String::as_str) {
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        let links = |name: &&str| {
            !self.phony.contains(*name)
                && !name.contains(['$', '%'])
                && !tree.has(name)
                && self.is_linked(tree, name)
        };
        names.into_iter().filter(links).map(str::to_owned).collect()
    }

    fn rules_of<'m>(&'m self, name: &'m str) -> impl Iterator<Item = &'m Rule> {
        self.rules
            .iter()
            .filter(move |rule| rule.targets.iter().any(|target| target == name))
    }

    fn is_linked(&self, tree: &Tree, name: &str) -> bool {
        let own = self.rules_of(name).find(|rule| !rule.recipe.is_empty());
        let by_pattern = || {
            // A pattern fits names that nothing could be made of.
            sources::of_program(tree, name)?;
            let fits = |rule: &&Rule| {
                rule.targets
                    .iter()
                    .any(|target| matched(target, name).is_some())
            };
            self.patterns.iter().find(fits)
        };
        own.or_else(by_pattern)
            .is_some_and(|rule| rule.recipe.lines().any(|line| links(line, name)))
    }

    fn take(&mut self, tree: &Tree, text: &str, rules: &mut Vec<Rule>, depth: u32) {
        let joined = text.replace("\\\n", " ");
        let mut defining = false;
        for line in joined.lines() {
            if let Some(recipe) = line.strip_prefix('\t') {
                if let Some(rule) = rules.last_mut() {
                    rule.recipe.push_str(recipe);
                    rule.recipe.push('\n');
                }
                continue;
            }
            let line = line.split('#').next().unwrap_or_default().trim();
            match line.split_whitespace().next() {
                Some("define") => defining = true,
                Some("endef") => defining = false,
                Some("include" | "-include" | "sinclude") if depth < DEPTH => {
                    let names = self.expand(tree, &line[line.find(' ').unwrap_or(line.len())..]);
                    for name in names.split_whitespace() {
                        if let Some(text) = tree.text(name) {
                            self.take(tree, text, rules, depth + 1);
                        }
                    }
                }
                Some(_) if !defining && !self.assign(line) => rules.extend(rule(line)),
                Some(_) | None => {}
            }
        }
    }

    /// Takes `NAME = VALUE` and its relatives.
    fn assign(&mut self, line: &str) -> bool {
        let Some(at) = line.find('=') else {
            return false;
        };
        let (before, value) = (&line[..at], line[at + 1..].trim());
        let name = before.trim_end_matches([':', '?', '+', '!']);
        let operator = &before[name.len()..];
        let mut words = name
            .split_whitespace()
            .filter(|word| !["export", "override"].contains(word));
        let (Some(name), None) = (words.next(), words.next()) else {
            return false;
        };
        if name.contains([':', '$']) {
            return false;
        }
        let known = self.variables.entry(name.to_owned()).or_default();
        match operator {
            "+" => *known = format!("{known} {value}"),
            "?" if !known.is_empty() => {}
            "!" => known.clear(),
            _ => value.clone_into(known),
        }
        if operator.is_empty() || operator.starts_with(':') {
            self.fixed.insert(name.to_owned());
        }
        true
    }

    fn add(&mut self, tree: &Tree, raw: &Rule) {
        let words = |list: &[String]| -> Vec<String> {
            let text = self.expand(tree, &list.join(" "));
            text.split_whitespace().map(str::to_owned).collect()
        };
        let rule = Rule {
            targets: words(&raw.targets),
            needs: words(&raw.needs),
            recipe: raw.recipe.clone(),
        };
        if rule.targets == [".PHONY"] {
            self.phony.extend(rule.needs);
        } else if rule.targets.iter().any(|target| target.contains('%')) {
            self.patterns.push(rule);
        } else {
            self.rules.push(rule);
        }
    }

    /// Replaces variables, and the functions that work on words; of others a dollar sign is left.
    fn expand(&self, tree: &Tree, text: &str) -> String {
        self.expand_at(tree, text, 0)
    }

    fn expand_at(&self, tree: &Tree, text: &str, depth: u32) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            out.push_str(&rest[..at]);
            rest = &rest[at..];
            let Some((inner, end)) = reference(rest) else {
                out.push('$');
                rest = &rest[1..];
                continue;
            };
            let value = if depth < DEPTH {
                self.value(tree, inner, depth + 1)
            } else {
                None
            };
            // A word with a dollar sign in it is one that nobody knows.
            out.push_str(value.as_deref().unwrap_or("$"));
            rest = &rest[end..];
        }
        out.push_str(rest);
        out
    }

    fn value(&self, tree: &Tree, inner: &str, depth: u32) -> Option<String> {
        let expand = |text: &str| self.expand_at(tree, text, depth);
        if let Some(value) = self.variables.get(inner) {
            return Some(expand(value));
        }
        if let Some((name, arguments)) = inner.split_once(char::is_whitespace) {
            let arguments: Vec<String> = split_arguments(arguments)
                .into_iter()
                .map(|argument| expand(argument.trim()))
                .collect();
            return function(tree, name, &arguments);
        }
        // `$(NAME:FROM=TO)`
        let (name, change) = inner.split_once(':')?;
        let (from, to) = change.split_once('=')?;
        let value = expand(self.variables.get(name)?);
        let (from, to) = if from.contains('%') {
            (from.to_owned(), to.to_owned())
        } else {
            (format!("%{from}"), format!("%{to}"))
        };
        Some(each(&value, |word| substituted(word, &from, &to)))
    }
}

/// Reads `TARGETS: NEEDS` and `TARGETS: PATTERN: NEEDS`, with a recipe behind `;` if there is one.
fn rule(line: &str) -> Option<Rule> {
    let at = colon(line)?;
    let (targets, rest) = (&line[..at], line[at + 1..].trim_start_matches(':'));
    let (needs, recipe) = rest.split_once(';').unwrap_or((rest, ""));
    let words = |text: &str| vec![text.trim().to_owned()];
    let recipe = if recipe.is_empty() {
        String::new()
    } else {
        format!("{}\n", recipe.trim())
    };
    // Of a static pattern the targets are named, and what they need has `%`.
    let needs = match needs.split_once(": ") {
        Some((pattern, needs)) if pattern.contains('%') => needs,
        _ => needs,
    };
    Some(Rule {
        targets: words(targets),
        needs: words(needs),
        recipe,
    })
}

/// Returns where the first colon outside of references is.
fn colon(line: &str) -> Option<usize> {
    let mut depth = 0_i32;
    line.find(|c: char| {
        match c {
            '(' | '{' => depth += 1,
            ')' | '}' => depth -= 1,
            _ => {}
        }
        c == ':' && depth <= 0
    })
}

/// Returns what stands in `$(…)` or `${…}` at the beginning, and where it ends.
fn reference(text: &str) -> Option<(&str, usize)> {
    let open = text.as_bytes().get(1)?;
    let (open, close) = match open {
        b'(' => ('(', ')'),
        b'{' => ('{', '}'),
        _ => return None,
    };
    let mut depth = 0_u32;
    for (at, c) in text.char_indices().skip(1) {
        if c == open {
            depth += 1;
        } else if c == close {
            depth -= 1;
            if depth == 0 {
                return Some((&text[2..at], at + 1));
            }
        }
    }
    None
}

/// Splits at the commas outside of references.
fn split_arguments(text: &str) -> Vec<&str> {
    let mut depth = 0_i32;
    text.split(|c: char| {
        match c {
            '(' | '{' => depth += 1,
            ')' | '}' => depth -= 1,
            _ => {}
        }
        c == ',' && depth == 0
    })
    .collect()
}

fn function(tree: &Tree, name: &str, arguments: &[String]) -> Option<String> {
    match (name, arguments) {
        ("wildcard", [patterns]) => {
            let fits = |path: &&str| {
                let mut patterns = patterns.split_whitespace();
                patterns.any(|pattern| is_like(pattern, path))
            };
            Some(tree.paths().filter(fits).collect::<Vec<_>>().join(" "))
        }
        ("patsubst", [from, to, words]) => Some(each(words, |word| substituted(word, from, to))),
        ("addprefix", [prefix, words]) => Some(each(words, |word| format!("{prefix}{word}"))),
        ("addsuffix", [suffix, words]) => Some(each(words, |word| format!("{word}{suffix}"))),
        ("notdir", [words]) => Some(each(words, |word| {
            word.rsplit('/').next().unwrap_or(word).to_owned()
        })),
        ("basename", [words]) => Some(each(words, |word| {
            word.rsplit_once('.')
                .map_or(word, |(stem, _)| stem)
                .to_owned()
        })),
        ("sort" | "strip", [words]) => Some(words.clone()),
        _ => None,
    }
}

fn each(words: &str, change: impl Fn(&str) -> String) -> String {
    let words: Vec<String> = words.split_whitespace().map(change).collect();
    words.join(" ")
}

fn substituted(word: &str, from: &str, to: &str) -> String {
    matched(from, word).map_or_else(|| word.to_owned(), |middle| to.replacen('%', middle, 1))
}

/// Returns what `%` stands for where a name fits a pattern.
fn matched<'n>(pattern: &str, name: &'n str) -> Option<&'n str> {
    let (start, end) = pattern.split_once('%')?;
    let middle = name.strip_prefix(start)?.strip_suffix(end)?;
    (!middle.is_empty()).then_some(middle)
}

/// Whether a path fits a pattern with one `*`, which stays in its folder.
fn is_like(pattern: &str, path: &str) -> bool {
    let pattern = pattern.trim_start_matches("./");
    match pattern.split_once('*') {
        None => pattern == path,
        Some((start, end)) => path
            .strip_prefix(start)
            .and_then(|rest| rest.strip_suffix(end))
            .is_some_and(|middle| !middle.contains('/')),
    }
}

/// Whether a line of a recipe makes a program, and not an object, a library or something else.
fn links(line: &str, name: &str) -> bool {
    let words: Vec<&str> = line.split_whitespace().collect();
    let at = words.iter().position(|word| *word == "-o");
    let made = at.and_then(|at| words.get(at + 1));
    let is_it =
        made.is_some_and(|made| ["$@", "${@}", "$(@)"].contains(made) || stem(made) == stem(name));
    let file = name.rsplit('/').next().unwrap_or(name);
    is_it
        && !words.contains(&"-c")
        && !words.contains(&"-shared")
        && !["o", "so", "a"].iter().any(|ending| has_part(file, ending))
}

/// Whether one of the parts behind dots is this, as in `libheat.so.1`.
fn has_part(file: &str, ending: &str) -> bool {
    file.split('.').skip(1).any(|part| part == ending)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn programs(files: &[(&str, &str)]) -> Vec<String> {
        let mut tree = Tree::default();
        for (path, text) in files {
            tree.add(*path, Some((*text).to_owned()));
        }
        let text = tree.text("Makefile").unwrap_or_default().to_owned();
        Makefile::read(&tree, &text).programs(&tree)
    }

    #[test]
    fn programs_are_what_recipes_link() {
        let heat = include_str!("../../../examples/heat/Makefile");
        assert_eq!(
            programs(&[("Makefile", heat)]),
            [
                "build/heat",
                "build/unit",
                "build/halo",
                "build/conservation"
            ]
        );
        let patterns = "SRC := $(wildcard tests/*.c)\nTESTS = $(patsubst tests/%.c,bin/%,$(SRC))\n\
                        all: $(TESTS) \\\n  lib.a\nbin/%: tests/%.o\n\t$(CC) -o $@ $^\n%.o: %.c\n\t$(CC) -c -o $@ $<\n";
        assert_eq!(
            programs(&[("Makefile", patterns), ("tests/a.c", ""), ("tests/b.c", "")]),
            ["bin/a", "bin/b"]
        );
        let included = "include rules.mk\nhello: hello.o\n\t$(LINK)\n";
        let rules = "solver: a.o ; mpicc -o solver a.o\nlibx.so: a.o\n\tcc -shared -o $@ $^\n";
        assert_eq!(
            programs(&[("Makefile", included), ("rules.mk", rules)]),
            ["solver"]
        );
    }

    #[test]
    fn what_only_a_shell_can_tell_is_left_out() {
        assert_eq!(
            programs(&[(
                "Makefile",
                "X := $(shell ls)\n$(X): a.o\n\tcc -o $@ $^\n$(Y"
            )]),
            Vec::<String>::new()
        );
    }

    #[test]
    fn recipes_of_a_target_and_of_what_it_calls() {
        let text = "CC = gcc\nFC ?= gfortran\ncheck: unit mpi a.o\nunit: ; ./unit\nmpi:\n\tmpiexec -n 4 ./halo\n.PHONY: check unit mpi\n";
        let makefile = Makefile::read(&Tree::default(), text);
        assert!(makefile.has_target("check") && !makefile.has_target("test"));
        assert_eq!(makefile.recipes("check"), "mpiexec -n 4 ./halo\n./unit\n");
        assert_eq!(makefile.fixed("CC"), Some("gcc"));
        assert_eq!(makefile.fixed("FC"), None);
    }

    #[test]
    fn variables_that_name_themselves_come_to_an_end() {
        let makefile = Makefile::read(
            &Tree::default(),
            "A = $(B)\nB = $(A)\n$(A): c\n\tcc -o $@ c\n",
        );
        assert_eq!(makefile.programs(&Tree::default()), Vec::<String>::new());
    }
}
